//! Crashes of versions, as each node saw them.

use weir_domain::limits;
use weir_domain::time::Timestamp;

use crate::db::{Db, get_time, params};
use crate::{Result, VersionCrash};

/// Stores crashes that a node saw, and deletes those that no longer count.
pub(crate) fn note(db: &Db<'_>, node: &str, crashes: &[VersionCrash], now: Timestamp) -> Result<()> {
    db.write(
        "DELETE FROM crashes WHERE at < ?1",
        [now.before(10 * limits::CRASH_SPAN).as_millis()],
    )?;
    for crash in crashes {
        db.write(
            "INSERT INTO crashes (connector, version, node, number, at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (node, number) DO NOTHING",
            params![crash.connector, crash.version, node, crash.number, crash.at.as_millis()],
        )?;
    }
    Ok(())
}

/// The crashes that other nodes saw and that still count, oldest first, each with its node. Crashes before the last
/// change of the version's stage do not count: they caused it, or were known to the person who made it, so a version
/// that was promoted again starts without them.
pub(crate) fn of_others(db: &Db<'_>, node: &str, now: Timestamp) -> Result<Vec<(String, VersionCrash)>> {
    db.all(
        "SELECT node, connector, version, number, at FROM crashes c WHERE node <> ?1 AND at > ?2
             AND NOT EXISTS (SELECT 1 FROM versions v
                 WHERE v.connector = c.connector AND v.version = c.version AND v.changed_at > c.at)
         ORDER BY at, node, number",
        params![node, now.before(limits::CRASH_SPAN).as_millis()],
        |row| {
            let crash = VersionCrash {
                connector: row.get(1)?,
                version: row.get(2)?,
                number: row.get(3)?,
                at: get_time(row, 4)?,
            };
            Ok((row.get(0)?, crash))
        },
    )
}
