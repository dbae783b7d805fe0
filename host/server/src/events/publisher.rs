//! Delivers events to the operator's endpoints.
//!
//! At-least-once delivery with an id that never changes; in order within a conversation if the endpoint requires it; a
//! slow or dead endpoint delays no other. Signed according to Standard Webhooks 1.0.0, so that its public libraries
//! verify deliveries.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderName, HeaderValue, Method};
use sha2::Sha256;
use tracing::{Instrument, field, trace_span};
use weir_domain::credential::{Secret, Secrets};
use weir_domain::delivery::redeliver_at;
use weir_domain::id::DeliveryId;
use weir_domain::policy::{Request, RequestBody, may_deliver};
use weir_domain::time::Timestamp;
use weir_egress::{Answer, NoBodies};
use weir_store::{DeliveryAttempt, DeliveryLease, DeliveryNext, Endpoint, StoreError};

use crate::core::Core;
use crate::core::in_flight::InFlight;
use crate::core::persist::persist;
use crate::core::worker::Work;
use crate::messages::media::Media;

/// An endpoint that accepted nothing for so long is switched off. Its events are kept for `recover`.
const GIVE_UP: Duration = Duration::from_secs(5 * 24 * 3600);

/// The delivery work.
pub(crate) struct Publisher {
    core: Arc<Core>,
    media: Arc<Media>,
    in_flight: InFlight<DeliveryId>,
}

#[async_trait]
impl Work for Publisher {
    type Item = DeliveryLease;

    fn name(&self) -> &'static str {
        "publisher"
    }

    async fn lease(&self, limit: u32, now: Timestamp) -> Result<Vec<DeliveryLease>, StoreError> {
        let Some(registration) = self.core.node.valid() else {
            return Ok(Vec::new());
        };
        let leases = self.core.store().lease_deliveries(&registration.id, limit, now).await;
        self.in_flight.lease(leases, |lease| lease.delivery)
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let (store, node) = (self.core.store(), self.core.node.id());
        self.in_flight
            .free_others(|ours| store.free_deliveries(&node, ours, self.core.now()))
            .await?;
        store.next_delivery_due().await
    }

    async fn work(&self, lease: DeliveryLease) {
        let lease = &lease;
        let span = trace_span!(
            "delivery",
            delivery.id = %lease.delivery,
            event.id = %lease.event.id,
            endpoint.id = %lease.endpoint.id,
            attempt = lease.attempt,
            outcome = field::Empty,
        );
        let attempt = self.deliver(lease).instrument(span.clone()).await;
        let now = self.core.now();
        let next = next(lease, &attempt, self.core.jitter(), now);
        let outcome = match &next {
            DeliveryNext::Delivered => "delivered",
            DeliveryNext::RetryAt(_) => "retry",
            DeliveryNext::Failed => "failed",
            DeliveryNext::Disable { .. } => "disabled",
        };
        span.record("outcome", outcome);
        self.core.metrics.delivery(outcome);
        // Deliveries behind it in its conversation would wait for the end of the lease.
        let settled = persist(|| {
            self.core
                .store()
                .settle_delivery(lease, attempt.record.clone(), next.clone(), now)
        });
        match settled.instrument(trace_span!(parent: &span, "settle")).await {
            // If it is false another worker has the lease by now, and settles it.
            Ok(_) => self.in_flight.settle(lease.delivery),
            // It is delivered again.
            Err(error) => {
                tracing::error!(delivery.id = %lease.delivery, "A delivery cannot be settled: {error}");
                if error.may_heal() {
                    self.in_flight.give_up(lease.delivery);
                } else {
                    // Released now, it would fail again at once: it waits for the end of its lease.
                    self.in_flight.settle(lease.delivery);
                }
            }
        }
    }
}

/// The result of an attempt, and the pause that the endpoint requested.
struct Tried {
    record: DeliveryAttempt,
    retry_after: Option<Duration>,
}

impl Publisher {
    pub(crate) fn new(core: Arc<Core>, media: Arc<Media>) -> Self {
        Self {
            core,
            media,
            in_flight: InFlight::default(),
        }
    }

    async fn deliver(&self, lease: &DeliveryLease) -> Tried {
        let now = self.core.now();
        let failed = |error: String| Tried {
            record: DeliveryAttempt {
                number: lease.attempt,
                at: now,
                status: None,
                answer: None,
                elapsed_ms: 0,
                error: Some(error),
            },
            retry_after: None,
        };
        let request = match self.request(lease, now) {
            Ok(request) => request,
            Err(reason) => return failed(reason),
        };
        let permit = match may_deliver(request, self.core.config.delivery.reach()) {
            Ok(permit) => permit,
            Err(refusal) => return failed(refusal.to_string()),
        };
        match self.core.egress.send(permit, &Secrets::default(), &NoBodies).await {
            Ok(answer) => answered(lease.attempt, now, &answer),
            Err(error) => failed(error.to_string()),
        }
    }

