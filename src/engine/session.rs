//! One live client of the library: built, run connection by connection, and shut down.
//!
//! The library's own reconnect loop is turned off: it waits up to 15 minutes without telling, and its first look after
//! a failure goes to the log alone. With it off, one run of the client is one connection, and what comes next (and
//! when) is the supervisor's decision.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};
use whatsapp_rust::bot::Bot;
use whatsapp_rust::prelude::Client;
use whatsapp_rust::wacore::store::DevicePropsOverride;
use whatsapp_rust::{CacheConfig, TokioRuntime};

use super::Shared;
use super::board::Board;
use super::calls::Operator;
use super::code::Desk;
use super::collections::{Notices, catch_up};
use super::delivery::{self, Known, Tick};
use super::dialer::{Attempt, Dialer};
use super::fetch::Fetch;
use super::incoming::{Inbox, phone_behind};
use super::listener::{Life, Listener, Mail};
use super::news::told;
use super::outgoing::{InFlight, Outbox};
use super::resends::{Clerk, Gate, Resends, Watch};
use super::translate::address::from_jid;
use crate::domain::address::{Address, ChatType};
use crate::domain::event::{Event, EventBody};
use crate::domain::id::InstanceId;
use crate::domain::message::MessageId;
use crate::store::{Store, WriteError};
use crate::sys::clock;

/// How many events about messages are settled in one transaction.
const MAIL_BATCH: usize = 256;

/// How long a graceful end may take before the client is cut off.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(6);

/// When the library has surely told WhatsApp that somebody looks at a device whose account has a new name.
const AFTER_A_NAME: Duration = Duration::from_secs(2);

/// How long unlinking at WhatsApp may take.
const UNLINK_TIMEOUT: Duration = Duration::from_secs(8);

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the session could not be built from its stored keys")]
pub(super) struct BuildError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// One live client. At most one exists for an instance; whoever drops it must have called [`Session::end`], and a
/// [`Grip`] taken before makes sure of it when a panic comes in between.
pub(super) struct Session {
    client: Arc<Client>,
    /// The current connection, if one is being made or held.
    run: Option<JoinHandle<()>>,
    tasks: Vec<AbortHandle>,
    /// Ends after the socket: what the last acknowledgements are about has to be written down before they go out.
    resends: AbortHandle,
    login: watch::Sender<u64>,
    logins: u64,
    lives: mpsc::Receiver<Life>,
    /// What the dialer saw.
    pub attempt: Arc<Attempt>,
    /// Where pairing codes are asked for.
    pub desk: Arc<Desk>,
    grip: Grip,
}

/// What happened in a session.
#[derive(Debug)]
pub(super) enum Step {
    /// Something in its life.
    Life(Life),
    /// The connection is over; `Err` when the library panicked.
    Closed(Result<(), ()>),
}

/// What is needed to end a session from outside its task.
#[derive(Clone, Default)]
pub(super) struct Grip(Arc<Mutex<Option<Held>>>);

type Held = (Arc<Client>, Vec<AbortHandle>);

impl Grip {
    fn hold(&self, client: &Arc<Client>, tasks: &[AbortHandle]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((client.clone(), tasks.to_vec()));
    }

    fn take(&self) -> Option<Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ends whatever client is still held: the second client of a session must never exist.
    pub async fn end(&self) {
        if let Some((client, tasks)) = self.take() {
            if clock::timeout(SHUTDOWN_TIMEOUT, client.disconnect()).await.is_err() {
                client.signal_shutdown_sync();
            }
            for task in tasks {
                task.abort();
            }
        }
    }
}

/// What a session is made of.
pub(super) struct Parts<'a> {
    /// What all sessions share.
    pub shared: &'a Shared,
    /// Whose session.
    pub instance: InstanceId,
    /// Under which number the store keeps its keys.
    pub session: u32,
    /// Where its numbers are shown.
    pub board: &'a Arc<Board>,
    /// Held from the outside.
    pub grip: &'a Grip,
}

