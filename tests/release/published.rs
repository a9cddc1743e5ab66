//! A release as `packaging/release` lays it out, and `install.sh` out of it, from a file server.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::packages;
use crate::harness::process::{Log, Process};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const TARGETS: [&str; 3] = [
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
    "armv7-unknown-linux-gnueabihf",
];
const HERE: &str = if cfg!(target_arch = "aarch64") {
    TARGETS[1]
} else {
    TARGETS[0]
};

pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &*String::from_utf8_lossy(&output.stderr)
}

fn new_key(path: &Path) {
    run(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "it's \"me\"", "-f"])
        .arg(path));
}

/// The command that lays out a release of what was built.
pub fn release(arguments: &[&str], to: &Path) -> Command {
    let mut command = Command::new(Path::new(ROOT).join("packaging/release"));
    command
        .args(arguments)
        .arg(to)
        .env("CARGO_TARGET_DIR", packages().parent().unwrap());
    command
}

fn sums(folder: &Path) -> String {
    run(Command::new("sha256sum")
        .args(["-c", "--strict", "SHA256SUMS"])
        .current_dir(folder))
}

#[test]
fn a_release_is_whole_and_made_twice_it_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    new_key(&key);
    let arguments = ["--url", "https://example.org/releases", "--key", key.to_str().unwrap()];
    let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
    for to in [&one, &other] {
        run(&mut release(&arguments, to));
    }
    run(Command::new("diff").arg("-r").args([&one, &other]));
    let listed: BTreeSet<_> = run(Command::new("ls").args(["-A"]).arg(&one))
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(
        listed,
        [VERSION, "LATEST", "install.sh"].map(str::to_owned).into(),
        "nothing is left lying about"
    );

    let release_folder = one.join(VERSION);
    let checked = sums(&release_folder);
    for name in fs::read_dir(&release_folder).unwrap() {
        let name = name.unwrap().file_name().into_string().unwrap();
        let of_the_sums = name.starts_with("SHA256SUMS");
        assert!(
            of_the_sums || checked.contains(&format!("{name}: OK")),
            "{name} has no checksum"
        );
    }
    for target in TARGETS {
        for name in ["whatisup", "whatisup-sandbox"] {
            let bare = fs::read(release_folder.join(format!("{name}-{VERSION}-{target}"))).unwrap();
            assert!(bare == fs::read(packages().join(target).join(name)).unwrap());
        }
        is_a_good_archive(&release_folder, target);
    }
    let script = fs::read_to_string(one.join("install.sh")).unwrap();
    assert!(script.contains("RELEASES='https://example.org/releases'") && script.contains("SIGNED_BY='ssh-ed25519 "));
    run(Command::new("shellcheck")
        .args(["-s", "sh"])
        .arg(one.join("install.sh")));

    let again = release(&arguments, &one).output().unwrap();
    assert!(
        !again.status.success() && said(&again).contains("never changed"),
        "{}",
        said(&again)
    );
}

fn is_a_good_archive(release: &Path, target: &str) {
    let name = format!("whatisup-{VERSION}-{target}");
    let archive = release.join(format!("{name}.tar.gz"));
    let listed = run(Command::new("tar").args(["--numeric-owner", "-tvzf"]).arg(&archive));
    for line in listed.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words[1], "0/0", "{line}");
        let mode_wanted = if line.starts_with('d') || line.ends_with("/whatisup") && !line.contains("/share/") {
            "rwxr-xr-x"
        } else {
            "rw-r--r--"
        };
        assert_eq!(&words[0][1..], mode_wanted, "{line}");
    }
    for file in [
        "whatisup",
        "whatisup.service",
        "whatisup-user.service",
        "share/man/man1/whatisup.1",
        "share/bash-completion/completions/whatisup",
        "share/zsh/site-functions/_whatisup",
        "share/fish/vendor_completions.d/whatisup.fish",
        "LICENSE",
        "CHANGELOG.md",
        "THIRD-PARTY-LICENCES.txt",
    ] {
        assert!(
            listed.lines().any(|line| line.ends_with(&format!(" {name}/{file}"))),
            "{file} is missing in {listed}"
        );
    }
}

/// Name and version of each crate that cargo compiles for the program, on any target.
fn crates(features: &[&str]) -> BTreeSet<(String, String)> {
    let mut crates = BTreeSet::new();
    for target in TARGETS {
        let tree = run(Command::new("cargo")
            .args([
                "tree",
                "--locked",
                "--prefix",
                "none",
                "--edges",
                "normal,build",
                "--target",
                target,
            ])
            .args(["--format", "{p}"])
            .args(features)
            .current_dir(ROOT));
        crates.extend(tree.lines().map(|line| {
            let mut words = line.split(' ');
            let name = words.next().unwrap().to_owned();
            (name, words.next().unwrap().trim_start_matches('v').to_owned())
        }));
    }
    crates
}

