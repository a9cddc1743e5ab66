//! Whether the program is installed as a systemd service, whether the server that runs is that service, and whether
//! this command looks at the same settings and the same folder.

use std::path::{Path, PathBuf};

use super::super::PROGRAM;
use super::super::context::Context;
use super::check::Check;
use crate::sys::paths::ServicePlaces;
use crate::sys::process;

/// An installed unit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Unit {
    /// Whether it belongs to one user's manager.
    of_user: bool,
    /// The settings' file that it names.
    config: Option<PathBuf>,
    /// The state folder that it names.
    state: Option<PathBuf>,
}

/// What runs and what this command looks at.
struct Here<'a> {
    config: Option<&'a Path>,
    state: &'a Path,
    /// The unit that the running server belongs to.
    running: Running,
    /// Whether a user's services stay when the user signs out; `None` when that does not matter or is not told.
    lingers: Option<bool>,
}

/// What is known of the server that runs.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Running {
    Nothing,
    /// One runs; whose unit it is cannot be seen.
    Somehow,
    InUnit(String),
    ByHand,
}

pub(super) fn service(context: &Context, config: Option<&Path>, answers: bool, server: Option<u32>) -> Check {
    if !Path::new("/run/systemd/system").exists() {
        return Check::skipped("service", "systemd does not run here");
    }
    let name = format!("{PROGRAM}.service");
    let running = match server {
        Some(pid) => match process::unit(pid) {
            Some(unit) => Running::InUnit(unit),
            None => Running::ByHand,
        },
        None if answers => Running::Somehow,
        None => Running::Nothing,
    };
    let system = ServicePlaces::default().units;
    let system = system.iter().map(|folder| (folder.join(&name), false));
    let user = user_units().map(|folder| (folder.join(&name), true));
    let found = system.chain(user).find_map(|(path, of_user)| {
        let text = std::fs::read_to_string(path).ok()?;
        Some(parse(&text, of_user))
    });
    let lingers = found.as_ref().is_some_and(|unit| unit.of_user).then(|| {
        let user = std::env::var_os("USER").unwrap_or_default();
        Path::new("/var/lib/systemd/linger").join(user).exists()
    });
    judge(
        found.as_ref(),
        &Here {
            config,
            state: &context.state,
            running,
            lingers,
        },
    )
}

fn user_units() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))?;
    Some(base.join("systemd/user"))
}

/// Reads the lines that matter; a specifier such as `%h` leaves a path unknown.
fn parse(text: &str, of_user: bool) -> Unit {
    let mut unit = Unit {
        of_user,
        ..Unit::default()
    };
    let path = |text: &str| {
        let text = text.trim_matches('"');
        (text.starts_with('/') && !text.contains('%')).then(|| PathBuf::from(text))
    };
    let joined = text.replace("\\\n", " ");
    for (key, value) in joined.lines().filter_map(|line| line.trim().split_once('=')) {
        match key.trim() {
            "ExecStart" => {
                let words: Vec<&str> = value.split_whitespace().collect();
                for (at, word) in words.iter().enumerate() {
                    let (flag, joined) = word
                        .split_once('=')
                        .map_or((*word, None), |(flag, value)| (flag, Some(value)));
                    let value = joined.or_else(|| words.get(at + 1).copied()).unwrap_or_default();
                    match flag {
                        "--config" => unit.config = path(value),
                        "--state" => unit.state = path(value),
                        _ => {}
                    }
                }
            }
            "Environment" => {
                for pair in value.split_whitespace() {
                    match pair.trim_matches('"').split_once('=') {
                        Some(("WHATISUP_CONFIG", value)) => unit.config = path(value),
                        Some(("WHATISUP_STATE", value)) => unit.state = path(value),
                        _ => {}
                    }
                }
            }
            "StateDirectory" if !of_user && unit.state.is_none() => {
                let first = value.split_whitespace().next().unwrap_or_default();
                let folder = first.split(':').next().unwrap_or_default();
                unit.state = (!folder.contains('%')).then(|| Path::new("/var/lib").join(folder));
            }
            _ => {}
        }
    }
    unit
}

/// Whether two paths mean one place, links followed where they can be.
fn same(one: &Path, other: &Path) -> bool {
    one == other
        || std::fs::canonicalize(one).is_ok_and(|one| std::fs::canonicalize(other).is_ok_and(|other| one == other))
}

