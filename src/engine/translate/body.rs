//! Message bodies, both ways.

use whatsapp_rust::prelude::{MessageBuilderExt as _, MessageExt, wa};

use super::address;
use super::vcard;
use crate::domain::address::Address;
use crate::domain::message::{Body, Contact, MessageId, Outbound};

/// What came: something new, or something about an earlier message.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::engine) enum Said {
    /// A message of its own.
    New(Content),
    /// A reaction; the empty one takes an earlier one away.
    Reaction {
        /// To which message.
        to: MessageId,
        /// One emoji or nothing.
        emoji: String,
    },
    /// An earlier message says something else now.
    Edit {
        /// Which message.
        of: MessageId,
        /// What it says now.
        content: Content,
    },
    /// An earlier message is taken back.
    Revoke {
        /// Which message.
        of: MessageId,
    },
}

/// What a received message says.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::engine) struct Content {
    /// The body.
    pub body: Body,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// Who is mentioned, as WhatsApp wrote it.
    pub mentions: Vec<Address>,
}

impl Content {
    fn plain(body: Body) -> Self {
        Self {
            body,
            reply_to: None,
            mentions: Vec::new(),
        }
    }
}

/// Names the first field that is set, in WhatsApp's own words.
macro_rules! first_kind {
    ($message:expr, $($field:ident = $name:literal),+ $(,)?) => {
        $(if $message.$field.is_set() { return Some($name); })+
    };
}

/// The kind of a message that is not text; `None` when it carries nothing for a person (keys, housekeeping).
fn kind(message: &wa::Message) -> Option<&'static str> {
    first_kind!(
        message,
        image_message = "imageMessage",
        video_message = "videoMessage",
        ptv_message = "ptvMessage",
        audio_message = "audioMessage",
        document_message = "documentMessage",
        sticker_message = "stickerMessage",
        lottie_sticker_message = "lottieStickerMessage",
        sticker_pack_message = "stickerPackMessage",
        album_message = "albumMessage",
        location_message = "locationMessage",
        live_location_message = "liveLocationMessage",
        contact_message = "contactMessage",
        contacts_array_message = "contactsArrayMessage",
        reaction_message = "reactionMessage",
        enc_reaction_message = "encReactionMessage",
        poll_creation_message = "pollCreationMessage",
        poll_creation_message_v2 = "pollCreationMessageV2",
        poll_creation_message_v3 = "pollCreationMessageV3",
        poll_creation_message_v4 = "pollCreationMessageV4",
        poll_creation_message_v5 = "pollCreationMessageV5",
        poll_creation_message_v6 = "pollCreationMessageV6",
        poll_update_message = "pollUpdateMessage",
        event_message = "eventMessage",
        event_invite_message = "eventInviteMessage",
        group_invite_message = "groupInviteMessage",
        template_message = "templateMessage",
        template_button_reply_message = "templateButtonReplyMessage",
        buttons_message = "buttonsMessage",
        buttons_response_message = "buttonsResponseMessage",
        list_message = "listMessage",
        list_response_message = "listResponseMessage",
        interactive_message = "interactiveMessage",
        interactive_response_message = "interactiveResponseMessage",
        highly_structured_message = "highlyStructuredMessage",
        product_message = "productMessage",
        order_message = "orderMessage",
        invoice_message = "invoiceMessage",
        send_payment_message = "sendPaymentMessage",
        request_payment_message = "requestPaymentMessage",
        payment_invite_message = "paymentInviteMessage",
        comment_message = "commentMessage",
        group_mentioned_message = "groupMentionedMessage",
        status_mention_message = "statusMentionMessage",
        question_message = "questionMessage",
        rich_response_message = "richResponseMessage",
        newsletter_admin_invite_message = "newsletterAdminInviteMessage",
        request_phone_number_message = "requestPhoneNumberMessage",
        pin_in_chat_message = "pinInChatMessage",
        keep_in_chat_message = "keepInChatMessage",
        call_log_messsage = "callLogMessage",
        placeholder_message = "placeholderMessage",
        secret_encrypted_message = "secretEncryptedMessage",
        enc_comment_message = "encCommentMessage",
        enc_event_response_message = "encEventResponseMessage",
        scheduled_call_creation_message = "scheduledCallCreationMessage",
        scheduled_call_edit_message = "scheduledCallEditMessage",
        bot_invoke_message = "botInvokeMessage",
        bcall_message = "bcallMessage",
        edited_message = "editedMessage",
    );
    None
}

