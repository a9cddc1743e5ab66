//! One endpoint's lane: picks what is due, attempts a few at a time, stores how it went.
//!
//! First attempts of one chat keep their order: the next one of the chat begins when the one before has been answered,
//! well or badly; its retries hold nothing up. Retries and new deliveries take turns, so neither starves the other.

use std::collections::{HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::signature::{self, SIGNATURE_HEADER};
use super::{PER_HOST, Webhooks};
use crate::domain::Timestamp;
use crate::domain::audit::{Action, Note, Target};
use crate::domain::id::{DeliveryId, EndpointId, EventId, RequestId};
use crate::domain::webhook::{Attempt, Delivery, DisabledReason, Endpoint, Subject, synthetic};
use crate::store::{NewDelivery, ReadError, Tx, Waiting, WriteError};
use crate::sys::clock;

/// Attempts of one lane under way; one host never gets more at once anyway.
const UNDER_WAY: usize = PER_HOST;

/// Outcomes that may wait for the disk before nothing new is begun.
const BEING_STORED: usize = 64;

/// New deliveries fetched at once …
const FETCHED: usize = 256;

/// … and kept ahead at most, when the first ones are all of chats that are busy.
const AHEAD: usize = 4096;

/// How long to wait before the store is asked again after it failed.
const AFTER_TROUBLE: Duration = Duration::from_secs(1);

/// The life of one endpoint.
pub(super) struct Lane {
    webhooks: Webhooks,
    id: EndpointId,
    wake: Arc<Notify>,
    ended: CancellationToken,
    /// New deliveries in their order, not begun.
    ahead: VecDeque<Waiting>,
    /// The last place that was fetched.
    fetched_to: u64,
    /// Whether there was nothing more to fetch.
    fetched_all: bool,
    /// Orders with a first attempt under way.
    busy: HashSet<u64>,
    /// Deliveries under way or being stored: their rows still say what was before.
    taken: HashSet<DeliveryId>,
    under_way: JoinSet<Done>,
    being_stored: JoinSet<DeliveryId>,
    /// Whether a retry has the next turn.
    retry_next: bool,
}

/// How an attempt ended.
struct Done {
    delivery: DeliveryId,
    /// Set on first attempts.
    order: Option<u64>,
    /// `None` when there was nothing to attempt any more.
    attempt: Option<Attempt>,
}

/// What a lane does next.
enum Pick {
    Delivery(DeliveryId, Option<u64>),
    /// Nothing now; perhaps at this time.
    Nothing(Option<Timestamp>),
}

impl Lane {
    pub(super) fn new(webhooks: Webhooks, id: EndpointId, wake: Arc<Notify>, ended: CancellationToken) -> Self {
        Self {
            webhooks,
            id,
            wake,
            ended,
            ahead: VecDeque::new(),
            fetched_to: 0,
            fetched_all: false,
            busy: HashSet::new(),
            taken: HashSet::new(),
            under_way: JoinSet::new(),
            being_stored: JoinSet::new(),
            retry_next: false,
        }
    }

    /// Works until the endpoint is closed or the process stops.
    pub(super) async fn run(mut self) {
        while !self.ended.is_cancelled() {
            let next_at = match self.begin().await {
                Ok(next_at) => next_at,
                Err(error) => {
                    tracing::error!(endpoint.id = %self.id, %error, "webhooks cannot be read; trying again");
                    Some(clock::now().plus(AFTER_TROUBLE))
                }
            };
            tokio::select! {
                () = self.ended.cancelled() => break,
                Some(done) = self.under_way.join_next(), if !self.under_way.is_empty() => self.attempted(done),
                Some(stored) = self.being_stored.join_next(), if !self.being_stored.is_empty() => {
                    if let Ok(delivery) = stored {
                        self.taken.remove(&delivery);
                    }
                }
                () = self.wake.notified() => self.fetched_all = false,
                () = sleep_until(next_at) => {}
            }
        }
        // What is under way is finished and noted if the process has time for it.
        while let Some(done) = self.under_way.join_next().await {
            self.attempted(done);
        }
        while self.being_stored.join_next().await.is_some() {}
    }

    /// Begins what can be begun; answers when to look again at the latest.
    async fn begin(&mut self) -> Result<Option<Timestamp>, ReadError> {
        let canary_at = self.canary().await?;
        while self.under_way.len() < UNDER_WAY && self.being_stored.len() < BEING_STORED {
            match self.pick()? {
                Pick::Delivery(delivery, order) => {
                    self.taken.insert(delivery);
                    self.busy.extend(order);
                    let webhooks = self.webhooks.clone();
                    self.under_way.spawn(async move {
                        // A panic is a failed attempt: the delivery must not stay taken, nor its chat busy.
                        let attempt = AssertUnwindSafe(attempt(&webhooks, delivery))
                            .catch_unwind()
                            .await
                            .unwrap_or_else(|_| Some(failed("the attempt crashed in the gateway".to_owned())));
                        Done {
                            delivery,
                            order,
                            attempt,
                        }
                    });
                }
                Pick::Nothing(at) => {
                    return Ok(match (at, canary_at) {
                        (Some(one), Some(other)) => Some(one.min(other)),
                        (one, other) => one.or(other),
                    });
                }
            }
        }
        Ok(canary_at)
    }

    fn pick(&mut self) -> Result<Pick, ReadError> {
        self.fetch()?;
        let now = clock::now();
        let (id, wanted) = (self.id, self.taken.len() + 1);
        let retries = self
            .webhooks
            .shared
            .store
            .read(|view| view.retried_deliveries(id, wanted))?;
        let retry = retries.into_iter().find(|retry| !self.taken.contains(&retry.delivery));
        let due = retry.filter(|retry| retry.due_at <= now);
        let new = self
            .ahead
            .iter()
            .position(|waiting| !self.busy.contains(&waiting.order));
        Ok(match (due, new) {
            (Some(retry), None) => Pick::Delivery(retry.delivery, None),
            (Some(retry), Some(_)) if self.retry_next => {
                self.retry_next = false;
                Pick::Delivery(retry.delivery, None)
            }
            (_, Some(index)) => {
                self.retry_next = true;
                match self.ahead.remove(index) {
                    Some(waiting) => Pick::Delivery(waiting.delivery, Some(waiting.order)),
                    None => Pick::Nothing(None),
                }
            }
            (None, None) => Pick::Nothing(retry.map(|retry| retry.due_at)),
        })
    }

    fn fetch(&mut self) -> Result<(), ReadError> {
        let all_busy = self.ahead.iter().all(|waiting| self.busy.contains(&waiting.order));
        if self.fetched_all || self.ahead.len() >= AHEAD || !(self.ahead.len() < UNDER_WAY || all_busy) {
            return Ok(());
        }
        let (id, after) = (self.id, self.fetched_to);
        let fetched = self
            .webhooks
            .shared
            .store
            .read(|view| view.new_deliveries(id, after, FETCHED))?;
        self.fetched_all = fetched.len() < FETCHED;
        if let Some(last) = fetched.last() {
            self.fetched_to = last.sequence;
        }
        self.ahead.extend(fetched);
        Ok(())
    }

    /// An attempt is over: the chat goes on at once, the outcome is stored beside.
    fn attempted(&mut self, done: Result<Done, tokio::task::JoinError>) {
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                // Only when the runtime ends; the next start repeats it.
                tracing::error!(endpoint.id = %self.id, %error, "an attempt to deliver was cut off");
                return;
            }
        };
        if let Some(order) = done.order {
            self.busy.remove(&order);
        }
        let Some(attempt) = done.attempt else {
            self.taken.remove(&done.delivery);
            return;
        };
        let (webhooks, delivery) = (self.webhooks.clone(), done.delivery);
        self.being_stored.spawn(async move {
            loop {
                match note(&webhooks, delivery, &attempt).await {
                    Ok(_) | Err(WriteError::Closed) => return delivery,
                    Err(error) => {
                        tracing::error!(delivery.id = %delivery, %error, "the outcome of a webhook cannot be stored yet");
                        clock::sleep(AFTER_TROUBLE).await;
                    }
                }
            }
        });
    }

    /// Sends the canary when it is due; answers when the next one is.
    async fn canary(&mut self) -> Result<Option<Timestamp>, ReadError> {
        let id = self.id;
        let (endpoint, health) = self
            .webhooks
            .shared
            .store
            .read(|view| Ok((view.endpoint(id)?, view.health(id)?)))?;
        let Some(every) = endpoint.and_then(|endpoint| endpoint.canary_seconds) else {
            return Ok(None);
        };
        let now = clock::now();
        if let Some(due_at) = health.canary_due_at.filter(|due_at| *due_at > now) {
            // A shorter interval than before takes effect at once.
            return Ok(Some(due_at.min(now.plus(Duration::from_secs(every.into())))));
        }
        let next = now.plus(Duration::from_secs(every.into()));
        let made = self
            .webhooks
            .shared
            .store
            .write(move |tx| {
                let mut health = tx.health(id)?;
                health.canary_due_at = Some(next);
                tx.put_health(id, &health)?;
                insert_synthetic(tx, id, Subject::Canary, None)
            })
            .await;
        match made {
            Ok(_) => self.fetched_all = false,
            Err(error) => tracing::error!(endpoint.id = %id, %error, "a canary could not be made"),
        }
        Ok(Some(next))
    }
}

