//! The whole state can be asked for and forgotten.

use serde_json::json;
use whatsapp_simulator::{Options, Simulator};

use crate::client::{admin, link, log_in, stats, text, until};
use crate::queues::settled;
use crate::{NUMBER, OTHER, simulator};

async fn send(addr: std::net::SocketAddr, words: &str) {
    let path = format!("/admin/mock-phone/send?from={OTHER}&to={NUMBER}&text={words}");
    let (status, answer) = admin(addr, "POST", &path, "").await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn the_state_shows_everything_but_private_keys() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(folder.path().to_owned()),
        ..Options::default()
    };
    let simulator = Simulator::start(options).await.unwrap();
    let addr = simulator.addr();
    let (_, mut client) = settled(addr).await;
    send(addr, "waits").await;
    let id = text(&client.next_tagged("message").await, "id");
    let (status, state) = admin(addr, "GET", "/admin/state", "").await;
    assert_eq!(status, 200);
    let account = &state["accounts"][0];
    assert_eq!(account["phone"], NUMBER);
    assert_eq!(account["inbox"][0]["text"], "waits");
    let companion = &account["companions"][0];
    assert_eq!(companion["queue"][0]["id"], json!(id));
    assert_eq!(companion["queue"][0]["tag"], "message");
    assert!(companion["socket"].is_u64() && companion["prekeys"].as_array().unwrap().len() > 10);
    // Whatever the journal keeps as private is nowhere in it.
    let shown = state.to_string();
    simulator.shutdown().await;
    let journal = std::fs::read(folder.path().join("simulator.journal")).unwrap();
    let journal = String::from_utf8_lossy(&journal);
    let mut secrets = 0;
    for name in [
        "\"identity\":\"",
        "\"signed_prekey\":\"",
        "\"root\":\"",
        "\"leaf\":\"",
        "\"data\":\"",
    ] {
        for (at, _) in journal.match_indices(name) {
            let secret: String = journal[at + name.len()..]
                .chars()
                .take_while(char::is_ascii_hexdigit)
                .collect();
            let public = companion["identityKey"] == json!(secret);
            if secret.len() == 64 && !public {
                secrets += 1;
                assert!(!shown.contains(&secret), "{name}");
            }
        }
    }
    assert!(secrets >= 4, "{secrets}");
}

#[tokio::test]
async fn a_reset_ends_every_socket_and_leaves_an_empty_simulator_with_the_same_root_key() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(folder.path().to_owned()),
        phones: 1,
        ..Options::default()
    };
    let simulator = Simulator::start(options.clone()).await.unwrap();
    let addr = simulator.addr();
    let (keys, mut client) = settled(addr).await;
    send(addr, "forgotten").await;
    let root = admin(addr, "GET", "/admin/root-key", "").await.1;
    let (mut dead, _) = log_in(addr, &keys, NUMBER).await;
    admin(addr, "POST", "/admin/fault", r#"{"kind":"half-open"}"#).await;
    let _ = client.recv().await;
    let (status, answer) = admin(addr, "POST", "/admin/reset", "").await;
    assert_eq!(status, 200, "{answer}");
    while dead.recv().await.is_some() {}
    until(addr, |stats| stats["socketsOpen"] == 0).await;
    let fresh = stats(addr).await;
    assert_eq!(
        fresh["phones"].as_array().unwrap().len(),
        1,
        "the phone that exists from the start"
    );
    assert_eq!((&fresh["phones"][0]["inbox"], &fresh["logins"]), (&json!(0), &json!(0)));
    assert_eq!(text(&log_in(addr, &keys, NUMBER).await.1, "reason"), "401");
    assert_eq!(admin(addr, "GET", "/admin/root-key", "").await.1, root);
    // It works as a new one does, and a process that ends without a goodbye does not bring the old back.
    link(addr, NUMBER).await;
    drop(simulator);
    let simulator = loop {
        if let Ok(simulator) = Simulator::start(options.clone()).await {
            break simulator;
        }
        tokio::task::yield_now().await;
    };
    let addr = simulator.addr();
    let (_, state) = admin(addr, "GET", "/admin/state", "").await;
    assert_eq!(state["accounts"].as_array().unwrap().len(), 1);
    assert_eq!(state["accounts"][0]["companions"].as_array().unwrap().len(), 1);
    assert_eq!(admin(addr, "GET", "/admin/root-key", "").await.1, root);
    simulator.shutdown().await;
}

#[tokio::test]
async fn one_phone_can_be_forgotten_and_its_number_used_anew() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    send(addr, "before").await;
    let lid = stats(addr).await["phones"][0]["lid"].clone();
    let body = json!({"phone": NUMBER}).to_string();
    let (status, answer) = admin(addr, "POST", "/admin/reset", &body).await;
    assert_eq!(status, 200, "{answer}");
    while client.recv().await.is_some() {}
    let (_, state) = admin(addr, "GET", "/admin/state", "").await;
    assert_eq!(state["accounts"].as_array().unwrap().len(), 1);
    assert_eq!(state["accounts"][0]["phone"], OTHER);
    assert_eq!(admin(addr, "POST", "/admin/reset", &body).await.0, 404);
    // A new phone under the old number has another hidden number, and is written to in a new session.
    send(addr, "after").await;
    let path = format!("/admin/mock-phone/inbox?phone={NUMBER}");
    let (_, inbox) = admin(addr, "GET", &path, "").await;
    assert_eq!(
        (inbox.as_array().unwrap().len(), &inbox[0]["text"]),
        (1, &json!("after"))
    );
    let fresh = stats(addr).await;
    let phones = fresh["phones"].as_array().unwrap();
    assert!(phones.iter().all(|phone| phone["lid"] != lid), "{fresh}");
    simulator.shutdown().await;
}
