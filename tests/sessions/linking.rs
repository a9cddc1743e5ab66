//! From a new instance to a connected one, and how it ends when it cannot be.

use serde_json::json;

use crate::harness::gateway::{Setup, normal_build};
use crate::harness::stream::Frame;
use crate::harness::{FRIEND, Gateway, OWNER, Simulator, Stream, eventually};

#[tokio::test]
async fn a_phone_scans_the_code_and_the_events_come_in_order() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let mut events = gateway.events().await;
    let instance = gateway.create("shop").await;

    let qr = gateway.client.get(&instance.path("/qr")).returns(200).await;
    assert!(qr["qr"].as_str().unwrap().starts_with("data:image/png;base64,"));
    let offered = events.next("qr.updated").await;
    assert_eq!(offered["code"], qr["code"], "the call and the event show the same code");
    assert_eq!(instance.get().await["status"], "qr");

    simulator.scan(OWNER, qr["code"].as_str().unwrap()).await;
    let connected = events.next("instance.connected").await;
    assert_eq!(connected["instance_id"], *instance.id);
    assert_eq!(connected["phone_number"], OWNER);
    assert_eq!(connected["jid"], format!("{OWNER}@s.whatsapp.net"));

    let now = instance.get().await;
    assert_eq!(now["status"], "connected");
    assert_eq!(now["phone_number"], OWNER);
    let states: Vec<String> = events
        .frames()
        .iter()
        .filter(|frame| frame.name() == "instance.status")
        .map(|frame| frame.data["status"].as_str().unwrap().to_owned())
        .collect();
    let order = |status: &str| states.iter().position(|seen| seen == status);
    assert!(order("qr") < order("connecting"), "{states:?}");
    if let (Some(connecting), Some(connected)) = (order("connecting"), order("connected")) {
        assert!(connecting < connected, "{states:?}");
    }
    assert!(
        !events
            .frames()
            .iter()
            .any(|frame| frame.name() == "instance.disconnected")
    );
    gateway.client.get(&instance.path("/qr")).refused(409, "no_qr").await;
}

#[tokio::test]
async fn a_qr_comes_in_every_form_a_caller_asks_for() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("shop").await;
    let path = instance.path("/qr");
    for (accept, starts_with) in [
        ("image/png", &b"\x89PNG"[..]),
        ("image/svg+xml", &b"<"[..]),
        ("text/plain", "█".as_bytes()),
    ] {
        let reply = gateway.client.get(&path).header("Accept", accept).reply(200).await;
        assert!(reply.header("content-type").starts_with(accept), "{accept}");
        assert!(
            reply.bytes.starts_with(starts_with),
            "{accept}: {:?}",
            &reply.bytes[..16]
        );
        assert_eq!(
            reply.header("cache-control"),
            "no-store",
            "a code is a secret for a minute"
        );
    }
}

#[tokio::test]
async fn a_restarted_gateway_connects_again_without_a_qr() {
    let simulator = Simulator::start().await;
    let mut gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    gateway.stop().await;
    gateway.start_again().await;
    let now = instance.becomes("connected").await;
    assert_eq!(now["phone_number"], OWNER);
    let id = instance.send(FRIEND, "still here").await;
    assert_eq!(simulator.gets(FRIEND, "still here").await["id"], *id);
    instance.settles().await;

    let past = Stream::open(
        &gateway.client,
        "?since=evt_00000000000000000000000000&events=qr.updated",
    )
    .await;
    let from_pairing = simulator.stats().await["links"].as_u64();
    assert_eq!(from_pairing, Some(1), "linked once, by the first scan");
    drop(past);
}

#[tokio::test]
async fn a_killed_gateway_connects_again_without_a_qr() {
    let simulator = Simulator::start().await;
    let mut gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let logins = simulator.logins().await;
    gateway.kill();
    gateway.start_again().await;
    eventually("a new login", async || {
        (simulator.logins().await > logins).then_some(())
    })
    .await;
    instance.becomes("connected").await;
    assert_eq!(simulator.stats().await["links"], 1);
}

