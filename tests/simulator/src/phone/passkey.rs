//! A phone's passkey, and the cryptography of a link that demands one.
//!
//! The owner's authenticator is played by whoever tests: `POST /admin/mock-phone/passkey` hands out the private key, and
//! what is signed with it is verified here as a relying party does (`WebAuthn` level 2, section 7.2). The labels of the
//! handshake behind it are those of whatsapp-rust `wacore/src/shortcake.rs`; the arithmetic is `RustCrypto`'s and ring's.

use aes_gcm::aead::{Aead as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use whatsapp_rust::buffa::{Enumeration as _, Message as _};
use whatsapp_rust::wacore::libsignal::protocol::{KeyPair, PublicKey};
use whatsapp_rust::waproto::whatsapp as wa;

use super::code::{ALPHABET, derive};
use crate::hexadecimal;

/// Whom the passkey is for.
pub(crate) const RELYING_PARTY: &str = "web.whatsapp.com";
/// Where it may be used.
const ORIGIN: &str = "https://web.whatsapp.com";
const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
/// Hash of the relying party, flags, counter.
const AUTHENTICATOR_DATA: usize = 37;
const KEY: usize = 32;
/// Bytes of the code that people compare.
const COMPARED: usize = 5;

/// A passkey as it is stored with its phone.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Passkey {
    #[serde(with = "hexadecimal")]
    pub(crate) id: Vec<u8>,
    /// The private key, PKCS #8.
    #[serde(with = "hexadecimal")]
    pub(crate) private: Vec<u8>,
    #[serde(with = "hexadecimal")]
    public: Vec<u8>,
}

impl Passkey {
    /// Registers a new one.
    pub(crate) fn generate() -> Result<Self> {
        let random = SystemRandom::new();
        let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
            .map_err(|_| anyhow!("no passkey could be made"))?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, private.as_ref(), &random)
            .map_err(|error| anyhow!("no passkey could be made: {error}"))?;
        Ok(Self {
            id: rand::random::<[u8; 16]>().to_vec(),
            private: private.as_ref().to_vec(),
            public: pair.public_key().as_ref().to_vec(),
        })
    }

    /// What a companion is asked for: `PublicKeyCredentialRequestOptions` as JSON.
    pub(crate) fn request(&self, challenge: &[u8]) -> String {
        json!({
            "challenge": BASE64_URL_SAFE_NO_PAD.encode(challenge),
            "rpId": RELYING_PARTY,
            "timeout": 60_000,
            "userVerification": "required",
            "allowCredentials": [{"type": "public-key", "id": BASE64_URL_SAFE_NO_PAD.encode(&self.id)}],
        })
        .to_string()
    }

    /// Verifies an assertion: the credential, what the client saw, what the authenticator saw, the signature.
    pub(crate) fn verify(&self, credential: &[u8], assertion: &[u8], challenge: &[u8]) -> Result<()> {
        let assertion: Value = serde_json::from_slice(assertion).context("the assertion is not JSON")?;
        let id = BASE64_URL_SAFE_NO_PAD.encode(&self.id);
        if credential != self.id || assertion["id"] != id || assertion["rawId"] != id {
            bail!("the assertion is by another passkey");
        }
        if assertion["type"] != "public-key" {
            bail!("the assertion is of another type");
        }
        let field = |name: &str| -> Result<Vec<u8>> {
            let text = assertion["response"][name].as_str();
            let text = text.with_context(|| format!("the assertion has no {name}"))?;
            BASE64_URL_SAFE_NO_PAD
                .decode(text)
                .with_context(|| format!("the assertion's {name} is not base64url"))
        };
        let client = field("clientDataJSON")?;
        let seen: Value = serde_json::from_slice(&client).context("clientDataJSON is not JSON")?;
        if seen["type"] != "webauthn.get" {
            bail!("the assertion is for another ceremony");
        }
        if seen["challenge"] != BASE64_URL_SAFE_NO_PAD.encode(challenge) {
            bail!("the assertion answers another challenge");
        }
        if seen["origin"] != ORIGIN {
            bail!("the assertion was made for another origin");
        }
        let authenticator = field("authenticatorData")?;
        if authenticator.len() < AUTHENTICATOR_DATA || authenticator[..KEY] != Sha256::digest(RELYING_PARTY)[..] {
            bail!("the assertion is for another relying party");
        }
        if authenticator[KEY] & (USER_PRESENT | USER_VERIFIED) != USER_PRESENT | USER_VERIFIED {
            bail!("the authenticator has not verified its user");
        }
        let signed = [&authenticator[..], &Sha256::digest(&client)].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.public)
            .verify(&signed, &field("signature")?)
            .map_err(|_| anyhow!("the passkey's signature is wrong"))
    }
}

