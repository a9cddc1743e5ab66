//! Groups as the server keeps them: made, read, changed, joined and left, with every change told to every device.

use std::net::SocketAddr;

use serde_json::{Value, json};
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_simulator::{Options, Simulator};

use crate::client::{Client, Keys, activate, admin, content, link, log_in, stats, text, until};
use crate::{NUMBER, OTHER, simulator};

pub const THIRD: &str = "5511999990003";
const NOBODY: &str = "5511900000000";

/// A linked companion that has uploaded keys and acknowledged its phone's greeting.
pub async fn member(addr: SocketAddr, number: &str) -> (Keys, Client) {
    let keys = link(addr, number).await;
    let (mut client, _) = log_in(addr, &keys, number).await;
    let uploaded = client.ask("encrypt", "set", keys.upload(50, false)).await;
    assert_eq!(text(&uploaded, "type"), "result");
    activate(&mut client).await;
    // The keys and the past, all of them queued by the upload of the companion's keys.
    for _ in 0..waiting(&stats(addr).await, number) {
        let greeting = client.next_tagged("message").await;
        assert_eq!(text(&greeting, "category"), "peer");
        let receipt = NodeBuilder::new("receipt")
            .attr("id", text(&greeting, "id"))
            .attr("type", "peer_msg");
        client.send(&receipt.attr("to", text(&greeting, "from")).build()).await;
    }
    until(addr, |stats| waiting(stats, number) == 0).await;
    (keys, client)
}

/// How much waits for the only companion of a phone.
fn waiting(stats: &Value, number: &str) -> u64 {
    let mut phones = stats["phones"].as_array().unwrap().iter();
    let phone = phones.find(|phone| phone["phone"] == number).unwrap();
    phone["companions"][0]["waiting"].as_u64().unwrap()
}

/// What an owner does on the phone; must succeed.
pub async fn deed(addr: SocketAddr, deed: Value) -> Value {
    let (status, answer) = admin(addr, "POST", "/admin/mock-phone/group", &deed.to_string()).await;
    assert_eq!(status, 200, "{deed}: {answer}");
    answer
}

/// A question or order about groups; gives the answer.
async fn ask(client: &mut Client, to: &str, kind: &str, child: Node) -> Node {
    client.ask_at(to, "w:g2", kind, vec![child]).await
}

fn tag(tag: &'static str) -> Node {
    NodeBuilder::new(tag).build()
}

fn people(tag: &'static str, numbers: &[&str]) -> NodeBuilder {
    let participants = numbers.iter().map(|number| {
        NodeBuilder::new("participant")
            .attr("jid", format!("{number}@s.whatsapp.net"))
            .build()
    });
    NodeBuilder::new(tag).children(participants)
}

/// The code of a refused question, 0 for an accepted one.
fn code(answer: &Node) -> u16 {
    if let Some(error) = answer.get_optional_child("error") {
        return text(error, "code").parse().unwrap();
    }
    assert_eq!(text(answer, "type"), "result");
    0
}

/// Participants of a node as (phone number, type, error).
fn listed(node: &Node) -> Vec<(String, String, String)> {
    let mut listed: Vec<_> = node
        .get_children_by_tag("participant")
        .map(|participant| {
            let name = match text(participant, "phone_number") {
                pn if pn.is_empty() => text(participant, "jid"),
                pn => pn,
            };
            let number = name.split('@').next().unwrap().to_owned();
            (number, text(participant, "type"), text(participant, "error"))
        })
        .collect();
    listed.sort();
    listed
}

fn row(number: &str, kind: &str, error: &str) -> (String, String, String) {
    (number.to_owned(), kind.to_owned(), error.to_owned())
}

/// The next group notification, acknowledged; gives what it tells.
async fn told(client: &mut Client, what: &str) -> Node {
    let notification = client.next_tagged("notification").await;
    assert_eq!(text(&notification, "type"), "w:gp2", "{notification:?}");
    let ack = NodeBuilder::new("ack")
        .attr("class", "notification")
        .attr("id", text(&notification, "id"))
        .attr("type", "w:gp2");
    client.send(&ack.attr("to", text(&notification, "from")).build()).await;
    assert!(
        notification.get_optional_child(what).is_some(),
        "{what}: {notification:?}"
    );
    notification
}

