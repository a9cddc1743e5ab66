//! The API in plain text, short enough to be read whole by a language model.

use std::fmt::Write as _;

use serde_json::Value;

use super::schema::{self, choices};
use super::{BASE, groups, needs, operation};
use crate::http::route::Answer;

/// Renders it. Writing to a string cannot fail, so the results are not looked at.
pub fn render(document: &Value) -> String {
    let mut out = format!(
        "# WhatIsUp {version}\n\n\
        > A self-hosted WhatsApp gateway: HTTP with JSON, live events, signed webhooks. This is an overview; \
        {BASE}/openapi.json is the whole contract and {BASE}/docs the same for people.\n\n\
        - Address: {BASE}. Calls need `Authorization: Bearer <key>`; keys begin with zpk_live_ or zpk_test_.\n\
        - Bodies are JSON of at most 1 MiB; unknown fields and parameters are refused. Times are ISO 8601 in UTC. Ids are opaque.\n\
        - Lists answer {{\"data\":[…],\"next_cursor\":…}}, newest first; ask with ?limit= and ?cursor=.\n\
        - Errors answer {{\"error\":{{\"code\",\"message\",\"details\"?}},\"request_id\"}}; message says what to do next.\n\
        - A send is safe to repeat with the same client_ref or Idempotency-Key within 24 hours.\n\
        - Fields: a name with ? may be left out.\n",
        version = env!("CARGO_PKG_VERSION"),
    );
    for (group, routes) in groups() {
        let _ = write!(out, "\n## {}\n{}\n\n", group.title, group.what);
        for route in routes {
            let operation = operation(document, route);
            let _ = write!(
                out,
                "- {} {}: {}. {}.",
                route.method,
                route.path,
                route.summary,
                needs(route, operation)
            );
            let query: Vec<&str> = route.query.iter().map(|parameter| parameter.name).collect();
            if !query.is_empty() {
                let _ = write!(out, " Query: {}.", query.join(", "));
            }
            if let Some(body) = operation.pointer("/requestBody/content/application~1json/schema") {
                let _ = write!(out, " Body: {}.", names(document, body));
            }
            if let Answer::Ok(_) | Answer::Created(_) | Answer::Accepted(_) | Answer::Negotiated(..) = route.answer
                && let Some(answer) = answer(operation)
            {
                let _ = write!(out, " Answers: {}.", names(document, answer));
            }
            out.push('\n');
        }
    }
    out.push_str("\n## Names of events\n\n");
    for (name, what) in choices(&document["components"]["schemas"]["EventName"]) {
        let _ = writeln!(out, "- {name}: {what}");
    }
    out
}

/// The schema of the JSON that a call answers with.
pub fn answer(operation: &Value) -> Option<&Value> {
    let responses = operation["responses"].as_object()?;
    let (_, response) = responses.iter().find(|(status, _)| status.starts_with('2'))?;
    response.pointer("/content/application~1json/schema")
}

/// The outer fields, in a line.
fn names(document: &Value, schema: &Value) -> String {
    let rows = schema::rows(document, schema);
    let is_list = rows.first().is_some_and(|row| row.name == "data");
    let outer = rows.iter().filter_map(|row| {
        let name = if is_list {
            row.name.strip_prefix("data[].")?
        } else {
            row.name.as_str()
        };
        let mark = if row.required { "" } else { "?" };
        (!name.contains('.') && !name.contains('[')).then(|| format!("{name}{mark}"))
    });
    let joined = outer.collect::<Vec<_>>().join(", ");
    if is_list { format!("list of {joined}") } else { joined }
}
