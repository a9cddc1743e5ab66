//! What callers rely on in daily use.

use std::sync::{Arc, Mutex};

use super::super::*;
use crate::domain::Timestamp;
use crate::domain::event::{DisconnectReason, Event, EventBody};
use crate::domain::id::InstanceId;

pub(super) type Published = Arc<Mutex<Vec<SharedFrame>>>;

pub(super) fn options(folder: &Path) -> Options {
    Options {
        path: folder.join("store.redb"),
        cache_bytes: 4 << 20,
        reserve_bytes: 0,
    }
}

pub(super) fn sink() -> (CommitSink, Published) {
    let published = Published::default();
    let copy = Arc::clone(&published);
    (
        Arc::new(move |frames| copy.lock().unwrap().extend_from_slice(frames)),
        published,
    )
}

pub(super) fn event(number: u128) -> Event {
    Event {
        instance_id: InstanceId::from_u128(number),
        occurred_at: Timestamp::from_millis(1),
        body: EventBody::InstanceDisconnected {
            reason: DisconnectReason::Network,
            will_retry: true,
            next_attempt_at: None,
        },
    }
}

#[tokio::test]
async fn what_was_written_is_there_after_a_reopen_and_was_published() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, published) = sink();
    let store = Store::open(&options(folder.path()), sink.clone()).unwrap();
    let id = store.write(|tx| tx.append_event(&event(7))).await.unwrap();
    assert_eq!(published.lock().unwrap().len(), 1);
    assert_eq!(store.head(), Some(id));
    store.close().await;
    assert!(matches!(
        store.write(|tx| tx.append_event(&event(7))).await,
        Err(WriteError::Closed)
    ));
    assert!(store.read(|view| view.oldest_event()).is_err());

    let store = Store::open(&options(folder.path()), sink).unwrap();
    assert_eq!(store.head(), Some(id));
    let page = store.read(|view| view.journal(None, 10)).unwrap();
    assert_eq!(page.frames[0].sse(), published.lock().unwrap()[0].sse());
    assert!(page.at_head && page.scanned_to == Some(id));
}
