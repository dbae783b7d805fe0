//! Inbound events from the interface's types; channels, conversations and drafts to them.

use weir_domain::inbound::{Fact, InboundEvent, InboundMessage, Person, ReceiptStatus, ReceiptTarget, RemoteMedia};
use weir_domain::limits;
use weir_domain::message::{Attachment, Button, Content, ContentKind, Direction, Draft, Origin, Referral};
use weir_domain::time::Timestamp;

use super::checks::{
    Converted, clean, each, id, json, name, shown_name, shown_url, some_id, some_json, some_text, some_token, text,
    token, url,
};
use super::failure::failure;
use crate::context::{ChannelFacts, ConversationFacts, State};
use crate::error::ConversionError;
use crate::interface::bindings::exports::weir::connector::{outbound, upgrade};
use crate::interface::bindings::weir::connector::types as wit;
use crate::text::{line, prefix};

// ---- inbound -------------------------------------------------------------------------------------------------------

/// The events of one webhook, poll or page. An invalid event becomes an unknown one, so that the others are kept; if
/// all are invalid, that is an error.
pub(crate) fn events(events: Vec<wit::InboundEvent>) -> Converted<Vec<InboundEvent>> {
    let mut broken = None;
    let mut account = None;
    let taken = each("events", events, limits::EVENTS_PER_WEBHOOK, |event| {
        Ok(match inbound_event(event) {
            Ok(event) => {
                account.get_or_insert_with(|| event.channel_platform_id.clone());
                Ok(event)
            }
            Err(bad) => {
                let what = line(&format!("malformed: {bad}"), limits::NAME_BYTES);
                broken.get_or_insert(bad);
                Err(what)
            }
        })
    })?;
    let account = match (account, broken) {
        // All are invalid, so the first error is that of the first event.
        (None, Some(bad)) => return Err(bad.within("events[0]")),
        (account, _) => account.unwrap_or_default(),
    };
    let known = taken.into_iter().enumerate().map(|(i, event)| {
        event.unwrap_or_else(|what| InboundEvent {
            channel_platform_id: account.clone(),
            key: format!("malformed:{i}"),
            fact: Fact::Unknown { what },
        })
    });
    Ok(known.collect())
}

fn inbound_event(event: wit::InboundEvent) -> Converted<InboundEvent> {
    Ok(InboundEvent {
        channel_platform_id: id("channel-platform-id", event.channel_platform_id)?,
        key: id("key", event.key)?,
        fact: fact(event.event).map_err(|bad| bad.within("event"))?,
    })
}

fn fact(event: wit::Event) -> Converted<Fact> {
    Ok(match event {
        wit::Event::Message(raw) => Fact::Message(Box::new(message(raw)?)),
        wit::Event::Receipt(receipt) => Fact::Receipt {
            conversation: id("conversation.platform-id", receipt.conversation.platform_id)?,
            status: match receipt.status {
                wit::ReceiptStatus::Delivered => ReceiptStatus::Delivered,
                wit::ReceiptStatus::Read => ReceiptStatus::Read,
                wit::ReceiptStatus::Failed => ReceiptStatus::Failed,
            },
            target: match receipt.target {
                wit::ReceiptTarget::Messages(ids) => {
                    let ids = each("target", ids, limits::EVENTS_PER_WEBHOOK, |value| id("id", value))?;
                    ReceiptTarget::Messages(ids)
                }
                wit::ReceiptTarget::UpTo(at) => ReceiptTarget::UpTo(moment(at)),
            },
            at: moment(receipt.at),
            error: receipt.failure.map(|raw| failure(raw).1),
        },
        wit::Event::Reaction(reaction) => Fact::Reaction {
            conversation: id("conversation.platform-id", reaction.conversation.platform_id)?,
            contact: some_person(reaction.contact)?,
            message: id("message-id", reaction.message_id)?,
            emoji: some_text("emoji", reaction.emoji, limits::TOKEN_BYTES)?,
            url: url("url", reaction.url)?,
            direction: direction(reaction.direction),
            added: reaction.added,
            at: moment(reaction.at),
        },
        wit::Event::Arrival(arrival) => Fact::Arrival {
            conversation: id("conversation.platform-id", arrival.conversation.platform_id)?,
            contact: some_person(arrival.contact)?,
            referral: referral(arrival.referral)?,
            at: moment(arrival.at),
        },
        wit::Event::Notice(notice) => Fact::Notice {
            kind: token("kind", notice.kind)?,
            at: moment(notice.at),
            detail: json("detail", &notice.detail)?,
        },
        // The platform's name for it, which need not be a token.
        wit::Event::Unknown(what) => Fact::Unknown {
            what: text("unknown", what, limits::NAME_BYTES)?,
        },
    })
}

