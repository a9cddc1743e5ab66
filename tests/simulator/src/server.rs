//! The TCP port, plain and TLS: `WebSocket`s under `/ws/chat`, the admin interface under `/admin`.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_websockets::ServerBuilder;

use crate::admin::{self, Refusal};
use crate::cert::Forged;
use crate::ending::{Ending, hold};
use crate::fault::{Kind, Stage, Whom};
use crate::media::{self, Body};
use crate::noise::{self, Pattern};
use crate::pictures::WEB_FOLDER;
use crate::tls;
use crate::wire::{FrameSocket, Wire};
use crate::world::Hub;
use crate::{login, pairing};

/// Where clients connect.
const CHAT_PATH: &str = "/ws/chat";
/// What every WebSocket key is hashed with.
const WEBSOCKET_SALT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A client that has not finished its handshake by then is cut.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(20);
/// HTTP request heads must arrive within this.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// Sockets at once.
const CONNECTIONS: usize = 4096;
/// How long sockets may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a connection is let in by.
pub(crate) struct Door {
    /// The TLS half.
    pub(crate) acceptor: TlsAcceptor,
    /// Whether the plain half only says that it is not spoken.
    pub(crate) tls_only: bool,
}

/// How a client speaks, and whether that is enough.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speech {
    Tls,
    Plain,
    /// Plain where only TLS is spoken.
    Refused,
}

/// Accepts until the simulator ends, then waits for the sockets.
pub(crate) async fn serve(hub: Hub, listener: TcpListener, door: Door) {
    let door = Arc::new(door);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(hub.clone(), stream, door.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = hub.stopped() => break,
        }
    }
    drop(listener);
    let goodbye = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, goodbye).await.is_err() {
        connections.shutdown().await;
    }
}

/// The WebSocket of a connection once its HTTP part has agreed to the upgrade.
type Upgrade = Arc<Mutex<Option<OnUpgrade>>>;

async fn connection(hub: Hub, stream: TcpStream, door: Arc<Door>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let opened = tokio::select! {
        opened = tokio::time::timeout(HEAD_LIMIT, open(stream, &door)) => opened,
        () = hub.stopped() => return,
    };
    match opened.context("the client says nothing").flatten() {
        Ok(Opened::Tls(stream)) => speak(&hub, *stream, Speech::Tls).await,
        Ok(Opened::Plain(stream)) if door.tls_only => speak(&hub, stream, Speech::Refused).await,
        Ok(Opened::Plain(stream)) => speak(&hub, stream, Speech::Plain).await,
        Err(error) => tracing::debug!(error = format!("{error:#}"), "a connection did not open"),
    }
}

enum Opened {
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    Plain(TcpStream),
}

/// Listens to the first byte: TLS always begins with the same one, which no HTTP request can begin with.
async fn open(stream: TcpStream, door: &Door) -> Result<Opened> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first[0] == tls::FIRST_BYTE {
        let stream = door.acceptor.accept(stream).await.context("TLS handshake")?;
        Ok(Opened::Tls(Box::new(stream)))
    } else {
        Ok(Opened::Plain(stream))
    }
}

async fn speak<S>(hub: &Hub, stream: S, speech: Speech)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let upgrade = Upgrade::default();
    let service = {
        let (hub, upgrade) = (hub.clone(), upgrade.clone());
        service_fn(move |request| {
            let (hub, upgrade) = (hub.clone(), upgrade.clone());
            async move { Ok::<_, Infallible>(respond(&hub, request, &upgrade, speech).await) }
        })
    };
    let http = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::select! {
        ended = http => if let Err(error) = ended {
            tracing::debug!(%error, "HTTP connection ended");
        },
        () = hub.stopped() => return,
    }
    let agreed = upgrade.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(agreed) = agreed {
        websocket(hub, agreed).await;
    }
}

