//! Coming back by id: no seam, no duplicate, and an honest gap.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::gateway::Setup;
use crate::harness::stream::Frame;
use crate::harness::{FRIEND, Gateway, OWNER, Simulator, Stream, eventually};

fn ids(frames: &[Frame]) -> Vec<String> {
    frames.iter().filter_map(|frame| frame.id.clone()).collect()
}

#[tokio::test]
async fn a_reader_that_comes_back_while_messages_flow_sees_no_seam_and_no_duplicate() {
    const MESSAGES: usize = 300;
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    gateway.link(&simulator, OWNER).await;
    let mut whole = Stream::open(&gateway.client, "?events=message.received").await;
    let flow = async {
        for part in 0..10 {
            simulator.burst(FRIEND, OWNER, MESSAGES / 10, &format!("{part}-")).await;
        }
    };
    let reader = async {
        let (mut pieces, mut last): (Vec<String>, Option<String>) = (Vec::new(), None);
        while pieces.len() < MESSAGES {
            let query = "?events=message.received";
            // Both ways of resuming, in turn; the first time from the very beginning.
            let mut piece = match &last {
                None => {
                    Stream::open(
                        &gateway.client,
                        &format!("{query}&since=evt_00000000000000000000000000"),
                    )
                    .await
                }
                Some(id) if pieces.len() % 2 == 0 => Stream::resume(&gateway.client, query, Some(id)).await,
                Some(id) => Stream::open(&gateway.client, &format!("{query}&since={id}")).await,
            };
            let wanted = 7.min(MESSAGES - pieces.len());
            piece.count("a few more", wanted, |frame| frame.id.is_some()).await;
            pieces.extend(ids(&piece.frames()));
            last = pieces.last().cloned();
        }
        pieces
    };
    let ((), pieces) = tokio::join!(flow, reader);
    whole.count("all of it", MESSAGES, |_| true).await;
    assert_eq!(pieces, ids(&whole.frames()), "in pieces as in one go");
    let distinct: BTreeSet<&String> = pieces.iter().collect();
    assert_eq!(distinct.len(), MESSAGES);
    assert!(pieces.is_sorted(), "ids grow in the order of events");
}

#[tokio::test]
async fn the_header_wins_over_the_address() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    gateway.link(&simulator, OWNER).await;
    let mut stream = Stream::open(&gateway.client, "?events=message.received").await;
    simulator.burst(FRIEND, OWNER, 3, "m").await;
    let seen: Vec<Value> = stream.count("three", 3, |_| true).await;
    let (first, second) = (
        seen[0]["event_id"].as_str().unwrap(),
        seen[1]["event_id"].as_str().unwrap(),
    );
    let query = format!("?events=message.received&since={first}");
    let mut resumed = Stream::resume(&gateway.client, &query, Some(second)).await;
    let next = resumed.next("message.received").await;
    assert_eq!(next["event_id"], seen[2]["event_id"]);
}

#[tokio::test]
async fn a_reader_from_before_the_journal_is_told_of_the_gap() {
    let gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    let instance = gateway.create("one").await;
    let mut stream = gateway.events().await;
    instance.act("connect").await;
    let early = stream.next("instance.status").await;
    instance.act("disconnect").await;
    // Beyond the seven days that the journal keeps; the sweep follows by itself.
    gateway.advance(8 * 86_400).await;
    let early_id = early["event_id"].as_str().unwrap().to_owned();
    let gap = crate::harness::eventually("the journal to be swept", async || {
        instance.act("connect").await;
        instance.act("disconnect").await;
        let mut resumed = Stream::resume(&gateway.client, "", Some(&early_id)).await;
        let first = resumed.next_where("anything", |_| true).await;
        (first["event"] == "stream.gap").then(|| resumed.frames()[0].clone())
    })
    .await;
    assert_eq!(gap.id, None, "a gap is no event to resume from");
    gateway.client.delete(&instance.path("")).reply(204).await;
}

#[tokio::test]
async fn an_expired_code_is_not_told_to_those_who_come_later() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("one").await;
    let mut stream = gateway.events().await;
    instance.qr().await;
    let shown = stream.next("qr.updated").await;
    let beginning = "?since=evt_00000000000000000000000000";
    let mut now = Stream::open(&gateway.client, beginning).await;
    assert_eq!(
        now.next("qr.updated").await["event_id"],
        shown["event_id"],
        "still worth scanning"
    );

    instance.act("disconnect").await;
    gateway.advance(600).await;
    let marker = gateway.create("marker").await;
    marker.act("connect").await;
    let mut later = Stream::open(&gateway.client, beginning).await;
    later
        .next_where("an event after the code", |frame| {
            frame.data["instance_id"] == *marker.id
        })
        .await;
    assert!(
        !later
            .frames()
            .iter()
            .any(|frame| frame.data["event_id"] == shown["event_id"])
    );
    for one in [&instance, &marker] {
        gateway.client.delete(&one.path("")).reply(204).await;
    }
}

#[tokio::test]
async fn ids_grow_across_a_restart() {
    let mut gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    let instance = gateway.create("one").await;
    let mut stream = gateway.events().await;
    // The next process has a clock that was never moved, and must still count on.
    gateway.advance(3600).await;
    instance.act("connect").await;
    let before = stream.next("instance.status").await;
    instance.act("disconnect").await;
    gateway.stop().await;
    gateway.start_again().await;
    let last = before["event_id"].as_str().unwrap();
    let mut resumed = Stream::resume(&gateway.client, "", Some(last)).await;
    instance.act("connect").await;
    resumed.count("an event of the new process", 2, |_| true).await;
    assert!(ids(&resumed.frames()).iter().all(|id| id.as_str() > last));
    assert!(ids(&resumed.frames()).is_sorted());
    gateway.client.delete(&instance.path("")).reply(204).await;
    assert_eq!(json!(last), before["event_id"]);
}

#[tokio::test]
async fn a_reader_is_told_when_it_has_caught_up_even_if_nothing_was_for_it() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    gateway.link(&simulator, OWNER).await;
    let mut live = Stream::open(&gateway.client, "?events=message.received").await;
    let back = Stream::open(
        &gateway.client,
        "?events=call.offered&since=evt_00000000000000000000000000",
    )
    .await;
    eventually("the greeting and the word", async || {
        (back.comments() == 2).then_some(())
    })
    .await;
    simulator.send(FRIEND, OWNER, "now").await;
    live.count("the message", 1, |_| true).await;
    assert_eq!(live.comments(), 1, "who misses nothing is only greeted");
}
