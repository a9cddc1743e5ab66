//! What happens, in the one shape that everybody is told: the stream, the webhooks, the journal.
//!
//! An event is encoded once, by the store's writer, at the moment it gets its id; from then on it is shared bytes
//! (a [`Frame`]), so that a subscriber costs a filter test and a pointer, and stream and webhook cannot differ.

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::address::{Address, ChatType};
use super::id::{EventId, InstanceId};
use super::instance::{Status, StatusReason};
use super::message::{Body, MessageId};

/// The version of the event shapes; a new one is a new contract.
pub const API_VERSION: &str = "2026-04";

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)?) => {
        /// The name of an event. The whole vocabulary is known from the start, so that a filter never needs an upgrade.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
        #[repr(u8)]
        pub enum EventName { $($(#[$doc])* #[serde(rename = $text)] $name),+ }

        impl EventName {
            /// Every name, in the order of the contract.
            pub const ALL: &'static [EventName] = &[$(EventName::$name),+];

            /// The name as it stands on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(EventName::$name => $text),+ }
            }
        }
    };
}

events! {
    /// A new pairing code to scan.
    QrUpdated = "qr.updated",
    /// The session is usable.
    InstanceConnected = "instance.connected",
    /// The session is lost, for a while or for good.
    InstanceDisconnected = "instance.disconnected",
    /// A message came in.
    MessageReceived = "message.received",
    /// WhatsApp's server took a message.
    MessageSent = "message.sent",
    /// A message reached the recipient.
    MessageDelivered = "message.delivered",
    /// A message was refused for good.
    MessageFailed = "message.failed",
    /// A message was read.
    MessageRead = "message.read",
    /// A voice or video message was played.
    MessagePlayed = "message.played",
    /// A reaction was set or removed.
    MessageReaction = "message.reaction",
    /// A message was edited.
    MessageEdited = "message.edited",
    /// A message was revoked.
    MessageRevoked = "message.revoked",
    /// A message came that cannot be decrypted (yet).
    MessageUndecryptable = "message.undecryptable",
    /// A vote in a poll.
    MessagePollVote = "message.poll_vote",
    /// Somebody is online, typing, recording. Live only.
    PresenceUpdated = "presence.updated",
    /// A chat was pinned, archived, muted, read.
    ChatUpdated = "chat.updated",
    /// A contact's name or picture changed.
    ContactUpdated = "contact.updated",
    /// A group's subject, picture or settings changed.
    GroupUpdated = "group.updated",
    /// Somebody joined or left a group, or became admin.
    GroupParticipants = "group.participants",
    /// A call rings.
    CallOffered = "call.offered",
    /// A call is over.
    CallEnded = "call.ended",
    /// The state of an instance changed in any way.
    InstanceStatus = "instance.status",
    /// The journal no longer reaches back to where a reader wanted to resume. Only ever on a stream, never stored.
    StreamGap = "stream.gap",
}

impl EventName {
    /// Reads a name; `None` for an unknown one.
    pub fn parse(text: &str) -> Option<EventName> {
        EventName::ALL.iter().copied().find(|name| name.as_str() == text)
    }

    /// Whether the event is kept in the journal; the rest is live only.
    pub const fn journaled(self) -> bool {
        !matches!(self, EventName::PresenceUpdated | EventName::StreamGap)
    }

    const fn bit(self) -> u64 {
        1 << self as u8
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which events a reader wants. Tested for every event, hence two words and no allocation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EventFilter {
    instance: Option<InstanceId>,
    names: u64,
}

impl EventFilter {
    /// Everything.
    pub const ALL: EventFilter = EventFilter {
        instance: None,
        names: u64::MAX,
    };

    /// Events of one instance, or of all.
    #[must_use]
    pub const fn of_instance(self, instance: Option<InstanceId>) -> Self {
        Self { instance, ..self }
    }

    /// Only these events; an empty list means all.
    #[must_use]
    pub fn of_names(self, names: &[EventName]) -> Self {
        if names.is_empty() {
            return self;
        }
        Self {
            names: names.iter().fold(0, |bits, name| bits | name.bit()),
            ..self
        }
    }

    /// The one instance wanted, if only one is.
    pub const fn instance(&self) -> Option<InstanceId> {
        self.instance
    }

    /// What both filters want; `None` when they name different instances and so share nothing.
    pub fn and(self, other: EventFilter) -> Option<EventFilter> {
        let instance = match (self.instance, other.instance) {
            (Some(one), Some(two)) if one != two => return None,
            (one, two) => one.or(two),
        };
        Some(EventFilter {
            instance,
            names: self.names & other.names,
        })
    }

    /// Whether an event of this instance and name is wanted.
    pub fn wants(&self, instance: InstanceId, name: EventName) -> bool {
        self.names & name.bit() != 0 && self.instance.is_none_or(|own| own == instance)
    }
}

/// Why an instance lost its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisconnectReason {
    /// The network or WhatsApp's server went away; retried.
    Network,
    /// The phone unlinked this device, or `logout` was called.
    Logout,
    /// WhatsApp no longer accepts the session's keys.
    SessionInvalidated,
    /// The same link was opened elsewhere.
    KickedOtherDevice,
    /// The account is banned, for a while or for good.
    Banned,
    /// WhatsApp refuses this client version.
    Outdated,
    /// Stopped on request.
    Stopped,
    /// The phone demands a passkey to link.
    PasskeyRequired,
}

/// Why a message failed for good.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// WhatsApp's code, such as `463`, or a word of ours.
    pub code: String,
    /// For a person: what it means and what to do.
    pub message: String,
}

/// The conversation an event belongs to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Chat {
    /// Its address; by phone number whenever that is known, so that a hidden number never splits a chat.
    pub jid: Address,
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: ChatType,
}

