//! Groups: who is in them and as what, and how they are set.
//!
//! The register holds facts only. Who may change what is in [`change`], how it looks on the wire in [`node`], and how
//! messages travel in [`routing`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use whatsapp_rust::wacore_binary::{Jid, Server};

use crate::account::{Form, key};
use crate::state::{Journal, Records};

pub(crate) mod change;
pub(crate) mod node;
pub(crate) mod routing;

/// Ids of groups count up from here; they have the eighteen digits of today's real ones.
const FIRST_GROUP: u64 = 120_363_000_000_000_001;

/// Reset invite codes that a group remembers.
const RESET_CODES: usize = 20;

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Reads, and writes where everybody may.
    Member,
    /// Changes what only admins may.
    Admin,
    /// Made the group; cannot be removed or demoted.
    SuperAdmin,
}

impl Role {
    /// Whether an admin's rights come with it.
    pub(crate) fn is_admin(self) -> bool {
        self != Self::Member
    }

    /// The `type` of a `<participant>`; plain members have none.
    pub(crate) fn wire(self) -> Option<&'static str> {
        match self {
            Self::Member => None,
            Self::Admin => Some("admin"),
            Self::SuperAdmin => Some("superadmin"),
        }
    }
}

/// A group's description; its id lets two editors notice each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    /// Chosen by the client that wrote it.
    pub(crate) id: String,
    /// What it says.
    pub(crate) text: String,
    /// The writer's number.
    pub(crate) owner: String,
    /// Seconds since 1970.
    pub(crate) at: u64,
}

/// One group.
#[expect(clippy::struct_excessive_bools, reason = "a group's switches are set one by one")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Group {
    /// The user part of its address.
    pub(crate) id: String,
    /// Its name.
    pub(crate) subject: String,
    /// The number that named it.
    pub(crate) subject_owner: String,
    /// Seconds since 1970.
    pub(crate) subject_at: u64,
    /// The number that made it.
    pub(crate) creator: String,
    /// Seconds since 1970.
    pub(crate) created_at: u64,
    /// What it is about.
    pub(crate) description: Option<Description>,
    /// Members by number.
    pub(crate) members: BTreeMap<String, Role>,
    /// Numbers an admin threw out; an invite link does not let them back in.
    pub(crate) removed: BTreeSet<String>,
    /// Numbers that want to join, with the time they asked.
    pub(crate) requests: BTreeMap<String, u64>,
    /// Whether members are named by LID, as in all groups that are made today.
    pub(crate) by_lid: bool,
    /// Only admins write.
    pub(crate) announce: bool,
    /// Only admins change subject, description and settings.
    pub(crate) locked: bool,
    /// Seconds until messages disappear; 0 = never.
    pub(crate) ephemeral: u32,
    /// Whether an admin lets people in who come by link.
    pub(crate) approval: bool,
    /// Whether every member may add others.
    pub(crate) everybody_adds: bool,
    /// The secret part of its invite link.
    pub(crate) invite_code: String,
    /// Codes that were reset, newest last, so that an old link is told from an invented one.
    #[serde(default)]
    pub(crate) reset_codes: Vec<String>,
}

impl Group {
    /// Makes its invite link useless and another one instead.
    pub(crate) fn renew_invite(&mut self, code: String) {
        self.reset_codes.push(std::mem::replace(&mut self.invite_code, code));
        let forgotten = self.reset_codes.len().saturating_sub(RESET_CODES);
        self.reset_codes.drain(..forgotten);
    }

    /// Its address.
    pub(crate) fn jid(&self) -> Jid {
        Jid::group(self.id.as_str())
    }

    /// How its members are addressed.
    pub(crate) fn form(&self) -> Form {
        if self.by_lid { Form::Lid } else { Form::Number }
    }

    /// What a number is in it, if a member.
    pub(crate) fn role(&self, number: &str) -> Option<Role> {
        self.members.get(number).copied()
    }

    /// Whether a number is an admin of it.
    pub(crate) fn is_admin(&self, number: &str) -> bool {
        self.role(number).is_some_and(Role::is_admin)
    }

    /// The numbers of all members.
    pub(crate) fn numbers(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    /// The numbers of all admins.
    pub(crate) fn admins(&self) -> Vec<String> {
        let admins = self.members.iter().filter(|(_, role)| role.is_admin());
        admins.map(|(number, _)| number.clone()).collect()
    }
}

/// All groups.
#[derive(Default)]
pub(crate) struct Groups {
    by_id: BTreeMap<String, Group>,
    /// By invite codes, also by those that were reset.
    by_code: HashMap<String, String>,
}

impl Groups {
    /// Rebuilds the register from a state folder.
    pub(crate) fn restore(records: &Records) -> Result<Self> {
        let mut groups = Self::default();
        for (name, value) in records.range("group/".to_owned().."group0".to_owned()) {
            let group: Group =
                serde_json::from_slice(value).with_context(|| format!("record {name} of the state folder"))?;
            groups.insert(group);
        }
        Ok(groups)
    }

    /// An id that no group has; groups are never forgotten, not even empty ones.
    pub(crate) fn next_id(&self) -> String {
        (FIRST_GROUP + self.by_id.len() as u64).to_string()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// A group by its id.
    pub(crate) fn get(&self, id: &str) -> Option<&Group> {
        self.by_id.get(id)
    }

    /// A group by its address.
    pub(crate) fn at(&self, jid: &Jid) -> Option<&Group> {
        (jid.server == Server::Group).then(|| self.get(&jid.user)).flatten()
    }

    /// A group by an invite code, and whether the code still works.
    pub(crate) fn invited(&self, code: &str) -> Option<(&Group, bool)> {
        let group = self.get(self.by_code.get(code)?)?;
        let known = group.invite_code == code || group.reset_codes.iter().any(|old| old == code);
        known.then_some((group, group.invite_code == code))
    }

    /// All groups, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.by_id.values()
    }

    /// Adds or replaces a group, and notes it in the journal.
    pub(crate) fn put(&mut self, group: Group, journal: &mut Journal) -> Result<()> {
        journal.put(key::group(&group.id), serde_json::to_vec(&group)?);
        self.insert(group);
        Ok(())
    }

    fn insert(&mut self, group: Group) {
        for code in group.reset_codes.iter().chain([&group.invite_code]) {
            self.by_code.insert(code.clone(), group.id.clone());
        }
        self.by_id.insert(group.id.clone(), group);
    }
}
