//! App state: what a companion gets of what its phone and other companions have set, and what it may set itself.

use std::net::SocketAddr;

use serde_json::{Value, json};
use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_simulator::{Options, Simulator};

use crate::client::{Client, admin, content, link, log_in, text};
use crate::queues::settled;
use crate::{NUMBER, OTHER, simulator};

/// Asks about one collection, handing in a patch if there is one.
async fn sync(client: &mut Client, name: &str, version: Option<&str>, patch: Option<&[u8]>) -> Node {
    let mut asked = NodeBuilder::new("collection").attr("name", name);
    if let Some(version) = version {
        asked = asked.attr("version", version);
    }
    if let Some(patch) = patch {
        asked = asked.children([NodeBuilder::new("patch").bytes(patch.to_vec()).build()]);
    }
    let question = NodeBuilder::new("sync").children([asked.build()]).build();
    let answer = client.ask("w:sync:app:state", "set", vec![question]).await;
    let collection = answer.get_optional_child_by_tag(&["sync", "collection"]).unwrap();
    assert_eq!(text(collection, "name"), name);
    collection.clone()
}

fn patches(collection: &Node) -> Vec<Vec<u8>> {
    let patches = collection.get_optional_child("patches").and_then(Node::children);
    patches.into_iter().flatten().map(content).collect()
}

fn error(collection: &Node) -> (String, String) {
    let error = collection.get_optional_child("error").expect("no error");
    assert_eq!(text(collection, "type"), "error");
    (text(error, "code"), text(error, "text"))
}

/// A patch that has the form of one; only somebody with the key can tell that it is none.
fn formal_patch(index: u8) -> Vec<u8> {
    let record = wa::SyncdRecord {
        index: MessageField::some(wa::SyncdIndex {
            blob: Some(vec![index; 32]),
        }),
        value: MessageField::some(wa::SyncdValue {
            blob: Some(vec![index; 96]),
        }),
        key_id: MessageField::some(wa::KeyId { id: Some(vec![1]) }),
    };
    wa::SyncdPatch {
        mutations: vec![wa::SyncdMutation {
            record: MessageField::some(record),
            ..Default::default()
        }],
        snapshot_mac: Some(vec![2; 32]),
        patch_mac: Some(vec![3; 32]),
        key_id: MessageField::some(wa::KeyId { id: Some(vec![1]) }),
        ..Default::default()
    }
    .encode_to_vec()
}

async fn state(addr: SocketAddr) -> Value {
    let path = format!("/admin/mock-phone/app-state?phone={NUMBER}");
    let (status, state) = admin(addr, "GET", &path, "").await;
    assert_eq!(status, 200, "{state}");
    state
}

async fn post(addr: SocketAddr, path: &str, body: &Value) -> (u16, Value) {
    admin(addr, "POST", &format!("/admin/mock-phone/{path}"), &body.to_string()).await
}

/// The next news that a collection has changed.
async fn server_sync(client: &mut Client) -> (String, String) {
    let notification = client.next_tagged("notification").await;
    assert_eq!(text(&notification, "type"), "server_sync");
    let collection = notification.get_optional_child("collection").unwrap();
    (text(collection, "name"), text(collection, "version"))
}

#[tokio::test]
async fn the_phones_name_comes_once_and_with_the_same_bytes_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(folder.path().to_owned()),
        ..Options::default()
    };
    let first = Simulator::start(options.clone()).await.unwrap();
    let (keys, mut client) = settled(first.addr()).await;
    let got = sync(&mut client, "critical_block", None, None).await;
    assert_eq!((text(&got, "version").as_str(), patches(&got).len()), ("1", 1));
    let nothing = sync(&mut client, "critical_block", Some("1"), None).await;
    assert_eq!((text(&nothing, "version").as_str(), patches(&nothing).len()), ("1", 0));
    let empty = sync(&mut client, "regular", None, None).await;
    assert_eq!((text(&empty, "version").as_str(), patches(&empty).len()), ("0", 0));
    drop(client);
    first.shutdown().await;

    let second = Simulator::start(options).await.unwrap();
    let (mut client, _) = log_in(second.addr(), &keys, NUMBER).await;
    let again = sync(&mut client, "critical_block", Some("0"), None).await;
    assert_eq!(patches(&again), patches(&got));
    assert_eq!(state(second.addr()).await["pushName"], "Phone 0001");
    second.shutdown().await;
}

