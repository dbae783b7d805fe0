//! What names one person, and whether it stands in bytes that the host cannot read: a webhook that nobody could translate,
//! a recorded call, an answer that was kept.

use serde::{Deserialize, Serialize};

/// From so many characters on an id stands nowhere by chance; a shorter one counts only where it stands by itself.
const UNMISTAKABLE: usize = 12;

/// The ids, ours and the platform's, and the handle of one person and of the conversations that are only theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks(Vec<String>);

impl Marks {
    /// Those that are not empty.
    pub fn new(marks: impl IntoIterator<Item = String>) -> Self {
        let mut marks: Vec<String> = marks.into_iter().filter(|mark| !mark.is_empty()).collect();
        marks.sort();
        marks.dedup();
        Self(marks)
    }

    /// Whether one of them stands in the bytes: plain, escaped as JSON in JSON does it, or encoded as in a query.
    pub fn stand_in(&self, bytes: &[u8]) -> bool {
        let unescaped: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'\\').collect();
        self.0.iter().any(|mark| {
            stands_in(mark.as_bytes(), &unescaped)
                || Some(encoded(mark))
                    .filter(|encoded| encoded != mark)
                    .is_some_and(|encoded| stands_in(encoded.as_bytes(), &unescaped))
        })
    }
}

fn stands_in(mark: &[u8], bytes: &[u8]) -> bool {
    let is_part = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(|byte| is_of_an_id(*byte));
    memchr::memmem::find_iter(bytes, mark)
        .any(|at| mark.len() >= UNMISTAKABLE || !(is_part(at.checked_sub(1)) || is_part(at.checked_add(mark.len()))))
}

fn is_of_an_id(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' || !byte.is_ascii()
}

/// As it stands in a query.
fn encoded(mark: &str) -> String {
    url::form_urlencoded::byte_serialize(mark.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mark: &str, bytes: &str) -> bool {
        Marks::new([mark.to_owned()]).stand_in(bytes.as_bytes())
    }

    #[test]
    fn short_ids_count_as_whole_words() {
        assert!(found("u1", r#"{"from":"u1"}"#));
        assert!(found("u1", "u1"));
        for other in ["u10", "u1-2", "menu1", "u1\u{e9}", "U1"] {
            assert!(!found("u1", other), "{other}");
        }
    }

    #[test]
    fn long_ids_count_anywhere() {
        assert!(found("7212345678901234567", "x7212345678901234567y"));
        assert!(!found("7212345678901234567", "721234567890123456"));
    }

    #[test]
    fn escaped_and_encoded_ids_are_found() {
        for bytes in [
            r#"{"id":"ab\/cd+e="}"#,
            r#"{"body":"{\"id\":\"ab\\/cd+e=\"}"}"#,
            "?id=ab%2Fcd%2Be%3D&x=1",
        ] {
            assert!(found("ab/cd+e=", bytes), "{bytes}");
        }
    }

    #[test]
    fn nothing_stands_for_nobody() {
        assert_eq!(Marks::new([String::new()]), Marks::default());
        assert!(!found("", "anything"));
    }
}
