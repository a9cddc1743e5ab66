//! Figures for whoever watches the gateway: gathered when asked, never kept beside what they count.

use std::collections::BTreeMap;

use super::{App, system};
use crate::domain::access::{Caller, Scope};
use crate::domain::error::Error;
use crate::domain::id::EndpointId;
use crate::store::{Debt, Stats};
use crate::sys::{clock, process};
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
    /// Memory in RAM.
    pub resident_bytes: Option<u64>,
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
pub fn gather(app: &App, caller: &Caller) -> Result<Figures, Error> {
    caller.require(Scope::InstancesRead)?;
    caller.require_unbound()?;
    let now = clock::now();
    let mut counted = app.webhooks.metrics().snapshot();
    let endpoints = app.store.read(|view| {
        view.endpoints(None, usize::MAX, |_| true)?
            .into_iter()
            .map(|endpoint| {
                let debt = view.debt(endpoint.id, now)?;
                let health = view.health(endpoint.id)?;
                Ok(EndpointFigures {
                    id: endpoint.id,
                    counters: counted.remove(&endpoint.id).unwrap_or_default(),
                    debt,
                    oldest_due_seconds: debt.oldest_due_at.map_or(0.0, |due| now.since(due).as_secs_f64()),
                    last_proven_seconds: health.last_success_at.map_or(0, crate::domain::Timestamp::seconds),
                    failing: health.failing_since.is_some(),
                })
            })
            .collect()
    })?;
    Ok(Figures {
        instances: system::instances(app)?,
        store: app.store.stats()?,
        subscribers: app.bus.subscribers(),
        streams_cut: app.bus.cut(),
        resident_bytes: process::memory().map(|memory| memory.resident),
        endpoints,
    })
}
