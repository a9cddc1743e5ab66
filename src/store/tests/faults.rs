//! Disks that are full or fail: who is told, what is kept, and that it works again afterwards.

use std::io::ErrorKind;

use super::disk::Disk;
use super::*;
use crate::domain::id::EventId;
use crate::store::{Store, WriteError};

fn journal(store: &Store) -> Vec<EventId> {
    let page = store.read(|view| view.journal(None, 10_000)).unwrap();
    page.frames.iter().filter_map(|frame| frame.id).collect()
}

/// A row large enough that the file must grow now and then.
async fn append(store: &Store, number: u32) -> Result<EventId, WriteError> {
    store
        .write(move |tx| {
            tx.put(crate::store::tables::GROUPS, &number.to_be_bytes(), &vec![7; 20_000])?;
            tx.append_event(&event(number.into()))
        })
        .await
}

#[tokio::test]
async fn wherever_a_disk_fills_up_answered_writes_stay_refused_ones_vanish_and_it_goes_on() {
    for changes in 0..60 {
        let disk = Disk::default();
        let (sink, published) = sink();
        let store = disk.open(sink).unwrap();
        let mut kept = vec![append(&store, 0).await.unwrap()];
        disk.fail_after(changes, ErrorKind::StorageFull);
        let mut refused = 0;
        for number in 1..8 {
            match append(&store, number).await {
                Ok(id) => kept.push(id),
                // The disk is still full when the file is opened again, so nobody knows yet what is in it.
                // That is \"failed\" instead of \"full\".
                Err(WriteError::Full | WriteError::Failed(_)) => refused += 1,
                Err(other) => panic!("after {changes} changes: {other}"),
            }
        }
        assert!(
            disk.is_waiting_to_fail() || refused > 0,
            "after {changes} changes nobody was refused"
        );
        disk.heal();
        kept.push(append(&store, 99).await.unwrap());
        let told: Vec<_> = published.lock().unwrap().iter().filter_map(|frame| frame.id).collect();
        let stored = journal(&store);
        assert_eq!(told, stored, "after {changes} changes");
        assert!(kept.iter().all(|id| stored.contains(id)), "after {changes} changes");
        // What was refused as unknown may be there; what was refused as full may not.
        assert!(stored.len() <= kept.len() + 1, "after {changes} changes");
        store.close().await;

        let mut database = disk.database().unwrap();
        assert!(database.check_integrity().unwrap(), "after {changes} changes");
    }
}

#[tokio::test]
async fn wherever_a_disk_is_full_for_a_moment_a_refusal_means_that_nothing_was_stored() {
    for changes in 0..40 {
        let disk = Disk::default();
        let (sink, published) = sink();
        let store = disk.open(sink).unwrap();
        let mut kept = vec![append(&store, 0).await.unwrap()];
        disk.fail_once_after(changes, ErrorKind::StorageFull);
        for number in 1..6 {
            match append(&store, number).await {
                Ok(id) => kept.push(id),
                Err(WriteError::Full) => {}
                Err(other) => panic!("after {changes} changes: {other}"),
            }
        }
        let told: Vec<_> = published.lock().unwrap().iter().filter_map(|frame| frame.id).collect();
        assert_eq!(journal(&store), kept, "after {changes} changes");
        assert_eq!(told, kept, "after {changes} changes");
        store.close().await;
    }
}

#[tokio::test]
async fn readers_survive_a_disk_that_fails_and_comes_back() {
    let disk = Disk::default();
    let store = disk.open(sink().0).unwrap();
    let id = append(&store, 1).await.unwrap();
    disk.fail_after(0, ErrorKind::InvalidData);
    assert!(matches!(append(&store, 2).await, Err(WriteError::Failed(_))));
    disk.heal();
    // Nobody writes: the store comes back by itself.
    let found = loop {
        match store.read(|view| view.journal(None, 10)) {
            Ok(page) => break page.frames,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(found[0].id, Some(id));
    append(&store, 3).await.unwrap();
    store.close().await;
}
