//! A client small enough to see through: raw Noise, raw stanzas, no client library.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};
use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::wacore::framing::{FrameDecoder, encode_frame};
use whatsapp_rust::wacore::handshake::{NoiseCipher, NoiseHandshake};
use whatsapp_rust::wacore::libsignal::protocol::KeyPair;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::consts::{
    NOISE_PATTERN_IK, NOISE_PATTERN_XX, NOISE_PATTERN_XXFALLBACK, WA_CONN_HEADER,
};
use whatsapp_rust::wacore_binary::{Node, NodeContent, OwnedNodeRef, marshal, util};
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::client_payload::DevicePairingRegistrationData;
use whatsapp_rust::waproto::whatsapp::handshake_message::{ClientFinish, ClientHello};

/// Nothing on loopback takes this long; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a client speaks through: plain TCP or TLS.
pub type Pipe = Box<dyn Stream>;

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connected client.
pub struct Client {
    socket: WebSocketStream<Pipe>,
    decoder: FrameDecoder,
    write: Option<NoiseCipher>,
    read: Option<NoiseCipher>,
    written: u32,
    received: u32,
    /// The certificate chain the server showed.
    pub chain: Vec<u8>,
    /// The server's static key; unknown after IK.
    pub server_static: Vec<u8>,
}

pub fn public(pair: &KeyPair) -> Vec<u8> {
    pair.public_key.public_key_bytes().to_vec()
}

pub fn fresh_pair() -> KeyPair {
    KeyPair::generate(&mut rand::rng())
}

fn handshake_message(bytes: &[u8]) -> wa::handshake_message::ServerHello {
    wa::HandshakeMessage::decode_from_slice(bytes)
        .unwrap()
        .server_hello
        .into_option()
        .unwrap()
}

impl Client {
    async fn open(addr: SocketAddr) -> Self {
        Self::open_over(addr, Box::new(TcpStream::connect(addr).await.unwrap())).await
    }

    async fn open_over(addr: SocketAddr, stream: Pipe) -> Self {
        let uri: http::Uri = format!("ws://{addr}/ws/chat").parse().unwrap();
        let (socket, _) = ClientBuilder::from_uri(uri).connect_on(stream).await.unwrap();
        Self {
            socket,
            decoder: FrameDecoder::new(),
            write: None,
            read: None,
            written: 0,
            received: 0,
            chain: Vec::new(),
            server_static: Vec::new(),
        }
    }

