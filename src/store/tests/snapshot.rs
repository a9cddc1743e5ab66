//! A snapshot is one moment of the store, whole, and leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{ReadableDatabase as _, TableHandle as _};

use super::*;
use crate::store::{SnapshotError, Store, inspect, snapshot_of_file, tables};

fn leftovers(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with(".snapshot-"))
        .count()
}

#[tokio::test]
async fn a_snapshot_is_one_moment_while_the_writer_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&options(folder.path()), sink().0).unwrap();
    let halt = Arc::new(AtomicBool::new(false));
    let writing = {
        let (store, halt) = (store.clone(), Arc::clone(&halt));
        tokio::spawn(async move {
            let mut written = 0;
            while !halt.load(Ordering::Relaxed) {
                store.write(|tx| tx.append_event(&event(1))).await.unwrap();
                store.write_lazily(|tx| tx.append_event(&event(2))).await.unwrap();
                written += 2;
            }
            written
        })
    };
    for _ in 0..5 {
        let (from, before) = (store.clone(), store.stats().unwrap().journal_rows);
        let snapshot = tokio::task::spawn_blocking(move || from.snapshot(&|| false).unwrap())
            .await
            .unwrap();
        assert!(snapshot.events() >= before);
        let mode = fs::metadata(snapshot.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // What the head counts and what is there agree in one moment only.
        let copy = tempfile::tempdir().unwrap();
        fs::copy(snapshot.path(), copy.path().join("store.redb")).unwrap();
        let other = Store::open(&options(copy.path()), sink().0).unwrap();
        let page = other.read(|view| view.journal(None, 1_000_000)).unwrap();
        assert_eq!(other.stats().unwrap().journal_rows, page.frames.len() as u64);
        assert_eq!(page.frames.len() as u64, snapshot.events());
        assert_eq!(page.frames.last().and_then(|frame| frame.id), other.head());
        other.write(|tx| tx.append_event(&event(3))).await.unwrap();
        other.close().await;
    }
    halt.store(true, Ordering::Relaxed);
    assert!(writing.await.unwrap() > 0);
    assert_eq!(leftovers(folder.path()), 0);
    store.close().await;
}

#[tokio::test]
async fn every_table_is_in_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&options(folder.path()), sink().0).unwrap();
    let snapshot = store.snapshot(&|| false).unwrap();
    let database = redb::Database::open(snapshot.path()).unwrap();
    let txn = database.begin_read().unwrap();
    let there: Vec<String> = txn
        .list_tables()
        .unwrap()
        .map(|table| table.name().to_owned())
        .collect();
    for (name, _) in tables::ALL {
        assert!(there.iter().any(|there| there == name), "{name}");
    }
    store.close().await;
}

#[tokio::test]
async fn a_snapshot_for_which_nobody_waits_or_for_which_there_is_no_room_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    let store = Store::open(&options, sink().0).unwrap();
    for _ in 0..600 {
        store.write_lazily(|tx| tx.append_event(&event(1))).await.unwrap();
    }
    assert!(matches!(store.snapshot(&|| true), Err(SnapshotError::GivenUp)));
    assert_eq!(leftovers(folder.path()), 0);
    store.close().await;
    assert!(matches!(store.snapshot(&|| false), Err(SnapshotError::Nothing)));
    drop(store);
    options.reserve_bytes = u64::MAX / 2;
    let store = Store::open(&options, sink().0).unwrap();
    let refusal = store.snapshot(&|| false).unwrap_err();
    assert!(matches!(refusal, SnapshotError::NoRoom { .. }));
    let text = refusal.to_string();
    assert!(
        text.contains("MiB are free") && text.contains("store.reserve_bytes"),
        "{text}"
    );
    store.close().await;
}

#[tokio::test]
async fn a_file_that_nobody_has_open_is_taken_as_it_is_and_what_a_kill_left_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = Store::open(&options(folder.path()), sink().0).unwrap();
    store.write(|tx| tx.append_event(&event(1))).await.unwrap();
    assert!(matches!(
        snapshot_of_file(&path, &|| false),
        Err(SnapshotError::Open(_))
    ));
    store.close().await;
    fs::write(folder.path().join(".snapshot-0123.redb"), "half").unwrap();
    let before = fs::read(&path).unwrap();
    let snapshot = snapshot_of_file(&path, &|| false).unwrap();
    assert_eq!((snapshot.events(), leftovers(folder.path())), (1, 1));
    assert_eq!(inspect(snapshot.path()).unwrap(), inspect(&path).unwrap());
    drop(snapshot);
    assert!(fs::read(&path).unwrap() == before);
    fs::write(folder.path().join(".snapshot-0123.redb"), "half").unwrap();
    Store::open(&options(folder.path()), sink().0).unwrap().close().await;
    assert_eq!(leftovers(folder.path()), 0);
}
