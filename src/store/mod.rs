//! The one redb file: every table, one writer thread with group commit, readers beside it.
//!
//! Facts, their events and their webhook deliveries are stored in one transaction through [`Store::write`];
//! after the commit the writer hands the new frames, in commit order, to the [`CommitSink`].
//!
//! Where to look: `tables` is every table on one page, `writer` the thread, `rows` what a transaction can do, then one
//! file for each family of records; [`session`] is whatsapp-rust's storage on our tables.

mod answers;
mod audit;
mod backlog;
mod compaction;
mod deliveries;
mod encoding;
mod error;
mod glance;
mod inbound;
mod instances;
mod journal;
mod keys;
mod logins;
mod outbox;
mod overlay;
mod peek;
mod rows;
mod schema;
pub mod session;
mod snapshot;
mod space;
mod sweep;
mod tables;
mod upgrade;
mod webhooks;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use redb::{Database, ReadableDatabase as _};
use tokio::sync::{mpsc, oneshot};

use crate::domain::event::SharedFrame;
use crate::domain::id::EventId;

pub use answers::{REMEMBERED_FOR, Remembered};
pub use audit::AuditFilter;
pub use backlog::Backlog;
pub use compaction::{Compacted, compact};
pub use deliveries::{Debt, DeliveryFilter, DeliveryPage, EventsFor, NewDelivery, Retry, Stretch, Waiting};
pub use error::{OpenError, ReadError, WriteError};
pub use glance::glance;
pub use inbound::{INBOUND_KNOWN_FOR, InboundKey};
pub use journal::JournalPage;
pub use logins::StoredPassword;
pub use peek::{Held, Inspected, hold, inspect};
pub use rows::{Tx, View};
pub use schema::SCHEMA;
pub use snapshot::{Snapshot, SnapshotError, snapshot_of_file};
pub use sweep::{SweepLimits, Swept};
pub use upgrade::Upgraded;

use space::Space;
use writer::{Class, Message, Opener, Shared, Slot, Task, Writer};

/// Where committed events go, in commit order, on the writer's thread: it must not block.
pub type CommitSink = Arc<dyn Fn(&[SharedFrame]) + Send + Sync>;

/// Operations that may wait for the writer before callers wait for a place.
const QUEUE: usize = 1024;

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

/// Figures about the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Size of the file.
    pub file_bytes: u64,
    /// Events in the journal.
    pub journal_rows: u64,
    /// Bytes of their rows.
    pub journal_bytes: u64,
    /// The oldest of them.
    pub oldest_event: Option<EventId>,
    /// Commits that waited for the disk, since the store was opened.
    pub durable_commits: u64,
    /// Commits to memory alone, since the store was opened.
    pub lazy_commits: u64,
    /// Operations that shared these commits.
    pub operations: u64,
}

/// The store; cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Message>,
    path: PathBuf,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
    upgraded: Option<Upgraded>,
    reserve_bytes: u64,
}

impl Store {
    /// Opens the file, creating it if there is none; its folder must exist. An older one is brought up to date, after a
    /// copy of it was made; a newer one is refused and nothing is changed.
    pub fn open(options: &Options, sink: CommitSink) -> Result<Store, OpenError> {
        let (path, cache_bytes) = (options.path.clone(), options.cache_bytes);
        let space = Space::behind(&path, options.reserve_bytes);
        let (database, upgraded) = upgrade::begin(&path, cache_bytes, true)?;
        if let Some(folder) = path.parent() {
            snapshot::remove_abandoned(folder);
        }
        let mut first = Some(database);
        let opener = Box::new(move |_| first.take().map_or_else(|| open_file(&path, cache_bytes, false), Ok));
        let mut store = Self::start(options.path.clone(), opener, space, sink)?;
        if upgraded.is_some() {
            upgrade::forget_old_copies(&options.path);
        }
        store.upgraded = upgraded;
        store.reserve_bytes = options.reserve_bytes;
        Ok(store)
    }

