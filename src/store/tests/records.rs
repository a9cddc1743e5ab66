//! Each family of records: keys, instances, outbox, answers, inbound notes, and their sweep.

use std::time::Duration;

use super::disk::Disk;
use super::*;
use crate::domain::access::ApiKey;
use crate::domain::address::Address;
use crate::domain::id::KeyId;
use crate::domain::instance::{Instance, Settings, Status};
use crate::domain::message::{MessageId, Outbound, OutboundState};
use crate::store::{InboundKey, Remembered, Store, SweepLimits, Swept, compact};
use crate::sys::clock;

const KEEP: SweepLimits = SweepLimits {
    journal_age: Duration::from_hours(24),
    journal_bytes: u64::MAX,
    log_age: Duration::from_hours(24),
    audit_age: Duration::from_hours(24),
    audit_rows: 10_000,
};

fn key(number: u128) -> ApiKey {
    ApiKey {
        id: KeyId::from_u128(number),
        name: "k".into(),
        prefix: "wiu_x".into(),
        instance_id: None,
        scopes: None,
        last_used_at: None,
        expires_at: None,
        created_at: Timestamp::from_millis(1),
        revoked_at: None,
    }
}

fn instance(number: u128, session: u32) -> Instance {
    Instance {
        id: InstanceId::from_u128(number),
        session,
        name: "i".into(),
        phone_number: None,
        jid: None,
        lid: None,
        status: Status::Pending,
        status_reason: None,
        status_since: None,
        last_seen_at: None,
        metadata: serde_json::Map::new(),
        settings: Settings::default(),
        wanted: true,
        created_at: Timestamp::from_millis(1),
        updated_at: Timestamp::from_millis(1),
        deleted_at: None,
    }
}

fn outbound(instance: u128, id: &str, created_at: Timestamp) -> Outbound {
    Outbound {
        message_id: MessageId::from_wire(id),
        instance_id: InstanceId::from_u128(instance),
        to: Address::parse("5511999990001@s.whatsapp.net").unwrap(),
        body: None,
        reply_to: None,
        mentions: Vec::new(),
        client_ref: None,
        request_id: None,
        state: OutboundState::Queued,
        attempts: 0,
        sequence: 0,
        due_at: Some(created_at),
        created_at,
        updated_at: created_at,
        error: None,
    }
}

async fn insert(store: &Store, message: &Outbound) -> Outbound {
    let message = message.clone();
    store
        .write(move |tx| {
            let mut message = message.clone();
            tx.insert_outbound(&mut message)?;
            Ok(message)
        })
        .await
        .unwrap()
}

async fn settle(store: &Store, message: &Outbound) {
    let settled = Outbound {
        due_at: None,
        state: OutboundState::Sent,
        ..message.clone()
    };
    store.write(move |tx| tx.put_outbound(&settled)).await.unwrap();
}

#[tokio::test]
async fn a_revoked_key_is_found_by_id_alone() {
    let store = Disk::default().open(sink().0).unwrap();
    for number in [1, 2, 3] {
        store
            .write(move |tx| tx.insert_key(&key(number), &[u8::try_from(number).unwrap(); 32]))
            .await
            .unwrap();
    }
    let listed = |before: Option<u128>, limit| {
        let keys = store
            .read(|view| view.keys(before.map(KeyId::from_u128), limit))
            .unwrap();
        keys.iter().map(|key| key.id.to_u128()).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, 10), [3, 2, 1]);
    assert_eq!(listed(Some(3), 1), [2]);
    assert_eq!(listed(None, 0), [0; 0]);
    assert_eq!(store.read(|view| view.key_by_hash(&[2; 32])).unwrap(), Some(key(2)));

    let revoked = ApiKey {
        revoked_at: Some(Timestamp::from_millis(9)),
        ..key(2)
    };
    let copy = revoked.clone();
    store.write(move |tx| tx.put_key(&copy)).await.unwrap();
    assert_eq!(store.read(|view| view.key_by_hash(&[2; 32])).unwrap(), None);
    assert_eq!(
        store.write(|tx| tx.key(KeyId::from_u128(2))).await.unwrap(),
        Some(revoked)
    );
    assert_eq!(listed(None, 10), [3, 1]);
    store.close().await;
}

