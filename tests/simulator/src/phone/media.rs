//! How a phone seals and opens media: HKDF, AES-256-CBC and a short HMAC, from the parts of `RustCrypto` alone, so that a
//! mistake of the client library shows here instead of being shared.
//!
//! `key -> HKDF(info of the kind) -> IV 16 | cipher key 32 | MAC key 32 | unused 32`; the sealed bytes are the
//! ciphertext and the first ten bytes of the MAC over IV and ciphertext (Baileys `Utils/messages-media`).

use aes::Aes256;
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use whatsapp_rust::waproto::whatsapp as wa;

use crate::clock::unix_seconds;
use crate::media::Found;
use crate::phone::unwrap::core;
use crate::world::World;

/// Bytes of the MAC behind the ciphertext.
const MAC_LENGTH: usize = 10;
/// Padding and MAC make sealed bytes at most this much longer.
const OVERHEAD: u64 = 16 + MAC_LENGTH as u64;
/// What a phone downloads by itself; larger media its owner has to ask for.
const DOWNLOADED_BY_ITSELF: u64 = 16 * 1024 * 1024;

/// What a medium is, which decides how it is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Medium {
    /// A picture.
    Image,
    /// A film.
    Video,
    /// Sound, voice notes included.
    Audio,
    /// A file.
    Document,
    /// A sticker; sealed like a picture.
    Sticker,
    /// A piece of history for a companion.
    History,
    /// A snapshot or a large patch of app state.
    AppState,
}

impl Medium {
    fn info(self) -> &'static [u8] {
        match self {
            Self::Image | Self::Sticker => b"WhatsApp Image Keys",
            Self::Video => b"WhatsApp Video Keys",
            Self::Audio => b"WhatsApp Audio Keys",
            Self::Document => b"WhatsApp Document Keys",
            Self::History => b"WhatsApp History Keys",
            Self::AppState => b"WhatsApp App State Keys",
        }
    }

    /// What the media servers call it.
    fn path(self) -> &'static str {
        match self {
            Self::Image | Self::Sticker => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Document => "document",
            Self::History => "md-msg-hist",
            Self::AppState => "md-app-state",
        }
    }
}

/// Sealed bytes and what opens them.
pub(crate) struct Sealed {
    medium: Medium,
    key: [u8; 32],
    plain_hash: [u8; 32],
    plain_length: u64,
    bytes: Vec<u8>,
}

/// A medium on the servers, with all that a message says about it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// The whole address.
    pub(crate) url: String,
    /// The address without its host.
    pub(crate) direct_path: String,
    /// What opens it.
    pub(crate) key: Vec<u8>,
    /// When the key was made, in seconds since 1970.
    pub(crate) made_at: i64,
    /// SHA-256 of the content.
    pub(crate) plain_hash: Vec<u8>,
    /// SHA-256 of the sealed bytes.
    pub(crate) sealed_hash: Vec<u8>,
    /// Bytes of the content.
    pub(crate) plain_length: u64,
}

struct Keys {
    iv: [u8; 16],
    cipher: [u8; 32],
    mac: [u8; 32],
}

fn keys(medium: Medium, key: &[u8]) -> Result<Keys> {
    ensure!(key.len() == 32, "a media key has 32 bytes, not {}", key.len());
    let mut expanded = [0; 112];
    Hkdf::<Sha256>::new(None, key)
        .expand(medium.info(), &mut expanded)
        .ok()
        .context("no keys of that length")?;
    Ok(Keys {
        iv: expanded[..16].try_into()?,
        cipher: expanded[16..48].try_into()?,
        mac: expanded[48..80].try_into()?,
    })
}

fn code(keys: &Keys, ciphertext: &[u8]) -> Result<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&keys.mac).context("MAC key")?;
    mac.update(&keys.iv);
    mac.update(ciphertext);
    Ok(mac)
}

/// Seals a medium with a fresh key.
pub(crate) fn seal(medium: Medium, plain: &[u8]) -> Result<Sealed> {
    let key: [u8; 32] = rand::random();
    let keys = keys(medium, &key)?;
    let mut bytes =
        cbc::Encryptor::<Aes256>::new(&keys.cipher.into(), &keys.iv.into()).encrypt_padded_vec::<Pkcs7>(plain);
    let mac = code(&keys, &bytes)?.finalize().into_bytes();
    bytes.extend(&mac[..MAC_LENGTH]);
    Ok(Sealed {
        medium,
        key,
        plain_hash: Sha256::digest(plain).into(),
        plain_length: plain.len() as u64,
        bytes,
    })
}

/// What a message says about a medium; all of it is checked.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) medium: Medium,
    pub(crate) direct_path: String,
    pub(crate) key: Vec<u8>,
    plain_hash: Vec<u8>,
    sealed_hash: Vec<u8>,
    length: Option<u64>,
}

