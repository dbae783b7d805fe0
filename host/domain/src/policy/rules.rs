//! The rules of one channel: the connector's policies, tightened by the operator.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::channel::{Channel, PolicyOverride};
use crate::clock::{self, ClockOffset};
use crate::manifest::{ContentRule, Manifest, Policy, RateScope, RegionSubject, RouteClass, Support, Webhook};
use crate::message::{ContentKind, Origin};
use crate::policy::AppSettings;
use crate::time::Timestamp;

/// A connector's rules and its app's settings, from which each channel's [`Rules`] are computed. Clones share their
/// contents.
#[derive(Clone, Debug)]
pub struct PolicySet {
    manifest: Arc<Manifest>,
    settings: Arc<serde_json::Value>,
    untightened: Arc<Rules>,
}

impl PolicySet {
    /// The rules of `manifest` under the operator's `settings` for the app.
    pub fn new(manifest: Arc<Manifest>, settings: serde_json::Value) -> Self {
        Self {
            untightened: Arc::new(Rules::of(&manifest, &settings, &PolicyOverride::default())),
            manifest,
            settings: Arc::new(settings),
        }
    }

    /// The same rules, evaluated with this offset of the platform's clock.
    pub fn with_clock(mut self, clock: ClockOffset) -> Self {
        if self.untightened.clock != clock {
            self.untightened = Arc::new(Rules {
                clock,
                ..Rules::clone(&self.untightened)
            });
        }
        self
    }

    /// The offset of the platform's clock from the host's.
    pub fn clock(&self) -> ClockOffset {
        self.untightened.clock
    }

    /// The manifest of the serving version.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The rules of an account without tightening, or that is not a channel yet.
    pub fn untightened(&self) -> &Arc<Rules> {
        &self.untightened
    }

    /// The rules with an operator's tightening.
    pub fn tightened(&self, policy: &PolicyOverride) -> Arc<Rules> {
        if *policy == PolicyOverride::default() {
            return Arc::clone(&self.untightened);
        }
        Arc::new(Rules {
            clock: self.clock(),
            ..Rules::of(&self.manifest, &self.settings, policy)
        })
    }

    /// The rules for one channel.
    pub fn rules(&self, channel: &Channel) -> Arc<Rules> {
        self.tightened(&channel.policy)
    }
}

/// The platform's report of the content that a conversation supports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Probed {
    /// Whether pictures are supported both ways; `None` if it was not queried.
    pub images: Option<bool>,
}

/// The rules of one channel. Plain data: the checks are in the sibling modules.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The messaging window; `None` if the platform has none.
    pub window: Option<Duration>,
    /// The message budget; `None` if the platform has none.
    pub budget: Option<u32>,
    /// Whether the budget applies only until the contact first replies.
    pub budget_until_reply: bool,
    /// Origins whose messages count against the budget, besides Weir's.
    pub counts: Vec<Origin>,
    /// Whether a business may write first.
    pub initiation: bool,
    /// Whether one message may have several recipients.
    pub broadcast: bool,
    /// The limits of each kind of content.
    pub contents: Vec<ContentRule>,
    /// Countries that cannot use the channel, and where the platform documents it.
    pub denied: Vec<(String, String)>,
    /// Countries without pictures.
    pub without_images: Vec<String>,
    /// Rate limits.
    pub rates: Vec<Rate>,
    /// Whether a text with a link is refused.
    pub refuse_links: bool,
    /// The offset of the platform's clock from the host's: the platform dates the contact's messages, and windows close
    /// by its clock.
    pub clock: ClockOffset,
    /// How far the platform's time and the host's may differ beyond the offset for the same moment.
    pub clock_margin: Duration,
}

/// A rate limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The number of requests.
    pub permits: u32,
    /// The span.
    pub per: Duration,
    /// What is counted together.
    pub scope: RateScope,
    /// The classes of requests that count.
    pub classes: Vec<RouteClass>,
}

