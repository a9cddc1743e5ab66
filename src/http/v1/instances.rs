//! Instances.

use http::{HeaderValue, Method, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Access, Answer, Code, PAGING, Parameter, Route, now, schema};
use crate::app::instances::{self, Patch, Shown, StatusReport, parse_id};
use crate::app::keys::NAME_CHARACTERS;
use crate::app::{App, Page};
use crate::domain::access::Scope;
use crate::domain::error::Error;
use crate::domain::id::InstanceId;
use crate::domain::{Timestamp, qr};
use crate::http::call::Call;
use crate::http::fields::Fields;
use crate::http::reply::Reply;

/// What most calls on one instance have in common.
const ON_ONE: Route = Route {
    method: Method::POST,
    path: "",
    id: "",
    summary: "",
    access: Access::Scope(Scope::InstancesWrite),
    query: &[],
    body: None,
    answer: Answer::Ok(schema::<Shown>),
    errors: &[
        Code::InstanceNotFound,
        Code::InstanceAccessDenied,
        Code::InvalidLifecycleTransition,
        Code::InstanceUnavailable,
        Code::AtCapacity,
        Code::StorageFull,
    ],
    handler: |_, _| Box::pin(async { Err(Error::internal("a route without a handler")) }),
};

/// What reading one instance can meet.
const READING: &[Code] = &[Code::InstanceNotFound, Code::InstanceAccessDenied];

/// All instances.
pub const LIST: Route = Route {
    method: Method::GET,
    path: "/v1/instances",
    id: "instances.list",
    summary: "Instances, newest first",
    access: Access::Scope(Scope::InstancesRead),
    query: PAGING,
    body: None,
    answer: Answer::Ok(schema::<Page<Shown>>),
    errors: &[],
    handler: |app, call| now(list(&app, &call)),
};

/// A new instance.
pub const CREATE: Route = Route {
    method: Method::POST,
    path: "/v1/instances",
    id: "instances.create",
    summary: "Make an instance; it is pending until a phone scans its QR",
    access: Access::Scope(Scope::InstancesWrite),
    query: &[],
    body: Some(schema::<NewInstance>),
    answer: Answer::Created(schema::<Shown>),
    errors: &[Code::InstanceScopedKey, Code::StorageFull],
    handler: |app, call| Box::pin(create(app, call)),
};

/// One instance.
pub const GET: Route = Route {
    method: Method::GET,
    path: "/v1/instances/{id}",
    id: "instances.get",
    summary: "One instance",
    access: Access::Scope(Scope::InstancesRead),
    errors: READING,
    handler: |app, call| now(get(&app, &call)),
    ..ON_ONE
};

/// A change to an instance.
pub const UPDATE: Route = Route {
    method: Method::PATCH,
    path: "/v1/instances/{id}",
    id: "instances.update",
    summary: "Change an instance's name or metadata",
    body: Some(schema::<ChangedInstance>),
    handler: |app, call| Box::pin(update(app, call)),
    ..ON_ONE
};

/// The end of an instance.
pub const DELETE: Route = Route {
    method: Method::DELETE,
    path: "/v1/instances/{id}",
    id: "instances.delete",
    summary: "Unlink, stop and delete an instance",
    answer: Answer::Deleted,
    handler: |app, call| Box::pin(delete(app, call)),
    ..ON_ONE
};

/// The code to scan.
pub const QR: Route = Route {
    method: Method::GET,
    path: "/v1/instances/{id}/qr",
    id: "instances.qr",
    summary: "The code to scan, as JSON, PNG, SVG or text for a terminal; starts the session if none runs",
    query: &[Parameter {
        name: "format",
        what: "json, png, svg or text; otherwise the Accept header decides",
    }],
    answer: Answer::Negotiated(schema::<ShownQr>, &[PNG, SVG, TEXT]),
    errors: &[
        Code::InstanceNotFound,
        Code::InstanceAccessDenied,
        Code::NoQr,
        Code::InstanceUnavailable,
        Code::AtCapacity,
        Code::WhatsappTimeout,
        Code::WhatsappRefused,
    ],
    handler: |app, call| Box::pin(show_qr(app, call)),
    ..ON_ONE
};

