//! What survives the process: an append-only journal of keyed records in the state folder.
//!
//! Everything one stanza changes is written as one batch before the stanza is answered, so that no answer promises what
//! a killed process would forget. A batch is one `write` to the operating system: killing the process at any point
//! loses nothing of it, while a power failure may lose the newest batches (a torn tail is cut off at the next start,
//! never half-applied). The file is rewritten without its history at each start and whenever it has grown a lot.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::Crc;

const JOURNAL: &str = "simulator.journal";
const LOCK: &str = "simulator.lock";
/// First bytes of the file; the digit is the format's version.
const MAGIC: &[u8; 8] = b"wasim\0\x001";
/// Length and checksum in front of each batch.
const BATCH_HEADER: usize = 8;
/// Growth that is worth a rewrite while running.
const REWRITE_AFTER: u64 = 64 * 1024 * 1024;

/// The state folder cannot be written any more.
#[derive(Debug, thiserror::Error)]
#[error("the simulator's state folder could not be written; make room and restart the simulator")]
pub(crate) struct Unwritable;

/// All records by key.
pub(crate) type Records = BTreeMap<String, Vec<u8>>;

/// Collects changes and writes them batch by batch; without a folder it forgets them.
pub(crate) struct Journal {
    disk: Option<Disk>,
    pending: BTreeMap<String, Option<Vec<u8>>>,
}

struct Disk {
    folder: PathBuf,
    file: File,
    /// Held for the life of the journal, so that no second simulator writes here.
    _lock: File,
    length: u64,
    rewritten_length: u64,
    broken: bool,
}

impl Journal {
    /// A journal that keeps nothing.
    pub(crate) fn in_memory() -> Self {
        Self {
            disk: None,
            pending: BTreeMap::new(),
        }
    }

    /// Opens the folder (made if needed) and reads what is there.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Records)> {
        make_private_folder(folder).with_context(|| format!("cannot make the state folder {}", folder.display()))?;
        let lock = File::create(folder.join(LOCK)).context("cannot make the lock file of the state folder")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another simulator uses the state folder {}", folder.display()),
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the state folder"),
        }
        let path = folder.join(JOURNAL);
        let records = match std::fs::read(&path) {
            Ok(bytes) => replay(&bytes)?,
            Err(error) if error.kind() == ErrorKind::NotFound => Records::new(),
            Err(error) => return Err(error).context("cannot read the simulator's journal"),
        };
        let (file, length) = rewrite(folder, &records)?;
        let disk = Disk {
            folder: folder.to_owned(),
            file,
            _lock: lock,
            length,
            rewritten_length: length,
            broken: false,
        };
        Ok((
            Self {
                disk: Some(disk),
                pending: BTreeMap::new(),
            },
            records,
        ))
    }

    /// The state folder.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.disk.as_ref().map(|disk| disk.folder.as_path())
    }

    /// Notes a record for the next batch.
    pub(crate) fn put(&mut self, key: String, value: Vec<u8>) {
        if self.disk.is_some() {
            self.pending.insert(key, Some(value));
        }
    }

    /// Notes a removal for the next batch.
    pub(crate) fn delete(&mut self, key: String) {
        if self.disk.is_some() {
            self.pending.insert(key, None);
        }
    }

    /// Empties the folder but for these records, in one step: a killed process leaves all of the old or all of the new.
    pub(crate) fn start_over(&mut self, kept: &Records) -> Result<()> {
        self.pending.clear();
        let Some(disk) = &mut self.disk else { return Ok(()) };
        if disk.broken {
            return Err(Unwritable.into());
        }
        let (file, length) = rewrite(&disk.folder, kept)?;
        disk.file = file;
        disk.length = length;
        disk.rewritten_length = length;
        Ok(())
    }

    /// Notes the removal of every record whose key is meant.
    pub(crate) fn delete_where(&mut self, meant: impl Fn(&str) -> bool) -> Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let bytes = std::fs::read(disk.folder.join(JOURNAL)).context("cannot read the simulator's journal")?;
        let stored = replay(&bytes)?;
        let named: Vec<String> = stored
            .keys()
            .chain(self.pending.keys())
            .filter(|name| meant(name))
            .cloned()
            .collect();
        self.pending.extend(named.into_iter().map(|name| (name, None)));
        Ok(())
    }

    /// Writes everything noted since the last call.
    ///
    /// After a failure the memory is ahead of the disk; every later call fails too, so that nothing is promised any
    /// more.
    pub(crate) fn commit(&mut self) -> Result<()> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        if disk.broken {
            return Err(Unwritable.into());
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        let batch = encode(&std::mem::take(&mut self.pending))?;
        if let Err(error) = disk.file.write_all(&batch) {
            disk.broken = true;
            tracing::error!(%error, "cannot write the simulator's journal");
            return Err(Unwritable.into());
        }
        disk.length += batch.len() as u64;
        if disk.length > disk.rewritten_length.saturating_mul(2).max(REWRITE_AFTER) {
            // The batch is safe already; a folder that cannot be tidied is no reason to refuse service.
            if let Err(error) = disk.compact() {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "could not rewrite the simulator's journal"
                );
                disk.rewritten_length = disk.length;
            }
        }
        Ok(())
    }

    /// Hands everything to the disk, for an orderly end.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.commit()?;
        if let Some(disk) = &self.disk {
            disk.file.sync_data().context("cannot flush the simulator's journal")?;
        }
        Ok(())
    }
}

