//! The state folder: whose it is, who may look inside, whether its keys are there, who holds the store, and of which
//! version that is. Nothing here writes, creates or locks anything.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::PROGRAM;
use super::super::context::Context;
use super::super::state::store_path;
use super::check::Check;
use super::server::{Presence, number};
use crate::store::{self, Inspected, OpenError, SCHEMA};
use crate::sys::locks::Lock;
use crate::sys::process;
use crate::sys::secret::{RandomKey, SecretProblem};

/// The files that are worth stealing.
const PRECIOUS: [&str; 4] = ["store.redb", "pepper", "secrets.key", "admin.sock"];

/// A file or folder as the disk shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    name: String,
    mode: u32,
    owner: u32,
}

/// Whose the folder and its files are, and who else may enter.
pub(super) fn permissions(context: &Context) -> Check {
    const NAME: &str = "permissions";
    let folder = &context.state;
    let shown = folder.display();
    let metadata = match fs::metadata(folder) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Check::skipped(
                NAME,
                format!("there is no state folder {shown} yet; the first start makes it"),
            );
        }
        Err(error) => {
            let advice = format!("run this as the user of the server, or as root: sudo {PROGRAM} doctor --state …");
            return Check::warn(
                NAME,
                format!("the state folder {shown} cannot be looked at: {error}"),
                advice,
            );
        }
    };
    if !metadata.is_dir() {
        let advice = "name a folder with --state or move the file out of the way";
        return Check::fail(NAME, format!("{shown} is not a folder"), advice);
    }
    let own = Entry {
        name: shown.to_string(),
        mode: metadata.mode() & 0o7777,
        owner: metadata.uid(),
    };
    let listed = fs::read_dir(folder).map(|entries| {
        let entries = entries.flatten().filter_map(|entry| {
            let metadata = entry.metadata().ok().filter(|metadata| !metadata.is_symlink())?;
            Some(Entry {
                name: entry.file_name().to_string_lossy().into_owned(),
                mode: metadata.mode() & 0o7777,
                owner: metadata.uid(),
            })
        });
        entries.collect()
    });
    judge_permissions(&own, listed, rustix::process::geteuid().as_raw())
}

