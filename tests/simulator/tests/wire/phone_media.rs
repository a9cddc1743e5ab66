//! Media of phones: every kind they send, and what they check of what they get.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::wacore::download::MediaType;
use whatsapp_rust::wacore::upload::{EncryptedMedia, encrypt_media};
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_simulator::{Options, Simulator};

use crate::client::{Client, admin, link, log_in};
use crate::contents::{inbox, send};
use crate::media::media_conn;
use crate::{NUMBER, OTHER, https, simulator};

async fn content(simulator: &Simulator, number: &str, id: &str) -> https::Reply {
    let path = format!("/admin/mock-phone/media?phone={number}&id={id}");
    let addr = simulator.addr();
    https::call(addr, simulator.certificate(), "GET", &path, &[], Bytes::new()).await
}

async fn last(addr: SocketAddr) -> Value {
    inbox(addr, OTHER).await.pop().unwrap()
}

#[tokio::test]
async fn every_kind_without_a_file_is_a_small_real_one_that_arrives_checked() {
    let (simulator, addr) = simulator().await;
    for (kind, start, shown) in [
        (
            json!({"type": "image", "caption": "look"}),
            &b"\x89PNG"[..],
            json!({"type": "image", "mimeType": "image/png", "width": 64, "height": 48}),
        ),
        (
            json!({"type": "audio", "voice": true, "seconds": 7}),
            b"OggS",
            json!({"type": "audio", "mimeType": "audio/ogg; codecs=opus", "voice": true, "seconds": 7}),
        ),
        (
            json!({"type": "audio"}),
            b"OggS",
            json!({"type": "audio", "voice": false, "seconds": 3}),
        ),
        (
            json!({"type": "document", "filename": "a.pdf", "caption": "read"}),
            b"%PDF",
            json!({"type": "document", "mimeType": "application/pdf", "fileName": "a.pdf"}),
        ),
        (
            json!({"type": "sticker"}),
            b"RIFF",
            json!({"type": "sticker", "mimeType": "image/webp"}),
        ),
    ] {
        let mut body = kind.clone();
        body["from"] = NUMBER.into();
        body["to"] = OTHER.into();
        let id = send(addr, body).await;
        let entry = last(addr).await;
        let media = &entry["media"];
        assert_eq!(
            (&entry["id"], &media["verified"], &media["error"]),
            (&json!(id), &json!(true), &Value::Null),
            "{kind}: {entry}"
        );
        assert_eq!(
            (&entry["type"], &entry["caption"]),
            (&kind["type"], &kind["caption"]),
            "{entry}"
        );
        for (field, value) in shown.as_object().unwrap() {
            assert_eq!(&media[field], value, "{field} of {entry}");
        }
        // Whoever sent it and whoever got it see the same bytes, and those are what the message says.
        let got = content(&simulator, OTHER, &id).await;
        let sent = content(&simulator, NUMBER, &id).await;
        assert_eq!((got.status, &got.body), (200, &sent.body), "{kind}");
        assert!(got.body.starts_with(start), "{kind}");
        assert_eq!(media["sha256"], hex::encode(Sha256::digest(&got.body)));
        assert_eq!(
            (&media["size"], got.header("content-type")),
            (&json!(got.body.len()), media["mimeType"].as_str().unwrap())
        );
    }
    let voice = &inbox(addr, OTHER).await[1];
    assert_eq!(voice["media"]["waveform"].as_array().unwrap().len(), 64);
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_file_of_the_caller_arrives_as_it_is_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(folder.path().to_owned()),
        ..Options::default()
    };
    let first = Simulator::start(options.clone()).await.unwrap();
    let file: Vec<u8> = (0..1_000_000u32).map(|index| (index % 253) as u8).collect();
    let body = json!({"from": NUMBER, "to": OTHER, "type": "video", "base64": BASE64_STANDARD.encode(&file), "mime_type": "video/mp4", "seconds": 9, "width": 3, "height": 2});
    let id = send(first.addr(), body).await;
    assert_eq!(last(first.addr()).await["media"]["verified"], true);
    first.shutdown().await;
    let second = Simulator::start(options).await.unwrap();
    assert_eq!(content(&second, OTHER, &id).await.body, file);
    assert_eq!(last(second.addr()).await["media"]["seconds"], 9);
    second.shutdown().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said() {
    let (simulator, addr) = simulator().await;
    for (kind, says) in [
        (json!({"type": "video"}), "give the bytes as `base64`"),
        (json!({"type": "image", "base64": "%"}), "not base64"),
        (json!({"type": "image", "base64": ""}), "1 to"),
        (json!({"type": "audio", "seconds": 100_000}), "600 seconds"),
        (json!({"type": "document", "filename": "a\nb"}), "`filename`"),
        (json!({"type": "image", "voice": true}), "unknown field `voice`"),
    ] {
        let mut body = kind.clone();
        body["from"] = NUMBER.into();
        body["to"] = OTHER.into();
        let (status, answer) = admin(addr, "POST", "/admin/mock-phone/send", &body.to_string()).await;
        assert!(
            status == 400 && answer["error"].as_str().unwrap().contains(says),
            "{kind}: {answer}"
        );
    }
    let id = send(addr, json!({"from": NUMBER, "to": OTHER, "type": "text", "text": "x"})).await;
    for path in ["media", "expire-media"] {
        let method = if path == "media" { "GET" } else { "POST" };
        let path = format!("/admin/mock-phone/{path}?phone={OTHER}&id={id}");
        let (status, answer) = admin(addr, method, &path, "").await;
        assert!(
            status == 404
                && answer["error"]
                    .as_str()
                    .unwrap()
                    .contains("no readable message with a medium"),
            "{answer}"
        );
    }
    simulator.shutdown().await;
}

