//! Groups and statuses, with phones that hold real sender keys.

use serde_json::{Value, json};

use crate::harness::{FRIEND, Gateway, OWNER, Simulator, Stream, eventually};

const THIRD: &str = "5511966660003";
const MANY: usize = 60;

/// A group with everybody in it; answers its JID.
async fn group(simulator: &Simulator, addressing: &str) -> String {
    for phone in [OWNER, THIRD] {
        simulator.inbox(phone).await;
    }
    let deed = json!({
        "phone": FRIEND, "action": "create", "subject": "Lunch", "addressing": addressing, "participants": [OWNER, THIRD],
    });
    simulator.group(&deed).await["jid"].as_str().unwrap().to_owned()
}

/// The texts among the events of a stream, in order.
fn texts(events: &Stream) -> Vec<String> {
    let frames = events.frames();
    let received = frames.iter().filter(|frame| frame.name() == "message.received");
    received
        .filter_map(|frame| frame.data["body"]["text"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn a_group_message_names_chat_and_sender_however_the_group_addresses_its_members() {
    for addressing in ["lid", "pn"] {
        let simulator = Simulator::start().await;
        let gateway = Gateway::start(&simulator).await;
        let instance = gateway.link(&simulator, OWNER).await;
        let group = group(&simulator, addressing).await;
        let mut events = gateway.events().await;
        for (from, text) in [(FRIEND, "one"), (THIRD, "two"), (FRIEND, "three")] {
            let id = simulator.send(from, &group, text).await;
            let event = events.next("message.received").await;
            assert_eq!(event["instance_id"], *instance.id);
            assert_eq!(
                (&event["message_id"], &event["from"]),
                (&json!(id), &json!(from)),
                "{addressing}"
            );
            assert_eq!(event["chat"], json!({"jid": group, "type": "group"}), "{addressing}");
            assert_eq!(event["is_group"], true);
            assert_eq!(event["sender"]["phone"], from, "{addressing}");
            assert_eq!(event["sender"]["jid"], format!("{from}@s.whatsapp.net"));
            assert!(
                event["sender"]["lid"].as_str().unwrap().ends_with("@lid"),
                "{addressing}: {event}"
            );
            assert_eq!(event["body"], json!({"type": "text", "text": text}));
        }
    }
}

#[tokio::test]
async fn a_text_to_a_group_is_read_by_every_member() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let group = group(&simulator, "lid").await;
    let mut events = gateway.events().await;
    // The first message carries the sender key, the second goes without.
    for text in ["hello all", "hello again"] {
        let id = instance.send(&group, text).await;
        let sent = events.next("message.sent").await;
        assert_eq!((&sent["message_id"], &sent["to"]), (&json!(id), &json!(group)));
        assert_eq!(sent["chat"], json!({"jid": group, "type": "group"}));
        let delivered = events.next("message.delivered").await;
        assert_eq!(
            (&delivered["message_id"], &delivered["to"]),
            (&json!(id), &json!(group))
        );
        for phone in [FRIEND, THIRD, OWNER] {
            let got = simulator.gets(phone, text).await;
            assert_eq!(
                (&got["id"], &got["from"], &got["group"]),
                (&json!(id), &json!(OWNER), &json!(group))
            );
        }
        simulator.read(FRIEND, &id).await;
        let read = events.next("message.read").await;
        assert_eq!(read["message_id"], json!(id));
        assert_eq!(
            read["participant"],
            format!("{FRIEND}@s.whatsapp.net"),
            "who has read: {read}"
        );
    }
    assert_eq!(simulator.stats().await["undecryptable"], 0);

    // Whoever comes later gets the key, whoever is gone gets nothing.
    let newcomer = "5511955550004";
    simulator.inbox(newcomer).await;
    let deed =
        |action: &str, phone: &str| json!({"phone": FRIEND, "action": action, "group": group, "participants": [phone]});
    simulator.group(&deed("add", newcomer)).await;
    simulator.group(&deed("remove", THIRD)).await;
    // A text sent before the change is known goes without the key, and the newcomer asks for it again.
    simulator.devices_know_all(OWNER).await;
    let told = async |text: &str| {
        instance.send(&group, text).await;
        simulator.gets(newcomer, text).await;
        simulator.gets(FRIEND, text).await;
    };
    told("welcome").await;
    told("once more").await;
    assert_eq!(simulator.texts(THIRD).await, ["hello all", "hello again"]);
    assert_eq!(simulator.stats().await["undecryptable"], 0);
    instance.settles().await;
}

#[tokio::test]
async fn what_the_owner_writes_in_a_group_is_told_as_sent_by_the_device() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    gateway.link(&simulator, OWNER).await;
    let group = group(&simulator, "lid").await;
    let mut events = gateway.events().await;
    let id = simulator.send(OWNER, &group, "from my own thumb").await;
    let event = events.next("message.sent").await;
    assert_eq!((&event["message_id"], &event["origin"]), (&json!(id), &json!("device")));
    assert_eq!(
        (&event["to"], &event["body"]["text"]),
        (&json!(group), &json!("from my own thumb"))
    );
    assert_eq!(event["chat"], json!({"jid": group, "type": "group"}));
}

#[tokio::test]
async fn an_unreadable_group_message_is_asked_for_again_in_both_directions() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let group = group(&simulator, "lid").await;
    let mut events = gateway.events().await;
    simulator.send(FRIEND, &group, "before").await;
    events.next("message.received").await;

    simulator
        .fault(&json!({"kind": "corrupt-ciphertext", "phone": OWNER, "device": 1}))
        .await;
    let id = simulator.send(FRIEND, &group, "damaged on the way").await;
    let event = events
        .next_where("the repeated text", |frame| {
            frame.data["body"]["text"] == "damaged on the way"
        })
        .await;
    assert_eq!(event["message_id"], json!(id));
    assert_eq!(simulator.stats().await["retriesAnswered"], 1);
    simulator.send(FRIEND, &group, "after").await;
    events
        .next_where("the text after it", |frame| frame.data["body"]["text"] == "after")
        .await;
    assert_eq!(texts(&events), ["before", "damaged on the way", "after"]);

    simulator
        .fault(&json!({"kind": "corrupt-ciphertext", "phone": FRIEND, "device": 0}))
        .await;
    let id = instance.send(&group, "damaged the other way").await;
    assert_eq!(simulator.gets(FRIEND, "damaged the other way").await["id"], json!(id));
    simulator.gets(THIRD, "damaged the other way").await;
    let id = instance.send(&group, "whole again").await;
    assert_eq!(simulator.gets(FRIEND, "whole again").await["id"], json!(id));
    instance.settles().await;
}

