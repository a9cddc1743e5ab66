//! Messages to many: who gets which ciphertext, and how writers, readers and phones deal with each other.
//!
//! This client has no Signal of its own, so what it sends is opaque here; phones among themselves encrypt and decrypt
//! for real, and clients with their own Signal are tested by the gateway's tests and by the foreign suite.

use std::net::SocketAddr;

use serde_json::{Value, json};
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_simulator::{Options, Simulator};

use crate::client::{Client, admin, content, text, until};
use crate::groups::{THIRD, deed, member};
use crate::{NUMBER, OTHER, simulator};

async fn group_of(addr: SocketAddr, owner: &str, members: &[&str]) -> String {
    for number in members {
        admin(addr, "GET", &format!("/admin/mock-phone/inbox?phone={number}"), "").await;
    }
    let made = deed(
        addr,
        json!({"phone": owner, "action": "create", "subject": "Lunch", "participants": members}),
    )
    .await;
    made["jid"].as_str().unwrap().to_owned()
}

async fn send(addr: SocketAddr, from: &str, to: &str, text: &str) -> String {
    let path = format!("/admin/mock-phone/send?from={from}&to={to}&text={text}");
    let (status, answer) = admin(addr, "POST", &path, "").await;
    assert_eq!(status, 200, "{answer}");
    answer["id"].as_str().unwrap().to_owned()
}

async fn inbox(addr: SocketAddr, phone: &str) -> Vec<Value> {
    let inbox = admin(addr, "GET", &format!("/admin/mock-phone/inbox?phone={phone}"), "")
        .await
        .1;
    inbox.as_array().unwrap().clone()
}

/// What a phone shows as (writer, chat, text), readable or not.
async fn shown(addr: SocketAddr, phone: &str) -> Vec<(String, String, Option<String>)> {
    let entries = inbox(addr, phone).await;
    let word = |value: &Value| value.as_str().map(str::to_owned);
    entries
        .iter()
        .map(|entry| {
            let from = word(&entry["from"]).unwrap();
            (from, word(&entry["group"]).unwrap_or_default(), word(&entry["text"]))
        })
        .collect()
}

fn line(from: &str, group: &str, text: &str) -> (String, String, Option<String>) {
    (from.to_owned(), group.to_owned(), Some(text.to_owned()))
}

fn enc(kind: &str, bytes: &[u8]) -> Node {
    NodeBuilder::new("enc")
        .attr("v", "2")
        .attr("type", kind)
        .bytes(bytes)
        .build()
}

fn message(to: &str, id: &str, children: Vec<Node>) -> NodeBuilder {
    NodeBuilder::new("message")
        .attr("to", to)
        .attr("id", id)
        .attr("type", "text")
        .children(children)
}

/// Sends a message and gives the server's acknowledgement.
async fn acknowledged(client: &mut Client, message: NodeBuilder) -> Node {
    client.send(&message.build()).await;
    loop {
        let ack = client.next_tagged("ack").await;
        if text(&ack, "class") == "message" {
            return ack;
        }
    }
}

/// The next message that is not from the client's own phone.
async fn arrived(client: &mut Client, id: &str) -> Node {
    loop {
        let message = client.next_tagged("message").await;
        if text(&message, "id") == id {
            return message;
        }
    }
}

fn kinds(message: &Node) -> Vec<String> {
    message
        .get_children_by_tag("enc")
        .map(|enc| text(enc, "type"))
        .collect()
}