impl Chat {
    /// The chat at an address.
    pub fn at(jid: Address) -> Self {
        let kind = jid.chat_type();
        Self { jid, kind }
    }
}

/// A person, under every name that is known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Sender {
    /// The preferred address: by phone number when known.
    pub jid: Address,
    /// The phone number in digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The hidden-number id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lid: Option<Address>,
    /// The name the person chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Where an outbound message was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Through this API.
    Api,
    /// By the owner, on the phone or another linked device.
    Device,
}

/// The fields of each event, without the envelope.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum EventBody {
    /// `qr.updated`
    QrUpdated {
        /// The picture as a PNG data URL.
        qr: String,
        /// What the picture says.
        code: String,
        /// When WhatsApp stops accepting it.
        expires_at: Timestamp,
    },
    /// `instance.connected`
    InstanceConnected {
        /// In digits.
        phone_number: String,
        /// The account's own name.
        #[serde(skip_serializing_if = "Option::is_none")]
        push_name: Option<String>,
        /// The account's address.
        jid: Address,
        /// The account's hidden-number id.
        #[serde(skip_serializing_if = "Option::is_none")]
        lid: Option<Address>,
    },
    /// `instance.disconnected`
    InstanceDisconnected {
        /// Why.
        reason: DisconnectReason,
        /// Whether it comes back by itself.
        will_retry: bool,
        /// When it tries next.
        #[serde(skip_serializing_if = "Option::is_none")]
        next_attempt_at: Option<Timestamp>,
    },
    /// `instance.status`
    InstanceStatus {
        /// The state now.
        status: Status,
        /// Why, and what happens next.
        #[serde(skip_serializing_if = "Option::is_none")]
        status_reason: Option<StatusReason>,
    },
    /// `message.received`
    MessageReceived {
        /// WhatsApp's id.
        message_id: MessageId,
        /// The sender's phone number in digits when known, else the JID.
        from: String,
        /// The conversation.
        chat: Chat,
        /// Who wrote it.
        sender: Sender,
        /// The name the sender chose.
        #[serde(skip_serializing_if = "Option::is_none")]
        push_name: Option<String>,
        /// Whether the chat is a group.
        is_group: bool,
        /// What it says.
        body: Body,
        /// When the gateway got it.
        received_at: Timestamp,
        /// When WhatsApp says it was sent.
        timestamp: Timestamp,
        /// The message it answers.
        #[serde(skip_serializing_if = "Option::is_none")]
        reply_to: Option<MessageId>,
        /// Who is mentioned.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        mentions: Vec<Address>,
    },
    /// `message.sent`
    MessageSent {
        /// WhatsApp's id.
        message_id: MessageId,
        /// Sent to: phone number in digits when known, else the JID.
        to: String,
        /// The conversation.
        chat: Chat,
        /// The caller's own reference.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_ref: Option<String>,
        /// When WhatsApp took it.
        timestamp: Timestamp,
        /// Where it was written.
        origin: Origin,
        /// What it says, when it was not written through this API.
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<Body>,
    },
    /// `message.delivered`
    MessageDelivered {
        /// WhatsApp's id.
        message_id: MessageId,
        /// Sent to: phone number in digits when known, else the JID.
        to: String,
        /// Which member of a group it reached.
        #[serde(skip_serializing_if = "Option::is_none")]
        participant: Option<Address>,
        /// When it arrived.
        timestamp: Timestamp,
    },
    /// `message.read`
    MessageRead {
        /// WhatsApp's id.
        message_id: MessageId,
        /// Sent to: phone number in digits when known, else the JID.
        to: String,
        /// Which member of a group read it.
        #[serde(skip_serializing_if = "Option::is_none")]
        participant: Option<Address>,
        /// When it was read.
        timestamp: Timestamp,
    },
    /// `message.played`
    MessagePlayed {
        /// WhatsApp's id.
        message_id: MessageId,
        /// Sent to: phone number in digits when known, else the JID.
        to: String,
        /// Which member of a group played it.
        #[serde(skip_serializing_if = "Option::is_none")]
        participant: Option<Address>,
        /// When it was played.
        timestamp: Timestamp,
    },
    /// `message.failed`
    MessageFailed {
        /// WhatsApp's id.
        message_id: MessageId,
        /// Sent to: phone number in digits when known, else the JID.
        to: String,
        /// The caller's own reference.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_ref: Option<String>,
        /// Why.
        error: Failure,
    },
    /// `message.reaction`
    MessageReaction {
        /// The message reacted to.
        message_id: MessageId,
        /// The emoji; empty when an earlier reaction is taken away.
        emoji: String,
        /// Who reacted: phone number in digits when known, else the JID; the account's own number when its owner did.
        from: String,
        /// The conversation.
        chat: Chat,
        /// Who reacted.
        sender: Sender,
        /// When WhatsApp says it was sent.
        timestamp: Timestamp,
    },
    /// `message.edited`
    MessageEdited {
        /// The message that changed; it keeps its id.
        message_id: MessageId,
        /// Who changed it: phone number in digits when known, else the JID. Honest apps let only the author do so.
        from: String,
        /// The conversation.
        chat: Chat,
        /// Who changed it.
        sender: Sender,
        /// What it says now.
        body: Body,
        /// When WhatsApp says it was changed.
        timestamp: Timestamp,
        /// Who is mentioned now.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        mentions: Vec<Address>,
    },
    /// `message.revoked`
    MessageRevoked {
        /// The message taken back.
        message_id: MessageId,
        /// Who took it back: phone number in digits when known, else the JID; its author or, in a group, an admin.
        from: String,
        /// The conversation.
        chat: Chat,
        /// Who took it back.
        sender: Sender,
        /// When WhatsApp says it was taken back.
        timestamp: Timestamp,
    },
    /// `message.undecryptable`
    MessageUndecryptable {
        /// WhatsApp's id.
        message_id: MessageId,
        /// The sender's phone number in digits when known, else the JID.
        from: String,
        /// The conversation.
        chat: Chat,
        /// Who wrote it.
        sender: Sender,
        /// When WhatsApp says it was sent.
        timestamp: Timestamp,
    },
    /// `chat.updated`
    ChatUpdated {
        /// The conversation.
        chat: Chat,
        /// What is set now; what did not change is left out.
        #[serde(flatten)]
        settings: ChatSettings,
        /// When the owner changed it.
        timestamp: Timestamp,
    },
    /// `contact.updated`
    ContactUpdated {
        /// Who; `name` is the one in the phone's address book.
        contact: Sender,
        /// The name the person chose, when that changed.
        #[serde(skip_serializing_if = "Option::is_none")]
        push_name: Option<String>,
        /// When it changed.
        timestamp: Timestamp,
    },
    /// `call.offered`
    CallOffered {
        /// WhatsApp's id of the call.
        call_id: String,
        /// Who calls: phone number in digits when known, else the JID.
        from: String,
        /// Who calls.
        sender: Sender,
        /// Whether it is a video call.
        video: bool,
        /// Whether a group is called.
        group: bool,
        /// When WhatsApp says it began.
        timestamp: Timestamp,
    },
    /// `call.ended`
    CallEnded {
        /// WhatsApp's id of the call.
        call_id: String,
        /// Who called: phone number in digits when known, else the JID.
        from: String,
        /// Who called.
        sender: Sender,
        /// How it ended.
        reason: CallEnd,
        /// When it ended.
        timestamp: Timestamp,
    },
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallEnd {
    /// One of the two hung up.
    HungUp,
    /// Nobody took it.
    Timeout,
    /// This gateway rejected it, because the instance's `reject_calls` is set.
    Rejected,
    /// It was taken on the phone or another device.
    AcceptedElsewhere,
    /// It was rejected on the phone or another device.
    RejectedElsewhere,
    /// It rang while this instance was not connected; `call.offered` was never told.
    Missed,
}

