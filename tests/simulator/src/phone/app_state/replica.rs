//! A phone's own copy of one collection: every code is checked before a change is believed.

use std::collections::{BTreeMap, BTreeSet};

use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::syncd_mutation::SyncdOperation;

use super::crypto::{Bad, Keys, Sum, value_mac};
use super::keys::Ring;
use crate::app_state::{Collection, Name, removes};

/// One thing that is set, under its index.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The action and what it is about, such as `["archive", jid]`.
    pub(crate) index: Vec<String>,
    /// What is set.
    pub(crate) value: wa::SyncActionValue,
    schema: i32,
    /// The record's opaque index and the key that made it; another key makes another.
    mac: Vec<u8>,
    key: Vec<u8>,
}

/// Something to set.
pub(crate) struct Change {
    /// The action and what it is about.
    pub(crate) index: Vec<String>,
    /// What is set.
    pub(crate) value: wa::SyncActionValue,
    /// The version of the action's own schema.
    pub(crate) schema: i32,
}

/// A patch that was not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The version it would have led to.
    pub(crate) version: u64,
    /// What is wrong with it.
    pub(crate) bad: String,
}

/// The copy.
pub(crate) struct Replica {
    name: Name,
    version: u64,
    sum: Sum,
    /// The value's code of every record, by its opaque index.
    codes: BTreeMap<Vec<u8>, Vec<u8>>,
    entries: BTreeMap<Vec<String>, Entry>,
    problems: Vec<Problem>,
}

