//! Versions of connectors, and what the operator granted them.

use rusqlite::{Row, params};
use weir_domain::event::EventType;
use weir_domain::grant::Grants;
use weir_domain::time::Timestamp;

use crate::sqlite::db::{Db, get_json, get_time, get_word, json, word};
use crate::sqlite::events::{self, About};
use crate::{NewVersion, Result, StageError, StoreError, Version, VersionStage};

/// Connectors belong to the host and not to a tenant; their events are told in the workspace that is always there.
const WORKSPACE: &str = "default";

const VERSION: &str = "manifest, digest, size, signature, stage, staged_at, changed_at";

fn read(row: &Row<'_>) -> rusqlite::Result<Version> {
    Ok(Version {
        manifest: get_json(row, 0, "versions.manifest")?,
        digest: row.get(1)?,
        size: row.get::<_, i64>(2)?.unsigned_abs(),
        signature: get_json(row, 3, "versions.signature")?,
        stage: get_word(row, 4, "versions.stage")?,
        staged_at: get_time(row, 5)?,
        changed_at: get_time(row, 6)?,
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
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)"
        ),
        params![
            connector,
            version,
            new.manifest.release,
            json(&new.manifest)?,
            new.digest,
            i64::try_from(new.size).unwrap_or(i64::MAX),
            json(&new.signature)?,
            word(VersionStage::Staged)?,
            now.as_millis(),
        ],
    )?;
    let staged = Version {
        manifest: new.manifest,
        digest: new.digest,
        size: new.size,
        signature: new.signature,
        stage: VersionStage::Staged,
        staged_at: now,
        changed_at: now,
    };
    tell(db, &staged, EventType::ConnectorStaged, now)?;
    Ok(staged)
}

pub(super) fn activate(db: &Db<'_>, connector: &str, version: &str, now: Timestamp) -> Result<Option<Version>> {
    let Some(found) = one(db, connector, version)? else {
        return Ok(None);
    };
    if found.stage == VersionStage::Active {
        return Ok(Some(found));
    }
    db.run(
        "UPDATE versions SET stage = 'retired', changed_at = ?2 WHERE connector = ?1 AND stage = 'active'",
        params![connector, now.as_millis()],
    )?;
    db.run(
        "UPDATE versions SET stage = 'active', changed_at = ?3 WHERE connector = ?1 AND version = ?2",
        params![connector, version, now.as_millis()],
    )?;
    // A version that served before comes back: that is the way back, and not a step ahead.
    let kind = match found.stage {
        VersionStage::Retired | VersionStage::Draining => EventType::ConnectorRolledBack,
        _ => EventType::ConnectorPromoted,
    };
    let active = Version {
        stage: VersionStage::Active,
        changed_at: now,
        ..found
    };
    tell(db, &active, kind, now)?;
    Ok(Some(active))
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
    db.run(
        "UPDATE versions SET stage = 'quarantined', changed_at = ?3 WHERE connector = ?1 AND version = ?2",
        params![connector, version, now.as_millis()],
    )?;
    let aside = Version {
        stage: VersionStage::Quarantined,
        changed_at: now,
        ..found
    };
    let mut data = told_of(&aside);
    data["reason"] = reason.into();
    events::append(
        db,
        About::workspace(WORKSPACE),
        EventType::ConnectorQuarantined,
        data,
        now,
    )?;
    Ok(Some(aside))
}

fn tell(db: &Db<'_>, version: &Version, kind: EventType, now: Timestamp) -> Result<(), StoreError> {
    events::append(db, About::workspace(WORKSPACE), kind, told_of(version), now)?;
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
