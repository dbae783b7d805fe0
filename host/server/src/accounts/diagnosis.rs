//! Diagnostics: why a channel receives nothing, or cannot send. Each finding has its evidence and its fix.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;
use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::credential::Credential;
use weir_domain::id::ChannelId;
use weir_domain::policy::region;
use weir_domain::time::Timestamp;
use weir_store::{HistoryGap, Page, StoreError};

use crate::accounts::Accounts;
use crate::accounts::calls::ActError;
use crate::connectors::forged::RefusedWebhooks;
use crate::connectors::serving::NotServed;

/// The result of one check.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Finding {
    /// `webhook_subscription`, `token`, `permissions`, `silence`, …
    pub subject: String,
    /// Whether the check passed.
    pub ok: bool,
    /// The evidence.
    pub evidence: String,
    /// The fix, if any.
    pub remedy: String,
}

/// An account without a message for so long after it was connected most often does not accept messages from everyone.
const SILENCE: Duration = Duration::from_secs(24 * 3600);

impl Finding {
    fn good(subject: &str, evidence: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            ok: true,
            evidence: evidence.to_owned(),
            remedy: String::new(),
        }
    }

    fn bad(subject: &str, evidence: impl std::fmt::Display, remedy: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            ok: false,
            evidence: evidence.to_string(),
            remedy: remedy.to_owned(),
        }
    }
}

/// The finding about conversations that the platform refused to return.
fn history(gap: &HistoryGap, count: usize) -> Finding {
    let again = gap
        .due_at
        .map_or_else(|| "it is not retried".to_owned(), |at| format!("next attempt at {at}"));
    Finding::bad(
        "history",
        format!(
            "the history of {count} conversations could not be read; {}: {}; {again}",
            gap.conversation, gap.detail
        ),
        "Read the channel's history again with POST /v1/channels/{id}/catch-up once the platform shows it.",
    )
}

impl Accounts {
    /// Runs diagnostics on a channel.
    ///
    /// # Errors
    /// See [`ActError`].
    pub async fn diagnose(&self, workspace: &str, channel: ChannelId) -> Result<Vec<Finding>, ActError> {
        let channel = self.core.store.channel(workspace, channel).await?;
        let channel = channel.ok_or(ActError::NotFound)?;
        let now = self.core.now();
        let mut findings = vec![standing(&channel)];
        if channel.status == ChannelStatus::Deleted {
            return Ok(findings);
        }
        let serving = match self.connectors.serving_of(&channel).await {
            Ok(serving) => serving,
            Err(error @ (NotServed::Held(_) | NotServed::Quarantined { .. })) => {
                findings.push(Finding::bad(
                    "version",
                    error,
                    "Its messages and webhooks are kept, and are processed automatically once a version serves it.",
                ));
                return Ok(findings);
            }
            Err(error) => return Err(error.into()),
        };
        let rules = serving.policies.rules(&channel);
        findings.push(match region::admit(&rules, channel.country.as_deref()) {
            Ok(()) => Finding::good("region", channel.country.as_deref().unwrap_or("unknown country")),
            Err(refusal) => Finding::bad(
                "region",
                refusal,
                "This is the platform's rule and cannot be changed here.",
            ),
        });
        findings.push(token(self.credentials.of(&channel).await?.as_ref(), now));
        if self.credentials.holds(channel.id) {
            findings.push(Finding::bad(
                "token_on_disk",
                "the renewed token is in memory only: the database is locked or the disk is full",
                "Free disk space, or stop the program that locks the database. Do not stop the host before the token is written.",
            ));
        }
        let queue = self.core.store.queue(workspace, channel.id).await?;
        let oldest = queue
            .oldest_at
            .map_or_else(String::new, |at| format!(", the oldest since {at}"));
        findings.push(Finding::good(
            "outbox",
            &format!("{} messages wait{oldest}", queue.depth),
        ));
        findings.extend(self.proofs(&channel.app));
        findings.push(self.silence(&channel, now).await?);
        let gaps = self.core.store.history_gaps(workspace, channel.id).await?;
        findings.extend(gaps.first().map(|gap| history(gap, gaps.len())));
        let checked = self
            .call(&channel, |connector, context| {
                Box::pin(async move { connector.check(context).await })
            })
            .await;
        match checked {
            Ok(found) => findings.extend(found.into_iter().map(|found| Finding {
                subject: found.subject,
                ok: found.ok,
                evidence: found.evidence,
                remedy: found.remedy,
            })),
            Err(error) => findings.push(Finding::bad(
                "platform",
                error,
                "Try again. If it fails again, reauthorize the channel.",
            )),
        }
        Ok(findings)
    }

    /// Whether the app's webhooks have valid signatures, if some did not.
    fn proofs(&self, app: &str) -> Option<Finding> {
        let refused = self.connectors.forged.of(app)?;
        let words = format!(
            "{} webhooks of the app were rejected since the host started, the last at {}: {}",
            refused.count, refused.last_at, refused.reason
        );
        Some(if refused.accepted_since {
            Finding::good("webhook_proof", &format!("{words}; genuine ones have come since"))
        } else {
            Finding::bad("webhook_proof", words, RefusedWebhooks::REMEDY)
        })
    }

    /// Whether any event has been received: most often the account does not accept messages from everyone.
    async fn silence(&self, channel: &Channel, now: Timestamp) -> Result<Finding, StoreError> {
        let page = Page { limit: 1, cursor: None };
        let newest = self
            .core
            .store
            .conversations(
                &channel.workspace_id,
                weir_store::ConversationFilter {
                    channels: [channel.id].into(),
                    name: None,
                },
                page,
            )
            .await?;
        let last = newest
            .rows
            .first()
            .and_then(|conversation| conversation.last_message_at);
        Ok(match last {
            Some(at) => Finding::good("silence", &format!("last message at {at}")),
            None if now.since(channel.created_at) < SILENCE => Finding::good("silence", "no message yet"),
            None => Finding::bad(
                "silence",
                format!("no message since {}", channel.created_at),
                "In the platform's app, let everyone send direct messages to the account; then write to it from another one.",
            ),
        })
    }
}

fn standing(channel: &Channel) -> Finding {
    match channel.status {
        ChannelStatus::Deleted => Finding::bad("status", "the channel was deleted", "Connect the account again."),
        ChannelStatus::ReauthorizationRequired => Finding::bad(
            "status",
            "the authorization has ended; messages are held",
            "POST /v1/channels/{id}/reauthorize, and let the account's owner consent.",
        ),
        ChannelStatus::Degraded => Finding::bad(
            "status",
            "the channel is degraded",
            "See the other findings. Reauthorizing the channel sets it up again.",
        ),
        ChannelStatus::Connected if channel.paused => {
            Finding::bad("status", "the channel is paused", "PATCH it with paused: false.")
        }
        ChannelStatus::Connected => Finding::good("status", "connected"),
    }
}

fn token(credential: Option<&Credential>, now: Timestamp) -> Finding {
    let Some(credential) = credential else {
        return Finding::bad("token", "no credential", "Reauthorize the channel.");
    };
    match (credential.expires_at, credential.refresh_expires_at) {
        (_, Some(end)) if now >= end => {
            Finding::bad("token", format!("renewal ended at {end}"), "Reauthorize the channel.")
        }
        (Some(end), _) if now >= end => Finding::bad(
            "token",
            format!("expired at {end}"),
            "POST /v1/channels/{id}/refresh. If that fails, reauthorize the channel.",
        ),
        (Some(end), _) => Finding::good("token", &format!("expires at {end}; renewed automatically before")),
        (None, _) => Finding::good("token", "does not expire"),
    }
}
