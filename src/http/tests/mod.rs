//! The site as its callers see it: a real store, a real socket, an engine that has nobody to talk to.

mod calls;
#[cfg(feature = "sandbox")]
mod sandbox;
mod stream;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::{self, App, keys};
use crate::bus::Bus;
use crate::domain::access::Caller;
use crate::domain::id::InstanceId;
use crate::domain::instance::Status;
use crate::engine::{self, Engine};
use crate::store::{self, Store};
use crate::webhooks::guard::Policy;
use crate::webhooks::secrets::SecretBox;
use crate::webhooks::{self, Webhooks};

/// What a site is started with.
pub struct Setup {
    pub app: app::Options,
    pub site: super::Options,
    pub whatsapp: String,
    pub policy: Policy,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            app: app::Options {
                pepper: [7; 32],
                secrets_key: [7; 32],
                burst: 0,
                per_second: 20,
                max_streams_per_key: 100,
                told_limits: app::system::Limits::default(),
            },
            site: super::Options::default(),
            // Nobody listens there.
            whatsapp: "ws://127.0.0.1:1/ws/chat".to_owned(),
            policy: Policy::default(),
        }
    }
}

/// A running site that is stopped and removed at the end of the test.
pub struct Running {
    pub app: App,
    pub base: String,
    /// A key that may do everything.
    pub key: String,
    pub admin: std::path::PathBuf,
    shutdown: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
    client: reqwest::Client,
    _state: tempfile::TempDir,
}

impl Running {
    pub async fn start() -> Running {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Setup)) -> Running {
        let state = tempfile::tempdir().unwrap();
        let bus = Bus::new();
        let options = store::Options {
            path: state.path().join("store.redb"),
            cache_bytes: 1 << 20,
            reserve_bytes: 0,
        };
        let store = Store::open(&options, bus.sink()).unwrap();
        let mut setup = Setup::default();
        change(&mut setup);
        let engine = Engine::start(
            store.clone(),
            engine::Options {
                url: setup.whatsapp,
                device_name: "Test".to_owned(),
                connect_timeout: Duration::from_secs(5),
                ack_timeout: Duration::from_mins(1),
                max_sessions: 4,
            },
        )
        .await;
        let webhooks = Webhooks::start(
            store.clone(),
            &bus,
            webhooks::Options {
                policy: setup.policy,
                timeout: Duration::from_secs(5),
                secrets: SecretBox::new(&[7; 32]),
            },
        )
        .unwrap();
        let app = App::new(store, bus, engine, webhooks, &setup.app);
        let key = app.keys.create(&Caller::OWNER, draft("test")).await.unwrap().secret;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let admin = state.path().join("admin.sock");
        let listeners = super::Listeners {
            tcp: vec![listener],
            admin: Some(UnixListener::bind(&admin).unwrap()),
        };
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(super::serve(app.clone(), listeners, setup.site, shutdown.clone()));
        Running {
            app,
            base,
            key,
            admin,
            shutdown,
            serving,
            client: reqwest::Client::new(),
            _state: state,
        }
    }

    /// A request without a key.
    pub fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// A request with the key that may do everything.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(&self.key)
    }

    pub async fn get(&self, path: &str, status: StatusCode) -> Value {
        answer(self.request(Method::GET, path), status).await
    }

    pub async fn post(&self, path: &str, body: &Value, status: StatusCode) -> Value {
        answer(self.request(Method::POST, path).json(body), status).await
    }

    pub async fn instance(&self) -> InstanceId {
        let made = self
            .post("/v1/instances", &json!({"name": "one"}), StatusCode::CREATED)
            .await;
        InstanceId::parse(made["id"].as_str().unwrap()).unwrap()
    }

    /// Makes the store believe that the instance is connected.
    pub async fn pretend_connected(&self, id: InstanceId) {
        self.app
            .store
            .write(move |tx| {
                let mut row = tx.instance(id)?.unwrap();
                row.status = Status::Connected;
                tx.put_instance(&row)
            })
            .await
            .unwrap();
    }

    /// Another key.
    pub async fn another_key(&self, draft: keys::Draft) -> keys::Created {
        self.app.keys.create(&Caller::OWNER, draft).await.unwrap()
    }

    /// Ends the site and waits until it has ended.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap().unwrap();
    }
}

pub fn draft(name: &str) -> keys::Draft {
    keys::Draft {
        name: name.to_owned(),
        ..keys::Draft::default()
    }
}

/// Sends, expects this status, and reads the JSON; every reply must name its request.
pub async fn answer(request: RequestBuilder, status: StatusCode) -> Value {
    let reply = request.send().await.unwrap();
    let (got, id) = (reply.status(), header(&reply, "x-request-id"));
    let text = reply.text().await.unwrap();
    assert_eq!(got, status, "{text}");
    let id = id.expect("X-Request-Id");
    let value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if status.is_client_error() || status.is_server_error() {
        assert_eq!(value["request_id"], id, "{text}");
        assert!(value["error"]["message"].is_string(), "{text}");
    }
    value
}

/// Sends and expects this error.
pub async fn refused(request: RequestBuilder, status: StatusCode, code: &str) -> Value {
    let value = answer(request, status).await;
    assert_eq!(value["error"]["code"], code, "{value}");
    value
}

pub fn header(reply: &Response, name: &str) -> Option<String> {
    Some(reply.headers().get(name)?.to_str().unwrap().to_owned())
}
