//! The calls of the API, one file a resource: each a constant of the table and its handler.

pub mod audit;
pub mod backups;
pub mod deliveries;
pub mod events;
pub mod instances;
pub mod keys;
pub mod limits;
pub mod messages;
pub mod operations;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod sessions;
pub mod settings;
pub mod stream_tokens;
pub mod webhooks;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::reply::Reply;
use super::route::{Access, Answer, Answering, PAGING, Parameter, Route};
use crate::domain::error::{Code, Error};

/// The schema of `T`, as a route names it.
fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The answer of a handler that waits for nothing.
fn now(answer: Result<Reply, Error>) -> Answering {
    Box::pin(std::future::ready(answer))
}
