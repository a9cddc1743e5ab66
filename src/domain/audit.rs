//! Who changed what: the rows of the audit list.
//!
//! A row is written in the transaction of the change it tells, so neither is ever there without the other. It says what
//! a person needs to follow the change and nothing that could be misused: a secret, the text of a message, a whole phone
//! number, or the part of an address behind its host never stands in one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Timestamp;
use super::access::Caller;
use super::id::{AuditId, EndpointId, InstanceId, KeyId, LoginId, RequestId};

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)?) => {
        /// What was done; where a call of the API does it, its operation id.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
        pub enum Action {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
        }

        impl Action {
            /// Every action.
            pub const ALL: &'static [Action] = &[$(Action::$name),+];

            /// The action as it stands on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Action::$name => $text,)+
                }
            }
        }
    };
}

actions! {
    /// An API key was made.
    KeysCreate = "keys.create",
    /// An API key was revoked.
    KeysRevoke = "keys.revoke",
    /// An instance was made.
    InstancesCreate = "instances.create",
    /// Name or metadata of an instance changed.
    InstancesUpdate = "instances.update",
    /// An instance was deleted.
    InstancesDelete = "instances.delete",
    /// A session was started to show its QR code.
    InstancesQr = "instances.qr",
    /// A pairing code was asked for.
    InstancesPairCode = "instances.pair_code",
    /// A session was started.
    InstancesConnect = "instances.connect",
    /// A session was stopped.
    InstancesDisconnect = "instances.disconnect",
    /// An instance was unlinked from its phone.
    InstancesLogout = "instances.logout",
    /// A session was stopped and started.
    InstancesRestart = "instances.restart",
    /// Settings of an instance changed.
    SettingsUpdate = "settings.update",
    /// A webhook endpoint was made.
    WebhooksCreate = "webhooks.create",
    /// A webhook endpoint changed.
    WebhooksUpdate = "webhooks.update",
    /// A webhook endpoint was deleted.
    WebhooksDelete = "webhooks.delete",
    /// A webhook endpoint got a new signing secret.
    WebhooksRotateSecret = "webhooks.rotate_secret",
    /// A test was sent to a webhook endpoint.
    WebhooksTest = "webhooks.test",
    /// A stretch of the past was sent to a webhook endpoint.
    WebhooksReplay = "webhooks.replay",
    /// A webhook endpoint answered `410 Gone` and was switched off.
    WebhooksDisable = "webhooks.disable",
    /// A webhook delivery was sent again.
    DeliveriesReplay = "deliveries.replay",
    /// The dashboard's first password was set with the one-time link.
    SessionSetUp = "session.set_up",
    /// Somebody signed in to the dashboard.
    SessionCreate = "session.create",
    /// Somebody signed out.
    SessionDelete = "session.delete",
    /// A sign-in was ended by somebody else.
    SessionsEnd = "sessions.end",
    /// All other sign-ins were ended.
    SessionsEndOthers = "sessions.end_others",
    /// The dashboard's password was changed; all other sign-ins ended.
    PasswordChange = "password.change",
    /// The password of the settings became the dashboard's; all sign-ins ended.
    PasswordConfigure = "password.configure",
    /// Another log level was chosen, until the next start.
    SystemSetLogLevel = "system.set_log_level",
    /// A backup was made, with the keys of every link.
    BackupsCreate = "backups.create",
    /// Rows of this list were removed because there were too many.
    AuditSweep = "audit.sweep",
}

/// What stands before the first dot, or the whole of an action.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActionFilter(String);

impl ActionFilter {
    /// Reads an action, or the beginning of some up to and with the dot; `None` when it would never fit any.
    pub fn parse(text: &str) -> Option<Self> {
        let filter = Self(text.to_owned());
        Action::ALL.iter().any(|action| filter.fits(*action)).then_some(filter)
    }

    /// Whether it fits.
    pub fn fits(&self, action: Action) -> bool {
        let (wanted, action) = (self.0.as_str(), action.as_str());
        wanted == action || (wanted.ends_with('.') && action.starts_with(wanted))
    }
}

/// What kind of caller acted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ActorKind {
    /// Somebody with an API key.
    Key,
    /// Somebody signed in to the dashboard.
    Session,
    /// The owner of the machine: the admin socket, or the command line without a server.
    Owner,
    /// The gateway itself.
    System,
}

/// Who acted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditActor")]
pub struct Actor {
    /// What kind of caller.
    pub kind: ActorKind,
    /// The key or the sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The key's name at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The caller's address; behind a reverse proxy that the gateway was not told of (`behind_proxy`), the proxy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub address: Option<IpAddr>,
}

impl Actor {
    /// The gateway itself.
    pub const SYSTEM: Actor = Actor {
        kind: ActorKind::System,
        id: None,
        name: None,
        address: None,
    };

    /// Whoever calls.
    pub fn of(caller: &Caller) -> Self {
        let (kind, id) = match (caller.key, caller.login) {
            _ if caller.is_system => return Self::SYSTEM,
            (Some(key), _) => (ActorKind::Key, Some(key.to_string())),
            (None, Some(login)) => (ActorKind::Session, Some(login.to_string())),
            (None, None) => (ActorKind::Owner, None),
        };
        Self {
            kind,
            id,
            name: caller.name.clone(),
            address: caller.address,
        }
    }
}

/// What kind of thing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// An API key.
    Key,
    /// A sign-in to the dashboard.
    Session,
    /// An instance.
    Instance,
    /// A webhook endpoint.
    WebhookEndpoint,
    /// A webhook delivery.
    WebhookDelivery,
}

