//! What a draft may carry.

use crate::channel::Channel;
use crate::manifest::{ContentRule, Support};
use crate::message::{Attachment, Content, ContentKind, Draft, MediaStatus};
use crate::policy::{Refusal, Rules};

/// Whether the platform takes this content. `images_allowed` is what it said of this conversation when last asked.
///
/// # Errors
/// The kind, the length, the file's type or size, or the country says no.
pub fn admit(rules: &Rules, channel: &Channel, images_allowed: Option<bool>, draft: &Draft) -> Result<(), Refusal> {
    let kind = draft
        .content
        .kind()
        .ok_or_else(|| Refusal::kind_not_supported(None, name_of(&draft.content)))?;
    let rule = rules
        .content(kind)
        .filter(|rule| rule.outbound == Support::Full)
        .ok_or_else(|| Refusal::kind_not_supported(Some(kind), ""))?;
    if let Content::Text { text } = &draft.content {
        admit_text(rule, text)?;
    }
    if let Some(media) = draft.content.media() {
        admit_file(rule, media)?;
    }
    if kind == ContentKind::Image {
        admit_image(rules, channel, images_allowed)?;
    }
    Ok(())
}

/// The length of a text as the strictest platform would count it: Unicode scalar values or UTF-16 units, whichever is more.
/// Platforms do not say which they mean.
pub fn length(text: &str) -> u32 {
    // UTF-16 never needs fewer units than there are scalar values.
    u32::try_from(text.encode_utf16().count()).unwrap_or(u32::MAX)
}

/// What a sender should know of a text that may be sent.
pub fn warnings(rules: &Rules, content: &Content) -> Vec<String> {
    let Content::Text { text } = content else {
        return Vec::new();
    };
    let has_link = text.contains("http://") || text.contains("https://") || text.contains("www.");
    let noted = rules
        .content(ContentKind::Text)
        .is_some_and(|rule| rule.notes.iter().any(|note| note == LINKS));
    if has_link && noted {
        vec![LINKS.to_owned()]
    } else {
        Vec::new()
    }
}

const LINKS: &str = "links_not_clickable";

fn admit_text(rule: &ContentRule, text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::TextEmpty);
    }
    let actual = length(text);
    if rule.max_chars > 0 && actual > rule.max_chars {
        return Err(Refusal::TextTooLong {
            max: rule.max_chars,
            actual,
        });
    }
    Ok(())
}

fn admit_file(rule: &ContentRule, media: &Attachment) -> Result<(), Refusal> {
    if media.status != Some(MediaStatus::Stored) {
        return Err(Refusal::MediaNotStored {
            id: media.id.to_string(),
        });
    }
    let actual = media.mime_type.as_deref().unwrap_or("application/octet-stream");
    if !rule.mime_types.is_empty() && !rule.mime_types.iter().any(|allowed| allowed == actual) {
        return Err(Refusal::MediaTypeNotSupported {
            actual: actual.to_owned(),
            allowed: rule.mime_types.clone(),
        });
    }
    let size = media.size.unwrap_or(0);
    if rule.max_bytes > 0 && size > rule.max_bytes {
        return Err(Refusal::MediaTooLarge {
            max: rule.max_bytes,
            actual: size,
        });
    }
    Ok(())
}

fn admit_image(rules: &Rules, channel: &Channel, images_allowed: Option<bool>) -> Result<(), Refusal> {
    if let Some(country) = channel.country.as_deref().filter(|country| {
        rules
            .without_images
            .iter()
            .any(|denied| denied.eq_ignore_ascii_case(country))
    }) {
        return Err(Refusal::MediaNotAllowedInRegion {
            reason: format!("the account's country {country} has no pictures in messages"),
        });
    }
    if images_allowed == Some(false) {
        return Err(Refusal::MediaNotAllowedInRegion {
            reason: "the platform says so of this contact".to_owned(),
        });
    }
    Ok(())
}

fn name_of<A>(content: &Content<A>) -> &'static str {
    match content {
        Content::Fallback { .. } => "fallback",
        _ => "custom",
    }
}
