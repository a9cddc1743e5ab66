//! Files of older versions: the copy before the first write, and what a kill in between leaves.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use redb::ReadableDatabase as _;

use super::*;
use crate::store::{OpenError, SCHEMA, Store, compact, hold, inspect, schema, upgrade};

/// Tells the child where the file is; without it the child's test has nothing to do.
const FOLDER: &str = "WHATISUP_TEST_UPGRADE_FOLDER";

/// What the child says when everything but the commit is done.
const MIGRATED: &str = "migrated, not committed";

/// A folder with the file that the last program of schema 3 left.
fn of_schema_3() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema-3.tar.gz");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(fs::File::open(fixture).unwrap()));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().ends_with("store.redb") {
            entry.unpack(folder.path().join("store.redb")).unwrap();
        }
    }
    folder
}

/// Every file of a folder with its bytes.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

fn copies(folder: &Path) -> Vec<PathBuf> {
    let is_copy = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "bak");
    files(folder)
        .into_iter()
        .map(|(path, _)| path)
        .filter(is_copy)
        .collect()
}

/// Opens and closes the store of a folder.
fn open_and_close(folder: &Path) -> Result<Store, OpenError> {
    let store = Store::open(&options(folder), sink().0)?;
    tokio::runtime::Runtime::new().unwrap().block_on(store.close());
    Ok(store)
}

