//! The claim that a task works for. It is task-local, so that a write finds it without every act passing it on.

use std::future::Future;
use std::sync::Arc;

use weir_domain::claim::Claim;

tokio::task_local! {
    static CLAIM: Option<Arc<HeldClaim>>;
}

/// A claim, and the node that processes its request.
#[derive(Clone, Debug)]
pub struct HeldClaim {
    /// The claim.
    pub claim: Claim,
    /// The node's id.
    pub node: String,
}

/// Processes a claimed request. Each write marks the claim in its own transaction, so that after a crash it is known
/// whether anything was written for it; a write fails if the claim no longer belongs to the node.
pub async fn for_claim<F: Future>(held: HeldClaim, work: F) -> F::Output {
    CLAIM.scope(Some(Arc::new(held)), work).await
}

/// The same in a separate task, still for the claim of the task that starts it.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    CLAIM.scope(current(), work)
}

pub(crate) fn current() -> Option<Arc<HeldClaim>> {
    CLAIM.try_with(Option::clone).ok().flatten()
}
