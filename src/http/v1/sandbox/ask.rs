//! The gateway's own calls to the simulator's admin interface.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::domain::error::{Code, Error};
use crate::sys::clock;

/// How long the simulator may take; it is in the same process.
const PATIENCE: Duration = Duration::from_secs(15);

/// The most that the simulator may answer.
const ANSWER_BYTES: usize = 8 << 20;

/// A query with its values encoded.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// One bounded exchange with the simulator's admin interface.
pub(super) async fn ask(addr: SocketAddr, method: Method, path: &str, body: String) -> Result<Value, Error> {
    let exchange = async {
        let socket = TcpStream::connect(addr).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, addr.to_string())
            .body(Full::new(Bytes::from(body)))?;
        let answering = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((status, body.to_bytes()))
        };
        // The connection only moves while it is polled, and its end alone says nothing.
        let connection = std::pin::pin!(connection);
        let answering = std::pin::pin!(answering);
        match futures_util::future::select(answering, connection).await {
            futures_util::future::Either::Left((answer, _)) => answer,
            futures_util::future::Either::Right((_, answering)) => answering.await,
        }
    };
    let (status, body) = clock::timeout(PATIENCE, exchange)
        .await
        .map_err(Error::internal)?
        .map_err(Error::internal)?;
    let answer = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(answer);
    }
    let said = answer["error"]
        .as_str()
        .map_or_else(|| String::from_utf8_lossy(&body).into_owned(), str::to_owned);
    let code = match status {
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::CONFLICT => Code::InvalidLifecycleTransition,
        StatusCode::GATEWAY_TIMEOUT => Code::WhatsappTimeout,
        _ => Code::ValidationFailed,
    };
    Err(Error::new(code, format!("The simulator refused: {said}.")))
}
