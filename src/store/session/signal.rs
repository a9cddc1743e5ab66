//! The Signal protocol's state: identities, sessions, prekeys, sender keys.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use whatsapp_rust::store::traits::SignalStore;

use super::{Result, SessionStore};
use crate::store::encoding::Span;
use crate::store::error::ReadError;
use crate::store::rows::{Order, Rows, step};
use crate::store::tables::{IDENTITIES, PREKEYS, SENDER_KEYS, SESSIONS, SIGNED_PREKEYS, Table};
use crate::sys::clock;

/// How long moved ratchets wait before they are handed to the writer.
///
/// Short on purpose: the longer the ratchets stay in memory, the more of them a kill takes along.
const DECRYPTED_FIRST: Duration = Duration::from_millis(2);

/// Lets what was just decrypted reach the writer's queue before the ratchet that decrypted it.
///
/// whatsapp-rust 0.7.0 saves ratchets on a timer of its own (`signal_flush.rs`), which may fire between decrypting a
/// message and storing its readable copy. A process killed between those two commits would take WhatsApp's repeat of the
/// message for a known one and acknowledge it unread. The writer keeps the order of its queue, so a moment's wait here puts
/// the copy first.
async fn after_what_they_decrypted() {
    clock::sleep(DECRYPTED_FIRST).await;
}

impl SessionStore {
    /// Durably stores bytes under addresses of this session.
    async fn put_addressed<V>(
        &self,
        table: Table,
        rows: impl Iterator<Item = (impl AsRef<str>, V)> + Send,
    ) -> Result<()>
    where
        V: AsRef<[u8]> + Send + 'static,
    {
        let rows: Vec<(Vec<u8>, V)> = rows
            .map(|(address, value)| (self.addressed(address.as_ref()), value))
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        self.durably(move |tx| tx.put_all(table, rows.iter().map(|(key, value)| (key, value))))
            .await
    }

    fn get_addressed(&self, table: Table, address: &str) -> Result<Option<Vec<u8>>> {
        self.read(|view| view.get(table, &self.addressed(address)))
    }

    async fn remove_lazily(&self, table: Table, key: Vec<u8>) -> Result<()> {
        // Most removals are of what is not there, and a read is a thousandth of a write.
        if self.read(|view| view.has(table, &key))? {
            self.lazily(move |tx| tx.remove(table, &key)).await?;
        }
        Ok(())
    }

    fn addressed(&self, address: &str) -> Vec<u8> {
        self.key().last(address).as_slice().to_vec()
    }

    fn numbered(&self, id: u32) -> Vec<u8> {
        self.key().u32(id).as_slice().to_vec()
    }
}

/// The number at the end of a key made by [`SessionStore::numbered`].
fn number(table: Table, key: &[u8]) -> std::result::Result<u32, ReadError> {
    key.last_chunk::<4>()
        .map(|bytes| u32::from_be_bytes(*bytes))
        .ok_or_else(|| ReadError::corrupt(table, "has no number"))
}

/// A prekey's row: whether it was uploaded, then the record.
fn prekey_row(uploaded: bool, record: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(record.len() + 1);
    row.push(u8::from(uploaded));
    row.extend(record);
    row
}

fn prekey_record(row: &[u8]) -> Bytes {
    Bytes::copy_from_slice(row.get(1..).unwrap_or_default())
}

#[async_trait]
impl SignalStore for SessionStore {
    async fn put_identity(&self, address: &str, key: [u8; 32]) -> Result<()> {
        self.put_addressed(IDENTITIES, std::iter::once((address, key))).await
    }

    async fn put_identities_batch(&self, identities: &[(Arc<str>, [u8; 32])]) -> Result<()> {
        self.put_addressed(IDENTITIES, identities.iter().map(|(address, key)| (address, *key)))
            .await
    }

    async fn load_identity(&self, address: &str) -> Result<Option<[u8; 32]>> {
        self.read(|view| {
            view.get_with(IDENTITIES, &self.addressed(address), |row| {
                row.try_into()
                    .map_err(|_| ReadError::corrupt(IDENTITIES, "is not 32 bytes long"))
            })?
            .transpose()
        })
    }

    async fn delete_identity(&self, address: &str) -> Result<()> {
        self.remove_lazily(IDENTITIES, self.addressed(address)).await
    }

    async fn get_session(&self, address: &str) -> Result<Option<Bytes>> {
        Ok(self.get_addressed(SESSIONS, address)?.map(Bytes::from))
    }

    async fn put_session(&self, address: &str, session: &[u8]) -> Result<()> {
        self.put_addressed(SESSIONS, std::iter::once((address, session.to_vec())))
            .await
    }

    async fn put_sessions_batch(&self, sessions: &[(Arc<str>, Bytes)]) -> Result<()> {
        after_what_they_decrypted().await;
        self.put_addressed(SESSIONS, sessions.iter().cloned()).await
    }

