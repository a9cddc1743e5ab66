//! From the settings to what each room wants to know, at start and when the settings are read again.

use std::time::Duration;

use ipnet::IpNet;

use super::failure::Failure;
use super::state::State;
use crate::config::{Config, LogFormat};
use crate::domain::webhook::{KEPT_AFTER_SUCCESS, KEPT_OTHERWISE};
use crate::store::SweepLimits;
use crate::telemetry::{self, Format};
use crate::webhooks::guard::Policy;
use crate::webhooks::secrets::SecretBox;
use crate::{app, engine, http, webhooks};

const DAY: Duration = Duration::from_hours(24);
/// How many days the state of a settled message can be asked for.
const LOG_DAYS: u32 = 30;

/// What log lines look like.
pub(super) const fn log_format(config: &Config) -> telemetry::Format {
    match config.log.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
        LogFormat::Journal => Format::Journal,
    }
}

/// How sessions are run.
pub(super) fn engine(config: &Config) -> engine::Options {
    let whatsapp = &config.whatsapp;
    engine::Options {
        url: whatsapp.url.clone(),
        device_name: whatsapp.device_name.clone(),
        connect_timeout: Duration::from_secs(whatsapp.connect_timeout_seconds.into()),
        ack_timeout: Duration::from_secs(whatsapp.ack_timeout_seconds.into()),
        max_sessions: config.limits.max_instances as usize,
    }
}

/// How webhooks are sent.
pub(super) fn webhooks(config: &Config, state: &State) -> Result<webhooks::Options, Failure> {
    Ok(webhooks::Options {
        policy: webhook_policy(config)?,
        timeout: webhook_timeout(config),
        secrets: SecretBox::new(state.secrets_key.bytes()),
    })
}

/// Which addresses webhooks may call.
pub(super) fn webhook_policy(config: &Config) -> Result<Policy, Failure> {
    let settings = &config.webhooks;
    let allow_private: Result<Vec<IpNet>, _> = settings.allow_private.iter().map(|network| network.parse()).collect();
    Ok(Policy {
        allow_private: allow_private
            .map_err(|_| Failure::Usage("webhooks.allow_private must name networks such as 192.168.1.0/24".into()))?,
        allow_http: settings.allow_http,
    })
}

/// How long a receiver may take.
pub(super) fn webhook_timeout(config: &Config) -> Duration {
    Duration::from_secs(config.webhooks.timeout_seconds.into())
}

/// How the site behaves.
pub(super) fn site(config: &Config, page: &str) -> http::Options {
    http::Options {
        cors_origins: cors_origins(config).into(),
        page: page.to_owned(),
        behind_proxy: config.behind_proxy,
        max_connections: config.limits.max_connections as usize,
        #[cfg(feature = "sandbox")]
        simulator: None,
    }
}

/// The origins as the site wants them: no names are all names.
pub(super) fn cors_origins(config: &Config) -> Vec<String> {
    let origins = &config.cors.origins;
    if origins.iter().any(|origin| origin == "*") {
        Vec::new()
    } else {
        origins.clone()
    }
}

/// What the use cases are told.
pub(super) fn app(config: &Config, state: &State) -> app::Options {
    let limits = &config.limits;
    app::Options {
        pepper: *state.pepper.bytes(),
        secrets_key: *state.secrets_key.bytes(),
        burst: limits.burst,
        per_second: limits.per_second,
        max_streams_per_key: limits.max_streams_per_key,
        told_limits: told_limits(config),
    }
}

/// What `GET /v1/system` says of retention and limits.
pub(super) fn told_limits(config: &Config) -> app::system::Limits {
    let limits = &config.limits;
    app::system::Limits {
        journal_max_age_days: config.journal.max_age_days,
        journal_max_bytes: config.journal.max_bytes,
        messages_days: LOG_DAYS,
        deliveries_days_after_success: days(KEPT_AFTER_SUCCESS),
        deliveries_days_otherwise: days(KEPT_OTHERWISE),
        audit_max_age_days: config.audit.max_age_days,
        audit_max_rows: config.audit.max_rows,
        max_instances: limits.max_instances,
        max_streams_per_key: limits.max_streams_per_key,
    }
}

/// What is too old or too much.
pub(super) fn sweep(config: &Config) -> SweepLimits {
    SweepLimits {
        journal_age: DAY * config.journal.max_age_days,
        journal_bytes: config.journal.max_bytes,
        log_age: DAY * LOG_DAYS,
        audit_age: DAY * config.audit.max_age_days,
        audit_rows: config.audit.max_rows,
    }
}

fn days(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs() / DAY.as_secs()).unwrap_or(u32::MAX)
}
