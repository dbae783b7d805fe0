//! Fetches messages that no webhook delivered from the platform's history: after the host was down, and when the
//! platform reports that it withholds a message.
//!
//! The events are recorded like a webhook's, under the same keys, so that there are no duplicates. Bounded in
//! conversations, and within the platform's rate limit like every other call.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::delivery::backoff;
use weir_domain::id::ChannelId;
use weir_domain::inbound::{Fact, InboundEvent, Person};
use weir_domain::limits;
use weir_domain::time::Timestamp;
use weir_runtime::context::ConversationFacts;
use weir_store::{HistoryGap, Recorded, Requeue, Source, StoreError, WorkKind, WorkLease};

use crate::accounts::Accounts;
use crate::accounts::calls::{ActError, CallFailure};
use crate::connectors::Connectors;
use crate::connectors::serving::Serving;
use crate::core::Core;
use crate::core::clock::Step;
use crate::core::folder::private;
use crate::core::in_flight::InFlight;
use crate::core::persist::persist;
use crate::messages::inbound::Inbound;

/// Reads the histories of channels.
pub struct History {
    core: Arc<Core>,
    connectors: Arc<Connectors>,
    accounts: Arc<Accounts>,
    inbound: Arc<Inbound>,
    in_flight: InFlight<ChannelId>,
}

/// How often the host stores that it is running.
pub(crate) const NOTE_EVERY: Duration = Duration::from_secs(10);
/// A shorter absence is no outage: the platform's first redelivery of a webhook arrives before our reading.
const OUTAGE: Duration = Duration::from_secs(60);
/// Extra period to read: covers webhooks in progress when the host stopped, and clocks that differ.
const MARGIN: Duration = Duration::from_secs(300);
/// Longest period after an outage, and the default: older messages are not recovered.
const DEFAULT_PERIOD: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest period: TikTok keeps conversations for so long (Get a list of conversations).
const LONGEST_PERIOD: Duration = Duration::from_secs(90 * 24 * 3600);
/// Delay before a channel's history is retried after a failure, initially and at most.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_secs(10), limits::WORK_WAIT);
/// Number of attempts: enough for a platform that is down for some hours.
const ATTEMPTS: u32 = 24;
/// Conversations read for one channel at once.
const CONVERSATIONS: usize = 500;
/// The result of reading a channel's history.
#[derive(Debug, Default)]
pub struct CaughtUp {
    /// Counts of what was recorded.
    pub recorded: Recorded,
    /// The conversations that the platform refused to return.
    pub gaps: Vec<HistoryGap>,
}

impl History {
    pub(crate) fn new(
        core: Arc<Core>,
        connectors: Arc<Connectors>,
        accounts: Arc<Accounts>,
        inbound: Arc<Inbound>,
    ) -> Self {
        Self {
            core,
            connectors,
            accounts,
            inbound,
            in_flight: InFlight::default(),
        }
    }

    /// Reads the history of a channel since a moment (by default, a week ago) at once. Returns what was new.
    ///
    /// # Errors
    /// See [`ActError`]; items read until then are recorded.
    pub async fn catch_up(
        &self,
        workspace: &str,
        channel: ChannelId,
        since: Option<Timestamp>,
    ) -> Result<CaughtUp, ActError> {
        let now = self.core.now();
        let since = since.map_or(now.before(DEFAULT_PERIOD), |since| {
            since.max(now.before(LONGEST_PERIOD))
        });
        let found = self.core.store.channel(workspace, channel).await?;
        let channel = found
            .filter(|channel| channel.status != ChannelStatus::Deleted)
            .ok_or(ActError::NotFound)?;
        let caught_up = self.read_history(&channel, since).await?;
        self.core.wakes.messages.notify_one();
        Ok(caught_up)
    }

