//! Every fault strikes where its manual says, does what it says, and counts.

use std::net::SocketAddr;

use serde_json::{Value, json};
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use crate::client::{Client, Keys, activate, admin, fresh_pair, link, log_in, register, stats, text, until};
use crate::queues::settled;
use crate::{NUMBER, OTHER, simulator};

/// Plants a fault; gives its id.
async fn plant(addr: SocketAddr, fault: Value) -> u64 {
    let (status, answer) = admin(addr, "POST", "/admin/fault", &fault.to_string()).await;
    assert_eq!(status, 200, "{fault}: {answer}");
    answer["id"].as_u64().unwrap()
}

/// How often a fault struck that does not wait any more.
async fn struck(addr: SocketAddr, id: u64) -> u64 {
    let (_, faults) = admin(addr, "GET", "/admin/fault", "").await;
    let spent = faults["spent"].as_array().unwrap();
    let fault = spent.iter().find(|fault| fault["id"] == id);
    fault.unwrap_or_else(|| panic!("{id} still waits: {faults}"))["struck"]
        .as_u64()
        .unwrap()
}

/// A message to the other phone, sealed with nothing it could open.
fn message(id: &str) -> Node {
    let enc = NodeBuilder::new("enc")
        .attr("v", "2")
        .attr("type", "msg")
        .bytes(vec![0x33; 60])
        .build();
    let to = NodeBuilder::new("to")
        .attr("jid", format!("{OTHER}@s.whatsapp.net"))
        .children([enc])
        .build();
    NodeBuilder::new("message")
        .attr("to", format!("{OTHER}@s.whatsapp.net"))
        .attr("id", id)
        .attr("type", "text")
        .children([NodeBuilder::new("participants").children([to]).build()])
        .build()
}

async fn ack_of(client: &mut Client, id: &str) -> Node {
    loop {
        let ack = client.next_tagged("ack").await;
        if text(&ack, "id") == id {
            return ack;
        }
    }
}

async fn ping(client: &mut Client) -> Node {
    client.ask("w:p", "get", vec![NodeBuilder::new("ping").build()]).await
}

async fn other_writes(addr: SocketAddr, text: &str) -> String {
    let path = format!("/admin/mock-phone/send?from={OTHER}&to={NUMBER}&text={text}");
    let (status, answer) = admin(addr, "POST", &path, "").await;
    assert_eq!(status, 200, "{answer}");
    answer["id"].as_str().unwrap().to_owned()
}

async fn inbox(addr: SocketAddr) -> Vec<Value> {
    let path = format!("/admin/mock-phone/inbox?phone={OTHER}");
    admin(addr, "GET", &path, "").await.1.as_array().unwrap().clone()
}

