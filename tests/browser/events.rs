//! The event monitor: filters, keys, what is copied, and coming back after sleep.

use serde_json::json;
use thirtyfour::Key;

use super::driver::Browser;
use crate::harness::{FRIEND, Gateway, Instance, OWNER, Simulator, eventually};

/// What a gateway without phones refuses.
const NO_PHONES: &str = "/v1/sandbox";

/// A network that can be cut and mended: `window.cut()` also ends the streams that are open, as sleep does.
const NETWORK: &str = "{ const reach = window.fetch; let asleep = false; const ends = []; \
    window.cut = () => { asleep = true; ends.forEach((end) => end.abort()); }; \
    window.mend = () => { asleep = false; dispatchEvent(new Event('online')); }; \
    window.fetch = (address, wishes = {}) => { \
        if (!String(address).startsWith('/v1/events')) return reach(address, wishes); \
        if (asleep) return Promise.reject(new TypeError('asleep')); \
        const end = new AbortController(); \
        ends.push(end); \
        return reach(address, {...wishes, signal: AbortSignal.any([wishes.signal, end.signal])}); }; }";

async fn monitor(simulator: &Simulator, gateway: &Gateway, browser: &Browser, query: &str) -> Instance {
    browser.provokes(NO_PHONES);
    let instance = gateway.link(simulator, OWNER).await;
    browser.open(gateway, &format!("#/events{query}")).await;
    browser.reads("main h1", "Listening. Nothing missed.").await;
    instance
}

fn of(name: &str) -> String {
    format!("[data-testid=event][data-event='{name}']")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_stand_in_the_address_and_in_the_call_that_is_copied() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let browser = Browser::start().await;
    let instance = monitor(&simulator, &gateway, &browser, "").await;
    let other = gateway.link(&simulator, "5511988880009").await;
    let sent = instance.send(FRIEND, "to a friend").await;
    simulator.gets(FRIEND, "to a friend").await;
    simulator.read(FRIEND, &sent).await;
    simulator.send(FRIEND, "5511988880009", "to the other").await;
    browser.see(&of("message.read")).await;
    let received = format!("{}[data-instance-id={}]", of("message.received"), other.id);
    browser.see(&received).await;

    for kind in ["messages", "instances", "other"] {
        browser.press(&format!("[data-kind={kind}]")).await;
    }
    browser.gone(&of("message.received")).await;
    browser.see(&of("message.delivered")).await;
    browser.see(&of("message.read")).await;
    assert!(browser.url().await.contains("kinds=receipts"));

    browser.choose("event-name", "message.received").await;
    browser.choose("which", &other.id).await;
    browser.see(&received).await;
    assert_eq!(browser.count("event").await, 1);
    browser.press("copy-curl").await;
    let call = browser.clipboard().await;
    let url = call.split('\'').nth(1).expect("an address with a query is quoted");
    assert!(
        url.ends_with(&format!("/v1/events?instance_id={}&events=message.received", other.id)),
        "{call}"
    );
    let path = url.strip_prefix(gateway.client.base()).unwrap();
    let query = path.strip_prefix("/v1/events").unwrap();
    let mut stream = crate::harness::Stream::open(&gateway.client, query).await;

    browser.reload().await;
    assert_eq!(browser.value("event-name").await, "message.received");
    browser
        .until(
            "the same filter",
            "document.querySelector('[data-testid=which]')?.value",
        )
        .await;
    assert_eq!(browser.value("which").await, other.id);
    browser.inspect("events-filtered").await;

    // What is drawn now is what the copied call tells.
    simulator.send(FRIEND, OWNER, "not for this filter").await;
    simulator.send(FRIEND, "5511988880009", "for this filter").await;
    let told = stream.count("what passes", 1, |_| true).await;
    assert_eq!(told[0]["body"]["text"], "for this filter");
    let row = format!("[data-event-id={}]", told[0]["event_id"].as_str().unwrap());
    browser.see(&row).await;
    assert_eq!(
        browser
            .count(&format!("[data-testid=event][data-instance-id={}]", instance.id))
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keyboard_alone_pauses_walks_opens_and_copies() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let browser = Browser::start().await;
    monitor(&simulator, &gateway, &browser, "?event=message.received").await;
    simulator.send(FRIEND, OWNER, "first").await;
    browser.see("event").await;

    browser.keys(" ").await;
    browser.reads("pause", "Resume").await;
    for text in ["second", "third"] {
        simulator.send(FRIEND, OWNER, text).await;
    }
    browser.reads("pause", "Paused, 2 new").await;
    assert_eq!(browser.count("event").await, 1, "the list stands still");
    browser.inspect("events-paused").await;
    browser.keys(" ").await;
    browser
        .until("all three", "document.querySelectorAll('.ev').length === 3")
        .await;

    browser.keys(Key::Down).await;
    browser.keys(Key::Down).await;
    browser.keys(Key::Enter).await;
    browser.reads("event-json", "\"second\"").await;
    browser.keys("c").await;
    browser.reads("detail", "Copied").await;
    let copied: serde_json::Value = serde_json::from_str(&browser.clipboard().await).unwrap();
    assert_eq!(copied["body"], json!({"type": "text", "text": "second"}));
    assert!(
        browser.url().await.contains(copied["event_id"].as_str().unwrap()),
        "a link to it"
    );
    browser.keys(Key::Down).await;
    browser.reads("event-json", "\"first\"").await;
    browser.inspect("events-json").await;
    browser.keys(Key::Escape).await;
    browser.gone("detail").await;

    // On a phone the event covers the list.
    browser.width(390).await;
    browser.press("[data-testid=event] button").await;
    browser.see("dialog[open]").await;
    browser.inspect("events-sheet").await;
    browser.width(390).await;
    browser.keys(Key::Escape).await;
    browser.gone("detail").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missed_while_asleep_is_fetched_and_a_seam_says_so() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let browser = Browser::start().await;
    browser
        .cdp("Page.addScriptToEvaluateOnNewDocument", json!({"source": NETWORK}))
        .await;
    let instance = monitor(&simulator, &gateway, &browser, "").await;
    simulator.send(FRIEND, OWNER, "before").await;
    browser.see(&of("message.received")).await;

    browser.run("window.cut()").await;
    browser.see("banner").await;
    browser.reads("main h1", "Not listening.").await;
    for number in 0..7 {
        simulator.send(FRIEND, OWNER, &format!("missed {number}")).await;
    }
    eventually("all of them in the journal", async || {
        (instance.status().await["counters"]["messages_received"] == 8).then_some(())
    })
    .await;
    browser.run("window.mend()").await;
    browser.gone("banner").await;
    browser.reads("seam", "7 missed events were fetched").await;
    browser
        .until(
            "each once",
            "document.querySelectorAll(\".ev[data-event='message.received']\").length === 8",
        )
        .await;
    browser.reads("main h1", "Listening. Nothing missed.").await;
    browser.inspect("events-seam").await;

    // Somebody whose place is older than the journal is told what is not there.
    browser
        .run("sessionStorage.setItem('whatisup.resume', 'evt_01JD0000000000000000000000')")
        .await;
    browser.reload().await;
    browser.reads(".seam.bad", "Events are missing from").await;
    browser.reads("main h1", "Listening, with a gap.").await;
    browser.inspect("events-gap").await;
}
