//! Requests of devices to be sent a message again: written down before WhatsApp is told that they arrived.
//!
//! The library answers such a request in a task of its own and acknowledges it meanwhile; killed in between, nobody would
//! ever answer it, and the message would stay unreadable there. So the request is taken from the raw stanza, which the
//! library shows before it handles it, and nothing more is written to the socket until the note is on the disk
//! ([`Gate`]): the acknowledgement too waits there. A note is crossed out when the device confirms the message. One that
//! is left over from an earlier connection is answered after the next login, and one that nothing came of once more on
//! the same connection: a device asks once, and would wait for ever.
//!
//! Requests of the account's own phone are answered from here at once, and the library does not find the message: it
//! takes them for requests of the recipient (whatsapp-rust 0.7.0, `resolve_retry_chat_info` in `src/retry.rs`), gives the
//! recipient's address the phone's keys, so that the recipient cannot read what comes next, and drops one of two requests
//! that both send for one message.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use whatsapp_rust::prelude::Client;
use whatsapp_rust::wacore_binary::NodeRef;
use whatsapp_rust::{Jid, MessageRetransmission, RawNodeLease};

use crate::domain::id::InstanceId;
use crate::store::session::{Hold, Resend, SessionStore};
use crate::sys::clock::{self, Timestamp};

/// After this many requests of one device for one message the library refuses too (`wacore` `MAX_RETRY_COUNT`).
const MOST_REQUESTS: u8 = 5;

/// How long the library and the device have, before a note is answered on the connection on which it was made.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a note is answered: the device has asked anew by then if it still cannot read the message.
const MOST_TRIES: u8 = 3;

/// Notes kept for one session; beyond that the oldest is dropped.
const MOST_NOTES: usize = 1_000;

/// Places in the queue of what was seen.
const PLACES: usize = 4_096;

/// Closed while a request is being written down: nothing may be sent meanwhile.
#[derive(Debug, Default)]
pub(super) struct Gate(watch::Sender<usize>);

impl Gate {
    fn close(&self) {
        self.0.send_modify(|unsaved| *unsaved += 1);
    }

    fn open(&self) {
        self.0.send_modify(|unsaved| *unsaved = unsaved.saturating_sub(1));
    }

    fn give_up(&self) {
        self.0.send_replace(0);
    }

    /// Waits until everything is written down.
    pub async fn passed(&self) {
        // The sender is `self`, so this cannot fail.
        let _ = self.0.subscribe().wait_for(|unsaved| *unsaved == 0).await;
    }
}

/// What a receipt says to us.
#[derive(Debug, PartialEq)]
enum Seen {
    /// A device asks for a message again.
    Asked(Resend),
    /// A device can read messages.
    Confirmed {
        /// Which device.
        by: String,
        /// Which messages.
        ids: Vec<String>,
    },
}

impl Seen {
    /// Whether the account's own phone asks for what was sent to somebody else.
    fn is_of_own_phone(&self) -> bool {
        let Self::Asked(resend) = self else {
            return false;
        };
        let is_phone = || resend.from.parse::<Jid>().is_ok_and(|jid| jid.device == 0);
        resend.recipient.is_some() && resend.participant.is_none() && is_phone()
    }
}

/// Sees receipts as they come from the socket.
pub(super) struct Watch {
    gate: Arc<Gate>,
    store: SessionStore,
    seen: mpsc::Sender<(Seen, Option<Hold>)>,
}

impl Watch {
    /// A watch behind a gate, and what it sees.
    pub fn new(gate: Arc<Gate>, store: SessionStore) -> (Self, Sight) {
        let (seen, receiver) = mpsc::channel(PLACES);
        (Self { gate, store, seen }, Sight(receiver))
    }

    /// Looks at a stanza before the library handles it.
    pub fn look_at(&self, node: &NodeRef<'_>) {
        let Some(seen) = (node.tag.as_ref() == "receipt").then(|| read(node)).flatten() else {
            return;
        };
        let mut hold = None;
        if let Seen::Asked(resend) = &seen {
            self.gate.close();
            // Whoever else asks for what is withheld finds nothing either, so that is answered from here too.
            if seen.is_of_own_phone() || self.store.is_withheld(&resend.message_id) {
                hold = Some(self.store.withhold(&resend.message_id));
            }
        }
        let asked = matches!(seen, Seen::Asked(_));
        if self.seen.try_send((seen, hold)).is_err() && asked {
            self.gate.open();
            tracing::warn!("a request to send a message again was not written down, its queue is full or closed");
        }
    }
}

