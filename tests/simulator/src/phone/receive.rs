//! A phone reads: checks who writes, decrypts, shows, sends its receipts, and answers if its owner is the chatty kind.

use anyhow::{Context as _, Result, bail};
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{Jid, Node};
use whatsapp_rust::waproto::whatsapp as wa;

use crate::account::{DeviceAddress, Form};
use crate::adv;
use crate::clock::unix_seconds;
use crate::fault::Kind;
use crate::group::routing::is_many;
use crate::iq::encrypt::Bundle;
use crate::phone::InboxEntry;
use crate::phone::additions::{Adder, housekeeping};
use crate::phone::chat::Chat;
use crate::phone::compose::echo;
use crate::phone::contents::Contents;
use crate::phone::envelope::Envelope;
use crate::phone::send::{copy_for_companions, phone_stanza};
use crate::phone::signal::{Opened, claimed_identity};
use crate::presence::Typing;
use crate::routing::receipt_ids;
use crate::stanza::{Stanza as _, bytes_child, key_id};
use crate::stats::count;
use crate::world::World;

/// After this many requests a message is given up.
const MOST_RETRIES: u8 = 5;

/// The parts of a message stanza that matter to a phone.
pub(crate) struct Letter {
    pub(crate) from: DeviceAddress,
    /// How the sender addressed this phone.
    pub(crate) form: Form,
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) sealed: Vec<u8>,
    pub(crate) device_identity: Option<Vec<u8>>,
    pub(crate) recipient: Option<String>,
    /// When the server took it.
    pub(crate) at: u64,
    /// The group or status it was written in, if not in a chat of two.
    pub(crate) chat: Option<Jid>,
}

impl Letter {
    /// Its place in the inbox, before it is known what it says.
    fn entry(&self) -> InboxEntry {
        InboxEntry {
            from: self.from.number.clone(),
            device: self.from.device,
            group: self.chat.as_ref().map(ToString::to_string),
            id: self.id.clone(),
            contents: Contents::default(),
            dsm_to: None,
            error: None,
            at: self.at,
            read: false,
            by_lid: self.form == Form::Lid,
        }
    }
}

impl World {
    /// One stanza out of a phone's queue.
    pub(crate) fn phone_receives(&mut self, number: &str, node: &Node) -> Result<()> {
        match node.tag.as_ref() {
            "message" => self.phone_gets_message(number, node),
            "receipt" => self.phone_gets_receipt(number, node),
            "call" => self.phone_gets_call(number, node),
            "notification" if node.text("type").as_deref() == Some("server_sync") => {
                self.phone_hears_of_app_state(number, node)
            }
            _ => Ok(()),
        }
    }

    fn phone_gets_message(&mut self, number: &str, node: &Node) -> Result<()> {
        let from = node.jid("from").context("no sender")?;
        if is_many(&from) {
            return self.phone_gets_message_to_many(number, node, from);
        }
        let enc = node.child("enc").context("nothing encrypted inside")?;
        let letter = Letter {
            from: self.accounts.resolve(&from).context("the sender is not on WhatsApp")?,
            form: Form::of(&from),
            id: node.text("id").context("no id")?,
            kind: enc.text("type").unwrap_or_default(),
            sealed: enc.content().context("the ciphertext is empty")?,
            device_identity: node.child_content("device-identity"),
            recipient: node.text("recipient"),
            at: sent_at(node),
            chat: None,
        };
        let notify = node.text("notify");
        match self.open_letter(number, &letter) {
            Ok(opened) => {
                if letter.from.number == number {
                    let other = node.jid("recipient").and_then(|jid| self.accounts.resolve(&jid));
                    if let Some(other) = other {
                        self.phone_learns(number, &other.number, None)?;
                    }
                } else {
                    self.phone_learns(number, &letter.from.number, notify.as_deref())?;
                }
                self.phone_reads(number, &letter, opened.message)
            }
            Err(error) => self.phone_cannot_read(number, &letter, &error),
        }
    }

    pub(crate) fn open_letter(&mut self, number: &str, letter: &Letter) -> Result<Opened> {
        let identity = letter.device_identity.as_deref();
        self.open_sealed(number, &letter.from, &letter.kind, &letter.sealed, identity)
    }

