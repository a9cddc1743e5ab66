//! Blocklist, privacy settings and trusted-contact tokens.

use serde_json::json;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_simulator::{Options, Simulator};

use crate::client::{Client, companion, content, get, post, present, text};
use crate::{NUMBER, OTHER, simulator};

const FIRST_LID: &str = "100000000000001@lid";
const SECOND_LID: &str = "100000000000002@lid";

fn item(jid: &str, action: &str) -> NodeBuilder {
    NodeBuilder::new("item").attr("jid", jid).attr("action", action)
}

fn error_code(answer: &Node) -> String {
    assert_eq!(text(answer, "type"), "error", "{answer:?}");
    text(answer.get_optional_child("error").unwrap(), "code")
}

async fn blocklist(client: &mut Client) -> (String, Vec<String>) {
    let answer = client.ask("blocklist", "get", vec![]).await;
    let list = answer.get_optional_child("list").unwrap();
    let items = list.get_children_by_tag("item").map(|item| text(item, "jid")).collect();
    (text(list, "dhash"), items)
}

async fn category(client: &mut Client, name: &str) -> String {
    let asked = NodeBuilder::new("privacy").build();
    let answer = client.ask("privacy", "get", vec![asked]).await;
    let privacy = answer.get_optional_child("privacy").unwrap();
    let mut categories = privacy.get_children_by_tag("category");
    text(
        categories.find(|category| text(category, "name") == name).unwrap(),
        "value",
    )
}

fn setting(name: &str, value: &str, users: Vec<Node>) -> Vec<Node> {
    let category = NodeBuilder::new("category")
        .attr("name", name)
        .attr("value", value)
        .children(users);
    vec![NodeBuilder::new("privacy").children([category.build()]).build()]
}

#[tokio::test]
async fn a_blocked_account_gets_its_acks_and_nothing_arrives() {
    let (simulator, addr) = simulator().await;
    let (_, mut blocker) = companion(addr, NUMBER).await;
    let (_, mut stranger) = companion(addr, OTHER).await;
    blocker.is_available("Blocker", true).await;
    assert_eq!(blocklist(&mut blocker).await, ("none".to_owned(), vec![]));

    let block = item(SECOND_LID, "block").attr("pn_jid", format!("{OTHER}@s.whatsapp.net"));
    let answer = blocker.ask("blocklist", "set", vec![block.build()]).await;
    assert_eq!(text(&answer, "type"), "result");
    let (hash, items) = blocklist(&mut blocker).await;
    assert_eq!((hash != "none", items), (true, vec![SECOND_LID.to_owned()]));

    let message = |id: &str| {
        let enc = NodeBuilder::new("enc")
            .attr("v", "2")
            .attr("type", "msg")
            .bytes(vec![1]);
        let to = NodeBuilder::new("to")
            .attr("jid", format!("{NUMBER}:1@s.whatsapp.net"))
            .children([enc.build()]);
        NodeBuilder::new("message")
            .attr("id", id)
            .attr("to", format!("{NUMBER}@s.whatsapp.net"))
            .attr("type", "text")
            .children([NodeBuilder::new("participants").children([to.build()]).build()])
            .build()
    };
    let composing = NodeBuilder::new("chatstate")
        .attr("to", format!("{NUMBER}@s.whatsapp.net"))
        .children([NodeBuilder::new("composing").build()])
        .build();
    stranger.send(&message("UNSEEN")).await;
    let ack = stranger.next_tagged("ack").await;
    assert_eq!(
        (text(&ack, "id").as_str(), text(&ack, "error").as_str()),
        ("UNSEEN", "")
    );
    stranger.send(&composing).await;
    stranger.heard().await;
    post(
        addr,
        &format!("/admin/mock-phone/send?from={OTHER}&to={NUMBER}&text=unseen"),
    )
    .await;
    assert!(blocker.heard().await.is_empty());
    assert_eq!(
        get(addr, &format!("/admin/mock-phone/inbox?phone={NUMBER}")).await,
        json!([])
    );

    let unblock = item(&format!("{OTHER}@s.whatsapp.net"), "unblock").build();
    let answer = blocker.ask("blocklist", "set", vec![unblock]).await;
    assert_eq!(text(&answer, "type"), "result");
    stranger.send(&composing).await;
    stranger.send(&message("SEEN")).await;
    assert_eq!(blocker.next_tagged("chatstate").await.tag, "chatstate");
    assert_eq!(text(&blocker.next_tagged("message").await, "id"), "SEEN");
    simulator.shutdown().await;
}

