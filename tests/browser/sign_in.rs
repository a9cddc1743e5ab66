//! The door of the page: first run, password, key, and what happens when a sign-in ends.

use serde_json::json;
use thirtyfour::Key;

use super::driver::{Browser, demonstration};
use crate::harness::gateway::{SANDBOX, Setup};
use crate::harness::{Gateway, Simulator};

const PASSWORD: &str = "a quiet yellow lamp";

/// A fresh one-time link.
async fn setup_link(gateway: &Gateway) -> String {
    let link = gateway.owner().post_empty("/v1/setup-links").returns(201).await;
    link["url"].as_str().unwrap().to_owned()
}

/// The link that the gateway printed when it started.
async fn printed_link(gateway: &Gateway) -> String {
    gateway
        .log()
        .find("the one-time link", 0, |line| {
            let link = line.split_whitespace().find(|word| word.contains("/#setup="))?;
            Some(link.to_owned())
        })
        .await
}

/// A gateway that was given the dashboard's password, as where nobody can open a link.
async fn with_password() -> Gateway {
    Setup::of(SANDBOX.into())
        .arg("--simulator-listen")
        .arg("127.0.0.1:0")
        .env("WHATISUP_DASHBOARD_PASSWORD", PASSWORD)
        .start()
        .await
}

