//! Signing secrets at rest: encrypted with AES-256-GCM under a key that lies beside the store, not in it.
//!
//! Whoever steals the file alone, or reads it out of a careless copy, cannot forge webhooks with it.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::domain::id::EndpointId;
use crate::domain::webhook::SealedSecret;

/// What every secret that is made here begins with.
pub const SECRET_PREFIX: &str = "whsec_";

/// Seals and opens signing secrets; cheap to clone.
#[derive(Clone)]
pub struct SecretBox(Arc<LessSafeKey>);

impl fmt::Debug for SecretBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBox(…)")
    }
}

/// A stored secret cannot be opened: the key beside the store is another one than it was sealed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the signing secret cannot be opened with this installation's secrets key; rotate the endpoint's secret, or restore the key from your backup"
)]
pub struct Unopened;

impl SecretBox {
    /// With this key.
    pub fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has the length that the cipher wants");
        Self(Arc::new(LessSafeKey::new(key)))
    }

    /// Encrypts the secret of one endpoint; it opens for no other.
    pub fn seal(&self, endpoint: EndpointId, secret: &str) -> SealedSecret {
        // 96 random bits: a repetition within the few secrets of one key cannot be expected in the life of the universe.
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut text = secret.as_bytes().to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(endpoint.to_u128().to_be_bytes()),
                &mut text,
            )
            .expect("a secret is far below the longest text of the cipher");
        SealedSecret(BASE64_STANDARD_NO_PAD.encode([&nonce[..], &text].concat()))
    }

    /// Decrypts the secret of one endpoint.
    pub fn open(&self, endpoint: EndpointId, sealed: &SealedSecret) -> Result<String, Unopened> {
        let mut bytes = BASE64_STANDARD_NO_PAD.decode(&sealed.0).map_err(|_| Unopened)?;
        let (nonce, text) = bytes.split_first_chunk_mut::<NONCE_LEN>().ok_or(Unopened)?;
        let opened = self
            .0
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(endpoint.to_u128().to_be_bytes()),
                text,
            )
            .map_err(|_| Unopened)?;
        String::from_utf8(opened.to_vec()).map_err(|_| Unopened)
    }
}

/// A fresh secret: 256 random bits.
pub fn generate() -> String {
    format!(
        "{SECRET_PREFIX}{}",
        BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_for_its_endpoint_under_its_key_and_for_nothing_else() {
        let (one, two) = (EndpointId::from_u128(1), EndpointId::from_u128(2));
        let right = SecretBox::new(&[7; 32]);
        let sealed = right.seal(one, "whsec_abc");
        assert_eq!(right.open(one, &sealed).as_deref(), Ok("whsec_abc"));
        assert_eq!(right.open(two, &sealed), Err(Unopened));
        assert_eq!(SecretBox::new(&[8; 32]).open(one, &sealed), Err(Unopened));
        for broken in ["", "x", "AAAA"] {
            assert_eq!(right.open(one, &SealedSecret(broken.into())), Err(Unopened));
        }
        assert!(!sealed.0.contains("abc"));
    }

    #[test]
    fn two_secrets_are_never_the_same() {
        assert_ne!(generate(), generate());
        assert!(generate().starts_with(SECRET_PREFIX) && generate().len() == 49);
    }
}
