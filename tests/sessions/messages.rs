//! Messages out and in.

use serde_json::json;

use crate::harness::{FRIEND, Gateway, OWNER, Simulator};

const MANY: usize = 100;

#[tokio::test]
async fn a_text_is_sent_then_delivered_then_read() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;

    let body = json!({"to": FRIEND, "body": {"type": "text", "text": "hello"}, "client_ref": "order 7"});
    let accepted = gateway
        .client
        .post(&instance.path("/messages"), &body)
        .returns(202)
        .await;
    let id = accepted["message_id"].as_str().unwrap();
    assert_eq!(accepted["client_ref"], "order 7");

    for name in ["message.sent", "message.delivered"] {
        let event = events.next(name).await;
        assert_eq!(
            (&event["message_id"], &event["to"]),
            (&json!(id), &json!(FRIEND)),
            "{name}"
        );
        if name == "message.sent" {
            assert_eq!(
                (&event["client_ref"], &event["origin"]),
                (&json!("order 7"), &json!("api"))
            );
        }
    }
    let got = simulator.gets(FRIEND, "hello").await;
    assert_eq!((&got["id"], &got["from"]), (&json!(id), &json!(OWNER)));
    simulator.read(FRIEND, id).await;
    assert_eq!(events.next("message.read").await["message_id"], id);
    let message = gateway
        .client
        .get(&instance.path(&format!("/messages/{id}")))
        .returns(200)
        .await;
    assert_eq!(message["status"], "read");

    let told: Vec<String> = events
        .frames()
        .iter()
        .filter(|frame| frame.data["message_id"] == id)
        .map(|frame| frame.name().to_owned())
        .collect();
    assert_eq!(told, ["message.sent", "message.delivered", "message.read"], "each once");
    assert_eq!(simulator.texts(FRIEND).await, ["hello"]);
}

#[tokio::test]
async fn a_text_from_somebody_is_received() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    let text = "Olá! 👋\nsecond line";
    let id = simulator.send(FRIEND, OWNER, text).await;
    let event = events.next("message.received").await;
    assert_eq!(event["instance_id"], *instance.id);
    assert_eq!(event["message_id"], id);
    assert_eq!(event["from"], FRIEND, "by number, whatever WhatsApp calls the sender");
    assert_eq!(
        event["chat"],
        json!({"jid": format!("{FRIEND}@s.whatsapp.net"), "type": "direct"})
    );
    assert_eq!(event["sender"]["phone"], FRIEND);
    assert_eq!(event["is_group"], false);
    assert_eq!(event["body"], json!({"type": "text", "text": text}));
}

#[tokio::test]
async fn what_the_owner_types_on_the_phone_is_told_as_sent_by_the_device() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    let id = simulator.send(OWNER, FRIEND, "from my own thumb").await;
    let event = events.next("message.sent").await;
    assert_eq!((&event["message_id"], &event["origin"]), (&json!(id), &json!("device")));
    assert_eq!(event["body"]["text"], "from my own thumb");
    assert_eq!(event["to"], FRIEND);
}

#[tokio::test]
async fn a_text_to_a_phone_that_is_off_is_sent_and_delivered_when_it_comes_back() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    simulator.goes_offline(FRIEND).await;
    let id = instance.send(FRIEND, "for later").await;
    assert_eq!(events.next("message.sent").await["message_id"], *id);
    let path = instance.path(&format!("/messages/{id}"));
    assert_eq!(gateway.client.get(&path).returns(200).await["status"], "sent");
    simulator.comes_online(FRIEND).await;
    assert_eq!(events.next("message.delivered").await["message_id"], *id);
    assert_eq!(gateway.client.get(&path).returns(200).await["status"], "delivered");
}

