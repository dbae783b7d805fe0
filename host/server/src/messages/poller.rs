//! Asks the platforms that call nobody: each channel of a connector with `polling`, one call after another.
//!
//! How long a channel waits is the connector's word, within bounds; after a failure, longer and longer. Events are recorded like
//! a webhook's before the cursor goes on, so that a crash between the two repeats some, which their keys tell, and loses none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use weir_domain::delivery::backoff;
use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::time::Timestamp;
use weir_store::{Source, StoreError};

use crate::accounts::Accounts;
use crate::accounts::calls::CallFailure;
use crate::connectors::Connectors;
use crate::core::Core;
use crate::core::worker::Work;
use crate::messages::dead_letters::{DeadLetters, works};
use crate::messages::inbound::{Inbound, words_for_unknown};

/// How often it is looked which channels there are: as long as a new one waits at most.
const LIST_EVERY: Duration = Duration::from_secs(10);

/// The work of asking.
pub(crate) struct Poller {
    core: Arc<Core>,
    connectors: Arc<Connectors>,
    accounts: Arc<Accounts>,
    inbound: Arc<Inbound>,
    dead_letters: Arc<DeadLetters>,
    rota: Mutex<Rota>,
}

impl Poller {
    pub(crate) fn new(
        core: Arc<Core>,
        connectors: Arc<Connectors>,
        accounts: Arc<Accounts>,
        inbound: Arc<Inbound>,
        dead_letters: Arc<DeadLetters>,
    ) -> Self {
        Self {
            core,
            connectors,
            accounts,
            inbound,
            dead_letters,
            rota: Mutex::default(),
        }
    }

    fn rota(&self) -> MutexGuard<'_, Rota> {
        self.rota.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channels to be asked for.
    async fn polled(&self) -> Result<BTreeSet<ChannelId>, StoreError> {
        let mut polled = BTreeSet::new();
        for app in self.core.store().apps().await? {
            let serving = self.connectors.serving(&app.name).await;
            if !serving.is_ok_and(|serving| serving.book.manifest().provides("polling")) {
                continue;
            }
            let channels = self.core.channels_of(&app.workspace_id).await?.into_iter();
            let ours = channels.filter(|channel| channel.app == app.name && works(channel));
            polled.extend(ours.map(|channel| channel.id));
        }
        Ok(polled)
    }

    /// Asks for the news of a channel and records them; how long the connector wants to wait.
    async fn ask(&self, id: ChannelId) -> Result<Duration, CallFailure> {
        let store = self.core.store();
        let Some(channel) = store.channel_of_any(id).await?.filter(works) else {
            return Ok(Duration::ZERO);
        };
        let serving = self.connectors.serving_of(&channel).await?;
        let cursor = store.poll_cursor(&channel.workspace_id, id).await?;
        let batch = self
            .accounts
            .call(&channel, |connector, context| {
                let cursor = cursor.clone();
                Box::pin(async move { connector.poll(context, cursor).await })
            })
            .await?;
        let unknown = words_for_unknown(batch.events.iter());
        let recorded = self.inbound.record(&serving, batch.events, Source::Webhook).await?;
        if batch.cursor != cursor {
            // The platform may not say it again from there.
            if recorded.unknown_events > 0 {
                self.dead_letters
                    .keep_polled(&serving, &channel, cursor, unknown)
                    .await?;
            }
            store.keep_poll_cursor(&channel.workspace_id, id, batch.cursor).await?;
        }
        Ok(batch.wait)
    }
}

#[async_trait]
impl Work for Poller {
    type Item = ChannelId;

    fn name(&self) -> &'static str {
        "poller"
    }

    async fn lease(&self, limit: u32, now: Timestamp) -> Result<Vec<ChannelId>, StoreError> {
        if self.rota().is_old(now) {
            let polled = self.polled().await?;
            self.rota().enlist(&polled, now);
        }
        Ok(self.rota().take(limit as usize, now))
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.rota().next_due(self.core.now()))
    }

    async fn work(&self, id: ChannelId) {
        let asked = self.ask(id).await;
        if let Err(error) = &asked {
            tracing::warn!(channel.id = %id, "The news of {id} cannot be asked for: {error}");
        }
        let (jitter, now) = (self.core.jitter(), self.core.now());
        self.rota().done(id, asked.ok(), jitter, now);
    }
}

/// Whose turn it is.
#[derive(Debug, Default)]
struct Rota {
    listed_at: Option<Timestamp>,
    turns: BTreeMap<ChannelId, Turn>,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    /// When it is asked for next; while it is being asked for, when that must be over.
    due_at: Timestamp,
    /// Failures in a row.
    failures: u32,
}

impl Turn {
    fn is_due(&self, now: Timestamp) -> bool {
        // Nobody waits longer than that, unless the clock was set back.
        let furthest = now.after(limits::POLL_WAIT.1.max(limits::LEASE));
        self.due_at <= now || self.due_at > furthest
    }
}

