//! The specification's sample, from another origin.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::driver::Browser;
use crate::harness::{FRIEND, Gateway, OWNER, Simulator, eventually};

/// Another origin: one page for whoever asks.
async fn origin(page: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let page = page.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = socket.read(&mut request).await;
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    page.len()
                );
                let _ = socket.write_all(head.as_bytes()).await;
                let _ = socket.write_all(page.as_bytes()).await;
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_sample_runs_from_another_origin_and_misses_nothing_over_a_restart() {
    let simulator = Simulator::start().await;
    let mut gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let page = format!(
        r#"<!doctype html><link rel="icon" href="data:,"><title>sample</title><script>
        const base = {base:?}, key = {key:?};
        window.seen = []; window.opened = 0;
        const source = new EventSource(base + '/v1/events?token=' + key);
        source.addEventListener('open', () => window.opened++);
        source.addEventListener('message', (e) => {{
            const event = JSON.parse(e.data);
            if (event.event === 'message.received') window.seen.push(event.body.text);
        }});
        </script>"#,
        base = gateway.client.base(),
        key = gateway.client.key(),
    );
    let browser = Browser::start().await;
    browser.goto(&origin(page).await).await;
    eventually("the stream to open", async || {
        (browser.run("return opened").await == 1).then_some(())
    })
    .await;

    simulator.send(FRIEND, OWNER, "before").await;
    let seen = async |texts: &[&str]| {
        let expected = json!(texts);
        eventually(&format!("{expected} in the browser"), async || {
            (browser.run("return seen").await == expected).then_some(())
        })
        .await;
    };
    seen(&["before"]).await;
    gateway.stop().await;
    simulator.send(FRIEND, OWNER, "while it was away").await;
    gateway.start_again().await;
    instance.becomes("connected").await;
    simulator.send(FRIEND, OWNER, "after").await;
    seen(&["before", "while it was away", "after"]).await;
    assert_eq!(
        browser.run("return opened").await,
        2,
        "the browser came back by itself, once"
    );

    gateway.kill();
    gateway.start_again().await;
    instance.becomes("connected").await;
    simulator.send(FRIEND, OWNER, "after a kill").await;
    seen(&["before", "while it was away", "after", "after a kill"]).await;
}
