//! Webhook endpoints: made, changed, tested, their secrets rotated, and the past sent again.
//!
//! A key that is bound to one instance sees the endpoints of that instance alone, and can make no others.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{App, Change, Page, audit, customer, deliveries};
use crate::domain::Timestamp;
use crate::domain::access::{Caller, Scope};
use crate::domain::audit::{Action, Note, Target};
use crate::domain::error::{Code, Error, FieldProblem};
use crate::domain::event::EventName;
use crate::domain::id::{CustomerId, EndpointId, InstanceId, RequestId};
use crate::domain::webhook::{
    DeliveryStatus, DisabledReason, Endpoint, Health, PreviousSecret, ROTATION_OVERLAP, Subject, order_of,
};
use crate::store::{Debt, DeliveryFilter, NewDelivery, Stretch, Tx, WriteError};
use crate::sys::clock;
use crate::webhooks::secrets;

/// The most endpoints of one installation: an event is compared with each.
const MOST: usize = 1_000;

/// Longest description, in characters.
pub const DESCRIPTION_CHARACTERS: usize = 200;

/// Shortest and longest secret that a caller may choose.
pub const SECRET_CHARACTERS: std::ops::RangeInclusive<usize> = 16..=200;

/// Shortest and longest interval of canaries.
pub const CANARY_SECONDS: std::ops::RangeInclusive<u64> = 60..=86_400;

/// Deliveries made in one transaction of a replay.
const AT_ONCE: usize = 200;

/// Deliveries given up in one transaction when their endpoint is deleted.
const GIVEN_UP_AT_ONCE: usize = 500;

/// An endpoint as callers see it: without its secret.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "WebhookEndpoint")]
pub struct Shown {
    /// Its public name.
    pub id: EndpointId,
    /// The owner of this installation.
    pub customer_id: CustomerId,
    /// Where events are posted.
    pub url: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Which events; `["*"]` is all, also those that a later version brings.
    pub events: Vec<&'static str>,
    /// Of which instance, when it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<InstanceId>,
    /// Of which instances; absent is all, also those that come later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_ids: Option<Vec<InstanceId>>,
    /// Whether it gets events.
    pub enabled: bool,
    /// Why it gets none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<DisabledReason>,
    /// Whether the signing secret was chosen by the caller.
    pub has_custom_signing_secret: bool,
    /// Until when the secret before the last rotation signs too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_secret_expires_at: Option<Timestamp>,
    /// Every how many seconds a `webhook.canary` is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_interval_seconds: Option<u32>,
    /// How deliveries go.
    pub health: ShownHealth,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// How deliveries to an endpoint go.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "WebhookEndpointHealth")]
pub struct ShownHealth {
    /// In one word.
    pub status: HealthStatus,
    /// When the way was last proven open by a 2xx answer: last proven good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_proven_at: Option<Timestamp>,
    /// When a canary was last answered with 2xx.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_proven_at: Option<Timestamp>,
    /// When an attempt last failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure_at: Option<Timestamp>,
    /// Since when every attempt has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// How many attempts have failed in a row.
    pub consecutive_failures: u32,
    /// What the last failure was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Deliveries that were never attempted.
    pub pending: u64,
    /// Deliveries that failed and are tried again.
    pub retrying: u64,
    /// When the oldest delivery that could be attempted now was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_due_at: Option<Timestamp>,
}

/// How an endpoint does, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// Nothing was ever delivered.
    Unproven,
    /// The last attempt succeeded.
    Ok,
    /// The last attempt failed; what is owed is tried again.
    Failing,
    /// It gets nothing.
    Disabled,
}

