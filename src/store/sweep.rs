//! Removes what is too old or too much, in small transactions, so that a sweep of millions makes nobody wait for long.

use std::ops::ControlFlow;
use std::time::Duration;

use super::answers::REMEMBERED_FOR;
use super::encoding::{Key, Parts, Span};
use super::error::{ReadError, WriteError};
use super::inbound::INBOUND_KNOWN_FOR;
use super::rows::{Order, Rows, Tx, step};
use super::tables::{ANSWERS, ANSWERS_BY_TIME, INBOUND, INBOUND_BY_TIME, JOURNAL, OUTBOUND, OUTBOUND_BY_TIME, Table};
use super::writer::Class;
use super::{Store, View};
use crate::domain::Timestamp;
use crate::domain::id::EventId;
use crate::domain::message::Outbound;
use crate::sys::clock;

/// How many rows one transaction removes.
const CHUNK: usize = 500;

/// The length of a time at the start of a key.
const TIME_BYTES: usize = 8;

/// What may stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SweepLimits {
    /// Events may be this old.
    pub journal_age: Duration,
    /// Events may have this many bytes together; the oldest go first.
    pub journal_bytes: u64,
    /// Settled outbound messages may be this old, counted from their acceptance.
    pub log_age: Duration,
    /// Rows of the audit list may be this old.
    pub audit_age: Duration,
    /// The audit list may have this many rows; the oldest go first.
    pub audit_rows: u64,
}

/// What was removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Events of the journal.
    pub events: u64,
    /// Settled outbound messages.
    pub messages: u64,
    /// Remembered answers.
    pub answers: u64,
    /// Notes of inbound messages.
    pub inbound: u64,
    /// Webhook deliveries.
    pub deliveries: u64,
    /// Rows of the audit list.
    pub audit: u64,
    /// Sign-ins to the dashboard.
    pub logins: u64,
}

impl Store {
    /// Removes what the limits no longer allow, and what its own age ends: answers after 24 hours, notes of inbound
    /// messages after 30 days, webhook deliveries and sign-ins when they say so. Meant to be called every few minutes;
    /// with nothing to remove it writes nothing.
    pub async fn sweep(&self, limits: SweepLimits) -> Result<Swept, WriteError> {
        let now = clock::now();
        Ok(Swept {
            events: self.sweep_journal(now, limits).await?,
            messages: self.sweep_log(now.minus(limits.log_age)).await?,
            answers: self
                .sweep_pair(ANSWERS, ANSWERS_BY_TIME, now.minus(REMEMBERED_FOR))
                .await?,
            inbound: self
                .sweep_pair(INBOUND, INBOUND_BY_TIME, now.minus(INBOUND_KNOWN_FOR))
                .await?,
            deliveries: self.sweep_deliveries(now).await?,
            audit: self.sweep_audit(now, limits).await?,
            logins: self.sweep_logins(now).await?,
        })
    }

    /// The next rows to remove are looked up by a reader; the writer only cuts off the range.
    async fn sweep_journal(&self, now: Timestamp, limits: SweepLimits) -> Result<u64, WriteError> {
        let floor = EventId::floor(now.minus(limits.journal_age)).to_u128();
        let mut swept = 0;
        loop {
            let bytes = self.shared.head().journal_bytes;
            let excess = bytes.saturating_sub(limits.journal_bytes);
            let Some(last) = self.read(|view| last_to_go(view, floor, excess))? else {
                return Ok(swept);
            };
            let span = Span::ALL.up_to(last);
            let removed = self
                .tidy(move |tx| {
                    let removed = tx.remove_span(JOURNAL, &span)?;
                    let head = tx.head_mut();
                    head.journal_rows = head.journal_rows.saturating_sub(removed.rows);
                    head.journal_bytes = head.journal_bytes.saturating_sub(removed.bytes);
                    Ok(removed.rows)
                })
                .await?;
            swept += removed;
            if removed == 0 {
                return Ok(swept);
            }
        }
    }

