//! `completions` and `man`: what shells and manual readers show, written from the command line's own types, so that it
//! cannot tell anything else than `--help` does.
//!
//! Both depend on nothing but the program: no settings, no state folder, no date. A package built twice has the same
//! pages.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell as Dialect;

use super::PROGRAM;
use super::arguments::{Arguments, Shell};
use super::failure::Failure;

/// `completions`
pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    // Into memory first: the generator takes a closed pipe for a reason to panic.
    let script = match shell {
        Shell::Bash => bash(),
        Shell::Zsh => script(Dialect::Zsh, PROGRAM),
        Shell::Fish => script(Dialect::Fish, PROGRAM),
    };
    let mut out = io::stdout().lock();
    out.write_all(script.as_bytes())?;
    Ok(out.flush()?)
}

/// The generator for bash completes nothing behind a program whose name has a hyphen. It is given one without, and the
/// lines that bind the script to the program get the real one.
fn bash() -> String {
    let plain = PROGRAM.replace('-', "_");
    let script = script(Dialect::Bash, &plain);
    script.replace(&format!(" -o default {plain}\n"), &format!(" -o default {PROGRAM}\n"))
}

fn script(dialect: Dialect, program: &str) -> String {
    let mut script = Vec::new();
    clap_complete::generate(dialect, &mut Arguments::command(), program, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// `man`
///
/// A page for the program and one for each command below it, named as `man whatisup-keys-create` looks for them.
pub(super) fn man(folder: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error: &io::Error| {
        Failure::Failed(format!("the manual page {} cannot be written: {error}", path.display()))
    };
    fs::create_dir_all(folder)
        .map_err(|error| Failure::Failed(format!("the folder {} cannot be made: {error}", folder.display())))?;
    for (name, page) in pages() {
        let path = folder.join(name);
        let page = page.map_err(|error| failed(&path, &error))?;
        fs::write(&path, page).map_err(|error| failed(&path, &error))?;
    }
    Ok(())
}

/// The file names and texts.
fn pages() -> Vec<(String, io::Result<Vec<u8>>)> {
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let mut found = Vec::new();
    add_pages(command, &mut found);
    found
}

fn add_pages(command: clap::Command, found: &mut Vec<(String, io::Result<Vec<u8>>)>) {
    let below = command.get_subcommands().filter(|below| !below.is_hide_set());
    below.cloned().for_each(|below| add_pages(below, found));
    let page = clap_mangen::Man::new(command)
        .source(format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION")))
        .manual("WhatIsUp");
    let mut text = Vec::new();
    let written = page.render(&mut text).map(|()| text);
    found.push((page.get_filename(), written));
}