impl Shown {
    fn of(endpoint: Endpoint, health: Health, debt: Debt, customer_id: CustomerId, now: Timestamp) -> Self {
        let status = if endpoint.disabled.is_some() {
            HealthStatus::Disabled
        } else if health.failing_since.is_some() {
            HealthStatus::Failing
        } else if health.last_success_at.is_some() {
            HealthStatus::Ok
        } else {
            HealthStatus::Unproven
        };
        let events = if endpoint.events.is_empty() {
            vec!["*"]
        } else {
            endpoint.events.iter().map(|name| name.as_str()).collect()
        };
        let instance_id = match endpoint.instance_ids.as_deref() {
            Some([one]) => Some(*one),
            _ => None,
        };
        Self {
            id: endpoint.id,
            customer_id,
            url: endpoint.url,
            description: endpoint.description,
            events,
            instance_id,
            instance_ids: endpoint.instance_ids,
            enabled: endpoint.disabled.is_none(),
            disabled_reason: endpoint.disabled,
            has_custom_signing_secret: endpoint.has_custom_signing_secret,
            previous_secret_expires_at: endpoint
                .previous_secret
                .map(|previous| previous.until)
                .filter(|until| *until > now),
            canary_interval_seconds: endpoint.canary_seconds,
            health: ShownHealth {
                status,
                last_proven_at: health.last_success_at,
                canary_proven_at: health.canary_proven_at,
                last_failure_at: health.last_failure_at,
                failing_since: health.failing_since,
                consecutive_failures: health.consecutive_failures,
                last_error: health.last_error,
                pending: debt.new,
                retrying: debt.retried,
                oldest_due_at: debt.oldest_due_at,
            },
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
        }
    }
}

/// An endpoint with the secret that is shown this once.
#[derive(Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "WebhookEndpointWithSecret")]
pub struct WithSecret {
    /// The endpoint.
    #[serde(flatten)]
    pub endpoint: Shown,
    /// The key of the signatures, prefix included. It cannot be shown again.
    pub signing_secret: String,
    /// How many events of the past were put into the queue, when `replay_since` asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed: Option<u64>,
}

/// An endpoint that is wanted.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Draft {
    /// The target.
    pub url: String,
    /// For people.
    pub description: Option<String>,
    /// Which events; empty is all.
    pub events: Vec<EventName>,
    /// Of which instances; `None` is all the caller may see.
    pub instance_ids: Option<Vec<InstanceId>>,
    /// The caller's own secret.
    pub signing_secret: Option<String>,
    /// Whether it gets events at once.
    pub enabled: bool,
    /// Every how many seconds a canary is sent.
    pub canary_seconds: Option<u32>,
    /// From when on it also gets what the journal still has.
    pub replay_since: Option<Timestamp>,
}

/// A change; `None` leaves a field as it is.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Patch {
    /// The target.
    pub url: Option<String>,
    /// For people.
    pub description: Change<String>,
    /// Which events; empty is all.
    pub events: Option<Vec<EventName>>,
    /// Of which instances; none is all.
    pub instance_ids: Change<Vec<InstanceId>>,
    /// Whether it gets events.
    pub enabled: Option<bool>,
    /// Every how many seconds a canary is sent.
    pub canary_seconds: Change<u32>,
}

/// What of the past is sent again.
#[derive(Clone, PartialEq, Debug)]
pub struct Range {
    /// From here on …
    pub since: Timestamp,
    /// … and before this, or to the end.
    pub until: Option<Timestamp>,
    /// Only these events; empty is all that the endpoint wants.
    pub events: Vec<EventName>,
    /// Only what has a delivery to the endpoint in this state; without it, whatever the journal has.
    pub status: Option<DeliveryStatus>,
    /// Counts instead of sending.
    pub dry_run: bool,
}

/// What a replay of a range did, or would do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Replayed {
    /// How many deliveries.
    pub count: u64,
    /// Whether they were only counted.
    pub dry_run: bool,
    /// When the first of these events happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_event_at: Option<Timestamp>,
    /// When the last of these events happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event_at: Option<Timestamp>,
}

