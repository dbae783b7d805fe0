//! The platform's later reports on outbound messages: echoes, receipts and read receipts, in any order.

use weir_domain::event::EventType;
use weir_domain::inbound::ReceiptStatus;
use weir_domain::message::{Origin, Status};

use super::world::*;
use super::{Factory, run};
use crate::Source;

pub fn early_echo_matches_its_message(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let ours = world.send("hello", 20).await.unwrap();
        let lease = world.lease(1, 20).await.remove(0);
        world.receive(vec![echo("p1", Origin::Api, "hello", 21)], 21).await;
        let known = world.message(&ours).await;
        assert_eq!((known.status, known.platform_id.as_deref()), (Status::Sent, Some("p1")));
        assert!(world.settle(&lease, sent("p1", 21), 22).await);
        assert_eq!(world.messages("thread").await.len(), 2);
        assert_eq!(world.events_of(EventType::MessageSent).await.len(), 1);
        assert!(world.events_of(EventType::MessageEchoed).await.is_empty());
        assert_eq!(world.store.queue(DEFAULT, world.channel.id).await.unwrap().depth, 0);
        // A late response that is a refusal changes nothing either.
        world.send("again", 30).await.unwrap();
        let lease = world.lease(1, 30).await.remove(0);
        world.receive(vec![echo("p2", Origin::Api, "again", 31)], 31).await;
        assert!(world.settle(&lease, failed(), 32).await);
        assert_eq!(world.message(&lease.message).await.status, Status::Sent);
        assert_eq!(world.used().await, 2);
    });
}

pub fn a_repeated_echo_is_known_after_a_retry(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let ours = world.send("hello", 20).await.unwrap();
        let lease = world.lease(1, 20).await.remove(0);
        let shown = || echo("p1", Origin::Api, "hello", 21);
        world.receive(vec![shown()], 21).await;
        assert!(world.settle(&lease, sent("p1", 21), 22).await);
        world
            .receive(vec![receipt("r1", "p1", ReceiptStatus::Failed)], 23)
            .await;
        let retried = world
            .store
            .retry_message(DEFAULT, ours.id, &world.policy_set, at(30))
            .await;
        assert_eq!(retried.unwrap().unwrap().status, Status::Queued);
        let second = world.lease(1, 31).await.remove(0);
        // The platform repeats its echo of the first attempt: that does not concern the second.
        assert_eq!(world.receive(vec![shown()], 32).await.duplicates, 1);
        let leased = world.message(&ours).await;
        assert_eq!((leased.status, leased.platform_id), (Status::Sending, None));
        assert!(world.settle(&second, sent("p2", 33), 33).await);
        assert_eq!(world.messages("thread").await.len(), 2);
    });
}

pub fn unmatched_echo_merges_on_response(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let ours = world.send("hello", 20).await.unwrap();
        let lease = world.lease(1, 20).await.remove(0);
        world
            .receive(vec![echo("p1", Origin::Api, "hello (edited by the platform)", 21)], 21)
            .await;
        assert_eq!(world.events_of(EventType::MessageEchoed).await.len(), 1);
        world.receive(vec![read_up_to("read", 25)], 25).await;
        assert!(world.settle(&lease, sent("p1", 21), 26).await);
        let messages = world.messages("thread").await;
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[1].id, ours.id);
        assert_eq!(messages[1].status, Status::Read);
        assert_eq!(world.used().await, 1);
    });
}

pub fn platform_time_decides_budget_window(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        world.send("hello", 20).await.unwrap();
        let lease = world.lease(1, 20).await.remove(0);
        world.settle(&lease, sent("p1", 20), 23).await;
        // The contact wrote while it was in transit.
        world.receive(vec![contact_writes("m2", 21)], 24).await;
        assert_eq!(world.used().await, 0);
        world.receive(vec![echo("p1", Origin::Api, "hello", 22)], 25).await;
        assert_eq!(
            world.used().await,
            1,
            "the platform accepted it after the contact's message"
        );
    });
}

pub fn an_echo_settles_an_uncertain_message(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let ours = world.send("hello", 20).await.unwrap();
        let lease = world.lease(1, 20).await.remove(0);
        world.settle(&lease, uncertain_outcome(), 21).await;
        world
            .receive_from(vec![echo("p1", Origin::Api, "hello", 20)], Source::History, 60)
            .await;
        assert_eq!(world.message(&ours).await.status, Status::Sent);
        assert!(world.store.uncertain_messages(10).await.unwrap().is_empty());
        assert!(
            !world
                .store
                .resolve_uncertain(DEFAULT, ours.id, history_read(0), at(61))
                .await
                .unwrap()
        );
        assert!(world.events_of(EventType::MessageEchoed).await.is_empty());
    });
}

