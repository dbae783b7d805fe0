//! Writes that share a commit are executed together, with the same result as separate ones.

use std::sync::Arc;

use weir_domain::message::{Message, Status};
use weir_domain::policy::Refusal;

use super::costs::{counted, together};
use crate::conformance::world::*;
use crate::{EnqueueError, Enqueued, NewMessage};

async fn accept(world: &World, new: Vec<NewMessage>) -> Vec<Result<Enqueued, EnqueueError>> {
    let one = |new: NewMessage| {
        let (store, policies) = (Arc::clone(&world.store), world.policy_set.clone());
        async move { store.enqueue(new, &policies, at(20)).await }
    };
    together(new.into_iter().map(one).collect()).await
}

fn messages(enqueued: Result<Enqueued, EnqueueError>) -> Vec<Message> {
    match enqueued.unwrap() {
        Enqueued::New(messages) | Enqueued::Replayed(messages) => messages,
    }
}

#[test]
fn a_group_spends_a_budget_once() {
    super::block_on(async {
        let world = World::begin(counted).await;
        world
            .receive(vec![contact_writes("m1", 10), contact_writes_in("other", "m2", 10)], 10)
            .await;
        let (first, other) = (
            world.conversation("thread").await.id,
            world.conversation("other").await.id,
        );
        let mut drafts: Vec<NewMessage> = (0..BUDGET + 2).map(|n| world.draft(first, &n.to_string())).collect();
        drafts.insert(2, world.draft(other, "elsewhere"));
        let accepted = accept(&world, drafts).await;
        let refused = accepted.iter().filter(|one| {
            matches!(one, Err(EnqueueError::Refused(Refusal::MessageBudgetExhausted { used, .. })) if *used == BUDGET)
        });
        assert_eq!(refused.count(), 2);
        assert_eq!(world.used().await, BUDGET);
        assert_eq!(world.conversation("other").await.budget_used, 1);
        // In order, one at a time, and each conversation separately.
        let waiting: Vec<i64> = world
            .messages("thread")
            .await
            .iter()
            .map(|message| message.sequence)
            .collect();
        assert_eq!(waiting, [1, 2, 3, 4]);
        assert_eq!(world.lease(10, 21).await.len(), 2);
    });
}

#[test]
fn a_repeated_request_in_a_group_gets_the_first_answer() {
    super::block_on(async {
        let world = World::begin(counted).await;
        world
            .receive(vec![contact_writes("m1", 10), contact_writes_in("other", "m2", 10)], 10)
            .await;
        let (first, other) = (
            world.conversation("thread").await.id,
            world.conversation("other").await.id,
        );
        let claimed = |conversation, fingerprint: &str| {
            let mut new = world.draft(conversation, "once");
            new.claim = Some(World::claim("key", fingerprint));
            new
        };
        let drafts = vec![claimed(first, "one"), claimed(first, "one"), claimed(other, "another")];
        let mut accepted = accept(&world, drafts).await;
        assert!(matches!(accepted.pop(), Some(Err(EnqueueError::KeyReused))));
        assert!(matches!(accepted[1], Ok(Enqueued::Replayed(_))));
        let texts: Vec<Vec<Message>> = accepted.into_iter().map(messages).collect();
        assert_eq!(texts[0], texts[1]);
        assert_eq!(
            (world.used().await, world.conversation("other").await.budget_used),
            (1, 0)
        );
    });
}

#[test]
fn answers_of_a_group_that_contradict_each_other_undo_nobodys() {
    super::block_on(async {
        let world = World::begin(counted).await;
        let threads = ["a", "b", "c"];
        let words = threads.map(|thread| contact_writes_in(thread, &format!("m-{thread}"), 10));
        world.receive(words.to_vec(), 10).await;
        for thread in threads {
            world.send_in(thread, "hello", 20).await.unwrap();
        }
        let leases = world.lease(10, 21).await;
        assert_eq!(leases.len(), 3);
        let mut tokens: Vec<_> = leases.iter().map(|lease| lease.token.clone()).collect();
        // Two messages with one id, a third, and one that arrives twice.
        tokens.push(tokens[2].clone());
        let ids = ["same", "same", "its own", "its own"];
        let settle = |(token, id): (crate::LeaseToken, &str)| {
            let (store, next) = (Arc::clone(&world.store), sent(id, 22));
            async move {
                store
                    .settle_message(&token, next, Vec::new(), Vec::new(), at(22))
                    .await
                    .unwrap()
            }
        };
        let settled = together(tokens.into_iter().zip(ids).map(settle).collect()).await;
        assert_eq!(settled, [true, true, true, false]);
        let mut known = Vec::new();
        for lease in &leases {
            let message = world.message(&lease.message).await;
            assert_eq!(message.status, Status::Sent);
            known.push(message.platform_id);
        }
        // An id that belongs to another message is ignored.
        assert_eq!(known, [Some("same".to_owned()), None, Some("its own".to_owned())]);
    });
}
