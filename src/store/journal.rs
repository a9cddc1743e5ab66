//! The journal: every committed event as the bytes it was published with, in the order of its ids.
//!
//! A row is a header, from which a reader filters without parsing JSON, and the JSON itself. The [`Head`] is written
//! with every durable commit, so that ids, sequences and sizes survive a sweep that empties the tables.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::encoding::{Key, Parts, Span};
use super::error::{Cause, Fault, ReadError, WriteError};
use super::rows::{Order, Rows, Tx, View, step};
use super::tables;
use crate::domain::Timestamp;
use crate::domain::event::{Event, EventName, Frame, SharedFrame};
use crate::domain::id::{EventId, InstanceId, RequestId};
use crate::sys::clock;

/// The form of a row.
const ROW_FORMAT: u8 = 1;

/// Bytes of JSON that one page may hold; a page of QR pictures ends earlier than one of receipts.
const PAGE_BYTES: usize = 1 << 20;

/// Where the store stands; one row, written with every durable commit.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Head {
    /// Counts durable commits. After a commit that failed, this tells whether it reached the disk all the same.
    pub(super) commit: u64,
    /// The last event ever committed, also when it was swept since: ids never go back.
    pub(super) last_event: Option<EventId>,
    /// How many events the journal holds.
    pub(super) journal_rows: u64,
    /// How many bytes their rows have.
    pub(super) journal_bytes: u64,
    /// The next place in an outbox; one counter for all instances, because only the order matters.
    pub(super) next_sequence: u64,
    /// The next session number.
    pub(super) next_session: u32,
}

/// The key of [`Head`] in the table of meta rows.
pub(super) const HEAD: &[u8] = b"head";

/// A page of the journal.
#[derive(Clone, Debug)]
pub struct JournalPage {
    /// The frames, oldest first.
    pub frames: Vec<SharedFrame>,
    /// The last id that was looked at, wanted or not; the next page starts after it. At the head it is the last event
    /// ever committed, also when that was swept, so that a reader can join the bus there.
    pub scanned_to: Option<EventId>,
    /// Whether the journal has no more behind `scanned_to` at the time of reading.
    pub at_head: bool,
}

impl Tx<'_> {
    /// Appends an event to the journal, with a delivery for each webhook endpoint that wants it, and gives it its id;
    /// it is published after the commit.
    pub fn append_event(&mut self, event: &Event) -> Result<EventId, WriteError> {
        self.append_event_of(event, None)
    }

    /// The same for an event that a request has caused; webhooks carry the request's id as correlation id.
    pub fn append_event_of(&mut self, event: &Event, cause: Option<RequestId>) -> Result<EventId, WriteError> {
        let id = EventId::following(self.batch.head.last_event, clock::now());
        let frame = event
            .encode(id)
            .map_err(|error| WriteError::from(Fault::because(error)))?;
        let row = to_row(&frame);
        self.put(tables::JOURNAL, Key::of_id(id.to_u128()).as_slice(), &row)?;
        let head = self.head_mut();
        head.last_event = Some(id);
        head.journal_rows += 1;
        head.journal_bytes += row.len() as u64;
        self.deliver_to_endpoints(&frame, cause)?;
        self.batch.frames.push(Arc::new(frame));
        Ok(id)
    }
}

