//! The file: what lies in it, and what no longer does.

use weir_domain::inbound::{Fact, ReceiptStatus, ReceiptTarget};
use weir_domain::message::{Direction, MessageError, Origin};

use super::*;
use crate::conformance::world::*;

const CANARY: &str = "canary-4f7a1c";

async fn fill(store: &SqliteStore) -> weir_domain::channel::Channel {
    let mut with_canary = app("example");
    let secret = weir_domain::credential::Secret::new(format!("{CANARY}-app"));
    with_canary.secrets = [("client_secret".to_owned(), vec![secret])].into();
    store.put_app(with_canary).await.unwrap();
    store
        .connect_channel(account(ACCOUNT), credential(CANARY), at(0))
        .await
        .unwrap()
        .0
}

#[test]
fn readers_that_hang_up_stop_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    block_on(async {
        let mut gates = Vec::new();
        for _ in 0..limits::READERS + 2 {
            let (open, gate) = mpsc::channel::<()>();
            gates.push(open);
            let mut reading = std::pin::pin!(store.read(move |_| Ok(gate.recv().is_ok())));
            assert!(is_pending(reading.as_mut()).await);
        }
        let mut looking = std::pin::pin!(store.app("example"));
        let mut listing = std::pin::pin!(store.apps());
        assert!(is_pending(looking.as_mut()).await, "it waits for a reader");
        assert!(is_pending(listing.as_mut()).await, "it waits for a reader");
        drop(gates);
        assert!(looking.await.unwrap().is_none());
        assert!(listing.await.unwrap().is_empty());
    });
}

/// Polls once.
async fn is_pending<T>(mut promise: std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(promise.as_mut().poll(context).is_pending())).await
}

/// Without one, each row that is deleted in the other table has all of this one read, on the writer's thread.
#[test]
fn each_key_into_another_table_has_an_index_to_find_who_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    let file = Connection::open(folder.path().join("weir.db")).unwrap();
    let mut keys = file
        .prepare(
            "SELECT t.name, k.\"from\", EXISTS (
                 SELECT 1 FROM pragma_index_list(t.name) i, pragma_index_info(i.name) c
                 WHERE i.partial = 0 AND c.seqno = 0 AND c.name = k.\"from\")
             FROM pragma_table_list t, pragma_foreign_key_list(t.name) k",
        )
        .unwrap();
    let read = |row: &rusqlite::Row<'_>| {
        Ok((
            format!("{}.{}", row.get::<_, String>(0)?, row.get::<_, String>(1)?),
            row.get(2)?,
        ))
    };
    let keys: Vec<(String, bool)> = keys.query_map([], read).unwrap().collect::<Result<_, _>>().unwrap();
    assert!(
        keys.iter().any(|(key, _)| key == "messages.conversation_id"),
        "{keys:?}"
    );
    let without: Vec<_> = keys.iter().filter(|(_, indexed)| !indexed).collect();
    assert!(without.is_empty(), "{without:?}");
}

#[test]
fn what_was_answered_is_there_after_the_file_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let channel = block_on(async { fill(&open(&folder)).await });
    let again = open(&folder);
    block_on(async {
        assert_eq!(again.channel(DEFAULT, channel.id).await.unwrap(), Some(channel.clone()));
        assert_eq!(
            again.credential(DEFAULT, channel.id).await.unwrap(),
            Some(credential(CANARY))
        );
        assert_eq!(again.last_sequence().await.unwrap(), 1);
    });
}

#[test]
fn what_was_answered_is_in_the_file_though_nothing_was_closed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let channel = block_on(fill(&store));
    // The files as a machine that lost its power would leave them.
    let copy = tempfile::tempdir().unwrap();
    for name in ["weir.db", "weir.db-wal"] {
        std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let survivor = open(&copy);
    assert!(block_on(survivor.credential(DEFAULT, channel.id)).unwrap().is_some());
}

#[test]
fn a_copy_is_a_whole_record() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    block_on(async {
        fill(&store).await;
        let (path, copy) = (folder.path().join("weir.db"), folder.path().join("copy.db"));
        SqliteStore::copy_of(&path, &copy).unwrap();
        let copied = SqliteStore::open(&copy, &MasterKey::new([2; 32]), Arc::new(Mint::from_seed([4; 32]))).unwrap();
        assert_eq!(copied.apps().await.unwrap().len(), 1);
        // A copy is never written over.
        assert!(SqliteStore::copy_of(&path, &copy).is_err());
    });
}

