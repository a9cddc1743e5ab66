//! What the owner changes on the phone or another device: chats pinned, archived, muted, read; contacts named; the
//! account's own name.
//!
//! It reaches us through app state. The library tells it once, when it has applied the change, and keeps no copy that we
//! could ask: a change is told at most once. What was set before this session began is not news; the library marks
//! everything that a collection held when it was read for the first time, and then the change's own time decides, since
//! the very first change of a collection comes that way too.

use whatsapp_rust::Jid;
use whatsapp_rust::prelude::{Client, Event as WireEvent};

use super::incoming::person;
use super::translate::address::from_jid;
use crate::domain::Timestamp;
use crate::domain::address::ChatType;
use crate::domain::event::{Chat, ChatSettings, EventBody, Sender};

/// One change.
#[derive(Debug)]
pub(super) enum News {
    /// A chat was changed.
    Chat {
        /// Which.
        jid: Jid,
        /// How it is now.
        settings: ChatSettings,
        /// When.
        at: Timestamp,
    },
    /// A contact has another name in the phone's address book.
    Contact {
        /// Whose.
        jid: Jid,
        /// The same person's hidden-number id, where the phone tells it.
        lid: Option<Jid>,
        /// The name.
        name: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// The account has another name.
    OwnName {
        /// The name.
        name: String,
        /// When we heard of it.
        at: Timestamp,
    },
}

/// Reads the library's event; `since` is when the session began.
pub(super) fn news(event: &WireEvent, since: Timestamp, now: Timestamp) -> Option<News> {
    let (jid, millis, old, settings) = match event {
        WireEvent::PinUpdate(pin) => {
            let settings = ChatSettings {
                pinned: pin.action.pinned,
                ..ChatSettings::default()
            };
            (&pin.jid, pin.timestamp.timestamp_millis(), pin.from_full_sync, settings)
        }
        WireEvent::ArchiveUpdate(archive) => {
            let settings = ChatSettings {
                archived: archive.action.archived,
                ..ChatSettings::default()
            };
            let at = archive.timestamp.timestamp_millis();
            (&archive.jid, at, archive.from_full_sync, settings)
        }
        WireEvent::MuteUpdate(mute) => {
            let until = mute.action.mute_end_timestamp.filter(|until| *until > 0);
            let settings = ChatSettings {
                muted: mute.action.muted,
                muted_until: until
                    .filter(|_| mute.action.muted == Some(true))
                    .map(Timestamp::from_millis),
                ..ChatSettings::default()
            };
            let at = mute.timestamp.timestamp_millis();
            (&mute.jid, at, mute.from_full_sync, settings)
        }
        WireEvent::MarkChatAsReadUpdate(read) => {
            let settings = ChatSettings {
                unread: read.action.read.map(|read| !read),
                ..ChatSettings::default()
            };
            let at = read.timestamp.timestamp_millis();
            (&read.jid, at, read.from_full_sync, settings)
        }
        WireEvent::ContactUpdate(contact) => {
            let at = Timestamp::from_millis(contact.timestamp.timestamp_millis());
            if contact.from_full_sync && at < since {
                return None;
            }
            let action = &contact.action;
            return Some(News::Contact {
                jid: contact.jid.clone(),
                lid: action.lid_jid.as_deref().and_then(|lid| lid.parse().ok()),
                name: action.full_name.clone().or_else(|| action.first_name.clone()),
                at,
            });
        }
        // The first name that a fresh link hears stands in `instance.connected` already.
        WireEvent::SelfPushNameUpdated(own) if !own.old_name.is_empty() => {
            return Some(News::OwnName {
                name: own.new_name.clone(),
                at: now,
            });
        }
        _ => return None,
    };
    let at = Timestamp::from_millis(millis);
    if (old && at < since) || settings == ChatSettings::default() {
        return None;
    }
    Some(News::Chat {
        jid: jid.clone(),
        settings,
        at,
    })
}

/// The event that tells it; `None` for a chat that the product has no word for.
pub(super) async fn told(client: &Client, news: News) -> Option<EventBody> {
    Some(match news {
        News::Chat { jid, settings, at } => {
            let address = from_jid(&jid)?;
            let chat = match address.chat_type() {
                ChatType::Direct => person(client, &jid, None).await?.preferred,
                _ => address,
            };
            EventBody::ChatUpdated {
                chat: Chat::at(chat),
                settings,
                timestamp: at,
            }
        }
        News::Contact { jid, lid, name, at } => {
            let person = person(client, &jid, lid.as_ref()).await?;
            EventBody::ContactUpdated {
                contact: person.named(name),
                push_name: None,
                timestamp: at,
            }
        }
        News::OwnName { name, at } => {
            let own = client.pn()?;
            let person = person(client, &own, client.lid().as_ref()).await?;
            EventBody::ContactUpdated {
                contact: person.named(None),
                push_name: Some(name),
                timestamp: at,
            }
        }
    })
}

impl super::incoming::Person {
    /// The person under a name.
    pub(super) fn named(self, name: Option<String>) -> Sender {
        Sender {
            phone: self.preferred.phone_number().map(str::to_owned),
            jid: self.preferred,
            lid: self.lid,
            name,
        }
    }
}

#[cfg(test)]
mod tests {
    use whatsapp_rust::types::events::{ArchiveUpdate, MuteUpdate};
    use whatsapp_rust::wacore::time::from_millis_or_now;
    use whatsapp_rust::waproto::whatsapp::sync_action_value::{ArchiveChatAction, MuteAction};

    use super::*;

    const SINCE: Timestamp = Timestamp::from_millis(10_000);

    fn archived(at: i64, first_reading: bool) -> WireEvent {
        WireEvent::ArchiveUpdate(
            ArchiveUpdate::builder()
                .jid(Jid::pn("5511999990001"))
                .timestamp(from_millis_or_now(at))
                .action(Box::new(ArchiveChatAction {
                    archived: Some(true),
                    ..Default::default()
                }))
                .from_full_sync(first_reading)
                .build(),
        )
    }

    #[test]
    fn what_was_set_before_the_session_is_no_news_unless_it_comes_as_a_change() {
        for (at, first_reading, told) in [
            (9_999, true, false),
            (10_000, true, true),
            (9_999, false, true),
            (10_001, false, true),
        ] {
            let heard = news(&archived(at, first_reading), SINCE, SINCE);
            assert_eq!(heard.is_some(), told, "{at} {first_reading}");
        }
    }

    #[test]
    fn a_chat_muted_for_good_has_no_end_and_one_no_longer_muted_neither() {
        for (muted, until, expected) in [
            (true, Some(-1), None),
            (true, None, None),
            (true, Some(20_000), Some(Timestamp::from_millis(20_000))),
            (false, Some(20_000), None),
        ] {
            let event = WireEvent::MuteUpdate(
                MuteUpdate::builder()
                    .jid(Jid::pn("5511999990001"))
                    .timestamp(from_millis_or_now(20_000))
                    .action(Box::new(MuteAction {
                        muted: Some(muted),
                        mute_end_timestamp: until,
                        ..Default::default()
                    }))
                    .from_full_sync(false)
                    .build(),
            );
            let Some(News::Chat { settings, .. }) = news(&event, SINCE, SINCE) else {
                panic!("not told");
            };
            assert_eq!((settings.muted, settings.muted_until), (Some(muted), expected));
        }
    }
}
