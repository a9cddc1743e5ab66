//! Calls that move a phone.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::parameters::Parameters;
use super::{Answer, Refusal};
use crate::account::{DeviceAddress, Form};
use crate::phone::scan::Code;
use crate::phone::send::text_message;
use crate::world::{Hub, World};

/// How long a client may take to answer a link.
const LINK_LIMIT: Duration = Duration::from_secs(20);
/// The longest burst.
const BURST_LIMIT: usize = 100_000;
/// Messages of a burst that are sent without letting anybody else in.
const BURST_STEP: usize = 50;
/// The longest text, as on the real network.
const TEXT_LIMIT: usize = 65_536;

/// A failure of the state folder is ours, not the caller's.
fn in_world<T>(hub: &Hub, change: impl FnOnce(&mut World) -> anyhow::Result<T>) -> Result<T, Refusal> {
    hub.act(change).map_err(Refusal::from)
}

fn ensure(hub: &Hub, number: &str) -> Result<(), Refusal> {
    in_world(hub, |world| world.ensure_phone(number))
}

pub(super) async fn scan_qr(hub: &Hub, parameters: &Parameters, body: &Bytes) -> Answer {
    let number = parameters.number("phone")?;
    let text = std::str::from_utf8(body).map_err(|_| Refusal::bad("the body must be the text of the QR code"))?;
    let code = Code::parse(text).map_err(|error| Refusal::bad(format!("{error:#}")))?;
    let outcome = in_world(hub, |world| world.phone_scans(number, &code))?;
    match tokio::time::timeout(LINK_LIMIT, outcome).await {
        Ok(Ok(Ok(address))) => Ok(hub.look(|world| linked(world, &address))),
        Ok(Ok(Err(reason))) => Err(Refusal::new(StatusCode::CONFLICT, reason)),
        Ok(Err(_)) => Err(Refusal::new(
            StatusCode::CONFLICT,
            "the client's socket ended before it was linked",
        )),
        Err(_) => Err(Refusal::new(
            StatusCode::GATEWAY_TIMEOUT,
            "the client did not answer the link in 20 seconds",
        )),
    }
}

fn linked(world: &World, address: &DeviceAddress) -> Value {
    let account = world.accounts.get(&address.number);
    let jid = |form| account.map(|account| account.device_jid(form, address.device).to_string());
    json!({
        "phone": address.number,
        "device": address.device,
        "jid": jid(Form::Number),
        "lid": jid(Form::Lid),
    })
}

pub(super) fn send(hub: &Hub, parameters: &Parameters, body: &Bytes) -> Answer {
    if !body.is_empty() {
        return Err(Refusal::not_available(
            "only texts are available yet; give them as the parameter `text`",
        ));
    }
    let (from, to) = (parameters.number("from")?, parameters.number("to")?);
    let text = checked_text(parameters.required("text")?)?;
    let form = form(parameters)?;
    let id = in_world(hub, |world| {
        world.ensure_phone(from)?;
        world.ensure_phone(to)?;
        world.phone_sends(from, to, form, text_message(text))
    })?;
    Ok(json!({"id": id}))
}

pub(super) async fn burst(hub: &Hub, parameters: &Parameters) -> Answer {
    let (from, to) = (parameters.number("from")?, parameters.number("to")?);
    let count: usize = parameters.whole("count")?;
    let prefix = checked_text(parameters.text("prefix").unwrap_or_default())?;
    if count > BURST_LIMIT {
        return Err(Refusal::bad(format!("`count` must be at most {BURST_LIMIT}")));
    }
    let form = form(parameters)?;
    ensure(hub, from)?;
    ensure(hub, to)?;
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        let step = ids.len()..count.min(ids.len() + BURST_STEP);
        let sent: Vec<String> = in_world(hub, |world| {
            step.map(|index| world.phone_sends(from, to, form, text_message(&format!("{prefix}{index}"))))
                .collect()
        })?;
        ids.extend(sent);
        tokio::task::yield_now().await;
    }
    Ok(json!({"ids": ids}))
}

fn checked_text(text: &str) -> Result<&str, Refusal> {
    if text.len() > TEXT_LIMIT {
        return Err(Refusal::bad(format!("a text has at most {TEXT_LIMIT} bytes")));
    }
    Ok(text)
}

fn form(parameters: &Parameters) -> Result<Form, Refusal> {
    Ok(if parameters.flag("lid", false)? {
        Form::Lid
    } else {
        Form::Number
    })
}

pub(super) fn inbox(hub: &Hub, parameters: &Parameters) -> Answer {
    let number = parameters.number("phone")?;
    ensure(hub, number)?;
    hub.look(|world| {
        let account = world
            .accounts
            .get(number)
            .ok_or_else(|| Refusal::not_found("no such phone"))?;
        serde_json::to_value(account.phone.inbox())
            .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    })
}

pub(super) fn read(hub: &Hub, parameters: &Parameters) -> Answer {
    let (number, id) = (parameters.number("phone")?, parameters.required("id")?);
    ensure(hub, number)?;
    if in_world(hub, |world| world.phone_opens(number, id))? {
        Ok(json!({"read": id}))
    } else {
        Err(Refusal::not_found("the phone has no readable message with that id"))
    }
}

pub(super) fn unlink(hub: &Hub, parameters: &Parameters) -> Answer {
    let (number, device) = (parameters.number("phone")?, parameters.whole("device")?);
    ensure(hub, number)?;
    if in_world(hub, |world| world.phone_unlinks(&DeviceAddress::new(number, device)))? {
        Ok(json!({"unlinked": device}))
    } else {
        Err(Refusal::not_found("the phone has no linked companion with that number"))
    }
}

pub(super) fn set_online(hub: &Hub, parameters: &Parameters, online: bool) -> Answer {
    let number = parameters.number("phone")?;
    ensure(hub, number)?;
    in_world(hub, |world| world.phone_connects(number, online))?;
    Ok(json!({"online": online}))
}

pub(super) fn set_answering(hub: &Hub, parameters: &Parameters) -> Answer {
    let (number, on) = (parameters.number("phone")?, parameters.flag("on", true)?);
    ensure(hub, number)?;
    in_world(hub, |world| world.phone_answers_from_now_on(number, on))?;
    Ok(json!({"answering": on}))
}
