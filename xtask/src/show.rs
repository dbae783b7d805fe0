//! Terminal output of xtask's commands: color where it is supported, plain text elsewhere.

use anstyle::{AnsiColor, Style};

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Success.
pub(crate) fn good(text: &str) -> String {
    paint(AnsiColor::Green.on_default().bold(), text)
}

/// Failure.
pub(crate) fn bad(text: &str) -> String {
    paint(AnsiColor::Red.on_default().bold(), text)
}

/// Secondary text.
pub(crate) fn quiet(text: &str) -> String {
    paint(AnsiColor::BrightBlack.on_default(), text)
}

/// Highlighted text.
pub(crate) fn bright(text: &str) -> String {
    paint(AnsiColor::Cyan.on_default().bold(), text)
}

/// The start of a longer operation.
pub(crate) fn step(text: &str) {
    anstream::eprintln!("{} {text}", bright("▸"));
}

/// The progress of a longer operation.
pub(crate) fn note(text: &str) {
    anstream::eprintln!("  {}", quiet(text));
}
