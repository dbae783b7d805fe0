//! The content of a draft.

use crate::channel::Channel;
use crate::manifest::{ContentRule, Support};
use crate::message::{Attachment, Content, ContentKind, Draft, MediaStatus};
use crate::policy::{Refusal, Rules};

/// Whether the platform accepts this content. `images_allowed` is its last report about this conversation.
///
/// # Errors
/// The kind, the length, the file's type or size, or the country is not allowed.
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
        if rules.refuse_links && has_link(text) {
            return Err(Refusal::LinkNotAllowed);
        }
    }
    if let Some(media) = draft.content.media() {
        admit_file(rule, media)?;
    }
    if kind == ContentKind::Image {
        admit_images(rules, channel, images_allowed)?;
    }
    Ok(())
}

/// The length of a text by the strictest count: Unicode scalar values or UTF-16 units, whichever is more. Platforms do
/// not document which they use.
pub fn length(text: &str) -> u32 {
    // UTF-16 never needs fewer units than scalar values.
    u32::try_from(text.encode_utf16().count()).unwrap_or(u32::MAX)
}

/// Warnings for the sender of a text that may be sent.
pub fn warnings(rules: &Rules, content: &Content) -> Vec<String> {
    let Content::Text { text } = content else {
        return Vec::new();
    };
    let noted = rules
        .content(ContentKind::Text)
        .is_some_and(|rule| rule.notes.iter().any(|note| note == LINKS));
    if noted && has_link(text) {
        vec![LINKS.to_owned()]
    } else {
        Vec::new()
    }
}

/// The messages that `content` is split into if its sender allows it: a text beyond the limit in pieces, cut at white
/// space if possible, and a caption as a separate message if the platform does not support captions. Each takes one
/// share of the budget.
pub fn split(rules: &Rules, content: Content) -> Vec<Content> {
    let kind = content.kind();
    let rule = kind.and_then(|kind| rules.content(kind));
    let apart = rule.is_some_and(|rule| rule.notes.iter().any(|note| note == NO_CAPTION));
    match content {
        Content::Text { text } => pieces(&text, rule.map_or(0, |rule| rule.max_chars))
            .into_iter()
            .map(|text| Content::Text { text })
            .collect(),
        Content::Image {
            media,
            caption: Some(text),
        } if apart => {
            let mut parts = vec![Content::Image { media, caption: None }];
            parts.extend(split(rules, Content::Text { text }));
            parts
        }
        other => vec![other],
    }
}

/// The text in pieces of at most `max` characters, as [`length`] counts them. Only white space at a cut is dropped.
fn pieces(text: &str, max: u32) -> Vec<String> {
    if max == 0 || length(text) <= max {
        return vec![text.to_owned()];
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while length(rest) > max {
        let (mut units, mut cut, mut space) = (0, 0, None);
        for (at, character) in rest.char_indices() {
            units += u32::try_from(character.len_utf16()).unwrap_or(2);
            if units > max {
                break;
            }
            cut = at + character.len_utf8();
            if character.is_whitespace() {
                space = Some(at);
            }
        }
        let whole_words = rest[cut..].starts_with(char::is_whitespace);
        let at = if whole_words {
            cut
        } else {
            space.filter(|at| *at > 0).unwrap_or(cut)
        };
        // A limit of one unit cannot contain a character of two: it is cut anyway, and the policy check refuses the
        // piece.
        let at = if at == 0 {
            rest.chars().next().map_or(rest.len(), char::len_utf8)
        } else {
            at
        };
        pieces.push(rest[..at].trim_end().to_owned());
        rest = rest[at..].trim_start();
    }
    pieces.push(rest.to_owned());
    pieces.retain(|piece| !piece.is_empty());
    if pieces.is_empty() {
        // Only white space: the policy check refuses it unchanged.
        pieces.push(text.to_owned());
    }
    pieces
}

fn has_link(text: &str) -> bool {
    text.contains("http://") || text.contains("https://") || text.contains("www.")
}

const LINKS: &str = "links_not_clickable";
/// The note of a kind of content that cannot have a caption in the same message.
const NO_CAPTION: &str = "no_caption";

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

/// Whether pictures may be sent in a conversation. `images_allowed` is the platform's last report about it.
///
/// # Errors
/// The account's country does not allow them, or the platform refused.
pub fn admit_images(rules: &Rules, channel: &Channel, images_allowed: Option<bool>) -> Result<(), Refusal> {
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
            reason: "the platform reports it for this contact".to_owned(),
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
