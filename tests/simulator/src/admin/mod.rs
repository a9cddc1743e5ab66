//! The admin interface: people and tests drive the phones and break things with it.
//!
//! One table names every call; it yields the dispatch, `Allow` and the page under `GET /admin`.

use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::state::Unwritable;
use crate::world::Hub;

mod faults;
mod parameters;
mod phones;
mod report;

use parameters::Parameters;

/// One call.
struct Route {
    method: Method,
    path: &'static str,
    call: Call,
    /// Query parameters, optional ones in brackets.
    parameters: &'static str,
    summary: &'static str,
}

#[derive(Clone, Copy)]
enum Call {
    Document,
    RootKey,
    Stats,
    Fault,
    ScanQr,
    EnterCode,
    Send,
    Burst,
    Inbox,
    Read,
    Unlink,
    Online,
    Offline,
    Answering,
}

const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/admin",
        call: Call::Document,
        parameters: "",
        summary: "This list.",
    },
    Route {
        method: Method::GET,
        path: "/admin/root-key",
        call: Call::RootKey,
        parameters: "",
        summary: "The root key that signs this simulator's certificates, as publicKeyHex.",
    },
    Route {
        method: Method::GET,
        path: "/admin/stats",
        call: Call::Stats,
        parameters: "",
        summary: "Counters, open sockets, phones with their companions, waiting faults.",
    },
    Route {
        method: Method::POST,
        path: "/admin/fault",
        call: Call::Fault,
        parameters: "JSON body: kind, [phone], [times: 1 | n | 0 or \"always\"], [code], [reason], [expire], [ms], [deliver]",
        summary: "Makes the next thing go wrong; kind none forgets all faults.",
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/scan-qr",
        call: Call::ScanQr,
        parameters: "phone; body: the QR text",
        summary: "The phone scans a QR code; answers when the companion is linked.",
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/enter-code",
        call: Call::EnterCode,
        parameters: "phone, code",
        summary: "The phone types a pairing code (not available yet).",
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/send",
        call: Call::Send,
        parameters: "from, to, text, [lid: address by LID]",
        summary: "A phone sends a text; answers with its id.",
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/burst",
        call: Call::Burst,
        parameters: "from, to, count, [prefix]",
        summary: "A phone sends many texts, prefix0, prefix1 …, in order; answers with their ids.",
    },
    Route {
        method: Method::GET,
        path: "/admin/mock-phone/inbox",
        call: Call::Inbox,
        parameters: "phone",
        summary: "What the phone decrypted, oldest first.",
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/read",
        call: Call::Read,
        parameters: "phone, id",
        summary: "The phone's owner opens a message; its sender gets a read receipt.",
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/unlink",
        call: Call::Unlink,
        parameters: "phone, device",
        summary: "The phone removes a linked companion.",
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/online",
        call: Call::Online,
        parameters: "phone",
        summary: "The phone connects and works off what waited for it.",
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/offline",
        call: Call::Offline,
        parameters: "phone",
        summary: "The phone disconnects; what it is sent waits.",
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/answering",
        call: Call::Answering,
        parameters: "phone, [on: true | false]",
        summary: "Whether the phone marks messages from clients as read and echoes them.",
    },
];

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

    fn not_available(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
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
    let matching = || ROUTES.iter().filter(|route| route.path == path);
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
        Ok(parameters) => carry_out(hub, route.call, &parameters, body).await,
        Err(refusal) => Err(refusal),
    };
    match outcome {
        Ok(value) => reply(StatusCode::OK, &value),
        Err(refusal) => refusal.into_response(),
    }
}

async fn carry_out(hub: &Hub, call: Call, parameters: &Parameters, body: &Bytes) -> Answer {
    match call {
        Call::Document => Ok(document()),
        Call::RootKey => Ok(hub.look(|world| json!({"publicKeyHex": hex::encode(world.keys.root_public())}))),
        Call::Stats => Ok(hub.look(report::stats)),
        Call::Fault => faults::add(hub, body),
        Call::ScanQr => phones::scan_qr(hub, parameters, body).await,
        Call::EnterCode => Err(Refusal::not_available(
            "pairing by code is not available yet; scan the QR code",
        )),
        Call::Send => phones::send(hub, parameters, body),
        Call::Burst => phones::burst(hub, parameters).await,
        Call::Inbox => phones::inbox(hub, parameters),
        Call::Read => phones::read(hub, parameters),
        Call::Unlink => phones::unlink(hub, parameters),
        Call::Online => phones::set_online(hub, parameters, true),
        Call::Offline => phones::set_online(hub, parameters, false),
        Call::Answering => phones::set_answering(hub, parameters),
    }
}

fn document() -> Value {
    let calls: Vec<Value> = ROUTES
        .iter()
        .map(|route| {
            json!({
                "method": route.method.as_str(),
                "path": route.path,
                "parameters": route.parameters,
                "summary": route.summary,
            })
        })
        .collect();
    json!({
        "about": "WhatsApp simulator. Clients connect to ws://…/ws/chat. A phone number is digits only; a phone exists \
                  once a call names it, every other number is not on WhatsApp. Errors are {\"error\": …}.",
        "calls": calls,
    })
}

fn reply(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{value}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json; charset=utf-8"),
    );
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}
