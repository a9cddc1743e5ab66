//! The handle on a real Chromium: what a person does with a page, and waits for what he sees.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::prelude::*;

use super::inspect::WATCHER;
use crate::harness::gateway::{SANDBOX, Setup};
use crate::harness::process::{Log, Process};
use crate::harness::wait::PATIENCE;
use crate::harness::{Gateway, eventually};

/// A browser that dies with the handle: the session first, then its driver. Whatever names an element takes a test id
/// (`qr-show`) or, if it is more than a word, a CSS selector (`[data-testid=instance] a`).
pub struct Browser {
    driver: WebDriver,
    _process: Process,
    _profile: TempDir,
    look: Cell<Look>,
    provoked: RefCell<Vec<&'static str>>,
}

/// How the page is looked at.
#[derive(Clone, Copy)]
pub struct Look {
    /// The system's colours: light or dark.
    pub scheme: &'static str,
    /// Whether the system asks for less motion.
    pub still: bool,
    /// Width in pixels; below 500 it is a phone.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// A desk by day.
pub const DESK: Look = Look {
    scheme: "light",
    still: false,
    width: 1280,
    height: 900,
};

/// The sandbox as a newcomer starts it: the simulator inside, one instance. Webhooks may go to this machine.
pub async fn demonstration() -> Gateway {
    Setup::of(SANDBOX.into())
        .arg("--simulator-listen")
        .arg("127.0.0.1:0")
        .env("WHATISUP_WEBHOOKS_ALLOW_PRIVATE", "127.0.0.0/8")
        .start()
        .await
}

/// The key in the page's address that the sandbox prints when it starts for the first time.
pub async fn printed_key(gateway: &Gateway) -> String {
    gateway
        .log()
        .find("the page's address", 0, |line| {
            let (_, rest) = line.split_once("/#key=")?;
            rest.split(|character: char| character.is_whitespace() || "&\"'".contains(character))
                .next()
                .map(str::to_owned)
        })
        .await
}

/// The CSS selector for a test id or a selector.
fn css(target: &str) -> String {
    let id = target.chars().all(|one| one.is_ascii_alphanumeric() || one == '-');
    if id {
        format!("[data-testid=\"{target}\"]")
    } else {
        target.to_owned()
    }
}

/// Starts the driver on a port of its own choice. It chooses one of IPv6 and gives up when somebody else has the same
/// one of IPv4, as a busy machine now and then brings about; then it is asked again.
async fn chromedriver() -> (Process, u16) {
    let program = std::env::var("CHROMEDRIVER").unwrap_or_else(|_| "chromedriver".into());
    for _ in 0..5 {
        let log = Log::default();
        let process = Process::start(
            "chromedriver (tests/run installs it)",
            Command::new(&program).arg("--port=0"),
            log.clone(),
        );
        let port: Option<u16> = log
            .find("chromedriver's port", 0, |line| {
                if line.contains("port not available") {
                    return Some(None);
                }
                let (_, rest) = line.split_once("started successfully on port ")?;
                rest.trim_end_matches('.').parse().ok().map(Some)
            })
            .await;
        if let Some(port) = port {
            return (process, port);
        }
    }
    panic!("chromedriver found no free port five times");
}

impl Browser {
    /// Starts one, on a desk, with an empty profile.
    pub async fn start() -> Self {
        let (process, port) = chromedriver().await;
        let profile = tempfile::tempdir().unwrap();
        let driver = WebDriver::builder(format!("http://127.0.0.1:{port}"), wishes(profile.path()))
            .request_timeout(PATIENCE)
            .await
            .expect("chromium starts");
        let browser = Self {
            driver,
            _process: process,
            _profile: profile,
            look: Cell::new(DESK),
            provoked: RefCell::default(),
        };
        let watcher = json!({"source": WATCHER, "worldName": "tests"});
        browser.cdp("Page.addScriptToEvaluateOnNewDocument", watcher).await;
        browser
    }

    // Where it is.

    /// Opens an address, as somebody does who typed it.
    pub async fn goto(&self, url: &str) {
        self.driver.goto(url).await.unwrap();
    }

    /// Opens the page with the key of the test, and then the room that `route` names (`#/webhooks`).
    pub async fn open(&self, gateway: &Gateway, route: &str) {
        self.open_with_key(gateway, gateway.client.key(), route).await;
    }

    /// Opens the page with a key.
    pub async fn open_with_key(&self, gateway: &Gateway, key: &str, route: &str) {
        self.open_at(gateway.client.base(), key, route).await;
    }

