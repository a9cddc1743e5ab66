//! Who changed what.
//!
//! Each use case that changes something writes its row in the transaction of the change ([`Tx::audit`](crate::store::Tx::audit)).
//! What a session does is no transaction of ours; there the row is written once the engine has carried the order out and
//! before the caller is answered, so whoever was told of a success finds the row.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{App, Page};
use crate::domain::access::{Caller, Scope};
use crate::domain::audit::Entry;
use crate::domain::error::Error;
use crate::domain::id::AuditId;
use crate::store::AuditFilter;

/// The audit list, newest first.
pub fn list(
    app: &App,
    caller: &Caller,
    filter: &AuditFilter,
    before: Option<AuditId>,
    limit: usize,
) -> Result<Page<Entry>, Error> {
    caller.require(Scope::KeysRead)?;
    caller.require_unbound()?;
    let rows = app.store.read(|view| view.audit_list(filter, before, limit + 1))?;
    Ok(Page::cut(rows, limit, |entry: &Entry| entry.id.to_string()))
}

/// A record as fields that can be compared; whoever calls this answers for there being no secret among them.
pub(super) fn fields(record: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(record) {
        Ok(Value::Object(fields)) => fields,
        // Our own records are objects with string keys; were one none, its row would tell no fields.
        _ => Map::new(),
    }
}
