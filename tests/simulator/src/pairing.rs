//! A socket that wants to be linked: it is shown QR codes until a phone scans one (or types a code), signs, and lets it
//! log in. Whichever comes first wins.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::sync::oneshot;
use tokio::time::Instant;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::waproto::whatsapp as wa;

use crate::account::{Companion, CompanionRecord, DeviceAddress};
use crate::adv;
use crate::clock::unix_seconds;
use crate::device_list::Change;
use crate::ending::Ending;
use crate::fault::{Kind, Stage, Whom};
use crate::link_code::LinkCode;
use crate::passkey::{self, Demand};
use crate::phone::history::HistoryWish;
use crate::queue::Queue;
use crate::stanza::{SERVER, Stanza as _, fresh_id, stream_error};
use crate::wire::Wire;
use crate::world::{Hub, Wake, World};

/// QR codes per socket.
const REFS: usize = 6;
/// How long the first code lives.
const FIRST_REF: Duration = Duration::from_mins(1);
/// How long each further code lives.
const NEXT_REF: Duration = Duration::from_secs(20);

/// How long a phone's word takes to the server and back. Clients rely on it: zapo-js, and whatsapp-rust where a passkey
/// is asked for, keep the agreed secret only once they have the answer to what they sent, and `pair-success` uses it.
/// So does whatsapp-rust with the handshake that the phone's part of it continues.
const PHONE_TRIP: Duration = Duration::from_millis(100);
/// How long a linked client may take to hang up by itself.
const HANGING_UP: Duration = Duration::from_millis(150);

/// A socket that shows QR codes.
pub(crate) struct Pairing {
    /// The codes' references.
    pub(crate) refs: Vec<String>,
    /// The Noise key of the socket, which the QR repeats.
    pub(crate) noise_static: Vec<u8>,
    /// The identity key of the registration, which the QR repeats.
    pub(crate) identity: Vec<u8>,
    /// What the client calls itself.
    pub(crate) platform: String,
    /// What the client says about history.
    pub(crate) history: HistoryWish,
    /// Stanzas to write.
    pub(crate) outgoing: Vec<Node>,
    /// Set when a fault ends the socket.
    pub(crate) ending: Option<Ending>,
    /// What was granted and waits for the companion's signature.
    pub(crate) granted: Option<Granted>,
    /// A code that waits to be typed on a phone.
    pub(crate) code: Option<LinkCode>,
    /// How many codes were asked for on this socket.
    pub(crate) codes_asked: u32,
    /// The account's passkey was asked for.
    pub(crate) demand: Option<Demand>,
    /// … and shown.
    pub(crate) passkey_shown: bool,
    /// A phone is convinced and about to vouch.
    pub(crate) confirmed: Option<Confirmed>,
    /// Wakes the socket's task.
    pub(crate) wake: Wake,
}

/// A phone that is convinced of the companion, having agreed on a secret with it.
pub(crate) struct Confirmed {
    /// The account.
    pub(crate) number: String,
    /// What only companion and phone know.
    pub(crate) secret: Vec<u8>,
    /// Tells the admin call how it ended.
    pub(crate) outcome: oneshot::Sender<Result<DeviceAddress, String>>,
}

impl Pairing {
    /// Ends the socket.
    pub(crate) fn end_by(&mut self, ending: Ending) {
        self.ending = Some(ending);
        self.wake.notify_one();
    }
}

/// A grant under way.
pub(crate) struct Granted {
    /// The account.
    pub(crate) number: String,
    /// The future companion's device.
    pub(crate) device: u16,
    /// Its place in the signed list.
    pub(crate) key_index: u32,
    /// The id of the stanza that carried the grant.
    pub(crate) iq: String,
    /// What the phone signed.
    pub(crate) signed: wa::ADVSignedDeviceIdentity,
    /// Tells the admin call how it ended.
    pub(crate) outcome: oneshot::Sender<Result<DeviceAddress, String>>,
}

