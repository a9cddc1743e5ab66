//! From an [`Error`] to a status and a body: the only place that knows statuses.

use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::reply::Reply;
use crate::domain::error::{Code, Error};
use crate::domain::id::RequestId;

/// The body of every error.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct Envelope<'a> {
    /// What went wrong.
    error: Wrong<'a>,
    /// Quote this when you report a problem; the log has it.
    request_id: RequestId,
}

/// What went wrong.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ErrorDetail")]
struct Wrong<'a> {
    /// For a program, from the closed catalogue.
    code: &'a str,
    /// For a person: what to do next.
    message: &'a str,
    /// For a program, where the code documents it; `validation_failed` has `fields: [{path, problem}]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Value>,
}

/// The status of a code.
pub const fn status(code: Code) -> StatusCode {
    match code {
        Code::MalformedJson | Code::ValidationFailed => StatusCode::BAD_REQUEST,
        Code::AuthMissing | Code::AuthMalformed | Code::AuthInvalid | Code::AuthExpired => StatusCode::UNAUTHORIZED,
        Code::InsufficientScope | Code::InstanceAccessDenied | Code::InstanceScopedKey => StatusCode::FORBIDDEN,
        Code::NotFound
        | Code::InstanceNotFound
        | Code::MessageNotFound
        | Code::EndpointNotFound
        | Code::DeliveryNotFound
        | Code::KeyNotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::NotConnected
        | Code::InvalidLifecycleTransition
        | Code::InstanceUnavailable
        | Code::NoQr
        | Code::PairCodeUnavailable
        | Code::IdempotencyConflict => StatusCode::CONFLICT,
        Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::RecipientNotOnWhatsapp | Code::WebhookUrlRefused => StatusCode::UNPROCESSABLE_ENTITY,
        Code::RateLimited | Code::TooManyStreams => StatusCode::TOO_MANY_REQUESTS,
        Code::WhatsappRefused | Code::PairCodeFailed => StatusCode::BAD_GATEWAY,
        Code::AtCapacity | Code::ShuttingDown | Code::NotReady => StatusCode::SERVICE_UNAVAILABLE,
        Code::WhatsappTimeout => StatusCode::GATEWAY_TIMEOUT,
        Code::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The reply to a caller whose request failed; a fault of this side is logged here, once.
pub fn reply(error: &Error, request: RequestId) -> Reply {
    log(error, request);
    let status = status(error.code);
    let mut reply = Reply::json(
        status,
        &Envelope {
            error: Wrong {
                code: error.code.as_str(),
                message: &error.message,
                details: error.details.as_ref().filter(|_| error.code != Code::Internal),
            },
            request_id: request,
        },
    );
    match status {
        StatusCode::UNAUTHORIZED => {
            reply.set(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"WhatIsUp\""));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            let allow = error.details.as_ref().and_then(|details| details["allow"].as_str());
            if let Some(allow) = allow.and_then(|allow| HeaderValue::from_str(allow).ok()) {
                reply.set(ALLOW, allow);
            }
        }
        _ => {}
    }
    if let Some(wait) = error.retry_after {
        // Whole seconds, rounded up: a client that comes back on time must not be early.
        let seconds = wait.as_millis().div_ceil(1_000).max(1);
        reply.set(
            RETRY_AFTER,
            HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)),
        );
    }
    reply
}

/// The path exists, the method on it does not.
pub fn method_not_allowed(allow: &str) -> Error {
    Error::new(
        Code::MethodNotAllowed,
        format!("This path does not take that method. It takes: {allow}."),
    )
    .with_details(serde_json::json!({ "allow": allow }))
}

fn log(error: &Error, request: RequestId) {
    let cause = || {
        let mut text = error.message.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    };
    match error.code {
        Code::Internal | Code::StorageFull => {
            tracing::error!(request.id = %request, error.code = %error.code, cause = cause(), "a request failed on this side");
        }
        // Who watches asks for readiness every few seconds; what is wrong has a line of its own.
        code if status(code).is_server_error() && code != Code::NotReady => {
            tracing::warn!(request.id = %request, error.code = %code, cause = cause(), "a request could not be served");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_error_status() {
        for code in Code::ALL {
            let status = status(*code);
            assert!(status.is_client_error() || status.is_server_error(), "{code}");
        }
    }

    #[test]
    fn a_fault_of_this_side_tells_the_caller_the_request_id_and_nothing_more() {
        let error = Error::internal("the table of secrets is torn").with_details(serde_json::json!({"row": 7}));
        let request = RequestId::from_u128(1);
        let reply = reply(&error, request);
        let text = String::from_utf8(reply.bytes().to_vec()).unwrap();
        assert!(text.contains(&request.to_string()), "{text}");
        assert!(!text.contains("secrets") && !text.contains("row"), "{text}");
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        let error = Error::new(Code::RateLimited, "x").with_retry_after(std::time::Duration::from_millis(1_001));
        assert_eq!(reply(&error, RequestId::from_u128(1)).header(RETRY_AFTER).unwrap(), "2");
    }
}
