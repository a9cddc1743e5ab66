//! What was asked of the site since it started, for `/metrics`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the histogram of durations; what took longer is counted in the last bucket. Few, because each route
/// has its own.
pub const BUCKETS_MS: [u64; 6] = [5, 25, 100, 500, 2_500, 10_000];

/// Everything that is counted; what arrives at no route is under `none`.
#[derive(Default)]
pub struct Tally(Mutex<Counts>);

/// The counts at one moment.
#[derive(Clone, Default, Debug)]
pub struct Counts {
    /// By route.
    pub routes: BTreeMap<&'static str, RouteCounts>,
    /// Refusals of those who could not say who they are, by code of the error.
    pub auth_failures: BTreeMap<&'static str, u64>,
}

/// The counts of one route.
#[derive(Clone, Default, Debug)]
pub struct RouteCounts {
    /// Replies by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Replies by how long they took until their head; not cumulated.
    pub by_duration: [u64; BUCKETS_MS.len() + 1],
    /// How long all of them took together.
    pub duration: Duration,
}

impl Tally {
    /// Counts a reply.
    pub fn note(&self, route: &'static str, status: u16, duration: Duration) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = counts.routes.entry(route).or_default();
        *counts.statuses.entry(status).or_default() += 1;
        let bucket = BUCKETS_MS.partition_point(|bound| Duration::from_millis(*bound) < duration);
        counts.by_duration[bucket] += 1;
        counts.duration += duration;
    }

    /// Counts somebody who could not say who he is.
    pub fn note_auth_failure(&self, code: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.auth_failures.entry(code).or_default() += 1;
    }

    /// The counts now.
    pub fn counts(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_belongs_to_the_first_bucket_that_holds_it() {
        let tally = Tally::default();
        for millis in [0, 5, 6, 10_000, 10_001] {
            tally.note("a", 200, Duration::from_millis(millis));
        }
        tally.note("a", 404, Duration::ZERO);
        let counts = tally.counts();
        let counts = &counts.routes["a"];
        assert_eq!(counts.by_duration, [3, 1, 0, 0, 0, 1, 1]);
        assert_eq!(counts.statuses, BTreeMap::from([(200, 5), (404, 1)]));
        assert_eq!(counts.duration, Duration::from_millis(20_012));
    }
}
