//! A simulated phone: device 0 of its account, with a real Signal identity and an inbox of what it decrypted.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use whatsapp_rust::buffa::Message as _;
use whatsapp_rust::waproto::whatsapp as wa;

use crate::account::{DeviceAddress, key};
use crate::clock::unix_seconds;
use crate::hexadecimal;
use crate::presence::Hearsay;
use crate::queue::Queue;
use crate::state::Journal;

pub(crate) mod additions;
pub(crate) mod addon;
pub(crate) mod app_state;
pub(crate) mod attach;
pub(crate) mod call;
pub(crate) mod chat;
pub(crate) mod code;
pub(crate) mod compose;
pub(crate) mod contents;
pub(crate) mod draft;
pub(crate) mod envelope;
pub(crate) mod greeting;
pub(crate) mod history;
pub(crate) mod known;
pub(crate) mod many;
pub(crate) mod media;
pub(crate) mod passkey;
pub(crate) mod receive;
mod requests;
mod reupload;
mod sample;
pub(crate) mod scan;
pub(crate) mod send;
pub(crate) mod sender_keys;
pub(crate) mod signal;
pub(crate) mod unwrap;

use app_state::keys::SharedKey;
use app_state::{AppState, AppStateRecord};
use chat::Chat;
use contents::Contents;
use passkey::Passkey;
use sender_keys::SenderKeys;
use signal::{KeyRecord, Signal};

/// Sent messages kept for devices that ask for a repetition.
const KEPT_SENT: usize = 1000;

/// One phone.
pub(crate) struct Phone {
    /// Keys and sessions.
    pub(crate) signal: Signal,
    /// What it writes with and reads in groups.
    pub(crate) sender_keys: SenderKeys,
    /// What waits while it is offline.
    pub(crate) queue: Queue,
    /// Whether it is connected.
    pub(crate) online: bool,
    /// Whether it marks what it gets as read and echoes it.
    pub(crate) answering: bool,
    /// The name its owner chose.
    pub(crate) push_name: String,
    /// The passkey registered with its account.
    pub(crate) passkey: Option<Passkey>,
    /// What its owner and companions have set.
    pub(crate) app_state: AppState,
    inbox: Vec<Shown>,
    /// Account and id of everything shown in the inbox.
    shown: HashSet<(String, String)>,
    /// Account and id of everything in the inbox that has an error.
    failed: HashSet<(String, String)>,
    sent: VecDeque<Sent>,
    next_sent: u64,
    /// Accounts it has talked with and the names they gave themselves; empty before they said one.
    contacts: BTreeMap<String, String>,
    /// Presence and typing of others.
    pub(crate) hearsay: Hearsay,
    /// How often each unreadable message was asked for again.
    asked_again: HashMap<String, u8>,
}

/// What is stored about a phone together with its account.
#[derive(Serialize, Deserialize)]
pub(crate) struct PhoneRecord {
    keys: KeyRecord,
    online: bool,
    answering: bool,
    push_name: String,
    /// The first key that its companions encrypt app state with.
    app_state_key: SharedKey,
    #[serde(default)]
    app_state: AppStateRecord,
    #[serde(default)]
    passkey: Option<Passkey>,
}

/// One message as a phone shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InboxEntry {
    /// The sender's number.
    pub(crate) from: String,
    /// The sender's device.
    pub(crate) device: u16,
    /// The group it was written in, or `status@broadcast`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) group: Option<String>,
    /// The message id.
    pub(crate) id: String,
    /// What it says.
    #[serde(flatten)]
    pub(crate) contents: Contents,
    /// On copies of what an own companion sent: to whom it went.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) dsm_to: Option<String>,
    /// Why it could not be read, or why the phone does not accept it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) error: Option<String>,
    /// When the server took it, in seconds since 1970.
    pub(crate) at: u64,
    /// Whether the phone's owner has opened it.
    #[serde(default)]
    pub(crate) read: bool,
    /// The address form (number or LID) that the sender used for this phone; receipts keep it.
    #[serde(default)]
    pub(crate) by_lid: bool,
}

