//! One WebSocket as WhatsApp frames it: an optional routing preamble and a header once, then length-prefixed frames,
//! which after the handshake are sealed by Noise and hold one stanza each.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_websockets::{Message, WebSocketStream};
use whatsapp_rust::wacore::framing::{FrameDecoder, encode_frame};
use whatsapp_rust::wacore::handshake::NoiseCipher;
use whatsapp_rust::wacore_binary::consts::WA_CONN_HEADER;
use whatsapp_rust::wacore_binary::{Node, OwnedNodeRef, marshal, util};

/// The stream below: hyper's upgraded connection.
pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A client that takes longer than this to accept bytes is dead.
const WRITE_LIMIT: Duration = Duration::from_secs(20);
/// How long a client may take to answer the goodbye; cutting at once could lose the last words on their way.
const FAREWELL: Duration = Duration::from_millis(500);
/// `ED`, 0, 1 and a 3-byte length.
const PREAMBLE_HEADER: usize = 7;

/// Frames in the clear, as the handshake exchanges them.
pub(crate) struct FrameSocket {
    socket: Socket,
    decoder: FrameDecoder,
    /// Bytes before the header was complete; `None` once it has been read.
    opening: Option<Vec<u8>>,
}

impl FrameSocket {
    /// Wraps an accepted WebSocket.
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            socket,
            decoder: FrameDecoder::new(),
            opening: Some(Vec::new()),
        }
    }

    /// The next frame, or `None` when the client closed. Cancel-safe.
    pub(crate) async fn recv(&mut self) -> Result<Option<BytesMut>> {
        loop {
            if let Some(frame) = self.decoder.decode_frame() {
                return Ok(Some(frame));
            }
            match self.socket.next().await {
                Some(Ok(message)) if message.is_binary() => self.feed(message.as_payload())?,
                Some(Ok(message)) if message.is_close() => return Ok(None),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(None),
            }
        }
    }

    /// Writes one frame.
    pub(crate) async fn send(&mut self, body: &[u8]) -> Result<()> {
        let message = Message::binary(encode_frame(body, None)?);
        tokio::time::timeout(WRITE_LIMIT, self.socket.send(message))
            .await
            .context("the client stopped reading")??;
        Ok(())
    }

    async fn close(&mut self) {
        // The peer may be gone already; there is nobody to tell about a failed goodbye.
        let _ = tokio::time::timeout(FAREWELL, self.socket.close()).await;
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(opening) = &mut self.opening else {
            self.decoder.feed(bytes);
            return Ok(());
        };
        opening.extend_from_slice(bytes);
        if let Some(start) = header_end(opening)? {
            self.decoder.feed(&opening[start..]);
            self.opening = None;
        }
        Ok(())
    }
}

/// Where the frames begin, or `None` while the header is incomplete.
fn header_end(opening: &[u8]) -> Result<Option<usize>> {
    let mut offset = 0;
    if opening.starts_with(b"ED") {
        if opening.len() < PREAMBLE_HEADER {
            return Ok(None);
        }
        let length = usize::from(opening[4]) << 16 | usize::from(opening[5]) << 8 | usize::from(opening[6]);
        offset = PREAMBLE_HEADER + length;
    }
    let Some(header) = opening.get(offset..offset + WA_CONN_HEADER.len()) else {
        return Ok(None);
    };
    if header != WA_CONN_HEADER {
        bail!("the connection does not begin with WhatsApp's header");
    }
    Ok(Some(offset + WA_CONN_HEADER.len()))
}

/// A connection after the handshake: stanzas in, stanzas out.
pub(crate) struct Wire {
    frames: FrameSocket,
    write: NoiseCipher,
    read: NoiseCipher,
    written: u32,
    received: u32,
}

impl Wire {
    /// `read` opens what the client seals, `write` seals what it is sent.
    pub(crate) fn new(frames: FrameSocket, read: NoiseCipher, write: NoiseCipher) -> Self {
        Self {
            frames,
            write,
            read,
            written: 0,
            received: 0,
        }
    }

    /// Writes one stanza.
    pub(crate) async fn send(&mut self, node: &Node) -> Result<()> {
        let sealed = self
            .write
            .encrypt_with_counter(self.written, &marshal::marshal(node)?)?;
        self.written += 1;
        self.frames.send(&sealed).await
    }

    /// The next stanza, or `None` when the client closed. Cancel-safe.
    pub(crate) async fn recv(&mut self) -> Result<Option<Node>> {
        let Some(mut frame) = self.frames.recv().await? else {
            return Ok(None);
        };
        self.read.decrypt_in_place_with_counter(self.received, &mut frame)?;
        self.received += 1;
        Ok(Some(OwnedNodeRef::new(util::unpack_bytes(frame)?)?.to_owned_node()))
    }

    /// Says goodbye on the WebSocket level.
    pub(crate) async fn close(mut self) {
        self.frames.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_begin_after_the_header() {
        assert_eq!(header_end(&WA_CONN_HEADER).unwrap(), Some(4));
    }

    #[test]
    fn an_incomplete_header_waits_for_more() {
        assert_eq!(header_end(&WA_CONN_HEADER[..3]).unwrap(), None);
        assert_eq!(header_end(b"ED\0\x01\0\0").unwrap(), None);
    }

    #[test]
    fn a_routing_preamble_is_skipped() {
        let bytes = [&b"ED\0\x01\0\0\x02xy"[..], &WA_CONN_HEADER].concat();
        assert_eq!(header_end(&bytes).unwrap(), Some(bytes.len()));
    }

    #[test]
    fn another_protocol_is_refused() {
        assert!(header_end(b"HELO").is_err());
    }
}
