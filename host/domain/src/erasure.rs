//! Values that identify one person, and the search for them in bytes that the host cannot parse: a webhook that could
//! not be translated, a transcript, a stored response.

use serde::{Deserialize, Serialize};

/// From this many bytes on an id or a text does not occur by chance; a shorter one counts only if it is delimited.
const UNMISTAKABLE: usize = 12;

/// Shorter names occur as ordinary words.
const SHORTEST_NAME: usize = 4;

/// Characters of a text that are searched for, its first ones: texts are often quoted in shortened form.
const BEGINNING: usize = 24;

/// Texts of one person that are searched for, the newest: each is searched for in each stored explanation.
pub const TEXTS: usize = 1_000;

/// The numbers of rows deleted with a contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Conversations that were only with this contact.
    pub conversations: u32,
    /// Messages, from and to the contact.
    pub messages: u32,
    /// Events, with their deliveries.
    pub events: u32,
    /// Attachments, with their files.
    pub files: u32,
}

/// Values that identify one person, and the texts of their conversations.
///
/// Ids are searched for everywhere. Names and texts may belong to other persons too, so they are searched for only in
/// data that can be lost without harm: in explanations and in a connector's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredMarks")]
pub struct Marks {
    /// The ids, Weir's and the platform's, and the handle, of the person and of the conversations that are only theirs.
    ids: Vec<String>,
    /// Their names, and the beginnings of texts.
    words: Vec<String>,
}

/// The format of earlier versions: ids only.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredMarks {
    Ids(Vec<String>),
    All { ids: Vec<String>, words: Vec<String> },
}

impl From<StoredMarks> for Marks {
    fn from(stored: StoredMarks) -> Self {
        match stored {
            StoredMarks::Ids(ids) => Self { ids, words: Vec::new() },
            StoredMarks::All { ids, words } => Self { ids, words },
        }
    }
}

impl Marks {
    /// The ids and handles that are not empty.
    pub fn new(ids: impl IntoIterator<Item = String>) -> Self {
        Self {
            ids: sorted(ids.into_iter().filter(|id| !id.is_empty())),
            words: Vec::new(),
        }
    }

    /// Adds these names and texts to the search.
    #[must_use]
    pub fn and_words<'w>(
        self,
        names: impl IntoIterator<Item = &'w str>,
        texts: impl IntoIterator<Item = &'w str>,
    ) -> Self {
        let names = names.into_iter().filter(|name| name.len() >= SHORTEST_NAME);
        let texts = texts.into_iter().filter_map(beginning).take(TEXTS);
        Self {
            words: sorted(names.map(str::to_owned).chain(texts)),
            ..self
        }
    }

    /// Removes the names and texts that occur in `document`: the business's own name identifies no other person.
    #[must_use]
    pub fn but_those_in(mut self, document: &str) -> Self {
        self.words
            .retain(|word| !stands_in(word.as_bytes(), document.as_bytes()));
        self
    }

    /// Whether an id occurs in the bytes: plain, escaped as nested JSON, or percent-encoded.
    pub fn stand_in(&self, bytes: &[u8]) -> bool {
        any_stands_in(&self.ids, bytes)
    }

    /// Whether an id, a name or the beginning of a text occurs in the bytes.
    pub fn are_repeated_in(&self, bytes: &[u8]) -> bool {
        any_stands_in(&self.ids, bytes) || any_stands_in(&self.words, bytes)
    }

    /// An explanation, unless it contains data of the person.
    pub fn unless_repeated_in(&self, words: String) -> String {
        if self.are_repeated_in(words.as_bytes()) {
            "removed, since it named a contact who was erased".to_owned()
        } else {
            words
        }
    }
}

fn sorted(marks: impl Iterator<Item = String>) -> Vec<String> {
    let mut marks: Vec<String> = marks.collect();
    marks.sort();
    marks.dedup();
    marks
}

/// The beginning of a text's first line that is long enough to be distinctive. Control characters are escaped in
/// different ways.
fn beginning(text: &str) -> Option<String> {
    let mut lines = text.split(char::is_control).map(str::trim);
    let line = lines.find(|line| line.len() >= UNMISTAKABLE)?;
    Some(line.chars().take(BEGINNING).collect())
}

fn any_stands_in(marks: &[String], bytes: &[u8]) -> bool {
    let unescaped: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'\\').collect();
    marks.iter().any(|mark| {
        stands_in(mark.as_bytes(), &unescaped)
            || Some(encoded(mark))
                .filter(|encoded| encoded != mark)
                .is_some_and(|encoded| stands_in(encoded.as_bytes(), &unescaped))
    })
}

fn stands_in(mark: &[u8], bytes: &[u8]) -> bool {
    let is_part = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(|byte| is_of_an_id(*byte));
    memchr::memmem::find_iter(bytes, mark)
        .any(|at| mark.len() >= UNMISTAKABLE || !(is_part(at.checked_sub(1)) || is_part(at.checked_add(mark.len()))))
}

fn is_of_an_id(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' || !byte.is_ascii()
}

/// The percent-encoded form.
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
    fn short_ids_match_only_as_tokens() {
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
    fn names_and_texts_are_found_where_they_are_repeated() {
        let text = "\u{2764}\nplease send it to my new address, the old one is gone";
        let marks = Marks::new(["u1".to_owned()]).and_words(["Jane", "Al"], [text, "ok"]);
        for repeated in [
            "cannot parse \"please send it to my new address, th…\"",
            "for Jane: refused",
            "to=please+send+it+to+my+new+addr",
            "u1",
        ] {
            assert!(marks.are_repeated_in(repeated.as_bytes()), "{repeated}");
        }
        for other in ["Janet", "Al is nobody", "ok", "please send it to me"] {
            assert!(!marks.are_repeated_in(other.as_bytes()), "{other}");
        }
        assert!(!marks.stand_in(b"for Jane: refused"));
        assert!(!marks.but_those_in("Jane's Flowers").are_repeated_in(b"Jane is away"));
    }

    #[test]
    fn marks_of_earlier_versions_are_read() {
        let marks = Marks::new(["jane".to_owned()]);
        assert_eq!(serde_json::from_str::<Marks>(r#"["jane"]"#).expect("marks"), marks);
        let all = marks.and_words(["Jane Doe"], []);
        let stored = serde_json::to_string(&all).expect("JSON");
        assert_eq!(serde_json::from_str::<Marks>(&stored).expect("marks"), all);
    }

    #[test]
    fn empty_marks_match_nothing() {
        assert_eq!(Marks::new([String::new()]), Marks::default());
        assert!(!found("", "anything"));
    }
}
