//! What the running server looks after: sessions with WhatsApp, and webhook targets.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use url::Url;

use super::super::PROGRAM;
use super::super::context::Context;
use super::check::{Check, Status, counted};
use super::server::{Presence, number, text};
use crate::webhooks::guard::Policy;
use crate::webhooks::reach::{Unreached, reach};

/// One target may take this long.
const TARGET_WITHIN: Duration = Duration::from_secs(4);

/// Targets that are connected to, all at once.
const TARGETS: usize = 48;

/// Lines of one kind that a person still reads.
const LINES: usize = 20;

/// A line for each session that is not connected, or one for all.
pub(super) fn sessions(presence: &Presence) -> Vec<Check> {
    const NAME: &str = "sessions";
    let Some(server) = presence.server() else {
        return vec![Check::skipped(NAME, "only a running server knows")];
    };
    let Some(instances) = &server.instances else {
        return vec![Check::skipped(NAME, "the server did not list its instances in time")];
    };
    let queued = number(&server.system, "/queues/outbox");
    let connected = instances
        .iter()
        .filter(|one| text(one, "/status") == "connected")
        .count();
    let mut checks: Vec<Check> = instances.iter().filter_map(judge_session).collect();
    if checks.is_empty() {
        let sent = match queued {
            0 => "nothing waits to be sent".to_owned(),
            queued => format!("{queued} messages wait to be sent"),
        };
        let stopped = match instances.len() - connected {
            0 => String::new(),
            stopped => format!(", {stopped} stopped on request"),
        };
        checks.push(match instances.len() {
            0 => Check::ok(NAME, "no instance was made yet"),
            _ => Check::ok(NAME, format!("{connected} connected{stopped}; {sent}")),
        });
    }
    shortened(NAME, checks)
}

/// `None` for a session that is as somebody wants it.
fn judge_session(instance: &Value) -> Option<Check> {
    const NAME: &str = "sessions";
    let (id, status) = (text(instance, "/id"), text(instance, "/status"));
    let (code, message) = (
        text(instance, "/status_reason/code"),
        text(instance, "/status_reason/message"),
    );
    let since = text(instance, "/status_since");
    let why = if code.is_empty() {
        String::new()
    } else {
        format!(" ({code})")
    };
    let found = format!("{id} is {status}{why} since {since}");
    let advice = if message.is_empty() {
        format!("{PROGRAM} instances show {id}")
    } else {
        message.to_owned()
    };
    match status {
        "connected" => None,
        "disconnected" if code == "stopped" => None,
        "pending" | "qr" => Some(Check::warn(
            NAME,
            format!("{id} is not linked to a phone"),
            format!("{PROGRAM} instances qr {id}"),
        )),
        "failed" => Some(Check::fail(NAME, found, advice)),
        _ => Some(Check::warn(NAME, found, advice)),
    }
}

/// A line for each target in trouble, or one for all. Connects, and sends nothing.
pub(super) async fn webhooks(context: &Context, presence: &Presence, offline: bool) -> Vec<Check> {
    const NAME: &str = "webhooks";
    let Some(server) = presence.server() else {
        return vec![Check::skipped(NAME, "only a running server knows the targets")];
    };
    let Some(endpoints) = &server.endpoints else {
        return vec![Check::skipped(NAME, "the server did not list its endpoints in time")];
    };
    if endpoints.is_empty() {
        return vec![Check::ok(NAME, "there are no endpoints")];
    }
    let policy = policy(context);
    let looks = endpoints.iter().enumerate().map(async |(at, endpoint)| {
        let wanted = !offline && at < TARGETS && endpoint["enabled"] == true;
        let reached = if wanted {
            Some(reach(&policy, text(endpoint, "/url"), TARGET_WITHIN).await)
        } else {
            None
        };
        judge_target(endpoint, reached)
    });
    let mut checks: Vec<Check> = join_all(looks).await.into_iter().flatten().collect();
    if checks.is_empty() {
        let enabled = endpoints.iter().filter(|endpoint| endpoint["enabled"] == true).count();
        let looked = match (offline, enabled.min(TARGETS)) {
            (true, _) => "not connected to, for --offline".to_owned(),
            (false, looked) => format!("{looked} reached"),
        };
        let owed: u64 = endpoints.iter().map(owed).sum();
        let owed = if owed == 0 {
            "nothing".to_owned()
        } else {
            owed.to_string()
        };
        let of = counted(enabled, "enabled endpoint");
        checks.push(Check::ok(NAME, format!("{of}, {looked}; {owed} owed")));
    }
    shortened(NAME, checks)
}

/// The guard as the settings have it.
fn policy(context: &Context) -> Policy {
    let settings = &context.config().webhooks;
    Policy {
        allow_private: settings
            .allow_private
            .iter()
            .filter_map(|network| network.parse().ok())
            .collect(),
        allow_http: settings.allow_http,
    }
}

