//! History on its way: compressed, in the message itself while it is small, else on the media servers.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use whatsapp_rust::buffa::{Enumeration as _, Message as _, MessageField};
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::message::HistorySyncType;
use whatsapp_rust::waproto::whatsapp::message::protocol_message::Type;

use super::chunks::{People, cut};
use crate::account::{DeviceAddress, Form};
use crate::phone::media::{Medium, seal};
use crate::world::World;

/// The most bytes of history in a message itself.
const INLINE: usize = 8 * 1024;

impl World {
    /// Sends a new companion the phone's past.
    pub(crate) fn phone_sends_history(&mut self, companion: &DeviceAddress) -> Result<()> {
        let account = self.accounts.get(&companion.number).context("no such account")?;
        let linked = account.companions.get(&companion.device).context("no such companion")?;
        let chunks = cut(
            self.past(&companion.number),
            self.people(&companion.number),
            &linked.record.history,
        );
        for chunk in chunks {
            self.phone_sends_chunk(companion, &chunk, None)?;
        }
        Ok(())
    }

    /// Sends one chunk; `session` is the request that it answers.
    pub(super) fn phone_sends_chunk(
        &mut self,
        companion: &DeviceAddress,
        chunk: &wa::HistorySync,
        session: Option<&str>,
    ) -> Result<()> {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&chunk.encode_to_vec())?;
        let packed = zlib.finish()?;
        let oldest = chunk
            .conversations
            .iter()
            .flat_map(|conversation| &conversation.messages)
            .filter_map(|entry| entry.message.message_timestamp)
            .min();
        let mut notification = wa::message::HistorySyncNotification {
            // Both kinds have the same numbers (`whatsapp.proto`).
            sync_type: HistorySyncType::from_i32(chunk.sync_type.to_i32()),
            chunk_order: chunk.chunk_order,
            progress: chunk.progress,
            oldest_msg_in_chunk_timestamp_sec: oldest.and_then(|at| i64::try_from(at).ok()),
            peer_data_request_session_id: session.map(str::to_owned),
            ..Default::default()
        };
        if packed.len() <= INLINE {
            notification.initial_hist_bootstrap_inline_payload = Some(packed);
        } else {
            let stored = self.phone_uploads(&companion.number, &seal(Medium::History, &packed)?)?;
            notification.media_key = Some(stored.key);
            notification.direct_path = Some(stored.direct_path);
            notification.file_length = Some(stored.plain_length);
            notification.file_sha256 = Some(stored.plain_hash);
            notification.file_enc_sha256 = Some(stored.sealed_hash);
        }
        let message = wa::message::ProtocolMessage {
            r#type: Some(Type::HISTORY_SYNC_NOTIFICATION),
            history_sync_notification: MessageField::some(notification),
            ..Default::default()
        };
        self.send_as_peer(companion, message)
    }

    /// The names and addresses of everybody here.
    fn people(&self, number: &str) -> People {
        let names = self.accounts.iter().map(|account| wa::Pushname {
            id: Some(account.jid(Form::Number).to_string()),
            pushname: Some(account.phone.push_name.clone()),
        });
        let others = self.accounts.iter().filter(|account| account.number != number);
        let lids = others.map(|account| wa::PhoneNumberToLIDMapping {
            pn_jid: Some(account.jid(Form::Number).to_string()),
            lid_jid: Some(account.jid(Form::Lid).to_string()),
        });
        People {
            names: names.collect(),
            lids: lids.collect(),
        }
    }
}
