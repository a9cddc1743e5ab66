//! Webhook endpoints.

use http::Method;
use schemars::JsonSchema;

use super::{Access, Answer, Code, PAGING, Route, now, schema};
use crate::app::webhooks::{
    self, CANARY_SECONDS, DESCRIPTION_CHARACTERS, Draft, Patch, Range, Replayed, SECRET_CHARACTERS, Shown, WithSecret,
    parse_id,
};
use crate::app::{App, Change, Page, deliveries, instances};
use crate::domain::Timestamp;
use crate::domain::access::Scope;
use crate::domain::error::Error;
use crate::domain::event::EventName;
use crate::domain::id::{EndpointId, InstanceId};
use crate::domain::webhook::DeliveryStatus;
use crate::http::call::Call;
use crate::http::fields::Fields;
use crate::http::reply::Reply;

/// The most instances that one endpoint names.
const INSTANCES: usize = 1_000;

const READING: &[Code] = &[Code::EndpointNotFound];
const WRITING: &[Code] = &[
    Code::EndpointNotFound,
    Code::InstanceNotFound,
    Code::InstanceAccessDenied,
    Code::WebhookUrlRefused,
    Code::StorageFull,
];

/// What calls on one endpoint share.
const ON_ONE: Route = Route {
    method: Method::POST,
    path: "",
    id: "",
    summary: "",
    access: Access::Scope(Scope::WebhooksWrite),
    query: &[],
    body: None,
    answer: Answer::Ok(schema::<Shown>),
    errors: WRITING,
    handler: |_, _| now(Err(Error::internal("a route without a handler"))),
};

/// The endpoints.
pub const LIST: Route = Route {
    method: Method::GET,
    path: "/v1/webhook-endpoints",
    id: "webhooks.list",
    summary: "Webhook endpoints, newest first, with how their deliveries go",
    access: Access::Scope(Scope::WebhooksRead),
    query: PAGING,
    answer: Answer::Ok(schema::<Page<Shown>>),
    errors: &[],
    handler: |app, call| now(list(&app, &call)),
    ..ON_ONE
};

/// A new endpoint.
pub const CREATE: Route = Route {
    path: "/v1/webhook-endpoints",
    id: "webhooks.create",
    summary: "Make a webhook endpoint; its signing secret is shown in this answer and never again",
    body: Some(schema::<NewEndpoint>),
    answer: Answer::Created(schema::<WithSecret>),
    errors: &[
        Code::InstanceNotFound,
        Code::InstanceAccessDenied,
        Code::WebhookUrlRefused,
        Code::AtCapacity,
        Code::StorageFull,
    ],
    handler: |app, call| Box::pin(create(app, call)),
    ..ON_ONE
};

/// One endpoint.
pub const GET: Route = Route {
    method: Method::GET,
    path: "/v1/webhook-endpoints/{id}",
    id: "webhooks.get",
    summary: "One webhook endpoint, with how its deliveries go",
    access: Access::Scope(Scope::WebhooksRead),
    errors: READING,
    handler: |app, call| now(get(&app, &call)),
    ..ON_ONE
};

/// A change.
pub const UPDATE: Route = Route {
    method: Method::PATCH,
    path: "/v1/webhook-endpoints/{id}",
    id: "webhooks.update",
    summary: "Change a webhook endpoint; what is owed to it goes to the new address",
    body: Some(schema::<ChangedEndpoint>),
    handler: |app, call| Box::pin(update(app, call)),
    ..ON_ONE
};

/// The end of an endpoint.
pub const DELETE: Route = Route {
    method: Method::DELETE,
    path: "/v1/webhook-endpoints/{id}",
    id: "webhooks.delete",
    summary: "Delete a webhook endpoint and give up what was owed to it; its deliveries stay readable for a while",
    answer: Answer::Deleted,
    errors: &[Code::EndpointNotFound, Code::StorageFull],
    handler: |app, call| Box::pin(delete(app, call)),
    ..ON_ONE
};

/// A new secret.
pub const ROTATE: Route = Route {
    path: "/v1/webhook-endpoints/{id}/rotate-secret",
    id: "webhooks.rotate_secret",
    summary: "Give a webhook endpoint a new signing secret; the old one signs too for 24 hours",
    body: Some(schema::<NewSecret>),
    answer: Answer::Ok(schema::<WithSecret>),
    errors: &[Code::EndpointNotFound, Code::StorageFull],
    handler: |app, call| Box::pin(rotate(app, call)),
    ..ON_ONE
};

/// A test.
pub const TEST: Route = Route {
    path: "/v1/webhook-endpoints/{id}/test",
    id: "webhooks.test",
    summary: "Send webhook.test now and answer how it went; 200 also when the receiver refused it",
    answer: Answer::Ok(schema::<deliveries::Shown>),
    errors: &[Code::EndpointNotFound, Code::StorageFull],
    handler: |app, call| Box::pin(test(app, call)),
    ..ON_ONE
};

