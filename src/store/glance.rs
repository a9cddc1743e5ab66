//! Which version wrote a file, without opening it for writing and without its lock.
//!
//! For looking at an installation from outside: taking the lock, even shared and for a moment, would make a server
//! fail that starts just then. So the file is read as it lies, and what the database wants to write while opening
//! (it notes that the file is open, and mends one that was not closed cleanly) stays in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redb::{Database, StorageBackend};

use super::error::OpenError;
use super::schema;
use crate::sys::clock;

/// Page cache while looking.
const CACHE_BYTES: usize = 1 << 20;

/// A file that needs more mending than this is not looked into.
const MENDED_WITHIN: Duration = Duration::from_secs(3);

/// What is remembered of a written file at once.
const PAGE: u64 = 4096;

/// Who wrote a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Glimpse {
    /// The number of its format.
    pub schema: u32,
    /// The version of the program.
    pub written_by: String,
}

/// Looks into a file that nobody has open; `None` when nothing was ever written into it.
pub fn glance(path: &Path) -> Result<Option<Glimpse>, OpenError> {
    let file = File::open(path).map_err(|error| OpenError::Failed(error.into()))?;
    let length = file.metadata().map_err(|error| OpenError::Failed(error.into()))?.len();
    let backend = InMemoryOver {
        file,
        changed: Mutex::new(Changed {
            length,
            kept: length,
            pages: HashMap::new(),
        }),
    };
    let until = clock::moment().plus(MENDED_WITHIN);
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .set_repair_callback(move |session| {
            if clock::moment() > until {
                session.abort();
            }
        })
        .create_with_backend(backend)?;
    schema::written(&database)
}

/// A file that takes no writes, under a layer in memory that does.
#[derive(Debug)]
struct InMemoryOver {
    file: File,
    changed: Mutex<Changed>,
}

#[derive(Debug)]
struct Changed {
    length: u64,
    /// What of the file still shows: a file that was cut and grown again is zero behind the cut.
    kept: u64,
    pages: HashMap<u64, Vec<u8>>,
}

impl InMemoryOver {
    fn page(&self, changed: &Changed, number: u64) -> io::Result<Vec<u8>> {
        if let Some(page) = changed.pages.get(&number) {
            return Ok(page.clone());
        }
        let start = number * PAGE;
        let there = usize::try_from(changed.kept.saturating_sub(start).min(PAGE)).unwrap_or(0);
        let mut page = vec![0; usize::try_from(PAGE).unwrap_or(0)];
        self.file.read_exact_at(&mut page[..there], start)?;
        Ok(page)
    }
}

/// The parts of a stretch: number of the page, where in it, where in the stretch, how much.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let inside = usize::try_from(at % PAGE).unwrap_or(0);
        let count = (usize::try_from(PAGE).unwrap_or(0) - inside).min(length - done);
        let part = (at / PAGE, inside, done, count);
        done += count;
        Some(part)
    })
}

impl StorageBackend for InMemoryOver {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changed.lock().unwrap_or_else(PoisonError::into_inner).length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        if offset + out.len() as u64 > changed.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if changed.pages.is_empty() && offset + out.len() as u64 <= changed.kept {
            return self.file.read_exact_at(out, offset);
        }
        for (number, inside, done, count) in parts(offset, out.len()) {
            let page = self.page(&changed, number)?;
            out[done..done + count].copy_from_slice(&page[inside..inside + count]);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        if len < changed.length {
            let last = len / PAGE;
            let mut page = self.page(&changed, last)?;
            page[usize::try_from(len % PAGE).unwrap_or(0)..].fill(0);
            changed.pages.retain(|number, _| *number < last);
            changed.pages.insert(last, page);
            changed.kept = changed.kept.min(len);
        }
        changed.length = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, inside, done, count) in parts(offset, data.len()) {
            let mut page = self.page(&changed, number)?;
            page[inside..inside + count].copy_from_slice(&data[done..done + count]);
            changed.pages.insert(number, page);
        }
        changed.length = changed.length.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Options, SCHEMA, Store};
    use super::*;

    fn options(path: &Path) -> Options {
        Options {
            path: path.to_owned(),
            cache_bytes: 1 << 20,
            reserve_bytes: 0,
        }
    }

    #[tokio::test]
    async fn a_file_is_looked_into_without_a_byte_of_it_changing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let store = Store::open(&options(&path), Arc::new(|_| {})).unwrap();
        // As a killed process would have left it: its database was never closed.
        let killed = folder.path().join("killed.redb");
        std::fs::copy(&path, &killed).unwrap();
        store.close().await;
        for path in [&path, &killed] {
            let before = std::fs::read(path).unwrap();
            let found = glance(path).unwrap().unwrap();
            assert_eq!(
                (found.schema, found.written_by.as_str()),
                (SCHEMA, env!("CARGO_PKG_VERSION"))
            );
            assert_eq!(std::fs::read(path).unwrap(), before);
        }
    }

    #[tokio::test]
    async fn a_look_takes_no_lock_and_hinders_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        Store::open(&options(&path), Arc::new(|_| {})).unwrap().close().await;
        let file = File::open(&path).unwrap();
        file.lock().unwrap();
        assert!(glance(&path).unwrap().is_some(), "another's lock is not asked for");
        drop(file);
        let watched = File::open(&path).unwrap();
        let looks = std::thread::spawn(move || (0..20).all(|_| glance(&path).is_ok_and(|found| found.is_some())));
        while !looks.is_finished() {
            watched.try_lock().unwrap();
            watched.unlock().unwrap();
        }
        assert!(looks.join().unwrap());
    }

    #[test]
    fn what_is_no_store_is_told_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        assert!(glance(&path).is_err() && !path.exists());
        std::fs::write(&path, "").unwrap();
        assert_eq!(glance(&path).unwrap(), None);
        std::fs::write(&path, [7; 10_000]).unwrap();
        assert!(glance(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), [7; 10_000]);
    }

    #[test]
    fn the_layer_in_memory_reads_like_a_file_that_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![1; 10_000]).unwrap();
        let over = InMemoryOver {
            file: File::open(&path).unwrap(),
            changed: Mutex::new(Changed {
                length: 10_000,
                kept: 10_000,
                pages: HashMap::new(),
            }),
        };
        let mut expected = vec![1; 10_000];
        let check = |expected: &[u8]| {
            assert_eq!(over.len().unwrap(), expected.len() as u64);
            let mut read = vec![9; expected.len()];
            over.read(0, &mut read).unwrap();
            assert!(read == expected);
            assert!(over.read(1, &mut read).is_err());
        };
        check(&expected);
        over.write(4090, &[2; 4200]).unwrap();
        expected[4090..8290].fill(2);
        check(&expected);
        over.set_len(5000).unwrap();
        over.set_len(9000).unwrap();
        expected.truncate(5000);
        expected.resize(9000, 0);
        check(&expected);
        over.write(8999, &[3, 3]).unwrap();
        expected[8999] = 3;
        expected.push(3);
        check(&expected);
        assert_eq!(std::fs::read(&path).unwrap(), vec![1; 10_000]);
    }
}
