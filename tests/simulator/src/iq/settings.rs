//! Small questions with fixed answers: properties.

use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use super::Answer;
use crate::stanza::Stanza as _;

/// The answer, or `None` for what is not understood.
pub(super) fn answer(namespace: &str, node: &Node) -> Option<Answer> {
    let child = match namespace {
        "abt" | "w" if node.child("props").is_some() => NodeBuilder::new("props")
            .attr("protocol", "1")
            .attr("ab_key", "sim")
            .attr("hash", "sim")
            .attr("refresh", "86400")
            .attr("refresh_id", "1")
            .build(),
        // Who sees statuses: everybody in the address book, which is everybody the client names.
        "status" if node.text("type").as_deref() == Some("get") && node.child("privacy").is_some() => {
            let list = NodeBuilder::new("list")
                .attr("type", "contacts")
                .attr("default", "true")
                .build();
            NodeBuilder::new("privacy").children([list]).build()
        }
        _ => return None,
    };
    Some(Answer::Result(vec![child]))
}
