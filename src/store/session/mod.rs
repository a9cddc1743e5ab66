//! whatsapp-rust's storage on our tables: one [`SessionStore`] for each session, every key beginning with its number.
//!
//! Two classes of writes. *Durable* ones are answered when on disk: Signal sessions, identities, sender keys, prekeys,
//! the device, app-state keys, the inbound buffer. Losing one of them would break a conversation or lose a message. The
//! rest is *lazy*: caches, secrets of sent messages, mappings, and removals. Commits are totally ordered, so a crash
//! takes back the newest of the lazy writes and never leaves a newer one standing on an older one that is gone.
//!
//! Rows keep whatsapp-rust's own types as JSON, because the crate adds fields with every release; keys and names of
//! tables are ours and never change with it.

mod appsync;
mod device;
mod expiry;
mod protocol;
mod resends;
mod secrets;
mod signal;
mod withheld;

#[cfg(test)]
mod tests;

use std::io;

use whatsapp_rust::store::error::StoreError;

use super::Store;
use super::encoding::Key;
use super::error::{ReadError, WriteError};
use super::rows::{Tx, View};
use super::writer::Class;

pub use resends::Resend;
pub use withheld::Hold;
use withheld::Withheld;

/// What every storage method of whatsapp-rust answers.
type Result<T> = std::result::Result<T, StoreError>;

/// The storage of one session; cheap to clone.
#[derive(Clone)]
pub struct SessionStore {
    store: Store,
    session: u32,
    withheld: Withheld,
}

impl Store {
    /// The storage of a session, for whatsapp-rust; clones of one know what each of them withholds.
    pub fn session(&self, session: u32) -> SessionStore {
        SessionStore {
            store: self.clone(),
            session,
            withheld: Withheld::default(),
        }
    }
}

impl SessionStore {
    fn key(&self) -> Key {
        Key::of_session(self.session)
    }

    fn read<T>(&self, work: impl FnOnce(&View<'_>) -> std::result::Result<T, ReadError>) -> Result<T> {
        self.store.read(work).map_err(unreadable)
    }

    /// Writes and waits for the disk. It may use the reserve of the disk: a full disk must not cost a link its keys.
    async fn durably<T, F>(&self, work: F) -> Result<T>
    where
        F: FnMut(&mut Tx<'_>) -> std::result::Result<T, WriteError> + Send + 'static,
        T: Send + 'static,
    {
        const CLASS: Class = Class {
            durable: true,
            reserve: true,
        };
        self.store.submit(CLASS, work).await.map_err(unwritable)
    }

    /// Writes what may be lost in a crash.
    async fn lazily<T, F>(&self, work: F) -> Result<T>
    where
        F: FnMut(&mut Tx<'_>) -> std::result::Result<T, WriteError> + Send + 'static,
        T: Send + 'static,
    {
        const CLASS: Class = Class {
            durable: false,
            reserve: true,
        };
        self.store.submit(CLASS, work).await.map_err(unwritable)
    }
}

fn unreadable(error: ReadError) -> StoreError {
    match error {
        ReadError::Corrupt { .. } => StoreError::Serialization(Box::new(error)),
        ReadError::Failed(_) => StoreError::Database(Box::new(error)),
    }
}

fn unwritable(error: WriteError) -> StoreError {
    match error {
        WriteError::Full => StoreError::Io(io::ErrorKind::StorageFull.into()),
        WriteError::Read(error) => unreadable(error),
        other => StoreError::Database(Box::new(other)),
    }
}
