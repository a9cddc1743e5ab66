//! What stands outside on a message: attributes that the server and the recipient's client go by before they decrypt.
//!
//! All of it follows from the content, so that a first send, a repetition and the copies for one's own companions
//! agree. The values are those of whatsapp-rust (`send/classify.rs`, `types/message.rs`) and of Baileys
//! (`Socket/messages-send`); where the two differ the name of the one followed is given.

use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::message::protocol_message::Type as ProtocolType;
use whatsapp_rust::waproto::whatsapp::message::secret_encrypted_message::SecretEncType;

use crate::phone::unwrap::{core, is_poll, view_once};

/// A message was edited.
const EDIT: &str = "1";
/// A message was pinned for all.
const PIN: &str = "2";
/// The sender takes back: a message, or a reaction.
const SENDER_REVOKE: &str = "7";
/// A group's admin takes back somebody else's message.
const ADMIN_REVOKE: &str = "8";

/// The outside of one message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// `type` of `<message>`.
    pub(crate) kind: &'static str,
    /// `mediatype` of `<enc>`.
    media: Option<&'static str>,
    /// `edit` of `<message>`.
    edit: Option<&'static str>,
    /// `decrypt-fail="hide"` of `<enc>`: whoever cannot read it shows nothing rather than "waiting for this message".
    hidden: bool,
    /// `polltype` of `<meta>`.
    poll: Option<&'static str>,
    /// `view_once` of `<meta>`.
    view_once: bool,
}

impl Envelope {
    /// What the outside of this message must say.
    pub(crate) fn of(message: &wa::Message) -> Self {
        let inner = core(message);
        let edit = edit(inner);
        let vote = inner
            .poll_update_message
            .as_option()
            .is_some_and(|update| update.vote.is_set());
        Self {
            kind: kind(inner),
            media: media(inner),
            edit,
            hidden: matches!(edit, Some(EDIT | PIN)) || vote || hidden(inner),
            poll: match (is_poll(inner), vote) {
                (true, _) => Some("creation"),
                (_, true) => Some("vote"),
                _ => None,
            },
            view_once: view_once(message),
        }
    }

    /// Puts the attributes on a `<message>`.
    pub(crate) fn on_message(&self, stanza: NodeBuilder) -> NodeBuilder {
        let stanza = stanza.attr("type", self.kind);
        match self.edit {
            Some(edit) => stanza.attr("edit", edit),
            None => stanza,
        }
    }

    /// Puts the attributes on an `<enc>`.
    pub(crate) fn on_enc(&self, mut enc: NodeBuilder) -> NodeBuilder {
        if let Some(media) = self.media {
            enc = enc.attr("mediatype", media);
        }
        if self.hidden {
            enc = enc.attr("decrypt-fail", "hide");
        }
        enc
    }

    /// The `<meta>` beside the ciphertext, if the message has one.
    pub(crate) fn meta(&self) -> Option<Node> {
        let mut meta = NodeBuilder::new("meta");
        if let Some(poll) = self.poll {
            meta = meta.attr("polltype", poll);
        }
        if self.view_once {
            meta = meta.attr("view_once", "true");
        }
        (self.poll.is_some() || self.view_once).then(|| meta.build())
    }
}

fn kind(inner: &wa::Message) -> &'static str {
    let sealed = inner.secret_encrypted_message.as_option();
    match sealed.and_then(|sealed| sealed.secret_enc_type) {
        Some(SecretEncType::MESSAGE_EDIT) => return "text",
        Some(SecretEncType::EVENT_EDIT) => return "event",
        Some(SecretEncType::POLL_EDIT | SecretEncType::POLL_ADD_OPTION) => return "poll",
        _ => {}
    }
    if inner.reaction_message.is_set() || inner.enc_reaction_message.is_set() {
        "reaction"
    } else if is_poll(inner) || inner.poll_update_message.is_set() {
        "poll"
    } else if inner.event_message.is_set() || inner.enc_event_response_message.is_set() {
        "event"
    } else if media(inner).is_some() {
        "media"
    } else {
        "text"
    }
}

/// The first of these that is set names the medium.
macro_rules! first_medium {
    ($message:expr, $($field:ident => $name:literal),+ $(,)?) => {
        $(if $message.$field.is_set() { return Some($name); })+
    };
}

fn media(inner: &wa::Message) -> Option<&'static str> {
    if let Some(video) = inner.video_message.as_option() {
        return Some(if video.gif_playback == Some(true) {
            "gif"
        } else {
            "video"
        });
    }
    if let Some(audio) = inner.audio_message.as_option() {
        return Some(if audio.ptt == Some(true) { "ptt" } else { "audio" });
    }
    if let Some(location) = inner.location_message.as_option() {
        let live = location.is_live == Some(true);
        // Baileys sends a place as plain text without a medium; WhatsApp Web, as whatsapp-rust quotes it, does not.
        return Some(if live { "livelocation" } else { "location" });
    }
    if let Some(text) = inner.extended_text_message.as_option() {
        // A link with a preview.
        let matched = text.matched_text.as_deref().is_some_and(|link| !link.trim().is_empty());
        return matched.then_some("url");
    }
    first_medium!(
        inner,
        image_message => "image",
        ptv_message => "ptv",
        document_message => "document",
        sticker_message => "sticker",
        sticker_pack_message => "sticker_pack",
        live_location_message => "livelocation",
        contact_message => "vcard",
        contacts_array_message => "contact_array",
        group_invite_message => "url",
        list_message => "list",
        list_response_message => "list_response",
        buttons_response_message => "buttons_response",
        order_message => "order",
        product_message => "product",
        interactive_response_message => "native_flow_response",
    );
    None
}

fn edit(inner: &wa::Message) -> Option<&'static str> {
    if inner.pin_in_chat_message.is_set() {
        return Some(PIN);
    }
    let sealed = inner.secret_encrypted_message.as_option();
    if let Some(SecretEncType::MESSAGE_EDIT | SecretEncType::EVENT_EDIT) =
        sealed.and_then(|sealed| sealed.secret_enc_type)
    {
        return Some(EDIT);
    }
    if let Some(reaction) = inner.reaction_message.as_option() {
        return reaction
            .text
            .as_deref()
            .unwrap_or_default()
            .is_empty()
            .then_some(SENDER_REVOKE);
    }
    let protocol = inner.protocol_message.as_option()?;
    match protocol.r#type {
        Some(ProtocolType::MESSAGE_EDIT) => Some(EDIT),
        Some(ProtocolType::REVOKE) => {
            let own = protocol.key.as_option().and_then(|key| key.from_me) == Some(true);
            Some(if own { SENDER_REVOKE } else { ADMIN_REVOKE })
        }
        _ => None,
    }
}

/// What is an addition to another message hides when it cannot be read; taking back does not, since the server drops
/// a revoke that hides (whatsapp-rust `send/classify.rs`).
fn hidden(inner: &wa::Message) -> bool {
    let sealed = inner.secret_encrypted_message.as_option();
    inner.reaction_message.is_set()
        || inner.enc_reaction_message.is_set()
        || inner.keep_in_chat_message.is_set()
        || inner.enc_event_response_message.is_set()
        || sealed.is_some_and(|sealed| sealed.secret_enc_type != Some(SecretEncType::MESSAGE_EDIT))
}
