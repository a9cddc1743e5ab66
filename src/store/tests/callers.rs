//! Opening, closing and reading.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::domain::id::EventId;
use crate::store::{OpenError, Store, WriteError, compact};

#[tokio::test]
async fn what_was_written_is_there_after_a_reopen_and_was_published() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, published) = sink();
    let store = Store::open(&options(folder.path()), sink.clone()).unwrap();
    let id = store.write(|tx| tx.append_event(&event(7))).await.unwrap();
    assert_eq!(published.lock().unwrap().len(), 1);
    assert_eq!(store.head(), Some(id));
    let owner = store.read(|view| view.customer()).unwrap();
    store.close().await;

    let store = Store::open(&options(folder.path()), sink).unwrap();
    assert_eq!(store.head(), Some(id));
    assert_eq!(store.read(|view| view.customer()).unwrap(), owner);
    let page = store.read(|view| view.journal(None, 10)).unwrap();
    assert_eq!(page.frames[0].sse(), published.lock().unwrap()[0].sse());
    assert!(page.at_head && page.scanned_to == Some(id));
    store.close().await;
}

#[tokio::test]
async fn a_closed_store_says_so_and_may_be_closed_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&options(folder.path()), sink().0).unwrap();
    let other = store.clone();
    tokio::join!(store.close(), other.close());
    store.close().await;
    let refused = store.write(|tx| tx.append_event(&event(7))).await;
    assert!(matches!(refused, Err(WriteError::Closed)));
    assert!(store.read(|view| view.oldest_event()).is_err());
    drop(Store::open(&options(folder.path()), sink().0).unwrap());
}

#[tokio::test]
async fn closing_first_writes_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&options(folder.path()), sink().0).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let store = store.clone();
        waiting.push(tokio::spawn(async move {
            store.write(|tx| tx.append_event(&event(7))).await
        }));
    }
    tokio::task::yield_now().await;
    store.close().await;
    let mut stored = Vec::new();
    for answer in waiting {
        stored.extend(answer.await.unwrap().ok());
    }
    assert!(!stored.is_empty());
    let store = Store::open(&options(folder.path()), sink().0).unwrap();
    let page = store.read(|view| view.journal(None, 100)).unwrap();
    let mut found: Vec<_> = page.frames.iter().filter_map(|frame| frame.id).collect();
    stored.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, stored);
}

#[test]
fn the_file_is_the_owners_alone_and_in_use_only_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    std::fs::write(&options.path, "").unwrap();
    std::fs::set_permissions(&options.path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let _store = Store::open(&options, sink().0).unwrap();
    let mode = std::fs::metadata(&options.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(Store::open(&options, sink().0), Err(OpenError::InUse)));
    assert!(matches!(compact(&options.path), Err(OpenError::InUse)));
}

#[test]
fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder.path().join("not-there"));
    let Err(OpenError::Failed(cause)) = Store::open(&options, sink().0) else {
        panic!("opened in a folder that does not exist");
    };
    assert!(cause.to_string().contains("not-there"), "{cause}");
    assert!(matches!(compact(&options.path), Err(OpenError::Failed(_))));
}

#[tokio::test]
async fn a_journal_is_read_in_pages_without_seam() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&options(folder.path()), sink().0).unwrap();
    let written: Vec<EventId> = store
        .write(|tx| (0..25).map(|_| tx.append_event(&event(7))).collect())
        .await
        .unwrap();
    let (mut read, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = store.read(|view| view.journal(after, 10)).unwrap();
        read.extend(page.frames.iter().filter_map(|frame| frame.id));
        after = page.scanned_to;
        pages += 1;
        if page.at_head {
            break;
        }
    }
    assert_eq!((read, after, pages), (written.clone(), written.last().copied(), 3));
    assert_eq!(
        store.read(|view| view.oldest_event()).unwrap(),
        written.first().copied()
    );
    store.close().await;
}

#[tokio::test]
async fn ids_go_on_even_if_the_clock_went_back_while_the_store_was_closed() {
    let disk = disk::Disk::default();
    let store = disk.open(sink().0).unwrap();
    store.write(|tx| tx.append_event(&event(7))).await.unwrap();
    store.close().await;
    let ahead = EventId::floor(Timestamp::from_millis(9_000_000_000_000));
    {
        let database = disk.database().unwrap();
        let mut head = crate::store::schema::head(&database).unwrap();
        head.last_event = Some(ahead);
        let txn = database.begin_write().unwrap();
        let mut meta = txn.open_table(crate::store::tables::META).unwrap();
        meta.insert(b"head".as_slice(), serde_json::to_vec(&head).unwrap().as_slice())
            .unwrap();
        drop(meta);
        txn.commit().unwrap();
    }
    let store = disk.open(sink().0).unwrap();
    let first = store.write(|tx| tx.append_event(&event(7))).await.unwrap();
    let second = store.write(|tx| tx.append_event(&event(7))).await.unwrap();
    assert!(ahead < first && first < second);
    store.close().await;
}
