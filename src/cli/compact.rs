//! `compact`: gives the space of deleted data back to the disk. Offline, because the file is rewritten as a whole.

use serde_json::json;

use super::context::Context;
use super::failure::Failure;
use super::offline::cannot_open;
use super::state::{self, store_path};
use crate::store;

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    if context.server_if_any().await?.is_some() {
        return Err(Failure::failed(
            "the server is running on this state folder; stop it first, then compact",
        ));
    }
    let path = store_path(&context.state);
    if !path.exists() {
        return Err(Failure::Failed(format!(
            "there is no store in the state folder {}",
            context.state.display()
        )));
    }
    let handover = state::handover(context)?;
    let done = store::compact(&path).map_err(|error| cannot_open(&error))?;
    state::give_back(handover.as_ref())?;
    if let Some(upgraded) = &done.upgraded {
        context.output.note(&format!("note: {upgraded}"));
    }
    let outcome = json!({"bytes_before": done.before, "bytes_after": done.after});
    context.output.value(&outcome, |_| {
        format!("{} bytes before, {} bytes now", done.before, done.after)
    })
}
