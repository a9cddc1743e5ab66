//! Webhook deliveries: made with their event, kept in one queue at a time, gone with their payload.

use std::time::Duration;

use super::*;
use crate::domain::event::EventName;
use crate::domain::id::{DeliveryId, EndpointId, EventId};
use crate::domain::webhook::{
    Attempt, DEFAULT_BACKOFF, Delivery, DeliveryStatus, DisabledReason, Endpoint, KEPT_AFTER_SUCCESS, KEPT_OTHERWISE,
    SealedSecret, Subject,
};
use crate::store::{Debt, DeliveryFilter, NewDelivery, Store, Stretch, SweepLimits, WriteError};
use crate::sys::clock;

const KEEP: SweepLimits = SweepLimits {
    journal_age: Duration::from_hours(24),
    journal_bytes: u64::MAX,
    log_age: Duration::from_hours(24),
    audit_age: Duration::from_hours(24),
    audit_rows: 10_000,
};

fn open(folder: &Path) -> Store {
    Store::open(&options(folder), sink().0).unwrap()
}

fn endpoint(number: u128, events: &[EventName], instances: Option<&[u128]>) -> Endpoint {
    Endpoint {
        id: EndpointId::from_u128(number),
        url: "https://example.org/".into(),
        description: None,
        events: events.to_vec(),
        instance_ids: instances.map(|ids| ids.iter().copied().map(InstanceId::from_u128).collect()),
        disabled: None,
        secret: SealedSecret("x".into()),
        previous_secret: None,
        has_custom_signing_secret: false,
        canary_seconds: None,
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
        deleted_at: None,
    }
}

async fn put(store: &Store, endpoint: Endpoint) {
    store.write(move |tx| tx.put_endpoint(&endpoint)).await.unwrap();
}

async fn happen(store: &Store, instance: u128) -> EventId {
    store.write(move |tx| tx.append_event(&event(instance))).await.unwrap()
}

fn waiting(store: &Store, endpoint: u128) -> Vec<Delivery> {
    store
        .read(|view| {
            view.new_deliveries(EndpointId::from_u128(endpoint), 0, 100)?
                .iter()
                .map(|waiting| Ok(view.delivery(waiting.delivery)?.unwrap()))
                .collect()
        })
        .unwrap()
}

fn debt(store: &Store, endpoint: u128) -> Debt {
    let at = clock::now();
    store
        .read(|view| view.debt(EndpointId::from_u128(endpoint), at))
        .unwrap()
}

fn attempt(status: u16) -> Attempt {
    Attempt {
        at: clock::now(),
        duration_ms: 1,
        response_status: Some(status),
        response_body: None,
        error: None,
    }
}

async fn note(store: &Store, id: DeliveryId, status: u16) -> Delivery {
    store
        .write(move |tx| {
            let mut delivery = tx.delivery(id)?.unwrap();
            delivery.note(attempt(status), DEFAULT_BACKOFF, 0.5, clock::now());
            tx.put_delivery(&delivery)?;
            Ok(delivery)
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn an_event_owes_a_delivery_to_each_endpoint_that_wants_it_and_to_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, endpoint(1, &[], None)).await;
    put(&store, endpoint(2, &[EventName::InstanceDisconnected], Some(&[7, 8]))).await;
    put(&store, endpoint(3, &[EventName::MessageSent], None)).await;
    put(&store, endpoint(4, &[], Some(&[9]))).await;
    let off = Endpoint {
        disabled: Some(DisabledReason::ByRequest),
        ..endpoint(5, &[], None)
    };
    put(&store, off).await;
    let event = happen(&store, 7).await;
    for (number, owed) in [(1, 1), (2, 1), (3, 0), (4, 0), (5, 0)] {
        let rows = waiting(&store, number);
        assert_eq!(rows.len(), owed, "{number}");
        assert!(rows.iter().all(|row| row.event_id == event));
    }
    let (row, payload) = (
        waiting(&store, 1).remove(0),
        store.read(|view| view.payload(event)).unwrap().unwrap(),
    );
    assert_eq!(row.status, DeliveryStatus::Pending);
    let journaled = store.read(|view| view.journal(None, 10)).unwrap().frames;
    assert_eq!(payload, journaled[0].json(), "the bytes of the stream");
}

#[tokio::test]
async fn an_operation_that_fails_owes_nothing_and_forgets_the_endpoint_it_made() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let failed: Result<(), WriteError> = store
        .write(|tx| {
            tx.put_endpoint(&endpoint(1, &[], None))?;
            tx.append_event(&event(7))?;
            Err(WriteError::Failed("no".into()))
        })
        .await;
    assert!(failed.is_err());
    happen(&store, 7).await;
    assert_eq!(debt(&store, 1), Debt::default());
    // In one transaction the event sees the endpoint that was made before it.
    store
        .write(|tx| {
            tx.append_event(&event(7))?;
            tx.put_endpoint(&endpoint(1, &[], None))?;
            tx.append_event(&event(7))
        })
        .await
        .unwrap();
    assert_eq!(debt(&store, 1).new, 1);
}

