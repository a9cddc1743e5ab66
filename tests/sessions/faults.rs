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
async fn a_message_that_is_never_acknowledged_fails_after_the_last_attempt_under_one_id() {
    // What the gateway promises in its words to the sender.
    const ATTEMPTS: u64 = 5;
    // Beyond the longest wait between two attempts.
    const WAIT_SECONDS: u64 = 301;
    for arrives in [false, true] {
        let simulator = Simulator::start().await;
        let gateway = Gateway::start(&simulator).await;
        let instance = gateway.link(&simulator, OWNER).await;
        let mut events = gateway.events().await;
        // Whatever a new link has to say to its phone is said before the counting starts.
        instance.send(FRIEND, "before").await;
        simulator.gets(FRIEND, "before").await;
        instance.settles().await;
        let already = simulator.stats().await["received"]["message"].as_u64().unwrap();

        // A receipt would prove the arrival as well as the acknowledgement does.
        simulator.fault(&json!({"kind": "no-receipt", "times": "always"})).await;
        simulator
            .fault(&json!({"kind": "no-ack", "deliver": arrives, "times": "always"}))
            .await;
        let id = instance.send(FRIEND, "anybody there?").await;
        for attempt in 1..=ATTEMPTS {
            eventually(&format!("attempt {attempt}"), async || {
                let received = simulator.stats().await["received"]["message"].as_u64()?;
                (received >= already + attempt).then_some(())
            })
            .await;
            assert_eq!(
                instance.status().await["queue_depth"],
                1,
                "attempt {attempt} is not the last word"
            );
            gateway.advance(WAIT_SECONDS).await;
        }
        let failed = events.next("message.failed").await;
        assert_eq!(
            (&failed["message_id"], &failed["error"]["code"]),
            (&json!(id), &json!("no_ack"))
        );
        let words = failed["error"]["message"].as_str().unwrap();
        assert!(
            words.contains("after 5 attempts") && words.contains("ask the recipient"),
            "{words}"
        );
        let message = message(&gateway, &instance, &id).await;
        assert_eq!(
            (&message["status"], &message["error"]),
            (&json!("failed"), &failed["error"])
        );
        instance.settles().await;

        // Not once more, however late; what comes next is not held back.
        gateway.advance(3600).await;
        simulator.fault(&json!({"kind": "none"})).await;
        let next = instance.send(FRIEND, "after").await;
        simulator.gets(FRIEND, "after").await;
        events
            .next_where("the next one sent", |frame| {
                frame.name() == "message.sent" && frame.data["message_id"] == *next
            })
            .await;
        let stats = simulator.stats().await;
        assert_eq!(stats["faults"]["no-ack"], ATTEMPTS);
        assert_eq!(stats["received"]["message"], already + ATTEMPTS + 1);
        let inbox = simulator.inbox(FRIEND).await;
        let shown: Vec<_> = inbox.iter().filter(|entry| entry["text"] == "anybody there?").collect();
        if arrives {
            assert_eq!(shown.len(), 1, "one id, so one message: {inbox:?}");
            assert_eq!(shown[0]["id"], *id);
            // The recipient's phone and the sender's own, each time the same message.
            assert_eq!(stats["duplicates"], 2 * (ATTEMPTS - 1));
        } else {
            assert!(shown.is_empty(), "{inbox:?}");
        }
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
