//! Instances: made, shown, changed, linked, deleted.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::keys::name_problem;
use super::{App, Page, audit, customer};
use crate::domain::Timestamp;
use crate::domain::access::{Caller, Scope};
use crate::domain::audit::{Action, Note, Target, masked_number};
use crate::domain::error::{Code, Error, FieldProblem};
use crate::domain::id::{CustomerId, InstanceId};
use crate::domain::instance::{Instance, Settings, Status, StatusReason};
use crate::engine::{PairCode, Qr};
use crate::sys::clock;

/// The most that an instance's metadata may take, as JSON.
pub const METADATA_BYTES: usize = 16 << 10;

/// How long WhatsApp may take to offer a code.
pub const QR_WAIT: Duration = Duration::from_secs(10);

/// An instance as callers see it.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Instance")]
pub struct Shown {
    /// Its public name.
    pub id: InstanceId,
    /// The owner of this installation.
    pub customer_id: CustomerId,
    /// For people.
    pub name: String,
    /// The linked account's number in digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// Why, and what happens next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<StatusReason>,
    /// Since when it has this status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_since: Option<Timestamp>,
    /// When the session was last known to be alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
    /// The caller's own data.
    pub metadata: Map<String, Value>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Shown {
    fn of(instance: Instance, customer_id: CustomerId) -> Self {
        Self {
            id: instance.id,
            customer_id,
            name: instance.name,
            phone_number: instance.phone_number,
            status: instance.status,
            status_reason: instance.status_reason,
            status_since: instance.status_since,
            last_seen_at: instance.last_seen_at,
            metadata: instance.metadata,
            created_at: instance.created_at,
            updated_at: instance.updated_at,
        }
    }
}

/// What an instance is doing.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "InstanceStatus")]
pub struct StatusReport {
    /// Its public name.
    pub id: InstanceId,
    /// Where it stands.
    pub status: Status,
    /// Why, and what happens next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<StatusReason>,
    /// The link to WhatsApp.
    pub link: Link,
    /// Accepted messages that WhatsApp has not acknowledged yet.
    pub queue_depth: u64,
    /// What happened since the process started.
    pub counters: Counters,
    /// Bytes that the session's caches hold, as far as can be told.
    pub memory_bytes: u64,
}

/// How the link to WhatsApp is.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Link {
    /// Whether a phone has linked this instance.
    pub linked: bool,
    /// Whether a session runs.
    pub running: bool,
    /// When the connection was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected_since: Option<Timestamp>,
    /// When the last byte came from WhatsApp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_received_at: Option<Timestamp>,
    /// Connection attempts since the last success.
    pub failed_attempts: u32,
}

/// What was counted since the process started.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Counters {
    /// Messages received.
    pub messages_received: u64,
    /// Messages that WhatsApp acknowledged.
    pub messages_sent: u64,
}

/// A change to an instance; `None` leaves a field as it is.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Patch {
    /// For people.
    pub name: Option<String>,
    /// The caller's own data, replaced as a whole.
    pub metadata: Option<Map<String, Value>>,
}

impl Patch {
    fn check(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        if let Some(problem) = self.name.as_deref().and_then(name_problem) {
            problems.push(FieldProblem::new("body.name", problem));
        }
        if let Some(metadata) = &self.metadata {
            let bytes = serde_json::to_vec(metadata).map_err(Error::internal)?;
            if bytes.len() > METADATA_BYTES {
                problems.push(FieldProblem::new("body.metadata", "must have at most 16 KiB as JSON"));
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Error::validation(&problems))
        }
    }
}

