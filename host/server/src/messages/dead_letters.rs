//! Dead letters: webhooks and polled items that were kept for a fixed connector. They are translated again, and deleted
//! once all of their events are recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::id::{ChannelId, DeadLetterId};
use weir_domain::limits;
use weir_domain::message::MessageError;
use weir_domain::problem::Fault;
use weir_domain::signature::{RawWebhook, VerifiedWebhook};
use weir_domain::time::Timestamp;
use weir_store::{DeadLetter, Page, Recorded, Source, StoreError};

use crate::accounts::Accounts;
use crate::accounts::calls::{ActError, CallFailure, reauthorization_required};
use crate::connectors::Connectors;
use crate::connectors::rollout::DeadLetterReplay;
use crate::connectors::serving::{ConnectorError, NotServed, Serving};
use crate::core::Core;
use crate::messages::inbound::Inbound;

/// Why a dead letter could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The dead letter does not exist.
    #[error("there is no such dead letter")]
    NotFound,
    /// Its app was deleted.
    #[error("the app {0:?} of this dead letter was deleted")]
    NoSuchApp(String),
    /// The serving version cannot translate it either.
    #[error("the connector still cannot translate it: {0}")]
    Connector(ConnectorError),
    /// The serving version does not know some of its events.
    #[error("the connector still does not know {unknown_events} of its events")]
    StillUnknown {
        /// Their number.
        unknown_events: u32,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The method of a dead letter that was polled instead of received as a webhook.
const POLL: &str = "POLL";

/// The body of such a dead letter: the query to repeat.
#[derive(Debug, Serialize, Deserialize)]
struct Polled {
    channel_id: ChannelId,
    /// The cursor of the poll that returned it.
    cursor: Option<String>,
    /// The platform's content that the connector does not know.
    unknown: String,
}

/// Translates dead letters.
pub struct DeadLetters {
    core: Arc<Core>,
    connectors: Arc<Connectors>,
    accounts: Arc<Accounts>,
    inbound: Arc<Inbound>,
}

impl DeadLetters {
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
        }
    }

    /// Translates a dead letter with the version that serves now, and deletes it once all of it is recorded.
    ///
    /// # Errors
    /// See [`ReplayError`]; the dead letter is kept.
    pub async fn replay(&self, workspace: &str, id: DeadLetterId) -> Result<Recorded, ReplayError> {
        let letter = self
            .core
            .store
            .dead_letter(workspace, id)
            .await?
            .ok_or(ReplayError::NotFound)?;
        let serving = match self.connectors.serving(&letter.app).await {
            Ok(serving) => serving,
            Err(NotServed::NoSuchApp(app)) => return Err(ReplayError::NoSuchApp(app)),
            Err(error) => return Err(ConnectorError::unserved(error).map_or_else(Into::into, ReplayError::Connector)),
        };
        let recorded = match self.retranslate(&letter).await? {
            Some(recorded) => recorded,
            None => {
                // Verified when it was received; its row is the host's own.
                let webhook = VerifiedWebhook::from_dead_letter(letter.webhook);
                let parts = serving.translate(&self.connectors.quarantine, &webhook).await;
                let parts = parts.map_err(|error| ReplayError::Connector(error.into()))?;
                let recorded = self.inbound.record_parts(parts.events).await?;
                if let Some(owner) = &parts.held {
                    let reason = self.connectors.held(&serving, owner).to_string();
                    return Err(ReplayError::Connector(ConnectorError::Quarantined(reason)));
                }
                recorded
            }
        };
        if recorded.unknown_events > 0 {
            return Err(ReplayError::StillUnknown {
                unknown_events: recorded.unknown_events,
            });
        }
        self.core.store.drop_dead_letter(workspace, id).await?;
        Ok(recorded)
    }

    /// Stores what a connector did not know in a poll, as a dead letter.
    pub(super) async fn keep_polled(
        &self,
        serving: &Serving,
        channel: &Channel,
        cursor: Option<String>,
        unknown: String,
    ) -> Result<(), StoreError> {
        let reason = format!("the connector does not know {unknown}, which was polled from the platform");
        let polled = Polled {
            channel_id: channel.id,
            cursor,
            unknown,
        };
        let webhook = VerifiedWebhook::from_dead_letter(RawWebhook {
            method: POLL.to_owned(),
            body: serde_json::to_vec(&polled).unwrap_or_default().into(),
            ..RawWebhook::default()
        });
        self.inbound.keep_dead_letter(serving, &webhook, reason).await?;
        Ok(())
    }

    /// Polls the platform again for a dead letter's content; `None` if a webhook delivered it.
    ///
    /// # Errors
    /// See [`ReplayError`]; also if the platform no longer returns items from that cursor.
    async fn retranslate(&self, letter: &DeadLetter) -> Result<Option<Recorded>, ReplayError> {
        if letter.webhook.method != POLL {
            return Ok(None);
        }
        let polled: Polled = serde_json::from_slice(&letter.webhook.body).map_err(|error| StoreError::Damaged {
            place: format!("dead_letters.body of {}", letter.id),
            reason: error.to_string(),
        })?;
        let channel = self.core.store().channel_of_any(polled.channel_id).await?;
        let channel = channel.filter(works).ok_or(ReplayError::NotFound)?;
        let translating = async {
            let serving = self.connectors.serving_of(&channel).await?;
            let batch = self
                .accounts
                .call(&channel, |connector, context| {
                    let cursor = polled.cursor.clone();
                    Box::pin(async move { connector.poll(context, cursor).await })
                })
                .await?;
            Ok::<_, CallFailure>(self.inbound.record(&serving, batch.events, Source::Webhook).await?)
        };
        match translating.await.map_err(ActError::from) {
            Ok(recorded) if recorded.stored + recorded.duplicates + recorded.unknown_events == 0 => {
                Err(ReplayError::Connector(ConnectorError::Failed(Box::new(MessageError {
                    code: "not_shown".to_owned(),
                    detail: "the platform no longer returns it; delete the dead letter if it is settled".to_owned(),
                    fault: Fault::Platform,
                    retryable: false,
                    platform: None,
                }))))
            }
            Ok(recorded) => Ok(Some(recorded)),
            Err(ActError::Store(error)) => Err(error.into()),
            Err(ActError::Connector(error)) => Err(ReplayError::Connector(error)),
            Err(ActError::NotFound) => Err(ReplayError::NotFound),
            Err(ActError::Refused(refusal)) => {
                let error = reauthorization_required(&refusal.to_string());
                Err(ReplayError::Connector(ConnectorError::Failed(Box::new(error))))
            }
        }
    }
}

