#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use weir_domain::caller::Key;
use weir_domain::claim::{Claimed, Progress};
use weir_domain::id::Mint;

use super::*;
use crate::conformance::world::{DEFAULT, World, at, manifest, page, read_up_to};
use crate::sqlite::SqliteStore;
use crate::store::*;
use crate::{ConversationFilter, MasterKey, TranscriptFilter};

/// Databases as earlier versions wrote them, as SQL: see the header of each.
fn fixtures() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .map(|path| {
            (
                path.file_name().unwrap().display().to_string(),
                std::fs::read_to_string(path).unwrap(),
            )
        })
        .collect();
    found.sort();
    assert!(found.len() >= 6, "{} fixtures", found.len());
    found
}

fn restored(folder: &tempfile::TempDir, sql: &str) -> PathBuf {
    let path = folder.path().join("weir.db");
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    path
}

fn open(path: &Path) -> Result<SqliteStore> {
    SqliteStore::open(path, &MasterKey::new([2; 32]), Arc::new(Mint::from_seed([3; 32])))
}

fn form(path: &Path) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let Form { tables, indexes } = Form::of(&Connection::open(path).unwrap()).unwrap();
    let plain = |all: BTreeMap<String, String>| all.into_iter().map(|(name, sql)| (name, plain(&sql))).collect();
    (plain(tables), plain(indexes))
}

fn block_on<F: Future>(promise: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(promise)
}

/// SHA-256 of the released steps.
const RELEASED: [&str; 3] = [
    "91c8652089816b7d99fe067196c6ab7fff7b8ddf8e9a15c4cbb47e1c0968628d",
    "19b7389928b3e4597302886718929537fc90c521f30d819287b9da2d5c7562fe",
    "6d6535f0d3be8de31a4151c63d1e483583ec5dd8fc34ef10c40d5326d0358d6e",
];

#[test]
fn released_steps_are_frozen() {
    for (step, released) in STEPS.iter().zip(RELEASED) {
        assert_eq!(
            hex::encode(Sha256::digest(step)),
            released,
            "a released step never changes; write another one"
        );
    }
}

#[test]
fn every_older_record_gets_the_newest_form() {
    let folder = tempfile::tempdir().unwrap();
    let fresh = folder.path().join("fresh.db");
    drop(open(&fresh).unwrap());
    for (name, sql) in fixtures() {
        let folder = tempfile::tempdir().unwrap();
        let path = restored(&folder, &sql);
        assert!(
            name.starts_with(&format!("schema-{}-", number_of(&path).unwrap())),
            "{name}"
        );
        drop(open(&path).unwrap_or_else(|error| panic!("{name}: {error}")));
        assert_eq!(number_of(&path).unwrap(), NEWEST, "{name}");
        assert_eq!(form(&path), form(&fresh), "{name}");
        let file = Connection::open(&path).unwrap();
        let broken: i64 = file
            .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(broken, 0, "{name}");
    }
}

/// A state without an owner belongs to the version that served.
#[test]
fn every_older_state_gets_an_owner() {
    // The version of the fixture as the one that serves the app, and a newer one that serves no account.
    let served = "UPDATE versions SET connector = 'echo', stage = 'active';
        CREATE TABLE newer AS SELECT * FROM versions;
        UPDATE newer SET version = '2.0.0', release = 2, stage = 'staged', changed_at = changed_at + 1;
        INSERT INTO versions SELECT * FROM newer;
        DROP TABLE newer;";
    // The second step assigns the owners.
    for (name, sql) in fixtures().into_iter().filter(|(name, _)| name.starts_with("schema-1-")) {
        let folder = tempfile::tempdir().unwrap();
        let path = restored(&folder, &sql);
        Connection::open(&path).unwrap().execute_batch(served).unwrap();
        let store = open(&path).unwrap();
        let owners = block_on(store.state_owners("echo")).unwrap();
        assert_eq!(owners.len(), 1, "{name}");
        assert_eq!(owners[0].version, "1.0.0", "{name}");
    }
}

