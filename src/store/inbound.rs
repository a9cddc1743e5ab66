//! Which inbound messages were already stored, so that what WhatsApp delivers twice is told once.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::encoding::Key;
use super::error::WriteError;
use super::rows::{Rows, Tx};
use super::tables::{INBOUND, INBOUND_BY_TIME};
use crate::domain::Timestamp;
use crate::domain::id::InstanceId;
use crate::domain::message::MessageId;

/// How long an inbound message is known; WhatsApp keeps undelivered messages about as long.
pub const INBOUND_KNOWN_FOR: Duration = Duration::from_hours(24 * 30);

/// Which inbound message: phone number and LID of one person are merged before this is made.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct InboundKey {
    /// The conversation's canonical address.
    pub chat: String,
    /// The sender's canonical address.
    pub sender: String,
    /// WhatsApp's id.
    pub message_id: MessageId,
}

impl Tx<'_> {
    /// Whether this inbound message was already stored; if not, notes it as stored `at`.
    pub fn note_inbound(&mut self, instance: InstanceId, key: &InboundKey, at: Timestamp) -> Result<bool, WriteError> {
        let row = row_key(instance, key);
        if self.has(INBOUND, row.as_slice())? {
            return Ok(true);
        }
        let by_time = Key::of_time(at).last(row.as_slice());
        self.put(INBOUND, row.as_slice(), &at.millis().to_be_bytes())?;
        self.put(INBOUND_BY_TIME, by_time.as_slice(), &[])?;
        Ok(false)
    }
}

/// Digested, because a month of messages is many rows, and because a table of who wrote to whom serves nobody. Half of
/// SHA-256 is beyond accident, and who forges a collision of message ids suppresses nothing but messages of their own.
fn row_key(instance: InstanceId, key: &InboundKey) -> Key {
    let mut digest = Sha256::new();
    for part in [&key.chat, &key.sender] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.update(key.message_id.as_str());
    let digest = digest.finalize();
    Key::of_id(instance.to_u128()).last(&digest[..16])
}
