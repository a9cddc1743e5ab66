//! The same random operations against our tables and against whatsapp-rust's own store in memory: the answers must be
//! the same, also after the file was closed and opened again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use whatsapp_rust::store::traits::{
    AppStateSyncKey, Backend, DeviceInfo, DeviceListRecord, LidPnMappingEntry, MsgSecretEntry, PendingInboundKey,
    PendingInboundRow, TcTokenEntry,
};
use whatsapp_rust::wacore::appstate::hash::HashState;
use whatsapp_rust::wacore::appstate::processor::AppStateMutationMAC;
use whatsapp_rust::wacore::store::{Device, InMemoryBackend};

use crate::store::space::Space;
use crate::store::tests::disk::Disk;
use crate::store::{Store, SweepLimits, WriteError};

/// Few names, so that operations meet; some are prefixes of others, some are no names at all.
const NAMES: &[&str] = &["", "a", "ab", "a@s", "a:1@s", "ab@s", "b@lid", "ação:2@s", "a\0b"];

/// A name by its number.
fn name(number: u8) -> &'static str {
    NAMES[usize::from(number) % NAMES.len()]
}

/// One call, with numbers where the calls have names and values.
#[derive(Clone, Copy, Debug)]
struct Call {
    method: u8,
    one: u8,
    two: u8,
    three: u8,
    value: u8,
}

/// How many methods [`Call::make`] knows; the first [`READS`] change nothing.
const METHODS: u8 = 73;
const READS: u8 = 25;

fn call() -> impl Strategy<Value = Call> {
    (0..METHODS, any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(method, one, two, three, value)| Call {
        method,
        one,
        two,
        three,
        value,
    })
}

fn sorted<T: std::fmt::Debug>(all: impl IntoIterator<Item = T>) -> String {
    let mut all: Vec<_> = all.into_iter().map(|item| format!("{item:?}")).collect();
    all.sort();
    all.join(",")
}

fn bytes(value: u8) -> Vec<u8> {
    vec![value; usize::from(value % 4)]
}

fn mac(number: u8) -> [u8; 32] {
    [number % 4; 32]
}

fn lid_entry(lid: u8, phone: u8, value: u8) -> LidPnMappingEntry {
    LidPnMappingEntry {
        lid: name(lid).into(),
        phone_number: name(phone).into(),
        created_at: 1,
        updated_at: value.into(),
        learning_source: "test".into(),
    }
}

fn device_list(user: u8, value: u8) -> DeviceListRecord {
    DeviceListRecord {
        user: name(user).into(),
        devices: vec![DeviceInfo::new(value.into(), Some(1)).with_hosting(value.is_multiple_of(2))],
        timestamp: value.into(),
        phash: None,
        raw_id: (value.is_multiple_of(3)).then_some(7),
    }
}

fn secret(chat: u8, sender: u8, id: u8, value: u8) -> MsgSecretEntry {
    MsgSecretEntry {
        chat: name(chat).into(),
        sender: name(sender).into(),
        msg_id: name(id).into(),
        secret: [value; 32],
        // 0 is "never", a negative one long past.
        expires_at: i64::from(value % 5) - 1,
        message_ts: i64::from(value % 3),
    }
}

fn row(call: Call, message: &[u8]) -> PendingInboundRow<'_> {
    PendingInboundRow {
        chat: name(call.one),
        sender: name(call.two),
        id: name(call.three),
        message,
    }
}

