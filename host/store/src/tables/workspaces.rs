//! Workspaces.
//!
//! Removal sets one mark: from then on nothing of the workspace is found, its keys are invalid, and nothing can be
//! added. The mark is the intent: [`clearing`](crate::acts::clearing) deletes the rest, and the mark last.

use weir_domain::time::Timestamp;
use weir_domain::workspace::{self, Workspace};

use crate::db::{Db, Row, get_time, params};
use crate::tables::revisions;
use crate::{RemoveWorkspaceError, Result, Revised, StoreError};

fn read(row: &Row<'_>) -> Result<Workspace> {
    Ok(Workspace {
        id: row.get(0)?,
        created_at: get_time(row, 1)?,
    })
}

/// Returns false if a workspace of this name exists or is being removed.
pub(crate) fn insert(db: &Db<'_>, new: &Workspace) -> Result<bool> {
    let made = db.run(
        "INSERT INTO workspaces (id, created_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        params![new.id, new.created_at.as_millis()],
    )?;
    Ok(made > 0)
}

pub(crate) fn all(db: &Db<'_>) -> Result<Vec<Workspace>> {
    db.all(
        "SELECT id, created_at FROM workspaces WHERE removed_at IS NULL ORDER BY id",
        [],
        read,
    )
}

pub(crate) fn one(db: &Db<'_>, id: &str) -> Result<Option<Workspace>> {
    db.one(
        "SELECT id, created_at FROM workspaces WHERE id = ?1 AND removed_at IS NULL",
        [id],
        read,
    )
}

/// Rejects a write to a workspace that is being removed: its rows would be left over.
pub(crate) fn needs_open(db: &Db<'_>, id: &str) -> Result<()> {
    let removed = db.one(
        "SELECT removed_at IS NOT NULL FROM workspaces WHERE id = ?1",
        [id],
        |row| row.get(0),
    )?;
    if removed == Some(true) {
        return Err(StoreError::Unavailable {
            reason: format!("the workspace {id:?} is being removed"),
        });
    }
    Ok(())
}

fn channels(db: &Db<'_>, id: &str) -> Result<u32> {
    let count = db.one(
        "SELECT count(*) FROM channels WHERE workspace_id = ?1 AND status <> 'deleted'",
        [id],
        |row| row.get(0),
    )?;
    Ok(count.unwrap_or(0))
}

pub(crate) fn remove(db: &Db<'_>, id: &str, now: Timestamp) -> Result<bool, RemoveWorkspaceError> {
    if one(db, id)?.is_none() {
        return Ok(false);
    }
    workspace::may_remove(id, channels(db, id)?)?;
    db.write(
        "UPDATE workspaces SET removed_at = ?2 WHERE id = ?1",
        params![id, now.as_millis()],
    )?;
    db.write(
        "UPDATE keys SET revoked_at = ?2 WHERE workspace_id = ?1 AND revoked_at IS NULL",
        params![id, now.as_millis()],
    )?;
    for sql in [
        "DELETE FROM sessions WHERE key_id IN (SELECT id FROM keys WHERE workspace_id = ?1)",
        "DELETE FROM endpoint_recoveries WHERE endpoint_id IN (SELECT id FROM endpoints WHERE workspace_id = ?1)",
        "DELETE FROM endpoints WHERE workspace_id = ?1",
    ] {
        db.write(sql, [id])?;
    }
    revisions::bump(db, Revised::Keys, revisions::ENDED)?;
    for app in db.all("SELECT name FROM apps WHERE workspace_id = ?1", [id], |row| {
        row.get::<String>(0)
    })? {
        revisions::bump(db, Revised::App, &app)?;
    }
    Ok(true)
}
