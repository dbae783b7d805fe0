//! The manifest of the Echo connector, as data.

use weir_sdk::descriptor::{
    Authorization, ContentRule, Encoding, EntryKind, EntryPoint, Hmac, Knowledge, Located, Manifest, Policy, RateRule,
    RateScope, Route, RouteClass, SecretPlace, SecretUse, Setting, SignedPart, Statuses, Support, Webhook,
    WebhookProof, WindowRule,
};
use weir_sdk::types::ContentKind;

/// The URL for messages.
pub const MESSAGES_URL: &str = "https://echo.example/messages";
/// The URL of an account's own profile.
pub const ME_URL: &str = "https://echo.example/me";
/// The route by which an account is polled, for operators whom Echo cannot call.
pub const UPDATES_URL: &str = "https://echo.example/news";
/// Echo allows a business to write for a day after the contact's last message.
const WINDOW_MS: u64 = 24 * 60 * 60 * 1000;

/// The manifest.
#[must_use]
pub fn manifest() -> Manifest {
    Manifest {
        name: "echo".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        release: 1,
        platform: "echo".into(),
        description: "A fictional platform: a template for authors and a test double.".into(),
        maturity: "stable".into(),
        homepage: None,
        authorization: Authorization::Fields(vec![Setting {
            name: "access_token".into(),
            label: "Access token".into(),
            secret: true,
            required: true,
            help: "Any text; Echo accepts every token.".into(),
        }]),
        app_settings: vec![Setting {
            name: "webhook_secret".into(),
            label: "Webhook secret".into(),
            secret: true,
            required: true,
            help: "The key with which Echo signs its webhooks.".into(),
        }],
        webhook: Some(Webhook {
            proof: WebhookProof::Hmac(signature()),
            challenge: None,
        }),
        routes: vec![
            route(
                "send",
                "POST",
                "/messages",
                RouteClass::MessageSend,
                "Sends the operator's messages.",
            ),
            route(
                "me",
                "GET",
                "/me",
                RouteClass::Read,
                "Reads the name of the account being connected.",
            ),
            route(
                "news",
                "GET",
                "/news",
                RouteClass::Read,
                "Polls for events, if Echo cannot call the operator.",
            ),
        ],
        policies: vec![
            Policy::Window(WindowRule { length_ms: WINDOW_MS }),
            Policy::Rate(RateRule {
                permits: 20,
                per_ms: 1000,
                scope: RateScope::Channel,
                classes: vec![RouteClass::MessageSend],
            }),
            Policy::Initiation(false),
            Policy::Broadcast(false),
        ],
        contents: vec![ContentRule {
            kind: ContentKind::Text,
            inbound: Support::Full,
            outbound: Support::Full,
            max_chars: 4096,
            max_bytes: 0,
            mime_types: Vec::new(),
            notes: Vec::new(),
            probed: false,
        }],
        statuses: Statuses {
            sent: Knowledge::Native,
            delivered: Knowledge::Native,
            read: Knowledge::Native,
            failed: Knowledge::Native,
        },
        entry_points: vec![EntryPoint {
            kind: EntryKind::Chat,
            url: "https://echo.example/{username}".into(),
            carries_message: None,
            carries_ref: Some("ref".into()),
            ref_characters: "A-Za-z0-9_-".into(),
            ref_max_chars: 64,
        }],
        account_kinds: Vec::new(),
        prerequisites: Vec::new(),
        pricing: "free".into(),
    }
}

/// `Echo-Signature: t=<seconds>,s=<hex of HMAC-SHA256 over "<t>.<body>">`.
fn signature() -> Hmac {
    let part = |name: &str| Located {
        header: "echo-signature".into(),
        part: Some(name.into()),
        prefix: String::new(),
    };
    Hmac {
        secret: "webhook_secret".into(),
        signature: part("s"),
        encoding: Encoding::Hex,
        timestamp: Some(part("t")),
        signed: vec![SignedPart::Timestamp, SignedPart::Literal(".".into()), SignedPart::Body],
        tolerance_s: 300,
    }
}

/// A route of Echo's one origin. Every one carries the account's token.
fn route(id: &str, method: &str, path: &str, class: RouteClass, why: &str) -> Route {
    Route {
        id: id.into(),
        method: method.into(),
        origin: "https://echo.example".into(),
        path: path.into(),
        class,
        body_has: Vec::new(),
        secrets: vec![SecretUse {
            secret: "access_token".into(),
            place: SecretPlace::Header("authorization".into()),
            prefix: "Bearer ".into(),
        }],
        why: why.into(),
    }
}
