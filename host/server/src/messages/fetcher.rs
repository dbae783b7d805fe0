//! Fetches attachments of messages: the connector returns the location, and the host fetches, bounds, sniffs and stores
//! the bytes.
//!
//! The message is stored long before, and is never lost to a failed download: after the last attempt its content
//! becomes fallback content with a reason.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use weir_domain::delivery::{Verdict, backoff};
use weir_domain::limits;
use weir_domain::message::ContentKind;
use weir_domain::time::Timestamp;
use weir_egress::EgressError;
use weir_runtime::CallError;
use weir_runtime::context::ConversationFacts;
use weir_store::{MediaFetch, StoreError};

use crate::accounts::Accounts;
use crate::accounts::calls::CallFailure;
use crate::connectors::Connectors;
use crate::core::Core;
use crate::core::worker::Work;
use crate::messages::media::Media;

/// The first delay between two attempts, and the longest: a platform's link is valid for a day.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(600));

/// Fetches attachments.
pub(crate) struct Fetcher {
    core: Arc<Core>,
    connectors: Arc<Connectors>,
    accounts: Arc<Accounts>,
    media: Arc<Media>,
}

/// Why an attachment could not be fetched.
struct Missing {
    /// A reason of fallback content: `download_failed`, `too_large`, `region_blocked`.
    reason: &'static str,
    /// Whether another attempt can help.
    is_final: bool,
    /// For the log.
    detail: String,
}

impl Missing {
    fn for_now(detail: impl std::fmt::Display) -> Self {
        Self {
            reason: "download_failed",
            is_final: false,
            detail: detail.to_string(),
        }
    }

    fn for_good(reason: &'static str, detail: impl std::fmt::Display) -> Self {
        Self {
            reason,
            is_final: true,
            detail: detail.to_string(),
        }
    }
}

#[async_trait]
impl Work for Fetcher {
    type Item = MediaFetch;

    fn name(&self) -> &'static str {
        "fetcher"
    }

    async fn lease(&self, limit: u32, now: Timestamp) -> Result<Vec<MediaFetch>, StoreError> {
        if self.core.node.valid().is_none() {
            return Ok(Vec::new());
        }
        self.core.store().lease_media(limit, now).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.core.store().next_media_due().await
    }

    async fn work(&self, fetch: MediaFetch) {
        let (id, workspace) = (fetch.id, &fetch.channel.workspace_id);
        let written = match self.fetch(&fetch).await {
            Ok((mime_type, size)) => {
                self.core.metrics.fetch("stored");
                self.core
                    .store()
                    .media_stored(workspace, id, mime_type, size, self.core.now())
                    .await
            }
            Err(missing) => {
                let ends = missing.is_final || fetch.attempt >= limits::FETCH_ATTEMPTS;
                self.core.metrics.fetch(if ends { "failed" } else { "retry" });
                tracing::warn!(media.id = %id, attempt = fetch.attempt, "The attachment {id} was not fetched: {}", missing.detail);
                let wait = backoff(RETRY, fetch.attempt, self.core.jitter());
                let retry_at = (!ends).then(|| self.core.now().after(wait));
                self.core
                    .store()
                    .media_failed(workspace, id, missing.reason, retry_at, self.core.now())
                    .await
            }
        };
        if let Err(error) = written {
            // The lease expires, and the attachment is fetched again.
            tracing::error!(media.id = %id, "The result of fetching the attachment {id} could not be stored: {error}");
        }
    }
}

impl Fetcher {
    pub(crate) fn new(
        core: Arc<Core>,
        connectors: Arc<Connectors>,
        accounts: Arc<Accounts>,
        media: Arc<Media>,
    ) -> Self {
        Self {
            core,
            connectors,
            accounts,
            media,
        }
    }

    /// The type and size of the fetched file.
    async fn fetch(&self, fetch: &MediaFetch) -> Result<(String, u64), Missing> {
        let serving = self
            .connectors
            .serving_of(&fetch.channel)
            .await
            .map_err(Missing::for_now)?;
        if !serving.policies.manifest().provides("media-transfer") {
            return Err(Missing::for_good(
                "type_unsupported",
                "the connector cannot fetch attachments",
            ));
        }
        let facts = ConversationFacts::from(&fetch.conversation);
        let kind = kind_of(&fetch.kind);
        let located = self
            .accounts
            .call(&fetch.channel, |connector, context| {
                let (facts, message, remote) = (facts.clone(), fetch.message_platform_id.clone(), fetch.remote.clone());
                Box::pin(async move { connector.locate(context, &facts, &message, kind, &remote).await })
            })
            .await
            .map_err(not_located)?;
        let credential = self
            .accounts
            .credentials
            .of(&fetch.channel)
            .await
            .map_err(Missing::for_now)?;
        let credential = credential.ok_or_else(|| Missing::for_now("the channel has no credential"))?;
        let secrets = serving.secrets().with_access_token(credential.access_token);
        let mut file = self
            .media
            .begin(fetch.id, fetch.attempt)
            .await
            .map_err(Missing::for_now)?;
        let fetched = self
            .core
            .egress
            .fetch_at(
                located.departure,
                located.permit,
                &secrets,
                limits::MEDIA_BYTES,
                file.file(),
            )
            .await;
        let fetched = fetched.map_err(|error| match error {
            EgressError::TooLarge { .. } => Missing::for_good("too_large", error),
            EgressError::Refused(_) => Missing::for_good("download_failed", error),
            other => Missing::for_now(other),
        })?;
        match fetched.status {
            200..300 => {}
            status @ (404 | 410) => {
                return Err(Missing::for_good("deleted", format!("the platform returned {status}")));
            }
            status => return Err(Missing::for_now(format!("the platform returned {status}"))),
        }
        let (mime_type, _) = file.keep(self.core.now()).await.map_err(Missing::for_now)?;
        Ok((mime_type, fetched.bytes))
    }
}

fn not_located(failure: CallFailure) -> Missing {
    match failure {
        CallFailure::Call(CallError::Failed {
            verdict: Verdict::Permanent,
            error,
        }) => {
            let reason = if error.code == "media_not_allowed_in_region" {
                "region_blocked"
            } else {
                "download_failed"
            };
            Missing::for_good(reason, error.detail)
        }
        other => Missing::for_now(other),
    }
}

/// The kind as the connector knows it; fallback content is most often a video.
fn kind_of(kind: &str) -> ContentKind {
    match kind {
        "image" => ContentKind::Image,
        "audio" => ContentKind::Audio,
        "file" => ContentKind::File,
        "sticker" => ContentKind::Sticker,
        _ => ContentKind::Video,
    }
}
