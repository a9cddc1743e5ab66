//! What a value's type cannot say.

use http::Uri;

use super::Config;
use crate::domain::access::password_problem;

/// Every problem as setting and sentence.
pub(super) fn problems(config: &Config) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut check = |path: &'static str, problem: Option<String>| found.extend(problem.map(|problem| (path, problem)));
    check(
        "insecure",
        (config.insecure && config.behind_proxy).then(|| {
            "cannot be together with behind_proxy: whoever reaches the port past the proxy could name any address as its own; choose one of them"
                .into()
        }),
    );
    check("whatsapp.url", whatsapp_url(&config.whatsapp.url));
    check("whatsapp.device_name", device_name(&config.whatsapp.device_name));
    check(
        "whatsapp.connect_timeout_seconds",
        at_least(config.whatsapp.connect_timeout_seconds.into(), 1),
    );
    check(
        "whatsapp.ack_timeout_seconds",
        at_least(config.whatsapp.ack_timeout_seconds.into(), 1),
    );
    check("store.cache_bytes", at_least(config.store.cache_bytes, 1 << 20));
    check("journal.max_age_days", at_least(config.journal.max_age_days.into(), 1));
    check("journal.max_bytes", at_least(config.journal.max_bytes, 1 << 20));
    check("audit.max_age_days", at_least(config.audit.max_age_days.into(), 1));
    check("audit.max_rows", at_least(config.audit.max_rows, 100));
    check(
        "limits.max_connections",
        at_least(config.limits.max_connections.into(), 1),
    );
    check(
        "limits.max_streams_per_key",
        at_least(config.limits.max_streams_per_key.into(), 1),
    );
    if config.limits.burst > 0 {
        check("limits.per_second", at_least(config.limits.per_second.into(), 1));
    }
    check("log.level", log_level(&config.log.level));
    if config.cors.origins.is_empty() {
        check(
            "cors.origins",
            Some("must name at least one origin, or * for any".into()),
        );
    }
    for origin in &config.cors.origins {
        check("cors.origins", cors_origin(origin));
    }
    if let Some(key) = &config.bootstrap_key
        && !has_key_form(key.expose())
    {
        check(
            "bootstrap_key",
            Some(
                "must be zpk_live_ or zpk_test_ and 32 random bytes in base64url without padding (43 characters)"
                    .into(),
            ),
        );
    }
    if let Some(password) = &config.dashboard.password {
        check(
            "dashboard.password",
            password_problem(password.expose()).map(str::to_owned),
        );
    }
    if let Some(pepper) = &config.pepper
        && crate::sys::secret::RandomKey::parse(pepper.expose()).is_none()
    {
        check("pepper", Some("must be 64 hexadecimal digits".into()));
    }
    if let Some(key) = &config.secrets_key
        && crate::sys::secret::RandomKey::parse(key.expose()).is_none()
    {
        check("secrets_key", Some("must be 64 hexadecimal digits".into()));
    }
    for network in &config.webhooks.allow_private {
        check("webhooks.allow_private", network_problem(network));
    }
    check(
        "webhooks.timeout_seconds",
        at_least(config.webhooks.timeout_seconds.into(), 1),
    );
    found
}

/// Why the gateway may not listen where the settings say, if so.
///
/// Asked by who is about to listen: a command that only talks to a running server must not stumble over it, because
/// `serve` may have been given the flag on its own command line.
pub fn exposure(config: &Config) -> Option<String> {
    if config.listen.ip().to_canonical().is_loopback() || config.behind_proxy || config.insecure {
        return None;
    }
    let (listen, port) = (config.listen, config.listen.port());
    Some(format!(
        "listen: {listen} is reachable from other machines, and without TLS keys, messages and the page's cookie would cross the network readable. Choose one:\n  \
         - keep it on this machine, --listen 127.0.0.1:{port}, and let a reverse proxy here (Caddy, nginx, Traefik) speak TLS\n  \
         - --behind-proxy (behind_proxy = true) when the reverse proxy is another machine or container, and nobody else can reach the port\n  \
         - --insecure (insecure = true) for a network where you trust everybody, at your own risk"
    ))
}

fn network_problem(text: &str) -> Option<String> {
    text.parse::<ipnet::IpNet>()
        .is_err()
        .then(|| format!("\"{text}\" is no network; write it as 192.168.1.0/24, a single address as 192.168.1.7/32"))
}

fn at_least(value: u64, least: u64) -> Option<String> {
    (value < least).then(|| format!("must be at least {least}, not {value}"))
}

