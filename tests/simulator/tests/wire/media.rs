//! The media servers, by a client of its own: upload, ranges, refusals, cut uploads, a restart.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_simulator::{Options, Simulator};

use crate::client::{Client, admin, link, log_in, stats, text, until};
use crate::https::{self, Reply};
use crate::{NUMBER, simulator};

fn token(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))
}

/// What a companion is told about the media servers: host and auth.
pub async fn media_conn(client: &mut Client) -> (String, String) {
    let question = NodeBuilder::new("media_conn").build();
    let answer = client.ask("w:m", "set", vec![question]).await;
    let connection = answer.get_optional_child("media_conn").unwrap();
    let host = connection.get_optional_child("host").unwrap();
    assert_eq!(text(host, "type"), "primary");
    assert!(text(connection, "ttl").parse::<u64>().unwrap() > 0);
    (text(host, "hostname"), text(connection, "auth"))
}

/// One companion's view of the media servers.
struct Uploader {
    addr: SocketAddr,
    pem: String,
    auth: String,
}

impl Uploader {
    async fn of(simulator: &Simulator) -> Self {
        let addr = simulator.addr();
        let keys = link(addr, NUMBER).await;
        let (mut client, _) = log_in(addr, &keys, NUMBER).await;
        let (host, auth) = media_conn(&mut client).await;
        assert_eq!(host, addr.to_string());
        let pem = simulator.certificate().to_owned();
        Self { addr, pem, auth }
    }

    async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let body = Bytes::copy_from_slice(body);
        https::call(self.addr, &self.pem, method, path, headers, body).await
    }

    fn address(&self, token: &str) -> String {
        format!("/mms/image/{token}?auth={}&token={token}", self.auth)
    }

    async fn upload(&self, bytes: &[u8]) -> Value {
        let reply = self.call("POST", &self.address(&token(bytes)), &[], bytes).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &[], &[]).await
    }
}

fn path(stored: &Value) -> &str {
    stored["direct_path"].as_str().unwrap()
}