impl Replica {
    /// An empty copy.
    pub(crate) fn new(name: Name) -> Self {
        Self {
            name,
            version: 0,
            sum: Sum::default(),
            codes: BTreeMap::new(),
            entries: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    /// The version it stands at.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// What is set, in the order of the indexes.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// One thing that is set.
    pub(crate) fn entry(&self, index: &[&str]) -> Option<&wa::SyncActionValue> {
        let index: Vec<String> = index.iter().map(|part| (*part).to_owned()).collect();
        self.entries.get(&index).map(|entry| &entry.value)
    }

    /// The patches that were not believed.
    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Catches up with the server; gives what is newly set.
    pub(crate) fn catch_up(&mut self, server: &Collection, keys: &Ring) -> Vec<Entry> {
        let mut news = Vec::new();
        let mut patches: Vec<Vec<u8>> = Vec::new();
        match server.after(self.version) {
            Some(later) => patches.extend(later.cloned()),
            None => {
                if let Some(snapshot) = server.snapshot() {
                    match self.take_snapshot(&snapshot.bytes, keys) {
                        Ok(set) => news.extend(set),
                        Err(bad) => self.note(snapshot.version, &bad),
                    }
                    // A snapshot that is not believed is not asked for again and again.
                    self.version = self.version.max(snapshot.version);
                    patches.extend(server.after(self.version).into_iter().flatten().cloned());
                }
            }
        }
        for patch in patches {
            let expected = self.version + 1;
            match self.take_patch(&patch, keys) {
                Ok(set) => news.extend(set),
                Err(bad) => self.note(expected, &bad),
            }
        }
        news
    }

    fn note(&mut self, version: u64, bad: &Bad) {
        /// The newest are kept.
        const KEPT: usize = 100;
        tracing::warn!(collection = self.name.as_str(), version, %bad, "a phone does not believe app state");
        if self.problems.len() == KEPT {
            self.problems.remove(0);
        }
        self.problems.push(Problem {
            version,
            bad: bad.to_string(),
        });
    }

    /// Replaces the copy by a snapshot, unless a code in it is wrong.
    pub(crate) fn take_snapshot(&mut self, bytes: &[u8], keys: &Ring) -> Result<Vec<Entry>, Bad> {
        let snapshot = wa::SyncdSnapshot::decode_from_slice(bytes).map_err(|_| Bad::Shape)?;
        let version = snapshot.version.version.ok_or(Bad::Lacks("a version"))?;
        let mut fresh = Self::new(self.name);
        fresh.version = version;
        for record in &snapshot.records {
            fresh.fold(false, record);
        }
        let key = keys.find(snapshot.key_id.id.as_deref())?;
        if snapshot.mac.as_deref() != Some(&key.snapshot_mac(&fresh.sum, version, self.name.as_str())) {
            return Err(Bad::SnapshotMac);
        }
        for record in &snapshot.records {
            fresh.set(open(SyncdOperation::SET, record, keys)?);
        }
        fresh.problems = std::mem::take(&mut self.problems);
        *self = fresh;
        Ok(self.entries.values().cloned().collect())
    }

    /// Applies a patch. One that is not believed changes nothing that the phone shows, but it does count in the sum
    /// and the version, since it is part of what everybody else got.
    pub(crate) fn take_patch(&mut self, bytes: &[u8], keys: &Ring) -> Result<Vec<Entry>, Bad> {
        let expected = self.version + 1;
        self.version = expected;
        let patch = wa::SyncdPatch::decode_from_slice(bytes).map_err(|_| Bad::Shape)?;
        for mutation in &patch.mutations {
            self.fold(removes(mutation), &mutation.record);
        }
        let got = patch.version.version.ok_or(Bad::Lacks("a version"))?;
        if got != expected {
            return Err(Bad::Version { got, expected });
        }
        let key = keys.find(patch.key_id.id.as_deref())?;
        if patch.patch_mac.as_deref() != Some(&key.patch_mac(&patch, got, self.name.as_str())) {
            return Err(Bad::PatchMac);
        }
        if patch.snapshot_mac.as_deref() != Some(&key.snapshot_mac(&self.sum, got, self.name.as_str())) {
            return Err(Bad::SnapshotMac);
        }
        let mut seen = BTreeSet::new();
        let mut opened = Vec::new();
        for mutation in &patch.mutations {
            let operation = match mutation.operation {
                None => SyncdOperation::SET,
                Some(operation) => operation.as_known().ok_or(Bad::Operation)?,
            };
            if !seen.insert((operation == SyncdOperation::SET, mutation.record.index.blob.clone())) {
                return Err(Bad::Twice);
            }
            opened.push((operation, open(operation, &mutation.record, keys)?));
        }
        let mut news = Vec::new();
        for (operation, entry) in opened {
            if operation == SyncdOperation::SET {
                news.push(entry.clone());
                self.set(entry);
            } else if self
                .entries
                .get(&entry.index)
                .is_some_and(|current| current.mac == entry.mac)
            {
                self.entries.remove(&entry.index);
            }
        }
        Ok(news)
    }

    fn set(&mut self, entry: Entry) {
        self.entries.insert(entry.index.clone(), entry);
    }

    /// Counts a record in, or out; works on the opaque parts alone.
    fn fold(&mut self, remove: bool, record: &wa::SyncdRecord) {
        let (Some(index), Some(code)) = (record.index.blob.clone(), value_mac(record)) else {
            return;
        };
        let old = if remove {
            self.codes.remove(&index)
        } else {
            self.sum.add(code);
            self.codes.insert(index, code.to_vec())
        };
        if let Some(old) = old {
            self.sum.subtract(&old);
        }
    }

    /// The patch that makes some changes, under the newest key; `iv` gives an IV for each value.
    ///
    /// What was set under an older key is removed under that key first, as another key gives the same index another
    /// code and the old record would stay for ever.
    pub(crate) fn patch(
        &self,
        changes: &[Change],
        keys: &Ring,
        mut iv: impl FnMut(&Keys) -> [u8; 16],
    ) -> Result<Vec<u8>, Bad> {
        let (id, current) = keys.current();
        let mut mutations = Vec::new();
        for change in changes {
            if let Some(old) = self.entries.get(&change.index).filter(|old| old.key != id) {
                let key = keys.find(Some(&old.key))?;
                mutations.push(key.seal(
                    SyncdOperation::REMOVE,
                    &old.key,
                    iv(key),
                    &data(&old.index, &old.value, old.schema),
                ));
            }
            let data = data(&change.index, &change.value, change.schema);
            mutations.push(current.seal(SyncdOperation::SET, id, iv(current), &data));
        }
        let version = self.version + 1;
        let mut after = Self::new(self.name);
        (after.sum, after.codes) = (self.sum.clone(), self.codes.clone());
        for mutation in &mutations {
            after.fold(removes(mutation), &mutation.record);
        }
        let mut patch = wa::SyncdPatch {
            version: MessageField::some(wa::SyncdVersion { version: Some(version) }),
            mutations,
            snapshot_mac: Some(current.snapshot_mac(&after.sum, version, self.name.as_str()).to_vec()),
            key_id: MessageField::some(wa::KeyId { id: Some(id.to_vec()) }),
            ..Default::default()
        };
        patch.patch_mac = Some(current.patch_mac(&patch, version, self.name.as_str()).to_vec());
        Ok(patch.encode_to_vec())
    }
}

fn data(index: &[String], value: &wa::SyncActionValue, schema: i32) -> wa::SyncActionData {
    wa::SyncActionData {
        index: serde_json::to_vec(index).ok(),
        value: MessageField::some(value.clone()),
        padding: Some(Vec::new()),
        version: Some(schema),
    }
}

fn open(operation: SyncdOperation, record: &wa::SyncdRecord, keys: &Ring) -> Result<Entry, Bad> {
    let key = record.key_id.id.clone().ok_or(Bad::Lacks("a key id"))?;
    let data = keys.find(Some(&key))?.open(operation, record)?;
    let index = serde_json::from_slice(data.index.as_deref().unwrap_or_default()).map_err(|_| Bad::Index)?;
    Ok(Entry {
        index,
        value: data.value.into_option().unwrap_or_default(),
        schema: data.version.unwrap_or_default(),
        mac: record.index.blob.clone().unwrap_or_default(),
        key,
    })
}
