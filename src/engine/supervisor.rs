//! One task per instance: obeys commands, runs at most one session, decides what comes after it.
//!
//! The task is watched from outside ([`watch_over`]): if it panics, its client is ended first, then the instance is
//! shown as crashed, and started again after a while. Nobody else notices.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc, oneshot};

use super::board::Board;
use super::code;
use super::listener::Life;
use super::pairing::Pairing;
use super::record::{self, Link, Note, record};
use super::session::{Grip, Parts, Session, Step};
use super::translate::address::from_jid;
use super::trouble::{Refusal, Trouble};
use super::{Qr, Shared};
use crate::domain::error::{Code, Error};
use crate::domain::event::{DisconnectReason, EventBody};
use crate::domain::id::InstanceId;
use crate::domain::instance::{Change, Instance, Settings};
use crate::domain::qr;
use crate::store::WriteError;
use crate::sys::clock::{self, Moment};

/// What an instance's task can be told.
#[derive(Debug)]
pub(super) enum Order {
    /// Start the session if none runs; the owner wants it running.
    Connect,
    /// Start it at the start of the process.
    Resume,
    /// Stop it and keep the link.
    Disconnect,
    /// Stop and start.
    Restart,
    /// Apply the settings that the owner has just chosen.
    Heed,
    /// Unlink.
    Logout,
    /// Unlink and end the task: the instance is being deleted.
    Remove,
    /// End the task: the process stops.
    Stop,
    /// Fail, to see that nobody else notices.
    #[cfg(all(test, feature = "sandbox"))]
    Panic,
}

/// An order and who waits for it.
pub(super) type Command = (Order, oneshot::Sender<Result<(), Error>>);

/// The first wait after a failed attempt.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// How long to wait after WhatsApp asked for fewer connections.
const SLOW_WAIT: Duration = Duration::from_mins(10);

/// A connection that lasted this long was a good one: the next failure is the first.
const STABLE: Duration = Duration::from_secs(30);

/// How long to wait for the news of a link after the socket on which it happened is closed.
const LAST_WORD: Duration = Duration::from_secs(2);

/// How often health is looked at.
const ROUND: Duration = Duration::from_secs(30);

/// How often "last seen" is written, in rounds.
const SEEN_EVERY: u32 = 10;

/// How often the picture is held against the secret of the link while a code is out, see [`code::Desk::redrawn`].
const CODE_ROUND: Duration = Duration::from_secs(1);

/// Runs an instance's task and starts it again when it panics.
pub(super) async fn watch_over(
    shared: Shared,
    instance: InstanceId,
    board: Arc<Board>,
    commands: mpsc::Receiver<Command>,
) {
    let commands = Arc::new(Mutex::new(commands));
    let grip = Grip::default();
    let mut crashes = 0;
    let mut resume_at = None;
    loop {
        let supervisor = Supervisor {
            shared: shared.clone(),
            id: instance,
            board: board.clone(),
            grip: grip.clone(),
            session: None,
            permit: None,
            retry_at: resume_at.take(),
            attempts: crashes,
            opened_at: None,
            verdict: None,
            paired: false,
            slow_downs: 0,
            code_ends: None,
            unrecorded: false,
            rounds: 0,
        };
        let commands = commands.clone();
        let ended = tokio::spawn(async move { supervisor.run(&mut *commands.lock().await).await }).await;
        let Err(error) = ended else {
            return;
        };
        grip.end().await;
        board.running.store(false, Ordering::Relaxed);
        board.set_connected(None);
        board.set_desk(None);
        if error.is_cancelled() {
            return;
        }
        tracing::error!(instance.id = %instance, "an instance's task crashed; it is started again");
        crashes = (crashes + 1).min(16);
        let wait = backoff(crashes);
        resume_at = note_crash(&shared, instance, wait).await;
    }
}

/// Shows an instance as crashed; answers when it is started again, if the owner wants it running.
async fn note_crash(shared: &Shared, instance: InstanceId, wait: Duration) -> Option<Moment> {
    let next = clock::now().plus(wait);
    let note = Note::new(Change::Crashed)
        .because(Trouble::crashed())
        .retried_at(Some(next))
        .disconnected(DisconnectReason::Network);
    match record(&shared.store, instance, note).await {
        Ok(Some(row)) => row.wanted.then(|| clock::moment().plus(wait)),
        Ok(None) => None,
        Err(error) => {
            tracing::error!(instance.id = %instance, error = &error as &dyn std::error::Error, "a crash could not be noted");
            None
        }
    }
}

