//! Results of sending: from the outcome of a call to the message's next step.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::message::MessageError;
use crate::problem::Fault;
use crate::time::Timestamp;

/// The outcome of one send call of a connector, as the host saw it.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The platform accepted the message.
    Sent {
        /// The platform's id of it.
        platform_id: String,
        /// The platform's time of it.
        at: Option<Timestamp>,
    },
    /// It failed.
    Failed {
        /// The kind of failure.
        verdict: Verdict,
        /// The reason.
        error: MessageError,
    },
}

/// What a failure means for the host's next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// The platform refused, and will refuse again.
    Permanent,
    /// Nothing was done; retry, not before this delay if given.
    Retry {
        /// The delay that the platform requested, in milliseconds.
        after_ms: Option<u64>,
        /// Whether the attempt counts: a request to slow down does not.
        counts: bool,
    },
    /// The credential was refused.
    Reauthorize,
    /// The platform may or may not have acted.
    Uncertain,
}

impl Outcome {
    /// Combines the connector's result with the requests that the host saw: the result may only be more cautious than
    /// the connector's, never less. `sent` means that a message-send request was admitted, `answered` that a complete
    /// response arrived.
    #[must_use]
    pub fn as_seen(self, sent: bool, answered: bool) -> Self {
        match self {
            // Reported as sent without a message-send request: the id cannot be real.
            Self::Sent { .. } if !sent => Self::Failed {
                verdict: Verdict::Permanent,
                error: host_error(
                    "connector_failed",
                    "the connector reports a message that was never sent",
                ),
            },
            // An id without a response: the platform may have the message, under an unknown id.
            Self::Sent { .. } if !answered => Self::Failed {
                verdict: Verdict::Uncertain,
                error: host_error(
                    "outcome_unknown",
                    "the connector reports an id that no response of the platform contained",
                ),
            },
            // A renewed credential would repeat the message too.
            Self::Failed {
                verdict: Verdict::Retry { .. } | Verdict::Permanent | Verdict::Reauthorize,
                error,
            } if sent && !answered => Self::Failed {
                verdict: Verdict::Uncertain,
                error,
            },
            // Nothing was sent, so nothing is uncertain.
            Self::Failed {
                verdict: Verdict::Uncertain,
                error,
            } if !sent => Self::Failed {
                verdict: Verdict::Retry {
                    after_ms: None,
                    counts: true,
                },
                error,
            },
            seen => seen,
        }
    }

    /// The outcome of a call that ended without a result: a trap, a deadline, a crash.
    pub fn of_silence(sent: bool, detail: &str) -> Self {
        let verdict = if sent {
            Verdict::Uncertain
        } else {
            Verdict::Retry {
                after_ms: None,
                counts: true,
            }
        };
        let code = if sent { "outcome_unknown" } else { "connector_failed" };
        Self::Failed {
            verdict,
            error: host_error(code, detail),
        }
    }
}

impl Next {
    /// The next step of a message whose account no version serves now, with this reason.
    pub fn unserved(at: Timestamp, detail: &str) -> Self {
        Self::Unserved {
            at,
            error: host_error("connector_failed", detail),
        }
    }
}

fn host_error(code: &str, detail: &str) -> MessageError {
    MessageError {
        code: code.to_owned(),
        detail: detail.to_owned(),
        fault: Fault::Host,
        retryable: false,
        platform: None,
    }
}

/// The next step of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// The platform has it.
    Sent {
        /// The platform's id of it.
        platform_id: String,
        /// The platform's time of it, or the host's.
        at: Timestamp,
    },
    /// It is retried.
    RetryAt {
        /// The earliest time.
        at: Timestamp,
        /// Whether this attempt counts against the bound.
        counts: bool,
        /// Why the last attempt failed.
        error: MessageError,
    },
    /// It waits for the channel's authorization, and is retried after that is renewed.
    Held {
        /// The reason.
        error: MessageError,
    },
    /// No version of the connector serves its account: nothing was attempted, and it waits at its position in the
    /// conversation until a version serves or it expires.
    Unserved {
        /// When to check again.
        at: Timestamp,
        /// Why none serves.
        error: MessageError,
    },
    /// The contact may already have it. A duplicate message is worse than a late one, so the echo, the history or a
    /// person decides.
    Uncertain {
        /// The reason.
        error: MessageError,
    },
    /// It will not be sent.
    Failed {
        /// The reason.
        error: MessageError,
    },
}

