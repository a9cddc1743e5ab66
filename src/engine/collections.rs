//! Changes of app state that the library overlooks.
//!
//! WhatsApp tells a linked device which version of a collection there is, and the device reads what is new. The library
//! drops such a notice while it still reads that collection, also when the server had answered before the change
//! (whatsapp-rust 0.7.0, `sync_collections_batched` in `src/client/app_state.rs` skips behind a sync in flight). The
//! change would be told with the next one, whenever that comes. So each notice is held against what was read in the end.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use whatsapp_rust::prelude::Client;
use whatsapp_rust::store::traits::AppSyncStore as _;
use whatsapp_rust::sync_task::MajorSyncTask;
use whatsapp_rust::wacore::appstate::patch_decode::WAPatchName;
use whatsapp_rust::wacore_binary::NodeRef;

use crate::store::session::SessionStore;
use crate::sys::clock;

/// How long the library has to read by itself.
const PATIENCE: Duration = Duration::from_millis(500);

/// Places in the queue of notices; a person changes few settings at a time.
const PLACES: usize = 256;

/// A version of a collection that the server has.
#[derive(Debug, PartialEq)]
pub(super) struct Notice {
    collection: WAPatchName,
    version: u64,
}

/// Sees notices as they come from the socket.
pub(super) struct Notices(mpsc::Sender<Notice>);

impl Notices {
    /// The eye, and what it sees.
    pub fn new() -> (Self, mpsc::Receiver<Notice>) {
        let (seen, receiver) = mpsc::channel(PLACES);
        (Self(seen), receiver)
    }

    /// Looks at a stanza.
    pub fn look_at(&self, node: &NodeRef<'_>) {
        for notice in read(node) {
            if self.0.try_send(notice).is_err() {
                tracing::debug!("a change of app state is left to the library, its queue is full or closed");
            }
        }
    }
}

fn read(node: &NodeRef<'_>) -> Vec<Notice> {
    let is_notice =
        node.tag.as_ref() == "notification" && node.get_attr("type").is_some_and(|kind| kind.as_str() == "server_sync");
    if !is_notice {
        return Vec::new();
    }
    node.get_children_by_tag("collection")
        .filter_map(|collection| {
            let text = |name: &str| collection.get_attr(name).map(|value| value.as_str().into_owned());
            Some(Notice {
                collection: WAPatchName::from_str(&text("name")?)
                    .ok()
                    .filter(|name| *name != WAPatchName::Unknown)?,
                version: text("version")?.parse().ok()?,
            })
        })
        .collect()
}

/// Reads what the library has not, until the session ends.
pub(super) async fn catch_up(store: SessionStore, client: Arc<Client>, mut notices: mpsc::Receiver<Notice>) {
    let mut reading = JoinSet::new();
    loop {
        tokio::select! {
            // Beyond that they wait in the queue, and what that has no room for is left to the library.
            notice = notices.recv(), if reading.len() < PLACES => {
                let Some(notice) = notice else { return };
                let (store, client) = (store.clone(), client.clone());
                reading.spawn(async move {
                    clock::sleep(PATIENCE).await;
                    settle(&store, &client, notice).await;
                });
            }
            Some(_) = reading.join_next(), if !reading.is_empty() => {}
        }
    }
}

async fn settle(store: &SessionStore, client: &Arc<Client>, Notice { collection, version }: Notice) {
    let known = store.get_version(collection.as_str()).await;
    if known.is_ok_and(|known| known.version >= version) {
        return;
    }
    tracing::debug!(
        collection = collection.as_str(),
        version,
        "a change of app state was overlooked and is read now"
    );
    // It waits for whoever reads the collection, and tries again by itself.
    let task = MajorSyncTask::AppStateSync {
        name: collection,
        full_sync: false,
    };
    client.process_sync_task(task).await;
}

#[cfg(test)]
mod tests {
    use whatsapp_rust::wacore_binary::builder::NodeBuilder;

    use super::*;

    #[test]
    fn a_notice_names_each_collection_with_its_version() {
        let collection = |name: &str, version: &str| {
            NodeBuilder::new("collection")
                .attr("name", name)
                .attr("version", version)
                .build()
        };
        let told = [
            collection("regular", "7"),
            collection("regular_low", "12"),
            collection("regular", "many"),
            collection("of_tomorrow", "1"),
        ];
        let node = NodeBuilder::new("notification")
            .attr("type", "server_sync")
            .children(told.clone());
        let seen: Vec<_> = read(&node.build().as_node_ref())
            .into_iter()
            .map(|notice| (notice.collection.as_str(), notice.version))
            .collect();
        assert_eq!(seen, [("regular", 7), ("regular_low", 12)]);
        let other = NodeBuilder::new("notification").attr("type", "devices").children(told);
        assert!(read(&other.build().as_node_ref()).is_empty());
    }
}
