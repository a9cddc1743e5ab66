//! The folder, the store, the port, the sessions; and how all of it is printed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{Database, TableDefinition};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{listen, run, told};
use crate::harness::gateway::{SANDBOX, Setup};
use crate::harness::{FRIEND, Gateway, OWNER, Simulator};

/// Nobody answers there.
const NOWHERE: &str = "ws://127.0.0.1:9/ws/chat";

/// The names of all checks, in order; scripts know them.
const NAMES: [&str; 20] = [
    "version",
    "configuration",
    "service",
    "permissions",
    "secrets",
    "lock",
    "schema",
    "disk",
    "memory",
    "file_limits",
    "clock",
    "port",
    "proxy",
    "dns",
    "connection",
    "websocket",
    "ipv6",
    "media",
    "webhooks",
    "sessions",
];

/// Every file below a folder with its mode, its size and its content, sockets aside.
fn photograph(folder: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            all.extend(photograph(&path));
        } else if metadata.is_file() {
            let content = fs::read(&path).unwrap();
            all.insert(path.display().to_string(), (metadata.mode(), content));
        }
    }
    all
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn signal(gateway: &Gateway, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(gateway.process_id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[tokio::test]
async fn a_healthy_gateway_passes_with_stable_names_and_shape() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let url = format!("whatsapp.url={}", simulator.url());
    let args = ["--set", &listen(&gateway), "--set", &url];
    let output = run(Path::new(SANDBOX), &[&args[..], &["--json"]].concat(), &gateway.state());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let names: Vec<&str> = checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, NAMES);
    let mut counts = BTreeMap::from([("ok", 0), ("warn", 0), ("fail", 0), ("skipped", 0)]);
    for check in checks {
        let fields: Vec<&String> = check.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["name", "status", "found", "advice"]);
        let status = check["status"].as_str().unwrap();
        *counts.get_mut(status).unwrap() += 1;
        assert!(
            check["found"].as_str().is_some_and(|found| !found.is_empty()),
            "{check}"
        );
        assert_eq!(
            check["advice"].is_string(),
            status == "warn" || status == "fail",
            "{check}"
        );
    }
    assert_eq!(report["summary"], json!(counts));
    let report = told(&args, &gateway.state());
    for (name, part) in [
        ("version", "the same"),
        ("permissions", "alone"),
        ("secrets", "are there"),
        ("lock", &format!("(pid {})", gateway.process_id())),
        ("schema", "in use"),
        ("port", "the server listens"),
        ("connection", "127.0.0.1"),
        ("websocket", "opens one"),
        ("webhooks", "no endpoints"),
        ("sessions", "1 connected; nothing waits"),
    ] {
        report.says(name, "ok", part);
    }
    instance.settles().await;
}

#[tokio::test]
async fn what_is_printed_for_people_has_a_line_for_each_check_and_no_colours_in_a_pipe() {
    let state = tempfile::tempdir().unwrap();
    let output = run(Path::new(SANDBOX), &["--offline"], state.path());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains('\u{1b}'), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), NAMES.len() + 1, "{text}");
    for (line, name) in lines.iter().zip(NAMES) {
        let mut words = line.split_whitespace();
        assert!(
            ["ok", "warn", "fail", "skipped"].contains(&words.next().unwrap()),
            "{line}"
        );
        assert_eq!(words.next(), Some(name), "{line}");
    }
    assert!(output.stderr.is_empty());
}

