//! Requests that have one effect per key that their caller chose (`Idempotency-Key`).
//!
//! The key is claimed before the act. A repeated request gets the first one's response, or the reason why there is
//! none.

use crate::id::KeyId;

/// The right of one request to act under an idempotency key. Idempotency keys are separate for each API key: two
/// programs of a workspace may choose the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The workspace.
    pub workspace_id: String,
    /// The caller's API key.
    pub api_key: KeyId,
    /// The idempotency key.
    pub key: String,
    /// Identifies the same request: a digest of its method, path, query and body.
    pub fingerprint: String,
}

/// The progress of the request that claimed a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<A> {
    /// It is in progress.
    AtWork,
    /// The process ended during it, after it had changed something.
    Interrupted,
    /// It succeeded, with this response.
    Answered(A),
}

/// The result of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed<A> {
    /// The request may act.
    New,
    /// The same request was made before.
    Before(Progress<A>),
    /// Another request has the key.
    Reused,
}

impl Claim {
    /// Decides a claim by the stored claim of its key: the fingerprint and the progress of that request.
    pub fn judge<A>(&self, known: Option<(String, Progress<A>)>) -> Claimed<A> {
        match known {
            None => Claimed::New,
            Some((fingerprint, progress)) if fingerprint == self.fingerprint => Claimed::Before(progress),
            Some(_) => Claimed::Reused,
        }
    }
}
