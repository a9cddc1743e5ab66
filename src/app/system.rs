//! Whether the process is well, and how it does.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use crate::domain::Timestamp;
use crate::domain::access::{Caller, Scope};
use crate::domain::error::{Code, Error};
use crate::domain::id::EventId;
use crate::store::{SCHEMA, WriteError};
use crate::sys::{clock, disk, process};

/// Instances read at once while counting, so that a large installation is never whole in memory.
const PAGE: usize = 500;

/// How long the store's writer may take to answer whoever asks whether the gateway is ready.
const WRITER_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Says that a check is passed.
const OK: &str = "ok";

/// What the site knows about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Door {
    /// Whether the port is open.
    pub listening: bool,
    /// Whether the end has begun.
    pub stopping: bool,
}

/// What has to be right for the gateway to work. Each is `ok` or says what is wrong. Whether WhatsApp can be reached is
/// none of them: an instance that is offline is told by its status and by the metrics, and another gateway would not
/// reach it either.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReadyChecks")]
pub struct Checks {
    /// Whether new work can be stored.
    pub store: &'static str,
    /// Whether sessions can run.
    pub engine: &'static str,
    /// Whether the port is open.
    pub listener: &'static str,
    /// Whether nobody has asked for the end.
    pub lifecycle: &'static str,
}

impl Checks {
    /// Whether each is passed.
    pub fn all_pass(&self) -> bool {
        self.failed().is_empty()
    }

    /// What is wrong.
    fn failed(&self) -> Vec<&'static str> {
        let all = [self.store, self.engine, self.listener, self.lifecycle];
        all.into_iter().filter(|check| *check != OK).collect()
    }
}

/// Asks every part.
pub async fn checks(app: &App, door: Door) -> Checks {
    let store = match clock::timeout(WRITER_ANSWERS_WITHIN, app.store.check()).await {
        Ok(Ok(())) => OK,
        Ok(Err(WriteError::Full)) => "the disk is full, new work is refused",
        Ok(Err(WriteError::Closed)) => "the store is closed",
        Ok(Err(_)) => "the store cannot be written; the log says why",
        Err(_) => "the store does not answer",
    };
    Checks {
        store,
        engine: if app.engine.is_running() {
            OK
        } else {
            "sessions are being ended"
        },
        listener: if door.listening { OK } else { "the port is not open" },
        lifecycle: if door.stopping { "the gateway is stopping" } else { OK },
    }
}

/// The gateway can work.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Ready {
    /// Always `ready`; anything else is an error.
    pub status: &'static str,
    /// The running version.
    pub version: &'static str,
    /// What was asked, all of it `ok`.
    pub checks: Checks,
    /// How many instances stand where.
    pub instances: BTreeMap<&'static str, u64>,
}

/// Ready when every check is passed, whatever the instances do; else an error with the checks as its details.
pub async fn ready(app: &App, door: Door) -> Result<Ready, Error> {
    let checks = checks(app, door).await;
    let failed = checks.failed();
    if !failed.is_empty() {
        let code = if door.stopping {
            Code::ShuttingDown
        } else {
            Code::NotReady
        };
        let message = format!("The gateway cannot work now: {}.", failed.join("; "));
        return Err(Error::new(code, message).with_details(serde_json::json!({ "checks": checks })));
    }
    Ok(Ready {
        status: "ready",
        version: env!("CARGO_PKG_VERSION"),
        checks,
        instances: instances(app)?,
    })
}

/// How many instances stand where.
pub fn instances(app: &App) -> Result<BTreeMap<&'static str, u64>, Error> {
    let mut instances = BTreeMap::new();
    let mut before = None;
    loop {
        let page = app.store.read(|view| view.instances(before, PAGE))?;
        for instance in &page {
            *instances.entry(instance.status.as_str()).or_default() += 1;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => before = Some(last.id),
            _ => return Ok(instances),
        }
    }
}

