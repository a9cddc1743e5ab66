//! `passive`: whether a client wants its messages now.

use whatsapp_rust::wacore_binary::Node;

use super::Answer;
use crate::account::DeviceAddress;
use crate::stanza::Stanza as _;
use crate::world::World;

impl World {
    pub(crate) fn passive_iq(&mut self, from: &DeviceAddress, node: &Node) -> Answer {
        if let Some(link) = self.links.get_mut(from) {
            if node.child("active").is_some() {
                link.activate();
            } else if node.child("passive").is_some() {
                link.pause();
            }
        }
        Answer::Result(Vec::new())
    }
}
