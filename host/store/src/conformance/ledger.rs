//! Data besides the traffic: dead letters, refusals, the audit log, stored responses, and the database as a whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::signature::RawWebhook;
use weir_domain::time::Timestamp;

use super::events::add;
use super::world::*;
use super::{Factory, run};
use crate::{AuditEntry, DeadLetter, Listed, Page, RefusalCount, RefusalRecord, RefusedWhat, StoreError};

pub(super) fn letter(world: &World, app: &str, second: i64) -> DeadLetter {
    DeadLetter {
        id: world.id(),
        app: app.into(),
        version: "1.0.0".into(),
        reason: "the connector trapped".into(),
        received_at: at(second),
        webhook: RawWebhook {
            method: "POST".into(),
            query: "a=b".into(),
            headers: vec![("x-signature".into(), "abc".into())],
            body: Bytes::from_static(b"{\"not\": \xff}"),
        },
    }
}

/// A set of these app names.
pub(super) fn apps<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

pub fn dead_letter_page_is_filled_after_filtering(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        for second in 0..6 {
            let app = if second % 2 == 0 { "example" } else { "another" };
            let kept = world.store.keep_dead_letter(letter(&world, app, second));
            kept.await.unwrap();
        }
        let mut page = Page { limit: 2, cursor: None };
        let first = world.store.dead_letters(apps(["example"]), page.clone()).await.unwrap();
        let times = |listed: &Listed<DeadLetter>| -> Vec<Timestamp> {
            listed.rows.iter().map(|letter| letter.received_at).collect()
        };
        assert_eq!(times(&first), [at(4), at(2)]);
        page.cursor = first.next;
        let last = world.store.dead_letters(apps(["example"]), page.clone()).await.unwrap();
        assert_eq!((times(&last), last.next), (vec![at(0)], None));
        page.cursor = None;
        page.limit = 100;
        let both = world.store.dead_letters(apps(["another", "example"]), page.clone());
        assert_eq!(both.await.unwrap().rows.len(), 6);
        let none = world.store.dead_letters(apps([]), page).await.unwrap();
        assert!(none.rows.is_empty());
    });
}

pub fn dead_letters_are_kept_whole_and_dropped_once(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let (first, second) = (letter(&world, "example", 1), letter(&world, "example", 2));
        world.store.keep_dead_letter(first.clone()).await.unwrap();
        world.store.keep_dead_letter(second.clone()).await.unwrap();
        let listed = world.store.dead_letters(apps(["example"]), page()).await.unwrap().rows;
        assert_eq!(
            listed.iter().map(|letter| letter.id).collect::<Vec<_>>(),
            [second.id, first.id]
        );
        assert!(listed[0].webhook.body.is_empty());
        let whole = world.store.dead_letter(DEFAULT, first.id).await.unwrap().unwrap();
        assert_eq!(whole.webhook.body, first.webhook.body);
        assert_eq!(whole.webhook.headers, first.webhook.headers);
        assert_eq!(world.store.depths().await.unwrap().dead_letters, 2);
        assert!(world.store.drop_dead_letter(DEFAULT, first.id).await.unwrap());
        assert!(!world.store.drop_dead_letter(DEFAULT, first.id).await.unwrap());
        assert_eq!(world.store.depths().await.unwrap().dead_letters, 1);
    });
}

pub fn dead_letters_at_their_bound_are_refused_and_none_is_lost(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let first = letter(&world, "example", 1);
        world.store.keep_dead_letter(first.clone()).await.unwrap();
        let rest: Vec<u32> = (1..limits::DEAD_LETTERS).collect();
        for some in rest.chunks(limits::WRITE_QUEUE / 4) {
            let mut keeping = tokio::task::JoinSet::new();
            for _ in some {
                let (store, letter) = (Arc::clone(&world.store), letter(&world, "example", 2));
                keeping.spawn(async move { store.keep_dead_letter(letter).await.unwrap() });
            }
            keeping.join_all().await;
        }
        assert_eq!(
            world.store.depths().await.unwrap().dead_letters_of_one_app,
            u64::from(limits::DEAD_LETTERS)
        );
        let full = world.store.keep_dead_letter(letter(&world, "example", 3)).await;
        assert!(matches!(full, Err(StoreError::Unavailable { .. })), "{full:?}");
        assert!(
            world.store.dead_letter(DEFAULT, first.id).await.unwrap().is_some(),
            "the oldest stays"
        );
        // Another app has its own capacity; and capacity is free again once one is deleted.
        world
            .store
            .keep_dead_letter(letter(&world, "another", 3))
            .await
            .unwrap();
        assert!(world.store.drop_dead_letter(DEFAULT, first.id).await.unwrap());
        world
            .store
            .keep_dead_letter(letter(&world, "example", 4))
            .await
            .unwrap();
    });
}

