//! Media: uploads and attachments, and signed links to them that expire.
//!
//! A file appears under its name complete or not at all; its row in the database is written afterwards.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;
use weir_domain::caller::Caller;
use weir_domain::credential::Secrets;
use weir_domain::erasure::Removed;
use weir_domain::event::{self, Event};
use weir_domain::id::{ContactId, MediaId};
use weir_domain::limits;
use weir_domain::message::MediaStatus;
use weir_domain::policy::may_fetch;
use weir_domain::time::Timestamp;
use weir_egress::{Bodies, BodyError, StoredBody};
use weir_store::{Erasing, Store, StoreError, kill_point};

use crate::core::Core;
use crate::core::config::{Config, MediaKeep};
use crate::core::folder::private;
use crate::messages::media_store::{Database, Folder, MediaStore, Opened};

/// Why a file was not stored.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The file is too large.
    #[error("the file is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The file is empty.
    #[error("the file is empty")]
    Empty,
    /// The URL may not be fetched, or the fetch failed.
    #[error("the URL cannot be fetched: {0}")]
    Fetch(String),
    /// The upload ended early.
    #[error("the upload ended early: {0}")]
    Broken(io::Error),
    /// The disk failed.
    #[error("the file cannot be stored: {0}")]
    Disk(io::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a link does not work.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It was not signed by this host, or was modified.
    #[error("the link is not valid")]
    Invalid,
    /// It has expired.
    #[error("the link has expired; request a new one")]
    Ended,
    /// The file is not stored.
    #[error("the file is not available")]
    NotFound,
    /// The disk failed.
    #[error("the file cannot be read: {0}")]
    Disk(io::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Attachments of messages, and links to them.
pub struct Media {
    pub(super) core: Arc<Core>,
    /// The directory of incomplete files.
    pub(super) folder: PathBuf,
    pub(super) store: Arc<dyn MediaStore>,
    pub(super) in_flight: FilesInFlight,
    /// Signs links to files.
    link_key: [u8; 32],
}

/// How long the caller of an erasure waits for documents to be searched: a request should not outlast a proxy's
/// timeout.
const ERASING: Duration = Duration::from_secs(20);
/// The type of unrecognized content.
pub(crate) const UNKNOWN_TYPE: &str = "application/octet-stream";
/// Bytes read to detect a type: the signatures of all common types are within them.
const HEAD: usize = 8 << 10;
/// Longest stored file name.
const FILENAME_CHARS: usize = 255;

/// The directory of media files.
pub(crate) fn folder(config: &Config) -> PathBuf {
    config.data.join("media")
}

/// The configured storage.
fn store(core: &Core) -> Arc<dyn MediaStore> {
    let folder = folder(&core.config);
    match core.config.media {
        MediaKeep::Folder => Arc::new(Folder(folder)),
        MediaKeep::Database => Arc::new(Database::new(Arc::clone(&core.store), folder)),
    }
}

/// A complete file without an id; deleted unless it is kept.
pub(crate) struct Upload {
    id: MediaId,
    incoming: Incoming,
    size: u64,
}

/// Files that are being written: the database may not have their rows yet, and they are not orphans.
#[derive(Clone, Debug, Default)]
pub(crate) struct FilesInFlight(Arc<Mutex<HashMap<MediaId, usize>>>);

/// One of them, until it is dropped.
struct FileInFlight {
    of: FilesInFlight,
    id: MediaId,
}

impl FilesInFlight {
    fn ids(&self) -> MutexGuard<'_, HashMap<MediaId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, id: MediaId) -> FileInFlight {
        *self.ids().entry(id).or_default() += 1;
        FileInFlight { of: self.clone(), id }
    }

    pub(crate) fn holds(&self, id: MediaId) -> bool {
        self.ids().contains_key(&id)
    }
}

impl Drop for FileInFlight {
    fn drop(&mut self) {
        let mut ids = self.of.ids();
        if let Entry::Occupied(mut count) = ids.entry(self.id) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// A file being written to the media store; deleted unless it is kept.
pub(crate) struct Incoming {
    in_flight: FileInFlight,
    file: tokio::fs::File,
    unfinished: PathBuf,
    store: Arc<dyn MediaStore>,
    is_kept: bool,
}

impl Incoming {
    pub(crate) fn file(&mut self) -> &mut tokio::fs::File {
        &mut self.file
    }

    /// Stores the whole file and returns its type. It is in use until the second value is dropped: until its row is
    /// written.
    pub(crate) async fn keep(mut self, now: Timestamp) -> io::Result<(String, Self)> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let mime_type = type_of(&self.unfinished).await?;
        self.store.put(self.in_flight.id, &self.unfinished, now).await?;
        self.is_kept = true;
        Ok((mime_type, self))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.is_kept {
            // A leftover only wastes space, so the error is ignored.
            let _ = std::fs::remove_file(&self.unfinished);
        }
    }
}

async fn type_of(path: &Path) -> io::Result<String> {
    let mut head = Vec::with_capacity(HEAD);
    let file = tokio::fs::File::open(path).await?;
    file.take(HEAD as u64).read_to_end(&mut head).await?;
    Ok(sniff(&head).to_owned())
}

/// The type of a file by its first bytes; the sender's name and type are ignored.
fn sniff(head: &[u8]) -> &'static str {
    match infer::get(head) {
        Some(kind) => kind.mime_type(),
        None if !head.contains(&0) && std::str::from_utf8(head).is_ok() => "text/plain",
        None => UNKNOWN_TYPE,
    }
}

/// A file name without path separators and characters that could break a header.
fn clean_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last
        .chars()
        .filter(|c| !c.is_control() && *c != '"')
        .take(FILENAME_CHARS)
        .collect();
    let clean = clean.trim().trim_matches('.');
    (!clean.is_empty()).then(|| clean.to_owned())
}