/// Makes an endpoint; the answer holds the secret that is never shown again.
pub async fn create(app: &App, caller: &Caller, mut draft: Draft, request: RequestId) -> Result<WithSecret, Error> {
    caller.require(Scope::WebhooksWrite)?;
    draft.instance_ids = instances_of(caller, draft.instance_ids)?;
    check(draft.description.as_deref(), draft.signing_secret.as_deref())?;
    let url = judged(app, &draft.url).await?;
    let now = clock::now();
    let id = EndpointId::new(now);
    let secret = draft.signing_secret.clone().unwrap_or_else(secrets::generate);
    let endpoint = Endpoint {
        id,
        url,
        description: draft.description,
        events: draft.events,
        instance_ids: draft.instance_ids,
        disabled: (!draft.enabled).then_some(DisabledReason::ByRequest),
        secret: app.webhooks.secrets().seal(id, &secret),
        previous_secret: None,
        has_custom_signing_secret: draft.signing_secret.is_some(),
        canary_seconds: draft.canary_seconds,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    if app.store.read(|view| view.endpoints(None, MOST, |_| true))?.len() >= MOST {
        return Err(Error::new(
            Code::AtCapacity,
            format!("There are {MOST} webhook endpoints already; delete some first."),
        ));
    }
    let row = endpoint.clone();
    let note = noted(caller, Action::WebhooksCreate, &endpoint).giving(&told(&endpoint));
    app.store
        .write(move |tx| {
            existing_instances(tx, row.instance_ids.as_deref().unwrap_or_default())?;
            tx.put_endpoint(&row)?;
            tx.audit(&note)
        })
        .await?;
    tracing::info!(endpoint.id = %id, "webhook endpoint created");
    let replayed = match draft.replay_since {
        Some(since) => {
            let range = Range {
                since,
                until: None,
                events: Vec::new(),
                status: None,
                dry_run: false,
            };
            let note = replayed_by(caller, &endpoint, &range);
            Some(from_journal(app, &endpoint, &range, request, note).await?.count)
        }
        None => None,
    };
    app.webhooks.refresh(id)?;
    Ok(WithSecret {
        endpoint: shown(app, endpoint)?,
        signing_secret: secret,
        replayed,
    })
}

/// The endpoints that the caller may see, newest first.
pub fn list(app: &App, caller: &Caller, before: Option<EndpointId>, limit: usize) -> Result<Page<Shown>, Error> {
    caller.require(Scope::WebhooksRead)?;
    let found = app
        .store
        .read(|view| view.endpoints(before, limit + 1, |endpoint| sees(caller, endpoint)))?;
    let shown = found
        .into_iter()
        .map(|endpoint| shown(app, endpoint))
        .collect::<Result<Vec<_>, Error>>()?;
    Ok(Page::cut(shown, limit, |endpoint: &Shown| endpoint.id.to_string()))
}

/// One endpoint.
pub fn get(app: &App, caller: &Caller, id: EndpointId) -> Result<Shown, Error> {
    caller.require(Scope::WebhooksRead)?;
    shown(app, visible(app, caller, id)?)
}

/// Changes an endpoint; what is owed to it goes to the new address.
pub async fn update(app: &App, caller: &Caller, id: EndpointId, mut patch: Patch) -> Result<Shown, Error> {
    caller.require(Scope::WebhooksWrite)?;
    visible(app, caller, id)?;
    patch.instance_ids = match patch.instance_ids {
        Change::Keep => Change::Keep,
        Change::Clear => Change::given(true, instances_of(caller, None)?),
        Change::To(ids) => Change::given(true, instances_of(caller, Some(ids))?),
    };
    let description = match &patch.description {
        Change::To(text) => Some(text.as_str()),
        Change::Keep | Change::Clear => None,
    };
    check(description, None)?;
    if let Some(url) = &patch.url {
        patch.url = Some(judged(app, url).await?);
    }
    let note = Note::by(caller, Action::WebhooksUpdate);
    let endpoint = change(app, id, move |tx, endpoint, now| {
        let before = told(endpoint);
        let url_before = endpoint.url.clone();
        if let Some(url) = &patch.url {
            endpoint.url.clone_from(url);
        }
        patch.description.apply(&mut endpoint.description);
        if let Some(events) = &patch.events {
            endpoint.events.clone_from(events);
        }
        patch.instance_ids.apply(&mut endpoint.instance_ids);
        if let Change::To(ids) = &patch.instance_ids {
            existing_instances(tx, ids)?;
        }
        match patch.enabled {
            Some(true) => endpoint.disabled = None,
            Some(false) if endpoint.disabled.is_none() => endpoint.disabled = Some(DisabledReason::ByRequest),
            _ => {}
        }
        patch.canary_seconds.apply(&mut endpoint.canary_seconds);
        if patch.canary_seconds != Change::Keep {
            let mut health = tx.health(endpoint.id)?;
            health.canary_due_at = endpoint.canary_seconds.map(|_| now);
            tx.put_health(endpoint.id, &health)?;
        }
        let after = told(endpoint);
        if before != after {
            let note = note.clone().on(Target::endpoint(endpoint.id, &url_before));
            tx.audit(&note.changing(&before, &after))?;
        }
        Ok(())
    })
    .await?;
    shown(app, endpoint)
}

/// Gives an endpoint a new secret; the old one signs too for 24 hours.
pub async fn rotate(
    app: &App,
    caller: &Caller,
    id: EndpointId,
    signing_secret: Option<String>,
) -> Result<WithSecret, Error> {
    caller.require(Scope::WebhooksWrite)?;
    visible(app, caller, id)?;
    check(None, signing_secret.as_deref())?;
    let is_custom = signing_secret.is_some();
    let secret = signing_secret.unwrap_or_else(secrets::generate);
    let sealed = app.webhooks.secrets().seal(id, &secret);
    let note = Note::by(caller, Action::WebhooksRotateSecret);
    let endpoint = change(app, id, move |tx, endpoint, now| {
        let old = std::mem::replace(&mut endpoint.secret, sealed.clone());
        endpoint.previous_secret = Some(PreviousSecret {
            sealed: old,
            until: now.plus(ROTATION_OVERLAP),
        });
        endpoint.has_custom_signing_secret = is_custom;
        tx.audit(&note.clone().on(Target::endpoint(endpoint.id, &endpoint.url)))
    })
    .await?;
    tracing::info!(endpoint.id = %id, "webhook secret rotated");
    Ok(WithSecret {
        endpoint: shown(app, endpoint)?,
        signing_secret: secret,
        replayed: None,
    })
}

/// Deletes an endpoint and gives up what was owed to it; its deliveries stay readable for a while.
pub async fn delete(app: &App, caller: &Caller, id: EndpointId) -> Result<(), Error> {
    caller.require(Scope::WebhooksWrite)?;
    visible(app, caller, id)?;
    let note = Note::by(caller, Action::WebhooksDelete);
    change(app, id, move |tx, endpoint, now| {
        endpoint.deleted_at = Some(now);
        tx.audit(&note.clone().on(Target::endpoint(endpoint.id, &endpoint.url)))
    })
    .await?;
    while app.store.write(move |tx| tx.give_up(id, GIVEN_UP_AT_ONCE)).await? == GIVEN_UP_AT_ONCE {}
    tracing::info!(endpoint.id = %id, "webhook endpoint deleted");
    Ok(())
}

/// Sends `webhook.test` now and answers how it went.
pub async fn test(app: &App, caller: &Caller, id: EndpointId, request: RequestId) -> Result<deliveries::Shown, Error> {
    caller.require(Scope::WebhooksWrite)?;
    let endpoint = visible(app, caller, id)?;
    let note = noted(caller, Action::WebhooksTest, &endpoint);
    let delivery = app.webhooks.test(id, request, note).await?;
    deliveries::with_payload(app, delivery)
}

/// Sends a stretch of the past again, or counts what that would be.
pub async fn replay(
    app: &App,
    caller: &Caller,
    id: EndpointId,
    range: Range,
    request: RequestId,
) -> Result<Replayed, Error> {
    caller.require(Scope::WebhooksWrite)?;
    let endpoint = visible(app, caller, id)?;
    if range.until.is_some_and(|until| until <= range.since) {
        return Err(Error::invalid("body.until", "must be later than since"));
    }
    let note = replayed_by(caller, &endpoint, &range);
    let replayed = match range.status {
        Some(status) => of_status(app, &endpoint, &range, status, request, note).await?,
        None => from_journal(app, &endpoint, &range, request, note).await?,
    };
    if !range.dry_run {
        tracing::info!(endpoint.id = %id, count = replayed.count, "webhooks are sent again");
        app.webhooks.refresh(id)?;
    }
    Ok(replayed)
}

/// Whatever the journal has in the range that the endpoint wants. The row of the audit list comes with the first of them.
async fn from_journal(
    app: &App,
    endpoint: &Endpoint,
    range: &Range,
    request: RequestId,
    note: Note,
) -> Result<Replayed, Error> {
    let mut replayed = Replayed::nothing(range.dry_run);
    let mut note = Some(note);
    // What happens while this runs is delivered anyway.
    let end = app.store.head();
    let mut stretch = Stretch {
        since: range.since,
        until: range.until,
        after: None,
    };
    loop {
        let mut page = app
            .store
            .read(|view| view.events_for(endpoint, &range.events, stretch, AT_ONCE))?;
        page.frames.retain(|frame| frame.id <= end);
        for frame in &page.frames {
            replayed.add(frame.id.map(crate::domain::id::EventId::time));
        }
        if !range.dry_run && !page.frames.is_empty() {
            let (frames, endpoint_id) = (page.frames, endpoint.id);
            let note = note.take();
            app.store
                .write(move |tx| {
                    note.as_ref().map_or(Ok(()), |note| tx.audit(note))?;
                    for frame in &frames {
                        let Some(event_id) = frame.id else { continue };
                        let json = frame.json();
                        tx.put_payload(event_id, &json)?;
                        tx.insert_delivery(&NewDelivery {
                            endpoint_id,
                            instance_id: Some(frame.instance),
                            event: Subject::Event(frame.name),
                            event_id,
                            order: order_of(&json),
                            correlation_id: Some(request),
                            replay_of: None,
                            queued: true,
                        })?;
                    }
                    Ok(())
                })
                .await?;
        }
        if !page.more || page.scanned_to > end {
            return Ok(replayed);
        }
        stretch.after = page.scanned_to;
    }
}

/// Deliveries of the range in one state, oldest first.
async fn of_status(
    app: &App,
    endpoint: &Endpoint,
    range: &Range,
    status: DeliveryStatus,
    request: RequestId,
    note: Note,
) -> Result<Replayed, Error> {
    let mut replayed = Replayed::nothing(range.dry_run);
    let mut note = Some(note);
    let filter = DeliveryFilter {
        endpoint_id: Some(endpoint.id),
        status: Some(status),
        ..DeliveryFilter::default()
    };
    // Rows hold every attempt with its answer; a hundred thousand of them would not fit beside everything else.
    let mut found: Vec<NewDelivery> = Vec::new();
    let mut before = None;
    loop {
        let page = app.store.read(|view| view.deliveries(&filter, before, AT_ONCE))?;
        let wanted = page.deliveries.iter().filter(|delivery| {
            let happened_at = delivery.event_id.time();
            happened_at >= range.since
                && range.until.is_none_or(|until| happened_at < until)
                && match delivery.event {
                    Subject::Event(name) => range.events.is_empty() || range.events.contains(&name),
                    Subject::Test | Subject::Canary => false,
                }
        });
        found.extend(wanted.map(|delivery| deliveries::repetition(delivery, request)));
        match page.next {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    found.reverse();
    for repetition in &found {
        replayed.add(Some(repetition.event_id.time()));
    }
    if !range.dry_run {
        for chunk in found.chunks(AT_ONCE) {
            let chunk = chunk.to_vec();
            let note = note.take();
            app.store
                .write(move |tx| {
                    note.as_ref().map_or(Ok(()), |note| tx.audit(note))?;
                    for repetition in &chunk {
                        tx.insert_delivery(repetition)?;
                    }
                    Ok(())
                })
                .await?;
        }
    }
    Ok(replayed)
}

/// What a caller did to an endpoint.
fn noted(caller: &Caller, action: Action, endpoint: &Endpoint) -> Note {
    Note::by(caller, action).on(Target::endpoint(endpoint.id, &endpoint.url))
}

/// That a caller sent a stretch of the past again.
fn replayed_by(caller: &Caller, endpoint: &Endpoint, range: &Range) -> Note {
    let fields = serde_json::json!({
        "since": range.since,
        "until": range.until,
        "events": (!range.events.is_empty()).then_some(&range.events),
        "status": range.status,
    });
    noted(caller, Action::WebhooksReplay, endpoint).giving(&audit::fields(&fields))
}

/// What the audit list tells of an endpoint: everything but its secrets.
fn told(endpoint: &Endpoint) -> Map<String, Value> {
    #[derive(Serialize)]
    struct Fields<'a> {
        url: &'a str,
        description: Option<&'a str>,
        events: &'a [EventName],
        instance_ids: Option<&'a [InstanceId]>,
        enabled: bool,
        canary_interval_seconds: Option<u32>,
    }
    audit::fields(&Fields {
        url: &endpoint.url,
        description: endpoint.description.as_deref(),
        events: &endpoint.events,
        instance_ids: endpoint.instance_ids.as_deref(),
        enabled: endpoint.disabled.is_none(),
        canary_interval_seconds: endpoint.canary_seconds,
    })
}

impl Replayed {
    const fn nothing(dry_run: bool) -> Self {
        Self {
            count: 0,
            dry_run,
            first_event_at: None,
            last_event_at: None,
        }
    }

    fn add(&mut self, at: Option<Timestamp>) {
        self.count += 1;
        self.first_event_at = self.first_event_at.or(at);
        self.last_event_at = at;
    }
}

/// Whether a caller may see an endpoint: a bound key sees those of its instance alone.
pub(super) fn sees(caller: &Caller, endpoint: &Endpoint) -> bool {
    match caller.instance {
        None => true,
        Some(own) => endpoint.instance_ids.as_deref() == Some(&[own]),
    }
}

/// An endpoint that is there and that the caller may see.
fn visible(app: &App, caller: &Caller, id: EndpointId) -> Result<Endpoint, Error> {
    app.store
        .read(|view| view.endpoint(id))?
        .filter(|endpoint| endpoint.deleted_at.is_none() && sees(caller, endpoint))
        .ok_or_else(unknown)
}

/// The instances that a caller may name: all for most, its own for a bound key.
fn instances_of(caller: &Caller, wanted: Option<Vec<InstanceId>>) -> Result<Option<Vec<InstanceId>>, Error> {
    let wanted = wanted.map(|mut ids| {
        ids.sort_unstable();
        ids.dedup();
        ids
    });
    let Some(own) = caller.instance else { return Ok(wanted) };
    for id in wanted.iter().flatten() {
        caller.require_instance(*id)?;
    }
    Ok(Some(vec![own]))
}

fn existing_instances(tx: &Tx<'_>, ids: &[InstanceId]) -> Result<(), WriteError> {
    for id in ids {
        super::instances::existing(tx.instance(*id)?)?;
    }
    Ok(())
}

async fn judged(app: &App, url: &str) -> Result<String, Error> {
    match app.webhooks.policy().check(url).await {
        Ok(url) => Ok(url.to_string()),
        Err(refusal) => Err(Error::new(Code::WebhookUrlRefused, sentence(&refusal.to_string()))
            .with_details(serde_json::json!({ "reason": refusal.reason() }))),
    }
}

/// With a capital letter and a full stop, as the messages of errors are.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), characters.as_str())
}

fn check(description: Option<&str>, secret: Option<&str>) -> Result<(), Error> {
    let mut problems = Vec::new();
    if description
        .is_some_and(|text| text.chars().count() > DESCRIPTION_CHARACTERS || text.chars().any(char::is_control))
    {
        problems.push(FieldProblem::new(
            "body.description",
            "must be one line of at most 200 characters",
        ));
    }
    if secret.is_some_and(|secret| {
        !SECRET_CHARACTERS.contains(&secret.len()) || !secret.bytes().all(|byte| byte.is_ascii_graphic())
    }) {
        problems.push(FieldProblem::new(
            "body.signing_secret",
            "must have 16 to 200 visible ASCII characters; leave it out to get a random one",
        ));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::validation(&problems))
    }
}

