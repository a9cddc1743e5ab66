//! Calls: offered, taken, rejected, ended, missed.

use serde_json::{Value, json};
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_simulator::{Options, Simulator};

use crate::client::{Client, admin, content, get, log_in, post, text, until};
use crate::queues::settled;
use crate::{NUMBER, OTHER, simulator};

fn action(call: &Node) -> &Node {
    &call.children().unwrap()[0]
}

async fn acknowledge(client: &mut Client, call: &Node) {
    let ack = NodeBuilder::new("ack")
        .attr("class", "call")
        .attr("id", text(call, "id"))
        .attr("to", text(call, "from"));
    client.send(&ack.build()).await;
}

/// Says something about a call and gives the server's ack.
async fn say(client: &mut Client, to: &str, action: Node) -> Node {
    let id = hex::encode(rand::random::<[u8; 8]>());
    let call = NodeBuilder::new("call").attr("id", id.as_str()).attr("to", to);
    client.send(&call.children([action]).build()).await;
    loop {
        let ack = client.next_tagged("ack").await;
        if text(&ack, "id") == id {
            assert_eq!(text(&ack, "class"), "call");
            return ack;
        }
    }
}

fn about(tag: &'static str, id: &str) -> NodeBuilder {
    NodeBuilder::new(tag)
        .attr("call-id", id)
        .attr("call-creator", format!("{OTHER}@s.whatsapp.net"))
}

async fn calls(addr: std::net::SocketAddr, phone: &str) -> Vec<Value> {
    let calls = get(addr, &format!("/admin/mock-phone/calls?phone={phone}")).await;
    calls.as_array().unwrap().clone()
}