#[tokio::test]
async fn a_socket_is_cut_without_a_word_at_each_stage() {
    let (simulator, addr) = simulator().await;
    let at = |stage: &str| json!({"kind": "drop-socket", "at": stage});

    let fault = plant(addr, at("handshake")).await;
    assert!(!Client::is_answered(addr).await);
    assert_eq!(struck(addr, fault).await, 1);

    let fault = plant(addr, at("register")).await;
    let mut client = Client::xx(addr, &fresh_pair(), &Keys::fresh().registration()).await;
    assert!(client.recv().await.is_none(), "no codes");
    assert_eq!(struck(addr, fault).await, 1);

    let fault = plant(addr, at("linked")).await;
    let keys = Keys::fresh();
    let granted = register(addr, &keys, NUMBER).await;
    assert_eq!(
        granted.answer_and_end(&keys).await.0,
        200,
        "the phone says it is linked"
    );
    assert_eq!(struck(addr, fault).await, 1);

    let fault = plant(addr, at("login")).await;
    let mut client = Client::xx(addr, &keys.noise, &Keys::login(NUMBER, 1)).await;
    assert!(client.recv().await.is_none(), "no success");
    assert_eq!(struck(addr, fault).await, 1);

    admin(addr, "GET", &format!("/admin/mock-phone/inbox?phone={OTHER}"), "").await;
    for (delivers, shown) in [(true, 1), (false, 1)] {
        let (mut client, success) = log_in(addr, &keys, NUMBER).await;
        assert_eq!(success.tag, "success");
        let fault = plant(
            addr,
            json!({"kind": "drop-socket", "at": "message", "deliver": delivers, "phone": NUMBER}),
        )
        .await;
        client.send(&message(if delivers { "ONE" } else { "TWO" })).await;
        while let Some(node) = client.recv().await {
            assert_ne!(node.tag, "ack", "{node:?}");
        }
        assert_eq!(struck(addr, fault).await, 1);
        let seen = inbox(addr).await;
        assert_eq!((seen.len(), &seen[0]["id"]), (shown, &json!("ONE")));
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_phone_whose_client_is_cut_before_the_grant_can_scan_again() {
    let (simulator, addr) = simulator().await;
    plant(addr, json!({"kind": "drop-socket", "at": "scan", "phone": NUMBER})).await;
    let keys = Keys::fresh();
    let mut client = Client::xx(addr, &keys.noise, &keys.registration()).await;
    let qr = crate::client::qr(&client.next().await, &keys);
    let path = format!("/admin/mock-phone/scan-qr?phone={NUMBER}");
    let (status, answer) = admin(addr, "POST", &path, &qr).await;
    assert_eq!(status, 409);
    assert!(
        answer["error"].as_str().unwrap().contains("before it got the grant"),
        "{answer}"
    );
    assert!(client.recv().await.is_none());
    link(addr, NUMBER).await;
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_backlog_that_is_cut_comes_whole_the_next_time() {
    let (simulator, addr) = simulator().await;
    let (keys, client) = settled(addr).await;
    drop(client);
    let mut sent = Vec::new();
    for index in 0..3 {
        sent.push(other_writes(addr, &format!("waits{index}")).await);
    }
    plant(
        addr,
        json!({"kind": "drop-socket", "at": "backlog", "phone": NUMBER, "device": 1}),
    )
    .await;
    let (mut client, _) = log_in(addr, &keys, NUMBER).await;
    activate(&mut client).await;
    let mut first = 0;
    while let Some(node) = client.recv().await {
        assert!(
            node.get_optional_child("offline").is_none(),
            "the end was told: {node:?}"
        );
        first += usize::from(node.tag == "message");
    }
    assert!(first > 0, "the cut comes in the middle");
    let (mut client, _) = log_in(addr, &keys, NUMBER).await;
    activate(&mut client).await;
    for id in sent {
        assert_eq!(text(&client.next_tagged("message").await, "id"), id);
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_dead_socket_looks_connected_until_the_device_comes_back() {
    let (simulator, addr) = simulator().await;
    let (keys, mut dead) = settled(addr).await;
    ping(&mut dead).await;
    plant(addr, json!({"kind": "half-open", "phone": NUMBER})).await;
    dead.ask_only("w:p", "get", vec![NodeBuilder::new("ping").build()])
        .await;
    other_writes(addr, "unheard").await;
    let seen = stats(addr).await;
    assert_eq!(seen["phones"][0]["companions"][0]["connected"], true);
    assert_eq!(seen["socketsOpen"], 1);
    // Nothing of this reached the dead socket: its end is the next that can be read there.
    let (mut client, success) = log_in(addr, &keys, NUMBER).await;
    assert_eq!(success.tag, "success");
    assert!(dead.recv().await.is_none());
    activate(&mut client).await;
    client.next_tagged("message").await;
    until(addr, |stats| stats["socketsOpen"] == 1).await;
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_stream_error_has_the_real_servers_words() {
    let (simulator, addr) = simulator().await;
    let keys = link(addr, NUMBER).await;
    for (fault, code, conflict) in [
        (json!({"code": 515}), "515", None),
        (json!({"conflict": "replaced"}), "", Some("replaced")),
        (json!({"conflict": "device_removed"}), "401", Some("device_removed")),
    ] {
        let (mut client, _) = log_in(addr, &keys, NUMBER).await;
        let mut whole = json!({"kind": "stream-error", "phone": NUMBER, "device": 1});
        whole
            .as_object_mut()
            .unwrap()
            .extend(fault.as_object().unwrap().clone());
        plant(addr, whole).await;
        let error = client.next_tagged("stream:error").await;
        assert_eq!(text(&error, "code"), code);
        let words = error.get_optional_child("conflict").map(|node| text(node, "type"));
        assert_eq!(words.as_deref(), conflict);
        assert!(client.recv().await.is_none());
    }
    // The link was not touched by any of it.
    assert_eq!(log_in(addr, &keys, NUMBER).await.1.tag, "success");
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_refused_login_carries_everything_that_it_was_given() {
    let (simulator, addr) = simulator().await;
    let keys = link(addr, NUMBER).await;
    let given = json!({"kind": "failure", "reason": 402, "code": 104, "expire": 21600, "message": "too many people",
        "url": "https://example.invalid/why", "location": "frc"});
    plant(addr, given.clone()).await;
    let (mut client, failure) = log_in(addr, &keys, NUMBER).await;
    assert_eq!(failure.tag, "failure");
    for name in ["reason", "code", "expire", "message", "url", "location"] {
        let wanted = given[name]
            .as_str()
            .map_or_else(|| given[name].to_string(), str::to_owned);
        assert_eq!(text(&failure, name), wanted, "{name}");
    }
    assert!(client.recv().await.is_none());

    plant(addr, json!({"kind": "failure", "reason": 405, "at": "register"})).await;
    let mut client = Client::xx(addr, &fresh_pair(), &Keys::fresh().registration()).await;
    assert_eq!(text(&client.next().await, "reason"), "405");
    simulator.shutdown().await;
}

#[tokio::test]
async fn messages_are_refused_or_swallowed_for_one_device_alone() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    admin(addr, "GET", &format!("/admin/mock-phone/inbox?phone={OTHER}"), "").await;
    plant(addr, json!({"kind": "nack", "code": 479, "phone": NUMBER, "device": 2})).await;
    client.send(&message("A")).await;
    assert_eq!(
        text(&ack_of(&mut client, "A").await, "error"),
        "",
        "another device's fault"
    );
    let fault = plant(
        addr,
        json!({"kind": "nack", "code": 479, "phone": NUMBER, "device": 1, "times": 2}),
    )
    .await;
    for id in ["B", "C"] {
        client.send(&message(id)).await;
        assert_eq!(text(&ack_of(&mut client, id).await, "error"), "479");
    }
    assert_eq!(struck(addr, fault).await, 2);
    for with in [OTHER, NUMBER] {
        plant(addr, json!({"kind": "nack", "code": 463, "with": "5511900000000"})).await;
        let fault = plant(addr, json!({"kind": "nack", "code": 463, "with": with})).await;
        client.send(&message("R")).await;
        assert_eq!(text(&ack_of(&mut client, "R").await, "error"), "463", "{with}");
        assert_eq!(struck(addr, fault).await, 1);
    }
    plant(addr, json!({"kind": "no-ack", "deliver": false})).await;
    client.send(&message("D")).await;
    client.send(&message("E")).await;
    assert_eq!(text(&client.next_tagged("ack").await, "id"), "E");
    let ids: Vec<Value> = inbox(addr).await.iter().map(|entry| entry["id"].clone()).collect();
    assert_eq!(ids, ["A", "E"]);
    simulator.shutdown().await;
}

#[tokio::test]
async fn messages_come_twice_or_damaged_and_phones_keep_silent_when_told() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    plant(addr, json!({"kind": "duplicate", "phone": NUMBER})).await;
    let id = other_writes(addr, "twice").await;
    let (one, two) = (client.next_tagged("message").await, client.next_tagged("message").await);
    assert_eq!((text(&one, "id"), text(&two, "id")), (id.clone(), id));
    assert_eq!(one.get_optional_child("enc"), two.get_optional_child("enc"));

    // A phone that may not confirm: the writer hears nothing of the reader's phone.
    let heard = stats(addr).await["receiptsToPhones"]["delivered"].clone();
    plant(addr, json!({"kind": "no-receipt", "phone": NUMBER})).await;
    let unconfirmed = other_writes(addr, "unconfirmed").await;
    assert_eq!(stats(addr).await["receiptsToPhones"]["delivered"], heard);
    assert_eq!(text(&client.next_tagged("message").await, "id"), unconfirmed);

    // What is damaged on the way to a phone, that phone asks for again.
    plant(
        addr,
        json!({"kind": "corrupt-ciphertext", "phone": OTHER, "device": 0, "times": "always"}),
    )
    .await;
    let before = stats(addr).await["faults"]["corrupt-ciphertext"].clone();
    client.send(&message("DAMAGED")).await;
    assert_eq!(text(&client.next_tagged("receipt").await, "type"), "retry");
    let after = stats(addr).await["faults"]["corrupt-ciphertext"].clone();
    assert_ne!(before, after);
    simulator.shutdown().await;
}

#[tokio::test]
async fn foreign_keys_are_missing_or_forged_for_those_who_fetch_them() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    let own = format!("{NUMBER}:1@s.whatsapp.net");
    let mut fetched = Vec::new();
    for fault in [
        None,
        Some(json!({"kind": "prekey-404", "phone": NUMBER, "device": 1})),
        Some(json!({"kind": "skey", "phone": NUMBER, "device": 1})),
        Some(json!({"kind": "device-identity", "phone": NUMBER, "device": 1})),
    ] {
        if let Some(fault) = fault {
            plant(addr, fault).await;
        }
        let user = NodeBuilder::new("user").attr("jid", own.as_str()).build();
        let key = NodeBuilder::new("key").children([user]).build();
        let answer = client.ask("encrypt", "get", vec![key]).await;
        let list = answer.get_optional_child("list").unwrap();
        fetched.push(list.get_optional_child("user").unwrap().clone());
    }
    let part = |index: usize, path: &[&str]| {
        let mut node = Some(&fetched[index]);
        for tag in path {
            node = node.and_then(|node| node.get_optional_child(tag));
        }
        node.cloned()
    };
    assert_eq!(text(&part(1, &["error"]).unwrap(), "code"), "404");
    let signature = &["skey", "signature"];
    assert_ne!(part(2, signature), part(0, signature));
    assert_eq!(part(2, &["device-identity"]), part(0, &["device-identity"]));
    assert_ne!(part(3, &["device-identity"]), part(0, &["device-identity"]));
    assert_eq!(part(3, signature), part(0, signature));
    simulator.shutdown().await;
}

#[tokio::test]
async fn late_answers_come_in_order_and_are_counted() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    for kind in ["delay", "slow-socket"] {
        let fault = plant(addr, json!({"kind": kind, "ms": 1, "times": 2, "phone": NUMBER})).await;
        let mut asked = Vec::new();
        for _ in 0..2 {
            asked.push(
                client
                    .ask_only("w:p", "get", vec![NodeBuilder::new("ping").build()])
                    .await,
            );
        }
        for id in asked {
            assert_eq!(text(&client.next_tagged("iq").await, "id"), id);
        }
        assert_eq!(struck(addr, fault).await, 2, "{kind}");
    }
    simulator.shutdown().await;
}
