//! The state folder at start: private, with its pepper and its key of secrets, and whether this is the first start.

use std::fs;
use std::path::{Path, PathBuf};

use super::PROGRAM;
use super::context::Context;
use super::failure::Failure;
use super::offline::cannot_open;
use crate::app::archive::{Keys, PEPPER, SECRETS_KEY};
use crate::store;
use crate::sys::ownership::Handover;
use crate::sys::paths::{self, Prepared};
use crate::sys::secret::{self, RandomKey, Secret};

/// A state folder that is ready for the store to be opened.
pub(super) struct State {
    /// How to open the store.
    pub store: store::Options,
    /// What turns keys into what the store keeps.
    pub pepper: RandomKey,
    /// What seals the signing secrets of webhooks.
    pub secrets_key: RandomKey,
    /// There until what a first start does is done, also when it was interrupted.
    marker: PathBuf,
    /// What is odd but was mended.
    pub warnings: Vec<String>,
}

impl State {
    /// Makes the folder private, finds or makes the pepper and the key of secrets.
    ///
    /// A store without its pepper is refused: every API key would be refused from then on, and a new pepper would hide
    /// that the old one can perhaps be restored.
    pub(super) fn prepare(context: &Context) -> Result<Self, Failure> {
        let folder = &context.state;
        // Before anything is changed, so that whoever is refused finds the folder as it was. Other troubles have their
        // words further down.
        if let Ok(Some(found)) = store::inspect(&store_path(folder)) {
            found.require_known().map_err(|error| cannot_open(&error))?;
        }
        let mut warnings = Vec::new();
        match paths::prepare_private_dir(folder) {
            Ok(Prepared::Tightened { from }) => warnings.push(format!(
                "the state folder {} was open to other users (mode {from:03o}); it is 700 now",
                folder.display()
            )),
            Ok(_) => {}
            Err(problem) => return Err(Failure::Failed(format!("the state folder {problem}"))),
        }
        if is_half_restored(folder) {
            return Err(Failure::Failed(format!(
                "a restore into {} was interrupted; do it once more: `{PROGRAM} restore --force …`",
                folder.display()
            )));
        }
        let path = store_path(folder);
        let marker = folder.join(".first-start");
        let exists = path.exists();
        let pepper = pepper(context, exists, &mut warnings)?;
        let secrets_key = secrets_key(context, &mut warnings)?;
        if !exists {
            // Never through a link that somebody else has put there.
            let made = fs::OpenOptions::new().write(true).create_new(true).open(&marker);
            match made {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(unwritable(folder, &error));
                }
                _ => {}
            }
        }
        let settings = &context.config().store;
        Ok(Self {
            store: store::Options {
                path,
                cache_bytes: usize::try_from(settings.cache_bytes).unwrap_or(usize::MAX),
                reserve_bytes: settings.reserve_bytes,
            },
            pepper,
            secrets_key,
            marker,
            warnings,
        })
    }

    /// Whether nothing was ever done on this folder.
    pub(super) fn is_first_start(&self) -> bool {
        self.marker.exists()
    }

    /// What a first start does is done.
    pub(super) fn first_start_is_done(&self) -> Result<(), Failure> {
        match fs::remove_file(&self.marker) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unwritable(&self.marker, &error)),
            _ => Ok(()),
        }
    }
}

/// To be held by a command that works in the state folder without a server: as root, in the folder of the service's
/// user, what it makes there becomes that user's.
pub(super) fn handover(context: &Context) -> Result<Option<Handover>, Failure> {
    Handover::of(&context.state).map_err(|problem| Failure::Failed(problem.to_string()))
}

/// Gives back what was made; a failure is told, because the service could not read its state.
pub(super) fn give_back(handover: Option<&Handover>) -> Result<(), Failure> {
    let given = handover.map_or(Ok(()), Handover::give_back);
    given.map_err(|problem| Failure::Failed(problem.to_string()))
}

/// The store's file in a state folder.
pub(super) fn store_path(folder: &Path) -> PathBuf {
    folder.join("store.redb")
}

/// Says that a restore has begun to change the folder and has not finished.
pub(super) fn restore_marker(folder: &Path) -> PathBuf {
    folder.join(".restore-unfinished")
}

fn is_half_restored(folder: &Path) -> bool {
    restore_marker(folder).exists()
}

