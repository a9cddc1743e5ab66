//! The store as its callers see it: group commit, reruns, order, crashes, full disks.

#![expect(
    clippy::redundant_closure_for_method_calls,
    reason = "a method's path is not general enough over the lifetime of a view or transaction"
)]

mod callers;
mod crash;
mod deliveries;
pub(super) mod disk;
mod faults;
mod logins;
mod measure;
mod records;
mod snapshot;
mod upgrade;
mod writing;

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::{CommitSink, Options};
use crate::domain::Timestamp;
use crate::domain::event::{DisconnectReason, Event, EventBody, SharedFrame};
use crate::domain::id::InstanceId;

/// What the store handed to its sink.
type Published = Arc<Mutex<Vec<SharedFrame>>>;

fn options(folder: &Path) -> Options {
    Options {
        path: folder.join("store.redb"),
        cache_bytes: 4 << 20,
        reserve_bytes: 0,
    }
}

fn sink() -> (CommitSink, Published) {
    let published = Published::default();
    let copy = Arc::clone(&published);
    let sink: CommitSink = Arc::new(move |frames| copy.lock().unwrap().extend_from_slice(frames));
    (sink, published)
}

fn event(instance: u128) -> Event {
    Event {
        instance_id: InstanceId::from_u128(instance),
        occurred_at: Timestamp::from_millis(1),
        body: EventBody::InstanceDisconnected {
            reason: DisconnectReason::Network,
            will_retry: true,
            next_attempt_at: None,
        },
    }
}
