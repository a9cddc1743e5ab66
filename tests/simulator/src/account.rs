//! The register of accounts: phone numbers, their hidden ids (LIDs), their phones and linked companions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use anyhow::{Context as _, Result, anyhow};
use serde::{Deserialize, Serialize};
use whatsapp_rust::wacore::libsignal::protocol::{IdentityKey, PreKeyBundle, PublicKey};
use whatsapp_rust::wacore_binary::{Jid, OwnedNodeRef, Server, marshal};

use crate::adv;
use crate::app_state::{Collection, Name};
use crate::clock::unix_seconds;
use crate::hexadecimal;
use crate::iq::encrypt::Bundle;
use crate::phone::history::HistoryWish;
use crate::phone::{Phone, PhoneRecord};
use crate::profile::Profile;
use crate::queue::Queue;
use crate::state::{Journal, Records};

/// LIDs count up from here; recognisable in logs, impossible as phone numbers of the sandbox.
const FIRST_LID: u64 = 100_000_000_000_001;

/// One device of one account; device 0 is the phone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DeviceAddress {
    /// The account's phone number, digits only.
    pub(crate) number: String,
    /// 0 for the phone, companions from 1.
    pub(crate) device: u16,
}

impl DeviceAddress {
    /// The phone of a number.
    pub(crate) fn phone(number: &str) -> Self {
        Self {
            number: number.to_owned(),
            device: 0,
        }
    }

    /// A companion or the phone of a number.
    pub(crate) fn new(number: &str, device: u16) -> Self {
        Self {
            number: number.to_owned(),
            device,
        }
    }
}

/// Masked, since it stands in logs: the last four digits and the device.
impl fmt::Display for DeviceAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = self.number.len().saturating_sub(4);
        write!(formatter, "…{}:{}", &self.number[tail..], self.device)
    }
}

/// A linked client.
pub(crate) struct Companion {
    /// What lasts, as stored.
    pub(crate) record: CompanionRecord,
    /// One-time prekeys not given out yet, by id.
    pub(crate) prekeys: BTreeMap<u32, Vec<u8>>,
    /// What waits for it.
    pub(crate) queue: Queue,
}

/// What is stored about a companion.
#[derive(Serialize, Deserialize)]
pub(crate) struct CompanionRecord {
    /// Its place in the account's signed list.
    pub(crate) key_index: u32,
    /// The Noise key it must prove at login.
    #[serde(with = "hexadecimal")]
    pub(crate) noise_static: Vec<u8>,
    /// Its Signal identity.
    #[serde(with = "hexadecimal")]
    pub(crate) identity: Vec<u8>,
    /// The chain of signatures between account and companion.
    #[serde(with = "hexadecimal")]
    pub(crate) device_identity: Vec<u8>,
    /// What the client calls itself.
    pub(crate) platform: String,
    /// Its uploaded keys; none before the first upload.
    pub(crate) keys: Option<UploadedKeys>,
    /// Whether the phone has sent its key share and history.
    pub(crate) greeted: bool,
    /// When it was linked.
    pub(crate) linked_at: u64,
    /// What it has said about history when it registered.
    #[serde(default)]
    pub(crate) history: HistoryWish,
    /// Collections of app state that it asked for before its phone had shared the key.
    #[serde(default)]
    pub(crate) owed_app_state: BTreeSet<String>,
    /// The name it gave itself with its presence.
    #[serde(default)]
    pub(crate) name: Option<String>,
}

/// The lasting part of a prekey upload.
#[derive(Serialize, Deserialize)]
pub(crate) struct UploadedKeys {
    pub(crate) registration: u32,
    pub(crate) signed_id: u32,
    #[serde(with = "hexadecimal")]
    pub(crate) signed_public: Vec<u8>,
    #[serde(with = "hexadecimal")]
    pub(crate) signed_signature: Vec<u8>,
}

