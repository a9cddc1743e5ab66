//! Message bodies, both ways.

use whatsapp_rust::prelude::{MessageBuilderExt as _, MessageExt as _, wa};

use super::address;
use crate::domain::address::Address;
use crate::domain::message::{Body, MessageId, Outbound};

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
    );
    None
}

/// What a message says to a person; `None` for protocol messages: keys, history, revokes, edits, settings.
pub(in crate::engine) fn content(message: &wa::Message) -> Option<Content> {
    // An edit arrives as a wrapper around a protocol message; it is no new message.
    if message.edited_message.is_set() {
        return None;
    }
    let base = message.get_base_message();
    if base.protocol_message.is_set() {
        return None;
    }
    if let Some(text) = base.conversation.as_ref().filter(|text| !text.is_empty()) {
        return Some(Content::plain(Body::Text { text: text.clone() }));
    }
    if let Some(extended) = base.extended_text_message.as_option() {
        let text = extended.text.clone().unwrap_or_default();
        let mut content = Content::plain(Body::Text { text });
        if let Some(context) = extended.context_info.as_option() {
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
        return Some(content);
    }
    kind(base).map(|kind| Content::plain(Body::Unsupported { kind: kind.to_owned() }))
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
            Body::Unsupported { kind } => panic!("{kind}"),
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
    fn protocol_messages_edits_and_bare_keys_are_no_messages() {
        let protocol = wa::Message {
            protocol_message: MessageField::some(wa::message::ProtocolMessage::default()),
            ..Default::default()
        };
        let edit = wa::Message {
            edited_message: MessageField::some(wa::message::FutureProofMessage {
                message: MessageField::some(wa::Message::text("new text")),
            }),
            ..Default::default()
        };
        let keys = wa::Message {
            sender_key_distribution_message: MessageField::some(wa::message::SenderKeyDistributionMessage::default()),
            ..Default::default()
        };
        for message in [protocol, edit, keys, wa::Message::default()] {
            assert_eq!(content(&message), None);
        }
    }

    #[test]
    fn a_settled_row_cannot_be_sent_again() {
        let mut row = row("x");
        row.body = None;
        assert_eq!(outbound(&row), None);
    }
}
