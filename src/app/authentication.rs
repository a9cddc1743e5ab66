//! Who is calling: from a credential to a [`Caller`].

use super::App;
use super::stream_tokens;
use crate::domain::access::{ApiKey, Caller};
use crate::domain::error::{Code, Error};
use crate::sys::clock;

/// The caller behind an API key.
pub fn by_key(app: &App, secret: &str) -> Result<Caller, Error> {
    let key = app.keys.by_secret(secret)?.ok_or_else(|| {
        Error::new(
            Code::AuthInvalid,
            "This API key is unknown or was revoked. Make one with `whatisup keys create --name …`.",
        )
    })?;
    let caller = caller_of(app, &key)?;
    app.keys.note_good(secret);
    Ok(caller)
}

/// The caller behind a stream token: at most what its key may see now, until the earlier of both ends.
pub fn by_stream_token(app: &App, token: &str) -> Result<Caller, Error> {
    let claims = stream_tokens::read(app, token)?;
    let key = app.keys.by_id(claims.key)?.ok_or_else(|| {
        Error::new(
            Code::AuthInvalid,
            "The API key behind this stream token was revoked. Ask for a new token with another key.",
        )
    })?;
    let mut caller = caller_of(app, &key)?;
    caller.expires_at = caller
        .expires_at
        .map_or(Some(claims.expires_at), |at| Some(at.min(claims.expires_at)));
    caller.stream = Some(claims.filter());
    app.keys.note_good(token);
    Ok(caller)
}

/// The caller behind the cookie of a sign-in.
pub fn by_cookie(app: &App, cookie: &str) -> Result<Caller, Error> {
    app.sessions.by_cookie(cookie)
}

fn caller_of(app: &App, key: &ApiKey) -> Result<Caller, Error> {
    if key.expires_at.is_some_and(|at| at <= clock::now()) {
        return Err(Error::new(
            Code::AuthExpired,
            "This API key has expired. Make a new one with `whatisup keys create --name …`.",
        ));
    }
    app.keys.note_use(key);
    Ok(Caller::of_key(key))
}