/// What a [`Watch`] has seen.
pub(super) struct Sight(mpsc::Receiver<(Seen, Option<Hold>)>);

fn read(node: &NodeRef<'_>) -> Option<Seen> {
    let text = |name: &str| node.get_attr(name).map(|value| value.as_str().into_owned());
    let (from, participant) = (text("from")?, text("participant"));
    match text("type").as_deref() {
        Some("retry") => {
            let retry = node.get_optional_child("retry")?;
            let of_retry = |name: &str| retry.get_attr(name).map(|value| value.as_str().into_owned());
            let count = of_retry("count").and_then(|count| count.parse().ok()).unwrap_or(1);
            (count < MOST_REQUESTS).then_some(())?;
            Some(Seen::Asked(Resend {
                message_id: of_retry("id").or_else(|| text("id"))?,
                from,
                participant,
                recipient: text("recipient"),
                count,
                noted_at: clock::now().seconds(),
                tries: 0,
            }))
        }
        None | Some("read" | "played" | "inactive" | "sender") => {
            let listed = node.get_optional_child("list").into_iter().flat_map(|list| {
                list.get_children_by_tag("item")
                    .filter_map(|item| item.get_attr("id").map(|id| id.as_str().into_owned()))
                    .collect::<Vec<_>>()
            });
            Some(Seen::Confirmed {
                by: participant.unwrap_or(from),
                ids: text("id").into_iter().chain(listed).collect(),
            })
        }
        Some(_) => None,
    }
}

/// Message and device.
type Name = (String, String);

fn name(resend: &Resend) -> Name {
    (resend.message_id.clone(), resend.requester().to_owned())
}

/// Whether it was never answered from here.
fn is_open(note: &Resend) -> bool {
    note.tries == 0
}

/// When something should have come of it.
fn due(note: &Resend) -> Timestamp {
    Timestamp::from_seconds(note.noted_at).plus(PATIENCE)
}

/// Keeps the notes of one session and answers those that are left over.
pub(super) struct Resends {
    pub clerk: Clerk,
    pub gate: Arc<Gate>,
    /// Counts logins: a new number is a new connection, zero is none.
    pub login: watch::Receiver<u64>,
    /// As long as this lives, the library shows raw stanzas.
    pub _lease: RawNodeLease,
}

/// What answering takes.
#[derive(Clone)]
pub(super) struct Clerk {
    pub store: SessionStore,
    pub instance: InstanceId,
    pub client: Arc<Client>,
}

impl Drop for Resends {
    fn drop(&mut self) {
        // Nobody writes anything down any more, so nobody may wait for it.
        self.gate.give_up();
    }
}

impl Resends {
    /// Runs until the session ends, which aborts it.
    pub async fn run(mut self, mut sight: Sight) {
        let mut notes = self.clerk.load();
        // Answering needs the socket and so the gate, which only this loop opens: it must not wait for an answer.
        let mut answering = JoinSet::new();
        let mut login = 0;
        loop {
            let online = *self.login.borrow() != 0;
            let overdue = notes.values().filter(|note| online && is_open(note)).map(due).min();
            let overdue = async {
                match overdue {
                    Some(due) => clock::sleep_until_time(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                seen = sight.0.recv() => match seen {
                    Some((Seen::Asked(resend), hold)) => {
                        let is_kept = self.clerk.note(&mut notes, resend.clone()).await;
                        self.gate.open();
                        // Of a flood the rest is answered later, all in one, as what nothing came of.
                        if let Some(hold) = hold.filter(|_| is_kept && answering.len() < MOST_NOTES) {
                            let clerk = self.clerk.clone();
                            answering.spawn(async move {
                                clerk.answer(vec![resend]).await;
                                // The library looks in a task of its own, which may come later than the answer.
                                clock::sleep(PATIENCE).await;
                                drop(hold);
                            });
                        }
                    }
                    Some((Seen::Confirmed { by, ids }, _)) => self.clerk.cross_out(&mut notes, &by, ids).await,
                    None => return,
                },
                changed = self.login.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let current = *self.login.borrow_and_update();
                    if current != 0 && current != login {
                        login = current;
                        answering.abort_all();
                        let left = self.clerk.take(&mut notes, |_| true).await;
                        let clerk = self.clerk.clone();
                        answering.spawn(async move { clerk.answer(left).await });
                    }
                }
                () = overdue => {
                    let now = clock::now();
                    let left = self.clerk.take(&mut notes, |note| is_open(note) && due(note) <= now).await;
                    let clerk = self.clerk.clone();
                    answering.spawn(async move { clerk.answer(left).await });
                }
                Some(_) = answering.join_next(), if !answering.is_empty() => {}
            }
        }
    }
}

impl Clerk {
    fn load(&self) -> HashMap<Name, Resend> {
        match self.store.resends() {
            Ok(all) => all.into_iter().map(|resend| (name(&resend), resend)).collect(),
            Err(error) => {
                self.complain(&error);
                HashMap::new()
            }
        }
    }

