//! Data that hosts cache in memory, and when it last changed.

use crate::Result;
use crate::db::{Db, enum_text, get_enum, params};
use crate::records::{Revised, Revision};

/// The one name of all keys and sessions: a host that serves a session checks whether it was the one that ended.
pub(crate) const ENDED: &str = "ended";

/// Notes a change. Numbers rise over all kinds, so that a follower needs only the last one.
pub(crate) fn bump(db: &Db<'_>, kind: Revised, name: &str) -> Result<()> {
    db.write(
        "INSERT INTO revisions (kind, name, revision)
         SELECT ?1, ?2, coalesce(max(revision), 0) + 1 FROM revisions WHERE true
         ON CONFLICT (kind, name) DO UPDATE SET revision = excluded.revision",
        params![enum_text(kind)?, name],
    )?;
    Ok(())
}

pub(crate) fn after(db: &Db<'_>, revision: i64) -> Result<Vec<Revision>> {
    db.all(
        "SELECT kind, name, revision FROM revisions WHERE revision > ?1 ORDER BY revision",
        [revision],
        |row| {
            Ok(Revision {
                kind: get_enum(row, 0, "revisions.kind")?,
                name: row.get(1)?,
                revision: row.get(2)?,
            })
        },
    )
}
