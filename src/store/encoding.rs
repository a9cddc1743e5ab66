//! How keys become bytes whose order is their order, and rows become JSON and back.

use std::ops::Bound;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{Cause, Fault, ReadError, WriteError};
use super::tables::Table;
use crate::domain::Timestamp;

/// A key under construction, part by part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Key(Vec<u8>);

impl Key {
    /// Begins with nothing.
    pub(super) const fn empty() -> Self {
        Self(Vec::new())
    }

    /// Begins with a session's number, as every session table does.
    pub(super) fn of_session(session: u32) -> Self {
        Self(session.to_be_bytes().to_vec())
    }

    /// Begins with an id.
    pub(super) fn of_id(id: u128) -> Self {
        Self(id.to_be_bytes().to_vec())
    }

    /// Begins with a time.
    pub(super) fn of_time(at: Timestamp) -> Self {
        Self(ordered(at.millis()).to_vec())
    }

    /// Adds an id.
    #[must_use]
    pub(super) fn id(mut self, id: u128) -> Self {
        self.0.extend(id.to_be_bytes());
        self
    }

    /// Adds a number.
    #[must_use]
    pub(super) fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    /// Adds a number.
    #[must_use]
    pub(super) fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    /// Adds a number that may be negative.
    #[must_use]
    pub(super) fn i64(mut self, number: i64) -> Self {
        self.0.extend(ordered(number));
        self
    }

    /// Adds text that more parts follow.
    #[must_use]
    pub(super) fn part(mut self, text: &str) -> Self {
        // A length beyond 32 bits cannot come: no value in the database may be that large.
        self.0
            .extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.0.extend(text.as_bytes());
        self
    }

    /// Adds the last part, as it is.
    #[must_use]
    pub(super) fn last(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend(bytes.as_ref());
        self
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

/// A signed number as bytes in numeric order.
const fn ordered(number: i64) -> [u8; 8] {
    (number.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// Takes parts off the front of stored bytes; `None` when they are too short.
pub(super) struct Parts<'a>(pub(super) &'a [u8]);

impl<'a> Parts<'a> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn id(&mut self) -> Option<u128> {
        self.take().map(u128::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.take()
            .map(|bytes| (u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed())
    }

    pub(super) fn part(&mut self) -> Option<&'a str> {
        let length = usize::try_from(u32::from_be_bytes(self.take()?)).ok()?;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(head).ok()
    }

    pub(super) fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }
}

/// A stretch of a table.
#[derive(Clone, Debug)]
pub(super) struct Span {
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
}

impl Span {
    /// The whole table.
    pub(super) const ALL: Span = Span {
        from: Bound::Unbounded,
        to: Bound::Unbounded,
    };

    /// Every key that begins with `prefix`.
    pub(super) fn under(prefix: &Key) -> Self {
        Self {
            from: Bound::Included(prefix.0.clone()),
            to: successor(&prefix.0).map_or(Bound::Unbounded, Bound::Excluded),
        }
    }

    /// Narrows to the keys behind `key`.
    #[must_use]
    pub(super) fn after(mut self, key: &Key) -> Self {
        self.from = Bound::Excluded(key.0.clone());
        self
    }

    /// Narrows to the keys before `key`.
    #[must_use]
    pub(super) fn before(mut self, key: &Key) -> Self {
        self.to = Bound::Excluded(key.0.clone());
        self
    }

    /// Narrows to the keys up to `key`, itself included.
    #[must_use]
    pub(super) fn up_to(mut self, key: Vec<u8>) -> Self {
        self.to = Bound::Included(key);
        self
    }

    /// Whether nothing can be in it; the database panics on a range whose ends are in the wrong order.
    pub(super) fn is_empty(&self) -> bool {
        match (&self.from, &self.to) {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
            _ => false,
        }
    }

    pub(super) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (
            self.from.as_ref().map(Vec::as_slice),
            self.to.as_ref().map(Vec::as_slice),
        )
    }
}

/// The first key behind all that begin with `prefix`; `None` when there is none.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut next = prefix[..=kept].to_vec();
    next[kept] += 1;
    Some(next)
}

/// A row as JSON.
pub(super) fn encode(row: &impl Serialize) -> Result<Vec<u8>, WriteError> {
    serde_json::to_vec(row).map_err(|error| Fault::because(error).into())
}

/// A row back from JSON.
pub(super) fn decode<T: DeserializeOwned>(table: Table, bytes: &[u8]) -> Result<T, ReadError> {
    serde_json::from_slice(bytes).map_err(|error| ReadError::corrupt(table, redacted(&error)))
}

/// What is wrong with a row, without quoting it: rows hold texts and keys, and errors are logged.
fn redacted(error: &serde_json::Error) -> Cause {
    format!("{:?} error at byte {}", error.classify(), error.column()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_as_bytes_like_they_sort_as_numbers() {
        let mut numbers = [5, i64::MIN, -1, 0, i64::MAX, -300, 300];
        let mut keys: Vec<_> = numbers.iter().map(|n| Key::of_session(1).i64(*n)).collect();
        numbers.sort_unstable();
        keys.sort_by(|a, b| a.as_slice().cmp(b.as_slice()));
        let back: Vec<_> = keys
            .iter()
            .map(|key| Parts(&key.as_slice()[4..]).i64().unwrap())
            .collect();
        assert_eq!(back, numbers);
    }

    #[test]
    fn no_text_runs_into_its_neighbour() {
        let one = Key::of_session(1).part("a").last("bc");
        let two = Key::of_session(1).part("ab").last("c");
        assert_ne!(one, two);
        let mut parts = Parts(&two.as_slice()[4..]);
        assert_eq!(parts.part(), Some("ab"));
        assert_eq!(parts.text(), Some("c"));
    }

    #[test]
    fn a_prefix_of_highest_bytes_has_no_end_and_still_spans_its_own() {
        assert_eq!(successor(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(successor(&[255, 255]), None);
        assert!(Span::under(&Key::of_session(3)).before(&Key::of_session(2)).is_empty());
        assert!(!Span::under(&Key::of_session(u32::MAX)).is_empty());
    }
}