/// What an owner sets for a conversation on the phone or another device.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct ChatSettings {
    /// Whether it stands on top.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    /// Whether it is put away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
    /// Whether it is silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted: Option<bool>,
    /// Until when it is silent; absent when for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
    /// Whether it is marked as unread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<bool>,
}

impl EventBody {
    /// The name under which these fields travel.
    pub const fn name(&self) -> EventName {
        match self {
            EventBody::QrUpdated { .. } => EventName::QrUpdated,
            EventBody::InstanceConnected { .. } => EventName::InstanceConnected,
            EventBody::InstanceDisconnected { .. } => EventName::InstanceDisconnected,
            EventBody::InstanceStatus { .. } => EventName::InstanceStatus,
            EventBody::MessageReceived { .. } => EventName::MessageReceived,
            EventBody::MessageSent { .. } => EventName::MessageSent,
            EventBody::MessageDelivered { .. } => EventName::MessageDelivered,
            EventBody::MessageRead { .. } => EventName::MessageRead,
            EventBody::MessagePlayed { .. } => EventName::MessagePlayed,
            EventBody::MessageFailed { .. } => EventName::MessageFailed,
            EventBody::MessageReaction { .. } => EventName::MessageReaction,
            EventBody::MessageEdited { .. } => EventName::MessageEdited,
            EventBody::MessageRevoked { .. } => EventName::MessageRevoked,
            EventBody::MessageUndecryptable { .. } => EventName::MessageUndecryptable,
            EventBody::ChatUpdated { .. } => EventName::ChatUpdated,
            EventBody::ContactUpdated { .. } => EventName::ContactUpdated,
            EventBody::CallOffered { .. } => EventName::CallOffered,
            EventBody::CallEnded { .. } => EventName::CallEnded,
        }
    }

