//! What messages say: every kind a phone can send, and what the other phone makes of it.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_simulator::{Options, Simulator};

use crate::client::{Client, activate, admin, link_another, log_in_as, text};
use crate::queues::settled;
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

/// A message from one phone to the other in the given form of address.
async fn write(addr: SocketAddr, (from, to): (&str, &str), lid: bool, mut body: Value) -> String {
    for (name, value) in [("from", json!(from)), ("to", json!(to)), ("lid", json!(lid))] {
        body[name] = value;
    }
    send(addr, body).await
}

/// The last thing a phone shows; it must say at least what is expected.
async fn last(addr: SocketAddr, number: &str, expected: Value) -> Value {
    let entry = inbox(addr, number).await.pop().expect("the inbox is empty");
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&entry[name], value, "{name} of {entry}");
    }
    entry
}

async fn find(addr: SocketAddr, number: &str, id: &str) -> Value {
    let inbox = inbox(addr, number).await;
    inbox
        .into_iter()
        .find(|entry| entry["id"] == id)
        .expect("not in the inbox")
}

const THERE: (&str, &str) = (NUMBER, OTHER);
const BACK: (&str, &str) = (OTHER, NUMBER);

async fn every_kind_arrives(addr: SocketAddr, lid: bool) {
    let first = write(addr, THERE, lid, json!({"type": "text", "text": "first"})).await;
    last(
        addr,
        OTHER,
        json!({"id": first, "type": "text", "text": "first", "byLid": lid}),
    )
    .await;

    let reply = json!({"type": "text", "text": "@x yes", "reply_to": first, "mentions": [NUMBER, "5511900000099"]});
    let reply = write(addr, BACK, lid, reply).await;
    let expected = json!({
        "type": "text", "text": "@x yes", "replyTo": first,
        "mentions": [NUMBER, "5511900000099@s.whatsapp.net"],
    });
    last(addr, NUMBER, expected).await;

    // A reply to a reply, from who has it in the inbox; it disappears after a day.
    let gone = json!({"type": "text", "text": "gone", "reply_to": reply, "ephemeral_seconds": 86_400});
    write(addr, THERE, lid, gone).await;
    last(
        addr,
        OTHER,
        json!({"type": "text", "text": "gone", "replyTo": reply, "ephemeralSeconds": 86_400}),
    )
    .await;

    for emoji in ["👍", ""] {
        let reaction = json!({"type": "reaction", "message_id": first, "emoji": emoji});
        write(addr, BACK, lid, reaction).await;
        last(
            addr,
            NUMBER,
            json!({"type": "reaction", "reaction": {"to": first, "emoji": emoji}, "error": null}),
        )
        .await;
    }

    let poll = json!({"type": "poll", "question": "Which?", "options": ["a", "b", "c"], "selectable_count": 2});
    let poll = write(addr, THERE, lid, poll).await;
    let expected = json!({"question": "Which?", "options": ["a", "b", "c"], "selectableCount": 2});
    last(addr, OTHER, json!({"type": "poll", "poll": expected})).await;
    for options in [json!(["a", "c"]), json!([])] {
        write(
            addr,
            BACK,
            lid,
            json!({"type": "vote", "message_id": poll, "options": options}),
        )
        .await;
        last(
            addr,
            NUMBER,
            json!({"type": "vote", "vote": {"poll": poll, "options": options}, "error": null}),
        )
        .await;
    }
    // The asker votes too.
    write(
        addr,
        THERE,
        lid,
        json!({"type": "vote", "message_id": poll, "options": ["b"]}),
    )
    .await;
    last(
        addr,
        OTHER,
        json!({"type": "vote", "vote": {"poll": poll, "options": ["b"]}, "error": null}),
    )
    .await;

    let place = json!({"latitude": -23.5, "longitude": -46.6, "name": "Sé", "address": "São Paulo"});
    let mut body = place.clone();
    body["type"] = json!("location");
    write(addr, THERE, lid, body).await;
    last(addr, OTHER, json!({"type": "location", "location": place})).await;

    let ana = json!({"name": "Ana; Maria, \\", "phones": ["+55 11 99999-0001"]});
    let bia = json!({"name": "Bia", "phones": []});
    for contacts in [json!([ana]), json!([ana, bia])] {
        write(addr, THERE, lid, json!({"type": "contact", "contacts": contacts})).await;
        last(addr, OTHER, json!({"type": "contact", "contacts": contacts})).await;
    }

    for (sealed, words) in [(false, "second"), (true, "third")] {
        let edit = json!({"type": "edit", "message_id": first, "text": words, "sealed": sealed});
        write(addr, THERE, lid, edit).await;
        let edit = json!({"to": first, "text": words, "sealed": sealed});
        last(addr, OTHER, json!({"type": "edit", "edit": edit, "error": null})).await;
        let original = find(addr, OTHER, &first).await;
        assert_eq!((&original["text"], &original["edited"]), (&json!(words), &json!(true)));
    }

    write(addr, THERE, lid, json!({"type": "revoke", "message_id": first})).await;
    last(addr, OTHER, json!({"type": "revoke", "revokes": first, "error": null})).await;
    let original = find(addr, OTHER, &first).await;
    assert_eq!((&original["text"], &original["revoked"]), (&Value::Null, &json!(true)));
}

