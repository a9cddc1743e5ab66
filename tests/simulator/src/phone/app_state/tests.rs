//! Our codes against a client library's, and against tampering.

use std::sync::Arc;

use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::wacore::appstate::hash::HashState;
use whatsapp_rust::wacore::appstate::{expand_app_state_keys, process_patch, process_snapshot};
use whatsapp_rust::waproto::whatsapp as wa;

use super::actions::{ChatWish, contact_change};
use super::crypto::Bad;
use super::keys::{Ring, SharedKey};
use super::push_name_change;
use super::replica::{Change, Replica};
use crate::app_state::{Collection, Name, Refused, SNAPSHOT_EVERY};
use crate::phone::Phone;
use crate::state::Journal;

const OWNER: &str = "5511999990001";
const CHAT: &str = "5511999990002@s.whatsapp.net";

fn ring() -> Ring {
    Ring::new(SharedKey::first(), Vec::new())
}

fn archive(archived: bool) -> Vec<Change> {
    let wish = ChatWish {
        archived: Some(archived),
        pinned: Some(!archived),
        ..ChatWish::default()
    };
    wish.changes(CHAT, None, 1).remove(0).1
}

fn named(name: &str) -> Vec<Change> {
    vec![push_name_change(name, 1000)]
}

fn sealed(replica: &Replica, changes: &[Change], ring: &Ring) -> Vec<u8> {
    replica.patch(changes, ring, |_| rand::random()).unwrap()
}

/// Puts a patch on the server and lets a replica read it.
fn push(server: &mut Collection, replica: &mut Replica, changes: &[Change], ring: &Ring) {
    let patch = sealed(replica, changes, ring);
    let base = server.version();
    let taken = server.push(OWNER, Name::RegularLow, base, &patch, &mut Journal::in_memory());
    assert_eq!(taken.unwrap(), Ok(()));
    replica.catch_up(server, ring);
}

/// The indexes that a client which checks every code reads out of a patch.
fn read_by_client(patch: &[u8], ring: &Ring, state: &mut HashState, name: Name) -> Option<Vec<Vec<String>>> {
    let patch = wa::SyncdPatch::decode_from_slice(patch).unwrap();
    let keys = |id: &[u8]| {
        let key = ring.shared().find(|key| key.id == id).unwrap();
        Ok(Arc::new(expand_app_state_keys(&key.data)))
    };
    let read = process_patch(&patch, state, keys, |_| Ok(None), true, name.as_str()).ok()?;
    let whole = !state.mac_mismatch_fatal;
    whole.then(|| read.mutations.into_iter().map(|mutation| mutation.index).collect())
}

#[test]
fn a_client_library_believes_the_first_patch_and_reads_the_name() {
    let phone = Phone::generate(OWNER, true).unwrap();
    let keys = &phone.app_state.keys;
    let patch = sealed(&Replica::new(Name::CriticalBlock), &named(&phone.push_name), keys);
    let read = read_by_client(&patch, keys, &mut HashState::default(), Name::CriticalBlock);
    assert_eq!(read, Some(vec![vec!["setting_pushName".to_owned()]]));
}

#[test]
fn a_client_library_believes_the_servers_snapshot() {
    let (ring, mut server, mut replica) = (ring(), Collection::default(), Replica::new(Name::RegularLow));
    for round in 0..SNAPSHOT_EVERY {
        push(&mut server, &mut replica, &archive(round % 2 == 0), &ring);
    }
    let snapshot = server.snapshot().expect("no snapshot was made");
    let decoded = wa::SyncdSnapshot::decode_from_slice(&snapshot.bytes).unwrap();
    assert_eq!((snapshot.version, decoded.records.len()), (SNAPSHOT_EVERY, 2));
    let keys = |id: &[u8]| {
        let key = ring.shared().find(|key| key.id == id).unwrap();
        Ok(Arc::new(expand_app_state_keys(&key.data)))
    };
    let read = process_snapshot(&decoded, &mut HashState::default(), keys, true, "regular_low").unwrap();
    assert_eq!(read.mutations.len(), 2);

    let mut late = Replica::new(Name::RegularLow);
    late.take_snapshot(&snapshot.bytes, &ring).unwrap();
    assert_eq!(late.version(), replica.version());
    let archived = late.entry(&["archive", CHAT]).unwrap();
    assert_eq!(archived.archive_chat_action.archived, Some(false));

    // The server has no key, so the code of a snapshot with one record less cannot be right.
    let mut fewer = decoded;
    fewer.records.pop();
    let refused = Replica::new(Name::RegularLow).take_snapshot(&fewer.encode_to_vec(), &ring);
    assert_eq!(refused.unwrap_err(), Bad::SnapshotMac);
}

