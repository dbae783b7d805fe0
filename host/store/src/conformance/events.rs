//! The log is delivered to its subscribers, at least once, in order within a conversation.

use std::sync::Arc;
use std::time::Duration;

use weir_domain::credential::Secret;
use weir_domain::event::{EventFilter, EventType, ExampleEndpoint};
use weir_domain::id::{EndpointId, EventId};
use weir_domain::limits;
use weir_domain::record::{About, NewEvent};

use super::world::*;
use super::{Factory, run};
use crate::{DeliveryAttempt, DeliveryLease, DeliveryNext, Endpoint, EndpointPatch, KeptSince};

fn endpoint(id: EndpointId, types: &[&str]) -> Endpoint {
    Endpoint {
        id,
        workspace_id: DEFAULT.into(),
        url: "https://operator.example.com/events".into(),
        description: String::new(),
        filter: EventFilter {
            types: types.iter().map(|kind| (*kind).to_owned()).collect(),
            ..EventFilter::default()
        },
        ordered: true,
        max_in_flight: limits::DELIVERIES_PER_ENDPOINT,
        max_per_second: None,
        enabled: true,
        disabled_reason: None,
        secrets: vec![Secret::new("whsec_abc")],
        old_secret_until: None,
        failing_since: None,
        missed: 0,
        created_at: at(0),
        updated_at: at(0),
    }
}

pub(super) async fn add(world: &World, types: &[&str]) -> Endpoint {
    let new = endpoint(world.id(), types);
    world.store.insert_endpoint(new.clone()).await.unwrap();
    new
}

/// An event without a channel or conversation.
fn example(world: &World) -> NewEvent {
    let example = ExampleEndpoint {
        id: world.id(),
        example: true,
    };
    NewEvent::of(About::workspace(DEFAULT), EventType::EndpointRecovered, &example)
}

pub(super) async fn lease(world: &World, limit: u32, seconds: i64) -> Vec<DeliveryLease> {
    world
        .store
        .lease_deliveries("publisher", limit, at(seconds))
        .await
        .unwrap()
}

pub(super) async fn settle(world: &World, lease: &DeliveryLease, next: DeliveryNext, seconds: i64) -> bool {
    let attempt = DeliveryAttempt {
        number: lease.attempt,
        at: at(seconds),
        status: Some(if next == DeliveryNext::Delivered { 200 } else { 500 }),
        answer: None,
        elapsed_ms: 3,
        error: None,
    };
    world
        .store
        .settle_delivery(lease, attempt, next, at(seconds))
        .await
        .unwrap()
}

/// The platform id of the message that a delivery concerns.
pub(super) fn about(lease: &DeliveryLease) -> String {
    lease.event.data["platform_id"].as_str().unwrap().to_owned()
}

/// Readers that wait for events are woken by each commit that appends one, and by no other.
pub fn a_longer_log_wakes_who_waits_for_events(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let mut end = world.store.log_end();
        end.mark_unchanged();
        add(&world, &[]).await;
        assert!(!end.has_changed().unwrap(), "an endpoint is no event");
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        assert!(end.has_changed().unwrap(), "the write is answered after it");
        assert_eq!(*end.borrow_and_update(), world.store.last_sequence().await.unwrap());
        world.receive(vec![contact_writes("m1", 10)], 11).await;
        assert!(!end.has_changed().unwrap(), "a repeated fact is written once");
    });
}

