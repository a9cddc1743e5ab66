//! What can go wrong with a link, as a code for programs and a sentence for people that says what to do.

use std::borrow::Cow;

use crate::domain::Timestamp;
use crate::domain::event::DisconnectReason;
use crate::domain::instance::StatusReason;

/// Why an instance is not connected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Trouble {
    /// For a program.
    pub code: &'static str,
    /// For a person.
    pub message: Cow<'static, str>,
}

impl Trouble {
    /// A trouble with a fixed text.
    pub const fn new(code: &'static str, message: &'static str) -> Self {
        Self {
            code,
            message: Cow::Borrowed(message),
        }
    }

    /// A trouble whose text depends on the case.
    pub const fn with(code: &'static str, message: String) -> Self {
        Self {
            code,
            message: Cow::Owned(message),
        }
    }

    /// The name could not be resolved.
    pub fn dns(host: &str) -> Self {
        Self::with(
            "dns",
            format!("The name {host} could not be resolved. Check this machine's DNS and internet connection."),
        )
    }

    /// Nobody listens, or the way there is closed.
    pub fn refused(host: &str) -> Self {
        Self::with(
            "refused",
            format!("{host} refused the connection. Check that a firewall or proxy lets this machine out on port 443."),
        )
    }

    /// The network failed in another way.
    pub const fn network() -> Self {
        Self::new(
            "network",
            "The connection to WhatsApp was lost. It is made again by itself; check the internet connection if this lasts.",
        )
    }

    /// There is no route.
    pub fn unreachable(host: &str) -> Self {
        Self::with(
            "network",
            format!("{host} cannot be reached from this machine. Check its internet connection."),
        )
    }

    /// TLS failed.
    pub fn tls(detail: &str) -> Self {
        Self::with(
            "tls",
            format!(
                "The encrypted connection could not be made ({detail}). Check this machine's clock, and whether a proxy replaces certificates."
            ),
        )
    }

    /// Something took too long.
    pub fn timeout(host: &str) -> Self {
        Self::with(
            "timeout",
            format!("{host} did not answer in time. Check the internet connection, a firewall or a proxy."),
        )
    }

    /// Somebody answered, but does not speak WhatsApp's protocol.
    pub fn not_whatsapp(host: &str) -> Self {
        Self::with(
            "websocket",
            format!("{host} answered, but not as WhatsApp does. A proxy or a login page may stand in between."),
        )
    }

    /// The server's Noise certificate is not WhatsApp's.
    pub fn certificate(host: &str) -> Self {
        Self::with(
            "certificate",
            format!(
                "{host} could not prove to be WhatsApp: its certificate is not signed by WhatsApp's key. \
                 Check the setting whatsapp.url; a simulator needs whatisup-sandbox."
            ),
        )
    }

    /// A build may not dial this address.
    pub const fn forbidden(message: &'static str) -> Self {
        Self::new("forbidden_address", message)
    }

    /// WhatsApp slows us down.
    pub const fn rate_limited() -> Self {
        Self::new(
            "rate_limited",
            "WhatsApp asks for fewer connections. The next attempt waits longer; do not restart the instance meanwhile.",
        )
    }

    /// WhatsApp's server has a problem of its own.
    pub const fn server() -> Self {
        Self::new(
            "whatsapp_unavailable",
            "WhatsApp's server is unavailable at the moment. It is tried again by itself.",
        )
    }

    /// A phone scanned, but the link could not be completed.
    pub const fn pairing_failed() -> Self {
        Self::new(
            "pairing_failed",
            "The phone scanned the code, but the link could not be verified. Scan the next code; if this repeats, update WhatsApp on the phone.",
        )
    }

    /// Nobody scanned.
    pub const fn qr_expired() -> Self {
        Self::new("qr_expired", "Nobody scanned the QR code in time. Ask for a new one.")
    }

    /// A code was typed in vain.
    pub const fn pair_code_failed() -> Self {
        Self::new(
            "pair_code_failed",
            "The pairing code can no longer be used: it was mistyped on the phone, or WhatsApp wants a new one. Ask for a new code.",
        )
    }

    /// Nobody typed the code, and there is no other.
    pub const fn pair_code_expired() -> Self {
        Self::new(
            "pair_code_expired",
            "Nobody typed the pairing code in time. Ask for a new one.",
        )
    }

    /// The codes to scan ran out before the code to type did.
    pub const fn pair_code_waiting() -> Self {
        Self::new(
            "pair_code_waiting",
            "A pairing code can still be typed, and no QR code is left meanwhile. Type it, or restart the instance.",
        )
    }

    /// Stopped on request.
    pub const fn stopped() -> Self {
        Self::new("stopped", "Stopped on request. Connect it to start it again.")
    }

