//! What the API offers, for people and for language models: `/docs` and `/llms.txt`.
//!
//! Both are rendered from the table of routes and the OpenAPI document, so they cannot promise what is not there. The
//! page needs no script: every call is a `<details>` that opens by itself when its address names it.

mod page;
mod sample;
mod schema;
mod text;

use std::sync::OnceLock;

use bytes::Bytes;
use http::HeaderMap;
use http::header::HOST;
use serde_json::Value;

use super::openapi;
use super::route::{Access, Route, TABLE};

/// The style sheet of the page; colours and type come from the dashboard's.
pub const STYLE: &str = include_str!("../../../assets/docs/docs.css");

/// Stands in the rendered page where the address of this gateway goes.
const BASE: &str = "{{base}}";

/// The page, with the address under which the reader reached it.
pub fn page(headers: &HeaderMap) -> Bytes {
    static PAGE: OnceLock<String> = OnceLock::new();
    let page = PAGE.get_or_init(|| page::render(&document()));
    page.replace(BASE, &base(headers)).into()
}

/// The overview in plain text.
pub fn text(headers: &HeaderMap) -> Bytes {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| text::render(&document()));
    text.replace(BASE, &base(headers)).into()
}

fn document() -> Value {
    // The name of the cookie is told by the document alone.
    serde_json::from_slice(&openapi::document("whatisup")).unwrap_or_default()
}

/// How the reader reached the gateway. The header is anybody's text, so only what an address is made of is taken over.
fn base(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(HOST.as_str())
        .filter(|host| !host.is_empty() && host.len() < 256)
        .filter(|host| {
            host.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".:-[]_".contains(&byte))
        })
        .unwrap_or("127.0.0.1:8080");
    let scheme = match text("x-forwarded-proto") {
        Some("https") => "https",
        _ => "http",
    };
    format!("{scheme}://{host}")
}

/// Calls that belong together.
struct Group {
    id: &'static str,
    title: &'static str,
    what: &'static str,
    /// First parts of operation ids.
    holds: &'static [&'static str],
}

const GROUPS: &[Group] = &[
    Group {
        id: "instances",
        title: "Instances",
        what: "One WhatsApp account each: made, linked to a phone, watched, removed.",
        holds: &["instances", "settings"],
    },
    Group {
        id: "messages",
        title: "Messages",
        what: "Accepted when stored; what became of them comes as events.",
        holds: &["messages"],
    },
    Group {
        id: "events",
        title: "Events",
        what: "What happens, as it happens, in one stream that resumes where it was cut.",
        holds: &["events", "stream_tokens"],
    },
    Group {
        id: "webhooks",
        title: "Webhooks",
        what: "The same events, posted to you, signed, and tried again until you answer.",
        holds: &["webhooks", "deliveries"],
    },
    Group {
        id: "keys",
        title: "Keys and limits",
        what: "Who may ask what, and how often.",
        holds: &["keys", "limits"],
    },
    Group {
        id: "dashboard",
        title: "Dashboard sign-in",
        what: "Used by the dashboard itself; a program uses keys.",
        holds: &["session", "sessions", "password", "setup"],
    },
    Group {
        id: "system",
        title: "System",
        what: "How the gateway does, and who changed what.",
        holds: &["system", "audit"],
    },
    Group {
        id: "sandbox",
        title: "Sandbox",
        what: "The simulated phones of this build.",
        holds: &["sandbox"],
    },
];

/// What comes later and found no group yet.
const REST: Group = Group {
    id: "more",
    title: "More",
    what: "",
    holds: &[],
};

/// Every group that has calls, with them. The page does not describe its own style sheet.
fn groups() -> Vec<(&'static Group, Vec<&'static Route>)> {
    let family = |route: &Route| route.id.split('.').next().unwrap_or_default();
    let is_told = |route: &&Route| route.id != "system.docs_style";
    let all = || TABLE.iter().filter(is_told);
    let mut found: Vec<_> = GROUPS
        .iter()
        .map(|group| {
            (
                group,
                all()
                    .filter(|route| group.holds.contains(&family(route)))
                    .collect::<Vec<_>>(),
            )
        })
        .collect();
    let rest = all().filter(|route| !GROUPS.iter().any(|group| group.holds.contains(&family(route))));
    found.push((&REST, rest.collect()));
    found.retain(|(_, routes)| !routes.is_empty());
    found
}

/// The operation of a route in the document.
fn operation<'a>(document: &'a Value, route: &Route) -> &'a Value {
    &document["paths"][route.path][route.method.as_str().to_ascii_lowercase()]
}

/// What the caller must show, in words.
fn needs(route: &Route, operation: &Value) -> String {
    let is_open = |way: &Value| way.as_object().is_some_and(serde_json::Map::is_empty);
    let ways = operation["security"].as_array().map(Vec::as_slice).unwrap_or_default();
    if route.access == Access::Owner {
        "Only through the admin socket".to_owned()
    } else if let Some(scope) = operation["x-scope"].as_str() {
        format!("A key with `{scope}`")
    } else if ways.iter().any(|way| way.get("key").is_some()) {
        "Any key".to_owned()
    } else if ways.is_empty() || ways.iter().any(is_open) {
        "No key".to_owned()
    } else {
        "A sign-in to the dashboard".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_and_the_overview_name_every_call() {
        let (page, text) = (page(&HeaderMap::new()), text(&HeaderMap::new()));
        let (page, text) = (std::str::from_utf8(&page).unwrap(), std::str::from_utf8(&text).unwrap());
        let told: usize = groups().iter().map(|(_, routes)| routes.len()).sum();
        assert_eq!(told + 1, TABLE.len());
        for (_, routes) in groups() {
            for route in routes {
                assert!(page.contains(&format!("id=\"{}\"", route.id)), "{}", route.id);
                assert!(
                    text.contains(&format!("{} {}", route.method, route.path)),
                    "{}",
                    route.id
                );
            }
        }
        assert!(
            !page.contains("style=") && !page.contains("{{"),
            "nothing inline, nothing left over"
        );
        assert!(
            page.len() < 200_000 && text.len() < 40_000,
            "{} {}",
            page.len(),
            text.len()
        );
    }

    #[test]
    fn only_an_address_is_taken_from_the_request() {
        let reached = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            base(&headers)
        };
        assert_eq!(reached("[::1]:8080"), "http://[::1]:8080");
        assert_eq!(reached("gate.example"), "http://gate.example");
        assert_eq!(reached("\"><script>"), "http://127.0.0.1:8080");
    }
}
