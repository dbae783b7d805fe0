//! TikTok's rules: windows, limits, regions, contents.

use weir_sdk::descriptor::{
    BudgetRule, ContentRule, Policy, RateRule, RateScope, RegionRule, RegionSubject, RouteClass, Support, WindowRule,
};
use weir_sdk::types::ContentKind;

/// Send a message to a conversation: 48 hours after each message of the contact.
const WINDOW_MS: u64 = 48 * 60 * 60 * 1000;
/// Send a message to a conversation: ten messages in that window, until the contact writes again.
const BUDGET: u32 = 10;
/// Messaging calls of one app in a second; the lowest tier.
const CALLS_PER_SECOND: u32 = 10;
/// Send a message to a conversation: at most 6,000 characters with spaces and emoji.
const TEXT_CHARS: u32 = 6000;
/// Upload an image: 3 MB, read as the smaller of the two meanings.
const IMAGE_BYTES: u64 = 3_000_000;
/// Send a message to a conversation: the title of a card.
pub(crate) const CARD_TITLE_CHARS: u32 = 40;

/// The source of the two lists of countries.
const REGION_SOURCE: &str = "respond.io, TikTok overview, 18 February 2025";

const EU: [&str; 27] = [
    "AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE", "IT", "LV", "LT", "LU", "MT",
    "NL", "PL", "PT", "RO", "SK", "SI", "ES", "SE",
];
/// Besides the EU: the rest of the EEA, Switzerland, the United Kingdom, the United States.
const NO_ACCOUNTS: [&str; 6] = ["IS", "LI", "NO", "CH", "GB", "US"];
/// Besides the EU.
const NO_IMAGES: [&str; 14] = [
    "AU", "CO", "IN", "IR", "JP", "NG", "KP", "PH", "RU", "KR", "TR", "UA", "GB", "US",
];

pub(super) fn policies() -> Vec<Policy> {
    vec![
        Policy::Window(WindowRule { length_ms: WINDOW_MS }),
        // TikTok does not document whether it counts messages sent in its app; counting them is the safe choice.
        Policy::Budget(BudgetRule {
            limit: BUDGET,
            counts: vec!["app".into(), "web".into()],
        }),
        Policy::Rate(RateRule {
            permits: CALLS_PER_SECOND,
            per_ms: 1000,
            scope: RateScope::App,
            classes: vec![
                RouteClass::MessageSend,
                RouteClass::Signal,
                RouteClass::Read,
                RouteClass::Media,
                RouteClass::Setup,
            ],
        }),
        region("accounts", RegionSubject::Connect, &NO_ACCOUNTS),
        region("images", RegionSubject::Images, &NO_IMAGES),
        Policy::Initiation(false),
        Policy::Broadcast(false),
    ]
}

fn region(id: &str, what: RegionSubject, besides_eu: &[&str]) -> Policy {
    let countries = EU.iter().chain(besides_eu).map(|&country| country.to_owned()).collect();
    Policy::Region(RegionRule {
        id: id.into(),
        what,
        countries,
        source: REGION_SOURCE.into(),
    })
}

pub(super) fn contents() -> Vec<ContentRule> {
    use ContentKind::{Audio, Card, File, Image, Location, SharedPost, Sticker, Template, Text, Video};
    use Support::{Fallback, Full, OptIn, Rejected};
    vec![
        ContentRule {
            max_chars: TEXT_CHARS,
            notes: vec!["links_not_clickable".into()],
            ..rule(Text, Full, Full)
        },
        ContentRule {
            max_bytes: IMAGE_BYTES,
            mime_types: vec!["image/jpeg".into(), "image/png".into()],
            // Send a message to a conversation: a message has one block.
            notes: vec!["no_caption".into()],
            probed: true,
            ..rule(Image, Full, Full)
        },
        rule(SharedPost, Full, OptIn),
        ContentRule {
            max_chars: CARD_TITLE_CHARS,
            ..rule(Card, Full, Full)
        },
        rule(Video, Fallback, Rejected),
        rule(Audio, Fallback, Rejected),
        rule(File, Fallback, Rejected),
        rule(Sticker, Fallback, Rejected),
        rule(Location, Fallback, Rejected),
        rule(Template, Fallback, Rejected),
    ]
}

fn rule(kind: ContentKind, inbound: Support, outbound: Support) -> ContentRule {
    ContentRule {
        kind,
        inbound,
        outbound,
        max_chars: 0,
        max_bytes: 0,
        mime_types: Vec::new(),
        notes: Vec::new(),
        probed: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_regions_are_those_that_tiktok_excludes() {
        let countries = |wanted: RegionSubject| {
            policies()
                .into_iter()
                .find_map(|policy| match policy {
                    Policy::Region(rule) if rule.what == wanted => Some(rule.countries),
                    _ => None,
                })
                .unwrap_or_default()
        };
        let accounts = countries(RegionSubject::Connect);
        assert_eq!(accounts.len(), 33);
        assert!(
            ["DE", "NO", "CH", "GB", "US"]
                .iter()
                .all(|country| accounts.iter().any(|listed| listed == country))
        );
        let images = countries(RegionSubject::Images);
        assert_eq!(images.len(), 41);
        assert!(!images.iter().any(|listed| listed == "CH" || listed == "VN"));
    }
}
