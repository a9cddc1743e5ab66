//! Health, and what the API offers.

use http::header::CACHE_CONTROL;
use http::{Method, StatusCode};

use schemars::JsonSchema;

use super::{Access, Answer, Code, Route, now, schema};
use crate::app::{App, log, metrics as system_metrics, system};
use crate::domain::access::Scope;
use crate::domain::error::Error;
use crate::http::call::Call;
use crate::http::fields::Fields;
use crate::http::reply::Reply;
use crate::http::{docs, metrics, ui};

/// Whether the process runs.
pub const HEALTHZ: Route = Route {
    method: Method::GET,
    path: "/healthz",
    id: "system.health",
    summary: "Whether the process runs",
    access: Access::Open,
    query: &[],
    body: None,
    answer: Answer::Other("text/plain"),
    errors: &[],
    handler: |_, _| now(Ok(Reply::bytes_of(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"))),
};

/// Whether the gateway can work.
pub const READYZ: Route = Route {
    method: Method::GET,
    path: "/readyz",
    id: "system.ready",
    summary: "Whether the gateway can work: the store takes writes, sessions can run, the port is open, and nobody has asked for the end. Instances that are offline do not count",
    access: Access::Open,
    query: &[],
    body: None,
    answer: Answer::Ok(schema::<system::Ready>),
    errors: &[Code::NotReady, Code::ShuttingDown],
    handler: |app, call| Box::pin(ready(app, call)),
};

/// Figures for monitoring.
pub const METRICS: Route = Route {
    method: Method::GET,
    path: "/metrics",
    id: "system.metrics",
    summary: "Figures as OpenMetrics text, for Prometheus: process, requests, instances, store, streams, webhooks",
    access: Access::Scope(Scope::InstancesRead),
    query: &[],
    body: None,
    answer: Answer::Other("application/openmetrics-text"),
    errors: &[Code::InstanceScopedKey],
    handler: |app, call| Box::pin(figures(app, call)),
};

/// How the gateway does.
pub const SYSTEM: Route = Route {
    method: Method::GET,
    path: "/v1/system",
    id: "system.report",
    summary: "Version, memory, disk, queues, streams, instances by status, and what is kept how long",
    access: Access::Scope(Scope::InstancesRead),
    query: &[],
    body: None,
    answer: Answer::Ok(schema::<system::Report>),
    errors: &[Code::InstanceScopedKey],
    handler: |app, call| now(report(&app, &call)),
};

/// How much is logged.
pub const LOG_LEVEL: Route = Route {
    method: Method::GET,
    path: "/v1/system/log-level",
    id: "system.log_level",
    summary: "How much is logged now",
    access: Access::Login,
    query: &[],
    body: None,
    answer: Answer::Ok(schema::<log::Shown>),
    errors: &[],
    handler: |_, _| now(Ok(Reply::ok(&log::level()))),
};

/// Another level.
pub const SET_LOG_LEVEL: Route = Route {
    method: Method::PUT,
    path: "/v1/system/log-level",
    id: "system.set_log_level",
    summary: "Log more or less, until the next start or until the settings are read again (SIGHUP)",
    access: Access::Login,
    query: &[],
    body: Some(schema::<WantedLevel>),
    answer: Answer::Ok(schema::<log::Shown>),
    errors: &[Code::StorageFull],
    handler: |app, call| Box::pin(set_log_level(app, call)),
};

/// How much is to be logged.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `set_log_level` reads, for the document")]
struct WantedLevel {
    /// Secrets, contents and whole phone numbers stay out of the log at every level.
    level: log::Level,
}

async fn set_log_level(app: App, call: Call) -> Result<Reply, Error> {
    let level = call.body(|fields| fields.required("level", wanted_level))?;
    Ok(Reply::ok(&log::set_level(&app, &call.caller, level).await?))
}

fn wanted_level(fields: &mut Fields<'_>, name: &'static str) -> Option<log::Level> {
    let word = fields.text(name, 64)?;
    let level = log::Level::parse(&word);
    if level.is_none() {
        let all = log::Level::ALL.map(log::Level::as_str).join(", ");
        fields.refuse(name, format!("must be one of {all}"));
    }
    level
}

/// This very document.
pub const OPENAPI: Route = Route {
    method: Method::GET,
    path: "/openapi.json",
    id: "system.openapi",
    summary: "What the API offers, as OpenAPI 3.1",
    access: Access::Open,
    query: &[],
    body: None,
    answer: Answer::Other("application/json"),
    errors: &[],
    handler: |_, call| {
        let document = call.site.openapi();
        now(Ok(Reply::bytes_of(StatusCode::OK, "application/json", document)))
    },
};

async fn figures(app: App, call: Call) -> Result<Reply, Error> {
    let figures = system_metrics::gather(&app, &call.caller, call.site.door()).await?;
    let text = metrics::render(figures, call.site.tally.counts()).map_err(Error::internal)?;
    Ok(Reply::bytes_of(StatusCode::OK, metrics::CONTENT_TYPE, text))
}

/// The same for people.
pub const DOCS: Route = Route {
    method: Method::GET,
    path: "/docs",
    id: "system.docs",
    summary: "What the API offers, as a page that works offline",
    access: Access::Open,
    query: &[],
    body: None,
    answer: Answer::Other("text/html"),
    errors: &[],
    handler: |_, call| {
        let page = Reply::bytes_of(StatusCode::OK, "text/html; charset=utf-8", docs::page(&call.headers));
        now(Ok(ui::guarded(page).with(CACHE_CONTROL, "no-cache")))
    },
};

/// What that page looks like.
pub const DOCS_STYLE: Route = Route {
    method: Method::GET,
    path: "/docs/style.css",
    id: "system.docs_style",
    summary: "The style sheet of /docs",
    access: Access::Open,
    query: &[],
    body: None,
    answer: Answer::Other("text/css"),
    errors: &[],
    handler: |_, _| {
        let style = Reply::bytes_of(StatusCode::OK, "text/css; charset=utf-8", docs::STYLE);
        now(Ok(style.with(CACHE_CONTROL, "no-cache")))
    },
};

/// The same for language models.
pub const LLMS: Route = Route {
    method: Method::GET,
    path: "/llms.txt",
    id: "system.llms",
    summary: "What the API offers, as plain text in a few pages",
    access: Access::Open,
    query: &[],
    body: None,
    answer: Answer::Other("text/plain"),
    errors: &[],
    handler: |_, call| {
        let text = Reply::bytes_of(StatusCode::OK, "text/plain; charset=utf-8", docs::text(&call.headers));
        now(Ok(text.with(CACHE_CONTROL, "no-cache")))
    },
};

fn report(app: &App, call: &Call) -> Result<Reply, Error> {
    Ok(Reply::ok(&system::report(app, &call.caller)?))
}

async fn ready(app: App, call: Call) -> Result<Reply, Error> {
    Ok(Reply::ok(&system::ready(&app, call.site.door()).await?))
}