fn create(subject: &str, numbers: &[&str]) -> Node {
    people("create", numbers)
        .attr("subject", subject)
        .attr("key", "3EB0KEY")
        .build()
}

/// Makes a group as the client, hears of it, and gives its address.
async fn made(client: &mut Client, subject: &str, numbers: &[&str]) -> String {
    let answer = ask(client, "@g.us", "set", create(subject, numbers)).await;
    assert_eq!(code(&answer), 0, "{answer:?}");
    told(client, "create").await;
    format!("{}@g.us", text(answer.get_optional_child("group").unwrap(), "id"))
}

#[tokio::test]
async fn a_group_is_made_and_read_with_its_members_under_both_names() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = member(addr, NUMBER).await;
    admin(addr, "GET", &format!("/admin/mock-phone/inbox?phone={OTHER}"), "").await;

    let answer = ask(&mut client, "@g.us", "set", create("Lunch", &[OTHER, NOBODY])).await;
    let group = answer.get_optional_child("group").unwrap();
    let id = text(group, "id");
    assert_eq!(
        listed(group),
        [
            row(NOBODY, "", "404"),
            row(NUMBER, "superadmin", ""),
            row(OTHER, "", "")
        ]
    );
    let create = told(&mut client, "create").await;
    assert_eq!(text(create.get_optional_child("create").unwrap(), "key"), "3EB0KEY");
    assert_eq!(text(&create, "from"), format!("{id}@g.us"));
    assert_eq!(text(&create, "participant_pn"), format!("{NUMBER}@s.whatsapp.net"));

    let query = NodeBuilder::new("query").attr("request", "interactive").build();
    let answer = ask(&mut client, &format!("{id}@g.us"), "get", query).await;
    let group = answer.get_optional_child("group").unwrap();
    assert_eq!(
        (text(group, "subject").as_str(), text(group, "addressing_mode").as_str()),
        ("Lunch", "lid")
    );
    assert_eq!(
        (text(group, "size").as_str(), text(group, "creator_pn")),
        ("2", format!("{NUMBER}@s.whatsapp.net"))
    );
    assert!(text(group, "creator").ends_with("@lid"));
    for participant in group.get_children_by_tag("participant") {
        assert!(text(participant, "jid").ends_with("@lid"), "{participant:?}");
    }

    let participating = NodeBuilder::new("participating")
        .children([tag("participants")])
        .build();
    let answer = ask(&mut client, "@g.us", "get", participating).await;
    let groups = answer.get_optional_child("groups").unwrap();
    assert_eq!(groups.get_children_by_tag("group").count(), 1);
    assert_eq!(listed(groups.get_optional_child("group").unwrap()).len(), 2);
    simulator.shutdown().await;
}

#[tokio::test]
async fn whoever_has_no_right_is_refused_with_the_servers_codes() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = member(addr, NUMBER).await;
    let theirs = deed(addr, json!({"phone": OTHER, "action": "create", "subject": "Theirs"})).await;
    let group = theirs["jid"].as_str().unwrap().to_owned();
    let query = || NodeBuilder::new("query").attr("request", "interactive").build();
    let subject = |subject: &str| NodeBuilder::new("subject").string_content(subject).build();

    assert_eq!(
        code(&ask(&mut client, "120363999999999999@g.us", "get", query()).await),
        404
    );
    assert_eq!(code(&ask(&mut client, &group, "get", query()).await), 403);
    assert_eq!(code(&ask(&mut client, &group, "set", subject("Mine now")).await), 403);

    deed(
        addr,
        json!({"phone": OTHER, "action": "add", "group": group, "participants": [NUMBER]}),
    )
    .await;
    told(&mut client, "create").await;
    assert_eq!(code(&ask(&mut client, &group, "get", query()).await), 0);
    for refused in [
        tag("announcement"),
        tag("locked"),
        tag("invite"),
        people("remove", &[OTHER]).build(),
    ] {
        assert_eq!(
            code(&ask(&mut client, &group, "set", refused.clone()).await),
            401,
            "{refused:?}"
        );
    }
    assert_eq!(code(&ask(&mut client, &group, "get", tag("invite")).await), 401);
    assert_eq!(
        code(&ask(&mut client, &group, "set", subject("Everybody may")).await),
        0
    );
    told(&mut client, "subject").await;
    let added = ask(&mut client, &group, "set", people("add", &[THIRD]).build()).await;
    assert_eq!(
        listed(added.get_optional_child("add").unwrap()),
        [row(THIRD, "", "404")]
    );

    let settings =
        json!({"phone": OTHER, "action": "settings", "group": group, "locked": true, "everybody_adds": false});
    deed(addr, settings).await;
    for what in ["locked", "member_add_mode"] {
        told(&mut client, what).await;
    }
    assert_eq!(code(&ask(&mut client, &group, "set", subject("No more")).await), 401);
    assert_eq!(
        code(&ask(&mut client, &group, "set", people("add", &[THIRD]).build()).await),
        401
    );
    assert_eq!(
        code(&ask(&mut client, "@g.us", "set", create(&"x".repeat(101), &[])).await),
        406
    );
    assert_eq!(code(&ask(&mut client, "@g.us", "set", create("", &[])).await), 406);
    simulator.shutdown().await;
}

