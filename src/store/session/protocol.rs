//! What WhatsApp Web keeps beside the keys: who has which sender key, hidden numbers, device lists, tokens, and the two
//! buffers from which a message can be told again.

use async_trait::async_trait;
use whatsapp_rust::store::traits::{
    DeviceListRecord, LidPnMappingEntry, PendingInboundKey, PendingInboundRow, ProtocolStore, TcTokenEntry,
};

use super::expiry::{Timed, TimedKey, value_of};
use super::{Result, SessionStore};
use crate::store::encoding::{Key, Parts, Span, decode};
use crate::store::error::{ReadError, WriteError};
use crate::store::rows::{Order, Rows, Tx, step};
use crate::store::tables::{
    BASE_KEYS, DEVICE_LISTS, GROUPS, LIDS, LIDS_BY_PHONE, PENDING, PENDING_BY_TIME, SENDER_KEY_DEVICES,
    SENDER_KEY_GROUPS, SENT, SENT_BY_TIME, TC_TOKENS, Table,
};
use crate::sys::clock;

const SENT_MESSAGES: Timed = Timed {
    rows: SENT,
    by_time: SENT_BY_TIME,
};

const PENDING_INBOUND: Timed = Timed {
    rows: PENDING,
    by_time: PENDING_BY_TIME,
};

/// How many bytes the session's number takes at the start of a key.
const SESSION_BYTES: usize = 4;

impl SessionStore {
    pub(super) fn sent_key(&self, chat: &str, message_id: &str) -> TimedKey {
        TimedKey::new(self.session, Key::empty().part(chat).last(message_id))
    }

    fn pending_key(&self, chat: &str, sender: &str, id: &str) -> TimedKey {
        TimedKey::new(self.session, Key::empty().part(chat).part(sender).last(id))
    }

    fn base_key(&self, address: &str, message_id: &str) -> Key {
        self.key().part(address).last(message_id)
    }

    async fn store_pending(&self, rows: Vec<(TimedKey, Vec<u8>)>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let now = clock::now().seconds();
        // From the reserve of the disk: the ratchet has moved on and may be saved, so this copy is the only one that can
        // still be read when WhatsApp sends the message again. Without it the repeat counts as known and is lost.
        self.durably(move |tx| {
            for (key, message) in &rows {
                PENDING_INBOUND.put(tx, key, now, true, message)?;
            }
            Ok(())
        })
        .await
    }

    async fn delete_pending(&self, keys: Vec<TimedKey>) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        self.lazily(move |tx| {
            for key in &keys {
                PENDING_INBOUND.take(tx, key)?;
            }
            Ok(())
        })
        .await
    }

    /// Changes a contact's token in one step, so that the two writers of its two halves cannot overwrite each other.
    async fn change_tc_token<F>(&self, jid: &str, mut change: F) -> Result<()>
    where
        F: FnMut(Option<TcTokenEntry>) -> Option<TcTokenEntry> + Send + 'static,
    {
        let key = self.key().last(jid);
        self.lazily(move |tx| {
            let old = tx.get_json(TC_TOKENS, key.as_slice())?;
            match change(old) {
                Some(new) => tx.put_json(TC_TOKENS, key.as_slice(), &new),
                None => Ok(()),
            }
        })
        .await
    }

    async fn remove_text_key(&self, table: Table, text: &str) -> Result<()> {
        let key = self.key().last(text);
        self.lazily(move |tx| tx.remove(table, key.as_slice())).await?;
        Ok(())
    }
}

/// Both parts of a key in [`SENDER_KEY_DEVICES`] or [`SENDER_KEY_GROUPS`].
fn pair(table: Table, key: &[u8]) -> std::result::Result<(&str, &str), ReadError> {
    let read = || {
        let mut parts = Parts(key.get(SESSION_BYTES..)?);
        Some((parts.part()?, parts.text()?))
    };
    read().ok_or_else(|| ReadError::corrupt(table, "has a key of another form"))
}

fn last_text(table: Table, key: &[u8]) -> std::result::Result<&str, ReadError> {
    key.get(SESSION_BYTES..)
        .and_then(|text| Parts(text).text())
        .ok_or_else(|| ReadError::corrupt(table, "has a key that is no text"))
}

