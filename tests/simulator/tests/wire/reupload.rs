//! A companion whose download fails asks its phone, which uploads again; sealed and opened by the client library.

use bytes::Bytes;
use whatsapp_rust::wacore::media_retry::{
    MediaRetryResult, build_media_retry_receipt, encrypt_media_retry_receipt, parse_media_retry_notification,
};
use whatsapp_rust::wacore_binary::{Jid, Node, OwnedNodeRef, marshal};

use crate::client::{Client, admin, text};
use crate::phone_media::{send_image, uploaded_by};
use crate::queues::settled;
use crate::{NUMBER, OTHER, https, simulator};

/// Asks the phone for the medium of a message and gives the answer.
async fn ask(client: &mut Client, id: &str, media_key: &[u8]) -> Node {
    let (sealed, iv) = encrypt_media_retry_receipt(media_key, id).unwrap();
    let (own, chat) = (Jid::pn(NUMBER), Jid::pn(OTHER));
    let receipt = build_media_retry_receipt(&own, id, &chat, true, None, &sealed, &iv);
    client.send(&receipt).await;
    loop {
        let notification = client.next_tagged("notification").await;
        if text(&notification, "type") == "mediaretry" {
            assert_eq!(text(&notification, "id"), id);
            let about = notification.get_optional_child("rmr").unwrap();
            assert_eq!(text(about, "jid"), chat.to_string());
            return notification;
        }
    }
}

fn opened(notification: &Node, media_key: &[u8]) -> MediaRetryResult {
    let bytes = marshal::marshal(notification).unwrap();
    let read = OwnedNodeRef::new(bytes[1..].to_vec()).unwrap();
    parse_media_retry_notification(read.get(), media_key).unwrap()
}

#[tokio::test]
async fn a_phone_uploads_again_what_its_companion_cannot_download() {
    let (simulator, addr) = simulator().await;
    let (_, mut client) = settled(addr).await;
    let image = uploaded_by(&simulator, &mut client, b"a picture of sorts").await;
    let key = image.media_key.clone().unwrap();
    let first = image.direct_path.clone().unwrap();
    let entry = send_image(addr, image).await;
    let id = entry["id"].as_str().unwrap();
    let get = async |path: &str| https::call(addr, simulator.certificate(), "GET", path, &[], Bytes::new()).await;
    let sealed = get(&first).await.body;

    let path = format!("/admin/mock-phone/expire-media?phone={NUMBER}&id={id}");
    assert_eq!(admin(addr, "POST", &path, "").await.0, 200);
    assert_eq!(get(&first).await.status, 410);
    let answer = ask(&mut client, id, &key).await;
    let MediaRetryResult::Success { direct_path } = opened(&answer, &key) else {
        panic!("{answer:?}");
    };
    assert_ne!(direct_path, first);
    assert_eq!((get(&direct_path).await.body, get(&first).await.status), (sealed, 410));

    // Who does not know the key, or asks for what the phone does not have, is told so.
    let answer = ask(&mut client, id, &[7; 32]).await;
    assert!(
        matches!(opened(&answer, &key), MediaRetryResult::DecryptionError),
        "{answer:?}"
    );
    let answer = ask(&mut client, "NONE", &key).await;
    assert!(
        matches!(opened(&answer, &key), MediaRetryResult::NotFound),
        "{answer:?}"
    );
    simulator.shutdown().await;
}
