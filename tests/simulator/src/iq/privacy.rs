//! `privacy` and `blocklist`: who may see, reach and trust whom.

use anyhow::{Context as _, Result};
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{Jid, Node};

use super::Answer;
use crate::account::{DeviceAddress, Form};
use crate::clock::unix_seconds;
use crate::profile::{CATEGORIES, Token, list_hash};
use crate::stanza::{Stanza as _, fresh_id};
use crate::world::World;

/// No account blocks or excepts more than this.
const LONGEST_LIST: usize = 2_000;

impl World {
    /// Settings, exceptions to them, and trusted-contact tokens.
    pub(crate) fn privacy_iq(&mut self, from: &DeviceAddress, node: &Node) -> Result<Answer> {
        if let Some(tokens) = node.child("tokens") {
            return self.give_tokens(from, tokens);
        }
        let Some(asked) = node.child("privacy") else {
            return Ok(self.unknown("privacy", node));
        };
        if node.text("type").as_deref() == Some("set") {
            return self.set_privacy(from, asked);
        }
        if let Some(list) = asked.child("list") {
            return self.exceptions(from, list);
        }
        let account = self.accounts.get(&from.number).context("the account is gone")?;
        let categories = CATEGORIES.iter().filter_map(|(name, _)| {
            let category = NodeBuilder::new("category").attr("name", *name);
            Some(category.attr("value", account.profile.privacy(name)?).build())
        });
        Ok(Answer::Result(vec![
            NodeBuilder::new("privacy").children(categories).build(),
        ]))
    }

    fn set_privacy(&mut self, from: &DeviceAddress, asked: &Node) -> Result<Answer> {
        let mut answers = Vec::new();
        for category in asked.get_children_by_tag("category") {
            let (name, value) = (
                category.text("name").unwrap_or_default(),
                category.text("value").unwrap_or_default(),
            );
            let users: Vec<(String, bool)> = category
                .get_children_by_tag("user")
                .filter_map(|user| {
                    let other = self.accounts.resolve(&user.jid("jid")?)?;
                    Some((other.number, user.text("action").as_deref() != Some("remove")))
                })
                .take(LONGEST_LIST)
                .collect();
            let hash = self.change_profile(&from.number, |profile| {
                if !profile.set_privacy(&name, &value) {
                    return None;
                }
                for (number, add) in &users {
                    profile.except(&name, number, *add);
                }
                Some(list_hash(profile.excepted(&name)))
            })?;
            let Some(hash) = hash else {
                return Ok(Answer::Error(400, "bad-request"));
            };
            let mut answer = NodeBuilder::new("category")
                .attr("name", name)
                .attr("value", value.as_str());
            if value == "contact_blacklist" {
                answer = answer.attr("dhash", hash);
            }
            answers.push(answer.build());
        }
        if answers.is_empty() {
            return Ok(Answer::Error(400, "bad-request"));
        }
        let changed = NodeBuilder::new("privacy").children(answers).build();
        self.tell_other_companions(from, vec![changed.clone()])?;
        Ok(Answer::Result(vec![changed]))
    }

    /// The exceptions of one category (zapo-js `buildGetPrivacyDisallowedListIq`).
    fn exceptions(&self, from: &DeviceAddress, list: &Node) -> Result<Answer> {
        let name = list.text("name").unwrap_or_default();
        let account = self.accounts.get(&from.number).context("the account is gone")?;
        if account.profile.privacy(&name).is_none() {
            return Ok(Answer::Error(400, "bad-request"));
        }
        let users = account.profile.excepted(&name).filter_map(|number| {
            let other = self.accounts.get(number)?;
            let user = NodeBuilder::new("user").attr("jid", other.jid(Form::Lid));
            Some(user.attr("pn_jid", other.jid(Form::Number)).build())
        });
        let list = NodeBuilder::new("list")
            .attr("name", name.as_str())
            .attr("value", "contact_blacklist")
            .attr("dhash", list_hash(account.profile.excepted(&name)))
            .children(users)
            .build();
        Ok(Answer::Result(vec![
            NodeBuilder::new("privacy").children([list]).build(),
        ]))
    }