fn message(raw: wit::Message) -> Converted<InboundMessage> {
    let direction = direction(raw.direction);
    Ok(InboundMessage {
        platform_id: id("platform-id", raw.platform_id)?,
        part: raw.part,
        conversation: id("conversation.platform-id", raw.conversation.platform_id)?,
        contact: some_person(raw.contact)?,
        direction,
        origin: origin(direction, raw.origin),
        sent_at: moment(raw.sent_at),
        content: content(raw.content).map_err(|bad| bad.within("content"))?,
        reply_to: some_id("reply-to", raw.reply_to)?,
        referral: raw.referral.map(referral).transpose()?,
        answers: name("answers", raw.answers)?,
        platform_data: some_json("platform-data", raw.platform_data)?,
    })
}

fn direction(direction: wit::Direction) -> Direction {
    match direction {
        wit::Direction::Inbound => Direction::Inbound,
        wit::Direction::Outbound => Direction::Outbound,
    }
}

fn origin(direction: Direction, origin: wit::Origin) -> Origin {
    match (direction, origin) {
        (Direction::Inbound, _) | (_, wit::Origin::Contact) => match direction {
            Direction::Inbound => Origin::Contact,
            // The business does not write as the contact; on which surface it wrote is not known.
            Direction::Outbound => Origin::App,
        },
        (Direction::Outbound, wit::Origin::Api) => Origin::Api,
        (Direction::Outbound, wit::Origin::Web) => Origin::Web,
        (Direction::Outbound, wit::Origin::Automation) => Origin::Automation,
        // An unknown surface counts as the platform's app: it may use the messaging budget, and assuming so is safe.
        (Direction::Outbound, wit::Origin::App | wit::Origin::Unknown) => Origin::App,
    }
}

fn moment(ms: u64) -> Timestamp {
    Timestamp::from_unsigned_millis(ms)
}

pub(super) fn person(contact: wit::Contact) -> Converted<Person> {
    let platform_id = id("contact.platform-id", contact.platform_id)?;
    Ok(Person {
        platform_id,
        username: shown_name(contact.username),
        display_name: shown_name(contact.display_name),
        avatar_url: shown_url(contact.avatar_url),
    })
}

/// The person of an event, who may be omitted: with an empty id it is the conversation's contact.
fn some_person(contact: wit::Contact) -> Converted<Person> {
    if contact.platform_id.is_empty() {
        return Ok(Person {
            platform_id: String::new(),
            username: shown_name(contact.username),
            display_name: shown_name(contact.display_name),
            avatar_url: shown_url(contact.avatar_url),
        });
    }
    person(contact)
}

fn referral(referral: wit::Referral) -> Converted<Referral> {
    let convert = || {
        Ok(Referral {
            id: None,
            source: token("source", referral.source)?,
            ad_id: some_id("ad-id", referral.ad_id)?,
            ad_name: name("ad-name", referral.ad_name)?,
            advertiser_id: some_id("advertiser-id", referral.advertiser_id)?,
            creative_id: some_id("creative-id", referral.creative_id)?,
            url: url("url", referral.url)?,
            reference: name("ref", referral.ref_)?,
            prefilled_text: some_text("prefilled-text", referral.prefilled_text, limits::TEXT_BYTES)?,
            prefill_audit: some_token("prefill-audit", referral.prefill_audit)?,
            at: referral.at.map(moment),
        })
    };
    convert().map_err(|bad: ConversionError| bad.within("referral"))
}

/// The fallback for a text that is too long: its beginning.
fn too_large<A>(original_type: &str, whole: String, media: Option<A>) -> Content<A> {
    Content::Fallback {
        original_type: original_type.to_owned(),
        text: clean(prefix(&whole, limits::TEXT_BYTES).to_owned()),
        url: None,
        reason: "too_large".to_owned(),
        media,
    }
}

