//! What is packed comes out again; whatever else comes is refused.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::store::{self, Options, Store};

/// A store with little in it, packed; the folder keeps it.
fn packed() -> (tempfile::TempDir, Vec<u8>, Manifest) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        path: folder.path().join(STORE),
        cache_bytes: 1 << 20,
        reserve_bytes: 0,
    };
    let store = Store::open(&options, Arc::new(|_| {})).unwrap();
    let snapshot = store.snapshot(&|| false).unwrap();
    let mut out = Vec::new();
    let keys = Keys::of(&[7; 32], Some(&[9; 32]));
    let manifest = pack(&snapshot, &keys, Timestamp::from_seconds(1_900_000_000), &mut out).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(store.close());
    (folder, out, manifest)
}

fn at(folder: &Path) -> Place<'_> {
    Place { folder, owner: None }
}

#[test]
fn what_is_packed_comes_out_again_for_its_owner_alone() {
    let (_folder, packed, manifest) = packed();
    let into = tempfile::tempdir().unwrap();
    assert_eq!(unpack(packed.as_slice(), Some(at(into.path()))).unwrap(), manifest);
    let text = |name: &str| std::fs::read_to_string(into.path().join(name)).unwrap();
    assert_eq!(text(PEPPER).trim(), hex::encode([7; 32]));
    assert_eq!(text(SECRETS_KEY).trim(), hex::encode([9; 32]));
    let found = store::inspect(&into.path().join(STORE)).unwrap().unwrap();
    assert_eq!((found.schema, manifest.schema), (store::SCHEMA, store::SCHEMA));
    for listed in &manifest.files {
        let mode = std::fs::metadata(into.path().join(&listed.name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{}", listed.name);
    }
    assert_eq!(unpack(packed.as_slice(), None).unwrap(), manifest, "checked alone");
}

#[test]
fn a_backup_that_is_cut_anywhere_is_refused() {
    let (_folder, packed, _) = packed();
    for left in (0..packed.len())
        .step_by(packed.len() / 97 + 1)
        .chain([packed.len() - 1])
    {
        assert!(
            unpack(&packed[..left], None).is_err(),
            "{left} of {} bytes",
            packed.len()
        );
    }
}

#[test]
fn a_backup_of_which_any_byte_was_changed_is_refused() {
    let (_folder, packed, _) = packed();
    // The first ten bytes are gzip's own: a time and a system that mean nothing.
    for at in (10..packed.len()).step_by(packed.len() / 97 + 1) {
        let mut changed = packed.clone();
        changed[at] ^= 0x40;
        assert!(unpack(changed.as_slice(), None).is_err(), "byte {at}");
    }
    let mut longer = packed;
    longer.push(0);
    assert!(matches!(unpack(longer.as_slice(), None), Err(BadArchive::Damaged(_))));
}

/// An entry of a forged archive: its type, name and content.
type Forged<'a> = (tar::EntryType, &'a str, &'a [u8]);

fn forged(entries: &[Forged<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (kind, name, content) in entries {
        let mut header = tar::Header::new_gnu();
        // Past the crate's own care, as somebody else would.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of forgeries")]
fn whatever_is_not_in_the_list_or_no_plain_file_is_refused_and_nothing_lands_outside() {
    use tar::EntryType;
    const FILE: EntryType = EntryType::Regular;
    let listed = |name: &str, content: &[u8]| json!({"name": name, "bytes": content.len(), "sha256": hex::encode(Sha256::digest(content))});
    let manifest = |format: u32, files: serde_json::Value| {
        json!({
            "format": format, "program": "9.9.9", "schema": 4, "created_at": "2030-01-01T00:00:00Z",
            "instances": 0, "events": 0, "files": files,
        })
        .to_string()
    };
    let both = manifest(1, json!([listed(STORE, b"store"), listed(PEPPER, b"pepper")]));
    let (both, store, pepper) = (
        both.as_bytes(),
        (FILE, STORE, b"store".as_slice()),
        (FILE, PEPPER, b"pepper".as_slice()),
    );
    let list = (FILE, MANIFEST, both);
    // The forgery itself is not what is refused.
    unpack(forged(&[list, store, pepper]).as_slice(), None).unwrap();

    let outside = manifest(
        1,
        json!([
            listed(STORE, b"store"),
            listed(PEPPER, b"pepper"),
            listed("../key", b"x")
        ]),
    );
    let twice = manifest(
        1,
        json!([
            listed(STORE, b"store"),
            listed(PEPPER, b"pepper"),
            listed(PEPPER, b"pepper")
        ]),
    );
    let newer = manifest(2, json!("of another shape"));
    let alone = manifest(1, json!([listed(STORE, b"store")]));
    let huge = manifest(
        1,
        json!([{"name": STORE, "bytes": u64::MAX, "sha256": ""}, listed(PEPPER, b"pepper")]),
    );
    let cases: &[(&str, &[Forged<'_>], &str)] = &[
        ("nothing", &[], "it is empty"),
        ("no list", &[store, pepper], "does not begin with its list"),
        (
            "a list that is none",
            &[(FILE, MANIFEST, b"{}")],
            "cannot be understood",
        ),
        (
            "a name outside",
            &[
                (FILE, MANIFEST, outside.as_bytes()),
                store,
                pepper,
                (FILE, "../key", b"x"),
            ],
            "names a file that no backup has",
        ),
        (
            "one name twice",
            &[(FILE, MANIFEST, twice.as_bytes()), store, pepper, pepper],
            "or one twice",
        ),
        (
            "another name than listed",
            &[list, (FILE, "../../etc/passwd", b"store"), pepper],
            "is not where its list says",
        ),
        (
            "a link",
            &[list, (EntryType::Symlink, STORE, b""), pepper],
            "no plain file",
        ),
        (
            "a folder",
            &[list, (EntryType::Directory, STORE, b""), pepper],
            "no plain file",
        ),
        (
            "a long name",
            &[
                list,
                (EntryType::GNULongName, "././@LongLink", b"../../x"),
                store,
                pepper,
            ],
            "no plain file",
        ),
        (
            "another size",
            &[list, (FILE, STORE, b"stores"), pepper],
            "another size",
        ),
        (
            "another content",
            &[list, (FILE, STORE, b"STORE"), pepper],
            "is not what was packed",
        ),
        (
            "one more",
            &[list, store, pepper, (FILE, SECRETS_KEY, b"x")],
            "more than its list says",
        ),
        ("one less", &[list, store], "cut off"),
        (
            "no pepper",
            &[(FILE, MANIFEST, alone.as_bytes()), store],
            "pepper is not in its list",
        ),
        (
            "a size beyond all",
            &[(FILE, MANIFEST, huge.as_bytes()), store, pepper],
            "another size",
        ),
        (
            "a newer form",
            &[(FILE, MANIFEST, newer.as_bytes())],
            "made by WhatIsUp 9.9.9",
        ),
    ];
    for (what, entries, expected) in cases {
        let outer = tempfile::tempdir().unwrap();
        let into = outer.path().join("into");
        std::fs::create_dir(&into).unwrap();
        let refusal = unpack(forged(entries).as_slice(), Some(at(&into)))
            .unwrap_err()
            .to_string();
        assert!(refusal.contains(expected), "{what}: {refusal}");
        assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 1, "{what}");
    }
    for (what, bytes) in [("text", b"hello, this is no archive".as_slice()), ("nothing", b"")] {
        let refusal = unpack(bytes, None).unwrap_err().to_string();
        assert!(
            refusal.contains("no backup of WhatIsUp") || refusal.contains("cut off"),
            "{what}: {refusal}"
        );
    }
}