    /// A client vouches for contacts: each gets a token that it shows when it writes, looks or subscribes.
    fn give_tokens(&mut self, from: &DeviceAddress, tokens: &Node) -> Result<Answer> {
        let mut given = Vec::new();
        for asked in tokens.get_children_by_tag("token").take(LONGEST_LIST) {
            let (Some(jid), Some(kind)) = (asked.jid("jid"), asked.text("type")) else {
                return Ok(Answer::Error(400, "bad-request"));
            };
            let at = asked
                .text("t")
                .and_then(|at| at.parse().ok())
                .unwrap_or_else(unix_seconds);
            given.push((jid, kind, at));
        }
        let mut held = Vec::new();
        for (jid, kind, at) in given {
            if kind == "trusted_contact"
                && let Some(other) = self.accounts.resolve(&jid)
                && other.number != from.number
            {
                self.give_token(&from.number, &other.number, Form::of(&jid), at)?;
                let account = self.accounts.get(&from.number).context("the account is gone")?;
                if let Some(token) = account.profile.tokens.get(&other.number) {
                    held.push(
                        NodeBuilder::new("token")
                            .attr("jid", jid)
                            .attr("t", token.at)
                            .attr("type", kind)
                            .bytes(token.bytes.clone())
                            .build(),
                    );
                }
            }
        }
        // What the answer carries goes into the client's store as the token to show to that contact (whatsapp-rust
        // `wacore/iq/tctoken`, Baileys `tc-token-utils`), so it is the contact's own gift, if there is one.
        Ok(Answer::Result(vec![NodeBuilder::new("tokens").children(held).build()]))
    }

    /// Gives one account a token of another and tells all of its devices.
    fn give_token(&mut self, giver: &str, holder: &str, form: Form, at: u64) -> Result<()> {
        let token = Token {
            bytes: rand::random::<[u8; 16]>().to_vec(),
            at,
        };
        self.change_profile(holder, |profile| {
            profile.tokens.insert(giver.to_owned(), token.clone());
        })?;
        if self.are_apart(giver, holder) {
            return Ok(());
        }
        let giver = self.accounts.get(giver).context("no such account")?;
        let child = NodeBuilder::new("token")
            .attr("type", "trusted_contact")
            .attr("t", token.at)
            .bytes(token.bytes)
            .build();
        let notification = NodeBuilder::new("notification")
            .attr("from", giver.jid(form))
            .attr("sender_lid", giver.jid(Form::Lid))
            .attr("type", "privacy_token")
            .attr("id", fresh_id())
            .attr("t", unix_seconds())
            .children([NodeBuilder::new("tokens").children([child]).build()])
            .build();
        self.deliver_to_companions(holder, None, &notification)
    }

    /// The blocklist, or a change of it.
    pub(crate) fn blocklist_iq(&mut self, from: &DeviceAddress, node: &Node) -> Result<Answer> {
        if node.text("type").as_deref() != Some("set") {
            return Ok(Answer::Result(vec![self.blocklist(&from.number)?]));
        }
        let mut wanted = Vec::new();
        for item in node.get_children_by_tag("item") {
            let block = match item.text("action").as_deref() {
                Some("block") => true,
                Some("unblock") => false,
                _ => return Ok(Answer::Error(400, "bad-request")),
            };
            // A LID alone says who is meant; WhatsApp Web sends the number with it when it blocks.
            let number = item.jid("jid").or_else(|| item.jid("pn_jid"));
            let Some(other) = number.and_then(|jid: Jid| self.accounts.resolve(&jid.to_non_ad())) else {
                return Ok(Answer::Error(404, "item-not-found"));
            };
            let paired = item
                .jid("pn_jid")
                .and_then(|jid| self.accounts.resolve(&jid.to_non_ad()));
            if other.number == from.number || paired.is_some_and(|paired| paired.number != other.number) {
                return Ok(Answer::Error(400, "bad-request"));
            }
            wanted.push((other.number, block));
        }
        if wanted.is_empty() {
            return Ok(Answer::Error(400, "bad-request"));
        }
        for (number, block) in wanted {
            if !self.blocks(&from.number, &number, block, Some(from))? {
                return Ok(Answer::Error(406, "not-acceptable"));
            }
        }
        Ok(Answer::Result(vec![self.blocklist(&from.number)?]))
    }

