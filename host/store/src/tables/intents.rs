//! Version changes in progress, and the states as they were before them.

use weir_domain::id::ChannelId;
use weir_domain::rollout::Intent;

use crate::db::{Db, enum_text, get_enum, get_json_if, get_time, json, json_if, key, params};
use crate::tables::revisions;
use crate::tables::state::State;
use crate::{Result, Revised};

/// Begins a change that `node` carries out. Returns false if one is in progress.
pub(crate) fn begin(db: &Db<'_>, connector: &str, intent: &Intent, node: &str) -> Result<bool> {
    let written = db.run(
        "INSERT INTO version_intents (connector, act, version, taker, before, canary, failed, reason, begun_at, node)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (connector) DO NOTHING",
        params![
            connector,
            enum_text(intent.act)?,
            intent.version,
            intent.taker,
            intent.before,
            json_if(intent.canary.as_ref())?,
            intent.failed,
            intent.reason,
            intent.begun_at.as_millis(),
            node
        ],
    )?;
    // The other nodes load the version before it serves.
    revisions::bump(db, Revised::Connector, connector)?;
    Ok(written > 0)
}

/// Whether changes are in progress that no living node carries out.
pub(crate) fn has_orphans(db: &Db<'_>) -> Result<bool> {
    db.exists(
        "SELECT 1 FROM version_intents
         WHERE node IS NULL OR node NOT IN (SELECT id FROM nodes WHERE ended_at IS NULL) LIMIT 1",
        [],
    )
}

/// Assigns those changes to `node`.
pub(crate) fn adopt(db: &Db<'_>, node: &str) -> Result<()> {
    db.write(
        "UPDATE version_intents SET node = ?1
         WHERE node IS NULL OR node NOT IN (SELECT id FROM nodes WHERE ended_at IS NULL)",
        [node],
    )?;
    Ok(())
}

/// The changes in progress that `node` carries out.
pub(crate) fn open(db: &Db<'_>, node: &str) -> Result<Vec<(String, Intent)>> {
    db.all(
        "SELECT connector, act, version, taker, before, canary, failed, reason, begun_at FROM version_intents
         WHERE node = ?1 ORDER BY connector",
        [node],
        |row| {
            let intent = Intent {
                act: get_enum(row, 1, "version_intents.act")?,
                version: row.get(2)?,
                taker: row.get(3)?,
                before: row.get(4)?,
                canary: get_json_if(row, 5, "version_intents.canary")?,
                failed: row.get(6)?,
                reason: row.get(7)?,
                begun_at: get_time(row, 8)?,
            };
            Ok((row.get(0)?, intent))
        },
    )
}

/// The connectors with a change in progress, and the versions that take over states by it.
pub(crate) fn takers(db: &Db<'_>) -> Result<Vec<(String, String)>> {
    db.all(
        "SELECT connector, taker FROM version_intents ORDER BY connector",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Ends the change: the states that it moved stay moved.
pub(crate) fn end(db: &Db<'_>, connector: &str) -> Result<()> {
    db.write("DELETE FROM version_intents WHERE connector = ?1", [connector])?;
    db.write("DELETE FROM moved_states WHERE connector = ?1", [connector])?;
    Ok(())
}

/// Must be called before a state moves: during a change, stores the state and its owner. The first move of a state
/// counts.
pub(crate) fn keep_moved(db: &Db<'_>, connector: &str, id: ChannelId, was: &State) -> Result<()> {
    if !db.exists("SELECT 1 FROM version_intents WHERE connector = ?1", [connector])? {
        return Ok(());
    }
    db.write(
        "INSERT INTO moved_states (channel_id, connector, state, version, copy_version, copy, reason)
         SELECT channel_id, connector, ?2, version, copy_version, copy, reason FROM state_owners WHERE channel_id = ?1
         ON CONFLICT (channel_id) DO NOTHING",
        params![key(id), json(was)?],
    )?;
    Ok(())
}
