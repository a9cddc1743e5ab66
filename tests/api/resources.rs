//! Instances, keys, health and the contract itself, as a caller meets them.

use serde_json::json;

use crate::harness::Gateway;
use crate::harness::gateway::Setup;

async fn alone() -> Gateway {
    Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await
}

#[tokio::test]
async fn an_instance_is_made_changed_listed_and_deleted() {
    let gateway = alone().await;
    let client = &gateway.client;
    let body = json!({"name": "shop", "metadata": {"branch": 7}});
    let made = client.post("/v1/instances", &body).reply(201).await;
    let id = made.json["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("inst_"));
    assert!(made.json["customer_id"].as_str().unwrap().starts_with("cust_"));
    assert_eq!(made.header("location"), format!("/v1/instances/{id}"));
    assert_eq!(
        (&made.json["status"], &made.json["metadata"]["branch"]),
        (&json!("pending"), &json!(7))
    );
    assert!(made.json["created_at"].as_str().unwrap().ends_with('Z'));

    let path = format!("/v1/instances/{id}");
    assert_eq!(client.get(&path).returns(200).await, made.json);
    let changed = client.patch(&path, &json!({"name": "shop 2"})).returns(200).await;
    assert_eq!(
        (&changed["name"], &changed["metadata"]["branch"]),
        (&json!("shop 2"), &json!(7))
    );
    client.delete(&path).reply(204).await;
    client.get(&path).refused(404, "instance_not_found").await;
    client.delete(&path).refused(404, "instance_not_found").await;
}

#[tokio::test]
async fn a_list_is_paged_newest_first_without_a_gap() {
    let gateway = alone().await;
    let mut made = Vec::new();
    for index in 0..7 {
        made.push(gateway.create(&format!("number {index}")).await.id);
    }
    made.reverse();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = gateway
            .client
            .get(&format!("/v1/instances?limit=3{cursor}"))
            .returns(200)
            .await;
        let ids = page["data"].as_array().unwrap();
        assert!(ids.len() <= 3);
        seen.extend(ids.iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, made);
}

#[tokio::test]
async fn health_is_told_without_a_key() {
    let gateway = alone().await;
    gateway.create("one").await;
    let nobody = gateway.client.without_key();
    nobody.get("/healthz").reply(200).await;
    let ready = nobody.get("/readyz").returns(200).await;
    assert!(
        ready.to_string().contains("pending"),
        "counts of instances by status: {ready}"
    );
}

#[tokio::test]
async fn the_contract_names_every_call_with_its_errors() {
    let gateway = alone().await;
    let contract = gateway.client.without_key().get("/openapi.json").returns(200).await;
    assert_eq!(contract["openapi"], "3.1.0");
    for (path, methods) in [
        ("/v1/api-keys", &["get", "post"][..]),
        ("/v1/api-keys/{id}", &["delete"]),
        ("/v1/stream-tokens", &["post"]),
        ("/v1/instances", &["get", "post"]),
        ("/v1/instances/{id}", &["get", "patch", "delete"]),
        ("/v1/instances/{id}/qr", &["get"]),
        ("/v1/instances/{id}/connect", &["post"]),
        ("/v1/instances/{id}/disconnect", &["post"]),
        ("/v1/instances/{id}/logout", &["post"]),
        ("/v1/instances/{id}/restart", &["post"]),
        ("/v1/instances/{id}/status", &["get"]),
        ("/v1/instances/{id}/messages", &["post"]),
        ("/v1/instances/{id}/messages/{message_id}", &["get"]),
        ("/v1/events", &["get"]),
        ("/v1/limits", &["get"]),
        ("/healthz", &["get"]),
        ("/readyz", &["get"]),
    ] {
        for method in methods {
            let operation = &contract["paths"][path][*method];
            assert!(operation["operationId"].is_string(), "{method} {path}");
            if path.starts_with("/v1/") {
                assert!(
                    operation["responses"]["401"].is_object(),
                    "{method} {path} can be refused"
                );
            }
        }
    }
    let problems: Vec<String> = jsonschema::draft202012::meta::validate(&contract["components"]["schemas"])
        .err()
        .map(|error| error.to_string())
        .into_iter()
        .collect();
    assert!(problems.is_empty(), "{problems:?}");
}

#[tokio::test]
async fn a_request_id_is_on_every_reply_and_never_twice() {
    let gateway = alone().await;
    let one = gateway.client.get("/v1/instances").reply(200).await;
    let two = gateway.client.get("/v1/instances").reply(200).await;
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
    let page = gateway.client.without_key().get("/nothing").attempt().await.unwrap();
    assert!(page.header("x-request-id").starts_with("req_"));
}
