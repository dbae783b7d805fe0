//! How the chores look on a terminal: color where there is one, plain text elsewhere.

use anstyle::{AnsiColor, Style};

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// What went well.
pub(crate) fn good(text: &str) -> String {
    paint(AnsiColor::Green.on_default().bold(), text)
}

/// What did not.
pub(crate) fn bad(text: &str) -> String {
    paint(AnsiColor::Red.on_default().bold(), text)
}

/// What is only said beside.
pub(crate) fn quiet(text: &str) -> String {
    paint(AnsiColor::BrightBlack.on_default(), text)
}

/// What the eye should find.
pub(crate) fn bright(text: &str) -> String {
    paint(AnsiColor::Cyan.on_default().bold(), text)
}

/// The beginning of something that takes a while.
pub(crate) fn step(text: &str) {
    anstream::eprintln!("{} {text}", bright("▸"));
}

/// How something that takes a while is getting on.
pub(crate) fn note(text: &str) {
    anstream::eprintln!("  {}", quiet(text));
}
