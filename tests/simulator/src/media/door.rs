//! What of the port's HTTP belongs to the media servers.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{download, upload};
use crate::stats::count;
use crate::world::Hub;

/// A response whose body may be a file.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What is refused, and why.
pub(super) struct No(pub(super) StatusCode, pub(super) &'static str);

/// Whether a path is one of the media servers'.
pub(crate) fn is_media(path: &str) -> bool {
    ["/mms/", "/product/", "/pps/", "/v/"]
        .iter()
        .any(|start| path.starts_with(start))
}

/// Answers a request for or with media.
pub(crate) async fn answer(hub: &Hub, request: Request<Incoming>) -> Response<Body> {
    let method = request.method().clone();
    let fetching = request.uri().path().starts_with("/v/");
    let outcome = if fetching && (method == Method::GET || method == Method::HEAD) {
        download::serve(hub, &request).await
    } else if !fetching && method == Method::POST {
        upload::serve(hub, request)
            .await
            .map(|value| reply(StatusCode::OK, &value))
    } else {
        let words = if fetching { "use GET or HEAD" } else { "use POST" };
        Err(No(StatusCode::METHOD_NOT_ALLOWED, words))
    };
    match outcome {
        Ok(response) => response,
        Err(No(status, words)) => {
            tracing::debug!(%method, status = status.as_u16(), words, "media refused");
            // A journal that cannot be written shows elsewhere; a counter is not worth a second complaint.
            let _ = hub.act(|world| {
                count(&mut world.stats.media.refused, status.as_str());
                Ok(())
            });
            reply(status, &json!({"error": words}))
        }
    }
}

fn reply(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(whole(format!("{value}\n").into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json; charset=utf-8"),
    );
    response
}

/// A body that is all there.
pub(super) fn whole(bytes: Bytes) -> Body {
    whole_body(Full::new(bytes))
}

/// The same of one that was made elsewhere.
pub(crate) fn whole_body(body: Full<Bytes>) -> Body {
    body.map_err(|never| match never {}).boxed_unsync()
}
