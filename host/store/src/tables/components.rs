//! The bytes of components, under their digests.

use bytes::Bytes;

use crate::Result;
use crate::db::{Db, params};

pub(crate) fn one(db: &Db<'_>, digest: &str) -> Result<Option<Bytes>> {
    let bytes = db.one("SELECT bytes FROM components WHERE digest = ?1", [digest], |row| {
        row.get::<Vec<u8>>(0)
    })?;
    Ok(bytes.map(Bytes::from))
}

/// The digests of versions without a stored component: they were installed before the database stored components.
pub(crate) fn missing(db: &Db<'_>) -> Result<Vec<String>> {
    db.all(
        "SELECT DISTINCT digest FROM versions v
         WHERE NOT EXISTS (SELECT 1 FROM components c WHERE c.digest = v.digest) ORDER BY digest",
        [],
        |row| row.get(0),
    )
}

/// Stores a component's bytes. Identical bytes, some megabytes, are not written again.
pub(crate) fn put(db: &Db<'_>, digest: &str, bytes: &[u8]) -> Result<()> {
    db.write(
        "INSERT INTO components (digest, bytes) VALUES (?1, ?2)
         ON CONFLICT (digest) DO UPDATE SET bytes = excluded.bytes WHERE components.bytes <> excluded.bytes",
        params![digest, bytes],
    )?;
    Ok(())
}
