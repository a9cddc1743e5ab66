//! SIGHUP: reads the settings again and takes over what can change while everything runs on.
//!
//! No session, stream or request is dropped for it. Settings that cannot be used are refused as a whole, with the
//! reason, and everything stays as it was.

use std::time::Duration;

use super::context::Context;
use super::options;
use crate::app::App;
use crate::config::{Config, changes, exposure};
use crate::store::SweepLimits;
use crate::sys::clock;
use crate::sys::current::Current;
use crate::telemetry;
use crate::webhooks::Client;

/// How long that may take; only the password waits for the store.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(5);

/// Has no meaning after the first start, so that its change is no news.
const FIRST_START_ONLY: &str = "bootstrap_key";

/// Takes changed settings to the rooms that they concern.
pub(super) struct Reloader<'a> {
    pub(super) context: &'a Context,
    /// The settings that count.
    pub(super) running: Config,
    pub(super) app: App,
    pub(super) cors_origins: Current<Vec<String>>,
    pub(super) sweep: Current<SweepLimits>,
}

impl Reloader<'_> {
    /// Reads, checks, takes over, tells.
    pub(super) async fn reload(&mut self) {
        let before = self.running.clone();
        // A store that hangs must not keep a signal that ends the program waiting.
        let taken = clock::timeout(TAKEN_OVER_WITHIN, self.take_over()).await;
        let new = match taken.unwrap_or_else(|_| Err("the store does not answer".to_owned())) {
            Ok(new) => new,
            Err(reason) => {
                tracing::error!(
                    reason,
                    "the settings were read again and refused; everything stays as it was"
                );
                return;
            }
        };
        let done = changes(&before, &self.running);
        for change in &done {
            tracing::info!(
                setting = change.path,
                from = change.from,
                to = change.to,
                "a setting changed"
            );
        }
        for change in changes(&self.running, &new) {
            if change.path != FIRST_START_ONLY {
                tracing::warn!(
                    setting = change.path,
                    from = change.from,
                    to = change.to,
                    "a setting changed that counts from the next start on; restart for it"
                );
            }
        }
        tracing::info!(changed = done.len(), "the settings were read again");
    }

    /// First all that can fail, then all that cannot.
    async fn take_over(&mut self) -> Result<Config, String> {
        let loaded = self.context.read_again().map_err(|error| error.to_string())?;
        let new = loaded.config;
        if let Some(refusal) = exposure(&new) {
            return Err(refusal);
        }
        let policy = options::webhook_policy(&new).map_err(|failure| failure.to_string())?;
        let client = Client::new(policy, options::webhook_timeout(&new)).map_err(|error| error.to_string())?;
        let password = &new.dashboard.password;
        if *password != self.running.dashboard.password
            && let Some(password) = password
        {
            let configured = self.app.sessions.configure_password(password).await;
            if configured.map_err(|error| error.to_string())? {
                tracing::info!("all sign-ins have ended, because dashboard.password is another one now");
            }
            self.running.dashboard.password = Some(password.clone());
        }
        // Back to the setting, also from a level that was chosen since.
        let chosen = telemetry::level();
        telemetry::set_level(&new.log.level).map_err(|error| error.to_string())?;
        if chosen != self.running.log.level {
            tracing::info!(
                from = chosen,
                to = new.log.level,
                "the log level is the one of the settings again"
            );
        }
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }

        self.app.webhooks.use_client(client);
        let limits = &new.limits;
        self.app.limits.set(limits.burst, limits.per_second);
        self.app.streams.set_max_per_key(limits.max_streams_per_key);
        self.cors_origins.set(options::cors_origins(&new));
        self.sweep.set(options::sweep(&new));

        let running = &mut self.running;
        running.log.level.clone_from(&new.log.level);
        running.limits.burst = limits.burst;
        running.limits.per_second = limits.per_second;
        running.limits.max_streams_per_key = limits.max_streams_per_key;
        running.cors = new.cors.clone();
        running.journal = new.journal.clone();
        running.audit = new.audit.clone();
        running.webhooks = new.webhooks.clone();
        self.app.told_limits.set(options::told_limits(running));
        Ok(new)
    }
}
