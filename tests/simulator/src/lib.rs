//! A WhatsApp server and phones that speak the real wire protocol, for tests and the sandbox.
//!
//! Nothing here is faked towards a client: it meets a Noise handshake with a signed certificate chain, binary stanzas,
//! linking with real signatures, prekeys, and phones (device 0 of every account) that hold real Signal sessions. What a
//! client sends is checked, and refused when wrong.
//!
//! ```text
//! server ─► tls, noise, wire     one port, plain and TLS: WebSocket, media and admin interface
//!    │  └─► pairing, login       a socket's life before and after it is linked
//!    ├────► admin                people and tests
//!    ├────► media                sealed media, uploaded and downloaded
//!    └────► world                all state behind one lock; a stanza is one transaction
//!             ├─ routing, iq     what the server does with a stanza
//!             ├─ group           who is in which group, and how messages to many travel
//!             ├─ phone           what the phones do with it
//!             ├─ account, queue  who exists, and what waits for whom
//!             └─ state           the journal: written before anything is answered
//! ```
//!
//! Start reading at [`world`](self) for the rule that keeps a killed process honest.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

mod account;
mod admin;
mod adv;
mod app_state;
mod calls;
mod cert;
mod clock;
mod device_list;
mod ending;
mod fault;
mod group;
mod hexadecimal;
mod iq;
mod link_code;
mod load;
mod login;
mod media;
mod noise;
mod pairing;
mod passkey;
mod phone;
mod pictures;
mod presence;
mod profile;
mod queue;
mod reset;
mod routing;
mod server;
mod stanza;
mod state;
mod stats;
mod tls;
mod wire;
mod world;

use server::Door;
use state::{Journal, Records};
use world::{Hub, World};

/// The first of the phones that exist from the start.
pub(crate) const FIRST_PHONE: u64 = 5_511_999_990_001;

/// What a simulator is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; loopback only, port 0 picks a free one.
    pub listen: SocketAddr,
    /// Folder for keys, accounts, links and queues; without one everything is forgotten at the end.
    pub state: Option<PathBuf>,
    /// How many phones exist from the start, numbered from 5511999990001.
    pub phones: u32,
    /// Whether new phones mark messages from clients as read and echo them.
    pub answering: bool,
    /// Whether only TLS is spoken (`https` and `wss`); media is spoken by TLS in any case.
    pub tls: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            state: None,
            phones: 0,
            answering: false,
            tls: false,
        }
    }
}

/// A running simulator; dropping it ends it without waiting.
#[derive(Debug)]
pub struct Simulator {
    addr: SocketAddr,
    certificate: String,
    stop: watch::Sender<bool>,
    server: JoinHandle<Result<()>>,
}

impl Simulator {
    /// Binds and serves; when this returns, clients may connect.
    ///
    /// Fails when the address is not loopback or taken, and when the state folder is unreadable or in use.
    pub async fn start(options: Options) -> Result<Simulator> {
        if !options.listen.ip().is_loopback() {
            bail!("the simulator listens on loopback only, not on {}", options.listen.ip());
        }
        let (journal, records) = match &options.state {
            Some(folder) => Journal::open(folder)?,
            None => (Journal::in_memory(), Records::new()),
        };
        let world = World::new(journal, &records, options.answering)?;
        drop(records);
        let (stop, stopping) = watch::channel(false);
        let hub = Hub::new(world, stopping);
        hub.act(|world| {
            world.phones_at_start = options.phones;
            world.make_first_phones()?;
            world.everybody_looks();
            Ok(())
        })?;
        let (certificate, acceptor) = hub.look(|world| {
            if let Some(folder) = &options.state {
                world.tls.publish(folder)?;
            }
            Ok::<_, anyhow::Error>((world.tls.pem(), world.tls.acceptor()?))
        })?;
        let listener = TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("cannot listen on {}", options.listen))?;
        let addr = listener.local_addr()?;
        hub.act(|world| {
            world.media.host = addr.to_string();
            Ok(())
        })?;
        tracing::info!(%addr, tls_only = options.tls, "simulator listens");
        if let Some(folder) = &options.state {
            let file = folder.join(tls::CERTIFICATE_FILE);
            tracing::info!(file = %file.display(), "clients that check certificates trust this file");
        }
        let door = Door {
            acceptor,
            tls_only: options.tls,
        };
        let server = tokio::spawn(async move {
            server::serve(hub.clone(), listener, door).await;
            hub.act(|world| world.journal.sync())
        });
        Ok(Self {
            addr,
            certificate,
            stop,
            server,
        })
    }

    /// The bound address: `ws://{addr}/ws/chat` for clients, `http://{addr}/admin` for people and tests; `wss` and
    /// `https` work there too, and alone with [`Options::tls`].
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The certificate that TLS clients have to trust, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Ends every socket and flushes the state.
    pub async fn shutdown(self) {
        // An error means that the server is gone already.
        let _ = self.stop.send(true);
        match self.server.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = format!("{error:#}"), "the simulator's state was not flushed"),
            Err(error) => tracing::error!(%error, "the simulator's server failed"),
        }
    }
}
