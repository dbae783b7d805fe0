//! Loads a connector's versions, and applies decisions on their stages.

use weir_domain::caller::OPERATORS_WORKSPACE;
use weir_domain::event::{ConnectorVersionEventData, EventType, SignatureEventData};
use weir_domain::record::About;
use weir_domain::record::versions::{KnownVersion, StageChange, Unchanged, VersionDecision, decide};
use weir_domain::rollout::{Canary, VersionAct};
use weir_domain::time::Timestamp;

use crate::acts::events;
use crate::db::{Db, enum_text, json_if, params};
use crate::tables::{canary_runs, components, connectors, intents, revisions, state};
use crate::{NewVersion, Result, Retirement, Revised, StageError, Version, VersionFailure, VersionStage};

/// Stages a new version.
pub(crate) fn stage(db: &Db<'_>, new: NewVersion, now: Timestamp) -> Result<Version, StageError> {
    let (connector, version) = (&new.manifest.name, &new.manifest.version);
    if let Some(there) = connectors::one(db, connector, version)? {
        if there.digest == new.digest {
            // A repeated installation may be a repair of lost bytes.
            components::put(db, &new.digest, &new.component)?;
            revisions::bump(db, Revised::Connector, connector)?;
            return Ok(there);
        }
        return Err(StageError::Taken {
            connector: connector.clone(),
            version: version.clone(),
            digest: there.digest,
        });
    }
    let newest = connectors::newest_release(db, connector)?;
    if let Some(newest) = newest.filter(|newest| new.manifest.release < *newest)
        && !new.allow_downgrade
    {
        return Err(StageError::Downgrade {
            connector: connector.clone(),
            wanted: new.manifest.release,
            newest,
        });
    }
    let staged = Version {
        manifest: new.manifest,
        digest: new.digest,
        size: new.component.len() as u64,
        signature: new.signature,
        source: new.source,
        stage: VersionStage::Staged,
        canary: None,
        staged_at: now,
        changed_at: now,
        failure: None,
    };
    components::put(db, &staged.digest, &new.component)?;
    connectors::insert(db, &staged)?;
    connectors::note(
        db,
        &staged.manifest.name,
        &staged.manifest.version,
        VersionStage::Staged,
        "",
        None,
        now,
    )?;
    emit(db, &staged, EventType::ConnectorStaged, "", now)?;
    Ok(staged)
}

/// Ends the stored intent of the connector, and makes a version the active one. `None` if the version does not exist.
pub(crate) fn activate(
    db: &Db<'_>,
    connector: &str,
    version: &str,
    act: VersionAct,
    reason: &str,
    now: Timestamp,
) -> Result<Option<Version>> {
    let activate = VersionDecision::Activate {
        act,
        reason: reason.to_owned(),
    };
    intents::end(db, connector)?;
    Ok(there(change(db, connector, version, activate, now)?))
}

/// Ends the stored intent of the connector, and makes a version the canary. `None` if the version does not exist.
pub(crate) fn begin_canary(
    db: &Db<'_>,
    connector: &str,
    version: &str,
    canary: Canary,
    now: Timestamp,
) -> Result<Option<Version>> {
    intents::end(db, connector)?;
    let begin = VersionDecision::BeginCanary(canary);
    Ok(there(change(db, connector, version, begin, now)?))
}

/// Ends the stored intent of the connector, and a version's canary run. `None` if it is not a canary.
pub(crate) fn end_canary(
    db: &Db<'_>,
    connector: &str,
    version: &str,
    reason: &str,
    failed: bool,
    now: Timestamp,
) -> Result<Option<Version>> {
    intents::end(db, connector)?;
    let reason = reason.to_owned();
    let end = VersionDecision::EndCanary { reason, failed };
    Ok(there(change(db, connector, version, end, now)?))
}

/// Retires a version that serves no account.
pub(crate) fn retire(db: &Db<'_>, connector: &str, version: &str, now: Timestamp) -> Result<Retirement> {
    Ok(match change(db, connector, version, VersionDecision::Retire, now)? {
        (Some(version), Ok(()) | Err(Unchanged::Already)) => Retirement::Retired(Box::new(version)),
        (_, Err(Unchanged::Serves)) => Retirement::Serves,
        (_, Err(Unchanged::Owns(accounts))) => Retirement::Owns(accounts),
        (None, _) | (_, Err(Unchanged::NotFound)) => Retirement::NotFound,
    })
}

