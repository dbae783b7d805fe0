//! Transcripts of calls: a ring for each connector.

use weir_domain::id::TranscriptId;
use weir_domain::time::Timestamp;

use crate::db::{Db, Row, get_id, get_id_if, get_time, key, params};
use crate::{Result, TranscriptFilter, TranscriptRecord};

const HEAD: &str = "id, connector, version, call, channel_id, broke_off, at";

fn read(row: &Row<'_>) -> Result<TranscriptRecord> {
    Ok(TranscriptRecord {
        id: get_id(row, 0)?,
        connector: row.get(1)?,
        version: row.get(2)?,
        call: row.get(3)?,
        channel_id: get_id_if(row, 4)?,
        crashed: row.get(5)?,
        at: get_time(row, 6)?,
        json: row.get(7)?,
    })
}

/// Stores a transcript, and deletes the connector's oldest beyond the bound.
pub(crate) fn keep(db: &Db<'_>, record: &TranscriptRecord, ring: u32) -> Result<()> {
    db.write(
        &format!("INSERT INTO transcripts ({HEAD}, transcript) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"),
        params![
            key(record.id),
            record.connector,
            record.version,
            record.call,
            record.channel_id.map(key),
            record.crashed,
            record.at.as_millis(),
            record.json,
        ],
    )?;
    db.write(
        "DELETE FROM transcripts WHERE connector = ?1 AND n <=
             (SELECT n FROM transcripts WHERE connector = ?1 ORDER BY n DESC LIMIT 1 OFFSET ?2)",
        params![record.connector, ring],
    )?;
    Ok(())
}

pub(crate) fn list(db: &Db<'_>, connector: &str, filter: &TranscriptFilter) -> Result<Vec<TranscriptRecord>> {
    let whole = if filter.whole { "transcript" } else { "''" };
    db.all(
        &format!(
            "SELECT {HEAD}, {whole} FROM transcripts
             WHERE connector = ?1 AND (?2 IS NULL OR version = ?2) AND (?3 IS NULL OR call = ?3)
               AND (?4 = 0 OR broke_off = 1) ORDER BY n DESC LIMIT ?5"
        ),
        params![connector, filter.version, filter.call, filter.crashed, filter.limit],
        read,
    )
}

pub(crate) fn one(db: &Db<'_>, connector: &str, id: TranscriptId) -> Result<Option<TranscriptRecord>> {
    db.one(
        &format!("SELECT {HEAD}, transcript FROM transcripts WHERE connector = ?1 AND id = ?2"),
        params![connector, key(id)],
        read,
    )
}

/// Deletes older transcripts, of one connector or of all; returns their number.
pub(crate) fn drop_before(db: &Db<'_>, before: Timestamp) -> Result<u64> {
    Ok(db.run("DELETE FROM transcripts WHERE at < ?1", params![before.as_millis()])? as u64)
}
