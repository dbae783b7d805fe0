//! TikTok's state as one state machine: apps, accounts, people, chats, tokens, webhooks.
//!
//! Every function takes `now`, and none waits or uses a network, so every rule can be tested at its edge. The HTTP
//! layer has one `World` behind one lock; `deliver` sends the webhooks in the outbox.

pub mod apps;
pub mod arrive;
pub mod automatic;
pub mod chat;
pub mod event;
pub mod faults;
pub mod media;
pub mod oauth;
pub mod outbox;
pub mod people;
pub mod read;
pub mod send;
pub mod subscription;
pub mod tokens;
pub mod window;
pub mod write;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Deserializer, Serialize};

use crate::api::CallRecord;
use crate::clock::{MINUTE_MS, Timestamp};
use crate::limits;
use crate::mint::Mint;
use crate::ring::Ring;
use apps::App;
use automatic::Review;
use chat::Chat;
use faults::Faults;
use media::Files;
use outbox::{DeliveryRecord, Outbox};
use people::{Account, Person};
use tokens::Grants;
use window::WindowPolicy;

/// Settings that can be changed while the sandbox runs.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// Which of TikTok's two published window rules applies.
    pub window: WindowPolicy,
    /// Whether a refresh issues a new refresh token and revokes the old one.
    pub rotate_refresh_tokens: bool,
    /// Whether messages typed in the TikTok app use up the budget.
    pub count_app_replies: bool,
    /// Whether automatic messages use up the budget.
    pub count_automatic: bool,
    /// Whether every echo is delivered before its send responds.
    pub early_echo: bool,
    /// Whether the webhooks of a conversation wait for each other.
    pub ordered_webhooks: bool,
    /// Whether webhooks are sent at all.
    pub webhooks: bool,
    /// Whether a revocation in the app sends `authorization.removed`. Undocumented by TikTok, so off.
    pub authorization_removed: bool,
    /// Milliseconds until an automatic message has been reviewed.
    pub review_ms: i64,
    /// Milliseconds to the first retry of a webhook; each later one waits twice as long.
    pub retry_first_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: WindowPolicy::TenPerMessage,
            rotate_refresh_tokens: true,
            count_app_replies: true,
            count_automatic: false,
            early_echo: false,
            ordered_webhooks: true,
            webhooks: true,
            authorization_removed: false,
            review_ms: MINUTE_MS,
            retry_first_ms: limits::RETRY_FIRST_MS,
        }
    }
}

/// A change of [`Settings`]: absent members stay unchanged.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is the setting of the same name")]
pub struct SettingsPatch {
    pub window: Option<WindowPolicy>,
    pub rotate_refresh_tokens: Option<bool>,
    pub count_app_replies: Option<bool>,
    pub count_automatic: Option<bool>,
    pub early_echo: Option<bool>,
    pub ordered_webhooks: Option<bool>,
    pub webhooks: Option<bool>,
    pub authorization_removed: Option<bool>,
    pub review_ms: Option<i64>,
    pub retry_first_ms: Option<i64>,
    /// Queries per second of every app; null lifts the limit.
    #[serde(default, deserialize_with = "present")]
    pub qps: Option<Option<u32>>,
}

/// Distinguishes `null` from absent.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// The error of a control API call. It is the sandbox's own, not TikTok's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The object does not exist.
    #[error("there is no {0}")]
    Unknown(String),
    /// The request itself is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The request is valid, but the world does not allow it.
    #[error("{0}")]
    Conflict(String),
}

/// The initial state of a world.
#[derive(Debug, Clone)]
pub struct Genesis {
    /// The sandbox's base URL, for the URLs it returns.
    pub origin: String,
    /// Generates every id.
    pub seed: u64,
    /// The default app's secret.
    pub client_secret: String,
    /// The default app's one redirect URI; default: any loopback address.
    pub redirect_uri: Option<String>,
}

