//! Messages come wrapped: as a copy of one's own, as disappearing, to be viewed once.

use whatsapp_rust::buffa::MessageField;
use whatsapp_rust::waproto::whatsapp as wa;

/// More layers than any client makes; a message wrapped deeper is somebody's joke.
const MOST_LAYERS: usize = 8;

/// The first wrapper among these that is set.
macro_rules! inside {
    ($message:expr, $($field:ident),+ $(,)?) => {
        $(if let Some(inner) = $message.$field.as_option().and_then(|wrapper| wrapper.message.as_option()) {
            return Some(inner);
        })+
    };
}

fn inside(message: &wa::Message) -> Option<&wa::Message> {
    inside!(
        message,
        device_sent_message,
        ephemeral_message,
        view_once_message,
        view_once_message_v2,
        view_once_message_v2_extension,
        document_with_caption_message,
        group_mentioned_message,
        associated_child_message,
        lottie_sticker_message,
        poll_creation_message_v4,
        edited_message,
    );
    None
}

/// The message inside all wrappers.
pub(crate) fn core(message: &wa::Message) -> &wa::Message {
    let mut layer = message;
    for _ in 0..MOST_LAYERS {
        match inside(layer) {
            Some(inner) => layer = inner,
            None => break,
        }
    }
    layer
}

/// Whether it may be opened only once.
pub(crate) fn view_once(message: &wa::Message) -> bool {
    let mut layer = message;
    for _ in 0..MOST_LAYERS {
        if layer.view_once_message.is_set()
            || layer.view_once_message_v2.is_set()
            || layer.view_once_message_v2_extension.is_set()
        {
            return true;
        }
        match inside(layer) {
            Some(inner) => layer = inner,
            None => break,
        }
    }
    let picture = layer.image_message.as_option().and_then(|image| image.view_once);
    let video = layer.video_message.as_option().and_then(|video| video.view_once);
    let voice = layer.audio_message.as_option().and_then(|audio| audio.view_once);
    [picture, video, voice].contains(&Some(true))
}

/// A question with options, in whichever of its versions.
pub(crate) fn poll(inner: &wa::Message) -> Option<&wa::message::PollCreationMessage> {
    [
        &inner.poll_creation_message,
        &inner.poll_creation_message_v2,
        &inner.poll_creation_message_v3,
        &inner.poll_creation_message_v5,
        &inner.poll_creation_message_v6,
    ]
    .into_iter()
    .find_map(MessageField::as_option)
}

/// Whether it is a question with options.
pub(crate) fn is_poll(inner: &wa::Message) -> bool {
    poll(inner).is_some()
}

/// The secret that reactions, votes and edits of a message are sealed with; it stands outside or inside the wrappers.
pub(crate) fn secret(message: &wa::Message) -> Option<&[u8]> {
    let of = |layer: &'_ wa::Message| {
        layer
            .message_context_info
            .as_option()?
            .message_secret
            .as_ref()
            .map(Vec::len)
    };
    let mut layer = message;
    for _ in 0..MOST_LAYERS {
        if of(layer).is_some() {
            break;
        }
        layer = inside(layer)?;
    }
    layer.message_context_info.as_option()?.message_secret.as_deref()
}

/// The kinds that carry what they answer and whom they mention.
macro_rules! kinds_with_context {
    ($visit:ident) => {
        $visit!(
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
            poll_creation_message,
            poll_creation_message_v2,
            poll_creation_message_v3,
            group_invite_message,
        )
    };
}

/// What a message answers and whom it mentions.
pub(crate) fn context(inner: &wa::Message) -> Option<&wa::ContextInfo> {
    macro_rules! read {
        ($($field:ident),+ $(,)?) => {
            $(if let Some(content) = inner.$field.as_option() { return content.context_info.as_option(); })+
        };
    }
    kinds_with_context!(read);
    None
}

/// Puts what it answers and whom it mentions on a message; a plain text becomes the kind of text that can carry it.
pub(crate) fn set_context(inner: &mut wa::Message, context: wa::ContextInfo) {
    if let Some(text) = inner.conversation.take() {
        inner.extended_text_message = MessageField::some(wa::message::ExtendedTextMessage {
            text: Some(text),
            ..Default::default()
        });
    }
    macro_rules! write {
        ($($field:ident),+ $(,)?) => {
            $(if let Some(content) = inner.$field.as_option_mut() {
                content.context_info = MessageField::some(context);
                return;
            })+
        };
    }
    kinds_with_context!(write);
}
