//! Who may do what: keys, sign-ins, scopes and callers.

use std::time::Duration;

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::error::{Code, Error};
use super::event::EventFilter;
use super::id::{InstanceId, KeyId, LoginId, RequestId};

/// One permission that a key may carry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Scope {
    /// Read instances and their state.
    #[serde(rename = "instances:read")]
    InstancesRead,
    /// Create, change, link and delete instances.
    #[serde(rename = "instances:write")]
    InstancesWrite,
    /// Send messages.
    #[serde(rename = "messages:send")]
    MessagesSend,
    /// Read the state of outbound messages.
    #[serde(rename = "messages:read")]
    MessagesRead,
    /// Read the event stream.
    #[serde(rename = "events:read")]
    EventsRead,
    /// Read webhook endpoints and deliveries.
    #[serde(rename = "webhooks:read")]
    WebhooksRead,
    /// Change webhook endpoints and replay deliveries.
    #[serde(rename = "webhooks:write")]
    WebhooksWrite,
    /// List API keys.
    #[serde(rename = "keys:read")]
    KeysRead,
    /// Create and revoke API keys.
    #[serde(rename = "keys:write")]
    KeysWrite,
}

impl Scope {
    /// Every scope, in the order of the contract.
    pub const ALL: &'static [Scope] = &[
        Scope::InstancesRead,
        Scope::InstancesWrite,
        Scope::MessagesSend,
        Scope::MessagesRead,
        Scope::EventsRead,
        Scope::WebhooksRead,
        Scope::WebhooksWrite,
        Scope::KeysRead,
        Scope::KeysWrite,
    ];

    /// The scope as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::InstancesRead => "instances:read",
            Scope::InstancesWrite => "instances:write",
            Scope::MessagesSend => "messages:send",
            Scope::MessagesRead => "messages:read",
            Scope::EventsRead => "events:read",
            Scope::WebhooksRead => "webhooks:read",
            Scope::WebhooksWrite => "webhooks:write",
            Scope::KeysRead => "keys:read",
            Scope::KeysWrite => "keys:write",
        }
    }

    /// Reads a scope; `None` for an unknown one.
    pub fn parse(text: &str) -> Option<Scope> {
        Scope::ALL.iter().copied().find(|scope| scope.as_str() == text)
    }
}

/// A stored API key. The secret itself is never stored: see `app::keys`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its public name.
    pub id: KeyId,
    /// For people.
    pub name: String,
    /// The start of the secret, enough to recognise it in a list.
    pub prefix: String,
    /// Bound to one instance, or to none.
    pub instance_id: Option<InstanceId>,
    /// What it may do; `None` is everything.
    pub scopes: Option<Vec<Scope>>,
    /// Written at most once a minute, so that reading does not become writing.
    pub last_used_at: Option<Timestamp>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Somebody signed in to the dashboard. The cookie itself is never stored: see `app::sessions`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Login {
    /// Its public name.
    pub id: LoginId,
    /// When the password was given.
    pub created_at: Timestamp,
    /// Written at most once a minute.
    pub last_used_at: Timestamp,
    /// From where the password was given.
    pub address: Option<String>,
    /// What the browser calls itself.
    pub user_agent: Option<String>,
}

impl Login {
    /// How long a sign-in lasts in all.
    pub const LIFE: Duration = Duration::from_hours(30 * 24);

    /// How long it lasts without being used.
    pub const IDLE: Duration = Duration::from_hours(7 * 24);

    /// When it ends if it is not used any more.
    pub fn expires_at(&self) -> Timestamp {
        self.created_at.plus(Self::LIFE).min(self.last_used_at.plus(Self::IDLE))
    }
}

/// The shortest password.
const PASSWORD_CHARACTERS: usize = 10;

/// The longest password; more would only make hashing slower.
pub const LONGEST_PASSWORD: usize = 200;

/// What is wrong with a password that is wanted, if anything.
pub fn password_problem(password: &str) -> Option<&'static str> {
    let characters = password.chars().count();
    if characters < PASSWORD_CHARACTERS {
        Some("must have at least 10 characters; a few unrelated words are easy to keep in mind")
    } else if characters > LONGEST_PASSWORD {
        Some("must have at most 200 characters")
    } else if password.chars().all(|one| password.starts_with(one)) {
        Some("must not be one character repeated")
    } else {
        None
    }
}

/// Whose bucket of requests and whose streams are counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Holder {
    /// An API key.
    Key(KeyId),
    /// A sign-in to the dashboard.
    Login(LoginId),
}

