//! `install.sh` where systemd runs: the service of a user, and the machine's.

use super::machine::Machine;
use super::published::{release, run};
use crate::harness::eventually;

const INSTALL: [&str; 4] = ["sh", "/opt/releases/install.sh", "--from", "/opt/releases"];

/// Boots a machine with a release in it.
async fn with_release() -> Machine {
    let folder = tempfile::tempdir().unwrap();
    let releases = folder.path().join("releases");
    run(&mut release(&[], &releases));
    let machine = Machine::boot().await;
    machine.put_folder(&releases, "/opt/releases");
    machine
}

/// What it tells whoever has installed it to do next: its last three lines.
fn next_lines(said: &str) -> Vec<&str> {
    let mut lines: Vec<_> = said.lines().rev().take(4).map(str::trim).collect();
    lines.reverse();
    assert_eq!(lines.remove(0), "Next:", "{said}");
    let command = |line: &'_ str| line.split(" #").next().unwrap().trim().len();
    lines.into_iter().map(|line| &line[..command(line)]).collect()
}

#[tokio::test]
async fn a_user_without_root_gets_a_service_that_outlives_the_login() {
    let machine = with_release().await;
    machine.says(&["useradd", "--create-home", "--uid", "1000", "anna"]);
    machine.says(&["loginctl", "enable-linger", "anna"]);
    eventually("her service manager", async || {
        let state = machine.run(&["systemctl", "is-active", "user@1000"]);
        state.status.success().then_some(())
    })
    .await;
    let enter = [
        "runuser",
        "-u",
        "anna",
        "--",
        "env",
        "HOME=/home/anna",
        "XDG_RUNTIME_DIR=/run/user/1000",
        "PATH=/home/anna/.local/bin:/usr/bin:/bin",
    ];
    let anna = |words: &[&str]| machine.prints(&[&enter[..], words].concat());
    let property = |name: &str| anna(&["systemctl", "--user", "show", "whatisup", "--value", "--property", name]);

    let said = anna(&INSTALL);
    assert!(!said.contains("enable-linger"), "she has it already: {said}");
    let next = next_lines(&said);
    assert_eq!(
        next,
        [
            "journalctl --user -u whatisup -f",
            "whatisup setup-link",
            "whatisup keys create --name first"
        ]
    );
    assert_eq!((&*property("ActiveState"), &*property("Type")), ("active", "notify"));
    assert_eq!((&*property("UnitFileState"), &*property("NRestarts")), ("enabled", "0"));
    assert!(
        property("StatusText").contains("instances"),
        "{}",
        property("StatusText")
    );
    assert!(anna(&["whatisup", "setup-link"]).starts_with("http://127.0.0.1:8080/#setup="));
    let key = anna(&["sh", "-c", next[2]]);
    assert_eq!(machine.answers(&key), "HTTP/1.1 200 OK");
    assert_eq!(
        machine.prints(&["stat", "-c", "%U %a", "/home/anna/.local/state/whatisup"]),
        "anna 700"
    );

    let process = property("MainPID");
    anna(&["systemctl", "--user", "reload", "whatisup"]);
    assert_eq!(
        (property("MainPID"), &*property("ActiveState")),
        (process, "active"),
        "a reload is no restart"
    );
    assert!(anna(&INSTALL).contains("is installed already"));

    anna(&[&INSTALL[..2], &["--uninstall", "--yes"]].concat());
    assert!(!machine.has_process("whatisup"));
    anna(&INSTALL);
    assert_eq!(machine.answers(&key), "HTTP/1.1 200 OK", "the state was kept");
    anna(&[&INSTALL[..2], &["--uninstall", "--purge", "--yes"]].concat());
    let left = anna(&["find", "/home/anna", "-name", "*whatisup*"]);
    assert_eq!(left, "");
}

