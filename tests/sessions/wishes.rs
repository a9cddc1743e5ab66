//! What an owner may wish of a session: to be seen online or not, and to be left alone by callers.

use serde_json::json;

use crate::harness::{FRIEND, Gateway, Instance, OWNER, Simulator, eventually};

async fn wish(gateway: &Gateway, instance: &Instance, wish: serde_json::Value) -> serde_json::Value {
    gateway
        .client
        .patch(&instance.path("/settings"), &wish)
        .returns(200)
        .await
}

/// Waits until the last that the friend heard of the account is a state.
async fn seen(simulator: &Simulator, state: &str) {
    eventually(&format!("the account is {state}"), async || {
        let heard = simulator.heard(FRIEND, OWNER).await;
        heard.last().is_some_and(|last| last == state).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_account_appears_online_only_while_its_owner_wants_it() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let path = instance.path("/settings");
    assert_eq!(gateway.client.get(&path).returns(200).await["mark_online"], true);
    // What is seen from here on is the gateway's doing.
    simulator.appears(OWNER, "unavailable").await;
    simulator.watches(FRIEND, OWNER).await;
    seen(&simulator, "available").await;

    assert_eq!(
        wish(&gateway, &instance, json!({"mark_online": false})).await["mark_online"],
        false
    );
    seen(&simulator, "unavailable").await;

    // The library announces every new connection by itself.
    let before = simulator.heard(FRIEND, OWNER).await.len();
    instance.act("restart").await;
    instance.becomes("connected").await;
    eventually("the end of the announcement", async || {
        let heard = simulator.heard(FRIEND, OWNER).await;
        (heard.len() >= before + 2 && heard.ends_with(&["unavailable".to_owned()])).then_some(())
    })
    .await;

    assert_eq!(
        wish(&gateway, &instance, json!({"mark_online": null})).await["mark_online"],
        true
    );
    seen(&simulator, "available").await;
}

#[tokio::test]
async fn calls_are_told_and_rejected_only_when_the_owner_wants_that() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;

    let call = simulator.calls(FRIEND, OWNER, true).await;
    let offered = events.next("call.offered").await;
    assert_eq!(
        (
            &offered["call_id"],
            &offered["from"],
            &offered["video"],
            &offered["group"]
        ),
        (&json!(call), &json!(FRIEND), &json!(true), &json!(false))
    );
    assert_eq!(offered["sender"]["phone"], FRIEND);
    assert_eq!(simulator.call_of(FRIEND, &call).await["state"], "ringing");
    simulator.hangs_up(FRIEND, &call).await;
    let ended = events.next("call.ended").await;
    assert_eq!(
        (&ended["call_id"], &ended["from"], &ended["reason"]),
        (&json!(call), &json!(FRIEND), &json!("hung_up"))
    );

    assert_eq!(
        wish(&gateway, &instance, json!({"reject_calls": true})).await["reject_calls"],
        true
    );
    let call = simulator.calls(FRIEND, OWNER, false).await;
    assert_eq!(events.next("call.offered").await["call_id"], call);
    let ended = events.next("call.ended").await;
    assert_eq!(
        (&ended["call_id"], &ended["reason"]),
        (&json!(call), &json!("rejected"))
    );
    let rejected = eventually("the rejection", async || {
        let call = simulator.call_of(FRIEND, &call).await;
        (call["state"] == "rejected").then_some(call)
    })
    .await;
    assert_eq!(rejected["takenBy"], 1, "by the gateway's device: {rejected}");

    wish(&gateway, &instance, json!({"reject_calls": null})).await;
    let call = simulator.calls(FRIEND, OWNER, false).await;
    assert_eq!(events.next("call.offered").await["call_id"], call);
    // The call rings on for as long as it takes a message to come behind it.
    let id = simulator.send(FRIEND, OWNER, "pick up").await;
    events
        .next_where("the message", |frame| frame.data["message_id"] == *id)
        .await;
    assert_eq!(simulator.call_of(FRIEND, &call).await["state"], "ringing");
    simulator.hangs_up(FRIEND, &call).await;
    events.next("call.ended").await;
}

#[tokio::test]
async fn a_call_that_rang_while_nobody_was_connected_is_told_as_missed() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    wish(&gateway, &instance, json!({"reject_calls": true})).await;
    instance.act("disconnect").await;
    let call = simulator.calls(FRIEND, OWNER, false).await;
    instance.act("connect").await;
    let ended = events.next("call.ended").await;
    assert_eq!(
        (&ended["call_id"], &ended["from"], &ended["reason"]),
        (&json!(call), &json!(FRIEND), &json!("missed"))
    );
    assert!(
        !events.frames().iter().any(|frame| frame.name() == "call.offered"),
        "what rings no more is not offered"
    );
    simulator.hangs_up(FRIEND, &call).await;
}
