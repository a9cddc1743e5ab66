//! What a person sets by hand or his system asks for: language, colours, window, keyboard.

use thirtyfour::Key;

use super::driver::{Browser, demonstration};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn language_and_colours_follow_the_person_and_stay_after_a_reload() {
    let gateway = demonstration().await;
    let browser = Browser::start().await;
    browser.open(&gateway, "#/").await;
    browser.see("instance").await;
    let english = browser.text("answer").await;
    browser.language("pt").await;
    browser.see("instance").await;
    assert_ne!(browser.text("answer").await, english);
    browser.width(320).await;
    assert_eq!(browser.sideways().await, [""; 0]);

    let ground = async || {
        browser
            .run("return getComputedStyle(document.documentElement).backgroundColor")
            .await
    };
    let day = ground().await;
    browser.scheme("dark").await;
    let night = ground().await;
    assert_ne!(night, day, "the page follows the system");
    browser.press("theme").await;
    assert_eq!(ground().await, day, "light by choice, on a dark system");
    browser.reload().await;
    browser.see("instance").await;
    assert_eq!(ground().await, day, "the choice stays");
    assert_ne!(browser.text("answer").await, english, "and so does the language");

    browser.scheme("light").await;
    browser.press("theme").await;
    assert_eq!(ground().await, night, "dark by choice, on a light system");
    browser.reload().await;
    browser.see("instance").await;
    assert_eq!(ground().await, night, "the choice stays");
    browser.press("theme").await;
    assert_eq!(ground().await, day, "as the system again");
    browser.scheme("dark").await;
    assert_eq!(ground().await, night, "and with it when it changes");
    browser.reload().await;
    browser.see("instance").await;
    browser.scheme("light").await;
    assert_eq!(ground().await, day, "that stays too");
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "the console shows: {complaints:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_moves_in_any_room_when_the_system_asks_for_less_motion() {
    let gateway = demonstration().await;
    let browser = Browser::start().await;
    let busy = async |room: &str| {
        browser.see("main h1").await;
        // Whatever can be pressed is at work, and what waits turns.
        let work = "document.querySelectorAll('.btn').forEach((one) => one.setAttribute('aria-busy', true))";
        browser.run(work).await;
        browser.still(false).await;
        assert_ne!(browser.moves().await, [""; 0], "{room} shows that it is at work");
        browser.still(true).await;
        assert_eq!(browser.moves().await, [""; 0], "{room} stands still");
    };
    browser.goto(gateway.client.base()).await;
    busy("the door").await;
    browser.open(&gateway, "#/").await;
    let instances = gateway.client.get("/v1/instances").returns(200).await;
    let instance = format!("#/instances/{}", instances["data"][0]["id"].as_str().unwrap());
    let codes = format!("{instance}/qr");
    for room in ["#/", "#/events", "#/webhooks", "#/keys", "#/system", &instance, &codes] {
        browser.visit(room).await;
        busy(room).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_call_that_a_page_makes_can_be_copied_with_the_keyboard() {
    let gateway = demonstration().await;
    let browser = Browser::start().await;
    browser.open(&gateway, "#/events").await;
    browser.reload().await;
    browser.see("pause").await;
    browser.keys(Key::Tab).await;
    let first = browser.focused().await;
    assert!(
        first.contains("Skip"),
        "the first stop is the way past the menu, not {first}"
    );
    browser
        .run("document.querySelector('aside .code button').focus()")
        .await;
    browser.keys(Key::Enter).await;
    browser.reads("aside .code button", "Copied").await;
    let copied = browser.clipboard().await;
    assert!(
        copied.starts_with("curl ") && copied.contains("/v1/events"),
        "what was copied: {copied}"
    );
}
