//! An instance, one WhatsApp session, and the state machine of its life.
//!
//! `pending` → `qr` → `connecting` → `connected`; `disconnected` comes back by itself; `failed` needs a person.
//! [`transition`] is the whole machine, a pure function; whoever changes a status goes through it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Timestamp;
use super::address::Address;
use super::event::DisconnectReason;
use super::id::InstanceId;
use super::webhook::DEFAULT_BACKOFF;

/// Where an instance stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// No session yet; ask for a QR.
    Pending,
    /// A QR is waiting to be scanned.
    Qr,
    /// The link exists, the connection is being made.
    Connecting,
    /// Usable.
    Connected,
    /// Down; comes back by itself unless it was stopped on request.
    Disconnected,
    /// Needs a person: logged out, replaced, banned, outdated, passkey.
    Failed,
}

impl Status {
    /// The status as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Qr => "qr",
            Status::Connecting => "connecting",
            Status::Connected => "connected",
            Status::Disconnected => "disconnected",
            Status::Failed => "failed",
        }
    }
}

/// Why an instance is where it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StatusReason {
    /// For a program: `network`, `dns`, `refused`, `tls`, `timeout`, `certificate`, `qr_expired`, `logout`,
    /// `kicked_other_device`, `banned`, `outdated`, `stopped`, `crashed`, …
    pub code: String,
    /// For a person: what happened and what to do.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// When the next attempt is made, if one will be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
}

/// An instance as stored.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Instance {
    /// Its public name.
    pub id: InstanceId,
    /// The short number under which the store keeps the session's keys. Never reused, never public.
    pub session: u32,
    /// For people.
    pub name: String,
    /// The linked account's number in digits.
    pub phone_number: Option<String>,
    /// The linked account's address.
    pub jid: Option<Address>,
    /// The linked account's hidden-number id.
    pub lid: Option<Address>,
    /// Where it stands.
    pub status: Status,
    /// Why.
    pub status_reason: Option<StatusReason>,
    /// Since when it has this status, whatever else changed; unknown in rows of older versions.
    #[serde(default)]
    pub status_since: Option<Timestamp>,
    /// When the session was last known to be alive.
    pub last_seen_at: Option<Timestamp>,
    /// The caller's own data, at most 16 KiB.
    pub metadata: Map<String, Value>,
    /// What the owner has chosen for it.
    #[serde(default)]
    pub settings: Settings,
    /// Whether the owner wants it running; a start of the process resumes only these.
    pub wanted: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was deleted; the row stays so that the log remains readable.
    pub deleted_at: Option<Timestamp>,
}

/// What the owner has chosen for one instance; what is not chosen follows the product's defaults.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Waits in seconds before the second and later attempts to deliver this instance's events to a webhook.
    pub callback_backoff: Option<Vec<u32>>,
    /// What becomes of messages while there is a link and no connection.
    pub send_while_disconnected: Option<WhileDisconnected>,
    /// Whether the account appears online while the instance is connected.
    pub mark_online: Option<bool>,
    /// Whether calls of single persons are rejected.
    pub reject_calls: Option<bool>,
}

/// What becomes of a message that is to be sent while the instance is linked and not connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhileDisconnected {
    /// It is refused with `not_connected`.
    #[default]
    Reject,
    /// It is accepted and sent once the connection is back, at most a day later.
    Queue,
}

impl WhileDisconnected {
    /// Reads it as it stands on the wire; `None` for another word.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "reject" => Some(Self::Reject),
            "queue" => Some(Self::Queue),
            _ => None,
        }
    }
}

impl Settings {
    /// Whether the account appears online while the instance is connected; as WhatsApp Web does, unless chosen otherwise.
    pub fn marks_online(&self) -> bool {
        self.mark_online.unwrap_or(true)
    }

    /// The waits that apply.
    pub fn backoff(&self) -> &[u32] {
        self.callback_backoff.as_deref().unwrap_or(DEFAULT_BACKOFF)
    }
}

