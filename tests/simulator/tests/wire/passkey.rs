//! Linking an account that demands a passkey: by a client of our own, step by step and with each step wrong, and by the
//! library, which knows the flow from WhatsApp Web.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use whatsapp_rust::bot::Bot;
use whatsapp_rust::passkey::{Assertion, CallbackAuthenticator, build_webauthn_assertion_json};
use whatsapp_rust::prelude::{ChannelEventHandler, Event};
use whatsapp_rust::wacore::libsignal::protocol::KeyPair;
use whatsapp_rust::wacore::net::{HttpClient, HttpRequest, HttpResponse};
use whatsapp_rust::wacore::shortcake::ShortcakeUtils;
use whatsapp_rust::wacore::store::InMemoryBackend;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::waproto::whatsapp::device_props::PlatformType;

use crate::client::{Client, Granted, Keys, admin, content, log_in, public, qr, text, until};
use crate::{NUMBER, simulator};

/// What the authenticator of a test does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Twist {
    Nothing,
    Challenge,
    Origin,
    RelyingParty,
    Unverified,
    Signature,
    Credential,
}

/// Signs as the phone's authenticator would; gives credential id and assertion.
fn assert_passkey(passkey: &Value, options: &Value, twist: Twist) -> (Vec<u8>, Vec<u8>) {
    let bytes = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(passkey[name].as_str().unwrap()).unwrap();
    let random = ring::rand::SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &bytes("privateKeyPkcs8"), &random).unwrap();
    let mut credential = bytes("credentialId");
    credential[0] ^= u8::from(twist == Twist::Credential);
    let challenge = match twist {
        Twist::Challenge => json!("AAAA"),
        _ => options["challenge"].clone(),
    };
    let origin = if twist == Twist::Origin {
        "https://evil.example"
    } else {
        "https://web.whatsapp.com"
    };
    let client = json!({"type": "webauthn.get", "challenge": challenge, "origin": origin}).to_string();
    let party = if twist == Twist::RelyingParty {
        "evil.example"
    } else {
        options["rpId"].as_str().unwrap()
    };
    let flags = if twist == Twist::Unverified { 0x01 } else { 0x05 };
    let authenticator = [&Sha256::digest(party)[..], &[flags, 0, 0, 0, 1]].concat();
    let signed = [&authenticator[..], &Sha256::digest(&client)].concat();
    let mut signature = key.sign(&random, &signed).unwrap().as_ref().to_vec();
    *signature.last_mut().unwrap() ^= u8::from(twist == Twist::Signature);
    let assertion = build_webauthn_assertion_json(&credential, client.as_bytes(), &authenticator, &signature, None);
    (credential, assertion)
}

async fn passkey_of(addr: SocketAddr, number: &str) -> Value {
    let (status, passkey) = admin(addr, "POST", &format!("/admin/mock-phone/passkey?phone={number}"), "").await;
    assert_eq!(status, 200);
    passkey
}

fn part(tag: &'static str, bytes: impl Into<Vec<u8>>) -> Node {
    NodeBuilder::new(tag).bytes(bytes.into()).build()
}

/// A client that is asked for the passkey.
struct Asked {
    client: Client,
    keys: Keys,
    scan: JoinHandle<(u16, Value)>,
    options: Value,
    passkey: Value,
    reference: String,
    ephemeral: KeyPair,
    nonce: [u8; 32],
}

async fn asked(addr: SocketAddr) -> Asked {
    let passkey = passkey_of(addr, NUMBER).await;
    let fault = json!({"kind": "passkey", "phone": NUMBER}).to_string();
    assert_eq!(admin(addr, "POST", "/admin/fault", &fault).await.0, 200);
    let keys = Keys::fresh();
    let mut client = Client::xx(addr, &keys.noise, &keys.registration()).await;
    let picture = qr(&client.next().await, &keys);
    let path = format!("/admin/mock-phone/scan-qr?phone={NUMBER}");
    let scan = tokio::spawn(async move { admin(addr, "POST", &path, &picture).await });
    let request = client.next_tagged("notification").await;
    assert_eq!(
        (text(&request, "type").as_str(), text(&request, "from").as_str()),
        ("passkey_prologue_request", "s.whatsapp.net")
    );
    let options = content(request.get_optional_child("passkey_request_options").unwrap());
    let again = client
        .ask("md", "get", vec![NodeBuilder::new("passkey_request_options").build()])
        .await;
    assert_eq!(
        content(again.get_optional_child("passkey_request_options").unwrap()),
        options
    );
    let options: Value = serde_json::from_slice(&options).unwrap();
    assert_eq!(options["allowCredentials"][0]["id"], passkey["credentialId"]);
    let answer = client.ask("md", "get", vec![NodeBuilder::new("ref").build()]).await;
    let reference = String::from_utf8(content(answer.get_optional_child("ref").unwrap())).unwrap();
    Asked {
        client,
        keys,
        scan,
        options,
        passkey,
        reference,
        ephemeral: ShortcakeUtils::generate_companion_ephemeral_keypair(),
        nonce: rand::random(),
    }
}

