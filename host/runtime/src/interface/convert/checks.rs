//! Checks of untrusted values: bounds on length and number, and sanitizing.

use weir_domain::limits;

use crate::error::ConversionError;
use crate::text::prefix;

pub(super) type Converted<T> = Result<T, ConversionError>;

/// A text of at most `max` bytes, [`clean`].
pub(super) fn text(member: &str, text: String, max: usize) -> Converted<String> {
    if text.len() > max {
        return Err(ConversionError::new(
            member,
            format!("has {} bytes, and {max} are allowed", text.len()),
        ));
    }
    Ok(clean(text))
}

/// Replaces control characters other than tabs and line ends by U+FFFD: no person types them, databases reject U+0000,
/// and others move a terminal's cursor.
pub(super) fn clean(text: String) -> String {
    let is_unfit = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    if text.contains(is_unfit) {
        text.replace(is_unfit, "\u{fffd}")
    } else {
        text
    }
}

/// A person's name, truncated if it is too long: no message is rejected for it.
pub(super) fn shown_name(value: Option<String>) -> Option<String> {
    let value = value.filter(|value| !value.is_empty())?;
    Some(clean(prefix(&value, limits::NAME_BYTES).to_owned()))
}

/// The URL of a picture; none if it is too long or holds control characters.
pub(super) fn shown_url(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty() && value.len() <= limits::URL_BYTES && !value.contains(char::is_control))
}

/// The name of a file, an ad, a place. Empty is the same as absent.
pub(super) fn name(member: &str, value: Option<String>) -> Converted<Option<String>> {
    some_text(member, value, limits::NAME_BYTES)
}

/// A URL. Empty is the same as absent.
pub(super) fn url(member: &str, value: Option<String>) -> Converted<Option<String>> {
    some_text(member, value, limits::URL_BYTES)
}

pub(super) fn some_text(member: &str, value: Option<String>, max: usize) -> Converted<Option<String>> {
    value
        .filter(|value| !value.is_empty())
        .map(|value| text(member, value, max))
        .transpose()
}

/// A platform's id: neither empty nor truncated.
pub(super) fn id(member: &str, value: String) -> Converted<String> {
    if value.is_empty() {
        return Err(ConversionError::new(member, "is empty"));
    }
    if value.contains(char::is_control) {
        return Err(ConversionError::new(member, "holds a control character"));
    }
    text(member, value, limits::PLATFORM_ID_BYTES)
}

pub(super) fn some_id(member: &str, value: Option<String>) -> Converted<Option<String>> {
    value
        .filter(|value| !value.is_empty())
        .map(|value| id(member, value))
        .transpose()
}

/// A token of an open list.
pub(super) fn token(member: &str, value: String) -> Converted<String> {
    if is_token(&value) {
        return Ok(value);
    }
    Err(ConversionError::new(
        member,
        format!(
            "is no word of 1 to {} letters a–z, digits and underscores",
            limits::TOKEN_BYTES
        ),
    ))
}

pub(super) fn is_token(value: &str) -> bool {
    (1..=limits::TOKEN_BYTES).contains(&value.len())
        && value
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.'))
}

pub(super) fn some_token(member: &str, value: Option<String>) -> Converted<Option<String>> {
    value
        .filter(|value| !value.is_empty())
        .map(|value| token(member, value))
        .transpose()
}

/// A JSON document.
pub(super) fn json(member: &str, document: &str) -> Converted<serde_json::Value> {
    if document.len() > limits::PLATFORM_DATA_BYTES {
        return Err(ConversionError::new(
            member,
            format!(
                "has {} bytes, and {} are allowed",
                document.len(),
                limits::PLATFORM_DATA_BYTES
            ),
        ));
    }
    weir_json::from_slice(document.as_bytes())
        .map_err(|error| ConversionError::new(member, format!("is no JSON: {error}")))
}

pub(super) fn some_json(member: &str, document: Option<String>) -> Converted<Option<serde_json::Value>> {
    document
        .filter(|document| !document.is_empty())
        .map(|document| json(member, &document))
        .transpose()
}

/// Every entry of a list of at most `max`, converted; an error names the entry.
pub(super) fn each<A, B>(
    member: &str,
    list: Vec<A>,
    max: usize,
    mut convert: impl FnMut(A) -> Converted<B>,
) -> Converted<Vec<B>> {
    if list.len() > max {
        return Err(ConversionError::new(
            member,
            format!("has {} entries, and {max} are allowed", list.len()),
        ));
    }
    list.into_iter()
        .enumerate()
        .map(|(i, entry)| convert(entry).map_err(|bad| bad.within(format_args!("{member}[{i}]"))))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_error_names_the_member_and_its_bound() {
        let bad = each("events", vec![String::new(), "x".repeat(513)], 10, |value| {
            id("key", if value.is_empty() { "a".into() } else { value })
        });
        assert_eq!(
            bad.unwrap_err().to_string(),
            "events[1].key has 513 bytes, and 512 are allowed"
        );
        assert!(each("events", vec![(); 11], 10, |()| Ok(())).is_err());
    }

    #[test]
    fn ids_are_there_and_whole() {
        assert!(id("id", String::new()).is_err());
        assert!(id("id", "a\0".into()).is_err());
        assert!(id("id", "x".repeat(limits::PLATFORM_ID_BYTES)).is_ok());
    }

    #[test]
    fn deep_json_is_refused_and_does_not_take_the_stack() {
        assert!(json("detail", &"[".repeat(60_000)).is_err());
        assert!(json("detail", &format!("\"{}\"", "x".repeat(limits::PLATFORM_DATA_BYTES))).is_err());
        assert!(json("detail", "{}").is_ok());
    }

    #[test]
    fn a_control_character_becomes_a_replacement() {
        assert_eq!(
            text("text", "a\0b\tc\r\n\u{1b}[31m\u{9b}".into(), 40).unwrap(),
            "a\u{fffd}b\tc\r\n\u{fffd}[31m\u{fffd}"
        );
        assert_eq!(shown_name(Some("a\0".into())).as_deref(), Some("a\u{fffd}"));
        assert_eq!(shown_name(Some("ä".repeat(1_000))).unwrap().len(), limits::NAME_BYTES);
        assert_eq!(shown_url(Some("x".repeat(limits::URL_BYTES + 1))), None);
    }

    #[test]
    fn token_has_no_spaces() {
        for word in ["rate_limited", "a", "x1"] {
            assert!(is_token(word), "{word}");
        }
        for word in ["", "Rate", "a b", "ä", "a\n"] {
            assert!(!is_token(word), "{word:?}");
        }
    }
}
