//! `restore`: a backup takes the place of what is in the state folder.
//!
//! Everything is unpacked and checked in a folder of its own first, inside the state folder: that one may be the root of
//! a file system of its own, or a link, or lie where its owner cannot make anything beside it. What follows are a few
//! renames. A marker stands while they happen, and no gateway starts beside it: an interrupted restore is done once more,
//! never started by accident as an empty gateway.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde_json::json;

use super::PROGRAM;
use super::arguments::Restore;
use super::context::Context;
use super::failure::Failure;
use super::offline::cannot_open;
use super::sealing;
use super::state::{restore_marker, store_path};
use crate::app::archive::{self, BadArchive, Manifest, PEPPER, Place, SECRETS_KEY, STORE};
use crate::store::{self, Held, OpenError};
use crate::sys::secret::{RandomKey, Secret};
use crate::sys::{clock, paths};

/// How the folder begins in which a backup is unpacked.
const DRAFT: &str = ".restore-draft-";

/// How the folder begins that keeps what was there.
const KEPT: &str = "before-restore-";

/// What belongs to a store, by the beginning of its name.
const OURS: [&str; 5] = [STORE, ".store.redb", PEPPER, SECRETS_KEY, ".first-start"];

pub(super) async fn run(context: &Context, wanted: Restore) -> Result<(), Failure> {
    if context.server_if_any().await?.is_some() {
        return Err(Failure::Failed(format!(
            "a server is running on the state folder {}; stop it first, then restore",
            context.state.display()
        )));
    }
    let (is_sealed, reader) = open(&wanted.file)?;
    let passphrase = match sealing::given(wanted.passphrase_file.as_deref())? {
        None if is_sealed && wanted.file == Path::new("-") => {
            return Err(Failure::Usage(
                "the backup is encrypted and comes through standard input; name a file with its passphrase: --passphrase-file"
                    .into(),
            ));
        }
        None if is_sealed => Some(sealing::asked().await?),
        given => given,
    };
    let reader: Box<dyn Read> = match passphrase.filter(|_| is_sealed) {
        Some(passphrase) => sealing::unseal(reader, &passphrase)?,
        None => reader,
    };
    let folder = Folder::prepare(&context.state, wanted.force)?;
    let draft = folder.draft()?;
    let place = Place {
        folder: &draft.0,
        owner: folder.other_owner()?,
    };
    let manifest =
        archive::unpack(reader, Some(place)).map_err(|problem| refusal(&context.state, is_sealed, problem))?;
    check(&draft.0, &manifest)?;
    warn_of_other_keys(context, &draft.0)?;
    let kept = folder.exchange(&draft.0, &manifest)?;
    drop(draft);
    drop(folder);
    tell(context, &manifest, kept.as_deref())
}

fn open(file: &Path) -> Result<(bool, Box<dyn Read>), Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("the backup {} cannot be read: {error}", file.display()));
    let reader: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(file).map_err(failed)?)
    };
    let (is_sealed, reader) = sealing::look(reader).map_err(failed)?;
    Ok((is_sealed, Box::new(reader)))
}

fn refusal(state: &Path, is_sealed: bool, problem: BadArchive) -> Failure {
    let full = |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    Failure::Failed(match problem {
        BadArchive::Unwritable { source, .. } if full(&source) => format!(
            "the disk of {} is too full for the backup; nothing was changed",
            state.display()
        ),
        // The first bytes were those of an encrypted file, whose end is only seen when it is reached.
        BadArchive::Foreign(_) if is_sealed => {
            "the backup is damaged or cut off, or something else was encrypted with this passphrase; nothing was changed"
                .into()
        }
        other => format!("{other}; nothing was changed"),
    })
}

