//! A linked client's socket: login, what waits for it, and its stanzas until one side ends it.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::waproto::whatsapp as wa;

use crate::account::{DeviceAddress, Form};
use crate::clock::unix_seconds;
use crate::ending::Ending;
use crate::fault::{Details, Kind, Stage};
use crate::presence::Ear;
use crate::stanza::{SERVER, Stanza as _, fresh_id};
use crate::stats::count;
use crate::wire::Wire;
use crate::world::{Hub, Wake, World};

/// Stanzas sent before the client has asked for its backlog.
const PRIMER: u64 = 5;
/// A client that never asks for its backlog gets it after this.
const BACKLOG_PATIENCE: Duration = Duration::from_secs(3);
/// Stanzas fetched from the queue at once.
const BATCH: usize = 64;
/// Silence after which the client is asked whether it lives …
const SILENCE: Duration = Duration::from_mins(1);
/// … and how long it may think about it.
const PING_PATIENCE: Duration = Duration::from_secs(20);

/// An open socket of a logged-in companion.
pub(crate) struct Link {
    /// Which socket; a later login of the same device has another.
    pub(crate) socket: u64,
    /// Wakes the socket's task.
    pub(crate) wake: Wake,
    /// Set when the server ends it.
    pub(crate) closing: Option<Ending>,
    /// What passes by and is never queued.
    pub(crate) ear: Ear,
    /// Whether the client wants messages now.
    active: bool,
    /// The last place in the queue that was sent on this socket.
    sent_up_to: u64,
    /// What waited at login ends here.
    backlog_end: u64,
    /// How far into the backlog the client has asked for.
    allowance: u64,
    preview_sent: bool,
    backlog_done: bool,
    /// When the rest of the backlog is sent unasked.
    patience_ends: Option<Instant>,
}

impl Link {
    fn new(socket: u64, wake: Wake, backlog_end: u64) -> Self {
        Self {
            socket,
            wake,
            closing: None,
            ear: Ear::default(),
            active: false,
            sent_up_to: 0,
            backlog_end,
            allowance: PRIMER,
            preview_sent: false,
            backlog_done: false,
            patience_ends: None,
        }
    }

    /// The client wants its messages.
    pub(crate) fn activate(&mut self) {
        self.active = true;
    }

    /// The client wants none for now.
    pub(crate) fn pause(&mut self) {
        self.active = false;
    }

    /// The client asks for more of its backlog.
    pub(crate) fn allow(&mut self, count: u64) {
        self.allowance = self.allowance.saturating_add(count);
    }

    /// What was sent and may be acknowledged.
    pub(crate) fn sent_up_to(&self) -> u64 {
        self.sent_up_to
    }
}

/// What a socket has to write next.
#[derive(Default)]
struct Pull {
    nodes: Vec<Node>,
    /// How late each of the first of them is written.
    pauses: Vec<Duration>,
    /// End the socket after writing.
    ending: Option<Ending>,
    /// Look again without waiting.
    more: bool,
    wake_at: Option<Instant>,
}

/// Logs a client in and serves it.
pub(crate) async fn serve(hub: &Hub, mut wire: Wire, payload: &wa::ClientPayload, noise_static: &[u8]) -> Result<()> {
    let wake = Wake::default();
    let (address, socket, success) = match hub.act(|world| world.log_in(payload, noise_static, &wake))? {
        Ok(logged_in) => logged_in,
        Err(refused) => return refused.carry_out(hub, wire, &wake, |_| false).await,
    };
    tracing::info!(device = %address, "logged in");
    let replaced = |world: &World| world.links.get(&address).is_none_or(|link| link.socket != socket);
    let served = async {
        wire.send(&success).await?;
        converse(hub, &mut wire, &address, socket, &wake).await
    };
    let served = served.await;
    // Only a dead socket keeps its place; others are gone for everybody before they say goodbye.
    let keeps_place = matches!(served, Ok(Ending::Dead));
    let leave = || hub.act(|world| world.links_closed(&address, socket));
    if !keeps_place {
        leave()?;
    }
    let ended = match served {
        Ok(ending) => ending.carry_out(hub, wire, &wake, replaced).await,
        Err(error) => {
            wire.close().await;
            Err(error)
        }
    };
    if keeps_place {
        leave()?;
    }
    tracing::info!(device = %address, "socket ended");
    ended
}