#[tokio::test]
async fn members_are_added_promoted_demoted_and_removed_each_for_itself() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = member(addr, NUMBER).await;
    let (_, mut other) = member(addr, OTHER).await;
    admin(addr, "GET", &format!("/admin/mock-phone/inbox?phone={THIRD}"), "").await;
    let group = made(&mut client, "Lunch", &[OTHER]).await;
    told(&mut other, "create").await;

    let steps = [
        (
            "add",
            vec![OTHER, THIRD, NOBODY],
            vec![row(NOBODY, "", "404"), row(OTHER, "", "409"), row(THIRD, "", "")],
        ),
        (
            "promote",
            vec![THIRD, NOBODY],
            vec![row(NOBODY, "", "404"), row(THIRD, "", "")],
        ),
        (
            "demote",
            vec![THIRD, NUMBER],
            vec![row(NUMBER, "", "406"), row(THIRD, "", "")],
        ),
        (
            "remove",
            vec![THIRD, NUMBER],
            vec![row(NUMBER, "", "406"), row(THIRD, "", "")],
        ),
    ];
    for (change, numbers, fates) in steps {
        let answer = ask(&mut client, &group, "set", people(change, &numbers).build()).await;
        assert_eq!(listed(answer.get_optional_child(change).unwrap()), fates, "{change}");
        for listener in [&mut client, &mut other] {
            let notification = told(listener, change).await;
            let changed = listed(notification.get_optional_child(change).unwrap());
            assert_eq!(changed, [row(THIRD, "", "")], "only what happened is told");
        }
    }

    // The last admin leaves: somebody has to be one.
    let leaving = NodeBuilder::new("group").attr("id", group.as_str()).build();
    let leave = NodeBuilder::new("leave").children([leaving]).build();
    assert_eq!(code(&ask(&mut client, "@g.us", "set", leave).await), 0);
    let left = told(&mut other, "remove").await;
    assert_eq!(
        text(&left, "participant_pn"),
        format!("{NUMBER}@s.whatsapp.net"),
        "by himself"
    );
    let heir = told(&mut other, "promote").await;
    assert_eq!(
        listed(heir.get_optional_child("promote").unwrap()),
        [row(OTHER, "", "")]
    );
    let groups = admin(addr, "GET", "/admin/groups", "").await.1;
    assert_eq!(groups[0]["members"], json!([{"phone": OTHER, "role": "admin"}]));
    simulator.shutdown().await;
}