impl Media {
    /// `link_key` signs links to files.
    pub(crate) fn new(core: Arc<Core>, link_key: [u8; 32]) -> Self {
        Self {
            folder: folder(&core.config),
            store: store(&core),
            core,
            in_flight: FilesInFlight::default(),
            link_key,
        }
    }

    /// Starts a file. `attempt` separates two fetches whose leases a step of the clock may let overlap.
    pub(crate) async fn begin(&self, id: MediaId, attempt: u32) -> io::Result<Incoming> {
        let in_flight = self.in_flight.enter(id);
        let unfinished = self.folder.join(format!("{id}.{attempt}.part"));
        Ok(Incoming {
            in_flight,
            file: tokio::fs::OpenOptions::from(private()).open(&unfinished).await?,
            unfinished,
            store: Arc::clone(&self.store),
            is_kept: false,
        })
    }

    /// Stores bytes for a later message; their type is sniffed.
    ///
    /// # Errors
    /// See [`UploadError`]; nothing is stored.
    pub async fn upload(
        &self,
        caller: &Caller,
        filename: Option<String>,
        stream: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<weir_store::Media, UploadError> {
        let (upload, _) = self.receive_upload(stream).await?;
        self.keep_upload(caller, upload, filename).await
    }

    /// Reads the bytes of an upload. Returns them with their SHA-256, which identifies the same file.
    ///
    /// # Errors
    /// See [`UploadError`]; nothing is stored.
    pub(crate) async fn receive_upload(
        &self,
        stream: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<(Upload, [u8; 32]), UploadError> {
        let id = self.core.mint.id(self.core.now());
        let mut incoming = self.begin(id, 0).await.map_err(UploadError::Disk)?;
        let mut stream = pin!(stream);
        let mut size = 0;
        let mut digest = Sha256::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(UploadError::Broken)?;
            size += chunk.len() as u64;
            if size > limits::UPLOAD_BYTES as u64 {
                return Err(UploadError::TooLarge {
                    limit: limits::UPLOAD_BYTES as u64,
                });
            }
            digest.update(&chunk);
            incoming.file().write_all(&chunk).await.map_err(UploadError::Disk)?;
        }
        Ok((Upload { id, incoming, size }, digest.finalize().into()))
    }

    /// Stores the file at a public URL.
    ///
    /// # Errors
    /// See [`UploadError`]; nothing is stored.
    pub async fn upload_from_url(&self, caller: &Caller, url: Url) -> Result<weir_store::Media, UploadError> {
        let fetch = |error: &dyn std::fmt::Display| UploadError::Fetch(error.to_string());
        let filename = url
            .path_segments()
            .and_then(|mut segments| segments.next_back())
            .map(str::to_owned);
        let permit = may_fetch(url).map_err(|error| fetch(&error))?;
        let id = self.core.mint.id(self.core.now());
        let mut incoming = self.begin(id, 0).await.map_err(UploadError::Disk)?;
        let limit = limits::UPLOAD_BYTES as u64;
        let fetched = self
            .core
            .egress
            .fetch(permit, &Secrets::default(), limit, incoming.file())
            .await
            .map_err(|error| match error {
                weir_egress::EgressError::TooLarge { limit } => UploadError::TooLarge { limit },
                weir_egress::EgressError::Sink(error) => UploadError::Disk(error),
                error => fetch(&error),
            })?;
        if !(200..300).contains(&fetched.status) {
            return Err(UploadError::Fetch(format!("it answers {}", fetched.status)));
        }
        let size = fetched.bytes;
        self.keep_upload(caller, Upload { id, incoming, size }, filename).await
    }

    /// Writes the row of an upload.
    ///
    /// # Errors
    /// See [`UploadError`]; nothing is stored.
    pub(crate) async fn keep_upload(
        &self,
        caller: &Caller,
        Upload { id, incoming, size }: Upload,
        filename: Option<String>,
    ) -> Result<weir_store::Media, UploadError> {
        if size == 0 {
            return Err(UploadError::Empty);
        }
        let (mime_type, _in_flight) = incoming.keep(self.core.now()).await.map_err(UploadError::Disk)?;
        let media = weir_store::Media {
            id,
            workspace_id: caller.workspace_id().to_owned(),
            channel_id: None,
            mime_type: Some(mime_type),
            size: Some(size),
            filename: filename.as_deref().and_then(clean_name),
            status: MediaStatus::Stored,
            created_at: self.core.now(),
        };
        if let Err(error) = self.core.store.insert_media(media.clone()).await {
            // No row will ever refer to these bytes.
            let _ = self.store.remove(&[id]).await;
            return Err(error.into());
        }
        Ok(media)
    }

    /// A link to a file, valid for [`weir_domain::limits::MEDIA_LINK`].
    pub fn media_link(&self, id: MediaId) -> String {
        let expires = self.core.now().after(limits::MEDIA_LINK).as_secs();
        let signature = hex::encode(link_mac(&self.link_key, id, expires).finalize().into_bytes());
        self.core
            .config
            .public(&format!("/media/{id}?expires={expires}&signature={signature}"))
    }

    /// The file of a link. `expires` is in Unix seconds.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub(crate) async fn open_media(
        &self,
        id: MediaId,
        expires: i64,
        signature: &str,
    ) -> Result<(weir_store::Media, Opened), LinkError> {
        let given = hex::decode(signature).map_err(|_| LinkError::Invalid)?;
        link_mac(&self.link_key, id, expires)
            .verify_slice(&given)
            .map_err(|_| LinkError::Invalid)?;
        if self.core.now().as_secs() >= expires {
            return Err(LinkError::Ended);
        }
        let media = self.core.store.media_of_any(id).await?;
        let media = media
            .filter(|media| media.status == MediaStatus::Stored)
            .ok_or(LinkError::NotFound)?;
        match self.store.open(id).await {
            Ok(opened) => Ok((media, opened)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(LinkError::NotFound),
            Err(error) => Err(LinkError::Disk(error)),
        }
    }

    /// Erases a contact: first the rows, then their files, then other records that identify them. Returns what was
    /// removed; `None` if the contact does not exist. If it takes longer than [`ERASING`], or is interrupted, it
    /// continues in the background.
    ///
    /// # Errors
    /// The database failed.
    pub async fn erase_contact(&self, caller: &Caller, id: ContactId) -> Result<Option<Removed>, StoreError> {
        let known = self.core.store.contact(caller.workspace_id(), id).await?;
        if known.is_none_or(|known| !caller.sees(Some(known.channel_id))) {
            return Ok(None);
        }
        let erased = self
            .core
            .store
            .erase_contact(caller.workspace_id(), id, self.core.now())
            .await?;
        let Some(erased) = erased else { return Ok(None) };
        kill_point("erase.recorded");
        self.remove_files().await?;
        if tokio::time::timeout(ERASING, self.erase_round()).await.is_err() {
            tracing::warn!(contact.id = %id, "Documents that may name the erased contact {id} are still being read");
        }
        Ok(Some(erased.removed))
    }

    /// Continues unfinished erasures, until they are complete or until an external reader of the database blocks them.
    ///
    /// # Errors
    /// The database failed; the next round continues.
    pub(crate) async fn erase_round(&self) -> Result<(), StoreError> {
        while self.core.store.erase_on().await? == Erasing::More {
            kill_point("erase.searched");
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// The link of an attachment, also while its bytes are being fetched: until they are stored it answers 503 with
    /// `Retry-After`, so that a receiver needs no second event. `None` for bytes that cannot be fetched.
    pub(crate) fn link_of(&self, id: MediaId, status: Option<MediaStatus>) -> Option<String> {
        (status != Some(MediaStatus::Failed)).then(|| self.media_link(id))
    }

    /// An event in the API's format: the attachment of its message has its link.
    pub fn with_link(&self, event: Event) -> Event {
        linked(event, |id, status| self.link_of(id, status))
    }
}

fn linked(mut event: Event, link: impl Fn(MediaId, Option<MediaStatus>) -> Option<String>) -> Event {
    if event.kind.carries_message()
        && let Some(document) = event.data.get_mut("content")
        // An event that this version cannot read is delivered as it is in the log.
        && let Ok(mut content) = event::Content::deserialize(&*document)
        && let Some(media) = content.media_mut()
    {
        media.url = link(media.id, media.status);
        if let Ok(linked) = serde_json::to_value(content) {
            *document = linked;
        }
    }
    event
}

/// The signed part of a link: the id and the expiry, with a separator that occurs in neither.
fn link_mac(key: &[u8; 32], id: MediaId, expires: i64) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key)
        .expect("HMAC takes keys of any length")
        .chain_update(format!("{id}.{expires}"))
}

/// Stored attachments, for requests that carry them.
pub(crate) struct StoredBodies {
    store: Arc<dyn Store>,
    bytes: Arc<dyn MediaStore>,
}

impl StoredBodies {
    pub(crate) fn of(media: &Media) -> Self {
        Self {
            store: Arc::clone(&media.core.store),
            bytes: Arc::clone(&media.store),
        }
    }
}

#[async_trait]
impl Bodies for StoredBodies {
    async fn open(&self, id: MediaId) -> Result<StoredBody, BodyError> {
        let unreadable = |error: &dyn std::fmt::Display| BodyError::Io(std::io::Error::other(error.to_string()));
        let row = self.store.media_of_any(id).await.map_err(|error| unreadable(&error))?;
        let row = row
            .filter(|row| row.status == MediaStatus::Stored)
            .ok_or(BodyError::NotStored(id))?;
        let Opened { bytes, size } = self.bytes.open(id).await?;
        Ok(StoredBody {
            bytes,
            size,
            mime_type: row.mime_type.unwrap_or_else(|| UNKNOWN_TYPE.to_owned()),
            filename: row.filename.unwrap_or_else(|| id.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use weir_domain::event::EventType;
    use weir_domain::id::Mint;

    use super::*;

    #[test]
    fn media_type_comes_from_bytes() {
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "image/png");
        assert_eq!(sniff(b"\xff\xd8\xff\xe0\0\x10JFIF\0"), "image/jpeg");
        assert_eq!(sniff(b"hello"), "text/plain");
        assert_eq!(sniff(&[0, 1, 2, 3]), UNKNOWN_TYPE);
    }

    #[test]
    fn a_file_name_leads_nowhere() {
        assert_eq!(clean_name("../../etc/passwd").as_deref(), Some("passwd"));
        assert_eq!(clean_name("C:\\a\\b.png").as_deref(), Some("b.png"));
        assert_eq!(clean_name("a\"\r\nb.png").as_deref(), Some("ab.png"));
        assert_eq!(clean_name(".."), None);
    }

    fn shown(kind: EventType, data: Value) -> Value {
        let mint = Mint::from_seed([1; 32]);
        let event = Event {
            id: mint.id(Timestamp::default()),
            kind,
            timestamp: Timestamp::default(),
            workspace_id: "default".into(),
            channel_id: None,
            conversation_id: None,
            sequence: 1,
            data,
        };
        let link = |id, status| (status != Some(MediaStatus::Failed)).then(|| format!("link:{id}"));
        linked(event, link).data
    }

    #[test]
    fn an_attachment_that_is_not_lost_gets_a_link() {
        let id: MediaId = Mint::from_seed([1; 32]).id(Timestamp::default());
        let message = |kind: &str, media: Value| {
            json!({
                "content": {"type": kind, "media": media},
                "platform_data": {"media": {"id": id, "status": "stored"}},
            })
        };
        let media = |url: Option<String>, status: &str| json!({"id": id, "mime_type": null, "size": null, "url": url, "status": status});
        let link = format!("link:{id}");
        for (status, url) in [("stored", Some(&link)), ("pending", Some(&link)), ("failed", None)] {
            assert_eq!(
                shown(EventType::MessageReceived, message("image", media(None, status))),
                message("image", media(url.cloned(), status))
            );
        }
        let unread = message("hologram", media(None, "stored"));
        assert_eq!(shown(EventType::MessageReceived, unread.clone()), unread);
        let other = message("image", media(None, "stored"));
        assert_eq!(shown(EventType::ChannelUpdated, other.clone()), other);
    }

    #[test]
    fn a_link_is_bound_to_its_id_and_its_end() {
        let mint = Mint::from_seed([1; 32]);
        let (one, other): (MediaId, MediaId) = (mint.id(Timestamp::default()), mint.id(Timestamp::default()));
        let signature = link_mac(&[7; 32], one, 100).finalize().into_bytes();
        assert!(link_mac(&[7; 32], one, 100).verify_slice(&signature).is_ok());
        assert!(link_mac(&[7; 32], one, 101).verify_slice(&signature).is_err());
        assert!(link_mac(&[7; 32], other, 100).verify_slice(&signature).is_err());
        assert!(link_mac(&[8; 32], one, 100).verify_slice(&signature).is_err());
    }
}
