//! Opens the socket to WhatsApp and remembers why it could not.
//!
//! The client library reports a failed connection attempt in its log alone, so this is where an attempt's fate is
//! observed: every step of the dial is named, and the open socket is watched, because a refused Noise certificate
//! shows only as the client hanging up after the server's first answer.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Ready, ready};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_websockets::ClientBuilder;
use tower_service::Service;
use whatsapp_rust::async_channel::Receiver;
use whatsapp_rust::wacore::net::{Transport, TransportEvent, TransportFactory, WHATSAPP_WEB_ORIGIN};

use super::resends::Gate;
use super::tls;
use super::trouble::Trouble;
use crate::domain::Timestamp;
use crate::sys::{clock, tcp};

/// Where to dial.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub uri: http::Uri,
    host: String,
    pub port: u16,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

impl Target {
    /// Reads `wss://…`, or `ws://` with a loopback host.
    pub fn parse(url: &str) -> Result<Self, Trouble> {
        let wrong = || Trouble::new("url", "The setting whatsapp.url must be a wss:// address.");
        let uri: http::Uri = url.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("wss") => true,
            Some("ws") => false,
            _ => return Err(wrong()),
        };
        let host = uri.host().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { uri, host, port, tls })
    }

    /// The host's name, for messages.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether this is the real WhatsApp, where a version can be asked for.
    pub fn is_whatsapp(&self) -> bool {
        self.host == "web.whatsapp.com"
    }
}

/// What became of the last connection attempt.
#[derive(Default)]
pub(super) struct Attempt {
    trouble: Mutex<Option<Trouble>>,
    open: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    closed_by_peer: AtomicBool,
    last_received_ms: AtomicI64,
}

impl Attempt {
    fn begin(&self) {
        self.set(None);
        self.open.store(false, Ordering::Relaxed);
        self.sent.store(0, Ordering::Relaxed);
        self.received.store(0, Ordering::Relaxed);
        self.closed_by_peer.store(false, Ordering::Relaxed);
    }

    fn set(&self, trouble: Option<Trouble>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// When the last byte came.
    pub fn last_received_at(&self) -> Option<Timestamp> {
        let millis = self.last_received_ms.load(Ordering::Relaxed);
        (millis > 0).then(|| Timestamp::from_millis(millis))
    }

    /// Why an attempt that never got to a login failed.
    ///
    /// One frame out, an answer in, and then the client itself hung up: it did not accept the certificate in that
    /// answer. An accepted one is followed by a second frame at once (Noise XX), or by a login (IK).
    pub fn explain(&self, host: &str) -> Trouble {
        if let Some(trouble) = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return trouble;
        }
        if !self.open.load(Ordering::Relaxed) || self.closed_by_peer.load(Ordering::Relaxed) {
            return Trouble::network();
        }
        let (sent, received) = (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed));
        match (sent, received) {
            (_, 0) => Trouble::timeout(host),
            (1, _) => Trouble::certificate(host),
            _ => Trouble::network(),
        }
    }
}

/// Makes sockets for one session.
pub(super) struct Dialer {
    target: Result<Target, Trouble>,
    timeout: Duration,
    attempt: Arc<Attempt>,
    gate: Arc<Gate>,
}

impl Dialer {
    /// A dialer that reports into `attempt` and whose sockets write when `gate` is open.
    pub fn new(target: Result<Target, Trouble>, timeout: Duration, attempt: Arc<Attempt>, gate: Arc<Gate>) -> Self {
        Self {
            target,
            timeout,
            attempt,
            gate,
        }
    }

