//! What is shipped, as it is shipped: programs of every target, packages, a release and its installer.
//!
//! `packaging/build` has made the programs before, in the folder that `WHATISUP_PACKAGES` names; `tests/run --release`
//! does both. The tests want root where they install into systems of their own.

use std::path::PathBuf;

/// Where `packaging/build` has put what it made: a folder for each target.
fn packages() -> PathBuf {
    let folder = std::env::var_os("WHATISUP_PACKAGES").expect("tests/run --release builds what is looked at here");
    PathBuf::from(folder)
}

#[test]
fn the_programs_of_this_machine_are_there_and_say_their_version() {
    for name in ["whatisup", "whatisup-sandbox"] {
        let program = packages().join("x86_64-unknown-linux-musl").join(name);
        let output = std::process::Command::new(&program).arg("--version").output().unwrap();
        let expected = format!("{name} {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            expected,
            "{}",
            program.display()
        );
    }
}