#[tokio::test]
async fn session_numbers_are_never_given_twice_and_deleted_instances_are_not_listed() {
    let disk = Disk::default();
    let store = disk.open(sink().0).unwrap();
    let first = store.write(|tx| tx.next_session()).await.unwrap();
    for number in [1, 2, 3] {
        store
            .write(move |tx| tx.put_instance(&instance(number, first)))
            .await
            .unwrap();
    }
    let deleted = Instance {
        deleted_at: Some(Timestamp::from_millis(5)),
        ..instance(2, first)
    };
    let copy = deleted.clone();
    store.write(move |tx| tx.put_instance(&copy)).await.unwrap();
    let listed = |store: &Store, before: Option<u128>| {
        let found = store
            .read(|view| view.instances(before.map(InstanceId::from_u128), 10))
            .unwrap();
        found.iter().map(|instance| instance.id.to_u128()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&store, None), [3, 1]);
    assert_eq!(listed(&store, Some(3)), [1]);
    assert_eq!(
        store.write(|tx| tx.instance(InstanceId::from_u128(2))).await.unwrap(),
        Some(deleted)
    );
    store.close().await;
    let store = disk.open(sink().0).unwrap();
    assert_eq!(store.write(|tx| tx.next_session()).await.unwrap(), first + 1);
    store.close().await;
}