impl Disk {
    fn compact(&mut self) -> Result<()> {
        let bytes = std::fs::read(self.folder.join(JOURNAL)).context("cannot read the simulator's journal")?;
        let (file, length) = rewrite(&self.folder, &replay(&bytes)?)?;
        self.file = file;
        self.length = length;
        self.rewritten_length = length;
        Ok(())
    }
}

#[cfg(unix)]
fn make_private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn make_private_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)
}

fn rewrite(folder: &Path, records: &Records) -> Result<(File, u64)> {
    let (path, fresh) = (folder.join(JOURNAL), folder.join(format!("{JOURNAL}.new")));
    let mut bytes = MAGIC.to_vec();
    if !records.is_empty() {
        let batch = records
            .iter()
            .map(|(key, value)| (key.clone(), Some(value.clone())))
            .collect();
        bytes.extend(encode(&batch)?);
    }
    let written: std::io::Result<()> = (|| {
        let mut file = File::create(&fresh)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)
    })();
    written.context("cannot write the simulator's journal")?;
    let file = OpenOptions::new()
        .append(true)
        .open(&path)
        .context("cannot reopen the simulator's journal")?;
    Ok((file, bytes.len() as u64))
}

fn encode(batch: &BTreeMap<String, Option<Vec<u8>>>) -> Result<Vec<u8>> {
    let mut bytes = vec![0; BATCH_HEADER];
    for (key, value) in batch {
        bytes.extend(u16::try_from(key.len()).context("key too long")?.to_le_bytes());
        bytes.extend(key.as_bytes());
        match value {
            Some(value) => {
                bytes.push(1);
                bytes.extend(u32::try_from(value.len()).context("record too long")?.to_le_bytes());
                bytes.extend(value);
            }
            None => bytes.push(0),
        }
    }
    let length = u32::try_from(bytes.len() - BATCH_HEADER).context("batch too long")?;
    let sum = checksum(&bytes[BATCH_HEADER..]);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..BATCH_HEADER].copy_from_slice(&sum.to_le_bytes());
    Ok(bytes)
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Applies every whole batch; stops at the first torn one.
fn replay(bytes: &[u8]) -> Result<Records> {
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
        if bytes.is_empty() {
            return Ok(Records::new());
        }
        bail!("the journal in the state folder is not from this version of the simulator; use another folder");
    };
    let mut records = Records::new();
    while let Some((batch, after)) = next_batch(rest) {
        apply(batch, &mut records).context("the simulator's journal is damaged")?;
        rest = after;
    }
    if !rest.is_empty() {
        tracing::warn!(
            bytes = rest.len(),
            "cut off an unfinished batch at the end of the simulator's journal"
        );
    }
    Ok(records)
}

