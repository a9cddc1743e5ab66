//! App state: what a companion gets of the name that its phone has put there.

use whatsapp_rust::wacore_binary::Node;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_simulator::{Options, Simulator};

use crate::client::{Client, content, link, log_in, text};
use crate::queues::settled;
use crate::{NUMBER, simulator};

/// The version and the patches that a question about one collection brings.
async fn sync(client: &mut Client, name: &str, version: Option<&str>, patch: Option<&[u8]>) -> (String, Vec<Vec<u8>>) {
    let mut asked = NodeBuilder::new("collection").attr("name", name);
    if let Some(version) = version {
        asked = asked.attr("version", version);
    }
    if let Some(patch) = patch {
        asked = asked.children([NodeBuilder::new("patch").bytes(patch.to_vec()).build()]);
    }
    let question = NodeBuilder::new("sync").children([asked.build()]).build();
    let answer = client.ask("w:sync:app:state", "set", vec![question]).await;
    let collection = answer.get_optional_child_by_tag(&["sync", "collection"]).unwrap();
    assert_eq!(text(collection, "name"), name);
    let patches = collection.get_optional_child("patches").and_then(Node::children);
    let patches = patches.into_iter().flatten().map(content).collect();
    (text(collection, "version"), patches)
}

#[tokio::test]
async fn the_phones_name_comes_once_and_with_the_same_bytes_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(folder.path().to_owned()),
        ..Options::default()
    };
    let first = Simulator::start(options.clone()).await.unwrap();
    let (keys, mut client) = settled(first.addr()).await;
    let (version, patches) = sync(&mut client, "critical_block", None, None).await;
    assert_eq!((version.as_str(), patches.len()), ("1", 1));
    let nothing = |version: &str| (version.to_owned(), Vec::new());
    assert_eq!(sync(&mut client, "critical_block", Some("1"), None).await, nothing("1"));
    assert_eq!(sync(&mut client, "regular", None, None).await, nothing("0"));
    drop(client);
    first.shutdown().await;

    let second = Simulator::start(options).await.unwrap();
    let (mut client, _) = log_in(second.addr(), &keys, NUMBER).await;
    let (_, again) = sync(&mut client, "critical_block", Some("0"), None).await;
    assert_eq!(again, patches);
    second.shutdown().await;
}

#[tokio::test]
async fn a_companion_without_the_key_gets_nothing_and_a_patch_counts_the_version_up() {
    let (simulator, addr) = simulator().await;
    let keys = link(addr, NUMBER).await;
    let (mut client, _) = log_in(addr, &keys, NUMBER).await;
    assert_eq!(
        sync(&mut client, "critical_block", None, None).await,
        ("0".to_owned(), Vec::new())
    );
    for (version, next) in [("0", "1"), ("1", "2"), ("2", "3")] {
        assert_eq!(
            sync(&mut client, "critical_block", Some(version), Some(b"patch")).await,
            (next.to_owned(), Vec::new())
        );
        assert_eq!(
            sync(&mut client, "critical_block", Some(next), None).await,
            (next.to_owned(), Vec::new())
        );
    }
    simulator.shutdown().await;
}
