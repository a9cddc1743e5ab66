//! What the log may not contain.

use crate::harness::gateway::Setup;
use crate::harness::{FRIEND, OWNER, Simulator, Stream};

#[tokio::test]
async fn a_whole_session_leaves_no_secret_in_the_log() {
    for level in ["info", "trace"] {
        let simulator = Simulator::start().await;
        let gateway = Setup::connecting_to(&simulator.url())
            .env("WHATISUP_LOG", level)
            .env("WHATISUP_LOG_LEVEL", level)
            .env("RUST_LOG", level)
            .start()
            .await;
        let mut events = Stream::open(
            &gateway.client.without_key(),
            &format!("?token={}", gateway.client.key()),
        )
        .await;
        let instance = gateway.create("discreet").await;
        let code = instance.qr().await;
        simulator.scan(OWNER, &code).await;
        events.next("instance.connected").await;
        let (out, inward) = ("the price is 4711 guilders", "the answer is a quiet yes");
        instance.send(FRIEND, out).await;
        events.next("message.sent").await;
        simulator.send(FRIEND, OWNER, inward).await;
        events.next("message.received").await;
        instance.settles().await;
        let invented = "zpk_live_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";
        gateway.client.with_key(invented).get("/v1/instances").reply(401).await;

        let log = gateway.log().lines().join("\n");
        assert!(log.len() > 100, "there is a log");
        // The parts of a code are each a secret of their own.
        let parts: Vec<&str> = code.split(',').filter(|part| part.len() > 8).collect();
        let secrets = [
            gateway.client.key(),
            invented,
            out,
            inward,
            OWNER,
            FRIEND,
            code.as_str(),
        ];
        for secret in secrets.into_iter().chain(parts) {
            let hits: Vec<&str> = log.lines().filter(|line| line.contains(secret)).take(3).collect();
            assert!(
                hits.is_empty(),
                "at the level {level} the log shows {secret:?}: {hits:#?}"
            );
        }
    }
}