fn next_batch(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = Reader(bytes);
    let (length, sum) = (reader.number()?, reader.number()?);
    let batch = reader.take(length as usize)?;
    (checksum(batch) == sum).then_some((batch, reader.0))
}

fn apply(batch: &[u8], records: &mut Records) -> Option<()> {
    let mut reader = Reader(batch);
    while !reader.0.is_empty() {
        let key_length = u16::from_le_bytes(reader.take(2)?.try_into().ok()?);
        let key = String::from_utf8(reader.take(usize::from(key_length))?.to_vec()).ok()?;
        if reader.take(1)? == [1] {
            let length = reader.number()?;
            records.insert(key, reader.take(length as usize)?.to_vec());
        } else {
            records.remove(&key);
        }
    }
    Some(())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reopened(folder: &Path) -> Records {
        Journal::open(folder).unwrap().1
    }

    #[test]
    fn what_was_committed_is_there_after_a_reopen() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path()).unwrap();
        journal.put("a".into(), b"1".to_vec());
        journal.put("b".into(), b"2".to_vec());
        journal.commit().unwrap();
        journal.delete("a".into());
        journal.commit().unwrap();
        journal.put("c".into(), b"never committed".to_vec());
        drop(journal);
        assert_eq!(reopened(folder.path()), Records::from([("b".into(), b"2".to_vec())]));
    }

    #[test]
    fn a_torn_batch_is_cut_off_and_nothing_of_it_applied() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path()).unwrap();
        journal.put("kept".into(), b"1".to_vec());
        journal.commit().unwrap();
        journal.put("torn".into(), vec![7; 100]);
        journal.put("also-torn".into(), vec![7; 100]);
        journal.commit().unwrap();
        drop(journal);
        let path = folder.path().join(JOURNAL);
        let whole = std::fs::read(&path).unwrap();
        for missing in 1..150 {
            std::fs::write(&path, &whole[..whole.len() - missing]).unwrap();
            assert_eq!(reopened(folder.path()), Records::from([("kept".into(), b"1".to_vec())]));
        }
    }

    #[test]
    fn starting_over_keeps_only_what_it_is_told_and_what_follows() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path()).unwrap();
        journal.put("old".into(), b"1".to_vec());
        journal.commit().unwrap();
        journal.put("never written".into(), b"2".to_vec());
        let kept = Records::from([("kept".into(), b"3".to_vec())]);
        journal.start_over(&kept).unwrap();
        assert_eq!(
            std::fs::read(folder.path().join(JOURNAL))
                .map(|bytes| replay(&bytes).unwrap())
                .unwrap(),
            kept
        );
        journal.put("new".into(), b"4".to_vec());
        journal.commit().unwrap();
        drop(journal);
        let names: Vec<String> = reopened(folder.path()).into_keys().collect();
        assert_eq!(names, ["kept", "new"]);
    }

    #[test]
    fn records_are_removed_by_their_keys_written_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path()).unwrap();
        journal.put("a/1".into(), b"1".to_vec());
        journal.put("b/1".into(), b"1".to_vec());
        journal.commit().unwrap();
        journal.put("a/2".into(), b"2".to_vec());
        journal.delete_where(|name| name.starts_with("a/")).unwrap();
        journal.commit().unwrap();
        drop(journal);
        let names: Vec<String> = reopened(folder.path()).into_keys().collect();
        assert_eq!(names, ["b/1"]);
    }

    #[test]
    fn a_second_simulator_is_refused_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Journal::open(folder.path()).unwrap();
        let refusal = Journal::open(folder.path()).err().unwrap();
        assert!(refusal.to_string().contains("another simulator"), "{refusal}");
    }

    #[test]
    fn a_foreign_file_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(JOURNAL);
        std::fs::write(&path, b"something else").unwrap();
        assert!(Journal::open(folder.path()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"something else");
    }
}
