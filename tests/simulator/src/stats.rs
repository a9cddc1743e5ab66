//! What `GET /admin/stats` counts.

use std::collections::BTreeMap;

use serde::Serialize;

/// Counters since the start.
#[derive(Debug, Default, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stats {
    /// TCP connections that became `WebSocket`s.
    pub(crate) sockets_opened: u64,
    /// Sockets open now, whether they pair, are logged in or neither yet.
    pub(crate) sockets_open: u64,
    /// Finished handshakes by pattern.
    pub(crate) handshakes: Handshakes,
    /// Successful logins.
    pub(crate) logins: u64,
    /// Refused logins by reason.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Companions linked.
    pub(crate) links: u64,
    /// Links refused because the companion's answer was wrong.
    pub(crate) links_refused: u64,
    /// Stanzas from clients by tag, iqs with their namespace.
    pub(crate) received: BTreeMap<String, u64>,
    /// Stanzas to clients by tag.
    pub(crate) sent: BTreeMap<String, u64>,
    /// Messages that a phone decrypted and put into its inbox.
    pub(crate) messages_shown: u64,
    /// Messages that a phone had shown before.
    pub(crate) duplicates: u64,
    /// Messages that a phone could not decrypt.
    pub(crate) undecryptable: u64,
    /// Messages sent by phones.
    pub(crate) messages_sent_by_phones: u64,
    /// Requests to repeat a message that phones answered.
    pub(crate) retries_answered: u64,
    /// Requests to repeat a message that phones made.
    pub(crate) retries_requested: u64,
    /// Receipts that phones got, by type (`delivered` when the stanza has none).
    pub(crate) receipts_to_phones: BTreeMap<String, u64>,
    /// Iqs nobody here understands, by namespace and child.
    pub(crate) unknown_iqs: BTreeMap<String, u64>,
    /// What companions asked their phones for, by kind.
    pub(crate) peer_requests: BTreeMap<String, u64>,
    /// What happened to app state, by kind.
    pub(crate) app_state: BTreeMap<String, u64>,
    /// What the media servers did.
    pub(crate) media: Media,
    /// Faults that happened, by kind.
    pub(crate) faults: BTreeMap<String, u64>,
}

/// What the media servers did.
#[derive(Debug, Default, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Media {
    /// Whole media taken in from clients.
    pub(crate) uploads: u64,
    /// Answers with bytes, ranges included.
    pub(crate) downloads: u64,
    /// Refusals by status.
    pub(crate) refused: BTreeMap<String, u64>,
}

/// Handshake patterns.
#[derive(Debug, Default, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Handshakes {
    /// Both keys sent.
    pub(crate) xx: u64,
    /// The client remembered the server's key.
    pub(crate) ik: u64,
    /// The client remembered a wrong key.
    pub(crate) xx_fallback: u64,
    /// Given up.
    pub(crate) failed: u64,
}

/// Adds one to a named counter.
pub(crate) fn count(counters: &mut BTreeMap<String, u64>, name: &str) {
    match counters.get_mut(name) {
        Some(counter) => *counter += 1,
        None => {
            counters.insert(name.to_owned(), 1);
        }
    }
}
