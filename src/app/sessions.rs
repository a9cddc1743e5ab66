//! The dashboard's password and its sign-ins: set up, signed in, used, ended.
//!
//! A sign-in is a cookie with 256 random bits, kept as its HMAC under the pepper, like an API key. Each change is one
//! transaction, so that a password never changes without ending the sign-ins made with the old one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Serialize;
use subtle::ConstantTimeEq as _;

use super::events::Streams;
use super::keys::Keyring;
use super::passwords::Hasher;
use super::throttle::{Guesser, Left, Throttle};
use super::{Page, customer};
use crate::domain::Timestamp;
use crate::domain::access::{Caller, Holder, Login, Scope, password_problem};
use crate::domain::audit::{Action, Note, Target};
use crate::domain::error::{Code, Error};
use crate::domain::id::{LoginId, RequestId};
use crate::store::{Store, StoredPassword, WriteError};
use crate::sys::clock;
use crate::sys::secret::Secret;

/// Keeps a cookie's hash from ever being that of a key: no secret begins like this.
const DOMAIN: &[u8] = b"dashboard-sign-in:";

/// How long the one-time link for setting up works.
const SETUP_LIFE: Duration = Duration::from_hours(24);

/// A sign-in's last use is written at most this often, so that reading does not become writing.
const USE_NOTED_EVERY: Duration = Duration::from_mins(1);

/// Sign-ins that are kept; with one more, the one that was not used for the longest ends.
const KEPT: usize = 100;

/// As much of a browser's description as is kept.
const USER_AGENT_CHARACTERS: usize = 200;

/// A sign-in as callers see it: without its cookie.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Session")]
pub struct Shown {
    /// Its public name.
    pub id: LoginId,
    /// When the password was given.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_used_at: Timestamp,
    /// When it ends if it is not used any more: after 7 days, and after 30 in any case.
    pub expires_at: Timestamp,
    /// From where the password was given; behind a proxy that the gateway was not told of, the proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What the browser calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Whether it is the caller's own.
    pub current: bool,
}

impl Shown {
    fn of(login: Login, caller: &Caller) -> Self {
        Self {
            id: login.id,
            created_at: login.created_at,
            last_used_at: login.last_used_at,
            expires_at: login.expires_at(),
            current: caller.login == Some(login.id),
            address: login.address,
            user_agent: login.user_agent,
        }
    }
}

/// How the dashboard stands for whoever asks.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "SessionState")]
pub struct State {
    /// Whether there is a password to sign in with.
    pub password_set: bool,
    /// Whether a one-time link for setting up is waiting to be used.
    pub setup_open: bool,
    /// The caller's own sign-in; `null` when there is none.
    pub session: Option<Shown>,
}

/// The one-time link's secret.
#[derive(Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "SetupToken")]
pub struct SetupToken {
    /// For `POST /v1/setup`.
    pub token: String,
    /// When it stops working; a restart ends it as well.
    pub expires_at: Timestamp,
}

/// A sign-in just made.
pub struct SignedIn {
    /// The sign-in.
    pub session: Shown,
    /// What the cookie holds; it is nowhere else.
    pub cookie: Secret,
}

/// Who stands at the door.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    /// From where; `None` on the admin socket.
    pub address: Option<IpAddr>,
    /// What the browser calls itself.
    pub user_agent: Option<String>,
    /// The request with which it knocks.
    pub request: Option<RequestId>,
}

/// Sign-ins and the password behind them; enough to set one where no engine runs, as on the command line.
#[derive(Clone)]
pub struct Sessions {
    store: Store,
    keys: Keyring,
    streams: Streams,
    hasher: Hasher,
    throttle: Arc<Throttle>,
    /// In memory alone: a restart prints a fresh one.
    setup: Arc<Mutex<Option<SetupToken>>>,
    noted: Arc<Mutex<HashMap<LoginId, Timestamp>>>,
    /// Whether the password is one of the settings.
    configured: Arc<AtomicBool>,
}

impl Sessions {
    /// Sign-ins of this store, their cookies hashed by this keyring, ending these streams.
    pub fn new(store: Store, keys: Keyring, streams: Streams) -> Self {
        Self {
            store,
            keys,
            streams,
            hasher: Hasher::default(),
            throttle: Arc::default(),
            setup: Arc::default(),
            noted: Arc::default(),
            configured: Arc::default(),
        }
    }

