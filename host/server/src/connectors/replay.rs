//! Recorded calls: stored, replayed against other versions, and deleted.

use std::sync::Arc;

use weir_domain::grant::Grants;
use weir_domain::id::TranscriptId;
use weir_domain::limits;
use weir_domain::manifest::Manifest;
use weir_domain::policy::OriginMap;
use weir_domain::signature::verify;
use weir_domain::time::Timestamp;
use weir_runtime::{Boundary, Connector, End, Replayed, Report, Transcript};
use weir_store::{StoreError, TranscriptFilter, TranscriptRecord};

use crate::connectors::Connectors;
use crate::connectors::apps::Registered;
use crate::connectors::promotion::PromoteError;
use crate::connectors::transcripts::PendingTranscript;

/// Which calls are replayed.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The number of newest calls, at most [`limits::REPLAY_CALLS`].
    pub last: u32,
    /// Only those that this version answered.
    pub against: Option<String>,
}

impl Connectors {
    /// Stores a recorded call, and replays it against a canary that shadows.
    pub(crate) async fn keep_transcript(&self, taken: PendingTranscript) {
        let id: TranscriptId = self.core.mint.id(self.core.now());
        let versions = self.registry.versions(&taken.connector);
        if let Some(versions) = &versions
            && versions.active.number() == taken.version
            && let Some(canary_run) = &versions.canary_run
            && let Ok(transcript) = Transcript::read(&taken.json)
        {
            let (candidate, grants) = (&canary_run.loaded.connector, &canary_run.loaded.grants);
            let made_by = versions.active.connector.manifest();
            match self.replay_call(candidate, grants, &transcript, Some(made_by)).await {
                Ok(replayed) => canary_run.shadowed(&id.to_string(), &transcript, replayed),
                Err(error) => tracing::debug!("A call was not replayed against the shadowing version: {error}"),
            }
        }
        let record = TranscriptRecord {
            id,
            connector: taken.connector,
            version: taken.version,
            call: taken.kind.as_str().to_owned(),
            channel_id: taken.channel_id,
            crashed: taken.crashed,
            at: taken.at,
            json: taken.json,
        };
        if let Err(error) = self.core.store().keep_transcript(record, self.transcripts.ring).await {
            tracing::debug!("A transcript was not stored: {error}");
        }
    }

    /// Replays the newest calls of a connector against another version: no request is sent, nothing is recorded. A
    /// request that the host would refuse this version, by its manifest and the operator's grants, is a difference.
    ///
    /// # Errors
    /// [`PromoteError::NotFound`], [`PromoteError::Load`], and the database's errors.
    pub async fn replay(&self, connector: &str, version: &str, replay: Replay) -> Result<Report, PromoteError> {
        let mut versions = self.core.store().versions().await?;
        versions.retain(|known| known.manifest.name == connector);
        let numbered = |number: &str| versions.iter().find(|known| known.manifest.version == number);
        let known = numbered(version).ok_or_else(|| PromoteError::NotFound {
            connector: connector.to_owned(),
            version: version.to_owned(),
        })?;
        let candidate = self.load_version(known).await?;
        let grants = Arc::new(self.core.store().grants(connector).await?);
        let filter = TranscriptFilter {
            version: replay.against,
            limit: replay.last.min(limits::REPLAY_CALLS),
            whole: true,
            ..TranscriptFilter::default()
        };
        let mut report = Report::default();
        for record in self.core.store().transcripts(connector, filter).await? {
            // Written by a host with another format.
            let Ok(transcript) = Transcript::read(&record.json) else {
                continue;
            };
            let made_by = numbered(&transcript.version).map(|known| &known.manifest);
            let replayed = self.replay_call(&candidate, &grants, &transcript, made_by).await?;
            report.add(&record.id.to_string(), &transcript, replayed);
        }
        Ok(report)
    }

    /// Replays one call against another version. `made_by` is the manifest of the version that the transcript is of.
    async fn replay_call(
        &self,
        candidate: &Connector,
        grants: &Arc<Grants>,
        transcript: &Transcript,
        made_by: Option<&Manifest>,
    ) -> Result<Replayed, StoreError> {
        let boundary = Boundary {
            grants: Arc::clone(grants),
            origins: self.origins_of(transcript).await?,
        };
        let mut replayed = candidate.replay(transcript, &boundary).await;
        let next = candidate.manifest();
        if let (Some(made_by), Some(webhook)) = (made_by, transcript.webhook())
            && made_by.webhook != next.webhook
        {
            let apps = self.apps_of(&next.name).await?;
            let proves = |manifest: &Manifest, app: &Registered| {
                let at = app.clock.offset().platform(transcript.at);
                let secrets = app.app.secrets_at(transcript.at);
                verify(manifest.webhook.as_ref(), &secrets, webhook.clone(), at)
            };
            // The app is the one whose secret verifies it; if that was replaced since, the app is unknown.
            let app = apps.iter().find(|app| proves(made_by, app).is_ok());
            if let Some(Err(forged)) = app.map(|app| proves(next, app)) {
                replayed.refuse_webhook(&forged.to_string());
            }
        }
        Ok(replayed)
    }

