//! The outbox: every stored message goes out in order, and again until WhatsApp has acknowledged it.
//!
//! The row in the store is the promise; what is kept here in memory is only when to look at it again. A resend has
//! the same id, so the other side shows it once. After a reconnect everything that is not settled goes out again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use whatsapp_rust::prelude::{Client, ClientError, SendError, SendOptions};

use super::board::Board;
use super::delivery::{self, Known, Tick};
use super::incoming::phone_behind;
use super::translate::address::to_jid;
use super::translate::body;
use super::waiting;
use crate::domain::address::{Address, ChatType};
use crate::domain::event::Failure;
use crate::domain::id::InstanceId;
use crate::domain::message::{MessageId, Outbound};
use crate::store::{ReadError, Store, WriteError};
use crate::sys::clock::{self, Moment};

/// How many rows are read at once.
const PAGE: usize = 64;

/// How often a message is written to an open connection before it counts as refused.
const ATTEMPTS: u32 = 5;

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// How long the library may take to write one message: it may have to ask for devices and keys first.
const WRITE_TIMEOUT: Duration = Duration::from_mins(1);

/// How many recipients are remembered as being on WhatsApp.
const REMEMBERED_RECIPIENTS: usize = 4_096;

#[derive(Clone, Copy)]
struct Flight {
    attempts: u32,
    due: Moment,
}

/// Which messages are on their way, and when to look at them again.
#[derive(Default)]
pub(super) struct InFlight {
    flights: Mutex<HashMap<MessageId, Flight>>,
}

impl InFlight {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<MessageId, Flight>) -> T) -> T {
        // A map of plain values cannot be left half done by a panic.
        work(&mut self.flights.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How often each of these was written.
    pub fn attempts<'a>(&self, ids: impl Iterator<Item = &'a MessageId>) -> HashMap<MessageId, u32> {
        self.with(|flights| {
            ids.filter_map(|id| Some((id.clone(), flights.get(id)?.attempts)))
                .collect()
        })
    }

    /// These are settled.
    pub fn settled<'a>(&self, ids: impl Iterator<Item = &'a MessageId>) {
        self.with(|flights| {
            for id in ids {
                flights.remove(id);
            }
        });
    }

    fn clear(&self) {
        self.with(HashMap::clear);
    }

    fn get(&self, id: &MessageId) -> Option<Flight> {
        self.with(|flights| flights.get(id).copied())
    }

    fn next_due(&self) -> Option<Moment> {
        self.with(|flights| flights.values().map(|flight| flight.due).min())
    }

    /// Counts one more attempt and answers how many there were.
    fn attempt(&self, id: &MessageId, ack_timeout: Duration) -> u32 {
        self.with(|flights| {
            let attempts = flights.get(id).map_or(0, |flight| flight.attempts) + 1;
            let wait = ack_timeout
                .saturating_mul(1 << (attempts - 1).min(16))
                .min(LONGEST_WAIT.max(ack_timeout));
            let due = clock::moment().plus(wait);
            flights.insert(id.clone(), Flight { attempts, due });
            attempts
        })
    }
}

/// What became of writing one message.
enum Written {
    /// It is on the socket; the acknowledgement decides.
    Yes,
    /// It can never be sent.
    Never(Failure),
    /// Not this time; tried again when due.
    Later,
    /// There is no connection; tried again after the next login.
    Offline,
}

/// Sends one instance's messages.
pub(super) struct Outbox {
    pub store: Store,
    pub instance: InstanceId,
    pub client: Arc<Client>,
    pub board: Arc<Board>,
    pub in_flight: Arc<InFlight>,
    pub ack_timeout: Duration,
    /// Counts logins: a new number is a new connection, zero is none.
    pub login: watch::Receiver<u64>,
    /// Recipients that are known to be on WhatsApp.
    pub recipients: HashSet<Address>,
    /// Messages whose last attempt found no device that could be encrypted for.
    pub keyless: HashSet<MessageId>,
}

