//! A disk that has no room left.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use serde_json::json;

use crate::harness::gateway::Setup;
use crate::harness::{FRIEND, OWNER, Simulator};

/// How much more than the reserve is free at first: more than all other tests together write meanwhile.
const SLACK: u64 = 512 << 20;

fn free_bytes(folder: &Path) -> u64 {
    let disk = statvfs(folder).unwrap();
    disk.f_bavail * disk.f_frsize
}

#[tokio::test]
async fn a_full_disk_is_told_as_507_and_what_comes_in_meanwhile_arrives_once_afterwards() {
    let simulator = Simulator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let reserve = free_bytes(folder.path())
        .checked_sub(SLACK)
        .expect("this test needs 1 GiB on the disk of temporary files");
    let mut gateway = Setup::connecting_to(&simulator.url())
        .env("WHATISUP_STORE_RESERVE_BYTES", reserve.to_string())
        .start()
        .await;
    gateway.provokes("the disk is nearly full");
    gateway.provokes("a request failed on this side");
    gateway.provokes("incoming messages could not be stored");
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;

    let ballast = File::create(folder.path().join("ballast")).unwrap();
    fallocate(&ballast, FallocateFlags::empty(), 0, 2 * SLACK).unwrap();
    // Free space is asked for once a second.
    gateway.advance(2).await;
    let text = json!({"to": FRIEND, "body": {"type": "text", "text": "refused"}});
    for (path, body) in [
        (instance.path("/messages"), &text),
        ("/v1/instances".to_owned(), &json!({"name": "one more"})),
    ] {
        gateway.client.post(&path, body).refused(507, "storage_full").await;
    }
    let nobody = gateway.client.without_key();
    let unready = nobody.get("/readyz").refused(503, "not_ready").await;
    assert_eq!(
        unready["details"]["checks"],
        json!({
            "store": "the disk is full, new work is refused",
            "engine": "ok",
            "listener": "ok",
            "lifecycle": "ok",
        })
    );
    let metrics = gateway.client.get("/metrics").reply(200).await;
    let metrics = String::from_utf8(metrics.bytes).unwrap();
    assert!(metrics.lines().any(|line| line == "whatisup_ready 0"), "{metrics}");
    simulator.send(FRIEND, OWNER, "while the disk was full").await;
    gateway
        .log()
        .find("the refused message", 0, |line| {
            line.contains("incoming messages could not be stored").then_some(())
        })
        .await;

    drop(ballast);
    drop(folder);
    gateway.advance(2).await;
    nobody.get("/readyz").reply(200).await;
    instance.act("restart").await;
    let received = events.next("message.received").await;
    assert_eq!(received["body"]["text"], "while the disk was full");
    instance.becomes("connected").await;
    let id = instance.send(FRIEND, "accepted again").await;
    assert_eq!(events.next("message.sent").await["message_id"], *id);
    simulator.gets(FRIEND, "accepted again").await;
    assert_eq!(simulator.texts(FRIEND).await, ["accepted again"]);
    let received = events
        .frames()
        .iter()
        .filter(|frame| frame.name() == "message.received")
        .count();
    assert_eq!(received, 1, "once");
}
