//! The dashboard's password and its sign-ins: set up, in, out, and on which requests the cookie counts.

use serde_json::{Value, json};

use crate::harness::client::Reply;
use crate::harness::gateway::Setup;
use crate::harness::{Client, Gateway, Stream};

const PASSWORD: &str = "a quiet yellow lamp";

fn setup() -> Setup {
    Setup::connecting_to("ws://127.0.0.1:9/ws/chat")
}

async fn alone() -> Gateway {
    setup().start().await
}

/// A browser on the dashboard's own page.
struct Browser {
    client: Client,
    cookie: String,
    id: String,
}

impl Browser {
    fn call(&self, method: &str, path: &str) -> crate::harness::client::Call {
        self.client
            .call(method, path)
            .header("Cookie", &self.cookie)
            .header("Sec-Fetch-Site", "same-origin")
    }

    /// Who it is by its cookie.
    async fn session(&self) -> Value {
        self.call("GET", "/v1/session").returns(200).await["session"].clone()
    }
}

/// The browser that was given this reply.
fn signed_in(gateway: &Gateway, reply: &Reply) -> Browser {
    Browser {
        client: gateway.client.without_key(),
        cookie: reply.header("set-cookie").split(';').next().unwrap().to_owned(),
        id: reply.json["id"].as_str().unwrap().to_owned(),
    }
}

async fn setup_token(gateway: &Gateway) -> String {
    let link = gateway.owner().post_empty("/v1/setup-links").returns(201).await;
    let (_, token) = link["url"].as_str().unwrap().split_once("/#setup=").unwrap();
    token.to_owned()
}

/// Sets the first password with the one-time link.
async fn set_up(gateway: &Gateway) -> Browser {
    let body = json!({"token": setup_token(gateway).await, "password": PASSWORD});
    let reply = gateway.client.without_key().post("/v1/setup", &body).reply(201).await;
    signed_in(gateway, &reply)
}

fn sign_in(gateway: &Gateway, password: &str) -> crate::harness::client::Call {
    gateway
        .client
        .without_key()
        .post("/v1/session", &json!({"password": password}))
}

async fn another(gateway: &Gateway) -> Browser {
    signed_in(gateway, &sign_in(gateway, PASSWORD).reply(201).await)
}

#[tokio::test]
async fn the_one_time_link_sets_the_first_password_once() {
    let gateway = alone().await;
    let nobody = gateway.client.without_key();
    let state = nobody.get("/v1/session").returns(200).await;
    assert_eq!(state["password_set"], false);
    assert_eq!(state["session"], Value::Null);
    sign_in(&gateway, PASSWORD)
        .refused(409, "invalid_lifecycle_transition")
        .await;
    nobody.post_empty("/v1/setup-links").refused(404, "not_found").await;

    let old = setup_token(&gateway).await;
    let token = setup_token(&gateway).await;
    assert_eq!(nobody.get("/v1/session").returns(200).await["setup_open"], true);
    let set_up = |token: &str, password: &str| nobody.post("/v1/setup", &json!({"token": token, "password": password}));
    let refused = set_up(&old, PASSWORD).refused(401, "auth_invalid").await;
    assert_eq!(
        refused["details"]["attempts_left"], 2,
        "a fresh link ends the older one"
    );
    for weak in ["short", "aaaaaaaaaaaaaaaa", &"x1".repeat(101)] {
        set_up(&token, weak).refused(400, "validation_failed").await;
    }
    let reply = set_up(&token, PASSWORD).reply(201).await;
    let browser = signed_in(&gateway, &reply);
    assert_eq!(reply.header("location"), format!("/v1/sessions/{}", browser.id));
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.json["current"], true);
    assert_eq!(reply.json["address"], "127.0.0.1");
    assert_eq!(browser.session().await["id"], *browser.id);

    set_up(&token, PASSWORD)
        .refused(409, "invalid_lifecycle_transition")
        .await;
    let owner = gateway.owner();
    owner
        .post_empty("/v1/setup-links")
        .refused(409, "invalid_lifecycle_transition")
        .await;
    let state = nobody.get("/v1/session").returns(200).await;
    assert_eq!(
        (&state["password_set"], &state["setup_open"]),
        (&json!(true), &json!(false))
    );
}

