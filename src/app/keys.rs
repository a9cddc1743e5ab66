//! API keys: made, listed, revoked, recognised.
//!
//! A key is 256 random bits, so guessing is hopeless and a slow hash would protect nothing; what is stored is its
//! HMAC-SHA256 under the server's pepper, which makes a stolen file useless without the pepper as well.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use schemars::JsonSchema;
use serde::Serialize;
use sha2::Sha256;

use super::events::Streams;
use super::instances;
use super::{Page, audit, customer};
use crate::domain::Timestamp;
use crate::domain::access::{ApiKey, Caller, Holder, Scope};
use crate::domain::audit::{Action, Note, Target};
use crate::domain::error::{Code, Error, FieldProblem};
use crate::domain::id::{CustomerId, InstanceId, KeyId};
use crate::store::Store;
use crate::sys::clock;

/// What a key for real use begins with.
pub const LIVE_PREFIX: &str = "zpk_live_";

/// What a key for trying things out begins with; it works alike.
pub const TEST_PREFIX: &str = "zpk_test_";

/// Characters of a secret that a list may show: the prefix and six more, 36 of 256 bits.
const SHOWN_CHARACTERS: usize = LIVE_PREFIX.len() + 6;

/// A key's last use is written at most this often, so that reading does not become writing.
const USE_NOTED_EVERY: Duration = Duration::from_mins(1);

/// How long a credential counts as good lately.
const GOOD_FOR: Duration = Duration::from_mins(15);

/// How many credentials are remembered as good lately.
const GOOD_KEPT: usize = 4_096;

/// Longest name of anything, in characters.
pub const NAME_CHARACTERS: usize = 100;

/// Which prefix a new key gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Mode {
    /// `zpk_live_`
    #[default]
    Live,
    /// `zpk_test_`
    Test,
}

impl Mode {
    /// Reads a mode; `None` for an unknown one.
    pub fn parse(text: &str) -> Option<Mode> {
        match text {
            "live" => Some(Mode::Live),
            "test" => Some(Mode::Test),
            _ => None,
        }
    }
}

/// A key that is wanted.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Draft {
    /// For people.
    pub name: String,
    /// Bound to one instance, or to none.
    pub instance_id: Option<InstanceId>,
    /// What it may do; `None` is everything.
    pub scopes: Option<Vec<Scope>>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// Which prefix it gets.
    pub mode: Mode,
}

