//! Linking by a code that is typed on the phone.

use serde_json::{Value, json};

use crate::harness::gateway::Setup;
use crate::harness::{FRIEND, Gateway, OWNER, Simulator};

const OTHER_OWNER: &str = "5511966660003";

/// A code that is none of these: the alphabet has no vowel O.
fn mistyped(code: &str) -> String {
    let last = if code.ends_with('2') { '3' } else { '2' };
    format!("{}{last}", &code[..code.len() - 1])
}

async fn asked(gateway: &Gateway, path: &str, number: &str) -> Value {
    gateway
        .client
        .post(path, &json!({"phone_number": number}))
        .returns(200)
        .await
}

#[tokio::test]
async fn a_phone_types_the_code_and_the_instance_is_connected() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let mut events = gateway.events().await;
    let instance = gateway.create("shop").await;
    let reply = gateway
        .client
        .post(
            &instance.path("/pair-code"),
            &json!({"phone_number": "+55 11 97777-0001"}),
        )
        .reply(200)
        .await;
    assert_eq!(reply.header("cache-control"), "no-store", "a code is a secret");
    let code = reply.json["code"].as_str().unwrap();
    let (first, second) = code.split_once('-').unwrap();
    assert_eq!((first.len(), second.len()), (4, 4), "{code}");
    assert_eq!(
        instance.get().await["status"],
        "qr",
        "the picture can be scanned as well"
    );

    simulator.enter_code("5511977770001", &code.to_lowercase()).await;
    let connected = events.next("instance.connected").await;
    assert_eq!(connected["phone_number"], "5511977770001");
    let id = instance.send(FRIEND, "linked by code").await;
    assert_eq!(simulator.gets(FRIEND, "linked by code").await["id"], *id);
    instance.settles().await;

    gateway
        .client
        .post(&instance.path("/pair-code"), &json!({"phone_number": OWNER}))
        .refused(409, "pair_code_unavailable")
        .await;
    let log = gateway.log().lines().join("\n");
    for secret in [code, &code.replace('-', ""), "5511977770001"] {
        assert!(!log.contains(secret), "the log shows what must not be there");
    }
}

#[tokio::test]
async fn asking_again_answers_the_same_code_and_another_number_a_new_one() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("shop").await;
    let path = instance.path("/pair-code");
    let first = asked(&gateway, &path, OWNER).await;
    assert_eq!(asked(&gateway, &path, OWNER).await, first, "a person may be typing it");
    let other = asked(&gateway, &path, OTHER_OWNER).await;
    assert_ne!(other["code"], first["code"]);
    let shown = simulator
        .enter_code_in_vain(OWNER, first["code"].as_str().unwrap())
        .await;
    assert!(shown.contains("one of another number"), "{shown}");
    simulator.enter_code(OTHER_OWNER, other["code"].as_str().unwrap()).await;
    assert_eq!(instance.becomes("connected").await["phone_number"], OTHER_OWNER);
}

#[tokio::test]
async fn a_code_that_is_too_old_is_replaced() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("shop").await;
    let old = instance.pair_code(OWNER).await;
    gateway.advance(181).await;
    let new = instance.pair_code(OWNER).await;
    assert_ne!(new, old);
    let shown = simulator.enter_code_in_vain(OWNER, &old).await;
    assert!(shown.contains("code is wrong"), "{shown}");
    simulator.enter_code(OWNER, &new).await;
    instance.becomes("connected").await;
}

#[tokio::test]
async fn a_mistyped_code_fails_on_the_phone_and_the_right_one_still_links() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("shop").await;
    let code = instance.pair_code(OWNER).await;
    for _ in 0..2 {
        let shown = simulator.enter_code_in_vain(OWNER, &mistyped(&code)).await;
        assert!(shown.contains("code is wrong"), "{shown}");
    }
    assert_eq!(instance.get().await["status"], "qr");
    assert_eq!(instance.pair_code(OWNER).await, code, "it can still be typed");
    simulator.enter_code(OWNER, &code).await;
    instance.becomes("connected").await;
}

#[tokio::test]
async fn the_picture_can_be_scanned_while_a_code_is_out() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("shop").await;
    instance.pair_code(OWNER).await;
    let picture = instance.qr().await;
    simulator.scan(OTHER_OWNER, &picture).await;
    assert_eq!(instance.becomes("connected").await["phone_number"], OTHER_OWNER);
}

