//! How a command fails: one clear sentence, and an exit code that a script can tell apart.

use std::fmt;
use std::io;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::domain::error::Error;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command line or the configuration is wrong.
    Usage(String),
    /// The operation failed.
    Failed(String),
    /// The server said no, or the use case did where no server runs.
    Refused(Box<Refusal>),
    /// What failed stands in the output already.
    Told,
    /// Whoever read our output has enough; no failure at all.
    PipeClosed,
}

/// An error of the API.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Refusal {
    /// The status, where there was one.
    pub status: Option<u16>,
    /// Of the catalogue.
    pub code: String,
    /// For a person.
    pub message: String,
    /// Which fields are wrong, and the like.
    pub details: Option<Value>,
    /// To be found in the log.
    pub request_id: Option<String>,
}

impl Failure {
    pub(super) fn failed(sentence: impl Into<String>) -> Self {
        Self::Failed(sentence.into())
    }

    /// Prints the failure and says which exit code it is.
    pub(super) fn report(&self, json: bool) -> ExitCode {
        match self {
            Failure::PipeClosed => return ExitCode::SUCCESS,
            Failure::Told => {}
            Failure::Refused(refusal) if json => eprintln!("{}", refusal.to_json()),
            Failure::Usage(sentence) | Failure::Failed(sentence) if json => {
                eprintln!("{}", json!({"error": {"message": sentence}}));
            }
            _ => eprintln!("{}: {self}", super::PROGRAM),
        }
        ExitCode::from(if matches!(self, Failure::Usage(_)) { 2 } else { 1 })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(sentence) | Failure::Failed(sentence) => f.write_str(sentence),
            Failure::Refused(refusal) => refusal.fmt(f),
            Failure::Told => f.write_str("see what was printed"),
            Failure::PipeClosed => f.write_str("the output was closed"),
        }
    }
}

impl Refusal {
    /// Reads the body of an error reply.
    pub(super) fn of_reply(status: u16, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let error = &body["error"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            status: Some(status),
            code: text(&error["code"]).unwrap_or_else(|| format!("http_{status}")),
            message: text(&error["message"]).unwrap_or_else(|| "the server gave no reason".into()),
            details: error.get("details").cloned(),
            request_id: text(&body["request_id"]),
        }
    }

    fn to_json(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(details) = &self.details {
            error["details"] = details.clone();
        }
        let mut body = json!({ "error": error });
        if let Some(id) = &self.request_id {
            body["request_id"] = json!(id);
        }
        body
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.message.trim_end_matches('.'), self.code)?;
        if let Some(id) = &self.request_id {
            write!(f, ", {id}")?;
        }
        f.write_str(")")?;
        // A single problem is the message itself already.
        let fields = self.details.as_ref().and_then(|details| details["fields"].as_array());
        for field in fields.filter(|fields| fields.len() > 1).into_iter().flatten() {
            let part = |name: &str| field[name].as_str().unwrap_or_default().to_owned();
            write!(f, "\n  - {}: {}", part("path"), part("problem"))?;
        }
        Ok(())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        // Without a server there is no log to look into, so the cause is said here.
        let message = match &error.source {
            Some(source) => source.to_string(),
            None => error.message.to_string(),
        };
        Self::Refused(Box::new(Refusal {
            status: None,
            code: error.code.as_str().to_owned(),
            message,
            details: error.details,
            request_id: None,
        }))
    }
}

/// Errors of writing our own output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::PipeClosed,
            _ => Self::Failed(format!("the output cannot be written: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_sentence_with_code_and_request_id() {
        let body =
            br#"{"error":{"code":"instance_not_found","message":"There is no such instance."},"request_id":"req_1"}"#;
        let refusal = Refusal::of_reply(404, body);
        assert_eq!(
            refusal.to_string(),
            "There is no such instance (instance_not_found, req_1)"
        );
        assert_eq!(refusal.to_json(), serde_json::from_slice::<Value>(body).unwrap());
    }

    #[test]
    fn an_answer_that_is_no_json_is_still_said() {
        assert_eq!(
            Refusal::of_reply(502, b"<html>").to_string(),
            "the server gave no reason (http_502)"
        );
    }

    #[test]
    fn several_wrong_fields_are_listed() {
        let body = br#"{"error":{"code":"validation_failed","message":"2 fields","details":{"fields":[
            {"path":"body.name","problem":"must not be empty"},{"path":"body.to","problem":"must be a number"}]}}}"#;
        let text = Refusal::of_reply(400, body).to_string();
        assert!(text.contains("\n  - body.name: must not be empty"), "{text}");
    }
}
