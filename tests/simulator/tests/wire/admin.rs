//! The admin interface: every bad call gets a status and a sentence.

use serde_json::json;
use whatsapp_simulator::{Options, Simulator};

use crate::client::{admin, admin_with};
use crate::{NUMBER, simulator};

/// Status, method, path, body, and what the sentence must contain.
type BadCall = (u16, &'static str, &'static str, &'static str, &'static str);

const BAD_CALLS: &[BadCall] = &[
    (404, "GET", "/admin/nothing", "", "no such call"),
    (404, "GET", "/elsewhere", "", "no such call"),
    (405, "POST", "/admin/stats", "", "use GET"),
    (405, "PUT", "/admin/fault", "", "use POST or GET or DELETE"),
    (404, "DELETE", "/admin/fault?id=7", "", "no fault with that id"),
    (400, "DELETE", "/admin/fault?id=x", "", "whole number"),
    (426, "GET", "/ws/chat", "", "WebSocket"),
    (400, "GET", "/admin/mock-phone/inbox", "", "`phone` is missing"),
    (400, "GET", "/admin/mock-phone/inbox?phone=", "", "`phone` is missing"),
    (400, "GET", "/admin/mock-phone/inbox?phone=%2B5511", "", "digits"),
    (400, "GET", "/admin/mock-phone/inbox?phone=1234", "", "5 to 15 digits"),
    (
        400,
        "GET",
        "/admin/mock-phone/inbox?phone=12345&phone=12345",
        "",
        "given twice",
    ),
    (
        400,
        "POST",
        "/admin/mock-phone/scan-qr?phone=5511999990001",
        "nonsense",
        "not a WhatsApp QR code",
    ),
    (
        409,
        "POST",
        "/admin/mock-phone/scan-qr?phone=5511999990001",
        "2@x,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,1",
        "no open socket shows this code",
    ),
    (
        409,
        "POST",
        "/admin/mock-phone/enter-code?phone=5511999990001&code=ABCD1234",
        "",
        "no open client has asked for a code of this number",
    ),
    (
        400,
        "POST",
        "/admin/mock-phone/enter-code?phone=5511999990001&code=ABCD123O",
        "",
        "eight letters and digits",
    ),
    (
        404,
        "POST",
        "/admin/mock-phone/refresh-code?phone=5511999990001",
        "",
        "no open client",
    ),
    (
        400,
        "POST",
        "/admin/fault",
        r#"{"kind":"pair-code","code":418}"#,
        "400, 403, 429, 452 or 500",
    ),
    (
        400,
        "POST",
        "/admin/mock-phone/send?from=5511999990001&to=5511999990002",
        "",
        "`text` is missing",
    ),
    (
        400,
        "POST",
        "/admin/mock-phone/send?from=5511999990001&text=hi",
        "",
        "`to` is missing",
    ),
    (
        400,
        "POST",
        "/admin/mock-phone/send?from=5511999990001&to=5511999990002&text=x&lid=perhaps",
        "",
        "true or false",
    ),
    (
        400,
        "POST",
        "/admin/mock-phone/send?from=5511999990001&to=5511999990002",
        "{}",
        "put all of it into the body",
    ),
    (
        400,
        "POST",
        "/admin/mock-phone/burst?from=5511999990001&to=5511999990002&count=-1",
        "",
        "whole number",
    ),
    (
        400,
        "POST",
        "/admin/mock-phone/burst?from=5511999990001&to=5511999990002&count=100001",
        "",
        "at most",
    ),
    (
        404,
        "POST",
        "/admin/mock-phone/read?phone=5511999990001&id=NONE",
        "",
        "no readable message",
    ),
    (
        404,
        "POST",
        "/admin/mock-phone/unlink?phone=5511999990001&device=9",
        "",
        "no linked companion",
    ),
    (
        400,
        "POST",
        "/admin/mock-phone/unlink?phone=5511999990001&device=x",
        "",
        "whole number",
    ),
    (
        404,
        "POST",
        "/admin/mock-phone/unlink?phone=5511999990001&device=0",
        "",
        "no linked companion",
    ),
    (
        400,
        "POST",
        "/admin/mock-phone/answering?phone=5511999990001&on=maybe",
        "",
        "true or false",
    ),
    (400, "POST", "/admin/reset", "{\"number\":1}", "must be empty or"),
    (400, "POST", "/admin/reset", "{\"phone\":\"x\"}", "digits"),
    (400, "POST", "/admin/fault", "", "not a fault"),
    (
        400,
        "POST",
        "/admin/fault",
        r#"{"kind":"gremlins"}"#,
        "no fault `gremlins`",
    ),
    (
        400,
        "POST",
        "/admin/fault",
        r#"{"kind":"hmac","colour":"red"}"#,
        "`colour` means nothing to hmac; it takes no fields of its own",
    ),
    (
        400,
        "POST",
        "/admin/fault",
        r#"{"kind":"delay","code":500}"#,
        "`code` means nothing to delay; it takes ms",
    ),
    (
        400,
        "POST",
        "/admin/fault",
        r#"{"kind":"drop-socket","at":"scan","deliver":false}"#,
        "`deliver` needs",
    ),
    (
        400,
        "POST",
        "/admin/fault",
        r#"{"kind":"stream-error","code":503,"at":"handshake"}"#,
        "cannot strike at `handshake`",
    ),
    (
        400,
        "POST",
        "/admin/fault",
        r#"{"kind":"stream-error"}"#,
        "or a `conflict`",
    ),
    (
        400,
        "POST",
        "/admin/fault",
        r#"{"kind":"drop-socket","at":"handshake","phone":"5511999990001"}"#,
        "leave `phone` out",
    ),
    (
        400,
        "POST",
        "/admin/fault",
        r#"{"kind":"nack","code":463,"device":1}"#,
        "needs the `phone`",
    ),
    (
        400,
        "POST",
        "/admin/fault",
        r#"{"kind":"nack","code":46}"#,
        "between 400 and 599",
    ),
    (400, "POST", "/admin/fault", r#"{"kind":"nack"}"#, "needs a `code`"),
    (400, "POST", "/admin/fault", r#"{"kind":"failure"}"#, "needs a `reason`"),
    (400, "POST", "/admin/fault", r#"{"kind":"hmac","times":-2}"#, "`times`"),
    (
        400,
        "POST",
        "/admin/fault",
        r#"{"kind":"cert-leaf","phone":"5511999990001"}"#,
        "leave `phone` out",
    ),
    (
        400,
        "POST",
        "/admin/fault",
        r#"{"kind":"delay","ms":600000}"#,
        "at most",
    ),
    (
        400,
        "POST",
        "/admin/fault",
        r#"{"kind":"media-404","code":200}"#,
        "between 400 and 599",
    ),
];

#[tokio::test]
async fn bad_calls_are_refused_with_a_status_and_a_sentence() {
    let (simulator, addr) = simulator().await;
    for (status, method, path, body, says) in BAD_CALLS {
        let (got, answer) = admin(addr, method, path, body).await;
        let sentence = answer["error"].as_str().unwrap_or_default();
        assert!(
            got == *status && sentence.contains(says),
            "{method} {path}: {got} {answer}"
        );
    }
    let (status, answer) = admin(addr, "POST", "/admin/fault", &"x".repeat(300 * 1024)).await;
    assert_eq!(
        (status, &answer["error"]),
        (413, &json!("the body is too large or broken"))
    );
    simulator.shutdown().await;
}

#[tokio::test]
async fn strangers_are_kept_out() {
    let (simulator, addr) = simulator().await;
    let own = format!("http://{addr}");
    for (headers, status) in [
        (vec![("origin", own.as_str())], 200),
        (vec![("origin", "https://evil.example")], 403),
        (vec![("origin", "null")], 403),
        (vec![("host", "evil.example")], 403),
        (vec![("host", "evil.example"), ("origin", "http://evil.example")], 403),
    ] {
        assert_eq!(
            admin_with(addr, "GET", "/admin/stats", "", &headers).await.0,
            status,
            "{headers:?}"
        );
    }
    simulator.shutdown().await;
    let elsewhere = Options {
        listen: "0.0.0.0:0".parse().unwrap(),
        ..Options::default()
    };
    let refusal = Simulator::start(elsewhere).await.err().unwrap();
    assert!(refusal.to_string().contains("loopback only"), "{refusal}");
}

#[tokio::test]
async fn the_interface_documents_itself_and_every_documented_call_exists() {
    let (simulator, addr) = simulator().await;
    let (status, page) = admin(addr, "GET", "/admin", "").await;
    assert_eq!(status, 200);
    let calls = page["calls"].as_array().unwrap();
    assert!(calls.len() > 10);
    for fault in page["faults"]["kinds"].as_array().unwrap() {
        for part in ["strikes", "phone", "fields", "effect"] {
            assert!(!fault[part].is_null(), "{fault}");
        }
    }
    for call in calls {
        let (method, path) = (call["method"].as_str().unwrap(), call["path"].as_str().unwrap());
        let (status, answer) = admin(addr, method, path, "").await;
        // A call may find nothing to do (no load runs), but it must be there.
        assert!(
            matches!(status, 200 | 400 | 404 | 501),
            "{method} {path}: {status} {answer}"
        );
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(!error.contains("no such call"), "{method} {path}: {error}");
        assert!(!call["summary"].as_str().unwrap().is_empty());
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn faults_wait_are_shown_and_can_be_cleared() {
    let (simulator, addr) = simulator().await;
    let fault = json!({"kind": "nack", "code": 463, "times": "always", "phone": NUMBER}).to_string();
    let (status, answer) = admin(addr, "POST", "/admin/fault", &fault).await;
    assert_eq!(
        (status, &answer["waiting"][0]["kind"], &answer["waiting"][0]["times"]),
        (200, &json!("nack"), &json!(null))
    );
    let other = admin(addr, "POST", "/admin/fault", r#"{"kind":"no-qr"}"#).await.1["id"].clone();
    let (_, answer) = admin(addr, "DELETE", &format!("/admin/fault?id={other}"), "").await;
    assert_eq!(answer["waiting"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(
        (&answer["spent"][0]["id"], &answer["spent"][0]["struck"]),
        (&other, &json!(0))
    );
    let (_, answer) = admin(addr, "POST", "/admin/fault", r#"{"kind":"none"}"#).await;
    assert_eq!(answer, json!({"waiting": []}));
    let (_, answer) = admin(addr, "GET", "/admin/fault", "").await;
    assert_eq!(answer["spent"].as_array().unwrap().len(), 2, "{answer}");
    simulator.shutdown().await;
}

#[tokio::test]
async fn phones_asked_for_at_the_start_exist() {
    let options = Options {
        phones: 3,
        answering: true,
        ..Options::default()
    };
    let simulator = Simulator::start(options).await.unwrap();
    let (_, stats) = admin(simulator.addr(), "GET", "/admin/stats", "").await;
    let phones = stats["phones"].as_array().unwrap();
    assert_eq!(phones.len(), 3);
    assert_eq!(
        (&phones[2]["phone"], &phones[2]["answering"]),
        (&json!("5511999990003"), &json!(true))
    );
    simulator.shutdown().await;
}