/// An inbox entry with the message behind it.
#[derive(Serialize, Deserialize)]
struct Shown {
    #[serde(flatten)]
    entry: InboxEntry,
    /// The protobuf; empty where it could not be read.
    #[serde(with = "hexadecimal", default)]
    message: Vec<u8>,
}

struct Sent {
    index: u64,
    id: String,
    /// Where it went; `None` for what only the own companions get.
    chat: Option<Chat>,
    at: u64,
    message: Vec<u8>,
}

/// The readable part of a stored [`Sent`].
#[derive(Serialize, Deserialize)]
struct SentRecord {
    id: String,
    chat: Option<String>,
    at: u64,
}

impl Phone {
    /// A new phone with fresh keys, online.
    pub(crate) fn generate(number: &str, answering: bool) -> Result<Self> {
        let tail = number.len().saturating_sub(4);
        Self::from_record(PhoneRecord {
            keys: Signal::generate()?.to_record(),
            online: true,
            answering,
            push_name: format!("Phone {}", &number[tail..]),
            app_state_key: SharedKey::first(),
            app_state: AppStateRecord::default(),
            passkey: None,
        })
    }

    /// A phone as it was stored; sessions, prekeys and messages follow through [`Self::restore`].
    pub(crate) fn from_record(record: PhoneRecord) -> Result<Self> {
        Ok(Self {
            signal: Signal::from_record(&record.keys)?,
            sender_keys: SenderKeys::default(),
            queue: Queue::default(),
            online: record.online,
            answering: record.answering,
            push_name: record.push_name,
            app_state: AppState::from_record(record.app_state_key, record.app_state),
            passkey: record.passkey,
            inbox: Vec::new(),
            shown: HashSet::new(),
            failed: HashSet::new(),
            sent: VecDeque::new(),
            next_sent: 0,
            contacts: BTreeMap::new(),
            hearsay: Hearsay::default(),
            asked_again: HashMap::new(),
        })
    }

    /// What is stored with the account.
    pub(crate) fn to_record(&self) -> PhoneRecord {
        let (app_state_key, app_state) = self.app_state.to_record();
        PhoneRecord {
            keys: self.signal.to_record(),
            online: self.online,
            answering: self.answering,
            push_name: self.push_name.clone(),
            app_state_key,
            app_state,
            passkey: self.passkey.clone(),
        }
    }

