//! Short-lived tokens for the stream.

use std::time::Duration;

use http::{Method, StatusCode};
use schemars::JsonSchema;

use super::events::read_name;
use super::{Access, Answer, Code, Route, now, schema};
use crate::app::stream_tokens::{self, Created, MAX_LIFE};
use crate::app::{App, instances};
use crate::domain::access::Scope;
use crate::domain::error::Error;
use crate::domain::event::EventName;
use crate::domain::id::InstanceId;
use crate::http::call::Call;
use crate::http::reply::Reply;

/// A new token.
pub const CREATE: Route = Route {
    method: Method::POST,
    path: "/v1/stream-tokens",
    id: "stream_tokens.create",
    summary: "Make a short-lived token for GET /v1/events?token=, so that a key need never stand in an address",
    access: Access::Scope(Scope::EventsRead),
    query: &[],
    body: Some(schema::<NewToken>),
    answer: Answer::Created(schema::<Created>),
    errors: &[Code::InstanceNotFound, Code::InstanceAccessDenied],
    handler: |app, call| now(create(&app, &call)),
};

/// A token that is wanted.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `create` reads, for the document")]
struct NewToken {
    /// Only events of this instance.
    instance_id: Option<InstanceId>,
    /// Only these events.
    events: Option<Vec<EventName>>,
    /// How long it works; an hour when left out.
    #[schemars(range(min = 1, max = 3600))]
    expires_in_seconds: Option<u64>,
}

fn create(app: &App, call: &Call) -> Result<Reply, Error> {
    let (instance, events, life) = call.body(|fields| {
        let instance = fields.text("instance_id", 64);
        let events = fields
            .list("events", EventName::ALL.len(), read_name)
            .unwrap_or_default();
        let life = fields.whole("expires_in_seconds", 1..=MAX_LIFE.as_secs());
        Some((instance, events, life.map_or(MAX_LIFE, Duration::from_secs)))
    })?;
    let instance = instance.as_deref().map(instances::parse_id).transpose()?;
    let created = stream_tokens::create(app, &call.caller, instance, events, life)?;
    Ok(Reply::json(StatusCode::CREATED, &created))
}
