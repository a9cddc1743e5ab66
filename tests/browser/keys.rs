//! The room of the API keys.

use serde_json::{Value, json};
use thirtyfour::Key;

use super::driver::{Browser, demonstration};
use crate::harness::gateway::Setup;
use crate::harness::{Client, Gateway, eventually};

const NOBODY: &str = "ws://127.0.0.1:9/ws/chat";
const DAY: u64 = 86_400;

/// The line of the table with this name.
fn line(name: &str) -> String {
    format!("//tr[.//b[text()=\"{name}\"]]")
}

/// What the line of a key shows, or nothing when there is none.
async fn shown(browser: &Browser, name: &str) -> String {
    let script = format!(
        "return document.evaluate({}, document, null, XPathResult.STRING_TYPE).stringValue",
        json!(line(name))
    );
    browser.run(&script).await.as_str().unwrap().to_owned()
}

async fn line_reads(browser: &Browser, name: &str, text: &str) {
    eventually(&format!("{text:?} in the line of {name:?}"), async || {
        shown(browser, name).await.contains(text).then_some(())
    })
    .await;
}

/// Presses *Revoke* in the line of a key, and confirms.
async fn revoke(browser: &Browser, name: &str) {
    let script = format!(
        "document.evaluate({}, document, null, XPathResult.FIRST_ORDERED_NODE_TYPE).singleNodeValue.querySelector('button').click()",
        json!(line(name))
    );
    browser.run(&script).await;
    browser.see("revoke-dialog").await;
}

/// Presses the chip with this text in the dialog.
async fn chip(browser: &Browser, text: &str) {
    let pressed = browser
        .run(&format!(
            "const chip = [...document.querySelectorAll('[data-testid=key-dialog] .chip')].find((one) => one.textContent === {}); \
             chip.click(); return chip.getAttribute('aria-pressed')",
            json!(text)
        ))
        .await;
    assert_eq!(pressed, "true", "{text} is what is chosen now");
}

/// The scopes that are ticked.
async fn ticked(browser: &Browser) -> Vec<Value> {
    let ticked = browser
        .run("return [...document.querySelectorAll('[data-testid=key-dialog] fieldset :checked')].map((one) => one.value)")
        .await;
    ticked.as_array().unwrap().clone()
}

/// Creates what the dialog describes; answers the secret, once it was copied and the dialog is closed.
async fn take(browser: &Browser) -> String {
    browser.press("key-dialog-confirm").await;
    let secret = browser.text("new-key").await;
    browser.press("[data-testid=key-made] .code button").await;
    assert_eq!(browser.clipboard().await, secret);
    browser.press("key-made-confirm").await;
    browser.gone("key-made").await;
    secret
}

/// The page's clock stands at this hour, by a time zone in which it does.
async fn at_hour(browser: &Browser, hour: i64) {
    let utc = browser.run("return new Date().getUTCHours()").await.as_i64().unwrap();
    // There are zones from twelve hours behind to fourteen ahead; the sign of these names is turned around.
    let ahead = (hour - utc + 12).rem_euclid(24) - 12;
    let zone = json!({"timezoneId": format!("Etc/GMT{:+}", -ahead)});
    browser.cdp("Emulation.setTimezoneOverride", zone).await;
    let behind = browser.run("return new Date().getTimezoneOffset() / 60").await;
    assert_eq!(behind.as_i64(), Some(-ahead));
}

/// A browser for a gateway that has no simulator of its own, which the page asks for.
async fn beside() -> Browser {
    let browser = Browser::start().await;
    browser.provokes("/v1/sandbox");
    browser
}