    /// Detects an outage of the host and queues the histories of that time; also detects a clock set back meanwhile. To
    /// be called once, before the first [`History::note_presence`].
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn request_after_outage(&self) -> Result<(), StoreError> {
        let now = self.core.now();
        let node = self.core.node.id();
        let others = self.core.store().nodes().await?.into_iter();
        // While another node was running, it received the webhooks.
        let others = others
            .filter(|other| other.id != node)
            .map(|other| other.beat_at.min(now));
        let Some(last) = self.last_presence().await.into_iter().chain(others).max() else {
            return Ok(());
        };
        self.accounts.checked(last);
        // With other nodes the clock is the server's, and the running ones handle a step.
        if last > now && !self.core.node.is_shared() {
            self.core.adjust_to_step(Step::Back(last.since(now)), now).await?;
        }
        let away = now.since(last);
        if away < OUTAGE {
            return Ok(());
        }
        tracing::info!(
            "The host was down for {} s; reading the messages of that time",
            away.as_secs()
        );
        let since = last.before(MARGIN).max(now.before(DEFAULT_PERIOD));
        let workspaces: BTreeSet<_> = self
            .core
            .store
            .apps()
            .await?
            .into_iter()
            .map(|app| app.workspace_id)
            .collect();
        for workspace in workspaces {
            for channel in self.core.channels_of(&workspace).await? {
                self.core.store().request_history(channel.id, since, now).await?;
            }
        }
        self.core.wakes.history.notify_one();
        Ok(())
    }

    /// Reads the queued histories, and those that a platform refused before. Returns the numbers of channels and
    /// conversations.
    ///
    /// # Errors
    /// The database failed. A platform's refusal is logged, and retried later.
    pub(crate) async fn history_round(&self) -> Result<u32, StoreError> {
        let mut read = 0;
        while let Some(lease) = self.next().await? {
            let id = lease.channel_id;
            let ended = self.read_leased(&lease).await;
            read += u32::from(matches!(ended, Ok(true)));
            let requeue = match &ended {
                Ok(_) => None,
                Err(CallFailure::Store(_)) => Some(self.requeue(lease.failures)),
                Err(error) => {
                    let tries = lease.failures + 1;
                    if tries < ATTEMPTS {
                        tracing::warn!(channel.id = %id, "The history of {id} cannot be read (attempt {tries}): {error}");
                        Some(self.requeue(tries))
                    } else {
                        tracing::error!(
                            channel.id = %id,
                            "The history of {id} cannot be read, and is not retried automatically: {error}"
                        );
                        None
                    }
                }
            };
            let stored = persist(|| self.core.store().end_work(lease.clone(), requeue)).await;
            match stored {
                Ok(_) => self.in_flight.settle(id),
                Err(error) => {
                    self.in_flight.give_up(id);
                    return Err(error);
                }
            }
            if let Err(CallFailure::Store(error)) = ended {
                return Err(error);
            }
        }
        Ok(read + self.read_gaps().await?)
    }

    /// Takes the next channel whose history is to be read.
    async fn next(&self) -> Result<Option<WorkLease>, StoreError> {
        let Some(registration) = self.core.node.valid() else {
            return Ok(None);
        };
        let (store, node, now) = (self.core.store(), &registration.id, self.core.now());
        self.in_flight
            .free_others(|ours| store.free_work(WorkKind::History, node, ours, now))
            .await?;
        let leased = store.lease_work(WorkKind::History, node, 1, now).await;
        let leased = self.in_flight.lease(leased, |lease| lease.channel_id)?;
        Ok(leased.into_iter().next())
    }

    fn requeue(&self, failures: u32) -> Requeue {
        Requeue {
            due_at: self.core.now().after(backoff(RETRY_WAIT, failures, self.core.jitter())),
            failures,
        }
    }

    /// Reads the channel; false if its history is no longer read.
    async fn read_leased(&self, lease: &WorkLease) -> Result<bool, CallFailure> {
        let id = lease.channel_id;
        let Some(channel) = self.core.store().channel_of_any(id).await? else {
            return Ok(false);
        };
        if !matches!(channel.status, ChannelStatus::Connected | ChannelStatus::Degraded) {
            return Ok(false);
        }
        let since = lease.since.unwrap_or_else(|| self.core.now().before(DEFAULT_PERIOD));
        let CaughtUp { recorded, .. } = self.read_history(&channel, since).await?;
        if recorded.stored > 0 {
            tracing::info!(channel.id = %id, "The history of {id} contained {} new events", recorded.stored);
        }
        Ok(true)
    }