pub fn the_log_is_read_in_order_and_by_wish(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world
            .receive(vec![contact_writes("m1", 10), contact_writes("m2", 11)], 11)
            .await;
        let all = world.events().await;
        assert!(all.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
        assert_eq!(world.store.last_sequence().await.unwrap(), all.last().unwrap().sequence);
        assert_eq!(
            world.store.event(DEFAULT, all[1].id).await.unwrap().as_ref(),
            Some(&all[1])
        );
        assert_eq!(world.store.event("another", all[1].id).await.unwrap(), None);
        let wish = EventFilter {
            types: ["message.received".to_owned()].into(),
            channels: [world.channel.id].into(),
            conversation: None,
        };
        let first = world.store.events(DEFAULT, 0, &wish, 1).await.unwrap();
        let found = first.rows;
        assert_eq!((found.len(), found[0].kind), (1, EventType::MessageReceived));
        let place = first.next.unwrap().parse().unwrap();
        let rest = world.store.events(DEFAULT, place, &wish, 10).await.unwrap();
        assert_eq!((rest.rows.len(), rest.next), (1, None));
        let thread = world.conversation("thread").await.id;
        let of_thread = EventFilter {
            conversation: Some(thread),
            ..wish.clone()
        };
        let count = async |workspace: &str, filter: &EventFilter| {
            let listed = world.store.events(workspace, 0, filter, 10).await;
            listed.unwrap().rows.len()
        };
        assert_eq!(count(DEFAULT, &of_thread).await, 2);
        assert_eq!(count("another", &of_thread).await, 0);
        assert_eq!(count("another", &EventFilter::default()).await, 0);
        let written = world.store.append_event(example(&world), at(12)).await.unwrap();
        let last = world.events().await.pop().unwrap();
        assert_eq!((last.id, last.kind), (written, EventType::EndpointRecovered));
        assert_eq!(last.data["example"], true);
    });
}

pub fn an_endpoint_gets_what_it_wants_and_only_what_comes_after_it(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let chosen = add(&world, &["message.received"]).await;
        assert!(lease(&world, 10, 11).await.is_empty());
        world.receive(vec![contact_writes("m2", 12)], 12).await;
        assert_eq!(world.store.next_delivery_due().await.unwrap(), Some(at(12)));
        let leases = lease(&world, 10, 12).await;
        assert_eq!(leases.len(), 1);
        assert_eq!(leases[0].event.kind, EventType::MessageReceived);
        assert_eq!(leases[0].endpoint.secrets, chosen.secrets);
        assert!(lease(&world, 10, 13).await.is_empty());
        assert!(settle(&world, &leases[0], DeliveryNext::Delivered, 13).await);
        let (delivery, attempts) = world
            .store
            .delivery(DEFAULT, leases[0].delivery)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (delivery.status.as_str(), delivery.attempts, attempts.len()),
            ("delivered", 1, 1)
        );
        let patch = EndpointPatch {
            enabled: Some(false),
            ..EndpointPatch::default()
        };
        let off = world
            .store
            .update_endpoint(DEFAULT, chosen.id, patch, at(14))
            .await
            .unwrap()
            .unwrap();
        assert!(!off.enabled);
        world.receive(vec![contact_writes("m3", 15)], 15).await;
        assert!(lease(&world, 10, 16).await.is_empty());
        assert!(world.store.endpoint("another", chosen.id).await.unwrap().is_none());
        assert_eq!(world.store.endpoints(DEFAULT, page()).await.unwrap().rows.len(), 1);
        assert!(world.store.delete_endpoint(DEFAULT, chosen.id).await.unwrap());
        assert!(!world.store.delete_endpoint(DEFAULT, chosen.id).await.unwrap());
    });
}

pub fn a_failing_event_blocks_only_its_conversation(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        add(&world, &["message.received"]).await;
        let events = vec![
            contact_writes("m1", 10),
            contact_writes("m2", 11),
            contact_writes_in("other", "m3", 12),
            contact_writes_in("other", "m4", 13),
        ];
        world.receive(events, 13).await;
        let first = lease(&world, 10, 20).await;
        assert_eq!(first.iter().map(about).collect::<Vec<_>>(), ["m1", "m3"]);
        assert!(settle(&world, &first[0], DeliveryNext::RetryAt(at(60)), 21).await);
        assert!(settle(&world, &first[1], DeliveryNext::Delivered, 21).await);
        let second = lease(&world, 10, 22).await;
        assert_eq!(second.iter().map(about).collect::<Vec<_>>(), ["m4"]);
        assert!(settle(&world, &second[0], DeliveryNext::Delivered, 23).await);
        assert!(lease(&world, 10, 59).await.is_empty());
        assert_eq!(world.store.next_delivery_due().await.unwrap(), Some(at(60)));
        let retried = lease(&world, 10, 60).await;
        assert_eq!((about(&retried[0]).as_str(), retried[0].attempt), ("m1", 2));
        // Once it is given up, it blocks nothing.
        assert!(settle(&world, &retried[0], DeliveryNext::Failed, 61).await);
        assert_eq!(
            lease(&world, 10, 62).await.iter().map(about).collect::<Vec<_>>(),
            ["m2"]
        );
    });
}