#[test]
fn no_secret_stands_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    block_on(async {
        fill(&store).await;
        SqliteStore::copy_of(&folder.path().join("weir.db"), &folder.path().join("copy.db")).unwrap();
    });
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        assert!(!found, "{path:?}");
    }
    // The windows above would have found a text that is there.
    let bytes = std::fs::read(folder.path().join("copy.db")).unwrap();
    assert!(bytes.windows(8).any(|window| window == b"The Shop"));
}

#[test]
fn another_master_key_opens_everything_and_the_old_one_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.db");
    let store = open(&folder);
    let channel = block_on(async {
        let channel = fill(&store).await;
        store.close().await;
        channel
    });
    drop(store);
    let sealed = || std::fs::read(&path).unwrap();
    let stood = {
        let file = Connection::open(&path).unwrap();
        file.query_row("SELECT sealed FROM credentials", [], |row| row.get::<_, Vec<u8>>(0))
            .unwrap()
    };
    let (old, new) = (MasterKey::new([2; 32]), MasterKey::new([4; 32]));
    let mint = Mint::from_seed([9; 32]);
    let stranger = SqliteStore::reseal(&path, &MasterKey::new([3; 32]), &new, &mint);
    assert!(matches!(stranger, Err(StoreError::WrongKey)), "{stranger:?}");
    // The app's secrets and the account's credential.
    assert_eq!(SqliteStore::reseal(&path, &old, &new, &mint).unwrap(), 2);
    assert_eq!(
        SqliteStore::reseal(&path, &old, &new, &mint).unwrap(),
        0,
        "once is enough"
    );
    assert!(
        !sealed().windows(stood.len()).any(|bytes| bytes == stood),
        "nothing of the old key is left"
    );
    assert!(matches!(open_with_key(&folder, 2), Err(StoreError::WrongKey)));
    let again = open_with_key(&folder, 4).unwrap();
    block_on(async {
        assert_eq!(
            again.credential(DEFAULT, channel.id).await.unwrap(),
            Some(credential(CANARY))
        );
        let app = again.app("example").await.unwrap().unwrap();
        assert!(app.secrets["client_secret"][0].expose().starts_with(CANARY));
    });
}

#[test]
fn a_sealed_value_in_another_row_is_damage_and_takes_nothing_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    block_on(async {
        let first = fill(&store).await;
        let (second, _) = store
            .connect_channel(account("second"), credential("other"), at(0))
            .await
            .unwrap();
        let stranger = Connection::open(folder.path().join("weir.db")).unwrap();
        stranger
            .execute_batch(
                "UPDATE credentials SET sealed = (SELECT sealed FROM credentials ORDER BY channel_id LIMIT 1)",
            )
            .unwrap();
        let (one, other) = (
            store.credential(DEFAULT, first.id).await,
            store.credential(DEFAULT, second.id).await,
        );
        let damaged = [&one, &other]
            .iter()
            .filter(|found| matches!(found, Err(StoreError::Damaged { .. })))
            .count();
        assert_eq!(damaged, 1, "{one:?} {other:?}");
    });
}

#[test]
fn a_row_that_cannot_be_read_is_damage_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    block_on(async {
        let channel = fill(&store).await;
        let stranger = Connection::open(folder.path().join("weir.db")).unwrap();
        stranger
            .execute_batch("UPDATE channels SET channel = '{\"id\": 7}'")
            .unwrap();
        match store.channel(DEFAULT, channel.id).await {
            Err(StoreError::Damaged { place, .. }) => assert_eq!(place, "channels.channel"),
            other => panic!("{other:?}"),
        }
        let status = store
            .set_channel_status(DEFAULT, channel.id, ChannelStatus::Degraded, "", at(1))
            .await;
        assert!(matches!(status, Err(StoreError::Damaged { .. })));
        store.ping().await.unwrap();
    });
}

#[test]
fn another_master_key_is_noticed_when_the_file_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    assert!(matches!(open_with_key(&folder, 3), Err(StoreError::WrongKey)));
    open(&folder);
}

