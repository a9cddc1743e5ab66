//! `POST /admin/fault`.

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::parameters::phone_number;
use super::{Answer, Refusal, Route, Run};
use crate::account::DeviceAddress;
use crate::fault::{Fault, Kind};
use crate::stanza::stream_error;
use crate::world::{Hub, World};

/// The calls.
pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::POST,
    path: "/admin/fault",
    parameters: "JSON body: kind, [phone], [times: 1 | n | 0 or \"always\"], [code], [reason], [expire], [ms], [deliver]",
    summary: "Makes the next thing go wrong; kind none forgets all faults.",
    run: Run::Now(|hub, _, body| add(hub, body)),
}];

/// Known to the papers, not to this simulator yet.
const NOT_YET: [&str; 2] = ["passkey", "media-404"];
/// No answer is delayed longer.
const LONGEST_DELAY: u64 = 60_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    kind: String,
    phone: Option<String>,
    times: Option<Value>,
    code: Option<u16>,
    reason: Option<u16>,
    expire: Option<u64>,
    ms: Option<u64>,
    deliver: Option<bool>,
}

fn add(hub: &Hub, body: &Bytes) -> Answer {
    let body: Body =
        serde_json::from_slice(body).map_err(|error| Refusal::bad(format!("the body is not a fault: {error}")))?;
    if body.kind == "none" {
        hub.act(|world| {
            world.faults.clear();
            Ok(())
        })?;
        return Ok(json!({"waiting": []}));
    }
    if NOT_YET.contains(&body.kind.as_str()) {
        return Err(Refusal::not_available(format!(
            "the fault `{}` is not available yet",
            body.kind
        )));
    }
    let kind: Kind = serde_json::from_value(json!(body.kind))
        .map_err(|_| Refusal::bad(format!("there is no fault `{}`", body.kind)))?;
    let fault = checked(kind, body)?;
    let waiting = hub.act(|world| {
        world.faults.add(fault);
        world.strike_open_sockets(kind);
        Ok(world.faults.waiting().to_vec())
    })?;
    Ok(json!({"waiting": waiting}))
}

fn checked(kind: Kind, body: Body) -> Result<Fault, Refusal> {
    if let Some(phone) = &body.phone {
        phone_number("phone", phone)?;
        if kind.is_anonymous() {
            return Err(Refusal::bad(
                "this fault strikes before the client says who it is; leave `phone` out",
            ));
        }
    }
    let times = match &body.times {
        None => Some(1),
        Some(Value::String(always)) if always == "always" => None,
        Some(value) => match value.as_u64() {
            Some(0) => None,
            Some(times) => Some(times),
            None => return Err(Refusal::bad("`times` must be a whole number, 0 or \"always\"")),
        },
    };
    let code = match (kind, body.code) {
        (Kind::StreamError | Kind::Nack, None) => {
            return Err(Refusal::bad(
                "this fault needs a `code`, for example 463 for nack or 503 for stream-error",
            ));
        }
        (Kind::PairCode, code) => match code.unwrap_or(400) {
            code @ (400 | 403 | 429 | 452 | 500) => code,
            _ => {
                return Err(Refusal::bad(
                    "`code` must be one that the server gives here: 400, 403, 429, 452 or 500",
                ));
            }
        },
        (_, code) => code.unwrap_or_default(),
    };
    let reason = match (kind, body.reason) {
        (Kind::Failure, None) => {
            return Err(Refusal::bad(
                "this fault needs a `reason`, for example 401, 402 (with `expire`) or 405",
            ));
        }
        (_, reason) => reason.unwrap_or_default(),
    };
    let milliseconds = body.ms.unwrap_or(1000);
    if milliseconds > LONGEST_DELAY {
        return Err(Refusal::bad(format!("`ms` must be at most {LONGEST_DELAY}")));
    }
    Ok(Fault {
        kind,
        times,
        phone: body.phone,
        code,
        reason,
        expire: body.expire,
        milliseconds,
        deliver: body.deliver.unwrap_or(true),
    })
}

impl World {
    /// Socket faults strike what is connected now; what remains of them strikes at the next logins.
    fn strike_open_sockets(&mut self, kind: Kind) {
        if !matches!(kind, Kind::DropSocket | Kind::StreamError) {
            return;
        }
        let open: Vec<DeviceAddress> = self.links.keys().cloned().collect();
        for address in open {
            if let Some(fault) = self.strike(kind, Some(&address.number)) {
                let words = if kind == Kind::StreamError {
                    vec![stream_error(fault.code)]
                } else {
                    Vec::new()
                };
                self.end_socket(&address, words);
            }
        }
    }
}
