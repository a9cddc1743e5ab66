//! Which pages of other origins may call the API from a browser.
//!
//! Every call needs a key that no browser sends by itself, so a foreign page gains nothing by being allowed, and `*` is
//! the default. The page of this site needs none of it.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, ORIGIN,
};
use http::{HeaderMap, HeaderValue};

use super::reply::Reply;

/// What a page may send.
const SENT: &str = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Cache-Control";

/// What a page may read.
const READ: &str =
    "X-Request-Id, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, Location, Allow";

/// Adds what a browser needs to see before it shows an answer to a page.
pub fn admit(reply: &mut Reply, headers: &HeaderMap, origins: &[String]) {
    if origins.is_empty() {
        reply.set(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    } else {
        reply.vary_on("Origin");
        let Some(origin) = headers.get(ORIGIN) else { return };
        if !origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) {
            return;
        }
        reply.set(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    reply.set(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(READ));
}

/// The answer to `OPTIONS`, asked by a browser before a page's call or by a person.
pub fn options(allow: &str) -> Reply {
    let mut reply = Reply::deleted();
    if let Ok(allow) = HeaderValue::from_str(allow) {
        reply.set(ALLOW, allow.clone());
        reply.set(ACCESS_CONTROL_ALLOW_METHODS, allow);
    }
    reply.set(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(SENT));
    reply.set(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(origin: Option<&str>, origins: &[&str]) -> Option<String> {
        let headers = origin
            .map(|origin| (ORIGIN, origin.parse().unwrap()))
            .into_iter()
            .collect();
        let origins: Vec<String> = origins.iter().map(|&origin| origin.to_owned()).collect();
        let mut reply = Reply::deleted();
        admit(&mut reply, &headers, &origins);
        reply.header(ACCESS_CONTROL_ALLOW_ORIGIN).map(str::to_owned)
    }

    #[test]
    fn every_origin_is_admitted_unless_some_are_named() {
        let one = "https://one.example";
        assert_eq!(admitted(Some(one), &[]).as_deref(), Some("*"));
        assert_eq!(admitted(None, &[]).as_deref(), Some("*"));
        assert_eq!(admitted(Some(one), &[one]).as_deref(), Some(one));
        for stranger in [
            "https://two.example",
            "https://one.example.evil",
            "http://one.example",
            "null",
        ] {
            assert_eq!(admitted(Some(stranger), &[one]), None, "{stranger}");
        }
    }
}
