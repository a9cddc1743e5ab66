//! Messages.

use http::{Method, StatusCode};
use schemars::JsonSchema;

use super::{Access, Answer, Code, Route, now, schema};
use crate::app::App;
use crate::app::instances::parse_id;
use crate::app::messages::{self, Accepted, CLIENT_REF_CHARACTERS, Draft, IDEMPOTENCY_KEY_CHARACTERS, MENTIONS, Shown};
use crate::domain::access::Scope;
use crate::domain::address::Address;
use crate::domain::error::{Error, FieldProblem};
use crate::domain::message::{Body, MessageId, TEXT_CHARACTERS};
use crate::http::call::Call;
use crate::http::fields::Fields;
use crate::http::reply::Reply;

/// A message out.
pub const SEND: Route = Route {
    method: Method::POST,
    path: "/v1/instances/{id}/messages",
    id: "messages.send",
    summary: "Send a message; the answer comes when it is stored, message.sent when WhatsApp took it",
    access: Access::Scope(Scope::MessagesSend),
    query: &[],
    body: Some(schema::<NewMessage>),
    answer: Answer::Accepted(schema::<Accepted>),
    errors: &[
        Code::InstanceNotFound,
        Code::InstanceAccessDenied,
        Code::NotConnected,
        Code::IdempotencyConflict,
        Code::StorageFull,
    ],
    handler: |app, call| Box::pin(send(app, call)),
};

/// What became of it.
pub const GET: Route = Route {
    method: Method::GET,
    path: "/v1/instances/{id}/messages/{message_id}",
    id: "messages.get",
    summary: "What became of an outbound message",
    access: Access::Scope(Scope::MessagesRead),
    query: &[],
    body: None,
    answer: Answer::Ok(schema::<Shown>),
    errors: &[
        Code::InstanceNotFound,
        Code::InstanceAccessDenied,
        Code::MessageNotFound,
    ],
    handler: |app, call| now(get(&app, &call)),
};

/// A message that is wanted. Its content stands in `body`, or beside `to` (the flat form).
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `draft` reads, for the document")]
struct NewMessage {
    /// An international number with or without +, or a JID.
    to: Address,
    /// What it says.
    body: Option<NewBody>,
    /// The flat form: the kind of message, in place of `body`.
    #[serde(rename = "type")]
    kind: Option<NewKind>,
    /// The flat form: the text, in place of `body`.
    #[schemars(length(min = 1, max = 65536))]
    text: Option<String>,
    /// The flat form: whether WhatsApp shows a preview of a link; only `false` in this version.
    link_preview: Option<bool>,
    /// The id of the message this one answers.
    reply_to: Option<String>,
    /// Who is mentioned: numbers or JIDs.
    mentions: Option<Vec<Address>>,
    /// Your own reference; the same one within 24 hours is the same message and is sent once.
    #[schemars(length(min = 1, max = 128))]
    client_ref: Option<String>,
}

/// The content of a message.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `content` reads, for the document")]
struct NewBody {
    /// The kind of message.
    #[serde(rename = "type")]
    kind: NewKind,
    /// The text.
    #[schemars(length(min = 1, max = 65536))]
    text: String,
    /// Whether WhatsApp shows a preview of a link; only `false` in this version.
    link_preview: Option<bool>,
}

/// The kinds of message that this version sends.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes what `content` reads, for the document")]
enum NewKind {
    /// Plain text.
    Text,
}

/// Kinds that the contract knows and this version does not send yet.
const LATER: &[&str] = &[
    "image", "video", "sticker", "audio", "document", "location", "contact", "poll", "reaction",
];

async fn send(app: App, call: Call) -> Result<Reply, Error> {
    let instance = parse_id(call.parameter(0))?;
    let idempotency_key = idempotency_key(&call)?;
    let draft = call.body(draft)?;
    let draft = Draft {
        idempotency_key,
        ..draft
    };
    let accepted = messages::send(&app, &call.caller, instance, draft, call.request).await?;
    Ok(Reply::json(StatusCode::ACCEPTED, &accepted))
}

fn idempotency_key(call: &Call) -> Result<Option<String>, Error> {
    const PATH: &str = "header.Idempotency-Key";
    if !call.headers.contains_key("idempotency-key") {
        return Ok(None);
    }
    match call.header("idempotency-key") {
        Some(key) if !key.is_empty() && key.len() <= IDEMPOTENCY_KEY_CHARACTERS => Ok(Some(key.to_owned())),
        _ => Err(Error::validation(&[FieldProblem::new(
            PATH,
            "must be 1 to 255 visible ASCII characters",
        )])),
    }
}