/// One phone number on WhatsApp.
pub(crate) struct Account {
    /// Digits only.
    pub(crate) number: String,
    /// The user part of its LID.
    pub(crate) lid: String,
    /// Random id that all its device lists carry.
    pub(crate) raw_id: u32,
    /// Never reused, so that a removed companion cannot be mistaken for a new one.
    pub(crate) next_device: u16,
    /// Never reused either.
    pub(crate) next_key_index: u32,
    /// When the list of companions last changed.
    pub(crate) devices_changed_at: u64,
    /// Accounts whose companions asked for this one's devices and are told when they change.
    pub(crate) watchers: BTreeSet<String>,
    /// What it shows of itself, and to whom.
    pub(crate) profile: Profile,
    /// Device 0.
    pub(crate) phone: Phone,
    /// Devices 1 and up.
    pub(crate) companions: BTreeMap<u16, Companion>,
    /// What the server keeps of the account's app state.
    pub(crate) app_state: BTreeMap<Name, Collection>,
}

#[derive(Serialize, Deserialize)]
struct AccountRecord {
    lid: String,
    raw_id: u32,
    next_device: u16,
    next_key_index: u32,
    devices_changed_at: u64,
    watchers: BTreeSet<String>,
    phone: PhoneRecord,
}

impl Account {
    /// The account's address without a device.
    pub(crate) fn jid(&self, form: Form) -> Jid {
        match form {
            Form::Number => Jid::pn(self.number.as_str()),
            Form::Lid => Jid::lid(self.lid.as_str()),
        }
    }

    /// The address of one of its devices.
    pub(crate) fn device_jid(&self, form: Form, device: u16) -> Jid {
        self.jid(form).with_device(device)
    }

    /// All devices, the phone first.
    pub(crate) fn devices(&self) -> Vec<u16> {
        std::iter::once(0).chain(self.companions.keys().copied()).collect()
    }

    /// The places of all devices in the signed list, the phone's first.
    pub(crate) fn key_indexes(&self) -> Vec<u32> {
        let companions = self.companions.values().map(|companion| companion.record.key_index);
        std::iter::once(0).chain(companions).collect()
    }

    /// The signed list of valid companions.
    pub(crate) fn key_index_list(&self) -> Result<Vec<u8>> {
        adv::key_index_list(
            self.phone.signal.identity(),
            self.raw_id,
            self.devices_changed_at,
            self.next_key_index.saturating_sub(1),
            self.companions
                .values()
                .map(|companion| companion.record.key_index)
                .collect(),
        )
    }

    /// Dates the list of companions anew. Clients compare the dates of signed lists, so two changes within a second must
    /// not share one.
    pub(crate) fn devices_changed(&mut self) {
        self.devices_changed_at = unix_seconds().max(self.devices_changed_at + 1);
    }

    /// Notes the account's own record in the journal.
    pub(crate) fn save(&self, journal: &mut Journal) -> Result<()> {
        let record = AccountRecord {
            lid: self.lid.clone(),
            raw_id: self.raw_id,
            next_device: self.next_device,
            next_key_index: self.next_key_index,
            devices_changed_at: self.devices_changed_at,
            watchers: self.watchers.clone(),
            phone: self.phone.to_record(),
        };
        journal.put(key::account(&self.number), serde_json::to_vec(&record)?);
        Ok(())
    }

    /// Notes a companion's record in the journal.
    pub(crate) fn save_companion(&self, device: u16, journal: &mut Journal) -> Result<()> {
        let companion = self.companions.get(&device).context("no such companion")?;
        journal.put(
            key::companion(&self.number, device),
            serde_json::to_vec(&companion.record)?,
        );
        Ok(())
    }

    /// Removes a companion and all that was kept for it; `false` if there is none.
    pub(crate) fn remove_companion(&mut self, device: u16, journal: &mut Journal) -> Result<bool> {
        let Some(companion) = self.companions.remove(&device) else {
            return Ok(false);
        };
        journal.delete(key::companion(&self.number, device));
        for id in companion.prekeys.keys() {
            journal.delete(key::companion_prekey(&self.number, device, *id));
        }
        for sequence in companion.queue.sequences() {
            journal.delete(key::queued(&self.number, device, sequence));
        }
        self.devices_changed();
        self.save(journal)?;
        Ok(true)
    }

