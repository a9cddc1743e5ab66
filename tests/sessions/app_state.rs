//! What the owner sets on the phone: told as events, once, and none of what was before.

use serde_json::json;

use crate::harness::{FRIEND, Gateway, OWNER, Simulator, eventually};

#[tokio::test]
async fn what_the_owner_sets_for_a_chat_is_told_setting_by_setting() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    let chat = json!({"jid": format!("{FRIEND}@s.whatsapp.net"), "type": "direct"});
    for (wish, expected) in [
        (json!({"archived": true}), json!({"archived": true})),
        (json!({"archived": false}), json!({"archived": false})),
        (json!({"pinned": true}), json!({"pinned": true})),
        (json!({"muted_until": -1}), json!({"muted": true})),
        (
            json!({"muted_until": 4_102_444_800_000_i64}),
            json!({"muted": true, "muted_until": "2100-01-01T00:00:00.000Z"}),
        ),
        (json!({"muted_until": 0}), json!({"muted": false})),
        (json!({"unread": true}), json!({"unread": true})),
        (json!({"read": true}), json!({"unread": false})),
    ] {
        simulator.sets_chat(OWNER, FRIEND, &wish).await;
        let event = events.next("chat.updated").await;
        assert_eq!((&event["instance_id"], &event["chat"]), (&json!(instance.id), &chat));
        for name in ["archived", "pinned", "muted", "muted_until", "unread"] {
            assert_eq!(event.get(name), expected.get(name), "{wish}: {event}");
        }
    }
    assert_eq!(simulator.app_state(OWNER).await["errors"], json!([]));
}

#[tokio::test]
async fn a_contact_and_the_account_get_another_name() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    simulator.names_contact(OWNER, FRIEND, "Ana Maria").await;
    let event = events.next("contact.updated").await;
    assert_eq!(event["contact"]["phone"], FRIEND);
    assert_eq!(event["contact"]["name"], "Ana Maria");
    assert_eq!(event.get("push_name"), None);
    simulator.takes_name(OWNER, "Another Name").await;
    let event = events.next("contact.updated").await;
    assert_eq!(event["contact"]["phone"], OWNER);
    assert_eq!(event["push_name"], "Another Name");
    // Whoever writes from now on does so under the new name.
    simulator.send(OWNER, FRIEND, "hello").await;
}

#[tokio::test]
async fn what_was_set_and_written_before_the_link_is_no_news() {
    let simulator = Simulator::start().await;
    simulator.sets_chat(OWNER, FRIEND, &json!({"archived": true})).await;
    simulator.names_contact(OWNER, FRIEND, "Ana").await;
    simulator.send(FRIEND, OWNER, "long ago").await;
    simulator.burst(FRIEND, OWNER, 30, "old").await;
    let gateway = Gateway::start(&simulator).await;
    let mut events = gateway.events().await;
    gateway.link(&simulator, OWNER).await;
    // The history has arrived as a whole; then one new message, and one new setting.
    eventually("the receipts for the history", async || {
        let stats = simulator.stats().await;
        (stats["receiptsToPhones"]["hist_sync"].as_u64() >= Some(4)).then_some(())
    })
    .await;
    simulator.send(FRIEND, OWNER, "new").await;
    assert_eq!(events.next("message.received").await["body"]["text"], "new");
    simulator.sets_chat(OWNER, FRIEND, &json!({"pinned": true})).await;
    assert_eq!(events.next("chat.updated").await["pinned"], true);
    for frame in events.frames() {
        let old = match frame.name() {
            "message.received" => frame.data["body"]["text"] != "new",
            "chat.updated" => frame.data["pinned"] != true,
            "contact.updated" => true,
            _ => false,
        };
        assert!(!old, "{}", frame.data);
    }
}

#[tokio::test]
async fn what_was_set_while_the_gateway_was_down_is_told_when_it_is_back() {
    let simulator = Simulator::start().await;
    let mut gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    simulator.sets_chat(OWNER, FRIEND, &json!({"pinned": true})).await;
    events.next("chat.updated").await;
    gateway.stop().await;
    simulator.sets_chat(OWNER, FRIEND, &json!({"pinned": false})).await;
    gateway.start_again().await;
    let mut events = gateway.events().await;
    instance.becomes("connected").await;
    assert_eq!(events.next("chat.updated").await["pinned"], false);
}

#[tokio::test]
async fn a_damaged_patch_is_not_told_and_hurts_nothing() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    simulator.sets_chat(OWNER, FRIEND, &json!({"pinned": true})).await;
    events.next("chat.updated").await;
    simulator.fault(&json!({"kind": "app-state", "times": 1})).await;
    simulator.sets_chat(OWNER, FRIEND, &json!({"archived": true})).await;
    eventually("the damage", async || {
        let stats = simulator.stats().await;
        (stats["faults"]["app-state"] == 1).then_some(())
    })
    .await;
    simulator.send(FRIEND, OWNER, "still here").await;
    assert_eq!(events.next("message.received").await["body"]["text"], "still here");
    assert_eq!(instance.get().await["status"], "connected");
    // The next change makes the gateway read on from where it stands, and the patch is whole this time.
    simulator.sets_chat(OWNER, FRIEND, &json!({"unread": true})).await;
    let (first, second) = (events.next("chat.updated").await, events.next("chat.updated").await);
    assert_eq!((&first["archived"], &second["unread"]), (&json!(true), &json!(true)));
}

#[tokio::test]
async fn a_link_while_the_phone_is_offline_learns_everything_when_it_is_back() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("one").await;
    let code = instance.qr().await;
    simulator.scan(OWNER, &code).await;
    simulator.goes_offline(OWNER).await;
    instance.becomes("connected").await;
    let mut events = gateway.events().await;
    simulator.comes_online(OWNER).await;
    simulator.sets_chat(OWNER, FRIEND, &json!({"archived": true})).await;
    assert_eq!(events.next("chat.updated").await["archived"], true);
}
