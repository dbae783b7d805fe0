//! Files left behind by a process that was killed or a disk that failed: they are found and removed at the start and in
//! the sweep.
//!
//! A leftover is identified without guessing by age: every other file has a row or is in use.

use weir_domain::id::MediaId;
use weir_store::{StoreError, kill_point};

use crate::core::folder::{names, remove_file};
use crate::messages::media::Media;

/// Files whose rows are searched, or whose removal is stored, at once: some milliseconds of database time.
const FILES: usize = 500;

impl Media {
    /// Deletes the files whose rows were deleted, until none are left.
    pub(crate) async fn remove_files(&self) -> Result<(), StoreError> {
        loop {
            let ids = self.core.store().files_to_remove(FILES as u32).await?;
            if ids.is_empty() {
                return Ok(());
            }
            let gone = self.store.remove(&ids).await?;
            if gone.is_empty() {
                return Ok(());
            }
            kill_point("erase.files_removed");
            let all = gone.len() == ids.len();
            self.core.store().files_removed(gone).await?;
            if !all || ids.len() < FILES {
                return Ok(());
            }
        }
    }

    /// Removes orphaned files: no row refers to them, and no upload is writing them. Files with other names are not
    /// Weir's. Returns their number.
    pub(crate) async fn remove_leftovers(&self) -> Result<u32, StoreError> {
        let folder = &self.folder;
        let mut removed = 0;
        // Listed first: files created from here on are not in the lists.
        let mut left = self.store.left(self.core.now()).await?;
        let names = names(folder).await;
        for name in names.iter().filter(|name| name.ends_with(".part")) {
            let id = name.split('.').next().and_then(|name| name.parse::<MediaId>().ok());
            if id.is_some_and(|id| !self.in_flight.holds(id)) {
                removed += u32::from(remove_file(&folder.join(name)).await);
            }
        }
        left.retain(|id| !self.in_flight.holds(*id));
        for ids in left.chunks(FILES) {
            let left = self.core.store().media_without_row(ids.to_vec()).await?;
            removed += u32::try_from(self.store.remove(&left).await?.len()).unwrap_or(u32::MAX);
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;
    use weir_domain::claim::{Claim, Claimed, Progress};
    use weir_domain::time::Timestamp;
    use weir_store::{HeldClaim, for_claim};

    use super::*;
    use crate::messages::media_store::path;
    use crate::{Config, Host, testing};

    async fn open(folder: &TempDir) -> Host {
        Host::open(Config::for_testing(folder.path())).await.expect("a host")
    }

    async fn files(host: &Host, folder: &str) -> Vec<String> {
        let mut names = names(&host.config().data.join(folder)).await;
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_file_that_no_row_names_is_removed() {
        let folder = TempDir::new().expect("a directory");
        let host = open(&folder).await;
        let id = || host.mint().id::<MediaId>(host.now()).to_string();
        let media = host.config().data.join("media");
        let put = |folder: &str, name: String| std::fs::write(host.config().data.join(folder).join(name), b"x");
        for name in [id(), format!("{}.0.part", id()), "notes.txt".to_owned()] {
            put("media", name).expect("a file");
        }
        put("components", format!("{}.wasm", "a".repeat(64))).expect("a file");
        put("components", format!("{}.part", "b".repeat(64))).expect("a file");
        put("cache", format!("{}-0123.cwasm", "c".repeat(64))).expect("a file");
        let in_flight = host.media.begin(host.mint().id(host.now()), 0).await.expect("a file");
        assert_eq!(files(&host, "media").await.len(), 4);
        host.retention.remove_leftovers().await.expect("a database");
        let left = files(&host, "media").await;
        assert!(left.iter().any(|name| name == "notes.txt"), "it is not ours: {left:?}");
        assert_eq!(left.len(), 2, "files in use stay: {left:?}");
        assert!(files(&host, "components").await.is_empty());
        assert!(files(&host, "cache").await.is_empty());
        drop(in_flight);
        assert_eq!(names(&media).await, ["notes.txt"]);
    }

    #[tokio::test]
    async fn a_file_is_removed_until_it_is_gone() {
        let folder = TempDir::new().expect("a directory");
        let core = testing::core(&folder);
        let media = Media::new(Arc::clone(&core), [1; 32]);
        let id: MediaId = core.mint.id(core.now());
        // The row is gone, as after an interrupted erasure; in the file's place is a directory that cannot be removed.
        core.store()
            .media_stored("default", id, "image/png".to_owned(), 1, core.now())
            .await
            .expect("a database");
        let path = path(&media.folder, id);
        std::fs::create_dir(&path).expect("a directory");
        media.remove_files().await.expect("a database");
        assert_eq!(core.store().files_to_remove(9).await.expect("a database"), [id]);
        std::fs::remove_dir(&path).expect("it is empty");
        std::fs::write(&path, b"x").expect("a file");
        media.remove_files().await.expect("a database");
        assert!(core.store().files_to_remove(9).await.expect("a database").is_empty());
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_start_ends_the_requests_of_a_dead_process() {
        let folder = TempDir::new().expect("a directory");
        let host = open(&folder).await;
        let claim = |key: &str| Claim {
            workspace_id: "default".to_owned(),
            api_key: host.mint().id(Timestamp::default()),
            key: key.to_owned(),
            fingerprint: "print".to_owned(),
        };
        let (idle, acted) = (claim("idle"), claim("acted"));
        for claim in [&idle, &acted] {
            let claimed = host
                .store()
                .claim(claim.clone(), &host.core.node.id(), host.now())
                .await;
            assert_eq!(claimed.expect("a database"), Claimed::New);
        }
        let id: MediaId = host.mint().id(host.now());
        let held = HeldClaim {
            claim: acted.clone(),
            node: host.core.node.id(),
        };
        let acting = for_claim(
            held,
            host.store()
                .media_stored("default", id, "image/png".to_owned(), 1, host.now()),
        );
        acting.await.expect("a database");
        drop(host);
        let host = open(&folder).await;
        let again = async |claim: Claim| {
            let claimed = host.store().claim(claim, &host.core.node.id(), host.now()).await;
            claimed.expect("a database")
        };
        assert_eq!(again(idle).await, Claimed::New);
        assert_eq!(again(acted).await, Claimed::Before(Progress::Interrupted));
    }
}
