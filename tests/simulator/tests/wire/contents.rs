//! What messages say: every kind a phone can send, and what the other phone makes of it.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::client::admin;
use crate::{NUMBER, OTHER, simulator};

/// What the body lacks or has too much of, and what the sentence must contain.
const BAD_BODIES: &[(&str, &str)] = &[
    ("[]", "not a JSON object"),
    ("{", "not a JSON object"),
    (
        r#"{"to":"5511999990002","type":"text","text":"x"}"#,
        "missing field `from`",
    ),
    (
        r#"{"from":"5511999990001","type":"text","text":"x"}"#,
        "missing field `to`",
    ),
    (
        r#"{"from":"5511999990001","to":"5511999990002","text":"x"}"#,
        "missing field `type`",
    ),
    (
        r#"{"from":"+5511","to":"5511999990002","type":"text","text":"x"}"#,
        "`from` must be a phone number",
    ),
    (
        r#"{"from":"5511999990001","to":"nobody","type":"text","text":"x"}"#,
        "`to` must be a phone number",
    ),
    (
        r#"{"from":"5511999990001","to":"5511999990002","type":"txt","text":"x"}"#,
        "unknown variant `txt`, expected one of `text`",
    ),
    (
        r#"{"from":"5511999990001","to":"5511999990002","type":"text","test":"x"}"#,
        "unknown field `test`",
    ),
    (
        r#"{"from":"5511999990001","to":"5511999990002","type":"text","text":""}"#,
        "`text` is empty",
    ),
    (
        r#"{"from":"5511999990001","to":"5511999990002","type":"text","text":"x","mentions":["x"]}"#,
        "`mentions` must be a phone number",
    ),
    (
        r#"{"from":"5511999990001","to":"5511999990002","type":"poll","question":"?","options":["a"]}"#,
        "2 to 12",
    ),
    (
        r#"{"from":"5511999990001","to":"5511999990002","type":"poll","question":"?","options":["a","a"]}"#,
        "differ",
    ),
    (
        r#"{"from":"5511999990001","to":"5511999990002","type":"location","latitude":91,"longitude":0}"#,
        "`latitude`",
    ),
    (
        r#"{"from":"5511999990001","to":"5511999990002","type":"contact","contacts":[]}"#,
        "`contacts`",
    ),
    (
        r#"{"from":"5511999990001","to":"5511999990002","type":"reaction","message_id":"X","emoji":"x","reply_to":"Y"}"#,
        "`reply_to`",
    ),
];

/// What fits no state of the phone.
const IMPOSSIBLE_BODIES: &[(&str, &str)] = &[
    (
        r#"{"from":"5511999990001","to":"5511999990002","type":"reaction","message_id":"NONE","emoji":"x"}"#,
        "knows no message NONE",
    ),
    (
        r#"{"from":"5511999990001","to":"5511999990002","type":"text","text":"x","reply_to":"NONE"}"#,
        "knows no message NONE",
    ),
    (
        r#"{"from":"5511999990001","to":"5511999990002","type":"raw","message":"%"}"#,
        "not base64",
    ),
];

/// A phone sends; gives the id.
pub async fn send(addr: SocketAddr, body: Value) -> String {
    let (status, answer) = admin(addr, "POST", "/admin/mock-phone/send", &body.to_string()).await;
    assert_eq!(status, 200, "{body}: {answer}");
    answer["id"].as_str().unwrap().to_owned()
}

/// What a phone shows.
pub async fn inbox(addr: SocketAddr, number: &str) -> Vec<Value> {
    let (status, inbox) = admin(addr, "GET", &format!("/admin/mock-phone/inbox?phone={number}"), "").await;
    assert_eq!(status, 200, "{inbox}");
    inbox.as_array().unwrap().clone()
}

#[tokio::test]
async fn a_body_that_is_wrong_is_refused_with_what_to_do() {
    let (simulator, addr) = simulator().await;
    for (expected, bodies) in [(400, BAD_BODIES), (409, IMPOSSIBLE_BODIES)] {
        for (body, sentence) in bodies {
            let (status, answer) = admin(addr, "POST", "/admin/mock-phone/send", body).await;
            let error = answer["error"].as_str().unwrap();
            assert!(
                status == expected && error.contains(sentence),
                "{body}: {status} {error}"
            );
        }
    }
    assert_eq!(inbox(addr, OTHER).await, Vec::<Value>::new());
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_text_sent_as_json_arrives() {
    let (simulator, addr) = simulator().await;
    let id = send(
        addr,
        json!({"from": NUMBER, "to": OTHER, "type": "text", "text": "hi", "lid": true}),
    )
    .await;
    let shown = inbox(addr, OTHER).await;
    assert_eq!(shown.len(), 1);
    assert_eq!(
        (&shown[0]["id"], &shown[0]["text"], &shown[0]["byLid"]),
        (&json!(id), &json!("hi"), &json!(true))
    );
    simulator.shutdown().await;
}