/// The code to type.
pub const PAIR_CODE: Route = Route {
    path: "/v1/instances/{id}/pair-code",
    id: "instances.pair_code",
    summary: "The code to type on the phone of a number, instead of scanning; the same again while it lives",
    body: Some(schema::<CodeWanted>),
    answer: Answer::Ok(schema::<ShownPairCode>),
    errors: &[
        Code::InstanceNotFound,
        Code::InstanceAccessDenied,
        Code::PairCodeUnavailable,
        Code::PairCodeFailed,
        Code::InstanceUnavailable,
        Code::AtCapacity,
        Code::WhatsappTimeout,
        Code::StorageFull,
    ],
    handler: |app, call| Box::pin(pair_code(app, call)),
    ..ON_ONE
};

/// Starts a session.
pub const CONNECT: Route = Route {
    path: "/v1/instances/{id}/connect",
    id: "instances.connect",
    summary: "Start the session if none runs",
    handler: |app, call| Box::pin(connect(app, call)),
    ..ON_ONE
};

/// Stops a session.
pub const DISCONNECT: Route = Route {
    path: "/v1/instances/{id}/disconnect",
    id: "instances.disconnect",
    summary: "Stop the session and keep the link",
    handler: |app, call| Box::pin(disconnect(app, call)),
    ..ON_ONE
};

/// Removes a link.
pub const LOGOUT: Route = Route {
    path: "/v1/instances/{id}/logout",
    id: "instances.logout",
    summary: "Remove the link; back to pending",
    handler: |app, call| Box::pin(logout(app, call)),
    ..ON_ONE
};

/// Stops and starts a session.
pub const RESTART: Route = Route {
    path: "/v1/instances/{id}/restart",
    id: "instances.restart",
    summary: "Stop the session and start it anew",
    handler: |app, call| Box::pin(restart(app, call)),
    ..ON_ONE
};

/// What an instance is doing.
pub const STATUS: Route = Route {
    method: Method::GET,
    path: "/v1/instances/{id}/status",
    id: "instances.status",
    summary: "Status, reason, link, queue, counters and memory",
    access: Access::Scope(Scope::InstancesRead),
    answer: Answer::Ok(schema::<StatusReport>),
    errors: READING,
    handler: |app, call| now(status(&app, &call)),
    ..ON_ONE
};

/// An instance that is wanted.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `create` reads, for the document")]
struct NewInstance {
    /// For people.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// Your own data, at most 16 KiB as JSON.
    metadata: Option<Map<String, Value>>,
}

/// What changes; what is left out stays.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `update` reads, for the document")]
struct ChangedInstance {
    /// For people.
    #[schemars(length(min = 1, max = 100))]
    name: Option<String>,
    /// Your own data, replaced as a whole.
    metadata: Option<Map<String, Value>>,
}

/// A code to scan.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Qr")]
struct ShownQr {
    /// The picture as a PNG data URL.
    qr: String,
    /// What the picture says.
    code: String,
    /// When WhatsApp stops accepting it.
    expires_at: Timestamp,
}

/// Whose phone is to be linked.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `pair_code` reads, for the document")]
struct CodeWanted {
    /// The phone's number with country code, for example 5511999999999.
    phone_number: String,
}

/// A code to type on the phone, under *Linked devices*, *Link with phone number instead*.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PairCode")]
struct ShownPairCode {
    /// Eight letters and digits; the dash is for reading.
    #[schemars(example = &"ABCD-1234")]
    code: String,
    /// When WhatsApp stops accepting it.
    expires_at: Timestamp,
}

fn id(call: &Call) -> Result<InstanceId, Error> {
    parse_id(call.parameter(0))
}

fn list(app: &App, call: &Call) -> Result<Reply, Error> {
    let (before, limit) = call.page(InstanceId::parse)?;
    Ok(Reply::ok(&instances::list(app, &call.caller, before, limit)?))
}

