//! What a reverse proxy says of the caller whom it speaks for, and when that is believed.
//!
//! Anybody can write these headers, so they count only when the settings say that nobody but a proxy reaches the port
//! (`behind_proxy`). Of `X-Forwarded-For` the last entry counts: the proxy in front has appended it, while everything
//! before it is what the caller claimed. `Forwarded` is not read at all: the usual proxies write `X-Forwarded-For` and
//! let the other one through as the caller wrote it.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

/// Who the caller is.
pub const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What the caller spoke with the proxy.
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The address of the caller: the one that the proxy names, or that of the connection where it names none.
pub fn address(connection: IpAddr, headers: &HeaderMap, behind_proxy: bool) -> IpAddr {
    let named = behind_proxy.then(|| last(headers, &FOR)).flatten().and_then(parse);
    named.unwrap_or(connection).to_canonical()
}

/// Whether the proxy says that the caller came over TLS.
pub fn is_https(headers: &HeaderMap, behind_proxy: bool) -> bool {
    behind_proxy && last(headers, &PROTO).is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
}

/// The last entry of a list that may stand in several lines.
fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let line = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    line.rsplit(',').next().map(str::trim)
}

/// An address as proxies write it: alone, in brackets, with a port.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse();
    address
        .ok()
        .or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn caller(list: &[(&str, &str)]) -> String {
        address(PROXY, &headers(list), true).to_string()
    }

    #[test]
    fn the_last_entry_is_the_one_that_the_proxy_wrote() {
        for (value, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("203.0.113.9, 192.0.2.7", "192.0.2.7"),
            ("203.0.113.9,192.0.2.7 ", "192.0.2.7"),
            ("192.0.2.7:54321", "192.0.2.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:443", "2001:db8::7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(caller(&[("x-forwarded-for", value)]), expected, "{value}");
        }
        let lines = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "192.0.2.2")];
        assert_eq!(caller(&lines), "192.0.2.2", "a proxy that adds a line of its own");
    }

    #[test]
    fn what_names_nobody_leaves_the_address_of_the_connection() {
        for value in [
            "",
            "unknown",
            "_hidden",
            "192.0.2.7,",
            "192.0.2",
            "example.org",
            "192.0.2.7, x",
        ] {
            assert_eq!(caller(&[("x-forwarded-for", value)]), PROXY.to_string(), "{value}");
        }
        assert_eq!(caller(&[]), PROXY.to_string());
        assert_eq!(caller(&[("forwarded", "for=192.0.2.7")]), PROXY.to_string());
        assert_eq!(caller(&[("x-real-ip", "192.0.2.7")]), PROXY.to_string());
    }

    #[test]
    fn without_a_proxy_nobody_can_claim_to_be_another() {
        let forged = headers(&[("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https")]);
        assert_eq!(address(PROXY, &forged, false), PROXY);
        assert!(!is_https(&forged, false) && is_https(&forged, true));
        for proto in ["http", "", "https, http", "wss"] {
            assert!(!is_https(&headers(&[("x-forwarded-proto", proto)]), true), "{proto}");
        }
        assert!(!is_https(&headers(&[]), true));
    }
}
