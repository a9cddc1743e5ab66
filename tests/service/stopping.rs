//! The end: everything at once is under way, and still it comes soon, in order, and nothing that was accepted is lost.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::sink::{self, Answer, Sink};
use crate::harness::wait::within;
use crate::harness::{FRIEND, Gateway, OWNER, Simulator, eventually};

/// A connection on which a request was begun and not ended.
async fn begin(gateway: &Gateway, head: &str) -> TcpStream {
    let address = gateway.client.base().trim_start_matches("http://");
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    connection
}

/// Everything that comes until the other side ends it.
async fn rest(connection: &mut TcpStream) -> String {
    let mut answer = String::new();
    // A reset is an end as well.
    let _ = within("the end of a connection", connection.read_to_string(&mut answer)).await;
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_its_hands_full_ends_by_itself_and_loses_nothing() {
    let simulator = Simulator::start().await;
    let mut gateway = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    let endpoint = sink
        .endpoint(&gateway.client, json!({"events": ["message.received"]}))
        .await;
    let mut instances = Vec::new();
    for phone in [OWNER, "5511988880008", "5511988880009"] {
        instances.push(gateway.link(&simulator, phone).await);
    }
    let (mut one, other) = (gateway.events().await, gateway.events().await);

    // A receiver that accepts and never answers, a caller that never ends its request, one that asks in the last moment.
    sink.always(Answer::Stall);
    simulator.send(FRIEND, OWNER, "for the receiver that stalls").await;
    one.next("message.received").await;
    eventually("an attempt that stalls", async || (sink.under_way() > 0).then_some(())).await;
    let key = gateway.client.key();
    let mut slow = begin(
        &gateway,
        &format!("POST /v1/instances HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{{\"name\":"),
    )
    .await;
    let mut late = begin(&gateway, "GET /readyz HTTP/1.1\r\nhost: x\r\n").await;
    // Both have been accepted by the program, not just by the kernel, once something later on the same port has.
    gateway.client.get("/v1/instances").reply(200).await;
    let mut accepted = Vec::new();
    for (number, instance) in instances.iter().cycle().take(30).enumerate() {
        let text = format!("the last words {number}");
        accepted.push((instance.send(FRIEND, &text).await, text));
    }

    let from = gateway.log().lines().len();
    gateway.terminate();
    let stopping = |line: &str| line.contains("stopping").then_some(());
    gateway.log().find("the beginning of the end", from, stopping).await;
    // Whoever asks now is told to go elsewhere, with the reason.
    late.write_all(b"\r\n").await.unwrap();
    let told = rest(&mut late).await;
    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    for part in ["shutting_down", "\"lifecycle\":\"the gateway is stopping\""] {
        assert!(told.contains(part), "{told}");
    }
    one.ended().await;
    other.ended().await;
    assert_eq!(rest(&mut slow).await, "", "what never came has no answer");
    let status = gateway.ended().await;
    assert_eq!(status.code(), Some(0), "within its own bounds, with everything closed");
    let lines = gateway.log().lines().split_off(from);
    let place = |part: &str| lines.iter().position(|line| line.contains(part));
    let (cut, stopped) = (place("connections were cut"), lines.len() - 1);
    assert!(
        lines[stopped].contains("stopped") && !lines[stopped].contains("cut off"),
        "{lines:#?}"
    );
    assert!(place("stopping") < cut && cut < Some(stopped), "{lines:#?}");
    for overdue in ["some sessions did not end", "the store was not closed", "ERROR"] {
        assert!(place(overdue).is_none(), "{lines:#?}");
    }

    sink.release();
    sink.always(Answer::Status(200));
    gateway.start_again().await;
    for instance in &instances {
        instance.becomes("connected").await;
        instance.settles().await;
    }
    for (_, text) in &accepted {
        simulator.gets(FRIEND, text).await;
    }
    let texts = simulator.texts(FRIEND).await;
    for (id, text) in &accepted {
        assert_eq!(texts.iter().filter(|got| *got == text).count(), 1, "{id}: {texts:?}");
    }
    endpoint.health("the delivery", |health| health["status"] == "ok").await;
    let bodies = sink.got();
    assert!(
        bodies.iter().all(|got| got.event_id() == bodies[0].event_id()),
        "one event, attempted again"
    );
}