impl Asked {
    async fn prologue(&mut self, twist: Twist, reference: &str) -> Node {
        let key: [u8; 32] = public(&self.ephemeral).try_into().unwrap();
        let identity = ShortcakeUtils::build_companion_ephemeral_identity(&key, PlatformType::CHROME, reference);
        let commitment = ShortcakeUtils::commitment_hash(&identity, &self.nonce);
        let payload = ShortcakeUtils::build_prologue_payload(&identity, &commitment);
        let (credential, assertion) = assert_passkey(&self.passkey, &self.options, twist);
        let prologue = NodeBuilder::new("passkey_prologue").children([
            part("credential_id", credential),
            part("webauthn_assertion", assertion),
            part("prologue_payload", payload),
        ]);
        self.client.ask("md", "set", vec![prologue.build()]).await
    }

    /// The phone's half of the handshake.
    async fn primary(&mut self) -> ([u8; 32], [u8; 32]) {
        let continuation = self.client.next_tagged("notification").await;
        assert_eq!(text(&continuation, "type"), "crsc_continuation");
        let primary = content(continuation.get_optional_child("primary_ephemeral_identity").unwrap());
        let primary = ShortcakeUtils::parse_primary_ephemeral_identity(&primary).unwrap();
        (primary.public_key, primary.nonce)
    }

    async fn request(&mut self, primary: &[u8; 32], noise: &KeyPair, secret: &[u8; 32]) -> Node {
        let reference = self.reference.clone();
        let key =
            ShortcakeUtils::derive_encryption_key(&self.ephemeral, primary, PlatformType::CHROME, &reference).unwrap();
        let key_of = |pair: &KeyPair| -> [u8; 32] { public(pair).try_into().unwrap() };
        let plain = ShortcakeUtils::build_pairing_request(&key_of(noise), &key_of(&self.keys.identity), secret);
        let sealed = ShortcakeUtils::encrypt_pairing_request(&plain, &key).unwrap();
        let sealed = ShortcakeUtils::build_encrypted_pairing_request(&sealed);
        self.client
            .ask("md", "set", vec![part("encrypted_pairing_request", sealed)])
            .await
    }