    /// What tells the cookies of several gateways on one host apart, where browsers do not look at the port: the random
    /// end of the owner's id.
    pub fn cookie_suffix(&self) -> Result<String, Error> {
        let owner = customer(&self.store)?.to_string();
        Ok(owner[owner.len() - 8..].to_owned())
    }

    /// How the dashboard stands, for this caller.
    pub fn get(&self, caller: &Caller) -> Result<State, Error> {
        let (password, login) = self.store.read(|view| {
            let login = caller.login.map(|id| view.login(id)).transpose()?;
            Ok((view.password()?, login.flatten()))
        })?;
        Ok(State {
            password_set: password.is_some(),
            setup_open: password.is_none() && self.setup_token().is_some(),
            session: login.map(|login| Shown::of(login, caller)),
        })
    }

    /// Makes a fresh one-time link, while there is no password; an older one stops working.
    pub fn open_setup(&self) -> Result<SetupToken, Error> {
        if self.password()?.is_some() {
            return Err(password_is_set());
        }
        let token = SetupToken {
            token: random(),
            expires_at: clock::now().plus(SETUP_LIFE),
        };
        *self.setup.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }

    /// Whether there is a password.
    pub fn has_password(&self) -> Result<bool, Error> {
        Ok(self.password()?.is_some())
    }

    /// Sets the first password with the token of the one-time link, and signs in.
    pub async fn set_up(&self, visitor: Visitor, token: &str, password: String) -> Result<SignedIn, Error> {
        require_good("body.password", &password)?;
        if self.password()?.is_some() {
            return Err(password_is_set());
        }
        let guess = self.begin(visitor.address.map(Guesser::at))?;
        let known = self.setup_token();
        if !known.is_some_and(|known| bool::from(known.token.as_bytes().ct_eq(token.as_bytes()))) {
            return Err(guess.wrong(
                "This one-time link was used, has expired or was replaced; `whatisup setup-link` on the machine prints a fresh one.",
            ));
        }
        guess.right();
        let stored = self.hashed(password).await?;
        let signed_in = self
            .write_login(visitor, Action::SessionSetUp, move |tx| {
                // Of two that use the link at once, one comes too late.
                if tx.password()?.is_some() {
                    return Err(password_is_set().into());
                }
                tx.set_password(&stored)
            })
            .await?;
        self.setup.lock().unwrap_or_else(PoisonError::into_inner).take();
        tracing::info!(session.id = %signed_in.session.id, "the dashboard's password was set with the one-time link");
        Ok(signed_in)
    }

    /// Signs in with the password.
    pub async fn sign_in(&self, caller: &Caller, visitor: Visitor, password: String) -> Result<SignedIn, Error> {
        // Somebody who is signed in already is not held back by what others of the same address do.
        let guesser = caller.login.map(Guesser::Login).or(visitor.address.map(Guesser::at));
        let guess = self.begin(guesser)?;
        let known = self.password()?;
        let right = match self
            .hasher
            .verify(password, known.clone().map(|known| known.hash))
            .await
        {
            Ok(right) => right,
            Err(error) => {
                guess.unchecked();
                return Err(error);
            }
        };
        let Some(known) = known else {
            guess.unchecked();
            return Err(Error::new(
                Code::InvalidLifecycleTransition,
                "No password is set yet. Open the one-time link that the gateway printed at its start; `whatisup setup-link` prints a fresh one.",
            ));
        };
        if !right {
            return Err(guess.wrong("Wrong password."));
        }
        guess.right();
        let signed_in = self
            .write_login(visitor, Action::SessionCreate, move |tx| {
                // The password may have changed while this one was checked.
                if tx.password()?.as_ref() != Some(&known) {
                    return Err(Error::new(Code::AuthInvalid, "The password has just been changed.").into());
                }
                Ok(())
            })
            .await?;
        tracing::info!(session.id = %signed_in.session.id, "signed in");
        Ok(signed_in)
    }

    /// The caller behind a cookie. `AuthInvalid`: there is no such sign-in; `AuthExpired`: it has ended by itself.
    pub(super) fn by_cookie(&self, cookie: &str) -> Result<Caller, Error> {
        let hash = self.hash_of(cookie);
        // Looked up by a value that nobody can choose without the pepper, as API keys are.
        let login = self
            .store
            .read(|view| view.login_by_hash(&hash))?
            .ok_or_else(|| Error::new(Code::AuthInvalid, "This sign-in has ended. Sign in again."))?;
        let expires_at = login.expires_at();
        if expires_at <= clock::now() {
            return Err(Error::new(
                Code::AuthExpired,
                "This sign-in has expired. Sign in again.",
            ));
        }
        self.note_use(&login);
        Ok(Caller {
            expires_at: Some(expires_at),
            ..Caller::of_login(login.id)
        })
    }

