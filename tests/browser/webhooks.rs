//! Webhooks in the page: the editor, the test, deliveries with their attempts, the past sent again.

use serde_json::json;
use thirtyfour::Key;

use super::driver::Browser;
use crate::harness::sink::{self, Answer, Sink};
use crate::harness::{FRIEND, Gateway, OWNER, Simulator};

/// The page asks whether there are simulated phones; here the simulator stands outside, and there are none.
const NO_PHONES: &str = "/v1/sandbox";

/// A gateway that may call the sinks of this machine, and a browser.
async fn webhooks(simulator: &Simulator) -> (Gateway, Browser) {
    let gateway = sink::gateway(simulator).await;
    let browser = Browser::start().await;
    browser.provokes(NO_PHONES);
    (gateway, browser)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_made_tested_rotated_switched_off_changed_and_deleted_in_the_page() {
    let simulator = Simulator::start().await;
    let (gateway, browser) = webhooks(&simulator).await;
    let sink = Sink::start().await;
    browser.open(&gateway, "#/webhooks").await;
    browser.see("hooks-empty").await;
    browser.inspect("webhooks-empty").await;

    // What the server refuses stands at its field, in words.
    browser.provokes("status of 4");
    browser.press("hookNew").await;
    browser.type_into("#f-url", "http://10.1.2.3/hook").await;
    browser.press("hook-dialog-confirm").await;
    browser.reads(".complaint", "10.1.2.3 is private").await;
    browser.press("[name=events] [value=all]").await;
    browser.press("[value='message.received']").await;
    browser.inspect("webhooks-editor").await;
    browser.type_into("#f-url", &sink.url()).await;
    browser.press("hook-dialog-confirm").await;
    let secret = browser.text("hook-secret").await;
    browser.inspect("webhooks-secret").await;
    browser.press("secret-dialog-confirm").await;
    let made = gateway.client.get("/v1/webhook-endpoints").returns(200).await["data"][0].clone();
    assert_eq!(
        (&made["url"], &made["events"]),
        (&json!(sink.url()), &json!(["message.received"]))
    );

    browser.see("[data-testid=hook][data-state=unproven]").await;
    browser.press("testNow").await;
    browser.reads("test-answer", "answered 200").await;
    assert_eq!(sink.event("webhook.test").await.signatures(&secret), (1, 1));
    browser.reads("hooks-answer", "The webhook answers.").await;

    browser.press("rotate").await;
    browser.press("rotate-dialog-confirm").await;
    let rotated = browser.text("hook-secret").await;
    browser.press("secret-dialog-confirm").await;
    browser.press("testNow").await;
    let got = sink.count("the second test", 2, |_| true).await.remove(1);
    assert_eq!((got.signatures(&secret), got.signatures(&rotated)), ((1, 2), (1, 2)));

    browser.press("switchOff").await;
    browser.see("[data-testid=hook][data-state=disabled]").await;
    browser.reads("switchOff", "Switch on").await;
    browser.press("switchOff").await;
    browser.see("[data-testid=hook][data-state=ok]").await;

    browser.press("edit").await;
    browser.type_into("#f-canary_interval_seconds", "5").await;
    browser.press("hook-dialog-confirm").await;
    browser.reads(".complaint", "60").await;
    browser.type_into("#f-canary_interval_seconds", "3600").await;
    browser.press("hook-dialog-confirm").await;
    browser.gone("hook-dialog").await;
    let changed = gateway.client.get("/v1/webhook-endpoints").returns(200).await["data"][0].clone();
    assert_eq!(
        (&changed["canary_interval_seconds"], &changed["events"]),
        (&json!(3600), &made["events"])
    );
    sink.event("webhook.canary").await;

    browser.press("remove").await;
    browser.press("hook-delete-dialog-confirm").await;
    browser.see("hook-delete-dialog").await;
    let url = sink.url();
    let host = url.split('/').nth(2).unwrap();
    browser.type_into("confirm-input", host).await;
    browser.press("hook-delete-dialog-confirm").await;
    browser.see("hooks-empty").await;
    let left = gateway.client.get("/v1/webhook-endpoints").returns(200).await;
    assert_eq!(left["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_receiver_refuses_is_shown_attempt_by_attempt_and_sent_again_alone_and_as_a_range() {
    let simulator = Simulator::start().await;
    let (gateway, browser) = webhooks(&simulator).await;
    let sink = Sink::start().await;
    sink.endpoint(&gateway.client, json!({"events": ["message.received"]}))
        .await;
    gateway.link(&simulator, OWNER).await;
    browser.open(&gateway, "#/webhooks").await;
    browser.see("hook").await;

    simulator.send(FRIEND, OWNER, "welcome").await;
    browser
        .reads("[data-testid=delivery][data-state=success]", "Answered")
        .await;
    sink.always(Answer::Status(503));
    simulator.send(FRIEND, OWNER, "hello").await;
    browser.see("[data-testid=delivery][data-state=retrying]").await;
    let ladder =
        "document.querySelector('[data-state=retrying] .ladder')?.getAttribute('aria-label') === '1 of 6 attempts'";
    browser.until("the ladder to have six steps", ladder).await;
    // With the keyboard alone; what is drawn anew keeps the focus.
    browser
        .run("document.querySelector('[data-state=retrying] [data-testid=dlv-open]').focus()")
        .await;
    browser.keys(Key::Enter).await;
    browser.reads("dlv-answer", "answered 503").await;
    browser.reads("dlv-payload", "\"hello\"").await;
    assert_eq!(browser.focused().await, "dlv-open");
    for attempt in 2..=6 {
        gateway.advance(8_000).await;
        let count = format!("document.querySelectorAll('[data-testid=attempt]').length === {attempt}");
        browser.until("the next attempt", &count).await;
        if attempt == 3 {
            browser.reads("hooks-answer", "failing since").await;
            browser.reads("#failing", "1").await;
            browser.inspect("webhooks-failing").await;
        }
    }
    browser
        .reads("[data-testid=delivery][data-state=failed]", "Gave up")
        .await;
    assert_eq!(sink.got().len(), 7);

    sink.always(Answer::Status(200));
    browser.press("sendAgain").await;
    browser
        .until(
            "both to be answered",
            "document.querySelectorAll('[data-state=success]').length === 2",
        )
        .await;
    browser.reads("hooks-answer", "The webhook answers.").await;
    browser.press(".chip[value=failed]").await;
    browser
        .until(
            "the one that was given up alone",
            "document.querySelectorAll('[data-testid=delivery]').length === 1",
        )
        .await;

    // Counted first, then sent.
    browser.press("replayRange").await;
    browser.reads("replay-count", "2 events will be sent.").await;
    browser.press("dialog [value=failed]").await;
    browser.reads("replay-count", "1 event will be sent.").await;
    browser.inspect("webhooks-replay").await;
    assert_eq!(sink.got().len(), 8, "counting sends nothing");
    browser.press("replay-dialog-confirm").await;
    let last = sink.count("the range", 9, |_| true).await.remove(8);
    assert_eq!(last.body["body"]["text"], "hello");
    browser.press(".chip[value='']").await;
    browser
        .until(
            "four deliveries",
            "document.querySelectorAll('[data-testid=delivery]').length === 4",
        )
        .await;
    browser.inspect("webhooks").await;

    // What does not fit on a page is a button away; filters go on from the newest.
    simulator.burst(FRIEND, OWNER, 30, "m").await;
    sink.count("the burst", 39, |_| true).await;
    // Asked for anew: a page that was drawn while the burst still came is full too, and has fewer behind it.
    browser.press(".chip[value='']").await;
    let rows = "document.querySelectorAll('[data-testid=delivery]').length";
    browser.until("a full page", &format!("{rows} === 25")).await;
    browser.press("older").await;
    browser.until("the rest", &format!("{rows} === 9")).await;
    browser.gone("older").await;
    browser.press(".chip[value=retrying]").await;
    browser.reads(".dlv tbody", "No deliveries.").await;
    browser.press(".chip[value='']").await;
    browser.until("the newest again", &format!("{rows} === 25")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_may_not_see_webhooks_is_told_so_in_words() {
    let simulator = Simulator::start().await;
    let (gateway, browser) = webhooks(&simulator).await;
    let narrow = gateway
        .new_key(&json!({"name": "narrow", "scopes": ["instances:read"]}))
        .await;
    browser.provokes("status of 403");
    browser
        .open_with_key(&gateway, narrow["secret"].as_str().unwrap(), "#/webhooks")
        .await;
    browser.reads("may-not", "webhooks:read").await;
    assert_eq!(browser.count("hookNew").await, 0);
    browser.inspect("webhooks-may-not").await;
}
