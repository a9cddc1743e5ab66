//! `GET /admin/state`: everything the simulator holds, without private keys; `POST /admin/reset`: none of it any more.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::parameters::phone_number;
use super::phones::in_world;
use super::{Answer, Refusal, Route, Run};
use crate::account::{Account, Companion, DeviceAddress, Form};
use crate::queue::Queue;
use crate::stanza::Stanza as _;
use crate::world::{Hub, World};

/// The calls.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/admin/state",
        parameters: "",
        summary: "Everything the simulator holds, without private keys: accounts, companions, queues, groups, open sockets, faults.",
        run: Run::Now(|hub, _, _| Ok(hub.look(state))),
    },
    Route {
        method: Method::POST,
        path: "/admin/reset",
        parameters: "[JSON body: phone: forget this one alone]",
        summary: "Back to an empty simulator with the same root key, as if it had been started anew: all sockets end, \
                  the state folder is emptied in one step. With a phone, that account alone is forgotten.",
        run: Run::Now(|hub, _, body| reset(hub, body)),
    },
];

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    phone: Option<String>,
}

fn reset(hub: &Hub, body: &Bytes) -> Answer {
    let wish: Reset = if body.is_empty() {
        Reset::default()
    } else {
        serde_json::from_slice(body)
            .map_err(|error| Refusal::bad(format!("the body must be empty or {{\"phone\": \"…\"}}: {error}")))?
    };
    let Some(phone) = wish.phone else {
        in_world(hub, World::reset)?;
        return Ok(json!({"reset": "everything"}));
    };
    phone_number("phone", &phone)?;
    if in_world(hub, |world| world.forget_phone(&phone))? {
        Ok(json!({"reset": phone}))
    } else {
        Err(Refusal::not_found("there is no phone with that number"))
    }
}

fn state(world: &World) -> Value {
    let accounts: Vec<Value> = world
        .accounts
        .iter()
        .map(|account| account_state(world, account))
        .collect();
    let pairings: Vec<Value> = world
        .pairings
        .iter()
        .map(|(socket, pairing)| {
            json!({
                "socket": socket,
                "platform": pairing.platform,
                "codes": pairing.refs.len(),
                "granted": pairing.granted.as_ref().map(|granted| json!({
                    "phone": granted.number,
                    "device": granted.device,
                })),
            })
        })
        .collect();
    let groups: Vec<Value> = world
        .groups
        .iter()
        .map(|group| json!({"jid": group.jid().to_string(), "members": group.numbers(), "admins": group.admins()}))
        .collect();
    json!({
        "rootKey": hex::encode(world.keys.root_public()),
        "accounts": accounts,
        "groups": groups,
        "pairings": pairings,
        "faults": super::faults::list(world),
    })
}

fn account_state(world: &World, account: &Account) -> Value {
    let companions: Vec<Value> = account
        .companions
        .iter()
        .map(|(device, companion)| companion_state(world, account, *device, companion))
        .collect();
    json!({
        "phone": account.number,
        "jid": account.jid(Form::Number).to_string(),
        "lid": account.jid(Form::Lid).to_string(),
        "name": account.phone.push_name,
        "online": account.phone.online,
        "answering": account.phone.answering,
        "identityKey": hex::encode(account.phone.signal.identity().public_key.public_key_bytes()),
        "watchers": account.watchers,
        "inbox": account.phone.inbox().collect::<Vec<_>>(),
        "queue": queue_state(&account.phone.queue),
        "companions": companions,
    })
}

fn companion_state(world: &World, account: &Account, device: u16, companion: &Companion) -> Value {
    let link = world.links.get(&DeviceAddress::new(&account.number, device));
    json!({
        "device": device,
        "jid": account.device_jid(Form::Number, device).to_string(),
        "lid": account.device_jid(Form::Lid, device).to_string(),
        "platform": companion.record.platform,
        "keyIndex": companion.record.key_index,
        "identityKey": hex::encode(&companion.record.identity),
        "linkedAt": companion.record.linked_at,
        "greeted": companion.record.greeted,
        "registration": companion.record.keys.as_ref().map(|keys| keys.registration),
        "prekeys": companion.prekeys.keys().collect::<Vec<_>>(),
        "socket": link.map(|link| link.socket),
        "queue": queue_state(&companion.queue),
    })
}

/// What waits, in order: tag, id and type, enough to see what is stuck.
fn queue_state(queue: &Queue) -> Vec<BTreeMap<&'static str, String>> {
    queue
        .nodes()
        .map(|node| {
            let mut entry = BTreeMap::from([("tag", node.tag.to_string())]);
            for name in ["id", "type", "from", "participant"] {
                if let Some(value) = node.text(name) {
                    entry.insert(name, value);
                }
            }
            entry
        })
        .collect()
}
