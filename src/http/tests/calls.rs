//! Calls that are answered at once.

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Running, answer, draft, header, refused};
use crate::domain::Timestamp;
use crate::domain::access::Scope;
use crate::http::route::{Access, TABLE};

#[tokio::test]
async fn no_call_is_open_that_does_not_say_so() {
    let site = Running::start().await;
    for route in TABLE {
        let path = route.path.replace("{id}", "x").replace("{message_id}", "y");
        let reply = site.bare(route.method.clone(), &path).send().await.unwrap();
        let expected = match route.access {
            Access::Open => StatusCode::OK,
            Access::Owner => StatusCode::NOT_FOUND,
            // The doors of the dashboard let everybody ask, and want to hear a password.
            Access::Page if route.method == Method::GET => StatusCode::OK,
            Access::Page => StatusCode::BAD_REQUEST,
            Access::Login | Access::Free | Access::Scope(_) | Access::Stream(_) => StatusCode::UNAUTHORIZED,
        };
        assert_eq!(reply.status(), expected, "{}", route.id);
        if expected == StatusCode::UNAUTHORIZED {
            assert!(header(&reply, "www-authenticate").unwrap().starts_with("Bearer"));
        }
    }
}

#[tokio::test]
async fn a_bad_credential_is_refused_with_what_is_wrong_about_it() {
    let site = Running::start().await;
    for (value, code) in [
        ("Basic eHh4", "auth_malformed"),
        ("Bearer", "auth_malformed"),
        ("Bearer a b", "auth_malformed"),
        ("Bearer zpk_live_nope", "auth_invalid"),
        ("Bearer zst_nope.nope", "auth_invalid"),
    ] {
        let request = site.bare(Method::GET, "/v1/instances").header("Authorization", value);
        refused(request, StatusCode::UNAUTHORIZED, code).await;
    }
    let token = format!("/v1/instances?token={}", site.key);
    refused(site.bare(Method::GET, &token), StatusCode::UNAUTHORIZED, "auth_missing").await;
    refused(
        site.request(Method::GET, &token),
        StatusCode::BAD_REQUEST,
        "validation_failed",
    )
    .await;
}

#[tokio::test]
async fn an_address_that_guesses_is_stopped_but_a_known_key_behind_it_is_heard() {
    let site = Running::start().await;
    site.get("/v1/instances", StatusCode::OK).await;
    let guess = || site.bare(Method::GET, "/v1/instances").bearer_auth("zpk_live_guess");
    let mut statuses = Vec::new();
    for _ in 0..80 {
        statuses.push(guess().send().await.unwrap().status());
    }
    assert_eq!(statuses[0], StatusCode::UNAUTHORIZED);
    let reply = guess().send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(header(&reply, "retry-after").is_some());
    site.get("/v1/instances", StatusCode::OK).await;
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_and_a_revoked_one_nothing() {
    let site = Running::start().await;
    let made = site
        .post(
            "/v1/api-keys",
            &json!({"name": "reader", "scopes": ["instances:read"], "mode": "test"}),
            StatusCode::CREATED,
        )
        .await;
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("zpk_test_") && secret.starts_with(made["prefix"].as_str().unwrap()));
    let with = |method, path: &str| site.bare(method, path).bearer_auth(&secret);
    answer(with(Method::GET, "/v1/instances"), StatusCode::OK).await;
    let body = json!({"name": "x"});
    refused(
        with(Method::POST, "/v1/instances").json(&body),
        StatusCode::FORBIDDEN,
        "insufficient_scope",
    )
    .await;

    let listed = site.get("/v1/api-keys", StatusCode::OK).await;
    assert_eq!(listed["data"][0]["id"], made["id"]);
    assert!(!listed.to_string().contains(&secret));

    let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
    answer(site.request(Method::DELETE, &path), StatusCode::NO_CONTENT).await;
    refused(
        with(Method::GET, "/v1/instances"),
        StatusCode::UNAUTHORIZED,
        "auth_invalid",
    )
    .await;
    refused(
        site.request(Method::DELETE, &path),
        StatusCode::NOT_FOUND,
        "key_not_found",
    )
    .await;
}

#[tokio::test]
async fn a_key_cannot_make_one_that_may_do_more() {
    let site = Running::start().await;
    let limited = site
        .another_key(crate::app::keys::Draft {
            scopes: Some(vec![Scope::KeysWrite, Scope::InstancesRead]),
            ..draft("limited")
        })
        .await;
    let make = |body| {
        site.bare(Method::POST, "/v1/api-keys")
            .bearer_auth(&limited.secret)
            .json(&body)
    };
    for body in [
        json!({"name": "all"}),
        json!({"name": "more", "scopes": ["messages:send"]}),
    ] {
        refused(make(body), StatusCode::FORBIDDEN, "insufficient_scope").await;
    }
    let same = json!({"name": "same", "scopes": ["instances:read"]});
    answer(make(same), StatusCode::CREATED).await;
}