    /// Whether the request is one to answer.
    async fn note(&self, notes: &mut HashMap<Name, Resend>, resend: Resend) -> bool {
        // Nothing is written for messages that are not ours: anybody may ask for anything.
        if self.message(&resend).await.is_none() {
            return false;
        }
        // What asks anew was answered from here already, or the library has not answered it yet.
        let tries = notes.get(&name(&resend)).map_or(0, |note| note.tries);
        let resend = Resend { tries, ..resend };
        if let Err(error) = self.store.note_resend(&resend).await {
            self.complain(&error);
        }
        notes.insert(name(&resend), resend);
        if notes.len() > MOST_NOTES
            && let Some(oldest) = notes.values().min_by_key(|note| note.noted_at).cloned()
        {
            self.forget(notes, &oldest).await;
        }
        true
    }

    async fn cross_out(&self, notes: &mut HashMap<Name, Resend>, by: &str, ids: Vec<String>) {
        if notes.is_empty() {
            return;
        }
        for id in ids {
            if let Some(resend) = notes.get(&(id, by.to_owned())).cloned() {
                self.forget(notes, &resend).await;
            }
        }
    }

    async fn forget(&self, notes: &mut HashMap<Name, Resend>, resend: &Resend) {
        notes.remove(&name(resend));
        if let Err(error) = self.store.forget_resend(resend).await {
            self.complain(&error);
        }
    }

    /// Those of the notes that are to be answered now, oldest first; what was tried often enough is forgotten.
    async fn take(&self, notes: &mut HashMap<Name, Resend>, wanted: impl Fn(&Resend) -> bool) -> Vec<Resend> {
        let mut left: Vec<Resend> = notes.values().filter(|note| wanted(note)).cloned().collect();
        left.sort_by_key(|resend| resend.noted_at);
        let mut due = Vec::with_capacity(left.len());
        for mut resend in left {
            if resend.tries >= MOST_TRIES {
                self.forget(notes, &resend).await;
                continue;
            }
            resend.tries += 1;
            notes.insert(name(&resend), resend.clone());
            if let Err(error) = self.store.update_resend(&resend).await {
                self.complain(&error);
            }
            due.push(resend);
        }
        due
    }

    async fn answer(&self, left: Vec<Resend>) {
        for resend in left {
            if let Some((chat, message)) = self.message(&resend).await {
                self.send(&resend, chat, message).await;
            }
        }
    }

    async fn send(&self, resend: &Resend, chat: Jid, message: whatsapp_rust::waproto::whatsapp::Message) {
        let Ok(requester) = resend.requester().parse::<Jid>() else {
            return;
        };
        // Whatever session there was, the device could not read what came in it.
        if let Err(error) = self
            .client
            .signal()
            .delete_sessions(std::slice::from_ref(&requester))
            .await
        {
            tracing::debug!(instance.id = %self.instance, %error, "a session could not be forgotten");
        }
        let mut request = MessageRetransmission::new(chat, requester, message, resend.message_id.clone(), resend.count);
        if let Some(recipient) = resend.recipient.as_ref().and_then(|jid| jid.parse().ok()) {
            request = request.with_recipient(recipient);
        }
        match self.client.retransmit_message(request).await {
            Ok(()) => {
                tracing::info!(instance.id = %self.instance, message.id = resend.message_id, "a message was sent again that a device had asked for earlier");
            }
            Err(error) => {
                tracing::warn!(instance.id = %self.instance, message.id = resend.message_id, error = &error as &dyn std::error::Error, "a message that a device asked for could not be sent again; it is tried after the next login");
            }
        }
    }

