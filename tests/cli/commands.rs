//! `whatisup keys`, `instances`, `send`, `events`, and how settings are found.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::gateway::{SANDBOX, Setup};
use crate::harness::{FRIEND, Gateway, OWNER, Simulator, eventually};

/// Runs a command to its end.
fn run(args: &[&str], state: &Path) -> Output {
    Command::new(SANDBOX)
        .args(args)
        .arg("--state")
        .arg(state)
        .env_remove("WHATISUP_STATE")
        .output()
        .unwrap()
}

/// What a successful command printed.
fn said(args: &[&str], state: &Path) -> String {
    let output = run(args, state);
    assert!(
        output.status.success(),
        "{args:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_key_is_made_and_printed_alone_listed_and_revoked() {
    let gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    let printed = said(&["keys", "create", "--name", "laptop"], &gateway.state());
    let key = printed.trim_end();
    assert_eq!(printed, format!("{key}\n"), "the key alone, ready for $(…)");
    assert!(key.starts_with("zpk_live_"));
    let client = gateway.client.with_key(key);
    client.get("/v1/instances").returns(200).await;

    let table = said(&["keys", "list"], &gateway.state());
    assert!(table.contains("laptop") && !table.contains(key), "{table}");
    let listed: Value = serde_json::from_str(&said(&["keys", "list", "--json"], &gateway.state())).unwrap();
    let rows = listed["data"].as_array().or_else(|| listed.as_array()).unwrap();
    let id = rows.iter().find(|row| row["name"] == "laptop").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    said(&["keys", "revoke", &id], &gateway.state());
    client.get("/v1/instances").refused(401, "auth_invalid").await;
    let again = run(&["keys", "revoke", &id], &gateway.state());
    assert!(!again.status.success());

    let narrow = said(
        &[
            "keys",
            "create",
            "--name",
            "n",
            "--scopes",
            "instances:read,events:read",
        ],
        &gateway.state(),
    );
    let narrow = gateway.client.with_key(narrow.trim_end());
    narrow.get("/v1/instances").returns(200).await;
    narrow.get("/v1/api-keys").refused(403, "insufficient_scope").await;
}

#[tokio::test]
async fn keys_are_made_without_a_server_as_well() {
    let mut gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    gateway.stop().await;
    let key = said(&["keys", "create", "--name", "offline"], &gateway.state());
    gateway.start_again().await;
    gateway
        .client
        .with_key(key.trim_end())
        .get("/v1/instances")
        .returns(200)
        .await;
}

#[tokio::test]
async fn a_pairing_code_is_printed_alone() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("shop").await;
    let code = said(&["instances", "pair-code", "shop", OWNER], &gateway.state());
    simulator.enter_code(OWNER, code.trim_end()).await;
    instance.becomes("connected").await;
}

#[tokio::test]
async fn a_message_is_sent_and_events_are_seen_from_a_terminal() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let table = said(&["instances", "list"], &gateway.state());
    assert!(table.contains(&instance.id) && table.contains("connected"), "{table}");

    let mut tail = Command::new(SANDBOX)
        .args([
            "events",
            "--json",
            "--instance",
            &instance.id,
            "--events",
            "message.sent,message.received",
            "--state",
        ])
        .arg(gateway.state())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (tell, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let output = BufReader::new(tail.stdout.take().unwrap());
    std::thread::spawn(move || {
        output
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| tell.send(line))
    });
    // The tail is connected once it shows something; until then it may miss what happens.
    let mut index = 0;
    let first = eventually("the tail to speak", async || {
        index += 1;
        simulator.send(FRIEND, OWNER, &format!("knock {index}")).await;
        lines.try_recv().ok()
    })
    .await;
    let event: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(event["event"], "message.received");

    let printed = said(&["send", &instance.id, FRIEND, "from a terminal"], &gateway.state());
    let id = simulator.gets(FRIEND, "from a terminal").await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(printed.contains(&id), "{printed}");
    loop {
        let line = crate::harness::wait::within("message.sent on the tail", lines.recv())
            .await
            .unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["event"] == "message.sent" {
            assert_eq!(event["message_id"], *id);
            break;
        }
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
    instance.settles().await;
}

#[test]
fn a_wrong_command_line_is_told_and_exits_with_2() {
    let state = tempfile::tempdir().unwrap();
    for args in [
        &["serv"][..],
        &["serve", "--lisen", "127.0.0.1:0"],
        &["serve", "--listen", "somewhere"],
        &["keys", "create"],
        &["send", "one"],
        &["events", "--events", "message.snet"],
    ] {
        let output = run(args, state.path());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn without_a_server_a_command_says_what_to_do() {
    let state = tempfile::tempdir().unwrap();
    for args in [
        &["instances", "list"][..],
        &["send", "inst_x", FRIEND, "hi"],
        &["events"],
    ] {
        let output = run(args, state.path());
        let code = output.status.code();
        assert!(code.is_some_and(|code| code != 0), "{args:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("serve"), "{args:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn help_and_version_are_there() {
    for args in [
        &["--help"][..],
        &["serve", "--help"],
        &["keys", "--help"],
        &["keys", "create", "--help"],
    ] {
        let output = Command::new(SANDBOX).args(args).output().unwrap();
        assert!(output.status.success());
        assert!(output.stdout.len() > 100, "{args:?}");
    }
    let version = Command::new(SANDBOX).arg("--version").output().unwrap();
    assert!(String::from_utf8_lossy(&version.stdout).contains(env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("whatisup.toml");
    std::fs::write(&file, "[limits]\nburst = 3\nper_second = 4\n").unwrap();
    let path = file.to_str().unwrap();
    let limits = async |setup: Setup| {
        let gateway = setup.start().await;
        gateway.client.get("/v1/limits").returns(200).await
    };
    let url = "ws://127.0.0.1:9/ws/chat";
    let by_environment = limits(
        Setup::connecting_to(url)
            .arg("--config")
            .arg(path)
            .env("WHATISUP_LIMITS_BURST", "7"),
    )
    .await;
    let text = by_environment.to_string();
    assert!(
        text.contains('7') && text.contains('4'),
        "the environment over the file, the file over defaults: {text}"
    );

    // `--listen` is a flag in every start of the harness: port 0 there beats a port that cannot be bound here.
    let gateway = Setup::connecting_to(url)
        .env("WHATISUP_LISTEN", "127.0.0.1:1")
        .start()
        .await;
    gateway.client.get("/v1/instances").returns(200).await;

    std::fs::write(&file, "[limits]\nbrust = 3\n").unwrap();
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--config", path], folder.path());
    assert_eq!(
        output.status.code(),
        Some(2),
        "a typo in the file does not pass silently"
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("brust"));
}

#[tokio::test]
async fn a_key_can_be_given_at_first_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let key = format!("zpk_live_{}", "A".repeat(43));
    std::fs::write(&file, format!("{key}\n")).unwrap();
    let mut gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat")
        .env("WHATISUP_BOOTSTRAP_KEY_FILE", file.to_str().unwrap())
        .start()
        .await;
    gateway.client.with_key(&key).get("/v1/instances").returns(200).await;
    gateway.stop().await;
    gateway.start_again().await;
    gateway.client.with_key(&key).get("/v1/instances").returns(200).await;
    let log = gateway.log().lines().join("\n");
    assert!(!log.contains(&key));
}

#[tokio::test]
async fn a_second_server_on_the_same_state_is_refused() {
    let gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    let output = run(
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--simulator",
            "ws://127.0.0.1:9/ws/chat",
        ],
        &gateway.state(),
    );
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("in use"), "{output:?}");
    gateway.client.get("/v1/instances").returns(200).await;
}
