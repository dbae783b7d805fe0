//! The PostgreSQL store: connections with a thread each, one transaction for each write. Webhooks, messages to be
//! accepted and results of sends that wait at the same time share one.
//!
//! Writes run SERIALIZABLE, and are retried after a conflict, so that the guarantees of a single writer are kept
//! without locks in the statements. Writes that take from a resource that all nodes share run one after another; see
//! [`Order`]. Events are the exception: their positions in the log are assigned under a lock that is held until the
//! commit, so that no position becomes visible before a smaller one (see [`Driver::numbers`](crate::db::Driver)).
//!
//! Several nodes use a database at once; see [`Nodes`](crate::store::Nodes). Of those that start together, one migrates
//! it.

mod bulk;
mod clock;
mod connection;
mod driver;
mod errors;
mod facts;
mod groups;
mod notifications;
mod pool;
mod schema;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use weir_domain::id::Mint;

use crate::db::Db;
use crate::engine::Engine;
use crate::group::Shared;
use crate::vault::{MasterKey, Vault};
use crate::{Result, StoreError, meta, reseal, tables};
use clock::ServerClock;
use connection::{Connection, Order};
pub use facts::ServerFacts;
use groups::Groups;
use notifications::{Log, Notifications};
use pool::{Connections, Done, Opening};
use settings::Settings;

/// Connections of one node: enough to overlap the server's round trips, and a sixth of the 100 that a server allows by
/// default.
const CONNECTIONS: usize = 16;
/// How many of them take the work that runs in order over all nodes: one works, and the others already wait for its
/// lock at the server, so that the lock passes on at once. The rest stays free for work that needs no order.
const ORDERED: usize = 4;

/// The difference between the clocks of host and server that is logged, in milliseconds: networks and NTP leave far
/// less.
const CLOCKS_APART: i64 = 1_000;

/// The PostgreSQL store.
pub struct PostgresStore {
    connections: Connections,
    /// For work that runs in order over all nodes.
    ordered: Connections,
    /// One more connection, used only for heartbeats.
    heartbeats: Connections,
    groups: Arc<Groups>,
    log_end: watch::Receiver<i64>,
    log_end_of_others: watch::Receiver<i64>,
    clock: Arc<ServerClock>,
    _notifications: Notifications,
}

impl PostgresStore {
    /// Opens the database at `url` (`postgres://…`), and creates its schema if it does not exist. `mint` generates ids
    /// and nonces. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the server cannot be reached or accepts no writes, [`StoreError::Schema`] when
    /// the URL is invalid, the server is too old, or the database was written by a newer Weir, [`StoreError::WrongKey`]
    /// when it was sealed with another key.
    pub fn open(url: &str, key: &MasterKey, mint: Arc<Mint>) -> Result<Self> {
        Self::open_with(url, CONNECTIONS, key, mint)
    }

    fn open_with(url: &str, connections: usize, key: &MasterKey, mint: Arc<Mint>) -> Result<Self> {
        let vault = Arc::new(Vault::new(key));
        let settings = Settings::read(url)?;
        let (first, log, clock) = on_own_thread(|| {
            let first = Connection::open(&settings)?;
            admit(&first, &settings)?;
            first.lock_schema()?;
            schema::migrate(&first)?;
            first.write(&vault, &mint, &meta::admit)?;
            first.unlock_schema()?;
            let end = first.read(&vault, &mint, tables::events::last)?;
            let clock = first.runtime.block_on(notifications::read_clock(&first.client))?;
            Ok((first, end, clock))
        })?;
        let (end_of_others, log_end_of_others) = watch::channel(log);
        let (end, log_end) = watch::channel(log);
        let (written, own_end) = watch::channel(log);
        let clock = Arc::new(clock);
        let notifications = Notifications::start(Log {
            settings: settings.clone(),
            clock: Arc::clone(&clock),
            end: end.clone(),
            written: own_end,
            end_of_others,
        })?;
        let opening = Opening {
            settings,
            vault,
            mint,
            log: end,
            written,
        };
        Ok(Self {
            heartbeats: Connections::start("heartbeat", None, 1, opening.clone())?,
            ordered: Connections::start("ordered", None, ORDERED.min(connections), opening.clone())?,
            connections: Connections::start(
                "postgres",
                Some(first),
                connections.saturating_sub(ORDERED).max(1),
                opening,
            )?,
            groups: Arc::default(),
            log_end,
            log_end_of_others,
            clock,
            _notifications: notifications,
        })
    }

    /// Reads the facts of the server and the database at `url`. Changes nothing. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the server cannot be reached, [`StoreError::Schema`] when the URL is invalid.
    pub fn inspect(url: &str) -> Result<ServerFacts> {
        let settings = Settings::read(url)?;
        on_own_thread(|| facts::inspect(&Connection::open(&settings)?, &settings))
    }

    /// Reseals all sealed values of the database at `url` from the key `from` to the key `to`; returns their number, or
    /// 0 if that was done already. No host may use the database. It takes several transactions: the next run completes
    /// an interrupted one, and no host starts before. Blocks.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`] when neither key opens the database, [`StoreError::Closed`] when an earlier run had a
    /// different new key, [`StoreError::Unavailable`] when a host uses the database or it cannot be written.
    pub fn reseal(url: &str, from: &MasterKey, to: &MasterKey, mint: &Mint) -> Result<u64> {
        on_own_thread(|| {
            let connection = Self::open_alone(url, must_be_there)?;
            let (from, to) = (Vault::new(from), Vault::new(to));
            connection.read(&from, mint, meta::check_move)?;
            if connection.write(&to, mint, &meta::check_key).is_ok() {
                return Ok(0);
            }
            connection.write(&from, mint, &|db| {
                meta::check_key(db)?;
                meta::begin_reseal(db, &to)
            })?;
            let count = reseal::all(&to, |step| connection.write(&from, mint, step))?;
            connection.write(&from, mint, &|db| meta::finish_reseal(db, &to))?;
            Ok(count)
        })
    }

