//! The form of a backup: a gzipped tar of a snapshot of the store, the two keys beside it, and a list of all that with
//! sizes and hashes, which comes first. What does not fit the list is not taken.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::domain::Timestamp;
use crate::store::Snapshot;
use crate::sys::secret::Secret;

/// The form this version writes, and the newest it reads.
const FORMAT: u32 = 1;

/// The list of what is inside.
const MANIFEST: &str = "manifest.json";

/// The store.
pub const STORE: &str = "store.redb";

/// What turns API keys into what the store keeps.
pub const PEPPER: &str = "pepper";

/// What seals the signing secrets of webhooks.
pub const SECRETS_KEY: &str = "secrets.key";

/// What may be inside, besides the list.
const KNOWN: [&str; 3] = [STORE, PEPPER, SECRETS_KEY];

/// The largest list.
const LARGEST_MANIFEST: u64 = 64 << 10;

/// The largest file that is a key.
const LARGEST_KEY: u64 = 4096;

/// What may follow the last file: the end mark of a tar and the rest of its last record.
const LARGEST_TAIL: u64 = 64 << 10;

/// What is in a backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of the archive.
    pub format: u32,
    /// The version that made it.
    pub program: String,
    /// The schema of the store.
    pub schema: u32,
    /// When the snapshot was taken.
    pub created_at: Timestamp,
    /// Instances in it.
    pub instances: u64,
    /// Events in its journal.
    pub events: u64,
    /// Its files, in their order.
    pub files: Vec<Listed>,
}

/// A file in a backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
}

/// The keys that belong to a store, each as the text of its file.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The pepper.
    pub pepper: Secret,
    /// The key of secrets; stores of before webhooks have none.
    pub secrets_key: Option<Secret>,
}

impl Keys {
    /// The keys as their bytes.
    pub fn of(pepper: &[u8; 32], secrets_key: Option<&[u8; 32]>) -> Self {
        let text = |bytes: &[u8; 32]| Secret::new(hex::encode(bytes));
        Self {
            pepper: text(pepper),
            secrets_key: secrets_key.map(text),
        }
    }
}

/// An archive that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadArchive {
    /// Something else entirely.
    #[error("this is no backup of WhatIsUp: {0}")]
    Foreign(String),
    /// Made by a newer version.
    #[error(
        "this backup was made by WhatIsUp {program}, in a form that this version does not know; restore it with that version or a newer one"
    )]
    Newer {
        /// Which version.
        program: String,
    },
    /// It ends too early.
    #[error("the backup is cut off: it ends before everything in its list has come")]
    Truncated,
    /// Its bytes are not those that were written.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// It could not be read.
    #[error("the backup cannot be read: {0}")]
    Unreadable(io::Error),
    /// What is inside could not be written.
    #[error("{name} cannot be written: {source}")]
    Unwritable {
        /// Which file.
        name: String,
        /// Why.
        source: io::Error,
    },
}

impl BadArchive {
    /// What an error of reading says about the archive.
    fn reading(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            // The tar reader has no kind of its own for what it does not understand.
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
                Self::Damaged(error.to_string())
            }
            _ => Self::Unreadable(error),
        }
    }
}

/// Writes an archive of a snapshot and its keys.
pub fn pack(snapshot: &Snapshot, keys: &Keys, created_at: Timestamp, out: impl Write) -> io::Result<Manifest> {
    let text = |secret: &Secret| format!("{}\n", secret.expose()).into_bytes();
    let mut small = vec![(PEPPER, text(&keys.pepper))];
    small.extend(keys.secrets_key.as_ref().map(|key| (SECRETS_KEY, text(key))));
    let mut store = File::open(snapshot.path())?;
    let mut hash = Sha256::new();
    let bytes = io::copy(&mut store, &mut Hashing(&mut hash))?;
    let mut files = vec![Listed {
        name: STORE.to_owned(),
        bytes,
        sha256: hex::encode(hash.finalize()),
    }];
    files.extend(small.iter().map(|(name, content)| Listed {
        name: (*name).to_owned(),
        bytes: content.len() as u64,
        sha256: hex::encode(Sha256::digest(content)),
    }));
    let manifest = Manifest {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        schema: snapshot.schema,
        created_at,
        instances: snapshot.instances,
        events: snapshot.events(),
        files,
    };
    let list = serde_json::to_vec_pretty(&manifest)?;
    let mut tar = tar::Builder::new(GzEncoder::new(out, Compression::default()));
    let modified = u64::try_from(created_at.millis() / 1000).unwrap_or(0);
    let mut append = |name: &str, bytes: u64, content: &mut dyn Read| {
        let mut header = tar::Header::new_ustar();
        header.set_path(name)?;
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(modified);
        header.set_cksum();
        tar.append(&header, content)
    };
    append(MANIFEST, list.len() as u64, &mut list.as_slice())?;
    append(STORE, bytes, &mut File::open(snapshot.path())?.take(bytes))?;
    for (name, content) in &small {
        append(name, content.len() as u64, &mut content.as_slice())?;
    }
    tar.into_inner()?.finish()?.flush()?;
    Ok(manifest)
}

/// Where files are unpacked, and whose they become.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// User and group.
    pub owner: Option<(u32, u32)>,
}