#[tokio::test]
async fn two_who_describe_a_group_at_once_notice_each_other() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = member(addr, NUMBER).await;
    let group = made(&mut client, "Lunch", &[]).await;
    let describe = |id: &str, previous: Option<&str>, words: &str| {
        let mut node = NodeBuilder::new("description").attr("id", id);
        if let Some(previous) = previous {
            node = node.attr("prev", previous);
        }
        node.children([NodeBuilder::new("body").string_content(words).build()])
            .build()
    };
    assert_eq!(
        code(&ask(&mut client, &group, "set", describe("A1", None, "first")).await),
        0
    );
    told(&mut client, "description").await;
    assert_eq!(
        code(&ask(&mut client, &group, "set", describe("A2", None, "late")).await),
        409
    );
    assert_eq!(
        code(&ask(&mut client, &group, "set", describe("A2", Some("A1"), "second")).await),
        0
    );
    told(&mut client, "description").await;

    let query = NodeBuilder::new("query").attr("request", "interactive").build();
    let answer = ask(&mut client, &group, "get", query.clone()).await;
    let described = answer
        .get_optional_child("group")
        .unwrap()
        .get_optional_child("description")
        .unwrap();
    assert_eq!(text(described, "id"), "A2");
    assert_eq!(content(described.get_optional_child("body").unwrap()), b"second");

    let delete = NodeBuilder::new("description")
        .attr("delete", "true")
        .attr("prev", "A2")
        .build();
    assert_eq!(code(&ask(&mut client, &group, "set", delete).await), 0);
    let notification = told(&mut client, "description").await;
    let deleted = notification.get_optional_child("description").unwrap();
    assert!(deleted.get_optional_child("delete").is_some());
    let answer = ask(&mut client, &group, "get", query).await;
    assert!(
        answer
            .get_optional_child("group")
            .unwrap()
            .get_optional_child("description")
            .is_none()
    );
    simulator.shutdown().await;
}

#[tokio::test]
async fn an_invite_link_lets_in_until_it_is_reset_and_never_whoever_was_thrown_out() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = member(addr, NUMBER).await;
    let theirs = deed(addr, json!({"phone": OTHER, "action": "create", "subject": "Theirs"})).await;
    let group = theirs["jid"].as_str().unwrap().to_owned();
    let invite = |code: &str| NodeBuilder::new("invite").attr("code", code).build();
    let first = theirs["inviteCode"].as_str().unwrap().to_owned();

    let seen = ask(&mut client, "@g.us", "get", invite(&first)).await;
    assert_eq!(text(seen.get_optional_child("group").unwrap(), "subject"), "Theirs");
    let renewed = deed(
        addr,
        json!({"phone": OTHER, "action": "invite", "group": group, "renew": true}),
    )
    .await;
    let second = renewed["inviteCode"].as_str().unwrap().to_owned();
    for (old, refusal) in [(first.as_str(), 410), ("AAAAAAAAAAAAAAAAAAAAAA", 406)] {
        assert_eq!(code(&ask(&mut client, "@g.us", "get", invite(old)).await), refusal);
        assert_eq!(code(&ask(&mut client, "@g.us", "set", invite(old)).await), refusal);
    }
    let joined = ask(&mut client, "@g.us", "set", invite(&second)).await;
    assert_eq!(text(joined.get_optional_child("group").unwrap(), "jid"), group);
    let create = told(&mut client, "create").await;
    assert_eq!(text(create.get_optional_child("create").unwrap(), "reason"), "invite");
    assert_eq!(code(&ask(&mut client, "@g.us", "set", invite(&second)).await), 304);

    deed(
        addr,
        json!({"phone": OTHER, "action": "remove", "group": group, "participants": [NUMBER]}),
    )
    .await;
    told(&mut client, "remove").await;
    assert_eq!(code(&ask(&mut client, "@g.us", "set", invite(&second)).await), 405);
    simulator.shutdown().await;
}

