//! The record in PostgreSQL: connections with a thread each, one transaction for each write.
//!
//! Writes run SERIALIZABLE, and again after a conflict, so that the promises of a single writer hold without locks in the
//! statements. Events are the exception: their places in the log are assigned under a lock that is held until the commit, so that no
//! place becomes visible before a smaller one (see [`Driver::numbers`](crate::db::Driver)).
//!
//! Several nodes use a database at once; see [`Nodes`](crate::store::Nodes). Of those that start together one migrates it.

mod clock;
mod connection;
mod driver;
mod notifications;
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
use crate::{Result, StoreError, meta, tables};
use clock::ServerClock;
use connection::{Connection, Connections};
use notifications::{Log, Notifications};
use settings::Settings;

/// Connections of one node: enough to overlap the server's round trips, and a sixth of the 100 that a server allows by default.
const CONNECTIONS: usize = 16;

/// Facts of a server and the record in it, for operators.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// The server's version, such as `15.18`.
    pub version: String,
    /// The setting of this name: with `off` the server may lose what it confirmed.
    pub synchronous_commit: String,
    /// The number of the record's schema; 0 while there is none.
    pub schema: i64,
    /// The number of the newest schema that this Weir knows.
    pub newest_schema: i64,
}

/// The record in PostgreSQL.
pub struct PostgresStore {
    connections: Connections,
    log_end: watch::Receiver<i64>,
    log_end_of_others: watch::Receiver<i64>,
    clock: Arc<ServerClock>,
    _notifications: Notifications,
}

impl PostgresStore {
    /// Opens the record at `url` (`postgres://…`), and makes it if it is not there. `mint` makes ids and nonces. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the server cannot be reached or takes no writes, [`StoreError::Schema`] when the URL cannot
    /// be read, the server is too old, or the record was written by a newer Weir, [`StoreError::WrongKey`] when it was sealed with
    /// another key.
    pub fn open(url: &str, key: &MasterKey, mint: Arc<Mint>) -> Result<Self> {
        Self::open_with(url, CONNECTIONS, key, mint)
    }

    fn open_with(url: &str, connections: usize, key: &MasterKey, mint: Arc<Mint>) -> Result<Self> {
        let vault = Arc::new(Vault::new(key));
        let settings = Settings::read(url)?;
        // On a thread of its own: the caller's may belong to an async runtime, which must not be blocked on.
        let (first, log, clock) = std::thread::scope(|scope| {
            let opened = scope.spawn(|| {
                let first = Connection::open(&settings)?;
                schema::admit(&first)?;
                first.lock_schema()?;
                schema::migrate(&first)?;
                first.write(&vault, &mint, &meta::check_key)?;
                first.unlock_schema()?;
                let end = first.read(&vault, &mint, tables::events::last)?;
                let clock = first.runtime.block_on(notifications::read_clock(&first.client))?;
                Ok((first, end, clock))
            });
            opened
                .join()
                .unwrap_or_else(|_| Err(StoreError::Database("the opening panicked".to_owned())))
        })?;
        let (end_of_others, log_end_of_others) = watch::channel(log);
        let (end, log_end) = watch::channel(log);
        let clock = Arc::new(clock);
        let notifications = Notifications::start(Log {
            settings: settings.clone(),
            clock: Arc::clone(&clock),
            end: end.clone(),
            end_of_others,
        })?;
        Ok(Self {
            connections: Connections::start(first, settings, connections, vault, mint, end)?,
            log_end,
            log_end_of_others,
            clock,
            _notifications: notifications,
        })
    }

    /// Reads the facts of the server and the record at `url`. Changes nothing. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the server cannot be reached, [`StoreError::Schema`] when the URL cannot be read.
    pub fn inspect(url: &str) -> Result<ServerFacts> {
        let settings = Settings::read(url)?;
        std::thread::scope(|scope| {
            let inspected = scope.spawn(|| schema::inspect(&Connection::open(&settings)?));
            inspected.join().unwrap_or_else(|_| {
                Err(StoreError::Database(
                    "reading the facts of the server panicked".to_owned(),
                ))
            })
        })
    }

    async fn on_connection<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Vault, &Mint) -> T + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.connections.ask(Box::new(move |connection, vault, mint| {
            let done = connection.map(|connection| work(connection, vault, mint));
            // Nobody waits any more when the caller was cancelled; what was written stands.
            Box::new(move || drop(reply.send(done)))
        }))?;
        answer.await.unwrap_or_else(|_| {
            Err(StoreError::Unknown {
                reason: "the connection's thread ended before it answered".to_owned(),
            })
        })
    }
}

impl Engine for PostgresStore {
    async fn transact<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: Fn(&Db<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.on_connection(move |connection, vault, mint| connection.write(vault, mint, &work))
            .await?
    }

    async fn share<W: Shared>(&self, work: W) -> Result<W::Done> {
        self.transact(move |db| W::one(db, work.clone())).await
    }

    async fn read<T, F>(&self, work: F) -> Result<T>
    where
        F: FnOnce(&Db<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.on_connection(move |connection, vault, mint| connection.read(vault, mint, work))
            .await?
    }

    async fn look<T, F>(&self, work: F) -> Result<T>
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
        self.connections.waiting()
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
        self.connections.close();
        let threads = self.connections.threads();
        // That it is interrupted means that the process ends, and what was not committed was not answered.
        let _ = tokio::task::spawn_blocking(move || threads.join()).await;
    }
}
