//! Fetches what no webhook brought, from the platform's own record: after the host was down, and when the platform says that
//! it holds a message back.
//!
//! What is read is recorded like a webhook, under the same keys, so that nothing is there twice. Bounded in conversations, and
//! within the platform's rate like every other call.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::delivery::backoff;
use weir_domain::id::ChannelId;
use weir_domain::inbound::{Fact, InboundEvent, Person};
use weir_domain::limits;
use weir_domain::time::Timestamp;
use weir_runtime::context::ConversationFacts;
use weir_store::{HistoryGap, Page, Recorded, Source, StoreError};

use crate::accounts::calls::ActError;
use crate::accounts::calls::{CallFailure, Serving};
use crate::core::clock::Step;
use crate::core::folder::private;
use crate::host::Host;

/// How often the host notes that it is there.
pub(crate) const NOTE_EVERY: Duration = Duration::from_secs(10);
/// Being away for less is no outage: the platform's first repeat of a webhook comes sooner than our reading.
const OUTAGE: Duration = Duration::from_secs(60);
/// Read back so much further: what was in hand when the host went down, and clocks that differ.
const MARGIN: Duration = Duration::from_secs(300);
/// How far back after an outage, and when nobody says: what is older is no news.
const USUALLY: Duration = Duration::from_secs(7 * 24 * 3600);
/// How far back at most: TikTok keeps conversations for so long (Get a list of conversations).
const FURTHEST: Duration = Duration::from_secs(90 * 24 * 3600);
/// Where a held back message may be: conversations of the last hour.
const WITHHELD: Duration = Duration::from_secs(3600);
/// Conversations read for one channel at one time.
const CONVERSATIONS: usize = 500;
/// Channels that wait to be read; a host with more reads the rest when it is asked again.
const WAITING: usize = 10_000;

/// How long after a failure a channel's history is tried again, at first and at most.
const TRY_AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));
/// How often it is tried: for a platform that is down for some hours.
const TRIES: u32 = 24;

/// Which channels are to be read, and since when.
#[derive(Default)]
pub(crate) struct Asked {
    channels: Mutex<Channels>,
    pub(crate) wake: Arc<Notify>,
}

#[derive(Default)]
struct Channels {
    waiting: BTreeMap<ChannelId, Timestamp>,
    /// What is asked for meanwhile waits anew.
    reading: Option<(ChannelId, Timestamp)>,
    /// Those whose platform did not answer.
    failed: BTreeMap<ChannelId, Failed>,
}

#[derive(Clone, Copy)]
struct Failed {
    since: Timestamp,
    tries: u32,
    due_at: Timestamp,
}

impl Asked {
    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, channel: ChannelId, since: Timestamp) {
        let mut channels = self.channels();
        if channels.waiting.len() < WAITING {
            let from = channels.waiting.entry(channel).or_insert(since);
            *from = since.min(*from);
        }
        drop(channels);
        self.wake.notify_one();
    }

    /// The next one to be read; the one before it is done with, unless it is put off or failed.
    fn next(&self, now: Timestamp) -> Option<(ChannelId, Timestamp)> {
        let mut channels = self.channels();
        if let Some((channel, _)) = channels.reading.take() {
            channels.failed.remove(&channel);
        }
        let due = channels.failed.iter().find(|(_, failed)| failed.due_at <= now);
        channels.reading = due
            .map(|(channel, failed)| (*channel, failed.since))
            .or_else(|| channels.waiting.pop_first());
        channels.reading
    }

    /// What is being read could not be: it is tried again, later each time. How often it was tried; none if that was the last.
    fn fail(&self, jitter: f64, now: Timestamp) -> Option<u32> {
        let mut channels = self.channels();
        let (channel, since) = channels.reading.take()?;
        let tries = channels.failed.remove(&channel).map_or(0, |failed| failed.tries) + 1;
        let due_at = now.after(backoff(TRY_AGAIN, tries, jitter));
        if tries >= TRIES {
            return None;
        }
        channels.failed.insert(channel, Failed { since, tries, due_at });
        Some(tries)
    }

    /// What is being read is to be read later.
    fn put_off(&self) {
        let mut channels = self.channels();
        let reading = channels.reading.take();
        let waits = reading.filter(|(channel, _)| !channels.failed.contains_key(channel));
        drop(channels);
        if let Some((channel, since)) = waits {
            self.add(channel, since);
        }
    }

    fn is_empty(&self) -> bool {
        let channels = self.channels();
        channels.waiting.is_empty() && channels.reading.is_none() && channels.failed.is_empty()
    }
}

