//! Load: as many as planned are sent, each copy is followed until it is acknowledged, and it can be stopped.

use serde_json::{Value, json};
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use crate::client::{admin, text};
use crate::queues::settled;
use crate::{NUMBER, OTHER, simulator};

async fn load(addr: std::net::SocketAddr, method: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    admin(addr, method, "/admin/load", &body).await
}

#[tokio::test]
async fn a_load_reaches_the_companion_and_counts_what_it_acknowledges() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    let plan = json!({"phones": 3, "companions": true, "per_second": 1000, "count": 60, "length": 100});
    let (status, begun) = load(addr, "POST", &plan).await;
    assert_eq!((status, &begun["planned"]), (200, &json!(60)), "{begun}");
    for _ in 0..60 {
        let message = client.next_tagged("message").await;
        let receipt = NodeBuilder::new("receipt")
            .attr("id", text(&message, "id"))
            .attr("to", text(&message, "from"));
        client.send(&receipt.build()).await;
    }
    let report = loop {
        let report = load(addr, "GET", &Value::Null).await.1;
        if report["outstanding"] == 0 {
            break report;
        }
        tokio::task::yield_now().await;
    };
    for (field, expected) in [("sent", 60), ("copies", 60), ("acknowledged", 60), ("failed", 0)] {
        assert_eq!(report[field], expected, "{field} of {report}");
    }
    assert_eq!(report["running"], false);
    let (_, inbox) = admin(addr, "GET", &format!("/admin/mock-phone/inbox?phone={NUMBER}"), "").await;
    assert_eq!(inbox.as_array().unwrap().len(), 60, "the phone gets them too");
    simulator.shutdown().await;
}

#[tokio::test]
async fn one_load_runs_at_a_time_and_can_be_stopped() {
    let (simulator, addr) = simulator().await;
    let slow = json!({"from": [NUMBER], "to": [OTHER], "per_second": 0.001, "count": 10});
    assert_eq!(load(addr, "POST", &slow).await.0, 200);
    let (status, answer) = load(addr, "POST", &slow).await;
    assert!(
        status == 409 && answer["error"].as_str().unwrap().contains("DELETE"),
        "{answer}"
    );
    let (status, report) = load(addr, "DELETE", &Value::Null).await;
    assert_eq!((status, &report["running"]), (200, &json!(false)), "{report}");
    // Once more does no harm and changes nothing.
    assert_eq!(load(addr, "DELETE", &Value::Null).await, (200, report));
    let offline = format!("/admin/mock-phone/offline?phone={NUMBER}");
    assert_eq!(admin(addr, "POST", &offline, "").await.0, 200);
    let hopeless = json!({"from": [NUMBER], "to": [OTHER], "per_second": 1000, "count": 3});
    assert_eq!(load(addr, "POST", &hopeless).await.0, 200);
    let report = loop {
        let report = load(addr, "GET", &Value::Null).await.1;
        if report["running"] == false {
            break report;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((&report["sent"], &report["failed"]), (&json!(0), &json!(3)), "{report}");
    assert_eq!(report["lastError"], "the phone is offline");
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_load_that_makes_no_sense_is_refused_with_what_to_do() {
    let (simulator, addr) = simulator().await;
    for (status, body, says) in [
        (400, json!({}), "per_second"),
        (
            400,
            json!({"per_second": 0, "count": 1, "phones": 1, "companions": true}),
            "above 0",
        ),
        (
            400,
            json!({"per_second": 1, "phones": 1, "companions": true}),
            "`count` or `seconds`",
        ),
        (
            400,
            json!({"per_second": 1, "count": 1, "seconds": 1, "phones": 1, "companions": true}),
            "`count` or `seconds`",
        ),
        (
            400,
            json!({"per_second": 1, "count": 2_000_000, "phones": 1, "companions": true}),
            "1 to 1000000",
        ),
        (400, json!({"per_second": 1, "count": 1, "companions": true}), "`from`"),
        (
            400,
            json!({"per_second": 1, "count": 1, "phones": 0, "companions": true}),
            "`from`",
        ),
        (400, json!({"per_second": 1, "count": 1, "phones": 1}), "`to`"),
        (
            400,
            json!({"per_second": 1, "count": 1, "from": ["x"], "to": [OTHER]}),
            "digits",
        ),
        (
            400,
            json!({"per_second": 1, "count": 1, "phones": 1, "to": [OTHER], "length": 70_000}),
            "at most",
        ),
        (
            409,
            json!({"per_second": 1, "count": 1, "phones": 1, "companions": true}),
            "no phone has",
        ),
    ] {
        let (got, answer) = load(addr, "POST", &body).await;
        assert!(
            got == status && answer["error"].as_str().unwrap().contains(says),
            "{body}: {got} {answer}"
        );
    }
    assert_eq!(load(addr, "GET", &Value::Null).await.1, json!({"running": false}));
    simulator.shutdown().await;
}