async fn converse(hub: &Hub, wire: &mut Wire, address: &DeviceAddress, socket: u64, wake: &Wake) -> Result<Ending> {
    let mut heard_at = Instant::now();
    let mut pinged = false;
    loop {
        let pull = hub.act(|world| Ok(world.pull(address, socket)))?;
        write(wire, &pull.nodes, pull.pauses).await?;
        if let Some(ending) = pull.ending {
            return Ok(ending);
        }
        if pull.more {
            continue;
        }
        let silence_ends = heard_at + if pinged { SILENCE + PING_PATIENCE } else { SILENCE };
        let look_at = pull.wake_at.map_or(silence_ends, |at| at.min(silence_ends));
        tokio::select! {
            node = wire.recv() => {
                let Some(node) = node? else { return Ok(Ending::POLITE) };
                heard_at = Instant::now();
                pinged = false;
                if let Some(fault) = hub.act(|world| Ok(world.strike(Kind::Delay, address)))? {
                    tokio::time::sleep(fault.details.lateness()).await;
                }
                let (answers, pauses) = hub.act(|world| {
                    let answers = world.client_stanza(address, socket, &node)?;
                    let pauses = world.pauses(address, answers.len());
                    Ok((answers, pauses))
                })?;
                write(wire, &answers, pauses).await?;
            }
            () = wake.notified() => {}
            () = hub.stopped() => return Ok(Ending::POLITE),
            () = tokio::time::sleep_until(look_at) => {
                if Instant::now() < silence_ends {
                    continue;
                }
                if pinged {
                    return Ok(Ending::POLITE);
                }
                pinged = true;
                wire.send(&ping()).await?;
            }
        }
    }
}

async fn write(wire: &mut Wire, nodes: &[Node], pauses: Vec<Duration>) -> Result<()> {
    let mut pauses = pauses.into_iter();
    for node in nodes {
        if let Some(pause) = pauses.next() {
            tokio::time::sleep(pause).await;
        }
        wire.send(node).await?;
    }
    Ok(())
}

fn ping() -> Node {
    NodeBuilder::new("iq")
        .attr("from", SERVER)
        .attr("type", "get")
        .attr("id", fresh_id())
        .attr("xmlns", "urn:xmpp:ping")
        .children([NodeBuilder::new("ping").build()])
        .build()
}

type LoggedIn = (DeviceAddress, u64, Node);

impl World {
    /// Checks a login; `Err` is how the socket ends without one.
    fn log_in(
        &mut self,
        payload: &wa::ClientPayload,
        noise_static: &[u8],
        wake: &Wake,
    ) -> Result<Result<LoggedIn, Ending>> {
        let number = payload
            .username
            .map(|username| username.to_string())
            .unwrap_or_default();
        let device = payload
            .device
            .and_then(|device| u16::try_from(device).ok())
            .unwrap_or_default();
        let address = DeviceAddress::new(&number, device);
        if let Some(fault) = self.strike_at(Kind::Failure, Stage::Login, &address) {
            return Ok(Err(self.failure(&fault.details)));
        }
        if let Some((ending, _)) = self.planned_end(Stage::Login, &address) {
            return Ok(Err(ending));
        }
        let companion = self
            .accounts
            .get(&number)
            .and_then(|account| account.companions.get(&device));
        let Some(companion) = companion.filter(|companion| companion.record.noise_static == noise_static) else {
            let unlinked = Details {
                reason: Some(401),
                ..Details::default()
            };
            return Ok(Err(self.failure(&unlinked)));
        };
        let backlog_end = companion.queue.last();
        let socket = self.next_socket();
        let mut link = Link::new(socket, wake.clone(), backlog_end);
        if payload.passive == Some(false) {
            link.activate();
        }
        if let Some(old) = self.links.insert(address.clone(), link) {
            // The old socket finds its place taken when it wakes, and says so to its client.
            old.wake.notify_one();
            self.presence_ends(&address, &old)?;
        }
        self.stats.logins += 1;
        let account = self
            .accounts
            .get(&number)
            .ok_or_else(|| anyhow::anyhow!("the account is gone"))?;
        let success = NodeBuilder::new("success")
            .attr("t", unix_seconds())
            .attr("lid", account.device_jid(Form::Lid, device))
            .attr("display_name", account.phone.push_name.as_str())
            .attr("props", "1")
            .attr("creation", account.companions[&device].record.linked_at)
            .attr("location", "sim")
            .build();
        if let Some((ending, _)) = self.planned_end(Stage::Now, &address) {
            self.end_socket_by(&address, ending);
        }
        self.greet_if_due(&address)?;
        Ok(Ok((address, socket, success)))
    }

    /// The refusal of a login, with the attributes that WhatsApp Web's `failureParser` reads (see wacore
    /// `stanza/connect_failure`).
    pub(crate) fn failure(&mut self, details: &Details) -> Ending {
        let reason = details.reason.unwrap_or(500);
        count(&mut self.stats.failures, &reason.to_string());
        let mut failure = NodeBuilder::new("failure")
            .attr("reason", reason)
            .attr("location", details.location.as_deref().unwrap_or("sim"));
        let banned = reason == 402;
        if let Some(code) = details.code.or(banned.then_some(101)) {
            failure = failure.attr("code", code);
        }
        if let Some(expire) = details.expire.or(banned.then_some(3600)) {
            failure = failure.attr("expire", expire);
        }
        for (name, text) in [("message", &details.message), ("url", &details.url)] {
            if let Some(text) = text {
                failure = failure.attr(name, text.as_str());
            }
        }
        Ending::Words(vec![failure.build()])
    }

