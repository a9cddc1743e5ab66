//! The one thread that writes: it takes what waits, commits it at once, publishes, and only then answers.
//!
//! There is no timer between an operation and its commit: a lonely one is committed alone, and while the disk flushes
//! the next ones gather, so the size of a batch follows the load. A batch with nothing durable in it is committed to
//! memory alone and reaches the disk with the next durable commit, at the latest after [`LAZY_FOR`]. Commits are
//! totally ordered, so a crash loses the newest lazy operations and never an old one before a newer one.
//!
//! After a fault of the disk the database refuses everything until it is opened anew. The writer does that by itself,
//! and finds out from the [`Head`] in the file whether the commit that failed got through all the same.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use redb::{Database, Durability};
use tokio::sync::{mpsc, oneshot};

use super::error::{Fault, OpenError, WriteError};
use super::journal::{HEAD, Head};
use super::rows::{Batch, Tx};
use super::space::Space;
use super::{CommitSink, schema, tables};
use crate::sys::clock::{self, Moment};

/// How long lazily written data may stay away from the disk.
const LAZY_FOR: Duration = Duration::from_millis(200);

/// How long to wait before a database that could not be opened again is tried once more without anybody asking.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// From this size on every durable commit also records which pages are free, so that opening after a crash need not
/// walk the file. That takes a second flush: a lonely commit then takes twice as long. A walk reads about a GiB a second
/// from memory and tens of MiB a second from a bad card, so small files are better walked.
const WALKED_BELOW: u64 = 32 << 20;

/// Operations that may share one commit. It bounds what an operation that must be undone makes others repeat.
const BATCH: usize = 256;

/// Opens the database; `true` for the first time, when the file may be made.
pub(super) type Opener = Box<dyn FnMut(bool) -> Result<Database, OpenError> + Send>;

/// What an operation asks for beyond being carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Class {
    /// Answered when on disk, rather than when in memory.
    pub(super) durable: bool,
    /// May use the last of the disk: what frees space, and what keeps a linked session from losing its keys.
    pub(super) reserve: bool,
}

/// An operation whose types are forgotten.
pub(super) trait Job: Send {
    fn class(&self) -> Class;
    /// Runs, perhaps again, and says whether it succeeded.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Answers the caller: with what `run` gave, unless the commit failed.
    fn answer(self: Box<Self>, commit: Result<(), Fault>);
}

/// An operation and who waits for it.
pub(super) struct Task<T, F> {
    pub(super) class: Class,
    pub(super) work: F,
    pub(super) outcome: Option<Result<T, WriteError>>,
    pub(super) reply: oneshot::Sender<Result<T, WriteError>>,
}

impl<T: Send, F: FnMut(&mut Tx<'_>) -> Result<T, WriteError> + Send> Job for Task<T, F> {
    fn class(&self) -> Class {
        self.class
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        // What a panic leaves half done in the closure's own values can only be seen by the closure, and what it left
        // in the transaction is undone.
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.work)(tx)))
            .unwrap_or_else(|_| Err(Fault::because("an operation panicked").into()));
        let done = outcome.is_ok();
        self.outcome = Some(outcome);
        done
    }

    fn answer(self: Box<Self>, commit: Result<(), Fault>) {
        let answer = match commit {
            Ok(()) => self.outcome.unwrap_or(Err(WriteError::Closed)),
            Err(fault) => Err(fault.into()),
        };
        // Nobody waits any more when the caller was cancelled; what was written stays written.
        let _ = self.reply.send(answer);
    }
}

pub(super) enum Message {
    Run(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// The database, while there is one.
pub(super) enum Slot {
    Open(Database),
    /// A fault of the disk closed it and it could not be opened again yet.
    Broken,
    Closed,
}

/// What readers and the writer share.
pub(super) struct Shared {
    pub(super) slot: RwLock<Slot>,
    head: Mutex<Head>,
    pub(super) durable_commits: AtomicU64,
    pub(super) lazy_commits: AtomicU64,
    pub(super) operations: AtomicU64,
}

impl Shared {
    pub(super) fn new(database: Database, head: Head) -> Self {
        Self {
            slot: RwLock::new(Slot::Open(database)),
            head: Mutex::new(head),
            durable_commits: AtomicU64::new(0),
            lazy_commits: AtomicU64::new(0),
            operations: AtomicU64::new(0),
        }
    }

    pub(super) fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, slot: Slot) {
        // The old database is closed, and its file lock freed, before the next line runs.
        *self.slot.write().unwrap_or_else(PoisonError::into_inner) = slot;
    }
}

/// How one attempt at a batch ended.
enum Attempt {
    Committed,
    /// The job at this place failed after it wrote, so everything was undone.
    Undone(usize),
    Failed(Fault),
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    path: PathBuf,
    queue: mpsc::Receiver<Message>,
    opener: Opener,
    sink: CommitSink,
    space: Space,
    /// Since when something waits in memory for a durable commit.
    lazy_since: Option<Moment>,
    /// The batch whose commit failed, until it is known whether it is in the file.
    attempted: Option<Batch>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        path: PathBuf,
        queue: mpsc::Receiver<Message>,
        opener: Opener,
        sink: CommitSink,
        space: Space,
    ) -> Self {
        Self {
            shared,
            path,
            queue,
            opener,
            sink,
            space,
            lazy_since: None,
            attempted: None,
        }
    }

