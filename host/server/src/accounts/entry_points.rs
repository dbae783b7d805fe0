//! Links that open a channel's chat or profile, for signs, pages and QR codes.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use weir_domain::channel::Channel;
use weir_domain::manifest::{EntryKind, EntryPoint};
use weir_domain::policy::AppSettings;
use weir_store::StoreError;

use crate::accounts::Accounts;

/// A link that opens a chat or a profile.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EntryPointLink {
    /// The link.
    pub kind: EntryKind,
    /// The link, with the requested parameters that it supports.
    pub url: String,
    /// The same link as a QR code; requires a key, like this route.
    pub qr: String,
    /// Whether it supports a prefilled message.
    pub carries_message: bool,
    /// Whether it supports the operator's own value.
    pub carries_ref: bool,
    /// The platform's review of its message: `pending`, `passed` or `rejected` (it is then not put into the composer).
    /// Learned from people who opened such a link, and pending until one did; null for a link without a message.
    pub prefill: Option<String>,
}

/// Why the link cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The platform has no such link, the operator switched it off, or it does not support this parameter.
    #[error("{0}")]
    NotSupported(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LinkError {
    fn not_supported(words: impl Into<String>) -> Self {
        Self::NotSupported(words.into())
    }
}

impl Accounts {
    /// Links that open the channel's chat or profile, with a message and a value of the operator's if the link supports
    /// them; empty until the channel's handle is known.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn entry_points(
        &self,
        channel: &Channel,
        message: Option<&str>,
        reference: Option<&str>,
    ) -> Result<Vec<EntryPointLink>, LinkError> {
        let Some(username) = &channel.username else {
            return Ok(Vec::new());
        };
        let prefill = match message {
            Some(text) => Some(self.prefill(channel, text).await?),
            None => None,
        };
        let (points, _) = self.offered(channel).await?;
        points
            .iter()
            .map(|point| {
                let message = message.filter(|_| point.carries_message.is_some());
                let reference = reference.filter(|_| point.carries_ref.is_some());
                let url = carry(point, link(point, username), message, reference).map_err(LinkError::NotSupported)?;
                let target = match point.kind {
                    EntryKind::Chat => "chat",
                    EntryKind::Profile => "profile",
                };
                let mut qr = format!("/v1/channels/{}/qr.svg?target={target}", channel.id);
                add(&mut qr, "message", message);
                add(&mut qr, "ref", reference);
                Ok(EntryPointLink {
                    kind: point.kind,
                    url,
                    qr: self.core.config.public(&qr),
                    carries_message: point.carries_message.is_some(),
                    carries_ref: point.carries_ref.is_some(),
                    prefill: prefill.clone().filter(|_| message.is_some()),
                })
            })
            .collect()
    }

    /// A link with a message or a value of the operator's. Without a kind: the link that QR codes of this app open.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn entry_point(
        &self,
        channel: &Channel,
        kind: Option<EntryKind>,
        message: Option<&str>,
        reference: Option<&str>,
    ) -> Result<String, LinkError> {
        let username = channel
            .username
            .as_ref()
            .ok_or_else(|| LinkError::not_supported("the account's username is unknown"))?;
        let (points, preferred) = self.offered(channel).await?;
        let kind = kind.unwrap_or(preferred);
        let point = points
            .iter()
            .find(|point| point.kind == kind)
            .ok_or_else(|| LinkError::not_supported("the platform has no such link, or the app offers none"))?;
        carry(point, link(point, username), message, reference).map_err(LinkError::NotSupported)
    }

    /// The known result of the platform's review of a message in a link.
    async fn prefill(&self, channel: &Channel, text: &str) -> Result<String, StoreError> {
        let newest = self
            .core
            .store()
            .referral_with_prefill(&channel.workspace_id, channel.id, text)
            .await?;
        let audit = newest.and_then(|referral| referral.prefill_audit);
        Ok(audit.unwrap_or_else(|| "pending".to_owned()))
    }

    /// The links that the connector declares and the operator offers, and the one that QR codes open.
    async fn offered(&self, channel: &Channel) -> Result<(Vec<EntryPoint>, EntryKind), StoreError> {
        let line = self.connectors.registry.versions(&channel.connector);
        let loaded = line.as_ref().map(|line| {
            let serves = line.of(&channel.app, &channel.platform_id);
            // Links are declared in the manifest, and work whether the account's version runs or not.
            serves.unwrap_or(&line.active)
        });
        let mut points = loaded.map_or_else(Vec::new, |loaded| loaded.connector.manifest().entry_points.clone());
        let app = self.connectors.apps.get(&channel.app).await?;
        // Validated when the app was stored.
        let settings = app
            .and_then(|app| AppSettings::deserialize(&app.app.settings).ok())
            .unwrap_or_default();
        points.retain(|point| point.kind != EntryKind::Chat || settings.chat_link != Some(false));
        let first = points.first().map_or(EntryKind::Chat, |point| point.kind);
        Ok((points, settings.qr_target.unwrap_or(first)))
    }
}

/// Adds a parameter to a link.
fn add(link: &mut String, name: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    link.push(if link.contains('?') { '&' } else { '?' });
    link.push_str(name);
    link.push('=');
    link.extend(utf8_percent_encode(value, RESERVED));
}

/// All but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn link(point: &EntryPoint, username: &str) -> String {
    let username = utf8_percent_encode(username, RESERVED).to_string();
    point.url.replace("{username}", &username)
}

/// Inserts a message or a value into a link.
fn carry(
    point: &EntryPoint,
    mut link: String,
    message: Option<&str>,
    reference: Option<&str>,
) -> Result<String, String> {
    if let Some(message) = message {
        let name = point.carries_message.as_ref().ok_or("this link supports no message")?;
        add(&mut link, name, Some(message));
    }
    if let Some(reference) = reference {
        let name = point.carries_ref.as_ref().ok_or("this link supports no ref")?;
        if reference.chars().count() > point.ref_max_chars as usize {
            return Err(format!("the ref is longer than {} characters", point.ref_max_chars));
        }
        if let Some(wrong) = reference.chars().find(|c| !is_in_class(&point.ref_characters, *c)) {
            return Err(format!("the ref may hold {} and not {wrong:?}", point.ref_characters));
        }
        add(&mut link, name, Some(reference));
    }
    Ok(link)
}

/// Whether a character is in a class like `A-Za-z0-9_=-`. A hyphen at an end is literal; an empty class contains every
/// character.
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