impl Call {
    /// Makes the call and writes down the answer.
    #[expect(clippy::too_many_lines, reason = "one line for each method of five traits")]
    async fn make(self, on: &dyn Backend) -> String {
        let (one, two, three) = (name(self.one), name(self.two), name(self.three));
        let (id, value) = (u32::from(self.one % 5), self.value);
        let (blob, time) = (bytes(value), i64::from(value % 5));
        let shared: Arc<str> = one.into();
        // Long before, or long after, everything these tests can store.
        let cutoff = if value.is_multiple_of(2) { 1_000 } else { i64::MAX / 2 };
        match self.method {
            0 => format!("{:?}", on.load_identity(one).await.unwrap()),
            1 => format!("{:?}", on.get_session(one).await.unwrap()),
            2 => format!("{:?}", on.has_session(one).await.unwrap()),
            3 => format!("{:?}", on.has_signal_state_for_user(one).await.unwrap()),
            4 => format!("{:?}", on.load_prekey(id).await.unwrap()),
            5 => format!("{:?}", on.load_prekeys_batch(&[id, id + 1, 99]).await.unwrap()),
            6 => format!("{:?}", on.get_max_prekey_id().await.unwrap()),
            7 => format!("{:?}", on.load_signed_prekey(id).await.unwrap()),
            8 => sorted(on.load_all_signed_prekeys().await.unwrap()),
            9 => format!("{:?}", on.get_sender_key(one).await.unwrap()),
            10 => format!("{:?}", on.get_sync_key(one.as_bytes()).await.unwrap()),
            11 => format!("{:?}", on.get_latest_sync_key_id().await.unwrap()),
            12 => format!("{:?}", on.get_version(one).await.unwrap().version),
            13 => format!("{:?}", on.get_mutation_mac(one, &mac(self.two)).await.unwrap()),
            14 => sorted(
                on.get_mutation_macs(one, &[mac(self.two), mac(self.three)])
                    .await
                    .unwrap(),
            ),
            15 => sorted(on.get_sender_key_devices(one).await.unwrap()),
            16 => format!("{:?}", on.get_lid_mapping(one).await.unwrap()),
            17 => sorted(on.get_all_lid_mappings().await.unwrap()),
            18 => format!("{:?}", on.has_same_base_key(one, two, &blob).await.unwrap()),
            19 => format!("{:?}", on.get_devices(one).await.unwrap()),
            20 => format!("{:?}", on.get_group_metadata(one).await.unwrap()),
            21 => format!("{:?}", on.get_tc_token(one).await.unwrap()),
            22 => sorted(on.get_all_tc_token_jids().await.unwrap()),
            23 => format!("{:?}", on.get_pending_inbound(one, two, three).await.unwrap()),
            24 => format!("{:?}", on.get_msg_secret_with_ts(one, two, three).await.unwrap()),

            25 => format!("{:?}", on.put_identity(one, [value; 32]).await.unwrap()),
            26 => format!(
                "{:?}",
                on.put_identities_batch(&[(shared, [value; 32]), (two.into(), [self.three; 32])])
                    .await
                    .unwrap()
            ),
            27 => format!("{:?}", on.delete_identity(one).await.unwrap()),
            28 => format!("{:?}", on.put_session(one, &blob).await.unwrap()),
            29 => format!(
                "{:?}",
                on.put_sessions_batch(&[(shared, blob.into()), (two.into(), Bytes::from_static(b"x"))])
                    .await
                    .unwrap()
            ),
            30 => format!("{:?}", on.delete_session(one).await.unwrap()),
            31 => format!(
                "{:?}",
                on.store_prekey(id, &blob, value.is_multiple_of(2)).await.unwrap()
            ),
            32 => format!(
                "{:?}",
                on.store_prekeys_batch(&[(id, blob.into()), (id + 1, Bytes::from_static(b"k"))], false)
                    .await
                    .unwrap()
            ),
            33 => format!("{:?}", on.mark_prekeys_uploaded(&[id, id + 1]).await.unwrap()),
            34 => format!("{:?}", on.remove_prekey(id).await.unwrap()),
            35 => format!("{:?}", on.store_signed_prekey(id, &blob).await.unwrap()),
            36 => format!("{:?}", on.remove_signed_prekey(id).await.unwrap()),
            37 => format!("{:?}", on.put_sender_key(one, &blob).await.unwrap()),
            38 => format!(
                "{:?}",
                on.put_sender_keys_batch(&[(shared, blob.into()), (two.into(), Bytes::from_static(b"x"))])
                    .await
                    .unwrap()
            ),
            39 => format!("{:?}", on.delete_sender_key(one).await.unwrap()),
            40 => {
                let key = AppStateSyncKey {
                    key_data: blob,
                    fingerprint: vec![1],
                    timestamp: time,
                };
                format!("{:?}", on.set_sync_key(one.as_bytes(), key).await.unwrap())
            }
            41 => {
                let state = HashState {
                    version: value.into(),
                    ..HashState::default()
                };
                format!("{:?}", on.set_version(one, state).await.unwrap())
            }
            42 => {
                let macs = [self.two, self.three].map(|number| AppStateMutationMAC {
                    index_mac: mac(number).to_vec(),
                    value_mac: vec![value],
                });
                format!("{:?}", on.put_mutation_macs(one, 1, &macs).await.unwrap())
            }
            43 => format!(
                "{:?}",
                on.delete_mutation_macs(one, &[mac(self.two).to_vec()]).await.unwrap()
            ),
            44 => format!("{:?}", on.clear_mutation_macs(one).await.unwrap()),
            45 => format!(
                "{:?}",
                on.set_sender_key_status(one, &[(two, value.is_multiple_of(2)), (three, true)])
                    .await
                    .unwrap()
            ),
            46 => format!("{:?}", on.clear_sender_key_devices(one).await.unwrap()),
            47 => format!("{:?}", on.delete_sender_key_device_rows(&[two, three]).await.unwrap()),
            48 => format!("{:?}", on.clear_all_sender_key_devices().await.unwrap()),
            49 => format!(
                "{:?}",
                on.put_lid_mapping(&lid_entry(self.one, self.two, value)).await.unwrap()
            ),
            50 => {
                let entries = [
                    lid_entry(self.one, self.two, value),
                    lid_entry(self.two, self.three, value),
                ];
                format!("{:?}", on.put_lid_mappings(&entries).await.unwrap())
            }
            51 => format!("{:?}", on.save_base_key(one, two, &blob).await.unwrap()),
            52 => format!("{:?}", on.delete_base_key(one, two).await.unwrap()),
            53 => format!(
                "{:?}",
                on.update_device_list(device_list(self.one, value)).await.unwrap()
            ),
            54 => {
                let lists = vec![device_list(self.one, value), device_list(self.two, self.three)];
                format!("{:?}", on.update_device_lists(lists).await.unwrap())
            }
            55 => format!("{:?}", on.delete_devices(one).await.unwrap()),
            56 => format!("{:?}", on.put_group_metadata(one, &blob).await.unwrap()),
            57 => format!("{:?}", on.delete_group_metadata(one).await.unwrap()),
            58 => {
                let entry = TcTokenEntry {
                    token: blob,
                    token_timestamp: time,
                    sender_timestamp: (!value.is_multiple_of(3)).then_some(i64::from(self.two % 5)),
                };
                format!("{:?}", on.put_tc_token(one, &entry).await.unwrap())
            }
            59 => format!("{:?}", on.delete_tc_token(one).await.unwrap()),
            60 => format!(
                "{:?}",
                on.delete_expired_tc_tokens(time, i64::from(self.two % 5))
                    .await
                    .unwrap()
            ),
            61 => format!("{:?}", on.touch_tc_token_sender_timestamp(one, time).await.unwrap()),
            62 => format!("{:?}", on.store_received_tc_token(one, &blob, time).await.unwrap()),
            63 => format!("{:?}", on.store_sent_message(one, two, &blob).await.unwrap()),
            64 => {
                // As whatsapp-rust does it: what is taken is put back, so that the next device can ask for it.
                let taken = on.take_sent_message(one, two).await.unwrap();
                if let Some(message) = &taken {
                    on.store_sent_message(one, two, message).await.unwrap();
                }
                format!("{taken:?}")
            }
            65 => format!("{:?}", on.delete_expired_sent_messages(cutoff).await.unwrap()),
            66 => format!("{:?}", on.store_pending_inbound(one, two, three, &blob).await.unwrap()),
            67 => {
                let other = Call {
                    one: self.two,
                    two: self.three,
                    ..self
                };
                let rows = [row(self, &blob), row(other, b"other")];
                format!("{:?}", on.store_pending_inbound_batch(&rows).await.unwrap())
            }
            68 => format!("{:?}", on.delete_pending_inbound(one, two, three).await.unwrap()),
            69 => {
                let key = PendingInboundKey {
                    chat: one,
                    sender: two,
                    id: three,
                };
                format!("{:?}", on.delete_pending_inbound_batch(&[key]).await.unwrap())
            }
            70 => format!("{:?}", on.delete_expired_pending_inbound(cutoff).await.unwrap()),
            71 => {
                let entries = vec![
                    secret(self.one, self.two, self.three, value),
                    secret(self.two, self.two, self.three, value.wrapping_add(1)),
                ];
                format!("{:?}", on.put_msg_secrets(entries).await.unwrap())
            }
            _ => format!("{:?}", on.delete_expired_msg_secrets(time).await.unwrap()),
        }
    }
}

