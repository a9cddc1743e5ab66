//! What each fault does, in words: `GET /admin` shows this, and the check of a fault's fields reads it.

use serde_json::{Value, json};

use super::{Kind, Stage};

/// How one kind of fault is described, and which fields it takes beside `times`, `phone` and `device`.
pub(crate) struct Manual {
    /// Where it strikes.
    pub(crate) strikes: &'static str,
    /// Whose number `phone` is; `None` where it cannot be known yet.
    pub(crate) phone: Option<&'static str>,
    /// Its own fields with their meaning.
    pub(crate) fields: &'static [(&'static str, &'static str)],
    /// Where `at` may put it; none for kinds with one place.
    pub(crate) stages: &'static [Stage],
    /// What happens.
    pub(crate) effect: &'static str,
}

const AT: (&str, &str) = ("at", "where it strikes, one of the stages");

impl Manual {
    /// Whether the kind takes a field of its own.
    pub(crate) fn takes(&self, field: &str) -> bool {
        self.fields.iter().any(|(name, _)| *name == field)
    }

    fn to_json(&self, kind: Kind) -> Value {
        let fields: serde_json::Map<String, Value> = self
            .fields
            .iter()
            .map(|(name, meaning)| ((*name).to_owned(), json!(meaning)))
            .collect();
        let mut entry = json!({
            "kind": kind,
            "strikes": self.strikes,
            "phone": self.phone.unwrap_or("refused: the client has not said who it is when this strikes"),
            "fields": fields,
            "effect": self.effect,
        });
        if !self.stages.is_empty() {
            entry["stages"] = json!(self.stages);
        }
        entry
    }
}

/// The section `faults` of `GET /admin`.
pub(crate) fn document() -> Value {
    let kinds: Vec<Value> = Kind::ALL.iter().map(|kind| manual(*kind).to_json(*kind)).collect();
    let stages: serde_json::Map<String, Value> = Stage::ALL
        .iter()
        .map(|stage| (stage.name(), json!(stage.meaning())))
        .collect();
    json!({
        "about": "POST /admin/fault {\"kind\": …} plants one and answers its id; GET lists what waits and how often each \
                  struck; DELETE removes one (`id`) or all. {\"kind\": \"none\"} removes all as well. Faults are not \
                  kept across a restart.",
        "scope": {
            "times": "1 (default), a number n, or 0 or \"always\"",
            "phone": "only this number; without it everybody",
            "device": "only this device of the number (0 = the phone); needs `phone`",
        },
        "stages": stages,
        "kinds": kinds,
    })
}

