//! What packages bring along beside the programs: the services and the settings. What needs packages and systems of
//! their own is in `tests/release`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::gateway::SANDBOX;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

fn analyze(args: &[&str], path: &Path, folder: &Path) -> Output {
    let mut command = Command::new("systemd-analyze");
    // Where a manager of a user would have its sockets.
    command.args(args).arg(path).env("XDG_RUNTIME_DIR", folder);
    command
        .output()
        .expect("systemd-analyze judges the services: install the package systemd, or use tests/run, which does")
}

/// What systemd-analyze says of how exposed a service is, and whether that is little enough.
fn exposure(unit: &Path) -> (bool, String) {
    let output = analyze(&["security", "--offline=true", "--threshold=15"], unit, Path::new("/"));
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().rev().find(|line| line.contains("exposure level"));
    (
        output.status.success(),
        last.unwrap_or("no word of exposure").to_owned(),
    )
}

#[test]
fn the_service_can_do_little_more_than_its_work() {
    let (little, said) = exposure(&file("systemd/whatisup.service"));
    assert!(little, "more than 1.5: {said}");
    // The same question about a service with nothing around it gets another answer, so it is a good one.
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("bare.service");
    fs::write(&bare, "[Service]\nExecStart=/bin/true\n").unwrap();
    let (little, said) = exposure(&bare);
    assert!(!little, "{said}");
}

#[test]
fn systemd_understands_every_line_of_both_services() {
    let folder = tempfile::tempdir().unwrap();
    for (name, manager) in [("whatisup", "--system"), ("whatisup-user", "--user")] {
        let packed = fs::read_to_string(file(&format!("systemd/{name}.service"))).unwrap();
        // As install.sh does it: the first word alone is the program's place.
        let words = packed.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
        let word = words.split(' ').next().unwrap();
        assert_eq!(word, "ExecStart=/usr/bin/whatisup");
        let placed = packed.replace(word, &format!("ExecStart={SANDBOX}"));
        let unit = folder.path().join(format!("{name}.service"));
        let complaint = |text: &str| {
            fs::write(&unit, text).unwrap();
            let output = analyze(&[manager, "verify", "--man=no"], &unit, folder.path());
            String::from_utf8(output.stderr).unwrap()
        };
        assert_eq!(complaint(&placed), "", "{name}");
        let mistyped = placed.replace("LockPersonality=", "LockPersonalty=");
        assert!(complaint(&mistyped).contains("LockPersonalty"), "{name}");
    }
}

#[test]
fn the_settings_that_a_package_brings_show_the_defaults_and_change_nothing() {
    let text = fs::read_to_string(file("whatisup.toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = |text: &str| -> Value {
        let path = folder.path().join("whatisup.toml");
        fs::write(&path, text).unwrap();
        let output = Command::new(SANDBOX)
            .args(["config", "show", "--json", "--config"])
            .arg(&path)
            .env_clear()
            .env("HOME", folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let defaults = settings("");
    assert_eq!(settings(&text), defaults, "as it is packed");

    let is_setting = |line: &&str| line.starts_with("# ") && line.contains(" = ");
    assert_eq!(text.lines().filter(is_setting).count(), 10);
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| if is_setting(&line) { &line[2..] } else { line })
        .collect();
    let uncommented = uncommented.join("\n");
    assert_eq!(settings(&uncommented), defaults, "with every line in force");
    let changed = settings(&uncommented.replace("burst = 120", "burst = 7"));
    assert_ne!(changed, defaults, "the lines are read at all");
}
