//! What a person is asked at a terminal, typed into a real one.

use std::path::Path;
use std::process::Command;

use rexpect::session::{PtySession, spawn_command};

use crate::harness::gateway::SANDBOX;

const PASSPHRASE: &str = "a rather long passphrase";

/// Runs a command of ours in a terminal that shows what is typed, as they all do, and tells at the end how it left it.
fn at_a_terminal(arguments: &[&str], state: &Path) -> PtySession {
    let mut command = Command::new("sh");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WHATISUP_")) {
        command.env_remove(name);
    }
    command
        .args([
            "-c",
            r#"trap : INT; stty echo; "$@"; echo "ended with $?"; stty -a"#,
            "sh",
            SANDBOX,
        ])
        .args(arguments)
        .arg("--state")
        .arg(state);
    spawn_command(command, Some(60_000)).unwrap()
}

/// Waits for the end; answers what was said until then. The terminal must show again what is typed.
fn ended(mut session: PtySession, code: i32) -> String {
    let said = session.exp_string(&format!("ended with {code}\r\n")).unwrap();
    let terminal = session.exp_eof().unwrap();
    assert!(terminal.contains(" echo "), "{terminal}");
    said
}

/// Types an answer to a question; what it says before and about it must not show the answer.
fn answer(session: &mut PtySession, question: &str, line: &str) {
    session.exp_string(question).unwrap();
    session.send_line(line).unwrap();
}

#[test]
fn a_backup_is_sealed_and_opened_with_what_is_typed_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let made = Command::new(SANDBOX)
        .args(["keys", "create", "--name", "kept", "--state"])
        .arg(&state)
        .output();
    assert!(made.unwrap().status.success());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, other) = (path("backup.age"), path("other.age"));

    let mut backup = at_a_terminal(&["backup", "--encrypt", &file], &state);
    answer(&mut backup, "Passphrase for the backup, not shown: ", PASSPHRASE);
    answer(&mut backup, "Once more: ", PASSPHRASE);
    let said = ended(backup, 0);
    assert!(said.contains(&file) && !said.contains(PASSPHRASE), "{said}");

    let mut mistyped = at_a_terminal(&["backup", "--encrypt", &other], &state);
    answer(&mut mistyped, "Passphrase for the backup, not shown: ", PASSPHRASE);
    answer(&mut mistyped, "Once more: ", "a rather lonG passphrase");
    let said = ended(mistyped, 1);
    assert!(
        said.contains("two different passphrases") && !said.contains("lonG"),
        "{said}"
    );

    // Ctrl+C at the question leaves a terminal that shows again what is typed.
    let mut given_up = at_a_terminal(&["backup", "--encrypt", &other], &state);
    given_up.exp_string("not shown: ").unwrap();
    given_up.send_control('c').unwrap();
    assert!(ended(given_up, 1).contains("cancelled"));
    assert!(!Path::new(&other).exists(), "nothing was written");

    let new = folder.path().join("new");
    let mut wrong = at_a_terminal(&["restore", &file], &new);
    answer(&mut wrong, "Passphrase of the backup, not shown: ", "another");
    assert!(ended(wrong, 1).contains("the passphrase is wrong"));
    assert!(!new.join("store.redb").exists());
    let mut restored = at_a_terminal(&["restore", &file], &new);
    answer(&mut restored, "Passphrase of the backup, not shown: ", PASSPHRASE);
    let said = ended(restored, 0);
    assert!(said.contains("restored") && !said.contains(PASSPHRASE), "{said}");
    let listed = Command::new(SANDBOX)
        .args(["keys", "list", "--state"])
        .arg(&new)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("kept"));
}
