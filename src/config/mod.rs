//! The settings: one struct whose field docs are the reference that `whatisup config show` prints.
//!
//! A value comes from the last of these that names it: the built-in default, the TOML file, the environment, the
//! command line. The same path is used everywhere: `limits.burst` in the file is `[limits] burst = 120`, in the
//! environment `WHATISUP_LIMITS_BURST=120`, on the command line `--set limits.burst=120`. Secrets come from files of
//! their own, which `WHATISUP_<NAME>_FILE` names, so that they stand in no process list and in no backup of the
//! configuration; the dashboard's password alone may stand in the environment itself, where containers keep such.

mod changes;
mod layers;
mod reference;
mod show;
mod validate;

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use changes::{Changed, changes};
pub use layers::{ConfigError, Flag, Layers, Loaded, Source, load};
pub use reference::{Kind, Setting, settings};
pub use show::commented_toml;
pub use validate::{exposure, is_loopback};

use crate::sys::secret::Secret;

/// Every setting of the program.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The address and port of the HTTP API and the page. Port 0 picks a free one; the log says which. Keep it on
    /// loopback and put a reverse proxy with TLS in front of it; any other address needs `behind_proxy` or `insecure`.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Whether a reverse proxy is in front and nobody else can reach the port. Then the gateway may listen on addresses
    /// beyond loopback, the caller's address is the last one in `X-Forwarded-For`, and `X-Forwarded-Proto: https` makes
    /// the page's cookie one for https alone. Whoever reaches the port past the proxy can forge both.
    pub behind_proxy: bool,
    /// Whether to listen on addresses beyond loopback without TLS: keys, messages and the page's cookie then cross the
    /// network readable. For a network where you trust everybody.
    pub insecure: bool,
    /// The folder that holds everything the gateway must remember. Default: `$STATE_DIRECTORY` as a systemd service,
    /// else `$XDG_STATE_HOME/whatisup`, else `~/.local/state/whatisup`. Commands of root, who has none of these, find
    /// the service's in `/var/lib/whatisup`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<PathBuf>,
    /// The Unix socket for the commands of this program; whoever can open it owns the installation. At most 107 bytes
    /// long. Default: `admin.sock` in the state folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_socket: Option<PathBuf>,
    /// An API key to register at first start, for installations that are set up by a script. Secret: named by
    /// `WHATISUP_BOOTSTRAP_KEY_FILE` alone. `zpk_live_` or `zpk_test_` and 32 random bytes in base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub bootstrap_key: Option<Secret>,
    /// 64 hexadecimal digits that turn API keys into what the store keeps of them. Secret: named by
    /// `WHATISUP_PEPPER_FILE` alone. Default: made at first start, in the file `pepper` of the state folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub pepper: Option<Secret>,
    /// 64 hexadecimal digits that seal the signing secrets of webhooks in the store. Secret: named by
    /// `WHATISUP_SECRETS_KEY_FILE` alone. Default: made at first start, in the file `secrets.key` of the state folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub secrets_key: Option<Secret>,
    /// The page for people.
    pub dashboard: Dashboard,
    /// What is written to the log (standard error).
    pub log: Log,
    /// How much one caller may ask for.
    pub limits: Limits,
    /// Which web pages may call the API.
    pub cors: Cors,
    /// The journal of events, from which streams resume.
    pub journal: Journal,
    /// The list of who changed what.
    pub audit: Audit,
    /// The file that holds everything.
    pub store: Store,
    /// The connection to WhatsApp.
    pub whatsapp: Whatsapp,
    /// How events are posted to webhook endpoints.
    pub webhooks: Webhooks,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            behind_proxy: false,
            insecure: false,
            state: None,
            admin_socket: None,
            bootstrap_key: None,
            pepper: None,
            secrets_key: None,
            dashboard: Dashboard::default(),
            log: Log::default(),
            limits: Limits::default(),
            cors: Cors::default(),
            journal: Journal::default(),
            audit: Audit::default(),
            store: Store::default(),
            whatsapp: Whatsapp::default(),
            webhooks: Webhooks::default(),
        }
    }
}

