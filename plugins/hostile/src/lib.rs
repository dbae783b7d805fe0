//! Common code of the hostile connectors: a harmless connector, of which each hostile one changes one thing.
//!
//! A threat is one file of `examples`, built as a component of its own; what Rust cannot express is in `wat`. The head
//! of each file states what it tries; the host's tests show the outcome. The platform is fictional:
//! `https://platform.example`, which accepts a text at `/messages` and returns an account at `/me`.
#![forbid(unsafe_code)]
// A failure is a record of the interface, and boxing it here would only unbox it at the boundary.
#![allow(clippy::result_large_err)]

use weir_sdk::descriptor::{
    Authorization, ContentRule, Knowledge, Manifest, Policy, Route, RouteClass, SecretPlace, SecretUse, Setting,
    SharedSecret, Statuses, Support, Webhook as WebhookScheme, WebhookProof, WindowRule,
};
use weir_sdk::http;
use weir_sdk::identity::Profile;
use weir_sdk::inbound::Webhook;
use weir_sdk::outbound::{Draft, Sent};
use weir_sdk::types::{
    Channel, Contact, Content, ContentKind, Conversation, Direction, Event, Failure, InboundEvent, Message, Origin,
};

pub use weir_sdk;

/// The platform's origin.
pub const ORIGIN: &str = "https://platform.example";
/// The URL for messages.
pub const MESSAGES_URL: &str = "https://platform.example/messages";
/// The URL of an account's own profile.
pub const ME_URL: &str = "https://platform.example/me";

/// A harmless connector, except for what its threat overrides.
pub trait Hostile {
    /// The connector's name.
    const NAME: &'static str;

    /// Its manifest.
    fn manifest() -> Manifest {
        manifest(Self::NAME)
    }

    /// Translates a webhook: the body's text is a message of the account `acme`.
    ///
    /// # Errors
    /// As the threat chooses.
    fn receive(webhook: Webhook) -> Result<Vec<InboundEvent>, String> {
        Ok(vec![message("acme", &String::from_utf8_lossy(&webhook.body))])
    }

    /// Sends a message.
    ///
    /// # Errors
    /// If the platform did not accept it.
    fn send(draft: Draft) -> Result<Sent, Failure> {
        send(&text_of(&draft))
    }

    /// Reads the account's profile.
    ///
    /// # Errors
    /// As the threat chooses.
    fn who_am_i(_: Channel) -> Result<Profile, Failure> {
        Ok(profile("acme"))
    }
}

/// Exports a threat as a component, with the optional interfaces that it also implements.
#[macro_export]
macro_rules! component {
    ($threat:ident $(: $($ability:ident),+)?) => {
        impl $crate::weir_sdk::Connector for $threat {
            fn describe() -> $crate::weir_sdk::descriptor::Manifest {
                <Self as $crate::Hostile>::manifest()
            }
            fn receive(
                webhook: $crate::weir_sdk::inbound::Webhook,
            ) -> Result<Vec<$crate::weir_sdk::types::InboundEvent>, String> {
                <Self as $crate::Hostile>::receive(webhook)
            }
            fn send(
                _: $crate::weir_sdk::types::Channel,
                _: $crate::weir_sdk::types::Conversation,
                draft: $crate::weir_sdk::outbound::Draft,
            ) -> Result<$crate::weir_sdk::outbound::Sent, $crate::weir_sdk::types::Failure> {
                <Self as $crate::Hostile>::send(draft)
            }
            fn who_am_i(
                channel: $crate::weir_sdk::types::Channel,
            ) -> Result<$crate::weir_sdk::identity::Profile, $crate::weir_sdk::types::Failure> {
                <Self as $crate::Hostile>::who_am_i(channel)
            }
        }
        $crate::weir_sdk::export!($threat $(: $($ability),+)?);
    };
}

