//! The log: one line an event, readable alone, on standard error.
//!
//! Secrets, contents and full phone numbers never get here. The modules of this program keep that rule themselves; the
//! libraries below do not know it (whatsapp-rust names peers and stanzas in its messages, under targets such as
//! `Client/Recv`), so the filter is a list of what may speak and everything else is silent. What a library's line would
//! have told, the engine says in the instance's state.

mod format;

use std::ffi::OsStr;
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Registry, reload};

use format::{Clock, Journal};

/// Libraries whose warnings carry nothing of the product.
const QUIET_LIBRARIES: &str = "off,warp=warn,hyper=warn,rustls=warn";

/// The library writes pairing codes into its log as it makes them; whoever reads one may link the account. Comes last,
/// so that no setting opens it.
const SECRETS: &str = "Client/PairCode=off";

/// What the setting `log.format` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For people, or for journald where it reads.
    Text,
    /// One object a line.
    Json,
    /// For journald, also where nobody would think that it reads.
    Journal,
}

/// Where and how lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// Colours and times.
    Terminal,
    /// Times, no colours.
    Plain,
    /// Priorities instead of times: journald keeps its own.
    Journal,
    /// One object a line.
    Json,
}

/// What may be written, from the setting `log.level`: a level for this program, or directives of `tracing`.
pub fn filter(level: &str) -> Result<EnvFilter, ParseError> {
    // A level alone is about this program and the simulator in its sandbox, never about the libraries.
    let own = |level: &str| format!("whatisup={level},whatsapp_simulator={level}");
    let directives: Vec<String> = level
        .split(',')
        .map(str::trim)
        .filter(|directive| !directive.is_empty())
        .map(|directive| {
            if directive.contains(['=', '[', ':']) {
                directive.to_owned()
            } else {
                own(directive)
            }
        })
        .collect();
    EnvFilter::builder().parse(format!("{QUIET_LIBRARIES},{},{SECRETS}", directives.join(",")))
}

/// Starts the log of this process. Called once, before anything else may want to speak.
pub fn start(level: &str, format: Format) -> Result<(), StartError> {
    let form = match format {
        Format::Json => Form::Json,
        Format::Journal => Form::Journal,
        Format::Text if std::io::stderr().is_terminal() => Form::Terminal,
        Format::Text if journald_reads() => Form::Journal,
        Format::Text => Form::Plain,
    };
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer()
        // Else a standard error that is gone, such as a closed terminal, makes each line a panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_timer(Clock);
    match form {
        Form::Json => registry
            .with(
                layer
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_span_list(false),
            )
            .try_init()?,
        Form::Terminal => registry.with(layer.with_ansi(true)).try_init()?,
        Form::Plain => registry.with(layer.with_ansi(false)).try_init()?,
        Form::Journal => registry
            .with(layer.with_ansi(false).event_format(Journal::default()))
            .try_init()?,
    }
    let knob = Knob {
        filter: handle,
        level: Mutex::new(level.to_owned()),
    };
    // Nobody else sets it: there is one log, and it has just been started.
    let _ = KNOB.set(knob);
    log_panics();
    Ok(())
}

/// What changes the level of the running log.
struct Knob {
    filter: reload::Handle<EnvFilter, Registry>,
    level: Mutex<String>,
}

static KNOB: OnceLock<Knob> = OnceLock::new();

/// How much is written now, as the setting `log.level` would say it; empty where there is no log.
pub fn level() -> String {
    let level = KNOB
        .get()
        .map(|knob| knob.level.lock().unwrap_or_else(PoisonError::into_inner).clone());
    level.unwrap_or_default()
}

/// From now on this much is written, under the same rules as at the start.
pub fn set_level(level: &str) -> Result<(), LevelError> {
    let filter = filter(level)?;
    let knob = KNOB.get().ok_or(LevelError::NoLog)?;
    let mut known = knob.level.lock().unwrap_or_else(PoisonError::into_inner);
    knob.filter.reload(filter)?;
    level.clone_into(&mut known);
    Ok(())
}

