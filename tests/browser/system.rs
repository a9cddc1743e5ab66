//! The room of the gateway itself.

use serde_json::{Value, json};

use super::driver::{Browser, demonstration};
use crate::harness::gateway::Setup;
use crate::harness::{Client, Gateway};

const PASSWORD: &str = "a quiet yellow lamp";
const NEXT: &str = "three green paper boats";

async fn alone() -> Gateway {
    Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await
}

/// Signs in from another computer; answers a call with its cookie.
async fn elsewhere(gateway: &Gateway, agent: &str) -> (Client, String) {
    let client = gateway.client.without_key();
    let reply = client
        .post("/v1/session", &json!({"password": PASSWORD}))
        .header("User-Agent", agent)
        .reply(201)
        .await;
    let cookie = reply.header("set-cookie").split(';').next().unwrap().to_owned();
    (client, cookie)
}

/// Whether that other computer is still signed in.
async fn signed_in((client, cookie): &(Client, String)) -> bool {
    let state = client
        .get("/v1/session")
        .header("Cookie", cookie)
        .header("Sec-Fetch-Site", "same-origin")
        .returns(200)
        .await;
    state["session"] != Value::Null
}

/// Sets the password and signs the browser in with it.
async fn sign_in(gateway: &Gateway, browser: &Browser) {
    let link = gateway.owner().post_empty("/v1/setup-links").returns(201).await;
    let (_, token) = link["url"].as_str().unwrap().split_once("/#setup=").unwrap();
    gateway
        .client
        .without_key()
        .post("/v1/setup", &json!({"token": token, "password": PASSWORD}))
        .reply(201)
        .await;
    gateway.owner().delete("/v1/sessions").reply(204).await;
    browser.goto(&format!("{}/", gateway.client.base())).await;
    browser.type_into("password", PASSWORD).await;
    browser.press("login-go").await;
    browser.see("[data-nav]").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_tells_how_it_does_and_who_changed_what_and_keeps_telling() {
    let gateway = demonstration().await;
    let browser = Browser::start().await;
    browser.open(&gateway, "#/system").await;
    browser.reads("#view h1", "Everything is fine.").await;
    browser.reads("fact-version", env!("CARGO_PKG_VERSION")).await;
    browser.reads("fact-memory", "MB of memory").await;
    browser.reads("fact-disk", "% of the disk").await;
    browser.reads("fact-outbox", "No message").await;
    browser.reads("fact-deliveries", "No delivery").await;
    browser.reads("fact-instances", "1 not linked yet").await;
    browser.reads("fact-streams", "event stream").await;

    // Somebody else does something; the page is not touched.
    let ci = gateway.as_key(&json!({"name": "deploy script"})).await;
    let made = ci.post("/v1/instances", &json!({"name": "Shop"})).reply(201).await;
    let id = made.json["id"].as_str().unwrap();
    ci.patch(&format!("/v1/instances/{id}"), &json!({"name": "Corner shop"}))
        .returns(200)
        .await;
    browser.reads("fact-instances", "2 not linked yet").await;
    let created = "[data-testid=change][data-action='instances.create']:nth-child(2)";
    browser.reads(created, "deploy script").await;
    browser.reads(created, "Instances: create Shop").await;
    browser.reads(created, made.header("x-request-id")).await;
    let renamed = "[data-testid=change][data-action='instances.update']";
    browser.reads(renamed, "name: Shop → Corner shop").await;
    browser
        .reads("[data-testid=change][data-action='keys.create']", "On the machine")
        .await;
    browser.inspect("system").await;

    browser.press(".chip[value=keys]").await;
    browser
        .until("the rest to go", "!document.querySelector('[data-action^=instances]')")
        .await;
    browser.see("[data-testid=change][data-action='keys.create']").await;
    browser.press(".chip[value='']").await;
    browser.see(renamed).await;

    // Many more than a page: older ones are fetched on demand.
    for number in 0..30 {
        ci.patch(
            &format!("/v1/instances/{id}"),
            &json!({"name": format!("Shop {number}")}),
        )
        .returns(200)
        .await;
    }
    browser.reads("change", "Shop 28 → Shop 29").await;
    assert_eq!(browser.count("change").await, 25);
    browser.press("older").await;
    browser.reads("change", "Shop → Corner shop").await;
    browser.gone("older").await;
    for link in ["/openapi.json", "/llms.txt", "/docs"] {
        browser.see(&format!("main a[href='{link}']")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_sign_ins_are_ended_from_the_list_and_the_page_says_which_is_its_own() {
    let gateway = alone().await;
    let browser = Browser::start().await;
    browser.provokes("/v1/sandbox");
    browser.provokes("/v1/session");
    sign_in(&gateway, &browser).await;
    let phone = elsewhere(
        &gateway,
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1",
    )
    .await;
    let laptop = elsewhere(
        &gateway,
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    )
    .await;
    browser.visit("#/system").await;
    browser.reads("login", "Safari, iPhone").await;
    browser.reads("login", "Firefox, Linux").await;
    browser.reads("login", "this one").await;
    assert_eq!(browser.count("end").await, 2, "its own is left through the menu");
    browser.inspect("system-sign-ins").await;

    let end = "return [...document.querySelectorAll('[data-testid=login]')].find((one) => one.textContent.includes('iPhone')).querySelector('button').click()";
    browser.run(end).await;
    browser
        .until(
            "the phone to go",
            "document.querySelectorAll('[data-testid=login]').length === 2",
        )
        .await;
    assert!(!signed_in(&phone).await, "the phone is out");
    assert!(signed_in(&laptop).await, "the laptop is not");
    browser.press("endOthers").await;
    browser.gone("end").await;
    browser.gone("endOthers").await;
    assert!(!signed_in(&laptop).await);
    browser.reload().await;
    browser.reads("login", "this one").await;

    // What is done here is told with the sign-in.
    browser.visit("#/").await;
    gateway.create("by key").await;
    browser.press("new-instance").await;
    browser.type_into("name-input", "by hand").await;
    browser.press("create-dialog-confirm").await;
    browser.see("instance-title").await;
    browser.visit("#/system").await;
    browser.reads("[data-testid=change]:first-child", "Dashboard").await;
    browser.reads("change", "Instances: create by hand").await;

    // Whoever is signed in with the password needs no key; the room says what one is for.
    let keys = gateway.owner().get("/v1/api-keys").returns(200).await;
    for key in keys["data"].as_array().unwrap() {
        let path = format!("/v1/api-keys/{}", key["id"].as_str().unwrap());
        gateway.owner().delete(&path).reply(204).await;
    }
    browser.visit("#/keys").await;
    browser.reads("#view h1", "No key works.").await;
    browser.reads("#view .head p", "Give each program its own key").await;
    browser.see("[data-testid=newKey].go").await;
    browser.inspect("keys-none").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_is_changed_by_whoever_knows_it_and_the_others_are_out() {
    let gateway = alone().await;
    let browser = Browser::start().await;
    browser.provokes("/v1/sandbox");
    browser.provokes("/v1/session");
    browser.provokes("/v1/password");
    sign_in(&gateway, &browser).await;
    let laptop = elsewhere(&gateway, "laptop").await;
    browser.visit("#/system").await;
    browser.press("passwordChange").await;
    browser.type_into("#current_password", "not the password").await;
    browser.type_into("#new_password", "short").await;
    browser.reads("strength", "At least 10").await;
    browser.type_into("#new_password", NEXT).await;
    browser.reads("strength", "Strong").await;
    browser.press("password-dialog-confirm").await;
    browser
        .reads("[data-testid=password-dialog] .complaint", "Wrong password.")
        .await;
    browser.inspect("system-password").await;
    browser.type_into("#current_password", PASSWORD).await;
    browser.press("password-dialog-confirm").await;
    browser.gone("password-dialog").await;
    browser
        .until(
            "the others to go",
            "document.querySelectorAll('[data-testid=login]').length === 1",
        )
        .await;
    assert!(!signed_in(&laptop).await);
    let sign_in = |password: &str| {
        gateway
            .client
            .without_key()
            .post("/v1/session", &json!({"password": password}))
    };
    sign_in(PASSWORD).refused(401, "auth_invalid").await;
    sign_in(NEXT).reply(201).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_with_few_rights_reads_what_it_may_and_is_told_what_is_missing() {
    let gateway = alone().await;
    let key = gateway
        .new_key(&json!({"name": "viewer", "scopes": ["instances:read", "events:read"]}))
        .await;
    let browser = Browser::start().await;
    browser.provokes("/v1/sandbox");
    browser.provokes("403 (Forbidden)");
    browser
        .open_with_key(&gateway, key["secret"].as_str().unwrap(), "#/system")
        .await;
    browser.reads("fact-version", "WhatIsUp").await;
    browser.reads("may-not", "keys:read").await;
    assert_eq!(browser.count("may-not").await, 2, "sign-ins and changes");
    browser.gone("passwordChange").await;
    browser.inspect("system-may-not").await;
}