    /// The bundle somebody gets who wants to write to one of the devices; uses up a one-time prekey.
    ///
    /// `None` for a device that does not exist or has uploaded nothing yet.
    pub(crate) fn take_bundle(&mut self, device: u16, journal: &mut Journal) -> Result<Option<Bundle>> {
        if device == 0 {
            let (bundle, changed) = self.phone.signal.take_bundle()?;
            self.phone.save_prekeys(&self.number, &changed, journal);
            return Ok(Some(bundle));
        }
        let Some(companion) = self.companions.get_mut(&device) else {
            return Ok(None);
        };
        let Some(keys) = &companion.record.keys else {
            return Ok(None);
        };
        let prekey = companion.prekeys.pop_first();
        if let Some((id, _)) = &prekey {
            journal.delete(key::companion_prekey(&self.number, device, *id));
        }
        Ok(Some(Bundle {
            registration: keys.registration,
            identity: companion.record.identity.clone(),
            prekey,
            signed_id: keys.signed_id,
            signed_public: keys.signed_public.clone(),
            signed_signature: keys.signed_signature.clone(),
            device_identity: Some(companion.record.device_identity.clone()),
        }))
    }
}

impl Bundle {
    /// The form libsignal wants.
    pub(crate) fn to_signal(&self, device: u16) -> Result<PreKeyBundle> {
        let public = |bytes: &[u8]| {
            PublicKey::from_djb_public_key_bytes(bytes).map_err(|error| anyhow!("bad key in a bundle: {error}"))
        };
        let prekey = match &self.prekey {
            Some((id, bytes)) => Some(((*id).into(), public(bytes)?)),
            None => None,
        };
        PreKeyBundle::new(
            self.registration,
            u32::from(device).into(),
            prekey,
            self.signed_id.into(),
            public(&self.signed_public)?,
            self.signed_signature.clone(),
            IdentityKey::new(public(&self.identity)?),
        )
        .map_err(|error| anyhow!("bad bundle: {error}"))
    }
}

/// The two ways to write an account's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `5511…@s.whatsapp.net`
    Number,
    /// `1000…@lid`
    Lid,
}

impl Form {
    /// The form an address is written in.
    pub(crate) fn of(jid: &Jid) -> Self {
        if jid.server == Server::Lid {
            Self::Lid
        } else {
            Self::Number
        }
    }
}

/// All accounts.
#[derive(Default)]
pub(crate) struct Accounts {
    by_number: BTreeMap<String, Account>,
    by_lid: HashMap<String, String>,
    /// How many LIDs were given out, those of forgotten accounts included.
    lids: u64,
}

impl Accounts {
    /// An account by its number.
    pub(crate) fn get(&self, number: &str) -> Option<&Account> {
        self.by_number.get(number)
    }

    /// An account by its number, to change it.
    pub(crate) fn get_mut(&mut self, number: &str) -> Option<&mut Account> {
        self.by_number.get_mut(number)
    }