/// The description of a kind.
#[expect(clippy::too_many_lines, reason = "a table, one entry for each kind")]
pub(crate) const fn manual(kind: Kind) -> Manual {
    const PLAIN: Manual = Manual {
        strikes: "",
        phone: None,
        fields: &[],
        stages: &[],
        effect: "",
    };
    match kind {
        Kind::CertIntermediate => Manual {
            strikes: "in the handshake of the next socket",
            effect: "the root's signature under the intermediate certificate has one wrong bit; a client that checks hangs up",
            ..PLAIN
        },
        Kind::CertLeaf => Manual {
            strikes: "in the handshake of the next socket",
            effect: "the intermediate's signature under the leaf certificate has one wrong bit; a client that checks hangs up",
            ..PLAIN
        },
        Kind::NoQr => Manual {
            strikes: "when the next socket registers",
            effect: "the socket stays open and is offered no codes",
            ..PLAIN
        },
        Kind::QrExhausted => Manual {
            strikes: "every open socket that is offered codes, at once, each counted; later ones when the fault is given anew",
            effect: "the socket is offered no more codes, as after two and a half minutes; a pairing code lives on",
            ..PLAIN
        },
        Kind::PairCode => Manual {
            strikes: "when a client asks for a pairing code",
            phone: Some("the number the code is asked for"),
            fields: &[(
                "code",
                "400 (default), 403, 429, 452 or 500, as the real server gives them here",
            )],
            effect: "the request is refused with that code",
            ..PLAIN
        },
        Kind::Passkey => Manual {
            strikes: "when the phone has scanned, or typed the right code",
            phone: Some("the phone that links"),
            effect: "the client is asked for the account's passkey before it gets its grant; POST /admin/mock-phone/passkey is the authenticator",
            ..PLAIN
        },
        Kind::Hmac => Manual {
            strikes: "when the phone signs a link, by QR or by code",
            phone: Some("the phone that links"),
            effect: "the HMAC over the signed identity has one wrong bit; the client must refuse the link",
            ..PLAIN
        },
        Kind::AccountSignature => Manual {
            strikes: "when the phone signs a link, by QR or by code",
            phone: Some("the phone that links"),
            effect: "the account's signature over the client's identity has one wrong bit; the client must refuse the link",
            ..PLAIN
        },
        Kind::DeviceIdentity => Manual {
            strikes: "when a client fetches the prekeys of a companion, and when it gets a first message from one",
            phone: Some("the account the companion belongs to"),
            effect: "the account's signature in `device-identity` has one wrong bit; the reader must not open a session",
            ..PLAIN
        },
        Kind::Skey => Manual {
            strikes: "when a client fetches prekeys, and in the keys of a phone's request to send again",
            phone: Some("the account whose keys are fetched"),
            effect: "the signature of the signed prekey has one wrong bit; the reader must not open a session",
            ..PLAIN
        },
        Kind::Prekey404 => Manual {
            strikes: "when a client fetches prekeys",
            phone: Some("the account whose keys are fetched"),
            effect: "the device's entry is <error code=404 text=item-not-found> although the device exists",
            ..PLAIN
        },
        Kind::DropSocket => Manual {
            strikes: "at a stage",
            phone: Some("the account whose socket it is"),
            fields: &[
                AT,
                (
                    "deliver",
                    "at stage message: whether the message still arrives (default true)",
                ),
            ],
            stages: Stage::ALL,
            effect: "the TCP connection ends without a word, not even a WebSocket goodbye",
        },
        Kind::HalfOpen => Manual {
            strikes: "at a stage",
            phone: Some("the account whose socket it is"),
            fields: &[
                AT,
                (
                    "deliver",
                    "at stage message: whether the message still arrives (default true)",
                ),
            ],
            stages: Stage::ALL,
            effect: "the socket stays open, and the server neither reads nor writes any more; it ends when the device logs in again, or after 15 minutes",
        },
        Kind::StreamError => Manual {
            strikes: "at a stage",
            phone: Some("the account whose socket it is"),
            fields: &[
                AT,
                (
                    "code",
                    "required unless `conflict` is given: 401, 403, 409, 429, 500, 503, 515, 516 …",
                ),
                (
                    "conflict",
                    "`replaced` or `device_removed`: the words of a second login and of an unlinked device; the link itself stays",
                ),
                (
                    "deliver",
                    "at stage message: whether the message still arrives (default true)",
                ),
            ],
            stages: &[Stage::Now, Stage::Login, Stage::Backlog, Stage::Message],
            effect: "<stream:error>, then the socket is closed",
        },
        Kind::Failure => Manual {
            strikes: "instead of <success>; at stage register, instead of the codes",
            phone: Some("the account that logs in (not at stage register)"),
            fields: &[
                ("at", "`login` (default) or `register`"),
                (
                    "reason",
                    "required: 401 unlinked, 402 banned for a time, 403 locked, 405 outdated, 406, 409, 429, 500, 501, 503 …",
                ),
                ("code", "for 402: the reason of the ban (default 101)"),
                ("expire", "for 402: seconds until the ban ends (default 3600)"),
                ("message", "free text"),
                ("url", "where to learn more"),
                ("location", "routing token (default `sim`)"),
            ],
            stages: &[Stage::Login, Stage::Register],
            effect: "<failure reason=…>, then the socket is closed; the link itself stays",
        },
        Kind::Nack => Manual {
            strikes: "when a client sends a message",
            phone: Some("the sender's account"),
            fields: &[
                ("code", "required: 463, 479, 429, 500, 503 …"),
                (
                    "with",
                    "only messages to this number, or from its account to somebody; what a client writes to its own devices alone is spared",
                ),
            ],
            effect: "<ack class=message error=code>; the message reaches nobody",
            ..PLAIN
        },
        Kind::NoAck => Manual {
            strikes: "when a client sends a message",
            phone: Some("the sender's account"),
            fields: &[("deliver", "whether the message still arrives (default true)")],
            effect: "the message is never acknowledged",
            ..PLAIN
        },
        Kind::NoReceipt => Manual {
            strikes: "when a phone would confirm a message or mark it as read",
            phone: Some("the phone that stays silent"),
            effect: "the sender learns nothing; requests to send again are not held back",
            ..PLAIN
        },
        Kind::Delay => Manual {
            strikes: "on every stanza of a client, linked or not",
            phone: Some("the client's account"),
            fields: &[("ms", "milliseconds, at most 60000 (default 1000)")],
            effect: "the server handles the stanza that much later, and those behind it wait",
            ..PLAIN
        },
        Kind::AppState => Manual {
            strikes: "when a companion fetches a patch of app state",
            phone: Some("the account whose app state it is"),
            effect: "the last value of the patch is damaged; the client must not take it over",
            ..PLAIN
        },
        Kind::SlowSocket => Manual {
            strikes: "on every stanza the server writes to a logged-in client",
            phone: Some("the client's account"),
            fields: &[("ms", "milliseconds, at most 60000 (default 1000)")],
            effect: "the stanza is written that much later, and those behind it wait",
            ..PLAIN
        },
        Kind::CorruptCiphertext => Manual {
            strikes: "when a message is encrypted for a client, or passes the server on its way to one",
            phone: Some("the account that gets it"),
            effect: "the last bit of the ciphertext is flipped. Companions only, unless `device` is 0: then what a client sends to that phone",
            ..PLAIN
        },
        Kind::Duplicate => Manual {
            strikes: "when a message is queued for a companion",
            phone: Some("the account that gets it"),
            effect: "the same stanza is delivered twice, as after a lost acknowledgement",
            ..PLAIN
        },
        Kind::Media404 => Manual {
            strikes: "when a client downloads a medium that is there",
            phone: Some(
                "the account that downloads, where the address carries its media auth (whatsapp-rust's does, \
                         those of Baileys and zapo-js do not); without it only faults for everybody strike",
            ),
            fields: &[("code", "the HTTP status, 400 to 599, default 404")],
            effect: "the download is refused; the medium stays where it is. For one that is really gone use \
                     POST /admin/mock-phone/expire-media",
            ..PLAIN
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_stage_is_explained() {
        let page = document();
        for (kind, entry) in Kind::ALL.iter().zip(page["kinds"].as_array().unwrap()) {
            assert_eq!(entry["kind"], kind.name());
            for part in ["strikes", "phone", "effect"] {
                assert!(entry[part].as_str().is_some_and(|text| text.len() > 5), "{entry}");
            }
        }
        assert_eq!(page["stages"].as_object().unwrap().len(), Stage::ALL.len());
    }

    #[test]
    fn a_kind_with_stages_takes_at_and_no_other_does() {
        for kind in Kind::ALL {
            let manual = manual(*kind);
            assert_eq!(manual.takes("at"), !manual.stages.is_empty(), "{kind:?}");
        }
    }
}
