//! Calls: who rings whom, carried as `<call>` stanzas that wait like messages until they are acknowledged.
//!
//! The server remembers every call, so that a phone's owner can look at it and hang up. Media does not flow here: an
//! offer carries the real, encrypted call key and no relay.

use std::collections::VecDeque;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{Jid, Node, NodeContent};

use crate::account::{DeviceAddress, Form};
use crate::clock::unix_seconds;
use crate::stanza::{Stanza as _, fresh_id};
use crate::state::{Journal, Records};
use crate::world::World;

/// Calls remembered; the oldest are forgotten.
const MOST_CALLS: usize = 500;
/// Where the calls stand in the journal.
const PREFIX: &str = "call/";

/// How a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CallState {
    Ringing,
    Accepted,
    Rejected,
    Ended,
}

/// One call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Call {
    /// As the caller chose it.
    pub(crate) id: String,
    /// The caller's number …
    pub(crate) from: String,
    /// … and device.
    pub(crate) from_device: u16,
    /// The number that is called.
    pub(crate) to: String,
    /// Whether it began as a video call.
    pub(crate) video: bool,
    pub(crate) state: CallState,
    /// The device that accepted or rejected.
    pub(crate) taken_by: Option<u16>,
    /// Why it ended, if somebody said so.
    pub(crate) reason: Option<String>,
    /// Whether the addresses on the wire are LIDs.
    pub(crate) by_lid: bool,
    /// When it began.
    pub(crate) at: u64,
}

impl Call {
    /// The device that called.
    pub(crate) fn creator(&self) -> DeviceAddress {
        DeviceAddress::new(&self.from, self.from_device)
    }

    /// Whether it still rings or is under way.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, CallState::Ringing | CallState::Accepted)
    }

    /// The address form of its stanzas.
    pub(crate) fn form(&self) -> Form {
        if self.by_lid { Form::Lid } else { Form::Number }
    }
}

/// All calls, the oldest first.
#[derive(Default)]
pub(crate) struct Calls {
    calls: VecDeque<(u64, Call)>,
    last: u64,
}

impl Calls {
    /// What a state folder knows of calls.
    pub(crate) fn restore(records: &Records) -> Result<Self> {
        let mut calls = Self::default();
        for (name, value) in records.range(PREFIX.to_owned()..) {
            let Some(index) = name.strip_prefix(PREFIX) else { break };
            calls.last = index.parse()?;
            calls.calls.push_back((calls.last, serde_json::from_slice(value)?));
        }
        Ok(calls)
    }

    /// The newest call with an id.
    pub(crate) fn get(&self, id: &str) -> Option<&Call> {
        self.calls.iter().rev().map(|(_, call)| call).find(|call| call.id == id)
    }

    /// All calls of a number, the oldest first.
    pub(crate) fn of<'a>(&'a self, number: &'a str) -> impl Iterator<Item = &'a Call> {
        self.calls
            .iter()
            .map(|(_, call)| call)
            .filter(move |call| call.from == number || call.to == number)
    }

    fn add(&mut self, call: Call, journal: &mut Journal) -> Result<()> {
        if self.calls.len() == MOST_CALLS
            && let Some((oldest, _)) = self.calls.pop_front()
        {
            journal.delete(key(oldest));
        }
        self.last += 1;
        journal.put(key(self.last), serde_json::to_vec(&call)?);
        self.calls.push_back((self.last, call));
        Ok(())
    }

    fn change(&mut self, id: &str, journal: &mut Journal, change: impl FnOnce(&mut Call)) -> Result<()> {
        if let Some((index, call)) = self.calls.iter_mut().rev().find(|(_, call)| call.id == id) {
            change(call);
            journal.put(key(*index), serde_json::to_vec(call)?);
        }
        Ok(())
    }
}

fn key(index: u64) -> String {
    format!("{PREFIX}{index:020}")
}

impl World {
    /// A client's `<call>`: acknowledged, and carried to the other side.
    pub(crate) fn client_call(&mut self, from: &DeviceAddress, node: &Node) -> Result<Vec<Node>> {
        let Some(to) = node.jid("to") else {
            return Ok(Vec::new());
        };
        let Some(action) = node.children().and_then(|children| children.first()) else {
            return Ok(vec![ack(node, &to, None, Some(400))]);
        };
        let kind = Some(action.tag.to_string());
        let (Some(id), Some(_)) = (action.text("call-id"), action.jid("call-creator")) else {
            // Call links and other services of the server itself are not offered here.
            return Ok(vec![ack(node, &to, kind, Some(501))]);
        };
        if action.tag == "offer" {
            let Some(callee) = self.accounts.resolve(&to) else {
                return Ok(vec![ack(node, &to, kind, Some(404))]);
            };
            if callee.number == from.number || self.calls.get(&id).is_some() {
                return Ok(vec![ack(node, &to, kind, Some(400))]);
            }
            self.client_offers(from, &callee.number, node, action, &id)?;
        } else if let Some(call) = self.calls.get(&id).cloned()
            && (call.to == from.number || call.creator() == *from)
        {
            self.call_goes_on(from, &call, action, to.device)?;
        }
        // The call may have ended meanwhile; who speaks of it is not told off for that.
        Ok(vec![ack(node, &to, kind, None)])
    }

