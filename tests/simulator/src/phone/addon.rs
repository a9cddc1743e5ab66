//! What is added to a message under its own secret: votes and sealed edits.
//!
//! The secret travels with the message (`messageContextInfo.messageSecret`), so only who got the message can add to
//! it or read what was added. Key = HKDF-SHA256(secret, info = message id | its author | who adds | use), sealed with
//! AES-256-GCM; a vote binds message id and voter as additional data, an edit binds nothing (whatsapp-rust
//! `secret_enc_addon.rs`, Baileys `Utils/process-message`).

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use anyhow::{Context as _, Result, anyhow, bail};
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};

/// What is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// A vote in a poll.
    Vote,
    /// A new text.
    Edit,
}

/// To which message something is added, and by whom; addresses as the clients write them, without a device.
pub(crate) struct Target<'a> {
    /// The message's id.
    pub(crate) id: &'a str,
    /// Its author.
    pub(crate) author: &'a str,
    /// Who adds.
    pub(crate) adder: &'a str,
}

/// A secret has this many bytes.
pub(crate) const SECRET_LENGTH: usize = 32;
const NONCE_LENGTH: usize = 12;

impl Target<'_> {
    fn cipher(&self, secret: &[u8], purpose: Use) -> Result<Aes256Gcm> {
        if secret.len() != SECRET_LENGTH {
            bail!("a message secret has {SECRET_LENGTH} bytes, this one {}", secret.len());
        }
        let name = match purpose {
            Use::Vote => "Poll Vote",
            Use::Edit => "Message Edit",
        };
        let info = [self.id, self.author, self.adder, name].concat();
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(None, secret)
            .expand(info.as_bytes(), &mut key)
            .map_err(|error| anyhow!("the key cannot be derived: {error}"))?;
        Ok(Aes256Gcm::new(&key.into()))
    }

    fn bound(&self, purpose: Use) -> Vec<u8> {
        match purpose {
            Use::Vote => [self.id, "\0", self.adder].concat().into_bytes(),
            Use::Edit => Vec::new(),
        }
    }

    /// Seals; gives the ciphertext and its nonce.
    pub(crate) fn seal(&self, secret: &[u8], purpose: Use, plain: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
        let nonce: [u8; NONCE_LENGTH] = rand::random();
        let aad = self.bound(purpose);
        let payload = Payload { msg: plain, aad: &aad };
        let sealed = self
            .cipher(secret, purpose)?
            .encrypt(&Nonce::from(nonce), payload)
            .map_err(|_| anyhow!("sealing failed"))?;
        Ok((sealed, nonce.to_vec()))
    }

    /// Opens what was sealed for exactly this message, author and adder.
    pub(crate) fn open(&self, secret: &[u8], purpose: Use, sealed: &[u8], nonce: &[u8]) -> Result<Vec<u8>> {
        let nonce: [u8; NONCE_LENGTH] = nonce.try_into().ok().context("the nonce has not 12 bytes")?;
        let aad = self.bound(purpose);
        self.cipher(secret, purpose)?
            .decrypt(&Nonce::from(nonce), Payload { msg: sealed, aad: &aad })
            .map_err(|_| anyhow!("it was not sealed with the message's secret"))
    }
}

/// How a vote names an option.
pub(crate) fn option_hash(option: &str) -> Vec<u8> {
    Sha256::digest(option.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use whatsapp_rust::wacore::poll;

    const SECRET: [u8; 32] = [7; 32];
    const TARGET: Target<'static> = Target {
        id: "3EB0AA",
        author: "5511999990001@s.whatsapp.net",
        adder: "100000000000002@lid",
    };

    #[test]
    fn the_client_library_opens_our_votes_and_we_open_its() {
        let hashes = [option_hash("yes")];
        let plain = [&[0x0a, 32][..], &hashes[0]].concat();
        let (sealed, nonce) = TARGET.seal(&SECRET, Use::Vote, &plain).unwrap();
        let cipher = poll::PollVoteCiphertext {
            enc_payload: &sealed,
            enc_iv: &nonce,
        };
        let opened =
            poll::decrypt_poll_vote_with_secret(cipher, &SECRET, TARGET.id, TARGET.author, TARGET.adder).unwrap();
        assert_eq!(opened, hashes);
        let (sealed, nonce) =
            poll::encrypt_poll_vote_with_secret(&hashes, &SECRET, TARGET.id, TARGET.author, TARGET.adder).unwrap();
        assert_eq!(TARGET.open(&SECRET, Use::Vote, &sealed, &nonce).unwrap(), plain);
    }

    #[test]
    fn another_voter_secret_or_message_opens_nothing() {
        let (sealed, nonce) = TARGET.seal(&SECRET, Use::Vote, b"x").unwrap();
        let others = [
            (
                Target {
                    adder: "x@lid",
                    ..TARGET
                },
                SECRET,
                Use::Vote,
            ),
            (Target { id: "3EB0AB", ..TARGET }, SECRET, Use::Vote),
            (
                Target {
                    author: "x@lid",
                    ..TARGET
                },
                SECRET,
                Use::Vote,
            ),
            (TARGET, [8; 32], Use::Vote),
            (TARGET, SECRET, Use::Edit),
        ];
        for (target, secret, purpose) in others {
            assert!(target.open(&secret, purpose, &sealed, &nonce).is_err());
        }
        assert!(TARGET.open(&SECRET, Use::Vote, &sealed, &nonce).is_ok());
        assert!(TARGET.open(&SECRET, Use::Vote, &sealed, &nonce[1..]).is_err());
    }
}
