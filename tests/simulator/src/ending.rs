//! How the server ends a socket: with words, without any, or by going dead with the socket open.

use std::time::Duration;

use anyhow::Result;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use crate::account::DeviceAddress;
use crate::fault::{Conflict, Details, Fault, Kind, Stage, Whom};
use crate::login::Link;
use crate::stanza::stream_error;
use crate::stats::count;
use crate::wire::Wire;
use crate::world::{Hub, Wake, World};

/// A dead socket is given up after this, should its client never come back.
const LONGEST_SILENCE: Duration = Duration::from_mins(15);

/// What is done with a socket that has served.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ending {
    /// Last words, then the WebSocket's goodbye.
    Words(Vec<Node>),
    /// The TCP connection ends, nothing is said.
    Cut,
    /// Nothing is read or written any more, and the socket stays open.
    Dead,
}

impl Ending {
    /// The polite end without words.
    pub(crate) const POLITE: Self = Self::Words(Vec::new());

    /// Does it. A dead socket waits until `wake` finds that its place was taken.
    pub(crate) async fn carry_out(
        self,
        hub: &Hub,
        mut wire: Wire,
        wake: &Wake,
        taken: impl Fn(&World) -> bool,
    ) -> Result<()> {
        match self {
            Self::Words(words) => {
                for node in &words {
                    wire.send(node).await?;
                }
                wire.close().await;
            }
            Self::Cut => drop(wire),
            Self::Dead => {
                hold(hub, wake, taken).await;
                drop(wire);
            }
        }
        Ok(())
    }
}

/// Keeps a dead socket until it is replaced, the simulator ends, or it has been dead for long.
pub(crate) async fn hold(hub: &Hub, wake: &Wake, taken: impl Fn(&World) -> bool) {
    let replaced = async {
        while !hub.look(&taken) {
            wake.notified().await;
        }
    };
    let mut resets = hub.look(|world| world.resets.subscribe());
    tokio::select! {
        () = replaced => {}
        _ = resets.changed() => {}
        () = hub.stopped() => {}
        () = tokio::time::sleep(LONGEST_SILENCE) => {}
    }
}

/// The words of a stream error that a fault describes, as the real server writes them.
pub(crate) fn stream_error_of(details: &Details) -> Node {
    let (kind, code) = match details.conflict {
        None => return stream_error(details.code.unwrap_or(500)),
        Some(Conflict::Replaced) => ("replaced", details.code),
        Some(Conflict::DeviceRemoved) => ("device_removed", details.code.or(Some(401))),
    };
    let conflict = NodeBuilder::new("conflict").attr("type", kind).build();
    let mut error = NodeBuilder::new("stream:error");
    if let Some(code) = code {
        error = error.attr("code", code);
    }
    error.children([conflict]).build()
}

impl World {
    /// One strike of a fault, counted.
    pub(crate) fn strike<'a>(&mut self, kind: Kind, whom: impl Into<Whom<'a>>) -> Option<Fault> {
        self.counted(kind, None, whom.into())
    }

    /// One strike of a fault that has a choice of places.
    pub(crate) fn strike_at<'a>(&mut self, kind: Kind, stage: Stage, whom: impl Into<Whom<'a>>) -> Option<Fault> {
        self.counted(kind, Some(stage), whom.into())
    }

    fn counted(&mut self, kind: Kind, stage: Option<Stage>, whom: Whom<'_>) -> Option<Fault> {
        let fault = self.faults.take(kind, stage, whom)?;
        count(&mut self.stats.faults, &kind.name());
        Some(fault)
    }

    /// The end that a fault has planned for a socket at this stage, and what it says about a message concerned.
    pub(crate) fn planned_end<'a>(&mut self, stage: Stage, whom: impl Into<Whom<'a>>) -> Option<(Ending, Details)> {
        let whom = whom.into();
        for kind in [Kind::DropSocket, Kind::HalfOpen, Kind::StreamError] {
            if let Some(fault) = self.counted(kind, Some(stage), whom) {
                return Some((ending_of(kind, &fault.details), fault.details));
            }
        }
        None
    }

    /// Socket faults strike what is connected now; what remains of them strikes at the next logins.
    pub(crate) fn strike_open_sockets(&mut self, kind: Kind) {
        if kind == Kind::QrExhausted {
            self.exhaust_codes();
            return;
        }
        if !matches!(kind, Kind::DropSocket | Kind::HalfOpen | Kind::StreamError) {
            return;
        }
        let open: Vec<DeviceAddress> = self.links.keys().cloned().collect();
        for address in open {
            if let Some(fault) = self.strike_at(kind, Stage::Now, &address) {
                self.end_socket_by(&address, ending_of(kind, &fault.details));
            }
        }
    }

    /// Ends a device's socket after some last words.
    pub(crate) fn end_socket(&mut self, address: &DeviceAddress, last_words: Vec<Node>) {
        self.end_socket_by(address, Ending::Words(last_words));
    }

    /// Ends a device's socket for good, also one that is dead and would not notice.
    pub(crate) fn take_socket_away(&mut self, address: &DeviceAddress) {
        let dead = |link: &Link| link.closing == Some(Ending::Dead);
        if !self.links.get(address).is_some_and(dead) {
            self.end_socket_by(address, Ending::POLITE);
        } else if let Some(link) = self.links.remove(address) {
            // It looks for its place when it wakes, and never reads what it is told.
            link.wake.notify_one();
        }
    }

    /// Ends a device's socket in any way.
    pub(crate) fn end_socket_by(&mut self, address: &DeviceAddress, ending: Ending) {
        if let Some(link) = self.links.get_mut(address) {
            link.closing = Some(ending);
            link.wake.notify_one();
        }
    }

    /// How late each of the next stanzas to a client is written; empty when nobody asked for that.
    pub(crate) fn pauses(&mut self, address: &DeviceAddress, stanzas: usize) -> Vec<Duration> {
        (0..stanzas)
            .map_while(|_| self.strike(Kind::SlowSocket, address))
            .map(|fault| fault.details.lateness())
            .collect()
    }
}

fn ending_of(kind: Kind, details: &Details) -> Ending {
    match kind {
        Kind::HalfOpen => Ending::Dead,
        Kind::StreamError => Ending::Words(vec![stream_error_of(details)]),
        _ => Ending::Cut,
    }
}
