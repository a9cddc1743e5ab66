//! The media servers: what clients upload and download, sealed so that nothing here can read it.
//!
//! A medium is stored under the hash of its sealed bytes, which is also the token that clients put into the address.
//! What the world knows of it (its address, whose it is, whether it is gone) is in the journal; the bytes are on the
//! [`shelf`], outside the world's lock. Addresses look as the real ones do: `/v/…enc?ccb=…&oh=…&oe=…`, signed and
//! with an end, so that a client that loses the query is refused here too.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::account::{DeviceAddress, key};
use crate::clock::unix_seconds;
use crate::state::Records;
use crate::world::World;

mod door;
mod download;
pub(crate) mod shelf;
mod upload;

pub(crate) use door::{Body, answer, is_media, whole_body};

use shelf::{Hash, Shelf};

/// The largest sealed medium.
pub(crate) const LARGEST: u64 = 128 * 1024 * 1024;
/// All media together on disk, and in memory; the oldest make room.
const ROOM_ON_DISK: u64 = 4 * 1024 * 1024 * 1024;
const ROOM_IN_MEMORY: u64 = 512 * 1024 * 1024;
/// As many addresses are kept.
const MOST_ITEMS: usize = 20_000;
/// How long an address is good for; the real ones last about as long.
const LIFETIME: u64 = 30 * 24 * 3600;
/// How long clients may use what `media_conn` gave them.
pub(crate) const AUTH_LIFETIME: u64 = 6 * 3600;

/// All media that the servers know.
pub(crate) struct Library {
    /// The bytes.
    pub(crate) shelf: Shelf,
    /// Where clients reach the media servers: `127.0.0.1:PORT`.
    pub(crate) host: String,
    secret: [u8; 32],
    items: BTreeMap<String, Item>,
    bytes: u64,
    last: u64,
}

/// One address and what is behind it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    /// The hash of the sealed bytes.
    #[serde(with = "shelf::as_text")]
    pub(crate) hash: Hash,
    /// Sealed bytes.
    pub(crate) size: u64,
    /// What the uploader called it: `image`, `md-msg-hist` and so on.
    kind: String,
    /// Whose it is.
    by: String,
    made_at: u64,
    /// Age, for making room.
    place: u64,
    /// The server has let go of it; the phone that sent it still has its own copy.
    #[serde(default)]
    gone: bool,
}

/// Where a stored medium is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) direct_path: String,
}

/// What an address leads to.
pub(crate) enum Found {
    Item(Item),
    Unknown,
    Gone,
    /// The signature is not ours.
    Forged,
    /// The signature is ours and too old.
    Expired,
}

impl Library {
    /// The media of a state folder; `seed` is a secret of this server.
    pub(crate) fn restore(records: &Records, shelf: Shelf, seed: &[u8]) -> Result<Self> {
        let mut secret = [0; 32];
        Hkdf::<Sha256>::new(None, seed)
            .expand(b"simulator media addresses", &mut secret)
            .ok()
            .context("no secret for media addresses")?;
        let mut library = Self {
            shelf,
            host: String::new(),
            secret,
            items: BTreeMap::new(),
            bytes: 0,
            last: 0,
        };
        for (name, value) in records
            .range("media/".to_owned()..)
            .take_while(|(name, _)| name.starts_with("media/"))
        {
            let item: Item =
                serde_json::from_slice(value).with_context(|| format!("record {name} of the state folder"))?;
            library.bytes += item.size;
            library.last = library.last.max(item.place);
            library.items.insert(name["media/".len()..].to_owned(), item);
        }
        let known = library.items.values().map(|item| item.hash).collect();
        library.shelf.tidy(&known)?;
        Ok(library)
    }

    /// How many addresses there are, and their sealed bytes.
    pub(crate) fn size(&self) -> (usize, u64) {
        (self.items.len(), self.bytes)
    }

    fn sign(&self, text: &str) -> String {
        // An HMAC takes a key of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).unwrap_or_else(|_| unreachable!());
        mac.update(text.as_bytes());
        hex::encode(&mac.finalize().into_bytes()[..16])
    }