fn content(raw: wit::Content) -> Converted<Content<RemoteMedia>> {
    Ok(match raw {
        wit::Content::Text(whole) if whole.len() > limits::TEXT_BYTES => too_large("text", whole, None),
        wit::Content::Text(text) => Content::Text { text: clean(text) },
        wit::Content::Media(media) => with_media(media)?,
        wit::Content::Card(card) => Content::Card {
            card: token("card.kind", card.kind)?,
            title: text("card.title", card.title, limits::TEXT_BYTES)?,
            body: some_text("card.body", card.body, limits::TEXT_BYTES)?,
            buttons: each("card.buttons", card.buttons, limits::CARD_BUTTONS, |button| {
                Ok(Button {
                    id: text("id", button.id, limits::NAME_BYTES)?,
                    title: text("title", button.title, limits::NAME_BYTES)?,
                    url: url("url", button.url)?,
                })
            })?,
        },
        wit::Content::SharedPost(post) => Content::SharedPost {
            post_id: some_id("post-id", post.post_id)?,
            url: url("url", post.url)?,
        },
        wit::Content::Location(place) => {
            let on_earth = (-90.0..=90.0).contains(&place.latitude) && (-180.0..=180.0).contains(&place.longitude);
            if !on_earth {
                return Err(ConversionError::new("location", "is not on the earth"));
            }
            Content::Location {
                latitude: place.latitude,
                longitude: place.longitude,
                name: name("location.name", place.name)?,
                address: name("location.address", place.address)?,
            }
        }
        wit::Content::Template(template) => Content::Template {
            name: text("template.name", template.name, limits::NAME_BYTES)?,
            language: name("template.language", template.language)?,
            parameters: json("template.parameters", &template.parameters)?,
        },
        wit::Content::Fallback(fallback) => Content::Fallback {
            original_type: text("fallback.original-type", fallback.original_type, limits::NAME_BYTES)?,
            // Truncated rather than rejected, like the text of a message.
            text: clean(prefix(&fallback.text, limits::TEXT_BYTES).to_owned()),
            url: url("fallback.url", fallback.url)?,
            reason: token("fallback.reason", fallback.reason)?,
            media: fallback
                .media
                .map(|media| remote_media(media).map(|media| media.0))
                .transpose()?,
        },
        wit::Content::Custom((kind, document)) => Content::Custom {
            kind: token("custom.kind", kind)?,
            document: json("custom.document", &document)?,
        },
    })
}

fn with_media(raw: wit::Media) -> Converted<Content<RemoteMedia>> {
    let kind = raw.kind;
    let (media, caption) = remote_media(raw)?;
    if let Some(whole) = caption.as_ref().filter(|caption| caption.len() > limits::TEXT_BYTES) {
        return Ok(too_large("caption", whole.clone(), Some(media)));
    }
    Ok(match kind {
        wit::MediaKind::Image => Content::Image { media, caption },
        wit::MediaKind::Video => Content::Video { media, caption },
        // Audio and stickers have no caption in the domain; one with a caption is kept as a file.
        wit::MediaKind::Audio if caption.is_none() => Content::Audio { media },
        wit::MediaKind::Sticker if caption.is_none() => Content::Sticker { media },
        wit::MediaKind::Audio | wit::MediaKind::Sticker | wit::MediaKind::File => Content::File { media, caption },
    })
}

/// Media at the platform, and its caption of any length.
fn remote_media(media: wit::Media) -> Converted<(RemoteMedia, Option<String>)> {
    let remote = RemoteMedia {
        reference: text("media.reference", media.reference, limits::URL_BYTES)?,
        mime_type: name("media.mime-type", media.mime_type)?,
        size: media.size,
        filename: name("media.filename", media.filename)?,
    };
    let caption = media.caption.filter(|caption| !caption.is_empty()).map(clean);
    Ok((remote, caption))
}

// ---- outbound ------------------------------------------------------------------------------------------------------

/// A channel, as a connector sees it.
pub(crate) fn channel(channel: &ChannelFacts) -> wit::Channel {
    wit::Channel {
        platform_id: channel.platform_id.clone(),
        username: channel.username.clone(),
        country: channel.country.clone(),
        settings: channel.settings.to_string(),
        callback_url: channel.callback_url.clone(),
    }
}