/// Whatever document or column changed since, each list of the database can be read.
#[test]
fn every_older_record_is_read_whole() {
    for (name, sql) in fixtures() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&restored(&folder, &sql)).unwrap();
        block_on(async {
            let conversations = store
                .conversations(DEFAULT, ConversationFilter::default(), page())
                .await
                .unwrap()
                .rows;
            let conversation = &conversations[0];
            assert_eq!(conversation.platform_id, "c1", "{name}");
            assert_eq!(conversation.unread, 0, "{name}: the business answered");
            let messages = store.messages(DEFAULT, conversation.id, page()).await.unwrap().rows;
            assert_eq!(messages.len(), 5, "{name}");
            for message in &messages {
                store.attempts(DEFAULT, message.id).await.unwrap();
            }
            let channel = &store
                .channels(DEFAULT, BTreeSet::new(), true, page())
                .await
                .unwrap()
                .rows[0];
            assert!(store.credential(DEFAULT, channel.id).await.unwrap().is_some(), "{name}");
            assert_eq!(
                store.state(DEFAULT, channel.id).await.unwrap().entries.len(),
                1,
                "{name}"
            );
            let keys: Vec<Key> = store.keys(DEFAULT).await.unwrap();
            assert_eq!(keys.len(), 1, "{name}");
            assert_eq!(store.apps().await.unwrap().len(), 1, "{name}");
            assert_eq!(store.versions().await.unwrap()[0].manifest.name, "example", "{name}");
            assert_eq!(
                store.refusals(DEFAULT, BTreeSet::new(), page()).await.unwrap().rows[0].at,
                at(9),
                "{name}"
            );
            assert_eq!(
                store.audit_log(DEFAULT, page()).await.unwrap().rows[0].at,
                at(8),
                "{name}"
            );
            let letters = store
                .dead_letters(["echo".to_owned()].into(), page())
                .await
                .unwrap()
                .rows;
            assert!(
                store.dead_letter(DEFAULT, letters[0].id).await.unwrap().is_some(),
                "{name}"
            );
            let endpoint = &store.endpoints(DEFAULT, page()).await.unwrap().rows[0];
            assert_eq!(endpoint.max_in_flight, 8, "{name}");
            assert!(
                !store
                    .events(DEFAULT, 0, &weir_domain::event::EventFilter::default(), 100)
                    .await
                    .unwrap()
                    .rows
                    .is_empty(),
                "{name}"
            );
            let kept = store.claim(World::claim("k", "f"), "owner", at(9)).await.unwrap();
            assert!(
                matches!(kept, Claimed::Before(Progress::Answered(_))),
                "{name}: {kept:?}"
            );
            store.transcripts("echo", TranscriptFilter::default()).await.unwrap();
            store.lease_deliveries("worker", 10, at(1_000)).await.unwrap();
            assert_eq!(store.lease_media(10, at(1_000)).await.unwrap().len(), 1, "{name}");
            // Queued messages continue, in their channel's turn.
            assert_eq!(
                store
                    .lease_messages("worker", crate::Room::of_all(10), at(1_000))
                    .await
                    .unwrap()
                    .len(),
                1,
                "{name}"
            );
        });
    }
}

#[test]
fn a_repeated_fact_is_known_after_a_migration() {
    for (name, sql) in fixtures() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&restored(&folder, &sql)).unwrap();
        block_on(async {
            let app = store.app("echo").await.unwrap().unwrap();
            let policies = weir_domain::policy::PolicySet::new(Arc::new(manifest("1.0.0", 1)), serde_json::json!({}));
            let mut event = read_up_to("r1", 5);
            event.channel_platform_id = "acme".into();
            let recorded = store
                .record_inbound(&app, vec![event], crate::Source::Webhook, &policies, at(10))
                .await
                .unwrap();
            assert_eq!(recorded.duplicates, 1, "{name}");
        });
    }
}

#[test]
fn unknown_schema_is_refused_unchanged() {
    let (_, sql) = fixtures().remove(0);
    for change in [
        "CREATE TABLE notes (n)",
        "ALTER TABLE conversations ADD COLUMN mood TEXT",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = restored(&folder, &sql);
        Connection::open(&path).unwrap().execute_batch(change).unwrap();
        let before = form(&path);
        let refused = open(&path).map(drop).unwrap_err();
        assert!(
            matches!(&refused, StoreError::Schema(reason) if reason.contains("notes") || reason.contains("conversations.mood")),
            "{refused}"
        );
        assert_eq!(form(&path), before);
        assert_eq!(number_of(&path).unwrap(), 1);
    }
}

#[test]
fn another_programs_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = restored(&folder, "CREATE TABLE notes (n)");
    let refused = open(&path).map(drop).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Schema(reason) if reason.contains("another program")),
        "{refused}"
    );
}
