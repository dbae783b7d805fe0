//! Endpoints that fail, are disabled, and recover the events that they missed.

use weir_domain::event::EventType;
use weir_domain::limits;

use super::events::{about, add, lease, settle};
use super::world::*;
use super::{Factory, run};
use crate::{DeliveriesOf, DeliveryNext, Endpoint, EndpointPatch};

/// Recovers an endpoint completely; returns the number of deliveries.
pub(super) async fn recover(world: &World, endpoint: &Endpoint, since: i64, now: i64) -> u32 {
    let started = world.store.begin_recovery(DEFAULT, endpoint.id, at(since), at(now));
    assert!(started.await.unwrap());
    let mut recovered = 0;
    loop {
        let step = world.store.recover_step(DEFAULT, endpoint.id, at(now)).await.unwrap();
        recovered += step.recovered;
        if step.done {
            return recovered;
        }
    }
}

pub(super) async fn switch(world: &World, endpoint: &Endpoint, on: bool, seconds: i64) {
    let patch = EndpointPatch {
        enabled: Some(on),
        ..EndpointPatch::default()
    };
    let changed = world
        .store
        .update_endpoint(DEFAULT, endpoint.id, patch, at(seconds))
        .await;
    assert_eq!(changed.unwrap().unwrap().enabled, on);
}

pub fn missed_events_come_first_on_recovery(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let known = add(&world, &["message.received"]).await;
        switch(&world, &known, false, 5).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        world
            .receive(vec![contact_writes("m2", 20), contact_writes_in("other", "m3", 21)], 21)
            .await;
        switch(&world, &known, true, 30).await;
        world.receive(vec![contact_writes("m4", 31)], 31).await;
        assert_eq!(recover(&world, &known, 15, 40).await, 2);
        assert_eq!(recover(&world, &known, 15, 40).await, 0);
        let mut came = Vec::new();
        loop {
            let leases = lease(&world, 10, 41).await;
            if leases.is_empty() {
                break;
            }
            for lease in leases {
                came.push(lease.event.data["platform_id"].as_str().unwrap().to_owned());
                assert!(settle(&world, &lease, DeliveryNext::Delivered, 41).await);
            }
        }
        came.sort_by_key(|id| id == "m3");
        assert_eq!(came, ["m2", "m4", "m3"]);
    });
}

pub fn endpoint_failing_and_recovered_emit_once(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let known = add(&world, &["message.received"]).await;
        let tell = async |second: i64, next: DeliveryNext| {
            world
                .receive(vec![contact_writes(&format!("m{second}"), second)], second)
                .await;
            let leased = lease(&world, 1, second).await.remove(0);
            assert!(settle(&world, &leased, next, second).await);
        };
        let counts = async || {
            (
                world.events_of(EventType::EndpointFailing).await.len(),
                world.events_of(EventType::EndpointRecovered).await.len(),
            )
        };
        // Failures of some seconds are not reported, neither their start nor their end.
        for second in [10, 20, 69] {
            tell(second, DeliveryNext::Failed).await;
        }
        tell(70, DeliveryNext::Delivered).await;
        assert_eq!(counts().await, (0, 0));
        for second in [100, 159] {
            tell(second, DeliveryNext::Failed).await;
        }
        assert_eq!(counts().await, (0, 0));
        for second in [160, 161, 300] {
            tell(second, DeliveryNext::Failed).await;
        }
        assert_eq!(counts().await, (1, 0));
        let failing = world.events_of(EventType::EndpointFailing).await.remove(0);
        assert_eq!(failing.data["failing_since"], serde_json::json!(at(100)));
        for second in [301, 302] {
            tell(second, DeliveryNext::Delivered).await;
        }
        assert_eq!(counts().await, (1, 1));
        let shown = world.store.endpoint(DEFAULT, known.id).await.unwrap().unwrap();
        assert_eq!(shown.failing_since, None);
        tell(400, DeliveryNext::Failed).await;
        tell(460, DeliveryNext::Failed).await;
        assert_eq!(counts().await, (2, 1));
    });
}

