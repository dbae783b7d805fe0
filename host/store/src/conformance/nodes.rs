//! Nodes that share one database: which are dead, what happens to their work, and which has a duty.

use weir_domain::claim::{Claimed, Progress};
use weir_domain::limits;
use weir_domain::message::Status;

use super::events::{add, settle};
use super::world::*;
use super::{Factory, run};
use crate::{DeliveryNext, EndedNodes, HeldClaim, MessageLease, Room, StoredResponse};

/// When a node whose last heartbeat was at 0 is dead.
fn dead() -> i64 {
    limits::NODE_DEAD.as_secs().cast_signed()
}

impl World {
    async fn node(&self, name: &str, seconds: i64) -> String {
        self.store.register_node(name, "1.0.0", at(seconds)).await.unwrap().id
    }

    async fn lease_for(&self, node: &str, seconds: i64) -> MessageLease {
        let leased = self.store.lease_messages(node, Room::of_all(1), at(seconds)).await;
        leased.unwrap().remove(0)
    }

    async fn holds(&self, duty: &'static str, node: &str, seconds: i64) -> bool {
        let held = self.store.hold_duties(vec![duty], node, at(seconds)).await;
        held.unwrap() == [duty]
    }

    /// The ids of the nodes that were ended.
    async fn dead(&self, own: &str, seconds: i64) -> Vec<String> {
        self.end_dead(own, seconds).await.nodes
    }

    /// The work that was released with dead nodes.
    async fn end_dead(&self, own: &str, seconds: i64) -> EndedNodes {
        let ended = self.store.end_dead_nodes(own, at(seconds), at(seconds)).await;
        ended.unwrap()
    }
}

pub fn every_start_has_an_epoch_of_its_own(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let first = world.node("weir", 0).await;
        let second = world.node("weir", 1).await;
        assert_ne!(first, second);
        world.store.remove_node(&second, at(2), at(2)).await.unwrap();
        let third = world.node("weir", 3).await;
        let nodes = world.store.nodes().await.unwrap();
        let ids: Vec<_> = nodes.iter().map(|node| node.id.as_str()).collect();
        assert_eq!(ids, [first.as_str(), third.as_str()]);
        assert_ne!(third, second);
        assert!(nodes[0].epoch < nodes[1].epoch);
        assert_eq!((nodes[1].name.as_str(), nodes[1].version.as_str()), ("weir", "1.0.0"));
    });
}

pub fn a_silent_node_is_ended_by_another_and_never_by_itself(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let (one, other) = (world.node("one", 0).await, world.node("other", 0).await);
        assert!(world.store.beat(&one, at(5)).await.unwrap());
        assert!(world.dead(&one, dead() - 1).await.is_empty());
        assert_eq!(world.store.count_nodes(at(dead() - 1)).await.unwrap(), 2);
        assert_eq!(world.store.count_nodes(at(dead())).await.unwrap(), 1);
        assert_eq!(world.dead(&one, dead()).await, [other.as_str()]);
        assert!(!world.store.beat(&other, at(dead())).await.unwrap());
        assert!(world.dead(&one, 10 * dead()).await.is_empty());
        let nodes = world.store.nodes().await.unwrap();
        assert_eq!(nodes[1].ended_at, Some(at(dead())));
        assert!(!nodes[1].is_alive(at(dead())));
        let others = world
            .store
            .end_other_nodes("another", at(11 * dead()), at(11 * dead()))
            .await
            .unwrap();
        assert_eq!(others.nodes, [one]);
        // A start deletes nodes that died long ago.
        let later = 12 * dead() + limits::NODE_LISTED.as_secs().cast_signed();
        let next = world.node("next", later).await;
        let nodes = world.store.nodes().await.unwrap();
        assert_eq!(nodes.iter().map(|node| &node.id).collect::<Vec<_>>(), [&next]);
    });
}

pub fn messages_of_a_dead_node_are_lost_to_the_next_sweep(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let (alive, dies) = (world.node("alive", 0).await, world.node("dies", 0).await);
        for thread in ["a", "b"] {
            world.receive(vec![contact_writes_in(thread, thread, 0)], 0).await;
            world.send_in(thread, "hello", 1).await.unwrap();
        }
        let ours = world.lease_for(&alive, 1).await;
        let theirs = world.lease_for(&dies, 1).await;
        world.store.beat(&alive, at(dead())).await.unwrap();
        assert_eq!(world.end_dead(&alive, dead()).await.leases, 1);
        assert_eq!(world.store.sweep_messages(at(dead())).await.unwrap(), 1);
        let status = async |lease: &MessageLease| world.message(&lease.message).await.status;
        assert_eq!(
            (status(&ours).await, status(&theirs).await),
            (Status::Sending, Status::Uncertain)
        );
        assert!(!world.settle(&theirs, sent("p1", dead()), dead()).await);
        assert!(world.settle(&ours, sent("p2", dead()), dead()).await);
    });
}