/// The level could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum LevelError {
    /// The filter is no filter.
    #[error("log.level: {0}")]
    Filter(#[from] ParseError),
    /// The log has not been started, or has ended.
    #[error("there is no log")]
    NoLog,
    /// It could not be exchanged.
    #[error("the log took no other level: {0}")]
    Stuck(#[from] reload::Error),
}

/// Whether standard error goes to journald. A program that journald's service has started may have sent it elsewhere
/// since, and the variable is inherited all the same, so it names the stream that it is about.
fn journald_reads() -> bool {
    let named = std::env::var_os("JOURNAL_STREAM");
    let stderr = std::io::stderr().as_fd().try_clone_to_owned();
    let stream = stderr.and_then(|stderr| File::from(stderr).metadata());
    stream.is_ok_and(|stream| is_stream(named.as_deref(), stream.dev(), stream.ino()))
}

/// Whether `DEVICE:INODE` names this one.
fn is_stream(named: Option<&OsStr>, device: u64, inode: u64) -> bool {
    let numbers = named.and_then(OsStr::to_str).and_then(|text| text.split_once(':'));
    numbers.is_some_and(|(dev, ino)| dev.parse() == Ok(device) && ino.parse() == Ok(inode))
}

/// The log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The filter is no filter.
    #[error("log.level: {0}")]
    Filter(#[from] ParseError),
    /// There is a log already.
    #[error("the log was started twice")]
    Twice(#[from] TryInitError),
}

/// A panic is a line like any other: where it happened, and its words only if they are a constant of the source. A
/// formatted message quotes data, as in `byte index 5 is out of bounds of "hello"`.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let words = panic.payload().downcast_ref::<&'static str>().copied();
        let thread = std::thread::current();
        tracing::error!(
            place,
            thread = thread.name().unwrap_or_default(),
            reason = words.unwrap_or("not shown, it may quote contents"),
            "a part of the program crashed"
        );
    }));
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::Layer;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(level: &str, speak: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .event_format(Journal::default())
            .with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter(level).unwrap()));
        tracing::subscriber::with_default(subscriber, speak);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn everybody_speaks() {
        tracing::info!(target: "whatisup::engine", "ours");
        tracing::debug!(target: "whatisup::engine", "ours in detail");
        tracing::error!(target: "Client/Recv", "from 5511999990001");
        tracing::error!(target: "whatsapp_rust::client", "from 5511999990002");
        tracing::error!(target: "wacore::send", "from 5511999990003");
        tracing::error!(target: "redb", "page 7");
        tracing::warn!(target: "warp::filters", "odd request");
    }

    #[test]
    fn the_library_that_knows_numbers_and_contents_is_silent_at_every_level() {
        for level in ["error", "warn", "info", "debug", "trace", "info,whatisup::engine=trace"] {
            let log = written(level, everybody_speaks);
            assert!(!log.contains("5511"), "{level}: {log}");
        }
    }

    #[test]
    fn no_setting_lets_pairing_codes_into_the_log() {
        for level in ["Client/PairCode=trace", "Client=trace", "trace,Client/PairCode=info"] {
            let log = written(level, || {
                tracing::info!(target: "Client/PairCode", "Code: ABCD1234");
                tracing::error!(target: "Client/PairCode", "Code: ABCD1234");
            });
            assert_eq!(log, "", "{level}");
        }
    }

    #[test]
    fn a_level_alone_is_about_this_program() {
        assert!(!written("info", everybody_speaks).contains("in detail"));
        assert!(written("debug", everybody_speaks).contains("in detail"));
        assert!(!written("error", everybody_speaks).contains("ours"));
        assert!(written("info", everybody_speaks).contains("odd request"));
    }

    #[test]
    fn a_line_for_journald_begins_with_its_priority() {
        let log = written(
            "info",
            || tracing::warn!(target: "whatisup", { instance.id = "inst_1" }, "careful"),
        );
        assert_eq!(log, "<4>whatisup: careful instance.id=\"inst_1\"\n");
    }

    #[test]
    fn journald_reads_only_the_stream_that_is_named() {
        let named = |text: &str| is_stream(Some(OsStr::new(text)), 8, 15);
        assert!(named("8:15"));
        for other in ["8:16", "9:15", "15:8", "8", "8:", "", ":", "8:15:1", "x:y"] {
            assert!(!named(other), "{other}");
        }
        assert!(!is_stream(None, 8, 15));
    }

    #[test]
    fn nonsense_is_no_filter() {
        assert!(filter("loud").is_err());
        assert!(filter("whatisup=loud").is_err());
    }
}
