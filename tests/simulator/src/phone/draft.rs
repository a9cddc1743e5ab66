//! What a caller wants a phone to send, as JSON: read strictly, so that a typing error is a refusal and no silence.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::account::Form;
use crate::phone::attach::Attachment;
use crate::phone::chat::Chat;

/// The longest text, as on the real network.
pub(crate) const TEXT_LIMIT: usize = 65_536;
/// The longest question, option, name or address.
const LINE_LIMIT: usize = 1_000;
/// The longest emoji: families with skin tones are long.
const EMOJI_LIMIT: usize = 64;
/// As many contacts as a phone lets one send at once.
const MOST_CONTACTS: usize = 257;
/// Options of a poll.
const POLL_OPTIONS: std::ops::RangeInclusive<usize> = 2..=12;
/// The fields that every kind may have; the others belong to the kind.
const HEAD: &[&str] = &[
    "from",
    "to",
    "lid",
    "reply_to",
    "mentions",
    "ephemeral_seconds",
    "forged",
];

/// A message somebody wants sent.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The number of the phone that sends.
    pub(crate) from: String,
    /// Where to.
    pub(crate) to: Chat,
    /// By number or by LID.
    pub(crate) form: Form,
    /// The id of the message it answers.
    pub(crate) reply_to: Option<String>,
    /// The numbers it mentions.
    pub(crate) mentions: Vec<String>,
    /// When it disappears.
    pub(crate) ephemeral_seconds: Option<u32>,
    /// Send even what an honest phone would not: an edit of somebody else's message for example.
    pub(crate) forged: bool,
    /// What it says.
    pub(crate) content: Content,
    /// The file that the content names, sealed.
    pub(crate) attachment: Option<Attachment>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    from: String,
    to: String,
    #[serde(default)]
    lid: bool,
    reply_to: Option<String>,
    #[serde(default)]
    mentions: Vec<String>,
    ephemeral_seconds: Option<u32>,
    #[serde(default)]
    forged: bool,
}

/// The kinds a phone can send, with their own fields; named as in the gateway's API where it has them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Content {
    /// Plain text.
    Text {
        /// What it says.
        text: String,
    },
    /// A new text for a message sent before.
    Edit {
        /// Which message.
        message_id: String,
        /// What it says now.
        text: String,
        /// Sealed with the secret of the message it changes, as phones began to do in 2026.
        #[serde(default)]
        sealed: bool,
    },
    /// A message taken back for everybody.
    Revoke {
        /// Which message.
        message_id: String,
    },
    /// A reaction; the empty one takes an earlier one away.
    Reaction {
        /// To which message.
        message_id: String,
        /// One emoji or nothing.
        emoji: String,
    },
    /// A question with options.
    Poll {
        /// The question.
        question: String,
        /// What can be chosen.
        options: Vec<String>,
        /// How many may be chosen at once; 0 is any number.
        #[serde(default = "one")]
        selectable_count: u32,
    },
    /// An answer to a poll; without options it takes an earlier one away.
    Vote {
        /// Which poll.
        message_id: String,
        /// The chosen options, as the poll spells them.
        options: Vec<String>,
    },
    /// A place.
    Location {
        /// Degrees north.
        latitude: f64,
        /// Degrees east.
        longitude: f64,
        /// What the place is called.
        name: Option<String>,
        /// Where it is.
        address: Option<String>,
    },
    /// One or several contacts.
    Contact {
        /// The contacts.
        contacts: Vec<Contact>,
    },
    /// A picture.
    Image {
        /// The file; a sample if left out.
        base64: Option<String>,
        /// Its type.
        mime_type: Option<String>,
        /// Words below it.
        caption: Option<String>,
    },
    /// A film.
    Video {
        /// The file.
        base64: Option<String>,
        /// Its type.
        mime_type: Option<String>,
        /// Words below it.
        caption: Option<String>,
        /// How long it is.
        seconds: Option<u32>,
        /// How wide it is.
        width: Option<u32>,
        /// How high it is.
        height: Option<u32>,
    },
    /// Sound.
    Audio {
        /// The file; silence if left out.
        base64: Option<String>,
        /// Its type.
        mime_type: Option<String>,
        /// Spoken into the phone, rather than a file.
        #[serde(default)]
        voice: bool,
        /// How long it is.
        seconds: Option<u32>,
    },
    /// A file.
    Document {
        /// The file; an empty page if left out.
        base64: Option<String>,
        /// Its type.
        mime_type: Option<String>,
        /// What it is called.
        filename: Option<String>,
        /// Words below it.
        caption: Option<String>,
    },
    /// A sticker.
    Sticker {
        /// The file; one transparent pixel if left out.
        base64: Option<String>,
        /// Its type.
        mime_type: Option<String>,
    },
    /// Any other message, as the bytes of its protobuf.
    Raw {
        /// `Message`, in base64.
        message: String,
    },
}

fn one() -> u32 {
    1
}

/// One contact.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contact {
    /// The name.
    pub(crate) name: String,
    /// The numbers, as the owner of the address book wrote them.
    pub(crate) phones: Vec<String>,
}

