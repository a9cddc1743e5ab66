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
    /// `CONFIGURATION_DIRECTORY`, the same for `ConfigurationDirectory=`.
    pub configuration_directory: Option<OsString>,
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
            configuration_directory: std::env::var_os("CONFIGURATION_DIRECTORY"),
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
    if let Some(first) = first_listed(environment.state_directory.as_ref()) {
        return Some(first);
    }
    absolute(&environment.xdg_state_home)
        .or_else(|| absolute(&environment.home).map(|home| home.join(".local/state")))
        .map(|base| base.join(program))
}

/// The first of the folders that systemd joined by colons.
fn first_listed(value: Option<&OsString>) -> Option<PathBuf> {
    let listed = value?.to_string_lossy();
    let first = PathBuf::from(listed.split(':').next()?);
    first.is_absolute().then_some(first)
}

/// Where services of this machine keep their state and their settings, each in a folder of its name.
#[derive(Clone, Debug)]
pub struct ServicePlaces {
    /// For state.
    pub state: PathBuf,
    /// For settings.
    pub configuration: PathBuf,
    /// For the units that describe them to systemd, the first one found counting.
    pub units: Vec<PathBuf>,
}

impl Default for ServicePlaces {
    fn default() -> Self {
        Self {
            state: PathBuf::from("/var/lib"),
            configuration: PathBuf::from("/etc"),
            units: [
                "/etc/systemd/system",
                "/run/systemd/system",
                "/usr/local/lib/systemd/system",
                "/usr/lib/systemd/system",
                "/lib/systemd/system",
            ]
            .map(PathBuf::from)
            .to_vec(),
        }
    }
}

impl ServicePlaces {
    /// The state folder of a program's service.
    pub fn state_dir(&self, program: &str) -> PathBuf {
        self.state.join(program)
    }

    /// The state folder of the service that a command of root's means when it names none; `None` when it means its own.
    ///
    /// Root means the service of the machine if there is one, unless root has a gateway of its own: what is there
    /// already is never left for something else. The folder of a service that never ran is not there yet; what root
    /// makes there becomes the service's when systemd starts it.
    pub fn administered(&self, program: &str, environment: &Environment, uid: u32) -> Option<PathBuf> {
        let folder = self.state_dir(program);
        let own = default_state_dir(program, environment);
        let means_own = environment.state_directory.is_some() || own.is_some_and(|own| own.exists());
        let is_service = || folder.is_dir() || (!folder.exists() && self.is_installed(program));
        (uid == 0 && !means_own && is_service()).then_some(folder)
    }

    /// Whether a unit asks systemd for this program's folder.
    fn is_installed(&self, program: &str) -> bool {
        let asks = format!("StateDirectory={program}");
        let mut units = self.units.iter();
        let found = units.find_map(|folder| fs::read_to_string(folder.join(format!("{program}.service"))).ok());
        found.is_some_and(|unit| unit.lines().any(|line| line.trim() == asks))
    }

    /// The file with the settings of that service.
    pub fn configuration_file(&self, program: &str) -> PathBuf {
        self.configuration.join(program).join(configuration_file_name(program))
    }
}

/// Where a service finds its settings when nobody names a file: in the folder that its unit asked for.
pub fn service_configuration_file(program: &str, environment: &Environment) -> Option<PathBuf> {
    let folder = first_listed(environment.configuration_directory.as_ref())?;
    Some(folder.join(configuration_file_name(program)))
}

fn configuration_file_name(program: &str) -> String {
    format!("{program}.toml")
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
            configuration_directory: None,
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
    fn root_means_the_service_of_the_machine_unless_it_has_a_gateway_of_its_own() {
        let machine = tempfile::tempdir().unwrap();
        let places = ServicePlaces {
            state: machine.path().join("var"),
            configuration: machine.path().join("etc"),
            units: vec![machine.path().join("none"), machine.path().join("units")],
        };
        let home = machine.path().join("root");
        let administered = |environment: &Environment, uid| places.administered("whatisup", environment, uid);
        let root = environment(None, None, home.to_str());

        assert_eq!(administered(&root, 0), None, "there is no service");
        let service = places.state_dir("whatisup");
        let unit = machine.path().join("units/whatisup.service");
        fs::create_dir(unit.parent().unwrap()).unwrap();
        fs::write(&unit, "[Service]\nUser=me\n").unwrap();
        assert_eq!(administered(&root, 0), None, "a service that keeps its state elsewhere");
        fs::write(&unit, "[Service]\nStateDirectory=whatisup\n").unwrap();
        assert_eq!(administered(&root, 0), Some(service.clone()), "it never ran");
        assert_eq!(administered(&root, 1000), None);
        fs::remove_file(&unit).unwrap();
        fs::create_dir_all(&service).unwrap();
        assert_eq!(administered(&root, 0), Some(service.clone()));
        assert_eq!(administered(&environment(None, None, None), 0), Some(service.clone()));
        assert_eq!(administered(&root, 1000), None, "others may not enter it");
        assert_eq!(places.administered("whatisup-sandbox", &root, 0), None);
        let in_a_service = environment(Some("/var/lib/other"), None, home.to_str());
        assert_eq!(administered(&in_a_service, 0), None, "a service has a folder already");

        fs::create_dir_all(home.join(".local/state/whatisup")).unwrap();
        assert_eq!(administered(&root, 0), None, "root has a gateway of its own");
        let elsewhere = environment(None, machine.path().to_str(), home.to_str());
        assert_eq!(administered(&elsewhere, 0), Some(service.clone()));

        fs::remove_dir(&service).unwrap();
        fs::write(&service, "no folder").unwrap();
        assert_eq!(administered(&elsewhere, 0), None);
    }

    #[test]
    fn the_settings_of_a_service_lie_in_the_folder_that_its_unit_asked_for() {
        let with = |value: &str| Environment {
            configuration_directory: Some(value.into()),
            ..Environment::default()
        };
        let file = |environment: &Environment| service_configuration_file("whatisup", environment);
        assert_eq!(file(&with("/etc/whatisup")), Some("/etc/whatisup/whatisup.toml".into()));
        assert_eq!(file(&with("/etc/a:/etc/b")), Some("/etc/a/whatisup.toml".into()));
        assert_eq!(file(&with("relative")), None);
        assert_eq!(file(&Environment::default()), None);
        let places = ServicePlaces::default();
        assert_eq!(
            places.configuration_file("whatisup"),
            Path::new("/etc/whatisup/whatisup.toml")
        );
        assert_eq!(places.state_dir("whatisup"), Path::new("/var/lib/whatisup"));
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
