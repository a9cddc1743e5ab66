//! `usync`: who is on WhatsApp, under which LID, with which devices.

use anyhow::Result;
use whatsapp_rust::wacore::messages::MessageUtils;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{Jid, Node};

use super::Answer;
use crate::account::{Account, DeviceAddress, Form};
use crate::stanza::Stanza as _;
use crate::world::World;

impl World {
    pub(crate) fn usync_iq(&mut self, from: &DeviceAddress, node: &Node) -> Result<Answer> {
        let Some(usync) = node.child("usync") else {
            return Ok(self.unknown("usync", node));
        };
        let wants = |protocol: &str| {
            usync
                .child("query")
                .is_some_and(|query| query.child(protocol).is_some())
        };
        let mut users = Vec::new();
        for user in usync
            .child("list")
            .into_iter()
            .flat_map(|list| list.get_children_by_tag("user"))
        {
            let Some(jid) = asked_for(user) else { continue };
            let address = self.accounts.resolve(&jid);
            if wants("devices")
                && let Some(address) = &address
            {
                self.watch(&address.number, &from.number)?;
            }
            let account = address.and_then(|address| self.accounts.get(&address.number));
            let mut children = Vec::new();
            if wants("contact") {
                let contact = NodeBuilder::new("contact").attr("type", if account.is_some() { "in" } else { "out" });
                children.push(match user.child_content("contact") {
                    Some(asked) => contact.bytes(asked).build(),
                    None => contact.build(),
                });
            }
            if wants("devices") {
                children.push(devices(account, Form::of(&jid))?);
            }
            if wants("lid")
                && let Some(account) = account
            {
                children.push(NodeBuilder::new("lid").attr("val", account.jid(Form::Lid)).build());
            }
            if wants("status") {
                children.push(NodeBuilder::new("status").build());
            }
            let mut answer = NodeBuilder::new("user").attr("jid", jid);
            if let Some(account) = account {
                answer = answer.attr("pn_jid", account.jid(Form::Number));
            }
            users.push(answer.children(children).build());
        }
        let mut answer = NodeBuilder::new("usync");
        for name in ["sid", "index", "last", "mode", "context"] {
            if let Some(value) = usync.text(name) {
                answer = answer.attr(name, value);
            }
        }
        Ok(Answer::Result(vec![
            answer
                .children([NodeBuilder::new("list").children(users).build()])
                .build(),
        ]))
    }
}

/// The address a `<user>` means: an attribute, or a number inside `<contact>`.
fn asked_for(user: &Node) -> Option<Jid> {
    if let Some(jid) = user.jid("jid").or_else(|| user.jid("pn_jid")) {
        return Some(jid.to_non_ad());
    }
    let number = String::from_utf8(user.child_content("contact")?).ok()?;
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    (!digits.is_empty()).then(|| Jid::pn(digits))
}

/// The devices of an account with the signed list of its companions; none for a number that is not on WhatsApp.
fn devices(account: Option<&Account>, form: Form) -> Result<Node> {
    let Some(account) = account else {
        return Ok(NodeBuilder::new("devices")
            .children([NodeBuilder::new("device-list").build()])
            .build());
    };
    let jids: Vec<Jid> = account
        .devices()
        .into_iter()
        .map(|device| account.device_jid(form, device))
        .collect();
    let listed = std::iter::once(NodeBuilder::new("device").attr("id", 0).build()).chain(
        account.companions.iter().map(|(device, companion)| {
            NodeBuilder::new("device")
                .attr("id", *device)
                .attr("key-index", companion.record.key_index)
                .build()
        }),
    );
    let hash = MessageUtils::participant_list_hash(&jids)?;
    let mut children = vec![
        NodeBuilder::new("device-list")
            .attr("hash", hash)
            .children(listed)
            .build(),
    ];
    if account.next_key_index > 1 {
        children.push(
            NodeBuilder::new("key-index-list")
                .attr("ts", account.devices_changed_at)
                .bytes(account.key_index_list()?)
                .build(),
        );
    }
    Ok(NodeBuilder::new("devices").children(children).build())
}
