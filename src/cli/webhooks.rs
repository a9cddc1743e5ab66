//! `webhooks listen`: a small receiver that verifies and prints, for people who set webhooks up.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::arguments::Listen;
use super::context::Context;
use super::failure::Failure;
use super::output::Output;
use crate::sys::clock;
use crate::webhooks::signature::{self, SIGNATURE_HEADER};

/// No event is larger.
const LARGEST_BODY: usize = 4 << 20;

/// How far the signature's time may be from this machine's, in seconds; what receivers are told to tolerate.
const TOLERANCE_SECONDS: u64 = 300;

/// A request must have arrived within this.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// What the receiver does with each request.
struct Receiver {
    secret: Option<String>,
    answer: StatusCode,
    output: Output,
}

pub(super) async fn listen(context: &Context, wanted: Listen) -> Result<(), Failure> {
    let answer = StatusCode::from_u16(wanted.answer)
        .map_err(|_| Failure::Usage("--answer must be an HTTP status such as 200, 410 or 500".into()))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, wanted.port));
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Failure::Failed(format!("cannot listen on {address}: {error}")))?;
    let address = listener.local_addr()?;
    let output = context.output;
    if output.json {
        output.line(&json!({"listening": format!("http://{address}/")}).to_string())?;
    }
    output.note(&format!(
        "Listening on http://{address}/. A gateway on this machine calls it once \
         WHATISUP_WEBHOOKS_ALLOW_PRIVATE=127.0.0.0/8 is set for `serve`.{}",
        if wanted.secret.is_none() {
            " Without --secret signatures are not checked."
        } else {
            ""
        }
    ));
    let receiver = Arc::new(Receiver {
        secret: wanted.secret,
        answer,
        output,
    });
    loop {
        let (stream, _) = listener.accept().await?;
        let receiver = Arc::clone(&receiver);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let receiver = Arc::clone(&receiver);
                async move { Ok::<_, Infallible>(receiver.receive(request).await) }
            });
            // A sender that breaks off has no answer coming.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Receiver {
    async fn receive(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "webhooks are posted");
        }
        let header = |name: &str| {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (signed, event, event_id) = (
            header(SIGNATURE_HEADER),
            header("x-whatisup-event"),
            header("x-whatisup-event-id"),
        );
        let Ok(body) = Limited::new(request.into_body(), LARGEST_BODY).collect().await else {
            return answer(StatusCode::PAYLOAD_TOO_LARGE, "too large, or broken off");
        };
        let body = body.to_bytes();
        let verdict = self
            .secret
            .as_ref()
            .map(|secret| signature::verify(&signed, secret, &body, clock::now(), TOLERANCE_SECONDS));
        let word = match &verdict {
            None => "not checked".to_owned(),
            Some(Ok(())) => "good".to_owned(),
            Some(Err(problem)) => problem.to_string(),
        };
        self.print(&event, &event_id, &word, &body);
        if matches!(verdict, Some(Err(_))) {
            return answer(StatusCode::UNAUTHORIZED, &word);
        }
        answer(self.answer, "")
    }

    /// A line about each request, and the event below it; as JSON, one object a line. Who closes the pipe ends it.
    fn print(&self, event: &str, event_id: &str, word: &str, body: &[u8]) {
        let payload: Value = serde_json::from_slice(body).unwrap_or_else(|_| json!(String::from_utf8_lossy(body)));
        let text = if self.output.json {
            json!({
                "received_at": clock::now(),
                "event": event,
                "event_id": event_id,
                "signature": word,
                "payload": payload,
            })
            .to_string()
        } else {
            format!("{}  {event}  {event_id}  signature: {word}\n  {payload}", clock::now())
        };
        if self.output.line(&text).is_err() {
            std::process::exit(0);
        }
    }
}

fn answer(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text.to_owned()));
    *response.status_mut() = status;
    response
}
