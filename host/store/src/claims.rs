//! The claim that a task works for. It goes with the task, so that a write knows for whom it is without every act handing it on.

use std::future::Future;
use std::sync::Arc;

use weir_domain::claim::Claim;

tokio::task_local! {
    static CLAIM: Option<Arc<HeldClaim>>;
}

/// A claim, and the node that works at its request.
#[derive(Clone, Debug)]
pub struct HeldClaim {
    /// What is claimed.
    pub claim: Claim,
    /// The node's id.
    pub node: String,
}

/// Does the work of a claimed request. Each write of it marks the claim in its own transaction, so that it is known after the
/// process has died whether anything was written for it; once the claim is not the node's any more, none is made.
pub async fn for_claim<F: Future>(held: HeldClaim, work: F) -> F::Output {
    CLAIM.scope(Some(Arc::new(held)), work).await
}

/// The same work in a task of its own, still for the claim of the task that begins it.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    CLAIM.scope(current(), work)
}

pub(crate) fn current() -> Option<Arc<HeldClaim>> {
    CLAIM.try_with(Option::clone).ok().flatten()
}
