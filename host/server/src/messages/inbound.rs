//! From a webhook to recorded events, in one sequence of steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tracing::{Instrument, field, trace_span};
use weir_domain::credential::Secret;
use weir_domain::id::DeadLetterId;
use weir_domain::inbound::{Fact, InboundEvent};
use weir_domain::limits;
use weir_domain::manifest::{Challenge, Webhook};
use weir_domain::message::Direction;
use weir_domain::signature::{Forged, RawWebhook, VerifiedWebhook, admit_head, verify};
use weir_domain::time::Timestamp;
use weir_runtime::{CallError, Connector};
use weir_store::{DeadLetter, Recorded, Source, StoreError};

use crate::connectors::Connectors;
use crate::connectors::quarantine::Quarantine;
use crate::connectors::serving::{NotServed, Serving};
use crate::core::Core;

/// Webhooks in progress at once: each holds a body and an instance of a connector. Others wait, up to the platform's
/// timeout.
const WEBHOOKS_IN_FLIGHT: usize = 128;
/// Where a withheld message may be: conversations of the last hour.
const WITHHELD: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Receives webhooks, and records the events that connectors translate from them and from histories.
pub struct Inbound {
    core: Arc<Core>,
    connectors: Arc<Connectors>,
    /// Webhooks in progress.
    webhooks: Arc<Semaphore>,
}

/// The result of a webhook. Each is answered with 200.
#[derive(Debug)]
pub enum Hook {
    /// It is in the database.
    Accepted(Recorded),
    /// It was verified and could not be translated; it waits for a fixed connector.
    DeadLettered(DeadLetterId),
    /// It was a challenge; this is the response's body, as plain text.
    Challenge(String),
}

/// Why a webhook is not answered with 200.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// 404.
    #[error("app not found")]
    NoSuchApp,
    /// 401; the text is for the log.
    #[error(transparent)]
    Forged(#[from] Forged),
    /// 403.
    #[error("the challenge does not carry the app's secret")]
    ChallengeFailed,
    /// 503 with `Retry-After`: nothing was stored.
    #[error(transparent)]
    Unavailable(#[from] StoreError),
    /// 503 with `Retry-After`: too many at once, or no version serves. Nothing was stored.
    #[error("the webhook cannot be accepted now: {0}")]
    Busy(String),
}

impl HookError {
    /// Its name in metrics and traces.
    fn outcome(&self) -> &'static str {
        match self {
            Self::NoSuchApp => "no_such_app",
            Self::Forged(_) => "forged",
            Self::ChallengeFailed => "challenge_failed",
            Self::Unavailable(_) => "unavailable",
            Self::Busy(_) => "busy",
        }
    }
}

impl Inbound {
    pub(crate) fn new(core: Arc<Core>, connectors: Arc<Connectors>) -> Self {
        Self {
            core,
            connectors,
            webhooks: Arc::new(Semaphore::new(WEBHOOKS_IN_FLIGHT)),
        }
    }

    /// Receives one webhook for `app`. Returns after the commit, never before.
    ///
    /// # Errors
    /// See [`HookError`]; for each of them the platform redelivers, or the sender is not the platform.
    pub async fn receive(self: &Arc<Self>, app: &str, raw: RawWebhook) -> Result<Hook, HookError> {
        let span = trace_span!("webhook", app = field::Empty, outcome = field::Empty);
        let taken = self.take(app, raw).instrument(span.clone()).await;
        let outcome = match &taken {
            Ok(Hook::Accepted(_)) => "stored",
            Ok(Hook::DeadLettered(_)) => "dead_letter",
            Ok(Hook::Challenge(_)) => "challenge",
            Err(error) => error.outcome(),
        };
        match &taken {
            Err(error) => self.note_forged(app, error),
            Ok(_) => self.connectors.forged.accepted(app),
        }
        // An unknown app name is caller input, so it is not recorded in the span.
        if !matches!(taken, Err(HookError::NoSuchApp)) {
            span.record("app", app);
        }
        span.record("outcome", outcome);
        self.core.metrics.webhook(outcome);
        taken
    }

