//! The simulator as a process of its own, and the phones in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::Client;
use super::process::{Log, Process};
use super::wait::eventually;

/// Where the simulator's program is: beside the gateway's, or where the environment says.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("WHATSAPP_SIMULATOR_BIN") {
        return path.into();
    }
    let beside = Path::new(env!("CARGO_BIN_EXE_whatisup-sandbox")).with_file_name("whatsapp-simulator");
    assert!(
        beside.exists(),
        "the simulator is not built: run tests/run, or `cargo build --workspace --features sandbox`, \
         or set WHATSAPP_SIMULATOR_BIN"
    );
    beside
}

/// Drives a simulator through its admin interface, wherever it runs.
#[derive(Clone)]
pub struct Phones {
    client: Client,
}

/// A simulator in its own process.
pub struct Simulator {
    process: Process,
    log: Log,
    port: u16,
    state: TempDir,
    /// Its phones.
    pub phones: Phones,
}

impl std::ops::Deref for Simulator {
    type Target = Phones;

    fn deref(&self) -> &Phones {
        &self.phones
    }
}

impl Simulator {
    /// Starts one that keeps its state in a folder of its own; [`super::FRIEND`] has a phone there.
    pub async fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let log = Log::default();
        let process = run(&log, 0, state.path());
        let port = listening(&log, 0).await;
        let phones = Phones::at(&format!("http://127.0.0.1:{port}"));
        phones.inbox(super::FRIEND).await;
        Self {
            process,
            log,
            port,
            state,
            phones,
        }
    }

    /// Where the gateway connects.
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/ws/chat", self.port)
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to end and waits.
    pub async fn stop(&mut self) {
        self.process.terminate();
        self.process.ended().await;
    }

    /// Starts it again at the same address as another server: other keys, nobody known.
    pub async fn start_again_as_another(&mut self) {
        self.state = tempfile::tempdir().unwrap();
        self.start_again().await;
    }

    /// Starts it again at the same address with the same state.
    pub async fn start_again(&mut self) {
        let from = self.log.lines().len();
        self.process = run(&self.log, self.port, self.state.path());
        listening(&self.log, from).await;
    }
}

fn run(log: &Log, port: u16, state: &Path) -> Process {
    let mut command = Command::new(program());
    command.args(["--port", &port.to_string(), "--state"]).arg(state);
    Process::start("the simulator", &mut command, log.clone())
}

async fn listening(log: &Log, from: usize) -> u16 {
    log.find("the simulator's address", from, super::gateway::port_in).await
}

/// A path with an encoded query.
fn with_query(path: &str, parameters: &[(&str, &str)]) -> String {
    let url = reqwest::Url::parse_with_params("http://host/", parameters).unwrap();
    format!("{path}?{}", url.query().unwrap())
}

impl Phones {
    /// The phones of the simulator at a base address.
    pub fn at(base: &str) -> Self {
        Self {
            client: Client::new(base),
        }
    }

    /// A phone scans a code and so links the instance behind it.
    pub async fn scan(&self, phone: &str, code: &str) -> Value {
        let path = format!("/admin/mock-phone/scan-qr?phone={phone}");
        self.client
            .call("POST", &path)
            .body("text/plain", code.to_owned())
            .returns(200)
            .await
    }

    /// A phone scans a code and no link comes of it.
    pub async fn scan_in_vain(&self, phone: &str, code: &str) {
        let path = format!("/admin/mock-phone/scan-qr?phone={phone}");
        let call = self.client.call("POST", &path).body("text/plain", code.to_owned());
        let reply = call.attempt().await.unwrap();
        assert_ne!(reply.status, 200, "{}", reply.json);
    }

    /// A phone types a pairing code and so links the instance behind it.
    pub async fn enter_code(&self, phone: &str, code: &str) -> Value {
        let path = with_query("/admin/mock-phone/enter-code", &[("phone", phone), ("code", code)]);
        self.client.post_empty(&path).returns(200).await
    }

    /// A phone types a pairing code in vain; answers what it shows.
    pub async fn enter_code_in_vain(&self, phone: &str, code: &str) -> String {
        let path = with_query("/admin/mock-phone/enter-code", &[("phone", phone), ("code", code)]);
        let refused = self.client.post_empty(&path).returns(409).await;
        refused["error"].as_str().unwrap().to_owned()
    }

    /// The server gets another static key under the same root.
    pub async fn renew_certificates(&self) {
        self.client.post_empty("/admin/renew-certificates").reply(200).await;
    }

