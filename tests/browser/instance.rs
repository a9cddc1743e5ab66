//! One instance: linked by a code that changes, settings, the conversation that proves it, the end of it.

use std::process::Command;

use serde_json::{Value, json};

use thirtyfour::Key;

use super::driver::{Browser, demonstration, printed_key};
use crate::harness::{FRIEND, Gateway, Instance, OWNER, Simulator, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_to_scan_counts_down_and_changes_by_itself_beside_one_to_type() {
    let gateway = demonstration().await;
    let key = printed_key(&gateway).await;
    let instance = gateway.create("Reception").await;
    let browser = Browser::start().await;
    browser
        .open_with_key(&gateway, &key, &format!("#/instances/{}/qr", instance.id))
        .await;
    browser.see("qr-image").await;
    let drawn = "document.querySelector('[data-testid=qr-image]')?.naturalWidth > 100";
    browser.until("the picture of the code", drawn).await;
    browser.reads(".count", "until the next code").await;
    // Between two codes there is none.
    let code = "document.querySelector('[data-testid=qr-image]')?.src";
    browser.until("a code", code).await;
    let first = browser.run(&format!("return {code}")).await;
    // Going back or loading again must not start a session by itself.
    assert!(!browser.url().await.contains("/qr"));

    // The protocol's own minute, which the gateway's clock does not move: waited for in two halves.
    let late = "Number(document.querySelector('.count')?.textContent.match(/\\d+/)?.[0]) < 30";
    browser.until("half of the time to be over", late).await;
    let another = format!("({code} ?? {first}) !== {first}");
    browser.until("another code", &another).await;
    browser.type_into("pair-number", "5511999990001").await;
    browser.press("pair-get").await;
    browser.reads("pair-code", "-").await;
    browser.reads(".or", "valid for").await;
    browser.inspect("instance-codes").await;

    browser.press("scan-button").await;
    instance.becomes("connected").await;
    browser.reads("instance-state", "Connected").await;
    browser.gone("qr-image").await;
}

/// The page of a linked instance.
async fn linked(simulator: &Simulator, gateway: &Gateway, browser: &Browser) -> Instance {
    browser.provokes("/v1/sandbox");
    let instance = gateway.link(simulator, OWNER).await;
    browser.open(gateway, &format!("#/instances/{}", instance.id)).await;
    browser.reads("instance-state", "Connected").await;
    instance
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_four_settings_are_saved_at_once_and_still_there_after_a_reload() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let browser = Browser::start().await;
    let instance = linked(&simulator, &gateway, &browser).await;
    let settings = async || gateway.client.get(&instance.path("/settings")).returns(200).await;
    let waits = "set-callback_backoff";
    let field = format!("[data-testid={waits}]");
    // Emptying the field would be a change of its own.
    let over = async |text: &str| {
        let input = browser.see(&field).await;
        input.send_keys(Key::Control + "a").await.unwrap();
        input.send_keys(text).await.unwrap();
        input.send_keys(Key::Enter + "").await.unwrap();
    };
    over("5, 30").await;
    browser.reads(".tog", "Saved").await;
    eventually("the waits to be saved", async || {
        (settings().await["callback_backoff"] == json!([5, 30])).then_some(())
    })
    .await;

    // Each switch is turned from what applies without a choice.
    let switches = [
        ("send_while_disconnected", json!("queue")),
        ("mark_online", json!(false)),
        ("reject_calls", json!(true)),
    ];
    let is_on = async |name: &str| {
        let switch = browser.see(&format!("[data-testid=set-{name}]")).await;
        switch.is_selected().await.unwrap()
    };
    for (name, chosen) in &switches {
        assert_eq!(is_on(name).await, *name == "mark_online", "{name}");
        browser.press(&format!("[data-testid=set-{name}]")).await;
        eventually(&format!("{name} to be saved"), async || {
            (settings().await[*name] == *chosen).then_some(())
        })
        .await;
    }
    let saved = settings().await;
    let drawn = browser.count("[data-testid^=set-]").await;
    assert_eq!(
        drawn,
        saved.as_object().unwrap().len(),
        "each one is on the page: {saved}"
    );
    browser.inspect("instance-settings").await;
    browser.reload().await;
    assert_eq!(browser.value(&field).await, "5, 30");
    for (name, _) in &switches {
        assert_eq!(is_on(name).await, *name != "mark_online", "{name}");
    }
    assert_eq!(settings().await, saved);

    // What the gateway refuses is told, and the field shows what applies.
    browser.provokes("/settings");
    over("soon").await;
    browser.see("[data-testid=error][data-code=validation_failed]").await;
    assert_eq!(browser.value(&field).await, "5, 30");
    assert_eq!(settings().await, saved);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_message_shows_its_ticks_in_words_and_the_copied_call_does_the_same() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let browser = Browser::start().await;
    let instance = linked(&simulator, &gateway, &browser).await;
    simulator.send(FRIEND, OWNER, "are you there?").await;
    browser.reads("chat-message", "are you there?").await;

    browser.press("send-button").await;
    browser.see(".problem [role=alert]").await;
    browser.type_into("send-to", &format!("+{FRIEND}")).await;
    let text = "It's 5 o'clock: \"done\" & <b>dusted</b>";
    browser.type_into("send-text", text).await;
    browser
        .press("[data-testid=curl] + *, .code:has([data-testid=curl]) button")
        .await;
    let call = browser.clipboard().await;
    browser.press("send-button").await;
    let sent = simulator.gets(FRIEND, text).await;
    browser.reads("chat-message", "delivered").await;
    simulator.read(FRIEND, sent["id"].as_str().unwrap()).await;
    browser
        .reads("[data-testid=chat-message][data-state=read]", "read")
        .await;
    browser.reads("fact-sent", "1").await;
    browser.reads("fact-received", "1").await;
    browser.inspect("instance-conversation").await;

    let done = Command::new("sh")
        .args(["-c", &call])
        .env("KEY", gateway.client.key())
        .output()
        .unwrap();
    let answer: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{call}: {done:?}"));
    assert!(answer["message_id"].is_string(), "{answer}");
    eventually("the same text once more", async || {
        let texts = simulator.texts(FRIEND).await;
        (texts.iter().filter(|one| *one == text).count() == 2).then_some(())
    })
    .await;
    instance.settles().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logging_out_asks_first_and_deleting_wants_the_name_typed() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let browser = Browser::start().await;
    let instance = linked(&simulator, &gateway, &browser).await;
    browser.press("do-restart").await;
    browser.reads("[data-testid=event]", "connecting").await;
    browser.reads("instance-state", "Connected").await;

    browser.press("do-rename").await;
    browser.type_into("name-input", "Front desk").await;
    browser.press("rename-dialog-confirm").await;
    browser.reads("instance-title", "Front desk").await;

    browser.press("do-logout").await;
    browser.see("logout-dialog").await;
    browser.keys(Key::Escape).await;
    browser.gone("logout-dialog").await;
    assert_eq!(instance.get().await["status"], "connected", "only asked");
    browser.press("do-logout").await;
    browser.press("logout-dialog-confirm").await;
    browser.reads("instance-state", "Not linked yet").await;

    browser.press("do-remove").await;
    browser.type_into("confirm-input", "something else").await;
    browser.press("remove-dialog-confirm").await;
    browser.inspect("instance-delete").await;
    assert_eq!(instance.get().await["name"], "Front desk", "still there");
    browser.type_into("confirm-input", "Front desk").await;
    browser.press("remove-dialog-confirm").await;
    browser.reads("answer", "Link the first phone").await;
    browser.inspect("overview-empty").await;
    gateway
        .client
        .get(&instance.path(""))
        .refused(404, "instance_not_found")
        .await;
}
