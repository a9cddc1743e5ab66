//! What companions ask of the past: more of a conversation, or a message that they could not read.
//!
//! Requests and answers: whatsapp-rust `src/pdo.rs`, Baileys `Socket/messages-recv` (`fetchMessageHistory`,
//! `requestPlaceholderResend`) and `Utils/process-message`.

use anyhow::Result;
use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::wacore_binary::Jid;
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::conversation::EndOfHistoryTransferType as End;
use whatsapp_rust::waproto::whatsapp::history_sync::HistorySyncType as Kind;
use whatsapp_rust::waproto::whatsapp::message::peer_data_operation_request_message::HistorySyncOnDemandRequest;
use whatsapp_rust::waproto::whatsapp::message::peer_data_operation_request_response_message::PeerDataOperationResult;
use whatsapp_rust::waproto::whatsapp::message::peer_data_operation_request_response_message::peer_data_operation_result::PlaceholderMessageResendResponse;
use whatsapp_rust::waproto::whatsapp::message::protocol_message::Type;
use whatsapp_rust::waproto::whatsapp::message::{PeerDataOperationRequestMessage, PeerDataOperationRequestType};

use super::chunks::history_messages;
use crate::account::DeviceAddress;
use crate::stats::count;
use crate::world::World;

/// The most messages of one answer.
const MOST_AT_ONCE: usize = 200;
/// The most messages asked for again at once.
const MOST_PLACEHOLDERS: usize = 50;

impl World {
    /// Answers a companion's question about the past; `id` is the question's.
    pub(crate) fn phone_answers_peer(
        &mut self,
        companion: &DeviceAddress,
        id: &str,
        request: &PeerDataOperationRequestMessage,
    ) -> Result<()> {
        match request.peer_data_operation_request_type {
            Some(PeerDataOperationRequestType::HISTORY_SYNC_ON_DEMAND) => {
                count(&mut self.stats.peer_requests, "history on demand");
                self.phone_sends_older(companion, id, &request.history_sync_on_demand_request)
            }
            Some(PeerDataOperationRequestType::PLACEHOLDER_MESSAGE_RESEND) => {
                count(&mut self.stats.peer_requests, "placeholder resend");
                self.phone_resends(companion, id, request)
            }
            other => {
                let name = other.map_or_else(|| "without a kind".to_owned(), |kind| format!("{kind:?}"));
                count(&mut self.stats.peer_requests, &format!("{name} (not answered)"));
                Ok(())
            }
        }
    }

    /// A chat's address by number, whichever form it was asked for in.
    fn canonical(&self, jid: &str) -> String {
        let resolved = jid.parse::<Jid>().ok().and_then(|jid| self.accounts.resolve(&jid));
        resolved.map_or_else(
            || jid.to_owned(),
            |address| Jid::pn(address.number.as_str()).to_string(),
        )
    }

    fn phone_sends_older(
        &mut self,
        companion: &DeviceAddress,
        id: &str,
        request: &HistorySyncOnDemandRequest,
    ) -> Result<()> {
        let asked = request.chat_jid.clone().unwrap_or_default();
        let chat = self.canonical(&asked);
        let most = usize::try_from(request.on_demand_msg_count.unwrap_or_default())
            .unwrap_or_default()
            .clamp(1, MOST_AT_ONCE);
        let mut answer = wa::HistorySync {
            sync_type: Kind::ON_DEMAND,
            chunk_order: Some(1),
            progress: Some(100),
            ..Default::default()
        };
        let past = self.past(&companion.number);
        if let Some(past) = past.into_iter().find(|past| past.head.id == chat) {
            let oldest = request.oldest_msg_id.as_deref();
            let known = past.messages.iter().position(|info| info.key.id.as_deref() == oldest);
            // A message that the phone no longer has: then its time decides. Milliseconds, but Baileys hands on whatever
            // its caller gives.
            let start = known.map_or_else(
                || {
                    let at = request.oldest_msg_timestamp_ms.unwrap_or(i64::MAX);
                    let seconds = u64::try_from(if at > 100_000_000_000 { at / 1000 } else { at }).unwrap_or(u64::MAX);
                    past.messages
                        .partition_point(|info| info.message_timestamp.unwrap_or_default() >= seconds)
                },
                |place| place + 1,
            );
            let older = past.messages.get(start..).unwrap_or_default();
            let mut conversation = past.head.clone();
            conversation.messages = history_messages(older.iter().take(most).cloned());
            conversation.end_of_history_transfer = Some(true);
            conversation.end_of_history_transfer_type = Some(if older.len() > most {
                End::COMPLETE_ON_DEMAND_SYNC_BUT_MORE_MSG_REMAIN_ON_PRIMARY
            } else {
                End::COMPLETE_AND_NO_MORE_MESSAGE_REMAIN_ON_PRIMARY
            });
            answer.conversations.push(conversation);
        }
        self.phone_sends_chunk(companion, &answer, Some(id))
    }

    fn phone_resends(
        &mut self,
        companion: &DeviceAddress,
        id: &str,
        request: &PeerDataOperationRequestMessage,
    ) -> Result<()> {
        let past = self.past(&companion.number);
        let asked = request
            .placeholder_message_resend_request
            .iter()
            .take(MOST_PLACEHOLDERS);
        let results = asked.map(|asked| {
            let key = &asked.message_key;
            let chat = self.canonical(key.remote_jid.as_deref().unwrap_or_default());
            let found = past
                .iter()
                .filter(|past| past.head.id == chat)
                .flat_map(|past| &past.messages)
                .find(|info| info.key.id == key.id);
            PeerDataOperationResult {
                placeholder_message_resend_response: found
                    .map(|info| PlaceholderMessageResendResponse {
                        web_message_info_bytes: Some(info.encode_to_vec()),
                    })
                    .into(),
                ..Default::default()
            }
        });
        let response = wa::message::PeerDataOperationRequestResponseMessage {
            peer_data_operation_request_type: request.peer_data_operation_request_type,
            stanza_id: Some(id.to_owned()),
            peer_data_operation_result: results.collect(),
        };
        let message = wa::message::ProtocolMessage {
            r#type: Some(Type::PEER_DATA_OPERATION_REQUEST_RESPONSE_MESSAGE),
            peer_data_operation_request_response_message: MessageField::some(response),
            ..Default::default()
        };
        self.send_as_peer(companion, message)
    }
}
