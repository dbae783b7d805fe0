//! The document of each type of event, as endpoints receive it.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::*;
use crate::channel::ChannelStatus;
use crate::conversation::{ConversationStatus, OpenedBy};
use crate::id::{Id, Mint};
use crate::message::{Direction, MediaStatus, Origin, Status};
use crate::policy::{BudgetView, ContactView, ConversationView, RefusalView, WindowView};
use crate::problem::Fault;
use crate::rollout::VersionStage;
use crate::{channel, conversation, message};

#[test]
fn every_event_type_has_one_name_and_is_found_by_it() {
    for kind in EventType::ALL {
        assert_eq!(EventType::from_name(kind.as_str()), Some(*kind));
        assert_eq!(serde_json::to_value(kind).ok(), Some(kind.as_str().into()));
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((1_700_000_000 + seconds) * 1_000)
}

fn id<I: Id>(n: u8) -> I {
    Mint::from_seed([n; 32]).id(at(0))
}

fn attachment() -> message::Attachment {
    message::Attachment {
        id: id(1),
        mime_type: Some("image/png".into()),
        size: Some(7),
        url: None,
        status: Some(MediaStatus::Stored),
    }
}

fn contents() -> Vec<message::Content> {
    use message::Content;
    let media = attachment;
    vec![
        Content::Text { text: "hi".into() },
        Content::Image {
            media: media(),
            caption: Some("red".into()),
        },
        Content::Video {
            media: media(),
            caption: None,
        },
        Content::Audio { media: media() },
        Content::File {
            media: media(),
            caption: None,
        },
        Content::Sticker { media: media() },
        Content::SharedPost {
            post_id: Some("7".into()),
            url: None,
        },
        Content::Card {
            card: "links".into(),
            title: "Which?".into(),
            body: Some("Choose".into()),
            buttons: vec![message::Button {
                id: "1".into(),
                title: "Red".into(),
                url: Some("https://example.com".into()),
            }],
        },
        Content::Location {
            latitude: 1.5,
            longitude: -2.5,
            name: Some("Shop".into()),
            address: None,
        },
        Content::Template {
            name: "hello".into(),
            language: Some("en".into()),
            parameters: json!({"1": "Jane"}),
        },
        Content::Fallback {
            original_type: "poll".into(),
            text: "A poll".into(),
            url: None,
            reason: "type_unsupported".into(),
            media: Some(media()),
        },
        Content::Custom {
            kind: "game".into(),
            document: json!({"level": 3}),
        },
    ]
}

fn referral() -> message::Referral {
    message::Referral {
        id: Some(id(2)),
        source: "ad".into(),
        ad_id: Some("ad".into()),
        ad_name: Some("Red".into()),
        advertiser_id: Some("shop".into()),
        creative_id: None,
        url: Some("https://example.com/ad".into()),
        reference: Some("spring".into()),
        prefilled_text: Some("Hello".into()),
        prefill_audit: Some("passed".into()),
        at: Some(at(1)),
    }
}

/// Converts from the domain's message, which tests the conversion.
fn message(content: message::Content) -> Message {
    let known = message::Message {
        id: id(3),
        channel_id: id(4),
        conversation_id: id(5),
        contact_id: id(6),
        direction: Direction::Outbound,
        origin: Origin::Api,
        status: Status::Failed,
        content,
        platform_id: Some("m".into()),
        reply_to: Some(id(7)),
        referral: Some(referral()),
        client_ref: Some("order-17".into()),
        error: Some(message::MessageError {
            code: "rate_limited".into(),
            detail: "Too many".into(),
            fault: Fault::Platform,
            retryable: true,
            platform: Some(message::PlatformError {
                code: Some("40100".into()),
                message: Some("slow down".into()),
                request_id: None,
            }),
        }),
        warnings: vec!["links_not_clickable".into()],
        answers: Some("1".into()),
        platform_data: Some(json!({"media": {"id": id::<crate::id::MediaId>(1)}})),
        sent_at: at(2),
        created_at: at(3),
        sequence: 4,
    };
    let shown = Message::from(known.clone());
    assert_eq!(message::Message::from(shown.clone()), known);
    shown
}

fn contact() -> conversation::Contact {
    conversation::Contact {
        id: id(6),
        channel_id: id(4),
        platform_id: "jane".into(),
        username: Some("jane_doe".into()),
        display_name: Some("Jane".into()),
        avatar_url: None,
        created_at: at(0),
    }
}

fn conversation() -> Conversation {
    ConversationView {
        id: id(5),
        channel_id: id(4),
        contact: ContactView::of(&contact()),
        platform_id: "thread".into(),
        status: ConversationStatus::Open,
        opened_by: OpenedBy::Referral,
        can_reply: false,
        refusal: Some(RefusalView {
            code: "window_closed".into(),
            detail: "The window closed".into(),
        }),
        window: Some(WindowView {
            opened_at: at(1),
            closes_at: at(2),
        }),
        budget: Some(BudgetView {
            limit: 3,
            used: 1,
            left: 2,
            resets_on: "contact_message".into(),
        }),
        last_message_at: Some(at(1)),
        unread: 2,
        referral: Some(referral()),
        created_at: at(0),
    }
    .into()
}

fn channel() -> Channel {
    channel::Channel {
        id: id(4),
        workspace_id: "default".into(),
        app: "example".into(),
        connector: "example".into(),
        platform: "example".into(),
        platform_id: "account".into(),
        name: "Shop".into(),
        labels: [("team".to_owned(), "north".to_owned())].into(),
        username: Some("shop".into()),
        display_name: None,
        avatar_url: None,
        country: Some("DE".into()),
        status: ChannelStatus::Degraded,
        paused: true,
        policy: channel::PolicyOverride {
            window_ms: Some(1),
            budget_limit: None,
            rate_permits: None,
            text_max_chars: None,
        },
        scopes: vec!["message".into()],
        reauthorize_by: Some(at(1)),
        created_at: at(0),
        updated_at: at(2),
        deleted_at: None,
    }
    .into()
}

fn reaction() -> Reaction {
    Reaction {
        conversation_id: Some(id(5)),
        conversation_platform_id: "thread".into(),
        message_id: None,
        message_platform_id: "m".into(),
        emoji: Some("+1".into()),
        url: None,
        direction: Direction::Inbound,
        contact: ReactionContact {
            id: Some(id(6)),
            platform_id: "jane".into(),
            username: None,
            display_name: Some("Jane".into()),
            avatar_url: None,
        },
        at: at(1),
    }
}

fn media(reason: Option<&str>) -> MediaFetched {
    MediaFetched {
        media: attachment().into(),
        message_id: id(3),
        conversation_id: id(5),
        reason: reason.map(str::to_owned),
    }
}

/// One document of each form that a type has.
fn documents(kind: EventType) -> Vec<Value> {
    use EventType as T;
    match kind {
        T::MessageReceived => contents().into_iter().map(|content| json(&message(content))).collect(),
        T::MessageEchoed
        | T::MessageQueued
        | T::MessageSent
        | T::MessageDelivered
        | T::MessageRead
        | T::MessageFailed
        | T::MessageUncertain
        | T::MessageCancelled => vec![json(&message(message::Content::Text { text: "hi".into() }))],
        T::ReactionAdded | T::ReactionRemoved => vec![json(&reaction())],
        T::ContactCreated => vec![
            json(&ContactCreated {
                contact: contact().into(),
                reason: OpenedBy::Message,
            }),
            json(&Contact::from(contact())),
        ],
        T::ContactUpdated => vec![json(&Contact::from(contact()))],
        T::ContactErased => vec![json(&ErasedContact {
            id: id(6),
            channel_id: id(4),
            removed: Removed {
                conversations: 1,
                messages: 2,
                events: 3,
                files: 4,
            },
        })],
        T::ConversationOpened => vec![json(&ConversationOpened {
            conversation: conversation(),
            reason: OpenedBy::Referral,
        })],
        T::ConversationClosed => vec![json(&ClosedConversation {
            id: id(5),
            channel_id: id(4),
            contact_id: id(6),
            reason: ClosedBy::ChannelDeleted,
        })],
        T::WindowOpened | T::WindowClosing | T::WindowClosed => vec![json(&conversation())],
        T::ReferralReceived => vec![json(&ReferralReceived {
            referral: referral().into(),
            conversation_id: id(5),
            contact: contact().into(),
        })],
        T::MediaStored => vec![json(&media(None))],
        T::MediaFailed => vec![json(&media(Some("download_failed")))],
        T::ChannelConnected
        | T::ChannelPaused
        | T::ChannelDegraded
        | T::ChannelReauthorizationRequired
        | T::ChannelRecovered
        | T::ChannelDeleted => vec![
            json(&channel()),
            json(&ChannelEventData {
                channel: channel(),
                reason: Some("it has expired".into()),
                days_left: Some(7),
            }),
        ],
        T::ChannelUpdated => vec![json(&channel()), json(&notice())],
        T::ChannelInboundWithheld => vec![json(&notice())],
        T::ConnectorStaged
        | T::ConnectorCanary
        | T::ConnectorPromoted
        | T::ConnectorRolledBack
        | T::ConnectorQuarantined => vec![json(&version(None, None)), json(&version(Some("it crashed"), Some(10)))],
        T::EndpointFailing | T::EndpointDisabled | T::EndpointRecovered => vec![json(&EndpointEventData {
            id: id(8),
            url: "https://example.com/events".into(),
            description: "CRM".into(),
            enabled: false,
            disabled_reason: Some("410".into()),
            failing_since: None,
        })],
    }
}

fn version(reason: Option<&str>, percent: Option<u8>) -> ConnectorVersionEventData {
    ConnectorVersionEventData {
        name: "example".into(),
        version: "1.0.0".into(),
        release: 1,
        digest: "d1".into(),
        state: VersionStage::Canary,
        signature: SignatureEventData {
            status: "trusted".into(),
            key: Some("ours".into()),
        },
        reason: reason.map(str::to_owned),
        percent,
    }
}

fn notice() -> ChannelNotice {
    ChannelNotice {
        notice: "inbound_withheld".into(),
        detail: json!({"why": "region"}),
        at: at(1),
    }
}

fn json(document: &impl Serialize) -> Value {
    serde_json::to_value(document).expect("JSON")
}

/// Run with `WEIR_WRITE_DOCS=1` to regenerate the file. Members may be added; none may be removed or changed.
#[test]
fn documents_of_events_are_as_released() {
    let mut lines = String::new();
    for kind in EventType::ALL {
        for document in documents(*kind) {
            writeln!(lines, "{} {document}", kind.as_str()).expect("a string takes any text");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/events.txt");
    if std::env::var_os("WEIR_WRITE_DOCS").is_some() {
        std::fs::write(&path, &lines).expect("the fixture can be written");
    }
    let released = std::fs::read_to_string(&path).expect("the fixture is there");
    for (now, then) in lines.lines().zip(released.lines()) {
        assert_eq!(now, then);
    }
    assert_eq!(lines, released);
}