    /// Checks a webhook by its head, before its body is read: the app, the headers that its signature needs, and the
    /// time.
    ///
    /// # Errors
    /// See [`HookError`]; rejected webhooks are counted here.
    pub async fn admit_webhook(&self, app: &str, head: &RawWebhook) -> Result<(), HookError> {
        let admitted = match self.verifier(app).await {
            // A challenge is authenticated by its query, which is in the head.
            Ok(serving) if is_challenge(&serving, head).is_some() => Ok(()),
            Ok(serving) => {
                let scheme = serving.policies.manifest().webhook.as_ref();
                let now = self.core.now();
                let platforms = serving.policies.clock().platform(now);
                admit_head(scheme, &serving.app.app.secrets_at(now), head, platforms).map_err(HookError::from)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &admitted {
            self.note_forged(app, error);
            self.core.metrics.webhook(error.outcome());
        }
        admitted
    }

    /// Records a webhook with an invalid signature for diagnostics.
    fn note_forged(&self, app: &str, error: &HookError) {
        if matches!(error, HookError::Forged(_) | HookError::ChallengeFailed) {
            self.connectors.forged.refused(app, &error.to_string(), self.core.now());
        }
    }

    /// The version whose manifest verifies the webhooks of an app, quarantined or not.
    async fn verifier(&self, app: &str) -> Result<Serving, HookError> {
        let serving = self.connectors.installed(app).await.map_err(|error| match error {
            NotServed::NoSuchApp(_) => HookError::NoSuchApp,
            NotServed::Store(error) => error.into(),
            // Without a manifest it cannot be verified; the platform keeps it and redelivers.
            error => HookError::Busy(error.to_string()),
        })?;
        let manifest = serving.policies.manifest();
        match &manifest.webhook {
            Some(webhook) if !serving.grants.allow_webhook(webhook) => Err(HookError::Forged(Forged::NotGranted {
                connector: manifest.name.clone(),
            })),
            _ => Ok(serving),
        }
    }

    async fn take(self: &Arc<Self>, app: &str, raw: RawWebhook) -> Result<Hook, HookError> {
        let serving = self.verifier(app).await?;
        let scheme = serving.policies.manifest().webhook.as_ref();
        if let Some(challenge) = is_challenge(&serving, &raw) {
            return answer(challenge, &serving.app.app.secrets_at(self.core.now()), &raw.query);
        }
        let now = self.core.now();
        let webhook = trace_span!("verify").in_scope(|| {
            verify(
                scheme,
                &serving.app.app.secrets_at(now),
                raw,
                serving.policies.clock().platform(now),
            )
        })?;
        if let Some(signed_at) = webhook.signed_at() {
            serving.app.clock.signed(signed_at, now);
        }
        // Verification needs only the manifest; no code of a quarantined version runs.
        if let Some(reason) = self.connectors.quarantined(&serving) {
            let id = self.keep_dead_letter(&serving, &webhook, reason.to_string()).await?;
            return Ok(Hook::DeadLettered(id));
        }
        let waited = tokio::time::timeout(TURN, Arc::clone(&self.webhooks).acquire_owned()).await;
        let Ok(Ok(turn)) = waited else {
            return Err(HookError::Busy("too many webhooks are in progress".to_owned()));
        };
        let inbound = Arc::clone(self);
        self.core
            .detached(turn, async move { inbound.take_verified(serving, webhook).await })
            .await
    }

    /// Translates and records a verified webhook.
    async fn take_verified(&self, serving: Serving, webhook: VerifiedWebhook) -> Result<Hook, HookError> {
        let parts = match serving.translate(&self.connectors.quarantine, &webhook).await {
            Ok(parts) => parts,
            // Not the connector's fault, and nothing is lost if the platform redelivers.
            Err(error) if error.is_transient() => return Err(HookError::Busy(error.to_string())),
            Err(error) => {
                let id = self.keep_dead_letter(&serving, &webhook, error.to_string()).await?;
                return Ok(Hook::DeadLettered(id));
            }
        };
        let unknown = unknown_event_text(parts.events.iter().flat_map(|(_, events)| events));
        let recorded = self.record_parts(parts.events).await?;
        // The others' events are recorded, and are duplicates when it is replayed.
        if let Some(owner) = &parts.held {
            let reason = self.connectors.held(&serving, owner).to_string();
            let id = self.keep_dead_letter(&serving, &webhook, reason).await?;
            return Ok(Hook::DeadLettered(id));
        }
        if recorded.unknown_events > 0 {
            let reason = format!("the connector does not know {unknown}");
            self.keep_dead_letter(&serving, &webhook, reason).await?;
        }
        Ok(Hook::Accepted(recorded))
    }

    pub(super) async fn record_parts(&self, parts: Vec<(Serving, Vec<InboundEvent>)>) -> Result<Recorded, StoreError> {
        let mut recorded = Recorded::default();
        for (serving, events) in parts {
            recorded += self.record(&serving, events, Source::Webhook).await?;
        }
        Ok(recorded)
    }

    /// Records the events that a connector translated from a webhook or from the platform's history, and wakes the
    /// workers with new work.
    pub(crate) async fn record(
        &self,
        serving: &Serving,
        mut events: Vec<InboundEvent>,
        source: Source,
    ) -> Result<Recorded, StoreError> {
        if source == Source::History {
            self.leave_out_forgotten(&mut events, self.core.now());
        }
        let scheme = serving.policies.manifest().webhook.as_ref();
        let tolerance = scheme.and_then(Webhook::tolerance);
        let tolerance = tolerance.unwrap_or(limits::CLOCK_TOLERANCE);
        let received_at = serving.policies.clock().platform(self.core.now());
        let events: Vec<InboundEvent> = events
            .into_iter()
            .map(|event| event.with_plausible_times(received_at, tolerance))
            .collect();
        let touches_outbox = events.iter().any(|event| match &event.fact {
            Fact::Message(message) => message.direction == Direction::Outbound,
            Fact::Receipt { .. } | Fact::Notice { .. } => true,
            _ => false,
        });
        let withheld: BTreeSet<String> = events
            .iter()
            .filter(|event| matches!(&event.fact, Fact::Notice { kind, .. } if kind == "inbound_withheld"))
            .map(|event| event.channel_platform_id.clone())
            .collect();
        let app = &serving.app.app;
        let recorded = self
            .core
            .store
            .record_inbound(app, events, source, &serving.policies, self.core.now())
            .instrument(trace_span!("commit"))
            .await?;
        for (what, count) in [
            ("stored", recorded.stored),
            ("duplicate", recorded.duplicates),
            ("unknown_channel", recorded.unknown_channel),
            ("deleted_channel", recorded.deleted_channel),
            ("unknown", recorded.unknown_events),
        ] {
            self.core.metrics.events_in(what, count);
        }
        if recorded.stored > 0 && touches_outbox {
            self.core.wakes.messages.notify_one();
        }
        if recorded.media > 0 {
            self.core.wakes.media.notify_one();
        }
        // Not from the history itself: it would trigger another read of itself.
        if recorded.stored > 0 && source == Source::Webhook && !withheld.is_empty() {
            self.request_withheld(&app.workspace_id, &app.name, &withheld).await;
        }
        Ok(recorded)
    }

    /// Removes messages from the platform's history that are past their retention: they were deleted, later their keys
    /// too, and would be recorded as new.
    fn leave_out_forgotten(&self, events: &mut Vec<InboundEvent>, now: Timestamp) {
        let Some(days) = self.core.config.retention.messages_days else {
            return;
        };
        let since = now.before(DAY * days);
        events.retain(|event| !matches!(&event.fact, Fact::Message(message) if message.sent_at < since));
    }

    /// The platform withholds a message of this account: the visible history is fetched.
    async fn request_withheld(&self, workspace: &str, app: &str, platform_ids: &BTreeSet<String>) {
        let now = self.core.now();
        let channels = match self.core.channels_of(workspace).await {
            Ok(channels) => channels,
            Err(error) => {
                tracing::warn!("The channels of withheld messages cannot be listed: {error}");
                return;
            }
        };
        for channel in channels {
            if channel.app == app && platform_ids.contains(&channel.platform_id) {
                let request_result = self
                    .core
                    .store()
                    .request_history(channel.id, now.before(WITHHELD), now)
                    .await;
                if let Err(error) = request_result {
                    tracing::warn!(channel.id = %channel.id, "Withheld messages of {} are not fetched: {error}", channel.id);
                }
            }
        }
        self.core.wakes.history.notify_one();
    }

    pub(crate) async fn keep_dead_letter(
        &self,
        serving: &Serving,
        webhook: &VerifiedWebhook,
        reason: String,
    ) -> Result<DeadLetterId, StoreError> {
        let now = self.core.now();
        let id = self.core.mint.id(now);
        let app = &serving.app.app.name;
        tracing::warn!(
            app,
            dead_letter.id = %id,
            connector = serving.policies.manifest().name,
            version = serving.version(),
            "A webhook waits for a fixed connector as dead letter {id}: {reason}"
        );
        let letter = DeadLetter {
            id,
            app: app.clone(),
            version: serving.version().to_owned(),
            reason,
            received_at: now,
            webhook: webhook.webhook().clone(),
        };
        self.core.store.keep_dead_letter(letter).await?;
        Ok(id)
    }
}

impl Serving {
    /// The events of a webhook, each account's translated by the version that serves it. The active version reads all
    /// of it, and is the fallback for one that crashes or is quarantined.
    pub(super) async fn translate(
        &self,
        quarantine: &Quarantine,
        webhook: &VerifiedWebhook,
    ) -> Result<Translated, CallError> {
        let mut rest = read(&self.connector, webhook).await?;
        let mut translated = Translated::default();
        let parts = &mut translated.events;
        let app = &self.app.app.name;
        // No other version may serve an account whose version is not loaded.
        rest.retain(|event| match self.versions.of(app, &event.channel_platform_id) {
            Ok(_) => true,
            Err(owner) => {
                translated.held = Some(owner);
                false
            }
        });
        for other in self.versions.others() {
            let is_theirs = |event: &InboundEvent| {
                let serves = self.versions.of(app, &event.channel_platform_id);
                serves.is_ok_and(|serves| Arc::ptr_eq(serves, &other))
            };
            if quarantine.holds(&self.app.app.connector, other.number()) || !rest.iter().any(is_theirs) {
                continue;
            }
            match read(&other.connector, webhook).await {
                Ok(mut events) => {
                    rest.retain(|event| !is_theirs(event));
                    events.retain(is_theirs);
                    parts.push((self.by(&other), events));
                }
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => tracing::warn!(
                    app,
                    "{} cannot read a webhook that {} could: {error}",
                    other.number(),
                    self.version()
                ),
            }
        }
        if parts.is_empty() || !rest.is_empty() {
            parts.push((self.clone(), rest));
        }
        Ok(translated)
    }
}

/// The events of a webhook.
#[derive(Default)]
pub(super) struct Translated {
    /// Each account's events, translated by the version that serves it.
    pub(super) events: Vec<(Serving, Vec<InboundEvent>)>,
    /// A version that owns accounts in it, and is not loaded.
    pub(super) held: Option<String>,
}

/// A version's translation of a webhook, retried once if the host stalled for so long that the call timed out.
async fn read(connector: &Connector, webhook: &VerifiedWebhook) -> Result<Vec<InboundEvent>, CallError> {
    match connector.receive(webhook).await {
        Err(CallError::TimedOut { .. }) => connector.receive(webhook).await,
        read => read,
    }
}

/// How long a verified webhook waits for its turn: platforms time out after several seconds.
const TURN: Duration = Duration::from_secs(3);

/// How a platform's challenge is answered, if this is one.
fn is_challenge<'s>(serving: &'s Serving, head: &RawWebhook) -> Option<&'s Challenge> {
    let scheme = serving.policies.manifest().webhook.as_ref()?;
    scheme.challenge.as_ref().filter(|_| head.method == "GET")
}

/// The response to the platform's challenge (Meta's `hub.challenge`).
fn answer(challenge: &Challenge, secrets: &BTreeMap<String, Vec<Secret>>, query: &str) -> Result<Hook, HookError> {
    let value = |name: &str| {
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    if let Some((parameter, secret)) = &challenge.verify {
        let shown = value(parameter).unwrap_or_default();
        let secrets = secrets.get(secret);
        let fits = secrets.is_some_and(|secrets| {
            secrets
                .iter()
                .any(|secret| bool::from(secret.expose().as_bytes().ct_eq(shown.as_bytes())))
        });
        if !fits {
            return Err(HookError::ChallengeFailed);
        }
    }
    value(&challenge.answer_with)
        .map(Hook::Challenge)
        .ok_or(HookError::ChallengeFailed)
}

/// The platform's content that the connector does not know; a few items.
pub(crate) fn unknown_event_text<'a>(events: impl Iterator<Item = &'a InboundEvent>) -> String {
    let words: Vec<_> = events
        .filter_map(|event| match &event.fact {
            Fact::Unknown { what } => Some(what.as_str()),
            _ => None,
        })
        .take(3)
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests;
