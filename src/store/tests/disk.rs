//! A disk in memory that fills up, fails and loses power when told to, and counts how often it had to be repaired.

use std::io::{Error, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use crate::store::space::Space;
use crate::store::{CommitSink, OpenError, Store};

/// The disk; its content outlives every database on it.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Disk(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    bytes: Mutex<Vec<u8>>,
    plan: Mutex<Plan>,
    repairs: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Plan {
    /// Changes that still succeed.
    left: Option<u64>,
    /// Whether the disk stays broken once `left` is used up, or fails once.
    lasting: bool,
    kind: Option<ErrorKind>,
}

impl Disk {
    /// After `changes` more writes, flushes and growths every further one fails, until [`Disk::heal`].
    pub(in crate::store) fn fail_after(&self, changes: u64, kind: ErrorKind) {
        *self.0.plan.lock().unwrap() = Plan {
            left: Some(changes),
            lasting: true,
            kind: Some(kind),
        };
    }

    /// After `changes` more writes, flushes and growths one fails.
    pub(in crate::store) fn fail_once_after(&self, changes: u64, kind: ErrorKind) {
        self.fail_after(changes, kind);
        self.0.plan.lock().unwrap().lasting = false;
    }

    pub(in crate::store) fn heal(&self) {
        *self.0.plan.lock().unwrap() = Plan::default();
    }

    /// Whether the planned failure has not happened yet.
    pub(in crate::store) fn is_waiting_to_fail(&self) -> bool {
        self.0.plan.lock().unwrap().left.is_some_and(|left| left > 0)
    }

    /// The disk as another machine would find it if the power went now.
    pub(in crate::store) fn copy(&self) -> Disk {
        let copy = Disk::default();
        *copy.0.bytes.lock().unwrap() = self.0.bytes.lock().unwrap().clone();
        copy
    }

    fn len(&self) -> u64 {
        self.0.bytes.lock().unwrap().len() as u64
    }

    /// How often opening had to walk the whole file, because it did not say which pages are free.
    pub(in crate::store) fn walks(&self) -> u64 {
        self.0.repairs.load(Ordering::Relaxed)
    }

    /// A store on this disk.
    pub(in crate::store) fn open(&self, sink: CommitSink) -> Result<Store, OpenError> {
        self.open_with(sink, Space::with(0, || None))
    }

    /// A store on this disk that asks `space` how much is free.
    pub(in crate::store) fn open_with(&self, sink: CommitSink, space: Space) -> Result<Store, OpenError> {
        let disk = self.clone();
        let opener = Box::new(move |_| Ok(disk.database()?));
        Store::start("in-memory".into(), opener, space, sink)
    }

    /// The database on this disk.
    pub(in crate::store) fn database(&self) -> Result<redb::Database, redb::DatabaseError> {
        let repairs = Arc::clone(&self.0.repairs);
        redb::Database::builder()
            .set_cache_size(1 << 20)
            .set_repair_callback(move |_| {
                repairs.fetch_add(1, Ordering::Relaxed);
            })
            .create_with_backend(self.clone())
    }

    fn change<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> Result<T, Error> {
        let mut plan = self.0.plan.lock().unwrap();
        match (plan.left, plan.kind) {
            (Some(0), Some(kind)) => {
                if !plan.lasting {
                    *plan = Plan::default();
                }
                return Err(kind.into());
            }
            (Some(left), _) => plan.left = Some(left - 1),
            _ => {}
        }
        Ok(work(&mut self.0.bytes.lock().unwrap()))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, Error> {
        Ok(Disk::len(self))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let bytes = self.0.bytes.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        let found = bytes.get(start..start + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        self.change(|bytes| bytes.resize(usize::try_from(len).unwrap(), 0))
    }

    fn sync_data(&self) -> Result<(), Error> {
        self.change(|_| ())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let start = usize::try_from(offset).unwrap();
        self.change(|bytes| bytes[start..start + data.len()].copy_from_slice(data))
    }
}