#[tokio::test]
async fn a_code_that_whatsapp_takes_back_is_told_and_replaced() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("shop").await;
    let mut events = gateway.events().await;
    let old = instance.pair_code(OWNER).await;
    simulator.refresh_code(OWNER).await;
    let told = events
        .next_where("the news", |frame| {
            frame.name() == "instance.status" && frame.data["status_reason"]["code"] == "pair_code_failed"
        })
        .await;
    assert_eq!(told["status"], "qr");
    let new = instance.pair_code(OWNER).await;
    assert_ne!(new, old);
    simulator.enter_code(OWNER, &new).await;
    instance.becomes("connected").await;
}

#[tokio::test]
async fn a_code_outlives_the_last_picture_and_links_all_the_same() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("shop").await;
    let code = instance.pair_code(OWNER).await;
    simulator.fault(&json!({"kind": "qr-exhausted"})).await;
    let error = crate::harness::eventually("no picture any more", async || {
        let reply = gateway.client.get(&instance.path("/qr")).attempt().await.unwrap();
        (reply.status == 504).then_some(reply.json["error"].clone())
    })
    .await;
    assert_eq!(error["details"]["reason"], "pair_code_waiting", "{error}");
    assert_eq!(instance.pair_code(OWNER).await, code);
    simulator.enter_code(OWNER, &code).await;
    instance.becomes("connected").await;
}

#[tokio::test]
async fn when_neither_picture_nor_code_is_left_the_session_ends_and_says_so() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("shop").await;
    instance.pair_code(OWNER).await;
    simulator.fault(&json!({"kind": "qr-exhausted"})).await;
    crate::harness::eventually("no picture any more", async || {
        let reply = gateway.client.get(&instance.path("/qr")).attempt().await.unwrap();
        (reply.status == 504).then_some(())
    })
    .await;
    gateway.advance(300).await;
    let ended = instance.becomes("pending").await;
    assert_eq!(ended["status_reason"]["code"], "pair_code_expired");
    // Asking again starts anew.
    let code = instance.pair_code(OWNER).await;
    simulator.enter_code(OWNER, &code).await;
    instance.becomes("connected").await;
}

#[tokio::test]
async fn what_whatsapp_refuses_is_told_with_what_to_do() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("shop").await;
    let call = || {
        gateway
            .client
            .post(&instance.path("/pair-code"), &json!({"phone_number": OWNER}))
    };
    for code in ["400", "403", "429", "500"] {
        let fault = json!({"kind": "pair-code", "code": code.parse::<u16>().unwrap()});
        simulator.fault(&fault).await;
        let reply = call().reply(502).await;
        assert_eq!(reply.json["error"]["code"], "pair_code_failed");
        assert_eq!(reply.json["error"]["details"]["code"], code);
        assert!(reply.header("retry-after").parse::<u64>().unwrap() > 0);
    }
    simulator.fault(&json!({"kind": "pair-code", "code": 452})).await;
    let refused = call().refused(409, "pair_code_unavailable").await;
    assert!(refused["message"].as_str().unwrap().contains("QR"), "{refused}");
    assert_eq!(instance.get().await["status"], "qr", "the picture is still there");
    let code = instance.pair_code(OWNER).await;
    simulator.enter_code(OWNER, &code).await;
    instance.becomes("connected").await;
}

#[tokio::test]
async fn a_number_that_is_none_is_refused_before_anybody_is_asked() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("shop").await;
    for body in [
        json!({}),
        json!({"phone_number": "0551199999999"}),
        json!({"phone_number": "12345"}),
        json!({"phone_number": "call me"}),
        json!({"phone_number": 5_511_999_990_001_u64}),
        json!({"phone_number": "123-456@g.us"}),
        json!({"phone_number": OWNER, "custom_code": "ABCD1234"}),
    ] {
        let refused = gateway
            .client
            .post(&instance.path("/pair-code"), &body)
            .refused(400, "validation_failed")
            .await;
        let path = refused["details"]["fields"][0]["path"].as_str().unwrap();
        assert!(path.starts_with("body."), "{body}: {refused}");
    }
    assert_eq!(simulator.sockets_opened().await, 0);
    let reader = gateway
        .as_key(&json!({"name": "reader", "scopes": ["instances:read"]}))
        .await;
    reader
        .post(&instance.path("/pair-code"), &json!({"phone_number": OWNER}))
        .refused(403, "insufficient_scope")
        .await;
}