    fn start(path: PathBuf, mut opener: Opener, space: Space, sink: CommitSink) -> Result<Store, OpenError> {
        let database = opener(true)?;
        let head = schema::prepare(&database)?;
        let shared = Arc::new(Shared::new(database, head));
        let (queue, waiting) = mpsc::channel(QUEUE);
        let failed = |error: io::Error| OpenError::Failed(error.into());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(failed)?;
        let writer = Writer::new(Arc::clone(&shared), path.clone(), waiting, opener, sink, space);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run(&runtime))
            .map_err(failed)?;
        Ok(Store {
            shared,
            queue,
            path,
            thread: Arc::new(Mutex::new(Some(thread))),
            upgraded: None,
            reserve_bytes: 0,
        })
    }

    /// Runs `work` in the writer's next transaction and answers once that is on disk.
    ///
    /// Operations that wait together share one commit. `work` may run more than once (when another operation of the
    /// same batch fails), so it must be repeatable, and it should read and check before it writes. Dropping the future
    /// does not take the operation back.
    pub async fn write<T, F>(&self, work: F) -> Result<T, WriteError>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, WriteError> + Send + 'static,
        T: Send + 'static,
    {
        const CLASS: Class = Class {
            durable: true,
            reserve: false,
        };
        self.submit(CLASS, work).await
    }

    /// Like [`Store::write`], but answers before the data is on disk: for what may be lost in a crash.
    ///
    /// What must not be lost waits for the disk all the same: events, new outbound messages, session numbers.
    pub async fn write_lazily<T, F>(&self, work: F) -> Result<T, WriteError>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, WriteError> + Send + 'static,
        T: Send + 'static,
    {
        const CLASS: Class = Class {
            durable: false,
            reserve: false,
        };
        self.submit(CLASS, work).await
    }

    /// Whether new work is taken: asks the writer, which does nothing for it. Errors: those that a write would meet now.
    ///
    /// While the store is broken the writer is left alone: it tries to open it again by itself, at its own pace.
    pub async fn check(&self) -> Result<(), WriteError> {
        match &*self.shared.slot.read().unwrap_or_else(PoisonError::into_inner) {
            Slot::Open(_) => {}
            Slot::Broken => {
                return Err(WriteError::Failed(
                    "the disk failed and the store is not back yet".into(),
                ));
            }
            Slot::Closed => return Err(WriteError::Closed),
        }
        self.write_lazily(|_| Ok(())).await
    }

    async fn submit<T, F>(&self, class: Class, work: F) -> Result<T, WriteError>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, WriteError> + Send + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Task {
            class,
            work,
            outcome: None,
            reply,
        };
        self.queue
            .send(Message::Run(Box::new(task)))
            .await
            .map_err(|_| WriteError::Closed)?;
        answer.await.unwrap_or(Err(WriteError::Closed))
    }

    /// Reads, on the calling thread: a few microseconds, no waiting for the writer.
    pub fn read<T>(&self, work: impl FnOnce(&View<'_>) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let txn = {
            let slot = self.shared.slot.read().unwrap_or_else(PoisonError::into_inner);
            match &*slot {
                Slot::Open(database) => database.begin_read().map_err(ReadError::failed)?,
                Slot::Broken => {
                    return Err(ReadError::Failed(
                        "the disk failed and the store is not back yet".into(),
                    ));
                }
                Slot::Closed => return Err(ReadError::Failed("the store is closed".into())),
            }
        };
        work(&View { txn: &txn })
    }

    /// The last event ever committed, also when the journal was swept since; `None` before the first.
    pub fn head(&self) -> Option<EventId> {
        self.shared.head().last_event
    }

    /// What was done to the file of an older version when it was opened.
    pub const fn upgraded(&self) -> Option<&Upgraded> {
        self.upgraded.as_ref()
    }

    /// The folder of the file.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Figures for metrics and for a person; cheap.
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method's path is not general enough over the view's lifetime"
    )]
    pub fn stats(&self) -> Result<Stats, ReadError> {
        let head = self.shared.head().clone();
        Ok(Stats {
            file_bytes: std::fs::metadata(&self.path)
                .map_err(|error| ReadError::Failed(error.into()))?
                .len(),
            journal_rows: head.journal_rows,
            journal_bytes: head.journal_bytes,
            oldest_event: self.read(|view| view.oldest_event())?,
            durable_commits: self.shared.durable_commits.load(Ordering::Relaxed),
            lazy_commits: self.shared.lazy_commits.load(Ordering::Relaxed),
            operations: self.shared.operations.load(Ordering::Relaxed),
        })
    }

    /// Writes what waits, and closes the file; later writes are answered [`WriteError::Closed`].
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Message::Close(done)).await.is_ok() {
            // An error means that another call closed it meanwhile.
            let _ = closed.await;
        }
        self.queue.closed().await;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread answered as its last act, so this does not wait.
            let _ = thread.join();
        }
    }
}

/// Opens the file for this process alone; `create` makes it if there is none.
fn open_file(path: &Path, cache_bytes: usize, create: bool) -> Result<Database, OpenError> {
    let file = private_file(path, create).map_err(|error| {
        OpenError::Failed(match error.kind() {
            io::ErrorKind::NotFound => format!("the folder of {} does not exist", path.display()).into(),
            _ => error.into(),
        })
    })?;
    let backend = redb::backends::FileBackend::new(file)?;
    Ok(Database::builder()
        .set_cache_size(cache_bytes)
        .create_with_backend(backend)?)
}

/// Only the owner may read the file: it holds the keys of every session.
fn private_file(path: &Path, create: bool) -> io::Result<File> {
    let is_new = create && !path.exists();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    if is_new && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        // Else a crash of the machine could leave the content without its name.
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}