    /// Retries conversations whose history was refused. Returns how many were read.
    async fn read_gaps(&self) -> Result<u32, StoreError> {
        let mut read = 0;
        for (workspace, gap) in self
            .core
            .store
            .history_gaps_due(limits::HISTORY_GAPS, self.core.now())
            .await?
        {
            let channel = self.core.store.channel(&workspace, gap.channel).await?;
            let Some(channel) = channel.filter(|channel| channel.status != ChannelStatus::Deleted) else {
                self.core
                    .store
                    .close_history_gap(&workspace, gap.channel, &gap.conversation)
                    .await?;
                continue;
            };
            let facts = ConversationFacts {
                platform_id: gap.conversation.clone(),
                contact_id: gap.contact.clone(),
                answered: gap.answered,
            };
            let outcome = match self.connectors.serving_of(&channel).await {
                Ok(serving) => self.read_conversation(&channel, &serving, &facts, gap.since).await,
                Err(error) => Err(error.into()),
            };
            match outcome {
                Ok(_) => {
                    read += 1;
                    self.core
                        .store
                        .close_history_gap(&workspace, gap.channel, &gap.conversation)
                        .await?;
                }
                Err(CallFailure::Store(error)) => return Err(error),
                Err(error) => {
                    self.keep_gap(&channel, &facts, gap.since, gap.attempts + 1, error.to_string())
                        .await?;
                }
            }
        }
        Ok(read)
    }

    /// Stores that a conversation could not be read, for a later attempt.
    async fn keep_gap(
        &self,
        channel: &Channel,
        facts: &ConversationFacts,
        since: Timestamp,
        attempts: u32,
        detail: String,
    ) -> Result<HistoryGap, StoreError> {
        let wait = backoff(limits::HISTORY_WAIT, attempts, self.core.jitter());
        let gap = HistoryGap {
            channel: channel.id,
            conversation: facts.platform_id.clone(),
            contact: facts.contact_id.clone(),
            answered: facts.answered,
            since,
            attempts,
            due_at: (attempts < limits::HISTORY_ATTEMPTS).then(|| self.core.now().after(wait)),
            detail,
        };
        tracing::warn!(
            channel.id = %channel.id,
            "The history of the conversation {} cannot be read (attempt {attempts}): {}",
            gap.conversation,
            gap.detail
        );
        self.core
            .store
            .keep_history_gap(&channel.workspace_id, gap.clone())
            .await?;
        Ok(gap)
    }

    /// Reads one conversation and records its messages.
    async fn read_conversation(
        &self,
        channel: &Channel,
        serving: &Serving,
        facts: &ConversationFacts,
        since: Timestamp,
    ) -> Result<Recorded, CallFailure> {
        let mut messages = self
            .accounts
            .call(channel, |connector, context| {
                let facts = facts.clone();
                Box::pin(async move { connector.messages(context, &facts, since).await })
            })
            .await?;
        if let Some(contact) = &messages.contact {
            introduce(&mut messages.events, contact);
        }
        Ok(self.inbound.record(serving, messages.events, Source::History).await?)
    }