async fn create(app: App, call: Call) -> Result<Reply, Error> {
    let (name, metadata) = call.body(|fields| {
        let name = fields.required("name", |fields, name| fields.word(name, NAME_CHARACTERS));
        let metadata = fields.map("metadata").unwrap_or_default();
        Some((name?, metadata))
    })?;
    let instance = instances::create(&app, &call.caller, name, metadata).await?;
    Ok(Reply::created(&format!("/v1/instances/{}", instance.id), &instance))
}

fn get(app: &App, call: &Call) -> Result<Reply, Error> {
    Ok(Reply::ok(&instances::get(app, &call.caller, id(call)?)?))
}

async fn update(app: App, call: Call) -> Result<Reply, Error> {
    let patch = call.body(|fields| {
        Some(Patch {
            name: fields.text("name", NAME_CHARACTERS),
            metadata: fields.map("metadata"),
        })
    })?;
    Ok(Reply::ok(
        &instances::update(&app, &call.caller, id(&call)?, patch).await?,
    ))
}

async fn delete(app: App, call: Call) -> Result<Reply, Error> {
    instances::delete(&app, &call.caller, id(&call)?).await?;
    Ok(Reply::deleted())
}

const JSON: &str = "application/json";
const PNG: &str = "image/png";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain";

async fn show_qr(app: App, call: Call) -> Result<Reply, Error> {
    let wanted = match call.query("format") {
        None => call.wanted_type(&[JSON, PNG, SVG, TEXT]).unwrap_or(JSON),
        Some("json") => JSON,
        Some("png") => PNG,
        Some("svg") => SVG,
        Some("text") => TEXT,
        Some(_) => return Err(Error::invalid("query.format", "must be json, png, svg or text")),
    };
    let found = instances::qr(&app, &call.caller, id(&call)?).await?;
    let drawn = match wanted {
        PNG => qr::png(&found.code).map(|picture| Reply::bytes_of(StatusCode::OK, PNG, picture)),
        SVG => qr::svg(&found.code).map(|picture| Reply::bytes_of(StatusCode::OK, SVG, picture)),
        TEXT => qr::terminal(&found.code)
            .map(|text| Reply::bytes_of(StatusCode::OK, "text/plain; charset=utf-8", format!("{text}\n"))),
        _ => qr::data_url(&found.code).map(|qr| {
            Reply::ok(&ShownQr {
                qr,
                code: found.code.clone(),
                expires_at: found.expires_at,
            })
        }),
    };
    let mut reply = drawn.map_err(Error::internal)?;
    // A code links an account to whoever shows it.
    reply.set(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply.vary_on("Accept");
    Ok(reply)
}

async fn pair_code(app: App, call: Call) -> Result<Reply, Error> {
    let number = call.body(|fields| fields.required("phone_number", Fields::phone))?;
    let found = instances::pair_code(&app, &call.caller, id(&call)?, &number).await?;
    let mut reply = Reply::ok(&ShownPairCode {
        code: found.code,
        expires_at: found.expires_at,
    });
    // A code links an account to whoever shows it.
    reply.set(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

async fn connect(app: App, call: Call) -> Result<Reply, Error> {
    call.no_body()?;
    Ok(Reply::ok(&instances::connect(&app, &call.caller, id(&call)?).await?))
}

async fn disconnect(app: App, call: Call) -> Result<Reply, Error> {
    call.no_body()?;
    Ok(Reply::ok(&instances::disconnect(&app, &call.caller, id(&call)?).await?))
}

async fn logout(app: App, call: Call) -> Result<Reply, Error> {
    call.no_body()?;
    Ok(Reply::ok(&instances::logout(&app, &call.caller, id(&call)?).await?))
}

async fn restart(app: App, call: Call) -> Result<Reply, Error> {
    call.no_body()?;
    Ok(Reply::ok(&instances::restart(&app, &call.caller, id(&call)?).await?))
}

fn status(app: &App, call: &Call) -> Result<Reply, Error> {
    Ok(Reply::ok(&instances::status(app, &call.caller, id(call)?)?))
}