/// A picture that the client library has sealed and a companion has uploaded.
async fn uploaded(simulator: &Simulator, plain: &[u8]) -> wa::message::ImageMessage {
    let addr = simulator.addr();
    let keys = link(addr, NUMBER).await;
    let (mut client, _) = log_in(addr, &keys, NUMBER).await;
    uploaded_by(simulator, &mut client, plain).await
}

/// The same by a companion that is there.
pub async fn uploaded_by(simulator: &Simulator, client: &mut Client, plain: &[u8]) -> wa::message::ImageMessage {
    let addr = simulator.addr();
    let (_, auth) = media_conn(client).await;
    let EncryptedMedia {
        data_to_upload,
        media_key,
        file_sha256,
        file_enc_sha256,
        ..
    } = encrypt_media(plain, MediaType::Image).unwrap();
    let token = BASE64_URL_SAFE_NO_PAD.encode(file_enc_sha256);
    let path = format!("/mms/image/{token}?auth={auth}&token={token}");
    let reply = https::call(addr, simulator.certificate(), "POST", &path, &[], data_to_upload.into()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    wa::message::ImageMessage {
        direct_path: Some(reply.json()["direct_path"].as_str().unwrap().to_owned()),
        media_key: Some(media_key.to_vec()),
        file_sha256: Some(file_sha256.to_vec()),
        file_enc_sha256: Some(file_enc_sha256.to_vec()),
        file_length: Some(plain.len() as u64),
        mimetype: Some("image/png".to_owned()),
        ..Default::default()
    }
}

/// What can be wrong with a picture.
type Spoil = fn(&mut wa::message::ImageMessage);

/// A phone sends a picture that is described by hand; gives what the other phone shows.
pub async fn send_image(addr: SocketAddr, image: wa::message::ImageMessage) -> Value {
    let message = wa::Message {
        image_message: MessageField::some(image),
        ..Default::default()
    };
    let message = BASE64_STANDARD.encode(message.encode_to_vec());
    send(
        addr,
        json!({"from": NUMBER, "to": OTHER, "type": "raw", "message": message}),
    )
    .await;
    last(addr).await
}

#[tokio::test]
async fn a_phone_opens_what_the_client_library_sealed_and_says_what_is_wrong_with_it() {
    let (simulator, addr) = simulator().await;
    let right = uploaded(&simulator, b"a picture of sorts").await;
    let entry = send_image(addr, right.clone()).await;
    assert_eq!(
        (&entry["media"]["verified"], &entry["media"]["size"]),
        (&json!(true), &json!(18))
    );
    let id = entry["id"].as_str().unwrap();
    assert_eq!(&content(&simulator, OTHER, id).await.body[..], b"a picture of sorts");

    let spoilt: &[(Spoil, &str)] = &[
        (|image| image.media_key = Some(vec![1; 32]), "MAC"),
        (|image| image.media_key = None, "32 bytes"),
        (|image| image.file_sha256 = Some(vec![1; 32]), "file_sha256"),
        (|image| image.file_enc_sha256 = Some(vec![1; 32]), "file_enc_sha256"),
        (|image| image.file_length = Some(17), "18 bytes"),
        (
            |image| image.direct_path = Some("/v/t62.7118-24/1_n.enc".to_owned()),
            "no such address",
        ),
        (|image| image.direct_path = None, "no such address"),
    ];
    for (spoil, says) in spoilt {
        let mut image = right.clone();
        spoil(&mut image);
        let entry = send_image(addr, image).await;
        let media = &entry["media"];
        assert!(
            media["verified"] == false && media["error"].as_str().unwrap().contains(says),
            "{says}: {media}"
        );
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_large_medium_waits_until_somebody_asks_for_it() {
    let (simulator, addr) = simulator().await;
    let file = vec![7; 17 * 1024 * 1024];
    let right = uploaded(&simulator, &file).await;
    let entry = send_image(addr, right).await;
    let media = &entry["media"];
    assert_eq!((&media["verified"], &media["error"]), (&json!(false), &Value::Null));
    let reply = content(&simulator, OTHER, entry["id"].as_str().unwrap()).await;
    assert!(reply.status == 200 && reply.body == file);
    simulator.shutdown().await;
}

#[tokio::test]
async fn an_expired_medium_is_gone_for_everybody() {
    let (simulator, addr) = simulator().await;
    let id = send(addr, json!({"from": NUMBER, "to": OTHER, "type": "image"})).await;
    let direct_path = last(addr).await["media"]["directPath"].as_str().unwrap().to_owned();
    let get = async || {
        https::call(addr, simulator.certificate(), "GET", &direct_path, &[], Bytes::new())
            .await
            .status
    };
    assert_eq!(get().await, 200);
    let path = format!("/admin/mock-phone/expire-media?phone={OTHER}&id={id}");
    assert_eq!(admin(addr, "POST", &path, "").await.0, 200);
    assert_eq!((get().await, content(&simulator, NUMBER, &id).await.status), (410, 410));
    simulator.shutdown().await;
}
