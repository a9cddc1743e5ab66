//! Many instances at once: 200 are linked and written to, and everything comes once.

use std::collections::HashMap;

use futures_util::{StreamExt as _, stream};
use serde_json::json;

use crate::harness::{Gateway, Simulator};

const INSTANCES: u64 = 200;
const MESSAGES: usize = 1000;
/// Linked at the same time.
const AT_ONCE: usize = 8;

#[tokio::test]
async fn two_hundred_instances_receive_a_load_and_publish_each_message_once() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let mut events = gateway.events().await;
    stream::iter(0..INSTANCES)
        .for_each_concurrent(AT_ONCE, async |index| {
            let instance = gateway.create("one of many").await;
            let code = instance.qr().await;
            simulator.scan(&(5_511_700_000_000 + index).to_string(), &code).await;
        })
        .await;
    for _ in 0..INSTANCES {
        events.next("instance.connected").await;
    }
    simulator
        .load(&json!({"phones": 5, "companions": true, "per_second": 200, "count": MESSAGES}))
        .await;
    let mut published: HashMap<String, usize> = HashMap::new();
    let mut by_instance: HashMap<String, usize> = HashMap::new();
    for _ in 0..MESSAGES {
        let event = events.next("message.received").await;
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        *published.entry(text("message_id")).or_default() += 1;
        *by_instance.entry(text("instance_id")).or_default() += 1;
    }
    let report = simulator.load_acknowledged().await;
    assert_eq!(
        (&report["sent"], &report["acknowledged"], &report["failed"]),
        (&json!(MESSAGES), &json!(MESSAGES), &json!(0)),
        "{report}"
    );
    assert_eq!(published.len(), MESSAGES, "every message, each once");
    let share = MESSAGES / usize::try_from(INSTANCES).unwrap();
    assert!(
        by_instance.len() == 200 && by_instance.values().all(|count| *count == share),
        "{by_instance:?}"
    );
    let received = events
        .frames()
        .iter()
        .filter(|frame| frame.name() == "message.received")
        .count();
    assert_eq!(received, MESSAGES, "nothing twice");
}
