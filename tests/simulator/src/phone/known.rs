//! What a phone remembers of each message: enough to quote it, to open what is added to it, and to judge who may.

use anyhow::{Result, ensure};
use whatsapp_rust::buffa::Message as _;
use whatsapp_rust::waproto::whatsapp as wa;

use crate::phone::chat::Chat;
use crate::phone::{InboxEntry, Phone};

/// How long after sending a message may still be changed.
const EDIT_SECONDS: u64 = 15 * 60;

/// A message a phone has sent or read.
#[derive(Debug)]
pub(crate) struct Known {
    /// The number of the account that wrote it.
    pub(crate) author: String,
    /// When, in seconds since 1970.
    pub(crate) at: u64,
    /// What it says, without the wrapper of a copy.
    pub(crate) message: wa::Message,
}

impl Phone {
    /// A message by its id alone, received or sent.
    pub(crate) fn message(&self, id: &str) -> Option<wa::Message> {
        let shown = self
            .inbox
            .iter()
            .rev()
            .find(|shown| shown.entry.id == id && shown.entry.error.is_none());
        match shown {
            Some(shown) => wa::Message::decode_from_slice(&shown.message).ok(),
            None => self.recall_sent(id),
        }
    }

    /// A message of a chat, sent or received; `own` is the phone's number.
    pub(crate) fn known(&self, own: &str, chat: &Chat, id: &str) -> Option<Known> {
        let shown = self
            .inbox
            .iter()
            .rev()
            .find(|shown| shown.entry.is_about(own, chat, id));
        if let Some(shown) = shown {
            return Some(Known {
                author: shown.entry.from.clone(),
                at: shown.entry.at,
                message: wa::Message::decode_from_slice(&shown.message).ok()?,
            });
        }
        let sent = self
            .sent
            .iter()
            .rev()
            .find(|sent| sent.id == id && sent.chat.as_ref() == Some(chat))?;
        Some(Known {
            author: own.to_owned(),
            at: sent.at,
            message: wa::Message::decode_from_slice(&sent.message).ok()?,
        })
    }
}

impl InboxEntry {
    /// Whether it is the readable message with this id in this chat.
    pub(super) fn is_about(&self, own: &str, chat: &Chat, id: &str) -> bool {
        self.id == id && self.error.is_none() && self.chat(own) == *chat
    }

    /// The conversation it belongs to, on the phone with this number.
    pub(crate) fn chat(&self, own: &str) -> Chat {
        if let Some(chat) = self.group.as_deref().and_then(Chat::parse) {
            return chat;
        }
        match &self.dsm_to {
            Some(to) if self.from == own => Chat::parse(to).unwrap_or(Chat::Person(to.clone())),
            _ => Chat::Person(self.from.clone()),
        }
    }
}

/// Whether somebody may change a message at this time: only its author, for fifteen minutes.
pub(crate) fn may_edit(known: &Known, editor: &str, now: u64) -> Result<()> {
    ensure!(known.author == editor, "only the author can edit a message");
    ensure!(
        now.saturating_sub(known.at) <= EDIT_SECONDS,
        "a message can be edited for 15 minutes only"
    );
    Ok(())
}

/// Whether somebody may take a message back: only its author.
pub(crate) fn may_revoke(known: &Known, revoker: &str) -> Result<()> {
    ensure!(known.author == revoker, "only the author can take back a message");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_author_edits_and_only_for_fifteen_minutes() {
        let known = Known {
            author: "5511999990001".to_owned(),
            at: 1_000,
            message: wa::Message::default(),
        };
        assert!(may_edit(&known, "5511999990001", 1_000 + 900).is_ok());
        let late = may_edit(&known, "5511999990001", 1_000 + 901).unwrap_err().to_string();
        assert!(late.contains("15 minutes"), "{late}");
        let stranger = may_edit(&known, "5511999990002", 1_000).unwrap_err().to_string();
        assert!(stranger.contains("author"), "{stranger}");
    }
}
