//! The SQLite store: one file, one writer with group commit, a few readers, write-ahead log, `synchronous=FULL`.
//!
//! When a write returns, it is on the disk. A full disk or a lock is [`StoreError::Unavailable`] and temporary; a row
//! that cannot be read is [`StoreError::Damaged`] and affects no other row.

mod bulk;
mod driver;
mod readers;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::watch;
use weir_domain::id::Mint;
use weir_domain::limits;

use crate::db::Db;
use crate::engine::Engine;
use crate::group::Shared;
use crate::vault::{MasterKey, Vault};
use crate::{Result, StoreError, kill_point, meta, reseal};
use readers::Readers;
use writer::Writer;

/// The oldest supported SQLite: in older ones, a checkpoint concurrent with a write could lose that write
/// (sqlite.org/wal.html, "The WAL-Reset Bug").
const OLDEST: i32 = 3_051_003;
/// How long a statement waits for another process's lock. Only a person's tool can hold one; the writes behind it wait
/// too.
const BUSY: Duration = Duration::from_millis(250);
/// Page cache of the writer, in KiB: the hot ends of the tables and their indexes.
const WRITER_CACHE_KIB: i64 = 32 << 10;
/// Page cache of each reader, in KiB.
const READER_CACHE_KIB: i64 = 4 << 10;
/// Statements that each connection keeps prepared: more than exist, so that none is prepared twice.
const STATEMENTS: usize = 512;

/// The SQLite store.
pub struct SqliteStore {
    writer: Arc<Writer>,
    readers: Readers,
    path: PathBuf,
}

impl SqliteStore {
    /// Opens the database at `path`, creates it if it does not exist, and migrates its schema. `mint` generates ids and
    /// nonces.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be opened, [`StoreError::Schema`] when it was written by a
    /// newer Weir or cannot be migrated, [`StoreError::WrongKey`] when it was sealed with another key,
    /// [`StoreError::Damaged`] when it is not a database, [`StoreError::Database`] when SQLite is too old.
    pub fn open(path: impl AsRef<Path>, key: &MasterKey, mint: Arc<Mint>) -> Result<Self> {
        Self::open_with(path.as_ref(), key, mint, |_| Ok(()))
    }

    fn open_with(
        path: &Path,
        key: &MasterKey,
        mint: Arc<Mint>,
        arrange: impl FnOnce(&mut Connection) -> rusqlite::Result<()>,
    ) -> Result<Self> {
        let vault = Arc::new(Vault::new(key));
        let mut connection = connect(path)?;
        arrange(&mut connection)?;
        meta::admit(&Db {
            driver: &connection,
            vault: &vault,
            mint: &mint,
        })?;
        let readers = (0..limits::READERS)
            .map(|_| {
                let reader = Connection::open_with_flags(path, OpenFlags::default())?;
                prepare(&reader, READER_CACHE_KIB)?;
                reader.pragma_update(None, "query_only", true)?;
                Ok(reader)
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            readers: Readers::new(readers, Arc::clone(&vault), Arc::clone(&mint)),
            writer: Arc::new(Writer::start(connection, vault, mint)?),
            path: path.to_owned(),
        })
    }

    /// The schema numbers of the database at `path`, and of the newest that this Weir knows. Changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be opened, [`StoreError::Damaged`] when it is not a database.
    pub fn schema_of(path: &Path) -> Result<(i64, i64)> {
        Ok((schema::number_of(path)?, schema::NEWEST))
    }

    /// The number of committed transactions since the start: writes that share one are counted once.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    /// The number of writes that wait for the writer; at [`limits::WRITE_QUEUE`] further ones are refused.
    pub fn writes_waiting(&self) -> usize {
        self.writer.waiting()
    }

    /// Writes a consistent copy of the database at `path` to `to`, which must not exist yet. A host may use the
    /// database: it continues to read and write meanwhile. Secrets stay sealed in the copy. Blocks until it is on the
    /// disk.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when either file cannot be opened or the disk is full, [`StoreError::Database`] when
    /// `to` exists already.
    pub fn copy_of(path: &Path, to: &Path) -> Result<()> {
        let source = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        prepare(&source, READER_CACHE_KIB)?;
        // The copy is made in a read transaction, which blocks no writer (sqlite.org/lang_vacuum.html, VACUUM INTO).
        source.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
        Ok(())
    }

    /// Reseals all sealed values of the database at `path` from the key `from` to the key `to`, in one transaction;
    /// returns their number, or 0 if that was done already. No host may use the database. Nothing sealed with
    /// `from` is left in the file.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`] when neither key opens the database, [`StoreError::Unavailable`] when it cannot be
    /// written.
    pub fn reseal(path: &Path, from: &MasterKey, to: &MasterKey, mint: &Mint) -> Result<u64> {
        let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        prepare(&connection, WRITER_CACHE_KIB)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Old values are overwritten (sqlite.org/pragma.html, secure_delete), and the log is truncated below.
        connection.pragma_update_and_check(None, "secure_delete", true, |row| row.get::<_, i64>(0))?;
        let (from, to) = (Vault::new(from), Vault::new(to));
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let with = |vault| Db {
            driver: &*transaction,
            vault,
            mint,
        };
        meta::check_move(&with(&from))?;
        if meta::check_key(&with(&to)).is_ok() {
            return Ok(0);
        }
        meta::check_key(&with(&from))?;
        let count = reseal::all(&to, |step| step(&with(&from)))?;
        meta::finish_reseal(&with(&from), &to)?;
        transaction.commit()?;
        connection.pragma_update_and_check(None, "wal_checkpoint", "TRUNCATE", |_| Ok(()))?;
        Ok(count)
    }
}

