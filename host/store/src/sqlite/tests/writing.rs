//! The writer: which writes share a commit, and which do not.

use super::*;

/// Runs the tasks until this many writes are in the queue.
async fn gather(store: &SqliteStore, writes: usize) {
    while store.writes_waiting() < writes {
        tokio::task::yield_now().await;
    }
}

fn put(store: &Arc<SqliteStore>, name: String) -> impl Future<Output = crate::Result<()>> + Send + 'static {
    let store = Arc::clone(store);
    async move {
        store
            .write(move |db| {
                db.run("INSERT INTO meta (name, value) VALUES (?1, x'00')", [&name])?;
                Ok(())
            })
            .await
    }
}

#[test]
fn writes_that_wait_together_share_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder));
    block_on(async {
        let (release, busy) = occupy(&store).await;
        let before = store.commits();
        let mut waiting = Vec::new();
        for n in 0..limits::GROUP_COMMIT {
            waiting.push(tokio::spawn(put(&store, format!("row-{n}"))));
        }
        gather(&store, limits::GROUP_COMMIT).await;
        drop(release);
        busy.await.unwrap().unwrap();
        for write in waiting {
            write.await.unwrap().unwrap();
        }
        assert_eq!(store.commits() - before, 2);
    });
}

#[test]
fn failed_write_undoes_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder));
    block_on(async {
        let (release, busy) = occupy(&store).await;
        let good = tokio::spawn(put(&store, "good".into()));
        let failing = Arc::clone(&store);
        let fails = tokio::spawn(async move {
            failing
                .write(|db| -> crate::Result<()> {
                    db.run("INSERT INTO meta (name, value) VALUES ('bad', x'00')", [])?;
                    Err(StoreError::Database("no".into()))
                })
                .await
        });
        let panicking = Arc::clone(&store);
        let panics = tokio::spawn(async move {
            panicking
                .write(|db| -> crate::Result<()> {
                    db.run("INSERT INTO meta (name, value) VALUES ('worse', x'00')", [])?;
                    panic!("as a bug would")
                })
                .await
        });
        let also_good = tokio::spawn(put(&store, "also good".into()));
        gather(&store, 4).await;
        drop(release);
        busy.await.unwrap().unwrap();
        good.await.unwrap().unwrap();
        also_good.await.unwrap().unwrap();
        assert!(matches!(fails.await.unwrap(), Err(StoreError::Database(_))));
        assert!(matches!(panics.await.unwrap(), Err(StoreError::Database(_))));
        let names: Vec<String> = store
            .read(|db| db.all("SELECT name FROM meta ORDER BY name", [], |row| row.get(0)))
            .await
            .unwrap();
        assert_eq!(names, ["also good", "clean", "good", "key_check"]);
        put(&store, "later".into()).await.unwrap();
    });
}

#[test]
fn a_full_queue_says_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder));
    block_on(async {
        let (release, busy) = occupy(&store).await;
        let mut waiting = Vec::new();
        for n in 0..limits::WRITE_QUEUE {
            waiting.push(tokio::spawn(put(&store, format!("row-{n}"))));
        }
        gather(&store, limits::WRITE_QUEUE).await;
        let refused = put(&store, "one too many".into()).await;
        assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
        drop(release);
        busy.await.unwrap().unwrap();
        for write in waiting {
            write.await.unwrap().unwrap();
        }
        put(&store, "room again".into()).await.unwrap();
    });
}

#[test]
fn closing_finishes_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder));
    block_on(async {
        let (release, busy) = occupy(&store).await;
        let write = tokio::spawn(put(&store, "waits".into()));
        gather(&store, 1).await;
        let closing = Arc::clone(&store);
        let closed = tokio::spawn(async move { closing.close().await });
        tokio::task::yield_now().await;
        drop(release);
        closed.await.unwrap();
        busy.await.unwrap().unwrap();
        write.await.unwrap().unwrap();
    });
}

#[test]
fn a_reader_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let written = block_on(store.read(|db| db.batch("DELETE FROM meta")));
    assert!(written.is_err());
}
