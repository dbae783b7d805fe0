//! Polls the platforms that send no webhooks: each channel of a connector with `polling`, one call after another over
//! all nodes.
//!
//! The connector sets the interval of a channel, within bounds; after failures it grows. Events are recorded like a
//! webhook's before the cursor advances: a crash in between repeats some, which their keys deduplicate, and loses none.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use weir_domain::delivery::backoff;
use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::time::Timestamp;
use weir_store::{Requeue, Source, StoreError, WorkKind, WorkLease};

use crate::accounts::Accounts;
use crate::accounts::calls::CallFailure;
use crate::connectors::Connectors;
use crate::core::Core;
use crate::core::in_flight::InFlight;
use crate::core::persist::persist;
use crate::core::worker::Work;
use crate::messages::dead_letters::{DeadLetters, works};
use crate::messages::inbound::{Inbound, unknown_event_text};

/// How often the list of channels is refreshed: the longest wait of a new one.
const LIST_EVERY: Duration = Duration::from_secs(10);

/// The polling work.
pub(crate) struct Poller {
    core: Arc<Core>,
    connectors: Arc<Connectors>,
    accounts: Arc<Accounts>,
    inbound: Arc<Inbound>,
    dead_letters: Arc<DeadLetters>,
    in_flight: InFlight<ChannelId>,
    /// When the list of channels was last refreshed.
    listed_at: Mutex<Option<Timestamp>>,
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
            in_flight: InFlight::default(),
            listed_at: Mutex::default(),
        }
    }

    fn listed_at(&self) -> MutexGuard<'_, Option<Timestamp>> {
        self.listed_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the list of channels should be refreshed.
    fn is_listing_old(&self, now: Timestamp) -> bool {
        self.listed_at()
            .is_none_or(|listed| now < listed || now.since(listed) >= LIST_EVERY)
    }

    /// The channels to poll.
    async fn polled(&self) -> Result<BTreeSet<ChannelId>, StoreError> {
        let mut polled = BTreeSet::new();
        for app in self.core.store().apps().await? {
            let serving = self.connectors.serving(&app.name).await;
            if !serving.is_ok_and(|serving| serving.policies.manifest().provides("polling")) {
                continue;
            }
            let channels = self.core.channels_of(&app.workspace_id).await?.into_iter();
            let ours = channels.filter(|channel| channel.app == app.name && works(channel));
            polled.extend(ours.map(|channel| channel.id));
        }
        Ok(polled)
    }

    /// Polls a channel and records its events; returns the interval that the connector requests.
    async fn poll_channel(&self, id: ChannelId) -> Result<Duration, CallFailure> {
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
        let unknown = unknown_event_text(batch.events.iter());
        let recorded = self.inbound.record(&serving, batch.events, Source::Webhook).await?;
        if batch.cursor != cursor {
            // The platform may not return it again from that cursor.
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
    type Item = WorkLease;

    fn name(&self) -> &'static str {
        "poller"
    }

    async fn lease(&self, limit: u32, now: Timestamp) -> Result<Vec<WorkLease>, StoreError> {
        let store = self.core.store();
        if self.is_listing_old(now) {
            store.enlist_polls(self.polled().await?, now).await?;
            *self.listed_at() = Some(now);
        }
        let Some(registration) = self.core.node.valid() else {
            return Ok(Vec::new());
        };
        let leases = store.lease_work(WorkKind::Poll, &registration.id, limit, now).await;
        self.in_flight.lease(leases, |lease| lease.channel_id)
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.core.now();
        if self.is_listing_old(now) {
            return Ok(Some(now));
        }
        let listing = self.listed_at().map(|listed| listed.after(LIST_EVERY));
        let (store, node) = (self.core.store(), self.core.node.id());
        self.in_flight
            .free_others(|ours| store.free_work(WorkKind::Poll, &node, ours, now))
            .await?;
        let next = store.next_work(WorkKind::Poll, now).await?;
        Ok(next.into_iter().chain(listing).min())
    }

    async fn work(&self, lease: WorkLease) {
        let id = lease.channel_id;
        let poll_result = self.poll_channel(id).await;
        if let Err(error) = &poll_result {
            tracing::warn!(channel.id = %id, "{id} cannot be polled: {error}");
        }
        let again = next_poll(lease.failures, poll_result.ok(), self.core.jitter(), self.core.now());
        let ended = persist(|| self.core.store().end_work(lease.clone(), Some(again))).await;
        match ended {
            // If it is false another node has the lease by now.
            Ok(_) => self.in_flight.settle(id),
            Err(error) => {
                tracing::warn!(channel.id = %id, "The end of polling {id} could not be stored, so it is polled again: {error}");
                self.in_flight.give_up(id);
            }
        }
    }
}

