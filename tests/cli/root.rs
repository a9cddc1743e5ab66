//! Root's commands in the state folder of a service, which has a user of its own.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::harness::gateway::SANDBOX;

/// Nobody's number on a machine with few users.
const SERVICE: u32 = 12_345;

/// A program and a state folder that the service's user may enter; `None` when this is not root, who alone can make them.
struct Installed {
    _folder: TempDir,
    program: PathBuf,
    state: PathBuf,
}

impl Installed {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        if folder.path().metadata().unwrap().uid() != 0 {
            eprintln!("not tried: only root can give a folder to another user");
            return None;
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = folder.path().join("whatisup-sandbox");
        fs::copy(SANDBOX, &program).unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
        chown(&state, Some(SERVICE), Some(SERVICE)).unwrap();
        Some(Self {
            _folder: folder,
            program,
            state,
        })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).arg("--state").arg(&self.state).env_clear();
        command.stdin(Stdio::null());
        command
    }

    fn said(&self, args: &[&str]) -> String {
        said(&mut self.command(args))
    }

    fn said_by_service(&self, args: &[&str]) -> String {
        said(self.command(args).uid(SERVICE).gid(SERVICE))
    }

    /// Everything in the state folder with its owner.
    fn owners(&self) -> Vec<(PathBuf, u32, u32)> {
        let entries = fs::read_dir(&self.state).unwrap().map(|entry| entry.unwrap());
        entries
            .map(|entry| {
                let about = entry.metadata().unwrap();
                (entry.path(), about.uid(), about.gid())
            })
            .collect()
    }
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", complaint(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_root_makes_in_the_services_folder_the_service_can_use() {
    let Some(installed) = Installed::new() else { return };
    installed.said(&["keys", "create", "--name", "by root"]);
    for (path, user, group) in installed.owners() {
        assert_eq!((user, group), (SERVICE, SERVICE), "{}", path.display());
    }
    assert!(installed.owners().len() >= 3, "store, pepper and key of secrets");
    assert!(installed.said_by_service(&["keys", "list"]).contains("by root"));
    installed.said_by_service(&["keys", "create", "--name", "by the service"]);

    // And the other way round, with what rewrites the file.
    installed.said(&["compact"]);
    let password = installed.state.with_file_name("password");
    fs::write(&password, "correct horse battery\n").unwrap();
    said(
        installed
            .command(&["password"])
            .stdin(fs::File::open(&password).unwrap()),
    );
    assert!(installed.owners().iter().all(|(_, user, _)| *user == SERVICE));
    let listed = installed.said_by_service(&["keys", "list"]);
    assert!(
        listed.contains("by root") && listed.contains("by the service"),
        "{listed}"
    );
}

#[test]
fn root_is_not_led_out_of_the_services_folder() {
    let Some(installed) = Installed::new() else { return };
    let target = installed.state.with_file_name("precious");
    let refused = |name: &str, target: &Path| {
        let link = installed.state.join(name);
        symlink(target, &link).unwrap();
        let output = installed.command(&["keys", "create", "--name", "x"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = complaint(&output);
        assert!(said.contains("is a symbolic link") && said.contains(name), "{said}");
        fs::remove_file(link).unwrap();
    };
    refused("store.redb", &target);
    refused(".first-start", &target);
    assert!(!target.exists());
    fs::write(&target, "precious").unwrap();
    refused("pepper", &target);
    assert_eq!(target.metadata().unwrap().uid(), 0);
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    installed.said(&["keys", "create", "--name", "x"]);
}
