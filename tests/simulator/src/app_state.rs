//! The server's side of app state: numbered patches per account and collection, and snapshots made of them.
//!
//! The server holds no key. It sees that a patch is well formed, which records it sets or removes by their opaque
//! indexes, and nothing else; a snapshot is the records that are left, under the code that the newest patch carries for
//! exactly that state (whatsapp-rust `wacore-appstate/processor.rs`: a snapshot's code is a patch's snapshot code).

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::syncd_mutation::SyncdOperation;

use crate::account::key;
use crate::state::Journal;

/// Patches after which a snapshot is made.
pub(crate) const SNAPSHOT_EVERY: u64 = 20;
/// Patches kept behind the snapshot, for clients that are only a little late.
const KEPT_BEHIND: u64 = SNAPSHOT_EVERY;
/// The largest patch, as a stanza of a client may be large but not without bound.
const LARGEST_PATCH: usize = 1024 * 1024;
/// The most records of one collection.
const MOST_RECORDS: usize = 50_000;
/// Bytes of every code.
const CODE: usize = 32;

/// The names of the collections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Name {
    CriticalBlock,
    CriticalUnblockLow,
    RegularHigh,
    RegularLow,
    Regular,
}

impl Name {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [
        Self::CriticalBlock,
        Self::CriticalUnblockLow,
        Self::RegularHigh,
        Self::RegularLow,
        Self::Regular,
    ];

    /// As it stands on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::CriticalBlock => "critical_block",
            Self::CriticalUnblockLow => "critical_unblock_low",
            Self::RegularHigh => "regular_high",
            Self::RegularLow => "regular_low",
            Self::Regular => "regular",
        }
    }

    /// Reads a name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }
}

/// Why a patch is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Somebody else was faster; what they wrote must be applied first.
    Conflict,
    /// It cannot be a patch of this collection.
    Malformed,
}

/// One collection of one account.
#[derive(Default)]
pub(crate) struct Collection {
    version: u64,
    /// What is left of all patches, by index.
    records: BTreeMap<Vec<u8>, wa::SyncdRecord>,
    /// The newest patches as clients get them, by version.
    patches: BTreeMap<u64, Vec<u8>>,
    /// The code and its key's id that stand for the present state.
    sealed: Option<(Vec<u8>, Vec<u8>)>,
    snapshot: Option<Snapshot>,
}

/// The whole collection at a version.
#[derive(Clone)]
pub(crate) struct Snapshot {
    /// The version it stands for.
    pub(crate) version: u64,
    /// The protobuf message.
    pub(crate) bytes: Vec<u8>,
    /// Where clients find it on the media servers, once somebody has asked: an encoded `ExternalBlobReference`.
    pub(crate) reference: Option<Vec<u8>>,
}

impl Collection {
    /// The newest version.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The newest snapshot, if there have been enough patches for one.
    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// The patches after a version; `None` when they are not all here any more.
    pub(crate) fn after(&self, version: u64) -> Option<impl Iterator<Item = &Vec<u8>>> {
        let first = self.patches.keys().next().map_or(self.version + 1, |first| *first);
        (version + 1 >= first).then(|| self.patches.range(version + 1..).map(|(_, patch)| patch))
    }

    /// Takes a patch that was built on `base`, numbers and keeps it.
    pub(crate) fn push(
        &mut self,
        owner: &str,
        name: Name,
        base: u64,
        bytes: &[u8],
        journal: &mut Journal,
    ) -> Result<Result<(), Refused>> {
        if base < self.version {
            return Ok(Err(Refused::Conflict));
        }
        let Some(mut patch) = well_formed(bytes).filter(|patch| fits(patch, base)) else {
            return Ok(Err(Refused::Malformed));
        };
        if base > self.version || self.records.len() + patch.mutations.len() > MOST_RECORDS {
            return Ok(Err(Refused::Malformed));
        }
        // Clients leave the number to the server.
        patch.version = MessageField::some(wa::SyncdVersion {
            version: Some(base + 1),
        });
        let bytes = patch.encode_to_vec();
        journal.put(key::app_state_patch(owner, name.as_str(), base + 1), bytes.clone());
        self.apply(&patch, bytes);
        if self.version.is_multiple_of(SNAPSHOT_EVERY) {
            self.make_snapshot(owner, name, journal)?;
        }
        Ok(Ok(()))
    }

