//! Instances, the owner of the installation, and the numbers of sessions.

use super::encoding::{Key, Span, decode};
use super::error::{ReadError, WriteError};
use super::rows::{Order, Rows, Tx, View, step};
use super::schema::CUSTOMER;
use super::tables::{self, INSTANCES, META};
use crate::domain::id::{CustomerId, InstanceId};
use crate::domain::instance::Instance;

impl Tx<'_> {
    /// The short number for the session of a new instance; never handed out twice.
    pub fn next_session(&mut self) -> Result<u32, WriteError> {
        let head = self.head_mut();
        let session = head.next_session;
        head.next_session = session
            .checked_add(1)
            .ok_or_else(|| WriteError::Failed("every session number was given away".into()))?;
        Ok(session)
    }

    /// An instance by id, deleted or not.
    pub fn instance(&self, id: InstanceId) -> Result<Option<Instance>, WriteError> {
        Ok(instance(self, id)?)
    }

    /// Inserts or overwrites an instance.
    pub fn put_instance(&mut self, instance: &Instance) -> Result<(), WriteError> {
        self.put_json(INSTANCES, Key::of_id(instance.id.to_u128()).as_slice(), instance)
    }

    /// Removes every key of a session's cryptographic state; after an unlink.
    pub fn clear_session(&mut self, session: u32) -> Result<(), WriteError> {
        let span = Span::under(&Key::of_session(session));
        for table in tables::OF_SESSION {
            self.remove_span(*table, &span)?;
        }
        Ok(())
    }
}

impl View<'_> {
    /// The owner of this installation, made at first start.
    pub fn customer(&self) -> Result<CustomerId, ReadError> {
        self.get_json(META, CUSTOMER)?
            .ok_or_else(|| ReadError::corrupt(META, "the owner is missing"))
    }

    /// An instance by id, deleted or not.
    pub fn instance(&self, id: InstanceId) -> Result<Option<Instance>, ReadError> {
        instance(self, id)
    }

    /// Instances that are not deleted, newest first, older than `before`.
    pub fn instances(&self, before: Option<InstanceId>, limit: usize) -> Result<Vec<Instance>, ReadError> {
        let span = match before {
            Some(before) => Span::ALL.before(&Key::of_id(before.to_u128())),
            None => Span::ALL,
        };
        let mut instances: Vec<Instance> = Vec::new();
        if limit > 0 {
            self.scan(INSTANCES, &span, Order::Down, &mut |_, bytes| {
                let instance: Instance = decode(INSTANCES, bytes)?;
                if instance.deleted_at.is_none() {
                    instances.push(instance);
                }
                Ok(step(instances.len() < limit))
            })?;
        }
        Ok(instances)
    }
}

fn instance(rows: &impl Rows, id: InstanceId) -> Result<Option<Instance>, ReadError> {
    rows.get_json(INSTANCES, Key::of_id(id.to_u128()).as_slice())
}
