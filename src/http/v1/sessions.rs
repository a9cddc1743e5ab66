//! The dashboard's password and its sign-ins.

use http::header::SET_COOKIE;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Access, Answer, Code, PAGING, Route, now, schema};
use crate::app::sessions::{SetupToken, Shown, SignedIn, State, Visitor, parse_id};
use crate::app::{App, Page};
use crate::domain::Timestamp;
use crate::domain::access::{LONGEST_PASSWORD, Scope};
use crate::domain::error::Error;
use crate::domain::id::LoginId;
use crate::http::call::Call;
use crate::http::reply::Reply;
use crate::http::session;

/// How the dashboard stands.
pub const GET: Route = Route {
    method: Method::GET,
    path: "/v1/session",
    id: "session.get",
    summary: "Whether the dashboard has a password, and who you are there by your cookie",
    access: Access::Page,
    query: &[],
    body: None,
    answer: Answer::Ok(schema::<State>),
    errors: &[],
    handler: |app, call| now(get(&app, &call)),
};

/// The first password.
pub const SET_UP: Route = Route {
    method: Method::POST,
    path: "/v1/setup",
    id: "session.set_up",
    summary: "Set the dashboard's first password with the token of the one-time link, and sign in",
    access: Access::Page,
    query: &[],
    body: Some(schema::<SetUp>),
    answer: Answer::Created(schema::<Shown>),
    errors: &[
        Code::AuthInvalid,
        Code::InvalidLifecycleTransition,
        Code::RateLimited,
        Code::AtCapacity,
        Code::StorageFull,
    ],
    handler: |app, call| Box::pin(set_up(app, call)),
};

/// A sign-in.
pub const CREATE: Route = Route {
    method: Method::POST,
    path: "/v1/session",
    id: "session.create",
    summary: "Sign in to the dashboard; the cookie counts on requests of its own page only",
    access: Access::Page,
    query: &[],
    body: Some(schema::<SignIn>),
    answer: Answer::Created(schema::<Shown>),
    errors: &[
        Code::AuthInvalid,
        Code::InvalidLifecycleTransition,
        Code::RateLimited,
        Code::AtCapacity,
        Code::StorageFull,
    ],
    handler: |app, call| Box::pin(create(app, call)),
};

/// Its end.
pub const DELETE: Route = Route {
    method: Method::DELETE,
    path: "/v1/session",
    id: "session.delete",
    summary: "Sign out; open streams of this sign-in end",
    access: Access::Login,
    query: &[],
    body: None,
    answer: Answer::Deleted,
    errors: &[Code::NotFound, Code::StorageFull],
    handler: |app, call| Box::pin(delete(app, call)),
};

/// Everybody signed in.
pub const LIST: Route = Route {
    method: Method::GET,
    path: "/v1/sessions",
    id: "sessions.list",
    summary: "Who is signed in to the dashboard, newest first",
    access: Access::Scope(Scope::KeysRead),
    query: PAGING,
    body: None,
    answer: Answer::Ok(schema::<Page<Shown>>),
    errors: &[Code::InstanceScopedKey],
    handler: |app, call| now(list(&app, &call)),
};

/// The end of one.
pub const END: Route = Route {
    method: Method::DELETE,
    path: "/v1/sessions/{id}",
    id: "sessions.end",
    summary: "End a sign-in at once; its open streams end",
    access: Access::Scope(Scope::KeysWrite),
    query: &[],
    body: None,
    answer: Answer::Deleted,
    errors: &[Code::InstanceScopedKey, Code::NotFound, Code::StorageFull],
    handler: |app, call| Box::pin(end(app, call)),
};

/// The end of all others.
pub const END_OTHERS: Route = Route {
    path: "/v1/sessions",
    id: "sessions.end_others",
    summary: "End every sign-in but your own",
    errors: &[Code::InstanceScopedKey, Code::StorageFull],
    handler: |app, call| Box::pin(end_others(app, call)),
    ..END
};

/// Another password.
pub const CHANGE_PASSWORD: Route = Route {
    method: Method::PUT,
    path: "/v1/password",
    id: "password.change",
    summary: "Change the dashboard's password; all other sign-ins end",
    access: Access::Login,
    query: &[],
    body: Some(schema::<NewPassword>),
    answer: Answer::Deleted,
    errors: &[
        Code::InvalidLifecycleTransition,
        Code::RateLimited,
        Code::AtCapacity,
        Code::StorageFull,
    ],
    handler: |app, call| Box::pin(change_password(app, call)),
};

/// A fresh one-time link; for the owner's command.
pub const OPEN_SETUP: Route = Route {
    method: Method::POST,
    path: "/v1/setup-links",
    id: "session.open_setup",
    summary: "A fresh one-time link for setting up, while there is no password; on the admin socket alone",
    access: Access::Owner,
    query: &[],
    body: None,
    answer: Answer::Created(schema::<SetupLink>),
    errors: &[Code::InvalidLifecycleTransition],
    handler: |app, call| now(open_setup(&app, &call)),
};

