//! What the owner has chosen for one instance.

use http::Method;
use schemars::JsonSchema;

use super::{Access, Answer, Code, Route, now, schema};
use crate::app::settings::{self, Patch, Shown};
use crate::app::{App, Change, instances};
use crate::domain::access::Scope;
use crate::domain::error::Error;
use crate::domain::instance::WhileDisconnected;
use crate::domain::webhook::{BACKOFF_LONGEST, BACKOFF_SECONDS};
use crate::http::call::Call;
use crate::http::fields::Fields;
use crate::http::reply::Reply;

const ERRORS: &[Code] = &[Code::InstanceNotFound, Code::InstanceAccessDenied];

/// The settings.
pub const GET: Route = Route {
    method: Method::GET,
    path: "/v1/instances/{id}/settings",
    id: "settings.get",
    summary: "The settings of an instance as they apply",
    access: Access::Scope(Scope::InstancesRead),
    query: &[],
    body: None,
    answer: Answer::Ok(schema::<Shown>),
    errors: ERRORS,
    handler: |app, call| now(get(&app, &call)),
};

/// A change.
pub const UPDATE: Route = Route {
    method: Method::PATCH,
    path: "/v1/instances/{id}/settings",
    id: "settings.update",
    summary: "Change settings of an instance; null brings a default back",
    access: Access::Scope(Scope::InstancesWrite),
    query: &[],
    body: Some(schema::<ChangedSettings>),
    answer: Answer::Ok(schema::<Shown>),
    errors: &[Code::InstanceNotFound, Code::InstanceAccessDenied, Code::StorageFull],
    handler: |app, call| Box::pin(update(app, call)),
};

/// What changes; what is left out stays, `null` brings the default back.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `patch` reads, for the document")]
struct ChangedSettings {
    /// Waits in seconds before the second and later attempts to deliver this instance's events to a webhook: at most
    /// ten, each up to a day. Six attempts in about 2 h 36 min by default: `[10,60,300,1800,7200]`. `[]` is one attempt.
    #[schemars(length(max = 10), inner(range(min = 1, max = 86400)))]
    callback_backoff: Option<Vec<u32>>,
    /// `reject` (default): a message is refused with `not_connected` unless the instance is connected. `queue`: while it is
    /// linked and `connecting` or `disconnected`, a message is accepted, kept on disk and sent in order once the
    /// connection is back. What has waited for 24 hours fails with the code `expired`, what waits when the link is
    /// removed with `unlinked`. An instance without a link, or one that has failed, refuses messages in both modes.
    send_while_disconnected: Option<WhileDisconnected>,
    /// Whether the account appears online to others while the instance is connected; `true` by default. With `false` the
    /// phone goes on ringing for new messages. Each new connection is announced by the client library first, so others
    /// may see the account online for a moment.
    mark_online: Option<bool>,
    /// Whether calls of single persons are rejected as soon as they ring; `false` by default. Calls of groups ring on.
    reject_calls: Option<bool>,
}

fn get(app: &App, call: &Call) -> Result<Reply, Error> {
    let id = instances::parse_id(call.parameter(0))?;
    Ok(Reply::ok(&settings::get(app, &call.caller, id)?))
}

async fn update(app: App, call: Call) -> Result<Reply, Error> {
    let patch = call.body(|fields| Some(patch(fields)))?;
    let id = instances::parse_id(call.parameter(0))?;
    Ok(Reply::ok(&settings::update(&app, &call.caller, id, patch).await?))
}

fn patch(fields: &mut Fields<'_>) -> Patch {
    let is_given = fields.is_given("send_while_disconnected");
    let send_while_disconnected = Change::given(is_given, while_disconnected(fields));
    let is_given = fields.is_given("callback_backoff");
    let waits = fields.numbers("callback_backoff", BACKOFF_LONGEST, 1..=u64::from(BACKOFF_SECONDS));
    let waits = waits.map(|waits| waits.into_iter().filter_map(|wait| u32::try_from(wait).ok()).collect());
    Patch {
        callback_backoff: Change::given(is_given, waits),
        send_while_disconnected,
        mark_online: flag(fields, "mark_online"),
        reject_calls: flag(fields, "reject_calls"),
    }
}

fn flag(fields: &mut Fields<'_>, name: &'static str) -> Change<bool> {
    let is_given = fields.is_given(name);
    Change::given(is_given, fields.flag(name))
}

fn while_disconnected(fields: &mut Fields<'_>) -> Option<WhileDisconnected> {
    const NAME: &str = "send_while_disconnected";
    let word = fields.text(NAME, 64)?;
    let read = WhileDisconnected::parse(&word);
    if read.is_none() {
        fields.refuse(NAME, "must be reject or queue");
    }
    read
}