#[tokio::test]
async fn every_kind_arrives_by_number_and_by_lid_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(folder.path().to_owned()),
        ..Options::default()
    };
    let first = Simulator::start(options.clone()).await.unwrap();
    let addr = first.addr();
    for lid in [false, true] {
        every_kind_arrives(addr, lid).await;
    }
    let poll = json!({"type": "poll", "question": "Still?", "options": ["yes", "no"]});
    let poll = write(addr, THERE, false, poll).await;
    let before = inbox(addr, OTHER).await;
    first.shutdown().await;

    let second = Simulator::start(options).await.unwrap();
    let addr = second.addr();
    assert_eq!(inbox(addr, OTHER).await, before);
    // Secrets and options are still known, on both sides.
    write(
        addr,
        BACK,
        true,
        json!({"type": "vote", "message_id": poll, "options": ["yes"]}),
    )
    .await;
    last(
        addr,
        NUMBER,
        json!({"type": "vote", "vote": {"poll": poll, "options": ["yes"]}, "error": null}),
    )
    .await;
    second.shutdown().await;
}

#[tokio::test]
async fn an_honest_phone_does_not_send_what_it_may_not() {
    let (simulator, addr) = simulator().await;
    let theirs = write(addr, BACK, false, json!({"type": "text", "text": "mine"})).await;
    let poll = json!({"type": "poll", "question": "?", "options": ["a", "b"]});
    let poll = write(addr, BACK, false, poll).await;
    let refused = [
        (
            json!({"type": "edit", "message_id": theirs, "text": "x"}),
            "only the author",
        ),
        (json!({"type": "revoke", "message_id": theirs}), "only the author"),
        (
            json!({"type": "vote", "message_id": theirs, "options": []}),
            "is no poll",
        ),
        (
            json!({"type": "vote", "message_id": poll, "options": ["c"]}),
            "no option `c`",
        ),
        (
            json!({"type": "vote", "message_id": poll, "options": ["a", "b"]}),
            "allows 1",
        ),
    ];
    for (mut body, reason) in refused {
        (body["from"], body["to"]) = (json!(NUMBER), json!(OTHER));
        let (status, answer) = admin(addr, "POST", "/admin/mock-phone/send", &body.to_string()).await;
        let error = answer["error"].as_str().unwrap();
        assert!(status == 409 && error.contains(reason), "{body}: {status} {error}");
    }
    assert_eq!(inbox(addr, OTHER).await, Vec::<Value>::new());
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_phone_refuses_what_others_may_not_do_and_says_why() {
    let (simulator, addr) = simulator().await;
    let theirs = write(addr, BACK, false, json!({"type": "text", "text": "mine"})).await;
    let asked = json!({"type": "poll", "question": "?", "options": ["a", "b"]});
    let poll = write(addr, BACK, false, asked.clone()).await;
    let other_poll = write(addr, ("5511999990003", OTHER), false, asked).await;
    let forged = [
        (
            json!({"type": "edit", "message_id": theirs, "text": "x"}),
            "edit",
            "only the author",
        ),
        (
            json!({"type": "edit", "message_id": "NONE", "text": "x"}),
            "edit",
            "no message NONE",
        ),
        (
            json!({"type": "revoke", "message_id": theirs}),
            "revoke",
            "only the author",
        ),
        (
            json!({"type": "reaction", "message_id": "NONE", "emoji": "x"}),
            "reaction",
            "no message NONE",
        ),
        (
            json!({"type": "vote", "message_id": theirs, "options": []}),
            "vote",
            "is no poll",
        ),
        (
            json!({"type": "vote", "message_id": poll, "options": ["c"]}),
            "vote",
            "does not have",
        ),
        (
            json!({"type": "vote", "message_id": poll, "options": ["a", "b"]}),
            "vote",
            "allows 1",
        ),
        // Somebody else's chat with the same phone.
        (
            json!({"type": "vote", "message_id": other_poll, "options": ["a"]}),
            "vote",
            "no message",
        ),
    ];
    // The author of the poll's chat is the receiver here, so the messages go the way of the refusals above.
    for (mut body, kind, reason) in forged {
        body["forged"] = json!(true);
        write(addr, THERE, false, body).await;
        let entry = last(addr, OTHER, json!({"type": kind})).await;
        let error = entry["error"].as_str().unwrap();
        assert!(error.contains(reason), "{error}");
    }

    // A vote that is sealed with another secret than the poll's.
    let key = wa::MessageKey {
        remote_jid: Some(format!("{OTHER}@s.whatsapp.net")),
        id: Some(poll.clone()),
        ..Default::default()
    };
    let update = wa::message::PollUpdateMessage {
        poll_creation_message_key: MessageField::some(key),
        vote: MessageField::some(wa::message::PollEncValue {
            enc_payload: Some(vec![1; 50]),
            enc_iv: Some(vec![2; 12]),
        }),
        ..Default::default()
    };
    let vote = wa::Message {
        poll_update_message: MessageField::some(update),
        ..Default::default()
    };
    let raw = BASE64_STANDARD.encode(vote.encode_to_vec());
    write(addr, THERE, false, json!({"type": "raw", "message": raw})).await;
    let entry = last(
        addr,
        OTHER,
        json!({"type": "vote", "vote": {"poll": poll, "options": []}}),
    )
    .await;
    assert!(entry["error"].as_str().unwrap().contains("not sealed with"), "{entry}");

    // Nothing of all this has changed anything.
    let known = inbox(addr, NUMBER).await;
    assert_eq!((&known[0]["text"], &known[0]["edited"]), (&json!("mine"), &Value::Null));
    simulator.shutdown().await;
}

/// What stands outside on the message that a companion gets: type, edit, mediatype, decrypt-fail, polltype.
fn outside(message: &Node) -> [String; 5] {
    let enc = message.get_optional_child("enc").unwrap();
    let meta = message.get_optional_child("meta");
    [
        text(message, "type"),
        text(message, "edit"),
        text(enc, "mediatype"),
        text(enc, "decrypt-fail"),
        meta.map(|meta| text(meta, "polltype")).unwrap_or_default(),
    ]
}

/// Asks for a message again, as a client does that could not read it.
async fn ask_again(client: &mut Client, message: &Node) -> Node {
    let retry = NodeBuilder::new("retry")
        .attr("v", "1")
        .attr("id", text(message, "id"))
        .attr("count", "1");
    let mut receipt = NodeBuilder::new("receipt")
        .attr("id", text(message, "id"))
        .attr("to", text(message, "from"))
        .attr("type", "retry");
    if !text(message, "recipient").is_empty() {
        receipt = receipt.attr("recipient", text(message, "recipient"));
    }
    client.send(&receipt.children([retry.build()]).build()).await;
    client.next_tagged("message").await
}

#[tokio::test]
async fn first_send_copy_and_repetition_say_the_same_outside() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    let theirs = write(addr, BACK, false, json!({"type": "text", "text": "x"})).await;
    client.next_tagged("message").await;
    let own = write(addr, THERE, false, json!({"type": "text", "text": "x"})).await;
    client.next_tagged("message").await;
    let poll = json!({"type": "poll", "question": "?", "options": ["a", "b"]});
    let poll = write(addr, BACK, false, poll).await;
    let asked = client.next_tagged("message").await;
    assert_eq!(outside(&asked), ["poll", "", "", "", "creation"]);

    let same_both_ways = [
        (json!({"type": "text", "text": "x"}), ["text", "", "", "", ""]),
        (
            json!({"type": "reaction", "message_id": theirs, "emoji": "x"}),
            ["reaction", "", "", "hide", ""],
        ),
        (
            json!({"type": "reaction", "message_id": theirs, "emoji": ""}),
            ["reaction", "7", "", "hide", ""],
        ),
        (
            json!({"type": "vote", "message_id": poll, "options": ["a"]}),
            ["poll", "", "", "hide", "vote"],
        ),
        (
            json!({"type": "location", "latitude": 1, "longitude": 2}),
            ["media", "", "location", "", ""],
        ),
        (
            json!({"type": "contact", "contacts": [{"name": "A", "phones": ["1"]}]}),
            ["media", "", "vcard", "", ""],
        ),
    ];
    for (body, expected) in same_both_ways {
        for way in [BACK, THERE] {
            write(addr, way, false, body.clone()).await;
            let message = client.next_tagged("message").await;
            assert_eq!(outside(&message), expected, "{body}");
            assert_eq!(text(&message, "recipient").is_empty(), way == BACK, "{message:?}");
            let again = ask_again(&mut client, &message).await;
            assert_eq!(text(&again, "id"), text(&message, "id"));
            assert_eq!(outside(&again), expected, "{body} again");
        }
    }
    for (message_id, way) in [(theirs, BACK), (own, THERE)] {
        let edit = json!({"type": "edit", "message_id": message_id, "text": "y"});
        for body in [edit.clone(), {
            let mut sealed = edit;
            sealed["sealed"] = json!(true);
            sealed
        }] {
            write(addr, way, false, body).await;
            assert_eq!(
                outside(&client.next_tagged("message").await),
                ["text", "1", "", "hide", ""]
            );
        }
        // A revoke that hides would be dropped by the real server.
        write(addr, way, false, json!({"type": "revoke", "message_id": message_id})).await;
        assert_eq!(outside(&client.next_tagged("message").await), ["text", "7", "", "", ""]);
    }
    simulator.shutdown().await;
}