#[tokio::test]
async fn a_companion_without_the_key_gets_nothing_and_is_told_when_it_has_the_key() {
    let (simulator, addr) = simulator().await;
    let keys = link(addr, NUMBER).await;
    admin(addr, "POST", &format!("/admin/mock-phone/offline?phone={NUMBER}"), "").await;
    let (mut client, _) = log_in(addr, &keys, NUMBER).await;
    client.ask("encrypt", "set", keys.upload(50, false)).await;
    crate::client::activate(&mut client).await;
    let nothing = sync(&mut client, "critical_block", None, None).await;
    assert_eq!((text(&nothing, "version").as_str(), patches(&nothing).len()), ("0", 0));
    admin(addr, "POST", &format!("/admin/mock-phone/online?phone={NUMBER}"), "").await;
    assert_eq!(
        server_sync(&mut client).await,
        ("critical_block".to_owned(), "1".to_owned())
    );
    let got = sync(&mut client, "critical_block", None, None).await;
    assert_eq!(patches(&got).len(), 1);
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_patch_is_numbered_kept_and_refused_on_an_old_version_together_with_what_was_missed() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    let accepted = sync(&mut client, "regular", Some("0"), Some(&formal_patch(1))).await;
    assert_eq!(text(&accepted, "version"), "1");
    let conflict = sync(&mut client, "regular", Some("0"), Some(&formal_patch(2))).await;
    assert_eq!(error(&conflict), ("409".to_owned(), "conflict".to_owned()));
    let missed = patches(&conflict);
    assert_eq!(missed.len(), 1);
    let missed = wa::SyncdPatch::decode_from_slice(&missed[0]).unwrap();
    assert_eq!(missed.version.version, Some(1));
    assert_eq!(missed.mutations[0].record.index.blob, Some(vec![1; 32]));
    let accepted = sync(&mut client, "regular", Some("1"), Some(&formal_patch(2))).await;
    assert_eq!(text(&accepted, "version"), "2");
    // The server believed them, for it has no key; the phone does not.
    let told = state(addr).await;
    assert_eq!(told["collections"]["regular"], json!({"version": 2, "entries": 0}));
    let errors = told["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 2, "{told}");
    assert_eq!(
        errors[0],
        json!({
            "collection": "regular",
            "version": 1,
            "error": "it names the key 01, which this phone has never shared",
        })
    );
    simulator.shutdown().await;
}

#[tokio::test]
async fn what_is_no_patch_and_no_collection_is_refused_with_its_own_code() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    let code = |collection: Node| error(&collection).0;
    assert_eq!(code(sync(&mut client, "irregular", None, None).await), "404");
    assert_eq!(
        code(sync(&mut client, "regular", Some("0"), Some(b"patch")).await),
        "400"
    );
    assert_eq!(code(sync(&mut client, "regular", Some("minus one"), None).await), "400");
    assert_eq!(code(sync(&mut client, "regular", Some("7"), None).await), "400");
    assert_eq!(
        code(sync(&mut client, "regular", Some("7"), Some(&formal_patch(1))).await),
        "400"
    );
    let bare = client.ask("w:sync:app:state", "set", Vec::new()).await;
    assert_eq!(text(&bare, "type"), "error");
    simulator.shutdown().await;
}

