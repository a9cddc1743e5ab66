//! Everything the simulator knows, behind one lock: a stanza or an admin call is one short transaction.
//!
//! Rule: change, pump the phones, write the journal, and only then let anybody see the result. Sockets never hold the
//! lock while they write; they are woken and fetch what waits for them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tokio::sync::{Notify, watch};
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use crate::account::{Accounts, DeviceAddress, key, stored_stanza};
use crate::calls::Calls;
use crate::cert::ServerKeys;
use crate::clock::unix_seconds;
use crate::fault::{Faults, Kind};
use crate::group::Groups;
use crate::iq::encrypt::Bundle;
use crate::link_code::Throttle;
use crate::load::Load;
use crate::login::Link;
use crate::media::Library;
use crate::media::shelf::Shelf;
use crate::pairing::Pairing;
use crate::pictures::Pictures;
use crate::stanza::{SERVER, fresh_id};
use crate::state::{Journal, Records};
use crate::stats::Stats;
use crate::tls::Identity;

/// With this many one-time prekeys left a companion is told to upload more.
const LOW_PREKEYS: usize = 5;

/// Handle to the world, shared by all sockets and the admin interface.
#[derive(Clone)]
pub(crate) struct Hub {
    world: Arc<Mutex<World>>,
    stopping: watch::Receiver<bool>,
}

impl Hub {
    /// Wraps a world; `stopping` turns true when the simulator ends.
    pub(crate) fn new(world: World, stopping: watch::Receiver<bool>) -> Self {
        Self {
            world: Arc::new(Mutex::new(world)),
            stopping,
        }
    }

