//! State folders as older programs left them, opened by this one.
//!
//! `tests/fixtures/schema-N.tar.gz` was made by the sandbox of the last commit with schema N: one linked instance that
//! had talked to the answering contact, one never linked, two keys and, from schema 2 on, a webhook endpoint with a secret
//! of its own and deliveries that nobody took. The simulator's side of the link lies beside it, so that the link can be
//! used. Whatever is kept for some days only is not looked at: the folders grow older than that.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::Gateway;
use crate::harness::gateway::{Instance, SANDBOX, Setup};
use crate::harness::sink::Sink;
use crate::harness::{Stream, eventually};

/// The signing secret of the endpoints of then.
const SECRET: &str = "whsec_a_fixture_of_an_older_schema";

/// The contact that answers.
const CONTACT: &str = "5511999990002";

/// A gateway of today on a folder of then, and the key that was made then.
async fn upgraded(schema: u32) -> (Gateway, String) {
    let folder = TempDir::new().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/schema-{schema}.tar.gz"));
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(&fixture)
        .arg("-C")
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(unpacked.success(), "{}", fixture.display());
    let key = fs::read_to_string(folder.path().join("key")).unwrap().trim().to_owned();
    let gateway = Setup::of(SANDBOX.into())
        .arg("--simulator-listen")
        .arg("127.0.0.1:0")
        .env("WHATISUP_WEBHOOKS_ALLOW_PRIVATE", "127.0.0.0/8")
        .start_on(folder)
        .await;
    (gateway, key)
}

/// Keys, instances and links are there, and messages flow both ways over the link of then.
async fn goes_on(gateway: &Gateway, key: &str) {
    let client = gateway.client.with_key(key);
    let instances = client.get("/v1/instances").returns(200).await;
    let [unlinked, linked] = [0, 1].map(|at| instances["data"][at].clone());
    assert_eq!(
        (&unlinked["name"], &unlinked["status"], &unlinked["metadata"]),
        (&json!("Never linked"), &json!("pending"), &json!({"team": "north"}))
    );
    let instance = Instance::new(gateway, linked["id"].as_str().unwrap());
    let connected = instance.becomes("connected").await;
    assert_eq!(connected["phone_number"], "5511999990001");
    let mut events = Stream::open(&client, "").await;
    let id = instance.send(CONTACT, "after the upgrade").await;
    assert_eq!(events.next("message.sent").await["message_id"], id);
    assert_eq!(events.next("message.received").await["from"], CONTACT);
    instance.settles().await;
    let keys = gateway.client.get("/v1/api-keys").returns(200).await;
    let old = keys["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["name"] == "Old key")
        .unwrap();
    assert_eq!(old["scopes"], json!(["instances:read", "events:read"]));
}

/// The endpoint of then still signs with the secret that was sealed then.
async fn still_signs(gateway: &Gateway) {
    let endpoints = gateway.client.get("/v1/webhook-endpoints").returns(200).await;
    let path = format!("/v1/webhook-endpoints/{}", endpoints["data"][0]["id"].as_str().unwrap());
    let sink = Sink::start().await;
    gateway
        .client
        .patch(&path, &json!({"url": sink.url()}))
        .returns(200)
        .await;
    gateway.client.post_empty(&format!("{path}/test")).returns(200).await;
    assert_eq!(sink.event("webhook.test").await.signatures(SECRET), (1, 1));
    // What nobody took then is not this test's business.
    gateway.client.delete(&path).reply(204).await;
    eventually("nothing is owed", async || {
        let owed = gateway
            .client
            .get("/v1/webhook-deliveries?status=retrying")
            .returns(200)
            .await;
        owed["data"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_folder_of_schema_1_goes_on() {
    let (gateway, key) = upgraded(1).await;
    goes_on(&gateway, &key).await;
}

#[tokio::test]
async fn a_folder_of_schema_2_goes_on_and_its_webhooks_sign_as_before() {
    let (gateway, key) = upgraded(2).await;
    goes_on(&gateway, &key).await;
    still_signs(&gateway).await;
}

#[tokio::test]
async fn a_folder_of_schema_3_goes_on_and_its_webhooks_sign_as_before() {
    let (gateway, key) = upgraded(3).await;
    goes_on(&gateway, &key).await;
    still_signs(&gateway).await;
}
