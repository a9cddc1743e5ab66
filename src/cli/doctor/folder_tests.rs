use super::super::check::Status;
use super::*;

fn entry(name: &str, mode: u32, owner: u32) -> Entry {
    Entry {
        name: name.into(),
        mode,
        owner,
    }
}

#[test]
fn a_folder_is_judged_by_who_may_enter_and_whose_the_files_are() {
    let store = |mode| vec![entry("store.redb", mode, 7), entry("notes", 0o644, 7)];
    let denied = || Err(io::Error::from(io::ErrorKind::PermissionDenied));
    for (folder, inside, me, expected, part) in [
        (0o700, Ok(store(0o600)), 7, Status::Ok, "uid 7 alone"),
        (0o700, Ok(store(0o600)), 0, Status::Ok, "uid 7 alone"),
        (0o755, Ok(store(0o600)), 7, Status::Warn, "mode 755"),
        (0o700, Ok(store(0o640)), 7, Status::Warn, "store.redb"),
        (0o755, Ok(store(0o644)), 7, Status::Fail, "store.redb"),
        (
            0o700,
            Ok(store(0o600)),
            8,
            Status::Fail,
            "another user (uid 7, this is uid 8)",
        ),
        (
            0o700,
            Ok(vec![entry("pepper", 0o600, 0)]),
            7,
            Status::Fail,
            "other users own: pepper",
        ),
        (0o300, denied(), 7, Status::Fail, "cannot be listed"),
    ] {
        let check = judge_permissions(&entry("/s", folder, 7), inside, me);
        assert!(check.status == expected && check.found.contains(part), "{check:?}");
        assert_eq!(check.advice.is_some(), expected != Status::Ok, "{check:?}");
    }
}

#[test]
fn a_missing_pepper_fails_only_where_there_is_a_store_that_needs_it() {
    let broken = || Key::Broken("the file pepper is empty".into());
    for (has_store, pepper, key, expected) in [
        (true, Key::There, Key::There, Status::Ok),
        (true, Key::Given, Key::Given, Status::Ok),
        (true, Key::Missing, Key::There, Status::Fail),
        (true, Key::There, Key::Missing, Status::Warn),
        (false, Key::Missing, Key::Missing, Status::Skipped),
        (true, broken(), Key::There, Status::Fail),
        (false, Key::There, broken(), Status::Fail),
    ] {
        let check = judge_secrets(has_store, &pepper, &key);
        assert_eq!(check.status, expected, "{check:?}");
    }
}

#[test]
fn the_lock_is_told_by_who_holds_it_and_whether_the_server_answers() {
    let answers = || Presence::Answers(Box::default());
    let silent = || Presence::Silent("it does not answer within 5 s".into());
    let held = |state| Some((42, Some("whatisup".to_owned()), Some(state)));
    let lock = Lock::Held { pid: 42 };
    for (presence, held, lock, expected, part) in [
        (answers(), held('S'), lock, Status::Ok, "whatisup (pid 42)"),
        (answers(), None, Lock::Unknown, Status::Ok, "answers"),
        (silent(), held('T'), lock, Status::Fail, "was stopped"),
        (silent(), None, Lock::Unknown, Status::Fail, "does not answer"),
        (Presence::Absent, held('S'), lock, Status::Fail, "nobody answers"),
        (Presence::Absent, None, Lock::Free, Status::Ok, "free"),
        (Presence::Absent, None, Lock::Unknown, Status::Skipped, "no server"),
        (Presence::Forbidden, None, Lock::Unknown, Status::Warn, "another user"),
    ] {
        let check = judge_lock(&presence, held, lock);
        assert!(check.status == expected && check.found.contains(part), "{check:?}");
    }
    let frozen = judge_lock(&silent(), held('T'), lock).advice.unwrap();
    assert!(frozen.contains("kill -CONT 42"), "{frozen}");
}

#[test]
fn an_older_file_is_fine_and_a_newer_one_names_who_wrote_it() {
    let seen = |schema| {
        Ok(Some(Inspected {
            schema,
            written_by: "9.1.0".into(),
        }))
    };
    for (seen, expected, part) in [
        (Ok(None), Status::Ok, "empty"),
        (seen(SCHEMA), Status::Ok, "written by WhatIsUp 9.1.0"),
        (seen(SCHEMA - 1), Status::Ok, "the next start brings it to"),
        (seen(SCHEMA + 1), Status::Fail, "written by WhatIsUp 9.1.0"),
        (Err(OpenError::InUse), Status::Fail, "cannot be read"),
    ] {
        let check = judge_schema(Path::new("/s/store.redb"), seen);
        assert!(check.status == expected && check.found.contains(part), "{check:?}");
    }
}