    async fn frame(&mut self) -> Option<bytes::BytesMut> {
        loop {
            if let Some(frame) = self.decoder.decode_frame() {
                return Some(frame);
            }
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("the server is silent")?;
            match message {
                Ok(message) if message.is_binary() => self.decoder.feed(message.as_payload()),
                Ok(message) if message.is_close() => return None,
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    async fn write_frame(&mut self, body: &[u8], header: Option<&[u8]>) {
        self.socket
            .send(Message::binary(encode_frame(body, header).unwrap()))
            .await
            .unwrap();
    }

    async fn hello(&mut self, hello: ClientHello) {
        let message = wa::HandshakeMessage {
            client_hello: MessageField::some(hello),
            ..Default::default()
        };
        self.write_frame(&message.encode_to_vec(), Some(&WA_CONN_HEADER)).await;
    }

    fn finish(&mut self, noise: NoiseHandshake) {
        let (write, read) = noise.finish().unwrap();
        (self.write, self.read) = (Some(write), Some(read));
    }

    /// The second half of XX and of its fallback.
    async fn xx_rest(
        &mut self,
        pattern: &str,
        ephemeral: &KeyPair,
        statics: &KeyPair,
        hello: wa::handshake_message::ServerHello,
        payload: &wa::ClientPayload,
    ) {
        let mut noise = NoiseHandshake::new(pattern, &WA_CONN_HEADER).unwrap();
        let server_ephemeral = hello.ephemeral.unwrap();
        noise.authenticate(&public(ephemeral));
        noise.authenticate(&server_ephemeral);
        noise
            .mix_shared_secret(ephemeral.private_key.serialize(), &server_ephemeral)
            .unwrap();
        self.server_static = noise.decrypt(&hello.r#static.unwrap()).unwrap();
        noise
            .mix_shared_secret(ephemeral.private_key.serialize(), &self.server_static)
            .unwrap();
        self.chain = noise.decrypt(&hello.payload.unwrap()).unwrap();
        let sealed_static = noise.encrypt(&public(statics)).unwrap();
        noise
            .mix_shared_secret(statics.private_key.serialize(), &server_ephemeral)
            .unwrap();
        let sealed_payload = noise.encrypt(&payload.encode_to_vec()).unwrap();
        let finish = ClientFinish {
            r#static: Some(sealed_static),
            payload: Some(sealed_payload),
            ..Default::default()
        };
        let message = wa::HandshakeMessage {
            client_finish: MessageField::some(finish),
            ..Default::default()
        };
        self.write_frame(&message.encode_to_vec(), None).await;
        self.finish(noise);
    }

    pub async fn xx(addr: SocketAddr, statics: &KeyPair, payload: &wa::ClientPayload) -> Self {
        Self::open(addr).await.xx_on(statics, payload).await
    }

    /// The same through a stream that somebody else has opened, TLS for example.
    pub async fn xx_over(addr: SocketAddr, stream: Pipe, statics: &KeyPair, payload: &wa::ClientPayload) -> Self {
        Self::open_over(addr, stream).await.xx_on(statics, payload).await
    }

    async fn xx_on(self, statics: &KeyPair, payload: &wa::ClientPayload) -> Self {
        let mut client = self;
        let ephemeral = fresh_pair();
        client
            .hello(ClientHello {
                ephemeral: Some(public(&ephemeral)),
                ..Default::default()
            })
            .await;
        let hello = handshake_message(&client.frame().await.unwrap());
        client
            .xx_rest(NOISE_PATTERN_XX, &ephemeral, statics, hello, payload)
            .await;
        client
    }

    /// IK with a remembered server key; falls back when the server asks for it.
    pub async fn ik(addr: SocketAddr, statics: &KeyPair, server: &[u8], payload: &wa::ClientPayload) -> Self {
        let mut client = Self::open(addr).await;
        let ephemeral = fresh_pair();
        let mut noise = NoiseHandshake::new(NOISE_PATTERN_IK, &WA_CONN_HEADER).unwrap();
        noise.authenticate(server);
        noise.authenticate(&public(&ephemeral));
        noise
            .mix_shared_secret(ephemeral.private_key.serialize(), server)
            .unwrap();
        let sealed_static = noise.encrypt(&public(statics)).unwrap();
        noise
            .mix_shared_secret(statics.private_key.serialize(), server)
            .unwrap();
        let sealed_payload = noise.encrypt(&payload.encode_to_vec()).unwrap();
        let hello = ClientHello {
            ephemeral: Some(public(&ephemeral)),
            r#static: Some(sealed_static),
            payload: Some(sealed_payload),
            ..Default::default()
        };
        client.hello(hello).await;
        let hello = handshake_message(&client.frame().await.unwrap());
        if hello.r#static.is_some() {
            client
                .xx_rest(NOISE_PATTERN_XXFALLBACK, &ephemeral, statics, hello, payload)
                .await;
            return client;
        }
        let server_ephemeral = hello.ephemeral.unwrap();
        noise.authenticate(&server_ephemeral);
        noise
            .mix_shared_secret(ephemeral.private_key.serialize(), &server_ephemeral)
            .unwrap();
        noise
            .mix_shared_secret(statics.private_key.serialize(), &server_ephemeral)
            .unwrap();
        client.chain = noise.decrypt(&hello.payload.unwrap()).unwrap();
        client.finish(noise);
        client
    }

    /// Says hello on a fresh socket; whether the server answers it at all.
    pub async fn is_answered(addr: SocketAddr) -> bool {
        let mut client = Self::open(addr).await;
        let hello = ClientHello {
            ephemeral: Some(public(&fresh_pair())),
            ..Default::default()
        };
        client.hello(hello).await;
        client.frame().await.is_some()
    }

    pub async fn send(&mut self, node: &Node) {
        let cipher = self.write.as_ref().unwrap();
        let sealed = cipher
            .encrypt_with_counter(self.written, &marshal::marshal(node).unwrap())
            .unwrap();
        self.written += 1;
        self.write_frame(&sealed, None).await;
    }

    /// The next stanza; `None` when the server closed.
    pub async fn recv(&mut self) -> Option<Node> {
        let mut frame = self.frame().await?;
        self.read
            .as_ref()
            .unwrap()
            .decrypt_in_place_with_counter(self.received, &mut frame)
            .unwrap();
        self.received += 1;
        Some(
            OwnedNodeRef::new(util::unpack_bytes(frame).unwrap())
                .unwrap()
                .to_owned_node(),
        )
    }

    pub async fn next(&mut self) -> Node {
        self.recv().await.expect("the server closed")
    }

    /// Skips to the next stanza with a tag.
    pub async fn next_tagged(&mut self, tag: &str) -> Node {
        loop {
            let node = self.next().await;
            if node.tag == tag {
                return node;
            }
        }
    }

    /// Asks, and skips to the answer.
    pub async fn ask(&mut self, namespace: &str, kind: &str, children: Vec<Node>) -> Node {
        self.ask_at("s.whatsapp.net", namespace, kind, children).await
    }

    /// The same, addressed to somebody else than the server.
    pub async fn ask_at(&mut self, to: &str, namespace: &str, kind: &str, children: Vec<Node>) -> Node {
        let id = self.ask_only_at(to, namespace, kind, children).await;
        loop {
            let node = self.next_tagged("iq").await;
            if text(&node, "id") == id {
                return node;
            }
        }
    }

    /// Asks without waiting; gives the id that the answer will have.
    pub async fn ask_only(&mut self, namespace: &str, kind: &str, children: Vec<Node>) -> String {
        self.ask_only_at("s.whatsapp.net", namespace, kind, children).await
    }

    async fn ask_only_at(&mut self, to: &str, namespace: &str, kind: &str, children: Vec<Node>) -> String {
        let id = hex::encode(rand::random::<[u8; 8]>());
        let iq = NodeBuilder::new("iq")
            .attr("id", id.as_str())
            .attr("xmlns", namespace)
            .attr("type", kind);
        self.send(&iq.attr("to", to).children(children).build()).await;
        id
    }
}

pub fn text(node: &Node, name: &str) -> String {
    node.attrs
        .get(name)
        .map(|value| value.as_str().into_owned())
        .unwrap_or_default()
}

pub fn content(node: &Node) -> Vec<u8> {
    match &node.content {
        Some(NodeContent::Bytes(bytes)) => bytes.clone(),
        Some(NodeContent::String(text)) => text.as_bytes().to_vec(),
        _ => Vec::new(),
    }
}

/// One call of the admin interface: status and JSON.
pub async fn admin(addr: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    admin_with(addr, method, path, body, &[]).await
}

/// The same with more headers, or another `Host`.
pub async fn admin_with(
    addr: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
    headers: &[(&str, &str)],
) -> (u16, Value) {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", addr.to_string());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender
        .send_request(request.body(Full::<Bytes>::from(body.to_owned())).unwrap())
        .await
        .unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| text()))
}

pub async fn stats(addr: SocketAddr) -> Value {
    admin(addr, "GET", "/admin/stats", "").await.1
}

/// Asks again until the statistics look right; panics when they never do.
pub async fn until(addr: SocketAddr, right: impl Fn(&Value) -> bool) -> Value {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let stats = stats(addr).await;
        if right(&stats) {
            return stats;
        }
        assert!(tokio::time::Instant::now() < deadline, "never came true: {stats}");
        tokio::task::yield_now().await;
    }
}

