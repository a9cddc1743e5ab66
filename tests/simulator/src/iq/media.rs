//! `w:m`: where media is uploaded to and downloaded from.

use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;

use super::Answer;
use crate::account::DeviceAddress;
use crate::media::{AUTH_LIFETIME, LARGEST};
use crate::stanza::Stanza as _;
use crate::world::World;

/// Seconds after which clients ask for the route again.
const ROUTE_LIFETIME: u64 = 300;

impl World {
    /// Names this simulator as the only media host; `None` for what is not understood.
    pub(super) fn media_iq(&self, from: &DeviceAddress, node: &Node) -> Option<Answer> {
        node.child("media_conn")?;
        // Clients build https addresses of it, and take a port along if it has one.
        let host = NodeBuilder::new("host")
            .attr("hostname", self.media.host.as_str())
            .attr("type", "primary")
            .attr("class", "mms")
            .attr("maxContentLengthBytes", LARGEST)
            .children([NodeBuilder::new("upload").build(), NodeBuilder::new("download").build()])
            .build();
        let connection = NodeBuilder::new("media_conn")
            .attr("auth", self.media.auth(from))
            .attr("ttl", ROUTE_LIFETIME)
            .attr("auth_ttl", AUTH_LIFETIME)
            .attr("max_buckets", "12")
            .children([host])
            .build();
        Some(Answer::Result(vec![connection]))
    }
}
