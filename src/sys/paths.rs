//! Where things lie on the disk, and who may look at them.
//!
//! Everything the program writes is for its own user alone: the umask is 077 from the first line of `main` on, and the
//! state folder is 0700. A folder that stands open is tightened rather than refused, because the usual cause is a
//! `mkdir` by hand; the caller learns of it and says so in the log.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The most bytes that the path of a Unix socket may have on Linux, without the closing zero.
pub const SOCKET_PATH_BYTES: usize = 107;

/// The folders that the environment names, gathered so that tests can name others.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `STATE_DIRECTORY`, which systemd sets for a unit with `StateDirectory=`; several are joined by colons.
    pub state_directory: Option<OsString>,
    /// `XDG_STATE_HOME`.
    pub xdg_state_home: Option<OsString>,
    /// `HOME`.
    pub home: Option<OsString>,
}

impl Environment {
    /// What this process was given.
    pub fn of_process() -> Self {
        Self {
            state_directory: std::env::var_os("STATE_DIRECTORY"),
            xdg_state_home: std::env::var_os("XDG_STATE_HOME"),
            home: std::env::var_os("HOME"),
        }
    }
}

/// Where a program keeps its state when nobody says otherwise; `None` when there is not even a home folder.
///
/// As a systemd service that is the folder the unit asked for, else the XDG place. The XDG rules say that a relative
/// path is to be ignored.
pub fn default_state_dir(program: &str, environment: &Environment) -> Option<PathBuf> {
    let absolute = |value: &Option<OsString>| value.as_ref().map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(listed) = &environment.state_directory
        && let Some(first) = listed.to_string_lossy().split(':').next()
        && Path::new(first).is_absolute()
    {
        return Some(PathBuf::from(first));
    }
    absolute(&environment.xdg_state_home)
        .or_else(|| absolute(&environment.home).map(|home| home.join(".local/state")))
        .map(|base| base.join(program))
}

/// From now on new files are for this user alone, whatever the shell said.
pub fn make_new_files_private() {
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderProblem {
    /// It is a file, a socket, anything but a folder.
    #[error("{} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// It belongs to another user, who could read and replace everything inside.
    #[error("{} belongs to another user (uid {owner}, this is uid {own}); run as that user or name another folder", .path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        own: u32,
    },
    /// The operating system says no.
    #[error("{} cannot be used: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What was done to a folder to make it private.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prepared {
    /// It was not there.
    Created,
    /// It was private already.
    AsItWas,
    /// Others could enter it; no longer.
    Tightened {
        /// The mode it had.
        from: u32,
    },
}

/// Makes sure that `path` is a folder for this user alone, creating it and its parents if need be.
pub fn prepare_private_dir(path: &Path) -> Result<Prepared, FolderProblem> {
    let failed = |source| FolderProblem::Io {
        path: path.to_owned(),
        source,
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(failed)?;
            return Ok(Prepared::Created);
        }
        Err(error) => return Err(failed(error)),
    };
    if !metadata.is_dir() {
        return Err(FolderProblem::NotAFolder(path.to_owned()));
    }
    let own = rustix::process::geteuid().as_raw();
    // Root may use anybody's folder: that is how administration commands reach the service's state.
    if metadata.uid() != own && own != 0 {
        return Err(FolderProblem::Foreign {
            path: path.to_owned(),
            owner: metadata.uid(),
            own,
        });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode.trailing_zeros() >= 6 {
        return Ok(Prepared::AsItWas);
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    Ok(Prepared::Tightened { from: mode })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn environment(service: Option<&str>, xdg: Option<&str>, home: Option<&str>) -> Environment {
        Environment {
            state_directory: service.map(OsString::from),
            xdg_state_home: xdg.map(OsString::from),
            home: home.map(OsString::from),
        }
    }

    #[test]
    fn the_state_folder_is_the_services_else_the_xdg_place_else_below_home() {
        let table = [
            (
                environment(Some("/var/lib/whatisup"), Some("/x"), Some("/h")),
                Some("/var/lib/whatisup"),
            ),
            (
                environment(Some("/var/lib/a:/var/lib/b"), None, None),
                Some("/var/lib/a"),
            ),
            (environment(None, Some("/x"), Some("/h")), Some("/x/whatisup")),
            (
                environment(None, Some("relative"), Some("/h")),
                Some("/h/.local/state/whatisup"),
            ),
            (environment(None, None, Some("/h")), Some("/h/.local/state/whatisup")),
            (environment(None, None, None), None),
        ];
        for (environment, expected) in table {
            assert_eq!(
                default_state_dir("whatisup", &environment),
                expected.map(PathBuf::from),
                "{environment:?}"
            );
        }
    }

    #[test]
    fn a_missing_folder_is_created_for_this_user_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("deep/er");
        assert_eq!(prepare_private_dir(&path).unwrap(), Prepared::Created);
        assert_eq!(mode(&path), 0o700);
        assert_eq!(prepare_private_dir(&path).unwrap(), Prepared::AsItWas);
    }

    #[test]
    fn a_folder_that_stands_open_is_tightened_and_the_caller_learns_of_it() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("open");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(prepare_private_dir(&path).unwrap(), Prepared::Tightened { from: 0o755 });
        assert_eq!(mode(&path), 0o700);
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("file");
        fs::write(&path, "x").unwrap();
        assert!(matches!(prepare_private_dir(&path), Err(FolderProblem::NotAFolder(_))));
    }
}
