//! Rate limits and what a browser is allowed.

use serde_json::json;

use crate::harness::Gateway;
use crate::harness::gateway::Setup;

async fn limited(burst: u32, per_second: u32) -> Gateway {
    Setup::connecting_to("ws://127.0.0.1:9/ws/chat")
        .env("WHATISUP_LIMITS_BURST", burst.to_string())
        .env("WHATISUP_LIMITS_PER_SECOND", per_second.to_string())
        .start()
        .await
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_when_to_come_back() {
    let gateway = limited(5, 1).await;
    let busy = gateway.as_key(&json!({"name": "busy"})).await;
    let calm = gateway.as_key(&json!({"name": "calm"})).await;
    let first = busy.get("/v1/instances").reply(200).await;
    assert_eq!(first.header("x-ratelimit-limit"), "5");
    assert_eq!(first.header("x-ratelimit-remaining"), "4");
    assert!(first.header("x-ratelimit-reset").parse::<u64>().is_ok());
    let mut refused = None;
    for _ in 0..20 {
        let reply = busy.get("/v1/instances").attempt().await.unwrap();
        if reply.status == 429 {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.expect("a bucket of five is empty after twenty requests");
    assert_eq!(refused.json["error"]["code"], "rate_limited");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(refused.header("x-ratelimit-remaining"), "0");
    busy.get("/v1/limits").returns(200).await;
    calm.get("/v1/instances").returns(200).await;
    // The bucket fills on the gateway's clock.
    gateway.advance(60).await;
    busy.get("/v1/instances").returns(200).await;
}

#[tokio::test]
async fn guessing_keys_is_limited_by_address() {
    let gateway = limited(5, 1).await;
    let mut last = 0;
    for guess in 0..500 {
        let reply = gateway
            .client
            .with_key(format!("zpk_live_{guess:043}"))
            .get("/v1/instances")
            .attempt()
            .await
            .unwrap();
        last = reply.status;
        if last == 429 {
            assert!(!reply.header("retry-after").is_empty());
            break;
        }
        assert_eq!(last, 401);
    }
    assert_eq!(last, 429, "five hundred guesses are too many");
    // Nothing from this address is looked at before it has waited, and then a good key is as good as before.
    gateway.advance(3600).await;
    gateway.client.get("/v1/instances").returns(200).await;
}

#[tokio::test]
async fn a_page_from_another_origin_may_call_with_a_key() {
    let gateway = limited(0, 1).await;
    let nobody = gateway.client.without_key();
    let preflight = nobody
        .call("OPTIONS", "/v1/instances")
        .header("Origin", "https://shop.example")
        .header("Access-Control-Request-Method", "POST")
        .header(
            "Access-Control-Request-Headers",
            "authorization,content-type,idempotency-key",
        )
        .attempt()
        .await
        .unwrap();
    assert!(matches!(preflight.status, 200 | 204), "{}", preflight.status);
    assert_eq!(preflight.header("access-control-allow-origin"), "*");
    assert!(preflight.header("access-control-allow-methods").contains("POST"));
    let headers = preflight.header("access-control-allow-headers").to_lowercase();
    for header in ["authorization", "content-type", "idempotency-key", "last-event-id"] {
        assert!(headers.contains(header), "{headers}");
    }
    let reply = gateway
        .client
        .get("/v1/instances")
        .header("Origin", "https://shop.example")
        .reply(200)
        .await;
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    let exposed = reply.header("access-control-expose-headers").to_lowercase();
    assert!(
        exposed.contains("x-request-id") && exposed.contains("retry-after"),
        "{exposed}"
    );
    let refused = nobody
        .get("/v1/instances")
        .header("Origin", "https://shop.example")
        .reply(401)
        .await;
    assert_eq!(
        refused.header("access-control-allow-origin"),
        "*",
        "a page can read why it was refused"
    );
}