async fn sleep_until(at: Option<Timestamp>) {
    match at {
        Some(at) => clock::sleep_until_time(at).await,
        None => std::future::pending().await,
    }
}

/// Makes a delivery that no event caused. A canary is left to the lane; a test is attempted by whoever asked for it.
fn insert_synthetic(
    tx: &mut Tx<'_>,
    endpoint: EndpointId,
    subject: Subject,
    request: Option<RequestId>,
) -> Result<Delivery, WriteError> {
    let now = clock::now();
    let event_id = EventId::apart(now);
    tx.put_payload(event_id, synthetic(subject, endpoint, event_id, now).as_bytes())?;
    tx.insert_delivery(&NewDelivery {
        endpoint_id: endpoint,
        instance_id: None,
        event: subject,
        event_id,
        // In order with nothing, so that a canary never waits behind a chat.
        order: u64::try_from(event_id.to_u128() & u128::from(u64::MAX)).unwrap_or(0),
        correlation_id: request,
        replay_of: None,
        queued: subject == Subject::Canary,
    })
}

/// Sends `webhook.test` now.
pub(super) async fn test(
    webhooks: &Webhooks,
    endpoint: EndpointId,
    request: RequestId,
    told: Note,
) -> Result<Delivery, WriteError> {
    let delivery = webhooks
        .shared
        .store
        .write(move |tx| {
            tx.audit(&told)?;
            insert_synthetic(tx, endpoint, Subject::Test, Some(request))
        })
        .await?;
    let noted = match attempt(webhooks, delivery.id).await {
        Some(attempt) => note(webhooks, delivery.id, &attempt).await?,
        None => None,
    };
    Ok(noted.unwrap_or(delivery))
}

