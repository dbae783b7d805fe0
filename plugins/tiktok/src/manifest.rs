//! TikTok's policies and this connector's permissions, as data.

mod oauth;
mod routes;
mod rules;

use weir_sdk::descriptor::{
    Authorization, Challenge, Encoding, EntryKind, EntryPoint, Hmac, Knowledge, Located, Manifest, Setting, SignedPart,
    Statuses, Webhook, WebhookProof,
};

pub use oauth::REQUIRED_SCOPES;
pub(crate) use rules::CARD_TITLE_CHARS;

/// The manifest.
#[must_use]
pub fn manifest() -> Manifest {
    Manifest {
        name: "tiktok".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        release: 1,
        platform: "tiktok".into(),
        description:
            "Direct messages of TikTok Business Accounts: people find a business by its videos, its profile, a \
                      link or an ad, and write to it."
                .into(),
        maturity: "beta".into(),
        homepage: Some("https://business-api.tiktok.com/portal/docs?id=1832183871604753".into()),
        authorization: Authorization::Oauth(oauth::oauth()),
        app_settings: app_settings(),
        webhook: Some(webhook()),
        routes: routes::routes(),
        policies: rules::policies(),
        contents: rules::contents(),
        statuses: Statuses {
            sent: Knowledge::Native,
            // TikTok has no such event; a message that was read was delivered.
            delivered: Knowledge::Inferred,
            read: Knowledge::Native,
            failed: Knowledge::Native,
        },
        entry_points: entry_points(),
        account_kinds: vec!["business".into()],
        prerequisites: PREREQUISITES.iter().map(|&step| step.to_owned()).collect(),
        pricing: "free".into(),
    }
}

/// Steps in TikTok's app before an account is connected.
const PREREQUISITES: [&str; 6] = [
    "Have a TikTok business account. A personal account cannot be connected; make one first and switch it to business.",
    "In the TikTok app open Profile, the menu (…), Settings and privacy, Manage account, Switch to Business Account.",
    "Choose the category that suits the business.",
    "Let everyone send direct messages: Settings and privacy, Privacy, Direct messages, Everyone. Otherwise each new \
     contact's messages arrive only after the request is accepted in the app.",
    "The account must be registered outside the EEA, Switzerland, the United Kingdom and the United States, where TikTok \
     does not offer business messaging over its API.",
    "Log in with the business account's own credentials when TikTok prompts for them, and leave all permissions ticked.",
];

fn app_settings() -> Vec<Setting> {
    let setting = |name: &str, label: &str, secret: bool, required: bool, help: &str| Setting {
        name: name.into(),
        label: label.into(),
        secret,
        required,
        help: help.into(),
    };
    vec![
        setting(
            "client_key",
            "App id",
            true,
            true,
            "From App Detail on business-api.tiktok.com; TikTok also calls it client key.",
        ),
        setting(
            "client_secret",
            "App secret",
            true,
            true,
            "From App Detail; it also signs the webhooks.",
        ),
        setting(
            "allow",
            "Allowed in addition",
            false,
            false,
            "A list of content kinds that are off by default: shared_post, to send the account's own posts.",
        ),
        setting(
            "queries_per_second",
            "Queries per second",
            false,
            false,
            "A number, where TikTok granted the app another rate than 10 (App Detail, API rate limits).",
        ),
        setting(
            "allow_countries",
            "Countries opened since",
            false,
            false,
            "A list of country codes, where TikTok has opened its beta since the connector's list of 18 February 2025: US.",
        ),
        setting(
            "budget_counts",
            "Counted into the ten messages",
            false,
            false,
            "Whose messages count besides the host's own: app, web, automation. TikTok does not document this; default: app and web.",
        ),
        setting(
            "budget_limit",
            "Messages of a window",
            false,
            false,
            "A number, where TikTok allows another than 10 until the contact writes again.",
        ),
        setting(
            "image_max_bytes",
            "Largest picture",
            false,
            false,
            "In bytes. Default: 3000000; 3145728 if TikTok's 3 MB are 3 MiB.",
        ),
        setting(
            "refuse_links",
            "Refuse links",
            false,
            false,
            "true refuses texts with links, which are not clickable and are sometimes blocked; otherwise they only cause a warning.",
        ),
        setting(
            "chat_link",
            "Offer chat links",
            false,
            false,
            "false offers only the profile link, if tiktok.me links do not open the chat.",
        ),
        setting(
            "qr_target",
            "QR codes open",
            false,
            false,
            "The target of links whose request has none: chat or profile. Default: chat.",
        ),
    ]
}

