//! The one redb file: every table, one writer thread with group commit, readers beside it.
//!
//! Facts, their events and (later) their webhook deliveries are stored in one transaction through [`Store::write`];
//! after the commit the writer hands the new frames, in commit order, to the [`CommitSink`].

use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::Timestamp;
use crate::domain::access::ApiKey;
use crate::domain::error::Error;
use crate::domain::event::{Event, SharedFrame};
use crate::domain::id::{CustomerId, EventId, InstanceId, KeyId};
use crate::domain::instance::Instance;
use crate::domain::message::{MessageId, Outbound};

/// Where committed events go, in commit order, on the writer's thread: it must not block.
pub type CommitSink = Arc<dyn Fn(&[SharedFrame]) + Send + Sync>;

/// How to open the file.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// redb's page cache; its own default of 1 GiB is far too much for a Raspberry Pi.
    pub cache_bytes: usize,
    /// Writes are refused with [`WriteError::Full`] while the disk has less than this left.
    pub reserve_bytes: u64,
}

/// The file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the store is in use by another process; stop it first, or talk to it through its admin socket")]
    InUse,
    /// A newer version wrote it.
    #[error("the store has schema {found}, written by WhatIsUp {written_by}; this version knows up to {known}")]
    Newer {
        /// Schema of the file.
        found: u32,
        /// Version that wrote it.
        written_by: String,
        /// The newest schema known here.
        known: u32,
    },
    /// Anything else.
    #[error("the store cannot be opened")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database failed.
    #[error("the store cannot be read")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row is not what this version writes.
    #[error("a row of the table {table} cannot be decoded")]
    Corrupt {
        /// Which table.
        table: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A write failed; nothing of it was stored.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The closure said no; the error goes to the caller as it is.
    #[error(transparent)]
    Rejected(#[from] Error),
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// Reading inside the transaction failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database failed.
    #[error("the store cannot be written")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An answer remembered for 24 hours, so that the same request is not carried out twice.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Remembered {
    /// SHA-256 of the request's meaning, in hex: another body under the same key is a conflict.
    pub request_hash: String,
    /// The message that the first request made.
    pub message_id: MessageId,
    /// When.
    pub created_at: Timestamp,
}

/// Which inbound message: phone number and LID of one person are merged before this is made.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct InboundKey {
    /// The conversation's canonical address.
    pub chat: String,
    /// The sender's canonical address.
    pub sender: String,
    /// WhatsApp's id.
    pub message_id: MessageId,
}

/// A page of the journal.
#[derive(Clone, Debug)]
pub struct JournalPage {
    /// The frames, oldest first.
    pub frames: Vec<SharedFrame>,
    /// The last id that was looked at, wanted or not; the next page starts after it.
    pub scanned_to: Option<EventId>,
    /// Whether the journal has no more behind `scanned_to` at the time of reading.
    pub at_head: bool,
}

/// The store; cheap to clone.
#[derive(Clone)]
pub struct Store {
    _private: (),
}

/// A write transaction in the hands of a closure.
pub struct Tx<'a> {
    _private: &'a (),
}

/// A consistent view for reading.
pub struct View<'a> {
    _private: &'a (),
}

/// What a contract for others looks like while the room is being built.
fn building() -> Box<dyn std::error::Error + Send + Sync> {
    "the store is being built".into()
}

#[expect(
    clippy::unused_async,
    unused_variables,
    clippy::needless_pass_by_value,
    clippy::unused_self,
    reason = "contract"
)]
impl Store {
    /// Opens the file, creating it if there is none.
    pub fn open(options: &Options, sink: CommitSink) -> Result<Store, OpenError> {
        Err(OpenError::Failed(building()))
    }

    /// Runs `work` in the writer's next transaction and answers once that is on disk.
    ///
    /// Operations that wait together share one commit. `work` may run more than once (when another operation of the
    /// same batch fails), so it must be repeatable, and it should read and check before it writes.
    pub async fn write<T, F>(&self, work: F) -> Result<T, WriteError>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, WriteError> + Send + 'static,
        T: Send + 'static,
    {
        Err(WriteError::Closed)
    }

    /// Like [`Store::write`], but answers before the data is on disk: for what may be lost in a crash.
    pub async fn write_lazily<T, F>(&self, work: F) -> Result<T, WriteError>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, WriteError> + Send + 'static,
        T: Send + 'static,
    {
        Err(WriteError::Closed)
    }

