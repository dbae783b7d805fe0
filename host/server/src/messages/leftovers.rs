//! What a process that died, or a disk that failed, left behind: it is found and ended at the start and in the sweep.
//!
//! What is a leftover is known and not guessed by its age: claims have an owner, files have a row or are in hand.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use weir_domain::id::MediaId;
use weir_domain::time::Timestamp;
use weir_store::{StoreError, kill_point};

use crate::connectors::registry::Connectors;
use crate::host::Host;
use crate::messages::media;

/// Files whose rows are looked for, or whose removal is written down, at once: some milliseconds of the record.
const FILES: usize = 500;

impl Host {
    /// Ends at the start what a process that died was at work on.
    pub(crate) async fn end_what_died(&self) -> Result<(), StoreError> {
        let requests = self.store().interrupt_claims_of_others(self.owner()).await?;
        let sessions = self.store().end_connect_sessions(self.now()).await?;
        if requests + sessions > 0 {
            tracing::info!(
                "{requests} requests and {sessions} connect sessions were ended: the host ended before they did"
            );
        }
        Ok(())
    }

    /// Ends the connect sessions that nobody came to in time.
    pub(crate) async fn end_connect_sessions(&self, now: Timestamp) -> Result<(), StoreError> {
        self.store().end_connect_sessions(now).await.map(drop)
    }

    /// Removes the files that the record has let go, until they are gone.
    pub(crate) async fn remove_files(&self) -> Result<(), StoreError> {
        let folder = media::folder(self.config());
        loop {
            let ids = self.store().files_to_remove(FILES as u32).await?;
            let mut gone = Vec::with_capacity(ids.len());
            for id in &ids {
                if is_removed(&media::path(&folder, *id)).await {
                    kill_point("erase.file_removed");
                    gone.push(*id);
                }
            }
            if gone.is_empty() || !is_synced(&folder).await {
                return Ok(());
            }
            kill_point("erase.files_removed");
            let all = gone.len() == ids.len();
            self.store().files_removed(gone).await?;
            if !all || ids.len() < FILES {
                return Ok(());
            }
        }
    }

    /// Removes the files that nobody knows: no row names them, and nobody is making them. Files of other names are not ours.
    pub(crate) async fn remove_leftovers(&self) -> Result<(), StoreError> {
        let folder = media::folder(self.config());
        let mut removed = 0;
        // Listed first: what is made from here on is not in the list.
        let names = names(&folder).await;
        let (unfinished, whole): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.ends_with(".part"));
        let id = |name: &str| name.split('.').next()?.parse::<MediaId>().ok();
        let not_in_hand = |id: &MediaId| !self.0.files_in_hand.holds(*id);
        for name in unfinished {
            if id(&name).filter(not_in_hand).is_some() {
                removed += u32::from(is_removed(&folder.join(name)).await);
            }
        }
        let whole: Vec<MediaId> = whole.iter().filter_map(|name| id(name)).filter(not_in_hand).collect();
        for ids in whole.chunks(FILES) {
            for id in self.store().media_without_row(ids.to_vec()).await? {
                removed += u32::from(is_removed(&media::path(&folder, id)).await);
            }
        }
        removed += self.remove_components().await?;
        if removed > 0 {
            tracing::info!("{removed} files were removed that nothing in the record names");
        }
        Ok(())
    }

    /// The same for components that were never staged, and their compiled forms.
    async fn remove_components(&self) -> Result<u32, StoreError> {
        let _staging = self.0.connectors.staging.lock().await;
        let versions = self.store().versions().await?;
        let known: HashSet<&str> = versions.iter().map(|version| version.digest.as_str()).collect();
        let mut removed = 0;
        for folder in ["components", "cache"] {
            let folder = self.config().data.join(folder);
            for name in names(&folder).await {
                let digest = Connectors::digest_of_file(&name);
                // Nobody writes components now, so what is unfinished was left.
                let is_left = digest.is_some_and(|digest| !known.contains(digest.as_str())) || name.ends_with(".part");
                if is_left {
                    removed += u32::from(is_removed(&folder.join(name)).await);
                }
            }
        }
        Ok(removed)
    }
}