/// `Tiktok-Signature: t=<seconds>,s=<hex of HMAC-SHA256 by the app secret over "<t>.<body>">` (Webhook signature
/// verification).
fn webhook() -> Webhook {
    let part = |name: &str| Located {
        header: "tiktok-signature".into(),
        part: Some(name.into()),
        prefix: String::new(),
    };
    Webhook {
        proof: WebhookProof::Hmac(Hmac {
            secret: "client_secret".into(),
            signature: part("s"),
            encoding: Encoding::Hex,
            timestamp: Some(part("t")),
            signed: vec![SignedPart::Timestamp, SignedPart::Literal(".".into()), SignedPart::Body],
            // TikTok's sample uses 5 s, which its own queueing exceeds.
            tolerance_s: 300,
        }),
        // Not documented for this API; some operators report a challenge, and responding does no harm.
        challenge: Some(Challenge {
            answer_with: "challenge".into(),
            verify: None,
        }),
    }
}

fn entry_points() -> Vec<EntryPoint> {
    vec![
        EntryPoint {
            kind: EntryKind::Chat,
            url: "https://tiktok.me/{username}".into(),
            carries_message: Some("message".into()),
            carries_ref: Some("ref".into()),
            // Get a list of conversations: letters, digits, `-`, `_`, `=`, at most 2,083.
            ref_characters: "A-Za-z0-9_=-".into(),
            ref_max_chars: 2083,
        },
        EntryPoint {
            kind: EntryKind::Profile,
            url: "https://www.tiktok.com/@{username}".into(),
            carries_message: None,
            carries_ref: None,
            ref_characters: String::new(),
            ref_max_chars: 0,
        },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use weir_sdk::descriptor::RouteClass;

    use super::*;

    #[test]
    fn the_readme_names_the_scopes_that_are_asked_for() {
        let text = include_str!("../../../README.md");
        let is_scope = |name: &&str| name.starts_with("user.") || name.starts_with("message.list.");
        let named: HashSet<&str> = text.split('`').skip(1).step_by(2).filter(is_scope).collect();
        let ours = manifest();
        let Authorization::Oauth(oauth) = &ours.authorization else {
            panic!("TikTok's accounts are connected by OAuth");
        };
        let ours: HashSet<&str> = oauth.scopes.iter().map(|scope| scope.name.as_str()).collect();
        assert_eq!(named, ours);
    }

    #[test]
    fn the_manifest_is_the_same_every_time() {
        assert_eq!(manifest(), manifest());
    }

    #[test]
    fn routes_have_names_of_their_own() {
        let manifest = manifest();
        let names: HashSet<_> = manifest.routes.iter().map(|route| &route.id).collect();
        assert_eq!(names.len(), manifest.routes.len());
    }

    #[test]
    fn every_secret_that_a_route_names_is_declared() {
        let manifest = manifest();
        let secrets: HashSet<_> = manifest
            .app_settings
            .iter()
            .filter(|setting| setting.secret)
            .map(|setting| setting.name.as_str())
            .collect();
        for used in manifest.routes.iter().flat_map(|route| &route.secrets) {
            assert!(
                used.secret == "access_token" || secrets.contains(used.secret.as_str()),
                "{}",
                used.secret
            );
        }
    }

    #[test]
    fn send_routes_need_message_type() {
        for route in manifest().routes {
            if matches!(route.class, RouteClass::MessageSend | RouteClass::Signal) {
                assert_eq!(route.body_has.len(), 1, "{}", route.id);
            }
        }
    }
}
