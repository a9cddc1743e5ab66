//! What a handler answers: a status, headers, and bytes or a stream of them.

use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use warp::Reply as _;

/// An answer that is not yet on the wire.
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    content: Content,
}

enum Content {
    Bytes(Bytes),
    Stream(Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>),
}

impl Reply {
    fn of(status: StatusCode, content: Content) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            content,
        }
    }

    /// An object or list.
    pub fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => Self::bytes_of(status, "application/json", json),
            // Our wire types have string keys and no failing serializers, so this is a fault of the program.
            Err(error) => {
                tracing::error!(%error, "an answer could not be encoded");
                Self::of(StatusCode::INTERNAL_SERVER_ERROR, Content::Bytes(Bytes::new()))
            }
        }
    }

    /// 200 and an object or list.
    pub fn ok(value: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, value)
    }

    /// 201, where it is, and what it is.
    pub fn created(location: &str, value: &impl Serialize) -> Self {
        let mut reply = Self::json(StatusCode::CREATED, value);
        if let Ok(location) = HeaderValue::from_str(location) {
            reply.set(header::LOCATION, location);
        }
        reply
    }

    /// 204
    pub fn deleted() -> Self {
        Self::of(StatusCode::NO_CONTENT, Content::Bytes(Bytes::new()))
    }

    /// Anything else that is whole.
    pub fn bytes_of(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let mut reply = Self::of(status, Content::Bytes(bytes.into()));
        reply.set(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        reply
    }

    /// 200 and pieces as they come.
    pub fn stream(content_type: &'static str, pieces: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self::breakable_stream(content_type, pieces.map(Ok))
    }

    /// The same; an error breaks the connection, so that nobody takes half an answer for a whole one.
    pub fn breakable_stream(
        content_type: &'static str,
        pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Self {
        let mut reply = Self::of(StatusCode::OK, Content::Stream(Box::pin(pieces)));
        reply.set(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        reply
    }

    /// Sets a header.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.insert(name, value);
    }

    /// Sets a header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.set(name, HeaderValue::from_static(value));
        self
    }

    /// Notes that the answer depends on a request header.
    pub fn vary_on(&mut self, header: &'static str) {
        self.headers.append(header::VARY, HeaderValue::from_static(header));
    }

    /// The status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// A header as set so far.
    #[cfg(test)]
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, of an answer that is whole.
    #[cfg(test)]
    pub fn bytes(&self) -> &[u8] {
        match &self.content {
            Content::Bytes(bytes) => bytes,
            Content::Stream(_) => panic!("a stream has no end yet"),
        }
    }

    /// Puts it on the wire.
    pub fn into_response(self) -> warp::reply::Response {
        let mut response = match self.content {
            Content::Bytes(bytes) => http::Response::new(bytes).into_response(),
            Content::Stream(pieces) => warp::reply::stream(Pieces(Mutex::new(pieces))).into_response(),
        };
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// warp wants a body that may be shared between threads, which a stream never is: the lock is never taken, only owned.
struct Pieces(Mutex<Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>>);

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let pieces = self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        pieces.as_mut().poll_next(context)
    }
}
