//! The live stream through a proxy: at once, for as long as it takes, and again after a break.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;

use super::front::{Front, Kind};
use crate::harness::gateway::Setup;
use crate::harness::stream::Frame;
use crate::harness::{Gateway, Instance, Stream, eventually};

/// A comment of the gateway's comes this often …
const KEEPALIVE_SECONDS: u64 = 25;

/// … and the shipped file lets a stream be silent this long. Both are shortened alike where a test lives through it.
const SILENCE: (&str, u64) = ("proxy_read_timeout      60s;", 60);

/// The shortened silence.
const SHORT_SECONDS: u64 = 2;

async fn alone() -> Gateway {
    Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await
}

/// Makes an event happen, and ends what it began.
async fn stir(instance: &Instance) {
    instance.act("connect").await;
    instance.act("disconnect").await;
}

fn ids(frames: &[Frame]) -> Vec<&str> {
    frames.iter().map(|frame| frame.id.as_deref().unwrap()).collect()
}

#[tokio::test]
async fn the_first_bytes_and_each_event_pass_while_the_stream_stays_open() {
    let gateway = alone().await;
    let instance = gateway.create("one").await;
    for kind in [Kind::Nginx, Kind::Caddy] {
        let mut front = Front::start(kind, &gateway, &[]).await;
        let client = front.client(&gateway).await;
        let mut stream = Stream::through_proxy(&client, "", None).await;
        stream.comment_after(0).await;
        assert!(stream.frames().is_empty(), "{kind:?}");
        instance.act("connect").await;
        let event = stream.next("instance.status").await;
        assert_eq!(event["instance_id"], *instance.id, "{kind:?}");
        instance.act("disconnect").await;
        stream.next("instance.status").await;
        assert!(!stream.is_over(), "{kind:?}");
    }
    gateway.client.delete(&instance.path("")).reply(204).await;
}

#[tokio::test]
async fn where_nginx_buffers_the_gateways_own_header_lets_the_stream_pass_and_nothing_else_would() {
    let gateway = alone().await;
    let on = ("proxy_buffering         off;", "proxy_buffering on;");
    let mut front = Front::nginx(&gateway, &[on]).await;
    let client = front.client(&gateway).await;
    Stream::through_proxy(&client, "", None).await.comment_after(0).await;

    // What it looks like when the header is not heard: whatever the gateway says to others stays in nginx here.
    let deaf = (
        "proxy_buffering         off;",
        "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;",
    );
    let mut front = Front::nginx(&gateway, &[deaf]).await;
    let client = front.client(&gateway).await;
    let mut direct = gateway.events().await;
    let buffered = tokio::spawn(async move { Stream::through_proxy(&client, "", None).await.comment_after(0).await });
    eventually("both streams at the gateway", async || {
        let system = gateway.client.get("/v1/system").returns(200).await;
        (system["streams_open"] == 2).then_some(())
    })
    .await;
    for _ in 0..20 {
        let before = direct.comments();
        gateway.advance(KEEPALIVE_SECONDS).await;
        direct.comment_after(before).await;
    }
    assert!(!buffered.is_finished(), "nginx has kept none of it");
    buffered.abort();
}

#[tokio::test]
async fn an_idle_stream_outlives_the_proxys_timeout_thanks_to_the_comments_and_not_without() {
    let short = format!("proxy_read_timeout {SHORT_SECONDS}s;");
    let changes = [(SILENCE.0, short.as_str())];
    let (gateway, silent) = (alone().await, alone().await);
    let mut front = Front::nginx(&gateway, &changes).await;
    let mut silent_front = Front::nginx(&silent, &changes).await;
    let client = front.client(&gateway).await;
    let silent_client = silent_front.client(&silent).await;
    let mut stream = Stream::through_proxy(&client, "", None).await;
    // Of two gateways alike only one has its clock moved, so that 25 s pass for it in the same share of nginx's
    // shortened timeout. The other shows that the timeout is real, twice.
    let pace = Duration::from_millis(SHORT_SECONDS * 1_000 * KEEPALIVE_SECONDS / SILENCE.1);
    for _ in 0..2 {
        let cut = Stream::through_proxy(&silent_client, "", None).await;
        let begun = std::time::Instant::now();
        while !cut.is_over() {
            assert!(
                begun.elapsed() < crate::harness::wait::PATIENCE,
                "nginx bears silence for ever"
            );
            // The pace is the point: a wait for something would make it faster.
            tokio::time::sleep(pace).await;
            let before = stream.comments();
            gateway.advance(KEEPALIVE_SECONDS).await;
            stream.comment_after(before).await;
        }
    }
    assert!(!stream.is_over());
}

