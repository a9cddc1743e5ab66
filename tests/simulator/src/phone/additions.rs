//! What a message does to an earlier one: reactions, edits, revokes, votes.
//!
//! A phone is strict here as real phones are: who may do it, to which message, and how late. What it refuses stays
//! visible in the inbox with its reason, since a silent refusal would be a riddle to whoever tests a client.

use anyhow::{Context as _, Result, bail, ensure};
use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::message::protocol_message::Type as ProtocolType;
use whatsapp_rust::waproto::whatsapp::message::secret_encrypted_message::SecretEncType;

use crate::account::Form;
use crate::phone::addon::{Target, Use, option_hash};
use crate::phone::chat::Chat;
use crate::phone::compose::text_message;
use crate::phone::contents::{Contents, Edit, Reaction, Vote, caption, text_of};
use crate::phone::known::{Known, may_edit, may_revoke};
use crate::phone::unwrap::{core, poll, secret};
use crate::world::World;

/// Who adds something, where and when.
pub(crate) struct Adder<'a> {
    /// The number of the phone that reads.
    pub(crate) reader: &'a str,
    /// The number of the account that wrote.
    pub(crate) author: &'a str,
    /// The form of address it wrote in.
    pub(crate) form: Form,
    /// The conversation.
    pub(crate) chat: &'a Chat,
    /// When, by the server's clock.
    pub(crate) at: u64,
}