#[tokio::test]
async fn a_key_bound_to_one_instance_cannot_see_another() {
    let site = Running::start().await;
    let (own, other) = (site.instance().await, site.instance().await);
    let bound = site
        .another_key(crate::app::keys::Draft {
            instance_id: Some(own),
            ..draft("bound")
        })
        .await;
    let with = |method, path: &str| site.bare(method, path).bearer_auth(&bound.secret);
    let listed = answer(with(Method::GET, "/v1/instances"), StatusCode::OK).await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    assert_eq!(listed["data"][0]["id"], own.to_string());
    answer(with(Method::GET, &format!("/v1/instances/{own}")), StatusCode::OK).await;
    for path in [
        format!("/v1/instances/{other}"),
        format!("/v1/instances/{other}/status"),
        format!("/v1/instances/{other}/messages/X"),
        format!("/v1/events?instance_id={other}"),
    ] {
        refused(
            with(Method::GET, &path),
            StatusCode::FORBIDDEN,
            "instance_access_denied",
        )
        .await;
    }
    refused(
        with(Method::GET, "/v1/api-keys"),
        StatusCode::FORBIDDEN,
        "instance_scoped_key",
    )
    .await;
    let body = json!({"name": "x"});
    refused(
        with(Method::POST, "/v1/instances").json(&body),
        StatusCode::FORBIDDEN,
        "instance_scoped_key",
    )
    .await;
}

#[tokio::test]
async fn an_expired_key_says_so() {
    let site = Running::start().await;
    let refused_draft = crate::app::keys::Draft {
        expires_at: Some(Timestamp::EPOCH),
        ..draft("late")
    };
    let error = site
        .app
        .keys
        .create(&crate::domain::access::Caller::OWNER, refused_draft)
        .await
        .err()
        .unwrap();
    assert_eq!(error.code.as_str(), "validation_failed");
}

#[tokio::test]
async fn instances_are_made_changed_listed_in_pages_and_deleted() {
    let site = Running::start().await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(site.instance().await.to_string());
    }
    let first = site.get("/v1/instances?limit=2", StatusCode::OK).await;
    assert_eq!(first["data"][0]["id"], made[2]);
    assert_eq!(first["data"][0]["status"], "pending");
    assert!(first["data"][0]["customer_id"].as_str().unwrap().starts_with("cust_"));
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = site
        .get(&format!("/v1/instances?limit=2&cursor={cursor}"), StatusCode::OK)
        .await;
    assert_eq!(second["data"][0]["id"], made[0]);
    assert!(second["next_cursor"].is_null());

    let path = format!("/v1/instances/{}", made[0]);
    let change = json!({"name": "two", "metadata": {"a": [1]}});
    let changed = answer(site.request(Method::PATCH, &path).json(&change), StatusCode::OK).await;
    assert_eq!(
        (&changed["name"], &changed["metadata"]),
        (&json!("two"), &json!({"a": [1]}))
    );
    let status = site.get(&format!("{path}/status"), StatusCode::OK).await;
    assert_eq!(
        (&status["queue_depth"], &status["link"]["linked"]),
        (&json!(0), &json!(false))
    );

    answer(site.request(Method::DELETE, &path), StatusCode::NO_CONTENT).await;
    for gone in [path.as_str(), "/v1/instances/inst_nonsense", "/v1/instances/x"] {
        refused(
            site.request(Method::GET, gone),
            StatusCode::NOT_FOUND,
            "instance_not_found",
        )
        .await;
    }
    let ready = site.get("/readyz", StatusCode::OK).await;
    assert_eq!(ready["instances"], json!({"pending": 2}));
}

#[tokio::test]
async fn a_gateway_whose_store_or_engine_has_ended_is_not_ready_and_says_why() {
    let site = Running::start().await;
    let ready = site.get("/readyz", StatusCode::OK).await;
    let fine = json!({"store": "ok", "engine": "ok", "listener": "ok", "lifecycle": "ok"});
    assert_eq!(ready["checks"], fine);
    site.app.engine.stop().await;
    let checks = async || {
        let refused = site.get("/readyz", StatusCode::SERVICE_UNAVAILABLE).await;
        assert_eq!(refused["error"]["code"], "not_ready");
        refused["error"]["details"]["checks"].clone()
    };
    let engine = checks().await;
    assert_eq!(
        (&engine["store"], &engine["engine"]),
        (&json!("ok"), &json!("sessions are being ended"))
    );
    site.app.store.close().await;
    assert_eq!(checks().await["store"], "the store is closed");
    // The process runs all the same.
    let health = site.request(Method::GET, "/healthz").send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
}