#[tokio::test]
async fn a_restarted_server_is_found_again_by_itself() {
    let mut simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;

    simulator.stop().await;
    let lost = events.next("instance.disconnected").await;
    assert_eq!(lost["reason"], "network");
    assert_eq!(lost["will_retry"], true);
    assert_eq!(instance.get().await["status"], "disconnected");

    simulator.start_again().await;
    events.next("instance.connected").await;
    instance.send(FRIEND, "hello again").await;
    simulator.gets(FRIEND, "hello again").await;
    instance.settles().await;
}

#[tokio::test]
async fn a_crashed_server_is_found_again_by_itself() {
    let mut simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    simulator.kill();
    instance.becomes("disconnected").await;
    simulator.start_again().await;
    instance.becomes("connected").await;
}

#[tokio::test]
async fn a_server_with_renewed_certificates_is_accepted_again() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    simulator.renew_certificates().await;
    simulator.fault(&json!({"kind": "drop-socket"})).await;
    events.next("instance.disconnected").await;
    events.next("instance.connected").await;
    assert_eq!(simulator.stats().await["handshakes"]["xxFallback"], 1);
    instance.send(FRIEND, "known again").await;
    simulator.gets(FRIEND, "known again").await;
    instance.settles().await;

    simulator.fault(&json!({"kind": "drop-socket"})).await;
    events.next("instance.disconnected").await;
    events.next("instance.connected").await;
    let handshakes = simulator.stats().await["handshakes"].clone();
    assert_eq!(handshakes["xxFallback"], 1, "the new key is remembered: {handshakes}");
}

#[tokio::test]
async fn another_server_that_does_not_know_the_link_is_told_from_a_lost_connection() {
    let mut simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    simulator.kill();
    instance.becomes("disconnected").await;
    simulator.start_again_as_another().await;
    gateway.advance(90).await;
    let failed = instance.becomes("failed").await;
    assert_eq!(failed["status_reason"]["code"], "logout", "{failed}");
    assert_eq!(simulator.stats().await["handshakes"]["xxFallback"], 1);
    let code = instance.qr().await;
    simulator.scan(OWNER, &code).await;
    instance.becomes("connected").await;
}

#[tokio::test]
async fn a_stopped_instance_keeps_its_link_and_comes_back_on_request() {
    let simulator = Simulator::start().await;
    let mut gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;

    let stopped = instance.act("disconnect").await;
    assert_eq!(stopped["status"], "disconnected");
    assert_eq!(stopped["status_reason"]["code"], "stopped");
    let told = events.next("instance.disconnected").await;
    assert_eq!(
        (&told["reason"], &told["will_retry"]),
        (&json!("stopped"), &json!(false))
    );

    let sockets = simulator.sockets_opened().await;
    gateway.stop().await;
    gateway.start_again().await;
    gateway.advance(3600).await;
    assert_eq!(instance.get().await["status"], "disconnected", "nobody asked for it");
    assert_eq!(simulator.sockets_opened().await, sockets);

    instance.act("connect").await;
    instance.becomes("connected").await;
    instance.act("restart").await;
    instance.becomes("connected").await;
    assert_eq!(simulator.stats().await["links"], 1);
}

#[tokio::test]
async fn logging_out_unlinks_the_device_and_a_new_code_can_be_scanned() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    assert_eq!(instance.act("logout").await["status"], "pending");
    let phones = simulator.stats().await["phones"].clone();
    let companions = &phones
        .as_array()
        .unwrap()
        .iter()
        .find(|phone| phone["phone"] == OWNER)
        .unwrap()["companions"];
    assert_eq!(companions, &json!([]), "the phone shows no linked device any more");

    let code = instance.qr().await;
    simulator.scan(OWNER, &code).await;
    instance.becomes("connected").await;
}

