//! `/admin/fault`: plants faults, tells how often they struck, removes them.

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::parameters::{Parameters, phone_number};
use super::phones::in_world;
use super::{Answer, Refusal, Route, Run};
use crate::fault::manual::manual;
use crate::fault::{Details, Fault, Kind, MOST_WAITING, Stage};
use crate::world::{Hub, World};

/// The calls.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/admin/fault",
        parameters: "JSON body: kind, [phone], [device], [times: 1 | n | 0 or \"always\"], and the kind's own fields (see `faults`)",
        summary: "Makes something go wrong; answers the fault's id. Kind none removes all faults.",
        run: Run::Now(|hub, _, body| add(hub, body)),
    },
    Route {
        method: Method::GET,
        path: "/admin/fault",
        parameters: "",
        summary: "The faults that wait and the last hundred that do not any more, with how often each struck.",
        run: Run::Now(|hub, _, _| Ok(hub.look(list))),
    },
    Route {
        method: Method::DELETE,
        path: "/admin/fault",
        parameters: "[id: of one fault; without it all are removed]",
        summary: "Removes one waiting fault, or all of them.",
        run: Run::Now(|hub, parameters, _| remove(hub, parameters)),
    },
];

/// No answer is delayed longer: clients show their own errors after this.
const LONGEST_DELAY: u64 = 60_000;
/// Codes as the real server has them.
const CODES: std::ops::RangeInclusive<u16> = 400..=599;
/// The longest text in a fault.
const TEXT_LIMIT: usize = 1000;

/// What every fault may be given; the rest depends on its kind.
#[derive(Deserialize)]
struct Scope {
    kind: String,
    phone: Option<String>,
    device: Option<u16>,
    times: Option<Value>,
}

fn add(hub: &Hub, body: &Bytes) -> Answer {
    let not_a_fault = |error: serde_json::Error| Refusal::bad(format!("the body is not a fault: {error}"));
    let mut fields: Map<String, Value> = serde_json::from_slice(body).map_err(not_a_fault)?;
    let scope: Scope = serde_json::from_value(Value::Object(fields.clone())).map_err(not_a_fault)?;
    if scope.kind == "none" {
        return clear(hub);
    }
    let kind: Kind = serde_json::from_value(json!(scope.kind)).map_err(|_| {
        let names: Vec<String> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        Refusal::bad(format!(
            "there is no fault `{}`; there are {}",
            scope.kind,
            names.join(", ")
        ))
    })?;
    for name in ["kind", "phone", "device", "times"] {
        fields.remove(name);
    }
    only_own_fields(kind, &fields)?;
    let details: Details = serde_json::from_value(Value::Object(fields)).map_err(not_a_fault)?;
    let fault = checked(kind, &scope, details)?;
    in_world(hub, |world| {
        if world.faults.waiting().len() >= MOST_WAITING {
            anyhow::bail!("{MOST_WAITING} faults wait already; remove some");
        }
        let id = world.faults.add(fault);
        world.strike_open_sockets(kind);
        Ok(json!({"id": id, "waiting": world.faults.waiting()}))
    })
}

fn only_own_fields(kind: Kind, fields: &Map<String, Value>) -> Result<(), Refusal> {
    let manual = manual(kind);
    let Some(stranger) = fields.keys().find(|name| !manual.takes(name)) else {
        return Ok(());
    };
    let own: Vec<&str> = manual.fields.iter().map(|(name, _)| *name).collect();
    let own = if own.is_empty() {
        "no fields of its own".to_owned()
    } else {
        own.join(", ")
    };
    Err(Refusal::bad(format!(
        "`{stranger}` means nothing to {}; it takes {own}",
        kind.name()
    )))
}

