//! Moves a database to another engine or place, table by table, while no host uses either.
//!
//! The target is marked as being filled from the first row on, and cannot be used until all of it was compared with the
//! source. Then the source is marked as moved, and the target's mark is removed. If the move is interrupted before, a
//! second run starts over.

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::Serialize;
use weir_domain::id::Mint;
use weir_domain::time::Timestamp;

use crate::bulk::{self, Bulk, OF_RECORD, TABLES};
use crate::db::Db;
use crate::meta::{self, End, Mark, mark, remove_mark, set_mark, was_moved};
use crate::postgres::{must_be_there, on_own_thread};
use crate::vault::{MasterKey, Vault};
use crate::{PostgresStore, Result, StoreError, kill_point, sqlite};

/// The location of a database, or of one to be created.
#[derive(Clone, Debug)]
pub enum Location {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A `postgres://` URL.
    Postgres(String),
}

/// The progress of a move, for people who wait.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The operation on the table.
    pub act: Act,
    /// The table.
    pub table: &'static str,
    /// The table's number, from 1.
    pub number: usize,
    /// The number of tables.
    pub of: usize,
    /// Rows of all tables so far.
    pub rows: u64,
}

/// The operation on a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Its rows are written.
    Copy,
    /// Its rows are read again, and compared with the source.
    Verify,
}

/// A completed move.
#[derive(Clone, Debug)]
pub struct Moved {
    /// The old location, without a password.
    pub from: String,
    /// The new location, without a password.
    pub to: String,
    /// Its tables.
    pub tables: Vec<MovedTable>,
}

/// A table that is the same in both databases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MovedTable {
    /// Its name.
    pub table: &'static str,
    /// The number of its rows.
    pub rows: u64,
    /// The SHA-256 of each row, added up modulo 2^256, in hexadecimal.
    pub digest: String,
}

/// Whether a host ever used the database: the first one stores the key check.
pub(crate) fn is_used(db: &Db<'_>) -> Result<bool> {
    db.exists(&format!("SELECT 1 FROM meta WHERE {OF_RECORD}"), [])
}

/// Moves the database at `from` to `to`, which must be empty. No host may use either: the caller holds the locks of the
/// data directories, the databases are locked here. Both must be sealed with `key`. Blocks.
///
/// # Errors
/// One sentence with the reason. The source is unchanged, except that its schema is migrated, as a start does.
pub fn move_record(
    from: &Location,
    to: &Location,
    key: &MasterKey,
    mint: &Mint,
    now: Timestamp,
    progress: &mut (dyn FnMut(&Progress) + Send),
) -> Result<Moved> {
    // On its own thread: the caller's may belong to an async runtime, which must not be blocked.
    on_own_thread(|| {
        let vault = Vault::new(key);
        let source = from.open_source()?;
        let with = |bulk| db(bulk, &vault, mint);
        let marked = match mark(&with(&*source))? {
            Some(Mark::Moved(end)) => Some(end),
            _ => {
                meta::check_move(&with(&*source))?;
                None
            }
        };
        meta::check_reseal(&with(&*source))?;
        meta::check_key(&with(&*source))?;
        let target = to.open_target(&vault, mint)?;
        let filling = match mark(&with(&*target))? {
            Some(Mark::Filling(end)) => Some(end),
            _ => None,
        };
        let id = match (marked, filling) {
            (None, _) => new_id(mint),
            // It was interrupted between the two marks.
            (Some(moved), Some(filling)) if moved.id == filling.id => moved.id,
            (Some(moved), _) => return Err(was_moved(&moved)),
        };
        let end = |place: &Location| End {
            id: id.clone(),
            place: place.to_string(),
            at: now.as_millis(),
        };
        set_mark(&with(&*target), &Mark::Filling(end(from)))?;
        kill_point("move.begun");
        target.clear()?;
        source.begin()?;
        let tables = copy(&*source, &*target, &with(&*target), progress)?;
        source.commit()?;
        if source.is_shared()? {
            return Err(StoreError::Unavailable {
                reason: "a Weir host used the source meanwhile; stop all of them, and run `weir move` again".to_owned(),
            });
        }
        kill_point("move.verified");
        set_mark(&with(&*source), &Mark::Moved(end(to)))?;
        kill_point("move.marked");
        remove_mark(&with(&*target))?;
        Ok(Moved {
            from: from.to_string(),
            to: to.to_string(),
            tables,
        })
    })
}