    /// Runs one transaction: the change, what the phones do about it, and the journal.
    pub(crate) fn act<T>(&self, change: impl FnOnce(&mut World) -> Result<T>) -> Result<T> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = change(&mut world);
        // A refused stanza may still have changed something (a counter, a session); it is kept like the rest.
        world.pump_phones();
        world.journal.commit()?;
        world.wake_sockets();
        outcome
    }

    /// Looks without changing.
    pub(crate) fn look<T>(&self, question: impl FnOnce(&World) -> T) -> T {
        question(&self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Resolves when the simulator ends.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // An error means that the simulator's handle is gone, which is an end too.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}

/// The state.
pub(crate) struct World {
    /// Certificates and the server's static key.
    pub(crate) keys: ServerKeys,
    /// The certificate of the port.
    pub(crate) tls: Identity,
    /// What the media servers know.
    pub(crate) media: Library,
    /// Numbers, phones and companions.
    pub(crate) accounts: Accounts,
    /// Groups and their members.
    pub(crate) groups: Groups,
    /// Open sockets of logged-in companions.
    pub(crate) links: HashMap<DeviceAddress, Link>,
    /// Open sockets that show a QR code.
    pub(crate) pairings: HashMap<u64, Pairing>,
    /// Who asked for pairing codes lately.
    pub(crate) throttle: Throttle,
    /// Profile pictures.
    pub(crate) pictures: Pictures,
    /// Who called whom.
    pub(crate) calls: Calls,
    /// What goes wrong on purpose.
    pub(crate) faults: Faults,
    /// Counters.
    pub(crate) stats: Stats,
    /// What phones write to measure others.
    pub(crate) load: Load,
    /// What survives.
    pub(crate) journal: Journal,
    /// Whether new phones answer by themselves.
    pub(crate) answering: bool,
    /// How many phones exist from the start.
    pub(crate) phones_at_start: u32,
    /// Counts resets, for those who hold what the world does not know.
    pub(crate) resets: watch::Sender<u64>,
    /// Phones with something in their queue to look at.
    ready_phones: BTreeSet<String>,
    /// Companions with something new in their queue.
    ready_links: BTreeSet<DeviceAddress>,
    last_socket: u64,
}

impl World {
    /// Builds the world from a state folder's records, or a fresh one.
    pub(crate) fn new(journal: Journal, records: &Records, answering: bool) -> Result<Self> {
        let stored = records.get(key::SERVER);
        let keys = match stored {
            Some(record) => ServerKeys::from_record(record)?,
            None => ServerKeys::generate(),
        };
        let stored_tls = records.get(key::TLS);
        let tls = match stored_tls {
            Some(record) => Identity::from_record(record)?,
            None => Identity::generate()?,
        };
        let shelf = match journal.folder() {
            Some(folder) => Shelf::in_folder(folder)?,
            None => Shelf::in_memory(),
        };
        let mut world = Self {
            media: Library::restore(records, shelf, keys.noise_static().private_key.serialize())?,
            keys,
            tls,
            accounts: Accounts::restore(records)?,
            groups: Groups::restore(records)?,
            links: HashMap::new(),
            pairings: HashMap::new(),
            pictures: Pictures::restore(records)?,
            calls: Calls::restore(records)?,
            throttle: Throttle::default(),
            faults: Faults::default(),
            stats: Stats::default(),
            load: Load::default(),
            journal,
            answering,
            phones_at_start: 0,
            resets: watch::Sender::new(0),
            ready_phones: BTreeSet::new(),
            ready_links: BTreeSet::new(),
            last_socket: 0,
        };
        world.accounts.read_app_state(&mut world.journal)?;
        if stored.is_none() {
            world.journal.put(key::SERVER.to_owned(), world.keys.to_record()?);
        }
        if stored_tls.is_none() {
            world.journal.put(key::TLS.to_owned(), world.tls.to_record()?);
        }
        world.journal.commit()?;
        Ok(world)
    }

    /// Replaces the server's certificates; open sockets keep what they have.
    pub(crate) fn renew_certificates(&mut self) -> Result<()> {
        self.keys.renew();
        self.journal.put(key::SERVER.to_owned(), self.keys.to_record()?);
        Ok(())
    }

    /// Makes the phones that exist from the start.
    pub(crate) fn make_first_phones(&mut self) -> Result<()> {
        for index in 0..u64::from(self.phones_at_start) {
            self.ensure_phone(&(crate::FIRST_PHONE + index).to_string())?;
        }
        Ok(())
    }

    /// Takes over what outlives a reset: the sockets, which have been told to end, and their count.
    pub(crate) fn take_sockets_of(&mut self, old: &mut Self) {
        self.links = std::mem::take(&mut old.links);
        self.pairings = std::mem::take(&mut old.pairings);
        self.last_socket = old.last_socket;
        self.stats.sockets_open = old.stats.sockets_open;
        self.phones_at_start = old.phones_at_start;
        self.resets = old.resets.clone();
        self.resets.send_modify(|resets| *resets += 1);
    }

    /// A number for a new socket, unique in this run.
    pub(crate) fn next_socket(&mut self) -> u64 {
        self.last_socket += 1;
        self.last_socket
    }

    /// Makes a phone unless it exists.
    pub(crate) fn ensure_phone(&mut self, number: &str) -> Result<()> {
        self.accounts
            .create(number, self.answering, &mut self.journal)
            .map(|_| ())
    }

    /// Queues a stanza for a device; it waits there until acknowledged. Unknown devices lose it.
    pub(crate) fn deliver(&mut self, to: &DeviceAddress, node: Node) -> Result<()> {
        let twice = to.device != 0 && node.tag == "message" && self.strike(Kind::Duplicate, to).is_some();
        if twice {
            self.queue(to, node.clone())?;
        }
        self.queue(to, node)
    }

    fn queue(&mut self, to: &DeviceAddress, node: Node) -> Result<()> {
        let Some(account) = self.accounts.get_mut(&to.number) else {
            return Ok(());
        };
        let stored = stored_stanza(&node)?;
        let sequence = if to.device == 0 {
            self.ready_phones.insert(to.number.clone());
            account.phone.queue.push(node)
        } else {
            let Some(companion) = account.companions.get_mut(&to.device) else {
                return Ok(());
            };
            self.ready_links.insert(to.clone());
            let is_message = node.tag == "message";
            let sequence = companion.queue.push(node);
            if is_message {
                self.load.queued(to, sequence);
            }
            sequence
        };
        self.journal.put(key::queued(&to.number, to.device, sequence), stored);
        Ok(())
    }

    /// A bundle to open a session with a device; a companion that runs low on one-time prekeys is told once.
    pub(crate) fn take_bundle(&mut self, address: &DeviceAddress) -> Result<Option<Bundle>> {
        let Some(account) = self.accounts.get_mut(&address.number) else {
            return Ok(None);
        };
        let bundle = account.take_bundle(address.device, &mut self.journal)?;
        let left = account
            .companions
            .get(&address.device)
            .map(|companion| companion.prekeys.len());
        if bundle.is_some() && left == Some(LOW_PREKEYS) {
            let count = NodeBuilder::new("count").attr("value", LOW_PREKEYS).build();
            let notification = NodeBuilder::new("notification")
                .attr("from", SERVER)
                .attr("type", "encrypt")
                .attr("id", fresh_id())
                .attr("t", unix_seconds())
                .children([count])
                .build();
            self.deliver(address, notification)?;
        }
        Ok(bundle)
    }

    /// Lets a socket look for something to write at the end of this transaction.
    pub(crate) fn link_is_ready(&mut self, address: &DeviceAddress) {
        self.ready_links.insert(address.clone());
    }

    /// Lets a phone look at its queue at the end of this transaction.
    pub(crate) fn phone_is_ready(&mut self, number: &str) {
        self.ready_phones.insert(number.to_owned());
    }

    /// Lets online phones work off what waits for them; what they send may make others ready.
    fn pump_phones(&mut self) {
        while let Some(number) = self.ready_phones.pop_first() {
            while let Some(account) = self.accounts.get_mut(&number).filter(|account| account.phone.online) {
                let Some(entry) = account.phone.queue.pop() else { break };
                self.journal.delete(key::queued(&number, 0, entry.sequence));
                if let Err(error) = self.phone_receives(&number, &entry.node) {
                    tracing::warn!(
                        phone = %DeviceAddress::phone(&number),
                        error = format!("{error:#}"),
                        "a phone could not handle a stanza"
                    );
                }
            }
        }
    }

    fn wake_sockets(&mut self) {
        for address in std::mem::take(&mut self.ready_links) {
            if let Some(link) = self.links.get(&address) {
                link.wake.notify_one();
            }
        }
    }
}

/// A way to wake a socket's task.
pub(crate) type Wake = Arc<Notify>;

impl World {
    /// Connects or disconnects a phone; a phone that connects works off what waited and greets new companions.
    pub(crate) fn phone_connects(&mut self, number: &str, online: bool) -> Result<()> {
        self.watching_presence(number, |world| {
            let account = world.accounts.get_mut(number).context("no such phone")?;
            account.phone.online = online;
            account.save(&mut world.journal)
        })?;
        if online {
            self.phone_is_ready(number);
            self.change_key_if_due(number)?;
            self.greet_all(number)?;
        }
        Ok(())
    }

    /// Refuses what only a connected phone can do.
    pub(crate) fn phone_must_be_online(&self, number: &str) -> Result<()> {
        let online = self.accounts.get(number).is_some_and(|account| account.phone.online);
        anyhow::ensure!(online, "the phone is offline");
        Ok(())
    }

    /// Turns a phone's answers on or off.
    pub(crate) fn phone_answers_from_now_on(&mut self, number: &str, on: bool) -> Result<()> {
        let account = self.accounts.get_mut(number).context("no such phone")?;
        account.phone.answering = on;
        account.save(&mut self.journal)
    }

    /// At the start: phones look at what an earlier run left in their queues.
    pub(crate) fn everybody_looks(&mut self) {
        self.ready_phones = self.accounts.iter().map(|account| account.number.clone()).collect();
    }
}
