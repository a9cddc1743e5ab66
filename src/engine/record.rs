//! Writes down what happens to an instance: its row, and the events about it, in one transaction.

use crate::domain::Timestamp;
use crate::domain::address::Address;
use crate::domain::error::{Code, Error};
use crate::domain::event::{DisconnectReason, Event, EventBody};
use crate::domain::id::InstanceId;
use crate::domain::instance::{Change, Instance, Status, transition};
use crate::store::{Store, Tx, WriteError};
use crate::sys::clock;

use super::trouble::Trouble;
use super::waiting;

/// What happens to the link.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) enum Link {
    /// It stays as it is.
    #[default]
    Keep,
    /// This account is linked.
    Account {
        /// By phone number.
        jid: Address,
        /// By hidden-number id.
        lid: Option<Address>,
    },
    /// The link and the session's keys are forgotten.
    Forget,
}

/// A change and everything that is stored and told with it.
#[derive(Clone, Debug)]
pub(super) struct Note {
    /// What moves the instance.
    pub change: Change,
    /// Why.
    pub trouble: Option<Trouble>,
    /// When the next attempt is made.
    pub next_attempt_at: Option<Timestamp>,
    /// What happens to the link.
    pub link: Link,
    /// Whether the owner wants it to run from now on; `None` leaves that.
    pub wanted: Option<bool>,
    /// The event that belongs to this change alone, told before `instance.status`.
    pub event: Option<EventBody>,
    /// Told as `instance.disconnected` if the instance was connected or is unlinked by this.
    pub disconnected: Option<DisconnectReason>,
}

impl Note {
    /// A bare change.
    pub const fn new(change: Change) -> Self {
        Self {
            change,
            trouble: None,
            next_attempt_at: None,
            link: Link::Keep,
            wanted: None,
            event: None,
            disconnected: None,
        }
    }

    /// With a reason.
    pub fn because(mut self, trouble: Trouble) -> Self {
        self.trouble = Some(trouble);
        self
    }

    /// With the time of the next attempt.
    pub const fn retried_at(mut self, at: Option<Timestamp>) -> Self {
        self.next_attempt_at = at;
        self
    }

    /// With a change of the link.
    pub fn linking(mut self, link: Link) -> Self {
        self.link = link;
        self
    }

    /// With a change of the owner's wish.
    pub const fn wanted(mut self, wanted: bool) -> Self {
        self.wanted = Some(wanted);
        self
    }

    /// With an event of its own.
    pub fn telling(mut self, event: EventBody) -> Self {
        self.event = Some(event);
        self
    }

    /// With the reason for `instance.disconnected`.
    pub const fn disconnected(mut self, reason: DisconnectReason) -> Self {
        self.disconnected = Some(reason);
        self
    }
}

/// Stores a change; answers the instance as it is now, or `None` when it is gone (deleted meanwhile).
pub(super) async fn record(store: &Store, id: InstanceId, note: Note) -> Result<Option<Instance>, WriteError> {
    store.write(move |tx| apply(tx, id, &note, clock::now())).await
}

/// The same inside a transaction.
fn apply(tx: &mut Tx<'_>, id: InstanceId, note: &Note, now: Timestamp) -> Result<Option<Instance>, WriteError> {
    let Some(before) = tx.instance(id)?.filter(|instance| instance.deleted_at.is_none()) else {
        return Ok(None);
    };
    let (after, events) = decide(&before, note, now)?;
    let mut after = after;
    if note.link == Link::Forget {
        tx.clear_session(before.session)?;
        // A late write of the session that just ended lands under a number nobody reads.
        after.session = tx.next_session()?;
    }
    if after == before && events.is_empty() {
        return Ok(Some(before));
    }
    after.updated_at = now;
    tx.put_instance(&after)?;
    for body in events {
        tx.append_event(&Event {
            instance_id: id,
            occurred_at: now,
            body,
        })?;
    }
    if note.link == Link::Forget {
        waiting::abandon(tx, id, now)?;
    }
    Ok(Some(after))
}