/// The keys of a companion.
pub struct Keys {
    pub noise: KeyPair,
    pub identity: KeyPair,
    pub secret: [u8; 32],
}

impl Keys {
    pub fn fresh() -> Self {
        Self {
            noise: fresh_pair(),
            identity: fresh_pair(),
            secret: rand::random(),
        }
    }

    pub fn registration(&self) -> wa::ClientPayload {
        let data = DevicePairingRegistrationData {
            e_regid: Some(7u32.to_be_bytes().to_vec()),
            e_keytype: Some(vec![5]),
            e_ident: Some(public(&self.identity)),
            ..Default::default()
        };
        wa::ClientPayload {
            device_pairing_data: MessageField::some(data),
            ..Default::default()
        }
    }

    pub fn login(number: &str, device: u32) -> wa::ClientPayload {
        wa::ClientPayload {
            username: Some(number.parse().unwrap()),
            device: Some(device),
            passive: Some(true),
            ..Default::default()
        }
    }

    pub fn sign(&self, parts: &[&[u8]]) -> Vec<u8> {
        self.identity
            .private_key
            .calculate_signature(&parts.concat(), &mut rand::rng())
            .unwrap()
            .to_vec()
    }

    /// The signed-prekey part of an upload, and how many one-time keys to go with it.
    pub fn upload(&self, count: u32, spoil: bool) -> Vec<Node> {
        let signed = fresh_pair();
        let mut signature = self.sign(&[&signed.public_key.serialize()]);
        signature[0] ^= u8::from(spoil);
        let bytes = |tag: &'static str, bytes: Vec<u8>| NodeBuilder::new(tag).bytes(bytes).build();
        let keys = (1..=count).map(|id| {
            let value = bytes("value", public(&fresh_pair()));
            NodeBuilder::new("key")
                .children([bytes("id", id.to_be_bytes()[1..].to_vec()), value])
                .build()
        });
        vec![
            bytes("registration", 7u32.to_be_bytes().to_vec()),
            bytes("type", vec![5]),
            bytes("identity", public(&self.identity)),
            NodeBuilder::new("list").children(keys).build(),
            NodeBuilder::new("skey")
                .children([
                    bytes("id", vec![0, 0, 1]),
                    bytes("value", public(&signed)),
                    bytes("signature", signature),
                ])
                .build(),
        ]
    }
}

