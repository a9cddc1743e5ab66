//! Presence and typing: for those who are there and may see it, and for nobody later.

use serde_json::json;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use crate::client::{Client, admin, companion, get, post, present, text, until};
use crate::{NUMBER, OTHER, simulator};

fn jid(number: &str) -> String {
    format!("{number}@s.whatsapp.net")
}

async fn subscribe(client: &mut Client, to: &str) -> Vec<Node> {
    let presence = NodeBuilder::new("presence").attr("type", "subscribe").attr("to", to);
    client.send(&presence.build()).await;
    client.heard().await
}

async fn types(client: &mut Client, to: &str, state: Node) {
    let chatstate = NodeBuilder::new("chatstate").attr("to", to).children([state]);
    client.send(&chatstate.build()).await;
    client.heard().await;
}

fn states(nodes: &[Node], tag: &str) -> Vec<String> {
    nodes
        .iter()
        .filter(|node| node.tag == tag)
        .map(|node| text(node, "type"))
        .collect()
}

async fn phone_heard(addr: std::net::SocketAddr, phone: &str) -> Vec<(String, String)> {
    let heard = get(addr, &format!("/admin/mock-phone/heard?phone={phone}")).await;
    heard
        .as_array()
        .unwrap()
        .iter()
        .map(|heard| {
            let field = |name: &str| heard[name].as_str().unwrap().to_owned();
            (field("from"), field("state"))
        })
        .collect()
}

#[tokio::test]
async fn a_subscriber_hears_of_presence_while_it_is_available_itself() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = companion(addr, NUMBER).await;
    let phone = |state: &str| format!("/admin/mock-phone/presence?phone={OTHER}&state={state}");
    post(addr, &phone("available")).await;

    // Nobody looks at this client, so it is told nothing, though it asked.
    assert!(states(&subscribe(&mut client, &jid(OTHER)).await, "presence").is_empty());
    client.is_available("Client", true).await;
    let answer = subscribe(&mut client, &jid(OTHER)).await;
    assert_eq!(states(&answer, "presence"), ["available"]);
    assert_eq!(text(&answer[0], "from"), jid(OTHER));

    post(addr, &phone("unavailable")).await;
    let gone = client.next_tagged("presence").await;
    assert_eq!(text(&gone, "type"), "unavailable");
    assert!(text(&gone, "last").parse::<u64>().unwrap() > 1_700_000_000);

    client.is_available("Client", false).await;
    post(addr, &phone("available")).await;
    assert!(states(&client.heard().await, "presence").is_empty());
    client.is_available("Client", true).await;
    let unsubscribe = NodeBuilder::new("presence")
        .attr("type", "unsubscribe")
        .attr("to", jid(OTHER));
    client.send(&unsubscribe.build()).await;
    client.heard().await;
    post(addr, &phone("unavailable")).await;
    assert!(states(&client.heard().await, "presence").is_empty());
    simulator.shutdown().await;
}

#[tokio::test]
async fn an_account_is_available_while_any_of_its_devices_is() {
    let (simulator, addr) = simulator().await;
    post(addr, &format!("/admin/mock-phone/subscribe?phone={OTHER}&to={NUMBER}")).await;
    let (keys, mut client) = companion(addr, NUMBER).await;
    let state = |state: &str| (NUMBER.to_owned(), state.to_owned());
    client.is_available("Client", true).await;
    post(
        addr,
        &format!("/admin/mock-phone/presence?phone={NUMBER}&state=available"),
    )
    .await;
    client.is_available("Client", false).await;
    assert_eq!(
        phone_heard(addr, OTHER).await,
        [state("unavailable"), state("available")]
    );
    post(
        addr,
        &format!("/admin/mock-phone/presence?phone={NUMBER}&state=unavailable"),
    )
    .await;
    client.is_available("Client", true).await;

    // A socket that ends takes its presence with it.
    drop(client);
    until(addr, |stats| stats["loggedIn"] == json!([])).await;
    assert_eq!(
        phone_heard(addr, OTHER).await[2..],
        [state("unavailable"), state("available"), state("unavailable")]
    );
    let mut client = present(addr, &keys, NUMBER).await;
    client.is_available("Client", true).await;
    post(addr, &format!("/admin/mock-phone/unlink?phone={NUMBER}&device=1")).await;
    until(addr, |stats| stats["loggedIn"] == json!([])).await;
    assert_eq!(
        phone_heard(addr, OTHER).await[5..],
        [state("available"), state("unavailable")]
    );
    simulator.shutdown().await;
}

#[tokio::test]
async fn privacy_hides_last_seen_and_presence() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = companion(addr, NUMBER).await;
    client.is_available("Client", true).await;
    let privacy = |phone: &str, category: &str, value: &str| {
        format!("/admin/mock-phone/privacy?phone={phone}&category={category}&value={value}")
    };
    let phone = |state: &str| format!("/admin/mock-phone/presence?phone={OTHER}&state={state}");
    post(addr, &phone("available")).await;
    post(addr, &phone("unavailable")).await;

    post(addr, &privacy(OTHER, "last", "none")).await;
    let hidden = subscribe(&mut client, &jid(OTHER)).await;
    assert_eq!((text(&hidden[0], "last").as_str(), hidden.len()), ("deny", 1));
    post(addr, &privacy(OTHER, "online", "match_last_seen")).await;
    assert!(subscribe(&mut client, &jid(OTHER)).await.is_empty());
    post(addr, &phone("available")).await;
    assert!(client.heard().await.is_empty());

    // Contacts only: the phone knows whom it has written to.
    post(addr, &privacy(OTHER, "last", "contacts")).await;
    assert!(subscribe(&mut client, &jid(OTHER)).await.is_empty());
    post(
        addr,
        &format!("/admin/mock-phone/send?from={OTHER}&to={NUMBER}&text=hi"),
    )
    .await;
    assert_eq!(
        states(&subscribe(&mut client, &jid(OTHER)).await, "presence"),
        ["available"]
    );

    // Who hides the own last seen does not see that of others.
    post(addr, &privacy(OTHER, "last", "all")).await;
    post(addr, &privacy(OTHER, "online", "all")).await;
    post(addr, &privacy(NUMBER, "last", "none")).await;
    post(addr, &phone("unavailable")).await;
    assert_eq!(text(&client.next_tagged("presence").await, "last"), "deny");

    let (status, refusal) = admin(addr, "POST", &privacy(OTHER, "last", "sometimes"), "").await;
    assert_eq!(status, 400);
    assert!(
        refusal["error"]
            .as_str()
            .unwrap()
            .contains("last (all, contacts, contact_blacklist, none)")
    );
    simulator.shutdown().await;
}

