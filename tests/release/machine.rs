//! A small Debian of its own with systemd inside, booted in a container: what a package meets on a server.
//!
//! It is made by debootstrap from wherever this machine's apt gets its packages, once, and copied for each test. It has
//! no network but its own loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::packages;
use crate::harness::eventually;

/// What is in it beyond the least.
const PARTS: &str = "systemd,systemd-sysv,libnss-systemd,libpam-systemd,dbus,rpm";

/// The target whose programs run here.
pub const TARGET: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-musl"
} else {
    "x86_64-unknown-linux-musl"
};

/// A booted system. Dropping it ends it and removes it.
pub struct Machine {
    container: Child,
    /// The process that is number one inside.
    leader: String,
    root: PathBuf,
    _folder: TempDir,
}

impl Machine {
    /// Boots a fresh one.
    pub async fn boot() -> Self {
        let base = base();
        let folder = tempfile::Builder::new().prefix("whatisup-machine-").tempdir().unwrap();
        let root = folder.path().join("root");
        done(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&base).arg(&root));
        let mut container = Command::new("systemd-nspawn")
            .args([
                "--boot",
                "--register=no",
                "--keep-unit",
                "--private-network",
                "--console=pipe",
                "--quiet",
            ])
            .arg("--directory")
            .arg(&root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("systemd-nspawn boots the systems: tests/run --release installs systemd-container");
        let id = container.id();
        let leader = eventually("the container to have a first process", async || {
            assert!(
                container.try_wait().unwrap().is_none(),
                "systemd-nspawn ended; is this root?"
            );
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
            let child = children.split_whitespace().next()?.to_owned();
            let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
            (name.trim() == "systemd").then_some(child)
        })
        .await;
        let machine = Self {
            container,
            leader,
            root,
            _folder: folder,
        };
        eventually("the system to be up", async || {
            let state = machine.run(&["systemctl", "is-system-running"]);
            matches!(text(&state.stdout).trim(), "running" | "degraded").then_some(())
        })
        .await;
        machine
    }

    /// Where its files are, seen from here.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    /// Runs a command inside, as root.
    pub fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.leader, "-a", "--"])
            .args(words)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    /// What a command printed, which must succeed; both its outputs.
    pub fn says(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(
            output.status.success(),
            "{words:?}: {}\n{said}\n{}",
            output.status,
            self.log()
        );
        said
    }

    /// The same, of its standard output alone.
    pub fn prints(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let complaint = text(&output.stderr);
        assert!(
            output.status.success(),
            "{words:?}: {}\n{complaint}\n{}",
            output.status,
            self.log()
        );
        text(&output.stdout).trim_end().to_owned()
    }

    /// Copies a folder to this place inside.
    pub fn put_folder(&self, folder: &Path, inside: &str) {
        done(Command::new("cp").arg("-R").arg(folder).arg(self.path(inside)));
    }

    /// Copies a file into its `/root` and says where it is there.
    pub fn put(&self, file: &Path) -> String {
        let inside = format!("/root/{}", file.file_name().unwrap().to_str().unwrap());
        fs::copy(file, self.path(&inside)).unwrap();
        inside
    }

    /// A property of the service.
    pub fn service(&self, property: &str) -> String {
        self.prints(&["systemctl", "show", "whatisup", "--value", "--property", property])
    }

    /// Fails unless the service runs.
    pub fn runs(&self) {
        let state = self.service("ActiveState");
        assert_eq!(state, "active", "{}", self.log());
    }

    /// Whether a program of this name runs in it.
    pub fn has_process(&self, name: &str) -> bool {
        let names = self.prints(&["sh", "-c", "cat /proc/[0-9]*/comm 2>/dev/null; true"]);
        assert!(names.contains("systemd"), "{names}");
        names.lines().any(|line| line == name)
    }

    /// What the service has logged.
    pub fn log(&self) -> String {
        text(&self.run(&["journalctl", "--no-pager", "-u", "whatisup"]).stdout)
    }

    /// The status line that the service answers a request for `/v1/instances` with.
    pub fn answers(&self, key: &str) -> String {
        let request = format!(
            "exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET /v1/instances HTTP/1.1\\r\\nHost: 127.0.0.1:8080\\r\\n\
             Authorization: Bearer {key}\\r\\nConnection: close\\r\\n\\r\\n' >&3; head -n 1 <&3"
        );
        self.prints(&["bash", "-c", &request]).trim().to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        self.run(&["systemctl", "poweroff", "--force", "--force"]);
        let _ = self.container.wait();
    }
}

/// The system that is copied; made when it is not there.
fn base() -> PathBuf {
    // Named by what is in it, so that one from before a change is not taken.
    let place = packages().join("systems").join(PARTS);
    if place.is_dir() {
        return place;
    }
    let (mirror, suite) = mirror();
    let draft = packages().join("systems/draft");
    let _ = fs::remove_dir_all(&draft);
    fs::create_dir_all(&draft).unwrap();
    done(
        Command::new("debootstrap")
            .args(["--variant=minbase", &format!("--include={PARTS}"), &suite])
            .arg(&draft)
            .arg(&mirror),
    );
    fs::rename(&draft, &place).unwrap();
    place
}

/// Where this machine's apt gets the packages of its own release.
fn mirror() -> (String, String) {
    let listed = Command::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(ORIGIN) $(LABEL) $(REPO_URI) $(CODENAME)",
            "Created-By: Packages",
        ])
        .output()
        .expect("this is tried on Debian and its relatives");
    let listed = text(&listed.stdout);
    let found = listed
        .lines()
        .find_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
            [origin, label, mirror, suite]
                if origin == label && !suite.contains('-') && matches!(origin, "Debian" | "Ubuntu") =>
            {
                Some((mirror.to_owned(), suite.to_owned()))
            }
            _ => None,
        });
    found.expect("apt on this machine has a mirror of Debian, and `apt-get update` has been run")
}

/// Packages of this version made by `packaging/package`, in a folder of their own.
pub fn made_with_version(version: &str, kind: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/package");
    let mut command = Command::new(script);
    command
        .args(["--only", kind, TARGET])
        .env("PACKAGE_VERSION", version)
        .env("PACKAGE_OUT", folder.path())
        .env("CARGO_TARGET_DIR", packages().parent().unwrap());
    done(&mut command);
    folder
}

/// Runs a command of this machine, which must succeed, and says what it printed.
pub fn done(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = text(&output.stdout);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{said}\n{}",
        output.status,
        text(&output.stderr)
    );
    said
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