#[tokio::test]
async fn an_outbox_holds_what_is_unsettled_in_order_of_acceptance() {
    let disk = Disk::default();
    let store = disk.open(sink().0).unwrap();
    let at = Timestamp::from_millis(1);
    let mut accepted = Vec::new();
    for id in ["Z", "A", "M"] {
        accepted.push(insert(&store, &outbound(1, id, at)).await);
    }
    insert(&store, &outbound(2, "A", at)).await;
    let (one, two) = (InstanceId::from_u128(1), InstanceId::from_u128(2));
    let waiting = |store: &Store, after, limit| {
        let found = store.read(|view| view.outbox(one, after, limit)).unwrap();
        found
            .iter()
            .map(|message| message.message_id.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(waiting(&store, 0, 10), ["Z", "A", "M"]);
    assert_eq!(waiting(&store, accepted[0].sequence, 1), ["A"]);
    settle(&store, &accepted[1]).await;
    assert_eq!(waiting(&store, 0, 10), ["Z", "M"]);
    let depth = |store: &Store, instance| store.read(|view| view.outbox_depth(instance)).unwrap();
    assert_eq!((depth(&store, one), depth(&store, two)), (2, 1));
    let found = store
        .read(|view| view.outbound(one, &MessageId::from_wire("A")))
        .unwrap();
    assert_eq!(found.unwrap().state, OutboundState::Sent);
    for message in [&accepted[0], &accepted[2]] {
        settle(&store, message).await;
    }
    store.close().await;
    // An emptied queue does not start again from the beginning.
    let store = disk.open(sink().0).unwrap();
    let next = insert(&store, &outbound(1, "N", at)).await;
    assert!(next.sequence > accepted[2].sequence);
    store.close().await;
}

#[tokio::test]
async fn an_answer_is_remembered_for_a_day() {
    let store = Disk::default().open(sink().0).unwrap();
    let instance = InstanceId::from_u128(1);
    let now = clock::now();
    let answer = |created_at| Remembered {
        request_hash: "h".into(),
        message_id: MessageId::from_wire("M"),
        created_at,
    };
    let old = answer(now.minus(Duration::from_hours(25)));
    let copy = old.clone();
    store.write(move |tx| tx.remember(instance, "k", &copy)).await.unwrap();
    let ask = |at| {
        let store = store.clone();
        async move { store.write(move |tx| tx.remembered(instance, "k", at)).await.unwrap() }
    };
    assert_eq!(ask(now).await, None);
    assert_eq!(ask(old.created_at.plus(Duration::from_hours(23))).await, Some(old));
    // A new answer in the place of an expired one is not swept with it.
    let new = answer(now);
    let copy = new.clone();
    store.write(move |tx| tx.remember(instance, "k", &copy)).await.unwrap();
    assert_eq!(store.sweep(KEEP).await.unwrap(), Swept::default());
    assert_eq!(ask(now).await, Some(new));
    store.close().await;
}

#[tokio::test]
async fn an_inbound_message_is_new_once_for_each_instance_chat_and_sender() {
    let store = Disk::default().open(sink().0).unwrap();
    let note = |instance: u128, chat: &str, sender: &str, id: &str| {
        let key = InboundKey {
            chat: chat.into(),
            sender: sender.into(),
            message_id: MessageId::from_wire(id),
        };
        let store = store.clone();
        let at = clock::now();
        async move {
            store
                .write(move |tx| tx.note_inbound(InstanceId::from_u128(instance), &key, at))
                .await
                .unwrap()
        }
    };
    assert!(!note(1, "c", "s", "M").await);
    assert!(note(1, "c", "s", "M").await);
    for (instance, chat, sender, id) in [
        (2, "c", "s", "M"),
        (1, "cs", "", "M"),
        (1, "c", "sM", ""),
        (1, "", "cs", "M"),
    ] {
        assert!(!note(instance, chat, sender, id).await);
    }
    store.close().await;
}

#[tokio::test]
async fn a_sweep_removes_by_age_and_size_and_never_what_is_still_under_way() {
    let store = Disk::default().open(sink().0).unwrap();
    let old = clock::now().minus(Duration::from_hours(48));
    let mut settled = Vec::new();
    for number in 0..1200 {
        settled.push(insert(&store, &outbound(1, &format!("S{number}"), old)).await);
    }
    for message in settled {
        settle(&store, &message).await;
    }
    let waiting = insert(&store, &outbound(1, "WAITING", old)).await;
    let recent = insert(&store, &outbound(1, "RECENT", clock::now())).await;
    settle(&store, &recent).await;
    let key = InboundKey {
        chat: "c".into(),
        sender: "s".into(),
        message_id: MessageId::from_wire("M"),
    };
    let long_ago = clock::now().minus(Duration::from_hours(24 * 31));
    store
        .write(move |tx| tx.note_inbound(InstanceId::from_u128(1), &key, long_ago))
        .await
        .unwrap();
    let last = store
        .write(|tx| (0..1300).map(|_| tx.append_event(&event(1))).last().unwrap())
        .await
        .unwrap();

    let swept = store.sweep(KEEP).await.unwrap();
    assert_eq!(
        swept,
        Swept {
            events: 0,
            messages: 1200,
            answers: 0,
            inbound: 1,
            deliveries: 0,
            audit: 0,
            logins: 0
        }
    );
    let instance = InstanceId::from_u128(1);
    for message in [&waiting, &recent] {
        let id = message.message_id.clone();
        assert!(store.read(|view| view.outbound(instance, &id)).unwrap().is_some());
    }
    assert_eq!(store.sweep(KEEP).await.unwrap(), Swept::default());

    let bytes = store.shared.head().journal_bytes;
    let half = SweepLimits {
        journal_bytes: bytes / 2,
        ..KEEP
    };
    assert_eq!(store.sweep(half).await.unwrap().events, 650);
    assert!(store.shared.head().journal_bytes <= bytes / 2);
    assert_eq!(store.shared.head().journal_rows, 650);

    let nothing = SweepLimits {
        journal_bytes: 0,
        ..KEEP
    };
    assert_eq!(store.sweep(nothing).await.unwrap().events, 650);
    let head = store.shared.head().clone();
    assert_eq!((head.journal_rows, head.journal_bytes), (0, 0));
    // Ids go on where they were, and a reader of the empty journal can join the bus at its head.
    assert_eq!(store.head(), Some(last));
    let page = store.read(|view| view.journal(None, 10)).unwrap();
    assert!(page.at_head && page.scanned_to == Some(last));
    assert!(store.write(|tx| tx.append_event(&event(1))).await.unwrap() > last);
    store.close().await;
}

#[tokio::test]
async fn compaction_gives_swept_space_back_and_keeps_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let store = Store::open(&options, sink().0).unwrap();
    // Two sessions in turn, so that what is removed lies between what stays.
    for number in 0..40u8 {
        store
            .write(move |tx| {
                let key = [0, 0, 0, number % 2, number];
                tx.put(crate::store::tables::GROUPS, &key, &vec![7; 100_000])
            })
            .await
            .unwrap();
    }
    let id = store.write(|tx| tx.append_event(&event(1))).await.unwrap();
    store.write(|tx| tx.clear_session(1)).await.unwrap();
    let figures = store.stats().unwrap();
    assert_eq!((figures.journal_rows, figures.oldest_event), (1, Some(id)));
    store.close().await;
    let compacted = compact(&options.path).unwrap();
    assert!(compacted.after < compacted.before, "{compacted:?}");
    let store = Store::open(&options, sink().0).unwrap();
    assert_eq!(store.read(|view| view.oldest_event()).unwrap(), Some(id));
    store.close().await;
}