#[tokio::test]
async fn bad_input_is_refused_with_every_problem_named() {
    let site = Running::start().await;
    let big = "x".repeat(17 << 10);
    for (method, path, body, paths) in [
        (
            Method::POST,
            "/v1/instances",
            json!({"nam": "x"}),
            vec!["body.name", "body.nam"],
        ),
        (Method::POST, "/v1/instances", json!({"name": " "}), vec!["body.name"]),
        (
            Method::POST,
            "/v1/instances",
            json!({"name": "x", "metadata": {"a": big}}),
            vec!["body.metadata"],
        ),
        (Method::POST, "/v1/instances", json!([1]), vec!["body"]),
        (
            Method::POST,
            "/v1/api-keys",
            json!({"name": "x".repeat(101), "scopes": ["all"], "expires_at": "tomorrow", "mode": "x"}),
            vec!["body.name", "body.scopes[0]", "body.expires_at", "body.mode"],
        ),
        (
            Method::GET,
            "/v1/instances?limit=0&cursor=x",
            json!(null),
            vec!["query.limit", "query.cursor"],
        ),
        (
            Method::GET,
            "/v1/instances?lim=1&limit=1&limit=2",
            json!(null),
            vec!["query.lim", "query.limit"],
        ),
        (
            Method::POST,
            "/v1/stream-tokens",
            json!({"expires_in_seconds": 3601, "events": ["x"]}),
            vec!["body.events[0]", "body.expires_in_seconds"],
        ),
    ] {
        let mut request = site.request(method, path);
        if !body.is_null() {
            request = request.json(&body);
        }
        let error = refused(request, StatusCode::BAD_REQUEST, "validation_failed").await;
        let fields = error["error"]["details"]["fields"].as_array().unwrap();
        let got: Vec<&str> = fields.iter().map(|field| field["path"].as_str().unwrap()).collect();
        assert_eq!(got, paths, "{path}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_or_of_another_type_is_refused_and_the_client_reads_why() {
    let site = Running::start().await;
    let post = || {
        site.request(Method::POST, "/v1/instances")
            .header("Content-Type", "application/json")
    };
    let big = vec![b' '; 3 << 20];
    refused(
        post().body(big.clone()),
        StatusCode::PAYLOAD_TOO_LARGE,
        "payload_too_large",
    )
    .await;
    let pieces = futures_util::stream::iter(
        big.chunks(100_000)
            .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
            .collect::<Vec<_>>(),
    );
    let chunked = post().body(reqwest::Body::wrap_stream(pieces));
    refused(chunked, StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large").await;
    refused(post().body("{"), StatusCode::BAD_REQUEST, "malformed_json").await;
    let form = site
        .request(Method::POST, "/v1/instances")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(r#"{"name":"x"}"#);
    refused(form, StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type").await;
}

#[tokio::test]
async fn sending_needs_a_connection_and_a_repeat_is_the_same_message() {
    let site = Running::start().await;
    let instance = site.instance().await;
    let path = format!("/v1/instances/{instance}/messages");
    let message = json!({"to": "5511999999999", "body": {"type": "text", "text": "hi"}, "client_ref": "a"});
    let send = |body: &serde_json::Value| site.request(Method::POST, &path).json(body);
    refused(send(&message), StatusCode::CONFLICT, "not_connected").await;

    site.pretend_connected(instance).await;
    let first = answer(send(&message), StatusCode::ACCEPTED).await;
    assert_eq!(
        (&first["status"], &first["client_ref"]),
        (&json!("queued"), &json!("a"))
    );
    assert_eq!(answer(send(&message), StatusCode::ACCEPTED).await, first);
    let other = json!({"to": "5511999999999", "type": "text", "text": "other", "client_ref": "a"});
    refused(send(&other), StatusCode::CONFLICT, "idempotency_conflict").await;

    let plain = json!({"to": "5511999999999", "type": "text", "text": "hi"});
    let keyed = || send(&plain).header("Idempotency-Key", "k");
    let one = answer(keyed(), StatusCode::ACCEPTED).await;
    assert_eq!(answer(keyed(), StatusCode::ACCEPTED).await, one);
    assert_ne!(one["message_id"], first["message_id"]);
    assert_ne!(
        answer(send(&plain), StatusCode::ACCEPTED).await["message_id"],
        one["message_id"]
    );

    let id = first["message_id"].as_str().unwrap();
    let state = site.get(&format!("{path}/{id}"), StatusCode::OK).await;
    assert_eq!(
        (&state["status"], &state["to"]),
        (&json!("queued"), &json!("5511999999999@s.whatsapp.net"))
    );
    assert!(!state.to_string().contains("hi\""));
    let unknown = site.request(Method::GET, &format!("{path}/3EB0"));
    refused(unknown, StatusCode::NOT_FOUND, "message_not_found").await;
    let foreign = site
        .request(Method::POST, "/v1/instances/inst_01J00000000000000000000000/messages")
        .json(&message);
    refused(foreign, StatusCode::NOT_FOUND, "instance_not_found").await;
}

#[tokio::test]
async fn what_is_not_in_the_table_is_answered_in_json_under_v1_and_as_a_page_elsewhere() {
    let site = Running::start().await;
    refused(
        site.request(Method::GET, "/v1/nope"),
        StatusCode::NOT_FOUND,
        "not_found",
    )
    .await;
    refused(
        site.request(Method::GET, "/v1/instances/"),
        StatusCode::NOT_FOUND,
        "not_found",
    )
    .await;
    let reply = site.request(Method::PUT, "/v1/instances").send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(header(&reply, "allow").unwrap(), "GET, POST, HEAD, OPTIONS");
    let page = site
        .bare(Method::GET, "/nope")
        .header("Accept", "text/html")
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::NOT_FOUND);
    assert!(page.text().await.unwrap().starts_with("<!doctype html>"));
    let page = site.bare(Method::GET, "/").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let head = site.request(Method::HEAD, "/v1/instances").send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.text().await.unwrap(), "");
}

#[tokio::test]
async fn a_page_of_another_origin_may_ask_and_read_errors() {
    let site = Running::start().await;
    let preflight = site
        .bare(Method::OPTIONS, "/v1/instances")
        .header("Origin", "https://elsewhere.example")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization,content-type")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
    assert_eq!(header(&preflight, "access-control-allow-origin").unwrap(), "*");
    assert!(
        header(&preflight, "access-control-allow-methods")
            .unwrap()
            .contains("POST")
    );
    assert!(
        header(&preflight, "access-control-allow-headers")
            .unwrap()
            .contains("Authorization")
    );
    let error = site.bare(Method::GET, "/v1/events").send().await.unwrap();
    assert_eq!(error.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(header(&error, "access-control-allow-origin").unwrap(), "*");
    assert!(
        header(&error, "access-control-expose-headers")
            .unwrap()
            .contains("X-Request-Id")
    );
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_when_to_come_back_and_limits_are_free() {
    let site = Running::start_with(|setup| {
        setup.app.burst = 3;
        setup.app.per_second = 1;
    })
    .await;
    for left in ["2", "1", "0"] {
        let reply = site.request(Method::GET, "/v1/instances").send().await.unwrap();
        assert_eq!(header(&reply, "x-ratelimit-remaining").unwrap(), left);
        assert_eq!(header(&reply, "x-ratelimit-limit").unwrap(), "3");
    }
    let reply = site.request(Method::GET, "/v1/instances").send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&reply, "retry-after").unwrap(), "1");
    assert!(header(&reply, "x-ratelimit-reset").is_some());
    for _ in 0..5 {
        let limits = site.get("/v1/limits", StatusCode::OK).await;
        assert_eq!(limits["requests"]["burst"], 3);
    }
}

#[tokio::test]
async fn the_owner_on_the_admin_socket_needs_no_key() {
    let site = Running::start().await;
    let mut socket = tokio::net::UnixStream::connect(&site.admin).await.unwrap();
    let request = "GET /v1/instances HTTP/1.1\r\nHost: local\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    assert!(reply.contains("{\"data\":[],\"next_cursor\":null}"), "{reply}");
}

#[tokio::test]
async fn a_qr_that_cannot_be_had_says_why() {
    let site = Running::start().await;
    let instance = site.instance().await;
    let path = format!("/v1/instances/{instance}/qr");
    let error = refused(
        site.request(Method::GET, &path),
        StatusCode::GATEWAY_TIMEOUT,
        "whatsapp_timeout",
    )
    .await;
    assert!(
        error["error"]["message"].as_str().unwrap().contains("refused"),
        "{error}"
    );
}