impl Outbox {
    /// Runs until the session ends, which aborts it.
    pub async fn run(mut self) {
        let mut login = 0;
        // Rows up to here were looked at since the login; newer ones are found without reading the older again.
        let mut seen = 0;
        loop {
            let current = *self.login.borrow_and_update();
            if current == 0 {
                if self.login.changed().await.is_err() {
                    return;
                }
                continue;
            }
            if current != login {
                login = current;
                seen = 0;
                // On a new connection everything that is not settled goes out again, in order, with fresh attempts.
                self.in_flight.clear();
            }
            let due = self.in_flight.next_due();
            let from = if due.is_some_and(|due| due <= clock::moment()) {
                0
            } else {
                seen
            };
            match self.pass(from).await {
                Ok(last) => seen = seen.max(last),
                Err(error) => {
                    tracing::error!(
                        instance.id = %self.instance,
                        error = &error as &dyn std::error::Error,
                        "the outbox could not be read or settled; it is tried again"
                    );
                    clock::sleep(Duration::from_secs(5)).await;
                    continue;
                }
            }
            let due = self.in_flight.next_due();
            let board = self.board.clone();
            tokio::select! {
                () = board.wake.notified() => {}
                changed = self.login.changed() => if changed.is_err() { return },
                () = async {
                    match due {
                        Some(due) => clock::sleep_until(due).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }

    /// Looks at every row behind `after` and sends what is due; answers the last row looked at.
    async fn pass(&mut self, after: u64) -> Result<u64, WriteError> {
        let mut last = after;
        loop {
            let rows = self.read(last)?;
            let full = rows.len() == PAGE;
            for row in rows {
                match self.look_at(&row).await? {
                    Written::Offline => return Ok(last),
                    Written::Yes | Written::Never(_) | Written::Later => last = last.max(row.sequence),
                }
                if *self.login.borrow() == 0 {
                    return Ok(last);
                }
            }
            if !full {
                return Ok(last);
            }
        }
    }

    fn read(&self, after: u64) -> Result<Vec<Outbound>, ReadError> {
        self.store.read(|view| view.outbox(self.instance, after, PAGE))
    }

    async fn look_at(&mut self, row: &Outbound) -> Result<Written, WriteError> {
        if let Some(flight) = self.in_flight.get(&row.message_id) {
            if flight.due > clock::moment() {
                return Ok(Written::Later);
            }
            if flight.attempts >= ATTEMPTS {
                let failure = self.given_up(&row.message_id);
                self.fail(row, failure.clone()).await?;
                return Ok(Written::Never(failure));
            }
        }
        // The page was read a while ago, the acknowledgement may have come meanwhile.
        let unsettled = self
            .store
            .read(|view| view.outbound(self.instance, &row.message_id))?
            .is_some_and(|row| row.due_at.is_some());
        if !unsettled {
            return Ok(Written::Later);
        }
        if waiting::has_expired(row, clock::now()) {
            let failure = waiting::expired();
            self.fail(row, failure.clone()).await?;
            return Ok(Written::Never(failure));
        }
        let written = self.write(row).await;
        if let Written::Never(failure) = &written {
            self.fail(row, failure.clone()).await?;
        }
        Ok(written)
    }

    /// Writes one message to the socket.
    async fn write(&mut self, row: &Outbound) -> Written {
        let Some(message) = body::outbound(row) else {
            return Written::Never(Failure {
                code: "unsupported".to_owned(),
                message: "This version cannot send this kind of message.".to_owned(),
            });
        };
        match self.is_on_whatsapp(&row.to).await {
            Some(true) | None => {}
            Some(false) => {
                return Written::Never(Failure {
                    code: "recipient_not_on_whatsapp".to_owned(),
                    message: "The number has no WhatsApp account. Check it, country code included.".to_owned(),
                });
            }
        }
        let attempt = self.in_flight.attempt(&row.message_id, self.ack_timeout);
        if !self.can_encrypt(&row.to).await {
            tracing::warn!(instance.id = %self.instance, message.id = %row.message_id, to = %row.to.masked(), attempt, "no device of the recipient has usable keys; it is tried again");
            self.keyless.insert(row.message_id.clone());
            return if *self.login.borrow() == 0 {
                self.in_flight.settled(std::iter::once(&row.message_id));
                Written::Offline
            } else {
                Written::Later
            };
        }
        self.keyless.remove(&row.message_id);
        let options = SendOptions::default().with_message_id(row.message_id.as_str());
        let (client, to) = (self.client.clone(), to_jid(&row.to));
        // A task of its own: a panic of the library costs this attempt, and a send that takes too long is not cut in
        // the middle of its bookkeeping.
        let sending = tokio::spawn(async move { client.send_message_with_options(to, message, options).await });
        let outcome = match clock::timeout(WRITE_TIMEOUT, sending).await {
            Ok(Ok(Ok(_))) => Written::Yes,
            Ok(Ok(Err(error))) => self.classify(row, attempt, &error),
            Ok(Err(panicked)) => {
                tracing::error!(instance.id = %self.instance, message.id = %row.message_id, error = %panicked, "writing a message crashed; it is tried again");
                Written::Later
            }
            Err(_) => {
                tracing::warn!(instance.id = %self.instance, message.id = %row.message_id, "writing a message takes too long; it is tried again");
                Written::Later
            }
        };
        if matches!(outcome, Written::Offline) {
            self.in_flight.settled(std::iter::once(&row.message_id));
        }
        outcome
    }

    fn classify(&self, row: &Outbound, attempt: u32, error: &SendError) -> Written {
        match error {
            SendError::InvalidRequest(_) => {
                tracing::warn!(instance.id = %self.instance, message.id = %row.message_id, to = %row.to.masked(), "the client library refuses the message");
                Written::Never(Failure {
                    code: "invalid_request".to_owned(),
                    message: "A message of this kind cannot be sent to this address.".to_owned(),
                })
            }
            SendError::NotLoggedIn
            | SendError::Client(
                ClientError::NotConnected
                | ClientError::NotLoggedIn
                | ClientError::Socket(_)
                | ClientError::EncryptSend(_),
            ) => Written::Offline,
            _ => {
                tracing::warn!(
                    instance.id = %self.instance,
                    message.id = %row.message_id,
                    attempt,
                    "a message could not be written; it is tried again"
                );
                Written::Later
            }
        }
    }

    /// Whether a person can be written to; `None` when nobody knows. The library itself reports success for a message
    /// that no device can receive, so this is asked once for each new recipient.
    async fn is_on_whatsapp(&mut self, to: &Address) -> Option<bool> {
        if to.chat_type() != ChatType::Direct || to.phone_number().is_none() || self.recipients.contains(to) {
            return None;
        }
        let jid = to_jid(to);
        let known = matches!(self.client.get_lid_pn_entry(&jid).await, Ok(Some(_)));
        if !known {
            let (client, asked) = (self.client.clone(), jid.clone());
            let asking = tokio::spawn(async move { client.contacts().is_on_whatsapp(&[asked]).await });
            let answer = clock::timeout(Duration::from_secs(15), asking).await.ok()?.ok()?.ok()?;
            if !answer.first()?.is_registered {
                return Some(false);
            }
        }
        if self.recipients.len() >= REMEMBERED_RECIPIENTS {
            self.recipients.clear();
        }
        self.recipients.insert(to.clone());
        Some(true)
    }

    /// Whether any device of a person can be encrypted for. The library sends a message that nobody can read as if it
    /// were fine, and WhatsApp acknowledges it.
    async fn can_encrypt(&self, to: &Address) -> bool {
        let jid = to_jid(to);
        let own = [self.client.pn(), self.client.lid()];
        let to_self = own.iter().flatten().any(|own| own.user_base() == jid.user_base());
        if to.chat_type() != ChatType::Direct || to_self {
            return true;
        }
        let client = self.client.clone();
        let looking = tokio::spawn(async move {
            let signal = client.signal();
            if signal.validate_session(&jid).await.unwrap_or(true) {
                return true;
            }
            // A first message, or a phone without keys: its other devices will do.
            let devices = match signal.get_user_devices(std::slice::from_ref(&jid)).await {
                Ok(devices) if devices.is_empty() => vec![jid],
                Ok(devices) => devices,
                // Whatever it is, sending will meet it too and knows better what to make of it.
                Err(_) => return true,
            };
            if signal.assert_sessions(&devices).await.is_err() {
                tracing::debug!("sessions with a recipient's devices could not all be made");
            }
            for device in &devices {
                if signal.validate_session(device).await.unwrap_or(true) {
                    return true;
                }
            }
            false
        });
        // A panic, or a library that takes too long, is no proof of anything: sending meets it again.
        !matches!(clock::timeout(WRITE_TIMEOUT, looking).await, Ok(Ok(false)))
    }

    /// Why a message is given up after its last attempt.
    fn given_up(&mut self, id: &MessageId) -> Failure {
        if self.keyless.remove(id) {
            return Failure {
                code: "no_keys".to_owned(),
                message: format!(
                    "None of the recipient's devices had usable keys in {ATTEMPTS} attempts, so nothing was sent. Ask the recipient to open WhatsApp, then send it again."
                ),
            };
        }
        Failure {
            code: "no_ack".to_owned(),
            message: format!(
                "WhatsApp did not acknowledge the message after {ATTEMPTS} attempts. It may have arrived; ask the recipient before sending it again."
            ),
        }
    }

    async fn fail(&self, row: &Outbound, failure: Failure) -> Result<(), WriteError> {
        tracing::info!(instance.id = %self.instance, message.id = %row.message_id, code = failure.code, "a message failed for good");
        let id = row.message_id.clone();
        let mut known = Known {
            attempts: self.in_flight.attempts(std::iter::once(&id)),
            ..Known::default()
        };
        if let Some(phone) = phone_behind(&self.client, &row.to).await {
            known.phones.insert(row.to.clone(), phone);
        }
        let instance = self.instance;
        let ticks = [Tick::Failed {
            id: id.clone(),
            failure,
        }];
        self.store
            .write(move |tx| delivery::settle(tx, instance, &ticks, &known, clock::now()))
            .await?;
        self.in_flight.settled(std::iter::once(&id));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_between_attempts_grow_up_to_a_limit() {
        let in_flight = InFlight::default();
        let id = MessageId::from_wire("3EB0AA");
        let ack_timeout = Duration::from_secs(30);
        let mut waits = Vec::new();
        for expected in 1..=7 {
            let before = clock::moment();
            assert_eq!(in_flight.attempt(&id, ack_timeout), expected);
            let due = in_flight.get(&id).unwrap().due;
            waits.push(due.since(before).as_secs());
        }
        assert_eq!(waits, [30, 60, 120, 240, 300, 300, 300]);
    }

    #[test]
    fn what_is_settled_is_no_longer_due() {
        let in_flight = InFlight::default();
        let (one, two) = (MessageId::from_wire("1"), MessageId::from_wire("2"));
        in_flight.attempt(&one, Duration::from_secs(1));
        in_flight.attempt(&two, Duration::from_secs(1));
        in_flight.settled([&one].into_iter());
        assert!(in_flight.get(&one).is_none());
        assert_eq!(
            in_flight.attempts([&one, &two].into_iter()),
            HashMap::from([(two.clone(), 1)])
        );
        in_flight.clear();
        assert_eq!(in_flight.next_due(), None);
    }
}