impl View<'_> {
    /// A page of the journal after `after` (from the beginning if `None`), at most `limit` looked at.
    pub fn journal(&self, after: Option<EventId>, limit: usize) -> Result<JournalPage, ReadError> {
        let span = match after {
            Some(after) => Span::ALL.after(&Key::of_id(after.to_u128())),
            None => Span::ALL,
        };
        let mut page = JournalPage {
            frames: Vec::new(),
            scanned_to: after,
            at_head: true,
        };
        let mut bytes = 0;
        self.scan(tables::JOURNAL, &span, Order::Up, &mut |key, row| {
            if page.frames.len() >= limit || bytes >= PAGE_BYTES {
                page.at_head = false;
                return Ok(ControlFlow::Break(()));
            }
            let frame = from_row(key, row).map_err(|cause| ReadError::corrupt(tables::JOURNAL, cause))?;
            bytes += frame.len();
            page.scanned_to = frame.id;
            page.frames.push(Arc::new(frame));
            Ok(step(true))
        })?;
        if page.at_head {
            page.scanned_to = page.scanned_to.max(self.head()?.last_event);
        }
        Ok(page)
    }

    /// The oldest event that the journal still has.
    pub fn oldest_event(&self) -> Result<Option<EventId>, ReadError> {
        let mut oldest = None;
        self.scan(tables::JOURNAL, &Span::ALL, Order::Up, &mut |key, _| {
            oldest = Parts(key).id().map(EventId::from_u128);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(oldest)
    }

    /// Where the store stands in this view.
    pub(super) fn head(&self) -> Result<Head, ReadError> {
        Ok(self.get_json(tables::META, HEAD)?.unwrap_or_default())
    }
}

/// Format, instance, expiry (the highest number is never), length and letters of the name, JSON.
fn to_row(frame: &Frame) -> Vec<u8> {
    let name = frame.name.as_str();
    let json = frame.json();
    let expires = frame.expires_at.map_or(i64::MAX, Timestamp::millis);
    let mut row = Vec::with_capacity(32 + name.len() + json.len());
    row.push(ROW_FORMAT);
    row.extend(frame.instance.to_u128().to_be_bytes());
    row.extend(expires.to_be_bytes());
    row.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    row.extend(name.as_bytes());
    row.extend_from_slice(&json);
    row
}

pub(super) fn from_row(key: &[u8], row: &[u8]) -> Result<Frame, Cause> {
    let short = || Cause::from("too short");
    let id = Parts(key).id().ok_or_else(short)?;
    let mut parts = Parts(row);
    let [format] = parts.take().ok_or_else(short)?;
    if format != ROW_FORMAT {
        return Err(format!("has format {format}").into());
    }
    let instance = parts.id().ok_or_else(short)?;
    let expires = i64::from_be_bytes(parts.take().ok_or_else(short)?);
    let [length] = parts.take().ok_or_else(short)?;
    let (name, json) = parts.0.split_at_checked(length.into()).ok_or_else(short)?;
    let name = std::str::from_utf8(name)
        .ok()
        .and_then(EventName::parse)
        .ok_or("has an unknown event name")?;
    Ok(Frame::new(
        Some(EventId::from_u128(id)),
        InstanceId::from_u128(instance),
        name,
        (expires != i64::MAX).then(|| Timestamp::from_millis(expires)),
        json,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::EventBody;

    fn qr(expires_at: Timestamp) -> Event {
        Event {
            instance_id: InstanceId::from_u128(7),
            occurred_at: Timestamp::from_millis(1),
            body: EventBody::QrUpdated {
                qr: "data:".into(),
                code: "2@x".into(),
                expires_at,
            },
        }
    }

    #[test]
    fn a_row_gives_back_the_very_bytes_that_were_published() {
        let frame = qr(Timestamp::from_millis(99)).encode(EventId::from_u128(5)).unwrap();
        let back = from_row(&5u128.to_be_bytes(), &to_row(&frame)).unwrap();
        assert_eq!(back.sse(), frame.sse());
        assert_eq!(
            (back.id, back.instance, back.name, back.expires_at),
            (frame.id, frame.instance, frame.name, Some(Timestamp::from_millis(99)))
        );
    }

    #[test]
    fn a_damaged_row_is_an_error_and_no_panic() {
        let frame = qr(Timestamp::EPOCH).encode(EventId::from_u128(5)).unwrap();
        let row = to_row(&frame);
        for length in 0..30 {
            assert!(from_row(&5u128.to_be_bytes(), &row[..length]).is_err(), "{length}");
        }
        let mut newer = row.clone();
        newer[0] = 9;
        assert!(from_row(&5u128.to_be_bytes(), &newer).is_err());
        assert!(from_row(b"short", &row).is_err());
    }
}