/// Serves a registration until it is linked, gives up or runs out of codes.
pub(crate) async fn serve(hub: &Hub, mut wire: Wire, payload: &wa::ClientPayload, noise_static: Vec<u8>) -> Result<()> {
    let data = payload.device_pairing_data.as_option().context("not a registration")?;
    let identity = data.e_ident.clone().context("no identity key")?;
    let wake = Wake::default();
    let refs: Vec<String> = (0..REFS)
        .map(|_| format!("2@{}", hex::encode(rand::random::<[u8; 32]>())))
        .collect();
    if let Some(ending) = hub.act(|world| Ok(world.registration_fails()))? {
        return ending.carry_out(hub, wire, &wake, |_| false).await;
    }
    let (socket, shown) = hub.act(|world| {
        let socket = world.next_socket();
        let hidden = world.strike(Kind::NoQr, Whom::default()).is_some();
        world.pairings.insert(
            socket,
            Pairing {
                refs: if hidden { Vec::new() } else { refs.clone() },
                noise_static,
                identity,
                platform: platform(payload),
                history: HistoryWish::of(payload),
                outgoing: Vec::new(),
                ending: None,
                granted: None,
                code: None,
                codes_asked: 0,
                demand: None,
                passkey_shown: false,
                confirmed: None,
                wake: wake.clone(),
            },
        );
        Ok((socket, !hidden))
    })?;
    let ended = converse(hub, &mut wire, socket, shown.then_some(refs), &wake).await;
    let forgotten = hub.act(|world| Ok(world.pairings.remove(&socket)))?;
    if let Some(Pairing { granted, demand, .. }) = forgotten {
        if let Some(granted) = granted {
            // The caller may have stopped waiting.
            let _ = granted.outcome.send(Err(
                "the client closed its socket before it answered the link".to_owned()
            ));
        }
        if let Some(demand) = demand {
            demand.abandon("the client closed its socket before it showed the account's passkey");
        }
    }
    match ended {
        Ok(ending) => ending.carry_out(hub, wire, &wake, |_| false).await,
        Err(error) => {
            wire.close().await;
            Err(error)
        }
    }
}

