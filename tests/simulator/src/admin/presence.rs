//! Calls about who is there, who types, and what a phone hears of others.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::parameters::Parameters;
use super::phones::{ensure, in_world};
use super::{Answer, Refusal, Route, Run};
use crate::account::Form;
use crate::presence::Typing;
use crate::world::Hub;

/// The calls.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/presence",
        parameters: "phone, state: available | unavailable",
        summary: "The phone's owner looks at it or puts it away; who has subscribed to it is told.",
        run: Run::Now(|hub, parameters, _| presence(hub, parameters)),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/typing",
        parameters: "phone, to, state: composing | recording | paused, [lid: address by LID]",
        summary: "The phone's owner types or records; the other side hears it if it is there now.",
        run: Run::Now(|hub, parameters, _| typing(hub, parameters)),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/subscribe",
        parameters: "phone, to",
        summary: "The phone's owner opens a chat: the phone hears that account's presence from now on.",
        run: Run::Now(|hub, parameters, _| subscribe(hub, parameters)),
    },
    Route {
        method: Method::GET,
        path: "/admin/mock-phone/heard",
        parameters: "phone",
        summary: "Presence and typing of others that the phone heard in this run, oldest first.",
        run: Run::Now(|hub, parameters, _| heard(hub, parameters)),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/block",
        parameters: "phone, number, [on: true | false]",
        summary: "The phone's owner blocks a number or takes that back.",
        run: Run::Now(|hub, parameters, _| block(hub, parameters)),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/privacy",
        parameters: "phone, category, value",
        summary: "The phone's owner changes a privacy setting, for example last none.",
        run: Run::Now(|hub, parameters, _| privacy(hub, parameters)),
    },
    Route {
        method: Method::GET,
        path: "/admin/mock-phone/contacts",
        parameters: "phone",
        summary: "Whom the phone knows, by the names they gave themselves, and whom it has blocked.",
        run: Run::Now(|hub, parameters, _| contacts(hub, parameters)),
    },
];

fn presence(hub: &Hub, parameters: &Parameters) -> Answer {
    let (number, state) = (parameters.number("phone")?, parameters.required("state")?);
    let available = match state {
        "available" => true,
        "unavailable" => false,
        _ => return Err(Refusal::bad("`state` must be available or unavailable")),
    };
    ensure(hub, number)?;
    in_world(hub, |world| world.phone_is_available(number, available))?;
    Ok(json!({"state": state}))
}

fn typing(hub: &Hub, parameters: &Parameters) -> Answer {
    let (number, to) = (parameters.number("phone")?, parameters.number("to")?);
    let state = Typing::parse(parameters.required("state")?)
        .ok_or_else(|| Refusal::bad("`state` must be composing, recording or paused"))?;
    let form = if parameters.flag("lid", false)? {
        Form::Lid
    } else {
        Form::Number
    };
    ensure(hub, number)?;
    ensure(hub, to)?;
    in_world(hub, |world| {
        world.phone_must_be_online(number)?;
        world.types(number, to, form, state)
    })?;
    Ok(json!({"state": state.name()}))
}

fn subscribe(hub: &Hub, parameters: &Parameters) -> Answer {
    let (number, to) = (parameters.number("phone")?, parameters.number("to")?);
    ensure(hub, number)?;
    ensure(hub, to)?;
    in_world(hub, |world| world.phone_subscribes(number, to))?;
    Ok(json!({"subscribed": to}))
}

fn heard(hub: &Hub, parameters: &Parameters) -> Answer {
    let number = parameters.number("phone")?;
    ensure(hub, number)?;
    hub.look(|world| {
        let account = world
            .accounts
            .get(number)
            .ok_or_else(|| Refusal::not_found("no such phone"))?;
        let heard: Vec<_> = account.phone.hearsay.all().collect();
        serde_json::to_value(heard).map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    })
}

fn block(hub: &Hub, parameters: &Parameters) -> Answer {
    let (number, other) = (parameters.number("phone")?, parameters.number("number")?);
    let on = parameters.flag("on", true)?;
    if number == other {
        return Err(Refusal::bad(
            "nobody can block themselves; `number` must be another phone",
        ));
    }
    ensure(hub, number)?;
    ensure(hub, other)?;
    if in_world(hub, |world| world.blocks(number, other, on, None))? {
        Ok(json!({"blocked": on}))
    } else {
        Err(Refusal::bad("the blocklist is full"))
    }
}

fn privacy(hub: &Hub, parameters: &Parameters) -> Answer {
    let (number, category) = (parameters.number("phone")?, parameters.required("category")?);
    let value = parameters.required("value")?;
    ensure(hub, number)?;
    if in_world(hub, |world| {
        world.change_profile(number, |profile| profile.set_privacy(category, value))
    })? {
        return Ok(json!({"category": category, "value": value}));
    }
    let known: Vec<String> = crate::profile::CATEGORIES
        .iter()
        .map(|(name, values)| format!("{name} ({})", values.join(", ")))
        .collect();
    Err(Refusal::bad(format!(
        "there is no such privacy setting; known are {}",
        known.join("; ")
    )))
}

fn contacts(hub: &Hub, parameters: &Parameters) -> Answer {
    let number = parameters.number("phone")?;
    ensure(hub, number)?;
    hub.look(|world| {
        let account = world
            .accounts
            .get(number)
            .ok_or_else(|| Refusal::not_found("no such phone"))?;
        let contacts: Vec<Value> = account
            .phone
            .contacts()
            .map(|(other, name)| {
                json!({
                    "phone": other,
                    "name": name,
                    "blocked": account.profile.has_blocked(other),
                })
            })
            .collect();
        let blocked: Vec<&str> = account.profile.blocked().map(|(number, _)| number).collect();
        Ok(json!({"contacts": contacts, "blocked": blocked}))
    })
}
