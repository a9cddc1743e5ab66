//! Which WhatsApp Web version we claim to be.
//!
//! WhatsApp refuses versions that are too old. The library would fetch the current one before each connection and
//! fail the connection when that fails; here it is asked for in the background, and never waited for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use whatsapp_rust::http::{HttpClient, HttpRequest};

use crate::sys::clock;

/// Primary, secondary and tertiary number.
pub(super) type Version = (u32, u32, u32);

/// The version that whatsapp-rust 0.7.0 ships as its default (`wacore::store::Device`), the newest known at build.
const BUILT_IN: Version = (2, 3000, 1_042_742_319);

/// WhatsApp Web's service worker names the current version.
const SOURCE: &str = "https://web.whatsapp.com/sw.js";

/// How long asking may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(20);

/// How often the version is asked for.
const REFRESH_EVERY: Duration = Duration::from_hours(12);

/// The version in use; shared by all sessions.
#[derive(Clone)]
pub(super) struct VersionSource {
    current: Arc<Mutex<Version>>,
    client: Arc<dyn HttpClient>,
    /// Against a simulator there is nothing to ask.
    may_ask: bool,
}

impl VersionSource {
    /// Starts with the built-in version.
    pub fn new(client: Arc<dyn HttpClient>, may_ask: bool) -> Self {
        Self {
            current: Arc::new(Mutex::new(BUILT_IN)),
            client,
            may_ask: may_ask && cfg!(not(feature = "sandbox")),
        }
    }

    /// The newest version known.
    pub fn current(&self) -> Version {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks WhatsApp once; answers whether a newer version is known now.
    pub async fn refresh(&self) -> bool {
        if !self.may_ask {
            return false;
        }
        if let Ok(Some(version)) = clock::timeout(FETCH_TIMEOUT, self.fetch()).await {
            return self.offer(version);
        }
        tracing::warn!("WhatsApp's current web version could not be fetched; the known one stays in use");
        false
    }

    /// Keeps the version fresh for as long as the process runs.
    pub async fn keep_fresh(self) {
        if !self.may_ask {
            return;
        }
        loop {
            self.refresh().await;
            clock::sleep(REFRESH_EVERY).await;
        }
    }

    async fn fetch(&self) -> Option<Version> {
        let request = HttpRequest::get(SOURCE)
            .with_header("sec-fetch-site", "none")
            .with_header(
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
            );
        let response = self.client.execute(request).await.ok()?;
        if response.status_code != 200 {
            return None;
        }
        whatsapp_rust::version::parse_sw_js(&response.body_string().ok()?)
    }

    /// Takes a version if it is newer: a cached page must not take us back.
    fn offer(&self, version: Version) -> bool {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = version > *current;
        if newer {
            tracing::info!(version = ?version, "a newer WhatsApp Web version is used from now on");
            *current = version;
        }
        newer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fetch::Fetch;

    #[tokio::test]
    async fn a_version_never_goes_back_and_a_simulator_is_never_asked() {
        let source = VersionSource::new(Arc::new(Fetch::new()), false);
        assert!(!source.refresh().await);
        assert!(source.offer((2, 3000, BUILT_IN.2 + 1)));
        assert!(!source.offer(BUILT_IN));
        assert_eq!(source.current(), (2, 3000, BUILT_IN.2 + 1));
    }
}
