//! Tells the service manager how the gateway does, and that it lives.
//!
//! The watchdog is for a gateway that hangs, which a restart mends. What a restart does not mend is no reason to be
//! killed: a full disk, a disk that fails, WhatsApp out of reach; `/readyz` tells those.

use std::path::PathBuf;
use std::time::Duration;

use super::client::Client;
use crate::app::{App, system};
use crate::store::{Store, WriteError};
use crate::sys::service;

/// How old the line about the instances may be.
const STATUS_EVERY: Duration = Duration::from_secs(20);

/// Beats until it is aborted. By the machine's own clock: that is the one the manager counts with.
pub(super) async fn beat(app: App, socket: PathBuf) {
    if !service::is_watched() {
        return;
    }
    let watchdog = service::watchdog();
    let every = watchdog
        .map_or(STATUS_EVERY, |interval| (interval / 2).min(STATUS_EVERY))
        .max(Duration::from_millis(1));
    let owner = Client::new(socket);
    let mut told = String::new();
    let mut beats = tokio::time::interval(every);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        if watchdog.is_some() {
            match alive(&app.store, &owner, every).await {
                Ok(()) => service::alive(),
                Err(stuck) => {
                    tracing::error!(
                        stuck,
                        "the gateway hangs; if that lasts, the service manager will restart it"
                    );
                }
            }
        }
        let status = status(&app);
        if status != told {
            service::status(&status);
            told = status;
        }
    }
}

/// How it goes, in one line.
pub(super) fn status(app: &App) -> String {
    match system::instances(app) {
        Ok(instances) => {
            let connected = instances.get("connected").copied().unwrap_or_default();
            let all: u64 = instances.values().sum();
            format!("{connected} of {all} instances connected")
        }
        Err(_) => "the store cannot be read; see the log".to_owned(),
    }
}

/// Whether everything turns that must: the runtime (else nobody gets here), the store's writer, the site. Any answer
/// will do, also that the disk is full. Asked on the owner's socket: the port may be busy with as many callers as are
/// allowed, which is no reason to die, and a port whose task crashed ends the program anyway.
async fn alive(store: &Store, owner: &Client, within: Duration) -> Result<(), &'static str> {
    match tokio::time::timeout(within, store.check()).await {
        Err(_) => return Err("the store's writer does not answer"),
        Ok(Err(WriteError::Closed)) => return Err("the store's writer has ended"),
        Ok(_) => {}
    }
    match tokio::time::timeout(within, owner.get_text("/healthz", "text/plain")).await {
        Err(_) => Err("the HTTP site does not answer"),
        Ok(Err(_)) => Err("the HTTP site cannot be reached"),
        Ok(Ok(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, mpsc};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;
    use crate::store::Options;

    fn store(folder: &Path, reserve_bytes: u64) -> Store {
        let options = Options {
            path: folder.join("store.redb"),
            cache_bytes: 1 << 20,
            reserve_bytes,
        };
        Store::open(&options, Arc::new(|_| {})).unwrap()
    }

    /// A site that says it is well.
    fn site(folder: &Path) -> Client {
        let path = folder.join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            loop {
                let (mut caller, _) = listener.accept().await.unwrap();
                let _ = caller.read(&mut [0; 1024]).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";
                let _ = caller.write_all(answer).await;
            }
        });
        Client::new(path)
    }

    const LONG: Duration = Duration::from_mins(1);
    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_gateway_on_a_full_disk_lives() {
        let folder = tempfile::tempdir().unwrap();
        let full = store(folder.path(), u64::MAX);
        assert!(matches!(full.check().await, Err(WriteError::Full)));
        assert_eq!(alive(&full, &site(folder.path()), LONG).await, Ok(()));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_writer_that_is_stuck_or_gone_is_no_life() {
        let folder = tempfile::tempdir().unwrap();
        let (store, site) = (store(folder.path(), 0), site(folder.path()));
        assert_eq!(alive(&store, &site, LONG).await, Ok(()));
        let (release, released) = mpsc::channel::<()>();
        let stuck = tokio::spawn({
            let store = store.clone();
            async move {
                store
                    .write_lazily(move |_| {
                        let _ = released.recv();
                        Ok(())
                    })
                    .await
            }
        });
        // It may begin a moment later.
        while alive(&store, &site, SHORT).await.is_ok() {}
        assert_eq!(
            alive(&store, &site, SHORT).await,
            Err("the store's writer does not answer")
        );
        drop(release);
        stuck.await.unwrap().unwrap();
        assert_eq!(alive(&store, &site, LONG).await, Ok(()));
        store.close().await;
        assert_eq!(alive(&store, &site, LONG).await, Err("the store's writer has ended"));
    }

    #[tokio::test]
    async fn a_site_that_accepts_and_says_nothing_is_no_life() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), 0);
        let path = folder.path().join("admin.sock");
        let nobody = Client::new(path.clone());
        assert_eq!(
            alive(&store, &nobody, LONG).await,
            Err("the HTTP site cannot be reached")
        );
        let _silent = UnixListener::bind(&path).unwrap();
        assert_eq!(
            alive(&store, &nobody, SHORT).await,
            Err("the HTTP site does not answer")
        );
    }
}
