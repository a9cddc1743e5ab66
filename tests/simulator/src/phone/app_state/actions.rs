//! What a phone's owner can set for a chat or a contact, as changes of app state.
//!
//! Collections, indexes and schema versions: whatsapp-rust `wacore-appstate/schemas.rs`, Baileys `Utils/chat-utils`.

use whatsapp_rust::buffa::MessageField;
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::sync_action_value as action;

use super::replica::Change;
use crate::app_state::Name;

/// What to set for a chat; only what is given is set.
#[derive(Debug, Default)]
pub(crate) struct ChatWish {
    pub(crate) pinned: Option<bool>,
    pub(crate) archived: Option<bool>,
    /// Milliseconds since 1970; 0 = not muted, -1 = for good.
    pub(crate) muted_until: Option<i64>,
    pub(crate) read: Option<bool>,
}

/// The newest message of a chat; clients want to know up to where a chat is archived or read.
pub(crate) struct Newest {
    pub(crate) key: wa::MessageKey,
    pub(crate) at_seconds: i64,
}

impl ChatWish {
    /// Whether nothing is wished.
    pub(crate) fn is_empty(&self) -> bool {
        self.pinned.is_none() && self.archived.is_none() && self.muted_until.is_none() && self.read.is_none()
    }

    /// The changes, by collection.
    pub(crate) fn changes(&self, chat: &str, newest: Option<&Newest>, now_millis: i64) -> Vec<(Name, Vec<Change>)> {
        let set = |name: &str, schema, fill: &dyn Fn(&mut wa::SyncActionValue)| {
            let mut value = wa::SyncActionValue {
                timestamp: Some(now_millis),
                ..Default::default()
            };
            fill(&mut value);
            Change {
                index: vec![name.to_owned(), chat.to_owned()],
                value,
                schema,
            }
        };
        let range = || match newest {
            None => MessageField::none(),
            Some(newest) => MessageField::some(action::SyncActionMessageRange {
                last_message_timestamp: Some(newest.at_seconds),
                messages: vec![action::SyncActionMessage {
                    key: MessageField::some(newest.key.clone()),
                    timestamp: Some(newest.at_seconds),
                }],
                ..Default::default()
            }),
        };
        let mut low = Vec::new();
        if let Some(pinned) = self.pinned {
            low.push(set("pin_v1", 5, &|value| {
                value.pin_action = MessageField::some(action::PinAction { pinned: Some(pinned) });
            }));
        }
        if let Some(archived) = self.archived {
            low.push(set("archive", 3, &|value| {
                value.archive_chat_action = MessageField::some(action::ArchiveChatAction {
                    archived: Some(archived),
                    message_range: range(),
                });
            }));
        }
        if let Some(read) = self.read {
            low.push(set("markChatAsRead", 3, &|value| {
                value.mark_chat_as_read_action = MessageField::some(action::MarkChatAsReadAction {
                    read: Some(read),
                    message_range: range(),
                });
            }));
        }
        let high = self.muted_until.map(|until| {
            set("mute", 2, &|value| {
                value.mute_action = MessageField::some(action::MuteAction {
                    muted: Some(until != 0),
                    mute_end_timestamp: (until != 0).then_some(until),
                    ..Default::default()
                });
            })
        });
        [(Name::RegularLow, low), (Name::RegularHigh, high.into_iter().collect())]
            .into_iter()
            .filter(|(_, changes)| !changes.is_empty())
            .collect()
    }
}

/// The change that gives a contact a name in the phone's address book.
pub(crate) fn contact_change(jid: &str, lid: &str, name: &str, now_millis: i64) -> Change {
    Change {
        index: vec!["contact".to_owned(), jid.to_owned()],
        value: wa::SyncActionValue {
            timestamp: Some(now_millis),
            contact_action: MessageField::some(action::ContactAction {
                full_name: Some(name.to_owned()),
                first_name: name.split_whitespace().next().map(str::to_owned),
                lid_jid: Some(lid.to_owned()),
                save_on_primary_addressbook: Some(true),
                ..Default::default()
            }),
            ..Default::default()
        },
        schema: 2,
    }
}
