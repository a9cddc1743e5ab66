//! What a phone attaches to a message: the file is read, sealed and measured before the world is asked for anything.

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use whatsapp_rust::buffa::MessageField;
use whatsapp_rust::waproto::whatsapp as wa;

use crate::phone::draft::Content;
use crate::phone::media::{Medium, Sealed, Stored, seal};
use crate::phone::sample::{sample, sides};

/// The largest file that a caller can give.
pub(crate) const LARGEST_FILE: usize = 32 * 1024 * 1024;
/// Seconds of a sample that nobody has said the length of.
const SAMPLE_SECONDS: u32 = 3;
/// The longest sample.
const LONGEST_SAMPLE: u32 = 600;
/// Bars of a voice note.
const BARS: u8 = 64;

/// A sealed file and what the message will say of it.
pub(crate) struct Attachment {
    sealed: Sealed,
    mime_type: String,
    sides: Option<(u32, u32)>,
    seconds: Option<u32>,
}

impl std::fmt::Debug for Attachment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Attachment")
            .field("mime_type", &self.mime_type)
            .finish_non_exhaustive()
    }
}

impl Attachment {
    /// Reads the file of a draft, if it has one; the error is a sentence for the draft's writer.
    pub(crate) fn of(content: &Content) -> Result<Option<Self>, String> {
        let (medium, base64, mime_type, seconds) = match content {
            Content::Image { base64, mime_type, .. } => (Medium::Image, base64, mime_type, None),
            Content::Video {
                base64,
                mime_type,
                seconds,
                ..
            } => (Medium::Video, base64, mime_type, *seconds),
            Content::Audio {
                base64,
                mime_type,
                seconds,
                ..
            } => (Medium::Audio, base64, mime_type, *seconds),
            Content::Document { base64, mime_type, .. } => (Medium::Document, base64, mime_type, None),
            Content::Sticker { base64, mime_type } => (Medium::Sticker, base64, mime_type, None),
            _ => return Ok(None),
        };
        let failed = |error: anyhow::Error| format!("{error:#}");
        let (bytes, usual_type, seconds) = if let Some(base64) = base64 {
            let bytes = BASE64_STANDARD
                .decode(base64)
                .map_err(|_| "`base64` is not base64".to_owned())?;
            if bytes.is_empty() || bytes.len() > LARGEST_FILE {
                return Err(format!("the file has 1 to {LARGEST_FILE} bytes"));
            }
            (bytes, usual_type(medium), seconds)
        } else {
            let length = seconds.unwrap_or(SAMPLE_SECONDS);
            if length > LONGEST_SAMPLE {
                return Err(format!(
                    "a sample lasts at most {LONGEST_SAMPLE} seconds; give the bytes as `base64`"
                ));
            }
            let (bytes, usual_type) = sample(medium, length).map_err(failed)?;
            (bytes, usual_type, (medium == Medium::Audio).then_some(length))
        };
        Ok(Some(Self {
            sides: sides(&bytes),
            sealed: seal(medium, &bytes).map_err(failed)?,
            mime_type: mime_type.clone().unwrap_or_else(|| usual_type.to_owned()),
            seconds,
        }))
    }

    /// What has to be uploaded.
    pub(crate) fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    /// The message with the uploaded file.
    pub(crate) fn message(&self, content: &Content, stored: Stored) -> wa::Message {
        let (width, height) = self.sides.unzip();
        let mut message = wa::Message::default();
        match content {
            Content::Image { caption, .. } => {
                message.image_message = MessageField::some(wa::message::ImageMessage {
                    url: Some(stored.url),
                    mimetype: Some(self.mime_type.clone()),
                    caption: caption.clone(),
                    file_sha256: Some(stored.plain_hash),
                    file_length: Some(stored.plain_length),
                    height,
                    width,
                    media_key: Some(stored.key),
                    file_enc_sha256: Some(stored.sealed_hash),
                    direct_path: Some(stored.direct_path),
                    media_key_timestamp: Some(stored.made_at),
                    ..Default::default()
                });
            }
            Content::Video {
                caption, width, height, ..
            } => {
                message.video_message = MessageField::some(wa::message::VideoMessage {
                    url: Some(stored.url),
                    mimetype: Some(self.mime_type.clone()),
                    caption: caption.clone(),
                    file_sha256: Some(stored.plain_hash),
                    file_length: Some(stored.plain_length),
                    seconds: self.seconds,
                    height: *height,
                    width: *width,
                    media_key: Some(stored.key),
                    file_enc_sha256: Some(stored.sealed_hash),
                    direct_path: Some(stored.direct_path),
                    media_key_timestamp: Some(stored.made_at),
                    ..Default::default()
                });
            }
            Content::Audio { voice, .. } => {
                message.audio_message = MessageField::some(wa::message::AudioMessage {
                    url: Some(stored.url),
                    mimetype: Some(self.mime_type.clone()),
                    file_sha256: Some(stored.plain_hash),
                    file_length: Some(stored.plain_length),
                    seconds: self.seconds,
                    ptt: Some(*voice),
                    waveform: voice.then(|| (0..BARS).map(|bar| 99 - bar.abs_diff(BARS / 2) * 3).collect()),
                    media_key: Some(stored.key),
                    file_enc_sha256: Some(stored.sealed_hash),
                    direct_path: Some(stored.direct_path),
                    media_key_timestamp: Some(stored.made_at),
                    ..Default::default()
                });
            }
            Content::Document { caption, filename, .. } => {
                let document = wa::message::DocumentMessage {
                    url: Some(stored.url),
                    mimetype: Some(self.mime_type.clone()),
                    title: filename.clone(),
                    file_name: filename.clone(),
                    caption: caption.clone(),
                    file_sha256: Some(stored.plain_hash),
                    file_length: Some(stored.plain_length),
                    media_key: Some(stored.key),
                    file_enc_sha256: Some(stored.sealed_hash),
                    direct_path: Some(stored.direct_path),
                    media_key_timestamp: Some(stored.made_at),
                    ..Default::default()
                };
                message.document_message = MessageField::some(document);
                if caption.is_some() {
                    // Phones wrap a document that has words with it.
                    message = wa::Message {
                        document_with_caption_message: MessageField::some(wa::message::FutureProofMessage {
                            message: MessageField::some(message),
                        }),
                        ..Default::default()
                    };
                }
            }
            Content::Sticker { .. } => {
                message.sticker_message = MessageField::some(wa::message::StickerMessage {
                    url: Some(stored.url),
                    mimetype: Some(self.mime_type.clone()),
                    file_sha256: Some(stored.plain_hash),
                    file_length: Some(stored.plain_length),
                    height,
                    width,
                    media_key: Some(stored.key),
                    file_enc_sha256: Some(stored.sealed_hash),
                    direct_path: Some(stored.direct_path),
                    media_key_timestamp: Some(stored.made_at),
                    ..Default::default()
                });
            }
            _ => {}
        }
        message
    }
}

/// What a file is taken for when nobody says.
fn usual_type(medium: Medium) -> &'static str {
    match medium {
        Medium::Image => "image/jpeg",
        Medium::Video => "video/mp4",
        Medium::Audio => "audio/ogg; codecs=opus",
        Medium::Sticker => "image/webp",
        _ => "application/octet-stream",
    }
}