fn judge(unit: Option<&Unit>, here: &Here<'_>) -> Check {
    const NAME: &str = "service";
    let Some(unit) = unit else {
        return Check::skipped(NAME, "not installed as a systemd service");
    };
    let (control, whose) = if unit.of_user {
        ("systemctl --user", "the user's service")
    } else {
        ("systemctl", "the service")
    };
    let other_config = unit
        .config
        .as_deref()
        .filter(|config| here.config.is_none_or(|own| !same(own, config)));
    let other_state = unit.state.as_deref().filter(|state| !same(here.state, state));
    if other_config.is_some() || other_state.is_some() {
        let flag = |name: &str, path: Option<&Path>| path.map(|path| format!(" --{name} {}", path.display()));
        let flags: String = [flag("config", unit.config.as_deref()), flag("state", other_state)]
            .into_iter()
            .flatten()
            .collect();
        let sudo = if unit.of_user { "" } else { "sudo " };
        return Check::warn(
            NAME,
            format!("{whose} runs with other settings or another folder than this command looked at:{flags}"),
            format!("{sudo}{PROGRAM} doctor{flags}"),
        );
    }
    let name = format!("{PROGRAM}.service");
    match &here.running {
        Running::Nothing => Check::warn(
            NAME,
            format!("{whose} is installed, and does not run"),
            format!("{control} status {PROGRAM}; start it with {control} start {PROGRAM}"),
        ),
        Running::InUnit(running) if *running != name => Check::warn(
            NAME,
            format!("a server runs as {running} instead of {whose}"),
            format!("stop that one, then {control} start {PROGRAM}"),
        ),
        Running::ByHand => Check::warn(
            NAME,
            format!("a server runs that was started by hand, instead of {whose}"),
            format!("stop it, then {control} start {PROGRAM}"),
        ),
        Running::InUnit(_) | Running::Somehow if here.lingers == Some(false) => Check::warn(
            NAME,
            format!("{whose} runs, and ends when its user signs out"),
            "loginctl enable-linger",
        ),
        Running::InUnit(_) => Check::ok(NAME, format!("{whose} runs")),
        Running::Somehow => Check::ok(NAME, format!("{whose} is installed, and a server runs")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Status;
    use super::*;

    #[test]
    fn a_unit_tells_its_settings_and_its_folder() {
        let text = "[Service]\nExecStart=/usr/bin/whatisup serve \\\n  --config /etc/whatisup/whatisup.toml\nStateDirectory=whatisup\n";
        assert_eq!(
            parse(text, false),
            Unit {
                of_user: false,
                config: Some("/etc/whatisup/whatisup.toml".into()),
                state: Some("/var/lib/whatisup".into()),
            }
        );
        let text = "ExecStart=%h/.local/bin/whatisup serve --config=/c\nEnvironment=WHATISUP_STATE=/s \"A=b\"\nStateDirectory=x\n";
        assert_eq!(
            parse(text, true),
            Unit {
                of_user: true,
                config: Some("/c".into()),
                state: Some("/s".into()),
            }
        );
        assert_eq!(
            parse("ExecStart=x serve --config %h/c\nStateDirectory=x", true).config,
            None
        );
    }

    #[test]
    fn a_service_is_judged_by_what_runs_and_what_was_looked_at() {
        let unit = |of_user| Unit {
            of_user,
            config: Some("/c".into()),
            state: Some("/s".into()),
        };
        let own = || Running::InUnit(format!("{PROGRAM}.service"));
        let check = |unit: Option<Unit>, config: &str, state: &str, running, lingers| {
            judge(
                unit.as_ref(),
                &Here {
                    config: Some(Path::new(config)),
                    state: Path::new(state),
                    running,
                    lingers,
                },
            )
        };
        for (check, expected, part) in [
            (
                check(None, "/c", "/s", Running::ByHand, None),
                Status::Skipped,
                "not installed",
            ),
            (check(Some(unit(false)), "/c", "/s", own(), None), Status::Ok, "runs"),
            (
                check(Some(unit(false)), "/c", "/s", Running::Somehow, None),
                Status::Ok,
                "runs",
            ),
            (
                check(Some(unit(false)), "/c", "/s", Running::Nothing, None),
                Status::Warn,
                "does not run",
            ),
            (
                check(Some(unit(false)), "/c", "/s", Running::ByHand, None),
                Status::Warn,
                "by hand",
            ),
            (
                check(
                    Some(unit(false)),
                    "/c",
                    "/s",
                    Running::InUnit("tmux.service".into()),
                    None,
                ),
                Status::Warn,
                "tmux.service",
            ),
            (
                check(Some(unit(false)), "/d", "/s", own(), None),
                Status::Warn,
                "--config /c",
            ),
            (
                check(Some(unit(false)), "/c", "/t", own(), None),
                Status::Warn,
                "--state /s",
            ),
            (
                check(Some(unit(true)), "/c", "/s", own(), Some(false)),
                Status::Warn,
                "signs out",
            ),
            (
                check(Some(unit(true)), "/c", "/s", own(), Some(true)),
                Status::Ok,
                "runs",
            ),
        ] {
            assert!(check.status == expected && check.found.contains(part), "{check:?}");
        }
    }
}
