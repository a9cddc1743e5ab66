//! What goes wrong on WhatsApp's side, made to happen.

use serde_json::{Value, json};

use crate::harness::{FRIEND, Gateway, Instance, OWNER, Simulator, eventually};

async fn message(gateway: &Gateway, instance: &Instance, id: &str) -> Value {
    let path = instance.path(&format!("/messages/{id}"));
    gateway.client.get(&path).returns(200).await
}

#[tokio::test]
async fn a_refused_message_fails_with_whatsapps_code_and_advice_and_is_never_sent_again() {
    for (code, advice) in [
        (463, "Let the recipient write first"),
        (479, "report it with the message id"),
    ] {
        let simulator = Simulator::start().await;
        let gateway = Gateway::start(&simulator).await;
        let instance = gateway.link(&simulator, OWNER).await;
        let mut events = gateway.events().await;
        simulator.fault(&json!({"kind": "nack", "code": code})).await;
        let id = instance.send(FRIEND, "refused").await;
        let failed = events.next("message.failed").await;
        assert_eq!(failed["message_id"], *id);
        assert_eq!(failed["error"]["code"], code.to_string());
        let words = failed["error"]["message"].as_str().unwrap();
        assert!(words.contains(advice), "{words}");
        let message = message(&gateway, &instance, &id).await;
        assert_eq!(
            (&message["status"], &message["error"]),
            (&json!("failed"), &failed["error"])
        );
        instance.settles().await;

        // Past every timer the next one is not held back by it, and the fault, which is spent, would have let a
        // second attempt through.
        gateway.advance(3600).await;
        let next = instance.send(FRIEND, "this one is fine").await;
        assert_eq!(events.next("message.sent").await["message_id"], *next);
        simulator.gets(FRIEND, "this one is fine").await;
        instance.settles().await;
        assert_eq!(simulator.texts(FRIEND).await, ["this one is fine"], "{code}");
    }
}

#[tokio::test]
async fn a_message_without_an_ack_is_sent_again_under_the_same_id() {
    for arrives in [true, false] {
        let simulator = Simulator::start().await;
        let gateway = Gateway::start(&simulator).await;
        let instance = gateway.link(&simulator, OWNER).await;
        let mut events = gateway.events().await;
        simulator.fault(&json!({"kind": "no-ack", "deliver": arrives})).await;
        let id = instance.send(FRIEND, "anybody there?").await;
        eventually("the fault to strike", async || {
            (simulator.stats().await["faults"]["no-ack"] == 1).then_some(())
        })
        .await;
        // Our own timer is the only thing that can help now; it runs on the clock that is moved here.
        eventually("the message to be sent again", async || {
            if instance.status().await["queue_depth"] == 0 {
                return Some(());
            }
            gateway.advance(20).await;
            None
        })
        .await;
        assert_eq!(events.next("message.sent").await["message_id"], *id);
        assert_eq!(simulator.gets(FRIEND, "anybody there?").await["id"], *id);
        assert_eq!(simulator.texts(FRIEND).await.len(), 1, "one message, not twins");
    }
}

#[tokio::test]
async fn a_dropped_socket_is_opened_again_and_nothing_is_lost() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    simulator.fault(&json!({"kind": "drop-socket"})).await;
    simulator.send(FRIEND, OWNER, "into the gap").await;
    events.next("instance.disconnected").await;
    events.next("instance.connected").await;
    let received = events
        .count("the text", 1, |frame| frame.name() == "message.received")
        .await;
    assert_eq!(received[0]["body"]["text"], "into the gap");
    instance.send(FRIEND, "and back").await;
    simulator.gets(FRIEND, "and back").await;
    instance.settles().await;
}

#[tokio::test]
async fn a_server_that_asks_for_a_new_login_gets_one() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    simulator.fault(&json!({"kind": "stream-error", "code": 503})).await;
    events.next("instance.connected").await;
    instance.becomes("connected").await;
}

#[tokio::test]
async fn a_link_with_a_wrong_signature_is_not_accepted() {
    for kind in ["hmac", "account-signature"] {
        let simulator = Simulator::start().await;
        let gateway = Gateway::start(&simulator).await;
        let instance = gateway.create("careful").await;
        let code = instance.qr().await;
        simulator.fault(&json!({"kind": kind, "times": "always"})).await;
        simulator.scan_in_vain(OWNER, &code).await;
        let now = instance.get().await;
        assert_ne!(now["status"], "connected", "{kind}");
        assert!(now.get("phone_number").is_none_or(Value::is_null), "{kind}: {now}");
        gateway.client.delete(&instance.path("")).reply(204).await;
    }
}