/// Signs the file as another version of another schema.
fn pretend(path: &Path, schema: u32) {
    let database = redb::Database::open(path).unwrap();
    let txn = database.begin_write().unwrap();
    let row = format!(r#"{{"schema":{schema},"written_by":"9.1.0"}}"#);
    txn.open_table(crate::store::tables::META)
        .unwrap()
        .insert(b"schema".as_slice(), row.as_bytes())
        .unwrap();
    txn.commit().unwrap();
}

#[test]
fn the_copy_is_the_file_as_the_older_program_left_it_and_opens_with_its_schema() {
    let folder = of_schema_3();
    let before = fs::read(folder.path().join("store.redb")).unwrap();
    let store = open_and_close(folder.path()).unwrap();
    let upgraded = store.upgraded().unwrap();
    assert_eq!(copies(folder.path()), std::slice::from_ref(&upgraded.copy));
    assert_eq!(upgraded.from, 3);
    assert!(fs::read(&upgraded.copy).unwrap() == before);
    let mode = fs::metadata(&upgraded.copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(inspect(&upgraded.copy).unwrap().unwrap().schema, 3);
    assert_eq!(
        inspect(&folder.path().join("store.redb")).unwrap().unwrap().schema,
        SCHEMA
    );
    let told = upgraded.to_string();
    assert!(told.contains("schema 3 to 4") && told.contains("To go back"), "{told}");
    // As an older program does: opened for writing, every table is there.
    let database = redb::Database::open(&upgraded.copy).unwrap();
    assert!(database.begin_read().unwrap().list_tables().unwrap().count() > 20);
    assert!(open_and_close(folder.path()).unwrap().upgraded().is_none(), "only once");
}

#[test]
fn a_file_that_was_not_closed_is_copied_and_its_copy_opens() {
    let folder = of_schema_3();
    let path = folder.path().join("store.redb");
    let killed = folder.path().join("killed");
    let database = redb::Database::open(&path).unwrap();
    fs::copy(&path, &killed).unwrap();
    drop(database);
    fs::rename(&killed, &path).unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(inspect(&path).unwrap().unwrap().schema, 3);
    assert!(fs::read(&path).unwrap() == before, "looking changes nothing");
    let copy = open_and_close(folder.path()).unwrap().upgraded().unwrap().copy.clone();
    assert!(fs::read(&copy).unwrap() == before);
    redb::Database::open(&copy).unwrap();
}

#[test]
fn a_newer_file_is_refused_and_not_a_byte_of_the_folder_changes() {
    let folder = of_schema_3();
    let path = folder.path().join("store.redb");
    pretend(&path, SCHEMA + 1);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let before = files(folder.path());
    for refusal in [
        open_and_close(folder.path()).err().unwrap(),
        compact(&path).unwrap_err(),
        inspect(&path).unwrap().unwrap().require_known().unwrap_err(),
    ] {
        let text = refusal.to_string();
        assert!(
            text.contains("written by WhatIsUp 9.1.0") && text.contains("knows up to 4"),
            "{text}"
        );
    }
    assert!(files(folder.path()) == before);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn without_a_copy_nothing_is_written() {
    let folder = of_schema_3();
    let draft = folder.path().join(".store.redb.bak.part");
    // Even root cannot write a file where a folder is.
    fs::create_dir(&draft).unwrap();
    let path = folder.path().join("store.redb");
    let before = fs::read(&path).unwrap();
    let refusal = open_and_close(folder.path()).err().unwrap().to_string();
    assert!(
        refusal.contains("nothing was changed") && refusal.contains("cannot be written"),
        "{refusal}"
    );
    assert!(fs::read(&path).unwrap() == before);
    assert!(copies(folder.path()).is_empty());
    fs::remove_dir(&draft).unwrap();
    // What a killed copy left is no copy, and in nobody's way.
    fs::write(&draft, "half").unwrap();
    open_and_close(folder.path()).unwrap();
    assert_eq!(copies(folder.path()).len(), 1);
    assert!(!draft.exists());
}

#[test]
fn the_two_newest_copies_stay_and_older_ones_go_after_an_upgrade_that_succeeded() {
    let folder = of_schema_3();
    let old = ["1", "2"].map(|schema| {
        let path = folder
            .path()
            .join(format!("store.redb.schema-{schema}-2020010{schema}000000000.bak"));
        fs::write(&path, "an older copy").unwrap();
        path
    });
    let copy = open_and_close(folder.path()).unwrap().upgraded().unwrap().copy.clone();
    assert_eq!(copies(folder.path()), [old[1].clone(), copy]);
}

#[test]
fn compacting_an_older_file_keeps_a_copy_as_well() {
    let folder = of_schema_3();
    let done = compact(&folder.path().join("store.redb")).unwrap();
    assert_eq!(copies(folder.path()), [done.upgraded.unwrap().copy]);
}

#[test]
fn a_file_that_is_held_cannot_be_opened_and_one_that_is_open_cannot_be_held() {
    let folder = of_schema_3();
    let path = folder.path().join("store.redb");
    let held = hold(&path).unwrap().unwrap();
    assert!(matches!(open_and_close(folder.path()), Err(OpenError::InUse)));
    assert!(matches!(inspect(&path), Err(OpenError::InUse)));
    drop(held);
    let store = Store::open(&options(folder.path()), sink().0).unwrap();
    assert!(matches!(hold(&path), Err(OpenError::InUse)));
    assert!(matches!(inspect(&path), Err(OpenError::InUse)));
    tokio::runtime::Runtime::new().unwrap().block_on(store.close());
    assert!(hold(&folder.path().join("nothing")).unwrap().is_none());
}

#[test]
fn a_child_migrates_and_never_commits() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let path = PathBuf::from(folder).join("store.redb");
    let (database, upgraded) = upgrade::begin(&path, 1 << 20, false).unwrap();
    let _transaction = schema::migrated(&database, upgraded.unwrap().from).unwrap();
    println!("{MIGRATED}");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_kill_between_the_copy_and_the_commit_leaves_the_older_file_and_one_copy() {
    let folder = of_schema_3();
    for _ in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::tests::upgrade::a_child_migrates_and_never_commits",
                "--nocapture",
            ])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        assert!(lines.any(|line| line.contains(MIGRATED)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(inspect(&folder.path().join("store.redb")).unwrap().unwrap().schema, 3);
        assert_eq!(copies(folder.path()).len(), 1, "starts that fail do not fill the disk");
    }
    let store = open_and_close(folder.path()).unwrap();
    assert_eq!(store.upgraded().unwrap().from, 3);
    assert_eq!(
        inspect(&folder.path().join("store.redb")).unwrap().unwrap().schema,
        SCHEMA
    );
    assert_eq!(copies(folder.path()), [store.upgraded().unwrap().copy.clone()]);
}
