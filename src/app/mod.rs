//! The use cases: what a caller can do, without HTTP.
//!
//! Each module is one noun of the contract, each function one verb of it. Here the small errors of the rooms below
//! become [`crate::domain::error::Error`]s with a code. Everything takes the [`Caller`](crate::domain::access::Caller)
//! whose rights it must respect, so that no front door can forget to ask.

pub mod keys;

use crate::bus::Bus;
use crate::engine::Engine;
use crate::store::Store;

/// What the use cases are told once, at start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The secret under which API keys are hashed and stream tokens signed.
    pub pepper: [u8; 32],
    /// Requests that a key may make at once; 0 switches rate limits off.
    pub burst: u32,
    /// Requests that a key may make a second in the long run.
    pub per_second: u32,
    /// Event streams that one key may hold open.
    pub max_streams_per_key: u32,
}

/// Everything a use case needs; cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The one file.
    pub store: Store,
    /// Who is told what was committed.
    pub bus: Bus,
    /// WhatsApp.
    pub engine: Engine,
    /// API keys.
    pub keys: keys::Keyring,
}

impl App {
    /// Puts the use cases on top of the running rooms.
    pub fn new(store: Store, bus: Bus, engine: Engine, options: &Options) -> App {
        let keys = keys::Keyring::new(store.clone(), options.pepper);
        App {
            store,
            bus,
            engine,
            keys,
        }
    }
}
