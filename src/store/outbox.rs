//! Outbound messages: the outbox while they are under way, the log of their states afterwards.

use super::encoding::{Key, Parts, Span};
use super::error::{ReadError, WriteError};
use super::rows::{Order, Rows, Tx, View, step};
use super::tables::{OUTBOUND, OUTBOUND_BY_TIME, OUTBOUND_QUEUE};
use crate::domain::id::InstanceId;
use crate::domain::message::{MessageId, Outbound};

impl Tx<'_> {
    /// An outbound message.
    pub fn outbound(&self, instance: InstanceId, id: &MessageId) -> Result<Option<Outbound>, WriteError> {
        Ok(self.get_json(OUTBOUND, row_key(instance, id).as_slice())?)
    }

    /// The unsettled outbound messages of an instance in order of acceptance, from `after` on.
    pub fn outbox(&self, instance: InstanceId, after: u64, limit: usize) -> Result<Vec<Outbound>, WriteError> {
        Ok(outbox(self, instance, after, limit)?)
    }

    /// Inserts a new outbound message at the end of its instance's queue (assigns `sequence`).
    pub fn insert_outbound(&mut self, message: &mut Outbound) -> Result<(), WriteError> {
        let head = self.head_mut();
        message.sequence = head.next_sequence;
        head.next_sequence += 1;
        let by_time = by_time_key(message);
        self.put(OUTBOUND_BY_TIME, by_time.as_slice(), &[])?;
        self.put_outbound(message)
    }

    /// Overwrites an outbound message and keeps the queue index in step with its `due_at`.
    pub fn put_outbound(&mut self, message: &Outbound) -> Result<(), WriteError> {
        let row = row_key(message.instance_id, &message.message_id);
        let place = queue_key(message.instance_id).u64(message.sequence);
        if message.due_at.is_some() {
            self.put(OUTBOUND_QUEUE, place.as_slice(), message.message_id.as_str().as_bytes())?;
        } else {
            self.remove(OUTBOUND_QUEUE, place.as_slice())?;
        }
        self.put_json(OUTBOUND, row.as_slice(), message)
    }
}

impl View<'_> {
    /// An outbound message.
    pub fn outbound(&self, instance: InstanceId, id: &MessageId) -> Result<Option<Outbound>, ReadError> {
        self.get_json(OUTBOUND, row_key(instance, id).as_slice())
    }

    /// The unsettled outbound messages of an instance in order of acceptance, from `after` on.
    pub fn outbox(&self, instance: InstanceId, after: u64, limit: usize) -> Result<Vec<Outbound>, ReadError> {
        outbox(self, instance, after, limit)
    }

    /// How many outbound messages of an instance are unsettled.
    pub fn outbox_depth(&self, instance: InstanceId) -> Result<u64, ReadError> {
        let mut depth = 0;
        self.scan(
            OUTBOUND_QUEUE,
            &Span::under(&queue_key(instance)),
            Order::Up,
            &mut |_, _| {
                depth += 1;
                Ok(step(true))
            },
        )?;
        Ok(depth)
    }
}

fn outbox(rows: &impl Rows, instance: InstanceId, after: u64, limit: usize) -> Result<Vec<Outbound>, ReadError> {
    let queue = queue_key(instance);
    let span = Span::under(&queue).after(&queue.clone().u64(after));
    let mut ids = Vec::new();
    if limit > 0 {
        rows.scan(OUTBOUND_QUEUE, &span, Order::Up, &mut |_, id| {
            let id = Parts(id)
                .text()
                .ok_or_else(|| ReadError::corrupt(OUTBOUND_QUEUE, "is no text"))?;
            ids.push(MessageId::from_wire(id));
            Ok(step(ids.len() < limit))
        })?;
    }
    ids.iter()
        .map(|id| {
            rows.get_json(OUTBOUND, row_key(instance, id).as_slice())?
                .ok_or_else(|| ReadError::corrupt(OUTBOUND_QUEUE, "names a message that does not exist"))
        })
        .collect()
}

fn row_key(instance: InstanceId, id: &MessageId) -> Key {
    Key::of_id(instance.to_u128()).last(id.as_str())
}

fn queue_key(instance: InstanceId) -> Key {
    Key::of_id(instance.to_u128())
}

fn by_time_key(message: &Outbound) -> Key {
    Key::of_time(message.created_at)
        .id(message.instance_id.to_u128())
        .last(message.message_id.as_str())
}
