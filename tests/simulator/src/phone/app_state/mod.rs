//! A phone's app state: what its owner and its companions have set for chats, contacts and the account.
//!
//! The phone owns the keys, checks every patch that the server has, and writes patches of its own. The first patch of
//! every account says its name, in bytes that follow from nothing but key and name: state folders from before the
//! server kept patches get the same patch that their companions have already applied.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use whatsapp_rust::buffa::MessageField;
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::sync_action_value::PushNameSetting;

use crate::account::{Account, DeviceAddress};
use crate::app_state::{Collection, Name};
use crate::clock::{unix_millis, unix_seconds};
use crate::stanza::Stanza as _;
use crate::state::Journal;
use crate::stats::count;
use crate::world::World;

pub(crate) mod actions;
pub(crate) mod crypto;
pub(crate) mod keys;
pub(crate) mod replica;
#[cfg(test)]
mod tests;
pub(crate) mod view;

use keys::{Ring, SharedKey};
use replica::{Change, Entry, Replica};

/// Complaints of companions that are kept.
const KEPT_COMPLAINTS: usize = 100;

/// A companion's word that it cannot go on with some collections.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Complaint {
    /// Which companion.
    pub(crate) device: u16,
    /// Which collections.
    pub(crate) collections: Vec<String>,
    /// When the phone heard it.
    pub(crate) at: u64,
}

/// What is stored about a phone's app state beside the server's patches, from which the rest is read again.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct AppStateRecord {
    later_keys: Vec<SharedKey>,
    /// A companion was removed while the phone was offline.
    rotation_due: bool,
    complaints: Vec<Complaint>,
}

/// The phone's side of app state.
pub(crate) struct AppState {
    /// The keys.
    pub(crate) keys: Ring,
    replicas: BTreeMap<Name, Replica>,
    rotation_due: bool,
    complaints: Vec<Complaint>,
}

impl AppState {
    /// Puts keys and complaints back; the collections follow through [`Account::read_app_state`].
    pub(crate) fn from_record(first: SharedKey, record: AppStateRecord) -> Self {
        Self {
            keys: Ring::new(first, record.later_keys),
            replicas: Name::ALL.into_iter().map(|name| (name, Replica::new(name))).collect(),
            rotation_due: record.rotation_due,
            complaints: record.complaints,
        }
    }

    /// The oldest key and everything else that is stored.
    pub(crate) fn to_record(&self) -> (SharedKey, AppStateRecord) {
        let mut keys = self.keys.shared().cloned();
        let first = keys.next().unwrap_or_else(SharedKey::first);
        let record = AppStateRecord {
            later_keys: keys.collect(),
            rotation_due: self.rotation_due,
            complaints: self.complaints.clone(),
        };
        (first, record)
    }

    /// The copy of one collection.
    pub(crate) fn replica(&self, name: Name) -> Option<&Replica> {
        self.replicas.get(&name)
    }

    /// One thing that is set, in whichever collection.
    pub(crate) fn entry(&self, index: &[&str]) -> Option<&wa::SyncActionValue> {
        self.replicas.values().find_map(|replica| replica.entry(index))
    }

    /// Everything that is set, in all collections.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.replicas.values().flat_map(Replica::entries)
    }

    /// What companions complained of.
    pub(crate) fn complaints(&self) -> &[Complaint] {
        &self.complaints
    }
}

impl Account {
    /// The server's collection of a name.
    pub(crate) fn collection(&mut self, name: Name) -> &mut Collection {
        self.app_state.entry(name).or_default()
    }

    /// Lets the phone read what the server has, after a start; an account without any app state gets its first patch.
    pub(crate) fn read_app_state(&mut self, journal: &mut Journal) -> Result<()> {
        if self.collection(Name::CriticalBlock).version() == 0 {
            let patch = self.first_patch()?;
            let number = self.number.clone();
            self.collection(Name::CriticalBlock)
                .push(&number, Name::CriticalBlock, 0, &patch, journal)?
                .map_err(|refused| anyhow!("the first patch is refused: {refused:?}"))?;
        }
        for name in Name::ALL {
            self.phone_catches_up(name);
        }
        Ok(())
    }

    fn first_patch(&self) -> Result<Vec<u8>> {
        let made_at = self.phone.app_state.keys.shared().next().context("no key")?.made_at;
        let change = push_name_change(&self.phone.push_name, i64::try_from(made_at)? * 1000);
        let replica = Replica::new(Name::CriticalBlock);
        let name = self.phone.push_name.as_bytes();
        // Not random, so that the bytes stay the same.
        let iv = |keys: &crypto::Keys| *keys.index_mac(name).first_chunk().unwrap_or(&[0; 16]);
        Ok(replica.patch(&[change], &self.phone.app_state.keys, iv)?)
    }

    fn phone_catches_up(&mut self, name: Name) -> Vec<Entry> {
        let AppState { keys, replicas, .. } = &mut self.phone.app_state;
        match (self.app_state.get(&name), replicas.get_mut(&name)) {
            (Some(server), Some(replica)) => replica.catch_up(server, keys),
            _ => Vec::new(),
        }
    }
}

/// The change that says an account's name.
pub(crate) fn push_name_change(name: &str, at_millis: i64) -> Change {
    Change {
        index: vec!["setting_pushName".to_owned()],
        value: wa::SyncActionValue {
            push_name_setting: MessageField::some(PushNameSetting {
                name: Some(name.to_owned()),
            }),
            timestamp: Some(at_millis),
            ..Default::default()
        },
        schema: 1,
    }
}