#[tokio::test]
async fn a_one_time_link_dies_after_a_day_and_with_a_restart() {
    let mut gateway = alone().await;
    let nobody = gateway.client.without_key();
    let body = |token: &str| json!({"token": token, "password": PASSWORD});
    let token = setup_token(&gateway).await;
    gateway.advance(24 * 3600 + 1).await;
    nobody
        .post("/v1/setup", &body(&token))
        .refused(401, "auth_invalid")
        .await;
    let token = setup_token(&gateway).await;
    gateway.stop().await;
    gateway.start_again().await;
    nobody
        .post("/v1/setup", &body(&token))
        .refused(401, "auth_invalid")
        .await;
    set_up(&gateway).await;
}

#[tokio::test]
async fn whoever_is_signed_in_may_do_what_the_owner_may() {
    let gateway = alone().await;
    let browser = set_up(&gateway).await;
    let made = browser
        .call("POST", "/v1/instances")
        .json(&json!({"name": "by cookie"}))
        .returns(201)
        .await;
    let reply = browser.call("GET", "/v1/instances").reply(200).await;
    assert_eq!(reply.json["data"][0]["id"], made["id"]);
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(
        reply.header("access-control-allow-origin"),
        "",
        "no other page may read it"
    );
    browser.call("GET", "/v1/api-keys").returns(200).await;
    browser.call("GET", "/v1/limits").returns(200).await;
}

#[tokio::test]
async fn the_cookie_is_hidden_from_scripts_and_from_other_sites() {
    let gateway = alone().await;
    set_up(&gateway).await;
    let base = gateway.client.base().to_owned();
    let plain = sign_in(&gateway, PASSWORD).header("Origin", &base).reply(201).await;
    let cookie = plain.header("set-cookie");
    assert!(cookie.starts_with("whatisup_"), "{cookie}");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=2592000"] {
        assert!(cookie.contains(part), "{part}: {cookie}");
    }
    assert!(
        !cookie.contains("Secure"),
        "over plain HTTP it would never come back: {cookie}"
    );
    let tls = sign_in(&gateway, PASSWORD)
        .header("Origin", "https://gw.example")
        .header("Host", "gw.example")
        .reply(201)
        .await;
    assert!(tls.header("set-cookie").contains("; Secure"));
}

#[tokio::test]
async fn the_cookie_counts_on_requests_of_its_own_page_only() {
    let gateway = alone().await;
    let browser = set_up(&gateway).await;
    let nobody = gateway.client.without_key();
    let host = nobody.base().trim_start_matches("http://").to_owned();
    let own = format!("http://{host}");
    let foreign: &[(&str, &[(&str, &str)])] = &[
        ("GET", &[("Sec-Fetch-Site", "cross-site")]),
        ("GET", &[("Sec-Fetch-Site", "same-site"), ("Origin", &own)]),
        ("GET", &[("Sec-Fetch-Site", "none")]),
        ("GET", &[("Origin", "http://127.0.0.1:1")]),
        ("GET", &[("Origin", "null")]),
        ("POST", &[("Sec-Fetch-Site", "cross-site")]),
        ("POST", &[("Origin", "https://evil.example")]),
        ("POST", &[]),
    ];
    for (method, headers) in foreign {
        let mut call = nobody.call(method, "/v1/instances").header("Cookie", &browser.cookie);
        if *method == "POST" {
            call = call.json(&json!({"name": "forged"}));
        }
        for (name, value) in *headers {
            call = call.header(name, value);
        }
        let error = call.refused(401, "auth_missing").await;
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("own page only"), "{method} {headers:?}: {message}");
    }
    let listed = gateway.client.get("/v1/instances").returns(200).await;
    assert_eq!(listed["data"], json!([]), "nothing was made");
    for headers in [
        &[][..],
        &[("Origin", own.as_str())],
        &[("Sec-Fetch-Site", "same-origin")],
    ] {
        let mut call = nobody.get("/v1/instances").header("Cookie", &browser.cookie);
        for (name, value) in headers {
            call = call.header(name, value);
        }
        call.returns(200).await;
    }
    let state = nobody
        .get("/v1/session")
        .header("Cookie", &browser.cookie)
        .header("Sec-Fetch-Site", "cross-site")
        .reply(200)
        .await;
    assert_eq!(state.json["session"], Value::Null);
    assert_eq!(state.header("access-control-allow-origin"), "");
    // Another site's page must not even guess passwords through its visitors.
    sign_in(&gateway, PASSWORD)
        .header("Sec-Fetch-Site", "cross-site")
        .refused(401, "auth_invalid")
        .await;
    sign_in(&gateway, PASSWORD)
        .header("Origin", "https://evil.example")
        .refused(401, "auth_invalid")
        .await;
}