fn judge_permissions(folder: &Entry, inside: io::Result<Vec<Entry>>, me: u32) -> Check {
    const NAME: &str = "permissions";
    let Entry { name, mode, owner } = folder;
    if *owner != me && me != 0 {
        let advice = "run this, and the server, as that user; or name another folder with --state";
        return Check::fail(
            NAME,
            format!("{name} belongs to another user (uid {owner}, this is uid {me})"),
            advice,
        );
    }
    let mut inside = match inside {
        Ok(inside) => inside,
        Err(error) => {
            return Check::fail(
                NAME,
                format!("{name} cannot be listed: {error}"),
                format!("chmod 700 {name}"),
            );
        }
    };
    inside.sort_by(|one, other| one.name.cmp(&other.name));
    let named = |entries: Vec<&Entry>| -> Option<String> {
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if let Some(foreign) = named(inside.iter().filter(|entry| entry.owner != *owner).collect()) {
        return Check::fail(
            NAME,
            format!("in {name}, other users own: {foreign}; a server run by uid {owner} cannot use them"),
            format!("chown -R {owner} {name}"),
        );
    }
    let open = inside.iter().filter(|entry| entry.mode & 0o077 != 0);
    let precious = named(
        open.clone()
            .filter(|entry| PRECIOUS.contains(&entry.name.as_str()))
            .collect(),
    );
    match (mode & 0o077 != 0, precious) {
        (true, Some(files)) => Check::fail(
            NAME,
            format!("{name} has mode {mode:03o}, and other users may read inside: {files}"),
            format!("chmod 700 {name} && chmod 600 its files; then treat what they hold as seen"),
        ),
        (true, None) => Check::warn(
            NAME,
            format!("{name} is open to other users (mode {mode:03o})"),
            format!("chmod 700 {name}; the next start does it too"),
        ),
        (false, Some(files)) => Check::warn(
            NAME,
            format!("the folder {name} is closed, but these files in it stand open: {files}"),
            "chmod 600 them, so that a copy of them is no gift either",
        ),
        (false, None) => Check::ok(NAME, format!("{name} is for uid {owner} alone (mode {mode:03o})")),
    }
}

/// Whether the pepper and the key of secrets are there and can be read.
pub(super) fn secrets(context: &Context) -> Check {
    const NAME: &str = "secrets";
    let (config, folder) = (context.config(), &context.state);
    let has_store = match fs::exists(store_path(folder)) {
        Ok(exists) => exists,
        Err(error) => return Check::skipped(NAME, format!("the state folder cannot be looked into: {error}")),
    };
    if !folder.exists() {
        return Check::skipped(NAME, "the first start makes them");
    }
    let state = |given: bool, file: &str| {
        if given {
            Key::Given
        } else {
            Key::of(RandomKey::read(&folder.join(file)))
        }
    };
    judge_secrets(
        has_store,
        &state(config.pepper.is_some(), "pepper"),
        &state(config.secrets_key.is_some(), "secrets.key"),
    )
}

/// How a key stands.
enum Key {
    /// The settings bring it.
    Given,
    There,
    Missing,
    Broken(String),
}

impl Key {
    fn of(read: Result<Option<RandomKey>, SecretProblem>) -> Self {
        match read {
            Ok(Some(_)) => Key::There,
            Ok(None) => Key::Missing,
            Err(problem) => Key::Broken(problem.to_string()),
        }
    }
}

fn judge_secrets(has_store: bool, pepper: &Key, key: &Key) -> Check {
    const NAME: &str = "secrets";
    match (pepper, key) {
        (Key::Broken(problem), _) | (_, Key::Broken(problem)) => Check::fail(
            NAME,
            problem,
            "restore it from your backup, or make it readable for the user of the server",
        ),
        (Key::Missing, _) if has_store => Check::fail(
            NAME,
            "the pepper is missing, and without it no API key of this store works; the server does not start",
            "restore the file `pepper` from your backup, or name it with WHATISUP_PEPPER_FILE",
        ),
        (_, Key::Missing) if has_store => Check::warn(
            NAME,
            "secrets.key is missing; the next start makes a new one, and webhooks then cannot be signed",
            "restore it from your backup before starting, or rotate the secret of each webhook endpoint",
        ),
        (Key::Missing, _) | (_, Key::Missing) => Check::skipped(NAME, "the first start makes them"),
        _ => Check::ok(NAME, "pepper and secrets.key are there"),
    }
}

/// Who has the store open.
pub(super) fn lock(presence: &Presence, lock: Lock) -> Check {
    let held = match lock {
        Lock::Held { pid } => Some((pid, process::name(pid), process::state(pid))),
        _ => None,
    };
    judge_lock(presence, held, lock)
}

fn judge_lock(presence: &Presence, held: Option<(u32, Option<String>, Option<char>)>, lock: Lock) -> Check {
    const NAME: &str = "lock";
    let holder = held.map(|(pid, name, state)| {
        let name = name.unwrap_or_else(|| "a program".into());
        let doing = match state {
            Some('T' | 't') => ", which was stopped (SIGSTOP)",
            Some('D') => ", which waits for the disk",
            Some('Z') => ", which has ended and was not cleared away",
            _ => "",
        };
        (pid, state, format!("{name} (pid {pid}){doing}"))
    });
    match (presence, holder) {
        (Presence::Answers(_), Some((_, _, who))) => Check::ok(NAME, format!("the server answers: {who}")),
        (Presence::Answers(_), None) => Check::ok(NAME, "the server answers"),
        (Presence::Forbidden, who) => Check::warn(
            NAME,
            who.map_or_else(
                || "the admin socket belongs to another user".to_owned(),
                |(_, _, who)| format!("{who} has the store, and its admin socket belongs to another user"),
            ),
            "run this as the user of the server, or as root",
        ),
        (Presence::Silent(how), Some((pid, state, who))) => Check::fail(
            NAME,
            format!("{who} has the store and its admin socket, but {how}"),
            if matches!(state, Some('T' | 't')) {
                format!("let it go on with `kill -CONT {pid}`")
            } else {
                format!("look at its log; if it is stuck, end it with `kill {pid}` and start it again")
            },
        ),
        (Presence::Silent(how), None) => Check::fail(
            NAME,
            format!("the admin socket is there, but {how}"),
            "look at the server's log; if it is stuck, end it and start it again",
        ),
        (Presence::Absent, Some((pid, _, who))) => Check::fail(
            NAME,
            format!("{who} has the store open, but nobody answers on the admin socket"),
            format!(
                "if that is the server, name its socket with --admin-socket; if it is starting or a command such as \
                 `{PROGRAM} compact`, wait for it; else end it with `kill {pid}`"
            ),
        ),
        (Presence::Absent, None) if lock == Lock::Free => Check::ok(NAME, "no server runs, and the store is free"),
        (Presence::Absent, None) => Check::skipped(NAME, "no server runs on this state folder"),
    }
}

/// Of which version the file is. A file that somebody has open is not touched.
pub(super) fn schema(context: &Context, presence: &Presence, lock: Lock) -> Check {
    const NAME: &str = "schema";
    if let Some(server) = presence.server() {
        let schema = number(&server.system, "/store/schema");
        return match u32::try_from(schema) {
            Ok(0) | Err(_) => Check::skipped(NAME, "the server did not say"),
            Ok(schema) => Check::ok(NAME, format!("{schema}, in use")),
        };
    }
    let path = store_path(&context.state);
    match (fs::metadata(&path), lock) {
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Check::skipped(NAME, "there is no store yet"),
        (Err(error), _) => Check::skipped(NAME, format!("the store cannot be looked at: {error}")),
        (Ok(_), Lock::Held { .. }) => Check::skipped(NAME, "another process has the store open"),
        (Ok(_), _) if matches!(presence, Presence::Silent(_) | Presence::Forbidden) => {
            Check::skipped(NAME, "another process has the store open")
        }
        (Ok(_), _) => {
            let seen = store::glance(&path);
            // A server that started meanwhile writes what was just read.
            if matches!(crate::sys::locks::of(&path), Lock::Held { .. }) {
                return Check::skipped(NAME, "a server is starting");
            }
            judge_schema(&path, seen)
        }
    }
}

fn judge_schema(path: &Path, seen: Result<Option<Inspected>, OpenError>) -> Check {
    const NAME: &str = "schema";
    match seen {
        Ok(None) => Check::ok(NAME, "the store is empty"),
        Ok(Some(Inspected { schema, written_by })) if schema > SCHEMA => Check::fail(
            NAME,
            format!(
                "{schema}, written by WhatIsUp {written_by}; this version knows up to {SCHEMA} and does not start on it"
            ),
            format!("install WhatIsUp {written_by} or newer, or restore a backup of before"),
        ),
        Ok(Some(Inspected { schema, written_by })) if schema < SCHEMA => Check::ok(
            NAME,
            format!("{schema}, written by WhatIsUp {written_by}; the next start brings it to {SCHEMA}"),
        ),
        Ok(Some(Inspected { schema, written_by })) => {
            Check::ok(NAME, format!("{schema}, written by WhatIsUp {written_by}"))
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            Check::fail(
                NAME,
                format!("{} cannot be read{}", path.display(), cause.unwrap_or_default()),
                "check the disk and who may read the file; if it is damaged, restore a backup",
            )
        }
    }
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
