//! Work that waits at the same time.

use std::sync::mpsc;

use weir_domain::policy::RuleBook;
use weir_domain::record::inbound::Recorded;

use super::*;
use crate::conformance::world::{ACCOUNT, account, app, at, credential, manifest, says_in};
use crate::engine::Engine;
use crate::store::*;
use crate::{Source, StoreError};

/// Applies webhooks while all connections are in use, so that they wait together; returns the result of each.
async fn hear_together(store: &Arc<PostgresStore>, people: &[&str]) -> Vec<Result<Recorded>> {
    store.put_app(app("example")).await.unwrap();
    store
        .connect_channel(account(ACCOUNT), credential("token"), at(0))
        .await
        .unwrap();
    let mut busy = Vec::new();
    for _ in 0..CONNECTIONS {
        let (release, released) = mpsc::channel::<()>();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let store = Arc::clone(store);
        let task = tokio::spawn(async move {
            let wait = move |_: &_, _: &_, _: &_| {
                begun.send(()).unwrap();
                // It ends when the sender is dropped.
                let _ = released.recv();
            };
            PostgresStore::on_connection(&store.connections, wait).await
        });
        begins.await.unwrap();
        busy.push((release, task));
    }
    let mut waiting = Vec::new();
    for name in people {
        let (store, event) = (Arc::clone(store), says_in(name, &format!("of-{name}"), 1));
        let book = RuleBook::new(Arc::new(manifest("1.0.0", 1)), serde_json::json!({}));
        waiting.push(tokio::spawn(async move {
            store
                .record_inbound(&app("example"), vec![event], Source::Webhook, &book, at(2))
                .await
        }));
    }
    // One transaction for all of them waits in the queue.
    while store.writes_waiting() < people.len() + 1 {
        tokio::task::yield_now().await;
    }
    for (release, task) in busy {
        drop(release);
        task.await.unwrap().unwrap();
    }
    let mut heard = Vec::new();
    for task in waiting {
        heard.push(task.await.unwrap());
    }
    heard
}

fn begin(database: &str) -> (&'static PostgresServer, Arc<PostgresStore>) {
    let server = PostgresServer::installed();
    server.execute("postgres", &format!("CREATE DATABASE {database}"));
    (server, Arc::new(open(server, database).unwrap()))
}

fn run<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(work)
}

#[test]
fn what_waits_together_shares_one_transaction() {
    let (server, store) = begin("weir_grouped");
    for heard in run(hear_together(&store, &["ann", "bob", "cid", "dee", "eve"])) {
        assert_eq!(heard.unwrap().stored, 1);
    }
    let transactions = "SELECT count(*), count(DISTINCT xmin::text) FROM messages";
    assert_eq!(server.execute("weir_grouped", transactions), "5|1\n");
}

#[test]
fn one_that_fails_undoes_no_other() {
    let (server, store) = begin("weir_grouped_apart");
    server.execute(
        "weir_grouped_apart",
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW WHEN (NEW.platform_id = 'of-bob')
             EXECUTE FUNCTION refuse()",
    );
    let heard = run(hear_together(&store, &["ann", "bob", "cid"]));
    let refused = heard[1].as_ref().unwrap_err();
    assert!(
        matches!(refused, StoreError::Database(reason) if reason.contains("not this one")),
        "{refused}"
    );
    assert!(heard[0].is_ok() && heard[2].is_ok(), "{heard:?}");
    let kept = "SELECT count(*), count(DISTINCT xmin::text) FROM messages";
    assert_eq!(server.execute("weir_grouped_apart", kept), "2|2\n");
}

#[test]
fn what_waits_is_refused_when_the_store_closes() {
    let (_, store) = begin("weir_grouped_closed");
    run(async {
        store.put_app(app("example")).await.unwrap();
        store.close().await;
        let book = RuleBook::new(Arc::new(manifest("1.0.0", 1)), serde_json::json!({}));
        let event = says_in("ann", "of-ann", 1);
        let refused = store
            .record_inbound(&app("example"), vec![event], Source::Webhook, &book, at(2))
            .await
            .unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused}");
        assert_eq!(store.writes_waiting(), 0);
    });
}