/// A key as callers see it: without its secret.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "ApiKey")]
pub struct Shown {
    /// Its public name.
    pub id: KeyId,
    /// The owner of this installation.
    pub customer_id: CustomerId,
    /// Bound to this instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<InstanceId>,
    /// For people.
    pub name: String,
    /// The start of the secret, enough to recognise it.
    pub prefix: String,
    /// What it may do; absent means everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<Scope>>,
    /// When it was last used, to the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
    /// When it stops working.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

impl Shown {
    fn of(key: ApiKey, customer_id: CustomerId) -> Self {
        Self {
            id: key.id,
            customer_id,
            instance_id: key.instance_id,
            name: key.name,
            prefix: key.prefix,
            scopes: key.scopes,
            last_used_at: key.last_used_at,
            expires_at: key.expires_at,
            created_at: key.created_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// A key just made, with the secret that is shown this once.
#[derive(Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "ApiKeyWithSecret")]
pub struct Created {
    /// The key.
    #[serde(flatten)]
    pub key: Shown,
    /// The key itself, for `Authorization: Bearer`. It cannot be shown again.
    pub secret: String,
}

/// What knows the pepper; enough to manage keys where no engine runs, as on the command line without a server.
#[derive(Clone)]
pub struct Keyring {
    store: Store,
    pepper: Arc<[u8; 32]>,
    streams: Streams,
    noted: Arc<Mutex<HashMap<KeyId, Timestamp>>>,
    good: Arc<Good>,
}

/// Fingerprints of credentials that were good lately, under a key of this process alone. They prove nothing and grant
/// nothing: a credential found here is only heard although others fail from the same address, as behind one proxy.
#[derive(Default)]
struct Good {
    hasher: RandomState,
    seen: Mutex<HashMap<u64, Timestamp>>,
}

impl Keyring {
    /// Keys of this store, hashed under this pepper.
    pub fn new(store: Store, pepper: [u8; 32]) -> Self {
        Self {
            store,
            pepper: Arc::new(pepper),
            streams: Streams::new(0),
            noted: Arc::default(),
            good: Arc::default(),
        }
    }

    /// The same, ending these streams when their key is revoked.
    #[must_use]
    pub fn ending(self, streams: Streams) -> Self {
        Self { streams, ..self }
    }

    /// The HMAC-SHA256 of `message` under the pepper. Who signs anything but a key's secret must begin it with
    /// something that no secret begins with.
    pub(super) fn sign(&self, message: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.pepper.as_slice()).expect("HMAC takes keys of every length");
        mac.update(message);
        mac.finalize().into_bytes().into()
    }

    /// Makes a key; the answer holds the secret that is never shown again.
    pub async fn create(&self, caller: &Caller, draft: Draft) -> Result<Created, Error> {
        caller.require(Scope::KeysWrite)?;
        caller.require_unbound()?;
        let now = clock::now();
        let mut problems = Vec::new();
        if let Some(problem) = name_problem(&draft.name) {
            problems.push(FieldProblem::new("body.name", problem));
        }
        if draft.expires_at.is_some_and(|at| at <= now) {
            problems.push(FieldProblem::new("body.expires_at", "must be in the future"));
        }
        if draft.scopes.as_ref().is_some_and(Vec::is_empty) {
            problems.push(FieldProblem::new(
                "body.scopes",
                "must name at least one scope; leave it out for a key that may do everything",
            ));
        }
        if !problems.is_empty() {
            return Err(Error::validation(&problems));
        }
        require_no_wider(caller, draft.scopes.as_deref())?;
        let secret = format!(
            "{}{}",
            match draft.mode {
                Mode::Live => LIVE_PREFIX,
                Mode::Test => TEST_PREFIX,
            },
            BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
        );
        let key = ApiKey {
            id: KeyId::new(now),
            name: draft.name,
            prefix: shown_part(&secret),
            instance_id: draft.instance_id,
            scopes: draft.scopes,
            last_used_at: None,
            expires_at: draft.expires_at,
            created_at: now,
            revoked_at: None,
        };
        let (row, hash) = (key.clone(), self.sign(secret.as_bytes()));
        let note = told(caller, &key);
        self.store
            .write(move |tx| {
                if let Some(id) = row.instance_id {
                    instances::existing(tx.instance(id)?)?;
                }
                tx.insert_key(&row, &hash)?;
                tx.audit(&note)
            })
            .await?;
        tracing::info!(key.id = %key.id, "API key created");
        Ok(Created {
            key: Shown::of(key, customer(&self.store)?),
            secret,
        })
    }

    /// Active keys, newest first.
    pub fn list(&self, caller: &Caller, before: Option<KeyId>, limit: usize) -> Result<Page<Shown>, Error> {
        caller.require(Scope::KeysRead)?;
        caller.require_unbound()?;
        let (customer, keys) = self
            .store
            .read(|view| Ok((view.customer()?, view.keys(before, limit + 1)?)))?;
        let shown = keys.into_iter().map(|key| Shown::of(key, customer)).collect();
        Ok(Page::cut(shown, limit, |key: &Shown| key.id.to_string()))
    }

    /// Revokes a key at once, and ends its open streams.
    pub async fn revoke(&self, caller: &Caller, id: KeyId) -> Result<(), Error> {
        caller.require(Scope::KeysWrite)?;
        caller.require_unbound()?;
        let now = clock::now();
        let note = Note::by(caller, Action::KeysRevoke);
        self.store
            .write(move |tx| {
                let mut key = tx.key(id)?.filter(|key| key.revoked_at.is_none()).ok_or_else(unknown)?;
                key.revoked_at = Some(now);
                tx.put_key(&key)?;
                tx.audit(&note.clone().on(Target::key(id, &key.name)))
            })
            .await?;
        self.streams.end_of(Holder::Key(id));
        tracing::info!(key.id = %id, "API key revoked");
        Ok(())
    }

    /// Makes sure that the key chosen by the operator works, with all rights; `false` when it was already known.
    pub async fn register_bootstrap_key(&self, secret: &str) -> Result<bool, Error> {
        let random = secret
            .strip_prefix(LIVE_PREFIX)
            .or_else(|| secret.strip_prefix(TEST_PREFIX))
            .unwrap_or_default();
        // 32 random bytes are 43 characters of base64url; 22 characters hold the 128 bits below which guessing starts to matter.
        if random.len() < 22
            || !random
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        {
            return Err(Error::invalid(
                "bootstrap_key",
                "must be zpk_live_ or zpk_test_ followed by 32 random bytes in base64url",
            ));
        }
        let hash = self.sign(secret.as_bytes());
        if self.store.read(|view| view.key_by_hash(&hash))?.is_some() {
            return Ok(false);
        }
        let now = clock::now();
        let key = ApiKey {
            id: KeyId::new(now),
            name: "bootstrap".to_owned(),
            prefix: shown_part(secret),
            instance_id: None,
            scopes: None,
            last_used_at: None,
            expires_at: None,
            created_at: now,
            revoked_at: None,
        };
        let note = told(&Caller::SYSTEM, &key);
        self.store
            .write(move |tx| {
                tx.insert_key(&key, &hash)?;
                tx.audit(&note)
            })
            .await?;
        Ok(true)
    }

    /// The active key with this secret.
    pub(super) fn by_secret(&self, secret: &str) -> Result<Option<ApiKey>, Error> {
        let hash = self.sign(secret.as_bytes());
        // The index is looked up by a value that the caller cannot choose without the pepper, so its timing tells nothing.
        Ok(self.store.read(|view| view.key_by_hash(&hash))?)
    }

    /// The active key with this id.
    pub(super) fn by_id(&self, id: KeyId) -> Result<Option<ApiKey>, Error> {
        let found = self.store.read(|view| view.key(id))?;
        Ok(found.filter(|key| key.revoked_at.is_none()))
    }

    /// Whether this credential was good lately; costs no cryptography.
    pub fn recently_good(&self, credential: &str) -> bool {
        let fingerprint = self.good.hasher.hash_one(credential);
        let seen = self.good.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&fingerprint)
            .is_some_and(|at| clock::now().since(*at) < GOOD_FOR)
    }

    /// Remembers that this credential is good.
    pub(super) fn note_good(&self, credential: &str) {
        let (fingerprint, now) = (self.good.hasher.hash_one(credential), clock::now());
        let mut seen = self.good.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= GOOD_KEPT {
            seen.retain(|_, at| now.since(*at) < GOOD_FOR);
        }
        if seen.len() < GOOD_KEPT {
            seen.insert(fingerprint, now);
        }
    }

    /// Forgets a credential that is good no longer.
    pub fn note_bad(&self, credential: &str) {
        let fingerprint = self.good.hasher.hash_one(credential);
        let mut seen = self.good.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.remove(&fingerprint);
    }

    /// Notes, at most once a minute and without waiting, that a key was used.
    pub(super) fn note_use(&self, key: &ApiKey) {
        let now = clock::now();
        let recent = |at: Timestamp| now.since(at) < USE_NOTED_EVERY;
        if key.last_used_at.is_some_and(recent) {
            return;
        }
        {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            if noted.get(&key.id).copied().is_some_and(recent) {
                return;
            }
            noted.retain(|_, at| recent(*at));
            noted.insert(key.id, now);
        }
        let (store, id) = (self.store.clone(), key.id);
        tokio::spawn(async move {
            let written = store
                .write_lazily(move |tx| {
                    if let Some(mut key) = tx.key(id)? {
                        key.last_used_at = Some(now);
                        tx.put_key(&key)?;
                    }
                    Ok(())
                })
                .await;
            if let Err(error) = written {
                tracing::debug!(key.id = %id, %error, "a key's last use was not noted");
            }
        });
    }
}

/// A key must not make one that may do more than itself.
fn require_no_wider(caller: &Caller, wanted: Option<&[Scope]>) -> Result<(), Error> {
    let Some(own) = &caller.scopes else { return Ok(()) };
    let missing: Vec<Scope> = wanted
        .unwrap_or(Scope::ALL)
        .iter()
        .copied()
        .filter(|scope| !own.contains(scope))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Code::InsufficientScope,
        "A key can only make keys that may do no more than itself. Name scopes that this key has.",
    )
    .with_details(serde_json::json!({ "missing_scopes": missing })))
}

