//! The sealed bytes, in the state folder or in memory, by their hash.
//!
//! Uploads are written piece by piece and get their name only when the hash is right, so a name always stands for
//! whole, checked bytes. What was cut off is kept for a while, because clients resume large uploads.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The SHA-256 of sealed bytes.
pub(crate) type Hash = [u8; 32];

/// Uploads under way at once; further ones wait.
const MOST_UPLOADS: usize = 32;
/// Uploads that were cut off and may be resumed; the oldest make room.
const MOST_PARTS: usize = 32;

/// Where the bytes are; clones are the same shelf.
#[derive(Clone)]
pub(crate) struct Shelf(Arc<Inner>);

struct Inner {
    folder: Option<PathBuf>,
    memory: Mutex<HashMap<Hash, Bytes>>,
    parts: Mutex<Vec<(Hash, Part)>>,
    last_part: AtomicU64,
    uploads: Semaphore,
}

/// An upload under way or cut off.
pub(crate) struct Part {
    bytes: PartBytes,
    hasher: Sha256,
    length: u64,
}

enum PartBytes {
    Memory(Vec<u8>),
    File { file: File, path: PathBuf },
}

/// Whole bytes, to be read.
pub(crate) enum Blob {
    Memory(Bytes),
    File(PathBuf),
}

impl Shelf {
    /// A shelf that is gone with the process.
    pub(crate) fn in_memory() -> Self {
        Self::new(None)
    }

    /// A shelf in a state folder, made if needed.
    pub(crate) fn in_folder(state: &Path) -> Result<Self> {
        let folder = state.join("media");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self::new(Some(folder)))
    }

    fn new(folder: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner {
            folder,
            memory: Mutex::default(),
            parts: Mutex::default(),
            last_part: AtomicU64::new(0),
            uploads: Semaphore::new(MOST_UPLOADS),
        }))
    }

    pub(super) fn is_on_disk(&self) -> bool {
        self.0.folder.is_some()
    }

    /// At the start: removes what no record speaks of, such as uploads that a killed process has left.
    pub(super) fn tidy(&self, known: &HashSet<Hash>) -> Result<()> {
        let Some(folder) = &self.0.folder else { return Ok(()) };
        let known: HashSet<String> = known.iter().map(hex::encode).collect();
        for entry in std::fs::read_dir(folder).context("cannot read the media folder")? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| known.contains(name)) {
                std::fs::remove_file(entry.path()).context("cannot tidy the media folder")?;
            }
        }
        Ok(())
    }

    /// Puts whole bytes there and gives their hash.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Hash> {
        let hash: Hash = Sha256::digest(bytes).into();
        if let Some(folder) = &self.0.folder {
            let path = folder.join(hex::encode(hash));
            let fresh = self.part_path(folder);
            std::fs::write(&fresh, bytes)
                .and_then(|()| std::fs::rename(&fresh, &path))
                .context("cannot write to the media folder")?;
        } else {
            locked(&self.0.memory).insert(hash, Bytes::copy_from_slice(bytes));
        }
        Ok(hash)
    }

    /// The bytes with this hash.
    pub(crate) fn blob(&self, hash: &Hash) -> Option<Blob> {
        match &self.0.folder {
            Some(folder) => {
                let path = folder.join(hex::encode(hash));
                path.exists().then_some(Blob::File(path))
            }
            None => locked(&self.0.memory).get(hash).cloned().map(Blob::Memory),
        }
    }

    pub(super) fn remove(&self, hash: &Hash) {
        match &self.0.folder {
            Some(folder) => {
                if let Err(error) = std::fs::remove_file(folder.join(hex::encode(hash))) {
                    tracing::warn!(%error, "could not remove a medium");
                }
            }
            None => {
                locked(&self.0.memory).remove(hash);
            }
        }
    }

    fn part_path(&self, folder: &Path) -> PathBuf {
        let number = self.0.last_part.fetch_add(1, Ordering::Relaxed);
        folder.join(format!("{number}.part"))
    }

    /// Waits for a turn to upload.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.0.uploads.acquire().await.ok()
    }

    /// Begins an upload.
    pub(super) fn begin(&self) -> io::Result<Part> {
        let bytes = match &self.0.folder {
            Some(folder) => {
                let path = self.part_path(folder);
                let file = File::create(&path)?;
                PartBytes::File { file, path }
            }
            None => PartBytes::Memory(Vec::new()),
        };
        Ok(Part {
            bytes,
            hasher: Sha256::new(),
            length: 0,
        })
    }

    /// How much of a cut-off upload is here.
    pub(super) fn resumable(&self, hash: &Hash) -> Option<u64> {
        let parts = locked(&self.0.parts);
        parts
            .iter()
            .find(|(other, _)| other == hash)
            .map(|(_, part)| part.length)
    }

    /// Takes a cut-off upload out again, if it ends where the client wants to go on.
    pub(super) fn resume(&self, hash: &Hash, offset: u64) -> Option<Part> {
        let mut parts = locked(&self.0.parts);
        let index = parts
            .iter()
            .position(|(other, part)| other == hash && part.length == offset)?;
        Some(parts.remove(index).1)
    }

    /// Keeps a cut-off upload; one of the same medium that got further stays instead.
    pub(super) fn keep(&self, hash: Hash, part: Part) {
        let mut parts = locked(&self.0.parts);
        if part.length == 0
            || parts
                .iter()
                .any(|(other, old)| *other == hash && old.length >= part.length)
        {
            part.discard();
            return;
        }
        if let Some(index) = parts.iter().position(|(other, _)| *other == hash) {
            parts.remove(index).1.discard();
        }
        if parts.len() >= MOST_PARTS {
            parts.remove(0).1.discard();
        }
        parts.push((hash, part));
    }

    /// Ends an upload; `false` when the bytes are not those of the hash.
    pub(super) fn finish(&self, hash: Hash, part: Part) -> io::Result<bool> {
        if <Hash>::from(part.hasher.clone().finalize()) != hash {
            part.discard();
            return Ok(false);
        }
        match part.bytes {
            PartBytes::Memory(bytes) => {
                locked(&self.0.memory).insert(hash, bytes.into());
            }
            PartBytes::File { path, .. } => std::fs::rename(&path, path.with_file_name(hex::encode(hash)))?,
        }
        Ok(true)
    }
}

impl Part {
    /// What is there already.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Adds bytes; in one step, so that a dropped request leaves no half of them.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.bytes {
            PartBytes::Memory(all) => all.extend_from_slice(bytes),
            PartBytes::File { file, .. } => file.write_all(bytes)?,
        }
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Forgets it.
    pub(super) fn discard(self) {
        if let PartBytes::File { path, .. } = self.bytes
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!(%error, "could not remove an unfinished upload");
        }
    }
}

impl Blob {
    /// All of it at once, unless it is longer than that; for phones, whose owners look at one medium at a time.
    pub(crate) fn read(self, most: u64) -> Result<Bytes> {
        let length = match &self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(path) => std::fs::metadata(path).context("the medium cannot be read")?.len(),
        };
        ensure!(
            length <= most,
            "the medium has {length} sealed bytes, more than its message says"
        );
        match self {
            Self::Memory(bytes) => Ok(bytes),
            Self::File(path) => Ok(std::fs::read(path).context("the medium cannot be read")?.into()),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A hash in records: hexadecimal.
pub(super) mod as_text {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Hash;

    pub(crate) fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(hash))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut hash = Hash::default();
        hex::decode_to_slice(text, &mut hash).map_err(D::Error::custom)?;
        Ok(hash)
    }
}
