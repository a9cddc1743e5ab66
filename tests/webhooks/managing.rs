//! Endpoints: made, changed, bound, rotated, refused.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::gateway::SANDBOX;
use crate::harness::sink::{self, Answer, Sink};
use crate::harness::{FRIEND, Gateway, OWNER, Simulator};

#[tokio::test]
async fn a_secret_is_shown_once_rotated_with_an_overlap_and_nowhere_in_the_store() {
    let simulator = Simulator::start().await;
    let mut gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    let endpoint = sink.endpoint(&gateway.client, json!({})).await;
    assert!(endpoint.secret.starts_with("whsec_"));
    let shown = endpoint.get().await;
    assert!(shown.get("signing_secret").is_none());
    assert_eq!(shown["has_custom_signing_secret"], false);
    let test = async || gateway.client.post_empty(&endpoint.path("/test")).returns(200).await;
    assert_eq!(test().await["status"], "success");
    assert_eq!(sink.got()[0].signatures(&endpoint.secret), (1, 1));

    let own = "a secret-of-my-own, 24".replace([' ', ','], "_");
    let rotated = gateway
        .client
        .post(&endpoint.path("/rotate-secret"), &json!({"signing_secret": own}))
        .returns(200)
        .await;
    assert_eq!(
        (&rotated["signing_secret"], &rotated["has_custom_signing_secret"]),
        (&json!(own), &json!(true))
    );
    test().await;
    assert_eq!(sink.got()[1].signatures(&endpoint.secret), (1, 2));
    assert_eq!(sink.got()[1].signatures(&own), (1, 2));
    gateway.advance(24 * 3600 + 1).await;
    test().await;
    assert_eq!(sink.got()[2].signatures(&own), (1, 1), "the old one is over");
    assert!(endpoint.get().await.get("previous_secret_expires_at").is_none());

    for bad in ["short", "with a space in the middle", "ünïcödë-ünïcödë-ünïcödë"] {
        let request = json!({"signing_secret": bad});
        let path = endpoint.path("/rotate-secret");
        gateway
            .client
            .post(&path, &request)
            .refused(400, "validation_failed")
            .await;
    }
    gateway.stop().await;
    let stored = std::fs::read(gateway.state().join("store.redb")).unwrap();
    for secret in [endpoint.secret.as_str(), own.as_str()] {
        let found = stored.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
        assert!(!found, "a secret stands in the store");
    }
    let log = gateway.log().lines().join("\n");
    assert!(!log.contains(&endpoint.secret) && !log.contains("token=secret"));
}

#[tokio::test]
async fn a_bound_key_makes_and_sees_the_endpoints_of_its_instance_alone() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    let (one, two) = (gateway.create("one").await, gateway.create("two").await);
    let bound = gateway.as_key(&json!({"name": "bound", "instance_id": one.id})).await;
    let foreign = sink.endpoint(&gateway.client, json!({"instance_id": two.id})).await;
    let general = sink.endpoint(&gateway.client, json!({})).await;
    let own = sink.endpoint(&bound, json!({})).await;
    let shown = own.get().await;
    assert_eq!(
        (&shown["instance_id"], &shown["instance_ids"]),
        (&json!(one.id), &json!([one.id]))
    );
    let request = json!({"url": sink.url(), "events": ["*"], "instance_id": two.id});
    bound
        .post("/v1/webhook-endpoints", &request)
        .refused(403, "instance_access_denied")
        .await;
    let change = json!({"instance_ids": [one.id, two.id]});
    bound
        .patch(&own.path(""), &change)
        .refused(403, "instance_access_denied")
        .await;
    bound
        .patch(&own.path(""), &json!({"instance_ids": null}))
        .returns(200)
        .await;
    assert_eq!(
        own.get().await["instance_id"],
        *one.id,
        "all of the key's instances is one"
    );
    let list = bound.get("/v1/webhook-endpoints").returns(200).await;
    assert_eq!(list["data"].as_array().unwrap().len(), 1);

    for endpoint in [&foreign, &general] {
        gateway.client.post_empty(&endpoint.path("/test")).returns(200).await;
        bound.get(&endpoint.path("")).refused(404, "endpoint_not_found").await;
        bound
            .delete(&endpoint.path(""))
            .refused(404, "endpoint_not_found")
            .await;
        bound
            .post_empty(&endpoint.path("/test"))
            .refused(404, "endpoint_not_found")
            .await;
        let delivery = endpoint.deliveries("").await[0]["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/webhook-deliveries/{delivery}");
        bound.get(&path).refused(404, "delivery_not_found").await;
        bound
            .post_empty(&format!("{path}/replay"))
            .refused(404, "delivery_not_found")
            .await;
    }
    let seen = bound.get("/v1/webhook-deliveries").returns(200).await;
    assert_eq!(seen["data"], json!([]));
    bound.post_empty(&own.path("/test")).returns(200).await;
    let seen = bound.get("/v1/webhook-deliveries").returns(200).await;
    assert_eq!(seen["data"][0]["endpoint_id"], *own.id);

    let reader = gateway
        .as_key(&json!({"name": "reader", "scopes": ["webhooks:read"]}))
        .await;
    reader.get(&own.path("")).returns(200).await;
    reader
        .post_empty(&own.path("/test"))
        .refused(403, "insufficient_scope")
        .await;
}

