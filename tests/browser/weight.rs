//! What one visitor transfers.

use super::driver::{Browser, demonstration};

/// The promise of the page, in bytes.
const LIMIT: u64 = 60_000;

/// Name and size of each file as it came over the wire, compressed, without headers; calls of the API are not the page.
const FILES: &str = "return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')] \
    .map(({name, encodedBodySize}) => [new URL(name).pathname, encodedBodySize]) \
    .filter(([name]) => !name.startsWith('/v1/'))";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_who_sees_every_room_transfers_less_than_sixty_thousand_bytes() {
    let gateway = demonstration().await;
    let browser = Browser::start().await;
    browser.open(&gateway, "#/").await;
    let id = gateway.client.get("/v1/instances").returns(200).await["data"][0]["id"].clone();
    let instance = format!("#/instances/{}", id.as_str().unwrap());
    for room in [instance.as_str(), "#/events", "#/webhooks", "#/keys", "#/system"] {
        browser.visit(room).await;
        browser.see("#view h1").await;
    }
    let files = browser.run(FILES).await;
    let mut total = 0;
    for file in files.as_array().unwrap() {
        let size = file[1].as_u64().unwrap();
        println!("{size:>6} {}", file[0].as_str().unwrap());
        total += size;
    }
    println!("{total:>6} in {} files", files.as_array().unwrap().len());
    for needed in ["/", "/app.js", "/views/webhooks.js"] {
        let came = files
            .as_array()
            .unwrap()
            .iter()
            .any(|file| file[0] == needed && file[1].as_u64() > Some(0));
        assert!(came, "{needed} was counted: {files}");
    }
    assert!(total <= LIMIT, "{total} bytes are more than {LIMIT}: {files:#?}");
}
