//! The server's side of the Noise handshake: XX for strangers, IK for clients that remember our key.
//!
//! IK with a key we do not own falls back to XX over the client's ephemeral key (`XXfallback`), as clients expect when
//! the reply carries a `static`.

use anyhow::{Context, Result, anyhow};
use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::wacore::handshake::{NoiseCipher, NoiseHandshake};
use whatsapp_rust::wacore::libsignal::protocol::KeyPair;
use whatsapp_rust::wacore_binary::consts::{
    NOISE_PATTERN_IK, NOISE_PATTERN_XX, NOISE_PATTERN_XXFALLBACK, WA_CONN_HEADER,
};
use whatsapp_rust::waproto::whatsapp as wa;

use crate::wire::FrameSocket;

/// The pattern a handshake ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Both sides send their static keys.
    Xx,
    /// The client knew our static key.
    Ik,
    /// The client knew an older key of ours.
    XxFallback,
}

/// What the handshake yields.
pub(crate) struct Established {
    /// Opens what the client sends.
    pub(crate) read: NoiseCipher,
    /// Seals what the client gets.
    pub(crate) write: NoiseCipher,
    /// The client's static key, its proof of identity at login.
    pub(crate) client_static: Vec<u8>,
    /// Registration or login.
    pub(crate) payload: wa::ClientPayload,
    /// For the statistics.
    pub(crate) pattern: Pattern,
}

/// Runs the handshake on a fresh socket.
pub(crate) async fn accept(frames: &mut FrameSocket, statics: &KeyPair, chain: &[u8]) -> Result<Established> {
    let hello = next_message(frames)
        .await?
        .client_hello
        .into_option()
        .context("no client hello")?;
    let client_ephemeral = hello.ephemeral.context("no ephemeral key")?;
    match (hello.r#static, hello.payload) {
        (Some(sealed_static), Some(sealed_payload)) => {
            match Ik::open(statics, &client_ephemeral, &sealed_static, &sealed_payload) {
                Ok(ik) => ik.finish(frames, chain).await,
                Err(_) => xx(frames, statics, chain, &client_ephemeral, Pattern::XxFallback).await,
            }
        }
        _ => xx(frames, statics, chain, &client_ephemeral, Pattern::Xx).await,
    }
}

async fn next_message(frames: &mut FrameSocket) -> Result<wa::HandshakeMessage> {
    let frame = frames.recv().await?.context("closed during the handshake")?;
    wa::HandshakeMessage::decode_from_slice(&frame).map_err(|error| anyhow!("not a handshake message: {error}"))
}

async fn reply(frames: &mut FrameSocket, hello: wa::handshake_message::ServerHello) -> Result<()> {
    let message = wa::HandshakeMessage {
        server_hello: MessageField::some(hello),
        ..Default::default()
    };
    frames.send(&message.encode_to_vec()).await
}

fn public(pair: &KeyPair) -> &[u8] {
    pair.public_key.public_key_bytes()
}

/// An opened IK hello.
struct Ik {
    noise: NoiseHandshake,
    client_ephemeral: Vec<u8>,
    client_static: Vec<u8>,
    payload: Vec<u8>,
}

impl Ik {
    fn open(statics: &KeyPair, client_ephemeral: &[u8], sealed_static: &[u8], sealed_payload: &[u8]) -> Result<Self> {
        let mut noise = NoiseHandshake::new(NOISE_PATTERN_IK, &WA_CONN_HEADER)?;
        noise.authenticate(public(statics));
        noise.authenticate(client_ephemeral);
        noise.mix_shared_secret(statics.private_key.serialize(), client_ephemeral)?;
        let client_static = noise.decrypt(sealed_static)?;
        noise.mix_shared_secret(statics.private_key.serialize(), &client_static)?;
        let payload = noise.decrypt(sealed_payload)?;
        Ok(Self {
            noise,
            client_ephemeral: client_ephemeral.to_vec(),
            client_static,
            payload,
        })
    }

    async fn finish(mut self, frames: &mut FrameSocket, chain: &[u8]) -> Result<Established> {
        let ephemeral = KeyPair::generate(&mut rand::rng());
        self.noise.authenticate(public(&ephemeral));
        self.noise
            .mix_shared_secret(ephemeral.private_key.serialize(), &self.client_ephemeral)?;
        self.noise
            .mix_shared_secret(ephemeral.private_key.serialize(), &self.client_static)?;
        let sealed_chain = self.noise.encrypt(chain)?;
        reply(
            frames,
            wa::handshake_message::ServerHello {
                ephemeral: Some(public(&ephemeral).to_vec()),
                payload: Some(sealed_chain),
                ..Default::default()
            },
        )
        .await?;
        established(self.noise, self.client_static, &self.payload, Pattern::Ik)
    }
}

async fn xx(
    frames: &mut FrameSocket,
    statics: &KeyPair,
    chain: &[u8],
    client_ephemeral: &[u8],
    pattern: Pattern,
) -> Result<Established> {
    let name = if pattern == Pattern::XxFallback {
        NOISE_PATTERN_XXFALLBACK
    } else {
        NOISE_PATTERN_XX
    };
    let ephemeral = KeyPair::generate(&mut rand::rng());
    let mut noise = NoiseHandshake::new(name, &WA_CONN_HEADER)?;
    noise.authenticate(client_ephemeral);
    noise.authenticate(public(&ephemeral));
    noise.mix_shared_secret(ephemeral.private_key.serialize(), client_ephemeral)?;
    let sealed_static = noise.encrypt(public(statics))?;
    noise.mix_shared_secret(statics.private_key.serialize(), client_ephemeral)?;
    let sealed_chain = noise.encrypt(chain)?;
    reply(
        frames,
        wa::handshake_message::ServerHello {
            ephemeral: Some(public(&ephemeral).to_vec()),
            r#static: Some(sealed_static),
            payload: Some(sealed_chain),
            ..Default::default()
        },
    )
    .await?;
    let finish = next_message(frames)
        .await?
        .client_finish
        .into_option()
        .context("no client finish")?;
    let client_static = noise.decrypt(&finish.r#static.context("no static key")?)?;
    noise.mix_shared_secret(ephemeral.private_key.serialize(), &client_static)?;
    let payload = noise.decrypt(&finish.payload.context("no payload")?)?;
    established(noise, client_static, &payload, pattern)
}

fn established(noise: NoiseHandshake, client_static: Vec<u8>, payload: &[u8], pattern: Pattern) -> Result<Established> {
    // The initiator writes with the first key of the split.
    let (read, write) = noise.finish()?;
    let payload = wa::ClientPayload::decode_from_slice(payload).map_err(|error| anyhow!("bad payload: {error}"))?;
    Ok(Established {
        read,
        write,
        client_static,
        payload,
        pattern,
    })
}
