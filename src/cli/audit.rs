//! `audit`: who changed what, as the API tells it.

use std::fmt::Write as _;

use serde_json::Value;

use super::arguments::Audit;
use super::client::encoded;
use super::context::Context;
use super::failure::Failure;

pub(super) async fn run(context: &Context, wanted: Audit) -> Result<(), Failure> {
    let client = context.server().await?;
    let mut path = "/v1/audit?".to_owned();
    if let Some(action) = &wanted.action {
        let _ = write!(path, "action={}&", encoded(action));
    }
    if let Some(instance) = &wanted.instance {
        let id = client.instance(instance).await?;
        let _ = write!(path, "instance_id={}&", encoded(&id));
    }
    let mut rows = client.list_up_to(&path, wanted.limit).await?;
    if rows.is_empty() {
        context
            .output
            .note("Nothing was changed yet, as far as this list reaches.");
    }
    if !context.output.json {
        rows.iter_mut().for_each(summarise);
    }
    context.output.table(
        &rows,
        &[
            ("WHEN", "/occurred_at"),
            ("WHO", "/who"),
            ("FROM", "/actor/address"),
            ("DID", "/action"),
            ("TO", "/to"),
            ("CHANGED", "/changed"),
        ],
    )
}

/// Adds what a table has room for: names before ids, and of the changes the fields.
fn summarise(row: &mut Value) {
    let first = |paths: [&str; 3]| {
        let found = paths
            .iter()
            .find_map(|path| row.pointer(path).filter(|value| value.is_string()));
        found.cloned().unwrap_or_default()
    };
    let who = first(["/actor/name", "/actor/id", "/actor/kind"]);
    let to = first(["/target/name", "/target/id", "/target/kind"]);
    let changed: Vec<Value> = row["changes"]
        .as_object()
        .map(|changes| changes.keys().map(|field| field.clone().into()).collect())
        .unwrap_or_default();
    row["who"] = who;
    row["to"] = to;
    row["changed"] = if changed.is_empty() {
        Value::Null
    } else {
        changed.into()
    };
}
