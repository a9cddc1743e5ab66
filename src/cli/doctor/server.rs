//! What only the running server knows, asked through its admin socket.

use std::time::Duration;

use serde_json::Value;

use super::super::client::{self, Client, Unreachable};
use super::super::context::Context;
use super::super::failure::Failure;
use crate::sys::clock;

/// A server that takes longer than this for one small answer has a problem.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// How long its lists may take, all pages of them.
const LISTS_WITHIN: Duration = Duration::from_secs(3);

/// What stands behind the admin socket.
#[derive(Debug)]
pub(super) enum Presence {
    /// A server that answers.
    Answers(Box<Server>),
    /// One that listens and does not answer, and how.
    Silent(String),
    /// One of another user.
    Forbidden,
    /// Nobody.
    Absent,
}

/// What a server says.
#[derive(Debug, Default)]
pub(super) struct Server {
    /// `GET /v1/system`.
    pub system: Value,
    /// Its instances; `None` when it did not say.
    pub instances: Option<Vec<Value>>,
    /// Its webhook endpoints; `None` when it did not say.
    pub endpoints: Option<Vec<Value>>,
    /// Its figures, when they were asked for.
    pub metrics: Option<String>,
}

impl Presence {
    /// The server, if it answers.
    pub(super) fn server(&self) -> Option<&Server> {
        match self {
            Presence::Answers(server) => Some(server),
            _ => None,
        }
    }
}

/// Asks; never longer than eight seconds.
pub(super) async fn ask(context: &Context, with_metrics: bool) -> Presence {
    match client::open(&context.socket).await {
        Ok(_) => {}
        Err(Unreachable::Forbidden(_)) => return Presence::Forbidden,
        Err(Unreachable::NoServer(_)) => return Presence::Absent,
        Err(other) => return Presence::Silent(other.to_string()),
    }
    let client = Client::new(context.socket.clone());
    let system = match clock::timeout(ANSWERS_WITHIN, client.get("/v1/system")).await {
        Ok(Ok(system)) => system,
        // One of another version may not know the question, but it answers.
        Ok(Err(Failure::Refused(refusal))) if refusal.status == Some(404) => Value::Null,
        Ok(Err(failure)) => return Presence::Silent(failure.to_string()),
        Err(_) => {
            let seconds = ANSWERS_WITHIN.as_secs();
            return Presence::Silent(format!("it does not answer within {seconds} s"));
        }
    };
    let lists = async { tokio::join!(client.list("/v1/instances"), client.list("/v1/webhook-endpoints")) };
    let figures = async {
        if with_metrics {
            client.get_text("/metrics", "*/*").await.ok()
        } else {
            None
        }
    };
    let (lists, metrics) = tokio::join!(
        clock::timeout(LISTS_WITHIN, lists),
        clock::timeout(LISTS_WITHIN, figures)
    );
    let (instances, endpoints) = match lists {
        Ok((instances, endpoints)) => (instances.ok(), endpoints.ok()),
        Err(_) => (None, None),
    };
    Presence::Answers(Box::new(Server {
        system,
        instances,
        endpoints,
        metrics: metrics.ok().flatten(),
    }))
}

/// A text inside an answer.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A number inside an answer.
pub(super) fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}