#[async_trait]
impl DeadLetterReplay for DeadLetters {
    async fn replay(&self, connector: &str, since: Timestamp) -> Result<(), StoreError> {
        let apps = self.core.store().apps().await?;
        let ours = apps.into_iter().filter(|app| app.connector == connector);
        let ours: BTreeMap<String, String> = ours.map(|app| (app.name, app.workspace_id)).collect();
        let mut ids = Vec::new();
        let mut page = Page {
            limit: limits::PAGE,
            cursor: None,
        };
        loop {
            let letters = self
                .core
                .store()
                .dead_letters(ours.keys().cloned().collect(), page.clone())
                .await?;
            let kept = letters.rows.iter().filter(|letter| letter.received_at >= since);
            ids.extend(kept.filter_map(|letter| Some((letter.id, ours.get(&letter.app)?))));
            match letters.next {
                Some(next) => page.cursor = Some(next),
                None => break,
            }
        }
        // Ids are ordered by time.
        ids.sort_unstable();
        for (id, workspace) in ids {
            match DeadLetters::replay(self, workspace, id).await {
                // It was replayed concurrently, or stays for a fixed version.
                Ok(_) | Err(ReplayError::NotFound | ReplayError::StillUnknown { .. } | ReplayError::NoSuchApp(_)) => {}
                Err(ReplayError::Store(error)) => return Err(error),
                Err(ReplayError::Connector(error)) => {
                    tracing::warn!("The dead letter {id} stays: {error}");
                }
            }
        }
        Ok(())
    }
}