/// A conversation, as a connector sees it.
pub(crate) fn conversation(conversation: &ConversationFacts) -> wit::Conversation {
    wit::Conversation {
        platform_id: conversation.platform_id.clone(),
        contact_id: conversation.contact_id.clone(),
        answered: conversation.answered,
    }
}

/// A channel's state, as a connector sees it in a migration.
pub(crate) fn state(state: State) -> Vec<upgrade::Entry> {
    let entries = state.into_iter();
    entries.map(|(key, value)| upgrade::Entry { key, value }).collect()
}

/// A draft, as a connector sees it: media is referenced by the host's id.
pub(crate) fn draft(draft: &Draft) -> outbound::Draft {
    outbound::Draft {
        content: content_out(&draft.content),
        reply_to: draft.reply_to.clone(),
    }
}

fn content_out(content: &Content) -> wit::Content {
    use wit::MediaKind::{Audio, File, Image, Sticker, Video};
    let media =
        |kind, attachment, caption: &Option<String>| wit::Content::Media(stored(kind, attachment, caption.clone()));
    match content {
        Content::Text { text } => wit::Content::Text(text.clone()),
        Content::Image { media: bytes, caption } => media(Image, bytes, caption),
        Content::Video { media: bytes, caption } => media(Video, bytes, caption),
        Content::File { media: bytes, caption } => media(File, bytes, caption),
        Content::Audio { media: bytes } => media(Audio, bytes, &None),
        Content::Sticker { media: bytes } => media(Sticker, bytes, &None),
        Content::SharedPost { post_id, url } => wit::Content::SharedPost(wit::SharedPost {
            post_id: post_id.clone(),
            url: url.clone(),
        }),
        Content::Card {
            card,
            title,
            body,
            buttons,
        } => wit::Content::Card(wit::Card {
            kind: card.clone(),
            title: title.clone(),
            body: body.clone(),
            buttons: buttons
                .iter()
                .map(|button| wit::Button {
                    id: button.id.clone(),
                    title: button.title.clone(),
                    url: button.url.clone(),
                })
                .collect(),
        }),
        Content::Location {
            latitude,
            longitude,
            name,
            address,
        } => wit::Content::Location(wit::Location {
            latitude: *latitude,
            longitude: *longitude,
            name: name.clone(),
            address: address.clone(),
        }),
        Content::Template {
            name,
            language,
            parameters,
        } => wit::Content::Template(wit::Template {
            name: name.clone(),
            language: language.clone(),
            parameters: parameters.to_string(),
        }),
        Content::Fallback {
            original_type,
            text,
            url,
            reason,
            media,
        } => wit::Content::Fallback(wit::Fallback {
            original_type: original_type.clone(),
            text: text.clone(),
            url: url.clone(),
            reason: reason.clone(),
            media: media.as_ref().map(|bytes| stored(File, bytes, None)),
        }),
        Content::Custom { kind, document } => wit::Content::Custom((kind.clone(), document.to_string())),
    }
}

fn stored(kind: wit::MediaKind, attachment: &Attachment, caption: Option<String>) -> wit::Media {
    wit::Media {
        kind,
        reference: attachment.id.to_string(),
        mime_type: attachment.mime_type.clone(),
        size: attachment.size,
        filename: None,
        caption,
    }
}

/// An attachment at the platform, as a connector sees it.
pub(crate) fn media_out(kind: ContentKind, media: &RemoteMedia) -> wit::Media {
    wit::Media {
        kind: match kind {
            ContentKind::Image => wit::MediaKind::Image,
            ContentKind::Video => wit::MediaKind::Video,
            ContentKind::Audio => wit::MediaKind::Audio,
            ContentKind::Sticker => wit::MediaKind::Sticker,
            _ => wit::MediaKind::File,
        },
        reference: media.reference.clone(),
        mime_type: media.mime_type.clone(),
        size: media.size,
        filename: media.filename.clone(),
        caption: None,
    }
}

