//! A phone's side of linking by phone number: what a typed code opens and what it seals.
//!
//! Nothing but `RustCrypto` and a bare Diffie-Hellman on purpose: clients built on `wacore` meet somebody here who has
//! read the protocol on their own. The code itself is never checked by anybody: a wrong one opens a wrong key, and only
//! the companion's bundle, which then cannot be opened, shows it.

use aes::cipher::{KeyIvInit as _, StreamCipher as _};
use aes_gcm::aead::{Aead as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use anyhow::{Context as _, Result, anyhow, bail};
use hkdf::Hkdf;
use sha2::Sha256;
use whatsapp_rust::wacore::libsignal::protocol::{KeyPair, PrivateKey, PublicKey};

/// Characters of a code, without the dash that is shown in the middle.
const CODE_LENGTH: usize = 8;
/// What codes are made of: no 0, I, O or U, which people take for others (whatsapp-rust and zapo-js agree).
pub(crate) const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTVWXYZ";
/// Rounds of PBKDF2 (all three clients agree).
const ROUNDS: u32 = 1 << 17;
const SALT: usize = 32;
const COUNTER: usize = 16;
const NONCE: usize = 12;
const KEY: usize = 32;
/// A key as a code seals it: salt, counter block, ciphertext without a tag.
pub(crate) const WRAPPED_KEY: usize = SALT + COUNTER + KEY;
/// Both identities and a random part.
const BUNDLE: usize = 3 * KEY;
const BUNDLE_KEY_INFO: &[u8] = b"link_code_pairing_key_bundle_encryption_key";
const SECRET_INFO: &[u8] = b"adv_secret";

/// A code as it is computed with: people type it with or without the dash, in any case.
pub(crate) fn spelled(typed: &str) -> Result<String> {
    let code: String = typed
        .chars()
        .filter(|character| !matches!(character, '-' | ' '))
        .map(|character| character.to_ascii_uppercase())
        .collect();
    if code.len() != CODE_LENGTH || !code.bytes().all(|byte| ALPHABET.contains(&byte)) {
        bail!("a pairing code has eight letters and digits without 0, I, O and U, for example ABCD-1234");
    }
    Ok(code)
}

/// What a phone holds after a code was typed.
pub(crate) struct Typed {
    companion_ephemeral: PublicKey,
    ephemeral: KeyPair,
    /// The phone's own key for this link, sealed with the code.
    pub(crate) wrapped: Vec<u8>,
}

/// Opens the companion's key with the typed code and seals a fresh one; takes a tenth of a second by design.
pub(crate) fn typed(code: &str, wrapped_companion: &[u8]) -> Result<Typed> {
    let (salt, rest) = wrapped_companion
        .split_at_checked(SALT)
        .context("the sealed key is too short")?;
    let (counter, sealed) = rest.split_at_checked(COUNTER).context("the sealed key is too short")?;
    let companion_ephemeral = crypt(code, salt, counter, sealed)?;
    let ephemeral = KeyPair::generate(&mut rand::rng());
    let (salt, counter) = (rand::random::<[u8; SALT]>(), rand::random::<[u8; COUNTER]>());
    let sealed = crypt(code, &salt, &counter, ephemeral.public_key.public_key_bytes())?;
    Ok(Typed {
        companion_ephemeral: public(&companion_ephemeral)?,
        ephemeral,
        wrapped: [&salt[..], &counter, &sealed].concat(),
    })
}

/// AES-256-CTR under the code; the same both ways.
fn crypt(code: &str, salt: &[u8], counter: &[u8], text: &[u8]) -> Result<Vec<u8>> {
    let mut key = [0; KEY];
    pbkdf2::pbkdf2_hmac::<Sha256>(code.as_bytes(), salt, ROUNDS, &mut key);
    let mut cipher = ctr::Ctr128BE::<aes::Aes256>::new_from_slices(&key, counter)
        .map_err(|_| anyhow!("the counter has a wrong length"))?;
    let mut text = text.to_vec();
    cipher.apply_keystream(&mut text);
    Ok(text)
}

/// Opens what the companion answered and gives the secret of the link.
///
/// `companion` is the identity that the server knows; the bundle must name it and the phone's own.
pub(crate) fn open_bundle(typed: &Typed, wrapped: &[u8], identity: &KeyPair, companion: &[u8]) -> Result<[u8; KEY]> {
    let (salt, rest) = wrapped.split_at_checked(SALT).context("the key bundle is too short")?;
    let (nonce, sealed) = rest.split_at_checked(NONCE).context("the key bundle is too short")?;
    let ephemeral_secret = agree(&typed.ephemeral.private_key, &typed.companion_ephemeral)?;
    let key = derive(Some(salt), &ephemeral_secret, BUNDLE_KEY_INFO)?;
    let nonce = Nonce::try_from(nonce).map_err(|_| anyhow!("the key bundle's nonce has a wrong length"))?;
    let bundle = Aes256Gcm::new(&key.into())
        .decrypt(&nonce, sealed)
        .map_err(|_| anyhow!("the code is wrong: what the client answered cannot be opened with it"))?;
    if bundle.len() != BUNDLE {
        bail!("the key bundle has {} bytes instead of {BUNDLE}", bundle.len());
    }
    if &bundle[..KEY] != companion {
        bail!("the key bundle names another identity of the companion than it registered with");
    }
    if &bundle[KEY..2 * KEY] != identity.public_key.public_key_bytes() {
        bail!("the key bundle names another identity of the phone");
    }
    let identity_secret = agree(&identity.private_key, &public(companion)?)?;
    let material = [&ephemeral_secret[..], &identity_secret, &bundle[2 * KEY..]].concat();
    derive(None, &material, SECRET_INFO)
}

fn public(bytes: &[u8]) -> Result<PublicKey> {
    PublicKey::from_djb_public_key_bytes(bytes).map_err(|error| anyhow!("bad public key: {error}"))
}

fn agree(own: &PrivateKey, their: &PublicKey) -> Result<[u8; KEY]> {
    own.calculate_agreement(their)
        .map_err(|error| anyhow!("no agreement with the companion's key: {error}"))
}

/// HKDF-SHA256 of 32 bytes.
pub(crate) fn derive(salt: Option<&[u8]>, material: &[u8], info: &[u8]) -> Result<[u8; KEY]> {
    let mut key = [0; KEY];
    Hkdf::<Sha256>::new(salt, material)
        .expand(info, &mut key)
        .map_err(|_| anyhow!("a key of this length cannot be derived"))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_written() {
        for text in ["ABCD1234", "abcd-1234", " AbCd 1234 "] {
            assert_eq!(spelled(text).unwrap(), "ABCD1234");
        }
        for bad in ["", "ABCD123", "ABCD-12345", "ABCD-123O", "ÄBCD1234"] {
            assert!(spelled(bad).is_err(), "{bad}");
        }
    }
}
