//! Sockets: accepted, tuned, served by hyper, ended.
//!
//! warp's own server sets neither `TCP_NODELAY` nor a header timeout and waits for streams that never end, so the loop
//! is ours; each connection is served by warp's service of the site's filter.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::site::Site;
use crate::sys::clock;

/// How long a client may take to send the head of a request, or to send the next one on an open connection.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);

/// How long running requests get when the process stops.
const DRAIN: Duration = Duration::from_secs(4);

/// What the kernel may hold for a client that does not read; its own tuning goes up to 4 MiB.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// A client that acknowledges nothing for this long is gone, even if nobody said so.
const SILENCE: Duration = Duration::from_secs(30);

/// Connections of the admin socket that may be open at once.
const ADMIN_CONNECTIONS: usize = 256;

/// Where a request came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// Over TCP, from here.
    Address(SocketAddr),
    /// Through the admin socket, which only the owner can open.
    Owner,
}

/// A socket that hands out connections.
pub enum Listener {
    /// For everybody with a key.
    Tcp(TcpListener),
    /// For the owner.
    Admin(UnixListener),
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    async fn accept(&self) -> std::io::Result<(Socket, Peer)> {
        match self {
            Listener::Tcp(listener) => {
                let (socket, address) = listener.accept().await?;
                Ok((Socket::Tcp(socket), Peer::Address(address)))
            }
            Listener::Admin(listener) => {
                let (socket, _) = listener.accept().await?;
                Ok((Socket::Unix(socket), Peer::Owner))
            }
        }
    }

    const fn capacity(&self, site: &Site) -> usize {
        match self {
            Listener::Tcp(_) => site.options.max_connections,
            Listener::Admin(_) => ADMIN_CONNECTIONS,
        }
    }
}

/// Accepts and serves until the site stops; then connections get a moment to finish.
pub async fn serve(listener: Listener, site: Arc<Site>) {
    let room = Arc::new(Semaphore::new(listener.capacity(&site).min(Semaphore::MAX_PERMITS)));
    let stopping = site.shutdown.clone();
    let mut connections = JoinSet::new();
    let is_port = matches!(listener, Listener::Tcp(_));
    if is_port {
        site.note_open();
    }
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            // Finished tasks are collected as they end, so that the set holds only open connections.
            Some(_) = connections.join_next() => continue,
            accepted = next(&listener, &room) => accepted,
        };
        match accepted {
            Ok((socket, peer, seat)) => {
                let (site, stopping) = (site.clone(), stopping.clone());
                connections.spawn(async move {
                    match socket {
                        Socket::Tcp(socket) => {
                            if let Err(error) = tune(&socket) {
                                tracing::debug!(%error, "a socket could not be tuned");
                            }
                            converse(socket, peer, site, stopping).await;
                        }
                        Socket::Unix(socket) => converse(socket, peer, site, stopping).await,
                    }
                    drop(seat);
                });
            }
            // One client that went away before it was accepted is no news; running out of descriptors passes.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                clock::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    if is_port {
        site.note_closed();
    }
    let finished = clock::timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    if finished.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "connections were cut because they did not end in time"
        );
        connections.shutdown().await;
    }
}

async fn next(
    listener: &Listener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(Socket, Peer, tokio::sync::OwnedSemaphorePermit)> {
    // Who finds no room waits in the kernel's queue. The semaphore is never closed.
    let seat = room.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (socket, peer) = listener.accept().await?;
    Ok((socket, peer, seat))
}

/// Small events at once, little memory for stalled readers, and an end for those that vanished.
fn tune(socket: &TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = socket.as_fd();
    sockopt::set_socket_send_buffer_size(socket, SEND_BUFFER_BYTES)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, SILENCE)?;
    sockopt::set_tcp_keepintvl(socket, SILENCE / 3)?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    sockopt::set_tcp_user_timeout(socket, u32::try_from(SILENCE.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

async fn converse<S>(socket: S, peer: Peer, site: Arc<Site>, stopping: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = TowerToHyperService::new(warp::service(super::filter(site)));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        service.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection broke");
    }
}