/// The wait before attempt number `attempt` (counted from zero): doubling, capped, and jittered so that a thousand
/// instances that lost the same network do not come back in the same second.
fn backoff(attempt: u32) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(1 << attempt.min(10)).min(LONGEST_WAIT);
    wait.mul_f64(rand::random_range(0.75..=1.0))
}

struct Supervisor {
    shared: Shared,
    id: InstanceId,
    board: Arc<Board>,
    grip: Grip,
    session: Option<Session>,
    /// One of the process's places for sessions.
    permit: Option<OwnedSemaphorePermit>,
    /// When the next connection is tried.
    retry_at: Option<Moment>,
    /// Failed attempts in a row.
    attempts: u32,
    opened_at: Option<Moment>,
    /// Why the current connection ends, when WhatsApp said so.
    verdict: Option<Trouble>,
    /// A phone linked on this connection: the server closes it, and the next one logs in.
    paired: bool,
    slow_downs: u32,
    /// No QR code is left and the session waits for a pairing code to be typed: until then.
    code_ends: Option<Moment>,
    /// The session is usable, but that could not be stored yet (a full disk, say).
    unrecorded: bool,
    rounds: u32,
}

/// What happened next.
enum Next {
    Command(Option<Command>),
    Session(Step),
    Retry,
    Round,
    CodeOver,
    CodeRound,
}

impl Supervisor {
    async fn run(mut self, commands: &mut mpsc::Receiver<Command>) {
        let mut round = clock::moment().plus(ROUND);
        loop {
            match self.next(commands, round).await {
                Next::Command(None) => {
                    self.end_session().await;
                    return;
                }
                Next::Command(Some((order, answer))) => {
                    let last = matches!(order, Order::Remove | Order::Stop);
                    let result = self.obey(order).await;
                    // Nobody may be waiting any more; the order was carried out all the same.
                    let _ = answer.send(result);
                    if last {
                        return;
                    }
                }
                Next::Session(Step::Life(life)) => self.live(life).await,
                Next::Session(Step::Closed(ended)) => self.closed(ended).await,
                Next::Retry => self.retry().await,
                Next::CodeOver => self.code_over(Trouble::pair_code_expired()).await,
                Next::CodeRound => self.redraw().await,
                Next::Round => {
                    round = clock::moment().plus(ROUND);
                    self.look_round().await;
                }
            }
        }
    }

