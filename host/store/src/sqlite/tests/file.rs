//! The file: its contents, and what must not be in it any more.

use super::*;
use crate::conformance::world::*;

pub(super) const CANARY: &str = "canary-4f7a1c";

pub(super) async fn fill(store: &SqliteStore) -> weir_domain::channel::Channel {
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
fn canceled_readers_block_no_others() {
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
fn every_foreign_key_is_indexed() {
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
fn committed_rows_survive_reopening() {
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
    // The files as a power failure would leave them.
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
        // A copy never overwrites a file.
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
    // The windows above would have found an existing text.
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
fn swapped_sealed_value_is_isolated_damage() {
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

/// All bytes of the database's files.
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
                // Identical bytes are not written again.
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
        // Existing data can be read meanwhile.
        assert!(store.state(DEFAULT, channel.id).await.unwrap().entries.is_empty());
        limit(1 << 30).await.unwrap();
        store.commit_state(DEFAULT, channel.id, vec![write]).await.unwrap();
    });
}

#[test]
fn foreign_lock_is_unavailable_then_recovers() {
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
