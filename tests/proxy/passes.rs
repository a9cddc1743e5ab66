//! Calls, bodies and sign-ins through a proxy.

use std::net::Ipv4Addr;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::front::{Front, Kind, NAME};
use crate::harness::client::{Call, Reply};
use crate::harness::gateway::Setup;
use crate::harness::wait::within;
use crate::harness::{Client, Gateway};

const PASSWORD: &str = "a quiet yellow lamp";

/// The largest body that the API takes.
const JSON_BYTES: usize = 1 << 20;

const JSON: &str = "application/json";

const BOTH: [Kind; 2] = [Kind::Nginx, Kind::Caddy];

async fn alone() -> Gateway {
    Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await
}

/// A request for an instance, blown up with blanks to a size.
fn blown_up(name: &str, bytes: usize) -> String {
    let request = json!({"name": name}).to_string();
    format!("{request}{}", " ".repeat(bytes - request.len()))
}

#[tokio::test]
async fn the_whole_api_passes_a_proxy_and_the_figures_do_not() {
    let gateway = alone().await;
    for kind in BOTH {
        let mut front = Front::start(kind, &gateway, &[]).await;
        // Every reply is held against the contract, its headers included.
        let client = front.client(&gateway).await;
        let made = client.post("/v1/instances", &json!({"name": "one"})).reply(201).await;
        let path = made.header("location").to_owned();
        assert!(path.starts_with("/v1/instances/"), "{kind:?}: {path}");
        client.get(&path).returns(200).await;
        client.patch(&path, &json!({"name": "two"})).returns(200).await;
        client
            .get("/v1/instances?limit=0")
            .refused(400, "validation_failed")
            .await;
        client.without_key().get(&path).refused(401, "auth_missing").await;
        let reply = client.call("OPTIONS", "/v1/instances").reply(204).await;
        assert!(reply.header("allow").contains("POST"), "{kind:?}: {reply:?}");
        client.delete(&path).reply(204).await;

        let visitor = front.visitor(Ipv4Addr::LOCALHOST).await;
        let page = visitor.get("/").reply(200).await;
        assert!(
            page.header("content-security-policy").contains("default-src"),
            "{kind:?}"
        );
        visitor.get("/readyz").reply(200).await;
        let figures = visitor
            .with_key(gateway.client.key())
            .get("/metrics")
            .attempt()
            .await
            .unwrap();
        assert_eq!(
            figures.status, 404,
            "{kind:?}: figures are for whoever was let in by the proxy"
        );
    }
    gateway.client.get("/metrics").reply(200).await;
}

#[tokio::test]
async fn nginx_sends_plain_http_to_https_with_method_and_address() {
    let gateway = alone().await;
    let front = Front::nginx(&gateway, &[]).await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let request = client
        .get(format!("{}/v1/instances?limit=1", front.plain()))
        .header("Host", NAME);
    let response = within("the redirect", request.send()).await.unwrap();
    assert_eq!(response.status(), 308);
    assert_eq!(
        response.headers()["location"],
        format!("https://{NAME}/v1/instances?limit=1")
    );
}

#[tokio::test]
async fn bodies_pass_up_to_the_limit_of_the_api_which_says_itself_what_is_too_large() {
    let gateway = alone().await;
    for kind in BOTH {
        let mut front = Front::start(kind, &gateway, &[]).await;
        let client = front.client(&gateway).await;
        let post = |bytes: usize| {
            client
                .call("POST", "/v1/instances")
                .body(JSON, blown_up("large", bytes))
        };
        post(JSON_BYTES).returns(201).await;
        post(JSON_BYTES + 1).refused(413, "payload_too_large").await;
        // Far beyond, nginx is the one that refuses.
        let visitor = front.visitor(Ipv4Addr::LOCALHOST).await.with_key(client.key());
        let body = blown_up("huge", 3 * JSON_BYTES);
        visitor.call("POST", "/v1/instances").body(JSON, body).reply(413).await;

        // In pieces, without a length in the head.
        let text = blown_up("pieces", JSON_BYTES);
        let pieces: Vec<std::io::Result<Vec<u8>>> = text
            .as_bytes()
            .chunks(100_000)
            .map(|piece| Ok(piece.to_vec()))
            .collect();
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        let made = client.call("POST", "/v1/instances").body(JSON, body).returns(201).await;
        assert_eq!(made["name"], "pieces");
    }
}

