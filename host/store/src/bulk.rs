//! Whole tables, whatever their contents: for copying a database from one engine to another.

use sha2::{Digest, Sha256};

use crate::db::{Cell, Db, Driver, Kind, Row, Value};
use crate::{Result, StoreError};

/// Every table of the database. A table comes after those that it references, and `removed_events` before `events`,
/// whose deletion it notes.
pub(crate) const TABLES: [&str; 55] = [
    "meta",
    "workspaces",
    "nodes",
    "duties",
    "keys",
    "sessions",
    "apps",
    "platform_clocks",
    "rates",
    "revisions",
    "components",
    "versions",
    "version_changes",
    "version_intents",
    "grants",
    "trials",
    "trial_figures",
    "crashes",
    "loaded_versions",
    "transcripts",
    "connect_sessions",
    "channels",
    "credentials",
    "state",
    "state_owners",
    "moved_states",
    "history_gaps",
    "turns",
    "work",
    "contacts",
    "conversations",
    "authors",
    "sent_uploads",
    "seen",
    "early_receipts",
    "referrals",
    "messages",
    "outbox",
    "attempts",
    "media",
    "media_bytes",
    "files_to_remove",
    "removed_events",
    "events",
    "endpoints",
    "endpoint_recoveries",
    "deliveries",
    "delivery_attempts",
    "dead_letters",
    "dead_letter_counts",
    "refusals",
    "refusal_counts",
    "audit",
    "claims",
    "erasures",
];

/// Tables whose rows are read in insertion order: by a column in PostgreSQL, by the row id in SQLite.
pub(crate) const IN_ORDER: [&str; 3] = ["versions", "refusals", "claims"];

/// The columns that an engine numbers.
pub(crate) const NUMBERED: [(&str, &str); 13] = [
    ("versions", "rowid"),
    ("version_changes", "n"),
    ("transcripts", "n"),
    ("outbox", "n"),
    ("events", "sequence"),
    ("deliveries", "n"),
    ("dead_letters", "n"),
    ("refusals", "rowid"),
    ("audit", "n"),
    ("claims", "rowid"),
    ("removed_events", "sequence"),
    ("erasures", "n"),
    ("messages", "n"),
];

/// The rows of `meta` that are copied. Its other rows concern one database: whether deleted rows left remains in the
/// file, which host used it before schema 4, and the marks of [`moving`](crate::moving).
pub(crate) const OF_RECORD: &str = "name NOT IN ('clean', 'host', 'move')";

/// Rows of one statement: the most that [`Db::insert_all`] combines.
const ROWS: usize = 64;
/// Bytes after which a statement ends with fewer rows; a row has at most about one MiB.
const BYTES: usize = 1 << 20;
/// Rows of one transaction: few commits, and no transaction that would fill an engine's log.
const COMMIT_EVERY: u64 = 64 * 64;

