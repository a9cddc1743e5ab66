//! Webhook deliveries: what is owed to each endpoint, and what became of it.
//!
//! A delivery stands in one queue of its endpoint while something is owed: among the new ones, by place, until it was
//! attempted, then among the retried ones, by the time it is due. Nothing is ever kept in memory alone, so a process
//! that is killed owes afterwards what it owed before.

use std::ops::ControlFlow;

use super::encoding::{Key, Parts, Span, decode};
use super::error::{ReadError, WriteError};
use super::rows::{Order, Rows, Tx, View, step};
use super::tables::{
    DELIVERIES, DELIVERIES_BY_ENDPOINT, DELIVERIES_BY_EVENT, DELIVERIES_BY_EXPIRY, DELIVERIES_NEW, DELIVERIES_RETRIED,
    JOURNAL, PAYLOADS, Table,
};
use crate::domain::Timestamp;
use crate::domain::event::{EventName, Frame};
use crate::domain::id::{DeliveryId, EndpointId, EventId, InstanceId, RequestId};
use crate::domain::webhook::{Delivery, DeliveryStatus, Endpoint, KEPT_OTHERWISE, Subject, order_of};
use crate::sys::clock;

/// How many rows a filtered page looks at before it ends short; the cursor goes on where it stopped.
const LOOKED_AT: usize = 20_000;

/// The length of a time at the start of a key.
const TIME_BYTES: usize = 8;

/// A delivery to be made.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// Where to.
    pub endpoint_id: EndpointId,
    /// Where the event happened; `None` for tests and canaries.
    pub instance_id: Option<InstanceId>,
    /// What it carries.
    pub event: Subject,
    /// The event.
    pub event_id: EventId,
    /// See [`order_of`].
    pub order: u64,
    /// The request that caused it, if one did.
    pub correlation_id: Option<RequestId>,
    /// The delivery that it repeats.
    pub replay_of: Option<DeliveryId>,
    /// Whether the endpoint's worker shall attempt it; a test is attempted by who asked for it.
    pub queued: bool,
}

/// A place in an endpoint's queue of new deliveries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Its place.
    pub sequence: u64,
    /// The delivery.
    pub delivery: DeliveryId,
    /// See [`order_of`].
    pub order: u64,
}

/// A failed delivery that is tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    /// When.
    pub due_at: Timestamp,
    /// The delivery.
    pub delivery: DeliveryId,
}

/// What is owed to an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Debt {
    /// Never attempted.
    pub new: u64,
    /// Attempted at least once.
    pub retried: u64,
    /// When the oldest delivery that could be attempted now was due.
    pub oldest_due_at: Option<Timestamp>,
}

/// Which deliveries a list shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeliveryFilter {
    /// Of one endpoint.
    pub endpoint_id: Option<EndpointId>,
    /// In one state.
    pub status: Option<DeliveryStatus>,
    /// Carrying this.
    pub event: Option<Subject>,
    /// Of one instance.
    pub instance_id: Option<InstanceId>,
    /// To one of these endpoints; `None` is all. For callers who see only some.
    pub endpoints: Option<Vec<EndpointId>>,
}

impl DeliveryFilter {
    fn wants(&self, delivery: &Delivery) -> bool {
        self.endpoint_id.is_none_or(|id| id == delivery.endpoint_id)
            && self.status.is_none_or(|status| status == delivery.status)
            && self.event.is_none_or(|event| event == delivery.event)
            && (self.instance_id.is_none() || self.instance_id == delivery.instance_id)
            && self
                .endpoints
                .as_ref()
                .is_none_or(|ids| ids.contains(&delivery.endpoint_id))
    }
}

/// A page of deliveries.
#[derive(Clone, Debug)]
pub struct DeliveryPage {
    /// The deliveries, newest first.
    pub deliveries: Vec<Delivery>,
    /// Where the next page begins; `None` at the end. A page may be short, or empty, and still have a next one.
    pub next: Option<DeliveryId>,
}

