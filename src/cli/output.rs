//! Standard output: JSON for programs, lines and tables for people.

use std::io::{self, Write};

use serde_json::Value;

use super::failure::Failure;

/// How a command prints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// Whether `--json` was given.
    pub json: bool,
}

impl Output {
    /// One line.
    #[expect(clippy::unused_self, reason = "every way to standard output goes through this type")]
    pub(super) fn line(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// A value as JSON where that is wanted, else what `text` says.
    pub(super) fn value(self, value: &Value, text: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
        self.line(&if self.json { format!("{value:#}") } else { text(value) })
    }

    /// Rows under headings; as JSON, the list of values itself. Each column is a heading and a pointer into the value.
    pub(super) fn table(self, values: &[Value], columns: &[(&str, &str)]) -> Result<(), Failure> {
        if self.json {
            return self.line(&format!("{:#}", Value::from(values.to_vec())));
        }
        self.line(&table(values, columns))
    }

    /// A remark for a person, beside the output.
    pub(super) fn note(self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }
}

fn table(values: &[Value], columns: &[(&str, &str)]) -> String {
    let heading: Vec<String> = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(heading)
        .chain(
            values
                .iter()
                .map(|value| columns.iter().map(|(_, at)| cell(value.pointer(at))).collect()),
        )
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) => printable(text),
        Some(Value::Array(items)) => items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(","),
        Some(other) => other.to_string(),
    }
}

/// A text from outside without what could move a terminal's cursor.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|one| if one.is_control() { '\u{fffd}' } else { one })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_line_up_and_missing_values_are_a_dash() {
        let rows = [
            json!({"id": "inst_1", "name": "Ação", "status": {"code": "ok"}}),
            json!({"id": "i"}),
        ];
        assert_eq!(
            table(&rows, &[("ID", "/id"), ("NAME", "/name"), ("STATUS", "/status/code")]),
            "ID      NAME  STATUS\ninst_1  Ação  ok\ni       -     -"
        );
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