    fn client_offers(&mut self, from: &DeviceAddress, callee: &str, node: &Node, offer: &Node, id: &str) -> Result<()> {
        let by_lid = node.jid("to").is_some_and(|to| Form::of(&to) == Form::Lid);
        self.call_begins(from, callee, id, offer.child("video").is_some(), by_lid)?;
        if self.has_blocked(callee, &from.number) {
            return Ok(());
        }
        let mut common = Vec::new();
        let mut sealed: Vec<(DeviceAddress, Node)> = Vec::new();
        for child in offer.children().unwrap_or_default() {
            match child.tag.as_ref() {
                "destination" => {
                    for target in child.get_children_by_tag("to") {
                        let address = target.jid("jid").and_then(|jid| self.accounts.resolve(&jid));
                        if let (Some(address), Some(enc)) = (address, target.child("enc")) {
                            sealed.push((address, enc.clone()));
                        }
                    }
                }
                "enc" => sealed.push((DeviceAddress::phone(callee), child.clone())),
                _ => common.push(child.clone()),
            }
        }
        for (target, enc) in sealed.into_iter().filter(|(target, _)| target.number == callee) {
            let mut offer = offer.clone();
            let children = common.iter().cloned().chain([enc]).collect();
            offer.content = Some(NodeContent::Nodes(children));
            self.carry(from, &target, id, offer)?;
        }
        Ok(())
    }

    /// Notes a new call.
    pub(crate) fn call_begins(
        &mut self,
        from: &DeviceAddress,
        to: &str,
        id: &str,
        video: bool,
        by_lid: bool,
    ) -> Result<()> {
        let call = Call {
            id: id.to_owned(),
            from: from.number.clone(),
            from_device: from.device,
            to: to.to_owned(),
            video,
            state: CallState::Ringing,
            taken_by: None,
            reason: None,
            by_lid,
            at: unix_seconds(),
        };
        self.calls.add(call, &mut self.journal)
    }

    /// Somebody accepts, rejects, ends or otherwise speaks of a call; the other side hears it.
    pub(crate) fn call_goes_on(
        &mut self,
        from: &DeviceAddress,
        call: &Call,
        action: &Node,
        to_device: u16,
    ) -> Result<()> {
        let reason = action.text("reason");
        let by_callee = from.number == call.to;
        // A caller tells the callee's other devices that one of them has taken the call; that ends it for them only.
        let elsewhere = reason.as_deref().is_some_and(|reason| reason.ends_with("_elsewhere"));
        let state = match action.tag.as_ref() {
            "accept" if call.state == CallState::Ringing && by_callee => Some(CallState::Accepted),
            "reject" if call.is_open() && by_callee && reason.as_deref() != Some("busy") => Some(CallState::Rejected),
            "terminate" if call.is_open() && !elsewhere => Some(CallState::Ended),
            _ => None,
        };
        if let Some(state) = state {
            self.calls.change(&call.id, &mut self.journal, |call| {
                call.state = state;
                if by_callee && state != CallState::Ended {
                    call.taken_by = Some(from.device);
                }
                call.reason = reason;
            })?;
        }
        if self.has_blocked(&call.to, &call.from) {
            return Ok(());
        }
        if by_callee {
            return self.carry(from, &call.creator(), &call.id, action.clone());
        }
        let devices = match to_device {
            0 => self.accounts.get(&call.to).context("the callee is gone")?.devices(),
            device => vec![device],
        };
        for device in devices {
            self.carry(from, &DeviceAddress::new(&call.to, device), &call.id, action.clone())?;
        }
        Ok(())
    }

    /// Queues one action of a call for one device.
    ///
    /// Addresses inside are the server's business: whatever the sender wrote, the creator is the device that called.
    pub(crate) fn carry(&mut self, from: &DeviceAddress, to: &DeviceAddress, id: &str, mut action: Node) -> Result<()> {
        let call = self.calls.get(id).context("no such call")?;
        let form = call.form();
        let creator = self.accounts.get(&call.from).context("the caller is gone")?;
        action
            .attrs
            .insert("call-creator", creator.device_jid(form, call.from_device));
        if action.tag == "offer" && form == Form::Lid {
            action.attrs.insert("caller_pn", creator.jid(Form::Number));
        }
        let sender = self.accounts.get(&from.number).context("the sender is gone")?;
        let call = NodeBuilder::new("call")
            .attr("from", sender.device_jid(form, from.device))
            .attr("id", fresh_id())
            .attr("t", unix_seconds())
            .attr("notify", sender.shown_name(from.device))
            .children([action])
            .build();
        self.deliver(to, call)
    }
}

fn ack(call: &Node, to: &Jid, kind: Option<String>, error: Option<u16>) -> Node {
    let mut ack = NodeBuilder::new("ack")
        .attr("class", "call")
        .attr("id", call.text("id").unwrap_or_default())
        .attr("from", to.clone())
        .attr("t", unix_seconds());
    if let Some(kind) = kind {
        ack = ack.attr("type", kind);
    }
    if let Some(error) = error {
        ack = ack.attr("error", error);
    }
    ack.build()
}
