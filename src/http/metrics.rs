//! The figures as `OpenMetrics` text, which Prometheus and its relatives read.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::tally::{BUCKETS_MS as REQUEST_BUCKETS_MS, Counts};
use crate::app::metrics::{EndpointFigures, Figures};
use crate::domain::Timestamp;
use crate::sys::process::{Descriptors, Memory};
use crate::webhooks::metrics::BUCKETS_MS;

/// What scrapers expect.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes the figures down.
pub fn render(figures: Figures, counts: Counts) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Process::of(&figures)));
    let own = registry.sub_registry_with_prefix("whatisup");
    own.register_collector(Box::new(figures));
    own.register_collector(Box::new(counts));
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
        let what = "Whether the gateway can work, as /readyz says; instances that are offline do not count";
        gauge(&mut encoder, "ready", what, None, self.ready.into())?;
        if let Some(disk) = &self.disk {
            let what = "What the gateway may still take of the disk behind its state folder";
            gauge(&mut encoder, "disk_free", what, Some(&Unit::Bytes), disk.free)?;
            let what = "Size of the disk behind the state folder";
            gauge(&mut encoder, "disk_size", what, Some(&Unit::Bytes), disk.total)?;
        }
        let what = "Accepted messages that WhatsApp has not acknowledged";
        gauge(&mut encoder, "outbox_messages", what, None, self.outbox)?;
        let open = u64::try_from(self.streams_open).unwrap_or(u64::MAX);
        gauge(&mut encoder, "streams_open", "Open event streams", None, open)?;
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

/// What the operating system says, under the names that every Prometheus client uses.
#[derive(Debug)]
struct Process {
    memory: Option<Memory>,
    cpu_time: Option<Duration>,
    descriptors: Option<Descriptors>,
    started_at: Timestamp,
}

impl Process {
    fn of(figures: &Figures) -> Self {
        Self {
            memory: figures.memory,
            cpu_time: figures.cpu_time,
            descriptors: figures.descriptors,
            started_at: figures.started_at,
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let encoder = &mut encoder;
        let bytes = Some(&Unit::Bytes);
        if let Some(memory) = self.memory {
            let what = "Memory of the process in RAM";
            gauge(encoder, "process_resident_memory", what, bytes, memory.resident)?;
            if let Some(size) = memory.virtual_size {
                gauge(
                    encoder,
                    "process_virtual_memory",
                    "Address space of the process",
                    bytes,
                    size,
                )?;
            }
        }
        if let Some(time) = self.cpu_time {
            let what = "Processor time that the process has used";
            let descriptor =
                encoder.encode_descriptor("process_cpu", what, Some(&Unit::Seconds), MetricType::Counter)?;
            ConstCounter::new(time.as_secs_f64()).encode(descriptor)?;
        }
        if let Some(descriptors) = self.descriptors {
            gauge(
                encoder,
                "process_open_fds",
                "Open file descriptors",
                None,
                descriptors.open,
            )?;
            if let Some(max) = descriptors.max {
                gauge(
                    encoder,
                    "process_max_fds",
                    "File descriptors that may be open",
                    None,
                    max,
                )?;
            }
        }
        let what = "When the process started, since 1970";
        let seconds = Some(&Unit::Seconds);
        let started = u64::try_from(self.started_at.seconds()).unwrap_or_default();
        gauge(encoder, "process_start_time", what, seconds, started)
    }
}

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let what = "Replies by route (the operation's id) and status; what arrives at no route is none";
        let mut family = encoder.encode_descriptor("http_requests", what, None, MetricType::Counter)?;
        for (route, counts) in &self.routes {
            for (status, count) in &counts.statuses {
                let labels = [("route", (*route).to_owned()), ("status", status.to_string())];
                ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
            }
        }

        let what = "How long it took until the head of the reply";
        let seconds = Some(&Unit::Seconds);
        let mut family = encoder.encode_descriptor("http_request_duration", what, seconds, MetricType::Histogram)?;
        for (route, counts) in &self.routes {
            let bounds = REQUEST_BUCKETS_MS
                .iter()
                .map(|bound| to_seconds(*bound))
                .chain([f64::MAX]);
            let buckets: Vec<(f64, u64)> = bounds.zip(counts.by_duration).collect();
            let count = counts.by_duration.iter().sum();
            family
                .encode_family(&[("route", *route)])?
                .encode_histogram::<NoLabelSet>(counts.duration.as_secs_f64(), count, &buckets, None)?;
        }

        let what = "Requests refused because the caller could not say who it is, by code of the error";
        let mut family = encoder.encode_descriptor("auth_failures", what, None, MetricType::Counter)?;
        for (code, count) in &self.auth_failures {
            ConstCounter::new(*count).encode(family.encode_family(&[("code", *code)])?)?;
        }
        Ok(())
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
    Duration::from_millis(millis).as_secs_f64()
}
