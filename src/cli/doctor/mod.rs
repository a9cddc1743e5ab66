//! `doctor`: looks for what is wrong with an installation, with a running server and without one.
//!
//! It only looks: nothing is created, written or locked, so it can be run beside a server at any time, and on a folder
//! that a server is about to start on. Each family of checks gathers figures and hands them to a pure function that
//! judges them. The network is looked at all at once, so that the whole takes some seconds even where nothing answers.

mod bundle;
mod check;
mod folder;
mod links;
mod machine;
mod mask;
mod network;
mod server;
mod service;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use self::check::{Check, Report, counted, shows_colours};
use self::machine::Times;
use self::server::Presence;
use super::PROGRAM;
use super::arguments::{Doctor, Global};
use super::context::Context;
use super::failure::Failure;
use super::output::Output;
use super::state::store_path;
use crate::engine::reach::{self, Findings};
use crate::sys::clock::{self, Moment, Timestamp};
use crate::sys::locks::{self, Lock};

/// What is skipped when the settings cannot be read, in order.
const NEEDS_SETTINGS: [&str; 18] = [
    "service",
    "permissions",
    "secrets",
    "lock",
    "schema",
    "disk",
    "memory",
    "file_limits",
    "clock",
    "port",
    "proxy",
    "dns",
    "connection",
    "websocket",
    "ipv6",
    "media",
    "webhooks",
    "sessions",
];

/// All checks, and what they were made of.
struct Examination {
    report: Report,
    context: Option<Context>,
    presence: Presence,
    /// The process that has the store open.
    holder: Option<u32>,
}

/// Looks at everything, prints it, and makes the bundle where one is wanted.
pub(super) fn run(global: &Global, wanted: &Doctor) -> Result<(), Failure> {
    if let Some(file) = &wanted.bundle
        && file.symlink_metadata().is_ok()
    {
        return Err(Failure::Usage(format!(
            "{} is there already; name another file for the bundle",
            file.display()
        )));
    }
    let runtime = super::runtime(false)?;
    let examination = runtime.block_on(examine(global, wanted));
    // A name server that does not answer keeps a thread busy for longer than anybody wants to wait.
    runtime.shutdown_background();
    let output = Output { json: global.json };
    let report = &examination.report;
    let made = wanted.bundle.as_deref().map(|file| bundle::make(file, &examination));
    let told = match &made {
        Some(Ok(members)) => Some(members),
        _ => None,
    };
    if output.json {
        let mut json = report.json();
        if let Some((members, file)) = told.zip(wanted.bundle.as_ref()) {
            json["bundle"] = serde_json::json!({"file": file, "members": members});
        }
        output.line(&format!("{json:#}"))?;
    } else {
        output.line(&report.text(shows_colours()))?;
        if let Some((members, file)) = told.zip(wanted.bundle.as_ref()) {
            output.line(&format!(
                "\n{} was made, with: {}.\nNumbers, names, ids, keys, texts and the paths of webhooks are left out or \
                 masked. Look before you send it.",
                file.display(),
                members.join(", ")
            ))?;
        }
    }
    if let Some(Err(failure)) = made {
        return Err(failure);
    }
    if report.failed() { Err(Failure::Told) } else { Ok(()) }
}

async fn examine(global: &Global, wanted: &Doctor) -> Examination {
    let began = (clock::now(), clock::moment());
    let context = match Context::load(global, Vec::new()) {
        Ok(context) => context,
        Err(failure) => return without_settings(&failure),
    };
    let store = store_path(&context.state);
    let lock = locks::of(&store);
    let holder = match lock {
        Lock::Held { pid } => Some(pid),
        _ => None,
    };
    let way = Way::of(&context, wanted.offline);
    let media = media(&context, wanted.offline);
    let (presence, way, media) = tokio::join!(server::ask(&context, wanted.bundle.is_some()), way.look(), async {
        match media {
            Ok(()) => Ok(reach::media().await),
            Err(why) => Err(why),
        }
    });
    let webhooks = links::webhooks(&context, &presence, wanted.offline).await;
    let other = [way.as_ref().ok(), media.as_ref().ok()]
        .into_iter()
        .flatten()
        .find_map(|found| found.date.map(|(theirs, ours)| (theirs, ours, found.host.clone())));
    let file = context.settings_file();
    let mut checks = vec![
        version(&presence),
        configuration(&context, file.as_deref()),
        service::service(&context, file.as_deref(), presence.server().is_some(), holder),
        folder::permissions(&context),
        folder::secrets(&context),
        folder::lock(&presence, lock),
        folder::schema(&context, &presence, lock),
        machine::disk(&context),
        machine::memory(),
        machine::file_limits(&context, holder),
        machine::clock(&Times {
            now: clock::now(),
            stepped: drift(began),
            other,
        }),
        network::port(&context, &presence, holder),
        network::proxy(),
    ];
    match way {
        Ok(found) => checks.extend(network::way(&found)),
        Err(why) => checks.extend(network::WAY.map(|name| Check::skipped(name, why))),
    }
    checks.push(match media {
        Ok(found) => network::media(&found),
        Err(why) => Check::skipped("media", why),
    });
    checks.extend(webhooks);
    checks.extend(links::sessions(&presence));
    Examination {
        report: Report { checks },
        context: Some(context),
        presence,
        holder,
    }
}