async fn sign_in(browser: &Browser) {
    browser.type_into("password", PASSWORD).await;
    browser.press("login-go").await;
    browser.see("sign-out").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_run_leads_from_the_link_to_a_password_a_key_and_a_code_to_scan() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let browser = Browser::start().await;
    let page = format!("{}/", gateway.client.base());
    browser.goto(&page).await;
    browser.reads("main h1", "No password yet").await;
    browser.reads(".code pre", "whatisup setup-link").await;
    browser.inspect("no-password").await;

    let link = printed_link(&gateway).await;
    browser.goto("about:blank").await;
    browser.goto(&link).await;
    browser.see("setup-form").await;
    assert!(!browser.url().await.contains("setup"), "the address keeps no secret");
    browser.type_into("password", "too short").await;
    browser.press("setup-go").await;
    browser.reads("setup-problem", "10 characters").await;
    browser.inspect("setup-password").await;
    browser.reload().await;
    browser.type_into("password", PASSWORD).await;
    browser.reads("strength", "Strong").await;
    browser.press("setup-go").await;

    browser.press("first-key-go").await;
    browser.see("stored").await;
    let key = browser.text("first-key").await;
    gateway
        .client
        .with_key(key.clone())
        .get("/v1/instances")
        .returns(200)
        .await;
    let waits = browser.see("first-key-go").await;
    assert!(!waits.is_enabled().await.unwrap(), "nobody goes on without the key");
    browser.inspect("setup-key").await;
    browser.reload().await;
    assert_eq!(browser.text("first-key").await, key, "a reload loses nothing");
    browser.press("stored").await;
    browser.press("first-key-go").await;

    browser.see("first-instance-form").await;
    browser.inspect("setup-instance").await;
    browser.reload().await;
    browser.type_into("name-input", "Front desk").await;
    browser.keys(Key::Enter).await;
    browser.see("qr-image").await;
    browser.reads("instance-title", "Front desk").await;
    let kept = browser
        .run("return document.cookie + JSON.stringify({...sessionStorage, ...localStorage})")
        .await
        .to_string();
    assert!(
        !kept.contains(&key) && !kept.contains("whatisup_"),
        "what scripts can read: {kept}"
    );

    browser.goto("about:blank").await;
    browser.goto(&link).await;
    browser.see("answer").await;
    browser.press("sign-out").await;
    browser.see("login-form").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_was_replaced_says_how_to_get_another() {
    let gateway = demonstration().await;
    let old = setup_link(&gateway).await;
    setup_link(&gateway).await;
    let browser = Browser::start().await;
    browser.goto(&old).await;
    browser.type_into("password", PASSWORD).await;
    browser.provokes("/v1/setup");
    browser.press("setup-go").await;
    browser.reads("main h1", "No password yet").await;
    browser.reads("h1 + p", "has been used").await;
    browser.inspect("setup-link-used").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_costs_a_try_and_the_third_one_a_pause_that_counts_down() {
    let gateway = with_password().await;
    let browser = Browser::start().await;
    browser.goto(&format!("{}/", gateway.client.base())).await;
    browser.see("login-form").await;
    browser.inspect("login").await;
    browser.press("login-go").await;
    browser.reads("login-problem", "Type the password").await;

    browser.provokes("/v1/session");
    for said in ["Two more tries", "One more try", "Now a pause"] {
        browser.type_into("password", "not the password").await;
        browser.keys(Key::Enter).await;
        browser.reads("login-problem", said).await;
    }
    browser.reads("login-go", "Wait").await;
    let waits = browser.see("login-go").await;
    assert!(!waits.is_enabled().await.unwrap());
    browser.inspect("login-pause").await;

    // The pause is the gateway's, not the page's.
    browser.reload().await;
    browser.type_into("password", PASSWORD).await;
    browser.press("login-go").await;
    browser.reads("login-problem", "Too many wrong passwords").await;
    gateway.advance(61).await;
    browser.reload().await;
    sign_in(&browser).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_that_is_ended_elsewhere_leads_to_the_door_and_back_to_the_same_view() {
    let gateway = with_password().await;
    let browser = Browser::start().await;
    browser.goto(&format!("{}/#/keys", gateway.client.base())).await;
    sign_in(&browser).await;
    browser.reads(".foot wu-live", "Live").await;
    browser
        .until("the room of the address", "document.title.includes('Keys')")
        .await;

    // Chromium notes the refusal, and the stream that was cut.
    browser.provokes("401");
    browser.provokes("net::ERR_");
    gateway.owner().delete("/v1/sessions").returns(204).await;
    browser.see("login-form").await;
    browser.reads("h1 + p", "has ended").await;
    browser.inspect("login-again").await;
    sign_in(&browser).await;
    assert!(browser.url().await.ends_with("#/keys"));
    browser
        .until("the room of the address", "document.title.includes('Keys')")
        .await;

    browser.press("sign-out").await;
    browser.see("login-form").await;
    browser.reload().await;
    browser.see("login-form").await;
    let sessions = gateway.client.get("/v1/sessions").returns(200).await;
    assert_eq!(sessions["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_opens_the_page_for_one_tab_until_it_is_forgotten_or_revoked() {
    let gateway = with_password().await;
    let browser = Browser::start().await;
    browser.goto(&format!("{}/", gateway.client.base())).await;
    browser.press("use-key").await;
    browser.inspect("sign-in-by-key").await;
    browser.type_into("key-input", "not a key, see").await;
    browser.keys(Key::Enter).await;
    browser.reads("key-problem", "not an API key").await;
    browser.type_into("key-input", gateway.client.key()).await;
    browser.keys(Key::Enter).await;
    browser.see("instance").await;
    browser.reload().await;
    browser.see("instance").await;
    browser.press("forget-key").await;
    browser.see("login-form").await;

    let key = gateway.new_key(&json!({"name": "for an afternoon"})).await;
    browser
        .open_with_key(&gateway, key["secret"].as_str().unwrap(), "#/")
        .await;
    browser.see("instance").await;
    browser.provokes("401");
    browser.provokes("net::ERR_");
    let path = format!("/v1/api-keys/{}", key["id"].as_str().unwrap());
    gateway.client.delete(&path).returns(204).await;
    browser.see("key-form").await;
    browser.reads("key-problem", "auth_invalid").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_cannot_be_loaded_says_so_and_is_shown_when_the_gateway_is_back() {
    let mut gateway = with_password().await;
    let browser = Browser::start().await;
    browser.goto(&format!("{}/", gateway.client.base())).await;
    sign_in(&browser).await;
    browser.see("instance").await;
    gateway.kill();
    browser.provokes("net::ERR_");
    browser.provokes("Failed to fetch dynamically imported module");
    browser.see("banner").await;
    browser.visit("#/webhooks").await;
    browser.reads("error", "could not be loaded").await;
    browser.inspect("room-not-loaded").await;
    gateway.start_again().await;
    browser.gone("error").await;
    browser.gone("banner").await;
    browser.see("#view h1").await;
    browser.reads(".foot wu-live", "Live").await;
}
