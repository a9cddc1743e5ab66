//! A phone writes a message: from what a caller wants to what goes into the ciphertext.
//!
//! The phone refuses what an honest phone would not send; `forged` drafts are for tests of what the other side does.

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::message::protocol_message::Type as ProtocolType;
use whatsapp_rust::waproto::whatsapp::message::secret_encrypted_message::SecretEncType;

use crate::account::Form;
use crate::clock::unix_seconds;
use crate::phone::additions::Adder;
use crate::phone::addon::{SECRET_LENGTH, Target, Use, option_hash};
use crate::phone::chat::Chat;
use crate::phone::contents::{caption, text_of};
use crate::phone::draft::{Contact, Content, Draft};
use crate::phone::known::{Known, may_edit, may_revoke};
use crate::phone::unwrap::{context, core, poll, secret, set_context};
use crate::world::World;

/// A text as WhatsApp carries it.
pub(crate) fn text_message(text: &str) -> wa::Message {
    wa::Message {
        conversation: Some(text.to_owned()),
        ..Default::default()
    }
}

/// Phones give every message that stands for itself a secret, so that votes and edits can be sealed with it.
fn with_secret(mut message: wa::Message) -> wa::Message {
    message.message_context_info = MessageField::some(wa::MessageContextInfo {
        message_secret: Some(rand::random::<[u8; SECRET_LENGTH]>().to_vec()),
        ..Default::default()
    });
    message
}

/// What the chatty kind of owner answers: the same text, the caption of a picture, the same place or contact; nothing
/// to what only adds to another message.
pub(crate) fn echo(message: &wa::Message) -> Option<wa::Message> {
    let inner = core(message);
    if let Some(text) = text_of(inner).or_else(|| caption(inner)) {
        return Some(with_secret(text_message(&text)));
    }
    let same =
        inner.location_message.is_set() || inner.contact_message.is_set() || inner.contacts_array_message.is_set();
    same.then(|| with_secret(quoted(message)))
}

impl World {
    /// Composes and sends; gives the id. What it changes in an earlier message is changed on this phone too.
    pub(crate) fn phone_writes(&mut self, draft: &Draft) -> Result<String> {
        let message = self.phone_composes(draft)?;
        let adder = Adder {
            reader: &draft.from,
            author: &draft.from,
            form: draft.form,
            chat: &draft.to,
            at: unix_seconds(),
        };
        let (contents, refused) = self.phone_understands(&adder, &message);
        let id = self.phone_sends(&draft.from, &draft.to, draft.form, message)?;
        if refused.is_none() {
            self.phone_applies(&adder, &contents)?;
        }
        Ok(id)
    }

    /// The message a draft describes, ready to be encrypted.
    fn phone_composes(&mut self, draft: &Draft) -> Result<wa::Message> {
        let mut message = match &draft.attachment {
            Some(attachment) => {
                let stored = self.phone_uploads(&draft.from, attachment.sealed())?;
                attachment.message(&draft.content, stored)
            }
            None => self.content(draft)?,
        };
        if draft.content.is_addition() {
            return Ok(message);
        }
        if let Some(context) = self.context(draft)? {
            set_context(&mut message, context);
        }
        if draft.ephemeral_seconds.is_some() {
            message = wa::Message {
                ephemeral_message: MessageField::some(wa::message::FutureProofMessage {
                    message: MessageField::some(message),
                }),
                ..Default::default()
            };
        }
        Ok(with_secret(message))
    }

    fn content(&self, draft: &Draft) -> Result<wa::Message> {
        Ok(match &draft.content {
            Content::Text { text } => text_message(text),
            Content::Edit {
                message_id,
                text,
                sealed,
            } => self.edit(draft, message_id, text, *sealed)?,
            Content::Revoke { message_id } => self.revoke(draft, message_id)?,
            Content::Reaction { message_id, emoji } => {
                let known = self.known(draft, message_id)?;
                wa::Message {
                    reaction_message: MessageField::some(wa::message::ReactionMessage {
                        key: MessageField::some(self.message_key(draft, message_id, &known.author)?),
                        text: Some(emoji.clone()),
                        sender_timestamp_ms: Some(milliseconds()),
                        ..Default::default()
                    }),
                    ..Default::default()
                }
            }
            Content::Poll {
                question,
                options,
                selectable_count,
            } => poll_message(question, options, *selectable_count),
            Content::Vote { message_id, options } => self.vote(draft, message_id, options)?,
            Content::Location {
                latitude,
                longitude,
                name,
                address,
            } => wa::Message {
                location_message: MessageField::some(wa::message::LocationMessage {
                    degrees_latitude: Some(*latitude),
                    degrees_longitude: Some(*longitude),
                    name: name.clone(),
                    address: address.clone(),
                    ..Default::default()
                }),
                ..Default::default()
            },
            Content::Contact { contacts } => contact_message(contacts),
            Content::Image { .. }
            | Content::Video { .. }
            | Content::Audio { .. }
            | Content::Document { .. }
            | Content::Sticker { .. } => bail!("the file is missing"),
            Content::Raw { message } => {
                let bytes = BASE64_STANDARD.decode(message).context("`message` is not base64")?;
                wa::Message::decode_from_slice(&bytes).context("`message` is not the protobuf of a message")?
            }
        })
    }

