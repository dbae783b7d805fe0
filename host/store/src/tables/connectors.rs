//! Versions of connectors, and what the operator granted them.

use weir_domain::grant::Grants;
use weir_domain::rollout::{self, Activation};
use weir_domain::time::Timestamp;

use crate::db::{Db, Row, enum_text, get_enum, get_json, get_json_if, get_time, get_time_if, json, params};
use crate::tables::revisions;
use crate::{Result, Revised, Version, VersionChange, VersionFailure, VersionStage};

const VERSION: &str =
    "manifest, digest, size, signature, source, stage, canary, staged_at, changed_at, failure, failed_at";

fn read(row: &Row<'_>) -> Result<Version> {
    Ok(Version {
        manifest: get_json(row, 0, "versions.manifest")?,
        digest: row.get(1)?,
        size: row.get::<i64>(2)?.unsigned_abs(),
        signature: get_json(row, 3, "versions.signature")?,
        source: row.get(4)?,
        stage: get_enum(row, 5, "versions.stage")?,
        canary: get_json_if(row, 6, "versions.canary")?,
        staged_at: get_time(row, 7)?,
        changed_at: get_time(row, 8)?,
        failure: match (row.get(9)?, get_time_if(row, 10)?) {
            (Some(reason), Some(at)) => Some(VersionFailure { reason, at }),
            _ => None,
        },
    })
}

pub(crate) fn one(db: &Db<'_>, connector: &str, version: &str) -> Result<Option<Version>> {
    db.one(
        &format!("SELECT {VERSION} FROM versions WHERE connector = ?1 AND version = ?2"),
        [connector, version],
        read,
    )
}

pub(crate) fn all(db: &Db<'_>) -> Result<Vec<Version>> {
    db.all(
        &format!("SELECT {VERSION} FROM versions ORDER BY connector, release DESC, staged_at DESC, rowid DESC"),
        [],
        read,
    )
}

/// The versions of a connector, newest first.
pub(crate) fn of(db: &Db<'_>, connector: &str) -> Result<Vec<Version>> {
    db.all(
        &format!(
            "SELECT {VERSION} FROM versions WHERE connector = ?1 ORDER BY release DESC, staged_at DESC, rowid DESC"
        ),
        [connector],
        read,
    )
}

/// The newest release of a connector.
pub(crate) fn newest_release(db: &Db<'_>, connector: &str) -> Result<Option<u32>> {
    let newest = db.one(
        "SELECT max(release) FROM versions WHERE connector = ?1",
        [connector],
        |row| row.get(0),
    )?;
    Ok(newest.flatten())
}

/// Writes a version that is new.
pub(crate) fn insert(db: &Db<'_>, version: &Version) -> Result<()> {
    db.write(
        &format!(
            "INSERT INTO versions (connector, version, release, {VERSION})
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, NULL, ?10, ?11, NULL, NULL)"
        ),
        params![
            version.manifest.name,
            version.manifest.version,
            version.manifest.release,
            json(&version.manifest)?,
            version.digest,
            i64::try_from(version.size).unwrap_or(i64::MAX),
            json(&version.signature)?,
            version.source,
            enum_text(version.stage)?,
            version.staged_at.as_millis(),
            version.changed_at.as_millis(),
        ],
    )?;
    Ok(())
}

pub(crate) fn note(
    db: &Db<'_>,
    connector: &str,
    version: &str,
    stage: VersionStage,
    reason: &str,
    rolled_back: Option<bool>,
    now: Timestamp,
) -> Result<()> {
    db.write(
        "INSERT INTO version_changes (connector, version, stage, reason, rolled_back, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![connector, version, enum_text(stage)?, reason, rolled_back, now.as_millis()],
    )?;
    Ok(())
}

/// The newest activations that are read; a rollback never goes further.
const ACTIVATIONS: u32 = 1_000;

pub(crate) fn active_before(db: &Db<'_>, connector: &str) -> Result<Option<String>> {
    let mut line = db.all(
        "SELECT version, rolled_back FROM version_changes WHERE connector = ?1 AND stage = ?2 ORDER BY n DESC LIMIT ?3",
        params![connector, enum_text(VersionStage::Active)?, ACTIVATIONS],
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

pub(crate) fn timeline(db: &Db<'_>, connector: &str, limit: u32) -> Result<Vec<VersionChange>> {
    db.all(
        "SELECT version, stage, reason, at FROM version_changes WHERE connector = ?1 ORDER BY n DESC LIMIT ?2",
        params![connector, limit],
        |row| {
            Ok(VersionChange {
                version: row.get(0)?,
                stage: get_enum(row, 1, "version_changes.stage")?,
                reason: row.get(2)?,
                at: get_time(row, 3)?,
            })
        },
    )
}

pub(crate) fn grants(db: &Db<'_>, connector: &str) -> Result<Grants> {
    let found = db.one("SELECT grants FROM grants WHERE connector = ?1", [connector], |row| {
        get_json(row, 0, "grants.grants")
    })?;
    Ok(found.unwrap_or_default())
}

pub(crate) fn put_grants(db: &Db<'_>, connector: &str, grants: &Grants, now: Timestamp) -> Result<()> {
    db.write(
        "INSERT INTO grants (connector, grants, updated_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (connector) DO UPDATE SET grants = ?2, updated_at = ?3",
        params![connector, json(grants)?, now.as_millis()],
    )?;
    revisions::bump(db, Revised::Connector, connector)
}