#[tokio::test]
async fn a_clients_group_message_reaches_every_other_device_with_its_own_sender_key() {
    let (simulator, addr) = simulator().await;
    let (_, mut writer) = member(addr, NUMBER).await;
    let (_, mut reader) = member(addr, OTHER).await;
    let group = group_of(addr, NUMBER, &[OTHER]).await;

    let key = NodeBuilder::new("to")
        .attr("jid", format!("{OTHER}:1@s.whatsapp.net"))
        .children([enc("msg", b"key")])
        .build();
    let keys = NodeBuilder::new("participants").children([key]).build();
    let meta = NodeBuilder::new("meta").attr("polltype", "creation").build();
    let sent = message(&group, "M1", vec![keys, enc("skmsg", b"sealed"), meta]).attr("phash", "2:wrong");
    let ack = acknowledged(&mut writer, sent).await;
    assert_eq!(
        (text(&ack, "from"), text(&ack, "error")),
        (group.clone(), String::new())
    );
    let right = text(&ack, "phash");
    assert!(
        right.starts_with("2:"),
        "a list of devices that differs is answered with ours: {ack:?}"
    );

    let got = arrived(&mut reader, "M1").await;
    assert_eq!(text(&got, "from"), group);
    assert_eq!(text(&got, "participant_pn"), format!("{NUMBER}@s.whatsapp.net"));
    assert_eq!(
        (text(&got, "addressing_mode").as_str(), kinds(&got)),
        ("lid", vec!["msg".to_owned(), "skmsg".to_owned()])
    );
    assert!(text(&got, "participant").ends_with(":1@lid"), "{got:?}");
    let opaque: Vec<Vec<u8>> = got.get_children_by_tag("enc").map(content).collect();
    assert_eq!(opaque, [b"key".to_vec(), b"sealed".to_vec()]);
    assert!(got.get_optional_child("meta").is_some());

    // Both phones cannot read that and ask the writing device again, by name.
    let retry = loop {
        let receipt = writer.next_tagged("receipt").await;
        if text(&receipt, "id") == "M1" && text(&receipt, "participant_pn") == format!("{OTHER}@s.whatsapp.net") {
            break receipt;
        }
    };
    assert_eq!(
        (text(&retry, "from"), text(&retry, "type").as_str()),
        (group.clone(), "retry")
    );
    assert!(retry.get_optional_child("keys").is_some());

    let ack = acknowledged(
        &mut writer,
        message(&group, "M2", vec![enc("skmsg", b"again")]).attr("phash", right),
    )
    .await;
    assert_eq!(
        (text(&ack, "phash"), text(&ack, "error")),
        (String::new(), String::new())
    );
    assert_eq!(kinds(&arrived(&mut reader, "M2").await), ["skmsg"]);

    simulator.shutdown().await;
}

#[tokio::test]
async fn a_repetition_goes_to_the_device_that_asked_and_to_no_other() {
    let (simulator, addr) = simulator().await;
    let (_, mut writer) = member(addr, NUMBER).await;
    let (_, mut reader) = member(addr, OTHER).await;
    let (_, mut third) = member(addr, THIRD).await;
    let group = group_of(addr, NUMBER, &[OTHER, THIRD]).await;
    acknowledged(&mut writer, message(&group, "M1", vec![enc("skmsg", b"sealed")])).await;
    let first = arrived(&mut reader, "M1").await;
    arrived(&mut third, "M1").await;

    let retry = NodeBuilder::new("retry")
        .attr("count", "1")
        .attr("id", "M1")
        .attr("t", "1")
        .attr("v", "1")
        .build();
    let receipt = NodeBuilder::new("receipt")
        .attr("id", "M1")
        .attr("type", "retry")
        .attr("to", text(&first, "from"))
        .attr("participant", text(&first, "participant"));
    reader.send(&receipt.children([retry]).build()).await;
    let asked = loop {
        let receipt = writer.next_tagged("receipt").await;
        if text(&receipt, "participant").ends_with(":1@lid") {
            break receipt;
        }
    };
    assert_eq!(
        (text(&asked, "from"), text(&asked, "type").as_str()),
        (group.clone(), "retry")
    );
    let again = message(&group, "M1", vec![enc("msg", b"for you")]).attr("participant", text(&asked, "participant"));
    acknowledged(&mut writer, again).await;
    let got = arrived(&mut reader, "M1").await;
    assert_eq!(kinds(&got), ["msg"]);

    // The third gets the next message, not the repetition.
    acknowledged(&mut writer, message(&group, "M2", vec![enc("skmsg", b"next")])).await;
    let next = third.next_tagged("message").await;
    assert_eq!(text(&next, "id"), "M2");
    simulator.shutdown().await;
}

