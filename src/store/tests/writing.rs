//! Group commit: who shares a commit, who is run again, and in which order the world hears of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use tokio::sync::oneshot;

use super::disk::Disk;
use super::*;
use crate::domain::error::{Code, Error};
use crate::store::{Store, Tx, WriteError};

/// Holds the writer in an operation, so that what is submitted meanwhile becomes one batch.
async fn hold(store: &Store) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (entered, inside) = oneshot::channel();
    let (store, mut entered) = (store.clone(), Some(entered));
    tokio::spawn(async move {
        store
            .write(move |_| {
                entered.take().into_iter().for_each(|entered| entered.send(()).unwrap());
                // An error means that the test let go.
                let _ = held.recv();
                Ok(())
            })
            .await
    });
    inside.await.unwrap();
    release
}

type Answer = tokio::task::JoinHandle<Result<u32, WriteError>>;

/// Submits while the writer is held; polled once, so that the operation is in the queue when this returns.
async fn submit(store: &Store, work: impl FnMut(&mut Tx<'_>) -> Result<u32, WriteError> + Send + 'static) -> Answer {
    let (store, before) = (store.clone(), store.queue.capacity());
    let watched = store.clone();
    let answer = tokio::spawn(async move { store.write(work).await });
    while watched.queue.capacity() == before {
        tokio::task::yield_now().await;
    }
    answer
}

fn refusal() -> WriteError {
    Error::new(Code::IdempotencyConflict, "no").into()
}

#[tokio::test]
async fn many_waiting_writers_share_one_commit() {
    let (sink, published) = sink();
    let store = Disk::default().open(sink).unwrap();
    let release = hold(&store).await;
    let mut answers = Vec::new();
    for number in 0..100 {
        let work = move |tx: &mut Tx<'_>| tx.append_event(&event(number)).map(|_| 1);
        answers.push(submit(&store, work).await);
    }
    let before = store.shared.durable_commits.load(Ordering::Relaxed);
    drop(release);
    for answer in answers {
        assert_eq!(answer.await.unwrap().unwrap(), 1);
    }
    assert_eq!(store.shared.durable_commits.load(Ordering::Relaxed) - before, 1);
    let order: Vec<_> = published
        .lock()
        .unwrap()
        .iter()
        .map(|frame| frame.instance.to_u128())
        .collect();
    assert_eq!(order, (0..100).collect::<Vec<_>>());
    store.close().await;
}

#[tokio::test]
async fn an_operation_that_fails_after_it_wrote_is_undone_and_the_others_are_not() {
    let (sink, published) = sink();
    let store = Disk::default().open(sink).unwrap();
    let release = hold(&store).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let first = submit(&store, move |tx| {
        counted.fetch_add(1, Ordering::Relaxed);
        tx.append_event(&event(1))?;
        tx.next_session()
    })
    .await;
    let bad = submit(&store, |tx| {
        tx.append_event(&event(2))?;
        tx.next_session()?;
        Err(refusal())
    })
    .await;
    let panicking = submit(&store, |tx| {
        tx.append_event(&event(3))?;
        panic!("a bug in a closure")
    })
    .await;
    let last = submit(&store, |tx| {
        tx.append_event(&event(4))?;
        tx.next_session()
    })
    .await;
    drop(release);
    assert_eq!(first.await.unwrap().unwrap(), 1);
    assert!(matches!(bad.await.unwrap(), Err(WriteError::Rejected(error)) if error.code == Code::IdempotencyConflict));
    assert!(matches!(panicking.await.unwrap(), Err(WriteError::Failed(_))));
    assert_eq!(last.await.unwrap().unwrap(), 2);
    assert_eq!(runs.load(Ordering::Relaxed), 3);
    let told: Vec<_> = published
        .lock()
        .unwrap()
        .iter()
        .map(|frame| frame.instance.to_u128())
        .collect();
    assert_eq!(told, [1, 4]);
    let page = store.read(|view| view.journal(None, 10)).unwrap();
    assert_eq!(page.frames.len(), 2);
    store.close().await;
}

#[tokio::test]
async fn an_operation_that_fails_before_it_writes_costs_nobody_anything() {
    let store = Disk::default().open(sink().0).unwrap();
    let release = hold(&store).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let good = submit(&store, move |tx| {
        counted.fetch_add(1, Ordering::Relaxed);
        tx.next_session()
    })
    .await;
    let bad = submit(&store, |_| Err(refusal())).await;
    let panicking = submit(&store, |_| panic!("a bug in a closure")).await;
    drop(release);
    assert!(good.await.unwrap().is_ok());
    assert!(bad.await.unwrap().is_err() && panicking.await.unwrap().is_err());
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    store.close().await;
}

#[tokio::test]
async fn an_event_is_in_the_journal_when_it_is_published() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let late: Arc<Mutex<Option<Store>>> = Arc::default();
    let (copy, reader) = (Arc::clone(&seen), Arc::clone(&late));
    let sink: CommitSink = Arc::new(move |frames| {
        let store = reader.lock().unwrap().clone().unwrap();
        let page = store.read(|view| view.journal(None, 100)).unwrap();
        copy.lock()
            .unwrap()
            .push((page.scanned_to, frames.last().unwrap().id, store.head()));
    });
    let store = Disk::default().open(sink).unwrap();
    *late.lock().unwrap() = Some(store.clone());
    let id = store.write(|tx| tx.append_event(&event(7))).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [(Some(id), Some(id), Some(id))]);
    late.lock().unwrap().take();
    store.close().await;
}

