//! Window events that time alone causes: reported once, when due, with the state at that time.

use std::collections::BTreeMap;

use weir_domain::channel::PolicyOverride;
use weir_domain::conversation::ConversationStatus;
use weir_domain::event::EventType;

use super::world::*;
use super::{Factory, run};
use crate::ChannelPatch;

pub fn a_window_is_told_of_before_it_closes_and_when_it_does(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let closing = WINDOW - 4 * 3600;
        world.hear(vec![says("m1", 0)], 0).await;
        assert_eq!(world.news(closing - 1).await, 0, "one second before its moment");
        assert_eq!(world.news(closing).await, 1);
        let told = &world.told(EventType::WindowClosing).await[0];
        assert_eq!(told.conversation_id, Some(world.conversation("thread").await.id));
        assert_eq!(
            (&told.data["can_reply"], &told.data["window"]["closes_at"]),
            (&true.into(), &serde_json::json!(at(WINDOW)))
        );
        assert_eq!(world.news(WINDOW - 1).await, 0);
        assert_eq!(world.news(WINDOW).await, 1);
        assert_eq!(world.told(EventType::WindowClosed).await[0].data["can_reply"], false);
        assert_eq!(world.news(10 * WINDOW).await, 0, "it is told once");
        assert_eq!(world.told(EventType::WindowClosing).await.len(), 1);
    });
}

pub fn a_window_that_is_opened_anew_is_not_told_of_by_its_old_end(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.hear(vec![says("m1", 0)], 0).await;
        world.hear(vec![says("m2", WINDOW - 1)], WINDOW - 1).await;
        world.news(WINDOW + 3600).await;
        assert!(world.told(EventType::WindowClosing).await.is_empty());
        assert!(world.told(EventType::WindowClosed).await.is_empty(), "it is open still");
        // Nothing ran while it was closing: only its present state is reported.
        assert_eq!(world.news(3 * WINDOW).await, 1);
        assert!(world.told(EventType::WindowClosing).await.is_empty());
        assert_eq!(world.told(EventType::WindowClosed).await.len(), 1);
    });
}

pub fn a_window_moved_by_the_operator_is_told_of_where_it_is_now(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.hear(vec![says("m1", 0)], 0).await;
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
        assert_eq!(world.news(61).await, 1);
        assert!(world.told(EventType::WindowClosing).await.is_empty());
        world.news(3600).await;
        assert_eq!(world.told(EventType::WindowClosing).await.len(), 1);
        world.news(2 * 3600).await;
        assert_eq!(world.told(EventType::WindowClosed).await.len(), 1);
    });
}

pub fn news_are_told_in_bounded_steps_and_wait_for_rules(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let threads = ["a", "b", "c"];
        for (second, thread) in (0..).zip(threads) {
            world.hear(vec![says_in(thread, thread, second)], second).await;
        }
        let tell = async |books, limit, seconds| world.store.tell_news(books, limit, at(seconds)).await.unwrap();
        // The rules of this app are unknown: nothing is reported, and nothing is lost.
        assert_eq!(tell(BTreeMap::new(), 100, WINDOW + 10).await, 3);
        assert!(world.told(EventType::WindowClosed).await.is_empty());
        assert_eq!(tell(world.books(), 2, WINDOW + 69).await, 0);
        assert_eq!(tell(world.books(), 2, WINDOW + 70).await, 2);
        assert_eq!(tell(world.books(), 2, WINDOW + 70).await, 1);
        assert_eq!(world.told(EventType::WindowClosed).await.len(), 3);
    });
}

pub fn conversations_end_with_their_channel_and_begin_again_when_somebody_writes(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.hear(vec![says("m1", 0)], 0).await;
        world
            .store
            .delete_channel(DEFAULT, world.channel.id, at(10))
            .await
            .unwrap();
        assert_eq!(world.news(10).await, 1);
        let closed = &world.told(EventType::ConversationClosed).await[0];
        assert_eq!(closed.data["reason"], "channel_deleted");
        assert_eq!(world.conversation("thread").await.status, ConversationStatus::Closed);
        assert_eq!(world.news(2 * WINDOW).await, 0, "no window is told of any more");
        let again = world.store.connect_channel(account(ACCOUNT), credential("new"), at(20));
        again.await.unwrap();
        world.send("we are back", 30).await.unwrap();
        assert_eq!(world.conversation("thread").await.status, ConversationStatus::Open);
        assert_eq!(world.told(EventType::ConversationOpened).await.len(), 2);
        assert_eq!(world.news(WINDOW).await, 1);
        assert_eq!(world.told(EventType::WindowClosed).await.len(), 1);
        // Or when the contact does.
        world
            .store
            .delete_channel(DEFAULT, world.channel.id, at(WINDOW))
            .await
            .unwrap();
        world.news(WINDOW).await;
        let again = world
            .store
            .connect_channel(account(ACCOUNT), credential("new"), at(WINDOW));
        again.await.unwrap();
        world.hear(vec![says("m2", WINDOW)], WINDOW).await;
        assert_eq!(world.told(EventType::ConversationOpened).await.len(), 3);
    });
}
