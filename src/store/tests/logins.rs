//! Sign-ins and the password in the file.

use super::{options, sink};
use crate::domain::Timestamp;
use crate::domain::access::Login;
use crate::domain::id::LoginId;
use crate::store::{Store, StoredPassword, SweepLimits};
use crate::sys::clock;

const LIMITS: SweepLimits = SweepLimits {
    journal_age: Login::LIFE,
    journal_bytes: u64::MAX,
    log_age: Login::LIFE,
    audit_age: Login::LIFE,
    audit_rows: 10_000,
};

fn login(number: u128, used: Timestamp) -> Login {
    Login {
        id: LoginId::from_u128(number),
        created_at: used,
        last_used_at: used,
        address: Some("192.0.2.1".to_owned()),
        user_agent: None,
    }
}

#[tokio::test]
async fn an_expired_sign_in_is_swept_with_its_hash_and_one_in_use_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&options(folder.path()), sink().0).unwrap();
    let now = clock::now();
    let rows = [
        (login(1, now.minus(Login::IDLE)), [1; 32]),
        (login(2, now.minus(Login::IDLE / 2)), [2; 32]),
    ];
    store
        .write(move |tx| rows.iter().try_for_each(|(login, hash)| tx.insert_login(login, hash)))
        .await
        .unwrap();
    assert!(store.read(|view| view.login_by_hash(&[1; 32])).unwrap().is_some());
    assert_eq!(store.sweep(LIMITS).await.unwrap().logins, 1);
    assert_eq!(store.read(|view| view.login_by_hash(&[1; 32])).unwrap(), None);
    let left = store.read(|view| view.logins(None, 10)).unwrap();
    assert_eq!(left.iter().map(|login| login.id.to_u128()).collect::<Vec<_>>(), [2]);
    store.close().await;
}

#[tokio::test]
async fn a_sign_in_that_has_ended_does_not_come_back_by_being_used() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&options(folder.path()), sink().0).unwrap();
    let (now, row) = (clock::now(), login(1, clock::now()));
    let id = row.id;
    store.write(move |tx| tx.insert_login(&row, &[1; 32])).await.unwrap();
    assert!(store.write(move |tx| tx.remove_login(id)).await.unwrap());
    assert!(!store.write(move |tx| tx.remove_login(id)).await.unwrap());
    store.write(move |tx| tx.touch_login(id, now)).await.unwrap();
    assert_eq!(store.read(|view| view.login(id)).unwrap(), None);
    store.close().await;
}

#[tokio::test]
async fn password_and_sign_ins_survive_closing_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&options(folder.path()), sink().0).unwrap();
    let password = StoredPassword {
        hash: "$argon2id$…".to_owned(),
        set_at: clock::now(),
    };
    let (row, kept) = (login(1, clock::now()), password.clone());
    let expected = row.clone();
    store
        .write(move |tx| {
            tx.set_password(&kept)?;
            tx.insert_login(&row, &[1; 32])
        })
        .await
        .unwrap();
    store.close().await;
    let store = Store::open(&options(folder.path()), sink().0).unwrap();
    assert!(store.read(|view| view.password()).unwrap() == Some(password));
    assert_eq!(store.read(|view| view.login_by_hash(&[1; 32])).unwrap(), Some(expected));
    store.close().await;
}
