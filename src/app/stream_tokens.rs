//! Short-lived tokens for `GET /v1/events?token=`, so that a long-lived key need never stand in an address.
//!
//! A token is its own record: claims in JSON, signed under the pepper. Nothing is stored; revoking the key behind it
//! ends it, because the key is looked up at each use.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::App;
use super::instances;
use crate::domain::Timestamp;
use crate::domain::access::{Caller, Scope};
use crate::domain::error::{Code, Error};
use crate::domain::event::{EventFilter, EventName};
use crate::domain::id::{InstanceId, KeyId};
use crate::sys::clock;

/// What a stream token begins with.
pub const PREFIX: &str = "zst_";

/// The longest life of a token.
pub const MAX_LIFE: Duration = Duration::from_hours(1);

/// Keeps a token's signature from ever being the hash of a key: no secret begins like this.
const DOMAIN: &[u8] = b"stream-token:";

/// What a token says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    #[serde(rename = "k")]
    pub key: KeyId,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    #[serde(rename = "e", default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventName>,
    #[serde(rename = "x")]
    pub expires_at: Timestamp,
}

impl Claims {
    pub(super) fn filter(&self) -> EventFilter {
        EventFilter::ALL.of_instance(self.instance).of_names(&self.events)
    }
}

/// A fresh token.
#[derive(Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "StreamToken")]
pub struct Created {
    /// For `GET /v1/events?token=`.
    pub token: String,
    /// When it stops working; streams opened with it end then.
    pub expires_at: Timestamp,
}

/// Makes a token that sees what `caller` sees, narrowed to an instance and to events if wanted.
pub fn create(
    app: &App,
    caller: &Caller,
    instance: Option<InstanceId>,
    events: Vec<EventName>,
    life: Duration,
) -> Result<Created, Error> {
    caller.require(Scope::EventsRead)?;
    let key = caller.key.ok_or_else(|| {
        Error::new(
            Code::ValidationFailed,
            "A stream token belongs to an API key; the admin socket and the dashboard need none.",
        )
    })?;
    if let Some(id) = instance {
        instances::visible(app, caller, id)?;
    }
    let claims = Claims {
        key,
        instance: instance.or(caller.instance),
        events,
        expires_at: clock::now().plus(life.min(MAX_LIFE)),
    };
    let payload = serde_json::to_vec(&claims).map_err(Error::internal)?;
    let token = format!(
        "{PREFIX}{}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(&payload),
        BASE64_URL_SAFE_NO_PAD.encode(signature(app, &payload))
    );
    Ok(Created {
        token,
        expires_at: claims.expires_at,
    })
}

/// Reads a token that we signed and that has not expired.
pub(super) fn read(app: &App, token: &str) -> Result<Claims, Error> {
    let invalid = || {
        Error::new(
            Code::AuthInvalid,
            "This stream token is not valid here. Ask for a new one: POST /v1/stream-tokens.",
        )
    };
    let (payload, signed) = token
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once('.'))
        .ok_or_else(invalid)?;
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).map_err(|_| invalid())?;
    let signed = BASE64_URL_SAFE_NO_PAD.decode(signed).map_err(|_| invalid())?;
    if !bool::from(signature(app, &payload).as_slice().ct_eq(&signed)) {
        return Err(invalid());
    }
    let claims: Claims = serde_json::from_slice(&payload).map_err(|_| invalid())?;
    if claims.expires_at <= clock::now() {
        return Err(Error::new(
            Code::AuthExpired,
            "This stream token has expired. Ask for a new one: POST /v1/stream-tokens.",
        ));
    }
    Ok(claims)
}

fn signature(app: &App, payload: &[u8]) -> [u8; 32] {
    app.keys.sign(&[DOMAIN, payload].concat())
}