#[test]
fn the_schema_is_made_once_and_a_later_one_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.db");
    let schema = || -> String {
        let stranger = Connection::open(&path).unwrap();
        stranger
            .query_row("SELECT group_concat(sql) FROM sqlite_schema", [], |row| row.get(0))
            .unwrap()
    };
    drop(open(&folder));
    let first = schema();
    drop(open(&folder));
    assert_eq!(schema(), first);
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let newer = open_with_key(&folder, 2).map(drop);
    assert!(
        matches!(&newer, Err(StoreError::Schema(reason)) if reason.contains("newer Weir")),
        "{newer:?}"
    );
    assert_eq!(schema(), first);
}

#[test]
fn a_file_that_is_no_record_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("weir.db"), vec![7; 8192]).unwrap();
    assert!(matches!(open_with_key(&folder, 2), Err(StoreError::Damaged { .. })));
}

/// All bytes of the record's files.
fn bytes(folder: &tempfile::TempDir) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        all.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    all
}

fn holds(bytes: &[u8], words: &str) -> bool {
    memchr::memmem::find(bytes, words.as_bytes()).is_some()
}

/// Tables whose rows an erasure removes where they are a person's or name one.
const ERASED: &[&str] = &[
    "attempts",
    "authors",
    "channels",
    "claims",
    "contacts",
    "conversations",
    "dead_letters",
    "deliveries",
    "delivery_attempts",
    "early_receipts",
    "events",
    "history_gaps",
    "media",
    "media_bytes",
    "messages",
    "moved_states",
    "outbox",
    "referrals",
    "refusals",
    "sent_uploads",
    "state",
    "state_owners",
    "transcripts",
];

/// The others, and why nobody's words, name or platform id stand in them.
const OF_NOBODY: &[(&str, &str)] = &[
    ("apps", "the operator's"),
    ("audit", "what keys did, by our ids"),
    ("components", "connectors"),
    ("connect_sessions", "the account's owner's consent, sealed"),
    ("crashes", "versions and moments"),
    ("credentials", "the account's, sealed"),
    ("dead_letter_counts", "numbers"),
    ("duties", "nodes"),
    ("endpoint_recoveries", "places in the log"),
    ("endpoints", "the operator's"),
    ("erasures", "sealed, and gone with the end of the erasure"),
    ("files_to_remove", "our ids"),
    ("grants", "the operator's"),
    ("keys", "the operator's"),
    ("loaded_versions", "nodes and versions"),
    ("meta", "the record's own"),
    ("platform_clocks", "numbers"),
    ("refusal_counts", "rules, channels and connectors"),
    ("removed_events", "our ids"),
    ("seen", "digests, so that what the platform repeats brings nobody back"),
    ("sessions", "digests"),
    ("trial_figures", "figures"),
    ("trials", "rules and figures"),
    ("turns", "numbers"),
    (
        "version_changes",
        "steps of versions, in the host's and the operator's words",
    ),
    ("version_intents", "a step of versions"),
    ("versions", "connectors"),
    ("work", "our ids"),
    ("workspaces", "the operator's"),
    ("nodes", "hosts"),
    ("rates", "moments, by app and channel"),
    ("revisions", "numbers"),
];

/// A new table needs a decision: whoever adds one says here what it holds of people.
#[test]
fn every_table_is_searched_or_of_nobody() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    let file = Connection::open(folder.path().join("weir.db")).unwrap();
    let mut tables = file
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY name")
        .unwrap();
    let tables = tables.query_map([], |row| row.get(0)).unwrap();
    let tables: Vec<String> = tables.collect::<Result<_, _>>().unwrap();
    let mut known: Vec<&str> = ERASED
        .iter()
        .chain(OF_NOBODY.iter().map(|(table, _)| table))
        .copied()
        .collect();
    known.sort_unstable();
    assert_eq!(tables, known);
    let sources = [
        include_str!("../../acts/erasure.rs"),
        include_str!("../../tables/channels.rs"),
        include_str!("../../tables/early.rs"),
        include_str!("../../tables/gaps.rs"),
        include_str!("../../tables/media.rs"),
        include_str!("../../tables/outbox.rs"),
        include_str!("../../tables/state.rs"),
    ]
    .concat();
    for table in ERASED {
        let is_named = [format!("DELETE FROM {table} "), format!("UPDATE {table} ")]
            .iter()
            .any(|sql| sources.contains(sql));
        assert!(is_named, "no erasure reaches {table}");
    }
}

