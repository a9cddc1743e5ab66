//! The receivers that the guide to webhooks shows, run as they stand there: they believe the gateway and nobody else.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use tempfile::TempDir;

use crate::harness::process::{Log, Process};
use crate::harness::sink::{self, Endpoint, Sink};
use crate::harness::{Gateway, Simulator, eventually};

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/docs/webhooks.md");

/// A language whose receiver stands in the guide.
#[derive(Clone, Copy)]
struct Language {
    program: &'static str,
    /// The first line of the block says this name.
    file: &'static str,
    packages: &'static str,
}

const NODE: Language = Language {
    program: "node",
    file: "receiver.mjs",
    packages: "nodejs",
};

const PYTHON: Language = Language {
    program: "python3",
    file: "receiver.py",
    packages: "python3",
};

/// The fenced block of the guide that names this file in its first line.
fn block(file: &str) -> String {
    let guide = fs::read_to_string(GUIDE).unwrap();
    let found = guide
        .split("\n```")
        .filter_map(|block| block.split_once('\n').map(|(_, code)| code))
        .find(|code| code.lines().next().is_some_and(|first| first.ends_with(file)));
    let missing = || panic!("the guide shows no {file}: a block whose first line is a comment with that name");
    found.unwrap_or_else(missing).to_owned()
}

/// A running receiver of the guide.
struct Receiver {
    process: Process,
    log: Log,
    port: u16,
    _folder: TempDir,
}

impl Receiver {
    async fn start(language: Language, secret: &str) -> Self {
        let Language {
            program,
            file,
            packages,
        } = language;
        let there = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        assert!(
            there.is_ok_and(|status| status.success()),
            "{program} is missing, and with it the guide's {file} is tested: install it (apt-get install {packages}), \
             or run tests/run, which does"
        );
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file), block(file)).unwrap();
        let mut command = Command::new(program);
        command
            .arg(folder.path().join(file))
            .env("WHATISUP_WEBHOOK_SECRET", secret)
            .env("PORT", "0");
        let log = Log::default();
        let process = Process::start(program, &mut command, log.clone());
        let port = log
            .find("its port", 0, |line| {
                line.strip_prefix("listening on port ")?.parse().ok()
            })
            .await;
        Self {
            process,
            log,
            port,
            _folder: folder,
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// The status of its answer to a request of our own.
    async fn answers(&self, signature: Option<&str>, body: &[u8]) -> u16 {
        let mut request = reqwest::Client::new().post(self.url()).body(body.to_vec());
        if let Some(signature) = signature {
            request = request.header("X-WhatIsUp-Signature", signature);
        }
        request.send().await.unwrap().status().as_u16()
    }

    /// The status of its answer to a test that the gateway sends it; what it believes it prints.
    async fn is_tested(&self, gateway: &Gateway, endpoint: &Endpoint) -> u64 {
        endpoint.change(&json!({"url": self.url()})).await;
        let delivery = gateway.client.post_empty(&endpoint.path("/test")).returns(200).await;
        let status = delivery["last_response_status"].as_u64();
        let status = status.unwrap_or_else(|| panic!("the receiver did not answer: {delivery}"));
        if status == 204 {
            self.prints(delivery["event_id"].as_str().unwrap()).await;
        }
        status
    }

    /// Waits until it has printed an event.
    async fn prints(&self, event_id: &str) {
        let line = format!("webhook.test {event_id}");
        eventually("the event's line", async || {
            self.log.lines().contains(&line).then_some(())
        })
        .await;
    }

    /// Ends it; how many events it has printed, which are those that it believed.
    fn believed(mut self) -> usize {
        self.process.kill();
        let lines = self.log.lines();
        lines.iter().filter(|line| line.starts_with("webhook.")).count()
    }
}

async fn believes_the_gateway_alone(language: Language) {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    let endpoint = sink.endpoint(&gateway.client, json!({})).await;

    // What the gateway really sends, kept to be sent once more by somebody else.
    gateway.client.post_empty(&endpoint.path("/test")).returns(200).await;
    let sent = sink.event("webhook.test").await;
    let signature = sent.headers["x-whatisup-signature"].as_str();

    let receiver = Receiver::start(language, &endpoint.secret).await;
    assert_eq!(receiver.is_tested(&gateway, &endpoint).await, 204, "a good signature");

    assert_eq!(receiver.answers(Some(signature), &sent.bytes).await, 204);
    let mut changed = sent.bytes.clone();
    let last = changed.len() - 2;
    changed[last] ^= 1;
    assert_eq!(receiver.answers(Some(signature), &changed).await, 401, "a changed body");
    assert_eq!(receiver.answers(None, &sent.bytes).await, 401, "no signature");
    let (time, code) = signature.split_once(",v1=").unwrap();
    for broken in [
        String::new(),
        time.to_owned(),
        format!("v1={code}"),
        format!("{time},v1="),
        format!("{time},v1"),
        format!("{time},v1={}", &code[..62]),
        format!("{time},v1={code}00"),
        format!("{time},v0={code}"),
        format!("t=,v1={code}"),
        format!("t=now,v1={code}"),
    ] {
        assert_eq!(receiver.answers(Some(&broken), &sent.bytes).await, 401, "{broken}");
    }

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let signed = |time: u64| {
        format!(
            "t={time},v1={}",
            sink::code(&endpoint.secret, &time.to_string(), &sent.bytes)
        )
    };
    for (time, status) in [(now - 200, 204), (now - 400, 401), (now + 200, 204), (now + 400, 401)] {
        assert_eq!(
            receiver.answers(Some(&signed(time)), &sent.bytes).await,
            status,
            "{time} at {now}"
        );
    }

    // During a rotation whoever has either secret believes, and whoever has neither does not.
    let rotated = gateway
        .client
        .post(&endpoint.path("/rotate-secret"), &json!({}))
        .returns(200)
        .await;
    let other = Receiver::start(language, rotated["signing_secret"].as_str().unwrap()).await;
    let stranger = Receiver::start(language, "whsec_of_somebody_else").await;
    for (receiver, status) in [(&receiver, 204), (&other, 204), (&stranger, 401)] {
        assert_eq!(receiver.is_tested(&gateway, &endpoint).await, status);
    }

    // The gateway's own clock is ahead: its signatures come from the future.
    gateway.advance(400).await;
    assert_eq!(other.is_tested(&gateway, &endpoint).await, 401, "a stale time");
    let believed = [receiver, other, stranger].map(Receiver::believed);
    assert_eq!(believed, [5, 1, 0], "what is refused is not printed");
}

#[tokio::test]
async fn the_receiver_for_node_in_the_guide_believes_the_gateway_alone() {
    believes_the_gateway_alone(NODE).await;
}

#[tokio::test]
async fn the_receiver_for_python_in_the_guide_believes_the_gateway_alone() {
    believes_the_gateway_alone(PYTHON).await;
}
