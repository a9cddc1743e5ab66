//! Rows of tables, seen from a reader's view and from the writer's transaction.

use std::cell::RefCell;
use std::ops::ControlFlow;

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata as _, WriteTransaction};

use super::encoding::Span;
use super::error::{Fault, ReadError, WriteError};
use super::journal::Head;
use super::tables::Table;
use crate::domain::event::SharedFrame;
use crate::domain::webhook::Endpoint;

/// A consistent view for reading.
pub struct View<'a> {
    pub(super) txn: &'a ReadTransaction,
}

/// A write transaction in the hands of a closure.
pub struct Tx<'a> {
    pub(super) txn: &'a WriteTransaction,
    pub(super) batch: &'a mut Batch,
}

/// What the operations of one transaction have done so far.
#[derive(Default)]
pub(super) struct Batch {
    /// The journal's head as it will be once this is committed.
    pub(super) head: Head,
    /// Events to publish once this is committed.
    pub(super) frames: Vec<SharedFrame>,
    /// The webhook endpoints that take events; read when the first event needs them, forgotten when one is changed or
    /// anything is undone.
    pub(super) endpoints: Option<Vec<Endpoint>>,
    /// Whether the running operation has written.
    pub(super) wrote: bool,
    /// Whether an operation before it has written.
    pub(super) changed: bool,
    /// Whether something was written that must be on disk before anybody hears of it, also from a lazy operation.
    pub(super) to_disk: bool,
    /// The database failed; whatever the closure made of the error, this transaction is over.
    pub(super) fault: RefCell<Option<Fault>>,
}

