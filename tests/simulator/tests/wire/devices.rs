//! Several companions on one account: each is told of the others, the signed list names exactly those that are valid,
//! and removing one leaves the rest.

use std::net::SocketAddr;

use serde_json::json;
use whatsapp_rust::buffa::Message as _;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::waproto::whatsapp as wa;

use crate::client::{
    Client, Keys, activate, admin, content, link, link_another, log_in, log_in_as, register, text, until,
};
use crate::xeddsa::verifies;
use crate::{NUMBER, OTHER, simulator};

/// The signed list of a `<key-index-list>`, its signature checked by foreign code.
fn signed_list(node: &Node) -> wa::ADVKeyIndexList {
    let signed = wa::ADVSignedKeyIndexList::decode_from_slice(&content(node)).unwrap();
    let details = signed.details.unwrap();
    assert!(verifies(
        &signed.account_signature_key.unwrap(),
        &[&[6, 2], &details[..]].concat(),
        &signed.account_signature.unwrap(),
    ));
    let list = wa::ADVKeyIndexList::decode_from_slice(&details).unwrap();
    assert_eq!(list.timestamp.unwrap().to_string(), text(node, "ts"));
    list
}

/// A client that has uploaded keys and wants everything.
async fn active(addr: SocketAddr, keys: &Keys, number: &str, device: u32) -> Client {
    let (mut client, success) = log_in_as(addr, keys, number, device).await;
    assert_eq!(success.tag, "success");
    let answer = client.ask("encrypt", "set", keys.upload(20, false)).await;
    assert_eq!(text(&answer, "type"), "result");
    activate(&mut client).await;
    client
}

/// The next news about an account's devices: what happened, the device, the signed list if one came along.
async fn news(client: &mut Client) -> (String, String, Node) {
    loop {
        let node = client.next_tagged("notification").await;
        if text(&node, "type") == "devices" {
            let change = node.children().unwrap()[0].clone();
            let device = change.get_optional_child("device").unwrap();
            let list = change.get_optional_child("key-index-list").unwrap().clone();
            return (change.tag.to_string(), text(device, "jid"), list);
        }
    }
}

/// What a client learns when it asks for an account's devices: device and key index, and the signed list.
async fn devices(client: &mut Client, number: &str) -> (Vec<(String, String)>, wa::ADVKeyIndexList) {
    let user = NodeBuilder::new("user").attr("jid", format!("{number}@s.whatsapp.net"));
    let usync = NodeBuilder::new("usync").attr("sid", "1").children([
        NodeBuilder::new("query")
            .children([NodeBuilder::new("devices").build()])
            .build(),
        NodeBuilder::new("list").children([user.build()]).build(),
    ]);
    let answer = client.ask("usync", "get", vec![usync.build()]).await;
    let path = ["usync", "list", "user", "devices"];
    let devices = path
        .iter()
        .fold(&answer, |node, tag| node.get_optional_child(tag).unwrap());
    let listed = devices.get_optional_child("device-list").unwrap();
    let listed = listed.get_children_by_tag("device");
    let listed = listed
        .map(|device| (text(device, "id"), text(device, "key-index")))
        .collect();
    (
        listed,
        signed_list(devices.get_optional_child("key-index-list").unwrap()),
    )
}

fn pair(device: &str, index: &str) -> (String, String) {
    (device.to_owned(), index.to_owned())
}