#[tokio::test]
async fn root_gets_the_machines_service() {
    let machine = with_release().await;
    let said = machine.prints(&INSTALL);
    let next = next_lines(&said);
    assert_eq!(
        next,
        [
            "journalctl -u whatisup -f",
            "whatisup setup-link",
            "whatisup keys create --name first"
        ]
    );
    machine.runs();
    assert_eq!(machine.service("FragmentPath"), "/etc/systemd/system/whatisup.service");
    assert_eq!(machine.service("UnitFileState"), "enabled");
    machine.says(&["systemd-analyze", "security", "--threshold=15", "whatisup.service"]);
    let root = |line: &str| machine.prints(&["sh", "-c", line]);
    assert!(root(next[1]).starts_with("http://127.0.0.1:8080/#setup="));
    let key = root(next[2]);
    assert_eq!(machine.answers(&key), "HTTP/1.1 200 OK");

    // As if an older version had been installed: what runs gets the new one, what was stopped stays so.
    let upgrade = || {
        let older = "printf '#!/bin/sh\necho whatisup 0.0.9\n' >/tmp/older && chmod +x /tmp/older && mv /tmp/older /usr/local/bin/whatisup";
        root(older);
        let said = machine.prints(&INSTALL);
        assert!(said.contains("from 0.0.9 to"), "{said}");
        said
    };
    let process = machine.service("MainPID");
    upgrade();
    machine.runs();
    assert_ne!(machine.service("MainPID"), process, "it runs the new program");
    machine.says(&["systemctl", "stop", "whatisup"]);
    let said = upgrade();
    assert!(said.contains("To start it: systemctl start whatisup"), "{said}");
    assert_eq!(machine.service("ActiveState"), "inactive");
    // One that wanted to run and could not is started with the new version.
    let settings = machine.path("/etc/whatisup/whatisup.toml");
    std::fs::write(&settings, "brust = 1\n").unwrap();
    assert!(!machine.run(&["systemctl", "start", "whatisup"]).status.success());
    assert_eq!(machine.service("ActiveState"), "failed");
    std::fs::remove_file(&settings).unwrap();
    upgrade();
    machine.runs();

    machine.says(&[&INSTALL[..2], &["--uninstall", "--yes"]].concat());
    assert!(!machine.has_process("whatisup"));
    assert!(machine.path("/var/lib/private/whatisup/store.redb").exists());
    machine.says(&INSTALL);
    assert_eq!(machine.answers(&key), "HTTP/1.1 200 OK", "the state was kept");
    machine.says(&[&INSTALL[..2], &["--uninstall", "--purge", "--yes"]].concat());
    for gone in [
        "/var/lib/private/whatisup",
        "/var/lib/whatisup",
        "/usr/local/bin/whatisup",
        "/etc/systemd/system/whatisup.service",
        "/etc/whatisup",
    ] {
        assert!(machine.path(gone).symlink_metadata().is_err(), "{gone}");
    }
}

#[tokio::test]
async fn what_root_makes_before_the_first_start_is_the_services() {
    let machine = with_release().await;
    // As in an image that is being built: systemd is installed and does not run.
    let asleep = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        r#"mount -t tmpfs none /run && exec "$@""#,
        "sh",
    ];
    let asleep = |words: &[&str]| machine.prints(&[&asleep[..], words].concat());
    asleep(&INSTALL);
    asleep(&[&INSTALL[..2], &["--uninstall", "--yes"]].concat());
    assert_eq!(machine.prints(&["find", "/etc/systemd", "-name", "whatisup*"]), "");
    let said = asleep(&INSTALL);
    assert!(said.contains("starts with the next boot"), "{said}");
    let next = next_lines(&said);
    assert_eq!(next[2], "whatisup keys create --name first");
    assert_eq!(machine.service("UnitFileState"), "enabled");
    let key = machine.prints(&["sh", "-c", next[2]]);
    machine.says(&["systemctl", "daemon-reload"]);
    machine.says(&["systemctl", "start", "whatisup"]);
    assert_eq!(machine.answers(&key), "HTTP/1.1 200 OK", "{next:?}");
    assert!(!machine.path("/root/.local/state/whatisup").exists());
}
