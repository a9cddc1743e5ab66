//! What may be done with a group and by whom; every change is told to all devices of all members.
//!
//! Refusals carry the server's codes as the clients know them (whatsapp-rust `iq/groups`: `GroupJoinError`,
//! `InviteInfoError`): 401 without the right, 403 outside the group, 404 unknown, 409 conflict, 410 link reset,
//! 419 full. A refused participant inside an accepted call has its code in `error`.

use anyhow::{Context as _, Result};
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{Jid, Node};

use super::node::{self, Parts};
use super::{Description, Group, Role};
use crate::account::Form;
use crate::clock::unix_seconds;
use crate::device_list::told_devices;
use crate::stanza::fresh_id;
use crate::world::World;

/// Members of one group, as the real server allows since 2022.
pub(crate) const MEMBERS: usize = 1024;
/// Groups of one simulator.
const GROUPS: usize = 10_000;
/// Characters of a subject (`group_max_subject` in whatsapp-rust `iq/groups`).
const SUBJECT: usize = 100;
/// Characters of a description.
const DESCRIPTION: usize = 2048;
/// Characters of a description's id; clients use at most 32.
const DESCRIPTION_ID: usize = 64;
/// Letters and digits of an invite code.
const CODE: usize = 22;

/// Why the server says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{sentence} ({code} {text})")]
pub(crate) struct Refused {
    /// For `<error code>`.
    pub(crate) code: u16,
    /// For `<error text>`.
    pub(crate) text: &'static str,
    sentence: &'static str,
}

const fn refused(code: u16, text: &'static str, sentence: &'static str) -> Refused {
    Refused { code, text, sentence }
}

const UNKNOWN: Refused = refused(404, "item-not-found", "there is no such group");
const OUTSIDE: Refused = refused(403, "forbidden", "this number is not in the group");
const NO_RIGHT: Refused = refused(401, "not-authorized", "only an admin of the group may do this");
const BAD: Refused = refused(400, "bad-request", "this cannot be understood");
const TOO_LONG: Refused = refused(406, "not-acceptable", "this text is empty or too long");
const FULL: Refused = refused(419, "resource-limit", "the group is full");

/// A change of what a group is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Subject(String),
    /// `previous` is the id of the description its writer saw; another one there means a conflict.
    Description {
        id: String,
        previous: Option<String>,
        text: Option<String>,
    },
    Announce(bool),
    Locked(bool),
    /// Seconds, 0 for never.
    Ephemeral(u32),
    Approval(bool),
    EverybodyAdds(bool),
}

/// A change of who is in a group and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Membership {
    Add,
    Remove,
    Promote,
    Demote,
}

impl Membership {
    /// The tag in requests and notifications.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Promote => "promote",
            Self::Demote => "demote",
        }
    }
}

/// What became of one participant of a call: its address as asked for, and the code of its refusal.
pub(crate) type Fate = (Jid, Option<u16>);

/// How somebody with an invite code fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Joined {
    /// A member now.
    In(String),
    /// An admin has to agree first.
    Asked(String),
}

impl World {
    /// A group that a number is in.
    pub(crate) fn own_group(&self, number: &str, id: &str) -> Result<&Group> {
        let group = self.groups.get(id).ok_or(UNKNOWN)?;
        group.role(number).ok_or(OUTSIDE)?;
        Ok(group)
    }

    fn administered(&self, number: &str, id: &str) -> Result<&Group> {
        let group = self.own_group(number, id)?;
        if group.is_admin(number) {
            Ok(group)
        } else {
            Err(NO_RIGHT.into())
        }
    }

