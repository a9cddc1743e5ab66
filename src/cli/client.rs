//! The API over the Unix socket of a running server: who can open the socket needs no key.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::failure::{Failure, Refusal};
use crate::sys::clock;

/// Longer than the server waits for WhatsApp, so that its own reason arrives.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

/// The largest answer that is read; a list page is far below.
const LARGEST_ANSWER: usize = 16 << 20;

/// Why a server cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreachable {
    /// Nobody listens there.
    #[error("nobody listens on the socket {}", .0.display())]
    NoServer(PathBuf),
    /// The path does not fit into the address of a Unix socket.
    #[error("the socket's path {} is longer than {} bytes; name a shorter one with --admin-socket", .0.display(), crate::sys::paths::SOCKET_PATH_BYTES)]
    PathTooLong(PathBuf),
    /// Another user's.
    #[error("the socket {} is not yours to open; run this as the user of the server", .0.display())]
    Forbidden(PathBuf),
    /// Anything else.
    #[error("the server on {} cannot be reached: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<Unreachable> for Failure {
    fn from(error: Unreachable) -> Self {
        Failure::Failed(error.to_string())
    }
}

/// Opens a socket that a server may listen on.
pub(super) async fn open(path: &Path) -> Result<UnixStream, Unreachable> {
    if path.as_os_str().len() > crate::sys::paths::SOCKET_PATH_BYTES {
        return Err(Unreachable::PathTooLong(path.to_owned()));
    }
    UnixStream::connect(path).await.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Unreachable::NoServer(path.to_owned()),
        io::ErrorKind::PermissionDenied => Unreachable::Forbidden(path.to_owned()),
        _ => Unreachable::Io {
            path: path.to_owned(),
            source,
        },
    })
}

/// A client of one server; every call is a connection of its own.
#[derive(Clone, Debug)]
pub(super) struct Client {
    socket: PathBuf,
}

impl Client {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Whether a server listens.
    pub(super) async fn answers(&self) -> Result<bool, Failure> {
        match open(&self.socket).await {
            Ok(_) => Ok(true),
            Err(Unreachable::NoServer(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// `GET`, answered with JSON.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json(Method::GET, path, None).await
    }

    /// `POST`, answered with JSON.
    pub(super) async fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        self.json(Method::POST, path, body).await
    }

    /// `PUT`, answered with nothing.
    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<(), Failure> {
        self.json(Method::PUT, path, Some(body)).await.map(drop)
    }

    /// `DELETE`, answered with nothing.
    pub(super) async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.json(Method::DELETE, path, None).await.map(drop)
    }

    /// `GET` of another type than JSON.
    pub(super) async fn get_text(&self, path: &str, accept: &str) -> Result<String, Failure> {
        let bytes = self
            .bytes(self.request(Method::GET, path, None, &[(ACCEPT.as_str(), accept)])?)
            .await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Every item of a list, page by page.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        self.list_up_to(&format!("{path}?"), usize::MAX).await
    }

    /// The first items of a list, page by page; `path` has its query already, or a bare question mark.
    pub(super) async fn list_up_to(&self, path: &str, most: usize) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let behind = cursor
                .map(|cursor| format!("&cursor={}", encoded(&cursor)))
                .unwrap_or_default();
            let mut page = self.get(&format!("{path}limit=100{behind}")).await?;
            if let Value::Array(data) = page["data"].take() {
                items.extend(data);
            }
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() || items.len() >= most {
                items.truncate(most);
                return Ok(items);
            }
        }
    }

    /// The id behind what a person calls an instance: the id itself, or a name that only one has.
    pub(super) async fn instance(&self, called: &str) -> Result<String, Failure> {
        if called.starts_with("inst_") {
            return Ok(called.to_owned());
        }
        let all = self.list("/v1/instances").await?;
        let mut ids = all
            .iter()
            .filter(|one| one["name"] == called)
            .filter_map(|one| one["id"].as_str());
        match (ids.next(), ids.next()) {
            (Some(id), None) => Ok(id.to_owned()),
            (None, _) => Err(Failure::Failed(format!(
                "there is no instance called \"{called}\"; `{} instances list` shows them",
                super::PROGRAM
            ))),
            (Some(one), Some(other)) => Err(Failure::Failed(format!(
                "several instances are called \"{called}\" ({one}, {other}, …); say which by its id"
            ))),
        }
    }

    /// Opens a stream; the answer's head has arrived and was a success.
    pub(super) async fn stream(&self, path: &str, last_event_id: Option<&str>) -> Result<Incoming, Failure> {
        let mut headers = vec![(ACCEPT.as_str(), "text/event-stream")];
        headers.extend(last_event_id.map(|id| ("last-event-id", id)));
        let response = self.exchange(self.request(Method::GET, path, None, &headers)?).await?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        Err(refusal(response).await)
    }

    /// `POST`, answered with a stream of bytes, however long the server takes to begin.
    pub(super) async fn download(&self, path: &str) -> Result<Incoming, Failure> {
        let response = self.exchange(self.request(Method::POST, path, None, &[])?).await?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        Err(refusal(response).await)
    }

    async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let bytes = self.bytes(self.request(method, path, body, &[])?).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes)
            .map_err(|_| Failure::failed("the server's answer is no JSON; is it of the same version?"))
    }

    #[expect(clippy::unused_self, reason = "a request belongs to its client")]
    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bytes = match body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        request
            .body(Full::new(bytes))
            .map_err(|error| Failure::Usage(format!("this cannot be asked of a server: {error}")))
    }

    async fn bytes(&self, request: Request<Full<Bytes>>) -> Result<Bytes, Failure> {
        let all = async {
            let response = self.exchange(request).await?;
            if !response.status().is_success() {
                return Err(refusal(response).await);
            }
            collect(response)
                .await
                .ok_or_else(|| Failure::failed("the connection to the server broke during its answer"))
        };
        clock::timeout(ANSWER_WITHIN, all).await.unwrap_or_else(|_| {
            Err(Failure::failed(
                "the server did not answer within a minute; its log may say why",
            ))
        })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        let broke = |error: hyper::Error| Failure::Failed(format!("the connection to the server broke: {error}"));
        let stream = open(&self.socket).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
        // Ends by itself with the response; its error reaches the response's body too.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(broke)
    }
}

async fn refusal(response: Response<Incoming>) -> Failure {
    let status = response.status().as_u16();
    let body = collect(response).await.unwrap_or_default();
    Failure::Refused(Box::new(Refusal::of_reply(status, &body)))
}

async fn collect(response: Response<Incoming>) -> Option<Bytes> {
    let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
    body.ok().map(http_body_util::Collected::to_bytes)
}

/// A text as a part of a path or a query: what is not unreserved becomes `%XX`.
pub(super) fn encoded(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_types_cannot_leave_its_place_in_the_path() {
        assert_eq!(encoded("inst_01J~"), "inst_01J~");
        assert_eq!(encoded("../keys?a=b ç"), "..%2Fkeys%3Fa%3Db%20%C3%A7");
    }

    #[tokio::test]
    async fn a_socket_without_a_server_and_a_path_too_long_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        assert!(matches!(open(&path).await, Err(Unreachable::NoServer(_))));
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(
            matches!(open(&path).await, Err(Unreachable::NoServer(_))),
            "a stale socket"
        );
        let long = folder.path().join("x".repeat(120));
        assert!(matches!(open(&long).await, Err(Unreachable::PathTooLong(_))));
    }
}