#[tokio::test]
async fn a_lazy_write_is_answered_from_memory_and_reaches_the_disk_by_itself() {
    let disk = Disk::default();
    let store = disk.open(sink().0).unwrap();
    let instance = InstanceId::from_u128(7);
    let key = crate::store::InboundKey {
        chat: "c".into(),
        sender: "s".into(),
        message_id: crate::domain::message::MessageId::from_wire("M"),
    };
    let at = Timestamp::from_millis(1);
    let copy = key.clone();
    store
        .write_lazily(move |tx| tx.note_inbound(instance, &copy, at))
        .await
        .unwrap();
    let stats = || {
        let shared = &store.shared;
        (
            shared.lazy_commits.load(Ordering::Relaxed),
            shared.durable_commits.load(Ordering::Relaxed),
        )
    };
    assert_eq!(stats().0, 1);
    while stats().1 == 0 {
        tokio::task::yield_now().await;
    }
    // The power goes: nothing was closed, and it is there.
    let store = disk.copy().open(sink().0).unwrap();
    assert!(
        store
            .write(move |tx| tx.note_inbound(instance, &key, at))
            .await
            .unwrap()
    );
    store.close().await;
}

#[tokio::test]
async fn a_durable_answer_never_rests_on_what_only_memory_knows() {
    let disk = Disk::default();
    let store = disk.open(sink().0).unwrap();
    let key = || crate::store::InboundKey {
        chat: "c".into(),
        sender: "s".into(),
        message_id: crate::domain::message::MessageId::from_wire("M"),
    };
    let (instance, at) = (InstanceId::from_u128(7), Timestamp::from_millis(1));
    store
        .write_lazily(move |tx| tx.note_inbound(instance, &key(), at))
        .await
        .unwrap();
    // Writes nothing itself, but promises that the message is stored.
    assert!(
        store
            .write(move |tx| tx.note_inbound(instance, &key(), at))
            .await
            .unwrap()
    );
    let after_power_loss = disk.copy().open(sink().0).unwrap();
    assert!(
        after_power_loss
            .write(move |tx| tx.note_inbound(instance, &key(), at))
            .await
            .unwrap()
    );
    after_power_loss.close().await;
    store.close().await;
}

#[tokio::test]
async fn an_event_is_on_disk_before_it_is_published_even_from_a_lazy_write() {
    let disk = Disk::default();
    let store = disk.open(sink().0).unwrap();
    let id = store.write_lazily(|tx| tx.append_event(&event(7))).await.unwrap();
    let after_power_loss = disk.copy().open(sink().0).unwrap();
    assert_eq!(after_power_loss.head(), Some(id));
    after_power_loss.close().await;
    store.close().await;
}

#[tokio::test]
async fn opening_after_a_power_loss_does_not_walk_the_file() {
    let disk = Disk::default();
    let store = disk.open(sink().0).unwrap();
    for _ in 0..5 {
        store.write(|tx| tx.append_event(&event(7))).await.unwrap();
        // Commits to memory in between change nothing about what the file says.
        let key = crate::store::InboundKey {
            chat: "c".into(),
            sender: "s".into(),
            message_id: crate::domain::message::MessageId::choose(),
        };
        let (instance, at) = (InstanceId::from_u128(7), Timestamp::from_millis(1));
        store
            .write_lazily(move |tx| tx.note_inbound(instance, &key, at))
            .await
            .unwrap();
        let crashed = disk.copy();
        let after = crashed.open(sink().0).unwrap();
        assert_eq!(after.head(), store.head());
        after.close().await;
        assert_eq!(crashed.walks(), 0);
    }
    store.close().await;
}
