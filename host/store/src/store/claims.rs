//! Idempotency keys of requests.

use async_trait::async_trait;
use weir_domain::claim::{Claim, Claimed};
use weir_domain::id::ContactId;
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::claims;
use crate::{HeldClaim, Result, StoredResponse};

/// Idempotency keys of requests.
#[async_trait]
pub trait Claims: Send + Sync {
    /// Claims an idempotency key for a request that `owner` processes: of two concurrent callers, one gets it. It is
    /// valid for [`weir_domain::limits::IDEMPOTENCY`]. The request's writes are made [for the claim](crate::for_claim).
    async fn claim(&self, claim: Claim, owner: &str, now: Timestamp) -> Result<Claimed<StoredResponse>>;
    /// Stores the response of a claimed request that succeeded, and the person whom it concerns. Does nothing, as
    /// below, if the claim no longer belongs to the node.
    async fn answer_claim(&self, claim: HeldClaim, answer: StoredResponse, about: Option<ContactId>) -> Result<()>;
    /// Releases the key of a claimed request that was refused: it may be used again.
    async fn release_claim(&self, claim: HeldClaim) -> Result<()>;
    /// The claimed request was interrupted. If nothing was written for it, its key is released.
    async fn interrupt_claim(&self, claim: HeldClaim) -> Result<()>;
}

#[async_trait]
impl<E: Engine> Claims for E {
    async fn claim(&self, claim: Claim, owner: &str, now: Timestamp) -> Result<Claimed<StoredResponse>> {
        let owner = owner.to_owned();
        self.write(move |db| claims::claim(db, &claim, &owner, now)).await
    }
    async fn answer_claim(&self, claim: HeldClaim, answer: StoredResponse, about: Option<ContactId>) -> Result<()> {
        self.write(move |db| claims::answer(db, &claim, &answer, about)).await
    }
    async fn release_claim(&self, claim: HeldClaim) -> Result<()> {
        self.write(move |db| claims::release(db, &claim)).await
    }
    async fn interrupt_claim(&self, claim: HeldClaim) -> Result<()> {
        self.write(move |db| claims::interrupt(db, &claim)).await
    }
}
