//! A real Chromium: the specification's sample from another origin, and the page.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::gateway::{SANDBOX, Setup};
use crate::harness::process::{Log, Process};
use crate::harness::wait::PATIENCE;
use crate::harness::{FRIEND, Gateway, OWNER, Simulator, eventually};

/// A browser that dies with the handle: the session first, then its driver.
struct Browser {
    driver: WebDriver,
    _process: Process,
    _profile: TempDir,
}

impl Browser {
    async fn start() -> Self {
        let program = std::env::var("CHROMEDRIVER").unwrap_or_else(|_| "chromedriver".into());
        let log = Log::default();
        let process = Process::start(
            "chromedriver (tests/run installs it)",
            Command::new(program).arg("--port=0"),
            log.clone(),
        );
        let port: u16 = log
            .find("chromedriver's port", 0, |line| {
                let (_, rest) = line.split_once("started successfully on port ")?;
                rest.trim_end_matches('.').parse().ok()
            })
            .await;
        let profile = tempfile::tempdir().unwrap();
        let mut wishes = DesiredCapabilities::chrome();
        for flag in [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
        ] {
            wishes.add_arg(flag).unwrap();
        }
        wishes
            .add_arg(&format!("--user-data-dir={}", profile.path().display()))
            .unwrap();
        if let Some(binary) = ["/usr/bin/chromium", "/usr/bin/chromium-browser"]
            .into_iter()
            .find(|path| Path::new(path).exists())
        {
            wishes.set_binary(binary).unwrap();
        }
        wishes
            .set_browser_log_level(thirtyfour::LoggingPrefsLogLevel::All)
            .unwrap();
        let driver = WebDriver::builder(format!("http://127.0.0.1:{port}"), wishes)
            .request_timeout(PATIENCE)
            .await
            .expect("chromium starts");
        Self {
            driver,
            _process: process,
            _profile: profile,
        }
    }

    async fn run(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    /// The element with a test id (and more), once it is visible.
    async fn see(&self, selector: &str) -> WebElement {
        self.driver
            .query(By::Css(selector))
            .wait(PATIENCE, Duration::from_millis(50))
            .and_displayed()
            .first()
            .await
            .unwrap_or_else(|error| panic!("{selector} does not appear: {error}"))
    }

    /// Waits until one of the elements shows a text.
    async fn reads(&self, selector: &str, text: &str) {
        let script = format!(
            "return [...document.querySelectorAll({})].some((one) => one.textContent.includes({}))",
            json!(selector),
            json!(text)
        );
        eventually(&format!("{text:?} in {selector}"), async || {
            (self.run(&script).await == true).then_some(())
        })
        .await;
    }

    /// What the page complained about, its content security policy included.
    async fn complaints(&self) -> Vec<String> {
        let entries = self.driver.browser_log().await.unwrap();
        entries
            .into_iter()
            .filter(|entry| matches!(entry.level.as_str(), "SEVERE" | "WARNING"))
            .map(|entry| entry.message)
            .collect()
    }

    async fn cdp(&self, command: &str, parameters: Value) {
        self.driver.cdp().send_raw(command, parameters).await.unwrap();
    }

    /// Pictures for people: light and dark, desk and phone.
    async fn pictures(&self, name: &str) {
        let folder = pictures_folder();
        std::fs::create_dir_all(&folder).unwrap();
        for scheme in ["light", "dark"] {
            let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
            self.cdp("Emulation.setEmulatedMedia", media).await;
            for width in [390, 1280] {
                let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500});
                self.cdp("Emulation.setDeviceMetricsOverride", size).await;
                let overflow = self
                    .run("return document.documentElement.scrollWidth > document.documentElement.clientWidth")
                    .await;
                assert_eq!(overflow, false, "{name} scrolls sideways at {width} pixels");
                let file = folder.join(format!("{name}-{scheme}-{width}.png"));
                self.driver.screenshot(&file).await.unwrap();
            }
        }
        self.cdp("Emulation.clearDeviceMetricsOverride", json!({})).await;
    }
}