impl Rules {
    /// The manifest's rules under the operator's control: `settings` are the app's, parsed as [`AppSettings`]. An
    /// override can only tighten; one that would loosen has no effect here.
    pub fn of(manifest: &Manifest, settings: &serde_json::Value, tightened: &PolicyOverride) -> Self {
        // Validated when the app was stored; invalid settings from an older host have no effect.
        let settings = AppSettings::deserialize(settings).unwrap_or_default();
        let mut rules = Self {
            window: None,
            budget: None,
            budget_until_reply: settings.budget_until_reply,
            counts: Vec::new(),
            initiation: true,
            broadcast: true,
            contents: manifest.contents.clone(),
            denied: Vec::new(),
            without_images: Vec::new(),
            rates: Vec::new(),
            refuse_links: settings.refuse_links,
            clock: ClockOffset::default(),
            clock_margin: manifest
                .webhook
                .as_ref()
                .and_then(Webhook::tolerance)
                .unwrap_or(clock::MARGIN),
        };
        for policy in &manifest.policies {
            match policy {
                Policy::Window { length_ms } => {
                    let length = tightened
                        .window_ms
                        .map_or(*length_ms, |tighter| tighter.min(*length_ms));
                    rules.window = Some(Duration::from_millis(length));
                }
                Policy::Budget { limit, counts } => {
                    let limit = settings.budget_limit.unwrap_or(*limit);
                    rules.budget = Some(tightened.budget_limit.map_or(limit, |tighter| tighter.min(limit)));
                    rules.counts = match &settings.budget_counts {
                        Some(counts) => counts.clone(),
                        None => counts.iter().filter_map(|origin| origin_named(origin)).collect(),
                    };
                }
                Policy::Rate {
                    permits,
                    per_ms,
                    scope,
                    classes,
                } => {
                    let permits = match (scope, settings.queries_per_second) {
                        (RateScope::App, Some(in_a_second)) => in_span(in_a_second.get(), *per_ms),
                        _ => *permits,
                    };
                    let permits = tightened
                        .rate_permits
                        .map_or(permits, |tighter| tighter.min(permits))
                        .max(1);
                    rules.rates.push(Rate {
                        permits,
                        per: Duration::from_millis(u64::from(*per_ms)),
                        scope: *scope,
                        classes: classes.clone(),
                    });
                }
                Policy::Region {
                    what: RegionSubject::Connect,
                    countries,
                    source,
                    ..
                } => {
                    let opened = |country: &&String| {
                        settings
                            .allow_countries
                            .iter()
                            .any(|opened| opened.eq_ignore_ascii_case(country))
                    };
                    let denied = countries.iter().filter(|country| !opened(country));
                    rules
                        .denied
                        .extend(denied.map(|country| (country.clone(), source.clone())));
                }
                Policy::Region {
                    what: RegionSubject::Images,
                    countries,
                    ..
                } => rules.without_images.extend(countries.iter().cloned()),
                Policy::Initiation { allowed } => rules.initiation = *allowed,
                Policy::Broadcast { allowed } => rules.broadcast = *allowed,
            }
        }
        for rule in &mut rules.contents {
            if rule.outbound == Support::OptIn && settings.allow.contains(&rule.kind) {
                rule.outbound = Support::Full;
            }
            if let (ContentKind::Image, Some(max)) = (rule.kind, settings.image_max_bytes) {
                rule.max_bytes = max;
            }
            if let (ContentKind::Text, Some(tighter)) = (rule.kind, tightened.text_max_chars) {
                rule.max_chars = if rule.max_chars == 0 {
                    tighter
                } else {
                    rule.max_chars.min(tighter)
                };
            }
        }
        rules
    }

    /// The earliest platform time at which a message is taken for one that was sent at `left_at`.
    pub fn likely_since(&self, left_at: Timestamp) -> Timestamp {
        self.clock.platform(left_at).before(clock::PRECISION)
    }

    /// The earliest time that the platform can have assigned to a message that was sent at `left_at`, given the largest
    /// unnoticed difference of the clocks.
    pub fn possible_since(&self, left_at: Timestamp) -> Timestamp {
        self.clock.platform(left_at).before(self.clock_margin)
    }

    /// The rule for a kind of content; a kind that is not listed is not supported.
    pub fn content(&self, kind: ContentKind) -> Option<&ContentRule> {
        self.contents.iter().find(|rule| rule.kind == kind)
    }
}

fn in_span(in_a_second: u32, per_ms: u32) -> u32 {
    u32::try_from(u64::from(in_a_second) * u64::from(per_ms) / 1000).unwrap_or(u32::MAX)
}

fn origin_named(name: &str) -> Option<Origin> {
    match name {
        "app" => Some(Origin::App),
        "web" => Some(Origin::Web),
        "automation" => Some(Origin::Automation),
        "api" => Some(Origin::Api),
        _ => None,
    }
}