async fn respond(hub: &Hub, request: Request<Incoming>, upgrade: &Upgrade, speech: Speech) -> Response<Body> {
    let path = request.uri().path();
    if media::is_media(path) && speech != Speech::Refused && is_loopback_host(request.headers()) {
        if speech == Speech::Tls {
            return media::answer(hub, request).await;
        }
        return Refusal::new(
            StatusCode::FORBIDDEN,
            "media is spoken by https:// alone, as on the real servers",
        )
        .into_response()
        .map(media::whole_body);
    }
    talk(hub, request, upgrade, speech).await.map(media::whole_body)
}

async fn talk(hub: &Hub, mut request: Request<Incoming>, upgrade: &Upgrade, speech: Speech) -> Response<Full<Bytes>> {
    if speech == Speech::Refused {
        return Refusal::new(
            StatusCode::BAD_REQUEST,
            "this simulator was started with --tls: use https:// and wss://",
        )
        .into_response();
    }
    if !is_loopback_host(request.headers()) {
        return Refusal::new(StatusCode::FORBIDDEN, "the Host header must name this machine").into_response();
    }
    if request.uri().path() == CHAT_PATH {
        return match accept_key(request.headers()) {
            Some(key) => {
                let agreed = hyper::upgrade::on(&mut request);
                *upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(agreed);
                switching(&key)
            }
            None => Refusal::new(StatusCode::UPGRADE_REQUIRED, "this path speaks WebSocket only").into_response(),
        };
    }
    if request.uri().path().starts_with(WEB_FOLDER) {
        return picture(hub, request.uri().path());
    }
    if !is_own_origin(request.headers(), speech) {
        return Refusal::new(
            StatusCode::FORBIDDEN,
            "pages of other origins may not use the admin interface",
        )
        .into_response();
    }
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, admin::largest_body(head.uri.path())).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            tracing::debug!(%error, "admin request body refused");
            return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or broken").into_response();
        }
    };
    admin::answer(
        hub,
        &head.method,
        head.uri.path(),
        head.uri.query().unwrap_or_default(),
        &body,
    )
    .await
}

/// A profile picture; its address is the permission to see it.
fn picture(hub: &Hub, path: &str) -> Response<Full<Bytes>> {
    let Some(jpeg) = hub.look(|world| world.pictures.at(path).map(|picture| picture.jpeg.clone())) else {
        return Refusal::new(StatusCode::NOT_FOUND, "there is no such picture").into_response();
    };
    let mut response = Response::new(Full::from(jpeg));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The answer to a well-formed WebSocket request.
fn accept_key(headers: &HeaderMap) -> Option<String> {
    let names = |name, wanted: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.split(',').any(|token| token.trim().eq_ignore_ascii_case(wanted)))
    };
    if !names(header::UPGRADE, "websocket") || !names(header::CONNECTION, "upgrade") {
        return None;
    }
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return None;
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(WEBSOCKET_SALT);
    Some(BASE64_STANDARD.encode(hash.finalize()))
}

fn switching(key: &str) -> Response<Full<Bytes>> {
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_ACCEPT, key)
        .body(Full::default())
        .unwrap_or_else(|_| Response::new(Full::default()))
}

fn is_loopback_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    is_loopback_authority(host)
}

fn is_loopback_authority(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<http::uri::Authority>() else {
        return false;
    };
    matches!(authority.host(), "127.0.0.1" | "localhost" | "[::1]")
}

/// No page has business here: only requests without `Origin`, or from the admin interface's own address.
fn is_own_origin(headers: &HeaderMap, speech: Speech) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let scheme = if speech == Speech::Tls { "https://" } else { "http://" };
    let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix(scheme));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    origin.is_some_and(|origin| Some(origin) == host && is_loopback_authority(origin))
}

async fn websocket(hub: &Hub, agreed: OnUpgrade) {
    let count = |change: fn(&mut crate::stats::Stats)| {
        // A journal that cannot be written shows elsewhere; a counter is not worth a second complaint.
        let _ = hub.act(|world| {
            change(&mut world.stats);
            Ok(())
        });
    };
    count(|stats| {
        stats.sockets_opened += 1;
        stats.sockets_open += 1;
    });
    if let Err(error) = converse(hub, agreed).await {
        tracing::debug!(error = format!("{error:#}"), "a client's socket ended");
    }
    count(|stats| stats.sockets_open -= 1);
}

