//! The steps of the schema. They share SQLite's numbers, so that a database can be moved between the engines; the first
//! step here is the third.

use sha2::{Digest, Sha256};
use tokio_postgres::error::SqlState;

use crate::postgres::connection::Connection;
use crate::{Result, StoreError};

/// Each step with its number, in order. A released step never changes.
const STEPS: &[(i64, &str)] = &[
    (3, include_str!("../../migrations/postgres/0003_third.sql")),
    (4, include_str!("../../migrations/postgres/0004_nodes.sql")),
];

/// The number of the newest schema.
pub(super) const NEWEST: i64 = STEPS[STEPS.len() - 1].0;

/// The oldest supported server, by its own version number: the oldest that the tests use.
const OLDEST_SERVER: i64 = 150_000;

/// Checks that Weir can use the server. Changes nothing.
///
/// # Errors
/// [`StoreError::Schema`] when it is too old or not in UTF-8, [`StoreError::Unavailable`] when it is a standby.
pub(super) fn admit(connection: &Connection) -> Result<()> {
    let version = number(connection, "SELECT current_setting('server_version_num')::bigint")?;
    admit_version(version.unwrap_or_default())?;
    let is_read_only = "SELECT (pg_is_in_recovery() OR current_setting('transaction_read_only')::bool)::int::bigint";
    if number(connection, is_read_only)? == Some(1) {
        return Err(StoreError::Unavailable {
            reason: "the server is a standby or read-only; name the primary, or several hosts with \
                     target_session_attrs=read-write"
                .to_owned(),
        });
    }
    if number(
        connection,
        "SELECT (current_setting('server_encoding') = 'UTF8')::int::bigint",
    )? != Some(1)
    {
        return Err(StoreError::Schema(
            "the database's encoding is not UTF-8; create one with ENCODING 'UTF8'".to_owned(),
        ));
    }
    Ok(())
}

fn admit_version(number: i64) -> Result<()> {
    if number < OLDEST_SERVER {
        return Err(StoreError::Schema(format!(
            "the server is PostgreSQL {}; 15 or later is needed: upgrade it, or use another server",
            number / 10_000
        )));
    }
    Ok(())
}

/// The number of the schema; 0 without a schema.
pub(super) fn made(connection: &Connection) -> Result<i64> {
    let there = number(
        connection,
        "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'schema_steps'",
    )?;
    match there {
        Some(1) => Ok(number(connection, "SELECT max(step) FROM schema_steps")?.unwrap_or_default()),
        _ => Ok(0),
    }
}

/// Applies the missing steps. The caller has locked out other nodes.
///
/// # Errors
/// [`StoreError::Schema`] when the database was written by a newer Weir, or by a development build.
pub(super) fn migrate(connection: &Connection) -> Result<()> {
    let made = made(connection)?;
    if made > NEWEST {
        return Err(StoreError::Schema(format!(
            "it was written by a newer Weir (its schema is {made}, this one knows {NEWEST}); start that version"
        )));
    }
    for (number, step) in STEPS {
        let digest = hex::encode(Sha256::digest(step));
        if *number <= made {
            let made_of = connection.runtime.block_on(
                connection
                    .client
                    .query_one("SELECT digest FROM schema_steps WHERE step = $1", &[number]),
            )?;
            if made_of.try_get::<_, &str>(0)? != digest {
                return Err(StoreError::Schema(format!(
                    "its schema {number} differs from the released one: a development build created it"
                )));
            }
            continue;
        }
        if let Err(error) = make(connection, *number, step, &digest) {
            // The transaction is discarded with the connection.
            let _ = connection.execute("ROLLBACK");
            return Err(cannot_make(&error));
        }
    }
    Ok(())
}

fn cannot_make(error: &tokio_postgres::Error) -> StoreError {
    match error.as_db_error() {
        Some(denied) if *denied.code() == SqlState::INSUFFICIENT_PRIVILEGE => StoreError::Schema(format!(
            "its role may not create tables ({}); run GRANT CREATE ON SCHEMA with the name of the schema and the role, or make \
             the role the owner of the database",
            denied.message()
        )),
        _ => StoreError::from(error),
    }
}

fn make(connection: &Connection, number: i64, step: &str, digest: &str) -> Result<(), tokio_postgres::Error> {
    connection.execute("BEGIN")?;
    connection.execute(step)?;
    let made = "INSERT INTO schema_steps (step, digest) VALUES ($1, $2)";
    connection
        .runtime
        .block_on(connection.client.execute(made, &[&number, &digest]))?;
    connection.execute("COMMIT")
}

fn number(connection: &Connection, sql: &str) -> Result<Option<i64>> {
    let row = connection.runtime.block_on(connection.client.query_one(sql, &[]))?;
    Ok(row.try_get(0)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use weir_test_postgres::PostgresServer;

    use super::*;
    use crate::postgres::settings::Settings;

    /// SHA-256 of the released steps.
    const RELEASED: [&str; 1] = ["602ec53ff0fa0f26771085c8d60d2fa134661c08db34afe183d36e94b5f0dde9"];

    #[test]
    fn released_steps_are_frozen() {
        for ((number, step), released) in STEPS.iter().zip(RELEASED) {
            assert_eq!(
                hex::encode(Sha256::digest(step)),
                released,
                "step {number}: write another one"
            );
        }
    }

    #[test]
    fn older_servers_are_refused() {
        let refused = admit_version(149_999).unwrap_err().to_string();
        assert!(refused.contains("PostgreSQL 14; 15 or later is needed"), "{refused}");
        admit_version(150_000).unwrap();
    }

    /// Every column of the database with its type.
    fn form(connection: &Connection) -> Vec<String> {
        let columns =
            "SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable) FROM information_schema.columns
             WHERE table_schema = current_schema() ORDER BY 1";
        let rows = connection
            .runtime
            .block_on(connection.client.query(columns, &[]))
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    #[test]
    fn every_older_record_gets_the_newest_form() {
        let server = PostgresServer::installed();
        let open = |database: &str| {
            server.execute("postgres", &format!("CREATE DATABASE {database}"));
            Connection::open(&Settings::read(&server.url(database)).unwrap()).unwrap()
        };
        let fresh = open("weir_fresh");
        migrate(&fresh).unwrap();
        for older in 1..STEPS.len() {
            let record = open(&format!("weir_older_{older}"));
            for (number, step) in STEPS.iter().take(older) {
                make(&record, *number, step, &hex::encode(Sha256::digest(step))).unwrap();
            }
            let number = made(&record).unwrap();
            migrate(&record).unwrap();
            assert_eq!(made(&record).unwrap(), NEWEST, "from {number}");
            assert_eq!(form(&record), form(&fresh), "from {number}");
        }
    }
}