    /// Reads, on the calling thread: a few microseconds, no waiting for the writer.
    pub fn read<T>(&self, work: impl FnOnce(&View<'_>) -> Result<T, ReadError>) -> Result<T, ReadError> {
        Err(ReadError::Failed(building()))
    }

    /// The last event committed, if the journal is not empty.
    pub fn head(&self) -> Option<EventId> {
        None
    }

    /// Writes what waits, and closes the file.
    pub async fn close(&self) {}
}

#[expect(unused_variables, clippy::unused_self, reason = "contract")]
impl Tx<'_> {
    /// Appends an event to the journal and gives it its id; it is published after the commit.
    pub fn append_event(&mut self, event: &Event) -> Result<EventId, WriteError> {
        Err(WriteError::Closed)
    }
    /// Stores a new key under the HMAC of its secret.
    pub fn insert_key(&mut self, key: &ApiKey, hash: &[u8; 32]) -> Result<(), WriteError> {
        Err(WriteError::Closed)
    }
    /// A key by id, revoked or not.
    pub fn key(&self, id: KeyId) -> Result<Option<ApiKey>, WriteError> {
        Err(WriteError::Closed)
    }
    /// Overwrites a key's row; a revoked key can no longer be found by its secret.
    pub fn put_key(&mut self, key: &ApiKey) -> Result<(), WriteError> {
        Err(WriteError::Closed)
    }
    /// The short number for the session of a new instance; never handed out twice.
    pub fn next_session(&mut self) -> Result<u32, WriteError> {
        Err(WriteError::Closed)
    }
    /// An instance by id, deleted or not.
    pub fn instance(&self, id: InstanceId) -> Result<Option<Instance>, WriteError> {
        Err(WriteError::Closed)
    }
    /// Inserts or overwrites an instance.
    pub fn put_instance(&mut self, instance: &Instance) -> Result<(), WriteError> {
        Err(WriteError::Closed)
    }
    /// Removes every key of a session's cryptographic state; after an unlink.
    pub fn clear_session(&mut self, session: u32) -> Result<(), WriteError> {
        Err(WriteError::Closed)
    }
    /// An outbound message.
    pub fn outbound(&self, instance: InstanceId, id: &MessageId) -> Result<Option<Outbound>, WriteError> {
        Err(WriteError::Closed)
    }
    /// Inserts a new outbound message at the end of its instance's queue (assigns `sequence`).
    pub fn insert_outbound(&mut self, message: &mut Outbound) -> Result<(), WriteError> {
        Err(WriteError::Closed)
    }
    /// Overwrites an outbound message and keeps the queue index in step with its `due_at`.
    pub fn put_outbound(&mut self, message: &Outbound) -> Result<(), WriteError> {
        Err(WriteError::Closed)
    }
    /// What was answered to the request with this scope and idempotency key within the last 24 hours.
    pub fn remembered(
        &self,
        instance: InstanceId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<Remembered>, WriteError> {
        Err(WriteError::Closed)
    }
    /// Remembers an answer.
    pub fn remember(&mut self, instance: InstanceId, key: &str, answer: &Remembered) -> Result<(), WriteError> {
        Err(WriteError::Closed)
    }
    /// Whether this inbound message was already stored; if not, notes it as stored `at`.
    pub fn note_inbound(&mut self, instance: InstanceId, key: &InboundKey, at: Timestamp) -> Result<bool, WriteError> {
        Err(WriteError::Closed)
    }
}

#[expect(unused_variables, clippy::unused_self, reason = "contract")]
impl View<'_> {
    /// The owner of this installation, made at first start.
    pub fn customer(&self) -> Result<CustomerId, ReadError> {
        Err(ReadError::Failed(building()))
    }
    /// The key with this HMAC, unless revoked.
    pub fn key_by_hash(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>, ReadError> {
        Err(ReadError::Failed(building()))
    }
    /// Active keys, newest first, older than `before`.
    pub fn keys(&self, before: Option<KeyId>, limit: usize) -> Result<Vec<ApiKey>, ReadError> {
        Err(ReadError::Failed(building()))
    }
    /// An instance by id, deleted or not.
    pub fn instance(&self, id: InstanceId) -> Result<Option<Instance>, ReadError> {
        Err(ReadError::Failed(building()))
    }
    /// Instances that are not deleted, newest first, older than `before`.
    pub fn instances(&self, before: Option<InstanceId>, limit: usize) -> Result<Vec<Instance>, ReadError> {
        Err(ReadError::Failed(building()))
    }
    /// An outbound message.
    pub fn outbound(&self, instance: InstanceId, id: &MessageId) -> Result<Option<Outbound>, ReadError> {
        Err(ReadError::Failed(building()))
    }
    /// The unsettled outbound messages of an instance in order of acceptance, from `after` on.
    pub fn outbox(&self, instance: InstanceId, after: u64, limit: usize) -> Result<Vec<Outbound>, ReadError> {
        Err(ReadError::Failed(building()))
    }
    /// How many outbound messages of an instance are unsettled.
    pub fn outbox_depth(&self, instance: InstanceId) -> Result<u64, ReadError> {
        Err(ReadError::Failed(building()))
    }
    /// A page of the journal after `after` (from the beginning if `None`), at most `limit` looked at.
    pub fn journal(&self, after: Option<EventId>, limit: usize) -> Result<JournalPage, ReadError> {
        Err(ReadError::Failed(building()))
    }
    /// The oldest event that the journal still has.
    pub fn oldest_event(&self) -> Result<Option<EventId>, ReadError> {
        Err(ReadError::Failed(building()))
    }
}
