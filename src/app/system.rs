//! Whether the process is well.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use crate::domain::error::Error;

/// Instances read at once while counting, so that a large installation is never whole in memory.
const PAGE: usize = 500;

/// The process is ready: the store answers.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Ready {
    /// Always `ready`; anything else is an error.
    pub status: &'static str,
    /// The running version.
    pub version: &'static str,
    /// How many instances stand where.
    pub instances: BTreeMap<&'static str, u64>,
}

/// Ready once the store answers, whatever the instances do.
pub fn ready(app: &App) -> Result<Ready, Error> {
    let mut instances = BTreeMap::new();
    let mut before = None;
    loop {
        let page = app.store.read(|view| view.instances(before, PAGE))?;
        for instance in &page {
            *instances.entry(instance.status.as_str()).or_default() += 1;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => before = Some(last.id),
            _ => break,
        }
    }
    Ok(Ready {
        status: "ready",
        version: env!("CARGO_PKG_VERSION"),
        instances,
    })
}
