//! Messages for an instance that is linked and not connected.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{FRIEND, Gateway, Instance, OWNER, Simulator, Stream, eventually};

/// Longer than the longest wait between two attempts to connect.
const NEXT_ATTEMPT: u64 = 120;

/// Longer than a message may wait.
const TOO_LONG: u64 = 24 * 3600 + 120;

async fn keep_messages(gateway: &Gateway, instance: &Instance) {
    let wish = json!({"send_while_disconnected": "queue"});
    let path = instance.path("/settings");
    let settings = gateway.client.patch(&path, &wish).returns(200).await;
    assert_eq!(settings["send_while_disconnected"], "queue");
}

/// The next `message.failed` of a message.
async fn fails(events: &mut Stream, id: &str) -> Value {
    events
        .next_where("the failure", |frame| {
            frame.name() == "message.failed" && frame.data["message_id"] == id
        })
        .await
}

async fn refused(gateway: &Gateway, instance: &Instance) {
    let message = json!({"to": FRIEND, "body": {"type": "text", "text": "refused"}});
    gateway
        .client
        .post(&instance.path("/messages"), &message)
        .refused(409, "not_connected")
        .await;
}

#[tokio::test]
async fn messages_wait_on_disk_and_go_out_in_order_and_once_whatever_is_killed() {
    let mut simulator = Simulator::start().await;
    let mut gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    keep_messages(&gateway, &instance).await;
    let mut events = gateway.events().await;
    simulator.kill();
    let lost = events.next("instance.disconnected").await;
    instance.becomes("disconnected").await;

    let mut ids = BTreeMap::new();
    for round in 0..3 {
        for number in 0..10 {
            let text = format!("{:03}", round * 10 + number);
            ids.insert(text.clone(), instance.send(FRIEND, &text).await);
        }
        let status = instance.status().await;
        assert_eq!(status["queue_depth"], ids.len(), "{status}");
        gateway.kill();
        gateway.start_again().await;
    }
    assert_eq!(instance.status().await["queue_depth"], ids.len());
    let one = gateway
        .client
        .get(&instance.path(&format!("/messages/{}", ids["000"])))
        .returns(200)
        .await;
    assert_eq!((&one["status"], &one["attempts"]), (&json!("queued"), &json!(0)));

    simulator.start_again().await;
    gateway.advance(NEXT_ATTEMPT).await;
    eventually("the first of them", async || {
        (!simulator.inbox(FRIEND).await.is_empty()).then_some(())
    })
    .await;
    // In the middle of sending, if it is not over yet.
    gateway.kill();
    gateway.start_again().await;
    instance.becomes("connected").await;
    instance.settles().await;

    let texts: Vec<&String> = ids.keys().collect();
    let shown = eventually("all of them", async || {
        let shown = simulator.texts(FRIEND).await;
        (shown.len() >= texts.len()).then_some(shown)
    })
    .await;
    assert_eq!(shown.iter().collect::<Vec<_>>(), texts, "in order, and each once");
    let mut events = Stream::resume(&gateway.client, "", lost["event_id"].as_str()).await;
    let sent = events
        .count("what was sent", ids.len(), |frame| frame.name() == "message.sent")
        .await;
    // Acknowledgements that come together are told in any order.
    let mut sent: Vec<&str> = sent.iter().map(|event| event["message_id"].as_str().unwrap()).collect();
    sent.sort_unstable();
    let mut expected: Vec<&str> = ids.values().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(sent, expected, "each told once");
}

