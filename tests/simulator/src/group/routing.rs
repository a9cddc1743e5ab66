//! Messages and receipts to many: one ciphertext for all devices of all members, and a sender key for those who need it.
//!
//! What clients send: whatsapp-rust `wacore/src/send/group`, `send/status`; Baileys `Socket/messages-send`; zapo-js
//! `transport/node/builders/message`. What they expect: `participant` names the writing device, `participant_pn` or
//! `participant_lid` its other name (whatsapp-rust `parse_message_info`, Baileys `Utils/decode-wa-message`).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use whatsapp_rust::wacore::messages::MessageUtils;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{Jid, JidExt as _, Node, NodeContent, Server};

use super::Group;
use super::node::{mode, with_participant};
use crate::account::{Account, Accounts, DeviceAddress, Form};
use crate::clock::unix_seconds;
use crate::device_list::told_devices;
use crate::fault::Kind;
use crate::phone::chat::Chat;
use crate::routing::{damage, forge_identity};
use crate::stanza::Stanza as _;
use crate::world::World;

/// The writer is not in the group, or may not write there.
const FORBIDDEN: u16 = 403;
/// There is no such group.
const NOT_FOUND: u16 = 404;
/// The client thinks that the group names its members the other way (whatsapp-rust `protocol/nack`).
const STALE_ADDRESSING: u16 = 421;
/// The stanza is malformed.
const MALFORMED: u16 = 479;

/// Whether an address means many people.
pub(crate) fn is_many(jid: &Jid) -> bool {
    matches!(jid.server, Server::Group | Server::Broadcast)
}

/// Everybody's device list in a group, as clients hash it: all devices of all members, the writer's included.
fn devices_hash(accounts: &Accounts, group: &Group) -> Result<String> {
    let devices: Vec<Jid> = told_devices(accounts, &group.numbers())
        .iter()
        .filter_map(|address| Some(accounts.get(&address.number)?.device_jid(group.form(), address.device)))
        .collect();
    MessageUtils::participant_list_hash(&devices)
}

/// A message to many as its recipients get it, still without content.
pub(crate) fn stanza_to_many(chat: &Jid, sender: &Account, form: Form, device: u16, id: &str) -> NodeBuilder {
    let stanza = NodeBuilder::new("message")
        .attr("from", chat.clone())
        .attr("id", id)
        .attr("t", unix_seconds())
        .attr("notify", sender.phone.push_name.as_str());
    let stanza = with_participant(stanza, sender, form, device);
    if chat.server == Server::Group {
        stanza.attr("addressing_mode", mode(form))
    } else {
        stanza
    }
}

impl World {
    /// How a chat with many names people.
    pub(crate) fn form_in(&self, chat: &Jid) -> Form {
        self.groups.at(chat).map_or(Form::Lid, Group::form)
    }

    /// The same for a chat as a phone sees it; `otherwise` where two persons choose for themselves.
    pub(crate) fn form_in_chat(&self, chat: &Chat, otherwise: Form) -> Form {
        chat.shared_jid().map_or(otherwise, |jid| self.form_in(&jid))
    }

    /// Forwards a client's message to a group or status, and gives what the acknowledgement says beside "taken".
    pub(crate) fn message_to_many(&mut self, from: &DeviceAddress, node: &Node, id: &str, to: &Jid) -> Result<Verdict> {
        if to.server == Server::Broadcast && !to.is_status_broadcast() {
            return Ok(Verdict::Refused(NOT_FOUND));
        }
        let mut verdict = Verdict::Taken;
        if to.server == Server::Group {
            let Some(group) = self.groups.at(to) else {
                return Ok(Verdict::Refused(NOT_FOUND));
            };
            let may_write = group
                .role(&from.number)
                .is_some_and(|role| role.is_admin() || !group.announce);
            if !may_write {
                return Ok(Verdict::Refused(FORBIDDEN));
            }
            if node
                .text("addressing_mode")
                .is_some_and(|named| named != mode(group.form()))
            {
                return Ok(Verdict::Refused(STALE_ADDRESSING));
            }
            if let Some(phash) = node.text("phash") {
                let right = devices_hash(&self.accounts, group)?;
                if phash != right {
                    verdict = Verdict::OtherDevices(right);
                }
            }
        }
        let Some(deliveries) = self.envelopes_to_many(from, node, to) else {
            return Ok(Verdict::Refused(MALFORMED));
        };
        for (target, encs) in deliveries {
            let mut stanza = self.forwarded_to_many(from, node, id, to, encs)?;
            if self.damages_message_to(&target) {
                corrupt_last(&mut stanza);
            }
            if stanza.child("device-identity").is_some() && self.strike(Kind::DeviceIdentity, from).is_some() {
                forge_identity(&mut stanza);
            }
            self.deliver(&target, stanza)?;
        }
        Ok(verdict)
    }

