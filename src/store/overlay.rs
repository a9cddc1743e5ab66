//! A file under a layer in memory that takes the writes: what redb writes while opening is forgotten.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

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
pub(super) struct Kept(pub(super) Arc<FileBackend>);

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

/// A file with changes that stay in memory.
#[derive(Debug)]
pub(super) struct Overlay<B> {
    under: B,
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

impl<B: StorageBackend> Overlay<B> {
    /// Nothing changed yet.
    pub(super) fn on(under: B) -> io::Result<Self> {
        let len = under.len()?;
        let state = Mutex::new(Changes {
            len,
            solid: len,
            blocks: BTreeMap::new(),
        });
        Ok(Self { under, state })
    }

    const fn under(&self) -> &B {
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

impl<B: StorageBackend> StorageBackend for Overlay<B> {
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
    use std::fs::File;
    use std::path::Path;

    use super::*;

    #[test]
    fn an_overlay_reads_like_a_file_that_was_written_and_leaves_the_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (below, beside) = (folder.path().join("below"), folder.path().join("beside"));
        let content: Vec<u8> = (0..20_000u32).map(|at| (at % 251) as u8).collect();
        std::fs::write(&below, &content).unwrap();
        std::fs::write(&beside, &content).unwrap();
        let backend =
            |path: &Path| FileBackend::new(File::options().read(true).write(true).open(path).unwrap()).unwrap();
        let overlay = Overlay::on(backend(&below)).unwrap();
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