    /// The same where the page is reached in another way than directly.
    pub async fn open_at(&self, base: &str, key: &str, route: &str) {
        self.goto("about:blank").await;
        self.goto(&format!("{base}/#key={key}")).await;
        self.see("[data-nav]").await;
        self.visit(route).await;
    }

    /// Opens the page with a sign-in of its own instead of a key.
    pub async fn open_signed_in(&self, gateway: &Gateway, password: &str, route: &str) {
        let change = json!({"new_password": password});
        gateway
            .owner()
            .call("PUT", "/v1/password")
            .json(&change)
            .reply(204)
            .await;
        self.goto(gateway.client.base()).await;
        let request = json!({
            "method": "POST",
            "headers": {"Content-Type": "application/json"},
            "body": json!({"password": password}).to_string(),
        });
        let status = format!("fetch('/v1/session', {request}).then(({{status}}) => status)");
        assert_eq!(self.evaluate(&status, None).await, 201, "the sign-in");
        self.reload().await;
        self.see("[data-nav]").await;
        self.visit(route).await;
    }

    /// Goes to another room of the open page, and waits until it stands there.
    pub async fn visit(&self, route: &str) {
        let go = format!(
            "const to = {}; if (location.hash === to || `#/${{location.hash}}` === to) return; \
             document.querySelector('#view > *')?.setAttribute('data-left', ''); location.hash = to",
            json!(route)
        );
        self.run(&go).await;
        self.gone("#view > [data-left]").await;
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        self.driver.refresh().await.unwrap();
    }

    /// The address, with what is behind the `#`.
    pub async fn url(&self) -> String {
        self.run("return location.href").await.as_str().unwrap().to_owned()
    }

    // What is seen.

    /// The element, once it is visible.
    pub async fn see(&self, target: &str) -> WebElement {
        let selector = css(target);
        eventually(&format!("{target} to appear"), async || {
            let all = self.driver.find_all(By::Css(selector.as_str())).await.ok()?;
            for one in all {
                if one.is_displayed().await.unwrap_or(false) {
                    return Some(one);
                }
            }
            None
        })
        .await
    }

    /// Waits until no such element is visible.
    pub async fn gone(&self, target: &str) {
        let script = format!(
            "![...document.querySelectorAll({})].some((one) => one.checkVisibility({{visibilityProperty: true}}))",
            json!(css(target))
        );
        self.until(&format!("{target} to go"), &script).await;
    }

    /// Waits until one of the elements shows a text.
    pub async fn reads(&self, target: &str, text: &str) {
        let script = format!(
            "[...document.querySelectorAll({})].some((one) => one.textContent.includes({}))",
            json!(css(target)),
            json!(text)
        );
        self.until(&format!("{text:?} in {target}"), &script).await;
    }

    /// What the element shows, as it is seen.
    pub async fn text(&self, target: &str) -> String {
        // What is drawn anew at this moment is looked at again.
        eventually(&format!("the text of {target}"), async || {
            self.see(target).await.text().await.ok()
        })
        .await
    }

    /// What is in the field.
    pub async fn value(&self, target: &str) -> String {
        eventually(&format!("what is in {target}"), async || {
            self.see(target).await.value().await.ok()
        })
        .await
        .unwrap_or_default()
    }

    /// How many such elements there are.
    pub async fn count(&self, target: &str) -> usize {
        let script = format!("return document.querySelectorAll({}).length", json!(css(target)));
        usize::try_from(self.run(&script).await.as_u64().unwrap()).unwrap()
    }

    /// Waits until an expression of the page is true.
    pub async fn until(&self, what: &str, expression: &str) {
        let script = format!("return Boolean({expression})");
        eventually(what, async || (self.run(&script).await == true).then_some(())).await;
    }