/// Posts a delivery; `None` when it is settled, gone, or its endpoint is.
async fn attempt(webhooks: &Webhooks, id: DeliveryId) -> Option<Attempt> {
    let shared = &webhooks.shared;
    let read = shared.store.read(|view| {
        let Some(delivery) = view.delivery(id)?.filter(|delivery| !delivery.status.is_settled()) else {
            return Ok(None);
        };
        let Some(endpoint) = view
            .endpoint(delivery.endpoint_id)?
            .filter(|it| it.deleted_at.is_none())
        else {
            return Ok(None);
        };
        let payload = view.payload(delivery.event_id)?;
        Ok(Some((delivery, endpoint, payload)))
    });
    let (delivery, endpoint, payload) = match read {
        Ok(found) => found?,
        Err(error) => return Some(failed(format!("the delivery cannot be read: {error}"))),
    };
    let Some(payload) = payload.map(Bytes::from) else {
        return Some(failed("the payload is gone".to_owned()));
    };
    let host = url::Url::parse(&endpoint.url)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_default();
    let places = webhooks.host(&host);
    // The semaphore is never closed.
    let _place = places.acquire().await.ok();
    let secrets = match open_secrets(webhooks, &endpoint) {
        Ok(secrets) => secrets,
        Err(problem) => return Some(failed(problem)),
    };
    let headers = [
        (SIGNATURE_HEADER, signature::header(&secrets, clock::now(), &payload)),
        ("X-WhatIsUp-Event", delivery.event.to_string()),
        ("X-WhatIsUp-Event-Id", delivery.event_id.to_string()),
        ("X-WhatIsUp-Correlation-Id", delivery.correlation_id.to_string()),
    ];
    let attempt = shared.client.get().post(&endpoint.url, &headers, payload).await;
    shared.metrics.note(endpoint.id, &attempt);
    tracing::debug!(
        endpoint.id = %endpoint.id,
        delivery.id = %id,
        event = %delivery.event,
        attempt = delivery.attempts.len() + 1,
        status = attempt.response_status,
        error = attempt.error,
        duration_ms = attempt.duration_ms,
        "webhook attempted"
    );
    Some(attempt)
}

