//! `config show` and `config check`.

use serde_json::json;

use super::arguments::Config;
use super::context::Context;
use super::failure::Failure;
use crate::config::{commented_toml, exposure};

pub(super) fn run(context: &Context, command: &Config) -> Result<(), Failure> {
    for warning in &context.loaded.warnings {
        context.output.note(&format!("warning: {warning}"));
    }
    match command {
        Config::Show if context.output.json => {
            let config = serde_json::to_value(context.config())
                .map_err(|error| Failure::Failed(format!("the settings cannot be shown: {error}")))?;
            context.output.line(&format!("{config:#}"))
        }
        Config::Show => context.output.line(commented_toml(&context.loaded).trim_end()),
        // Whoever gets here has settings that were read and checked. A flag that `serve` alone has is unknown here.
        Config::Check => {
            if let Some(refusal) = exposure(context.config()) {
                return Err(Failure::Usage(format!(
                    "`serve` would refuse these settings unless its own command line says more. {refusal}"
                )));
            }
            let outcome = json!({"valid": true, "warnings": context.loaded.warnings});
            context.output.value(&outcome, |_| "the settings can be used".into())
        }
    }
}
