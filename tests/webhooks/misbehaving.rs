//! Receivers that fail in every way: nobody else is delayed, nothing is lost, memory stays flat.

use serde_json::{Value, json};

use crate::harness::sink::{self, Answer, Endpoint, Sink};
use crate::harness::{FRIEND, OWNER, Simulator, eventually};

async fn only_delivery(endpoint: &Endpoint, status: &str) -> Value {
    eventually("the delivery's state", async || {
        let rows = endpoint.deliveries("").await;
        assert!(rows.len() <= 1, "{rows:?}");
        rows.into_iter().find(|row| row["status"] == status)
    })
    .await
}

#[tokio::test]
async fn one_that_answers_500_for_an_hour_gets_everything_afterwards_and_delays_nobody() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let (bad, good) = (Sink::start().await, Sink::start().await);
    bad.always(Answer::Status(500));
    let wanted = json!({"events": ["message.received"]});
    let endpoint = bad.endpoint(&gateway.client, wanted.clone()).await;
    good.endpoint(&gateway.client, wanted).await;
    gateway.link(&simulator, OWNER).await;
    simulator.burst(FRIEND, OWNER, 30, "m").await;
    good.count("all at the good one", 30, |_| true).await;
    let health = endpoint
        .health("all to have failed once", |health| health["retrying"] == 30)
        .await;
    assert_eq!(health["status"], "failing");
    assert_eq!(health["last_error"], "answered 500");
    for seconds in [12, 70, 340, 2_000] {
        let before = bad.got().len();
        gateway.advance(seconds).await;
        bad.count("another round", before + 30, |_| true).await;
        endpoint
            .health("the round to be noted", |health| health["retrying"] == 30)
            .await;
    }
    bad.always(Answer::Status(204));
    gateway.advance(8_000).await;
    let health = endpoint
        .health("an end to it", |health| {
            health["retrying"] == 0 && health["pending"] == 0
        })
        .await;
    assert_eq!(
        (&health["status"], &health["consecutive_failures"]),
        (&json!("ok"), &json!(0))
    );
    let rows = endpoint.deliveries("&status=success").await;
    assert_eq!(rows.len(), 30);
    assert!(rows.iter().all(|row| row["attempt_count"] == 6));
    assert_eq!(good.got().len(), 30);
}

#[tokio::test]
async fn an_answer_with_a_body_that_it_may_not_have_neither_blocks_the_lane_nor_spoils_the_next_attempt() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    sink.always(Answer::Surplus);
    let endpoint = sink
        .endpoint(&gateway.client, json!({"events": ["message.received"]}))
        .await;
    gateway.link(&simulator, OWNER).await;
    simulator.burst(FRIEND, OWNER, 50, "m").await;
    sink.count("every first attempt", 50, |_| true).await;
    let health = endpoint
        .health("every first attempt to be noted", |health| health["pending"] == 0)
        .await;
    let rows = endpoint.deliveries("").await;
    let unlike: Vec<&Value> = rows
        .iter()
        .filter(|row| row["status"] != "success" || row["attempt_count"] != 1)
        .collect();
    assert!(unlike.is_empty(), "{health}: {unlike:#?}");
    assert_eq!((rows.len(), sink.got().len()), (50, 50));
}

#[tokio::test]
async fn after_six_attempts_a_delivery_has_failed_and_can_be_replayed() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    sink.always(Answer::Status(500));
    let endpoint = sink
        .endpoint(&gateway.client, json!({"events": ["message.received"]}))
        .await;
    gateway.link(&simulator, OWNER).await;
    simulator.send(FRIEND, OWNER, "hello").await;
    for attempt in 1..=6 {
        sink.count("the attempt", attempt, |_| true).await;
        eventually("the attempt to be noted", async || {
            (endpoint.deliveries("").await[0]["attempt_count"] == attempt).then_some(())
        })
        .await;
        gateway.advance(8_000).await;
    }
    let row = only_delivery(&endpoint, "failed").await;
    assert!(row["next_attempt_at"].is_null());
    assert_eq!(row["attempts"].as_array().unwrap().len(), 6);
    assert_eq!(
        row["attempts"][0]["response_body"], "ok",
        "what the receiver said is kept"
    );
    let path = format!("/v1/webhook-deliveries/{}", row["id"].as_str().unwrap());
    let whole = gateway.client.get(&path).returns(200).await;
    assert_eq!(whole["payload"]["body"]["text"], "hello");

    sink.always(Answer::Status(200));
    let again = gateway.client.post_empty(&format!("{path}/replay")).returns(202).await;
    assert_eq!(again["replay_of"], row["id"]);
    let got = sink.count("the replay", 7, |_| true).await.remove(6);
    assert_eq!(got.event_id(), row["event_id"], "the same event");
    endpoint.health("success", |health| health["status"] == "ok").await;
}