/// So many that pages are split, joined and freed while the canary lies between others' words.
#[test]
fn no_byte_of_an_erased_person_is_in_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder));
    block_on(async {
        fill(&store).await;
        let book = weir_domain::policy::RuleBook::new(Arc::new(manifest("1.0.0", 1)), serde_json::json!({}));
        let app = app("example");
        for n in 0..400 {
            let (thread, who) = if n % 3 == 0 {
                ("thread".to_owned(), CANARY)
            } else {
                (format!("other-{}", n % 40), "other")
            };
            let words = format!("{who} says {n} {}", "and so on ".repeat(n % 90));
            let mut told = told(
                &thread,
                &format!("m{n}-{who}"),
                weir_domain::message::Direction::Inbound,
                weir_domain::message::Origin::Contact,
                &words,
                10,
            );
            told.contact.display_name = Some(format!("{who} by name"));
            store
                .record_inbound(&app, vec![message(told)], crate::Source::Webhook, &book, at(10))
                .await
                .unwrap();
        }
        assert!(holds(&bytes(&folder), CANARY));
        let all = store
            .conversations(DEFAULT, crate::ConversationFilter::default(), page())
            .await
            .unwrap();
        let hers = all
            .rows
            .into_iter()
            .find(|found| found.platform_id == "thread")
            .unwrap();
        store
            .erase_contact(DEFAULT, hers.contact.id, at(20))
            .await
            .unwrap()
            .unwrap();
        while store.erase_on().await.unwrap() == crate::Erasing::More {}
        let left = bytes(&folder);
        assert!(!holds(&left, &format!("{CANARY} says")), "her words");
        assert!(!holds(&left, &format!("{CANARY} by name")), "her name");
        assert!(holds(&left, "other says"));
    });
}

