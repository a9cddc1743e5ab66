//! Who looks at a screen, who wants to know it, and who types: all of it for those who are there now, none of it kept.
//!
//! As on the real server a client hears of others only while it is `available` itself, and its subscriptions end with
//! its socket. A simulated phone listens while it is online, unless its owner has put it away.

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Context as _, Result};
use serde::Serialize;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use crate::account::{DeviceAddress, Form};
use crate::clock::unix_seconds;
use crate::login::Link;
use crate::stanza::{SERVER, Stanza as _};
use crate::world::World;

/// What is whispered to a client that does not listen is lost beyond this.
const MOST_WHISPERS: usize = 256;
/// What a phone has heard is forgotten beyond this.
const MOST_HEARD: usize = 500;
/// A client may want to know of that many others.
const MOST_SUBSCRIPTIONS: usize = 2_000;
/// No name is longer.
const LONGEST_NAME: usize = 200;

/// The passing part of a socket: nothing here outlives it.
#[derive(Default)]
pub(crate) struct Ear {
    /// Whether the client says that somebody looks at it.
    available: bool,
    /// Numbers whose presence it wants, with the form of address it used.
    subscriptions: BTreeMap<String, Form>,
    /// What is to be written next and never queued.
    whispers: VecDeque<Node>,
}

impl Ear {
    /// Everything to be written now.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Node> {
        std::mem::take(&mut self.whispers).into_iter()
    }

    fn whisper(&mut self, node: Node) {
        if self.whispers.len() == MOST_WHISPERS {
            self.whispers.pop_front();
        }
        self.whispers.push_back(node);
    }
}

/// Something that a phone was told in passing.
#[derive(Clone, Serialize)]
pub(crate) struct Heard {
    /// Whose state it is.
    from: String,
    /// `available`, `unavailable`, `composing`, `recording`, `paused`.
    state: String,
    /// When the other was last seen, if it shows that.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<u64>,
    /// Seconds since 1970.
    at: u64,
}

/// What a phone has heard lately.
#[derive(Default)]
pub(crate) struct Hearsay(VecDeque<Heard>);

impl Hearsay {
    fn add(&mut self, heard: Heard) {
        if self.0.len() == MOST_HEARD {
            self.0.pop_front();
        }
        self.0.push_back(heard);
    }

    /// The oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Heard> {
        self.0.iter()
    }
}

/// What somebody does in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Typing {
    Composing,
    Recording,
    Paused,
}

impl Typing {
    /// By the name the admin interface uses.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "composing" => Some(Self::Composing),
            "recording" => Some(Self::Recording),
            "paused" => Some(Self::Paused),
            _ => None,
        }
    }

    /// The name the admin interface uses.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Composing => "composing",
            Self::Recording => "recording",
            Self::Paused => "paused",
        }
    }

    /// From the child of a `<chatstate>`; all three clients mark a voice recording by `media="audio"`.
    fn of(state: &Node) -> Option<Self> {
        match (state.tag.as_ref(), state.text("media").as_deref()) {
            ("composing", Some("audio")) => Some(Self::Recording),
            ("composing", _) => Some(Self::Composing),
            ("paused", _) => Some(Self::Paused),
            _ => None,
        }
    }

    fn node(self) -> Node {
        match self {
            Self::Composing => NodeBuilder::new("composing").build(),
            Self::Recording => NodeBuilder::new("composing").attr("media", "audio").build(),
            Self::Paused => NodeBuilder::new("paused").build(),
        }
    }
}