    fn place(&self, name: &str, item: &Item) -> Place {
        let path = path_of(name, &item.kind);
        let ends = format!("{:X}", item.made_at + LIFETIME);
        let signature = self.sign(&format!("{path} {ends}"));
        let direct_path = format!("{path}?ccb=11-4&oh={signature}&oe={ends}&_nc_sid=5e03e0");
        Place {
            url: format!("https://{}{direct_path}&mms3=true", self.host),
            direct_path,
        }
    }

    /// Looks an address up by its path and query.
    pub(crate) fn find(&self, path: &str, query: &str) -> Found {
        let Some((name, item)) = name_in(path).and_then(|name| self.items.get_key_value(name)) else {
            return Found::Unknown;
        };
        let ends = parameter(query, "oe").unwrap_or_default();
        let signed = self.sign(&format!("{path} {ends}"));
        if path != path_of(name, &item.kind) || parameter(query, "oh") != Some(&signed) {
            return Found::Forged;
        }
        if u64::from_str_radix(ends, 16).is_ok_and(|ends| ends < unix_seconds()) {
            return Found::Expired;
        }
        if item.gone {
            return Found::Gone;
        }
        Found::Item(item.clone())
    }

    /// What a client shows when it uploads: whose it is and until when, signed.
    pub(crate) fn auth(&self, device: &DeviceAddress) -> String {
        let text = format!("{}.{}.{}", device.number, device.device, unix_seconds() + AUTH_LIFETIME);
        BASE64_URL_SAFE_NO_PAD.encode(format!("{text}.{}", self.sign(&text)))
    }

    /// Whose token this is; `None` when it is not ours or too old.
    pub(super) fn authenticate(&self, token: &str) -> Option<DeviceAddress> {
        let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (text, signature) = text.rsplit_once('.')?;
        let mut parts = text.split('.');
        let (number, device, ends) = (parts.next()?, parts.next()?, parts.next()?);
        let fresh = ends.parse::<u64>().is_ok_and(|ends| ends >= unix_seconds());
        let device = device.parse().ok()?;
        (fresh && self.sign(text) == signature).then(|| DeviceAddress::new(number, device))
    }

    fn live(&self, hash: &Hash) -> Option<(&String, &Item)> {
        self.items.iter().find(|(_, item)| item.hash == *hash && !item.gone)
    }

    /// Where a medium with this hash is, if there is one.
    pub(super) fn existing(&self, hash: &Hash) -> Option<Place> {
        self.live(hash).map(|(name, item)| self.place(name, item))
    }
}

impl World {
    /// Gives bytes on the shelf an address; those that have one keep it.
    pub(crate) fn media_arrives(&mut self, by: &str, kind: &str, hash: Hash, size: u64) -> Result<Place> {
        if let Some(place) = self.media.existing(&hash) {
            return Ok(place);
        }
        self.media.last += 1;
        let item = Item {
            hash,
            size,
            kind: kind.to_owned(),
            by: by.to_owned(),
            made_at: unix_seconds(),
            place: self.media.last,
            gone: false,
        };
        let name = format!(
            "{}_{}",
            rand::random_range(10_000_000_u64..100_000_000),
            rand::random::<u64>()
        );
        self.journal.put(key::medium(&name), serde_json::to_vec(&item)?);
        let place = self.media.place(&name, &item);
        self.media.bytes += size;
        self.media.items.insert(name, item);
        self.make_room();
        Ok(place)
    }

    /// The server lets go of a medium; `false` when it knows no such address.
    pub(crate) fn media_ends(&mut self, direct_path: &str) -> Result<bool> {
        let path = direct_path.split('?').next().unwrap_or_default();
        let Some(name) = name_in(path).map(str::to_owned) else {
            return Ok(false);
        };
        let Some(item) = self.media.items.get_mut(&name) else {
            return Ok(false);
        };
        item.gone = true;
        self.journal.put(key::medium(&name), serde_json::to_vec(item)?);
        Ok(true)
    }

