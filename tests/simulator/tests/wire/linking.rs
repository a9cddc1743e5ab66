//! Certificates, handshakes, links and logins: what is right is accepted, what is wrong refused for the right reason.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;
use whatsapp_rust::buffa::Message as _;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::cert_chain::noise_certificate::Details;

use crate::client::{
    Client, Keys, activate, admin, content, fresh_pair, link, log_in, public, register, stats, text, until,
};
use crate::xeddsa::verifies;
use crate::{NUMBER, OTHER, simulator};

/// Which links of the chain hold: root over intermediate, intermediate over leaf.
fn chain_holds(root: &[u8], chain: &[u8], server_static: &[u8]) -> (bool, bool) {
    let chain = wa::CertChain::decode_from_slice(chain).unwrap();
    let (intermediate, leaf) = (
        chain.intermediate.into_option().unwrap(),
        chain.leaf.into_option().unwrap(),
    );
    let (intermediate_bytes, leaf_bytes) = (intermediate.details.unwrap(), leaf.details.unwrap());
    let details = Details::decode_from_slice(&intermediate_bytes).unwrap();
    let leaf_details = Details::decode_from_slice(&leaf_bytes).unwrap();
    assert_eq!(details.issuer_serial, Some(0));
    assert_eq!(leaf_details.issuer_serial, details.serial);
    assert_eq!(leaf_details.key.as_deref(), Some(server_static));
    assert!(leaf_details.not_before < leaf_details.not_after && details.not_before < details.not_after);
    let intermediate_key = details.key.unwrap();
    (
        verifies(root, &intermediate_bytes, &intermediate.signature.unwrap()),
        verifies(&intermediate_key, &leaf_bytes, &leaf.signature.unwrap()),
    )
}

