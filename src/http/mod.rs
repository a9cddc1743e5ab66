//! The HTTP site: the API, the live stream, the page, health.
//!
//! Read [`route`] first: it is the table of everything that can be called. [`site`] takes a request from the table to
//! its handler in [`v1`] and back; [`error`] alone knows statuses.

mod body;
mod call;
mod connection;
mod cors;
mod docs;
mod error;
mod fields;
mod forwarded;
mod metrics;
mod openapi;
mod reply;
mod route;
mod session;
mod site;
mod tally;
#[cfg(test)]
mod tests;
mod ui;
mod v1;

use std::sync::Arc;

use futures_util::StreamExt as _;
use http::{HeaderMap, Method};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use warp::Filter;
use warp::path::FullPath;

use crate::app::App;
use crate::sys::current::Current;
use body::Incoming;
use connection::{Listener, Peer};
use site::{Arrival, Site};

/// How the site behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Origins whose pages may call the API from a browser; empty means every origin (a key is needed anyway).
    pub cors_origins: Current<Vec<String>>,
    /// Whether only a reverse proxy reaches the port, so that what it says of callers is believed.
    pub behind_proxy: bool,
    /// The address of the page as a person can open it, for one-time links.
    pub page: String,
    /// Connections that may be open at once; more wait in the kernel's queue.
    pub max_connections: usize,
    /// The simulator inside, for the calls under `/v1/sandbox`; without one they answer 404.
    #[cfg(feature = "sandbox")]
    pub simulator: Option<SimulatorInside>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cors_origins: Vec::new().into(),
            behind_proxy: false,
            page: "http://127.0.0.1:8080".to_owned(),
            max_connections: 20_000,
            #[cfg(feature = "sandbox")]
            simulator: None,
        }
    }
}

/// Where the simulator inside is, and whom it simulates.
#[cfg(feature = "sandbox")]
#[derive(Clone, Debug)]
pub struct SimulatorInside {
    /// Its admin interface and chat socket; loopback.
    pub addr: std::net::SocketAddr,
    /// The phone that scans, in digits.
    pub account: String,
    /// Phones to write to and from, in digits.
    pub contacts: Vec<String>,
}

/// Where callers come in.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For everybody with a key.
    pub tcp: Vec<TcpListener>,
    /// For the owner of the machine: who can open it needs no key.
    pub admin: Option<UnixListener>,
}

/// Serves until `shutdown` is cancelled; then streams end, running requests get at most four seconds, and it returns.
pub async fn serve(
    app: App,
    listeners: Listeners,
    options: Options,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let bus = app.bus.clone();
    let site = Arc::new(Site::new(app, options, shutdown.clone()));
    let tcp = listeners.tcp.into_iter().map(Listener::Tcp);
    let admin = listeners.admin.into_iter().map(Listener::Admin);
    let mut serving: JoinSet<()> = tcp
        .chain(admin)
        .map(|listener| connection::serve(listener, site.clone()))
        .collect();
    let crashed = tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        ended = serving.join_next() => ended,
    };
    // Told to nobody, a door that crashed would stay shut while the gateway goes on. A door that is told of the end before
    // this is has not crashed.
    if let Some(ended) = crashed
        && !shutdown.is_cancelled()
    {
        ended.map_err(std::io::Error::other)?;
        return Err(std::io::Error::other("a listener ended"));
    }
    shutdown.cancelled().await;
    // Streams have no end of their own; everything else finishes by itself.
    bus.close();
    while let Some(ended) = serving.join_next().await {
        ended.map_err(std::io::Error::other)?;
    }
    Ok(())
}

/// The whole site as one filter: warp takes the request apart, the table decides.
fn filter(
    site: Arc<Site>,
) -> impl Filter<Extract = (warp::reply::Response,), Error = warp::Rejection> + Clone + Send + Sync + 'static {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let body = warp::body::stream().map(boxed);
    warp::any()
        .map(move || site.clone())
        .and(warp::ext::get::<Peer>())
        .and(warp::method())
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(body)
        .then(
            async |site: Arc<Site>, peer, method: Method, path: FullPath, query, headers: HeaderMap, pieces| {
                let body = Incoming::new(pieces, &headers);
                let arrival = Arrival {
                    peer,
                    method,
                    path: path.as_str().to_owned(),
                    query,
                    headers,
                    body,
                };
                site.answer(arrival).await
            },
        )
}

fn boxed<B, S>(pieces: S) -> body::Pieces
where
    B: bytes::Buf,
    S: futures_util::Stream<Item = Result<B, warp::Error>> + Send + 'static,
{
    Box::pin(pieces.map(|piece| piece.map(|mut piece| piece.copy_to_bytes(piece.remaining()))))
}