/// A terminal shows colours unless `NO_COLOR` asks not to; `script` is a terminal to whatever it runs.
#[test]
fn colours_are_for_terminals_and_for_those_alone_who_want_them() {
    let state = tempfile::tempdir().unwrap();
    let shown = |no_color: Option<&str>| {
        let command = format!("{SANDBOX} doctor --offline --state {}", state.path().display());
        let mut script = std::process::Command::new("script");
        script
            .args(["-qec", &command, "/dev/null"])
            .env("TERM", "xterm")
            .env_remove("NO_COLOR");
        script.envs(no_color.map(|value| ("NO_COLOR", value)));
        let output = script
            .output()
            .expect("this test needs the program script of util-linux");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(shown(None).contains("\u{1b}[32mok"), "{}", shown(None));
    assert!(shown(Some("")).contains("\u{1b}["), "an empty NO_COLOR asks nothing");
    assert!(!shown(Some("1")).contains('\u{1b}'));
}

#[test]
fn without_a_state_folder_nothing_is_created_and_nothing_fails() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let report = told(&["--offline", "--set", "listen=127.0.0.1:0"], &state);
    assert_eq!(report.code, Some(0));
    report.says("permissions", "skipped", "the first start makes it");
    report.says("schema", "skipped", "no store yet");
    report.says("dns", "skipped", "--offline");
    report.says("sessions", "skipped", "running server");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_port_that_another_program_has_fails_with_who_it_is() {
    let state = tempfile::tempdir().unwrap();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("listen={}", other.local_addr().unwrap());
    let report = told(&["--offline", "--set", &listen], state.path());
    assert_eq!(report.code, Some(1));
    let advice = report.says("port", "fail", &format!("(pid {})", std::process::id()));
    assert!(advice.contains("another port"), "{advice}");
}

#[test]
fn a_public_address_fails_with_the_words_of_serve_until_it_is_told_how_it_is_meant() {
    let state = tempfile::tempdir().unwrap();
    let public = ["--offline", "--set", "listen=0.0.0.0:0"];
    let report = told(&public, state.path());
    assert_eq!(report.code, Some(1));
    report.says("port", "fail", "--behind-proxy");
    let meant = [&public[..], &["--set", "behind_proxy=true"]].concat();
    told(&meant, state.path()).says("port", "ok", "a free one is picked");
}

#[tokio::test]
async fn a_frozen_server_is_told_from_one_that_is_gone() {
    let mut gateway = Setup::connecting_to(NOWHERE).start().await;
    signal(&gateway, Signal::STOP);
    let report = told(&["--offline", "--set", &listen(&gateway)], &gateway.state());
    signal(&gateway, Signal::CONT);
    assert_eq!(report.code, Some(1));
    let advice = report.says("lock", "fail", "was stopped");
    assert!(
        advice.contains(&format!("kill -CONT {}", gateway.process_id())),
        "{advice}"
    );
    report.says("schema", "skipped", "open");

    gateway.kill();
    let before = photograph(&gateway.state());
    let report = told(&["--offline", "--set", &listen(&gateway)], &gateway.state());
    assert_eq!(report.code, Some(0));
    report.says("lock", "ok", "free");
    report.says("schema", "ok", env!("CARGO_PKG_VERSION"));
    report.says("port", "ok", "is free");
    assert!(photograph(&gateway.state()) == before, "looking changes nothing");
    gateway.start_again().await;
}

#[tokio::test]
async fn a_server_starts_whatever_doctor_looks_at_meanwhile() {
    let mut gateway = Setup::connecting_to(NOWHERE).start().await;
    gateway.stop().await;
    let (state, over) = (gateway.state(), Arc::new(AtomicBool::new(false)));
    let looking = std::thread::spawn({
        let over = over.clone();
        move || {
            let mut looks = 0;
            while !over.load(Ordering::Relaxed) {
                run(Path::new(SANDBOX), &["--offline"], &state);
                looks += 1;
            }
            looks
        }
    });
    for _ in 0..3 {
        gateway.start_again().await;
        gateway.stop().await;
    }
    over.store(true, Ordering::Relaxed);
    assert!(looking.join().unwrap() > 0);
    gateway.start_again().await;
}

#[tokio::test]
async fn a_missing_pepper_fails_and_none_is_made() {
    let mut gateway = Setup::connecting_to(NOWHERE).start().await;
    gateway.stop().await;
    let pepper = gateway.state().join("pepper");
    let kept = fs::read(&pepper).unwrap();
    fs::remove_file(&pepper).unwrap();
    let report = told(&["--offline"], &gateway.state());
    assert_eq!(report.code, Some(1));
    let advice = report.says("secrets", "fail", "the pepper is missing");
    assert!(advice.contains("WHATISUP_PEPPER_FILE"), "{advice}");
    assert!(!pepper.exists());
    fs::write(&pepper, &kept[..10]).unwrap();
    let report = told(&["--offline"], &gateway.state());
    report.says("secrets", "fail", "64 hexadecimal digits");
    fs::write(&pepper, kept).unwrap();
    gateway.start_again().await;
}

#[tokio::test]
async fn a_folder_that_stands_open_is_told_and_left_as_it_is() {
    let mut gateway = Setup::connecting_to(NOWHERE).start().await;
    gateway.stop().await;
    let state = gateway.state();
    told(&["--offline"], &state).says("permissions", "ok", "alone");
    set_mode(&state, 0o755);
    told(&["--offline"], &state).says("permissions", "warn", "mode 755");
    set_mode(&state.join("pepper"), 0o644);
    let before = photograph(&state);
    let report = told(&["--offline"], &state);
    assert_eq!(report.code, Some(1));
    report.says("permissions", "fail", "pepper");
    assert!(photograph(&state) == before && fs::metadata(&state).unwrap().mode() & 0o777 == 0o755);
    set_mode(&state, 0o700);
    told(&["--offline"], &state).says("permissions", "warn", "pepper");
    gateway.start_again().await;
}

#[tokio::test]
async fn a_store_of_a_newer_version_fails_with_who_wrote_it() {
    let mut gateway = Setup::connecting_to(NOWHERE).start().await;
    gateway.stop().await;
    let path = gateway.state().join("store.redb");
    let kept = fs::read(&path).unwrap();
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let written = json!({"schema": 999, "written_by": "9.1.0"}).to_string();
    let table: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta");
    transaction
        .open_table(table)
        .unwrap()
        .insert(b"schema".as_slice(), written.as_bytes())
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let report = told(&["--offline"], &gateway.state());
    assert_eq!(report.code, Some(1));
    let advice = report.says("schema", "fail", "written by WhatIsUp 9.1.0");
    assert!(advice.contains("9.1.0"), "{advice}");
    fs::write(&path, kept).unwrap();
    gateway.start_again().await;
}

#[tokio::test]
async fn a_session_that_is_not_connected_is_told_with_its_reason_and_nobodys_name() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let waiting = gateway.create("Ana").await;
    simulator.unlink_all(OWNER).await;
    instance.becomes("failed").await;
    let report = told(&["--offline"], &gateway.state());
    assert_eq!(report.code, Some(1));
    let lines = report.all("sessions");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["status"], "fail");
    assert!(
        lines[0]["found"]
            .as_str()
            .unwrap()
            .contains(&format!("{} is failed (logout)", instance.id))
    );
    assert!(lines[0]["advice"].as_str().unwrap().contains("scan"));
    assert_eq!(lines[1]["status"], "warn");
    let advice = lines[1]["advice"].as_str().unwrap();
    assert!(advice.ends_with(&format!("instances qr {}", waiting.id)), "{advice}");
    let all = format!("{:?}", report.checks);
    assert!(
        [OWNER, FRIEND, "Ana"].iter().all(|secret| !all.contains(secret)),
        "{all}"
    );
}

#[test]
fn settings_that_cannot_be_used_are_a_check_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("whatisup.toml");
    fs::write(&file, "[limits]\nbrust = 3\n").unwrap();
    let report = told(&["--config", file.to_str().unwrap()], folder.path());
    assert_eq!(report.code, Some(1));
    report.says("configuration", "fail", "limits.brust");
    report.says("lock", "skipped", "settings");
    assert_eq!(report.checks.len(), NAMES.len());
    fs::write(&file, "[limits]\nburst = 3\n").unwrap();
    set_mode(&file, 0o666);
    let report = told(&["--offline", "--config", file.to_str().unwrap()], folder.path());
    report.says("configuration", "warn", "other users may change");
    let wrong = run(Path::new(SANDBOX), &["--offlin"], folder.path());
    assert_eq!(wrong.status.code(), Some(2));
}
