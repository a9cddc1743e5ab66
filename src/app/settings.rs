//! What the owner has chosen for one instance.

use schemars::JsonSchema;
use serde::Serialize;

use super::{App, Change, audit, instances};
use crate::domain::access::{Caller, Scope};
use crate::domain::audit::{Action, Note, Target};
use crate::domain::error::Error;
use crate::domain::id::InstanceId;
use crate::domain::instance::{Settings, WhileDisconnected};
use crate::domain::webhook::backoff_problem;
use crate::sys::clock;

/// The settings as callers see them: what applies, chosen or not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "InstanceSettings")]
pub struct Shown {
    /// Waits in seconds before the second and later attempts to deliver this instance's events to a webhook.
    pub callback_backoff: Vec<u32>,
    /// What becomes of messages while the instance is linked and not connected.
    pub send_while_disconnected: WhileDisconnected,
    /// Whether the account appears online while the instance is connected.
    pub mark_online: bool,
    /// Whether calls of single persons are rejected.
    pub reject_calls: bool,
}

impl Shown {
    fn of(settings: &Settings) -> Self {
        Self {
            callback_backoff: settings.backoff().to_vec(),
            send_while_disconnected: settings.send_while_disconnected.unwrap_or_default(),
            mark_online: settings.marks_online(),
            reject_calls: settings.reject_calls.unwrap_or_default(),
        }
    }
}

/// A change.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Patch {
    /// Waits in seconds.
    pub callback_backoff: Change<Vec<u32>>,
    /// What becomes of messages without a connection; those that wait already are not touched.
    pub send_while_disconnected: Change<WhileDisconnected>,
    /// Whether the account appears online.
    pub mark_online: Change<bool>,
    /// Whether calls are rejected.
    pub reject_calls: Change<bool>,
}

/// The settings of an instance.
pub fn get(app: &App, caller: &Caller, id: InstanceId) -> Result<Shown, Error> {
    caller.require(Scope::InstancesRead)?;
    Ok(Shown::of(&instances::visible(app, caller, id)?.settings))
}

/// Changes settings; deliveries that wait already keep the time they were given.
pub async fn update(app: &App, caller: &Caller, id: InstanceId, patch: Patch) -> Result<Shown, Error> {
    caller.require(Scope::InstancesWrite)?;
    instances::visible(app, caller, id)?;
    if let Change::To(waits) = &patch.callback_backoff
        && let Some(problem) = backoff_problem(waits)
    {
        return Err(Error::invalid("body.callback_backoff", problem));
    }
    let note = Note::by(caller, Action::SettingsUpdate);
    let presence = patch.mark_online != Change::Keep;
    let settings = app
        .store
        .write(move |tx| {
            let mut instance = instances::existing(tx.instance(id)?)?;
            let before = Shown::of(&instance.settings);
            let settings = &mut instance.settings;
            patch.callback_backoff.apply(&mut settings.callback_backoff);
            patch
                .send_while_disconnected
                .apply(&mut settings.send_while_disconnected);
            patch.mark_online.apply(&mut settings.mark_online);
            patch.reject_calls.apply(&mut settings.reject_calls);
            instance.updated_at = clock::now();
            tx.put_instance(&instance)?;
            let after = Shown::of(&instance.settings);
            if before != after {
                let note = note.clone().on(Target::instance(id, &instance.name));
                tx.audit(&note.changing(&audit::fields(&before), &audit::fields(&after)))?;
            }
            Ok(instance.settings)
        })
        .await?;
    if presence {
        app.engine.heed_settings(id).await;
    }
    Ok(Shown::of(&settings))
}
