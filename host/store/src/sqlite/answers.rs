//! Answers kept under idempotency keys. Old ones go as new ones come.

use rusqlite::params;
use weir_domain::limits;
use weir_domain::time::Timestamp;

use crate::sqlite::db::Db;
use crate::{KeptAnswer, Result};

/// Old answers that go with each new one: more than come, so that they do not gather.
const FORGET: u32 = 4;

pub(super) fn kept(db: &Db<'_>, workspace: &str, key: &str, now: Timestamp) -> Result<Option<KeptAnswer>> {
    db.one(
        "SELECT fingerprint, status, body FROM idempotency WHERE workspace_id = ?1 AND key = ?2 AND kept_at > ?3",
        params![workspace, key, now.before(limits::IDEMPOTENCY).as_millis()],
        |row| {
            Ok(KeptAnswer {
                fingerprint: row.get(0)?,
                status: row.get(1)?,
                body: row.get(2)?,
            })
        },
    )
}

pub(super) fn keep(db: &Db<'_>, workspace: &str, key: &str, answer: &KeptAnswer, now: Timestamp) -> Result<()> {
    let old = now.before(limits::IDEMPOTENCY).as_millis();
    db.run(
        "DELETE FROM idempotency WHERE rowid IN
             (SELECT rowid FROM idempotency WHERE kept_at <= ?1 ORDER BY kept_at LIMIT ?2)",
        params![old, FORGET],
    )?;
    db.run(
        "INSERT INTO idempotency (workspace_id, key, fingerprint, status, body, kept_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (workspace_id, key) DO UPDATE SET fingerprint = ?3, status = ?4, body = ?5, kept_at = ?6
             WHERE kept_at <= ?7",
        params![
            workspace,
            key,
            answer.fingerprint,
            answer.status,
            answer.body,
            now.as_millis(),
            old,
        ],
    )?;
    Ok(())
}
