//! A program under test: its log is kept, it dies with the handle.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use super::wait::{eventually, within};

/// How much of the log is shown when a test fails.
const TAIL_LINES: usize = 80;

/// A running program.
pub struct Process {
    name: &'static str,
    child: Child,
    log: Log,
    readers: Vec<JoinHandle<()>>,
}

/// What a program has printed so far; lives on after it.
#[derive(Clone)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    grown: watch::Sender<()>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            lines: Arc::default(),
            grown: watch::Sender::new(()),
        }
    }
}

impl Log {
    fn push(&self, line: String) {
        self.lines.lock().unwrap().push(line);
        self.grown.send_replace(());
    }

    /// Everything so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// What `pick` finds in the first line where it finds something, at or after the line number `from`.
    pub async fn find<T>(&self, what: &str, from: usize, pick: impl Fn(&str) -> Option<T>) -> T {
        let mut grown = self.grown.subscribe();
        let search = async {
            loop {
                grown.borrow_and_update();
                if let Some(found) = self.lines().iter().skip(from).find_map(|line| pick(line)) {
                    return found;
                }
                // The sender lives as long as `self`.
                let _ = grown.changed().await;
            }
        };
        within(what, search).await
    }

    fn read(&self, from: impl Read + Send + 'static) -> JoinHandle<()> {
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                log.push(String::from_utf8_lossy(&line).into_owned());
            }
        })
    }
}

impl Process {
    /// Starts `command`, appending what it prints to `log`.
    pub fn start(name: &'static str, command: &mut Command, log: Log) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}: {command:?}"));
        let readers = vec![
            log.read(child.stdout.take().unwrap()),
            log.read(child.stderr.take().unwrap()),
        ];
        Self {
            name,
            child,
            log,
            readers,
        }
    }

    /// The number the system knows it by.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }

    /// Asks it to end, as a service manager does.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for it to end by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let what = format!("{} to end", self.name);
        let status = eventually(&what, async || self.child.try_wait().unwrap()).await;
        self.kill();
        status
    }

    /// How it ended, if it did.
    pub fn exit(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let lines = self.log.lines();
            let skipped = lines.len().saturating_sub(TAIL_LINES);
            eprintln!("--- the last lines of {} ---", self.name);
            for line in &lines[skipped..] {
                eprintln!("{line}");
            }
        }
    }
}
