//! Each rule on both sides of its limit, and properties that always apply.

mod content;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::channel::PolicyOverride;
use crate::clock::{self, ClockOffset};
use crate::conversation::{Contact, ConversationStatus, OpenedBy};
use crate::id::Mint;
use crate::manifest::{ContentRule, RateScope, RouteClass, Support};
use crate::message::{Attachment, Content, ContentKind, MediaStatus};
use crate::policy::window::{Phase, phase};

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn content(kind: ContentKind, outbound: Support) -> ContentRule {
    ContentRule {
        kind,
        inbound: Support::Full,
        outbound,
        max_chars: 0,
        max_bytes: 0,
        mime_types: Vec::new(),
        notes: Vec::new(),
        probed: false,
    }
}

/// TikTok's rules: 48 hours, ten messages, text of 6,000 characters, JPG and PNG of 3 MB.
pub(crate) fn rules() -> Rules {
    Rules {
        window: Some(48 * HOUR),
        budget: Some(10),
        budget_until_reply: false,
        counts: Vec::new(),
        initiation: false,
        broadcast: false,
        contents: vec![
            ContentRule {
                max_chars: 6_000,
                notes: vec!["links_not_clickable".into()],
                ..content(ContentKind::Text, Support::Full)
            },
            ContentRule {
                max_bytes: 3_000_000,
                mime_types: vec!["image/jpeg".into(), "image/png".into()],
                notes: vec!["no_caption".into()],
                probed: true,
                ..content(ContentKind::Image, Support::Full)
            },
            content(ContentKind::SharedPost, Support::OptIn),
            content(ContentKind::Video, Support::Rejected),
        ],
        denied: vec![("DE".into(), "TikTok's help pages, 2025".into())],
        without_images: vec!["JP".into()],
        rates: vec![Rate {
            permits: 10,
            per: Duration::from_secs(1),
            scope: RateScope::App,
            classes: vec![RouteClass::MessageSend],
        }],
        refuse_links: false,
        clock: ClockOffset::default(),
        clock_margin: clock::MARGIN,
    }
}

pub(crate) fn mint() -> Mint {
    Mint::from_seed([3; 32])
}

pub(crate) fn channel() -> Channel {
    let now = at("2026-03-01T00:00:00Z");
    Channel {
        id: mint().id(now),
        workspace_id: "default".into(),
        app: "tiktok".into(),
        connector: "tiktok".into(),
        platform: "tiktok".into(),
        platform_id: "B".into(),
        name: "Acme".into(),
        labels: BTreeMap::new(),
        username: Some("acme_store".into()),
        display_name: None,
        avatar_url: None,
        country: Some("BR".into()),
        status: ChannelStatus::Connected,
        paused: false,
        policy: PolicyOverride::default(),
        scopes: Vec::new(),
        reauthorize_by: None,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    }
}

pub(crate) fn conversation(wrote_at: Option<&str>, budget_used: u32) -> Conversation {
    let now = at("2026-03-01T00:00:00Z");
    Conversation {
        id: mint().id(now),
        channel_id: channel().id,
        contact: Contact {
            id: mint().id(now),
            channel_id: channel().id,
            platform_id: "U".into(),
            username: Some("jane_doe".into()),
            display_name: None,
            avatar_url: None,
            created_at: now,
        },
        platform_id: "C+1==".into(),
        status: ConversationStatus::Open,
        opened_by: OpenedBy::Message,
        answered: false,
        replied: false,
        contact_wrote_at: wrote_at.map(at),
        budget_used,
        images_allowed: None,
        last_message_at: None,
        unread: 0,
        referral: None,
        created_at: now,
    }
}

fn text(text: &str) -> Draft {
    Draft {
        content: Content::Text { text: text.into() },
        reply_to: None,
    }
}

fn image(mime_type: &str, size: u64) -> Draft {
    let media = Attachment {
        id: mint().id(at("2026-03-01T00:00:00Z")),
        mime_type: Some(mime_type.into()),
        size: Some(size),
        url: None,
        status: Some(MediaStatus::Stored),
    };
    Draft {
        content: Content::Image { media, caption: None },
        reply_to: None,
    }
}