    async fn next(&mut self, commands: &mut mpsc::Receiver<Command>, round: Moment) -> Next {
        let retry_at = self.retry_at;
        let has_session = self.session.is_some();
        let code_is_out = self.session.as_ref().is_some_and(|session| session.desk.is_open());
        let retry = async {
            match retry_at {
                Some(at) => clock::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let code_ends = self.code_ends;
        let code_over = async {
            match code_ends {
                Some(at) => clock::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let session = async {
            match &mut self.session {
                Some(session) => session.step().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            command = commands.recv() => Next::Command(command),
            step = session => Next::Session(step),
            () = retry => Next::Retry,
            () = code_over => Next::CodeOver,
            () = clock::sleep_until(round), if has_session => Next::Round,
            () = clock::sleep(CODE_ROUND), if code_is_out => Next::CodeRound,
        }
    }

    async fn obey(&mut self, order: Order) -> Result<(), Error> {
        match order {
            Order::Connect => self.connect().await,
            Order::Resume => {
                if self.session.is_none()
                    && let Err(error) = self.start(None).await
                {
                    tracing::warn!(instance.id = %self.id, error = &error as &dyn std::error::Error, "an instance could not be resumed");
                    if error.code == Code::AtCapacity {
                        self.note(Note::new(Change::Lost).because(Trouble::at_capacity())).await;
                    }
                }
                Ok(())
            }
            Order::Disconnect => {
                self.end_session().await;
                let note = Note::new(Change::Stopped)
                    .because(Trouble::stopped())
                    .wanted(false)
                    .disconnected(DisconnectReason::Stopped);
                self.show_end(Trouble::stopped());
                self.store(note).await.map(|_| ())
            }
            Order::Restart => {
                self.end_session().await;
                let note = Note::new(Change::Lost)
                    .because(Trouble::restarting())
                    .disconnected(DisconnectReason::Stopped);
                // A failed instance has no connection to lose; it is simply started.
                match record(&self.shared.store, self.id, note).await {
                    Ok(Some(_)) | Err(WriteError::Rejected(_)) => {}
                    Ok(None) => return Err(gone()),
                    Err(error) => return Err(error.into()),
                }
                self.attempts = 0;
                self.start(Some(true)).await
            }
            Order::Heed => {
                if let Some(session) = self.session.as_ref().filter(|_| self.opened_at.is_some()) {
                    session.appear(self.settings().marks_online()).await;
                }
                Ok(())
            }
            Order::Logout => {
                self.unlink().await;
                let note = Note::new(Change::Unlinked)
                    .linking(Link::Forget)
                    .wanted(false)
                    .disconnected(DisconnectReason::Logout);
                self.show_end(Trouble::stopped());
                self.store(note).await.map(|_| ())
            }
            Order::Remove => {
                self.unlink().await;
                record::forget(&self.shared.store, self.id).await.map_err(Error::from)
            }
            Order::Stop => {
                let ran = self.session.is_some() || self.retry_at.is_some();
                self.end_session().await;
                if ran {
                    let note = Note::new(Change::Lost)
                        .because(Trouble::gateway_stopped())
                        .disconnected(DisconnectReason::Stopped);
                    self.note(note).await;
                }
                Ok(())
            }
            #[cfg(all(test, feature = "sandbox"))]
            Order::Panic => panic!("on request"),
        }
    }

    async fn connect(&mut self) -> Result<(), Error> {
        match &mut self.session {
            Some(session) if session.is_running() => Ok(()),
            Some(session) => {
                // It waits for its next attempt: the caller knows better than the timer.
                self.attempts = 0;
                self.retry_at = None;
                session.connect();
                self.store(Note::new(Change::Start).wanted(true)).await.map(|_| ())
            }
            None => {
                self.attempts = 0;
                self.start(Some(true)).await
            }
        }
    }

    /// Builds the client and makes the first connection.
    async fn start(&mut self, wanted: Option<bool>) -> Result<(), Error> {
        if self.permit.is_none() {
            let places = self.shared.places.clone();
            self.permit = Some(places.try_acquire_owned().map_err(|_| {
                Error::new(
                    Code::AtCapacity,
                    "The configured number of sessions runs already. Disconnect another instance or raise the limit.",
                )
            })?);
        }
        self.retry_at = None;
        let mut note = Note::new(Change::Start);
        note.wanted = wanted;
        let row = match self.store(note).await {
            Ok(row) => row,
            Err(error) => {
                self.permit = None;
                return Err(error);
            }
        };
        self.board.show(if row.is_linked() {
            Pairing::Linked
        } else {
            Pairing::Waiting
        });
        self.build(&row).await
    }

    async fn build(&mut self, row: &Instance) -> Result<(), Error> {
        let parts = Parts {
            shared: &self.shared,
            instance: self.id,
            session: row.session,
            board: &self.board,
            grip: &self.grip,
        };
        match Session::build(parts).await {
            Ok(session) => {
                self.board.set_desk(Some(session.desk.clone()));
                self.session = Some(session);
                self.board.running.store(true, Ordering::Relaxed);
                self.slow_downs = 0;
                tracing::info!(instance.id = %self.id, "the session is started");
                Ok(())
            }
            Err(error) => {
                tracing::error!(instance.id = %self.id, error = &error as &dyn std::error::Error, "the session could not be started");
                self.lose(Trouble::not_saving(), backoff(self.attempts)).await;
                Err(Error::internal(error))
            }
        }
    }

    async fn retry(&mut self) {
        self.retry_at = None;
        if let Some(session) = &mut self.session {
            session.connect();
        } else if let Err(error) = self.start(None).await {
            tracing::warn!(instance.id = %self.id, error = &error as &dyn std::error::Error, "the session could not be started again");
        }
    }

    async fn live(&mut self, life: Life) {
        match life {
            Life::QrOffered { code, valid } => self.offer(code, valid).await,
            Life::QrExhausted => self.code_over(Trouble::qr_expired()).await,
            Life::CodeRetired => {
                let retired = self.session.as_ref().is_some_and(|session| session.desk.retire());
                if self.code_ends.is_some() {
                    self.code_over(Trouble::pair_code_failed()).await;
                } else if retired {
                    // The QR codes go on; the reason stands until the next of them.
                    self.note(Note::new(Change::QrOffered).because(Trouble::pair_code_failed()))
                        .await;
                }
            }
            Life::Paired { jid, lid } => {
                self.paired = true;
                self.verdict = None;
                self.forget_code();
                self.board.show(Pairing::Linked);
                let Some(jid) = from_jid(&jid) else {
                    tracing::error!(instance.id = %self.id, "a phone linked under an address that is no phone number");
                    return;
                };
                tracing::info!(instance.id = %self.id, account = %jid.masked(), "a phone linked this instance");
                let link = Link::Account {
                    jid,
                    lid: from_jid(&lid),
                };
                self.note(Note::new(Change::Paired).linking(link).wanted(true)).await;
            }
            Life::PairingFailed => {
                // The socket would stay open and show a code that is used up; a new one shows new codes.
                self.end_session().await;
                let wait = backoff(self.attempts);
                self.attempts = self.attempts.saturating_add(1);
                self.lose(Trouble::pairing_failed(), wait).await;
            }
            Life::Opened => self.opened().await,
            Life::Renamed => {
                if let Some(session) = &self.session
                    && !self.settings().marks_online()
                {
                    session.disappear_soon();
                }
            }
            Life::Refused(refusal) => self.refuse(refusal).await,
            Life::Outdated => {
                self.end_session().await;
                let newer = clock::timeout(Duration::from_secs(5), self.shared.version.refresh()).await;
                if newer.unwrap_or(false) {
                    self.lose(Trouble::server(), FIRST_WAIT).await;
                } else {
                    self.refuse(Refusal::outdated()).await;
                }
            }
            Life::Failed(trouble) => self.verdict = Some(trouble),
        }
    }

    /// The QR codes are used up, or the pairing code is: the session ends unless the other can still link it.
    async fn code_over(&mut self, trouble: Trouble) {
        let typed_until = self.session.as_ref().and_then(|session| session.desk.outstanding());
        if let Some(until) = typed_until {
            self.code_ends = Some(clock::moment().plus(until.since(clock::now()) + code::LINK_PATIENCE));
            self.show_end(Trouble::pair_code_waiting());
            return;
        }
        self.end_session().await;
        self.show_end(trouble.clone());
        self.note(Note::new(Change::QrExhausted).because(trouble)).await;
    }

    fn forget_code(&mut self) {
        self.code_ends = None;
        if let Some(session) = &self.session {
            session.desk.retire();
        }
    }

    /// WhatsApp offers a code.
    async fn offer(&mut self, code: String, valid: Duration) {
        let expires_at = clock::now().plus(valid);
        let picture = match qr::data_url(&code) {
            Ok(picture) => picture,
            Err(error) => {
                tracing::error!(instance.id = %self.id, error = &error as &dyn std::error::Error, "a pairing code could not be drawn");
                return;
            }
        };
        let note = Note::new(Change::QrOffered).telling(EventBody::QrUpdated {
            qr: picture,
            code: code.clone(),
            expires_at,
        });
        if self.note(note).await {
            self.board.show(Pairing::Code(Qr { code, expires_at }));
        }
    }

    /// Draws the picture anew if the link's secret has changed under it.
    async fn redraw(&mut self) {
        let Some(session) = &self.session else { return };
        let shown = self.board.pairing.borrow().clone();
        if let Pairing::Code(qr) = shown
            && let Some(code) = session.desk.redrawn(&qr.code)
        {
            self.offer(code, qr.expires_at.since(clock::now())).await;
        }
    }

    /// The session is usable.
    async fn opened(&mut self) {
        let Some(session) = &mut self.session else {
            return;
        };
        let Some((jid, lid, push_name)) = session.account() else {
            tracing::error!(instance.id = %self.id, "a session opened without an account");
            return;
        };
        let now = clock::now();
        self.opened_at = Some(clock::moment());
        self.verdict = None;
        self.paired = false;
        self.board.set_connected(Some(now));
        self.board.failed_attempts.store(0, Ordering::Relaxed);
        self.board.show(Pairing::Linked);
        tracing::info!(instance.id = %self.id, account = %jid.masked(), "connected");
        let note = Note::new(Change::Opened)
            .linking(Link::Account {
                jid: jid.clone(),
                lid: lid.clone(),
            })
            .telling(EventBody::InstanceConnected {
                phone_number: jid.user().to_owned(),
                push_name,
                jid,
                lid,
            });
        self.unrecorded = !self.note(note).await;
        if !self.unrecorded
            && let Some(session) = &mut self.session
        {
            session.opened();
            self.board.memory.store(session.memory().await, Ordering::Relaxed);
            if !self.settings().marks_online()
                && let Some(session) = &self.session
            {
                session.appear(false).await;
            }
        }
    }

    /// What the owner has chosen; the defaults when that cannot be read, which the next write will tell.
    fn settings(&self) -> Settings {
        let row = self.shared.store.read(|view| view.instance(self.id));
        row.ok().flatten().map(|row| row.settings).unwrap_or_default()
    }

    /// WhatsApp will not have this session any more.
    async fn refuse(&mut self, refusal: Refusal) {
        tracing::warn!(instance.id = %self.id, code = refusal.trouble.code, "WhatsApp refuses the session; a person is needed");
        self.end_session().await;
        self.show_end(refusal.trouble.clone());
        let mut note = Note::new(Change::Refused(refusal.reason))
            .because(refusal.trouble)
            .disconnected(refusal.reason);
        if refusal.unlinked {
            note = note.linking(Link::Forget);
        }
        self.note(note).await;
    }

    /// The connection is over, or could not be made.
    async fn closed(&mut self, ended: Result<(), ()>) {
        self.board.set_connected(None);
        let lasted = self.opened_at.take().map(|at| clock::moment().since(at));
        // While a phone links, the server may close the socket before the library has finished saying so: what looks
        // like a loss is the middle of a success.
        let scanning = self.code_ends.is_some() || matches!(*self.board.pairing.borrow(), Pairing::Code(_));
        if ended.is_ok()
            && scanning
            && !self.paired
            && self.verdict.is_none()
            && let Some(session) = &mut self.session
            && let Some(life) = session.last_word(LAST_WORD).await
        {
            // No connection is held here, so this cannot come back to this place.
            Box::pin(self.live(life)).await;
        }
        // WhatsApp forgets a code with the socket on which it was asked for.
        self.forget_code();
        let verdict = self.verdict.take();
        let paired = std::mem::take(&mut self.paired);
        let Some(session) = &mut self.session else {
            return;
        };
        if ended.is_err() {
            tracing::error!(instance.id = %self.id, "the client library crashed; the session is built anew");
            self.end_session().await;
            self.attempts += 1;
            let wait = backoff(self.attempts);
            self.lose_by(Change::Crashed, Trouble::crashed(), wait).await;
            return;
        }
        if paired && verdict.is_none() {
            session.connect();
            return;
        }
        if lasted.is_some_and(|lasted| lasted >= STABLE) {
            self.attempts = 0;
        }
        let slow_downs = session.slow_downs();
        let told_to_wait = verdict.as_ref() == Some(&Trouble::rate_limited());
        let slowed = slow_downs > self.slow_downs || told_to_wait;
        self.slow_downs = slow_downs;
        let trouble = match verdict {
            Some(verdict) => verdict,
            None if slowed => Trouble::rate_limited(),
            None if lasted.is_some() => Trouble::network(),
            None => session.attempt.explain(self.shared.host()),
        };
        let wait = if slowed { SLOW_WAIT } else { backoff(self.attempts) };
        self.attempts = self.attempts.saturating_add(1);
        self.board.failed_attempts.store(self.attempts, Ordering::Relaxed);
        tracing::info!(
            instance.id = %self.id,
            code = trouble.code,
            attempt = self.attempts,
            wait_ms = wait.as_millis(),
            "not connected; it is tried again"
        );
        self.lose(trouble, wait).await;
    }

    async fn lose(&mut self, trouble: Trouble, wait: Duration) {
        self.lose_by(Change::Lost, trouble, wait).await;
    }

    /// Notes that there is no connection, and when the next is tried.
    async fn lose_by(&mut self, change: Change, trouble: Trouble, wait: Duration) {
        let next_attempt_at = clock::now().plus(wait);
        self.retry_at = Some(clock::moment().plus(wait));
        let note = Note::new(change)
            .because(trouble.clone())
            .retried_at(Some(next_attempt_at))
            .disconnected(DisconnectReason::Network);
        self.note(note).await;
        let linked = *self.board.pairing.borrow() == Pairing::Linked;
        if !linked {
            self.board.show(Pairing::Trouble {
                trouble,
                next_attempt_at,
            });
        }
    }

    /// Looks at a running session: numbers, signs of life, and whether its keys are still being saved.
    async fn look_round(&mut self) {
        let Some(session) = &self.session else {
            return;
        };
        if session.gave_up_saving() {
            tracing::error!(instance.id = %self.id, "the session's keys could not be saved; the session is built anew");
            self.end_session().await;
            self.lose(Trouble::not_saving(), LONGEST_WAIT).await;
            return;
        }
        self.board.memory.store(session.memory().await, Ordering::Relaxed);
        if self.unrecorded && self.opened_at.is_some() {
            self.opened().await;
        }
        self.rounds = self.rounds.wrapping_add(1);
        if self.opened_at.is_some()
            && self.rounds.is_multiple_of(SEEN_EVERY)
            && let Err(error) = record::seen(&self.shared.store, self.id).await
        {
            tracing::warn!(instance.id = %self.id, error = &error as &dyn std::error::Error, "the sign of life could not be stored");
        }
    }

    async fn unlink(&mut self) {
        if let Some(session) = &self.session {
            let told = session.unlink().await;
            if !told {
                tracing::warn!(instance.id = %self.id, "WhatsApp could not be told of the unlinking; remove the device on the phone if it is still listed");
            }
        }
        self.end_session().await;
    }

    async fn end_session(&mut self) {
        self.board.set_desk(None);
        self.code_ends = None;
        if let Some(session) = self.session.take() {
            session.end().await;
        }
        self.permit = None;
        self.retry_at = None;
        self.opened_at = None;
        self.verdict = None;
        self.paired = false;
        self.unrecorded = false;
        self.board.running.store(false, Ordering::Relaxed);
        self.board.set_connected(None);
        self.board.memory.store(0, Ordering::Relaxed);
    }

    fn show_end(&self, trouble: Trouble) {
        self.board.show(Pairing::Ended(trouble));
    }

    /// Stores a change that a caller waits for.
    async fn store(&mut self, note: Note) -> Result<Instance, Error> {
        record(&self.shared.store, self.id, note).await?.ok_or_else(gone)
    }

    /// Stores a change that nobody waits for; answers whether it is stored.
    async fn note(&mut self, note: Note) -> bool {
        let change = note.change;
        match record(&self.shared.store, self.id, note).await {
            Ok(Some(_)) => true,
            Ok(None) => {
                tracing::info!(instance.id = %self.id, "the instance was deleted, its session ends");
                self.end_session().await;
                false
            }
            Err(WriteError::Rejected(problem)) => {
                tracing::debug!(instance.id = %self.id, ?change, %problem, "a change does not fit the instance's state");
                false
            }
            Err(error) => {
                tracing::error!(instance.id = %self.id, ?change, error = &error as &dyn std::error::Error, "a change of an instance could not be stored");
                false
            }
        }
    }
}

fn gone() -> Error {
    Error::new(Code::InstanceNotFound, "There is no such instance, or it was deleted.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_cap_and_are_spread() {
        for (attempt, most) in [(0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (40, 60)] {
            let wait = backoff(attempt);
            assert!(wait <= Duration::from_secs(most), "{attempt}: {wait:?}");
            assert!(wait >= Duration::from_secs(most).mul_f64(0.74), "{attempt}: {wait:?}");
        }
    }
}