impl Engine for SqliteStore {
    async fn transact<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: Fn(&Db<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.writer.write(work).await
    }

    async fn share<W: Shared>(&self, work: W) -> Result<W::Done> {
        self.writer.share(work).await
    }

    async fn read<T, F>(&self, work: F) -> Result<T>
    where
        F: FnOnce(&Db<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.readers.read(work).await
    }

    async fn lookup<T, F>(&self, work: F) -> Result<T>
    where
        F: FnOnce(&Db<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.readers.lookup(work).await
    }

    fn log_end(&self) -> watch::Receiver<i64> {
        self.writer.log_end()
    }

    fn log_end_of_others(&self) -> watch::Receiver<i64> {
        watch::channel(0).1
    }

    fn server_time(&self) -> Option<Duration> {
        None
    }

    fn writes_waiting(&self) -> usize {
        self.writer.waiting()
    }

    fn log_bytes(&self) -> u64 {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        std::fs::metadata(log).map_or(0, |log| log.len())
    }

    /// Waits for this process's own readers, and starts none meanwhile. It does not wait for other processes that read,
    /// such as a backup.
    async fn empty_log(&self) -> Result<bool> {
        if self.writer.empty_log().await? {
            return Ok(true);
        }
        let _nobody_reads = self.readers.pause().await?;
        self.writer.empty_log().await
    }

    async fn shut(&self) {
        self.readers.close();
        let writer = Arc::clone(&self.writer);
        // Waits for the writer's last commit off the executor's threads. An interruption means that the process ends;
        // uncommitted writes were not confirmed to their callers.
        let _ = tokio::task::spawn_blocking(move || writer.close()).await;
    }
}

/// Opens the file read-only; `None` if it is empty.
pub(crate) fn lookup(path: &Path) -> Result<Option<Connection>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    schema::admit(&connection)?;
    Ok((schema::number_of(path)? > 0).then_some(connection))
}

/// Opens the file for writing, creates it if it does not exist, and migrates its schema.
pub(crate) fn connect(path: &Path) -> Result<Connection> {
    admit(rusqlite::version_number())?;
    make_private(path)?;
    let mut connection = Connection::open(path)?;
    prepare(&connection, WRITER_CACHE_KIB)?;
    schema::admit(&connection)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Deleted rows are overwritten, and so are the pages that they free: no data of an erased person remains in the
    // file. Costs one more page write for each freed page (sqlite.org/pragma.html, secure_delete).
    connection.pragma_update_and_check(None, "secure_delete", true, |row| row.get::<_, i64>(0))?;
    // The log shrinks again after a long read that made it grow.
    connection.pragma_update_and_check(None, "journal_size_limit", limits::LOG_KEPT, |row| row.get::<_, i64>(0))?;
    schema::migrate(&mut connection)?;
    clean(&connection)?;
    Ok(connection)
}

/// Databases from before deleted rows were overwritten contain remains of them in free space: the file is rebuilt once.
/// If the disk lacks space, the next start tries again.
fn clean(connection: &Connection) -> Result<()> {
    let done: i64 = connection.query_row("SELECT count(*) FROM meta WHERE name = 'clean'", [], |row| row.get(0))?;
    if done > 0 {
        return Ok(());
    }
    let is_used: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM events) OR EXISTS (SELECT 1 FROM contacts) OR EXISTS (SELECT 1 FROM dead_letters)",
        [],
        |row| row.get(0),
    )?;
    if is_used {
        tracing::info!("Rebuilding the database file once, without remains of deleted rows");
        if let Err(error) = connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(%error, "The database file could not be rebuilt: it may contain remains of deleted rows");
            return Ok(());
        }
        kill_point("migration.cleaned");
    }
    connection.execute("INSERT INTO meta (name, value) VALUES ('clean', x'01')", [])?;
    Ok(())
}

/// SQLite creates files with the permissions of the umask, and the log with those of the database file: so the file is
/// created first, with private permissions.
fn make_private(path: &Path) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(StoreError::Unavailable {
            reason: format!("{} cannot be opened: {error}", path.display()),
        }),
    }
}

fn admit(version: i32) -> Result<()> {
    if version < OLDEST {
        return Err(StoreError::Database(format!(
            "SQLite {version} is too old; {OLDEST} or later is needed"
        )));
    }
    Ok(())
}

fn prepare(connection: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // One plan for each statement, whatever is bound: otherwise SQLite plans some of Weir's statements again at every
    // call (sqlite.org/queryplanner-ng.html, section 4).
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Negative means KiB (sqlite.org/pragma.html, cache_size).
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}
