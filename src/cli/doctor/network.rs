//! The way to WhatsApp, step by step, and the port that callers come in by.

use std::net::{IpAddr, SocketAddr};

use super::super::context::Context;
use super::check::Check;
use super::server::Presence;
use crate::config::exposure;
use crate::engine::reach::Findings;
use crate::sys::ports::{self, Listener};
use crate::sys::process;

/// Variables that other programs find a proxy by.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// The checks of the way to WhatsApp, in order.
pub(super) const WAY: [&str; 4] = ["dns", "connection", "websocket", "ipv6"];

/// The way to the WebSocket: its name, its connection, its answer, and whether IPv6 stands in the way.
pub(super) fn way(found: &Findings) -> Vec<Check> {
    vec![dns(found), connection(found), websocket(found), ipv6(found)]
}

fn dns(found: &Findings) -> Check {
    const NAME: &str = "dns";
    let host = &found.host;
    match &found.names {
        Some(Ok(ips)) => {
            let of_v6 = ips.iter().filter(|ip| ip.is_ipv6()).count();
            Check::ok(
                NAME,
                format!("{host} has {} IPv4 and {of_v6} IPv6 addresses", ips.len() - of_v6),
            )
        }
        Some(Err(why)) => Check::fail(
            NAME,
            format!("{host} cannot be resolved: {why}"),
            "check this machine's name servers (/etc/resolv.conf, resolvectl) and its internet connection",
        ),
        None => Check::skipped(NAME, "not asked"),
    }
}

fn connection(found: &Findings) -> Check {
    const NAME: &str = "connection";
    let to = format!("{}:{}", found.host, found.port);
    let (v4, v6) = (&found.v4, &found.v6);
    let connected = [v4, v6].into_iter().flatten().find_map(|step| step.as_ref().ok());
    let Some(ip) = connected else {
        return match v4.as_ref().or(v6.as_ref()) {
            Some(Err(why)) => Check::fail(
                NAME,
                format!("no connection to {to}: {why}"),
                format!(
                    "let this machine out to port {}; look for a firewall, or a network that wants a login",
                    found.port
                ),
            ),
            _ => Check::skipped(NAME, "there is no address to connect to"),
        };
    };
    match &found.encrypted {
        None => Check::ok(NAME, format!("{to} at {ip}, without TLS, as for a simulator")),
        Some(Ok(version)) if cfg!(feature = "sandbox") => Check::ok(
            NAME,
            format!("{to} at {ip}, {version}; a sandbox takes any certificate"),
        ),
        Some(Ok(version)) => Check::ok(NAME, format!("{to} at {ip}, {version}, certificate valid")),
        Some(Err(why)) => Check::fail(NAME, format!("no encrypted connection to {to}: {why}"), tls_advice(why)),
    }
}

fn tls_advice(why: &str) -> &'static str {
    if why.contains("clock") || why.contains("time") {
        "set this machine's clock, and keep it right with NTP"
    } else if why.contains("certificate") {
        "a proxy, a firewall or a virus scanner replaces certificates; let the WhatsApp hosts pass it untouched"
    } else {
        "a proxy or firewall stands in between; let the WhatsApp hosts pass it untouched"
    }
}

fn websocket(found: &Findings) -> Check {
    const NAME: &str = "websocket";
    let advice = "a proxy, a filter or a login page stands in between, or whatsapp.url names something else";
    match &found.answered {
        Some(Ok(101)) => Check::ok(NAME, format!("{} opens one", found.host)),
        Some(Ok(status @ 500..)) => Check::warn(
            NAME,
            format!("{} answers {status} instead of opening one", found.host),
            "WhatsApp may have a problem of its own; try again in some minutes",
        ),
        Some(Ok(status)) => Check::fail(
            NAME,
            format!("{} answers {status} instead of opening one", found.host),
            advice,
        ),
        Some(Err(why)) => Check::fail(NAME, why.clone(), advice),
        None => Check::skipped(NAME, "there is no connection to ask for one"),
    }
}

fn ipv6(found: &Findings) -> Check {
    const NAME: &str = "ipv6";
    match (&found.v4, &found.v6) {
        (_, Some(Ok(_))) => Check::ok(NAME, "works"),
        (Some(Ok(_)), Some(Err(why))) if why.contains("no route") => {
            Check::ok(NAME, "not here, so IPv4 is used at once")
        }
        (Some(Ok(_)), Some(Err(why))) => Check::warn(
            NAME,
            format!(
                "{} has an address of IPv6, but: {why}; connections wait for it first, if only a moment",
                found.host
            ),
            "mend IPv6 on this machine or its network, or switch it off",
        ),
        (Some(Ok(_)), None) => Check::skipped(NAME, format!("{} has no address of IPv6 here", found.host)),
        _ => Check::skipped(NAME, "nothing could be reached by IPv4 either"),
    }
}

