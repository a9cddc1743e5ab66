//! The overview: honest states that change by themselves, many of them, what is looked for.

use super::driver::Browser;
use crate::harness::gateway::Setup;
use crate::harness::{Gateway, OWNER, Simulator};

/// What a gateway without phones refuses.
const NO_PHONES: &str = "/v1/sandbox";

/// The line of an instance.
fn line(id: &str) -> String {
    format!("[data-testid=instance][data-id={id}]")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_state_is_shown_without_a_reload_with_cause_next_step_and_its_last_day() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let shop = gateway.link(&simulator, OWNER).await;
    let browser = Browser::start().await;
    browser.provokes(NO_PHONES);
    browser.open(&gateway, "#/").await;
    let up = format!("{}[data-status=connected]", line(&shop.id));
    browser.see(&up).await;
    browser.run("window.loadedOnce = true").await;
    browser.see(&format!("{up} .trace .now")).await;
    assert_eq!(browser.count(&format!("{up} .trace .up")).await, 1, "it was up");

    let staging = gateway.create("Staging").await;
    browser.reads(&line(&staging.id), "Not linked yet").await;
    browser.reads("answer", "1 of 2 are up").await;
    browser.inspect("overview-two").await;

    shop.act("disconnect").await;
    browser
        .see(&format!("{}[data-status=disconnected]", line(&shop.id)))
        .await;
    browser.reads(&line(&shop.id), "Switched off here").await;
    let down = format!(
        "document.querySelector('{} .trace .down')?.getAttribute('d')",
        line(&shop.id)
    );
    browser.until("the day to go down", &down).await;

    // The button on the line is the next step.
    browser.press(&format!("{} button", line(&shop.id))).await;
    browser.see(&up).await;
    simulator.unlink_all(OWNER).await;
    browser.see(&format!("{}[data-status=failed]", line(&shop.id))).await;
    browser
        .reads(&line(&shop.id), "Messages are refused until you link it again")
        .await;
    browser.reads(&format!("{} a.go", line(&shop.id)), "Link again").await;
    browser.inspect("overview-trouble").await;
    assert_eq!(browser.run("return loadedOnce").await, true, "all on one page");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_stay_where_they_are_while_somebody_is_on_one() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let shop = gateway.link(&simulator, OWNER).await;
    gateway.create("Staging").await;
    let browser = Browser::start().await;
    browser.provokes(NO_PHONES);
    browser.open(&gateway, "#/").await;
    let name = format!("{} .who a", line(&shop.id));
    browser.see(&name).await;
    let group = format!(
        "document.querySelector('{}').closest('section').querySelector('h2').textContent",
        line(&shop.id)
    );
    browser.run(&format!("document.querySelector('{name}').focus()")).await;
    shop.act("disconnect").await;
    browser.reads(&line(&shop.id), "Switched off here").await;
    let stays = browser.run(&format!("return {group}")).await;
    assert!(stays.as_str().unwrap().starts_with("Up"), "{stays}");
    browser.run("document.activeElement.blur()").await;
    browser
        .until(
            "the row to go to its group",
            &format!("{group}.startsWith('Switched off')"),
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_instances_are_cut_found_and_filtered_and_the_address_remembers() {
    const PENDING: usize = 300;
    const LINKED: usize = 22;
    let simulator = Simulator::start().await;
    let gateway = Setup::connecting_to(&simulator.url())
        .env("WHATISUP_LIMITS_BURST", "0")
        .start()
        .await;
    for number in 0..PENDING {
        gateway.create(&format!("Branch {number}")).await;
    }
    for number in 0..LINKED {
        gateway.link(&simulator, &format!("55119700000{number:02}")).await;
    }
    let browser = Browser::start().await;
    browser.provokes(NO_PHONES);
    browser.open(&gateway, "#/").await;
    browser
        .reads("answer", &format!("{LINKED} of {} are up", PENDING + LINKED))
        .await;
    browser.reads("show-all", &format!("Show all {LINKED}")).await;
    assert_eq!(
        browser.count("instance").await,
        PENDING + 20,
        "what works is cut to twenty"
    );

    // One change draws one row anew: all others are the same elements.
    browser
        .run("document.querySelectorAll('.line').forEach((one) => { one.known = true; })")
        .await;
    let fresh = gateway.create("The newest").await;
    browser.see(&line(&fresh.id)).await;
    assert_eq!(
        browser
            .run("return [...document.querySelectorAll('.line')].filter((one) => !one.known).length")
            .await,
        1
    );
    browser.press("show-all").await;
    browser.gone("show-all").await;
    assert_eq!(browser.count("instance").await, PENDING + 1 + LINKED);

    browser.type_into("search", "branch 29").await;
    browser
        .until("eleven to be left", "document.querySelectorAll('.line').length === 11")
        .await;
    browser.reload().await;
    browser
        .until(
            "the same after a reload",
            "document.querySelectorAll('.line').length === 11",
        )
        .await;
    assert_eq!(browser.value("search").await, "branch 29");
    browser.type_into("search", "nobody").await;
    browser.reads(".hint", "Nothing matches").await;
    browser.type_into("search", " ").await;
    browser.press(".chips [value=up]").await;
    browser
        .until("only those up", "document.querySelectorAll('.line').length === 20")
        .await;
    assert!(browser.url().await.contains("show=up"));
    browser.inspect("overview-many").await;
}
