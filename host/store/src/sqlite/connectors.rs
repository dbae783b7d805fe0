//! Versions of connectors, and what the operator granted them.

use rusqlite::{Row, params};
use weir_domain::caller::OPERATORS_WORKSPACE;
use weir_domain::event::EventType;
use weir_domain::grant::Grants;
use weir_domain::record::About;
use weir_domain::rollout::{self, Activation, Canary, VersionAct};
use weir_domain::time::Timestamp;

use crate::sqlite::db::{Db, get_json, get_json_if, get_time, get_time_if, get_word, json, json_if, word};
use crate::sqlite::events;
use crate::sqlite::{intents, state, trials};
use crate::{
    NewVersion, Result, Retirement, StageError, StoreError, Version, VersionChange, VersionFailure, VersionStage,
};

const VERSION: &str =
    "manifest, digest, size, signature, source, stage, canary, staged_at, changed_at, failure, failed_at";

fn read(row: &Row<'_>) -> rusqlite::Result<Version> {
    Ok(Version {
        manifest: get_json(row, 0, "versions.manifest")?,
        digest: row.get(1)?,
        size: row.get::<_, i64>(2)?.unsigned_abs(),
        signature: get_json(row, 3, "versions.signature")?,
        source: row.get(4)?,
        stage: get_word(row, 5, "versions.stage")?,
        canary: get_json_if(row, 6, "versions.canary")?,
        staged_at: get_time(row, 7)?,
        changed_at: get_time(row, 8)?,
        failure: match (row.get(9)?, get_time_if(row, 10)?) {
            (Some(reason), Some(at)) => Some(VersionFailure { reason, at }),
            _ => None,
        },
    })
}

pub(super) fn one(db: &Db<'_>, connector: &str, version: &str) -> Result<Option<Version>> {
    db.one(
        &format!("SELECT {VERSION} FROM versions WHERE connector = ?1 AND version = ?2"),
        [connector, version],
        read,
    )
}

pub(super) fn all(db: &Db<'_>) -> Result<Vec<Version>> {
    db.all(
        &format!("SELECT {VERSION} FROM versions ORDER BY connector, release DESC, staged_at DESC, rowid DESC"),
        [],
        read,
    )
}

pub(super) fn stage(db: &Db<'_>, new: NewVersion, now: Timestamp) -> Result<Version, StageError> {
    let (connector, version) = (&new.manifest.name, &new.manifest.version);
    if let Some(there) = one(db, connector, version)? {
        if there.digest == new.digest {
            return Ok(there);
        }
        return Err(StageError::Taken {
            connector: connector.clone(),
            version: version.clone(),
            digest: there.digest,
        });
    }
    let newest: Option<u32> = db
        .one(
            "SELECT max(release) FROM versions WHERE connector = ?1",
            [connector],
            |row| row.get(0),
        )?
        .flatten();
    if let Some(newest) = newest.filter(|newest| new.manifest.release < *newest)
        && !new.allow_downgrade
    {
        return Err(StageError::Downgrade {
            connector: connector.clone(),
            wanted: new.manifest.release,
            newest,
        });
    }
    db.run(
        &format!(
            "INSERT INTO versions (connector, version, release, {VERSION})
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, NULL, ?10, ?10, NULL, NULL)"
        ),
        params![
            connector,
            version,
            new.manifest.release,
            json(&new.manifest)?,
            new.digest,
            i64::try_from(new.size).unwrap_or(i64::MAX),
            json(&new.signature)?,
            new.source,
            word(VersionStage::Staged)?,
            now.as_millis(),
        ],
    )?;
    let staged = Version {
        manifest: new.manifest,
        digest: new.digest,
        size: new.size,
        signature: new.signature,
        source: new.source,
        stage: VersionStage::Staged,
        canary: None,
        staged_at: now,
        changed_at: now,
        failure: None,
    };
    note(
        db,
        &staged.manifest.name,
        &staged.manifest.version,
        VersionStage::Staged,
        "",
        None,
        now,
    )?;
    tell(db, &staged, EventType::ConnectorStaged, "", now)?;
    Ok(staged)
}

/// Puts a version at a stage, with its place in the timeline. A trial that it is on ends, unless it goes on.
fn put(
    db: &Db<'_>,
    found: Version,
    stage: VersionStage,
    canary: Option<Canary>,
    reason: &str,
    now: Timestamp,
) -> Result<Version> {
    let (connector, version) = (&found.manifest.name, &found.manifest.version);
    db.run(
        "UPDATE versions SET stage = ?3, canary = ?4, changed_at = ?5 WHERE connector = ?1 AND version = ?2",
        params![
            connector,
            version,
            word(stage)?,
            json_if(canary.as_ref())?,
            now.as_millis()
        ],
    )?;
    match &canary {
        Some(canary) => trials::begin(db, connector, version, canary)?,
        None if stage == VersionStage::Active => trials::end(db, connector, version, "it was promoted", now)?,
        None => trials::end(db, connector, version, reason, now)?,
    }
    note(db, connector, version, stage, reason, None, now)?;
    Ok(Version {
        stage,
        canary,
        changed_at: now,
        ..found
    })
}