#[test]
fn every_kind_of_tampering_has_its_own_reason() {
    let ring = ring();
    let good = sealed(&Replica::new(Name::RegularLow), &archive(true), &ring);
    let tampered = |change: &dyn Fn(&mut wa::SyncdPatch)| {
        let mut patch = wa::SyncdPatch::decode_from_slice(&good).unwrap();
        change(&mut patch);
        Replica::new(Name::RegularLow)
            .take_patch(&patch.encode_to_vec(), &ring)
            .err()
    };
    let value = |patch: &mut wa::SyncdPatch, place: usize| {
        let record = patch.mutations[0].record.get_or_insert_default();
        record.value.get_or_insert_default().blob.as_mut().unwrap()[place] ^= 1;
    };
    assert_eq!(tampered(&|_| ()), None);
    assert_eq!(
        tampered(&|patch| patch.patch_mac.as_mut().unwrap()[0] ^= 1),
        Some(Bad::PatchMac)
    );
    assert_eq!(
        tampered(&|patch| patch.snapshot_mac.as_mut().unwrap()[0] ^= 1),
        Some(Bad::PatchMac)
    );
    assert_eq!(tampered(&|patch| value(patch, 20)), Some(Bad::ValueMac));
    assert_eq!(
        tampered(&|patch| {
            let record = patch.mutations[0].record.get_or_insert_default();
            record.index.get_or_insert_default().blob.as_mut().unwrap()[0] ^= 1;
        }),
        Some(Bad::IndexMac)
    );
    assert_eq!(
        tampered(&|patch| patch.version = MessageField::some(wa::SyncdVersion { version: Some(2) })),
        Some(Bad::Version { got: 2, expected: 1 })
    );
    assert_eq!(
        tampered(&|patch| patch.key_id = MessageField::some(wa::KeyId { id: Some(vec![7]) })),
        Some(Bad::UnknownKey("07".to_owned()))
    );
    assert_eq!(
        Replica::new(Name::RegularLow).take_patch(b"no patch", &ring).err(),
        Some(Bad::Shape)
    );
    // The same patch in another collection, and for another account.
    let elsewhere = Replica::new(Name::Regular).take_patch(&good, &ring).err();
    assert_eq!(elsewhere, Some(Bad::PatchMac));
    let other = Ring::new(SharedKey::first(), Vec::new());
    let stranger = Replica::new(Name::RegularLow).take_patch(&good, &other).err();
    assert!(matches!(stranger, Some(Bad::UnknownKey(_))), "{stranger:?}");
}

#[test]
fn a_patch_on_a_hidden_base_is_found_out_by_the_sum() {
    let (ring, mut replica) = (ring(), Replica::new(Name::RegularLow));
    let first = sealed(&replica, &archive(true), &ring);
    replica.take_patch(&first, &ring).unwrap();
    let second = sealed(&replica, &archive(false), &ring);
    // Somebody who was given another first patch computes another sum.
    let mut other = Replica::new(Name::RegularLow);
    let contact = vec![contact_change(CHAT, "1@lid", "Ana", 1)];
    other.take_patch(&sealed(&other, &contact, &ring), &ring).unwrap();
    assert_eq!(other.take_patch(&second, &ring).err(), Some(Bad::SnapshotMac));
    assert!(replica.take_patch(&second, &ring).is_ok());
}

#[test]
fn a_patch_that_is_not_believed_is_skipped_and_told_of_and_later_ones_are_read() {
    let (ring, mut server, mut replica) = (ring(), Collection::default(), Replica::new(Name::RegularLow));
    push(&mut server, &mut replica, &archive(true), &ring);
    let mut bad = wa::SyncdPatch::decode_from_slice(&sealed(&replica, &archive(false), &ring)).unwrap();
    bad.patch_mac.as_mut().unwrap()[5] ^= 1;
    let pushed = server.push(
        OWNER,
        Name::RegularLow,
        1,
        &bad.encode_to_vec(),
        &mut Journal::in_memory(),
    );
    assert_eq!(pushed.unwrap(), Ok(()));
    replica.catch_up(&server, &ring);
    assert_eq!(
        replica.entry(&["archive", CHAT]).unwrap().archive_chat_action.archived,
        Some(true)
    );
    let told: Vec<_> = replica
        .problems()
        .iter()
        .map(|problem| (problem.version, problem.bad.as_str()))
        .collect();
    assert_eq!(told, [(2, "the code over the patch is wrong")]);
    let name = vec![contact_change(CHAT, "1@lid", "Ana", 1)];
    push(&mut server, &mut replica, &name, &ring);
    assert_eq!(replica.problems().len(), 1);
    assert!(replica.entry(&["contact", CHAT]).is_some());
}

