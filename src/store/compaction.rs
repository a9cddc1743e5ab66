//! Gives back to the disk what sweeping left free inside the file. Offline, because it moves nearly every page.

use std::path::Path;

use super::error::OpenError;
use super::schema;
use super::upgrade::{self, Upgraded};

/// Page cache while compacting.
const CACHE_BYTES: usize = 64 << 20;

/// What a compaction achieved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compacted {
    /// Size of the file before, in bytes.
    pub before: u64,
    /// Size of the file after, in bytes.
    pub after: u64,
    /// What was done to a file of an older version before.
    pub upgraded: Option<Upgraded>,
}

/// Compacts a file that no process has open; it must exist. Needs no space beside the file; a crash loses nothing.
pub fn compact(path: &Path) -> Result<Compacted, OpenError> {
    let size = || {
        std::fs::metadata(path)
            .map(|metadata| metadata.len())
            .map_err(|error| OpenError::Failed(error.into()))
    };
    let before = size()?;
    let (mut database, upgraded) = upgrade::begin(path, CACHE_BYTES, false)?;
    schema::prepare(&database)?;
    if upgraded.is_some() {
        upgrade::forget_old_copies(path);
    }
    while database.compact().map_err(OpenError::failed)? {}
    database.close()?;
    Ok(Compacted {
        before,
        after: size()?,
        upgraded,
    })
}
