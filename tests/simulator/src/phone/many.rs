//! A phone in groups and with statuses: it writes once for all, gives its sender key to those who lack it, and reads
//! what the others write.

use anyhow::{Context as _, Result, bail};
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{Jid, Node, Server};
use whatsapp_rust::waproto::whatsapp as wa;

use crate::account::{DeviceAddress, Form, key};
use crate::device_list::told_devices;
use crate::group::routing::{receipt_from_many, stanza_to_many};
use crate::phone::InboxEntry;
use crate::phone::chat::Chat;
use crate::phone::envelope::Envelope;
use crate::phone::receive::{Letter, sent_at};
use crate::routing::damage;
use crate::stanza::{Stanza as _, fresh_id};
use crate::world::World;

impl World {
    /// Sends a message from a phone to a group it is in, and gives its id.
    pub(crate) fn phone_sends_to_group(&mut self, from: &str, id: &str, message: &wa::Message) -> Result<String> {
        let group = self.own_group(from, id)?;
        if group.announce && !group.is_admin(from) {
            bail!("only admins write in this group");
        }
        let (jid, members) = (group.jid(), group.numbers());
        self.phone_sends_to_many(from, &jid, &members, message)
    }

    /// Posts a status from a phone to everybody it knows, which is everybody it has talked with, unless one of the two
    /// has blocked the other.
    pub(crate) fn phone_posts_status(&mut self, from: &str, message: &wa::Message) -> Result<String> {
        let phone = &self.accounts.get(from).context("no such phone")?.phone;
        let known = phone.contacts().map(|(number, _)| number);
        let readers: Vec<String> = known
            .filter(|number| !self.are_apart(from, number))
            .chain([from])
            .map(str::to_owned)
            .collect();
        self.phone_sends_to_many(from, &Jid::status_broadcast(), &readers, message)
    }

    fn phone_sends_to_many(
        &mut self,
        from: &str,
        chat: &Jid,
        readers: &[String],
        message: &wa::Message,
    ) -> Result<String> {
        let own = DeviceAddress::phone(from);
        let mut devices = told_devices(&self.accounts, readers);
        devices.retain(|device| *device != own);
        let sender = self.accounts.get_mut(from).context("no such phone")?;
        if !sender.phone.online {
            bail!("the phone is offline");
        }
        let (id, name) = (fresh_id(), chat.to_string());
        sender
            .phone
            .remember_sent(from, &id, Chat::parse(&name).as_ref(), message, &mut self.journal)?;
        // Somebody who has the key is not addressed any more and must not read on.
        if sender
            .phone
            .sender_keys
            .holders(&name)
            .any(|holder| !devices.contains(holder))
        {
            sender.phone.sender_keys.renew(&name, &own);
            self.journal.delete(key::key_holders(from, &name));
        }
        let distribution = sender.phone.sender_keys.distribution(&name, &own)?;
        let sealed = sender.phone.sender_keys.seal(&name, &own, message)?;
        sender.phone.save_sender_key(from, &name, &own, &mut self.journal)?;
        let envelope = Envelope::of(message);
        for device in devices {
            let held = self.sender_keys_of(from)?.is_holder(&name, &device);
            let key = if held {
                None
            } else {
                self.phone_seals_unharmed(from, &device, &distribution)?
            };
            // A companion without uploaded keys cannot get the sender key; it gets the message when it asks again.
            if key.is_some() {
                self.phone_gave_key(from, &name, device.clone())?;
            }
            let mut bytes = sealed.clone();
            if self.damages_message_to(&device) {
                damage(&mut bytes);
            }
            let enc = NodeBuilder::new("enc").attr("v", "2").attr("type", "skmsg");
            let enc = envelope.on_enc(enc).bytes(bytes).build();
            let form = self.form_in(chat);
            let sender = self.accounts.get(from).context("no such phone")?;
            let stanza = envelope.on_message(stanza_to_many(chat, sender, form, 0, &id));
            let children = key.into_iter().chain([enc]).chain(envelope.meta());
            self.deliver(&device, stanza.children(children).build())?;
        }
        self.stats.messages_sent_by_phones += 1;
        Ok(id)
    }

    fn sender_keys_of(&self, number: &str) -> Result<&super::sender_keys::SenderKeys> {
        Ok(&self.accounts.get(number).context("no such phone")?.phone.sender_keys)
    }

    fn phone_gave_key(&mut self, number: &str, chat: &str, device: DeviceAddress) -> Result<()> {
        let phone = &mut self.accounts.get_mut(number).context("no such phone")?.phone;
        phone.sender_keys.add_holder(chat, device);
        self.journal
            .put(key::key_holders(number, chat), phone.sender_keys.holders_record(chat)?);
        Ok(())
    }

