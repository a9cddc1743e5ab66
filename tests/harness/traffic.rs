//! Messages in both directions, and a reader of the stream, that carry on while the gateway is killed under them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::simulator::Phones;
use super::{Client, FRIEND, Instance, OWNER};

/// Chance that can be had again: prints its seed, or takes the one of `WHATISUP_TEST_SEED`.
pub fn chance() -> StdRng {
    let number = std::env::var("WHATISUP_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("run the same again with WHATISUP_TEST_SEED={number}");
    StdRng::seed_from_u64(number)
}

/// Sends until told to stop; every message is tried under its reference until it was accepted once.
pub async fn keep_sending(client: Client, instance: Instance, stop: Arc<AtomicBool>) -> Vec<(String, String)> {
    let mut accepted = Vec::new();
    let path = instance.path("/messages");
    for index in 0_u32.. {
        let text = format!("out {index}");
        let body = json!({"to": FRIEND, "body": {"type": "text", "text": text}, "client_ref": text});
        loop {
            if let Ok(reply) = client.post(&path, &body).attempt().await {
                match reply.status {
                    202 => {
                        accepted.push((text, reply.json["message_id"].as_str().unwrap().to_owned()));
                        break;
                    }
                    409 | 503 => {}
                    other => panic!("sending was answered with {other}: {}", reply.json),
                }
            }
            if stop.load(Ordering::Relaxed) {
                return accepted;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if stop.load(Ordering::Relaxed) {
            return accepted;
        }
    }
    accepted
}

/// Somebody writes until told to stop.
pub async fn keep_writing(simulator: Phones, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut written = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let text = format!("in {}", written.len());
        simulator.send(FRIEND, OWNER, &text).await;
        written.push(text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    written
}

/// Reads the stream for good, coming back by the last id as a browser does.
pub async fn keep_reading(client: Client, seen: Arc<Mutex<Vec<Value>>>) {
    loop {
        let last = {
            let seen = seen.lock().unwrap();
            seen.last().map(|event| event["event_id"].as_str().unwrap().to_owned())
        };
        let mut request = client
            .http()
            .get(format!(
                "{}/v1/events?since=evt_00000000000000000000000000",
                client.base()
            ))
            .bearer_auth(client.key());
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        if let Ok(response) = request.send().await
            && response.status() == 200
        {
            let (mut body, mut rest) = (response.bytes_stream(), Vec::new());
            while let Some(Ok(bytes)) = body.next().await {
                rest.extend_from_slice(&bytes);
                // Half a frame at the end of a killed process is thrown away, as browsers do.
                while let Some(end) = rest.windows(2).position(|two| two == b"\n\n") {
                    let frame: Vec<u8> = rest.drain(..end + 2).collect();
                    let frame = String::from_utf8(frame).unwrap();
                    if let Some(data) = frame.lines().find_map(|line| line.strip_prefix("data: ")) {
                        let event: Value = serde_json::from_str(data).unwrap();
                        // "Since the beginning of time" is before the oldest event; nothing later may be.
                        if event["event"] == "stream.gap" {
                            assert!(seen.lock().unwrap().is_empty(), "a gap in the middle: {event}");
                        } else {
                            seen.lock().unwrap().push(event);
                        }
                    }
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
