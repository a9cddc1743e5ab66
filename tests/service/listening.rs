//! Where the gateway listens, and whom it believes to be calling.

use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::Gateway;
use crate::harness::client::Call;
use crate::harness::gateway::{SANDBOX, Setup};

const PASSWORD: &str = "a quiet yellow lamp";

fn run(args: &[&str], folder: &std::path::Path) -> Output {
    Command::new(SANDBOX)
        .args(args)
        .arg("--state")
        .arg(folder)
        .output()
        .unwrap()
}

#[test]
fn an_address_beyond_this_machine_is_refused_with_three_ways_out_before_anything_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    // A port that is taken: nobody may even try to open it.
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for host in ["0.0.0.0", "[::]", "192.168.7.7", "203.0.113.7", "[2001:db8::1]"] {
        let listen = format!("{host}:{port}");
        let output = run(&["serve", "--listen", &listen], &state);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{listen}: {said}");
        for way in ["readable", "--listen 127.0.0.1", "--behind-proxy", "--insecure"] {
            assert!(said.contains(way), "{listen}: {said}");
        }
        assert!(!state.exists(), "nothing was made");
        let setting = format!("listen={listen}");
        let output = run(&["config", "check", "--set", &setting], &state);
        assert_eq!(output.status.code(), Some(2), "{listen}");
        let output = run(
            &["config", "check", "--set", &setting, "--set", "behind_proxy=true"],
            &state,
        );
        assert!(output.status.success(), "{output:?}");
    }
    let both = run(&["serve", "--insecure", "--behind-proxy"], &state);
    assert_eq!(both.status.code(), Some(2));
    // Commands that only talk to a server do not care where it listens.
    let shown = run(&["config", "show", "--set", "listen=0.0.0.0:80"], &state);
    assert!(shown.status.success(), "{shown:?}");
}

#[tokio::test]
async fn whoever_says_how_it_is_meant_may_listen_everywhere() {
    for flag in ["--insecure", "--behind-proxy"] {
        let gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat")
            .arg(flag)
            .listening_on("0.0.0.0")
            .start()
            .await;
        let lines = gateway.log().lines();
        let warnings = lines.iter().filter(|line| line.contains("cross the network readable"));
        assert_eq!(warnings.count(), usize::from(flag == "--insecure"), "{flag}");
        gateway.client.get("/v1/instances").returns(200).await;
    }
}

/// A gateway with a password.
async fn with_password(setup: Setup) -> Gateway {
    setup.env("WHATISUP_DASHBOARD_PASSWORD", PASSWORD).start().await
}

/// A sign-in that a proxy passes on for somebody.
fn sign_in(gateway: &Gateway, forwarded_for: &str, password: &str) -> Call {
    let call = gateway
        .client
        .without_key()
        .post("/v1/session", &json!({"password": password}));
    call.header("X-Forwarded-For", forwarded_for)
        .header("X-Forwarded-Proto", "https")
}

async fn audited_addresses(gateway: &Gateway) -> Vec<Value> {
    let rows = gateway
        .owner()
        .get("/v1/audit?action=session.create")
        .returns(200)
        .await;
    let rows = rows["data"].as_array().unwrap();
    rows.iter().map(|row| row["actor"]["address"].clone()).collect()
}

#[tokio::test]
async fn behind_a_proxy_each_caller_is_one_of_its_own() {
    let gateway = with_password(Setup::connecting_to("ws://127.0.0.1:9/ws/chat").arg("--behind-proxy")).await;
    let (guesser, owner) = ("203.0.113.66", "192.0.2.7");
    for _ in 0..3 {
        // What the guesser itself claims stands in front and changes nothing.
        sign_in(&gateway, &format!("192.0.2.7, {guesser}"), "a wrong password")
            .refused(401, "auth_invalid")
            .await;
    }
    sign_in(&gateway, guesser, PASSWORD).refused(429, "rate_limited").await;
    sign_in(&gateway, &format!("192.0.2.99, {guesser}"), PASSWORD)
        .refused(429, "rate_limited")
        .await;
    // Everybody else goes in and out as before.
    let reply = sign_in(&gateway, owner, PASSWORD).reply(201).await;
    assert_eq!(reply.json["address"], owner);
    assert!(
        reply.header("set-cookie").contains("Secure"),
        "the browser came over https"
    );
    assert_eq!(audited_addresses(&gateway).await, [owner]);

    // Keys that are guessed hold back the guesser alone, too.
    let invented = gateway.client.with_key(format!("zpk_live_{}", "B".repeat(43)));
    let guess = || invented.get("/v1/instances").header("X-Forwarded-For", guesser);
    while guess().attempt().await.unwrap().status == 401 {}
    guess().refused(429, "rate_limited").await;
    let stranger = invented.get("/v1/instances").header("X-Forwarded-For", owner);
    stranger.refused(401, "auth_invalid").await;
}

#[tokio::test]
async fn without_a_proxy_a_forged_header_changes_nothing() {
    let gateway = with_password(Setup::connecting_to("ws://127.0.0.1:9/ws/chat")).await;
    let reply = sign_in(&gateway, "203.0.113.66", PASSWORD).reply(201).await;
    assert_eq!(reply.json["address"], "127.0.0.1");
    assert!(!reply.header("set-cookie").contains("Secure"));
    assert_eq!(audited_addresses(&gateway).await, ["127.0.0.1"]);
    for place in 1..=3 {
        sign_in(&gateway, &format!("203.0.113.{place}"), "a wrong password")
            .refused(401, "auth_invalid")
            .await;
    }
    sign_in(&gateway, "203.0.113.200", PASSWORD)
        .refused(429, "rate_limited")
        .await;
    let lines = gateway.log().lines();
    let hints = lines
        .iter()
        .filter(|line| line.contains("X-Forwarded-For, which is ignored"));
    assert_eq!(hints.count(), 1, "and the log says so, once");
}
