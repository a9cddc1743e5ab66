//! The codes and ciphers of app state, from the bare primitives, so that the phone does not check a client with the
//! client's own code.
//!
//! Layouts: whatsapp-rust `wacore-appstate` (`keys.rs`, `hash.rs`, `encode.rs`), Baileys `Utils/chat-utils`, zapo-js
//! `appstate/WaAppStateCrypto`.

use aes::Aes256;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Sha256, Sha512};
use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::syncd_mutation::SyncdOperation;

/// Bytes of every code.
pub(crate) const MAC: usize = 32;
const IV: usize = 16;
/// Bytes of the sum over a collection.
const SUM: usize = 128;

/// Why something in app state is not believed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Bad {
    #[error("it is not a protobuf message of the right kind")]
    Shape,
    #[error("it lacks {0}")]
    Lacks(&'static str),
    #[error("it names the key {0}, which this phone has never shared")]
    UnknownKey(String),
    #[error("an operation is neither SET nor REMOVE")]
    Operation,
    #[error("a value is too short to hold an IV, a block and a code")]
    Short,
    #[error("the code over a value is wrong")]
    ValueMac,
    #[error("a value cannot be decrypted")]
    Cipher,
    #[error("the code over an index is wrong")]
    IndexMac,
    #[error("an index is not a JSON array of texts")]
    Index,
    #[error("the code over the patch is wrong")]
    PatchMac,
    #[error("the code over the whole collection is wrong")]
    SnapshotMac,
    #[error("it has version {got} where {expected} must follow")]
    Version { got: u64, expected: u64 },
    #[error("one index is changed twice")]
    Twice,
}

/// The five keys that one shared key stands for.
pub(crate) struct Keys {
    index: [u8; 32],
    value: [u8; 32],
    value_mac: [u8; 32],
    snapshot_mac: [u8; 32],
    patch_mac: [u8; 32],
}

impl Keys {
    /// Expands a shared key.
    pub(crate) fn expand(data: &[u8]) -> Self {
        let mut all = [[0; 32]; 5];
        Hkdf::<Sha256>::new(None, data)
            .expand(b"WhatsApp Mutation Keys", all.as_flattened_mut())
            .unwrap_or_else(|_| unreachable!("HKDF gives up to 8160 bytes"));
        let [index, value, value_mac, snapshot_mac, patch_mac] = all;
        Self {
            index,
            value,
            value_mac,
            snapshot_mac,
            patch_mac,
        }
    }

    /// The code that stands for an index.
    pub(crate) fn index_mac(&self, index: &[u8]) -> [u8; MAC] {
        hmac(&self.index, &[index])
    }

    /// The code over a whole collection at a version.
    pub(crate) fn snapshot_mac(&self, sum: &Sum, version: u64, collection: &str) -> [u8; MAC] {
        hmac(
            &self.snapshot_mac,
            &[&sum.0, &version.to_be_bytes(), collection.as_bytes()],
        )
    }

    /// The code over a patch: over the collection's code after it, then over its values' codes.
    pub(crate) fn patch_mac(&self, patch: &wa::SyncdPatch, version: u64, collection: &str) -> [u8; MAC] {
        let version = version.to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![patch.snapshot_mac.as_deref().unwrap_or_default()];
        parts.extend(
            patch
                .mutations
                .iter()
                .filter_map(|mutation| value_mac(mutation.record.as_option()?)),
        );
        parts.extend([&version[..], collection.as_bytes()]);
        hmac(&self.patch_mac, &parts)
    }

    fn value_mac(&self, operation: SyncdOperation, key: &[u8], sealed: &[u8]) -> [u8; MAC] {
        let length = u64::try_from(key.len() + 1).unwrap_or_default();
        let mut mac =
            Hmac::<Sha512>::new_from_slice(&self.value_mac).unwrap_or_else(|_| unreachable!("HMAC takes any key"));
        mac.update(&[if operation == SyncdOperation::SET { 1 } else { 2 }]);
        mac.update(key);
        mac.update(sealed);
        mac.update(&length.to_be_bytes());
        let mut code = [0; MAC];
        code.copy_from_slice(&mac.finalize().into_bytes()[..MAC]);
        code
    }

