//! Every way in which WhatsApp's server ends or refuses a session, and what becomes of the instance.

use serde_json::{Value, json};

use crate::harness::{Gateway, Instance, OWNER, Simulator, eventually};

/// Long enough for every backoff to have run out several times.
const LONG: u64 = 6 * 3600;

/// What a fault must lead to when no retry can help: the code in the status and the reason in the event.
const FOR_GOOD: &[(&str, &str, &str)] = &[
    (
        r#"{"kind":"failure","reason":400}"#,
        "refused_by_whatsapp",
        "session_invalidated",
    ),
    (r#"{"kind":"failure","reason":401}"#, "logout", "logout"),
    (
        r#"{"kind":"failure","reason":402,"code":101,"expire":7200}"#,
        "banned",
        "banned",
    ),
    (r#"{"kind":"failure","reason":403}"#, "account_locked", "banned"),
    (r#"{"kind":"failure","reason":405}"#, "outdated", "outdated"),
    (
        r#"{"kind":"failure","reason":406}"#,
        "session_invalidated",
        "session_invalidated",
    ),
    (
        r#"{"kind":"failure","reason":409}"#,
        "refused_by_whatsapp",
        "session_invalidated",
    ),
    (r#"{"kind":"stream-error","code":401}"#, "logout", "logout"),
    (r#"{"kind":"stream-error","code":516}"#, "logout", "logout"),
    (
        r#"{"kind":"stream-error","conflict":"replaced"}"#,
        "kicked_other_device",
        "kicked_other_device",
    ),
    (
        r#"{"kind":"stream-error","conflict":"device_removed"}"#,
        "logout",
        "logout",
    ),
];

/// What passes by itself: the code that the status shows meanwhile.
const FOR_A_WHILE: &[(&str, &str)] = &[
    (r#"{"kind":"failure","reason":429}"#, "rate_limited"),
    (r#"{"kind":"failure","reason":500}"#, "whatsapp_unavailable"),
    (r#"{"kind":"failure","reason":501}"#, "whatsapp_unavailable"),
    (r#"{"kind":"failure","reason":503}"#, "whatsapp_unavailable"),
    (r#"{"kind":"stream-error","code":429}"#, "rate_limited"),
    (r#"{"kind":"stream-error","code":500}"#, "whatsapp_unavailable"),
    (r#"{"kind":"stream-error","code":503}"#, "whatsapp_unavailable"),
];

/// Plants a fault; a refused login needs a login first, so the open socket is cut for it.
async fn strike(simulator: &Simulator, fault: &Value) {
    simulator.fault(fault).await;
    if fault["kind"] == "failure" {
        simulator.fault(&json!({"kind": "drop-socket"})).await;
    }
}

fn parsed(fault: &str) -> Value {
    serde_json::from_str(fault).unwrap()
}

#[tokio::test]
async fn an_end_for_good_is_told_with_its_reason_and_nobody_knocks_again() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    for (fault, code, reason) in FOR_GOOD {
        let instance = gateway.link(&simulator, OWNER).await;
        let events = gateway.events().await;
        strike(&simulator, &parsed(fault)).await;
        let failed = instance.becomes("failed").await;
        assert_eq!(failed["status_reason"]["code"], *code, "{fault}: {failed}");
        let words = failed["status_reason"]["message"].as_str().unwrap();
        assert!(words.len() > 20, "{fault}: {words}");
        assert_eq!(failed["status_reason"].get("next_attempt_at"), None, "{fault}");
        // A cut socket was a loss first; the last word is the refusal.
        let told = eventually("the end on the stream", async || {
            let frames = events.frames();
            let mut ends = frames
                .iter()
                .filter(|frame| frame.name() == "instance.disconnected" && frame.data["instance_id"] == *instance.id);
            let unlinks = matches!(*reason, "logout" | "session_invalidated") && *code != "refused_by_whatsapp";
            ends.next_back()
                .map(|frame| frame.data.clone())
                .filter(|end| !unlinks || end["will_retry"] == false)
        })
        .await;
        if fault.contains("stream-error") {
            assert_eq!(
                (&told["reason"], &told["will_retry"]),
                (&json!(reason), &json!(false)),
                "{fault}"
            );
        }
        let sockets = simulator.sockets_opened().await;
        gateway.advance(LONG).await;
        assert_eq!(instance.get().await["status"], "failed", "{fault}");
        assert_eq!(simulator.sockets_opened().await, sockets, "{fault}: nobody tried again");
        gateway.client.delete(&instance.path("")).reply(204).await;
        simulator.unlink_all(OWNER).await;
    }
}

#[tokio::test]
async fn an_end_that_passes_is_told_as_such_and_the_session_comes_back() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    for (fault, code) in FOR_A_WHILE {
        let instance = gateway.link(&simulator, OWNER).await;
        let mut events = gateway.events().await;
        strike(&simulator, &parsed(fault)).await;
        let waits = events
            .next_where("the reason", |frame| {
                frame.name() == "instance.status" && frame.data["status_reason"]["code"] == *code
            })
            .await;
        assert_eq!(waits["status"], "disconnected", "{fault}: {waits}");
        assert!(
            waits["status_reason"]["next_attempt_at"].is_string(),
            "{fault}: {waits}"
        );
        comes_back(&gateway, &instance).await;
        gateway.client.delete(&instance.path("")).reply(204).await;
        simulator.unlink_all(OWNER).await;
    }
}

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

#[tokio::test]
async fn a_ban_names_its_end() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let later = gateway.in_an_hour().await;
    strike(
        &simulator,
        &json!({"kind": "failure", "reason": 402, "code": 104, "expire": 7200}),
    )
    .await;
    let failed = instance.becomes("failed").await;
    let words = failed["status_reason"]["message"].as_str().unwrap();
    let until = words
        .split_whitespace()
        .find(|word| word.starts_with("20"))
        .unwrap_or_default()
        .trim_end_matches('.');
    assert!(until > later.as_str(), "two hours from now, not {until}: {words}");
}

#[tokio::test]
async fn attempts_become_rare_while_whatsapp_refuses_and_are_counted() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    strike(
        &simulator,
        &json!({"kind": "failure", "reason": 503, "times": "always"}),
    )
    .await;
    // An hour in steps of a minute: the longest wait is a minute, so more than one attempt a step would be a loop.
    let before = simulator.sockets_opened().await;
    for minute in 1..=10_u64 {
        gateway.advance(60).await;
        eventually("the next attempt", async || {
            let failures = simulator.stats().await["failures"]["503"].as_u64().unwrap_or_default();
            (failures >= minute).then_some(())
        })
        .await;
        instance.becomes("disconnected").await;
    }
    let opened = simulator.sockets_opened().await - before;
    assert!(opened <= 10 + 7, "{opened} sockets in ten minutes");
    simulator.fault(&json!({"kind": "none"})).await;
    comes_back(&gateway, &instance).await;
}

#[tokio::test]
async fn an_outdated_client_is_told_before_it_is_linked() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("old").await;
    simulator
        .fault(&json!({"kind": "failure", "reason": 405, "at": "register", "times": "always"}))
        .await;
    let error = gateway.client.get(&instance.path("/qr")).returns(504).await;
    let words = error["error"]["message"].as_str().unwrap();
    assert!(words.contains("version"), "{words}");
    assert_eq!(instance.becomes("failed").await["status_reason"]["code"], "outdated");
    simulator.fault(&json!({"kind": "none"})).await;
    let code = instance.qr().await;
    simulator.scan(OWNER, &code).await;
    instance.becomes("connected").await;
}
