//! The sandbox: what a person does with a phone, done with a simulated one. Exists in sandbox builds alone, and
//! answers 404 unless the simulator is inside.

mod ask;
mod phones;

use std::time::Duration;

use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use self::ask::{ask, query};
use super::{Access, Answer, Code, Parameter, Route, now, schema};
use crate::app::App;
use crate::app::instances::{self, parse_id};
use crate::domain::Timestamp;
use crate::domain::access::Scope;
use crate::domain::address::Address;
use crate::domain::error::Error;
use crate::domain::id::InstanceId;
use crate::domain::message::TEXT_CHARACTERS;
use crate::http::SimulatorInside;
use crate::http::call::Call;
use crate::http::fields::Fields;
use crate::http::reply::Reply;
use crate::sys::clock;

pub use phones::{FAIL, GET, OFFLINE, ONLINE, UNLINK};

/// A phone scans.
pub const SCAN: Route = Route {
    method: Method::POST,
    path: "/v1/sandbox/scan",
    id: "sandbox.scan",
    summary: "Sandbox only: a simulated phone scans the instance's QR",
    access: Access::Scope(Scope::InstancesWrite),
    query: &[],
    body: Some(schema::<Scan>),
    answer: Answer::Accepted(schema::<Scanned>),
    errors: &[
        Code::NotFound,
        Code::InstanceNotFound,
        Code::NoQr,
        Code::InvalidLifecycleTransition,
        Code::WhatsappTimeout,
    ],
    handler: |app, call| Box::pin(scan(app, call)),
};

/// A phone writes.
pub const WRITE: Route = Route {
    method: Method::POST,
    path: "/v1/sandbox/messages",
    id: "sandbox.write",
    summary: "Sandbox only: a simulated phone writes a text",
    access: Access::Scope(Scope::InstancesWrite),
    query: &[],
    body: Some(schema::<Written>),
    answer: Answer::Accepted(schema::<Value>),
    errors: &[Code::NotFound, Code::InvalidLifecycleTransition],
    handler: |_, call| Box::pin(write(call)),
};

/// What a phone got.
pub const INBOX: Route = Route {
    method: Method::GET,
    path: "/v1/sandbox/inbox",
    id: "sandbox.inbox",
    summary: "Sandbox only: what a simulated phone received",
    access: Access::Scope(Scope::InstancesRead),
    query: &[Parameter {
        name: "phone",
        what: "The phone's number in digits",
    }],
    body: None,
    answer: Answer::Ok(schema::<Inbox>),
    errors: &[Code::NotFound],
    handler: |_, call| Box::pin(inbox(call)),
};

/// Time passes.
pub const ADVANCE: Route = Route {
    method: Method::POST,
    path: "/v1/sandbox/clock",
    id: "sandbox.advance",
    summary: "Sandbox only, on the admin socket: moves the gateway's clock forward",
    access: Access::Owner,
    query: &[],
    body: Some(schema::<Advance>),
    answer: Answer::Ok(schema::<Clock>),
    errors: &[],
    handler: |_, call| now(advance(&call)),
};

/// What to scan with what.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `scan` reads, for the document")]
struct Scan {
    /// Whose QR.
    instance_id: InstanceId,
    /// The phone's number; the account's when left out.
    phone: Option<String>,
}

/// A scan that was made; `instance.connected` follows.
#[derive(Serialize, JsonSchema)]
struct Scanned {
    /// Whose QR.
    instance_id: InstanceId,
    /// With which phone.
    phone: String,
}

/// A text from a phone.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `write` reads, for the document")]
struct Written {
    /// The phone's number.
    from: String,
    /// To which number; the account's when left out.
    to: Option<String>,
    /// The text.
    text: String,
}

/// What a phone received.
#[derive(Serialize, JsonSchema)]
struct Inbox {
    /// The messages, oldest first, as the simulator shows them.
    data: Value,
}

/// How far to move the clock.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `advance` reads, for the document")]
struct Advance {
    /// Seconds, forward.
    advance_seconds: u64,
}

/// The gateway's clock.
#[derive(Serialize, JsonSchema)]
struct Clock {
    /// The time now.
    now: Timestamp,
}

fn simulator(call: &Call) -> Result<&SimulatorInside, Error> {
    call.site.options.simulator.as_ref().ok_or_else(|| {
        Error::new(
            Code::NotFound,
            "No simulator runs inside this gateway. Start `whatisup-sandbox serve` without --simulator.",
        )
    })
}

async fn scan(app: App, call: Call) -> Result<Reply, Error> {
    let inside = simulator(&call)?;
    let (instance, phone) = call.body(|fields| {
        let instance = fields.required("instance_id", |fields, name| fields.text(name, 64));
        let phone = fields.has("phone").then(|| fields.address("phone"));
        Some((instance?, phone))
    })?;
    let instance_id = parse_id(&instance)?;
    let phone = match phone.flatten() {
        Some(address) => digits(&address, "body.phone")?,
        None => inside.account.clone(),
    };
    let found = instances::qr(&app, &call.caller, instance_id).await?;
    let path = format!("/admin/mock-phone/scan-qr?{}", query(&[("phone", &phone)]));
    ask(inside.addr, Method::POST, &path, found.code).await?;
    Ok(Reply::json(StatusCode::ACCEPTED, &Scanned { instance_id, phone }))
}

async fn write(call: Call) -> Result<Reply, Error> {
    let inside = simulator(&call)?;
    let (from, to, text) = call.body(|fields| {
        let from = fields.required("from", Fields::address);
        let to = fields.has("to").then(|| fields.address("to"));
        let text = fields.required("text", |fields, name| fields.word(name, TEXT_CHARACTERS));
        Some((from?, to, text?))
    })?;
    let from = digits(&from, "body.from")?;
    let to = match to.flatten() {
        Some(address) => digits(&address, "body.to")?,
        None => inside.account.clone(),
    };
    let path = format!(
        "/admin/mock-phone/send?{}",
        query(&[("from", &from), ("to", &to), ("text", &text)])
    );
    let sent = ask(inside.addr, Method::POST, &path, String::new()).await?;
    Ok(Reply::json(StatusCode::ACCEPTED, &sent))
}

async fn inbox(call: Call) -> Result<Reply, Error> {
    let inside = simulator(&call)?;
    let phone = call
        .query("phone")
        .map(Address::parse)
        .transpose()
        .map_err(|problem| Error::invalid("query.phone", problem.to_string()))?
        .ok_or_else(|| Error::invalid("query.phone", "is required"))?;
    let phone = digits(&phone, "query.phone")?;
    let path = format!("/admin/mock-phone/inbox?{}", query(&[("phone", &phone)]));
    let data = ask(inside.addr, Method::GET, &path, String::new()).await?;
    Ok(Reply::ok(&Inbox { data }))
}

fn advance(call: &Call) -> Result<Reply, Error> {
    // A century is more than anything here waits.
    let seconds =
        call.body(|fields| fields.required("advance_seconds", |fields, name| fields.whole(name, 0..=3_155_760_000)))?;
    clock::advance(Duration::from_secs(seconds));
    Ok(Reply::ok(&Clock { now: clock::now() }))
}

fn digits(address: &Address, path: &str) -> Result<String, Error> {
    let phone = address.phone_number().map(str::to_owned);
    phone.ok_or_else(|| Error::invalid(path, "must be a phone number"))
}
