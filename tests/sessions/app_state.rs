//! What the owner sets on the phone: told as events, once, and none of what was before.

use serde_json::json;

use crate::harness::stream::Frame;
use crate::harness::{FRIEND, Gateway, OWNER, Simulator, Stream, eventually};

/// Somebody whose chat is changed only to see whether changes are told.
const PROBE: &str = "5511944440009";

fn is_probe(frame: &Frame) -> bool {
    frame.data["chat"]["jid"] == format!("{PROBE}@s.whatsapp.net")
}

/// Waits until the gateway has read all collections for the first time.
///
/// What the first reading finds is how things are and no news, so a change that comes meanwhile may not be told.
async fn reading_is_over(simulator: &Simulator, events: &mut Stream) {
    eventually("the first reading", async || {
        let stats = simulator.stats().await;
        (stats["received"]["iq w:sync:app:state"].as_u64() >= Some(2)).then_some(())
    })
    .await;
    // Changes of a chat that no test looks at, in both collections that chats are kept in, until one is told.
    for round in 0_i64.. {
        let (archived, until) = (round % 2 == 0, 4_102_444_800_000 + round * 1000);
        let wish = json!({"archived": archived, "muted_until": until});
        simulator.sets_chat(OWNER, PROBE, &wish).await;
        let until = whatisup::domain::Timestamp::from_millis(until);
        let is_told = |field: &str, value: &serde_json::Value| {
            let frames = events.frames();
            let last = frames
                .iter()
                .rfind(|frame| is_probe(frame) && !frame.data[field].is_null());
            last.is_some_and(|frame| frame.data[field] == *value)
        };
        let (archived, until) = (json!(archived), json!(until));
        let mut looks = 0;
        let told = eventually("an answer to a probe", async || {
            looks += 1;
            let told = is_told("archived", &archived) && is_told("muted_until", &until);
            // Not told for long: the first reading has found it.
            (told || looks > 20).then_some(told)
        })
        .await;
        if told {
            break;
        }
    }
    // What comes from here on is behind all probes.
    let id = simulator.send(FRIEND, OWNER, "after the reading").await;
    events
        .next_where("the message behind it", |frame| frame.data["message_id"] == *id)
        .await;
}

#[tokio::test]
async fn what_the_owner_sets_for_a_chat_is_told_setting_by_setting() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    reading_is_over(&simulator, &mut events).await;
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
async fn the_last_of_many_changes_is_told() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    reading_is_over(&simulator, &mut events).await;
    for round in 0..10 {
        // As fast as they come, so that some arrive while the one before is read.
        for step in 0..5 {
            let until = 4_102_444_800_000_i64 + (round * 10 + step) * 1000;
            simulator.sets_chat(OWNER, FRIEND, &json!({"muted_until": until})).await;
        }
        let last = whatisup::domain::Timestamp::from_millis(4_102_444_800_000 + (round * 10 + 4) * 1000);
        events
            .next_where("the last of them", |frame| frame.data["muted_until"] == json!(last))
            .await;
    }
    assert_eq!(simulator.app_state(OWNER).await["errors"], json!([]));
}

#[tokio::test]
async fn a_contact_and_the_account_get_another_name() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    reading_is_over(&simulator, &mut events).await;
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
    reading_is_over(&simulator, &mut events).await;
    simulator.sets_chat(OWNER, FRIEND, &json!({"pinned": true})).await;
    assert_eq!(events.next("chat.updated").await["pinned"], true);
    for frame in events.frames() {
        let old = match frame.name() {
            "message.received" => frame.data["body"]["text"] != "after the reading",
            "chat.updated" => frame.data["pinned"] != true && !is_probe(&frame),
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
    reading_is_over(&simulator, &mut events).await;
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
    reading_is_over(&simulator, &mut events).await;
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
    reading_is_over(&simulator, &mut events).await;
    simulator.sets_chat(OWNER, FRIEND, &json!({"archived": true})).await;
    assert_eq!(events.next("chat.updated").await["archived"], true);
}

#[tokio::test]
async fn a_late_link_reads_a_snapshot_from_the_media_servers_and_goes_on_from_there() {
    let simulator = Simulator::start().await;
    for round in 0..25 {
        simulator
            .sets_chat(OWNER, FRIEND, &json!({"archived": round % 2 == 0}))
            .await;
    }
    let gateway = Gateway::start(&simulator).await;
    gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    reading_is_over(&simulator, &mut events).await;
    // It fits only to what the snapshot and the patches after it say. The reading takes longer here, so the first news
    // may be dropped (see above); the next one brings both.
    simulator.sets_chat(OWNER, FRIEND, &json!({"pinned": true})).await;
    eventually("the change", async || {
        simulator.sets_chat(OWNER, FRIEND, &json!({"unread": true})).await;
        let frames = events.frames();
        frames.into_iter().find(|frame| frame.data["pinned"] == true)
    })
    .await;
    assert!(
        events
            .frames()
            .iter()
            .all(|frame| frame.data.get("archived").is_none() || is_probe(frame)),
        "what was set before the link was told"
    );
    assert_eq!(
        gateway
            .log()
            .lines()
            .iter()
            .filter(|line| line.contains("diverged"))
            .count(),
        0
    );
}

#[tokio::test]
async fn a_snapshot_that_is_gone_hinders_neither_the_link_nor_messages() {
    let simulator = Simulator::start().await;
    for round in 0..25 {
        simulator
            .sets_chat(OWNER, FRIEND, &json!({"archived": round % 2 == 0}))
            .await;
    }
    simulator.fault(&json!({"kind": "media-404", "times": "always"})).await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    simulator.send(FRIEND, OWNER, "still here").await;
    assert_eq!(events.next("message.received").await["body"]["text"], "still here");
    assert_eq!(instance.get().await["status"], "connected");
}
