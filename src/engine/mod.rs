//! WhatsApp sessions: starts, supervises and stops them, translates between WhatsApp's words and ours.

//!
//! ```text
//! Engine ──order──► supervisor (one task per instance) ──► session (one live client) ──► dialer ──► WhatsApp
//!    ▲                   │ record: status + events              ├─ listener ─► postman (ticks, in batches)
//!    └── board ◄─────────┘                                      ├─ inbox (durability hook: commit, then acknowledge)
//!        health, QR                                             ├─ outbox (in order, until acknowledged)
//!                                                               └─ resends (asked for by devices, until confirmed)
//! ```
//!
//! Everything that is told is stored first: a change of status and its events are one transaction (`record`), a
//! message and its event are one transaction (`incoming`, `delivery`). The client library is named here and in
//! `store/session` alone; `translate` is the border.

mod board;
mod calls;
mod code;
mod collections;
mod delivery;
mod dialer;
mod fetch;
mod incoming;
mod listener;
mod news;
mod outgoing;
mod pairing;
pub mod reach;
mod record;
mod resends;
mod session;
mod supervisor;
mod tls;
mod translate;
mod trouble;
mod version;
mod waiting;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::board::Board;
use self::dialer::Target;
use self::pairing::Sought;
use self::record::{Note, record};
use self::supervisor::{Command, Order};
use self::trouble::Trouble;
use self::version::VersionSource;
use crate::domain::Timestamp;
use crate::domain::error::{Code, Error};
use crate::domain::event::DisconnectReason;
use crate::domain::id::InstanceId;
use crate::domain::instance::{Change, Instance, Status};
use crate::store::Store;
use crate::sys::clock;

/// Orders that may wait at one instance's task.
const ORDERS: usize = 32;

/// How long an order may take: unlinking and a graceful end included.
const ORDER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long all sessions together may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// Between two instances that are resumed: a thousand logins at once look like an attack to WhatsApp, and a small
/// machine has better things to do with its first second.
const RESUME_STAGGER: Duration = Duration::from_millis(50);

/// How many instances are read at once.
const PAGE: usize = 100;

/// How sessions are run.
#[derive(Clone, Debug)]
pub struct Options {
    /// WhatsApp's WebSocket; `wss://web.whatsapp.com/ws/chat` in real life.
    pub url: String,
    /// What the phone shows as the name of this linked device.
    pub device_name: String,
    /// How long a connection attempt may take.
    pub connect_timeout: Duration,
    /// How long to wait for WhatsApp's acknowledgement before a message is sent again under the same id.
    pub ack_timeout: Duration,
    /// How many sessions may run at once.
    pub max_sessions: usize,
}

/// A pairing code that can be scanned now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Qr {
    /// What the picture says.
    pub code: String,
    /// When WhatsApp stops accepting it.
    pub expires_at: Timestamp,
}

/// A pairing code that can be typed now.
#[derive(Clone, PartialEq, Eq)]
pub struct PairCode {
    /// As a person types it, `ABCD-1234`.
    pub code: String,
    /// When WhatsApp stops accepting it.
    pub expires_at: Timestamp,
}

/// What is known of a link beyond its stored state.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LinkHealth {
    /// Whether a session task runs.
    pub running: bool,
    /// When the socket was opened.
    pub connected_since: Option<Timestamp>,
    /// When the last byte came from WhatsApp.
    pub last_received_at: Option<Timestamp>,
    /// Connection attempts since the last success.
    pub failed_attempts: u32,
    /// Messages received since the process started.
    pub messages_received: u64,
    /// Messages acknowledged by WhatsApp since the process started.
    pub messages_sent: u64,
    /// Bytes that the session's caches hold, as far as the engine can tell.
    pub memory_bytes: u64,
}

/// What all sessions share.
#[derive(Clone)]
struct Shared {
    store: Store,
    options: Arc<Options>,
    target: Result<Target, Trouble>,
    version: VersionSource,
    places: Arc<Semaphore>,
}

impl Shared {
    fn host(&self) -> &str {
        self.target.as_ref().map_or("WhatsApp", Target::host)
    }
}

/// An instance's task, seen from outside.
#[derive(Clone)]
struct Handle {
    commands: mpsc::Sender<Command>,
    board: Arc<Board>,
}

struct Inner {
    shared: Shared,
    handles: Mutex<Handles>,
}

#[derive(Default)]
struct Handles {
    stopping: bool,
    tasks: HashMap<InstanceId, Handle>,
}

/// The engine; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

