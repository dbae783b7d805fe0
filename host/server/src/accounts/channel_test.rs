//! A channel test: a link with a reference of its own, and the events that opening it caused.
//!
//! No state is stored for a test: the reference contains the position in the log where it began.

use serde::Serialize;
use utoipa::ToSchema;
use weir_domain::channel::Channel;
use weir_domain::event::{Event, EventFilter, EventType};
use weir_domain::id::MessageId;
use weir_domain::manifest::EntryKind;
use weir_domain::time::Timestamp;
use weir_store::StoreError;

use crate::accounts::Accounts;
use crate::accounts::entry_points::LinkError;

/// Events of the channel that are searched since the test began; a test takes minutes.
const EVENTS: u32 = 1_000;
/// The prefix of a test's reference, which distinguishes it from the operator's own.
const PREFIX: &str = "weir-test-";

/// The progress of a channel test.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChannelTest {
    /// The test's id; it is in the link.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The link to open on a phone, from which a message is then sent.
    pub url: String,
    /// Whether every step was observed.
    pub passed: bool,
    /// The steps observed so far, in order.
    pub steps: Vec<TestStep>,
}

/// One step of a test.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TestStep {
    /// `link_opened`, `message_received`.
    pub step: String,
    /// Whether it was observed.
    pub ok: bool,
    /// When Weir received the event.
    pub at: Option<Timestamp>,
    /// The time from the platform's timestamp to the receipt.
    pub latency_ms: Option<u64>,
    /// The check to make while it has not been observed.
    pub remedy: String,
}

/// Why a channel cannot be tested.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The channel has no link to open, or its link supports no reference.
    #[error("the channel has no link for a test: {0}")]
    NoLink(LinkError),
    /// The reference does not belong to a test.
    #[error("{0:?} is not the ref of a test; start one with POST")]
    NoSuchTest(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Starts a test: returns the link to open.
    ///
    /// # Errors
    /// See [`TestError`].
    pub async fn begin_test(&self, channel: &Channel) -> Result<ChannelTest, TestError> {
        let since = self.core.store().last_sequence().await?;
        // The id identifies no row: only its randomness is used.
        let random: MessageId = self.core.mint.id(self.core.now());
        let random: String = random.to_string().chars().rev().take(12).collect();
        self.test(channel, &format!("{PREFIX}{since}-{random}")).await
    }

    /// The progress of a test.
    ///
    /// # Errors
    /// See [`TestError`].
    pub async fn test(&self, channel: &Channel, reference: &str) -> Result<ChannelTest, TestError> {
        let since = began_after(reference).ok_or_else(|| TestError::NoSuchTest(reference.to_owned()))?;
        let url = self
            .entry_point(channel, Some(EntryKind::Chat), None, Some(reference))
            .await
            .map_err(TestError::NoLink)?;
        let filter = EventFilter {
            types: [EventType::ReferralReceived, EventType::MessageReceived]
                .map(|kind| kind.as_str().to_owned())
                .into(),
            channels: [channel.id].into(),
            conversation: None,
        };
        let events = self
            .core
            .store()
            .events(&channel.workspace_id, since, &filter, EVENTS)
            .await?
            .rows;
        let opened = events.iter().find(|event| opens(event, reference));
        let written = opened.and_then(|opened| {
            events.iter().find(|event| {
                event.kind == EventType::MessageReceived
                    && event.conversation_id == opened.conversation_id
                    && event.sequence >= opened.sequence
            })
        });
        let steps = vec![
            step(
                "link_opened",
                opened,
                "/at",
                "Open the link on a phone with TikTok; it must open the chat, not the profile.",
            ),
            step(
                "message_received",
                written,
                "/sent_at",
                "Write a message in the chat; if it does not arrive, run the diagnostics.",
            ),
        ];
        Ok(ChannelTest {
            reference: reference.to_owned(),
            url,
            passed: steps.iter().all(|step| step.ok),
            steps,
        })
    }
}

/// The position in the log where a test began.
fn began_after(reference: &str) -> Option<i64> {
    reference.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// Whether an event reports that the test's link was opened: alone, or with the first message.
fn opens(event: &Event, reference: &str) -> bool {
    ["/ref", "/referral/ref"]
        .iter()
        .any(|pointer| event.data.pointer(pointer).is_some_and(|found| found == reference))
}

fn step(name: &str, event: Option<&Event>, platforms_time: &str, remedy: &str) -> TestStep {
    let platform_time: Option<Timestamp> =
        event.and_then(|event| event.data.pointer(platforms_time)?.as_str()?.parse().ok());
    let latency = event
        .zip(platform_time)
        .map(|(event, platform_time)| event.timestamp.since(platform_time));
    TestStep {
        step: name.to_owned(),
        ok: event.is_some(),
        at: event.map(|event| event.timestamp),
        latency_ms: latency.map(|latency| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)),
        remedy: if event.is_some() {
            String::new()
        } else {
            remedy.to_owned()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_resolves_known_kinds_only() {
        assert_eq!(began_after("weir-test-42-0123456789ab"), Some(42));
        assert_eq!(began_after("weir-test-x"), None);
        assert_eq!(began_after("summer2025"), None);
    }
}