    /// Seals one change; `key` is the id under which the companions know these keys.
    pub(crate) fn seal(
        &self,
        operation: SyncdOperation,
        key: &[u8],
        iv: [u8; IV],
        data: &wa::SyncActionData,
    ) -> wa::SyncdMutation {
        let mut sealed = iv.to_vec();
        sealed.extend(
            cbc::Encryptor::<Aes256>::new(&self.value.into(), &iv.into())
                .encrypt_padded_vec::<Pkcs7>(&data.encode_to_vec()),
        );
        sealed.extend(self.value_mac(operation, key, &sealed));
        let index = self.index_mac(data.index.as_deref().unwrap_or_default());
        wa::SyncdMutation {
            operation: Some(operation.into()),
            record: MessageField::some(wa::SyncdRecord {
                index: MessageField::some(wa::SyncdIndex {
                    blob: Some(index.to_vec()),
                }),
                value: MessageField::some(wa::SyncdValue { blob: Some(sealed) }),
                key_id: MessageField::some(wa::KeyId { id: Some(key.to_vec()) }),
            }),
        }
    }

    /// Opens a record after checking both of its codes.
    pub(crate) fn open(&self, operation: SyncdOperation, record: &wa::SyncdRecord) -> Result<wa::SyncActionData, Bad> {
        let blob = record.value.blob.as_deref().ok_or(Bad::Lacks("a value"))?;
        let key = record.key_id.id.as_deref().ok_or(Bad::Lacks("a key id"))?;
        if blob.len() < IV + IV + MAC {
            return Err(Bad::Short);
        }
        let (sealed, code) = blob.split_at(blob.len() - MAC);
        if self.value_mac(operation, key, sealed) != code {
            return Err(Bad::ValueMac);
        }
        let (iv, cipher) = sealed.split_at(IV);
        let plain = cbc::Decryptor::<Aes256>::new_from_slices(&self.value, iv)
            .map_err(|_| Bad::Cipher)?
            .decrypt_padded_vec::<Pkcs7>(cipher)
            .map_err(|_| Bad::Cipher)?;
        let data = wa::SyncActionData::decode_from_slice(&plain).map_err(|_| Bad::Shape)?;
        let index = self.index_mac(data.index.as_deref().unwrap_or_default());
        if record.index.blob.as_deref() != Some(&index) {
            return Err(Bad::IndexMac);
        }
        Ok(data)
    }
}

/// The code at the end of a record's value.
pub(crate) fn value_mac(record: &wa::SyncdRecord) -> Option<&[u8]> {
    let blob = record.value.blob.as_deref()?;
    blob.len().checked_sub(MAC).map(|start| &blob[start..])
}

/// The sum over all values of a collection: order does not matter, and what was added can be taken away again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sum([u8; SUM]);

impl Default for Sum {
    fn default() -> Self {
        Self([0; SUM])
    }
}

impl Sum {
    /// Adds a value's code.
    pub(crate) fn add(&mut self, code: &[u8]) {
        self.mix(code, u16::wrapping_add);
    }

    /// Takes a value's code away.
    pub(crate) fn subtract(&mut self, code: &[u8]) {
        self.mix(code, u16::wrapping_sub);
    }

    fn mix(&mut self, code: &[u8], operation: impl Fn(u16, u16) -> u16) {
        let mut spread = [0; SUM];
        Hkdf::<Sha256>::new(None, code)
            .expand(b"WhatsApp Patch Integrity", &mut spread)
            .unwrap_or_else(|_| unreachable!("HKDF gives up to 8160 bytes"));
        // The lanes are little-endian, whatever the machine.
        for (lane, other) in self.0.as_chunks_mut::<2>().0.iter_mut().zip(spread.as_chunks::<2>().0) {
            *lane = operation(u16::from_le_bytes(*lane), u16::from_le_bytes(*other)).to_le_bytes();
        }
    }
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; MAC] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes any key"));
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