    /// Reads a channel's conversations. One that the platform refuses is stored as a gap, and the others are read:
    /// messages `since` then, by our clock.
    async fn read_history(&self, channel: &Channel, since: Timestamp) -> Result<CaughtUp, CallFailure> {
        let serving = self.connectors.serving_of(channel).await?;
        let since = serving.policies.clock().platform(since);
        let mut sum = CaughtUp::default();
        if !serving.policies.manifest().provides("history") {
            return Ok(sum);
        }
        let mut cursor = None;
        let mut conversations = 0;
        let mut refused_in_a_row = 0;
        loop {
            let outcome = cursor.take();
            let page = self
                .accounts
                .call(channel, |connector, context| {
                    let outcome = outcome.clone();
                    Box::pin(async move { connector.conversations(context, outcome).await })
                })
                .await?;
            // A page may contain several lists of the platform, each newest first: only a page without new items ends
            // the reading.
            let mut has_new = false;
            for summary in page.conversations {
                if summary.updated_at.is_some_and(|at| at < since) {
                    continue;
                }
                if conversations >= CONVERSATIONS {
                    return Ok(sum);
                }
                has_new = true;
                conversations += 1;
                let facts = summary.conversation;
                if refused_in_a_row >= limits::HISTORY_REFUSALS {
                    let detail = format!("skipped: the platform refused {refused_in_a_row} conversations in a row");
                    sum.gaps.push(self.keep_gap(channel, &facts, since, 0, detail).await?);
                    continue;
                }
                match self.read_conversation(channel, &serving, &facts, since).await {
                    Ok(recorded) => {
                        refused_in_a_row = 0;
                        sum.recorded += recorded;
                        self.core
                            .store
                            .close_history_gap(&channel.workspace_id, channel.id, &facts.platform_id)
                            .await?;
                    }
                    Err(CallFailure::Call(error)) => {
                        refused_in_a_row += 1;
                        let gap = self.keep_gap(channel, &facts, since, 1, error.to_string()).await?;
                        sum.gaps.push(gap);
                    }
                    // The error is not specific to this conversation: no history can be read.
                    Err(error) => return Err(error),
                }
            }
            match page.cursor {
                Some(next) if has_new => cursor = Some(next),
                _ => return Ok(sum),
            }
        }
    }

    fn presence(&self) -> PathBuf {
        self.core.config.data.join("last-seen")
    }

    async fn last_presence(&self) -> Option<Timestamp> {
        let text = tokio::fs::read_to_string(self.presence()).await.ok()?;
        text.trim().parse().ok()
    }

    /// Stores that the host is running now. Best effort: if the stored time is too old, the next start reads more than
    /// necessary.
    pub(crate) async fn note_presence(&self, now: Timestamp) {
        let path = self.presence();
        let unfinished = path.with_extension("part");
        let noted = async {
            let mut file = tokio::fs::OpenOptions::from(private()).open(&unfinished).await?;
            file.write_all(now.to_string().as_bytes()).await?;
            file.flush().await?;
            tokio::fs::rename(&unfinished, &path).await
        };
        if let Err(error) = noted.await {
            tracing::warn!(
                "The host's running time cannot be stored at {}: {error}",
                path.display()
            );
        }
    }
}

/// Adds the name and picture that the platform returns with the conversation to the messages' contact.
fn introduce(events: &mut [InboundEvent], contact: &Person) {
    for event in events {
        if let Fact::Message(message) = &mut event.fact
            && message.contact.platform_id == contact.platform_id
        {
            let known = std::mem::take(&mut message.contact);
            message.contact = Person {
                platform_id: known.platform_id,
                username: known.username.or_else(|| contact.username.clone()),
                display_name: known.display_name.or_else(|| contact.display_name.clone()),
                avatar_url: known.avatar_url.or_else(|| contact.avatar_url.clone()),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{with_account, with_echo};

    #[tokio::test]
    async fn catch_up_survives_an_early_restart() {
        let folder = tempfile::tempdir().expect("a directory");
        let host = with_echo(&folder).await;
        with_account(&host, "acme", &[]).await;
        let before = host.now().before(Duration::from_secs(3_600));
        host.history.note_presence(before).await;
        host.history.request_after_outage().await.expect("a database");
        host.history.note_presence(host.now()).await;
        let (store, now) = (host.store(), host.now());
        let outcome = store.lease_work(WorkKind::History, "another start", 9, now).await;
        let outcome = outcome.expect("a database");
        assert_eq!(outcome.len(), 1, "a new start still has the queue");
        assert_eq!(outcome[0].since, Some(before.before(MARGIN)));
        store.end_work(outcome[0].clone(), None).await.expect("a database");
        assert_eq!(store.next_work(WorkKind::History, now).await.expect("a database"), None);
    }
}
