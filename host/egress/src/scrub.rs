//! Secret values taken out of what a platform answers, before anyone reads it.
//!
//! A platform may repeat what it was sent: in an error's words, in a link, in a JSON document. A value is found as it is, and
//! with any of its characters percent-encoded or escaped as JSON does.

use bytes::{Bytes, BytesMut};
use weir_domain::credential::Secrets;

/// What stands where a secret was.
const MARK: &[u8] = b"[secret]";
/// Shorter values are no secrets, and taking them out would ruin answers.
const SHORTEST: usize = 8;

/// Finds the secrets of one call.
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
        // Where one secret is the beginning of another, the longer one is taken out.
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