/// That a key was made, with everything of it but the secret.
fn told(caller: &Caller, key: &ApiKey) -> Note {
    #[derive(Serialize)]
    struct Fields<'a> {
        name: &'a str,
        prefix: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        instance_id: Option<InstanceId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        scopes: Option<&'a [Scope]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    }
    let fields = audit::fields(&Fields {
        name: &key.name,
        prefix: &key.prefix,
        instance_id: key.instance_id,
        scopes: key.scopes.as_deref(),
        expires_at: key.expires_at,
    });
    Note::by(caller, Action::KeysCreate)
        .on(Target::key(key.id, &key.name))
        .giving(&fields)
}

fn shown_part(secret: &str) -> String {
    secret.chars().take(SHOWN_CHARACTERS).collect()
}

fn unknown() -> Error {
    Error::new(Code::KeyNotFound, "There is no active API key with this id.")
}

/// Reads a key's id; an unreadable one is unknown.
pub fn parse_id(text: &str) -> Result<KeyId, Error> {
    KeyId::parse(text).ok_or_else(unknown)
}

/// What is wrong with a name, if anything.
pub(super) fn name_problem(name: &str) -> Option<&'static str> {
    if name.trim().is_empty() {
        Some("must not be empty")
    } else if name.chars().count() > NAME_CHARACTERS {
        Some("must have at most 100 characters")
    } else if name.chars().any(char::is_control) {
        Some("must be one line without control characters")
    } else {
        None
    }
}
