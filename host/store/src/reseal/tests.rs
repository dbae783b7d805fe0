#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use weir_domain::id::Mint;
use weir_test_postgres::PostgresServer;

use crate::conformance::world::app;
use crate::store::*;
use crate::{MasterKey, PostgresStore, Result, StoreError};

fn key(n: u8) -> MasterKey {
    MasterKey::new([n; 32])
}

fn mint() -> Mint {
    Mint::from_seed([4; 32])
}

#[test]
fn a_new_key_on_postgresql_is_finished_by_the_next_run() {
    let (server, name) = (PostgresServer::installed(), "weir_reseal");
    server.execute("postgres", &format!("CREATE DATABASE {name}"));
    let url = server.url(name);
    let open = |of: u8| PostgresStore::open(&url, &key(of), Arc::new(mint()));
    let reseal = |from: u8, to: u8| PostgresStore::reseal(&url, &key(from), &key(to), &mint());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // More than one step handles.
    let names: Vec<String> = (0..250).map(|n| format!("app-{n:03}")).collect();
    let store = open(1).unwrap();
    runtime.block_on(async {
        for name in &names {
            store.put_app(app(name)).await.unwrap();
        }
    });
    let in_use = reseal(1, 2).unwrap_err().to_string();
    assert!(in_use.contains("a Weir host uses this database"), "{in_use}");
    drop(store);
    assert!(matches!(reseal(3, 2), Err(StoreError::WrongKey)));

    // It fails in the third step.
    server.execute(
        name,
        "CREATE TABLE kept AS SELECT * FROM apps WHERE name = 'app-249'; UPDATE apps SET secrets = '\\x01' WHERE name = 'app-249'",
    );
    let broken = reseal(1, 2).unwrap_err().to_string();
    assert!(broken.contains("apps.secrets of app-249"), "{broken}");
    for of in [1, 2] {
        let refused = open(of).map(drop).unwrap_err().to_string();
        assert!(refused.contains("is incomplete; run `weir reseal` again"), "{refused}");
    }
    let other = reseal(1, 3).unwrap_err().to_string();
    assert!(other.contains("another new master key is incomplete"), "{other}");
    server.execute(
        name,
        "UPDATE apps SET secrets = kept.secrets FROM kept WHERE kept.name = apps.name; DROP TABLE kept",
    );
    assert_eq!(reseal(1, 2).unwrap(), 50);
    assert_eq!(reseal(1, 2).unwrap(), 0);
    assert!(matches!(open(1).map(drop), Err(StoreError::WrongKey)));
    let store = open(2).unwrap();
    let apps: Result<Vec<_>> = runtime.block_on(async {
        let mut apps = Vec::new();
        for name in &names {
            apps.extend(store.app(name).await?);
        }
        Ok(apps)
    });
    assert!(
        apps.unwrap()
            .iter()
            .all(|found| found.secrets == app(&found.name).secrets)
    );
}
