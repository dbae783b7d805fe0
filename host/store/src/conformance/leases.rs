//! Waiting messages are sent in order, belong to one worker at a time, and have one result.

use std::time::Duration;

use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::delivery::Next;
use weir_domain::event::EventType;
use weir_domain::limits;
use weir_domain::message::{Content, Status};
use weir_domain::policy::Refusal;

use super::world::*;
use super::{Factory, run};
use crate::{ChannelPatch, EnqueueError, LeaseToken, MessageLease, RequestRecord, Resolution, Room, StateWrite};

/// The duration of a lease, in seconds.
fn lease_span() -> i64 {
    limits::LEASE.as_secs().cast_signed()
}

fn uncertain_span() -> i64 {
    limits::UNCERTAIN_WAIT.as_secs().cast_signed()
}

pub fn a_conversation_has_one_message_in_flight_in_order(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world
            .receive(vec![contact_writes("m1", 10), contact_writes_in("other", "m2", 10)], 10)
            .await;
        for text in ["one", "two"] {
            world.send(text, 20).await.unwrap();
        }
        world.send_in("other", "elsewhere", 20).await.unwrap();
        let leases = world.lease(10, 21).await;
        assert_eq!(leases.len(), 2);
        assert!(world.lease(10, 22).await.is_empty());
        let first = leases
            .iter()
            .find(|lease| lease.conversation.platform_id == "thread")
            .unwrap();
        assert_eq!(first.message.content, world.draft(first.conversation.id, "one").content);
        assert_eq!((first.attempt, first.message.status), (1, Status::Sending));
        assert_eq!(first.expires_at, Some(at(10 + WINDOW)));
        assert_eq!(first.conversation.budget_used, 2);
        world.settle(first, sent("p1", 23), 23).await;
        let next = world.lease(10, 24).await;
        assert_eq!(next.len(), 1);
        assert_eq!(
            next[0].draft.content,
            world.draft(next[0].conversation.id, "two").content
        );
        let places: Vec<i64> = world
            .messages("thread")
            .await
            .iter()
            .map(|message| message.sequence)
            .collect();
        assert_eq!(places, [1, 2, 3]);
    });
}

pub fn a_retry_keeps_those_behind_it_waiting(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        world.send("one", 20).await.unwrap();
        world.send("two", 20).await.unwrap();
        let retry = |at_second, counts| Next::RetryAt {
            at: at(at_second),
            counts,
            error: error("rate_limited"),
        };
        let lease = world.lease(1, 20).await.remove(0);
        assert!(world.settle(&lease, retry(60, false), 21).await);
        assert_eq!(world.message(&lease.message).await.status, Status::Queued);
        assert!(world.lease(10, 59).await.is_empty());
        assert_eq!(world.store.next_message_due(Vec::new()).await.unwrap(), Some(at(60)));
        let lease = world.lease(10, 60).await.remove(0);
        // A request to slow down does not count as an attempt.
        assert_eq!((lease.attempt, lease.token.epoch), (1, 2));
        assert!(world.settle(&lease, retry(70, true), 61).await);
        let lease = world.lease(10, 70).await.remove(0);
        assert_eq!((lease.attempt, lease.token.epoch), (2, 3));
        assert_eq!(world.used().await, 2);
    });
}

pub fn messages_without_a_version_wait_in_order(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        world.send("one", 20).await.unwrap();
        world.send("two", 20).await.unwrap();
        // More checks than the bound on attempts, and the message is still queued.
        for look in 0..i64::from(limits::SEND_ATTEMPTS) * 2 {
            let second = 20 + look * 10;
            let leases = world.lease(10, second).await;
            assert_eq!(leases.len(), 1, "the next of the conversation waits behind it");
            let lease = &leases[0];
            assert_eq!(
                (lease.attempt, &lease.message.content),
                (1, &world.draft(lease.conversation.id, "one").content)
            );
            assert!(
                world
                    .settle(lease, Next::unserved(at(second + 10), "none serves"), second)
                    .await
            );
            let waiting = world.message(&lease.message).await;
            assert_eq!(waiting.status, Status::Queued);
            assert_eq!(waiting.error.unwrap().detail, "none serves");
            assert!(
                world
                    .store
                    .attempts(DEFAULT, lease.message.id)
                    .await
                    .unwrap()
                    .is_empty()
            );
        }
        // An app that no version serves is skipped.
        let app = world.app.name.clone();
        let of = [(app.clone(), 0)].into();
        let leases = world
            .store
            .lease_messages("worker", Room { all: 10, of }, at(1_000))
            .await;
        assert!(leases.unwrap().is_empty());
        assert_eq!(world.store.next_message_due(vec![app]).await.unwrap(), None);
        // When one serves again they are sent, in order.
        for (text, second) in [("one", 1_000), ("two", 1_001)] {
            let lease = world.lease(10, second).await.remove(0);
            assert_eq!(lease.draft.content, world.draft(lease.conversation.id, text).content);
            world.settle(&lease, sent(text, second), second).await;
        }
        // A queued message expires at the window's end.
        world.send("late", 1_010).await.unwrap();
        let lease = world.lease(10, 1_010).await.remove(0);
        let end = 10 + WINDOW;
        world
            .settle(&lease, Next::unserved(at(end + 60), "none serves"), 1_010)
            .await;
        world.store.sweep_messages(at(end)).await.unwrap();
        let late = world.message(&lease.message).await;
        assert_eq!(
            (late.status, late.error.unwrap().code.as_str()),
            (Status::Failed, "reply_window_closed")
        );
    });
}