/// Copies every table, then reads them all again and compares.
fn copy(
    source: &dyn Bulk,
    target: &dyn Bulk,
    to: &Db<'_>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<MovedTable>> {
    let (mut rows, mut tallies) = (0, Vec::with_capacity(TABLES.len()));
    let mut say = |act, at: usize, rows| {
        progress(&Progress {
            act,
            table: TABLES[at],
            number: at + 1,
            of: TABLES.len(),
            rows,
        });
    };
    for (at, table) in TABLES.into_iter().enumerate() {
        let columns = bulk::shared_columns(source, target, table)?;
        let tally = bulk::copy(source, to, target, table, &columns, &mut |copied| {
            say(Act::Copy, at, rows + copied);
        })?;
        rows += tally.rows;
        tallies.push((columns, tally));
        kill_point(&format!("move.{table}"));
    }
    rows = 0;
    let mut tables = Vec::with_capacity(TABLES.len());
    for ((at, table), (columns, copied)) in TABLES.into_iter().enumerate().zip(tallies) {
        target.begin()?;
        let found = bulk::tally(target, table, &columns)?;
        target.commit()?;
        if found != copied {
            return Err(StoreError::Database(format!(
                "the table {table} differs after it was copied ({} rows, {} expected): do not use the target, and report this",
                found.rows, copied.rows
            )));
        }
        rows += found.rows;
        say(Act::Verify, at, rows);
        tables.push(MovedTable {
            table,
            rows: found.rows,
            digest: hex::encode(found.digest),
        });
    }
    Ok(tables)
}

/// Allows hosts to use the database at `at` again although it was moved: it lacks what was written since. Returns false
/// if it was not moved. Blocks.
///
/// # Errors
/// A move to it is incomplete, or it cannot be opened.
pub fn reopen(at: &Location, key: &MasterKey, mint: &Mint) -> Result<bool> {
    on_own_thread(|| {
        let vault = Vault::new(key);
        let source = at.open_source()?;
        let db = db(&*source, &vault, mint);
        if !matches!(mark(&db)?, Some(Mark::Moved(_))) {
            meta::check_move(&db)?;
            return Ok(false);
        }
        meta::check_key(&db)?;
        remove_mark(&db)?;
        Ok(true)
    })
}

impl Location {
    /// Opens an existing database exclusively.
    fn open_source(&self) -> Result<Box<dyn Bulk>> {
        match self {
            Self::Sqlite(path) if !path.is_file() => Err(StoreError::Schema(format!(
                "{} does not exist; set WEIR_DATA to the data directory, or WEIR_STORE to the database",
                path.display()
            ))),
            Self::Sqlite(path) => Ok(Box::new(sqlite::connect(path)?)),
            Self::Postgres(url) => Ok(Box::new(PostgresStore::open_alone(url, must_be_there)?)),
        }
    }

    /// Opens an empty or partly filled database exclusively, and migrates its schema.
    fn open_target(&self, vault: &Vault, mint: &Mint) -> Result<Box<dyn Bulk>> {
        let is_free = |bulk: &dyn Bulk| {
            let db = db(bulk, vault, mint);
            if is_used(&db)? && !matches!(mark(&db)?, Some(Mark::Filling(_))) {
                return Err(not_empty(self));
            }
            Ok(())
        };
        match self {
            Self::Sqlite(path) => {
                if path.is_file()
                    && let Some(connection) = sqlite::lookup(path)?
                {
                    is_free(&connection)?;
                }
                let connection = sqlite::connect(path)?;
                // Rows are deleted in any order.
                connection.pragma_update(None, "foreign_keys", false)?;
                Ok(Box::new(connection))
            }
            Self::Postgres(url) => Ok(Box::new(PostgresStore::open_alone(url, |made, connection| {
                if made == 0 { Ok(()) } else { is_free(connection) }
            })?)),
        }
    }
}

fn not_empty(place: &Location) -> StoreError {
    StoreError::Schema(match place {
        Location::Sqlite(path) => format!(
            "{} contains a Weir database already; rename or delete it with the files next to it (weir.db-wal, weir.db-shm), or name another \
             directory",
            path.display()
        ),
        Location::Postgres(_) => {
            format!(
                "{place} contains a Weir database already; create a new database with `createdb`, or name another one"
            )
        }
    })
}

impl std::fmt::Display for Location {
    /// Without a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "{}", path.display()),
            Self::Postgres(url) => f.write_str(&PostgresStore::place(url)),
        }
    }
}

fn db<'d>(bulk: &'d dyn Bulk, vault: &'d Vault, mint: &'d Mint) -> Db<'d> {
    Db {
        driver: bulk.driver(),
        vault,
        mint,
    }
}

fn new_id(mint: &Mint) -> String {
    let mut id = [0; 16];
    mint.fill(&mut id);
    hex::encode(id)
}