/// Whether it only carries keys or notes between a person's own devices.
fn is_housekeeping(base: &wa::Message) -> bool {
    base.protocol_message.is_set()
        || base.sender_key_distribution_message.is_set()
        || base.fast_ratchet_key_sender_key_distribution_message.is_set()
        || base.sticker_sync_rmr_message.is_set()
        || base.group_root_key_share.is_set()
        || base.root_secret_distribute_message.is_set()
        || base.message_history_bundle.is_set()
        || base.message_history_notice.is_set()
}

/// What a message says to a person; `None` for keys, history and settings.
///
/// Nothing else is left out: a kind that nobody here knows is named as far as it can be.
pub(in crate::engine) fn said(message: &wa::Message) -> Option<Said> {
    let base = message.get_base_message();
    if let Some(protocol) = base.protocol_message.as_option() {
        return about_earlier(protocol);
    }
    if let Some(reaction) = base.reaction_message.as_option()
        && let Some(to) = target(reaction.key.as_option())
    {
        return Some(Said::Reaction {
            to,
            emoji: reaction.text.clone().unwrap_or_default(),
        });
    }
    content(base).map(Said::New)
}

fn about_earlier(protocol: &wa::message::ProtocolMessage) -> Option<Said> {
    use wa::message::protocol_message::Type;
    let earlier = target(protocol.key.as_option());
    match protocol.r#type {
        Some(Type::REVOKE) => Some(match earlier {
            Some(of) => Said::Revoke { of },
            None => unsupported("protocolMessage"),
        }),
        Some(Type::MESSAGE_EDIT) => {
            let new = protocol.edited_message.as_option().map(MessageExt::get_base_message);
            Some(match (earlier, new.and_then(content)) {
                (Some(of), Some(content)) => Said::Edit { of, content },
                _ => unsupported("protocolMessage"),
            })
        }
        _ => None,
    }
}

fn unsupported(kind: &str) -> Said {
    Said::New(Content::plain(Body::Unsupported { kind: kind.to_owned() }))
}

fn target(key: Option<&wa::MessageKey>) -> Option<MessageId> {
    let id = key?.id.as_deref().filter(|id| !id.is_empty())?;
    Some(MessageId::from_wire(id))
}

fn content(base: &wa::Message) -> Option<Content> {
    // Keys may travel beside the content of a message that is sent again, so the content is looked for first.
    let named = || {
        let kind = kind(base).or_else(|| (!is_housekeeping(base)).then_some("unknown"))?;
        Some(Body::Unsupported { kind: kind.to_owned() })
    };
    let mut content = Content::plain(body(base).or_else(named)?);
    if let Some(context) = context(base) {
        content.reply_to = context
            .stanza_id
            .as_deref()
            .filter(|id| !id.is_empty())
            .map(MessageId::from_wire);
        content.mentions = context
            .mentioned_jid
            .iter()
            .filter_map(|jid| Address::parse(jid).ok())
            .collect();
    }
    Some(content)
}

fn body(base: &wa::Message) -> Option<Body> {
    if let Some(text) = base.conversation.as_ref().filter(|text| !text.is_empty()) {
        return Some(Body::Text { text: text.clone() });
    }
    if let Some(extended) = base.extended_text_message.as_option() {
        let text = extended.text.clone().unwrap_or_default();
        return Some(Body::Text { text });
    }
    if let Some(place) = base.location_message.as_option() {
        return Some(Body::Location {
            latitude: place.degrees_latitude?,
            longitude: place.degrees_longitude?,
            name: place.name.clone().filter(|name| !name.is_empty()),
            address: place.address.clone().filter(|address| !address.is_empty()),
        });
    }
    let one = base.contact_message.as_option();
    if let Some(array) = base.contacts_array_message.as_option() {
        return Some(Body::Contact {
            contacts: array.contacts.iter().map(contact).collect(),
        });
    }
    if let Some(one) = one {
        return Some(Body::Contact {
            contacts: vec![contact(one)],
        });
    }
    poll(base).map(|poll| Body::Poll {
        question: poll.name.clone().unwrap_or_default(),
        options: poll
            .options
            .iter()
            .map(|option| option.option_name.clone().unwrap_or_default())
            .collect(),
        selectable_count: poll.selectable_options_count.unwrap_or_default(),
    })
}