#[tokio::test]
async fn an_authorization_header_wins_over_the_cookie() {
    let gateway = alone().await;
    let browser = set_up(&gateway).await;
    let reader = gateway
        .as_key(&json!({"name": "reader", "scopes": ["instances:read"]}))
        .await;
    let bearer = format!("Bearer {}", reader.key());
    browser
        .call("GET", "/v1/api-keys")
        .header("Authorization", &bearer)
        .refused(403, "insufficient_scope")
        .await;
    browser
        .call("GET", "/v1/instances")
        .header("Authorization", "Bearer zpk_live_nope")
        .refused(401, "auth_invalid")
        .await;
}

#[tokio::test]
async fn whoever_signs_out_is_out_and_an_invented_cookie_was_never_in() {
    let gateway = alone().await;
    let browser = set_up(&gateway).await;
    let reply = browser.call("DELETE", "/v1/session").reply(204).await;
    assert!(reply.header("set-cookie").contains("Max-Age=0"));
    browser.call("GET", "/v1/instances").refused(401, "auth_invalid").await;
    browser.call("DELETE", "/v1/session").refused(401, "auth_invalid").await;
    assert_eq!(browser.session().await, Value::Null);

    let (name, _) = browser.cookie.split_once('=').unwrap();
    let invented = Browser {
        cookie: format!("{name}={}", "A".repeat(43)),
        ..browser
    };
    invented.call("GET", "/v1/instances").refused(401, "auth_invalid").await;
    let nobody = gateway.client.without_key();
    nobody.delete("/v1/session").refused(401, "auth_missing").await;
    gateway
        .client
        .delete("/v1/session")
        .refused(403, "insufficient_scope")
        .await;
    gateway
        .client
        .call("PUT", "/v1/password")
        .json(&json!({"new_password": "taken over by a key"}))
        .refused(403, "insufficient_scope")
        .await;
}

#[tokio::test]
async fn a_sign_in_ends_after_a_week_unused_and_after_a_month_in_any_case() {
    const DAY: u64 = 24 * 3600;
    let gateway = alone().await;
    let idle = set_up(&gateway).await;
    let used = another(&gateway).await;
    for _ in 0..4 {
        let then = gateway.advance(6 * DAY).await;
        used.call("GET", "/v1/instances").returns(200).await;
        crate::harness::eventually("its use to be noted", async || {
            let sessions = gateway.client.get("/v1/sessions").returns(200).await;
            let own = sessions["data"].as_array()?.iter().find(|one| one["id"] == *used.id)?;
            (own["last_used_at"].as_str()? >= then.as_str()).then_some(())
        })
        .await;
    }
    idle.call("GET", "/v1/instances").reply(401).await;
    assert_eq!(idle.session().await, Value::Null);
    gateway.advance(6 * DAY + 1).await;
    used.call("GET", "/v1/instances").reply(401).await;
    let left = gateway.client.get("/v1/sessions").returns(200).await;
    assert_eq!(left["data"], json!([]));
}