    async fn delete_session(&self, address: &str) -> Result<()> {
        self.remove_lazily(SESSIONS, self.addressed(address)).await
    }

    async fn has_session(&self, address: &str) -> Result<bool> {
        self.read(|view| view.has(SESSIONS, &self.addressed(address)))
    }

    async fn has_signal_state_for_user(&self, user: &str) -> Result<bool> {
        self.read(|view| {
            for table in [SESSIONS, IDENTITIES] {
                // Device 0 is `user@server`, the others are `user:device@server`.
                for separator in ["@", ":"] {
                    if view.any(table, &Span::under(&self.key().last(user).last(separator)))? {
                        return Ok(true);
                    }
                }
            }
            Ok(false)
        })
    }

    async fn store_prekey(&self, id: u32, record: &[u8], uploaded: bool) -> Result<()> {
        let (key, row) = (self.numbered(id), prekey_row(uploaded, record));
        self.durably(move |tx| tx.put(PREKEYS, &key, &row)).await
    }

    async fn store_prekeys_batch(&self, keys: &[(u32, Bytes)], uploaded: bool) -> Result<()> {
        let rows: Vec<_> = keys
            .iter()
            .map(|(id, record)| (self.numbered(*id), prekey_row(uploaded, record)))
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        self.durably(move |tx| tx.put_all(PREKEYS, rows.iter().map(|(key, row)| (key, row))))
            .await
    }

    async fn load_prekey(&self, id: u32) -> Result<Option<Bytes>> {
        self.read(|view| view.get_with(PREKEYS, &self.numbered(id), prekey_record))
    }

    async fn load_prekeys_batch(&self, ids: &[u32]) -> Result<Vec<(u32, Bytes)>> {
        self.read(|view| {
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                if let Some(record) = view.get_with(PREKEYS, &self.numbered(*id), prekey_record)? {
                    found.push((*id, record));
                }
            }
            Ok(found)
        })
    }

    async fn mark_prekeys_uploaded(&self, ids: &[u32]) -> Result<()> {
        let keys: Vec<_> = ids.iter().map(|id| self.numbered(*id)).collect();
        self.durably(move |tx| {
            // A key that was used meanwhile is gone and must stay gone, so this only ever changes rows.
            let mut rows = Vec::with_capacity(keys.len());
            for key in &keys {
                if let Some(mut row) = tx.get(PREKEYS, key)?
                    && row.first() == Some(&0)
                {
                    row[0] = 1;
                    rows.push((key, row));
                }
            }
            if rows.is_empty() {
                return Ok(());
            }
            tx.put_all(PREKEYS, rows)
        })
        .await
    }

    async fn remove_prekey(&self, id: u32) -> Result<()> {
        self.remove_lazily(PREKEYS, self.numbered(id)).await
    }

    async fn get_max_prekey_id(&self) -> Result<u32> {
        self.read(|view| {
            let mut highest = 0;
            view.scan(PREKEYS, &Span::under(&self.key()), Order::Down, &mut |key, _| {
                highest = number(PREKEYS, key)?;
                Ok(ControlFlow::Break(()))
            })?;
            Ok(highest)
        })
    }

    async fn store_signed_prekey(&self, id: u32, record: &[u8]) -> Result<()> {
        let (key, row) = (self.numbered(id), record.to_vec());
        self.durably(move |tx| tx.put(SIGNED_PREKEYS, &key, &row)).await
    }

    async fn load_signed_prekey(&self, id: u32) -> Result<Option<Vec<u8>>> {
        self.read(|view| view.get(SIGNED_PREKEYS, &self.numbered(id)))
    }

    async fn load_all_signed_prekeys(&self) -> Result<Vec<(u32, Vec<u8>)>> {
        self.read(|view| {
            let mut all = Vec::new();
            view.scan(SIGNED_PREKEYS, &Span::under(&self.key()), Order::Up, &mut |key, row| {
                all.push((number(SIGNED_PREKEYS, key)?, row.to_vec()));
                Ok(step(true))
            })?;
            Ok(all)
        })
    }

    async fn remove_signed_prekey(&self, id: u32) -> Result<()> {
        self.remove_lazily(SIGNED_PREKEYS, self.numbered(id)).await
    }

    async fn put_sender_key(&self, address: &str, record: &[u8]) -> Result<()> {
        self.put_addressed(SENDER_KEYS, std::iter::once((address, record.to_vec())))
            .await
    }

    async fn put_sender_keys_batch(&self, sender_keys: &[(Arc<str>, Bytes)]) -> Result<()> {
        after_what_they_decrypted().await;
        self.put_addressed(SENDER_KEYS, sender_keys.iter().cloned()).await
    }

    async fn get_sender_key(&self, address: &str) -> Result<Option<Vec<u8>>> {
        self.get_addressed(SENDER_KEYS, address)
    }

    async fn delete_sender_key(&self, address: &str) -> Result<()> {
        self.remove_lazily(SENDER_KEYS, self.addressed(address)).await
    }
}