/// The manifest of a harmless connector.
#[must_use]
pub fn manifest(name: &str) -> Manifest {
    Manifest {
        name: name.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        release: 1,
        platform: "made-up".into(),
        description: "A connector that misbehaves on purpose.".into(),
        maturity: "beta".into(),
        homepage: None,
        authorization: Authorization::Fields(vec![secret("access_token")]),
        app_settings: vec![secret("webhook_secret")],
        webhook: Some(WebhookScheme {
            proof: WebhookProof::SharedSecret(SharedSecret {
                header: "x-secret".into(),
                secret: "webhook_secret".into(),
            }),
            challenge: None,
        }),
        routes: vec![
            route("send", "POST", ORIGIN, "/messages", RouteClass::MessageSend),
            route("me", "GET", ORIGIN, "/me", RouteClass::Read),
            // As wide as a platform's file servers are.
            route("files", "GET", "https://*.platform.example", "/**", RouteClass::Media),
        ],
        policies: vec![Policy::Window(WindowRule { length_ms: 86_400_000 })],
        contents: vec![ContentRule {
            kind: ContentKind::Text,
            inbound: Support::Full,
            outbound: Support::Full,
            max_chars: 0,
            max_bytes: 0,
            mime_types: Vec::new(),
            notes: Vec::new(),
            probed: false,
        }],
        statuses: Statuses {
            sent: Knowledge::Native,
            delivered: Knowledge::None,
            read: Knowledge::None,
            failed: Knowledge::None,
        },
        entry_points: Vec::new(),
        account_kinds: Vec::new(),
        prerequisites: Vec::new(),
        pricing: "free".into(),
    }
}

fn secret(name: &str) -> Setting {
    Setting {
        name: name.into(),
        label: name.into(),
        secret: true,
        required: true,
        help: "Any text.".into(),
    }
}

fn route(id: &str, method: &str, origin: &str, path: &str, class: RouteClass) -> Route {
    Route {
        id: id.into(),
        method: method.into(),
        origin: origin.into(),
        path: path.into(),
        class,
        body_has: Vec::new(),
        secrets: vec![SecretUse {
            secret: "access_token".into(),
            place: SecretPlace::Header("authorization".into()),
            prefix: "Bearer ".into(),
        }],
        why: "Looks harmless.".into(),
    }
}

/// A message of a contact of `account`.
#[must_use]
pub fn message(account: &str, text: &str) -> InboundEvent {
    InboundEvent {
        channel_platform_id: account.into(),
        key: format!("{account}-m1"),
        event: Event::Message(Message {
            platform_id: "m1".into(),
            part: 0,
            conversation: conversation(),
            contact: Contact {
                platform_id: "u1".into(),
                username: None,
                display_name: None,
                avatar_url: None,
            },
            direction: Direction::Inbound,
            origin: Origin::Contact,
            sent_at: 1,
            content: Content::Text(text.into()),
            reply_to: None,
            referral: None,
            answers: None,
            platform_data: None,
        }),
    }
}

/// The one conversation.
#[must_use]
pub fn conversation() -> Conversation {
    Conversation {
        platform_id: "c1".into(),
        contact_id: Some("u1".into()),
        answered: false,
    }
}

/// An account's profile.
#[must_use]
pub fn profile(account: &str) -> Profile {
    Profile {
        platform_id: account.into(),
        username: None,
        display_name: None,
        avatar_url: None,
        account_kind: "business".into(),
        country: None,
        platform_data: None,
    }
}

/// A draft's text.
#[must_use]
pub fn text_of(draft: &Draft) -> String {
    match &draft.content {
        Content::Text(text) => text.clone(),
        _ => String::new(),
    }
}

/// A text that the manifest shows to the operator.
///
/// # Errors
/// The platform did not accept it.
pub fn send(text: &str) -> Result<Sent, Failure> {
    let answer = http::post(MESSAGES_URL)
        .json(&weir_sdk::serde_json::json!({ "text": text }))
        .fetch()
        .map_err(|error| Failure::uncertain(format!("{error:?}")))?;
    match answer.status {
        200 => Ok(sent("m1")),
        status => Err(Failure::uncertain(format!("the platform answered {status}"))),
    }
}

/// A message that was sent, or is claimed to be.
#[must_use]
pub fn sent(platform_id: &str) -> Sent {
    Sent {
        platform_id: platform_id.into(),
        at: None,
    }
}

/// The first attempt of a call: one call may make a limited number of requests, so the host's tests call again with a
/// higher number until none is left.
#[must_use]
pub fn first_try(draft: &Draft) -> usize {
    text_of(draft).parse().unwrap_or(0)
}

/// Attempts in one call: the maximum number of requests.
pub const TRIES: usize = 8;

/// Reports the result of an attempt.
pub fn report(what: &str, came_of_it: &Result<http::Response, http::Error>) {
    match came_of_it {
        Ok(answer) => weir_sdk::info!("{what} -> {}", answer.status),
        Err(error) => weir_sdk::info!("{what} -> {error:?}"),
    }
}
