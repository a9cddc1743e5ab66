//! Brings committed events to their endpoints, however long that takes.
//!
//! A delivery's row is written with its event (see [`crate::store`]); this room only works the rows off. Each endpoint
//! has a lane of its own, so one that stalls delays no other; the bus merely wakes the lanes, and what a lane attempts
//! next it reads from the table. Nothing that matters is in memory alone: a killed process begins where the table is,
//! and repeats at most what was under way.

mod client;
pub mod guard;
mod lane;
pub mod metrics;
pub mod reach;
pub mod secrets;
pub mod signature;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use client::{Client, Unusable};

use crate::bus::{Bus, Ended};
use crate::domain::audit::Note;
use crate::domain::event::EventFilter;
use crate::domain::id::{EndpointId, RequestId};
use crate::domain::webhook::{Delivery, Endpoint};
use crate::store::{ReadError, Store, WriteError};
use crate::sys::current::Current;
use lane::Lane;
use metrics::Metrics;
use secrets::SecretBox;

/// Attempts under way at one host, whatever the endpoints.
pub const PER_HOST: usize = 4;

/// How long a stop waits for attempts under way; what it cuts off is repeated at the next start.
const STOPS_WITHIN: Duration = Duration::from_millis(1_500);

/// How webhooks are sent.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which addresses may be called.
    pub policy: guard::Policy,
    /// How long a receiver may take to answer.
    pub timeout: Duration,
    /// What opens the signing secrets.
    pub secrets: SecretBox,
}

/// The worker; cheap to clone.
#[derive(Clone)]
pub struct Webhooks {
    shared: Arc<Shared>,
}

/// What all lanes share.
struct Shared {
    store: Store,
    client: Current<Client>,
    secrets: SecretBox,
    lanes: Mutex<HashMap<EndpointId, Open>>,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
    metrics: Metrics,
    stopping: CancellationToken,
    listener: Mutex<Option<JoinHandle<()>>>,
}

/// A lane that runs.
struct Open {
    endpoint: Endpoint,
    wake: Arc<Notify>,
    task: JoinHandle<()>,
    ended: CancellationToken,
}

impl Webhooks {
    /// Opens a lane for every endpoint that takes events and begins to work off what is owed.
    pub fn start(store: Store, bus: &Bus, options: Options) -> Result<Webhooks, Unusable> {
        let webhooks = Webhooks {
            shared: Arc::new(Shared {
                store,
                client: Client::new(options.policy, options.timeout)?.into(),
                secrets: options.secrets,
                lanes: Mutex::default(),
                hosts: Mutex::default(),
                metrics: Metrics::default(),
                stopping: CancellationToken::new(),
                listener: Mutex::default(),
            }),
        };
        // Subscribed before the endpoints are read: what is committed in between is read by the lanes.
        let listener = tokio::spawn(listen(webhooks.clone(), bus.clone()));
        *lock(&webhooks.shared.listener) = Some(listener);
        webhooks
            .refresh_all()
            .map_err(|error| Unusable::from(Box::<dyn std::error::Error + Send + Sync>::from(error)))?;
        Ok(webhooks)
    }

    /// What may be called; for the judgement at registration.
    pub fn policy(&self) -> Arc<guard::Policy> {
        self.shared.client.get().policy()
    }

    /// From now on with this client, under its rules; attempts under way end as they began. Connections of the one
    /// before are not used again, since its rules allowed them.
    pub fn use_client(&self, client: Client) {
        self.shared.client.set(client);
    }

    /// What seals and opens signing secrets.
    pub fn secrets(&self) -> &SecretBox {
        &self.shared.secrets
    }

    /// Counters.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Looks at an endpoint again after it was made, changed, disabled or deleted, and at what is owed to it.
    pub fn refresh(&self, id: EndpointId) -> Result<(), ReadError> {
        let endpoint = self.shared.store.read(|view| view.endpoint(id))?;
        let mut lanes = lock(&self.shared.lanes);
        let Some(endpoint) = endpoint.filter(Endpoint::takes_events) else {
            self.shared.metrics.forget(id);
            if let Some(open) = lanes.remove(&id) {
                open.ended.cancel();
            }
            return Ok(());
        };
        if let Some(open) = lanes.get_mut(&id) {
            // The lane reads the endpoint anew for each attempt; only the filter is remembered here.
            open.endpoint = endpoint;
            open.wake.notify_one();
        } else if !self.shared.stopping.is_cancelled() {
            lanes.insert(id, self.open(endpoint));
        }
        Ok(())
    }

    fn refresh_all(&self) -> Result<(), ReadError> {
        let endpoints = self
            .shared
            .store
            .read(|view| view.endpoints(None, usize::MAX, Endpoint::takes_events))?;
        for endpoint in endpoints {
            self.refresh(endpoint.id)?;
        }
        Ok(())
    }

    fn open(&self, endpoint: Endpoint) -> Open {
        let wake = Arc::new(Notify::new());
        let ended = self.shared.stopping.child_token();
        let lane = Lane::new(self.clone(), endpoint.id, Arc::clone(&wake), ended.clone());
        Open {
            endpoint,
            wake,
            task: tokio::spawn(lane.run()),
            ended,
        }
    }

    /// Sends `webhook.test` to an endpoint now, once, also when it is disabled; answers the delivery with its attempt.
    /// The row of the audit list is written with the delivery.
    pub async fn test(&self, endpoint: EndpointId, request: RequestId, note: Note) -> Result<Delivery, WriteError> {
        lane::test(self, endpoint, request, note).await
    }

    /// The places at a host.
    fn host(&self, host: &str) -> Arc<Semaphore> {
        let mut hosts = lock(&self.shared.hosts);
        if let Some(places) = hosts.get(host) {
            return Arc::clone(places);
        }
        // Whoever uses a host holds a copy, so what only the table holds is used by nobody.
        hosts.retain(|_, places| Arc::strong_count(places) > 1);
        let places = Arc::new(Semaphore::new(PER_HOST));
        hosts.insert(host.to_owned(), Arc::clone(&places));
        places
    }

    /// Ends all lanes; attempts under way get a moment, and what is cut off is repeated at the next start.
    pub async fn stop(&self) {
        self.shared.stopping.cancel();
        let listener = lock(&self.shared.listener).take();
        if let Some(listener) = listener {
            listener.abort();
        }
        let lanes: Vec<Open> = lock(&self.shared.lanes).drain().map(|(_, open)| open).collect();
        let all = async {
            for open in lanes {
                // A lane that panicked is over as well.
                let _ = open.task.await;
            }
        };
        if tokio::time::timeout(STOPS_WITHIN, all).await.is_err() {
            tracing::warn!("some webhooks were cut off; they are sent again at the next start");
        }
    }
}

/// Wakes the lanes that an event concerns.
async fn listen(webhooks: Webhooks, bus: Bus) {
    loop {
        let mut subscription = bus.subscribe(EventFilter::ALL);
        // Whatever was missed before is found in the tables.
        for open in lock(&webhooks.shared.lanes).values() {
            open.wake.notify_one();
        }
        loop {
            match subscription.next().await {
                Ok(frame) => {
                    for open in lock(&webhooks.shared.lanes).values() {
                        if open.endpoint.wants(frame.instance, frame.name) {
                            open.wake.notify_one();
                        }
                    }
                }
                Err(Ended::TooSlow) => break,
                Err(Ended::Closed) => return,
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each holder leaves these maps whole, so a poisoned lock is as good as a clean one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