#[tokio::test]
async fn a_delivery_stands_in_one_queue_at_a_time_and_in_none_when_it_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, endpoint(1, &[], None)).await;
    happen(&store, 7).await;
    happen(&store, 7).await;
    let rows = waiting(&store, 1);
    assert!(rows[0].sequence < rows[1].sequence && rows[0].id < rows[1].id);
    let failed = note(&store, rows[0].id, 500).await;
    let owed = debt(&store, 1);
    assert_eq!((owed.new, owed.retried), (1, 1));
    assert_eq!(
        owed.oldest_due_at,
        Some(rows[1].created_at),
        "a retry that is not due is not late"
    );
    let retries = store
        .read(|view| view.retried_deliveries(EndpointId::from_u128(1), 10))
        .unwrap();
    assert_eq!(
        (retries[0].delivery, Some(retries[0].due_at)),
        (failed.id, failed.next_attempt_at)
    );
    note(&store, failed.id, 500).await;
    assert_eq!(debt(&store, 1).retried, 1, "the place before is left");
    note(&store, failed.id, 204).await;
    note(&store, rows[1].id, 410).await;
    assert_eq!(debt(&store, 1), Debt::default());
}

#[tokio::test]
async fn what_was_owed_before_a_restart_is_owed_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, endpoint(1, &[], None)).await;
    happen(&store, 7).await;
    let before = waiting(&store, 1);
    store.close().await;
    let store = open(folder.path());
    assert_eq!(waiting(&store, 1), before);
    let next = happen(&store, 7).await;
    assert_eq!(waiting(&store, 1)[1].event_id, next);
}

#[tokio::test]
async fn a_payload_goes_with_its_last_delivery() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, endpoint(1, &[], None)).await;
    put(&store, endpoint(2, &[], None)).await;
    let event = happen(&store, 7).await;
    let (one, two) = (waiting(&store, 1)[0].clone(), waiting(&store, 2)[0].clone());
    assert_eq!(store.sweep(KEEP).await.unwrap().deliveries, 0);
    let expire = |mut delivery: Delivery, age: Duration| {
        delivery.expires_at = clock::now().minus(age);
        delivery
    };
    let taken = note(&store, one.id, 200).await;
    assert_eq!(taken.expires_at.since(taken.updated_at), KEPT_AFTER_SUCCESS);
    assert_eq!(two.expires_at.since(two.created_at), KEPT_OTHERWISE);
    let gone = expire(taken, Duration::from_secs(1));
    store.write(move |tx| tx.put_delivery(&gone)).await.unwrap();
    assert_eq!(store.sweep(KEEP).await.unwrap().deliveries, 1);
    assert!(store.read(|view| view.payload(event)).unwrap().is_some());
    let gone = expire(two, Duration::from_secs(1));
    store.write(move |tx| tx.put_delivery(&gone)).await.unwrap();
    assert_eq!(store.sweep(KEEP).await.unwrap().deliveries, 1);
    assert!(store.read(|view| view.payload(event)).unwrap().is_none());
    assert_eq!(debt(&store, 2), Debt::default(), "what is swept is owed no longer");
    assert_eq!(store.read(|view| view.delivery(one.id)).unwrap(), None);
}

