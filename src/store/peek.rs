//! Looking into the file without changing a byte of it, also when it was not closed properly.
//!
//! Opening a redb file writes to it: a repair after a crash, and a mark that somebody has it. So a look opens an overlay
//! that keeps every write in memory; a repair is a few pages there. The look takes the lock of the file and can hand it
//! on to the real opening, so that nobody else writes in between.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, Database, ReadableDatabase as _, StorageBackend};

use super::error::OpenError;
use super::journal::HEAD;
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
    Ok(written.map(|written| Inspected {
        schema: written.schema,
        written_by: written.written_by,
    }))
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
        let overlay = Overlay::on(Arc::clone(&under)).map_err(failed)?;
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

/// A range of bytes to be locked.
type Range = (Bound<u64>, Bound<u64>);

macro_rules! locks_below {
    () => {
        fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
            self.under().try_lock_range(start, end)
        }

        fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
            self.under().try_lock_shared_range(start, end)
        }

        fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
            self.under().lock_range(start, end)
        }

        fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
            self.under().lock_shared_range(start, end)
        }

        fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
            self.under().query_lock_range(start, end)
        }

        fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
            self.unlock((start, end))
        }
    };
}

/// The file itself, with the lock that a look has taken.
#[derive(Debug)]
struct Kept(Arc<FileBackend>);

impl Kept {
    fn under(&self) -> &FileBackend {
        &self.0
    }

    fn unlock(&self, (start, end): Range) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }
}

impl StorageBackend for Kept {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    locks_below!();
}

/// The size of the pieces in which changes are kept.
const BLOCK: u64 = BLOCK_BYTES as u64;
const BLOCK_BYTES: usize = 4096;

/// The file with changes that stay in memory.
#[derive(Debug)]
struct Overlay {
    under: Arc<FileBackend>,
    state: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    /// How long the file looks.
    len: u64,
    /// Up to where the file below may show: as short as it ever was cut.
    solid: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    fn on(under: Arc<FileBackend>) -> io::Result<Self> {
        let len = under.len()?;
        let state = Mutex::new(Changes {
            len,
            solid: len,
            blocks: BTreeMap::new(),
        });
        Ok(Self { under, state })
    }

    fn under(&self) -> &FileBackend {
        &self.under
    }

    /// Keeps the lock, for the real opening; who only looked gives it up by closing the file.
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "one of two forms of the same call"
    )]
    fn unlock(&self, _: Range) -> Result<(), BackendError> {
        Ok(())
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One block as it looks.
    fn block(&self, changes: &Changes, number: u64) -> io::Result<Vec<u8>> {
        if let Some(block) = changes.blocks.get(&number) {
            return Ok(block.clone());
        }
        let mut block = vec![0; BLOCK_BYTES];
        let there = changes.solid.saturating_sub(number * BLOCK).min(BLOCK);
        if there > 0 {
            self.under
                .read(number * BLOCK, &mut block[..usize::try_from(there).unwrap_or(0)])?;
        }
        Ok(block)
    }
}

/// The parts of `length` bytes from `offset` on, block by block: the block, where in it, how many.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut at = offset;
    let end = offset + length as u64;
    std::iter::from_fn(move || {
        (at < end).then(|| {
            let (number, within) = (at / BLOCK, at % BLOCK);
            let count = (BLOCK - within).min(end - at);
            at += count;
            // All three are at most a block.
            #[expect(clippy::cast_possible_truncation, reason = "at most the size of a block")]
            (number, within as usize, count as usize)
        })
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes();
        let end = offset + out.len() as u64;
        if end > changes.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let untouched = changes.blocks.range(offset / BLOCK..=end / BLOCK).next().is_none();
        if untouched && end <= changes.solid {
            drop(changes);
            return self.under.read(offset, out);
        }
        let mut filled = 0;
        for (number, within, count) in parts(offset, out.len()) {
            let block = self.block(&changes, number)?;
            out[filled..filled + count].copy_from_slice(&block[within..within + count]);
            filled += count;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changes = self.changes();
        if len < changes.len {
            changes.solid = changes.solid.min(len);
            changes.blocks.split_off(&len.div_ceil(BLOCK));
            let (number, within) = (len / BLOCK, len % BLOCK);
            if let Some(block) = changes.blocks.get_mut(&number) {
                block[usize::try_from(within).unwrap_or(0)..].fill(0);
            }
        }
        changes.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes();
        let mut taken = 0;
        for (number, within, count) in parts(offset, data.len()) {
            let mut block = self.block(&changes, number)?;
            block[within..within + count].copy_from_slice(&data[taken..taken + count]);
            changes.blocks.insert(number, block);
            taken += count;
        }
        Ok(())
    }

    locks_below!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_reads_like_a_file_that_was_written_and_leaves_the_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (below, beside) = (folder.path().join("below"), folder.path().join("beside"));
        let content: Vec<u8> = (0..20_000u32).map(|at| (at % 251) as u8).collect();
        std::fs::write(&below, &content).unwrap();
        std::fs::write(&beside, &content).unwrap();
        let backend = |path: &Path| FileBackend::new(open(path).unwrap().unwrap()).unwrap();
        let overlay = Overlay::on(Arc::new(backend(&below))).unwrap();
        let beside = backend(&beside);
        let both: [&dyn StorageBackend; 2] = [&overlay, &beside];
        for one in both {
            one.write(4_090, &[7; 20]).unwrap();
            one.set_len(9_000).unwrap();
            one.set_len(30_000).unwrap();
            one.write(16_384, &[9; 5_000]).unwrap();
            one.set_len(17_000).unwrap();
            one.set_len(24_000).unwrap();
        }
        for (offset, length) in [(0, 24_000), (4_089, 3), (8_999, 2), (16_383, 1_000), (100, 0)] {
            let read = both.map(|one| {
                let mut out = vec![1; length];
                one.read(offset, &mut out).unwrap();
                out
            });
            assert!(read[0] == read[1], "{length} bytes from {offset}");
        }
        assert_eq!(both.map(|one| one.len().unwrap()), [24_000; 2]);
        assert!(overlay.read(23_999, &mut [0; 2]).is_err());
        assert!(std::fs::read(&below).unwrap() == content);
    }
}