fn open_secrets(webhooks: &Webhooks, endpoint: &Endpoint) -> Result<Vec<String>, String> {
    let now = clock::now();
    let previous = endpoint
        .previous_secret
        .as_ref()
        .filter(|previous| previous.until > now);
    std::iter::once(&endpoint.secret)
        .chain(previous.map(|previous| &previous.sealed))
        .map(|sealed| webhooks.secrets().open(endpoint.id, sealed))
        .collect::<Result<_, _>>()
        .map_err(|problem| problem.to_string())
}

fn failed(error: String) -> Attempt {
    Attempt {
        at: clock::now(),
        duration_ms: 0,
        response_status: None,
        response_body: None,
        error: Some(error),
    }
}

/// Stores an attempt: the delivery moves on, the endpoint's health is noted, `410` closes the endpoint.
async fn note(webhooks: &Webhooks, id: DeliveryId, attempt: &Attempt) -> Result<Option<Delivery>, WriteError> {
    let noted = {
        let attempt = attempt.clone();
        // One draw, so that a repeated transaction decides alike.
        let jitter: f64 = rand::random();
        webhooks
            .shared
            .store
            .write(move |tx| {
                let Some(mut delivery) = tx.delivery(id)?.filter(|delivery| !delivery.status.is_settled()) else {
                    return Ok(None);
                };
                let now = clock::now();
                let waits = match (delivery.event, delivery.instance_id) {
                    (Subject::Event(_), Some(instance)) => tx
                        .instance(instance)?
                        .map(|instance| instance.settings.backoff().to_vec())
                        .unwrap_or_default(),
                    // A later test or canary says more than a late one.
                    _ => Vec::new(),
                };
                delivery.note(attempt.clone(), &waits, jitter, now);
                tx.put_delivery(&delivery)?;
                let mut health = tx.health(delivery.endpoint_id)?;
                let was_failing = health.failing_since.is_some();
                health.note(delivery.event, &attempt);
                tx.put_health(delivery.endpoint_id, &health)?;
                if attempt.is_gone()
                    && let Some(mut endpoint) = tx.endpoint(delivery.endpoint_id)?.filter(Endpoint::takes_events)
                {
                    endpoint.disabled = Some(DisabledReason::Gone);
                    endpoint.updated_at = now;
                    tx.put_endpoint(&endpoint)?;
                    tx.audit(
                        &Note::by_system(Action::WebhooksDisable).on(Target::endpoint(endpoint.id, &endpoint.url)),
                    )?;
                }
                Ok(Some((delivery, was_failing, health)))
            })
            .await?
    };
    let Some((delivery, was_failing, health)) = noted else {
        return Ok(None);
    };
    let endpoint = delivery.endpoint_id;
    if attempt.is_gone() {
        tracing::warn!(endpoint.id = %endpoint, "a webhook endpoint answered 410 Gone and is disabled");
        if let Err(error) = webhooks.refresh(endpoint) {
            tracing::error!(endpoint.id = %endpoint, %error, "the endpoint could not be read again");
        }
    } else if !attempt.succeeded() && delivery.status.is_settled() {
        tracing::warn!(
            endpoint.id = %endpoint,
            delivery.id = %delivery.id,
            attempts = delivery.attempts.len(),
            error = attempt.problem(),
            "a webhook was given up; it can be replayed"
        );
    } else if !was_failing && health.failing_since.is_some() {
        tracing::warn!(endpoint.id = %endpoint, error = attempt.problem(), "a webhook endpoint begins to fail");
    } else if was_failing && health.failing_since.is_none() {
        tracing::info!(endpoint.id = %endpoint, "a webhook endpoint works again");
    }
    Ok(Some(delivery))
}
