//! Advanced device verification: how a phone vouches for its companions, and how a companion answers.
//!
//! Prefixes keep the three signatures apart: `06 00` account over companion, `06 01` companion over account,
//! `06 02` account over the list of valid companions.

use anyhow::{Context, Result, anyhow, bail};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use whatsapp_rust::buffa::Message as _;
use whatsapp_rust::wacore::libsignal::protocol::{KeyPair, PublicKey};
use whatsapp_rust::waproto::whatsapp as wa;

const ACCOUNT_SIGNATURE: [u8; 2] = [6, 0];
const DEVICE_SIGNATURE: [u8; 2] = [6, 1];
const KEY_INDEX_LIST_SIGNATURE: [u8; 2] = [6, 2];

/// What is made wrong on purpose in a link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Forgery {
    /// The HMAC with the secret of the QR code.
    pub(crate) hmac: bool,
    /// The account's signature over the companion's identity.
    pub(crate) account_signature: bool,
}

/// A signed identity whose account signature has one wrong bit; what cannot be read comes back as it is.
pub(crate) fn spoiled(device_identity: &[u8]) -> Vec<u8> {
    let Ok(mut signed) = wa::ADVSignedDeviceIdentity::decode_from_slice(device_identity) else {
        return device_identity.to_vec();
    };
    if let Some(first) = signed.account_signature.as_mut().and_then(|bytes| bytes.first_mut()) {
        *first ^= 1;
    }
    signed.encode_to_vec()
}

/// A phone's statement about a companion.
pub(crate) struct Grant {
    /// The signed identity without the companion's own signature.
    pub(crate) signed: wa::ADVSignedDeviceIdentity,
    /// The same, sealed with the secret only companion and phone know.
    pub(crate) container: Vec<u8>,
}

/// Signs a companion's identity for an account.
pub(crate) fn grant(
    account: &KeyPair,
    raw_id: u32,
    key_index: u32,
    timestamp: u64,
    identity: &[u8],
    secret: &[u8],
    forgery: Forgery,
) -> Result<Grant> {
    let details = wa::ADVDeviceIdentity {
        raw_id: Some(raw_id),
        timestamp: Some(timestamp),
        key_index: Some(key_index),
        ..Default::default()
    }
    .encode_to_vec();
    let mut signature = sign(account, &[&ACCOUNT_SIGNATURE, &details, identity])?;
    if forgery.account_signature {
        signature[0] ^= 1;
    }
    let signed = wa::ADVSignedDeviceIdentity {
        details: Some(details),
        account_signature_key: Some(account.public_key.public_key_bytes().to_vec()),
        account_signature: Some(signature),
        device_signature: None,
    };
    let encoded = signed.encode_to_vec();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).context("the secret in the code is unusable")?;
    mac.update(&encoded);
    let mut tag = mac.finalize().into_bytes().to_vec();
    if forgery.hmac {
        tag[0] ^= 1;
    }
    let container = wa::ADVSignedDeviceIdentityHMAC {
        details: Some(encoded),
        hmac: Some(tag),
        ..Default::default()
    }
    .encode_to_vec();
    Ok(Grant { signed, container })
}

/// Checks what the companion returned and gives the complete identity that travels with its first messages.
///
/// Baileys leaves the account key out of its answer; it is put back before anything is checked.
pub(crate) fn accept_answer(answer: &[u8], granted: &wa::ADVSignedDeviceIdentity, identity: &[u8]) -> Result<Vec<u8>> {
    let mut answer = wa::ADVSignedDeviceIdentity::decode_from_slice(answer)
        .map_err(|error| anyhow!("the returned identity is not readable: {error}"))?;
    if answer.details != granted.details || answer.account_signature != granted.account_signature {
        bail!("the returned identity is not the one that was granted");
    }
    answer.account_signature_key.clone_from(&granted.account_signature_key);
    let complete = answer.encode_to_vec();
    let account_key = granted
        .account_signature_key
        .as_deref()
        .context("the grant has no account key")?;
    verify(&complete, identity, account_key)?;
    Ok(complete)
}

/// Checks the whole chain of a companion: the account signed its identity, and it signed the account.
pub(crate) fn verify(signed: &[u8], identity: &[u8], account_key: &[u8]) -> Result<()> {
    let signed = wa::ADVSignedDeviceIdentity::decode_from_slice(signed)
        .map_err(|error| anyhow!("the device identity is not readable: {error}"))?;
    let details = signed
        .details
        .as_deref()
        .context("the device identity has no details")?;
    if signed
        .account_signature_key
        .as_deref()
        .is_some_and(|key| key != account_key)
    {
        bail!("the device identity names another account key");
    }
    let account_signature = signed
        .account_signature
        .as_deref()
        .context("the account did not sign")?;
    if !check(account_key, &[&ACCOUNT_SIGNATURE, details, identity], account_signature)? {
        bail!("the account's signature is wrong");
    }
    let device_signature = signed.device_signature.as_deref().context("the device did not sign")?;
    if !check(
        identity,
        &[&DEVICE_SIGNATURE, details, identity, account_key],
        device_signature,
    )? {
        bail!("the device's signature is wrong");
    }
    Ok(())
}

/// The signed list of key indexes that are valid for an account's companions.
pub(crate) fn key_index_list(
    account: &KeyPair,
    raw_id: u32,
    timestamp: u64,
    current_index: u32,
    valid_indexes: Vec<u32>,
) -> Result<Vec<u8>> {
    let details = wa::ADVKeyIndexList {
        raw_id: Some(raw_id),
        timestamp: Some(timestamp),
        current_index: Some(current_index),
        valid_indexes,
        ..Default::default()
    }
    .encode_to_vec();
    let signature = sign(account, &[&KEY_INDEX_LIST_SIGNATURE, &details])?;
    Ok(wa::ADVSignedKeyIndexList {
        details: Some(details),
        account_signature: Some(signature),
        account_signature_key: Some(account.public_key.public_key_bytes().to_vec()),
    }
    .encode_to_vec())
}

fn sign(pair: &KeyPair, parts: &[&[u8]]) -> Result<Vec<u8>> {
    pair.private_key
        .calculate_signature_for_multipart_message(parts, &mut rand::rng())
        .map(|signature| signature.to_vec())
        .map_err(|error| anyhow!("signing failed: {error}"))
}

/// Verifies an `XEdDSA` signature with a raw 32-byte public key.
pub(crate) fn check(public: &[u8], parts: &[&[u8]], signature: &[u8]) -> Result<bool> {
    let public = PublicKey::from_djb_public_key_bytes(public).map_err(|error| anyhow!("bad public key: {error}"))?;
    Ok(public.verify_signature_for_multipart_message(parts, signature))
}