pub fn gone_endpoint_is_disabled_with_event(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let gone = add(&world, &[]).await;
        let watcher = add(&world, &["endpoint.disabled", "endpoint.failing", "endpoint.recovered"]).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let failing = lease(&world, 1, 11).await.remove(0);
        assert!(settle(&world, &failing, DeliveryNext::RetryAt(at(20)), 11).await);
        let known = world.store.endpoint(DEFAULT, gone.id).await.unwrap().unwrap();
        assert_eq!(known.failing_since, Some(at(11)));
        let back = lease(&world, 10, 20).await;
        let back = back.iter().find(|lease| lease.delivery == failing.delivery).unwrap();
        assert!(settle(&world, back, DeliveryNext::RetryAt(at(80)), 75).await);
        let back = lease(&world, 10, 80).await;
        let back = back.iter().find(|lease| lease.delivery == failing.delivery).unwrap();
        assert!(settle(&world, back, DeliveryNext::Delivered, 81).await);
        let next = lease(&world, 10, 120).await;
        let next = next.iter().find(|lease| lease.endpoint.id == gone.id).unwrap();
        let disable = DeliveryNext::Disable {
            reason: "it answered 410".into(),
        };
        assert!(settle(&world, next, disable, 121).await);
        let known = world.store.endpoint(DEFAULT, gone.id).await.unwrap().unwrap();
        assert_eq!(
            (known.enabled, known.disabled_reason.as_deref()),
            (false, Some("it answered 410"))
        );
        let emitted = world.events_of(EventType::EndpointDisabled).await;
        assert_eq!(emitted[0].data["id"], gone.id.to_string());
        assert!(!emitted[0].data.to_string().contains("whsec_"));
        assert_eq!(world.events_of(EventType::EndpointRecovered).await.len(), 1);
        let of = |endpoint, event| DeliveriesOf { endpoint, event };
        let to_watcher = of(Some(watcher.id), None);
        let later = world.store.deliveries(DEFAULT, to_watcher, page()).await.unwrap();
        assert_eq!(later.rows.len(), 3);
        // The deliveries of one event, to all endpoints or to one.
        let event = failing.event.id;
        let ids = async |of| -> Vec<_> {
            let listed = world.store.deliveries(DEFAULT, of, page()).await.unwrap();
            listed.rows.iter().map(|one| (one.endpoint_id, one.event_id)).collect()
        };
        assert_eq!(ids(of(Some(gone.id), Some(event))).await, [(gone.id, event)]);
        assert!(ids(of(None, Some(event))).await.iter().all(|(_, of)| *of == event));
        assert!(ids(of(None, Some(event))).await.contains(&(gone.id, event)));
        assert!(ids(of(None, None)).await.len() > ids(to_watcher).await.len());
        assert_eq!(ids(of(None, Some(world.id()))).await, []);
        let on = EndpointPatch {
            enabled: Some(true),
            ..EndpointPatch::default()
        };
        let on = world
            .store
            .update_endpoint(DEFAULT, gone.id, on, at(122))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((on.disabled_reason, on.failing_since), (None, None));
    });
}

pub fn a_recovered_endpoint_gets_what_it_missed(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let known = add(&world, &["message.received"]).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let early = lease(&world, 1, 10).await.remove(0);
        assert!(settle(&world, &early, DeliveryNext::Failed, 11).await);
        world.receive(vec![contact_writes("m2", 20)], 20).await;
        let missed = lease(&world, 1, 20).await.remove(0);
        assert!(settle(&world, &missed, DeliveryNext::Failed, 21).await);
        assert!(
            !world
                .store
                .begin_recovery("another", known.id, at(15), at(30))
                .await
                .unwrap()
        );
        assert_eq!(recover(&world, &known, 15, 30).await, 1);
        let again = lease(&world, 10, 30).await;
        assert_eq!(again.len(), 1);
        assert_eq!((again[0].delivery, again[0].attempt), (missed.delivery, 1));
        assert!(settle(&world, &again[0], DeliveryNext::Delivered, 31).await);
        let (delivery, attempts) = world.store.delivery(DEFAULT, missed.delivery).await.unwrap().unwrap();
        assert_eq!(
            (delivery.status.as_str(), attempts.len(), attempts[1].number),
            ("delivered", 2, 2)
        );
    });
}

