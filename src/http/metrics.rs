//! The figures as `OpenMetrics` text, which Prometheus and its relatives read.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::app::metrics::{EndpointFigures, Figures};
use crate::webhooks::metrics::BUCKETS_MS;

/// What scrapers expect.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes the figures down.
pub fn render(figures: Figures) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("whatisup");
    registry.register_collector(Box::new(figures));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        encoder
            .encode_descriptor("build", "The running version", None, MetricType::Info)?
            .encode_info(&version)?;
        let mut instances = encoder.encode_descriptor("instances", "Instances by status", None, MetricType::Gauge)?;
        for (status, count) in &self.instances {
            ConstGauge::new(*count).encode(instances.encode_family(&[("status", *status)])?)?;
        }
        if let Some(bytes) = self.resident_bytes {
            let what = "Memory of the process in RAM";
            gauge(&mut encoder, "resident_memory", what, Some(&Unit::Bytes), bytes)?;
        }
        let store = &self.store;
        let file = "Size of the store's file";
        gauge(&mut encoder, "store_file", file, Some(&Unit::Bytes), store.file_bytes)?;
        gauge(
            &mut encoder,
            "journal_events",
            "Events in the journal",
            None,
            store.journal_rows,
        )?;
        let journal = "Size of the journal's events";
        gauge(
            &mut encoder,
            "journal",
            journal,
            Some(&Unit::Bytes),
            store.journal_bytes,
        )?;
        counter(
            &mut encoder,
            "store_commits_durable",
            "Commits that waited for the disk",
            store.durable_commits,
        )?;
        counter(
            &mut encoder,
            "store_commits_lazy",
            "Commits to memory alone",
            store.lazy_commits,
        )?;
        counter(
            &mut encoder,
            "store_operations",
            "Operations that shared the commits",
            store.operations,
        )?;
        let subscribers = "Open event streams and other listeners of the bus";
        let count = u64::try_from(self.subscribers).unwrap_or(u64::MAX);
        gauge(&mut encoder, "bus_subscribers", subscribers, None, count)?;
        let cut = "Event streams cut because they did not keep up";
        counter(&mut encoder, "streams_cut", cut, self.streams_cut)?;
        webhooks(&mut encoder, &self.endpoints)
    }
}

fn webhooks(encoder: &mut DescriptorEncoder, endpoints: &[EndpointFigures]) -> Result<(), fmt::Error> {
    let names: Vec<String> = endpoints.iter().map(|endpoint| endpoint.id.to_string()).collect();
    let all = || names.iter().map(String::as_str).zip(endpoints);

    let what = "Attempts to deliver by outcome: succeeded (2xx), refused (another answer), unanswered";
    let mut family = encoder.encode_descriptor("webhook_attempts", what, None, MetricType::Counter)?;
    for (name, endpoint) in all() {
        let counters = &endpoint.counters;
        for (outcome, count) in [
            ("succeeded", counters.succeeded),
            ("refused", counters.refused),
            ("unanswered", counters.unanswered),
        ] {
            let labels = [("endpoint_id", name), ("outcome", outcome)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }

    let what = "How long attempts took";
    let seconds = Some(&Unit::Seconds);
    let mut family = encoder.encode_descriptor("webhook_attempt_duration", what, seconds, MetricType::Histogram)?;
    for (name, endpoint) in all() {
        let counters = &endpoint.counters;
        let bounds = BUCKETS_MS.iter().map(|bound| to_seconds(*bound)).chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counters.by_duration).collect();
        let count = counters.by_duration.iter().sum();
        family
            .encode_family(&[("endpoint_id", name)])?
            .encode_histogram::<NoLabelSet>(to_seconds(counters.duration_ms), count, &buckets, None)?;
    }

    let what = "Deliveries that are owed: pending ones were never attempted, retrying ones were";
    let mut family = encoder.encode_descriptor("webhook_deliveries_owed", what, None, MetricType::Gauge)?;
    for (name, endpoint) in all() {
        for (state, count) in [("pending", endpoint.debt.new), ("retrying", endpoint.debt.retried)] {
            let labels = [("endpoint_id", name), ("state", state)];
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
    }

    let what = "For how long the oldest delivery that could be attempted has been due";
    let mut family = encoder.encode_descriptor("webhook_oldest_due_age", what, seconds, MetricType::Gauge)?;
    for (name, endpoint) in all() {
        ConstGauge::new(endpoint.oldest_due_seconds).encode(family.encode_family(&[("endpoint_id", name)])?)?;
    }

    let what = "When an attempt last succeeded, since 1970; 0 is never";
    let mut family = encoder.encode_descriptor("webhook_last_proven", what, seconds, MetricType::Gauge)?;
    for (name, endpoint) in all() {
        ConstGauge::new(endpoint.last_proven_seconds).encode(family.encode_family(&[("endpoint_id", name)])?)?;
    }

    let what = "Whether the last attempt failed";
    let mut family = encoder.encode_descriptor("webhook_endpoint_failing", what, None, MetricType::Gauge)?;
    for (name, endpoint) in all() {
        ConstGauge::new(u64::from(endpoint.failing)).encode(family.encode_family(&[("endpoint_id", name)])?)?;
    }
    Ok(())
}

fn gauge(
    encoder: &mut DescriptorEncoder,
    name: &str,
    what: &str,
    unit: Option<&Unit>,
    value: u64,
) -> Result<(), fmt::Error> {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, what, unit, MetricType::Gauge)?)
}

fn counter(encoder: &mut DescriptorEncoder, name: &str, what: &str, value: u64) -> Result<(), fmt::Error> {
    ConstCounter::new(value).encode(encoder.encode_descriptor(name, what, None, MetricType::Counter)?)
}

fn to_seconds(millis: u64) -> f64 {
    std::time::Duration::from_millis(millis).as_secs_f64()
}