    async fn dial(&self) -> Result<(Arc<dyn Transport>, Receiver<TransportEvent>), Trouble> {
        let Target {
            uri,
            host,
            port,
            tls: encrypted,
        } = self.target.as_ref().map_err(Clone::clone)?;
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), *port))
            .await
            .map_err(|_| Trouble::dns(host))?
            .collect();
        let allowed: Vec<SocketAddr> = addresses
            .iter()
            .copied()
            .filter(|address| may_dial(address.ip(), *encrypted))
            .collect();
        if allowed.is_empty() {
            return Err(if addresses.is_empty() {
                Trouble::dns(host)
            } else if cfg!(feature = "sandbox") {
                Trouble::forbidden(
                    "The sandbox may connect to this machine alone. Use the normal program for WhatsApp.",
                )
            } else {
                Trouble::forbidden(
                    "Without TLS only this machine may be dialled. Use a wss:// address in whatsapp.url.",
                )
            });
        }
        // The other half is for what follows on the connection.
        let tcp = connect(host, allowed, self.timeout / 2).await?;
        let socket = Socket {
            attempt: self.attempt.clone(),
            inner: tcp,
        };
        if *encrypted {
            let name = ServerName::try_from(host.clone()).map_err(|_| Trouble::tls("the host name is invalid"))?;
            let stream = tls::connector()?
                .connect(name, socket)
                .await
                .map_err(|error| Trouble::tls(&tls::detail(&error)))?;
            self.upgrade(uri, host, stream).await
        } else {
            self.upgrade(uri, host, socket).await
        }
    }

    async fn upgrade<S>(
        &self,
        uri: &http::Uri,
        host: &str,
        stream: S,
    ) -> Result<(Arc<dyn Transport>, Receiver<TransportEvent>), Trouble>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (websocket, _) = ClientBuilder::from_uri(uri.clone())
            .add_header(
                http::header::ORIGIN,
                http::HeaderValue::from_static(WHATSAPP_WEB_ORIGIN),
            )
            .map_err(|_| Trouble::not_whatsapp(host))?
            .connect_on(stream)
            .await
            .map_err(|_| Trouble::not_whatsapp(host))?;
        self.attempt.received.store(0, Ordering::Relaxed);
        self.attempt.open.store(true, Ordering::Relaxed);
        let (inner, events) = whatsapp_rust::transport::from_websocket(websocket);
        let (attempt, gate) = (self.attempt.clone(), self.gate.clone());
        Ok((Arc::new(Watched { inner, attempt, gate }), events))
    }
}

#[async_trait]
impl TransportFactory for Dialer {
    async fn create_transport(&self) -> anyhow::Result<(Arc<dyn Transport>, Receiver<TransportEvent>)> {
        self.attempt.begin();
        let result = match clock::timeout(self.timeout, self.dial()).await {
            Ok(result) => result,
            Err(_) => Err(Trouble::timeout(self.target.as_ref().map_or("WhatsApp", Target::host))),
        };
        result.map_err(|trouble| {
            let error = anyhow::anyhow!("{}", trouble.code);
            self.attempt.set(Some(trouble));
            error
        })
    }
}

/// Whether an address may be dialled: a sandbox build skips WhatsApp's certificate check, and plain `ws://` has no
/// protection of its own, so both stay on this machine.
pub(super) fn may_dial(ip: IpAddr, tls: bool) -> bool {
    if cfg!(feature = "sandbox") || !tls {
        return ip.to_canonical().is_loopback();
    }
    true
}

/// Connects to the first address that answers, within this long at most.
async fn connect(host: &str, addresses: Vec<SocketAddr>, within: Duration) -> Result<TcpStream, Trouble> {
    let mut connector = tcp::connector(Resolved(addresses), within);
    // A name, so that the addresses are asked for, and without a port, so that theirs counts.
    let connected = connector.call(http::Uri::from_static("tcp://resolved")).await;
    connected.map(TokioIo::into_inner).map_err(|error| {
        let cause = error.source().and_then(<dyn Error>::downcast_ref::<io::Error>);
        match cause.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => Trouble::refused(host),
            Some(io::ErrorKind::TimedOut) => Trouble::timeout(host),
            _ => Trouble::unreachable(host),
        }
    })
}

/// Addresses that were resolved, and judged, before.
#[derive(Clone)]
struct Resolved(Vec<SocketAddr>);

impl Service<Name> for Resolved {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(self.0.clone().into_iter()))
    }
}