    /// Decrypts what a device sealed for a phone.
    pub(crate) fn open_sealed(
        &mut self,
        number: &str,
        from: &DeviceAddress,
        kind: &str,
        sealed: &[u8],
        device_identity: Option<&[u8]>,
    ) -> Result<Opened> {
        if kind == "pkmsg" && from.device != 0 {
            self.check_companion(from, sealed, device_identity)?;
        }
        let account = self.accounts.get_mut(number).context("no such phone")?;
        let opened = account.phone.signal.open(from, kind, sealed)?;
        account.phone.save_session(number, from, &mut self.journal)?;
        account
            .phone
            .save_prekeys(number, opened.used_prekey.as_slice(), &mut self.journal);
        Ok(opened)
    }

    /// A companion that opens a session must carry its account's signature over the very key it uses.
    fn check_companion(&self, from: &DeviceAddress, sealed: &[u8], chain: Option<&[u8]>) -> Result<()> {
        let identity = claimed_identity(sealed)?;
        let chain = chain.context("a companion's pkmsg without device-identity")?;
        let sender = self.accounts.get(&from.number).context("the sender is gone")?;
        adv::verify(
            chain,
            &identity,
            sender.phone.signal.identity().public_key.public_key_bytes(),
        )
    }

    pub(crate) fn phone_reads(&mut self, number: &str, letter: &Letter, mut message: wa::Message) -> Result<()> {
        let own = letter.from.number == number;
        let (message, dsm_to) = match message.device_sent_message.take() {
            Some(copy) if own => {
                let destination = copy.destination_jid.context("a copy without destination")?;
                (
                    copy.message.into_option().unwrap_or_default(),
                    Some(self.number_of(&destination)),
                )
            }
            Some(_) => bail!("somebody else's device sent a copy of its own messages"),
            None => (message, None),
        };
        let account = self.accounts.get_mut(number).context("no such phone")?;
        if account.phone.has_shown(&letter.from.number, &letter.id) {
            self.stats.duplicates += 1;
        } else if let Some(protocol) = housekeeping(&message) {
            // Companions talk to their phone about app state and history; nothing to show.
            return if own {
                self.phone_serves(&letter.from, &letter.id, protocol)
            } else {
                Ok(())
            };
        } else {
            self.phone_shows(number, letter, dsm_to, &message)?;
        }
        self.phone_confirms(number, letter, own.then_some("sender"))?;
        let answering = self.accounts.get(number).is_some_and(|account| account.phone.answering);
        // Two answering phones must not talk to each other for ever, so only companions get answers.
        if answering && !own && letter.from.device != 0 {
            self.phone_answers(number, letter, &message)?;
        }
        Ok(())
    }

    fn phone_shows(
        &mut self,
        number: &str,
        letter: &Letter,
        dsm_to: Option<String>,
        message: &wa::Message,
    ) -> Result<()> {
        let mut entry = letter.entry();
        entry.dsm_to = dsm_to;
        let chat = entry.chat(number);
        let adder = Adder {
            reader: number,
            author: &letter.from.number,
            form: letter.form,
            chat: &chat,
            at: letter.at,
        };
        (entry.contents, entry.error) = self.phone_understands(&adder, message);
        entry.contents.media = self.phone_fetches(message);
        if entry.error.is_none() {
            self.phone_applies(&adder, &entry.contents)?;
        }
        let account = self.accounts.get_mut(number).context("no such phone")?;
        account.phone.asked_again.remove(&letter.id);
        account.phone.show(number, entry, message, &mut self.journal)?;
        self.stats.messages_shown += 1;
        Ok(())
    }

    /// The number behind an address, or the address itself when nobody has it.
    pub(crate) fn number_of(&self, jid: &str) -> String {
        let parsed = jid.parse().ok().and_then(|jid| self.accounts.resolve(&jid));
        parsed.map_or_else(|| jid.to_owned(), |address| address.number)
    }

    /// "Arrived", to the device that sent it.
    pub(crate) fn phone_confirms(&mut self, number: &str, letter: &Letter, kind: Option<&str>) -> Result<()> {
        if self.strike(Kind::NoReceipt, &DeviceAddress::phone(number)).is_some() {
            return Ok(());
        }
        if let Some(chat) = &letter.chat {
            let receipt = self.phone_receipt_to_many(number, chat, &letter.id, kind)?.build();
            return self.deliver(&letter.from, receipt);
        }
        let account = self.accounts.get(number).context("no such phone")?;
        let mut receipt = NodeBuilder::new("receipt")
            .attr("from", account.jid(letter.form))
            .attr("id", letter.id.as_str())
            .attr("t", unix_seconds());
        if let Some(kind) = kind {
            receipt = receipt.attr("type", kind);
        }
        if let Some(recipient) = &letter.recipient {
            receipt = receipt.attr("recipient", recipient.as_str());
        }
        let receipt = receipt.build();
        self.deliver(&letter.from, receipt)
    }

