//! Deliveries as receivers see them: complete, signed, in order.

use serde_json::{Value, json};

use crate::harness::sink::{self, Answer, Sink};
use crate::harness::{FRIEND, OWNER, Simulator, eventually};

/// Somebody else who writes.
const OTHER: &str = "5511966660003";

#[tokio::test]
async fn every_endpoint_gets_what_it_wants_with_the_bytes_of_the_stream() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let (all, some) = (Sink::start().await, Sink::start().await);
    let endpoint = all.endpoint(&gateway.client, json!({})).await;
    some.endpoint(&gateway.client, json!({"events": ["message.received"]}))
        .await;
    let mut events = gateway.events().await;
    let instance = gateway.link(&simulator, OWNER).await;
    simulator.send(FRIEND, OWNER, "Olá! 👋\nsecond line").await;
    let received = events.next("message.received").await;
    let id = instance.send(FRIEND, "out").await;
    events.next("message.delivered").await;
    instance.settles().await;

    let got = some.event("message.received").await;
    assert_eq!(got.body, received);
    assert_eq!(some.got().len(), 1, "nothing but what was asked for");
    let told: Vec<Value> = events.frames().into_iter().map(|frame| frame.data).collect();
    let delivered = all.count("all events", told.len(), |_| true).await;
    for event in &told {
        assert_eq!(
            delivered.iter().filter(|got| got.body == *event).count(),
            1,
            "once each: {event}"
        );
    }
    // The same bytes, not only the same meaning.
    let raw = gateway
        .client
        .get("/v1/webhook-deliveries?event=message.received&limit=1")
        .returns(200)
        .await;
    assert_eq!(raw["data"][0]["event_id"], received["event_id"]);
    assert!(
        got.bytes
            .starts_with(br#"{"event":"message.received","instance_id":"inst_"#)
    );
    assert!(!got.bytes.contains(&b'\n'), "one line, as on the stream");

    for got in &delivered {
        assert_eq!(got.signatures(&endpoint.secret), (1, 1));
        assert_eq!(got.headers["content-type"], "application/json");
        assert!(got.headers["user-agent"].starts_with("whatisup-webhooks/"));
        assert_eq!(got.headers["x-whatisup-event"], got.body["event"]);
        assert_eq!(got.headers["x-whatisup-event-id"], got.body["event_id"]);
        assert!(got.headers["x-whatisup-correlation-id"].starts_with("req_"));
    }
    let names: Vec<&str> = delivered
        .iter()
        .filter(|got| got.body["message_id"] == id)
        .map(|got| got.body["event"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["message.sent", "message.delivered"], "in the order of the chat");
    endpoint
        .health("everything delivered", |health| health["pending"] == 0)
        .await;
}

#[tokio::test]
async fn a_webhook_names_the_request_that_caused_it() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    sink.endpoint(&gateway.client, json!({"events": ["message.sent"]}))
        .await;
    let instance = gateway.link(&simulator, OWNER).await;
    let body = json!({"to": FRIEND, "body": {"type": "text", "text": "hello"}});
    let reply = gateway.client.post(&instance.path("/messages"), &body).reply(202).await;
    let got = sink.event("message.sent").await;
    assert_eq!(got.headers["x-whatisup-correlation-id"], reply.header("x-request-id"));
    instance.settles().await;
}

#[tokio::test]
async fn the_first_attempts_of_a_chat_keep_their_order_and_hold_up_no_other_chat() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    let endpoint = sink
        .endpoint(&gateway.client, json!({"events": ["message.received"]}))
        .await;
    gateway.link(&simulator, OWNER).await;
    sink.answers(|got| {
        if got.body["body"]["text"] == "0" {
            Answer::Held
        } else {
            Answer::Status(200)
        }
    });
    simulator.burst(FRIEND, OWNER, 5, "").await;
    sink.count("the first of the chat", 1, |got| got.body["from"] == FRIEND)
        .await;
    simulator.burst(OTHER, OWNER, 5, "other ").await;
    sink.count("all of the other chat", 5, |got| got.body["from"] == OTHER)
        .await;
    let of_friend = |sink: &Sink| -> Vec<Value> {
        let got = sink.got().into_iter().filter(|got| got.body["from"] == FRIEND);
        got.map(|got| got.body["body"]["text"].clone()).collect()
    };
    assert_eq!(of_friend(&sink), ["0"], "the chat waits for its first");
    sink.release();
    sink.count("the rest of the chat", 5, |got| got.body["from"] == FRIEND)
        .await;
    assert_eq!(of_friend(&sink), ["0", "1", "2", "3", "4"]);
    endpoint.health("nothing owed", |health| health["pending"] == 0).await;
}