pub fn a_lost_delivery_lease_writes_nothing(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        add(&world, &["message.received"]).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let late = lease(&world, 1, 10).await.remove(0);
        let end = 10 + limits::LEASE.as_secs().cast_signed();
        assert!(lease(&world, 1, end - 1).await.is_empty());
        let fresh = lease(&world, 1, end).await.remove(0);
        assert!(!settle(&world, &late, DeliveryNext::Delivered, end).await);
        assert!(settle(&world, &fresh, DeliveryNext::Delivered, end).await);
        assert!(!settle(&world, &fresh, DeliveryNext::Failed, end).await);
        let (_, attempts) = world.store.delivery(DEFAULT, fresh.delivery).await.unwrap().unwrap();
        assert_eq!(attempts.len(), 1);
    });
}

pub fn endpoints_take_turns(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let mut busy = endpoint(world.id(), &["message.received"]);
        busy.ordered = false;
        world.store.insert_endpoint(busy).await.unwrap();
        world
            .receive((0..6).map(|n| contact_writes(&format!("m{n}"), n)).collect(), 10)
            .await;
        let other = add(&world, &["message.received"]).await;
        world.receive(vec![contact_writes("late", 11)], 11).await;
        let leased: Vec<EndpointId> = lease(&world, 2, 12)
            .await
            .into_iter()
            .map(|lease| lease.endpoint.id)
            .collect();
        assert!(leased.contains(&other.id));
        assert_eq!(lease(&world, 100, 12).await.len(), 6);
    });
}

pub fn a_slow_endpoint_holds_its_bound_and_no_more(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let mut slow = endpoint(world.id(), &["message.received"]);
        slow.ordered = false;
        world.store.insert_endpoint(slow.clone()).await.unwrap();
        let emitted = i64::from(limits::DELIVERIES_PER_ENDPOINT) + 4;
        world
            .receive((0..emitted).map(|n| contact_writes(&format!("m{n}"), n)).collect(), 20)
            .await;
        let held = lease(&world, 100, 21).await;
        assert_eq!(held.len(), limits::DELIVERIES_PER_ENDPOINT as usize);
        assert!(lease(&world, 100, 22).await.is_empty());
        // One ends, one may start.
        assert!(settle(&world, &held[0], DeliveryNext::Delivered, 23).await);
        assert_eq!(lease(&world, 100, 24).await.len(), 1);
        // A delivery that its worker never settled is leased again once its lease expires.
        let over = 25 + limits::LEASE.as_secs().cast_signed();
        assert_eq!(
            lease(&world, 100, over).await.len(),
            limits::DELIVERIES_PER_ENDPOINT as usize
        );
    });
}

pub fn endpoint_limits_concurrency_and_rate(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let mut few = endpoint(world.id(), &["message.received"]);
        (few.ordered, few.max_in_flight, few.max_per_second) = (false, 3, Some(4));
        world.store.insert_endpoint(few.clone()).await.unwrap();
        world
            .receive((0..12).map(|n| contact_writes(&format!("m{n}"), n)).collect(), 20)
            .await;
        let held = lease(&world, 100, 30).await;
        assert_eq!(held.len(), 3);
        for lease in &held {
            assert!(settle(&world, lease, DeliveryNext::Delivered, 30).await);
        }
        // The fourth of this second, and then no more in it.
        let fourth = lease(&world, 100, 30).await;
        assert_eq!(fourth.len(), 1);
        assert!(settle(&world, &fourth[0], DeliveryNext::Delivered, 30).await);
        assert!(lease(&world, 100, 30).await.is_empty());
        let due = world.store.next_delivery_due().await.unwrap().unwrap();
        assert!(at(30) < due && due <= at(31), "{due}");
        assert_eq!(lease(&world, 100, 31).await.len(), 3);
        let lifted = EndpointPatch {
            max_in_flight: Some(8),
            max_per_second: Some(None),
            ..EndpointPatch::default()
        };
        world
            .store
            .update_endpoint(DEFAULT, few.id, lifted, at(31))
            .await
            .unwrap();
        assert_eq!(lease(&world, 100, 31).await.len(), 5);
    });
}