fn put_lid(tx: &mut Tx<'_>, session: &Key, entry: &LidPnMappingEntry) -> std::result::Result<(), WriteError> {
    let row = session.clone().last(&entry.lid);
    let old: Option<LidPnMappingEntry> = tx.get_json(LIDS, row.as_slice())?;
    if let Some(old) = old.filter(|old| old.phone_number != entry.phone_number) {
        let stale = session.clone().last(&old.phone_number);
        // The number may have been given to another hidden number meanwhile; that one stays findable.
        if tx.get(LIDS_BY_PHONE, stale.as_slice())?.as_deref() == Some(entry.lid.as_bytes()) {
            tx.remove(LIDS_BY_PHONE, stale.as_slice())?;
        }
    }
    let by_phone = session.clone().last(&entry.phone_number);
    tx.put(LIDS_BY_PHONE, by_phone.as_slice(), entry.lid.as_bytes())?;
    tx.put_json(LIDS, row.as_slice(), entry)
}

/// Removes what `span` has of one of the two sender-key tables, and each row's counterpart in the other.
fn remove_pairs(
    tx: &mut Tx<'_>,
    session: &Key,
    from: Table,
    other: Table,
    span: &Span,
) -> std::result::Result<(), WriteError> {
    let mut counterparts = Vec::new();
    tx.scan(from, span, Order::Up, &mut |key, _| {
        let (first, second) = pair(from, key)?;
        counterparts.push(session.clone().part(second).last(first));
        Ok(step(true))
    })?;
    tx.remove_all(other, counterparts.iter().map(Key::as_slice))?;
    tx.remove_span(from, span)?;
    Ok(())
}

#[async_trait]
impl ProtocolStore for SessionStore {
    async fn get_sender_key_devices(&self, group_jid: &str) -> Result<Vec<(String, bool)>> {
        let span = Span::under(&self.key().part(group_jid));
        self.read(|view| {
            let mut devices = Vec::new();
            view.scan(SENDER_KEY_DEVICES, &span, Order::Up, &mut |key, row| {
                let (_, device) = pair(SENDER_KEY_DEVICES, key)?;
                devices.push((device.to_owned(), row == [1]));
                Ok(step(true))
            })?;
            Ok(devices)
        })
    }

    async fn set_sender_key_status(&self, group_jid: &str, entries: &[(&str, bool)]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = entries
            .iter()
            .map(|(device, has_key)| {
                let by_group = self.key().part(group_jid).last(device);
                let by_device = self.key().part(device).last(group_jid);
                (by_group, by_device, [u8::from(*has_key)])
            })
            .collect();
        self.lazily(move |tx| {
            tx.put_all(
                SENDER_KEY_DEVICES,
                rows.iter().map(|(key, _, has)| (key.as_slice(), has)),
            )?;
            tx.put_all(SENDER_KEY_GROUPS, rows.iter().map(|(_, key, _)| (key.as_slice(), [])))
        })
        .await
    }

    async fn clear_sender_key_devices(&self, group_jid: &str) -> Result<()> {
        let session = self.key();
        let span = Span::under(&session.clone().part(group_jid));
        self.lazily(move |tx| remove_pairs(tx, &session, SENDER_KEY_DEVICES, SENDER_KEY_GROUPS, &span))
            .await
    }

    async fn delete_sender_key_device_rows(&self, device_jids: &[&str]) -> Result<()> {
        if device_jids.is_empty() {
            return Ok(());
        }
        let session = self.key();
        let spans: Vec<_> = device_jids
            .iter()
            .map(|device| Span::under(&session.clone().part(device)))
            .collect();
        self.lazily(move |tx| {
            spans
                .iter()
                .try_for_each(|span| remove_pairs(tx, &session, SENDER_KEY_GROUPS, SENDER_KEY_DEVICES, span))
        })
        .await
    }

    async fn clear_all_sender_key_devices(&self) -> Result<()> {
        let span = Span::under(&self.key());
        self.lazily(move |tx| {
            tx.remove_span(SENDER_KEY_DEVICES, &span)?;
            tx.remove_span(SENDER_KEY_GROUPS, &span)
        })
        .await?;
        Ok(())
    }

    async fn get_lid_mapping(&self, lid: &str) -> Result<Option<LidPnMappingEntry>> {
        self.read(|view| view.get_json(LIDS, self.key().last(lid).as_slice()))
    }

    async fn get_pn_mapping(&self, phone: &str) -> Result<Option<LidPnMappingEntry>> {
        self.read(
            |view| match view.get(LIDS_BY_PHONE, self.key().last(phone).as_slice())? {
                Some(lid) => view.get_json(LIDS, self.key().last(lid).as_slice()),
                None => Ok(None),
            },
        )
    }

