//! What can go wrong with the file, an enum for each kind of operation, and what a caller is told about it.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::error::{Code, Error};

/// A cause as it travels: boxed, because nobody above this room may know the database's own types.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the store is in use by another process; stop it first, or talk to it through its admin socket")]
    InUse,
    /// A newer version wrote it.
    #[error(
        "the store has schema {found}, written by WhatIsUp {written_by}; this version knows up to {known}. Nothing was changed: install WhatIsUp {written_by} or newer"
    )]
    Newer {
        /// Schema of the file.
        found: u32,
        /// Version that wrote it.
        written_by: String,
        /// The newest schema known here.
        known: u32,
    },
    /// An older version wrote it, and the copy that is made before it is changed could not be.
    #[error(
        "the store has schema {found} and is copied before it is brought to {known}; nothing was changed, because {problem}"
    )]
    NotCopied {
        /// Schema of the file.
        found: u32,
        /// The schema it would be brought to.
        known: u32,
        /// Why, and what to do.
        problem: String,
    },
    /// Anything else.
    #[error("the store cannot be opened")]
    Failed(#[source] Cause),
}

impl OpenError {
    pub(super) fn failed(cause: impl Into<redb::Error>) -> Self {
        Self::Failed(Box::new(cause.into()))
    }
}

impl From<redb::DatabaseError> for OpenError {
    fn from(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen | redb::DatabaseError::LockProtocolMismatch => Self::InUse,
            other => Self::failed(other),
        }
    }
}

/// A read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database failed.
    #[error("the store cannot be read")]
    Failed(#[source] Cause),
    /// A row is not what this version writes.
    #[error("a row of the table {table} cannot be decoded")]
    Corrupt {
        /// Which table.
        table: &'static str,
        /// Why.
        #[source]
        source: Cause,
    },
}

impl ReadError {
    pub(super) fn failed(cause: impl Into<redb::Error>) -> Self {
        Self::Failed(Box::new(cause.into()))
    }

    /// A row of `table` that this version cannot have written.
    pub(super) fn corrupt(table: super::tables::Table, source: impl Into<Cause>) -> Self {
        Self::Corrupt {
            table: super::tables::name(table),
            source: source.into(),
        }
    }
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
    /// The database failed. Alone among these, it may hide a write that reached the disk all the same: the device
    /// said so little that nobody can know.
    #[error("the store cannot be written")]
    Failed(#[source] Cause),
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Error::internal(error)
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Rejected(error) => error,
            WriteError::Full => Error::new(
                Code::StorageFull,
                "The gateway's disk is full, so nothing of this request was stored. Free some space, then send it again.",
            )
            .with_retry_after(Duration::from_mins(1)),
            WriteError::Closed => Error::new(
                Code::ShuttingDown,
                "The gateway is stopping. Send this again in a few seconds.",
            )
            .with_retry_after(Duration::from_secs(5)),
            other => Error::internal(other),
        }
    }
}

/// What stopped a transaction, shared by everybody who waited in it.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// The disk is full.
    Full,
    /// Anything else.
    Failed(SharedCause),
}

impl Fault {
    pub(super) fn of(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(io)
                if matches!(
                    io.kind(),
                    ErrorKind::StorageFull | ErrorKind::FileTooLarge | ErrorKind::QuotaExceeded
                ) =>
            {
                Self::Full
            }
            other => Self::because(other),
        }
    }

    pub(super) fn because(cause: impl Into<Cause>) -> Self {
        Self::Failed(SharedCause(Arc::from(cause.into())))
    }
}

impl From<Fault> for WriteError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::Full,
            Fault::Failed(cause) => Self::Failed(Box::new(cause)),
        }
    }
}

/// One cause in several answers.
#[derive(Clone, Debug)]
pub(super) struct SharedCause(Arc<dyn std::error::Error + Send + Sync>);

impl std::fmt::Display for SharedCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SharedCause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_closed_store_tell_the_caller_what_to_do() {
        assert_eq!(Error::from(WriteError::Full).code, Code::StorageFull);
        assert_eq!(Error::from(WriteError::Closed).code, Code::ShuttingDown);
        let own = Error::new(Code::IdempotencyConflict, "x");
        assert_eq!(Error::from(WriteError::Rejected(own)).code, Code::IdempotencyConflict);
        let fault = Error::from(WriteError::Failed("disk on fire".into()));
        assert_eq!(fault.code, Code::Internal);
        assert!(!fault.message.contains("fire") && fault.source.is_some());
    }

    #[test]
    fn every_way_a_disk_says_it_is_full_is_understood() {
        for kind in [
            ErrorKind::StorageFull,
            ErrorKind::FileTooLarge,
            ErrorKind::QuotaExceeded,
        ] {
            assert!(matches!(Fault::of(redb::Error::Io(kind.into())), Fault::Full));
        }
        let other = redb::Error::Io(ErrorKind::InvalidInput.into());
        assert!(matches!(Fault::of(other), Fault::Failed(_)));
    }
}