pub fn old_message_with_same_text_is_no_echo(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let ours = world.send("hello", 200).await.unwrap();
        let lease = world.lease(1, 200).await.remove(0);
        world.settle(&lease, uncertain_outcome(), 201).await;
        world
            .receive_from(vec![echo("old", Origin::Api, "hello", 150)], Source::History, 260)
            .await;
        assert_eq!(world.message(&ours).await.status, Status::Uncertain);
        assert_eq!(world.messages("thread").await.len(), 3);
    });
}

pub fn a_message_from_the_platforms_app_counts_against_the_budget(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        world
            .receive(vec![echo("p1", Origin::App, "from the phone", 20)], 20)
            .await;
        assert_eq!(world.used().await, 1);
        world
            .receive(vec![echo("p2", Origin::Automation, "welcome", 21)], 21)
            .await;
        assert_eq!(world.used().await, 1);
        assert!(world.conversation("thread").await.answered);
        // One from before the contact's message belongs to the previous window.
        world.receive(vec![echo("p0", Origin::App, "earlier", 5)], 22).await;
        assert_eq!(world.used().await, 1);
        world.receive(vec![contact_writes("m2", 30)], 30).await;
        assert_eq!(world.used().await, 0);
    });
}

pub fn a_watermark_reads_what_was_sent_before_it_and_nothing_else(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let first = world.send("one", 20).await.unwrap();
        let lease = world.lease(1, 20).await.remove(0);
        world.settle(&lease, sent("p1", 20), 20).await;
        let second = world.send("two", 30).await.unwrap();
        let lease = world.lease(1, 30).await.remove(0);
        world.settle(&lease, sent("p2", 31), 31).await;
        let waiting = world.send("three", 31).await.unwrap();
        world.receive(vec![read_up_to("read-1", 30)], 32).await;
        assert_eq!(world.message(&first).await.status, Status::Read);
        assert_eq!(world.message(&second).await.status, Status::Sent);
        world.receive(vec![read_up_to("read-2", 40)], 41).await;
        assert_eq!(world.message(&second).await.status, Status::Read);
        assert_eq!(world.message(&waiting).await.status, Status::Queued);
        assert_eq!(world.events_of(EventType::MessageRead).await.len(), 2);
    });
}

pub fn a_watermark_before_the_answer_is_not_lost(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let ours = world.send("hello", 20).await.unwrap();
        let lease = world.lease(1, 20).await.remove(0);
        world.receive(vec![read_up_to("read", 22)], 22).await;
        assert_eq!(world.message(&ours).await.status, Status::Sending);
        world.settle(&lease, sent("p1", 21), 23).await;
        assert_eq!(world.message(&ours).await.status, Status::Read);
    });
}

pub fn an_echo_brings_the_platforms_time_by_which_read_marks_go(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let ours = world.send("hello", 20).await.unwrap();
        let lease = world.lease(1, 20).await.remove(0);
        // The response arrived late, with the host's time.
        world.settle(&lease, sent("p1", 23), 23).await;
        world.receive(vec![read_up_to("read", 21)], 24).await;
        assert_eq!(world.message(&ours).await.status, Status::Sent);
        world.receive(vec![echo("p1", Origin::Api, "hello", 21)], 25).await;
        let known = world.message(&ours).await;
        assert_eq!((known.status, known.sent_at), (Status::Read, at(21)));
    });
}

pub fn a_receipt_moves_a_message_only_forward(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let ours = world.send("hello", 20).await.unwrap();
        let lease = world.lease(1, 20).await.remove(0);
        world.settle(&lease, sent("p1", 20), 20).await;
        world.receive(vec![receipt("r1", "p1", ReceiptStatus::Read)], 21).await;
        world
            .receive(vec![receipt("r2", "p1", ReceiptStatus::Delivered)], 22)
            .await;
        world
            .receive(vec![receipt("r3", "p1", ReceiptStatus::Failed)], 23)
            .await;
        assert_eq!(world.message(&ours).await.status, Status::Read);
        assert!(world.events_of(EventType::MessageDelivered).await.is_empty());
        let second = world.send("two", 30).await.unwrap();
        let lease = world.lease(1, 30).await.remove(0);
        world.settle(&lease, sent("p2", 30), 30).await;
        world
            .receive(vec![receipt("r4", "p2", ReceiptStatus::Failed)], 31)
            .await;
        let known = world.message(&second).await;
        assert_eq!((known.status, known.error.is_some()), (Status::Failed, true));
    });
}
