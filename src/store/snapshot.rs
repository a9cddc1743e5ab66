//! The whole store as it stands at one moment, in a file of its own.
//!
//! A read transaction is that moment: the writer goes on meanwhile and never waits for it. What it frees cannot be used
//! again until the snapshot is done, so the file may grow a little. Tables are copied row by row, whatever their names:
//! the memory stays small, nothing of a half-written page comes along, and files of older schemas can be taken too.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use redb::backends::FileBackend;
use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, TableHandle as _,
};

use super::Store;
use super::error::{Cause, Fault, OpenError};
use super::peek::{Inspected, Peek};
use super::schema::{SCHEMA, Written};
use super::tables;
use super::writer::Slot;
use crate::sys::disk;

/// How the names of snapshots begin, so that one which a killed process left is known.
const PREFIX: &str = ".snapshot-";

/// Page cache of the new file; what does not fit is written early.
const CACHE_BYTES: usize = 16 << 20;

/// Rows between two looks whether somebody still waits.
const ROWS_BETWEEN_LOOKS: u64 = 512;

/// What a fresh file takes when there is hardly anything in it.
const SMALLEST_BYTES: u64 = 4 << 20;

/// A snapshot; its file goes when this is dropped.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    /// The schema of its tables.
    pub schema: u32,
    /// Rows of each table.
    rows: BTreeMap<String, u64>,
    /// Instances that are not deleted.
    pub instances: u64,
}

/// There is no snapshot, and nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk has too little room for it.
    #[error("a snapshot of the store needs up to {} MiB in {}, and {} MiB are free{}", .needed.div_ceil(1 << 20), .folder.display(), .free >> 20, reserved(*.reserve))]
    NoRoom {
        /// Bytes it may take, without the reserve.
        needed: u64,
        /// Bytes that the store keeps free for itself.
        reserve: u64,
        /// Bytes that are free.
        free: u64,
        /// Where.
        folder: PathBuf,
    },
    /// The disk is full all the same.
    #[error("the disk became full while the snapshot was written")]
    Full,
    /// Nobody waits for it any more.
    #[error("the snapshot was given up")]
    GivenUp,
    /// The store is closed, or has nothing in it yet.
    #[error("there is no store to take a snapshot of")]
    Nothing,
    /// The store could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store could not be read, or the snapshot could not be written.
    #[error("the snapshot failed")]
    Failed(#[source] Cause),
}

fn reserved(reserve: u64) -> String {
    if reserve == 0 {
        return String::new();
    }
    format!(
        ", of which the gateway keeps {} MiB for itself (store.reserve_bytes)",
        reserve.div_ceil(1 << 20)
    )
}

impl SnapshotError {
    fn failed(error: impl Into<redb::Error>) -> Self {
        match Fault::of(error.into()) {
            Fault::Full => Self::Full,
            Fault::Failed(cause) => Self::Failed(Box::new(cause)),
        }
    }
}

impl Snapshot {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Events in its journal.
    pub fn events(&self) -> u64 {
        self.rows.get(tables::JOURNAL.name()).copied().unwrap_or(0)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // The next start removes what stays.
        let _ = fs::remove_file(&self.path);
    }
}

impl Store {
    /// Takes a snapshot into the store's folder, on the calling thread; `given_up` is asked now and then.
    pub fn snapshot(&self, given_up: &dyn Fn() -> bool) -> Result<Snapshot, SnapshotError> {
        let folder = self.folder();
        let bytes = fs::metadata(&self.path).map_or(0, |meta| meta.len());
        require_room(folder, bytes, self.reserve_bytes)?;
        let txn = {
            let slot = self.shared.slot.read().unwrap_or_else(PoisonError::into_inner);
            match &*slot {
                Slot::Open(database) => database.begin_read().map_err(SnapshotError::failed)?,
                Slot::Broken | Slot::Closed => return Err(SnapshotError::Nothing),
            }
        };
        copy(&txn, folder, SCHEMA, given_up)
    }
}