    fn blocklist(&self, number: &str) -> Result<Node> {
        let account = self.accounts.get(number).context("the account is gone")?;
        let items = account.profile.blocked().filter_map(|(number, at)| {
            let other = self.accounts.get(number)?;
            Some(
                NodeBuilder::new("item")
                    .attr("jid", other.jid(Form::Lid))
                    .attr("pn_jid", other.jid(Form::Number))
                    .attr("t", at)
                    .build(),
            )
        });
        Ok(NodeBuilder::new("list")
            .attr("addressing_mode", "lid")
            .attr("dhash", account.profile.blocklist_hash())
            .children(items)
            .build())
    }

    /// An account blocks another or takes that back; everybody of the account but the one who did it is told.
    ///
    /// `false` when the list is full.
    pub(crate) fn blocks(
        &mut self,
        number: &str,
        other: &str,
        block: bool,
        by: Option<&DeviceAddress>,
    ) -> Result<bool> {
        let before = self.accounts.get(number).context("no such account")?;
        if block && before.profile.blocked().count() >= LONGEST_LIST && !before.profile.has_blocked(other) {
            return Ok(false);
        }
        let before = before.profile.blocklist_hash();
        let changed = self.change_profile(number, |profile| profile.set_blocked(other, block, unix_seconds()))?;
        if !changed {
            return Ok(true);
        }
        let account = self.accounts.get(number).context("no such account")?;
        let blocked = self.accounts.get(other).context("no such account")?;
        let item = NodeBuilder::new("item")
            .attr("action", if block { "block" } else { "unblock" })
            .attr("jid", blocked.jid(Form::Lid))
            .attr("pn_jid", blocked.jid(Form::Number))
            .build();
        let list = NodeBuilder::new("blocklist")
            .attr("action", "modify")
            .attr("dhash", account.profile.blocklist_hash())
            .attr("prev_dhash", before)
            .children([item])
            .build();
        let notification = self.account_sync(number, vec![list])?;
        self.deliver_to_companions(number, by, &notification)?;
        Ok(true)
    }

    /// What an account's own clients are told when one of them, or the phone, changed something.
    pub(crate) fn account_sync(&self, number: &str, children: Vec<Node>) -> Result<Node> {
        let account = self.accounts.get(number).context("no such account")?;
        Ok(NodeBuilder::new("notification")
            .attr("from", account.jid(Form::Number))
            .attr("type", "account_sync")
            .attr("id", fresh_id())
            .attr("t", unix_seconds())
            .children(children)
            .build())
    }

    /// Tells an account's other clients what one of them changed.
    pub(crate) fn tell_other_companions(&mut self, from: &DeviceAddress, children: Vec<Node>) -> Result<()> {
        let notification = self.account_sync(&from.number, children)?;
        self.deliver_to_companions(&from.number, Some(from), &notification)
    }

    /// Queues a stanza for all clients of an account, or all but one.
    pub(crate) fn deliver_to_companions(
        &mut self,
        number: &str,
        except: Option<&DeviceAddress>,
        node: &Node,
    ) -> Result<()> {
        let devices: Vec<u16> = self
            .accounts
            .get(number)
            .map(|account| account.companions.keys().copied().collect())
            .unwrap_or_default();
        for device in devices {
            let address = DeviceAddress::new(number, device);
            if except != Some(&address) {
                self.deliver(&address, node.clone())?;
            }
        }
        Ok(())
    }
}
