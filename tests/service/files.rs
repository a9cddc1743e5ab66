//! How many files it may have open.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::gateway::{SANDBOX, Setup};

/// What `sh` says of its own limit.
fn hard_limit() -> String {
    let said = std::process::Command::new("sh").args(["-c", "ulimit -H -n"]).output();
    String::from_utf8(said.unwrap().stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_login_that_grants_few_open_files_is_no_limit() {
    let folder = tempfile::tempdir().unwrap();
    let login = folder.path().join("login");
    fs::write(&login, format!("#!/bin/sh\nulimit -S -n 200\nexec {SANDBOX} \"$@\"\n")).unwrap();
    fs::set_permissions(&login, fs::Permissions::from_mode(0o755)).unwrap();
    let gateway = Setup::of(login)
        .arg("--simulator")
        .arg("ws://127.0.0.1:1/ws/chat")
        .start()
        .await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", gateway.process_id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!((words[3], words[4]), (&*hard_limit(), &*hard_limit()), "{line}");
}
