//! What `GET /admin/stats` shows.

use serde_json::{Value, json};

use crate::account::{Account, DeviceAddress};
use crate::world::World;

/// Counters, and how things stand.
pub(super) fn stats(world: &World) -> Value {
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
