//! Window events that time alone causes: reported once, when due, with the state at that time.

use std::collections::BTreeMap;

use weir_domain::channel::PolicyOverride;
use weir_domain::conversation::ConversationStatus;
use weir_domain::event::EventType;

use super::world::*;
use super::{Factory, run};
use crate::ChannelPatch;

pub fn window_events_fire_before_and_at_close(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let closing = WINDOW - 4 * 3600;
        world.receive(vec![contact_writes("m1", 0)], 0).await;
        assert_eq!(
            world.notify_window_events(closing - 1).await,
            0,
            "one second before its moment"
        );
        assert_eq!(world.notify_window_events(closing).await, 1);
        let events = &world.events_of(EventType::WindowClosing).await[0];
        assert_eq!(events.conversation_id, Some(world.conversation("thread").await.id));
        assert_eq!(
            (&events.data["can_reply"], &events.data["window"]["closes_at"]),
            (&true.into(), &serde_json::json!(at(WINDOW)))
        );
        assert_eq!(world.notify_window_events(WINDOW - 1).await, 0);
        assert_eq!(world.notify_window_events(WINDOW).await, 1);
        assert_eq!(
            world.events_of(EventType::WindowClosed).await[0].data["can_reply"],
            false
        );
        assert_eq!(world.notify_window_events(10 * WINDOW).await, 0, "it is reported once");
        assert_eq!(world.events_of(EventType::WindowClosing).await.len(), 1);
    });
}

pub fn reopened_window_ignores_old_end(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 0)], 0).await;
        world.receive(vec![contact_writes("m2", WINDOW - 1)], WINDOW - 1).await;
        world.notify_window_events(WINDOW + 3600).await;
        assert!(world.events_of(EventType::WindowClosing).await.is_empty());
        assert!(
            world.events_of(EventType::WindowClosed).await.is_empty(),
            "it is open still"
        );
        // Nothing ran while it was closing: only its present state is reported.
        assert_eq!(world.notify_window_events(3 * WINDOW).await, 1);
        assert!(world.events_of(EventType::WindowClosing).await.is_empty());
        assert_eq!(world.events_of(EventType::WindowClosed).await.len(), 1);
    });
}

pub fn window_closes_before_the_next_opens(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 0)], 0).await;
        // The sweep comes after the message.
        world.receive(vec![contact_writes("m2", WINDOW)], WINDOW + 1).await;
        assert_eq!(world.events_of(EventType::WindowClosed).await.len(), 1);
        assert_eq!(world.events_of(EventType::WindowOpened).await.len(), 2);
        world.notify_window_events(WINDOW + 2).await;
        assert_eq!(
            world.events_of(EventType::WindowClosed).await.len(),
            1,
            "it is reported once"
        );
        // The sweep comes first.
        world.notify_window_events(2 * WINDOW).await;
        world.receive(vec![contact_writes("m3", 2 * WINDOW)], 2 * WINDOW).await;
        assert_eq!(world.events_of(EventType::WindowClosed).await.len(), 2);
        // A message that was sent in time and came late: nothing could be sent meanwhile.
        world
            .receive(vec![contact_writes("m4", 3 * WINDOW - 1)], 3 * WINDOW + 1)
            .await;
        assert_eq!(world.events_of(EventType::WindowClosed).await.len(), 3);
        assert_eq!(world.events_of(EventType::WindowOpened).await.len(), 4);
    });
}

pub fn moved_window_emits_at_new_end(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 0)], 0).await;
        let tightened = ChannelPatch {
            policy: Some(PolicyOverride {
                window_ms: Some(2 * 3_600_000),
                ..PolicyOverride::default()
            }),
            ..ChannelPatch::default()
        };
        world
            .store
            .update_channel(DEFAULT, world.channel.id, tightened, at(60))
            .await
            .unwrap();
        // Processed without an event: half of two hours has not passed.
        assert_eq!(world.notify_window_events(61).await, 1);
        assert!(world.events_of(EventType::WindowClosing).await.is_empty());
        world.notify_window_events(3600).await;
        assert_eq!(world.events_of(EventType::WindowClosing).await.len(), 1);
        world.notify_window_events(2 * 3600).await;
        assert_eq!(world.events_of(EventType::WindowClosed).await.len(), 1);
    });
}

pub fn window_events_are_bounded_and_wait_for_rules(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let threads = ["a", "b", "c"];
        for (second, thread) in (0..).zip(threads) {
            world
                .receive(vec![contact_writes_in(thread, thread, second)], second)
                .await;
        }
        let tell = async |policy_sets, limit, seconds| {
            world
                .store
                .notify_window_events(policy_sets, limit, at(seconds))
                .await
                .unwrap()
        };
        // The rules of this app are unknown: nothing is reported, and nothing is lost.
        assert_eq!(tell(BTreeMap::new(), 100, WINDOW + 10).await, 3);
        assert!(world.events_of(EventType::WindowClosed).await.is_empty());
        assert_eq!(tell(world.policy_sets(), 2, WINDOW + 69).await, 0);
        assert_eq!(tell(world.policy_sets(), 2, WINDOW + 70).await, 2);
        assert_eq!(tell(world.policy_sets(), 2, WINDOW + 70).await, 1);
        assert_eq!(world.events_of(EventType::WindowClosed).await.len(), 3);
    });
}

pub fn conversations_close_with_channel_and_reopen(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 0)], 0).await;
        world
            .store
            .delete_channel(DEFAULT, world.channel.id, at(10))
            .await
            .unwrap();
        assert_eq!(world.notify_window_events(10).await, 1);
        let closed = &world.events_of(EventType::ConversationClosed).await[0];
        assert_eq!(closed.data["reason"], "channel_deleted");
        assert_eq!(world.conversation("thread").await.status, ConversationStatus::Closed);
        assert_eq!(
            world.notify_window_events(2 * WINDOW).await,
            0,
            "no window is reported any more"
        );
        let again = world.store.connect_channel(account(ACCOUNT), credential("new"), at(20));
        again.await.unwrap();
        world.send("we are back", 30).await.unwrap();
        assert_eq!(world.conversation("thread").await.status, ConversationStatus::Open);
        assert_eq!(world.events_of(EventType::ConversationOpened).await.len(), 2);
        assert_eq!(world.notify_window_events(WINDOW).await, 1);
        assert_eq!(world.events_of(EventType::WindowClosed).await.len(), 1);
        // Or when the contact does.
        world
            .store
            .delete_channel(DEFAULT, world.channel.id, at(WINDOW))
            .await
            .unwrap();
        world.notify_window_events(WINDOW).await;
        let again = world
            .store
            .connect_channel(account(ACCOUNT), credential("new"), at(WINDOW));
        again.await.unwrap();
        world.receive(vec![contact_writes("m2", WINDOW)], WINDOW).await;
        assert_eq!(world.events_of(EventType::ConversationOpened).await.len(), 3);
    });
}
