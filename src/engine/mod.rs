//! WhatsApp sessions: starts, supervises and stops them, translates between WhatsApp's words and ours.

use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::error::Error;
use crate::domain::id::InstanceId;
use crate::store::Store;

/// How sessions are run.
#[derive(Clone, Debug)]
pub struct Options {
    /// WhatsApp's WebSocket; `wss://web.whatsapp.com/ws/chat` in real life.
    pub url: String,
    /// What the phone shows as the name of this linked device.
    pub device_name: String,
    /// How long a connection attempt may take.
    pub connect_timeout: Duration,
    /// How long to wait for WhatsApp's acknowledgement before a message is sent again under the same id.
    pub ack_timeout: Duration,
    /// How many sessions may run at once.
    pub max_sessions: usize,
}

/// A pairing code that can be scanned now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Qr {
    /// What the picture says.
    pub code: String,
    /// When WhatsApp stops accepting it.
    pub expires_at: Timestamp,
}

/// What is known of a link beyond its stored state.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LinkHealth {
    /// Whether a session task runs.
    pub running: bool,
    /// When the socket was opened.
    pub connected_since: Option<Timestamp>,
    /// When the last byte came from WhatsApp.
    pub last_received_at: Option<Timestamp>,
    /// Connection attempts since the last success.
    pub failed_attempts: u32,
    /// Messages received since the process started.
    pub messages_received: u64,
    /// Messages acknowledged by WhatsApp since the process started.
    pub messages_sent: u64,
    /// Bytes that the session's caches hold, as far as the engine can tell.
    pub memory_bytes: u64,
}

/// The engine; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    _private: (),
}

#[expect(clippy::unused_async, unused_variables, clippy::unused_self, reason = "contract")]
impl Engine {
    /// Starts the engine and, in the background, every instance that is wanted and linked.
    pub fn start(store: Store, options: Options) -> Engine {
        Engine { _private: () }
    }

    /// Starts the instance's session if none runs and marks it wanted; answers without waiting for WhatsApp.
    pub async fn connect(&self, instance: InstanceId) -> Result<(), Error> {
        Ok(())
    }

    /// Stops the session, keeps the link, marks it unwanted; the status is final when this answers.
    pub async fn disconnect(&self, instance: InstanceId) -> Result<(), Error> {
        Ok(())
    }

    /// Stops the session and starts it anew.
    pub async fn restart(&self, instance: InstanceId) -> Result<(), Error> {
        Ok(())
    }

    /// Unlinks at WhatsApp if it can be reached, forgets the session's keys; back to `pending`.
    pub async fn logout(&self, instance: InstanceId) -> Result<(), Error> {
        Ok(())
    }

    /// Unlinks, stops and forgets the session of an instance that is being deleted.
    pub async fn remove(&self, instance: InstanceId) -> Result<(), Error> {
        Ok(())
    }

    /// The code to scan: starts the session if none runs and waits at most `wait` for a code. Errors: `no_qr` when
    /// linked, `whatsapp_timeout` saying why (DNS, refused, TLS, certificate…) when none comes.
    pub async fn qr(&self, instance: InstanceId, wait: Duration) -> Result<Qr, Error> {
        Err(Error::internal("the engine is being built"))
    }

    /// Tells the instance's task that its outbox has something new; never waits.
    pub fn wake(&self, instance: InstanceId) {}

    /// What is known of the link now.
    pub fn health(&self, instance: InstanceId) -> LinkHealth {
        LinkHealth::default()
    }

    /// Stops every session, gracefully and within a bounded time.
    pub async fn stop(&self) {}
}
