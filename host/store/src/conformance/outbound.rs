//! Outbound messages are checked once, and the same request is accepted once.

use weir_domain::claim::Claim;
use weir_domain::event::EventType;
use weir_domain::limits;
use weir_domain::message::Status;
use weir_domain::policy::Refusal;

use super::world::*;
use super::{Factory, run};
use crate::{EnqueueError, Enqueued};

fn exhausted<T: std::fmt::Debug>(result: Result<T, EnqueueError>) {
    assert!(
        matches!(
            result,
            Err(EnqueueError::Refused(Refusal::MessageBudgetExhausted { .. }))
        ),
        "{result:?}"
    );
}

pub fn repeated_request_gets_first_response(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let id = world.conversation("thread").await.id;
        let mut draft = world.draft(id, "hello");
        draft.claim = Some(World::claim("key", "print"));
        let first = world.accept(draft.clone(), 20).await.unwrap();
        let lease = world.lease(1, 20).await.remove(0);
        world.settle(&lease, sent("p1", 20), 20).await;
        match world
            .store
            .enqueue(draft.clone(), &world.policy_set, at(21))
            .await
            .unwrap()
        {
            Enqueued::Replayed(again) => assert_eq!(again, [first]),
            Enqueued::New(messages) => panic!("{messages:?}"),
        }
        draft.claim = Some(World::claim("key", "another print"));
        assert!(matches!(
            world.accept(draft.clone(), 22).await,
            Err(EnqueueError::KeyReused)
        ));
        assert_eq!(world.messages("thread").await.len(), 2);
        // A refused request stores no response.
        let mut empty = world.draft(id, " ");
        empty.claim = Some(World::claim("other", "print"));
        assert!(matches!(
            world.accept(empty.clone(), 23).await,
            Err(EnqueueError::Refused(_))
        ));
        empty.content = world.draft(id, "full").content;
        assert!(matches!(
            world.store.enqueue(empty, &world.policy_set, at(24)).await,
            Ok(Enqueued::New(_))
        ));
    });
}

pub fn programs_with_one_idempotency_key_do_not_meet(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let id = world.conversation("thread").await.id;
        let mut ours = world.draft(id, "ours");
        ours.claim = Some(World::claim("key", "ours"));
        let mut theirs = world.draft(id, "theirs");
        theirs.claim = Some(Claim {
            api_key: world.id(),
            ..World::claim("key", "theirs")
        });
        for _ in 0..2 {
            for (draft, text) in [(&ours, "ours"), (&theirs, "theirs")] {
                let message = world.accept(draft.clone(), 20).await.unwrap();
                assert_eq!(message.content, world.draft(id, text).content);
            }
        }
        assert_eq!(world.messages("thread").await.len(), 3, "each was sent once");
    });
}

pub fn an_idempotency_key_is_forgotten_after_a_day(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let day = limits::IDEMPOTENCY.as_secs().cast_signed();
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let id = world.conversation("thread").await.id;
        let mut draft = world.draft(id, "hello");
        draft.claim = Some(World::claim("key", "print"));
        world.accept(draft.clone(), 20).await.unwrap();
        let at_the_edge = world
            .store
            .enqueue(draft.clone(), &world.policy_set, at(20 + day - 1))
            .await
            .unwrap();
        assert!(matches!(at_the_edge, Enqueued::Replayed(_)));
        let after = world
            .store
            .enqueue(draft, &world.policy_set, at(20 + day))
            .await
            .unwrap();
        assert!(matches!(after, Enqueued::New(_)));
    });
}

pub fn messages_of_one_request_are_atomic(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let id = world.conversation("thread").await.id;
        let mut draft = world.draft(id, "one");
        draft.then = vec![world.draft(id, "two").content];
        draft.claim = Some(World::claim("key", "print"));
        draft.client_ref = Some("mine".into());
        let Enqueued::New(both) = world
            .store
            .enqueue(draft.clone(), &world.policy_set, at(20))
            .await
            .unwrap()
        else {
            panic!("it is new");
        };
        assert_eq!(
            both.iter()
                .map(|message| message.client_ref.as_deref())
                .collect::<Vec<_>>(),
            [Some("mine"), None]
        );
        assert_eq!(world.used().await, 2);
        match world.store.enqueue(draft, &world.policy_set, at(21)).await.unwrap() {
            Enqueued::Replayed(again) => assert_eq!(again, both),
            Enqueued::New(messages) => panic!("{messages:?}"),
        }
        // One is left, and two are requested: neither is accepted, and the refusal reports the actual budget.
        let mut draft = world.draft(id, "nine");
        draft.then = vec![world.draft(id, "ten").content];
        let refused = world.store.enqueue(draft, &world.policy_set, at(23)).await;
        let Err(EnqueueError::Refused(Refusal::MessageBudgetExhausted { limit, used })) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((limit, used), (BUDGET, BUDGET - 1));
        assert_eq!(world.used().await, BUDGET - 1);
        assert_eq!(world.messages("thread").await.len(), 1 + BUDGET as usize - 1);
    });
}