/// The host of media: its name and its encryption. What it answers does not matter.
pub(super) fn media(found: &Findings) -> Check {
    const NAME: &str = "media";
    let steps = [dns(found), connection(found)];
    let failed = steps.into_iter().find(|step| step.advice.is_some());
    match (failed, &found.encrypted) {
        (Some(step), _) => Check { name: NAME, ..step },
        (None, Some(Ok(version))) => Check::ok(NAME, format!("{} is reached, {version}", found.host)),
        (None, _) => Check::skipped(NAME, "not asked"),
    }
}

/// Whether the environment names a proxy; never which, for the address may hold a password.
pub(super) fn proxy() -> Check {
    let set = PROXIES
        .into_iter()
        .filter(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    judge_proxy(&set.collect::<Vec<_>>())
}

fn judge_proxy(set: &[&str]) -> Check {
    const NAME: &str = "proxy";
    if set.is_empty() {
        return Check::ok(NAME, "none is set here");
    }
    Check::warn(
        NAME,
        format!(
            "{} is set here; only downloads from WhatsApp's web servers follow it, its WebSocket and webhooks connect directly",
            set.join(", ")
        ),
        "let this machine out directly on port 443, and do not set it for the server",
    )
}

/// Who has the port that the settings name.
pub(super) fn port(context: &Context, presence: &Presence, server: Option<u32>) -> Check {
    const NAME: &str = "port";
    let listen = context.config().listen;
    // A server that runs may have been told on its own command line how it is meant.
    if presence.server().is_none()
        && let Some(refusal) = exposure(context.config())
    {
        return Check::fail(NAME, refusal, "without one of these `serve` does not start");
    }
    if listen.port() == 0 {
        return Check::ok(NAME, format!("{listen}: a free one is picked at each start"));
    }
    let Some(listeners) = ports::listeners() else {
        return Check::skipped(NAME, "the system does not say who listens where");
    };
    let other: Option<Taken> = listeners
        .iter()
        .find(|listener| listener.is_in_the_way_of(listen))
        .map(Taken::of);
    let answers = presence.server().is_some();
    judge_port(listen, other.as_ref(), answers, server, bindable(listen))
}

/// Who listens.
struct Taken {
    pid: Option<u32>,
    name: Option<String>,
}

impl Taken {
    fn of(listener: &Listener) -> Self {
        let pid = listener.pid();
        Self {
            pid,
            name: pid.and_then(process::name),
        }
    }
}

/// Whether this machine has the address, and whether ports this low are open to everybody. Nothing is occupied: port 0
/// stands for the one that is wanted.
fn bindable(listen: SocketAddr) -> Result<(), (&'static str, &'static str)> {
    let free = SocketAddr::new(listen.ip(), 0);
    let socket = match listen.ip() {
        IpAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
        IpAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
    };
    if socket.and_then(|socket| socket.bind(free)).is_err() {
        return Err((
            "this machine has no such address",
            "name one that it has, or 127.0.0.1, in the setting listen",
        ));
    }
    let lowest = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let lowest: u16 = lowest.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024);
    if listen.port() < lowest && rustix::process::geteuid().as_raw() != 0 {
        return Err((
            "ports this low need a privilege",
            "choose a port above 1024 and let a reverse proxy listen on the low one",
        ));
    }
    Ok(())
}

fn judge_port(
    listen: SocketAddr,
    taken: Option<&Taken>,
    server_answers: bool,
    server: Option<u32>,
    bindable: Result<(), (&'static str, &'static str)>,
) -> Check {
    const NAME: &str = "port";
    let another = "stop it, or choose another port with the setting listen";
    match taken {
        Some(Taken { pid: Some(pid), name }) => {
            let who = format!("{} (pid {pid})", name.as_deref().unwrap_or("a program"));
            if server == Some(*pid) {
                Check::ok(NAME, format!("{listen}: the server listens"))
            } else if server_answers && server.is_none() {
                Check::ok(NAME, format!("{listen}: {who} listens"))
            } else if server_answers {
                Check::warn(
                    NAME,
                    format!("{listen} is taken by {who}, and the running server listens elsewhere"),
                    another,
                )
            } else {
                Check::fail(NAME, format!("{listen} is taken by {who}"), another)
            }
        }
        Some(_) if server_answers => Check::ok(NAME, format!("{listen}: somebody listens, and the server runs")),
        Some(_) => Check::fail(NAME, format!("{listen} is taken by another user's program"), another),
        None if server_answers => Check::warn(
            NAME,
            format!("nobody listens on {listen}: the server was started with another address than these settings have"),
            "name the same settings here as there: --config, --set listen=…",
        ),
        None => match bindable {
            Ok(()) => Check::ok(NAME, format!("{listen} is free")),
            Err((why, advice)) => Check::fail(NAME, format!("{listen} cannot be used: {why}"), advice),
        },
    }
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