/// A column as an engine describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// A connection with exclusive use of the database, for reading and writing whole tables.
pub(crate) trait Bulk {
    fn driver(&self) -> &dyn Driver;
    /// The columns of a table, by name, with SQLite's row id where it matters.
    fn columns(&self, table: &str) -> Result<Vec<Column>>;
    /// Begins a transaction on one snapshot of the database.
    fn begin(&self) -> Result<()>;
    fn commit(&self) -> Result<()>;
    /// Whether hosts use the database. For a file, the lock on its directory excludes them.
    fn is_shared(&self) -> Result<bool>;
    /// Reads the results of a query in pieces, however many they are. `name` is unique to the query. Requires a
    /// transaction.
    fn scan(&self, name: &str, query: &str, read: &mut dyn FnMut(&Row<'_>) -> Result<()>) -> Result<()>;
    /// Deletes all rows of [`TABLES`], except those of `meta` that are not [`OF_RECORD`].
    fn clear(&self) -> Result<()>;
    /// The clause before `VALUES` that allows explicit values for numbered columns.
    fn own_numbers(&self) -> &'static str;
    /// The last number assigned in a column; `None` if that is the greatest in the table.
    fn last_number(&self, table: &str, column: &str) -> Result<Option<i64>>;
    /// Sets the last number assigned.
    fn set_last_number(&self, table: &str, column: &str, last: i64) -> Result<()>;
}

/// The number of rows of a table, and a digest of them: the SHA-256 of each, added up modulo 2^256, so that their order
/// does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) rows: u64,
    pub(crate) digest: [u8; 32],
}

impl Tally {
    fn add(&mut self, columns: &[Column], row: &[Value]) {
        let mut hash = Sha256::new();
        let mut part = |kind: u8, bytes: &[u8]| {
            hash.update([kind]);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        for (column, value) in columns.iter().zip(row) {
            part(0, column.name.as_bytes());
            match value {
                Value::Null(_) => part(1, &[]),
                Value::Integer(value) => part(2, &value.to_be_bytes()),
                Value::Text(text) => part(3, text.as_bytes()),
                Value::Id(id) => part(4, id),
                Value::Blob(bytes) => part(4, bytes),
            }
        }
        let mut carry = 0;
        for (sum, byte) in self.digest.iter_mut().zip(hash.finalize()).rev() {
            let added = u16::from(*sum) + u16::from(byte) + carry;
            *sum = added.to_be_bytes()[1];
            carry = added >> 8;
        }
        self.rows += 1;
    }
}

/// The columns of a table, which must be the same in both databases.
pub(crate) fn shared_columns(one: &dyn Bulk, other: &dyn Bulk, table: &str) -> Result<Vec<Column>> {
    let (columns, others) = (one.columns(table)?, other.columns(table)?);
    if columns.is_empty() || columns != others {
        return Err(StoreError::Schema(format!(
            "the table {table} differs between the two databases"
        )));
    }
    Ok(columns)
}

/// Copies a table into an empty one, in transactions of its own, and reports the number of rows after each piece.
pub(crate) fn copy(
    from: &dyn Bulk,
    to: &Db<'_>,
    into: &dyn Bulk,
    table: &str,
    columns: &[Column],
    copied: &mut dyn FnMut(u64),
) -> Result<Tally> {
    let names = names(columns);
    let head = format!("INSERT INTO {table} ({names})") + into.own_numbers();
    let (mut tally, mut waiting, mut bytes, mut committed) = (Tally::default(), Vec::with_capacity(ROWS), 0, 0);
    into.begin()?;
    read(from, table, columns, &mut |row, size| {
        tally.add(columns, &row);
        waiting.push(row);
        bytes += size;
        if waiting.len() == ROWS || bytes >= BYTES {
            to.insert_all(&head, &waiting)?;
            waiting.clear();
            bytes = 0;
            if tally.rows - committed >= COMMIT_EVERY {
                into.commit()?;
                into.begin()?;
                committed = tally.rows;
            }
            copied(tally.rows);
        }
        Ok(())
    })?;
    to.insert_all(&head, &waiting)?;
    for (_, column) in NUMBERED.iter().filter(|(numbered, _)| *numbered == table) {
        if let Some(last) = from.last_number(table, column)?.max(greatest(to, table, column)?) {
            into.set_last_number(table, column, last)?;
        }
    }
    into.commit()?;
    copied(tally.rows);
    Ok(tally)
}

/// Computes the tally of a table.
pub(crate) fn tally(of: &dyn Bulk, table: &str, columns: &[Column]) -> Result<Tally> {
    let mut tally = Tally::default();
    read(of, table, columns, &mut |row, _| {
        tally.add(columns, &row);
        Ok(())
    })?;
    Ok(tally)
}

fn read(
    from: &dyn Bulk,
    table: &str,
    columns: &[Column],
    take: &mut dyn FnMut(Vec<Value>, usize) -> Result<()>,
) -> Result<()> {
    let (names, of) = (names(columns), if table == "meta" { OF_RECORD } else { "TRUE" });
    from.scan(table, &format!("SELECT {names} FROM {table} WHERE {of}"), &mut |row| {
        let mut size = 0;
        let mut values = Vec::with_capacity(columns.len());
        for (at, column) in columns.iter().enumerate() {
            let (value, bytes) = value(row.0.cell(at)?, column.kind).map_err(|reason| StoreError::Damaged {
                place: format!("{table}.{}", column.name),
                reason,
            })?;
            values.push(value);
            size += bytes;
        }
        take(values, size)
    })
}

/// The value of a column, and its size.
fn value(cell: Cell<'_>, kind: Kind) -> std::result::Result<(Value, usize), String> {
    match (cell, kind) {
        (Cell::Null, kind) => Ok((Value::Null(kind), 0)),
        (Cell::Integer(value), Kind::Integer) => Ok((Value::Integer(value), 8)),
        (Cell::Text(bytes), Kind::Text) => {
            let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
            if text.contains('\0') {
                return Err("it contains a NUL character, which PostgreSQL cannot store; remove that first".to_owned());
            }
            Ok((Value::Text(text.to_owned()), bytes.len()))
        }
        (Cell::Blob(bytes), Kind::Blob) => Ok((Value::Blob(bytes.to_vec()), bytes.len())),
        _ => Err("it contains a value of another type".to_owned()),
    }
}

/// `"a", "b"`: quoted, since one is named `end`.
fn names(columns: &[Column]) -> String {
    let quoted: Vec<String> = columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
    quoted.join(", ")
}

fn greatest(db: &Db<'_>, table: &str, column: &str) -> Result<Option<i64>> {
    let named = column;
    Ok(db
        .one(&format!("SELECT max({named}) FROM {table}"), [], |row| row.get(0))?
        .flatten())
}