/// Who is calling, once the credential was checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Caller {
    /// The key that was shown; `None` for the owner on the admin socket or the dashboard.
    pub key: Option<KeyId>,
    /// The sign-in to the dashboard; its caller may do what the owner may.
    pub login: Option<LoginId>,
    /// The one instance the caller may see, or all.
    pub instance: Option<InstanceId>,
    /// What the caller may do; `None` is everything.
    pub scopes: Option<Vec<Scope>>,
    /// The filter that a stream token carries.
    pub stream: Option<EventFilter>,
    /// When the credential expires; open streams end then.
    pub expires_at: Option<Timestamp>,
    /// The key's name, for the audit list.
    pub name: Option<String>,
    /// The other end of the connection, for the audit list.
    pub address: Option<IpAddr>,
    /// The request that is made, for the audit list.
    pub request: Option<RequestId>,
    /// The gateway itself acts, with the owner's rights.
    pub is_system: bool,
}

impl Caller {
    /// Whoever can open the admin socket owns the installation.
    pub const OWNER: Caller = Caller {
        key: None,
        login: None,
        instance: None,
        scopes: None,
        stream: None,
        expires_at: None,
        name: None,
        address: None,
        request: None,
        is_system: false,
    };

    /// The gateway itself, as at first start.
    pub const SYSTEM: Caller = Caller {
        is_system: true,
        ..Caller::OWNER
    };

    /// The owner, signed in to the dashboard.
    pub const fn of_login(id: LoginId) -> Caller {
        Caller {
            login: Some(id),
            ..Caller::OWNER
        }
    }

    /// Whose bucket and streams are counted; the owner on the admin socket has no limits.
    pub fn holder(&self) -> Option<Holder> {
        self.key.map(Holder::Key).or(self.login.map(Holder::Login))
    }

    /// The caller behind a key.
    pub fn of_key(key: &ApiKey) -> Caller {
        Caller {
            key: Some(key.id),
            login: None,
            instance: key.instance_id,
            scopes: key.scopes.clone(),
            stream: None,
            expires_at: key.expires_at,
            name: Some(key.name.clone()),
            ..Caller::OWNER
        }
    }

    /// The same, making this request from this address.
    #[must_use]
    pub fn asking(mut self, request: RequestId, address: Option<IpAddr>) -> Caller {
        self.request = Some(request);
        self.address = address;
        self
    }

    /// Refuses a caller without `scope`.
    pub fn require(&self, scope: Scope) -> Result<(), Error> {
        match &self.scopes {
            Some(scopes) if !scopes.contains(&scope) => Err(Error::new(
                Code::InsufficientScope,
                format!(
                    "This key lacks the scope {}. Create a key with it, or without scopes.",
                    scope.as_str()
                ),
            )
            .with_details(serde_json::json!({ "required_scope": scope }))),
            _ => Ok(()),
        }
    }

    /// Refuses a caller bound to another instance than `instance`.
    pub fn require_instance(&self, instance: InstanceId) -> Result<(), Error> {
        match self.instance {
            Some(own) if own != instance => Err(Error::new(
                Code::InstanceAccessDenied,
                "This key is bound to another instance.",
            )),
            _ => Ok(()),
        }
    }

    /// Refuses a caller bound to one instance, where the call concerns all.
    pub fn require_unbound(&self) -> Result<(), Error> {
        match self.instance {
            Some(_) => Err(Error::new(
                Code::InstanceScopedKey,
                "This key is bound to one instance; this call needs a key for all instances.",
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_enough_not_too_long_and_not_one_character() {
        assert_eq!(password_problem("ten chars!"), None);
        assert_eq!(password_problem(&"ab".repeat(100)), None);
        for bad in ["", "nine char", "aaaaaaaaaaaa", "éééééééééééé", &"ab".repeat(101)] {
            assert!(password_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_sign_in_ends_after_a_week_unused_and_after_a_month_in_any_case() {
        let day = |day: u64| Timestamp::EPOCH.plus(Duration::from_hours(24 * day));
        let login = |used| Login {
            id: LoginId::from_u128(1),
            created_at: day(0),
            last_used_at: day(used),
            address: None,
            user_agent: None,
        };
        assert_eq!(login(0).expires_at(), day(7));
        assert_eq!(login(20).expires_at(), day(27));
        assert_eq!(login(29).expires_at(), day(30));
    }
}