pub fn deliveries_of_a_dead_node_are_due(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let dies = world.node("dies", 0).await;
        let alive = world.node("alive", dead()).await;
        add(&world, &["message.received"]).await;
        world.receive(vec![contact_writes("m1", 1)], 1).await;
        let lease = async |node: &str, seconds| world.store.lease_deliveries(node, 1, at(seconds)).await.unwrap();
        let lost = lease(&dies, 1).await.remove(0);
        assert!(lease(&alive, dead()).await.is_empty());
        assert_eq!(world.end_dead(&alive, dead()).await.leases, 1);
        let again = lease(&alive, dead()).await.remove(0);
        assert_eq!(again.delivery, lost.delivery);
        assert!(again.epoch > lost.epoch, "what the dead one held is fenced off");
    });
}

pub fn what_no_node_holds_stays_when_the_last_one_stops(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let only = world.node("only", 0).await;
        add(&world, &["message.received"]).await;
        world.receive(vec![contact_writes("m1", 1)], 1).await;
        let lease = world.store.lease_deliveries(&only, 1, at(1)).await.unwrap().remove(0);
        assert!(settle(&world, &lease, DeliveryNext::RetryAt(at(3_600)), 2).await);
        let claim = World::claim("key", "print");
        let held = HeldClaim {
            claim: claim.clone(),
            node: only.clone(),
        };
        let answer = StoredResponse {
            status: 200,
            body: "kept".to_owned(),
        };
        assert_eq!(
            world.store.claim(claim.clone(), &only, at(3)).await.unwrap(),
            Claimed::New
        );
        world.store.answer_claim(held, answer.clone(), None).await.unwrap();
        assert_eq!(
            world.store.remove_node(&only, at(4), at(4)).await.unwrap(),
            ended(&only)
        );
        assert_eq!(world.store.next_delivery_due().await.unwrap(), Some(at(3_600)));
        let next = world.node("next", 5).await;
        assert_eq!(
            world.store.claim(claim, &next, at(6)).await.unwrap(),
            Claimed::Before(Progress::Answered(answer))
        );
    });
}

/// Only the node itself.
fn ended(node: &str) -> EndedNodes {
    EndedNodes {
        nodes: vec![node.to_owned()],
        ..EndedNodes::default()
    }
}

pub fn lease_with_lost_response_is_due(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let node = world.node("node", 0).await;
        add(&world, &["message.received"]).await;
        world
            .receive(
                vec![contact_writes_in("a", "m1", 0), contact_writes_in("b", "m2", 0)],
                0,
            )
            .await;
        let lease = async |seconds| world.store.lease_deliveries(&node, 1, at(seconds)).await.unwrap();
        let (ours, lost) = (lease(1).await.remove(0), lease(1).await.remove(0));
        let free = async |seconds| {
            let in_flight = [ours.delivery].into();
            world
                .store
                .free_deliveries(&node, in_flight, at(seconds))
                .await
                .unwrap()
        };
        assert_eq!(free(2).await, 1);
        let again = lease(2).await.remove(0);
        assert_eq!(again.delivery, lost.delivery);
        assert!(!settle(&world, &lost, DeliveryNext::Delivered, 2).await);
        assert!(settle(&world, &again, DeliveryNext::Delivered, 2).await);
        assert!(settle(&world, &ours, DeliveryNext::RetryAt(at(60)), 2).await);
        assert_eq!(free(3).await, 0, "a retry has no owner");
    });
}

pub fn message_with_lost_lease_is_sent(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let (node, other) = (world.node("node", 0).await, world.node("other", 0).await);
        for thread in ["a", "b", "c"] {
            world
                .receive(vec![contact_writes_in(thread, &format!("of-{thread}"), 0)], 0)
                .await;
            world.send_in(thread, "hello", 0).await.unwrap();
        }
        let (ours, lost) = (world.lease_for(&node, 1).await, world.lease_for(&node, 1).await);
        let theirs = world.lease_for(&other, 1).await;
        let free = async || {
            let in_flight = [ours.message.id].into();
            world.store.free_messages(&node, in_flight, at(2)).await.unwrap()
        };
        assert_eq!(free().await, 1);
        assert_eq!(free().await, 0);
        assert_eq!(world.message(&lost.message).await.status, Status::Queued);
        assert!(!world.settle(&lost, sent("m9", 2), 2).await, "its lease is lost");
        let again = world.lease_for(&node, 2).await;
        assert_eq!(again.message.id, lost.message.id);
        assert!(again.attempt <= lost.attempt, "nothing was tried");
        for (n, lease) in [ours, theirs, again].iter().enumerate() {
            assert!(world.settle(lease, sent(&format!("sent-{n}"), 3), 3).await);
        }
    });
}

pub fn what_a_dead_node_took_late_ends_too(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let (alive, dies) = (world.node("alive", 0).await, world.node("dies", 0).await);
        world.store.beat(&alive, at(dead())).await.unwrap();
        assert_eq!(world.dead(&alive, dead()).await, [dies.as_str()]);
        world.receive(vec![contact_writes("m1", dead())], dead()).await;
        world.send("hello", dead()).await.unwrap();
        world.lease_for(&dies, dead()).await;
        assert_eq!(world.end_dead(&alive, dead()).await.leases, 1);
    });
}