impl Session {
    /// Builds a client from the stored keys (or new ones) without connecting it.
    pub async fn build(parts: Parts<'_>) -> Result<Session, BuildError> {
        let Parts {
            shared,
            instance,
            session,
            board,
            grip,
        } = parts;
        let attempt = Arc::new(Attempt::default());
        board.watch_attempt(attempt.clone());
        let gate = Arc::new(Gate::default());
        let inbox = Inbox::new(shared.store.clone(), instance, board.clone());
        let caches = CacheConfig {
            // No copies in memory: with them the library notes a sent message in the background, and a process that is
            // killed after WhatsApp's acknowledgement has nothing to send when the recipient asks for it again.
            seed_msg_secrets_from_history: false,
            ..CacheConfig::default()
        };
        let keys = shared.store.session(session);
        let bot = Bot::builder()
            .with_backend_arc(Arc::new(keys.clone()))
            .with_transport_factory(Dialer::new(
                shared.target.clone(),
                shared.options.connect_timeout,
                attempt.clone(),
                gate.clone(),
            ))
            .with_http_client(Fetch::new())
            .with_runtime(TokioRuntime)
            .with_version(shared.version.current())
            .with_device_props(DevicePropsOverride::new().with_os(shared.options.device_name.as_str()))
            .with_cache_config(caches)
            .with_inbound_durability_hook(inbox.clone())
            .skip_history_sync()
            .build()
            .await
            .map_err(|error| BuildError(Box::new(error)))?;
        let client = bot.client();
        client.enable_auto_reconnect.store(false, Ordering::Relaxed);
        let (receipts, sight) = Watch::new(gate.clone(), keys.clone());
        let (notices, changes) = Notices::new();
        let (listener, lives, mails) = Listener::new(receipts, notices);
        client.subscribe_handler(listener).detach();
        let in_flight = Arc::new(InFlight::default());
        let (login, logins) = watch::channel(0);
        let outbox = Outbox {
            store: shared.store.clone(),
            instance,
            client: client.clone(),
            board: board.clone(),
            in_flight: in_flight.clone(),
            ack_timeout: shared.options.ack_timeout,
            login: logins.clone(),
            recipients: HashSet::new(),
            keyless: HashSet::new(),
        };
        let resends = Resends {
            clerk: Clerk {
                store: keys.clone(),
                instance,
                client: client.clone(),
            },
            gate,
            login: logins,
            _lease: client.acquire_raw_node_forwarding(),
        };
        let operator = Operator::new(shared.store.clone(), instance, client.clone());
        let postman = Postman {
            operator,
            store: shared.store.clone(),
            instance,
            client: client.clone(),
            board: board.clone(),
            in_flight,
            inbox,
        };
        let tasks = vec![
            tokio::spawn(outbox.run()).abort_handle(),
            tokio::spawn(postman.run(mails)).abort_handle(),
            tokio::spawn(catch_up(keys, client.clone(), changes)).abort_handle(),
        ];
        let resends = tokio::spawn(resends.run(sight)).abort_handle();
        // The first connection starts with the bot, which also starts the library's workers.
        let run = tokio::spawn(bot.run());
        let mut all = tasks.clone();
        all.extend([resends.clone(), run.abort_handle()]);
        grip.hold(&client, &all);
        Ok(Session {
            desk: Arc::new(Desk::new(client.clone())),
            client,
            run: Some(run),
            tasks,
            resends,
            login,
            logins: 0,
            lives,
            attempt,
            grip: grip.clone(),
        })
    }

    /// Whether a connection is being made or held.
    pub const fn is_running(&self) -> bool {
        self.run.is_some()
    }

    /// Makes the next connection.
    pub fn connect(&mut self) {
        if self.run.is_none() {
            let client = self.client.clone();
            let run = tokio::spawn(async move { client.run().await });
            let mut all = self.tasks.clone();
            all.extend([self.resends.clone(), run.abort_handle()]);
            self.grip.hold(&self.client, &all);
            self.run = Some(run);
        }
    }

