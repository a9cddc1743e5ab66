//! The simulator's TLS half, with a certificate of its own.

use crate::harness::gateway::Setup;
use crate::harness::{FRIEND, OWNER, Simulator};

#[tokio::test]
async fn everything_works_over_tls_with_the_simulators_own_certificate() {
    let simulator = Simulator::start().await;
    let url = simulator.url().replace("ws://", "wss://");
    let gateway = Setup::connecting_to(&url).start().await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    instance.send(FRIEND, "there").await;
    simulator.gets(FRIEND, "there").await;
    simulator.send(FRIEND, OWNER, "and back").await;
    assert_eq!(events.next("message.received").await["body"]["text"], "and back");
    instance.settles().await;
}
