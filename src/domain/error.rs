//! The closed catalogue of errors that a caller can meet.
//!
//! Rooms have small error enums of their own; the use cases turn them into an [`Error`] with a [`Code`]. Which HTTP
//! status a code has is known in `http/error.rs` alone.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)?) => {
        /// What went wrong, in the field's standard terms; part of the wire contract.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Code { $($(#[$doc])* $name),+ }

        impl Code {
            /// Every code, in the order of the contract.
            pub const ALL: &'static [Code] = &[$(Code::$name),+];

            /// The code as it stands on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text),+ }
            }
        }
    };
}

codes! {
    /// The body is no JSON, or nested too deeply.
    MalformedJson = "malformed_json",
    /// Fields are missing, unknown or wrong; `details.fields` names each.
    ValidationFailed = "validation_failed",
    /// No credential was sent.
    AuthMissing = "auth_missing",
    /// The `Authorization` header has another form than `Bearer <key>`.
    AuthMalformed = "auth_malformed",
    /// No such key.
    AuthInvalid = "auth_invalid",
    /// The key or token has expired.
    AuthExpired = "auth_expired",
    /// The key lacks the scope of this call.
    InsufficientScope = "insufficient_scope",
    /// The key is bound to another instance.
    InstanceAccessDenied = "instance_access_denied",
    /// The key is bound to one instance and the call concerns all.
    InstanceScopedKey = "instance_scoped_key",
    /// No such path.
    NotFound = "not_found",
    /// No such instance, or it was deleted.
    InstanceNotFound = "instance_not_found",
    /// No such outbound message.
    MessageNotFound = "message_not_found",
    /// No such webhook endpoint, or it was deleted.
    EndpointNotFound = "endpoint_not_found",
    /// No such webhook delivery, or it was swept.
    DeliveryNotFound = "delivery_not_found",
    /// No such API key, or it is revoked.
    KeyNotFound = "key_not_found",
    /// The path exists, this method on it does not.
    MethodNotAllowed = "method_not_allowed",
    /// Sending needs a connection and there is none.
    NotConnected = "not_connected",
    /// The state of the instance, or of the dashboard's password, does not allow this.
    InvalidLifecycleTransition = "invalid_lifecycle_transition",
    /// The instance's task is busy stopping or has crashed.
    InstanceUnavailable = "instance_unavailable",
    /// There is no QR to show, because the instance is linked.
    NoQr = "no_qr",
    /// There is no code to type, because the instance is linked or WhatsApp offers none for this number.
    PairCodeUnavailable = "pair_code_unavailable",
    /// The same idempotency key was used with another body.
    IdempotencyConflict = "idempotency_conflict",
    /// The body is larger than allowed.
    PayloadTooLarge = "payload_too_large",
    /// The body is not of a type this call reads.
    UnsupportedMediaType = "unsupported_media_type",
    /// The number has no WhatsApp account.
    RecipientNotOnWhatsapp = "recipient_not_on_whatsapp",
    /// Webhooks may not be sent to this address; `details.reason` says why.
    WebhookUrlRefused = "webhook_url_refused",
    /// Too many requests.
    RateLimited = "rate_limited",
    /// Too many open streams.
    TooManyStreams = "too_many_streams",
    /// WhatsApp refused, with its code in the details.
    WhatsappRefused = "whatsapp_refused",
    /// WhatsApp refused a pairing code, with its code in the details.
    PairCodeFailed = "pair_code_failed",
    /// A configured limit of the process is reached.
    AtCapacity = "at_capacity",
    /// The process is stopping.
    ShuttingDown = "shutting_down",
    /// The gateway cannot work now; `details.checks` says what is wrong.
    NotReady = "not_ready",
    /// WhatsApp did not answer in time.
    WhatsappTimeout = "whatsapp_timeout",
    /// The disk is full.
    StorageFull = "storage_full",
    /// A fault of the gateway; the log has the request id.
    Internal = "internal",
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing wrong with a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FieldProblem {
    /// Where: `body.text`, `query.limit`, `header.Idempotency-Key`.
    pub path: String,
    /// What to do about it.
    pub problem: String,
}

impl FieldProblem {
    /// A problem at `path`.
    pub fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            problem: problem.into(),
        }
    }
}

/// An error in front of a caller.
#[derive(Debug)]
pub struct Error {
    /// Which of the catalogue.
    pub code: Code,
    /// For a person: what to do next. Never contains secrets or message text.
    pub message: Cow<'static, str>,
    /// For a program, where the code documents it.
    pub details: Option<Value>,
    /// When to try again, where waiting helps; becomes `Retry-After`.
    pub retry_after: Option<std::time::Duration>,
    /// The cause, for the log alone; a caller never sees it.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with a message for a person.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            details: None,
            retry_after: None,
            source: None,
        }
    }

    /// A fault of ours: the caller learns nothing but the request id, the log learns `source`.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(
            Code::Internal,
            "Something went wrong on this side. Quote the request id when you report it.",
        )
        .caused_by(source)
    }

    /// Every problem of a request at once.
    pub fn validation(problems: &[FieldProblem]) -> Self {
        let message = match problems {
            [one] => format!("{}: {}", one.path, one.problem),
            many => format!("{} fields need attention, see details.fields", many.len()),
        };
        Self::new(Code::ValidationFailed, message).with_details(serde_json::json!({ "fields": problems }))
    }

    /// One problem of a request.
    pub fn invalid(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::validation(&[FieldProblem::new(path, problem)])
    }

    /// Adds details for a program.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub fn with_retry_after(mut self, wait: std::time::Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Adds the cause for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}
