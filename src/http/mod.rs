//! The HTTP site: the API, the page, health.

use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// How the site behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Origins whose pages may call the API from a browser; empty means every origin (a key is needed anyway).
    pub cors_origins: Vec<String>,
    /// Connections that may be open at once; more wait in the kernel's queue.
    pub max_connections: usize,
    /// The simulator inside, for the calls under `/v1/sandbox`; without one they answer 404.
    #[cfg(feature = "sandbox")]
    pub simulator: Option<SimulatorInside>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cors_origins: Vec::new(),
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

/// Serves until `shutdown` is cancelled; then streams end, running requests get at most five seconds, and it returns.
pub async fn serve(
    app: App,
    listeners: Listeners,
    options: Options,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let _ = (app, listeners, options);
    shutdown.cancelled().await;
    Ok(())
}
