//! What a message says, as the admin interface shows it.

use serde::{Deserialize, Serialize};
use whatsapp_rust::waproto::whatsapp as wa;

use crate::phone::draft::Contact;
use crate::phone::media::ShownMedium;
use crate::phone::unwrap::{context, core, poll, view_once};

/// The readable side of a message; only what its kind has is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Contents {
    /// The kind, named as in the gateway's API; `unknown` for what phones here cannot show.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
    /// The text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// The text under a picture, a video or a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) caption: Option<String>,
    /// The message it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reply_to: Option<String>,
    /// Who is mentioned: numbers, or addresses of those who are not on WhatsApp.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) mentions: Vec<String>,
    /// A reaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reaction: Option<Reaction>,
    /// A new text for an earlier message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) edit: Option<Edit>,
    /// The id of a message that is taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revokes: Option<String>,
    /// A poll.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) poll: Option<Poll>,
    /// A vote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vote: Option<Vote>,
    /// A place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<Location>,
    /// A picture, sound or file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) media: Option<ShownMedium>,
    /// Contacts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) contacts: Vec<Contact>,
    /// Whether it may be opened only once.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) view_once: bool,
    /// When it disappears.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ephemeral_seconds: Option<u32>,
    /// Whether its author has changed it since.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) edited: bool,
    /// Whether its author has taken it back since; then nothing of it is left to see.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) revoked: bool,
}

/// A reaction to an earlier message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reaction {
    /// The id of the message.
    pub(crate) to: String,
    /// The emoji; empty when an earlier reaction is taken away.
    pub(crate) emoji: String,
}

/// A new text for an earlier message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Edit {
    /// The id of the message.
    pub(crate) to: String,
    /// What it says now.
    pub(crate) text: String,
    /// Whether it came sealed with the message's secret.
    pub(crate) sealed: bool,
}

/// A question with options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Poll {
    /// The question.
    pub(crate) question: String,
    /// What can be chosen.
    pub(crate) options: Vec<String>,
    /// How many at once; 0 is any number.
    pub(crate) selectable_count: u32,
}

/// An answer to a poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Vote {
    /// The id of the poll.
    pub(crate) poll: String,
    /// What was chosen; empty when an earlier vote is taken away.
    pub(crate) options: Vec<String>,
}

/// A place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Location {
    /// Degrees north.
    pub(crate) latitude: f64,
    /// Degrees east.
    pub(crate) longitude: f64,
    /// What the place is called.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) name: Option<String>,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) address: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Contents {
    /// Reads what stands in a message by itself; what it adds to another one is judged where both are known.
    ///
    /// `name` turns an address into the number that the admin interface knows.
    pub(crate) fn of(message: &wa::Message, name: impl Fn(&str) -> String) -> Self {
        let inner = core(message);
        let context = context(inner);
        Self {
            kind: kind(inner).to_owned(),
            text: text_of(inner),
            caption: caption(inner),
            reply_to: context.and_then(|context| context.stanza_id.clone()),
            mentions: context
                .map(|context| context.mentioned_jid.iter().map(|jid| name(jid)).collect())
                .unwrap_or_default(),
            poll: poll(inner).map(|poll| Poll {
                question: poll.name.clone().unwrap_or_default(),
                options: poll
                    .options
                    .iter()
                    .map(|option| option.option_name.clone().unwrap_or_default())
                    .collect(),
                selectable_count: poll.selectable_options_count.unwrap_or_default(),
            }),
            contacts: contacts(inner),
            location: location(inner),
            view_once: view_once(message),
            ephemeral_seconds: context
                .and_then(|context| context.expiration)
                .filter(|seconds| *seconds > 0),
            ..Self::default()
        }
    }

    /// What is left of a message that was taken back.
    pub(crate) fn take_back(&mut self) {
        *self = Self {
            kind: std::mem::take(&mut self.kind),
            revoked: true,
            ..Self::default()
        };
    }

    /// Puts a new text where the old one stood.
    pub(crate) fn change_text(&mut self, text: String) {
        let place = if matches!(self.kind.as_str(), "image" | "video" | "document") {
            &mut self.caption
        } else {
            &mut self.text
        };
        *place = Some(text);
        self.edited = true;
    }
}

/// The first of these that is set names the kind.
macro_rules! first_kind {
    ($message:expr, $($field:ident => $name:literal),+ $(,)?) => {
        $(if $message.$field.is_set() { return $name; })+
    };
}

fn kind(inner: &wa::Message) -> &'static str {
    if text_of(inner).is_some() {
        return "text";
    }
    if poll(inner).is_some() {
        return "poll";
    }
    first_kind!(
        inner,
        image_message => "image",
        video_message => "video",
        ptv_message => "video",
        audio_message => "audio",
        document_message => "document",
        sticker_message => "sticker",
        location_message => "location",
        live_location_message => "location",
        contact_message => "contact",
        contacts_array_message => "contact",
        reaction_message => "reaction",
        poll_update_message => "vote",
    );
    "unknown"
}

/// The text of a message, whichever of the two fields carries it.
pub(crate) fn text_of(inner: &wa::Message) -> Option<String> {
    let extended = || inner.extended_text_message.as_option()?.text.clone();
    inner.conversation.clone().or_else(extended)
}

/// The text under a picture, a video or a file.
pub(crate) fn caption(inner: &wa::Message) -> Option<String> {
    let picture = || inner.image_message.as_option()?.caption.clone();
    let video = || inner.video_message.as_option()?.caption.clone();
    let file = || inner.document_message.as_option()?.caption.clone();
    picture()
        .or_else(video)
        .or_else(file)
        .filter(|caption| !caption.is_empty())
}

fn location(inner: &wa::Message) -> Option<Location> {
    if let Some(live) = inner.live_location_message.as_option() {
        return Some(Location {
            latitude: live.degrees_latitude.unwrap_or_default(),
            longitude: live.degrees_longitude.unwrap_or_default(),
            name: live.caption.clone(),
            address: None,
        });
    }
    let place = inner.location_message.as_option()?;
    Some(Location {
        latitude: place.degrees_latitude.unwrap_or_default(),
        longitude: place.degrees_longitude.unwrap_or_default(),
        name: place.name.clone(),
        address: place.address.clone(),
    })
}

fn contacts(inner: &wa::Message) -> Vec<Contact> {
    let one = inner.contact_message.as_option().into_iter();
    let many = inner.contacts_array_message.as_option();
    one.chain(many.into_iter().flat_map(|array| &array.contacts))
        .map(|card| Contact {
            name: card.display_name.clone().unwrap_or_default(),
            phones: phones(card.vcard.as_deref().unwrap_or_default()),
        })
        .collect()
}

/// The numbers of a vCard: everything behind the colon of its TEL lines, also of grouped ones (`item1.TEL`).
fn phones(vcard: &str) -> Vec<String> {
    vcard
        .lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let name = name.split(';').next()?.rsplit('.').next()?;
            name.eq_ignore_ascii_case("TEL").then(|| value.trim().to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_vcard_are_found_however_it_is_written() {
        let card = "BEGIN:VCARD\r\nFN:A\r\nitem1.TEL;waid=5511:+55 11\r\ntel:123\r\nEMAIL:tel@x\r\nEND:VCARD";
        assert_eq!(phones(card), ["+55 11", "123"]);
    }
}