fn draft(fields: &mut Fields<'_>) -> Option<Draft> {
    let to = fields.required("to", Fields::address);
    let body = if fields.has("body") {
        fields.object("body", content)
    } else if fields.has("type") {
        content(fields)
    } else {
        fields.required("body", |fields, name| fields.object(name, content))
    };
    let reply_to = fields.word("reply_to", 128).map(MessageId::from_wire);
    let mentions = fields.list("mentions", MENTIONS, |text| {
        Address::parse(text).map_err(|problem| problem.to_string())
    });
    let client_ref = fields.word("client_ref", CLIENT_REF_CHARACTERS);
    Some(Draft {
        to: to?,
        body: body?,
        reply_to,
        mentions: mentions.unwrap_or_default(),
        client_ref,
        idempotency_key: None,
    })
}

/// Reads the content, from `body` or from the flat form.
fn content(fields: &mut Fields<'_>) -> Option<Body> {
    let kind = fields.required("type", |fields, name| fields.text(name, 32));
    match kind.as_deref() {
        Some("text") | None => {}
        Some(kind) => {
            let problem = if LATER.contains(&kind) {
                format!("{kind} is not sent by this version yet; it sends: text")
            } else {
                format!(
                    "is unknown; this version sends: text (the contract also knows: {})",
                    LATER.join(", ")
                )
            };
            fields.refuse("type", problem);
            // The fields of a kind that is not read would all look unknown.
            for name in LATER_FIELDS {
                fields.value(name);
            }
            return None;
        }
    }
    let text = fields.required("text", |fields, name| fields.word(name, TEXT_CHARACTERS));
    if fields.flag("link_preview") == Some(true) {
        fields.refuse("link_preview", "is not made by this version; leave it out or say false");
    }
    kind?;
    Some(Body::Text { text: text? })
}

/// The fields of the kinds in [`LATER`].
const LATER_FIELDS: &[&str] = &[
    "text",
    "link_preview",
    "media_url",
    "media_id",
    "caption",
    "mime_type",
    "voice",
    "filename",
    "latitude",
    "longitude",
    "name",
    "address",
    "contacts",
    "question",
    "options",
    "selectable_count",
    "message_id",
    "emoji",
];

fn get(app: &App, call: &Call) -> Result<Reply, Error> {
    let instance = parse_id(call.parameter(0))?;
    let message = MessageId::from_wire(call.parameter(1));
    Ok(Reply::ok(&messages::get(app, &call.caller, instance, &message)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields;

    fn paths(body: &str) -> Vec<String> {
        let error = fields::read(body.as_bytes(), draft).unwrap_err();
        let details = error.details.expect(&error.message);
        let fields = details["fields"].as_array().unwrap().clone();
        fields
            .iter()
            .map(|field| field["path"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn the_flat_form_and_the_nested_form_mean_the_same() {
        let nested = r#"{"to":"+55 11 99999-9999","body":{"type":"text","text":"hi"},"client_ref":"a"}"#;
        let flat = r#"{"to":"5511999999999","type":"text","text":"hi","client_ref":"a","link_preview":false}"#;
        let read = |text: &str| fields::read(text.as_bytes(), draft).unwrap();
        assert_eq!(read(nested), read(flat));
    }

    #[test]
    fn every_problem_of_a_message_is_told_with_its_path() {
        for (body, expected) in [
            ("{}", vec!["body.to", "body.body"]),
            (
                r#"{"to":"1","body":{"type":"text"}}"#,
                vec!["body.to", "body.body.text"],
            ),
            (r#"{"to":"5511999999999","body":{"text":"x"}}"#, vec!["body.body.type"]),
            (r#"{"to":"5511999999999","text":"x"}"#, vec!["body.body", "body.text"]),
            (
                r#"{"to":"5511999999999","body":{"type":"text","text":"x"},"txet":1}"#,
                vec!["body.txet"],
            ),
            (
                r#"{"to":"5511999999999","body":{"type":"text","text":""},"mentions":["x"],"client_ref":""}"#,
                vec!["body.body.text", "body.mentions[0]", "body.client_ref"],
            ),
            (
                r#"{"to":"5511999999999","body":{"type":"image","media_url":"https://example.com/a.png"}}"#,
                vec!["body.body.type"],
            ),
            (r#"{"to":"5511999999999","type":"txt","text":"x"}"#, vec!["body.type"]),
        ] {
            assert_eq!(paths(body), expected, "{body}");
        }
    }
}
