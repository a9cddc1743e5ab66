//! The list itself: who may read it, pages, filters, its end, and what a crash leaves of it.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::gateway::{SANDBOX, Setup};
use crate::harness::{Gateway, eventually};

async fn alone() -> Gateway {
    Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await
}

async fn rows(gateway: &Gateway, query: &str) -> Vec<Value> {
    let page = gateway
        .client
        .get(&format!("/v1/audit?limit=100{query}"))
        .returns(200)
        .await;
    page["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn pages_and_filters_lead_through_the_whole_list_newest_first() {
    let gateway = alone().await;
    let mut ids = Vec::new();
    for index in 0..5 {
        let instance = gateway.create(&format!("number {index}")).await;
        gateway
            .client
            .patch(&instance.path(""), &json!({"name": "renamed"}))
            .returns(200)
            .await;
        ids.push(instance.id);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = gateway
            .client
            .get(&format!("/v1/audit?limit=3&action=instances.{cursor}"))
            .returns(200)
            .await;
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 3);
        seen.extend(data.clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let told: Vec<(&str, &str)> = seen
        .iter()
        .map(|row| (row["action"].as_str().unwrap(), row["target"]["id"].as_str().unwrap()))
        .collect();
    let expected: Vec<(&str, &str)> = ids
        .iter()
        .rev()
        .flat_map(|id| [("instances.update", id.as_str()), ("instances.create", id.as_str())])
        .collect();
    assert_eq!(told, expected);

    let of_one = rows(&gateway, &format!("&instance_id={}", ids[2])).await;
    assert!(
        of_one.len() == 2 && of_one.iter().all(|row| row["target"]["id"] == *ids[2]),
        "{of_one:?}"
    );
    let made = rows(&gateway, &format!("&instance_id={}&action=instances.create", ids[2])).await;
    assert_eq!(made.len(), 1);
    for wrong in [
        "action=instances",
        "action=x",
        "action=",
        "cursor=x",
        "limit=0",
        "since=1",
    ] {
        let path = format!("/v1/audit?{wrong}");
        gateway.client.get(&path).refused(400, "validation_failed").await;
    }
    let path = "/v1/audit?instance_id=inst_x";
    gateway.client.get(path).refused(404, "instance_not_found").await;
}

#[tokio::test]
async fn only_who_may_see_keys_everywhere_may_see_the_list() {
    let gateway = alone().await;
    let instance = gateway.create("one").await;
    let bound = gateway
        .as_key(&json!({"name": "bound", "instance_id": instance.id}))
        .await;
    bound.get("/v1/audit").refused(403, "instance_scoped_key").await;
    bound.get("/v1/system").refused(403, "instance_scoped_key").await;
    let narrow = gateway
        .as_key(&json!({"name": "n", "scopes": ["instances:read"]}))
        .await;
    narrow.get("/v1/audit").refused(403, "insufficient_scope").await;
    narrow.get("/v1/system").returns(200).await;
    let reader = gateway.as_key(&json!({"name": "r", "scopes": ["keys:read"]})).await;
    reader.get("/v1/audit").returns(200).await;
    reader.get("/v1/system").refused(403, "insufficient_scope").await;
}

#[tokio::test]
async fn the_owner_of_the_machine_and_the_gateway_itself_are_told_apart() {
    let chosen = format!("zpk_live_{}", "k".repeat(43));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, &chosen).unwrap();
    let mut gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat")
        .env("WHATISUP_BOOTSTRAP_KEY_FILE", file.to_str().unwrap())
        .start()
        .await;
    // The test's own key came through the admin socket.
    let told = rows(&gateway, "").await;
    let names: Vec<_> = told.iter().map(|row| (&row["target"]["name"], &row["actor"])).collect();
    assert_eq!(
        names,
        [
            (&json!("the test's own"), &json!({"kind": "owner"})),
            (&json!("bootstrap"), &json!({"kind": "system"})),
        ]
    );
    gateway.stop().await;
    let command = |args: &[&str]| {
        let output = Command::new(SANDBOX)
            .args(args)
            .arg("--state")
            .arg(gateway.state())
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    command(&["keys", "create", "--name", "without a server"]);
    gateway.start_again().await;
    let told = rows(&gateway, "").await;
    assert_eq!(
        (&told[0]["target"]["name"], &told[0]["actor"]),
        (&json!("without a server"), &json!({"kind": "owner"}))
    );
    let command = |args: &[&str]| {
        let output = Command::new(SANDBOX)
            .args(args)
            .arg("--state")
            .arg(gateway.state())
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let table = command(&["audit", "--limit", "2"]);
    assert!(
        table.contains("without a server") && table.contains("keys.create"),
        "{table}"
    );
    assert!(!table.contains("bootstrap"), "two rows were asked for: {table}");
    let json: Vec<Value> = serde_json::from_str(&command(&["audit", "--action", "keys.", "--json"])).unwrap();
    assert_eq!(json, told);
}

#[tokio::test]
async fn rows_go_after_their_time_and_too_many_go_with_a_row_that_tells_it() {
    let gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat")
        .env("WHATISUP_AUDIT_MAX_ROWS", "100")
        .env("WHATISUP_AUDIT_MAX_AGE_DAYS", "30")
        .start()
        .await;
    let instance = gateway.create("one").await;
    for index in 0..110 {
        let name = json!({"name": format!("name {index}")});
        gateway.client.patch(&instance.path(""), &name).returns(200).await;
    }
    // The key of the test, the instance, 110 names. Sweeps come every ten minutes.
    gateway.advance(11 * 60).await;
    let swept = eventually("a sweep for want of room", async || {
        rows(&gateway, "&action=audit.sweep").await.into_iter().next()
    })
    .await;
    assert_eq!(swept["changes"], json!({"rows": [112, 90]}));
    assert_eq!(swept["actor"], json!({"kind": "system"}));
    let left = rows(&gateway, "").await;
    assert_eq!(left.len(), 91);
    assert_eq!(left[1]["changes"]["name"][1], "name 109", "the newest stay");

    gateway.advance(20 * 24 * 3600).await;
    gateway.create("later").await;
    gateway.advance(11 * 24 * 3600).await;
    eventually("old rows to go", async || {
        let left = rows(&gateway, "").await;
        (left.len() == 1 && left[0]["target"]["name"] == "later").then_some(())
    })
    .await;
}

#[tokio::test]
async fn kill_9_right_after_a_201_leaves_both_the_change_and_its_row() {
    let mut gateway = alone().await;
    for round in 0..5 {
        let name = json!({"name": format!("round {round}")});
        let (path, list) = if round % 2 == 0 {
            ("/v1/instances", "/v1/instances?limit=1")
        } else {
            ("/v1/api-keys", "/v1/api-keys?limit=1")
        };
        let made = gateway.client.post(path, &name).reply(201).await;
        gateway.kill();
        gateway.start_again().await;
        let newest = gateway.client.get(list).returns(200).await["data"][0].clone();
        assert_eq!(newest["id"], made.json["id"]);
        let row = rows(&gateway, "").await.remove(0);
        assert_eq!(row["target"]["id"], made.json["id"]);
        assert_eq!(row["request_id"], made.header("x-request-id"));
    }
}
