//! What the server does with a logged-in client's stanzas: acknowledge, route, forward.

use anyhow::{Context as _, Result};
use whatsapp_rust::wacore::libsignal::protocol::PreKeySignalMessage;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{Jid, Node, NodeContent};

use crate::account::{Account, DeviceAddress, Form, key};
use crate::clock::unix_seconds;
use crate::fault::{Fault, Kind, Stage, Whom};
use crate::group::routing::{Verdict, is_many};
use crate::stanza::Stanza as _;
use crate::stats::count;
use crate::world::World;

/// The server's refusal of a message to somebody who is not on WhatsApp.
const NOT_FOUND: u16 = 404;

impl World {
    /// Handles one stanza and gives the direct answers; everything else goes through queues.
    pub(crate) fn client_stanza(&mut self, from: &DeviceAddress, socket: u64, node: &Node) -> Result<Vec<Node>> {
        if self.links.get(from).is_none_or(|link| link.socket != socket) {
            return Ok(Vec::new());
        }
        self.count_received(node);
        let answers = match node.tag.as_ref() {
            "iq" => self.iq(from, node)?,
            "message" => self.message(from, node)?,
            "receipt" => self.receipt(from, node)?,
            "call" => self.client_call(from, node)?,
            "ack" => {
                self.acknowledged(from, node);
                Vec::new()
            }
            "ib" => {
                self.information(from, node);
                Vec::new()
            }
            "presence" => {
                self.client_presence(from, node)?;
                Vec::new()
            }
            "chatstate" => {
                self.client_chatstate(from, node)?;
                Vec::new()
            }
            // What needs no answer; counted above.
            _ => Vec::new(),
        };
        for answer in &answers {
            count(&mut self.stats.sent, &answer.tag);
        }
        Ok(answers)
    }

    fn information(&mut self, from: &DeviceAddress, node: &Node) {
        let Some(batch) = node.child("offline_batch") else {
            return;
        };
        let wanted = batch.text("count").and_then(|count| count.parse().ok()).unwrap_or(1);
        if let Some(link) = self.links.get_mut(from) {
            link.allow(wanted);
        }
    }

    fn message(&mut self, from: &DeviceAddress, node: &Node) -> Result<Vec<Node>> {
        let id = node.text("id").unwrap_or_default();
        let to = node.jid("to").context("a message without `to`")?;
        let ack = NodeBuilder::new("ack")
            .attr("class", "message")
            .attr("id", id.as_str())
            .attr("from", to.clone())
            .attr("t", unix_seconds());
        if let Some(fault) = self.refuses_message(from, &to, node) {
            return Ok(vec![ack.attr("error", fault.details.code.unwrap_or(500)).build()]);
        }
        let silent = self.keeps_silent(from);
        if silent == Some(Arrives::No) {
            return Ok(Vec::new());
        }
        if is_many(&to) {
            let verdict = self.message_to_many(from, node, &id, &to)?;
            let answered = silent.is_none() || matches!(verdict, Verdict::Refused(_));
            return Ok(answered.then(|| verdict.write(ack).build()).into_iter().collect());
        }
        let Some(recipient) = self.accounts.resolve(&to) else {
            return Ok(vec![ack.attr("error", NOT_FOUND).build()]);
        };
        let missed = self.hash_of_missed_devices(from, &recipient.number, &to, node)?;
        let ack = match missed {
            Some(hash) => ack.attr("phash", hash),
            None => ack,
        };
        // Who is blocked is not told so: the message is acknowledged and goes nowhere but to the sender's own devices.
        let blocked = self.has_blocked(&recipient.number, &from.number);
        let sender = self.accounts.get(&from.number).context("the sender is gone")?;
        let mut deliveries = Vec::new();
        for (jid, enc) in envelopes(node, &to) {
            let Some(target) = self.accounts.resolve(&jid) else {
                continue;
            };
            if blocked && target.number != from.number {
                continue;
            }
            let mut stanza = forwarded(sender, from, Form::of(&to), node, &id);
            if target.number == from.number && recipient.number != from.number {
                stanza = stanza.attr("recipient", to.to_non_ad());
            }
            let mut children = vec![enc.clone()];
            if enc.text("type").as_deref() == Some("pkmsg") {
                children.extend(node.child("device-identity").cloned());
            }
            // What kind of poll message or that it is to be viewed once: recipients read it (whatsapp-rust
            // `message/receive.rs`). A reporting token is for the server alone.
            children.extend(node.child("meta").cloned());
            deliveries.push((target, stanza.children(children).build()));
        }
        for (target, mut stanza) in deliveries {
            if self.damages_message_to(&target) {
                corrupt(&mut stanza);
            }
            if stanza.child("device-identity").is_some() && self.strike(Kind::DeviceIdentity, from).is_some() {
                forge_identity(&mut stanza);
            }
            self.deliver(&target, stanza)?;
        }
        Ok(if silent.is_some() {
            Vec::new()
        } else {
            vec![ack.build()]
        })
    }

