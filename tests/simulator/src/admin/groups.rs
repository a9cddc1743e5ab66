//! Calls about groups: what a phone's owner does with them, and how they stand.

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use whatsapp_rust::wacore_binary::Jid;

use super::parameters::phone_number;
use super::phones::in_world;
use super::{Answer, Refusal, Route, Run};
use crate::account::Form;
use crate::group::Group;
use crate::group::change::{Change, Fate, Joined, Membership};
use crate::stanza::fresh_id;
use crate::world::{Hub, World};

/// The calls.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/group",
        parameters: "body: {\"phone\", \"action\": \"create\" (subject, [participants], [addressing: lid | pn]) | \
                     \"subject\" (group, subject) | \"description\" (group, [description]) | \"add\" | \"remove\" | \
                     \"promote\" | \"demote\" (group, participants) | \"leave\" (group) | \"invite\" (group, [renew]) | \
                     \"join\" (code) | \"approve\" | \"reject\" (group, participants) | \
                     \"settings\" (group, [announce], [locked], [ephemeral: seconds], [approval], [everybody_adds])}",
        summary: "The phone's owner makes, changes, joins or leaves a group; answers with the group and, for \
                  participants, what became of each.",
        run: Run::Now(|hub, _, body| group(hub, body)),
    },
    Route {
        method: Method::GET,
        path: "/admin/groups",
        parameters: "",
        summary: "All groups with their members and settings.",
        run: Run::Now(|hub, _, _| Ok(hub.look(|world| world.groups.iter().map(shown).collect()))),
    },
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deed {
    phone: String,
    action: Action,
    group: Option<String>,
    subject: Option<String>,
    description: Option<String>,
    #[serde(default)]
    participants: Vec<String>,
    #[serde(default)]
    renew: bool,
    code: Option<String>,
    addressing: Option<Addressing>,
    announce: Option<bool>,
    locked: Option<bool>,
    ephemeral: Option<u32>,
    approval: Option<bool>,
    everybody_adds: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Create,
    Subject,
    Description,
    Add,
    Remove,
    Promote,
    Demote,
    Leave,
    Invite,
    Join,
    Approve,
    Reject,
    Settings,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Addressing {
    Lid,
    Pn,
}

fn group(hub: &Hub, body: &Bytes) -> Answer {
    let deed: Deed = serde_json::from_slice(body).map_err(|error| {
        Refusal::bad(format!(
            "the body must be a JSON object as GET /admin describes it: {error}"
        ))
    })?;
    phone_number("phone", &deed.phone)?;
    let participants = deed
        .participants
        .iter()
        .map(|number| phone_number("participants", number).map(Jid::pn))
        .collect::<Result<Vec<Jid>, Refusal>>()?;
    deed.check()?;
    in_world(hub, |world| {
        world.ensure_phone(&deed.phone)?;
        deed.run(world, &participants)
    })
}

impl Deed {
    /// Says what is missing before anything is done.
    fn check(&self) -> Result<(), Refusal> {
        let needs_group = !matches!(self.action, Action::Create | Action::Join);
        let needs_participants = matches!(
            self.action,
            Action::Add | Action::Remove | Action::Promote | Action::Demote | Action::Approve | Action::Reject
        );
        let needs_subject = matches!(self.action, Action::Create | Action::Subject);
        let missing = if needs_group && self.group.is_none() {
            "group"
        } else if needs_participants && self.participants.is_empty() {
            "participants"
        } else if needs_subject && self.subject.is_none() {
            "subject"
        } else if self.action == Action::Join && self.code.is_none() {
            "code"
        } else {
            return Ok(());
        };
        Err(Refusal::bad(format!("this action needs the field `{missing}`")))
    }

    fn run(&self, world: &mut World, participants: &[Jid]) -> anyhow::Result<Value> {
        let phone = self.phone.as_str();
        let given = self.group.as_deref().unwrap_or_default();
        let id = given.strip_suffix("@g.us").unwrap_or(given);
        let mut id = id.to_owned();
        let mut fates: Vec<Fate> = Vec::new();
        match self.action {
            Action::Create => {
                let form = match self.addressing {
                    Some(Addressing::Pn) => Form::Number,
                    _ => Form::Lid,
                };
                let subject = self.subject.as_deref().unwrap_or_default();
                (id, fates) = world.create_group(phone, form, subject, participants, None)?;
            }
            Action::Subject => {
                let subject = self.subject.clone().unwrap_or_default();
                world.change_group(phone, &id, Change::Subject(subject))?;
            }
            Action::Description => {
                let seen = world.own_group(phone, &id)?.description.as_ref();
                let change = Change::Description {
                    id: fresh_id(),
                    previous: seen.map(|description| description.id.clone()),
                    text: self.description.clone(),
                };
                world.change_group(phone, &id, change)?;
            }
            Action::Add => fates = world.change_members(phone, &id, Membership::Add, participants)?,
            Action::Remove => fates = world.change_members(phone, &id, Membership::Remove, participants)?,
            Action::Promote => fates = world.change_members(phone, &id, Membership::Promote, participants)?,
            Action::Demote => fates = world.change_members(phone, &id, Membership::Demote, participants)?,
            Action::Leave => world.leave_group(phone, &id)?,
            Action::Invite => {
                world.invite_code(phone, &id, self.renew)?;
            }
            Action::Join => match world.join_group(phone, self.code.as_deref().unwrap_or_default())? {
                Joined::In(joined) => id = joined,
                Joined::Asked(group) => return Ok(json!({"requested": Jid::group(group).to_string()})),
            },
            Action::Approve => fates = world.decide_requests(phone, &id, true, participants)?,
            Action::Reject => fates = world.decide_requests(phone, &id, false, participants)?,
            Action::Settings => {
                for change in self.settings() {
                    world.change_group(phone, &id, change)?;
                }
            }
        }
        let mut answer = world.groups.get(&id).map(shown).unwrap_or_default();
        if !fates.is_empty() {
            let fates = fates
                .iter()
                .map(|(jid, code)| json!({"phone": jid.user.as_str(), "error": code}));
            answer["results"] = fates.collect();
        }
        Ok(answer)
    }

    fn settings(&self) -> impl Iterator<Item = Change> {
        [
            self.announce.map(Change::Announce),
            self.locked.map(Change::Locked),
            self.ephemeral.map(Change::Ephemeral),
            self.approval.map(Change::Approval),
            self.everybody_adds.map(Change::EverybodyAdds),
        ]
        .into_iter()
        .flatten()
    }
}

fn shown(group: &Group) -> Value {
    let members: Vec<Value> = group
        .members
        .iter()
        .map(|(number, role)| json!({"phone": number, "role": role}))
        .collect();
    let requests: Vec<&String> = group.requests.keys().collect();
    json!({
        "jid": group.jid().to_string(),
        "subject": group.subject,
        "description": group.description.as_ref().map(|description| &description.text),
        "creator": group.creator,
        "createdAt": group.created_at,
        "addressing": if group.by_lid { "lid" } else { "pn" },
        "announce": group.announce,
        "locked": group.locked,
        "ephemeral": group.ephemeral,
        "approval": group.approval,
        "everybodyAdds": group.everybody_adds,
        "inviteCode": group.invite_code,
        "requests": requests,
        "members": members,
    })
}
