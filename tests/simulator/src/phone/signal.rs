//! A phone's end of the Signal protocol: its keys, and one session per foreign device.
//!
//! libsignal's stores are asynchronous traits; these live in memory and never wait, so that a phone can work while the
//! world is locked. What changed is written to the journal with everything else the stanza changed.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow, bail};
use async_trait::async_trait;
use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use whatsapp_rust::buffa::Message as _;
use whatsapp_rust::wacore::libsignal::protocol::error::Result as SignalResult;
use whatsapp_rust::wacore::libsignal::protocol::{
    CiphertextMessage, Direction, GenericSignedPreKey as _, IdentityChange, IdentityKey, IdentityKeyPair,
    IdentityKeyStore, KeyPair, PreKeyBundle, PreKeyId, PreKeyRecord, PreKeySignalMessage, PreKeyStore, ProtocolAddress,
    SessionRecord, SessionStore, SignalMessage, SignalProtocolError, SignedPreKeyId, SignedPreKeyRecord,
    SignedPreKeyStore, Timestamp, UsePQRatchet, message_decrypt, message_encrypt, process_prekey_bundle,
};
use whatsapp_rust::wacore::messages::MessageUtils;
use whatsapp_rust::waproto::whatsapp as wa;

use crate::account::DeviceAddress;
use crate::cert::key_pair;
use crate::hexadecimal;
use crate::iq::encrypt::Bundle;

/// One-time prekeys made at once.
const REFILL: u32 = 30;
/// Fewer than this many left: make more.
const LOW: usize = 10;
const SIGNED_PREKEY_ID: u32 = 1;

/// The keys of a phone that never change.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    #[serde(with = "hexadecimal")]
    identity: Vec<u8>,
    registration: u32,
    #[serde(with = "hexadecimal")]
    signed_prekey: Vec<u8>,
}

/// A ciphertext as it stands in `<enc>`.
pub(crate) struct Sealed {
    /// `msg`, or `pkmsg` while the other side has not answered in the session.
    pub(crate) kind: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// What came out of a ciphertext.
pub(crate) struct Opened {
    pub(crate) message: wa::Message,
    /// The one-time prekey that the sender used up.
    pub(crate) used_prekey: Option<u32>,
}

/// The Signal state of one phone.
pub(crate) struct Signal {
    pair: KeyPair,
    identity: Identity,
    sessions: Sessions,
    prekeys: PreKeys,
    signed: Signed,
    next_prekey: u32,
}

impl Signal {
    /// Fresh keys.
    pub(crate) fn generate() -> Result<Self> {
        let mut rng = rand::rng();
        let record = KeyRecord {
            identity: KeyPair::generate(&mut rng).private_key.serialize().to_vec(),
            registration: rand::random_range(1..16_000),
            signed_prekey: KeyPair::generate(&mut rng).private_key.serialize().to_vec(),
        };
        Self::from_record(&record)
    }

    /// The lasting keys; sessions and one-time prekeys are restored one by one.
    pub(crate) fn from_record(record: &KeyRecord) -> Result<Self> {
        let pair = key_pair(&record.identity)?;
        let signed_pair = key_pair(&record.signed_prekey)?;
        let signature = pair
            .private_key
            .calculate_signature(&signed_pair.public_key.serialize(), &mut rand::rng())
            .map_err(|error| anyhow!("signing a prekey failed: {error}"))?;
        let signed = SignedPreKeyRecord::new(
            SIGNED_PREKEY_ID.into(),
            Timestamp::from_epoch_millis(0),
            &signed_pair,
            &signature,
        );
        let identity_pair = IdentityKeyPair::new(IdentityKey::new(pair.public_key), pair.private_key.clone());
        Ok(Self {
            pair,
            identity: Identity {
                pair: identity_pair,
                registration: record.registration,
            },
            sessions: Sessions::default(),
            prekeys: PreKeys::default(),
            signed: Signed {
                record: signed,
                private: record.signed_prekey.clone(),
            },
            next_prekey: 1,
        })
    }

    /// What [`Self::from_record`] needs.
    pub(crate) fn to_record(&self) -> KeyRecord {
        KeyRecord {
            identity: self.pair.private_key.serialize().to_vec(),
            registration: self.identity.registration,
            signed_prekey: self.signed.private.clone(),
        }
    }

    /// The identity key pair, which is also the account's signing key.
    pub(crate) fn identity(&self) -> &KeyPair {
        &self.pair
    }

    /// Puts a stored session back.
    pub(crate) fn restore_session(&mut self, address: &DeviceAddress, bytes: &[u8]) -> Result<()> {
        let record = SessionRecord::deserialize(bytes).map_err(|error| anyhow!("stored session: {error}"))?;
        self.sessions
            .0
            .insert(protocol_address(address).as_str().to_owned(), record);
        Ok(())
    }