    /// The fault that refuses a message. What clients tell their own phone (`category=peer`) is no message to anybody.
    fn refuses_message(&mut self, from: &DeviceAddress, to: &Jid, node: &Node) -> Option<Fault> {
        let resolved = self.accounts.resolve(to).map(|address| address.number);
        let is_peer = node.text("category").as_deref() == Some("peer");
        let to = (!is_peer).then(|| resolved.as_deref().unwrap_or(to.user.as_str()));
        self.strike(Kind::Nack, Whom::writing(from, to))
    }

    /// Whether a fault takes the acknowledgement of a message away, by itself or by ending the socket.
    fn keeps_silent(&mut self, from: &DeviceAddress) -> Option<Arrives> {
        let arrives = |delivers| if delivers { Arrives::Yes } else { Arrives::No };
        if let Some((ending, details)) = self.planned_end(Stage::Message, from) {
            self.end_socket_by(from, ending);
            return Some(arrives(details.delivers()));
        }
        let fault = self.strike(Kind::NoAck, from)?;
        Some(arrives(fault.details.delivers()))
    }

    /// Whether a fault damages the next message to a device; phones are spared unless it names device 0.
    pub(crate) fn damages_message_to(&mut self, target: &DeviceAddress) -> bool {
        let meant = target.device != 0 || self.faults.name_phone(Kind::CorruptCiphertext, &target.number);
        meant && self.strike(Kind::CorruptCiphertext, target).is_some()
    }

    fn receipt(&mut self, from: &DeviceAddress, node: &Node) -> Result<Vec<Node>> {
        let id = node.text("id").unwrap_or_default();
        let to = node.jid("to").context("a receipt without `to`")?;
        let kind = node.text("type");
        for id in receipt_ids(node) {
            self.receipted(from, &id);
        }
        let mut ack = NodeBuilder::new("ack")
            .attr("class", "receipt")
            .attr("id", id.as_str())
            .attr("from", to.clone())
            .attr("t", unix_seconds());
        if let Some(kind) = &kind {
            ack = ack.attr("type", kind.as_str());
        }
        if let Some(participant) = node.jid("participant") {
            ack = ack.attr("participant", participant);
        }
        if is_many(&to) {
            self.receipt_to_many(from, node, &to)?;
        } else if let Some(target) = self.accounts.resolve(&to) {
            let account = self.accounts.get(&from.number).context("the sender is gone")?;
            let mut stanza = NodeBuilder::new("receipt")
                .attr("from", account.device_jid(Form::of(&to), from.device))
                .attr("id", id.as_str())
                .attr("t", unix_seconds());
            if let Some(kind) = &kind {
                stanza = stanza.attr("type", kind.as_str());
            }
            if let Some(recipient) = node.jid("recipient") {
                stanza = stanza.attr("recipient", recipient);
            }
            if let Some(category) = node.text("category") {
                stanza = stanza.attr("category", category);
            }
            let stanza = stanza.apply_content(node.content.clone()).build();
            self.deliver_receipt(&target, kind.as_deref(), &stanza)?;
        }
        Ok(vec![ack.build()])
    }

    /// A receipt is also the acknowledgement of the message.
    fn receipted(&mut self, from: &DeviceAddress, id: &str) {
        self.forget_queued(from, |queue, up_to| queue.receipted(id, up_to));
    }

    fn acknowledged(&mut self, from: &DeviceAddress, node: &Node) {
        let (class, id) = (
            node.text("class").unwrap_or_default(),
            node.text("id").unwrap_or_default(),
        );
        let kind = node.text("type");
        self.forget_queued(from, |queue, up_to| {
            queue.acknowledge(&class, &id, kind.as_deref(), up_to)
        });
    }