async fn converse(hub: &Hub, agreed: OnUpgrade) -> Result<()> {
    let upgraded = tokio::time::timeout(HANDSHAKE_LIMIT, agreed)
        .await
        .context("no upgrade")??;
    let mut frames = FrameSocket::new(ServerBuilder::new().serve(TokioIo::new(upgraded)));
    match hub.act(|world| Ok(world.planned_end(Stage::Handshake, Whom::default())))? {
        None => {}
        Some((ending, _)) => return fail_handshake(hub, frames, &ending).await,
    }
    let (statics, chain) = hub.act(|world| {
        let forged = if world.strike(Kind::CertIntermediate, Whom::default()).is_some() {
            Some(Forged::Intermediate)
        } else {
            world.strike(Kind::CertLeaf, Whom::default()).map(|_| Forged::Leaf)
        };
        Ok((world.keys.noise_static().clone(), world.keys.chain(forged)?))
    })?;
    let handshake = tokio::select! {
        done = tokio::time::timeout(HANDSHAKE_LIMIT, noise::accept(&mut frames, &statics, &chain)) => done,
        () = hub.stopped() => return Ok(()),
    };
    let established = match handshake.context("the handshake took too long").flatten() {
        Ok(established) => established,
        Err(error) => {
            hub.act(|world| {
                world.stats.handshakes.failed += 1;
                Ok(())
            })?;
            return Err(error.context("handshake"));
        }
    };
    hub.act(|world| {
        let handshakes = &mut world.stats.handshakes;
        match established.pattern {
            Pattern::Xx => handshakes.xx += 1,
            Pattern::Ik => handshakes.ik += 1,
            Pattern::XxFallback => handshakes.xx_fallback += 1,
        }
        Ok(())
    })?;
    let wire = Wire::new(frames, established.read, established.write);
    if established.payload.device_pairing_data.is_set() {
        pairing::serve(hub, wire, &established.payload, established.client_static).await
    } else {
        login::serve(hub, wire, &established.payload, &established.client_static).await
    }
}

/// Ends a handshake in the middle: the client has said hello and gets no answer.
async fn fail_handshake(hub: &Hub, mut frames: FrameSocket, ending: &Ending) -> Result<()> {
    let hello = async {
        tokio::select! {
            hello = tokio::time::timeout(HANDSHAKE_LIMIT, frames.recv()) => hello.context("no hello")?.map(|_| ()),
            () = hub.stopped() => Ok(()),
        }
    };
    hello.await?;
    hub.act(|world| {
        world.stats.handshakes.failed += 1;
        Ok(())
    })?;
    if *ending == Ending::Dead {
        hold(hub, &crate::world::Wake::default(), |_| false).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn only_names_of_this_machine_are_hosts() {
        for good in ["127.0.0.1:8080", "localhost", "localhost:1", "[::1]:9"] {
            assert!(is_loopback_authority(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1:80",
            "localhost@evil.example",
        ] {
            assert!(!is_loopback_authority(bad), "{bad}");
        }
    }

    #[test]
    fn pages_of_other_origins_are_strangers() {
        assert!(is_own_origin(&headers(&[("host", "127.0.0.1:1")]), Speech::Plain));
        for (own, speech) in [
            ("http://127.0.0.1:1", Speech::Plain),
            ("https://127.0.0.1:1", Speech::Tls),
        ] {
            let headers = headers(&[("host", "127.0.0.1:1"), ("origin", own)]);
            assert!(is_own_origin(&headers, speech), "{own}");
        }
        for origin in [
            "null",
            "http://127.0.0.1:2",
            "https://127.0.0.1:1",
            "http://evil.example",
            "https://web.whatsapp.com",
        ] {
            assert!(
                !is_own_origin(&headers(&[("host", "127.0.0.1:1"), ("origin", origin)]), Speech::Plain),
                "{origin}"
            );
        }
    }

    #[test]
    fn the_accept_key_is_the_one_of_the_standard() {
        let request = headers(&[
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]);
        assert_eq!(accept_key(&request).as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(accept_key(&headers(&[("upgrade", "websocket")])), None);
    }
}
