//! The description of the API, as a reader meets it.

use super::driver::Browser;
use crate::harness::gateway::Setup;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_of_the_api_opens_the_call_that_its_address_names() {
    let gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    let browser = Browser::start().await;
    let base = gateway.client.base();
    browser.goto(&format!("{base}/docs")).await;
    browser.see("#start pre").await;
    browser.inspect("docs").await;
    let shown = "return [...document.querySelectorAll('details[open] [id]')].map((one) => one.id).join()";
    assert_eq!(browser.run(shown).await, "");
    browser.goto(&format!("{base}/docs#messages.send")).await;
    browser
        .until(
            "the call to be open",
            "document.getElementById('messages.send').checkVisibility()",
        )
        .await;
    assert_eq!(browser.run(shown).await, "messages.send");
    browser.inspect("docs-call").await;
    // The lines are meant to be pasted: the first one names this very gateway.
    let first = browser
        .run("return document.querySelector('#start pre').textContent")
        .await;
    assert!(
        first.as_str().unwrap().contains(&format!("export BASE={base}\n")),
        "{first}"
    );
}