/// Everything that reading calls can see.
async fn all(on: &dyn Backend) -> Vec<String> {
    let mut seen = Vec::new();
    let names = u8::try_from(NAMES.len()).unwrap();
    for method in 0..READS {
        let (twos, threes) = match method {
            13 | 14 | 18 => (names, 1),
            23 | 24 => (names, names),
            _ => (1, 1),
        };
        for one in 0..names {
            for two in 0..twos {
                for three in 0..threes {
                    let call = Call {
                        method,
                        one,
                        two,
                        three,
                        value: one,
                    };
                    seen.push(format!("{call:?} {}", call.make(on).await));
                }
            }
        }
    }
    seen
}

/// The hidden number last learnt for a phone number.
///
/// Not compared as the others are: when a hidden number gets a new phone number, the crate's store in memory forgets
/// whom the old one belongs to, even if that was somebody else. Ours still knows.
async fn phones_agree(ours: &dyn Backend, reference: &dyn Backend) {
    for phone in NAMES {
        let (found, expected) = tokio::join!(ours.get_pn_mapping(phone), reference.get_pn_mapping(phone));
        match (found.unwrap(), expected.unwrap()) {
            (Some(found), None) => assert_eq!(found.phone_number, *phone),
            (found, expected) => assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{phone}"),
        }
    }
}

