//! `backup`: everything that cannot be made anew, in one file, while the gateway runs or not.
//!
//! Failure modes first: the file only gets its name when it was read back whole, so a backup that was interrupted, or for
//! which the disk was too small, is never taken for one.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, IsTerminal as _, Read, Seek as _, Write};
use std::path::Path;
use std::thread::JoinHandle;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::PROGRAM;
use super::arguments::Backup;
use super::context::Context;
use super::failure::Failure;
use super::offline::cannot_open;
use super::sealing::{self, Sealing};
use super::state::{keys_of_store, store_path};
use crate::app::archive::{self, BadArchive, Manifest};
use crate::app::backups::{self, Pieces};
use crate::store::SnapshotError;
use crate::sys::draft::Draft;
use crate::sys::secret::Secret;

pub(super) async fn run(context: &Context, wanted: Backup) -> Result<(), Failure> {
    let passphrase = match sealing::given(wanted.passphrase_file.as_deref())? {
        None if wanted.encrypt => Some(sealing::chosen().await?),
        given => given,
    };
    let to_output = wanted.file == Path::new("-");
    if to_output && io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "a backup is no text for a terminal; name a file, or send it on: … backup - | ssh host 'cat >backup.tar.gz'"
                .into(),
        ));
    }
    let mut interrupted = Interrupt::listen()?;
    let taking = async {
        if to_output {
            into_output(context, passphrase.as_ref()).await
        } else {
            into_file(context, &wanted.file, wanted.force, passphrase.as_ref()).await
        }
    };
    let manifest = tokio::select! {
        manifest = taking => manifest?,
        () = interrupted.next() => return Err(Failure::failed("interrupted; there is no backup")),
    };
    if passphrase.is_none() {
        context.output.note(
            "note: whoever has this backup has every linked phone and every key; keep it where only you can read it, or encrypt it (--encrypt)",
        );
    }
    let what = |value: &Value| {
        format!(
            "backup of {} instances and {} events, {} MiB unpacked, read back and whole: {}",
            manifest.instances,
            manifest.events,
            unpacked_bytes(&manifest).div_ceil(1 << 20),
            value["file"].as_str().unwrap_or_default()
        )
    };
    let mut told = json!(manifest);
    told["encrypted"] = passphrase.is_some().into();
    if to_output {
        told["file"] = "standard output".into();
        context.output.note(&what(&told));
        return Ok(());
    }
    told["file"] = wanted.file.display().to_string().into();
    told["bytes"] = fs::metadata(&wanted.file).map_or(Value::Null, |meta| meta.len().into());
    context.output.value(&told, what)
}

fn unpacked_bytes(manifest: &Manifest) -> u64 {
    manifest.files.iter().map(|file| file.bytes).sum()
}

/// Where an archive comes from.
enum Source {
    Server(Incoming),
    Here(Pieces),
}

impl Source {
    /// The server's, or the store's itself when none runs.
    async fn open(context: &Context) -> Result<Self, Failure> {
        if let Some(client) = context.server_if_any().await? {
            return Ok(Self::Server(client.download("/v1/backups").await?));
        }
        let path = store_path(&context.state);
        if !path.exists() {
            return Err(Failure::Failed(format!(
                "there is no gateway in the state folder {}; name another with --state",
                context.state.display()
            )));
        }
        let keys = keys_of_store(context)?;
        if keys.secrets_key.is_none() {
            context
                .output
                .note("note: this store has no secrets.key yet, so the backup has none");
        }
        let pieces = backups::of_file(&path, keys).await.map_err(|error| match &error {
            SnapshotError::Open(error) => cannot_open(error),
            SnapshotError::Failed(cause) => Failure::Failed(format!("{error}: {cause}")),
            _ => Failure::Failed(error.to_string()),
        })?;
        Ok(Self::Here(pieces))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Server(body) => loop {
                match body.frame().await {
                    None => return Ok(None),
                    Some(Ok(frame)) => {
                        if let Ok(bytes) = frame.into_data() {
                            return Ok(Some(bytes));
                        }
                    }
                    Some(Err(_)) => {
                        return Err(Failure::failed(
                            "the server broke off in the middle; its log may say why. There is no backup",
                        ));
                    }
                }
            },
            Self::Here(pieces) => match pieces.recv().await {
                None => Ok(None),
                Some(Ok(bytes)) => Ok(Some(bytes)),
                Some(Err(error)) => Err(Failure::Failed(format!("the store could not be packed: {error}"))),
            },
        }
    }
}

