//! The use cases: what a caller can do, without HTTP.
//!
//! Each module is one noun of the contract, each function one verb of it. Here the small errors of the rooms below
//! become [`Error`](crate::domain::error::Error)s with a code. Everything takes the [`Caller`](crate::domain::access::Caller) whose rights it must
//! respect, so that no front door can forget to ask.

pub mod archive;
pub mod audit;
pub mod authentication;
pub mod backups;
pub mod deliveries;
pub mod events;
pub mod instances;
pub mod keys;
pub mod limits;
pub mod log;
pub mod messages;
pub mod metrics;
pub mod passwords;
pub mod sessions;
pub mod settings;
pub mod stream_tokens;
pub mod system;
pub mod throttle;
pub mod webhooks;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::bus::Bus;
use crate::domain::Timestamp;
use crate::domain::id::CustomerId;
use crate::engine::Engine;
use crate::store::{ReadError, Store};
use crate::sys::clock;
use crate::sys::current::Current;
use crate::webhooks::Webhooks;

/// What the use cases are told once, at start.
#[derive(Clone)]
pub struct Options {
    /// The secret under which API keys are hashed and stream tokens signed.
    pub pepper: [u8; 32],
    /// What seals the signing secrets of webhooks; backups hold both.
    pub secrets_key: [u8; 32],
    /// Requests that a key may make at once; 0 switches rate limits off.
    pub burst: u32,
    /// Requests that a key may make a second in the long run.
    pub per_second: u32,
    /// Event streams that one key may hold open.
    pub max_streams_per_key: u32,
    /// What `GET /v1/system` says of retention and limits; others keep to them.
    pub told_limits: system::Limits,
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
    /// Deliveries to webhook endpoints.
    pub webhooks: Webhooks,
    /// API keys.
    pub keys: keys::Keyring,
    /// The dashboard's password and who is signed in.
    pub sessions: sessions::Sessions,
    /// What backups need beside the store.
    pub backups: backups::Backups,
    /// Open event streams, counted by key or sign-in.
    pub streams: events::Streams,
    /// How often each key, each sign-in and each stranger may ask.
    pub limits: Arc<limits::Limits>,
    /// When the process started.
    pub started_at: Timestamp,
    /// What `GET /v1/system` says of retention and limits.
    pub told_limits: Current<system::Limits>,
}

impl App {
    /// Puts the use cases on top of the running rooms.
    pub fn new(store: Store, bus: Bus, engine: Engine, webhooks: Webhooks, options: &Options) -> App {
        let streams = events::Streams::new(options.max_streams_per_key);
        let keys = keys::Keyring::new(store.clone(), options.pepper).ending(streams.clone());
        let sessions = sessions::Sessions::new(store.clone(), keys.clone(), streams.clone());
        App {
            store,
            bus,
            engine,
            webhooks,
            sessions,
            keys,
            backups: backups::Backups::new(archive::Keys::of(&options.pepper, Some(&options.secrets_key))),
            streams,
            limits: Arc::new(limits::Limits::new(options.burst, options.per_second)),
            started_at: clock::now(),
            told_limits: options.told_limits.into(),
        }
    }
}

/// What a change does to a field that can be empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Change<T> {
    /// Leaves it as it is.
    #[default]
    Keep,
    /// Empties it, or brings its default back.
    Clear,
    /// Sets it.
    To(T),
}

impl<T> Change<T> {
    /// A field that stood there (`null` included) with what was read of it.
    pub fn given(is_given: bool, value: Option<T>) -> Self {
        match value {
            Some(value) => Change::To(value),
            None if is_given => Change::Clear,
            None => Change::Keep,
        }
    }

    /// Does it.
    fn apply(&self, field: &mut Option<T>)
    where
        T: Clone,
    {
        match self {
            Change::Keep => {}
            Change::Clear => *field = None,
            Change::To(value) => *field = Some(value.clone()),
        }
    }
}

/// One page of a list, newest first.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Page<T> {
    /// The items.
    pub data: Vec<T>,
    /// Give this as `cursor` to get the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Cuts a page from `rows`, which hold one more than `limit` when another page follows.
    fn cut(mut rows: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| more).map(cursor);
        Self {
            data: rows,
            next_cursor,
        }
    }
}

/// The owner of this installation.
#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the method is bound to one lifetime, the closure is not"
)]
fn customer(store: &Store) -> Result<CustomerId, ReadError> {
    store.read(|view| view.customer())
}
