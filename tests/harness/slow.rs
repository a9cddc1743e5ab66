//! A slow way to the gateway: it passes everything on and holds back the requests that a test names.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::Gateway;

/// A forwarder in front of a gateway, for a client whose requests have a length, as those of browsers.
pub struct Slow {
    base: String,
    asked: Arc<Mutex<Vec<String>>>,
    held: watch::Sender<Option<&'static str>>,
    task: JoinHandle<()>,
}

impl Slow {
    /// Stands before a gateway and holds nothing back yet.
    pub async fn before(gateway: &Gateway) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let far = gateway.client.base().strip_prefix("http://").unwrap().to_owned();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let held = watch::Sender::new(None);
        let (seen, gate) = (asked.clone(), held.subscribe());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let (from, mut back) = near.into_split();
                let Ok(far) = TcpStream::connect(&far).await else {
                    continue;
                };
                let (mut answers, to) = far.into_split();
                connections.spawn(pass(from, to, seen.clone(), gate.clone()));
                connections.spawn(async move {
                    let _ = tokio::io::copy(&mut answers, &mut back).await;
                });
            }
        });
        Self {
            base,
            asked,
            held,
            task,
        }
    }

    /// Where it listens.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// From now on requests whose path begins so do not go on.
    pub fn hold(&self, path: &'static str) {
        self.held.send_replace(Some(path));
    }

    /// They go on.
    pub fn release(&self) {
        self.held.send_replace(None);
    }

    /// How many requests came whose path begins so, held back or not.
    pub fn asked(&self, path: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|one| one.starts_with(path)).count()
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes the requests of one connection on, each when it may.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    asked: Arc<Mutex<Vec<String>>>,
    mut gate: watch::Receiver<Option<&'static str>>,
) {
    let mut bytes = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            match from.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
            .unwrap_or(0);
        asked.lock().unwrap().push(path.clone());
        let goes = gate.wait_for(|held| held.is_none_or(|held| !path.starts_with(held)));
        if goes.await.is_err() {
            return;
        }
        while bytes.len() < head + length {
            match from.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        let request: Vec<u8> = bytes.drain(..head + length).collect();
        if to.write_all(&request).await.is_err() {
            return;
        }
    }
}