fn checked(kind: Kind, scope: &Scope, mut details: Details) -> Result<Fault, Refusal> {
    let manual = manual(kind);
    if kind == Kind::Failure {
        details.at.get_or_insert(Stage::Login);
    }
    if let Some(stage) = details.at.filter(|stage| !manual.stages.contains(stage)) {
        let stages: Vec<String> = manual.stages.iter().map(|stage| stage.name()).collect();
        return Err(Refusal::bad(format!(
            "{} cannot strike at `{}`; it can at {}",
            kind.name(),
            stage.name(),
            stages.join(", ")
        )));
    }
    if let Some(phone) = &scope.phone {
        phone_number("phone", phone)?;
        if manual.phone.is_none() || details.stage().is_anonymous() {
            return Err(Refusal::bad(
                "this fault strikes before the client says who it is; leave `phone` out",
            ));
        }
    }
    if let Some(with) = &details.with {
        phone_number("with", with)?;
    }
    if scope.device.is_some() && scope.phone.is_none() {
        return Err(Refusal::bad("`device` needs the `phone` it belongs to"));
    }
    if details.deliver.is_some() && kind != Kind::NoAck && details.stage() != Stage::Message {
        return Err(Refusal::bad("`deliver` needs `\"at\": \"message\"`"));
    }
    check_values(kind, &details)?;
    Ok(Fault {
        id: 0,
        kind,
        times: times(scope.times.as_ref())?,
        struck: 0,
        phone: scope.phone.clone(),
        device: scope.device,
        details,
    })
}

fn times(times: Option<&Value>) -> Result<Option<u64>, Refusal> {
    match times {
        None => Ok(Some(1)),
        Some(Value::String(always)) if always == "always" => Ok(None),
        Some(value) => match value.as_u64() {
            Some(0) => Ok(None),
            Some(times) => Ok(Some(times)),
            None => Err(Refusal::bad("`times` must be a whole number, 0 or \"always\"")),
        },
    }
}

fn check_values(kind: Kind, details: &Details) -> Result<(), Refusal> {
    let in_range = |name: &str, code: Option<u16>| match code {
        Some(code) if !CODES.contains(&code) => Err(Refusal::bad(format!(
            "`{name}` must be between 400 and 599, not {code}"
        ))),
        _ => Ok(()),
    };
    match kind {
        Kind::StreamError if details.code.is_none() && details.conflict.is_none() => {
            return Err(Refusal::bad(
                "this fault needs a `code`, for example 503, or a `conflict`: replaced or device_removed",
            ));
        }
        Kind::Nack if details.code.is_none() => {
            return Err(Refusal::bad("this fault needs a `code`, for example 463 or 479"));
        }
        Kind::Failure if details.reason.is_none() => {
            return Err(Refusal::bad(
                "this fault needs a `reason`, for example 401, 402 (with `expire`) or 405",
            ));
        }
        Kind::PairCode if !matches!(details.code, None | Some(400 | 403 | 429 | 452 | 500)) => {
            return Err(Refusal::bad(
                "`code` must be one that the server gives here: 400, 403, 429, 452 or 500",
            ));
        }
        Kind::Failure => in_range("reason", details.reason)?,
        Kind::StreamError | Kind::Nack | Kind::Media404 => in_range("code", details.code)?,
        _ => {}
    }
    if details.ms.is_some_and(|ms| ms > LONGEST_DELAY) {
        return Err(Refusal::bad(format!("`ms` must be at most {LONGEST_DELAY}")));
    }
    let texts = [&details.message, &details.url, &details.location];
    if texts.into_iter().flatten().any(|text| text.len() > TEXT_LIMIT) {
        return Err(Refusal::bad(format!("a text has at most {TEXT_LIMIT} bytes")));
    }
    Ok(())
}

fn clear(hub: &Hub) -> Answer {
    hub.act(|world| {
        world.faults.clear();
        Ok(())
    })?;
    Ok(json!({"waiting": []}))
}

fn remove(hub: &Hub, parameters: &Parameters) -> Answer {
    if parameters.text("id").is_none() {
        return clear(hub);
    }
    let id: u64 = parameters.whole("id")?;
    hub.act(|world| Ok(world.faults.remove(id).then(|| list(world))))?
        .ok_or_else(|| Refusal::not_found("no fault with that id waits; GET /admin/fault lists them"))
}

/// What waits and what has struck.
pub(super) fn list(world: &World) -> Value {
    json!({"waiting": world.faults.waiting(), "spent": world.faults.spent()})
}
