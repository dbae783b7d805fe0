//! Webhooks with an invalid signature, made visible to the operator: with a wrong secret a channel would otherwise just
//! seem silent.
//!
//! Nothing that the sender supplied is stored: the reason is our own text, and only existing apps are counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;
use weir_domain::time::Timestamp;

/// How often this is logged for one app, so that a flood does not fill the disk.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The webhooks of an app that were rejected since the host started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct RefusedWebhooks {
    /// Their number.
    pub count: u64,
    /// When the last one arrived.
    pub last_at: Timestamp,
    /// Why it was rejected.
    pub reason: String,
    /// Whether a genuine one has arrived since: then the app's secret is right, and the invalid one came from another
    /// sender.
    pub accepted_since: bool,
}

impl RefusedWebhooks {
    /// How to fix it.
    pub(crate) const REMEDY: &'static str = "Compare the app's secret with the platform's (PUT /v1/apps/{name}, or rotate it), and check that \
         no proxy changes the body or the headers.";
}

#[derive(Debug)]
struct Rejections {
    refused: RefusedWebhooks,
    logged_at: Timestamp,
    not_logged: u64,
}

/// Rejected webhooks, by app.
#[derive(Debug, Default)]
pub(crate) struct ForgedWebhooks(Mutex<BTreeMap<String, Rejections>>);

impl ForgedWebhooks {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Rejections>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A webhook of an existing app was rejected.
    pub(crate) fn refused(&self, app: &str, reason: &str, now: Timestamp) {
        let mut all = self.kept();
        let is_first = !all.contains_key(app);
        let kept = all.entry(app.to_owned()).or_insert_with(|| Rejections {
            refused: RefusedWebhooks {
                count: 0,
                last_at: now,
                reason: String::new(),
                accepted_since: false,
            },
            logged_at: now,
            not_logged: 0,
        });
        kept.refused.count = kept.refused.count.saturating_add(1);
        kept.refused.last_at = now;
        reason.clone_into(&mut kept.refused.reason);
        kept.refused.accepted_since = false;
        kept.not_logged = kept.not_logged.saturating_add(1);
        if is_first || now.since(kept.logged_at) >= LOG_EVERY {
            tracing::warn!(
                app,
                count = kept.not_logged,
                "Webhooks of the app {app} are refused ({} since the last such line): {reason}",
                kept.not_logged
            );
            kept.logged_at = now;
            kept.not_logged = 0;
        }
    }

    /// A genuine one arrived.
    pub(crate) fn accepted(&self, app: &str) {
        if let Some(kept) = self.kept().get_mut(app) {
            kept.refused.accepted_since = true;
        }
    }

    /// The rejected webhooks of an app; `None` if there were none.
    pub(crate) fn of(&self, app: &str) -> Option<RefusedWebhooks> {
        self.kept().get(app).map(|kept| kept.refused.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_webhook_is_counted_with_its_reason() {
        let forged = ForgedWebhooks::default();
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
        assert_eq!(forged.of("shop"), None);
        forged.accepted("shop");
        forged.refused("shop", "the header is missing", at(1));
        forged.refused("shop", "the signature does not match the body", at(2));
        let seen = forged.of("shop").expect("two");
        assert_eq!((seen.count, seen.last_at, seen.accepted_since), (2, at(2), false));
        assert_eq!(seen.reason, "the signature does not match the body");
        forged.accepted("shop");
        assert!(forged.of("shop").is_some_and(|seen| seen.accepted_since));
        assert_eq!(forged.of("other"), None);
    }
}