/// Changes an endpoint that is still there, and tells the worker.
async fn change<F>(app: &App, id: EndpointId, mut change: F) -> Result<Endpoint, Error>
where
    F: FnMut(&mut Tx<'_>, &mut Endpoint, Timestamp) -> Result<(), WriteError> + Send + 'static,
{
    let endpoint = app
        .store
        .write(move |tx| {
            let found = tx.endpoint(id)?.filter(|endpoint| endpoint.deleted_at.is_none());
            let mut endpoint = found.ok_or_else(unknown)?;
            let now = clock::now();
            change(tx, &mut endpoint, now)?;
            endpoint.updated_at = now;
            tx.put_endpoint(&endpoint)?;
            Ok(endpoint)
        })
        .await?;
    app.webhooks.refresh(id)?;
    Ok(endpoint)
}

fn shown(app: &App, endpoint: Endpoint) -> Result<Shown, Error> {
    let now = clock::now();
    let (health, debt) = app
        .store
        .read(|view| Ok((view.health(endpoint.id)?, view.debt(endpoint.id, now)?)))?;
    Ok(Shown::of(endpoint, health, debt, customer(&app.store)?, now))
}

fn unknown() -> Error {
    Error::new(Code::EndpointNotFound, "There is no webhook endpoint with this id.")
}

/// Reads an endpoint's id; an unreadable one is unknown.
pub fn parse_id(text: &str) -> Result<EndpointId, Error> {
    EndpointId::parse(text).ok_or_else(unknown)
}
