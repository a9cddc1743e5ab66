//! `w:g2`: groups are made, read, changed, joined and left. What is allowed is decided in `group::change`.

use anyhow::Result;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{Jid, Node, Server};

use super::Answer;
use crate::account::{DeviceAddress, Form};
use crate::group::change::{Change, Fate, Joined, Membership, Refused};
use crate::group::node::{self, Parts};
use crate::stanza::{Stanza as _, fresh_id};
use crate::world::World;

/// Groups asked for in one question.
const BATCH: usize = 10_000;

impl World {
    pub(crate) fn groups_iq(&mut self, from: &DeviceAddress, question: &Node) -> Result<Answer> {
        let setting = question.text("type").as_deref() == Some("set");
        let (Some(asked), Some(to)) = (
            question.children().and_then(|children| children.first()),
            question.text("to"),
        ) else {
            return Ok(self.unknown("w:g2", question));
        };
        let id = to.strip_suffix("g.us").unwrap_or_default().trim_end_matches('@');
        let answer = match (id.is_empty(), setting) {
            (true, true) => self.groups_set(from, asked),
            (true, false) => self.groups_get(from, asked),
            (false, true) => self.group_set(from, id, asked),
            (false, false) => self.group_get(from, id, asked),
        };
        match answer {
            Ok(Some(children)) => Ok(Answer::Result(children)),
            Ok(None) => Ok(self.unknown("w:g2", question)),
            Err(error) => match error.downcast_ref::<Refused>() {
                Some(refused) => Ok(Answer::Error(refused.code, refused.text)),
                None => Err(error),
            },
        }
    }

    /// What is set at the server of all groups; `None` for what is not understood, here and below.
    fn groups_set(&mut self, from: &DeviceAddress, asked: &Node) -> Result<Option<Vec<Node>>> {
        Ok(Some(match asked.tag.as_ref() {
            "create" => {
                let subject = asked.text("subject").unwrap_or_default();
                let (id, fates) = self.create_group(
                    &from.number,
                    Form::Lid,
                    &subject,
                    &wanted(asked),
                    asked.text("key").as_deref(),
                )?;
                let group = self.own_group(&from.number, &id)?;
                let mut made = node::group(&self.accounts, group, Parts::ALL);
                let refused = fates.into_iter().filter(|(_, code)| code.is_some());
                add_children(&mut made, refused.map(fate));
                vec![made]
            }
            "leave" => {
                let mut left = Vec::new();
                for group in asked.get_children_by_tag("group") {
                    let id = group.text("id").unwrap_or_default();
                    self.leave_group(&from.number, id.trim_end_matches("@g.us"))?;
                    left.push(NodeBuilder::new("group").attr("id", id).build());
                }
                vec![NodeBuilder::new("leave").children(left).build()]
            }
            "invite" => {
                let code = asked.text("code").unwrap_or_default();
                vec![match self.join_group(&from.number, &code)? {
                    Joined::In(id) => NodeBuilder::new("group").attr("jid", Jid::group(id)).build(),
                    Joined::Asked(id) => NodeBuilder::new("membership_approval_request")
                        .attr("jid", Jid::group(id))
                        .build(),
                }]
            }
            _ => return Ok(None),
        }))
    }

    fn groups_get(&mut self, from: &DeviceAddress, asked: &Node) -> Result<Option<Vec<Node>>> {
        Ok(Some(match asked.tag.as_ref() {
            "participating" => {
                let parts = Parts {
                    participants: asked.child("participants").is_some(),
                    description: asked.child("description").is_some(),
                };
                let own = self.groups.iter().filter(|group| group.role(&from.number).is_some());
                let groups = own.map(|group| node::group(&self.accounts, group, parts));
                vec![NodeBuilder::new("groups").children(groups).build()]
            }
            "invite" => {
                let group = self.invited_group(&asked.text("code").unwrap_or_default())?;
                vec![node::group(&self.accounts, group, Parts::ALL)]
            }
            "query" => {
                let groups = asked.get_children_by_tag("group").take(BATCH).filter_map(|wanted| {
                    let jid = wanted.jid("jid").filter(|jid| jid.server == Server::Group)?;
                    let refused = NodeBuilder::new("group").attr("id", jid.user.as_str());
                    Some(match self.groups.at(&jid) {
                        Some(group) if group.role(&from.number).is_some() => {
                            node::group(&self.accounts, group, Parts::ALL)
                        }
                        Some(_) => refused.attr("error", 403).build(),
                        None => refused.attr("error", 404).build(),
                    })
                });
                vec![NodeBuilder::new("groups").children(groups).build()]
            }
            _ => return Ok(None),
        }))
    }

