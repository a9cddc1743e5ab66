//! What a person types at a terminal and nobody may see.

use std::io::BufRead as _;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::failure::Failure;

/// One line from the terminal without echo, which comes back whatever happens, Ctrl+C included.
pub(super) async fn typed(prompt: &str) -> Result<String, Failure> {
    // From here on Ctrl+C is an answer: else it could end the program while the terminal is still mute.
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Hidden first: whoever answers a prompt at once must not be seen, nor lose what was typed.
    let quiet = Quiet::begin()?;
    eprint!("{prompt}");
    let (send, line) = oneshot::channel();
    // A thread of its own: a runtime would wait for a blocking read that nobody can take back.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        // Nobody waits any more after Ctrl+C.
        let _ = send.send(read.map(|bytes| (bytes > 0).then(|| without_break(line))));
    });
    let cancelled = || Failure::failed("cancelled; nothing was changed");
    let line = tokio::select! {
        line = line => line.map_err(|_| cancelled())?,
        _ = interrupt.recv() => {
            eprintln!();
            return Err(cancelled());
        }
    };
    drop(quiet);
    eprintln!();
    line?.ok_or_else(cancelled)
}

/// A line without its break.
pub(super) fn without_break(mut line: String) -> String {
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    line
}

/// A terminal that does not show what is typed, until dropped.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> Result<Self, Failure> {
        let failed = |error| Failure::Failed(format!("the terminal cannot be told to hide what is typed: {error}"));
        let before = tcgetattr(std::io::stdin()).map_err(failed)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &hidden).map_err(failed)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // There is nothing better to do for a terminal that does not listen.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