    /// A message from a group or a status: one or two ciphertexts, a sender key in front of the message.
    pub(crate) fn phone_gets_message_to_many(&mut self, number: &str, node: &Node, chat: Jid) -> Result<()> {
        let author = node.jid("participant").context("nobody wrote it")?;
        let mut letter = Letter {
            from: self
                .accounts
                .resolve(&author)
                .context("the writer is not on WhatsApp")?,
            form: Form::of(&author),
            id: node.text("id").context("no id")?,
            kind: String::new(),
            sealed: Vec::new(),
            device_identity: node.child_content("device-identity"),
            recipient: None,
            at: sent_at(node),
            chat: Some(chat),
        };
        let (mut content, mut failure) = (None, None);
        for enc in node.get_children_by_tag("enc") {
            letter.kind = enc.text("type").unwrap_or_default();
            letter.sealed = enc.content().context("the ciphertext is empty")?;
            match self.open_letter_to_many(number, &letter) {
                Ok(opened) => content = opened.or(content),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match (content, failure) {
            (Some(message), _) => self.phone_reads(number, &letter, message),
            (None, Some(error)) => self.phone_cannot_read(number, &letter, &error),
            // A sender key alone: nothing to show, yet it arrived.
            (None, None) => self.phone_confirms(number, &letter, None),
        }
    }

    /// Opens one ciphertext; a sender key inside is kept. `None` when there was nothing else in it.
    fn open_letter_to_many(&mut self, number: &str, letter: &Letter) -> Result<Option<wa::Message>> {
        let chat = letter.chat.as_ref().context("no chat")?.to_string();
        if letter.kind == "skmsg" {
            let phone = &mut self.accounts.get_mut(number).context("no such phone")?.phone;
            let message = phone.sender_keys.open(&chat, &letter.from, &letter.sealed)?;
            phone.save_sender_key(number, &chat, &letter.from, &mut self.journal)?;
            return Ok(Some(message));
        }
        let mut message = self.open_letter(number, letter)?.message;
        let key = match message.device_sent_message.as_option_mut() {
            Some(copy) => copy
                .message
                .as_option_mut()
                .and_then(|inner| inner.sender_key_distribution_message.take()),
            None => message.sender_key_distribution_message.take(),
        };
        if let Some(key) = key {
            if key.group_id.as_deref() != Some(chat.as_str()) {
                bail!("a sender key of another chat");
            }
            let bytes = key
                .axolotl_sender_key_distribution_message
                .context("an empty sender key")?;
            let phone = &mut self.accounts.get_mut(number).context("no such phone")?.phone;
            phone.sender_keys.learn(&chat, &letter.from, &bytes)?;
            phone.save_sender_key(number, &chat, &letter.from, &mut self.journal)?;
        }
        let empty = wa::Message {
            message_context_info: message.message_context_info.clone(),
            ..Default::default()
        };
        Ok((message != empty).then_some(message))
    }

    /// The receipt of a message to many, from this phone to its writer.
    pub(crate) fn phone_receipt_to_many(
        &self,
        number: &str,
        chat: &Jid,
        id: &str,
        kind: Option<&str>,
    ) -> Result<NodeBuilder> {
        let account = self.accounts.get(number).context("no such phone")?;
        Ok(receipt_from_many(chat, account, self.form_in(chat), 0, id, kind))
    }

    /// The owner has opened a message in a group or a status. Groups always see who has read, as on real phones; the
    /// writer of a status does unless the reader keeps such things private.
    pub(crate) fn phone_marks_read_in(&mut self, number: &str, entry: &InboxEntry, chat: &Jid) -> Result<()> {
        let account = self.accounts.get(number).context("no such phone")?;
        if chat.server == Server::Broadcast && account.profile.privacy("readreceipts") == Some("none") {
            return Ok(());
        }
        let receipt = self
            .phone_receipt_to_many(number, chat, &entry.id, Some("read"))?
            .build();
        let author = DeviceAddress::new(&entry.from, entry.device);
        self.deliver_receipt(&author, Some("read"), &receipt)
    }

    /// Writes a message again to the one device that could not read it, now in a session of its own and with the
    /// sender key for those that follow.
    pub(crate) fn phone_repeats_to_many(
        &mut self,
        number: &str,
        asker: &DeviceAddress,
        chat: &Jid,
        id: &str,
        mut message: wa::Message,
        round: u8,
    ) -> Result<()> {
        // Whoever has left meanwhile gets nothing any more.
        if chat.server == Server::Group && self.own_group(&asker.number, &chat.user).is_err() {
            return Ok(());
        }
        let (own, name) = (DeviceAddress::phone(number), chat.to_string());
        let phone = &mut self.accounts.get_mut(number).context("no such phone")?.phone;
        let distribution = phone.sender_keys.distribution(&name, &own)?;
        phone.save_sender_key(number, &name, &own, &mut self.journal)?;
        message.sender_key_distribution_message = distribution.sender_key_distribution_message;
        let Some(mut enc) = self.phone_seals(number, asker, &message)? else {
            return Ok(());
        };
        self.phone_gave_key(number, &name, asker.clone())?;
        enc.attrs.insert("count", round.to_string());
        let form = self.form_in(chat);
        let sender = self.accounts.get(number).context("no such phone")?;
        let envelope = Envelope::of(&message);
        let stanza = envelope.on_message(stanza_to_many(chat, sender, form, 0, id));
        self.stats.retries_answered += 1;
        self.deliver(asker, stanza.children([enc].into_iter().chain(envelope.meta())).build())
    }
}