#[test]
fn the_bill_of_materials_lists_what_is_compiled_and_every_licence_has_its_text() {
    let folder = tempfile::tempdir().unwrap();
    let latest = folder.path().join("LATEST");
    fs::write(&latest, "99.0.0\n").unwrap();
    run(&mut release(&[], folder.path()));
    assert_eq!(
        fs::read_to_string(&latest).unwrap(),
        "99.0.0\n",
        "newcomers are not taken back"
    );
    let release_folder = folder.path().join(VERSION);
    assert!(!release_folder.join("SHA256SUMS.sig").exists(), "nothing to sign with");

    let text = fs::read_to_string(release_folder.join("sbom.cdx.json")).unwrap();
    assert!(
        !text.contains("file://") && !text.contains(ROOT),
        "a place of this machine"
    );
    let bill: Value = serde_json::from_str(&text).unwrap();
    let of = |part: &Value| {
        let word = |name: &str| part[name].as_str().unwrap().to_owned();
        (word("name"), word("version"))
    };
    let components = bill["components"].as_array().unwrap();
    let mut listed: BTreeSet<_> = components.iter().map(of).collect();
    listed.insert(of(&bill["metadata"]["component"]));
    assert_eq!(listed, crates(&[]));
    assert_eq!(listed.len(), components.len() + 1, "nothing twice");
    assert!(
        components
            .iter()
            .all(|part| part["licenses"][0]["expression"].is_string())
    );
    assert!(
        components.iter().all(|part| part["hashes"][0]["content"].is_string()),
        "the checksum that Cargo.lock holds"
    );
    let scope = |name: &str| &components.iter().find(|part| part["name"] == name).unwrap()["scope"];
    assert_eq!(
        (scope("ring"), scope("serde_derive")),
        (&"required".into(), &"excluded".into())
    );

    let licences = fs::read_to_string(release_folder.join("THIRD-PARTY-LICENCES.txt")).unwrap();
    let headings: BTreeSet<_> = licences
        .split(&"=".repeat(100))
        .skip(1)
        .step_by(2)
        .flat_map(|names| names.trim().split(", "))
        .collect();
    for (name, version) in crates(&["--features", "sandbox"]) {
        let ours = name.starts_with("whatisup") || name == "whatsapp-simulator";
        assert!(
            ours || headings.contains(format!("{name} {version}").as_str()),
            "{name} {version} has no text"
        );
    }
}

/// A machine that installs from `releases`, where a file server shows them.
struct Machine {
    folder: TempDir,
    _server: Process,
    key: PathBuf,
}

impl Machine {
    /// The real release, signed, and an older one beside it whose program is a script that knows its version.
    async fn with_two_releases() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let releases = folder.path().join("releases");
        fs::create_dir(&releases).unwrap();
        let key = folder.path().join("key");
        new_key(&key);
        let log = Log::default();
        let server = Process::start(
            "python3 (tests/run installs it)",
            Command::new("python3")
                .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0", "--directory"])
                .arg(&releases),
            log.clone(),
        );
        let port: u16 = log
            .find("the file server's port", 0, |line| {
                line.split_once(" port ")?.1.split(' ').next()?.parse().ok()
            })
            .await;
        let url = format!("http://127.0.0.1:{port}");
        run(&mut release(
            &["--url", &url, "--key", key.to_str().unwrap()],
            &releases,
        ));
        let machine = Self {
            folder,
            _server: server,
            key,
        };
        machine.repack("0.0.9", b"#!/bin/sh\necho whatisup 0.0.9\n");
        machine.sign("0.0.9", &machine.key);
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn archive(&self, version: &str) -> PathBuf {
        self.path("releases")
            .join(version)
            .join(format!("whatisup-{version}-{HERE}.tar.gz"))
    }

    /// The released archive with another program, under another version, with checksums that fit.
    fn repack(&self, version: &str, program: &[u8]) {
        let unpacked = tempfile::tempdir().unwrap();
        run(Command::new("tar")
            .arg("-xzf")
            .arg(self.archive(VERSION))
            .arg("-C")
            .arg(unpacked.path()));
        let name = format!("whatisup-{version}-{HERE}");
        let renamed = unpacked.path().join(&name);
        if version != VERSION {
            fs::rename(unpacked.path().join(format!("whatisup-{VERSION}-{HERE}")), &renamed).unwrap();
        }
        fs::write(renamed.join("whatisup"), program).unwrap();
        let release = self.path("releases").join(version);
        fs::create_dir_all(&release).unwrap();
        run(Command::new("tar")
            .arg("-czf")
            .arg(self.archive(version))
            .arg("-C")
            .arg(unpacked.path())
            .arg(&name));
        let archive = self.archive(version);
        let listed = run(Command::new("sha256sum")
            .arg(archive.file_name().unwrap())
            .current_dir(&release));
        fs::write(release.join("SHA256SUMS"), listed).unwrap();
    }

    fn sign(&self, version: &str, key: &Path) {
        let release = self.path("releases").join(version);
        let _ = fs::remove_file(release.join("SHA256SUMS.sig"));
        run(Command::new("ssh-keygen")
            .args(["-q", "-Y", "sign", "-n", "whatisup-release", "-f"])
            .arg(key)
            .arg("SHA256SUMS")
            .current_dir(release));
    }

    fn newest(&self, version: &str) {
        fs::write(self.path("releases/LATEST"), format!("{version}\n")).unwrap();
    }

