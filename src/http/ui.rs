//! The page: files that are compiled in, and a polite answer to every other path.

use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use rust_embed::RustEmbed;

use super::call::negotiate;
use super::error;
use super::reply::Reply;
use crate::domain::error::{Code, Error};

/// What is served is what is in the repository.
#[derive(RustEmbed)]
#[folder = "assets/ui"]
struct Assets;

/// Nothing from elsewhere, nothing inline, no frames: the page holds a key.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const NOT_FOUND: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <title>Not found · WhatIsUp</title><h1>There is nothing here</h1>\
    <p>Go to <a href=\"/\">the page</a>, or see <a href=\"/openapi.json\">what the API offers</a>.</p></html>";

/// Answers what is neither API nor health.
pub fn answer(method: &Method, path: &str, headers: &HeaderMap) -> Result<Reply, Error> {
    let name = match path {
        "/" => "index.html",
        path => path.trim_start_matches('/'),
    };
    let Some(file) = Assets::get(name) else {
        return not_found(headers);
    };
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(error::method_not_allowed("GET, HEAD"));
    }
    let tag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    let known = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        // A proxy that compresses makes the tag weak; the file is the same.
        .any(|known| matches!(known.trim(), "*") || known.trim().trim_start_matches("W/") == tag);
    let mut reply = if known {
        Reply::bytes_of(StatusCode::NOT_MODIFIED, "text/plain", "")
    } else {
        Reply::bytes_of(StatusCode::OK, "application/octet-stream", file.data.into_owned())
    };
    if let Ok(kind) = HeaderValue::from_str(&content_type(file.metadata.mimetype())) {
        reply.set(CONTENT_TYPE, kind);
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        reply.set(ETAG, tag);
    }
    // Kept, but asked for each time: after an upgrade nobody runs half of the old page.
    reply.set(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(guarded(reply))
}

/// Text is UTF-8 here.
fn content_type(guessed: &str) -> String {
    let textual = guessed.starts_with("text/") || matches!(guessed, "application/javascript" | "image/svg+xml");
    if textual && !guessed.contains("charset") {
        format!("{guessed}; charset=utf-8")
    } else {
        guessed.to_owned()
    }
}

fn guarded(mut reply: Reply) -> Reply {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("x-frame-options"), "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        reply.set(name, HeaderValue::from_static(value));
    }
    reply
}

/// A page for people, the usual error for programs.
fn not_found(headers: &HeaderMap) -> Result<Reply, Error> {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    if negotiate(accept, &["application/json", "text/html"]) == Some("text/html") {
        let page = Reply::bytes_of(StatusCode::NOT_FOUND, "text/html; charset=utf-8", NOT_FOUND);
        return Ok(guarded(page));
    }
    Err(Error::new(
        Code::NotFound,
        "There is nothing here. The API lives under /v1; GET /openapi.json lists it.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, headers: &[(HeaderName, &str)]) -> Result<Reply, Error> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect();
        answer(&Method::GET, path, &headers)
    }

    #[test]
    fn the_page_comes_once_and_is_then_known_by_its_tag() {
        let first = get("/", &[]).unwrap();
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(first.header(CONTENT_TYPE), Some("text/html; charset=utf-8"));
        assert!(!first.header(CONTENT_SECURITY_POLICY).unwrap().contains("unsafe"));
        let tag = first.header(ETAG).unwrap();
        let again = get("/", &[(IF_NONE_MATCH, &format!("\"other\", W/{tag}"))]).unwrap();
        assert_eq!(
            (again.status(), again.bytes()),
            (StatusCode::NOT_MODIFIED, b"".as_slice())
        );
    }

    #[test]
    fn an_unknown_path_is_a_page_for_people_and_an_error_for_programs() {
        let page = get("/nope", &[(ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")]).unwrap();
        assert_eq!(page.status(), StatusCode::NOT_FOUND);
        for path in ["/nope", "/../Cargo.toml", "//etc/passwd", "/index.html/"] {
            assert_eq!(
                get(path, &[(ACCEPT, "*/*")]).err().map(|error| error.code),
                Some(Code::NotFound),
                "{path}"
            );
        }
    }
}
