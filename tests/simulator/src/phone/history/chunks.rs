//! Cutting a phone's past into the chunks that a new companion gets.
//!
//! Order and kinds: first what a client shows at once, then names, then what is recent, then (only if the client wants
//! it) everything; last what no screen waits for. There is always a recent part, and every conversation is in it:
//! Baileys counts history as complete when one says 100 percent (`Socket/chats`), and keeps what app state says of a
//! conversation until a chunk names that (`Utils/event-buffer`).

use whatsapp_rust::buffa::MessageField;
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::conversation::EndOfHistoryTransferType as End;
use whatsapp_rust::waproto::whatsapp::history_sync::HistorySyncType as Kind;

use super::{HistoryWish, Past};

/// The most messages in one chunk.
const PER_CHUNK: usize = 200;
/// How many messages beyond the first chunk count as recent.
const RECENT: usize = 1000;
/// The most messages that a phone sends of its whole past.
const MOST: usize = 20_000;

/// Names and addresses that go with the conversations.
#[derive(Default)]
pub(crate) struct People {
    pub(crate) names: Vec<wa::Pushname>,
    pub(crate) lids: Vec<wa::PhoneNumberToLIDMapping>,
}

/// All chunks for a new companion, in order.
pub(crate) fn cut(mut past: Vec<Past>, people: People, wish: &HistoryWish) -> Vec<wa::HistorySync> {
    let mut initial = chunk(Kind::INITIAL_BOOTSTRAP, 1);
    initial.pushnames.clone_from(&people.names);
    initial.phone_number_to_lid_mappings.clone_from(&people.lids);
    let most = wish.initial_per_chat();
    initial.conversations = past.iter_mut().map(|past| take(past, most)).collect();
    let mut names = chunk(Kind::PUSH_NAME, 1);
    names.pushnames = people.names;
    names.progress = Some(100);

    let mut recent = slices(&mut past, Kind::RECENT, RECENT);
    let full = if wish.full {
        slices(&mut past, Kind::FULL, MOST)
    } else {
        Vec::new()
    };
    name_all(&mut recent, &past);
    if let Some(last) = recent.last_mut() {
        last.progress = Some(100);
    }
    initial.progress = Some(50);
    let mut rest = chunk(Kind::NON_BLOCKING_DATA, 1);
    rest.phone_number_to_lid_mappings = people.lids;
    rest.progress = Some(100);

    let mut all = vec![initial, names];
    all.extend(recent);
    all.extend(full);
    all.push(rest);
    mark_ends(&mut all, &past);
    all
}

fn chunk(kind: Kind, order: u32) -> wa::HistorySync {
    wa::HistorySync {
        sync_type: kind,
        chunk_order: Some(order),
        ..Default::default()
    }
}

/// Takes the newest messages that are left of a conversation.
fn take(past: &mut Past, most: usize) -> wa::Conversation {
    let taken = past.messages.drain(..most.min(past.messages.len()));
    let mut conversation = past.head.clone();
    conversation.messages = history_messages(taken);
    conversation
}

/// Messages as a conversation of history holds them.
pub(crate) fn history_messages(messages: impl Iterator<Item = wa::WebMessageInfo>) -> Vec<wa::HistorySyncMsg> {
    messages
        .map(|info| wa::HistorySyncMsg {
            msg_order_id: info.message_timestamp,
            message: MessageField::some(info),
        })
        .collect()
}

/// Chunks of one kind with up to `most` of the messages that are left, conversation by conversation.
fn slices(past: &mut [Past], kind: Kind, most: usize) -> Vec<wa::HistorySync> {
    let total: usize = past.iter().map(|past| past.messages.len()).sum();
    let total = total.min(most);
    let (mut slices, mut done, mut room) = (Vec::new(), 0, 0);
    for past in past {
        while !past.messages.is_empty() && done < total {
            if room == 0 {
                slices.push(chunk(kind, u32::try_from(slices.len() + 1).unwrap_or(u32::MAX)));
                room = PER_CHUNK;
            }
            let conversation = take(past, room.min(total - done));
            done += conversation.messages.len();
            room -= conversation.messages.len();
            if let Some(slice) = slices.last_mut() {
                slice.conversations.push(conversation);
                slice.progress = u32::try_from(done * 100 / total.max(1)).ok();
            }
        }
    }
    slices
}

/// Lets the first recent chunk, made if there is none, name the conversations that no recent chunk has messages of.
fn name_all(recent: &mut Vec<wa::HistorySync>, past: &[Past]) {
    if recent.is_empty() {
        recent.push(chunk(Kind::RECENT, 1));
    }
    let named = |chunks: &[wa::HistorySync], id: &str| {
        let mut conversations = chunks.iter().flat_map(|chunk| &chunk.conversations);
        conversations.any(|conversation| conversation.id == id)
    };
    let missing: Vec<_> = past
        .iter()
        .filter(|past| !named(recent, &past.head.id))
        .map(|past| past.head.clone())
        .collect();
    recent[0].conversations.extend(missing);
}

/// Says in each conversation's last chunk whether the phone has more of it.
fn mark_ends(chunks: &mut [wa::HistorySync], left: &[Past]) {
    for past in left {
        let last = chunks.iter_mut().rev().find_map(|chunk| {
            let mut conversations = chunk.conversations.iter_mut().rev();
            conversations.find(|conversation| conversation.id == past.head.id)
        });
        if let Some(last) = last {
            last.end_of_history_transfer = Some(true);
            last.end_of_history_transfer_type = Some(if past.messages.is_empty() {
                End::COMPLETE_AND_NO_MORE_MESSAGE_REMAIN_ON_PRIMARY
            } else {
                End::COMPLETE_BUT_MORE_MESSAGES_REMAIN_ON_PRIMARY
            });
        }
    }
}
