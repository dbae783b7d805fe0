//! Notifies the other hosts on the database that the event log grew, receives their notifications, and reads the
//! server's clock.
//!
//! A notification only saves time: the log is read in any case, every [`READ_EVERY`]. It is sent after the commits, by
//! a connection of its own: inside of them it would be a lock that all writers of the server wait for
//! (`src/backend/commands/async.c`).

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, oneshot, watch};
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::postgres::clock::ServerClock;
use crate::postgres::errors::silent_server;
use crate::postgres::settings::{ANSWERED_WITHIN, Settings};
use crate::{Result, StoreError};

/// How often the end of the log is read without notifications: the cost of a lost one.
const READ_EVERY: Duration = Duration::from_millis(250);
/// The shortest interval between two notifications of this host; each covers all commits in it.
const NOTIFY_EVERY: Duration = Duration::from_millis(5);
/// The first wait before a lost connection is reopened, doubled each time, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

const LISTEN: &str = "SET statement_timeout = '5s'; SET synchronous_commit = off; LISTEN weir_log";
const NOTIFY: &str = "NOTIFY weir_log";
const READ: &str = "SELECT coalesce((SELECT max(sequence) FROM events), 0),
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// Reads the server's clock for the first time.
pub(super) async fn read_clock(client: &Client) -> Result<ServerClock, tokio_postgres::Error> {
    let sent = Instant::now();
    let row = client
        .query_one("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", &[])
        .await?;
    Ok(ServerClock::new(sent, Instant::now(), row.try_get(0)?))
}

/// The thread of the connection, which ends when this is dropped.
pub(super) struct Notifications {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Notifications {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("The thread of the notifications ended by a panic");
        }
    }
}

/// The thread's state.
pub(super) struct Log {
    pub(super) settings: Settings,
    pub(super) clock: Arc<ServerClock>,
    /// The end of the log as known here, also raised by this host's commits.
    pub(super) end: watch::Sender<i64>,
    /// The last position that this host wrote.
    pub(super) written: watch::Receiver<i64>,
    /// The same, raised only by other hosts' commits.
    pub(super) end_of_others: watch::Sender<i64>,
}

/// Signals commits of other hosts.
struct Others {
    have_written: AtomicBool,
    notify: Notify,
}

impl Others {
    /// For a new connection: other hosts may have written before it.
    fn before_connection() -> Self {
        Self {
            have_written: AtomicBool::new(true),
            notify: Notify::new(),
        }
    }

    fn wrote(&self) {
        self.have_written.store(true, Ordering::Relaxed);
        self.notify.notify_one();
    }
}

impl Notifications {
    /// Starts the thread.
    pub(super) fn start(log: Log) -> Result<Self> {
        let unavailable = |reason| StoreError::Unavailable {
            reason: format!("no thread for notifications: {reason}"),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(unavailable)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("weir-postgres-notify".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = stopped => {}
                        () = log.follow() => {}
                    }
                });
            })
            .map_err(unavailable)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Log {
    /// Follows the log, with a new connection after each that is lost.
    async fn follow(&self) {
        let mut backoff = BACKOFF.0;
        loop {
            let began = Instant::now();
            if let Err(error) = self.connect().await {
                tracing::debug!(%error, "The event log is not followed");
            }
            if began.elapsed() > BACKOFF.1 {
                backoff = BACKOFF.0;
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    async fn connect(&self) -> Result<()> {
        match &self.settings.tls {
            Some(tls) => {
                let (client, connection) = answered(self.settings.server.connect(tls.clone())).await?;
                self.over(client, connection).await
            }
            None => {
                let (client, connection) = answered(self.settings.server.connect(NoTls)).await?;
                self.over(client, connection).await
            }
        }
    }

    /// Follows the log until the connection ends.
    async fn over<S, T>(&self, client: Client, mut connection: tokio_postgres::Connection<S, T>) -> Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let others = Others::before_connection();
        let own = AtomicI32::new(0);
        let messages = async {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                // The server notifies the sender too.
                if let AsyncMessage::Notification(notification) = message?
                    && notification.process_id() != own.load(Ordering::Relaxed)
                {
                    others.wrote();
                }
            }
            Ok(())
        };
        let work = async {
            let process = answered(client.query_one("SELECT pg_backend_pid()", &[])).await?;
            own.store(process.try_get(0)?, Ordering::Relaxed);
            answered(client.batch_execute(LISTEN)).await?;
            tokio::try_join!(self.read(&client, &others), self.notify(&client)).map(drop)
        };
        either(messages, work).await
    }

    /// Reads the end of the log and the server's clock, after a notification of another host and at intervals.
    async fn read(&self, client: &Client, others: &Others) -> Result<()> {
        let read = answered(client.prepare(READ)).await?;
        loop {
            let have_written = others.have_written.swap(false, Ordering::Relaxed);
            let sent = Instant::now();
            let row = answered(client.query_one(&read, &[])).await?;
            self.clock.read(sent, Instant::now(), row.try_get(1)?);
            let end: i64 = row.try_get(0)?;
            let grew = raise(&self.end, end);
            // Another host's position may be before one that this host wrote since, which raised the end already.
            if grew || have_written {
                self.end_of_others.send_modify(|known| *known = end.max(*known));
            }
            // A timeout triggers the regular read.
            let _ = tokio::time::timeout(READ_EVERY, others.notify.notified()).await;
        }
    }

    /// Notifies the other hosts of this one's commits.
    async fn notify(&self, client: &Client) -> Result<()> {
        let mut written = self.written.clone();
        // Also for commits from before this connection.
        loop {
            answered(client.batch_execute(NOTIFY)).await?;
            tokio::time::sleep(NOTIFY_EVERY).await;
            if written.changed().await.is_err() {
                // The store is closed, and stops this thread.
                return std::future::pending().await;
            }
        }
    }
}

/// Raises the known end of the log; returns whether it was lower.
pub(super) fn raise(known: &watch::Sender<i64>, end: i64) -> bool {
    known.send_if_modified(|known| {
        let grew = *known < end;
        *known = end.max(*known);
        grew
    })
}

/// The result of whichever ends first.
async fn either<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    let (one, other) = (pin!(one), pin!(other));
    tokio::select! {
        ended = one => ended,
        ended = other => ended,
    }
}

/// Waits for the server's answer, for a bounded time.
async fn answered<T>(work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
    match tokio::time::timeout(ANSWERED_WITHIN, work).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(silent_server(ANSWERED_WITHIN)),
    }
}
