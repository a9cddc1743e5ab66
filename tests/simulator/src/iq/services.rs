//! Services that an account has nothing in: channels, bots, statistics, notices, GraphQL.

use serde_json::json;
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use super::Answer;
use crate::stanza::{Stanza as _, bytes_child};

/// The answer, or `None` for what is not understood.
pub(super) fn answer(namespace: &str, node: &Node) -> Option<Answer> {
    let setting = node.text("type").as_deref() == Some("set");
    let children = match namespace {
        // Clients report how they are, and what they have brought up to date; nothing here depends on it.
        "w:stats" | "urn:xmpp:whatsapp:dirty" => Vec::new(),
        // Nobody follows a channel, and none exists.
        "newsletter" if !setting && node.child("my_addons").is_some() => {
            vec![NodeBuilder::new("my_addons").build()]
        }
        "newsletter" => return Some(Answer::Error(404, "item-not-found")),
        "bot" if !setting => {
            let version = node
                .child("bot")
                .and_then(|bot| bot.text("v"))
                .unwrap_or_else(|| "2".to_owned());
            vec![NodeBuilder::new("bot").attr("v", version).build()]
        }
        // Every notice has been read.
        "tos" => match node.child("request") {
            Some(_) if !setting => vec![NodeBuilder::new("tos").attr("refresh", "86400").build()],
            _ if setting => Vec::new(),
            _ => return None,
        },
        "w:mex" => return Some(graphql(node)),
        _ => return None,
    };
    Some(Answer::Result(children))
}

/// "May this account write to strangers?", which clients ask after a refusal with code 463 (Baileys `Types/Mex`,
/// whatsapp-rust `wacore/iq/mex_operations`).
const REACHOUT_TIMELOCK: &str = "23983697327930364";

/// GraphQL answers inside a result, errors included (whatsapp-rust `wacore/iq/mex`).
fn graphql(node: &Node) -> Answer {
    let Some(id) = node.child("query").and_then(|query| query.text("query_id")) else {
        return Answer::Error(400, "bad-request");
    };
    if id == REACHOUT_TIMELOCK {
        // Refusals here are faults on purpose; the account itself is free.
        let body = json!({"data": {"xwa2_fetch_account_reachout_timelock": {"is_active": false}}});
        return Answer::Result(vec![bytes_child("result", body.to_string().into_bytes())]);
    }
    let body = json!({
        "data": null,
        "errors": [{
            "message": format!("the persisted query {id} is not known"),
            "path": null,
            "extensions": {
                "error_code": 404,
                "is_silent": false,
                "is_summary": false,
                "is_retryable": false,
                "severity": "CRITICAL",
            },
        }],
    });
    Answer::Result(vec![bytes_child("result", body.to_string().into_bytes())])
}
