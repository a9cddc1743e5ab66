//! The admin interface: people and tests drive the phones and break things with it.
//!
//! Each file lists its calls in a table; the tables yield the dispatch, `Allow` and the page under `GET /admin`.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::phone::attach::LARGEST_FILE;
use crate::state::Unwritable;
use crate::world::Hub;

mod app_state;
mod calls;
mod faults;
mod groups;
mod load;
mod media;
mod messages;
mod parameters;
mod phones;
mod presence;
mod profile;
mod report;
mod state;

use parameters::Parameters;

/// The largest request of the others.
const BODY_LIMIT: usize = 256 * 1024;

/// One call; each file of this room lists its own.
pub(super) struct Route {
    method: Method,
    path: &'static str,
    /// Query parameters and body, optional ones in brackets.
    parameters: &'static str,
    summary: &'static str,
    run: Run,
}

/// How a call is carried out.
#[derive(Clone, Copy)]
enum Run {
    /// In one go.
    Now(fn(&Hub, &Parameters, &Bytes) -> Answer),
    /// With waiting, for a client's answer for example.
    Later(for<'a> fn(&'a Hub, &'a Parameters, &'a Bytes) -> BoxFuture<'a, Answer>),
    /// With an answer that is not JSON.
    Raw(for<'a> fn(&'a Hub, &'a Parameters) -> BoxFuture<'a, Result<Raw, Refusal>>),
}

/// An answer that is not JSON.
struct Raw {
    content_type: String,
    bytes: Bytes,
}

/// All calls; the first paths are the ones that newcomers need.
fn routes() -> impl Iterator<Item = &'static Route> {
    [
        report::ROUTES,
        state::ROUTES,
        phones::ROUTES,
        messages::ROUTES,
        app_state::ROUTES,
        presence::ROUTES,
        calls::ROUTES,
        media::ROUTES,
        groups::ROUTES,
        profile::ROUTES,
        faults::ROUTES,
        load::ROUTES,
    ]
    .into_iter()
    .flatten()
}

/// The largest request that a path takes: a message may carry a file, in base64.
pub(crate) fn largest_body(path: &str) -> usize {
    match path {
        "/admin/mock-phone/send" => LARGEST_FILE / 3 * 4 + BODY_LIMIT,
        _ => BODY_LIMIT,
    }
}

/// A call that was not carried out, and why.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    /// A refusal with its status.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// The response.
    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        reply(self.status, &json!({"error": self.message}))
    }
}

/// What the world refuses is a conflict with its present state, unless the state folder is at fault.
impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        if error.is::<Unwritable>() {
            return Self::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string());
        }
        Self::new(StatusCode::CONFLICT, format!("{error:#}"))
    }
}

type Answer = Result<Value, Refusal>;

/// Answers one request.
pub(crate) async fn answer(hub: &Hub, method: &Method, path: &str, query: &str, body: &Bytes) -> Response<Full<Bytes>> {
    let path = if path == "/" {
        "/admin"
    } else {
        path.trim_end_matches('/')
    };
    let matching = || routes().filter(|route| route.path == path);
    let Some(route) = matching().find(|route| route.method == *method) else {
        let allowed: Vec<&str> = matching().map(|route| route.method.as_str()).collect();
        if allowed.is_empty() {
            return Refusal::not_found("there is no such call; GET /admin lists them").into_response();
        }
        let mut response =
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("use {}", allowed.join(" or "))).into_response();
        if let Ok(allowed) = allowed.join(", ").parse() {
            response.headers_mut().insert(header::ALLOW, allowed);
        }
        return response;
    };
    let outcome = match Parameters::parse(query) {
        Ok(parameters) => match route.run {
            Run::Now(run) => run(hub, &parameters, body),
            Run::Later(run) => run(hub, &parameters, body).await,
            Run::Raw(run) => {
                return match run(hub, &parameters).await {
                    Ok(raw) => respond(StatusCode::OK, &raw.content_type, raw.bytes),
                    Err(refusal) => refusal.into_response(),
                };
            }
        },
        Err(refusal) => Err(refusal),
    };
    match outcome {
        Ok(value) => reply(StatusCode::OK, &value),
        Err(refusal) => refusal.into_response(),
    }
}

fn reply(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    respond(status, "application/json; charset=utf-8", format!("{value}\n").into())
}

fn respond(status: StatusCode, content_type: &str, bytes: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // A phone's medium may bear any type; one that is no header value is not told.
    if let Ok(content_type) = content_type.parse() {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        header::HeaderValue::from_static("nosniff"),
    );
    response
}
