//! Removes secret values from responses.
//!
//! A platform may repeat what it was sent: in an error message, in a link, in a JSON document. A value is found as it
//! is, and with any of its characters percent-encoded or escaped as in JSON.

use bytes::{Bytes, BytesMut};
use weir_domain::credential::Secrets;

/// The replacement of a secret.
const MARK: &[u8] = b"[secret]";
/// Shorter values, in bytes, are not removed: they are no secrets, and removing them would ruin responses.
const SHORTEST: usize = 8;

/// Removes the secrets of one request; by default none.
#[derive(Default)]
pub(crate) struct Scrubber {
    secrets: Vec<String>,
}

impl Scrubber {
    pub(crate) fn new(secrets: &Secrets) -> Self {
        let mut secrets: Vec<String> = secrets
            .values()
            .map(|secret| secret.expose().to_owned())
            .filter(|secret| secret.len() >= SHORTEST)
            .collect();
        // Longest first: a secret may be a prefix of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    pub(crate) fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(Bytes::copy_from_slice(text.as_bytes()))).into_owned()
    }

    /// `bytes` with every secret replaced by `[secret]`.
    pub(crate) fn bytes(&self, bytes: Bytes) -> Bytes {
        if self.secrets.is_empty() {
            return bytes;
        }
        let mut clean = BytesMut::new();
        let mut kept = 0;
        let mut at = 0;
        while at < bytes.len() {
            match self.secrets.iter().find_map(|secret| spelled(secret, &bytes[at..])) {
                Some(length) => {
                    clean.extend_from_slice(&bytes[kept..at]);
                    clean.extend_from_slice(MARK);
                    at += length;
                    kept = at;
                }
                None => at += 1,
            }
        }
        if kept == 0 {
            return bytes;
        }
        clean.extend_from_slice(&bytes[kept..]);
        clean.freeze()
    }
}

/// How many bytes at the beginning of `text` spell `secret`: as it is, or with characters escaped.
fn spelled(secret: &str, text: &[u8]) -> Option<usize> {
    if text.starts_with(secret.as_bytes()) {
        return Some(secret.len());
    }
    let mut at = 0;
    for c in secret.chars() {
        at += spelled_char(c, text.get(at..)?)?;
    }
    Some(at)
}

fn spelled_char(c: char, text: &[u8]) -> Option<usize> {
    let mut buffer = [0; 4];
    let plain = c.encode_utf8(&mut buffer).as_bytes();
    match text.first()? {
        b'%' => percent_encoded(plain, text),
        b'\\' => json_escaped(c, text),
        b'+' if c == ' ' => Some(1),
        _ => None,
    }
    .or_else(|| text.starts_with(plain).then_some(plain.len()))
}

fn percent_encoded(plain: &[u8], text: &[u8]) -> Option<usize> {
    let mut at = 0;
    for byte in plain {
        let [b'%', high, low] = text.get(at..at + 3)? else {
            return None;
        };
        let digit = |hex: u8| char::from(hex).to_digit(16);
        if digit(*high)? * 16 + digit(*low)? != u32::from(*byte) {
            return None;
        }
        at += 3;
    }
    Some(at)
}

fn json_escaped(c: char, text: &[u8]) -> Option<usize> {
    let short = match text.get(1)? {
        b'u' => None,
        b'n' => Some('\n'),
        b'r' => Some('\r'),
        b't' => Some('\t'),
        b'b' => Some('\u{8}'),
        b'f' => Some('\u{c}'),
        other => Some(char::from(*other)),
    };
    if let Some(short) = short {
        return (short == c && !c.is_alphanumeric()).then_some(2);
    }
    let mut units = [0; 2];
    let mut at = 0;
    for unit in c.encode_utf16(&mut units) {
        let [b'\\', b'u', digits @ ..] = text.get(at..at + 6)? else {
            return None;
        };
        let digits = std::str::from_utf8(digits).ok()?;
        if u16::from_str_radix(digits, 16).ok()? != *unit {
            return None;
        }
        at += 6;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_domain::credential::Secret;

    use super::*;

    fn scrubbed(secret: &str, text: &str) -> String {
        let secrets = Secrets::of_app([("name".to_owned(), Secret::new(secret))].into());
        Scrubber::new(&secrets).text(text)
    }

    #[test]
    fn a_secret_is_found_in_every_spelling_of_its_characters() {
        let secret = "pä/s\"w\\ 1%2+🔑";
        for spelling in [
            "pä/s\"w\\ 1%2+🔑",
            "p%C3%A4%2Fs%22w%5C%201%252%2B%F0%9F%94%91",
            "p%c3%a4/s%22w%5c+1%252%2b%f0%9f%94%91",
            r#"p\u00e4\/s\"w\\ 1%2+\ud83d\udd11"#,
            r#"\u0070\u00E4\u002f\u0073\u0022w\u005C\u00201%2+🔑"#,
            "%70%C3%A4%2F%73%22%77%5C%20%31%25%32%2B%F0%9F%94%91",
        ] {
            assert_eq!(scrubbed(secret, &format!("<{spelling}>")), "<[secret]>", "{spelling}");
        }
    }

    #[test]
    fn what_only_begins_like_a_secret_stays() {
        for text in [
            "abcdefg",
            "abcdefg%",
            "abcdefg\\u00",
            "abcdefg%6",
            "abcdefg%zz",
            "\\abcdefg",
            "abcdefg\\h",
        ] {
            assert_eq!(scrubbed("abcdefgh", text), text);
        }
        assert_eq!(scrubbed("abcdefgh", "%abcdefgh\\abcdefgh"), "%[secret]\\[secret]");
    }

    #[test]
    fn the_longer_of_two_secrets_is_taken_out_whole() {
        let secrets = [("short", "abcdefgh"), ("long", "abcdefghijkl")];
        let secrets = secrets.map(|(name, value)| (name.to_owned(), Secret::new(value)));
        let scrubber = Scrubber::new(&Secrets::of_app(secrets.into()));
        assert_eq!(scrubber.text("abcdefghijkl abcdefghij"), "[secret] [secret]ij");
    }

    proptest! {
        #[test]
        fn no_answer_holds_a_secret_afterwards(
            secret in "[a-zA-Z0-9./+=%_-]{8,40}",
            before in "\\PC{0,12}",
            after in "\\PC{0,12}",
        ) {
            let clean = scrubbed(&secret, &format!("{before}{secret}{after}{secret}"));
            prop_assert!(!clean.contains(&secret));
        }

        #[test]
        fn what_holds_no_secret_is_left_alone(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let secrets = Secrets::of_app([("name".to_owned(), Secret::new("\u{10ffff}".repeat(9)))].into());
            let bytes = Bytes::from(bytes);
            prop_assert_eq!(Scrubber::new(&secrets).bytes(bytes.clone()), bytes);
        }
    }
}
