//! One attempt: posts a body to an address that the guard admits, and tells how it went.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use tower_service::Service;
use url::Url;

use super::guard::{Policy, Refusal};
use crate::domain::webhook::{ANSWER_KEPT, Attempt};
use crate::sys::{clock, tcp};

/// How the receiver may know us.
const USER_AGENT: &str = concat!("whatisup-webhooks/", env!("CARGO_PKG_VERSION"));

/// An answer counts once its status is there; its body is only for people, and gets this long.
const BODY_WITHIN: Duration = Duration::from_secs(2);

/// How long an idle connection is kept for the next event.
const IDLE_FOR: Duration = Duration::from_secs(30);

/// What connects: names are resolved by us, and only to addresses that the guard admits.
///
/// There is no proxy (it would resolve names by itself, past the guard) and no redirect is followed (it would be a
/// second address that nobody registered).
type Http = legacy::Client<HttpsConnector<HttpConnector<Guarded>>, Full<Bytes>>;

/// Posts webhooks; cheap to clone.
#[derive(Clone)]
pub struct Client {
    policy: Arc<Policy>,
    /// For https.
    secure: Http,
    /// For http: resolves under the stricter rule.
    plain: Http,
    timeout: Duration,
}

/// No client could be made.
#[derive(Debug, thiserror::Error)]
#[error("the client for webhooks could not be made: {0}")]
pub struct Unusable(#[from] Box<dyn std::error::Error + Send + Sync>);

impl Client {
    /// A client under this policy, which gives each attempt this long.
    pub fn new(policy: Policy, timeout: Duration) -> Result<Self, Unusable> {
        let policy = Arc::new(policy);
        let tls = tls()?;
        let make = |plain: bool| {
            let guarded = Guarded {
                policy: Arc::clone(&policy),
                plain,
            };
            // The other half is for what follows on the connection.
            let tcp = tcp::connector(guarded, timeout / 2);
            let connector = HttpsConnectorBuilder::new().with_tls_config(tls.clone());
            let connector = if plain {
                connector.https_or_http()
            } else {
                connector.https_only()
            };
            legacy::Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_FOR)
                .pool_max_idle_per_host(2)
                .build(connector.enable_http1().wrap_connector(tcp))
        };
        Ok(Self {
            secure: make(false),
            plain: make(true),
            policy,
            timeout,
        })
    }

    /// What may be called.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy)
    }

    /// Posts once. Never fails: whatever happens is the attempt.
    pub async fn post(&self, target: &str, headers: &[(&'static str, String)], body: Bytes) -> Attempt {
        let (at, began) = (clock::now(), clock::moment());
        let answered = match self.policy.check_url(target) {
            Ok(url) => clock::timeout(self.timeout, self.send(url, headers, body))
                .await
                .unwrap_or_else(|_| Err(format!("no answer within {} s", self.timeout.as_secs()))),
            Err(refusal) => Err(refusal.to_string()),
        };
        let mut attempt = Attempt {
            at,
            duration_ms: 0,
            response_status: None,
            response_body: None,
            error: None,
        };
        match answered {
            Ok((status, body)) => {
                attempt.response_status = Some(status);
                attempt.response_body = body;
            }
            Err(error) => attempt.error = Some(error),
        }
        attempt.duration_ms = u64::try_from(clock::moment().since(began).as_millis()).unwrap_or(u64::MAX);
        attempt
    }

    async fn send(
        &self,
        url: Url,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<(u16, Option<String>), String> {
        let client = if url.scheme() == "http" {
            &self.plain
        } else {
            &self.secure
        };
        let mut request = Request::post(url.as_str())
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let answer = client.request(request).await.map_err(|error| told(&error))?;
        let status = answer.status().as_u16();
        Ok((status, beginning(answer.into_body()).await))
    }
}

/// TLS with the Mozilla roots that are compiled in.
pub(super) fn tls() -> Result<ClientConfig, Unusable> {
    let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let versions = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Unusable(error.into()))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

/// The beginning of an answer's body as text. The rest is never read: the connection is dropped with it.
async fn beginning(mut answer: Incoming) -> Option<String> {
    let mut kept = Vec::new();
    let read = async {
        while kept.len() < ANSWER_KEPT {
            match answer.frame().await {
                Some(Ok(frame)) => {
                    let chunk = frame.into_data().unwrap_or_default();
                    let wanted = chunk.len().min(ANSWER_KEPT - kept.len());
                    kept.extend_from_slice(&chunk[..wanted]);
                }
                // A body that breaks off changes nothing about the status before it.
                None | Some(Err(_)) => return,
            }
        }
    };
    let _ = clock::timeout(BODY_WITHIN, read).await;
    (!kept.is_empty()).then(|| String::from_utf8_lossy(&kept).into_owned())
}

/// What went wrong, for the person who looks after the receiver; without the address, which may hold a token.
fn told(error: &legacy::Error) -> String {
    let mut source = error.source();
    let mut last = None;
    while let Some(cause) = source {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return refusal.to_string();
        }
        let io = cause.downcast_ref::<io::Error>();
        if error.is_connect() && io.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut) {
            return "could not connect: nothing answers at this address".to_owned();
        }
        last = Some(cause.to_string());
        source = cause.source();
    }
    let what = if error.is_connect() {
        "could not connect"
    } else {
        "the connection broke off before an answer came"
    };
    match last {
        Some(cause) => format!("{what}: {cause}"),
        None => what.to_owned(),
    }
}

/// Resolves names under the guard; what it gives is what is connected to.
#[derive(Clone)]
struct Guarded {
    policy: Arc<Policy>,
    plain: bool,
}

impl Service<Name> for Guarded {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Refusal;
    type Future = BoxFuture<'static, Result<Self::Response, Refusal>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (policy, plain) = (Arc::clone(&self.policy), self.plain);
        Box::pin(async move { Ok(policy.resolve(name.as_str(), plain).await?.into_iter()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_swallows_packets_is_told_before_the_attempt_is_over() {
        let (dead, ..) = &tcp::black_hole("127.0.0.1").await;
        let policy = Policy {
            allow_private: vec!["127.0.0.0/8".parse().unwrap()],
            ..Policy::default()
        };
        let client = Client::new(policy, Duration::from_secs(4)).unwrap();
        let attempt = client.post(&format!("http://{dead}/"), &[], Bytes::new()).await;
        assert_eq!(
            attempt.error.as_deref(),
            Some("could not connect: nothing answers at this address")
        );
    }
}
