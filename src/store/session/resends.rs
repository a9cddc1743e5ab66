//! Requests of devices to be sent a message again, kept until they are answered.
//!
//! whatsapp-rust acknowledges such a request before it has answered it (its `src/receipt.rs` hands it to a task, its
//! `src/client/node_io.rs` sends the acknowledgement meanwhile), and WhatsApp forgets what is acknowledged. What stands
//! here is what a process that is killed in between would not know any more.

use serde::{Deserialize, Serialize};

use super::expiry::value_of;
use super::{Result, SessionStore};
use crate::store::encoding::{Key, Span, decode};
use crate::store::rows::{Order, Rows as _, step};
use crate::store::tables::{RESENDS, SENT};

/// A request to send a message again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Resend {
    /// Which message.
    pub message_id: String,
    /// Where the request came from: a device, or a group.
    pub from: String,
    /// Which member's device, in a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<String>,
    /// To whom the message went, when the request comes from a device of the own account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// How often that device has asked for it.
    pub count: u8,
    /// When it was noted, in seconds.
    pub noted_at: i64,
    /// How often it was answered from this note.
    #[serde(default)]
    pub tries: u8,
}

impl Resend {
    /// The device that asks.
    pub fn requester(&self) -> &str {
        self.participant.as_deref().unwrap_or(&self.from)
    }
}

impl SessionStore {
    fn resend_key(&self, resend: &Resend) -> Key {
        self.key().part(&resend.message_id).last(resend.requester())
    }

    /// Notes a request; when this answers, it survives everything.
    pub async fn note_resend(&self, resend: &Resend) -> Result<()> {
        let (key, resend) = (self.resend_key(resend), resend.clone());
        self.durably(move |tx| tx.put_json(RESENDS, key.as_slice(), &resend))
            .await
    }

    /// Changes a note; the change may be lost in a crash.
    pub async fn update_resend(&self, resend: &Resend) -> Result<()> {
        let (key, resend) = (self.resend_key(resend), resend.clone());
        self.lazily(move |tx| tx.put_json(RESENDS, key.as_slice(), &resend))
            .await
    }

    /// Forgets a request; may be lost in a crash, which costs a message sent once too often.
    pub async fn forget_resend(&self, resend: &Resend) -> Result<()> {
        let key = self.resend_key(resend);
        self.lazily(move |tx| tx.remove(RESENDS, key.as_slice())).await?;
        Ok(())
    }

    /// Every request that was noted and not forgotten.
    pub fn resends(&self) -> Result<Vec<Resend>> {
        self.read(|view| {
            let mut all = Vec::new();
            view.scan(RESENDS, &Span::under(&self.key()), Order::Up, &mut |_, row| {
                all.push(decode(RESENDS, row)?);
                Ok(step(true))
            })?;
            Ok(all)
        })
    }

    /// A message sent to a chat, as whatsapp-rust stored it.
    pub fn sent_message(&self, chat: &str, message_id: &str) -> Result<Option<Vec<u8>>> {
        let key = self.sent_key(chat, message_id).row();
        self.read(|view| view.get_with(SENT, key.as_slice(), |row| value_of(row).to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{Options, Store};

    fn resend(participant: Option<&str>) -> Resend {
        Resend {
            message_id: "3EB0AA".into(),
            from: "5511999990001@s.whatsapp.net".into(),
            participant: participant.map(str::to_owned),
            recipient: None,
            count: 1,
            noted_at: 7,
            tries: 0,
        }
    }

    #[tokio::test]
    async fn requests_are_kept_apart_by_device_and_session_until_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            path: folder.path().join("store.redb"),
            cache_bytes: 4 << 20,
            reserve_bytes: 0,
        };
        let store = Store::open(&options, Arc::new(|_| {})).unwrap();
        let (one, two) = (store.session(1), store.session(2));
        let (first, second) = (resend(None), resend(Some("1:2@lid")));
        one.note_resend(&first).await.unwrap();
        one.note_resend(&second).await.unwrap();
        assert_eq!(two.resends().unwrap(), []);
        let tried = Resend {
            tries: 2,
            ..first.clone()
        };
        one.update_resend(&tried).await.unwrap();
        let mut kept = one.resends().unwrap();
        kept.sort_by_key(|resend| resend.participant.is_some());
        assert_eq!(kept, [tried, second.clone()]);
        one.forget_resend(&first).await.unwrap();
        assert_eq!(one.resends().unwrap(), [second]);
    }
}
