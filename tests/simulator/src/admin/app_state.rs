//! Calls about what a phone and its companions set for chats, contacts and the account.

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use whatsapp_rust::wacore_binary::{Jid, Server};

use super::parameters::{Parameters, phone_number};
use super::phones::{ensure, in_world};
use super::{Answer, Refusal, Route, Run};
use crate::account::{Accounts, Form};
use crate::app_state::Name;
use crate::clock::unix_millis;
use crate::phone::app_state::actions::{ChatWish, contact_change};
use crate::phone::app_state::view::view;
use crate::world::Hub;

/// The longest name.
const NAME_LIMIT: usize = 256;

/// The calls.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/admin/mock-phone/app-state",
        parameters: "phone",
        summary: "What the phone and its companions have set: chats pinned, archived, muted, unread; contacts, labels, \
                  settings; patches that the phone did not believe.",
        run: Run::Now(|hub, parameters, _| show(hub, parameters)),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/chat",
        parameters: "JSON body: phone, chat (number or JID), [pinned], [archived], [muted_until: milliseconds, 0 = not \
                     muted, -1 = for good], [unread | read]",
        summary: "The phone's owner pins, archives, mutes a chat or marks it as read; companions hear of it.",
        run: Run::Now(|hub, _, body| set_chat(hub, body)),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/contact",
        parameters: "JSON body: phone, contact (number), name",
        summary: "The phone's owner names a contact in the address book; companions hear of it.",
        run: Run::Now(|hub, _, body| set_contact(hub, body)),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/name",
        parameters: "phone, name",
        summary: "The phone's owner chooses another name; companions hear of it.",
        run: Run::Now(|hub, parameters, _| set_name(hub, parameters)),
    },
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChatBody {
    phone: String,
    chat: String,
    pinned: Option<bool>,
    archived: Option<bool>,
    #[serde(alias = "mutedUntil")]
    muted_until: Option<i64>,
    unread: Option<bool>,
    read: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContactBody {
    phone: String,
    contact: String,
    name: String,
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad(format!("the body is not what this call takes: {error}")))
}

fn show(hub: &Hub, parameters: &Parameters) -> Answer {
    let number = parameters.number("phone")?;
    ensure(hub, number)?;
    hub.look(|world| {
        let account = world
            .accounts
            .get(number)
            .ok_or_else(|| Refusal::not_found("no such phone"))?;
        Ok(view(&account.phone.app_state, &|jid| by_number(&world.accounts, jid)))
    })
}

/// A person's address by number, whichever form it has; anything else as it is.
fn by_number(accounts: &Accounts, jid: &str) -> String {
    let resolved = jid.parse::<Jid>().ok().and_then(|jid| accounts.resolve(&jid));
    resolved.map_or_else(
        || jid.to_owned(),
        |address| Jid::pn(address.number.as_str()).to_string(),
    )
}

/// A chat's JID: a number stands for the person's chat.
fn chat_jid(text: &str) -> Result<String, Refusal> {
    if !text.contains('@') {
        return phone_number("chat", text).map(|number| Jid::pn(number).to_string());
    }
    let jid: Jid = text
        .parse()
        .map_err(|_| Refusal::bad(format!("`chat` must be a phone number or a JID, not `{text}`")))?;
    if !matches!(
        jid.server,
        Server::Pn | Server::Lid | Server::Group | Server::Broadcast | Server::Newsletter
    ) || jid.user.is_empty()
    {
        return Err(Refusal::bad("`chat` must be the JID of a person, a group or a list"));
    }
    Ok(jid.to_non_ad().to_string())
}

fn set_chat(hub: &Hub, body: &Bytes) -> Answer {
    let body: ChatBody = parse(body)?;
    let phone = phone_number("phone", &body.phone)?;
    let chat = chat_jid(&body.chat)?;
    if body.unread.is_some() && body.read.is_some() {
        return Err(Refusal::bad("give `read` or `unread`, not both"));
    }
    if body.muted_until.is_some_and(|until| until < -1) {
        return Err(Refusal::bad(
            "`muted_until` is a time in milliseconds since 1970, 0 for not muted or -1 for good",
        ));
    }
    let wish = ChatWish {
        pinned: body.pinned,
        archived: body.archived,
        muted_until: body.muted_until,
        read: body.read.or(body.unread.map(|unread| !unread)),
    };
    if wish.is_empty() {
        return Err(Refusal::bad(
            "nothing to set: give `pinned`, `archived`, `muted_until`, `read` or `unread`",
        ));
    }
    ensure(hub, phone)?;
    in_world(hub, |world| {
        let newest = world.newest_in(phone, &chat);
        for (name, changes) in wish.changes(&chat, newest.as_ref(), unix_millis()) {
            world.phone_sets(phone, name, &changes)?;
        }
        Ok(())
    })?;
    Ok(json!({"chat": chat}))
}

fn checked_name(name: &str) -> Result<&str, Refusal> {
    if name.trim().is_empty() || name.len() > NAME_LIMIT {
        return Err(Refusal::bad(format!("`name` must have 1 to {NAME_LIMIT} bytes")));
    }
    Ok(name)
}

fn set_contact(hub: &Hub, body: &Bytes) -> Answer {
    let body: ContactBody = parse(body)?;
    let (phone, contact) = (
        phone_number("phone", &body.phone)?,
        phone_number("contact", &body.contact)?,
    );
    let name = checked_name(&body.name)?;
    ensure(hub, phone)?;
    ensure(hub, contact)?;
    in_world(hub, |world| {
        let jids = world.accounts.get(contact).map(|account| {
            (
                account.jid(Form::Number).to_string(),
                account.jid(Form::Lid).to_string(),
            )
        });
        let (jid, lid) = jids.ok_or_else(|| anyhow::anyhow!("the contact is not on WhatsApp"))?;
        let change = contact_change(&jid, &lid, name, unix_millis());
        world.phone_sets(phone, Name::CriticalUnblockLow, &[change])
    })?;
    Ok(json!({"contact": contact, "name": name}))
}

fn set_name(hub: &Hub, parameters: &Parameters) -> Answer {
    let number = parameters.number("phone")?;
    let name = checked_name(parameters.required("name")?)?;
    ensure(hub, number)?;
    in_world(hub, |world| world.phone_takes_name(number, name))?;
    Ok(json!({"name": name}))
}