    /// Waits for what happens next. Events come before the end, so that its reason is known first. Safe to cancel.
    pub async fn step(&mut self) -> Step {
        let Self { lives, run, login, .. } = self;
        let closed = async {
            match run {
                Some(connection) => connection.await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            biased;
            Some(life) = lives.recv() => return Step::Life(life),
            ended = closed => ended,
        };
        *run = None;
        login.send_replace(0);
        Step::Closed(match ended {
            Err(error) if error.is_panic() => Err(()),
            _ => Ok(()),
        })
    }

    /// What the library still has to say after a connection is closed.
    pub async fn last_word(&mut self, within: Duration) -> Option<Life> {
        clock::timeout(within, self.lives.recv()).await.ok().flatten()
    }

    /// Tells the outbox that messages can be sent.
    pub fn opened(&mut self) {
        self.logins += 1;
        self.login.send_replace(self.logins);
    }

    /// Tells WhatsApp that somebody looks at this device, or that nobody does. The library does the former by itself
    /// with every connection.
    pub async fn appear(&self, online: bool) {
        let presence = self.client.presence();
        let told = if online {
            presence.set_available().await
        } else {
            presence.set_unavailable().await
        };
        if let Err(error) = told {
            // Without a name yet nothing was announced either; a lost connection ends the presence by itself.
            tracing::debug!(reason = %error, online, "the presence could not be told");
        }
    }

    /// Tells WhatsApp that nobody looks, once the library has told the contrary.
    pub fn disappear_soon(&self) {
        let client = self.client.clone();
        tokio::spawn(async move {
            clock::sleep(AFTER_A_NAME).await;
            // As above: what cannot be told now needs no telling.
            let _ = client.presence().set_unavailable().await;
        });
    }

    /// The account's own addresses and name.
    pub fn account(&self) -> Option<(Address, Option<Address>, Option<String>)> {
        let jid = self.client.pn().as_ref().and_then(from_jid)?;
        let lid = self.client.lid().as_ref().and_then(from_jid);
        let name = Some(self.client.push_name()).filter(|name| !name.is_empty());
        Some((jid, lid, name))
    }

    /// How often the library was told to slow down since the client was built.
    pub fn slow_downs(&self) -> u32 {
        // With the library's own reconnects off nothing counts here but the five steps that each such answer adds.
        self.client.stats().reconnect_errors / 5
    }

    /// Whether the library gave up saving the session's keys.
    pub fn gave_up_saving(&self) -> bool {
        self.client.persistence_manager().is_saver_halted()
    }

    /// Bytes in the client's caches.
    pub async fn memory(&self) -> u64 {
        self.client.resource_report().await.total_estimated_bytes()
    }

    /// Asks WhatsApp to remove this device, if it can be reached.
    pub async fn unlink(&self) -> bool {
        if !self.client.is_logged_in() {
            return false;
        }
        clock::timeout(UNLINK_TIMEOUT, self.client.logout()).await.is_ok()
    }

    /// Ends the client: flushes, closes, waits; cuts it off when that takes too long.
    pub async fn end(mut self) {
        self.login.send_replace(0);
        for task in &self.tasks {
            task.abort();
        }
        let graceful = clock::timeout(SHUTDOWN_TIMEOUT, async {
            self.client.disconnect().await;
            if let Some(run) = &mut self.run {
                let _ = run.await;
            }
        })
        .await;
        if graceful.is_err() {
            tracing::warn!("a session did not end in time and was cut off");
            self.client.signal_shutdown_sync();
            if let Some(run) = &self.run {
                run.abort();
            }
        }
        self.resends.abort();
        self.grip.take();
    }
}

/// Settles what WhatsApp tells about messages, in batches.
struct Postman {
    operator: Operator,
    store: Store,
    instance: InstanceId,
    client: Arc<Client>,
    board: Arc<Board>,
    in_flight: Arc<InFlight>,
    inbox: Inbox,
}

impl Postman {
    async fn run(self, mut mails: mpsc::Receiver<Mail>) {
        let mut batch = Vec::with_capacity(MAIL_BATCH);
        while mails.recv_many(&mut batch, MAIL_BATCH).await > 0 {
            if let Err(error) = self.deliver(std::mem::take(&mut batch)).await {
                // A tick lost here is sent again, or asked for again, by the outbox's timer.
                tracing::error!(
                    instance.id = %self.instance,
                    error = &error as &dyn std::error::Error,
                    "news about messages could not be stored"
                );
            }
        }
    }

