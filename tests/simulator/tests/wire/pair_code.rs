//! Linking by a code that is typed on the phone. The client's side is the library's own arithmetic
//! (`wacore::pair_code`), the simulator's is another: what both agree on is right or equally misread.

use std::net::SocketAddr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::task::JoinHandle;
use whatsapp_rust::wacore::libsignal::protocol::KeyPair;
use whatsapp_rust::wacore::pair_code::PairCodeUtils;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use crate::client::{Client, Granted, Keys, admin, content, fresh_pair, log_in, public, qr, stats, text, until};
use crate::{NUMBER, OTHER, simulator};

const CODE: &str = "ABCD1234";

/// A client that shows a code.
struct Showing {
    client: Client,
    keys: Keys,
    ephemeral: KeyPair,
    reference: Vec<u8>,
}

/// What a client says in its hello; tests make one thing wrong.
struct Hello<'a> {
    number: &'a str,
    display: &'a str,
    auth_key: Vec<u8>,
    wrapped: Vec<u8>,
}

impl<'a> Hello<'a> {
    fn new(number: &'a str, keys: &Keys, ephemeral: &KeyPair) -> Self {
        let key: [u8; 32] = public(ephemeral).try_into().unwrap();
        Self {
            number,
            display: "Chrome (Linux)",
            auth_key: public(&keys.noise),
            wrapped: PairCodeUtils::encrypt_ephemeral_pub(&key, CODE).to_vec(),
        }
    }

    async fn ask(&self, client: &mut Client) -> Node {
        let bytes = |tag: &'static str, bytes: &[u8]| NodeBuilder::new(tag).bytes(bytes.to_vec()).build();
        let hello = NodeBuilder::new("link_code_companion_reg")
            .attr("jid", format!("{}@s.whatsapp.net", self.number))
            .attr("stage", "companion_hello")
            .attr("should_show_push_notification", "true")
            .children([
                bytes("link_code_pairing_wrapped_companion_ephemeral_pub", &self.wrapped),
                bytes("companion_server_auth_key_pub", &self.auth_key),
                bytes("companion_platform_id", b"1"),
                bytes("companion_platform_display", self.display.as_bytes()),
                bytes("link_code_pairing_nonce", &[0]),
            ]);
        client.ask("md", "set", vec![hello.build()]).await
    }
}

fn reference(answer: &Node) -> Vec<u8> {
    let inner = answer.get_optional_child("link_code_companion_reg").unwrap();
    content(inner.get_optional_child("link_code_pairing_ref").unwrap())
}

fn refusal(answer: &Node) -> (String, String) {
    assert_eq!(text(answer, "type"), "error");
    let error = answer.get_optional_child("error").unwrap();
    (text(error, "code"), text(error, "text"))
}

/// Opens a socket, takes its QR codes and asks for a code of a number.
async fn show(addr: SocketAddr, number: &str) -> Showing {
    let (keys, ephemeral) = (Keys::fresh(), fresh_pair());
    let mut client = Client::xx(addr, &keys.noise, &keys.registration()).await;
    assert!(client.next().await.get_optional_child("pair-device").is_some());
    let answer = Hello::new(number, &keys, &ephemeral).ask(&mut client).await;
    let reference = reference(&answer);
    Showing {
        client,
        keys,
        ephemeral,
        reference,
    }
}

/// The phone types; the answer comes when the client has done its part.
fn enter(addr: SocketAddr, number: &str, code: &str) -> JoinHandle<(u16, Value)> {
    let path = format!("/admin/mock-phone/enter-code?phone={number}&code={code}");
    tokio::spawn(async move { admin(addr, "POST", &path, "").await })
}

/// The phone types what must not work.
async fn refused(addr: SocketAddr, number: &str, code: &str, says: &str) {
    let (status, answer) = enter(addr, number, code).await.unwrap();
    let sentence = answer["error"].as_str().unwrap();
    assert!(status == 409 && sentence.contains(says), "{status} {sentence}");
}

impl Showing {
    /// Answers the phone's key with the bundle; gives the server's answer and the agreed secret.
    async fn finish(&mut self, number: &str) -> (Node, [u8; 32]) {
        let notification = self.client.next_tagged("notification").await;
        assert_eq!(text(&notification, "from"), "s.whatsapp.net");
        let hello = notification.get_optional_child("link_code_companion_reg").unwrap();
        assert_eq!(text(hello, "stage"), "primary_hello");
        let field = |tag: &str| content(hello.get_optional_child(tag).unwrap());
        assert_eq!(field("link_code_pairing_ref"), self.reference);
        let wrapped = field("link_code_pairing_wrapped_primary_ephemeral_pub");
        let ephemeral = PairCodeUtils::decrypt_primary_ephemeral_pub(&wrapped, CODE).unwrap();
        let identity: [u8; 32] = field("primary_identity_pub").try_into().unwrap();
        let (bundle, secret) =
            PairCodeUtils::prepare_key_bundle(&self.ephemeral, &ephemeral, &identity, &self.keys.identity).unwrap();
        let own: [u8; 32] = public(&self.keys.identity).try_into().unwrap();
        let iq = PairCodeUtils::build_companion_finish_iq(number, bundle, &own, &self.reference, String::new());
        let inner = iq.children().unwrap().to_vec();
        (self.client.ask("md", "set", inner).await, secret)
    }
}

