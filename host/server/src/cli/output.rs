//! What a person or a script reads: aligned tables, or the documents themselves.

use std::io::{IsTerminal, Write};

use serde_json::Value;

/// Where output goes, and in which form.
pub(super) struct Output {
    json: bool,
    colour: bool,
}

/// Longest text of one cell; a table is for looking, `--json` for reading.
const CELL: usize = 60;

impl Output {
    /// Colour only where somebody sees it, and not against their wish (no-color.org).
    pub(super) fn new(json: bool) -> Self {
        let colour =
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, colour }
    }

    /// Whether documents are wanted.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// A document on one line.
    pub(super) fn document(&self, document: &Value) {
        self.line(&document.to_string());
    }

    /// A document as it is, or in words of `show`.
    pub(super) fn show(&self, document: &Value, show: impl FnOnce()) {
        if self.json {
            self.document(document);
        } else {
            show();
        }
    }

    /// A list: its documents one a line, or a table. A column is a heading and a JSON Pointer.
    pub(super) fn list(&self, answer: &Value, columns: &[(&str, &str)], nothing: &str) {
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
            self.line(nothing);
            return;
        }
        self.table(columns, &rows);
        if answer.get("has_more").and_then(Value::as_bool) == Some(true) {
            self.line("… more; --json and ?cursor of the API have them all");
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

    /// Names and values under each other.
    pub(super) fn facts(&self, facts: &[(&str, String)]) {
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
            self.line(&format!("{}  {}", self.bold(&format!("{name:<width$}")), clean(value)));
        }
    }

    /// A line that others stand under.
    pub(super) fn heading(&self, text: &str) {
        self.line(&self.bold(&clean(text)));
    }

    /// Something that was looked at.
    pub(super) fn check(&self, is_well: bool, subject: &str, words: &str) {
        let (mark, colour) = if is_well { ("ok ", "32") } else { ("no ", "31") };
        self.line(&format!(
            "{}  {}  {}",
            self.painted(mark, colour),
            subject,
            clean(words)
        ));
    }

    /// A line of our own words.
    pub(super) fn line(&self, text: &str) {
        // A reader that went away ends the command elsewhere; there is nobody to tell.
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// Something on the side, which a script does not read.
    pub(super) fn note(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// How far something is, on one line that the next one takes the place of; only where somebody looks.
    pub(super) fn progress(&self, text: &str) {
        let mut out = std::io::stderr();
        if out.is_terminal() {
            let _ = write!(out, "\r{text}\x1b[K").and_then(|()| out.flush());
        }
    }

    /// Why the command failed.
    pub(super) fn failure(&self, message: &str, problem: Option<&Value>) {
        if let (true, Some(problem)) = (self.json, problem) {
            self.document(problem);
        }
        self.note(&format!("weir: {}", clean(message)));
    }

    fn bold(&self, text: &str) -> String {
        self.painted(text, "1")
    }

    fn painted(&self, text: &str, code: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// One cell: text without what could steer a terminal, since people elsewhere wrote it.
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

/// Text without what could steer a terminal.
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
    fn what_a_stranger_wrote_cannot_steer_the_terminal() {
        assert_eq!(cell(Some(&json!("a\u{1b}[31mb\nc"))), "a [31mb c");
    }

    #[test]
    fn a_long_text_is_cut_with_a_mark() {
        assert_eq!(cell(Some(&json!("x".repeat(60)))).chars().count(), 60);
        assert!(cell(Some(&json!("x".repeat(61)))).ends_with("x…"));
        assert_eq!(cell(Some(&json!(["a", "b"]))), "a, b");
        assert_eq!(cell(None), "");
    }
}