#[tokio::test]
async fn lists_are_filtered_and_paged_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, endpoint(1, &[], None)).await;
    put(&store, endpoint(2, &[], Some(&[8]))).await;
    for instance in [7, 8, 7, 8, 7] {
        happen(&store, instance).await;
    }
    let failed = waiting(&store, 1)[1].id;
    note(&store, failed, 410).await;
    let list = |filter: DeliveryFilter, before: Option<DeliveryId>, limit: usize| {
        store.read(|view| view.deliveries(&filter, before, limit)).unwrap()
    };
    let all = list(DeliveryFilter::default(), None, 100);
    assert_eq!((all.deliveries.len(), all.next), (7, None));
    assert!(all.deliveries.is_sorted_by(|one, next| one.id > next.id));
    let first = list(DeliveryFilter::default(), None, 3);
    let second = list(DeliveryFilter::default(), first.next, 100);
    assert_eq!([first.deliveries, second.deliveries].concat(), all.deliveries);
    for (filter, count) in [
        (
            DeliveryFilter {
                endpoint_id: Some(EndpointId::from_u128(2)),
                ..Default::default()
            },
            2,
        ),
        (
            DeliveryFilter {
                instance_id: Some(InstanceId::from_u128(7)),
                ..Default::default()
            },
            3,
        ),
        (
            DeliveryFilter {
                status: Some(DeliveryStatus::Failed),
                ..Default::default()
            },
            1,
        ),
        (
            DeliveryFilter {
                event: Some(Subject::Test),
                ..Default::default()
            },
            0,
        ),
        (
            DeliveryFilter {
                endpoints: Some(vec![EndpointId::from_u128(2)]),
                ..Default::default()
            },
            2,
        ),
        (
            DeliveryFilter {
                endpoints: Some(vec![]),
                ..Default::default()
            },
            0,
        ),
    ] {
        assert_eq!(list(filter.clone(), None, 100).deliveries.len(), count, "{filter:?}");
    }
    let of_one = DeliveryFilter {
        endpoint_id: Some(EndpointId::from_u128(1)),
        ..Default::default()
    };
    let page = list(of_one.clone(), None, 2);
    let rest = list(of_one, page.next, 100);
    assert_eq!((page.deliveries.len(), rest.deliveries.len()), (2, 3));
}

#[tokio::test]
async fn what_is_owed_can_be_given_up_in_steps() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, endpoint(1, &[], None)).await;
    for _ in 0..5 {
        happen(&store, 7).await;
    }
    let first = waiting(&store, 1)[0].id;
    note(&store, first, 500).await;
    let given_up = |limit| store.write(move |tx| tx.give_up(EndpointId::from_u128(1), limit));
    assert_eq!(given_up(3).await.unwrap(), 3);
    assert_eq!(given_up(3).await.unwrap(), 2);
    assert_eq!(given_up(3).await.unwrap(), 0);
    let row = store.read(|view| view.delivery(first)).unwrap().unwrap();
    assert_eq!((row.status, row.next_attempt_at), (DeliveryStatus::Failed, None));
}

#[tokio::test]
async fn the_journal_gives_an_endpoint_the_events_of_a_stretch_of_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let began = clock::now();
    for instance in [7, 8, 7] {
        happen(&store, instance).await;
    }
    let stretch = Stretch {
        since: began,
        until: None,
        after: None,
    };
    let ask = |endpoint: Endpoint, names: &[EventName], stretch: Stretch, limit: usize| {
        store
            .read(|view| view.events_for(&endpoint, names, stretch, limit))
            .unwrap()
    };
    assert_eq!(ask(endpoint(1, &[], None), &[], stretch, 10).frames.len(), 3);
    assert_eq!(ask(endpoint(1, &[], Some(&[8])), &[], stretch, 10).frames.len(), 1);
    assert_eq!(
        ask(endpoint(1, &[], None), &[EventName::MessageSent], stretch, 10)
            .frames
            .len(),
        0
    );
    let page = ask(endpoint(1, &[], None), &[], stretch, 2);
    assert!(page.more);
    let after = Stretch {
        after: page.scanned_to,
        ..stretch
    };
    let rest = ask(endpoint(1, &[], None), &[], after, 2);
    assert_eq!((rest.frames.len(), rest.more), (1, false));
    let over = Stretch {
        until: Some(began),
        ..stretch
    };
    assert_eq!(ask(endpoint(1, &[], None), &[], over, 10).frames.len(), 0);
    let future = Stretch {
        since: clock::now().plus(Duration::from_hours(1)),
        ..stretch
    };
    assert_eq!(ask(endpoint(1, &[], None), &[], future, 10).frames.len(), 0);
}

#[tokio::test]
async fn a_test_is_kept_but_not_queued() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, endpoint(1, &[], None)).await;
    let delivery = store
        .write(|tx| {
            let event_id = EventId::apart(clock::now());
            tx.put_payload(event_id, b"{}")?;
            tx.insert_delivery(&NewDelivery {
                endpoint_id: EndpointId::from_u128(1),
                instance_id: None,
                event: Subject::Test,
                event_id,
                order: 0,
                correlation_id: None,
                replay_of: None,
                queued: false,
            })
        })
        .await
        .unwrap();
    assert_eq!(debt(&store, 1), Debt::default());
    let done = note(&store, delivery.id, 200).await;
    assert_eq!(done.status, DeliveryStatus::Success);
    assert_eq!(debt(&store, 1), Debt::default());
}
