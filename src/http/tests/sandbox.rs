//! The whole way through the real client and the simulator inside: a phone scans, messages flow, events stream.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use whatsapp_simulator::Simulator;

use super::stream::{Client, Piece};
use super::{Running, answer, refused};
use crate::http::SimulatorInside;

const ACCOUNT: &str = "5511999990001";
const CONTACT: &str = "5511999990002";

/// Events until one with this name, whose fields are returned.
async fn until(client: &mut Client, name: &str) -> Value {
    loop {
        match client.next().await {
            Some(Piece::Event { data, .. }) if data["event"] == name => return data,
            Some(_) => {}
            None => panic!("the stream ended before {name}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_scans_and_messages_flow_both_ways() {
    let simulator = Simulator::start(whatsapp_simulator::Options {
        phones: 3,
        answering: true,
        ..whatsapp_simulator::Options::default()
    })
    .await
    .unwrap();
    let site = Running::start_with(|setup| {
        setup.whatsapp = format!("ws://{}/ws/chat", simulator.addr());
        setup.site.simulator = Some(SimulatorInside {
            addr: simulator.addr(),
            account: ACCOUNT.to_owned(),
            contacts: vec![CONTACT.to_owned()],
        });
    })
    .await;
    let about = site.get("/v1/sandbox", StatusCode::OK).await;
    assert_eq!(
        (&about["phones"][0]["phone"], &about["phones"][0]["role"]),
        (&json!(ACCOUNT), &json!("account"))
    );

    let instance = site.instance().await;
    let mut events = Client::open(site.request(Method::GET, "/v1/events")).await;
    let qr_path = format!("/v1/instances/{instance}/qr");
    let qr = site.get(&qr_path, StatusCode::OK).await;
    assert!(qr["qr"].as_str().unwrap().starts_with("data:image/png;base64,"));
    for (accept, start) in [
        ("image/png", &b"\x89PNG"[..]),
        ("image/svg+xml", b"<?xml"),
        ("text/plain", b""),
    ] {
        let reply = site
            .request(Method::GET, &qr_path)
            .header("Accept", accept)
            .send()
            .await
            .unwrap();
        assert!(super::header(&reply, "content-type").unwrap().starts_with(accept));
        assert!(reply.bytes().await.unwrap().starts_with(start), "{accept}");
    }
    until(&mut events, "qr.updated").await;

    let scan = json!({"instance_id": instance.to_string()});
    site.post("/v1/sandbox/scan", &scan, StatusCode::ACCEPTED).await;
    let connected = until(&mut events, "instance.connected").await;
    assert_eq!(connected["phone_number"], ACCOUNT);
    refused(site.request(Method::GET, &qr_path), StatusCode::CONFLICT, "no_qr").await;

    let message = json!({"to": CONTACT, "body": {"type": "text", "text": "hello"}, "client_ref": "r"});
    let path = format!("/v1/instances/{instance}/messages");
    let accepted = site.post(&path, &message, StatusCode::ACCEPTED).await;
    let sent = until(&mut events, "message.sent").await;
    assert_eq!(
        (&sent["message_id"], &sent["client_ref"]),
        (&accepted["message_id"], &json!("r"))
    );
    let read = until(&mut events, "message.read").await;
    assert_eq!(read["message_id"], accepted["message_id"]);

    let inbox = site
        .get(&format!("/v1/sandbox/inbox?phone={CONTACT}"), StatusCode::OK)
        .await;
    assert!(
        inbox["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|message| message["text"] == "hello"),
        "{inbox}"
    );

    let written = json!({"from": CONTACT, "text": "written & sent? 100%"});
    answer(
        site.request(Method::POST, "/v1/sandbox/messages").json(&written),
        StatusCode::ACCEPTED,
    )
    .await;
    loop {
        // The phone also echoes what it got.
        let received = until(&mut events, "message.received").await;
        if received["body"]["text"] == "written & sent? 100%" {
            assert_eq!(received["from"], CONTACT);
            break;
        }
    }
    site.app.engine.stop().await;
    site.stop().await;
    simulator.shutdown().await;
}
