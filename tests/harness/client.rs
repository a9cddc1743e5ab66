//! The test client: every call says which status it expects, every reply is held against the contract.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;

use super::contract::Contract;
use super::wait::within;

/// Calls one gateway as one caller.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
    contract: Option<Arc<Contract>>,
}

/// A reply whose status was the expected one.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub bytes: Vec<u8>,
    /// The body, if it is JSON.
    pub json: Value,
}

impl Reply {
    /// A header as text, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }
}

/// A call that is being put together.
pub struct Call {
    client: Client,
    method: reqwest::Method,
    path: String,
    request: reqwest::RequestBuilder,
}

/// A client that gives up idle connections long before the servers do, of which the simulator waits ten seconds: a request
/// that crosses such an end on its way fails.
fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder().pool_idle_timeout(Duration::from_secs(3))
}

impl Client {
    /// A client for a base address, without a key.
    pub fn new(base: impl Into<String>) -> Self {
        Self {
            http: builder().no_proxy().build().unwrap(),
            base: base.into(),
            key: None,
            contract: None,
        }
    }

    /// A client for the owner's socket.
    pub fn unix(socket: &std::path::Path) -> Self {
        Self {
            http: builder().unix_socket(socket).build().unwrap(),
            base: "http://localhost".into(),
            key: None,
            contract: None,
        }
    }

    /// The same client, showing a key.
    #[must_use]
    pub fn with_key(&self, key: impl Into<String>) -> Self {
        Self {
            key: Some(key.into()),
            ..self.clone()
        }
    }

    /// The same client, without a key.
    #[must_use]
    pub fn without_key(&self) -> Self {
        Self {
            key: None,
            ..self.clone()
        }
    }

    /// The same client, calling another base address, as that of a proxy in between.
    #[must_use]
    pub fn at(&self, base: impl Into<String>) -> Self {
        Self {
            base: base.into(),
            ..self.clone()
        }
    }

    /// The same client, holding replies against a contract.
    #[must_use]
    pub fn with_contract(&self, contract: Arc<Contract>) -> Self {
        Self {
            contract: Some(contract),
            ..self.clone()
        }
    }

    /// Where it calls.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The key it shows.
    pub fn key(&self) -> &str {
        self.key.as_deref().expect("this client has a key")
    }

    /// The connection pool, for what is no ordinary call.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Begins a call.
    pub fn call(&self, method: &str, path: &str) -> Call {
        let method: reqwest::Method = method.parse().unwrap();
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        Call {
            client: self.clone(),
            method,
            path: path.to_owned(),
            request,
        }
    }

    /// Begins a GET.
    pub fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    /// Begins a POST with a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Call {
        self.call("POST", path).json(body)
    }

    /// Begins a POST without a body.
    pub fn post_empty(&self, path: &str) -> Call {
        self.call("POST", path)
    }

    /// Begins a PATCH with a JSON body.
    pub fn patch(&self, path: &str, body: &Value) -> Call {
        self.call("PATCH", path).json(body)
    }

    /// Begins a DELETE.
    pub fn delete(&self, path: &str) -> Call {
        self.call("DELETE", path)
    }
}

impl Call {
    /// Adds a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.request = self.request.json(body);
        self
    }

    /// Adds a raw body and its type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.header(CONTENT_TYPE, content_type).body(body);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Makes the call; `Err` when no complete answer came, as from a gateway that is being killed.
    pub async fn attempt(self) -> Result<Reply, reqwest::Error> {
        let response = within(&format!("{} {}", self.method, self.path), self.request.send()).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?.to_vec();
        let content_type = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap());
        let is_json = content_type.is_some_and(|kind| kind.starts_with("application/json"));
        let json = if is_json {
            serde_json::from_slice(&bytes).expect("what says it is JSON is JSON")
        } else {
            Value::Null
        };
        if let Some(contract) = &self.client.contract {
            let request_id = headers.get("x-request-id").map(|value| value.to_str().unwrap());
            assert!(
                request_id.is_some_and(|id| id.starts_with("req_")),
                "{} {}: every reply carries X-Request-Id",
                self.method,
                self.path
            );
            if status >= 400 && is_json {
                assert_eq!(json["request_id"].as_str(), request_id, "one request, one id");
            }
            let body = (!bytes.is_empty()).then_some(&json).filter(|_| is_json);
            contract.check(self.method.as_str(), &self.path, status, content_type, body);
        }
        Ok(Reply {
            status,
            headers,
            bytes,
            json,
        })
    }

    /// Makes the call and expects a status.
    pub async fn reply(self, status: u16) -> Reply {
        let call = format!("{} {}", self.method, self.path);
        let reply = self
            .attempt()
            .await
            .unwrap_or_else(|error| panic!("{call}: no answer: {error:?}"));
        assert_eq!(
            reply.status,
            status,
            "{call}: {}",
            String::from_utf8_lossy(&reply.bytes)
        );
        reply
    }

    /// Makes the call, expects a status, answers the JSON.
    pub async fn returns(self, status: u16) -> Value {
        self.reply(status).await.json
    }

    /// Makes the call and expects to be refused with a status and code; answers the error.
    pub async fn refused(self, status: u16, code: &str) -> Value {
        let call = format!("{} {}", self.method, self.path);
        let body = self.returns(status).await;
        assert_eq!(body["error"]["code"], code, "{call}: {body}");
        assert!(
            body["error"]["message"].as_str().is_some_and(|text| !text.is_empty()),
            "{call}: an error says what to do next"
        );
        body["error"].clone()
    }
}