    /// Makes a group; the fates are those of the wanted participants. `key` comes back in the notification, so that
    /// the client that made the group recognises it.
    pub(crate) fn create_group(
        &mut self,
        maker: &str,
        form: Form,
        subject: &str,
        wanted: &[Jid],
        key: Option<&str>,
    ) -> Result<(String, Vec<Fate>)> {
        check_length(subject, 1, SUBJECT)?;
        if self.groups.len() >= GROUPS || wanted.len() >= MEMBERS {
            return Err(FULL.into());
        }
        let now = unix_seconds();
        let mut group = Group {
            id: self.groups.next_id(),
            subject: subject.to_owned(),
            subject_owner: maker.to_owned(),
            subject_at: now,
            creator: maker.to_owned(),
            created_at: now,
            description: None,
            members: [(maker.to_owned(), Role::SuperAdmin)].into(),
            removed: std::collections::BTreeSet::new(),
            requests: std::collections::BTreeMap::new(),
            by_lid: form == Form::Lid,
            announce: false,
            locked: false,
            ephemeral: 0,
            approval: false,
            everybody_adds: true,
            invite_code: fresh_code(),
            reset_codes: Vec::new(),
        };
        let mut fates = Vec::new();
        for jid in wanted {
            let known = self.accounts.resolve(jid);
            if let Some(address) = &known {
                group.members.entry(address.number.clone()).or_insert(Role::Member);
            }
            fates.push((jid.clone(), known.is_none().then_some(404)));
        }
        let id = group.id.clone();
        self.groups.put(group, &mut self.journal)?;
        tracing::info!(group = id, "a group was made");
        let everybody = self.groups.get(&id).context("just made")?.numbers();
        self.tell_creation(&id, maker, &everybody, Some("new"), key, None)?;
        Ok((id, fates))
    }

    /// Changes what a group is.
    pub(crate) fn change_group(&mut self, number: &str, id: &str, change: Change) -> Result<()> {
        let group = self.own_group(number, id)?;
        let needs_admin = match change {
            Change::Subject(_) | Change::Description { .. } | Change::Ephemeral(_) => group.locked,
            _ => true,
        };
        if needs_admin && !group.is_admin(number) {
            return Err(NO_RIGHT.into());
        }
        let (mut group, form, now) = (group.clone(), group.form(), unix_seconds());
        let told = match change {
            Change::Subject(subject) => {
                check_length(&subject, 1, SUBJECT)?;
                group.subject = subject;
                number.clone_into(&mut group.subject_owner);
                group.subject_at = now;
                let told = NodeBuilder::new("subject")
                    .attr("subject", group.subject.as_str())
                    .attr("s_t", now)
                    .attr("s_o", node::member_jid(&self.accounts, form, number));
                match form {
                    Form::Lid => told.attr("s_o_pn", Jid::pn(number)).build(),
                    Form::Number => told.build(),
                }
            }
            Change::Description { id, previous, text } => {
                let seen = group.description.as_ref().map(|description| description.id.as_str());
                if previous.as_deref() != seen {
                    let conflict = "somebody else has changed the description meanwhile";
                    return Err(refused(409, "conflict", conflict).into());
                }
                check_length(&id, 1, DESCRIPTION_ID)?;
                let told = NodeBuilder::new("description").attr("id", id.as_str());
                if let Some(text) = text {
                    check_length(&text, 1, DESCRIPTION)?;
                    let body = NodeBuilder::new("body").bytes(text.as_bytes()).build();
                    group.description = Some(Description {
                        id,
                        text,
                        owner: number.to_owned(),
                        at: now,
                    });
                    told.attr("t", now).children([body]).build()
                } else {
                    group.description = None;
                    told.children([NodeBuilder::new("delete").build()]).build()
                }
            }
            Change::Announce(on) => {
                group.announce = on;
                toggled(on, "announcement", "not_announcement")
            }
            Change::Locked(on) => {
                group.locked = on;
                toggled(on, "locked", "unlocked")
            }
            Change::Ephemeral(seconds) => {
                group.ephemeral = seconds;
                if seconds == 0 {
                    NodeBuilder::new("not_ephemeral").build()
                } else {
                    NodeBuilder::new("ephemeral").attr("expiration", seconds).build()
                }
            }
            Change::Approval(on) => {
                group.approval = on;
                node::approval(on)
            }
            Change::EverybodyAdds(on) => {
                group.everybody_adds = on;
                node::add_mode(on)
            }
        };
        let everybody = group.numbers();
        self.groups.put(group, &mut self.journal)?;
        self.tell_group(id, number, &everybody, told)
    }