/// The whole state.
#[derive(Debug)]
pub struct World {
    /// The settings.
    pub settings: Settings,
    /// The injected faults.
    pub faults: Faults,
    /// The webhooks to be sent.
    pub outbox: Outbox,
    /// Every API call.
    pub calls: Ring<CallRecord>,
    /// Every webhook attempt.
    pub deliveries: Ring<DeliveryRecord>,
    origin: String,
    seed: u64,
    mint: Mint,
    apps: HashMap<String, App>,
    grants: Grants,
    accounts: HashMap<String, Account>,
    people: HashMap<String, Person>,
    chats: Vec<Chat>,
    by_conversation: HashMap<String, usize>,
    messages: usize,
    files: Files,
    reviews: BTreeMap<(Timestamp, u64), Review>,
    reviews_started: u64,
    revision: u64,
}

impl World {
    /// The default world: one app, three accounts, three people, so a demo needs no setup.
    pub fn new(genesis: Genesis, now: Timestamp) -> Self {
        let mut world = Self {
            settings: Settings::default(),
            faults: Faults::default(),
            outbox: Outbox::default(),
            calls: Ring::default(),
            deliveries: Ring::default(),
            origin: genesis.origin,
            seed: genesis.seed,
            mint: Mint::new(genesis.seed),
            apps: HashMap::new(),
            grants: Grants::default(),
            accounts: HashMap::new(),
            people: HashMap::new(),
            chats: Vec::new(),
            by_conversation: HashMap::new(),
            messages: 0,
            files: Files::default(),
            reviews: BTreeMap::new(),
            reviews_started: 0,
            revision: 0,
        };
        world.populate(genesis.client_secret, genesis.redirect_uri, now);
        world
    }

    /// Does the work that has become due: reviews of automatic messages, webhooks held for reordering.
    pub fn tick(&mut self, now: Timestamp) {
        while let Some(entry) = self.reviews.first_entry()
            && entry.key().0 <= now
        {
            let review = entry.remove();
            self.finish_review(now, &review);
        }
        self.outbox.release_held(now);
    }

    /// When [`World::tick`] or the outbox next has something to do.
    pub fn next_due(&self) -> Option<Timestamp> {
        let review = self.reviews.keys().next().map(|(at, _)| *at);
        [review, self.outbox.next_due()].into_iter().flatten().min()
    }

    /// Counts every change that a phone could show.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The sandbox's base URL.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Changes the settings.
    ///
    /// # Errors
    /// A negative duration.
    pub fn change_settings(&mut self, patch: SettingsPatch) -> Result<&Settings, ControlError> {
        if [patch.review_ms, patch.retry_first_ms]
            .iter()
            .flatten()
            .any(|ms| *ms < 0)
        {
            return Err(ControlError::Invalid("a duration cannot be negative".into()));
        }
        if patch.qps == Some(Some(0)) {
            return Err(ControlError::Invalid("qps is at least 1, or null".into()));
        }
        fn set<T>(setting: &mut T, change: Option<T>) {
            if let Some(value) = change {
                *setting = value;
            }
        }
        let settings = &mut self.settings;
        set(&mut settings.window, patch.window);
        set(&mut settings.rotate_refresh_tokens, patch.rotate_refresh_tokens);
        set(&mut settings.count_app_replies, patch.count_app_replies);
        set(&mut settings.count_automatic, patch.count_automatic);
        set(&mut settings.early_echo, patch.early_echo);
        set(&mut settings.ordered_webhooks, patch.ordered_webhooks);
        set(&mut settings.webhooks, patch.webhooks);
        set(&mut settings.authorization_removed, patch.authorization_removed);
        set(&mut settings.review_ms, patch.review_ms);
        set(&mut settings.retry_first_ms, patch.retry_first_ms);
        if let Some(qps) = patch.qps {
            for app in self.apps.values_mut() {
                app.limit_to(qps);
            }
        }
        self.revision += 1;
        Ok(&self.settings)
    }
}
