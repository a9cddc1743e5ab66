//! Small questions with fixed answers: properties, privacy, blocklist, media servers, dirty bits.

use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use super::Answer;
use crate::stanza::Stanza as _;

/// The privacy settings of a fresh account.
const PRIVACY: [(&str, &str); 7] = [
    ("readreceipts", "all"),
    ("last", "all"),
    ("online", "all"),
    ("profile", "all"),
    ("status", "contacts"),
    ("groupadd", "all"),
    ("calladd", "all"),
];

/// The answer, or `None` for what is not understood.
pub(super) fn answer(namespace: &str, node: &Node) -> Option<Answer> {
    let setting = node.text("type").as_deref() == Some("set");
    let child = match namespace {
        "abt" | "w" if node.child("props").is_some() => NodeBuilder::new("props")
            .attr("protocol", "1")
            .attr("ab_key", "sim")
            .attr("hash", "sim")
            .attr("refresh", "86400")
            .attr("refresh_id", "1")
            .build(),
        "privacy" if !setting => {
            let categories = PRIVACY.iter().map(|(name, value)| {
                NodeBuilder::new("category")
                    .attr("name", *name)
                    .attr("value", *value)
                    .build()
            });
            NodeBuilder::new("privacy").children(categories).build()
        }
        "blocklist" if !setting => NodeBuilder::new("list").attr("dhash", "none").build(),
        "urn:xmpp:whatsapp:dirty" => return Some(Answer::Result(Vec::new())),
        "w:m" if node.child("media_conn").is_some() => {
            let host = NodeBuilder::new("host")
                .attr("hostname", "media.invalid")
                .attr("type", "primary")
                .build();
            NodeBuilder::new("media_conn")
                .attr("auth", "sim")
                .attr("ttl", "300")
                .attr("auth_ttl", "300")
                .attr("max_buckets", "12")
                .children([host])
                .build()
        }
        _ => return None,
    };
    Some(Answer::Result(vec![child]))
}