    /// The server wants the pairing code of a number to be made anew.
    pub async fn refresh_code(&self, phone: &str) {
        let path = with_query("/admin/mock-phone/refresh-code", &[("phone", phone)]);
        self.client.post_empty(&path).reply(200).await;
    }

    /// A phone writes a text; answers its id.
    pub async fn send(&self, from: &str, to: &str, text: &str) -> String {
        let path = with_query("/admin/mock-phone/send", &[("from", from), ("to", to), ("text", text)]);
        let sent = self.client.post_empty(&path).returns(200).await;
        sent["id"].as_str().expect("a sent message has an id").to_owned()
    }

    /// A phone writes a message of any kind, by number or by hidden-number id; answers its id.
    pub async fn write(&self, from: &str, to: &str, lid: bool, mut body: Value) -> String {
        for (name, value) in [("from", from.into()), ("to", to.into()), ("lid", lid.into())] {
            body[name] = value;
        }
        let sent = self.client.post("/admin/mock-phone/send", &body).returns(200).await;
        sent["id"].as_str().expect("a sent message has an id").to_owned()
    }

    /// A phone writes many texts, `prefix0`, `prefix1`…, in order; answers their ids.
    pub async fn burst(&self, from: &str, to: &str, count: usize, prefix: &str) -> Vec<Value> {
        let path = with_query(
            "/admin/mock-phone/burst",
            &[
                ("from", from),
                ("to", to),
                ("count", &count.to_string()),
                ("prefix", prefix),
            ],
        );
        let sent = self.client.post_empty(&path).returns(200).await;
        sent["ids"].as_array().unwrap().clone()
    }

    /// What an owner does with groups on the phone; answers the group.
    pub async fn group(&self, deed: &Value) -> Value {
        self.client.post("/admin/mock-phone/group", deed).returns(200).await
    }

    /// A phone goes offline: what is sent to it waits at the server.
    pub async fn goes_offline(&self, phone: &str) {
        let path = with_query("/admin/mock-phone/offline", &[("phone", phone)]);
        self.client.post_empty(&path).reply(200).await;
    }

    /// A phone comes back.
    pub async fn comes_online(&self, phone: &str) {
        let path = with_query("/admin/mock-phone/online", &[("phone", phone)]);
        self.client.post_empty(&path).reply(200).await;
    }

    /// What a phone decrypted.
    pub async fn inbox(&self, phone: &str) -> Vec<Value> {
        let path = format!("/admin/mock-phone/inbox?phone={phone}");
        let inbox = self.client.get(&path).returns(200).await;
        inbox.as_array().expect("an inbox is a list").clone()
    }

    /// The texts in a phone's inbox.
    pub async fn texts(&self, phone: &str) -> Vec<String> {
        let inbox = self.inbox(phone).await;
        for message in &inbox {
            assert!(
                message.get("error").is_none_or(Value::is_null),
                "the phone could not decrypt: {message}"
            );
        }
        inbox
            .iter()
            .filter_map(|message| message["text"].as_str().map(str::to_owned))
            .collect()
    }

    /// Waits for a text in a phone's inbox; answers the message.
    pub async fn gets(&self, phone: &str, text: &str) -> Value {
        eventually("the text in the phone's inbox", async || {
            self.inbox(phone)
                .await
                .into_iter()
                .find(|message| message["text"] == text)
        })
        .await
    }

    /// Waits until the linked devices of a phone have acknowledged all that the server told them.
    ///
    /// The engine acknowledges a notification after it has acted upon it.
    pub async fn devices_know_all(&self, phone: &str) {
        eventually("nothing waits for the linked devices", async || {
            let stats = self.stats().await;
            let phones = stats["phones"].as_array().expect("a list of phones");
            let known = phones.iter().find(|known| known["phone"] == phone)?;
            let companions = known["companions"].as_array().expect("a list of companions");
            companions
                .iter()
                .all(|companion| companion["waiting"] == 0)
                .then_some(())
        })
        .await;
    }

    /// A phone reads a message.
    pub async fn read(&self, phone: &str, id: &str) {
        let path = format!("/admin/mock-phone/read?phone={phone}&id={id}");
        self.client.post_empty(&path).reply(200).await;
    }

    /// A phone's owner sets something for a chat: `pinned`, `archived`, `muted_until`, `read` or `unread`.
    pub async fn sets_chat(&self, phone: &str, chat: &str, settings: &Value) {
        let mut body = settings.clone();
        body["phone"] = phone.into();
        body["chat"] = chat.into();
        self.client.post("/admin/mock-phone/chat", &body).reply(200).await;
    }