    /// "Read", to all devices of the account that sent it.
    fn phone_marks_read(&mut self, number: &str, entry: &InboxEntry) -> Result<()> {
        if self.strike(Kind::NoReceipt, &DeviceAddress::phone(number)).is_some() {
            return Ok(());
        }
        if let Some(chat) = entry.group.as_deref() {
            let chat = chat.parse().context("the chat of an inbox entry")?;
            return self.phone_marks_read_in(number, entry, &chat);
        }
        let form = if entry.by_lid { Form::Lid } else { Form::Number };
        let account = self.accounts.get(number).context("no such phone")?;
        if account.profile.privacy("readreceipts") == Some("none") || self.are_apart(number, &entry.from) {
            return Ok(());
        }
        let receipt = NodeBuilder::new("receipt")
            .attr("from", account.jid(form))
            .attr("id", entry.id.as_str())
            .attr("type", "read")
            .attr("t", unix_seconds())
            .build();
        for device in self.accounts.get(&entry.from).context("the sender is gone")?.devices() {
            self.deliver(&DeviceAddress::new(&entry.from, device), receipt.clone())?;
        }
        Ok(())
    }

    /// The owner opens a message; `false` if there is none with that id.
    pub(crate) fn phone_opens(&mut self, number: &str, id: &str) -> Result<bool> {
        let account = self.accounts.get_mut(number).context("no such phone")?;
        let Some(entry) = account.phone.open_message(number, id, &mut self.journal)? else {
            return Ok(false);
        };
        if entry.from != number {
            self.phone_marks_read(number, &entry)?;
        }
        Ok(true)
    }

    fn phone_answers(&mut self, number: &str, letter: &Letter, message: &wa::Message) -> Result<()> {
        self.phone_opens(number, &letter.id)?;
        // An echo in a group would be heard by other answering phones, for ever.
        if letter.chat.is_none()
            && let Some(echo) = echo(message)
        {
            self.types(number, &letter.from.number, letter.form, Typing::Composing)?;
            let chat = Chat::Person(letter.from.number.clone());
            self.phone_sends(number, &chat, letter.form, echo)?;
        }
        Ok(())
    }

    /// Shows that something could not be read and asks for it again, with fresh keys.
    pub(crate) fn phone_cannot_read(&mut self, number: &str, letter: &Letter, error: &anyhow::Error) -> Result<()> {
        let reason = format!("{error:#}");
        tracing::warn!(phone = %DeviceAddress::phone(number), sender = %letter.from, reason, "a phone could not decrypt");
        self.stats.undecryptable += 1;
        let account = self.accounts.get_mut(number).context("no such phone")?;
        if account.phone.has_shown(&letter.from.number, &letter.id) {
            self.stats.duplicates += 1;
            return self.phone_confirms(number, letter, None);
        }
        let asked = account.phone.asked_again.entry(letter.id.clone()).or_default();
        *asked += 1;
        let asked = *asked;
        if asked == 1 {
            let entry = InboxEntry {
                error: Some(reason),
                ..letter.entry()
            };
            account
                .phone
                .show(number, entry, &wa::Message::default(), &mut self.journal)?;
        }
        if asked >= MOST_RETRIES {
            return Ok(());
        }
        let (mut bundle, changed) = account.phone.signal.take_bundle()?;
        account.phone.save_prekeys(number, &changed, &mut self.journal);
        self.spoil_keys(&mut bundle, &DeviceAddress::phone(number));
        let account = self.accounts.get(number).context("no such phone")?;
        let retry = NodeBuilder::new("retry")
            .attr("v", "1")
            .attr("id", letter.id.as_str())
            .attr("t", unix_seconds())
            .attr("count", asked)
            .build();
        let registration = bytes_child(
            "registration",
            account.phone.signal.registration().to_be_bytes().to_vec(),
        );
        let mut receipt = match &letter.chat {
            Some(chat) => self.phone_receipt_to_many(number, chat, &letter.id, Some("retry"))?,
            None => NodeBuilder::new("receipt")
                .attr("from", account.jid(letter.form))
                .attr("id", letter.id.as_str())
                .attr("t", unix_seconds())
                .attr("type", "retry"),
        };
        if let Some(recipient) = &letter.recipient {
            receipt = receipt.attr("recipient", recipient.as_str());
        }
        let receipt = receipt.children([retry, registration, retry_keys(&bundle)]).build();
        self.stats.retries_requested += 1;
        self.deliver(&letter.from, receipt)
    }

