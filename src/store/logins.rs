//! The dashboard's password and who is signed in. Neither a password nor a cookie is here: of both, a hash is.

use serde::{Deserialize, Serialize};

use super::encoding::{Key, Span, decode};
use super::error::{ReadError, WriteError};
use super::rows::{Order, Rows, Tx, View, step};
use super::tables::{LOGINS, LOGINS_BY_HASH, META};
use crate::domain::Timestamp;
use crate::domain::access::Login;
use crate::domain::id::LoginId;

/// The key of the password in the table of meta rows.
const PASSWORD: &[u8] = b"password";

/// A sign-in's row: the hash stands beside it, so that its end can take it out of the index.
#[derive(Serialize, Deserialize)]
struct Row {
    hash: String,
    #[serde(flatten)]
    login: Login,
}

/// What is kept of the dashboard's password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPassword {
    /// The hash with its salt and parameters, in the form that the password hashing competition made common.
    pub hash: String,
    /// When it was set.
    pub set_at: Timestamp,
}

impl Tx<'_> {
    /// What is kept of the dashboard's password; `None` before the first.
    pub fn password(&self) -> Result<Option<StoredPassword>, WriteError> {
        Ok(self.get_json(META, PASSWORD)?)
    }

    /// Sets the dashboard's password.
    pub fn set_password(&mut self, password: &StoredPassword) -> Result<(), WriteError> {
        self.put_json(META, PASSWORD, password)
    }

    /// Stores a new sign-in under the HMAC of its cookie.
    pub fn insert_login(&mut self, login: &Login, hash: &[u8; 32]) -> Result<(), WriteError> {
        let row = Row {
            hash: hex::encode(hash),
            login: login.clone(),
        };
        let id = Key::of_id(login.id.to_u128());
        self.put_json(LOGINS, id.as_slice(), &row)?;
        self.put(LOGINS_BY_HASH, hash, id.as_slice())
    }

    /// A sign-in by id.
    pub fn login(&self, id: LoginId) -> Result<Option<Login>, WriteError> {
        Ok(row(self, id)?.map(|row| row.login))
    }

    /// Notes that a sign-in was used; one that has ended stays ended.
    pub fn touch_login(&mut self, id: LoginId, at: Timestamp) -> Result<(), WriteError> {
        let Some(mut row) = row(self, id)? else {
            return Ok(());
        };
        row.login.last_used_at = row.login.last_used_at.max(at);
        self.put_json(LOGINS, Key::of_id(id.to_u128()).as_slice(), &row)
    }

    /// Ends a sign-in and says whether there was one.
    pub fn remove_login(&mut self, id: LoginId) -> Result<bool, WriteError> {
        let Some(Row { hash, .. }) = row(self, id)? else {
            return Ok(false);
        };
        let bytes = hex::decode(&hash).map_err(|error| ReadError::corrupt(LOGINS, error))?;
        self.remove(LOGINS_BY_HASH, &bytes)?;
        self.remove(LOGINS, Key::of_id(id.to_u128()).as_slice())
    }

    /// Every sign-in, newest first.
    pub fn logins(&self) -> Result<Vec<Login>, WriteError> {
        Ok(logins(self, &Span::ALL, usize::MAX)?)
    }
}

impl View<'_> {
    /// What is kept of the dashboard's password; `None` before the first.
    pub fn password(&self) -> Result<Option<StoredPassword>, ReadError> {
        self.get_json(META, PASSWORD)
    }

    /// The sign-in whose cookie has this HMAC, also when it has expired and was not swept yet.
    pub fn login_by_hash(&self, hash: &[u8; 32]) -> Result<Option<Login>, ReadError> {
        let Some(id) = self.get(LOGINS_BY_HASH, hash)? else {
            return Ok(None);
        };
        let row: Option<Row> = self.get_json(LOGINS, &id)?;
        Ok(row.map(|row| row.login))
    }

    /// A sign-in by id.
    pub fn login(&self, id: LoginId) -> Result<Option<Login>, ReadError> {
        Ok(row(self, id)?.map(|row| row.login))
    }

    /// Sign-ins, newest first, older than `before`; expired ones too, until they are swept.
    pub fn logins(&self, before: Option<LoginId>, limit: usize) -> Result<Vec<Login>, ReadError> {
        let span = match before {
            Some(before) => Span::ALL.before(&Key::of_id(before.to_u128())),
            None => Span::ALL,
        };
        logins(self, &span, limit)
    }
}

fn row(rows: &impl Rows, id: LoginId) -> Result<Option<Row>, ReadError> {
    rows.get_json(LOGINS, Key::of_id(id.to_u128()).as_slice())
}

fn logins(rows: &impl Rows, span: &Span, limit: usize) -> Result<Vec<Login>, ReadError> {
    let mut logins = Vec::new();
    if limit > 0 {
        rows.scan(LOGINS, span, Order::Down, &mut |_, bytes| {
            let Row { login, .. } = decode(LOGINS, bytes)?;
            logins.push(login);
            Ok(step(logins.len() < limit))
        })?;
    }
    Ok(logins)
}
