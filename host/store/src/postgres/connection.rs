//! A connection to the server, and its transactions.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, Statement};
use weir_domain::id::Mint;

use crate::db::Db;
use crate::group::caught;
use crate::postgres::errors::{is_conflict, is_shutdown, silent_server, unavailable, unreachable_server};
use crate::postgres::settings::{ANSWERED_WITHIN, Settings};
use crate::vault::Vault;
use crate::{Result, StoreError};

/// The server's timeouts of an idle transaction whose host has stopped, of a lock, and of a statement. Each is longer
/// than the previous one, so that a transaction that waits for such a host outlasts it. A request that exceeds one is
/// answered 503.
///
/// Sequential scans are off where an index can be used: in a SERIALIZABLE transaction, a sequential scan conflicts with
/// every write to the table (postgresql.org/docs/current/transaction-iso.html, 13.2.3). JIT compilation is off, since
/// that setting inflates cost estimates, and plans are generic: the statements are few, and their indexes do not depend
/// on the values.
const SETTINGS: &str =
    "SET idle_in_transaction_session_timeout = '3s'; SET lock_timeout = '4500ms'; SET statement_timeout = '6s';
    SET enable_seqscan = off; SET jit = off; SET plan_cache_mode = force_generic_plan";
/// Concurrent attempts of a transaction. The next one runs alone.
const ATTEMPTS: u32 = 6;
/// The longest backoff before the second attempt; each further one is twice as long. The actual wait is a random part
/// of it, so that two transactions that conflicted do not conflict again.
const FIRST_BACKOFF: Duration = Duration::from_millis(4);

// Weir's advisory locks, by number: 7310305080 the schema, 7310305082 the event log.

/// Held by a node while it opens the database, so that of several that start together one migrates it. Migrations have
/// no statement timeout, since they may take longer. Weir before schema 4 holds the lock while it runs.
const LOCK_SCHEMA: &str = "SET statement_timeout = 0; SET lock_timeout = '60s'; SELECT pg_advisory_lock(7310305080)";
/// The same for exclusive use of the whole database, without waiting for nodes.
const LOCK_ALONE: &str = "SELECT pg_advisory_lock(7310305080)";
const UNLOCK_SCHEMA: &str = "SELECT pg_advisory_unlock(7310305080)";

/// Held by a transaction that assigns positions in the event log, until it ends: no position becomes visible before a
/// smaller one.
pub(super) const LOCK_LOG: &str = "SELECT pg_advisory_xact_lock(7310305082)";

const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// How a write is ordered with others: by locks on a table that otherwise only migrations and VACUUM lock, released at
/// the end of the transaction (postgresql.org/docs/current/explicit-locking.html, table 13.2). A transaction that waits
/// for such a lock has no snapshot yet, so it sees what was committed while it waited.
#[derive(Clone, Copy)]
pub(super) enum Order {
    /// Concurrently with others.
    Concurrent,
    /// Concurrently with others, but one after another with other `Serial` writes.
    Serial,
    /// Alone but for `Unordered` writes.
    Alone,
    /// Concurrently with all others: for a heartbeat, which must wait for no other write and touches only what no other
    /// write changes.
    Unordered,
}

impl Order {
    fn begin(self) -> &'static str {
        match self {
            Self::Concurrent => "BEGIN ISOLATION LEVEL SERIALIZABLE; LOCK TABLE schema_steps IN ROW EXCLUSIVE MODE",
            Self::Serial => {
                "BEGIN ISOLATION LEVEL SERIALIZABLE; LOCK TABLE schema_steps IN SHARE UPDATE EXCLUSIVE MODE"
            }
            Self::Alone => "BEGIN ISOLATION LEVEL SERIALIZABLE; LOCK TABLE schema_steps IN EXCLUSIVE MODE",
            Self::Unordered => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        }
    }

    /// The order of the last attempt.
    fn last(self) -> Self {
        match self {
            Self::Unordered => Self::Unordered,
            Self::Concurrent | Self::Serial | Self::Alone => Self::Alone,
        }
    }
}

/// The most statements that are sent before the first result is read: results that arrive meanwhile are kept in memory.
const FLIGHT: usize = 64;

/// A statement that was sent and has no result yet.
type Sent = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

/// One connection, and its thread's own runtime to wait on it.
pub(crate) struct Connection {
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) client: Arc<Client>,
    /// Reads and writes the socket. Aborted, it closes the connection.
    task: AbortHandle,
    /// How long a flight may take; `None` while the server's own timeouts are off.
    pub(super) answered_within: Cell<Option<Duration>>,
    /// Statements that were sent and have no result yet, in order.
    sent: RefCell<Vec<Sent>>,
    /// Statements, each prepared once. Their number is bounded by the crate's statements, some hundred: none contains
    /// external text.
    pub(super) statements: RefCell<HashMap<String, Statement>>,
    /// The error that ended the open transaction; every further statement in it fails.
    pub(super) failure: RefCell<Option<tokio_postgres::Error>>,
    /// The last position in the event log that the open transaction, or the last one, assigned.
    pub(super) log_end: Cell<Option<i64>>,
}

