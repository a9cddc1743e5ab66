//! How a stream ends: revocation, shutdown, a reader that does not keep up.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use serde_json::json;

use crate::harness::gateway::Setup;
use crate::harness::{FRIEND, Gateway, OWNER, Simulator, Stream, eventually};

#[tokio::test]
async fn revoking_a_key_ends_its_streams_and_no_other() {
    let gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    let key = gateway.new_key(&json!({"name": "watcher"})).await;
    let watcher = gateway.client.with_key(key["secret"].as_str().unwrap());
    let (by_header, by_address) = (
        Stream::open(&watcher, "").await,
        Stream::open(&watcher, &format!("?token={}", watcher.key())).await,
    );
    let other = gateway.events().await;
    let path = format!("/v1/api-keys/{}", key["id"].as_str().unwrap());
    gateway.client.delete(&path).reply(204).await;
    by_header.ended().await;
    by_address.ended().await;
    assert!(!other.is_over());
    watcher.get("/v1/events").refused(401, "auth_invalid").await;
}

#[tokio::test]
async fn an_expiring_key_takes_its_streams_along() {
    let gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    let client = gateway
        .as_key(&json!({"name": "for an hour", "expires_at": gateway.in_an_hour().await}))
        .await;
    let stream = Stream::open(&client, "").await;
    gateway.advance(3601).await;
    stream.ended().await;
}

#[tokio::test]
async fn a_key_has_so_many_streams_and_a_closed_one_frees_its_place() {
    let gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat")
        .env("WHATISUP_LIMITS_MAX_STREAMS_PER_KEY", "2")
        .start()
        .await;
    let by_header = gateway.events().await;
    let query = format!("?token={}", gateway.client.key());
    let by_address = Stream::open(&gateway.client.without_key(), &query).await;
    let ways = [
        (gateway.client.clone(), ""),
        (gateway.client.without_key(), query.as_str()),
    ];
    for (client, query) in ways {
        let refused = client.get(&format!("/v1/events{query}")).reply(429).await;
        assert_eq!(refused.json["error"]["code"], "too_many_streams");
        let wait: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    // Another key has places of its own.
    let other = gateway.as_key(&json!({"name": "other"})).await;
    let others = Stream::open(&other, "").await;

    drop(by_header);
    eventually("the gateway to notice that the reader is gone", async || {
        let limits = gateway.client.get("/v1/limits").returns(200).await;
        (limits["streams"]["open"] == 1).then_some(())
    })
    .await;
    let again = gateway.events().await;
    gateway.client.get("/v1/events").refused(429, "too_many_streams").await;
    assert!(!by_address.is_over() && !others.is_over() && !again.is_over());
}

#[tokio::test]
async fn a_shutdown_ends_streams_cleanly_and_is_not_held_up_by_them() {
    let mut gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    let streams = [gateway.events().await, gateway.events().await];
    gateway.terminate();
    for stream in streams {
        stream.ended().await;
    }
    assert!(gateway.ended().await.success());
}

#[tokio::test]
async fn a_reader_that_does_not_keep_up_is_cut_and_resumes_without_loss() {
    const TEXT_BYTES: usize = 60_000;
    const MESSAGES: usize = 200;
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut quick = Stream::open(&gateway.client, "?events=message.received").await;

    // A reader with a small window that reads nothing: what the kernel takes is bounded, the rest must wait.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let address = gateway.client.base().strip_prefix("http://").unwrap().parse().unwrap();
    let mut slow = socket.connect(address).await.unwrap();
    // HTTP/1.0, so that no chunk sizes stand between the frames.
    let request = format!(
        "GET /v1/events?events=message.received HTTP/1.0\r\nHost: gateway\r\nAuthorization: Bearer {}\r\n\r\n",
        gateway.client.key()
    );
    slow.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 15];
    slow.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.0 200 OK");

    let text = "x".repeat(TEXT_BYTES);
    for index in 0..MESSAGES {
        simulator.send(FRIEND, OWNER, &format!("{index} {text}")).await;
    }
    quick.count("everything, on the quick stream", MESSAGES, |_| true).await;

    let mut rest = Vec::new();
    crate::harness::wait::within("the end of the slow stream", slow.read_to_end(&mut rest))
        .await
        .ok();
    let got = String::from_utf8_lossy(&rest);
    let last = got
        .split("\n\n")
        .filter(|frame| frame.contains("data: ") && frame.ends_with('}'))
        .filter_map(|frame| {
            frame
                .lines()
                .find_map(|line| line.split_once("id: ").map(|(_, id)| id.to_owned()))
        })
        .last();
    let all: Vec<String> = quick.frames().iter().filter_map(|frame| frame.id.clone()).collect();
    let place = last
        .as_ref()
        .map_or(0, |last| all.iter().position(|id| id == last).unwrap() + 1);
    assert!(place < all.len(), "the slow reader was not cut");
    if let Some(last) = last {
        let mut resumed = Stream::resume(&gateway.client, "?events=message.received", Some(&last)).await;
        resumed.count("the rest", all.len() - place, |_| true).await;
        let ids: Vec<String> = resumed.frames().iter().filter_map(|frame| frame.id.clone()).collect();
        assert_eq!(ids, all[place..]);
    }
    eventually("the instance to be as before", async || {
        (instance.get().await["status"] == "connected").then_some(())
    })
    .await;
}
