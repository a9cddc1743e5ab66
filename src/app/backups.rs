//! A backup of everything that cannot be made anew: a snapshot of the store and the keys that belong to it.
//!
//! It is made while the gateway runs and holds nobody up: a thread of its own takes the snapshot and packs it while it
//! is sent. Only the owner of the machine gets one, because whoever has it has every linked phone.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::App;
use super::archive::{self, Keys};
use crate::domain::access::Caller;
use crate::domain::audit::{Action, Note};
use crate::domain::error::{Code, Error};
use crate::store::{self, Snapshot, SnapshotError};
use crate::sys::clock;

/// When to try again while another backup is made.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Bytes of a piece on its way.
const PIECE_BYTES: usize = 64 << 10;

/// Pieces that wait for a slow reader.
const PIECES: usize = 8;

/// What backups need beside the store.
#[derive(Clone)]
pub struct Backups {
    keys: Arc<Keys>,
    /// One after the other: each takes disk and processor.
    turn: Arc<Mutex<()>>,
}

impl Backups {
    /// Backups with these keys.
    pub fn new(keys: Keys) -> Self {
        Self {
            keys: Arc::new(keys),
            turn: Arc::default(),
        }
    }
}

/// An archive on its way; an error instead of a piece ends it.
pub type Pieces = mpsc::Receiver<io::Result<Bytes>>;

/// Takes a snapshot, then packs it while it is read.
pub async fn create(app: &App, caller: &Caller) -> Result<Pieces, Error> {
    caller.require_unbound()?;
    // Refused rather than queued: one whose reader stands still would hold up all that come after it, unseen.
    let turn = Arc::clone(&app.backups.turn).try_lock_owned().map_err(|_| {
        Error::new(
            Code::AtCapacity,
            "Another backup is being made, and its reader has not taken all of it yet. Try again when it is done.",
        )
        .with_retry_after(RETRY_AFTER)
    })?;
    let store = app.store.clone();
    let snapshot = on_a_thread(move |given_up| store.snapshot(given_up))
        .await
        .map_err(|error| refusal(&error))?;
    // Before the first byte leaves: whoever has taken the keys of all phones is on record.
    let note = Note::by(caller, Action::BackupsCreate);
    app.store.write(move |tx| tx.audit(&note)).await?;
    Ok(packed(snapshot, Keys::clone(&app.backups.keys), turn))
}

/// The same of a store's file that no process has open.
pub async fn of_file(path: &Path, keys: Keys) -> Result<Pieces, SnapshotError> {
    let path = path.to_owned();
    let snapshot = on_a_thread(move |given_up| store::snapshot_of_file(&path, given_up)).await?;
    Ok(packed(snapshot, keys, ()))
}

/// Runs a long work on a thread of its own, which gives up when nobody waits for it any more. A runtime's own threads
/// would hold up its end.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce(&dyn Fn() -> bool) -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, SnapshotError> {
    let (reply, answer) = oneshot::channel();
    std::thread::Builder::new()
        .name("backup".to_owned())
        .spawn(move || {
            let outcome = work(&|| reply.is_closed());
            let _ = reply.send(outcome);
        })
        .map_err(|error| SnapshotError::Failed(error.into()))?;
    // Without an answer the thread has panicked.
    answer
        .await
        .unwrap_or_else(|_| Err(SnapshotError::Failed("the snapshot's thread ended early".into())))
}

/// Packs on a thread of its own, as fast as the pieces are read; `turn` is held until it is done.
fn packed(snapshot: Snapshot, keys: Keys, turn: impl Send + 'static) -> Pieces {
    let (pieces, reader) = mpsc::channel(PIECES);
    let failed = pieces.clone();
    let spawned = std::thread::Builder::new().name("backup".to_owned()).spawn(move || {
        let _turn = turn;
        let mut out = BufWriter::with_capacity(PIECE_BYTES, Sending(pieces.clone()));
        let outcome = archive::pack(&snapshot, &keys, clock::now(), &mut out).and_then(|_| out.flush());
        // What is left in the buffer after a fault must not follow the error.
        drop(out.into_parts());
        drop(snapshot);
        if let Err(error) = outcome {
            if error.kind() != io::ErrorKind::BrokenPipe {
                tracing::error!(%error, "a backup could not be packed");
            }
            // Nobody may be reading any more.
            let _ = pieces.blocking_send(Err(error));
        }
    });
    if let Err(error) = spawned {
        let _ = failed.try_send(Err(error));
    }
    reader
}

/// Sends what is written, piece by piece.
struct Sending(mpsc::Sender<io::Result<Bytes>>);

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn refusal(error: &SnapshotError) -> Error {
    match error {
        SnapshotError::NoRoom { .. } | SnapshotError::Full => {
            Error::new(Code::StorageFull, format!("There is no backup: {error}."))
        }
        SnapshotError::GivenUp | SnapshotError::Nothing => Error::new(Code::ShuttingDown, "The gateway is stopping."),
        SnapshotError::Open(_) | SnapshotError::Failed(_) => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
            Error::internal(io::Error::other(format!("{error}{}", cause.unwrap_or_default())))
        }
    }
}