    /// The message asked for with its chat, under whichever of the recipient's two names it was stored.
    async fn message(&self, resend: &Resend) -> Option<(Jid, whatsapp_rust::waproto::whatsapp::Message)> {
        // Only this account's own devices may ask for what was sent to somebody else.
        if resend.recipient.is_some() {
            let requester = resend.requester().parse::<Jid>().ok()?;
            let own = [self.client.pn(), self.client.lid()];
            if !own.iter().flatten().any(|own| own.to_non_ad() == requester.to_non_ad()) {
                return None;
            }
        }
        let chat = resend.recipient.as_deref().unwrap_or(&resend.from);
        let chat = chat.parse::<Jid>().ok()?.to_non_ad();
        let mut names = vec![chat.clone()];
        if let Ok(Some(entry)) = self.client.get_lid_pn_entry(&chat).await {
            names.push(Jid::pn(&*entry.phone_number));
            names.push(Jid::lid(&*entry.lid));
        }
        for stored in names {
            match self.store.sent_message(&stored.to_string(), &resend.message_id) {
                Ok(Some(bytes)) => {
                    let message = whatsapp_rust::waproto::codec::message_decode(&bytes).ok()?;
                    return Some((chat, message));
                }
                Ok(None) => {}
                Err(error) => self.complain(&error),
            }
        }
        None
    }

    fn complain(&self, error: &(dyn std::error::Error + 'static)) {
        tracing::error!(instance.id = %self.instance, error, "requests to send a message again could not be kept");
    }
}

#[cfg(test)]
mod tests {
    use whatsapp_rust::wacore_binary::builder::NodeBuilder;

    use super::*;

    fn receipt(kind: Option<&str>) -> NodeBuilder {
        let receipt = NodeBuilder::new("receipt").attr("from", "1:2@lid").attr("id", "3EB0AA");
        match kind {
            Some(kind) => receipt.attr("type", kind),
            None => receipt,
        }
    }

    #[test]
    fn a_request_names_its_message_and_its_device() {
        let retry = NodeBuilder::new("retry")
            .attr("id", "3EB0AA")
            .attr("count", "2")
            .build();
        let node = receipt(Some("retry")).children([retry]).build();
        let Some(Seen::Asked(resend)) = read(&node.as_node_ref()) else {
            panic!("not a request");
        };
        assert_eq!(
            (resend.message_id.as_str(), resend.requester(), resend.count),
            ("3EB0AA", "1:2@lid", 2)
        );
    }

    #[test]
    fn a_request_that_the_library_refuses_is_not_noted() {
        let retry = NodeBuilder::new("retry")
            .attr("id", "3EB0AA")
            .attr("count", "5")
            .build();
        let node = receipt(Some("retry")).children([retry]).build();
        assert_eq!(read(&node.as_node_ref()), None);
    }

    #[test]
    fn a_receipt_confirms_every_message_it_lists() {
        let item = NodeBuilder::new("item").attr("id", "3EB0BB").build();
        let list = NodeBuilder::new("list").children([item]).build();
        let node = receipt(Some("read")).children([list]).build();
        assert_eq!(
            read(&node.as_node_ref()),
            Some(Seen::Confirmed {
                by: "1:2@lid".into(),
                ids: vec!["3EB0AA".into(), "3EB0BB".into()],
            })
        );
        assert_eq!(read(&receipt(Some("server-error")).build().as_node_ref()), None);
    }

    #[tokio::test]
    async fn the_gate_lets_nobody_through_while_something_is_unsaved() {
        let gate = Gate::default();
        gate.passed().await;
        gate.close();
        gate.close();
        gate.open();
        assert!(futures_util::FutureExt::now_or_never(gate.passed()).is_none());
        gate.open();
        gate.passed().await;
    }
}
