//! The page without a mouse.

use serde_json::Value;
use thirtyfour::Key;

use super::driver::{Browser, Look, demonstration};

/// Names what has the keyboard, and whether it can be seen to have it.
const STOP: &str = "
    const one = document.activeElement;
    if (!one || one === document.body) return null;
    const name = (one) => one.dataset.testid || one.getAttribute('aria-label') || one.id || one.textContent.trim().slice(0, 40) || one.localName;
    window.nameOf = name;
    const ringed = (style) => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
    const box = one.getBoundingClientRect();
    const [x, y] = [box.x + Math.min(box.width / 2, 40), box.y + Math.min(box.height / 2, 40)];
    const hit = document.elementFromPoint(x, y);
    return {
        name: name(one),
        ring: [getComputedStyle(one, '::after'), ...[one, one.parentElement, one.parentElement.parentElement].map((one) => getComputedStyle(one))].some(ringed),
        covered: !(hit && (one.contains(hit) || hit.contains(one))) && `${hit?.localName}.${hit?.className} at ${Math.round(x)}, ${Math.round(y)}`,
    };";

/// What should have been a stop.
const STOPS: &str = "return [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')]
    .filter((one) => !one.disabled && one.tabIndex >= 0 && one.type !== 'radio' && one.checkVisibility({visibilityProperty: true}))
    .map(window.nameOf)";

const AHEAD: &str =
    "return [...document.querySelectorAll('[tabindex]')].filter((one) => one.tabIndex > 0).map((one) => one.outerHTML)";

/// Walks over the view with Tab; answers what is wrong.
async fn walk(browser: &Browser) -> Vec<String> {
    let mut faults = Vec::new();
    let mut names: Vec<String> = Vec::new();
    browser.reload().await;
    browser.see("#view h1").await;
    for _ in 0..150 {
        browser.keys(Key::Tab).await;
        let stop = browser.run(STOP).await;
        let Some(name) = stop["name"].as_str() else { break };
        if names.first().is_some_and(|first| first == name) {
            break;
        }
        if stop["ring"] != true {
            faults.push(format!("{name} does not show that it has the keyboard"));
        }
        if let Some(by) = stop["covered"].as_str() {
            faults.push(format!("{name} has the keyboard below {by}"));
        }
        names.push(name.to_owned());
    }
    if names.first().is_none_or(|first| !first.contains("Skip")) {
        faults.push(format!("the first stop is not the way past the menu: {names:?}"));
    }
    for name in list(&browser.run(STOPS).await) {
        if !names.contains(&name) {
            faults.push(format!("{name} is out of reach of {names:?}"));
        }
    }
    faults.extend(list(&browser.run(AHEAD).await));
    faults
}

fn list(value: &Value) -> Vec<String> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tab_reaches_everything_in_every_room_and_shows_where_it_is() {
    let gateway = demonstration().await;
    let browser = Browser::start().await;
    browser.open_signed_in(&gateway, "a quiet yellow lamp", "#/").await;
    let instances = gateway.client.get("/v1/instances").returns(200).await;
    let id = instances["data"][0]["id"].as_str().unwrap().to_owned();
    let mut faults = Vec::new();
    for room in [
        "#/",
        "#/events",
        "#/webhooks",
        "#/keys",
        "#/system",
        &format!("#/instances/{id}"),
    ] {
        browser.visit(room).await;
        for (width, height) in [(1280, 900), (390, 844)] {
            let look = Look {
                width,
                height,
                ..browser.looks()
            };
            browser.look(look).await;
            for fault in walk(&browser).await {
                faults.push(format!("{room} at {width}: {fault}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_past_the_menu_and_the_menu_itself_work_with_enter() {
    let gateway = demonstration().await;
    let browser = Browser::start().await;
    browser.open(&gateway, "#/").await;
    browser.see("instance").await;
    browser.reload().await;
    browser.see("instance").await;
    browser.keys(Key::Tab).await;
    browser.keys(Key::Enter).await;
    browser
        .until("the keyboard in the content", "document.activeElement.id === 'main'")
        .await;
    browser.keys(Key::Tab).await;
    assert_eq!(browser.focused().await, "new-instance");

    for room in ["events", "webhooks", "keys", "system", ""] {
        let link = format!(".nav a[href='#/{room}']");
        browser
            .run(&format!("document.querySelector(\"{link}\").focus()"))
            .await;
        browser.keys(Key::Enter).await;
        browser.see(&format!("{link}[aria-current=page]")).await;
        browser.see("#view h1").await;
        browser
            .until(
                &format!("the keyboard in the room {room}"),
                "document.activeElement.id === 'main'",
            )
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dialogs_keep_the_keyboard_inside_end_with_escape_and_give_it_back() {
    let gateway = demonstration().await;
    let browser = Browser::start().await;
    let endpoint = serde_json::json!({"url": "http://127.0.0.1:9999/hook", "events": ["*"], "enabled": false});
    gateway
        .client
        .post("/v1/webhook-endpoints", &endpoint)
        .returns(201)
        .await;
    browser.open(&gateway, "#/").await;
    let instances = gateway.client.get("/v1/instances").returns(200).await;
    let instance = format!("#/instances/{}", instances["data"][0]["id"].as_str().unwrap());
    for (room, opener) in [
        ("#/", "new-instance"),
        (&instance, "do-rename"),
        (&instance, "do-remove"),
        ("#/webhooks", "hookNew"),
        ("#/keys", "newKey"),
    ] {
        browser.visit(room).await;
        browser.see(opener).await;
        let focus = format!("document.querySelector('[data-testid={opener}]').focus()");
        browser.run(&focus).await;
        browser.keys(Key::Enter).await;
        browser.see("dialog[open]").await;
        let inside = "return Boolean(document.activeElement.closest('dialog[open]'))";
        assert_eq!(browser.run(inside).await, true, "{opener} takes the keyboard along");
        let stops = browser
            .count("dialog[open] :is(button, input, select, textarea, pre)")
            .await;
        for _ in 0..stops + 2 {
            browser.keys(Key::Tab).await;
            let out =
                "return document.activeElement !== document.body && !document.activeElement.closest('dialog[open]')";
            let at = browser.focused().await;
            assert_eq!(browser.run(out).await, false, "{opener}: the keyboard went to {at}");
        }
        browser.keys(Key::Escape).await;
        browser.gone("dialog[open]").await;
        assert_eq!(browser.focused().await, opener, "the keyboard is back");
    }
    assert_eq!(
        gateway.client.get("/v1/instances").returns(200).await["data"][0]["name"],
        instances["data"][0]["name"],
        "nothing was done"
    );
}