    /// Forgets a socket unless a newer one has taken its place.
    fn links_closed(&mut self, address: &DeviceAddress, socket: u64) -> Result<()> {
        if self.links.get(address).is_none_or(|link| link.socket != socket) {
            return Ok(());
        }
        match self.links.remove(address) {
            Some(link) => self.presence_ends(address, &link),
            None => Ok(()),
        }
    }

    /// What a socket should write now.
    fn pull(&mut self, address: &DeviceAddress, socket: u64) -> Pull {
        let Some(link) = self.links.get_mut(address).filter(|link| link.socket == socket) else {
            let replaced = NodeBuilder::new("conflict").attr("type", "replaced").build();
            let words = NodeBuilder::new("stream:error").children([replaced]).build();
            return Pull {
                ending: Some(Ending::Words(vec![words])),
                ..Pull::default()
            };
        };
        if let Some(ending) = link.closing.clone() {
            return Pull {
                ending: Some(ending),
                ..Pull::default()
            };
        }
        let companion = self
            .accounts
            .get(&address.number)
            .and_then(|account| account.companions.get(&address.device));
        let Some(companion) = companion.filter(|_| link.active) else {
            return Pull::default();
        };
        let queue = &companion.queue;
        let mut pull = Pull::default();
        if !link.preview_sent {
            link.preview_sent = true;
            let waiting = queue.count(None);
            if waiting > 0 {
                link.patience_ends = Some(Instant::now() + BACKLOG_PATIENCE);
                pull.nodes.push(preview(
                    waiting,
                    queue.count(Some("message")),
                    queue.count(Some("receipt")),
                    queue.count(Some("notification")),
                    queue.count(Some("call")),
                ));
            }
        }
        if link.patience_ends.is_some_and(|ends| Instant::now() >= ends) {
            link.allowance = u64::MAX;
        }
        let mut live = Vec::new();
        while let Some(entry) = queue.after(link.sent_up_to) {
            if pull.nodes.len() + live.len() >= BATCH {
                pull.more = true;
                break;
            }
            if entry.sequence > link.backlog_end {
                if !link.backlog_done {
                    break;
                }
                live.push(entry.node.clone());
            } else {
                if link.allowance == 0 {
                    pull.wake_at = link.patience_ends;
                    break;
                }
                link.allowance = link.allowance.saturating_sub(u64::from(link.allowance != u64::MAX));
                let mut node = entry.node.clone();
                node.attrs.insert("offline", "1");
                pull.nodes.push(node);
            }
            link.sent_up_to = entry.sequence;
        }
        let backlog_left = queue
            .after(link.sent_up_to)
            .is_some_and(|entry| entry.sequence <= link.backlog_end);
        let from_backlog = pull.nodes.iter().filter(|node| node.tag != "ib").count();
        if !link.backlog_done && !backlog_left {
            link.backlog_done = true;
            link.patience_ends = None;
            pull.nodes.push(offline_end(from_backlog));
            pull.more = queue.after(link.sent_up_to).is_some();
        }
        pull.nodes.extend(live);
        if link.backlog_done && !pull.more {
            pull.nodes.extend(link.ear.take());
        }
        if from_backlog > 0
            && let Some((ending, _)) = self.planned_end(Stage::Backlog, address)
        {
            pull.nodes.retain(|node| node.get_optional_child("offline").is_none());
            pull.ending = Some(ending);
        }
        pull.pauses = self.pauses(address, pull.nodes.len());
        for node in &pull.nodes {
            count(&mut self.stats.sent, &node.tag);
        }
        pull
    }

    /// Counts a stanza from a client; iqs with their namespace.
    pub(crate) fn count_received(&mut self, node: &Node) {
        let name = match node.text("xmlns") {
            Some(namespace) if node.tag == "iq" => format!("iq {namespace}"),
            _ => node.tag.to_string(),
        };
        count(&mut self.stats.received, &name);
    }
}

fn preview(total: usize, messages: usize, receipts: usize, notifications: usize, calls: usize) -> Node {
    let preview = NodeBuilder::new("offline_preview")
        .attr("count", total)
        .attr("message", messages)
        .attr("receipt", receipts)
        .attr("notification", notifications)
        .attr("appdata", 0)
        .attr("call", calls)
        .attr("status", 0)
        .build();
    NodeBuilder::new("ib").attr("from", SERVER).children([preview]).build()
}

fn offline_end(count: usize) -> Node {
    let offline = NodeBuilder::new("offline").attr("count", count).build();
    NodeBuilder::new("ib").attr("from", SERVER).children([offline]).build()
}
