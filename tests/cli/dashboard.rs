//! What `serve` prints for whoever wants into the dashboard, `setup-link`, and `password`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::harness::Gateway;
use crate::harness::gateway::{SANDBOX, Setup};

const PASSWORD: &str = "a quiet yellow lamp";

/// Runs a command to its end, with this on its standard input.
fn run(args: &[&str], input: &str, state: &Path) -> Output {
    let mut child = Command::new(SANDBOX)
        .args(args)
        .arg("--state")
        .arg(state)
        .env_remove("WHATISUP_STATE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses at once does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The link in a line, and its token.
fn link_in(line: &str) -> Option<(String, String)> {
    let start = line.find("http://")?;
    let (page, token) = line[start..].trim().split_once("/#setup=")?;
    Some((page.to_owned(), token.to_owned()))
}

async fn sign_in(gateway: &Gateway, password: &str, status: u16) -> Value {
    let body = json!({"password": password});
    gateway
        .client
        .without_key()
        .post("/v1/session", &body)
        .returns(status)
        .await
}

#[tokio::test]
async fn serve_prints_a_link_at_every_start_until_there_is_a_password() {
    let mut gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    let (page, first) = gateway.log().find("the link", 0, link_in).await;
    assert_eq!(page, gateway.client.base());
    let from = gateway.log().lines().len();
    gateway.stop().await;
    gateway.start_again().await;
    let (_, token) = gateway.log().find("another link", from, link_in).await;
    assert_ne!(token, first);
    let body = json!({"token": token, "password": PASSWORD});
    gateway.client.without_key().post("/v1/setup", &body).reply(201).await;

    let from = gateway.log().lines().len();
    gateway.stop().await;
    gateway.start_again().await;
    sign_in(&gateway, PASSWORD, 201).await;
    assert!(!gateway.log().lines()[from..].iter().any(|line| link_in(line).is_some()));
}

#[tokio::test]
async fn setup_link_prints_a_fresh_link_alone() {
    let mut gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    let printed = said(&run(&["setup-link"], "", &gateway.state()));
    let (page, token) = link_in(&printed).unwrap();
    assert_eq!(
        printed,
        format!("{page}/#setup={token}\n"),
        "the link alone, ready for $(…)"
    );
    let body = json!({"token": token, "password": PASSWORD});
    gateway.client.without_key().post("/v1/setup", &body).reply(201).await;
    let refused = run(&["setup-link"], "", &gateway.state());
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("password"), "{why}");
    gateway.stop().await;
    assert!(!run(&["setup-link"], "", &gateway.state()).status.success());
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_with_and_without_a_server() {
    let mut gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    for weak in ["", "short\n", "aaaaaaaaaaaaaa\n"] {
        let refused = run(&["password"], weak, &gateway.state());
        assert!(!refused.status.success(), "{weak:?}");
    }
    sign_in(&gateway, PASSWORD, 409).await;
    let output = run(&["password"], &format!("{PASSWORD}\r\nsecond line\n"), &gateway.state());
    let all = format!("{}{}", said(&output), String::from_utf8_lossy(&output.stderr));
    assert!(!all.contains(PASSWORD), "{all}");
    sign_in(&gateway, PASSWORD, 201).await;

    gateway.stop().await;
    said(&run(&["password"], "a loud violet drum", &gateway.state()));
    gateway.start_again().await;
    sign_in(&gateway, PASSWORD, 401).await;
    sign_in(&gateway, "a loud violet drum", 201).await;
    let left = gateway.client.get("/v1/sessions").returns(200).await;
    assert_eq!(left["data"].as_array().unwrap().len(), 1, "those of before have ended");
}