    async fn sweep_log(&self, cutoff: Timestamp) -> Result<u64, WriteError> {
        let mut span = Span::ALL.before(&Key::of_time(cutoff));
        let mut swept = 0;
        loop {
            let keys = self.read(|view| view.keys_in(OUTBOUND_BY_TIME, &span, CHUNK))?;
            let (Some(last), more) = (keys.last().cloned(), keys.len() == CHUNK) else {
                return Ok(swept);
            };
            // What is not settled stays, however old, so the next chunk begins behind this one.
            span = span.after(&Key::empty().last(&last));
            swept += self
                .tidy(move |tx| {
                    let mut gone = Vec::new();
                    for key in &keys {
                        let row = &key[TIME_BYTES..];
                        let message: Option<Outbound> = tx.get_json(OUTBOUND, row)?;
                        if message.is_none_or(|message| message.due_at.is_none()) {
                            gone.push(key);
                        }
                    }
                    tx.remove_all(OUTBOUND_BY_TIME, &gone)?;
                    tx.remove_all(OUTBOUND, gone.iter().map(|key| &key[TIME_BYTES..]))
                })
                .await
                .map(u64::from)?;
            if !more {
                return Ok(swept);
            }
        }
    }

    async fn sweep_deliveries(&self, now: Timestamp) -> Result<u64, WriteError> {
        let mut swept = 0;
        loop {
            let keys = self.read(|view| view.expired_deliveries(now, CHUNK))?;
            if keys.is_empty() {
                return Ok(swept);
            }
            swept += self.tidy(move |tx| tx.remove_deliveries(&keys)).await?;
        }
    }

    /// In one transaction: the list is short by its own limit.
    async fn sweep_audit(&self, now: Timestamp, limits: SweepLimits) -> Result<u64, WriteError> {
        match self.read(|view| view.audit_cut(now, limits))? {
            Some(cut) => self.tidy(move |tx| tx.cut_audit(cut)).await,
            None => Ok(0),
        }
    }

    /// There are so few sign-ins that all are looked at.
    async fn sweep_logins(&self, now: Timestamp) -> Result<u64, WriteError> {
        let expired = self.read(|view| view.logins(None, usize::MAX))?;
        if !expired.iter().any(|login| login.expires_at() <= now) {
            return Ok(0);
        }
        self.tidy(move |tx| {
            let mut swept = 0;
            // Read again here: one may have been used since.
            for login in tx.logins()?.iter().filter(|login| login.expires_at() <= now) {
                swept += u64::from(tx.remove_login(login.id)?);
            }
            Ok(swept)
        })
        .await
    }

    /// Sweeps a table whose index by time has the time and then the row's own key.
    async fn sweep_pair(&self, rows: Table, by_time: Table, cutoff: Timestamp) -> Result<u64, WriteError> {
        let span = Span::ALL.before(&Key::of_time(cutoff));
        let mut swept = 0;
        loop {
            let keys = self.read(|view| view.keys_in(by_time, &span, CHUNK))?;
            let (Some(last), more) = (keys.last().cloned(), keys.len() == CHUNK) else {
                return Ok(swept);
            };
            let chunk = span.clone().up_to(last);
            swept += self
                .tidy(move |tx| {
                    // Read again here: an answer may have been remembered anew since.
                    let keys = tx.keys_in(by_time, &chunk, usize::MAX)?;
                    let removed = tx.remove_all(rows, keys.iter().map(|key| &key[TIME_BYTES..]))?;
                    tx.remove_span(by_time, &chunk)?;
                    Ok(u64::from(removed))
                })
                .await?;
            if !more {
                return Ok(swept);
            }
        }
    }

    /// Runs on a nearly full disk too, because it is what makes room.
    async fn tidy<T, F>(&self, work: F) -> Result<T, WriteError>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, WriteError> + Send + 'static,
        T: Send + 'static,
    {
        const CLASS: Class = Class {
            durable: true,
            reserve: true,
        };
        self.submit(CLASS, work).await
    }
}

/// The key of the last event of the next chunk to remove: older than `floor`, or among the oldest `excess` bytes.
fn last_to_go(view: &View<'_>, floor: u128, mut excess: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let mut last = None;
    let mut rows = 0;
    view.scan(JOURNAL, &Span::ALL, Order::Up, &mut |key, row| {
        let is_old = Parts(key).id().is_some_and(|id| id < floor);
        if !is_old && excess == 0 {
            return Ok(ControlFlow::Break(()));
        }
        excess = excess.saturating_sub(row.len() as u64);
        last = Some(key.to_vec());
        rows += 1;
        Ok(step(rows < CHUNK))
    })?;
    Ok(last)
}
