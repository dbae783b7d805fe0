//! Reads JSON from a platform. Platforms truncate texts by code unit and not by character: half an emoji, written as a
//! lone surrogate, makes a document that strict parsers reject as a whole. Here it costs only that character.

use std::borrow::Cow;

use serde_json::{Error, Value};

/// The replacement character for invalid input, as in [`String::from_utf8_lossy`].
const REPLACEMENT: &str = "\u{fffd}";

/// Parses a document. Lone surrogates, invalid UTF-8, and bare control characters in its strings become U+FFFD (a bare
/// tab or line break is kept); a number beyond a double becomes `null`. A valid document is parsed only once.
///
/// # Errors
/// It is not JSON for another reason.
pub fn from_slice(text: &[u8]) -> Result<Value, Error> {
    let strict = serde_json::from_slice(text);
    match strict {
        // Only syntax can be repaired; a truncated text stays truncated.
        Err(error) if !error.is_eof() => match mend(text) {
            Some(mended) => serde_json::from_slice(mended.as_bytes()),
            None => Err(error),
        },
        read => read,
    }
}

/// The same text with invalid parts replaced; `None` if there are none.
fn mend(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut mended = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    let mut in_text = false;
    let mut changed = matches!(text, Cow::Owned(_));
    while let Some(c) = rest.chars().next() {
        let (taken, replaced) = match c {
            '"' => {
                in_text = !in_text;
                (1, None)
            }
            '\\' if in_text => escape(rest),
            '\t' if in_text => (1, Some("\\t")),
            '\n' if in_text => (1, Some("\\n")),
            '\r' if in_text => (1, Some("\\r")),
            c if in_text && c < ' ' => (1, Some(REPLACEMENT)),
            '-' | '0'..='9' if !in_text => number(rest),
            c => (c.len_utf8(), None),
        };
        let (piece, after) = rest.split_at(taken);
        mended.push_str(replaced.unwrap_or(piece));
        changed |= replaced.is_some();
        rest = after;
    }
    changed.then_some(mended)
}

/// The length of the escape at the beginning of `text`, and its replacement if it is half of a pair.
fn escape(text: &str) -> (usize, Option<&'static str>) {
    const ESCAPED: usize = 6;
    match unit(text) {
        Some(0xd800..0xdc00) if matches!(text.get(ESCAPED..).and_then(unit), Some(0xdc00..0xe000)) => {
            (2 * ESCAPED, None)
        }
        Some(0xd800..0xe000) => (ESCAPED, Some(REPLACEMENT)),
        Some(_) => (ESCAPED, None),
        // The character after the backslash belongs to it, in particular a quotation mark.
        None => (1 + text[1..].chars().next().map_or(0, char::len_utf8), None),
    }
}

/// The UTF-16 unit at the beginning of `text`, written as `\uXXXX`.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}

/// The length of the number at the beginning of `text`; `null` replaces it if no double can represent it.
fn number(text: &str) -> (usize, Option<&'static str>) {
    let part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    let length = text.find(|c| !part(c)).unwrap_or(text.len());
    let is_beyond = text[..length].parse::<f64>().is_ok_and(f64::is_infinite);
    (length, is_beyond.then_some("null"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn half_a_pair_becomes_a_replacement() {
        let cases = [
            (r#"{"t":"cut \ud83d"}"#, "cut \u{fffd}"),
            (r#"{"t":"\ude00 cut"}"#, "\u{fffd} cut"),
            (r#"{"t":"\ud83d\ude00"}"#, "\u{1f600}"),
            (r#"{"t":"\ud83d\ud83d\ude00"}"#, "\u{fffd}\u{1f600}"),
            (r#"{"t":"\ude00\ud83d"}"#, "\u{fffd}\u{fffd}"),
            (r#"{"t":"\\ud83d \ud83d"}"#, "\\ud83d \u{fffd}"),
            (r#"{"t":"\"\ud83d\""}"#, "\"\u{fffd}\""),
            (r#"{"t":"\uD83D\n"}"#, "\u{fffd}\n"),
        ];
        for (text, expected) in cases {
            assert_eq!(from_slice(text.as_bytes()).unwrap(), json!({ "t": expected }), "{text}");
        }
    }

    #[test]
    fn bytes_and_controls_cost_one_character() {
        assert_eq!(from_slice(b"{\"t\":\"a\xffb\"}").unwrap(), json!({ "t": "a\u{fffd}b" }));
        assert_eq!(
            from_slice(b"{\"t\":\"a\x00b\tc\nd\"}").unwrap(),
            json!({ "t": "a\u{fffd}b\tc\nd" })
        );
        assert_eq!(
            from_slice(br#"{"n":1e999,"t":"x"}"#).unwrap(),
            json!({ "n": null, "t": "x" })
        );
    }

    #[test]
    fn a_name_of_a_member_is_mended_too() {
        assert_eq!(from_slice(br#"{"\ud83d":1}"#).unwrap(), json!({ "\u{fffd}": 1 }));
    }

    #[test]
    fn what_is_no_json_stays_refused() {
        for text in [
            "",
            "{",
            "<html>",
            r#"{"t":"\ud83d""#,
            r#"{"t": secret}"#,
            r#"{"t":"\x"}"#,
        ] {
            assert!(from_slice(text.as_bytes()).is_err(), "{text}");
        }
    }

    /// A JSON text in which any UTF-16 unit may be escaped, in pairs or not.
    fn units() -> impl Strategy<Value = Vec<u16>> {
        let unit = prop_oneof![any::<u16>(), 0xd800..0xe000u16, 0x20..0x7fu16];
        proptest::collection::vec(unit, 0..24)
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = from_slice(&bytes);
        }

        #[test]
        fn any_units_read_as_utf16_does(units in units()) {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let read = from_slice(format!(r#"{{"t":"{escaped}"}}"#).as_bytes()).unwrap();
            prop_assert_eq!(read, json!({ "t": String::from_utf16_lossy(&units) }));
        }

        #[test]
        fn a_good_document_is_read_as_it_is(text in ".*", number in any::<i64>()) {
            let document = json!({ "t": text, "n": [number, { "t": "x" }] });
            prop_assert_eq!(from_slice(document.to_string().as_bytes()).unwrap(), document);
        }
    }
}
