//! The simulator seen from the wire, by a client that shares no code with the gateway.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod admin;
mod app_state;
mod calls;
mod client;
mod contents;
mod devices;
mod faults;
mod group_messages;
mod groups;
mod https;
mod linking;
mod load;
mod media;
mod pair_code;
mod passkey;
mod phone_media;
mod presence;
mod privacy;
mod profile;
mod queues;
mod reset;
mod reupload;
mod tls;
mod xeddsa;

use std::net::SocketAddr;

use whatsapp_simulator::{Options, Simulator};

const NUMBER: &str = "5511999990001";
const OTHER: &str = "5511999990002";

async fn simulator() -> (Simulator, SocketAddr) {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let addr = simulator.addr();
    (simulator, addr)
}