    /// A phone's owner names a contact in the address book.
    pub async fn names_contact(&self, phone: &str, contact: &str, name: &str) {
        let body = serde_json::json!({"phone": phone, "contact": contact, "name": name});
        self.client.post("/admin/mock-phone/contact", &body).reply(200).await;
    }

    /// A phone's owner takes another name.
    pub async fn takes_name(&self, phone: &str, name: &str) {
        let path = with_query("/admin/mock-phone/name", &[("phone", phone), ("name", name)]);
        self.client.post_empty(&path).reply(200).await;
    }

    /// What a phone and its companions have set.
    pub async fn app_state(&self, phone: &str) -> Value {
        let path = format!("/admin/mock-phone/app-state?phone={phone}");
        self.client.get(&path).returns(200).await
    }

    /// A phone removes a linked device.
    pub async fn unlink(&self, phone: &str, device: u64) {
        let path = format!("/admin/mock-phone/unlink?phone={phone}&device={device}");
        self.client.post_empty(&path).reply(200).await;
    }

    /// A phone removes all its linked devices.
    pub async fn unlink_all(&self, phone: &str) {
        let stats = self.stats().await;
        let phones = stats["phones"].as_array().unwrap();
        let own = phones.iter().find(|entry| entry["phone"] == phone);
        for companion in own.and_then(|own| own["companions"].as_array()).into_iter().flatten() {
            self.unlink(phone, companion["device"].as_u64().unwrap()).await;
        }
    }

    /// A phone calls a number; answers the call's id.
    pub async fn calls(&self, from: &str, to: &str, video: bool) -> String {
        let path = with_query(
            "/admin/mock-phone/call",
            &[("from", from), ("to", to), ("video", &video.to_string())],
        );
        let call = self.client.post_empty(&path).returns(200).await;
        call["id"].as_str().unwrap().to_owned()
    }

    /// A phone ends a call, or rejects one that rings at it.
    pub async fn hangs_up(&self, phone: &str, call: &str) {
        let path = with_query("/admin/mock-phone/hang-up", &[("phone", phone), ("call", call)]);
        self.client.post_empty(&path).reply(200).await;
    }

    /// How a call of a phone stands.
    pub async fn call_of(&self, phone: &str, call: &str) -> Value {
        let path = format!("/admin/mock-phone/calls?phone={phone}");
        let calls = self.client.get(&path).returns(200).await;
        let found = calls.as_array().unwrap().iter().find(|known| known["id"] == call);
        found.expect("the phone knows its call").clone()
    }

    /// A phone wants to know when a number is online.
    pub async fn watches(&self, phone: &str, number: &str) {
        let path = with_query("/admin/mock-phone/subscribe", &[("phone", phone), ("to", number)]);
        self.client.post_empty(&path).reply(200).await;
    }

    /// A phone's owner puts it away, or looks at it again.
    pub async fn appears(&self, phone: &str, state: &str) {
        let path = with_query("/admin/mock-phone/presence", &[("phone", phone), ("state", state)]);
        self.client.post_empty(&path).reply(200).await;
    }

    /// What a phone heard of a number's presence, oldest first.
    pub async fn heard(&self, phone: &str, number: &str) -> Vec<String> {
        let path = format!("/admin/mock-phone/heard?phone={phone}");
        let heard = self.client.get(&path).returns(200).await;
        let of_number = heard.as_array().unwrap().iter().filter(|one| one["from"] == number);
        of_number.map(|one| one["state"].as_str().unwrap().to_owned()).collect()
    }

    /// What the simulator counted.
    pub async fn stats(&self) -> Value {
        self.client.get("/admin/stats").returns(200).await
    }

    /// How many logins succeeded since the simulator started.
    pub async fn logins(&self) -> u64 {
        self.stats().await["logins"].as_u64().unwrap()
    }

    /// How many sockets were opened since the simulator started.
    pub async fn sockets_opened(&self) -> u64 {
        self.stats().await["socketsOpened"].as_u64().unwrap()
    }

    /// Something goes wrong from now on.
    pub async fn fault(&self, fault: &Value) {
        self.client.post("/admin/fault", fault).reply(200).await;
    }

    /// Phones write at a given rate.
    pub async fn load(&self, plan: &Value) {
        self.client.post("/admin/load", plan).reply(200).await;
    }

    /// Waits until the load is over and everything acknowledged; answers its counters.
    pub async fn load_acknowledged(&self) -> Value {
        eventually("the acknowledgement of everything", async || {
            let report = self.client.get("/admin/load").returns(200).await;
            (report["running"] == false && report["outstanding"] == 0).then_some(report)
        })
        .await
    }
}