impl Instance {
    /// Whether a message may be accepted now: one that is sent at once, or one that waits for a connection that comes
    /// back by itself or on request. Without a link there is nothing to wait for, and what has failed needs a person.
    pub fn takes_messages(&self) -> bool {
        match self.status {
            Status::Connected => true,
            Status::Connecting | Status::Disconnected => {
                self.is_linked() && self.settings.send_while_disconnected == Some(WhileDisconnected::Queue)
            }
            Status::Pending | Status::Qr | Status::Failed => false,
        }
    }

    /// Whether a phone has linked this instance and not unlinked it since.
    pub const fn is_linked(&self) -> bool {
        self.jid.is_some()
    }
}

/// What moves an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A session is being started.
    Start,
    /// WhatsApp offers a pairing code.
    QrOffered,
    /// All codes ran out and nobody scanned.
    QrExhausted,
    /// A phone linked this device.
    Paired,
    /// The session is usable.
    Opened,
    /// The connection is lost or could not be made; it will be tried again.
    Lost,
    /// WhatsApp refuses the session for good.
    Refused(DisconnectReason),
    /// Stopped on request; the link stays.
    Stopped,
    /// The link was removed on request.
    Unlinked,
    /// The instance's task crashed; it will be started again.
    Crashed,
}

/// A move that the state machine does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an instance that is {} cannot do this", .from.as_str())]
pub struct IllegalMove {
    /// Where it stands.
    pub from: Status,
    /// What was tried.
    pub change: Change,
}

/// The state machine: where `change` leads from `from`, for an instance that is linked or not.
pub fn transition(from: Status, change: Change, linked: bool) -> Result<Status, IllegalMove> {
    use Change::{Crashed, Lost, Opened, Paired, QrExhausted, QrOffered, Refused, Start, Stopped, Unlinked};
    use Status::{Connected, Connecting, Disconnected, Failed, Pending, Qr};
    let to = match (change, from) {
        // What runs is not started again, and a linked or running session is never offered a code.
        (Start | QrOffered, Connected) => return Err(IllegalMove { from, change }),
        (QrOffered, _) if linked => return Err(IllegalMove { from, change }),
        // A session without a link stays pending until WhatsApp offers a code; one with a link connects.
        (Start, _) if linked => Connecting,
        (Start | QrOffered, Qr) | (QrOffered, _) => Qr,
        (Paired, Pending | Qr | Connecting | Disconnected | Failed) => Connecting,
        (Opened, Pending | Qr | Connecting | Disconnected | Failed | Connected) if linked => Connected,
        // Nobody's session is lost while there is no link: it is still pending, with the reason beside it.
        (Lost | Crashed, _) if !linked => Pending,
        (Lost | Crashed, Pending | Connecting | Connected | Disconnected | Qr) => Disconnected,
        (Refused(_), _) | (Stopped, Failed) => Failed,
        (Stopped, _) if linked => Disconnected,
        (Start | Stopped | Unlinked, _) | (QrExhausted, Pending | Qr) => Pending,
        (QrExhausted | Paired | Opened | Lost | Crashed, _) => return Err(IllegalMove { from, change }),
    };
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Connected, Connecting, Disconnected, Failed, Pending, Qr};

    #[test]
    fn a_new_instance_is_paired_and_connects() {
        let mut status = Pending;
        for (change, linked, expected) in [
            (Change::Start, false, Pending),
            (Change::QrOffered, false, Qr),
            (Change::QrOffered, false, Qr),
            (Change::Paired, true, Connecting),
            (Change::Opened, true, Connected),
            (Change::Lost, true, Disconnected),
            (Change::Start, true, Connecting),
            (Change::Opened, true, Connected),
            (Change::Refused(DisconnectReason::Logout), false, Failed),
            (Change::Start, false, Pending),
        ] {
            status = transition(status, change, linked).unwrap();
            assert_eq!(status, expected, "{change:?}");
        }
    }

    #[test]
    fn what_is_terminal_is_not_left_by_a_mere_network_event() {
        assert!(transition(Failed, Change::Lost, true).is_err());
        assert!(transition(Failed, Change::Opened, false).is_err());
        assert_eq!(transition(Failed, Change::Stopped, true), Ok(Failed));
    }

    #[test]
    fn a_linked_or_connected_session_is_never_offered_a_code() {
        assert!(transition(Connected, Change::QrOffered, false).is_err());
        assert!(transition(Connecting, Change::QrOffered, true).is_err());
    }
}
