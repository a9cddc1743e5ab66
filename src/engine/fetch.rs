//! HTTP for the client library: media and the version page.
//!
//! A sandbox build skips WhatsApp's certificate check, so it may not be led to another machine by a link in a message
//! either: there, every URL must name this machine.

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
    pub fn new() -> Self {
        Self::default()
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