pub fn a_recovery_takes_bounded_steps_and_nothing_overtakes_it(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let known = add(&world, &["message.received"]).await;
        switch(&world, &known, false, 5).await;
        let step = limits::EVENTS_RECOVERED as usize;
        let words = (0..step + 10).map(|n| contact_writes(&format!("m{n:04}"), 10));
        world.receive(words.collect(), 10).await;
        switch(&world, &known, true, 20).await;
        world.receive(vec![contact_writes("newest", 21)], 21).await;
        let started = world.store.begin_recovery(DEFAULT, known.id, at(0), at(30));
        assert!(started.await.unwrap());
        let first = world.store.recover_step(DEFAULT, known.id, at(30)).await.unwrap();
        assert!(!first.done && first.recovered as usize <= step, "{first:?}");
        // An endpoint in recovery waits; an interrupted recovery is found.
        assert!(lease(&world, 10, 31).await.is_empty());
        assert_eq!(world.store.next_delivery_due().await.unwrap(), None);
        assert_eq!(world.store.recoveries(at(30)).await.unwrap(), []);
        assert_eq!(
            world.store.recoveries(at(31)).await.unwrap(),
            [(DEFAULT.to_owned(), known.id)]
        );
        let mut recovered = first.recovered;
        while !world.store.recoveries(at(31)).await.unwrap().is_empty() {
            recovered += world
                .store
                .recover_step(DEFAULT, known.id, at(30))
                .await
                .unwrap()
                .recovered;
        }
        assert_eq!(recovered as usize, step + 10);
        let mut came = Vec::new();
        while let Some(next) = lease(&world, 10, 40).await.pop() {
            came.push(about(&next));
            assert!(settle(&world, &next, DeliveryNext::Delivered, 40).await);
        }
        let mut expected: Vec<String> = (0..step + 10).map(|n| format!("m{n:04}")).collect();
        expected.push("newest".to_owned());
        assert_eq!(came, expected);
    });
}

pub fn recovered_event_waits_for_leased_one(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let known = add(&world, &["message.received"]).await;
        world
            .receive(
                vec![
                    contact_writes("m1", 10),
                    contact_writes("m2", 10),
                    contact_writes("m3", 10),
                ],
                10,
            )
            .await;
        let first = lease(&world, 10, 10).await.remove(0);
        assert!(settle(&world, &first, DeliveryNext::Failed, 11).await);
        let in_flight = lease(&world, 10, 12).await.remove(0);
        assert_eq!(about(&in_flight), "m2");
        assert_eq!(recover(&world, &known, 0, 13).await, 1);
        assert!(
            lease(&world, 10, 14).await.is_empty(),
            "one of a conversation at a time"
        );
        assert!(settle(&world, &in_flight, DeliveryNext::RetryAt(at(20)), 15).await);
        let mut came = Vec::new();
        while let Some(next) = lease(&world, 10, 30).await.pop() {
            came.push(about(&next));
            assert!(settle(&world, &next, DeliveryNext::Delivered, 30).await);
        }
        assert_eq!(came, ["m1", "m2", "m3"]);
    });
}

pub fn disabled_endpoint_resumes_at_its_position(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let known = add(&world, &["message.received"]).await;
        world
            .receive(vec![contact_writes("m1", 10), contact_writes("m2", 11)], 11)
            .await;
        let first = lease(&world, 10, 12).await.remove(0);
        let disable = DeliveryNext::Disable {
            reason: "it answered 410".into(),
        };
        assert!(settle(&world, &first, disable, 13).await);
        assert!(lease(&world, 10, 14).await.is_empty());
        switch(&world, &known, true, 20).await;
        let again = lease(&world, 10, 21).await;
        assert_eq!(again.iter().map(about).collect::<Vec<_>>(), ["m1"]);
    });
}

pub fn failing_endpoint_emits_before_next_attempt(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        add(&world, &["message.received"]).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let leased = lease(&world, 1, 10).await.remove(0);
        assert!(settle(&world, &leased, DeliveryNext::RetryAt(at(9_000)), 10).await);
        let failing = 10 + limits::ENDPOINT_FAILING.as_secs().cast_signed();
        assert_eq!(world.store.notify_failing(at(failing - 1)).await.unwrap(), 0);
        assert_eq!(world.store.notify_failing(at(failing)).await.unwrap(), 1);
        assert_eq!(world.store.notify_failing(at(failing + 1)).await.unwrap(), 0);
        let emitted = world.events_of(EventType::EndpointFailing).await;
        assert_eq!((emitted.len(), emitted[0].timestamp), (1, at(failing)));
        let leased = lease(&world, 1, 9_000).await.remove(0);
        assert!(settle(&world, &leased, DeliveryNext::Delivered, 9_000).await);
        assert_eq!(world.events_of(EventType::EndpointRecovered).await.len(), 1);
    });
}