/// The names of the files in a folder; what cannot be read is looked at the next time.
async fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let Ok(mut entries) = tokio::fs::read_dir(folder).await else {
        return names;
    };
    while let Ok(Some(entry)) = entries.next_entry().await {
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    names
}

/// Whether the file is gone now.
async fn is_removed(path: &Path) -> bool {
    match tokio::fs::remove_file(path).await {
        Ok(()) => true,
        // It never came, or went before.
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => {
            tracing::error!("{} cannot be removed, and is tried again: {error}", path.display());
            false
        }
    }
}

/// Whether what was removed stays so though the power fails.
async fn is_synced(folder: &Path) -> bool {
    match tokio::fs::File::open(folder).await {
        Ok(folder) => folder.sync_all().await.is_ok(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use weir_domain::claim::{Claim, Claimed, Progress};
    use weir_store::for_claim;

    use super::*;
    use crate::Config;
    use crate::messages::media::Incoming;

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
        let folder = TempDir::new().expect("a folder");
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
        let in_hand = Incoming::create(&host, host.mint().id(host.now()), 0)
            .await
            .expect("a file");
        assert_eq!(files(&host, "media").await.len(), 4);
        host.remove_leftovers().await.expect("a record");
        let left = files(&host, "media").await;
        assert!(left.iter().any(|name| name == "notes.txt"), "it is not ours: {left:?}");
        assert_eq!(left.len(), 2, "what is in hand stays: {left:?}");
        assert!(files(&host, "components").await.is_empty());
        assert!(files(&host, "cache").await.is_empty());
        drop(in_hand);
        assert_eq!(names(&media).await, ["notes.txt"]);
    }

    #[tokio::test]
    async fn a_file_is_removed_until_it_is_gone() {
        let folder = TempDir::new().expect("a folder");
        let host = open(&folder).await;
        let id: MediaId = host.mint().id(host.now());
        // The row is gone, as after an erasure that was cut off; in the file's place is what cannot be removed.
        host.store()
            .media_stored(id, "image/png".to_owned(), 1, host.now())
            .await
            .expect("a record");
        let path = media::path(&media::folder(host.config()), id);
        std::fs::create_dir(&path).expect("a folder");
        host.remove_files().await.expect("a record");
        assert_eq!(host.store().files_to_remove(9).await.expect("a record"), [id]);
        std::fs::remove_dir(&path).expect("it is empty");
        std::fs::write(&path, b"x").expect("a file");
        host.remove_files().await.expect("a record");
        assert!(host.store().files_to_remove(9).await.expect("a record").is_empty());
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_start_ends_the_requests_of_a_dead_process() {
        let folder = TempDir::new().expect("a folder");
        let host = open(&folder).await;
        let claim = |key: &str| Claim {
            workspace_id: "default".to_owned(),
            api_key: host.mint().id(Timestamp::default()),
            key: key.to_owned(),
            fingerprint: "print".to_owned(),
        };
        let (idle, acted) = (claim("idle"), claim("acted"));
        for claim in [&idle, &acted] {
            let claimed = host.store().claim(claim.clone(), host.owner(), host.now()).await;
            assert_eq!(claimed.expect("a record"), Claimed::New);
        }
        let id: MediaId = host.mint().id(host.now());
        let acting = for_claim(
            acted.clone(),
            host.store().media_stored(id, "image/png".to_owned(), 1, host.now()),
        );
        acting.await.expect("a record");
        drop(host);
        let host = open(&folder).await;
        let again = async |claim: Claim| {
            let claimed = host.store().claim(claim, host.owner(), host.now()).await;
            claimed.expect("a record")
        };
        assert_eq!(again(idle).await, Claimed::New);
        assert_eq!(again(acted).await, Claimed::Before(Progress::Interrupted));
    }
}