/// The keys of the folder's store, as they are: nothing is made or changed.
pub(super) fn keys_of_store(context: &Context) -> Result<Keys, Failure> {
    let read = |set: &Option<Secret>, name: &str| match set {
        Some(text) => RandomKey::parse(text.expose()).map(Some).ok_or_else(|| {
            Failure::Usage(format!(
                "the setting for {name} must name a file with 64 hexadecimal digits"
            ))
        }),
        None => RandomKey::read(&context.state.join(name)).map_err(|problem| Failure::Failed(problem.to_string())),
    };
    let pepper = read(&context.config().pepper, PEPPER)?.ok_or_else(|| {
        Failure::Failed(format!(
            "{} is missing, and a backup without it would have no API key that works; name it with WHATISUP_PEPPER_FILE",
            context.state.join(PEPPER).display()
        ))
    })?;
    let secrets_key = read(&context.config().secrets_key, SECRETS_KEY)?;
    Ok(Keys::of(pepper.bytes(), secrets_key.as_ref().map(RandomKey::bytes)))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Failed(format!("{} cannot be written: {error}", path.display()))
}

fn pepper(context: &Context, store_exists: bool, warnings: &mut Vec<String>) -> Result<RandomKey, Failure> {
    if let Some(text) = &context.config().pepper {
        return RandomKey::parse(text.expose())
            .ok_or_else(|| Failure::Usage("WHATISUP_PEPPER_FILE must name a file with 64 hexadecimal digits".into()));
    }
    let path = context.state.join("pepper");
    let failed = |problem: secret::SecretProblem| Failure::Failed(problem.to_string());
    if let Some(pepper) = RandomKey::read(&path).map_err(failed)? {
        if secret::is_exposed(&path) {
            warnings.push(format!("other users may read {}; chmod 600 it", path.display()));
        }
        return Ok(pepper);
    }
    if store_exists {
        return Err(Failure::Failed(format!(
            "{} is missing, and without it no API key of this store works any more. Restore it from your backup, or name \
             it with WHATISUP_PEPPER_FILE. If it is lost for good, give `{PROGRAM}` 64 new hexadecimal digits in that \
             file and make new keys; instances keep their links",
            path.display()
        )));
    }
    RandomKey::create(&path).map_err(failed)
}

/// The key of the signing secrets. One that is missing is made anew: the endpoints then say that their secrets must be
/// rotated, and nothing else is lost.
fn secrets_key(context: &Context, warnings: &mut Vec<String>) -> Result<RandomKey, Failure> {
    if let Some(text) = &context.config().secrets_key {
        return RandomKey::parse(text.expose()).ok_or_else(|| {
            Failure::Usage("WHATISUP_SECRETS_KEY_FILE must name a file with 64 hexadecimal digits".into())
        });
    }
    let path = context.state.join("secrets.key");
    let failed = |problem: secret::SecretProblem| Failure::Failed(problem.to_string());
    let Some(key) = RandomKey::read(&path).map_err(failed)? else {
        return RandomKey::create(&path).map_err(failed);
    };
    if secret::is_exposed(&path) {
        warnings.push(format!("other users may read {}; chmod 600 it", path.display()));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::super::arguments::Global;
    use super::*;

    fn context(folder: &Path) -> Context {
        let global = Global {
            state: Some(folder.to_owned()),
            ..Global::default()
        };
        Context::load(&global, Vec::new()).unwrap()
    }

    #[test]
    fn a_first_start_stays_one_until_it_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(&folder.path().join("state"));
        let state = State::prepare(&context).unwrap();
        assert!(state.is_first_start());
        fs::write(store_path(&context.state), "").unwrap();
        let again = State::prepare(&context).unwrap();
        assert!(again.is_first_start() && again.pepper == state.pepper);
        again.first_start_is_done().unwrap();
        assert!(!State::prepare(&context).unwrap().is_first_start());
    }

    #[test]
    fn a_store_without_its_pepper_is_refused_and_no_new_pepper_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path());
        fs::write(store_path(folder.path()), "").unwrap();
        let problem = State::prepare(&context).err().unwrap().to_string();
        assert!(problem.contains("no API key of this store works"), "{problem}");
        assert!(!folder.path().join("pepper").exists());
    }
}
