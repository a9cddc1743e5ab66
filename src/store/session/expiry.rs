//! Rows that expire: each stands in two tables, under its own key and under its time.

use super::{Result, SessionStore};
use crate::store::encoding::{Key, Span};
use crate::store::error::WriteError;
use crate::store::rows::{Rows, Tx};
use crate::store::tables::Table;

/// How many rows one transaction removes, so that an expiry of many makes nobody wait for long.
const CHUNK: usize = 1000;

/// A table of rows that begin with a time, and its index by that time.
#[derive(Clone, Copy)]
pub(super) struct Timed {
    pub(super) rows: Table,
    pub(super) by_time: Table,
}

/// A key within a session: the session's number and what follows it.
#[derive(Clone)]
pub(super) struct TimedKey {
    session: u32,
    tail: Key,
}

impl TimedKey {
    /// The key `tail`, made without a session, in `session`.
    pub(super) fn new(session: u32, tail: Key) -> Self {
        Self { session, tail }
    }

    pub(super) fn row(&self) -> Key {
        Key::of_session(self.session).last(self.tail.as_slice())
    }

    fn at(&self, time: i64) -> Key {
        Key::of_session(self.session).i64(time).last(self.tail.as_slice())
    }
}

impl Timed {
    /// Stores `value` under `key`, dated `time`; `indexed` is false for what never expires.
    pub(super) fn put(
        self,
        tx: &mut Tx<'_>,
        key: &TimedKey,
        time: i64,
        indexed: bool,
        value: &[u8],
    ) -> std::result::Result<(), WriteError> {
        let row_key = key.row();
        let old = tx.get_with(self.rows, row_key.as_slice(), time_of)?.flatten();
        if let Some(old) = old.filter(|old| *old != time || !indexed) {
            tx.remove(self.by_time, key.at(old).as_slice())?;
        }
        if indexed {
            tx.put(self.by_time, key.at(time).as_slice(), &[])?;
        }
        let mut row = Vec::with_capacity(value.len() + 8);
        row.extend(time.to_be_bytes());
        row.extend(value);
        tx.put(self.rows, row_key.as_slice(), &row)
    }

    /// Removes the row under `key` and returns its value.
    pub(super) fn take(self, tx: &mut Tx<'_>, key: &TimedKey) -> std::result::Result<Option<Vec<u8>>, WriteError> {
        let row_key = key.row();
        let Some(row) = tx.get(self.rows, row_key.as_slice())? else {
            return Ok(None);
        };
        tx.remove(self.rows, row_key.as_slice())?;
        if let Some(time) = time_of(&row) {
            tx.remove(self.by_time, key.at(time).as_slice())?;
        }
        Ok(Some(value_of(&row).to_vec()))
    }
}

/// The time a row begins with.
pub(super) fn time_of(row: &[u8]) -> Option<i64> {
    row.first_chunk().map(|bytes| i64::from_be_bytes(*bytes))
}

/// What follows the time.
pub(super) fn value_of(row: &[u8]) -> &[u8] {
    row.get(8..).unwrap_or_default()
}

impl SessionStore {
    /// Removes every row of this session dated before `cutoff` and says how many there were.
    ///
    /// whatsapp-rust asks every few minutes for every session, so the question is answered by a read, and a write is
    /// made only when there is something to remove.
    pub(super) async fn expire(&self, timed: Timed, cutoff: i64) -> Result<u32> {
        let session = self.key();
        let span = Span::under(&session).before(&session.clone().i64(cutoff));
        let mut expired = 0;
        loop {
            let keys = self.read(|view| view.keys_in(timed.by_time, &span, CHUNK))?;
            let Some(last) = keys.last() else {
                return Ok(expired);
            };
            let done = keys.len() < CHUNK;
            let chunk = span.clone().up_to(last.clone());
            expired += self
                .lazily(move |tx| {
                    // Read again here: another writer may have dated a row anew since.
                    let keys = tx.keys_in(timed.by_time, &chunk, usize::MAX)?;
                    let rows = keys.iter().map(|key| [&key[..4], &key[12..]].concat());
                    let removed = tx.remove_all(timed.rows, rows)?;
                    tx.remove_span(timed.by_time, &chunk)?;
                    Ok(removed)
                })
                .await?;
            if done {
                return Ok(expired);
            }
        }
    }
}
