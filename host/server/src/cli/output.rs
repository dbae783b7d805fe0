//! Output: aligned tables for people, or JSON documents for scripts.

use std::io::{IsTerminal, Write};

use serde_json::Value;

/// Prints in the format that the command line selects.
pub(super) struct Output {
    json: bool,
    color: bool,
}

/// Longest text of one cell, so that a row fits on a line; `--json` prints all of it.
const CELL: usize = 60;

impl Output {
    /// Colors are for terminals only, and off with `NO_COLOR` (no-color.org).
    pub(super) fn new(json: bool) -> Self {
        let color =
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, color }
    }

    /// Whether `--json` is set.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a document on one line.
    pub(super) fn document(&self, document: &Value) {
        self.line(&document.to_string());
    }

    /// Prints a document, or calls `show` without `--json`.
    pub(super) fn show(&self, document: &Value, show: impl FnOnce()) {
        if self.json {
            self.document(document);
        } else {
            show();
        }
    }

    /// Prints a list: one document per line, or a table, or `empty`. A column is a heading and a JSON Pointer.
    pub(super) fn list(&self, answer: &Value, columns: &[(&str, &str)], empty: &str) {
        let rows = answer
            .get("data")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        if self.json {
            rows.iter().for_each(|row| self.document(row));
            return;
        }
        if rows.is_empty() {
            self.line(empty);
            return;
        }
        self.table(columns, &rows);
        if answer.get("has_more").and_then(Value::as_bool) == Some(true) {
            self.line("(more entries exist; read them with the API's `cursor` parameter)");
        }
    }

    fn table(&self, columns: &[(&str, &str)], rows: &[Value]) {
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|row| columns.iter().map(|(_, pointer)| cell(row.pointer(pointer))).collect())
            .collect();
        let width = |column: usize| {
            let longest = cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            longest.max(columns[column].0.chars().count())
        };
        let widths: Vec<usize> = (0..columns.len()).map(width).collect();
        let aligned = |texts: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<String> = texts
                .zip(&widths)
                .map(|(text, width)| format!("{text:<width$}"))
                .collect();
            padded.join("  ").trim_end().to_owned()
        };
        self.line(&self.bold(&aligned(&mut columns.iter().map(|(heading, _)| *heading))));
        for row in &cells {
            self.line(&aligned(&mut row.iter().map(String::as_str)));
        }
    }

    /// Prints names and values, one pair per line; empty values are left out.
    pub(super) fn facts(&self, facts: &[(&str, String)]) {
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
            self.line(&format!("{}  {}", self.bold(&format!("{name:<width$}")), clean(value)));
        }
    }

    /// Prints a heading.
    pub(super) fn heading(&self, text: &str) {
        self.line(&self.bold(&clean(text)));
    }

    /// Prints the result of a check.
    pub(super) fn check(&self, passed: bool, subject: &str, evidence: &str) {
        let (mark, color) = if passed { ("ok  ", "32") } else { ("FAIL", "31") };
        self.line(&format!(
            "{}  {}  {}",
            self.colored(mark, color),
            subject,
            clean(evidence)
        ));
    }

    /// Prints a line to standard output.
    pub(super) fn line(&self, text: &str) {
        // With a closed pipe there is no reader to report to.
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// Prints a line to standard error: a script does not read it.
    pub(super) fn note(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// Shows progress on one line, which the next call replaces; on terminals only.
    pub(super) fn progress(&self, text: &str) {
        let mut out = std::io::stderr();
        if out.is_terminal() {
            let _ = write!(out, "\r{text}\x1b[K").and_then(|()| out.flush());
        }
    }

    /// Prints why the command failed.
    pub(super) fn failure(&self, message: &str, problem: Option<&Value>) {
        if let (true, Some(problem)) = (self.json, problem) {
            self.document(problem);
        }
        self.note(&format!("weir: {}", clean(message)));
    }

    fn bold(&self, text: &str) -> String {
        self.colored(text, "1")
    }

    fn colored(&self, text: &str, code: &str) -> String {
        if self.color {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// The text of one cell, without control characters: it may be untrusted.
fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => clean(text),
        Some(Value::Array(items)) => items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(", "),
        Some(value) => value.to_string(),
    };
    if text.chars().count() <= CELL {
        return text;
    }
    text.chars().take(CELL - 1).chain(std::iter::once('…')).collect()
}

/// The text of a member, for [`Output::facts`].
pub(super) fn text(document: &Value, pointer: &str) -> String {
    match document.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// Replaces control characters, which could change how a terminal behaves.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(cell(Some(&json!("a\u{1b}[31mb\nc"))), "a [31mb c");
    }

    #[test]
    fn long_cells_are_truncated() {
        assert_eq!(cell(Some(&json!("x".repeat(60)))).chars().count(), 60);
        assert!(cell(Some(&json!("x".repeat(61)))).ends_with("x…"));
        assert_eq!(cell(Some(&json!(["a", "b"]))), "a, b");
        assert_eq!(cell(None), "");
    }
}