    /// What the phone knows about a message in the chat of the draft; a forger need not know anything.
    fn known(&self, draft: &Draft, id: &str) -> Result<Known> {
        let sender = self.accounts.get(&draft.from).context("no such phone")?;
        match sender.phone.known(&draft.from, &draft.to, id) {
            Some(known) => Ok(known),
            None if draft.forged => Ok(Known {
                author: draft.from.clone(),
                at: unix_seconds(),
                message: wa::Message::default(),
            }),
            None => bail!("the phone knows no message {id} in this chat"),
        }
    }

    fn message_key(&self, draft: &Draft, id: &str, author: &str) -> Result<wa::MessageKey> {
        let author_jid = self.person_jid(author, draft.form);
        Ok(wa::MessageKey {
            remote_jid: Some(self.chat_jid(&draft.to, draft.form)?.to_string()),
            from_me: Some(author == draft.from),
            id: Some(id.to_owned()),
            participant: (!matches!(draft.to, Chat::Person(_))).then_some(author_jid),
        })
    }

    fn edit(&self, draft: &Draft, id: &str, text: &str, sealed: bool) -> Result<wa::Message> {
        let known = self.known(draft, id)?;
        if !draft.forged {
            may_edit(&known, &draft.from, unix_seconds())?;
        }
        let edit = wa::Message {
            protocol_message: MessageField::some(wa::message::ProtocolMessage {
                key: MessageField::some(self.message_key(draft, id, &known.author)?),
                r#type: Some(ProtocolType::MESSAGE_EDIT),
                edited_message: MessageField::some(text_message(text)),
                timestamp_ms: Some(milliseconds()),
                ..Default::default()
            }),
            ..Default::default()
        };
        if !sealed {
            return Ok(edit);
        }
        let secret = secret(&known.message).context("the message has no secret to seal an edit with")?;
        let (author, adder) = (
            self.person_jid(&known.author, draft.form),
            self.person_jid(&draft.from, draft.form),
        );
        let target = Target {
            id,
            author: &author,
            adder: &adder,
        };
        let (payload, nonce) = target.seal(secret, Use::Edit, &edit.encode_to_vec())?;
        Ok(wa::Message {
            secret_encrypted_message: MessageField::some(wa::message::SecretEncryptedMessage {
                target_message_key: MessageField::some(self.message_key(draft, id, &known.author)?),
                enc_payload: Some(payload),
                enc_iv: Some(nonce),
                secret_enc_type: Some(SecretEncType::MESSAGE_EDIT),
                ..Default::default()
            }),
            ..Default::default()
        })
    }

    fn revoke(&self, draft: &Draft, id: &str) -> Result<wa::Message> {
        let known = self.known(draft, id)?;
        if !draft.forged {
            may_revoke(&known, &draft.from)?;
        }
        Ok(wa::Message {
            protocol_message: MessageField::some(wa::message::ProtocolMessage {
                key: MessageField::some(self.message_key(draft, id, &known.author)?),
                r#type: Some(ProtocolType::REVOKE),
                ..Default::default()
            }),
            ..Default::default()
        })
    }

    fn vote(&self, draft: &Draft, id: &str, options: &[String]) -> Result<wa::Message> {
        let known = self.known(draft, id)?;
        if !draft.forged {
            let poll = poll(core(&known.message)).with_context(|| format!("message {id} is no poll"))?;
            let offered = |option: &String| {
                let mut names = poll.options.iter().filter_map(|offer| offer.option_name.as_ref());
                names.any(|name| name == option)
            };
            if let Some(strange) = options.iter().find(|option| !offered(option)) {
                bail!("the poll has no option `{strange}`");
            }
            let most = poll.selectable_options_count.unwrap_or_default() as usize;
            ensure!(
                most == 0 || options.len() <= most,
                "the poll allows {most} options at once"
            );
        }
        let (author, adder) = (
            self.person_jid(&known.author, draft.form),
            self.person_jid(&draft.from, draft.form),
        );
        let target = Target {
            id,
            author: &author,
            adder: &adder,
        };
        // A forger who never saw the poll seals with a secret of his own; the other side must notice.
        let guessed = [0; SECRET_LENGTH];
        let secret = match secret(&known.message) {
            Some(secret) => secret,
            None if draft.forged => &guessed,
            None => bail!("the poll came without a secret"),
        };
        let vote = wa::message::PollVoteMessage {
            selected_options: options.iter().map(|option| option_hash(option)).collect(),
        };
        let (payload, nonce) = target.seal(secret, Use::Vote, &vote.encode_to_vec())?;
        Ok(wa::Message {
            poll_update_message: MessageField::some(wa::message::PollUpdateMessage {
                poll_creation_message_key: MessageField::some(self.message_key(draft, id, &known.author)?),
                vote: MessageField::some(wa::message::PollEncValue {
                    enc_payload: Some(payload),
                    enc_iv: Some(nonce),
                }),
                sender_timestamp_ms: Some(milliseconds()),
                ..Default::default()
            }),
            ..Default::default()
        })
    }

