//! Looking into the file without changing a byte of it, also when it was not closed properly.
//!
//! Opening a redb file writes to it: a repair after a crash, and a mark that somebody has it. So a look opens an overlay
//! that keeps every write in memory; a repair is a few pages there. The look takes the lock of the file and can hand it
//! on to the real opening, so that nobody else writes in between.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase as _, StorageBackend as _};

use super::error::OpenError;
use super::journal::HEAD;
use super::overlay::{Kept, Overlay};
use super::schema::{self, SCHEMA, Written};
use super::tables::META;

/// Page cache of a look.
const CACHE_BYTES: usize = 16 << 20;

/// What a file says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspected {
    /// The schema of its tables.
    pub schema: u32,
    /// The version that wrote it last.
    pub written_by: String,
}

impl From<Written> for Inspected {
    fn from(Written { schema, written_by }: Written) -> Self {
        Self { schema, written_by }
    }
}

impl Inspected {
    /// Refuses what a newer version wrote.
    pub fn require_known(&self) -> Result<(), OpenError> {
        if self.schema <= SCHEMA {
            return Ok(());
        }
        Err(OpenError::Newer {
            found: self.schema,
            written_by: self.written_by.clone(),
            known: SCHEMA,
        })
    }
}

/// Looks into a file; `None` when there is none or nothing in it. Refused while another process has it.
pub fn inspect(path: &Path) -> Result<Option<Inspected>, OpenError> {
    let Some(peek) = Peek::at(path)? else {
        return Ok(None);
    };
    let written = peek.written()?;
    Ok(written.map(Inspected::from))
}

/// The lock of a store's file, held until dropped.
#[derive(Debug)]
pub struct Held {
    _file: FileBackend,
}

/// Locks a file whatever is in it, so that no server opens it; `None` when there is none.
pub fn hold(path: &Path) -> Result<Option<Held>, OpenError> {
    let Some(file) = open(path)? else {
        return Ok(None);
    };
    let file = FileBackend::new(file)?;
    match file.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
        Ok(false) => Err(OpenError::InUse),
        // A file system without locks cannot hold anybody off; the database has the same trouble there.
        Ok(true) | Err(_) => Ok(Some(Held { _file: file })),
    }
}

/// A file that is being looked into.
pub(super) struct Peek {
    /// On the overlay: what is written here is forgotten.
    pub(super) database: Database,
    under: Arc<FileBackend>,
    file: File,
}

impl Peek {
    /// Opens the file and locks it; `None` when there is none or nothing in it.
    pub(super) fn at(path: &Path) -> Result<Option<Peek>, OpenError> {
        let failed = |error: io::Error| OpenError::Failed(error.into());
        let Some(file) = open(path)? else {
            return Ok(None);
        };
        if file.metadata().map_err(failed)?.len() == 0 {
            return Ok(None);
        }
        let copy = file.try_clone().map_err(failed)?;
        let under = Arc::new(FileBackend::new(file)?);
        let overlay = Overlay::on(Kept(Arc::clone(&under))).map_err(failed)?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(overlay)?;
        Ok(Some(Peek {
            database,
            under,
            file: copy,
        }))
    }

    /// What the file says about itself; `None` when it has no table.
    pub(super) fn written(&self) -> Result<Option<Written>, OpenError> {
        schema::read(&self.database)
    }

    /// The row of the head as it stands, which no two states of a store share.
    pub(super) fn head_row(&self) -> Result<Option<Vec<u8>>, OpenError> {
        let txn = self.database.begin_read().map_err(OpenError::failed)?;
        let meta = txn.open_table(META).map_err(OpenError::failed)?;
        let row = meta.get(HEAD).map_err(OpenError::failed)?;
        Ok(row.map(|row| row.value().to_vec()))
    }

    /// The file itself, of which nothing has been changed.
    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Ends the look and opens the file for writing; its lock is held all the time.
    pub(super) fn open(self, cache_bytes: usize) -> Result<Database, OpenError> {
        drop(self.database);
        Ok(Database::builder()
            .set_cache_size(cache_bytes)
            .create_with_backend(Kept(self.under))?)
    }
}

/// Reading and writing, because only then the lock can be taken; nothing is created or changed.
fn open(path: &Path) -> Result<Option<File>, OpenError> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OpenError::Failed(error.into())),
    }
}