/// How the gateway does, for a person who wonders.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "System")]
pub struct Report {
    /// The running version.
    pub version: &'static str,
    /// Whether this is the sandbox build, which never talks to WhatsApp.
    pub sandbox: bool,
    /// When the process started.
    pub started_at: Timestamp,
    /// The gateway's clock.
    pub now: Timestamp,
    /// The memory of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// The disk behind the state folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
    /// The one file.
    pub store: StoreFigures,
    /// What is owed.
    pub queues: Queues,
    /// Event streams that are open.
    pub streams_open: usize,
    /// How many instances stand where.
    pub instances: BTreeMap<&'static str, u64>,
    /// What is kept how long, and how much is allowed.
    pub limits: Limits,
}

/// The memory of the process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "SystemMemory")]
pub struct Memory {
    /// In RAM now.
    pub resident_bytes: u64,
    /// The most since it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
}

/// The disk behind the state folder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "SystemDisk")]
pub struct Disk {
    /// What all files of the state folder take.
    pub state_bytes: u64,
    /// What the gateway may still take.
    pub free_bytes: u64,
    /// The size of the file system.
    pub total_bytes: u64,
}

/// The one file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "SystemStore")]
pub struct StoreFigures {
    /// Its size.
    pub file_bytes: u64,
    /// The number of its format.
    pub schema: u32,
    /// Events that a stream can resume from.
    pub journal_events: u64,
    /// What they take.
    pub journal_bytes: u64,
    /// When the oldest of them happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_event_at: Option<Timestamp>,
}

/// What is owed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "SystemQueues")]
pub struct Queues {
    /// Accepted messages that WhatsApp has not acknowledged.
    pub outbox: u64,
    /// Webhook deliveries that were never attempted.
    pub deliveries_waiting: u64,
    /// Webhook deliveries that failed and are tried again.
    pub deliveries_retrying: u64,
    /// When the oldest delivery of those that are next in line at their endpoint was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_delivery_at: Option<Timestamp>,
}

/// What is kept how long, and how much is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "SystemLimits")]
pub struct Limits {
    /// Days that an event can be resumed from.
    pub journal_max_age_days: u32,
    /// Bytes of events at most.
    pub journal_max_bytes: u64,
    /// Days that the state of a settled message can be asked for.
    pub messages_days: u32,
    /// Days that a webhook delivery is kept after success.
    pub deliveries_days_after_success: u32,
    /// Days that any other webhook delivery is kept.
    pub deliveries_days_otherwise: u32,
    /// Days that a row of the audit list is kept.
    pub audit_max_age_days: u32,
    /// Rows of the audit list at most.
    pub audit_max_rows: u64,
    /// Sessions that may run at once.
    pub max_instances: u32,
    /// Event streams of one key.
    pub max_streams_per_key: u32,
}

/// How the gateway does. Made to be asked every few seconds: nothing here walks a queue, a log or the journal.
pub fn report(app: &App, caller: &Caller) -> Result<Report, Error> {
    caller.require(Scope::InstancesRead)?;
    caller.require_unbound()?;
    let store = app.store.stats()?;
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method is bound to one lifetime, the closure is not"
    )]
    let backlog = app.store.read(|view| view.backlog())?;
    let folder = app.store.folder();
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        sandbox: cfg!(feature = "sandbox"),
        started_at: app.started_at,
        now: clock::now(),
        memory: process::memory().map(|memory| Memory {
            resident_bytes: memory.resident,
            peak_bytes: memory.peak,
        }),
        disk: disk::space(folder).map(|space| Disk {
            state_bytes: disk::folder_bytes(folder).unwrap_or(store.file_bytes),
            free_bytes: space.free,
            total_bytes: space.total,
        }),
        store: StoreFigures {
            file_bytes: store.file_bytes,
            schema: SCHEMA,
            journal_events: store.journal_rows,
            journal_bytes: store.journal_bytes,
            oldest_event_at: store.oldest_event.map(EventId::time),
        },
        queues: Queues {
            outbox: backlog.outbox,
            deliveries_waiting: backlog.deliveries_new,
            deliveries_retrying: backlog.deliveries_retried,
            oldest_delivery_at: backlog.oldest_delivery_at,
        },
        streams_open: app.streams.open_in_all(),
        instances: instances(app)?,
        limits: *app.told_limits.get(),
    })
}