fn whatsapp_url(text: &str) -> Option<String> {
    let Ok(url) = text.parse::<Uri>() else {
        return Some("must be a WebSocket address, such as wss://web.whatsapp.com/ws/chat".into());
    };
    match (url.scheme_str(), url.host()) {
        (Some("wss"), Some(_)) => None,
        (Some("ws"), Some(host)) if is_loopback(host) => None,
        (Some("ws"), Some(_)) => Some("ws:// is without TLS and allowed to loopback alone; use wss://".into()),
        _ => Some("must begin with wss://, or with ws:// to loopback".into()),
    }
}

/// Whether a host, as it stands in an address, names this machine and nothing else.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn device_name(text: &str) -> Option<String> {
    let characters = text.chars().count();
    (characters == 0 || characters > 50 || text.chars().any(char::is_control))
        .then(|| "must have 1 to 50 printable characters".into())
}

fn log_level(text: &str) -> Option<String> {
    crate::telemetry::filter(text)
        .err()
        .map(|error| format!("must be error, warn, info, debug, trace or filter directives: {error}"))
}

fn cors_origin(text: &str) -> Option<String> {
    if text == "*" {
        return None;
    }
    let is_origin = text.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some()
            && uri.path() == "/"
            && uri.query().is_none()
    });
    (!is_origin || text.ends_with('/'))
        .then(|| format!("\"{text}\" is no origin; write it as https://app.example.org, without a path"))
}

/// Whether a text has the form of an API key; below 22 characters it could be guessed.
fn has_key_form(text: &str) -> bool {
    let secret = text
        .strip_prefix("zpk_live_")
        .or_else(|| text.strip_prefix("zpk_test_"));
    secret.is_some_and(|secret| {
        secret.len() == 43
            && secret
                .chars()
                .all(|one| one.is_ascii_alphanumeric() || one == '-' || one == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(problems(&Config::default()), []);
    }

    #[test]
    fn beyond_loopback_is_refused_unless_somebody_said_how_it_is_meant() {
        let config = |listen: &str, behind_proxy, insecure| Config {
            listen: listen.parse().unwrap(),
            behind_proxy,
            insecure,
            ..Config::default()
        };
        for own in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(exposure(&config(own, false, false)), None, "{own}");
        }
        for open in [
            "0.0.0.0:80",
            "[::]:80",
            "192.168.1.2:80",
            "10.0.0.1:80",
            "203.0.113.7:80",
            "[2001:db8::1]:80",
            "[fe80::1]:80",
            "[::ffff:192.168.1.2]:80",
            "[::ffff:0.0.0.0]:80",
        ] {
            let refusal = exposure(&config(open, false, false)).unwrap();
            for way in ["--listen 127.0.0.1:80", "--behind-proxy", "--insecure"] {
                assert!(refusal.contains(way), "{open}: {refusal}");
            }
            assert_eq!(exposure(&config(open, true, false)), None, "{open}");
            assert_eq!(exposure(&config(open, false, true)), None, "{open}");
        }
        assert_eq!(problems(&config("0.0.0.0:80", true, true)).len(), 1);
    }

    #[test]
    fn websockets_without_tls_are_for_loopback_alone() {
        for good in [
            "wss://web.whatsapp.com/ws/chat",
            "ws://127.0.0.1:1/ws/chat",
            "ws://[::1]:1/x",
            "ws://localhost/x",
        ] {
            assert_eq!(whatsapp_url(good), None, "{good}");
        }
        for bad in [
            "ws://192.168.1.1/x",
            "ws://127.0.0.1.example.org/x",
            "http://127.0.0.1",
            "x",
            "",
            "wss:",
        ] {
            assert!(whatsapp_url(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn an_origin_has_a_scheme_and_a_host_and_nothing_more() {
        for good in ["*", "https://app.example.org", "http://localhost:3000"] {
            assert_eq!(cors_origin(good), None, "{good}");
        }
        for bad in ["app.example.org", "https://a/b", "https://a/", "ftp://a", "null", ""] {
            assert!(cors_origin(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn what_has_not_the_form_of_a_key_is_refused() {
        assert!(has_key_form(&format!("zpk_test_{}", "a-_9".repeat(11).split_off(1))));
        for bad in [
            "",
            "zpk_live_",
            "zpk_live_short",
            &format!("zpk_dead_{}", "a".repeat(43)),
            &"a".repeat(52),
        ] {
            assert!(!has_key_form(bad), "{bad}");
        }
    }
}
