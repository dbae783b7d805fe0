//! The platform's clock differs from the host's.

use std::time::Duration;

use weir_domain::clock::ClockOffset;
use weir_domain::message::{Origin, Status};

use super::world::*;
use super::{Factory, run};
use crate::{KeptSince, Resolution, Source};

/// The host's clock is eight seconds ahead of the platform's.
const AHEAD: i64 = 8;

/// A message whose response was lost, sent at 100 by the host's clock.
async fn uncertain_at_100(world: &World, text: &str) -> weir_domain::message::Message {
    world.receive(vec![contact_writes("m1", 10)], 10).await;
    let ours = world.send(text, 100).await.unwrap();
    let lease = world.lease(1, 100).await.remove(0);
    assert!(world.settle(&lease, uncertain_outcome(), 101).await);
    ours
}

fn read_by_the_rules(world: &World) -> Resolution {
    let rules = world.policy_set.rules(&world.channel);
    Resolution::HistoryRead {
        possible_since: rules.possible_since(at(100)),
        likely_since: rules.likely_since(at(100)),
    }
}

pub fn an_echo_dated_by_a_clock_behind_is_matched(factory: Factory) {
    run(async {
        let mut world = World::begin(factory).await;
        world.policy_set = world.policy_set.with_clock(ClockOffset::from_millis(-AHEAD * 1_000));
        let ours = uncertain_at_100(&world, "hello").await;
        world
            .receive(vec![echo("p1", Origin::Api, "hello", 100 - AHEAD)], 103)
            .await;
        assert_eq!(world.message(&ours).await.status, Status::Sent);
        assert_eq!(world.messages("thread").await.len(), 2, "the echo is the message");
    });
}

pub fn an_unmatched_message_alike_disproves_absence(factory: Factory) {
    run(async {
        // Changed in ways that the clock offset does not explain: trimmed in transit, or changed by the platform.
        for (shown, dated) in [("hello", 100 - AHEAD), (" hello\n", 100 - AHEAD), ("h-e-l-l-o", 104)] {
            let world = World::begin(factory).await;
            let ours = uncertain_at_100(&world, "hello").await;
            let history = vec![echo("p1", Origin::Api, shown, dated)];
            world.receive_from(history, Source::History, 230).await;
            let read = read_by_the_rules(&world);
            assert!(
                !world
                    .store
                    .resolve_uncertain(DEFAULT, ours.id, read, at(231))
                    .await
                    .unwrap()
            );
            assert_eq!(world.message(&ours).await.status, Status::Uncertain, "{shown:?}");
        }
    });
}

pub fn what_others_sent_or_we_matched_proves_nothing(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        world.send("hello", 90).await.unwrap();
        let first = world.lease(1, 90).await.remove(0);
        assert!(world.settle(&first, sent("p0", 90), 91).await);
        let ours = world.send("hello", 100).await.unwrap();
        let second = world.lease(1, 100).await.remove(0);
        assert!(world.settle(&second, uncertain_outcome(), 101).await);
        // The first outbound message, which has its id; a person's message in the app; an old message.
        let history = vec![
            echo("p0", Origin::Api, "hello", 90),
            echo("p1", Origin::App, "good evening", 105),
            echo("p2", Origin::Api, "hello", -500),
        ];
        world.receive_from(history, Source::History, 230).await;
        let read = read_by_the_rules(&world);
        assert!(
            world
                .store
                .resolve_uncertain(DEFAULT, ours.id, read, at(231))
                .await
                .unwrap()
        );
        assert_eq!(
            world.message(&ours).await.status,
            Status::Queued,
            "its absence is proven"
        );
    });
}

pub fn a_stored_echo_settles_once_clocks_are_known(factory: Factory) {
    run(async {
        let mut world = World::begin(factory).await;
        let ours = uncertain_at_100(&world, "hello").await;
        world
            .receive(vec![echo("p1", Origin::Api, "hello", 100 - AHEAD)], 103)
            .await;
        assert_eq!(
            world.message(&ours).await.status,
            Status::Uncertain,
            "eight seconds too early"
        );
        world.policy_set = world
            .policy_set
            .clone()
            .with_clock(ClockOffset::from_millis(-AHEAD * 1_000));
        let read = read_by_the_rules(&world);
        assert!(
            world
                .store
                .resolve_uncertain(DEFAULT, ours.id, read, at(231))
                .await
                .unwrap()
        );
        assert_eq!(world.message(&ours).await.status, Status::Sent);
        assert_eq!(world.messages("thread").await.len(), 2, "one message, not two");
        assert_eq!(world.used().await, 1);
    });
}

pub fn ages_follow_a_jump_slowly_and_survive_restarts(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let hour = Duration::from_secs(3_600);
        let day = 24 * 3_600;
        assert_eq!(world.store.age(Duration::ZERO, at(0)).await.unwrap(), at(0));
        // A year ahead, by mistake: a restart, then an hour.
        assert_eq!(world.store.age(Duration::ZERO, at(365 * day)).await.unwrap(), at(0));
        assert_eq!(world.store.age(hour, at(365 * day)).await.unwrap(), at(day));
        assert_eq!(world.store.age(hour, at(3_600)).await.unwrap(), at(3_600), "set right");
    });
}

pub fn rows_from_the_future_hold_no_older_ones_up(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let year = 365 * 24 * 3_600;
        world.receive(vec![contact_writes("ahead", 10)], year).await;
        world.receive(vec![contact_writes("old", 20)], 20).await;
        world.receive(vec![contact_writes("young", 90)], 90).await;
        let since = KeptSince {
            messages: Some(at(50)),
            now: Some(at(100)),
            ..KeptSince::default()
        };
        let forgotten = world.store.forget(since, 100).await.unwrap();
        assert_eq!(forgotten.messages, 1);
        let left = world.messages("thread").await;
        let left: Vec<_> = left
            .iter()
            .filter_map(|message| message.platform_id.as_deref())
            .collect();
        assert_eq!(left, ["ahead", "young"]);
        let events = world.events().await;
        assert!(events.iter().all(|event| event.timestamp != at(20)), "{events:#?}");
    });
}

pub fn ends_of_messages_move_with_the_platforms_clock(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let ours = world.send("hello", 20).await.unwrap();
        let end = 10 + WINDOW;
        // The host's clock turns out to be ten minutes ahead: at the end by the host's clock the platform's has ten
        // minutes left.
        let behind = ClockOffset::from_millis(-600_000);
        world
            .store
            .note_platform_clock(&world.app.name, behind, at(30))
            .await
            .unwrap();
        assert_eq!(world.store.platform_clocks().await.unwrap()[&world.app.name], behind);
        assert_eq!(world.store.sweep_messages(at(end + 599)).await.unwrap(), 0);
        // Corrected: rows that were adjusted twice move once.
        let right = ClockOffset::default();
        world
            .store
            .note_platform_clock(&world.app.name, right, at(40))
            .await
            .unwrap();
        assert_eq!(
            world
                .store
                .note_platform_clock(&world.app.name, right, at(41))
                .await
                .unwrap(),
            0
        );
        assert_eq!(world.store.sweep_messages(at(end - 1)).await.unwrap(), 0);
        assert_eq!(world.store.sweep_messages(at(end)).await.unwrap(), 1);
        assert_eq!(world.message(&ours).await.status, Status::Failed);
    });
}
