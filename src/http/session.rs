//! The cookie of a sign-in: its name, how it is set and cleared, and on which requests it counts.
//!
//! Browsers send cookies by themselves, so a cookie proves who, not why. `SameSite=Strict` keeps other sites from using
//! it; what is checked here holds without that too, and against pages on other ports of the same host.

use cookie::{Cookie, SameSite};
use http::header::{COOKIE, HOST, HeaderName, ORIGIN};
use http::{HeaderMap, HeaderValue, Method, Uri};

use super::forwarded;
use crate::domain::access::Login;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Cookies of one name that are looked at: a neighbour may have set one for a narrower path, which comes first.
const CANDIDATES: usize = 4;

/// The cookie's name; several gateways may share a host, and cookies know no port.
pub fn name(suffix: &str) -> String {
    format!("whatisup_{suffix}")
}

/// The values of the cookie in a request.
pub fn given<'a>(headers: &'a HeaderMap, name: &str) -> Vec<Cookie<'a>> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .filter(|cookie| cookie.name() == name && !cookie.value().is_empty())
        .take(CANDIDATES)
        .collect()
}

/// `Set-Cookie` for a new sign-in.
pub fn set(name: &str, value: &str, secure: bool) -> Option<HeaderValue> {
    let life = i64::try_from(Login::LIFE.as_secs()).unwrap_or(i64::MAX);
    header(name, value, life, secure)
}

/// `Set-Cookie` that takes it away.
pub fn clear(name: &str, secure: bool) -> Option<HeaderValue> {
    header(name, "", 0, secure)
}

fn header(name: &str, value: &str, seconds: i64, secure: bool) -> Option<HeaderValue> {
    let cookie = Cookie::build((name, value))
        .http_only(true)
        .same_site(SameSite::Strict)
        .path("/")
        .max_age(cookie::time::Duration::seconds(seconds))
        .secure(secure)
        .build();
    let mut header = HeaderValue::from_str(&cookie.to_string()).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Whether the page was loaded over TLS: its origin tells, or a proxy that is believed. The proxy speaks plain HTTP with
/// us.
pub fn over_tls(headers: &HeaderMap, behind_proxy: bool) -> bool {
    let origin = text(headers, &ORIGIN);
    origin.is_some_and(|origin| origin.starts_with("https://")) || forwarded::is_https(headers, behind_proxy)
}

/// Why a request does not come from our own page, if so. What tells neither way is no browser's, or an old one's `GET`.
pub fn foreign(method: &Method, headers: &HeaderMap, even_without_origin: bool) -> Option<&'static str> {
    if let Some(site) = headers.get(FETCH_SITE) {
        return (site != "same-origin").then_some("Sec-Fetch-Site says that another site or no page asks");
    }
    if headers.contains_key(ORIGIN) {
        return (!is_own(headers)).then_some(
            "its Origin is not the Host that was asked; a reverse proxy must pass Host on as the browser sent it",
        );
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    (!reads && !even_without_origin).then_some("it changes something and has neither Sec-Fetch-Site nor Origin")
}

/// Whether the origin's authority is the host that was asked.
fn is_own(headers: &HeaderMap) -> bool {
    let (Some(origin), Some(host)) = (text(headers, &ORIGIN), text(headers, &HOST)) else {
        return false;
    };
    let Ok(origin) = origin.parse::<Uri>() else {
        return false;
    };
    let default = match origin.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return false,
    };
    let Ok(host) = host.parse::<http::uri::Authority>() else {
        return false;
    };
    origin.authority().is_some_and(|own| {
        own.host().eq_ignore_ascii_case(host.host())
            && own.port_u16().unwrap_or(default) == host.port_u16().unwrap_or(default)
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn counts(method: &Method, list: &[(&str, &str)]) -> bool {
        foreign(method, &headers(list), false).is_none()
    }

    #[test]
    fn what_the_browser_says_about_the_site_decides() {
        for method in [Method::GET, Method::POST] {
            assert!(counts(&method, &[("sec-fetch-site", "same-origin")]));
            for site in ["cross-site", "same-site", "none", ""] {
                assert!(!counts(&method, &[("sec-fetch-site", site)]), "{site}");
                let with_origin = [("sec-fetch-site", site), ("origin", "http://a"), ("host", "a")];
                assert!(!counts(&method, &with_origin), "{site}");
            }
        }
    }

    #[test]
    fn without_that_the_origin_must_be_the_host_that_was_asked() {
        for (origin, host) in [
            ("http://gw.example", "gw.example"),
            ("https://gw.example", "GW.example:443"),
            ("https://gw.example:8443", "gw.example:8443"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(
                counts(&Method::POST, &[("origin", origin), ("host", host)]),
                "{origin} {host}"
            );
        }
        for (origin, host) in [
            ("http://gw.example", "gw.example:8080"),
            ("http://127.0.0.1:3000", "127.0.0.1:8080"),
            ("https://gw.example.evil", "gw.example"),
            ("http://evil.example", "gw.example"),
            ("null", "gw.example"),
            ("", "gw.example"),
            ("file://", "gw.example"),
            ("ftp://gw.example", "gw.example"),
        ] {
            for method in [Method::GET, Method::DELETE] {
                assert!(
                    !counts(&method, &[("origin", origin), ("host", host)]),
                    "{origin} {host}"
                );
            }
        }
        assert!(!counts(&Method::GET, &[("origin", "http://gw.example")]), "no host");
    }

    #[test]
    fn what_tells_nothing_may_read_and_nothing_else() {
        assert!(counts(&Method::GET, &[("host", "a")]) && counts(&Method::HEAD, &[]));
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert!(!counts(&method, &[("host", "a")]), "{method}");
            assert!(
                foreign(&method, &headers(&[]), true).is_none(),
                "but it may give a password"
            );
        }
    }

    #[test]
    fn the_cookie_is_for_this_site_and_no_script() {
        let plain = set("whatisup_X", "v", false).unwrap();
        assert_eq!(
            plain.to_str().unwrap(),
            "whatisup_X=v; HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000"
        );
        assert!(set("x", "v", true).unwrap().to_str().unwrap().contains("; Secure"));
        let cleared = clear("x", true).unwrap();
        let cleared = cleared.to_str().unwrap();
        assert!(cleared.starts_with("x=;") && cleared.contains("Max-Age=0"), "{cleared}");
    }

    #[test]
    fn the_cookie_is_for_https_where_the_page_or_a_believed_proxy_says_so() {
        let https = [("x-forwarded-proto", "https")];
        assert!(over_tls(&headers(&[("origin", "https://a")]), false));
        assert!(over_tls(&headers(&https), true));
        assert!(!over_tls(&headers(&https), false));
        assert!(!over_tls(&headers(&[("origin", "http://a")]), true));
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let headers = headers(&[(
            "cookie",
            "a=1; whatisup_X=one; whatisup_Y=two; whatisup_X=three; whatisup_X=",
        )]);
        let found: Vec<String> = given(&headers, "whatisup_X")
            .iter()
            .map(|cookie| cookie.value().to_owned())
            .collect();
        assert_eq!(found, ["one", "three"]);
    }
}