/// Makes an instance. No connection yet, so this works while WhatsApp is unreachable.
pub async fn create(app: &App, caller: &Caller, name: String, metadata: Map<String, Value>) -> Result<Shown, Error> {
    caller.require(Scope::InstancesWrite)?;
    caller.require_unbound()?;
    let patch = Patch {
        name: Some(name.clone()),
        metadata: Some(metadata.clone()),
    };
    patch.check()?;
    let now = clock::now();
    let mut instance = Instance {
        id: InstanceId::new(now),
        session: 0,
        name,
        phone_number: None,
        jid: None,
        lid: None,
        status: Status::Pending,
        status_reason: None,
        status_since: Some(now),
        last_seen_at: None,
        metadata,
        settings: Settings::default(),
        wanted: false,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    let note = Note::by(caller, Action::InstancesCreate)
        .on(Target::instance(instance.id, &instance.name))
        .giving(&told(&instance));
    let stored = app
        .store
        .write(move |tx| {
            instance.session = tx.next_session()?;
            tx.put_instance(&instance)?;
            tx.audit(&note)?;
            Ok(instance.clone())
        })
        .await?;
    tracing::info!(instance.id = %stored.id, "instance created");
    shown(app, stored)
}

/// The instances that the caller may see, newest first.
pub fn list(app: &App, caller: &Caller, before: Option<InstanceId>, limit: usize) -> Result<Page<Shown>, Error> {
    caller.require(Scope::InstancesRead)?;
    let (customer, instances) = app.store.read(|view| {
        let instances = match caller.instance {
            // Behind the cursor there is nothing more to see with a bound key.
            Some(own) if before.is_some_and(|before| own >= before) => Vec::new(),
            Some(own) => view
                .instance(own)?
                .filter(|instance| instance.deleted_at.is_none())
                .into_iter()
                .collect(),
            None => view.instances(before, limit + 1)?,
        };
        Ok((view.customer()?, instances))
    })?;
    let shown = instances
        .into_iter()
        .map(|instance| Shown::of(instance, customer))
        .collect();
    Ok(Page::cut(shown, limit, |instance: &Shown| instance.id.to_string()))
}

/// One instance.
pub fn get(app: &App, caller: &Caller, id: InstanceId) -> Result<Shown, Error> {
    caller.require(Scope::InstancesRead)?;
    let instance = visible(app, caller, id)?;
    shown(app, instance)
}

/// Changes name or metadata.
pub async fn update(app: &App, caller: &Caller, id: InstanceId, patch: Patch) -> Result<Shown, Error> {
    caller.require(Scope::InstancesWrite)?;
    visible(app, caller, id)?;
    patch.check()?;
    let now = clock::now();
    let note = Note::by(caller, Action::InstancesUpdate);
    let stored = app
        .store
        .write(move |tx| {
            let mut instance = existing(tx.instance(id)?)?;
            let before = instance.clone();
            if let Some(name) = &patch.name {
                instance.name.clone_from(name);
            }
            if let Some(metadata) = &patch.metadata {
                instance.metadata.clone_from(metadata);
            }
            instance.updated_at = now;
            tx.put_instance(&instance)?;
            if (&before.name, &before.metadata) != (&instance.name, &instance.metadata) {
                let note = note.clone().on(Target::instance(id, &instance.name));
                tx.audit(&note.changing(&told(&before), &told(&instance)))?;
            }
            Ok(instance)
        })
        .await?;
    shown(app, stored)
}

/// Unlinks, stops and deletes an instance; its row stays, so that the log remains readable.
pub async fn delete(app: &App, caller: &Caller, id: InstanceId) -> Result<(), Error> {
    caller.require(Scope::InstancesWrite)?;
    visible(app, caller, id)?;
    // The engine first: were the row marked first and the process killed between, the link would stay at WhatsApp for ever.
    app.engine.remove(id).await?;
    let now = clock::now();
    let note = Note::by(caller, Action::InstancesDelete);
    app.store
        .write(move |tx| {
            let mut instance = existing(tx.instance(id)?)?;
            instance.deleted_at = Some(now);
            instance.updated_at = now;
            instance.wanted = false;
            tx.put_instance(&instance)?;
            tx.audit(&note.clone().on(Target::instance(id, &instance.name)))
        })
        .await?;
    tracing::info!(instance.id = %id, "instance deleted");
    Ok(())
}

/// The code to scan; starts the session if none runs, and only that is a change worth a row.
pub async fn qr(app: &App, caller: &Caller, id: InstanceId) -> Result<Qr, Error> {
    caller.require(Scope::InstancesWrite)?;
    let instance = visible(app, caller, id)?;
    if !instance.is_linked() && !app.engine.health(id).running {
        app.engine.connect(id).await?;
        ordered(app, caller, &instance, Action::InstancesQr).await?;
    }
    app.engine.qr(id, QR_WAIT).await
}

/// The code to type on the phone of a number; starts the session if none runs. The row is written before WhatsApp is
/// asked, because who asked, and for which number, matters also when it refuses.
pub async fn pair_code(app: &App, caller: &Caller, id: InstanceId, number: &str) -> Result<PairCode, Error> {
    caller.require(Scope::InstancesWrite)?;
    let instance = visible(app, caller, id)?;
    if !instance.is_linked() {
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        let fields = audit::fields(&serde_json::json!({ "phone_number": masked_number(&digits) }));
        let note = Note::by(caller, Action::InstancesPairCode)
            .on(Target::instance(id, &instance.name))
            .giving(&fields);
        app.store.write(move |tx| tx.audit(&note)).await?;
    }
    app.engine.pair_code(id, number, QR_WAIT).await
}

/// Starts the session if none runs.
pub async fn connect(app: &App, caller: &Caller, id: InstanceId) -> Result<Shown, Error> {
    caller.require(Scope::InstancesWrite)?;
    let instance = visible(app, caller, id)?;
    app.engine.connect(id).await?;
    ordered(app, caller, &instance, Action::InstancesConnect).await?;
    shown(app, visible(app, caller, id)?)
}

/// Stops the session and keeps the link.
pub async fn disconnect(app: &App, caller: &Caller, id: InstanceId) -> Result<Shown, Error> {
    caller.require(Scope::InstancesWrite)?;
    let instance = visible(app, caller, id)?;
    app.engine.disconnect(id).await?;
    ordered(app, caller, &instance, Action::InstancesDisconnect).await?;
    shown(app, visible(app, caller, id)?)
}

/// Removes the link; back to `pending`.
pub async fn logout(app: &App, caller: &Caller, id: InstanceId) -> Result<Shown, Error> {
    caller.require(Scope::InstancesWrite)?;
    let instance = visible(app, caller, id)?;
    app.engine.logout(id).await?;
    ordered(app, caller, &instance, Action::InstancesLogout).await?;
    shown(app, visible(app, caller, id)?)
}

/// Stops the session and starts it anew.
pub async fn restart(app: &App, caller: &Caller, id: InstanceId) -> Result<Shown, Error> {
    caller.require(Scope::InstancesWrite)?;
    let instance = visible(app, caller, id)?;
    app.engine.restart(id).await?;
    ordered(app, caller, &instance, Action::InstancesRestart).await?;
    shown(app, visible(app, caller, id)?)
}

/// Tells in the audit list what the engine was ordered to do and has accepted. The engine writes its own transactions,
/// several of them and some much later, so the row comes after its answer and before the caller's: a refused order
/// leaves no row, and an order that was answered has one.
async fn ordered(app: &App, caller: &Caller, instance: &Instance, action: Action) -> Result<(), Error> {
    let note = Note::by(caller, action).on(Target::instance(instance.id, &instance.name));
    Ok(app.store.write(move |tx| tx.audit(&note)).await?)
}

/// What the instance is doing now.
pub fn status(app: &App, caller: &Caller, id: InstanceId) -> Result<StatusReport, Error> {
    caller.require(Scope::InstancesRead)?;
    let instance = visible(app, caller, id)?;
    let queue_depth = app.store.read(|view| view.outbox_depth(id))?;
    let health = app.engine.health(id);
    Ok(StatusReport {
        id,
        status: instance.status,
        link: Link {
            linked: instance.is_linked(),
            running: health.running,
            connected_since: health.connected_since,
            last_received_at: health.last_received_at,
            failed_attempts: health.failed_attempts,
        },
        status_reason: instance.status_reason,
        queue_depth,
        counters: Counters {
            messages_received: health.messages_received,
            messages_sent: health.messages_sent,
        },
        memory_bytes: health.memory_bytes,
    })
}

/// An instance as the phone sees it that linked it.
#[cfg(feature = "sandbox")]
pub struct LinkedDevice {
    /// Which instance.
    pub instance: InstanceId,
    /// The phone's number in digits.
    pub phone_number: String,
    /// The device's number on that phone.
    pub device: u16,
}

/// The linked devices among the instances that the caller may see.
#[cfg(feature = "sandbox")]
pub fn linked_devices(app: &App, caller: &Caller) -> Result<Vec<LinkedDevice>, Error> {
    caller.require(Scope::InstancesRead)?;
    let devices = app.store.read(|view| {
        let mut devices = Vec::new();
        for instance in view.instances(None, usize::MAX)? {
            let Some(phone_number) = instance.phone_number else {
                continue;
            };
            if caller.instance.is_none_or(|own| own == instance.id)
                && let Some(device) = view.device_number(instance.session)?
            {
                devices.push(LinkedDevice {
                    instance: instance.id,
                    phone_number,
                    device,
                });
            }
        }
        Ok(devices)
    })?;
    Ok(devices)
}

/// The instance, if it exists and the caller may see it. Existence comes first only for callers who see all: a bound
/// key learns about other instances nothing but that they are not its own.
pub(super) fn visible(app: &App, caller: &Caller, id: InstanceId) -> Result<Instance, Error> {
    caller.require_instance(id)?;
    existing(app.store.read(|view| view.instance(id))?)
}

/// Refuses what is not there or was deleted.
pub(super) fn existing(row: Option<Instance>) -> Result<Instance, Error> {
    row.filter(|instance| instance.deleted_at.is_none()).ok_or_else(unknown)
}

/// What the audit list tells of an instance. Metadata is the caller's own and may hold anything, so only its size is told.
fn told(instance: &Instance) -> Map<String, Value> {
    let metadata = match instance.metadata.len() {
        0 => Value::Null,
        1 => "1 field".into(),
        fields => format!("{fields} fields").into(),
    };
    let mut told = Map::from_iter([("name".to_owned(), Value::from(instance.name.clone()))]);
    told.insert("metadata".to_owned(), metadata);
    told
}

fn shown(app: &App, instance: Instance) -> Result<Shown, Error> {
    Ok(Shown::of(instance, customer(&app.store)?))
}

fn unknown() -> Error {
    Error::new(
        Code::InstanceNotFound,
        "There is no instance with this id. GET /v1/instances lists those there are.",
    )
}

/// Reads an instance's id; an unreadable one is unknown.
pub fn parse_id(text: &str) -> Result<InstanceId, Error> {
    InstanceId::parse(text).ok_or_else(unknown)
}
