//! What can be asked: the calls themselves, the root key, counters and how things stand.

use http::Method;
use serde_json::{Value, json};

use super::{Raw, Route, Run};
use crate::account::{Account, DeviceAddress};
use crate::world::{Hub, World};

/// The calls.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/admin",
        parameters: "",
        summary: "This list.",
        run: Run::Now(|_, _, _| Ok(document())),
    },
    Route {
        method: Method::GET,
        path: "/admin/root-key",
        parameters: "",
        summary: "The root key that signs this simulator's certificates, as publicKeyHex.",
        run: Run::Now(|hub, _, _| Ok(hub.look(|world| json!({"publicKeyHex": hex::encode(world.keys.root_public())})))),
    },
    Route {
        method: Method::GET,
        path: "/admin/certificate",
        parameters: "",
        summary: "The certificate of this port as PEM: clients that speak TLS trust it.",
        run: Run::Raw(|hub, _| Box::pin(std::future::ready(Ok(certificate(hub))))),
    },
    Route {
        method: Method::POST,
        path: "/admin/renew-certificates",
        parameters: "",
        summary: "The server gets a new static key and certificates under the same root: clients that remember the old one fall back to XX.",
        run: Run::Now(|hub, _, _| {
            super::phones::in_world(hub, World::renew_certificates)?;
            Ok(json!({"renewed": true}))
        }),
    },
    Route {
        method: Method::GET,
        path: "/admin/stats",
        parameters: "",
        summary: "Counters, open sockets, phones with their companions, waiting faults.",
        run: Run::Now(|hub, _, _| Ok(hub.look(stats))),
    },
];

fn certificate(hub: &Hub) -> Raw {
    Raw {
        content_type: "application/x-pem-file".to_owned(),
        bytes: hub.look(|world| world.tls.pem()).into(),
    }
}

fn document() -> Value {
    let calls: Vec<Value> = super::routes()
        .map(|route| {
            json!({
                "method": route.method.as_str(),
                "path": route.path,
                "parameters": route.parameters,
                "summary": route.summary,
            })
        })
        .collect();
    json!({
        "about": "WhatsApp simulator. Clients connect to ws://…/ws/chat or wss://…/ws/chat, both on this port, and \
                  fetch media by https:// from it; GET /admin/certificate is what they trust. A phone number is digits only; a phone exists \
                  once a call names it, every other number is not on WhatsApp. Errors are {\"error\": …}.",
        "calls": calls,
        "faults": crate::fault::manual::document(),
    })
}

/// Counters, and how things stand.
fn stats(world: &World) -> Value {
    let mut report = serde_json::to_value(&world.stats).unwrap_or_default();
    let mut logged_in: Vec<Value> = Vec::new();
    for account in world.accounts.iter() {
        for device in account.companions.keys() {
            if world.links.contains_key(&DeviceAddress::new(&account.number, *device)) {
                logged_in.push(json!({"phone": account.number, "device": device}));
            }
        }
    }
    if let Value::Object(fields) = &mut report {
        let (items, bytes) = world.media.size();
        fields.insert("mediaHost".into(), json!(world.media.host));
        fields["media"]["stored"] = json!(items);
        fields["media"]["bytes"] = json!(bytes);
        fields.insert("loggedIn".into(), json!(logged_in));
        fields.insert("pairing".into(), json!(world.pairings.len()));
        fields.insert("waitingFaults".into(), json!(world.faults.waiting()));
        let phones: Vec<Value> = world.accounts.iter().map(|account| phone(world, account)).collect();
        fields.insert("phones".into(), json!(phones));
    }
    report
}

fn phone(world: &World, account: &Account) -> Value {
    let companions: Vec<Value> = account
        .companions
        .iter()
        .map(|(device, companion)| {
            json!({
                "device": device,
                "platform": companion.record.platform,
                "connected": world.links.contains_key(&DeviceAddress::new(&account.number, *device)),
                "waiting": companion.queue.count(None),
                "waitingByTag": {
                    "message": companion.queue.count(Some("message")),
                    "receipt": companion.queue.count(Some("receipt")),
                    "notification": companion.queue.count(Some("notification")),
                },
                "prekeys": companion.prekeys.len(),
            })
        })
        .collect();
    json!({
        "phone": account.number,
        "lid": account.lid,
        "name": account.phone.push_name,
        "online": account.phone.online,
        "answering": account.phone.answering,
        "waiting": account.phone.queue.count(None),
        "inbox": account.phone.inbox().len(),
        "companions": companions,
    })
}
