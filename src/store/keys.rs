//! API keys, found by id and by the HMAC of their secret. The secret itself is nowhere.

use serde::{Deserialize, Serialize};

use super::encoding::{Key, Span, decode};
use super::error::{ReadError, WriteError};
use super::rows::{Order, Rows, Tx, View, step};
use super::tables::{API_KEYS, API_KEYS_BY_HASH};
use crate::domain::access::ApiKey;
use crate::domain::id::KeyId;

/// A key's row: the hash stands beside the key, so that a revocation can take it out of the index.
#[derive(Serialize, Deserialize)]
struct Row {
    hash: String,
    #[serde(flatten)]
    key: ApiKey,
}

impl Tx<'_> {
    /// Stores a new key under the HMAC of its secret.
    pub fn insert_key(&mut self, key: &ApiKey, hash: &[u8; 32]) -> Result<(), WriteError> {
        let row = Row {
            hash: hex::encode(hash),
            key: key.clone(),
        };
        let id = Key::of_id(key.id.to_u128());
        self.put_json(API_KEYS, id.as_slice(), &row)?;
        self.put(API_KEYS_BY_HASH, hash, id.as_slice())
    }

    /// A key by id, revoked or not.
    pub fn key(&self, id: KeyId) -> Result<Option<ApiKey>, WriteError> {
        Ok(row(self, id.to_u128())?.map(|row| row.key))
    }

    /// Overwrites a key's row; a revoked key can no longer be found by its secret.
    ///
    /// A key that was never inserted is ignored: there is no secret it could be found by.
    pub fn put_key(&mut self, key: &ApiKey) -> Result<(), WriteError> {
        let id = Key::of_id(key.id.to_u128());
        let Some(Row { hash, .. }) = row(self, key.id.to_u128())? else {
            return Ok(());
        };
        if key.revoked_at.is_some() {
            let bytes = hex::decode(&hash).map_err(|error| ReadError::corrupt(API_KEYS, error))?;
            self.remove(API_KEYS_BY_HASH, &bytes)?;
        }
        let key = key.clone();
        self.put_json(API_KEYS, id.as_slice(), &Row { hash, key })
    }
}

impl View<'_> {
    /// The key with this HMAC, unless revoked.
    pub fn key_by_hash(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>, ReadError> {
        let Some(id) = self.get(API_KEYS_BY_HASH, hash)? else {
            return Ok(None);
        };
        let row: Option<Row> = self.get_json(API_KEYS, &id)?;
        Ok(row.map(|row| row.key).filter(|key| key.revoked_at.is_none()))
    }

    /// A key by id, revoked or not.
    pub fn key(&self, id: KeyId) -> Result<Option<ApiKey>, ReadError> {
        Ok(row(self, id.to_u128())?.map(|row| row.key))
    }

    /// Active keys, newest first, older than `before`.
    pub fn keys(&self, before: Option<KeyId>, limit: usize) -> Result<Vec<ApiKey>, ReadError> {
        let span = match before {
            Some(before) => Span::ALL.before(&Key::of_id(before.to_u128())),
            None => Span::ALL,
        };
        let mut keys = Vec::new();
        if limit > 0 {
            self.scan(API_KEYS, &span, Order::Down, &mut |_, bytes| {
                let Row { key, .. } = decode(API_KEYS, bytes)?;
                if key.revoked_at.is_none() {
                    keys.push(key);
                }
                Ok(step(keys.len() < limit))
            })?;
        }
        Ok(keys)
    }
}

fn row(rows: &impl Rows, id: u128) -> Result<Option<Row>, ReadError> {
    rows.get_json(API_KEYS, Key::of_id(id).as_slice())
}
