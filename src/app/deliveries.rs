//! Webhook deliveries: looked at, and sent again.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{App, Page, customer, webhooks};
use crate::domain::Timestamp;
use crate::domain::access::{Caller, Scope};
use crate::domain::audit::{Action, Note, Target, TargetKind};
use crate::domain::error::{Code, Error};
use crate::domain::id::{CustomerId, DeliveryId, EndpointId, EventId, InstanceId, RequestId};
use crate::domain::webhook::{Attempt, Delivery, DeliveryStatus, Subject};
use crate::store::{DeliveryFilter, NewDelivery};

/// A delivery as callers see it.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "WebhookDelivery")]
pub struct Shown {
    /// Its public name.
    pub id: DeliveryId,
    /// Where it goes.
    pub endpoint_id: EndpointId,
    /// The owner of this installation.
    pub customer_id: CustomerId,
    /// Where the event happened; absent for tests and canaries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<InstanceId>,
    /// What it carries.
    pub event: Subject,
    /// The event's id, the same on every attempt and replay.
    pub event_id: EventId,
    /// The body that is posted; in answers about one delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// How many attempts were made.
    pub attempt_count: usize,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The status of the last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_response_status: Option<u16>,
    /// When the next attempt is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// When it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
    /// What receivers get as correlation id.
    pub correlation_id: RequestId,
    /// The delivery that this one repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_of: Option<DeliveryId>,
    /// Every attempt.
    pub attempts: Vec<Attempt>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Shown {
    fn of(delivery: Delivery, customer_id: CustomerId, payload: Option<Value>) -> Self {
        let last = delivery.attempts.last();
        Self {
            id: delivery.id,
            endpoint_id: delivery.endpoint_id,
            customer_id,
            instance_id: delivery.instance_id,
            event: delivery.event,
            event_id: delivery.event_id,
            payload,
            status: delivery.status,
            attempt_count: delivery.attempts.len(),
            last_error: last.filter(|attempt| !attempt.succeeded()).map(Attempt::problem),
            last_response_status: last.and_then(|attempt| attempt.response_status),
            next_attempt_at: delivery.next_attempt_at,
            delivered_at: delivery.delivered_at,
            correlation_id: delivery.correlation_id,
            replay_of: delivery.replay_of,
            attempts: delivery.attempts,
            created_at: delivery.created_at,
            updated_at: delivery.updated_at,
        }
    }
}

/// Deliveries to endpoints that the caller may see, newest first. A page may be shorter than asked for and still have
/// a next one.
pub fn list(
    app: &App,
    caller: &Caller,
    mut filter: DeliveryFilter,
    before: Option<DeliveryId>,
    limit: usize,
) -> Result<Page<Shown>, Error> {
    caller.require(Scope::WebhooksRead)?;
    let customer = customer(&app.store)?;
    let page = app.store.read(|view| {
        if caller.instance.is_some() {
            let seen = view.endpoints(None, usize::MAX, |endpoint| webhooks::sees(caller, endpoint))?;
            filter.endpoints = Some(seen.iter().map(|endpoint| endpoint.id).collect());
        }
        view.deliveries(&filter, before, limit)
    })?;
    Ok(Page {
        data: page
            .deliveries
            .into_iter()
            .map(|delivery| Shown::of(delivery, customer, None))
            .collect(),
        next_cursor: page.next.map(|id| id.to_string()),
    })
}

/// One delivery, with what it carries.
pub fn get(app: &App, caller: &Caller, id: DeliveryId) -> Result<Shown, Error> {
    caller.require(Scope::WebhooksRead)?;
    with_payload(app, visible(app, caller, id)?)
}

/// Sends a delivery again, as a new one that names it; the old one stays as it is.
pub async fn replay(app: &App, caller: &Caller, id: DeliveryId, request: RequestId) -> Result<Shown, Error> {
    caller.require(Scope::WebhooksWrite)?;
    let delivery = visible(app, caller, id)?;
    let endpoint = app
        .store
        .read(|view| view.endpoint(delivery.endpoint_id))?
        .filter(|endpoint| endpoint.deleted_at.is_none());
    if endpoint.is_none() {
        return Err(Error::new(
            Code::EndpointNotFound,
            "The endpoint of this delivery was deleted; replay the range to another endpoint.",
        ));
    }
    let note = Note::by(caller, Action::DeliveriesReplay).on(Target::of(
        TargetKind::WebhookDelivery,
        &id,
        Some(delivery.event.to_string()),
    ));
    let repeated = app
        .store
        .write(move |tx| {
            tx.audit(&note)?;
            tx.insert_delivery(&repetition(&delivery, request))
        })
        .await?;
    app.webhooks.refresh(repeated.endpoint_id)?;
    with_payload(app, repeated)
}

/// What repeats a delivery, without the weight of its attempts.
pub(super) fn repetition(delivery: &Delivery, request: RequestId) -> NewDelivery {
    NewDelivery {
        endpoint_id: delivery.endpoint_id,
        instance_id: delivery.instance_id,
        event: delivery.event,
        event_id: delivery.event_id,
        order: delivery.order,
        correlation_id: Some(request),
        replay_of: Some(delivery.id),
        queued: true,
    }
}

pub(super) fn with_payload(app: &App, delivery: Delivery) -> Result<Shown, Error> {
    let payload = app.store.read(|view| view.payload(delivery.event_id))?;
    let payload = payload
        .map(|json| serde_json::from_slice(&json))
        .transpose()
        .map_err(Error::internal)?;
    Ok(Shown::of(delivery, customer(&app.store)?, payload))
}

fn visible(app: &App, caller: &Caller, id: DeliveryId) -> Result<Delivery, Error> {
    let found = app.store.read(|view| {
        let Some(delivery) = view.delivery(id)? else {
            return Ok(None);
        };
        let endpoint = view.endpoint(delivery.endpoint_id)?;
        Ok(endpoint
            .is_some_and(|endpoint| webhooks::sees(caller, &endpoint))
            .then_some(delivery))
    })?;
    found.ok_or_else(unknown)
}

fn unknown() -> Error {
    Error::new(
        Code::DeliveryNotFound,
        "There is no webhook delivery with this id. Deliveries are kept 7 days after success and 30 days otherwise.",
    )
}

/// Reads a delivery's id; an unreadable one is unknown.
pub fn parse_id(text: &str) -> Result<DeliveryId, Error> {
    DeliveryId::parse(text).ok_or_else(unknown)
}
