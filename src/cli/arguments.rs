//! What the command line looks like. Doc comments here are the help texts.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Flag;
use crate::domain::Timestamp;
use crate::domain::access::Scope;
use crate::domain::event::EventName;

/// The program's name as a literal, for help texts.
#[cfg(not(feature = "sandbox"))]
macro_rules! program {
    () => {
        "whatisup"
    };
}
#[cfg(feature = "sandbox")]
macro_rules! program {
    () => {
        "whatisup-sandbox"
    };
}
pub(super) use program;

const ABOUT: &str = if cfg!(feature = "sandbox") {
    "WhatIsUp with a simulated WhatsApp inside: try everything without a phone. Never talks to the real WhatsApp."
} else {
    "A self-hosted WhatsApp gateway: HTTP API, live events, one binary."
};

const EXAMPLES: &str = concat!(
    "Examples:\n  ",
    program!(),
    " serve                                 start the gateway on 127.0.0.1:8080\n  ",
    program!(),
    " setup-link                            print the link that sets the page's password\n  ",
    program!(),
    " keys create --name laptop             make an API key\n  ",
    program!(),
    " instances create Support              make an instance\n  ",
    program!(),
    " instances qr Support                  draw its QR code here, to be scanned\n  ",
    program!(),
    " send Support 5511999990002 'Hello'    send a text\n  ",
    program!(),
    " events                                watch what happens, one JSON object a line\n\n",
    "Settings come from --config, the environment and flags; `",
    program!(),
    " config show` explains each."
);

/// The whole command line.
#[derive(Parser, Debug)]
#[command(name = program!(), version, about = ABOUT, after_help = EXAMPLES)]
#[command(propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command understands.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Folder of the gateway's state; commands find the running server through it
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// TOML file with settings
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help = "TOML file with settings [env: WHATISUP_CONFIG]"
    )]
    pub config: Option<PathBuf>,
    /// Unix socket for these commands [default: admin.sock in the state folder]
    #[arg(long, global = true, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
    /// Any setting, by its path: --set limits.burst=0
    #[arg(long = "set", global = true, value_name = "SETTING=VALUE")]
    pub set: Vec<String>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
}

/// What can be done.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the gateway until it is told to stop
    Serve(Serve),
    /// Print a fresh one-time link that sets the dashboard's first password
    #[command(after_help = concat!(
        "The link works once, for 24 hours, while the server that made it runs; an older one stops working.\n",
        "With a password set already there is nothing to set up: `", program!(), " password` sets another."
    ))]
    SetupLink,
    /// Set the dashboard's password, also a forgotten one; ends all sign-ins
    #[command(after_help = concat!(
        "Examples:\n  ", program!(), " password                         asks twice, shows nothing\n  ",
        program!(), " password <password.txt           takes the first line\n\n",
        "10 to 200 characters, not all the same. Works with and without a running server. For installations that are\n",
        "set up by a script, WHATISUP_DASHBOARD_PASSWORD_FILE names a file with the password instead."
    ))]
    Password,
    /// API keys: create, list, revoke
    Keys {
        #[command(subcommand)]
        command: Keys,
    },
    /// Who changed what, newest first
    Audit(Audit),
    /// Show how much the running server logs, or change it until its next start
    #[command(after_help = concat!(
        "Examples:\n  ", program!(), " log-level\n  ", program!(), " log-level debug\n\n",
        "SIGHUP and a restart bring the setting log.level back."
    ))]
    LogLevel(LogLevel),
    /// Instances: create, link by QR, connect, remove
    Instances {
        #[command(subcommand)]
        command: Instances,
    },
    /// Send a text
    Send(Send),
    /// Watch what happens, one JSON object a line
    Events(Events),
    /// Webhooks: a receiver for trying them out
    Webhooks {
        #[command(subcommand)]
        command: Webhooks,
    },
    /// Look for what is wrong with this installation, and say what to do
    Doctor(Doctor),
    /// Write everything into one file, while the gateway runs or not
    Backup(Backup),
    /// Put a backup in the place of the state folder; the server must not run
    Restore(Restore),
    /// Give the space of deleted data back to the disk; the server must not run
    Compact,
    /// Show or check the settings
    Config {
        #[command(subcommand)]
        command: Config,
    },
    /// Print what lets a shell complete these commands
    #[command(after_help = concat!(
        "Packages bring this along. For a program that was put in place by hand:\n  bash   ",
        program!(), " completions bash >~/.local/share/bash-completion/completions/", program!(), "\n  zsh    ",
        program!(), " completions zsh >\"${fpath[1]}/_", program!(), "\"\n  fish   ",
        program!(), " completions fish >~/.config/fish/completions/", program!(), ".fish"
    ))]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages into a folder
    #[command(after_help = concat!(
        "Packages bring them along. For a program that was put in place by hand:\n  ",
        program!(), " man ~/.local/share/man/man1 && man ", program!()
    ))]
    Man {
        /// The folder; it is made if it is not there
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// `serve`
#[derive(Args, Debug, Default)]
#[command(after_help = concat!(
    "Examples:\n  ", program!(), " serve\n  ",
    program!(), " serve --listen 127.0.0.1:0 --state ./state\n  ",
    program!(), " serve --listen 0.0.0.0:8080 --behind-proxy\n  ",
    "WHATISUP_LOG_FORMAT=json ", program!(), " serve --config /etc/whatisup/whatisup.toml\n\n",
    "SIGTERM and SIGINT end it cleanly; a second one ends it at once. SIGHUP reads the settings again: log.level,\n",
    "cors.origins, dashboard.password, journal.*, audit.*, webhooks.* and most of limits.* count from then on, nothing is\n",
    "interrupted, and the log names what needs a restart."
))]
pub struct Serve {
    /// Address and port of the API and the page; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<OsString>,
    /// A reverse proxy is in front and nobody else reaches the port: listen beyond this machine, and believe the proxy
    /// who the caller is
    #[arg(long, conflicts_with = "insecure")]
    pub behind_proxy: bool,
    /// Listen beyond this machine without TLS: everybody on the way can read keys and messages
    #[arg(long)]
    pub insecure: bool,
    /// How much is logged: error, warn, info, debug, trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<OsString>,
    /// What log lines look like: text, json or journal [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<OsString>,
    #[cfg(feature = "sandbox")]
    #[command(flatten)]
    pub sandbox: Sandbox,
}