#[tokio::test]
async fn without_the_setting_and_without_a_link_messages_are_refused() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let unlinked = gateway.create("never linked").await;
    keep_messages(&gateway, &unlinked).await;
    refused(&gateway, &unlinked).await;

    let instance = gateway.link(&simulator, OWNER).await;
    instance.act("disconnect").await;
    refused(&gateway, &instance).await;
    keep_messages(&gateway, &instance).await;
    let path = instance.path("/settings");
    let back = json!({"send_while_disconnected": null});
    let settings = gateway.client.patch(&path, &back).returns(200).await;
    assert_eq!(settings["send_while_disconnected"], "reject");
    refused(&gateway, &instance).await;
    for wrong in [json!("later"), json!(1), json!("")] {
        let wish = json!({"send_while_disconnected": wrong});
        gateway
            .client
            .patch(&path, &wish)
            .refused(400, "validation_failed")
            .await;
    }

    // What has failed needs a person, who would have to know of the messages too.
    keep_messages(&gateway, &instance).await;
    instance.act("connect").await;
    instance.becomes("connected").await;
    simulator
        .fault(&json!({"kind": "stream-error", "conflict": "replaced"}))
        .await;
    instance.becomes("failed").await;
    refused(&gateway, &instance).await;
}

#[tokio::test]
async fn what_waits_fails_when_the_link_is_removed_and_never_goes_out_from_another_phone() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    keep_messages(&gateway, &instance).await;
    instance.act("disconnect").await;
    let first = instance.send(FRIEND, "from the old number").await;
    let second = instance.send(FRIEND, "from the old number too").await;
    instance.act("logout").await;
    for id in [first, second] {
        let failed = fails(&mut events, &id).await;
        assert_eq!(failed["error"]["code"], "unlinked", "{failed}");
    }
    assert_eq!(instance.status().await["queue_depth"], 0);

    let code = instance.qr().await;
    simulator.scan("5511988880009", &code).await;
    instance.becomes("connected").await;
    instance.send(FRIEND, "from the new number").await;
    simulator.gets(FRIEND, "from the new number").await;
    assert_eq!(simulator.texts(FRIEND).await, ["from the new number"]);
    instance.settles().await;
}

#[tokio::test]
async fn what_waits_fails_when_the_phone_removes_the_device_or_the_instance_is_deleted() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    keep_messages(&gateway, &instance).await;
    instance.act("disconnect").await;
    let id = instance.send(FRIEND, "for nobody").await;
    simulator.unlink_all(OWNER).await;
    instance.act("connect").await;
    instance.becomes("failed").await;
    let failed = fails(&mut events, &id).await;
    assert_eq!(failed["error"]["code"], "unlinked", "{failed}");

    let other = gateway.link(&simulator, "5511988880008").await;
    keep_messages(&gateway, &other).await;
    other.act("disconnect").await;
    let id = other.send(FRIEND, "for nobody either").await;
    gateway.client.delete(&other.path("")).reply(204).await;
    assert_eq!(fails(&mut events, &id).await["error"]["code"], "unlinked");
}

#[tokio::test]
async fn what_has_waited_for_a_day_fails_and_is_not_sent_any_more() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    keep_messages(&gateway, &instance).await;
    instance.act("disconnect").await;
    let old = instance.send(FRIEND, "yesterday's").await;
    gateway.advance(TOO_LONG / 2).await;
    let young = instance.send(FRIEND, "today's").await;
    gateway.advance(TOO_LONG / 2).await;
    let failed = fails(&mut events, &old).await;
    assert_eq!(failed["error"]["code"], "expired", "{failed}");
    assert_eq!(instance.status().await["queue_depth"], 1);
    let path = instance.path(&format!("/messages/{old}"));
    assert_eq!(gateway.client.get(&path).returns(200).await["status"], "failed");

    instance.act("connect").await;
    events
        .next_where("the younger one", |frame| {
            frame.name() == "message.sent" && frame.data["message_id"] == *young
        })
        .await;
    assert_eq!(simulator.texts(FRIEND).await, ["today's"]);
    instance.settles().await;
    let status = instance.status().await;
    assert_eq!(status["counters"]["messages_sent"], 1, "{status}");
    assert_eq!(status["link"]["running"], true);
    assert!(status["link"]["connected_since"].is_string(), "{status}");
    assert!(status["memory_bytes"].as_u64() > Some(0), "{status}");
}