/// Reading, the same for views and transactions.
pub(super) trait Rows {
    /// The row under `key`, read in place.
    fn get_with<T>(&self, table: Table, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, ReadError>;

    /// Visits rows in order, or in reverse, until told to stop.
    fn scan(&self, table: Table, span: &Span, order: Order, visit: Visit<'_>) -> Result<(), ReadError>;

    /// The row under `key`.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.get_with(table, key, <[u8]>::to_vec)
    }

    /// Whether there is a row under `key`.
    fn has(&self, table: Table, key: &[u8]) -> Result<bool, ReadError> {
        Ok(self.get_with(table, key, |_| ())?.is_some())
    }

    /// The JSON row under `key`.
    fn get_json<T: serde::de::DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>, ReadError> {
        self.get_with(table, key, |bytes| super::encoding::decode(table, bytes))?
            .transpose()
    }

    /// Whether anything is in the span.
    fn any(&self, table: Table, span: &Span) -> Result<bool, ReadError> {
        let mut found = false;
        self.scan(table, span, Order::Up, &mut |_, _| {
            found = true;
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// The keys in the span, in order, at most `limit`.
    fn keys_in(&self, table: Table, span: &Span, limit: usize) -> Result<Vec<Vec<u8>>, ReadError> {
        let mut keys = Vec::new();
        if limit > 0 {
            self.scan(table, span, Order::Up, &mut |key, _| {
                keys.push(key.to_vec());
                Ok(step(keys.len() < limit))
            })?;
        }
        Ok(keys)
    }
}

/// In which direction rows are visited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Lowest key first.
    Up,
    /// Highest key first.
    Down,
}

/// Sees a key and a row, and says whether to go on.
pub(super) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, ReadError>;

/// Goes on, or stops.
pub(super) const fn step(on: bool) -> ControlFlow<()> {
    if on {
        ControlFlow::Continue(())
    } else {
        ControlFlow::Break(())
    }
}

impl Rows for View<'_> {
    fn get_with<T>(&self, table: Table, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, ReadError> {
        let rows = self.txn.open_table(table).map_err(ReadError::failed)?;
        get_in(&rows, key, read).map_err(ReadError::failed)
    }

    fn scan(&self, table: Table, span: &Span, order: Order, visit: Visit<'_>) -> Result<(), ReadError> {
        let rows = self.txn.open_table(table).map_err(ReadError::failed)?;
        scan_in(&rows, span, order, visit, ReadError::failed)
    }
}

impl Rows for Tx<'_> {
    fn get_with<T>(&self, table: Table, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, ReadError> {
        let rows = self.txn.open_table(table).map_err(|error| self.read_fault(error))?;
        get_in(&rows, key, read).map_err(|error| self.read_fault(error))
    }

    fn scan(&self, table: Table, span: &Span, order: Order, visit: Visit<'_>) -> Result<(), ReadError> {
        let rows = self.txn.open_table(table).map_err(|error| self.read_fault(error))?;
        scan_in(&rows, span, order, visit, |error| self.read_fault(error))
    }
}

impl View<'_> {
    /// How many rows a table has; it keeps count, so asking costs the same whatever the number.
    pub(super) fn count(&self, table: Table) -> Result<u64, ReadError> {
        let rows = self.txn.open_table(table).map_err(ReadError::failed)?;
        rows.len().map_err(ReadError::failed)
    }
}

/// What was taken out of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Removed {
    /// How many rows.
    pub(super) rows: u64,
    /// How many bytes of values.
    pub(super) bytes: u64,
}

impl Tx<'_> {
    /// Inserts or overwrites a row.
    pub(super) fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
        self.put_all(table, [(key, value)])
    }

    /// Inserts or overwrites many rows of one table.
    pub(super) fn put_all<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        table: Table,
        rows: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), WriteError> {
        self.batch.wrote = true;
        let mut open = self.txn.open_table(table).map_err(|error| self.fault(error))?;
        for (key, value) in rows {
            open.insert(key.as_ref(), value.as_ref())
                .map_err(|error| self.fault(error))?;
        }
        Ok(())
    }

    /// Inserts or overwrites a row as JSON.
    pub(super) fn put_json(&mut self, table: Table, key: &[u8], row: &impl serde::Serialize) -> Result<(), WriteError> {
        let bytes = super::encoding::encode(row)?;
        self.put(table, key, &bytes)
    }

    /// Removes a row and says whether there was one.
    pub(super) fn remove(&mut self, table: Table, key: &[u8]) -> Result<bool, WriteError> {
        Ok(self.remove_all(table, [key])? > 0)
    }

    /// Removes many rows of one table and says how many there were.
    pub(super) fn remove_all<K: AsRef<[u8]>>(
        &mut self,
        table: Table,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<u32, WriteError> {
        let mut open = self.txn.open_table(table).map_err(|error| self.fault(error))?;
        let mut removed = 0;
        for key in keys {
            let found = open.remove(key.as_ref()).map_err(|error| self.fault(error))?.is_some();
            removed += u32::from(found);
        }
        self.batch.wrote |= removed > 0;
        Ok(removed)
    }

    /// Removes every row in the span.
    pub(super) fn remove_span(&mut self, table: Table, span: &Span) -> Result<Removed, WriteError> {
        let mut removed = Removed::default();
        if span.is_empty() {
            return Ok(removed);
        }
        let mut open = self.txn.open_table(table).map_err(|error| self.fault(error))?;
        open.retain_in::<&[u8], _>(span.bounds(), |_, value| {
            removed.rows += 1;
            removed.bytes += value.len() as u64;
            false
        })
        .map_err(|error| self.fault(error))?;
        self.batch.wrote |= removed.rows > 0;
        Ok(removed)
    }

    /// The head, to be changed: what depends on it may not be heard of before it is on disk.
    pub(super) fn head_mut(&mut self) -> &mut Head {
        self.batch.wrote = true;
        self.batch.to_disk = true;
        &mut self.batch.head
    }

    fn note(&self, error: impl Into<redb::Error>) -> Fault {
        let fault = Fault::of(error.into());
        *self.batch.fault.borrow_mut() = Some(fault.clone());
        fault
    }

    fn fault(&self, error: impl Into<redb::Error>) -> WriteError {
        self.note(error).into()
    }

    fn read_fault(&self, error: impl Into<redb::Error>) -> ReadError {
        ReadError::Failed(match self.note(error) {
            Fault::Full => "the disk is full".into(),
            Fault::Failed(cause) => Box::new(cause),
        })
    }
}

fn get_in<T>(
    rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
    read: impl FnOnce(&[u8]) -> T,
) -> Result<Option<T>, redb::StorageError> {
    Ok(rows.get(key)?.map(|row| read(row.value())))
}

fn scan_in(
    rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
    span: &Span,
    order: Order,
    visit: Visit<'_>,
    fault: impl Fn(redb::StorageError) -> ReadError,
) -> Result<(), ReadError> {
    if span.is_empty() {
        return Ok(());
    }
    let mut range = rows.range::<&[u8]>(span.bounds()).map_err(&fault)?;
    loop {
        let next = match order {
            Order::Up => range.next(),
            Order::Down => range.next_back(),
        };
        let Some(row) = next else { return Ok(()) };
        let (key, value) = row.map_err(&fault)?;
        if visit(key.value(), value.value())?.is_break() {
            return Ok(());
        }
    }
}
