//! Who is told when an account gains or loses a companion, as clients keep the lists they once asked for.

use anyhow::{Context as _, Result};
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use crate::account::{Account, Accounts, DeviceAddress, Form};
use crate::stanza::fresh_id;
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
