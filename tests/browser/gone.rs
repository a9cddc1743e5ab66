//! The page while the gateway is away.

use super::driver::{Browser, demonstration};

/// What Chromium writes when nobody answers, or stops in the middle of an answer.
const NO_ANSWER: &str = "net::ERR_";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_says_that_the_gateway_is_gone_keeps_what_it_knows_and_comes_back_by_itself() {
    let mut gateway = demonstration().await;
    let browser = Browser::start().await;
    browser.open(&gateway, "#/").await;
    browser.see("instance").await;
    browser.gone("banner").await;

    gateway.kill();
    browser.provokes(NO_ANSWER);
    browser.see("banner").await;
    assert_eq!(browser.count("instance").await, 1, "what was known stays");
    let writes = "document.querySelector('[data-testid=new-instance]')?.disabled";
    browser.until("writing to be disabled", writes).await;
    browser.inspect("gateway-gone").await;
    browser.still(true).await;
    assert_eq!(browser.moves().await, [""; 0], "everything stands still");

    gateway.start_again().await;
    browser.gone("banner").await;
    browser.reads(".foot wu-live", "Live").await;
    browser.until("writing to be enabled", &format!("!{writes}")).await;
    gateway.create("made while it was back").await;
    browser.reads("instance", "made while it was back").await;
}
