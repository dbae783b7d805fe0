//! Masks personal data in a transcript, so that it can be shared: texts and names are replaced by others of the same
//! length and kind of characters, so that a connector that crashed on them crashes again.

use serde_json::Value;
use weir_domain::policy::CallKind;

use crate::trace::transcript::{End, Transcript};

/// Members of the interface that hold personal data: what people wrote, and their names.
const PERSONAL: [&str; 6] = ["Text", "username", "display_name", "avatar_url", "caption", "filename"];
/// Shorter texts are not masked, in characters: they identify no person, and occur in too many places.
const SHORTEST: usize = 2;

impl Transcript {
    /// The transcript with personal data masked wherever it occurs: in the webhook, in what the connector returned, in
    /// requests and responses. Ids stay, since connectors depend on them.
    ///
    /// The members of the interface determine which texts are personal: those of the call's arguments and of its
    /// result. A call that crashed on a webhook has no result; then `read` is the result of another version for it
    /// ([`Replayed::end`](crate::Replayed::end)).
    ///
    /// None if personal data cannot be identified.
    pub fn scrubbed(&self, read: Option<&End>) -> Option<Self> {
        let ends = [Some(&self.end), read];
        let returned = ends.iter().flatten().filter_map(|end| match end {
            End::Returned(value) => Some(value),
            End::Aborted { .. } => None,
        });
        if self.call == CallKind::Receive && returned.clone().next().is_none() {
            return None;
        }
        let mut whole = serde_json::to_value(self).ok()?;
        let mut texts = Vec::new();
        collect(&whole, &mut texts);
        returned.for_each(|value| collect(value, &mut texts));
        // Longer texts first, since they may contain shorter ones.
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        texts.dedup();
        let masks: Vec<_> = texts.iter().flat_map(|text| forms(text)).collect();
        replace(&mut whole, &masks);
        serde_json::from_value(whole).ok()
    }
}

fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if PERSONAL.contains(&name.as_str()) && text.chars().count() >= SHORTEST => {
                        texts.push(text.clone());
                    }
                    _ => collect(member, texts),
                }
            }
        }
        Value::Array(entries) => entries.iter().for_each(|entry| collect(entry, texts)),
        _ => {}
    }
}

/// A text and its mask: plain, in a JSON document, and in a document in a JSON document.
fn forms(text: &str) -> Vec<(String, String)> {
    let inside = |text: &str| {
        let quoted = Value::from(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let mut forms = vec![(text.to_owned(), mask(text))];
    for _ in 0..2 {
        let (text, masked) = &forms[forms.len() - 1];
        let next = (inside(text), inside(masked));
        forms.push(next);
    }
    forms
}

/// Replaces each letter by one of the same width, each digit by a digit; everything else stays.
fn mask(text: &str) -> String {
    let letter = |c: char| match c {
        c if c.is_ascii_uppercase() => 'X',
        c if c.is_ascii_digit() => '0',
        c if c.is_ascii_alphabetic() => 'x',
        c if c.is_alphanumeric() => match c.len_utf8() {
            2 => 'ø',
            3 => '文',
            _ => '𐐨',
        },
        c => c,
    };
    text.chars().map(letter).collect()
}

fn replace(value: &mut Value, masks: &[(String, String)]) {
    match value {
        Value::String(text) => {
            for (personal, mask) in masks {
                if text.contains(personal.as_str()) {
                    *text = text.replace(personal.as_str(), mask);
                }
            }
        }
        Value::Array(entries) => entries.iter_mut().for_each(|entry| replace(entry, masks)),
        Value::Object(members) => members.values_mut().for_each(|member| replace(member, masks)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_keeps_length_and_kind() {
        for (text, masked) in [
            ("Jane 7!", "Xxxx 0!"),
            ("żółw", "øøøx"),
            ("你好👋", "文文👋"),
            ("a\"b\\", "x\"x\\"),
        ] {
            assert_eq!(mask(text), masked);
            assert_eq!(mask(text).len(), text.len());
        }
    }

    #[test]
    fn a_text_is_found_within_documents_within_documents() {
        let text = "say \"hi\"";
        let content = serde_json::json!({ "text": text }).to_string();
        let body = serde_json::json!({ "content": content }).to_string();
        let mut whole = serde_json::json!({ "body": body, "said": { "Text": text } });
        let mut texts = Vec::new();
        collect(&whole, &mut texts);
        let masks: Vec<_> = texts.iter().flat_map(|text| forms(text)).collect();
        replace(&mut whole, &masks);
        let body: Value = serde_json::from_str(whole["body"].as_str().unwrap_or_default()).unwrap_or_default();
        let content: Value = serde_json::from_str(body["content"].as_str().unwrap_or_default()).unwrap_or_default();
        assert_eq!(content["text"], "xxx \"xx\"");
        assert_eq!(whole["said"]["Text"], "xxx \"xx\"");
    }
}
