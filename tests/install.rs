//! `install.sh`, run for real against a folder and a local file server.
//!
//! What it installs is mostly a small script with a version: the installer cannot tell, and a release of the real
//! program is made once. Nothing here is root's, and no systemd runs: the packages are tested elsewhere.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::harness::gateway::normal_build;
use crate::harness::process::{Log, Process};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/install.sh");
const TARGET: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-musl"
} else {
    "x86_64-unknown-linux-musl"
};

/// A machine of its own: a home, a place to install to, and the releases it can see.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["home", "releases"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self) -> PathBuf {
        self.path("prefix/bin/whatisup")
    }

    fn releases(&self) -> String {
        self.path("releases").display().to_string()
    }

    /// A release as `packaging/release` lays it out, newest unless an older one follows.
    fn release(&self, version: &str, program: &[u8]) {
        let name = format!("whatisup-{version}-{TARGET}");
        let packed = self.path(&name);
        fs::create_dir_all(packed.join("share/man/man1")).unwrap();
        fs::write(packed.join("whatisup"), program).unwrap();
        fs::set_permissions(packed.join("whatisup"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(packed.join("share/man/man1/whatisup.1"), "a page").unwrap();
        for unit in ["whatisup.service", "whatisup-user.service"] {
            fs::write(packed.join(unit), "[Service]\nExecStart=/usr/bin/whatisup serve\n").unwrap();
        }
        let to = self.path("releases").join(version);
        fs::create_dir_all(&to).unwrap();
        let archive = format!("{name}.tar.gz");
        succeed(
            Command::new("tar")
                .arg("-I")
                .arg("gzip -1")
                .arg("-cf")
                .arg(to.join(&archive))
                .arg("-C")
                .arg(self.folder.path())
                .arg(&name),
        );
        let sums = Command::new("sha256sum")
            .arg(&archive)
            .current_dir(&to)
            .output()
            .unwrap();
        fs::write(to.join("SHA256SUMS"), sums.stdout).unwrap();
        fs::write(self.path("releases/LATEST"), format!("{version}\n")).unwrap();
    }

    /// A release whose program is a script that knows its version.
    fn small_release(&self, version: &str) {
        self.release(version, format!("#!/bin/sh\necho whatisup {version}\n").as_bytes());
    }

    /// The script, with this machine's folders and nobody at the terminal.
    fn run(&self, script: &Path, arguments: &[&str]) -> Output {
        Command::new("setsid")
            .args(["-w", "sh"])
            .arg(script)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn install(&self, from: &str, more: &[&str]) -> Output {
        let prefix = self.path("prefix").display().to_string();
        let mut arguments = vec!["--prefix", &prefix, "--from", from];
        if !more.contains(&"--user-service") {
            arguments.push("--no-service");
        }
        arguments.extend(more);
        self.run(Path::new(SCRIPT), &arguments)
    }

    /// What the installed program calls itself.
    fn installed(&self) -> Option<String> {
        let answer = Command::new(self.program()).arg("--version").output().ok()?;
        Some(String::from_utf8(answer.stdout).unwrap().trim().to_owned())
    }

    /// Everything below the prefix and the home, so that "nothing was changed" can be said.
    fn files(&self) -> Vec<String> {
        let found = Command::new("find")
            .arg(self.path("home"))
            .arg(self.path("prefix"))
            .output()
            .unwrap();
        let mut files: Vec<_> = String::from_utf8(found.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        files.sort();
        files
    }
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[track_caller]
fn good(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    said(output)
}

/// The exit code of a refusal, and its words.
#[track_caller]
fn refused(output: &Output, words: &str) -> i32 {
    let said = said(output);
    assert!(
        !output.status.success() && said.contains(words),
        "{words:?} is not in {said}"
    );
    output.status.code().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &*String::from_utf8_lossy(&output.stderr)
}

/// A plain file server on loopback, and its address.
async fn server(folder: &Path) -> (Process, String) {
    let log = Log::default();
    let process = Process::start(
        "python3 (tests/run installs it)",
        Command::new("python3")
            .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0", "--directory"])
            .arg(folder),
        log.clone(),
    );
    let port: u16 = log
        .find("the file server's port", 0, |line| {
            line.split_once(" port ")?.1.split(' ').next()?.parse().ok()
        })
        .await;
    (process, format!("http://127.0.0.1:{port}"))
}

#[tokio::test]
async fn the_newest_release_is_installed_from_a_server_and_upgraded_and_the_same_again_is_a_success() {
    let machine = Machine::new();
    machine.small_release("1.0.0");
    let (_server, address) = server(&machine.path("releases")).await;
    let text = good(&machine.install(&address, &[]));
    assert_eq!(machine.installed().as_deref(), Some("whatisup 1.0.0"));
    assert!(
        text.contains("Checksum: good.") && text.contains("Signature: not checked"),
        "{text}"
    );
    let last: Vec<_> = text.lines().rev().take(4).collect();
    assert_eq!(last[3], "Next:", "{text}");
    assert!(last[2].contains("serve") && last[1].contains("setup-link") && last[0].contains("keys create"));
    assert!(machine.path("prefix/share/man/man1/whatisup.1").exists());

    let before = machine.files();
    assert!(good(&machine.install(&address, &[])).contains("is installed already"));
    machine.small_release("1.1.0");
    assert!(good(&machine.install(&address, &[])).contains("from 1.0.0 to 1.1.0"));
    assert_eq!(machine.installed().as_deref(), Some("whatisup 1.1.0"));
    assert_eq!(machine.files(), before, "nothing is left lying about");
    good(&machine.install(&address, &["--version", "v1.0.0"]));
    assert_eq!(
        machine.installed().as_deref(),
        Some("whatisup 1.0.0"),
        "back to a version by name"
    );
}

#[test]
fn the_real_program_is_installed_and_runs() {
    let machine = Machine::new();
    machine.release(env!("CARGO_PKG_VERSION"), &fs::read(normal_build()).unwrap());
    good(&machine.install(&machine.releases(), &[]));
    assert_eq!(
        machine.installed(),
        Some(concat!("whatisup ", env!("CARGO_PKG_VERSION")).to_owned())
    );
}

#[test]
fn a_damaged_download_changes_nothing() {
    let machine = Machine::new();
    machine.small_release("1.0.0");
    good(&machine.install(&machine.releases(), &[]));
    machine.small_release("1.1.0");
    let before = machine.files();
    let release = machine.path("releases/1.1.0");
    let archive = release.join(format!("whatisup-1.1.0-{TARGET}.tar.gz"));
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, bytes).unwrap();
    refused(
        &machine.install(&machine.releases(), &[]),
        "is damaged or not the released one",
    );
    fs::write(release.join("SHA256SUMS"), "").unwrap();
    refused(&machine.install(&machine.releases(), &[]), "the release is incomplete");
    fs::remove_file(release.join("SHA256SUMS")).unwrap();
    refused(&machine.install(&machine.releases(), &[]), "there is no release 1.1.0");
    assert_eq!(machine.installed().as_deref(), Some("whatisup 1.0.0"));
    assert_eq!(machine.files(), before);
}

#[test]
fn a_program_that_does_not_run_here_replaces_nothing() {
    let machine = Machine::new();
    machine.small_release("1.0.0");
    good(&machine.install(&machine.releases(), &[]));
    let before = machine.files();
    machine.release("1.1.0", b"\x7fELF of another machine");
    refused(
        &machine.install(&machine.releases(), &[]),
        "does not run on this machine",
    );
    assert_eq!(machine.installed().as_deref(), Some("whatisup 1.0.0"));
    assert_eq!(machine.files(), before);
}

#[test]
fn a_signature_is_demanded_where_the_key_is_known() {
    let machine = Machine::new();
    machine.small_release("1.0.0");
    let [ours, others] = ["ours", "others"].map(|name| {
        let key = machine.path(name);
        succeed(
            Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
                .arg(&key),
        );
        key
    });
    let public = fs::read_to_string(ours.with_extension("pub")).unwrap();
    let script = machine.path("install.sh");
    let text = fs::read_to_string(SCRIPT).unwrap();
    let signed = text.replacen("SIGNED_BY=''", &format!("SIGNED_BY='{}'", public.trim()), 1);
    assert_ne!(text, signed);
    fs::write(&script, signed).unwrap();
    let prefix = machine.path("prefix").display().to_string();
    let releases = machine.releases();
    let install = || machine.run(&script, &["--prefix", &prefix, "--from", &releases, "--no-service"]);
    let sums = machine.path("releases/1.0.0/SHA256SUMS");
    let sign = |key: &Path| {
        let _ = fs::remove_file(sums.with_extension("sig"));
        succeed(
            Command::new("ssh-keygen")
                .args(["-q", "-Y", "sign", "-n", "whatisup-release", "-f"])
                .arg(key)
                .arg(&sums),
        );
    };
    refused(&install(), "has no signature, but should have one");
    sign(&others);
    refused(&install(), "the signature of release 1.0.0 is wrong");
    assert_eq!(machine.installed(), None);
    sign(&ours);
    assert!(good(&install()).contains("Signature: good."));
    assert_eq!(machine.installed().as_deref(), Some("whatisup 1.0.0"));
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let machine = Machine::new();
    machine.small_release("1.0.0");
    let before = machine.files();
    let text = good(&machine.install(&machine.releases(), &["--dry-run"]));
    assert!(
        text.contains("would write: ") && text.contains("Nothing was changed."),
        "{text}"
    );
    assert_eq!(machine.files(), before);
    let text = good(&machine.install(&machine.releases(), &["--user-service", "--dry-run"]));
    assert!(text.contains("would run: systemctl --user enable"), "{text}");
    assert_eq!(machine.files(), before);
    good(&machine.install(&machine.releases(), &[]));
    let before = machine.files();
    good(&machine.install(&machine.releases(), &["--uninstall", "--purge", "--dry-run"]));
    assert_eq!(machine.files(), before);
}

#[test]
fn removing_keeps_the_state_until_purge_and_asks_first() {
    let machine = Machine::new();
    machine.small_release("1.0.0");
    good(&machine.install(&machine.releases(), &["--user-service"]));
    let unit = machine.path("home/.config/systemd/user/whatisup.service");
    let written = fs::read_to_string(&unit).unwrap();
    assert!(
        written.contains(&format!("ExecStart={} serve", machine.program().display())),
        "{written}"
    );
    let state = machine.path("home/.local/state/whatisup");
    fs::create_dir_all(&state).unwrap();
    fs::write(state.join("whatisup.redb"), "keys").unwrap();
    let settings = machine.path("home/.config/whatisup");
    fs::create_dir_all(&settings).unwrap();
    fs::write(settings.join("whatisup.toml"), "# mine").unwrap();

    refused(
        &machine.install(&machine.releases(), &["--user-service", "--uninstall"]),
        "nobody to ask",
    );
    assert!(machine.installed().is_some());
    let text = good(&machine.install(&machine.releases(), &["--user-service", "--uninstall", "--yes"]));
    assert!(text.contains(&format!("still in {}", state.display())), "{text}");
    assert!(!unit.exists() && !machine.program().exists() && state.join("whatisup.redb").exists());
    assert!(!machine.path("prefix/share/man/man1/whatisup.1").exists());
    let purge = ["--user-service", "--uninstall", "--purge", "--yes"];
    let text = good(&machine.install(&machine.releases(), &purge));
    assert!(
        text.contains(&format!("settings are still in {}", settings.display())),
        "{text}"
    );
    assert!(!state.exists() && settings.join("whatisup.toml").exists());
    fs::remove_file(settings.join("whatisup.toml")).unwrap();
    let text = good(&machine.install(&machine.releases(), &purge));
    assert!(!text.contains("settings") && !settings.exists(), "{text}");
}

#[test]
fn half_a_download_of_the_script_does_nothing() {
    let machine = Machine::new();
    machine.small_release("1.0.0");
    let before = machine.files();
    let text = fs::read_to_string(SCRIPT).unwrap();
    let begin = text.find("\n{\n").unwrap() + 2;
    let end = text.trim_end().len();
    // Anywhere, and behind each letter of a line that is not indented: what is left of its first word may be the name
    // of a program.
    let mut cuts: Vec<usize> = (1..=40).map(|share| (end - 1) * share / 40).collect();
    for (at, _) in text.match_indices('\n') {
        let word = text[at + 1..].split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
        cuts.extend((at + 2)..(at + 2 + word.map(str::len).next().unwrap()).min(end));
    }
    let part = machine.path("part.sh");
    let releases = machine.releases();
    for cut in cuts {
        fs::write(&part, &text[..cut]).unwrap();
        let output = machine.run(&part, &["--from", &releases, "--no-service"]);
        let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
        if cut < begin {
            assert!(output.status.success() && said.is_empty(), "{cut}: {said}");
        } else {
            assert!(
                !output.status.success() && said.contains("syntax error"),
                "{cut}: {said}"
            );
            assert!(!said.contains("not found"), "{cut}: {said}");
        }
    }
    assert_eq!(machine.files(), before);
}

#[test]
fn mistakes_are_refused_with_words() {
    let machine = Machine::new();
    machine.small_release("1.0.0");
    for (from, more, words) in [
        ("http://example.org/releases", &[][..], "is not https"),
        ("http://127.0.0.1.example.org", &[], "is not https"),
        ("", &[], "--from needs a value"),
        ("/nowhere", &[], "cannot read /nowhere/LATEST"),
        ("RELEASES", &["--version", "../1"], "is no version"),
        ("RELEASES", &["--version", "9.9.9"], "there is no release 9.9.9"),
        ("RELEASES", &["--version"], "--version needs a value"),
        ("RELEASES", &["--what"], "unknown option --what"),
        ("RELEASES", &["--purge"], "--purge goes with --uninstall"),
        ("RELEASES", &["--prefix", "/tmp/a b"], "blanks, quotes"),
    ] {
        let from = from.replace("RELEASES", &machine.releases());
        refused(&machine.install(&from, more), words);
    }
    assert_eq!(machine.installed(), None);
}

#[test]
fn the_script_is_plain_posix_by_shellcheck() {
    let checked = Command::new("shellcheck")
        .args(["-s", "sh", SCRIPT])
        .output()
        .expect("tests/run installs shellcheck");
    assert!(checked.status.success(), "{}", said(&checked));
}