#[tokio::test]
async fn the_others_are_told_when_a_companion_comes_and_goes_and_the_signed_list_follows() {
    let (simulator, addr) = simulator().await;
    let (watching, first) = (link(addr, OTHER).await, link(addr, NUMBER).await);
    let mut watcher = active(addr, &watching, OTHER, 1).await;
    let mut one = active(addr, &first, NUMBER, 1).await;
    let (listed, list) = devices(&mut watcher, NUMBER).await;
    assert_eq!(listed, [pair("0", ""), pair("1", "1")]);
    assert_eq!((list.valid_indexes, list.current_index), (vec![1], Some(1)));

    let (second, device) = link_another(addr, NUMBER).await;
    assert_eq!(device, 2);
    for client in [&mut watcher, &mut one] {
        let (change, jid, added) = news(client).await;
        assert_eq!((change.as_str(), jid), ("add", format!("{NUMBER}:2@s.whatsapp.net")));
        assert_eq!(signed_list(&added).valid_indexes, [1, 2]);
    }
    let mut two = active(addr, &second, NUMBER, 2).await;

    let (status, _) = admin(
        addr,
        "POST",
        &format!("/admin/mock-phone/unlink?phone={NUMBER}&device=1"),
        "",
    )
    .await;
    assert_eq!(status, 200);
    for client in [&mut watcher, &mut two] {
        let (change, jid, removed) = news(client).await;
        assert_eq!((change.as_str(), jid), ("remove", format!("{NUMBER}:1@s.whatsapp.net")));
        assert!(content(&removed).is_empty());
        assert!(
            text(&removed, "ts").parse::<u64>().unwrap() > list.timestamp.unwrap() + 1,
            "each change has its own date"
        );
    }
    assert_eq!(one.next_tagged("stream:error").await.tag, "stream:error");
    assert_eq!(
        text(&two.ask("w:p", "get", vec![]).await, "type"),
        "result",
        "the other stays"
    );
    assert_eq!(text(&log_in(addr, &first, NUMBER).await.1, "reason"), "401");
    let (listed, list) = devices(&mut watcher, NUMBER).await;
    assert_eq!(listed, [pair("0", ""), pair("2", "2")]);
    assert_eq!((list.valid_indexes, list.current_index), (vec![2], Some(2)));

    // A new link gets a new device and a new index, never those of a removed one.
    assert_eq!(link_another(addr, NUMBER).await.1, 3);
    assert_eq!(devices(&mut watcher, NUMBER).await.1.valid_indexes, [2, 3]);
    simulator.shutdown().await;
}

#[tokio::test]
async fn what_a_phone_writes_reaches_every_companion_of_the_other_account() {
    let (simulator, addr) = simulator().await;
    let first = link(addr, NUMBER).await;
    let (second, _) = link_another(addr, NUMBER).await;
    let mut clients = [
        active(addr, &first, NUMBER, 1).await,
        active(addr, &second, NUMBER, 2).await,
    ];
    let (status, sent) = admin(
        addr,
        "POST",
        &format!("/admin/mock-phone/send?from={OTHER}&to={NUMBER}&text=to%20all"),
        "",
    )
    .await;
    assert_eq!(status, 200, "{sent}");
    for client in &mut clients {
        let message = loop {
            let message = client.next_tagged("message").await;
            if text(&message, "category").is_empty() {
                break message;
            }
        };
        assert_eq!(text(&message, "id"), sent["id"].as_str().unwrap());
        assert!(message.get_optional_child("enc").is_some());
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_phone_has_four_companions_and_no_more_until_one_is_removed() {
    let (simulator, addr) = simulator().await;
    for _ in 0..4 {
        link_another(addr, NUMBER).await;
    }
    let keys = Keys::fresh();
    let mut client = Client::xx(addr, &keys.noise, &keys.registration()).await;
    let qr = crate::client::qr(&client.next().await, &keys);
    let path = format!("/admin/mock-phone/scan-qr?phone={NUMBER}");
    let (status, answer) = admin(addr, "POST", &path, &qr).await;
    assert!(
        status == 409 && answer["error"].as_str().unwrap().contains("unlink one"),
        "{answer}"
    );
    admin(
        addr,
        "POST",
        &format!("/admin/mock-phone/unlink?phone={NUMBER}&device=2"),
        "",
    )
    .await;
    let granted = register(addr, &keys, NUMBER).await;
    assert_eq!(granted.answer(&keys, false).await.1.0, 200);
    let phones = until(addr, |seen| seen["links"] == json!(5)).await["phones"].clone();
    assert_eq!(phones[0]["companions"].as_array().unwrap().len(), 4);
    simulator.shutdown().await;
}
