//! Which version wrote a file, without opening it for writing and without its lock.
//!
//! For looking at an installation from outside: taking the lock, even shared and for a moment, would make a server
//! fail that starts just then. So the file is read as it lies.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use redb::{Database, StorageBackend};

use super::error::OpenError;
use super::overlay::Overlay;
use super::peek::Inspected;
use super::schema;
use crate::sys::clock;

/// Page cache while looking.
const CACHE_BYTES: usize = 1 << 20;

/// A file that needs more mending than this is not looked into.
const MENDED_WITHIN: Duration = Duration::from_secs(3);

/// Looks into a file that nobody has open; `None` when nothing was ever written into it.
pub fn glance(path: &Path) -> Result<Option<Inspected>, OpenError> {
    let failed = |error: io::Error| OpenError::Failed(error.into());
    let file = File::open(path).map_err(failed)?;
    let until = clock::moment().plus(MENDED_WITHIN);
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .set_repair_callback(move |session| {
            if clock::moment() > until {
                session.abort();
            }
        })
        .create_with_backend(Overlay::on(Unwritten(file)).map_err(failed)?)?;
    Ok(schema::read(&database)?.map(Inspected::from))
}

/// A file that is read and nothing else; without a lock, since its backend offers none.
#[derive(Debug)]
struct Unwritten(File);

impl StorageBackend for Unwritten {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
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
}
