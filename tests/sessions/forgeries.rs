//! What must not be believed, what cannot be read, and that no message is lost over it.

use serde_json::{Value, json};

use crate::harness::{FRIEND, Gateway, OWNER, Simulator, eventually};

async fn strikes(simulator: &Simulator, kind: &str, times: u64) {
    eventually("the fault to strike", async || {
        let struck = simulator.stats().await["faults"][kind].as_u64().unwrap_or_default();
        (struck >= times).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_forged_link_is_refused_with_the_reason_and_the_next_code_links() {
    for kind in ["hmac", "account-signature"] {
        let simulator = Simulator::start().await;
        let gateway = Gateway::start(&simulator).await;
        let instance = gateway.create("careful").await;
        let mut events = gateway.events().await;
        let code = instance.qr().await;
        simulator.fault(&json!({"kind": kind, "phone": OWNER})).await;
        simulator.scan_in_vain(OWNER, &code).await;
        let told = events
            .next_where("the reason", |frame| {
                frame.name() == "instance.status" && frame.data["status_reason"]["code"] == "pairing_failed"
            })
            .await;
        assert_ne!(told["status"], "connected", "{kind}");
        let now = instance.get().await;
        assert!(now.get("phone_number").is_none_or(Value::is_null), "{kind}: {now}");
        assert_eq!(simulator.stats().await["links"], 0, "{kind}");
        let code = eventually("another code", async || {
            gateway.advance(60).await;
            let reply = gateway.client.get(&instance.path("/qr")).attempt().await.ok()?;
            let fresh = reply.json["code"].as_str()?.to_owned();
            (fresh != code).then_some(fresh)
        })
        .await;
        simulator.scan(OWNER, &code).await;
        instance.becomes("connected").await;
    }
}

#[tokio::test]
async fn forged_keys_of_a_recipient_hold_a_message_back_until_they_are_right() {
    for kind in ["skey", "prekey-404"] {
        let simulator = Simulator::start().await;
        let gateway = Gateway::start(&simulator).await;
        let instance = gateway.link(&simulator, OWNER).await;
        let mut events = gateway.events().await;
        simulator
            .fault(&json!({"kind": kind, "phone": FRIEND, "device": 0, "times": "always"}))
            .await;
        let id = instance.send(FRIEND, "for your eyes").await;
        strikes(&simulator, kind, 1).await;
        assert_eq!(simulator.texts(FRIEND).await, Vec::<String>::new(), "{kind}");
        let sent = |frames: &[crate::harness::stream::Frame]| {
            frames
                .iter()
                .any(|frame| frame.name() == "message.sent" && frame.data["message_id"] == *id)
        };
        assert!(!sent(&events.frames()), "{kind}: nobody got it, so it is not sent");
        assert_eq!(instance.status().await["queue_depth"], 1, "{kind}");
        simulator.fault(&json!({"kind": "none"})).await;
        eventually("the message to be sent again", async || {
            gateway.advance(60).await;
            (instance.status().await["queue_depth"] == 0).then_some(())
        })
        .await;
        assert_eq!(events.next("message.sent").await["message_id"], *id, "{kind}");
        assert_eq!(simulator.texts(FRIEND).await, ["for your eyes"], "{kind}");
    }
}

#[tokio::test]
async fn forged_keys_of_one_companion_do_not_keep_a_message_from_the_phone() {
    for kind in ["skey", "device-identity", "prekey-404"] {
        let simulator = Simulator::start().await;
        let gateway = Gateway::start(&simulator).await;
        let instance = gateway.link(&simulator, OWNER).await;
        let other = gateway.link(&simulator, FRIEND).await;
        simulator
            .fault(&json!({"kind": kind, "phone": FRIEND, "device": 1, "times": "always"}))
            .await;
        let mut events = gateway.events().await;
        instance.send(FRIEND, "to all devices").await;
        assert_eq!(simulator.gets(FRIEND, "to all devices").await["text"], "to all devices");
        events.next("message.sent").await;
        instance.settles().await;
        strikes(&simulator, kind, 1).await;
        assert_eq!(
            other.status().await["counters"]["messages_received"],
            0,
            "{kind}: not with forged keys"
        );
        // With right keys the companion gets what comes next.
        simulator.fault(&json!({"kind": "none"})).await;
        eventually("a message that reaches the companion", async || {
            instance.send(FRIEND, "and now").await;
            instance.settles().await;
            (other.status().await["counters"]["messages_received"] != 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_damaged_message_is_asked_for_again_and_told_once() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let _instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    simulator
        .fault(&json!({"kind": "corrupt-ciphertext", "phone": OWNER, "times": 2}))
        .await;
    simulator.send(FRIEND, OWNER, "twice damaged").await;
    let received = events.next("message.received").await;
    assert_eq!(received["body"]["text"], "twice damaged");
    simulator.send(FRIEND, OWNER, "whole").await;
    events
        .next_where("the next", |frame| {
            frame.name() == "message.received" && frame.data["body"]["text"] == "whole"
        })
        .await;
    let all = events.frames();
    assert_eq!(all.iter().filter(|frame| frame.name() == "message.received").count(), 2);
    assert_eq!(simulator.stats().await["faults"]["corrupt-ciphertext"], 2);
}

#[tokio::test]
async fn a_message_that_stays_damaged_is_told_as_unreadable() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    simulator
        .fault(&json!({"kind": "corrupt-ciphertext", "phone": OWNER, "times": "always"}))
        .await;
    let id = simulator.send(FRIEND, OWNER, "never readable").await;
    let told = events.next("message.undecryptable").await;
    assert_eq!(told["message_id"], *id);
    assert_eq!(instance.get().await["status"], "connected");
    simulator.fault(&json!({"kind": "none"})).await;
    simulator.send(FRIEND, OWNER, "readable").await;
    events
        .next_where("what follows", |frame| {
            frame.name() == "message.received" && frame.data["body"]["text"] == "readable"
        })
        .await;
}

#[tokio::test]
async fn a_message_that_comes_twice_is_told_once() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    simulator.fault(&json!({"kind": "duplicate", "times": 3})).await;
    for index in 0..3 {
        simulator.send(FRIEND, OWNER, &format!("twice {index}")).await;
    }
    simulator.send(FRIEND, OWNER, "once").await;
    events
        .next_where("the last", |frame| {
            frame.name() == "message.received" && frame.data["body"]["text"] == "once"
        })
        .await;
    let names: Vec<String> = events.frames().iter().map(|frame| frame.name().to_owned()).collect();
    assert_eq!(names.iter().filter(|name| *name == "message.received").count(), 4);
    assert!(!names.iter().any(|name| name == "message.undecryptable"), "{names:?}");
    assert_eq!(instance.get().await["status"], "connected");
}

#[tokio::test]
async fn silent_recipients_leave_a_message_sent_and_settled() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    simulator
        .fault(&json!({"kind": "no-receipt", "phone": FRIEND, "times": "always"}))
        .await;
    let id = instance.send(FRIEND, "anybody?").await;
    simulator.gets(FRIEND, "anybody?").await;
    events.next("message.sent").await;
    instance.settles().await;
    gateway.advance(3600).await;
    let message = gateway
        .client
        .get(&instance.path(&format!("/messages/{id}")))
        .returns(200)
        .await;
    assert_eq!(message["status"], "sent");
    assert_eq!(simulator.texts(FRIEND).await.len(), 1);
}

#[tokio::test]
async fn what_the_own_phone_could_not_read_costs_the_recipient_nothing() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    instance.send(FRIEND, "readable").await;
    simulator.gets(FRIEND, "readable").await;
    simulator
        .fault(&json!({"kind": "corrupt-ciphertext", "phone": OWNER, "device": 0}))
        .await;
    instance.send(FRIEND, "damaged for the own phone").await;
    simulator.gets(OWNER, "damaged for the own phone").await;
    instance.send(FRIEND, "readable again").await;
    simulator.gets(FRIEND, "readable again").await;
    simulator.gets(OWNER, "readable again").await;
    simulator.send(FRIEND, OWNER, "an answer").await;
    let answer = events.next("message.received").await;
    assert_eq!(answer["body"]["text"], "an answer");
    instance.settles().await;
    let stats = simulator.stats().await;
    assert_eq!(
        (&stats["undecryptable"], &stats["retriesRequested"]),
        (&json!(1), &json!(1)),
        "only what was damaged"
    );
}

#[tokio::test]
async fn the_recipient_and_the_own_phone_get_what_neither_could_read_at_first() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    instance.send(FRIEND, "readable").await;
    simulator.gets(FRIEND, "readable").await;
    // Whether both requests are handled at a time is chance.
    for text in ["one", "two", "three"] {
        for phone in [FRIEND, OWNER] {
            simulator
                .fault(&json!({"kind": "corrupt-ciphertext", "phone": phone, "device": 0}))
                .await;
        }
        instance.send(FRIEND, text).await;
        for phone in [FRIEND, OWNER] {
            eventually(&format!("{text:?} in readable form on {phone}"), async || {
                gateway.advance(5).await;
                let inbox = simulator.inbox(phone).await;
                inbox.iter().any(|message| message["text"] == text).then_some(())
            })
            .await;
        }
    }
    instance.send(FRIEND, "readable again").await;
    simulator.gets(FRIEND, "readable again").await;
    instance.settles().await;
}

#[tokio::test]
async fn a_request_to_send_again_survives_the_cut_of_the_answer() {
    for killed in [false, true] {
        let simulator = Simulator::start().await;
        let mut gateway = Gateway::start(&simulator).await;
        let instance = gateway.link(&simulator, OWNER).await;
        simulator.goes_offline(FRIEND).await;
        simulator
            .fault(&json!({"kind": "corrupt-ciphertext", "phone": FRIEND, "device": 0}))
            .await;
        instance.send(FRIEND, "unreadable at first").await;
        strikes(&simulator, "corrupt-ciphertext", 1).await;
        instance.settles().await;
        // The phone asks; the request is acknowledged, and what the gateway answers is lost with the socket.
        let cut = if killed { "half-open" } else { "drop-socket" };
        simulator
            .fault(&json!({"kind": cut, "at": "message", "deliver": false}))
            .await;
        simulator.comes_online(FRIEND).await;
        strikes(&simulator, cut, 1).await;
        if killed {
            gateway.kill();
            gateway.start_again().await;
        }
        eventually("the message in readable form", async || {
            gateway.advance(5).await;
            let inbox = simulator.inbox(FRIEND).await;
            (inbox.len() == 1 && inbox[0]["text"] == "unreadable at first").then_some(())
        })
        .await;
    }
}