/// `screenshots` in the target folder.
fn pictures_folder() -> PathBuf {
    Path::new(SANDBOX).ancestors().nth(2).unwrap().join("screenshots")
}

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
    browser.driver.goto(origin(page).await).await.unwrap();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_links_a_phone_sends_and_shows_what_happens() {
    let gateway = Setup::of(SANDBOX.into())
        .arg("--simulator-listen")
        .arg("127.0.0.1:0")
        .start()
        .await;
    let key = gateway
        .log()
        .find("the page's address", 0, |line| {
            let (_, rest) = line.split_once("/#key=")?;
            rest.split(|character: char| character.is_whitespace() || "&\"'".contains(character))
                .next()
                .map(str::to_owned)
        })
        .await;
    let instances = gateway.client.get("/v1/instances").returns(200).await;
    let id = instances["data"][0]["id"].as_str().unwrap().to_owned();
    let browser = Browser::start().await;

    // Without a key the page asks for one.
    browser
        .driver
        .goto(format!("{}/", gateway.client.base()))
        .await
        .unwrap();
    browser.see("[data-testid=key-form]").await;
    browser.pictures("sign-in").await;

    browser
        .driver
        .goto(format!("{}/#key={key}", gateway.client.base()))
        .await
        .unwrap();
    let line = browser.see(&format!("[data-testid=instance][data-id={id}]")).await;
    assert!(
        !browser.run("return location.href").await.to_string().contains(&key),
        "the key is gone from the address"
    );
    browser.pictures("overview").await;
    line.find(By::Css("a")).await.unwrap().click().await.unwrap();
    browser.see("[data-testid=instance-title]").await;

    let status = async || gateway.client.get(&format!("/v1/instances/{id}")).returns(200).await["status"].clone();
    if status().await != "connected" {
        let shows = "return !!document.querySelector('[data-testid=qr-image]')?.checkVisibility()";
        if browser.run(shows).await == false {
            browser.see("[data-testid=qr-show]").await.click().await.unwrap();
        }
        browser.see("[data-testid=qr-image]").await;
        eventually("the picture of the code", async || {
            let width = browser
                .run("return document.querySelector('[data-testid=qr-image]').naturalWidth")
                .await;
            (width.as_u64() > Some(100)).then_some(())
        })
        .await;
        browser.pictures("qr").await;
        // Whoever cannot scan gets a code to type; the picture stays.
        browser.see("[data-testid=pair-open]").await.click().await.unwrap();
        let number = browser.see("[data-testid=pair-number]").await;
        number.send_keys("5511999990001").await.unwrap();
        browser.see("[data-testid=pair-get]").await.click().await.unwrap();
        browser.reads("[data-testid=pair-code]", "-").await;
        browser.pictures("pair-code").await;
        browser.see("[data-testid=scan-button]").await.click().await.unwrap();
    }
    // The conversation opens when the page knows that the instance is connected.
    let write = browser.see("[data-testid=phone-text]").await;
    assert_eq!(status().await, "connected");
    write.send_keys("hello from the phone").await.unwrap();
    browser.see("[data-testid=phone-send]").await.click().await.unwrap();
    browser.see("[data-testid=event][data-event='message.received']").await;
    browser
        .reads("[data-testid=chat-message]", "hello from the phone")
        .await;

    let to = browser.see("[data-testid=send-to]").await;
    if to.value().await.unwrap().unwrap_or_default().is_empty() {
        to.send_keys(FRIEND).await.unwrap();
    }
    browser
        .see("[data-testid=send-text]")
        .await
        .send_keys("hello from the page")
        .await
        .unwrap();
    browser.see("[data-testid=send-button]").await.click().await.unwrap();
    browser.see("[data-testid=event][data-event='message.delivered']").await;
    browser.pictures("conversation").await;
    browser
        .driver
        .goto(format!("{}/#/events", gateway.client.base()))
        .await
        .unwrap();
    browser.see("[data-testid=event]").await;
    browser.pictures("events").await;

    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "the console shows: {complaints:#?}");
}
