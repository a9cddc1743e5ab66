//! The keys that a phone shares with its companions: one at first, another whenever a companion is removed.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use whatsapp_rust::buffa::MessageField;
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::message::protocol_message::Type;

use super::crypto::{Bad, Keys};
use crate::clock::unix_seconds;
use crate::hexadecimal;

/// Older keys that are kept; what they sealed becomes unreadable with them.
const KEPT: usize = 64;

/// One shared key.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SharedKey {
    /// Two bytes of the device that made it and four that count up; clients take the highest for the newest (zapo-js
    /// `appstate/utils`).
    #[serde(with = "hexadecimal")]
    pub(crate) id: Vec<u8>,
    #[serde(with = "hexadecimal")]
    pub(crate) data: Vec<u8>,
    pub(crate) raw_id: u32,
    pub(crate) made_at: u64,
}

impl SharedKey {
    /// A first key.
    pub(crate) fn first() -> Self {
        let epoch = rand::random_range(1..u32::MAX / 2);
        Self {
            id: [&[0, 0], &epoch.to_be_bytes()[..]].concat(),
            data: rand::random::<[u8; 32]>().to_vec(),
            raw_id: rand::random_range(1..i32::MAX.unsigned_abs()),
            made_at: unix_seconds(),
        }
    }

    /// The key that follows.
    fn next(&self) -> Self {
        let epoch = self
            .id
            .last_chunk::<4>()
            .map_or(0, |epoch| u32::from_be_bytes(*epoch))
            .wrapping_add(1);
        Self {
            id: [&[0, 0], &epoch.to_be_bytes()[..]].concat(),
            data: rand::random::<[u8; 32]>().to_vec(),
            raw_id: self.raw_id,
            made_at: unix_seconds(),
        }
    }
}

/// All keys of a phone, the newest last.
pub(crate) struct Ring {
    keys: Vec<(SharedKey, Keys)>,
}

impl Ring {
    /// A ring of at least one key.
    pub(crate) fn new(first: SharedKey, later: Vec<SharedKey>) -> Self {
        let expanded = |key: SharedKey| {
            let keys = Keys::expand(&key.data);
            (key, keys)
        };
        Self {
            keys: std::iter::once(first).chain(later).map(expanded).collect(),
        }
    }

    /// The keys as they are stored.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &SharedKey> {
        self.keys.iter().map(|(key, _)| key)
    }

    /// The newest key and its id.
    pub(crate) fn current(&self) -> (&[u8], &Keys) {
        let (key, keys) = &self.keys[self.keys.len() - 1];
        (&key.id, keys)
    }

    /// The key with an id.
    pub(crate) fn find(&self, id: Option<&[u8]>) -> Result<&Keys, Bad> {
        let id = id.ok_or(Bad::Lacks("a key id"))?;
        self.keys
            .iter()
            .rev()
            .find(|(key, _)| key.id == id)
            .map(|(_, keys)| keys)
            .ok_or_else(|| Bad::UnknownKey(hex::encode(id)))
    }

    /// Makes the key that everything from now on is sealed with.
    pub(crate) fn rotate(&mut self) {
        let next = self.keys[self.keys.len() - 1].0.next();
        let keys = Keys::expand(&next.data);
        self.keys.push((next, keys));
        if self.keys.len() > KEPT {
            self.keys.remove(0);
        }
    }

    /// The message that shares keys: all of them, or those with the given ids. An id that is not known is answered
    /// with a key without data (whatsapp-rust `src/message/special.rs`).
    ///
    /// The newest comes last: Baileys works with the last one of a share (`Utils/process-message`).
    pub(crate) fn share(&self, wanted: Option<&[Vec<u8>]>, indexes: &[u32]) -> Result<wa::message::ProtocolMessage> {
        let mut keys = Vec::new();
        for key in self.shared() {
            if wanted.is_none_or(|wanted| wanted.contains(&key.id)) {
                keys.push(shared(&key.id, Some(key), indexes)?);
            }
        }
        for id in wanted.unwrap_or_default() {
            if !self.shared().any(|key| key.id == *id) {
                keys.push(shared(id, None, indexes)?);
            }
        }
        Ok(wa::message::ProtocolMessage {
            r#type: Some(Type::APP_STATE_SYNC_KEY_SHARE),
            app_state_sync_key_share: MessageField::some(wa::message::AppStateSyncKeyShare { keys }),
            ..Default::default()
        })
    }
}

fn shared(id: &[u8], key: Option<&SharedKey>, indexes: &[u32]) -> Result<wa::message::AppStateSyncKey> {
    let data = match key {
        None => MessageField::none(),
        Some(key) => MessageField::some(wa::message::AppStateSyncKeyData {
            key_data: Some(key.data.clone()),
            fingerprint: MessageField::some(wa::message::AppStateSyncKeyFingerprint {
                raw_id: Some(key.raw_id),
                current_index: indexes.last().copied(),
                device_indexes: indexes.to_vec(),
            }),
            timestamp: Some(i64::try_from(key.made_at).context("a key of the far future")?),
        }),
    };
    Ok(wa::message::AppStateSyncKey {
        key_id: MessageField::some(wa::message::AppStateSyncKeyId {
            key_id: Some(id.to_vec()),
        }),
        key_data: data,
    })
}
