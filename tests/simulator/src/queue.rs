//! What waits for one device: every message, receipt and notification until the device acknowledges it.

use std::collections::VecDeque;

use whatsapp_rust::wacore_binary::Node;

use crate::stanza::Stanza as _;

/// Waiting stanzas in the order they were sent; sequence numbers only grow.
#[derive(Default)]
pub(crate) struct Queue {
    entries: VecDeque<Entry>,
    last: u64,
}

/// One waiting stanza.
#[derive(Clone)]
pub(crate) struct Entry {
    /// Place in the order, unique within the queue.
    pub(crate) sequence: u64,
    /// The stanza without an `offline` attribute.
    pub(crate) node: Node,
}

impl Queue {
    /// Adds a stanza and gives its place.
    pub(crate) fn push(&mut self, node: Node) -> u64 {
        self.last += 1;
        self.entries.push_back(Entry {
            sequence: self.last,
            node,
        });
        self.last
    }

    /// Puts a stored stanza back; stored stanzas come in order.
    pub(crate) fn restore(&mut self, sequence: u64, node: Node) {
        self.last = self.last.max(sequence);
        self.entries.push_back(Entry { sequence, node });
    }

    /// The newest place ever given.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The first stanza after a place.
    pub(crate) fn after(&self, sequence: u64) -> Option<&Entry> {
        let index = self.entries.partition_point(|entry| entry.sequence <= sequence);
        self.entries.get(index)
    }

    /// Takes the oldest stanza out.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        self.entries.pop_front()
    }

    /// How many wait, optionally of one tag.
    pub(crate) fn count(&self, tag: Option<&str>) -> usize {
        self.entries
            .iter()
            .filter(|entry| tag.is_none_or(|tag| entry.node.tag == tag))
            .count()
    }

    /// Everything that waits, in order.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.entries.iter().map(|entry| &entry.node)
    }

    /// All places, to forget the queue.
    pub(crate) fn sequences(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().map(|entry| entry.sequence)
    }

    /// Removes the oldest stanza that an `<ack>` names by class, id and, for receipts, type.
    ///
    /// One id can have several receipts (delivered, read, an own copy), so a receipt of the same type goes first; a
    /// client that leaves the type out still gets rid of it. Only what was sent (`up_to`) can be acknowledged.
    pub(crate) fn acknowledge(&mut self, class: &str, id: &str, kind: Option<&str>, up_to: u64) -> Option<u64> {
        let named = |node: &Node| node.tag == class && node.text("id").as_deref() == Some(id);
        if class == "receipt"
            && let Some(sequence) = self.remove(up_to, |node| named(node) && node.text("type").as_deref() == kind)
        {
            return Some(sequence);
        }
        self.remove(up_to, |node| named(node) && (class != "receipt" || kind.is_none()))
    }

    /// Removes the oldest message with an id, for which a `<receipt>` is the acknowledgement.
    pub(crate) fn receipted(&mut self, id: &str, up_to: u64) -> Option<u64> {
        self.remove(up_to, |node| {
            node.tag == "message" && node.text("id").as_deref() == Some(id)
        })
    }

    fn remove(&mut self, up_to: u64, matches: impl Fn(&Node) -> bool) -> Option<u64> {
        let index = self
            .entries
            .iter()
            .take_while(|entry| entry.sequence <= up_to)
            .position(|entry| matches(&entry.node))?;
        self.entries.remove(index).map(|entry| entry.sequence)
    }
}

#[cfg(test)]
mod tests {
    use whatsapp_rust::wacore_binary::builder::NodeBuilder;

    use super::*;

    fn stanza(tag: &'static str, id: &str) -> Node {
        NodeBuilder::new(tag).attr("id", id).build()
    }

    fn waiting(queue: &Queue) -> Vec<u64> {
        queue.sequences().collect()
    }

    #[test]
    fn an_ack_removes_only_the_stanza_of_its_class_and_id() {
        let mut queue = Queue::default();
        queue.push(stanza("message", "A"));
        queue.push(stanza("receipt", "A"));
        queue.push(stanza("message", "B"));
        assert_eq!(queue.acknowledge("receipt", "A", None, 3), Some(2));
        assert_eq!(queue.acknowledge("receipt", "A", None, 3), None);
        assert_eq!(waiting(&queue), [1, 3]);
    }

    #[test]
    fn a_typed_receipt_is_not_removed_by_the_ack_of_another_type() {
        let mut queue = Queue::default();
        queue.push(stanza("receipt", "A"));
        queue.push(NodeBuilder::new("receipt").attr("id", "A").attr("type", "read").build());
        assert_eq!(queue.acknowledge("receipt", "A", Some("read"), 2), Some(2));
        assert_eq!(queue.acknowledge("receipt", "A", Some("played"), 2), None);
        assert_eq!(waiting(&queue), [1]);
    }

    #[test]
    fn an_ack_without_type_prefers_the_receipt_without_type() {
        let mut queue = Queue::default();
        queue.push(
            NodeBuilder::new("receipt")
                .attr("id", "A")
                .attr("type", "sender")
                .build(),
        );
        queue.push(stanza("receipt", "A"));
        assert_eq!(queue.acknowledge("receipt", "A", None, 2), Some(2));
        assert_eq!(queue.acknowledge("receipt", "A", None, 2), Some(1));
    }

    #[test]
    fn a_receipt_removes_the_message_but_never_another_receipt() {
        let mut queue = Queue::default();
        queue.push(stanza("receipt", "A"));
        queue.push(stanza("message", "A"));
        assert_eq!(queue.receipted("A", 2), Some(2));
        assert_eq!(queue.receipted("A", 2), None);
        assert_eq!(waiting(&queue), [1]);
    }

    #[test]
    fn what_was_not_sent_cannot_be_acknowledged() {
        let mut queue = Queue::default();
        queue.push(stanza("message", "A"));
        queue.push(stanza("message", "B"));
        assert_eq!(queue.receipted("B", 1), None);
        assert_eq!(waiting(&queue), [1, 2]);
    }

    #[test]
    fn a_resend_of_an_id_waits_separately() {
        let mut queue = Queue::default();
        queue.push(stanza("message", "A"));
        queue.push(stanza("message", "A"));
        assert_eq!(queue.receipted("A", 2), Some(1));
        assert_eq!(queue.after(0).unwrap().sequence, 2);
    }

    #[test]
    fn restored_stanzas_keep_their_places_and_new_ones_follow() {
        let mut queue = Queue::default();
        queue.restore(5, stanza("message", "A"));
        queue.restore(9, stanza("message", "B"));
        assert_eq!(queue.push(stanza("message", "C")), 10);
        assert_eq!(queue.after(5).unwrap().sequence, 9);
    }
}