impl Tx<'_> {
    /// Makes a delivery for every endpoint that wants the event.
    pub(super) fn deliver_to_endpoints(&mut self, frame: &Frame, cause: Option<RequestId>) -> Result<(), WriteError> {
        let endpoints = self.open_endpoints()?;
        let wanting: Vec<EndpointId> = endpoints
            .iter()
            .filter(|endpoint| endpoint.wants(frame.instance, frame.name))
            .map(|endpoint| endpoint.id)
            .collect();
        self.batch.endpoints = Some(endpoints);
        let (Some(event_id), false) = (frame.id, wanting.is_empty()) else {
            return Ok(());
        };
        let json = frame.json();
        self.put_payload(event_id, &json)?;
        let order = order_of(&json);
        for endpoint_id in wanting {
            self.insert_delivery(&NewDelivery {
                endpoint_id,
                instance_id: Some(frame.instance),
                event: Subject::Event(frame.name),
                event_id,
                order,
                correlation_id: cause,
                replay_of: None,
                queued: true,
            })?;
        }
        Ok(())
    }

    /// Stores what deliveries of an event carry; once is enough for all of them.
    pub fn put_payload(&mut self, event: EventId, json: &[u8]) -> Result<(), WriteError> {
        self.put(PAYLOADS, Key::of_id(event.to_u128()).as_slice(), json)
    }

    /// Makes a delivery, at the end of its endpoint's queue. Its payload must be stored already.
    pub fn insert_delivery(&mut self, new: &NewDelivery) -> Result<Delivery, WriteError> {
        let now = clock::now();
        let head = self.head_mut();
        let sequence = head.next_sequence;
        head.next_sequence += 1;
        let delivery = Delivery {
            id: DeliveryId::numbered(now, sequence),
            endpoint_id: new.endpoint_id,
            instance_id: new.instance_id,
            event: new.event,
            event_id: new.event_id,
            sequence,
            order: new.order,
            correlation_id: new.correlation_id.unwrap_or_else(|| RequestId::new(now)),
            replay_of: new.replay_of,
            status: DeliveryStatus::Pending,
            attempts: Vec::new(),
            next_attempt_at: new.queued.then_some(now),
            delivered_at: None,
            created_at: now,
            updated_at: now,
            expires_at: now.plus(KEPT_OTHERWISE),
        };
        let id = delivery.id.to_u128();
        if new.queued {
            let place = Key::empty().id(id).u64(delivery.order);
            self.put(DELIVERIES_NEW, new_key(&delivery).as_slice(), place.as_slice())?;
        }
        self.put(
            DELIVERIES_BY_ENDPOINT,
            Key::of_id(delivery.endpoint_id.to_u128()).id(id).as_slice(),
            &[],
        )?;
        self.put(
            DELIVERIES_BY_EVENT,
            Key::of_id(delivery.event_id.to_u128()).id(id).as_slice(),
            &[],
        )?;
        self.put(DELIVERIES_BY_EXPIRY, expiry_key(&delivery).as_slice(), &[])?;
        self.put_json(DELIVERIES, Key::of_id(id).as_slice(), &delivery)?;
        Ok(delivery)
    }

    /// A delivery.
    pub fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, WriteError> {
        Ok(delivery(self, id)?)
    }

    /// Overwrites a delivery and moves it to the queue, and to the place among what expires, that now fit.
    ///
    /// A delivery that was swept meanwhile stays away.
    pub fn put_delivery(&mut self, delivery: &Delivery) -> Result<(), WriteError> {
        let Some(before) = self.delivery(delivery.id)? else {
            return Ok(());
        };
        self.unqueue(&before)?;
        let id = delivery.id.to_u128();
        if let Some(due_at) = delivery.next_attempt_at {
            if delivery.attempts.is_empty() {
                let place = Key::empty().id(id).u64(delivery.order);
                self.put(DELIVERIES_NEW, new_key(delivery).as_slice(), place.as_slice())?;
            } else {
                let place = retry_key(delivery, due_at);
                self.put(DELIVERIES_RETRIED, place.as_slice(), Key::of_id(id).as_slice())?;
            }
        }
        if before.expires_at != delivery.expires_at {
            self.remove(DELIVERIES_BY_EXPIRY, expiry_key(&before).as_slice())?;
            self.put(DELIVERIES_BY_EXPIRY, expiry_key(delivery).as_slice(), &[])?;
        }
        self.put_json(DELIVERIES, Key::of_id(id).as_slice(), delivery)
    }

    /// Takes a delivery out of its queue.
    fn unqueue(&mut self, delivery: &Delivery) -> Result<(), WriteError> {
        if let Some(due_at) = delivery.next_attempt_at {
            if delivery.attempts.is_empty() {
                self.remove(DELIVERIES_NEW, new_key(delivery).as_slice())?;
            } else {
                self.remove(DELIVERIES_RETRIED, retry_key(delivery, due_at).as_slice())?;
            }
        }
        Ok(())
    }

    /// Gives up what is owed to an endpoint, at most `limit` deliveries; answers how many there were.
    pub fn give_up(&mut self, endpoint: EndpointId, limit: usize) -> Result<usize, WriteError> {
        let span = Span::under(&Key::of_id(endpoint.to_u128()));
        let mut ids = Vec::new();
        for table in [DELIVERIES_NEW, DELIVERIES_RETRIED] {
            let left = limit - ids.len();
            let mut taken = 0;
            if left > 0 {
                self.scan(table, &span, Order::Up, &mut |_, row| {
                    ids.extend(delivery_in(row));
                    taken += 1;
                    Ok(step(taken < left))
                })?;
            }
        }
        let now = clock::now();
        for id in &ids {
            let Some(mut delivery) = self.delivery(*id)? else {
                continue;
            };
            delivery.status = DeliveryStatus::Failed;
            delivery.next_attempt_at = None;
            delivery.updated_at = now;
            // The row must leave the queue it stands in, which `put_delivery` reads from the stored state.
            self.put_delivery(&delivery)?;
        }
        Ok(ids.len())
    }

    /// Removes deliveries that expired, and payloads that no delivery needs any more.
    pub(super) fn remove_deliveries(&mut self, expired: &[Vec<u8>]) -> Result<u64, WriteError> {
        let mut removed = 0;
        for key in expired {
            let id = &key[TIME_BYTES..];
            let row: Option<Delivery> = self.get_json(DELIVERIES, id)?;
            // The index may be a step behind what an attempt has just written.
            if let Some(delivery) = row.filter(|delivery| expiry_key(delivery).as_slice() == key.as_slice()) {
                self.unqueue(&delivery)?;
                let event = Key::of_id(delivery.event_id.to_u128());
                let endpoint = Key::of_id(delivery.endpoint_id.to_u128());
                self.remove(DELIVERIES_BY_ENDPOINT, endpoint.last(id).as_slice())?;
                self.remove(DELIVERIES_BY_EVENT, event.clone().last(id).as_slice())?;
                if !self.any(DELIVERIES_BY_EVENT, &Span::under(&event))? {
                    self.remove(PAYLOADS, event.as_slice())?;
                }
                self.remove(DELIVERIES, id)?;
                removed += 1;
            }
            self.remove(DELIVERIES_BY_EXPIRY, key)?;
        }
        Ok(removed)
    }
}

