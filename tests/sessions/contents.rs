//! What messages say: every kind that comes in is told, and none is lost in silence.

use serde_json::{Value, json};

use crate::harness::{FRIEND, Gateway, OWNER, Simulator, Stream};

/// A gateway with a linked phone and a reader of its events.
async fn linked() -> (Simulator, Gateway, crate::harness::Instance, Stream) {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let events = gateway.events().await;
    (simulator, gateway, instance, events)
}

/// The next event of this name; it must say at least what is expected.
async fn told(events: &mut Stream, name: &str, expected: Value) -> Value {
    let event = events.next(name).await;
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&event[field], value, "{field} of {event}");
    }
    event
}

fn chat() -> Value {
    json!({"jid": format!("{FRIEND}@s.whatsapp.net"), "type": "direct"})
}

#[tokio::test]
async fn every_kind_from_somebody_is_told_by_number_whichever_way_it_was_addressed() {
    let (simulator, _gateway, _, mut events) = linked().await;
    for lid in [false, true] {
        let write = async |body| simulator.write(FRIEND, OWNER, lid, body).await;
        let first = write(json!({"type": "text", "text": "first"})).await;
        let expected = json!({"message_id": first, "from": FRIEND, "chat": chat()});
        told(&mut events, "message.received", expected).await;

        let reply = json!({"type": "text", "text": "@x", "reply_to": first, "mentions": [OWNER]});
        write(reply).await;
        let expected = json!({
            "body": {"type": "text", "text": "@x"}, "reply_to": first,
            "mentions": [format!("{OWNER}@s.whatsapp.net")],
        });
        told(&mut events, "message.received", expected).await;

        write(json!({"type": "text", "text": "gone soon", "ephemeral_seconds": 86_400})).await;
        told(
            &mut events,
            "message.received",
            json!({"body": {"type": "text", "text": "gone soon"}}),
        )
        .await;

        let bodies = [
            json!({"type": "location", "latitude": -23.5, "longitude": -46.6, "name": "Sé", "address": "São Paulo"}),
            json!({"type": "contact", "contacts": [{"name": "Ana; Maria", "phones": ["+55 11 99999-0001"]}]}),
            json!({"type": "contact", "contacts": [{"name": "A", "phones": ["1"]}, {"name": "B", "phones": []}]}),
            json!({"type": "poll", "question": "?", "options": ["a", "b"], "selectable_count": 1}),
            json!({"type": "poll", "question": "?", "options": ["a", "b"], "selectable_count": 0}),
        ];
        let mut poll = String::new();
        for body in bodies {
            poll = write(body.clone()).await;
            told(
                &mut events,
                "message.received",
                json!({"message_id": poll, "body": body}),
            )
            .await;
        }

        for emoji in ["👍", ""] {
            write(json!({"type": "reaction", "message_id": first, "emoji": emoji})).await;
            let expected = json!({"message_id": first, "emoji": emoji, "from": FRIEND, "chat": chat()});
            told(&mut events, "message.reaction", expected).await;
        }
        for (sealed, text) in [(false, "second"), (true, "third")] {
            write(json!({"type": "edit", "message_id": first, "text": text, "sealed": sealed})).await;
            let body = json!({"type": "text", "text": text});
            let expected = json!({"message_id": first, "body": body, "from": FRIEND, "chat": chat()});
            told(&mut events, "message.edited", expected).await;
        }
        write(json!({"type": "revoke", "message_id": first})).await;
        let expected = json!({"message_id": first, "from": FRIEND, "chat": chat()});
        told(&mut events, "message.revoked", expected).await;

        // What this version does not show is told under its name.
        write(json!({"type": "vote", "message_id": poll, "options": ["a"]})).await;
        let body = json!({"type": "unsupported", "kind": "pollUpdateMessage"});
        told(&mut events, "message.received", json!({"body": body})).await;
    }
    assert_eq!(
        events
            .frames()
            .iter()
            .filter(|frame| frame.name() == "message.undecryptable")
            .count(),
        0
    );
}

#[tokio::test]
async fn a_message_of_a_kind_nobody_knows_is_told_as_unknown() {
    let (simulator, _gateway, _, mut events) = linked().await;
    // Field 2047 with a length of 3: a message from the future.
    let future = "+n8DYWJj";
    let id = simulator
        .write(FRIEND, OWNER, false, json!({"type": "raw", "message": future}))
        .await;
    let body = json!({"type": "unsupported", "kind": "unknown"});
    told(&mut events, "message.received", json!({"message_id": id, "body": body})).await;
}

#[tokio::test]
async fn what_the_owner_does_on_the_phone_is_told_under_the_owners_number() {
    let (simulator, _gateway, _, mut events) = linked().await;
    let theirs = simulator.send(FRIEND, OWNER, "hello").await;
    for lid in [false, true] {
        let write = async |body| simulator.write(OWNER, FRIEND, lid, body).await;
        let own = write(json!({"type": "text", "text": "typed"})).await;
        let body = json!({"type": "text", "text": "typed"});
        let expected = json!({"message_id": own, "origin": "device", "to": FRIEND, "chat": chat(), "body": body});
        told(&mut events, "message.sent", expected).await;
        let place = json!({"type": "location", "latitude": 1.5, "longitude": 2.5});
        write(place.clone()).await;
        told(&mut events, "message.sent", json!({"origin": "device", "body": place})).await;

        write(json!({"type": "reaction", "message_id": theirs, "emoji": "👍"})).await;
        let expected = json!({"message_id": theirs, "emoji": "👍", "from": OWNER, "chat": chat()});
        told(&mut events, "message.reaction", expected).await;
        for (sealed, text) in [(false, "second"), (true, "third")] {
            write(json!({"type": "edit", "message_id": own, "text": text, "sealed": sealed})).await;
            let body = json!({"type": "text", "text": text});
            let expected = json!({"message_id": own, "body": body, "from": OWNER, "chat": chat()});
            told(&mut events, "message.edited", expected).await;
        }
        write(json!({"type": "revoke", "message_id": own})).await;
        told(
            &mut events,
            "message.revoked",
            json!({"message_id": own, "from": OWNER, "chat": chat()}),
        )
        .await;
    }
}

#[tokio::test]
async fn nobody_else_can_change_what_this_account_sent() {
    let (simulator, _gateway, instance, mut events) = linked().await;
    let ours = instance.send(FRIEND, "as agreed: 100").await;
    simulator.gets(FRIEND, "as agreed: 100").await;
    for forged in [
        json!({"type": "edit", "message_id": ours, "text": "as agreed: 900", "forged": true}),
        json!({"type": "revoke", "message_id": ours, "forged": true}),
    ] {
        simulator.write(FRIEND, OWNER, false, forged).await;
    }
    // A reaction to it is anybody's right, and stands behind the forgeries in the queue.
    let reaction = json!({"type": "reaction", "message_id": ours, "emoji": "👎"});
    simulator.write(FRIEND, OWNER, false, reaction).await;
    told(
        &mut events,
        "message.reaction",
        json!({"message_id": ours, "from": FRIEND}),
    )
    .await;
    let changes = ["message.edited", "message.revoked", "message.received"];
    let told = events.frames();
    assert!(
        !told.iter().any(|frame| changes.contains(&frame.name())),
        "a forgery was believed"
    );
}