/// A platform and a connector say what they like, and a connector remembers what it likes: a name or words without an id.
#[test]
fn no_explanation_repeats_an_erased_person() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder));
    block_on(async {
        let channel = fill(&store).await;
        let book = weir_domain::policy::RuleBook::new(Arc::new(manifest("1.0.0", 1)), serde_json::json!({}));
        let app = app("example");
        let mint = Mint::from_seed([9; 32]);
        let (hers, name) = (format!("{CANARY}-id"), format!("{CANARY} by name"));
        let words = format!("{CANARY} says: where is my order? It was due on Monday");
        let repeated = format!("cannot take over \"{}…\"", &words[..30]);
        let by = |thread: &str, id: &str, author: &str, text: &str, second| {
            let (direction, origin) = (Direction::Inbound, Origin::Contact);
            let mut told = told(thread, id, direction, origin, text, second);
            told.contact.platform_id = author.into();
            told.contact.username = None;
            told.contact.display_name = Some(if author == hers { name.clone() } else { "Other".into() });
            told
        };
        let mut answered = by("shared", "m3", "other", "to both", 12);
        answered.platform_data = Some(serde_json::json!({ "quoted": hers }));
        let mut ours = by("shared", "e1", "other", "ours", 13);
        (ours.direction, ours.origin) = (Direction::Outbound, Origin::App);
        let failed = Fact::Receipt {
            conversation: "shared".into(),
            status: ReceiptStatus::Failed,
            target: ReceiptTarget::Messages(vec!["e1".into()]),
            at: at(14),
            error: Some(MessageError {
                detail: repeated.clone(),
                ..error("not_delivered")
            }),
        };
        let mut facts: Vec<_> = [
            by("thread", "m1", &hers, &words, 10),
            by("shared", "m2", "other", "hello", 11),
            answered,
            ours,
            by("shared", "m4", &hers, &words, 14),
            by("elsewhere", "m5", "somebody", "hello", 14),
        ]
        .map(message)
        .into();
        facts.push(event("r1", failed));
        store
            .record_inbound(&app, facts, crate::Source::Webhook, &book, at(15))
            .await
            .unwrap();
        let write = |key: &str, value: &str| crate::StateWrite {
            by: "1.0.0".into(),
            key: key.into(),
            value: Some(value.into()),
        };
        let state = vec![write("draft", &words), write("kept", "what is nobody's")];
        assert!(store.commit_state(DEFAULT, channel.id, state).await.unwrap());
        store
            .hold_state("example", channel.id, "1.0.0", &repeated, at(16))
            .await
            .unwrap();
        let reasons = [("1.0.0".to_owned(), repeated.clone())].into();
        store.hold_accounts("example", reasons, at(16)).await.unwrap();
        let before = store.state(DEFAULT, channel.id).await.unwrap().entries;
        let moved = crate::StateMove {
            channel_id: channel.id,
            from: "1.0.0".into(),
            to: "2.0.0".into(),
            after: before.clone(),
            before,
        };
        assert!(store.hand_state_over("example", moved).await.unwrap());
        store
            .hold_state("example", channel.id, "2.0.0", &repeated, at(17))
            .await
            .unwrap();
        let cursor = format!("{{\"after\":\"{name}\"}}");
        store
            .keep_poll_cursor(DEFAULT, channel.id, Some(cursor.clone()))
            .await
            .unwrap();
        let gap = crate::HistoryGap {
            channel: channel.id,
            conversation: "another".into(),
            contact: None,
            answered: false,
            since: at(1),
            attempts: 1,
            due_at: Some(at(60)),
            detail: repeated.clone(),
        };
        store.keep_history_gap(DEFAULT, gap).await.unwrap();
        store
            .set_channel_status(
                DEFAULT,
                channel.id,
                ChannelStatus::ReauthorizationRequired,
                &repeated,
                at(17),
            )
            .await
            .unwrap();
        let refusal = crate::RefusalRecord {
            id: mint.id(at(18)),
            workspace_id: DEFAULT.into(),
            channel_id: Some(channel.id),
            conversation_id: None,
            message_id: None,
            about: crate::RefusedWhat::State,
            whom: "example".into(),
            rule: "state_quota".into(),
            detail: repeated.clone(),
            facts: serde_json::json!({ "key": name }),
            changes: String::new(),
            remedy: String::new(),
            at: at(18),
        };
        store.keep_refusal(refusal).await.unwrap();
        let letter = crate::DeadLetter {
            id: mint.id(at(18)),
            app: "example".into(),
            version: "1.0.0".into(),
            reason: format!("{hers} is unknown"),
            received_at: at(18),
            webhook: weir_domain::signature::RawWebhook {
                method: "POST".into(),
                query: String::new(),
                headers: Vec::new(),
                body: "{}".into(),
            },
        };
        store.keep_dead_letter(letter).await.unwrap();
        let claim = World::claim(&format!("for {hers}"), "print");
        store.claim(claim, "owner", at(18)).await.unwrap();

        let conversations = store
            .conversations(DEFAULT, crate::ConversationFilter::default(), page())
            .await
            .unwrap()
            .rows;
        let erase = async |thread: &str| {
            let found = conversations.iter().find(|found| found.platform_id == thread).unwrap();
            let erased = store.erase_contact(DEFAULT, found.contact.id, at(20)).await.unwrap();
            assert!(erased.is_some());
            while store.erase_on().await.unwrap() == crate::Erasing::More {}
        };
        erase("elsewhere").await;
        assert_eq!(store.poll_cursor(DEFAULT, channel.id).await.unwrap(), Some(cursor));
        let held = store.state_owners("example").await.unwrap().remove(0);
        assert_eq!(held.reason.as_deref(), Some(repeated.as_str()));
        erase("thread").await;
        let left = bytes(&folder);
        for canary in [&format!("{CANARY} says"), &name, &hers] {
            assert!(!holds(&left, canary), "{canary}");
        }
        assert!(holds(&left, "to both"), "another's words");
        // Polling begins as it did the first time.
        assert_eq!(store.poll_cursor(DEFAULT, channel.id).await.unwrap(), None);
        let state = store.state(DEFAULT, channel.id).await.unwrap().entries;
        assert_eq!(state.keys().collect::<Vec<_>>(), ["kept"]);
        let held = store.state_owners("example").await.unwrap().remove(0);
        assert!(held.reason.is_some_and(|reason| reason.contains("erased")));
        let gaps = store.history_gaps(DEFAULT, channel.id).await.unwrap();
        assert_eq!(gaps.len(), 1, "another conversation's history is still asked for");
    });
}

#[test]
fn a_reader_outside_delays_an_erasure_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    block_on(async {
        let channel = fill(&store).await;
        let contact = store
            .hear_of_contact(DEFAULT, channel.id, jane(), at(1))
            .await
            .unwrap()
            .unwrap();
        let backup = Connection::open(folder.path().join("weir.db")).unwrap();
        backup.execute_batch("BEGIN; SELECT count(*) FROM contacts").unwrap();
        let _: i64 = backup
            .query_row("SELECT count(*) FROM contacts", [], |row| row.get(0))
            .unwrap();
        store.erase_contact(DEFAULT, contact.id, at(2)).await.unwrap().unwrap();
        while store.erase_on().await.unwrap() == crate::Erasing::More {}
        assert_eq!(store.erase_on().await.unwrap(), crate::Erasing::Waits);
        // Whoever is served meanwhile is served.
        store.ping().await.unwrap();
        store.probe().await.unwrap();
        drop(backup);
        while store.erase_on().await.unwrap() == crate::Erasing::More {}
        assert_eq!(store.erase_on().await.unwrap(), crate::Erasing::Over);
        assert!(!holds(&bytes(&folder), "jane_doe"));
    });
}