    /// Whether a sign-in has not ended.
    pub(super) fn is_open(&self, id: LoginId) -> Result<bool, Error> {
        let login = self.store.read(|view| view.login(id))?;
        Ok(login.is_some_and(|login| login.expires_at() > clock::now()))
    }

    /// Everybody signed in, newest first.
    pub fn list(&self, caller: &Caller, before: Option<LoginId>, limit: usize) -> Result<Page<Shown>, Error> {
        caller.require(Scope::KeysRead)?;
        caller.require_unbound()?;
        let now = clock::now();
        let mut logins = self.store.read(|view| view.logins(before, usize::MAX))?;
        logins.retain(|login| login.expires_at() > now);
        logins.truncate(limit + 1);
        let shown = logins.into_iter().map(|login| Shown::of(login, caller)).collect();
        Ok(Page::cut(shown, limit, |login: &Shown| login.id.to_string()))
    }

    /// Ends one sign-in at once, and its open streams.
    pub async fn end(&self, caller: &Caller, id: LoginId) -> Result<(), Error> {
        caller.require(Scope::KeysWrite)?;
        caller.require_unbound()?;
        let action = if caller.login == Some(id) {
            Action::SessionDelete
        } else {
            Action::SessionsEnd
        };
        let note = Note::by(caller, action).on(Target::session(id));
        self.store
            .write(move |tx| {
                if tx.remove_login(id)? {
                    tx.audit(&note)
                } else {
                    Err(unknown().into())
                }
            })
            .await?;
        self.streams.end_of(Holder::Login(id));
        tracing::info!(session.id = %id, "a sign-in was ended");
        Ok(())
    }

    /// Ends every sign-in but the caller's own.
    pub async fn end_others(&self, caller: &Caller) -> Result<(), Error> {
        caller.require(Scope::KeysWrite)?;
        caller.require_unbound()?;
        let own = caller.login;
        let note = Note::by(caller, Action::SessionsEndOthers);
        let ended = self
            .store
            .write(move |tx| {
                let ended = end_all_but(tx, own)?;
                if !ended.is_empty() {
                    tx.audit(&ending(&note, &ended))?;
                }
                Ok(ended)
            })
            .await?;
        self.end_streams(&ended);
        tracing::info!(sessions = ended.len(), "all other sign-ins were ended");
        Ok(())
    }

    /// Changes the password and ends every other sign-in. Whoever is signed in must know the current one; the owner on
    /// the admin socket need not.
    pub async fn change_password(&self, caller: &Caller, current: Option<String>, new: String) -> Result<(), Error> {
        if self.configured.load(Ordering::Relaxed) {
            return Err(password_is_configured());
        }
        require_good("body.new_password", &new)?;
        let known = self.password()?;
        if let Some(login) = caller.login {
            let current = current.ok_or_else(|| Error::invalid("body.current_password", "is required"))?;
            let guess = self.begin(Some(Guesser::Login(login)))?;
            match self.hasher.verify(current, known.clone().map(|known| known.hash)).await {
                Ok(true) => guess.right(),
                Ok(false) => return Err(guess.wrong_current()),
                Err(error) => {
                    guess.unchecked();
                    return Err(error);
                }
            }
        }
        let stored = self.hashed(new).await?;
        let own = caller.login;
        let note = Note::by(caller, Action::PasswordChange);
        let ended = self
            .store
            .write(move |tx| {
                if own.is_some() && tx.password()? != known {
                    return Err(Error::new(
                        Code::InvalidLifecycleTransition,
                        "The password has just been changed elsewhere.",
                    )
                    .into());
                }
                tx.set_password(&stored)?;
                let ended = end_all_but(tx, own)?;
                tx.audit(&ending(&note, &ended))?;
                Ok(ended)
            })
            .await?;
        self.password_changed(&ended);
        tracing::info!(
            sessions = ended.len(),
            "the dashboard's password was changed; other sign-ins have ended"
        );
        Ok(())
    }

