//! `serve`: puts the rooms together, runs until told to stop, takes them apart in the opposite order.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::arguments::Serve;
use super::context::Context;
use super::dashboard;
use super::failure::Failure;
use super::heartbeat;
use super::offline::cannot_open;
use super::options;
use super::reload::Reloader;
use super::sockets::{self, AdminSocket};
use super::state::State;
use crate::app::App;
use crate::bus::Bus;
use crate::config::{Config, exposure};
use crate::engine::Engine;
use crate::http;
use crate::store::{Store, SweepLimits};
use crate::sys::clock;
use crate::sys::current::Current;
use crate::sys::process;
use crate::sys::service::{self, Patience};
use crate::telemetry;
use crate::webhooks::Webhooks;

/// Running requests get four seconds of this from the site itself. All of these together leave a second and more of the
/// ten that `docker stop` grants.
const SITE_STOPS_WITHIN: Duration = Duration::from_millis(4_500);
const ENGINE_STOPS_WITHIN: Duration = Duration::from_millis(2_500);
const STORE_STOPS_WITHIN: Duration = Duration::from_millis(1_500);
#[cfg(feature = "sandbox")]
const SIMULATOR_STOPS_WITHIN: Duration = Duration::from_millis(500);

/// How often old data is removed; the more often, the less at once.
const SWEEP_EVERY: Duration = Duration::from_mins(10);

pub(super) async fn run(context: &Context, serve: Serve) -> Result<(), Failure> {
    let config = context.config();
    // Before anything is touched.
    if let Some(refusal) = exposure(config) {
        return Err(Failure::Usage(refusal));
    }
    telemetry::start(&config.log.level, options::log_format(config))
        .map_err(|error| Failure::Usage(error.to_string()))?;
    for warning in &context.loaded.warnings {
        tracing::warn!("{warning}");
    }
    process::raise_descriptor_limit();
    #[cfg(feature = "sandbox")]
    let plan = super::sandbox::Plan::of(context, &serve.sandbox)?;
    #[cfg(not(feature = "sandbox"))]
    let _ = serve;

    // From here on a signal ends the program cleanly, whatever has been opened by then.
    let mut signals = Signals::listen()?;
    let (mut running, mut reloader) = start(
        context,
        #[cfg(feature = "sandbox")]
        plan,
    )
    .await?;

    let stopped_by_itself = loop {
        tokio::select! {
            wish = signals.next() => match wish {
                Wish::End(signal) => {
                    tracing::info!(signal, "stopping");
                    service::stopping("stopping");
                    break None;
                }
                Wish::Reload => {
                    service::reloading();
                    reloader.reload().await;
                    service::ready(&heartbeat::status(&running.app));
                }
            },
            ended = &mut running.site => break Some(ended),
        }
    };
    let second = tokio::spawn(async move {
        let signal = loop {
            if let Wish::End(signal) = signals.next().await {
                break signal;
            }
        };
        tracing::warn!(
            signal,
            "stopping at once; what was not finished comes back at the next start"
        );
        std::process::exit(1);
    });
    let stopped = running.stop(stopped_by_itself).await;
    second.abort();
    stopped
}

/// Opens the rooms from the ground up and lets callers in.
async fn start(
    context: &Context,
    #[cfg(feature = "sandbox")] plan: super::sandbox::Plan,
) -> Result<(Running, Reloader<'_>), Failure> {
    let config = context.config();
    let (tcp, address) = open_port(config).await?;
    let state = State::prepare(context)?;
    for warning in &state.warnings {
        tracing::warn!("{warning}");
    }
    let bus = Bus::new();
    let store = {
        // After a crash a large file is walked through, and an older one is rewritten.
        let _patience = Patience::ask("opening the store");
        Store::open(&state.store, bus.sink()).map_err(|error| cannot_open(&error))?
    };
    bus.start_at(store.head());
    let (admin_socket, admin) = AdminSocket::bind(&context.socket).await?;
    #[cfg(feature = "sandbox")]
    let simulation = plan.start(&context.state).await?;

    let engine_options = options::engine(config);
    #[cfg(feature = "sandbox")]
    let engine_options = crate::engine::Options {
        url: simulation.url(),
        ..engine_options
    };
    let engine = Engine::start(store.clone(), engine_options).await;
    let webhooks = Webhooks::start(store.clone(), &bus, options::webhooks(config, &state)?)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let app = App::new(store.clone(), bus, engine, webhooks, &options::app(config, &state));
    if let Some(password) = &config.dashboard.password
        && app.sessions.configure_password(password).await?
    {
        tracing::info!("the setting dashboard.password is the dashboard's password now; all sign-ins have ended");
    }
    // Before anybody is let in, so that whoever reads "listening" finds it done.
    if state.is_first_start() {
        first_start(config, &app).await?;
        #[cfg(feature = "sandbox")]
        simulation.demonstrate(context, &app).await?;
        state.first_start_is_done()?;
    }
    let page = page_address(address);
    let site_options = http::Options {
        #[cfg(feature = "sandbox")]
        simulator: simulation.inside(),
        ..options::site(config, &page)
    };
    let listeners = http::Listeners {
        tcp: vec![tcp],
        admin: Some(admin),
    };
    let reloader = Reloader {
        context,
        running: config.clone(),
        app: app.clone(),
        cors_origins: site_options.cors_origins.clone(),
        sweep: options::sweep(config).into(),
    };
    let shutdown = CancellationToken::new();
    let running = Running {
        site: tokio::spawn(http::serve(app.clone(), listeners, site_options, shutdown.clone())),
        sweeper: tokio::spawn(sweep(store, reloader.sweep.clone())),
        heartbeat: tokio::spawn(heartbeat::beat(app.clone(), context.socket.clone())),
        app,
        shutdown,
        admin_socket,
        #[cfg(feature = "sandbox")]
        simulation,
    };
    tracing::info!(%address, state = %context.state.display(), version = env!("CARGO_PKG_VERSION"), "listening on {page}");
    service::ready(&heartbeat::status(&running.app));
    #[cfg(feature = "sandbox")]
    let introduced = running.simulation.introduce(context, &running.app, &page);
    #[cfg(not(feature = "sandbox"))]
    let introduced = false;
    if !introduced {
        dashboard::invite(context, &running.app, &page);
    }
    Ok((running, reloader))
}

