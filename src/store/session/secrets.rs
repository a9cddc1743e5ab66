//! Secrets of messages, with which later votes, reactions and edits of them are decrypted.

use async_trait::async_trait;
use whatsapp_rust::store::traits::{
    MsgSecretEntry, MsgSecretStore, merge_msg_secret_expiry, merge_msg_secret_message_ts,
};

use super::expiry::{Timed, TimedKey, time_of, value_of};
use super::{Result, SessionStore};
use crate::store::encoding::Key;
use crate::store::rows::Rows;
use crate::store::tables::{SECRETS, SECRETS_BY_TIME};

const TIMED: Timed = Timed {
    rows: SECRETS,
    by_time: SECRETS_BY_TIME,
};

impl SessionStore {
    fn secret_key(&self, chat: &str, sender: &str, msg_id: &str) -> TimedKey {
        TimedKey::new(self.session, Key::empty().part(chat).part(sender).last(msg_id))
    }
}

/// Behind the time at which it expires: the time of the message (8 bytes), then the secret.
fn message_time(row: &[u8]) -> i64 {
    time_of(value_of(row)).unwrap_or_default()
}

#[async_trait]
impl MsgSecretStore for SessionStore {
    async fn put_msg_secrets(&self, entries: Vec<MsgSecretEntry>) -> Result<usize> {
        let stored = entries.len();
        if stored == 0 {
            return Ok(0);
        }
        let store = self.clone();
        self.lazily(move |tx| {
            for entry in &entries {
                let key = store.secret_key(&entry.chat, &entry.sender, &entry.msg_id);
                let old = tx.get_with(SECRETS, key.row().as_slice(), |row| {
                    (time_of(row).unwrap_or_default(), message_time(row))
                })?;
                let (expires_at, message_ts) = match old {
                    Some((old_expiry, old_ts)) => (
                        merge_msg_secret_expiry(old_expiry, entry.expires_at),
                        merge_msg_secret_message_ts(old_ts, entry.message_ts),
                    ),
                    None => (entry.expires_at, entry.message_ts),
                };
                let value = [message_ts.to_be_bytes().as_slice(), &entry.secret].concat();
                TIMED.put(tx, &key, expires_at, expires_at != 0, &value)?;
            }
            Ok(stored)
        })
        .await
    }

    async fn get_msg_secret(&self, chat: &str, sender: &str, msg_id: &str) -> Result<Option<Vec<u8>>> {
        let found = self.get_msg_secret_with_ts(chat, sender, msg_id).await?;
        Ok(found.map(|(secret, _)| secret))
    }

    async fn get_msg_secret_with_ts(&self, chat: &str, sender: &str, msg_id: &str) -> Result<Option<(Vec<u8>, i64)>> {
        let key = self.secret_key(chat, sender, msg_id);
        self.read(|view| {
            view.get_with(SECRETS, key.row().as_slice(), |row| {
                (value_of(value_of(row)).to_vec(), message_time(row))
            })
        })
    }

    async fn delete_expired_msg_secrets(&self, cutoff_timestamp: i64) -> Result<u32> {
        // A deadline that is reached has passed, unlike an age that is reached.
        self.expire(TIMED, cutoff_timestamp.saturating_add(1)).await
    }
}
