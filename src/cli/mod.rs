//! The commands of the program, and the one place where the rooms are put together: [`serve`].
//!
//! `serve` owns the state folder. Every other command talks to it over the Unix socket in that folder, with the same
//! API that everybody uses; only `keys`, `password`, `backup` and `compact` can open the store themselves when no server runs, and `restore` wants
//! none to run.
//!
//! As root, and without another word, they are about the service of this machine: `/var/lib/whatisup`, with the settings
//! in `/etc/whatisup/whatisup.toml`. What they make there belongs to the service's user.
//!
//! Standard output carries what was asked for and nothing else, so that it can be piped; notes and errors go to standard
//! error. Exit codes: 0 done, 1 the operation failed, 2 the command line or the configuration is wrong.

mod arguments;
mod audit;
mod backup;
mod client;
mod compact;
mod configuration;
mod context;
mod dashboard;
mod doctor;
mod events;
mod failure;
mod heartbeat;
mod instances;
mod keys;
mod log_level;
mod manual;
mod offline;
mod options;
mod output;
mod prompt;
mod reload;
mod restore;
#[cfg(feature = "sandbox")]
mod sandbox;
mod sealing;
mod send;
mod serve;
mod sockets;
mod state;
mod webhooks;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command, Webhooks};
use context::Context;
use failure::Failure;

/// The name of this program; a sandbox build never bears the product's.
pub const PROGRAM: &str = arguments::program!();

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    crate::sys::paths::make_new_files_private();
    let arguments = Arguments::parse();
    let json = arguments.global.json;
    match dispatch(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

fn dispatch(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { global, command } = arguments;
    // A package is built where there are no settings, and a wrong one is no reason to complete nothing; that settings
    // cannot be used is among what doctor tells.
    match &command {
        Command::Completions { shell } => return manual::completions(*shell),
        Command::Man { folder } => return manual::man(folder),
        Command::Doctor(wanted) => return doctor::run(&global, wanted),
        _ => {}
    }
    let flags = match &command {
        Command::Serve(serve) => serve.flags(),
        _ => Vec::new(),
    };
    let context = match &command {
        Command::Serve(_) => Context::of_server(&global, flags)?,
        _ => Context::load(&global, flags)?,
    };
    match command {
        Command::Serve(serve) => runtime(true)?.block_on(serve::run(&context, serve)),
        Command::SetupLink => runtime(false)?.block_on(dashboard::setup_link(&context)),
        Command::Password => runtime(false)?.block_on(dashboard::password(&context)),
        Command::Keys { command } => runtime(false)?.block_on(keys::run(&context, command)),
        Command::Audit(wanted) => runtime(false)?.block_on(audit::run(&context, wanted)),
        Command::LogLevel(wanted) => runtime(false)?.block_on(log_level::run(&context, wanted)),
        Command::Instances { command } => runtime(false)?.block_on(instances::run(&context, command)),
        Command::Send(send) => runtime(false)?.block_on(send::run(&context, send)),
        Command::Events(events) => runtime(false)?.block_on(events::run(&context, events)),
        Command::Webhooks {
            command: Webhooks::Listen(wanted),
        } => runtime(false)?.block_on(webhooks::listen(&context, wanted)),
        Command::Backup(wanted) => runtime(false)?.block_on(backup::run(&context, wanted)),
        Command::Restore(wanted) => runtime(false)?.block_on(restore::run(&context, wanted)),
        Command::Compact => runtime(false)?.block_on(compact::run(&context)),
        Command::Config { command } => configuration::run(&context, &command),
        // Done above.
        Command::Completions { .. } | Command::Man { .. } | Command::Doctor(_) => Ok(()),
    }
}

/// The server uses every core; a command that asks one question does not start threads for it.
fn runtime(server: bool) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = if server {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let built = builder.enable_all().build();
    built.map_err(|error| Failure::failed(format!("the runtime cannot be started: {error}")))
}