pub fn two_callers_cannot_both_spend_the_last_message(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        for n in 1..BUDGET {
            world.send(&format!("{n}"), 20).await.unwrap();
        }
        let (one, other) = tokio::join!(world.send("one", 21), world.send("other", 21));
        assert_eq!(usize::from(one.is_ok()) + usize::from(other.is_ok()), 1);
        exhausted(if one.is_ok() { other } else { one });
        assert_eq!(world.used().await, BUDGET);
        // The contact's next message resets the budget except for messages in the outbox.
        world.receive(vec![contact_writes("m2", 30)], 30).await;
        assert_eq!(world.used().await, BUDGET);
        let lease = world.lease(1, 31).await.remove(0);
        world.settle(&lease, sent("p1", 31), 31).await;
        world.receive(vec![contact_writes("m3", 40)], 40).await;
        assert_eq!(world.used().await, BUDGET - 1);
    });
}

pub fn failed_messages_return_budget_uncertain_keep_it(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        world.send("fails", 20).await.unwrap();
        let lease = world.lease(1, 20).await.remove(0);
        assert!(world.settle(&lease, failed(), 21).await);
        assert_eq!(world.used().await, 0);
        let message = world.message(&lease.message).await;
        assert_eq!(
            (message.status, message.error.unwrap().code.as_str()),
            (Status::Failed, "refused")
        );

        let cancelled = world.send("cancelled", 22).await.unwrap();
        let outcome = world.store.cancel_message(DEFAULT, cancelled.id, at(23)).await.unwrap();
        assert_eq!(outcome.unwrap().unwrap().status, Status::Cancelled);
        assert_eq!(world.used().await, 0);
        assert!(world.lease(1, 24).await.is_empty());

        world.send("uncertain", 25).await.unwrap();
        let lease = world.lease(1, 25).await.remove(0);
        // A message in flight cannot be cancelled.
        let outcome = world
            .store
            .cancel_message(DEFAULT, lease.message.id, at(26))
            .await
            .unwrap();
        assert_eq!(outcome.unwrap().unwrap_err().status, Status::Sending);
        assert!(world.settle(&lease, uncertain_outcome(), 26).await);
        assert_eq!(world.used().await, 1);
        let kinds = [
            EventType::MessageFailed,
            EventType::MessageCancelled,
            EventType::MessageUncertain,
        ];
        for kind in kinds {
            assert_eq!(world.events_of(kind).await.len(), 1, "{kind:?}");
        }
    });
}

pub fn manual_retry_is_judged_again_by_policy(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let ours = world.send("hello", 20).await.unwrap();
        let lease = world.lease(1, 20).await.remove(0);
        world.settle(&lease, failed(), 21).await;
        let retry = |second| {
            world
                .store
                .retry_message(DEFAULT, ours.id, &world.policy_set, at(second))
        };
        let again = retry(30).await.unwrap().unwrap();
        assert_eq!((again.status, again.error), (Status::Queued, None));
        assert_eq!(world.used().await, 1);
        // A message that is queued already stays as it is.
        assert_eq!(retry(31).await.unwrap().unwrap().status, Status::Queued);
        assert_eq!(world.used().await, 1);
        let second = world.lease(1, 32).await.remove(0);
        assert_eq!((second.attempt, second.token.epoch), (1, lease.token.epoch + 1));
        world.settle(&second, uncertain_outcome(), 33).await;
        assert_eq!(retry(34).await.unwrap().unwrap().status, Status::Queued);
        assert_eq!(world.used().await, 1);
        let third = world.lease(1, 35).await.remove(0);
        world.settle(&third, failed(), 36).await;
        for n in 0..BUDGET {
            world.send(&format!("{n}"), 40).await.unwrap();
        }
        exhausted(retry(41).await);
        let closed = world
            .store
            .retry_message(DEFAULT, ours.id, &world.policy_set, at(10 + WINDOW))
            .await;
        assert!(matches!(
            closed,
            Err(EnqueueError::Refused(Refusal::ReplyWindowClosed { .. }))
        ));
        assert_eq!(world.message(&ours).await.status, Status::Failed);
        assert!(
            world
                .store
                .retry_message("another", ours.id, &world.policy_set, at(42))
                .await
                .unwrap()
                .is_none()
        );
    });
}

pub fn only_what_the_platform_knows_can_be_quoted(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world
            .receive(vec![contact_writes("m1", 10), contact_writes_in("other", "m2", 10)], 10)
            .await;
        let theirs = world.messages("thread").await.remove(0);
        let elsewhere = world.messages("other").await.remove(0);
        let waiting = world.send("hello", 20).await.unwrap();
        for (target, fits) in [(theirs.id, true), (elsewhere.id, false), (waiting.id, false)] {
            let mut draft = world.draft(theirs.conversation_id, "answer");
            draft.reply_to = Some(target);
            match world.accept(draft, 21).await {
                Ok(message) => assert!(fits && message.reply_to == Some(theirs.id)),
                Err(EnqueueError::NoReplyTarget) => assert!(!fits),
                Err(other) => panic!("{other:?}"),
            }
        }
        let lease = world.lease(1, 22).await.remove(0);
        world.settle(&lease, sent("p1", 22), 22).await;
        assert_eq!(world.lease(1, 23).await[0].draft.reply_to.as_deref(), Some("m1"));
    });
}

pub fn a_client_ref_stands_once_in_a_channel(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let id = world.conversation("thread").await.id;
        let mut draft = world.draft(id, "hello");
        draft.client_ref = Some("order-7".into());
        let first = world.accept(draft.clone(), 20).await.unwrap();
        match world.accept(draft, 21).await {
            Err(EnqueueError::ClientRefTaken(taken)) => assert_eq!(taken, first.id),
            other => panic!("{other:?}"),
        }
    });
}