impl Serve {
    /// The flags that are settings.
    pub fn flags(&self) -> Vec<Flag> {
        let switches = [
            ("--behind-proxy", "behind_proxy", self.behind_proxy),
            ("--insecure", "insecure", self.insecure),
        ]
        .into_iter()
        .filter(|(.., is_given)| *is_given)
        .map(|(flag, path, _)| Flag {
            flag: flag.into(),
            path: path.into(),
            value: "true".into(),
        });
        let values = [
            ("--listen", "listen", &self.listen),
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
        ]
        .into_iter()
        .filter_map(|(flag, path, value)| {
            Some(Flag {
                flag: flag.into(),
                path: path.into(),
                value: value.clone()?,
            })
        });
        switches.chain(values).collect()
    }
}

/// The simulated WhatsApp of `serve`.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Simulated WhatsApp")]
pub struct Sandbox {
    /// Where the simulator inside listens: its admin interface and its WebSocket [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "simulator")]
    pub simulator_listen: Option<SocketAddr>,
    /// Use a simulator that runs already, on loopback; nothing is created by itself then
    #[arg(long, value_name = "ws://127.0.0.1:PORT/ws/chat")]
    pub simulator: Option<String>,
    /// Let the simulated phone scan the first instance at once, unless it is linked
    #[arg(long, conflicts_with = "simulator")]
    pub scan: bool,
}

/// `keys …`
#[derive(Subcommand, Debug)]
pub enum Keys {
    /// Make a key and print it, this once; works without a running server
    #[command(after_help = concat!(
        "Examples:\n  ", program!(), " keys create --name laptop\n  ",
        "KEY=$(", program!(), " keys create --name bot --instance inst_… --scopes messages:send,events:read)"
    ))]
    Create {
        /// What the key is for, 1 to 100 characters
        #[arg(long)]
        name: String,
        /// Bind the key to one instance (id or name)
        #[arg(long, value_name = "INSTANCE")]
        instance: Option<String>,
        /// What the key may do, joined by commas; without it, everything
        #[arg(long, value_delimiter = ',', value_parser = scope, value_name = "SCOPE,…")]
        scopes: Vec<Scope>,
        /// When the key stops working, such as 2030-01-31T12:00:00Z
        #[arg(long, value_name = "TIME")]
        expires_at: Option<Timestamp>,
    },
    /// List the keys that work; a key itself is never shown again
    List,
    /// End a key at once, and its open streams
    Revoke {
        /// The key's id, key_…
        #[arg(value_name = "KEY_ID")]
        id: String,
    },
}