/// Quarantines a version. `None` if the version does not exist.
pub(crate) fn quarantine(
    db: &Db<'_>,
    connector: &str,
    version: &str,
    reason: &str,
    now: Timestamp,
) -> Result<Option<Version>> {
    let reason = reason.to_owned();
    let quarantine = VersionDecision::Quarantine { reason };
    Ok(there(change(db, connector, version, quarantine, now)?))
}

/// A version, and whether anything changed.
type Outcome = (Option<Version>, Result<(), Unchanged>);

fn there(outcome: Outcome) -> Option<Version> {
    match outcome {
        (version, Ok(()) | Err(Unchanged::Already)) => version,
        _ => None,
    }
}

fn change(db: &Db<'_>, connector: &str, number: &str, decision: VersionDecision, now: Timestamp) -> Result<Outcome> {
    let mut versions = connectors::of(db, connector)?;
    let owned = state::owned(db, connector)?;
    let known: Vec<_> = versions
        .iter()
        .map(|version| KnownVersion {
            number: version.manifest.version.clone(),
            digest: version.digest.clone(),
            stage: version.stage,
            owns: owned.get(&version.manifest.version).copied().unwrap_or(0),
        })
        .collect();
    let outcome = match decide(&known, number, decision) {
        Err(unchanged) => Err(unchanged),
        Ok(changes) => {
            for change in changes {
                let changed = versions
                    .iter_mut()
                    .find(|version| version.manifest.version == change.number);
                if let Some(version) = changed {
                    apply(db, version, change, now)?;
                }
            }
            Ok(())
        }
    };
    let version = versions.into_iter().find(|version| version.manifest.version == number);
    Ok((version, outcome))
}

/// Writes a version's next stage, its entry in the timeline and its event. Updates `version`.
fn apply(db: &Db<'_>, version: &mut Version, change: StageChange, now: Timestamp) -> Result<()> {
    let (connector, number) = (&version.manifest.name, &version.manifest.version);
    let failure = change.is_failure.then(|| VersionFailure {
        reason: change.reason.clone(),
        at: now,
    });
    db.write(
        "UPDATE versions SET stage = ?3, canary = ?4, changed_at = ?5, failure = coalesce(?6, failure),
             failed_at = coalesce(?7, failed_at) WHERE connector = ?1 AND version = ?2",
        params![
            connector,
            number,
            enum_text(change.stage)?,
            json_if(change.canary.as_ref())?,
            now.as_millis(),
            failure.as_ref().map(|failure| &failure.reason),
            failure.as_ref().map(|failure| failure.at.as_millis()),
        ],
    )?;
    if let Some(canary) = &change.canary {
        canary_runs::begin(db, connector, number, canary)?;
    }
    if let Some(reason) = &change.run_ended {
        canary_runs::end(db, connector, number, reason, now)?;
    }
    connectors::note(
        db,
        connector,
        number,
        change.stage,
        &change.reason,
        change.rolled_back,
        now,
    )?;
    revisions::bump(db, Revised::Connector, connector)?;
    version.stage = change.stage;
    version.canary = change.canary;
    version.changed_at = now;
    if failure.is_some() {
        version.failure = failure;
    }
    match change.event {
        Some(kind) => emit(db, version, kind, &change.reason, now),
        None => Ok(()),
    }
}

fn emit(db: &Db<'_>, version: &Version, kind: EventType, reason: &str, now: Timestamp) -> Result<()> {
    let data = ConnectorVersionEventData {
        name: version.manifest.name.clone(),
        version: version.manifest.version.clone(),
        release: version.manifest.release,
        digest: version.digest.clone(),
        state: version.stage,
        signature: SignatureEventData {
            status: version.signature.status.clone(),
            key: version.signature.key.clone(),
        },
        reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()),
        percent: version.canary.as_ref().map(|canary| canary.percent),
    };
    // Connectors belong to the host and not to a tenant.
    events::append(db, &About::workspace(OPERATORS_WORKSPACE), kind, &data, now)?;
    Ok(())
}