impl World {
    /// The phone's owner sets something.
    pub(crate) fn phone_sets(&mut self, number: &str, name: Name, changes: &[Change]) -> Result<()> {
        let account = self.accounts.get_mut(number).context("no such phone")?;
        if !account.phone.online {
            bail!("the phone is offline");
        }
        self.phone_syncs(number, name)?;
        let account = self.accounts.get_mut(number).context("no such phone")?;
        let replica = account.phone.app_state.replica(name).context("no such collection")?;
        let base = replica.version();
        let patch = replica.patch(changes, &account.phone.app_state.keys, |_| rand::random())?;
        account
            .collection(name)
            .push(number, name, base, &patch, &mut self.journal)?
            .map_err(|refused| anyhow!("the server refuses the phone's patch: {refused:?}"))?;
        // The phone reads its own patch like anybody else's.
        self.phone_syncs(number, name)?;
        self.tell_of_app_state(&DeviceAddress::phone(number), name)
    }

    /// The phone's owner chooses another name.
    pub(crate) fn phone_takes_name(&mut self, number: &str, name: &str) -> Result<()> {
        let change = push_name_change(name, unix_millis());
        self.phone_sets(number, Name::CriticalBlock, &[change])
    }

    /// Lets a phone read what is new in a collection.
    fn phone_syncs(&mut self, number: &str, name: Name) -> Result<()> {
        let account = self.accounts.get_mut(number).context("no such phone")?;
        let problems = |account: &Account| {
            account
                .phone
                .app_state
                .replica(name)
                .map_or(0, |replica| replica.problems().len())
        };
        let before = problems(account);
        let news = account.phone_catches_up(name);
        if problems(account) > before {
            count(&mut self.stats.app_state, "not believed by the phone");
        }
        let named = news.iter().rev().find_map(|entry| {
            let setting = entry.value.push_name_setting.as_option()?;
            setting.name.clone().filter(|name| !name.is_empty())
        });
        if let Some(name) = named.filter(|name| *name != account.phone.push_name) {
            account.phone.push_name = name;
            account.save(&mut self.journal)?;
        }
        Ok(())
    }

    /// A phone hears from the server that collections have changed.
    pub(crate) fn phone_hears_of_app_state(
        &mut self,
        number: &str,
        notification: &whatsapp_rust::wacore_binary::Node,
    ) -> Result<()> {
        for collection in notification.get_children_by_tag("collection") {
            if let Some(name) = collection.text("name").and_then(|name| Name::parse(&name)) {
                self.phone_syncs(number, name)?;
            }
        }
        Ok(())
    }

    /// A companion was removed, so it must not read on: another key, for those who are left.
    pub(crate) fn phone_must_change_key(&mut self, number: &str) -> Result<()> {
        let account = self.accounts.get_mut(number).context("no such phone")?;
        account.phone.app_state.rotation_due = true;
        account.save(&mut self.journal)?;
        self.change_key_if_due(number)
    }

    /// Changes the key once the phone is online.
    pub(crate) fn change_key_if_due(&mut self, number: &str) -> Result<()> {
        let account = self.accounts.get_mut(number).context("no such phone")?;
        if !account.phone.app_state.rotation_due || !account.phone.online {
            return Ok(());
        }
        account.phone.app_state.rotation_due = false;
        account.phone.app_state.keys.rotate();
        account.save(&mut self.journal)?;
        let newest = account.phone.app_state.keys.current().0.to_vec();
        let share = account
            .phone
            .app_state
            .keys
            .share(Some(&[newest]), &account.key_indexes())?;
        let greeted: Vec<u16> = account
            .companions
            .iter()
            .filter(|(_, companion)| companion.record.greeted)
            .map(|(device, _)| *device)
            .collect();
        for device in greeted {
            self.send_as_peer(&DeviceAddress::new(number, device), share.clone())?;
        }
        Ok(())
    }

    /// A companion asks for keys that it lacks.
    pub(crate) fn phone_shares_keys(
        &mut self,
        companion: &DeviceAddress,
        request: &wa::message::AppStateSyncKeyRequest,
    ) -> Result<()> {
        /// No honest client lacks more at once.
        const MOST: usize = 100;
        let mut wanted: Vec<Vec<u8>> = request.key_ids.iter().filter_map(|id| id.key_id.clone()).collect();
        wanted.truncate(MOST);
        let account = self.accounts.get(&companion.number).context("no such phone")?;
        let share = account
            .phone
            .app_state
            .keys
            .share(Some(&wanted), &account.key_indexes())?;
        count(&mut self.stats.app_state, "keys asked for");
        self.send_as_peer(companion, share)
    }

    /// A companion cannot go on.
    pub(crate) fn phone_notes_complaint(
        &mut self,
        companion: &DeviceAddress,
        complaint: &wa::message::AppStateFatalExceptionNotification,
    ) -> Result<()> {
        count(&mut self.stats.app_state, "fatal exceptions of companions");
        let account = self.accounts.get_mut(&companion.number).context("no such phone")?;
        let complaints = &mut account.phone.app_state.complaints;
        if complaints.len() == KEPT_COMPLAINTS {
            complaints.remove(0);
        }
        complaints.push(Complaint {
            device: companion.device,
            collections: complaint
                .collection_names
                .iter()
                .take(Name::ALL.len())
                .cloned()
                .collect(),
            at: unix_seconds(),
        });
        account.save(&mut self.journal)
    }
}
