//! Who may do what: keys, scopes, bindings, the owner's socket.

use serde_json::json;

use crate::harness::gateway::Setup;
use crate::harness::{Client, Gateway, Stream};

async fn alone() -> Gateway {
    Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await
}

#[tokio::test]
async fn without_a_good_key_nothing_is_answered() {
    let gateway = alone().await;
    let nobody = gateway.client.without_key();
    let path = "/v1/instances";
    for (what, header, code) in [
        ("nothing", None, "auth_missing"),
        ("another scheme", Some("Basic dXNlcjpwYXNz"), "auth_malformed"),
        ("no key behind the scheme", Some("Bearer "), "auth_malformed"),
        (
            "an invented key",
            Some("Bearer zpk_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            "auth_invalid",
        ),
        ("a key of another kind", Some("Bearer sk_live_123"), "auth_invalid"),
    ] {
        let mut call = nobody.get(path);
        if let Some(header) = header {
            call = call.header("Authorization", header);
        }
        let reply = call.reply(401).await;
        assert_eq!(reply.json["error"]["code"], code, "{what}");
        assert!(reply.header("www-authenticate").starts_with("Bearer"), "{what}");
    }
    let token = format!("{path}?token={}", gateway.client.key());
    let reply = nobody.get(&token).attempt().await.unwrap();
    assert!(
        matches!(reply.status, 400 | 401),
        "a key in the address counts for the stream alone"
    );
}

#[tokio::test]
async fn a_revoked_or_expired_key_is_refused() {
    let gateway = alone().await;
    let made = gateway
        .client
        .post("/v1/api-keys", &json!({"name": "short"}))
        .reply(201)
        .await;
    let id = made.json["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("/v1/api-keys/{id}"));
    let secret = made.json["secret"].as_str().unwrap();
    assert!(
        secret.starts_with("zpk_live_") && secret.len() == "zpk_live_".len() + 43,
        "32 bytes in base64url"
    );
    let client = gateway.client.with_key(secret);
    client.get("/v1/instances").returns(200).await;

    let listed = gateway.client.get("/v1/api-keys").returns(200).await;
    let text = listed.to_string();
    assert!(
        text.contains(&id) && !text.contains(secret),
        "a list never shows a secret"
    );
    gateway.client.delete(&format!("/v1/api-keys/{id}")).reply(204).await;
    client.get("/v1/instances").refused(401, "auth_invalid").await;
    gateway
        .client
        .delete(&format!("/v1/api-keys/{id}"))
        .refused(404, "key_not_found")
        .await;
    assert!(
        !gateway
            .client
            .get("/v1/api-keys")
            .returns(200)
            .await
            .to_string()
            .contains(&id)
    );

    let expires_at = gateway.in_an_hour().await;
    let passing = gateway
        .new_key(&json!({"name": "t", "mode": "test", "expires_at": expires_at}))
        .await;
    assert!(passing["secret"].as_str().unwrap().starts_with("zpk_test_"));
    assert_eq!(passing["expires_at"], *expires_at);
    let passing = gateway.client.with_key(passing["secret"].as_str().unwrap());
    passing.get("/v1/instances").returns(200).await;
    gateway.advance(3601).await;
    passing.get("/v1/instances").refused(401, "auth_expired").await;
}

#[tokio::test]
async fn a_key_does_only_what_its_scopes_say() {
    let gateway = alone().await;
    let instance = gateway.create("one").await;
    let reader = gateway
        .as_key(&json!({"name": "reader", "scopes": ["instances:read"]}))
        .await;
    reader.get("/v1/instances").returns(200).await;
    reader.get(&instance.path("")).returns(200).await;
    for (method, path, scope) in [
        ("POST", "/v1/instances".to_owned(), "instances:write"),
        ("DELETE", instance.path(""), "instances:write"),
        ("POST", instance.path("/connect"), "instances:write"),
        ("POST", instance.path("/messages"), "messages:send"),
        ("GET", instance.path("/messages/X"), "messages:read"),
        ("GET", "/v1/events".to_owned(), "events:read"),
        ("GET", "/v1/api-keys".to_owned(), "keys:read"),
        ("POST", "/v1/api-keys".to_owned(), "keys:write"),
    ] {
        let call = reader.call(method, &path);
        let call = if method == "POST" {
            call.json(&json!({"name": "x"}))
        } else {
            call
        };
        let error = call.refused(403, "insufficient_scope").await;
        assert!(error.to_string().contains(scope), "{method} {path}: {error}");
    }
}

#[tokio::test]
async fn a_key_bound_to_one_instance_cannot_see_another() {
    let gateway = alone().await;
    let (mine, other) = (gateway.create("mine").await, gateway.create("other").await);
    let bound = gateway.as_key(&json!({"name": "bound", "instance_id": mine.id})).await;
    bound.get(&mine.path("")).returns(200).await;
    for path in [other.path(""), other.path("/qr"), other.path("/status")] {
        bound.get(&path).refused(403, "instance_access_denied").await;
    }
    let sent = json!({"to": "5511977770002", "type": "text", "text": "hi"});
    bound
        .post(&other.path("/messages"), &sent)
        .refused(403, "instance_access_denied")
        .await;
    let stream = format!("/v1/events?instance_id={}", other.id);
    bound.get(&stream).refused(403, "instance_access_denied").await;
    bound
        .post("/v1/instances", &json!({"name": "new"}))
        .refused(403, "instance_scoped_key")
        .await;
    bound.get("/v1/api-keys").refused(403, "instance_scoped_key").await;
    bound
        .post("/v1/api-keys", &json!({"name": "n"}))
        .refused(403, "instance_scoped_key")
        .await;

    let listed = bound.get("/v1/instances").returns(200).await;
    let ids: Vec<&str> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [mine.id.as_str()], "a list shows its own alone");
    let unknown = json!({"name": "n", "instance_id": "inst_01J00000000000000000000000"});
    let reply = gateway.client.post("/v1/api-keys", &unknown).attempt().await.unwrap();
    assert!(
        matches!(reply.status, 400 | 404),
        "a key for nothing is not made: {}",
        reply.json
    );
}

#[tokio::test]
async fn a_stream_token_opens_the_stream_and_nothing_else() {
    let gateway = alone().await;
    let (mine, other) = (gateway.create("mine").await, gateway.create("other").await);
    let request = json!({"instance_id": mine.id, "events": ["instance.status", "instance.disconnected"], "expires_in_seconds": 60});
    let made = gateway
        .client
        .post("/v1/stream-tokens", &request)
        .attempt()
        .await
        .unwrap();
    assert!(matches!(made.status, 200 | 201), "{}", made.json);
    let token = made.json["token"].as_str().unwrap().to_owned();
    gateway.client.with_key(&token).get("/v1/instances").reply(401).await;

    let nobody = gateway.client.without_key();
    let mut stream = Stream::open(&nobody, &format!("?token={token}")).await;
    other.act("connect").await;
    mine.act("connect").await;
    let event = stream.next("instance.status").await;
    assert_eq!(event["instance_id"], *mine.id, "the token carries its filter");
    for instance in [&mine, &other] {
        gateway.client.delete(&instance.path("")).reply(204).await;
    }
    gateway.advance(61).await;
    stream.ended().await;
    let late = nobody.get(&format!("/v1/events?token={token}")).reply(401).await;
    assert_eq!(late.json["error"]["code"], "auth_expired");
}

#[tokio::test]
async fn the_owners_socket_needs_no_key_and_nobody_else_can_open_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let gateway = alone().await;
    let owner: Client = gateway.owner();
    owner.get("/v1/instances").returns(200).await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&gateway.state().join("admin.sock")), 0o600);
    for entry in std::fs::read_dir(gateway.state()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{} is for its owner alone", path.display());
    }
}
