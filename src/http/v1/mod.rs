//! The calls of the API, one file a resource: each a constant of the table and its handler.

pub mod events;
pub mod instances;
pub mod keys;
pub mod limits;
pub mod messages;
pub mod operations;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod stream_tokens;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::route::{Access, Answer, PAGING, Parameter, Route};
use crate::domain::error::Code;

/// The schema of `T`, as a route names it.
fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
