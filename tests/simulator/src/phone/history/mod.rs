//! What a phone tells its companions of the time before them: conversations, names, addresses.
//!
//! Everything comes from the phone's inbox and from what it has sent; a companion gets it in chunks when it is linked,
//! and more of one conversation when it asks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::web_message_info::Status;

use crate::account::{Account, Form};
use crate::phone::app_state::actions::Newest;
use crate::phone::chat::Chat;
use crate::phone::unwrap::core;
use crate::world::World;

pub(crate) mod chunks;
mod notification;
pub(crate) mod requests;
#[cfg(test)]
mod tests;

/// The most messages of one conversation in the first chunk, unless the client wants another number.
const INITIAL_PER_CHAT: usize = 20;

/// What a client has said about history when it registered (`DeviceProps`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistoryWish {
    /// It wants everything, not only what is recent.
    pub(crate) full: bool,
    /// The most messages of one conversation in the first chunk.
    pub(crate) initial_per_chat: Option<u32>,
}

impl HistoryWish {
    /// Reads the registration.
    pub(crate) fn of(payload: &wa::ClientPayload) -> Self {
        let props = payload
            .device_pairing_data
            .device_props
            .as_deref()
            .and_then(|props| wa::DeviceProps::decode_from_slice(props).ok())
            .unwrap_or_default();
        Self {
            full: props.require_full_sync.unwrap_or_default(),
            initial_per_chat: props.history_sync_config.initial_sync_max_messages_per_chat,
        }
    }

    fn initial_per_chat(&self) -> usize {
        let wanted = self
            .initial_per_chat
            .and_then(|most| usize::try_from(most).ok())
            .filter(|most| *most > 0);
        wanted.unwrap_or(INITIAL_PER_CHAT)
    }
}

/// One conversation, the newest message first.
#[derive(Clone)]
pub(crate) struct Past {
    /// Everything but the messages.
    pub(crate) head: wa::Conversation,
    /// The messages.
    pub(crate) messages: Vec<wa::WebMessageInfo>,
}

impl World {
    /// A phone's conversations, the one with the newest message first.
    pub(crate) fn past(&self, number: &str) -> Vec<Past> {
        let Some(account) = self.accounts.get(number) else {
            return Vec::new();
        };
        let mut chats: BTreeMap<Chat, Vec<wa::WebMessageInfo>> = BTreeMap::new();
        let mut unread: BTreeMap<Chat, u32> = BTreeMap::new();
        for (entry, message) in account.phone.readable() {
            let chat = entry.chat(number);
            let mine = entry.from == number;
            if !mine && !entry.read {
                *unread.entry(chat.clone()).or_default() += 1;
            }
            let author = (!mine).then(|| self.accounts.get(&entry.from)).flatten();
            if let Some(info) = self.web_message(&chat, &entry.id, author, entry.at, message) {
                chats.entry(chat).or_default().push(info);
            }
        }
        for (chat, id, at, message) in account.phone.sent_to_chats() {
            if let Some(info) = self.web_message(chat, id, None, at, message) {
                chats.entry(chat.clone()).or_default().push(info);
            }
        }
        let mut past: Vec<Past> = chats
            .into_iter()
            .filter(|(_, messages)| !messages.is_empty())
            .map(|(chat, mut messages)| {
                // The sort keeps the order of what was written within one second.
                messages.reverse();
                messages.sort_by_key(|info| std::cmp::Reverse(info.message_timestamp));
                let unread = unread.get(&chat).copied().unwrap_or_default();
                Past {
                    head: self.conversation(account, &chat, &messages, unread),
                    messages,
                }
            })
            .collect();
        past.sort_by_key(|past| std::cmp::Reverse(past.head.conversation_timestamp));
        past
    }

    /// The newest message of a chat, for what is set up to it.
    pub(crate) fn newest_in(&self, number: &str, chat: &str) -> Option<Newest> {
        let past = self.past(number).into_iter().find(|past| past.head.id == chat)?;
        let newest = past.messages.into_iter().next()?;
        Some(Newest {
            at_seconds: i64::try_from(newest.message_timestamp?).ok()?,
            key: newest.key.into_option()?,
        })
    }

    /// A message as history carries it; `author` is nobody for one's own. `None` for what only adds to another message.
    fn web_message(
        &self,
        chat: &Chat,
        id: &str,
        author: Option<&Account>,
        at: u64,
        message: wa::Message,
    ) -> Option<wa::WebMessageInfo> {
        let inside = core(&message);
        let only_adds = inside.reaction_message.is_set()
            || inside.enc_reaction_message.is_set()
            || inside.poll_update_message.is_set()
            || inside.protocol_message.is_set();
        if only_adds {
            return None;
        }
        let in_group = !matches!(chat, Chat::Person(_));
        let participant = author
            .filter(|_| in_group)
            .map(|author| author.jid(Form::Number).to_string());
        Some(wa::WebMessageInfo {
            key: MessageField::some(wa::MessageKey {
                remote_jid: self.chat_jid(chat, Form::Number).ok().map(|jid| jid.to_string()),
                from_me: Some(author.is_none()),
                id: Some(id.to_owned()),
                participant: participant.clone(),
            }),
            message: MessageField::some(message),
            message_timestamp: Some(at),
            status: Some(if author.is_none() {
                Status::DELIVERY_ACK
            } else {
                Status::SERVER_ACK
            }),
            push_name: author.map(|author| author.phone.push_name.clone()),
            participant,
            ..Default::default()
        })
    }

    fn conversation(
        &self,
        account: &Account,
        chat: &Chat,
        messages: &[wa::WebMessageInfo],
        unread: u32,
    ) -> wa::Conversation {
        let person = match chat {
            Chat::Person(number) => self.accounts.get(number),
            _ => None,
        };
        let jid = self
            .chat_jid(chat, Form::Number)
            .map(|jid| jid.to_string())
            .unwrap_or_default();
        let lid = person.map(|person| person.jid(Form::Lid).to_string());
        let set = |action: &str| {
            let by_number = account.phone.app_state.entry(&[action, &jid]);
            by_number.or_else(|| account.phone.app_state.entry(&[action, lid.as_deref()?]))
        };
        let newest = messages.first().and_then(|info| info.message_timestamp);
        let until = set("mute")
            .filter(|value| value.mute_action.muted == Some(true))
            .map(|value| value.mute_action.mute_end_timestamp.unwrap_or(-1));
        wa::Conversation {
            id: jid.clone(),
            last_msg_timestamp: newest,
            conversation_timestamp: newest,
            unread_count: Some(unread),
            name: set("contact").and_then(|value| value.contact_action.full_name.clone()),
            display_name: person.map(|person| person.phone.push_name.clone()),
            archived: set("archive").and_then(|value| value.archive_chat_action.archived),
            pinned: set("pin_v1")
                .filter(|value| value.pin_action.pinned == Some(true))
                .and_then(|value| u32::try_from(value.timestamp? / 1000).ok()),
            // What ends never is as far away as a time can be.
            mute_end_time: until.map(|until| u64::try_from(until).unwrap_or(u64::MAX)),
            marked_as_unread: set("markChatAsRead")
                .and_then(|value| value.mark_chat_as_read_action.read)
                .map(|read| !read),
            pn_jid: person.map(|person| person.jid(Form::Number).to_string()),
            lid_jid: lid,
            not_spam: Some(true),
            ..Default::default()
        }
    }
}