#[tokio::test]
async fn a_hundred_messages_each_way_arrive_in_order_and_once() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;

    let outward = async {
        for index in 0..MANY {
            instance.send(FRIEND, &format!("out {index}")).await;
        }
    };
    let inward = async {
        for index in 0..MANY {
            simulator.send(FRIEND, OWNER, &format!("in {index}")).await;
        }
    };
    tokio::join!(outward, inward);

    let received = events
        .count("a hundred received", MANY, |frame| frame.name() == "message.received")
        .await;
    let texts: Vec<&str> = received
        .iter()
        .map(|event| event["body"]["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, (0..MANY).map(|index| format!("in {index}")).collect::<Vec<_>>());

    let delivered = events
        .count("a hundred delivered", MANY, |frame| frame.name() == "message.delivered")
        .await;
    assert_eq!(delivered.len(), MANY);
    instance.settles().await;
    let inbox = simulator.texts(FRIEND).await;
    assert_eq!(inbox, (0..MANY).map(|index| format!("out {index}")).collect::<Vec<_>>());

    for name in ["message.sent", "message.delivered", "message.received"] {
        let count = events.frames().iter().filter(|frame| frame.name() == name).count();
        assert_eq!(count, MANY, "{name}");
    }
}

#[tokio::test]
async fn what_was_written_while_the_gateway_was_down_arrives_once_afterwards() {
    let simulator = Simulator::start().await;
    let mut gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    simulator.send(FRIEND, OWNER, "before").await;
    let everything = "?events=message.received&since=evt_00000000000000000000000000";
    let mut events = crate::harness::Stream::open(&gateway.client, everything).await;
    let seen = events.next("message.received").await["event_id"]
        .as_str()
        .unwrap()
        .to_owned();
    gateway.stop().await;
    for text in ["first", "second", "third"] {
        simulator.send(FRIEND, OWNER, text).await;
    }
    gateway.start_again().await;
    instance.becomes("connected").await;
    // What was seen is not repeated, what came after it is not missing.
    let mut resumed = crate::harness::Stream::resume(&gateway.client, "?events=message.received", Some(&seen)).await;
    resumed
        .next_where("the third text", |frame| frame.data["body"]["text"] == "third")
        .await;
    // A fourth one behind them: had anything come twice, it would stand before this.
    simulator.send(FRIEND, OWNER, "fourth").await;
    resumed
        .next_where("the fourth text", |frame| frame.data["body"]["text"] == "fourth")
        .await;
    let texts: Vec<String> = resumed
        .frames()
        .iter()
        .map(|frame| frame.data["body"]["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(texts, ["first", "second", "third", "fourth"]);
}

#[tokio::test]
async fn the_same_reference_sends_once_and_another_body_under_it_is_refused() {
    let simulator = Simulator::start().await;
    let mut gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let path = instance.path("/messages");
    let body = |text: &str| json!({"to": FRIEND, "body": {"type": "text", "text": text}, "client_ref": "order 8"});
    let first = gateway.client.post(&path, &body("once")).returns(202).await;
    let again = gateway.client.post(&path, &body("once")).returns(202).await;
    assert_eq!(first["message_id"], again["message_id"]);
    gateway
        .client
        .post(&path, &body("something else"))
        .refused(409, "idempotency_conflict")
        .await;

    let keyed = json!({"to": FRIEND, "type": "text", "text": "by header"});
    let send = || gateway.client.post(&path, &keyed).header("Idempotency-Key", "k-1");
    let (one, two) = (send().returns(202).await, send().returns(202).await);
    assert_eq!(
        one["message_id"], two["message_id"],
        "the flat form and the header work as well"
    );
    let other = json!({"to": FRIEND, "type": "text", "text": "another"});
    gateway
        .client
        .post(&path, &other)
        .header("Idempotency-Key", "k-1")
        .refused(409, "idempotency_conflict")
        .await;

    instance.settles().await;
    gateway.stop().await;
    gateway.start_again().await;
    instance.becomes("connected").await;
    let after = gateway.client.post(&path, &body("once")).returns(202).await;
    assert_eq!(after["message_id"], first["message_id"], "also after a restart");
    instance.settles().await;
    simulator.gets(FRIEND, "by header").await;
    assert_eq!(simulator.texts(FRIEND).await, ["once", "by header"]);

    gateway.advance(25 * 3600).await;
    instance.becomes("connected").await;
    let a_day_later = gateway.client.post(&path, &body("once")).returns(202).await;
    assert_ne!(a_day_later["message_id"], first["message_id"], "forgotten after 24 h");
    instance.settles().await;
}

#[tokio::test]
async fn a_number_without_whatsapp_is_told_as_such() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    let body = json!({"to": "5511900000000", "body": {"type": "text", "text": "anybody?"}});
    let reply = gateway
        .client
        .post(&instance.path("/messages"), &body)
        .attempt()
        .await
        .unwrap();
    match reply.status {
        422 => assert_eq!(reply.json["error"]["code"], "recipient_not_on_whatsapp"),
        202 => {
            let failed = events.next("message.failed").await;
            assert_eq!(failed["message_id"], reply.json["message_id"]);
            assert_eq!(failed["error"]["code"], "recipient_not_on_whatsapp");
        }
        other => panic!("neither accepted nor refused: {other} {}", reply.json),
    }
    instance.settles().await;
}
