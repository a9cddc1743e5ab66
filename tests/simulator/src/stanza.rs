//! Reading and building stanzas: attributes, children, contents.

use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{Jid, Node, NodeContent, NodeValue};

/// The server's own address.
pub(crate) const SERVER: &str = "s.whatsapp.net";

/// Short questions to a stanza.
pub(crate) trait Stanza {
    /// An attribute as text.
    fn text(&self, name: &str) -> Option<String>;
    /// An attribute as an address.
    fn jid(&self, name: &str) -> Option<Jid>;
    /// A child by its tag.
    fn child(&self, tag: &str) -> Option<&Node>;
    /// The content as bytes; text counts as its UTF-8.
    fn content(&self) -> Option<Vec<u8>>;
    /// The bytes of a child.
    fn child_content(&self, tag: &str) -> Option<Vec<u8>>;
    /// A child's content as a big-endian number, as key stanzas carry them.
    fn child_number(&self, tag: &str) -> Option<u32>;
}

impl Stanza for Node {
    fn text(&self, name: &str) -> Option<String> {
        self.attrs.get(name).map(|value| value.as_str().into_owned())
    }

    fn jid(&self, name: &str) -> Option<Jid> {
        self.attrs.get(name).and_then(NodeValue::to_jid)
    }

    fn child(&self, tag: &str) -> Option<&Node> {
        self.get_optional_child(tag)
    }

    fn content(&self) -> Option<Vec<u8>> {
        match &self.content {
            Some(NodeContent::Bytes(bytes)) => Some(bytes.clone()),
            Some(NodeContent::String(text)) => Some(text.as_bytes().to_vec()),
            _ => None,
        }
    }

    fn child_content(&self, tag: &str) -> Option<Vec<u8>> {
        self.child(tag).and_then(Stanza::content)
    }

    fn child_number(&self, tag: &str) -> Option<u32> {
        let bytes = self.child_content(tag)?;
        (bytes.len() <= 4).then(|| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }
}

/// An `<iq type="result">` from the server.
pub(crate) fn result(id: &str, children: impl IntoIterator<Item = Node>) -> Node {
    let mut children = children.into_iter().peekable();
    let builder = NodeBuilder::new("iq")
        .attr("from", SERVER)
        .attr("type", "result")
        .attr("id", id);
    if children.peek().is_none() {
        builder.build()
    } else {
        builder.children(children).build()
    }
}

/// An `<iq type="error">` from the server.
pub(crate) fn error(id: &str, code: u16, text: &str) -> Node {
    let error = NodeBuilder::new("error").attr("code", code).attr("text", text).build();
    NodeBuilder::new("iq")
        .attr("from", SERVER)
        .attr("type", "error")
        .attr("id", id)
        .children([error])
        .build()
}

/// A `<stream:error>` with a code.
pub(crate) fn stream_error(code: u16) -> Node {
    NodeBuilder::new("stream:error").attr("code", code).build()
}

/// A 3-byte big-endian key id.
pub(crate) fn key_id(id: u32) -> Vec<u8> {
    id.to_be_bytes()[1..].to_vec()
}

/// A child with bytes.
pub(crate) fn bytes_child(tag: &'static str, bytes: impl Into<Vec<u8>>) -> Node {
    NodeBuilder::new(tag).bytes(bytes).build()
}

/// A fresh id, as phones make them: 32 upper-case hexadecimal digits.
pub(crate) fn fresh_id() -> String {
    hex::encode_upper(rand::random::<[u8; 16]>())
}