/// The past again.
pub const REPLAY: Route = Route {
    path: "/v1/webhook-endpoints/{id}/replay",
    id: "webhooks.replay",
    summary: "Send a stretch of the past again, or count with dry_run what that would be",
    body: Some(schema::<WantedRange>),
    answer: Answer::Ok(schema::<Replayed>),
    errors: &[Code::EndpointNotFound, Code::StorageFull],
    handler: |app, call| Box::pin(replay(app, call)),
    ..ON_ONE
};

/// An endpoint that is wanted.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `draft` reads, for the document")]
struct NewEndpoint {
    /// Where events are posted: https and public, unless the operator has opted in more.
    #[schemars(length(max = 2048))]
    url: String,
    /// Names of events; `["*"]` is all, also those that a later version brings.
    #[schemars(length(min = 1))]
    events: Vec<String>,
    /// Only of this instance. A key bound to an instance makes endpoints of that instance alone.
    instance_id: Option<InstanceId>,
    /// Only of these instances; all when neither is given.
    instance_ids: Option<Vec<InstanceId>>,
    /// Your own key for the signatures; a random one when left out.
    #[schemars(length(min = 16, max = 200))]
    signing_secret: Option<String>,
    /// Whether it gets events at once; true when left out.
    enabled: Option<bool>,
    /// For people.
    #[schemars(length(max = 200))]
    description: Option<String>,
    /// Sends a `webhook.canary` every so many seconds, so that "last proven good" never gets old.
    #[schemars(range(min = 60, max = 86400))]
    canary_interval_seconds: Option<u32>,
    /// Also sends what the journal still has from here on.
    replay_since: Option<Timestamp>,
}

/// What changes; what is left out stays.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `patch` reads, for the document")]
struct ChangedEndpoint {
    /// Where events are posted.
    #[schemars(length(max = 2048))]
    url: Option<String>,
    /// Names of events; `["*"]` is all.
    #[schemars(length(min = 1))]
    events: Option<Vec<String>>,
    /// Only of this instance; `null` is all.
    instance_id: Option<InstanceId>,
    /// Only of these instances; `null` is all.
    instance_ids: Option<Vec<InstanceId>>,
    /// Whether it gets events.
    enabled: Option<bool>,
    /// For people; `null` removes it.
    #[schemars(length(max = 200))]
    description: Option<String>,
    /// Every how many seconds a canary is sent; `null` is never.
    #[schemars(range(min = 60, max = 86400))]
    canary_interval_seconds: Option<u32>,
}

/// A secret of your own, or none for a random one.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `rotate` reads, for the document")]
struct NewSecret {
    /// Your own key for the signatures.
    #[schemars(length(min = 16, max = 200))]
    signing_secret: Option<String>,
}

/// A stretch of the past.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `range` reads, for the document")]
struct WantedRange {
    /// From here on …
    since: Timestamp,
    /// … and before this; to the end when left out.
    until: Option<Timestamp>,
    /// Only these events.
    events: Option<Vec<String>>,
    /// Only events whose delivery to this endpoint is in this state. Without it: every event that the journal has and
    /// the endpoint wants, whether it was delivered or not.
    status: Option<DeliveryStatus>,
    /// Counts instead of sending.
    dry_run: Option<bool>,
}

fn id(call: &Call) -> Result<EndpointId, Error> {
    parse_id(call.parameter(0))
}

fn list(app: &App, call: &Call) -> Result<Reply, Error> {
    let (before, limit) = call.page(EndpointId::parse)?;
    Ok(Reply::ok(&webhooks::list(app, &call.caller, before, limit)?))
}

async fn create(app: App, call: Call) -> Result<Reply, Error> {
    let (draft, named) = call.body(draft)?;
    let draft = Draft {
        instance_ids: match ids(named)? {
            Change::To(ids) => Some(ids),
            Change::Keep | Change::Clear => None,
        },
        ..draft
    };
    let created = webhooks::create(&app, &call.caller, draft, call.request).await?;
    let location = format!("/v1/webhook-endpoints/{}", created.endpoint.id);
    Ok(Reply::created(&location, &created))
}

fn get(app: &App, call: &Call) -> Result<Reply, Error> {
    Ok(Reply::ok(&webhooks::get(app, &call.caller, id(call)?)?))
}

async fn update(app: App, call: Call) -> Result<Reply, Error> {
    let (patch, named) = call.body(|fields| Some(patch(fields)))?;
    let patch = Patch {
        instance_ids: ids(named)?,
        ..patch
    };
    Ok(Reply::ok(
        &webhooks::update(&app, &call.caller, id(&call)?, patch).await?,
    ))
}

async fn delete(app: App, call: Call) -> Result<Reply, Error> {
    webhooks::delete(&app, &call.caller, id(&call)?).await?;
    Ok(Reply::deleted())
}