async fn alone() -> Gateway {
    Setup::connecting_to(NOBODY).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_made_with_few_rights_shown_once_works_within_them_and_is_revoked() {
    let gateway = demonstration().await;
    let other = gateway.create("Other").await;
    let instances = gateway.client.get("/v1/instances").returns(200).await;
    let demo = instances["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "Demo")
        .unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let browser = Browser::start().await;
    // The days of the key's expiry are those of the calendar: no midnight may come between.
    at_hour(&browser, 12).await;
    browser.open(&gateway, "#/keys").await;
    browser.reads("#view h1", "Two keys work.").await;
    line_reads(&browser, "the test's own", "this one").await;

    browser.press("newKey").await;
    assert_eq!(ticked(&browser).await.len(), 9, "everything, unless less is chosen");
    chip(&browser, "Read only").await;
    assert_eq!(
        ticked(&browser).await,
        [
            "instances:read",
            "messages:read",
            "events:read",
            "webhooks:read",
            "keys:read"
        ]
    );
    chip(&browser, "Send only").await;
    assert_eq!(ticked(&browser).await, ["messages:send"]);
    browser.press("[data-testid=key-dialog] [value='messages:read']").await;
    assert_eq!(
        browser
            .count("[data-testid=key-dialog] fieldset [aria-pressed=true]")
            .await,
        0,
        "it is no preset any more"
    );
    browser.type_into("[data-testid=key-dialog] [name=name]", "crm").await;
    browser
        .choose("[data-testid=key-dialog] [name=instance_id]", &demo)
        .await;
    chip(&browser, "30 days").await;
    browser.inspect("keys-new").await;
    browser.press("key-dialog-confirm").await;

    // Shown once; who has not copied it is told before it is gone, and Escape is no way around.
    let secret = browser.text("new-key").await;
    assert!(secret.starts_with("zpk_live_"), "{secret}");
    let call = browser.text("new-key-curl").await;
    assert!(
        call.contains(&secret.replace('\n', "")[..20]) && call.contains("/v1/limits"),
        "a call that it may make: {call}"
    );
    browser.inspect("keys-made").await;
    browser.keys(Key::Escape).await;
    browser
        .reads("[data-testid=key-made] [role=alert]", "has not been copied")
        .await;
    browser.press("[data-testid=key-made] .code button").await;
    let secret = browser.clipboard().await;
    browser.press("key-made-confirm").await;
    browser.gone("key-made").await;
    line_reads(&browser, "crm", "Messages: send, read").await;
    line_reads(&browser, "crm", "Demo").await;
    line_reads(&browser, "crm", "Never used").await;
    line_reads(&browser, "crm", "expires in 30 days").await;
    let page = browser.run("return document.documentElement.outerHTML").await;
    assert!(!page.as_str().unwrap().contains(&secret), "the page has forgotten it");

    let client = gateway.client.with_key(&secret);
    client.get("/v1/limits").returns(200).await;
    client.get("/v1/instances").refused(403, "insufficient_scope").await;
    let message = json!({"to": "5511999990001", "body": {"type": "text", "text": "hello"}});
    client
        .post(&other.path("/messages"), &message)
        .refused(403, "instance_access_denied")
        .await;
    client
        .post(&format!("/v1/instances/{demo}/messages"), &message)
        .refused(409, "not_connected")
        .await;
    browser.reload().await;
    line_reads(&browser, "crm", "used ").await;
    browser.inspect("keys").await;

    revoke(&browser, "crm").await;
    browser.reads("revoke-dialog", "refused at once").await;
    browser.inspect("keys-revoke").await;
    browser.press("revoke-dialog-confirm").await;
    browser.reads("#view h1", "Two keys work.").await;
    assert_eq!(shown(&browser, "crm").await, "");
    assert_eq!(browser.focused().await, "newKey", "the focus is on what is still there");
    client.get("/v1/limits").refused(401, "auth_invalid").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_ends_says_so_before_and_after() {
    let gateway = alone().await;
    let browser = beside().await;
    browser.open(&gateway, "#/keys").await;
    browser.press("newKey").await;
    browser
        .type_into("[data-testid=key-dialog] [name=name]", "for a month")
        .await;
    chip(&browser, "30 days").await;
    browser.press("[data-testid=key-dialog] [name=mode]").await;
    let secret = take(&browser).await;
    assert!(secret.starts_with("zpk_test_"), "{secret}");
    line_reads(&browser, "for a month", "Everything").await;
    gateway.client.with_key(&secret).get("/v1/instances").returns(200).await;

    gateway.advance(26 * DAY).await;
    browser.reload().await;
    browser.reads("#view h1", "One ends within a week.").await;
    line_reads(&browser, "for a month", "expires in ").await;
    gateway.advance(6 * DAY).await;
    browser.reload().await;
    browser.reads("#view h1", "One key works. One expired.").await;
    line_reads(&browser, "for a month", "expired ").await;
    browser.inspect("keys-expired").await;
    gateway
        .client
        .with_key(&secret)
        .get("/v1/instances")
        .refused(401, "auth_expired")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_days_are_thirty_days_in_the_morning_and_in_the_evening() {
    let gateway = alone().await;
    let browser = beside().await;
    browser.open(&gateway, "#/keys").await;
    for hour in [1, 22] {
        at_hour(&browser, hour).await;
        browser.reload().await;
        browser.press("newKey").await;
        let name = format!("made at {hour}");
        browser.type_into("[data-testid=key-dialog] [name=name]", &name).await;
        chip(&browser, "30 days").await;
        take(&browser).await;
        line_reads(&browser, &name, "expires in 30 days").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_refuses_stands_at_its_field() {
    let gateway = alone().await;
    let browser = beside().await;
    browser.provokes("/v1/api-keys");
    browser.open(&gateway, "#/keys").await;
    browser.press("newKey").await;
    let script = "const form = document.querySelector('[data-testid=key-dialog] form'); form.elements.expires_at.value = '2020-01-31'; \
        for (const box of form.querySelectorAll('fieldset :checked')) box.click();";
    browser.run(script).await;
    browser.press("key-dialog-confirm").await;
    browser.reads("#f-name-problem", "must not be empty").await;
    assert_eq!(browser.run("return document.activeElement.name").await, "name");
    browser.type_into("[data-testid=key-dialog] [name=name]", "crm").await;
    browser.press("key-dialog-confirm").await;
    browser.reads("#f-expires_at-problem", "must be in the future").await;
    browser.reads("#f-scopes-problem", "at least one scope").await;
    assert_eq!(
        browser.count("#f-name-problem").await,
        0,
        "what is mended is not told again"
    );
    browser.inspect("keys-refused").await;
    browser
        .run("document.querySelector('[name=expires_at]').value = ''")
        .await;
    chip(&browser, "Send only").await;
    take(&browser).await;
    line_reads(&browser, "crm", "Send only").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_sees_and_makes_no_more_than_it_may_and_is_warned_before_it_revokes_itself() {
    let gateway = alone().await;
    let secret = async |name: &str, scopes: Value| {
        let key = gateway.new_key(&json!({"name": name, "scopes": scopes})).await;
        key["secret"].as_str().unwrap().to_owned()
    };
    let browser = beside().await;
    browser.provokes("403 (Forbidden)");
    browser.provokes("401 (Unauthorized)");
    let sender = secret("sender", json!(["messages:send"])).await;
    browser.open_with_key(&gateway, &sender, "#/keys").await;
    browser.reads("may-not", "keys:read").await;
    browser.gone("newKey").await;
    browser.inspect("keys-may-not").await;

    let reader = secret("reader", json!(["keys:read"])).await;
    browser.open_with_key(&gateway, &reader, "#/keys").await;
    line_reads(&browser, "reader", "this one").await;
    browser.reads("#view .head p", "not make or revoke them").await;
    browser.gone("newKey").await;
    browser.gone("revoke").await;

    let keeper = secret("keeper", json!(["instances:read", "keys:read", "keys:write"])).await;
    browser.open_with_key(&gateway, &keeper, "#/keys").await;
    browser.press("newKey").await;
    assert_eq!(ticked(&browser).await, ["instances:read", "keys:read", "keys:write"]);
    browser
        .type_into("[data-testid=key-dialog] [name=name]", "made by keeper")
        .await;
    let made = take(&browser).await;
    let made: Client = gateway.client.with_key(&made);
    made.get("/v1/api-keys").returns(200).await;
    made.get("/v1/webhook-endpoints")
        .refused(403, "insufficient_scope")
        .await;

    revoke(&browser, "keeper").await;
    browser.reads("revoke-dialog", "this page closes as well").await;
    browser.press("revoke-dialog-confirm").await;
    browser.see("key-form").await;
}