    /// The operator's origin mapping of the app for which a call was made. A call for an account that was being
    /// connected names no channel, and may have been made for any app of the connector.
    async fn origins_of(&self, transcript: &Transcript) -> Result<Arc<OriginMap>, StoreError> {
        if transcript.call.is_pure() {
            return Ok(Arc::default());
        }
        if let Some(id) = transcript.channel_id {
            let channel = self.core.store().channel_of_any(id).await?;
            let app = match channel {
                Some(channel) => self.apps.get(&channel.app).await?,
                None => None,
            };
            return Ok(app.map(|app| Arc::clone(&app.origins)).unwrap_or_default());
        }
        let apps = self.apps_of(&transcript.connector).await?;
        let maps = apps.iter().flat_map(|app| app.origins.0.clone());
        Ok(Arc::new(OriginMap(maps.collect())))
    }

    /// The apps of a connector.
    async fn apps_of(&self, connector: &str) -> Result<Vec<Arc<Registered>>, StoreError> {
        let mut apps = Vec::new();
        for app in self.core.store().apps().await? {
            if app.connector == connector {
                apps.extend(self.apps.get(&app.name).await?);
            }
        }
        Ok(apps)
    }

    /// A transcript without message content and names. The active version translates a call over which a version
    /// crashed, to find the personal data in it. `None` if no version can.
    pub async fn scrub(&self, transcript: &Transcript) -> Option<Transcript> {
        let read = match (&transcript.end, self.registry.versions(&transcript.connector)) {
            (End::Aborted { .. }, Some(versions)) => {
                let reader = &versions.active;
                let replayed = self
                    .replay_call(&reader.connector, &reader.grants, transcript, None)
                    .await;
                replayed.ok().map(|replayed| replayed.end)
            }
            _ => None,
        };
        transcript.scrubbed(read.as_ref())
    }

    /// Deletes transcripts that are older than the retention period.
    pub(crate) async fn forget_transcripts(&self, before: Timestamp) -> Result<(), StoreError> {
        self.core.store().drop_transcripts(before).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use weir_domain::manifest::Proof;
    use weir_runtime::DifferenceKind;

    use super::*;
    use crate::Host;
    use crate::testing::{webhook, with_echo};

    /// The transcript of a webhook of Echo whose signature is in this header.
    async fn webhook_proven_in(host: &Host, header: &str) -> Transcript {
        let raw = webhook(host, "hello");
        let proof = &raw.headers[0].1;
        let transcript = serde_json::json!({
            "format": weir_runtime::FORMAT, "connector": "echo", "version": "0.0.9", "digest": "", "call": "receive",
            "channel_id": null, "at": host.now(), "state": null, "clock": [], "exchanges": [], "writes": {},
            "asked": { "function": "receive", "with": { "webhook": { "method": "POST", "query": "",
                "headers": [{ "name": header, "value": proof }], "body": String::from_utf8_lossy(&raw.body) } } },
            "end": { "said": {} }, "cost": { "elapsed_us": 0, "peak_memory": 0 },
        });
        Transcript::read(&transcript.to_string()).expect("a transcript")
    }

    #[tokio::test]
    async fn another_proof_of_webhooks_is_found_by_a_replay() {
        let folder = tempfile::TempDir::new().expect("a directory");
        let host = with_echo(&folder).await;
        let serving = host.connectors.serving("echo").await.expect("it serves");
        let now = Manifest::clone(serving.policies.manifest());
        let mut before = now.clone();
        let Some(Proof::Hmac {
            signature, timestamp, ..
        }) = before.webhook.as_mut().map(|webhook| &mut webhook.proof)
        else {
            panic!("Echo signs its webhooks")
        };
        signature.header = "old-signature".to_owned();
        timestamp.as_mut().expect("a time").header = "old-signature".to_owned();
        let refusals = async |header: &str, made_by: &Manifest| {
            let transcript = webhook_proven_in(&host, header).await;
            let replayed = host
                .connectors
                .replay_call(&serving.connector, &serving.grants, &transcript, Some(made_by));
            let differences = replayed.await.expect("a database").differences.into_iter();
            let refusals = differences.filter(|one| one.kind == DifferenceKind::Refusal);
            refusals.filter_map(|one| one.after).collect::<Vec<_>>()
        };
        let found = refusals("old-signature", &before).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["rule"], "webhook_proof");
        let reason = found[0]["reason"].as_str().expect("text");
        assert!(reason.contains("echo-signature"), "{reason}");
        assert_eq!(refusals("echo-signature", &now).await, [serde_json::Value::Null; 0]);
        // A replaced secret verifies nothing, so no result is reported.
        assert_eq!(refusals("nothing", &before).await, [serde_json::Value::Null; 0]);
    }
}
