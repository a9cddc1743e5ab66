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
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "the console shows: {complaints:#?}");
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