impl Engine {
    /// Starts the engine: puts right what a crash left behind, then brings back, in the background, every instance that
    /// is wanted and linked.
    ///
    /// When this answers, no stored status claims a connection that this process does not have.
    pub async fn start(store: Store, options: Options) -> Engine {
        let target = Target::parse(&options.url);
        let asks = target.as_ref().is_ok_and(Target::is_whatsapp);
        let version = VersionSource::new(Arc::new(fetch::Fetch::new()), asks);
        let shared = Shared {
            store,
            target,
            version: version.clone(),
            places: Arc::new(Semaphore::new(options.max_sessions.min(Semaphore::MAX_PERMITS))),
            options: Arc::new(options),
        };
        let engine = Engine {
            inner: Arc::new(Inner {
                shared,
                handles: Mutex::default(),
            }),
        };
        tokio::spawn(version.keep_fresh());
        let wanted = engine.take_stock().await;
        tokio::spawn(engine.clone().resume(wanted));
        tokio::spawn(engine.give_up_the_expired());
        engine
    }

    /// Starts the instance's session if none runs and marks it wanted; answers without waiting for WhatsApp.
    pub async fn connect(&self, instance: InstanceId) -> Result<(), Error> {
        self.order(instance, Order::Connect).await
    }

    /// Stops the session, keeps the link, marks it unwanted; the status is final when this answers.
    pub async fn disconnect(&self, instance: InstanceId) -> Result<(), Error> {
        self.order(instance, Order::Disconnect).await
    }

    /// Stops the session and starts it anew.
    pub async fn restart(&self, instance: InstanceId) -> Result<(), Error> {
        self.order(instance, Order::Restart).await
    }

    /// Unlinks at WhatsApp if it can be reached, forgets the session's keys; back to `pending`.
    pub async fn logout(&self, instance: InstanceId) -> Result<(), Error> {
        self.order(instance, Order::Logout).await
    }

    /// Unlinks, stops and forgets the session of an instance that is being deleted.
    pub async fn remove(&self, instance: InstanceId) -> Result<(), Error> {
        let removed = self.order(instance, Order::Remove).await;
        self.handles().tasks.remove(&instance);
        removed
    }

    /// The code to scan: starts the session if none runs and waits at most `wait` for a code. Errors: `no_qr` when
    /// linked, `whatsapp_timeout` saying why (DNS, refused, TLS, certificate…) when none comes.
    pub async fn qr(&self, instance: InstanceId, wait: Duration) -> Result<Qr, Error> {
        let handle = self.unlinked(instance, Sought::Qr)?;
        let mut qr = self.offered(instance, &handle, Sought::Qr, wait).await?;
        if let Some(code) = handle.board.desk().and_then(|desk| desk.redrawn(&qr.code)) {
            qr.code = code;
        }
        Ok(qr)
    }

    /// The code to type on the phone of a number: the same again while it lives, a new one for another number. Starts
    /// the session if none runs. Errors: `pair_code_unavailable` when linked, `whatsapp_timeout` as for a QR,
    /// `pair_code_failed` when WhatsApp refuses.
    pub async fn pair_code(&self, instance: InstanceId, number: &str, wait: Duration) -> Result<PairCode, Error> {
        let handle = self.unlinked(instance, Sought::PairCode)?;
        if let Some(desk) = handle.board.desk()
            && desk.is_open()
        {
            return desk.ask(number).await;
        }
        // The offer of a QR code is the sign that WhatsApp listens to a device that wants to be linked.
        self.offered(instance, &handle, Sought::PairCode, wait).await?;
        match handle.board.desk() {
            Some(desk) => desk.ask(number).await,
            None => Err(unavailable("The session ended meanwhile. Ask again.")),
        }
    }

    /// The task of an instance that can be linked.
    fn unlinked(&self, instance: InstanceId, sought: Sought) -> Result<Handle, Error> {
        let row = self
            .inner
            .shared
            .store
            .read(|view| view.instance(instance))
            .map_err(Error::internal)?
            .filter(|row| row.deleted_at.is_none())
            .ok_or_else(|| Error::new(Code::InstanceNotFound, "There is no such instance, or it was deleted."))?;
        if row.is_linked() {
            return Err(sought.linked());
        }
        self.handle(instance)
    }

    /// Waits for a QR code; starts the session if none runs.
    async fn offered(
        &self,
        instance: InstanceId,
        handle: &Handle,
        sought: Sought,
        wait: Duration,
    ) -> Result<Qr, Error> {
        // A session that waits for its next attempt keeps its timer: the caller is told when that is.
        if !handle.board.health().running {
            self.order(instance, Order::Connect).await?;
        }
        pairing::wait_for_code(handle.board.pairing.subscribe(), sought, wait).await
    }

    /// Tells the instance's task that its outbox has something new; never waits.
    pub fn wake(&self, instance: InstanceId) {
        if let Some(handle) = self.handles().tasks.get(&instance) {
            handle.board.wake.notify_one();
        }
    }

    /// Tells a running session that the owner has chosen other settings; the others read them when they start.
    pub async fn heed_settings(&self, instance: InstanceId) {
        let handle = self.handles().tasks.get(&instance).cloned();
        if let Some(handle) = handle
            && let Err(error) = send(&handle, Order::Heed).await
        {
            tracing::warn!(instance.id = %instance, error = &error as &dyn std::error::Error, "a changed setting applies from the next connection on");
        }
    }

