//! Messages on their way out, and the parts that both directions share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::address::Address;
use super::event::Failure;
use super::id::{InstanceId, RequestId};

/// WhatsApp's own id of a message. Ours are chosen when a message is accepted, so that a resend is no twin.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct MessageId(String);

impl MessageId {
    /// Chooses an id in the form WhatsApp Web uses: `3EB0` and 18 upper-case hex digits.
    pub fn choose() -> Self {
        let random: [u8; 9] = rand::random();
        Self(format!("3EB0{}", hex::encode_upper(random)))
    }

    /// Takes an id that came from outside as it is.
    pub fn from_wire(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The most characters a text may have; WhatsApp's own limit.
pub const TEXT_CHARACTERS: usize = 65_536;

/// What a message says. Other kinds are added here, in the engine's translation and in the contract together.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Body {
    /// Plain text.
    Text {
        /// The text, at most 65,536 characters.
        text: String,
    },
    /// A place. Only ever received in this version.
    Location {
        /// Degrees north.
        latitude: f64,
        /// Degrees east.
        longitude: f64,
        /// What the place is called.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Where it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
    },
    /// One or several contacts. Only ever received in this version.
    Contact {
        /// The contacts.
        contacts: Vec<Contact>,
    },
    /// A question with options. Only ever received in this version.
    Poll {
        /// The question.
        question: String,
        /// What can be chosen.
        options: Vec<String>,
        /// How many may be chosen at once; 0 is any number.
        selectable_count: u32,
    },
    /// A kind that this version cannot show yet; `kind` is WhatsApp's field name, or `unknown` when the message has
    /// only fields that this version has never heard of. Only ever received.
    Unsupported {
        /// Which kind, in WhatsApp's words.
        kind: String,
    },
}

/// A contact that somebody passed on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Contact {
    /// The name.
    pub name: String,
    /// The numbers, as they stand in the sender's address book.
    pub phones: Vec<String>,
}

/// How far a message of ours has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutboundState {
    /// Accepted and stored; not yet acknowledged by WhatsApp.
    Queued,
    /// Acknowledged by WhatsApp's server.
    Sent,
    /// Reached the recipient's phone.
    Delivered,
    /// Read by the recipient.
    Read,
    /// Played by the recipient (voice and video).
    Played,
    /// Refused for good.
    Failed,
}

impl OutboundState {
    /// Whether a move to `next` tells something new: states only move forward, and a failure is final.
    pub fn advances_to(self, next: OutboundState) -> bool {
        self != OutboundState::Failed && next > self && (next != OutboundState::Failed || self == OutboundState::Queued)
    }
}

/// An outbound message as stored: the outbox row until acknowledged, afterwards its state for the log.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Outbound {
    /// WhatsApp's id, fixed at acceptance.
    pub message_id: MessageId,
    /// Sent by.
    pub instance_id: InstanceId,
    /// Sent to.
    pub to: Address,
    /// What it says; dropped (`None`) once the message is settled, so that the log keeps no contents.
    pub body: Option<Body>,
    /// The message this one answers.
    pub reply_to: Option<MessageId>,
    /// Who is mentioned.
    pub mentions: Vec<Address>,
    /// The caller's own reference.
    pub client_ref: Option<String>,
    /// The request that caused it.
    pub request_id: Option<RequestId>,
    /// How far it has come.
    pub state: OutboundState,
    /// How often it was written to the socket.
    pub attempts: u32,
    /// Its place in the queue of its instance; assigned by the store.
    pub sequence: u64,
    /// When the outbox acts on it next; `None` once settled.
    pub due_at: Option<Timestamp>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub updated_at: Timestamp,
    /// Why it failed.
    pub error: Option<Failure>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_id_has_the_form_of_whatsapp_web() {
        let id = MessageId::choose();
        assert_eq!(id.as_str().len(), 22);
        assert!(id.as_str().starts_with("3EB0"));
        assert_ne!(id, MessageId::choose());
    }

    #[test]
    fn states_only_move_forward_and_a_failure_is_final() {
        use OutboundState::{Delivered, Failed, Queued, Read, Sent};
        assert!(Queued.advances_to(Sent) && Sent.advances_to(Delivered) && Queued.advances_to(Read));
        assert!(Queued.advances_to(Failed));
        for (from, to) in [
            (Read, Delivered),
            (Sent, Sent),
            (Failed, Sent),
            (Delivered, Failed),
            (Sent, Failed),
        ] {
            assert!(!from.advances_to(to), "{from:?} -> {to:?}");
        }
    }
}