/// Opens the port; a warning when what passes it can be read on the way.
async fn open_port(config: &Config) -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = sockets::listen(config.listen).await?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::Failed(format!("the port has no address: {error}")))?;
    if config.insecure && !address.ip().to_canonical().is_loopback() {
        tracing::warn!(
            %address,
            "insecure: keys, messages and the page's cookie cross the network readable to everybody on the way"
        );
    }
    Ok((listener, address))
}

/// Registers the key that the installation's script has chosen. Only at the first start: a key that was revoked since
/// must not come back.
async fn first_start(config: &Config, app: &App) -> Result<(), Failure> {
    if let Some(key) = &config.bootstrap_key {
        app.keys.register_bootstrap_key(key.expose()).await?;
        tracing::info!("the bootstrap key was registered");
    }
    Ok(())
}

/// How the task of the site ended.
type SiteEnd = Result<std::io::Result<()>, JoinError>;

/// Everything that has to be taken apart.
struct Running {
    app: App,
    site: JoinHandle<std::io::Result<()>>,
    sweeper: JoinHandle<()>,
    heartbeat: JoinHandle<()>,
    shutdown: CancellationToken,
    admin_socket: AdminSocket,
    #[cfg(feature = "sandbox")]
    simulation: super::sandbox::Simulation,
}

impl Running {
    /// Takes the rooms apart from the top: nobody comes in, streams end, sessions end, the file is closed.
    async fn stop(self, ended: Option<SiteEnd>) -> Result<(), Failure> {
        // First, or it would miss the site that is about to go.
        self.heartbeat.abort();
        self.shutdown.cancel();
        self.sweeper.abort();
        let ended = match ended {
            None => clock::timeout(SITE_STOPS_WITHIN, self.site).await.ok(),
            ended => ended,
        };
        // Webhooks bound their own end, which is shorter.
        let (sessions, ()) = tokio::join!(
            clock::timeout(ENGINE_STOPS_WITHIN, self.app.engine.stop()),
            self.app.webhooks.stop()
        );
        if sessions.is_err() {
            tracing::warn!("some sessions did not end in time; they come back from their stored state");
        }
        if clock::timeout(STORE_STOPS_WITHIN, self.app.store.close())
            .await
            .is_err()
        {
            tracing::warn!("the store was not closed in time; nothing committed is lost");
        }
        #[cfg(feature = "sandbox")]
        if clock::timeout(SIMULATOR_STOPS_WITHIN, self.simulation.stop())
            .await
            .is_err()
        {
            tracing::warn!("the simulator did not end in time");
        }
        drop(self.admin_socket);
        match ended {
            Some(Ok(Ok(()))) => tracing::info!("stopped"),
            Some(Ok(Err(error))) => return Err(Failure::Failed(format!("the HTTP site ended: {error}"))),
            Some(Err(error)) => return Err(Failure::Failed(format!("the HTTP site crashed: {error}"))),
            None => tracing::warn!("stopped; some requests were cut off because they took too long"),
        }
        Ok(())
    }
}

/// What a signal asks for.
enum Wish {
    End(&'static str),
    Reload,
}

/// The signals that are heeded.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// Whether a person started this at a terminal.
    at_terminal: bool,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::Failed(format!("signals cannot be received: {error}")));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
            at_terminal: std::io::stderr().is_terminal(),
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::End("SIGTERM"),
            _ = self.interrupt.recv() => Wish::End("SIGINT"),
            _ = self.hang_up.recv() => {
                // Sent too when the terminal is closed, where the person expects the end.
                if self.at_terminal && !std::io::stderr().is_terminal() {
                    Wish::End("SIGHUP")
                } else {
                    Wish::Reload
                }
            }
        }
    }
}

/// The address as a person can open it: "every address of this machine" is none that a browser knows.
fn page_address(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// Removes what is too old or too much, at start and then every ten minutes.
async fn sweep(store: Store, limits: Current<SweepLimits>) {
    loop {
        match store.sweep(*limits.get()).await {
            Ok(swept) => tracing::debug!(events = swept.events, "old data removed"),
            Err(error) => tracing::error!(%error, "old data could not be removed"),
        }
        clock::sleep(SWEEP_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_that_is_printed_can_be_opened() {
        for (bound, shown) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:80", "http://[::1]:80"),
            ("192.168.1.2:1", "http://192.168.1.2:1"),
        ] {
            assert_eq!(page_address(bound.parse().unwrap()), shown);
        }
    }
}
