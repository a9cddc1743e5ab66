//! The pairing code of one instance: what can be scanned now, or why there is nothing.

use std::time::Duration;

use tokio::sync::watch;

use super::Qr;
use super::trouble::Trouble;
use crate::domain::Timestamp;
use crate::domain::error::{Code, Error};
use crate::sys::clock;

/// What a caller who wants a code can be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Pairing {
    /// Nothing yet.
    Waiting,
    /// This can be scanned.
    Code(Qr),
    /// WhatsApp could not be reached; it is tried again.
    Trouble {
        /// Why.
        trouble: Trouble,
        /// When it is tried again.
        next_attempt_at: Timestamp,
    },
    /// A phone is linked.
    Linked,
    /// The session ended without a link.
    Ended(Trouble),
}

/// What a caller wants who waits for a device to be offered for linking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sought {
    /// Something to scan.
    Qr,
    /// Something to type.
    PairCode,
}

impl Sought {
    /// The error for a caller who asks for a code of a linked instance.
    pub fn linked(self) -> Error {
        match self {
            Sought::Qr => Error::new(
                Code::NoQr,
                "The instance is linked, there is nothing to scan. Log it out first to link another phone.",
            ),
            Sought::PairCode => Error::new(
                Code::PairCodeUnavailable,
                "The instance is linked, there is no code to type. Log it out first to link another phone.",
            ),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Sought::Qr => "QR code",
            Sought::PairCode => "pairing code",
        }
    }
}

fn timed_out(sought: Sought, trouble: Option<&Trouble>) -> Error {
    let name = sought.name();
    match trouble {
        Some(trouble) => Error::new(
            Code::WhatsappTimeout,
            format!("There is no {name}. {}", trouble.message),
        )
        .with_details(serde_json::json!({ "reason": trouble.code })),
        None => Error::new(
            Code::WhatsappTimeout,
            format!("WhatsApp sent no {name} in time. Ask again in a moment."),
        )
        .with_details(serde_json::json!({ "reason": "timeout" })),
    }
    .with_retry_after(Duration::from_secs(5))
}

/// Waits for a code, at most `wait`; gives up early when the next attempt lies beyond that.
pub(super) async fn wait_for_code(
    mut pairing: watch::Receiver<Pairing>,
    sought: Sought,
    wait: Duration,
) -> Result<Qr, Error> {
    let deadline = clock::now().plus(wait);
    let mut last = None;
    let found = clock::timeout(wait, async {
        loop {
            // Cloned, so that no lock is held while waiting.
            let now = pairing.borrow_and_update().clone();
            match now {
                Pairing::Code(qr) if qr.expires_at > clock::now() => return Some(Ok(qr)),
                Pairing::Linked => return Some(Err(sought.linked())),
                Pairing::Ended(trouble) => {
                    last = Some(trouble);
                    return None;
                }
                Pairing::Trouble {
                    trouble,
                    next_attempt_at,
                } => {
                    last = Some(trouble);
                    if next_attempt_at >= deadline {
                        return None;
                    }
                }
                Pairing::Waiting | Pairing::Code(_) => {}
            }
            if pairing.changed().await.is_err() {
                return None;
            }
        }
    })
    .await;
    match found {
        Ok(Some(answer)) => answer,
        Ok(None) | Err(_) => Err(timed_out(sought, last.as_ref())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(expires_at: Timestamp) -> Pairing {
        Pairing::Code(Qr {
            code: "code".into(),
            expires_at,
        })
    }

    #[tokio::test]
    async fn a_code_that_is_still_valid_is_handed_out_at_once() {
        let (_sender, receiver) = watch::channel(code(clock::now().plus(Duration::from_mins(1))));
        let qr = wait_for_code(receiver, Sought::Qr, Duration::from_secs(10))
            .await
            .unwrap();
        assert_eq!(qr.code, "code");
    }

    #[tokio::test]
    async fn an_expired_code_is_not_handed_out() {
        let (sender, receiver) = watch::channel(code(Timestamp::EPOCH));
        drop(sender);
        let error = wait_for_code(receiver, Sought::Qr, Duration::from_secs(10))
            .await
            .unwrap_err();
        assert_eq!(error.code, Code::WhatsappTimeout);
    }

    #[tokio::test]
    async fn when_the_next_attempt_is_too_late_the_reason_is_told_at_once() {
        let state = Pairing::Trouble {
            trouble: Trouble::refused("host"),
            next_attempt_at: clock::now().plus(Duration::from_hours(1)),
        };
        let (_sender, receiver) = watch::channel(state);
        let error = wait_for_code(receiver, Sought::Qr, Duration::from_secs(10))
            .await
            .unwrap_err();
        assert_eq!(error.code, Code::WhatsappTimeout);
        assert_eq!(error.details.unwrap()["reason"], "refused");
    }

    #[tokio::test]
    async fn a_linked_instance_has_no_code() {
        let (_sender, receiver) = watch::channel(Pairing::Linked);
        let error = wait_for_code(receiver, Sought::Qr, Duration::from_secs(10))
            .await
            .unwrap_err();
        assert_eq!(error.code, Code::NoQr);
        assert_eq!(Sought::PairCode.linked().code, Code::PairCodeUnavailable);
    }
}