fn note(
    db: &Db<'_>,
    connector: &str,
    version: &str,
    stage: VersionStage,
    reason: &str,
    rolled_back: Option<bool>,
    now: Timestamp,
) -> Result<()> {
    db.run(
        "INSERT INTO version_changes (connector, version, stage, reason, rolled_back, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![connector, version, word(stage)?, reason, rolled_back, now.as_millis()],
    )?;
    Ok(())
}

/// Marks a version by what it did wrong.
fn mark(db: &Db<'_>, found: Version, reason: &str, now: Timestamp) -> Result<Version> {
    db.run(
        "UPDATE versions SET failure = ?3, failed_at = ?4 WHERE connector = ?1 AND version = ?2",
        params![found.manifest.name, found.manifest.version, reason, now.as_millis()],
    )?;
    let failure = Some(VersionFailure {
        reason: reason.to_owned(),
        at: now,
    });
    Ok(Version { failure, ..found })
}

/// The newest activations are read; nobody rolls back further.
const ACTIVATIONS: u32 = 1_000;

pub(super) fn active_before(db: &Db<'_>, connector: &str) -> Result<Option<String>> {
    let mut line = db.all(
        "SELECT version, rolled_back FROM version_changes WHERE connector = ?1 AND stage = ?2 ORDER BY n DESC LIMIT ?3",
        params![connector, word(VersionStage::Active)?, ACTIVATIONS],
        |row| {
            Ok(Activation {
                version: row.get(0)?,
                rolled_back: row.get(1)?,
            })
        },
    )?;
    line.reverse();
    Ok(rollout::active_before(&line).map(str::to_owned))
}

pub(super) fn timeline(db: &Db<'_>, connector: &str, limit: u32) -> Result<Vec<VersionChange>> {
    db.all(
        "SELECT version, stage, reason, at FROM version_changes WHERE connector = ?1 ORDER BY n DESC LIMIT ?2",
        params![connector, limit],
        |row| {
            Ok(VersionChange {
                version: row.get(0)?,
                stage: get_word(row, 1, "version_changes.stage")?,
                reason: row.get(2)?,
                at: get_time(row, 3)?,
            })
        },
    )
}

fn at_stage(db: &Db<'_>, connector: &str, stage: VersionStage) -> Result<Option<Version>> {
    db.one(
        &format!("SELECT {VERSION} FROM versions WHERE connector = ?1 AND stage = ?2"),
        params![connector, word(stage)?],
        read,
    )
}

pub(super) fn activate(
    db: &Db<'_>,
    connector: &str,
    version: &str,
    reason: &str,
    now: Timestamp,
) -> Result<Option<Version>> {
    let act = intents::act(db, connector)?;
    intents::end(db, connector)?;
    let Some(found) = one(db, connector, version)? else {
        return Ok(None);
    };
    if found.stage == VersionStage::Active {
        return Ok(Some(found));
    }
    if let Some(before) = at_stage(db, connector, VersionStage::Active)? {
        put(db, before, VersionStage::Draining, None, "", now)?;
    }
    // The trial of another ends with it: the states are all the active version's.
    if let Some(other) = at_stage(db, connector, VersionStage::Canary)?
        && other.digest != found.digest
    {
        let words = format!("{version} became the active version");
        let other = leave_trial(db, other, &words, now)?;
        tell(db, &other, EventType::ConnectorRolledBack, &words, now)?;
    }
    // A version that served before comes back: that is the way back, and not a step ahead.
    let served = matches!(found.stage, VersionStage::Retired | VersionStage::Draining);
    let rolled_back = act.map(|act| act == VersionAct::RollBack);
    let kind = if rolled_back == Some(true) || served {
        EventType::ConnectorRolledBack
    } else {
        EventType::ConnectorPromoted
    };
    let active = put(db, found, VersionStage::Active, None, reason, now)?;
    db.run(
        "UPDATE version_changes SET rolled_back = ?2
         WHERE n = (SELECT max(n) FROM version_changes WHERE connector = ?1)",
        params![connector, rolled_back],
    )?;
    tell(db, &active, kind, reason, now)?;
    Ok(Some(active))
}

