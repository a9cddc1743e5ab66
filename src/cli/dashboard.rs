//! How somebody gets into the dashboard: what `serve` prints until there is a password, `setup-link`, and `password`.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use serde_json::json;

use super::PROGRAM;
use super::context::Context;
use super::failure::Failure;
use super::offline;
use super::prompt::{typed, without_break};
use crate::app::App;
use crate::app::events::Streams;
use crate::app::sessions::{Sessions, password_is_configured};
use crate::domain::access::{Caller, password_problem};

/// More than any password that is taken.
const LARGEST_INPUT: u64 = 4096;

/// Prints what a newcomer needs, at every start until it was used: a link that sets the password of the page, and how
/// programs get a key.
///
/// The link goes to standard output and nowhere else: the log, which may be sent anywhere, never has a secret in it.
pub(super) fn invite(context: &Context, app: &App, page: &str) {
    let folder = match &context.loaded.config.state {
        Some(folder) => format!(" --state {}", folder.display()),
        None => String::new(),
    };
    if app.sessions.has_password().is_ok_and(|has| !has)
        && let Ok(link) = app.sessions.open_setup()
    {
        let link = format!("{page}/#setup={}", link.token);
        // The server does not need a reader to go on.
        let _ = context.output.line(&if std::io::stdout().is_terminal() {
            format!("\nOpen this page and choose a password. The link works once, for 24 hours:\n\n    {link}\n")
        } else {
            format!("Open this page and choose a password. The link works once, for 24 hours: {link}")
        });
        tracing::info!(
            "the dashboard has no password yet; the link to set one stands on standard output, and `{PROGRAM} setup-link{folder}` makes a fresh one"
        );
    }
    let keys = app.keys.list(&Caller::OWNER, None, 1);
    if keys.is_ok_and(|page| page.data.is_empty()) {
        tracing::info!(
            "there is no API key for programs yet; the page makes them, or `{PROGRAM} keys create --name NAME{folder}`"
        );
    }
}

/// `setup-link`
pub(super) async fn setup_link(context: &Context) -> Result<(), Failure> {
    let link = context.server().await?.post("/v1/setup-links", None).await?;
    let until = link["expires_at"].as_str().unwrap_or_default().to_owned();
    context.output.note(&format!(
        "Open this page and choose a password. The link works once, until {until} or until the server restarts; from another machine put the server's address in place of the host."
    ));
    let url = |link: &serde_json::Value| link["url"].as_str().unwrap_or_default().to_owned();
    context.output.value(&link, url)
}

/// `password`
pub(super) async fn password(context: &Context) -> Result<(), Failure> {
    // Before anybody is asked for one; a server says the same, by its own settings.
    if context.config().dashboard.password.is_some() {
        return Err(password_is_configured().into());
    }
    let password = wanted().await?;
    if let Some(client) = context.server_if_any().await? {
        client.put("/v1/password", &json!({ "new_password": password })).await?;
    } else {
        let offline = offline::open(context, true)?;
        let sessions = Sessions::new(offline.store.clone(), offline.keys.clone(), Streams::new(0));
        let changed = sessions.change_password(&Caller::OWNER, None, password).await;
        offline.store.close().await;
        changed?;
    }
    context.output.value(&json!({ "password_set": true }), |_| {
        "The password is set. Who was signed in must sign in again.".to_owned()
    })
}

/// The password from standard input: the first line of a file or pipe, or what a person types twice, unseen.
async fn wanted() -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        let stdin = std::io::stdin().lock();
        std::io::BufReader::new(stdin.take(LARGEST_INPUT)).read_line(&mut line)?;
        let password = without_break(line);
        if password.is_empty() {
            return Err(Failure::failed(
                "there is no password on standard input; write it as one line",
            ));
        }
        return Ok(password);
    }
    let first = typed("New password, not shown: ").await?;
    if let Some(problem) = password_problem(&first) {
        return Err(Failure::Failed(format!("the password {problem}")));
    }
    if typed("Once more: ").await? != first {
        return Err(Failure::failed(
            "these were two different passwords; nothing was changed",
        ));
    }
    Ok(first)
}
