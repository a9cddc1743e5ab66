//! What waits for a device waits until the device acknowledges it, across sockets and across restarts.

use serde_json::json;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_simulator::{Options, Simulator};

use crate::client::{Client, Keys, activate, admin, link, log_in, stats, text, until};
use crate::{NUMBER, OTHER, simulator};

/// Everything between becoming active and the end of the backlog: the preview's count and the stanzas.
async fn backlog(client: &mut Client) -> (String, Vec<Node>) {
    activate(client).await;
    let (mut announced, mut stanzas) = ("0".to_owned(), Vec::new());
    loop {
        let node = client.next().await;
        if let Some(preview) = node.get_optional_child("offline_preview") {
            announced = text(preview, "count");
            let batch = NodeBuilder::new("offline_batch").attr("count", "1000").build();
            client.send(&NodeBuilder::new("ib").children([batch]).build()).await;
        } else if node.get_optional_child("offline").is_some() {
            return (announced, stanzas);
        } else if node.tag != "iq" {
            assert_eq!(text(&node, "offline"), "1", "{node:?}");
            stanzas.push(node);
        }
    }
}

fn ids(stanzas: &[Node]) -> Vec<String> {
    stanzas.iter().map(|node| text(node, "id")).collect()
}

/// A linked companion that has uploaded keys and acknowledged the phone's greeting.
pub async fn settled(addr: std::net::SocketAddr) -> (Keys, Client) {
    let keys = link(addr, NUMBER).await;
    let (mut client, _) = log_in(addr, &keys, NUMBER).await;
    assert_eq!(
        text(&client.ask("encrypt", "set", keys.upload(50, false)).await, "type"),
        "result"
    );
    activate(&mut client).await;
    // The keys and the past, all of them queued by the upload of the companion's keys.
    let greetings = stats(addr).await["phones"][0]["companions"][0]["waiting"]
        .as_u64()
        .unwrap();
    assert!(greetings >= 2, "the phone has not greeted its companion");
    for _ in 0..greetings {
        let greeting = client.next_tagged("message").await;
        assert_eq!(text(&greeting, "category"), "peer");
        let receipt = NodeBuilder::new("receipt")
            .attr("id", text(&greeting, "id"))
            .attr("type", "peer_msg");
        client.send(&receipt.attr("to", text(&greeting, "from")).build()).await;
    }
    until(addr, |stats| stats["phones"][0]["companions"][0]["waiting"] == json!(0)).await;
    (keys, client)
}

async fn burst(addr: std::net::SocketAddr, count: usize) -> Vec<String> {
    let path = format!("/admin/mock-phone/burst?from={OTHER}&to={NUMBER}&count={count}&prefix=n");
    let (status, answer) = admin(addr, "POST", &path, "").await;
    assert_eq!(status, 200, "{answer}");
    serde_json::from_value(answer["ids"].clone()).unwrap()
}

#[tokio::test]
async fn unacknowledged_messages_come_again_in_order_and_acknowledged_ones_do_not() {
    let (simulator, addr) = simulator().await;
    let (keys, client) = settled(addr).await;
    drop(client);
    let sent = burst(addr, 300).await;

    let (mut client, _) = log_in(addr, &keys, NUMBER).await;
    let (announced, got) = backlog(&mut client).await;
    assert_eq!((announced.as_str(), ids(&got)), ("300", sent.clone()));

    // One receipt for all but the last three, one ack for the last but one.
    let rest = sent[1..297]
        .iter()
        .map(|id| NodeBuilder::new("item").attr("id", id.as_str()).build());
    let list = NodeBuilder::new("list").children(rest).build();
    let receipt = NodeBuilder::new("receipt")
        .attr("id", sent[0].as_str())
        .attr("to", text(&got[0], "from"));
    client.send(&receipt.children([list]).build()).await;
    let ack = NodeBuilder::new("ack")
        .attr("class", "message")
        .attr("id", sent[298].as_str());
    client.send(&ack.attr("to", text(&got[0], "from")).build()).await;
    until(addr, |stats| {
        stats["phones"][0]["companions"][0]["waiting"] == json!(3 - 1)
    })
    .await;
    drop(client);

    let (mut client, _) = log_in(addr, &keys, NUMBER).await;
    let (announced, got) = backlog(&mut client).await;
    assert_eq!(
        (announced.as_str(), ids(&got)),
        ("2", vec![sent[297].clone(), sent[299].clone()])
    );
    // The writer's phone heard of all 300 from the reader's phone, and of 297 from this companion.
    assert_eq!(stats(addr).await["receiptsToPhones"]["delivered"], json!(300 + 297));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_client_that_never_asks_for_its_backlog_still_gets_it() {
    let (simulator, addr) = simulator().await;
    let (keys, client) = settled(addr).await;
    drop(client);
    let sent = burst(addr, 12).await;
    let (mut client, _) = log_in(addr, &keys, NUMBER).await;
    activate(&mut client).await;
    let mut got = Vec::new();
    while got.len() < sent.len() {
        got.push(text(&client.next_tagged("message").await, "id"));
    }
    assert_eq!(got, sent);
    simulator.shutdown().await;
}

#[tokio::test]
async fn keys_links_and_queues_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(folder.path().to_owned()),
        ..Options::default()
    };
    let first = Simulator::start(options.clone()).await.unwrap();
    let root = admin(first.addr(), "GET", "/admin/root-key", "").await.1;
    let (keys, client) = settled(first.addr()).await;
    drop(client);
    let sent = burst(first.addr(), 7).await;
    let before = stats(first.addr()).await["phones"].clone();
    first.shutdown().await;

    let second = Simulator::start(options).await.unwrap();
    let addr = second.addr();
    assert_eq!(admin(addr, "GET", "/admin/root-key", "").await.1, root);
    let after = stats(addr).await["phones"].clone();
    for (before, after) in before.as_array().unwrap().iter().zip(after.as_array().unwrap()) {
        assert_eq!((&before["lid"], &before["inbox"]), (&after["lid"], &after["inbox"]));
    }
    let (mut client, success) = log_in(addr, &keys, NUMBER).await;
    assert_eq!(success.tag, "success");
    let (_, got) = backlog(&mut client).await;
    assert_eq!(ids(&got), sent);
    second.shutdown().await;
}

#[tokio::test]
async fn phones_write_to_each_other_and_wait_while_offline() {
    let (simulator, addr) = simulator().await;
    let call = async |path: String| admin(addr, "POST", &path, "").await;
    call(format!("/admin/mock-phone/offline?phone={OTHER}")).await;
    for text in ["one", "two"] {
        let (status, _) = call(format!("/admin/mock-phone/send?from={NUMBER}&to={OTHER}&text={text}")).await;
        assert_eq!(status, 200);
    }
    let inbox = format!("/admin/mock-phone/inbox?phone={OTHER}");
    assert_eq!(admin(addr, "GET", &inbox, "").await.1, json!([]));
    let (status, refusal) = call(format!("/admin/mock-phone/send?from={OTHER}&to={NUMBER}&text=no")).await;
    assert_eq!((status, &refusal["error"]), (409, &json!("the phone is offline")));
    call(format!("/admin/mock-phone/online?phone={OTHER}")).await;
    let shown = admin(addr, "GET", &inbox, "").await.1;
    let texts: Vec<_> = shown
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["text"].clone())
        .collect();
    assert_eq!(texts, [json!("one"), json!("two")]);
    assert_eq!(shown[0]["from"], json!(NUMBER));
    simulator.shutdown().await;
}