    fn context(&self, draft: &Draft) -> Result<Option<wa::ContextInfo>> {
        if draft.reply_to.is_none() && draft.mentions.is_empty() && draft.ephemeral_seconds.is_none() {
            return Ok(None);
        }
        let mut context = wa::ContextInfo {
            mentioned_jid: draft
                .mentions
                .iter()
                .map(|number| self.person_jid(number, draft.form))
                .collect(),
            expiration: draft.ephemeral_seconds,
            ..Default::default()
        };
        if let Some(id) = &draft.reply_to {
            let known = self.known(draft, id)?;
            context.stanza_id = Some(id.clone());
            context.participant = Some(self.person_jid(&known.author, draft.form));
            context.quoted_message = MessageField::some(quoted(&known.message));
        }
        Ok(Some(context))
    }

    /// The address of a person, also of one who is not on WhatsApp; then it can only be the number.
    pub(crate) fn person_jid(&self, number: &str, form: Form) -> String {
        match self.accounts.get(number) {
            Some(account) => account.jid(form).to_string(),
            None => format!("{number}@s.whatsapp.net"),
        }
    }

    /// The address of a chat.
    pub(crate) fn chat_jid(&self, chat: &Chat, form: Form) -> Result<whatsapp_rust::wacore_binary::Jid> {
        if let Chat::Person(number) = chat {
            let account = self.accounts.get(number).context("the recipient is not on WhatsApp")?;
            return Ok(account.jid(form));
        }
        chat.shared_jid().context("the chat has no address")
    }
}

/// A message as another one quotes it: without what it quoted itself, and without its secret.
fn quoted(message: &wa::Message) -> wa::Message {
    let mut quoted = core(message).clone();
    quoted.message_context_info = MessageField::none();
    if context(&quoted).is_some() {
        set_context(&mut quoted, wa::ContextInfo::default());
    }
    quoted
}

fn milliseconds() -> i64 {
    i64::try_from(unix_seconds()).unwrap_or_default() * 1000
}

/// WhatsApp Web uses version 3 where one option may be chosen and version 1 otherwise (whatsapp-rust `features/polls.rs`).
fn poll_message(question: &str, options: &[String], selectable_count: u32) -> wa::Message {
    let poll = wa::message::PollCreationMessage {
        name: Some(question.to_owned()),
        options: options
            .iter()
            .map(|option| wa::message::poll_creation_message::Option {
                option_name: Some(option.clone()),
                ..Default::default()
            })
            .collect(),
        selectable_options_count: Some(selectable_count),
        ..Default::default()
    };
    if selectable_count == 1 {
        wa::Message {
            poll_creation_message_v3: MessageField::some(poll),
            ..Default::default()
        }
    } else {
        wa::Message {
            poll_creation_message: MessageField::some(poll),
            ..Default::default()
        }
    }
}

fn contact_message(contacts: &[Contact]) -> wa::Message {
    let card = |contact: &Contact| wa::message::ContactMessage {
        display_name: Some(contact.name.clone()),
        vcard: Some(vcard(contact)),
        ..Default::default()
    };
    match contacts {
        [contact] => wa::Message {
            contact_message: MessageField::some(card(contact)),
            ..Default::default()
        },
        _ => wa::Message {
            contacts_array_message: MessageField::some(wa::message::ContactsArrayMessage {
                display_name: Some(format!("{} contacts", contacts.len())),
                contacts: contacts.iter().map(card).collect(),
                ..Default::default()
            }),
            ..Default::default()
        },
    }
}

/// A contact as phones write it: vCard 3.0, each number with its WhatsApp id.
fn vcard(contact: &Contact) -> String {
    let escaped: String = contact
        .name
        .chars()
        .flat_map(|character| {
            matches!(character, '\\' | ',' | ';')
                .then_some('\\')
                .into_iter()
                .chain([character])
        })
        .collect();
    let mut lines = vec![
        "BEGIN:VCARD".to_owned(),
        "VERSION:3.0".to_owned(),
        format!("N:;{escaped};;;"),
        format!("FN:{escaped}"),
    ];
    for phone in &contact.phones {
        let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
        lines.push(format!("TEL;type=CELL;type=VOICE;waid={digits}:{phone}"));
    }
    lines.push("END:VCARD".to_owned());
    lines.join("\n")
}