/// A referral, as a connector sees it.
pub(crate) fn referral_out(referral: &Referral) -> wit::Referral {
    let millis = |at: Timestamp| u64::try_from(at.as_millis()).unwrap_or(0);
    wit::Referral {
        source: referral.source.clone(),
        ad_id: referral.ad_id.clone(),
        ad_name: referral.ad_name.clone(),
        advertiser_id: referral.advertiser_id.clone(),
        creative_id: referral.creative_id.clone(),
        url: referral.url.clone(),
        ref_: referral.reference.clone(),
        prefilled_text: referral.prefilled_text.clone(),
        prefill_audit: referral.prefill_audit.clone(),
        at: referral.at.map(millis),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn media(kind: wit::MediaKind, caption: Option<String>) -> wit::Media {
        wit::Media {
            kind,
            reference: "r".into(),
            mime_type: None,
            size: None,
            filename: None,
            caption,
        }
    }

    #[test]
    fn a_text_too_long_arrives_as_far_as_there_is_room() {
        let long = "ä".repeat(limits::TEXT_BYTES);
        let Content::Fallback { text, reason, .. } = content(wit::Content::Text(long)).unwrap() else {
            panic!("not a fallback")
        };
        assert_eq!((text.len(), reason.as_str()), (limits::TEXT_BYTES, "too_large"));
        let fits = "x".repeat(limits::TEXT_BYTES);
        assert_eq!(
            content(wit::Content::Text(fits.clone())).unwrap(),
            Content::Text { text: fits }
        );
    }

    #[test]
    fn a_caption_too_long_keeps_its_picture() {
        let long = media(wit::MediaKind::Image, Some("x".repeat(limits::TEXT_BYTES + 1)));
        let content = content(wit::Content::Media(long)).unwrap();
        assert!(
            matches!(content, Content::Fallback { media: Some(_), .. }),
            "{content:?}"
        );
    }

    #[test]
    fn what_is_written_with_a_voice_note_is_kept() {
        let noted = content(wit::Content::Media(media(wit::MediaKind::Audio, Some("listen".into())))).unwrap();
        assert!(matches!(noted, Content::File { caption: Some(_), .. }));
        let bare = content(wit::Content::Media(media(wit::MediaKind::Audio, None))).unwrap();
        assert!(matches!(bare, Content::Audio { .. }));
    }

    fn reaction(message: &str, contact: &str) -> wit::InboundEvent {
        wit::InboundEvent {
            channel_platform_id: "B".into(),
            key: format!("r-{message}"),
            event: wit::Event::Reaction(wit::Reaction {
                conversation: wit::Conversation {
                    platform_id: "C".into(),
                    contact_id: None,
                    answered: false,
                },
                contact: wit::Contact {
                    platform_id: contact.into(),
                    username: None,
                    display_name: Some("a\0".into()),
                    avatar_url: None,
                },
                direction: wit::Direction::Inbound,
                message_id: message.into(),
                emoji: None,
                url: None,
                added: true,
                at: 0,
            }),
        }
    }

    #[test]
    fn one_malformed_event_takes_no_other() {
        let mut stray = reaction("M1", "U");
        stray.channel_platform_id = "\u{7}".into();
        let taken = events(vec![reaction("", "U"), reaction("M2", ""), stray]).unwrap();
        assert!(
            matches!(&taken[0].fact, Fact::Unknown { what } if what.contains("message-id is empty")),
            "{taken:?}"
        );
        assert!(matches!(&taken[1].fact, Fact::Reaction { contact, .. } if contact.platform_id.is_empty()));
        assert!(matches!(&taken[2].fact, Fact::Unknown { .. }));
        assert!(taken.iter().all(|event| event.channel_platform_id == "B"));
        assert!(events(vec![reaction("", "U")]).is_err(), "nothing of it can be taken");
    }

    #[test]
    fn a_place_is_on_the_earth() {
        let place = |latitude| {
            content(wit::Content::Location(wit::Location {
                latitude,
                longitude: 0.0,
                name: None,
                address: None,
            }))
        };
        assert!(place(90.0).is_ok());
        assert!(place(90.1).is_err());
        assert!(place(f64::NAN).is_err());
    }

    #[test]
    fn message_author_must_match_direction() {
        assert_eq!(origin(Direction::Inbound, wit::Origin::Api), Origin::Contact);
        assert_eq!(origin(Direction::Outbound, wit::Origin::Contact), Origin::App);
        assert_eq!(origin(Direction::Outbound, wit::Origin::Unknown), Origin::App);
    }
}