#[tokio::test]
async fn a_stream_that_nginx_ends_at_its_reload_is_taken_up_without_a_loss() {
    let gateway = alone().await;
    let instance = gateway.create("one").await;
    let mut all = gateway.events().await;
    let mut front = Front::nginx(&gateway, &[]).await;
    let client = front.client(&gateway).await;
    let mut stream = Stream::through_proxy(&client, "", None).await;
    stir(&instance).await;
    stream.count("both", 2, |_| true).await;

    front.reload();
    eventually("the old worker's streams to end", async || {
        stream.is_over().then_some(())
    })
    .await;
    let before = stream.frames();
    stir(&instance).await;
    let last = before.last().unwrap().id.clone();
    let mut stream = Stream::through_proxy(&client, "", last.as_deref()).await;
    stir(&instance).await;
    let told = all.count("all of it", 6, |_| true).await.len();
    stream
        .count("what was missed and what is new", told - before.len(), |_| true)
        .await;
    let mut seen = before;
    seen.extend(stream.frames());
    assert_eq!(ids(&seen), ids(&all.frames()), "each event once, in order");
    gateway.client.delete(&instance.path("")).reply(204).await;
}

#[tokio::test]
async fn a_gateway_that_restarts_behind_a_proxy_is_missed_with_502_and_then_everything_goes_on() {
    for kind in [Kind::Nginx, Kind::Caddy] {
        let mut gateway = alone().await;
        let instance = gateway.create("one").await;
        let mut front = Front::start(kind, &gateway, &[]).await;
        let client = front.client(&gateway).await;
        let visitor = front.visitor(Ipv4Addr::LOCALHOST).await;
        let mut stream = Stream::through_proxy(&client, "", None).await;
        stir(&instance).await;
        stream.count("both", 2, |_| true).await;
        gateway.stop().await;
        let before = stream.ended().await;
        visitor.get("/readyz").reply(502).await;
        gateway.start_again().await;
        visitor.get("/readyz").reply(200).await;
        stir(&instance).await;
        let last = before.last().unwrap().id.clone();
        let mut stream = Stream::through_proxy(&client, "", last.as_deref()).await;
        stream.count("what came meanwhile", 2, |_| true).await;
        client.delete(&instance.path("")).reply(204).await;
    }
}

#[tokio::test]
async fn a_key_in_the_streams_address_is_in_no_log_of_nginx() {
    let mut gateway = alone().await;
    let mut front = Front::nginx(&gateway, &[]).await;
    let visitor = front.visitor(Ipv4Addr::LOCALHOST).await;
    let key = gateway.client.key().to_owned();
    let query = format!("?token={key}");
    let mut stream = Stream::through_proxy(&visitor, &query, None).await;
    stream.comment_after(0).await;
    // Breaks that nginx would tell of: in the middle of a stream, and nobody there.
    gateway.kill();
    eventually("the break", async || stream.is_over().then_some(())).await;
    visitor.get(&format!("/v1/events{query}")).reply(502).await;
    gateway.start_again().await;
    let wrong = json!({"name": ""});
    visitor.post("/v1/instances", &wrong).refused(401, "auth_missing").await;

    let line = "\"GET /v1/events\" 502";
    eventually("the line of the access log", async || {
        front.written("whatisup.log").contains(line).then_some(())
    })
    .await;
    for log in [
        front.written("whatisup.log"),
        front.written("error.log"),
        front.log().lines().join("\n"),
    ] {
        assert!(!log.contains(&key), "{log}");
    }
}