/// The state folder, which no server can open until this is dropped.
struct Folder {
    path: PathBuf,
    /// To be removed again when nothing came into it.
    is_new: bool,
    _held: Option<Held>,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_new {
            // Only when it is empty.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// A folder that goes with everything in it.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // A name that nobody takes for a state; the next restore removes it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    /// Makes sure that it may be written to, and locks the store in it.
    fn prepare(path: &Path, force: bool) -> Result<Self, Failure> {
        let is_new = !path.exists();
        if !is_new {
            require_empty(path, force)?;
        }
        paths::prepare_private_dir(path).map_err(|problem| Failure::Failed(format!("the state folder {problem}")))?;
        let held = store::hold(&store_path(path)).map_err(|error| match error {
            OpenError::InUse => Failure::failed("another process has the store open; stop it first, then restore"),
            other => cannot_open(&other),
        })?;
        let folder = Self {
            path: path.to_owned(),
            is_new,
            _held: held,
        };
        for entry in folder.entries()? {
            if name(&entry).starts_with(DRAFT) {
                fs::remove_dir_all(&entry).map_err(|error| folder.unwritable(&error))?;
            }
        }
        Ok(folder)
    }

    fn entries(&self) -> Result<Vec<PathBuf>, Failure> {
        entries(&self.path).map_err(|error| self.unwritable(&error))
    }

    fn unwritable(&self, error: &io::Error) -> Failure {
        Failure::Failed(format!(
            "the state folder {} cannot be changed: {error}",
            self.path.display()
        ))
    }

    /// A folder for what is unpacked.
    fn draft(&self) -> Result<Draft, Failure> {
        let path = self
            .path
            .join(format!("{DRAFT}{}", hex::encode(rand::random::<[u8; 4]>())));
        // This one stays with who made it: nobody else can change anything in it.
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| self.unwritable(&error))?;
        Ok(Draft(path))
    }

    /// To whom the state folder belongs, when that is not who runs this: root restores the state of a service.
    fn other_owner(&self) -> Result<Option<(u32, u32)>, Failure> {
        let meta = fs::metadata(&self.path).map_err(|error| self.unwritable(&error))?;
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Ok(Some((meta.uid(), meta.gid())).filter(|owner| *owner != own))
    }

    /// Gives something that was just made to the owner of the folder, by its handle: whoever owns the folder can change
    /// what a name in it stands for.
    fn give(&self, made: &File) -> io::Result<()> {
        match self.other_owner() {
            Ok(Some((user, group))) => std::os::unix::fs::fchown(made, Some(user), Some(group)),
            _ => Ok(()),
        }
    }

