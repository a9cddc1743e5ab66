//! Who is told when an account gains or loses a companion, as clients keep the lists they once asked for.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use whatsapp_rust::wacore::messages::MessageUtils;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{Jid, Node};

use crate::account::{Account, Accounts, DeviceAddress, Form};
use crate::stanza::{Stanza as _, fresh_id};
use crate::world::World;

/// What happened to a companion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Linked, with its place in the signed list.
    Added { key_index: u32 },
    /// Unlinked by either side.
    Removed,
}

impl World {
    /// Notes that an account's companions have asked for another account's devices.
    pub(crate) fn watch(&mut self, number: &str, watcher: &str) -> Result<()> {
        let account = self.accounts.get_mut(number).context("no such account")?;
        if account.watchers.insert(watcher.to_owned()) {
            account.save(&mut self.journal)?;
        }
        Ok(())
    }

    /// Tells everybody who keeps the account's device list, and its other companions.
    pub(crate) fn announce(&mut self, changed: &DeviceAddress, change: Change) -> Result<()> {
        let account = self.accounts.get(&changed.number).context("no such account")?;
        let notification = notification(account, changed.device, change)?;
        let mut told: Vec<DeviceAddress> = Vec::new();
        for number in account.watchers.iter().chain([&changed.number]) {
            let Some(watcher) = self.accounts.get(number) else {
                continue;
            };
            told.extend(
                watcher
                    .companions
                    .keys()
                    .map(|device| DeviceAddress::new(number, *device)),
            );
        }
        told.sort();
        told.dedup();
        for address in told.into_iter().filter(|address| address != changed) {
            self.deliver(&address, notification.clone())?;
        }
        Ok(())
    }
}

impl World {
    /// The hash over the devices that a message to one person concerns, when the client has encrypted for others:
    /// it left one out that is there, or named one that is gone.
    ///
    /// Clients do not send a hash of their own with such a message; they compare the one in the acknowledgement with
    /// what they have encrypted for, and ask for the devices again (whatsapp-rust `send/dm.rs`). A repetition for a
    /// single device has no `<participants>` and concerns nobody else.
    pub(crate) fn hash_of_missed_devices(
        &self,
        from: &DeviceAddress,
        recipient: &str,
        to: &Jid,
        message: &Node,
    ) -> Result<Option<String>> {
        let Some(participants) = message.child("participants") else {
            return Ok(None);
        };
        if message.text("device_fanout").as_deref() == Some("false") {
            return Ok(None);
        }
        let named: BTreeSet<DeviceAddress> = participants
            .get_children_by_tag("to")
            .filter_map(|target| self.accounts.resolve(&target.jid("jid")?))
            .collect();
        let mut right = BTreeSet::new();
        for number in [recipient, &from.number] {
            let account = self.accounts.get(number).context("no such account")?;
            // Nobody can encrypt for a companion that has uploaded no keys.
            let ready = account
                .companions
                .iter()
                .filter(|(_, companion)| companion.record.keys.is_some());
            right.extend(ready.map(|(device, _)| DeviceAddress::new(number, *device)));
            right.insert(DeviceAddress::phone(number));
        }
        right.remove(from);
        if named == right {
            return Ok(None);
        }
        let form = Form::of(to);
        let jids: Vec<Jid> = right
            .iter()
            .filter_map(|address| Some(self.accounts.get(&address.number)?.device_jid(form, address.device)))
            .collect();
        MessageUtils::participant_list_hash(&jids).map(Some)
    }
}

fn notification(account: &Account, device: u16, change: Change) -> Result<Node> {
    let listed = NodeBuilder::new("device")
        .attr("jid", account.device_jid(Form::Number, device))
        .attr("lid", account.device_jid(Form::Lid, device));
    let signed = NodeBuilder::new("key-index-list").attr("ts", account.devices_changed_at);
    let body = match change {
        Change::Added { key_index } => NodeBuilder::new("add").children([
            listed.attr("key-index", key_index).build(),
            signed.bytes(account.key_index_list()?).build(),
        ]),
        Change::Removed => NodeBuilder::new("remove").children([listed.build(), signed.build()]),
    };
    Ok(NodeBuilder::new("notification")
        .attr("from", account.jid(Form::Number))
        .attr("lid", account.jid(Form::Lid))
        .attr("id", fresh_id())
        .attr("type", "devices")
        .attr("t", account.devices_changed_at)
        .children([body.build()])
        .build())
}

/// Every device, phones included, of some numbers.
pub(crate) fn told_devices(accounts: &Accounts, numbers: &[String]) -> Vec<DeviceAddress> {
    let known = numbers.iter().filter_map(|number| accounts.get(number));
    known
        .flat_map(|account| {
            let devices = account.devices().into_iter();
            devices.map(|device| DeviceAddress::new(&account.number, device))
        })
        .collect()
}
