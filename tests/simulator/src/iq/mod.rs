//! Questions (`<iq>`) of logged-in clients: one file per subject, dispatched by namespace.

use anyhow::Result;
use whatsapp_rust::wacore_binary::Node;

use crate::account::DeviceAddress;
use crate::stanza::{self, Stanza as _};
use crate::stats::count;
use crate::world::World;

mod app_state;
mod devices;
pub(crate) mod encrypt;
mod groups;
mod media;
mod privacy;
mod profile;
mod services;
mod session;
mod settings;
mod usync;

/// How the server says that it does not know what was asked.
const NOT_IMPLEMENTED: u16 = 501;

/// The answer to a question: children of a result, or a refusal.
pub(crate) enum Answer {
    Result(Vec<Node>),
    Error(u16, &'static str),
}

impl World {
    /// Answers a question; replies to the server's own questions need no answer.
    pub(crate) fn iq(&mut self, from: &DeviceAddress, node: &Node) -> Result<Vec<Node>> {
        let id = node.text("id").unwrap_or_default();
        let namespace = node.text("xmlns").unwrap_or_default();
        // Baileys reports statistics without a type and waits for the answer.
        let asks = matches!(node.text("type").as_deref(), Some("get" | "set")) || namespace == "w:stats";
        if !asks {
            return Ok(Vec::new());
        }
        let answer = match namespace.as_str() {
            "encrypt" => self.encrypt_iq(from, node)?,
            "usync" => self.usync_iq(from, node)?,
            "passive" => self.passive_iq(from, node),
            "md" => self.devices_iq(from, node)?,
            "w:sync:app:state" => self.app_state_iq(from, node)?,
            "w:g2" => self.groups_iq(from, node)?,
            "w:m" => match self.media_iq(from, node) {
                Some(answer) => answer,
                None => self.unknown(&namespace, node),
            },
            "w:p" | "urn:xmpp:ping" => Answer::Result(Vec::new()),
            "privacy" => self.privacy_iq(from, node)?,
            "blocklist" => self.blocklist_iq(from, node)?,
            "abt" | "w" => match settings::answer(&namespace, node) {
                Some(answer) => answer,
                None => self.unknown(&namespace, node),
            },
            "w:profile:picture" => self.picture_iq(from, node)?,
            "status" => match settings::answer(&namespace, node) {
                Some(answer) => answer,
                None => self.about_iq(from, node)?,
            },
            "disappearing_mode" => self.disappearing_iq(from, node)?,
            "urn:xmpp:whatsapp:account" => self.account_iq(from, node)?,
            "w:biz" => self.business_iq(from, node)?,
            _ => match services::answer(&namespace, node) {
                Some(answer) => answer,
                None => self.unknown(&namespace, node),
            },
        };
        Ok(vec![match answer {
            Answer::Result(children) => stanza::result(&id, children),
            Answer::Error(code, text) => stanza::error(&id, code, text),
        }])
    }

    /// Counts a question nobody here understands, and says so: who is told that something was done must be able to
    /// rely on it.
    pub(crate) fn unknown(&mut self, namespace: &str, node: &Node) -> Answer {
        let child = node
            .children()
            .and_then(|children| children.first())
            .map_or("", |child| child.tag.as_ref());
        count(&mut self.stats.unknown_iqs, &format!("{namespace} {child}"));
        Answer::Error(NOT_IMPLEMENTED, "feature-not-implemented")
    }
}