fn contact(card: &wa::message::ContactMessage) -> Contact {
    Contact {
        name: card.display_name.clone().unwrap_or_default(),
        phones: vcard::phones(card.vcard.as_deref().unwrap_or_default()),
    }
}

fn poll(base: &wa::Message) -> Option<&wa::message::PollCreationMessage> {
    base.poll_creation_message
        .as_option()
        .or(base.poll_creation_message_v2.as_option())
        .or(base.poll_creation_message_v3.as_option())
        .or(base.poll_creation_message_v5.as_option())
        .or(base.poll_creation_message_v6.as_option())
}

/// What a message answers and whom it mentions, wherever its kind keeps that.
fn context(base: &wa::Message) -> Option<&wa::ContextInfo> {
    macro_rules! first_context {
        ($($field:ident),+ $(,)?) => {
            $(if let Some(content) = base.$field.as_option() { return content.context_info.as_option(); })+
        };
    }
    first_context!(
        extended_text_message,
        image_message,
        video_message,
        ptv_message,
        audio_message,
        document_message,
        sticker_message,
        location_message,
        live_location_message,
        contact_message,
        contacts_array_message,
        group_invite_message,
    );
    poll(base)?.context_info.as_option()
}

/// The message to send; `None` when it has no body that can be sent (a settled row, a kind that is only received).
pub(in crate::engine) fn outbound(row: &Outbound) -> Option<wa::Message> {
    let Some(Body::Text { text }) = &row.body else {
        return None;
    };
    if row.reply_to.is_none() && row.mentions.is_empty() {
        return Some(wa::Message::text(text.as_str()));
    }
    let mut context = wa::ContextInfo {
        mentioned_jid: row.mentions.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    if let Some(reply_to) = &row.reply_to {
        context.stanza_id = Some(reply_to.as_str().to_owned());
        // Who wrote the quoted message is not kept; in a direct chat it is nearly always the other one. Phones find
        // the quoted message by its id.
        if row.to.phone_number().is_some() || row.to.server() == crate::domain::address::Server::Lid {
            context.participant = Some(address::to_jid(&row.to).to_string());
        }
        context.quoted_message = whatsapp_rust::prelude::MessageField::some(wa::Message::text(""));
    }
    Some(wa::Message::text_with_context(text.as_str(), context))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::domain::id::InstanceId;
    use crate::domain::message::OutboundState;
    use whatsapp_rust::prelude::MessageField;

    fn row(text: &str) -> Outbound {
        Outbound {
            message_id: MessageId::from_wire("3EB0AA"),
            instance_id: InstanceId::from_u128(1),
            to: Address::parse("5511999990001").unwrap(),
            body: Some(Body::Text { text: text.into() }),
            reply_to: None,
            mentions: Vec::new(),
            client_ref: None,
            request_id: None,
            state: OutboundState::Queued,
            attempts: 0,
            sequence: 0,
            due_at: Some(Timestamp::EPOCH),
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
            error: None,
        }
    }

    fn text_of(content: &Content) -> &str {
        match &content.body {
            Body::Text { text } => text,
            other => panic!("{other:?}"),
        }
    }

    fn content(message: &wa::Message) -> Option<Content> {
        match said(message)? {
            Said::New(content) => Some(content),
            other => panic!("{other:?}"),
        }
    }

    fn protocol(kind: wa::message::protocol_message::Type, id: Option<&str>, new: Option<&str>) -> wa::Message {
        wa::Message {
            protocol_message: MessageField::some(wa::message::ProtocolMessage {
                r#type: Some(kind),
                key: MessageField::some(wa::MessageKey {
                    id: id.map(str::to_owned),
                    ..Default::default()
                }),
                edited_message: new.map_or_else(MessageField::none, |new| MessageField::some(wa::Message::text(new))),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn a_plain_text_goes_there_and_back() {
        let message = outbound(&row("olá 👋\nsecond line")).unwrap();
        assert_eq!(text_of(&content(&message).unwrap()), "olá 👋\nsecond line");
    }

    #[test]
    fn a_reply_with_mentions_keeps_both() {
        let mut row = row("@you hello");
        row.reply_to = Some(MessageId::from_wire("3EB0QUOTED"));
        row.mentions = vec![Address::parse("5511999990002").unwrap()];
        let content = content(&outbound(&row).unwrap()).unwrap();
        assert_eq!(text_of(&content), "@you hello");
        assert_eq!(content.reply_to, row.reply_to);
        assert_eq!(content.mentions, row.mentions);
    }

    #[test]
    fn a_copy_of_what_the_phone_sent_is_read_through_its_wrapper() {
        let message = wa::Message {
            device_sent_message: MessageField::some(wa::message::DeviceSentMessage {
                destination_jid: Some("5511999990001@s.whatsapp.net".into()),
                message: MessageField::some(wa::Message::text("typed on the phone")),
                ..Default::default()
            }),
            ..Default::default()
        };
        assert_eq!(text_of(&content(&message).unwrap()), "typed on the phone");
    }

    #[test]
    fn a_disappearing_text_is_read_through_its_wrapper() {
        let message = wa::Message {
            ephemeral_message: MessageField::some(wa::message::FutureProofMessage {
                message: MessageField::some(wa::Message::text("gone soon")),
            }),
            ..Default::default()
        };
        assert_eq!(text_of(&content(&message).unwrap()), "gone soon");
    }

    #[test]
    fn a_kind_that_is_not_known_yet_is_named_and_not_dropped() {
        let message = wa::Message {
            image_message: MessageField::some(wa::message::ImageMessage::default()),
            ..Default::default()
        };
        let kind = "imageMessage".to_owned();
        assert_eq!(content(&message).unwrap().body, Body::Unsupported { kind });
    }

    #[test]
    fn housekeeping_and_bare_keys_are_no_messages() {
        use wa::message::protocol_message::Type;
        let keys = wa::Message {
            sender_key_distribution_message: MessageField::some(wa::message::SenderKeyDistributionMessage::default()),
            ..Default::default()
        };
        for message in [protocol(Type::EPHEMERAL_SETTING, None, None), keys] {
            assert_eq!(said(&message), None);
        }
    }

    #[test]
    fn keys_beside_a_message_do_not_hide_it() {
        let message = wa::Message {
            sender_key_distribution_message: MessageField::some(wa::message::SenderKeyDistributionMessage::default()),
            sticker_message: MessageField::some(wa::message::StickerMessage::default()),
            ..Default::default()
        };
        let kind = "stickerMessage".to_owned();
        assert_eq!(content(&message).unwrap().body, Body::Unsupported { kind });
    }

    #[test]
    fn a_message_of_fields_from_the_future_is_unknown_and_not_dropped() {
        let kind = "unknown".to_owned();
        assert_eq!(
            content(&wa::Message::default()).unwrap().body,
            Body::Unsupported { kind }
        );
    }

    #[test]
    fn edits_and_revokes_name_the_message_they_are_about() {
        use wa::message::protocol_message::Type;
        let of = MessageId::from_wire("3EB0AA");
        let edit = protocol(Type::MESSAGE_EDIT, Some("3EB0AA"), Some("new"));
        let wrapped = wa::Message {
            edited_message: MessageField::some(wa::message::FutureProofMessage {
                message: MessageField::some(edit.clone()),
            }),
            ..Default::default()
        };
        for message in [edit, wrapped] {
            let Some(Said::Edit { of: target, content }) = said(&message) else {
                panic!("no edit");
            };
            assert_eq!((target, text_of(&content)), (of.clone(), "new"));
        }
        assert_eq!(
            said(&protocol(Type::REVOKE, Some("3EB0AA"), None)),
            Some(Said::Revoke { of })
        );
    }

    #[test]
    fn an_edit_or_revoke_of_nothing_is_named_and_not_dropped() {
        use wa::message::protocol_message::Type;
        let kind = "protocolMessage".to_owned();
        let body = Body::Unsupported { kind };
        for message in [
            protocol(Type::REVOKE, None, None),
            protocol(Type::MESSAGE_EDIT, None, Some("new")),
            protocol(Type::MESSAGE_EDIT, Some("3EB0AA"), None),
        ] {
            assert_eq!(content(&message).unwrap().body, body);
        }
    }

    #[test]
    fn a_settled_row_cannot_be_sent_again() {
        let mut row = row("x");
        row.body = None;
        assert_eq!(outbound(&row), None);
    }
}
