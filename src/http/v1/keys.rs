//! API keys.

use http::Method;
use schemars::JsonSchema;

use super::{Access, Answer, Code, PAGING, Route, now, schema};
use crate::app::keys::{Created, Draft, Mode, NAME_CHARACTERS, Shown, parse_id};
use crate::app::{App, Page, instances};
use crate::domain::Timestamp;
use crate::domain::access::Scope;
use crate::domain::error::Error;
use crate::domain::id::{InstanceId, KeyId};
use crate::http::call::Call;
use crate::http::fields::Fields;
use crate::http::reply::Reply;

/// Active keys.
pub const LIST: Route = Route {
    method: Method::GET,
    path: "/v1/api-keys",
    id: "keys.list",
    summary: "Active API keys, newest first, without their secrets",
    access: Access::Scope(Scope::KeysRead),
    query: PAGING,
    body: None,
    answer: Answer::Ok(schema::<Page<Shown>>),
    errors: &[Code::InstanceScopedKey],
    handler: |app, call| now(list(&app, &call)),
};

/// A new key.
pub const CREATE: Route = Route {
    method: Method::POST,
    path: "/v1/api-keys",
    id: "keys.create",
    summary: "Make an API key; its secret is shown in this answer and never again",
    access: Access::Scope(Scope::KeysWrite),
    query: &[],
    body: Some(schema::<NewKey>),
    answer: Answer::Created(schema::<Created>),
    errors: &[Code::InstanceScopedKey, Code::InstanceNotFound, Code::StorageFull],
    handler: |app, call| Box::pin(create(app, call)),
};

/// The end of a key.
pub const REVOKE: Route = Route {
    method: Method::DELETE,
    path: "/v1/api-keys/{id}",
    id: "keys.revoke",
    summary: "Revoke an API key at once; its open streams end",
    access: Access::Scope(Scope::KeysWrite),
    query: &[],
    body: None,
    answer: Answer::Deleted,
    errors: &[Code::InstanceScopedKey, Code::KeyNotFound, Code::StorageFull],
    handler: |app, call| Box::pin(revoke(app, call)),
};

/// A key that is wanted.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `draft` reads, for the document")]
struct NewKey {
    /// For people.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// Binds the key to one instance.
    instance_id: Option<InstanceId>,
    /// What it may do; everything when left out.
    #[schemars(length(min = 1))]
    scopes: Option<Vec<Scope>>,
    /// When it stops working.
    expires_at: Option<Timestamp>,
    /// Which prefix it gets; both kinds work alike.
    mode: Option<Mode>,
}

fn list(app: &App, call: &Call) -> Result<Reply, Error> {
    let (before, limit) = call.page(KeyId::parse)?;
    Ok(Reply::ok(&app.keys.list(&call.caller, before, limit)?))
}

async fn create(app: App, call: Call) -> Result<Reply, Error> {
    let (draft, instance) = call.body(draft)?;
    let instance_id = instance.as_deref().map(instances::parse_id).transpose()?;
    let created = app.keys.create(&call.caller, Draft { instance_id, ..draft }).await?;
    Ok(Reply::created(&format!("/v1/api-keys/{}", created.key.id), &created))
}

/// Reads a draft, with the instance's id beside it: an unknown one is 404, not a problem of the field.
fn draft(fields: &mut Fields<'_>) -> Option<(Draft, Option<String>)> {
    let name = fields.required("name", |fields, name| fields.word(name, NAME_CHARACTERS));
    let instance = fields.text("instance_id", 64);
    let scopes = fields.list("scopes", 64, |text| {
        Scope::parse(text).ok_or_else(|| {
            let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
            format!("is no scope; there are: {}", known.join(", "))
        })
    });
    let expires_at = fields.time("expires_at");
    let mode = fields.text("mode", 16).and_then(|text| {
        let mode = Mode::parse(&text);
        if mode.is_none() {
            fields.refuse("mode", "must be live or test");
        }
        mode
    });
    let draft = Draft {
        name: name?,
        instance_id: None,
        scopes,
        expires_at,
        mode: mode.unwrap_or_default(),
    };
    Some((draft, instance))
}

async fn revoke(app: App, call: Call) -> Result<Reply, Error> {
    app.keys.revoke(&call.caller, parse_id(call.parameter(0))?).await?;
    Ok(Reply::deleted())
}