    fn request(&self, lease: &DeliveryLease, now: Timestamp) -> Result<Request, String> {
        let event = self.media.with_link(lease.event.clone());
        let body = serde_json::to_string(&event).map_err(|error| error.to_string())?;
        let id = event.id.to_string();
        let signature = sign(&active_secrets(&lease.endpoint, now), &id, now.as_secs(), &body);
        let header = |name, value: &str| {
            let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
            Ok::<_, String>((HeaderName::from_static(name), value))
        };
        Ok(Request {
            method: Method::POST,
            url: lease
                .endpoint
                .url
                .parse()
                .map_err(|error: url::ParseError| error.to_string())?,
            headers: vec![
                header("content-type", "application/json")?,
                header("webhook-id", &id)?,
                header("webhook-timestamp", &now.as_secs().to_string())?,
                header("webhook-signature", &signature)?,
            ],
            body: RequestBody::Bytes(body.into()),
        })
    }
}

fn answered(number: u32, at: Timestamp, answer: &Answer) -> Tried {
    let retry_after = answer
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))
        .and_then(|(_, value)| retry_after(value.trim(), at));
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let record = DeliveryAttempt {
        number,
        at,
        status: Some(answer.status),
        answer: Some(text).filter(|text| !text.is_empty()),
        elapsed_ms: answer.elapsed_ms,
        error: None,
    };
    Tried { record, retry_after }
}

/// The value of a `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let since_epoch = date.duration_since(UNIX_EPOCH).ok()?;
    let at = Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).ok()?);
    Some(at.since(now))
}

fn next(lease: &DeliveryLease, tried: &Tried, jitter: f64, now: Timestamp) -> DeliveryNext {
    match tried.record.status {
        Some(200..300) => return DeliveryNext::Delivered,
        Some(410) => {
            return DeliveryNext::Disable {
                reason: "the endpoint answered 410 Gone".to_owned(),
            };
        }
        _ => {}
    }
    if let Some(since) = lease
        .endpoint
        .failing_since
        .filter(|since| now.since(*since) >= GIVE_UP)
    {
        return DeliveryNext::Disable {
            reason: format!("no delivery succeeded since {since}"),
        };
    }
    redeliver_at(lease.attempt, tried.retry_after, jitter, now).map_or(DeliveryNext::Failed, DeliveryNext::RetryAt)
}

/// The newest secret, and the previous one while both are valid.
fn active_secrets(endpoint: &Endpoint, now: Timestamp) -> Vec<&Secret> {
    let overlap = endpoint.old_secret_until.is_some_and(|until| now < until);
    endpoint.secrets.iter().take(if overlap { 2 } else { 1 }).collect()
}

/// The `webhook-signature` header: one signature for each secret, separated by spaces (Standard Webhooks 1.0.0,
/// Signature scheme).
pub(crate) fn sign(secrets: &[&Secret], id: &str, timestamp_s: i64, body: &str) -> String {
    let signatures: Vec<String> = secrets
        .iter()
        .filter_map(|secret| {
            let encoded = secret.expose();
            let key = STANDARD
                .decode(encoded.strip_prefix("whsec_").unwrap_or(encoded))
                .ok()?;
            let mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
            let mac = mac.chain_update(format!("{id}.{timestamp_s}.{body}"));
            Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
        })
        .collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_published_example_is_signed_as_published() {
        // Standard Webhooks 1.0.0: the example of its reference libraries.
        let secret = Secret::new(SECRET);
        let signed = sign(
            &[&secret],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_retry_after_is_seconds_or_a_date() {
        let now = Timestamp::from_millis(1_735_689_600_000);
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        let date = "Wed, 01 Jan 2025 00:02:00 GMT";
        assert_eq!(retry_after(date, now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Tue, 31 Dec 2024 00:00:00 GMT", now), Some(Duration::ZERO));
        for nothing in ["", "soon", "-1", "1.5"] {
            assert_eq!(retry_after(nothing, now), None, "{nothing:?}");
        }
    }

    #[test]
    fn during_a_rotation_both_secrets_sign() {
        let (new, old) = (Secret::new(SECRET), Secret::new("whsec_AAAA"));
        let signed = sign(&[&new, &old], "evt_1", 1, "{}");
        assert_eq!(signed.split(' ').filter(|part| part.starts_with("v1,")).count(), 2);
    }
}
