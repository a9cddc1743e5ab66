//! The page: files that are compiled in, and a polite answer to every other path.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, REFERRER_POLICY,
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
    <p>Go to <a href=\"/\">the page</a>, or see <a href=\"/docs\">what the API offers</a>.</p></html>";

/// Each file as it travels to whoever can unpack it, packed when it was first asked for.
static PACKED: LazyLock<Mutex<HashMap<String, Bytes>>> = LazyLock::new(Mutex::default);

fn pack(file: &[u8]) -> Bytes {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    // Neither can fail: the target is memory.
    let _ = packer.write_all(file);
    packer.finish().unwrap_or_default().into()
}

/// Whether the caller takes gzip: named, and not with a weight of nothing.
fn unpacks(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT_ENCODING).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            let weight = |part: &str| part.strip_prefix("q=")?.parse::<f32>().ok();
            named && !parts.filter_map(weight).any(|weight| weight <= 0.0)
        })
}

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
    let packed = unpacks(headers);
    // Another encoding is another thing to keep.
    let form = if packed { "-gzip" } else { "" };
    let tag = format!("\"{}{form}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
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
        let bytes = if packed {
            let mut kept = PACKED.lock().unwrap_or_else(PoisonError::into_inner);
            kept.entry(name.to_owned()).or_insert_with(|| pack(&file.data)).clone()
        } else {
            file.data.into_owned().into()
        };
        Reply::bytes_of(StatusCode::OK, "application/octet-stream", bytes)
    };
    reply.vary_on("Accept-Encoding");
    if packed && !known {
        reply.set(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
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

/// The page's own headers: nothing from elsewhere, no frames.
pub(super) fn guarded(mut reply: Reply) -> Reply {
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
        "There is nothing here. The API lives under /v1; GET /openapi.json lists it, /docs explains it.",
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

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
    fn who_can_unpack_gets_it_packed_and_under_a_tag_of_its_own() {
        let plain = get("/app.js", &[]).unwrap();
        assert_eq!(plain.header(CONTENT_ENCODING), None);
        for refusal in ["identity", "br", "gzip;q=0", "gzip; q=0.0, br"] {
            let reply = get("/app.js", &[(ACCEPT_ENCODING, refusal)]).unwrap();
            assert_eq!(reply.bytes(), plain.bytes(), "{refusal}");
        }
        for wish in ["gzip", "gzip, deflate, br, zstd", "br;q=1, GZIP;q=0.5"] {
            let packed = get("/app.js", &[(ACCEPT_ENCODING, wish)]).unwrap();
            assert_eq!(packed.header(CONTENT_ENCODING), Some("gzip"), "{wish}");
            assert_eq!(packed.header(http::header::VARY), Some("Accept-Encoding"));
            assert_eq!(packed.header(CONTENT_TYPE), plain.header(CONTENT_TYPE));
            assert_ne!(packed.header(ETAG), plain.header(ETAG));
            assert!(packed.bytes().len() < plain.bytes().len() / 2);
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(packed.bytes())
                .read_to_end(&mut unpacked)
                .unwrap();
            assert_eq!(unpacked, plain.bytes());
            let tag = packed.header(ETAG).unwrap();
            let again = get("/app.js", &[(ACCEPT_ENCODING, wish), (IF_NONE_MATCH, tag)]).unwrap();
            assert_eq!(
                (again.status(), again.header(CONTENT_ENCODING)),
                (StatusCode::NOT_MODIFIED, None)
            );
        }
    }

    /// The limit of the whole page, in bytes: it is opened over bad links, and every byte of it is read by people.
    const MOST: usize = 60_000;

    #[test]
    fn the_whole_page_is_small_for_a_visitor_in_the_wordiest_language() {
        let mut names: Vec<_> = Assets::iter().collect();
        names.sort();
        // A visitor loads one language; the other two stay where they are.
        let (mut visitor, mut languages) = (0, Vec::new());
        for name in names {
            let packed = pack(&Assets::get(&name).unwrap().data).len();
            println!("{packed:6} {name}");
            if name.starts_with("i18n/") {
                languages.push(packed);
            } else {
                visitor += packed;
            }
        }
        assert_eq!(languages.len(), 3);
        visitor += languages.into_iter().max().unwrap();
        assert!(visitor <= MOST, "{visitor} bytes, {MOST} are allowed");
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