    /// The life of the thread; `runtime` has a timer and nothing else.
    pub(super) fn run(mut self, runtime: &tokio::runtime::Runtime) {
        let mut closing = Vec::new();
        loop {
            let mut jobs = Vec::new();
            match runtime.block_on(self.next()) {
                Next::Message(Message::Run(job)) => jobs.push(job),
                Next::Message(Message::Close(done)) => {
                    self.queue.close();
                    closing.push(done);
                }
                Next::Pause => self.catch_up(),
                Next::End => break,
            }
            while jobs.len() < BATCH {
                match self.queue.try_recv() {
                    Ok(Message::Run(job)) => jobs.push(job),
                    Ok(Message::Close(done)) => {
                        self.queue.close();
                        closing.push(done);
                    }
                    Err(_) => break,
                }
            }
            if !jobs.is_empty() {
                self.carry_out(jobs);
            }
        }
        self.flush();
        self.shared.set(Slot::Closed);
        for done in closing {
            let _ = done.send(());
        }
    }

    async fn next(&mut self) -> Next {
        let pause = match self.lazy_since {
            Some(since) => Some(LAZY_FOR.saturating_sub(clock::moment().since(since))),
            None if self.is_broken() => Some(REOPEN_EVERY),
            None => None,
        };
        let message = match pause {
            Some(pause) => match tokio::time::timeout(pause, self.queue.recv()).await {
                Ok(message) => message,
                Err(_) => return Next::Pause,
            },
            None => self.queue.recv().await,
        };
        message.map_or(Next::End, Next::Message)
    }

    /// Whether a walk through the file would take noticeably long.
    fn is_large(&self) -> bool {
        std::fs::metadata(&self.path).map_or(true, |file| file.len() >= WALKED_BELOW)
    }

    fn is_broken(&self) -> bool {
        matches!(
            *self.shared.slot.read().unwrap_or_else(PoisonError::into_inner),
            Slot::Broken
        )
    }

    /// What is to be done when nothing comes in.
    fn catch_up(&mut self) {
        if self.is_broken() {
            let _ = self.reopen();
        }
        self.flush();
    }

    /// Brings to disk what waits in memory.
    fn flush(&mut self) {
        if self.lazy_since.is_some() {
            if let Attempt::Failed(fault) = self.attempt(&mut [], true) {
                let _ = self.recover(fault);
            }
            // Lost or saved, it no longer waits.
            self.lazy_since = None;
        }
    }

    /// Commits the jobs together and answers every one of them.
    fn carry_out(&mut self, jobs: Vec<Box<dyn Job>>) {
        self.shared.operations.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        let (mut jobs, refused): (Vec<_>, Vec<_>) = if self.space.is_low() {
            jobs.into_iter().partition(|job| job.class().reserve)
        } else {
            (jobs, Vec::new())
        };
        for job in refused {
            job.answer(Err(Fault::Full));
        }
        // Jobs that failed after they wrote. They are answered with the others, because what made them fail may be
        // something that another job of the batch wrote.
        let mut failed = Vec::new();
        let outcome = loop {
            if jobs.is_empty() && failed.is_empty() {
                return;
            }
            match self.attempt(&mut jobs, false) {
                Attempt::Committed => break Ok(()),
                Attempt::Undone(index) => failed.push(jobs.remove(index)),
                Attempt::Failed(fault) => break self.recover(fault),
            }
        };
        for job in jobs.into_iter().chain(failed) {
            job.answer(outcome.clone());
        }
    }

