//! Linking by phone number: a companion asks for its code to be typed, the phone of that number types it, and the
//! server carries three messages between them without ever seeing the code.
//!
//! Stages as in whatsapp-rust `src/pair_code.rs` and Baileys `Socket/messages-recv`: `companion_hello` (answered with a
//! reference), `primary_hello` (a notification), `companion_finish`. After that the link goes the way of a QR code.
//! The server knows only for which number a code was asked: the newest request for a number is the one its phone meets.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::sync::oneshot;
use tokio::time::Instant;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{Node, Server};

use crate::account::DeviceAddress;
use crate::clock::unix_seconds;
use crate::fault::Kind;
use crate::pairing::{Confirmed, Next};
use crate::phone::code::{self, Typed, WRAPPED_KEY};
use crate::phone::scan::Outcome;
use crate::stanza::{SERVER, Stanza as _, bytes_child, error, fresh_id, result};
use crate::world::World;

const TAG: &str = "link_code_companion_reg";
const REFERENCE: &str = "link_code_pairing_ref";
/// How long a code can be typed (whatsapp-rust `wacore/src/pair_code.rs`).
const CODE_LIFE: Duration = Duration::from_mins(3);
/// How long a link may take after the code was typed: clients give up then (whatsapp-rust, from WhatsApp Web).
const LINK_PATIENCE: Duration = Duration::from_mins(1);
/// How often a phone may try one code: clients stop listening after it.
const ATTEMPTS: u8 = 3;
/// Requests on one socket. The real server answers 429 to a connection that asks too fast; its number is not known.
const PER_SOCKET: u32 = 5;
/// Requests for one number within [`THROTTLE`]. The real server answers 400; its number is not known either.
const PER_NUMBER: usize = 10;
const THROTTLE: Duration = Duration::from_mins(10);
/// The browsers that a companion may call itself.
const BROWSERS: [&str; 9] = [
    "Chrome", "Chromium", "Firefox", "IE", "Opera", "Safari", "Edge", "Android", "Desktop",
];
/// The systems that it may say it runs on: the server refuses anything else (whatsapp-rust `companion_reg.rs`).
const SYSTEMS: [&str; 15] = [
    "Windows",
    "Mac OS",
    "macOS",
    "Mac OS X",
    "Mac",
    "Linux",
    "Ubuntu",
    "Debian",
    "Fedora",
    "Arch",
    "Chrome OS",
    "Chromium OS",
    "Android",
    "iOS",
    "FreeBSD",
];

/// A code that waits to be typed.
pub(crate) struct LinkCode {
    number: String,
    reference: Vec<u8>,
    /// The companion's key for this link, sealed with the code.
    wrapped: Vec<u8>,
    ends_at: Instant,
    attempts: u8,
    /// What the phone typed, while the companion has not answered it.
    typed: Option<(Typed, oneshot::Sender<Result<DeviceAddress, String>>)>,
}

impl LinkCode {
    /// Until when the socket is worth keeping for it.
    pub(crate) fn patience_ends(&self) -> Instant {
        self.ends_at + LINK_PATIENCE
    }
}

/// Who asked for codes lately, so that nobody floods a phone.
#[derive(Debug, Default)]
pub(crate) struct Throttle(BTreeMap<String, VecDeque<Instant>>);

impl Throttle {
    fn admits(&mut self, number: &str, now: Instant) -> bool {
        self.0.retain(|_, times| {
            times.retain(|time| now.duration_since(*time) < THROTTLE);
            !times.is_empty()
        });
        let times = self.0.entry(number.to_owned()).or_default();
        let admitted = times.len() < PER_NUMBER;
        if admitted {
            times.push_back(now);
        }
        admitted
    }
}

/// What a phone is told about a companion that waits for its code.
pub(crate) struct Asked {
    socket: u64,
    reference: Vec<u8>,
    /// The companion's sealed key.
    pub(crate) wrapped: Vec<u8>,
}

