//! The gateway as a process, and an instance in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::contract::Contract;
use super::process::{Log, Process};
use super::simulator::Phones;
use super::wait::eventually;
use super::{Client, Simulator, Stream};

/// The sandbox build, whose clock can be moved and which may talk to the simulator.
pub const SANDBOX: &str = env!("CARGO_BIN_EXE_whatisup-sandbox");

/// The normal build, which `tests/run` makes beside the sandbox build.
pub fn normal_build() -> PathBuf {
    std::env::var_os("WHATISUP_NORMAL_BIN").map(PathBuf::from).expect(
        "this test needs the normal build: run tests/run, or `cargo build --bin whatisup --target-dir OTHER` \
         and set WHATISUP_NORMAL_BIN to OTHER/debug/whatisup",
    )
}

/// How long deliveries under way may take when a test ends …
const OWED_FOR: Duration = Duration::from_secs(10);

/// … and how often to look.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(25);

/// How to start a gateway.
pub struct Setup {
    program: PathBuf,
    host: &'static str,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
}

/// A running gateway. Dropping it ends it, and fails the test if something was left undone.
pub struct Gateway {
    setup: Setup,
    process: Process,
    log: Log,
    state: TempDir,
    port: u16,
    /// Parts of the error lines that the test provokes.
    provoked: Vec<&'static str>,
    /// Everything may be called with it: the key is of a test's own making.
    pub client: Client,
}

/// The port at the end of `127.0.0.1:` in a line.
pub fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("127.0.0.1:")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|port| *port != 0)
}

impl Setup {
    /// The sandbox build without a simulator of its own, connecting to `url`.
    pub fn connecting_to(url: &str) -> Self {
        Self::of(SANDBOX.into()).arg("--simulator").arg(url)
    }

    /// Any build.
    pub fn of(program: PathBuf) -> Self {
        Self {
            program,
            host: "127.0.0.1",
            args: Vec::new(),
            env: Vec::new(),
        }
    }

    /// On other addresses than this machine's own; it is called there all the same.
    #[must_use]
    pub fn listening_on(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    /// Adds an argument of `serve`.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts it on a free port with an empty state folder and waits until it is ready.
    pub async fn start(self) -> Gateway {
        self.start_on(tempfile::tempdir().unwrap()).await
    }

    /// The same on the folder `state` in `state`, which an older program may have left.
    pub async fn start_on(self, state: TempDir) -> Gateway {
        let log = Log::default();
        let process = self.run(&log, 0, &state_in(&state));
        let port = ready(&log, 0).await;
        let mut gateway = Gateway {
            client: Client::new(format!("http://127.0.0.1:{port}")),
            setup: self,
            process,
            log,
            state,
            port,
            provoked: Vec::new(),
        };
        gateway.wait_ready().await;
        let contract = gateway.client.get("/openapi.json").returns(200).await;
        gateway.client = gateway.client.with_contract(Arc::new(Contract::new(contract)));
        let key = gateway.new_key(&json!({"name": "the test's own"})).await;
        gateway.client = gateway.client.with_key(key["secret"].as_str().unwrap());
        gateway
    }

    fn run(&self, log: &Log, port: u16, state: &Path) -> Process {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WHATISUP_")) {
            command.env_remove(name);
        }
        command
            .args(["serve", "--listen", &format!("{}:{port}", self.host), "--state"])
            .arg(state)
            .args(&self.args)
            // A bucket for people would make tests wait; the limits have a test of their own.
            .env("WHATISUP_LIMITS_BURST", "0")
            .envs(self.env.iter().cloned());
        Process::start("the gateway", &mut command, log.clone())
    }
}

/// A folder that is not there yet, so that the gateway makes it as it should be.
fn state_in(folder: &TempDir) -> PathBuf {
    folder.path().join("state")
}

/// Waits for the line that names the address.
async fn ready(log: &Log, from: usize) -> u16 {
    log.find("the gateway's address in its log", from, |line| {
        line.contains("listening on http").then(|| port_in(line)).flatten()
    })
    .await
}

impl Gateway {
    /// The sandbox build beside a simulator.
    pub async fn start(simulator: &Simulator) -> Self {
        Setup::connecting_to(&simulator.url()).start().await
    }