pub fn event_can_be_resent_manually(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let quiet = add(&world, &["channel.deleted"]).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let event = world.events_of(EventType::MessageReceived).await.remove(0);
        let id = world
            .store
            .insert_delivery(DEFAULT, quiet.id, event.id, at(11))
            .await
            .unwrap();
        let leased = lease(&world, 10, 11).await;
        assert_eq!((leased[0].delivery, leased[0].event.id), (id, event.id));
        let nothing: EventId = world.id();
        assert!(
            world
                .store
                .insert_delivery(DEFAULT, quiet.id, nothing, at(12))
                .await
                .is_err()
        );
    });
}

pub fn deliveries_do_not_wait_longer_when_the_clock_is_set_back(factory: Factory) {
    run(async {
        const BACK: i64 = 3_600;
        let world = World::begin(factory).await;
        let known = add(&world, &["message.received"]).await;
        world
            .receive(
                vec![contact_writes("m1", 9_000), contact_writes_in("other", "m2", 9_000)],
                10_000,
            )
            .await;
        let leased = lease(&world, 1, 10_000).await.remove(0);
        assert!(settle(&world, &leased, DeliveryNext::RetryAt(at(10_300)), 10_000).await);
        let now = 10_100 - BACK;
        let back = Duration::from_secs(BACK.unsigned_abs());
        assert_eq!(world.store.clock_set_back(back, at(now)).await.unwrap(), 3);
        let due = lease(&world, 10, now).await;
        assert_eq!(due.len(), 1, "what was due is due");
        assert_ne!(due[0].delivery, leased.delivery);
        assert!(
            lease(&world, 10, now + 199)
                .await
                .iter()
                .all(|lease| lease.delivery != leased.delivery)
        );
        assert!(
            lease(&world, 10, now + 200)
                .await
                .iter()
                .any(|lease| lease.delivery == leased.delivery)
        );
        let shown = world.store.endpoint(DEFAULT, known.id).await.unwrap().unwrap();
        assert_eq!(shown.failing_since, Some(at(now)), "no moment of ours is yet to come");
    });
}

pub fn a_filter_without_a_match_reads_a_bounded_page(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let many = limits::ROWS_SCANNED + 50;
        // Concurrently, so that they share their commits.
        let mut writing = tokio::task::JoinSet::new();
        for n in 0..many {
            if n % limits::GROUP_COMMIT == 0 {
                while writing.join_next().await.is_some() {}
            }
            let (store, quiet) = (Arc::clone(&world.store), example(&world));
            writing.spawn(async move { store.append_event(quiet, at(1)).await.unwrap() });
        }
        writing.join_all().await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let wish = EventFilter {
            types: ["message.received".to_owned()].into(),
            ..EventFilter::default()
        };
        let first = world.store.events(DEFAULT, 0, &wish, 10).await.unwrap();
        assert!(first.rows.is_empty(), "{first:?}");
        let place = first.next.unwrap().parse().unwrap();
        let second = world.store.events(DEFAULT, place, &wish, 10).await.unwrap();
        assert_eq!((second.rows.len(), second.next), (1, None));
    });
}

pub fn an_erased_events_place_is_known(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes_in("other", "m1", 10)], 10).await;
        world.receive(vec![contact_writes("m2", 20)], 20).await;
        world.receive(vec![contact_writes_in("other", "m3", 30)], 30).await;
        let before = world.events().await;
        let erased = before.iter().find(|event| event.timestamp == at(20)).unwrap().clone();
        let contact = world.conversation("thread").await.contact.id;
        world
            .store
            .erase_contact(DEFAULT, contact, at(40))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(world.store.event(DEFAULT, erased.id).await.unwrap(), None);
        let place = async |workspace: &str, id| world.store.event_place(workspace, id).await.unwrap();
        assert_eq!(place(DEFAULT, erased.id).await, Some(erased.sequence));
        assert_eq!(place("another", erased.id).await, None);
        let kept = before.iter().find(|event| event.timestamp == at(30)).unwrap();
        assert_eq!(place(DEFAULT, kept.id).await, Some(kept.sequence));
        // An event deleted by age is before all that is kept.
        let since = KeptSince {
            messages: Some(at(30)),
            ..KeptSince::default()
        };
        while world.store.forget(since, 100).await.unwrap().more {}
        assert_eq!(place(DEFAULT, before[0].id).await, Some(0));
        assert_eq!(place(DEFAULT, erased.id).await, Some(0));
        let never: EventId = world.mint.id(at(1_000));
        assert_eq!(place(DEFAULT, never).await, None);
    });
}