    /// Puts a medium that its phone still has back on the servers; `None` when nobody has it any more.
    pub(crate) fn media_returns(&mut self, direct_path: &str) -> Result<Option<Place>> {
        let path = direct_path.split('?').next().unwrap_or_default();
        let Some(item) = name_in(path).and_then(|name| self.media.items.get(name)).cloned() else {
            return Ok(None);
        };
        if self.media.shelf.blob(&item.hash).is_none() {
            return Ok(None);
        }
        self.media_arrives(&item.by, &item.kind, item.hash, item.size).map(Some)
    }

    fn make_room(&mut self) {
        let room = if self.media.shelf.is_on_disk() {
            ROOM_ON_DISK
        } else {
            ROOM_IN_MEMORY
        };
        while self.media.bytes > room || self.media.items.len() > MOST_ITEMS {
            let oldest = self.media.items.iter().min_by_key(|(_, item)| item.place);
            let Some((name, item)) = oldest.map(|(name, item)| (name.clone(), item.clone())) else {
                return;
            };
            self.media.items.remove(&name);
            self.media.bytes -= item.size;
            self.journal.delete(key::medium(&name));
            if !self.media.items.values().any(|other| other.hash == item.hash) {
                self.media.shelf.remove(&item.hash);
            }
        }
    }
}

/// As the real servers sort them.
fn path_of(name: &str, kind: &str) -> String {
    let shelf = match kind {
        "audio" | "ptt" => 7117,
        "video" | "gif" | "ptv" => 7161,
        "document" | "md-msg-hist" | "md-app-state" => 7119,
        _ => 7118,
    };
    format!("/v/t62.{shelf}-24/{name}_n.enc")
}

fn name_in(path: &str) -> Option<&str> {
    path.strip_prefix("/v/")?.rsplit_once('/')?.1.strip_suffix("_n.enc")
}

/// A query parameter; clients append their own with a second question mark (whatsapp-rust `wacore/src/download.rs`).
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split(['&', '?'])
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library() -> Library {
        let mut library = Library::restore(&Records::new(), Shelf::in_memory(), b"seed").unwrap();
        library.host = "127.0.0.1:1".to_owned();
        library
    }

    fn item(made_at: u64) -> Item {
        Item {
            hash: [7; 32],
            size: 1,
            kind: "image".to_owned(),
            by: "5511".to_owned(),
            made_at,
            place: 1,
            gone: false,
        }
    }

    #[test]
    fn an_address_leads_back_and_not_without_its_signature_or_after_its_end() {
        let mut library = library();
        for (name, made_at) in [("fresh", unix_seconds()), ("stale", 1_000_000)] {
            library.items.insert(name.to_owned(), item(made_at));
        }
        let address = |name: &str| library.place(name, &library.items[name]).direct_path;
        let find = |address: &str| {
            let (path, query) = address.split_once('?').unwrap();
            library.find(path, query)
        };
        let fresh = address("fresh");
        assert!(matches!(find(&fresh), Found::Item(_)));
        assert!(matches!(find(&format!("{fresh}?auth=x&token=y")), Found::Item(_)));
        assert!(matches!(find(&address("stale")), Found::Expired));
        assert!(matches!(find(&fresh.replace("oh=", "oh=0")), Found::Forged));
        assert!(matches!(find(&fresh.replace("oe=", "oe=F")), Found::Forged));
        assert!(matches!(find(&fresh.replace("7118", "7119")), Found::Forged));
        assert!(matches!(find("/v/t62.7118-24/other_n.enc?oh=1"), Found::Unknown));
    }

    #[test]
    fn an_upload_token_says_whose_it_is_and_cannot_be_made_up() {
        let library = library();
        let device = DeviceAddress::new("5511999990001", 3);
        let token = library.auth(&device);
        assert_eq!(library.authenticate(&token), Some(device));
        let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(&token).unwrap()).unwrap();
        let forged = text.replace("5511999990001", "5511999990002");
        assert_eq!(library.authenticate(&BASE64_URL_SAFE_NO_PAD.encode(forged)), None);
        let text = "5511999990001.3.1000000";
        let stale = BASE64_URL_SAFE_NO_PAD.encode(format!("{text}.{}", library.sign(text)));
        assert_eq!(library.authenticate(&stale), None);
        assert_eq!(library.authenticate("sim"), None);
    }
}
