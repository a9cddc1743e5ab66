//! Calls that write and read a phone's messages.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;

use super::parameters::Parameters;
use super::phones::{ensure, in_world};
use super::{Answer, Refusal, Route, Run};
use crate::account::Form;
use crate::phone::chat::Chat;
use crate::phone::compose::text_message;
use crate::phone::draft::{Draft, TEXT_LIMIT};
use crate::world::Hub;

/// The longest burst.
const BURST_LIMIT: usize = 100_000;
/// Messages of a burst that are sent without letting anybody else in.
const BURST_STEP: usize = 50;

/// The calls.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/send",
        parameters: "from, to (number, group JID, status@broadcast), text, [lid: address by LID]; or as a JSON body for every kind: from, to (number, group JID, \
                     status@broadcast), type, [reply_to], [mentions], [lid], [ephemeral_seconds], [forged: even what a \
                     phone would not send], and the fields of the type: text (text), edit (message_id, text, [sealed]), \
                     revoke (message_id), reaction (message_id, emoji), poll (question, options, [selectable_count]), \
                     vote (message_id, options), location (latitude, longitude, [name], [address]), contact (contacts: \
                     [{name, phones}]), image ([base64], [mime_type], [caption]), video (base64, [mime_type], [caption], \
                     [seconds], [width], [height]), audio ([base64], [mime_type], [voice], [seconds]), document \
                     ([base64], [mime_type], [filename], [caption]), sticker ([base64], [mime_type]); without base64 \
                     a small sample is sent; raw (message: base64 of the protobuf)",
        summary: "A phone sends a message; answers with its id. Field names are in snake_case, as in the gateway's API. A \
                  status goes to everybody the phone has talked with.",
        run: Run::Now(send),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/burst",
        parameters: "from, to: as above, count, [prefix]",
        summary: "A phone sends many texts, prefix0, prefix1 …, in order; answers with their ids.",
        run: Run::Later(|hub, parameters, _| Box::pin(burst(hub, parameters))),
    },
    Route {
        method: Method::GET,
        path: "/admin/mock-phone/inbox",
        parameters: "phone",
        summary: "What the phone decrypted, oldest first.",
        run: Run::Now(|hub, parameters, _| inbox(hub, parameters)),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/read",
        parameters: "phone, id",
        summary: "The phone's owner opens a message; its sender gets a read receipt.",
        run: Run::Now(|hub, parameters, _| read(hub, parameters)),
    },
];

fn send(hub: &Hub, parameters: &Parameters, body: &Bytes) -> Answer {
    let mut draft = if body.is_empty() {
        let (from, to) = (parameters.number("from")?, chat(parameters)?);
        let text = checked_text(parameters.required("text")?)?;
        Draft::text(from, to, form(parameters)?, text)
    } else {
        if !parameters.is_empty() {
            return Err(Refusal::bad(
                "with a JSON body there are no query parameters; put all of it into the body",
            ));
        }
        Draft::parse(body).map_err(Refusal::bad)?
    };
    let id = in_world(hub, |world| {
        world.ensure_phone(&draft.from)?;
        if let Chat::Person(to) = &draft.to {
            world.ensure_phone(to)?;
        }
        draft.form = world.form_in_chat(&draft.to, draft.form);
        world.phone_writes(&draft)
    })?;
    Ok(json!({"id": id}))
}

async fn burst(hub: &Hub, parameters: &Parameters) -> Answer {
    let (from, chat) = (parameters.number("from")?, chat(parameters)?);
    let count: usize = parameters.whole("count")?;
    let prefix = checked_text(parameters.text("prefix").unwrap_or_default())?;
    if count > BURST_LIMIT {
        return Err(Refusal::bad(format!("`count` must be at most {BURST_LIMIT}")));
    }
    let form = form(parameters)?;
    ensure(hub, from)?;
    if let Chat::Person(to) = &chat {
        ensure(hub, to)?;
    }
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        let step = ids.len()..count.min(ids.len() + BURST_STEP);
        let sent: Vec<String> = in_world(hub, |world| {
            step.map(|index| world.phone_sends(from, &chat, form, text_message(&format!("{prefix}{index}"))))
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

fn chat(parameters: &Parameters) -> Result<Chat, Refusal> {
    Chat::parse(parameters.required("to")?)
        .ok_or_else(|| Refusal::bad("`to` must be a phone number in digits, a group's JID or status@broadcast"))
}

fn form(parameters: &Parameters) -> Result<Form, Refusal> {
    Ok(if parameters.flag("lid", false)? {
        Form::Lid
    } else {
        Form::Number
    })
}

fn inbox(hub: &Hub, parameters: &Parameters) -> Answer {
    let number = parameters.number("phone")?;
    ensure(hub, number)?;
    hub.look(|world| {
        let account = world
            .accounts
            .get(number)
            .ok_or_else(|| Refusal::not_found("no such phone"))?;
        serde_json::to_value(account.phone.inbox().collect::<Vec<_>>())
            .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    })
}

fn read(hub: &Hub, parameters: &Parameters) -> Answer {
    let (number, id) = (parameters.number("phone")?, parameters.required("id")?);
    ensure(hub, number)?;
    if in_world(hub, |world| world.phone_opens(number, id))? {
        Ok(json!({"read": id}))
    } else {
        Err(Refusal::not_found("the phone has no readable message with that id"))
    }
}