    /// Puts a stored one-time prekey back; `given` ones are only kept until used.
    pub(crate) fn restore_prekey(&mut self, id: u32, given: bool, private: &[u8]) -> Result<()> {
        let pair = key_pair(private)?;
        self.prekeys.0.insert(
            id,
            PreKey {
                record: PreKeyRecord::new(id.into(), &pair),
                given,
            },
        );
        self.next_prekey = self.next_prekey.max(id + 1);
        Ok(())
    }

    /// A session as it is stored.
    pub(crate) fn session_bytes(&self, address: &DeviceAddress) -> Result<Option<Vec<u8>>> {
        let address = protocol_address(address);
        let Some(record) = self.sessions.0.get(address.as_str()) else {
            return Ok(None);
        };
        record
            .serialize()
            .map(Some)
            .map_err(|error| anyhow!("session: {error}"))
    }

    /// A one-time prekey as it is stored: whether it was given out, and its private key.
    pub(crate) fn prekey_record(&self, id: u32) -> Option<(bool, Vec<u8>)> {
        let prekey = self.prekeys.0.get(&id)?;
        Some((prekey.given, prekey.record.private_key().ok()?.serialize().to_vec()))
    }

    /// Whether there is a session with a device.
    pub(crate) fn has_session(&self, address: &DeviceAddress) -> bool {
        self.sessions.0.contains_key(protocol_address(address).as_str())
    }

    /// Forgets the session with a device.
    pub(crate) fn forget_session(&mut self, address: &DeviceAddress) {
        self.sessions.0.remove(protocol_address(address).as_str());
    }

    /// A bundle for somebody who wants to begin a session, and the ids of all prekeys that changed.
    ///
    /// Each one-time prekey is given out once; when few are left, more are made.
    pub(crate) fn take_bundle(&mut self) -> Result<(Bundle, Vec<u32>)> {
        let mut changed = Vec::new();
        if self.prekeys.0.values().filter(|prekey| !prekey.given).count() < LOW {
            for _ in 0..REFILL {
                let id = self.next_prekey;
                self.next_prekey += 1;
                let pair = KeyPair::generate(&mut rand::rng());
                self.prekeys.0.insert(
                    id,
                    PreKey {
                        record: PreKeyRecord::new(id.into(), &pair),
                        given: false,
                    },
                );
                changed.push(id);
            }
        }
        let (&id, prekey) = self
            .prekeys
            .0
            .iter_mut()
            .find(|(_, prekey)| !prekey.given)
            .context("no prekey left")?;
        prekey.given = true;
        changed.push(id);
        let public = prekey.record.public_key().map_err(|error| anyhow!("prekey: {error}"))?;
        let signed_public = self
            .signed
            .record
            .public_key()
            .map_err(|error| anyhow!("signed prekey: {error}"))?;
        let bundle = Bundle {
            registration: self.identity.registration,
            identity: self.pair.public_key.public_key_bytes().to_vec(),
            prekey: Some((id, public.public_key_bytes().to_vec())),
            signed_id: SIGNED_PREKEY_ID,
            signed_public: signed_public.public_key_bytes().to_vec(),
            signed_signature: self
                .signed
                .record
                .signature()
                .map_err(|error| anyhow!("signature: {error}"))?
                .clone(),
            device_identity: None,
        };
        Ok((bundle, changed))
    }

    /// The phone's registration id.
    pub(crate) fn registration(&self) -> u32 {
        self.identity.registration
    }

    /// Begins a session from a device's bundle, whose signature is verified on the way.
    pub(crate) fn begin_session(&mut self, address: &DeviceAddress, bundle: &PreKeyBundle) -> Result<()> {
        process_prekey_bundle(
            &protocol_address(address),
            &mut self.sessions,
            &mut self.identity,
            bundle,
            &mut rand::rng(),
            UsePQRatchet::No,
        )
        .now_or_never()
        .context("a store in memory waited")?
        .map(|_| ())
        .map_err(|error| anyhow!("the session cannot begin: {error}"))
    }

    /// Encrypts for a device that there is a session with.
    pub(crate) fn seal(&mut self, address: &DeviceAddress, message: &wa::Message) -> Result<Sealed> {
        let padded = MessageUtils::pad_message_v2(message.encode_to_vec());
        let sealed = message_encrypt(
            &padded,
            &protocol_address(address),
            &mut self.sessions,
            &mut self.identity,
        )
        .now_or_never()
        .context("a store in memory waited")?
        .map_err(|error| anyhow!("encrypting failed: {error}"))?;
        match &sealed {
            CiphertextMessage::SignalMessage(message) => Ok(Sealed {
                kind: "msg",
                bytes: message.serialized().to_vec(),
            }),
            CiphertextMessage::PreKeySignalMessage(message) => Ok(Sealed {
                kind: "pkmsg",
                bytes: message.serialized().to_vec(),
            }),
            _ => bail!("encrypting gave an unexpected kind of message"),
        }
    }

