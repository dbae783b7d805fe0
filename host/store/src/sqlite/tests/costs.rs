//! The cost of a message for the writer: statements, rows and pages of the log. Time depends on the machine; these do
//! not.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rusqlite::trace::{TraceEvent, TraceEventCodes};
use weir_domain::id::Mint;

use crate::conformance::Made;
use crate::conformance::world::*;
use crate::engine::Engine;
use crate::sqlite::SqliteStore;
use crate::store::*;
use crate::{MasterKey, MessageLease, RequestRecord, Room, Source};

/// The number of executions of each statement.
type Statements = Arc<Mutex<BTreeMap<String, u32>>>;

thread_local! {
    /// The database of this test's world.
    static COUNTED: RefCell<Option<(Arc<SqliteStore>, Statements)>> = const { RefCell::new(None) };
}

/// Bytes of a page in the log, with its header (sqlite.org/fileformat2.html, section 4).
const PAGE: u64 = 4096 + 24;

pub(super) fn counted() -> Made {
    let folder = tempfile::tempdir().unwrap();
    let statements = Statements::default();
    let counter = Arc::clone(&statements);
    let count = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(_, sql) = event {
            *counter.lock().unwrap().entry(sql.to_owned()).or_default() += 1;
        }
    };
    let store = SqliteStore::open_with(
        &folder.path().join("weir.db"),
        &MasterKey::new([2; 32]),
        Arc::new(Mint::from_seed([1; 32])),
        |connection| {
            connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(count))?;
            // The log keeps all writes, so that its length counts them.
            connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))
        },
    );
    let store = Arc::new(store.unwrap());
    COUNTED.set(Some((Arc::clone(&store), statements)));
    Made {
        store,
        keep: Box::new(folder),
    }
}

struct Cost {
    statements: f64,
    rows: f64,
    pages: f64,
    /// The number of executions of each statement.
    list: String,
}

impl Cost {
    fn is_at_most(&self, what: &str, statements: f64, rows: f64) {
        let (ran, written, pages) = (self.statements, self.rows, self.pages);
        let summary = format!("{what} a message: {ran:.2} statements, {written:.2} rows, {pages:.2} pages");
        eprintln!("{summary}");
        assert!(ran <= statements && written <= rows, "{summary}\n{}", self.list);
    }
}

/// Counts the cost of one part of the test for each of `messages`.
async fn cost<T>(messages: usize, part: impl Future<Output = T>) -> (T, Cost) {
    let (store, statements) = COUNTED.with_borrow(|counted| counted.clone().unwrap());
    let rows = async || {
        store
            .write(|db| db.one("SELECT total_changes()", [], |row| row.get::<u64>(0)))
            .await
            .unwrap()
            .unwrap()
    };
    let (before, log) = (rows().await, store.log_bytes());
    statements.lock().unwrap().clear();
    let done = part.await;
    let seen = std::mem::take(&mut *statements.lock().unwrap());
    let each = |count: u64| count as f64 / messages as f64;
    let (pages, rows) = ((store.log_bytes() - log) / PAGE, rows().await - before);
    let line = |(sql, count): (&String, &u32)| {
        let words: Vec<&str> = sql.split_whitespace().collect();
        format!("{count:5}  {}\n", words.join(" "))
    };
    let cost = Cost {
        statements: each(seen.values().map(|count| u64::from(*count)).sum()),
        rows: each(rows),
        pages: each(pages),
        list: seen.iter().map(line).collect(),
    };
    (done, cost)
}

/// Starts tasks while the writer is busy, so that they share a commit.
pub(super) async fn together<T: Send + 'static>(tasks: Vec<impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let (store, _) = COUNTED.with_borrow(|counted| counted.clone().unwrap());
    let (release, busy) = super::occupy(&store).await;
    let count = tasks.len();
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    while store.writes_waiting() < count {
        tokio::task::yield_now().await;
    }
    drop(release);
    busy.await.unwrap().unwrap();
    let mut done = Vec::with_capacity(count);
    for task in tasks {
        done.push(task.await.unwrap());
    }
    done
}

/// Contacts that receive messages.
const PEOPLE: usize = 20;
/// Messages to each: a window's budget.
const EACH: usize = BUDGET as usize;

