//! Messages that wait for a connection: they are given up with the link they were meant for, or after a day.
//!
//! A message is addressed from one account; should another phone be linked later, nothing of the old one may go out
//! from there. And what nobody could send for a day is seldom still true.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::delivery::{self, Known, Tick};
use crate::domain::Timestamp;
use crate::domain::event::Failure;
use crate::domain::id::InstanceId;
use crate::domain::instance::Instance;
use crate::domain::message::Outbound;
use crate::store::{Tx, WriteError};
use crate::sys::clock;

/// How long a message may wait for WhatsApp's acknowledgement, connected or not.
const LONGEST: Duration = Duration::from_hours(24);

/// How often is looked for those that waited too long.
const ROUND: Duration = Duration::from_mins(1);

/// How many rows are read at once.
const PAGE: usize = 64;

/// Whether a message has waited too long.
pub(super) fn has_expired(row: &Outbound, now: Timestamp) -> bool {
    now.since(row.created_at) >= LONGEST
}

/// Why a message is given up that has waited too long.
pub(super) fn expired() -> Failure {
    Failure {
        code: "expired".to_owned(),
        message: "WhatsApp did not acknowledge the message within 24 hours of its acceptance, so it is not sent any more. Send it again if it still matters."
            .to_owned(),
    }
}

fn unlinked() -> Failure {
    Failure {
        code: "unlinked".to_owned(),
        message: "The instance was unlinked before WhatsApp acknowledged the message. Link it again and send the message anew; if it was on its way at that moment, it may have arrived."
            .to_owned(),
    }
}

fn failures(rows: &[Outbound], failure: &Failure) -> Vec<Tick> {
    rows.iter()
        .map(|row| Tick::Failed {
            id: row.message_id.clone(),
            failure: failure.clone(),
        })
        .collect()
}

/// Gives up everything that is unsettled: the link it was to be sent over is gone.
pub(super) fn abandon(tx: &mut Tx<'_>, instance: InstanceId, now: Timestamp) -> Result<(), WriteError> {
    let failure = unlinked();
    let mut after = 0;
    loop {
        let rows = tx.outbox(instance, after, PAGE)?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.sequence;
        delivery::settle(tx, instance, &failures(&rows, &failure), &Known::default(), now)?;
    }
}

impl Engine {
    /// Gives up what has waited too long, from time to time. Connected instances see to it themselves: their outbox
    /// knows what it is writing at this moment.
    pub(super) fn give_up_the_expired(&self) -> impl Future<Output = ()> + use<> {
        // The watch must not be what keeps a stopped engine and its store alive.
        let inner = Arc::downgrade(&self.inner);
        async move {
            while let Some(inner) = inner.upgrade() {
                if let Err(error) = (Engine { inner }).give_up_once().await {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "messages that wait for too long could not be given up; it is tried again"
                    );
                }
                clock::sleep(ROUND).await;
            }
        }
    }

    async fn give_up_once(&self) -> Result<(), WriteError> {
        let store = &self.inner.shared.store;
        let mut before = None;
        loop {
            let page: Vec<Instance> = store.read(|view| view.instances(before, super::PAGE))?;
            let Some(last) = page.last() else { return Ok(()) };
            before = Some(last.id);
            for instance in &page {
                while self.health(instance.id).connected_since.is_none() {
                    let now = clock::now();
                    let mut rows = store.read(|view| view.outbox(instance.id, 0, PAGE))?;
                    rows.retain(|row| has_expired(row, now));
                    if rows.is_empty() {
                        break;
                    }
                    let id = instance.id;
                    tracing::info!(instance.id = %id, messages = rows.len(), "messages have waited too long for a connection");
                    let ticks = failures(&rows, &expired());
                    store
                        .write(move |tx| delivery::settle(tx, id, &ticks, &Known::default(), now))
                        .await?;
                }
            }
        }
    }
}
