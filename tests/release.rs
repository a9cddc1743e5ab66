//! What is shipped, as it is shipped: programs of every target, packages, a release and its installer.
//!
//! `packaging/build` has made the programs before, in the folder that `WHATISUP_PACKAGES` names; `tests/run --release`
//! does both. The tests want root where they install into systems of their own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

#[path = "release/architectures.rs"]
mod architectures;
#[path = "release/debian.rs"]
mod debian;
#[expect(
    dead_code,
    reason = "what is shipped needs a part of what the gateway's tests stand on"
)]
mod harness;
#[path = "release/installer.rs"]
mod installer;
#[path = "release/machine.rs"]
mod machine;
#[path = "release/published.rs"]
mod published;
#[path = "release/reproducible.rs"]
mod reproducible;
#[path = "release/rpm.rs"]
mod rpm;

use std::path::PathBuf;

/// Where `packaging/build` has put what it made: a folder for each target.
fn packages() -> PathBuf {
    let folder = std::env::var_os("WHATISUP_PACKAGES").expect("tests/run --release builds what is looked at here");
    PathBuf::from(folder)
}
