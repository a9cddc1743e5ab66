//! Waiting for a condition, bounded.

use std::time::{Duration, Instant};

/// How long a condition may take: far beyond what is normal, since a busy machine must not fail a test.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// How often a condition is looked at that cannot tell when it changes.
const PAUSE: Duration = Duration::from_millis(25);

/// Asks until `condition` answers something; `what` completes the sentence "waited in vain for …".
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Awaits `future`, which tells by itself when it is done.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