    async fn put_lid_mapping(&self, entry: &LidPnMappingEntry) -> Result<()> {
        self.put_lid_mappings(std::slice::from_ref(entry)).await
    }

    async fn put_lid_mappings(&self, entries: &[LidPnMappingEntry]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let (session, entries) = (self.key(), entries.to_vec());
        self.lazily(move |tx| entries.iter().try_for_each(|entry| put_lid(tx, &session, entry)))
            .await
    }

    async fn get_all_lid_mappings(&self) -> Result<Vec<LidPnMappingEntry>> {
        self.read(|view| {
            let mut all = Vec::new();
            view.scan(LIDS, &Span::under(&self.key()), Order::Up, &mut |_, row| {
                all.push(decode(LIDS, row)?);
                Ok(step(true))
            })?;
            Ok(all)
        })
    }

    async fn save_base_key(&self, address: &str, message_id: &str, base_key: &[u8]) -> Result<()> {
        let (key, row) = (self.base_key(address, message_id), base_key.to_vec());
        self.lazily(move |tx| tx.put(BASE_KEYS, key.as_slice(), &row)).await
    }

    async fn has_same_base_key(&self, address: &str, message_id: &str, current_base_key: &[u8]) -> Result<bool> {
        let key = self.base_key(address, message_id);
        let same = self.read(|view| view.get_with(BASE_KEYS, key.as_slice(), |row| row == current_base_key))?;
        Ok(same.unwrap_or(false))
    }

    async fn delete_base_key(&self, address: &str, message_id: &str) -> Result<()> {
        let key = self.base_key(address, message_id);
        self.lazily(move |tx| tx.remove(BASE_KEYS, key.as_slice())).await?;
        Ok(())
    }

    async fn update_device_list(&self, record: DeviceListRecord) -> Result<()> {
        self.update_device_lists(vec![record]).await
    }

