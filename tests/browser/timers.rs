//! What the page asks again and again: one question at a time, and none for a room that was left.

use serde_json::json;

use super::driver::Browser;
use crate::harness::sink::{self, Sink};
use crate::harness::slow::Slow;
use crate::harness::{Gateway, Simulator, eventually};

/// What the room of the webhooks waits for before it shows anything …
const ENDPOINTS: &str = "/v1/webhook-endpoints";

/// … and what nobody but that room asks, every three seconds.
const DELIVERIES: &str = "/v1/webhook-deliveries";

/// The page of a gateway with one webhook, behind a slow connection.
async fn slow_page(simulator: &Simulator) -> (Gateway, Sink, Slow, Browser) {
    let gateway = sink::gateway(simulator).await;
    let sink = Sink::start().await;
    sink.endpoint(&gateway.client, json!({"events": ["message.received"]}))
        .await;
    let slow = Slow::before(&gateway).await;
    let browser = Browser::start().await;
    browser.open_at(slow.base(), gateway.client.key(), "#/").await;
    (gateway, sink, slow, browser)
}

/// Lets so many of the room's turns pass by the page's own timers, which come in the order of their times.
async fn turns(browser: &Browser, count: u32) {
    browser
        .run("window.turns = 0; window.turning = setInterval(() => { window.turns += 1; }, 3000)")
        .await;
    browser
        .until("the page's turns", &format!("window.turns >= {count}"))
        .await;
    browser.run("clearInterval(window.turning)").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_left_before_its_first_answer_asks_nothing_any_more() {
    let simulator = Simulator::start().await;
    let (_gateway, _sink, slow, browser) = slow_page(&simulator).await;
    eventually("the page's own look at the webhooks", async || {
        (slow.asked(ENDPOINTS) > 0).then_some(())
    })
    .await;
    let before = slow.asked(ENDPOINTS);
    slow.hold(ENDPOINTS);
    browser.visit("#/webhooks").await;
    eventually("the room's question", async || {
        (slow.asked(ENDPOINTS) > before).then_some(())
    })
    .await;
    browser.visit("#/events").await;
    slow.release();
    turns(&browser, 3).await;
    // The answer itself may lead to one more question; a timer would have asked with every turn.
    let asked = slow.asked(DELIVERIES);
    assert!(asked <= 1, "a room that nobody sees has asked {asked} times");

    browser.visit("#/webhooks").await;
    eventually("a room that is seen to ask on", async || {
        (slow.asked(DELIVERIES) >= asked + 3).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_whose_answer_is_slow_waits_for_it_before_it_asks_again() {
    let simulator = Simulator::start().await;
    let (_gateway, _sink, slow, browser) = slow_page(&simulator).await;
    browser.visit("#/webhooks").await;
    browser.see("hook").await;
    eventually("the room to ask on", async || {
        (slow.asked(DELIVERIES) >= 2).then_some(())
    })
    .await;
    let before = slow.asked(DELIVERIES);
    slow.hold(DELIVERIES);
    eventually("a question that is held", async || {
        (slow.asked(DELIVERIES) > before).then_some(())
    })
    .await;
    turns(&browser, 3).await;
    assert_eq!(slow.asked(DELIVERIES), before + 1, "asked again while unanswered");
    slow.release();
    eventually("the room to ask on", async || {
        (slow.asked(DELIVERIES) >= before + 3).then_some(())
    })
    .await;
}