impl View<'_> {
    /// A delivery.
    pub fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, ReadError> {
        delivery(self, id)
    }

    /// What deliveries of an event carry.
    pub fn payload(&self, event: EventId) -> Result<Option<Vec<u8>>, ReadError> {
        self.get(PAYLOADS, Key::of_id(event.to_u128()).as_slice())
    }

    /// Deliveries of an endpoint that were never attempted, by place, behind `after`.
    pub fn new_deliveries(&self, endpoint: EndpointId, after: u64, limit: usize) -> Result<Vec<Waiting>, ReadError> {
        let queue = Key::of_id(endpoint.to_u128());
        let span = Span::under(&queue).after(&queue.clone().u64(after));
        let mut found = Vec::new();
        if limit > 0 {
            self.scan(DELIVERIES_NEW, &span, Order::Up, &mut |key, row| {
                let (mut key, mut row) = (Parts(&key[16..]), Parts(row));
                let parts = (key.take(), row.id(), row.take());
                let (Some(sequence), Some(delivery), Some(order)) = parts else {
                    return Err(ReadError::corrupt(DELIVERIES_NEW, "too short"));
                };
                found.push(Waiting {
                    sequence: u64::from_be_bytes(sequence),
                    delivery: DeliveryId::from_u128(delivery),
                    order: u64::from_be_bytes(order),
                });
                Ok(step(found.len() < limit))
            })?;
        }
        Ok(found)
    }

    /// Failed deliveries of an endpoint that are tried again, soonest first.
    pub fn retried_deliveries(&self, endpoint: EndpointId, limit: usize) -> Result<Vec<Retry>, ReadError> {
        let mut found = Vec::new();
        if limit > 0 {
            let span = Span::under(&Key::of_id(endpoint.to_u128()));
            self.scan(DELIVERIES_RETRIED, &span, Order::Up, &mut |key, row| {
                let (Some(due_at), Some(delivery)) = (Parts(&key[16..]).i64(), delivery_in(row)) else {
                    return Err(ReadError::corrupt(DELIVERIES_RETRIED, "too short"));
                };
                found.push(Retry {
                    due_at: Timestamp::from_millis(due_at),
                    delivery,
                });
                Ok(step(found.len() < limit))
            })?;
        }
        Ok(found)
    }

    /// What is owed to an endpoint; walks its queues.
    pub fn debt(&self, endpoint: EndpointId, now: Timestamp) -> Result<Debt, ReadError> {
        let span = Span::under(&Key::of_id(endpoint.to_u128()));
        let mut debt = Debt::default();
        let count = |table: Table| {
            let mut rows = 0;
            self.scan(table, &span, Order::Up, &mut |_, _| {
                rows += 1;
                Ok(step(true))
            })?;
            Ok::<u64, ReadError>(rows)
        };
        debt.new = count(DELIVERIES_NEW)?;
        debt.retried = count(DELIVERIES_RETRIED)?;
        let oldest_new = match self.new_deliveries(endpoint, 0, 1)?.first() {
            Some(waiting) => self.delivery(waiting.delivery)?.map(|delivery| delivery.created_at),
            None => None,
        };
        let retries = self.retried_deliveries(endpoint, 1)?;
        let oldest_retry = retries.first().map(|retry| retry.due_at).filter(|due| *due <= now);
        debt.oldest_due_at = match (oldest_new, oldest_retry) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Ok(debt)
    }

    /// Deliveries that the filter wants, newest first, older than `before`.
    pub fn deliveries(
        &self,
        filter: &DeliveryFilter,
        before: Option<DeliveryId>,
        limit: usize,
    ) -> Result<DeliveryPage, ReadError> {
        let mut page = DeliveryPage {
            deliveries: Vec::new(),
            next: None,
        };
        let mut looked_at = 0;
        let mut last = None;
        let mut look = |delivery: Delivery| {
            if page.deliveries.len() >= limit || looked_at >= LOOKED_AT {
                page.next = last;
                return ControlFlow::Break(());
            }
            looked_at += 1;
            last = Some(delivery.id);
            if filter.wants(&delivery) {
                page.deliveries.push(delivery);
            }
            step(true)
        };
        if let Some(endpoint) = filter.endpoint_id {
            let own = Key::of_id(endpoint.to_u128());
            let mut span = Span::under(&own);
            if let Some(before) = before {
                span = span.before(&own.id(before.to_u128()));
            }
            self.scan(DELIVERIES_BY_ENDPOINT, &span, Order::Down, &mut |key, _| {
                let Some(id) = Parts(&key[16..]).id().map(DeliveryId::from_u128) else {
                    return Err(ReadError::corrupt(DELIVERIES_BY_ENDPOINT, "too short"));
                };
                Ok(match self.delivery(id)? {
                    Some(delivery) => look(delivery),
                    None => step(true),
                })
            })?;
        } else {
            let span = match before {
                Some(before) => Span::ALL.before(&Key::of_id(before.to_u128())),
                None => Span::ALL,
            };
            self.scan(DELIVERIES, &span, Order::Down, &mut |_, bytes| {
                Ok(look(decode(DELIVERIES, bytes)?))
            })?;
        }
        Ok(page)
    }

    /// The keys of deliveries that expired before `cutoff`, behind `after`.
    pub(super) fn expired_deliveries(&self, cutoff: Timestamp, limit: usize) -> Result<Vec<Vec<u8>>, ReadError> {
        self.keys_in(DELIVERIES_BY_EXPIRY, &Span::ALL.before(&Key::of_time(cutoff)), limit)
    }

    /// Visits journaled events of a stretch of time that an endpoint wants, oldest first: id, instance, name and JSON.
    ///
    /// `names` narrows further; empty is what the endpoint wants. Answers where to go on, or `None` at the end.
    pub fn events_for(
        &self,
        endpoint: &Endpoint,
        names: &[EventName],
        stretch: Stretch,
        limit: usize,
    ) -> Result<EventsFor, ReadError> {
        let from = EventId::floor(stretch.since).to_u128();
        let mut span = Span::ALL;
        if let Some(until) = stretch.until {
            span = span.before(&Key::of_id(EventId::floor(until).to_u128()));
        }
        span = match stretch.after {
            Some(after) => span.after(&Key::of_id(after.to_u128())),
            // Everything from the floor on; one below it cannot be an id of that time.
            None => span.after(&Key::of_id(from.saturating_sub(1))),
        };
        let mut found = EventsFor::default();
        let mut looked_at = 0;
        self.scan(JOURNAL, &span, Order::Up, &mut |key, row| {
            if found.frames.len() >= limit || looked_at >= LOOKED_AT {
                found.more = true;
                return Ok(ControlFlow::Break(()));
            }
            looked_at += 1;
            let frame = super::journal::from_row(key, row).map_err(|cause| ReadError::corrupt(JOURNAL, cause))?;
            found.scanned_to = frame.id;
            let is_asked_for = names.is_empty() || names.contains(&frame.name);
            if is_asked_for && endpoint.wants(frame.instance, frame.name) {
                found.frames.push(frame);
            }
            Ok(step(true))
        })?;
        Ok(found)
    }
}

