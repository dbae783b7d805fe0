//! Untrusted text, sanitized to be shown and logged.

/// One clean line of at most `max` bytes: line breaks become spaces; control characters, terminal sequences (ECMA-48)
/// and the characters that change the direction of writing (Unicode TR #9) are removed. A truncated line ends in `…`.
pub(crate) fn line(text: &str, max: usize) -> String {
    let mut clean = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => clean.push(' '),
            '\u{1b}' => skip_sequence(&mut chars),
            c if is_unfit(c) => {}
            c => clean.push(c),
        }
        if clean.len() > max {
            let kept = prefix(&clean, max.saturating_sub('…'.len_utf8())).len();
            clean.truncate(kept);
            clean.push('…');
            break;
        }
    }
    clean
}

/// The longest beginning of `text` with at most `max` bytes.
pub(crate) fn prefix(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Skips what follows an escape character: `[`, parameters, and one final letter; or a single character.
fn skip_sequence(chars: &mut std::str::Chars<'_>) {
    let mut ahead = chars.clone();
    match ahead.next() {
        Some('[') => {
            for c in ahead.by_ref() {
                if !matches!(c, ' '..='?') {
                    break;
                }
            }
            *chars = ahead;
        }
        Some(c) if c.is_ascii_graphic() => *chars = ahead,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cannot_pass_for_another() {
        assert_eq!(line("one\r\ntwo", 100), "one  two");
        assert_eq!(line("\u{1b}[31mred\u{1b}[0m \u{9b}x\u{7f}", 100), "red x");
        assert_eq!(line("abc\u{202e}fed\u{2066}\u{200b}", 100), "abcfed");
        assert_eq!(line("a\0b\u{1b}", 100), "ab");
        assert_eq!(line("\u{1b}[", 100), "");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(line("ääää", 8), "ääää");
        assert_eq!(line("ääääb", 8), "ää…");
        assert_eq!(prefix("aä", 2), "a");
        assert!(line(&"x".repeat(10_000), 50).len() <= 50);
    }
}