/// The next step after an outcome. `attempt` counts from 1; `expires_at` is when the message expires, usually the
/// window's end; `jitter` is a number in 0..1 that spreads retries.
pub fn settle(outcome: Outcome, attempt: u32, expires_at: Option<Timestamp>, jitter: f64, now: Timestamp) -> Next {
    let (verdict, error) = match outcome {
        Outcome::Sent { platform_id, at } => {
            return Next::Sent {
                platform_id,
                at: at.unwrap_or(now),
            };
        }
        Outcome::Failed { verdict, error } => (verdict, error),
    };
    match verdict {
        Verdict::Permanent => Next::Failed { error },
        Verdict::Uncertain => Next::Uncertain { error },
        Verdict::Reauthorize => Next::Held { error },
        Verdict::Retry { counts, .. } if counts && attempt >= limits::SEND_ATTEMPTS => Next::Failed { error },
        Verdict::Retry { after_ms, counts } => {
            let requested = after_ms.map(|ms| Duration::from_millis(ms).min(limits::PLATFORM_PAUSE));
            let wait = requested.unwrap_or_else(|| backoff(limits::SEND_RETRY, attempt, jitter));
            let at = now.after(wait);
            match expires_at {
                Some(end) if at >= end => Next::Failed { error },
                _ => Next::RetryAt { at, counts, error },
            }
        }
    }
}

/// The wait before attempt `attempt + 1`: doubling from the first to the longest, with jitter in its upper half so that
/// simultaneous failures are not retried simultaneously.
pub fn backoff((first, longest): (Duration, Duration), attempt: u32, jitter: f64) -> Duration {
    let doubled = first
        .saturating_mul(1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX))
        .min(longest);
    doubled.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

/// The waits between attempts of a delivery: the schedule that Standard Webhooks recommends.
pub const ENDPOINT_SCHEDULE: &[Duration] = &[
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(10 * 3600),
    Duration::from_secs(14 * 3600),
    Duration::from_secs(20 * 3600),
    Duration::from_secs(24 * 3600),
];