/// A message waits in each of six conversations of the first channel. Then the account "second" of `app` is connected,
/// where one waits too; returns its channel.
async fn one_waits_behind_many(world: &World, app: &str) -> Channel {
    let many = (0..6).map(|n| contact_writes_in(&format!("t{n}"), &format!("m{n}"), 10));
    world.receive(many.collect(), 10).await;
    for n in 0..6 {
        world.send_in(&format!("t{n}"), "hello", 20).await.unwrap();
    }
    let mut second = account("second");
    second.app = app.to_owned();
    let connected = world.store.connect_channel(second, credential("t"), at(1)).await;
    let mut far = contact_writes_in("far", "m-far", 10);
    far.channel_platform_id = "second".into();
    world.receive_as(app, vec![far], 10).await;
    world.send_in("far", "hello", 21).await.unwrap();
    connected.unwrap().0
}

pub fn channels_take_turns(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let second = one_waits_behind_many(&world, &world.app.name).await;
        let leased: Vec<_> = world
            .lease(3, 30)
            .await
            .into_iter()
            .map(|lease| lease.channel.id)
            .collect();
        assert_eq!(leased.iter().filter(|id| **id == second.id).count(), 1);
        // The channel with the last turn comes after those that wait.
        assert_eq!(world.lease(10, 30).await.len(), 4);
    });
}

pub fn an_app_without_room_holds_up_no_other(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let second = one_waits_behind_many(&world, "another").await;
        let first = world.channel.app.clone();
        let leased = async |of: u32| {
            let of = [(first.clone(), of)].into();
            let leases = world
                .store
                .lease_messages("worker", Room { all: 10, of }, at(30))
                .await
                .unwrap();
            leases.iter().map(|lease| lease.channel.id).collect::<Vec<_>>()
        };
        // The message that waits longest is of an app without capacity; the newest one is not.
        assert_eq!(leased(0).await, [second.id]);
        assert_eq!(leased(2).await, [world.channel.id; 2]);
        assert_eq!(leased(0).await, []);
        assert_eq!(world.lease(10, 30).await.len(), 4);
    });
}

pub fn a_held_channel_keeps_its_messages(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        world.send("hello", 20).await.unwrap();
        let pause = |paused| ChannelPatch {
            paused: Some(paused),
            ..ChannelPatch::default()
        };
        world
            .store
            .update_channel(DEFAULT, world.channel.id, pause(true), at(21))
            .await
            .unwrap();
        assert!(world.lease(10, 22).await.is_empty());
        assert_eq!(world.store.next_message_due(Vec::new()).await.unwrap(), None);
        assert_eq!(world.store.queue(DEFAULT, world.channel.id).await.unwrap().depth, 1);
        assert!(matches!(
            world.send("more", 23).await,
            Err(EnqueueError::Refused(Refusal::ChannelPaused))
        ));
        world
            .store
            .update_channel(DEFAULT, world.channel.id, pause(false), at(24))
            .await
            .unwrap();
        assert_eq!(world.lease(10, 25).await.len(), 1);
        assert_eq!(world.events_of(EventType::ChannelPaused).await.len(), 1);
    });
}