/// A message of a companion with these targets and this extra child; gives the acknowledgement.
async fn fan_out(client: &mut Client, to: &str, targets: &[String], extra: Option<Node>) -> Node {
    let enc = || {
        NodeBuilder::new("enc")
            .attr("v", "2")
            .attr("type", "msg")
            .bytes(vec![1])
    };
    let targets = targets.iter().map(|jid| {
        let target = NodeBuilder::new("to").attr("jid", jid.as_str());
        target.children([enc().attr("decrypt-fail", "hide").build()]).build()
    });
    let participants = NodeBuilder::new("participants").children(targets).build();
    let id = hex::encode_upper(rand::random::<[u8; 8]>());
    let message = NodeBuilder::new("message").attr("id", id.as_str()).attr("to", to);
    let message = message
        .attr("type", "poll")
        .children([participants].into_iter().chain(extra));
    client.send(&message.build()).await;
    loop {
        let ack = client.next_tagged("ack").await;
        if text(&ack, "id") == id {
            return ack;
        }
    }
}

/// The hash of a set of devices, written from its description: addresses with agent and device, sorted, SHA-256, six
/// bytes of it in base64.
fn devices_hash(users: &[(&str, u16)]) -> String {
    let mut names: Vec<String> = users
        .iter()
        .map(|(user, device)| format!("{user}.0:{device}@s.whatsapp.net"))
        .collect();
    names.sort();
    let digest = Sha256::digest(names.concat().as_bytes());
    format!("2:{}", BASE64_STANDARD.encode(&digest[..6]))
}

