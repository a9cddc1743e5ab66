//! How a phone greets a new companion: the app-state keys, then its past.
//!
//! All are peer messages from the account's own device 0. Without them clients sit and wait for many seconds.

use anyhow::{Context as _, Result};
use whatsapp_rust::buffa::MessageField;
use whatsapp_rust::waproto::whatsapp as wa;

use crate::account::{DeviceAddress, Form};
use crate::phone::send::phone_stanza;
use crate::stanza::fresh_id;
use crate::world::World;

impl World {
    /// Greets a companion that has uploaded its keys and was not greeted yet, if its phone is online.
    pub(crate) fn greet_if_due(&mut self, companion: &DeviceAddress) -> Result<()> {
        let account = self.accounts.get_mut(&companion.number).context("no such account")?;
        let online = account.phone.online;
        let Some(linked) = account.companions.get_mut(&companion.device) else {
            return Ok(());
        };
        if linked.record.greeted || linked.record.keys.is_none() || !online {
            return Ok(());
        }
        linked.record.greeted = true;
        account.save_companion(companion.device, &mut self.journal)?;
        let share = account.phone.app_state.keys.share(None, &account.key_indexes())?;
        self.send_as_peer(companion, share)?;
        self.phone_sends_history(companion)?;
        self.pay_owed_app_state(companion)
    }

    /// Greets all companions that could not be greeted while their phone was offline.
    pub(crate) fn greet_all(&mut self, number: &str) -> Result<()> {
        let companions = self.accounts.get(number).context("no such account")?.devices();
        for device in companions.into_iter().filter(|device| *device != 0) {
            self.greet_if_due(&DeviceAddress::new(number, device))?;
        }
        Ok(())
    }

    /// Sends a message of the account to itself: from its phone to one of its companions.
    pub(crate) fn send_as_peer(
        &mut self,
        companion: &DeviceAddress,
        message: wa::message::ProtocolMessage,
    ) -> Result<()> {
        let message = wa::Message {
            protocol_message: MessageField::some(message),
            ..Default::default()
        };
        let id = fresh_id();
        let account = self.accounts.get_mut(&companion.number).context("no such account")?;
        account
            .phone
            .remember_sent(&companion.number, &id, None, &message, &mut self.journal)?;
        let Some(enc) = self.phone_seals(&companion.number, companion, &message)? else {
            return Ok(());
        };
        let sender = self.accounts.get(&companion.number).context("no such account")?;
        let stanza = phone_stanza(sender, Form::Number, &id, &message)
            .attr("category", "peer")
            .attr("push_priority", "high")
            .children([enc])
            .build();
        self.deliver(companion, stanza)
    }
}
