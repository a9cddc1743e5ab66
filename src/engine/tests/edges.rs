//! Crashes, limits, and what is not there.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_one_instance_is_shown_and_mended_and_touches_nobody_else() {
    let world = World::start().await;
    let mut house = House::open(&world.url()).await;
    let id = house.linked(&world).await;
    let other = house.instance().await;
    house.engine.qr(other, LIMIT).await.unwrap();
    assert!(house.engine.order(id, Order::Panic).await.is_err());
    house
        .until_row(id, |row| {
            row.status_reason
                .as_ref()
                .is_some_and(|reason| reason.code == "crashed")
        })
        .await;
    assert_eq!(house.row(other).status, Status::Qr);
    house.until_row(id, |row| row.status == Status::Connected).await;
    world.write(FRIEND, OWNER, "after").await;
    house.until(EventName::MessageReceived).await;
    house.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_sessions_run_than_are_allowed() {
    let world = World::start().await;
    let mut house = House::open(&world.url()).await;
    house.engine.stop().await;
    house.engine = Engine::start(
        house.store.clone(),
        Options {
            url: world.url(),
            device_name: "WhatIsUp".into(),
            connect_timeout: Duration::from_secs(10),
            ack_timeout: Duration::from_secs(30),
            max_sessions: 1,
        },
    )
    .await;
    let (one, two) = (house.instance().await, house.instance().await);
    house.engine.qr(one, LIMIT).await.unwrap();
    assert_eq!(house.engine.connect(two).await.unwrap_err().code, Code::AtCapacity);
    house.engine.disconnect(one).await.unwrap();
    house.engine.connect(two).await.unwrap();
    house.engine.stop().await;
    assert_eq!(house.engine.connect(two).await.unwrap_err().code, Code::ShuttingDown);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_cannot_be_connected() {
    let house = House::open("ws://127.0.0.1:1/ws/chat").await;
    let unknown = InstanceId::new(clock::now());
    for error in [
        house.engine.connect(unknown).await.unwrap_err(),
        house.engine.qr(unknown, LIMIT).await.unwrap_err(),
        house.engine.logout(unknown).await.unwrap_err(),
    ] {
        assert_eq!(error.code, Code::InstanceNotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_left_behind_by_a_crash_is_taken_back_before_anybody_can_ask() {
    let house = House::open("ws://127.0.0.1:1/ws/chat").await;
    let (linked, pairing) = (house.instance().await, house.instance().await);
    house
        .store
        .write(move |tx| {
            for (id, status) in [(linked, Status::Connected), (pairing, Status::Qr)] {
                let mut row = tx.instance(id)?.unwrap();
                row.status = status;
                row.jid = (id == linked).then(|| Address::phone(OWNER).unwrap());
                tx.put_instance(&row)?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let house = house.reopen().await;
    let row = house.row(linked);
    assert_eq!(row.status, Status::Disconnected);
    assert_eq!(row.status_reason.unwrap().code, "gateway_ended");
    assert_eq!(house.row(pairing).status, Status::Pending);
}