    /// The published script, as a newcomer runs it.
    fn install(&self, arguments: &[&str]) -> Output {
        Command::new("sh")
            .arg(self.path("releases/install.sh"))
            .arg("--prefix")
            .arg(self.path("prefix"))
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn installed(&self) -> String {
        run(Command::new(self.path("prefix/bin/whatisup")).arg("--version"))
    }
}

#[track_caller]
fn refused(output: &Output, words: &str) {
    let said = said(output);
    assert!(
        !output.status.success() && said.contains(words),
        "{words:?} is not in {said}"
    );
}

#[tokio::test]
async fn the_published_script_installs_upgrades_and_refuses_what_was_tampered_with() {
    let machine = Machine::with_two_releases().await;
    machine.newest("0.0.9");
    let text = run_install(&machine, &["--no-service"]);
    assert!(
        text.contains("Signature: good.") && text.contains("Checksum: good."),
        "{text}"
    );
    assert_eq!(machine.installed(), "whatisup 0.0.9\n");

    machine.newest(VERSION);
    let text = run_install(&machine, &["--no-service"]);
    assert!(text.contains(&format!("from 0.0.9 to {VERSION}")), "{text}");
    assert_eq!(machine.installed(), format!("whatisup {VERSION}\n"));
    assert!(
        fs::read(machine.path("prefix/bin/whatisup")).unwrap()
            == fs::read(packages().join(HERE).join("whatisup")).unwrap()
    );
    for file in [
        "man/man1/whatisup.1",
        "bash-completion/completions/whatisup",
        "zsh/site-functions/_whatisup",
        "fish/vendor_completions.d/whatisup.fish",
    ] {
        assert!(machine.path("prefix/share").join(file).exists(), "{file}");
    }
    assert!(run_install(&machine, &["--no-service"]).contains("is installed already"));

    // Whoever holds the server can write checksums that fit, but no signature.
    machine.repack("0.0.9", b"#!/bin/sh\necho whatisup 0.0.9\ntouch /tmp/taken\n");
    let older = ["--no-service", "--version", "0.0.9"];
    refused(&machine.install(&older), "the signature of release 0.0.9 is wrong");
    let stranger = machine.path("stranger");
    new_key(&stranger);
    machine.sign("0.0.9", &stranger);
    refused(&machine.install(&older), "the signature of release 0.0.9 is wrong");
    fs::remove_file(machine.path("releases/0.0.9/SHA256SUMS.sig")).unwrap();
    refused(&machine.install(&older), "has no signature, but should have one");
    machine.sign("0.0.9", &machine.key);
    fs::write(machine.archive("0.0.9"), "something else").unwrap();
    refused(&machine.install(&older), "is damaged or not the released one");
    assert_eq!(machine.installed(), format!("whatisup {VERSION}\n"));
}

#[track_caller]
fn run_install(machine: &Machine, arguments: &[&str]) -> String {
    let output = machine.install(arguments);
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

#[tokio::test]
async fn the_published_services_start_the_installed_program_and_leave_with_it() {
    let machine = Machine::with_two_releases().await;
    run_install(&machine, &["--user-service", "--yes"]);
    let unit = machine.path("home/.config/systemd/user/whatisup.service");
    let program = machine.path("prefix/bin/whatisup");
    let written = fs::read_to_string(&unit).unwrap();
    assert!(
        written
            .lines()
            .any(|line| line.starts_with(&format!("ExecStart={} serve", program.display()))),
        "{written}"
    );
    run_install(&machine, &["--user-service", "--uninstall", "--yes"]);
    let left = run(Command::new("find")
        .args([machine.path("prefix"), machine.path("home")])
        .args(["-type", "f"]));
    assert_eq!(left, "", "nothing stays");
}

#[test]
fn a_release_that_could_not_be_installed_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("releases");
    for (arguments, words) in [
        (&["--url", "http://example.org"][..], "a plain https address is wanted"),
        (
            &["--url", "https://example.org/'; rm -rf /'"],
            "a plain https address is wanted",
        ),
        (&["--key", "/nowhere"], "/nowhere"),
        (&["--sign"], "unknown option --sign"),
    ] {
        refused(&release(arguments, &to).output().unwrap(), words);
        assert!(
            !to.join("LATEST").exists() && !to.join(VERSION).exists(),
            "{arguments:?}"
        );
    }
    let nothing_built = folder.path().join("target");
    let output = release(&[], &to)
        .env("CARGO_TARGET_DIR", &nothing_built)
        .output()
        .unwrap();
    refused(&output, "run packaging/build");

    // Programs of another version than the papers say.
    for target in TARGETS {
        let programs = nothing_built.join("package").join(target);
        fs::create_dir_all(&programs).unwrap();
        for name in ["whatisup", "whatisup-sandbox"] {
            fs::write(programs.join(name), "#!/bin/sh\necho whatisup 0.0.1\n").unwrap();
            fs::set_permissions(programs.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    let output = release(&[], &to)
        .env("CARGO_TARGET_DIR", &nothing_built)
        .output()
        .unwrap();
    refused(&output, "'whatisup 0.0.1'");
}
