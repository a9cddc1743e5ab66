//! What accounts show of themselves, number checks, and services that an account has nothing in.

use serde_json::json;
use whatsapp_rust::buffa::Message as _;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_simulator::{Options, Simulator};

use crate::client::{Client, admin, companion, content, get, post, present, stats, text};
use crate::{NUMBER, OTHER, simulator};

const JPEG: [u8; 6] = [0xff, 0xd8, 0xff, 0xe0, 1, 2];

fn error_code(answer: &Node) -> String {
    assert_eq!(text(answer, "type"), "error", "{answer:?}");
    text(answer.get_optional_child("error").unwrap(), "code")
}

/// A question with a `target`.
async fn ask_of(client: &mut Client, kind: &str, target: Option<&str>, children: Vec<Node>) -> Node {
    let id = hex::encode(rand::random::<[u8; 8]>());
    let mut iq = NodeBuilder::new("iq")
        .attr("id", id.as_str())
        .attr("xmlns", "w:profile:picture")
        .attr("to", "s.whatsapp.net")
        .attr("type", kind);
    if let Some(target) = target {
        iq = iq.attr("target", target);
    }
    client.send(&iq.children(children).build()).await;
    loop {
        let node = client.next_tagged("iq").await;
        if text(&node, "id") == id {
            return node;
        }
    }
}

fn wanted(id: Option<&str>) -> Vec<Node> {
    let picture = NodeBuilder::new("picture").attr("type", "image").attr("query", "url");
    vec![
        id.into_iter()
            .fold(picture, |picture, id| picture.attr("id", id))
            .build(),
    ]
}

async fn usync(client: &mut Client, protocols: &[&'static str], users: Vec<Node>) -> Vec<Node> {
    let protocols = protocols.iter().map(|name| NodeBuilder::new(name).build());
    let query = NodeBuilder::new("query").children(protocols).build();
    let list = NodeBuilder::new("list").children(users).build();
    let usync = NodeBuilder::new("usync")
        .attr("sid", "1")
        .attr("mode", "query")
        .attr("last", "true")
        .attr("index", "0")
        .attr("context", "interactive")
        .children([query, list]);
    let answer = client.ask("usync", "get", vec![usync.build()]).await;
    let usync = answer.get_optional_child("usync").unwrap();
    let list = usync.get_optional_child("list").unwrap();
    list.get_children_by_tag("user").cloned().collect()
}

fn user(jid: &str) -> Node {
    NodeBuilder::new("user").attr("jid", jid).build()
}

fn by_number(number: &str) -> Node {
    let contact = NodeBuilder::new("contact").bytes(number.as_bytes().to_vec()).build();
    NodeBuilder::new("user").children([contact]).build()
}

#[tokio::test]
async fn a_picture_is_set_seen_fetched_hidden_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(folder.path().to_owned()),
        ..Options::default()
    };
    let first = Simulator::start(options.clone()).await.unwrap();
    let addr = first.addr();
    let (_, mut owner) = companion(addr, NUMBER).await;
    let (keys, mut viewer) = companion(addr, OTHER).await;
    let target = format!("{NUMBER}@s.whatsapp.net");
    // Who does not know the owner is not told of the picture.
    post(
        addr,
        &format!("/admin/mock-phone/send?from={OTHER}&to={NUMBER}&text=hi"),
    )
    .await;
    assert_eq!(
        error_code(&ask_of(&mut viewer, "get", Some(&target), wanted(None)).await),
        "404"
    );

    let picture = |bytes: &[u8]| {
        vec![
            NodeBuilder::new("picture")
                .attr("type", "image")
                .bytes(bytes.to_vec())
                .build(),
        ]
    };
    assert_eq!(
        error_code(&ask_of(&mut owner, "set", None, picture(b"GIF89a")).await),
        "406"
    );
    assert_eq!(
        error_code(&ask_of(&mut viewer, "set", Some(&target), picture(&JPEG)).await),
        "403"
    );
    let answer = ask_of(&mut owner, "set", None, picture(&JPEG)).await;
    let id = text(answer.get_optional_child("picture").unwrap(), "id");
    let notification = viewer.next_tagged("notification").await;
    assert_eq!(
        (text(&notification, "type"), text(&notification, "from")),
        ("picture".to_owned(), target.clone())
    );
    assert_eq!(text(notification.get_optional_child("set").unwrap(), "id"), id);

    let answer = ask_of(&mut viewer, "get", Some(&target), wanted(None)).await;
    let seen = answer.get_optional_child("picture").unwrap();
    assert_eq!((text(seen, "id"), text(seen, "type")), (id.clone(), "image".to_owned()));
    let path = text(seen, "direct_path");
    assert_eq!(text(seen, "url"), format!("https://{addr}{path}"));
    assert_eq!(fetch(addr, &path).await, (200, JPEG.to_vec()));
    assert_eq!(fetch(addr, "/pp/0.jpg").await.0, 404);
    let answer = ask_of(&mut viewer, "get", Some(&target), wanted(Some(&id))).await;
    assert_eq!(text(answer.get_optional_child("picture").unwrap(), "url"), "");

    let hide = format!("/admin/mock-phone/privacy?phone={NUMBER}&category=profile&value=none");
    post(addr, &hide).await;
    assert_eq!(
        error_code(&ask_of(&mut viewer, "get", Some(&target), wanted(None)).await),
        "401"
    );
    post(addr, &hide.replace("none", "all")).await;
    drop((owner, viewer));
    first.shutdown().await;

    let second = Simulator::start(options).await.unwrap();
    let addr = second.addr();
    let mut viewer = present(addr, &keys, OTHER).await;
    assert_eq!(fetch(addr, &path).await, (200, JPEG.to_vec()));
    post(addr, &format!("/admin/mock-phone/picture?phone={NUMBER}")).await;
    while viewer
        .next_tagged("notification")
        .await
        .get_optional_child("delete")
        .is_none()
    {}
    assert_eq!(fetch(addr, &path).await.0, 404);
    let path = format!("/admin/mock-phone/picture?phone={NUMBER}");
    assert_eq!(admin(addr, "POST", &path, "no picture").await.0, 400);
    second.shutdown().await;
}

