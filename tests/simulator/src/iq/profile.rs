//! What accounts show of themselves: picture, about text, timer for new chats, email, business card.

use anyhow::{Context as _, Result};
use whatsapp_rust::buffa::Message as _;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{Node, Server};
use whatsapp_rust::waproto::whatsapp as wa;

use super::Answer;
use crate::account::{Account, DeviceAddress, Form};
use crate::clock::unix_seconds;
use crate::pictures::Pictures;
use crate::profile::{About, Business, Disappearing};
use crate::stanza::{Stanza as _, bytes_child};
use crate::world::World;

/// No about text is longer.
const LONGEST_ABOUT: usize = 1_000;
/// No other text of a profile is longer.
const LONGEST_TEXT: usize = 4_000;
/// A business names at most two websites (zapo-js `buildEditBusinessProfileIq`).
const MOST_WEBSITES: usize = 2;

impl World {
    /// `w:profile:picture`: `target` says whose; without it the asker's own.
    pub(crate) fn picture_iq(&mut self, from: &DeviceAddress, node: &Node) -> Result<Answer> {
        let target = node.jid("target");
        if target.as_ref().is_some_and(|target| target.server == Server::Group) {
            return Ok(Answer::Error(404, "item-not-found"));
        }
        let owner = match &target {
            Some(target) => self.accounts.resolve(&target.to_non_ad()).map(|owner| owner.number),
            None => Some(from.number.clone()),
        };
        let Some(owner) = owner else {
            return Ok(Answer::Error(404, "item-not-found"));
        };
        let picture = node.child("picture");
        if node.text("type").as_deref() == Some("set") {
            if owner != from.number {
                return Ok(Answer::Error(403, "forbidden"));
            }
            let jpeg = picture.and_then(crate::stanza::Stanza::content);
            if picture.is_some() && !jpeg.as_deref().is_some_and(Pictures::accepts) {
                return Ok(Answer::Error(406, "not-acceptable"));
            }
            let id = self.changes_picture(&owner, jpeg, Some(from))?;
            return Ok(Answer::Result(
                id.map(|id| NodeBuilder::new("picture").attr("id", id).build())
                    .into_iter()
                    .collect(),
            ));
        }
        let Some(asked) = picture else {
            return Ok(Answer::Error(400, "bad-request"));
        };
        if !self.may_see("profile", &owner, &from.number) {
            return Ok(Answer::Error(401, "not-authorized"));
        }
        let Some(picture) = self.pictures.of(&owner) else {
            return Ok(Answer::Error(404, "item-not-found"));
        };
        if asked.text("id") == Some(picture.id.to_string()) {
            // The asker has it already.
            return Ok(Answer::Result(vec![NodeBuilder::new("picture").build()]));
        }
        let path = picture.path();
        let url = format!("https://{}{path}", self.media.host);
        Ok(Answer::Result(vec![
            NodeBuilder::new("picture")
                .attr("id", picture.id)
                .attr("type", asked.text("type").unwrap_or_else(|| "preview".to_owned()))
                .attr("url", url)
                .attr("direct_path", path)
                .build(),
        ]))
    }

    /// `status`: the asker's own about text.
    pub(crate) fn about_iq(&mut self, from: &DeviceAddress, node: &Node) -> Result<Answer> {
        let (Some("set"), Some(status)) = (node.text("type").as_deref(), node.child("status")) else {
            return Ok(self.unknown("status", node));
        };
        let text = String::from_utf8(status.content().unwrap_or_default()).unwrap_or_default();
        if text.len() > LONGEST_ABOUT {
            return Ok(Answer::Error(406, "not-acceptable"));
        }
        self.changes_about(&from.number, &text, Some(from))?;
        Ok(Answer::Result(Vec::new()))
    }

    /// An account says something else of itself.
    pub(crate) fn changes_about(&mut self, number: &str, text: &str, by: Option<&DeviceAddress>) -> Result<()> {
        let at = unix_seconds();
        self.change_profile(number, |profile| {
            profile.about = About {
                text: text.to_owned(),
                at,
            };
        })?;
        self.tell_who_knows(number, "status", "status", by, |_| {
            vec![bytes_child("set", text.as_bytes().to_vec())]
        })
    }

    /// `disappearing_mode`: the timer for new chats.
    pub(crate) fn disappearing_iq(&mut self, from: &DeviceAddress, node: &Node) -> Result<Answer> {
        let seconds = node
            .child("disappearing_mode")
            .and_then(|mode| mode.text("duration"))
            .and_then(|seconds| seconds.parse().ok());
        let (Some("set"), Some(seconds)) = (node.text("type").as_deref(), seconds) else {
            return Ok(Answer::Error(400, "bad-request"));
        };
        let mode = Disappearing {
            seconds,
            at: unix_seconds(),
        };
        self.change_profile(&from.number, |profile| profile.disappearing = mode)?;
        self.tell_other_companions(from, vec![disappearing(mode)])?;
        Ok(Answer::Result(Vec::new()))
    }

    /// `urn:xmpp:whatsapp:account`: the email address of the account; no simulated mailbox ever confirms one.
    pub(crate) fn account_iq(&mut self, from: &DeviceAddress, node: &Node) -> Result<Answer> {
        let Some(asked) = node.child("email") else {
            return Ok(self.unknown("urn:xmpp:whatsapp:account", node));
        };
        if node.text("type").as_deref() == Some("set") {
            let address = asked.child_content("email_address").unwrap_or_default();
            let Some(address) = String::from_utf8(address)
                .ok()
                .filter(|address| address.contains('@') && address.len() <= LONGEST_TEXT)
            else {
                return Ok(Answer::Error(400, "bad-request"));
            };
            self.change_profile(&from.number, |profile| profile.email = Some(address))?;
        }
        let account = self.accounts.get(&from.number).context("the account is gone")?;
        let mut email = NodeBuilder::new("email").attr("verified", "false");
        if let Some(address) = &account.profile.email {
            email = email.children([bytes_child("email_address", address.as_bytes().to_vec())]);
        }
        Ok(Answer::Result(vec![email.build()]))
    }

