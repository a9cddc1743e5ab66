//! Figures for whoever watches the gateway: gathered when asked, never kept beside what they count.

use std::collections::BTreeMap;
use std::time::Duration;

use super::App;
use super::system::{self, Door};
use crate::domain::Timestamp;
use crate::domain::access::{Caller, Scope};
use crate::domain::error::Error;
use crate::domain::id::EndpointId;
use crate::store::{Debt, ReadError, Stats};
use crate::sys::clock;
use crate::sys::disk::{self, Space};
use crate::sys::process::{self, Descriptors, Memory};
use crate::webhooks::metrics::Counters;

/// Everything that is measured, at one moment.
#[derive(Clone, Debug)]
pub struct Figures {
    /// How many instances stand where.
    pub instances: BTreeMap<&'static str, u64>,
    /// The one file.
    pub store: Stats,
    /// Open event streams, and other listeners of the bus.
    pub subscribers: usize,
    /// Streams that were cut because they did not keep up.
    pub streams_cut: u64,
    /// Event streams that are open.
    pub streams_open: usize,
    /// Accepted messages that WhatsApp has not acknowledged.
    pub outbox: u64,
    /// Whether `/readyz` says so.
    pub ready: bool,
    /// The disk behind the state folder.
    pub disk: Option<Space>,
    /// Memory of the process.
    pub memory: Option<Memory>,
    /// Processor time of the process.
    pub cpu_time: Option<Duration>,
    /// File descriptors of the process.
    pub descriptors: Option<Descriptors>,
    /// When the process started.
    pub started_at: Timestamp,
    /// Webhook endpoints that are not deleted.
    pub endpoints: Vec<EndpointFigures>,
}

/// One webhook endpoint.
#[derive(Clone, Debug)]
pub struct EndpointFigures {
    /// Which.
    pub id: EndpointId,
    /// What was attempted since the process started.
    pub counters: Counters,
    /// What is owed.
    pub debt: Debt,
    /// For how many seconds the oldest delivery that could be attempted has been due.
    pub oldest_due_seconds: f64,
    /// When an attempt last succeeded, in seconds since 1970; 0 is never.
    pub last_proven_seconds: i64,
    /// Whether the last attempt failed.
    pub failing: bool,
}

/// Gathers the figures; for keys that may see all instances.
pub async fn gather(app: &App, caller: &Caller, door: Door) -> Result<Figures, Error> {
    caller.require(Scope::InstancesRead)?;
    caller.require_unbound()?;
    let ready = system::checks(app, door).await.all_pass();
    let now = clock::now();
    let mut counted = app.webhooks.metrics().snapshot();
    let (outbox, endpoints) = app.store.read(|view| {
        let outbox = view.backlog()?.outbox;
        let endpoints = view
            .endpoints(None, usize::MAX, |_| true)?
            .into_iter()
            .map(|endpoint| {
                let debt = view.debt(endpoint.id, now)?;
                let health = view.health(endpoint.id)?;
                Ok(EndpointFigures {
                    id: endpoint.id,
                    counters: counted.remove(&endpoint.id).unwrap_or_default(),
                    debt,
                    oldest_due_seconds: debt.oldest_due_at.map_or(0.0, |due| now.since(due).as_secs_f64()),
                    last_proven_seconds: health.last_success_at.map_or(0, Timestamp::seconds),
                    failing: health.failing_since.is_some(),
                })
            })
            .collect::<Result<_, ReadError>>()?;
        Ok((outbox, endpoints))
    })?;
    Ok(Figures {
        instances: system::instances(app)?,
        store: app.store.stats()?,
        subscribers: app.bus.subscribers(),
        streams_cut: app.bus.cut(),
        streams_open: app.streams.open_in_all(),
        outbox,
        ready,
        disk: disk::space(app.store.folder()),
        memory: process::memory(),
        cpu_time: process::cpu_time(),
        descriptors: process::descriptors(),
        started_at: app.started_at,
        endpoints,
    })
}