/// What is no message for a person: keys, history, settings. Edits and revokes travel the same way but are for people.
pub(crate) fn housekeeping(message: &wa::Message) -> Option<&wa::message::ProtocolMessage> {
    let protocol = core(message).protocol_message.as_option()?;
    let addition = matches!(protocol.r#type, Some(ProtocolType::REVOKE | ProtocolType::MESSAGE_EDIT));
    (!addition).then_some(protocol)
}

impl World {
    /// What a message says on this phone, and why the phone does not accept it, if it does not.
    pub(crate) fn phone_understands(&self, adder: &Adder<'_>, message: &wa::Message) -> (Contents, Option<String>) {
        let mut contents = Contents::of(message, |jid| self.number_of(jid));
        let outcome = self.addition(adder, core(message), &mut contents);
        (contents, outcome.err().map(|error| format!("{error:#}")))
    }

    fn addition(&self, adder: &Adder<'_>, inner: &wa::Message, contents: &mut Contents) -> Result<()> {
        if let Some(reaction) = inner.reaction_message.as_option() {
            let to = id_of(reaction.key.as_option())?;
            contents.reaction = Some(Reaction {
                to: to.clone(),
                emoji: reaction.text.clone().unwrap_or_default(),
            });
            return self.known_to(adder, &to).map(|_| ());
        }
        if let Some(update) = inner.poll_update_message.as_option() {
            let vote = update.vote.as_option().context("the poll update is no vote")?;
            let poll = id_of(update.poll_creation_message_key.as_option())?;
            let vote_of = |options| Vote {
                poll: poll.clone(),
                options,
            };
            contents.vote = Some(vote_of(Vec::new()));
            contents.vote = Some(vote_of(self.chosen(adder, &poll, vote)?));
            return Ok(());
        }
        let sealed = inner.secret_encrypted_message.as_option();
        if let Some(sealed) = sealed.filter(|sealed| sealed.secret_enc_type == Some(SecretEncType::MESSAGE_EDIT)) {
            "edit".clone_into(&mut contents.kind);
            let to = id_of(sealed.target_message_key.as_option())?;
            let known = self.known_to(adder, &to)?;
            let opened = self.open_addition(
                adder,
                &to,
                &known,
                Use::Edit,
                (sealed.enc_payload.as_deref(), sealed.enc_iv.as_deref()),
            )?;
            let opened = wa::Message::decode_from_slice(&opened).context("the sealed edit is no message")?;
            let edit = core(&opened)
                .protocol_message
                .as_option()
                .context("the sealed edit is no edit")?;
            contents.edit = Some(edit_of(to, edit, true));
            return may_edit(&known, adder.author, adder.at);
        }
        match inner.protocol_message.as_option() {
            Some(protocol) if protocol.r#type == Some(ProtocolType::MESSAGE_EDIT) => {
                "edit".clone_into(&mut contents.kind);
                let to = id_of(protocol.key.as_option())?;
                contents.edit = Some(edit_of(to.clone(), protocol, false));
                may_edit(&self.known_to(adder, &to)?, adder.author, adder.at)
            }
            Some(protocol) if protocol.r#type == Some(ProtocolType::REVOKE) => {
                "revoke".clone_into(&mut contents.kind);
                let to = id_of(protocol.key.as_option())?;
                contents.revokes = Some(to.clone());
                may_revoke(&self.known_to(adder, &to)?, adder.author)
            }
            _ => Ok(()),
        }
    }

    fn known_to(&self, adder: &Adder<'_>, id: &str) -> Result<Known> {
        let reader = self.accounts.get(adder.reader).context("no such phone")?;
        reader
            .phone
            .known(adder.reader, adder.chat, id)
            .with_context(|| format!("the phone knows no message {id} in this chat"))
    }

    /// The names of the chosen options.
    fn chosen(&self, adder: &Adder<'_>, id: &str, vote: &wa::message::PollEncValue) -> Result<Vec<String>> {
        let known = self.known_to(adder, id)?;
        let poll = poll(core(&known.message)).with_context(|| format!("message {id} is no poll"))?;
        let sealed = (vote.enc_payload.as_deref(), vote.enc_iv.as_deref());
        let opened = self.open_addition(adder, id, &known, Use::Vote, sealed)?;
        let vote = wa::message::PollVoteMessage::decode_from_slice(&opened).context("the vote cannot be read")?;
        let mut chosen = Vec::new();
        for hash in &vote.selected_options {
            let mut names = poll.options.iter().filter_map(|option| option.option_name.as_ref());
            match names.find(|name| option_hash(name) == *hash) {
                Some(name) => chosen.push(name.clone()),
                None => bail!("the vote is for an option that the poll does not have"),
            }
        }
        let most = poll.selectable_options_count.unwrap_or_default() as usize;
        ensure!(
            most == 0 || chosen.len() <= most,
            "the poll allows {most} options at once"
        );
        Ok(chosen)
    }

    /// Opens what was sealed with the secret of a message.
    ///
    /// Author and adder go into the key as the client wrote them, so the form it used is tried first, then the other
    /// one; never a mixture (whatsapp-rust `poll.rs`).
    fn open_addition(
        &self,
        adder: &Adder<'_>,
        id: &str,
        known: &Known,
        purpose: Use,
        (sealed, nonce): (Option<&[u8]>, Option<&[u8]>),
    ) -> Result<Vec<u8>> {
        let secret = secret(&known.message).with_context(|| format!("message {id} came without a secret"))?;
        let sealed = sealed.context("nothing sealed inside")?;
        let nonce = nonce.context("the nonce is missing")?;
        let other = match adder.form {
            Form::Number => Form::Lid,
            Form::Lid => Form::Number,
        };
        let open = |form| {
            let (author, adder) = (
                self.person_jid(&known.author, form),
                self.person_jid(adder.author, form),
            );
            let target = Target {
                id,
                author: &author,
                adder: &adder,
            };
            target.open(secret, purpose, sealed, nonce)
        };
        open(adder.form).or_else(|_| open(other))
    }

    /// Lets an accepted edit or revoke take effect on the message it is about.
    pub(crate) fn phone_applies(&mut self, adder: &Adder<'_>, contents: &Contents) -> Result<()> {
        let account = self.accounts.get_mut(adder.reader).context("no such phone")?;
        let phone = &mut account.phone;
        let mut change = |id: &str, change: &dyn Fn(&mut Contents, &mut Vec<u8>)| {
            phone.change(adder.reader, adder.chat, id, &mut self.journal, change)
        };
        if let Some(edit) = &contents.edit {
            change(&edit.to, &|contents, message| {
                contents.change_text(edit.text.clone());
                replace_text(message, &edit.text);
            })
        } else if let Some(revoked) = &contents.revokes {
            change(revoked, &|contents, message| {
                contents.take_back();
                message.clear();
            })
        } else {
            Ok(())
        }
    }
}

/// So that whoever quotes an edited text quotes what it says now; it keeps its secret, since votes and further edits
/// are sealed with that.
fn replace_text(stored: &mut Vec<u8>, text: &str) {
    let Ok(old) = wa::Message::decode_from_slice(stored) else {
        return;
    };
    if text_of(core(&old)).is_none() {
        return;
    }
    let mut new = text_message(text);
    new.message_context_info = match secret(&old) {
        Some(secret) => MessageField::some(wa::MessageContextInfo {
            message_secret: Some(secret.to_vec()),
            ..Default::default()
        }),
        None => MessageField::none(),
    };
    *stored = new.encode_to_vec();
}

fn id_of(key: Option<&wa::MessageKey>) -> Result<String> {
    let id = key.and_then(|key| key.id.clone()).filter(|id| !id.is_empty());
    id.context("it does not say which message it is about")
}

fn edit_of(to: String, protocol: &wa::message::ProtocolMessage, sealed: bool) -> Edit {
    let new = protocol.edited_message.as_option().map(core);
    Edit {
        to,
        text: new
            .and_then(|new| text_of(new).or_else(|| caption(new)))
            .unwrap_or_default(),
        sealed,
    }
}