impl Connection {
    pub(super) fn open(settings: &Settings) -> Result<Self> {
        Self::open_within(settings, ANSWERED_WITHIN)
    }

    /// Opens a connection to a server that must answer within `bound`, now and later.
    pub(super) fn open_within(settings: &Settings, bound: Duration) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| unavailable(format!("no runtime for a connection: {error}")))?;
        let opening = async {
            // The connection's task ends with the client, or when the server is gone.
            Ok(match &settings.tls {
                Some(tls) => {
                    let (client, connection) = settings.server.connect(tls.clone()).await?;
                    (client, tokio::spawn(connection).abort_handle())
                }
                None => {
                    let (client, connection) = settings.server.connect(NoTls).await?;
                    (client, tokio::spawn(connection).abort_handle())
                }
            })
        };
        let unreachable = |error: tokio_postgres::Error| unreachable_server(&error);
        let opened = runtime.block_on(async { tokio::time::timeout(bound, opening).await });
        let (client, task) = opened.map_err(|_| silent_server(bound))?.map_err(unreachable)?;
        let connection = Self {
            client: Arc::new(client),
            task,
            answered_within: Cell::new(Some(bound)),
            sent: RefCell::default(),
            runtime,
            statements: RefCell::default(),
            failure: RefCell::default(),
            log_end: Cell::default(),
        };
        connection.execute(SETTINGS).map_err(unreachable)?;
        Ok(connection)
    }

    /// Prevents other nodes from opening the database.
    pub(super) fn lock_schema(&self) -> Result<()> {
        self.answered_within.set(None);
        self.execute(LOCK_SCHEMA).map_err(|error| match error.code() {
            Some(&SqlState::LOCK_NOT_AVAILABLE) => unavailable(
                "another node is migrating this database, a command moves or reseals it, or a Weir uses it that allows no second one; wait, or stop that one",
            ),
            _ => StoreError::from(error),
        })
    }

    /// Prevents nodes from opening the database, and checks that none uses it.
    pub(super) fn be_alone(&self) -> Result<()> {
        self.answered_within.set(None);
        let in_use = "a Weir host uses this database, or a command moves or reseals it; stop it first";
        self.execute(LOCK_ALONE).map_err(|error| match error.code() {
            Some(&SqlState::LOCK_NOT_AVAILABLE) => unavailable(in_use),
            _ => StoreError::from(error),
        })?;
        // Sessions that were just closed end within moments.
        for _ in 0..40 {
            if !self.is_shared()? {
                return Ok(());
            }
            self.execute("SELECT pg_sleep(0.05)")?;
        }
        Err(unavailable(in_use))
    }

    /// Whether other sessions of Weir are open in the database.
    pub(super) fn is_shared(&self) -> Result<bool> {
        let others = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'weir' AND pid <> pg_backend_pid()";
        let others = self.runtime.block_on(self.client.query_one(others, &[]))?;
        Ok(others.try_get::<_, i64>(0)? > 0)
    }

    pub(super) fn unlock_schema(&self) -> Result<()> {
        self.execute(UNLOCK_SCHEMA)?;
        self.execute(SETTINGS)?;
        self.answered_within.set(Some(ANSWERED_WITHIN));
        Ok(())
    }

    /// Whether the server or the network closed the connection, also while it was idle: reads what has arrived first.
    pub(super) fn is_closed(&self) -> bool {
        self.runtime.block_on(async {
            // One yield polls the socket, the next lets the connection's task see that it is closed.
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        });
        self.client.is_closed()
    }

    /// Sends a statement, whose result is read with the next [flight](Self::flight).
    pub(super) fn send(
        &self,
        statement: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
    ) -> Result<(), tokio_postgres::Error> {
        if self.sent.borrow().len() >= FLIGHT {
            self.flight(std::future::ready(Ok(())))?;
        }
        let mut statement: Sent = Box::pin(statement);
        // The client sends statements in the order in which they are polled first (docs.rs/tokio-postgres,
        // "Pipelining").
        match statement.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => {
                self.sent.borrow_mut().push(statement);
                Ok(())
            }
        }
    }

    /// Sends a last statement, and waits for its result and those of the statements before. The first error is the
    /// cause of all others.
    pub(super) fn flight<T>(
        &self,
        last: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, tokio_postgres::Error> {
        let sent = self.sent.take();
        let answers = async {
            let mut answered = Ok(());
            for statement in sent {
                answered = answered.and(statement.await);
            }
            answered
        };
        let (before, last) = self.runtime.block_on(async {
            let mut answers = pin!(async { tokio::join!(answers, last) });
            if let Some(bound) = self.answered_within.get() {
                match tokio::time::timeout(bound, answers.as_mut()).await {
                    Ok(answers) => return answers,
                    // The results then end with an error, as when the server closes the connection.
                    Err(_) => self.task.abort(),
                }
            }
            answers.await
        });
        before.and(last)
    }

    /// Runs statements without parameters.
    pub(super) fn execute(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.flight(self.client.batch_execute(sql))
    }

    /// Runs `work` on one snapshot of the database.
    pub(super) fn read<T>(&self, vault: &Vault, mint: &Mint, work: impl FnOnce(&Db<'_>) -> Result<T>) -> Result<T> {
        self.begin(BEGIN_READ)?;
        let db = Db {
            driver: self,
            vault,
            mint,
        };
        let result = caught(|| work(&db));
        self.roll_back();
        result
    }

    /// Runs `work` in a transaction concurrently with others; see [`Self::write_in`].
    pub(super) fn write<T, E: From<StoreError>>(
        &self,
        vault: &Vault,
        mint: &Mint,
        work: &dyn Fn(&Db<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.write_in(Order::Concurrent, vault, mint, work)
    }

    /// Runs `work` in a transaction, retried after a conflict with others, and in the end alone.
    pub(super) fn write_in<T, E: From<StoreError>>(
        &self,
        order: Order,
        vault: &Vault,
        mint: &Mint,
        work: &dyn Fn(&Db<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut backoff = FIRST_BACKOFF;
        for _ in 0..ATTEMPTS {
            match self.attempt(order, vault, mint, work) {
                Attempt::Done(result) => return result,
                Attempt::Conflict(_) => {}
            }
            let mut part = [0];
            mint.fill(&mut part);
            std::thread::sleep(backoff * u32::from(part[0]) / u32::from(u8::MAX));
            backoff *= 2;
        }
        match self.attempt(order.last(), vault, mint, work) {
            Attempt::Done(result) => result,
            Attempt::Conflict(error) => Err(StoreError::from(error).into()),
        }
    }

    fn attempt<T, E: From<StoreError>>(
        &self,
        order: Order,
        vault: &Vault,
        mint: &Mint,
        work: &dyn Fn(&Db<'_>) -> Result<T, E>,
    ) -> Attempt<T, E> {
        if let Err(error) = self.begin(order.begin()) {
            return Attempt::Done(Err(error.into()));
        }
        let db = Db {
            driver: self,
            vault,
            mint,
        };
        let result = caught(|| work(&db));
        // A failed statement has ended the transaction, whether or not the work returned the error.
        if let Some(failure) = self.failure.take() {
            self.roll_back();
            if is_conflict(&failure) {
                return Attempt::Conflict(failure);
            }
            return Attempt::Done(result.and_then(|_| Err(StoreError::from(failure).into())));
        }
        match result {
            Ok(done) => match self.execute("COMMIT") {
                Ok(()) => Attempt::Done(Ok(done)),
                Err(failure) if is_conflict(&failure) => Attempt::Conflict(failure),
                // The server refused, so nothing was written. A server that shuts down may have committed before it
                // reports that.
                Err(failure) if !is_shutdown(&failure) && failure.code().is_some() && !self.is_closed() => {
                    self.log_end.set(None);
                    Attempt::Done(Err(StoreError::from(failure).into()))
                }
                Err(failure) => Attempt::Done(Err(StoreError::Unknown {
                    reason: format!("the connection was lost during the commit: {failure}"),
                }
                .into())),
            },
            Err(error) => {
                self.roll_back();
                Attempt::Done(Err(error))
            }
        }
    }

    /// Sends the statement that begins a transaction. If it fails, the first statement of the transaction returns the
    /// error.
    fn begin(&self, sql: &'static str) -> Result<()> {
        self.failure.take();
        self.log_end.set(None);
        let client = Arc::clone(&self.client);
        Ok(self.send(async move { client.batch_execute(sql).await })?)
    }

    /// A failure means that the connection broke, which ends the transaction too.
    fn roll_back(&self) {
        self.failure.take();
        self.log_end.set(None);
        let _ = self.execute("ROLLBACK");
    }
}

/// How one attempt of a transaction ended.
enum Attempt<T, E> {
    Done(Result<T, E>),
    /// Another transaction conflicted; the next attempt may succeed.
    Conflict(tokio_postgres::Error),
}