/// A plain GET; status and body.
async fn fetch(addr: std::net::SocketAddr, path: &str) -> (u16, Vec<u8>) {
    use http_body_util::BodyExt as _;
    let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(path).header("host", addr.to_string());
    let body = http_body_util::Empty::<bytes::Bytes>::new();
    let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    (
        status,
        response.into_body().collect().await.unwrap().to_bytes().to_vec(),
    )
}

#[tokio::test]
async fn about_texts_and_timers_are_kept_and_told() {
    let (simulator, addr) = simulator().await;
    let (_, mut owner) = companion(addr, NUMBER).await;
    let (_, mut viewer) = companion(addr, OTHER).await;
    post(
        addr,
        &format!("/admin/mock-phone/send?from={OTHER}&to={NUMBER}&text=hi"),
    )
    .await;
    let asked = || vec![user(&format!("{NUMBER}@s.whatsapp.net"))];
    let status = NodeBuilder::new("status").bytes(b"At work".to_vec()).build();
    assert_eq!(text(&owner.ask("status", "set", vec![status]).await, "type"), "result");
    let notification = viewer.next_tagged("notification").await;
    assert_eq!(text(&notification, "type"), "status");
    assert_eq!(content(notification.get_optional_child("set").unwrap()), b"At work");
    let mode = NodeBuilder::new("disappearing_mode").attr("duration", "86400").build();
    let answer = owner.ask("disappearing_mode", "set", vec![mode]).await;
    assert_eq!(text(&answer, "type"), "result");

    let protocols = ["status", "disappearing_mode"];
    let shown = usync(&mut viewer, &protocols, asked()).await.remove(0);
    assert_eq!(content(shown.get_optional_child("status").unwrap()), b"At work");
    let mode = shown.get_optional_child("disappearing_mode").unwrap();
    assert_eq!(text(mode, "duration"), "86400");
    post(
        addr,
        &format!("/admin/mock-phone/privacy?phone={NUMBER}&category=status&value=none"),
    )
    .await;
    let hidden = usync(&mut viewer, &protocols, asked()).await.remove(0);
    let status = hidden.get_optional_child("status").unwrap();
    assert_eq!((text(status, "code").as_str(), content(status)), ("401", vec![]));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_number_check_tells_numbers_of_every_kind_apart() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = companion(addr, NUMBER).await;
    get(addr, &format!("/admin/mock-phone/inbox?phone={OTHER}")).await;
    let card = json!({"name": "Shop", "websites": ["https://shop.example"], "category": "Shopping"});
    let path = format!("/admin/mock-phone/business?phone={OTHER}");
    assert_eq!(admin(addr, "POST", &path, &card.to_string()).await.0, 200);
    let users = vec![
        by_number(&format!("+{OTHER}")),
        by_number("+5511000000000"),
        by_number("+12"),
        user("100000000000002@lid"),
        user("999999999999999@lid"),
    ];
    let answers = usync(&mut client, &["contact", "lid", "business", "devices"], users).await;
    let kinds: Vec<String> = answers
        .iter()
        .map(|user| text(user.get_optional_child("contact").unwrap(), "type"))
        .collect();
    assert_eq!(kinds, ["in", "out", "invalid", "in", "out"]);
    assert_eq!(
        text(answers[0].get_optional_child("lid").unwrap(), "val"),
        "100000000000002@lid"
    );
    // No error inside: Baileys would take the whole question for failed.
    let devices = answers[1].get_optional_child("devices").unwrap();
    assert!(devices.get_optional_child("error").is_none());
    let business = answers[0].get_optional_child("business").unwrap();
    let name = business.get_optional_child("verified_name").unwrap();
    let certificate = wa::VerifiedNameCertificate::decode_from_slice(&content(name)).unwrap();
    let details =
        wa::verified_name_certificate::Details::decode_from_slice(certificate.details.as_deref().unwrap()).unwrap();
    assert_eq!(details.verified_name.as_deref(), Some("Shop"));
    assert!(answers[1].get_optional_child("business").is_none());
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_business_shows_its_card_and_a_person_has_none() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = companion(addr, NUMBER).await;
    let card = json!({"description": "We sell", "websites": ["https://shop.example"], "category": "Shopping"});
    let path = format!("/admin/mock-phone/business?phone={OTHER}");
    assert_eq!(admin(addr, "POST", &path, &card.to_string()).await.0, 200);
    assert_eq!(admin(addr, "POST", &path, r#"{"motto":"x"}"#).await.0, 400);
    let mut cards = async |number: &str| {
        let profile = NodeBuilder::new("profile").attr("jid", format!("{number}@s.whatsapp.net"));
        let asked = NodeBuilder::new("business_profile")
            .attr("v", "244")
            .children([profile.build()]);
        let answer = client.ask("w:biz", "get", vec![asked.build()]).await;
        let profiles = answer.get_optional_child("business_profile").unwrap();
        profiles.get_children_by_tag("profile").cloned().collect::<Vec<_>>()
    };
    assert!(cards(NUMBER).await.is_empty());
    let shop = cards(OTHER).await.remove(0);
    assert_eq!(content(shop.get_optional_child("description").unwrap()), b"We sell");
    assert_eq!(
        content(shop.get_optional_child("website").unwrap()),
        b"https://shop.example"
    );
    let category = shop.get_optional_child("categories").unwrap();
    assert_eq!(content(category.get_optional_child("category").unwrap()), b"Shopping");
    let edit = NodeBuilder::new("business_profile").build();
    assert_eq!(error_code(&client.ask("w:biz", "set", vec![edit]).await), "403");
    simulator.shutdown().await;
}

#[tokio::test]
async fn services_answer_that_there_is_nothing_and_the_unknown_is_counted_and_refused() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = companion(addr, NUMBER).await;
    let mut graphql = async |id: &str| {
        let query = NodeBuilder::new("query")
            .attr("query_id", id)
            .bytes(b"{}".to_vec())
            .build();
        let answer = client.ask("w:mex", "get", vec![query]).await;
        let body = content(answer.get_optional_child("result").unwrap());
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()
    };
    let free = graphql("23983697327930364").await;
    assert_eq!(
        free["data"]["xwa2_fetch_account_reachout_timelock"]["is_active"],
        json!(false)
    );
    let body = graphql("29829202653362039").await;
    assert_eq!(body["errors"][0]["extensions"]["error_code"], json!(404));
    let bot = NodeBuilder::new("bot").attr("v", "2").build();
    assert!(
        client
            .ask("bot", "get", vec![bot])
            .await
            .get_optional_child("bot")
            .is_some()
    );
    let add = NodeBuilder::new("add").bytes(vec![1]).build();
    assert_eq!(text(&client.ask("w:stats", "set", vec![add]).await, "type"), "result");
    let clean = NodeBuilder::new("clean").attr("type", "account_sync").build();
    let answer = client.ask("urn:xmpp:whatsapp:dirty", "set", vec![clean]).await;
    assert_eq!(text(&answer, "type"), "result");
    assert_eq!(stats(addr).await["unknownIqs"], json!({}));

    for kind in ["get", "set"] {
        let fruit = NodeBuilder::new("banana").build();
        assert_eq!(error_code(&client.ask("w:fruit", kind, vec![fruit]).await), "501");
    }
    assert_eq!(stats(addr).await["unknownIqs"], json!({"w:fruit banana": 2}));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_connected_client_is_told_what_of_its_state_is_out_of_date() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = companion(addr, NUMBER).await;
    let path = |kind: &str| format!("/admin/mock-phone/dirty?phone={NUMBER}&type={kind}");
    assert_eq!(post(addr, &path("account_sync")).await["told"], json!(1));
    let bulletin = client.next_tagged("ib").await;
    let dirty = bulletin.get_optional_child("dirty").unwrap();
    assert_eq!(text(dirty, "type"), "account_sync");
    assert!(text(dirty, "timestamp").parse::<u64>().is_ok());
    assert_eq!(admin(addr, "POST", &path("laundry"), "").await.0, 400);
    simulator.shutdown().await;
}
