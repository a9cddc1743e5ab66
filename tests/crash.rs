//! kill -9 at random moments: no accepted message lost, no inbound message lost, no event told twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt as _;

use crate::harness::traffic::{chance, keep_reading, keep_sending, keep_writing};
use crate::harness::{FRIEND, Gateway, OWNER, Simulator, eventually};

const KILLS: usize = 10;

/// The longest time between two kills; long enough to get past a reconnect, so that kills strike everywhere.
const LONGEST_LIFE_MS: u64 = 2_500;

/// How long requests to send again may take to come to an end.
const HEALING: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one story: the traffic, the kills, and then each thing that may not have happened"
)]
async fn ten_kills_in_a_two_way_stream_of_messages_lose_and_repeat_nothing() {
    let mut chance = chance();
    let simulator = Simulator::start().await;
    let mut gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;

    let (halt, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let reading = tokio::spawn(keep_reading(gateway.client.clone(), seen.clone()));
    let sending = tokio::spawn(keep_sending(gateway.client.clone(), instance.clone(), halt.clone()));
    let writing = tokio::spawn(keep_writing(simulator.phones.clone(), halt.clone()));

    for _ in 0..KILLS {
        // Chance is the point here: this is no wait for anything.
        tokio::time::sleep(Duration::from_millis(chance.random_range(1..LONGEST_LIFE_MS))).await;
        gateway.kill();
        gateway.start_again().await;
    }
    // However the dice fell, traffic must also have flowed after the last kill.
    let before = seen.lock().unwrap().len();
    eventually("traffic after the last kill", async || {
        (seen.lock().unwrap().len() > before + 20).then_some(())
    })
    .await;
    halt.store(true, Ordering::Relaxed);
    let (accepted, written) = (sending.await.unwrap(), writing.await.unwrap());
    println!("{} accepted, {} written", accepted.len(), written.len());
    assert!(!accepted.is_empty() && !written.is_empty());

    instance.becomes("connected").await;
    instance.settles().await;
    // Asked as a list of what is missing, so that a failure names it.
    let events = std::cell::RefCell::new(Vec::new());
    let missing = async || {
        *events.borrow_mut() = seen.lock().unwrap().clone();
        let events = events.borrow();
        let told = |name: &str, at: &str| -> BTreeSet<String> {
            events
                .iter()
                .filter(|event| event["event"] == name)
                .filter_map(|event| event.pointer(at)?.as_str().map(str::to_owned))
                .collect()
        };
        let (received, sent) = (
            told("message.received", "/body/text"),
            told("message.sent", "/message_id"),
        );
        let unheard = written.iter().filter(|text| !received.contains(*text)).cloned();
        let unsent = accepted
            .iter()
            .filter(|(_, id)| !sent.contains(id))
            .map(|(text, id)| format!("{text} {id}"));
        unheard.chain(unsent).collect::<Vec<String>>()
    };
    let waited = std::time::Instant::now();
    while !missing().await.is_empty() && waited.elapsed() < crate::harness::wait::PATIENCE {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let missing = missing().await;
    if !missing.is_empty() {
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for event in seen.lock().unwrap().iter() {
            *names.entry(event["event"].to_string()).or_default() += 1;
            if event["event"] == "message.undecryptable" {
                println!("{event}");
            }
        }
        println!("told: {names:#?}");
        println!("the simulator: {:#}", simulator.stats().await);
        panic!("accepted or written, and not on the stream: {missing:?}");
    }
    assert!(!reading.is_finished(), "the reader met something it may not meet");
    let events = events.into_inner();
    reading.abort();

    // What a phone could not decrypt it asks for again, which mostly comes to an end within the test.
    let unread = async || -> Vec<String> {
        let inbox = simulator.inbox(FRIEND).await;
        let unread = inbox.iter().filter(|message| !message["error"].is_null());
        unread
            .map(|message| message["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let waited = std::time::Instant::now();
    while !unread().await.is_empty() && waited.elapsed() < HEALING {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let unread = unread().await;
    println!(
        "{} of {} accepted stayed unreadable: {unread:?}",
        unread.len(),
        accepted.len()
    );
    assert!(unread.is_empty(), "stayed unreadable: {unread:?}");
    let inbox: Vec<String> = simulator
        .inbox(FRIEND)
        .await
        .iter()
        .filter_map(|message| message["text"].as_str().map(str::to_owned))
        .collect();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for text in &inbox {
        *times.entry(text).or_default() += 1;
    }
    let lost: Vec<_> = accepted
        .iter()
        .filter(|(text, id)| !times.contains_key(text.as_str()) && !unread.contains(id))
        .collect();
    assert!(lost.is_empty(), "accepted and lost: {lost:?}");
    let twins: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twins.is_empty(), "shown twice by the phone: {twins:?}");

    let received: Vec<&str> = events
        .iter()
        .filter(|event| event["event"] == "message.received")
        .map(|event| event["body"]["text"].as_str().unwrap())
        .collect();
    let distinct: BTreeSet<&str> = received.iter().copied().collect();
    let lost: Vec<_> = written
        .iter()
        .filter(|text| !distinct.contains(text.as_str()))
        .collect();
    assert!(lost.is_empty(), "written and lost: {lost:?}");
    assert_eq!(received.len(), distinct.len(), "received twice");

    let acked: Vec<&str> = events
        .iter()
        .filter(|event| event["event"] == "message.sent")
        .map(|event| event["message_id"].as_str().unwrap())
        .collect();
    let distinct: BTreeSet<&str> = acked.iter().copied().collect();
    assert_eq!(acked.len(), distinct.len(), "a state is published once");
    assert!(accepted.iter().all(|(_, id)| distinct.contains(id.as_str())));

    let ids: Vec<&str> = events.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    assert!(
        ids.is_sorted_by(|one, two| one < two),
        "no event twice, none out of order"
    );
}