fn open(disk: &Disk) -> Store {
    disk.open(Arc::new(|_| ())).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn our_tables_answer_like_the_crates_own_store(calls in proptest::collection::vec(call(), 1..120), reopen_at in 0..120usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let disk = Disk::default();
            let mut store = open(&disk);
            let reference = InMemoryBackend::new();
            // Neighbours on both sides, which must never be touched.
            let (below, above) = (InMemoryBackend::new(), InMemoryBackend::new());
            for (index, call) in calls.iter().enumerate() {
                if index == reopen_at {
                    store.close().await;
                    store = open(&disk);
                }
                let answer = call.make(&store.session(0x0100)).await;
                assert_eq!(answer, call.make(&reference).await, "{call:?}");
                if index < 10 {
                    let early = Call { method: READS + call.method % (METHODS - READS), ..*call };
                    early.make(&store.session(0x00ff)).await;
                    early.make(&below).await;
                    early.make(&store.session(0x0101)).await;
                    early.make(&above).await;
                }
            }
            store.close().await;
            let store = open(&disk);
            assert_eq!(all(&store.session(0x0100)).await, all(&reference).await);
            phones_agree(&store.session(0x0100), &reference).await;

            store.write(|tx| tx.clear_session(0x0100)).await.unwrap();
            assert_eq!(all(&store.session(0x0100)).await, all(&InMemoryBackend::new()).await);
            assert_eq!(all(&store.session(0x00ff)).await, all(&below).await);
            assert_eq!(all(&store.session(0x0101)).await, all(&above).await);
            store.close().await;
        });
    }
}

#[tokio::test]
async fn a_device_comes_back_as_it_was_saved() {
    let disk = Disk::default();
    let store = open(&disk);
    let backend: Arc<dyn Backend> = Arc::new(store.session(1));
    assert!(!backend.exists().await.unwrap());
    assert!(backend.load().await.unwrap().is_none());
    let mut device = Device::new();
    device.push_name = "WhatIsUp".into();
    device.props_hash = Some("h".into());
    backend.save(&device).await.unwrap();
    // Creating what exists leaves it alone.
    backend.create().await.unwrap();
    store.close().await;
    let store = open(&disk);
    let loaded = store.session(1);
    let loaded = whatsapp_rust::store::traits::DeviceStore::load(&loaded)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        serde_json::to_value(&loaded).unwrap(),
        serde_json::to_value(&device).unwrap()
    );
    store.close().await;
}

#[tokio::test]
async fn what_is_expired_in_thousands_goes_and_what_is_not_stays() {
    let store = open(&Disk::default());
    let backend: Arc<dyn Backend> = Arc::new(store.session(1));
    let entries = |from: i64, to: i64| -> Vec<_> {
        (from..to)
            .map(|number| MsgSecretEntry {
                chat: "c".into(),
                sender: "s".into(),
                msg_id: number.to_string().into(),
                secret: [1; 32],
                expires_at: number,
                message_ts: 0,
            })
            .collect()
    };
    backend.put_msg_secrets(entries(0, 3500)).await.unwrap();
    assert_eq!(backend.delete_expired_msg_secrets(2500).await.unwrap(), 2500);
    assert_eq!(backend.delete_expired_msg_secrets(2500).await.unwrap(), 0);
    for (id, expected) in [("0", true), ("2500", false), ("2501", true)] {
        let found = backend.get_msg_secret("c", "s", id).await.unwrap();
        assert_eq!(found.is_some(), expected, "{id}");
    }
    store.close().await;
}

#[tokio::test]
#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "a method's path is not general enough over the lifetime of a transaction"
)]
async fn a_nearly_full_disk_refuses_new_work_and_still_saves_keys_and_what_they_decrypted_and_sweeps() {
    let free = Arc::new(AtomicU64::new(5));
    let asked = Arc::clone(&free);
    let space = Space::with(10, move || Some(asked.load(Ordering::Relaxed)));
    let store = Disk::default().open_with(Arc::new(|_| ()), space).unwrap();
    assert!(matches!(
        store.write(|tx| tx.next_session()).await,
        Err(WriteError::Full)
    ));
    let backend: Arc<dyn Backend> = Arc::new(store.session(1));
    backend.put_session("a@s", b"ratchet").await.unwrap();
    // What the saved ratchet has decrypted cannot be decrypted again.
    backend.store_pending_inbound("c", "s", "m", b"text").await.unwrap();
    let limits = SweepLimits {
        journal_age: Duration::ZERO,
        journal_bytes: 0,
        log_age: Duration::ZERO,
        audit_age: Duration::ZERO,
        audit_rows: 10_000,
    };
    store.sweep(limits).await.unwrap();
    free.store(50, Ordering::Relaxed);
    while store.write(|tx| tx.next_session()).await.is_err() {
        tokio::task::yield_now().await;
    }
    store.close().await;
}
