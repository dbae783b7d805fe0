//! The versions of connectors that each node has loaded.

use crate::Result;
use crate::db::{Db, params};

/// Sets the versions of a connector that a node has loaded.
pub(crate) fn note(db: &Db<'_>, node: &str, connector: &str, versions: &[String]) -> Result<()> {
    db.write(
        "DELETE FROM loaded_versions WHERE (node = ?1 AND connector = ?2)
             OR node NOT IN (SELECT id FROM nodes WHERE ended_at IS NULL)",
        [node, connector],
    )?;
    for version in versions {
        db.write(
            "INSERT INTO loaded_versions (node, connector, version) VALUES (?1, ?2, ?3)",
            params![node, connector, version],
        )?;
    }
    Ok(())
}

/// The other living nodes that have not loaded a version.
pub(crate) fn nodes_without(db: &Db<'_>, connector: &str, version: &str, but: &str) -> Result<Vec<String>> {
    db.all(
        "SELECT n.id FROM nodes n WHERE n.ended_at IS NULL AND n.id <> ?3 AND NOT EXISTS
             (SELECT 1 FROM loaded_versions l WHERE l.node = n.id AND l.connector = ?1 AND l.version = ?2)
         ORDER BY n.id",
        [connector, version, but],
        |row| row.get(0),
    )
}
