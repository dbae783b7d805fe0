//! A request with an idempotency key has one effect, whatever process dies meanwhile.

use weir_domain::claim::{Claim, Claimed, Progress};
use weir_domain::limits;

use super::world::*;
use super::{Factory, run};
use crate::{AuditEntry, HeldClaim, StoredResponse, for_claim};

const OWNER: &str = "this process";

fn answer(body: &str) -> StoredResponse {
    StoredResponse {
        status: 201,
        body: body.into(),
    }
}

fn held(claim: &Claim, node: &str) -> HeldClaim {
    HeldClaim {
        claim: claim.clone(),
        node: node.to_owned(),
    }
}

impl World {
    async fn claimed(&self, claim: &Claim, seconds: i64) -> Claimed<StoredResponse> {
        self.store.claim(claim.clone(), OWNER, at(seconds)).await.unwrap()
    }

    async fn acts_for(&self, claim: &Claim, node: &str) {
        self.tries_to_act(claim, node).await.unwrap();
    }

    async fn tries_to_act(&self, claim: &Claim, node: &str) -> crate::Result<()> {
        let entry = AuditEntry {
            at: at(1),
            workspace_id: DEFAULT.into(),
            actor: "key".into(),
            action: "act".into(),
            subject: "it".into(),
            detail: serde_json::Value::Null,
        };
        for_claim(held(claim, node), self.store.audit(entry)).await
    }
}

pub fn a_key_is_claimed_once_and_answered_from_the_claim(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let claim = World::claim("key", "print");
        assert_eq!(world.claimed(&claim, 1).await, Claimed::New);
        assert_eq!(world.claimed(&claim, 2).await, Claimed::Before(Progress::AtWork));
        let other = World::claim("key", "another print");
        assert_eq!(world.claimed(&other, 2).await, Claimed::Reused);
        world
            .store
            .answer_claim(held(&claim, OWNER), answer("first"), None)
            .await
            .unwrap();
        assert_eq!(
            world.claimed(&claim, 3).await,
            Claimed::Before(Progress::Answered(answer("first")))
        );
        assert_eq!(world.claimed(&other, 3).await, Claimed::Reused);
        // Another API key, and another workspace, have idempotency keys of their own.
        let strangers = Claim {
            api_key: world.id(),
            ..claim.clone()
        };
        assert_eq!(world.claimed(&strangers, 3).await, Claimed::New);
        let tenants = Claim {
            workspace_id: "another".into(),
            ..claim.clone()
        };
        assert_eq!(world.claimed(&tenants, 3).await, Claimed::New);
        let end = 1 + limits::IDEMPOTENCY.as_secs().cast_signed();
        assert_ne!(world.claimed(&claim, end - 1).await, Claimed::New);
        assert_eq!(world.claimed(&other, end).await, Claimed::New);
    });
}

pub fn refused_request_may_be_repeated(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let claim = World::claim("key", "print");
        assert_eq!(world.claimed(&claim, 1).await, Claimed::New);
        // The refusal is stored too.
        world.acts_for(&claim, OWNER).await;
        world.store.release_claim(held(&claim, OWNER)).await.unwrap();
        assert_eq!(world.claimed(&claim, 2).await, Claimed::New);
        world
            .store
            .answer_claim(held(&claim, OWNER), answer("first"), None)
            .await
            .unwrap();
        world.store.release_claim(held(&claim, OWNER)).await.unwrap();
        assert_ne!(
            world.claimed(&claim, 3).await,
            Claimed::New,
            "a key with a response is not released"
        );
    });
}

pub fn a_claim_of_a_dead_node_is_free_if_nothing_was_written(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let node = world.store.register_node("this", "1.0.0", at(1)).await.unwrap().id;
        let (idle, acted) = (World::claim("idle", "print"), World::claim("acted", "print"));
        let (answered, ours) = (World::claim("answered", "print"), World::claim("ours", "print"));
        for claim in [&idle, &acted, &answered] {
            world.store.claim(claim.clone(), "dead", at(1)).await.unwrap();
        }
        world.store.claim(ours.clone(), &node, at(1)).await.unwrap();
        world.acts_for(&acted, "dead").await;
        world.acts_for(&answered, "dead").await;
        world
            .store
            .answer_claim(held(&answered, "dead"), answer("first"), None)
            .await
            .unwrap();
        assert_eq!(
            world.store.end_dead_nodes(&node, at(2), at(2)).await.unwrap().requests,
            2
        );
        assert_eq!(world.claimed(&idle, 2).await, Claimed::New);
        // The dead node returns, and can neither act nor end the claim that another node has now.
        assert!(world.tries_to_act(&idle, "dead").await.is_err());
        world.store.release_claim(held(&idle, "dead")).await.unwrap();
        world.store.interrupt_claim(held(&idle, "dead")).await.unwrap();
        assert_eq!(world.claimed(&idle, 2).await, Claimed::Before(Progress::AtWork));
        world.acts_for(&idle, OWNER).await;
        assert_eq!(world.claimed(&acted, 2).await, Claimed::Before(Progress::Interrupted));
        assert_eq!(
            world.claimed(&answered, 2).await,
            Claimed::Before(Progress::Answered(answer("first")))
        );
        assert_eq!(world.claimed(&ours, 2).await, Claimed::Before(Progress::AtWork));
    });
}

pub fn a_request_that_broke_off_is_free_if_nothing_was_written(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        for (key, acts) in [("idle", false), ("acted", true)] {
            let claim = World::claim(key, "print");
            world.claimed(&claim, 1).await;
            if acts {
                world.acts_for(&claim, OWNER).await;
            }
            world.store.interrupt_claim(held(&claim, OWNER)).await.unwrap();
            let again = world.claimed(&claim, 2).await;
            let is_free = again == Claimed::New;
            assert_eq!(is_free, !acts, "{again:?}");
        }
    });
}