/// The first password.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `set_up` reads, for the document")]
struct SetUp {
    /// What stands behind `#setup=` in the one-time link.
    token: String,
    /// 10 to 200 characters, not all the same.
    #[schemars(length(min = 10, max = 200))]
    password: String,
}

/// The password.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `create` reads, for the document")]
struct SignIn {
    /// The dashboard's password.
    #[schemars(length(max = 200))]
    password: String,
}

/// The old and the new password.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `change_password` reads, for the document")]
struct NewPassword {
    /// The one that works now; only the admin socket may leave it out.
    #[schemars(length(max = 200))]
    current_password: Option<String>,
    /// 10 to 200 characters, not all the same.
    #[schemars(length(min = 10, max = 200))]
    new_password: String,
}

/// A link that opens the dashboard's set-up page, once.
#[derive(Serialize, JsonSchema)]
struct SetupLink {
    /// To be opened in a browser; what stands behind `#` never reaches a server by itself.
    url: String,
    /// When it stops working; a restart ends it as well.
    expires_at: Timestamp,
}

fn get(app: &App, call: &Call) -> Result<Reply, Error> {
    Ok(Reply::ok(&app.sessions.get(&call.caller)?))
}

async fn set_up(app: App, call: Call) -> Result<Reply, Error> {
    let (token, password) = call.body(|fields| {
        let token = fields.required("token", |fields, name| fields.text(name, 200));
        let password = fields.required("password", |fields, name| fields.text(name, LONGEST_PASSWORD));
        Some((token?, password?))
    })?;
    let signed_in = app.sessions.set_up(visitor(&call), &token, password).await?;
    signed_in_reply(&call, &signed_in)
}

async fn create(app: App, call: Call) -> Result<Reply, Error> {
    let password =
        call.body(|fields| fields.required("password", |fields, name| fields.text(name, LONGEST_PASSWORD)))?;
    let signed_in = app.sessions.sign_in(&call.caller, visitor(&call), password).await?;
    signed_in_reply(&call, &signed_in)
}

async fn delete(app: App, call: Call) -> Result<Reply, Error> {
    let Some(own) = call.caller.login else {
        return Err(Error::new(Code::NotFound, "The admin socket has no sign-in to end."));
    };
    app.sessions.end(&call.caller, own).await?;
    signed_out_reply(&call)
}

fn list(app: &App, call: &Call) -> Result<Reply, Error> {
    let (before, limit) = call.page(LoginId::parse)?;
    Ok(Reply::ok(&app.sessions.list(&call.caller, before, limit)?))
}

async fn end(app: App, call: Call) -> Result<Reply, Error> {
    let id = parse_id(call.parameter(0))?;
    app.sessions.end(&call.caller, id).await?;
    if call.caller.login == Some(id) {
        return signed_out_reply(&call);
    }
    Ok(Reply::deleted())
}

async fn end_others(app: App, call: Call) -> Result<Reply, Error> {
    app.sessions.end_others(&call.caller).await?;
    Ok(Reply::deleted())
}

async fn change_password(app: App, call: Call) -> Result<Reply, Error> {
    let (current, new) = call.body(|fields| {
        let current = fields.text("current_password", LONGEST_PASSWORD);
        let new = fields.required("new_password", |fields, name| fields.text(name, LONGEST_PASSWORD));
        Some((current, new?))
    })?;
    app.sessions.change_password(&call.caller, current, new).await?;
    Ok(Reply::deleted())
}

fn open_setup(app: &App, call: &Call) -> Result<Reply, Error> {
    call.no_body()?;
    let SetupToken { token, expires_at } = app.sessions.open_setup()?;
    let url = format!("{}/#setup={token}", call.site.options.page);
    Ok(Reply::json(StatusCode::CREATED, &SetupLink { url, expires_at }))
}

fn visitor(call: &Call) -> Visitor {
    Visitor {
        address: call.caller.address,
        user_agent: call.header("user-agent").map(str::to_owned),
        request: Some(call.request),
    }
}

fn is_secure(call: &Call) -> bool {
    session::over_tls(&call.headers, call.site.options.behind_proxy)
}

fn signed_in_reply(call: &Call, signed_in: &SignedIn) -> Result<Reply, Error> {
    let mut reply = Reply::created(&format!("/v1/sessions/{}", signed_in.session.id), &signed_in.session);
    if let Some(cookie) = session::set(call.site.cookie_name()?, signed_in.cookie.expose(), is_secure(call)) {
        reply.set(SET_COOKIE, cookie);
    }
    Ok(reply)
}

fn signed_out_reply(call: &Call) -> Result<Reply, Error> {
    let mut reply = Reply::deleted();
    if let Some(cookie) = session::clear(call.site.cookie_name()?, is_secure(call)) {
        reply.set(SET_COOKIE, cookie);
    }
    Ok(reply)
}