    async fn deliver(&self, batch: Vec<Mail>) -> Result<(), WriteError> {
        let mut ticks = Vec::with_capacity(batch.len());
        let mut changes = Vec::new();
        for mail in batch {
            match mail {
                Mail::Tick(tick) => ticks.push(tick),
                Mail::Receipt {
                    ids,
                    state,
                    chat,
                    sender,
                    at,
                } => {
                    if self.is_own(&sender) {
                        continue;
                    }
                    let participant = match chat.chat_type() {
                        ChatType::Direct => None,
                        _ => match from_jid(&sender) {
                            Some(member) => Some(phone_behind(&self.client, &member).await.unwrap_or(member)),
                            None => None,
                        },
                    };
                    ticks.extend(ids.into_iter().map(|id| Tick::Reached {
                        id,
                        state,
                        participant: participant.clone(),
                        at,
                    }));
                }
                Mail::Uncommitted(messages) => self.inbox.commit(&self.client, &messages).await?,
                Mail::Undecryptable(info) => self.inbox.undecryptable(&self.client, &info).await?,
                Mail::News(news) => changes.extend(told(&self.client, news).await),
                Mail::Call(call) => changes.extend(self.operator.answer(call).await?),
            }
        }
        if !changes.is_empty() {
            self.tell(changes).await?;
        }
        if ticks.is_empty() {
            return Ok(());
        }
        let known = self.known(&ticks).await?;
        let settled: Vec<MessageId> = ticks.iter().map(|tick| tick.id().clone()).collect();
        let instance = self.instance;
        let accepted = self
            .store
            .write(move |tx| delivery::settle(tx, instance, &ticks, &known, clock::now()))
            .await?;
        self.in_flight.settled(settled.iter());
        self.board.sent.fetch_add(accepted, Ordering::Relaxed);
        Ok(())
    }

    /// Publishes what was changed elsewhere.
    async fn tell(&self, changes: Vec<EventBody>) -> Result<(), WriteError> {
        let instance = self.instance;
        let write = self.store.write(move |tx| {
            for body in &changes {
                tx.append_event(&Event {
                    instance_id: instance,
                    occurred_at: clock::now(),
                    body: body.clone(),
                })?;
            }
            Ok(())
        });
        write.await
    }

    /// A receipt from another device of the same account says nothing about the recipient.
    fn is_own(&self, sender: &whatsapp_rust::Jid) -> bool {
        [self.client.pn(), self.client.lid()]
            .iter()
            .flatten()
            .any(|own| own.user_base() == sender.user_base() && own.server == sender.server)
    }

    async fn known(&self, ticks: &[Tick]) -> Result<Known, WriteError> {
        let mut known = Known {
            attempts: self.in_flight.attempts(ticks.iter().map(Tick::id)),
            ..Known::default()
        };
        let hidden: HashSet<Address> = self.store.read(|view| {
            let mut hidden = HashSet::new();
            for tick in ticks {
                if let Some(row) = view.outbound(self.instance, tick.id())?
                    && row.to.server() == crate::domain::address::Server::Lid
                {
                    hidden.insert(row.to);
                }
            }
            Ok(hidden)
        })?;
        for address in hidden {
            if let Some(phone) = phone_behind(&self.client, &address).await {
                known.phones.insert(address, phone);
            }
        }
        Ok(known)
    }
}