#[tokio::test]
async fn many_instances_of_one_endpoint_and_many_endpoints_of_one_instance() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let (both, first, other) = (Sink::start().await, Sink::start().await, Sink::start().await);
    let one = gateway.link(&simulator, OWNER).await;
    let two = gateway.link(&simulator, "5511988880009").await;
    let events = json!(["message.received"]);
    both.endpoint(
        &gateway.client,
        json!({"events": events, "instance_ids": [one.id, two.id]}),
    )
    .await;
    first
        .endpoint(&gateway.client, json!({"events": events, "instance_id": one.id}))
        .await;
    let endpoint = other
        .endpoint(&gateway.client, json!({"events": events, "instance_ids": [two.id]}))
        .await;
    simulator.send(FRIEND, OWNER, "to one").await;
    simulator.send(FRIEND, "5511988880009", "to two").await;
    both.count("both", 2, |_| true).await;
    assert_eq!(first.event("message.received").await.body["instance_id"], *one.id);
    assert_eq!(other.event("message.received").await.body["instance_id"], *two.id);
    endpoint.change(&json!({"instance_ids": null})).await;
    simulator.send(FRIEND, OWNER, "to one again").await;
    other.count("also the other instance's", 2, |_| true).await;
    assert_eq!(first.count("its own", 2, |_| true).await.len(), 2);
}

#[tokio::test]
async fn wrong_requests_are_told_everything_that_is_wrong() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let create = |request: Value| gateway.client.post("/v1/webhook-endpoints", &request);
    let problems = create(json!({"events": ["nope", "presence.updated"], "enabled": "yes", "typo": 1}))
        .refused(400, "validation_failed")
        .await;
    let paths: Vec<&str> = problems["details"]["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["path"].as_str().unwrap())
        .collect();
    for path in [
        "body.url",
        "body.events[0]",
        "body.events[1]",
        "body.enabled",
        "body.typo",
    ] {
        assert!(paths.contains(&path), "{path} in {paths:?}");
    }
    let url = "http://127.0.0.1:9/";
    for (request, status, code) in [
        (json!({"url": url, "events": []}), 400, "validation_failed"),
        (json!({"url": url}), 400, "validation_failed"),
        (
            json!({"url": url, "events": ["*"], "canary_interval_seconds": 5}),
            400,
            "validation_failed",
        ),
        (
            json!({"url": url, "events": ["*"], "instance_ids": []}),
            400,
            "validation_failed",
        ),
        (
            json!({"url": url, "events": ["*"], "instance_id": "inst_x"}),
            404,
            "instance_not_found",
        ),
        (
            json!({"url": "https://10.0.0.1/", "events": ["*"]}),
            422,
            "webhook_url_refused",
        ),
        (
            json!({"url": "https://[::1]/", "events": ["*"]}),
            422,
            "webhook_url_refused",
        ),
        (
            json!({"url": "https://169.254.169.254/", "events": ["*"]}),
            422,
            "webhook_url_refused",
        ),
        (
            json!({"url": "ftp://example.org/", "events": ["*"]}),
            422,
            "webhook_url_refused",
        ),
        (
            json!({"url": "https://a:b@127.0.0.1/", "events": ["*"]}),
            422,
            "webhook_url_refused",
        ),
        (
            json!({"url": "http://127.0.0.1:22/", "events": ["*"]}),
            422,
            "webhook_url_refused",
        ),
        (
            json!({"url": "https://no-such-name.invalid/", "events": ["*"]}),
            422,
            "webhook_url_refused",
        ),
    ] {
        create(request).refused(status, code).await;
    }
    let list = gateway.client.get("/v1/webhook-endpoints").returns(200).await;
    assert_eq!(list["data"], json!([]));
    for path in ["/v1/webhook-endpoints/wh_x", "/v1/webhook-endpoints/nope"] {
        gateway.client.get(path).refused(404, "endpoint_not_found").await;
    }
    for query in ["status=x", "event=x", "cursor=x", "limit=0", "typo=1"] {
        let path = format!("/v1/webhook-deliveries?{query}");
        gateway.client.get(&path).refused(400, "validation_failed").await;
    }
}

#[tokio::test]
async fn an_address_that_was_registered_is_judged_again_when_it_is_called() {
    let simulator = Simulator::start().await;
    let sink = Sink::start().await;
    let mut gateway = sink::gateway(&simulator).await;
    let endpoint = sink.endpoint(&gateway.client, json!({})).await;
    let named = sink.url().replace("127.0.0.1", "localhost");
    let by_name = sink.endpoint(&gateway.client, json!({"url": named})).await;
    for endpoint in [&endpoint, &by_name] {
        let test = gateway.client.post_empty(&endpoint.path("/test")).returns(200).await;
        assert_eq!(test["status"], "success", "{test}");
    }
    // The same state, served without the opt-in: neither the address nor the name may be called any more.
    gateway.stop().await;
    gateway.forget_env("WHATISUP_WEBHOOKS_ALLOW_PRIVATE");
    gateway.start_again().await;
    for endpoint in [&endpoint, &by_name] {
        let test = gateway.client.post_empty(&endpoint.path("/test")).returns(200).await;
        let error = test["last_error"].as_str().unwrap();
        assert!(error.contains("this machine itself"), "{error}");
    }
    assert_eq!(sink.got().len(), 2, "nothing was connected to");
}

