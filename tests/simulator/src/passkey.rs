//! Linking an account that demands a passkey: between scan and grant the companion must show that its owner holds it.
//!
//! Server side of whatsapp-rust `src/passkey/flow.rs`: a request (`passkey_prologue_request`), a fresh reference, the
//! `passkey_prologue` with a `WebAuthn` assertion, the phone's part (`crsc_continuation`), the companion's nonce, and its
//! encrypted pairing request with a new secret. The link then goes the ordinary way with that secret. When the real
//! server asks is not known for certain; here it is when the phone, by scan or by code, has named the account.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use crate::account::DeviceAddress;
use crate::clock::unix_seconds;
use crate::pairing::{Confirmed, Next};
use crate::phone::passkey::{Handshake, Passkey};
use crate::stanza::{SERVER, Stanza as _, bytes_child, error, fresh_id, result};
use crate::world::World;

/// A passkey that was asked for on a pairing socket.
pub(crate) struct Demand {
    number: String,
    challenge: [u8; 32],
    /// Handed out for the handshake.
    reference: Option<String>,
    handshake: Option<Handshake>,
    /// What the phone shows for comparing.
    code: Option<String>,
    outcome: oneshot::Sender<Result<DeviceAddress, String>>,
}

/// The stanzas that belong here, so that the socket knows where to ask.
const TAGS: [&str; 5] = [
    "ref",
    "passkey_request_options",
    "passkey_prologue",
    "companion_nonce",
    "encrypted_pairing_request",
];

/// The part of an iq that belongs here.
pub(crate) fn asked(iq: &Node) -> Option<&Node> {
    TAGS.iter().find_map(|tag| iq.child(tag))
}

impl World {
    /// The phone's passkey; made at the first question.
    pub(crate) fn passkey(&mut self, number: &str) -> Result<Passkey> {
        self.ensure_phone(number)?;
        let account = self.accounts.get_mut(number).context("no such phone")?;
        if let Some(passkey) = &account.phone.passkey {
            return Ok(passkey.clone());
        }
        let passkey = Passkey::generate()?;
        account.phone.passkey = Some(passkey.clone());
        account.save(&mut self.journal)?;
        Ok(passkey)
    }

    /// How far a link with a passkey of this phone is: what is asked, and what the phone shows for comparing.
    pub(crate) fn passkey_demand(&self, number: &str) -> Value {
        let demands = self.pairings.values().filter_map(|pairing| pairing.demand.as_ref());
        let demand = demands.into_iter().find(|demand| demand.number == number);
        json!({"demanded": demand.is_some(), "code": demand.and_then(|demand| demand.code.as_deref())})
    }

    /// Asks the companion behind a socket for the account's passkey.
    pub(crate) fn demand_passkey(
        &mut self,
        number: &str,
        socket: u64,
        outcome: oneshot::Sender<Result<DeviceAddress, String>>,
    ) -> Result<()> {
        let passkey = self.passkey(number)?;
        let challenge = rand::random::<[u8; 32]>();
        let options = bytes_child("passkey_request_options", passkey.request(&challenge));
        let pairing = self.pairings.get_mut(&socket).context("the socket is gone")?;
        pairing.outgoing.push(notification("passkey_prologue_request", options));
        pairing.wake.notify_one();
        pairing.demand = Some(Demand {
            number: number.to_owned(),
            challenge,
            reference: None,
            handshake: None,
            code: None,
            outcome,
        });
        Ok(())
    }