/// A version whose trial ends: it drains while accounts are its own.
fn leave_trial(db: &Db<'_>, found: Version, reason: &str, now: Timestamp) -> Result<Version> {
    let owns = state::owned(db, &found.manifest.name, &found.manifest.version)? > 0;
    let stage = if owns {
        VersionStage::Draining
    } else {
        VersionStage::Staged
    };
    put(db, found, stage, None, reason, now)
}

pub(super) fn begin_canary(
    db: &Db<'_>,
    connector: &str,
    version: &str,
    canary: Canary,
    now: Timestamp,
) -> Result<Option<Version>> {
    intents::end(db, connector)?;
    let Some(found) = one(db, connector, version)? else {
        return Ok(None);
    };
    if let Some(other) = at_stage(db, connector, VersionStage::Canary)?
        && other.digest != found.digest
    {
        let words = "another version is on trial";
        let other = leave_trial(db, other, words, now)?;
        tell(db, &other, EventType::ConnectorRolledBack, words, now)?;
    }
    let percent = canary.percent;
    let words = format!("serves {percent} of 100 accounts");
    let on_trial = put(db, found, VersionStage::Canary, Some(canary), &words, now)?;
    tell(db, &on_trial, EventType::ConnectorCanary, &words, now)?;
    Ok(Some(on_trial))
}

pub(super) fn end_canary(
    db: &Db<'_>,
    connector: &str,
    version: &str,
    reason: &str,
    failed: bool,
    now: Timestamp,
) -> Result<Option<Version>> {
    intents::end(db, connector)?;
    let Some(found) = one(db, connector, version)?.filter(|found| found.stage == VersionStage::Canary) else {
        return Ok(None);
    };
    let mut back = leave_trial(db, found, reason, now)?;
    if failed {
        back = mark(db, back, reason, now)?;
    }
    tell(db, &back, EventType::ConnectorRolledBack, reason, now)?;
    Ok(Some(back))
}

pub(super) fn retire(db: &Db<'_>, connector: &str, version: &str, now: Timestamp) -> Result<Retirement> {
    let Some(found) = one(db, connector, version)? else {
        return Ok(Retirement::NotFound);
    };
    if matches!(found.stage, VersionStage::Active | VersionStage::Canary) {
        return Ok(Retirement::Serves);
    }
    match state::owned(db, connector, version)? {
        0 if found.stage == VersionStage::Retired => Ok(Retirement::Retired(Box::new(found))),
        0 => {
            let retired = put(db, found, VersionStage::Retired, None, "", now)?;
            Ok(Retirement::Retired(Box::new(retired)))
        }
        accounts => Ok(Retirement::Owns(accounts)),
    }
}

pub(super) fn quarantine(
    db: &Db<'_>,
    connector: &str,
    version: &str,
    reason: &str,
    now: Timestamp,
) -> Result<Option<Version>> {
    let Some(found) = one(db, connector, version)? else {
        return Ok(None);
    };
    if found.stage == VersionStage::Quarantined {
        return Ok(Some(found));
    }
    let aside = put(db, found, VersionStage::Quarantined, None, reason, now)?;
    let aside = mark(db, aside, reason, now)?;
    tell(db, &aside, EventType::ConnectorQuarantined, reason, now)?;
    Ok(Some(aside))
}

fn tell(db: &Db<'_>, version: &Version, kind: EventType, reason: &str, now: Timestamp) -> Result<(), StoreError> {
    let mut data = told_of(version);
    if !reason.is_empty() {
        data["reason"] = reason.into();
    }
    if let Some(canary) = &version.canary {
        data["percent"] = canary.percent.into();
    }
    // Connectors belong to the host and not to a tenant.
    events::append(db, &About::workspace(OPERATORS_WORKSPACE), kind, &data, now)?;
    Ok(())
}

fn told_of(version: &Version) -> serde_json::Value {
    serde_json::json!({
        "name": version.manifest.name,
        "version": version.manifest.version,
        "release": version.manifest.release,
        "digest": version.digest,
        "state": version.stage,
        "signature": { "status": version.signature.status, "key": version.signature.key },
    })
}

pub(super) fn grants(db: &Db<'_>, connector: &str) -> Result<Grants> {
    let found = db.one("SELECT grants FROM grants WHERE connector = ?1", [connector], |row| {
        get_json(row, 0, "grants.grants")
    })?;
    Ok(found.unwrap_or_default())
}

pub(super) fn put_grants(db: &Db<'_>, connector: &str, grants: &Grants, now: Timestamp) -> Result<()> {
    db.run(
        "INSERT INTO grants (connector, grants, updated_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (connector) DO UPDATE SET grants = ?2, updated_at = ?3",
        params![connector, json(grants)?, now.as_millis()],
    )?;
    Ok(())
}
