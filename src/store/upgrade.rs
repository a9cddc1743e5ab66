//! What is done before a file of an older version is written to: a copy of it, beside it.
//!
//! The copy is what leads back to the older program, so it is complete before the first byte of the file changes, and
//! without it nothing is changed. It is taken of the file as the older program left it, under the file's lock. The two
//! newest copies stay, and the older ones go only after an upgrade that succeeded.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use redb::Database;

use super::error::OpenError;
use super::peek::{Inspected, Peek};
use super::schema::SCHEMA;
use super::{open_file, private_file};
use crate::sys::{clock, disk};

/// Copies that stay, the newest.
const KEPT: usize = 2;

/// What a migration needs beside the copy.
const MARGIN_BYTES: u64 = 8 << 20;

/// A file was brought to this version's schema.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upgraded {
    /// From this schema.
    pub from: u32,
    /// The version that wrote it last.
    pub written_by: String,
    /// Where it is kept as it was.
    pub copy: PathBuf,
}

impl std::fmt::Display for Upgraded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the store goes from schema {} to {SCHEMA}; as WhatIsUp {} left it, it is kept in {}. To go back: stop the \
             gateway, put that file in the place of store.redb and start WhatIsUp {}",
            self.from,
            self.written_by,
            self.copy.display(),
            self.written_by
        )
    }
}

/// Opens the file for writing, making it if `create` says so: refuses what a newer version wrote before anything is
/// changed, and keeps a copy of what an older one wrote.
pub(super) fn begin(path: &Path, cache_bytes: usize, create: bool) -> Result<(Database, Option<Upgraded>), OpenError> {
    let Some(peek) = Peek::at(path)? else {
        return Ok((open_file(path, cache_bytes, create)?, None));
    };
    let mut upgraded = None;
    if let Some(written) = peek.written()? {
        let found = Inspected::from(written);
        found.require_known()?;
        if found.schema < SCHEMA {
            let copy = keep(path, &peek, &found)?;
            let done = Upgraded {
                from: found.schema,
                written_by: found.written_by,
                copy,
            };
            tracing::info!("{done}");
            upgraded = Some(done);
        }
    }
    // Only now: whoever is refused finds everything as it was.
    private_file(path, false).map_err(|error| OpenError::Failed(error.into()))?;
    Ok((peek.open(cache_bytes)?, upgraded))
}

/// The upgrade has succeeded: of the copies only the newest stay.
pub(super) fn forget_old_copies(path: &Path) {
    let mut copies = copies(path);
    copies.sort_by(|a, b| b.cmp(a));
    for (_, copy) in copies.drain(KEPT.min(copies.len())..) {
        match fs::remove_file(&copy) {
            Ok(()) => tracing::info!("removed {}, the copy of an older upgrade", copy.display()),
            Err(error) => tracing::warn!(%error, "the old copy {} cannot be removed", copy.display()),
        }
    }
}

/// The copy of this state of the file: one that a start before this one made, or a new one.
fn keep(path: &Path, peek: &Peek, found: &Inspected) -> Result<PathBuf, OpenError> {
    let head = peek.head_row()?;
    // A start that was killed, or failed, after its copy must not fill the disk with more of the same.
    let same = |copy: &Path| -> Result<bool, OpenError> {
        let Some(other) = Peek::at(copy)? else {
            return Ok(false);
        };
        let schema = other.written()?.map(|written| written.schema);
        Ok(schema == Some(found.schema) && other.head_row()? == head)
    };
    for (_, copy) in copies(path) {
        if same(&copy).unwrap_or(false) {
            return Ok(copy);
        }
    }
    write_copy(path, peek.file(), found.schema).map_err(|problem| OpenError::NotCopied {
        found: found.schema,
        known: SCHEMA,
        problem,
    })
}

fn write_copy(path: &Path, file: &File, schema: u32) -> Result<PathBuf, String> {
    let folder = folder(path);
    let meta = file.metadata().map_err(|error| error.to_string())?;
    let needed = meta.len() + MARGIN_BYTES;
    if let Some(space) = disk::space(folder).filter(|space| space.free < needed) {
        return Err(format!(
            "that needs {} MiB in {}, and {} MiB are free; free some space, then start again",
            needed.div_ceil(1 << 20),
            folder.display(),
            space.free >> 20
        ));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Digits alone, so that names sort by their time.
    let stamp: String = clock::now().to_string().chars().filter(char::is_ascii_digit).collect();
    let copy = folder.join(format!("{name}.schema-{schema}-{stamp}.bak"));
    // One name for all attempts: what a kill left half done goes with the next.
    let draft = folder.join(format!(".{name}.bak.part"));
    let written = write_draft(file, &meta, &draft)
        .and_then(|()| fs::rename(&draft, &copy))
        .and_then(|()| File::open(folder)?.sync_all());
    if let Err(error) = written {
        // It may not be there at all.
        let _ = fs::remove_file(&draft);
        return Err(format!("{} cannot be written: {error}", copy.display()));
    }
    Ok(copy)
}

fn write_draft(mut file: &File, meta: &fs::Metadata, draft: &Path) -> io::Result<()> {
    // Root may do this in the folder of a service: a link that waits there must not lead it elsewhere.
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)?;
    let own = out.metadata()?;
    if (own.uid(), own.gid()) != (meta.uid(), meta.gid()) {
        // Root upgrades the state of a service; where that is not allowed the copy is as good.
        let _ = std::os::unix::fs::fchown(&out, Some(meta.uid()), Some(meta.gid()));
    }
    file.rewind()?;
    let copied = io::copy(&mut file, &mut out)?;
    if copied != meta.len() {
        return Err(io::Error::other("the file was cut short"));
    }
    out.sync_all()
}

/// The copies beside the file, each with the digits of its time.
fn copies(path: &Path) -> Vec<(String, PathBuf)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let begin = format!("{name}.schema-");
    let Ok(entries) = fs::read_dir(folder(path)) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (_, stamp) = name.strip_prefix(&begin)?.strip_suffix(".bak")?.split_once('-')?;
            Some((stamp.to_owned(), entry.path()))
        })
        .collect()
}

fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."))
}
