//! How much is logged, while the gateway runs.

use schemars::JsonSchema;
use serde::Serialize;

use super::{App, audit};
use crate::domain::access::Caller;
use crate::domain::audit::{Action, Note};
use crate::domain::error::Error;
use crate::telemetry;

/// How much is logged. Levels alone: directives can open other programs' modules, and those write contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "LogLevelName")]
pub enum Level {
    /// What somebody must look at.
    Error,
    /// What may need a look.
    Warn,
    /// What happens.
    Info,
    /// Every request and what was decided.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// Every level, quietest first.
    pub const ALL: [Level; 5] = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];

    /// The level as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }

    /// Reads a level.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }
}

/// How much is logged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "LogLevel")]
pub struct Shown {
    /// `error`, `warn`, `info`, `debug` or `trace`; what the setting `log.level` says may be directives as well.
    pub level: String,
}

/// How much is logged now.
pub fn level() -> Shown {
    Shown {
        level: telemetry::level(),
    }
}

/// Changes it until the next start, or until the settings are read again.
pub async fn set_level(app: &App, caller: &Caller, level: Level) -> Result<Shown, Error> {
    let after = Shown {
        level: level.as_str().to_owned(),
    };
    let note = Note::by(caller, Action::SystemSetLogLevel);
    let note = note.changing(&audit::fields(&self::level()), &audit::fields(&after));
    app.store.write(move |tx| tx.audit(&note)).await?;
    telemetry::set_level(level.as_str()).map_err(Error::internal)?;
    Ok(after)
}
