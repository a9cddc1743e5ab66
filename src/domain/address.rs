//! Whom a message goes to or comes from: phone numbers and JIDs.
//!
//! WhatsApp names one person twice: by phone number (`…@s.whatsapp.net`) and by hidden-number id, LID (`…@lid`).
//! An [`Address`] is one of those names; which two belong together is known to the engine alone.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The part of a JID behind the `@`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Server {
    /// `s.whatsapp.net`: a person by phone number.
    Phone,
    /// `lid`: a person by hidden-number id.
    Lid,
    /// `g.us`: a group.
    Group,
    /// `broadcast`: `status@broadcast` and broadcast lists.
    Broadcast,
    /// `newsletter`: a channel.
    Newsletter,
}

impl Server {
    /// As it stands in a JID.
    pub const fn as_str(self) -> &'static str {
        match self {
            Server::Phone => "s.whatsapp.net",
            Server::Lid => "lid",
            Server::Group => "g.us",
            Server::Broadcast => "broadcast",
            Server::Newsletter => "newsletter",
        }
    }
}

/// The kind of a conversation, as shown in events.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChatType {
    /// One other person.
    Direct,
    /// A group.
    Group,
    /// Status updates and broadcast lists.
    Status,
    /// A channel.
    Channel,
}

/// The JID of a person, group, status list or channel, without a device part.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    user: String,
    server: Server,
}

/// Why a text is no address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressProblem {
    /// Nothing there.
    #[error("must not be empty: give an international number or a JID")]
    Empty,
    /// A phone number of the wrong length or with other characters.
    #[error("must be an international number of 7 to 15 digits, with country code, with or without +")]
    Number,
    /// Unknown part behind the `@`.
    #[error("must end in @s.whatsapp.net, @lid, @g.us or be status@broadcast")]
    Server,
    /// The part before the `@` does not fit.
    #[error("has a wrong part before the @")]
    User,
}

/// International numbers have at most 15 digits (ITU-T E.164, section 6); no network uses fewer than 7.
fn is_phone(digits: &str) -> bool {
    (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0')
}

impl Address {
    /// A person by phone number, digits alone.
    pub fn phone(digits: &str) -> Result<Self, AddressProblem> {
        if is_phone(digits) {
            Ok(Self {
                user: digits.to_owned(),
                server: Server::Phone,
            })
        } else {
            Err(AddressProblem::Number)
        }
    }

    /// A person by hidden-number id.
    pub fn lid(user: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            server: Server::Lid,
        }
    }

    /// Reads what callers write: a number with or without `+`, spaces, dots, dashes and brackets, or a JID.
    pub fn parse(text: &str) -> Result<Self, AddressProblem> {
        let text = text.trim();
        if text.is_empty() {
            return Err(AddressProblem::Empty);
        }
        let Some((user, server)) = text.split_once('@') else {
            let digits: String = text
                .strip_prefix('+')
                .unwrap_or(text)
                .chars()
                .filter(|character| !matches!(character, ' ' | '-' | '.' | '(' | ')'))
                .collect();
            return Self::phone(&digits);
        };
        let server = match server {
            // c.us is what older clients of the same network write for a person.
            "s.whatsapp.net" | "c.us" => Server::Phone,
            "lid" => Server::Lid,
            "g.us" => Server::Group,
            "broadcast" => Server::Broadcast,
            "newsletter" => Server::Newsletter,
            _ => return Err(AddressProblem::Server),
        };
        // A device part names one of a person's devices (`user:device@server`); a message goes to all of them.
        let user = user.split_once(':').map_or(user, |(user, _)| user);
        let digits = !user.is_empty() && user.len() <= 32 && user.bytes().all(|byte| byte.is_ascii_digit());
        let fits = match server {
            Server::Phone => return Self::phone(user),
            Server::Lid | Server::Newsletter => digits,
            // Old group ids are `creator-time`.
            Server::Group => {
                !user.is_empty() && user.len() <= 64 && user.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
            }
            Server::Broadcast => user == "status" || digits,
        };
        if fits {
            Ok(Self {
                user: user.to_owned(),
                server,
            })
        } else {
            Err(AddressProblem::User)
        }
    }

    /// The part before the `@`.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The part behind the `@`.
    pub const fn server(&self) -> Server {
        self.server
    }

    /// The phone number in digits, when this address is one.
    pub fn phone_number(&self) -> Option<&str> {
        (self.server == Server::Phone).then_some(self.user.as_str())
    }

    /// What kind of conversation lives at this address.
    pub const fn chat_type(&self) -> ChatType {
        match self.server {
            Server::Phone | Server::Lid => ChatType::Direct,
            Server::Group => ChatType::Group,
            Server::Broadcast => ChatType::Status,
            Server::Newsletter => ChatType::Channel,
        }
    }

    /// For logs: enough to tell two apart in a support case, not enough to call anybody.
    pub fn masked(&self) -> String {
        let tail: String = self
            .user
            .chars()
            .rev()
            .take(4)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect();
        format!("…{tail}@{}", self.server.as_str())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.server.as_str())
    }
}

/// Masked, so that a stray `{:?}` in a log leaks no number.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl std::str::FromStr for Address {
    type Err = AddressProblem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Address {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Address".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "An international phone number with or without +, or a JID",
            "examples": ["5511999999999", "5511999999999@s.whatsapp.net", "120363000000000000@g.us"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for text in [
            "5511999999999",
            "+5511999999999",
            "+55 (11) 99999-9999",
            "5511999999999@s.whatsapp.net",
            "5511999999999:3@c.us",
        ] {
            assert_eq!(
                Address::parse(text).unwrap().to_string(),
                "5511999999999@s.whatsapp.net",
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (text, problem) in [
            ("", AddressProblem::Empty),
            ("123", AddressProblem::Number),
            ("0511999999999", AddressProblem::Number),
            ("55119999999991234", AddressProblem::Number),
            ("5511x", AddressProblem::Number),
            ("1@example.com", AddressProblem::Server),
            ("@g.us", AddressProblem::User),
            ("abc@lid", AddressProblem::User),
            ("other@broadcast", AddressProblem::User),
        ] {
            assert_eq!(Address::parse(text), Err(problem), "{text}");
        }
    }

    #[test]
    fn a_debug_print_shows_no_full_number() {
        let address = Address::parse("5511987654321").unwrap();
        assert_eq!(format!("{address:?}"), "…4321@s.whatsapp.net");
    }
}