pub fn what_waits_for_authorization_is_due_when_it_recovers(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        world.send("hello", 20).await.unwrap();
        let lease = world.lease(1, 20).await.remove(0);
        let held = Next::Held {
            error: error("unauthorized"),
        };
        assert!(world.settle(&lease, held, 21).await);
        // Held even before the channel's status was set.
        assert!(world.lease(1, 22).await.is_empty());
        let id = world.channel.id;
        let status = |status, second| {
            world
                .store
                .set_channel_status(DEFAULT, id, status, "because", at(second))
        };
        status(ChannelStatus::ReauthorizationRequired, 23).await.unwrap();
        status(ChannelStatus::ReauthorizationRequired, 24).await.unwrap();
        world.send("taken and held", 25).await.unwrap();
        assert!(world.lease(10, 26).await.is_empty());
        status(ChannelStatus::Connected, 27).await.unwrap();
        assert_eq!(world.lease(10, 28).await[0].message.id, lease.message.id);
        let events = world.events_of(EventType::ChannelReauthorizationRequired).await;
        assert_eq!((events.len(), &events[0].data["reason"]), (1, &"because".into()));
        assert_eq!(world.events_of(EventType::ChannelRecovered).await.len(), 1);
    });
}

pub fn a_lost_lease_writes_nothing(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        world.send("hello", 20).await.unwrap();
        let late = world.lease(1, 20).await.remove(0);
        world.store.sweep_messages(at(20 + lease_span())).await.unwrap();
        world
            .store
            .resolve_uncertain(DEFAULT, late.message.id, history_read(0), at(200))
            .await
            .unwrap();
        let fresh = world.lease(1, 201).await.remove(0);
        assert!(fresh.token.epoch > late.token.epoch);
        let before = world.kinds().await.len();
        let write = StateWrite {
            by: "1.0.0".into(),
            key: "cursor".into(),
            value: Some(b"1".to_vec()),
        };
        let written = world
            .store
            .settle_message(&late.token, failed(), Vec::new(), vec![write.clone()], at(202))
            .await
            .unwrap();
        assert!(!written);
        let stranger = LeaseToken {
            owner: "somebody".into(),
            ..fresh.token.clone()
        };
        assert!(
            !world
                .store
                .settle_message(&stranger, failed(), Vec::new(), Vec::new(), at(202))
                .await
                .unwrap()
        );
        assert_eq!(world.kinds().await.len(), before);
        assert!(
            world
                .store
                .state(DEFAULT, world.channel.id)
                .await
                .unwrap()
                .entries
                .is_empty()
        );
        let written = world
            .store
            .settle_message(&fresh.token, sent("p1", 202), Vec::new(), vec![write], at(203))
            .await
            .unwrap();
        assert!(written);
        assert_eq!(
            world.store.state(DEFAULT, world.channel.id).await.unwrap().entries["cursor"],
            b"1"
        );
        // A settled message stays settled.
        assert!(!world.settle(&fresh, failed(), 204).await);
    });
}

pub fn expired_lease_is_uncertain_and_blocks_briefly(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let first = world.send("one", 20).await.unwrap();
        let second = world.send("two", 20).await.unwrap();
        world.lease(1, 20).await;
        let end = 20 + lease_span();
        assert_eq!(world.store.sweep_messages(at(end - 1)).await.unwrap(), 0);
        assert_eq!(world.store.sweep_messages(at(end)).await.unwrap(), 1);
        assert_eq!(world.store.sweep_messages(at(end)).await.unwrap(), 0);
        assert_eq!(world.message(&first).await.status, Status::Uncertain);
        let uncertain = world.store.uncertain_messages(10).await.unwrap();
        assert_eq!(
            (uncertain[0].message.id, uncertain[0].dispatched_at),
            (first.id, at(20))
        );
        assert!(world.lease(10, end + uncertain_span() - 1).await.is_empty());
        let goes_on = world.lease(10, end + uncertain_span()).await;
        assert_eq!(goes_on[0].message.id, second.id);
        // The older one is requeued and waits for the message in flight.
        world
            .store
            .resolve_uncertain(DEFAULT, first.id, history_read(0), at(end + 200))
            .await
            .unwrap();
        assert!(world.lease(10, end + 200).await.is_empty());
        world.settle(&goes_on[0], sent("p2", end + 201), end + 201).await;
        assert_eq!(world.lease(10, end + 202).await[0].message.id, first.id);
    });
}

