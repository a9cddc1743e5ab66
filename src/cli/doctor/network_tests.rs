use super::super::check::Status;
use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn reached() -> Findings {
    Findings {
        host: "web.whatsapp.com".into(),
        port: 443,
        names: Some(Ok(vec![ip("192.0.2.1"), ip("2001:db8::1")])),
        v4: Some(Ok(ip("192.0.2.1"))),
        v6: Some(Ok(ip("2001:db8::1"))),
        encrypted: Some(Ok("TLS 1.3".into())),
        answered: Some(Ok(101)),
        date: None,
    }
}

fn unresolved() -> Findings {
    Findings {
        host: "web.whatsapp.com".into(),
        names: Some(Err("no name server answers".into())),
        ..Findings::default()
    }
}

fn statuses(found: &Findings) -> [Status; 4] {
    let checks = way(found);
    assert_eq!(WAY.to_vec(), checks.iter().map(|check| check.name).collect::<Vec<_>>());
    for check in &checks {
        let bad = matches!(check.status, Status::Warn | Status::Fail);
        assert_eq!(check.advice.is_some(), bad, "{check:?}");
    }
    [0, 1, 2, 3].map(|at| checks[at].status)
}

#[test]
fn the_way_is_judged_step_by_step_and_what_cannot_be_looked_at_is_skipped() {
    use Status::{Fail, Ok as Good, Skipped, Warn};
    let no = |why: &str| Some(Err(why.to_owned()));
    for (found, expected) in [
        (reached(), [Good, Good, Good, Good]),
        (unresolved(), [Fail, Skipped, Skipped, Skipped]),
        (
            Findings {
                v4: no("the connection is refused"),
                v6: no("there is no route"),
                encrypted: None,
                answered: None,
                ..reached()
            },
            [Good, Fail, Skipped, Skipped],
        ),
        (
            Findings {
                encrypted: Some(Err("the certificate comes from an unknown issuer".into())),
                answered: None,
                ..reached()
            },
            [Good, Fail, Skipped, Good],
        ),
        (
            Findings {
                answered: Some(Ok(200)),
                ..reached()
            },
            [Good, Good, Fail, Good],
        ),
        (
            Findings {
                answered: Some(Ok(503)),
                ..reached()
            },
            [Good, Good, Warn, Good],
        ),
        (
            Findings {
                v6: no("there is no route"),
                ..reached()
            },
            [Good, Good, Good, Good],
        ),
        (
            Findings {
                v6: no("no answer in time"),
                ..reached()
            },
            [Good, Good, Good, Warn],
        ),
        (Findings { v6: None, ..reached() }, [Good, Good, Good, Skipped]),
    ] {
        assert_eq!(statuses(&found), expected, "{found:?}");
    }
}

#[test]
fn advice_for_certificates_tells_clocks_from_proxies() {
    assert!(
        tls_advice("the certificate is valid from 2026-01-01 on, and this machine's clock says 1970").contains("clock")
    );
    assert!(tls_advice("the certificate comes from an unknown issuer").contains("replaces certificates"));
    assert!(tls_advice("the connection broke off").contains("firewall"));
}

#[test]
fn media_is_one_check_whatever_step_fails() {
    assert_eq!(media(&reached()).status, Status::Ok);
    assert_eq!(media(&unresolved()).status, Status::Fail);
    assert_eq!(media(&unresolved()).name, "media");
    assert_eq!(media(&Findings::default()).status, Status::Skipped);
}

#[test]
fn a_proxy_is_named_by_its_variable_alone() {
    assert_eq!(judge_proxy(&[]).status, Status::Ok);
    let check = judge_proxy(&["HTTPS_PROXY"]);
    assert!(check.status == Status::Warn && check.found.starts_with("HTTPS_PROXY is set"));
}

#[test]
fn a_port_is_ours_free_or_somebody_elses() {
    let listen: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    let by = |pid: Option<u32>| Taken {
        pid,
        name: pid.map(|_| "nginx".to_owned()),
    };
    let no = Err(("ports this low need a privilege", "choose another"));
    for (taken, answers, server, bindable, expected, part) in [
        (None, false, None, Ok(()), Status::Ok, "is free"),
        (None, false, None, no, Status::Fail, "need a privilege"),
        (Some(by(Some(7))), false, None, Ok(()), Status::Fail, "nginx (pid 7)"),
        (Some(by(None)), false, None, Ok(()), Status::Fail, "another user's"),
        (
            Some(by(Some(7))),
            true,
            Some(7),
            Ok(()),
            Status::Ok,
            "the server listens",
        ),
        (Some(by(Some(7))), true, Some(8), Ok(()), Status::Warn, "elsewhere"),
        (Some(by(Some(7))), true, None, Ok(()), Status::Ok, "listens"),
        (None, true, Some(8), Ok(()), Status::Warn, "nobody listens"),
    ] {
        let check = judge_port(listen, taken.as_ref(), answers, server, bindable);
        assert!(check.status == expected && check.found.contains(part), "{check:?}");
    }
}