    /// All accounts by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Account> {
        self.by_number.values()
    }

    /// All accounts, to change them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Account> {
        self.by_number.values_mut()
    }

    /// Takes an account out; its LID is never given to another.
    pub(crate) fn remove(&mut self, number: &str) -> Option<Account> {
        let account = self.by_number.remove(number)?;
        self.by_lid.remove(&account.lid);
        Some(account)
    }

    /// The device an address means, whichever form it has; `None` when the account does not exist.
    pub(crate) fn resolve(&self, jid: &Jid) -> Option<DeviceAddress> {
        let number = match jid.server {
            Server::Pn => self
                .by_number
                .contains_key(jid.user.as_str())
                .then(|| jid.user.to_string()),
            Server::Lid => self.by_lid.get(jid.user.as_str()).cloned(),
            _ => None,
        }?;
        Some(DeviceAddress {
            number,
            device: jid.device,
        })
    }

    /// Makes the account of a number unless it exists.
    pub(crate) fn create(&mut self, number: &str, answering: bool, journal: &mut Journal) -> Result<&mut Account> {
        if !self.by_number.contains_key(number) {
            let lid = FIRST_LID + self.lids;
            self.lids += 1;
            journal.put(key::LIDS.to_owned(), self.lids.to_string().into_bytes());
            let mut account = Account {
                number: number.to_owned(),
                lid: lid.to_string(),
                raw_id: rand::random_range(1..i32::MAX.unsigned_abs()),
                next_device: 1,
                next_key_index: 1,
                devices_changed_at: unix_seconds(),
                watchers: BTreeSet::new(),
                profile: Profile::default(),
                phone: Phone::generate(number, answering)?,
                companions: BTreeMap::new(),
                app_state: BTreeMap::new(),
            };
            account.save(journal)?;
            account.read_app_state(journal)?;
            self.insert(account);
        }
        self.get_mut(number).context("the account was just made")
    }

    fn insert(&mut self, account: Account) {
        self.by_lid.insert(account.lid.clone(), account.number.clone());
        // Folders of older simulators have no record of the count.
        self.lids = self.lids.max(self.by_lid.len() as u64);
        self.by_number.insert(account.number.clone(), account);
    }

    /// Rebuilds all accounts from a state folder.
    pub(crate) fn restore(records: &Records) -> Result<Self> {
        let mut accounts = Self::default();
        for (name, value) in records {
            accounts
                .restore_one(name, value)
                .with_context(|| format!("record {name} of the state folder"))?;
        }
        Ok(accounts)
    }

    /// Records come in the order of their keys, so an account precedes what belongs to it.
    fn restore_one(&mut self, name: &str, value: &[u8]) -> Result<()> {
        let parts: Vec<&str> = name.split('/').collect();
        match parts.as_slice() {
            ["account", number] => {
                let record: AccountRecord = serde_json::from_slice(value)?;
                self.insert(Account {
                    number: (*number).to_owned(),
                    lid: record.lid,
                    raw_id: record.raw_id,
                    next_device: record.next_device,
                    next_key_index: record.next_key_index,
                    devices_changed_at: record.devices_changed_at,
                    watchers: record.watchers,
                    profile: Profile::default(),
                    phone: Phone::from_record(record.phone)?,
                    companions: BTreeMap::new(),
                    app_state: BTreeMap::new(),
                });
            }
            ["lids"] => self.lids = self.lids.max(std::str::from_utf8(value)?.parse()?),
            ["companion", number, device] => {
                let companion = Companion {
                    record: serde_json::from_slice(value)?,
                    prekeys: BTreeMap::new(),
                    queue: Queue::default(),
                };
                self.owner(number)?.companions.insert(device.parse()?, companion);
            }
            ["profile", number] => self.owner(number)?.profile = serde_json::from_slice(value)?,
            ["prekey", number, device, id] => {
                let device: u16 = device.parse()?;
                let companion = self
                    .owner(number)?
                    .companions
                    .get_mut(&device)
                    .context("no such companion")?;
                companion.prekeys.insert(id.parse()?, value.to_vec());
            }
            ["queue", number, device, sequence] => {
                let device: u16 = device.parse()?;
                let node = OwnedNodeRef::new(value.get(1..).context("empty")?.to_vec())?.to_owned_node();
                let account = self.owner(number)?;
                let queue = match device {
                    0 => &mut account.phone.queue,
                    _ => &mut account.companions.get_mut(&device).context("no such companion")?.queue,
                };
                queue.restore(sequence.parse()?, node);
            }
            ["appstate", number, name, rest @ ..] => {
                let name = Name::parse(name).context("no such collection")?;
                self.owner(number)?.collection(name).restore(rest, value)?;
            }
            ["phone", number, rest @ ..] => self.owner(number)?.phone.restore(rest, value)?,
            _ => {}
        }
        Ok(())
    }

    /// Lets all phones read their app state after a start.
    pub(crate) fn read_app_state(&mut self, journal: &mut Journal) -> Result<()> {
        for account in self.by_number.values_mut() {
            account.read_app_state(journal)?;
        }
        Ok(())
    }

    fn owner(&mut self, number: &str) -> Result<&mut Account> {
        self.get_mut(number).context("no such account")
    }
}

