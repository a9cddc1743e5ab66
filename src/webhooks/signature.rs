//! The signature that lets a receiver know that a webhook is ours and fresh.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::domain::Timestamp;

/// The header that carries it.
pub const SIGNATURE_HEADER: &str = "X-WhatIsUp-Signature";

/// The value of the header: `t=<unix seconds>` and one `v1=<hex>` for each secret, the present one first.
///
/// Each `v1` is HMAC-SHA256 over `<t>.<body>`; the key is the secret's text as it was shown, `whsec_` included.
pub fn header(secrets: &[String], at: Timestamp, body: &[u8]) -> String {
    let seconds = at.seconds();
    let mut value = format!("t={seconds}");
    for secret in secrets {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of every length");
        mac.update(seconds.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        value.push_str(",v1=");
        value.push_str(&hex::encode(mac.finalize().into_bytes()));
    }
    value
}

/// Whether a header signs `body` under `secret` and is no older or newer than `tolerance_seconds` at `now`.
///
/// What a receiver does; `whatisup webhooks listen` is one.
pub fn verify(header: &str, secret: &str, body: &[u8], now: Timestamp, tolerance_seconds: u64) -> Result<(), Unsigned> {
    let mut seconds = None;
    let mut codes = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", value)) => seconds = value.parse::<i64>().ok(),
            Some(("v1", value)) => codes.extend(hex::decode(value).ok()),
            _ => {}
        }
    }
    let seconds = seconds.ok_or(Unsigned::Malformed)?;
    if codes.is_empty() {
        return Err(Unsigned::Malformed);
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of every length");
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    // Compares in constant time.
    if !codes.iter().any(|code| mac.clone().verify_slice(code).is_ok()) {
        return Err(Unsigned::Wrong);
    }
    if now.seconds().abs_diff(seconds) > tolerance_seconds {
        return Err(Unsigned::Stale);
    }
    Ok(())
}

/// Why a webhook must not be believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unsigned {
    /// No time or no code in it.
    #[error("the signature header is missing or malformed")]
    Malformed,
    /// Another secret, or another body.
    #[error("the signature is wrong: another secret, or the body was changed on the way")]
    Wrong,
    /// Too old, or from the future.
    #[error("the signature is right but its time is too far from this machine's: a replay, or a wrong clock")]
    Stale,
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_seconds(1_767_225_600);

    #[test]
    fn the_header_is_the_one_that_openssl_computes() {
        // printf '1767225600.{"event":"webhook.test"}' | openssl dgst -sha256 -hmac whsec_test
        let value = header(&["whsec_test".into()], AT, br#"{"event":"webhook.test"}"#);
        assert_eq!(
            value,
            "t=1767225600,v1=eb787c468486ff5527a80b44a8c33ccaea91aa35916e38b600a81bb52f967b2e"
        );
    }

    #[test]
    fn during_a_rotation_both_secrets_are_good() {
        let value = header(&["new".into(), "old".into()], AT, b"x");
        for secret in ["new", "old"] {
            assert_eq!(verify(&value, secret, b"x", AT, 300), Ok(()));
        }
        assert_eq!(verify(&value, "other", b"x", AT, 300), Err(Unsigned::Wrong));
    }

    #[test]
    fn a_changed_body_an_old_time_and_a_broken_header_are_refused() {
        let value = header(&["s".into()], AT, b"x");
        assert_eq!(verify(&value, "s", b"y", AT, 300), Err(Unsigned::Wrong));
        let late = Timestamp::from_seconds(AT.seconds() + 301);
        assert_eq!(verify(&value, "s", b"x", late, 300), Err(Unsigned::Stale));
        for broken in ["", "t=1", "v1=00", "t=x,v1=00", "t=1,v1=zz"] {
            assert_eq!(verify(broken, "s", b"x", AT, 300), Err(Unsigned::Malformed), "{broken}");
        }
    }
}
