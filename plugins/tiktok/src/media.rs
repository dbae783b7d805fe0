//! Locations of pictures and videos (Download an image or a video from a message), and whether a conversation carries
//! pictures at all (Check the capability of a Business Account for a conversation).

use weir_sdk::abilities::media_transfer::Location;
use weir_sdk::abilities::probing::Capability;
use weir_sdk::abilities::{MediaTransfer, Probing};
use weir_sdk::serde_json::json;
use weir_sdk::types::{Channel, ContentKind, Conversation, Failure, Media, MediaKind};

use crate::{TikTok, wire};

/// A positive result can change when TikTok's rules for either side change; a new check costs one request of the ten
/// per second.
const KEEP_YES_MS: u64 = 10 * 60 * 1000;
/// A negative result changes when the person's side changes; operators retry soon, so it is checked again soon.
const KEEP_NO_MS: u64 = 60 * 1000;

impl MediaTransfer for TikTok {
    fn locate(
        channel: Channel,
        conversation: Conversation,
        message_id: String,
        media: Media,
    ) -> Result<Location, Failure> {
        let media_type = match media.kind {
            MediaKind::Image => "IMAGE",
            MediaKind::Video => "VIDEO",
            MediaKind::Audio | MediaKind::File | MediaKind::Sticker => {
                return Err(Failure::permanent(
                    "content_type_not_supported",
                    "TikTok offers only pictures and videos",
                ));
            }
        };
        let mut data = wire::ask(wire::post(wire::DOWNLOAD).json(&json!({
            "business_id": channel.platform_id,
            "conversation_id": conversation.platform_id,
            "message_id": message_id,
            "media_id": media.reference,
            "media_type": media_type,
        })))?;
        let url = data.filled_text("download_url").ok_or_else(|| {
            Failure::retry(
                "platform_unavailable",
                "TikTok returned no URL for the picture or video",
                None,
            )
        })?;
        Ok(Location {
            url,
            headers: Vec::new(),
        })
    }
}

impl Probing for TikTok {
    fn probe(channel: Channel, conversation: Conversation) -> Result<Vec<Capability>, Failure> {
        let mut can_send = images(&channel, &conversation, conversation.answered)?;
        // With the wrong type the result is negative; and a reply of ours in transit changes the type.
        if can_send == Some(false) {
            can_send = images(&channel, &conversation, !conversation.answered)?.or(can_send);
        }
        // Without a result the capability is unknown: the host then applies only the content rules.
        Ok(can_send
            .map(|allowed| Capability {
                kind: ContentKind::Image,
                allowed,
                keep_ms: if allowed { KEEP_YES_MS } else { KEEP_NO_MS },
            })
            .into_iter()
            .collect())
    }
}

/// Whether TikTok carries pictures in a conversation, queried as one of its two types.
fn images(channel: &Channel, conversation: &Conversation, answered: bool) -> Result<Option<bool>, Failure> {
    let call = wire::get(wire::CAPABILITIES)
        .query("business_id", &channel.platform_id)
        .query("conversation_id", &conversation.platform_id)
        .query("conversation_type", conversation_type(answered))
        .query("capability_types", r#"["IMAGE_SEND"]"#);
    let mut data = wire::ask(call)?;
    Ok(data
        .objects("capability_infos")
        .into_iter()
        .filter(|info| info.get("capability_type").and_then(|kind| kind.as_str()) == Some("IMAGE_SEND"))
        .find_map(|mut info| info.boolean("capability_result")))
}

/// TikTok's name for a conversation in which the business has written before, or not. With the wrong one, the reported
/// capability is wrong too.
#[must_use]
pub fn conversation_type(answered: bool) -> &'static str {
    if answered { "SINGLE" } else { "STRANGER" }
}

#[cfg(test)]
mod tests;
