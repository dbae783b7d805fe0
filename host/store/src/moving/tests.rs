#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use weir_test_postgres::PostgresServer;

use super::*;
use crate::SqliteStore;
use crate::bulk::{IN_ORDER, NUMBERED};
use crate::conformance::world::at;
use crate::store::*;

const KEY: [u8; 32] = [2; 32];

/// A database with rows in most tables, as a released version wrote it.
fn record(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("weir.db");
    let sql = include_str!("../../fixtures/schema-3-20.sql");
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    path
}

fn database(server: &PostgresServer, name: &str) -> Location {
    server.execute("postgres", &format!("CREATE DATABASE {name}"));
    Location::Postgres(server.url(name))
}

fn mint() -> Mint {
    Mint::from_seed([4; 32])
}

fn go(from: &Location, to: &Location) -> Result<Moved> {
    move_record(from, to, &MasterKey::new(KEY), &mint(), at(0), &mut |_| ())
}

fn reason(from: &Location, to: &Location) -> String {
    go(from, to).unwrap_err().to_string()
}

fn open_sqlite(path: &Path) -> Result<SqliteStore> {
    SqliteStore::open(path, &MasterKey::new(KEY), Arc::new(mint()))
}

fn open_postgres(location: &Location) -> Result<PostgresStore> {
    let Location::Postgres(url) = location else {
        unreachable!("a database of a server")
    };
    PostgresStore::open(url, &MasterKey::new(KEY), Arc::new(mint()))
}

fn block_on<F: Future>(promise: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(promise)
}

#[test]
fn every_table_of_both_engines_is_moved() {
    let folder = tempfile::tempdir().unwrap();
    let file = sqlite::connect(&folder.path().join("weir.db")).unwrap();
    let (server, name) = (PostgresServer::installed(), "weir_tables");
    let Location::Postgres(url) = database(server, name) else {
        unreachable!("a database of a server")
    };
    let record = PostgresStore::open_alone(&url, |_, _| Ok(())).unwrap();
    let moved: BTreeSet<String> = TABLES.map(str::to_owned).into();
    let named = |sql: &str| -> BTreeSet<String> { server.execute(name, sql).lines().map(str::to_owned).collect() };

    let mut tables = named("SELECT tablename FROM pg_tables WHERE schemaname = 'public'");
    assert!(tables.remove("schema_steps"));
    assert_eq!(tables, moved, "crate::bulk::TABLES");
    let tables: BTreeSet<String> = file
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(tables, moved, "crate::bulk::TABLES");

    let columns =
        "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public'";
    let numbered: BTreeSet<String> = NUMBERED.map(|(table, column)| format!("{table}.{column}")).into();
    assert_eq!(named(&format!("{columns} AND is_identity = 'YES'")), numbered);
    let in_order: BTreeSet<String> = IN_ORDER.map(|table| format!("{table}.rowid")).into();
    assert_eq!(named(&format!("{columns} AND column_name = 'rowid'")), in_order);
    for table in TABLES {
        let columns = bulk::shared_columns(&file, &record, table).unwrap();
        assert!(!columns.is_empty(), "{table}");
    }
}

#[test]
fn a_record_is_the_same_there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = Location::Sqlite(record(&folder));
    let oldest = database(PostgresServer::installed(), "weir_move_there");
    let newest = database(PostgresServer::current(), "weir_move_on");
    let back = folder.path().join("back.db");

    let mut seen = Vec::new();
    let there = move_record(
        &file,
        &oldest,
        &MasterKey::new(KEY),
        &mint(),
        at(0),
        &mut |at: &Progress| {
            seen.push((at.act, at.number, at.rows));
        },
    )
    .unwrap();
    assert!(
        seen.is_sorted_by_key(|(act, number, _)| (*act == Act::Verify, *number)),
        "{seen:?}"
    );
    let filled = there.tables.iter().filter(|table| table.rows > 0).count();
    assert!(filled >= 20, "{filled} tables with rows");
    let rows: u64 = there.tables.iter().map(|table| table.rows).sum();
    assert_eq!(seen.last(), Some(&(Act::Verify, TABLES.len(), rows)));

    assert_eq!(go(&oldest, &newest).unwrap().tables, there.tables);
    assert_eq!(
        go(&newest, &Location::Sqlite(back.clone())).unwrap().tables,
        there.tables
    );

    // The log continues after the last assigned position, though its rows were deleted.
    let last: i64 = Connection::open(&back)
        .unwrap()
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'events'", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert!(last > 0);
    let restored = open_sqlite(&back).unwrap();
    let app = block_on(restored.app("echo")).unwrap().unwrap();
    assert!(!app.secrets.is_empty(), "sealed values open");
    let broken: i64 = Connection::open(&back)
        .unwrap()
        .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(broken, 0);
}

#[test]
fn numbers_go_on_where_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = record(&folder);
    let last: i64 = {
        let file = sqlite::connect(&path).unwrap();
        file.execute_batch("DELETE FROM events; DELETE FROM deliveries")
            .unwrap();
        file.query_row("SELECT seq FROM sqlite_sequence WHERE name = 'events'", [], |row| {
            row.get(0)
        })
        .unwrap()
    };
    let (server, name) = (PostgresServer::installed(), "weir_move_numbers");
    let target = database(server, name);
    go(&Location::Sqlite(path), &target).unwrap();
    let next = |column: &str, table: &str| -> i64 {
        let next = server.execute(
            name,
            &format!("SELECT nextval(pg_get_serial_sequence('{table}', '{column}'))"),
        );
        next.trim().parse().unwrap()
    };
    assert_eq!(
        next("sequence", "events"),
        last + 1,
        "a position is never assigned twice"
    );
    for (table, column) in NUMBERED {
        let greatest = server.execute(name, &format!("SELECT coalesce(max({column}), 0) FROM {table}"));
        assert!(
            next(column, table) > greatest.trim().parse().unwrap(),
            "{table}.{column}"
        );
    }
}

