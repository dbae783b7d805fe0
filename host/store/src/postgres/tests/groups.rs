//! Work that waits at the same time.

use std::sync::mpsc;

use weir_domain::policy::PolicySet;
use weir_domain::record::inbound::Recorded;

use super::*;
use crate::conformance::world::{ACCOUNT, account, app, at, contact_writes_in, credential, manifest};
use crate::engine::Engine;
use crate::store::*;
use crate::{Source, StoreError};

/// Applies webhooks while all connections for ordered work are in use, so that they wait together; returns the result of each.
async fn receive_together(store: &Arc<PostgresStore>, people: &[&str]) -> Vec<Result<Recorded>> {
    store.put_app(app("example")).await.unwrap();
    store
        .connect_channel(account(ACCOUNT), credential("token"), at(0))
        .await
        .unwrap();
    let mut busy = Vec::new();
    for _ in 0..CONNECTIONS {
        let (release, released) = mpsc::channel::<()>();
        let (started, begins) = tokio::sync::oneshot::channel();
        let store = Arc::clone(store);
        let task = tokio::spawn(async move {
            let wait = move |_: &_, _: &_, _: &_| {
                started.send(()).unwrap();
                // It ends when the sender is dropped.
                let _ = released.recv();
            };
            PostgresStore::on_connection(&store.ordered, wait).await
        });
        begins.await.unwrap();
        busy.push((release, task));
    }
    let mut waiting = Vec::new();
    for name in people {
        let (store, event) = (Arc::clone(store), contact_writes_in(name, &format!("of-{name}"), 1));
        let policies = PolicySet::new(Arc::new(manifest("1.0.0", 1)), serde_json::json!({}));
        waiting.push(tokio::spawn(async move {
            store
                .record_inbound(&app("example"), vec![event], Source::Webhook, &policies, at(2))
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
    let mut received = Vec::new();
    for task in waiting {
        received.push(task.await.unwrap());
    }
    received
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
    for received in run(receive_together(&store, &["ann", "bob", "cid", "dee", "eve"])) {
        assert_eq!(received.unwrap().stored, 1);
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
    let received = run(receive_together(&store, &["ann", "bob", "cid"]));
    let refused = received[1].as_ref().unwrap_err();
    assert!(
        matches!(refused, StoreError::Database(reason) if reason.contains("not this one")),
        "{refused}"
    );
    assert!(received[0].is_ok() && received[2].is_ok(), "{received:?}");
    let kept = "SELECT count(*), count(DISTINCT xmin::text) FROM messages";
    assert_eq!(server.execute("weir_grouped_apart", kept), "2|2\n");
}

#[test]
fn what_waits_is_refused_when_the_store_closes() {
    let (_, store) = begin("weir_grouped_closed");
    run(async {
        store.put_app(app("example")).await.unwrap();
        store.close().await;
        let policies = PolicySet::new(Arc::new(manifest("1.0.0", 1)), serde_json::json!({}));
        let event = contact_writes_in("ann", "of-ann", 1);
        let refused = store
            .record_inbound(&app("example"), vec![event], Source::Webhook, &policies, at(2))
            .await
            .unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused}");
        assert_eq!(store.writes_waiting(), 0);
    });
}
