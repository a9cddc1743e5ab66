//! The way to WhatsApp and to webhook targets, where something is in the way.

use std::path::Path;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use whatisup::domain::Timestamp;

use super::{Told, told, told_by};
use crate::harness::gateway::normal_build;
use crate::harness::sink::{self, Sink};
use crate::harness::wait::within;
use crate::harness::{Gateway, Simulator};

/// What doctor says of a WebSocket's address, on a folder where nothing is.
async fn told_of(url: String) -> Told {
    let looked = tokio::task::spawn_blocking(move || {
        let state = tempfile::tempdir().unwrap();
        told(&["--set", &format!("whatsapp.url={url}")], state.path())
    });
    within("doctor to end", looked).await.unwrap()
}

/// The address of somebody who reads a request and answers this to everybody, then hangs up.
async fn answering(with: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut asked = [0; 4096];
            let _ = socket.read(&mut asked).await;
            let _ = socket.write_all(with.as_bytes()).await;
        }
    });
    format!("ws://{address}/ws/chat")
}

/// An answer that opens a WebSocket, with the time of somebody whose clock is this much ahead or behind.
fn opening(ahead: i64) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let date = Timestamp::from_seconds(i64::try_from(now.as_secs()).unwrap() + ahead);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\ndate: {}\r\n\r\n",
        date.http_date().unwrap()
    )
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_fails_and_the_rest_of_the_way_is_skipped() {
    let report = told_of("wss://does-not-exist.invalid/ws/chat".into()).await;
    assert_eq!(report.code, Some(1));
    let advice = report.says("dns", "fail", "does-not-exist.invalid cannot be resolved");
    assert!(advice.contains("name servers"), "{advice}");
    for name in ["connection", "websocket", "ipv6"] {
        assert_eq!(report.one(name)["status"], "skipped");
    }
}

#[tokio::test]
async fn a_closed_port_and_somebody_who_is_no_websocket_are_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let report = told_of(format!("ws://{address}/ws/chat")).await;
    assert_eq!(report.code, Some(1));
    report.says("connection", "fail", "refused");
    report.says("websocket", "skipped", "no connection");

    let report = told_of(answering(String::new()).await).await;
    assert_eq!(report.code, Some(1));
    report.says("connection", "ok", "127.0.0.1");
    report.says("websocket", "fail", "hung up");

    let page = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nlogin";
    let report = told_of(answering(page.into()).await).await;
    let advice = report.says("websocket", "fail", "answers 200");
    assert!(advice.contains("login page"), "{advice}");
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_by_the_other_sides_date() {
    for (ahead, status, code) in [(0, "ok", 0), (120, "warn", 0), (-120, "warn", 0), (86_400, "fail", 1)] {
        let report = told_of(answering(opening(ahead)).await).await;
        let clock = report.one("clock");
        assert_eq!(clock["status"], status, "{clock}");
        assert_eq!(report.code, Some(code), "{:?}", report.checks);
    }
}

#[tokio::test]
async fn a_certificate_of_an_unknown_issuer_fails_in_the_normal_build() {
    let simulator = Simulator::start().await;
    let url = format!("whatsapp.url={}", simulator.url().replace("ws://", "wss://"));
    let state = tempfile::tempdir().unwrap();
    let report = told_by(&normal_build(), &["--set", &url], state.path());
    assert_eq!(report.code, Some(1));
    let advice = report.says("connection", "fail", "unknown issuer");
    assert!(advice.contains("replaces certificates"), "{advice}");
    report.says("websocket", "skipped", "no connection");
    report.says("media", "skipped", "another server");
    let report = told(&["--set", &url], state.path());
    report.says("connection", "ok", "a sandbox takes any certificate");
    report.says("websocket", "ok", "opens one");
}

#[tokio::test]
async fn a_sandbox_asks_no_other_machine() {
    let state = tempfile::tempdir().unwrap();
    let report = told(&[], state.path());
    report.says("dns", "skipped", "never talks to WhatsApp");
    report.says("media", "skipped", "never talks to WhatsApp");
    let report = told_of("wss://192.0.2.1/ws/chat".into()).await;
    report.says("connection", "fail", "this machine alone");
}

#[tokio::test]
async fn nobody_who_answers_late_holds_doctor_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws/chat", listener.local_addr().unwrap());
    // Accepted by the system and never answered.
    let report = within("doctor to give up", told_of(url)).await;
    report.says("websocket", "fail", "no answer in time");
    drop(listener);
}

#[tokio::test]
async fn a_target_that_the_guard_refuses_or_nobody_serves_fails_and_none_is_sent_anything() {
    let simulator = Simulator::start().await;
    let gateway: Gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    let endpoint = sink.endpoint(&gateway.client, json!({})).await;
    let (state, id) = (gateway.state(), endpoint.id.clone());
    let look = async |args: &'static [&'static str]| {
        let state = state.clone();
        tokio::task::spawn_blocking(move || told(args, &state)).await.unwrap()
    };
    let report = look(&[]).await;
    assert_eq!(report.code, Some(1));
    report.says("webhooks", "fail", &format!("{id} (127.0.0.1:"));
    report.says("webhooks", "fail", "webhooks.allow_private");
    let allowed: &[&str] = &["--set", "webhooks.allow_private=127.0.0.0/8"];
    let report = look(allowed).await;
    assert_eq!(report.code, Some(0), "{:?}", report.checks);
    report.says("webhooks", "ok", "1 enabled endpoint, 1 reached; nothing owed");
    report_tells_no_path(&report);
    assert!(sink.got().is_empty(), "looking sends nothing");

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?token=secret", closed.local_addr().unwrap());
    drop(closed);
    endpoint.change(&json!({"url": url})).await;
    let report = look(allowed).await;
    report.says("webhooks", "fail", "does not accept a connection");
    report_tells_no_path(&report);
    let report = look(&["--offline"]).await;
    report.says("webhooks", "ok", "not connected to");
}

fn report_tells_no_path(report: &Told) {
    let all = format!("{:?}", report.checks);
    assert!(!all.contains("token") && !all.contains("/hook"), "{all}");
}

#[tokio::test]
async fn everything_at_its_worst_still_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("whatsapp.url=ws://{}/ws/chat", listener.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    // An admin socket that nobody answers on either.
    let _silent = std::os::unix::net::UnixListener::bind(state.join("admin.sock")).unwrap();
    let looked = tokio::task::spawn_blocking(move || told(&["--set", &url], Path::new(&state)));
    let report = within("doctor to give up", looked).await.unwrap();
    report.says("lock", "fail", "does not answer");
    drop(listener);
}