/// When a delivery is attempted again after attempt `attempt` (from 1) failed; `None` when it is given up. Never before
/// the schedule's time, since each attempt counts, and not before the endpoint's own `Retry-After`, up to
/// [`limits::ENDPOINT_RETRY_AFTER`]. Jitter only adds.
pub fn redeliver_at(attempt: u32, retry_after: Option<Duration>, jitter: f64, now: Timestamp) -> Option<Timestamp> {
    let base = *ENDPOINT_SCHEDULE.get(usize::try_from(attempt.saturating_sub(1)).ok()?)?;
    let requested = retry_after.unwrap_or_default().min(limits::ENDPOINT_RETRY_AFTER);
    Some(now.after(base.max(requested) + base.mul_f64(jitter.clamp(0.0, 1.0) / 10.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> MessageError {
        host_error("rate_limited", "slow down")
    }

    fn failed(verdict: Verdict) -> Outcome {
        Outcome::Failed {
            verdict,
            error: error(),
        }
    }

    const RETRY: Verdict = Verdict::Retry {
        after_ms: None,
        counts: true,
    };

    #[test]
    fn send_without_response_is_always_uncertain() {
        for failure in [RETRY, Verdict::Permanent, Verdict::Reauthorize, Verdict::Uncertain] {
            let seen = failed(failure).as_seen(true, false);
            assert!(
                matches!(
                    seen,
                    Outcome::Failed {
                        verdict: Verdict::Uncertain,
                        ..
                    }
                ),
                "{failure:?}"
            );
        }
    }

    #[test]
    fn a_connector_may_be_more_careful_than_the_host() {
        let seen = failed(Verdict::Uncertain).as_seen(true, true);
        assert!(matches!(
            seen,
            Outcome::Failed {
                verdict: Verdict::Uncertain,
                ..
            }
        ));
    }

    #[test]
    fn unsent_request_is_retried() {
        assert!(matches!(
            failed(Verdict::Uncertain).as_seen(false, false),
            Outcome::Failed {
                verdict: Verdict::Retry { .. },
                ..
            }
        ));
        assert!(matches!(
            Outcome::of_silence(false, "trap"),
            Outcome::Failed {
                verdict: Verdict::Retry { .. },
                ..
            }
        ));
        assert!(matches!(
            Outcome::of_silence(true, "trap"),
            Outcome::Failed {
                verdict: Verdict::Uncertain,
                ..
            }
        ));
    }

    #[test]
    fn a_connector_cannot_claim_a_message_that_never_left() {
        let claimed = Outcome::Sent {
            platform_id: "1".into(),
            at: None,
        }
        .as_seen(false, false);
        assert!(matches!(
            claimed,
            Outcome::Failed {
                verdict: Verdict::Permanent,
                ..
            }
        ));
    }

    #[test]
    fn an_id_that_no_answer_gave_is_not_believed() {
        let claimed = Outcome::Sent {
            platform_id: "1".into(),
            at: None,
        }
        .as_seen(true, false);
        assert!(matches!(
            claimed,
            Outcome::Failed {
                verdict: Verdict::Uncertain,
                ..
            }
        ));
    }

    #[test]
    fn throttling_does_not_count_as_attempt() {
        let now = Timestamp::from_millis(0);
        assert!(matches!(
            settle(failed(RETRY), limits::SEND_ATTEMPTS, None, 0.0, now),
            Next::Failed { .. }
        ));
        let throttled = failed(Verdict::Retry {
            after_ms: None,
            counts: false,
        });
        assert!(matches!(
            settle(throttled, limits::SEND_ATTEMPTS, None, 0.0, now),
            Next::RetryAt { .. }
        ));
    }

    #[test]
    fn a_message_is_not_kept_past_its_window() {
        let now = Timestamp::from_millis(0);
        let end = Some(Timestamp::from_millis(400));
        assert!(matches!(settle(failed(RETRY), 1, end, 0.0, now), Next::Failed { .. }));
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let span = (Duration::from_secs(1), Duration::from_secs(300));
        assert_eq!(backoff(span, 1, 1.0), Duration::from_secs(1));
        assert_eq!(backoff(span, 4, 1.0), Duration::from_secs(8));
        assert_eq!(backoff(span, 60, 1.0), Duration::from_secs(300));
        assert_eq!(backoff(span, 1, 0.0), Duration::from_millis(500));
    }

    #[test]
    fn an_endpoint_is_given_up_after_the_schedule() {
        let now = Timestamp::from_millis(0);
        assert_eq!(redeliver_at(1, None, 0.0, now), Some(Timestamp::from_millis(5_000)));
        assert_eq!(redeliver_at(10, None, 0.0, now), None);
    }

    #[test]
    fn an_endpoints_retry_after_is_heeded_within_its_bound() {
        let now = Timestamp::from_millis(0);
        let at = |attempt, requested| {
            let at = redeliver_at(attempt, Some(Duration::from_secs(requested)), 0.0, now);
            at.expect("it is tried again").as_secs()
        };
        assert_eq!(at(1, 6), 6);
        assert_eq!(at(1, 3_600), 3_600);
        assert_eq!(at(1, 24 * 3_600), 24 * 3_600);
        assert_eq!(at(1, u64::MAX), 24 * 3_600);
        // Each attempt counts, so requests for quick ones must not use them up.
        assert_eq!((at(1, 0), at(2, 1)), (5, 300));
        assert_eq!(redeliver_at(10, Some(Duration::from_secs(1)), 0.0, now), None);
    }
}