#[tokio::test]
async fn a_host_never_gets_more_than_four_at_once() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    let mut endpoints = Vec::new();
    for _ in 0..3 {
        let wanted = json!({"events": ["message.received"]});
        endpoints.push(sink.endpoint(&gateway.client, wanted).await);
    }
    gateway.link(&simulator, OWNER).await;
    sink.always(Answer::Held);
    for writer in 0..6 {
        simulator.send(&format!("55119555500{writer:02}"), OWNER, "hello").await;
    }
    eventually("four under way", async || (sink.under_way() == 4).then_some(())).await;
    eventually("the rest to be owed", async || {
        let mut owed = 0;
        for endpoint in &endpoints {
            owed += endpoint.get().await["health"]["pending"].as_u64().unwrap();
        }
        (owed == 18).then_some(())
    })
    .await;
    sink.release();
    sink.count("all of them", 18, |_| true).await;
    for endpoint in &endpoints {
        endpoint.health("nothing owed", |health| health["pending"] == 0).await;
    }
    assert_eq!(sink.most_at_once(), 4, "per host, whatever the endpoints");
}

#[tokio::test]
async fn a_canary_proves_the_way_open_again_and_again() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    let wanted = json!({"events": ["message.sent"], "canary_interval_seconds": 3600});
    let endpoint = sink.endpoint(&gateway.client, wanted).await;
    let first = sink.event("webhook.canary").await;
    assert_eq!(first.body["endpoint_id"], *endpoint.id);
    assert_eq!(first.signatures(&endpoint.secret), (1, 1));
    let health = endpoint
        .health("the first proof", |health| health["canary_proven_at"].is_string())
        .await;
    assert_eq!(
        (&health["status"], &health["last_proven_at"]),
        (&json!("ok"), &health["canary_proven_at"])
    );

    sink.always(Answer::Status(503));
    gateway.advance(3601).await;
    endpoint
        .health("the failure", |health| health["status"] == "failing")
        .await;
    let failed = endpoint.deliveries("&event=webhook.canary&status=failed").await;
    assert_eq!(
        failed.len(),
        1,
        "a late canary would prove nothing, so it is not tried again"
    );
    sink.always(Answer::Status(200));
    gateway.advance(3600).await;
    let proven = endpoint
        .health("the next proof", |again| {
            again["canary_proven_at"] != health["canary_proven_at"]
        })
        .await;
    assert_eq!(proven["status"], "ok");
    endpoint.change(&json!({"canary_interval_seconds": null})).await;
    assert!(endpoint.get().await["canary_interval_seconds"].is_null());
}

#[tokio::test]
async fn what_is_owed_when_the_process_ends_is_delivered_by_the_next() {
    let simulator = Simulator::start().await;
    let mut gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    sink.always(Answer::Stall);
    let endpoint = sink
        .endpoint(&gateway.client, json!({"events": ["message.received"]}))
        .await;
    gateway.link(&simulator, OWNER).await;
    simulator.burst(FRIEND, OWNER, 20, "m").await;
    endpoint
        .health("all to be owed", |health| health["pending"] == 20)
        .await;
    gateway.stop().await;
    sink.always(Answer::Status(200));
    let before = sink.got().len();
    gateway.start_again().await;
    sink.count("what was owed", before + 20, |_| true).await;
    let texts: Vec<Value> = sink.got()[before..]
        .iter()
        .map(|got| got.body["body"]["text"].clone())
        .collect();
    let expected: Vec<Value> = (0..20).map(|index| json!(format!("m{index}"))).collect();
    assert_eq!(texts, expected, "once each and in order");
    endpoint.health("nothing owed", |health| health["pending"] == 0).await;
}