/// A socket that notes what comes in.
struct Socket {
    inner: TcpStream,
    attempt: Arc<Attempt>,
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        match &polled {
            Poll::Ready(Ok(())) => {
                let count = buffer.filled().len() - before;
                if count == 0 {
                    self.attempt.closed_by_peer.store(true, Ordering::Relaxed);
                } else {
                    self.attempt.received.fetch_add(count as u64, Ordering::Relaxed);
                    self.attempt
                        .last_received_ms
                        .store(clock::now().millis(), Ordering::Relaxed);
                }
            }
            Poll::Ready(Err(_)) => self.attempt.closed_by_peer.store(true, Ordering::Relaxed),
            Poll::Pending => {}
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A transport that counts what goes out, when it may go out.
struct Watched {
    inner: Arc<dyn Transport>,
    attempt: Arc<Attempt>,
    gate: Arc<Gate>,
}

#[async_trait]
impl Transport for Watched {
    async fn send(&self, data: Bytes) -> anyhow::Result<()> {
        self.gate.passed().await;
        self.attempt.sent.fetch_add(1, Ordering::Relaxed);
        self.inner.send(data).await
    }

    async fn disconnect(&self) {
        self.inner.disconnect().await;
    }

    fn resource_report(&self) -> Option<whatsapp_rust::wacore::stats::TransportResourceReport> {
        self.inner.resource_report()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialer(url: &str) -> (Dialer, Arc<Attempt>) {
        let attempt = Arc::new(Attempt::default());
        let target = Target::parse(url);
        assert!(target.is_ok());
        (
            Dialer::new(target, Duration::from_secs(5), attempt.clone(), Arc::default()),
            attempt,
        )
    }

    async fn trouble_of(url: &str) -> &'static str {
        let (dialer, attempt) = dialer(url);
        assert!(dialer.create_transport().await.is_err());
        attempt.explain("host").code
    }

    #[tokio::test]
    async fn a_closed_port_is_told_as_refused() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert_eq!(trouble_of(&format!("ws://127.0.0.1:{port}/ws/chat")).await, "refused");
    }

    #[tokio::test]
    async fn an_address_that_swallows_packets_does_not_cost_the_connection() {
        let alive = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = alive.local_addr().unwrap();
        for ip in ["::1", "127.0.0.1"] {
            let (dead, ..) = &tcp::black_hole(ip).await;
            let within = Duration::from_secs(4);
            let connected = clock::timeout(within, connect("host", vec![*dead, to], within)).await;
            let connected = connected.expect("in time").map_err(|trouble| trouble.code);
            assert_eq!(connected.unwrap().peer_addr().unwrap(), to, "past {dead}");
            let alone = connect("host", vec![*dead], Duration::from_millis(100)).await;
            assert_eq!(alone.map_err(|trouble| trouble.code).unwrap_err(), "timeout");
        }
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_told_as_dns() {
        assert_eq!(trouble_of("ws://nowhere.invalid/ws/chat").await, "dns");
    }

    #[tokio::test]
    async fn plain_sockets_stay_on_this_machine() {
        assert_eq!(trouble_of("ws://192.0.2.1/ws/chat").await, "forbidden_address");
        assert_eq!(trouble_of("ws://[2001:db8::1]/ws/chat").await, "forbidden_address");
    }

    #[cfg(feature = "sandbox")]
    #[tokio::test]
    async fn a_sandbox_dials_no_other_machine_even_with_tls() {
        assert_eq!(trouble_of("wss://192.0.2.1/ws/chat").await, "forbidden_address");
    }

    #[test]
    fn mapped_addresses_do_not_smuggle_another_machine_past_the_guard() {
        assert!(!may_dial("::ffff:192.0.2.1".parse().unwrap(), false));
        assert!(may_dial("::ffff:127.0.0.1".parse().unwrap(), false));
        assert!(may_dial("::1".parse().unwrap(), false));
    }

    #[tokio::test]
    async fn an_answer_that_is_no_websocket_is_told() {
        use tokio::io::AsyncWriteExt as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await
                .unwrap();
        });
        assert_eq!(trouble_of(&format!("ws://127.0.0.1:{port}/ws/chat")).await, "websocket");
    }

    #[tokio::test]
    async fn a_server_that_speaks_no_tls_is_told_as_tls() {
        use tokio::io::AsyncWriteExt as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        });
        assert_eq!(trouble_of(&format!("wss://127.0.0.1:{port}/ws/chat")).await, "tls");
    }

    #[test]
    fn only_websocket_addresses_are_taken() {
        assert!(Target::parse("https://web.whatsapp.com/ws/chat").is_err());
        assert!(Target::parse("nonsense").is_err());
        assert!(Target::parse("wss://web.whatsapp.com/ws/chat").unwrap().is_whatsapp());
        assert!(!Target::parse("ws://127.0.0.1:1/ws/chat").unwrap().is_whatsapp());
    }
}