/// Reads an archive to its very end and holds it against its list; with a place, its files are written there.
///
/// Whatever is wrong, the folder may hold some of the files then: it must be one that can be thrown away.
pub fn unpack(input: impl Read, into: Option<Place<'_>>) -> Result<Manifest, BadArchive> {
    let mut input = BufReader::new(input);
    if input.fill_buf().map_err(BadArchive::reading)?.is_empty() {
        return Err(BadArchive::Foreign("it is empty".to_owned()));
    }
    let mut archive = tar::Archive::new(GzDecoder::new(&mut input));
    // Raw: no extension of the format is followed, so every entry is a name of ours or refused.
    let mut entries = archive.entries().map_err(BadArchive::reading)?.raw(true);
    let manifest = read_manifest(entries.next())?;
    for listed in &manifest.files {
        let mut entry = match entries.next() {
            Some(entry) => entry.map_err(BadArchive::reading)?,
            None => return Err(BadArchive::Truncated),
        };
        require_plain(&entry, &listed.name)?;
        if entry.size() != listed.bytes {
            return Err(BadArchive::Damaged(format!(
                "{} has another size than its list says",
                listed.name
            )));
        }
        take(&mut entry, listed, into)?;
    }
    if let Some(more) = entries.next() {
        more.map_err(BadArchive::reading)?;
        return Err(BadArchive::Damaged("it holds more than its list says".into()));
    }
    // To the end, because the checksums of gzip and of the encryption stand there.
    let mut packed = archive.into_inner();
    let tail = io::copy(&mut packed.by_ref().take(LARGEST_TAIL + 1), &mut io::sink()).map_err(BadArchive::reading)?;
    let behind = io::copy(&mut packed.into_inner().take(1), &mut io::sink()).map_err(BadArchive::reading)?;
    if tail > LARGEST_TAIL || behind > 0 {
        return Err(BadArchive::Damaged("something stands behind its end".into()));
    }
    Ok(manifest)
}

/// What every list has, however new.
#[derive(Deserialize)]
struct Form {
    format: u32,
    program: String,
}

fn read_manifest<R: Read>(first: Option<io::Result<tar::Entry<'_, R>>>) -> Result<Manifest, BadArchive> {
    let foreign = |what: &str| BadArchive::Foreign(what.to_owned());
    let mut entry = match first {
        None => return Err(foreign("it is empty")),
        Some(Ok(entry)) => entry,
        Some(Err(error)) => {
            return Err(match error.kind() {
                io::ErrorKind::UnexpectedEof => BadArchive::Truncated,
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
                    foreign("it is no gzipped tar")
                }
                _ => BadArchive::Unreadable(error),
            });
        }
    };
    if entry.path_bytes().as_ref() != MANIFEST.as_bytes() {
        return Err(foreign("it does not begin with its list, manifest.json"));
    }
    require_plain(&entry, MANIFEST)?;
    if entry.size() > LARGEST_MANIFEST {
        return Err(foreign("its list, manifest.json, is far too large"));
    }
    let mut text = Vec::new();
    entry.read_to_end(&mut text).map_err(BadArchive::reading)?;
    let bad = |_| foreign("its list, manifest.json, cannot be understood");
    // The form first: a newer list may look different.
    let form: Form = serde_json::from_slice(&text).map_err(bad)?;
    if form.format > FORMAT {
        return Err(BadArchive::Newer { program: form.program });
    }
    let manifest: Manifest = serde_json::from_slice(&text).map_err(bad)?;
    let mut names = BTreeSet::new();
    for listed in &manifest.files {
        if !KNOWN.contains(&listed.name.as_str()) || !names.insert(listed.name.as_str()) {
            return Err(foreign("its list names a file that no backup has, or one twice"));
        }
        if listed.name != STORE && listed.bytes > LARGEST_KEY {
            return Err(foreign("a key in it is far too large"));
        }
    }
    if !names.contains(STORE) || !names.contains(PEPPER) {
        return Err(foreign("the store or its pepper is not in its list"));
    }
    Ok(manifest)
}

/// Refuses links, folders, devices, and every name but the expected one.
fn require_plain<R: Read>(entry: &tar::Entry<'_, R>, name: &str) -> Result<(), BadArchive> {
    if entry.header().entry_type() != tar::EntryType::Regular {
        return Err(BadArchive::Damaged("something in it is no plain file".into()));
    }
    if entry.path_bytes().as_ref() != name.as_bytes() {
        return Err(BadArchive::Damaged(format!("{name} is not where its list says")));
    }
    Ok(())
}

fn take(entry: &mut impl Read, listed: &Listed, into: Option<Place<'_>>) -> Result<(), BadArchive> {
    let unwritable = |source| BadArchive::Unwritable {
        name: listed.name.clone(),
        source,
    };
    let mut file = into
        .map(|place| {
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(place.folder.join(&listed.name))?;
            // By the handle: what a name stands for may change under the hands of root.
            if let Some((user, group)) = place.owner {
                std::os::unix::fs::fchown(&file, Some(user), Some(group))?;
            }
            Ok(file)
        })
        .transpose()
        .map_err(unwritable)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    let mut bytes = 0;
    loop {
        let count = entry.read(&mut piece).map_err(BadArchive::reading)?;
        if count == 0 {
            break;
        }
        bytes += count as u64;
        hash.update(&piece[..count]);
        if let Some(file) = &mut file {
            file.write_all(&piece[..count]).map_err(unwritable)?;
        }
    }
    if bytes != listed.bytes {
        return Err(BadArchive::Truncated);
    }
    if hex::encode(hash.finalize()) != listed.sha256 {
        return Err(BadArchive::Damaged(format!("{} is not what was packed", listed.name)));
    }
    file.map_or(Ok(()), |file| file.sync_all()).map_err(unwritable)
}

/// Takes what is written into a hash.
struct Hashing<'a>(&'a mut Sha256);

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