async fn into_file(
    context: &Context,
    target: &Path,
    force: bool,
    passphrase: Option<&Secret>,
) -> Result<Manifest, Failure> {
    let taken = || {
        Failure::Failed(format!(
            "{} is there already; choose another name, or replace it with --force",
            target.display()
        ))
    };
    if target.is_dir() {
        return Err(Failure::Failed(format!(
            "{} is a folder; name a file in it, such as {}",
            target.display(),
            target.join("whatisup.tar.gz").display()
        )));
    }
    if !force && target.symlink_metadata().is_ok() {
        return Err(taken());
    }
    let failed = |error: io::Error| Failure::Failed(unwritable(target, &error));
    let draft = Draft::of(target)
        .ok_or_else(|| Failure::Usage(format!("{} is no name of a file", target.display())))?
        .map_err(failed)?;
    let mut source = Source::open(context).await?;
    let mut out = Sealing::new(BufWriter::new(draft.file()), passphrase).map_err(failed)?;
    while let Some(piece) = source.next().await? {
        out.write_all(&piece).map_err(failed)?;
    }
    let mut file = out
        .finish()
        .and_then(|out| out.into_inner().map_err(io::IntoInnerError::into_error))
        .map_err(failed)?;
    file.sync_all().and_then(|()| file.rewind()).map_err(failed)?;
    let manifest = read_back(file, passphrase)?;
    match draft.keep(force) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(taken()),
        kept => kept.map(|()| manifest).map_err(failed),
    }
}

fn unwritable(target: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => format!(
            "the disk of {} is too full for the backup; nothing was kept. Free some space, or send it elsewhere: {PROGRAM} backup - | …",
            target.display()
        ),
        io::ErrorKind::NotFound => format!("the folder of {} does not exist", target.display()),
        _ => format!("{} cannot be written: {error}", target.display()),
    }
}

/// What was written is read from the disk and held against its list, before anybody relies on it.
fn read_back(file: &File, passphrase: Option<&Secret>) -> Result<Manifest, Failure> {
    let reader: Box<dyn Read + '_> = match passphrase {
        None => Box::new(file),
        Some(passphrase) => sealing::unseal(file, passphrase)?,
    };
    archive::unpack(reader, None).map_err(|problem| not_whole(&problem))
}

fn not_whole(problem: &BadArchive) -> Failure {
    Failure::Failed(format!(
        "what was written does not read back, so it was not kept: {problem}"
    ))
}

async fn into_output(context: &Context, passphrase: Option<&Secret>) -> Result<Manifest, Failure> {
    let mut source = Source::open(context).await?;
    let mut out = Sealing::new(BufWriter::new(io::stdout().lock()), passphrase).map_err(|error| not_sent(&error))?;
    let (pieces, check) = check_on_the_way()?;
    while let Some(piece) = source.next().await? {
        out.write_all(&piece).map_err(|error| not_sent(&error))?;
        // A check that has ended tells why below.
        let _ = pieces.send(piece);
    }
    drop(pieces);
    out.finish()
        .and_then(|mut out| out.flush())
        .map_err(|error| not_sent(&error))?;
    let checked = check
        .join()
        .map_err(|_| Failure::failed("the check of the backup crashed"))?;
    checked.map_err(|problem| Failure::Failed(format!("what was sent to standard output is no backup: {problem}")))
}

/// A reader that goes away early is nothing bad elsewhere; here it has no backup.
fn not_sent(error: &io::Error) -> Failure {
    Failure::Failed(match error.kind() {
        io::ErrorKind::BrokenPipe => "whoever was to take the backup stopped reading; it is not whole".into(),
        _ => format!("the backup cannot be sent to standard output: {error}"),
    })
}

type Check = (
    std::sync::mpsc::SyncSender<Bytes>,
    JoinHandle<Result<Manifest, BadArchive>>,
);

/// Nobody can read standard output back, so what goes there is held against its list as it goes.
fn check_on_the_way() -> Result<Check, Failure> {
    let (send, pieces) = std::sync::mpsc::sync_channel(8);
    let check = std::thread::Builder::new()
        .spawn(move || {
            let reader = BufReader::new(Received {
                pieces,
                rest: Bytes::new(),
            });
            archive::unpack(reader, None)
        })
        .map_err(|error| Failure::Failed(format!("a thread cannot be started: {error}")))?;
    Ok((send, check))
}

/// Reads what comes through a channel, to its end.
struct Received {
    pieces: std::sync::mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl Read for Received {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.recv() {
                Ok(piece) => self.rest = piece,
                Err(_) => return Ok(0),
            }
        }
        let count = self.rest.len().min(out.len());
        out[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

/// Signals that ask for an end; what is half done is then taken back instead of left.
pub(super) struct Interrupt {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Interrupt {
    pub(super) fn listen() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
