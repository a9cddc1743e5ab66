//! The server's certificates: a root signs an intermediate, the intermediate signs the key of the handshake.
//!
//! Shape as on the real servers: `CertChain{intermediate, leaf}`, details with validity dates, `XEdDSA` signatures.
//! The dates matter: without them clients never dare the shorter IK handshake.

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::wacore::libsignal::protocol::{KeyPair, PrivateKey};
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::cert_chain::{NoiseCertificate, noise_certificate::Details};

use crate::hexadecimal;

const INTERMEDIATE_SERIAL: u32 = 1;
const LEAF_SERIAL: u32 = 2;
/// Certificates are valid from well before the simulator existed …
const NOT_BEFORE: u64 = 1_700_000_000;
/// … until 2096, so that no state folder ever expires.
const NOT_AFTER: u64 = 4_000_000_000;

/// The three key pairs a state folder is born with.
pub(crate) struct ServerKeys {
    root: KeyPair,
    intermediate: KeyPair,
    leaf: KeyPair,
}

/// Which signature of the chain is made wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forged {
    /// The root's signature under the intermediate certificate.
    Intermediate,
    /// The intermediate's signature under the leaf certificate.
    Leaf,
}

#[derive(Serialize, Deserialize)]
struct Record {
    #[serde(with = "hexadecimal")]
    root: Vec<u8>,
    #[serde(with = "hexadecimal")]
    intermediate: Vec<u8>,
    #[serde(with = "hexadecimal")]
    leaf: Vec<u8>,
}

impl ServerKeys {
    /// Makes fresh keys.
    pub(crate) fn generate() -> Self {
        let mut rng = rand::rng();
        Self {
            root: KeyPair::generate(&mut rng),
            intermediate: KeyPair::generate(&mut rng),
            leaf: KeyPair::generate(&mut rng),
        }
    }

    /// New intermediate and leaf under the same root, as real servers get them from time to time.
    pub(crate) fn renew(&mut self) {
        let mut rng = rand::rng();
        self.intermediate = KeyPair::generate(&mut rng);
        self.leaf = KeyPair::generate(&mut rng);
    }

    /// The static key pair of the Noise handshake.
    pub(crate) fn noise_static(&self) -> &KeyPair {
        &self.leaf
    }

    /// The public root key that a client has to trust.
    pub(crate) fn root_public(&self) -> Vec<u8> {
        self.root.public_key.public_key_bytes().to_vec()
    }

    /// The encoded `CertChain`; with `forged`, one bit of that signature is flipped.
    pub(crate) fn chain(&self, forged: Option<Forged>) -> Result<Vec<u8>> {
        let intermediate = certificate(
            INTERMEDIATE_SERIAL,
            0,
            &self.intermediate,
            &self.root,
            forged == Some(Forged::Intermediate),
        )?;
        let leaf = certificate(
            LEAF_SERIAL,
            INTERMEDIATE_SERIAL,
            &self.leaf,
            &self.intermediate,
            forged == Some(Forged::Leaf),
        )?;
        Ok(wa::CertChain {
            leaf: MessageField::some(leaf),
            intermediate: MessageField::some(intermediate),
        }
        .encode_to_vec())
    }

    /// The record kept in the state folder.
    pub(crate) fn to_record(&self) -> Result<Vec<u8>> {
        let private = |pair: &KeyPair| pair.private_key.serialize().to_vec();
        Ok(serde_json::to_vec(&Record {
            root: private(&self.root),
            intermediate: private(&self.intermediate),
            leaf: private(&self.leaf),
        })?)
    }

    /// Reads what [`Self::to_record`] wrote.
    pub(crate) fn from_record(bytes: &[u8]) -> Result<Self> {
        let record: Record = serde_json::from_slice(bytes).context("the server's keys cannot be read")?;
        Ok(Self {
            root: key_pair(&record.root)?,
            intermediate: key_pair(&record.intermediate)?,
            leaf: key_pair(&record.leaf)?,
        })
    }
}

/// A key pair from its stored private half.
pub(crate) fn key_pair(private: &[u8]) -> Result<KeyPair> {
    let private = PrivateKey::deserialize(private).map_err(|error| anyhow!("bad private key: {error}"))?;
    KeyPair::try_from(private).map_err(|error| anyhow!("bad private key: {error}"))
}

fn certificate(
    serial: u32,
    issuer_serial: u32,
    subject: &KeyPair,
    issuer: &KeyPair,
    forged: bool,
) -> Result<NoiseCertificate> {
    let details = Details {
        serial: Some(serial),
        issuer_serial: Some(issuer_serial),
        key: Some(subject.public_key.public_key_bytes().to_vec()),
        not_before: Some(NOT_BEFORE),
        not_after: Some(NOT_AFTER),
    }
    .encode_to_vec();
    let mut signature = issuer
        .private_key
        .calculate_signature(&details, &mut rand::rng())
        .map_err(|error| anyhow!("signing a certificate failed: {error}"))?
        .to_vec();
    if forged {
        signature[0] ^= 1;
    }
    Ok(NoiseCertificate {
        details: Some(details),
        signature: Some(signature),
    })
}
