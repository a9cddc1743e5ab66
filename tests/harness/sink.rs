//! A receiver of webhooks that checks signatures with its own code and can misbehave in every way that receivers do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::wait::eventually;
use super::{Client, Gateway};

/// What a receiver does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This status and a short body.
    Status(u16),
    /// Nothing, and the connection stays open.
    Stall,
    /// The connection is cut before an answer.
    Reset,
    /// 302 to somewhere.
    Redirect(String),
    /// 200 and a body without end.
    Flood,
    /// 500, with a body that is announced longer than it is.
    Short,
    /// Bytes that are no HTTP.
    Noise,
    /// 204 with a body all the same, on a connection that stays open.
    Surplus,
    /// Waits until [`Sink::release`] is called, then 200.
    Held,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Got {
    /// Headers by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body's bytes.
    pub bytes: Vec<u8>,
    /// The body.
    pub body: Value,
}

impl Got {
    /// The event's id.
    pub fn event_id(&self) -> &str {
        self.body["event_id"].as_str().unwrap_or_default()
    }

    /// How many of the signatures in the header are right for a secret.
    pub fn signatures(&self, secret: &str) -> (usize, usize) {
        let header = &self.headers["x-whatisup-signature"];
        let time = header
            .split(',')
            .find_map(|part| part.strip_prefix("t="))
            .expect("the signature has a time");
        let expected = code(secret, time, &self.bytes);
        let codes: Vec<&str> = header.split(',').filter_map(|part| part.strip_prefix("v1=")).collect();
        (codes.iter().filter(|code| **code == expected).count(), codes.len())
    }
}

/// The right `v1` for a body at a time.
pub fn code(secret: &str, time: &str, body: &[u8]) -> String {
    hex::encode(own_hmac(secret.as_bytes(), &[time.as_bytes(), b".", body].concat()))
}

/// HMAC-SHA256 as RFC 2104 writes it down, so that the product's library is not its own judge.
fn own_hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::digest([&block.map(|byte| byte ^ 0x36)[..], message].concat());
    Sha256::digest([&block.map(|byte| byte ^ 0x5c)[..], &inner[..]].concat()).into()
}

type Decide = dyn Fn(&Got) -> Answer + Send + Sync;

/// The receiver.
pub struct Sink {
    host: &'static str,
    port: u16,
    got: Arc<Mutex<Vec<Got>>>,
    decide: Arc<Mutex<Arc<Decide>>>,
    open: Arc<AtomicUsize>,
    most_open: Arc<AtomicUsize>,
    released: watch::Sender<bool>,
    keeps: Arc<AtomicBool>,
}

/// An endpoint of a gateway that calls a sink.
pub struct Endpoint {
    /// Its id.
    pub id: String,
    /// Its signing secret.
    pub secret: String,
    client: Client,
}

impl Sink {
    /// One that answers 200.
    pub async fn start() -> Self {
        Self::on("127.0.0.1").await
    }

    /// The same on another address of this machine, which is another host to whoever calls it.
    pub async fn on(host: &'static str) -> Self {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sink = Self {
            host,
            port,
            got: Arc::default(),
            decide: Arc::new(Mutex::new(Arc::new(|_| Answer::Status(200)))),
            open: Arc::default(),
            most_open: Arc::default(),
            released: watch::channel(false).0,
            keeps: Arc::new(AtomicBool::new(true)),
        };
        let serving = Serving {
            got: sink.got.clone(),
            decide: sink.decide.clone(),
            open: sink.open.clone(),
            most_open: sink.most_open.clone(),
            released: sink.released.subscribe(),
            keeps: sink.keeps.clone(),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().connection(stream));
            }
        });
        sink
    }

    /// From now on each request is answered as `decide` says.
    pub fn answers(&self, decide: impl Fn(&Got) -> Answer + Send + Sync + 'static) {
        *self.decide.lock().unwrap() = Arc::new(decide);
    }

    /// From now on every request is answered alike.
    pub fn always(&self, answer: Answer) {
        self.answers(move |_| answer.clone());
    }

    /// Lets held requests go, now and later.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    /// From now on keeps no request: whoever decides about the answers keeps what it wants of so many.
    pub fn keeps_nothing(&self) {
        self.keeps.store(false, Ordering::Relaxed);
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}:{}/hook?token=secret", self.host, self.port)
    }

    /// What came so far.
    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// The most requests that were under way at once.
    pub fn most_at_once(&self) -> usize {
        self.most_open.load(Ordering::SeqCst)
    }

    /// How many requests are under way now.
    pub fn under_way(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Waits until this many requests came that `wanted` accepts; answers them.
    pub async fn count(&self, what: &str, count: usize, wanted: impl Fn(&Got) -> bool) -> Vec<Got> {
        eventually(what, async || {
            let got: Vec<Got> = self.got().into_iter().filter(|got| wanted(got)).collect();
            (got.len() >= count).then_some(got)
        })
        .await
    }

    /// Waits for an event by name.
    pub async fn event(&self, name: &str) -> Got {
        self.count(name, 1, |got| got.body["event"] == name).await.remove(0)
    }

    /// Makes an endpoint that calls this sink.
    pub async fn endpoint(&self, client: &Client, rest: Value) -> Endpoint {
        let mut request = json!({"url": self.url(), "events": ["*"]});
        for (name, value) in rest.as_object().unwrap() {
            request[name] = value.clone();
        }
        let made = client.post("/v1/webhook-endpoints", &request).returns(201).await;
        Endpoint {
            id: made["id"].as_str().unwrap().to_owned(),
            secret: made["signing_secret"].as_str().unwrap().to_owned(),
            client: client.clone(),
        }
    }
}