    /// Adds, removes, promotes or demotes, each for itself: one refused participant does not stop the others.
    pub(crate) fn change_members(
        &mut self,
        number: &str,
        id: &str,
        change: Membership,
        wanted: &[Jid],
    ) -> Result<Vec<Fate>> {
        let group = self.own_group(number, id)?;
        if !(group.is_admin(number) || change == Membership::Add && group.everybody_adds) {
            return Err(NO_RIGHT.into());
        }
        if wanted.is_empty() || wanted.len() > MEMBERS {
            return Err(BAD.into());
        }
        let (mut group, before) = (group.clone(), group.numbers());
        let (mut fates, mut changed) = (Vec::new(), Vec::new());
        for jid in wanted {
            let target = self.accounts.resolve(jid).map(|address| address.number);
            let fate = target
                .as_deref()
                .map_or(Some(404), |target| alter(&mut group, change, target));
            if let Some(target) = target.filter(|_| fate.is_none()) {
                changed.push(target);
            }
            fates.push((jid.clone(), fate));
        }
        if changed.is_empty() {
            return Ok(fates);
        }
        let form = group.form();
        self.groups.put(group, &mut self.journal)?;
        let told = NodeBuilder::new(change.tag())
            .children(node::participants(&self.accounts, form, &changed))
            .build();
        // Those who were in hear of the change, also those who are out now; those who are new hear of the group.
        self.tell_group(id, number, &before, told)?;
        if change == Membership::Add {
            self.tell_creation(id, number, &changed, None, None, None)?;
        }
        Ok(fates)
    }

    /// A member leaves; when the last admin does, the next member becomes one.
    pub(crate) fn leave_group(&mut self, number: &str, id: &str) -> Result<()> {
        let group = self.own_group(number, id)?;
        let (mut group, before) = (group.clone(), group.numbers());
        group.members.remove(number);
        let heir = if group.admins().is_empty() {
            group.members.keys().next().cloned()
        } else {
            None
        };
        if let Some(heir) = &heir {
            group.members.insert(heir.clone(), Role::Admin);
        }
        let (form, left) = (group.form(), group.numbers());
        self.groups.put(group, &mut self.journal)?;
        let told = NodeBuilder::new("remove")
            .children(node::participants(&self.accounts, form, &[number.to_owned()]))
            .build();
        self.tell_group(id, number, &before, told)?;
        if let Some(heir) = heir {
            let told = NodeBuilder::new("promote")
                .children(node::participants(&self.accounts, form, &[heir]))
                .build();
            self.tell_group(id, number, &left, told)?;
        }
        Ok(())
    }

    /// The code of the invite link; `renew` makes the old one useless.
    pub(crate) fn invite_code(&mut self, number: &str, id: &str, renew: bool) -> Result<String> {
        let group = self.administered(number, id)?;
        if !renew {
            return Ok(group.invite_code.clone());
        }
        let mut group = group.clone();
        group.renew_invite(fresh_code());
        let (code, everybody) = (group.invite_code.clone(), group.numbers());
        self.groups.put(group, &mut self.journal)?;
        let told = NodeBuilder::new("invite").attr("code", code.as_str()).build();
        self.tell_group(id, number, &everybody, told)?;
        Ok(code)
    }

    /// The group behind an invite code, for somebody who is not in it yet.
    pub(crate) fn invited_group(&self, code: &str) -> Result<&Group> {
        match self.groups.invited(code) {
            Some((group, true)) => Ok(group),
            Some((_, false)) => Err(refused(410, "gone", "this invite link was reset").into()),
            None => Err(refused(406, "not-acceptable", "there is no such invite link").into()),
        }
    }

