//! SQLite's own: the file, the writer, damage, a full disk.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::mpsc;

use rusqlite::Connection;
use weir_domain::channel::ChannelStatus;
use weir_domain::id::Mint;
use weir_domain::limits;

use crate::conformance::Made;
use crate::engine::Engine;
use crate::sqlite::SqliteStore;
use crate::store::*;
use crate::{MasterKey, StoreError};

mod costs;
mod erasing;
mod file;
mod groups;
mod writing;

fn open(folder: &tempfile::TempDir) -> SqliteStore {
    open_with_key(folder, 2).unwrap()
}

fn open_with_key(folder: &tempfile::TempDir, key: u8) -> crate::Result<SqliteStore> {
    let mint = Arc::new(Mint::from_seed([1; 32]));
    SqliteStore::open(folder.path().join("weir.db"), &MasterKey::new([key; 32]), mint)
}

fn made() -> Made {
    let folder = tempfile::tempdir().unwrap();
    Made {
        store: Arc::new(open(&folder)),
        keep: Box::new(folder),
    }
}

crate::store_conformance!(made);

fn block_on<F: Future>(promise: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(promise)
}

/// Keeps the writer busy until the returned sender is dropped.
async fn occupy(store: &Arc<SqliteStore>) -> (mpsc::Sender<()>, tokio::task::JoinHandle<crate::Result<()>>) {
    let (release, wait) = mpsc::channel::<()>();
    let (started, mut begins) = tokio::sync::mpsc::channel(1);
    let busy = Arc::clone(store);
    let task = tokio::spawn(async move {
        busy.transact(move |_| -> crate::Result<()> {
            let _ = started.try_send(());
            let _ = wait.recv();
            Ok(())
        })
        .await
    });
    begins.recv().await.unwrap();
    (release, task)
}