    /// Makes the password of the settings the one that counts; sign-ins made with another one end. `false` when it was
    /// that already.
    pub async fn configure_password(&self, password: &Secret) -> Result<bool, Error> {
        self.configured.store(true, Ordering::Relaxed);
        let known = self.password()?.map(|known| known.hash);
        if known.is_some() && self.hasher.verify(password.expose().to_owned(), known).await? {
            return Ok(false);
        }
        let stored = self.hashed(password.expose().to_owned()).await?;
        let ended = self
            .store
            .write(move |tx| {
                tx.set_password(&stored)?;
                let ended = end_all_but(tx, None)?;
                tx.audit(&ending(&Note::by_system(Action::PasswordConfigure), &ended))?;
                Ok(ended)
            })
            .await?;
        self.password_changed(&ended);
        Ok(true)
    }

    fn password(&self) -> Result<Option<StoredPassword>, Error> {
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "the method is bound to one lifetime, the closure is not"
        )]
        let password = self.store.read(|view| view.password())?;
        Ok(password)
    }

    async fn hashed(&self, password: String) -> Result<StoredPassword, Error> {
        Ok(StoredPassword {
            hash: self.hasher.hash(password).await?,
            set_at: clock::now(),
        })
    }

    /// The token of the one-time link, if it still works.
    fn setup_token(&self) -> Option<SetupToken> {
        let setup = self.setup.lock().unwrap_or_else(PoisonError::into_inner);
        setup.clone().filter(|token| token.expires_at > clock::now())
    }

    /// Makes a sign-in in the transaction that `first` begins.
    async fn write_login(
        &self,
        visitor: Visitor,
        action: Action,
        mut first: impl FnMut(&mut crate::store::Tx<'_>) -> Result<(), WriteError> + Send + 'static,
    ) -> Result<SignedIn, Error> {
        let now = clock::now();
        let login = Login {
            id: LoginId::new(now),
            created_at: now,
            last_used_at: now,
            address: visitor.address.map(|address| address.to_canonical().to_string()),
            user_agent: visitor
                .user_agent
                .map(|agent| agent.chars().take(USER_AGENT_CHARACTERS).collect()),
        };
        let cookie = random();
        let (row, hash) = (login.clone(), self.hash_of(&cookie));
        let caller = Caller {
            address: visitor.address,
            request: visitor.request,
            ..Caller::of_login(login.id)
        };
        let note = Note::by(&caller, action).on(Target::session(login.id));
        let ended = self
            .store
            .write(move |tx| {
                first(tx)?;
                let ended = make_room(tx)?;
                tx.insert_login(&row, &hash)?;
                tx.audit(&note)?;
                Ok(ended)
            })
            .await?;
        self.end_streams(&ended);
        Ok(SignedIn {
            session: Shown::of(login, &caller),
            cookie: Secret::new(cookie),
        })
    }

    fn hash_of(&self, cookie: &str) -> [u8; 32] {
        self.keys.sign(&[DOMAIN, cookie.as_bytes()].concat())
    }

    fn end_streams(&self, ended: &[LoginId]) {
        for id in ended {
            self.streams.end_of(Holder::Login(*id));
        }
    }

    fn password_changed(&self, ended: &[LoginId]) {
        self.end_streams(ended);
        self.throttle.forgive_all();
        self.setup.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Notes, at most once a minute and without waiting, that a sign-in was used.
    fn note_use(&self, login: &Login) {
        let now = clock::now();
        let recent = |at: Timestamp| now.since(at) < USE_NOTED_EVERY;
        if recent(login.last_used_at) {
            return;
        }
        {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            if noted.get(&login.id).copied().is_some_and(recent) {
                return;
            }
            noted.retain(|_, at| recent(*at));
            noted.insert(login.id, now);
        }
        let (store, id) = (self.store.clone(), login.id);
        tokio::spawn(async move {
            if let Err(error) = store.write_lazily(move |tx| tx.touch_login(id, now)).await {
                tracing::debug!(session.id = %id, %error, "a sign-in's last use was not noted");
            }
        });
    }

    fn begin(&self, guesser: Option<Guesser>) -> Result<Guess<'_>, Error> {
        let left = guesser.map(|guesser| self.throttle.begin(guesser)).transpose()?;
        Ok(Guess {
            throttle: &self.throttle,
            counted: guesser.zip(left),
        })
    }
}

/// One guess that was counted and is being checked; the owner on the admin socket is not counted.
struct Guess<'a> {
    throttle: &'a Throttle,
    counted: Option<(Guesser, Left)>,
}