    /// `w:biz`: business cards, verified names, changes of the own card.
    pub(crate) fn business_iq(&mut self, from: &DeviceAddress, node: &Node) -> Result<Answer> {
        let setting = node.text("type").as_deref() == Some("set");
        if let Some(asked) = node.child("business_profile") {
            if setting {
                return self.change_business(from, asked);
            }
            let mut cards = Vec::new();
            for profile in asked.get_children_by_tag("profile") {
                let Some(jid) = profile.jid("jid") else {
                    return Ok(Answer::Error(400, "bad-request"));
                };
                let owner = self.accounts.resolve(&jid.to_non_ad());
                let account = owner.and_then(|owner| self.accounts.get(&owner.number));
                if let Some(business) = account.and_then(|account| account.profile.business.as_ref()) {
                    cards.push(card(business).attr("jid", jid).build());
                }
            }
            let version = asked.text("v").unwrap_or_else(|| "116".to_owned());
            let answer = NodeBuilder::new("business_profile").attr("v", version).children(cards);
            return Ok(Answer::Result(vec![answer.build()]));
        }
        if let Some(asked) = node.child("verified_name").filter(|_| !setting) {
            let owner = asked.jid("jid").and_then(|jid| self.accounts.resolve(&jid.to_non_ad()));
            let account = owner.and_then(|owner| self.accounts.get(&owner.number));
            return Ok(match account.map(verified_name).transpose()?.flatten() {
                Some(name) => Answer::Result(vec![name]),
                None => Answer::Error(404, "item-not-found"),
            });
        }
        Ok(self.unknown("w:biz", node))
    }

    fn change_business(&mut self, from: &DeviceAddress, asked: &Node) -> Result<Answer> {
        let text = |tag: &str| {
            let bytes = asked.child_content(tag)?;
            String::from_utf8(bytes).ok().filter(|text| text.len() <= LONGEST_TEXT)
        };
        let websites: Vec<String> = asked
            .get_children_by_tag("website")
            .filter_map(|website| String::from_utf8(website.content()?).ok())
            .collect();
        if websites.len() > MOST_WEBSITES {
            return Ok(Answer::Error(400, "bad-request"));
        }
        let names_websites = asked.child("website").is_some();
        let changed = self.change_profile(&from.number, |profile| {
            let Some(business) = &mut profile.business else {
                return false;
            };
            for (tag, field) in [
                ("description", &mut business.description),
                ("address", &mut business.address),
                ("email", &mut business.email),
            ] {
                if let Some(text) = text(tag) {
                    *field = text;
                }
            }
            if names_websites {
                business.websites = websites;
            }
            true
        })?;
        Ok(if changed {
            Answer::Result(Vec::new())
        } else {
            Answer::Error(403, "forbidden")
        })
    }
}

/// The timer for new chats as answers and notifications carry it.
pub(super) fn disappearing(mode: Disappearing) -> Node {
    NodeBuilder::new("disappearing_mode")
        .attr("duration", mode.seconds)
        .attr("t", mode.at)
        .build()
}

fn card(business: &Business) -> NodeBuilder {
    let mut children: Vec<Node> = [
        ("description", &business.description),
        ("address", &business.address),
        ("email", &business.email),
    ]
    .into_iter()
    .filter(|(_, text)| !text.is_empty())
    .map(|(tag, text)| bytes_child(tag, text.as_bytes().to_vec()))
    .collect();
    children.extend(
        business
            .websites
            .iter()
            .map(|website| bytes_child("website", website.as_bytes().to_vec())),
    );
    if !business.category.is_empty() {
        let mut category = bytes_child("category", business.category.as_bytes().to_vec());
        category.attrs.insert("id", "1");
        children.push(NodeBuilder::new("categories").children([category]).build());
    }
    NodeBuilder::new("profile").children(children)
}

/// The name that a business signs with its own identity; `None` for people.
pub(super) fn verified_name(account: &Account) -> Result<Option<Node>> {
    let Some(business) = &account.profile.business else {
        return Ok(None);
    };
    let name = if business.name.is_empty() {
        &account.phone.push_name
    } else {
        &business.name
    };
    let serial = u64::from(account.raw_id);
    let details = wa::verified_name_certificate::Details {
        serial: Some(serial),
        issuer: Some("smb:wa".to_owned()),
        verified_name: Some(name.clone()),
        ..Default::default()
    }
    .encode_to_vec();
    let signature = account
        .phone
        .signal
        .identity()
        .private_key
        .calculate_signature(&details, &mut rand::rng())
        .map_err(|error| anyhow::anyhow!("cannot sign a business name: {error}"))?;
    let certificate = wa::VerifiedNameCertificate {
        details: Some(details),
        signature: Some(signature.to_vec()),
        ..Default::default()
    };
    Ok(Some(
        NodeBuilder::new("verified_name")
            .attr("v", "1")
            .attr("verified_level", "unknown")
            .attr("serial", serial)
            .attr("jid", account.jid(Form::Number))
            .bytes(certificate.encode_to_vec())
            .build(),
    ))
}
