//! Bad input, as tables: each with the status and code of the contract, and every problem named.

use serde_json::{Value, json};

use crate::harness::gateway::Setup;
use crate::harness::{FRIEND, Gateway};

/// A gateway that never needs WhatsApp.
async fn alone() -> Gateway {
    Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await
}

/// The paths that `details.fields` names.
fn named(error: &Value) -> Vec<&str> {
    let fields = error["details"]["fields"].as_array().expect("details.fields");
    for field in fields {
        assert!(field["problem"].as_str().is_some_and(|problem| !problem.is_empty()));
    }
    fields.iter().map(|field| field["path"].as_str().unwrap()).collect()
}

fn nested(depth: usize) -> String {
    let (open, close) = ("{\"a\":".repeat(depth), "}".repeat(depth));
    format!("{{\"name\":\"deep\",\"metadata\":{open}1{close}}}")
}

/// Posts each body and expects exactly these paths to be named.
async fn expect_problems(gateway: &Gateway, path: &str, rows: &[(&str, Value, &[&str])]) {
    for (what, body, problems) in rows {
        let error = gateway.client.post(path, body).refused(400, "validation_failed").await;
        let mut paths = named(&error);
        paths.sort_unstable();
        assert_eq!(paths, *problems, "{what}: {error}");
    }
}

#[tokio::test]
async fn an_instance_that_is_described_wrongly_is_refused_with_every_path_that_is() {
    let gateway = alone().await;
    let large = json!({"name": "a", "metadata": {"k": "x".repeat(17_000)}});
    expect_problems(
        &gateway,
        "/v1/instances",
        &[
            ("an unknown field", json!({"name": "a", "nmae": "b"}), &["body.nmae"]),
            ("a wrong type", json!({"name": 5}), &["body.name"]),
            ("a missing field", json!({}), &["body.name"]),
            ("an empty name", json!({"name": ""}), &["body.name"]),
            ("a long name", json!({"name": "x".repeat(101)}), &["body.name"]),
            (
                "metadata that is no object",
                json!({"name": "a", "metadata": [1]}),
                &["body.metadata"],
            ),
            ("metadata that is too large", large, &["body.metadata"]),
            (
                "two problems at once",
                json!({"name": "", "nmae": "b"}),
                &["body.name", "body.nmae"],
            ),
        ],
    )
    .await;
    assert_eq!(
        gateway.client.get("/v1/instances").returns(200).await["data"],
        json!([]),
        "nothing was made"
    );
}