impl Rota {
    /// Whether it should be looked which channels there are.
    fn is_old(&self, now: Timestamp) -> bool {
        self.listed_at
            .is_none_or(|listed| now < listed || now.since(listed) >= LIST_EVERY)
    }

    /// These are the channels now; a new one is due at once.
    fn enlist(&mut self, channels: &BTreeSet<ChannelId>, now: Timestamp) {
        self.turns.retain(|id, _| channels.contains(id));
        for id in channels {
            self.turns.entry(*id).or_insert(Turn {
                due_at: now,
                failures: 0,
            });
        }
        self.listed_at = Some(now);
    }

    /// Up to `limit` channels that are due, the longest due first.
    fn take(&mut self, limit: usize, now: Timestamp) -> Vec<ChannelId> {
        let mut due: Vec<_> = self.turns.iter().filter(|(_, turn)| turn.is_due(now)).collect();
        due.sort_by_key(|(_, turn)| turn.due_at);
        let due: Vec<ChannelId> = due.into_iter().take(limit).map(|(id, _)| *id).collect();
        for id in &due {
            if let Some(turn) = self.turns.get_mut(id) {
                turn.due_at = now.after(limits::LEASE);
            }
        }
        due
    }

    /// A channel was asked for: it waits as long as its connector says, or after a failure longer each time.
    fn done(&mut self, id: ChannelId, wait: Option<Duration>, jitter: f64, now: Timestamp) {
        // It may be gone meanwhile.
        let Some(turn) = self.turns.get_mut(&id) else { return };
        let (shortest, longest) = limits::POLL_WAIT;
        turn.failures = if wait.is_some() {
            0
        } else {
            turn.failures.saturating_add(1)
        };
        let wait = wait.unwrap_or_else(|| backoff(limits::POLL_WAIT, turn.failures, jitter));
        turn.due_at = now.after(wait.clamp(shortest, longest));
    }

    fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_old(now) || self.turns.values().any(|turn| turn.is_due(now)) {
            return Some(now);
        }
        let listing = self.listed_at.map(|listed| listed.after(LIST_EVERY));
        self.turns.values().map(|turn| turn.due_at).chain(listing).min()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use weir_domain::channel::Channel;
    use weir_domain::event::{EventFilter, EventType};
    use weir_domain::id::Mint;

