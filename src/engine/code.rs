//! Linking by a code that the phone's owner types: asked for on the socket that also offers QR codes; whichever a phone
//! takes first wins.
//!
//! The library allows one code at a time and forgets it with the socket. Here lies what was handed out, so that a caller
//! who asks twice sees the same code, which a person may just be typing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use whatsapp_rust::pair_code::{PairCodeOptions, PairCodeRejection, PairError};
use whatsapp_rust::prelude::Client;
use whatsapp_rust::wacore::pair_code::PairCodeUtils;

use super::PairCode;
use crate::domain::Timestamp;
use crate::domain::error::{Code, Error};
use crate::sys::clock;

/// How long WhatsApp may take to accept a code.
const ASK_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a link may take after its code was typed, in case that was in the last moment.
pub(super) const LINK_PATIENCE: Duration = Duration::from_mins(1);

/// Where a QR code carries the secret of the link: behind the reference and two keys.
const SECRET_FIELD: usize = 3;

/// When to ask again where WhatsApp does not say.
const ASK_AGAIN: Duration = Duration::from_mins(1);

/// What the phone shows besides the device's name. WhatsApp refuses what is no operating system, and the library would
/// complain once about each name that it replaces.
const SYSTEM: &str = if cfg!(target_os = "macos") {
    "Mac OS"
} else if cfg!(target_os = "windows") {
    "Windows"
} else {
    "Linux"
};

/// A code that was handed out.
struct Live {
    number: String,
    code: PairCode,
}

/// Where codes of one session are asked for.
pub(super) struct Desk {
    client: Arc<Client>,
    /// One question at a time.
    asking: tokio::sync::Mutex<()>,
    live: Mutex<Option<Live>>,
}

impl Desk {
    /// The desk of a client.
    pub fn new(client: Arc<Client>) -> Self {
        Self {
            client,
            asking: tokio::sync::Mutex::new(()),
            live: Mutex::new(None),
        }
    }

    fn live(&self) -> MutexGuard<'_, Option<Live>> {
        // Only whole values are put in and taken out.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when a code can be typed, if one can.
    pub fn outstanding(&self) -> Option<Timestamp> {
        let ends = self.live().as_ref().map(|live| live.code.expires_at);
        ends.filter(|ends| *ends > clock::now())
    }

    /// Whether a code was handed out on the present socket: then WhatsApp listens, even when no QR code is left.
    pub fn is_open(&self) -> bool {
        self.live().is_some()
    }

    /// Forgets the code: it cannot link any more. Answers whether there was one that still could.
    pub fn retire(&self) -> bool {
        let still = self.outstanding().is_some();
        self.live().take();
        still
    }

    /// The text of a QR code with the secret of this moment, if it has changed since the code was drawn.
    ///
    /// The library makes a new secret as soon as a phone has typed something, right or wrong, and does not draw its QR
    /// code anew: after a mistyped code the picture on the screen could not be scanned any more.
    pub fn redrawn(&self, picture: &str) -> Option<String> {
        let secret = BASE64_STANDARD.encode(self.client.persistence_manager().get_device_snapshot().adv_secret_key);
        let mut fields: Vec<&str> = picture.split(',').collect();
        if *fields.get(SECRET_FIELD)? == secret {
            return None;
        }
        fields[SECRET_FIELD] = &secret;
        Some(fields.join(","))
    }

    /// The code for a number: the same again while it can be typed, otherwise a new one. A code for another number ends
    /// with this.
    pub async fn ask(&self, number: &str) -> Result<PairCode, Error> {
        let _one = self.asking.lock().await;
        if let Some(live) = &*self.live()
            && live.number == number
            && live.code.expires_at > clock::now()
        {
            return Ok(live.code.clone());
        }
        self.live().take();
        self.client.cancel_pair_code().await;
        // The library's clock starts before it asks, and so does this one.
        let expires_at = clock::now().plus(PairCodeUtils::code_validity());
        let options = PairCodeOptions {
            phone_number: number.to_owned(),
            display_os: Some(SYSTEM.to_owned()),
            ..PairCodeOptions::default()
        };
        let code = clock::timeout(ASK_TIMEOUT, self.client.pair_with_code(options))
            .await
            .map_err(|_| unanswered())?
            .map_err(refused)?;
        let code = PairCode {
            code: grouped(&code),
            expires_at,
        };
        *self.live() = Some(Live {
            number: number.to_owned(),
            code: code.clone(),
        });
        Ok(code)
    }
}

/// In two halves, as phones show the places for it.
fn grouped(code: &str) -> String {
    match code.split_at_checked(code.len() / 2) {
        Some((first, second)) => format!("{first}-{second}"),
        None => code.to_owned(),
    }
}

fn unanswered() -> Error {
    Error::new(
        Code::WhatsappTimeout,
        "WhatsApp gave no pairing code in time. Ask again in a moment, or scan the QR code.",
    )
    .with_details(serde_json::json!({ "reason": "timeout" }))
    .with_retry_after(Duration::from_secs(5))
}

/// What a caller is told; the cause names the number, so it is not kept.
#[expect(clippy::needless_pass_by_value, reason = "an error is handed over to be translated")]
fn refused(error: PairError) -> Error {
    let Some(rejection) = error.rejection() else {
        return match error {
            PairError::RequestFailed(_) => unanswered(),
            _ => Error::new(
                Code::PairCodeFailed,
                "The pairing code could not be made. Ask again, or scan the QR code.",
            ),
        };
    };
    let details = serde_json::json!({ "code": rejection.code().to_string() });
    if rejection == PairCodeRejection::FeatureNotAvailable {
        return Error::new(
            Code::PairCodeUnavailable,
            "WhatsApp offers no linking by code for this number yet. Scan the QR code instead.",
        )
        .with_details(details);
    }
    let message = if rejection.is_throttled() {
        "WhatsApp refuses a code for this number: it limits how often one may ask. Check the number, wait some minutes, or scan the QR code."
    } else {
        "WhatsApp refuses a code for this number. Check the number, try again later, or scan the QR code."
    };
    Error::new(Code::PairCodeFailed, message)
        .with_details(details)
        .with_retry_after(error.backoff().unwrap_or(ASK_AGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_shown_in_two_halves() {
        assert_eq!(grouped("ABCD1234"), "ABCD-1234");
    }
}
