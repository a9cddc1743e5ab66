//! `send`: one text.

use std::io::Read;

use serde_json::json;

use super::arguments::Send;
use super::client::encoded;
use super::context::Context;
use super::failure::Failure;
use crate::domain::message::TEXT_CHARACTERS;

pub(super) async fn run(context: &Context, send: Send) -> Result<(), Failure> {
    let client = context.server().await?;
    let text = if send.text == "-" {
        from_standard_input()?
    } else {
        send.text
    };
    let id = client.instance(&send.instance).await?;
    let mut message = json!({"to": send.to, "body": {"type": "text", "text": text}});
    if let Some(reference) = send.client_ref {
        message["client_ref"] = reference.into();
    }
    let accepted = client
        .post(&format!("/v1/instances/{}/messages", encoded(&id)), Some(&message))
        .await?;
    let field = |name: &str| accepted[name].as_str().unwrap_or_default().to_owned();
    context.output.note(&format!(
        "Accepted ({}). Follow it: {} events",
        field("status"),
        super::PROGRAM
    ));
    context.output.value(&accepted, |_| field("message_id"))
}

/// What is piped in, without the line break at its end that every program adds.
fn from_standard_input() -> Result<String, Failure> {
    // A character has at most four bytes; whatever is longer the server would refuse anyway.
    let most = TEXT_CHARACTERS as u64 * 4 + 2;
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(most)
        .read_to_string(&mut text)
        .map_err(|error| Failure::Failed(format!("the text cannot be read from standard input: {error}")))?;
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
}
