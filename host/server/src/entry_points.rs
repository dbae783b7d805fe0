//! Links that open a channel's chat or profile, for signs, pages and QR codes.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use utoipa::ToSchema;
use weir_domain::channel::Channel;
use weir_domain::manifest::{EntryKind, EntryPoint};

use crate::host::Host;

/// A link that opens a chat or a profile.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EntryPointLink {
    /// What opens.
    pub kind: EntryKind,
    /// The link.
    pub url: String,
    /// Whether it can carry a prefilled message.
    pub carries_message: bool,
    /// Whether it can carry the operator's own value.
    pub carries_ref: bool,
}

impl Host {
    /// Links that open the channel's chat or profile, each with what it can carry of a message and a value of the operator's;
    /// none while its handle is not known.
    ///
    /// # Errors
    /// In words: a link that carries a value cannot carry this one.
    pub fn entry_points(
        &self,
        channel: &Channel,
        message: Option<&str>,
        reference: Option<&str>,
    ) -> Result<Vec<EntryPointLink>, String> {
        let Some(username) = &channel.username else {
            return Ok(Vec::new());
        };
        self.declared(channel)
            .iter()
            .map(|point| {
                let message = message.filter(|_| point.carries_message.is_some());
                let reference = reference.filter(|_| point.carries_ref.is_some());
                Ok(EntryPointLink {
                    kind: point.kind,
                    url: carry(point, link(point, username), message, reference)?,
                    carries_message: point.carries_message.is_some(),
                    carries_ref: point.carries_ref.is_some(),
                })
            })
            .collect()
    }

    /// A link with a message or a value of the operator's in it.
    ///
    /// # Errors
    /// In words: the link does not exist or cannot carry this.
    pub fn entry_point(
        &self,
        channel: &Channel,
        kind: EntryKind,
        message: Option<&str>,
        reference: Option<&str>,
    ) -> Result<String, String> {
        let username = channel.username.as_ref().ok_or("the account's handle is not known")?;
        let points = self.declared(channel);
        let point = points
            .iter()
            .find(|point| point.kind == kind)
            .ok_or("the platform has no such link")?;
        carry(point, link(point, username), message, reference)
    }

    fn declared(&self, channel: &Channel) -> Vec<EntryPoint> {
        let loaded = self.0.connectors.get(&channel.connector);
        loaded.map_or_else(Vec::new, |loaded| loaded.connector.manifest().entry_points.clone())
    }
}

/// All but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn link(point: &EntryPoint, username: &str) -> String {
    let username = utf8_percent_encode(username, RESERVED).to_string();
    point.url.replace("{username}", &username)
}

/// Sets a message or a value into a link.
fn carry(
    point: &EntryPoint,
    mut link: String,
    message: Option<&str>,
    reference: Option<&str>,
) -> Result<String, String> {
    let mut add = |name: &str, value: &str| {
        link.push(if link.contains('?') { '&' } else { '?' });
        link.push_str(name);
        link.push('=');
        link.extend(utf8_percent_encode(value, RESERVED));
    };
    if let Some(message) = message {
        let name = point
            .carries_message
            .as_ref()
            .ok_or("this link cannot carry a message")?;
        add(name, message);
    }
    if let Some(reference) = reference {
        let name = point.carries_ref.as_ref().ok_or("this link cannot carry a ref")?;
        if reference.chars().count() > point.ref_max_chars as usize {
            return Err(format!("the ref is longer than {} characters", point.ref_max_chars));
        }
        if let Some(wrong) = reference.chars().find(|c| !is_in_class(&point.ref_characters, *c)) {
            return Err(format!("the ref may hold {} and not {wrong:?}", point.ref_characters));
        }
        add(name, reference);
    }
    Ok(link)
}

/// Whether a character is in a class like `A-Za-z0-9_=-`. A hyphen at an end stands for itself; an empty class takes all.
fn is_in_class(class: &str, wanted: char) -> bool {
    let class: Vec<char> = class.chars().collect();
    if class.is_empty() {
        return true;
    }
    let mut at = 0;
    while let Some(first) = class.get(at) {
        match (class.get(at + 1), class.get(at + 2)) {
            (Some('-'), Some(last)) => {
                if (*first..=*last).contains(&wanted) {
                    return true;
                }
                at += 3;
            }
            _ => {
                if *first == wanted {
                    return true;
                }
                at += 1;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat() -> EntryPoint {
        EntryPoint {
            kind: EntryKind::Chat,
            url: "https://tiktok.me/{username}".into(),
            carries_message: Some("message".into()),
            carries_ref: Some("ref".into()),
            ref_characters: "A-Za-z0-9_=-".into(),
            ref_max_chars: 8,
        }
    }

    #[test]
    fn a_link_carries_a_message_and_a_ref() {
        let link = link(&chat(), "jane doe");
        assert_eq!(link, "https://tiktok.me/jane%20doe");
        assert_eq!(
            carry(&chat(), link, Some("Hi & bye"), Some("a-1_=")).as_deref(),
            Ok("https://tiktok.me/jane%20doe?message=Hi%20%26%20bye&ref=a-1_%3D")
        );
    }

    #[test]
    fn a_ref_that_the_platform_would_cut_is_refused() {
        let refused = |reference| carry(&chat(), String::new(), None, Some(reference)).is_err();
        assert!(refused("123456789") && refused("a b") && refused("é"));
        assert!(!refused("12345678") && !refused("-_="));
        let profile = EntryPoint {
            carries_ref: None,
            ..chat()
        };
        assert!(carry(&profile, String::new(), None, Some("a")).is_err());
    }
}