pub(crate) const WROTE: &str = "2026-03-02T10:00:00Z";
const CLOSES: &str = "2026-03-04T10:00:00Z";

fn judge(channel: &Channel, conversation: &Conversation, draft: Draft, now: &str) -> Result<(), &'static str> {
    may_send(&rules(), channel, conversation, draft, Stage::Accept, at(now))
        .map(|_| ())
        .map_err(|refusal| refusal.code())
}

#[test]
fn a_permit_owns_what_it_permits() {
    let to = conversation(Some(WROTE), 0);
    let permit = may_send(&rules(), &channel(), &to, text("hi"), Stage::Accept, at(WROTE)).expect("allowed");
    assert_eq!((permit.conversation(), permit.draft()), (&to, &text("hi")));
}

#[test]
fn a_window_refuses_from_the_moment_it_closes() {
    let to = conversation(Some(WROTE), 0);
    assert_eq!(judge(&channel(), &to, text("hi"), "2026-03-04T09:59:59.999Z"), Ok(()));
    assert_eq!(judge(&channel(), &to, text("hi"), CLOSES), Err("reply_window_closed"));
    let refusal = may_write(&rules(), &to, Stage::Accept, at(CLOSES)).expect_err("closed");
    assert_eq!(refusal, Refusal::ReplyWindowClosed { closed_at: at(CLOSES) });
}

#[test]
fn closing_phase_fits_the_window_length() {
    use window::{Phase, phase};
    let wrote = Some(at(WROTE));
    let hours = |hours: u32| at(WROTE).after(HOUR * hours);
    let (closing_at, closes_at) = (hours(44), at(CLOSES));
    let just_before = |moment: Timestamp| moment.before(Duration::from_millis(1));
    assert_eq!(
        phase(&rules(), wrote, just_before(closing_at)),
        Some(Phase::Open { closing_at })
    );
    assert_eq!(phase(&rules(), wrote, closing_at), Some(Phase::Closing { closes_at }));
    assert_eq!(
        phase(&rules(), wrote, just_before(closes_at)),
        Some(Phase::Closing { closes_at })
    );
    assert_eq!(phase(&rules(), wrote, closes_at), Some(Phase::Closed));
    let short = Rules {
        window: Some(2 * HOUR),
        ..rules()
    };
    assert_eq!(
        phase(&short, wrote, just_before(hours(1))),
        Some(Phase::Open { closing_at: hours(1) })
    );
    assert_eq!(
        phase(&short, wrote, hours(1)),
        Some(Phase::Closing { closes_at: hours(2) })
    );
    assert_eq!(
        phase(&rules(), None, at(WROTE)),
        None,
        "a contact who never wrote opened no window"
    );
    let without = Rules {
        window: None,
        ..rules()
    };
    assert_eq!(phase(&without, wrote, at(CLOSES)), None);
}

#[test]
fn a_contact_who_never_wrote_cannot_be_written_to() {
    assert_eq!(
        judge(&channel(), &conversation(None, 0), text("hi"), WROTE),
        Err("conversation_initiation_not_allowed")
    );
}

#[test]
fn a_platform_clock_ahead_of_ours_does_not_lengthen_the_window() {
    assert_eq!(window::opened_at(&rules(), at(CLOSES), at(WROTE)), at(WROTE));
    assert_eq!(window::opened_at(&rules(), at(WROTE), at(CLOSES)), at(WROTE));
}

/// The host's clock is wrong by minutes, and the offset is known.
#[test]
fn windows_close_by_the_platforms_clock() {
    for offset_ms in [-600_000, -8_000, 1_000, 600_000] {
        let clock = ClockOffset::from_millis(offset_ms);
        let rules = Rules { clock, ..rules() };
        let closes = clock.ours(at(CLOSES));
        let last = closes.before(Duration::from_millis(1));
        assert_eq!(window::admit(&rules, Some(at(WROTE)), last), Ok(()), "{offset_ms}");
        assert!(window::admit(&rules, Some(at(WROTE)), closes).is_err(), "{offset_ms}");
        assert_eq!(
            phase(&rules, Some(at(WROTE)), closes),
            Some(Phase::Closed),
            "{offset_ms}"
        );
        let closing = phase(&rules, Some(at(WROTE)), last);
        assert_eq!(closing, Some(Phase::Closing { closes_at: closes }), "{offset_ms}");
        // A message of this moment opens the window now, whatever the host's clock shows.
        assert_eq!(window::opened_at(&rules, at(WROTE), clock.ours(at(WROTE))), at(WROTE));
    }
}

