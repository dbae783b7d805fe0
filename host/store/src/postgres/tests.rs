//! The conformance suite on the oldest supported server and on a current one.
#![allow(clippy::unwrap_used)]

mod faults;
mod groups;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use weir_domain::id::Mint;
use weir_test_postgres::PostgresServer;

use crate::conformance::Made;
use crate::{MasterKey, PostgresStore, Result};

/// Connections of a store under test: enough for two transactions to conflict.
const CONNECTIONS: usize = 3;

fn open(server: &PostgresServer, database: &str) -> Result<PostgresStore> {
    let mint = Arc::new(Mint::from_seed([1; 32]));
    PostgresStore::open_with(&server.url(database), CONNECTIONS, &MasterKey::new([2; 32]), mint)
}

fn make(server: &'static PostgresServer) -> Made {
    let emptied = EMPTIED.lock().unwrap().entry(server.url("")).or_default().pop();
    let database = emptied.unwrap_or_else(|| {
        let database = format!("weir_{}", MADE.fetch_add(1, Ordering::Relaxed));
        server.execute("postgres", &format!("CREATE DATABASE {database}"));
        database
    });
    Made {
        store: Arc::new(open(server, &database).unwrap()),
        keep: Box::new(Used { server, database }),
    }
}

/// Databases of each server that are free for the next test.
static EMPTIED: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());

/// The number created so far.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A database that is emptied for the next test: that takes a tenth of the time of creating one.
struct Used {
    server: &'static PostgresServer,
    database: String,
}

/// Empties a database, without the effects of deleted rows.
const EMPTY: &str = "DO $$
DECLARE of record;
BEGIN
    SET LOCAL session_replication_role = 'replica';
    FOR of IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_steps' LOOP
        EXECUTE format('DELETE FROM %I', of.tablename);
    END LOOP;
    FOR of IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' LOOP
        PERFORM setval(format('%I', of.sequencename), 1, false);
    END LOOP;
    INSERT INTO workspaces (id, created_at) VALUES ('default', 0);
END $$";

impl Drop for Used {
    fn drop(&mut self) {
        self.server.execute(&self.database, EMPTY);
        let database = std::mem::take(&mut self.database);
        EMPTIED
            .lock()
            .unwrap()
            .entry(self.server.url(""))
            .or_default()
            .push(database);
    }
}

mod opening {
    use super::*;
    use crate::StoreError;
    use crate::meta::{self, End, Mark};
    use crate::postgres::connection::Connection;
    use crate::postgres::settings::Settings;
    use crate::store::*;
    use crate::vault::Vault;

    #[test]
    fn nodes_that_start_together_migrate_once() {
        let (server, database) = (PostgresServer::installed(), "weir_together");
        server.execute("postgres", &format!("CREATE DATABASE {database}"));
        let nodes: Vec<_> = (0..4)
            .map(|n| std::thread::spawn(move || (n, open(server, database).unwrap())))
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for node in nodes {
            let (n, store) = node.join().unwrap();
            runtime.block_on(async {
                let now = crate::conformance::world::at(n);
                store.register_node("weir", "1.0.0", now).await.unwrap();
                // Restores the bounds of its own connections.
                store.ping().await.unwrap();
            });
        }
        let again = open(server, database).unwrap();
        let mut epochs: Vec<_> = runtime.block_on(again.nodes()).unwrap();
        epochs.sort_by_key(|node| node.epoch);
        let epochs: Vec<_> = epochs.iter().map(|node| node.epoch).collect();
        assert_eq!(epochs, [1, 2, 3, 4]);
    }