#[tokio::test]
async fn a_client_that_misses_a_device_is_told_by_a_hash_and_its_meta_travels_on() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    admin(addr, "GET", &format!("/admin/mock-phone/inbox?phone={OTHER}"), "").await;
    let jid = |number: &str| format!("{number}@s.whatsapp.net");
    let all = [jid(OTHER), jid(NUMBER)];

    let complete = fan_out(&mut client, &jid(OTHER), &all, None).await;
    assert_eq!(text(&complete, "phash"), "");
    let right = devices_hash(&[(OTHER, 0), (NUMBER, 0)]);
    let short = fan_out(&mut client, &jid(OTHER), &all[..1], None).await;
    assert_eq!(text(&short, "phash"), right);
    let gone = [all.to_vec(), vec![format!("{OTHER}:9@s.whatsapp.net")]].concat();
    let excess = fan_out(&mut client, &jid(OTHER), &gone, None).await;
    assert_eq!(text(&excess, "phash"), right);

    // To another companion of the same account goes what stands beside the ciphertexts too.
    let (keys, device) = link_another(addr, NUMBER).await;
    let (mut second, _) = log_in_as(addr, &keys, NUMBER, device).await;
    second.ask("encrypt", "set", keys.upload(20, false)).await;
    activate(&mut second).await;
    let meta = NodeBuilder::new("meta").attr("polltype", "vote").build();
    let named = [all.to_vec(), vec![format!("{NUMBER}:{device}@s.whatsapp.net")]].concat();
    fan_out(&mut client, &jid(OTHER), &named, Some(meta)).await;
    loop {
        let message = second.next_tagged("message").await;
        if text(&message, "recipient").is_empty() {
            continue;
        }
        assert_eq!(outside(&message), ["poll", "", "", "hide", "vote"]);
        break;
    }
    simulator.shutdown().await;
}