#[tokio::test]
async fn a_message_that_is_described_wrongly_is_refused_with_every_path_that_is() {
    let gateway = alone().await;
    let path = gateway.create("one").await.path("/messages");
    let with = |more: Value| {
        let mut body = json!({"to": FRIEND, "body": {"type": "text", "text": "hi"}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let text = |text: Value| with(json!({"body": {"type": "text", "text": text}}));
    expect_problems(
        &gateway,
        &path,
        &[
            (
                "nobody to send to",
                json!({"body": {"type": "text", "text": "hi"}}),
                &["body.to"],
            ),
            ("a number that is none", with(json!({"to": "12"})), &["body.to"]),
            ("a foreign server", with(json!({"to": "1@example.com"})), &["body.to"]),
            (
                "a kind that is none",
                with(json!({"body": {"type": "smoke"}})),
                &["body.body.type"],
            ),
            ("no text", with(json!({"body": {"type": "text"}})), &["body.body.text"]),
            ("an empty text", text(json!("")), &["body.body.text"]),
            (
                "a text that is too long",
                text(json!("x".repeat(65_537))),
                &["body.body.text"],
            ),
            ("a number for a text", text(json!(1)), &["body.body.text"]),
            (
                "an unknown field inside",
                with(json!({"body": {"type": "text", "text": "a", "txet": "b"}})),
                &["body.body.txet"],
            ),
            (
                "a long reference",
                with(json!({"client_ref": "x".repeat(129)})),
                &["body.client_ref"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_key_that_is_described_wrongly_is_refused_with_every_path_that_is() {
    let gateway = alone().await;
    expect_problems(
        &gateway,
        "/v1/api-keys",
        &[
            ("a key without a name", json!({}), &["body.name"]),
            (
                "an unknown scope",
                json!({"name": "k", "scopes": ["all"]}),
                &["body.scopes[0]"],
            ),
            ("an unknown mode", json!({"name": "k", "mode": "trial"}), &["body.mode"]),
            (
                "a time that is none",
                json!({"name": "k", "expires_at": "tomorrow"}),
                &["body.expires_at"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_no_json_or_too_much_of_it_is_refused() {
    let gateway = alone().await;
    let client = &gateway.client;
    let json_type = "application/json";
    for (what, body) in [
        ("half an object", "{\"name\":".to_owned()),
        ("no JSON", "name=shop".to_owned()),
        ("two values", "{} {}".to_owned()),
        ("a body nested too deeply", nested(65)),
    ] {
        let error = client
            .call("POST", "/v1/instances")
            .body(json_type, body)
            .refused(400, "malformed_json")
            .await;
        assert!(error["message"].is_string(), "{what}");
    }
    client
        .call("POST", "/v1/instances")
        .body("text/plain", "{\"name\":\"a\"}")
        .refused(415, "unsupported_media_type")
        .await;
    client
        .call("POST", "/v1/instances")
        .body("application/json; charset=utf-8", "{\"name\":\"a\"}")
        .returns(201)
        .await;

    let huge = format!("{{\"name\":\"{}\"}}", "x".repeat(3 << 20));
    client
        .call("POST", "/v1/instances")
        .body(json_type, huge.clone())
        .refused(413, "payload_too_large")
        .await;
    // Without a length in the head nobody can tell in advance; the answer is the same.
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> = huge
        .as_bytes()
        .chunks(64 << 10)
        .map(|chunk| Ok(chunk.to_vec()))
        .collect();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    client
        .call("POST", "/v1/instances")
        .body(json_type, stream)
        .refused(413, "payload_too_large")
        .await;
}

#[tokio::test]
async fn a_wrong_query_is_refused_with_its_parameter() {
    let gateway = alone().await;
    for (path, problem) in [
        ("/v1/instances?limit=0", "query.limit"),
        ("/v1/instances?limit=101", "query.limit"),
        ("/v1/instances?limit=many", "query.limit"),
        ("/v1/instances?cursor=nowhere", "query.cursor"),
        ("/v1/instances?sort=name", "query.sort"),
        ("/v1/events?evnts=message.sent", "query.evnts"),
        ("/v1/events?events=message.sent,message.snet", "query.events"),
        ("/v1/events?since=yesterday", "query.since"),
        ("/v1/api-keys?all=1", "query.all"),
    ] {
        let error = gateway.client.get(path).refused(400, "validation_failed").await;
        assert_eq!(named(&error), [problem], "{path}");
    }
    let error = gateway
        .client
        .get("/v1/events?events=nope")
        .refused(400, "validation_failed")
        .await;
    assert!(
        error.to_string().contains("message.received"),
        "it names the valid ones: {error}"
    );
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let gateway = alone().await;
    let instance = gateway.create("one").await;
    let message = instance.path("/messages/3EB0AAAAAAAAAAAAAAAAAA");
    for (method, path, code) in [
        (
            "GET",
            "/v1/instances/inst_01J00000000000000000000000",
            "instance_not_found",
        ),
        ("GET", "/v1/instances/nonsense", "instance_not_found"),
        ("GET", "/v1/instances/inst_%00%ff", "instance_not_found"),
        (
            "GET",
            "/v1/instances/inst_01J00000000000000000000000/qr",
            "instance_not_found",
        ),
        ("POST", "/v1/instances/nonsense/connect", "instance_not_found"),
        ("DELETE", "/v1/instances/nonsense", "instance_not_found"),
        (
            "GET",
            "/v1/events?instance_id=inst_01J00000000000000000000000",
            "instance_not_found",
        ),
        ("GET", &message, "message_not_found"),
        ("DELETE", "/v1/api-keys/key_01J00000000000000000000000", "key_not_found"),
        ("GET", "/v1/nothing", "not_found"),
        ("GET", "/v1", "not_found"),
        ("GET", "/v1/instances/", "not_found"),
        ("POST", "/nothing", "not_found"),
    ] {
        gateway.client.call(method, path).refused(404, code).await;
    }
}

#[tokio::test]
async fn a_method_that_is_not_there_is_answered_with_those_that_are() {
    let gateway = alone().await;
    let instance = gateway.create("one").await;
    for (method, path, allowed) in [
        ("PUT", "/v1/instances".to_owned(), &["GET", "POST"][..]),
        ("POST", instance.path(""), &["GET", "PATCH", "DELETE"]),
        ("GET", instance.path("/connect"), &["POST"]),
        ("DELETE", "/v1/events".to_owned(), &["GET"]),
        ("POST", "/healthz".to_owned(), &["GET"]),
    ] {
        let reply = gateway.client.call(method, &path).reply(405).await;
        assert_eq!(reply.json["error"]["code"], "method_not_allowed", "{method} {path}");
        let allow = reply.header("allow");
        for method in allowed {
            assert!(allow.contains(method), "{path}: Allow is {allow:?}");
        }
    }
}

#[tokio::test]
async fn sending_while_not_connected_is_refused_and_leaves_nothing_behind() {
    let gateway = alone().await;
    let instance = gateway.create("one").await;
    let body = json!({"to": FRIEND, "body": {"type": "text", "text": "hi"}});
    let error = gateway
        .client
        .post(&instance.path("/messages"), &body)
        .refused(409, "not_connected")
        .await;
    assert!(error["message"].is_string());
    assert_eq!(instance.status().await["queue_depth"], 0);
}