    /// When the event stops being worth replaying; `None` is never.
    pub const fn expires_at(&self) -> Option<Timestamp> {
        match self {
            EventBody::QrUpdated { expires_at, .. } => Some(*expires_at),
            _ => None,
        }
    }
}

/// An event before it is committed: it has no id yet.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Where it happened.
    pub instance_id: InstanceId,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// What happened.
    pub body: EventBody,
}

/// The envelope on the wire, in the order readers see it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Event")]
pub struct Wire<'a> {
    event: EventName,
    instance_id: InstanceId,
    event_id: EventId,
    api_version: &'static str,
    occurred_at: Timestamp,
    #[serde(flatten)]
    body: &'a EventBody,
}

impl Event {
    /// Encodes the event under its id; called once, by the writer.
    pub fn encode(&self, id: EventId) -> Result<Frame, serde_json::Error> {
        let json = serde_json::to_vec(&Wire {
            event: self.body.name(),
            instance_id: self.instance_id,
            event_id: id,
            api_version: API_VERSION,
            occurred_at: self.occurred_at,
            body: &self.body,
        })?;
        Ok(Frame::new(
            Some(id),
            self.instance_id,
            self.body.name(),
            self.body.expires_at(),
            &json,
        ))
    }
}

/// A committed event as shared bytes: the complete SSE frame, of which the JSON is a slice.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its id; `None` for what is live only.
    pub id: Option<EventId>,
    /// Where it happened.
    pub instance: InstanceId,
    /// What it is called.
    pub name: EventName,
    /// When it stops being worth replaying.
    pub expires_at: Option<Timestamp>,
    sse: Bytes,
    json: Bytes,
}

