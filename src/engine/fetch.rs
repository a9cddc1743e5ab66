//! HTTP for the client library: media and the version page.
//!
//! A sandbox build skips WhatsApp's certificate check, so it may not be led to another machine by a link in a message
//! either: there, every URL must name this machine, and redirections are not followed. The simulator's TLS certificate
//! is its own, so a sandbox build does not ask who signed it.

use std::net::IpAddr;

use async_trait::async_trait;
use whatsapp_rust::http::{HttpClient, HttpRequest, HttpResponse, UreqHttpClient};

/// The library's HTTP client behind the sandbox's guard.
#[derive(Debug, Default)]
pub(super) struct Fetch {
    inner: UreqHttpClient,
}

impl Fetch {
    /// A client with the library's defaults: compiled-in roots, bounded bodies.
    #[cfg(not(feature = "sandbox"))]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client for the simulator's certificate.
    #[cfg(feature = "sandbox")]
    pub fn new() -> Self {
        let tls = ureq::tls::TlsConfig::builder().disable_verification(true).build();
        let config = ureq::Agent::config_builder().tls_config(tls).max_redirects(0).build();
        Self {
            inner: UreqHttpClient::with_agent(config.into()),
        }
    }
}

#[async_trait]
impl HttpClient for Fetch {
    async fn execute(&self, request: HttpRequest) -> anyhow::Result<HttpResponse> {
        anyhow::ensure!(may_fetch(&request.url), "a sandbox fetches from this machine alone");
        self.inner.execute(request).await
    }
}

fn may_fetch(url: &str) -> bool {
    if cfg!(not(feature = "sandbox")) {
        return true;
    }
    let Ok(uri) = url.parse::<http::Uri>() else {
        return false;
    };
    // A literal address alone: a name would be resolved again later, possibly to another answer.
    uri.host()
        .and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok())
        .is_some_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(all(test, feature = "sandbox"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sandbox_speaks_tls_with_a_certificate_of_the_simulators_own() {
        let simulator = whatsapp_simulator::Simulator::start(whatsapp_simulator::Options::default())
            .await
            .unwrap();
        let request = |path: &str| HttpRequest::get(format!("https://{}{path}", simulator.addr()));
        let reply = Fetch::new().execute(request("/admin/root-key")).await.unwrap();
        assert_eq!(reply.status_code, 200);
        let reply = Fetch::new().execute(request("/v/t62.7118-24/1_n.enc")).await.unwrap();
        assert_eq!(reply.status_code, 404, "a refusal is an answer, not a failure");
        simulator.shutdown().await;
    }

    #[tokio::test]
    async fn a_sandbox_is_not_led_away_by_a_redirection() {
        use tokio::io::AsyncWriteExt as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let answer = b"HTTP/1.1 302 Found\r\nlocation: http://192.0.2.1/x\r\ncontent-length: 0\r\n\r\n";
            socket.write_all(answer).await.unwrap();
        });
        let request = HttpRequest::get(format!("http://{address}/x"));
        assert_eq!(Fetch::new().execute(request).await.unwrap().status_code, 302);
    }

    #[test]
    fn a_sandbox_fetches_from_this_machine_alone() {
        assert!(may_fetch("https://127.0.0.1:8443/mms/image/x"));
        assert!(may_fetch("http://[::1]/x"));
        for url in [
            "https://mmg.whatsapp.net/x",
            "https://192.0.2.1/x",
            "https://localhost/x",
            "nonsense",
        ] {
            assert!(!may_fetch(url), "{url}");
        }
    }
}