    async fn update_device_lists(&self, records: Vec<DeviceListRecord>) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let session = self.key();
        self.lazily(move |tx| {
            records
                .iter()
                .try_for_each(|record| tx.put_json(DEVICE_LISTS, session.clone().last(&record.user).as_slice(), record))
        })
        .await
    }

    async fn get_devices(&self, user: &str) -> Result<Option<DeviceListRecord>> {
        self.read(|view| view.get_json(DEVICE_LISTS, self.key().last(user).as_slice()))
    }

    async fn delete_devices(&self, user: &str) -> Result<()> {
        self.remove_text_key(DEVICE_LISTS, user).await
    }

    async fn get_group_metadata(&self, group_jid: &str) -> Result<Option<Vec<u8>>> {
        self.read(|view| view.get(GROUPS, self.key().last(group_jid).as_slice()))
    }

    async fn put_group_metadata(&self, group_jid: &str, blob: &[u8]) -> Result<()> {
        let (key, blob) = (self.key().last(group_jid), blob.to_vec());
        self.lazily(move |tx| tx.put(GROUPS, key.as_slice(), &blob)).await
    }

    async fn delete_group_metadata(&self, group_jid: &str) -> Result<()> {
        self.remove_text_key(GROUPS, group_jid).await
    }

    async fn get_tc_token(&self, jid: &str) -> Result<Option<TcTokenEntry>> {
        self.read(|view| view.get_json(TC_TOKENS, self.key().last(jid).as_slice()))
    }

    async fn put_tc_token(&self, jid: &str, entry: &TcTokenEntry) -> Result<()> {
        let entry = entry.clone();
        self.change_tc_token(jid, move |_| Some(entry.clone())).await
    }

    async fn delete_tc_token(&self, jid: &str) -> Result<()> {
        self.remove_text_key(TC_TOKENS, jid).await
    }

    async fn get_all_tc_token_jids(&self) -> Result<Vec<String>> {
        self.read(|view| {
            let mut jids = Vec::new();
            view.scan(TC_TOKENS, &Span::under(&self.key()), Order::Up, &mut |key, _| {
                jids.push(last_text(TC_TOKENS, key)?.to_owned());
                Ok(step(true))
            })?;
            Ok(jids)
        })
    }

    /// Reads every token of the session: the crate asks rarely, and which of two times counts depends on the row.
    async fn delete_expired_tc_tokens(&self, token_cutoff: i64, sender_cutoff: i64) -> Result<u32> {
        let span = Span::under(&self.key());
        let is_dead = move |entry: &TcTokenEntry| {
            let token_live = !entry.token.is_empty() && entry.token_timestamp >= token_cutoff;
            let sender_live = entry.sender_timestamp.is_some_and(|at| at >= sender_cutoff);
            !token_live && !sender_live
        };
        self.lazily(move |tx| {
            let mut dead = Vec::new();
            tx.scan(TC_TOKENS, &span, Order::Up, &mut |key, row| {
                if is_dead(&decode(TC_TOKENS, row)?) {
                    dead.push(key.to_vec());
                }
                Ok(step(true))
            })?;
            tx.remove_all(TC_TOKENS, &dead)
        })
        .await
    }

    async fn touch_tc_token_sender_timestamp(&self, jid: &str, sender_timestamp: i64) -> Result<()> {
        self.change_tc_token(jid, move |old| {
            let mut entry = old.unwrap_or(TcTokenEntry {
                token: Vec::new(),
                token_timestamp: sender_timestamp,
                sender_timestamp: None,
            });
            // Only ever forward; `None` sorts below every time.
            entry.sender_timestamp = entry.sender_timestamp.max(Some(sender_timestamp));
            Some(entry)
        })
        .await
    }

    async fn store_received_tc_token(&self, jid: &str, token: &[u8], token_timestamp: i64) -> Result<()> {
        let token = token.to_vec();
        self.change_tc_token(jid, move |old| {
            // A newer real token stays; a placeholder never stands in the way of the first real one.
            if old
                .as_ref()
                .is_some_and(|old| !old.token.is_empty() && token_timestamp < old.token_timestamp)
            {
                return None;
            }
            Some(TcTokenEntry {
                token: token.clone(),
                token_timestamp,
                sender_timestamp: old.and_then(|old| old.sender_timestamp),
            })
        })
        .await
    }

    async fn store_sent_message(&self, chat_jid: &str, message_id: &str, payload: &[u8]) -> Result<()> {
        let (key, payload) = (self.sent_key(chat_jid, message_id), payload.to_vec());
        let now = clock::now().seconds();
        self.lazily(move |tx| SENT_MESSAGES.put(tx, &key, now, true, &payload))
            .await
    }

    /// Leaves the row where it is: whatsapp-rust takes a message to send it again and puts it back at once, and a process
    /// that is killed between the two would have lost it for whoever asks next. It expires like all others.
    async fn take_sent_message(&self, chat_jid: &str, message_id: &str) -> Result<Option<Vec<u8>>> {
        if self.is_withheld(message_id) {
            return Ok(None);
        }
        self.sent_message(chat_jid, message_id)
    }

    async fn delete_expired_sent_messages(&self, cutoff_timestamp: i64) -> Result<u32> {
        self.expire(SENT_MESSAGES, cutoff_timestamp).await
    }

    async fn store_pending_inbound(&self, chat: &str, sender: &str, id: &str, message: &[u8]) -> Result<()> {
        self.store_pending(vec![(self.pending_key(chat, sender, id), message.to_vec())])
            .await
    }

    async fn get_pending_inbound(&self, chat: &str, sender: &str, id: &str) -> Result<Option<Vec<u8>>> {
        let key = self.pending_key(chat, sender, id).row();
        self.read(|view| view.get_with(PENDING, key.as_slice(), |row| value_of(row).to_vec()))
    }

    async fn delete_pending_inbound(&self, chat: &str, sender: &str, id: &str) -> Result<()> {
        self.delete_pending(vec![self.pending_key(chat, sender, id)]).await
    }

    async fn delete_expired_pending_inbound(&self, cutoff_timestamp: i64) -> Result<u32> {
        self.expire(PENDING_INBOUND, cutoff_timestamp).await
    }

    async fn store_pending_inbound_batch(&self, rows: &[PendingInboundRow<'_>]) -> Result<()> {
        let rows = rows
            .iter()
            .map(|row| (self.pending_key(row.chat, row.sender, row.id), row.message.to_vec()))
            .collect();
        self.store_pending(rows).await
    }

    async fn delete_pending_inbound_batch(&self, keys: &[PendingInboundKey<'_>]) -> Result<()> {
        let keys = keys
            .iter()
            .map(|key| self.pending_key(key.chat, key.sender, key.id))
            .collect();
        self.delete_pending(keys).await
    }
}
