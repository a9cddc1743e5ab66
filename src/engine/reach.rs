//! Whether WhatsApp can be reached from here, step by step, without logging in anywhere.
//!
//! The steps are those of a session's connection (`dialer`), with the same names, addresses, roots and guard; but
//! where a session wants to get through, this wants to know what is in the way.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;
use whatsapp_rust::wacore::net::WHATSAPP_WEB_ORIGIN;

use super::dialer::{Target, may_dial};
use super::tls;
use crate::domain::Timestamp;
use crate::sys::clock::{self, Moment};

/// Where WhatsApp's media lie; which of several names is used, a login tells.
pub const MEDIA: &str = "https://mmg.whatsapp.net/";

/// One step may take this long …
const STEP_WITHIN: Duration = Duration::from_secs(5);

/// … and all of them together this long.
const ALL_WITHIN: Duration = Duration::from_secs(9);

/// How a step went: what was found, or in plain words what was in the way.
pub type Step<T> = Option<Result<T, String>>;

/// What was found; a step behind one that failed is `None`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Findings {
    /// The host's name.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The addresses behind the name.
    pub names: Step<Vec<IpAddr>>,
    /// Over which address of IPv4 a connection was made.
    pub v4: Step<IpAddr>,
    /// The same of IPv6.
    pub v6: Step<IpAddr>,
    /// The protocol of the encryption, and whose certificate is checked.
    pub encrypted: Step<String>,
    /// The status of the answer; 101 is a WebSocket.
    pub answered: Step<u16>,
    /// The other side's time and ours when its answer came.
    pub date: Option<(Timestamp, Timestamp)>,
}

/// Whether the setting `whatsapp.url` names the real WhatsApp.
pub fn is_whatsapp(url: &str) -> bool {
    Target::parse(url).is_ok_and(|target| target.is_whatsapp())
}

/// Dials the WebSocket of the setting `whatsapp.url`.
pub async fn websocket(url: &str) -> Findings {
    let target = match Target::parse(url) {
        Ok(target) => target,
        Err(trouble) => {
            return Findings {
                names: Some(Err(trouble.message.into_owned())),
                ..Findings::default()
            };
        }
    };
    let path = target.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    look(target.host(), target.port, target.tls, |host| {
        Request::builder()
            .method(Method::GET)
            .uri(path)
            .header(header::HOST, host)
            .header(header::ORIGIN, WHATSAPP_WEB_ORIGIN)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(
                header::SEC_WEBSOCKET_KEY,
                BASE64_STANDARD.encode(rand::random::<[u8; 16]>()),
            )
    })
    .await
}

/// Dials the host that keeps media.
pub async fn media() -> Findings {
    let host = MEDIA.trim_start_matches("https://").trim_end_matches('/');
    look(host, 443, true, |host| {
        Request::builder()
            .method(Method::HEAD)
            .uri("/")
            .header(header::HOST, host)
    })
    .await
}

async fn look(
    host: &str,
    port: u16,
    encrypted: bool,
    request: impl FnOnce(&str) -> http::request::Builder,
) -> Findings {
    let until = clock::moment().plus(ALL_WITHIN);
    let mut found = Findings {
        host: host.to_owned(),
        port,
        ..Findings::default()
    };
    let resolved = step(until, tokio::net::lookup_host((host, port))).await;
    let addresses: Vec<SocketAddr> = match resolved {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            found.names = Some(Err(resolver_words(&error)));
            return found;
        }
    };
    let ips: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
    found.names = Some(if ips.is_empty() {
        Err("the name has no address".to_owned())
    } else {
        Ok(ips)
    });
    let (v4, v6): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses.iter().partition(|address| address.is_ipv4());
    let (v4, v6) = tokio::join!(connect(&v4, encrypted, until), connect(&v6, encrypted, until));
    let mut stream = None;
    // A session takes whichever connects; IPv4 is looked through, because it is there more often.
    for (connected, of) in [(v6, &mut found.v6), (v4, &mut found.v4)] {
        *of = connected.map(|connected| {
            connected.map(|(ip, opened)| {
                stream = Some(opened);
                ip
            })
        });
    }
    let Some(stream) = stream else { return found };
    let request = request(host).body(Empty::<Bytes>::new());
    let Ok(request) = request else {
        found.answered = Some(Err("the address cannot be asked for".to_owned()));
        return found;
    };
    let answered = if encrypted {
        let shaken = match step(until, handshake(host, stream)).await {
            Ok(stream) => stream,
            Err(error) => {
                found.encrypted = Some(Err(words(&error, tls::detail)));
                return found;
            }
        };
        let version = shaken.get_ref().1.protocol_version();
        found.encrypted = Some(Ok(version.map_or_else(
            || "TLS".to_owned(),
            |version| format!("{version:?}").replace("TLSv1_", "TLS 1."),
        )));
        step(until, ask(shaken, request)).await
    } else {
        step(until, ask(stream, request)).await
    };
    found.answered = Some(match answered {
        Ok((status, headers)) => {
            let date = headers.get(header::DATE).and_then(|date| date.to_str().ok());
            found.date = date.and_then(Timestamp::of_http_date).map(|date| (date, clock::now()));
            Ok(status)
        }
        Err(error) => Err(words(&error, |_| {
            "the other side hung up instead of answering as a web server does".to_owned()
        })),
    });
    found
}