#[tokio::test]
async fn a_restart_keeps_who_is_signed_in() {
    let mut gateway = alone().await;
    let browser = set_up(&gateway).await;
    gateway.stop().await;
    gateway.start_again().await;
    browser.call("GET", "/v1/instances").returns(200).await;
    another(&gateway).await;
}

#[tokio::test]
async fn sign_ins_are_listed_and_others_can_be_ended() {
    let gateway = alone().await;
    let first = set_up(&gateway).await;
    let reply = sign_in(&gateway, PASSWORD)
        .header("User-Agent", "Lynx")
        .reply(201)
        .await;
    let second = signed_in(&gateway, &reply);
    let third = another(&gateway).await;
    let listed = second.call("GET", "/v1/sessions").returns(200).await;
    let current = |one: &Value| {
        (
            one["id"].as_str().unwrap().to_owned(),
            one["current"].as_bool().unwrap(),
        )
    };
    let seen: Vec<_> = listed["data"].as_array().unwrap().iter().map(current).collect();
    let expected = [
        (third.id.clone(), false),
        (second.id.clone(), true),
        (first.id.clone(), false),
    ];
    assert_eq!(seen, expected);
    assert_eq!(listed["data"][1]["user_agent"], "Lynx");
    assert!(!listed.to_string().contains(second.cookie.split_once('=').unwrap().1));

    let path = format!("/v1/sessions/{}", third.id);
    second.call("DELETE", &path).reply(204).await;
    second.call("DELETE", &path).refused(404, "not_found").await;
    second
        .call("DELETE", "/v1/sessions/ses_nope")
        .refused(404, "not_found")
        .await;
    third.call("GET", "/v1/instances").refused(401, "auth_invalid").await;
    second.call("DELETE", "/v1/sessions").reply(204).await;
    first.call("GET", "/v1/instances").refused(401, "auth_invalid").await;
    second.call("GET", "/v1/instances").returns(200).await;

    let narrow = gateway
        .as_key(&json!({"name": "narrow", "scopes": ["keys:read"]}))
        .await;
    narrow.get("/v1/sessions").returns(200).await;
    narrow.delete("/v1/sessions").refused(403, "insufficient_scope").await;
    let instance = gateway.create("one").await;
    let bound = gateway
        .as_key(&json!({"name": "bound", "instance_id": instance.id}))
        .await;
    bound.get("/v1/sessions").refused(403, "instance_scoped_key").await;
    gateway.client.delete("/v1/sessions").reply(204).await;
    second.call("GET", "/v1/instances").refused(401, "auth_invalid").await;
}

fn change(browser: &Browser, current: &str, new: &str) -> crate::harness::client::Call {
    browser
        .call("PUT", "/v1/password")
        .json(&json!({"current_password": current, "new_password": new}))
}

#[tokio::test]
async fn another_password_ends_every_other_sign_in() {
    const NEW: &str = "a loud violet drum";
    let gateway = alone().await;
    let (own, other) = (set_up(&gateway).await, another(&gateway).await);
    let stream = Stream::by_cookie(&other.client, &other.cookie).await;

    let wrong = change(&own, "not the password", NEW)
        .refused(400, "validation_failed")
        .await;
    assert_eq!(wrong["details"]["fields"][0]["path"], "body.current_password");
    assert_eq!(wrong["details"]["attempts_left"], 2);
    let missing = own.call("PUT", "/v1/password").json(&json!({"new_password": NEW}));
    missing.refused(400, "validation_failed").await;
    change(&own, PASSWORD, "short").refused(400, "validation_failed").await;
    other.call("GET", "/v1/instances").returns(200).await;

    change(&own, PASSWORD, NEW).reply(204).await;
    own.call("GET", "/v1/instances").returns(200).await;
    other.call("GET", "/v1/instances").refused(401, "auth_invalid").await;
    stream.ended().await;
    sign_in(&gateway, PASSWORD).refused(401, "auth_invalid").await;
    sign_in(&gateway, NEW).reply(201).await;

    // The owner of the machine need not know the old one, and stays nobody's guest.
    let owner = gateway.owner();
    let reset = json!({"new_password": PASSWORD});
    owner.call("PUT", "/v1/password").json(&reset).reply(204).await;
    own.call("GET", "/v1/instances").refused(401, "auth_invalid").await;
    sign_in(&gateway, PASSWORD).reply(201).await;
}

