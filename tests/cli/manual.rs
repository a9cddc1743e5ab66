//! `whatisup completions` and `whatisup man`: what packages bring along.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::gateway::SANDBOX;

const NAME: &str = "whatisup-sandbox";

fn completions(shell: &str) -> String {
    // No home, and settings that no other command would take: a package is built in such places.
    let output = Command::new(SANDBOX)
        .args(["completions", shell])
        .env_clear()
        .env("WHATISUP_LIMITS_BURST", "many")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn pages(folder: &Path) -> BTreeMap<String, String> {
    let output = Command::new(SANDBOX)
        .arg("man")
        .arg(folder)
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
    let read = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path()).unwrap();
        (entry.file_name().into_string().unwrap(), text)
    };
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| read(entry.unwrap()))
        .collect()
}

#[test]
fn every_shell_gets_completions_that_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = completions(shell);
        for word in [NAME, "setup-link", "keys", "pair-code", "completions", "config"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
        assert_eq!(script, completions(shell), "{shell}: the same each time");
    }
}

#[test]
fn bash_completes_commands_at_every_depth() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("completion");
    fs::write(&script, completions("bash")).unwrap();
    for (words, last, expected) in [
        (NAME, "ke", "keys"),
        (&format!("{NAME} keys"), "cr", "create"),
        (&format!("{NAME} instances pair-code"), "--admin", "--admin-socket"),
    ] {
        // What bash itself does at the Tab key: it looks up the function and calls it with the words.
        let typed = format!(
            "source '{}'; [[ $(complete -p {NAME}) =~ -F\\ ([^ ]+) ]]; COMP_WORDS=({words} {last}); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); ${{BASH_REMATCH[1]}} {NAME} {last} x; echo \"${{COMPREPLY[*]}}\"",
            script.display()
        );
        let output = Command::new("bash").args(["--norc", "-c", &typed]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.trim(), expected, "{words} {last}: {complaint}");
    }
}

#[test]
fn an_unknown_shell_is_refused_with_the_known_ones() {
    let output = Command::new(SANDBOX).args(["completions", "csh"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("bash, zsh, fish"));
}

#[test]
fn the_program_and_each_command_have_a_manual_page_with_no_date() {
    let folder = tempfile::tempdir().unwrap();
    let first = pages(&folder.path().join("share/man1"));
    for name in [
        "",
        "-serve",
        "-keys",
        "-keys-create",
        "-instances-pair-code",
        "-config-show",
        "-man",
    ] {
        let page = first.get(&format!("{NAME}{name}.1"));
        let page = page.unwrap_or_else(|| panic!("no page {NAME}{name}.1 in {:?}", first.keys()));
        let title = page.lines().find(|line| line.starts_with(".TH")).unwrap();
        let expected = format!(".TH {NAME}{name} 1  \"{NAME} {}\" WhatIsUp", env!("CARGO_PKG_VERSION"));
        assert_eq!(title.trim_end(), expected);
    }
    assert!(!first.keys().any(|name| name.contains("help")), "{:?}", first.keys());
    assert_eq!(first, pages(&folder.path().join("again")));
}

#[test]
fn a_folder_that_cannot_be_made_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let output = Command::new(SANDBOX)
        .arg("man")
        .arg(file.join("man1"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the folder") && said.contains("cannot be made"), "{said}");
}
