//! What a key may still do.

use http::Method;

use super::{Access, Answer, Route, now, schema};
use crate::app::limits::{self, Report};
use crate::http::reply::Reply;

/// The caller's limits; free.
pub const GET: Route = Route {
    method: Method::GET,
    path: "/v1/limits",
    id: "limits.get",
    summary: "The limits of this key and what is left of them; asking is free",
    access: Access::Free,
    query: &[],
    body: None,
    answer: Answer::Ok(schema::<Report>),
    errors: &[],
    handler: |app, call| now(Ok(Reply::ok(&limits::get(&app, &call.caller)))),
};
