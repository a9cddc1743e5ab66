//! A linked client's socket: login, what waits for it, and its stanzas until one side ends it.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::waproto::whatsapp as wa;

use crate::account::{DeviceAddress, Form};
use crate::clock::unix_seconds;
use crate::fault::{Fault, Kind};
use crate::presence::Ear;
use crate::stanza::{SERVER, Stanza as _, fresh_id, stream_error};
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
/// Clients show their own errors after this; no fault waits longer.
const LONGEST_DELAY: Duration = Duration::from_mins(1);

/// An open socket of a logged-in companion.
pub(crate) struct Link {
    /// Which socket; a later login of the same device has another.
    pub(crate) socket: u64,
    /// Wakes the socket's task.
    pub(crate) wake: Wake,
    /// Set when the server ends it: last words, then the end.
    pub(crate) closing: Option<Vec<Node>>,
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
    /// End the socket after writing.
    close: bool,
    /// Look again without waiting.
    more: bool,
    wake_at: Option<Instant>,
}

/// Logs a client in and serves it.
pub(crate) async fn serve(hub: &Hub, mut wire: Wire, payload: &wa::ClientPayload, noise_static: &[u8]) -> Result<()> {
    let wake = Wake::default();
    let ended = match hub.act(|world| world.log_in(payload, noise_static, &wake))? {
        Ok((address, socket, success)) => {
            tracing::info!(device = %address, "logged in");
            wire.send(&success).await?;
            let ended = converse(hub, &mut wire, &address, socket, &wake).await;
            hub.act(|world| world.links_closed(&address, socket))?;
            tracing::info!(device = %address, "socket ended");
            ended
        }
        Err(failure) => wire.send(&failure).await,
    };
    wire.close().await;
    ended
}

async fn converse(hub: &Hub, wire: &mut Wire, address: &DeviceAddress, socket: u64, wake: &Wake) -> Result<()> {
    let mut heard_at = Instant::now();
    let mut pinged = false;
    loop {
        let pull = hub.act(|world| Ok(world.pull(address, socket)))?;
        for node in &pull.nodes {
            wire.send(node).await?;
        }
        if pull.close {
            return Ok(());
        }
        if pull.more {
            continue;
        }
        let silence_ends = heard_at + if pinged { SILENCE + PING_PATIENCE } else { SILENCE };
        let look_at = pull.wake_at.map_or(silence_ends, |at| at.min(silence_ends));
        tokio::select! {
            node = wire.recv() => {
                let Some(node) = node? else { return Ok(()) };
                heard_at = Instant::now();
                pinged = false;
                if let Some(delay) = hub.act(|world| Ok(world.delay(address)))? {
                    tokio::time::sleep(delay.min(LONGEST_DELAY)).await;
                }
                for answer in hub.act(|world| world.client_stanza(address, socket, &node))? {
                    wire.send(&answer).await?;
                }
            }
            () = wake.notified() => {}
            () = hub.stopped() => return Ok(()),
            () = tokio::time::sleep_until(look_at) => {
                if Instant::now() < silence_ends {
                    continue;
                }
                if pinged {
                    return Ok(());
                }
                pinged = true;
                wire.send(&ping()).await?;
            }
        }
    }
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
    /// Checks a login; `Err` is the stanza that refuses it.
    fn log_in(
        &mut self,
        payload: &wa::ClientPayload,
        noise_static: &[u8],
        wake: &Wake,
    ) -> Result<Result<LoggedIn, Node>> {
        let number = payload
            .username
            .map(|username| username.to_string())
            .unwrap_or_default();
        let device = payload
            .device
            .and_then(|device| u16::try_from(device).ok())
            .unwrap_or_default();
        if let Some(fault) = self.strike(Kind::Failure, Some(&number)) {
            return Ok(Err(self.failure(fault.reason, fault.expire)));
        }
        let companion = self
            .accounts
            .get(&number)
            .and_then(|account| account.companions.get(&device));
        let Some(companion) = companion.filter(|companion| companion.record.noise_static == noise_static) else {
            return Ok(Err(self.failure(401, None)));
        };
        let backlog_end = companion.queue.last();
        let address = DeviceAddress::new(&number, device);
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
        if let Some(fault) = self.strike(Kind::StreamError, Some(&number)) {
            self.end_socket(&address, vec![stream_error(fault.code)]);
        } else if self.strike(Kind::DropSocket, Some(&number)).is_some() {
            self.end_socket(&address, Vec::new());
        }
        self.greet_if_due(&address)?;
        Ok(Ok((address, socket, success)))
    }

    fn failure(&mut self, reason: u16, expire: Option<u64>) -> Node {
        count(&mut self.stats.failures, &reason.to_string());
        let mut failure = NodeBuilder::new("failure")
            .attr("reason", reason)
            .attr("location", "sim");
        if reason == 402 {
            failure = failure.attr("code", 101).attr("expire", expire.unwrap_or(3600));
        }
        failure.build()
    }

    /// Ends a device's socket after some last words.
    pub(crate) fn end_socket(&mut self, address: &DeviceAddress, last_words: Vec<Node>) {
        if let Some(link) = self.links.get_mut(address) {
            link.closing = Some(last_words);
            link.wake.notify_one();
        }
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

    fn delay(&mut self, address: &DeviceAddress) -> Option<Duration> {
        self.strike(Kind::Delay, Some(&address.number))
            .map(|fault| Duration::from_millis(fault.milliseconds))
    }

    /// One strike of a fault, counted.
    pub(crate) fn strike(&mut self, kind: Kind, number: Option<&str>) -> Option<Fault> {
        let fault = self.faults.take(kind, number)?;
        count(&mut self.stats.faults, &kind.name());
        Some(fault)
    }

    /// What a socket should write now.
    fn pull(&mut self, address: &DeviceAddress, socket: u64) -> Pull {
        let Some(link) = self.links.get_mut(address).filter(|link| link.socket == socket) else {
            let replaced = NodeBuilder::new("conflict").attr("type", "replaced").build();
            let words = NodeBuilder::new("stream:error").children([replaced]).build();
            return Pull {
                nodes: vec![words],
                close: true,
                ..Pull::default()
            };
        };
        if let Some(nodes) = link.closing.take() {
            return Pull {
                nodes,
                close: true,
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
        if !link.backlog_done && !backlog_left {
            link.backlog_done = true;
            link.patience_ends = None;
            let sent = pull.nodes.iter().filter(|node| node.tag != "ib").count();
            pull.nodes.push(offline_end(sent));
            pull.more = queue.after(link.sent_up_to).is_some();
        }
        pull.nodes.extend(live);
        if link.backlog_done && !pull.more {
            pull.nodes.extend(link.ear.take());
        }
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