/// What was changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditTarget")]
pub struct Target {
    /// What kind of thing.
    pub kind: TargetKind,
    /// Its id.
    pub id: String,
    /// Its name at that time; of an endpoint, the host it posts to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Target {
    /// An instance.
    pub fn instance(id: InstanceId, name: &str) -> Self {
        Self::of(TargetKind::Instance, &id, Some(name.to_owned()))
    }

    /// An API key.
    pub fn key(id: KeyId, name: &str) -> Self {
        Self::of(TargetKind::Key, &id, Some(name.to_owned()))
    }

    /// A sign-in to the dashboard.
    pub fn session(id: LoginId) -> Self {
        Self::of(TargetKind::Session, &id, None)
    }

    /// A webhook endpoint.
    pub fn endpoint(id: EndpointId, url: &str) -> Self {
        Self::of(TargetKind::WebhookEndpoint, &id, Some(without_path(url)))
    }

    /// Anything else.
    pub fn of(kind: TargetKind, id: &impl ToString, name: Option<String>) -> Self {
        Self {
            kind,
            id: id.to_string(),
            name,
        }
    }
}

/// Fields before and after a change.
pub type Changes = BTreeMap<String, [Value; 2]>;

/// A row that is about to be written.
#[derive(Clone, PartialEq, Debug)]
pub struct Note {
    /// Who acted.
    pub actor: Actor,
    /// What was done.
    pub action: Action,
    /// To what.
    pub target: Option<Target>,
    /// Which fields changed.
    pub changes: Changes,
    /// The request that did it.
    pub request_id: Option<RequestId>,
}

impl Note {
    /// A caller did this.
    pub fn by(caller: &Caller, action: Action) -> Self {
        Self {
            actor: Actor::of(caller),
            action,
            target: None,
            changes: Changes::new(),
            request_id: caller.request,
        }
    }

    /// The gateway did this by itself.
    pub const fn by_system(action: Action) -> Self {
        Self {
            actor: Actor::SYSTEM,
            action,
            target: None,
            changes: Changes::new(),
            request_id: None,
        }
    }

    /// To this.
    #[must_use]
    pub fn on(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// With these fields, of which those that differ are kept; addresses lose what stands behind their host.
    #[must_use]
    pub fn changing(mut self, before: &Map<String, Value>, after: &Map<String, Value>) -> Self {
        for name in before.keys().chain(after.keys()) {
            let value = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
            let (before, after) = (value(before), value(after));
            if before != after {
                self.changes.insert(name.clone(), [harmless(before), harmless(after)]);
            }
        }
        self
    }

    /// With these fields, where there was nothing before.
    #[must_use]
    pub fn giving(self, after: &Map<String, Value>) -> Self {
        self.changing(&Map::new(), after)
    }
}

/// Who changed what, and when.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
pub struct Entry {
    /// Its name.
    pub id: AuditId,
    /// When.
    pub occurred_at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What was done; where a call of the API does it, its operation id.
    pub action: Action,
    /// To what.
    pub target: Option<Target>,
    /// Fields before and after, where there are any to tell. Secrets never; of addresses scheme and host alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changes: Changes,
    /// The request that did it; the log has it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
}

/// A text as a field; an absent one as nothing.
fn harmless(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains("://") => without_path(&text).into(),
        Value::Array(items) => items.into_iter().map(harmless).collect(),
        other => other,
    }
}

/// Scheme and host of an address. Credentials and query hold secrets, and many receivers put one into the path.
fn without_path(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "…".to_owned();
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    let more = if matches!(behind, "" | "/") { "" } else { "/…" };
    format!("{scheme}://{host}{more}")
}

/// A phone number of which only the end can be read.
pub fn masked_number(digits: &str) -> String {
    let kept = digits.chars().count().saturating_sub(4);
    format!("…{}", digits.chars().skip(kept.max(1)).collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_keeps_its_host_and_loses_whatever_may_be_secret() {
        for (url, shown) in [
            ("https://a.example/hook/T0/s3cret", "https://a.example/…"),
            (
                "https://user:pw@a.example:8443/?token=s3cret",
                "https://a.example:8443/…",
            ),
            ("https://a.example?token=s3cret", "https://a.example/…"),
            ("https://a.example/", "https://a.example"),
            ("s3cret", "…"),
        ] {
            assert_eq!(without_path(url), shown, "{url}");
        }
    }

    #[test]
    fn only_fields_that_differ_are_told() {
        let fields = |value: Value| value.as_object().cloned().unwrap();
        let note = Note::by(&Caller::OWNER, Action::WebhooksUpdate).changing(
            &fields(json!({"same": 1, "gone": [1], "url": "https://a.example/one"})),
            &fields(json!({"same": 1, "url": "https://a.example/two", "new": true})),
        );
        assert_eq!(
            json!(note.changes),
            json!({
                "gone": [[1], null],
                "new": [null, true],
                "url": ["https://a.example/…", "https://a.example/…"],
            })
        );
    }

    #[test]
    fn a_filter_is_an_action_or_the_beginning_of_some() {
        for (text, fits) in [
            ("instances.", true),
            ("instances.create", true),
            ("instances.delete", false),
        ] {
            assert_eq!(
                ActionFilter::parse(text).unwrap().fits(Action::InstancesCreate),
                fits,
                "{text}"
            );
        }
        for unknown in ["", ".", "instances", "instances.creat", "nothing."] {
            assert_eq!(ActionFilter::parse(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn no_more_than_the_end_of_a_number_is_readable() {
        for (number, shown) in [("5511999998841", "…8841"), ("8841", "…841"), ("", "…")] {
            assert_eq!(masked_number(number), shown);
        }
    }
}