    fn raise(&self, marker: &Path) -> io::Result<()> {
        match OpenOptions::new().write(true).create_new(true).open(marker) {
            Ok(made) => self.give(&made),
            // Of a restore that was interrupted.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Puts what was there aside and what was unpacked in its place; answers where the old things are.
    fn exchange(&self, draft: &Path, manifest: &Manifest) -> Result<Option<PathBuf>, Failure> {
        let marker = restore_marker(&self.path);
        self.raise(&marker)
            .and_then(|()| self.sync())
            .map_err(|error| self.unwritable(&error))?;
        let half = |error: io::Error| {
            Failure::Failed(format!(
                "the restore stopped half way: {error}. No gateway starts on {} until it was done once more: `{PROGRAM} restore --force …`",
                self.path.display()
            ))
        };
        let kept = self.put_aside().map_err(half)?;
        // The store last: what counts is whether it is there.
        for listed in manifest.files.iter().rev() {
            fs::rename(draft.join(&listed.name), self.path.join(&listed.name)).map_err(half)?;
        }
        self.sync().map_err(half)?;
        fs::remove_file(&marker).and_then(|()| self.sync()).map_err(half)?;
        Ok(kept)
    }

    fn put_aside(&self) -> io::Result<Option<PathBuf>> {
        let old: Vec<_> = entries(&self.path)?
            .into_iter()
            .filter(|path| OURS.iter().any(|ours| name(path).starts_with(ours)))
            .collect();
        if old.is_empty() {
            return Ok(None);
        }
        let stamp: String = clock::now().to_string().chars().filter(char::is_ascii_digit).collect();
        let aside = self.path.join(format!("{KEPT}{stamp}"));
        DirBuilder::new().mode(0o700).create(&aside)?;
        for path in old {
            fs::rename(&path, aside.join(name(&path)))?;
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let kept = File::from(rustix::fs::open(&aside, flags, Mode::empty())?);
        kept.sync_all()?;
        self.give(&kept)?;
        Ok(Some(aside))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn require_empty(path: &Path, force: bool) -> Result<(), Failure> {
    let there = entries(path)
        .map_err(|error| Failure::Failed(format!("the state folder {} cannot be read: {error}", path.display())))?;
    let mut there: Vec<_> = there
        .iter()
        .map(|path| name(path))
        // What an interrupted restore left, and what stands in the root of every file system.
        .filter(|name| !name.starts_with(DRAFT) && name != "lost+found")
        .collect();
    if force || there.is_empty() {
        return Ok(());
    }
    there.sort();
    let more = if there.len() > 3 { ", …" } else { "" };
    there.truncate(3);
    Err(Failure::Failed(format!(
        "the state folder {} is not empty ({}{more}); with --force the gateway in it is put aside, into {KEPT}… inside it",
        path.display(),
        there.join(", ")
    )))
}

/// What was unpacked is a store of a schema known here, with keys that are keys.
fn check(draft: &Path, manifest: &Manifest) -> Result<(), Failure> {
    let damaged = |what: &str| Failure::Failed(format!("the backup is damaged: {what}; nothing was changed"));
    for listed in manifest.files.iter().filter(|listed| listed.name != STORE) {
        if !matches!(RandomKey::read(&draft.join(&listed.name)), Ok(Some(_))) {
            return Err(damaged(&format!("{} is no key", listed.name)));
        }
    }
    match store::inspect(&draft.join(STORE)) {
        Ok(Some(found)) => {
            found.require_known().map_err(|error| cannot_open(&error))?;
            if found.schema == manifest.schema {
                return Ok(());
            }
            Err(damaged("its store has another schema than its list says"))
        }
        Ok(None) => Err(damaged("there is nothing in its store")),
        Err(_) => Err(damaged("its store cannot be opened")),
    }
}

/// Settings may name other keys than those of the backup, and they count more.
fn warn_of_other_keys(context: &Context, draft: &Path) -> Result<(), Failure> {
    let config = context.config();
    let named: [(&Option<Secret>, &str, &str); 2] = [
        (&config.pepper, PEPPER, "no API key of the backup works"),
        (
            &config.secrets_key,
            SECRETS_KEY,
            "webhooks cannot sign until their secrets are rotated",
        ),
    ];
    for (set, name, then) in named {
        let Some(set) = set else { continue };
        let restored = RandomKey::read(&draft.join(name)).map_err(|problem| Failure::Failed(problem.to_string()))?;
        if RandomKey::parse(set.expose()) != restored {
            context.output.note(&format!(
                "warning: your settings name another {name} than the backup has; with it, {then}. Remove the setting, or put the backup's {name} in its place"
            ));
        }
    }
    Ok(())
}

fn tell(context: &Context, manifest: &Manifest, kept: Option<&Path>) -> Result<(), Failure> {
    for sentence in [
        "note: the installation of which this backup was made must stay off. Two that run with the same link throw each other out until WhatsApp ends it, and then the phones must be linked again.",
        "note: the keys of conversations are those of the day of the backup. What comes next may be unreadable at first; it is asked for again by itself, which mostly works. What happened since the backup is not in it.",
    ] {
        context.output.note(sentence);
    }
    if let Some(kept) = kept {
        context.output.note(&format!(
            "note: what was there before is kept in {}; remove it when you are content",
            kept.display()
        ));
    }
    let mut told = json!(manifest);
    told["state"] = context.state.display().to_string().into();
    told["kept"] = kept.map(|kept| kept.display().to_string()).into();
    context.output.value(&told, |_| {
        format!(
            "restored {} instances and {} events of {} into {}; start the gateway when the old one is off",
            manifest.instances,
            manifest.events,
            manifest.created_at,
            context.state.display()
        )
    })
}