#[test]
fn interrupted_move_is_refused_and_restarted() {
    let folder = tempfile::tempdir().unwrap();
    let path = record(&folder);
    let (file, target) = (
        Location::Sqlite(path.clone()),
        database(PostgresServer::installed(), "weir_move_broken"),
    );
    let change = |sql: &str| sqlite::connect(&path).unwrap().execute_batch(sql).unwrap();
    // A text that PostgreSQL cannot store, in one of the last tables.
    change("UPDATE audit SET entry = entry || char(0)");
    let broken = reason(&file, &target);
    assert!(broken.contains("audit.entry") && broken.contains("NUL"), "{broken}");
    let refused = open_postgres(&target).map(drop).unwrap_err().to_string();
    assert!(refused.contains("is incomplete; run `weir move` again"), "{refused}");
    let refused = reason(&target, &Location::Sqlite(folder.path().join("other.db")));
    assert!(refused.contains("is incomplete"), "{refused}");
    drop(open_sqlite(&path).unwrap());

    change("UPDATE audit SET entry = '{}'");
    let moved = go(&file, &target).unwrap();
    drop(open_postgres(&target).unwrap());
    let refused = open_sqlite(&path).map(drop).unwrap_err().to_string();
    assert!(
        refused.contains("was moved to the PostgreSQL database weir_move_broken") && refused.contains("--reopen"),
        "{refused}"
    );
    let again = reason(&file, &target);
    assert!(again.contains("contains a Weir database already"), "{again}");

    // It was interrupted between the two marks.
    let id: String = Connection::open(&path)
        .unwrap()
        .query_row(
            "SELECT json_extract(CAST(value AS TEXT), '$.moved.id') FROM meta WHERE name = 'move'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let mark = format!(r#"{{"filling":{{"id":"{id}","place":"a file","at":0}}}}"#);
    PostgresServer::installed().execute(
        "weir_move_broken",
        &format!("INSERT INTO meta VALUES ('move', convert_to('{mark}', 'UTF8'))"),
    );
    assert!(open_postgres(&target).is_err());
    assert_eq!(go(&file, &target).unwrap().tables, moved.tables);

    assert!(reopen(&file, &MasterKey::new(KEY), &mint()).unwrap());
    assert!(!reopen(&file, &MasterKey::new(KEY), &mint()).unwrap());
    drop(open_sqlite(&path).unwrap());
}

#[test]
fn an_unfit_end_of_a_move_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let (path, server) = (record(&folder), PostgresServer::installed());
    let file = Location::Sqlite(path.clone());
    let fresh = database(server, "weir_move_fresh");
    let used = database(server, "weir_move_used");
    drop(open_postgres(&used).unwrap());
    let newer = database(server, "weir_move_newer");
    drop(open_postgres(&newer).unwrap());
    server.execute(
        "weir_move_newer",
        "INSERT INTO schema_steps VALUES (99, ''); DELETE FROM meta",
    );
    let foreign = database(server, "weir_move_foreign");
    server.execute("weir_move_foreign", "CREATE TABLE messages (id BIGINT)");
    server.execute("postgres", "CREATE ROLE weir_nobody LOGIN");
    server.execute("postgres", "CREATE DATABASE weir_move_denied");
    server.execute("weir_move_denied", "REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let denied = Location::Postgres(server.url("weir_move_denied").replace("user=weir", "user=weir_nobody"));
    let nowhere = Location::Postgres("postgres:///weir?host=/nonexistent&user=weir".to_owned());
    let other = folder.path().join("other.db");
    std::fs::write(
        &other,
        "no database, and long enough to be one, if it only began like one",
    )
    .unwrap();

    let expected: BTreeMap<&str, (&Location, &Location)> = BTreeMap::from([
        (
            "contains a Weir database already; create a new database",
            (&file, &used),
        ),
        ("written by a newer Weir", (&file, &newer)),
        ("relation \"messages\" already exists", (&file, &foreign)),
        ("GRANT CREATE ON SCHEMA", (&file, &denied)),
        ("cannot be reached", (&file, &nowhere)),
        ("contains no Weir schema", (&fresh, &file)),
        ("a Weir host uses this database", (&used, &used)),
    ]);
    for (part, (from, to)) in expected {
        let reason = reason(from, to);
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert!(reason(&file, &Location::Sqlite(other)).contains("not a database"));
    assert!(reason(&Location::Sqlite(folder.path().join("none.db")), &fresh).contains("does not exist"));
    let wrong = move_record(&file, &fresh, &MasterKey::new([3; 32]), &mint(), at(0), &mut |_| ());
    assert!(matches!(wrong, Err(StoreError::WrongKey)), "{wrong:?}");
    // Neither database was changed.
    drop(open_sqlite(&path).unwrap());
    assert_eq!(
        server.execute(
            "weir_move_denied",
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ),
        "0\n"
    );
    go(&file, &fresh).unwrap();
}