    fn attempt(&mut self, jobs: &mut [Box<dyn Job>], flush: bool) -> Attempt {
        let shared = Arc::clone(&self.shared);
        if self.is_broken()
            && let Err(fault) = self.reopen()
        {
            return Attempt::Failed(fault);
        }
        let slot = shared.slot.read().unwrap_or_else(PoisonError::into_inner);
        let Slot::Open(database) = &*slot else {
            return Attempt::Failed(Fault::because("the store is not open"));
        };
        let mut txn = match database.begin_write() {
            Ok(txn) => txn,
            Err(error) => return Attempt::Failed(Fault::of(error.into())),
        };
        let mut batch = Batch {
            head: self.shared.head().clone(),
            ..Batch::default()
        };
        for (index, job) in jobs.iter_mut().enumerate() {
            batch.wrote = false;
            let done = job.run(&mut Tx {
                txn: &txn,
                batch: &mut batch,
            });
            if let Some(fault) = batch.fault.take() {
                return Attempt::Failed(fault);
            }
            if !done && batch.wrote {
                return Attempt::Undone(index);
            }
            batch.changed |= batch.wrote;
        }

        let lazy = self.lazy_since.is_some();
        let overdue = self
            .lazy_since
            .is_some_and(|since| clock::moment().since(since) >= LAZY_FOR);
        let durable = flush || overdue || batch.to_disk || jobs.iter().any(|job| job.class().durable);
        // An answer may rest on what an earlier lazy operation wrote, so that has to be on disk before a durable answer.
        let has_work = batch.changed || (durable && lazy);
        if !has_work {
            return Attempt::Committed;
        }
        if durable {
            batch.head.commit += 1;
            let marker = match serde_json::to_vec(&batch.head) {
                Ok(marker) => marker,
                Err(error) => return Attempt::Failed(Fault::because(error)),
            };
            let tx = &mut Tx {
                txn: &txn,
                batch: &mut batch,
            };
            if let Err(error) = tx.put(tables::META, HEAD, &marker) {
                let fault = batch.fault.take();
                return Attempt::Failed(fault.unwrap_or_else(|| Fault::because(error)));
            }
            txn.set_quick_repair(self.is_large());
        } else if let Err(error) = txn.set_durability(Durability::None) {
            return Attempt::Failed(Fault::because(error));
        }
        match catch_unwind(AssertUnwindSafe(|| txn.commit())) {
            Ok(Ok(())) => {
                drop(slot);
                self.committed(batch, durable);
                Attempt::Committed
            }
            Ok(Err(error)) => {
                self.attempted = durable.then_some(batch);
                Attempt::Failed(Fault::of(error.into()))
            }
            Err(_) => {
                self.attempted = durable.then_some(batch);
                Attempt::Failed(Fault::because("the database panicked in a commit"))
            }
        }
    }

    /// A commit is through: tells the world.
    fn committed(&mut self, batch: Batch, durable: bool) {
        if durable {
            self.shared.durable_commits.fetch_add(1, Ordering::Relaxed);
            self.lazy_since = None;
        } else {
            self.shared.lazy_commits.fetch_add(1, Ordering::Relaxed);
            self.lazy_since = self.lazy_since.or_else(|| Some(clock::moment()));
        }
        *self.shared.head() = batch.head;
        if !batch.frames.is_empty() && catch_unwind(AssertUnwindSafe(|| (self.sink)(&batch.frames))).is_err() {
            tracing::error!("publishing committed events panicked; readers find them in the journal");
        }
    }

    /// After a fault: opens the database anew, and answers for a commit that got through all the same.
    fn recover(&mut self, fault: Fault) -> Result<(), Fault> {
        match &fault {
            Fault::Full => tracing::error!("the disk is full: nothing can be stored until there is space again"),
            Fault::Failed(cause) => tracing::error!(error = %cause, "a write transaction failed"),
        }
        match self.reopen() {
            // Only a commit that the disk takes without complaint shows that the one before it will stay.
            Ok(true) => match (self.attempt(&mut [], true), fault) {
                (Attempt::Committed, Fault::Full) => Ok(()),
                (_, fault) => Err(fault),
            },
            // "Full" promises that nothing was stored, which nobody knows before the file is open again.
            Err(cause) if self.attempted.is_some() => Err(cause),
            Ok(false) | Err(_) => Err(fault),
        }
    }

    /// Opens the database anew and says whether the commit that failed last is in the file. If so its events are
    /// published now, whatever its callers are answered: readers of the journal see them.
    fn reopen(&mut self) -> Result<bool, Fault> {
        self.lazy_since = None;
        self.shared.set(Slot::Broken);
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let database = (self.opener)(false)?;
            let head = schema::head(&database)?;
            Ok::<_, OpenError>((database, head))
        }));
        let (database, on_disk) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the store cannot be opened again yet"
                );
                return Err(Fault::because(error));
            }
            Err(_) => return Err(Fault::because("the database panicked while it was opened again")),
        };
        self.shared.set(Slot::Open(database));
        tracing::info!("the store was opened again after a fault of the disk");
        match self.attempted.take() {
            Some(batch) if batch.head.commit == on_disk.commit => {
                self.committed(batch, true);
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// What the thread does next.
enum Next {
    Message(Message),
    Pause,
    End,
}