    /// Decrypts what a device sent.
    pub(crate) fn open(&mut self, address: &DeviceAddress, kind: &str, bytes: &[u8]) -> Result<Opened> {
        let sealed = match kind {
            "pkmsg" => CiphertextMessage::PreKeySignalMessage(parse_prekey_message(bytes)?),
            "msg" => CiphertextMessage::SignalMessage(
                SignalMessage::try_from(bytes).map_err(|error| anyhow!("not a Signal message: {error}"))?,
            ),
            other => bail!("messages of kind {other} are not understood"),
        };
        let opened = message_decrypt(
            &sealed,
            &protocol_address(address),
            &mut self.sessions,
            &mut self.identity,
            &mut self.prekeys,
            &self.signed,
            &mut rand::rng(),
            UsePQRatchet::No,
        )
        .now_or_never()
        .context("a store in memory waited")?
        .map_err(|error| anyhow!("decrypting failed: {error}"))?;
        let used_prekey = opened.consumed_prekey_id.map(u32::from);
        if let Some(id) = used_prekey {
            self.prekeys.0.remove(&id);
        }
        let plain = MessageUtils::unpad_message_ref(&opened.plaintext, 2)?;
        let message = wa::Message::decode_from_slice(plain).map_err(|error| anyhow!("not a message: {error}"))?;
        Ok(Opened { message, used_prekey })
    }
}

/// The identity key a session-opening message claims, as raw 32 bytes.
pub(crate) fn claimed_identity(bytes: &[u8]) -> Result<Vec<u8>> {
    Ok(parse_prekey_message(bytes)?
        .identity_key()
        .public_key()
        .public_key_bytes()
        .to_vec())
}

fn parse_prekey_message(bytes: &[u8]) -> Result<PreKeySignalMessage> {
    PreKeySignalMessage::try_from(bytes).map_err(|error| anyhow!("not a session-opening message: {error}"))
}

/// Sessions are kept by account and device, whichever of the two address forms a stanza used.
fn protocol_address(address: &DeviceAddress) -> ProtocolAddress {
    ProtocolAddress::new(&address.number, u32::from(address.device).into())
}

#[derive(Default)]
struct Sessions(BTreeMap<String, SessionRecord>);

#[async_trait]
impl SessionStore for Sessions {
    async fn load_session(&self, address: &ProtocolAddress) -> SignalResult<Option<SessionRecord>> {
        Ok(self.0.get(address.as_str()).cloned())
    }

    async fn has_session(&self, address: &ProtocolAddress) -> SignalResult<bool> {
        Ok(self.0.contains_key(address.as_str()))
    }

    async fn store_session(&mut self, address: &ProtocolAddress, record: SessionRecord) -> SignalResult<()> {
        self.0.insert(address.as_str().to_owned(), record);
        Ok(())
    }
}

struct Identity {
    pair: IdentityKeyPair,
    registration: u32,
}

/// Trust is the account's signature over a companion's identity (checked in `receive`), not a memory of old keys.
#[async_trait]
impl IdentityKeyStore for Identity {
    async fn get_identity_key_pair(&self) -> SignalResult<IdentityKeyPair> {
        Ok(self.pair.clone())
    }

    async fn get_local_registration_id(&self) -> SignalResult<u32> {
        Ok(self.registration)
    }

    async fn save_identity(&mut self, _: &ProtocolAddress, _: &IdentityKey) -> SignalResult<IdentityChange> {
        Ok(IdentityChange::NewOrUnchanged)
    }

    async fn is_trusted_identity(&self, _: &ProtocolAddress, _: &IdentityKey, _: Direction) -> SignalResult<bool> {
        Ok(true)
    }

    async fn get_identity(&self, _: &ProtocolAddress) -> SignalResult<Option<IdentityKey>> {
        Ok(None)
    }
}

struct PreKey {
    record: PreKeyRecord,
    given: bool,
}

#[derive(Default)]
struct PreKeys(BTreeMap<u32, PreKey>);

#[async_trait]
impl PreKeyStore for PreKeys {
    async fn get_pre_key(&self, id: PreKeyId) -> SignalResult<PreKeyRecord> {
        self.0
            .get(&u32::from(id))
            .map(|prekey| prekey.record.clone())
            .ok_or(SignalProtocolError::InvalidPreKeyId)
    }

    async fn save_pre_key(&mut self, id: PreKeyId, record: &PreKeyRecord) -> SignalResult<()> {
        self.0.insert(
            id.into(),
            PreKey {
                record: record.clone(),
                given: true,
            },
        );
        Ok(())
    }

    async fn remove_pre_key(&mut self, id: PreKeyId) -> SignalResult<()> {
        self.0.remove(&u32::from(id));
        Ok(())
    }
}

struct Signed {
    record: SignedPreKeyRecord,
    private: Vec<u8>,
}

#[async_trait]
impl SignedPreKeyStore for Signed {
    async fn get_signed_pre_key(&self, id: SignedPreKeyId) -> SignalResult<SignedPreKeyRecord> {
        if u32::from(id) == SIGNED_PREKEY_ID {
            Ok(self.record.clone())
        } else {
            Err(SignalProtocolError::InvalidSignedPreKeyId)
        }
    }

    async fn save_signed_pre_key(&mut self, _: SignedPreKeyId, _: &SignedPreKeyRecord) -> SignalResult<()> {
        Ok(())
    }
}
