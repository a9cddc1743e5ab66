//! A process that is killed loses no answered write.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::*;
use crate::domain::id::EventId;
use crate::store::Store;

/// Tells the child where the file is; without it the child's test has nothing to do.
const FOLDER: &str = "WHATISUP_TEST_CRASH_FOLDER";

/// What the child says for each answered write.
const ANSWERED: &str = "answered ";

#[test]
fn a_child_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(&options(Path::new(&folder)), sink().0).unwrap();
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..8 {
            let store = store.clone();
            writers.spawn(async move {
                while let Ok(id) = store.write(move |tx| tx.append_event(&event(writer))).await {
                    println!("{ANSWERED}{id}");
                }
            });
        }
        writers.join_all().await;
    });
}

#[test]
fn no_answered_write_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut answered = Vec::new();
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::tests::crash::a_child_writes_until_it_is_killed",
                "--nocapture",
            ])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let mut seen = 0;
        for line in lines {
            // Other threads may have begun a line in between; only whole ones count.
            if let Some(id) = line.strip_prefix(ANSWERED).and_then(EventId::parse) {
                answered.push(id);
                seen += 1;
            }
            if seen == 37 * (round + 1) {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen > 0, "the child wrote nothing");

        let runtime = tokio::runtime::Runtime::new().unwrap();
        let store = Store::open(&options(folder.path()), sink().0).unwrap();
        let stored: Vec<_> = store
            .read(|view| view.journal(None, 1_000_000))
            .unwrap()
            .frames
            .iter()
            .filter_map(|frame| frame.id)
            .collect();
        for id in &answered {
            assert!(stored.binary_search(id).is_ok(), "{id} is lost");
        }
        assert!(stored.is_sorted_by(|a, b| a < b));
        runtime.block_on(store.close());
    }
}