#[tokio::test]
async fn the_certificate_chain_verifies_with_foreign_code_and_a_forged_one_does_not() {
    let (simulator, addr) = simulator().await;
    let (_, answer) = admin(addr, "GET", "/admin/root-key", "").await;
    let root = hex::decode(answer["publicKeyHex"].as_str().unwrap()).unwrap();
    for (fault, holds) in [
        (None, (true, true)),
        (Some("cert-intermediate"), (false, true)),
        (Some("cert-leaf"), (true, false)),
    ] {
        if let Some(kind) = fault {
            admin(addr, "POST", "/admin/fault", &json!({"kind": kind}).to_string()).await;
        }
        let client = Client::xx(addr, &fresh_pair(), &Keys::fresh().registration()).await;
        assert_eq!(
            chain_holds(&root, &client.chain, &client.server_static),
            holds,
            "{fault:?}"
        );
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_grant_is_signed_by_the_account_and_sealed_with_the_secret_of_the_code() {
    let (simulator, addr) = simulator().await;
    for (fault, good) in [
        (None, (true, true)),
        (Some("hmac"), (false, true)),
        (Some("account-signature"), (true, false)),
    ] {
        if let Some(kind) = fault {
            admin(
                addr,
                "POST",
                "/admin/fault",
                &json!({"kind": kind, "phone": NUMBER}).to_string(),
            )
            .await;
        }
        let keys = Keys::fresh();
        let granted = register(addr, &keys, NUMBER).await;
        let mut mac = Hmac::<Sha256>::new_from_slice(&keys.secret).unwrap();
        mac.update(granted.container.details.as_deref().unwrap());
        let sealed = mac.verify_slice(granted.container.hmac.as_deref().unwrap()).is_ok();
        let details = granted.signed.details.as_deref().unwrap();
        let signed = verifies(
            granted.signed.account_signature_key.as_deref().unwrap(),
            &[&[6, 0], details, &public(&keys.identity)].concat(),
            granted.signed.account_signature.as_deref().unwrap(),
        );
        assert_eq!((sealed, signed), good, "{fault:?}");
        let index = wa::ADVDeviceIdentity::decode_from_slice(details).unwrap().key_index;
        assert!(index.is_some_and(|index| index > 0));
        granted.scan.abort();
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_wrong_device_signature_is_not_linked() {
    let (simulator, addr) = simulator().await;
    let keys = Keys::fresh();
    let (last, (status, answer)) = register(addr, &keys, NUMBER).await.answer(&keys, true).await;
    assert_eq!(
        (last.tag.as_ref(), text(&last, "code").as_str()),
        ("stream:error", "401")
    );
    assert_eq!(status, 409);
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .contains("device's signature is wrong"),
        "{answer}"
    );
    let seen = stats(addr).await;
    assert_eq!((&seen["links"], &seen["linksRefused"]), (&json!(0), &json!(1)));
    let (_, refusal) = log_in(addr, &keys, NUMBER).await;
    assert_eq!(
        (refusal.tag.as_ref(), text(&refusal, "reason").as_str()),
        ("failure", "401")
    );
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_client_that_refuses_the_grant_is_named_as_the_reason() {
    let (simulator, addr) = simulator().await;
    let mut granted = register(addr, &Keys::fresh(), NUMBER).await;
    let error = NodeBuilder::new("error")
        .attr("code", "401")
        .attr("text", "hmac-mismatch")
        .build();
    let iq = NodeBuilder::new("iq")
        .attr("type", "error")
        .attr("id", granted.iq.as_str())
        .children([error])
        .build();
    granted.client.send(&iq).await;
    let (status, answer) = granted.scan.await.unwrap();
    assert_eq!(status, 409);
    assert!(answer["error"].as_str().unwrap().contains("hmac-mismatch"), "{answer}");
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_linked_device_logs_in_with_its_own_key_only() {
    let (simulator, addr) = simulator().await;
    let keys = link(addr, NUMBER).await;
    let (_client, success) = log_in(addr, &keys, NUMBER).await;
    assert_eq!(success.tag, "success");
    assert!(text(&success, "lid").ends_with(":1@lid"));
    for (noise, number, device) in [
        (&fresh_pair(), NUMBER, 1),
        (&keys.noise, NUMBER, 2),
        (&keys.noise, NUMBER, 0),
        (&keys.noise, OTHER, 1),
    ] {
        let mut client = Client::xx(addr, noise, &Keys::login(number, device)).await;
        let refusal = client.next().await;
        assert_eq!(
            (refusal.tag.as_ref(), text(&refusal, "reason").as_str()),
            ("failure", "401"),
            "{number}:{device}"
        );
        assert!(client.recv().await.is_none());
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_returning_client_may_use_ik_and_falls_back_when_it_remembers_a_wrong_key() {
    let (simulator, addr) = simulator().await;
    let keys = link(addr, NUMBER).await;
    let (known, _) = log_in(addr, &keys, NUMBER).await;
    let mut client = Client::ik(addr, &keys.noise, &known.server_static, &Keys::login(NUMBER, 1)).await;
    assert_eq!(client.next().await.tag, "success");
    let mut client = Client::ik(addr, &keys.noise, &public(&fresh_pair()), &Keys::login(NUMBER, 1)).await;
    assert_eq!(client.next().await.tag, "success");
    assert_eq!(client.server_static, known.server_static);
    let handshakes = &stats(addr).await["handshakes"];
    assert_eq!(handshakes, &json!({"xx": 2, "ik": 1, "xxFallback": 1, "failed": 0}));
    simulator.shutdown().await;
}

#[tokio::test]
async fn renewed_certificates_hold_under_the_same_root_and_old_knowledge_falls_back() {
    let (simulator, addr) = simulator().await;
    let keys = link(addr, NUMBER).await;
    let (before, _) = log_in(addr, &keys, NUMBER).await;
    assert_eq!(admin(addr, "POST", "/admin/renew-certificates", "").await.0, 200);
    let mut client = Client::ik(addr, &keys.noise, &before.server_static, &Keys::login(NUMBER, 1)).await;
    assert_eq!(client.next().await.tag, "success");
    assert_ne!(client.server_static, before.server_static);
    let (_, answer) = admin(addr, "GET", "/admin/root-key", "").await;
    let root = hex::decode(answer["publicKeyHex"].as_str().unwrap()).unwrap();
    assert_eq!(chain_holds(&root, &client.chain, &client.server_static), (true, true));
    assert_eq!(stats(addr).await["handshakes"]["xxFallback"], json!(1));
    let mut client = Client::ik(addr, &keys.noise, &client.server_static, &Keys::login(NUMBER, 1)).await;
    assert_eq!(client.next().await.tag, "success");
    assert_eq!(stats(addr).await["handshakes"]["ik"], json!(1));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_second_login_replaces_the_first() {
    let (simulator, addr) = simulator().await;
    let keys = link(addr, NUMBER).await;
    let (mut first, _) = log_in(addr, &keys, NUMBER).await;
    let (mut second, _) = log_in(addr, &keys, NUMBER).await;
    let end = first.next().await;
    assert_eq!(end.tag, "stream:error");
    assert_eq!(text(end.get_optional_child("conflict").unwrap(), "type"), "replaced");
    assert!(first.recv().await.is_none());
    assert_eq!(text(&second.ask("w:p", "get", vec![]).await, "type"), "result");
    simulator.shutdown().await;
}

#[tokio::test]
async fn an_unlinked_device_is_told_and_never_let_in_again() {
    let (simulator, addr) = simulator().await;
    let keys = link(addr, NUMBER).await;
    let (mut client, _) = log_in(addr, &keys, NUMBER).await;
    let (status, _) = admin(
        addr,
        "POST",
        &format!("/admin/mock-phone/unlink?phone={NUMBER}&device=1"),
        "",
    )
    .await;
    assert_eq!(status, 200);
    let end = client.next().await;
    assert_eq!((end.tag.as_ref(), text(&end, "code").as_str()), ("stream:error", "401"));
    assert_eq!(
        text(end.get_optional_child("conflict").unwrap(), "type"),
        "device_removed"
    );
    assert_eq!(text(&log_in(addr, &keys, NUMBER).await.1, "reason"), "401");
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_device_can_log_itself_out_but_no_other() {
    let (simulator, addr) = simulator().await;
    let keys = link(addr, NUMBER).await;
    link(addr, OTHER).await;
    let (mut client, _) = log_in(addr, &keys, NUMBER).await;
    let remove = |jid: String| {
        let remove = NodeBuilder::new("remove-companion-device")
            .attr("jid", jid)
            .attr("reason", "user_initiated");
        vec![remove.build()]
    };
    let refused = client
        .ask("md", "set", remove(format!("{OTHER}:1@s.whatsapp.net")))
        .await;
    assert_eq!(text(&refused, "type"), "error");
    let done = client
        .ask("md", "set", remove(format!("{NUMBER}:1@s.whatsapp.net")))
        .await;
    assert_eq!(text(&done, "type"), "result");
    assert_eq!(client.next().await.tag, "stream:error");
    let seen = until(addr, |seen| seen["loggedIn"] == json!([])).await;
    assert_eq!(seen["phones"][0]["companions"], json!([]));
    assert_eq!(seen["phones"][1]["companions"].as_array().unwrap().len(), 1);
    simulator.shutdown().await;
}

#[tokio::test]
async fn logins_fail_with_the_reason_asked_for() {
    let (simulator, addr) = simulator().await;
    let keys = link(addr, NUMBER).await;
    for (fault, reason, expire) in [
        (json!({"kind": "failure", "reason": 405}), "405", ""),
        (
            json!({"kind": "failure", "reason": 402, "expire": 77, "phone": NUMBER}),
            "402",
            "77",
        ),
    ] {
        admin(addr, "POST", "/admin/fault", &fault.to_string()).await;
        let (_, failure) = log_in(addr, &keys, NUMBER).await;
        assert_eq!(
            (text(&failure, "reason").as_str(), text(&failure, "expire").as_str()),
            (reason, expire)
        );
    }
    let (mut client, success) = log_in(addr, &keys, NUMBER).await;
    assert_eq!(success.tag, "success");
    admin(
        addr,
        "POST",
        "/admin/fault",
        &json!({"kind": "stream-error", "code": 503}).to_string(),
    )
    .await;
    assert_eq!(text(&client.next().await, "code"), "503");
    let (mut client, _) = log_in(addr, &keys, NUMBER).await;
    admin(
        addr,
        "POST",
        "/admin/fault",
        &json!({"kind": "drop-socket", "phone": NUMBER}).to_string(),
    )
    .await;
    assert!(client.recv().await.is_none());
    simulator.shutdown().await;
}

#[tokio::test]
async fn only_a_rightly_signed_prekey_is_taken() {
    let (simulator, addr) = simulator().await;
    let keys = link(addr, NUMBER).await;
    let (mut client, _) = log_in(addr, &keys, NUMBER).await;
    let digest = || vec![NodeBuilder::new("digest").build()];
    assert_eq!(text(&client.ask("encrypt", "get", digest()).await, "type"), "error");
    assert_eq!(
        text(&client.ask("encrypt", "set", keys.upload(3, true)).await, "type"),
        "error"
    );
    assert_eq!(
        text(
            &client.ask("encrypt", "set", Keys::fresh().upload(3, false)).await,
            "type"
        ),
        "error"
    );
    assert_eq!(
        text(&client.ask("encrypt", "set", keys.upload(3, false)).await, "type"),
        "result"
    );
    let count = client
        .ask("encrypt", "get", vec![NodeBuilder::new("count").build()])
        .await;
    // The phone took one of the three for its greeting.
    assert_eq!(text(count.get_optional_child("count").unwrap(), "value"), "2");
    let answer = client.ask("encrypt", "get", digest()).await;
    let digest = answer.get_optional_child("digest").unwrap();
    assert_eq!(content(digest.get_optional_child("hash").unwrap()).len(), 20);
    assert_eq!(digest.get_optional_child("list").unwrap().children().unwrap().len(), 2);
    simulator.shutdown().await;
}

#[tokio::test]
async fn each_one_time_prekey_of_a_phone_is_given_once_and_its_signed_one_is_signed() {
    let (simulator, addr) = simulator().await;
    let keys = link(addr, NUMBER).await;
    admin(addr, "GET", &format!("/admin/mock-phone/inbox?phone={OTHER}"), "").await;
    let (mut client, _) = log_in(addr, &keys, NUMBER).await;
    let mut ids = std::collections::HashSet::new();
    for round in 0..50 {
        if round == 49 {
            admin(
                addr,
                "POST",
                "/admin/fault",
                &json!({"kind": "skey", "phone": OTHER}).to_string(),
            )
            .await;
        }
        let user = NodeBuilder::new("user")
            .attr("jid", format!("{OTHER}@s.whatsapp.net"))
            .build();
        let answer = client
            .ask("encrypt", "get", vec![NodeBuilder::new("key").children([user]).build()])
            .await;
        let user = answer
            .get_optional_child("list")
            .unwrap()
            .get_optional_child("user")
            .unwrap();
        let key = user.get_optional_child("key").unwrap();
        assert!(
            ids.insert(content(key.get_optional_child("id").unwrap())),
            "given twice"
        );
        let signed = user.get_optional_child("skey").unwrap();
        let right = verifies(
            &content(user.get_optional_child("identity").unwrap()),
            &[&[5], &content(signed.get_optional_child("value").unwrap())[..]].concat(),
            &content(signed.get_optional_child("signature").unwrap()),
        );
        assert_eq!(right, round != 49);
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn unknown_numbers_are_out_and_unknown_questions_counted() {
    let (simulator, addr) = simulator().await;
    let keys = link(addr, NUMBER).await;
    let (mut client, _) = log_in(addr, &keys, NUMBER).await;
    let asked = |number: &str| {
        let contact = NodeBuilder::new("contact")
            .bytes(format!("+{number}").into_bytes())
            .build();
        NodeBuilder::new("user").children([contact]).build()
    };
    let query = ["contact", "lid", "devices"].map(|name| NodeBuilder::new(name).build());
    let usync = NodeBuilder::new("usync").attr("sid", "1").children([
        NodeBuilder::new("query").children(query).build(),
        NodeBuilder::new("list")
            .children([asked(NUMBER), asked("4930000000")])
            .build(),
    ]);
    let answer = client.ask("usync", "get", vec![usync.build()]).await;
    let users = answer
        .get_optional_child("usync")
        .unwrap()
        .get_optional_child("list")
        .unwrap();
    let users: Vec<_> = users.get_children_by_tag("user").collect();
    let kind = |index: usize| text(users[index].get_optional_child("contact").unwrap(), "type");
    assert_eq!((kind(0), kind(1)), ("in".to_owned(), "out".to_owned()));
    assert!(users[0].get_optional_child("lid").is_some() && users[1].get_optional_child("lid").is_none());
    let devices = users[0].get_optional_child("devices").unwrap();
    assert!(devices.get_optional_child("key-index-list").is_some());
    assert_eq!(
        devices
            .get_optional_child("device-list")
            .unwrap()
            .children()
            .unwrap()
            .len(),
        2
    );
    let unknown = client
        .ask("w:unheard-of", "get", vec![NodeBuilder::new("thing").build()])
        .await;
    assert_eq!(text(&unknown, "type"), "error");
    assert_eq!(stats(addr).await["unknownIqs"], json!({"w:unheard-of thing": 1}));
    activate(&mut client).await;
    simulator.shutdown().await;
}