    #[test]
    fn a_connection_is_usable_after_it_waited_for_a_lock_in_vain() {
        let (server, database) = (PostgresServer::installed(), "weir_locked");
        server.execute("postgres", &format!("CREATE DATABASE {database}"));
        let mint = Arc::new(Mint::from_seed([5; 32]));
        let store = PostgresStore::open_with(&server.url(database), 1, &MasterKey::new([2; 32]), mint).unwrap();
        let other = Connection::open(&Settings::read(&server.url(database)).unwrap()).unwrap();
        other
            .execute("BEGIN; LOCK TABLE schema_steps; SET idle_in_transaction_session_timeout = 0")
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let refused = runtime.block_on(store.probe()).unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused}");
        drop(other);
        runtime.block_on(async {
            while store.probe().await.is_err() {}
            store.ping().await.unwrap();
        });
    }

    #[test]
    fn a_heartbeat_waits_for_no_other_write() {
        let (server, database) = (PostgresServer::installed(), "weir_heartbeat_locks");
        server.execute("postgres", &format!("CREATE DATABASE {database}"));
        let store = open(server, database).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let now = crate::conformance::world::at(1);
        let node = runtime.block_on(store.register_node("weir", "1.0.0", now)).unwrap();
        let other = Connection::open(&Settings::read(&server.url(database)).unwrap()).unwrap();
        other
            .execute("BEGIN; LOCK TABLE schema_steps; SET idle_in_transaction_session_timeout = 0")
            .unwrap();
        assert!(runtime.block_on(store.beat(&node.id, now)).unwrap());
        let held =
            "SELECT count(*) FROM pg_locks WHERE relation = 'schema_steps'::regclass AND mode = 'AccessExclusiveLock'";
        assert_eq!(
            server.execute(database, held),
            "1\n",
            "the other write has the lock still"
        );
        drop(other);
    }

    #[test]
    fn a_silent_server_ends_the_connection() {
        let (server, database) = (PostgresServer::installed(), "weir_silent");
        server.execute("postgres", &format!("CREATE DATABASE {database}"));
        drop(open(server, database).unwrap());
        server.execute(
            database,
            "CREATE TABLE slow (n bigint);
             CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(5); RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION linger()",
        );
        let brief = std::time::Duration::from_millis(1);
        // A server that accepts a connection and does not answer.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("postgres://weir@{}/weir", listener.local_addr().unwrap());
        let error = Connection::open_within(&Settings::read(&url).unwrap(), brief)
            .err()
            .unwrap();
        assert!(error.to_string().contains("did not answer"), "{error}");
        let connection = || Connection::open(&Settings::read(&server.url(database)).unwrap()).unwrap();
        let silent = connection();
        silent.answered_within.set(Some(brief));
        let error = silent.execute("SELECT pg_sleep(5)").unwrap_err();
        assert!(error.is_closed() && silent.is_closed(), "{error}");
        // During a commit the outcome is unknown.
        let (vault, mint) = (Vault::new(&MasterKey::new([2; 32])), Mint::from_seed([5; 32]));
        let silent = connection();
        let written = silent.write(&vault, &mint, &|db| {
            db.run("INSERT INTO slow VALUES (1)", [])?;
            silent.answered_within.set(Some(brief));
            Ok::<_, StoreError>(())
        });
        assert!(matches!(written, Err(StoreError::Unknown { .. })), "{written:?}");
        assert!(silent.is_closed());
    }

    #[test]
    fn a_node_that_reconnects_to_a_moved_record_is_refused() {
        let (server, database) = (PostgresServer::installed(), "weir_moved_away");
        server.execute("postgres", &format!("CREATE DATABASE {database}"));
        let mint = Arc::new(Mint::from_seed([5; 32]));
        let vault = Vault::new(&MasterKey::new([2; 32]));
        let store = PostgresStore::open_with(&server.url(database), 1, &MasterKey::new([2; 32]), mint.clone()).unwrap();
        let other = Connection::open(&Settings::read(&server.url(database)).unwrap()).unwrap();
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let end = End {
            id: "move".to_owned(),
            place: "elsewhere".to_owned(),
            at: 0,
        };
        let mark = Mark::Moved(end);
        other.write(&vault, &mint, &|db| meta::set_mark(db, &mark)).unwrap();
        other.execute(cut).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let refused = runtime.block_on(async {
            loop {
                match store.ping().await {
                    Err(error @ StoreError::Closed(_)) => return error.to_string(),
                    // Its connection may end a little later.
                    Ok(()) | Err(StoreError::Unavailable { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let at_a_start = open(server, database).map(drop).unwrap_err().to_string();
        assert_eq!(refused, at_a_start);
        assert!(refused.contains("it was moved to elsewhere"), "{refused}");
        other.write(&vault, &mint, &meta::remove_mark).unwrap();
        runtime.block_on(async { while store.ping().await.is_err() {} });
    }

    #[test]
    fn a_heartbeat_waits_for_no_other_work() {
        let (server, database) = (PostgresServer::installed(), "weir_heartbeat");
        server.execute("postgres", &format!("CREATE DATABASE {database}"));
        let mint = Arc::new(Mint::from_seed([5; 32]));
        let store = PostgresStore::open_with(&server.url(database), 1, &MasterKey::new([2; 32]), mint).unwrap();
        let other = Connection::open(&Settings::read(&server.url(database)).unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let now = crate::conformance::world::at(0);
        let node = runtime.block_on(store.register_node("weir", "1.0.0", now)).unwrap();
        other.execute("SET idle_in_transaction_session_timeout = 0").unwrap();
        other.execute("BEGIN; LOCK TABLE apps").unwrap();
        let mut work = Box::pin(store.put_app(crate::conformance::world::app("waits")));
        runtime.block_on(async {
            tokio::select! {
                biased;
                done = &mut work => panic!("the table is locked: {done:?}"),
                beaten = store.beat(&node.id, now) => assert!(beaten.unwrap()),
            }
        });
        other.execute("ROLLBACK").unwrap();
        runtime.block_on(work).unwrap();
    }

    #[test]
    fn another_master_key_is_refused() {
        let (server, database) = (PostgresServer::installed(), "weir_key");
        server.execute("postgres", &format!("CREATE DATABASE {database}"));
        drop(open(server, database).unwrap());
        let mint = Arc::new(Mint::from_seed([5; 32]));
        let refused = PostgresStore::open_with(&server.url(database), 1, &MasterKey::new([3; 32]), mint).map(drop);
        assert!(matches!(refused, Err(StoreError::WrongKey)), "{refused:?}");
    }

    #[test]
    fn an_unusable_database_is_explained() {
        let reason = |url: &str| {
            let mint = Arc::new(Mint::from_seed([5; 32]));
            let refused = PostgresStore::open_with(url, 1, &MasterKey::new([2; 32]), mint).map(drop);
            refused.unwrap_err().to_string()
        };
        let unreadable = reason("postgres://[half");
        assert!(
            unreadable.contains("the URL of the database cannot be read"),
            "{unreadable}"
        );
        let unreachable = reason("postgres:///weir?host=/nonexistent&user=weir");
        assert!(unreachable.contains("the database cannot be reached"), "{unreachable}");
        let server = PostgresServer::installed();
        let missing = reason(&server.url("weir_missing"));
        assert!(missing.contains("does not exist"), "{missing}");
        let database = "weir_newer";
        server.execute("postgres", &format!("CREATE DATABASE {database}"));
        server.execute(
            database,
            "CREATE TABLE schema_steps (step BIGINT PRIMARY KEY, digest TEXT NOT NULL); INSERT INTO schema_steps VALUES (99, '')",
        );
        let newer = reason(&server.url(database));
        assert!(newer.contains("written by a newer Weir (its schema is 99"), "{newer}");
    }
}

/// The oldest supported server: Debian's.
mod oldest {
    use super::*;

    fn made() -> Made {
        make(PostgresServer::installed())
    }

    crate::store_conformance!(made);
}

/// A current one.
mod newest {
    use super::*;

    fn made() -> Made {
        make(PostgresServer::current())
    }

    crate::store_conformance!(made);
}