impl Reference {
    /// Opens sealed bytes and checks both hashes, the code, the padding and the length.
    pub(crate) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        ensure!(
            Sha256::digest(sealed)[..] == self.sealed_hash,
            "the downloaded bytes are not those of file_enc_sha256"
        );
        let keys = keys(self.medium, &self.key)?;
        let (ciphertext, mac) = sealed
            .len()
            .checked_sub(MAC_LENGTH)
            .and_then(|end| sealed.split_at_checked(end))
            .context("the medium is too short")?;
        code(&keys, ciphertext)?
            .verify_truncated_left(mac)
            .ok()
            .context("the MAC of the medium is wrong")?;
        let plain = cbc::Decryptor::<Aes256>::new(&keys.cipher.into(), &keys.iv.into())
            .decrypt_padded_vec::<Pkcs7>(ciphertext)
            .ok()
            .context("the padding of the medium is wrong")?;
        ensure!(
            Sha256::digest(&plain)[..] == self.plain_hash,
            "the opened bytes are not those of file_sha256"
        );
        if let Some(length) = self.length {
            ensure!(
                plain.len() as u64 == length,
                "the medium has {} bytes, its message says {length}",
                plain.len()
            );
        }
        Ok(plain)
    }
}

/// The medium of one message.
macro_rules! reference {
    ($part:expr, $medium:expr, $length:ident) => {
        Reference {
            medium: $medium,
            direct_path: $part.direct_path.clone().unwrap_or_default(),
            key: $part.media_key.clone().unwrap_or_default(),
            plain_hash: $part.file_sha256.clone().unwrap_or_default(),
            sealed_hash: $part.file_enc_sha256.clone().unwrap_or_default(),
            length: $part.$length,
        }
    };
}

/// A medium as an inbox shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownMedium {
    /// What it is.
    #[serde(rename = "type")]
    medium: Medium,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
    /// Bytes of the content, as the message says.
    size: Option<u64>,
    /// SHA-256 of the content, in hexadecimal, as the message says.
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    voice: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    /// The bars of a voice note.
    #[serde(skip_serializing_if = "Option::is_none")]
    waveform: Option<Vec<u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    direct_path: String,
    /// Whether the phone has fetched it and found everything as the message says.
    verified: bool,
    /// Why it could not be fetched or what was not as the message says.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl ShownMedium {
    fn new(reference: &Reference, mime_type: Option<&String>, url: Option<&String>) -> Self {
        Self {
            medium: reference.medium,
            mime_type: mime_type.cloned(),
            size: reference.length,
            sha256: hex::encode(&reference.plain_hash),
            file_name: None,
            voice: None,
            seconds: None,
            width: None,
            height: None,
            waveform: None,
            url: url.cloned(),
            direct_path: reference.direct_path.clone(),
            verified: false,
            error: None,
        }
    }

    /// The type its sender gave it.
    pub(crate) fn mime_type(&self) -> Option<&str> {
        self.mime_type.as_deref()
    }
}

/// The medium of a message: how to get it, and how to show it.
pub(crate) fn medium_of(message: &wa::Message) -> Option<(Reference, ShownMedium)> {
    let inner = core(message);
    if let Some(image) = inner.image_message.as_option() {
        let reference = reference!(image, Medium::Image, file_length);
        let shown = ShownMedium {
            width: image.width,
            height: image.height,
            ..ShownMedium::new(&reference, image.mimetype.as_ref(), image.url.as_ref())
        };
        return Some((reference, shown));
    }
    let video = inner.video_message.as_option().or(inner.ptv_message.as_option());
    if let Some(video) = video {
        let reference = reference!(video, Medium::Video, file_length);
        let shown = ShownMedium {
            seconds: video.seconds,
            width: video.width,
            height: video.height,
            ..ShownMedium::new(&reference, video.mimetype.as_ref(), video.url.as_ref())
        };
        return Some((reference, shown));
    }
    if let Some(audio) = inner.audio_message.as_option() {
        let reference = reference!(audio, Medium::Audio, file_length);
        let shown = ShownMedium {
            voice: Some(audio.ptt == Some(true)),
            seconds: audio.seconds,
            waveform: audio.waveform.clone(),
            ..ShownMedium::new(&reference, audio.mimetype.as_ref(), audio.url.as_ref())
        };
        return Some((reference, shown));
    }
    if let Some(document) = inner.document_message.as_option() {
        let reference = reference!(document, Medium::Document, file_length);
        let shown = ShownMedium {
            file_name: document.file_name.clone().or_else(|| document.title.clone()),
            ..ShownMedium::new(&reference, document.mimetype.as_ref(), document.url.as_ref())
        };
        return Some((reference, shown));
    }
    let sticker = inner.sticker_message.as_option()?;
    let reference = reference!(sticker, Medium::Sticker, file_length);
    let shown = ShownMedium {
        width: sticker.width,
        height: sticker.height,
        ..ShownMedium::new(&reference, sticker.mimetype.as_ref(), sticker.url.as_ref())
    };
    Some((reference, shown))
}

