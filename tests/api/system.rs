//! How the gateway says it does, and how it describes itself.

use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::gateway::Setup;
use crate::harness::sink::{self, Answer, Sink};
use crate::harness::{FRIEND, Gateway, OWNER, Simulator, eventually};

#[tokio::test]
async fn the_figures_of_the_system_are_plausible_and_move() {
    let simulator = Simulator::start().await;
    let gateway = sink::gateway(&simulator).await;
    let report = async || gateway.client.get("/v1/system").returns(200).await;
    let first = report().await;
    assert_eq!((&first["sandbox"], &first["instances"]), (&json!(true), &json!({})));
    let number = |report: &Value, at: &str| report.pointer(at).and_then(Value::as_u64).unwrap_or_default();
    let (resident, peak) = (
        number(&first, "/memory/resident_bytes"),
        number(&first, "/memory/peak_bytes"),
    );
    assert!((1_000_000..=peak).contains(&resident), "{first:#}");
    let (free, total) = (number(&first, "/disk/free_bytes"), number(&first, "/disk/total_bytes"));
    assert!(0 < free && free < total, "{first:#}");
    assert!(number(&first, "/store/file_bytes") <= number(&first, "/disk/state_bytes"));
    assert_eq!(number(&first, "/limits/audit_max_rows"), 10_000);
    assert!(first["started_at"].as_str() <= first["now"].as_str());

    let sink = Sink::start().await;
    sink.always(Answer::Status(500));
    let endpoint = sink
        .endpoint(&gateway.client, json!({"events": ["message.received"]}))
        .await;
    let instance = gateway.link(&simulator, OWNER).await;
    let stream = gateway.events().await;
    simulator.send(FRIEND, OWNER, "hello").await;
    let later = eventually("a delivery that is tried again", async || {
        let now = report().await;
        (number(&now, "/queues/deliveries_retrying") == 1).then_some(now)
    })
    .await;
    assert_eq!(later["instances"], json!({"connected": 1}));
    assert_eq!(later["streams_open"], 1);
    assert!(number(&later, "/store/journal_events") > 0 && number(&later, "/store/journal_bytes") > 0);
    assert!(later["store"]["oldest_event_at"].as_str() <= later["queues"]["oldest_delivery_at"].as_str());
    assert!(later["queues"]["oldest_delivery_at"].is_string());
    drop(stream);
    eventually("the stream to be gone", async || {
        (report().await["streams_open"] == 0).then_some(())
    })
    .await;
    sink.always(Answer::Status(200));
    gateway.advance(60).await;
    eventually("the delivery", async || {
        (number(&report().await, "/queues/deliveries_retrying") == 0).then_some(())
    })
    .await;
    instance.settles().await;
    endpoint.health("proof", |health| health["status"] == "ok").await;
}

#[tokio::test]
async fn the_figures_for_prometheus_have_the_names_that_everybody_uses() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    gateway.link(&simulator, OWNER).await;
    let stream = gateway.events().await;
    let nobody = gateway.client.without_key();
    nobody.get("/v1/instances").refused(401, "auth_missing").await;
    gateway.client.get("/v1/instances/inst_nonsense").reply(404).await;
    gateway.client.get("/v1/nothing").reply(404).await;
    let reply = gateway.client.get("/metrics").reply(200).await;
    let text = String::from_utf8(reply.bytes).unwrap();
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
        value.parse().unwrap()
    };
    let version = env!("CARGO_PKG_VERSION");
    for (name, expected) in [
        (format!(r#"whatisup_build_info{{version="{version}"}}"#), 1.0),
        ("whatisup_ready".to_owned(), 1.0),
        (r#"whatisup_instances{status="connected"}"#.to_owned(), 1.0),
        ("whatisup_outbox_messages".to_owned(), 0.0),
        ("whatisup_streams_open".to_owned(), 1.0),
        (r#"whatisup_auth_failures_total{code="auth_missing"}"#.to_owned(), 1.0),
        (
            r#"whatisup_http_requests_total{route="instances.list",status="401"}"#.to_owned(),
            1.0,
        ),
        (
            r#"whatisup_http_requests_total{route="instances.get",status="404"}"#.to_owned(),
            1.0,
        ),
        (
            r#"whatisup_http_requests_total{route="none",status="404"}"#.to_owned(),
            1.0,
        ),
        (
            r#"whatisup_http_request_duration_seconds_count{route="instances.get"}"#.to_owned(),
            1.0,
        ),
    ] {
        assert!((value(&name) - expected).abs() < f64::EPSILON, "{name} in\n{text}");
    }
    let resident = value("process_resident_memory_bytes");
    assert!(resident > 1e6 && resident < value("process_virtual_memory_bytes"));
    assert!(value("process_cpu_seconds_total") > 0.0);
    assert!(value("process_open_fds") > 3.0 && value("process_open_fds") < value("process_max_fds"));
    assert!(value("process_start_time_seconds") > 1.7e9);
    assert!(value("whatisup_disk_free_bytes") < value("whatisup_disk_size_bytes"));
    assert!(value("whatisup_store_file_bytes") > 0.0);
    assert_eq!(text.lines().filter(|line| *line == "# EOF").count(), 1);
    drop(stream);
}

/// Not held against a clock: it prints what it measured, and asserts only that the figures are right.
#[tokio::test]
async fn a_hundred_thousand_owed_deliveries_are_counted_without_being_walked() {
    const OWED: u64 = 100_000;
    let mut gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    gateway.create("one").await;
    gateway.stop().await;
    owe(&gateway.state().join("store.redb"), OWED).await;
    gateway.start_again().await;
    let mut longest = std::time::Duration::ZERO;
    let mut whole = std::time::Duration::ZERO;
    for _ in 0..50 {
        let begun = Instant::now();
        let report = gateway.client.get("/v1/system").returns(200).await;
        let took = begun.elapsed();
        longest = longest.max(took);
        whole += took;
        assert_eq!(report["queues"]["deliveries_waiting"], OWED);
        assert!(report["queues"]["oldest_delivery_at"].is_string());
    }
    println!(
        "GET /v1/system with {OWED} owed: {:?} on average, {longest:?} at most",
        whole / 50
    );
}

/// Puts deliveries to an endpoint that is switched off into a store that no server has open.
async fn owe(path: &std::path::Path, count: u64) {
    use whatisup::domain::Timestamp;
    use whatisup::domain::id::{EndpointId, EventId};
    use whatisup::domain::webhook::Subject;
    use whatisup::store::{NewDelivery, Options, Store};
    let options = Options {
        path: path.to_owned(),
        cache_bytes: 64 << 20,
        reserve_bytes: 0,
    };
    let store = Store::open(&options, std::sync::Arc::new(|_| {})).unwrap();
    for chunk in 0..count / 5_000 {
        store
            .write(move |tx| {
                for index in 0..5_000 {
                    let number = u128::from(chunk * 5_000 + index);
                    tx.insert_delivery(&NewDelivery {
                        // A hundred endpoints, so that there is more than one head to look at.
                        endpoint_id: EndpointId::from_u128(number % 100 + 1),
                        instance_id: None,
                        event: Subject::Test,
                        event_id: EventId::floor(Timestamp::from_millis(1_700_000_000_000)),
                        order: 0,
                        correlation_id: None,
                        replay_of: None,
                        queued: true,
                    })?;
                }
                Ok(())
            })
            .await
            .unwrap();
    }
    store.close().await;
}