#[test]
fn an_erasure_that_was_cut_off_goes_on_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    block_on(async {
        let store = open(&folder);
        let channel = fill(&store).await;
        let contact = store
            .hear_of_contact(DEFAULT, channel.id, jane(), at(1))
            .await
            .unwrap()
            .unwrap();
        store.erase_contact(DEFAULT, contact.id, at(2)).await.unwrap().unwrap();
        store.erase_on().await.unwrap();
    });
    let store = open(&folder);
    block_on(async {
        assert_eq!(store.erase_on().await.unwrap(), crate::Erasing::More);
        while store.erase_on().await.unwrap() == crate::Erasing::More {}
        assert_eq!(store.erase_on().await.unwrap(), crate::Erasing::Over);
    });
    assert!(!holds(&bytes(&folder), "jane_doe"));
}

#[test]
fn the_log_shrinks_after_a_long_reader() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    block_on(async {
        let channel = fill(&store).await;
        let reader = Connection::open(folder.path().join("weir.db")).unwrap();
        reader.execute_batch("BEGIN").unwrap();
        let _: i64 = reader
            .query_row("SELECT count(*) FROM contacts", [], |row| row.get(0))
            .unwrap();
        let mut n = 0;
        let mut write = async || {
            n += 1;
            let write = crate::StateWrite {
                by: "1.0.0".into(),
                key: "big".into(),
                // Bytes that are the same again are not written.
                value: Some(vec![n; 1 << 20]),
            };
            store.commit_state(DEFAULT, channel.id, vec![write]).await.unwrap();
        };
        while store.log_bytes() <= limits::LOG_BYTES {
            write().await;
        }
        drop(reader);
        assert!(store.empty_long_log().await.unwrap());
        assert_eq!(store.depths().await.unwrap().log_bytes, 0);
        write().await;
        assert!(!store.empty_long_log().await.unwrap(), "it is short again");
    });
}

#[cfg(unix)]
#[test]
fn the_files_are_their_owners_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    block_on(fill(&store));
    for name in ["weir.db", "weir.db-wal", "weir.db-shm"] {
        let mode = std::fs::metadata(folder.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn an_old_sqlite_is_not_used() {
    assert!(crate::sqlite::admit(3_051_002).is_err());
    assert!(crate::sqlite::admit(3_051_003).is_ok());
    assert!(crate::sqlite::admit(rusqlite::version_number()).is_ok());
}

#[test]
fn a_full_disk_is_unavailable_and_heals() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    block_on(async {
        let channel = fill(&store).await;
        let limit = |pages: u32| {
            store.write(move |db| -> crate::Result<()> {
                db.one(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
                    .map(drop)
            })
        };
        limit(1).await.unwrap();
        let write = crate::StateWrite {
            by: "1.0.0".into(),
            key: "big".into(),
            value: Some(vec![1; 1 << 20]),
        };
        let full = store.commit_state(DEFAULT, channel.id, vec![write.clone()]).await;
        assert!(matches!(full, Err(StoreError::Unavailable { .. })), "{full:?}");
        // What is there can be read meanwhile.
        assert!(store.state(DEFAULT, channel.id).await.unwrap().entries.is_empty());
        limit(1 << 30).await.unwrap();
        store.commit_state(DEFAULT, channel.id, vec![write]).await.unwrap();
    });
}

#[test]
fn somebody_elses_lock_is_unavailable_and_heals() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    block_on(async {
        let channel = fill(&store).await;
        let stranger = Connection::open(folder.path().join("weir.db")).unwrap();
        stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
        let locked = store.commit_state(DEFAULT, channel.id, Vec::new()).await;
        assert!(matches!(locked, Err(StoreError::Unavailable { .. })), "{locked:?}");
        stranger.execute_batch("ROLLBACK").unwrap();
        store.commit_state(DEFAULT, channel.id, Vec::new()).await.unwrap();
    });
}