    /// Joins by an invite code.
    pub(crate) fn join_group(&mut self, number: &str, code: &str) -> Result<Joined> {
        let group = self.invited_group(code)?;
        let id = group.id.clone();
        if group.role(number).is_some() {
            return Err(refused(304, "not-modified", "this number is in the group already").into());
        }
        if group.removed.contains(number) {
            return Err(refused(405, "not-allowed", "an admin removed this number from the group").into());
        }
        if group.members.len() >= MEMBERS {
            return Err(FULL.into());
        }
        let (mut group, before, admins, form) = (group.clone(), group.numbers(), group.admins(), group.form());
        if group.approval {
            group.requests.entry(number.to_owned()).or_insert_with(unix_seconds);
            self.groups.put(group, &mut self.journal)?;
            let wanted = NodeBuilder::new("requested_user")
                .attr("jid", node::member_jid(&self.accounts, form, number))
                .attr("phone_number", Jid::pn(number))
                .build();
            let told = NodeBuilder::new("created_membership_requests")
                .attr("request_method", "invite_link")
                .children([wanted])
                .build();
            self.tell_group(&id, number, &admins, told)?;
            return Ok(Joined::Asked(id));
        }
        group.members.insert(number.to_owned(), Role::Member);
        self.groups.put(group, &mut self.journal)?;
        self.tell_entry(&id, number, number, &before)?;
        Ok(Joined::In(id))
    }

    /// The numbers that wait to be let in, with the time they asked.
    pub(crate) fn membership_requests(&self, number: &str, id: &str) -> Result<Vec<(String, u64)>> {
        let group = self.administered(number, id)?;
        Ok(group
            .requests
            .iter()
            .map(|(number, at)| (number.clone(), *at))
            .collect())
    }

    /// An admin lets people in, or does not.
    pub(crate) fn decide_requests(
        &mut self,
        number: &str,
        id: &str,
        approve: bool,
        wanted: &[Jid],
    ) -> Result<Vec<Fate>> {
        self.administered(number, id)?;
        let mut fates = Vec::new();
        for jid in wanted {
            fates.push((jid.clone(), self.decide_request(number, id, approve, jid)?));
        }
        Ok(fates)
    }

    /// Somebody who asked to be let in takes that back.
    pub(crate) fn cancel_requests(&mut self, number: &str, id: &str) -> Result<()> {
        let mut group = self.groups.get(id).ok_or(UNKNOWN)?.clone();
        if group.requests.remove(number).is_none() {
            return Err(refused(404, "item-not-found", "this number has not asked to join").into());
        }
        let (admins, form) = (group.admins(), group.form());
        self.groups.put(group, &mut self.journal)?;
        self.tell_revoked_request(id, number, number, &admins, form)
    }

    fn decide_request(&mut self, admin: &str, id: &str, approve: bool, jid: &Jid) -> Result<Option<u16>> {
        let mut group = self.groups.get(id).context("no such group")?.clone();
        let target = self.accounts.resolve(jid).map(|address| address.number);
        let Some(target) = target.filter(|target| group.requests.contains_key(target)) else {
            return Ok(Some(404));
        };
        if approve && group.members.len() >= MEMBERS {
            return Ok(Some(FULL.code));
        }
        group.requests.remove(&target);
        let (before, admins, form) = (group.numbers(), group.admins(), group.form());
        if approve {
            group.members.insert(target.clone(), Role::Member);
        }
        self.groups.put(group, &mut self.journal)?;
        if approve {
            self.tell_entry(id, admin, &target, &before)?;
        } else {
            self.tell_revoked_request(id, admin, &target, &admins, form)?;
        }
        Ok(None)
    }

    fn tell_revoked_request(
        &mut self,
        id: &str,
        actor: &str,
        target: &str,
        admins: &[String],
        form: Form,
    ) -> Result<()> {
        let told = NodeBuilder::new("revoked_membership_requests")
            .children(node::participants(&self.accounts, form, &[target.to_owned()]))
            .build();
        self.tell_group(id, actor, admins, told)
    }

