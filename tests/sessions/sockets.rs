//! Sockets that end, or go dead, at every stage of a session's life.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{FRIEND, Gateway, Instance, OWNER, Simulator, eventually};

/// A dead socket is found out by the pings that are sent on it: up to 30 seconds between two, 20 for an answer, and one
/// round more when there was traffic just before. The clock that tests move does not drive them.
const DEAD_PATIENCE: Duration = Duration::from_mins(3);

/// Moves the clock until the instance is connected.
async fn comes_back(gateway: &Gateway, instance: &Instance) {
    eventually("the instance to come back", async || {
        if instance.get().await["status"] == "connected" {
            return Some(());
        }
        gateway.advance(60).await;
        None
    })
    .await;
}

async fn strikes(simulator: &Simulator, kind: &str, times: u64) {
    eventually("the fault to strike", async || {
        let struck = simulator.stats().await["faults"][kind].as_u64().unwrap_or_default();
        (struck >= times).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_socket_cut_before_the_codes_only_delays_them() {
    for at in ["handshake", "register"] {
        let simulator = Simulator::start().await;
        let gateway = Gateway::start(&simulator).await;
        let instance = gateway.create("early").await;
        simulator
            .fault(&json!({"kind": "drop-socket", "at": at, "times": 2}))
            .await;
        instance.act("connect").await;
        eventually("a code", async || {
            if instance.get().await["status"] == "qr" {
                return Some(());
            }
            gateway.advance(20).await;
            None
        })
        .await;
        let code = instance.qr().await;
        simulator.scan(OWNER, &code).await;
        comes_back(&gateway, &instance).await;
        assert_eq!(simulator.stats().await["faults"]["drop-socket"], 2, "{at}");
    }
}

#[tokio::test]
async fn a_socket_cut_between_scan_and_grant_leaves_a_code_that_can_be_scanned() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("cut").await;
    let code = instance.qr().await;
    simulator.fault(&json!({"kind": "drop-socket", "at": "scan"})).await;
    simulator.scan_in_vain(OWNER, &code).await;
    let now = instance.get().await;
    assert!(now.get("phone_number").is_none_or(Value::is_null), "{now}");
    eventually("a new code that links", async || {
        gateway.advance(60).await;
        let fresh = gateway.client.get(&instance.path("/qr")).attempt().await.ok()?;
        let fresh = fresh.json["code"].as_str()?.to_owned();
        (fresh != code).then_some(fresh)
    })
    .await;
    let code = instance.qr().await;
    simulator.scan(OWNER, &code).await;
    comes_back(&gateway, &instance).await;
}

#[tokio::test]
async fn a_socket_cut_right_after_the_link_does_not_lose_the_link() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("linked").await;
    let code = instance.qr().await;
    simulator.fault(&json!({"kind": "drop-socket", "at": "linked"})).await;
    simulator.scan(OWNER, &code).await;
    comes_back(&gateway, &instance).await;
    assert_eq!(instance.get().await["phone_number"], OWNER);
    assert_eq!(simulator.stats().await["links"], 1);
}

#[tokio::test]
async fn logins_that_are_cut_are_tried_again() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    simulator
        .fault(&json!({"kind": "drop-socket", "at": "login", "times": 3}))
        .await;
    simulator.fault(&json!({"kind": "drop-socket"})).await;
    strikes(&simulator, "drop-socket", 1).await;
    eventually("all three logins", async || {
        gateway.advance(60).await;
        (simulator.stats().await["faults"]["drop-socket"] == 4).then_some(())
    })
    .await;
    comes_back(&gateway, &instance).await;
    instance.send(FRIEND, "after three cuts").await;
    simulator.gets(FRIEND, "after three cuts").await;
    instance.settles().await;
}

#[tokio::test]
async fn a_backlog_that_is_cut_loses_and_repeats_nothing() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    simulator
        .fault(&json!({"kind": "drop-socket", "at": "backlog", "times": 2}))
        .await;
    instance.act("disconnect").await;
    simulator.burst(FRIEND, OWNER, 200, "b").await;
    instance.act("connect").await;
    eventually("both cuts and the way back", async || {
        gateway.advance(60).await;
        (simulator.stats().await["faults"]["drop-socket"] == 2).then_some(())
    })
    .await;
    comes_back(&gateway, &instance).await;
    let got = events
        .count("all of the backlog", 200, |frame| frame.name() == "message.received")
        .await;
    let mut texts: Vec<&str> = got.iter().map(|data| data["body"]["text"].as_str().unwrap()).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!((got.len(), texts.len()), (200, 200));
}

#[tokio::test]
async fn a_socket_that_is_cut_while_sending_costs_no_message_and_makes_no_twins() {
    for delivers in [true, false] {
        let simulator = Simulator::start().await;
        let gateway = Gateway::start(&simulator).await;
        let instance = gateway.link(&simulator, OWNER).await;
        let mut events = gateway.events().await;
        simulator
            .fault(&json!({"kind": "drop-socket", "at": "message", "deliver": delivers}))
            .await;
        let id = instance.send(FRIEND, "half way").await;
        strikes(&simulator, "drop-socket", 1).await;
        comes_back(&gateway, &instance).await;
        assert_eq!(events.next("message.sent").await["message_id"], *id);
        assert_eq!(simulator.gets(FRIEND, "half way").await["id"], *id);
        instance.settles().await;
        assert_eq!(simulator.texts(FRIEND).await.len(), 1, "{delivers}");
    }
}

async fn outlives_a_dead_socket(at: &str) {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut sockets = simulator.sockets_opened().await;
    simulator.fault(&json!({"kind": "half-open", "at": at})).await;
    if at == "login" {
        simulator.fault(&json!({"kind": "drop-socket"})).await;
        sockets += 1;
    }
    // Without a connection nothing is accepted; on a dead one it is, since nobody knows.
    let accepted = at != "login";
    if accepted {
        instance.send(FRIEND, "into the dark").await;
    }
    simulator.send(FRIEND, OWNER, "and out of it").await;
    strikes(&simulator, "half-open", 1).await;
    let begun = Instant::now();
    while simulator.sockets_opened().await == sockets {
        assert!(begun.elapsed() < DEAD_PATIENCE, "the dead socket was never found out");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    comes_back(&gateway, &instance).await;
    if !accepted {
        instance.send(FRIEND, "into the dark").await;
    }
    simulator.gets(FRIEND, "into the dark").await;
    instance.settles().await;
    assert_eq!(simulator.texts(FRIEND).await, ["into the dark"]);
    eventually("the friend's message", async || {
        (instance.status().await["counters"]["messages_received"] == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_dies_in_the_middle_is_found_out_and_replaced_without_a_loss() {
    outlives_a_dead_socket("now").await;
}

#[tokio::test]
async fn a_socket_that_dies_before_the_login_is_answered_is_found_out() {
    outlives_a_dead_socket("login").await;
}

#[tokio::test]
async fn a_socket_that_dies_under_a_message_is_found_out_and_the_message_arrives_once() {
    outlives_a_dead_socket("message").await;
}