#[tokio::test]
async fn a_deleted_endpoint_gets_nothing_more_and_its_deliveries_stay_readable() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    sink.always(Answer::Status(500));
    let endpoint = sink
        .endpoint(&gateway.client, json!({"events": ["message.received"]}))
        .await;
    gateway.link(&simulator, OWNER).await;
    simulator.send(FRIEND, OWNER, "hello").await;
    endpoint.health("a failure", |health| health["retrying"] == 1).await;
    gateway.client.delete(&endpoint.path("")).returns(204).await;
    gateway
        .client
        .get(&endpoint.path(""))
        .refused(404, "endpoint_not_found")
        .await;
    gateway.advance(8_000).await;
    let rows = endpoint.deliveries("").await;
    assert_eq!((rows.len(), &rows[0]["status"]), (1, &json!("failed")));
    let path = format!("/v1/webhook-deliveries/{}/replay", rows[0]["id"].as_str().unwrap());
    gateway
        .client
        .post_empty(&path)
        .refused(404, "endpoint_not_found")
        .await;
    assert_eq!(sink.got().len(), 1);
}

#[tokio::test]
async fn the_figures_tell_attempts_durations_and_what_is_owed() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    sink.answers(|got| Answer::Status(if got.body["event"] == "webhook.test" { 200 } else { 503 }));
    let endpoint = sink
        .endpoint(&gateway.client, json!({"events": ["message.received"]}))
        .await;
    gateway.link(&simulator, OWNER).await;
    gateway.client.post_empty(&endpoint.path("/test")).returns(200).await;
    simulator.send(FRIEND, OWNER, "hello").await;
    endpoint.health("a failure", |health| health["retrying"] == 1).await;
    let reply = gateway.client.get("/metrics").reply(200).await;
    let text = String::from_utf8(reply.bytes).unwrap();
    let id = &endpoint.id;
    for line in [
        format!(r#"whatisup_webhook_attempts_total{{endpoint_id="{id}",outcome="succeeded"}} 1"#),
        format!(r#"whatisup_webhook_attempts_total{{endpoint_id="{id}",outcome="refused"}} 1"#),
        format!(r#"whatisup_webhook_attempt_duration_seconds_count{{endpoint_id="{id}"}} 2"#),
        format!(r#"whatisup_webhook_deliveries_owed{{endpoint_id="{id}",state="retrying"}} 1"#),
        format!(r#"whatisup_webhook_endpoint_failing{{endpoint_id="{id}"}} 1"#),
        r#"whatisup_instances{status="connected"} 1"#.to_owned(),
        "# EOF".to_owned(),
    ] {
        assert!(text.lines().any(|there| there == line), "{line} in\n{text}");
    }
    gateway
        .client
        .without_key()
        .get("/metrics")
        .refused(401, "auth_missing")
        .await;
}

/// Lines of a program's standard output.
fn lines(child: &mut std::process::Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(|line| line.unwrap())
}

async fn test_against(gateway: &Gateway, sink: &Sink, url: &str, secret: &str) -> Value {
    let rest = json!({"url": url, "signing_secret": secret});
    let endpoint = sink.endpoint(&gateway.client, rest).await;
    gateway.client.post_empty(&endpoint.path("/test")).returns(200).await
}

#[tokio::test]
async fn the_small_receiver_prints_what_is_signed_and_refuses_what_is_not() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    let secret = "whsec_of_this_test_alone";
    let mut child = Command::new(SANDBOX)
        .args(["webhooks", "listen", "--port", "0", "--json"])
        .env("WHATISUP_WEBHOOK_SECRET", secret)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = lines(&mut child);
    let first: Value = serde_json::from_str(&printed.next().unwrap()).unwrap();
    let url = first["listening"].as_str().unwrap().to_owned();
    let good = test_against(&gateway, &sink, &url, secret).await;
    assert_eq!(good["status"], "success");
    let line: Value = serde_json::from_str(&printed.next().unwrap()).unwrap();
    assert_eq!(
        (&line["event"], &line["signature"]),
        (&json!("webhook.test"), &json!("good"))
    );
    assert_eq!(line["payload"]["event_id"], good["event_id"]);
    let bad = test_against(&gateway, &sink, &url, "whsec_another_secret").await;
    assert_eq!(
        (&bad["status"], &bad["last_response_status"]),
        (&json!("failed"), &json!(401))
    );
    child.kill().unwrap();
    child.wait().unwrap();
}