    /// Puts one stored record back, in the order of the keys.
    pub(crate) fn restore(&mut self, path: &[&str], value: &[u8]) -> Result<()> {
        match path {
            ["prekey", id] => {
                let (given, private) = value.split_first().context("empty")?;
                self.signal.restore_prekey(id.parse()?, *given == 1, private)?;
            }
            ["session", number, device] => {
                self.signal
                    .restore_session(&DeviceAddress::new(number, device.parse()?), value)?;
            }
            ["contact", other] => {
                self.contacts
                    .insert((*other).to_owned(), String::from_utf8(value.to_vec())?);
            }
            ["senderkey", chat, author, device] => {
                self.sender_keys
                    .restore(chat, &DeviceAddress::new(author, device.parse()?), value)?;
            }
            ["keyholders", chat] => self.sender_keys.restore_holders(chat, value)?,
            ["inbox", _] => {
                let shown: Shown = serde_json::from_slice(value)?;
                self.note_outcome(&shown.entry);
                self.inbox.push(shown);
            }
            ["sent", index] => {
                let index = index.parse()?;
                self.sent.push_back(Sent::from_stored(index, value)?);
                self.next_sent = index + 1;
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the phone has talked with an account.
    pub(crate) fn knows(&self, other: &str) -> bool {
        self.contacts.contains_key(other)
    }

    /// Everybody it has talked with and their names.
    pub(crate) fn contacts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.contacts
            .iter()
            .map(|(number, name)| (number.as_str(), name.as_str()))
    }

    /// Notes an account, and its name if it is known now.
    pub(crate) fn learn(&mut self, number: &str, other: &str, name: Option<&str>, journal: &mut Journal) {
        let known = self.contacts.get(other);
        let name = name.or(known.map(String::as_str)).unwrap_or_default();
        if known.is_none_or(|known| known != name) {
            journal.put(key::contact(number, other), name.as_bytes().to_vec());
            self.contacts.insert(other.to_owned(), name.to_owned());
        }
    }

    /// What the phone shows, oldest first.
    pub(crate) fn inbox(&self) -> impl ExactSizeIterator<Item = &InboxEntry> {
        self.inbox.iter().map(|shown| &shown.entry)
    }

    /// What the phone could read, oldest first, with the messages behind it.
    pub(crate) fn readable(&self) -> impl Iterator<Item = (&InboxEntry, wa::Message)> {
        self.inbox
            .iter()
            .filter(|shown| shown.entry.error.is_none())
            .map(|shown| {
                let message = wa::Message::decode_from_slice(&shown.message).unwrap_or_default();
                (&shown.entry, message)
            })
    }

    /// What the phone has sent to chats and still remembers: where, id, when, what.
    pub(crate) fn sent_to_chats(&self) -> impl Iterator<Item = (&Chat, &str, u64, wa::Message)> {
        self.sent.iter().filter_map(|sent| {
            let message = wa::Message::decode_from_slice(&sent.message).ok()?;
            Some((sent.chat.as_ref()?, sent.id.as_str(), sent.at, message))
        })
    }

    /// Whether this id of this account is in the inbox, readable.
    pub(crate) fn has_shown(&self, from: &str, id: &str) -> bool {
        self.shown.contains(&(from.to_owned(), id.to_owned()))
    }

    /// Adds to the inbox; what could now be read replaces the note that it could not.
    pub(crate) fn show(
        &mut self,
        number: &str,
        entry: InboxEntry,
        message: &wa::Message,
        journal: &mut Journal,
    ) -> Result<()> {
        // Looked for only where there is one: inboxes get long.
        let failed = self.failed.contains(&(entry.from.clone(), entry.id.clone()));
        let same = |old: &Shown| old.entry.error.is_some() && old.entry.id == entry.id && old.entry.from == entry.from;
        let index = failed.then(|| self.inbox.iter().position(same)).flatten();
        let index = index.unwrap_or(self.inbox.len());
        self.note_outcome(&entry);
        let shown = Shown {
            message: message.encode_to_vec(),
            entry,
        };
        if index == self.inbox.len() {
            self.inbox.push(shown);
        } else {
            self.inbox[index] = shown;
        }
        self.save_shown(number, index, journal)
    }

    fn note_outcome(&mut self, entry: &InboxEntry) {
        let name = (entry.from.clone(), entry.id.clone());
        if entry.error.is_none() {
            self.failed.remove(&name);
            self.shown.insert(name);
        } else {
            self.failed.insert(name);
        }
    }

    /// Changes what an earlier message of a chat says; one that the phone itself has sent is not in its inbox.
    pub(crate) fn change(
        &mut self,
        number: &str,
        chat: &Chat,
        id: &str,
        journal: &mut Journal,
        change: impl FnOnce(&mut Contents, &mut Vec<u8>),
    ) -> Result<()> {
        let about = |shown: &Shown| shown.entry.is_about(number, chat, id);
        let Some(index) = self.inbox.iter().rposition(about) else {
            return Ok(());
        };
        let shown = &mut self.inbox[index];
        change(&mut shown.entry.contents, &mut shown.message);
        self.save_shown(number, index, journal)
    }

    fn save_shown(&self, number: &str, index: usize, journal: &mut Journal) -> Result<()> {
        journal.put(
            key::inbox(number, index as u64),
            serde_json::to_vec(&self.inbox[index])?,
        );
        Ok(())
    }

    /// Marks a message as opened and gives it; `None` if there is no such readable message.
    pub(crate) fn open_message(&mut self, number: &str, id: &str, journal: &mut Journal) -> Result<Option<InboxEntry>> {
        let found = self
            .inbox
            .iter()
            .rposition(|shown| shown.entry.id == id && shown.entry.error.is_none());
        let Some(index) = found else { return Ok(None) };
        self.inbox[index].entry.read = true;
        self.save_shown(number, index, journal)?;
        Ok(Some(self.inbox[index].entry.clone()))
    }

    /// Remembers a sent message for those who will ask for it again, and for what will be added to it.
    pub(crate) fn remember_sent(
        &mut self,
        number: &str,
        id: &str,
        chat: Option<&Chat>,
        message: &wa::Message,
        journal: &mut Journal,
    ) -> Result<()> {
        let sent = Sent {
            index: self.next_sent,
            id: id.to_owned(),
            chat: chat.cloned(),
            at: unix_seconds(),
            message: message.encode_to_vec(),
        };
        self.next_sent += 1;
        journal.put(key::sent(number, sent.index), sent.to_stored()?);
        self.sent.push_back(sent);
        if self.sent.len() > KEPT_SENT
            && let Some(oldest) = self.sent.pop_front()
        {
            journal.delete(key::sent(number, oldest.index));
        }
        Ok(())
    }

    /// A message sent before.
    pub(crate) fn recall_sent(&self, id: &str) -> Option<wa::Message> {
        let sent = self.sent.iter().rev().find(|sent| sent.id == id)?;
        wa::Message::decode_from_slice(&sent.message).ok()
    }

    /// Notes changed one-time prekeys in the journal.
    pub(crate) fn save_prekeys(&self, number: &str, ids: &[u32], journal: &mut Journal) {
        for id in ids {
            match self.signal.prekey_record(*id) {
                Some((given, private)) => {
                    journal.put(
                        key::phone_prekey(number, *id),
                        [&[u8::from(given)], &private[..]].concat(),
                    );
                }
                None => journal.delete(key::phone_prekey(number, *id)),
            }
        }
    }

    /// Notes a changed session in the journal.
    pub(crate) fn save_session(&self, number: &str, peer: &DeviceAddress, journal: &mut Journal) -> Result<()> {
        let name = key::phone_session(number, peer);
        match self.signal.session_bytes(peer)? {
            Some(bytes) => journal.put(name, bytes),
            None => journal.delete(name),
        }
        Ok(())
    }

    /// Notes a changed sender key in the journal.
    pub(crate) fn save_sender_key(
        &self,
        number: &str,
        chat: &str,
        author: &DeviceAddress,
        journal: &mut Journal,
    ) -> Result<()> {
        let name = key::sender_key(number, chat, author);
        match self.sender_keys.bytes(chat, author)? {
            Some(bytes) => journal.put(name, bytes),
            None => journal.delete(name),
        }
        Ok(())
    }
}

impl Sent {
    /// Length and bytes of the readable part, then the message.
    fn to_stored(&self) -> Result<Vec<u8>> {
        let record = serde_json::to_vec(&SentRecord {
            id: self.id.clone(),
            chat: self.chat.as_ref().map(ToString::to_string),
            at: self.at,
        })?;
        let length = u16::try_from(record.len())?.to_be_bytes();
        Ok([&[0], &length[..], &record, &self.message].concat())
    }

    /// Earlier versions stored the length of the id, never 0, the id and the message.
    fn from_stored(index: u64, value: &[u8]) -> Result<Self> {
        let (first, rest) = value.split_first().context("empty")?;
        if *first != 0 {
            let (id, message) = rest.split_at_checked((*first).into()).context("short")?;
            return Ok(Self {
                index,
                id: String::from_utf8(id.to_vec())?,
                chat: None,
                at: 0,
                message: message.to_vec(),
            });
        }
        let (length, rest) = rest.split_first_chunk().context("short")?;
        let (record, message) = rest
            .split_at_checked(u16::from_be_bytes(*length).into())
            .context("short")?;
        let record: SentRecord = serde_json::from_slice(record)?;
        Ok(Self {
            index,
            id: record.id,
            chat: record.chat.as_deref().and_then(Chat::parse),
            at: record.at,
            message: message.to_vec(),
        })
    }
}