/// The host and port of an address: the rest of it may be a secret.
pub(super) fn host(url: &str) -> String {
    let Ok(url) = Url::parse(url) else {
        return "?".to_owned();
    };
    let host = url.host_str().unwrap_or("?");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn owed(endpoint: &Value) -> u64 {
    number(endpoint, "/health/pending") + number(endpoint, "/health/retrying")
}

/// `None` for a target that nothing is wrong with, as far as was looked.
fn judge_target(endpoint: &Value, reached: Option<Result<IpAddr, Unreached>>) -> Option<Check> {
    const NAME: &str = "webhooks";
    let id = text(endpoint, "/id");
    let who = format!("{id} ({})", host(text(endpoint, "/url")));
    let owed = match owed(endpoint) {
        0 => String::new(),
        owed => format!("; {owed} owed"),
    };
    if endpoint["enabled"] != true {
        // Who switched it off knows; what the gateway switched off, perhaps nobody does.
        let reason = text(endpoint, "/disabled_reason");
        return (!reason.is_empty() && reason != "by_request").then(|| {
            Check::warn(
                NAME,
                format!("{who} was switched off ({reason}){owed}"),
                "mend the receiver, then enable the endpoint again",
            )
        });
    }
    match reached {
        Some(Err(Unreached::Refused(refusal))) => Some(Check::fail(
            NAME,
            format!("{who} is refused: {refusal}{owed}"),
            "change the endpoint's address, or the setting that is named",
        )),
        Some(Err(unreached)) => Some(Check::fail(
            NAME,
            format!("{who} is not reached: {unreached}{owed}"),
            "check that the receiver runs, and that this machine is let out to it; what is owed is tried again by itself",
        )),
        Some(Ok(_)) | None if text(endpoint, "/health/status") == "failing" => {
            let error = text(endpoint, "/health/last_error");
            let failures = number(endpoint, "/health/consecutive_failures");
            Some(Check::warn(
                NAME,
                format!("{who} failed {failures} times in a row, last: {error}{owed}"),
                "look at the receiver's log; what is owed is tried again by itself",
            ))
        }
        _ => None,
    }
}

/// The first lines, failures before warnings, and how many more there are.
fn shortened(name: &'static str, mut checks: Vec<Check>) -> Vec<Check> {
    checks.sort_by_key(|check| check.status != Status::Fail);
    if checks.len() > LINES {
        let more = checks.len() - LINES;
        checks.truncate(LINES);
        checks.push(Check::skipped(name, format!("and {more} more like these")));
    }
    checks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::server::Server;
    use super::*;

    fn answering(server: Server) -> Presence {
        Presence::Answers(Box::new(server))
    }

    fn session(status: &str, code: &str) -> Value {
        json!({
            "id": "inst_1",
            "name": "Ana",
            "phone_number": "5511999990001",
            "status": status,
            "status_reason": {"code": code, "message": "Do this."},
        })
    }

    #[test]
    fn a_session_is_told_by_its_id_with_its_reason_and_what_to_do() {
        for (status, code, expected) in [
            ("connected", "", None),
            ("disconnected", "stopped", None),
            ("disconnected", "network", Some(Status::Warn)),
            ("connecting", "", Some(Status::Warn)),
            ("pending", "", Some(Status::Warn)),
            ("qr", "", Some(Status::Warn)),
            ("failed", "logout", Some(Status::Fail)),
        ] {
            let check = judge_session(&session(status, code));
            assert_eq!(check.as_ref().map(|check| check.status), expected, "{status}");
            if let Some(check) = check {
                let said = format!("{check:?}");
                assert!(
                    said.contains("inst_1") && !said.contains("Ana") && !said.contains("5511999990001"),
                    "{said}"
                );
            }
        }
        let failed = judge_session(&session("failed", "logout")).unwrap();
        assert_eq!(failed.advice.as_deref(), Some("Do this."));
    }

    #[test]
    fn many_sessions_in_trouble_are_shortened_with_the_worst_first() {
        let mut instances = vec![session("disconnected", "network"); 30];
        instances.push(session("failed", "banned"));
        let checks = sessions(&answering(Server {
            instances: Some(instances),
            ..Server::default()
        }));
        assert_eq!(checks.len(), LINES + 1);
        assert!(checks[0].status == Status::Fail && checks[LINES].found.contains("11 more"));
        assert_eq!(sessions(&Presence::Absent)[0].status, Status::Skipped);
        let none = answering(Server {
            instances: Some(Vec::new()),
            ..Server::default()
        });
        assert_eq!(sessions(&none)[0].status, Status::Ok);
        assert_eq!(sessions(&answering(Server::default()))[0].status, Status::Skipped);
    }

    #[test]
    fn a_target_is_told_by_its_host_alone() {
        let endpoint = |enabled: bool, status: &str, reason: Value| {
            json!({
                "id": "whe_1", "url": "https://user:pw@hooks.example:8443/path?token=secret", "enabled": enabled,
                "disabled_reason": reason,
                "health": {"status": status, "pending": 2, "retrying": 3, "consecutive_failures": 4, "last_error": "500"},
            })
        };
        let good = || Some(Ok(IpAddr::from([192, 0, 2, 1])));
        let slow = || Some(Err(Unreached::TimedOut(TARGET_WITHIN)));
        for (endpoint, reached, expected) in [
            (endpoint(true, "ok", Value::Null), good(), None),
            (endpoint(true, "ok", Value::Null), None, None),
            (endpoint(true, "ok", Value::Null), slow(), Some(Status::Fail)),
            (endpoint(true, "failing", Value::Null), good(), Some(Status::Warn)),
            (endpoint(true, "failing", Value::Null), None, Some(Status::Warn)),
            (endpoint(false, "disabled", json!("by_request")), None, None),
            (endpoint(false, "disabled", json!("gone")), None, Some(Status::Warn)),
        ] {
            let check = judge_target(&endpoint, reached);
            assert_eq!(check.as_ref().map(|check| check.status), expected, "{endpoint}");
            if let Some(check) = check {
                let said = format!("{check:?}");
                assert!(said.contains("hooks.example:8443") && said.contains("5 owed"), "{said}");
                assert!(
                    ["user", "pw@", "path", "token", "secret"]
                        .iter()
                        .all(|part| !said.contains(part)),
                    "{said}"
                );
            }
        }
    }
}