#[tokio::test]
async fn receipts_go_to_the_writer_and_name_the_reader() {
    let (simulator, addr) = simulator().await;
    let (_, mut writer) = member(addr, NUMBER).await;
    let (_, mut reader) = member(addr, OTHER).await;
    let group = group_of(addr, NUMBER, &[OTHER]).await;
    for id in ["M1", "M2"] {
        acknowledged(&mut writer, message(&group, id, vec![enc("skmsg", b"sealed")])).await;
    }
    let first = arrived(&mut reader, "M1").await;
    arrived(&mut reader, "M2").await;
    let item = NodeBuilder::new("item").attr("id", "M2").build();
    let list = NodeBuilder::new("list").children([item]).build();
    let receipt = NodeBuilder::new("receipt")
        .attr("id", "M1")
        .attr("type", "read")
        .attr("to", text(&first, "from"))
        .attr("participant", text(&first, "participant"));
    reader.send(&receipt.children([list]).build()).await;
    let ack = reader.next_tagged("ack").await;
    assert_eq!(
        (text(&ack, "class").as_str(), text(&ack, "participant")),
        ("receipt", text(&first, "participant"))
    );
    let read = loop {
        let receipt = writer.next_tagged("receipt").await;
        if text(&receipt, "type") == "read" {
            break receipt;
        }
    };
    assert_eq!((text(&read, "from"), text(&read, "id").as_str()), (group, "M1"));
    assert_eq!(text(&read, "participant_pn"), format!("{OTHER}@s.whatsapp.net"));
    assert!(text(&read, "participant").ends_with(":1@lid"));
    assert!(read.get_optional_child("list").is_some(), "all of them");
    simulator.shutdown().await;
}

#[tokio::test]
async fn who_may_not_write_to_a_group_is_refused() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = member(addr, NUMBER).await;
    let group = group_of(addr, OTHER, &[]).await;
    let refusal = async |client: &mut Client, message| text(&acknowledged(client, message).await, "error");
    let sealed = |to: &str| message(to, "M1", vec![enc("skmsg", b"sealed")]);
    assert_eq!(refusal(&mut client, sealed("120363999999999999@g.us")).await, "404");
    assert_eq!(refusal(&mut client, sealed(&group)).await, "403");
    deed(
        addr,
        json!({"phone": OTHER, "action": "add", "group": group, "participants": [NUMBER]}),
    )
    .await;
    assert_eq!(refusal(&mut client, sealed(&group)).await, "");
    assert_eq!(
        refusal(&mut client, sealed(&group).attr("addressing_mode", "pn")).await,
        "421"
    );
    assert_eq!(refusal(&mut client, message(&group, "M1", vec![])).await, "479");
    deed(
        addr,
        json!({"phone": OTHER, "action": "settings", "group": group, "announce": true}),
    )
    .await;
    assert_eq!(refusal(&mut client, sealed(&group)).await, "403");
    deed(
        addr,
        json!({"phone": OTHER, "action": "promote", "group": group, "participants": [NUMBER]}),
    )
    .await;
    assert_eq!(refusal(&mut client, sealed(&group)).await, "");
    simulator.shutdown().await;
}

#[tokio::test]
async fn phones_talk_in_a_group_and_those_who_are_out_hear_no_more() {
    let (simulator, addr) = simulator().await;
    let group = group_of(addr, NUMBER, &[OTHER]).await;
    send(addr, NUMBER, &group, "one").await;
    let answer = send(addr, OTHER, &group, "two").await;
    assert_eq!(shown(addr, OTHER).await, [line(NUMBER, &group, "one")]);
    assert_eq!(shown(addr, NUMBER).await, [line(OTHER, &group, "two")]);
    let read = format!("/admin/mock-phone/read?phone={NUMBER}&id={answer}");
    assert_eq!(admin(addr, "POST", &read, "").await.0, 200);
    let counted = until(addr, |stats| stats["receiptsToPhones"]["read"] == json!(1)).await;
    assert_eq!(counted["receiptsToPhones"]["delivered"], json!(2));

    // A newcomer reads from now on, not what was before.
    admin(addr, "GET", &format!("/admin/mock-phone/inbox?phone={THIRD}"), "").await;
    deed(
        addr,
        json!({"phone": NUMBER, "action": "add", "group": group, "participants": [THIRD]}),
    )
    .await;
    send(addr, NUMBER, &group, "three").await;
    assert_eq!(shown(addr, THIRD).await, [line(NUMBER, &group, "three")]);

    deed(
        addr,
        json!({"phone": NUMBER, "action": "remove", "group": group, "participants": [OTHER]}),
    )
    .await;
    send(addr, NUMBER, &group, "four").await;
    assert_eq!(shown(addr, OTHER).await.len(), 2, "one and three");
    assert_eq!(
        shown(addr, THIRD).await.last(),
        Some(&line(NUMBER, &group, "four")),
        "with a new key"
    );
    let path = format!("/admin/mock-phone/send?from={OTHER}&to={group}&text=hello");
    let (status, refusal) = admin(addr, "POST", &path, "").await;
    assert!(
        status == 409 && refusal["error"].as_str().unwrap().contains("not in the group"),
        "{refusal}"
    );
    assert_eq!(until(addr, |_| true).await["undecryptable"], json!(0));
    simulator.shutdown().await;
}