/// A stanza as the journal keeps it.
pub(crate) fn stored_stanza(node: &whatsapp_rust::wacore_binary::Node) -> Result<Vec<u8>> {
    Ok(marshal::marshal(node)?)
}

/// The keys of the journal's records, all on one page. Numbers are padded so that order survives.
pub(crate) mod key {
    /// The server's key pairs.
    pub(crate) const SERVER: &str = "server/keys";

    /// The TLS certificate and its key.
    pub(crate) const TLS: &str = "server/tls";

    /// A stored medium, by the name in its address.
    pub(crate) fn medium(name: &str) -> String {
        format!("media/{name}")
    }

    /// How many LIDs were given out.
    pub(crate) const LIDS: &str = "lids";

    /// An account with its phone's lasting keys.
    pub(crate) fn account(number: &str) -> String {
        format!("account/{number}")
    }

    /// A patch of app state as the server keeps it.
    pub(crate) fn app_state_patch(number: &str, collection: &str, version: u64) -> String {
        format!("appstate/{number}/{collection}/patch/{version:020}")
    }

    /// The newest snapshot of a collection; its name comes before the patches that follow it.
    pub(crate) fn app_state_snapshot(number: &str, collection: &str) -> String {
        format!("appstate/{number}/{collection}/base")
    }

    /// Where clients find that snapshot; its name comes after the snapshot's.
    pub(crate) fn app_state_reference(number: &str, collection: &str) -> String {
        format!("appstate/{number}/{collection}/blob")
    }

    /// What an account shows of itself, and to whom.
    pub(crate) fn profile(number: &str) -> String {
        format!("profile/{number}")
    }

    /// A linked companion.
    pub(crate) fn companion(number: &str, device: u16) -> String {
        format!("companion/{number}/{device:05}")
    }

    /// A companion's one-time prekey that nobody got yet.
    pub(crate) fn companion_prekey(number: &str, device: u16, id: u32) -> String {
        format!("prekey/{number}/{device:05}/{id:010}")
    }

    /// A stanza waiting for a device.
    pub(crate) fn queued(number: &str, device: u16, sequence: u64) -> String {
        format!("queue/{number}/{device:05}/{sequence:020}")
    }

    /// A phone's one-time prekey.
    pub(crate) fn phone_prekey(number: &str, id: u32) -> String {
        format!("phone/{number}/prekey/{id:010}")
    }

    /// A phone's session with a device.
    pub(crate) fn phone_session(number: &str, peer: &super::DeviceAddress) -> String {
        format!("phone/{number}/session/{}/{:05}", peer.number, peer.device)
    }

    /// Somebody a phone knows, by name.
    pub(crate) fn contact(number: &str, other: &str) -> String {
        format!("phone/{number}/contact/{other}")
    }

    /// A group with its members and settings.
    pub(crate) fn group(id: &str) -> String {
        format!("group/{id}")
    }

    /// What a phone needs to read a device's messages in a group, or its own secret there.
    pub(crate) fn sender_key(number: &str, chat: &str, author: &super::DeviceAddress) -> String {
        format!("phone/{number}/senderkey/{chat}/{}/{:05}", author.number, author.device)
    }

    /// The devices that hold a phone's own sender key of a group.
    pub(crate) fn key_holders(number: &str, chat: &str) -> String {
        format!("phone/{number}/keyholders/{chat}")
    }

    /// A message in a phone's inbox.
    pub(crate) fn inbox(number: &str, index: u64) -> String {
        format!("phone/{number}/inbox/{index:020}")
    }

    /// A message a phone sent, kept for those who could not read it.
    pub(crate) fn sent(number: &str, index: u64) -> String {
        format!("phone/{number}/sent/{index:020}")
    }
}