#[test]
fn the_tenth_message_goes_and_the_eleventh_does_not() {
    assert_eq!(
        judge(&channel(), &conversation(Some(WROTE), 9), text("hi"), WROTE),
        Ok(())
    );
    assert_eq!(
        judge(&channel(), &conversation(Some(WROTE), 10), text("hi"), WROTE),
        Err("message_budget_exhausted")
    );
}

#[test]
fn at_dispatch_a_message_counts_its_own_share_only_once() {
    let tenth = conversation(Some(WROTE), 10);
    assert!(may_write(&rules(), &tenth, Stage::Dispatch, at(WROTE)).is_ok());
    let overdrawn = conversation(Some(WROTE), 11);
    assert!(may_write(&rules(), &overdrawn, Stage::Dispatch, at(WROTE)).is_err());
}

#[test]
fn a_channel_is_judged_before_anything_else() {
    let to = conversation(None, 99);
    let cases = [
        (
            Channel {
                status: ChannelStatus::Deleted,
                ..channel()
            },
            "channel_deleted",
        ),
        (
            Channel {
                paused: true,
                ..channel()
            },
            "channel_paused",
        ),
        (
            Channel {
                country: Some("DE".into()),
                ..channel()
            },
            "region_not_eligible",
        ),
    ];
    for (channel, expected) in cases {
        assert_eq!(judge(&channel, &to, text("hi"), WROTE), Err(expected));
    }
}

#[test]
fn unauthorized_channel_accepts_and_holds_messages() {
    let waiting = Channel {
        status: ChannelStatus::ReauthorizationRequired,
        ..channel()
    };
    assert_eq!(
        judge(&waiting, &conversation(Some(WROTE), 0), text("hi"), WROTE),
        Ok(())
    );
}

#[test]
fn operator_may_set_budget_of_one() {
    let other = Rules {
        budget_until_reply: true,
        ..rules()
    };
    let requested = conversation(Some(WROTE), 10);
    let talked = Conversation {
        replied: true,
        ..requested.clone()
    };
    let may = |rules: &Rules, to: &Conversation, now: &str| may_write(rules, to, Stage::Accept, at(now));
    let full = Err(Refusal::MessageBudgetExhausted { limit: 10, used: 10 });
    assert_eq!(may(&other, &requested, WROTE), full, "there is no reply yet");
    assert_eq!(may(&other, &talked, WROTE), Ok(()));
    assert_eq!(may(&rules(), &talked, WROTE), full, "as published");
    assert!(
        may(&other, &talked, CLOSES).is_err(),
        "the window applies in either reading"
    );
    let view = ConversationView::of(&talked, &channel(), &other, at(WROTE));
    assert_eq!((view.can_reply, view.budget), (true, None));
}

#[test]
fn an_app_moves_what_the_platform_moved() {
    let manifest = crate::manifest::tests::manifest();
    let of = |settings: serde_json::Value| Rules::of(&manifest, &settings, &PolicyOverride::default());
    let published = of(serde_json::json!({}));
    let moved = of(serde_json::json!({"budget_limit": 4, "budget_counts": ["automation"], "refuse_links": true}));
    assert_ne!(published.budget, moved.budget);
    assert_eq!(moved.budget, Some(4));
    assert_eq!(moved.counts, [crate::message::Origin::Automation]);
    assert!(moved.refuse_links && !published.refuse_links);
    // A channel's tightening applies on top of it.
    let tight = PolicyOverride {
        budget_limit: Some(3),
        ..PolicyOverride::default()
    };
    let both = Rules::of(&manifest, &serde_json::json!({"budget_limit": 4}), &tight);
    assert_eq!(both.budget, Some(3));
}

