//! One commit gives one program: built again in another folder, with other places for everything, it has the same bytes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::packages;

const TARGET: &str = "x86_64-unknown-linux-musl";

/// The files that make up the repository, those not committed yet too.
fn tree() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(listed.status.success());
    String::from_utf8(listed.stdout)
        .unwrap()
        .split_terminator('\0')
        .map(str::to_owned)
        .collect()
}

fn copy_tree(to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in tree().iter().filter(|name| from.join(name).exists()) {
        fs::create_dir_all(to.join(name).parent().unwrap()).unwrap();
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

fn commit_time() -> String {
    let shown = Command::new("git")
        .args(["log", "-1", "--format=%ct"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    String::from_utf8(shown.stdout).unwrap().trim().to_owned()
}

/// A home for cargo with the archives that were fetched before, which it unpacks into the new place.
fn cargo_home(to: &Path) {
    let own = std::env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo"),
        PathBuf::from,
    );
    fs::create_dir_all(to.join("registry")).unwrap();
    for name in ["registry/cache", "registry/index", "config.toml"] {
        if own.join(name).exists() {
            symlink(own.join(name), to.join(name)).unwrap();
        }
    }
}

#[test]
fn two_builds_in_two_folders_are_identical() {
    let elsewhere = tempfile::tempdir().unwrap();
    let clone = elsewhere.path().join("a folder/with another name");
    copy_tree(&clone);
    let home = elsewhere.path().join("cargo");
    cargo_home(&home);
    let target = elsewhere.path().join("objects");
    fs::create_dir(&target).unwrap();
    symlink(
        packages().parent().unwrap().join("packaging-tools"),
        target.join("packaging-tools"),
    )
    .unwrap();
    let kept = ["PATH", "HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"]
        .into_iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    let output = Command::new("sh")
        .args(["-c", r#"umask 077; exec "$0" "$@""#])
        .arg(clone.join("packaging/build"))
        .args(["--program", "whatisup", TARGET])
        .current_dir(elsewhere.path())
        .env_clear()
        .envs(kept)
        .env("CARGO_HOME", &home)
        .env("CARGO_TARGET_DIR", &target)
        .env("SOURCE_DATE_EPOCH", commit_time())
        .env("LANG", "tr_TR.UTF-8")
        .env("TZ", "Asia/Kathmandu")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let program = |package: PathBuf| fs::read(package.join(TARGET).join("whatisup")).unwrap();
    let (first, second) = (program(packages()), program(target.join("package")));
    let differs = first.iter().zip(&second).position(|(one, other)| one != other);
    assert!(
        first == second,
        "{} and {} bytes, the first difference is at {differs:?}",
        first.len(),
        second.len()
    );
}
