//! How much is owed in all, cheap enough to be asked all the time.

use std::ops::ControlFlow;

use super::encoding::{Key, Parts, Span};
use super::error::ReadError;
use super::rows::{Order, Rows as _, View};
use super::tables::{DELIVERIES_NEW, DELIVERIES_RETRIED, OUTBOUND_QUEUE, Table};
use crate::domain::Timestamp;
use crate::domain::id::DeliveryId;

/// What is owed to WhatsApp and to webhook endpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backlog {
    /// Outbound messages that are not settled.
    pub outbox: u64,
    /// Deliveries that were never attempted.
    pub deliveries_new: u64,
    /// Deliveries that failed and are tried again.
    pub deliveries_retried: u64,
    /// When the oldest delivery of those that are next in line at their endpoint was made.
    pub oldest_delivery_at: Option<Timestamp>,
}

impl View<'_> {
    /// What is owed in all. The tables keep count of their rows, and only the head of each endpoint's queues is read,
    /// so this costs the same for ten deliveries and for a hundred thousand.
    pub fn backlog(&self) -> Result<Backlog, ReadError> {
        let heads = [self.oldest_head(DELIVERIES_NEW)?, self.oldest_head(DELIVERIES_RETRIED)?];
        Ok(Backlog {
            outbox: self.count(OUTBOUND_QUEUE)?,
            deliveries_new: self.count(DELIVERIES_NEW)?,
            deliveries_retried: self.count(DELIVERIES_RETRIED)?,
            oldest_delivery_at: heads.into_iter().flatten().min().map(DeliveryId::time),
        })
    }

    /// The oldest delivery among the first of each endpoint's queue.
    fn oldest_head(&self, queues: Table) -> Result<Option<DeliveryId>, ReadError> {
        let mut oldest: Option<DeliveryId> = None;
        let mut span = Span::ALL;
        loop {
            let mut head = None;
            self.scan(queues, &span, Order::Up, &mut |key, row| {
                head = Parts(key).id().zip(Parts(row).id());
                Ok(ControlFlow::Break(()))
            })?;
            let Some((endpoint, delivery)) = head else {
                return Ok(oldest);
            };
            let delivery = DeliveryId::from_u128(delivery);
            oldest = Some(oldest.map_or(delivery, |oldest| oldest.min(delivery)));
            // Behind everything that begins with this endpoint.
            span = Span::ALL.after(&Key::of_id(endpoint).last([0xff; 32]));
        }
    }
}