    /// Runs a script in the page; answers what it returns.
    pub async fn run(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    // What a person does.

    /// Clicks where the element is, once it is visible and can be pressed.
    pub async fn press(&self, target: &str) {
        let mut why = String::new();
        let begun = std::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            let element = self.see(target).await;
            // What is drawn anew or covered at this moment is tried again; a click that went through is not.
            if !element.is_enabled().await.unwrap_or(false) {
                why = "it stays disabled".into();
            } else if let Err(error) = element.click().await {
                why = error.to_string();
                // Below something that floats: a person scrolls on.
                let _ = element.scroll_into_view().await;
            } else {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("{target} cannot be pressed: {why}");
    }

    /// Puts a text into a field instead of what is there, key by key.
    pub async fn type_into(&self, target: &str, text: &str) {
        eventually(&format!("{text:?} to go into {target}"), async || {
            let field = self.see(target).await;
            field.clear().await.ok()?;
            field.send_keys(text).await.ok()
        })
        .await;
    }

    /// Chooses an option of a select by its value.
    pub async fn choose(&self, target: &str, value: &str) {
        self.see(target).await;
        let chosen = self
            .run(&format!(
                "const one = [...document.querySelectorAll({})].find((one) => one.checkVisibility()); one.value = {}; \
                 one.dispatchEvent(new Event('input', {{bubbles: true}})); \
                 one.dispatchEvent(new Event('change', {{bubbles: true}})); return one.value",
                json!(css(target)),
                json!(value)
            ))
            .await;
        assert_eq!(chosen, value, "{target} has the option");
    }

    /// Presses keys: `keys(Key::Tab)`, `keys("hello")`.
    pub async fn keys(&self, keys: impl Into<TypingData>) {
        let chain = self.driver.action_chain();
        chain.send_keys(keys).perform().await.unwrap();
    }

    /// Which element the keyboard is on: its test id, else its label, text or name.
    pub async fn focused(&self) -> String {
        let script = "const one = document.activeElement; \
            return one.dataset.testid || one.getAttribute('aria-label') || one.textContent.trim().slice(0, 60) || one.localName";
        self.run(script).await.as_str().unwrap().to_owned()
    }

    /// What was copied last.
    pub async fn clipboard(&self) -> String {
        let rights = json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]});
        self.cdp("Browser.grantPermissions", rights).await;
        let text = self.evaluate("navigator.clipboard.readText()", None).await;
        text.as_str().unwrap().to_owned()
    }

    // How it is looked at.

    /// Chooses a language with the page's own switch: en, pt, es.
    pub async fn language(&self, code: &str) {
        self.choose("language", code).await;
        let shown = format!("document.documentElement.lang.startsWith({})", json!(code));
        self.until(&format!("the page in {code}"), &shown).await;
    }

    /// The system turns to light or dark.
    pub async fn scheme(&self, scheme: &'static str) {
        self.look(Look {
            scheme,
            ..self.look.get()
        })
        .await;
    }

    /// The window gets another width; below 500 pixels it is a phone.
    pub async fn width(&self, width: u32) {
        self.look(Look {
            width,
            ..self.look.get()
        })
        .await;
    }

    /// The system asks for less motion.
    pub async fn still(&self, still: bool) {
        self.look(Look {
            still,
            ..self.look.get()
        })
        .await;
    }

    /// How it is looked at now.
    pub fn looks(&self) -> Look {
        self.look.get()
    }

    /// Looks at it in another way.
    pub async fn look(&self, look: Look) {
        self.look.set(look);
        let motion = if look.still { "reduce" } else { "no-preference" };
        let media = json!({"features": [
            {"name": "prefers-color-scheme", "value": look.scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]});
        self.cdp("Emulation.setEmulatedMedia", media).await;
        let phone = look.width < 500;
        let size = json!({"width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": phone});
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
    }

    // What it complains about.

    /// Says that the test provokes complaints of the console that contain `part`, such as a refused call.
    pub fn provokes(&self, part: &'static str) {
        self.provoked.borrow_mut().push(part);
    }

    /// What the console shows and the content security policy reports, without what the test provokes.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.driver.browser_log().await.unwrap();
        let shown = entries
            .into_iter()
            .filter(|entry| matches!(entry.level.as_str(), "SEVERE" | "WARNING"))
            .map(|entry| entry.message);
        let reported = self.violations().await;
        let provoked = self.provoked.borrow();
        shown
            .chain(reported)
            .filter(|complaint| !provoked.iter().any(|part| complaint.contains(part)))
            .collect()
    }

    /// One command to the browser itself, past the driver.
    pub async fn cdp(&self, command: &str, parameters: Value) -> Value {
        self.driver.cdp().send_raw(command, parameters).await.unwrap()
    }

    /// The value of an expression, awaited; in another world than the page's if a context is named.
    pub async fn evaluate(&self, expression: &str, context: Option<u64>) -> Value {
        let mut call = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        if let Some(context) = context {
            call["contextId"] = context.into();
        }
        let answer = self.cdp("Runtime.evaluate", call).await;
        assert!(answer["exceptionDetails"].is_null(), "{}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }
}

/// A headless Chromium that keeps to itself.
fn wishes(profile: &Path) -> thirtyfour::ChromeCapabilities {
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
        .add_arg(&format!("--user-data-dir={}", profile.display()))
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
    wishes
}
