//! The table: each call of the API is one [`Route`], written where its handler is and listed here.
//!
//! The table yields the matching of paths, `Allow`, the scope that is demanded, the name in the log and the OpenAPI
//! document, so that a path is written once and none of these can disagree.

use std::pin::Pin;

use http::Method;
use schemars::{Schema, SchemaGenerator};

use super::call::Call;
use super::reply::Reply;
use super::v1;
use crate::app::App;
use crate::domain::access::Scope;
use crate::domain::error::{Code, Error};

/// What a handler is, boxed so that a table can hold it.
pub type Answering = Pin<Box<dyn Future<Output = Result<Reply, Error>> + Send>>;

/// One call of the API.
pub struct Route {
    /// GET answers HEAD as well.
    pub method: Method,
    /// Segments in braces are parameters.
    pub path: &'static str,
    /// The use case's name: operation id in OpenAPI, `route` in the log.
    pub id: &'static str,
    /// One line for a person.
    pub summary: &'static str,
    /// Who may.
    pub access: Access,
    /// Which query parameters there are; any other is refused.
    pub query: &'static [Parameter],
    /// The JSON body, for the document.
    pub body: Option<SchemaOf>,
    /// The answer, for the document.
    pub answer: Answer,
    /// What can go wrong beyond what every call shares, for the document.
    pub errors: &'static [Code],
    /// What does it.
    pub handler: fn(App, Call) -> Answering,
}

impl Route {
    /// Whether the answer has no end of its own.
    pub fn answer_is_stream(&self) -> bool {
        matches!(self.answer, Answer::Other("text/event-stream"))
    }
}

/// Makes the schema of a type.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Who may call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Everybody.
    Open,
    /// Every key or sign-in, at no cost to its rate limit.
    Free,
    /// A key with this scope, or a sign-in.
    Scope(Scope),
    /// A key with this scope in the header, a key or stream token as `?token=`, or a sign-in.
    Stream(Scope),
    /// Everybody who is no other site's page: the doors of the dashboard. A valid cookie says who.
    Page,
    /// A sign-in to the dashboard, or whoever came through the admin socket.
    Login,
    /// Whoever came through the admin socket.
    Owner,
}

/// A query parameter.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// For a person.
    pub what: &'static str,
}

/// Pages of a list.
pub const PAGING: &[Parameter] = &[
    Parameter {
        name: "limit",
        what: "How many items, 1 to 100; 50 when left out",
    },
    Parameter {
        name: "cursor",
        what: "next_cursor of the page before",
    },
];

/// What a call answers when it succeeds.
#[derive(Clone, Copy)]
pub enum Answer {
    /// 200 with JSON.
    Ok(SchemaOf),
    /// 201 with JSON and `Location`.
    Created(SchemaOf),
    /// 202 with JSON.
    Accepted(SchemaOf),
    /// 204
    Deleted,
    /// 200 with one of several types, of which the first is JSON with this schema.
    Negotiated(SchemaOf, &'static [&'static str]),
    /// 200 with one type that has no schema.
    Other(&'static str),
}

