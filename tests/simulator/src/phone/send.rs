//! A phone writes: one ciphertext per device of the recipient, and a copy for each of its own companions.

use anyhow::{Context as _, Result, bail};
use whatsapp_rust::buffa::MessageField;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{Node, NodeContent};
use whatsapp_rust::waproto::whatsapp as wa;

use crate::account::{Account, DeviceAddress, Form};
use crate::clock::unix_seconds;
use crate::phone::chat::Chat;
use crate::phone::envelope::Envelope;
use crate::routing::damage;
use crate::stanza::fresh_id;
use crate::world::World;

impl World {
    /// Sends a message from a phone to a chat, in the given address form, and gives its id.
    pub(crate) fn phone_sends(&mut self, from: &str, to: &Chat, form: Form, message: wa::Message) -> Result<String> {
        let to = match to {
            Chat::Person(number) => number,
            Chat::Group(group) => return self.phone_sends_to_group(from, group, &message),
            Chat::Status => return self.phone_posts_status(from, &message),
        };
        let recipient = self.accounts.get(to).context("the recipient is not on WhatsApp")?;
        let (recipient_jid, recipient_devices) = (recipient.jid(form), recipient.devices());
        let sender = self.accounts.get_mut(from).context("no such phone")?;
        if !sender.phone.online {
            bail!("the phone is offline");
        }
        let own_companions: Vec<u16> = sender.companions.keys().copied().collect();
        let id = fresh_id();
        let chat = Chat::Person(to.clone());
        sender
            .phone
            .remember_sent(from, &id, Some(&chat), &message, &mut self.journal)?;
        self.phone_learns(from, to, None)?;
        // Who is blocked notices nothing.
        if to != from && !self.has_blocked(to, from) {
            for device in recipient_devices {
                self.phone_sends_to(from, &DeviceAddress::new(to, device), form, &id, &message, None)?;
            }
        }
        let copy = copy_for_companions(&recipient_jid.to_string(), message);
        for device in own_companions {
            let target = DeviceAddress::new(from, device);
            self.phone_sends_to(from, &target, form, &id, &copy, Some(recipient_jid.to_string()))?;
        }
        self.stats.messages_sent_by_phones += 1;
        Ok(id)
    }

    /// Encrypts for one device and queues it there; a companion that has uploaded no keys yet is left out.
    pub(crate) fn phone_sends_to(
        &mut self,
        from: &str,
        target: &DeviceAddress,
        form: Form,
        id: &str,
        message: &wa::Message,
        recipient: Option<String>,
    ) -> Result<()> {
        let Some(enc) = self.phone_seals(from, target, message)? else {
            return Ok(());
        };
        let sender = self.accounts.get(from).context("no such phone")?;
        let mut stanza = phone_stanza(sender, form, id, message);
        if let Some(recipient) = recipient {
            stanza = stanza.attr("recipient", recipient);
        }
        let meta = Envelope::of(message).meta();
        self.deliver(target, stanza.children([enc].into_iter().chain(meta)).build())
    }

    /// The `<enc>` of a message for one device, damaged if a fault wants that; `None` if that device has uploaded no
    /// keys yet.
    pub(crate) fn phone_seals(
        &mut self,
        from: &str,
        target: &DeviceAddress,
        message: &wa::Message,
    ) -> Result<Option<Node>> {
        let Some(mut enc) = self.phone_seals_unharmed(from, target, message)? else {
            return Ok(None);
        };
        if self.damages_message_to(target)
            && let Some(NodeContent::Bytes(bytes)) = &mut enc.content
        {
            damage(bytes);
        }
        Ok(Some(enc))
    }

    /// The same without faults.
    pub(crate) fn phone_seals_unharmed(
        &mut self,
        from: &str,
        target: &DeviceAddress,
        message: &wa::Message,
    ) -> Result<Option<Node>> {
        let known = self
            .accounts
            .get(from)
            .context("no such phone")?
            .phone
            .signal
            .has_session(target);
        if !known {
            let Some(bundle) = self.take_bundle(target)? else {
                return Ok(None);
            };
            let bundle = bundle.to_signal(target.device)?;
            let sender = self.accounts.get_mut(from).context("no such phone")?;
            sender.phone.signal.begin_session(target, &bundle)?;
        }
        let sender = self.accounts.get_mut(from).context("no such phone")?;
        let sealed = sender.phone.signal.seal(target, message)?;
        sender.phone.save_session(from, target, &mut self.journal)?;
        let enc = NodeBuilder::new("enc").attr("v", "2").attr("type", sealed.kind);
        let enc = Envelope::of(message).on_enc(enc).bytes(sealed.bytes).build();
        Ok(Some(enc))
    }
}

/// What an account's own companions get: the message, wrapped with its destination.
///
/// The secret stands outside of the wrapper too, where Baileys puts and looks for it (`Socket/messages-send`).
pub(crate) fn copy_for_companions(destination: &str, message: wa::Message) -> wa::Message {
    wa::Message {
        message_context_info: message.message_context_info.clone(),
        device_sent_message: MessageField::some(wa::message::DeviceSentMessage {
            destination_jid: Some(destination.to_owned()),
            message: MessageField::some(message),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A message stanza from a phone, still without content.
pub(crate) fn phone_stanza(sender: &Account, form: Form, id: &str, message: &wa::Message) -> NodeBuilder {
    let stanza = NodeBuilder::new("message")
        .attr("from", sender.jid(form))
        .attr("id", id)
        .attr("t", unix_seconds())
        .attr("notify", sender.phone.push_name.as_str());
    let stanza = Envelope::of(message).on_message(stanza);
    match form {
        Form::Number => stanza.attr("sender_lid", sender.jid(Form::Lid)),
        Form::Lid => stanza.attr("sender_pn", sender.jid(Form::Number)),
    }
}