/// The piece of history that a message speaks of.
pub(crate) fn history_of(message: &wa::Message) -> Option<Reference> {
    let history = message
        .protocol_message
        .as_option()?
        .history_sync_notification
        .as_option()?;
    history.direct_path.as_ref()?;
    Some(reference!(history, Medium::History, file_length))
}

impl World {
    /// Uploads what a phone has sealed.
    pub(crate) fn phone_uploads(&mut self, number: &str, sealed: &Sealed) -> Result<Stored> {
        let hash = self.media.shelf.put(&sealed.bytes)?;
        let place = self.media_arrives(number, sealed.medium.path(), hash, sealed.bytes.len() as u64)?;
        Ok(Stored {
            url: place.url,
            direct_path: place.direct_path,
            key: sealed.key.to_vec(),
            made_at: i64::try_from(unix_seconds())?,
            plain_hash: sealed.plain_hash.to_vec(),
            sealed_hash: hash.to_vec(),
            plain_length: sealed.plain_length,
        })
    }

    /// The sealed bytes behind an address. Phones do not go through the network: the servers are in the same process.
    pub(crate) fn phone_finds(&self, reference: &Reference) -> Result<crate::media::shelf::Blob> {
        let (path, query) = reference
            .direct_path
            .split_once('?')
            .unwrap_or((&reference.direct_path, ""));
        let item = match self.media.find(path, query) {
            Found::Item(item) => item,
            Found::Unknown => bail!("the media servers know no such address"),
            Found::Gone => bail!("the medium is gone from the media servers"),
            Found::Forged => bail!("the address of the medium has a wrong signature"),
            Found::Expired => bail!("the address of the medium is too old"),
        };
        self.media
            .shelf
            .blob(&item.hash)
            .context("the medium is gone from the media servers")
    }

    /// What an inbox shows of a message's medium, fetched and checked unless it is large.
    pub(crate) fn phone_fetches(&self, message: &wa::Message) -> Option<ShownMedium> {
        let (reference, mut shown) = medium_of(message)?;
        if shown.size.is_some_and(|size| size > DOWNLOADED_BY_ITSELF) {
            return Some(shown);
        }
        let opened = self
            .phone_finds(&reference)
            .and_then(|blob| blob.read(DOWNLOADED_BY_ITSELF + OVERHEAD))
            .and_then(|sealed| reference.open(&sealed));
        match opened {
            Ok(_) => shown.verified = true,
            Err(error) => shown.error = Some(format!("{error:#}")),
        }
        Some(shown)
    }
}

/// Reads and opens a medium; can take a while, so no lock is held.
pub(crate) fn load(blob: crate::media::shelf::Blob, reference: &Reference) -> Result<Bytes> {
    let sealed = blob.read(crate::media::LARGEST)?;
    reference.open(&sealed).map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(sealed: &Sealed) -> Reference {
        Reference {
            medium: sealed.medium,
            direct_path: String::new(),
            key: sealed.key.to_vec(),
            plain_hash: sealed.plain_hash.to_vec(),
            sealed_hash: Sha256::digest(&sealed.bytes).to_vec(),
            length: Some(sealed.plain_length),
        }
    }

    fn refusal(reference: &Reference, sealed: &[u8]) -> String {
        reference.open(sealed).unwrap_err().to_string()
    }

    #[test]
    fn what_is_sealed_opens_for_every_length_around_the_blocks() {
        for length in [0, 1, 15, 16, 17, 31, 32, 33, 1000] {
            let plain = vec![7; length];
            let sealed = seal(Medium::Audio, &plain).unwrap();
            assert_eq!(sealed.bytes.len(), (length / 16 + 1) * 16 + MAC_LENGTH);
            assert_eq!(reference(&sealed).open(&sealed.bytes).unwrap(), plain);
        }
    }

    #[test]
    fn every_wrong_bit_and_number_is_noticed() {
        let sealed = seal(Medium::Image, b"a picture").unwrap();
        let right = reference(&sealed);
        let mut spoilt = sealed.bytes.clone();
        spoilt[3] ^= 1;
        assert!(refusal(&right, &spoilt).contains("file_enc_sha256"));
        let rehashed = Reference {
            sealed_hash: Sha256::digest(&spoilt).to_vec(),
            ..right.clone()
        };
        assert!(refusal(&rehashed, &spoilt).contains("MAC"));
        let as_video = Reference {
            medium: Medium::Video,
            ..right.clone()
        };
        assert!(refusal(&as_video, &sealed.bytes).contains("MAC"));
        let other_content = Reference {
            plain_hash: vec![0; 32],
            ..right.clone()
        };
        assert!(refusal(&other_content, &sealed.bytes).contains("file_sha256"));
        let other_length = Reference {
            length: Some(10),
            ..right.clone()
        };
        assert!(refusal(&other_length, &sealed.bytes).contains("9 bytes"));
        let short_key = Reference {
            key: vec![0; 31],
            ..right
        };
        assert!(refusal(&short_key, &sealed.bytes).contains("32 bytes"));
    }
}
