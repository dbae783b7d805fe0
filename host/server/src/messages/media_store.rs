//! Storage of media: in a folder of this host, or in the database, where every node can read them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use weir_domain::id::MediaId;
use weir_domain::time::Timestamp;
use weir_store::{Store, StoreError, kill_point};

use crate::core::folder::{names, remove_file, sync_folder};

/// Bytes in one row of the database: the server sends one to a slow reader while the next one waits.
const PART: usize = 256 << 10;
/// Bytes in the database without a row are orphaned at this age. Another node may have an upload in progress; none
/// takes that long.
const LEFT_OVER: Duration = Duration::from_secs(24 * 3600);
/// Orphans searched for at once.
const LEFT: u32 = 500;

/// A stored file, opened at its first byte.
pub(crate) struct Opened {
    pub(crate) bytes: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) size: u64,
}

/// Stores the bytes of media, each completely or not at all.
#[async_trait]
pub(crate) trait MediaStore: Send + Sync {
    /// Stores the contents of a file, and removes the file.
    async fn put(&self, id: MediaId, file: &Path, now: Timestamp) -> io::Result<()>;
    /// Opens a stored file.
    async fn open(&self, id: MediaId) -> io::Result<Opened>;
    /// Deletes these files; returns those whose deletion is durable, whatever happens to the machine.
    async fn remove(&self, ids: &[MediaId]) -> Result<Vec<MediaId>, StoreError>;
    /// Candidates for orphans: stored, perhaps without a row.
    async fn left(&self, now: Timestamp) -> Result<Vec<MediaId>, StoreError>;
}

/// The path of a file. An id is our own hex, so the path cannot leave the directory.
pub(crate) fn path(folder: &Path, id: MediaId) -> PathBuf {
    folder.join(id.to_string())
}

/// Files of this host.
pub(crate) struct Folder(pub(crate) PathBuf);

#[async_trait]
impl MediaStore for Folder {
    async fn put(&self, id: MediaId, file: &Path, _: Timestamp) -> io::Result<()> {
        tokio::fs::rename(file, path(&self.0, id)).await
    }

    async fn open(&self, id: MediaId) -> io::Result<Opened> {
        let file = tokio::fs::File::open(path(&self.0, id)).await?;
        let size = file.metadata().await?.len();
        Ok(Opened {
            bytes: Box::new(file),
            size,
        })
    }

    async fn remove(&self, ids: &[MediaId]) -> Result<Vec<MediaId>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut gone = Vec::with_capacity(ids.len());
        for id in ids {
            if remove_file(&path(&self.0, *id)).await {
                kill_point("erase.file_removed");
                gone.push(*id);
            }
        }
        if !sync_folder(&self.0).await {
            gone.clear();
        }
        Ok(gone)
    }

    async fn left(&self, _: Timestamp) -> Result<Vec<MediaId>, StoreError> {
        let names = names(&self.0).await;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }
}

/// Parts in the database; and files that were stored before the database contained media.
pub(crate) struct Database {
    store: Arc<dyn Store>,
    before: Folder,
}

impl Database {
    pub(crate) fn new(store: Arc<dyn Store>, folder: PathBuf) -> Self {
        Self {
            store,
            before: Folder(folder),
        }
    }
}

#[async_trait]
impl MediaStore for Database {
    async fn put(&self, id: MediaId, file: &Path, now: Timestamp) -> io::Result<()> {
        let mut opened = tokio::fs::File::open(file).await?;
        let mut parts = 0;
        loop {
            let mut bytes = BytesMut::with_capacity(PART);
            while bytes.len() < PART {
                let left = (PART - bytes.len()) as u64;
                if (&mut opened).take(left).read_buf(&mut bytes).await? == 0 {
                    break;
                }
            }
            if bytes.is_empty() {
                break;
            }
            let put = self.store.put_media_part(id, parts, bytes.freeze(), now).await;
            put.map_err(io::Error::other)?;
            parts += 1;
        }
        let ended = self.store.end_media_parts(id, parts).await;
        ended.map_err(io::Error::other)?;
        tokio::fs::remove_file(file).await
    }

    async fn open(&self, id: MediaId) -> io::Result<Opened> {
        let size = self.store.media_bytes_size(id).await.map_err(io::Error::other)?;
        let Some(size) = size else {
            return self.before.open(id).await;
        };
        let (mut to, from) = tokio::io::duplex(PART);
        let store = Arc::clone(&self.store);
        // Ends with the reader; a truncated stream is shorter than its size, which the reader detects.
        tokio::spawn(async move {
            for part in 0.. {
                match store.media_part(id, part).await {
                    Ok(Some(bytes)) => {
                        if to.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => return,
                    Err(error) => {
                        tracing::error!(media.id = %id, "The file {id} cannot be read to its end: {error}");
                        return;
                    }
                }
            }
        });
        Ok(Opened {
            bytes: Box::new(from),
            size,
        })
    }

    async fn remove(&self, ids: &[MediaId]) -> Result<Vec<MediaId>, StoreError> {
        self.store.remove_media_bytes(ids.to_vec()).await?;
        self.before.remove(ids).await
    }

    async fn left(&self, now: Timestamp) -> Result<Vec<MediaId>, StoreError> {
        let mut left = self.store.media_bytes_without_row(now.before(LEFT_OVER), LEFT).await?;
        left.extend(self.before.left(now).await?);
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    async fn read(store: &dyn MediaStore, id: MediaId) -> Vec<u8> {
        let mut opened = store.open(id).await.expect("it is stored");
        let mut bytes = Vec::new();
        opened.bytes.read_to_end(&mut bytes).await.expect("all of it");
        assert_eq!(bytes.len() as u64, opened.size);
        bytes
    }

    #[tokio::test]
    async fn bytes_are_kept_whole_wherever_they_are_and_removed() {
        let folder = tempfile::tempdir().expect("a directory");
        let core = testing::core(&folder);
        let media = folder.path().join("media");
        let stores: [Box<dyn MediaStore>; 2] = [
            Box::new(Folder(media.clone())),
            Box::new(Database::new(Arc::clone(&core.store), media.clone())),
        ];
        for store in stores {
            let (id, other): (MediaId, MediaId) = (core.mint.id(core.now()), core.mint.id(core.now()));
            for length in [3 * PART + 7, 2 * PART, 1] {
                let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).expect("small")).collect();
                let file = folder.path().join("incoming");
                std::fs::write(&file, &bytes).expect("a file");
                store.put(id, &file, core.now()).await.expect("it is stored");
                assert!(!file.exists());
                assert_eq!(read(&*store, id).await, bytes);
            }
            let missing = store.open(other).await.err().expect("the file is missing");
            assert_eq!(missing.kind(), io::ErrorKind::NotFound);
            let left = store.left(core.now().after(2 * LEFT_OVER)).await.expect("a database");
            assert_eq!(left, [id]);
            assert_eq!(store.remove(&[id, other]).await.expect("a database"), [id, other]);
            assert!(store.open(id).await.is_err());
        }
    }

    #[tokio::test]
    async fn old_media_file_is_found_near_database() {
        let folder = tempfile::tempdir().expect("a directory");
        let core = testing::core(&folder);
        let media = folder.path().join("media");
        let id: MediaId = core.mint.id(core.now());
        std::fs::write(path(&media, id), b"kept before").expect("a file");
        let store = Database::new(Arc::clone(&core.store), media);
        assert_eq!(read(&store, id).await, b"kept before");
        assert_eq!(store.remove(&[id]).await.expect("a database"), [id]);
        assert!(store.open(id).await.is_err());
    }
}