#[tokio::test]
async fn sender_keys_of_phones_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(folder.path().to_owned()),
        ..Options::default()
    };
    let first = Simulator::start(options.clone()).await.unwrap();
    let group = group_of(first.addr(), NUMBER, &[OTHER, THIRD]).await;
    send(first.addr(), NUMBER, &group, "before").await;
    first.shutdown().await;
    let second = Simulator::start(options).await.unwrap();
    let addr = second.addr();
    send(addr, NUMBER, &group, "after").await;
    for phone in [OTHER, THIRD] {
        assert_eq!(
            shown(addr, phone).await,
            [line(NUMBER, &group, "before"), line(NUMBER, &group, "after")]
        );
    }
    assert_eq!(until(addr, |_| true).await["undecryptable"], json!(0));
    second.shutdown().await;
}

#[tokio::test]
async fn a_status_reaches_those_the_phone_knows_and_a_reader_is_told() {
    let (simulator, addr) = simulator().await;
    admin(addr, "GET", &format!("/admin/mock-phone/inbox?phone={THIRD}"), "").await;
    send(addr, OTHER, NUMBER, "hello").await;
    let id = send(addr, NUMBER, "status@broadcast", "on%20holiday").await;
    assert_eq!(
        shown(addr, OTHER).await,
        [line(NUMBER, "status@broadcast", "on holiday")]
    );
    assert!(shown(addr, THIRD).await.is_empty(), "a stranger sees nothing");
    let read = format!("/admin/mock-phone/read?phone={OTHER}&id={id}");
    assert_eq!(admin(addr, "POST", &read, "").await.0, 200);
    until(addr, |stats| stats["receiptsToPhones"]["read"] == json!(1)).await;
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_clients_status_reaches_whom_it_names() {
    let (simulator, addr) = simulator().await;
    let (_, mut writer) = member(addr, NUMBER).await;
    let (_, mut reader) = member(addr, OTHER).await;
    let (_, mut third) = member(addr, THIRD).await;
    let privacy = writer
        .ask("status", "get", vec![NodeBuilder::new("privacy").build()])
        .await;
    assert!(
        privacy
            .get_optional_child("privacy")
            .unwrap()
            .get_optional_child("list")
            .is_some()
    );

    let named = NodeBuilder::new("to")
        .attr("jid", format!("{OTHER}@s.whatsapp.net"))
        .build();
    let named = NodeBuilder::new("participants").children([named]).build();
    let status = message("status@broadcast", "S1", vec![named.clone(), enc("skmsg", b"sealed")]);
    assert_eq!(text(&acknowledged(&mut writer, status).await, "error"), "");
    let got = arrived(&mut reader, "S1").await;
    assert_eq!(
        (text(&got, "from").as_str(), kinds(&got)),
        ("status@broadcast", vec!["skmsg".to_owned()])
    );
    assert_eq!(text(&got, "participant_pn"), format!("{NUMBER}@s.whatsapp.net"));
    let revoke = message("status@broadcast", "S2", vec![named, enc("skmsg", b"revoked")]).attr("edit", "7");
    acknowledged(&mut writer, revoke).await;
    assert_eq!(text(&arrived(&mut reader, "S2").await, "edit"), "7");

    let read = NodeBuilder::new("receipt")
        .attr("id", "S1")
        .attr("type", "read")
        .attr("to", "status@broadcast")
        .attr("participant", text(&got, "participant"));
    reader.send(&read.build()).await;
    let told = loop {
        let receipt = writer.next_tagged("receipt").await;
        if text(&receipt, "type") == "read" {
            break receipt;
        }
    };
    assert_eq!(
        (text(&told, "from").as_str(), text(&told, "id").as_str()),
        ("status@broadcast", "S1")
    );

    // Whoever is not named gets the next thing meant for it, and no status.
    let id = send(addr, OTHER, THIRD, "hello").await;
    assert_eq!(text(&third.next_tagged("message").await, "id"), id);
    simulator.shutdown().await;
}
