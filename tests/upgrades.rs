//! State folders as older programs left them, opened by this one.
//!
//! `tests/fixtures/schema-N.tar.gz` was made by the sandbox of the last commit with schema N: one linked instance that
//! had talked to the answering contact, one never linked, two keys and, from schema 2 on, a webhook endpoint with a secret
//! of its own and deliveries that nobody took; from schema 4 on a password, a sign-in and the audit list of all that. The
//! simulator's side of the link lies beside it, so that the link can be used. Whatever is kept for some days only is not
//! looked at: the folders grow older than that.
//!
//! Before a commit brings schema N+1, `tests/fixtures/make` makes the folder of schema N with the sandbox as it was until
//! then, and a test here opens it. `every_schema_has_its_folder` fails until that is done.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::Gateway;
use whatisup::store::{SCHEMA, inspect};

use crate::harness::gateway::{Instance, SANDBOX, Setup};
use crate::harness::sink::Sink;
use crate::harness::{Stream, eventually};

/// The signing secret of the endpoints of then.
const SECRET: &str = "whsec_a_fixture_of_an_older_schema";

/// The contact that answers.
const CONTACT: &str = "5511999990002";

/// The password of the dashboard, from schema 4 on.
const PASSWORD: &str = "a quiet yellow lamp";

/// A folder of then.
pub fn of_then(schema: u32) -> TempDir {
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
    folder
}

/// A gateway of today on a folder of then, and the key that was made then.
async fn upgraded(schema: u32) -> (Gateway, String) {
    let folder = of_then(schema);
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

#[tokio::test]
async fn a_folder_of_schema_4_goes_on_and_its_password_still_lets_in() {
    let (gateway, key) = upgraded(4).await;
    goes_on(&gateway, &key).await;
    still_signs(&gateway).await;
    let client = gateway.client.without_key();
    let body = json!({"password": PASSWORD});
    client.post("/v1/session", &body).returns(201).await;
    gateway.client.get("/v1/audit?action=session.").returns(200).await;
}

#[tokio::test]
async fn an_upgrade_logs_each_step_and_where_the_file_is_kept_as_it_was() {
    let (gateway, _) = upgraded(1).await;
    let log = gateway.log().lines();
    let line = |part: &str| log.iter().position(|line| line.contains(part)).unwrap_or(usize::MAX);
    let told = [
        line("goes from schema 1 to"),
        line("schema 1 → 2: webhook endpoints"),
        line("schema 2 → 3: "),
        line("schema 3 → 4: "),
        line("listening on"),
    ];
    assert!(told.is_sorted() && told[4] != usize::MAX, "{told:?} in {log:#?}");
    let kept = fs::read_dir(gateway.state())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "bak"))
        .unwrap();
    assert!(log[told[0]].contains(kept.to_str().unwrap()), "{}", log[told[0]]);
    assert_eq!(inspect(&kept).unwrap().unwrap().schema, 1);
}

#[test]
fn every_schema_has_its_folder() {
    for schema in 1..=SCHEMA {
        assert!(
            of_then(schema).path().join("state/store.redb").exists(),
            "tests/fixtures/make makes the folder of schema {schema}"
        );
    }
}

/// Signs a store's file as another version would.
pub fn sign(path: &Path, schema: u32, version: &str) {
    let meta: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new("meta");
    let database = redb::Database::open(path).unwrap();
    let txn = database.begin_write().unwrap();
    let row = json!({"schema": schema, "written_by": version}).to_string();
    let mut table = txn.open_table(meta).unwrap();
    table.insert(b"schema".as_slice(), row.as_bytes()).unwrap();
    drop(table);
    txn.commit().unwrap();
}

#[test]
fn every_command_refuses_a_folder_of_a_newer_version_and_changes_nothing_in_it() {
    let folder = of_then(SCHEMA);
    let state = folder.path().join("state");
    let store = state.join("store.redb");
    sign(&store, SCHEMA + 1, "9.1.0");
    fs::write(folder.path().join("password"), PASSWORD).unwrap();
    // What a start would make or mend.
    fs::remove_file(state.join("secrets.key")).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&state, open).unwrap();
    let all = || {
        let mut files: Vec<_> = fs::read_dir(&state)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (
                    entry.file_name(),
                    fs::metadata(entry.path()).unwrap().modified().unwrap(),
                )
            })
            .collect();
        files.sort();
        (
            files,
            fs::read(&store).unwrap(),
            fs::metadata(&state).unwrap().permissions(),
        )
    };
    let before = all();
    for args in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["keys", "list"],
        &["keys", "create", "--name", "x"],
        &["password"],
        &["compact"],
        &["backup", "-"],
    ] {
        let output = Command::new(SANDBOX)
            .args(args)
            .arg("--state")
            .arg(&state)
            .stdin(fs::File::open(folder.path().join("password")).unwrap())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("written by WhatIsUp 9.1.0"), "{args:?}: {said}");
        assert!(all() == before, "{args:?} changed something");
    }
}