impl Draft {
    /// Reads a JSON body; the error is a sentence for its writer.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let fields: Map<String, Value> =
            serde_json::from_slice(body).map_err(|error| format!("the body is not a JSON object: {error}"))?;
        let (head, content): (Map<_, _>, Map<_, _>) =
            fields.into_iter().partition(|(name, _)| HEAD.contains(&name.as_str()));
        let head: Head = serde_json::from_value(Value::Object(head)).map_err(|error| format!("the body: {error}"))?;
        let content: Content =
            serde_json::from_value(Value::Object(content)).map_err(|error| format!("the body: {error}"))?;
        let number = |name: &str, value: &str| match Chat::parse(value) {
            Some(Chat::Person(number)) => Ok(number),
            _ => Err(format!(
                "`{name}` must be a phone number of 5 to 15 digits, without + or spaces"
            )),
        };
        let mut draft = Self {
            from: number("from", &head.from)?,
            to: Chat::parse(&head.to)
                .ok_or("`to` must be a phone number in digits, a group's JID or status@broadcast")?,
            form: if head.lid { Form::Lid } else { Form::Number },
            reply_to: head.reply_to,
            mentions: head
                .mentions
                .iter()
                .map(|mention| number("mentions", mention))
                .collect::<Result<_, _>>()?,
            ephemeral_seconds: head.ephemeral_seconds,
            forged: head.forged,
            attachment: None,
            content,
        };
        draft.content.check()?;
        if draft.content.is_addition() && (draft.reply_to.is_some() || !draft.mentions.is_empty()) {
            return Err(
                "this kind can neither answer a message (`reply_to`) nor mention anybody (`mentions`)".to_owned(),
            );
        }
        draft.attachment = Attachment::of(&draft.content)?;
        Ok(draft)
    }

    /// A plain text.
    pub(crate) fn text(from: &str, to: Chat, form: Form, text: &str) -> Self {
        Self {
            from: from.to_owned(),
            to,
            form,
            reply_to: None,
            mentions: Vec::new(),
            ephemeral_seconds: None,
            forged: false,
            content: Content::Text { text: text.to_owned() },
            attachment: None,
        }
    }
}

impl Content {
    /// Whether it says something about another message rather than something of its own.
    pub(crate) fn is_addition(&self) -> bool {
        matches!(
            self,
            Self::Edit { .. } | Self::Revoke { .. } | Self::Reaction { .. } | Self::Vote { .. } | Self::Raw { .. }
        )
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::Text { text } | Self::Edit { text, .. } if text.is_empty() => Err("`text` is empty".to_owned()),
            Self::Text { text } | Self::Edit { text, .. } if text.len() > TEXT_LIMIT => {
                Err(format!("`text` has at most {TEXT_LIMIT} bytes"))
            }
            Self::Reaction { emoji, .. } if emoji.len() > EMOJI_LIMIT => Err("`emoji` must be one emoji".to_owned()),
            Self::Poll {
                question,
                options,
                selectable_count,
            } => check_poll(question, options, *selectable_count),
            Self::Location {
                latitude,
                longitude,
                name,
                address,
            } => {
                if !(-90.0..=90.0).contains(latitude) || !(-180.0..=180.0).contains(longitude) {
                    return Err("`latitude` is between -90 and 90, `longitude` between -180 and 180".to_owned());
                }
                line("name", name.as_deref().unwrap_or("-"))?;
                line("address", address.as_deref().unwrap_or("-"))
            }
            Self::Contact { contacts } => {
                if contacts.is_empty() || contacts.len() > MOST_CONTACTS {
                    return Err(format!("`contacts` has 1 to {MOST_CONTACTS} entries"));
                }
                for contact in contacts {
                    line("name", &contact.name)?;
                    contact.phones.iter().try_for_each(|phone| line("phones", phone))?;
                }
                Ok(())
            }
            Self::Image { caption, .. } | Self::Video { caption, .. } => check_caption(caption.as_deref()),
            Self::Document { caption, filename, .. } => {
                line("filename", filename.as_deref().unwrap_or("-"))?;
                check_caption(caption.as_deref())
            }
            _ => Ok(()),
        }
    }
}

fn check_caption(caption: Option<&str>) -> Result<(), String> {
    if caption.is_some_and(|caption| caption.len() > TEXT_LIMIT) {
        return Err(format!("`caption` has at most {TEXT_LIMIT} bytes"));
    }
    Ok(())
}

fn check_poll(question: &str, options: &[String], selectable: u32) -> Result<(), String> {
    line("question", question)?;
    options.iter().try_for_each(|option| line("options", option))?;
    if !POLL_OPTIONS.contains(&options.len()) {
        return Err("`options` has 2 to 12 entries".to_owned());
    }
    if (1..options.len()).any(|index| options[..index].contains(&options[index])) {
        return Err("`options` must differ from each other".to_owned());
    }
    if usize::try_from(selectable).is_ok_and(|selectable| selectable > options.len()) {
        return Err("`selectable_count` is at most the number of options; 0 is any number".to_owned());
    }
    Ok(())
}

fn line(name: &str, value: &str) -> Result<(), String> {
    if value.is_empty() || value.len() > LINE_LIMIT || value.contains(['\r', '\n']) {
        return Err(format!("`{name}` must be one line of 1 to {LINE_LIMIT} bytes"));
    }
    Ok(())
}
