//! `w:sync:app:state`: the phone's name in one collection, nothing in all others; what clients put there is not kept.

use anyhow::{Context as _, Result};
use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use super::Answer;
use crate::account::DeviceAddress;
use crate::phone::app_state::{COLLECTION, VERSION};
use crate::stanza::{Stanza as _, bytes_child};
use crate::world::World;

impl World {
    /// What is new in each collection that was asked for; a client's own patch counts the version up.
    pub(crate) fn app_state_iq(&self, from: &DeviceAddress, node: &Node) -> Result<Answer> {
        let asked = node
            .child("sync")
            .into_iter()
            .flat_map(|sync| sync.get_children_by_tag("collection"));
        let collections = asked
            .map(|collection| self.collection(from, collection))
            .collect::<Result<Vec<_>>>()?;
        Ok(Answer::Result(vec![
            NodeBuilder::new("sync").children(collections).build(),
        ]))
    }

    fn collection(&self, from: &DeviceAddress, asked: &Node) -> Result<Node> {
        let name = asked.text("name").unwrap_or_default();
        let version: u64 = asked
            .text("version")
            .and_then(|version| version.parse().ok())
            .unwrap_or(0);
        let pushed = asked.child("patch").is_some();
        let account = self.accounts.get(&from.number).context("the account is gone")?;
        // A client that cannot read a patch yet waits for the key for minutes, so it gets none before its phone shared
        // the key.
        let has_key = account
            .companions
            .get(&from.device)
            .is_some_and(|companion| companion.record.greeted);
        let answer = NodeBuilder::new("collection").attr("name", name.as_str());
        if name != COLLECTION || version >= VERSION || pushed || !has_key {
            return Ok(answer.attr("version", version + u64::from(pushed)).build());
        }
        let patch = bytes_child("patch", account.phone.push_name_patch()?);
        let patches = NodeBuilder::new("patches").children([patch]).build();
        Ok(answer.attr("version", VERSION).children([patches]).build())
    }
}