fn sample(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

#[tokio::test]
async fn what_was_uploaded_comes_back_whole_in_ranges_and_as_a_head() {
    let (simulator, _) = simulator().await;
    let uploader = Uploader::of(&simulator).await;
    let bytes = sample(300_000);
    let stored = uploader.upload(&bytes).await;
    let direct_path = path(&stored);
    let url = stored["url"].as_str().unwrap();
    assert!(
        url.starts_with(&format!("https://{}{direct_path}", uploader.addr)),
        "{stored}"
    );
    assert_eq!(uploader.get(direct_path).await.body, bytes);
    // As whatsapp-rust asks: with a second question mark and its auth.
    let asked = format!("{direct_path}?auth={}&token={}", uploader.auth, token(&bytes));
    assert_eq!(uploader.get(&asked).await.body, bytes);
    for (range, status, content_range, expected) in [
        ("bytes=0-15", 206, "bytes 0-15/300000", &bytes[..16]),
        ("bytes=299990-", 206, "bytes 299990-299999/300000", &bytes[299_990..]),
        ("bytes=-10", 206, "bytes 299990-299999/300000", &bytes[299_990..]),
        ("bytes=100-400000", 206, "bytes 100-299999/300000", &bytes[100..]),
        ("bytes=300000-", 416, "bytes */300000", &[]),
    ] {
        let reply = uploader.call("GET", direct_path, &[("range", range)], &[]).await;
        assert_eq!(
            (reply.status, reply.header("content-range")),
            (status, content_range),
            "{range}"
        );
        assert_eq!(reply.body, expected, "{range}");
    }
    let head = uploader.call("HEAD", direct_path, &[], &[]).await;
    assert_eq!(
        (head.status, head.header("content-length"), head.body.len()),
        (200, "300000", 0)
    );
    // The same bytes again keep their address.
    assert_eq!(uploader.upload(&bytes).await, stored);
    let stats = stats(uploader.addr).await;
    assert_eq!(stats["media"]["stored"], 1, "{stats}");
    assert_eq!(stats["mediaHost"], uploader.addr.to_string());
    simulator.shutdown().await;
}

#[tokio::test]
async fn what_is_wrong_with_an_upload_is_refused_and_stores_nothing() {
    let (simulator, addr) = simulator().await;
    let uploader = Uploader::of(&simulator).await;
    let token = token(b"sealed");
    let right = uploader.address(&token);
    let other = BASE64_URL_SAFE_NO_PAD.encode([1; 32]);
    for (status, method, path, body, says) in [
        (401, "POST", format!("/mms/image/{token}"), "sealed", "auth"),
        (
            401,
            "POST",
            format!("/mms/image/{token}?auth=sim&token={token}"),
            "sealed",
            "auth",
        ),
        (400, "POST", right.clone(), "another", "not those of the token"),
        (
            400,
            "POST",
            format!("/mms/image/{token}?auth={}&token={other}", uploader.auth),
            "sealed",
            "token",
        ),
        (400, "POST", uploader.address("short"), "sealed", "token"),
        (
            404,
            "POST",
            right.replace("image", "hologram"),
            "sealed",
            "no such kind",
        ),
        (409, "POST", format!("{right}&file_offset=3"), "led", "resume=1"),
        (400, "POST", format!("{right}&file_offset=x"), "led", "whole number"),
        (405, "GET", right.clone(), "", "use POST"),
        (405, "POST", "/v/t62.7118-24/1_n.enc".to_owned(), "", "use GET"),
        (404, "GET", "/v/t62.7118-24/1_n.enc".to_owned(), "", "no such medium"),
    ] {
        let reply = uploader.call(method, &path, &[], body.as_bytes()).await;
        let answer = reply.json();
        let sentence = answer["error"].as_str().unwrap();
        assert!(
            reply.status == status && sentence.contains(says),
            "{method} {path}: {reply:?}"
        );
    }
    let (status, answer) = admin(addr, "POST", &right, "sealed").await;
    assert!(
        status == 403 && answer["error"].as_str().unwrap().contains("https"),
        "{answer}"
    );
    let counted = stats(addr).await;
    assert_eq!(
        (&counted["media"]["stored"], &counted["media"]["uploads"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(counted["media"]["refused"]["401"], 2, "{counted}");
    uploader.upload(b"sealed").await;
    simulator.shutdown().await;
}

#[tokio::test]
async fn an_address_without_its_signature_is_refused() {
    let (simulator, _) = simulator().await;
    let uploader = Uploader::of(&simulator).await;
    let stored = uploader.upload(b"sealed").await;
    let bare = path(&stored).split('?').next().unwrap();
    for (path, says) in [
        (bare.to_owned(), "mismatch"),
        (path(&stored).replace("oe=", "oe=F"), "mismatch"),
        (path(&stored).replace("7118", "7117"), "mismatch"),
    ] {
        let reply = uploader.get(&path).await;
        let answer = reply.json();
        assert!(
            reply.status == 403 && answer["error"].as_str().unwrap().contains(says),
            "{path}: {answer}"
        );
    }
    simulator.shutdown().await;
}

/// Sends the head of an upload and part of its body, and hangs up once the server has that part.
async fn cut(uploader: &Uploader, path: &str, announced: usize, body: &[u8]) {
    let mut stream = https::tls(uploader.addr, &uploader.pem, "127.0.0.1").await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {announced}\r\n\r\n",
        uploader.addr
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream.shutdown().await.unwrap();
    // The server answers or hangs up once it has seen the end.
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
}

#[tokio::test]
async fn a_cut_upload_shows_nothing_and_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    for state in [None, Some(folder.path().to_owned())] {
        let options = Options {
            state,
            ..Options::default()
        };
        let simulator = Simulator::start(options).await.unwrap();
        let uploader = Uploader::of(&simulator).await;
        let bytes = sample(200_000);
        let address = uploader.address(&token(&bytes));
        let ask = async || {
            uploader
                .call("POST", &format!("{address}&resume=1"), &[], &[])
                .await
                .json()
        };
        assert_eq!(ask().await, json!({"resume": "0"}));
        cut(&uploader, &address, bytes.len(), &bytes[..120_000]).await;
        // The server notices the cut when it does.
        let resume = loop {
            let answer = ask().await;
            if answer["resume"] != "0" {
                break answer;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(resume, json!({"resume": "120000"}));
        assert_eq!(stats(uploader.addr).await["media"]["stored"], 0);
        let rest = uploader
            .call("POST", &format!("{address}&file_offset=120000"), &[], &bytes[120_000..])
            .await;
        assert_eq!(rest.status, 200, "{rest:?}");
        let complete = ask().await;
        assert_eq!(
            (&complete["resume"], path(&complete)),
            (&json!("complete"), path(&rest.json()))
        );
        assert_eq!(uploader.get(path(&complete)).await.body, bytes);
        simulator.shutdown().await;
    }
}

#[tokio::test]
async fn a_medium_that_is_too_large_is_refused_before_it_is_sent() {
    let (simulator, _) = simulator().await;
    let uploader = Uploader::of(&simulator).await;
    let path = uploader.address(&token(b"sealed"));
    let mut stream = https::tls(uploader.addr, &uploader.pem, "127.0.0.1").await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n",
        uploader.addr,
        200 * 1024 * 1024
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    simulator.shutdown().await;
}

#[tokio::test]
async fn media_addresses_and_upload_tokens_survive_a_restart_and_nothing_else_stays_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(folder.path().to_owned()),
        ..Options::default()
    };
    let first = Simulator::start(options.clone()).await.unwrap();
    let mut uploader = Uploader::of(&first).await;
    let bytes = sample(100_000);
    let stored = uploader.upload(&bytes).await;
    let unfinished = sample(5000);
    let address = uploader.address(&token(&unfinished));
    cut(&uploader, &address, unfinished.len(), &unfinished[..4000]).await;
    first.shutdown().await;

    let second = Simulator::start(options).await.unwrap();
    uploader.addr = second.addr();
    assert_eq!(uploader.get(path(&stored)).await.body, bytes);
    assert_eq!(path(&uploader.upload(&bytes).await), path(&stored));
    assert_eq!(std::fs::read_dir(folder.path().join("media")).unwrap().count(), 1);
    second.shutdown().await;
}

#[tokio::test]
async fn the_fault_media_404_strikes_as_often_and_whom_it_was_told() {
    let (simulator, addr) = simulator().await;
    let uploader = Uploader::of(&simulator).await;
    let stored = uploader.upload(b"sealed").await;
    let own = format!("{}?auth={}&token=x", path(&stored), uploader.auth);
    let fault = async |fault: Value| {
        let (status, answer) = admin(addr, "POST", "/admin/fault", &fault.to_string()).await;
        assert_eq!(status, 200, "{answer}");
    };
    fault(json!({"kind": "media-404"})).await;
    assert_eq!(uploader.get(path(&stored)).await.status, 404);
    assert_eq!(uploader.get(path(&stored)).await.status, 200);
    fault(json!({"kind": "media-404", "code": 410, "times": "always", "phone": NUMBER})).await;
    for _ in 0..2 {
        assert_eq!(uploader.get(&own).await.status, 410);
        // Nobody knows who this is.
        assert_eq!(uploader.get(path(&stored)).await.status, 200);
    }
    fault(json!({"kind": "none"})).await;
    assert_eq!(uploader.get(&own).await.status, 200);
    until(addr, |stats| stats["faults"]["media-404"] == 3).await;
    simulator.shutdown().await;
}