    /// Which device gets which ciphertexts; `None` when there is nothing that anybody could read.
    fn envelopes_to_many(
        &self,
        from: &DeviceAddress,
        node: &Node,
        to: &Jid,
    ) -> Option<BTreeMap<DeviceAddress, Vec<Node>>> {
        let common = node.child("enc");
        if let Some(single) = node.jid("participant") {
            // A repetition for one device that could not read the first.
            let target = self.accounts.resolve(&single)?;
            let member = self
                .groups
                .at(to)
                .is_none_or(|group| group.role(&target.number).is_some());
            return member
                .then(|| BTreeMap::from([(target, vec![common?.clone()])]).into())
                .flatten();
        }
        if common.is_some_and(|enc| enc.text("type").as_deref() != Some("skmsg")) {
            return None;
        }
        let listed = || {
            let participants = node.child("participants");
            participants.into_iter().flat_map(|node| node.get_children_by_tag("to"))
        };
        let mut keys: BTreeMap<DeviceAddress, Node> = BTreeMap::new();
        let mut named = BTreeSet::from([from.number.clone()]);
        for target in listed() {
            let Some(address) = target.jid("jid").and_then(|jid| self.accounts.resolve(&jid)) else {
                continue;
            };
            named.insert(address.number.clone());
            if let Some(enc) = target.child("enc") {
                keys.insert(address, enc.clone());
            }
        }
        // A group's members get its messages; a status goes to those whom the writer names.
        let numbers: Vec<String> = if let Some(group) = self.groups.at(to) {
            group.numbers()
        } else {
            let reached = named.into_iter().filter(|number| !self.are_apart(&from.number, number));
            reached.collect()
        };
        let mut deliveries = BTreeMap::new();
        for address in told_devices(&self.accounts, &numbers) {
            let encs: Vec<Node> = keys.remove(&address).into_iter().chain(common.cloned()).collect();
            if address != *from && !encs.is_empty() {
                deliveries.insert(address, encs);
            }
        }
        (common.is_some() || !deliveries.is_empty()).then_some(deliveries)
    }

    fn forwarded_to_many(
        &self,
        from: &DeviceAddress,
        node: &Node,
        id: &str,
        to: &Jid,
        mut children: Vec<Node>,
    ) -> Result<Node> {
        let sender = self.accounts.get(&from.number).context("the sender is gone")?;
        let mut stanza = stanza_to_many(to, sender, self.form_in(to), from.device, id)
            .attr("type", node.text("type").unwrap_or_else(|| "text".to_owned()));
        for name in ["category", "edit"] {
            if let Some(value) = node.text(name) {
                stanza = stanza.attr(name, value);
            }
        }
        if children.iter().any(|enc| enc.text("type").as_deref() == Some("pkmsg")) {
            children.extend(node.child("device-identity").cloned());
        }
        children.extend(node.child("meta").cloned());
        Ok(stanza.children(children).build())
    }

    /// Forwards a client's receipt for a message in a group or status to the one who wrote it.
    pub(crate) fn receipt_to_many(&mut self, from: &DeviceAddress, node: &Node, to: &Jid) -> Result<()> {
        let Some(author) = node.jid("participant").and_then(|jid| self.accounts.resolve(&jid)) else {
            return Ok(());
        };
        // Nobody outside a group says anything about what is written there.
        if to.server == Server::Group && self.own_group(&from.number, &to.user).is_err() {
            return Ok(());
        }
        let kind = node.text("type");
        let account = self.accounts.get(&from.number).context("the sender is gone")?;
        let stanza = receipt_from_many(
            to,
            account,
            self.form_in(to),
            from.device,
            &node.text("id").unwrap_or_default(),
            kind.as_deref(),
        )
        .apply_content(node.content.clone())
        .build();
        self.deliver_receipt(&author, kind.as_deref(), &stanza)
    }

    /// A delivery goes back to the device that wrote; that somebody has read concerns all of the account.
    pub(crate) fn deliver_receipt(&mut self, author: &DeviceAddress, kind: Option<&str>, stanza: &Node) -> Result<()> {
        if !matches!(kind, Some("read" | "played")) {
            return self.deliver(author, stanza.clone());
        }
        let account = self.accounts.get(&author.number);
        for device in account.map(Account::devices).unwrap_or_default() {
            self.deliver(&DeviceAddress::new(&author.number, device), stanza.clone())?;
        }
        Ok(())
    }
}

/// A receipt for a message to many, as its writer gets it, still without content.
pub(crate) fn receipt_from_many(
    chat: &Jid,
    reader: &Account,
    form: Form,
    device: u16,
    id: &str,
    kind: Option<&str>,
) -> NodeBuilder {
    let receipt = NodeBuilder::new("receipt")
        .attr("from", chat.clone())
        .attr("id", id)
        .attr("t", unix_seconds());
    let receipt = with_participant(receipt, reader, form, device);
    match kind {
        Some(kind) => receipt.attr("type", kind),
        None => receipt,
    }
}

/// What the server says to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Taken,
    /// Taken, but the client's list of devices is not ours, whose hash this is.
    OtherDevices(String),
    Refused(u16),
}

impl Verdict {
    /// Completes an acknowledgement.
    pub(crate) fn write(self, ack: NodeBuilder) -> NodeBuilder {
        match self {
            Self::Taken => ack,
            Self::OtherDevices(phash) => ack.attr("phash", phash),
            Self::Refused(code) => ack.attr("error", code),
        }
    }
}

/// Damages the last ciphertext, which is the message itself; a sender key in front of it stays whole.
fn corrupt_last(stanza: &mut Node) {
    let Some(NodeContent::Nodes(children)) = &mut stanza.content else {
        return;
    };
    let Some(enc) = children.iter_mut().rfind(|child| child.tag == "enc") else {
        return;
    };
    if let Some(mut bytes) = enc.content() {
        damage(&mut bytes);
        enc.content = Some(NodeContent::Bytes(bytes));
    }
}
