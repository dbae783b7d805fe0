//! The host's metrics. Labels come from closed sets and from the names of installed connectors, so that no platform and
//! no caller can create a new series.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use weir_domain::clock::ClockOffset;
use weir_domain::limits;
use weir_domain::time::Timestamp;
use weir_store::Depths;

type By<const N: usize> = Family<[(&'static str, String); N], Counter>;
type Fraction = Gauge<f64, AtomicU64>;
type Seconds = Gauge<f64, AtomicU64>;

/// The host's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    webhooks: By<1>,
    events_in: By<1>,
    calls: By<3>,
    call_seconds: Family<[(&'static str, String); 2], Histogram>,
    refusals: By<1>,
    requests_refused: By<2>,
    sends: By<1>,
    deliveries: By<1>,
    fetches: By<1>,
    refreshes: By<1>,
    depth: Family<[(&'static str, String); 1], Gauge>,
    oldest: Family<[(&'static str, String); 1], Seconds>,
    silent: Family<[(&'static str, String); 1], Seconds>,
    log_bytes: Gauge,
    platform_clocks: Family<[(&'static str, String); 1], Seconds>,
    dead_letters_used: Fraction,
    unwritten: Gauge,
    node: Family<[(&'static str, String); 2], Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("weir");
        let mut counted = |name: &str, help: &str| {
            let family = By::<1>::default();
            registry.register(name, help, family.clone());
            family
        };
        let webhooks = counted("webhooks", "Webhooks by result");
        let events_in = counted("inbound_events", "Events of webhooks by result");
        let refusals = counted("refusals", "Messages that a rule refused, by rule");
        let sends = counted("sends", "Attempts of messages by result");
        let deliveries = counted("deliveries", "Delivery attempts of events by result");
        let fetches = counted("fetches", "Fetch attempts of attachments by result");
        let refreshes = counted("refreshes", "Renewals of credentials by result");
        let calls = By::<3>::default();
        registry.register("connector_calls", "Calls of connectors by result", calls.clone());
        let requests_refused = By::<2>::default();
        registry.register(
            "connector_requests_refused",
            "Requests of connectors that the host refused, by rule",
            requests_refused.clone(),
        );
        let call_seconds = Family::<[(&'static str, String); 2], Histogram>::new_with_constructor(|| {
            // From the millisecond of a pure call to the minute of the longest call.
            Histogram::new(exponential_buckets(0.001, 4.0, 9))
        });
        registry.register(
            "connector_call_seconds",
            "Duration of calls of connectors",
            call_seconds.clone(),
        );
        let depth = Family::<[(&'static str, String); 1], Gauge>::default();
        registry.register("queue_depth", "Items waiting", depth.clone());
        let oldest = Family::<[(&'static str, String); 1], Seconds>::default();
        registry.register("queue_oldest_seconds", "Age of the oldest waiting item", oldest.clone());
        let silent = Family::<[(&'static str, String); 1], Seconds>::default();
        registry.register(
            "loop_silent_seconds",
            "Seconds since a background task last reported progress",
            silent.clone(),
        );
        let log_bytes = Gauge::default();
        registry.register(
            "record_wal_bytes",
            "Size of the database's write-ahead log in bytes",
            log_bytes.clone(),
        );
        let platform_clocks = Family::<[(&'static str, String); 1], Seconds>::default();
        registry.register(
            "platform_clock_offset_seconds",
            "How far the platform's clock is ahead of the host's, by app; negative when it is behind",
            platform_clocks.clone(),
        );
        let dead_letters_used = Fraction::default();
        registry.register(
            "dead_letters_used_ratio",
            "Dead letters of the app with the most, as a share of the maximum",
            dead_letters_used.clone(),
        );
        let unwritten = Gauge::default();
        registry.register(
            "credentials_unwritten",
            "Credentials that platforms have issued and that are not in the database yet",
            unwritten.clone(),
        );
        let node = Family::<[(&'static str, String); 2], Gauge>::default();
        registry.register("node_info", "Always 1; the labels identify this node", node.clone());
        Self {
            registry,
            webhooks,
            events_in,
            calls,
            call_seconds,
            refusals,
            requests_refused,
            sends,
            deliveries,
            fetches,
            refreshes,
            depth,
            oldest,
            silent,
            log_bytes,
            platform_clocks,
            dead_letters_used,
            unwritten,
            node,
        }
    }
}

fn one(family: &By<1>, label: &'static str, value: &str, count: u64) {
    if count > 0 {
        family.get_or_create(&[(label, value.to_owned())]).inc_by(count);
    }
}

impl Metrics {
    /// All metrics in the OpenMetrics text format, which Prometheus reads.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    pub(crate) fn webhook(&self, outcome: &'static str) {
        one(&self.webhooks, "outcome", outcome, 1);
    }

    pub(crate) fn events_in(&self, outcome: &'static str, count: u32) {
        one(&self.events_in, "outcome", outcome, count.into());
    }

    pub(crate) fn call(&self, connector: &str, call: &'static str, outcome: &'static str, elapsed: Duration) {
        self.calls
            .get_or_create(&[
                ("connector", connector.to_owned()),
                ("call", call.to_owned()),
                ("outcome", outcome.to_owned()),
            ])
            .inc();
        self.call_seconds
            .get_or_create(&[("connector", connector.to_owned()), ("call", call.to_owned())])
            .observe(elapsed.as_secs_f64());
    }

    pub(crate) fn refusal(&self, rule: &'static str) {
        one(&self.refusals, "rule", rule, 1);
    }

    pub(crate) fn request_refused(&self, connector: &str, rule: &'static str) {
        self.requests_refused
            .get_or_create(&[("connector", connector.to_owned()), ("rule", rule.to_owned())])
            .inc();
    }

    pub(crate) fn send(&self, next: &'static str) {
        one(&self.sends, "next", next, 1);
    }

    pub(crate) fn delivery(&self, next: &'static str) {
        one(&self.deliveries, "next", next, 1);
    }

    pub(crate) fn fetch(&self, next: &'static str) {
        one(&self.fetches, "next", next, 1);
    }

    pub(crate) fn refresh(&self, outcome: &'static str) {
        one(&self.refreshes, "outcome", outcome, 1);
    }

    pub(crate) fn unwritten(&self, credentials: usize) {
        self.unwritten.set(i64::try_from(credentials).unwrap_or(i64::MAX));
    }

    /// Sets how long each task has been silent.
    pub(crate) fn silence(&self, loops: impl Iterator<Item = (&'static str, Duration)>) {
        for (name, silent) in loops {
            self.silent
                .get_or_create(&[("loop", name.to_owned())])
                .set(silent.as_secs_f64());
        }
    }

    /// Sets the offset of the clock of an app's platform from ours.
    pub(crate) fn platform_clock(&self, app: &str, offset: ClockOffset) {
        self.platform_clocks
            .get_or_create(&[("app", app.to_owned())])
            .set(offset.as_millis() as f64 / 1_000.0);
    }

    /// Sets this node's name.
    pub(crate) fn node(&self, id: &str) {
        self.node.clear();
        self.node
            .get_or_create(&[
                ("node", id.to_owned()),
                ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ])
            .set(1);
    }

    /// Another node counts the queue depths from now on.
    pub(crate) fn forget_depths(&self) {
        self.depth.clear();
        self.oldest.clear();
        self.dead_letters_used.set(0.0);
    }

    pub(crate) fn depths(&self, depths: &Depths, now: Timestamp) {
        self.log_bytes.set(i64::try_from(depths.log_bytes).unwrap_or(i64::MAX));
        self.dead_letters_used
            .set(depths.dead_letters_of_one_app as f64 / f64::from(limits::DEAD_LETTERS));
        for (queue, depth) in [
            ("outbox", depths.outbox),
            ("uncertain", depths.uncertain),
            ("deliveries", depths.deliveries),
            ("media", depths.media),
            ("dead_letters", depths.dead_letters),
            ("writes", depths.writes),
        ] {
            self.depth
                .get_or_create(&[("queue", queue.to_owned())])
                .set(i64::try_from(depth).unwrap_or(i64::MAX));
        }
        for (queue, since) in [
            ("outbox", depths.outbox_oldest_at),
            ("uncertain", depths.uncertain_oldest_at),
            ("deliveries", depths.deliveries_oldest_at),
            ("media", depths.media_oldest_at),
            ("dead_letters", depths.dead_letters_oldest_at),
        ] {
            self.oldest
                .get_or_create(&[("queue", queue.to_owned())])
                .set(since.map_or(0.0, |since| now.since(since).as_secs_f64()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_was_counted_is_in_the_text() {
        let metrics = Metrics::default();
        metrics.webhook("stored");
        metrics.refusal("reply_window_closed");
        metrics.call("tiktok", "receive", "ok", Duration::from_millis(2));
        let text = metrics.render();
        assert!(text.contains("weir_webhooks_total{outcome=\"stored\"} 1"), "{text}");
        assert!(
            text.contains("weir_refusals_total{rule=\"reply_window_closed\"} 1"),
            "{text}"
        );
        assert!(text.contains("connector=\"tiktok\""), "{text}");
    }

    /// The names of metrics that a text mentions.
    fn spoken_of(text: &str) -> BTreeSet<&str> {
        let is_part = |character: char| character.is_ascii_lowercase() || character == '_';
        text.split(|character| !is_part(character))
            .filter(|word| word.starts_with("weir_") && word.len() > 5)
            .collect()
    }

    #[test]
    fn documented_metrics_exist() {
        let metrics = Metrics::default();
        metrics.webhook("stored");
        metrics.events_in("stored", 1);
        metrics.call("tiktok", "receive", "ok", Duration::from_millis(2));
        metrics.refusal("reply_window_closed");
        metrics.request_refused("tiktok", "route");
        metrics.send("sent");
        metrics.delivery("delivered");
        metrics.fetch("stored");
        metrics.refresh("renewed");
        metrics.depths(&Depths::default(), Timestamp::default());
        metrics.silence([("deliverer", Duration::ZERO)].into_iter());
        metrics.platform_clock("tiktok", ClockOffset::from_millis(1_000));
        metrics.node("weir-1.1");
        let text = metrics.render();
        let there: BTreeSet<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(['{', ' ']).next())
            .collect();
        for name in ["grafana.json", "alerts.yml", "operations.md"] {
            let path = format!("{}/../../docs/{name}", env!("CARGO_MANIFEST_DIR"));
            let document = std::fs::read_to_string(&path).expect("a file of docs/");
            let spoken = spoken_of(&document);
            assert!(spoken.len() > 6, "{name} mentions {spoken:?}");
            let missing: Vec<_> = spoken.difference(&there).collect();
            assert!(
                missing.is_empty(),
                "{name} mentions {missing:?}; the host has {there:?}"
            );
        }
        let documented = include_str!("../../../../docs/operations.md");
        for name in there {
            let family = name
                .trim_end_matches("_bucket")
                .trim_end_matches("_sum")
                .trim_end_matches("_count");
            assert!(documented.contains(family), "docs/operations.md lacks {name}");
        }
        for queue in documented
            .split("queue=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
        {
            assert!(
                text.contains(&format!("queue=\"{queue}\"")),
                "there is no queue {queue}"
            );
        }
    }
}