#[tokio::test]
async fn a_group_goes_on_while_the_gateway_is_away_and_after_it_is_killed() {
    let simulator = Simulator::start().await;
    let mut gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let group = group(&simulator, "lid").await;
    let mut events = gateway.events().await;
    let first = instance.send(&group, "mine").await;
    simulator.send(FRIEND, &group, "before").await;
    let seen = events.next("message.received").await["event_id"].clone();
    simulator.gets(FRIEND, "mine").await;
    instance.settles().await;

    gateway.kill();
    simulator.burst(FRIEND, &group, MANY, "away ").await;
    simulator.send(THIRD, &group, "from the third").await;
    gateway.start_again().await;
    instance.becomes("connected").await;
    let query = "?events=message.received";
    let mut resumed = Stream::resume(&gateway.client, query, seen.as_str()).await;
    // Killed again in the midst of the backlog.
    resumed
        .next_where("a first part", |frame| frame.data["body"]["text"] == "away 10")
        .await;
    gateway.kill();
    gateway.start_again().await;
    instance.becomes("connected").await;
    let mut resumed = Stream::resume(&gateway.client, query, seen.as_str()).await;
    resumed
        .count("everything written meanwhile", MANY + 1, |frame| {
            frame.name() == "message.received"
        })
        .await;
    // One more behind it: had anything come twice, it would stand before this.
    simulator.send(FRIEND, &group, "the last").await;
    resumed
        .next_where("the last text", |frame| frame.data["body"]["text"] == "the last")
        .await;
    let mut got = texts(&resumed);
    assert_eq!(got.pop().as_deref(), Some("the last"));
    let mut wanted: Vec<String> = (0..MANY).map(|index| format!("away {index}")).collect();
    wanted.push("from the third".to_owned());
    got.sort();
    wanted.sort();
    assert_eq!(got, wanted, "everything once");

    // Its own sender key still fits: who had it before reads on.
    let later = instance.send(&group, "still there").await;
    assert_ne!(first, later);
    for phone in [FRIEND, THIRD] {
        assert_eq!(simulator.gets(phone, "still there").await["id"], json!(later));
    }
    instance.settles().await;
}

#[tokio::test]
async fn a_group_that_the_account_may_not_write_to_is_told_as_such() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let group = group(&simulator, "lid").await;
    let mut events = gateway.events().await;
    instance.send(&group, "everybody may").await;
    events.next("message.sent").await;
    simulator
        .group(&json!({"phone": FRIEND, "action": "settings", "group": group, "announce": true}))
        .await;
    let id = instance.send(&group, "only admins may").await;
    let failed = events.next("message.failed").await;
    assert_eq!(
        (&failed["message_id"], &failed["error"]["code"]),
        (&json!(id), &json!("403"))
    );
    simulator
        .group(&json!({"phone": FRIEND, "action": "settings", "group": group, "announce": false}))
        .await;
    simulator
        .group(&json!({"phone": FRIEND, "action": "remove", "group": group, "participants": [OWNER]}))
        .await;
    let id = instance.send(&group, "not even in it").await;
    let failed = events.next("message.failed").await;
    assert_eq!(failed["message_id"], json!(id), "{failed}");
    instance.settles().await;
}

#[tokio::test]
async fn a_status_is_received_as_a_status() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    simulator.send(OWNER, FRIEND, "so that he knows me").await;
    events.next("message.sent").await;
    let id = simulator.send(FRIEND, "status@broadcast", "on holiday").await;
    let event = events.next("message.received").await;
    assert_eq!((&event["message_id"], &event["from"]), (&json!(id), &json!(FRIEND)));
    assert_eq!(event["chat"], json!({"jid": "status@broadcast", "type": "status"}));
    assert_eq!(
        (&event["is_group"], &event["sender"]["phone"]),
        (&json!(false), &json!(FRIEND))
    );
    assert_eq!(event["body"], json!({"type": "text", "text": "on holiday"}));
    // It arrived, as far as the one who posted it is concerned.
    let arrived: Value = eventually("the receipt of the status", async || {
        let receipts = simulator.stats().await["receiptsToPhones"].clone();
        let delivered = receipts["delivered"].as_u64().unwrap_or_default();
        let inactive = receipts["inactive"].as_u64().unwrap_or_default();
        (delivered + inactive >= 3).then_some(receipts)
    })
    .await;
    assert!(arrived.get("retry").is_none(), "{arrived}");
}
