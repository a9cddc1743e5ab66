//! Calls that move a phone.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::parameters::Parameters;
use super::{Answer, Refusal, Route, Run};
use crate::account::{DeviceAddress, Form};
use crate::phone::code;
use crate::phone::passkey::RELYING_PARTY;
use crate::phone::scan::{Code, Outcome};
use crate::world::{Hub, World};

/// How long a client may take to answer a link.
const LINK_LIMIT: Duration = Duration::from_secs(20);

/// The calls.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/scan-qr",
        parameters: "phone; body: the QR text",
        summary: "The phone scans a QR code; answers when the companion is linked.",
        run: Run::Later(|hub, parameters, body| Box::pin(scan_qr(hub, parameters, body))),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/enter-code",
        parameters: "phone, code",
        summary: "The phone types a pairing code, with or without its dash; answers when the companion is linked.",
        run: Run::Later(|hub, parameters, _| Box::pin(enter_code(hub, parameters))),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/expire-code",
        parameters: "phone",
        summary: "The code that waits for this number becomes too old at once, as after 180 seconds.",
        run: Run::Now(|hub, parameters, _| {
            let number = parameters.number("phone")?;
            code_found(in_world(hub, |world| Ok(world.expire_code(number)))?, "expired")
        }),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/refresh-code",
        parameters: "phone, [manual: true | false]",
        summary: "The server forgets the code of this number and tells its client to show a new one (manual: once its owner asks).",
        run: Run::Now(|hub, parameters, _| {
            let (number, manual) = (parameters.number("phone")?, parameters.flag("manual", false)?);
            code_found(
                in_world(hub, |world| Ok(world.refresh_code(number, manual)))?,
                "refreshed",
            )
        }),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/passkey",
        parameters: "phone",
        summary: "The passkey of the phone's account, made at the first call: credentialId and PKCS #8 private key (ES256), base64url, for rpId.",
        run: Run::Now(|hub, parameters, _| {
            let number = parameters.number("phone")?;
            let passkey = in_world(hub, |world| world.passkey(number))?;
            Ok(json!({
                "credentialId": BASE64_URL_SAFE_NO_PAD.encode(&passkey.id),
                "privateKeyPkcs8": BASE64_URL_SAFE_NO_PAD.encode(&passkey.private),
                "rpId": RELYING_PARTY,
            }))
        }),
    },
    Route {
        method: Method::GET,
        path: "/admin/mock-phone/passkey",
        parameters: "phone",
        summary: "Whether a client is asked for the phone's passkey now, and the code that the phone shows for comparing.",
        run: Run::Now(|hub, parameters, _| {
            let number = parameters.number("phone")?;
            Ok(hub.look(|world| world.passkey_demand(number)))
        }),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/unlink",
        parameters: "phone, device",
        summary: "The phone removes a linked companion.",
        run: Run::Now(|hub, parameters, _| unlink(hub, parameters)),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/online",
        parameters: "phone",
        summary: "The phone connects and works off what waited for it.",
        run: Run::Now(|hub, parameters, _| set_online(hub, parameters, true)),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/offline",
        parameters: "phone",
        summary: "The phone disconnects; what it is sent waits.",
        run: Run::Now(|hub, parameters, _| set_online(hub, parameters, false)),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/answering",
        parameters: "phone, [on: true | false]",
        summary: "Whether the phone marks messages from clients as read and echoes them.",
        run: Run::Now(|hub, parameters, _| set_answering(hub, parameters)),
    },
];

/// A failure of the state folder is ours, not the caller's.
pub(super) fn in_world<T>(hub: &Hub, change: impl FnOnce(&mut World) -> anyhow::Result<T>) -> Result<T, Refusal> {
    hub.act(change).map_err(Refusal::from)
}

pub(super) fn ensure(hub: &Hub, number: &str) -> Result<(), Refusal> {
    in_world(hub, |world| world.ensure_phone(number))
}

async fn scan_qr(hub: &Hub, parameters: &Parameters, body: &Bytes) -> Answer {
    let number = parameters.number("phone")?;
    let text = std::str::from_utf8(body).map_err(|_| Refusal::bad("the body must be the text of the QR code"))?;
    let code = Code::parse(text).map_err(|error| Refusal::bad(format!("{error:#}")))?;
    let outcome = in_world(hub, |world| world.phone_scans(number, &code))?;
    link_ends(hub, outcome).await
}

async fn enter_code(hub: &Hub, parameters: &Parameters) -> Answer {
    let number = parameters.number("phone")?;
    let code = code::spelled(parameters.required("code")?).map_err(|error| Refusal::bad(format!("{error:#}")))?;
    let asked = in_world(hub, |world| world.code_asked_for(number))?;
    let wrapped = asked.wrapped.clone();
    // Deliberately slow arithmetic, and not under the world's lock.
    let typed = tokio::task::spawn_blocking(move || code::typed(&code, &wrapped))
        .await
        .map_err(|error| Refusal::from(anyhow::Error::from(error)))?
        .map_err(Refusal::from)?;
    let outcome = in_world(hub, |world| world.phone_types(number, &asked, typed))?;
    link_ends(hub, outcome).await
}

fn code_found(found: bool, word: &str) -> Answer {
    if found {
        Ok(json!({ word: true }))
    } else {
        Err(Refusal::not_found("no open client has asked for a code of this number"))
    }
}

/// Waits until a client has answered a link.
async fn link_ends(hub: &Hub, outcome: Outcome) -> Answer {
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

fn unlink(hub: &Hub, parameters: &Parameters) -> Answer {
    let (number, device) = (parameters.number("phone")?, parameters.whole("device")?);
    ensure(hub, number)?;
    if in_world(hub, |world| world.phone_unlinks(&DeviceAddress::new(number, device)))? {
        Ok(json!({"unlinked": device}))
    } else {
        Err(Refusal::not_found("the phone has no linked companion with that number"))
    }
}

fn set_online(hub: &Hub, parameters: &Parameters, online: bool) -> Answer {
    let number = parameters.number("phone")?;
    ensure(hub, number)?;
    in_world(hub, |world| world.phone_connects(number, online))?;
    Ok(json!({"online": online}))
}

fn set_answering(hub: &Hub, parameters: &Parameters) -> Answer {
    let (number, on) = (parameters.number("phone")?, parameters.flag("on", true)?);
    ensure(hub, number)?;
    in_world(hub, |world| world.phone_answers_from_now_on(number, on))?;
    Ok(json!({"answering": on}))
}
