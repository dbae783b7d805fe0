//! Lenient parsing of a platform's JSON.
//!
//! A platform's JSON drifts: a field arrives as a number instead of a string, a block is missing, a new field appears.
//! Here reading a field *takes* it out of the object, if it has the expected type; fields that were not taken are [the
//! rest](Fields::rest), which a connector keeps as `platform_data`, so that unknown fields are not lost.

use serde_json::{Map, Value};

use crate::types::Token;

/// The fields of a JSON object that have not been taken yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Parses a JSON object. Nesting is limited by serde_json, to 128. A lone surrogate, or an invalid byte, becomes
    /// U+FFFD.
    ///
    /// # Errors
    /// The syntax error, by position; never the content.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let value = weir_json::from_slice(text).map_err(|error| describe(&error))?;
        Self::of(value).ok_or_else(|| "not a JSON object".to_owned())
    }

    /// The fields of `value`, if it is an object.
    #[must_use]
    pub fn of(value: Value) -> Option<Self> {
        match value {
            Value::Object(fields) => Some(Self(fields)),
            _ => None,
        }
    }

    /// Takes an identifier: a string, or a whole number below 2^64, as its digits. An empty string counts as absent. A
    /// number that JSON cannot carry exactly is not taken, since a rounded id is a different id.
    pub fn id(&mut self, name: &str) -> Option<String> {
        self.take(name, |value| match value {
            Value::String(id) if !id.is_empty() => Ok(id),
            Value::Number(number) if number.is_u64() || number.is_i64() => Ok(number.to_string()),
            other => Err(other),
        })
    }

    /// Takes a string, which may be empty.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.take(name, |value| match value {
            Value::String(text) => Ok(text),
            other => Err(other),
        })
    }

    /// Takes a text that is not empty.
    pub fn filled_text(&mut self, name: &str) -> Option<String> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// Takes a whole number, also one written as a string.
    pub fn number(&mut self, name: &str) -> Option<u64> {
        self.take(name, |value| match &value {
            Value::Number(number) => number.as_u64().ok_or(value),
            Value::String(digits) => digits.parse().map_err(|_| value),
            _ => Err(value),
        })
    }

    /// Takes a Boolean.
    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        self.take(name, |value| value.as_bool().ok_or(value))
    }

    /// Takes an object.
    pub fn fields(&mut self, name: &str) -> Option<Fields> {
        self.take(name, |value| match value {
            Value::Object(fields) => Ok(Fields(fields)),
            other => Err(other),
        })
    }

    /// Takes a list of objects; other elements are skipped. An absent list is an empty one.
    pub fn objects(&mut self, name: &str) -> Vec<Fields> {
        self.take(name, |value| match value {
            Value::Array(elements) => Ok(elements.into_iter().filter_map(Fields::of).collect()),
            other => Err(other),
        })
        .unwrap_or_default()
    }

    /// Takes the value, whatever its type.
    pub fn any(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// The value, without taking it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Puts a field back into the object, or adds one.
    pub fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Puts the rest of a block back into the object, if there is any.
    pub fn put_rest(&mut self, name: &str, block: Fields) {
        if !block.0.is_empty() {
            self.0.insert(name.to_owned(), Value::Object(block.0));
        }
    }

    /// Whether every field was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields that were not taken, as a JSON document; `None` if none are left.
    #[must_use]
    pub fn rest(self) -> Option<String> {
        if self.0.is_empty() {
            None
        } else {
            Some(Value::Object(self.0).to_string())
        }
    }

    /// The rest, as a value.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// Removes a field and converts it, or leaves it unchanged.
    fn take<T>(&mut self, name: &str, convert: impl FnOnce(Value) -> Result<T, Value>) -> Option<T> {
        let value = self.0.remove(name)?;
        match convert(value) {
            Ok(taken) => Some(taken),
            Err(value) => {
                self.0.insert(name.to_owned(), value);
                None
            }
        }
    }
}

/// A platform's name as a token of the interface: lower case, with an underscore for each character that a token may
/// not contain. `None` if no character is left.
#[must_use]
pub fn token(word: &str) -> Option<Token> {
    /// The host accepts no longer one.
    const MOST: usize = 64;
    let token: Token = word
        .chars()
        .take(MOST)
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    token.contains(|c| c != '_').then_some(token)
}

/// The position where a text stops being valid JSON. serde_json's own message may quote the text, which may be personal
/// data.
fn describe(error: &serde_json::Error) -> String {
    let fault = if error.is_eof() { "ends early" } else { "is not JSON" };
    format!("the text {fault} at line {}, column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn fields(text: &str) -> Fields {
        Fields::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_id_keeps_every_digit() {
        let cases = [
            (r#"{"id":"C+1=="}"#, Some("C+1==")),
            (r#"{"id":7301234567890123457}"#, Some("7301234567890123457")),
            (r#"{"id":18446744073709551615}"#, Some("18446744073709551615")),
            (r#"{"id":18446744073709551616}"#, None),
            (r#"{"id":1.5}"#, None),
            (r#"{"id":""}"#, None),
            (r#"{"id":null}"#, None),
            ("{}", None),
        ];
        for (text, id) in cases {
            assert_eq!(fields(text).id("id").as_deref(), id, "{text}");
        }
    }

    #[test]
    fn what_is_not_taken_is_left() {
        let mut object = fields(r#"{"a":"x","b":3,"c":{"d":1,"e":2},"f":"not a number"}"#);
        assert_eq!(object.text("a").as_deref(), Some("x"));
        assert_eq!(object.number("f"), None);
        let mut block = object.fields("c").unwrap();
        assert_eq!(block.number("d"), Some(1));
        object.put_rest("c", block);
        assert_eq!(
            object.rest().as_deref(),
            Some(r#"{"b":3,"c":{"e":2},"f":"not a number"}"#)
        );
    }

    #[test]
    fn error_does_not_quote_text() {
        let fault = Fields::parse(br#"{"text": secret words}"#).unwrap_err();
        assert!(!fault.contains("secret"), "{fault}");
    }

    #[test]
    fn half_an_emoji_costs_one_character() {
        let mut object = fields(r#"{"name":"cut \ud83d","unread":{"\ude00":"\udfff"},"id":"M1"}"#);
        assert_eq!(object.text("name").as_deref(), Some("cut \u{fffd}"));
        assert_eq!(object.id("id").as_deref(), Some("M1"));
    }

    #[test]
    fn any_text_becomes_token_or_none() {
        let cases = [
            ("APPROVED", Some("approved")),
            ("short-link", Some("short_link")),
            ("Größe 2", Some("gr__e_2")),
            ("", None),
            ("—", None),
        ];
        for (word, expected) in cases {
            assert_eq!(token(word).as_deref(), expected, "{word}");
        }
        assert_eq!(token(&"x".repeat(65)).map(|token| token.len()), Some(64));
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            if let Ok(mut object) = Fields::parse(&bytes) {
                let _ = object.id("a");
                let _ = object.rest();
            }
        }

        #[test]
        fn every_whole_number_is_an_exact_id(number in any::<u64>()) {
            prop_assert_eq!(fields(&format!(r#"{{"id":{number}}}"#)).id("id"), Some(number.to_string()));
        }
    }
}
