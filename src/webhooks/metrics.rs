//! How attempts went, counted since the start of the process.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::domain::id::EndpointId;
use crate::domain::webhook::Attempt;

/// Upper bounds of the latency buckets, in milliseconds; what is slower is in the last one.
pub const BUCKETS_MS: [u64; 8] = [10, 50, 100, 250, 500, 1_000, 5_000, 15_000];

/// Counters of all endpoints.
#[derive(Debug, Default)]
pub struct Metrics {
    endpoints: Mutex<BTreeMap<EndpointId, Counters>>,
}

/// Counters of one endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Attempts that were answered with 2xx.
    pub succeeded: u64,
    /// Attempts that were answered otherwise.
    pub refused: u64,
    /// Attempts without an answer.
    pub unanswered: u64,
    /// Attempts by duration; each bucket counts what fits its bound and no lower one, the last what fits none.
    pub by_duration: [u64; BUCKETS_MS.len() + 1],
    /// All durations together.
    pub duration_ms: u64,
}

impl Metrics {
    /// Counts an attempt.
    pub(super) fn note(&self, endpoint: EndpointId, attempt: &Attempt) {
        let mut endpoints = super::lock(&self.endpoints);
        let counters = endpoints.entry(endpoint).or_default();
        if attempt.succeeded() {
            counters.succeeded += 1;
        } else if attempt.response_status.is_some() {
            counters.refused += 1;
        } else {
            counters.unanswered += 1;
        }
        let bucket = BUCKETS_MS
            .iter()
            .position(|bound| attempt.duration_ms <= *bound)
            .unwrap_or(BUCKETS_MS.len());
        counters.by_duration[bucket] += 1;
        counters.duration_ms += attempt.duration_ms;
    }

    /// Forgets an endpoint that was deleted.
    pub(super) fn forget(&self, endpoint: EndpointId) {
        super::lock(&self.endpoints).remove(&endpoint);
    }

    /// All counters as they are now.
    pub fn snapshot(&self) -> BTreeMap<EndpointId, Counters> {
        super::lock(&self.endpoints).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    #[test]
    fn attempts_are_counted_by_outcome_and_duration() {
        let metrics = Metrics::default();
        let endpoint = EndpointId::from_u128(1);
        for (status, duration_ms) in [(Some(200), 10), (Some(500), 11), (None, 99_999)] {
            let attempt = Attempt {
                at: Timestamp::EPOCH,
                duration_ms,
                response_status: status,
                response_body: None,
                error: None,
            };
            metrics.note(endpoint, &attempt);
        }
        let counted = metrics.snapshot().remove(&endpoint).unwrap();
        assert_eq!((counted.succeeded, counted.refused, counted.unanswered), (1, 1, 1));
        assert_eq!(
            (counted.by_duration[0], counted.by_duration[1], counted.by_duration[8]),
            (1, 1, 1)
        );
        metrics.forget(endpoint);
        assert!(metrics.snapshot().is_empty());
    }
}