pub fn leases_of_a_dead_node_end_by_their_own_clock(factory: Factory) {
    run(async {
        // Hosts follow a sandbox's clock, which is an hour behind that of heartbeats.
        const AHEAD: i64 = 3_600;
        let world = World::begin(factory).await;
        let dies = world.node("dies", AHEAD).await;
        let alive = world.node("alive", AHEAD + dead()).await;
        add(&world, &["message.received"]).await;
        world.receive(vec![contact_writes("m1", 1)], 1).await;
        world.store.lease_deliveries(&dies, 1, at(1)).await.unwrap();
        let ended = world
            .store
            .end_dead_nodes(&alive, at(AHEAD + dead()), at(2))
            .await
            .unwrap();
        assert_eq!((ended.nodes, ended.leases), (vec![dies], 1));
        assert_eq!(world.store.next_delivery_due().await.unwrap(), Some(at(2)));
    });
}

pub fn a_heartbeat_from_before_a_step_on_ends_no_node(factory: Factory) {
    run(async {
        const BY: i64 = 3_600;
        let world = World::begin(factory).await;
        let (one, other) = (world.node("one", 0).await, world.node("other", 0).await);
        let set = async |by: i64, shown| world.store.clock_set_for_all(&one, by * 1_000, at(shown), true).await;
        assert!(set(BY, BY).await.unwrap().is_some());
        // It was sent before, and arrives now.
        assert!(world.store.beat(&other, at(1)).await.unwrap());
        assert!(world.dead(&one, BY + dead() - 1).await.is_empty());
        // After the clock was set back, an earlier time is the later heartbeat.
        assert!(set(-2 * BY, -BY).await.unwrap().is_some());
        assert!(world.store.beat(&one, at(2)).await.unwrap());
        assert!(world.store.beat(&one, at(1 - BY)).await.unwrap());
        let nodes = world.store.nodes().await.unwrap();
        assert_eq!(nodes[0].beat_at, at(1 - BY));
    });
}

pub fn a_duty_is_one_nodes_at_a_time(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let (one, other) = (world.node("one", 0).await, world.node("other", 0).await);
        let holds = async |duty: &'static str, node: &str, seconds| world.holds(duty, node, seconds).await;
        assert!(holds("count", &one, 0).await);
        assert!(!holds("count", &other, 1).await);
        assert!(holds("forget", &other, 1).await);
        // Renewed, and then expired.
        assert!(holds("count", &one, 5).await);
        let until = 5 + limits::DUTY.as_secs().cast_signed();
        assert!(!holds("count", &other, until - 1).await);
        assert!(holds("count", &other, until).await);
        assert!(!holds("count", &one, until).await);
        let nodes = world.store.nodes().await.unwrap();
        assert_eq!(nodes[1].duties, ["count", "forget"]);
        let both = world.store.hold_duties(vec!["count", "warn"], &one, at(until)).await;
        assert_eq!(both.unwrap(), ["warn"]);
        // A removed node's duty is free at once, and an ended node gets none.
        world.store.remove_node(&other, at(until), at(until)).await.unwrap();
        assert!(!holds("count", &other, until).await);
        assert!(holds("count", &one, until).await);
    });
}

pub fn clock_step_is_corrected_once_for_all_nodes(factory: Factory) {
    run(async {
        const BY: i64 = 3_600;
        let world = World::begin(factory).await;
        let (one, other) = (world.node("one", 0).await, world.node("other", 0).await);
        assert!(world.holds("count", &other, 0).await);
        world.receive(vec![contact_writes("m1", 0)], 0).await;
        world.send("hello", 0).await.unwrap();
        let lease = world.lease_for(&other, 0).await;
        let set = async |node: &str, seconds: i64, shown| {
            let by = seconds * 1_000;
            world.store.clock_set_for_all(node, by, at(shown), true).await.unwrap()
        };
        // One node notices, then the other, a little later and less exactly.
        assert_eq!(set(&one, BY, BY).await, Some(1));
        let by = BY * 1_000 - 900;
        let again = world.store.clock_set_for_all(&other, by, at(BY + 2), true).await;
        assert_eq!(again.unwrap(), None);
        assert_eq!(
            world.store.sweep_messages(at(BY + 2)).await.unwrap(),
            0,
            "it is claimed"
        );
        assert!(world.dead(&one, BY + 2).await.is_empty());
        assert!(world.settle(&lease, sent("p1", BY + 2), BY + 2).await);
        // And back, by more; no heartbeat stays in the future, and the duty keeps its end.
        assert!(set(&other, -2 * BY, -BY).await.is_some());
        assert_eq!(set(&one, -2 * BY, 1 - BY).await, None);
        let nodes = world.store.nodes().await.unwrap();
        assert!(nodes.iter().all(|node| node.beat_at <= at(-BY)), "{nodes:?}");
        assert!(!world.holds("count", &one, -BY).await);
        assert!(world.holds("count", &one, dead() + 5 - BY).await);
        // The same step later is another one; an ended node notices nothing.
        assert!(set(&one, BY, 60).await.is_some());
        world.store.remove_node(&other, at(61), at(61)).await.unwrap();
        assert_eq!(set(&other, BY, 600).await, None);
    });
}