async fn rotate(app: App, call: Call) -> Result<Reply, Error> {
    let secret = call.body(|fields| Some(fields.text("signing_secret", *SECRET_CHARACTERS.end())))?;
    Ok(Reply::ok(
        &webhooks::rotate(&app, &call.caller, id(&call)?, secret).await?,
    ))
}

async fn test(app: App, call: Call) -> Result<Reply, Error> {
    call.no_body()?;
    Ok(Reply::ok(
        &webhooks::test(&app, &call.caller, id(&call)?, call.request).await?,
    ))
}

async fn replay(app: App, call: Call) -> Result<Reply, Error> {
    let range = call.body(range)?;
    let replayed = webhooks::replay(&app, &call.caller, id(&call)?, range, call.request).await?;
    Ok(Reply::ok(&replayed))
}

/// The instances as they were named: an unknown one is 404, not a problem of the field.
fn ids(named: Change<Vec<String>>) -> Result<Change<Vec<InstanceId>>, Error> {
    Ok(match named {
        Change::Keep => Change::Keep,
        Change::Clear => Change::Clear,
        Change::To(texts) => Change::To(
            texts
                .iter()
                .map(|text| instances::parse_id(text))
                .collect::<Result<_, _>>()?,
        ),
    })
}

fn named(fields: &mut Fields<'_>) -> Change<Vec<String>> {
    if fields.has("instance_id") && fields.has("instance_ids") {
        fields.refuse("instance_ids", "must not stand beside instance_id; name them all here");
    }
    let is_given = fields.is_given("instance_id") || fields.is_given("instance_ids");
    let one = fields.text("instance_id", 64);
    let many = fields.list("instance_ids", INSTANCES, |text| Ok(text.to_owned()));
    if many.as_ref().is_some_and(Vec::is_empty) {
        fields.refuse("instance_ids", "must name at least one instance; leave it out for all");
    }
    Change::given(is_given, one.map(|one| vec![one]).or(many))
}

/// Names of events; empty is all.
fn events(fields: &mut Fields<'_>, name: &'static str) -> Option<Vec<EventName>> {
    let read = fields.list(name, 64, |text| {
        if text == "*" {
            return Ok(None);
        }
        EventName::parse(text)
            .filter(|name| name.journaled())
            .map(Some)
            .ok_or_else(|| {
                let known: Vec<&str> = EventName::ALL
                    .iter()
                    .filter(|name| name.journaled())
                    .map(|name| name.as_str())
                    .collect();
                format!(
                    "is no event that webhooks carry; there are: * for all, {}",
                    known.join(", ")
                )
            })
    })?;
    if read.is_empty() {
        fields.refuse(name, "must name at least one event; [\"*\"] is all");
    }
    if read.contains(&None) {
        return Some(Vec::new());
    }
    Some(read.into_iter().flatten().collect())
}

fn canary(fields: &mut Fields<'_>) -> Option<u32> {
    let seconds = fields.whole("canary_interval_seconds", CANARY_SECONDS)?;
    u32::try_from(seconds).ok()
}

fn draft(fields: &mut Fields<'_>) -> Option<(Draft, Change<Vec<String>>)> {
    let url = fields.required("url", |fields, name| fields.word(name, 4096));
    let events = fields.required("events", events);
    let named = named(fields);
    let draft = Draft {
        description: fields.text("description", DESCRIPTION_CHARACTERS),
        signing_secret: fields.text("signing_secret", *SECRET_CHARACTERS.end()),
        enabled: fields.flag("enabled").unwrap_or(true),
        canary_seconds: canary(fields),
        replay_since: fields.time("replay_since"),
        url: url?,
        events: events?,
        instance_ids: None,
    };
    Some((draft, named))
}

fn patch(fields: &mut Fields<'_>) -> (Patch, Change<Vec<String>>) {
    let has_description = fields.is_given("description");
    let has_canary = fields.is_given("canary_interval_seconds");
    let named = named(fields);
    let patch = Patch {
        url: fields.word("url", 4096),
        events: events(fields, "events"),
        enabled: fields.flag("enabled"),
        description: Change::given(has_description, fields.text("description", DESCRIPTION_CHARACTERS)),
        canary_seconds: Change::given(has_canary, canary(fields)),
        instance_ids: Change::Keep,
    };
    (patch, named)
}

fn range(fields: &mut Fields<'_>) -> Option<Range> {
    let since = fields.required("since", Fields::time);
    let until = fields.time("until");
    let events = events(fields, "events").unwrap_or_default();
    let status = fields.text("status", 16).and_then(|text| {
        let status = DeliveryStatus::parse(&text);
        if status.is_none() {
            fields.refuse("status", "must be pending, success, failed or retrying");
        }
        status
    });
    let dry_run = fields.flag("dry_run").unwrap_or(false);
    Some(Range {
        since: since?,
        until,
        events,
        status,
        dry_run,
    })
}
