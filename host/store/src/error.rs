//! Errors of the store.

use weir_domain::id::MessageId;
use weir_domain::policy::Refusal;
use weir_domain::workspace::InUse;

/// Why the database could not be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Too many writes wait already, or the disk is full or locked. Nothing was written; retry later.
    #[error("the database cannot accept this write now: {reason}; nothing was written, try again")]
    Unavailable {
        /// The obstacle.
        reason: String,
    },
    /// The commit was requested, and its result is unknown. The write is complete or absent; check before repeating it,
    /// or repeat it if it is idempotent.
    #[error("whether this was written is unknown: {reason}")]
    Unknown {
        /// Why the result of the commit is unknown.
        reason: String,
    },
    /// Stored data cannot be read.
    #[error("the database is damaged at {place}: {reason}")]
    Damaged {
        /// Table and row.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The database was sealed with another master key. Nothing was changed.
    #[error(
        "its credentials are sealed with another master key; give it the one that it was written with: WEIR_MASTER_KEY, or \
         master.key in the data directory"
    )]
    WrongKey,
    /// The database was written by a newer Weir, or has a form that cannot be migrated. Nothing was changed.
    #[error("this Weir cannot open the database: {0}")]
    Schema(String),
    /// The database was moved, or a move to it or a change of its master key is incomplete. Nothing was changed.
    #[error("{0}")]
    Closed(String),
    /// An unexpected error of the database engine.
    #[error("the database failed: {0}")]
    Database(String),
}

impl StoreError {
    /// Whether the same write may succeed later.
    pub fn may_heal(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unknown { .. })
    }
}

/// Why a message was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// A rule refused it; nothing was written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The workspace has no such conversation.
    #[error("the conversation does not exist")]
    NoConversation,
    /// The message to quote is not in this conversation.
    #[error("the message to reply to is not in this conversation")]
    NoReplyTarget,
    /// The idempotency key was used with another request.
    #[error("this Idempotency-Key was used with another request")]
    KeyReused,
    /// Another message of the channel has this reference.
    #[error("another message of this channel has the same client_ref: {0}")]
    ClientRefTaken(MessageId),
    /// An error of the database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a workspace was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveWorkspaceError {
    /// It is in use; nothing was changed.
    #[error(transparent)]
    InUse(#[from] InUse),
    /// An error of the database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The result of most methods.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a version could not be staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The version number belongs to other bytes.
    #[error(
        "version {version} of {connector} is already installed with other bytes (digest {digest}); raise the version"
    )]
    Taken {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
        /// The digest of the stored component.
        digest: String,
    },
    /// The release counter is lower than the newest.
    #[error(
        "release {wanted} of {connector} is older than the newest one installed, {newest}; a downgrade must be allowed explicitly"
    )]
    Downgrade {
        /// The connector.
        connector: String,
        /// The release that was offered.
        wanted: u32,
        /// The newest stored release.
        newest: u32,
    },
    /// An error of the database.
    #[error(transparent)]
    Store(#[from] StoreError),
}