    fn phone_gets_receipt(&mut self, number: &str, node: &Node) -> Result<()> {
        if node.child("offer").is_some() {
            // Not about a message: a client says that it rings.
            count(&mut self.stats.receipts_to_phones, "call");
            return Ok(());
        }
        let kind = node.text("type");
        for _ in receipt_ids(node) {
            count(
                &mut self.stats.receipts_to_phones,
                kind.as_deref().unwrap_or("delivered"),
            );
        }
        match kind.as_deref() {
            Some("retry") => self.phone_repeats(number, node),
            Some("server-error") => self.phone_uploads_again(number, node),
            _ => Ok(()),
        }
    }

    /// Sends a message again to a device that could not read it, in a fresh session.
    fn phone_repeats(&mut self, number: &str, node: &Node) -> Result<()> {
        let chat = node.jid("from").filter(is_many);
        let from = node
            .jid(if chat.is_some() { "participant" } else { "from" })
            .context("no sender")?;
        let asker = self.accounts.resolve(&from).context("the asker is not on WhatsApp")?;
        let id = node.text("id").context("no id")?;
        let round = node
            .child("retry")
            .and_then(|retry| retry.text("count"))
            .and_then(|count| count.parse().ok());
        if round.unwrap_or(1) > MOST_RETRIES {
            return Ok(());
        }
        let account = self.accounts.get_mut(number).context("no such phone")?;
        let Some(message) = account.phone.recall_sent(&id) else {
            return Ok(());
        };
        account.phone.signal.forget_session(&asker);
        if let Some(keys) = node.child("keys") {
            let bundle = read_retry_keys(node, keys)?.to_signal(asker.device)?;
            account.phone.signal.begin_session(&asker, &bundle)?;
        }
        if let Some(chat) = chat {
            return self.phone_repeats_to_many(number, &asker, &chat, &id, message, round.unwrap_or(1));
        }
        let recipient = node.text("recipient");
        let message = match &recipient {
            Some(recipient) if asker.number == number => copy_for_companions(recipient, message),
            _ => message,
        };
        let Some(mut enc) = self.phone_seals(number, &asker, &message)? else {
            return Ok(());
        };
        enc.attrs.insert("count", round.unwrap_or(1).to_string());
        let sender = self.accounts.get(number).context("no such phone")?;
        let mut stanza = phone_stanza(sender, Form::of(&from), &id, &message);
        if let Some(recipient) = recipient.filter(|_| asker.number == number) {
            stanza = stanza.attr("recipient", recipient);
        }
        if asker.number == number
            && let Some(category) = node.text("category")
        {
            stanza = stanza.attr("category", category);
        }
        self.stats.retries_answered += 1;
        let meta = Envelope::of(&message).meta();
        self.deliver(&asker, stanza.children([enc].into_iter().chain(meta)).build())
    }
}

/// When the server took a stanza.
pub(crate) fn sent_at(node: &Node) -> u64 {
    node.text("t")
        .and_then(|at| at.parse().ok())
        .unwrap_or_else(unix_seconds)
}

/// The `<keys>` of a retry receipt.
fn retry_keys(bundle: &Bundle) -> Node {
    let mut children = vec![
        bytes_child("type", vec![5]),
        bytes_child("identity", bundle.identity.clone()),
    ];
    if let Some((id, public)) = &bundle.prekey {
        let key = NodeBuilder::new("key");
        children.push(
            key.children([bytes_child("id", key_id(*id)), bytes_child("value", public.clone())])
                .build(),
        );
    }
    let signed = [
        bytes_child("id", key_id(bundle.signed_id)),
        bytes_child("value", bundle.signed_public.clone()),
        bytes_child("signature", bundle.signed_signature.clone()),
    ];
    children.push(NodeBuilder::new("skey").children(signed).build());
    NodeBuilder::new("keys").children(children).build()
}

fn read_retry_keys(receipt: &Node, keys: &Node) -> Result<Bundle> {
    let signed = keys.child("skey").context("no signed prekey in a retry receipt")?;
    let prekey = match keys.child("key") {
        Some(key) => Some((
            key.child_number("id").context("key id")?,
            key.child_content("value").context("key")?,
        )),
        None => None,
    };
    Ok(Bundle {
        registration: receipt
            .child_number("registration")
            .context("no registration id in a retry receipt")?,
        identity: keys
            .child_content("identity")
            .context("no identity in a retry receipt")?,
        prekey,
        signed_id: signed.child_number("id").context("signed prekey id")?,
        signed_public: signed.child_content("value").context("signed prekey")?,
        signed_signature: signed.child_content("signature").context("signed prekey's signature")?,
        device_identity: None,
    })
}