    /// Opens the database at `url` for exclusive use, while no host uses it. `check` receives the number of its schema
    /// (0 without a schema) before the migration. Blocks, so it must not run on a thread of an async runtime.
    pub(crate) fn open_alone(url: &str, check: impl FnOnce(i64, &Connection) -> Result<()>) -> Result<Connection> {
        let settings = Settings::read(url)?;
        let connection = Connection::open(&settings)?;
        admit(&connection, &settings)?;
        connection.be_alone()?;
        check(schema::made(&connection)?, &connection)?;
        schema::migrate(&connection)?;
        // The duration depends on the number of rows, all of which are read.
        connection.execute(
            "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET enable_seqscan = on",
        )?;
        Ok(connection)
    }

    /// The database and its server, for people: without the URL's password.
    pub(crate) fn place(url: &str) -> String {
        Settings::read(url).map_or_else(|_| "a PostgreSQL database".to_owned(), |settings| settings.place())
    }

    async fn write<T, E, F>(connections: &Connections, order: Order, work: F) -> Result<T, E>
    where
        F: Fn(&Db<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let work =
            move |connection: &Connection, vault: &Vault, mint: &Mint| connection.write_in(order, vault, mint, &work);
        Self::on_connection(connections, work).await?
    }

    async fn on_connection<T: Send + 'static>(
        connections: &Connections,
        work: impl FnOnce(&Connection, &Vault, &Mint) -> T + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        connections.submit(Box::new(move |connection, vault, mint| {
            let done = connection.map(|connection| work(connection, vault, mint));
            Done {
                // The receiver is gone if the caller was canceled; the write remains.
                answer: Box::new(move || drop(reply.send(done))),
                next: None,
            }
        }))?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }
}

/// The thread ended before it finished the work.
fn lost() -> StoreError {
    StoreError::Unknown {
        reason: "the connection's thread ended before it answered".to_owned(),
    }
}

/// Checks whether the server can store a database over this connection.
fn admit(connection: &Connection, settings: &Settings) -> Result<()> {
    if facts::is_pooled(connection, settings)? {
        return Err(StoreError::Schema(
            "a pooler in transaction mode is in between, which would give our sessions to other programs; name the server itself, or \
             a pool in session mode"
                .to_owned(),
        ));
    }
    schema::admit(connection)?;
    let ahead = facts::clock_ahead(connection)?;
    if ahead.abs() > CLOCKS_APART {
        tracing::warn!(
            "This machine's clock is {} ms {} the database server's, which Weir uses; synchronize both with NTP",
            ahead.abs(),
            if ahead > 0 { "behind" } else { "ahead of" }
        );
    }
    Ok(())
}

/// Runs `work` on a thread of its own: the caller's may belong to an async runtime, which must not be blocked on.
pub(crate) fn on_own_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let done = scope.spawn(work).join();
        done.unwrap_or_else(|_| Err(StoreError::Database("the work on the database panicked".to_owned())))
    })
}

/// Rejects a database without a schema, for [`PostgresStore::open_alone`].
pub(crate) fn must_be_there(schema: i64, _: &Connection) -> Result<()> {
    if schema == 0 {
        return Err(StoreError::Schema("the database contains no Weir schema".to_owned()));
    }
    Ok(())
}

impl Engine for PostgresStore {
    async fn transact<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: Fn(&Db<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        Self::write(&self.connections, Order::Concurrent, work).await
    }

    async fn transact_first<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: Fn(&Db<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        Self::write(&self.heartbeats, Order::Unordered, work).await
    }

    async fn transact_serially<T, F>(&self, work: F) -> Result<T>
    where
        F: Fn(&Db<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        Self::write(&self.ordered, Order::Serial, work).await
    }

    async fn share<W: Shared>(&self, work: W) -> Result<W::Done> {
        let (task, answer) = work.piece();
        if self.groups.push(task)?
            && let Err(error) = self.ordered.submit(groups::write(Arc::clone(&self.groups)))
        {
            self.groups.refuse(&error);
        }
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    async fn read<T, F>(&self, work: F) -> Result<T>
    where
        F: FnOnce(&Db<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let work = move |connection: &Connection, vault: &Vault, mint: &Mint| connection.read(vault, mint, work);
        Self::on_connection(&self.connections, work).await?
    }

    async fn lookup<T, F>(&self, work: F) -> Result<T>
    where
        F: FnOnce(&Db<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.read(work).await
    }

    fn log_end(&self) -> watch::Receiver<i64> {
        self.log_end.clone()
    }

    fn log_end_of_others(&self) -> watch::Receiver<i64> {
        self.log_end_of_others.clone()
    }

    fn server_time(&self) -> Option<Duration> {
        Some(self.clock.now())
    }

    fn writes_waiting(&self) -> usize {
        self.connections.waiting() + self.ordered.waiting() + self.groups.waiting()
    }

    /// The server manages its own log.
    fn log_bytes(&self) -> u64 {
        0
    }

    /// The server removes deleted rows from its files by its own vacuum.
    async fn empty_log(&self) -> Result<bool> {
        Ok(true)
    }

    async fn shut(&self) {
        for connections in [&self.connections, &self.ordered, &self.heartbeats] {
            connections.close();
            let threads = connections.threads();
            // An interruption means that the process ends; uncommitted writes were not confirmed to their callers.
            let _ = tokio::task::spawn_blocking(move || threads.join()).await;
        }
    }
}