    /// Somebody came in by the invite link: the others hear of it, and the newcomer hears of the group.
    fn tell_entry(&mut self, id: &str, actor: &str, newcomer: &str, before: &[String]) -> Result<()> {
        let newcomers = [newcomer.to_owned()];
        let form = self.groups.get(id).context("no such group")?.form();
        let told = NodeBuilder::new("add")
            .attr("reason", "invite")
            .children(node::participants(&self.accounts, form, &newcomers))
            .build();
        self.tell_group(id, actor, before, told)?;
        self.tell_creation(id, actor, &newcomers, None, None, Some("invite"))
    }

    /// Tells people of a group they did not know, whole.
    fn tell_creation(
        &mut self,
        id: &str,
        actor: &str,
        numbers: &[String],
        kind: Option<&'static str>,
        key: Option<&str>,
        reason: Option<&'static str>,
    ) -> Result<()> {
        let group = self.groups.get(id).context("no such group")?;
        let mut told = NodeBuilder::new("create");
        for (name, value) in [("type", kind), ("key", key), ("reason", reason)] {
            if let Some(value) = value {
                told = told.attr(name, value);
            }
        }
        let told = told.children([node::group(&self.accounts, group, Parts::ALL)]).build();
        self.tell_group(id, actor, numbers, told)
    }

    /// One `<notification type="w:gp2">` for every device of some numbers; it waits there until acknowledged.
    fn tell_group(&mut self, id: &str, actor: &str, numbers: &[String], what: Node) -> Result<()> {
        let group = self.groups.get(id).context("no such group")?;
        let (form, jid) = (group.form(), group.jid());
        let account = self.accounts.get(actor).context("the actor is not on WhatsApp")?;
        let notification = NodeBuilder::new("notification")
            .attr("from", jid)
            .attr("type", "w:gp2")
            .attr("id", fresh_id())
            .attr("t", unix_seconds())
            .attr("addressing_mode", node::mode(form))
            .attr("notify", account.phone.push_name.as_str());
        let notification = node::with_participant(notification, account, form, 0)
            .children([what])
            .build();
        for address in told_devices(&self.accounts, numbers) {
            self.deliver(&address, notification.clone())?;
        }
        Ok(())
    }
}

/// Applies a change to one member; the code of the refusal if it cannot be.
fn alter(group: &mut Group, change: Membership, target: &str) -> Option<u16> {
    let role = group.role(target);
    match (change, role) {
        // It is so already.
        (Membership::Add, Some(_))
        | (Membership::Promote, Some(Role::Admin | Role::SuperAdmin))
        | (Membership::Demote, Some(Role::Member)) => return Some(409),
        (Membership::Add, None) if group.members.len() >= MEMBERS => return Some(FULL.code),
        (Membership::Add, None) => {
            group.members.insert(target.to_owned(), Role::Member);
            group.removed.remove(target);
            group.requests.remove(target);
        }
        (_, None) => return Some(404),
        // What the real server says to this is not publicly known.
        (Membership::Remove | Membership::Demote, Some(Role::SuperAdmin)) => return Some(406),
        (Membership::Remove, Some(_)) => {
            group.members.remove(target);
            group.removed.insert(target.to_owned());
        }
        (Membership::Promote, Some(Role::Member)) => {
            group.members.insert(target.to_owned(), Role::Admin);
        }
        (Membership::Demote, Some(Role::Admin)) => {
            group.members.insert(target.to_owned(), Role::Member);
        }
    }
    None
}

fn toggled(on: bool, yes: &'static str, no: &'static str) -> Node {
    NodeBuilder::new(if on { yes } else { no }).build()
}

fn check_length(text: &str, least: usize, most: usize) -> Result<(), Refused> {
    if (least..=most).contains(&text.chars().count()) {
        Ok(())
    } else {
        Err(TOO_LONG)
    }
}

/// Letters and digits that nobody guesses.
fn fresh_code() -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..CODE)
        .map(|_| char::from(ALPHABET[rand::random_range(0..ALPHABET.len())]))
        .collect()
}