#[tokio::test]
async fn three_wrong_passwords_bring_a_pause_that_doubles_and_nobody_signed_in_notices() {
    let gateway = alone().await;
    let browser = set_up(&gateway).await;
    let guess_until_paused = async |minutes: u64| {
        for left in [2, 1, 0] {
            let reply = sign_in(&gateway, "a guess of ten").reply(401).await;
            let error = &reply.json["error"];
            assert_eq!(
                (&error["code"], &error["details"]["attempts_left"]),
                (&json!("auth_invalid"), &json!(left))
            );
            assert_eq!(
                reply.header("retry-after").is_empty(),
                left > 0,
                "the last one says when to try again"
            );
        }
        // The right one is not looked at now either: else guessing would just go on.
        let paused = sign_in(&gateway, PASSWORD).reply(429).await;
        assert_eq!(paused.json["error"]["code"], "rate_limited");
        let wait: u64 = paused.header("retry-after").parse().unwrap();
        assert!(wait <= minutes * 60 && wait > (minutes - 1) * 60, "{wait} s");
    };
    guess_until_paused(1).await;
    browser.call("GET", "/v1/instances").returns(200).await;
    gateway.client.get("/v1/instances").returns(200).await;
    // Whoever is signed in may even give the password again.
    let again = browser.call("POST", "/v1/session").json(&json!({"password": PASSWORD}));
    again.reply(201).await;
    gateway.advance(61).await;
    guess_until_paused(2).await;
    gateway.advance(121).await;
    sign_in(&gateway, PASSWORD).reply(201).await;
    guess_until_paused(1).await;
    let reset = json!({"new_password": PASSWORD});
    gateway
        .owner()
        .call("PUT", "/v1/password")
        .json(&reset)
        .reply(204)
        .await;
    sign_in(&gateway, PASSWORD).reply(201).await;
}

#[tokio::test]
async fn guessing_the_token_of_the_one_time_link_is_throttled_too() {
    let gateway = alone().await;
    let token = setup_token(&gateway).await;
    let attempt = |token: &str| {
        let body = json!({"token": token, "password": PASSWORD});
        gateway.client.without_key().post("/v1/setup", &body)
    };
    for _ in 0..3 {
        attempt("a guess").refused(401, "auth_invalid").await;
    }
    attempt(&token).refused(429, "rate_limited").await;
    gateway.advance(61).await;
    attempt(&token).reply(201).await;
}

#[tokio::test]
async fn the_end_of_a_sign_in_ends_its_streams_and_no_other() {
    let gateway = alone().await;
    let (one, other) = (set_up(&gateway).await, another(&gateway).await);
    let (first, second) = (
        Stream::by_cookie(&one.client, &one.cookie).await,
        Stream::by_cookie(&other.client, &other.cookie).await,
    );
    other
        .call("DELETE", &format!("/v1/sessions/{}", one.id))
        .reply(204)
        .await;
    first.ended().await;
    assert!(!second.is_over());
    gateway.advance(7 * 24 * 3600 + 1).await;
    second.ended().await;
    let foreign = other.client.get("/v1/events").header("Cookie", &other.cookie);
    foreign
        .header("Sec-Fetch-Site", "cross-site")
        .refused(401, "auth_missing")
        .await;
}

