//! `whatisup-sandbox` as a newcomer meets it: one command, and something happens. And what it must never do.

mod phones;

use std::process::Command;

use serde_json::json;

use crate::harness::gateway::{SANDBOX, Setup};
use crate::harness::{Gateway, Simulator, eventually};

/// The sandbox with the simulator inside, on an empty state.
async fn demonstration() -> Gateway {
    Setup::of(SANDBOX.into())
        .arg("--simulator-listen")
        .arg("127.0.0.1:0")
        .start()
        .await
}

#[tokio::test]
async fn the_first_start_makes_a_key_and_an_instance_and_prints_what_to_do() {
    let mut gateway = demonstration().await;
    let base = gateway.client.base().to_owned();
    let key = gateway
        .log()
        .find("a key in the greeting", 0, |line| {
            let start = line.find("zpk_")?;
            let key: String = line[start..]
                .chars()
                .take_while(|character| character.is_ascii_alphanumeric() || "-_".contains(*character))
                .collect();
            (key.len() > 40).then_some(key)
        })
        .await;
    let greeting = gateway.log().lines().join("\n");
    assert!(
        greeting.contains(&format!("{base}/#key=")),
        "the page's address: {greeting}"
    );
    assert!(
        !greeting.contains("#setup="),
        "the key in the link is enough here: {greeting}"
    );
    assert_eq!(greeting.matches("curl ").count(), 3, "three lines to copy: {greeting}");

    let client = gateway.client.with_key(key);
    let instances = client.get("/v1/instances").returns(200).await;
    let instance = &instances["data"][0];
    let about = client.get("/v1/sandbox").returns(200).await;
    assert!(
        about["phones"].as_array().is_some_and(|phones| phones.len() >= 2),
        "{about}"
    );

    let id = instance["id"].as_str().unwrap();
    client.get(&format!("/v1/instances/{id}/qr")).returns(200).await;
    client
        .post("/v1/sandbox/scan", &json!({"instance_id": id}))
        .reply(202)
        .await;
    let connected = eventually("the link", async || {
        let now = client.get(&format!("/v1/instances/{id}")).returns(200).await;
        (now["status"] == "connected").then_some(now)
    })
    .await;

    // A phone answers, so that something happens.
    let mut events = gateway.events().await;
    let contact = about["phones"]
        .as_array()
        .unwrap()
        .iter()
        .find(|phone| phone["role"] == "contact")
        .unwrap()["phone"]
        .clone();
    let body = json!({"to": contact, "body": {"type": "text", "text": "hello"}});
    client
        .post(&format!("/v1/instances/{id}/messages"), &body)
        .returns(202)
        .await;
    events.next("message.sent").await;
    let answer = events.next("message.received").await;
    assert_eq!(answer["from"], contact);

    let written = json!({"from": contact, "to": connected["phone_number"], "text": "by hand"});
    client.post("/v1/sandbox/messages", &written).reply(202).await;
    events
        .next_where("what was written by hand", |frame| {
            frame.data["body"]["text"] == "by hand"
        })
        .await;
    let path = format!("/v1/sandbox/inbox?phone={}", contact.as_str().unwrap());
    assert!(client.get(&path).returns(200).await.to_string().contains("hello"));

    // A second start finds the link and makes nothing new.
    gateway.stop().await;
    gateway.start_again().await;
    eventually("the link after a restart", async || {
        let now = client.get(&format!("/v1/instances/{id}")).returns(200).await;
        (now["status"] == "connected").then_some(())
    })
    .await;
    assert_eq!(
        client.get("/v1/instances").returns(200).await["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn with_a_simulator_outside_nothing_is_made_by_itself() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    assert_eq!(
        gateway.client.get("/v1/instances").returns(200).await["data"],
        json!([])
    );
    let keys = gateway.client.get("/v1/api-keys").returns(200).await;
    assert_eq!(keys["data"].as_array().unwrap().len(), 1, "the test's own");
}

#[tokio::test]
async fn a_sandbox_dials_loopback_only() {
    for url in [
        "ws://192.0.2.1:443/ws/chat",
        "wss://web.whatsapp.com/ws/chat",
        "ws://example.com/ws/chat",
    ] {
        let state = tempfile::tempdir().unwrap();
        let output = Command::new(SANDBOX)
            .args(["serve", "--listen", "127.0.0.1:0", "--simulator", url, "--state"])
            .arg(state.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{url}");
        let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert!(said.contains("loopback"), "{url}: {said}");
    }
}

#[test]
fn a_dangerous_build_under_the_products_name_only_points_at_the_other() {
    let output = Command::new(env!("CARGO_BIN_EXE_whatisup"))
        .arg("serve")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("use whatisup-sandbox"));
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn a_normal_build_has_no_sandbox_calls_and_a_clock_nobody_moves() {
    let gateway = Setup::of(crate::harness::gateway::normal_build()).start().await;
    gateway.client.get("/v1/sandbox").refused(404, "not_found").await;
    gateway
        .owner()
        .post("/v1/sandbox/clock", &json!({"advance_seconds": 1}))
        .reply(404)
        .await;
    assert!(gateway.client.get("/openapi.json").reply(200).await.bytes.len() > 1000);
    assert!(
        !gateway
            .client
            .get("/openapi.json")
            .returns(200)
            .await
            .to_string()
            .contains("/v1/sandbox")
    );
    assert_eq!(
        gateway
            .create("none")
            .await
            .get()
            .await
            .get("phone_number")
            .and_then(|number| number.as_str()),
        None
    );
}