/// By how much civil time and monotonic time have drifted apart since.
fn drift((civil, monotonic): (Timestamp, Moment)) -> Duration {
    let by_monotonic = clock::moment().since(monotonic);
    let now = clock::now();
    let expected = civil.plus(by_monotonic);
    now.since(expected).max(expected.since(now))
}

/// How to look at the way to WhatsApp, or why not.
enum Way<'a> {
    To(&'a str),
    Not(&'static str),
}

const OFFLINE: &str = "for --offline";

impl<'a> Way<'a> {
    fn of(context: &'a Context, offline: bool) -> Self {
        if offline {
            return Way::Not(OFFLINE);
        }
        if cfg!(feature = "sandbox") && !context.loaded.sources.contains_key("whatsapp.url") {
            return Way::Not("a sandbox never talks to WhatsApp, and its simulator runs inside");
        }
        Way::To(&context.config().whatsapp.url)
    }

    async fn look(self) -> Result<Findings, &'static str> {
        match self {
            Way::To(url) => Ok(reach::websocket(url).await),
            Way::Not(why) => Err(why),
        }
    }
}

/// Whether to look at the host of media, or why not.
fn media(context: &Context, offline: bool) -> Result<(), &'static str> {
    if offline {
        Err(OFFLINE)
    } else if cfg!(feature = "sandbox") {
        Err("a sandbox never talks to WhatsApp")
    } else if !reach::is_whatsapp(&context.config().whatsapp.url) {
        Err("whatsapp.url names another server, which has media hosts of its own")
    } else {
        Ok(())
    }
}

/// What is left to say when the settings cannot be read: nearly everything depends on them.
fn without_settings(failure: &Failure) -> Examination {
    let advice = format!("mend the settings; `{PROGRAM} config check` tells when they can be used");
    let mut checks = vec![
        version(&Presence::Absent),
        Check::fail("configuration", failure.to_string(), advice),
    ];
    for name in NEEDS_SETTINGS {
        checks.push(match name {
            "memory" => machine::memory(),
            "proxy" => network::proxy(),
            name => Check::skipped(name, "the settings must be readable first"),
        });
    }
    Examination {
        report: Report { checks },
        context: None,
        presence: Presence::Absent,
        holder: None,
    }
}

/// What this program is, for people and for whoever gets a bundle.
fn build() -> String {
    let environment = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    let kind = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!(
        "{PROGRAM} {}, {}-{}-{environment}, {kind} build",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS
    )
}

/// Which version this is, and whether the running server is the same.
fn version(presence: &Presence) -> Check {
    const NAME: &str = "version";
    let own = env!("CARGO_PKG_VERSION");
    let Some(server) = presence.server() else {
        return Check::ok(NAME, build());
    };
    let its = match server::text(&server.system, "/version") {
        "" => "another version",
        version => version,
    };
    let is_sandbox = server.system["sandbox"] == true;
    if its != own || is_sandbox != cfg!(feature = "sandbox") {
        let kind = if is_sandbox { " (sandbox)" } else { "" };
        return Check::warn(
            NAME,
            format!("{}; the running server is {its}{kind}", build()),
            format!("restart the server after an upgrade: systemctl restart {PROGRAM}"),
        );
    }
    Check::ok(NAME, format!("{}; the running server is the same", build()))
}

/// That the settings can be used, what is odd about them, and who may change their file.
fn configuration(context: &Context, file: Option<&Path>) -> Check {
    const NAME: &str = "configuration";
    let given = counted(context.loaded.sources.len(), "setting");
    let found = match file {
        Some(file) => format!("{} and its surroundings give {given}", file.display()),
        None => format!("no file; the environment and the command line give {given}"),
    };
    let mut odd = context.loaded.warnings.clone();
    if let Some(file) = file
        && std::fs::metadata(file).is_ok_and(|metadata| metadata.mode() & 0o022 != 0)
    {
        odd.push(format!("other users may change {}; chmod go-w it", file.display()));
    }
    if odd.is_empty() {
        return Check::ok(NAME, found);
    }
    Check::warn(NAME, odd.join("; "), "mend or remove what is named here")
}