/// `audit`
#[derive(Args, Debug)]
#[command(after_help = concat!(
    "Examples:\n  ", program!(), " audit\n  ",
    program!(), " audit --action instances. --limit 500 --json"
))]
pub struct Audit {
    /// Only this, such as keys.create, or all that begin alike, such as instances.
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// Only about this instance (id, or name while it is there)
    #[arg(long, value_name = "INSTANCE")]
    pub instance: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

/// `log-level`
#[derive(Args, Debug)]
pub struct LogLevel {
    /// error, warn, info, debug or trace
    #[arg(value_name = "LEVEL", value_parser = ["error", "warn", "info", "debug", "trace"])]
    pub level: Option<String>,
}

/// `instances …`
#[derive(Subcommand, Debug)]
pub enum Instances {
    /// List the instances
    List,
    /// Make an instance; link it with `instances qr` afterwards
    Create {
        /// Its name, 1 to 100 characters
        name: String,
    },
    /// Show one instance and how its link stands
    Show {
        /// Id or name
        instance: String,
    },
    /// Draw the QR code here and wait until a phone has scanned it
    Qr {
        /// Id or name
        instance: String,
        /// Draw the code of this moment and end
        #[arg(long)]
        once: bool,
    },
    /// Print a code to type on the phone instead of scanning: Linked devices, Link with phone number instead
    PairCode {
        /// Id or name
        instance: String,
        /// The phone's number with country code
        number: String,
    },
    /// Connect a linked instance
    Connect {
        /// Id or name
        instance: String,
    },
    /// Disconnect; the link stays
    Disconnect {
        /// Id or name
        instance: String,
    },
    /// Disconnect and connect again
    Restart {
        /// Id or name
        instance: String,
    },
    /// Unlink from the phone; the instance stays
    Logout {
        /// Id or name
        instance: String,
    },
    /// Unlink and remove the instance
    Delete {
        /// Id or name
        instance: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// `send`
#[derive(Args, Debug)]
#[command(after_help = concat!(
    "Examples:\n  ", program!(), " send Support 5511999990002 'Hello'\n  ",
    "date | ", program!(), " send Support 5511999990002 -"
))]
pub struct Send {
    /// Id or name of the instance that sends
    pub instance: String,
    /// International phone number or JID
    pub to: String,
    /// The text; `-` reads it from standard input
    #[arg(allow_hyphen_values = true)]
    pub text: String,
    /// Your own reference: the same one within 24 hours sends nothing twice
    #[arg(long, value_name = "REF")]
    pub client_ref: Option<String>,
}

/// `events`
#[derive(Args, Debug)]
#[command(after_help = concat!(
    "Examples:\n  ", program!(), " events --events message.received\n  ",
    program!(), " events | jq -r 'select(.event == \"message.received\") | .body.text'\n\n",
    "When the server restarts, the command waits for it and goes on where it was."
))]
pub struct Events {
    /// Only of this instance (id or name)
    #[arg(long, value_name = "INSTANCE")]
    pub instance: Option<String>,
    /// Only these, joined by commas
    #[arg(long = "events", value_delimiter = ',', value_parser = event_name, value_name = "EVENT,…")]
    pub names: Vec<EventName>,
    /// First what happened since this event id
    #[arg(long, value_name = "EVENT_ID")]
    pub since: Option<String>,
}