/// What a note makes of an instance, and what is told about it.
fn decide(before: &Instance, note: &Note, now: Timestamp) -> Result<(Instance, Vec<EventBody>), WriteError> {
    let mut after = before.clone();
    match &note.link {
        Link::Keep => {}
        Link::Account { jid, lid } => {
            after.phone_number = jid.phone_number().map(str::to_owned);
            after.jid = Some(jid.clone());
            after.lid = lid.clone().or(after.lid);
        }
        Link::Forget => {
            after.phone_number = None;
            after.jid = None;
            after.lid = None;
        }
    }
    if let Some(wanted) = note.wanted {
        after.wanted = wanted;
    }
    after.status = transition(before.status, note.change, after.is_linked()).map_err(|problem| {
        WriteError::Rejected(Error::new(
            Code::InvalidLifecycleTransition,
            format!("{problem}; look at its status first"),
        ))
    })?;
    if after.status != before.status {
        after.status_since = Some(now);
    }
    // Stopping what has failed does not make it less failed: the reason stays.
    if !(note.change == Change::Stopped && after.status == Status::Failed) {
        after.status_reason = note
            .trouble
            .as_ref()
            .map(|trouble| trouble.as_reason(before.status_reason.as_ref(), now, note.next_attempt_at));
    }
    if after.status == Status::Connected || before.status == Status::Connected {
        after.last_seen_at = Some(now);
    }
    let mut events = Vec::with_capacity(2);
    events.extend(note.event.clone());
    if let Some(reason) = note.disconnected
        && (before.status == Status::Connected || (before.is_linked() && !after.is_linked()))
    {
        events.push(EventBody::InstanceDisconnected {
            reason,
            will_retry: matches!(note.change, Change::Lost | Change::Crashed),
            next_attempt_at: note.next_attempt_at,
        });
    }
    if after.status != before.status || after.status_reason != before.status_reason {
        events.push(EventBody::InstanceStatus {
            status: after.status,
            status_reason: after.status_reason.clone(),
        });
    }
    Ok((after, events))
}

/// Notes that the session is alive; may be lost in a crash.
pub(super) async fn seen(store: &Store, id: InstanceId) -> Result<(), WriteError> {
    store
        .write_lazily(move |tx| {
            if let Some(mut instance) = tx.instance(id)?.filter(|instance| instance.deleted_at.is_none()) {
                instance.last_seen_at = Some(clock::now());
                tx.put_instance(&instance)?;
            }
            Ok(())
        })
        .await
}

/// Forgets the keys of an instance that is being deleted, whatever state its row is in.
pub(super) async fn forget(store: &Store, id: InstanceId) -> Result<(), WriteError> {
    store
        .write(move |tx| {
            let Some(mut instance) = tx.instance(id)? else {
                return Ok(());
            };
            tx.clear_session(instance.session)?;
            instance.session = tx.next_session()?;
            tx.put_instance(&instance)?;
            waiting::abandon(tx, id, clock::now())
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::instance::Settings;

    fn instance(status: Status, linked: bool) -> Instance {
        Instance {
            id: InstanceId::from_u128(1),
            session: 1,
            name: "shop".into(),
            phone_number: None,
            jid: linked.then(|| Address::parse("5511999990001").unwrap()),
            lid: None,
            status,
            status_reason: None,
            status_since: None,
            last_seen_at: None,
            metadata: serde_json::Map::new(),
            settings: Settings::default(),
            wanted: true,
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
            deleted_at: None,
        }
    }

    fn names(events: &[EventBody]) -> Vec<&'static str> {
        events.iter().map(|event| event.name().as_str()).collect()
    }

    #[test]
    fn a_lost_connection_is_told_once_and_its_reason_keeps_its_beginning() {
        let now = Timestamp::from_seconds(100);
        let note = Note::new(Change::Lost)
            .because(Trouble::network())
            .retried_at(Some(now))
            .disconnected(DisconnectReason::Network);
        let (after, events) = decide(&instance(Status::Connected, true), &note, now).unwrap();
        assert_eq!(after.status, Status::Disconnected);
        assert_eq!(after.status_since, Some(now));
        assert_eq!(names(&events), ["instance.disconnected", "instance.status"]);

        let later = Timestamp::from_seconds(160);
        let note = note.retried_at(Some(later));
        let (after, events) = decide(&after, &note, later).unwrap();
        assert_eq!(after.status_since, Some(now), "the status is the same");
        assert_eq!(names(&events), ["instance.status"]);
        assert_eq!(after.status_reason.unwrap().since, now);
    }

    #[test]
    fn a_phone_that_unlinks_leaves_a_failed_instance_without_a_link() {
        let note = Note::new(Change::Refused(DisconnectReason::Logout))
            .because(Trouble::stopped())
            .linking(Link::Forget)
            .disconnected(DisconnectReason::Logout);
        let (after, events) = decide(&instance(Status::Connected, true), &note, Timestamp::EPOCH).unwrap();
        assert_eq!((after.status, after.is_linked()), (Status::Failed, false));
        assert!(matches!(
            events[0],
            EventBody::InstanceDisconnected {
                reason: DisconnectReason::Logout,
                will_retry: false,
                next_attempt_at: None
            }
        ));
    }

    #[test]
    fn what_the_state_machine_does_not_know_is_refused_and_tells_nothing() {
        let note = Note::new(Change::Lost).because(Trouble::network());
        assert!(matches!(
            decide(&instance(Status::Failed, true), &note, Timestamp::EPOCH),
            Err(WriteError::Rejected(_))
        ));
    }

    #[test]
    fn a_repeated_change_with_nothing_new_tells_nothing() {
        let (_, events) = decide(
            &instance(Status::Pending, false),
            &Note::new(Change::Start),
            Timestamp::EPOCH,
        )
        .unwrap();
        assert!(events.is_empty());
    }
}