#[tokio::test]
async fn where_an_admin_has_to_agree_joining_waits_for_it() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = member(addr, NUMBER).await;
    let group = made(&mut client, "Lunch", &[]).await;
    let approval = NodeBuilder::new("group_join").attr("state", "on").build();
    let approval = NodeBuilder::new("membership_approval_mode")
        .children([approval])
        .build();
    assert_eq!(code(&ask(&mut client, &group, "set", approval).await), 0);
    told(&mut client, "membership_approval_mode").await;
    let invite = ask(&mut client, &group, "get", tag("invite")).await;
    let invite = text(invite.get_optional_child("invite").unwrap(), "code");

    for (number, decision) in [(OTHER, "approve"), (THIRD, "reject")] {
        let asked = deed(addr, json!({"phone": number, "action": "join", "code": invite})).await;
        assert_eq!(asked["requested"], json!(group));
        let notification = told(&mut client, "created_membership_requests").await;
        assert_eq!(
            text(&notification, "participant_pn"),
            format!("{number}@s.whatsapp.net")
        );
        let waiting = ask(&mut client, &group, "get", tag("membership_approval_requests")).await;
        let waiting = waiting.get_optional_child("membership_approval_requests").unwrap();
        let request = waiting.get_optional_child("membership_approval_request").unwrap();
        assert_eq!(text(request, "phone_number"), format!("{number}@s.whatsapp.net"));

        let decided = if decision == "approve" {
            people("approve", &[number])
        } else {
            people("reject", &[number])
        };
        let action = NodeBuilder::new("membership_requests_action")
            .children([decided.build()])
            .build();
        let answer = ask(&mut client, &group, "set", action).await;
        let answer = answer.get_optional_child("membership_requests_action").unwrap();
        assert_eq!(
            listed(answer.get_optional_child(decision).unwrap()),
            [row(number, "", "")]
        );
        told(
            &mut client,
            if decision == "approve" {
                "add"
            } else {
                "revoked_membership_requests"
            },
        )
        .await;
    }
    let groups = admin(addr, "GET", "/admin/groups", "").await.1;
    let members = json!([{"phone": NUMBER, "role": "superadmin"}, {"phone": OTHER, "role": "member"}]);
    assert_eq!((&groups[0]["members"], &groups[0]["requests"]), (&members, &json!([])));
    simulator.shutdown().await;
}

#[tokio::test]
async fn changes_of_a_group_wait_until_acknowledged_also_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(folder.path().to_owned()),
        ..Options::default()
    };
    let first = Simulator::start(options.clone()).await.unwrap();
    let (keys, client) = member(first.addr(), NUMBER).await;
    drop(client);
    let theirs = json!({"phone": OTHER, "action": "create", "subject": "Theirs", "participants": [NUMBER]});
    let theirs = deed(first.addr(), theirs).await;
    let group = theirs["jid"].as_str().unwrap();
    deed(
        first.addr(),
        json!({"phone": OTHER, "action": "subject", "group": group, "subject": "Ours"}),
    )
    .await;
    let before = admin(first.addr(), "GET", "/admin/groups", "").await.1;
    first.shutdown().await;

    let second = Simulator::start(options).await.unwrap();
    let addr = second.addr();
    assert_eq!(admin(addr, "GET", "/admin/groups", "").await.1, before);
    for _ in 0..2 {
        // Not acknowledged the first time, hence there again.
        let (mut client, _) = log_in(addr, &keys, NUMBER).await;
        activate(&mut client).await;
        for what in ["create", "subject"] {
            let notification = client.next_tagged("notification").await;
            assert!(notification.get_optional_child(what).is_some(), "{notification:?}");
            assert_eq!(text(&notification, "offline"), "1");
        }
    }
    let (mut client, _) = log_in(addr, &keys, NUMBER).await;
    activate(&mut client).await;
    for what in ["create", "subject"] {
        told(&mut client, what).await;
    }
    until(addr, |stats| waiting(stats, NUMBER) == 0).await;
    second.shutdown().await;
}

#[tokio::test]
async fn a_wrong_call_about_groups_says_what_to_do() {
    let (simulator, addr) = simulator().await;
    let call = async |body: &str| {
        let (status, answer) = admin(addr, "POST", "/admin/mock-phone/group", body).await;
        (status, answer["error"].as_str().unwrap().to_owned())
    };
    let (status, error) = call("{}").await;
    assert!(status == 400 && error.contains("GET /admin"), "{status} {error}");
    let (status, error) = call(&json!({"phone": NUMBER, "action": "dance"}).to_string()).await;
    assert!(status == 400 && error.contains("dance"), "{status} {error}");
    let (status, error) = call(&json!({"phone": NUMBER, "action": "add", "group": "1@g.us"}).to_string()).await;
    assert!(status == 400 && error.contains("`participants`"), "{status} {error}");
    let (status, error) = call(&json!({"phone": NUMBER, "action": "leave", "group": "1@g.us"}).to_string()).await;
    assert!(status == 409 && error.contains("no such group"), "{status} {error}");
    simulator.shutdown().await;
}