/// An error answer as the real server words it.
struct Refused(u16, &'static str);

const BAD_REQUEST: Refused = Refused(400, "bad-request");

impl Refused {
    /// The texts that belong to the codes (whatsapp-rust `PairCodeRejection`).
    fn by_code(code: u16) -> Self {
        match code {
            403 => Self(403, "forbidden"),
            429 => Self(429, "rate-overlimit"),
            452 => Self(452, "feature-not-available"),
            500 => Self(500, "internal-server-error"),
            _ => BAD_REQUEST,
        }
    }
}

impl World {
    /// Answers a question about codes from a socket that is not logged in.
    pub(crate) fn link_code_iq(&mut self, socket: u64, id: &str, asked: &Node) -> Next {
        let answer = match asked.text("stage").as_deref() {
            Some("companion_hello") => self.companion_hello(socket, asked).map(Next::Answer),
            Some("companion_finish") => self.companion_finish(socket, id, asked),
            // zapo-js asks where the connection comes from, to preselect a country.
            Some("get_country_code") => {
                let country = NodeBuilder::new("country_code").attr("iso", "BR").build();
                Ok(Next::Answer(result(id, [country])))
            }
            _ => Err(BAD_REQUEST),
        };
        match answer {
            Ok(Next::Answer(mut node)) => {
                node.attrs.insert("id", id);
                Next::Answer(node)
            }
            Ok(next) => next,
            Err(Refused(code, text)) => Next::Answer(error(id, code, text)),
        }
    }

    fn companion_hello(&mut self, socket: u64, asked: &Node) -> Result<Node, Refused> {
        let jid = asked
            .jid("jid")
            .filter(|jid| jid.server == Server::Pn && jid.device == 0);
        let number = jid.map(|jid| jid.user.to_string()).unwrap_or_default();
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || !(7..=15).contains(&number.len()) || number.starts_with('0') {
            return Err(BAD_REQUEST);
        }
        if let Some(fault) = self.strike(Kind::PairCode, Some(number.as_str())) {
            return Err(Refused::by_code(fault.details.code.unwrap_or(400)));
        }
        let pairing = self.pairings.get_mut(&socket).ok_or(BAD_REQUEST)?;
        let field = |tag: &str| asked.child_content(tag);
        let wrapped = field("link_code_pairing_wrapped_companion_ephemeral_pub")
            .filter(|wrapped| wrapped.len() == WRAPPED_KEY)
            .ok_or(BAD_REQUEST)?;
        let own_key = field("companion_server_auth_key_pub").is_some_and(|key| key == pairing.noise_static);
        let platform = field("companion_platform_id").is_some_and(|id| is_platform(&id));
        let display = field("companion_platform_display").is_some_and(|name| is_display(&name));
        if !own_key || !platform || !display || field("link_code_pairing_nonce").is_none() {
            return Err(BAD_REQUEST);
        }
        pairing.codes_asked += 1;
        if pairing.codes_asked > PER_SOCKET {
            return Err(Refused::by_code(429));
        }
        let now = Instant::now();
        if !self.throttle.admits(&number, now) {
            return Err(BAD_REQUEST);
        }
        // A phone meets the newest request for its number only; the holder of an older code types it in vain.
        for other in self.pairings.values_mut() {
            if other.code.as_ref().is_some_and(|code| code.number == number) {
                forget(
                    &mut other.code,
                    "another client has asked for a code of this number meanwhile",
                );
            }
        }
        let reference = format!("3@{}", hex::encode(rand::random::<[u8; 16]>())).into_bytes();
        let pairing = self.pairings.get_mut(&socket).ok_or(BAD_REQUEST)?;
        forget(&mut pairing.code, "the client has asked for a new code meanwhile");
        pairing.code = Some(LinkCode {
            number,
            reference: reference.clone(),
            wrapped,
            ends_at: now + CODE_LIFE,
            attempts: 0,
            typed: None,
        });
        let inner = NodeBuilder::new(TAG)
            .attr("stage", "companion_hello")
            .children([bytes_child(REFERENCE, reference)]);
        Ok(result("", [inner.build()]))
    }

    /// The companion's answer to a typed code. The server passes it on, so it refuses only what it can see itself.
    fn companion_finish(&mut self, socket: u64, id: &str, asked: &Node) -> Result<Next, Refused> {
        let pairing = self.pairings.get_mut(&socket).ok_or(BAD_REQUEST)?;
        let link = pairing.code.as_mut().ok_or(BAD_REQUEST)?;
        let jid = asked.jid("jid").map(|jid| jid.user.to_string());
        let bundle = asked
            .child_content("link_code_pairing_wrapped_key_bundle")
            .ok_or(BAD_REQUEST)?;
        if jid.as_deref() != Some(&link.number)
            || asked.child_content(REFERENCE).as_ref() != Some(&link.reference)
            || asked.child_content("companion_identity_public").as_ref() != Some(&pairing.identity)
        {
            return Err(BAD_REQUEST);
        }
        let Some((typed, outcome)) = link.typed.take() else {
            return Err(BAD_REQUEST);
        };
        let account = self.accounts.get(&link.number).ok_or(BAD_REQUEST)?;
        let answer = result(id, []);
        match code::open_bundle(&typed, &bundle, account.phone.signal.identity(), &pairing.identity) {
            Ok(secret) => {
                let number = link.number.clone();
                pairing.code = None;
                pairing.confirmed = Some(Confirmed {
                    number,
                    secret: secret.to_vec(),
                    outcome,
                });
                Ok(Next::Confirmed(answer))
            }
            Err(error) => {
                self.stats.links_refused += 1;
                // The phone tells its owner; the companion hears nothing. The admin call may have stopped waiting.
                let _ = outcome.send(Err(format!("{error:#}")));
                Ok(Next::Answer(answer))
            }
        }
    }

    /// The phone is about to type a code: what waits for this number, or why nothing does.
    pub(crate) fn code_asked_for(&mut self, number: &str) -> Result<Asked> {
        self.ensure_phone(number)?;
        self.require_place(number)?;
        let waiting = self.pairings.iter().find_map(|(socket, pairing)| {
            let link = pairing.code.as_ref().filter(|link| link.number == number)?;
            Some((
                *socket,
                link,
                pairing.granted.is_some() || pairing.demand.is_some() || pairing.confirmed.is_some(),
            ))
        });
        let Some((socket, link, taken)) = waiting else {
            let others = self.pairings.values().any(|pairing| pairing.code.is_some());
            bail!(
                "no open client has asked for a code of this number{}; ask for one first",
                if others { ", but one of another number" } else { "" }
            );
        };
        if Instant::now() >= link.ends_at {
            bail!("the code has expired: it can be typed for 180 seconds; ask for a new one");
        }
        if link.attempts >= ATTEMPTS {
            bail!("this code was typed wrongly three times; ask for a new one");
        }
        if taken {
            bail!("this client is being linked already");
        }
        Ok(Asked {
            socket,
            reference: link.reference.clone(),
            wrapped: link.wrapped.clone(),
        })
    }

    /// The phone has typed: its key goes to the companion, whose answer decides.
    pub(crate) fn phone_types(&mut self, number: &str, asked: &Asked, typed: Typed) -> Result<Outcome> {
        let account = self.accounts.get(number).context("no such phone")?;
        let identity = account.phone.signal.identity().public_key.public_key_bytes().to_vec();
        let pairing = self.pairings.get_mut(&asked.socket);
        let pairing = pairing.context("the client closed its socket meanwhile")?;
        let link = pairing.code.as_mut().filter(|link| link.reference == asked.reference);
        let link = link.context("the client has asked for another code meanwhile")?;
        link.attempts += 1;
        let hello = NodeBuilder::new(TAG).attr("stage", "primary_hello").children([
            bytes_child("link_code_pairing_wrapped_primary_ephemeral_pub", typed.wrapped.clone()),
            bytes_child("primary_identity_pub", identity),
            bytes_child(REFERENCE, link.reference.clone()),
        ]);
        let (outcome, waiting) = oneshot::channel();
        if let Some((_, before)) = link.typed.replace((typed, outcome)) {
            let _ = before.send(Err("the phone has typed a code again meanwhile".to_owned()));
        }
        pairing.outgoing.push(notification(hello.build()));
        pairing.wake.notify_one();
        Ok(waiting)
    }

    /// The server asks the companion to show a new code and forgets the old one; `false` if none waits.
    pub(crate) fn refresh_code(&mut self, number: &str, manually: bool) -> bool {
        let waiting = |code: &LinkCode| code.number == number;
        let Some(pairing) = self
            .pairings
            .values_mut()
            .find(|pairing| pairing.code.as_ref().is_some_and(waiting))
        else {
            return false;
        };
        let Some(link) = &pairing.code else { return false };
        let mut refresh = NodeBuilder::new(TAG).attr("stage", "refresh_code");
        if manually {
            refresh = refresh.attr("force_manual_refresh", "true");
        }
        let refresh = refresh.children([bytes_child(REFERENCE, link.reference.clone())]);
        pairing.outgoing.push(notification(refresh.build()));
        pairing.wake.notify_one();
        forget(&mut pairing.code, "the server has asked for a new code meanwhile");
        true
    }

    /// Makes a code as old as it can get; `false` if none waits.
    pub(crate) fn expire_code(&mut self, number: &str) -> bool {
        let mut codes = self.pairings.values_mut().filter_map(|pairing| pairing.code.as_mut());
        let Some(link) = codes.find(|link| link.number == number) else {
            return false;
        };
        link.ends_at = Instant::now();
        true
    }
}

/// Drops a code and tells a phone that waits for its answer.
fn forget(code: &mut Option<LinkCode>, reason: &str) {
    if let Some((_, outcome)) = code.take().and_then(|code| code.typed) {
        let _ = outcome.send(Err(reason.to_owned()));
    }
}

fn notification(body: Node) -> Node {
    NodeBuilder::new("notification")
        .attr("from", SERVER)
        .attr("id", fresh_id())
        .attr("type", TAG)
        .attr("t", unix_seconds())
        .children([body])
        .build()
}

/// One character: the browsers by digit, Android by letter (whatsapp-rust `companion_reg.rs`); Baileys sends the
/// number of its platform instead, which may have two digits.
fn is_platform(id: &[u8]) -> bool {
    (1..=2).contains(&id.len()) && id.iter().all(u8::is_ascii_alphanumeric) && id != b"0"
}

/// `Browser (System)`, both real.
fn is_display(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else {
        return false;
    };
    name.strip_suffix(')')
        .and_then(|name| name.split_once(" ("))
        .is_some_and(|(browser, system)| BROWSERS.contains(&browser) && SYSTEMS.contains(&system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_browsers_on_real_systems_are_companions_and_brands_are_not() {
        for good in [
            "Chrome (Linux)",
            "Safari (Mac OS)",
            "Chrome (Ubuntu)",
            "Android (Android)",
        ] {
            assert!(is_display(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "Chrome",
            "Chrome (WhatIsUp)",
            "WhatIsUp (Linux)",
            "Chrome(Linux)",
            "Chrome (Linux",
        ] {
            assert!(!is_display(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_number_is_asked_for_so_often_and_no_more_until_time_has_passed() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        assert!((0..PER_NUMBER).all(|_| throttle.admits("1", start)));
        assert!(!throttle.admits("1", start));
        assert!(throttle.admits("2", start), "others are not concerned");
        assert!(throttle.admits("1", start + THROTTLE));
        assert_eq!(throttle.0.len(), 1, "what is over is forgotten");
    }
}
