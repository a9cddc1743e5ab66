//! SIGHUP and `log-level`: what changes while everything runs on.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::json;

use crate::harness::gateway::{SANDBOX, Setup};
use crate::harness::{FRIEND, Gateway, OWNER, Simulator, Stream};

/// A configuration file in a folder of its own.
struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("whatisup.toml");
        std::fs::write(&path, text).unwrap();
        Self { _folder: folder, path }
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.path, text).unwrap();
    }
}

/// Sends SIGHUP and waits for the line that ends what follows it; answers the lines.
async fn reload(gateway: &Gateway) -> Vec<String> {
    let from = gateway.log().lines().len();
    gateway.hang_up();
    gateway
        .log()
        .find("the end of a reload", from, |line| {
            line.contains("settings were read again").then_some(())
        })
        .await;
    gateway.log().lines().split_off(from)
}

fn says(lines: &[String], parts: &[&str]) -> bool {
    lines.iter().any(|line| parts.iter().all(|part| line.contains(part)))
}

#[tokio::test]
async fn a_reload_takes_what_it_can_and_drops_neither_session_nor_stream() {
    let file = File::with("[limits]\nper_second = 20\n");
    let simulator = Simulator::start().await;
    let gateway = Setup::connecting_to(&simulator.url())
        .arg("--config")
        .arg(&file.path)
        .start()
        .await;
    let instance = gateway.link(&simulator, OWNER).await;
    let status = gateway.owner().get(&instance.path("/status")).returns(200).await;
    let since = status["link"]["connected_since"].clone();
    assert!(since.is_string(), "{status}");
    let mut stream = gateway.events().await;
    let origins = async |origin: &str| {
        let call = gateway.client.get("/v1/limits").header("Origin", origin);
        let reply = call.reply(200).await;
        reply.header("access-control-allow-origin").to_owned()
    };
    assert_eq!(origins("https://other.example").await, "*");

    file.write(
        "[limits]\nper_second = 7\nmax_streams_per_key = 1\nmax_connections = 77\n\
         [cors]\norigins = [\"https://app.example\"]\n\
         [journal]\nmax_age_days = 3\n[audit]\nmax_rows = 500\n[log]\nlevel = \"debug\"\n\
         [webhooks]\nallow_private = [\"127.0.0.0/8\"]\n",
    );
    let refused = gateway
        .client
        .post(
            "/v1/webhook-endpoints",
            &json!({"url": "http://127.0.0.1:29999/hook", "events": ["message.sent"]}),
        )
        .returns(422)
        .await;
    assert_eq!(refused["error"]["details"]["reason"], "private_address");
    let lines = reload(&gateway).await;
    for (setting, from, to) in [
        ("limits.max_streams_per_key", "from=\"200\"", "to=\"1\""),
        ("journal.max_age_days", "from=\"7\"", "to=\"3\""),
        ("audit.max_rows", "10000", "500"),
        ("log.level", "info", "debug"),
        ("cors.origins", "*", "https://app.example"),
    ] {
        assert!(
            says(&lines, &["a setting changed", setting, from, to]),
            "{setting}: {lines:#?}"
        );
    }
    assert!(says(&lines, &["restart", "limits.max_connections", "77"]), "{lines:#?}");

    let system = gateway.client.get("/v1/system").returns(200).await;
    assert_eq!(system["limits"]["journal_max_age_days"], 3);
    assert_eq!(system["limits"]["audit_max_rows"], 500);
    assert_eq!(system["limits"]["max_streams_per_key"], 1);
    assert_eq!(origins("https://app.example").await, "https://app.example");
    assert_eq!(origins("https://other.example").await, "");
    let endpoint = gateway
        .client
        .post(
            "/v1/webhook-endpoints",
            &json!({"url": "http://127.0.0.1:29999/hook", "events": ["message.sent"]}),
        )
        .returns(201)
        .await;
    assert_eq!(endpoint["url"], "http://127.0.0.1:29999/hook");
    // What is open stays, also beyond a lower limit; what is new keeps to it.
    gateway.client.get("/v1/events").refused(429, "too_many_streams").await;
    simulator.send(FRIEND, OWNER, "still there?").await;
    stream.next("message.received").await;
    let status = gateway.owner().get(&instance.path("/status")).returns(200).await;
    assert_eq!(
        status["link"]["connected_since"], since,
        "the session was never touched"
    );

    let again = reload(&gateway).await;
    assert!(
        !says(&again, &["a setting changed", "from=", "cors.origins"]),
        "{again:#?}"
    );
    assert!(says(&again, &["restart", "limits.max_connections"]), "still to be done");
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_refused_as_a_whole() {
    let file = File::with("[limits]\nmax_streams_per_key = 9\n");
    let mut gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat")
        .arg("--config")
        .arg(&file.path)
        .start()
        .await;
    gateway.provokes("everything stays as it was");
    for (broken, reason) in [
        ("[limits]\nmax_streams_per_key = 5\nbrust = 1\n", "limits.brust"),
        ("[limits\n", "is not TOML"),
        (
            "[limits]\nmax_streams_per_key = 5\n[log]\nlevel = \"loud\"\n",
            "log.level",
        ),
        (
            "insecure = true\nbehind_proxy = true\n[limits]\nmax_streams_per_key = 5\n",
            "behind_proxy",
        ),
    ] {
        file.write(broken);
        let lines = reload(&gateway).await;
        assert!(says(&lines, &["everything stays as it was", reason]), "{lines:#?}");
        let limits = gateway.client.get("/v1/limits").returns(200).await;
        assert_eq!(limits["streams"]["max"], 9, "{broken}");
    }
    file.write("[limits]\nmax_streams_per_key = 5\n");
    reload(&gateway).await;
    assert_eq!(gateway.client.get("/v1/limits").returns(200).await["streams"]["max"], 5);
}

#[tokio::test]
async fn the_dashboards_password_follows_its_file() {
    let (old, new) = ("a quiet yellow lamp", "a loud purple chair");
    let file = File::with(old);
    let gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat")
        .env("WHATISUP_DASHBOARD_PASSWORD_FILE", file.path.to_str().unwrap())
        .start()
        .await;
    let sign_in = |password: &str| {
        gateway
            .client
            .without_key()
            .post("/v1/session", &json!({"password": password}))
    };
    let cookie = sign_in(old).reply(201).await.header("set-cookie").to_owned();
    let cookie = cookie.split(';').next().unwrap();
    let session = async || {
        let call = gateway.client.without_key().get("/v1/session");
        call.header("Cookie", cookie).returns(200).await["session"].clone()
    };
    reload(&gateway).await;
    assert!(session().await.is_object(), "the same password ends nothing");
    file.write(new);
    let lines = reload(&gateway).await;
    assert!(says(&lines, &["a setting changed", "dashboard.password"]), "{lines:#?}");
    assert!(!says(&lines, &[new]) && !says(&lines, &[old]), "{lines:#?}");
    assert!(session().await.is_null());
    sign_in(old).refused(401, "auth_invalid").await;
    sign_in(new).returns(201).await;
}

fn log_level(gateway: &Gateway, args: &[&str]) -> Output {
    Command::new(SANDBOX)
        .arg("log-level")
        .args(args)
        .arg("--state")
        .arg(gateway.state())
        .output()
        .unwrap()
}

#[tokio::test]
async fn the_log_gets_louder_on_request_and_keeps_its_secrets() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let level = |args: &[&str]| {
        let output = log_level(&gateway, args);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(level(&[]), "info");
    let is_detailed = || says(&gateway.log().lines(), &["DEBUG"]);
    gateway.client.get("/v1/instances").reply(200).await;
    assert!(!is_detailed());
    assert_eq!(level(&["trace"]), "trace");
    gateway.client.get("/v1/instances").reply(200).await;
    assert!(is_detailed());

    let mut events = Stream::open(&gateway.client, "").await;
    let instance = gateway.create("discreet").await;
    let code = instance.pair_code(OWNER).await;
    let qr = instance.qr().await;
    simulator.scan(OWNER, &qr).await;
    events.next("instance.connected").await;
    let text = "the price is 4711 guilders";
    instance.send(FRIEND, text).await;
    events.next("message.sent").await;
    let log = gateway.log().lines().join("\n");
    let digits = code.replace('-', "");
    for secret in [gateway.client.key(), text, OWNER, FRIEND, &code, &digits, &qr] {
        assert!(!log.contains(secret), "at trace the log shows {secret:?}");
    }
    instance.settles().await;

    let rows = gateway
        .owner()
        .get("/v1/audit?action=system.set_log_level")
        .returns(200)
        .await;
    assert_eq!(rows["data"][0]["changes"], json!({"level": ["info", "trace"]}));
    assert_eq!(rows["data"][0]["actor"]["kind"], "owner");
    let lines = reload(&gateway).await;
    assert!(!lines.is_empty());
    assert_eq!(level(&[]), "info", "the setting is back");

    // Levels and nothing else, from the owner and nobody else.
    assert_eq!(log_level(&gateway, &["whatsapp_rust=trace"]).status.code(), Some(2));
    let set = |client: &crate::harness::Client, level: &str| {
        client
            .call("PUT", "/v1/system/log-level")
            .json(&json!({ "level": level }))
    };
    for wrong in ["info,Client=trace", "", "loud", "INFO"] {
        set(&gateway.owner(), wrong).refused(400, "validation_failed").await;
    }
    set(&gateway.client, "trace").refused(403, "insufficient_scope").await;
    set(&gateway.client.without_key(), "trace")
        .refused(401, "auth_missing")
        .await;
    assert_eq!(level(&[]), "info");
}
