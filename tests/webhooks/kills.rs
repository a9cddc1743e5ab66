//! kill -9 at random moments under three endpoints: every event reaches every endpoint that wants it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt as _;
use serde_json::{Value, json};

use crate::harness::sink::{self, Answer, Sink};
use crate::harness::traffic::{chance, keep_reading, keep_sending, keep_writing};
use crate::harness::{OWNER, Simulator, eventually};

const KILLS: usize = 20;

/// The longest time between two kills: enough for the session to come back in some lives and not in others.
const LONGEST_LIFE_MS: u64 = 1_500;

/// What the second endpoint asks for.
const SOME: [&str; 3] = ["message.received", "message.sent", "message.delivered"];

/// Answers as `usually`, except that every request whose number `every` divides is answered with `then`.
fn every(sink: &Sink, every: usize, then: Answer) {
    let count = AtomicUsize::new(0);
    sink.answers(move |_| {
        if (count.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(every) {
            then.clone()
        } else {
            Answer::Status(200)
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_twenty_kills_every_event_has_reached_every_endpoint_that_wants_it() {
    let mut chance = chance();
    let simulator = Simulator::start().await;
    let mut gateway = sink::gateway(&simulator).await;
    // Three hosts: places are counted per host, and the slow one shall keep none from the others.
    let sinks = [
        Sink::on("127.0.0.1").await,
        Sink::on("127.0.0.2").await,
        Sink::on("127.0.0.3").await,
    ];
    every(&sinks[1], 3, Answer::Status(500));
    // Answers nothing now and then, until its process is killed or its patience is over.
    every(&sinks[2], 40, Answer::Stall);
    let endpoints = [
        sinks[0].endpoint(&gateway.client, json!({})).await,
        sinks[1].endpoint(&gateway.client, json!({"events": SOME})).await,
        sinks[2].endpoint(&gateway.client, json!({})).await,
    ];
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
    instance.becomes("connected").await;
    instance.settles().await;
    eventually("everything written to be told", async || {
        let seen = seen.lock().unwrap();
        let told = |text: &String| seen.iter().any(|event| event["body"]["text"] == **text);
        written.iter().all(told).then_some(())
    })
    .await;

    // Receivers are well again, and the clock runs until no retry is due any more.
    for sink in &sinks {
        sink.always(Answer::Status(200));
    }
    for endpoint in &endpoints {
        eventually("nothing owed", async || {
            gateway.advance(120).await;
            let health = endpoint.get().await["health"].clone();
            (health["pending"] == 0 && health["retrying"] == 0).then_some(())
        })
        .await;
        let failed = endpoint.deliveries("&status=failed").await;
        assert!(failed.is_empty(), "given up: {failed:#?}");
    }

    // What happened is what the journal says, read anew from its beginning.
    let journal = Arc::new(Mutex::new(Vec::new()));
    let again = tokio::spawn(keep_reading(gateway.client.clone(), journal.clone()));
    eventually("the whole journal", async || {
        let last = |events: &Mutex<Vec<Value>>| {
            let events = events.lock().unwrap();
            events.last().map(|event| event["event_id"].clone())
        };
        (last(&journal).is_some() && last(&journal) == last(&seen)).then_some(())
    })
    .await;
    assert!(!reading.is_finished(), "the reader met something it may not meet");
    reading.abort();
    again.abort();
    let journal = journal.lock().unwrap().clone();
    println!(
        "{} events of {} messages accepted and {} written",
        journal.len(),
        accepted.len(),
        written.len()
    );
    assert!(!accepted.is_empty() && !written.is_empty());

    for (index, (sink, endpoint)) in sinks.iter().zip(&endpoints).enumerate() {
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        let got = sink.got();
        for got in &got {
            assert_eq!(got.signatures(&endpoint.secret), (1, 1));
            *times.entry(got.event_id().to_owned()).or_default() += 1;
        }
        let wanted: Vec<&Value> = journal
            .iter()
            .filter(|event| index != 1 || SOME.iter().any(|name| event["event"] == *name))
            .collect();
        let lost: Vec<&&Value> = wanted
            .iter()
            .filter(|event| !times.contains_key(event["event_id"].as_str().unwrap()))
            .collect();
        println!(
            "endpoint {index}: {} events, {} requests, {} repeats of {} events",
            wanted.len(),
            got.len(),
            got.len() - times.len(),
            times.values().filter(|times| **times > 1).count()
        );
        assert!(lost.is_empty(), "endpoint {index} never got {lost:#?}");
    }
}
