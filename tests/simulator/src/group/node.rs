//! A group as clients see it: `<group>` with its participants, as answers and `create` notifications carry it.
//!
//! Attribute names as the clients read them: whatsapp-rust `iq/groups` (`GroupInfoResponse`), Baileys `Socket/groups`
//! (`extractGroupMetadata`), zapo-js `client/events/group`.

use anyhow::Result;
use whatsapp_rust::wacore::messages::MessageUtils;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{Jid, Node};

use super::{Group, Role};
use crate::account::{Account, Accounts, Form};

/// Which parts of a group are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    pub(crate) participants: bool,
    pub(crate) description: bool,
}

impl Parts {
    /// Everything.
    pub(crate) const ALL: Parts = Parts {
        participants: true,
        description: true,
    };
}

/// How a group names a number; a number that is gone keeps its phone form.
pub(crate) fn member_jid(accounts: &Accounts, form: Form, number: &str) -> Jid {
    accounts
        .get(number)
        .map_or_else(|| Jid::pn(number), |account| account.jid(form))
}

/// A participant under both of its names.
pub(crate) fn participant(accounts: &Accounts, form: Form, number: &str, role: Option<Role>) -> Node {
    let mut node = NodeBuilder::new("participant").attr("jid", member_jid(accounts, form, number));
    if let Some(account) = accounts.get(number) {
        node = match form {
            Form::Lid => node.attr("phone_number", account.jid(Form::Number)),
            Form::Number => node.attr("lid", account.jid(Form::Lid)),
        };
    }
    if let Some(kind) = role.and_then(Role::wire) {
        node = node.attr("type", kind);
    }
    node.build()
}

/// Several participants without their rights.
pub(crate) fn participants(accounts: &Accounts, form: Form, numbers: &[String]) -> Vec<Node> {
    numbers
        .iter()
        .map(|number| participant(accounts, form, number, None))
        .collect()
}

/// The hash of the members' addresses, with which clients ask whether the list they know is still right
/// (whatsapp-rust `features/groups`, `GroupQueryIq::with_phash`).
pub(crate) fn members_hash(accounts: &Accounts, group: &Group) -> Result<String> {
    let members: Vec<Jid> = group
        .members
        .keys()
        .map(|number| member_jid(accounts, group.form(), number))
        .collect();
    MessageUtils::participant_list_hash(&members)
}

/// The whole group.
pub(crate) fn group(accounts: &Accounts, group: &Group, parts: Parts) -> Node {
    let form = group.form();
    let mut node = NodeBuilder::new("group")
        .attr("id", group.id.as_str())
        .attr("addressing_mode", mode(form))
        .attr("creation", group.created_at)
        .attr("subject", group.subject.as_str())
        .attr("s_t", group.subject_at)
        .attr("s_o", member_jid(accounts, form, &group.subject_owner))
        .attr("creator", member_jid(accounts, form, &group.creator))
        .attr("size", group.members.len());
    if form == Form::Lid {
        node = node
            .attr("s_o_pn", Jid::pn(group.subject_owner.as_str()))
            .attr("creator_pn", Jid::pn(group.creator.as_str()));
    }
    let mut children = Vec::new();
    if let Some(description) = group.description.as_ref().filter(|_| parts.description) {
        let mut described = NodeBuilder::new("description")
            .attr("id", description.id.as_str())
            .attr("t", description.at)
            .attr("participant", member_jid(accounts, form, &description.owner));
        if form == Form::Lid {
            described = described.attr("participant_pn", Jid::pn(description.owner.as_str()));
        }
        let body = NodeBuilder::new("body").bytes(description.text.as_bytes()).build();
        children.push(described.children([body]).build());
    }
    for (set, tag) in [(group.announce, "announcement"), (group.locked, "locked")] {
        if set {
            children.push(NodeBuilder::new(tag).build());
        }
    }
    if group.ephemeral > 0 {
        let ephemeral = NodeBuilder::new("ephemeral").attr("expiration", group.ephemeral);
        children.push(ephemeral.build());
    }
    if group.approval {
        children.push(approval(true));
    }
    children.push(add_mode(group.everybody_adds));
    if parts.participants {
        children.extend(
            group
                .members
                .iter()
                .map(|(number, role)| participant(accounts, form, number, Some(*role))),
        );
    }
    node.children(children).build()
}

/// `<membership_approval_mode>`.
pub(crate) fn approval(on: bool) -> Node {
    let join = NodeBuilder::new("group_join").attr("state", if on { "on" } else { "off" });
    NodeBuilder::new("membership_approval_mode")
        .children([join.build()])
        .build()
}

/// `<member_add_mode>`.
pub(crate) fn add_mode(everybody: bool) -> Node {
    NodeBuilder::new("member_add_mode")
        .string_content(if everybody { "all_member_add" } else { "admin_add" })
        .build()
}

/// The name of an address form.
pub(crate) fn mode(form: Form) -> &'static str {
    match form {
        Form::Number => "pn",
        Form::Lid => "lid",
    }
}

/// Names who acted, under both names, as notifications and messages of a group do.
pub(crate) fn with_participant(node: NodeBuilder, account: &Account, form: Form, device: u16) -> NodeBuilder {
    let node = node.attr("participant", account.device_jid(form, device));
    match form {
        Form::Lid => node.attr("participant_pn", account.jid(Form::Number)),
        Form::Number => node.attr("participant_lid", account.jid(Form::Lid)),
    }
}