#[tokio::test]
async fn typing_reaches_those_who_are_there_and_waits_for_nobody() {
    let (simulator, addr) = simulator().await;
    let (_, mut writer) = companion(addr, NUMBER).await;
    let (keys, mut reader) = companion(addr, OTHER).await;
    let composing = || NodeBuilder::new("composing");
    let paused = || NodeBuilder::new("paused");

    // Not available: not told.
    types(&mut writer, &jid(OTHER), composing().build()).await;
    assert!(reader.heard().await.is_empty());
    reader.is_available("Reader", true).await;
    types(&mut writer, &jid(OTHER), composing().build()).await;
    types(&mut writer, &jid(OTHER), composing().attr("media", "audio").build()).await;
    types(&mut writer, &jid(OTHER), paused().build()).await;
    let mut heard = Vec::new();
    for _ in 0..3 {
        let state = reader.next_tagged("chatstate").await;
        assert_eq!(text(&state, "from"), jid(NUMBER));
        let child = &state.children().unwrap()[0];
        heard.push((child.tag.to_string(), text(child, "media")));
    }
    let pair = |tag: &str, media: &str| (tag.to_owned(), media.to_owned());
    assert_eq!(
        heard,
        [pair("composing", ""), pair("composing", "audio"), pair("paused", "")]
    );
    let state = |state: &str| (NUMBER.to_owned(), state.to_owned());
    assert_eq!(
        phone_heard(addr, OTHER).await,
        [
            state("composing"),
            state("composing"),
            state("recording"),
            state("paused")
        ]
    );

    // By LID, from the phone.
    let lid = until(addr, |_| true).await["phones"][0]["lid"]
        .as_str()
        .unwrap()
        .to_owned();
    post(
        addr,
        &format!("/admin/mock-phone/typing?phone={NUMBER}&to={OTHER}&state=recording&lid=true"),
    )
    .await;
    let recording = reader.next_tagged("chatstate").await;
    assert_eq!(text(&recording, "from"), format!("{lid}@lid"));

    // Who is away hears nothing of it afterwards.
    drop(reader);
    until(addr, |stats| stats["loggedIn"].as_array().unwrap().len() == 1).await;
    types(&mut writer, &jid(OTHER), composing().build()).await;
    let mut reader = present(addr, &keys, OTHER).await;
    reader.is_available("Reader", true).await;
    assert!(reader.heard().await.is_empty());
    simulator.shutdown().await;
}

#[tokio::test]
async fn the_name_of_a_presence_is_what_others_see_on_messages() {
    let (simulator, addr) = simulator().await;
    let (_, mut writer) = companion(addr, NUMBER).await;
    let (_, mut reader) = companion(addr, OTHER).await;
    let letter = |id: &str| {
        let enc = NodeBuilder::new("enc")
            .attr("v", "2")
            .attr("type", "msg")
            .bytes(vec![1, 2, 3]);
        let to = NodeBuilder::new("to")
            .attr("jid", format!("{OTHER}:1@s.whatsapp.net"))
            .children([enc.build()]);
        NodeBuilder::new("message")
            .attr("id", id)
            .attr("to", jid(OTHER))
            .attr("type", "text")
            .children([NodeBuilder::new("participants").children([to.build()]).build()])
            .build()
    };
    writer.send(&letter("A")).await;
    assert_eq!(text(&reader.next_tagged("message").await, "notify"), "Phone 0001");
    writer.is_available("The shop", false).await;
    writer.send(&letter("B")).await;
    assert_eq!(text(&reader.next_tagged("message").await, "notify"), "The shop");

    // A phone keeps the names of those who write to it.
    post(
        addr,
        &format!("/admin/mock-phone/send?from={OTHER}&to={NUMBER}&text=hi"),
    )
    .await;
    let contacts = get(addr, &format!("/admin/mock-phone/contacts?phone={NUMBER}")).await;
    assert_eq!(
        contacts["contacts"],
        json!([{"phone": OTHER, "name": "Phone 0002", "blocked": false}])
    );
    simulator.shutdown().await;
}

#[tokio::test]
async fn wrong_states_are_refused_with_what_is_right() {
    let (simulator, addr) = simulator().await;
    for (path, hint) in [
        (
            format!("/admin/mock-phone/presence?phone={NUMBER}&state=asleep"),
            "available or unavailable",
        ),
        (
            format!("/admin/mock-phone/typing?phone={NUMBER}&to={OTHER}&state=thinking"),
            "composing, recording or paused",
        ),
        (
            format!("/admin/mock-phone/block?phone={NUMBER}&number={NUMBER}"),
            "another phone",
        ),
    ] {
        let (status, refusal) = admin(addr, "POST", &path, "").await;
        assert_eq!(status, 400, "{path}");
        assert!(refusal["error"].as_str().unwrap().contains(hint), "{refusal}");
    }
    simulator.shutdown().await;
}