    fn apply(&mut self, patch: &wa::SyncdPatch, bytes: Vec<u8>) {
        for mutation in &patch.mutations {
            let record = mutation.record.clone().into_option().unwrap_or_default();
            let index = record.index.blob.clone().unwrap_or_default();
            if removes(mutation) {
                self.records.remove(&index);
            } else {
                self.records.insert(index, record);
            }
        }
        self.sealed = patch.snapshot_mac.clone().zip(patch.key_id.id.clone());
        self.version = patch.version.version.unwrap_or(self.version + 1);
        self.patches.insert(self.version, bytes);
    }

    fn make_snapshot(&mut self, owner: &str, name: Name, journal: &mut Journal) -> Result<()> {
        let (mac, key) = self.sealed.clone().context("a collection without a code")?;
        let snapshot = wa::SyncdSnapshot {
            version: MessageField::some(wa::SyncdVersion {
                version: Some(self.version),
            }),
            records: self.records.values().cloned().collect(),
            mac: Some(mac),
            key_id: MessageField::some(wa::KeyId { id: Some(key) }),
        };
        let bytes = snapshot.encode_to_vec();
        journal.put(key::app_state_snapshot(owner, name.as_str()), bytes.clone());
        journal.delete(key::app_state_reference(owner, name.as_str()));
        self.snapshot = Some(Snapshot {
            version: self.version,
            bytes,
            reference: None,
        });
        let kept = self.patches.split_off(&(self.version + 1).saturating_sub(KEPT_BEHIND));
        for version in std::mem::replace(&mut self.patches, kept).keys() {
            journal.delete(key::app_state_patch(owner, name.as_str(), *version));
        }
        Ok(())
    }

    /// Notes where clients find the newest snapshot.
    pub(crate) fn snapshot_is_at(&mut self, owner: &str, name: Name, reference: Vec<u8>, journal: &mut Journal) {
        if let Some(snapshot) = &mut self.snapshot {
            journal.put(key::app_state_reference(owner, name.as_str()), reference.clone());
            snapshot.reference = Some(reference);
        }
    }

    /// Puts a stored record back: the snapshot first, then where it is, then the patches in their order.
    pub(crate) fn restore(&mut self, what: &[&str], bytes: &[u8]) -> Result<()> {
        if what == ["base"] {
            let snapshot = wa::SyncdSnapshot::decode_from_slice(bytes)?;
            self.version = snapshot.version.version.context("a snapshot without version")?;
            self.sealed = snapshot.mac.zip(snapshot.key_id.id.clone());
            self.records = snapshot
                .records
                .into_iter()
                .filter_map(|record| Some((record.index.blob.clone()?, record)))
                .collect();
            self.snapshot = Some(Snapshot {
                version: self.version,
                bytes: bytes.to_vec(),
                reference: None,
            });
            return Ok(());
        }
        if what == ["blob"] {
            if let Some(snapshot) = &mut self.snapshot {
                snapshot.reference = Some(bytes.to_vec());
            }
            return Ok(());
        }
        let patch = wa::SyncdPatch::decode_from_slice(bytes)?;
        let version = patch.version.version.context("a patch without version")?;
        if version > self.version {
            self.apply(&patch, bytes.to_vec());
        } else {
            self.patches.insert(version, bytes.to_vec());
        }
        Ok(())
    }
}

/// Whether a mutation takes a record away.
pub(crate) fn removes(mutation: &wa::SyncdMutation) -> bool {
    mutation
        .operation
        .is_some_and(|operation| operation == SyncdOperation::REMOVE)
}

/// The patch, if it has everything that a patch needs and nothing without bound.
fn well_formed(bytes: &[u8]) -> Option<wa::SyncdPatch> {
    if bytes.len() > LARGEST_PATCH {
        return None;
    }
    let patch = wa::SyncdPatch::decode_from_slice(bytes).ok()?;
    let code = |code: &Option<Vec<u8>>| code.as_ref().is_some_and(|code| code.len() == CODE);
    let mutations = patch.mutations.iter().all(|mutation| {
        let record = &mutation.record;
        code(&record.index.blob)
            && record.value.blob.as_ref().is_some_and(|blob| blob.len() > CODE)
            && record.key_id.id.as_ref().is_some_and(|id| !id.is_empty())
            && mutation
                .operation
                .is_none_or(|operation| operation.as_known().is_some())
    });
    let whole = mutations
        && !patch.mutations.is_empty()
        && code(&patch.snapshot_mac)
        && code(&patch.patch_mac)
        && patch.key_id.id.is_some();
    whole.then_some(patch)
}

/// A client that does number its patches must number them right.
fn fits(patch: &wa::SyncdPatch, base: u64) -> bool {
    patch.version.version.is_none_or(|version| version == base + 1)
}
