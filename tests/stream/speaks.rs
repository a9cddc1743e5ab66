//! What a reader gets while it listens.

use serde_json::json;

use crate::harness::gateway::Setup;
use crate::harness::{FRIEND, Gateway, OWNER, Simulator, Stream};

/// The contract: never more than 26 s between two comments, one every 25.
const KEEPALIVE_SECONDS: u64 = 25;

async fn alone() -> Gateway {
    Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await
}

#[tokio::test]
async fn a_key_in_the_header_and_a_key_in_the_address_open_the_same_stream() {
    let gateway = alone().await;
    let instance = gateway.create("one").await;
    let query = format!("?token={}", gateway.client.key());
    let (mut header, mut token) = (
        Stream::open(&gateway.client, "").await,
        Stream::open(&gateway.client.without_key(), &query).await,
    );
    instance.act("connect").await;
    let (one, two) = (
        header.next("instance.status").await,
        token.next("instance.status").await,
    );
    assert_eq!(one, two);
    for field in ["event", "instance_id", "event_id", "api_version", "occurred_at"] {
        assert!(one[field].is_string(), "{field}: {one}");
    }
    gateway.client.delete(&instance.path("")).reply(204).await;
}

#[tokio::test]
async fn filters_are_applied_by_the_server() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let (one, two) = (
        gateway.link(&simulator, OWNER).await,
        gateway.link(&simulator, "5511966660003").await,
    );
    let mut by_instance = Stream::open(&gateway.client, &format!("?instance_id={}", two.id)).await;
    let mut by_name = Stream::open(&gateway.client, "?events=message.received,message.read").await;
    let query = format!("?instance_id={}&events=message.received", one.id);
    let mut by_both = Stream::open(&gateway.client, &query).await;
    let bound = gateway.as_key(&json!({"name": "bound", "instance_id": one.id})).await;
    let mut by_key = Stream::open(&bound, "").await;

    simulator.send(FRIEND, OWNER, "to one").await;
    simulator.send(FRIEND, "5511966660003", "to two").await;
    one.send(FRIEND, "from one").await;
    by_key.next("message.delivered").await;
    by_both.next("message.received").await;
    by_instance.next("message.received").await;
    by_name.count("both texts", 2, |_| true).await;
    one.settles().await;

    assert!(
        by_instance
            .frames()
            .iter()
            .all(|frame| frame.data["instance_id"] == *two.id)
    );
    assert!(by_name.frames().iter().all(|frame| frame.name() == "message.received"));
    assert_eq!(by_both.frames().len(), 1);
    assert!(by_key.frames().iter().all(|frame| frame.data["instance_id"] == *one.id));
}

#[tokio::test]
async fn a_comment_comes_every_25_seconds_with_traffic_and_without() {
    let gateway = alone().await;
    let instance = gateway.create("one").await;
    let mut stream = gateway.events().await;
    for round in 0..4 {
        if round % 2 == 1 {
            instance.act("connect").await;
            instance.act("disconnect").await;
            stream.next("instance.status").await;
        }
        let before = stream.comments();
        gateway.advance(KEEPALIVE_SECONDS).await;
        stream.comment_after(before).await;
    }
    gateway.client.delete(&instance.path("")).reply(204).await;
}

#[tokio::test]
async fn the_first_bytes_go_out_at_once() {
    let gateway = alone().await;
    let mut stream = gateway.events().await;
    // Nothing happens, and yet something came: a browser calls the stream open, a proxy passes it on.
    stream.comment_after(0).await;
    assert!(stream.frames().is_empty());
}
