//! The simulated WhatsApp of a sandbox build, and the demonstration that a first start makes with it.
//!
//! A sandbox build skips WhatsApp's certificate check, so it may talk to this machine alone; the dialer enforces that
//! too. With a simulator of somebody else's nothing is created by itself: tests and foreign programs bring their own.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;
use whatsapp_simulator::{Options, Simulator};

use super::PROGRAM;
use super::arguments::Sandbox;
use super::client::Client;
use super::context::Context;
use super::failure::Failure;
use crate::app::instances::{self, Shown};
use crate::app::keys::{Draft, Mode};
use crate::app::{App, keys};
use crate::config::is_loopback;
use crate::domain::access::Caller;
use crate::http::SimulatorInside;
use crate::sys::secret::{self, Secret};

/// The phone that scans, and those it talks to; the simulator numbers its phones from the first on.
const ACCOUNT: &str = "5511999990001";
const CONTACTS: [&str; 2] = ["5511999990002", "5511999990003"];

/// What the first instance is called.
const DEMO: &str = "Demo";

/// Which simulator will be used; checked before anything is touched.
pub(super) enum Plan {
    Inside { listen: SocketAddr, scan: bool },
    External { url: String },
}

/// The simulator in use.
pub(super) enum Simulation {
    Inside { simulator: Simulator, scan: bool },
    External { url: String },
}

impl Plan {
    /// Decides by flags and settings; a simulator on another machine is refused.
    pub(super) fn of(context: &Context, wanted: &Sandbox) -> Result<Self, Failure> {
        let configured = context.loaded.sources.contains_key("whatsapp.url");
        let named = wanted.simulator.clone();
        if let Some(url) = named.or_else(|| configured.then(|| context.config().whatsapp.url.clone())) {
            return match loopback_websocket(&url) {
                None => Ok(Plan::External { url }),
                Some(reason) => Err(Failure::Usage(format!("--simulator {url}: {reason}"))),
            };
        }
        let listen = wanted
            .simulator_listen
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        if !listen.ip().is_loopback() {
            return Err(Failure::Usage(format!(
                "--simulator-listen {listen}: the simulator can be commanded by whoever reaches it, so it listens on loopback alone, such as 127.0.0.1:0"
            )));
        }
        Ok(Plan::Inside {
            listen,
            scan: wanted.scan,
        })
    }

    /// Starts the simulator inside, with its state in a folder of its own.
    pub(super) async fn start(self, state: &Path) -> Result<Simulation, Failure> {
        let (listen, scan) = match self {
            Plan::External { url } => return Ok(Simulation::External { url }),
            Plan::Inside { listen, scan } => (listen, scan),
        };
        let options = Options {
            listen,
            state: Some(state.join("simulator")),
            phones: 1 + u32::try_from(CONTACTS.len()).unwrap_or(0),
            answering: true,
            tls: false,
        };
        let simulator = Simulator::start(options)
            .await
            .map_err(|error| Failure::Failed(format!("the simulator cannot be started: {error:#}")))?;
        Ok(Simulation::Inside { simulator, scan })
    }
}

impl Simulation {
    /// The WebSocket that takes WhatsApp's place.
    pub(super) fn url(&self) -> String {
        match self {
            Simulation::Inside { simulator, .. } => format!("ws://{}/ws/chat", simulator.addr()),
            Simulation::External { url } => url.clone(),
        }
    }

    /// What the calls under `/v1/sandbox` need to know.
    pub(super) fn inside(&self) -> Option<SimulatorInside> {
        match self {
            Simulation::Inside { simulator, .. } => Some(SimulatorInside {
                addr: simulator.addr(),
                account: ACCOUNT.to_owned(),
                contacts: CONTACTS.map(str::to_owned).to_vec(),
            }),
            Simulation::External { .. } => None,
        }
    }

    /// Makes a first key and a first instance, so that a newcomer has something to look at.
    pub(super) async fn demonstrate(&self, context: &Context, app: &App) -> Result<(), Failure> {
        match self {
            Simulation::Inside { .. } => make_demonstration(app, &key_file(context)).await,
            Simulation::External { .. } => Ok(()),
        }
    }

    /// Prints what can be done with the demonstration, at every start; `false` when there is none.
    pub(super) fn introduce(&self, context: &Context, app: &App, page: &str) -> bool {
        let Simulation::Inside { scan, .. } = self else {
            return false;
        };
        let key = secret::read(&key_file(context))
            .ok()
            .filter(|key| still_works(app, key));
        let instance = oldest_instance(app).ok().flatten();
        // The server does not need a reader to go on.
        let _ = context
            .output
            .line(&introduction(page, key.as_ref(), instance.as_ref()));
        if let Some(instance) = instance.filter(|instance| *scan && instance.phone_number.is_none()) {
            tokio::spawn(scan_now(Client::new(context.socket.clone()), instance.id.to_string()));
        }
        true
    }

    /// Ends the simulator inside; its links come back at the next start.
    pub(super) async fn stop(self) {
        if let Simulation::Inside { simulator, .. } = self {
            simulator.shutdown().await;
        }
    }
}