    /// What is known of the link now.
    pub fn health(&self, instance: InstanceId) -> LinkHealth {
        self.handles()
            .tasks
            .get(&instance)
            .map(|handle| handle.board.health())
            .unwrap_or_default()
    }

    /// Stops every session, gracefully and within a bounded time.
    pub async fn stop(&self) {
        let tasks: Vec<(InstanceId, Handle)> = {
            let mut handles = self.handles();
            handles.stopping = true;
            handles.tasks.drain().collect()
        };
        let mut stopping = tokio::task::JoinSet::new();
        for (_, handle) in tasks {
            stopping.spawn(async move { send(&handle, Order::Stop).await });
        }
        let all = async { while stopping.join_next().await.is_some() {} };
        if clock::timeout(STOP_TIMEOUT, all).await.is_err() {
            tracing::warn!("some sessions did not end in time; they come back from their stored state");
        }
    }

    /// Whether sessions can run: from the start until [`Engine::stop`].
    pub fn is_running(&self) -> bool {
        !self.handles().stopping
    }

    fn handles(&self) -> MutexGuard<'_, Handles> {
        // Only whole handles are put in and taken out, so a poisoned lock is as good as a clean one.
        self.inner.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The instance's task; made when there is none.
    fn handle(&self, instance: InstanceId) -> Result<Handle, Error> {
        let mut handles = self.handles();
        if handles.stopping {
            return Err(Error::new(
                Code::ShuttingDown,
                "The gateway is stopping. Try again in a moment.",
            ));
        }
        if let Some(handle) = handles.tasks.get(&instance)
            && !handle.commands.is_closed()
        {
            return Ok(handle.clone());
        }
        let (commands, orders) = mpsc::channel(ORDERS);
        let board = Arc::new(Board::default());
        tokio::spawn(supervisor::watch_over(
            self.inner.shared.clone(),
            instance,
            board.clone(),
            orders,
        ));
        let handle = Handle { commands, board };
        handles.tasks.insert(instance, handle.clone());
        Ok(handle)
    }

    async fn order(&self, instance: InstanceId, order: Order) -> Result<(), Error> {
        let handle = self.handle(instance)?;
        send(&handle, order).await
    }

    /// Puts right what a crash left behind, and answers which instances are to be brought back.
    async fn take_stock(&self) -> Vec<InstanceId> {
        let store = &self.inner.shared.store;
        let mut wanted = Vec::new();
        let mut before = None;
        loop {
            let page = match store.read(|view| view.instances(before, PAGE)) {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the instances could not be read, not all are resumed"
                    );
                    return wanted;
                }
            };
            let full = page.len() == PAGE;
            before = page.last().map(|row| row.id);
            let resumed = |row: &&Instance| row.wanted && row.is_linked() && row.status != Status::Failed;
            wanted.extend(page.iter().filter(resumed).map(|row| row.id));
            // A page at once: these writes share one commit.
            join_all(
                page.iter()
                    .filter(|row| claims_a_session(row))
                    .map(|row| self.correct(row.id)),
            )
            .await;
            if !full {
                return wanted;
            }
        }
    }

    /// Takes back a status that only a running session may have.
    async fn correct(&self, instance: InstanceId) {
        let note = Note::new(Change::Lost)
            .because(Trouble::gateway_ended())
            .disconnected(DisconnectReason::Network);
        if let Err(error) = record(&self.inner.shared.store, instance, note).await {
            tracing::error!(instance.id = %instance, error = &error as &dyn std::error::Error, "a stale status could not be put right");
        }
    }

    /// Brings back what ran when the process ended.
    async fn resume(self, wanted: Vec<InstanceId>) {
        for instance in wanted {
            // An order may have come before this one's turn; then its task knows better.
            if self.handles().tasks.contains_key(&instance) {
                continue;
            }
            if let Ok(handle) = self.handle(instance) {
                // Resuming does not wait for WhatsApp, and nobody waits for the answer.
                let (answer, _) = oneshot::channel();
                let _ = handle.commands.try_send((Order::Resume, answer));
            }
            clock::sleep(RESUME_STAGGER).await;
        }
    }
}

/// Whether a status says that a session runs.
const fn claims_a_session(row: &Instance) -> bool {
    matches!(row.status, Status::Connected | Status::Connecting | Status::Qr)
}

/// Gives an order and waits, within bounds, until it is carried out.
async fn send(handle: &Handle, order: Order) -> Result<(), Error> {
    let (answer, answered) = oneshot::channel();
    handle
        .commands
        .try_send((order, answer))
        .map_err(|_| unavailable("The instance has too much to do at the moment. Try again."))?;
    match clock::timeout(ORDER_TIMEOUT, answered).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(unavailable(
            "The instance's task failed meanwhile. Look at its status and try again.",
        )),
        Err(_) => Err(unavailable(
            "The instance is still busy with this. Look at its status in a moment.",
        )),
    }
}

fn unavailable(message: &'static str) -> Error {
    Error::new(Code::InstanceUnavailable, message).with_retry_after(Duration::from_secs(1))
}