/// `backup`
#[derive(Args, Debug)]
#[command(after_help = concat!(
    "Examples:\n  ", program!(), " backup \"/var/backups/whatisup-$(date +%F).tar.gz\"\n  ",
    program!(), " backup --encrypt whatisup.tar.gz.age\n  ",
    program!(), " backup - --passphrase-file /root/passphrase | ssh host 'cat >whatisup.tar.gz.age'\n\n",
    "In it: a snapshot of the store, the pepper and secrets.key (also when settings name them elsewhere), with sizes and\n",
    "hashes. Not in it: the configuration file, logs. A running gateway goes on meanwhile; without one the store is read\n",
    "as it lies there. The snapshot needs free space in the state folder, about as much as store.redb has.\n\n",
    "Whoever has the file has every linked phone and every key. With a passphrase it is encrypted as `age -p` does, and\n",
    "`age -d` opens it too; WHATISUP_BACKUP_PASSPHRASE_FILE may name the file with the passphrase."
))]
pub struct Backup {
    /// The file to write, or `-` for standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    pub force: bool,
    /// Ask for a passphrase and encrypt with it
    #[arg(long)]
    pub encrypt: bool,
    /// Encrypt with the passphrase in this file
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// `restore`
#[derive(Args, Debug)]
#[command(after_help = concat!(
    "Examples:\n  ", program!(), " restore whatisup-2030-01-31.tar.gz\n  ",
    "sudo ", program!(), " restore --state /var/lib/whatisup --force whatisup.tar.gz.age\n\n",
    "Before you do: the installation that the backup was made of must be off for good. Two that run with the same link\n",
    "throw each other out until WhatsApp ends it.\n\n",
    "A backup is as old as it is. Keys that change with each message are of then: what comes next may be unreadable at\n",
    "first and is asked for again by itself, which mostly works. Messages that were accepted and not yet sent then are\n",
    "sent now, under their old ids, unless they are older than 24 hours; those that WhatsApp has already are not shown\n",
    "twice. Webhook deliveries that were due then are made again, with the same ids. Events since then are gone.\n\n",
    "The backup is checked as a whole before anything takes its place. With --force, what was there is kept in the folder\n",
    "before-restore-TIME inside the state folder. Files get the owner of the folder. A backup of an older version is\n",
    "brought up to date at the next start; the configuration file is in no backup."
))]
pub struct Restore {
    /// The backup, or `-` for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Also into a folder that is not empty; what was there is kept beside
    #[arg(long)]
    pub force: bool,
    /// The passphrase of the backup is in this file
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// `webhooks …`
#[derive(Subcommand, Debug)]
pub enum Webhooks {
    /// Receive webhooks on this machine, check their signatures and print them
    Listen(Listen),
}

/// `webhooks listen`
#[derive(Args, Debug)]
#[command(after_help = concat!(
    "Examples:\n  ", program!(), " webhooks listen --port 9000 --secret whsec_…\n  ",
    program!(), " webhooks listen --port 9000 --answer 500     see how a failing receiver is retried\n\n",
    "Let a gateway on this machine call it: WHATISUP_WEBHOOKS_ALLOW_PRIVATE=127.0.0.0/8 ", program!(), " serve"
))]
pub struct Listen {
    /// Port on 127.0.0.1; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 9000)]
    pub port: u16,
    /// The endpoint's signing secret, prefix included; without it signatures are not checked
    #[arg(long, value_name = "SECRET", env = "WHATISUP_WEBHOOK_SECRET", hide_env_values = true)]
    pub secret: Option<String>,
    /// The HTTP status to answer with; a wrong signature gets 401
    #[arg(long, value_name = "STATUS", default_value_t = 200)]
    pub answer: u16,
}

/// `doctor`
#[derive(Args, Debug, Default)]
#[command(after_help = concat!(
    "Examples:\n  ", program!(), " doctor\n  ",
    program!(), " doctor --offline --json\n  ",
    "sudo ", program!(), " doctor --state /var/lib/", program!(), " --bundle doctor.tar.gz\n\n",
    "A line for each check: how it went, its name, what was found and what to do. It only looks: nothing is created,\n",
    "changed, locked or sent, with and without a running server. Exit code: 0 when nothing failed, 1 when something\n",
    "did, 2 when the command line is wrong. Colours on a terminal only, and none with NO_COLOR."
))]
pub struct Doctor {
    /// Leave out everything that needs the network
    #[arg(long)]
    pub offline: bool,
    /// Also make a .tar.gz for whoever helps: without keys, numbers, names, ids, texts and webhook paths
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
}

/// `config …`
#[derive(Subcommand, Debug)]
pub enum Config {
    /// Print the effective settings as a commented TOML file
    Show,
    /// Say whether the settings can be used
    Check,
}

/// A shell that can complete.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

fn scope(text: &str) -> Result<Scope, String> {
    let known = || {
        Scope::ALL
            .iter()
            .map(|scope| scope.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    Scope::parse(text.trim()).ok_or_else(|| format!("there are {}", known()))
}

fn event_name(text: &str) -> Result<EventName, String> {
    let known = || {
        EventName::ALL
            .iter()
            .map(|name| name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    EventName::parse(text.trim()).ok_or_else(|| format!("there are {}", known()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_flags_of_the_contract_are_understood_in_front_of_and_behind_the_command() {
        for line in [
            "x serve --listen 127.0.0.1:0 --state /s --config /c --admin-socket /a",
            "x --state /s keys create --name n --instance inst_1 --scopes messages:send,events:read --json",
            "x keys list --state /s --json",
            "x keys revoke key_1",
            "x audit --action instances. --instance inst_1 --limit 7 --json",
            "x send inst_1 5511999990002 -5 --client-ref r",
            "x events --instance inst_1 --events message.sent,message.received --since evt_1",
            "x config show --json",
            "x doctor --offline --json --bundle /b --state /s",
            "x setup-link --state /s",
            "x log-level",
            "x log-level debug --json",
            "x serve --listen 0.0.0.0:80 --behind-proxy",
            "x password --state /s --json",
        ] {
            let parsed = Arguments::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn unknown_scopes_and_events_are_refused_with_the_known_ones() {
        let refused = |line: &str| Arguments::try_parse_from(line.split(' ')).unwrap_err().to_string();
        assert!(refused("x keys create --name n --scopes messages:write").contains("messages:send"));
        assert!(refused("x events --events message.sended").contains("message.sent"));
    }
}
