//! Facts of a server for operators: read without changing anything, also from a server that Weir cannot use.

use std::time::SystemTime;

use tokio_postgres::SimpleQueryMessage;

use crate::postgres::connection::Connection;
use crate::postgres::settings::Settings;
use crate::postgres::{CONNECTIONS, schema};
use crate::{Result, StoreError};

/// Facts of a server and its database, for operators.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// The server's version, such as `15.18`.
    pub version: String,
    /// Why Weir cannot use it, if so: its version, its encoding, or that it is a standby.
    pub unfit: Option<String>,
    /// Whether a pooler assigns a server connection to other clients after each transaction.
    pub is_pooled: bool,
    /// The setting of this name: with `off` the server may lose what it confirmed.
    pub synchronous_commit: String,
    /// The setting of this name: which standbys confirm a commit.
    pub synchronous_standby_names: String,
    /// How many standbys and other receivers of its log are connected.
    pub receivers: i64,
    /// How many connections the server, the database and the role allow.
    pub connections_allowed: i64,
    /// How many of them programs other than Weir use now.
    pub connections_of_others: i64,
    /// How many a host needs.
    pub connections_needed: i64,
    /// How far the server's clock is ahead of this machine's, in milliseconds.
    pub clock_ahead_ms: i64,
    /// The number of the database's schema; 0 without a schema.
    pub schema: i64,
    /// The number of the newest schema that this Weir knows.
    pub newest_schema: i64,
}

/// Reads the facts.
pub(super) fn inspect(connection: &Connection, settings: &Settings) -> Result<ServerFacts> {
    let number = |sql: &str| number(connection, sql);
    Ok(ServerFacts {
        is_pooled: is_pooled(connection, settings)?,
        unfit: match schema::admit(connection) {
            Ok(()) => None,
            Err(StoreError::Schema(reason) | StoreError::Unavailable { reason }) => Some(reason),
            Err(error) => return Err(error),
        },
        version: text(connection, "SELECT current_setting('server_version')")?,
        synchronous_commit: text(connection, "SELECT current_setting('synchronous_commit')")?,
        synchronous_standby_names: text(connection, "SELECT current_setting('synchronous_standby_names')")?,
        receivers: number("SELECT count(*) FROM pg_stat_replication")?,
        connections_allowed: number(
            "SELECT min(allowed) FROM (
                 SELECT current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
                     - coalesce(current_setting('reserved_connections', true)::bigint, 0) AS allowed
                 UNION ALL SELECT datconnlimit FROM pg_database WHERE datname = current_database() AND datconnlimit >= 0
                 UNION ALL SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user AND rolconnlimit >= 0) AS limits",
        )?,
        connections_of_others: number(
            "SELECT count(*) FROM pg_stat_activity
             WHERE backend_type = 'client backend' AND application_name IS DISTINCT FROM 'weir'",
        )?,
        // One follows the event log, one sends heartbeats.
        connections_needed: i64::try_from(CONNECTIONS).unwrap_or(i64::MAX) + 2,
        clock_ahead_ms: clock_ahead(connection)?,
        schema: schema::made(connection)?,
        newest_schema: schema::NEWEST,
    })
}

/// Whether a pooler in transaction mode is in between: then two open connections can share a server process, or one
/// gets another process for its next transaction.
pub(super) fn is_pooled(one: &Connection, settings: &Settings) -> Result<bool> {
    const PROCESS: &str = "SELECT pg_backend_pid()";
    let other = Connection::open(settings)?;
    let before = text(one, PROCESS)?;
    other.execute("BEGIN")?;
    let of_other = text(&other, PROCESS)?;
    // Skipped if both have one process: the lock would be waited for in vain.
    let after = if of_other == before {
        String::new()
    } else {
        text(one, PROCESS)?
    };
    other.execute("ROLLBACK")?;
    Ok(before != after)
}

/// How far the server's clock is ahead of this machine's, in milliseconds: accurate to half of the round trip.
pub(super) fn clock_ahead(connection: &Connection) -> Result<i64> {
    let millis = |at: SystemTime| {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    };
    let sent = millis(SystemTime::now());
    let server = number(
        connection,
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
    )?;
    let answered = millis(SystemTime::now());
    Ok(server - sent - (answered - sent) / 2)
}

/// Uses the simple protocol, which works behind every pooler.
fn text(connection: &Connection, sql: &str) -> Result<String> {
    let messages = connection.runtime.block_on(connection.client.simple_query(sql))?;
    let found = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(found.unwrap_or_default())
}

fn number(connection: &Connection, sql: &str) -> Result<i64> {
    let found = text(connection, sql)?;
    found
        .parse()
        .map_err(|_| StoreError::Database(format!("{found:?} is not a number: {sql}")))
}