    /// Being restarted on request.
    pub const fn restarting() -> Self {
        Self::new("restarting", "Restarted on request.")
    }

    /// The gateway ends.
    pub const fn gateway_stopped() -> Self {
        Self::new(
            "gateway_stopped",
            "The gateway was stopped. The instance comes back by itself when the gateway starts.",
        )
    }

    /// The gateway ended without saying goodbye.
    pub const fn gateway_ended() -> Self {
        Self::new(
            "gateway_ended",
            "The gateway ended unexpectedly. The instance comes back by itself if it is linked.",
        )
    }

    /// A fault of ours, kept inside the instance.
    pub const fn crashed() -> Self {
        Self::new(
            "crashed",
            "The instance's task failed unexpectedly and is started again. The log has the details; please report it.",
        )
    }

    /// The configured number of sessions runs already.
    pub const fn at_capacity() -> Self {
        Self::new(
            "at_capacity",
            "The configured number of sessions runs already. Disconnect another instance or raise the limit.",
        )
    }

    /// The session's keys can no longer be saved.
    pub const fn not_saving() -> Self {
        Self::new(
            "storage",
            "The session's keys could not be saved repeatedly. Check the disk; the session is started anew.",
        )
    }

    /// As it is stored: `since` stays while the reason stays the same.
    pub fn as_reason(
        &self,
        before: Option<&StatusReason>,
        now: Timestamp,
        next_attempt_at: Option<Timestamp>,
    ) -> StatusReason {
        StatusReason {
            code: self.code.to_owned(),
            message: self.message.clone().into_owned(),
            since: before
                .filter(|reason| reason.code == self.code)
                .map_or(now, |reason| reason.since),
            next_attempt_at,
        }
    }
}

/// Why WhatsApp refuses a session for good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    /// For the event.
    pub reason: DisconnectReason,
    /// For the status.
    pub trouble: Trouble,
    /// Whether the link is gone with it, so that only a new QR helps.
    pub unlinked: bool,
}

impl Refusal {
    const fn new(reason: DisconnectReason, trouble: Trouble, unlinked: bool) -> Self {
        Self {
            reason,
            trouble,
            unlinked,
        }
    }

    /// The phone removed this device.
    pub const fn logout() -> Self {
        Self::new(
            DisconnectReason::Logout,
            Trouble::new(
                "logout",
                "The phone unlinked this device. Ask for a QR code and scan it to link it again.",
            ),
            true,
        )
    }

    /// The account is locked.
    pub const fn locked() -> Self {
        Self::new(
            DisconnectReason::Banned,
            Trouble::new(
                "account_locked",
                "WhatsApp locked the account and removed this device. Open WhatsApp on the phone to learn why, before linking again.",
            ),
            true,
        )
    }

    /// WhatsApp no longer takes the session's keys.
    pub const fn invalidated() -> Self {
        Self::new(
            DisconnectReason::SessionInvalidated,
            Trouble::new(
                "session_invalidated",
                "WhatsApp no longer accepts this session. Ask for a QR code and scan it to link it again.",
            ),
            true,
        )
    }

    /// The same link is open elsewhere.
    pub const fn replaced() -> Self {
        Self::new(
            DisconnectReason::KickedOtherDevice,
            Trouble::new(
                "kicked_other_device",
                "The same link was opened by another program, perhaps a copy of this gateway's data. Stop that one, then connect again.",
            ),
            false,
        )
    }

    /// The account is banned, for a while when `until` is known.
    pub fn banned(until: Option<Timestamp>) -> Self {
        let message = match until {
            Some(until) => format!("WhatsApp banned the account until {until}. Do not connect before that."),
            None => "WhatsApp banned the account. Open WhatsApp on the phone to learn more.".to_owned(),
        };
        Self::new(DisconnectReason::Banned, Trouble::with("banned", message), false)
    }

    /// WhatsApp wants a newer client version.
    pub const fn outdated() -> Self {
        Self::new(
            DisconnectReason::Outdated,
            Trouble::new(
                "outdated",
                "WhatsApp refuses this client version and no newer one is known. Update the gateway, then connect again.",
            ),
            false,
        )
    }

    /// Linking needs a passkey.
    pub const fn passkey() -> Self {
        Self::new(
            DisconnectReason::PasskeyRequired,
            Trouble::new(
                "passkey_required",
                "The account demands a passkey to link a device, which this version cannot give. Turn the passkey off on the phone, link, and turn it on again.",
            ),
            false,
        )
    }

    /// Any other refusal that must not be repeated.
    pub fn other(code: i32) -> Self {
        Self::new(
            DisconnectReason::SessionInvalidated,
            Trouble::with(
                "refused_by_whatsapp",
                format!(
                    "WhatsApp refused the login with code {code}. It is not tried again by itself; connect to try once more."
                ),
            ),
            false,
        )
    }
}
