//! Servers that cannot be used, and servers that fail.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use weir_test_postgres::PostgresServer;

use super::*;
use crate::StoreError;
use crate::conformance::world::app;
use crate::postgres::connection::Connection;
use crate::postgres::settings::Settings;
use crate::store::*;

fn open_url(url: &str) -> Result<PostgresStore> {
    PostgresStore::open_with(
        url,
        CONNECTIONS,
        &MasterKey::new([2; 32]),
        Arc::new(Mint::from_seed([1; 32])),
    )
}

fn reason(url: &str) -> String {
    open_url(url).map(drop).unwrap_err().to_string()
}

fn created(server: &PostgresServer, database: &str) -> String {
    server.execute("postgres", &format!("CREATE DATABASE {database}"));
    server.url(database)
}

#[test]
fn what_the_server_refuses_is_explained() {
    let server = PostgresServer::installed();
    let url = created(server, "weir_refusing");
    server.execute(
        "postgres",
        "CREATE ROLE weir_secret LOGIN PASSWORD 'right'; CREATE ROLE weir_crowded LOGIN CONNECTION LIMIT 0;
         CREATE ROLE weir_poor LOGIN",
    );
    server.execute("weir_refusing", "REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let hba = server.execute("postgres", "SHOW hba_file");
    server.execute(
        "postgres",
        &format!(
            "COPY (VALUES ('local all weir_secret scram-sha-256'), ('local all all trust'), ('local replication all trust'))
             TO '{}'",
            hba.trim()
        ),
    );
    server.execute("postgres", "SELECT pg_reload_conf()");
    let of = |user: &str| url.replace("user=weir", &format!("user={user}"));
    let with_password = format!("{}&password=wrong", of("weir_secret"));
    // Until the server has reloaded its file, any user is admitted, and may not create tables.
    while !reason(&with_password).contains("password") {}
    for (url, expected) in [
        (
            format!("{}&password=wrong", of("weir_secret")),
            "check the user and the password",
        ),
        (of("weir_unknown"), "check the user in the URL"),
        (of("weir_crowded"), "all connections of the server are in use"),
        (of("weir_poor"), "run GRANT CREATE ON SCHEMA"),
        (server.url("weir_none"), "create it with `createdb`"),
        (
            "postgres://weir@weir.invalid/weir?sslmode=disable".to_owned(),
            "check that the server runs, and the host and port in the URL",
        ),
    ] {
        let reason = reason(&url);
        assert!(reason.contains(expected), "{expected}: {reason}");
        assert!(
            !reason.contains("wrong)") && !reason.contains("password=wrong"),
            "{reason}"
        );
    }
}

#[test]
fn a_standby_and_a_read_only_database_are_refused() {
    let primary = PostgresServer::durable();
    let url = primary.url("weir");
    drop(open_url(&url).unwrap());
    let standby = primary.standby();
    let refused = reason(&standby.url("weir"));
    assert!(
        refused.contains("is a standby") && refused.contains("name the primary"),
        "{refused}"
    );
    let facts = PostgresStore::inspect(&standby.url("weir")).unwrap();
    assert!(facts.unfit.is_some_and(|reason| reason.contains("standby")));
    while primary.execute("postgres", "SELECT count(*) FROM pg_stat_replication") != "1\n" {}
    let facts = PostgresStore::inspect(&url).unwrap();
    assert_eq!((facts.unfit, facts.receivers), (None, 1));
    assert_eq!(facts.synchronous_standby_names, "");

    primary.execute("postgres", "ALTER DATABASE weir SET default_transaction_read_only = on");
    let refused = reason(&url);
    assert!(refused.contains("or read-only"), "{refused}");
}

#[test]
fn a_pooler_in_transaction_mode_is_refused() {
    let server = PostgresServer::installed();
    let url = created(server, "weir_pooled");
    let pooled = server.pooled("weir_pooled", "transaction");
    let refused = reason(&pooled);
    assert!(
        refused.contains("a pooler in transaction mode") && refused.contains("session mode"),
        "{refused}"
    );
    assert!(PostgresStore::inspect(&pooled).unwrap().is_pooled);
    drop(open_url(&server.pooled("weir_pooled", "session")).unwrap());
    assert!(!PostgresStore::inspect(&url).unwrap().is_pooled);
}

#[test]
fn a_server_is_inspected() {
    let server = PostgresServer::current();
    let url = created(server, "weir_inspected");
    let before = PostgresStore::inspect(&url).unwrap();
    assert_eq!((before.schema, before.unfit), (0, None));
    let _host = open_url(&url).unwrap();
    let facts = PostgresStore::inspect(&url).unwrap();
    assert_eq!(facts.schema, facts.newest_schema);
    assert_eq!(facts.synchronous_commit, "off");
    assert_eq!(facts.connections_allowed, 297);
    assert!(facts.clock_ahead_ms.abs() < 1_000, "one machine has one clock");
    server.execute("postgres", "ALTER DATABASE weir_inspected CONNECTION LIMIT 40");
    assert_eq!(PostgresStore::inspect(&url).unwrap().connections_allowed, 40);
}

#[test]
fn a_full_disk_of_the_server_is_unavailable() {
    let server = PostgresServer::installed();
    let connection = Connection::open(&Settings::read(&server.url("postgres")).unwrap()).unwrap();
    let full = "DO $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$";
    let error = StoreError::from(connection.execute(full).unwrap_err());
    assert!(
        matches!(&error, StoreError::Unavailable { reason } if reason.contains("disk of the database server is full")),
        "{error}"
    );
}

#[test]
fn a_restart_under_load_loses_nothing_that_was_confirmed() {
    /// Writes of each task after the restart.
    const AFTERWARDS: usize = 20;
    let mut server = PostgresServer::durable();
    let store = open_url(&server.url("weir")).unwrap();
    let is_back = AtomicBool::new(false);
    let confirmed: Mutex<BTreeSet<String>> = Mutex::default();
    let refused: Mutex<BTreeSet<String>> = Mutex::default();
    let load = |task: usize| {
        let (store, is_back, confirmed, refused) = (&store, &is_back, &confirmed, &refused);
        async move {
            let (mut number, mut afterwards) = (0, 0);
            while afterwards < AFTERWARDS {
                let (name, was_back) = (format!("{task}-{number}"), is_back.load(Ordering::SeqCst));
                number += 1;
                match store.put_app(app(&name)).await {
                    Ok(()) => {
                        confirmed.lock().unwrap().insert(name);
                        afterwards += usize::from(was_back);
                    }
                    Err(StoreError::Unavailable { .. }) => {
                        refused.lock().unwrap().insert(name);
                        tokio::task::yield_now().await;
                    }
                    Err(StoreError::Unknown { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| runtime.block_on(async { tokio::join!(load(0), load(1), load(2)) }));
        // Here, since the server ends with the thread that starts it.
        for _ in 0..3 {
            let so_far = confirmed.lock().unwrap().len();
            while confirmed.lock().unwrap().len() < so_far + AFTERWARDS {
                std::thread::yield_now();
            }
            server.kill();
            server.restart();
        }
        is_back.store(true, Ordering::SeqCst);
    });
    let kept: BTreeSet<String> = runtime
        .block_on(store.apps())
        .unwrap()
        .into_iter()
        .map(|app| app.name)
        .collect();
    let (confirmed, refused) = (confirmed.into_inner().unwrap(), refused.into_inner().unwrap());
    assert!(kept.is_superset(&confirmed), "lost {:?}", confirmed.difference(&kept));
    assert!(kept.is_disjoint(&refused), "wrote {:?}", kept.intersection(&refused));
    assert!(!refused.is_empty(), "the server was never away");
}