pub fn refusals_and_changes_can_be_looked_up(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let refusal = RefusalRecord {
            id: world.id(),
            workspace_id: DEFAULT.into(),
            channel_id: Some(world.channel.id),
            conversation_id: None,
            message_id: None,
            about: RefusedWhat::Send,
            whom: world.channel.id.to_string(),
            rule: "reply_window_closed".into(),
            detail: "the messaging window closed".into(),
            facts: serde_json::json!({"closed_at": at(1)}),
            changes: "when the contact writes".into(),
            remedy: "wait".into(),
            at: at(2),
        };
        world.store.keep_refusal(refusal.clone()).await.unwrap();
        assert_eq!(
            world.store.refusal(DEFAULT, refusal.id).await.unwrap().as_ref(),
            Some(&refusal)
        );
        assert_eq!(world.store.refusal("another", refusal.id).await.unwrap(), None);
        let all = BTreeSet::new;
        assert_eq!(
            world.store.refusals(DEFAULT, all(), page()).await.unwrap().rows,
            std::slice::from_ref(&refusal)
        );
        let entry = |action: &str| AuditEntry {
            at: at(3),
            workspace_id: DEFAULT.into(),
            actor: "host".into(),
            action: action.into(),
            subject: "example".into(),
            detail: serde_json::json!({}),
        };
        world.store.audit(entry("app.put")).await.unwrap();
        world.store.audit(entry("key.create")).await.unwrap();
        let log = world.store.audit_log(DEFAULT, page()).await.unwrap().rows;
        assert_eq!(log, [entry("key.create"), entry("app.put")]);
        // Deleted by age, and still counted.
        assert_eq!(world.store.forget_ledgers(at(2), at(3)).await.unwrap(), 0);
        assert_eq!(world.store.forget_ledgers(at(3), at(4)).await.unwrap(), 3);
        assert_eq!(world.store.forget_ledgers(at(3), at(4)).await.unwrap(), 0);
        assert!(
            world
                .store
                .refusals(DEFAULT, all(), page())
                .await
                .unwrap()
                .rows
                .is_empty()
        );
        assert!(world.store.audit_log(DEFAULT, page()).await.unwrap().rows.is_empty());
        let again = RefusalRecord {
            id: world.id(),
            at: at(9),
            ..refusal.clone()
        };
        world.store.keep_refusal(again.clone()).await.unwrap();
        let counts = world.store.refusal_counts(DEFAULT, all(), 10).await.unwrap();
        let expected = RefusalCount {
            about: refusal.about,
            whom: refusal.whom,
            rule: refusal.rule,
            count: 2,
            first_at: at(2),
            last_at: at(9),
            last: again.id,
        };
        assert_eq!(counts, [expected]);
        assert!(
            world
                .store
                .refusal_counts("another", all(), 10)
                .await
                .unwrap()
                .is_empty()
        );
    });
}

pub fn refusals_are_filtered_by_channel(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let store = &world.store;
        let [mine, other, third]: [ChannelId; 3] = [world.id(), world.id(), world.id()];
        let refused = async |second, channel: Option<ChannelId>, about| {
            let refusal = RefusalRecord {
                id: world.id(),
                workspace_id: DEFAULT.into(),
                channel_id: channel,
                conversation_id: None,
                message_id: None,
                about,
                whom: match (about, channel) {
                    (RefusedWhat::Send, Some(channel)) => channel.to_string(),
                    _ => "example".into(),
                },
                rule: "rule".into(),
                detail: "no".into(),
                facts: serde_json::json!({}),
                changes: String::new(),
                remedy: String::new(),
                at: at(second),
            };
            store.keep_refusal(refusal.clone()).await.unwrap();
            refusal.id
        };
        let first = refused(1, Some(mine), RefusedWhat::Send).await;
        let second = refused(2, Some(third), RefusedWhat::Send).await;
        refused(3, Some(other), RefusedWhat::Send).await;
        let call = refused(4, Some(mine), RefusedWhat::Request).await;
        refused(5, None, RefusedWhat::Grant).await;
        let again = refused(6, Some(mine), RefusedWhat::Send).await;
        let of: BTreeSet<ChannelId> = [mine, third].into();
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = Page { limit: 1, cursor };
            let listed = store.refusals(DEFAULT, of.clone(), page).await.unwrap();
            seen.extend(listed.rows.into_iter().map(|refusal| refusal.id));
            cursor = listed.next;
            if cursor.is_none() {
                break;
            }
        }
        let mut expected = vec![first, second, call, again];
        expected.sort();
        expected.reverse();
        assert_eq!(seen, expected);
        let counts = store.refusal_counts(DEFAULT, of.clone(), 10).await.unwrap();
        let counts: Vec<_> = counts.into_iter().map(|count| (count.whom, count.count)).collect();
        assert_eq!(counts, [(mine.to_string(), 2), (third.to_string(), 1)]);
        assert!(
            store
                .refusals("another", of.clone(), page())
                .await
                .unwrap()
                .rows
                .is_empty()
        );
        assert!(store.refusal_counts("another", of, 10).await.unwrap().is_empty());
    });
}

pub fn store_reports_queue_depths(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        add(&world, &["message.received"]).await;
        world
            .receive(vec![contact_writes("m1", 10), contact_writes_in("other", "m2", 11)], 11)
            .await;
        world.send("one", 20).await.unwrap();
        let lease = world.lease(1, 20).await.remove(0);
        world.settle(&lease, uncertain_outcome(), 21).await;
        world.send("two", 22).await.unwrap();
        world.send_in("other", "three", 23).await.unwrap();
        let depths = world.store.depths().await.unwrap();
        assert_eq!(
            (depths.outbox, depths.outbox_oldest_at, depths.uncertain),
            (2, Some(at(22)), 1)
        );
        assert_eq!((depths.deliveries, depths.deliveries_oldest_at), (2, Some(at(11))));
        assert_eq!((depths.media, depths.dead_letters), (0, 0));
        assert_eq!(depths.uncertain_oldest_at, Some(at(20)));
        assert_eq!((depths.media_oldest_at, depths.dead_letters_oldest_at), (None, None));
    });
}

pub fn closed_database_is_reported(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.store.close().await;
        world.store.close().await;
        assert!(matches!(world.store.ping().await, Err(StoreError::Unavailable { .. })));
        let write = world.store.commit_state(DEFAULT, world.channel.id, Vec::new()).await;
        assert!(matches!(write, Err(StoreError::Unavailable { .. })));
    });
}
