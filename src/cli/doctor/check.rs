//! What a check says, and how all of them are printed.

use std::io::IsTerminal as _;

use serde_json::{Value, json};

use super::super::output::printable;

/// How a check went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// Works, and will not for ever or not for everybody.
    Warn,
    /// Does not work.
    Fail,
    /// Not looked at.
    Skipped,
}

impl Status {
    const ALL: [Status; 4] = [Status::Ok, Status::Warn, Status::Fail, Status::Skipped];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "fail",
            Status::Skipped => "skipped",
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Status::Ok => "\u{1b}[32m",
            Status::Warn => "\u{1b}[33m",
            Status::Fail => "\u{1b}[1;31m",
            Status::Skipped => "\u{1b}[2m",
        }
    }
}

/// One check: a stable name, how it went, what was found, and what to do where there is something to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Check {
    pub name: &'static str,
    pub status: Status,
    pub found: String,
    pub advice: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::of(name, Status::Ok, found, None)
    }

    pub(super) fn warn(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::of(name, Status::Warn, found, Some(advice.into()))
    }

    pub(super) fn fail(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::of(name, Status::Fail, found, Some(advice.into()))
    }

    /// Not looked at, and why.
    pub(super) fn skipped(name: &'static str, why: impl Into<String>) -> Self {
        Self::of(name, Status::Skipped, why, None)
    }

    fn of(name: &'static str, status: Status, found: impl Into<String>, advice: Option<String>) -> Self {
        Self {
            name,
            status,
            found: found.into(),
            advice,
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "status": self.status.as_str(),
            "found": self.found,
            "advice": self.advice,
        })
    }

    /// The one line of this check.
    fn line(&self, coloured: bool) -> String {
        let word = format!("{:<7}", self.status.as_str());
        let word = if coloured {
            format!("{}{word}\u{1b}[0m", self.status.colour())
        } else {
            word
        };
        let advice = self.advice.as_ref().map(|advice| format!(" → {advice}"));
        let said = format!("{}{}", self.found, advice.unwrap_or_default());
        // One line, also of what is a list where it comes from.
        let said = printable(&said.split_whitespace().collect::<Vec<_>>().join(" "));
        format!("{word}  {:<13}  {said}", self.name)
    }
}

/// All checks, in order.
#[derive(Debug)]
pub(super) struct Report {
    pub checks: Vec<Check>,
}

impl Report {
    pub(super) fn failed(&self) -> bool {
        self.count(Status::Fail) > 0
    }

    fn count(&self, status: Status) -> usize {
        self.checks.iter().filter(|check| check.status == status).count()
    }

    /// For programs: `checks`, and in `summary` how many went how.
    pub(super) fn json(&self) -> Value {
        let counts = Status::ALL.map(|status| (status.as_str().to_owned(), json!(self.count(status))));
        json!({
            "checks": self.checks.iter().map(Check::json).collect::<Vec<_>>(),
            "summary": serde_json::Map::from_iter(counts),
        })
    }

    /// For people: a line each, and one that sums up.
    pub(super) fn text(&self, coloured: bool) -> String {
        let mut lines: Vec<String> = self.checks.iter().map(|check| check.line(coloured)).collect();
        let (failed, warned) = (self.count(Status::Fail), self.count(Status::Warn));
        lines.push(match (failed, warned) {
            (0, 0) => "nothing is wrong".to_owned(),
            (0, warned) => format!("nothing failed; {} to look at", counted(warned, "warning")),
            (failed, 0) => format!("{} failed", counted(failed, "check")),
            (failed, warned) => format!(
                "{} failed; {} to look at",
                counted(failed, "check"),
                counted(warned, "warning")
            ),
        });
        lines.join("\n")
    }
}

/// A number with its noun.
pub(super) fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Whether standard output shows colours: a terminal that nobody asked to go without.
pub(super) fn shows_colours() -> bool {
    let asked_not_to = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    std::io::stdout().is_terminal() && !asked_not_to && !dumb
}

/// Bytes as a person reads them.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} bytes");
    }
    let (mut whole, mut unit) = (bytes, 0);
    // Tenths, so that no figure needs floating point.
    whole /= 100;
    while whole >= 10_000 && unit + 1 < UNITS.len() {
        whole /= 1000;
        unit += 1;
    }
    if whole < 100 {
        format!("{}.{} {}", whole / 10, whole % 10, UNITS[unit])
    } else {
        format!("{} {}", whole / 10, UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_one_line_that_cannot_move_the_cursor() {
        let check = Check::fail("port", "taken by \u{1b}[2Jevil\n  name", "stop it");
        let line = check.line(false);
        assert!(
            line.starts_with("fail     port ") && line.ends_with(" → stop it"),
            "{line}"
        );
        assert!(!line.contains('\u{1b}') && line.contains("evil name"), "{line}");
        assert!(check.line(true).starts_with("\u{1b}[1;31mfail   \u{1b}[0m  port"));
    }

    #[test]
    fn the_summary_counts_and_only_failures_fail() {
        let report = |checks: Vec<Check>| Report { checks };
        let good = report(vec![Check::ok("a", "x"), Check::skipped("b", "y")]);
        assert!(!good.failed() && good.text(false).ends_with("nothing is wrong"));
        let warned = report(vec![Check::warn("a", "x", "z")]);
        assert!(!warned.failed() && warned.text(false).ends_with("1 warning to look at"));
        let failed = report(vec![Check::warn("a", "x", "z"), Check::fail("b", "x", "z")]);
        assert!(failed.failed());
        assert_eq!(
            failed.json(),
            json!({
                "checks": [
                    {"name": "a", "status": "warn", "found": "x", "advice": "z"},
                    {"name": "b", "status": "fail", "found": "x", "advice": "z"},
                ],
                "summary": {"ok": 0, "warn": 1, "fail": 1, "skipped": 0},
            })
        );
    }

    #[test]
    fn sizes_are_read_by_people() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (9_949, "9.9 kB"),
            (12_345, "12 kB"),
            (67_108_864, "67 MB"),
            (1_234_567_890, "1.2 GB"),
            (12_345_678_901, "12 GB"),
            (u64::MAX, "18446 PB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
