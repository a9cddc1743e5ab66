//! What a client sends behind the head of its request: read up to a limit, the rest swallowed.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http::{HeaderMap, header};

use crate::domain::error::{Code, Error};
use crate::sys::clock;

/// The largest JSON body.
pub const JSON_BYTES: usize = 1 << 20;

/// What is swallowed after a refusal, so that the client gets to read the answer: closing a socket on unread data
/// resets it.
const SWALLOWED_BYTES: usize = 64 << 20;

/// How long swallowing may take.
const SWALLOWING: Duration = Duration::from_secs(5);

/// How long a client may take to send a JSON body.
const READING: Duration = Duration::from_secs(30);

/// The pieces as they come.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send>>;

/// The body of a request, read at most once.
pub struct Incoming {
    pieces: Pieces,
    /// Whether the end was seen.
    ended: bool,
    /// Whether the client waits for a sign before it sends (`Expect: 100-continue`), which polling would give.
    waits: bool,
    length: Option<u64>,
}

impl Incoming {
    /// A body that is not read yet.
    pub fn new(pieces: Pieces, headers: &HeaderMap) -> Self {
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        Self {
            pieces,
            ended: length == Some(0) || length.is_none() && !headers.contains_key(header::TRANSFER_ENCODING),
            waits: headers.contains_key(header::EXPECT),
            length,
        }
    }

    /// Reads a JSON body; empty when there is none.
    pub async fn read_json(&mut self, headers: &HeaderMap) -> Result<Bytes, Error> {
        if self.ended {
            return Ok(Bytes::new());
        }
        let too_large = || {
            Error::new(
                Code::PayloadTooLarge,
                "The body is larger than 1 MiB, the most that JSON may take here.",
            )
        };
        if self.length.is_some_and(|length| length > JSON_BYTES as u64) {
            return Err(too_large());
        }
        self.waits = false;
        let reading = async {
            let mut body = BytesMut::new();
            while let Some(piece) = self.pieces.next().await {
                let piece = piece.map_err(|_| {
                    Error::new(
                        Code::MalformedJson,
                        "The connection broke before the body was complete.",
                    )
                })?;
                if body.len() + piece.len() > JSON_BYTES {
                    return Err(too_large());
                }
                body.extend_from_slice(&piece);
            }
            self.ended = true;
            Ok(body.freeze())
        };
        let body = clock::timeout(READING, reading)
            .await
            .map_err(|_| Error::new(Code::MalformedJson, "The body did not arrive within 30 seconds."))??;
        if !body.is_empty() {
            require_json(headers)?;
        }
        Ok(body)
    }

    /// Swallows what was not read; `false` when the connection cannot be used any more.
    pub async fn drain(&mut self) -> bool {
        if self.ended {
            return true;
        }
        if self.waits {
            return false;
        }
        let swallowing = async {
            let mut left = SWALLOWED_BYTES;
            while let Some(Ok(piece)) = self.pieces.next().await {
                if piece.len() > left {
                    return false;
                }
                left -= piece.len();
            }
            true
        };
        clock::timeout(SWALLOWING, swallowing).await.unwrap_or(false)
    }
}

/// Refuses what does not say that it is JSON, with the remedy for what `curl -d` sends by itself.
fn require_json(headers: &HeaderMap) -> Result<(), Error> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json") {
        return Ok(());
    }
    Err(Error::new(
        Code::UnsupportedMediaType,
        "The body must be sent as JSON: add -H 'Content-Type: application/json'.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming(pieces: Vec<&'static [u8]>, headers: &HeaderMap) -> Incoming {
        let pieces = futures_util::stream::iter(pieces.into_iter().map(|piece| Ok(Bytes::from_static(piece))));
        Incoming::new(Box::pin(pieces), headers)
    }

    fn headers(list: &[(header::HeaderName, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    const CHUNKED: (header::HeaderName, &str) = (header::TRANSFER_ENCODING, "chunked");

    #[tokio::test]
    async fn a_body_in_pieces_is_put_together() {
        let headers = headers(&[CHUNKED, (header::CONTENT_TYPE, "application/json; charset=utf-8")]);
        let mut body = incoming(vec![b"{\"a\"", b":1}"], &headers);
        assert_eq!(body.read_json(&headers).await.unwrap(), "{\"a\":1}");
        assert!(body.drain().await);
    }

    #[tokio::test]
    async fn what_curl_sends_by_itself_is_refused_with_the_remedy() {
        let headers = headers(&[CHUNKED, (header::CONTENT_TYPE, "application/x-www-form-urlencoded")]);
        let error = incoming(vec![b"{}"], &headers).read_json(&headers).await.unwrap_err();
        assert_eq!(error.code, Code::UnsupportedMediaType);
        assert!(error.message.contains("-H 'Content-Type: application/json'"));
    }

    #[tokio::test]
    async fn a_body_without_a_length_is_cut_at_the_limit_and_the_rest_is_swallowed() {
        static BIG: [u8; 700 << 10] = [b' '; 700 << 10];
        let headers = headers(&[CHUNKED, (header::CONTENT_TYPE, "application/json")]);
        let mut body = incoming(vec![&BIG, &BIG, &BIG], &headers);
        assert_eq!(body.read_json(&headers).await.unwrap_err().code, Code::PayloadTooLarge);
        assert!(body.drain().await);
        assert!(body.pieces.next().await.is_none());
    }

    #[tokio::test]
    async fn a_client_that_waits_for_a_sign_is_told_before_it_sends() {
        let headers = headers(&[(header::CONTENT_LENGTH, "99999999"), (header::EXPECT, "100-continue")]);
        let mut body = incoming(vec![b"x"], &headers);
        assert_eq!(body.read_json(&headers).await.unwrap_err().code, Code::PayloadTooLarge);
        assert!(!body.drain().await, "the connection is closed instead");
        assert!(body.pieces.next().await.is_some(), "nothing was read");
    }
}
