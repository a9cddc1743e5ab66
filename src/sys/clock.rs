//! The only place that asks the time.
//!
//! Everything that waits or dates goes through here, so that a sandbox build can move the clock: a 25 second
//! keepalive, a 24 hour expiry and a 2 hour retry are then tested at once, without sleeping.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::watch;

/// A point of civil time: milliseconds since 1970-01-01T00:00:00Z, written as ISO-8601 UTC with milliseconds and `Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest time that can be named; useful as the lower end of a range.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From whole seconds since the epoch, the unit of WhatsApp's own stamps.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This time moved forward; saturates instead of wrapping.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This time moved back; saturates instead of wrapping.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long from `earlier` to this time; zero when it is not earlier.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// As HTTP writes it in `Date`; `None` far outside of the years that HTTP can write.
    pub fn http_date(self) -> Option<String> {
        let time = jiff::Timestamp::from_millisecond(self.0).ok()?;
        jiff::fmt::rfc2822::DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&time)
            .ok()
    }

    /// Reads what HTTP writes in `Date`.
    pub fn of_http_date(text: &str) -> Option<Self> {
        let parser = jiff::fmt::rfc2822::DateTimeParser::new();
        let time = parser.parse_timestamp(text).ok()?;
        Some(Self(time.as_millisecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{time:.3}")
    }
}

/// The text is no ISO-8601 time with an offset.
#[derive(Debug, thiserror::Error)]
#[error("must be an ISO-8601 time with an offset, for example 2026-01-31T12:00:00Z")]
pub struct TimestampProblem;

impl std::str::FromStr for Timestamp {
    type Err = TimestampProblem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time: jiff::Timestamp = text.parse().map_err(|_| TimestampProblem)?;
        Ok(Self(time.as_millisecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "date-time"})
    }
}

/// A point of monotonic time, counted from the start of the process and moved along with the sandbox's clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment(Duration);

impl Moment {
    /// This moment moved forward.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// How long from `earlier` to this moment; zero when it is not earlier.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// How far the sandbox has moved the clock, in milliseconds; always zero in a normal build.
static OFFSET_MILLIS: AtomicU64 = AtomicU64::new(0);

fn offset() -> Duration {
    Duration::from_millis(OFFSET_MILLIS.load(Ordering::SeqCst))
}

fn anchor() -> std::time::Instant {
    static ANCHOR: OnceLock<std::time::Instant> = OnceLock::new();
    *ANCHOR.get_or_init(std::time::Instant::now)
}

/// Tells sleepers that the clock was moved.
fn moved() -> &'static watch::Sender<u64> {
    static MOVED: OnceLock<watch::Sender<u64>> = OnceLock::new();
    MOVED.get_or_init(|| watch::channel(0).0)
}

/// The civil time now.
pub fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)).plus(offset())
}

/// The monotonic time now; never runs backwards.
pub fn moment() -> Moment {
    Moment(anchor().elapsed() + offset())
}

/// Waits until `deadline`, also when the clock is moved past it meanwhile.
pub async fn sleep_until(deadline: Moment) {
    let mut moved = moved().subscribe();
    loop {
        let left = deadline.since(moment());
        if left.is_zero() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(left) => {}
            // The sender is static and never dropped, so an error cannot happen; the loop re-reads the clock anyway.
            _ = moved.changed() => {}
        }
    }
}

/// Waits for `duration` of this clock.
pub async fn sleep(duration: Duration) {
    sleep_until(moment().plus(duration)).await;
}

/// Waits until the civil time `at`.
pub async fn sleep_until_time(at: Timestamp) {
    let mut moved = moved().subscribe();
    loop {
        // Asked anew after every move: turned into a moment once, it would lie too late by a move in between.
        let left = at.since(now());
        if left.is_zero() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(left) => {}
            _ = moved.changed() => {}
        }
    }
}

/// The wait was over before the future was done.
#[derive(Debug, thiserror::Error)]
#[error("timed out")]
pub struct Elapsed;

/// Runs `future` for at most `duration` of this clock.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = sleep(duration) => Err(Elapsed),
    }
}

/// Moves the clock forward, for tests of long waits; exists in sandbox builds alone.
#[cfg(feature = "sandbox")]
pub fn advance(by: Duration) {
    OFFSET_MILLIS.fetch_add(u64::try_from(by.as_millis()).unwrap_or(0), Ordering::SeqCst);
    moved().send_modify(|count| *count += 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_milliseconds_and_z() {
        assert_eq!(
            Timestamp::from_millis(1_767_225_600_007).to_string(),
            "2026-01-01T00:00:00.007Z"
        );
        assert_eq!(
            Timestamp::from_seconds(1_767_225_600).to_string(),
            "2026-01-01T00:00:00.000Z"
        );
    }

    #[test]
    fn a_time_is_written_as_http_wants_it() {
        let time = Timestamp::from_seconds(784_111_777).http_date();
        assert_eq!(time.as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(Timestamp::from_millis(i64::MAX).http_date(), None);
        let read = Timestamp::of_http_date("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(read, Some(Timestamp::from_seconds(784_111_777)));
        assert_eq!(Timestamp::of_http_date("yesterday"), None);
    }

    #[test]
    fn a_time_with_another_offset_is_the_same_point() {
        let time: Timestamp = "2026-01-01T02:00:00.007+02:00".parse().unwrap();
        assert_eq!(time, Timestamp::from_millis(1_767_225_600_007));
    }

    #[test]
    fn a_time_without_an_offset_is_refused() {
        assert!("2026-01-01T02:00:00".parse::<Timestamp>().is_err());
    }

    #[cfg(feature = "sandbox")]
    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_is_moved_past_its_deadline() {
        let (ready, waiting) = tokio::sync::oneshot::channel();
        let sleeper = tokio::spawn(async move {
            let long = sleep(Duration::from_hours(24));
            ready.send(()).unwrap();
            long.await;
        });
        waiting.await.unwrap();
        advance(Duration::from_hours(25));
        sleeper.await.unwrap();
    }
}
