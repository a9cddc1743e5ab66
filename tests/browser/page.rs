//! The page as a newcomer meets it in the sandbox.

use super::driver::{Browser, demonstration, printed_key};
use crate::harness::FRIEND;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_links_a_phone_sends_and_shows_what_happens() {
    let gateway = demonstration().await;
    let key = printed_key(&gateway).await;
    let instances = gateway.client.get("/v1/instances").returns(200).await;
    let id = instances["data"][0]["id"].as_str().unwrap().to_owned();
    let browser = Browser::start().await;

    browser.open_with_key(&gateway, &key, "#/").await;
    browser.see(&format!("[data-testid=instance][data-id={id}]")).await;
    assert!(!browser.url().await.contains(&key), "the key is gone from the address");
    browser.inspect("overview").await;
    browser.press(&format!("[data-testid=instance][data-id={id}] a")).await;
    browser.see("instance-title").await;

    let status = async || gateway.client.get(&format!("/v1/instances/{id}")).returns(200).await["status"].clone();
    if status().await != "connected" {
        let shows = "return !!document.querySelector('[data-testid=qr-image]')?.checkVisibility()";
        if browser.run(shows).await == false {
            browser.press("qr-show").await;
        }
        browser.see("qr-image").await;
        browser
            .until(
                "the picture of the code",
                "document.querySelector('[data-testid=qr-image]')?.naturalWidth > 100",
            )
            .await;
        browser.inspect("instance-qr").await;
        // Whoever cannot scan gets a code to type; the picture stays.
        browser.type_into("pair-number", "5511999990001").await;
        browser.press("pair-get").await;
        browser.reads("pair-code", "-").await;
        browser.inspect("instance-pair-code").await;
        browser.press("scan-button").await;
    }
    // The conversation opens when the page knows that the instance is connected.
    browser.see("phone-text").await;
    assert_eq!(status().await, "connected");
    browser.type_into("phone-text", "hello from the phone").await;
    browser.press("phone-send").await;
    browser.see("[data-testid=event][data-event='message.received']").await;
    browser.reads("chat-message", "hello from the phone").await;

    if browser.value("send-to").await.is_empty() {
        browser.type_into("send-to", FRIEND).await;
    }
    browser.type_into("send-text", "hello from the page").await;
    browser.press("send-button").await;
    browser.see("[data-testid=event][data-event='message.delivered']").await;
    browser.inspect("instance-connected").await;
    browser.visit("#/events").await;
    browser.see("event").await;
    browser.inspect("events").await;
}
