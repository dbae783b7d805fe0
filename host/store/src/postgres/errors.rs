//! The meaning of the server's errors.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::StoreError;

/// Whether two transactions conflicted: in their reads and writes, in the order of their locks, or in a key that both
/// inserted.
pub(super) fn is_conflict(error: &tokio_postgres::Error) -> bool {
    matches!(
        error.code(),
        Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED | &SqlState::UNIQUE_VIOLATION)
    )
}

/// Whether the server ended the session by an operator's intervention
/// (postgresql.org/docs/current/errcodes-appendix.html, class 57), except 57014, a statement that exceeded its timeout.
pub(super) fn is_shutdown(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("57P"))
}

pub(super) fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable { reason: reason.into() }
}

/// A server that accepts connections and does not answer.
pub(super) fn silent_server(bound: Duration) -> StoreError {
    unavailable(format!(
        "the database server did not answer within {} s; check that it is not stopped or overloaded",
        bound.as_secs()
    ))
}

/// Why the connection failed, with the causes that the library's own text leaves out.
pub(super) fn unreachable_server(error: &tokio_postgres::Error) -> StoreError {
    if let Some(refused) = error.as_db_error() {
        let message = refused.message();
        let remedy = match *refused.code() {
            SqlState::INVALID_PASSWORD => {
                "check the user and the password in the URL; in it %, @, : and / are written %25, %40, %3A and %2F"
            }
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                "check the user in the URL, and the server's pg_hba.conf for this machine's address"
            }
            SqlState::INVALID_CATALOG_NAME => "create it with `createdb`, or name another one in the URL",
            SqlState::TOO_MANY_CONNECTIONS => {
                "all connections of the server are in use; raise its max_connections, or stop other programs"
            }
            SqlState::CANNOT_CONNECT_NOW => "it starts or stops; this is tried again",
            _ => "the server refused the connection",
        };
        return unavailable(format!("the database cannot be reached: {message} ({remedy})"));
    }
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    unavailable(format!(
        "the database cannot be reached: {reason}; check that the server runs, and the host and port in the URL"
    ))
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&tokio_postgres::Error> for StoreError {
    fn from(error: &tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            return unreachable_server(error);
        };
        let reason = match *db.code() {
            SqlState::DISK_FULL => format!(
                "the disk of the database server is full ({}); free space on it",
                db.message()
            ),
            _ => db.message().to_owned(),
        };
        // By class (postgresql.org/docs/current/errcodes-appendix.html): broken connections, conflicting transactions,
        // exhausted resources, objects in use, an operator's intervention, system errors; and a server that accepts no
        // writes, such as a standby.
        let class = db.code().code().get(..2).unwrap_or_default();
        if matches!(class, "08" | "40" | "53" | "55" | "57" | "58") || *db.code() == SqlState::READ_ONLY_SQL_TRANSACTION
        {
            return unavailable(reason);
        }
        Self::Database(format!("{reason} ({})", db.code().code()))
    }
}
