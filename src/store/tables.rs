//! Every table on one page: what its key is made of, what its rows hold, and who expires them.
//!
//! Keys are bytes made by [`Key`](super::encoding::Key): fixed-width numbers are big-endian, so that their order is the
//! order of the bytes; text that is not last is preceded by its length, so that no text can run into its neighbour.
//! Rows are JSON unless the table says otherwise. Whatever expires has a second table whose key begins with the time,
//! so that expiry reads a range instead of everything.

use redb::{TableDefinition, TableHandle as _};

/// A table; all have the same type, because what a key means is said by this page and not by the database.
pub(super) type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// The name of a table, for errors.
pub(super) fn name(table: Table) -> &'static str {
    ALL.iter()
        .map(|(name, _)| *name)
        .find(|name| *name == table.name())
        .unwrap_or("?")
}

macro_rules! tables {
    ($($(#[$doc:meta])* $constant:ident = $name:literal),+ $(,)?) => {
        $($(#[$doc])* pub(super) const $constant: Table = TableDefinition::new($name);)+

        /// Every table; opening a new file creates them all, so that a reader never meets a missing one.
        pub(super) const ALL: &[(&str, Table)] = &[$(($name, $constant)),+];
    };
}

tables! {
    /// Text → JSON: `schema`, `customer`, `head` (see [`Head`](super::journal::Head)), `password` (the dashboard's).
    META = "meta",

    /// Key id → the key and the HMAC of its secret.
    API_KEYS = "api_keys",
    /// HMAC of a secret → key id (16 bytes). Revoked keys are not here.
    API_KEYS_BY_HASH = "api_keys_by_hash",

    /// Login id → the sign-in to the dashboard and the HMAC of its cookie. Swept by `expires_at`.
    LOGINS = "logins",
    /// HMAC of a cookie → login id (16 bytes).
    LOGINS_BY_HASH = "logins_by_hash",
    /// Audit id → who changed what. Swept by age and number.
    AUDIT = "audit",

    /// Instance id → the instance, deleted or not.
    INSTANCES = "instances",

    /// Event id → header and JSON, in bytes; see `journal.rs`. Swept by age and size.
    JOURNAL = "journal",

    /// Instance id, message id → the outbound message. Settled ones are swept by age.
    OUTBOUND = "outbound",
    /// Instance id, sequence → message id. Only what is not settled.
    OUTBOUND_QUEUE = "outbound_queue",
    /// Created at, instance id, message id → nothing.
    OUTBOUND_BY_TIME = "outbound_by_time",

    /// Instance id, idempotency key → the remembered answer. Kept 24 hours.
    ANSWERS = "answers",
    /// Created at, instance id, idempotency key → nothing.
    ANSWERS_BY_TIME = "answers_by_time",

    /// Instance id, digest of (chat, sender, id) → stored at. Kept 30 days.
    INBOUND = "inbound",
    /// Stored at, instance id, digest → nothing.
    INBOUND_BY_TIME = "inbound_by_time",

    /// Endpoint id → the webhook endpoint, deleted or not.
    WEBHOOK_ENDPOINTS = "webhook_endpoints",
    /// Endpoint id → how its deliveries have gone.
    WEBHOOK_HEALTH = "webhook_health",
    /// Delivery id → the delivery, without its payload. Swept by `expires_at`.
    DELIVERIES = "deliveries",
    /// Endpoint id, sequence → delivery id (16 bytes), order (8). Only what was never attempted.
    DELIVERIES_NEW = "deliveries_new",
    /// Endpoint id, due at, sequence → delivery id. Only what failed and is tried again.
    DELIVERIES_RETRIED = "deliveries_retried",
    /// Endpoint id, delivery id → nothing.
    DELIVERIES_BY_ENDPOINT = "deliveries_by_endpoint",
    /// Event id, delivery id → nothing; the last one takes the payload with it.
    DELIVERIES_BY_EVENT = "deliveries_by_event",
    /// Expires at, delivery id → nothing.
    DELIVERIES_BY_EXPIRY = "deliveries_by_expiry",
    /// Event id → the event as JSON, for as long as a delivery of it is kept.
    PAYLOADS = "payloads",

    /// Session → the linked device.
    DEVICES = "session_devices",
    /// Session, address → the peer's identity key, 32 bytes.
    IDENTITIES = "session_identities",
    /// Session, address → the Signal session, in bytes.
    SESSIONS = "session_sessions",
    /// Session, id → whether it was uploaded (1 byte), then the prekey.
    PREKEYS = "session_prekeys",
    /// Session, id → the signed prekey, in bytes.
    SIGNED_PREKEYS = "session_signed_prekeys",
    /// Session, address → the group sender key, in bytes.
    SENDER_KEYS = "session_sender_keys",

    /// Session, key id → an app-state key.
    SYNC_KEYS = "session_sync_keys",
    /// Session → the id of the app-state key that came last.
    SYNC_KEY_LATEST = "session_sync_key_latest",
    /// Session, collection → its version and hash.
    SYNC_VERSIONS = "session_sync_versions",
    /// Session, collection, index MAC → value MAC.
    SYNC_MACS = "session_sync_macs",

    /// Session, group, device → whether the device has our sender key, 1 byte.
    SENDER_KEY_DEVICES = "session_sender_key_devices",
    /// Session, device, group → nothing.
    SENDER_KEY_GROUPS = "session_sender_key_groups",
    /// Session, hidden-number id → its phone number.
    LIDS = "session_lids",
    /// Session, phone number → the hidden-number id learnt last.
    LIDS_BY_PHONE = "session_lids_by_phone",
    /// Session, address, message id → base key, in bytes.
    BASE_KEYS = "session_base_keys",
    /// Session, user → the devices of that user.
    DEVICE_LISTS = "session_device_lists",
    /// Session, group → what the client knows of the group, in its own bytes.
    GROUPS = "session_groups",
    /// Session, address → the trusted-contact token.
    TC_TOKENS = "session_tc_tokens",
    /// Session, chat, message id → stored at (8 bytes), then the message.
    SENT = "session_sent",
    /// Session, stored at, chat, message id → nothing.
    SENT_BY_TIME = "session_sent_by_time",
    /// Session, message id, device that asks → a request to send a message again that is not answered yet.
    RESENDS = "session_resends",
    /// Session, chat, sender, message id → stored at (8 bytes), then the message.
    PENDING = "session_pending",
    /// Session, stored at, chat, sender, message id → nothing.
    PENDING_BY_TIME = "session_pending_by_time",
    /// Session, chat, sender, message id → expires at (8), time of the message (8), secret (32).
    SECRETS = "session_secrets",
    /// Session, expires at, chat, sender, message id → nothing. Only what expires.
    SECRETS_BY_TIME = "session_secrets_by_time",
}

/// What belongs to a session and goes when its link is removed.
pub(super) const OF_SESSION: &[Table] = &[
    DEVICES,
    IDENTITIES,
    SESSIONS,
    PREKEYS,
    SIGNED_PREKEYS,
    SENDER_KEYS,
    SYNC_KEYS,
    SYNC_KEY_LATEST,
    SYNC_VERSIONS,
    SYNC_MACS,
    SENDER_KEY_DEVICES,
    SENDER_KEY_GROUPS,
    LIDS,
    LIDS_BY_PHONE,
    BASE_KEYS,
    DEVICE_LISTS,
    GROUPS,
    TC_TOKENS,
    SENT,
    SENT_BY_TIME,
    RESENDS,
    PENDING,
    PENDING_BY_TIME,
    SECRETS,
    SECRETS_BY_TIME,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_session_table_is_cleared_with_its_session() {
        let cleared: Vec<_> = OF_SESSION.iter().map(|table| name(*table)).collect();
        for (name, _) in ALL.iter().filter(|(name, _)| name.starts_with("session_")) {
            assert!(cleared.contains(name), "{name}");
        }
    }
}
