//! What a service manager such as systemd is told: that the gateway is up, how it does, that it lives, that it ends.
//!
//! Nothing here fails: the gateway runs as well where nobody listens. The variables stay in the environment, because
//! taking them out is unsafe once there are threads; this program starts no other that could inherit them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use sd_notify::NotifyState;

/// How much longer a start may take, asked for again and again …
const PATIENCE: Duration = Duration::from_mins(1);

/// … this often …
const PATIENCE_EVERY: Duration = Duration::from_secs(20);

/// … and this many times: what takes longer than an hour hangs.
const PATIENCE_TIMES: u32 = 180;

/// Whether somebody wants to be told.
pub fn is_watched() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some_and(|path| !path.is_empty())
}

/// After how long without [`alive`] the manager takes this process for dead; `None` when it does not look.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|interval| is_watched() && !interval.is_zero())
}

/// The gateway is up, or has read its settings again.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The settings are being read again; [`ready`] follows.
pub fn reloading() {
    // The manager tells by this time which of its own requests is meant.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// One line for a person who asks how it goes.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// This process lives.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// The end has begun.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

fn tell(states: &[NotifyState<'_>]) {
    static FAILED: AtomicBool = AtomicBool::new(false);
    if !is_watched() {
        return;
    }
    if let Err(error) = sd_notify::notify(states)
        && !FAILED.swap(true, Ordering::Relaxed)
    {
        tracing::warn!(%error, "the service manager cannot be told how it goes; see NOTIFY_SOCKET");
    }
}

/// Asks for patience while something at the start takes as long as it takes; until dropped, or an hour is over.
///
/// On a thread of its own, since what it asks patience for blocks.
pub struct Patience {
    ended: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Patience {
    /// Asks from now on; `doing` is shown meanwhile.
    pub fn ask(doing: &'static str) -> Self {
        let (ended, end) = mpsc::channel::<()>();
        let ask = move || {
            for _ in 0..PATIENCE_TIMES {
                let micros = u32::try_from(PATIENCE.as_micros()).unwrap_or(u32::MAX);
                tell(&[NotifyState::ExtendTimeoutUsec(micros), NotifyState::Status(doing)]);
                if end.recv_timeout(PATIENCE_EVERY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let builder = std::thread::Builder::new().name("patience".to_owned());
        Self {
            ended: Some(ended),
            // Without the thread the start has the time that the manager gives by itself.
            thread: is_watched().then(|| builder.spawn(ask).ok()).flatten(),
        }
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        drop(self.ended.take());
        if let Some(thread) = self.thread.take() {
            // It waits for nothing but this end.
            let _ = thread.join();
        }
    }
}