    async fn wait_ready(&self) {
        eventually("/readyz", async || {
            let reply = self.client.without_key().get("/readyz").attempt().await.ok()?;
            (reply.status == 200).then_some(())
        })
        .await;
    }

    /// The state folder.
    pub fn state(&self) -> PathBuf {
        state_in(&self.state)
    }

    /// Says that the test provokes errors whose line in the log contains `part`.
    pub fn provokes(&mut self, part: &'static str) {
        self.provoked.push(part);
    }

    /// What it has printed.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// A client on the owner's socket.
    pub fn owner(&self) -> Client {
        Client::unix(&self.state().join("admin.sock"))
    }

    /// Makes a key; answers it with its secret.
    pub async fn new_key(&self, request: &Value) -> Value {
        self.owner().post("/v1/api-keys", request).returns(201).await
    }

    /// The same gateway, called with a key made for it.
    pub async fn as_key(&self, request: &Value) -> Client {
        let key = self.new_key(request).await;
        self.client.with_key(key["secret"].as_str().unwrap())
    }

    /// Moves its clock; answers the time there.
    pub async fn advance(&self, seconds: u64) -> String {
        let request = json!({"advance_seconds": seconds});
        let clock = self.owner().post("/v1/sandbox/clock", &request).returns(200).await;
        clock["now"].as_str().unwrap().to_owned()
    }

    /// The time an hour from now on its clock.
    pub async fn in_an_hour(&self) -> String {
        let now: whatisup::domain::Timestamp = self.advance(0).await.parse().unwrap();
        now.plus(Duration::from_hours(1)).to_string()
    }

    /// Memory in RAM by its own figures.
    pub async fn resident_bytes(&self) -> u64 {
        let reply = self.client.get("/metrics").reply(200).await;
        let text = String::from_utf8(reply.bytes).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        line.unwrap().parse().unwrap()
    }

    /// The number the system knows its process by.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to end, waits, expects success.
    pub async fn stop(&mut self) {
        self.process.terminate();
        let status = self.process.ended().await;
        assert!(status.success(), "a clean stop is a success, not {status}");
    }

    /// Sends SIGTERM without waiting.
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// Asks it to read its settings again, without waiting.
    pub fn hang_up(&self) {
        self.process.signal(Signal::HUP);
    }

    /// Waits for it to end by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        self.process.ended().await
    }

    /// From the next start on without this variable of its environment.
    pub fn forget_env(&mut self, name: &str) {
        self.setup.env.retain(|(own, _)| own != name);
    }

    /// Starts it again at the same address with the same state.
    pub async fn start_again(&mut self) {
        let from = self.log.lines().len();
        self.process = self.setup.run(&self.log, self.port, &self.state());
        ready(&self.log, from).await;
        self.wait_ready().await;
    }

    /// Opens the stream of everything.
    pub async fn events(&self) -> Stream {
        Stream::open(&self.client, "").await
    }

    /// Makes an instance.
    pub async fn create(&self, name: &str) -> Instance {
        let made = self
            .client
            .post("/v1/instances", &json!({"name": name}))
            .returns(201)
            .await;
        assert_eq!(made["status"], "pending");
        Instance::new(self, made["id"].as_str().unwrap())
    }

    /// Makes an instance and links it to a phone; answers when it is connected.
    pub async fn link(&self, simulator: &Phones, phone: &str) -> Instance {
        let mut events = self.events().await;
        let instance = self.create("linked").await;
        let code = instance.qr().await;
        simulator.scan(phone, &code).await;
        events
            .next_where("the connection", |frame| {
                frame.name() == "instance.connected" && frame.data["instance_id"] == *instance.id
            })
            .await;
        instance
    }

    /// What is still to be done, read without the test's runtime because it may be going away.
    fn undone(&mut self) -> Vec<String> {
        let mut undone = Vec::new();
        for line in self.log.lines() {
            if is_error(&line) && !self.provoked.iter().any(|part| line.contains(part)) {
                undone.push(format!("an error in the log: {line}"));
            }
        }
        if self.process.exit().is_some() {
            return undone;
        }
        let socket = self.state().join("admin.sock");
        let Some(instances) = ask(&socket, "/v1/instances?limit=100") else {
            return undone;
        };
        for instance in instances["data"].as_array().unwrap_or(&Vec::new()) {
            let id = instance["id"].as_str().unwrap_or_default();
            let status = ask(&socket, &format!("/v1/instances/{id}/status")).unwrap_or_default();
            match status["queue_depth"].as_u64() {
                Some(0) => {}
                depth => undone.push(format!("{id} has a queue of {depth:?}: {status}")),
            }
        }
        undone.extend(owed(&socket));
        undone
    }
}

