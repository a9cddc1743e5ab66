//! Health, and what the API offers.

use http::{Method, StatusCode};

use super::{Access, Answer, Code, Route, now, schema};
use crate::app::{App, metrics as system_metrics, system};
use crate::domain::access::Scope;
use crate::domain::error::Error;
use crate::http::call::Call;
use crate::http::metrics;
use crate::http::reply::Reply;

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
    summary: "Whether store and listener are up, and how many instances stand where",
    access: Access::Open,
    query: &[],
    body: None,
    answer: Answer::Ok(schema::<system::Ready>),
    errors: &[Code::ShuttingDown],
    handler: |app, call| now(ready(&app, &call)),
};

/// Figures for monitoring.
pub const METRICS: Route = Route {
    method: Method::GET,
    path: "/metrics",
    id: "system.metrics",
    summary: "Figures as OpenMetrics text, for Prometheus: instances, store, streams, webhooks",
    access: Access::Scope(Scope::InstancesRead),
    query: &[],
    body: None,
    answer: Answer::Other("application/openmetrics-text"),
    errors: &[Code::InstanceScopedKey],
    handler: |app, call| now(figures(&app, &call)),
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

fn figures(app: &App, call: &Call) -> Result<Reply, Error> {
    let text = metrics::render(system_metrics::gather(app, &call.caller)?).map_err(Error::internal)?;
    Ok(Reply::bytes_of(StatusCode::OK, metrics::CONTENT_TYPE, text))
}

fn report(app: &App, call: &Call) -> Result<Reply, Error> {
    Ok(Reply::ok(&system::report(app, &call.caller)?))
}

fn ready(app: &App, call: &Call) -> Result<Reply, Error> {
    if call.site.shutdown.is_cancelled() {
        return Err(Error::new(Code::ShuttingDown, "The gateway is stopping."));
    }
    Ok(Reply::ok(&system::ready(app)?))
}