/// What reading a channel's history brought.
#[derive(Debug, Default)]
pub struct CaughtUp {
    /// What is new.
    pub recorded: Recorded,
    /// The conversations that the platform refused to show.
    pub gaps: Vec<HistoryGap>,
}

impl Host {
    /// Reads a channel's history since a moment (a week ago if none is given), now. What was new.
    ///
    /// # Errors
    /// See [`ActError`]; what was read until then is recorded.
    pub async fn catch_up(&self, channel: ChannelId, since: Option<Timestamp>) -> Result<CaughtUp, ActError> {
        let now = self.now();
        let since = since.map_or(now.before(USUALLY), |since| since.max(now.before(FURTHEST)));
        let found = self.0.store.channel(channel).await?;
        let channel = found
            .filter(|channel| channel.status != ChannelStatus::Deleted)
            .ok_or(ActError::NotFound)?;
        let caught_up = self.read_history(&channel, since).await?;
        self.wake_senders();
        Ok(caught_up)
    }

    /// The platform holds a message of this account back: whatever its history shows of it is fetched.
    pub(crate) async fn ask_for_withheld(&self, workspace: &str, app: &str, platform_ids: &BTreeSet<String>) {
        let since = self.now().before(WITHHELD);
        let channels = match self.channels_of(workspace).await {
            Ok(channels) => channels,
            Err(error) => {
                tracing::warn!("The channels of held back messages cannot be listed: {error}");
                return;
            }
        };
        for channel in channels {
            if channel.app == app && platform_ids.contains(&channel.platform_id) {
                self.0.asked.add(channel.id, since);
            }
        }
    }

    /// Looks whether the host was down, and asks for what came meanwhile; and whether the clock was set back while it was. To be called once, before the first
    /// [`Host::note_presence`].
    ///
    /// # Errors
    /// The record.
    pub(crate) async fn ask_after_outage(&self) -> Result<(), StoreError> {
        let now = self.now();
        let Some(last) = self.last_presence().await else {
            return Ok(());
        };
        self.looked(last);
        if last > now {
            self.set_right(Step::Back(last.since(now)), now).await?;
        }
        let away = now.since(last);
        if away < OUTAGE {
            return Ok(());
        }
        tracing::info!(
            "The host was away for {} s; reading what came meanwhile",
            away.as_secs()
        );
        let since = last.before(MARGIN).max(now.before(USUALLY));
        let workspaces: BTreeSet<_> = self
            .0
            .store
            .apps()
            .await?
            .into_iter()
            .map(|app| app.workspace_id)
            .collect();
        for workspace in workspaces {
            for channel in self.channels_of(&workspace).await? {
                self.0.asked.add(channel.id, since);
            }
        }
        Ok(())
    }

    /// Reads what was asked for, and what a platform refused before. How many channels and conversations.
    ///
    /// # Errors
    /// The record. What a platform refuses is logged, and tried again later.
    pub(crate) async fn history_round(&self) -> Result<u32, StoreError> {
        let mut read = 0;
        while let Some((id, since)) = self.0.asked.next(self.now()) {
            let found = self.0.store.channel(id).await;
            let Some(channel) = found.inspect_err(|_| self.0.asked.put_off())? else {
                continue;
            };
            if !matches!(channel.status, ChannelStatus::Connected | ChannelStatus::Degraded) {
                continue;
            }
            match self.read_history(&channel, since).await {
                Ok(CaughtUp { recorded, .. }) => {
                    read += 1;
                    if recorded.stored > 0 {
                        tracing::info!(channel.id = %id, "The history of {id} brought {} events", recorded.stored);
                    }
                }
                Err(CallFailure::Store(error)) => {
                    self.0.asked.put_off();
                    return Err(error);
                }
                Err(error) => match self.0.asked.fail(self.jitter(), self.now()) {
                    Some(tries) => {
                        tracing::warn!(channel.id = %id, "The history of {id} cannot be read (try {tries}): {error}");
                    }
                    None => tracing::error!(
                        channel.id = %id,
                        "The history of {id} cannot be read, and is not tried again by itself: {error}"
                    ),
                },
            }
        }
        Ok(read + self.read_gaps().await?)
    }