#[test]
fn what_an_older_key_has_sealed_is_replaced_under_the_newest() {
    let (mut ring, mut server, mut replica) = (ring(), Collection::default(), Replica::new(Name::RegularLow));
    push(&mut server, &mut replica, &archive(true), &ring);
    let old = ring.current().0.to_vec();
    ring.rotate();
    assert_ne!(ring.current().0, old);
    push(&mut server, &mut replica, &archive(false), &ring);
    assert!(replica.problems().is_empty(), "{:?}", replica.problems());
    assert_eq!(replica.entries().count(), 2);
    let mut late = Replica::new(Name::RegularLow);
    late.catch_up(&server, &ring);
    assert_eq!(late.entries().count(), 2);
    assert_eq!(
        late.entry(&["archive", CHAT]).unwrap().archive_chat_action.archived,
        Some(false)
    );
    // Whoever was removed before the change cannot read on.
    let mut removed = Replica::new(Name::RegularLow);
    let left_with = Ring::new(ring.shared().next().unwrap().clone(), Vec::new());
    removed.catch_up(&server, &left_with);
    assert_eq!(removed.problems().len(), 1);
}

#[test]
fn the_server_takes_a_patch_on_the_newest_version_only_and_none_that_cannot_be_one() {
    let (ring, mut server, mut replica) = (ring(), Collection::default(), Replica::new(Name::RegularLow));
    push(&mut server, &mut replica, &archive(true), &ring);
    let patch = sealed(&replica, &archive(false), &ring);
    let mut offer = |base, bytes: &[u8]| {
        server
            .push(OWNER, Name::RegularLow, base, bytes, &mut Journal::in_memory())
            .unwrap()
    };
    assert_eq!(offer(0, &patch), Err(Refused::Conflict));
    assert_eq!(offer(2, &patch), Err(Refused::Malformed));
    assert_eq!(offer(1, b"patch"), Err(Refused::Malformed));
    let without = |change: &dyn Fn(&mut wa::SyncdPatch)| {
        let mut patch = wa::SyncdPatch::decode_from_slice(&patch).unwrap();
        change(&mut patch);
        patch.encode_to_vec()
    };
    for wrong in [
        without(&|patch| patch.mutations.clear()),
        without(&|patch| patch.patch_mac = None),
        without(&|patch| patch.snapshot_mac = Some(vec![1; 31])),
        without(&|patch| patch.key_id = MessageField::none()),
        without(&|patch| patch.version = MessageField::some(wa::SyncdVersion { version: Some(9) })),
        without(&|patch| patch.mutations[0].record = MessageField::none()),
    ] {
        assert_eq!(offer(1, &wrong), Err(Refused::Malformed));
    }
    // Clients leave the number out; it is added.
    let unnumbered = without(&|patch| patch.version = MessageField::none());
    assert_eq!(offer(1, &unnumbered), Ok(()));
    replica.catch_up(&server, &ring);
    assert_eq!((replica.version(), replica.problems().len()), (2, 0));
}

#[test]
fn what_the_server_keeps_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(folder.path()).unwrap();
    let (ring, mut server, mut replica) = (ring(), Collection::default(), Replica::new(Name::RegularLow));
    for round in 0..SNAPSHOT_EVERY + 3 {
        let patch = sealed(&replica, &archive(round % 2 == 0), &ring);
        let taken = server
            .push(OWNER, Name::RegularLow, round, &patch, &mut journal)
            .unwrap();
        assert_eq!(taken, Ok(()));
        replica.catch_up(&server, &ring);
    }
    journal.sync().unwrap();
    drop(journal);
    let (_, records) = Journal::open(folder.path()).unwrap();
    let mut restored = Collection::default();
    for (name, bytes) in &records {
        let parts: Vec<&str> = name.split('/').collect();
        restored.restore(&parts[3..], bytes).unwrap();
    }
    assert_eq!(restored.version(), server.version());
    let mut again = Replica::new(Name::RegularLow);
    again.catch_up(&restored, &ring);
    assert_eq!((again.version(), again.entries().count()), (server.version(), 2));
    assert_eq!(again.problems(), []);
    // What is written next fits to it.
    push(&mut restored, &mut again, &archive(true), &ring);
    assert_eq!(again.problems(), []);
}

#[test]
fn a_client_that_is_too_late_for_patches_is_left_the_snapshot() {
    let (ring, mut server, mut replica) = (ring(), Collection::default(), Replica::new(Name::RegularLow));
    for round in 0..2 * SNAPSHOT_EVERY {
        push(&mut server, &mut replica, &archive(round % 2 == 0), &ring);
    }
    assert!(server.after(0).is_none(), "the oldest patches are still there");
    assert_eq!(
        server.after(SNAPSHOT_EVERY).map(Iterator::count),
        Some(usize::try_from(SNAPSHOT_EVERY).unwrap())
    );
    let mut late = Replica::new(Name::RegularLow);
    late.catch_up(&server, &ring);
    assert_eq!((late.version(), late.entries().count()), (2 * SNAPSHOT_EVERY, 2));
    assert_eq!(late.problems(), []);
}
