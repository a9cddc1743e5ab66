//! The program `whatsapp-simulator`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use whatsapp_simulator::{Options, Simulator};

/// A WhatsApp server and phones for tests: clients connect to ws://127.0.0.1:PORT/ws/chat (or wss), people and tests
/// drive the phones through http://127.0.0.1:PORT/admin (or https). Media is at https://127.0.0.1:PORT.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Port on 127.0.0.1; 0 picks a free one. The address is the first line on stdout.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Speak only HTTPS and WSS on the port. Without it both are spoken, since clients fetch media by HTTPS always.
    /// The certificate to trust is in GET /admin/certificate and in the state folder.
    #[arg(long)]
    tls: bool,
    /// Folder that keeps keys, accounts, links and queues across restarts.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Phones that exist from the start, numbered from 5511999990001.
    #[arg(long, default_value_t = 0, value_name = "N")]
    phones: u32,
    /// New phones mark messages from clients as read and echo them.
    #[arg(long)]
    answering: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("whatsapp-simulator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let simulator = Simulator::start(Options {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port)),
        state: arguments.state,
        phones: arguments.phones,
        answering: arguments.answering,
        tls: arguments.tls,
    })
    .await?;
    println!("listening on {}", simulator.addr());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    simulator.shutdown().await;
    Ok(())
}
