//! A backup of everything, for the owner of the machine.

use futures_util::stream;
use http::Method;

use super::{Access, Answer, Code, Route};
use crate::app::{App, backups};
use crate::domain::error::Error;
use crate::http::call::Call;
use crate::http::reply::Reply;

/// A backup as a stream of bytes.
pub const CREATE: Route = Route {
    method: Method::POST,
    path: "/v1/backups",
    id: "backups.create",
    summary: "A backup of everything as a gzipped tar, with the keys of every link; on the admin socket alone",
    access: Access::Owner,
    query: &[],
    body: None,
    answer: Answer::Other("application/gzip"),
    errors: &[Code::StorageFull, Code::AtCapacity],
    handler: |app, call| Box::pin(create(app, call)),
};

async fn create(app: App, call: Call) -> Result<Reply, Error> {
    call.no_body()?;
    let pieces = backups::create(&app, &call.caller).await?;
    let pieces = stream::unfold(pieces, async |mut pieces| {
        let piece = pieces.recv().await?;
        Some((piece, pieces))
    });
    Ok(Reply::breakable_stream("application/gzip", pieces))
}