#[tokio::test]
async fn a_code_asked_for_while_whatsapp_is_unreachable_says_why() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let gateway = Setup::connecting_to(&format!("ws://127.0.0.1:{port}/ws/chat"))
        .start()
        .await;
    let instance = gateway.create("nowhere").await;
    let error = gateway
        .client
        .post(&instance.path("/pair-code"), &json!({"phone_number": OWNER}))
        .refused(504, "whatsapp_timeout")
        .await;
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("pairing code") && message.contains("refused"),
        "{message}"
    );
    gateway.client.delete(&instance.path("")).reply(204).await;
}

#[tokio::test]
async fn a_restarted_gateway_gives_a_new_code_and_the_old_one_is_dead() {
    let simulator = Simulator::start().await;
    let mut gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("shop").await;
    let old = instance.pair_code(OWNER).await;
    gateway.kill();
    gateway.start_again().await;
    assert_eq!(instance.get().await["status"], "pending");
    let new = instance.pair_code(OWNER).await;
    assert_ne!(new, old);
    let shown = simulator.enter_code_in_vain(OWNER, &old).await;
    assert!(shown.contains("code is wrong"), "{shown}");
    simulator.enter_code(OWNER, &new).await;
    instance.becomes("connected").await;
}

#[tokio::test]
async fn a_lost_socket_takes_its_code_with_it() {
    let mut simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("shop").await;
    let old = instance.pair_code(OWNER).await;
    simulator.kill();
    instance.becomes("pending").await;
    simulator.start_again().await;
    gateway.advance(90).await;
    let new = instance.pair_code(OWNER).await;
    assert_ne!(new, old);
    simulator.enter_code(OWNER, &new).await;
    instance.becomes("connected").await;
}

#[tokio::test]
async fn two_instances_of_one_phone_both_get_everything_and_part_without_harm() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let one = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    let two = gateway.create("second").await;
    let code = two.pair_code(OWNER).await;
    simulator.enter_code(OWNER, &code).await;
    two.becomes("connected").await;
    assert_eq!(
        one.get().await["status"],
        "connected",
        "the phone keeps its first device"
    );

    simulator.send(FRIEND, OWNER, "to both").await;
    let mut heard = Vec::new();
    while heard.len() < 2 {
        let event = events.next("message.received").await;
        assert_eq!(event["body"]["text"], "to both");
        heard.push(event["instance_id"].as_str().unwrap().to_owned());
    }
    heard.sort();
    let mut expected = vec![one.id.clone(), two.id.clone()];
    expected.sort();
    assert_eq!(heard, expected);

    let id = two.send(FRIEND, "from the second").await;
    assert_eq!(simulator.gets(FRIEND, "from the second").await["id"], *id);
    two.settles().await;
    assert_eq!(two.act("logout").await["status"], "pending");
    simulator.send(FRIEND, OWNER, "to the first").await;
    let event = events.next("message.received").await;
    assert_eq!(
        (&event["instance_id"], &event["body"]["text"]),
        (&json!(one.id), &json!("to the first"))
    );
    one.send(FRIEND, "still here").await;
    simulator.gets(FRIEND, "still here").await;
    one.settles().await;
}

#[tokio::test]
async fn a_mistyped_code_does_not_spoil_the_picture() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("shop").await;
    let code = instance.pair_code(OWNER).await;
    let before = instance.qr().await;
    let mut events = gateway.events().await;
    simulator.enter_code_in_vain(OWNER, &mistyped(&code)).await;
    let picture = instance.qr().await;
    let told = events.next("qr.updated").await;
    assert_eq!(told["code"], *picture, "everybody is told of the new picture");
    let reference = |picture: &str| picture.split(',').next().map(str::to_owned);
    assert!(picture != before && reference(&picture) == reference(&before));
    simulator.scan(OTHER_OWNER, &picture).await;
    assert_eq!(instance.becomes("connected").await["phone_number"], OTHER_OWNER);
}
