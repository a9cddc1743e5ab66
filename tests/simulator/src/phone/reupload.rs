//! A companion could not download a medium and asks its phone for it; the phone uploads it again and says where.
//!
//! `<receipt type=server-error>` to the own account, the answer is `<notification type=mediaretry>` with the same id;
//! both carry a protobuf sealed by a key made of the medium's own (whatsapp-rust `wacore/src/media_retry.rs`, Baileys
//! `Utils/messages-media`). The receipt for a piece of history has no `<rmr>`.

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use anyhow::{Context as _, Result, ensure};
use hkdf::Hkdf;
use sha2::Sha256;
use whatsapp_rust::buffa::Message as _;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::media_retry_notification::ResultType;

use crate::account::Form;
use crate::clock::unix_seconds;
use crate::phone::media::{Reference, history_of, medium_of};
use crate::stanza::{Stanza as _, bytes_child};
use crate::world::World;

/// The key that requests and answers about one medium are sealed with.
fn retry_cipher(media_key: &[u8]) -> Result<Aes256Gcm> {
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(None, media_key)
        .expand(b"WhatsApp Media Retry Notification", &mut key)
        .ok()
        .context("no key of that length")?;
    Aes256Gcm::new_from_slice(&key).ok().context("no key of that length")
}

impl World {
    /// Answers a companion that could not download something.
    pub(crate) fn phone_uploads_again(&mut self, number: &str, receipt: &Node) -> Result<()> {
        let from = receipt.jid("from").context("no sender")?;
        let asker = self.accounts.resolve(&from).context("the asker is not on WhatsApp")?;
        // Only the own companions may make a phone upload.
        ensure!(asker.number == number, "somebody else asks for a medium");
        let id = receipt.text("id").context("no id")?;
        let account = self.accounts.get(number).context("no such phone")?;
        let reference = account.phone.message(&id).and_then(|message| {
            let shown = medium_of(&message).map(|(reference, _)| reference);
            shown.or_else(|| history_of(&message))
        });
        let mut children = vec![match reference {
            Some(reference) => match self.retried(&id, receipt, &reference) {
                Ok(sealed) => sealed,
                Err(error) => {
                    tracing::info!(id, error = format!("{error:#}"), "a medium could not be uploaded again");
                    refusal(ResultType::DECRYPTION_ERROR)
                }
            },
            None => refusal(ResultType::NOT_FOUND),
        }];
        children.extend(receipt.child("rmr").cloned());
        let sender = self.accounts.get(number).context("no such phone")?;
        let notification = NodeBuilder::new("notification")
            .attr("from", sender.jid(Form::of(&from)))
            .attr("type", "mediaretry")
            .attr("id", id)
            .attr("t", unix_seconds())
            .children(children)
            .build();
        self.deliver(&asker, notification)
    }

    /// Checks the request and uploads; gives the sealed answer.
    fn retried(&mut self, id: &str, receipt: &Node, reference: &Reference) -> Result<Node> {
        let request = receipt.child("encrypt").context("nothing sealed inside")?;
        let cipher = retry_cipher(&reference.key)?;
        let iv: [u8; 12] = request
            .child_content("enc_iv")
            .and_then(|iv| iv.try_into().ok())
            .context("no enc_iv of 12 bytes")?;
        let sealed = request.child_content("enc_p").context("no enc_p")?;
        let payload = Payload {
            msg: &sealed,
            aad: id.as_bytes(),
        };
        let opened = cipher
            .decrypt(&Nonce::from(iv), payload)
            .ok()
            .context("the request is not sealed with the key of the medium")?;
        let asked = wa::ServerErrorReceipt::decode_from_slice(&opened)?;
        ensure!(
            asked.stanza_id.as_deref() == Some(id),
            "the request is for another message"
        );
        let answer = match self.media_returns(&reference.direct_path)? {
            Some(place) => wa::MediaRetryNotification {
                stanza_id: Some(id.to_owned()),
                direct_path: Some(place.direct_path),
                result: Some(ResultType::SUCCESS),
                ..Default::default()
            },
            None => return Ok(refusal(ResultType::NOT_FOUND)),
        };
        let iv: [u8; 12] = rand::random();
        let answer = answer.encode_to_vec();
        let payload = Payload {
            msg: &answer,
            aad: id.as_bytes(),
        };
        let sealed = cipher
            .encrypt(&Nonce::from(iv), payload)
            .ok()
            .context("sealing failed")?;
        let parts = [bytes_child("enc_p", sealed), bytes_child("enc_iv", iv)];
        Ok(NodeBuilder::new("encrypt").children(parts).build())
    }
}

fn refusal(why: ResultType) -> Node {
    NodeBuilder::new("error").attr("code", why as i32).build()
}