/// Webhooks that could be delivered and are not. One that was answered a moment ago may still be on its way to the disk.
fn owed(socket: &Path) -> Vec<String> {
    let begun = std::time::Instant::now();
    loop {
        let endpoints = ask(socket, "/v1/webhook-endpoints?limit=100").unwrap_or_default();
        let owed: Vec<String> = endpoints["data"]
            .as_array()
            .unwrap_or(&Vec::new())
            .iter()
            .filter(|endpoint| endpoint["enabled"] == true && !endpoint["health"]["oldest_due_at"].is_null())
            .map(|endpoint| format!("webhooks are owed: {endpoint}"))
            .collect();
        if owed.is_empty() || begun.elapsed() > OWED_FOR {
            return owed;
        }
        std::thread::sleep(LOOKED_AT_EVERY);
    }
}

/// Whether a line of the log says that somebody must look.
fn is_error(line: &str) -> bool {
    line.split_whitespace().take(3).any(|word| word == "ERROR") || line.contains(r#""level":"ERROR""#)
}

/// One blocking GET on the owner's socket.
fn ask(socket: &Path, path: &str) -> Option<Value> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).ok()?;
    let limit = Some(std::time::Duration::from_secs(10));
    stream.set_read_timeout(limit).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let undone = self.undone();
        assert!(undone.is_empty(), "the test left things undone: {undone:#?}");
    }
}

/// One instance, as its owner calls it.
#[derive(Clone)]
pub struct Instance {
    /// Its id.
    pub id: String,
    client: Client,
}

impl Instance {
    /// The instance with an id.
    pub fn new(gateway: &Gateway, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            client: gateway.client.clone(),
        }
    }

    /// A path below the instance.
    pub fn path(&self, rest: &str) -> String {
        format!("/v1/instances/{}{rest}", self.id)
    }

    /// The instance as it stands.
    pub async fn get(&self) -> Value {
        self.client.get(&self.path("")).returns(200).await
    }

    /// The code that its QR shows.
    pub async fn qr(&self) -> String {
        let qr = self.client.get(&self.path("/qr")).returns(200).await;
        qr["code"].as_str().unwrap().to_owned()
    }

    /// The code to type on a phone.
    pub async fn pair_code(&self, phone: &str) -> String {
        let body = json!({"phone_number": phone});
        let made = self.client.post(&self.path("/pair-code"), &body).returns(200).await;
        made["code"].as_str().unwrap().to_owned()
    }

    /// Accepts a text for sending; answers its id.
    pub async fn send(&self, to: &str, text: &str) -> String {
        let body = json!({"to": to, "body": {"type": "text", "text": text}});
        let accepted = self.client.post(&self.path("/messages"), &body).returns(202).await;
        accepted["message_id"].as_str().unwrap().to_owned()
    }

    /// Calls one of the verbs: connect, disconnect, logout, restart.
    pub async fn act(&self, verb: &str) -> Value {
        self.client
            .post_empty(&self.path(&format!("/{verb}")))
            .returns(200)
            .await
    }

    /// Link health, queue depth, counters.
    pub async fn status(&self) -> Value {
        self.client.get(&self.path("/status")).returns(200).await
    }

    /// Waits until it stands where it should; answers it.
    pub async fn becomes(&self, status: &str) -> Value {
        eventually(&format!("the status {status}"), async || {
            let now = self.get().await;
            (now["status"] == status).then_some(now)
        })
        .await
    }

    /// Waits until everything accepted is settled.
    pub async fn settles(&self) {
        eventually("an empty outbox", async || {
            (self.status().await["queue_depth"] == 0).then_some(())
        })
        .await;
    }
}