async fn ring(addr: std::net::SocketAddr, more: &str) -> String {
    let answer = post(addr, &format!("/admin/mock-phone/call?from={OTHER}&to={NUMBER}{more}")).await;
    answer["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_phone_calls_and_hangs_up() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    for (more, video, server) in [("", false, "s.whatsapp.net"), ("&video=true&lid=true", true, "lid")] {
        let id = ring(addr, more).await;
        let call = client.next_tagged("call").await;
        let offer = action(&call);
        assert_eq!((offer.tag.as_ref(), text(offer, "call-id")), ("offer", id.clone()));
        assert_eq!(text(offer, "call-creator"), text(&call, "from"));
        assert!(text(&call, "from").ends_with(server), "{call:?}");
        assert_eq!(text(offer, "caller_pn").is_empty(), !video);
        assert_eq!(text(&call, "notify"), "Phone 0002");
        let order: Vec<&str> = offer
            .children()
            .unwrap()
            .iter()
            .map(|child| child.tag.as_ref())
            .collect();
        let expected = ["audio", "audio", "video", "net", "capability", "enc", "encopt"];
        assert_eq!(
            order,
            expected
                .into_iter()
                .filter(|tag| video || *tag != "video")
                .collect::<Vec<_>>()
        );
        assert!(content(offer.get_optional_child("enc").unwrap()).len() > 64);
        acknowledge(&mut client, &call).await;

        post(
            addr,
            &format!("/admin/mock-phone/hang-up?phone={OTHER}&call={id}&reason=timeout"),
        )
        .await;
        let call = client.next_tagged("call").await;
        assert_eq!(
            (action(&call).tag.as_ref(), text(action(&call), "reason").as_str()),
            ("terminate", "timeout")
        );
        acknowledge(&mut client, &call).await;
        until(addr, |stats| stats["phones"][0]["companions"][0]["waiting"] == json!(0)).await;
        assert_eq!(calls(addr, NUMBER).await.last().unwrap()["state"], json!("ended"));
    }
    // The called phone rang too: it could read the key of both calls.
    assert_eq!(get(addr, "/admin/stats").await["receiptsToPhones"]["call"], json!(2));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_client_rejects_a_call_and_its_phone_stops_ringing() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    let id = ring(addr, "").await;
    let call = client.next_tagged("call").await;
    acknowledge(&mut client, &call).await;
    let caller = text(&call, "from");

    // A device that is busy does not speak for the others.
    let busy = about("reject", &id).attr("reason", "busy").build();
    assert_eq!(text(&say(&mut client, &caller, busy).await, "type"), "reject");
    assert_eq!(calls(addr, OTHER).await[0]["state"], json!("ringing"));
    let ack = say(&mut client, &caller, about("reject", &id).attr("count", "0").build()).await;
    assert_eq!(text(&ack, "error"), "");
    let call = calls(addr, OTHER).await.remove(0);
    assert_eq!((&call["state"], &call["takenBy"]), (&json!("rejected"), &json!(1)));
    let path = format!("/admin/mock-phone/hang-up?phone={OTHER}&call={id}");
    let (status, refusal) = admin(addr, "POST", &path, "").await;
    assert_eq!((status, &refusal["error"]), (409, &json!("that call has ended")));
    // Speaking of it once more is acknowledged and changes nothing.
    say(&mut client, &caller, about("accept", &id).build()).await;
    assert_eq!(calls(addr, OTHER).await[0]["state"], json!("rejected"));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_call_taken_on_the_phone_ends_at_the_client() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    let id = ring(addr, "").await;
    let call = client.next_tagged("call").await;
    acknowledge(&mut client, &call).await;
    post(addr, &format!("/admin/mock-phone/answer-call?phone={NUMBER}&call={id}")).await;
    let call = client.next_tagged("call").await;
    assert_eq!(
        (action(&call).tag.as_ref(), text(action(&call), "reason").as_str()),
        ("terminate", "accepted_elsewhere")
    );
    let taken = calls(addr, NUMBER).await.remove(0);
    assert_eq!((&taken["state"], &taken["takenBy"]), (&json!("accepted"), &json!(0)));
    let path = format!("/admin/mock-phone/answer-call?phone={NUMBER}&call={id}");
    assert_eq!(admin(addr, "POST", &path, "").await.0, 409);
    post(addr, &format!("/admin/mock-phone/hang-up?phone={NUMBER}&call={id}")).await;
    assert_eq!(calls(addr, OTHER).await[0]["state"], json!("ended"));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_call_missed_offline_comes_marked_as_such_until_it_is_acknowledged_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(folder.path().to_owned()),
        ..Options::default()
    };
    let first = Simulator::start(options.clone()).await.unwrap();
    let (keys, client) = settled(first.addr()).await;
    drop(client);
    until(first.addr(), |stats| stats["loggedIn"] == json!([])).await;
    let id = ring(first.addr(), "").await;
    post(
        first.addr(),
        &format!("/admin/mock-phone/hang-up?phone={OTHER}&call={id}&reason=timeout"),
    )
    .await;
    let before = calls(first.addr(), NUMBER).await;
    first.shutdown().await;

    let second = Simulator::start(options).await.unwrap();
    let addr = second.addr();
    assert_eq!(calls(addr, NUMBER).await, before);
    for acknowledges in [false, true] {
        let (mut client, _) = log_in(addr, &keys, NUMBER).await;
        crate::client::activate(&mut client).await;
        let preview = client.next_tagged("ib").await;
        assert_eq!(
            text(preview.get_optional_child("offline_preview").unwrap(), "call"),
            "2"
        );
        for expected in ["offer", "terminate"] {
            let call = client.next_tagged("call").await;
            let seen = (action(&call).tag.as_ref(), text(&call, "offline"));
            assert_eq!(seen, (expected, "1".to_owned()));
            if acknowledges {
                acknowledge(&mut client, &call).await;
            }
        }
    }
    until(addr, |stats| stats["phones"][0]["companions"][0]["waiting"] == json!(0)).await;
    second.shutdown().await;
}

#[tokio::test]
async fn who_is_blocked_rings_nowhere_and_notices_nothing() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    post(addr, &format!("/admin/mock-phone/block?phone={NUMBER}&number={OTHER}")).await;
    client.next_tagged("notification").await;
    let id = ring(addr, "").await;
    post(addr, &format!("/admin/mock-phone/hang-up?phone={OTHER}&call={id}")).await;
    assert!(client.heard().await.is_empty());
    assert_eq!(get(addr, "/admin/stats").await["receiptsToPhones"]["call"], Value::Null);
    simulator.shutdown().await;
}

#[tokio::test]
async fn wrong_calls_are_refused() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    let nobody = "5511000000000@s.whatsapp.net";
    let link = NodeBuilder::new("link_create").attr("media", "audio").build();
    for (to, action, code) in [
        ("@call", link, "501"),
        (nobody, about("offer", "X").build(), "404"),
        (nobody, NodeBuilder::new("reject").build(), "501"),
        (&format!("{NUMBER}@s.whatsapp.net"), about("offer", "X").build(), "400"),
    ] {
        assert_eq!(text(&say(&mut client, to, action).await, "error"), code, "{to}");
    }
    let path = format!("/admin/mock-phone/call?from={NUMBER}&to={NUMBER}");
    assert_eq!(admin(addr, "POST", &path, "").await.0, 400);
    let path = format!("/admin/mock-phone/hang-up?phone={NUMBER}&call=unheard-of");
    assert_eq!(admin(addr, "POST", &path, "").await.0, 409);
    simulator.shutdown().await;
}
