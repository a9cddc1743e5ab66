//! A great debt on disk: the gateway is there at once, needs no memory for it, and pays all of it in order.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::json;
use whatisup::domain::Timestamp;
use whatisup::domain::address::Address;
use whatisup::domain::event::{Chat, Event, EventBody, Sender};
use whatisup::domain::id::InstanceId;
use whatisup::domain::message::{Body, MessageId};
use whatisup::store::{Options, Store, inspect};
use whatisup::sys::clock;

use crate::harness::sink::{self, Answer, Got, Sink};
use crate::harness::{Simulator, eventually};

/// How many deliveries are owed: enough for a file that is not walked after a kill. A hundred thousand take an
/// unoptimised build minutes; `WHATISUP_TEST_OWED=100000` has them.
const OWED: usize = 20_000;

/// Of how many chats.
const CHATS: usize = 100;

/// Events of one transaction.
const TOGETHER: usize = 500;

/// How many arrivals are waited for at a time; each is progress.
const STEP: usize = 5_000;

/// How much a start may read besides opening the file; the debt itself is twenty times that.
const READ_BESIDES: u64 = 2 << 20;

/// How much memory may grow while the debt is paid.
const GROWTH: u64 = 48 << 20;

/// The message with this number.
fn received(instance: InstanceId, number: usize) -> Event {
    let from = format!("5511900{:06}", number % CHATS);
    let jid = Address::phone(&from).unwrap();
    let now = clock::now();
    Event {
        instance_id: instance,
        occurred_at: now,
        body: EventBody::MessageReceived {
            message_id: MessageId::from_wire(format!("3EB0{number:018X}")),
            from: from.clone(),
            chat: Chat::at(jid.clone()),
            sender: Sender {
                jid,
                phone: Some(from),
                lid: None,
                name: None,
            },
            push_name: Some("Somebody".into()),
            is_group: false,
            body: Body::Text {
                text: number.to_string(),
            },
            received_at: now,
            timestamp: Timestamp::from_seconds(now.seconds()),
            reply_to: None,
            mentions: Vec::new(),
        },
    }
}

/// Bytes that a process has read since it started, from files above all.
fn bytes_read(process: u32) -> u64 {
    let told = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    let line = told.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.unwrap().parse().unwrap()
}

/// What came, without keeping a hundred thousand requests.
#[derive(Default)]
struct Arrived {
    /// Numbers by chat in the order of arrival.
    by_chat: BTreeMap<String, Vec<usize>>,
    ids: HashSet<String>,
    count: usize,
}

impl Arrived {
    fn note(&mut self, got: &Got) {
        let (chat, text) = (&got.body["from"], &got.body["body"]["text"]);
        let number = text.as_str().unwrap().parse().unwrap();
        let chat = chat.as_str().unwrap().to_owned();
        self.by_chat.entry(chat).or_default().push(number);
        self.ids.insert(got.event_id().to_owned());
        self.count += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_great_debt_delays_no_start_fills_no_memory_and_arrives_once_in_order() {
    let owed: usize = std::env::var("WHATISUP_TEST_OWED").map_or(OWED, |text| text.parse().unwrap());
    let simulator = Simulator::start().await;
    let mut gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    let endpoint = sink
        .endpoint(&gateway.client, json!({"events": ["message.received"]}))
        .await;
    let instance = InstanceId::parse(&gateway.create("owing").await.id).unwrap();
    gateway.stop().await;
    let begun = Instant::now();
    gateway.start_again().await;
    let (took_empty, reads_empty) = (begun.elapsed(), bytes_read(gateway.process_id()));
    gateway.stop().await;

    let begun = Instant::now();
    let options = Options {
        path: gateway.state().join("store.redb"),
        cache_bytes: 64 << 20,
        reserve_bytes: 0,
    };
    let store = Store::open(&options, Arc::new(|_| {})).unwrap();
    for first in (0..owed).step_by(TOGETHER) {
        store
            .write(move |tx| {
                for number in first..(first + TOGETHER).min(owed) {
                    tx.append_event(&received(instance, number))?;
                }
                Ok(())
            })
            .await
            .unwrap();
    }
    store.close().await;
    println!("made in {:.1} s", begun.elapsed().as_secs_f64());
    // What opening the file takes by itself, with the look at its version that a start begins with: redb walks all of it
    // each time in a debug build, and next to nothing otherwise.
    let before = bytes_read(std::process::id());
    inspect(&options.path).unwrap();
    Store::open(&options, Arc::new(|_| {})).unwrap().close().await;
    let reads_opening = bytes_read(std::process::id()) - before;

    let arrived = Arc::new(Mutex::new(Arrived::default()));
    let notes = arrived.clone();
    sink.keeps_nothing();
    sink.answers(move |got| {
        notes.lock().unwrap().note(got);
        Answer::Stall
    });
    // The first start is after a clean stop, the second after a kill.
    for after in ["a stop", "a kill"] {
        *arrived.lock().unwrap() = Arrived::default();
        let begun = Instant::now();
        gateway.start_again().await;
        let (took, reads) = (begun.elapsed(), bytes_read(gateway.process_id()));
        println!(
            "after {after}: ready in {took:?} instead of {took_empty:?}, {reads} bytes read instead of {reads_empty}, \
             {reads_opening} of them by opening"
        );
        let pending = endpoint.get().await["health"]["pending"].as_u64().unwrap();
        assert_eq!(pending, owed as u64, "ready before anything was paid");
        assert!(
            reads < reads_opening + READ_BESIDES,
            "after {after} a start read {reads} bytes, {reads_opening} of them by opening: it may not walk what is owed"
        );
        eventually("the first ones", async || (sink.under_way() == 4).then_some(())).await;
        if after == "a stop" {
            gateway.kill();
            eventually("the cut", async || (sink.under_way() == 0).then_some(())).await;
            let notes = arrived.clone();
            sink.answers(move |got| {
                notes.lock().unwrap().note(got);
                Answer::Held
            });
        }
    }

    let before = gateway.resident_bytes().await;
    let mut most = before;
    let begun = Instant::now();
    sink.release();
    for step in (STEP..=owed).step_by(STEP) {
        eventually("more of them", async || {
            (arrived.lock().unwrap().count >= step).then_some(())
        })
        .await;
        most = most.max(gateway.resident_bytes().await);
    }
    let rate = owed as u128 * 1000 / begun.elapsed().as_millis();
    endpoint.health("nothing owed", |health| health["pending"] == 0).await;
    println!("{rate} a second; memory from {before} to at most {most}");
    assert!(
        most - before < GROWTH,
        "memory grew by {} while the debt was paid",
        most - before
    );
    let arrived = arrived.lock().unwrap();
    assert_eq!((arrived.count, arrived.ids.len()), (owed, owed), "each once");
    assert_eq!(arrived.by_chat.len(), CHATS);
    for (chat, numbers) in &arrived.by_chat {
        assert!(numbers.is_sorted(), "{chat} is out of order");
    }
}
