//! Calls about calls.

use http::{Method, StatusCode};
use serde_json::json;

use super::parameters::Parameters;
use super::phones::{ensure, in_world};
use super::{Answer, Refusal, Route, Run};
use crate::account::Form;
use crate::world::Hub;

/// The calls.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/call",
        parameters: "from, to, [video: true | false], [lid: address by LID]",
        summary: "A phone calls a number, every device of it rings; answers with the call's id.",
        run: Run::Now(|hub, parameters, _| call(hub, parameters)),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/hang-up",
        parameters: "phone, call, [reason: for example timeout]",
        summary: "The phone rejects a call that rings at it, or ends one that it made or took.",
        run: Run::Now(|hub, parameters, _| hang_up(hub, parameters)),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/answer-call",
        parameters: "phone, call",
        summary: "The phone takes a call that rings at it.",
        run: Run::Now(|hub, parameters, _| take(hub, parameters)),
    },
    Route {
        method: Method::GET,
        path: "/admin/mock-phone/calls",
        parameters: "phone",
        summary: "Calls of the phone's account, oldest first: ringing, accepted, rejected or ended, and by which device.",
        run: Run::Now(|hub, parameters, _| calls(hub, parameters)),
    },
];

fn call(hub: &Hub, parameters: &Parameters) -> Answer {
    let (from, to) = (parameters.number("from")?, parameters.number("to")?);
    let video = parameters.flag("video", false)?;
    let form = if parameters.flag("lid", false)? {
        Form::Lid
    } else {
        Form::Number
    };
    if from == to {
        return Err(Refusal::bad("a phone cannot call itself; `to` must be another number"));
    }
    ensure(hub, from)?;
    ensure(hub, to)?;
    let id = in_world(hub, |world| world.phone_calls(from, to, form, video))?;
    Ok(json!({"id": id}))
}

fn hang_up(hub: &Hub, parameters: &Parameters) -> Answer {
    let (number, id) = (parameters.number("phone")?, parameters.required("call")?);
    ensure(hub, number)?;
    in_world(hub, |world| world.phone_hangs_up(number, id, parameters.text("reason")))?;
    Ok(json!({"ended": id}))
}

fn take(hub: &Hub, parameters: &Parameters) -> Answer {
    let (number, id) = (parameters.number("phone")?, parameters.required("call")?);
    ensure(hub, number)?;
    in_world(hub, |world| world.phone_takes_call(number, id))?;
    Ok(json!({"accepted": id}))
}

fn calls(hub: &Hub, parameters: &Parameters) -> Answer {
    let number = parameters.number("phone")?;
    ensure(hub, number)?;
    hub.look(|world| {
        let calls: Vec<_> = world.calls.of(number).collect();
        serde_json::to_value(calls).map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    })
}