/// A registration under way: the phone has scanned, the grant has arrived.
pub struct Granted {
    pub client: Client,
    pub scan: tokio::task::JoinHandle<(u16, Value)>,
    pub iq: String,
    pub device_jid: String,
    pub signed: wa::ADVSignedDeviceIdentity,
    pub container: wa::ADVSignedDeviceIdentityHMAC,
}

/// The text of the QR code that a client shows once it was offered references.
pub fn qr(offer: &Node, keys: &Keys) -> String {
    let refs = offer.get_optional_child("pair-device").unwrap();
    assert_eq!(refs.get_children_by_tag("ref").count(), 6);
    let reference = String::from_utf8(content(refs.get_children_by_tag("ref").next().unwrap())).unwrap();
    format!(
        "https://wa.me/settings/linked_devices#{reference},{},{},{},1",
        BASE64_STANDARD.encode(public(&keys.noise)),
        BASE64_STANDARD.encode(public(&keys.identity)),
        BASE64_STANDARD.encode(keys.secret),
    )
}

/// Registers and lets a phone scan.
pub async fn register(addr: SocketAddr, keys: &Keys, number: &str) -> Granted {
    let mut client = Client::xx(addr, &keys.noise, &keys.registration()).await;
    let offer = client.next().await;
    let qr = qr(&offer, keys);
    let path = format!("/admin/mock-phone/scan-qr?phone={number}");
    let scan = tokio::spawn(async move { admin(addr, "POST", &path, &qr).await });
    Granted::arrived(client, scan).await
}

impl Granted {
    /// Waits for the grant that follows from what a phone was told to do.
    pub async fn arrived(mut client: Client, scan: tokio::task::JoinHandle<(u16, Value)>) -> Self {
        let iq = client.next_tagged("iq").await;
        let success = iq.get_optional_child("pair-success").unwrap();
        let container = content(success.get_optional_child("device-identity").unwrap());
        let container = wa::ADVSignedDeviceIdentityHMAC::decode_from_slice(&container).unwrap();
        let signed = wa::ADVSignedDeviceIdentity::decode_from_slice(container.details.as_deref().unwrap()).unwrap();
        let device_jid = text(success.get_optional_child("device").unwrap(), "jid");
        Granted {
            client,
            scan,
            iq: text(&iq, "id"),
            device_jid,
            signed,
            container,
        }
    }

    /// Answers with the companion's signature and gives the server's last stanza and the scan's outcome.
    pub async fn answer(mut self, keys: &Keys, spoil: bool) -> (Node, (u16, Value)) {
        self.sign(keys, spoil).await;
        let last = self.client.next().await;
        assert!(self.client.recv().await.is_none(), "the server keeps the socket open");
        (last, self.scan.await.unwrap())
    }

    /// Answers rightly to a server that then says nothing more; gives the scan's outcome.
    pub async fn answer_and_end(mut self, keys: &Keys) -> (u16, Value) {
        self.sign(keys, false).await;
        assert!(self.client.recv().await.is_none(), "the server says something");
        self.scan.await.unwrap()
    }

