//! The steps of the schema, and the migration of an older database to the newest.
//!
//! A migration is atomic: it is one transaction, and a database that cannot be migrated is rejected unchanged. The
//! first step was changed in place before it was frozen, so a database with version 1 may have an older form of it:
//! [`repair`] compares it with the frozen form and fixes the differences before the second step is applied.

use std::collections::BTreeMap;

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use crate::tables::seen;
use crate::{Result, StoreError, kill_point};

/// The first step. Frozen: a test checks its digest.
const FIRST: &str = include_str!("../../migrations/sqlite/0001_first.sql");
/// Each step, in order; the database's `user_version` is the number of applied steps. A released step never changes.
const STEPS: &[&str] = &[
    FIRST,
    include_str!("../../migrations/sqlite/0002_second.sql"),
    include_str!("../../migrations/sqlite/0003_third.sql"),
    include_str!("../../migrations/sqlite/0004_nodes.sql"),
];

/// The number of the newest schema.
pub(super) const NEWEST: i64 = STEPS.len() as i64;

/// Values for columns that are added to a table. Columns that are nullable, or have a correct default, need none.
const BACKFILL: &[(&str, &str, &str)] = &[
    (
        "audit",
        "at",
        "CAST(round(unixepoch(json_extract(audit.entry, '$.at'), 'subsec') * 1000) AS INTEGER)",
    ),
    (
        "refusals",
        "at",
        "CAST(round(unixepoch(json_extract(refusals.refusal, '$.at'), 'subsec') * 1000) AS INTEGER)",
    ),
    ("turns", "app", "(SELECT c.app FROM channels c WHERE c.id = turns.channel_id)"),
    // The value for endpoints from before they could be rate-limited: the default of the API.
    ("endpoints", "max_in_flight", "8"),
    // The time when a key was seen is unknown: the latest possible is used, so that no key is deleted too early.
    (
        "seen",
        "span",
        "coalesce((SELECT e.at FROM events e ORDER BY e.sequence DESC LIMIT 1), 0) / 604800000",
    ),
    ("referrals", "prefilled_text", "json_extract(referrals.referral, '$.prefilled_text')"),
    (
        "conversations",
        "unread",
        "(SELECT count(*) FROM messages m WHERE m.conversation_id = conversations.id AND m.direction = 'inbound'
            AND m.sequence > coalesce((SELECT max(o.sequence) FROM messages o
                WHERE o.conversation_id = conversations.id AND o.direction = 'outbound'), 0))",
    ),
    (
        "conversations",
        "replied",
        "EXISTS (SELECT 1 FROM messages m WHERE m.conversation_id = conversations.id AND m.direction = 'inbound'
            AND m.sequence > (SELECT min(o.sequence) FROM messages o
                WHERE o.conversation_id = conversations.id AND o.direction = 'outbound'))",
    ),
    // Windows that may be open are processed once, which sets their next time. Windows that closed long ago are not
    // reported.
    (
        "conversations",
        "news_at",
        "CASE WHEN conversations.contact_wrote_at > (SELECT e.at FROM events e ORDER BY e.sequence DESC LIMIT 1) - 172800000
            THEN conversations.contact_wrote_at END",
    ),
];

/// Checks that the file is empty or a database that this Weir knows. Changes nothing.
///
/// # Errors
/// [`StoreError::Schema`] when it was written by a newer Weir, or by another program.
pub(super) fn admit(connection: &Connection) -> Result<()> {
    match number(connection)? {
        0 if !Form::of(connection)?.tables.is_empty() => {
            Err(StoreError::Schema("it is a database of another program".to_owned()))
        }
        0..=NEWEST => Ok(()),
        found => Err(StoreError::Schema(format!(
            "it was written by a newer Weir (its schema is {found}, this one knows {NEWEST}); start that version, or restore a \
             backup that was made before the upgrade"
        ))),
    }
}

/// Documents that gained members together with a column: their values in a table without that column.
const REWRITE: &[(&str, &str, &str, &str)] = &[(
    "refusals",
    "refusal",
    "at",
    "json_insert(refusals.refusal, '$.whom', coalesce(json_extract(refusals.refusal, '$.channel_id'), ''),
        '$.changes', '', '$.remedy', '')",
)];

/// Applies the missing steps to a database that passed [`admit`].
///
/// # Errors
/// [`StoreError::Schema`] when it has a form that cannot be migrated.
pub(super) fn migrate(connection: &mut Connection) -> Result<()> {
    let found = number(connection)?;
    if found == NEWEST {
        return Ok(());
    }
    // Rebuilding a table must not delete the rows that reference it (sqlite.org/lang_altertable.html, section 7).
    // Inside a transaction the pragma has no effect.
    connection.pragma_update(None, "foreign_keys", false)?;
    let made = steps(connection, found);
    connection.pragma_update(None, "foreign_keys", true)?;
    if made.is_ok() && found > 0 {
        tracing::info!("The database was migrated from schema {found} to {NEWEST}");
    }
    made
}

/// The schema number of the database at `path`, for read-only callers.
pub(super) fn number_of(path: &std::path::Path) -> Result<i64> {
    number(&Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?)
}

fn number(connection: &Connection) -> Result<i64> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

fn steps(connection: &mut Connection, found: i64) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match found {
        0 => transaction.execute_batch(FIRST)?,
        1 => repair(&transaction).map_err(|error| match error {
            // A row violates the frozen form.
            StoreError::Database(reason) => cannot(&reason),
            error => error,
        })?,
        _ => {}
    }
    if found == 1 {
        digest_seen(&transaction)?;
        kill_point("migration.repaired");
    }
    let made = usize::try_from(found).unwrap_or(0).max(1);
    for step in STEPS.iter().skip(made) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", NEWEST)?;
    kill_point("migration.made");
    transaction.commit()?;
    kill_point("migration.committed");
    Ok(())
}

