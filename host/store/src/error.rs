//! Why something was not done.

use weir_domain::id::MessageId;
use weir_domain::policy::Refusal;
use weir_domain::workspace::InUse;

/// Why the record could not be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Too many writes wait already, or the disk is full or locked. Nothing was written; come back later.
    #[error("the store cannot take this write now: {reason}; nothing was written, try again")]
    Unavailable {
        /// What is in the way.
        reason: String,
    },
    /// The commit was asked for and its answer is lost. What was written is whole or not there; look before doing it again, or
    /// do again what is the same when done twice.
    #[error("whether this was written is unknown: {reason}")]
    Unknown {
        /// What became of the commit.
        reason: String,
    },
    /// What was written before cannot be read.
    #[error("the record is damaged at {place}: {reason}")]
    Damaged {
        /// Table and row.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The record was sealed with another master key. Nothing was changed.
    #[error(
        "its credentials are sealed with another master key; give it the one that it was written with: WEIR_MASTER_KEY, or \
         master.key in the data folder"
    )]
    WrongKey,
    /// The record was written by a newer Weir, or has a form that cannot be migrated. Nothing was changed.
    #[error("this Weir cannot open the record: {0}")]
    Schema(String),
    /// The record was moved away, or a move to it or a change of its master key did not end. Nothing was changed.
    #[error("{0}")]
    Closed(String),
    /// The database said no in a way that nobody foresaw.
    #[error("the database failed: {0}")]
    Database(String),
}

/// Why a message did not enter the outbox.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// A rule says no; nothing was written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No such conversation in this workspace.
    #[error("there is no such conversation")]
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
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a workspace was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveWorkspaceError {
    /// Nothing was changed.
    #[error(transparent)]
    InUse(#[from] InUse),
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The result of most methods.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a version could not be staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The number stands for other bytes.
    #[error("version {version} of {connector} is already here with other bytes (digest {digest}); raise the version")]
    Taken {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
        /// Of what is here.
        digest: String,
    },
    /// The release counter goes back.
    #[error(
        "release {wanted} of {connector} is older than the newest one here, {newest}; a downgrade must be asked for"
    )]
    Downgrade {
        /// The connector.
        connector: String,
        /// Of what was offered.
        wanted: u32,
        /// Of what is here.
        newest: u32,
    },
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}