    async fn sign(&mut self, keys: &Keys, spoil: bool) {
        let details = self.signed.details.clone().unwrap();
        let account = self.signed.account_signature_key.clone().unwrap();
        let mut signature = keys.sign(&[&[6, 1], &details, &public(&keys.identity), &account]);
        signature[0] ^= u8::from(spoil);
        self.signed.device_signature = Some(signature);
        let index = wa::ADVDeviceIdentity::decode_from_slice(&details).unwrap().key_index;
        let identity = NodeBuilder::new("device-identity")
            .attr("key-index", index.unwrap())
            .bytes(self.signed.encode_to_vec())
            .build();
        let answer = NodeBuilder::new("pair-device-sign").children([identity]).build();
        let iq = NodeBuilder::new("iq")
            .attr("to", "s.whatsapp.net")
            .attr("type", "result")
            .attr("id", self.iq.as_str());
        self.client.send(&iq.children([answer]).build()).await;
    }
}

/// Links a companion to a phone as device 1.
pub async fn link(addr: SocketAddr, number: &str) -> Keys {
    let keys = Keys::fresh();
    let granted = register(addr, &keys, number).await;
    assert_eq!(granted.device_jid, format!("{number}:1@s.whatsapp.net"));
    let (last, scan) = granted.answer(&keys, false).await;
    assert_eq!((text(&last, "code").as_str(), scan.0), ("515", 200), "{scan:?}");
    keys
}

/// Links a further companion; gives its device.
pub async fn link_another(addr: SocketAddr, number: &str) -> (Keys, u32) {
    let keys = Keys::fresh();
    let granted = register(addr, &keys, number).await;
    let (last, (status, linked)) = granted.answer(&keys, false).await;
    assert_eq!((text(&last, "code").as_str(), status), ("515", 200), "{linked}");
    (keys, linked["device"].as_u64().unwrap().try_into().unwrap())
}

/// Logs device 1 in and gives the first stanza.
pub async fn log_in(addr: SocketAddr, keys: &Keys, number: &str) -> (Client, Node) {
    log_in_as(addr, keys, number, 1).await
}

/// Logs a device in and gives the first stanza.
pub async fn log_in_as(addr: SocketAddr, keys: &Keys, number: &str, device: u32) -> (Client, Node) {
    let mut client = Client::xx(addr, &keys.noise, &Keys::login(number, device)).await;
    let first = client.next().await;
    (client, first)
}

/// Makes the server send what waits.
pub async fn activate(client: &mut Client) {
    let id = hex::encode(rand::random::<[u8; 8]>());
    let iq = NodeBuilder::new("iq")
        .attr("id", id)
        .attr("xmlns", "passive")
        .attr("type", "set");
    client
        .send(
            &iq.attr("to", "s.whatsapp.net")
                .children([NodeBuilder::new("active").build()])
                .build(),
        )
        .await;
    assert_eq!(text(&client.next_tagged("iq").await, "type"), "result");
}

/// A linked companion that is logged in and active, without keys: nothing but what a test is about is sent to it.
pub async fn companion(addr: SocketAddr, number: &str) -> (Keys, Client) {
    let keys = link(addr, number).await;
    let client = present(addr, &keys, number).await;
    (keys, client)
}

/// Logs a companion in again and makes it active.
pub async fn present(addr: SocketAddr, keys: &Keys, number: &str) -> Client {
    let (mut client, _) = log_in(addr, keys, number).await;
    activate(&mut client).await;
    while client.next_tagged("ib").await.get_optional_child("offline").is_none() {}
    client
}

impl Client {
    /// Says that somebody looks at this client, or that nobody does.
    pub async fn is_available(&mut self, name: &str, available: bool) {
        let state = if available { "available" } else { "unavailable" };
        let presence = NodeBuilder::new("presence").attr("type", state).attr("name", name);
        self.send(&presence.build()).await;
        self.heard().await;
    }

    /// Waits until the server has worked off everything sent so far, and gives what it sent meanwhile.
    pub async fn heard(&mut self) -> Vec<Node> {
        let id = hex::encode(rand::random::<[u8; 8]>());
        let ping = NodeBuilder::new("iq")
            .attr("id", id.as_str())
            .attr("xmlns", "w:p")
            .attr("type", "get");
        self.send(&ping.attr("to", "s.whatsapp.net").build()).await;
        let mut heard = Vec::new();
        loop {
            let node = self.next().await;
            if node.tag == "iq" && text(&node, "id") == id {
                return heard;
            }
            heard.push(node);
        }
    }
}

/// An admin call that must succeed.
pub async fn post(addr: SocketAddr, path: &str) -> Value {
    let (status, answer) = admin(addr, "POST", path, "").await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// An admin question that must be answered.
pub async fn get(addr: SocketAddr, path: &str) -> Value {
    let (status, answer) = admin(addr, "GET", path, "").await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}