/// Runs a step for as long as there is time.
async fn step<T>(until: Moment, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let left = until.since(clock::moment()).min(STEP_WITHIN);
    clock::timeout(left, future)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The first of these addresses that accepts; `None` when there is none to try.
async fn connect(addresses: &[SocketAddr], encrypted: bool, until: Moment) -> Step<(IpAddr, TcpStream)> {
    let mut outcome = None;
    for address in addresses {
        if !may_dial(address.ip(), encrypted) {
            outcome = Some(Err(if cfg!(feature = "sandbox") {
                "a sandbox may connect to this machine alone".to_owned()
            } else {
                "without TLS only this machine may be dialled; use a wss:// address in whatsapp.url".to_owned()
            }));
            continue;
        }
        match step(until, TcpStream::connect(address)).await {
            Ok(stream) => return Some(Ok((address.ip(), stream))),
            Err(error) => outcome = Some(Err(words(&error, connection_words))),
        }
    }
    outcome
}

async fn handshake(host: &str, stream: TcpStream) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connector = tls::connector().map_err(|trouble| io::Error::other(trouble.message.into_owned()))?;
    connector.connect(name, stream).await
}

async fn ask<S>(stream: S, request: Request<Empty<Bytes>>) -> io::Result<(u16, HeaderMap)>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Ends with the answer: nothing is sent behind it.
    tokio::spawn(connection.with_upgrades());
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    Ok((answer.status().as_u16(), answer.headers().clone()))
}

/// What was in the way, with what every step has in common said here.
fn words(error: &io::Error, otherwise: impl FnOnce(&io::Error) -> String) -> String {
    if error.kind() == io::ErrorKind::TimedOut {
        return "no answer in time".to_owned();
    }
    otherwise(error)
}

fn connection_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "the connection is refused".to_owned(),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => "there is no route".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => "the connection broke off".to_owned(),
        _ => error.to_string(),
    }
}

/// What the resolver says, which differs between systems, in words that do not.
fn resolver_words(error: &io::Error) -> String {
    let text = error.to_string();
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    if error.kind() == io::ErrorKind::TimedOut || has(&["Temporary failure", "Try again"]) {
        "no name server answers".to_owned()
    } else if has(&["not known", "does not resolve", "No address", "no address"]) {
        "the name servers say that there is no such name".to_owned()
    } else {
        text.rsplit(": ").next().unwrap_or(&text).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Answers one connection with this.
    async fn answering(with: &'static str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4096];
            let _ = socket.read(&mut asked).await;
            socket.write_all(with.as_bytes()).await.unwrap();
        });
        format!("ws://{address}/ws/chat")
    }

    #[tokio::test]
    async fn an_answer_is_told_with_its_status_and_its_date() {
        let url = answering(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n",
        )
        .await;
        let found = websocket(&url).await;
        assert_eq!(found.answered, Some(Ok(101)));
        assert_eq!(found.date.unwrap().0, Timestamp::from_seconds(784_111_777));
        assert!(found.encrypted.is_none() && found.v6.is_none() && found.v4.is_some());
        let found = websocket(&answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await).await;
        assert_eq!((found.answered, found.date), (Some(Ok(200)), None));
    }

    #[tokio::test]
    async fn each_step_that_fails_is_the_last_one() {
        let found = websocket("wss://does-not-exist.invalid/ws/chat").await;
        assert!(matches!(found.names, Some(Err(_))) && found.v4.is_none(), "{found:?}");
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", closed.local_addr().unwrap());
        drop(closed);
        let found = websocket(&url).await;
        assert_eq!(found.v4, Some(Err("the connection is refused".to_owned())));
        assert!(found.answered.is_none());
        let found = websocket(&answering("").await).await;
        assert!(matches!(found.answered, Some(Err(_))), "{found:?}");
        let plain = answering("HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .replace("ws://", "wss://");
        let found = websocket(&plain).await;
        assert!(
            matches!(found.encrypted, Some(Err(_))) && found.answered.is_none(),
            "{found:?}"
        );
        assert!(matches!(websocket("nonsense").await.names, Some(Err(_))));
    }

    #[test]
    fn resolvers_of_different_systems_are_understood() {
        for (said, expected) in [
            (
                "failed to lookup address information: Name or service not known",
                "no such name",
            ),
            (
                "failed to lookup address information: Name does not resolve",
                "no such name",
            ),
            (
                "failed to lookup address information: Temporary failure in name resolution",
                "no name server",
            ),
            ("failed to lookup address information: Try again", "no name server"),
            ("failed to lookup address information: System error", "System error"),
        ] {
            assert!(resolver_words(&io::Error::other(said)).contains(expected), "{said}");
        }
    }
}
