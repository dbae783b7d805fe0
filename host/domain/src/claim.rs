//! Requests that act once under a key that their caller chose (`Idempotency-Key`).
//!
//! The key is claimed before the act. Whoever comes with it again gets the first one's answer, or the reason why there is none.

use crate::id::KeyId;

/// The right of one request to act under an idempotency key. The key belongs to the API key it came with: two programs of a
/// workspace that choose the same one do not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The tenant.
    pub workspace_id: String,
    /// Who asks.
    pub api_key: KeyId,
    /// The idempotency key.
    pub key: String,
    /// By which the same request is known: a digest of its method, path, query and body.
    pub fingerprint: String,
}

/// How far the request came that claimed a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<A> {
    /// It is at work.
    AtWork,
    /// The process ended in the middle of it, after it had changed something.
    Interrupted,
    /// It succeeded, with this answer.
    Answered(A),
}

/// What a claim came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed<A> {
    /// The request may act.
    New,
    /// The same request came before.
    Before(Progress<A>),
    /// Another request has the key.
    Reused,
}

impl Claim {
    /// Judges a claim by what is known of its key: the fingerprint and the progress of the request that has it.
    pub fn judge<A>(&self, known: Option<(String, Progress<A>)>) -> Claimed<A> {
        match known {
            None => Claimed::New,
            Some((fingerprint, progress)) if fingerprint == self.fingerprint => Claimed::Before(progress),
            Some(_) => Claimed::Reused,
        }
    }
}