/// The load of API callers and the worker: a message to each person arrives while the writer is busy, a round leases
/// the due ones, and the responses arrive together. The events have no subscriber.
#[test]
fn a_send_costs_few_statements_rows_and_pages() {
    super::block_on(async {
        let world = World::begin(counted).await;
        let threads: Vec<String> = (0..PEOPLE).map(|n| format!("t{n}")).collect();
        let words = threads
            .iter()
            .map(|thread| contact_writes_in(thread, &format!("m-{thread}"), 10));
        world.receive(words.collect(), 10).await;
        let mut conversations = Vec::new();
        for thread in &threads {
            conversations.push(world.conversation(thread).await.id);
        }
        for round in 0..EACH {
            let claimed = |conversation| {
                let mut new = world.draft(conversation, "Answer: it is, and sending it is free.");
                new.claim = Some(World::claim(&format!("{conversation}-{round}"), "send"));
                let (store, policies) = (Arc::clone(&world.store), world.policy_set.clone());
                async move { store.enqueue(new, &policies, at(20)).await.unwrap() }
            };
            let accepts = conversations.iter().copied().map(claimed).collect();
            let (_, accepting) = cost(PEOPLE, together(accepts)).await;
            accepting.is_at_most("accepting", 4.2, 5.1);
        }
        for round in 0..EACH {
            let second = 30 + i64::try_from(round).unwrap();
            let room = Room::of_all(64);
            let (leases, leasing) = cost(PEOPLE, world.store.lease_messages("worker", room, at(second))).await;
            let leases = leases.unwrap();
            assert_eq!(leases.len(), PEOPLE);
            leasing.is_at_most("leasing", 0.8, 2.1);
            let settled = |held: MessageLease| {
                let next = sent(&format!("p-{}", held.message.id), second);
                let request = RequestRecord {
                    route: "send".into(),
                    method: "POST".into(),
                    url: "https://platform.example/v1/message/send".into(),
                    at: at(second),
                    status: Some(200),
                    elapsed_ms: 12,
                    error: None,
                };
                let store = Arc::clone(&world.store);
                async move {
                    let settled = store.settle_message(&held.token, next, vec![request], Vec::new(), at(second));
                    assert!(settled.await.unwrap());
                }
            };
            let settles = leases.into_iter().map(settled).collect();
            let (_, settling) = cost(PEOPLE, together(settles)).await;
            settling.is_at_most("settling", 4.2, 6.1);
        }
    });
}

/// Webhooks of this many people that wait for one commit, each with a message in an existing conversation.
fn webhooks_of_one_commit(people: usize) -> Cost {
    super::block_on(async {
        let world = World::begin(counted).await;
        let (store, _) = COUNTED.with_borrow(|counted| counted.clone().unwrap());
        let words = |seconds: i64| {
            (0..people).map(move |n| contact_writes_in(&format!("t{n}"), &format!("m{n}-{seconds}"), seconds))
        };
        world.receive(words(10).collect(), 10).await;
        let (app, policies) = (Arc::new(world.app.clone()), world.policy_set.clone());
        let ((), cost) = cost(people, async {
            let (release, busy) = super::occupy(&store).await;
            let mut waiting = tokio::task::JoinSet::new();
            for word in words(20) {
                let (store, app, policies) = (Arc::clone(&store), Arc::clone(&app), policies.clone());
                waiting.spawn(async move {
                    let recorded = store.record_inbound(&app, vec![word], Source::Webhook, &policies, at(20));
                    assert_eq!(recorded.await.unwrap().stored, 1);
                });
            }
            while store.writes_waiting() < people {
                tokio::task::yield_now().await;
            }
            let commits = store.commits();
            drop(release);
            busy.await.unwrap().unwrap();
            waiting.join_all().await;
            assert_eq!(store.commits(), commits + 2, "what kept the writer busy, and the group");
        })
        .await;
        cost
    })
}

#[test]
fn webhooks_of_one_commit_share_statements() {
    // Ten of the statements are those of two commits, of which one only keeps the writer busy.
    webhooks_of_one_commit(1).is_at_most("one webhook", 19.0, 3.0);
    webhooks_of_one_commit(64).is_at_most("one of 64 webhooks", 1.3, 3.0);
}
