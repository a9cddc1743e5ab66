//! What the tests stand on: the real binaries as processes, a client that checks every reply against the served
//! contract, a reader of the event stream, and the simulator's phones.
//!
//! Nothing here sleeps for a fixed time: [`wait`] asks for a condition until it holds or the patience is over.

pub mod client;
pub mod contract;
pub mod gateway;
pub mod process;
pub mod simulator;
pub mod sink;
pub mod slow;
pub mod stream;
pub mod traffic;
pub mod wait;

pub use client::Client;
pub use gateway::{Gateway, Instance};
pub use simulator::Simulator;
pub use stream::Stream;
pub use wait::eventually;

/// The number of the phone that is linked, unless a test needs several.
pub const OWNER: &str = "5511988880001";

/// The number of somebody who writes to it.
pub const FRIEND: &str = "5511977770002";