/// Takes a snapshot of a file that no process has open, without changing a byte of it, also of an older schema.
pub fn snapshot_of_file(path: &Path, given_up: &dyn Fn() -> bool) -> Result<Snapshot, SnapshotError> {
    let folder = path.parent().unwrap_or(path);
    let peek = Peek::at(path)?.ok_or(SnapshotError::Nothing)?;
    let Written { schema, written_by } = peek.written()?.ok_or(SnapshotError::Nothing)?;
    Inspected { schema, written_by }.require_known()?;
    remove_abandoned(folder);
    let bytes = fs::metadata(path).map_or(0, |meta| meta.len());
    require_room(folder, bytes, 0)?;
    let txn = peek.database.begin_read().map_err(SnapshotError::failed)?;
    copy(&txn, folder, schema, given_up)
}

/// Removes what killed processes left; whoever calls this has the store's lock, so nobody is at it.
pub(super) fn remove_abandoned(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            match fs::remove_file(entry.path()) {
                Ok(()) => tracing::info!("removed {}, which an interrupted backup left", entry.path().display()),
                Err(error) => tracing::warn!(%error, "{} cannot be removed", entry.path().display()),
            }
        }
    }
}

fn require_room(folder: &Path, bytes: u64, reserve: u64) -> Result<(), SnapshotError> {
    let needed = bytes.max(SMALLEST_BYTES);
    match disk::space(folder) {
        Some(space) if space.free < needed.saturating_add(reserve) => Err(SnapshotError::NoRoom {
            needed,
            reserve,
            free: space.free,
            folder: folder.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn copy(
    txn: &ReadTransaction,
    folder: &Path,
    schema: u32,
    given_up: &dyn Fn() -> bool,
) -> Result<Snapshot, SnapshotError> {
    let mut snapshot = Snapshot {
        path: folder.join(format!("{PREFIX}{}.redb", hex::encode(rand::random::<[u8; 8]>()))),
        schema,
        rows: BTreeMap::new(),
        instances: 0,
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&snapshot.path)
        .map_err(|error| SnapshotError::failed(redb::Error::Io(error)))?;
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(FileBackend::new(file).map_err(SnapshotError::failed)?)
        .map_err(SnapshotError::failed)?;
    let mut out = database.begin_write().map_err(SnapshotError::failed)?;
    // So that opening it need not walk it.
    out.set_quick_repair(true);
    for table in txn.list_tables().map_err(SnapshotError::failed)? {
        let name = table.name().to_owned();
        let definition: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new(&name);
        let from = txn.open_table(definition).map_err(SnapshotError::failed)?;
        let mut to = out.open_table(definition).map_err(SnapshotError::failed)?;
        let mut rows = 0;
        for row in from.iter().map_err(SnapshotError::failed)? {
            let (key, value) = row.map_err(SnapshotError::failed)?;
            to.insert(key.value(), value.value()).map_err(SnapshotError::failed)?;
            if name == tables::INSTANCES.name() && !is_deleted(value.value()) {
                snapshot.instances += 1;
            }
            rows += 1;
            if rows % ROWS_BETWEEN_LOOKS == 0 && given_up() {
                return Err(SnapshotError::GivenUp);
            }
        }
        if rows != from.len().map_err(SnapshotError::failed)? {
            return Err(SnapshotError::Failed(
                format!("the table {name} lost rows on the way").into(),
            ));
        }
        snapshot.rows.insert(name, rows);
    }
    out.commit().map_err(SnapshotError::failed)?;
    database.close().map_err(SnapshotError::failed)?;
    File::open(&snapshot.path)
        .and_then(|file| file.sync_all())
        .map_err(|error| SnapshotError::failed(redb::Error::Io(error)))?;
    Ok(snapshot)
}

/// Whether a row of the table of instances is one that was deleted.
fn is_deleted(row: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(row).is_ok_and(|row| !row["deleted_at"].is_null())
}
