//! One node at a time works for a channel, and another takes over when it dies.

use std::sync::Arc;
use std::time::Duration;

use weir_domain::id::{ChannelId, Mint};
use weir_domain::limits;
use weir_domain::message::Status;

use super::world::*;
use super::{Factory, run};
use crate::{Requeue, Store, WorkKind, WorkLease};

async fn node(store: &Arc<dyn Store>, name: &str) -> String {
    store.register_node(name, "1.0.0", at(0)).await.unwrap().id
}

fn channels<const N: usize>() -> [ChannelId; N] {
    let mint = Mint::from_seed([1; 32]);
    std::array::from_fn(|_| mint.id(at(0)))
}

/// The polls that a node leases.
async fn lease_polls(store: &Arc<dyn Store>, node: &str, limit: u32, seconds: i64) -> Vec<WorkLease> {
    let leased = store.lease_work(WorkKind::Poll, node, limit, at(seconds)).await;
    leased.unwrap()
}

fn of_channels(leases: &[WorkLease]) -> Vec<ChannelId> {
    leases.iter().map(|lease| lease.channel_id).collect()
}

pub fn work_is_taken_by_one_node_until_it_ends_or_dies(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let store = &world.store;
        let [one] = channels();
        let (first, second) = &(node(store, "first").await, node(store, "second").await);
        let take = async |node: &str, seconds| {
            let taken = store.take_work(one, WorkKind::Renewal, node, at(seconds)).await;
            taken.unwrap()
        };
        let lease = take(first, 1).await.unwrap();
        assert_eq!(take(second, 2).await, None);
        assert!(store.end_work(lease.clone(), None).await.unwrap());
        let lease = take(second, 3).await.unwrap();
        assert_eq!(take(first, 4).await, None);
        // A node that takes too long counts as dead.
        let over = 3 + limits::LEASE.as_secs().cast_signed();
        let taken = take(first, over).await.unwrap();
        assert!(!store.end_work(lease, None).await.unwrap(), "it was lost");
        assert_eq!(take(second, over + 1).await, None);
        store.remove_node(first, at(over + 1), at(over + 1)).await.unwrap();
        assert!(take(second, over + 2).await.is_some());
        assert!(!store.end_work(taken, None).await.unwrap());
    });
}

pub fn leased_work_not_in_flight_is_freed(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let store = &world.store;
        let [one, two, three] = channels();
        let (a, b) = &(node(store, "a").await, node(store, "b").await);
        let lease = async |node: &str, limit, seconds| of_channels(&lease_polls(store, node, limit, seconds).await);
        store.enlist_polls([one, two, three].into(), at(1)).await.unwrap();
        let of_a = lease(a, 2, 2).await;
        assert_eq!((of_a.len(), lease(b, 2, 2).await.len()), (2, 1));
        let free = async |node: &str, in_flight: &[ChannelId]| {
            let in_flight = in_flight.iter().copied().collect();
            store.free_work(WorkKind::Poll, node, in_flight, at(3)).await.unwrap()
        };
        assert_eq!(free(a, &of_a).await, 0);
        assert_eq!(free(a, &of_a[..1]).await, 1);
        assert_eq!(lease(b, 3, 3).await, of_a[1..], "the others are still leased");
        let history = store.free_work(WorkKind::History, a, [].into(), at(3)).await;
        assert_eq!(history.unwrap(), 0);
    });
}

pub fn polled_channel_is_due_as_requested(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let store = &world.store;
        let [one, two, three] = channels();
        let (a, b) = &(node(store, "a").await, node(store, "b").await);
        let lease = async |node: &str, limit, seconds| lease_polls(store, node, limit, seconds).await;
        let next = async |seconds| store.next_work(WorkKind::Poll, at(seconds)).await.unwrap();
        store.enlist_polls([one, two].into(), at(0)).await.unwrap();
        assert_eq!(next(0).await, Some(at(0)));
        let mine = lease(a, 1, 0).await;
        let others = lease(b, 9, 0).await;
        assert_eq!((of_channels(&mine), of_channels(&others)), (vec![one], vec![two]));
        assert_eq!(next(1).await, None);
        let again = |seconds, failures| {
            let due_at = at(seconds);
            Some(Requeue { due_at, failures })
        };
        store.end_work(mine[0].clone(), again(20, 0)).await.unwrap();
        store.end_work(others[0].clone(), again(10, 3)).await.unwrap();
        assert_eq!(next(1).await, Some(at(10)));
        let due = lease(a, 9, 15).await;
        assert_eq!((due[0].channel_id, due[0].failures), (two, 3));
        // The list changes: claimed work that is not on it is finished, and new work is due at once.
        store.enlist_polls([one, three].into(), at(16)).await.unwrap();
        assert!(!store.end_work(due[0].clone(), again(17, 0)).await.unwrap());
        assert_eq!(of_channels(&lease(a, 9, 16).await), [three]);
        // Work of a dead node is due.
        store.remove_node(a, at(18), at(18)).await.unwrap();
        assert_eq!(of_channels(&lease(b, 9, 18).await), [three]);
        // A clock that is set back releases no claimed work, and delays none, even if the step is not noticed.
        assert_eq!(next(-9_000).await, Some(at(-9_000)));
        let back = Duration::from_secs(9_018);
        assert!(store.clock_set_back(back, at(-9_000)).await.unwrap() > 0);
        assert_eq!(next(-9_000).await, Some(at(20 - 9_018)));
        let over = -9_000 + limits::LEASE.as_secs().cast_signed();
        assert_eq!(of_channels(&lease(b, 9, over - 1).await), [one]);
        assert_eq!(of_channels(&lease(b, 9, over).await), [three]);
    });
}

pub fn repeated_history_request_keeps_earlier_start(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let store = &world.store;
        let [one] = channels();
        let next = async |seconds| {
            let leased = store.lease_work(WorkKind::History, "a", 1, at(seconds)).await;
            leased.unwrap().pop()
        };
        for since in [20, 10, 30] {
            store.request_history(one, at(since), at(40)).await.unwrap();
        }
        let lease = next(40).await.unwrap();
        assert_eq!(lease.since, Some(at(10)));
        assert_eq!(next(41).await, None);
        // Requested meanwhile.
        store.request_history(one, at(35), at(42)).await.unwrap();
        assert_eq!(next(42).await, None, "it is being read");
        assert!(store.end_work(lease, None).await.unwrap());
        let lease = next(43).await.unwrap();
        let due_at = at(60);
        store
            .end_work(lease, Some(Requeue { due_at, failures: 1 }))
            .await
            .unwrap();
        assert_eq!(next(59).await, None, "not at once");
        let lease = next(60).await.unwrap();
        assert_eq!(lease.failures, 1);
        store.end_work(lease, None).await.unwrap();
        assert_eq!(next(9_000).await, None);
    });
}

pub fn uncertain_message_queries_back_off(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let ours = world.send("hello", 20).await.unwrap();
        world.lease(1, 20).await;
        let started = 20 + limits::LEASE.as_secs().cast_signed();
        world.store.sweep_messages(at(started)).await.unwrap();
        assert_eq!(world.message(&ours).await.status, Status::Uncertain);
        let mut query_times = Vec::new();
        for seconds in 20..=500 {
            let to_confirm = world.store.confirm_uncertain(10, at(seconds)).await.unwrap();
            assert!(to_confirm.iter().all(|one| one.message.id == ours.id));
            if !to_confirm.is_empty() {
                query_times.push(seconds - 140);
            }
        }
        assert_eq!(
            query_times,
            [0, 30, 90, 210],
            "after the grace time, and each time later"
        );
    });
}
