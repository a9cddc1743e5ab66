//! What everybody may look at without asking the instance's task: health, counters and the pairing code.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};

use super::LinkHealth;
use super::code::Desk;
use super::dialer::Attempt;
use super::pairing::Pairing;
use crate::domain::Timestamp;

/// The notice board of one instance.
pub(super) struct Board {
    /// Whether a session runs.
    pub running: AtomicBool,
    /// When the session became usable, in milliseconds; zero while it is not.
    connected_since: AtomicI64,
    /// Connection attempts since the last success.
    pub failed_attempts: AtomicU32,
    /// Messages received.
    pub received: AtomicU64,
    /// Messages acknowledged.
    pub sent: AtomicU64,
    /// Bytes in the session's caches.
    pub memory: AtomicU64,
    /// The current pairing code.
    pub pairing: watch::Sender<Pairing>,
    /// Rung when the outbox has something new.
    pub wake: Notify,
    attempt: Mutex<Option<Arc<Attempt>>>,
    desk: Mutex<Option<Arc<Desk>>>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            running: AtomicBool::new(false),
            connected_since: AtomicI64::new(0),
            failed_attempts: AtomicU32::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            memory: AtomicU64::new(0),
            pairing: watch::Sender::new(Pairing::Waiting),
            wake: Notify::new(),
            attempt: Mutex::new(None),
            desk: Mutex::new(None),
        }
    }
}

impl Board {
    /// Notes which socket to look at.
    pub fn watch_attempt(&self, attempt: Arc<Attempt>) {
        *self.attempt.lock().unwrap_or_else(PoisonError::into_inner) = Some(attempt);
    }

    /// Notes where pairing codes are asked for, while a session runs.
    pub fn set_desk(&self, desk: Option<Arc<Desk>>) {
        *self.desk.lock().unwrap_or_else(PoisonError::into_inner) = desk;
    }

    /// Where pairing codes are asked for.
    pub fn desk(&self) -> Option<Arc<Desk>> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes since when the session is usable.
    pub fn set_connected(&self, since: Option<Timestamp>) {
        self.connected_since
            .store(since.map_or(0, Timestamp::millis), Ordering::Relaxed);
    }

    /// Since when the session is usable.
    pub fn connected_since(&self) -> Option<Timestamp> {
        let millis = self.connected_since.load(Ordering::Relaxed);
        (millis > 0).then(|| Timestamp::from_millis(millis))
    }

    /// Puts up the pairing state.
    pub fn show(&self, pairing: Pairing) {
        self.pairing.send_replace(pairing);
    }

    /// The numbers.
    pub fn health(&self) -> LinkHealth {
        LinkHealth {
            running: self.running.load(Ordering::Relaxed),
            connected_since: self.connected_since(),
            last_received_at: self
                .attempt
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .and_then(|attempt| attempt.last_received_at()),
            failed_attempts: self.failed_attempts.load(Ordering::Relaxed),
            messages_received: self.received.load(Ordering::Relaxed),
            messages_sent: self.sent.load(Ordering::Relaxed),
            memory_bytes: self.memory.load(Ordering::Relaxed),
        }
    }
}