#[tokio::test]
async fn a_deleted_instance_is_unlinked_and_gone() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    gateway.client.delete(&instance.path("")).reply(204).await;
    gateway
        .client
        .get(&instance.path(""))
        .refused(404, "instance_not_found")
        .await;
    assert_eq!(
        gateway.client.get("/v1/instances").returns(200).await["data"],
        json!([])
    );
    eventually("the device to be unlinked", async || {
        let stats = simulator.stats().await;
        (stats["loggedIn"] == json!([])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_instance_is_made_at_once_when_whatsapp_is_unreachable_and_the_qr_says_why() {
    // Nobody listens on a port that was just given back.
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
        .get(&instance.path("/qr"))
        .refused(504, "whatsapp_timeout")
        .await;
    let message = error["message"].as_str().unwrap().to_lowercase();
    assert!(message.contains("refused"), "it says why: {message}");
    let reason = &instance.get().await["status_reason"];
    assert_eq!(reason["code"], "refused");
    gateway.client.delete(&instance.path("")).reply(204).await;
}

#[tokio::test]
async fn a_server_that_never_answers_is_named_as_such() {
    // Accepts and says nothing: the attempt must end by itself.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let gateway = Setup::connecting_to(&format!("ws://127.0.0.1:{port}/ws/chat"))
        .start()
        .await;
    let instance = gateway.create("silence").await;
    gateway
        .client
        .get(&instance.path("/qr"))
        .refused(504, "whatsapp_timeout")
        .await;
    gateway.client.delete(&instance.path("")).reply(204).await;
    drop(silent);
}

#[tokio::test]
async fn a_normal_build_refuses_the_simulators_certificate() {
    // Its own chain is refused for the root alone; a forged one must not be told as anything milder.
    for forged in [None, Some("cert-intermediate"), Some("cert-leaf")] {
        let simulator = Simulator::start().await;
        if let Some(kind) = forged {
            simulator.fault(&json!({"kind": kind, "times": "always"})).await;
        }
        let gateway = Setup::of(normal_build())
            .env("WHATISUP_WHATSAPP_URL", simulator.url())
            .start()
            .await;
        let instance = gateway.create("guarded").await;
        let error = gateway
            .client
            .get(&instance.path("/qr"))
            .refused(504, "whatsapp_timeout")
            .await;
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("certificate"), "{forged:?}: {message}");
        assert_eq!(error["details"]["reason"], "certificate", "{forged:?}: {error}");
        let reason = instance.get().await["status_reason"].clone();
        assert_eq!(reason["code"], "certificate", "{forged:?}");
        assert!(
            reason["message"].as_str().unwrap().contains("whatsapp.url"),
            "{forged:?}: {reason}"
        );
        let stats = simulator.stats().await;
        assert_eq!(stats["pairing"], 0, "{forged:?}: no code was ever offered");
        if let Some(kind) = forged {
            assert!(stats["faults"][kind].as_u64() >= Some(1), "{kind}: {stats}");
        }
        gateway.client.delete(&instance.path("")).reply(204).await;
    }
}

#[tokio::test]
async fn two_instances_do_not_disturb_each_other() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let other_owner = "5511966660003";
    let (one, two) = (
        gateway.link(&simulator, OWNER).await,
        gateway.link(&simulator, other_owner).await,
    );
    let mut only_two = Stream::open(&gateway.client, &format!("?instance_id={}", two.id)).await;

    let (from_one, from_two) = (one.send(FRIEND, "from one").await, two.send(FRIEND, "from two").await);
    assert_eq!(simulator.gets(FRIEND, "from one").await["id"], *from_one);
    assert_eq!(simulator.gets(FRIEND, "from two").await["id"], *from_two);

    one.act("disconnect").await;
    simulator.send(FRIEND, other_owner, "are you there?").await;
    let heard = only_two.next("message.received").await;
    assert_eq!(heard["body"]["text"], "are you there?");
    assert_eq!(two.get().await["status"], "connected");
    let strangers: Vec<Frame> = only_two
        .frames()
        .into_iter()
        .filter(|frame| frame.data["instance_id"] != *two.id)
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");
    one.settles().await;
    two.settles().await;
}