    /// The link has failed for this reason.
    async fn fails(self, answer: &Node, reason: &str) {
        assert_eq!(text(answer, "type"), "error", "{reason}");
        assert_eq!(text(answer.get_optional_child("error").unwrap(), "code"), "403");
        let (status, told) = self.scan.await.unwrap();
        assert!(
            status == 409 && told["error"].as_str().unwrap().contains(reason),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_client_that_shows_the_passkey_is_linked_with_the_new_secret() {
    let (simulator, addr) = simulator().await;
    let mut asked = asked(addr).await;
    let reference = asked.reference.clone();
    assert_eq!(
        text(&asked.prologue(Twist::Nothing, &reference).await, "type"),
        "result"
    );
    let (primary, primary_nonce) = asked.primary().await;
    let nonce = asked.nonce;
    let answer = asked
        .client
        .ask("md", "set", vec![part("companion_nonce", nonce)])
        .await;
    assert_eq!(text(&answer, "type"), "result");
    let code = ShortcakeUtils::derive_verification_code(&nonce, &primary, &primary_nonce);
    let (_, shown) = admin(addr, "GET", &format!("/admin/mock-phone/passkey?phone={NUMBER}"), "").await;
    assert_eq!(
        shown,
        json!({"demanded": true, "code": format!("{}-{}", &code[..4], &code[4..])})
    );

    let noise = asked.keys.noise.clone();
    let mut secret: [u8; 32] = rand::random();
    let answer = asked.request(&primary, &noise, &secret).await;
    assert_eq!(text(&answer, "type"), "result");
    let granted = Granted::arrived(asked.client, asked.scan).await;
    let verifies = |secret: &[u8; 32]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(granted.container.details.as_deref().unwrap());
        mac.verify_slice(granted.container.hmac.as_deref().unwrap()).is_ok()
    };
    assert!(verifies(&secret));
    secret[0] ^= 1;
    assert!(
        !verifies(&secret) && !verifies(&asked.keys.secret),
        "the picture's secret is no longer the link's"
    );
    let (last, (status, _)) = granted.answer(&asked.keys, false).await;
    assert_eq!((text(&last, "code").as_str(), status), ("515", 200));
    assert_eq!(log_in(addr, &asked.keys, NUMBER).await.1.tag, "success");
    simulator.shutdown().await;
}

#[tokio::test]
async fn an_assertion_that_proves_nothing_ends_the_link() {
    let (simulator, addr) = simulator().await;
    for (twist, reason) in [
        (Twist::Challenge, "another challenge"),
        (Twist::Origin, "another origin"),
        (Twist::RelyingParty, "another relying party"),
        (Twist::Unverified, "not verified its user"),
        (Twist::Signature, "signature is wrong"),
        (Twist::Credential, "another passkey"),
    ] {
        let mut asked = asked(addr).await;
        let reference = asked.reference.clone();
        let answer = asked.prologue(twist, &reference).await;
        asked.fails(&answer, reason).await;
    }
    let seen = until(addr, |seen| seen["pairing"] == json!(0)).await;
    assert_eq!((&seen["links"], &seen["linksRefused"]), (&json!(0), &json!(6)));
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_handshake_with_a_wrong_step_ends_the_link() {
    let (simulator, addr) = simulator().await;
    let mut one = asked(addr).await;
    let answer = one.prologue(Twist::Nothing, "2@other").await;
    one.fails(&answer, "another reference").await;

    let mut one = asked(addr).await;
    let reference = one.reference.clone();
    one.prologue(Twist::Nothing, &reference).await;
    one.primary().await;
    let answer = one
        .client
        .ask("md", "set", vec![part("companion_nonce", [7; 32])])
        .await;
    one.fails(&answer, "committed itself").await;

    let mut one = asked(addr).await;
    let reference = one.reference.clone();
    one.prologue(Twist::Nothing, &reference).await;
    let (primary, _) = one.primary().await;
    let noise = one.keys.noise.clone();
    let answer = one.request(&primary, &noise, &[7; 32]).await;
    one.fails(&answer, "before the nonce").await;

    for (foreign_noise, reason) in [(true, "another Noise key"), (false, "cannot be opened")] {
        let mut one = asked(addr).await;
        let reference = one.reference.clone();
        one.prologue(Twist::Nothing, &reference).await;
        let (mut primary, _) = one.primary().await;
        let nonce = one.nonce;
        one.client.ask("md", "set", vec![part("companion_nonce", nonce)]).await;
        let noise = if foreign_noise {
            crate::client::fresh_pair()
        } else {
            primary = public(&crate::client::fresh_pair()).try_into().unwrap();
            one.keys.noise.clone()
        };
        let answer = one.request(&primary, &noise, &[7; 32]).await;
        one.fails(&answer, reason).await;
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_client_that_leaves_instead_of_showing_a_passkey_is_named_as_the_reason() {
    let (simulator, addr) = simulator().await;
    let asked = asked(addr).await;
    drop(asked.client);
    let (status, told) = asked.scan.await.unwrap();
    assert!(
        status == 409 && told["error"].as_str().unwrap().contains("before it showed"),
        "{told}"
    );
    simulator.shutdown().await;
}

/// Nothing is fetched in these tests.
struct NoHttp;

#[async_trait::async_trait]
impl HttpClient for NoHttp {
    async fn execute(&self, request: HttpRequest) -> anyhow::Result<HttpResponse> {
        anyhow::bail!("unexpected request for {}", request.url)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_library_links_with_an_authenticator_and_shows_the_phones_code() {
    let (simulator, addr) = simulator().await;
    let passkey = passkey_of(addr, NUMBER).await;
    admin(
        addr,
        "POST",
        "/admin/fault",
        &json!({"kind": "passkey", "phone": NUMBER}).to_string(),
    )
    .await;
    let (handler, events) = ChannelEventHandler::new();
    let url = format!("ws://{addr}/ws/chat");
    let bot = Bot::builder()
        .with_backend_arc(Arc::new(InMemoryBackend::new()))
        .with_transport_factory(whatsapp_rust::transport::TokioWebSocketTransportFactory::new().with_url(&url))
        .with_http_client(NoHttp)
        .with_runtime(whatsapp_rust::TokioRuntime)
        .with_version((2, 3000, 1_027_000_000))
        .skip_history_sync()
        .build()
        .await
        .unwrap();
    let client = bot.client();
    client.subscribe_handler(handler).detach();
    client
        .set_passkey_authenticator(Arc::new(CallbackAuthenticator::new(move |request| {
            let passkey = passkey.clone();
            Box::pin(async move {
                let options = serde_json::from_str(&request.raw_options_json).unwrap();
                let (credential_id, assertion_json) = assert_passkey(&passkey, &options, Twist::Nothing);
                Ok(Assertion {
                    assertion_json,
                    credential_id,
                })
            })
        })))
        .await;
    let handle = bot.spawn();
    let mut scan = None;
    loop {
        let event = tokio::time::timeout(std::time::Duration::from_secs(20), events.recv());
        match &*event.await.expect("the link goes on").unwrap() {
            Event::PairingQrCode(shown) if scan.is_none() => {
                let (path, code) = (format!("/admin/mock-phone/scan-qr?phone={NUMBER}"), shown.code.clone());
                scan = Some(tokio::spawn(async move { admin(addr, "POST", &path, &code).await }));
            }
            Event::PairPasskeyConfirmation(confirmation) => {
                let (_, shown) = admin(addr, "GET", &format!("/admin/mock-phone/passkey?phone={NUMBER}"), "").await;
                assert_eq!(shown["code"], confirmation.code, "both show the same code");
                client.send_passkey_confirmation().await.unwrap();
            }
            Event::PairPasskeyError(error) => panic!("{error:?}"),
            Event::PairSuccess(_) => break,
            _ => {}
        }
    }
    let (status, linked) = scan.unwrap().await.unwrap();
    assert_eq!((status, &linked["device"]), (200, &json!(1)), "{linked}");
    until(addr, |seen| seen["logins"] == json!(1)).await;
    handle.shutdown().await;
    simulator.shutdown().await;
}
