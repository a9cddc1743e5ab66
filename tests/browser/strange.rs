//! Names and texts that people and machines really write.

use serde_json::json;

use super::driver::{Browser, demonstration};

const STRANGE: [&str; 9] = [
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaftsversammlungsprotokolle",
    "مكتب الدعم الفني للعملاء في القاهرة",
    "\u{202e}txet desrever\u{202c} after",
    "👩‍👩‍👧‍👦🏳️‍🌈👍🏽 family 🧑🏿‍🚀",
    "<img src=x onerror=\"document.title='taken'\"><b>bold</b>",
    "\"><script>document.title='taken'</script>",
    "**stars** {{braces}} ${dollars} %s &amp; ' ` \\",
    "Z̸̢̛͎̱̙̲͖̖̈́̈́̀̔a̷̡̛͙͉̱͍͕͗͐̅̔l̴̡̛̟̬̱͇̈́̃̈́͝g̵̢̛̛̤͔͙̈́̓̾̚o̶̧̜̰͍̱͌̈́̈́̚",
    "客户支持服务中心客户支持服务中心客户支持服务中心客户支持服务中心客户支持服务中心",
];

/// The page has made an element, or done something, that a name told it to.
const TAKEN: &str = "document.title === 'taken' || Boolean(document.querySelector('#view :is(img[src=x], script)'))";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strange_names_are_shown_as_they_are_and_break_nothing() {
    let gateway = demonstration().await;
    let mut names = STRANGE.map(str::to_owned).to_vec();
    names.push("x".repeat(100));
    names.push("W".repeat(100));
    for name in &names {
        let name: String = name.chars().take(100).collect();
        gateway
            .client
            .post("/v1/instances", &json!({"name": name}))
            .returns(201)
            .await;
        gateway
            .client
            .post("/v1/api-keys", &json!({"name": name}))
            .returns(201)
            .await;
        let endpoint = json!({"url": format!("http://127.0.0.1:9999/{}", "long".repeat(60)), "description": name, "events": ["*"], "enabled": false});
        gateway
            .client
            .post("/v1/webhook-endpoints", &endpoint)
            .returns(201)
            .await;
    }
    let instances = gateway.client.get("/v1/instances?limit=100").returns(200).await;
    let browser = Browser::start().await;
    browser.open(&gateway, "#/").await;
    for (room, each) in [("#/", "instance"), ("#/webhooks", "hook"), ("#/keys", "key")] {
        browser.visit(room).await;
        browser.see("#view h1").await;
        browser.see(each).await;
        // A webhook's description is the title of the chosen one alone.
        for name in STRANGE[1..].iter().filter(|_| each != "hook") {
            browser.reads(each, name).await;
        }
        for width in [320, 390, 760, 1280] {
            browser.width(width).await;
            assert_eq!(browser.sideways().await, [""; 0], "{room} at {width}");
        }
        assert_eq!(browser.run(&format!("return {TAKEN}")).await, false, "{room}");
        browser.inspect(&format!("strange-{each}")).await;
    }
    for instance in instances["data"].as_array().unwrap() {
        browser
            .visit(&format!("#/instances/{}", instance["id"].as_str().unwrap()))
            .await;
        let name = instance["name"].as_str().unwrap();
        browser.reads("instance-title", name).await;
        browser.width(320).await;
        assert_eq!(browser.sideways().await, [""; 0], "{name}");
        browser.press("do-rename").await;
        assert_eq!(browser.value("name-input").await, name);
        assert_eq!(browser.run(&format!("return {TAKEN}")).await, false, "{name}");
        browser.press("dialog[open] [type=button]").await;
    }
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "the console shows: {complaints:#?}");
}