    fn forget_queued(
        &mut self,
        from: &DeviceAddress,
        remove: impl FnOnce(&mut crate::queue::Queue, u64) -> Option<u64>,
    ) {
        let Some(up_to) = self.links.get(from).map(crate::login::Link::sent_up_to) else {
            return;
        };
        let account = self.accounts.get_mut(&from.number);
        let Some(companion) = account.and_then(|account| account.companions.get_mut(&from.device)) else {
            return;
        };
        if let Some(sequence) = remove(&mut companion.queue, up_to) {
            self.journal.delete(key::queued(&from.number, from.device, sequence));
            self.load.acknowledged(from, sequence);
        }
    }
}

/// What becomes of a message that is not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrives {
    Yes,
    No,
}

/// A message as its recipients get it, still without content.
fn forwarded(sender: &Account, from: &DeviceAddress, form: Form, node: &Node, id: &str) -> NodeBuilder {
    let mut stanza = NodeBuilder::new("message")
        .attr("from", sender.device_jid(form, from.device))
        .attr("id", id)
        .attr("type", node.text("type").unwrap_or_else(|| "text".to_owned()))
        .attr("t", unix_seconds())
        .attr("notify", sender.shown_name(from.device));
    stanza = match form {
        Form::Number => stanza.attr("sender_lid", sender.device_jid(Form::Lid, from.device)),
        Form::Lid => stanza.attr("sender_pn", sender.device_jid(Form::Number, from.device)),
    };
    for name in ["category", "edit"] {
        if let Some(value) = node.text(name) {
            stanza = stanza.attr(name, value);
        }
    }
    stanza
}

/// Every ciphertext of a message with the device it is for.
fn envelopes<'a>(node: &'a Node, to: &Jid) -> Vec<(Jid, &'a Node)> {
    let mut envelopes = Vec::new();
    if let Some(participants) = node.child("participants") {
        for target in participants.get_children_by_tag("to") {
            if let (Some(jid), Some(enc)) = (target.jid("jid"), target.child("enc")) {
                envelopes.push((jid, enc));
            }
        }
    }
    if let Some(enc) = node.child("enc") {
        envelopes.push((to.clone(), enc));
    }
    envelopes
}

/// All message ids a receipt speaks of.
pub(crate) fn receipt_ids(node: &Node) -> Vec<String> {
    let listed = node
        .child("list")
        .into_iter()
        .flat_map(|list| list.get_children_by_tag("item"));
    node.text("id")
        .into_iter()
        .chain(listed.filter_map(|item| item.text("id")))
        .collect()
}

/// Spoils the account's signature in a message's `device-identity`.
pub(crate) fn forge_identity(stanza: &mut Node) {
    let Some(NodeContent::Nodes(children)) = &mut stanza.content else {
        return;
    };
    for child in children.iter_mut().filter(|child| child.tag == "device-identity") {
        if let Some(bytes) = child.content() {
            child.content = Some(NodeContent::Bytes(crate::adv::spoiled(&bytes)));
        }
    }
}

/// Damages every ciphertext of a stanza.
fn corrupt(stanza: &mut Node) {
    let Some(NodeContent::Nodes(children)) = &mut stanza.content else {
        return;
    };
    for child in children.iter_mut().filter(|child| child.tag == "enc") {
        if let Some(mut bytes) = child.content() {
            damage(&mut bytes);
            child.content = Some(NodeContent::Bytes(bytes));
        }
    }
}

/// Flips a bit of a ciphertext's authentication code, which nobody can overlook.
///
/// The code ends a message, but not the envelope that opens a session: there the ids of the keys follow, and clients
/// find their way in spite of a wrong one.
pub(crate) fn damage(ciphertext: &mut [u8]) {
    let end = PreKeySignalMessage::try_from(&*ciphertext).ok().and_then(|envelope| {
        let message = envelope.message().serialized();
        let start = ciphertext.windows(message.len()).position(|window| window == message)?;
        Some(start + message.len())
    });
    let end = end.unwrap_or(ciphertext.len());
    if let Some(last) = ciphertext[..end].last_mut() {
        *last ^= 1;
    }
}
