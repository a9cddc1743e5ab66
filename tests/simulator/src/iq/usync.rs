//! `usync`: who is on WhatsApp, under which LID, with which devices.

use anyhow::Result;
use whatsapp_rust::wacore::messages::MessageUtils;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{Jid, Node, Server};

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
                let kind = match account {
                    Some(_) => "in",
                    None if could_be_a_number(&jid) => "out",
                    None => "invalid",
                };
                let contact = NodeBuilder::new("contact").attr("type", kind);
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
            if let Some(account) = account {
                children.extend(self.shown_in_usync(account, from, &wants)?);
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

impl World {
    /// What an account shows of itself to who asks.
    fn shown_in_usync(
        &self,
        account: &Account,
        from: &DeviceAddress,
        wants: &impl Fn(&str) -> bool,
    ) -> Result<Vec<Node>> {
        let mut shown = Vec::new();
        let hidden = |category| !self.may_see(category, &account.number, &from.number);
        if wants("status") {
            let about = &account.profile.about;
            let status = NodeBuilder::new("status").attr("t", about.at);
            shown.push(if hidden("status") {
                status.attr("code", "401").attr("type", "fail").build()
            } else {
                status.bytes(about.text.as_bytes().to_vec()).build()
            });
        }
        if wants("picture")
            && let Some(picture) = self.pictures.of(&account.number).filter(|_| !hidden("profile"))
        {
            shown.push(NodeBuilder::new("picture").attr("id", picture.id).build());
        }
        if wants("disappearing_mode") {
            shown.push(super::profile::disappearing(account.profile.disappearing));
        }
        if wants("business")
            && let Some(name) = super::profile::verified_name(account)?
        {
            shown.push(NodeBuilder::new("business").children([name]).build());
        }
        Ok(shown)
    }
}

/// Whether an address can be somebody's at all: a telephone number has 5 to 15 digits.
fn could_be_a_number(jid: &Jid) -> bool {
    jid.server == Server::Lid || (5..=15).contains(&jid.user.len())
}

/// The address a `<user>` means: an attribute, or a number inside `<contact>`.
fn asked_for(user: &Node) -> Option<Jid> {
    if let Some(jid) = user.jid("jid").or_else(|| user.jid("pn_jid")) {
        return Some(jid.to_non_ad());
    }
    if let Some(jid) = user.child("lid").and_then(|lid| lid.jid("jid")) {
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