/// `dashboard.*`
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dashboard {
    /// The password of the dashboard, for installations that are set up by a script; with it, nobody sets one on the
    /// page. When it differs from the last one, all sign-ins end. Secret: in the file that
    /// `WHATISUP_DASHBOARD_PASSWORD_FILE` names, or itself in `WHATISUP_DASHBOARD_PASSWORD`. 10 to 200 characters, not
    /// all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("x-secret" = true, "x-environment" = true))]
    pub password: Option<Secret>,
}

/// `log.*`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`. For developers also filter directives such as
    /// `info,whatisup::engine=debug`; directives that name other programs' modules may bring phone numbers and
    /// contents into the log.
    pub level: String,
    /// `text` for people, and for journald where standard error goes there; `json` for log collectors, one object a
    /// line; `journal` for journald in any case: priorities instead of times.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".into(),
            format: LogFormat::Text,
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people, and for journald where it reads.
    #[default]
    Text,
    /// For log collectors.
    Json,
    /// For journald in any case.
    Journal,
}

/// `limits.*`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// How many requests a key may make at once before `limits.per_second` holds it back. 0 switches the limit off.
    pub burst: u32,
    /// How many requests a second a key may make in the long run.
    pub per_second: u32,
    /// How many event streams a key may have open.
    pub max_streams_per_key: u32,
    /// How many connections of callers are served at once; more wait in the operating system's queue.
    pub max_connections: u32,
    /// How many WhatsApp sessions may run at once.
    pub max_instances: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            burst: 120,
            per_second: 20,
            max_streams_per_key: 200,
            max_connections: 4096,
            max_instances: 1000,
        }
    }
}

/// `cors.*`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// The origins whose pages may call the API with a key, such as `https://app.example.org`. `*` is any: a page
    /// needs a key all the same.
    pub origins: Vec<String>,
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            origins: vec!["*".into()],
        }
    }
}

/// `journal.*`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    /// How many days an event can be resumed from.
    pub max_age_days: u32,
    /// How many bytes of events are kept at most; the oldest go first.
    pub max_bytes: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            max_age_days: 7,
            max_bytes: 256 << 20,
        }
    }
}

/// `audit.*`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// How many days a row of the audit list is kept.
    pub max_age_days: u32,
    /// How many rows are kept at most; the oldest go first, a tenth at once, and a row tells that they went.
    pub max_rows: u64,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            max_age_days: 365,
            max_rows: 10_000,
        }
    }
}

/// `store.*`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// How many bytes of the file are kept in memory.
    pub cache_bytes: u64,
    /// Writes are refused with `storage_full` while the disk has fewer bytes left than this.
    pub reserve_bytes: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            cache_bytes: 16 << 20,
            reserve_bytes: 64 << 20,
        }
    }
}

/// `whatsapp.*`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Whatsapp {
    /// WhatsApp's WebSocket. `ws://`, without TLS, is for a simulator on loopback alone.
    pub url: String,
    /// The name under which the phone lists this gateway among its linked devices.
    pub device_name: String,
    /// How long an attempt to connect may take.
    pub connect_timeout_seconds: u32,
    /// How long WhatsApp may take to acknowledge a message before it is sent again under the same id.
    pub ack_timeout_seconds: u32,
}

impl Default for Whatsapp {
    fn default() -> Self {
        Self {
            url: "wss://web.whatsapp.com/ws/chat".into(),
            device_name: "WhatIsUp".into(),
            connect_timeout_seconds: 20,
            ack_timeout_seconds: 20,
        }
    }
}

/// `webhooks.*`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Webhooks {
    /// Networks that are not public and may be called all the same, over http too, such as `192.168.1.0/24`. Everything
    /// else that is private, on this machine, or a cloud's metadata is refused.
    pub allow_private: Vec<String>,
    /// Whether public addresses may be called over http, where everybody on the way can read the events.
    pub allow_http: bool,
    /// How long a receiver may take to answer.
    pub timeout_seconds: u32,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            allow_private: Vec::new(),
            allow_http: false,
            timeout_seconds: 15,
        }
    }
}