/// A stretch of the journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// From here on …
    pub since: Timestamp,
    /// … and before this, or to the end.
    pub until: Option<Timestamp>,
    /// Behind this event; the next page begins where the last one ended.
    pub after: Option<EventId>,
}

/// A page of journaled events for an endpoint.
#[derive(Clone, Debug, Default)]
pub struct EventsFor {
    /// The events.
    pub frames: Vec<Frame>,
    /// The last event looked at.
    pub scanned_to: Option<EventId>,
    /// Whether more may follow.
    pub more: bool,
}

fn new_key(delivery: &Delivery) -> Key {
    Key::of_id(delivery.endpoint_id.to_u128()).u64(delivery.sequence)
}

fn retry_key(delivery: &Delivery, due_at: Timestamp) -> Key {
    Key::of_id(delivery.endpoint_id.to_u128())
        .i64(due_at.millis())
        .u64(delivery.sequence)
}

fn expiry_key(delivery: &Delivery) -> Key {
    Key::of_time(delivery.expires_at).id(delivery.id.to_u128())
}

fn delivery_in(row: &[u8]) -> Option<DeliveryId> {
    Parts(row).id().map(DeliveryId::from_u128)
}

fn delivery(rows: &impl Rows, id: DeliveryId) -> Result<Option<Delivery>, ReadError> {
    rows.get_json(DELIVERIES, Key::of_id(id.to_u128()).as_slice())
}