    /// Asks again for conversations whose history was refused. How many are read now.
    async fn read_gaps(&self) -> Result<u32, StoreError> {
        let mut read = 0;
        for gap in self.0.store.history_gaps_due(limits::HISTORY_GAPS, self.now()).await? {
            let channel = self.0.store.channel(gap.channel).await?;
            let Some(channel) = channel.filter(|channel| channel.status != ChannelStatus::Deleted) else {
                self.0.store.close_history_gap(gap.channel, &gap.conversation).await?;
                continue;
            };
            let facts = ConversationFacts {
                platform_id: gap.conversation.clone(),
                contact_id: gap.contact.clone(),
                answered: gap.answered,
            };
            let asked = match self.serving_of(&channel).await {
                Ok(serving) => self.read_conversation(&channel, &serving, &facts, gap.since).await,
                Err(error) => Err(error.into()),
            };
            match asked {
                Ok(_) => {
                    read += 1;
                    self.0.store.close_history_gap(gap.channel, &gap.conversation).await?;
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

    /// Keeps that a conversation could not be read, for a later try.
    async fn keep_gap(
        &self,
        channel: &Channel,
        facts: &ConversationFacts,
        since: Timestamp,
        attempts: u32,
        detail: String,
    ) -> Result<HistoryGap, StoreError> {
        let wait = backoff(limits::HISTORY_WAIT, attempts, self.jitter());
        let gap = HistoryGap {
            channel: channel.id,
            conversation: facts.platform_id.clone(),
            contact: facts.contact_id.clone(),
            answered: facts.answered,
            since,
            attempts,
            due_at: (attempts < limits::HISTORY_ATTEMPTS).then(|| self.now().after(wait)),
            detail,
        };
        tracing::warn!(
            channel.id = %channel.id,
            "The history of the conversation {} cannot be read (try {attempts}): {}",
            gap.conversation,
            gap.detail
        );
        self.0.store.keep_history_gap(gap.clone()).await?;
        Ok(gap)
    }

    /// Reads one conversation and records what it shows.
    async fn read_conversation(
        &self,
        channel: &Channel,
        serving: &Serving,
        facts: &ConversationFacts,
        since: Timestamp,
    ) -> Result<Recorded, CallFailure> {
        let mut messages = self
            .call(channel, |connector, context| {
                let facts = facts.clone();
                Box::pin(async move { connector.messages(context, &facts, since).await })
            })
            .await?;
        if let Some(contact) = &messages.contact {
            introduce(&mut messages.events, contact);
        }
        Ok(self.record(serving, messages.events, Source::History).await?)
    }

    /// Reads a channel's conversations. One that the platform refuses is kept as a gap, and the others are read: what
    /// came `since` then, by our clock.
    async fn read_history(&self, channel: &Channel, since: Timestamp) -> Result<CaughtUp, CallFailure> {
        let serving = self.serving_of(channel).await?;
        let since = serving.book.clock().platform(since);
        let mut sum = CaughtUp::default();
        if !serving.book.manifest().provides("history") {
            return Ok(sum);
        }
        let mut cursor = None;
        let mut conversations = 0;
        let mut refused_in_a_row = 0;
        loop {
            let asked = cursor.take();
            let page = self
                .call(channel, |connector, context| {
                    let asked = asked.clone();
                    Box::pin(async move { connector.conversations(context, asked).await })
                })
                .await?;
            // A page may come from several lists of the platform, each newest first: only one without news ends the reading.
            let mut has_news = false;
            for summary in page.conversations {
                if summary.updated_at.is_some_and(|at| at < since) {
                    continue;
                }
                if conversations >= CONVERSATIONS {
                    return Ok(sum);
                }
                has_news = true;
                conversations += 1;
                let facts = summary.conversation;
                if refused_in_a_row >= limits::HISTORY_REFUSALS {
                    let detail =
                        format!("not asked for: the platform refused {refused_in_a_row} conversations in a row");
                    sum.gaps.push(self.keep_gap(channel, &facts, since, 0, detail).await?);
                    continue;
                }
                match self.read_conversation(channel, &serving, &facts, since).await {
                    Ok(recorded) => {
                        refused_in_a_row = 0;
                        sum.recorded += recorded;
                        self.0.store.close_history_gap(channel.id, &facts.platform_id).await?;
                    }
                    Err(CallFailure::Call(error)) => {
                        refused_in_a_row += 1;
                        let gap = self.keep_gap(channel, &facts, since, 1, error.to_string()).await?;
                        sum.gaps.push(gap);
                    }
                    // Not this conversation's: nothing can be asked for.
                    Err(error) => return Err(error),
                }
            }
            match page.cursor {
                Some(next) if has_news => cursor = Some(next),
                _ => return Ok(sum),
            }
        }
    }

    pub(crate) async fn channels_of(&self, workspace: &str) -> Result<Vec<Channel>, StoreError> {
        let mut channels = Vec::new();
        let mut cursor = None;
        loop {
            let page = Page {
                limit: limits::PAGE,
                cursor,
            };
            let listed = self.0.store.channels(workspace, BTreeSet::new(), false, page).await?;
            channels.extend(listed.rows);
            if listed.next.is_none() || channels.len() >= WAITING {
                return Ok(channels);
            }
            cursor = listed.next;
        }
    }

    /// When channels were last looked at for warnings, if anybody knows.
    pub(crate) fn last_look(&self) -> Option<Timestamp> {
        *self.0.last_look.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Channels were looked at.
    pub(crate) fn looked(&self, now: Timestamp) {
        *self.0.last_look.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    fn presence(&self) -> PathBuf {
        self.0.config.data.join("last-seen")
    }

    async fn last_presence(&self) -> Option<Timestamp> {
        let text = tokio::fs::read_to_string(self.presence()).await.ok()?;
        text.trim().parse().ok()
    }

    /// Notes that the host is there now. Best effort: a note too old only makes the next start read more. While histories are
    /// still to be read the old note stays: a host that ends before they are read must know at its next start what it missed.
    pub(crate) async fn note_presence(&self, now: Timestamp) {
        if !self.0.asked.is_empty() {
            return;
        }
        let path = self.presence();
        let unfinished = path.with_extension("part");
        let noted = async {
            let mut file = tokio::fs::OpenOptions::from(private()).open(&unfinished).await?;
            file.write_all(now.to_string().as_bytes()).await?;
            file.flush().await?;
            tokio::fs::rename(&unfinished, &path).await
        };
        if let Err(error) = noted.await {
            tracing::warn!("The host's presence cannot be noted at {}: {error}", path.display());
        }
    }
}

/// Gives the messages' contact the name and picture that the platform shows beside the conversation.
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
    use weir_domain::id::Mint;

    use super::*;
    use crate::testing::{with_account, with_echo};

    #[test]
    fn a_channel_that_is_asked_for_twice_is_read_once_from_the_earlier_moment() {
        let asked = Asked::default();
        let channel = Mint::from_seed([1; 32]).id(Timestamp::default());
        asked.add(channel, Timestamp::from_millis(2_000));
        asked.add(channel, Timestamp::from_millis(1_000));
        asked.add(channel, Timestamp::from_millis(3_000));
        assert_eq!(
            asked.next(Timestamp::default()),
            Some((channel, Timestamp::from_millis(1_000)))
        );
        assert_eq!(asked.next(Timestamp::default()), None);
    }

    #[test]
    fn nothing_is_done_with_before_it_is_read() {
        let asked = Asked::default();
        let channel = Mint::from_seed([1; 32]).id(Timestamp::default());
        let since = Timestamp::from_millis(1_000);
        asked.add(channel, since);
        assert_eq!(asked.next(Timestamp::default()), Some((channel, since)));
        assert!(!asked.is_empty(), "it is being read");
        asked.put_off();
        assert_eq!(asked.next(Timestamp::default()), Some((channel, since)));
        asked.add(channel, Timestamp::from_millis(2_000));
        assert_eq!(
            asked.next(Timestamp::default()),
            Some((channel, Timestamp::from_millis(2_000))),
            "asked for meanwhile"
        );
        assert_eq!(asked.next(Timestamp::default()), None);
        assert!(asked.is_empty());
    }

    #[test]
    fn a_failed_history_is_tried_again_later() {
        let asked = Asked::default();
        let channel = Mint::from_seed([1; 32]).id(Timestamp::default());
        let since = Timestamp::from_millis(1_000);
        asked.add(channel, since);
        let mut now = since;
        for tries in 1..TRIES {
            assert_eq!(asked.next(now), Some((channel, since)));
            assert_eq!(asked.fail(1.0, now), Some(tries));
            assert_eq!(asked.next(now), None, "not at once");
            assert!(!asked.is_empty(), "it is not done with");
            now = now.after(TRY_AGAIN.1);
        }
        assert_eq!(asked.next(now), Some((channel, since)));
        assert_eq!(asked.fail(1.0, now), None);
        assert!(asked.is_empty());
    }

    #[tokio::test]
    async fn catch_up_survives_an_early_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let host = with_echo(&folder).await;
        with_account(&host, "acme", &[]).await;
        let before = host.now().before(Duration::from_secs(3_600));
        host.note_presence(before).await;
        host.ask_after_outage().await.expect("a record");
        host.note_presence(host.now()).await;
        let noted = host.last_presence().await;
        assert_eq!(
            noted,
            Some(before),
            "who starts now still knows since when nobody was there"
        );
        host.history_round().await.expect("a record");
        let now = host.now();
        host.note_presence(now).await;
        assert_eq!(host.last_presence().await, Some(now));
    }
}