pub(super) fn works(channel: &Channel) -> bool {
    matches!(channel.status, ChannelStatus::Connected | ChannelStatus::Degraded)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;
    use weir_store::VersionStage;

    use super::*;
    use crate::messages::inbound::Hook;
    use crate::testing::{webhook, with_echo};
    use crate::{Config, Host};

    /// Translates one, and returns why it was kept; `None` if it was translated.
    async fn kept(host: &Host, text: &str) -> Option<String> {
        match host
            .inbound
            .receive("echo", webhook(host, text))
            .await
            .expect("it is answered")
        {
            Hook::DeadLettered(id) => {
                let letter = host.store().dead_letter("default", id).await.expect("a database");
                Some(letter.expect("it is stored").reason)
            }
            Hook::Accepted(_) => None,
            Hook::Challenge(_) => panic!("unexpected challenge"),
        }
    }

    async fn stage(host: &Host) -> VersionStage {
        host.store().versions().await.expect("a database")[0].stage
    }

    #[tokio::test]
    async fn c6_crashing_version_is_quarantined_without_loss() {
        let folder = TempDir::new().expect("a directory");
        let host = with_echo(&folder).await;
        let loops = host.start();
        let mut changes = host.store().log_end();
        for _ in 0..limits::CRASHES {
            let reason = kept(&host, "trap").await.expect("it crashed");
            assert!(reason.contains("crashed"), "{reason}");
        }
        let reason = kept(&host, "hi").await.expect("no code of it runs any more");
        assert!(
            reason.contains("is quarantined: it crashed 5 times within 60 s, the last time in `receive`: trapped"),
            "{reason}"
        );
        // A replayed webhook is verified as strictly as a new one.
        let mut forged = webhook(&host, "forged");
        forged.headers[0].1 = "t=1,s=00".to_owned();
        assert!(host.inbound.receive("echo", forged).await.is_err());
        // The database stores it too, with an event, and the next start reads it.
        tokio::time::timeout(Duration::from_secs(60), async {
            while stage(&host).await != VersionStage::Quarantined {
                changes.changed().await.expect("the host is running");
            }
        })
        .await
        .expect("it is stored");
        loops.stop(limits::SHUTDOWN).await;
        host.store().close().await;
        drop(host);
        let host = Host::open(Config::for_testing(folder.path())).await.expect("a host");
        let reason = kept(&host, "again").await.expect("still quarantined");
        assert!(reason.contains("is quarantined: since "), "{reason}");

        // Active again by an operator's decision; dead letters from the meantime are translated, and the one that
        // caused the crash stays.
        let since = host
            .rollout
            .quarantined_at("echo")
            .await
            .expect("a database")
            .expect("quarantined");
        let version = host
            .store()
            .versions()
            .await
            .expect("a database")
            .remove(0)
            .manifest
            .version;
        host.rollout.promote("echo", &version).await.expect("it serves again");
        assert_eq!(stage(&host).await, VersionStage::Active);
        DeadLetterReplay::replay(&*host.dead_letters, "echo", since)
            .await
            .expect("a database");
        let page = Page {
            limit: limits::PAGE,
            cursor: None,
        };
        let left = host
            .store()
            .dead_letters(["echo".to_owned()].into(), page)
            .await
            .expect("a database")
            .rows;
        assert_eq!(left.len(), limits::CRASHES, "{left:?}");
        assert!(
            left.iter().all(|letter| letter.reason.contains("crashed: ")),
            "{left:?}"
        );
        assert_eq!(kept(&host, "hi again").await, None);
    }
}