#[tokio::test]
async fn each_sign_in_has_a_bucket_of_its_own() {
    let gateway = setup()
        .env("WHATISUP_LIMITS_BURST", "5")
        .env("WHATISUP_LIMITS_PER_SECOND", "1")
        .start()
        .await;
    let (busy, calm) = (set_up(&gateway).await, another(&gateway).await);
    let mut refused = false;
    for _ in 0..20 {
        let reply = busy.call("GET", "/v1/instances").attempt().await.unwrap();
        refused |= reply.status == 429;
    }
    assert!(refused, "a bucket of five is empty after twenty requests");
    calm.call("GET", "/v1/instances").returns(200).await;
}

#[tokio::test]
async fn a_password_from_a_file_is_the_one_that_counts_at_every_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let write = |password: &str| {
        std::fs::write(&file, format!("{password}\n")).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    write(PASSWORD);
    let mut gateway = setup()
        .env("WHATISUP_DASHBOARD_PASSWORD_FILE", file.to_str().unwrap())
        .start()
        .await;
    let browser = another(&gateway).await;
    for refused in [
        change(&browser, PASSWORD, "a loud violet drum"),
        gateway
            .owner()
            .call("PUT", "/v1/password")
            .json(&json!({"new_password": "a loud violet drum"})),
    ] {
        let error = refused.refused(409, "invalid_lifecycle_transition").await;
        assert!(error["message"].as_str().unwrap().contains("dashboard.password"));
    }
    assert!(
        !gateway.log().lines().iter().any(|line| line.contains("#setup=")),
        "nothing to set up"
    );

    gateway.stop().await;
    gateway.start_again().await;
    browser.call("GET", "/v1/instances").returns(200).await;

    write("a loud violet drum");
    gateway.stop().await;
    gateway.start_again().await;
    browser.call("GET", "/v1/instances").refused(401, "auth_invalid").await;
    sign_in(&gateway, PASSWORD).refused(401, "auth_invalid").await;
    sign_in(&gateway, "a loud violet drum").reply(201).await;

    gateway.stop().await;
    gateway.forget_env("WHATISUP_DASHBOARD_PASSWORD_FILE");
    gateway.start_again().await;
    let browser = signed_in(&gateway, &sign_in(&gateway, "a loud violet drum").reply(201).await);
    change(&browser, "a loud violet drum", PASSWORD).reply(204).await;
}

#[tokio::test]
async fn the_log_has_no_password_no_token_and_no_cookie() {
    for level in ["info", "trace"] {
        let gateway = setup().env("WHATISUP_LOG_LEVEL", level).start().await;
        let token = setup_token(&gateway).await;
        let body = json!({"token": token, "password": PASSWORD});
        let reply = gateway.client.without_key().post("/v1/setup", &body).reply(201).await;
        let browser = signed_in(&gateway, &reply);
        let (guess, new) = ("a guess that is wrong", "a loud violet drum");
        sign_in(&gateway, guess).refused(401, "auth_invalid").await;
        change(&browser, PASSWORD, new).reply(204).await;
        let other = signed_in(&gateway, &sign_in(&gateway, new).reply(201).await);
        let stream = Stream::by_cookie(&browser.client, &browser.cookie).await;
        other.call("DELETE", "/v1/sessions").reply(204).await;
        stream.ended().await;
        let value = |browser: &Browser| browser.cookie.split_once('=').unwrap().1.to_owned();
        // What a process has written is read a moment later.
        let last = |line: &str| line.contains("sessions.end_others").then_some(());
        gateway.log().find("the last request in the log", 0, last).await;
        let log = gateway.log().lines().join("\n");
        for secret in [PASSWORD, guess, new, &token, &value(&browser), &value(&other)] {
            assert!(!log.contains(secret), "at the level {level} the log shows {secret}");
        }
    }
}