/// Every call.
pub static TABLE: &[Route] = &[
    v1::operations::HEALTHZ,
    v1::operations::READYZ,
    v1::operations::METRICS,
    v1::operations::OPENAPI,
    v1::operations::DOCS,
    v1::operations::DOCS_STYLE,
    v1::operations::LLMS,
    v1::operations::SYSTEM,
    v1::operations::LOG_LEVEL,
    v1::operations::SET_LOG_LEVEL,
    v1::audit::LIST,
    v1::backups::CREATE,
    v1::keys::LIST,
    v1::keys::CREATE,
    v1::keys::REVOKE,
    v1::stream_tokens::CREATE,
    v1::sessions::GET,
    v1::sessions::CREATE,
    v1::sessions::DELETE,
    v1::sessions::SET_UP,
    v1::sessions::OPEN_SETUP,
    v1::sessions::LIST,
    v1::sessions::END_OTHERS,
    v1::sessions::END,
    v1::sessions::CHANGE_PASSWORD,
    v1::limits::GET,
    v1::instances::LIST,
    v1::instances::CREATE,
    v1::instances::GET,
    v1::instances::UPDATE,
    v1::instances::DELETE,
    v1::instances::QR,
    v1::instances::PAIR_CODE,
    v1::instances::CONNECT,
    v1::instances::DISCONNECT,
    v1::instances::LOGOUT,
    v1::instances::RESTART,
    v1::instances::STATUS,
    v1::settings::GET,
    v1::settings::UPDATE,
    v1::messages::SEND,
    v1::messages::GET,
    v1::events::SUBSCRIBE,
    v1::webhooks::LIST,
    v1::webhooks::CREATE,
    v1::webhooks::GET,
    v1::webhooks::UPDATE,
    v1::webhooks::DELETE,
    v1::webhooks::ROTATE,
    v1::webhooks::TEST,
    v1::webhooks::REPLAY,
    v1::deliveries::LIST,
    v1::deliveries::GET,
    v1::deliveries::REPLAY,
    #[cfg(feature = "sandbox")]
    v1::sandbox::GET,
    #[cfg(feature = "sandbox")]
    v1::sandbox::SCAN,
    #[cfg(feature = "sandbox")]
    v1::sandbox::WRITE,
    #[cfg(feature = "sandbox")]
    v1::sandbox::INBOX,
    #[cfg(feature = "sandbox")]
    v1::sandbox::OFFLINE,
    #[cfg(feature = "sandbox")]
    v1::sandbox::ONLINE,
    #[cfg(feature = "sandbox")]
    v1::sandbox::UNLINK,
    #[cfg(feature = "sandbox")]
    v1::sandbox::FAIL,
    #[cfg(feature = "sandbox")]
    v1::sandbox::ADVANCE,
];

/// What a path and method lead to.
pub enum Found {
    /// This call, with the values of its path parameters in order.
    Route(&'static Route, Vec<String>),
    /// The path exists, the method on it does not; these do.
    OtherMethods(String),
    /// No such path.
    Nothing,
}

/// Looks a call up.
pub fn find(method: &Method, path: &str) -> Found {
    let wanted = if method == Method::HEAD { &Method::GET } else { method };
    let mut others = Vec::new();
    for route in TABLE {
        let Some(parameters) = parameters(route.path, path) else {
            continue;
        };
        if route.method == *wanted {
            return Found::Route(route, parameters);
        }
        others.push(&route.method);
    }
    if others.is_empty() {
        return Found::Nothing;
    }
    let mut allow: Vec<&str> = others.iter().map(|method| method.as_str()).collect();
    if allow.contains(&"GET") {
        allow.push("HEAD");
    }
    allow.push("OPTIONS");
    Found::OtherMethods(allow.join(", "))
}

/// The values of the parameters if `path` fits `template`.
fn parameters(template: &str, path: &str) -> Option<Vec<String>> {
    let mut values = Vec::new();
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(values),
            (Some(wanted), Some(given)) if wanted.starts_with('{') => {
                if given.is_empty() {
                    return None;
                }
                values.push(
                    percent_encoding::percent_decode_str(given)
                        .decode_utf8_lossy()
                        .into_owned(),
                );
            }
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_routes_share_a_place_or_a_name() {
        for (index, one) in TABLE.iter().enumerate() {
            for other in &TABLE[index + 1..] {
                assert!(
                    one.method != other.method || one.path != other.path,
                    "{} {}",
                    one.method,
                    one.path
                );
                assert_ne!(one.id, other.id);
            }
        }
    }

    #[test]
    fn a_path_leads_to_its_route_with_its_parameters_decoded() {
        for (method, path, id, parameters) in [
            (Method::GET, "/v1/instances", "instances.list", vec![]),
            (Method::HEAD, "/v1/instances", "instances.list", vec![]),
            (Method::DELETE, "/v1/instances/x", "instances.delete", vec!["x"]),
            (
                Method::GET,
                "/v1/instances/a%2Fb/messages/c%40d",
                "messages.get",
                vec!["a/b", "c@d"],
            ),
        ] {
            let Found::Route(route, found) = find(&method, path) else {
                panic!("{method} {path}");
            };
            assert_eq!(
                (route.id, found),
                (id, parameters.into_iter().map(str::to_owned).collect())
            );
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_not_found() {
        for path in [
            "/v1",
            "/v1/",
            "/v1/instances/",
            "/v1//instances",
            "/v1/instances/x/nope",
            "/v1/instances//qr",
        ] {
            assert!(matches!(find(&Method::GET, path), Found::Nothing), "{path}");
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        let Found::OtherMethods(allow) = find(&Method::PUT, "/v1/instances/x") else {
            panic!();
        };
        assert_eq!(allow, "GET, PATCH, DELETE, HEAD, OPTIONS");
    }
}