#[tokio::test]
async fn an_instance_may_choose_its_own_waits() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    sink.always(Answer::Status(500));
    let endpoint = sink
        .endpoint(&gateway.client, json!({"events": ["message.received"]}))
        .await;
    let instance = gateway.link(&simulator, OWNER).await;
    let settings = instance.path("/settings");
    let defaults = gateway.client.get(&settings).returns(200).await;
    assert_eq!(defaults["callback_backoff"], json!([10, 60, 300, 1800, 7200]));
    for bad in [
        json!([0]),
        json!([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        json!("10"),
        json!([1.5]),
    ] {
        let request = json!({"callback_backoff": bad});
        gateway
            .client
            .patch(&settings, &request)
            .refused(400, "validation_failed")
            .await;
    }
    let request = json!({"callback_backoff": [1000]});
    let changed = gateway.client.patch(&settings, &request).returns(200).await;
    assert_eq!(changed["callback_backoff"], json!([1000]));
    simulator.send(FRIEND, OWNER, "hello").await;
    endpoint.health("a failure", |health| health["retrying"] == 1).await;
    gateway.advance(1_101).await;
    let row = only_delivery(&endpoint, "failed").await;
    assert_eq!(row["attempt_count"], 2);
    let request = json!({"callback_backoff": null});
    assert_eq!(gateway.client.patch(&settings, &request).returns(200).await, defaults);
}

#[tokio::test]
async fn stalls_resets_redirects_floods_lies_and_noise_delay_nobody_and_lose_nothing() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let good = Sink::start().await;
    let trap = Sink::start().await;
    let wanted = json!({"events": ["message.received"]});
    good.endpoint(&gateway.client, wanted.clone()).await;
    let mut bad = Vec::new();
    for (answer, error) in [
        (Answer::Stall, "no answer within 15 s"),
        (Answer::Reset, "connection"),
        (Answer::Redirect(trap.url()), "answered 302"),
        (Answer::Short, "answered 500"),
        (Answer::Noise, "connection"),
    ] {
        let sink = Sink::start().await;
        sink.always(answer);
        let endpoint = sink.endpoint(&gateway.client, wanted.clone()).await;
        bad.push((sink, endpoint, error));
    }
    let flood = Sink::start().await;
    flood.always(Answer::Flood);
    let flooding = flood.endpoint(&gateway.client, wanted).await;
    gateway.link(&simulator, OWNER).await;
    let before = gateway.resident_bytes().await;
    simulator.burst(FRIEND, OWNER, 10, "m").await;
    good.count("all at the good one", 10, |_| true).await;
    // A 2xx is a 2xx, whatever follows; the flood itself is never swallowed.
    flooding
        .health("the flood to be taken for success", |health| {
            health["status"] == "ok" && health["pending"] == 0
        })
        .await;
    let grown = gateway.resident_bytes().await.saturating_sub(before);
    assert!(grown < 48 << 20, "grew by {grown} bytes under a flood of gigabytes");

    for (sink, endpoint, error) in &bad {
        eventually("every first attempt to end", async || {
            // Moves past the patience of stalled attempts, of which one runs at a time in a chat.
            gateway.advance(5).await;
            (endpoint.get().await["health"]["pending"] == 0).then_some(())
        })
        .await;
        let health = endpoint.get().await["health"].clone();
        let last = health["last_error"].as_str().unwrap();
        assert!(last.contains(error), "{last} instead of {error}");
        sink.always(Answer::Status(200));
    }
    assert_eq!(trap.got().len(), 0, "a redirect is never followed");
    for (sink, endpoint, _) in &bad {
        eventually("everything to be delivered", async || {
            gateway.advance(600).await;
            let health = endpoint.get().await["health"].clone();
            (health["pending"] == 0 && health["retrying"] == 0).then_some(())
        })
        .await;
        let success = endpoint.deliveries("&status=success").await;
        assert_eq!(success.len(), 10);
        assert!(sink.got().len() > 10);
    }
    assert_eq!(good.got().len(), 10, "nothing twice where nothing failed");
}

#[tokio::test]
async fn one_that_is_gone_is_disabled_and_gets_what_waited_once_it_is_enabled() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    sink.always(Answer::Status(410));
    let endpoint = sink
        .endpoint(&gateway.client, json!({"events": ["message.received"]}))
        .await;
    gateway.link(&simulator, OWNER).await;
    simulator.send(FRIEND, OWNER, "one").await;
    let row = only_delivery(&endpoint, "failed").await;
    assert_eq!(row["attempt_count"], 1);
    let gone = endpoint.get().await;
    assert_eq!(
        (&gone["enabled"], &gone["disabled_reason"]),
        (&json!(false), &json!("gone"))
    );
    assert_eq!(gone["health"]["status"], "disabled");
    let since = gone["created_at"].clone();
    let mut events = gateway.events().await;
    for text in ["two", "three"] {
        simulator.send(FRIEND, OWNER, text).await;
        events
            .next_where(text, |frame| frame.data["body"]["text"] == text)
            .await;
    }
    assert_eq!(sink.got().len(), 1, "a disabled endpoint gets nothing");

    sink.always(Answer::Status(200));
    endpoint.change(&json!({"enabled": true})).await;
    let replayed = gateway
        .client
        .post(&endpoint.path("/replay"), &json!({"since": since}))
        .returns(200)
        .await;
    assert_eq!(replayed["count"], 3, "the journal has what happened meanwhile");
    let texts: Vec<Value> = sink.count("what it missed", 4, |_| true).await[1..]
        .iter()
        .map(|got| got.body["body"]["text"].clone())
        .collect();
    assert_eq!(texts, ["one", "two", "three"]);
    endpoint.health("success", |health| health["pending"] == 0).await;
}