#[test]
fn a_country_that_the_platform_opened_is_let_in_by_the_operator() {
    use crate::manifest::{Policy, RegionSubject};
    let mut manifest = crate::manifest::tests::manifest();
    manifest.policies.push(Policy::Region {
        id: "accounts".into(),
        what: RegionSubject::Connect,
        countries: vec!["DE".into(), "US".into()],
        source: "the platform's page".into(),
    });
    let settings = serde_json::json!({"allow_countries": ["us"]});
    let rules = Rules::of(&manifest, &settings, &PolicyOverride::default());
    assert_eq!(region::admit(&rules, Some("US")), Ok(()));
    assert!(region::admit(&rules, Some("de")).is_err());
    assert_eq!(region::country("us").as_deref(), Some("US"));
    assert_eq!(region::country("usa"), None);
}

#[test]
fn the_view_says_what_the_judge_would() {
    let view = |used, now| ConversationView::of(&conversation(Some(WROTE), used), &channel(), &rules(), at(now));
    let open = view(3, WROTE);
    assert!(open.can_reply);
    assert_eq!(
        open.budget.map(|budget| (budget.limit, budget.used, budget.left)),
        Some((10, 3, 7))
    );
    assert_eq!(open.window.map(|window| window.closes_at), Some(at(CLOSES)));
    assert_eq!(
        view(10, WROTE).refusal.map(|refusal| refusal.code),
        Some("message_budget_exhausted".into())
    );
    assert_eq!(
        view(3, CLOSES).refusal.map(|refusal| refusal.code),
        Some("reply_window_closed".into())
    );
}

#[test]
fn an_app_has_the_rate_that_its_platform_grants_it() {
    let manifest = crate::manifest::tests::manifest();
    let permits = |settings: serde_json::Value, channel: Option<u32>| {
        let policy = PolicyOverride {
            rate_permits: channel,
            ..PolicyOverride::default()
        };
        Rules::of(&manifest, &settings, &policy).rates[0].permits
    };
    let declared = permits(serde_json::json!({}), None);
    assert_eq!(permits(serde_json::json!({"queries_per_second": 50}), None), 50);
    assert_eq!(permits(serde_json::json!({"queries_per_second": 50}), Some(7)), 7);
    for nonsense in [
        serde_json::json!(0),
        serde_json::json!(-1),
        serde_json::json!("50"),
        serde_json::json!(1.5),
    ] {
        assert_eq!(
            permits(serde_json::json!({"queries_per_second": nonsense}), None),
            declared
        );
    }
}

proptest! {
    #[test]
    fn an_operator_can_only_tighten(window_ms in 0u64..400_000_000, budget in 0u32..40, permits in 0u32..40, chars in 0u32..20_000) {
        let manifest = crate::manifest::tests::manifest();
        let loose = Rules::of(&manifest, &serde_json::Value::Null, &PolicyOverride::default());
        let policy = PolicyOverride {
            window_ms: Some(window_ms),
            budget_limit: Some(budget),
            rate_permits: Some(permits),
            text_max_chars: Some(chars),
        };
        let tight = Rules::of(&manifest, &serde_json::Value::Null, &policy);
        prop_assert!(tight.window <= loose.window);
        prop_assert!(tight.budget <= loose.budget);
        prop_assert!(tight.rates[0].permits <= loose.rates[0].permits);
        prop_assert!(tight.rates[0].permits >= 1);
        let text = |rules: &Rules| rules.content(ContentKind::Text).map(|rule| rule.max_chars);
        prop_assert!(text(&tight) <= text(&loose));
    }

    #[test]
    fn window_never_exceeds_budget(contact_writes in proptest::collection::vec(any::<bool>(), 1..200)) {
        let mut to = conversation(None, 0);
        let mut sent_since = 0u32;
        for (hour, contact) in contact_writes.into_iter().enumerate() {
            let now = at("2026-03-02T00:00:00Z").after(HOUR * u32::try_from(hour).unwrap_or(0));
            if contact {
                to.contact_wrote_at = Some(now);
                to.budget_used = 0;
                sent_since = 0;
            } else if may_send(&rules(), &channel(), &to, text("hi"), Stage::Accept, now).is_ok() {
                to.budget_used += 1;
                sent_since += 1;
                prop_assert!(sent_since <= 10);
                prop_assert!(to.contact_wrote_at.is_some_and(|wrote| now < wrote.after(48 * HOUR)));
            }
        }
    }
}