/// A channel was polled: it waits for its connector's interval, or longer after each failure.
fn next_poll(failures: u32, wait: Option<Duration>, jitter: f64, now: Timestamp) -> Requeue {
    let (shortest, longest) = limits::POLL_WAIT;
    let failures = match wait {
        Some(_) => 0,
        None => failures.saturating_add(1),
    };
    let wait = wait.unwrap_or_else(|| backoff(limits::POLL_WAIT, failures, jitter));
    Requeue {
        due_at: now.after(wait.clamp(shortest, longest)),
        failures,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use weir_domain::channel::Channel;
    use weir_domain::event::{EventFilter, EventType};

    use super::*;
    use crate::Host;
    use crate::core::worker::Worker;
    use crate::messages::dead_letters::ReplayError;
    use crate::testing::{with_account, with_echo};

    #[test]
    fn poll_wait_follows_connector_and_backs_off() {
        let at = |seconds: u64| Timestamp::from_millis(1_000_000).after(Duration::from_secs(seconds));
        let next = |failures, wait: Option<u64>| next_poll(failures, wait.map(Duration::from_secs), 1.0, at(0));
        for (wait, due) in [(0, 1), (20, 20), (86_400, 300)] {
            let (due_at, failures) = (at(due), 0);
            assert_eq!(next(7, Some(wait)), Requeue { due_at, failures });
        }
        for (before, wait) in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].into_iter().enumerate() {
            let failures = u32::try_from(before).expect("few");
            let due_at = at(wait);
            assert_eq!(
                next(failures, None),
                Requeue {
                    due_at,
                    failures: failures + 1
                }
            );
        }
    }

    /// Echo with a server that answers each poll with the next of these, and records the requests.
    async fn echo(answers: Vec<String>) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let poll_result = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&poll_result);
        tokio::spawn(async move {
            for body in answers {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.expect("a request"));
                }
                let head = String::from_utf8(head).expect("a request is text");
                seen.lock()
                    .expect("not poisoned")
                    .push(head.lines().next().unwrap_or_default().to_owned());
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.expect("it listens");
            }
        });
        (origin, poll_result)
    }

    /// An account whose platform is at `origin`.
    async fn polled(host: &Host, origin: &str) -> Channel {
        let mut app = host.store().app("echo").await.expect("a database").expect("the app");
        app.origins = serde_json::from_value(json!({"https://echo.example": origin})).expect("two origins");
        host.connectors.apps.put(app).await.expect("an app");
        with_account(host, "acme", &[]).await
    }

    #[tokio::test]
    async fn polled_updates_are_recorded_once() {
        let folder = tempfile::tempdir().expect("a directory");
        let host = with_echo(&folder).await;
        let update = |id: &str| json!({"type": "message", "id": id, "conversation": "c1", "contact": {"id": "u1"}, "text": id, "at": 1});
        let (origin, poll_result) = echo(vec![
            json!({"events": [update("m1"), update("m2")], "next": "17", "wait_ms": 0}).to_string(),
            "not json".to_owned(),
            json!({"events": [update("m2"), update("m3")], "next": "18", "wait_ms": 60_000}).to_string(),
        ])
        .await;
        let channel = polled(&host, &origin).await;
        let worker = Worker::new(host.poller(), limits::POLLS_IN_FLIGHT);
        let mut now = host.now();
        for cursor in ["17", "17", "18"] {
            assert_eq!(worker.round(now).await.ok(), Some(1));
            let kept = host
                .store()
                .poll_cursor("default", channel.id)
                .await
                .expect("a database");
            assert_eq!(kept.as_deref(), Some(cursor));
            // Later than the longest first delay after a failure.
            now = host.now().after(Duration::from_secs(2));
        }
        let filter = EventFilter {
            types: [EventType::MessageReceived.as_str().to_owned()].into(),
            ..EventFilter::default()
        };
        let received = host
            .store()
            .events("default", 0, &filter, 10)
            .await
            .expect("a database");
        let received: Vec<_> = received
            .rows
            .iter()
            .map(|event| event.data["platform_id"].clone())
            .collect();
        assert_eq!(received, ["m1", "m2", "m3"], "in order, without the duplicate");
        let poll_result = poll_result.lock().expect("not poisoned").clone();
        assert_eq!(
            poll_result,
            [
                "GET /news HTTP/1.1",
                "GET /news?after=17 HTTP/1.1",
                "GET /news?after=17 HTTP/1.1"
            ]
        );
    }

    #[tokio::test]
    async fn polled_items_that_are_unknown_become_dead_letters() {
        let folder = tempfile::tempdir().expect("a directory");
        let host = with_echo(&folder).await;
        let message = |id: &str| json!({"type": "message", "id": id, "conversation": "c1", "contact": {"id": "u1"}, "text": id, "at": 1});
        let unknown = json!({"type": "new", "id": "m2"});
        let batch = |events: serde_json::Value| json!({"events": events, "next": "17", "wait_ms": 0}).to_string();
        let (origin, poll_result) = echo(vec![
            batch(json!([message("m1"), unknown])),
            batch(json!([message("m1"), unknown])),
            batch(json!([])),
            batch(json!([message("m1"), message("m2")])),
        ])
        .await;
        let channel = polled(&host, &origin).await;
        let worker = Worker::new(host.poller(), limits::POLLS_IN_FLIGHT);
        assert_eq!(worker.round(host.now()).await.ok(), Some(1));
        let kept = host
            .store()
            .poll_cursor("default", channel.id)
            .await
            .expect("a database");
        assert_eq!(kept.as_deref(), Some("17"));
        let letters = async || {
            let page = weir_store::Page {
                limit: 10,
                cursor: None,
            };
            let apps = ["echo".to_owned()].into();
            host.store().dead_letters(apps, page).await.expect("a database").rows
        };
        let [letter] = &letters().await[..] else {
            panic!("{:?}", letters().await)
        };
        assert!(letter.reason.contains("polled"), "{}", letter.reason);
        // As long as the connector does not know it, or the platform does not return it, it is kept.
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
        let poll_result = poll_result.lock().expect("not poisoned").clone();
        assert_eq!(
            poll_result, ["GET /news HTTP/1.1"; 4],
            "each time from where the item was shown"
        );
    }
}
