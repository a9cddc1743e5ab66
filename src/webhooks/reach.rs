//! Whether a target can be reached at all, without sending it anything: the name, the connection, the certificate.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use url::Host;

use super::client;
use super::guard::{Policy, Refusal};
use crate::sys::clock;

/// Why a target was not reached.
#[derive(Debug, thiserror::Error)]
pub enum Unreached {
    /// The guard says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nobody accepts a connection there.
    #[error("{address} does not accept a connection: {source}")]
    Connection {
        /// The last address that was tried.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate, or what comes instead of one.
    #[error("no encrypted connection can be made: {0}")]
    Tls(std::io::Error),
    /// No encryption on our side.
    #[error(transparent)]
    Unusable(#[from] client::Unusable),
    /// Nothing came.
    #[error("no connection within {} s", .0.as_secs())]
    TimedOut(Duration),
}

/// Connects and hangs up; answers where.
pub async fn reach(policy: &Policy, target: &str, within: Duration) -> Result<IpAddr, Unreached> {
    clock::timeout(within, connect(policy, target))
        .await
        .unwrap_or(Err(Unreached::TimedOut(within)))
}

async fn connect(policy: &Policy, target: &str) -> Result<IpAddr, Unreached> {
    let url = policy.check_url(target)?;
    let plain = url.scheme() == "http";
    let port = url.port_or_known_default().unwrap_or(443);
    let (addresses, name) = match url.host() {
        Some(Host::Domain(name)) => (policy.resolve(name, plain).await?, name.to_owned()),
        Some(Host::Ipv4(ip)) => (vec![SocketAddr::new(ip.into(), 0)], ip.to_string()),
        Some(Host::Ipv6(ip)) => (vec![SocketAddr::new(ip.into(), 0)], ip.to_string()),
        None => return Err(Refusal::NotAnAddress.into()),
    };
    let mut last = Unreached::Refused(Refusal::Unresolved(name.clone()));
    for address in addresses.into_iter().map(|found| SocketAddr::new(found.ip(), port)) {
        match TcpStream::connect(address).await {
            Ok(stream) if plain => {
                drop(stream);
                return Ok(address.ip());
            }
            Ok(stream) => {
                let name = ServerName::try_from(name).map_err(|_| Refusal::NotAnAddress)?;
                let connector = TlsConnector::from(Arc::new(client::tls()?));
                connector.connect(name, stream).await.map_err(Unreached::Tls)?;
                return Ok(address.ip());
            }
            Err(source) => last = Unreached::Connection { address, source },
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn here() -> Policy {
        Policy {
            allow_private: vec!["127.0.0.0/8".parse().unwrap()],
            allow_http: false,
        }
    }

    #[tokio::test]
    async fn a_listener_is_reached_and_hears_nothing() {
        use tokio::io::AsyncReadExt as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?token=x", listener.local_addr().unwrap());
        let heard = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut all = Vec::new();
            socket.read_to_end(&mut all).await.unwrap();
            all
        });
        assert!(reach(&here(), &url, PATIENCE).await.unwrap().is_loopback());
        assert!(heard.await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_in_the_way_is_told_apart() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plain = format!("http://{address}/");
        let refused = reach(&Policy::default(), &plain, PATIENCE).await.unwrap_err();
        assert!(
            matches!(refused, Unreached::Refused(Refusal::Private { .. })),
            "{refused}"
        );
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                drop(socket);
            }
        });
        let broken = reach(&here(), &format!("https://{address}/"), PATIENCE)
            .await
            .unwrap_err();
        assert!(matches!(broken, Unreached::Tls(_)), "{broken}");
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", closed.local_addr().unwrap());
        drop(closed);
        let nobody = reach(&here(), &url, PATIENCE).await.unwrap_err();
        assert!(matches!(nobody, Unreached::Connection { .. }), "{nobody}");
    }
}