#[tokio::test]
async fn what_the_owner_sets_on_the_phone_is_shown_and_told_to_companions() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    let body =
        json!({"phone": NUMBER, "chat": OTHER, "pinned": true, "archived": false, "muted_until": -1, "unread": true});
    let (status, answer) = post(addr, "chat", &body).await;
    assert_eq!(
        (status, &answer["chat"]),
        (200, &json!(format!("{OTHER}@s.whatsapp.net")))
    );
    assert_eq!(
        server_sync(&mut client).await,
        ("regular_low".to_owned(), "1".to_owned())
    );
    assert_eq!(
        server_sync(&mut client).await,
        ("regular_high".to_owned(), "1".to_owned())
    );
    post(
        addr,
        "contact",
        &json!({"phone": NUMBER, "contact": OTHER, "name": "Ana Maria"}),
    )
    .await;
    let path = format!("/admin/mock-phone/name?phone={NUMBER}&name=Anybody");
    assert_eq!(admin(addr, "POST", &path, "").await.0, 200);
    let told = state(addr).await;
    assert_eq!(
        told["chats"],
        json!([{
            "jid": format!("{OTHER}@s.whatsapp.net"),
            "pinned": true, "archived": false, "mutedUntil": -1, "unread": true,
        }])
    );
    assert_eq!(
        told["contacts"],
        json!([{"jid": format!("{OTHER}@s.whatsapp.net"), "name": "Ana Maria", "firstName": "Ana"}])
    );
    assert_eq!((&told["pushName"], &told["errors"]), (&json!("Anybody"), &json!([])));
    let got = sync(&mut client, "critical_block", Some("1"), None).await;
    assert_eq!((text(&got, "version").as_str(), patches(&got).len()), ("2", 1));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_wrong_wish_is_refused_with_what_to_do() {
    let (simulator, addr) = simulator().await;
    for (path, body, reason) in [
        ("chat", json!({"phone": NUMBER, "chat": OTHER}), "nothing to set"),
        (
            "chat",
            json!({"phone": NUMBER, "chat": "somebody", "pinned": true}),
            "phone number",
        ),
        (
            "chat",
            json!({"phone": NUMBER, "chat": "1@nowhere", "pinned": true}),
            "JID",
        ),
        (
            "chat",
            json!({"phone": NUMBER, "chat": OTHER, "read": true, "unread": true}),
            "not both",
        ),
        (
            "chat",
            json!({"phone": NUMBER, "chat": OTHER, "muted_until": -2}),
            "milliseconds",
        ),
        ("chat", json!({"phone": NUMBER, "chat": OTHER, "pined": true}), "pined"),
        (
            "contact",
            json!({"phone": NUMBER, "contact": OTHER, "name": " "}),
            "`name`",
        ),
    ] {
        let (status, refusal) = post(addr, path, &body).await;
        assert_eq!(status, 400, "{body}");
        let told = refusal["error"].as_str().unwrap();
        assert!(told.contains(reason), "{body}: {told}");
    }
    admin(addr, "POST", &format!("/admin/mock-phone/offline?phone={NUMBER}"), "").await;
    let wish = json!({"phone": NUMBER, "chat": OTHER, "pinned": true});
    assert_eq!(post(addr, "chat", &wish).await.0, 409);
    simulator.shutdown().await;
}

#[tokio::test]
async fn many_patches_come_as_a_snapshot_and_the_patches_after_it() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    for version in 0..65 {
        let version = version.to_string();
        let accepted = sync(&mut client, "regular_high", Some(&version), Some(&formal_patch(1))).await;
        assert_eq!(accepted.get_optional_child("error"), None, "{accepted:?}");
    }
    for (version, rest) in [(None, 5), (Some("0"), 5), (Some("1"), 5)] {
        let got = sync(&mut client, "regular_high", version, None).await;
        assert_eq!((text(&got, "version").as_str(), patches(&got).len()), ("65", rest));
        let snapshot = content(got.get_optional_child("snapshot").expect("no snapshot"));
        let reference = wa::ExternalBlobReference::decode_from_slice(&snapshot).unwrap();
        assert!(reference.direct_path.unwrap().starts_with("/v/t62.7119-24/"));
        assert_eq!(
            (
                reference.media_key.unwrap().len(),
                reference.file_enc_sha256.unwrap().len()
            ),
            (32, 32)
        );
    }
    // Who is only a little late gets patches alone.
    let little = sync(&mut client, "regular_high", Some("45"), None).await;
    assert_eq!(little.get_optional_child("snapshot"), None);
    assert_eq!(patches(&little).len(), 20);
    simulator.shutdown().await;
}

#[tokio::test]
async fn removing_a_companion_changes_the_key() {
    let (simulator, addr) = simulator().await;
    let (_, _client) = settled(addr).await;
    let before = state(addr).await["keys"].clone();
    let path = format!("/admin/mock-phone/unlink?phone={NUMBER}&device=1");
    assert_eq!(admin(addr, "POST", &path, "").await.0, 200);
    let after = state(addr).await["keys"].clone();
    assert_eq!(
        (before.as_array().unwrap().len(), after.as_array().unwrap().len()),
        (1, 2)
    );
    assert_eq!(before[0], after[0]);
    simulator.shutdown().await;
}