/// Posts a body as a client that waits to be told to go on; answers everything it was told.
async fn post_patiently(base: &str, key: &str, body: &str) -> String {
    let head = format!(
        "POST /v1/instances HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: Bearer {key}\r\nContent-Type: {JSON}\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let talk = async {
        let mut socket = BufReader::new(TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap());
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_line(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 100"), "{answer}");
        socket.write_all(body.as_bytes()).await.unwrap();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    };
    within("the answer after 100 Continue", talk).await
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_is_told_to_go_on_and_then_what_is_wrong() {
    let gateway = alone().await;
    let key = gateway.client.key();
    for kind in BOTH {
        let mut front = Front::start(kind, &gateway, &[]).await;
        let visitor = front.visitor(Ipv4Addr::LOCALHOST).await;
        let answer = post_patiently(visitor.base(), key, &blown_up("waits", 100_000)).await;
        assert!(answer.contains("HTTP/1.1 201"), "{kind:?}: {answer}");
        // More than once: a proxy that passes the wish on loses the answer to too large a body now and then.
        for _ in 0..10 {
            let answer = post_patiently(visitor.base(), key, &blown_up("large", JSON_BYTES + 200_000)).await;
            assert!(answer.contains("payload_too_large"), "{kind:?}: {answer}");
        }
    }
}

/// What a browser on `https://NAME:8443` sends when the password is typed.
fn password_from(browser: &Client) -> Call {
    browser
        .post("/v1/session", &json!({"password": PASSWORD}))
        .header("Host", &format!("{NAME}:8443"))
        .header("Origin", &format!("https://{NAME}:8443"))
}

async fn sign_in(browser: &Client) -> Reply {
    password_from(browser).attempt().await.unwrap()
}

async fn with_password() -> Gateway {
    set_password(alone().await).await
}

async fn set_password(gateway: Gateway) -> Gateway {
    let change = json!({"new_password": PASSWORD});
    gateway
        .owner()
        .call("PUT", "/v1/password")
        .json(&change)
        .reply(204)
        .await;
    gateway
}

#[tokio::test]
async fn the_dashboard_signs_in_by_https_and_its_cookie_is_for_https_alone() {
    let gateway = with_password().await;
    for kind in BOTH {
        let mut front = Front::start(kind, &gateway, &[]).await;
        let browser = front.visitor(Ipv4Addr::LOCALHOST).await;
        let reply = sign_in(&browser).await;
        assert_eq!(reply.status, 201, "{kind:?}: {}", reply.json);
        let cookie = reply.header("set-cookie");
        assert!(
            cookie.contains("; Secure") && cookie.contains("; HttpOnly"),
            "{kind:?}: {cookie}"
        );
        let cookie = cookie.split(';').next().unwrap();
        let call = |method: &str, path: &str| {
            browser
                .call(method, path)
                .header("Host", &format!("{NAME}:8443"))
                .header("Cookie", cookie)
        };
        let session = call("GET", "/v1/session").returns(200).await;
        assert_eq!(session["session"]["id"], reply.json["id"], "{kind:?}");
        let origin = format!("https://{NAME}:8443");
        let made = call("POST", "/v1/instances")
            .header("Origin", &origin)
            .json(&json!({"name": "by cookie"}));
        let made = made.returns(201).await;
        let path = format!("/v1/instances/{}", made["id"].as_str().unwrap());
        // Another page of the same browser cannot.
        let other = call("DELETE", &path).header("Origin", &format!("https://{NAME}"));
        other.refused(401, "auth_missing").await;
        call("DELETE", &path).header("Origin", &origin).reply(204).await;
    }
}

#[tokio::test]
async fn a_proxy_that_rewrites_host_is_told_of_in_words_by_whoever_tries_to_sign_in() {
    let gateway = with_password().await;
    for (kind, change) in [
        (Kind::Nginx, ("Host              $http_host;", "Host $proxy_host;")),
        (
            Kind::Nginx,
            // Without its port: what many files on the net have, wrong on every port but 443.
            ("Host              $http_host;", "Host $host;"),
        ),
    ] {
        let mut front = Front::start(kind, &gateway, &[change]).await;
        let browser = front.visitor(Ipv4Addr::LOCALHOST).await;
        let reply = sign_in(&browser).await;
        assert_eq!(reply.status, 401, "{change:?}: {}", reply.json);
        let message = reply.json["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("a reverse proxy must pass Host on as the browser sent it"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn behind_a_proxy_the_caller_is_whom_the_proxy_saw_and_not_whom_a_header_claims() {
    let setup = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").arg("--behind-proxy");
    let told = set_password(setup.start().await).await;
    let untold = with_password().await;
    for kind in BOTH {
        for (gateway, expected) in [(&told, "127.0.0.9"), (&untold, "127.0.0.1")] {
            let mut front = Front::start(kind, gateway, &[]).await;
            let browser = front.visitor(Ipv4Addr::new(127, 0, 0, 9)).await;
            let claimed = password_from(&browser).header("X-Forwarded-For", "203.0.113.5, 127.0.0.5");
            let reply = claimed.attempt().await.unwrap();
            assert_eq!(reply.status, 201, "{kind:?}: {}", reply.json);
            assert_eq!(reply.json["address"], expected, "{kind:?}");
        }
    }
}