fn cannot(reason: &str) -> StoreError {
    StoreError::Schema(format!(
        "its form cannot be migrated: {reason}; nothing was changed, so the Weir that wrote it still opens it"
    ))
}

/// Migrates a database with any form of the first step to the frozen form.
fn repair(connection: &Connection) -> Result<()> {
    let found = Form::of(connection)?;
    let frozen = Connection::open_in_memory()?;
    frozen.execute_batch(FIRST)?;
    let wanted = Form::of(&frozen)?;
    if let Some(name) = found.tables.keys().find(|name| !wanted.tables.contains_key(*name)) {
        return Err(cannot(&format!("no form of schema 1 has a table {name}")));
    }
    for (name, sql) in &wanted.tables {
        match found.tables.get(name) {
            None => connection.execute_batch(sql)?,
            Some(found) if plain(found) == plain(sql) => {}
            Some(_) => rebuild(connection, name, sql, &columns(&frozen, name)?)?,
        }
    }
    // Rebuilding a table dropped its indexes.
    let kept = Form::of(connection)?.indexes;
    for (name, sql) in &wanted.indexes {
        match kept.get(name) {
            Some(found) if plain(found) == plain(sql) => {}
            _ => connection.execute_batch(&format!("DROP INDEX IF EXISTS {name}; {sql}"))?,
        }
    }
    Ok(())
}

/// Copies the rows of a table into a new one that `sql` defines.
fn rebuild(connection: &Connection, table: &str, sql: &str, wanted: &[Column]) -> Result<()> {
    let found = columns(connection, table)?;
    let has = |among: &[Column], name: &str| among.iter().any(|column| column.name == name);
    if let Some(extra) = found.iter().find(|column| !has(wanted, &column.name)) {
        return Err(cannot(&format!(
            "no form of schema 1 has a column {table}.{}",
            extra.name
        )));
    }
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for column in wanted {
        let backfill = BACKFILL
            .iter()
            .find(|known| (known.0, known.1) == (table, &column.name));
        let rewrite = REWRITE
            .iter()
            .find(|known| (known.0, known.1) == (table, &column.name) && !has(&found, known.2));
        match (rewrite, backfill) {
            (Some((.., value)), _) => values.push((*value).to_owned()),
            _ if has(&found, &column.name) => values.push(column.name.clone()),
            (None, Some((.., value))) => values.push((*value).to_owned()),
            (None, None) if column.may_be_left_out => continue,
            (None, None) => return Err(cannot(&format!("{table}.{} is missing", column.name))),
        }
        names.push(column.name.clone());
    }
    let next = sql.replacen(
        &format!("CREATE TABLE {table}"),
        &format!("CREATE TABLE next_{table}"),
        1,
    );
    let (names, values) = (names.join(", "), values.join(", "));
    Ok(connection.execute_batch(&format!(
        "{next};
         INSERT INTO next_{table} ({names}) SELECT {values} FROM {table};
         DROP TABLE {table};
         ALTER TABLE next_{table} RENAME TO {table};",
    ))?)
}

/// The tables and indexes of a database, by name, each with the statement that created it.
#[derive(Debug, PartialEq, Eq)]
struct Form {
    tables: BTreeMap<String, String>,
    indexes: BTreeMap<String, String>,
}

impl Form {
    fn of(connection: &Connection) -> Result<Self> {
        // SQLite's own tables, and indexes of constraints, have no statement.
        let of = |kind: &str| -> Result<BTreeMap<String, String>> {
            let mut statement = connection.prepare(
                "SELECT name, sql FROM sqlite_schema WHERE type = ?1 AND name NOT LIKE 'sqlite!_%' ESCAPE '!' AND sql IS NOT NULL",
            )?;
            let rows = statement.query_map([kind], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        };
        Ok(Self {
            tables: of("table")?,
            indexes: of("index")?,
        })
    }
}

struct Column {
    name: String,
    /// It is nullable, or has a default.
    may_be_left_out: bool,
}

fn columns(connection: &Connection, table: &str) -> Result<Vec<Column>> {
    let mut statement =
        connection.prepare("SELECT name, \"notnull\" = 0 OR dflt_value IS NOT NULL FROM pragma_table_info(?1)")?;
    let rows = statement.query_map([table], |row| {
        Ok(Column {
            name: row.get(0)?,
            may_be_left_out: row.get(1)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A statement without insignificant text: comments, line ends, and the quotes that a renaming puts around a name.
fn plain(sql: &str) -> String {
    let words = sql
        .lines()
        .map(|line| line.split_once("--").map_or(line, |(code, _)| code));
    let words = words.flat_map(str::split_whitespace).collect::<Vec<_>>();
    words.join(" ").replace('"', "")
}

/// Replaces keys as schema 1 stored them by their digests.
fn digest_seen(connection: &Connection) -> Result<()> {
    connection.execute_batch("CREATE TABLE plain AS SELECT span, channel_id, key FROM seen; DELETE FROM seen")?;
    let mut read = connection.prepare("SELECT span, channel_id, key FROM plain")?;
    let mut write = connection.prepare("INSERT INTO seen (span, channel_id, key) VALUES (?1, ?2, ?3)")?;
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        let (span, channel, fact): (i64, Vec<u8>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        write.execute(params![span, channel, seen::digest(&fact)])?;
    }
    drop(rows);
    drop(read);
    Ok(connection.execute_batch("DROP TABLE plain")?)
}

#[cfg(test)]
mod tests;