impl Endpoint {
    /// A path below the endpoint.
    pub fn path(&self, rest: &str) -> String {
        format!("/v1/webhook-endpoints/{}{rest}", self.id)
    }

    /// The endpoint as it stands.
    pub async fn get(&self) -> Value {
        self.client.get(&self.path("")).returns(200).await
    }

    /// Changes it.
    pub async fn change(&self, change: &Value) -> Value {
        self.client.patch(&self.path(""), change).returns(200).await
    }

    /// Waits until its health is as wanted.
    pub async fn health(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || {
            let health = self.get().await["health"].clone();
            wanted(&health).then_some(health)
        })
        .await
    }

    /// Its deliveries, newest first.
    pub async fn deliveries(&self, query: &str) -> Vec<Value> {
        let path = format!("/v1/webhook-deliveries?limit=100&endpoint_id={}{query}", self.id);
        let page = self.client.get(&path).returns(200).await;
        page["data"].as_array().unwrap().clone()
    }
}

#[derive(Clone)]
struct Serving {
    got: Arc<Mutex<Vec<Got>>>,
    decide: Arc<Mutex<Arc<Decide>>>,
    open: Arc<AtomicUsize>,
    most_open: Arc<AtomicUsize>,
    released: watch::Receiver<bool>,
    keeps: Arc<AtomicBool>,
}

impl Serving {
    async fn connection(mut self, mut stream: TcpStream) {
        let mut rest = Vec::new();
        while let Some(got) = read(&mut stream, &mut rest).await {
            let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_open.fetch_max(open, Ordering::SeqCst);
            let decide = self.decide.lock().unwrap().clone();
            let answer = decide(&got);
            if self.keeps.load(Ordering::Relaxed) {
                self.got.lock().unwrap().push(got);
            }
            let goes_on = self.answer(&mut stream, answer).await;
            self.open.fetch_sub(1, Ordering::SeqCst);
            if !goes_on {
                return;
            }
        }
    }

    /// Answers, and says whether the connection may be used again.
    async fn answer(&mut self, stream: &mut TcpStream, answer: Answer) -> bool {
        match answer {
            Answer::Status(status) => {
                let head = match status {
                    204 => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
                    _ => format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 2\r\n\r\nok"),
                };
                stream.write_all(head.as_bytes()).await.is_ok()
            }
            Answer::Surplus => {
                let head = b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(head).await.is_ok()
            }
            Answer::Held => {
                let _ = self.released.wait_for(|released| *released).await;
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(head).await.is_ok()
            }
            Answer::Stall => {
                // Ends when the sender gives up.
                let _ = stream.read(&mut [0; 1]).await;
                false
            }
            Answer::Reset => {
                let _ = stream.set_zero_linger();
                false
            }
            Answer::Redirect(to) => {
                let head = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(head.as_bytes()).await.is_ok()
            }
            Answer::Flood => {
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9000000000\r\n\r\n";
                let _ = stream.write_all(head).await;
                let chunk = vec![b'x'; 64 * 1024];
                while stream.write_all(&chunk).await.is_ok() {}
                false
            }
            Answer::Short => {
                let head = b"HTTP/1.1 500 Broken\r\ncontent-length: 1000\r\n\r\nonly this";
                let _ = stream.write_all(head).await;
                false
            }
            Answer::Noise => {
                let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
                false
            }
        }
    }
}

/// The next request on a connection.
async fn read(stream: &mut TcpStream, rest: &mut Vec<u8>) -> Option<Got> {
    let mut chunk = vec![0; 16 * 1024];
    let (head, length) = loop {
        if let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(rest.drain(..end + 4).collect()).unwrap();
            let headers: BTreeMap<String, String> = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect();
            let length: usize = headers["content-length"].parse().unwrap();
            break (headers, length);
        }
        let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
        rest.extend_from_slice(&chunk[..count]);
    };
    while rest.len() < length {
        let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
        rest.extend_from_slice(&chunk[..count]);
    }
    let bytes: Vec<u8> = rest.drain(..length).collect();
    Some(Got {
        headers: head,
        body: serde_json::from_slice(&bytes).unwrap(),
        bytes,
    })
}

/// A gateway that may call sinks, beside a simulator.
pub async fn gateway(simulator: &super::Simulator) -> Gateway {
    super::gateway::Setup::connecting_to(&simulator.url())
        .env("WHATISUP_WEBHOOKS_ALLOW_PRIVATE", "127.0.0.0/8")
        .start()
        .await
}