#[tokio::test]
async fn a_typed_code_links_with_the_secret_that_both_sides_agreed_on() {
    let (simulator, addr) = simulator().await;
    let mut showing = show(addr, NUMBER).await;
    let typed = enter(addr, NUMBER, "abcd-1234");
    let (answer, secret) = showing.finish(NUMBER).await;
    assert_eq!(text(&answer, "type"), "result");
    let keys = showing.keys;
    let granted = Granted::arrived(showing.client, typed).await;
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
    mac.update(granted.container.details.as_deref().unwrap());
    mac.verify_slice(granted.container.hmac.as_deref().unwrap()).unwrap();
    let (last, (status, linked)) = granted.answer(&keys, false).await;
    assert_eq!((text(&last, "code").as_str(), status), ("515", 200), "{linked}");
    assert_eq!(linked["jid"], format!("{NUMBER}:1@s.whatsapp.net"));
    assert_eq!(log_in(addr, &keys, NUMBER).await.1.tag, "success");
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_wrong_code_fails_on_the_phone_and_the_right_one_still_links() {
    let (simulator, addr) = simulator().await;
    let mut showing = show(addr, NUMBER).await;
    let typed = enter(addr, NUMBER, "ABCD1235");
    let (answer, _) = showing.finish(NUMBER).await;
    assert_eq!(text(&answer, "type"), "result", "the server cannot look inside");
    let (status, told) = typed.await.unwrap();
    assert!(
        status == 409 && told["error"].as_str().unwrap().contains("code is wrong"),
        "{told}"
    );
    let typed = enter(addr, NUMBER, CODE);
    showing.finish(NUMBER).await;
    let granted = Granted::arrived(showing.client, typed).await;
    assert_eq!(granted.answer(&showing.keys, false).await.1.0, 200);
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_code_can_be_tried_three_times() {
    let (simulator, addr) = simulator().await;
    let mut showing = show(addr, NUMBER).await;
    for _ in 0..3 {
        let typed = enter(addr, NUMBER, "ABCD1235");
        showing.finish(NUMBER).await;
        assert_eq!(typed.await.unwrap().0, 409);
    }
    refused(addr, NUMBER, CODE, "three times").await;
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_code_is_refused_on_the_wrong_phone_too_early_and_too_late() {
    let (simulator, addr) = simulator().await;
    refused(
        addr,
        NUMBER,
        CODE,
        "no open client has asked for a code of this number; ask",
    )
    .await;
    let showing = show(addr, NUMBER).await;
    refused(addr, OTHER, CODE, "but one of another number").await;
    admin(addr, "POST", &format!("/admin/mock-phone/offline?phone={NUMBER}"), "").await;
    refused(addr, NUMBER, CODE, "offline").await;
    admin(addr, "POST", &format!("/admin/mock-phone/online?phone={NUMBER}"), "").await;
    let (status, _) = admin(
        addr,
        "POST",
        &format!("/admin/mock-phone/expire-code?phone={NUMBER}"),
        "",
    )
    .await;
    assert_eq!(status, 200);
    refused(addr, NUMBER, CODE, "expired").await;
    drop(showing);
    until(addr, |seen| seen["pairing"] == json!(0)).await;
    refused(addr, NUMBER, CODE, "no open client").await;
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_phone_meets_the_newest_code_of_its_number_only() {
    let (simulator, addr) = simulator().await;
    let mut older = show(addr, NUMBER).await;
    let typed = enter(addr, NUMBER, CODE);
    older.client.next_tagged("notification").await;
    let mut newer = show(addr, NUMBER).await;
    let (status, told) = typed.await.unwrap();
    assert!(
        status == 409 && told["error"].as_str().unwrap().contains("another client"),
        "{told}"
    );
    let typed = enter(addr, NUMBER, CODE);
    newer.finish(NUMBER).await;
    let again = Hello::new(NUMBER, &newer.keys, &newer.ephemeral);
    let granted = Granted::arrived(newer.client, typed).await;
    assert_eq!(granted.answer(&newer.keys, false).await.1.0, 200);
    // A second hello on the same socket makes a new reference.
    let first = older.reference.clone();
    older.reference = reference(
        &Hello {
            auth_key: public(&older.keys.noise),
            ..again
        }
        .ask(&mut older.client)
        .await,
    );
    assert_ne!(older.reference, first);
    simulator.shutdown().await;
}

#[tokio::test]
async fn the_picture_and_the_code_live_on_one_socket_and_the_first_wins() {
    let (simulator, addr) = simulator().await;
    let (keys, ephemeral) = (Keys::fresh(), fresh_pair());
    let mut client = Client::xx(addr, &keys.noise, &keys.registration()).await;
    let qr = qr(&client.next().await, &keys);
    Hello::new(NUMBER, &keys, &ephemeral).ask(&mut client).await;
    let path = format!("/admin/mock-phone/scan-qr?phone={OTHER}");
    let scan = tokio::spawn(async move { admin(addr, "POST", &path, &qr).await });
    let granted = Granted::arrived(client, scan).await;
    refused(addr, NUMBER, CODE, "linked already").await;
    let (_, (status, linked)) = granted.answer(&keys, false).await;
    assert_eq!((status, &linked["phone"]), (200, &json!(OTHER)));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_hello_that_is_not_whole_or_comes_too_often_is_refused() {
    let (simulator, addr) = simulator().await;
    let (keys, ephemeral) = (Keys::fresh(), fresh_pair());
    let mut client = Client::xx(addr, &keys.noise, &keys.registration()).await;
    let good = || Hello::new(NUMBER, &keys, &ephemeral);
    let bad_request = ("400".to_owned(), "bad-request".to_owned());
    for bad in [
        Hello {
            number: "0551199999",
            ..good()
        },
        Hello {
            number: "12345",
            ..good()
        },
        Hello {
            display: "Chrome (WhatIsUp)",
            ..good()
        },
        Hello {
            auth_key: vec![7; 32],
            ..good()
        },
        Hello {
            wrapped: vec![7; 79],
            ..good()
        },
    ] {
        assert_eq!(refusal(&bad.ask(&mut client).await), bad_request);
    }
    for code in ["400", "403", "429", "452", "500"] {
        let fault = json!({"kind": "pair-code", "code": code.parse::<u16>().unwrap(), "phone": NUMBER});
        admin(addr, "POST", "/admin/fault", &fault.to_string()).await;
        assert_eq!(refusal(&good().ask(&mut client).await).0, code);
    }
    for _ in 0..5 {
        assert_eq!(text(&good().ask(&mut client).await, "type"), "result");
    }
    assert_eq!(
        refusal(&good().ask(&mut client).await),
        ("429".to_owned(), "rate-overlimit".to_owned())
    );
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_finish_that_does_not_belong_to_the_hello_is_refused() {
    let (simulator, addr) = simulator().await;
    let mut showing = show(addr, NUMBER).await;
    let early = PairCodeUtils::build_companion_finish_iq(
        NUMBER,
        vec![0; 156],
        &public(&showing.keys.identity).try_into().unwrap(),
        &showing.reference,
        String::new(),
    );
    let inner = early.children().unwrap().to_vec();
    assert_eq!(refusal(&showing.client.ask("md", "set", inner).await).0, "400");
    let typed = enter(addr, NUMBER, CODE);
    let right = std::mem::replace(&mut showing.reference, b"3@other".to_vec());
    let notification = showing.client.next_tagged("notification").await;
    assert!(notification.get_optional_child("link_code_companion_reg").is_some());
    let foreign = PairCodeUtils::build_companion_finish_iq(
        NUMBER,
        vec![0; 156],
        &public(&showing.keys.identity).try_into().unwrap(),
        b"3@other",
        String::new(),
    );
    let inner = foreign.children().unwrap().to_vec();
    assert_eq!(refusal(&showing.client.ask("md", "set", inner).await).0, "400");
    let stranger = PairCodeUtils::build_companion_finish_iq(
        NUMBER,
        vec![0; 156],
        &public(&fresh_pair()).try_into().unwrap(),
        &right,
        String::new(),
    );
    let inner = stranger.children().unwrap().to_vec();
    assert_eq!(refusal(&showing.client.ask("md", "set", inner).await).0, "400");
    typed.abort();
    assert_eq!(stats(addr).await["links"], json!(0));
    simulator.shutdown().await;
}

#[tokio::test]
async fn the_server_can_ask_for_a_new_code() {
    let (simulator, addr) = simulator().await;
    for (query, manual) in [("", ""), ("&manual=true", "true")] {
        let mut showing = show(addr, NUMBER).await;
        let path = format!("/admin/mock-phone/refresh-code?phone={NUMBER}{query}");
        assert_eq!(admin(addr, "POST", &path, "").await.0, 200);
        let notification = showing.client.next_tagged("notification").await;
        let refresh = notification.get_optional_child("link_code_companion_reg").unwrap();
        assert_eq!(text(refresh, "stage"), "refresh_code");
        assert_eq!(text(refresh, "force_manual_refresh"), manual);
        assert_eq!(
            content(refresh.get_optional_child("link_code_pairing_ref").unwrap()),
            showing.reference
        );
        refused(addr, NUMBER, CODE, "no open client").await;
    }
    simulator.shutdown().await;
}