#[tokio::test]
async fn the_phone_blocks_and_its_companions_are_told() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = companion(addr, NUMBER).await;
    for (on, action) in [("true", "block"), ("false", "unblock")] {
        post(
            addr,
            &format!("/admin/mock-phone/block?phone={NUMBER}&number={OTHER}&on={on}"),
        )
        .await;
        let notification = client.next_tagged("notification").await;
        assert_eq!(text(&notification, "type"), "account_sync");
        let list = notification.get_optional_child("blocklist").unwrap();
        let changed = list.get_optional_child("item").unwrap();
        assert_eq!(
            (text(changed, "jid").as_str(), text(changed, "action").as_str()),
            (SECOND_LID, action)
        );
        assert_eq!(text(list, "dhash"), blocklist(&mut client).await.0);
    }
    // What changes nothing is told to nobody.
    post(
        addr,
        &format!("/admin/mock-phone/block?phone={NUMBER}&number={OTHER}&on=false"),
    )
    .await;
    assert!(client.heard().await.is_empty());
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_wrong_change_of_the_blocklist_is_refused() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = companion(addr, NUMBER).await;
    get(addr, &format!("/admin/mock-phone/inbox?phone={OTHER}")).await;
    for (wrong, code) in [
        (vec![], "400"),
        (vec![item("5511000000000@s.whatsapp.net", "block").build()], "404"),
        (vec![item(SECOND_LID, "hug").build()], "400"),
        (vec![item(FIRST_LID, "block").build()], "400"),
        (
            vec![
                item(SECOND_LID, "block")
                    .attr("pn_jid", format!("{NUMBER}@s.whatsapp.net"))
                    .build(),
            ],
            "400",
        ),
    ] {
        let answer = client.ask("blocklist", "set", wrong).await;
        assert_eq!(error_code(&answer), code, "{answer:?}");
    }
    assert_eq!(blocklist(&mut client).await.1, Vec::<String>::new());
    simulator.shutdown().await;
}

#[tokio::test]
async fn privacy_settings_are_kept_across_a_restart_and_wrong_ones_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(folder.path().to_owned()),
        ..Options::default()
    };
    let first = Simulator::start(options.clone()).await.unwrap();
    let (keys, mut client) = companion(first.addr(), NUMBER).await;
    get(first.addr(), &format!("/admin/mock-phone/inbox?phone={OTHER}")).await;
    assert_eq!(category(&mut client, "readreceipts").await, "all");
    let user = NodeBuilder::new("user").attr("action", "add").attr("jid", SECOND_LID);
    for (name, value, users) in [
        ("readreceipts", "none", vec![]),
        ("last", "contact_blacklist", vec![user.build()]),
    ] {
        let answer = client.ask("privacy", "set", setting(name, value, users)).await;
        assert_eq!(text(&answer, "type"), "result", "{answer:?}");
    }
    for (name, value) in [("readreceipts", "contacts"), ("mood", "all")] {
        let answer = client.ask("privacy", "set", setting(name, value, vec![])).await;
        assert_eq!(error_code(&answer), "400");
    }
    let block = item(SECOND_LID, "block").build();
    client.ask("blocklist", "set", vec![block]).await;
    let before = blocklist(&mut client).await;
    drop(client);
    first.shutdown().await;

    let second = Simulator::start(options).await.unwrap();
    let mut client = present(second.addr(), &keys, NUMBER).await;
    assert_eq!(category(&mut client, "readreceipts").await, "none");
    assert_eq!(category(&mut client, "last").await, "contact_blacklist");
    assert_eq!(blocklist(&mut client).await, before);
    let list = NodeBuilder::new("list")
        .attr("name", "last")
        .attr("value", "contact_blacklist");
    let asked = NodeBuilder::new("privacy").children([list.build()]).build();
    let answer = client.ask("privacy", "get", vec![asked]).await;
    let privacy = answer.get_optional_child("privacy").unwrap();
    let list = privacy.get_optional_child("list").unwrap();
    assert_eq!(text(list.get_optional_child("user").unwrap(), "jid"), SECOND_LID);
    second.shutdown().await;
}

#[tokio::test]
async fn a_phone_that_gives_no_read_receipts_gives_none() {
    let (simulator, addr) = simulator().await;
    let read = async |count: u64| {
        post(
            addr,
            &format!("/admin/mock-phone/send?from={NUMBER}&to={OTHER}&text=hi"),
        )
        .await;
        let inbox = get(addr, &format!("/admin/mock-phone/inbox?phone={OTHER}")).await;
        let id = inbox.as_array().unwrap().last().unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        post(addr, &format!("/admin/mock-phone/read?phone={OTHER}&id={id}")).await;
        let stats = get(addr, "/admin/stats").await;
        assert_eq!(stats["receiptsToPhones"]["read"], json!(count));
    };
    read(1).await;
    post(
        addr,
        &format!("/admin/mock-phone/privacy?phone={OTHER}&category=readreceipts&value=none"),
    )
    .await;
    read(1).await;
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_trusted_contact_gets_a_token_and_the_giver_gets_the_contacts_own() {
    let (simulator, addr) = simulator().await;
    let (_, mut giver) = companion(addr, NUMBER).await;
    let (_, mut trusted) = companion(addr, OTHER).await;
    let tokens = |jid: &str| {
        let token = NodeBuilder::new("token")
            .attr("jid", jid)
            .attr("t", "1700000000")
            .attr("type", "trusted_contact");
        vec![NodeBuilder::new("tokens").children([token.build()]).build()]
    };
    let answer = giver.ask("privacy", "set", tokens(SECOND_LID)).await;
    let held = answer.get_optional_child("tokens").unwrap();
    assert_eq!(held.get_children_by_tag("token").count(), 0);
    let notification = trusted.next_tagged("notification").await;
    assert_eq!(
        (
            text(&notification, "type").as_str(),
            text(&notification, "from").as_str()
        ),
        ("privacy_token", FIRST_LID)
    );
    let list = notification.get_optional_child("tokens").unwrap();
    let token = list.get_optional_child("token").unwrap();
    assert_eq!(text(token, "t"), "1700000000");
    let gift = content(token);
    assert_eq!(gift.len(), 16);

    let answer = trusted.ask("privacy", "set", tokens(FIRST_LID)).await;
    let held = answer.get_optional_child("tokens").unwrap();
    assert_eq!(content(held.get_optional_child("token").unwrap()), gift);
    simulator.shutdown().await;
}
