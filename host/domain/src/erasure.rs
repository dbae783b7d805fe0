//! What names one person, and whether it stands in bytes that the host cannot read: a webhook that nobody could translate,
//! a recorded call, an answer that was kept.

use serde::{Deserialize, Serialize};

/// From so many bytes on an id or a text stands nowhere by chance; a shorter one counts only where it stands by itself.
const UNMISTAKABLE: usize = 12;

/// Shorter names are words of any sentence.
const SHORTEST_NAME: usize = 4;

/// Characters of a text that are looked for, its first ones: whoever repeats a text often shortens it.
const BEGINNING: usize = 24;

/// Texts of one person that are looked for, the newest: each is looked for in each explanation that is kept.
pub const TEXTS: usize = 1_000;

/// What was removed with a contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Conversations that were only with this contact.
    pub conversations: u32,
    /// Messages, of the contact and to it.
    pub messages: u32,
    /// Events, with their deliveries.
    pub events: u32,
    /// Attachments, with their files.
    pub files: u32,
}

/// What names one person, and what they and the business wrote to each other.
///
/// Ids are looked for everywhere. Names and texts may be another person's too, so they are looked for only in what nobody misses: in
/// explanations and in what a connector remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredMarks")]
pub struct Marks {
    /// The ids, ours and the platform's, and the handle of the person and of the conversations that are only theirs.
    ids: Vec<String>,
    /// Their names, and the beginnings of texts.
    words: Vec<String>,
}

/// As erasures of earlier versions noted them: ids alone.
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

    /// Looks for these names and texts, too, where a person's are looked for.
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

    /// The same without the names and texts that stand in `document`: what the business calls itself names nobody else.
    #[must_use]
    pub fn but_those_in(mut self, document: &str) -> Self {
        self.words
            .retain(|word| !stands_in(word.as_bytes(), document.as_bytes()));
        self
    }

    /// Whether an id stands in the bytes: plain, escaped as JSON in JSON does it, or encoded as in a query.
    pub fn stand_in(&self, bytes: &[u8]) -> bool {
        any_stands_in(&self.ids, bytes)
    }

    /// Whether an id, a name or the beginning of a text stands in the bytes.
    pub fn are_repeated_in(&self, bytes: &[u8]) -> bool {
        any_stands_in(&self.ids, bytes) || any_stands_in(&self.words, bytes)
    }

    /// An explanation, unless it repeats something of the person.
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

/// The beginning of a text's first line that is long enough to be told from others. Controls are escaped differently from place to place.
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
    fn nothing_stands_for_nobody() {
        assert_eq!(Marks::new([String::new()]), Marks::default());
        assert!(!found("", "anything"));
    }
}
