//! Answers remembered for 24 hours, so that a request sent twice is carried out once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::encoding::Key;
use super::error::WriteError;
use super::rows::{Rows, Tx};
use super::tables::{ANSWERS, ANSWERS_BY_TIME};
use crate::domain::Timestamp;
use crate::domain::id::InstanceId;
use crate::domain::message::MessageId;

/// How long an answer is remembered.
pub const REMEMBERED_FOR: Duration = Duration::from_hours(24);

/// An answer remembered for 24 hours, so that the same request is not carried out twice.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Remembered {
    /// SHA-256 of the request's meaning, in hex: another body under the same key is a conflict.
    pub request_hash: String,
    /// The message that the first request made.
    pub message_id: MessageId,
    /// When.
    pub created_at: Timestamp,
}

impl Tx<'_> {
    /// What was answered to the request with this scope and idempotency key within the last 24 hours.
    pub fn remembered(
        &self,
        instance: InstanceId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<Remembered>, WriteError> {
        let row: Option<Remembered> = self.get_json(ANSWERS, row_key(instance, key).as_slice())?;
        Ok(row.filter(|answer| now.since(answer.created_at) < REMEMBERED_FOR))
    }

    /// Remembers an answer.
    pub fn remember(&mut self, instance: InstanceId, key: &str, answer: &Remembered) -> Result<(), WriteError> {
        let row = row_key(instance, key);
        // An expired answer may still stand there; its entry by time would later sweep the new one.
        let old: Option<Remembered> = self.get_json(ANSWERS, row.as_slice())?;
        if let Some(old) = old {
            self.remove(ANSWERS_BY_TIME, by_time_key(old.created_at, &row).as_slice())?;
        }
        self.put(ANSWERS_BY_TIME, by_time_key(answer.created_at, &row).as_slice(), &[])?;
        self.put_json(ANSWERS, row.as_slice(), answer)
    }
}

fn row_key(instance: InstanceId, key: &str) -> Key {
    Key::of_id(instance.to_u128()).last(key)
}

fn by_time_key(at: Timestamp, row: &Key) -> Key {
    Key::of_time(at).last(row.as_slice())
}