fn platform(payload: &wa::ClientPayload) -> String {
    payload
        .user_agent
        .as_option()
        .and_then(|agent| agent.device.clone())
        .filter(|device| !device.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

async fn converse(hub: &Hub, wire: &mut Wire, socket: u64, refs: Option<Vec<String>>, wake: &Wake) -> Result<Ending> {
    if let Some(refs) = refs {
        let refs = refs
            .into_iter()
            .map(|text| NodeBuilder::new("ref").bytes(text.into_bytes()).build());
        let offer = NodeBuilder::new("pair-device").children(refs).build();
        wire.send(&server_set(&fresh_id(), offer)).await?;
    }
    let last_ref_ends = Instant::now() + FIRST_REF + NEXT_REF * (u32::try_from(REFS)? - 1);
    loop {
        let (outgoing, ending, ends_at) = hub.act(|world| {
            let Some(pairing) = world.pairings.get_mut(&socket) else {
                return Ok((Vec::new(), None, last_ref_ends));
            };
            // A code outlives the last picture; the real server keeps its socket too.
            let code_ends = pairing.code.as_ref().map(LinkCode::patience_ends);
            let outgoing = std::mem::take(&mut pairing.outgoing);
            let ends_at = code_ends.unwrap_or(last_ref_ends).max(last_ref_ends);
            Ok((outgoing, pairing.ending.take(), ends_at))
        })?;
        for node in outgoing {
            wire.send(&node).await?;
        }
        if let Some(ending) = ending {
            return Ok(ending);
        }
        tokio::select! {
            node = wire.recv() => {
                let Some(node) = node? else { return Ok(Ending::POLITE) };
                if let Some(fault) = hub.act(|world| Ok(world.strike(Kind::Delay, Whom::default())))? {
                    tokio::time::sleep(fault.details.lateness()).await;
                }
                match hub.act(|world| Ok(world.pairing_stanza(socket, &node)))? {
                    Next::Continue => {}
                    Next::Answer(answer) => wire.send(&answer).await?,
                    Next::Conveyed(answer) => {
                        wire.send(&answer).await?;
                        tokio::time::sleep(PHONE_TRIP).await;
                    }
                    Next::Confirmed(answer) => {
                        wire.send(&answer).await?;
                        tokio::time::sleep(PHONE_TRIP).await;
                        hub.act(|world| world.grant_confirmed(socket))?;
                    }
                    Next::Linked(Some(ending)) => return Ok(ending),
                    Next::Linked(None) => return Ok(come_back(wire).await),
                    Next::Refused => return Ok(Ending::Words(vec![stream_error(401)])),
                }
            }
            () = wake.notified() => {}
            () = tokio::time::sleep_until(ends_at) => return Ok(Ending::POLITE),
            () = hub.stopped() => return Ok(Ending::POLITE),
        }
    }
}

/// Tells a linked client to come back as a companion, unless it hangs up to do so by itself: zapo-js does, and takes a
/// 515 that still reaches it as the order to forget its link. On a real network the answer is never that fast.
async fn come_back(wire: &mut Wire) -> Ending {
    let hangs_up = async { while let Ok(Some(_)) = wire.recv().await {} };
    match tokio::time::timeout(HANGING_UP, hangs_up).await {
        Ok(()) => Ending::POLITE,
        Err(_) => Ending::Words(vec![stream_error(515)]),
    }
}

/// What a pairing socket does after a stanza.
pub(crate) enum Next {
    Continue,
    Answer(Node),
    /// Answer, and after a while tell what the phone says to it.
    Conveyed(Node),
    /// Answer, and let the phone that is now convinced vouch.
    Confirmed(Node),
    /// The client logs in anew, unless a fault has another end for it.
    Linked(Option<Ending>),
    Refused,
}

/// An `<iq type="set">` from the server; whatsapp-rust compares the text of `from`.
pub(crate) fn server_set(id: &str, child: Node) -> Node {
    NodeBuilder::new("iq")
        .attr("from", SERVER)
        .attr("type", "set")
        .attr("id", id)
        .attr("xmlns", "md")
        .children([child])
        .build()
}

impl World {
    /// How a registration ends before it has begun, if a fault wants that.
    fn registration_fails(&mut self) -> Option<Ending> {
        if let Some(fault) = self.strike_at(Kind::Failure, Stage::Register, Whom::default()) {
            return Some(self.failure(&fault.details));
        }
        self.planned_end(Stage::Register, Whom::default())
            .map(|(ending, _)| ending)
    }

    /// Handles a stanza of a socket that is not logged in.
    fn pairing_stanza(&mut self, socket: u64, node: &Node) -> Next {
        self.count_received(node);
        if node.tag != "iq" {
            return Next::Continue;
        }
        let id = node.text("id").unwrap_or_default();
        match node.text("type").as_deref() {
            Some("get" | "set") => match node.child("link_code_companion_reg") {
                Some(asked) => self.link_code_iq(socket, &id, asked),
                None => match passkey::asked(node) {
                    Some(asked) => self.passkey_iq(socket, &id, asked),
                    None => Next::Answer(crate::stanza::result(&id, [])),
                },
            },
            Some("error") => {
                let granted = self.take_granted(socket, &id);
                if let Some(granted) = granted {
                    self.stats.links_refused += 1;
                    let text = node
                        .child("error")
                        .and_then(|error| error.text("text"))
                        .unwrap_or_default();
                    let _ = granted
                        .outcome
                        .send(Err(format!("the client refused the link: {text}")));
                }
                // A client that refuses must not get an answer.
                Next::Continue
            }
            _ => {
                let Some(answer) = node.child("pair-device-sign") else {
                    return Next::Continue;
                };
                self.finish_link(socket, &id, answer)
            }
        }
    }

    fn take_granted(&mut self, socket: u64, iq: &str) -> Option<Granted> {
        let pairing = self.pairings.get_mut(&socket)?;
        pairing.granted.take_if(|granted| granted.iq == iq)
    }

    fn finish_link(&mut self, socket: u64, iq: &str, answer: &Node) -> Next {
        let Some(granted) = self.take_granted(socket, iq) else {
            return Next::Refused;
        };
        let address = DeviceAddress::new(&granted.number, granted.device);
        match self.link(socket, &granted, answer) {
            Ok(()) => {
                self.stats.links += 1;
                tracing::info!(device = %address, "a companion was linked");
                let planned = self.planned_end(Stage::Linked, &address);
                let _ = granted.outcome.send(Ok(address));
                Next::Linked(planned.map(|(ending, _)| ending))
            }
            Err(error) => {
                self.stats.links_refused += 1;
                tracing::warn!(device = %address, error = format!("{error:#}"), "a companion's answer was refused");
                let _ = granted
                    .outcome
                    .send(Err(format!("the client's answer to the link is wrong: {error:#}")));
                Next::Refused
            }
        }
    }

    fn link(&mut self, socket: u64, granted: &Granted, answer: &Node) -> Result<()> {
        let pairing = self.pairings.get(&socket).context("the socket is gone")?;
        let identity = answer
            .child("device-identity")
            .context("no device identity in the answer")?;
        if identity
            .text("key-index")
            .is_some_and(|index| index != granted.key_index.to_string())
        {
            bail!("the answer names another key index");
        }
        let signed = identity.content().context("the device identity is empty")?;
        let device_identity = adv::accept_answer(&signed, &granted.signed, &pairing.identity)?;
        let record = CompanionRecord {
            key_index: granted.key_index,
            noise_static: pairing.noise_static.clone(),
            identity: pairing.identity.clone(),
            device_identity,
            platform: pairing.platform.clone(),
            history: pairing.history.clone(),
            keys: None,
            greeted: false,
            linked_at: unix_seconds(),
            owed_app_state: std::collections::BTreeSet::new(),
            name: None,
        };
        let account = self.accounts.get_mut(&granted.number).context("the account is gone")?;
        let companion = Companion {
            record,
            prekeys: std::collections::BTreeMap::new(),
            queue: Queue::default(),
        };
        account.companions.insert(granted.device, companion);
        account.devices_changed();
        account.save(&mut self.journal)?;
        account.save_companion(granted.device, &mut self.journal)?;
        let address = DeviceAddress::new(&granted.number, granted.device);
        self.announce(
            &address,
            Change::Added {
                key_index: granted.key_index,
            },
        )
    }

    /// Lets the fault strike that takes the QR codes from pairing sockets: a client that is offered no reference has none
    /// left, as after two and a half minutes.
    pub(crate) fn exhaust_codes(&mut self) {
        let mut sockets: Vec<u64> = self.pairings.keys().copied().collect();
        sockets.sort_unstable();
        for socket in sockets {
            if self.strike(Kind::QrExhausted, Whom::default()).is_none() {
                return;
            }
            if let Some(pairing) = self.pairings.get_mut(&socket) {
                pairing.refs.clear();
                let offer = NodeBuilder::new("pair-device").build();
                pairing.outgoing.push(server_set(&fresh_id(), offer));
                pairing.wake.notify_one();
            }
        }
    }

    /// The stanza that hands a grant to the companion.
    pub(crate) fn pair_success(&self, number: &str, device: u16, iq: &str, container: Vec<u8>) -> Result<Node> {
        let account = self.accounts.get(number).context("no such account")?;
        let success = NodeBuilder::new("pair-success").children([
            NodeBuilder::new("device-identity").bytes(container).build(),
            NodeBuilder::new("platform").attr("name", "android").build(),
            NodeBuilder::new("device")
                .attr("jid", account.device_jid(crate::account::Form::Number, device))
                .attr("lid", account.device_jid(crate::account::Form::Lid, device))
                .build(),
        ]);
        Ok(server_set(iq, success.build()))
    }
}
