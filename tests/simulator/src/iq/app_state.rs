//! `w:sync:app:state`: every collection is empty, which satisfies clients that only look.

use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use super::Answer;
use crate::stanza::Stanza as _;

/// An empty collection for each that was asked for; a patch counts its version up.
pub(super) fn answer(node: &Node) -> Answer {
    let asked = node
        .child("sync")
        .into_iter()
        .flat_map(|sync| sync.get_children_by_tag("collection"));
    let collections = asked.map(|collection| {
        let version: u64 = collection
            .text("version")
            .and_then(|version| version.parse().ok())
            .unwrap_or(0);
        let version = version + u64::from(collection.child("patch").is_some());
        NodeBuilder::new("collection")
            .attr("name", collection.text("name").unwrap_or_default())
            .attr("version", version)
            .build()
    });
    Answer::Result(vec![NodeBuilder::new("sync").children(collections).build()])
}