pub fn what_waits_past_the_window_fails(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let ours = world.send("hello", 20).await.unwrap();
        // The contact's next message moves the end.
        world.receive(vec![contact_writes("m2", 100)], 100).await;
        assert_eq!(world.store.sweep_messages(at(10 + WINDOW)).await.unwrap(), 0);
        assert_eq!(world.store.sweep_messages(at(100 + WINDOW)).await.unwrap(), 1);
        let message = world.message(&ours).await;
        assert_eq!(
            (message.status, message.error.unwrap().code.as_str()),
            (Status::Failed, "reply_window_closed")
        );
        assert_eq!(world.used().await, 0);
        assert_eq!(world.store.next_message_due(Vec::new()).await.unwrap(), None);
    });
}

pub fn a_deleted_channel_fails_what_waits(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let flying = world.send("one", 20).await.unwrap();
        let waiting = world.send("two", 20).await.unwrap();
        let lease = world.lease(1, 20).await.remove(0);
        world
            .store
            .delete_channel(DEFAULT, world.channel.id, at(21))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(world.message(&waiting).await.error.unwrap().code, "channel_deleted");
        // A message that was sent is settled by its response.
        assert!(world.settle(&lease, sent("p1", 22), 22).await);
        assert_eq!(world.message(&flying).await.status, Status::Sent);
        assert!(matches!(
            world.send("more", 23).await,
            Err(EnqueueError::Refused(Refusal::ChannelDeleted))
        ));
        assert_eq!(world.messages("thread").await.len(), 3);
    });
}

pub fn an_uncertain_message_is_settled_by_what_was_found(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let mut doubtful = Vec::new();
        for (n, second) in [(1, 20), (2, 2_000), (3, 4_000)] {
            world.send(&format!("{n}"), second).await.unwrap();
            let lease = world.lease(1, second).await.remove(0);
            world.settle(&lease, uncertain_outcome(), second).await;
            doubtful.push(lease.message.id);
        }
        let resolve = |n: usize, found| world.store.resolve_uncertain(DEFAULT, doubtful[n], found, at(5_000));
        let found = Resolution::Found {
            platform_id: "p1".into(),
            at: at(21),
        };
        assert!(resolve(0, found.clone()).await.unwrap());
        assert!(!resolve(0, found).await.unwrap());
        assert!(resolve(1, history_read(0)).await.unwrap());
        assert!(resolve(2, Resolution::GivenUp).await.unwrap());
        let messages = world.messages("thread").await;
        let statuses: Vec<Status> = messages[1..].iter().map(|message| message.status).collect();
        // A queued message comes last.
        assert_eq!(statuses, [Status::Sent, Status::Failed, Status::Queued]);
        assert_eq!(messages[1].sent_at, at(21));
        // The platform may have counted the message that was given up.
        assert_eq!(world.used().await, 3);
    });
}

pub fn what_waits_to_leave_stands_last(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let first = world.send("first", 20).await.unwrap();
        let second = world.send("second", 21).await.unwrap();
        let order = async || {
            let messages = world.messages("thread").await;
            messages
                .iter()
                .map(|message| message.platform_id.clone())
                .collect::<Vec<_>>()
        };
        let ids = |ids: [Option<&str>; 4]| ids.map(|id| id.map(str::to_owned)).to_vec();
        let lease = world.lease(1, 22).await.remove(0);
        assert_eq!(lease.message.id, first.id);
        world.receive(vec![contact_writes("m2", 25)], 25).await;
        assert_eq!(order().await, ids([Some("m1"), Some("m2"), None, None]));
        assert!(world.settle(&lease, sent("p1", 30), 30).await);
        assert_eq!(order().await, ids([Some("m1"), Some("m2"), Some("p1"), None]));
        // A message that is given up keeps its position.
        let taken_back = world.store.cancel_message(DEFAULT, second.id, at(31)).await.unwrap();
        assert!(matches!(taken_back, Some(Ok(_))));
        assert_eq!(order().await, ids([Some("m1"), Some("m2"), Some("p1"), None]));
        world.receive(vec![contact_writes("m3", 40)], 40).await;
        let messages = world.messages("thread").await;
        assert_eq!(messages[4].platform_id.as_deref(), Some("m3"));
    });
}

