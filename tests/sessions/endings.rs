//! Endings that no retry can mend.

use serde_json::json;

use crate::harness::{Gateway, OWNER, Simulator};

/// Long enough for every backoff to have run out several times.
const LONG: u64 = 6 * 3600;

#[tokio::test]
async fn an_unlinked_session_fails_with_the_reason_and_is_not_tried_again() {
    let simulator = Simulator::start().await;
    let mut gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;

    let stats = simulator.stats().await;
    let device = stats["loggedIn"][0]["device"].as_u64().unwrap();
    simulator.unlink(OWNER, device).await;

    let ended = events.next("instance.disconnected").await;
    assert_eq!(
        (&ended["reason"], &ended["will_retry"]),
        (&json!("logout"), &json!(false))
    );
    let failed = instance.becomes("failed").await;
    assert_eq!(failed["status_reason"]["code"], "logout");
    assert!(failed["status_reason"].get("next_attempt_at").is_none());

    let sockets = simulator.sockets_opened().await;
    gateway.advance(LONG).await;
    gateway.stop().await;
    gateway.start_again().await;
    gateway.advance(LONG).await;
    assert_eq!(instance.get().await["status"], "failed");
    assert_eq!(simulator.sockets_opened().await, sockets, "nobody tried again");

    // A person can link it anew.
    let code = instance.qr().await;
    simulator.scan(OWNER, &code).await;
    instance.becomes("connected").await;
}

#[tokio::test]
async fn an_account_that_demands_a_passkey_is_not_linked_and_the_reason_says_what_to_do() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.create("guarded").await;
    let demand = json!({"kind": "passkey", "phone": OWNER});
    simulator.fault(&demand).await;
    let code = instance.qr().await;
    simulator.scan_in_vain(OWNER, &code).await;
    let failed = instance.becomes("failed").await;
    let reason = &failed["status_reason"];
    assert_eq!(reason["code"], "passkey_required");
    assert!(reason["message"].as_str().unwrap().contains("passkey"), "{reason}");
    let sockets = simulator.sockets_opened().await;
    gateway.advance(LONG).await;
    assert_eq!(simulator.sockets_opened().await, sockets, "nobody tried again");

    simulator.fault(&demand).await;
    let code = instance.pair_code(OWNER).await;
    let shown = simulator.enter_code_in_vain(OWNER, &code).await;
    assert!(shown.contains("before it showed the account's passkey"), "{shown}");
    instance.becomes("failed").await;

    // The owner has turned it off.
    let code = instance.qr().await;
    simulator.scan(OWNER, &code).await;
    instance.becomes("connected").await;
}

#[tokio::test]
async fn a_session_that_was_opened_elsewhere_does_not_fight_for_it() {
    let simulator = Simulator::start().await;
    let gateway = Gateway::start(&simulator).await;
    let instance = gateway.link(&simulator, OWNER).await;
    simulator.fault(&json!({"kind": "stream-error", "code": 401})).await;
    let failed = instance.becomes("failed").await;
    assert!(failed["status_reason"]["code"].is_string());
    let sockets = simulator.sockets_opened().await;
    gateway.advance(LONG).await;
    assert_eq!(instance.get().await["status"], "failed");
    assert_eq!(simulator.sockets_opened().await, sockets);
}

#[tokio::test]
async fn a_login_refused_for_good_fails_with_its_reason() {
    for (reason, code) in [(401, "logout"), (405, "outdated"), (403, "account_locked")] {
        let simulator = Simulator::start().await;
        let gateway = Gateway::start(&simulator).await;
        let instance = gateway.link(&simulator, OWNER).await;
        simulator.fault(&json!({"kind": "failure", "reason": reason})).await;
        simulator.fault(&json!({"kind": "drop-socket"})).await;
        let failed = instance.becomes("failed").await;
        assert_eq!(failed["status_reason"]["code"], code, "{reason}: {failed}");
        let sockets = simulator.sockets_opened().await;
        gateway.advance(LONG).await;
        assert_eq!(simulator.sockets_opened().await, sockets, "{reason}");
    }
}