impl Frame {
    /// Wraps encoded JSON, which must be one line, as `serde_json` writes it.
    pub fn new(
        id: Option<EventId>,
        instance: InstanceId,
        name: EventName,
        expires_at: Option<Timestamp>,
        json: &[u8],
    ) -> Self {
        let mut sse = BytesMut::with_capacity(json.len() + 48);
        if let Some(id) = id {
            sse.put_slice(format!("id: {id}\n").as_bytes());
        }
        sse.put_slice(b"data: ");
        let start = sse.len();
        sse.put_slice(json);
        let end = sse.len();
        sse.put_slice(b"\n\n");
        let sse = sse.freeze();
        Self {
            id,
            instance,
            name,
            expires_at,
            json: sse.slice(start..end),
            sse,
        }
    }

    /// The frame as it goes out on a stream.
    pub fn sse(&self) -> Bytes {
        self.sse.clone()
    }

    /// The event as JSON, the bytes that every channel carries.
    pub fn json(&self) -> Bytes {
        self.json.clone()
    }

    /// How many bytes the frame keeps alive.
    pub fn len(&self) -> usize {
        self.sse.len()
    }

    /// A frame always has bytes.
    pub fn is_empty(&self) -> bool {
        self.sse.is_empty()
    }
}

/// Frames travel shared.
pub type SharedFrame = Arc<Frame>;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Event {
        Event {
            instance_id: InstanceId::from_u128(7),
            occurred_at: Timestamp::from_millis(1_767_225_600_000),
            body: EventBody::InstanceDisconnected {
                reason: DisconnectReason::KickedOtherDevice,
                will_retry: false,
                next_attempt_at: None,
            },
        }
    }

    #[test]
    fn an_event_is_flat_and_its_frame_is_one_data_line() {
        let id = EventId::from_u128(9);
        let frame = sample().encode(id).unwrap();
        let text = String::from_utf8(frame.sse().to_vec()).unwrap();
        let json = String::from_utf8(frame.json().to_vec()).unwrap();
        assert_eq!(text, format!("id: {id}\ndata: {json}\n\n"));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["event"], "instance.disconnected");
        assert_eq!(value["reason"], "kicked_other_device");
        assert_eq!(value["event_id"], id.to_string());
        assert!(json.starts_with(r#"{"event":"instance.disconnected","instance_id":"inst_"#));
    }

    #[test]
    fn a_text_with_line_breaks_stays_one_data_line() {
        let event = Event {
            body: EventBody::MessageFailed {
                message_id: MessageId::from_wire("X"),
                to: "5511".into(),
                client_ref: Some("a\nb\r\nc\u{2028}d".into()),
                error: Failure {
                    code: "463".into(),
                    message: "x".into(),
                },
            },
            ..sample()
        };
        let frame = event.encode(EventId::from_u128(1)).unwrap();
        assert_eq!(
            String::from_utf8(frame.sse().to_vec()).unwrap().matches('\n').count(),
            3
        );
        assert!(!frame.sse().contains(&b'\r'));
    }

    #[test]
    fn filters_combine_and_refuse_what_neither_wants() {
        let (one, two) = (InstanceId::from_u128(1), InstanceId::from_u128(2));
        let names = EventFilter::ALL.of_names(&[EventName::MessageSent, EventName::QrUpdated]);
        let both = names.and(EventFilter::ALL.of_instance(Some(one))).unwrap();
        assert!(both.wants(one, EventName::QrUpdated));
        assert!(!both.wants(two, EventName::QrUpdated));
        assert!(!both.wants(one, EventName::MessageRead));
        assert_eq!(both.and(EventFilter::ALL.of_instance(Some(two))), None);
    }
}
