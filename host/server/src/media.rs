//! Stored bytes: files in the data directory, and links to them that are signed and end.

use std::io;

use bytes::Bytes;
use futures_util::Stream;
use url::Url;
use weir_domain::caller::Caller;
use weir_domain::id::MediaId;
use weir_store::{Media, StoreError};

use crate::host::Host;

/// Why bytes were not stored.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Too many.
    #[error("the file is larger than {limit} bytes")]
    TooLarge {
        /// The bound, in bytes.
        limit: u64,
    },
    /// None.
    #[error("the file is empty")]
    Empty,
    /// The URL may not be fetched, or nothing came of it.
    #[error("the URL cannot be fetched: {0}")]
    Fetch(String),
    /// They broke off on their way here.
    #[error("the upload broke off: {0}")]
    Broken(io::Error),
    /// The disk.
    #[error("the file cannot be kept: {0}")]
    Disk(io::Error),
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a link does not work.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It is not one of ours, or was changed.
    #[error("the link is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the link has ended; ask for a new one")]
    Ended,
    /// The bytes are not here.
    #[error("the file is not here")]
    NotFound,
    /// The disk.
    #[error("the file cannot be read: {0}")]
    Disk(io::Error),
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Host {
    /// Stores bytes for a message to come; their type is sniffed.
    ///
    /// # Errors
    /// See [`UploadError`]; nothing is kept.
    pub async fn upload(
        &self,
        caller: &Caller,
        filename: Option<String>,
        stream: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<Media, UploadError> {
        let _ = (caller, filename, stream);
        Err(UploadError::Empty)
    }

    /// Stores the bytes that a public URL has.
    ///
    /// # Errors
    /// See [`UploadError`]; nothing is kept.
    pub async fn upload_from_url(&self, caller: &Caller, url: Url) -> Result<Media, UploadError> {
        let _ = (caller, url);
        Err(UploadError::Empty)
    }

    /// A link to stored bytes that works for [`weir_domain::limits::MEDIA_LINK`].
    pub fn media_link(&self, id: MediaId) -> String {
        let _ = id;
        String::new()
    }

    /// The bytes that a link names. `expires` is in Unix seconds.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn open_media(
        &self,
        id: MediaId,
        expires: i64,
        signature: &str,
    ) -> Result<(Media, tokio::fs::File), LinkError> {
        let _ = (id, expires, signature);
        Err(LinkError::Invalid)
    }

    /// A document as it is shown: every attachment that is here gets its link.
    pub fn with_links(&self, data: serde_json::Value) -> serde_json::Value {
        data
    }
}