    use super::*;
    use crate::Host;
    use crate::core::worker::Worker;
    use crate::messages::dead_letters::ReplayError;
    use crate::testing::{with_account, with_echo};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000).after(Duration::from_secs(seconds))
    }

    fn ids<const N: usize>() -> [ChannelId; N] {
        let mint = Mint::from_seed([1; 32]);
        std::array::from_fn(|_| mint.id(at(0)))
    }

    #[test]
    fn each_channel_is_asked_as_often_as_its_connector_wants_within_bounds() {
        let [one, two] = ids();
        let mut rota = Rota::default();
        assert!(rota.is_old(at(0)));
        rota.enlist(&[one, two].into(), at(0));
        assert_eq!(rota.take(1, at(0)).len(), 1);
        assert_eq!(rota.take(9, at(0)).len(), 1, "one call of a channel at a time");
        assert!(rota.take(9, at(60)).is_empty());
        rota.done(one, Some(Duration::from_secs(20)), 0.0, at(60));
        rota.done(two, Some(Duration::ZERO), 0.0, at(60));
        assert!(rota.take(9, at(60)).is_empty(), "not even one that wants no wait");
        assert_eq!(rota.take(9, at(61)), [two]);
        rota.done(two, Some(Duration::from_secs(86_400)), 0.0, at(61));
        assert_eq!(rota.take(9, at(80)), [one]);
        assert_eq!(
            rota.take(9, at(61 + 300)),
            [one, two],
            "and one whose call never ended is asked again"
        );
    }

    #[test]
    fn a_channel_that_fails_waits_longer_each_time_and_one_that_is_gone_not_at_all() {
        let [one] = ids();
        let mut rota = Rota::default();
        rota.enlist(&[one].into(), at(0));
        let mut now = at(0);
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(rota.take(9, now), [one]);
            rota.done(one, None, 1.0, now);
            assert_eq!(rota.turns[&one].due_at, now.after(Duration::from_secs(expected)));
            now = rota.turns[&one].due_at;
        }
        rota.take(9, now);
        rota.done(one, Some(Duration::from_secs(5)), 1.0, now);
        rota.done(one, None, 1.0, now);
        assert_eq!(
            rota.turns[&one].due_at,
            now.after(Duration::from_secs(1)),
            "it counts anew"
        );
        rota.enlist(&BTreeSet::new(), now);
        rota.done(one, None, 1.0, now);
        assert!(rota.turns.is_empty());
    }

    #[test]
    fn a_clock_that_is_set_back_delays_nobody() {
        let [one] = ids();
        let mut rota = Rota::default();
        rota.enlist(&[one].into(), at(100_000));
        rota.take(9, at(100_000));
        rota.done(one, Some(Duration::from_secs(60)), 0.0, at(100_000));
        assert!(rota.is_old(at(10)));
        assert_eq!(rota.take(9, at(10)), [one]);
    }

    /// Echo, which answers each asking with the next of these, and shows what was asked.
    async fn echo(answers: Vec<String>) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            for body in answers {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.expect("a request"));
                }
                let head = String::from_utf8(head).expect("a request is text");
                seen.lock()
                    .expect("nobody panics")
                    .push(head.lines().next().unwrap_or_default().to_owned());
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.expect("it listens");
            }
        });
        (origin, asked)
    }

    /// An account whose platform is at `origin`.
    async fn polled(host: &Host, origin: &str) -> Channel {
        let mut app = host.store().app("echo").await.expect("a record").expect("the app");
        app.origins = serde_json::from_value(json!({"https://echo.example": origin})).expect("two origins");
        host.connectors.apps.put(app).await.expect("an app");
        with_account(host, "acme", &[]).await
    }

    #[tokio::test]
    async fn what_a_platform_without_webhooks_tells_is_recorded_once_and_asked_on_from_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let host = with_echo(&folder).await;
        let told = |id: &str| json!({"type": "message", "id": id, "conversation": "c1", "contact": {"id": "u1"}, "text": id, "at": 1});
        let (origin, asked) = echo(vec![
            json!({"events": [told("m1"), told("m2")], "next": "17", "wait_ms": 0}).to_string(),
            "not json".to_owned(),
            json!({"events": [told("m2"), told("m3")], "next": "18", "wait_ms": 60_000}).to_string(),
        ])
        .await;
        let channel = polled(&host, &origin).await;
        let worker = Worker::new(host.poller(), limits::POLLS_IN_FLIGHT);
        let mut now = host.now();
        for cursor in ["17", "17", "18"] {
            assert_eq!(worker.round(now).await.ok(), Some(1));
            let kept = host.store().poll_cursor("default", channel.id).await.expect("a record");
            assert_eq!(kept.as_deref(), Some(cursor));
            // Later than the longest first wait after a failure.
            now = host.now().after(Duration::from_secs(2));
        }
        let filter = EventFilter {
            types: [EventType::MessageReceived.as_str().to_owned()].into(),
            ..EventFilter::default()
        };
        let heard = host.store().events("default", 0, &filter, 10).await.expect("a record");
        let heard: Vec<_> = heard
            .rows
            .iter()
            .map(|event| event.data["platform_id"].clone())
            .collect();
        assert_eq!(heard, ["m1", "m2", "m3"], "in order, and the one told twice once");
        let asked = asked.lock().expect("nobody panics").clone();
        assert_eq!(
            asked,
            [
                "GET /news HTTP/1.1",
                "GET /news?after=17 HTTP/1.1",
                "GET /news?after=17 HTTP/1.1"
            ]
        );
    }

    #[tokio::test]
    async fn polled_items_that_are_unknown_become_dead_letters() {
        let folder = tempfile::tempdir().expect("a folder");
        let host = with_echo(&folder).await;
        let message = |id: &str| json!({"type": "message", "id": id, "conversation": "c1", "contact": {"id": "u1"}, "text": id, "at": 1});
        let unknown = json!({"type": "new", "id": "m2"});
        let batch = |events: serde_json::Value| json!({"events": events, "next": "17", "wait_ms": 0}).to_string();
        let (origin, asked) = echo(vec![
            batch(json!([message("m1"), unknown])),
            batch(json!([message("m1"), unknown])),
            batch(json!([])),
            batch(json!([message("m1"), message("m2")])),
        ])
        .await;
        let channel = polled(&host, &origin).await;
        let worker = Worker::new(host.poller(), limits::POLLS_IN_FLIGHT);
        assert_eq!(worker.round(host.now()).await.ok(), Some(1));
        let kept = host.store().poll_cursor("default", channel.id).await.expect("a record");
        assert_eq!(kept.as_deref(), Some("17"));
        let letters = async || {
            let page = weir_store::Page {
                limit: 10,
                cursor: None,
            };
            let apps = ["echo".to_owned()].into();
            host.store().dead_letters(apps, page).await.expect("a record").rows
        };
        let [letter] = &letters().await[..] else {
            panic!("{:?}", letters().await)
        };
        assert!(letter.reason.contains("polled"), "{}", letter.reason);
        // As long as the connector does not know it, or the platform does not show it, it is kept.
        let still = host.dead_letters.replay("default", letter.id).await;
        assert!(
            matches!(still, Err(ReplayError::StillUnknown { unknown_events: 1 })),
            "{still:?}"
        );
        let gone = host.dead_letters.replay("default", letter.id).await;
        assert!(matches!(gone, Err(ReplayError::Connector(_))), "{gone:?}");
        assert_eq!(letters().await.len(), 1);
        let replayed = host
            .dead_letters
            .replay("default", letter.id)
            .await
            .expect("it is known now");
        assert_eq!((replayed.stored, replayed.duplicates), (1, 1));
        assert!(letters().await.is_empty());
        let asked = asked.lock().expect("nobody panics").clone();
        assert_eq!(
            asked, ["GET /news HTTP/1.1"; 4],
            "each time from where the item was shown"
        );
    }
}
