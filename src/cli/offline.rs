//! The store without a server: for `keys` and `password`, so that both can be made before the first start.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::context::Context;
use super::failure::Failure;
use super::state::{self, State, store_path};
use crate::app::keys::Keyring;
use crate::store::{OpenError, Store};
use crate::sys::ownership::Handover;

/// An open store and what manages its keys.
pub(super) struct Offline {
    /// To be closed at the end.
    pub store: Store,
    /// The use cases of keys.
    pub keys: Keyring,
    /// Looks after the store's files until they are closed.
    _handover: Option<Handover>,
}

/// Opens the store of the state folder, making both if `create` says so.
pub(super) fn open(context: &Context, create: bool) -> Result<Offline, Failure> {
    if !create && !store_path(&context.state).exists() {
        return Err(Failure::Failed(format!(
            "there is no gateway in the state folder {}; name another with --state",
            context.state.display()
        )));
    }
    let handover = state::handover(context)?;
    let state = State::prepare(context)?;
    for warning in &state.warnings {
        context.output.note(&format!("warning: {warning}"));
    }
    // Nobody listens, and keys make no events.
    let store = Store::open(&state.store, Arc::new(|_| {})).map_err(|error| cannot_open(&error))?;
    if let Some(upgraded) = store.upgraded() {
        context.output.note(&format!("note: {upgraded}"));
    }
    let keys = Keyring::new(store.clone(), *state.pepper.bytes());
    // Now, and again at the end: whatever happens in between, the service can read what is there.
    state::give_back(handover.as_ref())?;
    Ok(Offline {
        store,
        keys,
        _handover: handover,
    })
}

/// Why a store could not be opened, with its cause.
pub(super) fn cannot_open(error: &OpenError) -> Failure {
    let cause = std::error::Error::source(error)
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    Failure::Failed(format!("{error}{cause}"))
}

/// What a use case answered, as it would stand on the wire.
pub(super) fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
