//! The simulated phone of the sandbox, as a phone.

use super::driver::{Browser, demonstration, printed_key};
use crate::harness::Instance;

/// The phone that owns the number in the demonstration.
const ACCOUNT: &str = "5511999990001";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulated_phone_scans_writes_goes_offline_fails_and_unlinks() {
    let gateway = demonstration().await;
    let key = printed_key(&gateway).await;
    let instances = gateway.client.get("/v1/instances").returns(200).await;
    let instance = Instance::new(&gateway, instances["data"][0]["id"].as_str().unwrap());
    let browser = Browser::start().await;
    browser
        .open_with_key(&gateway, &key, &format!("#/instances/{}", instance.id))
        .await;
    // At first it is the phone that can scan, then one that can write.
    browser.press("phone-scan").await;
    browser.reads("instance-state", "Connected").await;
    browser.type_into("phone-text", "hello from the phone").await;
    browser.press("phone-send").await;
    browser.reads("phone-sent", "hello from the phone").await;
    browser.reads("chat-message", "hello from the phone").await;

    browser.press("phone-offline").await;
    browser.reads("phone-state", "Offline").await;
    browser.type_into("send-text", "are you there?").await;
    browser.press("send-button").await;
    browser
        .reads("[data-testid=chat-message][data-state=sent]", "are you there?")
        .await;
    browser.reads("phone-state", "waiting").await;
    browser.inspect("phone-offline").await;
    browser.press("phone-online").await;
    browser.reads("phone-received", "are you there?").await;
    browser.gone("[data-testid=chat-message][data-state=sent]").await;

    browser.press("phone-fail").await;
    browser.reads("phone-state", "The next message fails").await;
    browser.type_into("send-text", "in vain").await;
    browser.press("send-button").await;
    browser
        .reads("[data-testid=chat-message][data-state=failed]", "not sent")
        .await;
    browser.see("phone-fail").await;
    browser.inspect("phone-failed").await;

    browser.choose("phone-select", ACCOUNT).await;
    browser.press("phone-unlink").await;
    browser.reads("instance-state", "Failed").await;
    browser.gone("phone-unlink").await;
    browser.inspect("phone-unlinked").await;
}
