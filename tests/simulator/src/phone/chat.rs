//! Where a message goes or belongs: one person, a group, or the status of whoever writes.

use std::fmt;

use whatsapp_rust::wacore_binary::Jid;

/// A conversation as a phone sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Chat {
    /// The account with this phone number; its own number is the chat with oneself.
    Person(String),
    /// A group, by the part of its address before `@g.us`.
    Group(String),
    /// `status@broadcast`
    Status,
}

impl Chat {
    /// Reads what a caller wrote: a phone number in digits, alone or as a JID, a group's JID, or `status@broadcast`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = |user: &str| !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_digit());
        match text.split_once('@') {
            None | Some((_, "s.whatsapp.net")) => {
                let user = text.split('@').next().unwrap_or_default();
                ((5..=15).contains(&user.len()) && digits(user)).then(|| Self::Person(user.to_owned()))
            }
            Some((user, "g.us")) => {
                let valid = user.len() <= 40 && user.split('-').all(digits);
                valid.then(|| Self::Group(user.to_owned()))
            }
            Some(("status", "broadcast")) => Some(Self::Status),
            Some(_) => None,
        }
    }

    /// The address of a chat that is no person; a person has two, see [`World::chat_jid`](crate::world::World::chat_jid).
    pub(crate) fn shared_jid(&self) -> Option<Jid> {
        match self {
            Self::Person(_) => None,
            Self::Group(user) => Some(Jid::group(user.as_str())),
            Self::Status => Some(Jid::status_broadcast()),
        }
    }
}

/// As [`Chat::parse`] reads it.
impl fmt::Display for Chat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(number) => formatter.write_str(number),
            Self::Group(user) => write!(formatter, "{user}@g.us"),
            Self::Status => formatter.write_str("status@broadcast"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_groups_and_the_status_are_chats() {
        let person = Chat::Person("5511999990001".to_owned());
        assert_eq!(Chat::parse("5511999990001"), Some(person.clone()));
        assert_eq!(Chat::parse("5511999990001@s.whatsapp.net"), Some(person));
        for text in ["120363000000000001@g.us", "5511999990001-1600000000@g.us"] {
            let chat = Chat::parse(text).unwrap();
            assert_eq!(chat.shared_jid().unwrap().to_string(), text);
            assert_eq!(chat.to_string(), text);
        }
        assert_eq!(Chat::parse("status@broadcast"), Some(Chat::Status));
    }

    #[test]
    fn anything_else_is_no_chat() {
        for text in [
            "",
            "+5511",
            "1234",
            "x@g.us",
            "@g.us",
            "1@g.us-",
            "100000000000001@lid",
            "news@broadcast",
        ] {
            assert_eq!(Chat::parse(text), None, "{text}");
        }
    }
}