impl World {
    /// A client's `<presence>`: its own state and name, or a wish to know somebody else's.
    pub(crate) fn client_presence(&mut self, from: &DeviceAddress, node: &Node) -> Result<()> {
        match node.text("type").as_deref() {
            None | Some("available") => {
                self.client_names_itself(from, node)?;
                self.client_is_available(from, true)
            }
            Some("unavailable") => {
                self.client_names_itself(from, node)?;
                self.client_is_available(from, false)
            }
            Some("subscribe") => {
                self.client_subscribes(from, node);
                Ok(())
            }
            Some("unsubscribe") => {
                let other = node.jid("to").and_then(|jid| self.accounts.resolve(&jid));
                if let (Some(other), Some(link)) = (other, self.links.get_mut(from)) {
                    link.ear.subscriptions.remove(&other.number);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Others see this name on what the client sends from now on.
    fn client_names_itself(&mut self, from: &DeviceAddress, node: &Node) -> Result<()> {
        let Some(name) = node
            .text("name")
            .filter(|name| !name.is_empty() && name.len() <= LONGEST_NAME)
        else {
            return Ok(());
        };
        let account = self.accounts.get_mut(&from.number).context("the account is gone")?;
        let Some(companion) = account.companions.get_mut(&from.device) else {
            return Ok(());
        };
        if companion.record.name.as_deref() != Some(&name) {
            companion.record.name = Some(name);
            account.save_companion(from.device, &mut self.journal)?;
        }
        Ok(())
    }

    fn client_is_available(&mut self, from: &DeviceAddress, available: bool) -> Result<()> {
        self.watching_presence(&from.number, |world| {
            if let Some(link) = world.links.get_mut(from) {
                link.ear.available = available;
            }
            Ok(())
        })
    }

    fn client_subscribes(&mut self, from: &DeviceAddress, node: &Node) {
        let Some(jid) = node.jid("to") else { return };
        let Some(other) = self.accounts.resolve(&jid) else {
            return;
        };
        let form = Form::of(&jid);
        let Some(link) = self.links.get_mut(from) else {
            return;
        };
        if link.ear.subscriptions.len() >= MOST_SUBSCRIPTIONS && !link.ear.subscriptions.contains_key(&other.number) {
            return;
        }
        link.ear.subscriptions.insert(other.number.clone(), form);
        if let Some(presence) = self.presence_for(&other.number, &from.number, form) {
            self.whisper(from, presence);
        }
    }

    /// Forgets the presence of a socket that ended.
    pub(crate) fn presence_ends(&mut self, address: &DeviceAddress, link: &Link) -> Result<()> {
        if !link.ear.available || self.is_available(&address.number) || self.accounts.get(&address.number).is_none() {
            return Ok(());
        }
        self.presence_changed(&address.number)
    }

    /// Whether somebody at the account looks at a screen now.
    pub(crate) fn is_available(&self, number: &str) -> bool {
        let Some(account) = self.accounts.get(number) else {
            return false;
        };
        let on_the_phone = account.phone.online && account.profile.phone_available == Some(true);
        on_the_phone
            || account.companions.keys().any(|device| {
                self.links
                    .get(&DeviceAddress::new(number, *device))
                    .is_some_and(|link| link.ear.available)
            })
    }

    /// Carries out a change after which an account may look different to those who watch it.
    pub(crate) fn watching_presence<T>(
        &mut self,
        number: &str,
        change: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let before = self.is_available(number);
        let outcome = change(self)?;
        if self.is_available(number) != before {
            self.presence_changed(number)?;
        }
        Ok(outcome)
    }

    fn presence_changed(&mut self, number: &str) -> Result<()> {
        self.change_profile(number, |profile| profile.last_seen = Some(unix_seconds()))?;
        let watching: Vec<(DeviceAddress, Form)> = self
            .links
            .iter()
            .filter_map(|(address, link)| Some((address.clone(), *link.ear.subscriptions.get(number)?)))
            .collect();
        for (address, form) in watching {
            if let Some(presence) = self.presence_for(number, &address.number, form) {
                self.whisper(&address, presence);
            }
        }
        let phones: Vec<String> = self
            .accounts
            .iter()
            .filter(|account| account.profile.phone_subscriptions.contains(number))
            .map(|account| account.number.clone())
            .collect();
        for phone in phones {
            self.phone_hears_presence(&phone, number);
        }
        Ok(())
    }

    /// An account's presence as another may see it; `None` if it may not.
    fn presence_for(&self, number: &str, viewer: &str, form: Form) -> Option<Node> {
        if !self.may_see("online", number, viewer) {
            return None;
        }
        let account = self.accounts.get(number)?;
        let presence = NodeBuilder::new("presence").attr("from", account.jid(form));
        if self.is_available(number) {
            return Some(presence.attr("type", "available").build());
        }
        let presence = presence.attr("type", "unavailable");
        Some(match account.profile.last_seen {
            _ if !self.may_see("last", number, viewer) => presence.attr("last", "deny").build(),
            Some(at) => presence.attr("last", at).build(),
            None => presence.build(),
        })
    }

    /// Writes something to a client if it is there and listens; nothing of it is kept.
    fn whisper(&mut self, to: &DeviceAddress, node: Node) {
        if let Some(link) = self.links.get_mut(to)
            && link.ear.available
        {
            link.ear.whisper(node);
            self.link_is_ready(to);
        }
    }

    /// Tells an account's connected clients that something of theirs is out of date; gives how many were told.
    pub(crate) fn says_dirty(&mut self, number: &str, kind: &str) -> Result<usize> {
        let account = self.accounts.get(number).context("no such account")?;
        let clients: Vec<DeviceAddress> = account
            .companions
            .keys()
            .map(|device| DeviceAddress::new(number, *device))
            .filter(|address| self.links.contains_key(address))
            .collect();
        let dirty = NodeBuilder::new("dirty")
            .attr("type", kind)
            .attr("timestamp", unix_seconds())
            .build();
        let bulletin = NodeBuilder::new("ib").attr("from", SERVER).children([dirty]).build();
        for client in &clients {
            if let Some(link) = self.links.get_mut(client) {
                link.ear.whisper(bulletin.clone());
            }
            self.link_is_ready(client);
        }
        Ok(clients.len())
    }

    /// A client's `<chatstate>`, passed on to everybody of the other side who is there.
    pub(crate) fn client_chatstate(&mut self, from: &DeviceAddress, node: &Node) -> Result<()> {
        let state = node
            .children()
            .and_then(|children| children.first())
            .and_then(Typing::of);
        let (Some(state), Some(to)) = (state, node.jid("to")) else {
            return Ok(());
        };
        let Some(other) = self.accounts.resolve(&to) else {
            return Ok(());
        };
        self.types(&from.number, &other.number, Form::of(&to), state)
    }

    /// Somebody types to somebody.
    pub(crate) fn types(&mut self, from: &str, to: &str, form: Form, state: Typing) -> Result<()> {
        if from == to || self.are_apart(from, to) {
            return Ok(());
        }
        let sender = self.accounts.get(from).context("no such account")?;
        let stanza = NodeBuilder::new("chatstate")
            .attr("from", sender.jid(form))
            .children([state.node()])
            .build();
        let devices = self.accounts.get(to).context("no such account")?.devices();
        for device in devices {
            if device == 0 {
                self.phone_hears(to, from, state.name(), None);
            } else {
                self.whisper(&DeviceAddress::new(to, device), stanza.clone());
            }
        }
        Ok(())
    }

    /// The owner of a phone picks it up or puts it away.
    pub(crate) fn phone_is_available(&mut self, number: &str, available: bool) -> Result<()> {
        self.watching_presence(number, |world| {
            world.change_profile(number, |profile| profile.phone_available = Some(available))
        })
    }

    /// The owner of a phone opens a chat, whose other side's presence is shown from now on.
    pub(crate) fn phone_subscribes(&mut self, number: &str, other: &str) -> Result<()> {
        let new = self.change_profile(number, |profile| {
            profile.phone_subscriptions.len() < MOST_SUBSCRIPTIONS
                && profile.phone_subscriptions.insert(other.to_owned())
        })?;
        if new {
            self.phone_hears_presence(number, other);
        }
        Ok(())
    }

    fn phone_hears_presence(&mut self, number: &str, other: &str) {
        let Some(presence) = self.presence_for(other, number, Form::Number) else {
            return;
        };
        let last = presence.text("last").and_then(|last| last.parse().ok());
        let state = presence.text("type").unwrap_or_default();
        self.phone_hears(number, other, &state, last);
    }

    fn phone_hears(&mut self, number: &str, from: &str, state: &str, last_seen: Option<u64>) {
        let Some(account) = self.accounts.get_mut(number) else {
            return;
        };
        if account.phone.online && account.profile.phone_available != Some(false) {
            account.phone.hearsay.add(Heard {
                from: from.to_owned(),
                state: state.to_owned(),
                last_seen,
                at: unix_seconds(),
            });
        }
    }
}