    fn group_get(&mut self, from: &DeviceAddress, id: &str, asked: &Node) -> Result<Option<Vec<Node>>> {
        Ok(Some(match asked.tag.as_ref() {
            "query" => {
                let group = self.own_group(&from.number, id)?;
                // An unchanged list of members is not sent again.
                if asked.text("phash") == Some(node::members_hash(&self.accounts, group)?) {
                    Vec::new()
                } else {
                    vec![node::group(&self.accounts, group, Parts::ALL)]
                }
            }
            "invite" => vec![invite(self.invite_code(&from.number, id, false)?)],
            "membership_approval_requests" => {
                let form = self.own_group(&from.number, id)?.form();
                let waiting = self.membership_requests(&from.number, id)?;
                let waiting = waiting.iter().map(|(number, at)| {
                    NodeBuilder::new("membership_approval_request")
                        .attr("jid", node::member_jid(&self.accounts, form, number))
                        .attr("phone_number", Jid::pn(number.as_str()))
                        .attr("request_method", "invite_link")
                        .attr("request_time", *at)
                        .build()
                });
                vec![
                    NodeBuilder::new("membership_approval_requests")
                        .children(waiting)
                        .build(),
                ]
            }
            _ => return Ok(None),
        }))
    }

    fn group_set(&mut self, from: &DeviceAddress, id: &str, asked: &Node) -> Result<Option<Vec<Node>>> {
        let number = from.number.as_str();
        if let Some(change) = membership(&asked.tag) {
            let fates = self.change_members(number, id, change, &wanted(asked))?;
            return Ok(Some(vec![answered(change.tag(), fates)]));
        }
        if let Some(change) = change(asked) {
            self.change_group(number, id, change)?;
            return Ok(Some(Vec::new()));
        }
        Ok(Some(match asked.tag.as_ref() {
            "invite" => vec![invite(self.invite_code(number, id, true)?)],
            "membership_requests_action" => {
                let mut decided = Vec::new();
                for (tag, approve) in [("approve", true), ("reject", false)] {
                    if let Some(action) = asked.child(tag) {
                        let fates = self.decide_requests(number, id, approve, &wanted(action))?;
                        decided.push(answered(tag, fates));
                    }
                }
                vec![NodeBuilder::new("membership_requests_action").children(decided).build()]
            }
            "cancel_membership_requests" => {
                self.cancel_requests(number, id)?;
                let fates = wanted(asked).into_iter().map(|jid| (jid, None)).collect();
                vec![answered("cancel_membership_requests", fates)]
            }
            // The client has seen that the group was made.
            "ack" => {
                self.own_group(number, id)?;
                Vec::new()
            }
            _ => return Ok(None),
        }))
    }
}

fn membership(tag: &str) -> Option<Membership> {
    [
        Membership::Add,
        Membership::Remove,
        Membership::Promote,
        Membership::Demote,
    ]
    .into_iter()
    .find(|change| change.tag() == tag)
}

/// The change that a `<subject>`, `<description>` or setting asks for.
fn change(asked: &Node) -> Option<Change> {
    Some(match asked.tag.as_ref() {
        "subject" => Change::Subject(written(asked)),
        "description" => Change::Description {
            // Baileys names no id when it deletes one.
            id: asked.text("id").unwrap_or_else(fresh_id),
            previous: asked.text("prev"),
            text: asked
                .child("body")
                .filter(|_| asked.text("delete").as_deref() != Some("true"))
                .map(written),
        },
        "announcement" => Change::Announce(true),
        "not_announcement" => Change::Announce(false),
        "locked" => Change::Locked(true),
        "unlocked" => Change::Locked(false),
        "ephemeral" => Change::Ephemeral(asked.text("expiration")?.parse().ok()?),
        "not_ephemeral" => Change::Ephemeral(0),
        "membership_approval_mode" => {
            Change::Approval(asked.child("group_join")?.text("state").as_deref() == Some("on"))
        }
        "member_add_mode" => Change::EverybodyAdds(written(asked) == "all_member_add"),
        _ => return None,
    })
}

fn written(node: &Node) -> String {
    String::from_utf8_lossy(&node.content().unwrap_or_default()).into_owned()
}

fn wanted(node: &Node) -> Vec<Jid> {
    let participants = node.get_children_by_tag("participant");
    participants.filter_map(|participant| participant.jid("jid")).collect()
}

fn invite(code: String) -> Node {
    NodeBuilder::new("invite").attr("code", code).build()
}

fn answered(tag: &'static str, fates: Vec<Fate>) -> Node {
    NodeBuilder::new(tag).children(fates.into_iter().map(fate)).build()
}

fn fate((jid, code): Fate) -> Node {
    let node = NodeBuilder::new("participant").attr("jid", jid);
    match code {
        Some(code) => node.attr("error", code).build(),
        None => node.build(),
    }
}

fn add_children(node: &mut Node, more: impl Iterator<Item = Node>) {
    if let Some(whatsapp_rust::wacore_binary::NodeContent::Nodes(children)) = &mut node.content {
        children.extend(more);
    }
}
