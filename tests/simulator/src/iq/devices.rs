//! `md`: a companion logs itself out.

use anyhow::{Context as _, Result};
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use super::Answer;
use crate::account::DeviceAddress;
use crate::device_list::Change;
use crate::stanza::Stanza as _;
use crate::world::World;

impl World {
    pub(crate) fn devices_iq(&mut self, from: &DeviceAddress, node: &Node) -> Result<Answer> {
        let Some(remove) = node.child("remove-companion-device") else {
            return Ok(self.unknown("md", node));
        };
        let meant = remove.jid("jid").and_then(|jid| self.accounts.resolve(&jid));
        if meant.as_ref().is_none_or(|meant| meant != from) {
            return Ok(Answer::Error(403, "forbidden"));
        }
        let account = self.accounts.get_mut(&from.number).context("the account is gone")?;
        account.remove_companion(from.device, &mut self.journal)?;
        account.phone.signal.forget_session(from);
        account.phone.save_session(&from.number, from, &mut self.journal)?;
        self.announce(from, Change::Removed)?;
        self.phone_must_change_key(&from.number)?;
        // The answer is written first: the socket looks at its end only after it.
        self.end_socket(from, vec![removed()]);
        tracing::info!(device = %from, "a companion logged out");
        Ok(Answer::Result(Vec::new()))
    }

    /// The phone removes a companion; `false` if there is none with that number.
    pub(crate) fn phone_unlinks(&mut self, companion: &DeviceAddress) -> Result<bool> {
        let account = self.accounts.get_mut(&companion.number).context("no such phone")?;
        if !account.remove_companion(companion.device, &mut self.journal)? {
            return Ok(false);
        }
        account.phone.signal.forget_session(companion);
        account
            .phone
            .save_session(&companion.number, companion, &mut self.journal)?;
        self.announce(companion, Change::Removed)?;
        self.phone_must_change_key(&companion.number)?;
        self.end_socket(companion, vec![removed()]);
        tracing::info!(device = %companion, "a companion was removed by its phone");
        Ok(true)
    }
}

/// What a removed device is told.
fn removed() -> Node {
    let conflict = NodeBuilder::new("conflict").attr("type", "device_removed").build();
    NodeBuilder::new("stream:error")
        .attr("code", 401)
        .children([conflict])
        .build()
}