    /// Answers a companion's steps; the first wrong one ends the link.
    pub(crate) fn passkey_iq(&mut self, socket: u64, id: &str, asked: &Node) -> Next {
        let Some(mut demand) = self.pairings.get_mut(&socket).and_then(|pairing| pairing.demand.take()) else {
            return Next::Answer(error(id, 404, "item-not-found"));
        };
        match self.passkey_step(socket, id, asked, &mut demand) {
            Ok(Step::Answer(answer)) => {
                self.keep_demand(socket, demand);
                Next::Answer(answer)
            }
            Ok(Step::Begun(answer)) => {
                self.keep_demand(socket, demand);
                Next::Conveyed(answer)
            }
            Ok(Step::Agreed(secret)) => {
                if let Some(pairing) = self.pairings.get_mut(&socket) {
                    pairing.passkey_shown = true;
                    pairing.confirmed = Some(Confirmed {
                        number: demand.number,
                        secret,
                        outcome: demand.outcome,
                    });
                }
                Next::Confirmed(result(id, []))
            }
            Err(problem) => {
                self.stats.links_refused += 1;
                // The caller may have stopped waiting.
                let _ = demand.outcome.send(Err(format!("{problem:#}")));
                Next::Answer(error(id, 403, "forbidden"))
            }
        }
    }

    fn keep_demand(&mut self, socket: u64, demand: Demand) {
        if let Some(pairing) = self.pairings.get_mut(&socket) {
            pairing.demand = Some(demand);
        }
    }

    fn passkey_step(&mut self, socket: u64, id: &str, asked: &Node, demand: &mut Demand) -> Result<Step> {
        let sent = asked.content().unwrap_or_default();
        match asked.tag.as_ref() {
            "ref" => {
                let reference = format!("2@{}", hex::encode(rand::random::<[u8; 32]>()));
                demand.reference = Some(reference.clone());
                Ok(Step::Answer(result(id, [bytes_child("ref", reference)])))
            }
            "passkey_request_options" => {
                let options = self.passkey(&demand.number)?.request(&demand.challenge);
                Ok(Step::Answer(result(
                    id,
                    [bytes_child("passkey_request_options", options)],
                )))
            }
            "passkey_prologue" => {
                let part = |tag: &str| {
                    let part = asked.child_content(tag);
                    part.with_context(|| format!("the prologue has no {tag}"))
                };
                let (credential, assertion) = (part("credential_id")?, part("webauthn_assertion")?);
                self.passkey(&demand.number)?
                    .verify(&credential, &assertion, &demand.challenge)?;
                let reference = demand.reference.as_deref();
                let reference = reference.context("the prologue came before a reference was asked for")?;
                let handshake = Handshake::begin(&part("prologue_payload")?, reference)?;
                let primary = bytes_child("primary_ephemeral_identity", handshake.primary());
                demand.handshake = Some(handshake);
                let pairing = self.pairings.get_mut(&socket).context("the socket is gone")?;
                pairing.outgoing.push(notification("crsc_continuation", primary));
                Ok(Step::Begun(result(id, [])))
            }
            "companion_nonce" => {
                let handshake = demand
                    .handshake
                    .as_ref()
                    .context("the nonce came before the prologue")?;
                demand.code = Some(handshake.code(&sent)?);
                Ok(Step::Answer(result(id, [])))
            }
            _ => {
                let handshake = demand.handshake.as_ref().filter(|_| demand.code.is_some());
                let handshake = handshake.context("the pairing request came before the nonce")?;
                let pairing = self.pairings.get(&socket).context("the socket is gone")?;
                let secret = handshake.open(&sent, &pairing.noise_static, &pairing.identity)?;
                Ok(Step::Agreed(secret))
            }
        }
    }
}

/// What follows from a right step.
enum Step {
    Answer(Node),
    /// The handshake has begun; what the phone says to it follows.
    Begun(Node),
    /// The secret that companion and phone now share.
    Agreed(Vec<u8>),
}

impl Demand {
    /// Tells the phone that nothing came of it.
    pub(crate) fn abandon(self, reason: &str) {
        // The caller may have stopped waiting.
        let _ = self.outcome.send(Err(reason.to_owned()));
    }
}

fn notification(kind: &'static str, body: Node) -> Node {
    NodeBuilder::new("notification")
        .attr("from", SERVER)
        .attr("id", fresh_id())
        .attr("type", kind)
        .attr("t", unix_seconds())
        .children([body])
        .build()
}