impl Guess<'_> {
    fn right(self) {
        if let Some((guesser, _)) = self.counted {
            self.throttle.forgive(guesser);
        }
    }

    fn unchecked(self) {
        if let Some((guesser, _)) = self.counted {
            self.throttle.give_back(guesser);
        }
    }

    fn wrong(self, what: &str) -> Error {
        self.failed(|left| Error::new(Code::AuthInvalid, format!("{what} {left}").trim_end().to_owned()))
    }

    /// Not a 401: the caller's sign-in is as good as before.
    fn wrong_current(self) -> Error {
        self.failed(|left| {
            let problem = format!("is wrong. {left}");
            Error::invalid("body.current_password", problem.trim_end())
        })
    }

    fn failed(self, error: impl FnOnce(&str) -> Error) -> Error {
        let Some((_, left)) = self.counted else {
            return error("");
        };
        let mut error = error(&left.sentence());
        let details = error.details.get_or_insert_with(|| serde_json::json!({}));
        details["attempts_left"] = left.attempts.into();
        if left.attempts == 0 {
            return error.with_retry_after(left.pause);
        }
        error
    }
}

/// Ends the sign-in unused for the longest when there are too many.
fn make_room(tx: &mut crate::store::Tx<'_>) -> Result<Vec<LoginId>, WriteError> {
    let mut logins = tx.logins()?;
    logins.sort_by_key(|login| login.last_used_at);
    let excess = (logins.len() + 1).saturating_sub(KEPT);
    let ended: Vec<LoginId> = logins.iter().take(excess).map(|login| login.id).collect();
    for id in &ended {
        tx.remove_login(*id)?;
    }
    Ok(ended)
}

fn end_all_but(tx: &mut crate::store::Tx<'_>, own: Option<LoginId>) -> Result<Vec<LoginId>, WriteError> {
    let mut ended = Vec::new();
    for login in tx.logins()? {
        if own != Some(login.id) && tx.remove_login(login.id)? {
            ended.push(login.id);
        }
    }
    Ok(ended)
}

/// The note, with how many sign-ins ended.
fn ending(note: &Note, ended: &[LoginId]) -> Note {
    let mut note = note.clone();
    if !ended.is_empty() {
        note.changes
            .insert("sessions_ended".to_owned(), [0.into(), ended.len().into()]);
    }
    note
}

/// 32 random bytes as text.
fn random() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

fn require_good(field: &str, password: &str) -> Result<(), Error> {
    match password_problem(password) {
        Some(problem) => Err(Error::invalid(field, problem)),
        None => Ok(()),
    }
}

fn password_is_set() -> Error {
    Error::new(
        Code::InvalidLifecycleTransition,
        "The dashboard has a password already. Sign in with it; `whatisup password` on the machine sets another.",
    )
}

/// The password comes from the settings, so it cannot be changed here.
pub fn password_is_configured() -> Error {
    Error::new(
        Code::InvalidLifecycleTransition,
        "The password is the setting dashboard.password. Change it there and start the gateway again.",
    )
}

fn unknown() -> Error {
    Error::new(Code::NotFound, "There is no such sign-in; it may have ended already.")
}

/// Reads a sign-in's id; an unreadable one is unknown.
pub fn parse_id(text: &str) -> Result<LoginId, Error> {
    LoginId::parse(text).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;

    #[tokio::test]
    async fn with_too_many_sign_ins_the_one_unused_for_the_longest_ends() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            path: folder.path().join("store.redb"),
            cache_bytes: 1 << 20,
            reserve_bytes: 0,
        };
        let store = Store::open(&options, Arc::new(|_| {})).unwrap();
        let keys = Keyring::new(store.clone(), [7; 32]);
        let sessions = Sessions::new(store.clone(), keys, Streams::new(0));
        let sign_in = async || {
            sessions
                .write_login(Visitor::default(), Action::SessionCreate, |_| Ok(()))
                .await
                .unwrap()
        };
        let (busy, idle) = (sign_in().await, sign_in().await);
        let later = clock::now().plus(Duration::from_hours(1));
        let id = busy.session.id;
        store.write(move |tx| tx.touch_login(id, later)).await.unwrap();
        for _ in 2..=KEPT {
            sign_in().await;
        }
        assert_eq!(store.read(|view| view.logins(None, usize::MAX)).unwrap().len(), KEPT);
        assert!(sessions.by_cookie(busy.cookie.expose()).is_ok());
        let ended = sessions.by_cookie(idle.cookie.expose()).unwrap_err();
        assert_eq!(ended.code, Code::AuthInvalid);
        store.close().await;
    }
}