/// What the companion has said of itself, and the phone's answer.
pub(crate) struct Handshake {
    /// The companion's statement as it was sent: its commitment covers these bytes.
    identity: Vec<u8>,
    commitment: Vec<u8>,
    companion: PublicKey,
    device_type: i32,
    reference: String,
    own: KeyPair,
    nonce: [u8; KEY],
}

impl Handshake {
    /// Reads the prologue of a companion; it must name the reference that it was given.
    pub(crate) fn begin(prologue: &[u8], reference: &str) -> Result<Self> {
        let prologue = wa::ProloguePayload::decode_from_slice(prologue)
            .map_err(|error| anyhow!("the prologue is not readable: {error}"))?;
        let identity = prologue
            .companion_ephemeral_identity
            .context("the prologue has no identity")?;
        let commitment = prologue.commitment.into_option().and_then(|commitment| commitment.hash);
        let said = wa::CompanionEphemeralIdentity::decode_from_slice(&identity)
            .map_err(|error| anyhow!("the companion's identity is not readable: {error}"))?;
        if said.r#ref.as_deref() != Some(reference) {
            bail!("the prologue names another reference");
        }
        Ok(Self {
            companion: public(&said.public_key.unwrap_or_default())?,
            device_type: said.device_type.context("the prologue names no device type")?.to_i32(),
            commitment: commitment.context("the prologue has no commitment")?,
            identity,
            reference: reference.to_owned(),
            own: KeyPair::generate(&mut rand::rng()),
            nonce: rand::random(),
        })
    }

    /// What the companion is told of the phone.
    pub(crate) fn primary(&self) -> Vec<u8> {
        wa::PrimaryEphemeralIdentity {
            public_key: Some(self.own.public_key.public_key_bytes().to_vec()),
            nonce: Some(self.nonce.to_vec()),
        }
        .encode_to_vec()
    }

    /// The code that the owner compares, once the companion has opened its commitment.
    pub(crate) fn code(&self, companion_nonce: &[u8]) -> Result<String> {
        let mut commitment = Sha256::new();
        commitment.update(&self.identity);
        commitment.update(companion_nonce);
        if companion_nonce.len() != KEY || commitment.finalize()[..] != self.commitment {
            bail!("the companion's nonce is not the one it committed itself to");
        }
        let mut digest = Sha256::new();
        digest.update(companion_nonce);
        digest.update(self.own.public_key.public_key_bytes());
        let digest = digest.finalize();
        let number = (0..COMPARED).fold(0_u64, |number, index| {
            number << 8 | u64::from(self.nonce[index] ^ digest[index])
        });
        let letter = |place: u32| char::from(ALPHABET[usize::try_from(number >> (5 * place) & 31).unwrap_or_default()]);
        let letters: Vec<char> = (0..8).rev().map(letter).collect();
        let (first, second) = letters.split_at(4);
        Ok(format!("{}-{}", String::from_iter(first), String::from_iter(second)))
    }

    /// Opens the companion's request and gives the secret of the link.
    pub(crate) fn open(&self, request: &[u8], noise_static: &[u8], identity: &[u8]) -> Result<Vec<u8>> {
        let sealed = wa::EncryptedPairingRequest::decode_from_slice(request)
            .map_err(|error| anyhow!("the pairing request is not readable: {error}"))?;
        let shared = self
            .own
            .private_key
            .calculate_agreement(&self.companion)
            .map_err(|error| anyhow!("no agreement with the companion's key: {error}"))?;
        let salt = format!("Companion Pairing {} with ref {}", self.device_type, self.reference);
        let key = derive(Some(salt.as_bytes()), &shared, b"Pairing Information Encryption Key")?;
        let iv = sealed.iv.unwrap_or_default();
        let nonce = Nonce::try_from(&iv[..]).map_err(|_| anyhow!("the pairing request's IV has a wrong length"))?;
        let opened = Aes256Gcm::new(&key.into())
            .decrypt(&nonce, &sealed.encrypted_payload.unwrap_or_default()[..])
            .map_err(|_| anyhow!("the pairing request cannot be opened with the agreed key"))?;
        let request = wa::PairingRequest::decode_from_slice(&opened)
            .map_err(|error| anyhow!("the opened pairing request is not readable: {error}"))?;
        if request.companion_public_key.as_deref() != Some(noise_static) {
            bail!("the pairing request names another Noise key");
        }
        if request.companion_identity_key.as_deref() != Some(identity) {
            bail!("the pairing request names another identity");
        }
        request
            .adv_secret
            .filter(|secret| secret.len() == KEY)
            .context("the pairing request has no secret of 32 bytes")
    }
}

fn public(bytes: &[u8]) -> Result<PublicKey> {
    PublicKey::from_djb_public_key_bytes(bytes).map_err(|error| anyhow!("bad public key: {error}"))
}