/// Where the sandbox keeps its own key, so that it can be printed again.
fn key_file(context: &Context) -> PathBuf {
    context.state.join("sandbox-key")
}

async fn make_demonstration(app: &App, key_file: &Path) -> Result<(), Failure> {
    let draft = Draft {
        name: "Sandbox".to_owned(),
        mode: Mode::Test,
        ..Draft::default()
    };
    let made: keys::Created = app.keys.create(&Caller::SYSTEM, draft).await?;
    let kept = std::fs::remove_file(key_file).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    });
    kept.and_then(|()| secret::create(key_file, &Secret::new(made.secret)))
        .map_err(|error| Failure::Failed(format!("{} cannot be written: {error}", key_file.display())))?;
    if oldest_instance(app)?.is_none() {
        instances::create(app, &Caller::SYSTEM, DEMO.to_owned(), serde_json::Map::new()).await?;
    }
    Ok(())
}

/// Whether the key was not revoked since; the shown start of a random key tells it apart from every other.
fn still_works(app: &App, key: &Secret) -> bool {
    app.keys
        .list(&Caller::OWNER, None, 100)
        .is_ok_and(|page| page.data.iter().any(|one| key.expose().starts_with(&one.prefix)))
}

fn oldest_instance(app: &App) -> Result<Option<Shown>, Failure> {
    Ok(instances::list(app, &Caller::OWNER, None, 100)?.data.pop())
}

async fn scan_now(client: Client, instance: String) {
    match client
        .post("/v1/sandbox/scan", Some(&json!({ "instance_id": instance })))
        .await
    {
        Ok(_) => tracing::info!(instance.id = instance, "the simulated phone has scanned"),
        Err(failure) => tracing::warn!(instance.id = instance, reason = %failure, "the simulated phone could not scan"),
    }
}

/// What a person reads first. Each `curl` line works as it stands.
fn introduction(page: &str, key: Option<&Secret>, instance: Option<&Shown>) -> String {
    let mut text =
        String::from("\nThe sandbox is running: a gateway and a simulated WhatsApp, nothing leaves this machine.\n\n");
    let Some(key) = key.map(Secret::expose) else {
        let _ = write!(
            text,
            "  Page:  {page}/\n\n  The sandbox's own key is gone. Make another:\n\n    {PROGRAM} keys create --name sandbox\n"
        );
        return text;
    };
    let post = |path: &str, body: serde_json::Value| {
        format!(
            "curl -sS -X POST {page}{path} -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{body}'"
        )
    };
    let _ = writeln!(text, "  Page:  {page}/#key={key}\n");
    let _ = writeln!(text, "  Watch the events, in a terminal of its own:\n");
    let _ = writeln!(
        text,
        "    curl -sSN {page}/v1/events -H 'Authorization: Bearer {key}'\n"
    );
    if let Some(instance) = instance {
        let id = instance.id.to_string();
        if instance.phone_number.is_none() {
            let _ = writeln!(
                text,
                "  Scan the QR of this instance with the simulated phone (the page has a button for it):\n"
            );
            let _ = writeln!(text, "    {}\n", post("/v1/sandbox/scan", json!({ "instance_id": id })));
        }
        let _ = writeln!(
            text,
            "  Send a text to a simulated phone that answers, once the instance is connected:\n"
        );
        let body = json!({"to": CONTACTS[0], "body": {"type": "text", "text": "Hello from WhatIsUp"}});
        let _ = writeln!(text, "    {}\n", post(&format!("/v1/instances/{id}/messages"), body));
    }
    let _ = writeln!(
        text,
        "  More keys:  {PROGRAM} keys create --name NAME      Ctrl+C ends the sandbox; it keeps its state."
    );
    text
}

/// Why a URL is not a WebSocket on this machine.
fn loopback_websocket(url: &str) -> Option<&'static str> {
    let Ok(parsed) = url.parse::<::http::Uri>() else {
        return Some("must be a WebSocket address, such as ws://127.0.0.1:8090/ws/chat");
    };
    match (parsed.scheme_str(), parsed.host()) {
        (Some("ws" | "wss"), Some(host)) if is_loopback(host) => None,
        (Some("ws" | "wss"), Some(_)) => Some(
            "a sandbox build does not check certificates, so it connects to loopback alone; use whatisup for anything else",
        ),
        _ => Some("must begin with ws:// or wss:// and name a port on loopback, such as ws://127.0.0.1:8090/ws/chat"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulator_on_another_machine_is_refused() {
        for good in [
            "ws://127.0.0.1:1/ws/chat",
            "wss://127.0.0.1:1/ws/chat",
            "ws://[::1]:1/ws/chat",
        ] {
            assert_eq!(loopback_websocket(good), None, "{good}");
        }
        for bad in [
            "wss://web.whatsapp.com/ws/chat",
            "ws://192.168.1.1/ws/chat",
            "ws://127.0.0.1.example.org/",
            "http://127.0.0.1/",
            "127.0.0.1:1",
            "",
        ] {
            assert!(loopback_websocket(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn without_its_key_the_introduction_says_how_to_make_another() {
        let text = introduction("http://127.0.0.1:1", None, None);
        assert!(text.contains("keys create") && !text.contains("curl"), "{text}");
    }
}