pub fn each_try_is_in_the_ledger(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let ours = world.send("hello", 20).await.unwrap();
        let lease = world.lease(1, 20).await.remove(0);
        let open = world.store.attempts(DEFAULT, ours.id).await.unwrap();
        assert_eq!(
            (open[0].outcome.as_str(), open[0].ended_at, open[0].started_at),
            ("open", None, at(20))
        );
        let request = RequestRecord {
            route: "send".into(),
            method: "POST".into(),
            url: "https://api.example.com/messages".into(),
            at: at(20),
            status: Some(200),
            elapsed_ms: 12,
            error: None,
        };
        let next = Next::RetryAt {
            at: at(30),
            counts: true,
            error: error("rate_limited"),
        };
        world
            .store
            .settle_message(&lease.token, next, vec![request.clone()], Vec::new(), at(21))
            .await
            .unwrap();
        let lease = world.lease(1, 30).await.remove(0);
        world.settle(&lease, sent("p1", 31), 31).await;
        let attempts = world.store.attempts(DEFAULT, ours.id).await.unwrap();
        let outcomes: Vec<&str> = attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
        assert_eq!(outcomes, ["retry", "sent"]);
        assert_eq!(attempts[0].requests, [request]);
        assert_eq!(attempts[0].error.as_ref().unwrap().code, "rate_limited");
        assert_eq!(attempts[1].number, 2);
    });
}

pub fn what_waits_does_not_wait_longer_when_the_clock_is_set_back(factory: Factory) {
    run(async {
        const BACK: i64 = 3_600;
        let world = World::begin(factory).await;
        for (thread, name) in [("a", "m1"), ("b", "m2"), ("c", "m3")] {
            world.receive(vec![contact_writes_in(thread, name, 0)], 0).await;
            world.send_in(thread, thread, 10_000).await.unwrap();
        }
        world.send_in("a", "behind", 10_000).await.unwrap();
        let by_thread = |leases: &[MessageLease], thread: &str| {
            let found = leases.iter().find(|lease| lease.conversation.platform_id == thread);
            found.unwrap().clone()
        };
        let leases = world.lease(2, 10_000).await;
        let (again, doubtful) = (by_thread(&leases, "a"), by_thread(&leases, "b"));
        let retry = Next::RetryAt {
            at: at(10_100),
            counts: true,
            error: error("platform_unavailable"),
        };
        assert!(world.settle(&again, retry, 10_000).await);
        // Ten seconds after that, the clock is set back by an hour: the waits have lasted ten seconds.
        let (then, now) = (10_010, 10_010 - BACK);
        let back = Duration::from_secs(BACK.unsigned_abs());
        assert!(world.store.clock_set_back(back, at(now)).await.unwrap() > 0);
        let texts = |leases: Vec<MessageLease>| -> Vec<String> {
            leases
                .into_iter()
                .map(|lease| match lease.message.content {
                    Content::Text { text } => text,
                    other => panic!("{other:?}"),
                })
                .collect()
        };
        // Due messages stay due; a message that waits for its next attempt keeps its ninety seconds.
        assert_eq!(texts(world.lease(10, now).await), ["c"]);
        assert!(world.lease(10, now + 89).await.is_empty());
        let first = world.lease(10, now + 90).await;
        assert!(world.settle(&first[0], sent("p1", now + 90), now + 90).await);
        assert_eq!(texts(first), ["a"]);
        assert_eq!(
            texts(world.lease(10, now + 90).await),
            ["behind"],
            "it does not wait for the old clock either"
        );
        // The lease of the message in flight keeps its remaining duration.
        let end = lease_span() - (then - 10_000);
        assert_eq!(world.message(&doubtful.message).await.status, Status::Sending);
        world.store.sweep_messages(at(now + end)).await.unwrap();
        assert_eq!(world.message(&doubtful.message).await.status, Status::Uncertain);
    });
}

pub fn leases_survive_clock_set_forward(factory: Factory) {
    run(async {
        const ON: i64 = 3_600;
        let world = World::begin(factory).await;
        for thread in ["a", "b"] {
            world.receive(vec![contact_writes_in(thread, thread, 0)], 0).await;
            world.send_in(thread, "hello", 10).await.unwrap();
        }
        let ours = world.lease(1, 10).await.remove(0);
        let theirs = world
            .store
            .lease_messages("another", Room::of_all(1), at(10))
            .await
            .unwrap()
            .remove(0);
        let on = Duration::from_secs(ON.unsigned_abs());
        assert_eq!(world.store.clock_set_forward("worker", on).await.unwrap(), 1);
        let status = async |lease: &MessageLease| world.message(&lease.message).await.status;
        world.store.sweep_messages(at(10 + ON)).await.unwrap();
        assert_eq!(
            (status(&ours).await, status(&theirs).await),
            (Status::Sending, Status::Uncertain),
            "it is unknown whether another worker is alive"
        );
        world.store.sweep_messages(at(10 + ON + lease_span())).await.unwrap();
        assert_eq!(status(&ours).await, Status::Uncertain);
    });
}
