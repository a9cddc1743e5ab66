//! The past again: a range, with a preview, and for an endpoint that is new.

use serde_json::{Value, json};

use crate::harness::sink::{self, Answer, Sink};
use crate::harness::{FRIEND, OWNER, Simulator};

fn texts(sink: &Sink) -> Vec<Value> {
    sink.got().iter().map(|got| got.body["body"]["text"].clone()).collect()
}

#[tokio::test]
async fn a_new_endpoint_may_begin_in_the_past() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let since = gateway.advance(0).await;
    gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    simulator.burst(FRIEND, OWNER, 300, "m").await;
    events
        .count("all of them", 300, |frame| frame.name() == "message.received")
        .await;
    let sink = Sink::start().await;
    let request = json!({"url": sink.url(), "events": ["message.received"], "replay_since": since});
    let made = gateway
        .client
        .post("/v1/webhook-endpoints", &request)
        .returns(201)
        .await;
    assert_eq!(made["replayed"], 300);
    sink.count("the past", 300, |_| true).await;
    let expected: Vec<Value> = (0..300).map(|index| json!(format!("m{index}"))).collect();
    assert_eq!(texts(&sink), expected, "in its order");
    simulator.send(FRIEND, OWNER, "now").await;
    sink.count("the present", 301, |_| true).await;
}

#[tokio::test]
async fn a_range_is_counted_before_it_is_sent_and_filtered_by_time_event_and_state() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    sink.answers(|got| Answer::Status(if got.body["body"]["text"] == "bad" { 410 } else { 200 }));
    let endpoint = sink
        .endpoint(
            &gateway.client,
            json!({"events": ["message.received", "instance.connected"]}),
        )
        .await;
    let begun = gateway.advance(0).await;
    gateway.link(&simulator, OWNER).await;
    simulator.send(FRIEND, OWNER, "early").await;
    sink.count("the early one", 2, |_| true).await;
    let middle = gateway.advance(3600).await;
    simulator.send(FRIEND, OWNER, "late").await;
    sink.count("the late one", 3, |_| true).await;
    simulator.send(FRIEND, OWNER, "bad").await;
    sink.count("the bad one", 4, |_| true).await;
    endpoint
        .health("the end of it", |health| health["status"] == "disabled")
        .await;
    endpoint.change(&json!({"enabled": true})).await;

    let replay = async |request: Value| {
        gateway
            .client
            .post(&endpoint.path("/replay"), &request)
            .returns(200)
            .await
    };
    for (request, count) in [
        (json!({"since": begun}), 4),
        (json!({"since": middle}), 2),
        (json!({"since": begun, "until": middle}), 2),
        (json!({"since": begun, "events": ["instance.connected"]}), 1),
        (json!({"since": begun, "status": "success"}), 3),
        (json!({"since": begun, "status": "failed"}), 1),
        (
            json!({"since": middle, "status": "success", "events": ["message.received"]}),
            1,
        ),
        (json!({"since": "2100-01-01T00:00:00Z"}), 0),
    ] {
        let mut preview = request.clone();
        preview["dry_run"] = json!(true);
        let counted = replay(preview).await;
        assert_eq!(
            (&counted["count"], &counted["dry_run"]),
            (&json!(count), &json!(true)),
            "{request}"
        );
    }
    assert_eq!(sink.got().len(), 4, "counting sends nothing");
    sink.always(Answer::Status(200));
    let sent = replay(json!({"since": begun, "status": "failed"})).await;
    assert_eq!(sent["count"], 1);
    let again = sink.count("the failed one", 5, |_| true).await.remove(4);
    assert_eq!(again.body["body"]["text"], "bad");
    assert_eq!(
        again.event_id(),
        sink.got()[3].event_id(),
        "the same event, to be told apart by its id"
    );
    endpoint.health("success", |health| health["pending"] == 0).await;
    for bad in [
        json!({}),
        json!({"since": "Tuesday"}),
        json!({"since": middle, "until": begun}),
    ] {
        let path = endpoint.path("/replay");
        gateway.client.post(&path, &bad).refused(400, "validation_failed").await;
    }
}
