//! Keys, apps, connectors and accounts are stored as given.

use std::collections::{BTreeMap, BTreeSet};

use weir_domain::channel::ChannelStatus;
use weir_domain::event::EventType;
use weir_domain::id::ChannelId;

use super::world::*;
use super::{Factory, run};
use crate::{ChannelPatch, ConversationFilter, HistoryGap, NewChannel, Page, StateWrite};

pub fn a_set_up_is_due_until_it_is_done(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let store = &world.store;
        let new = NewChannel {
            set_up_at: Some(at(180)),
            ..account("new")
        };
        let (channel, _) = store.connect_channel(new, credential("first"), at(0)).await.unwrap();
        let due = async |second| {
            let due = store.set_ups_due(at(second), 10).await.unwrap();
            due.iter().map(|channel| channel.id).collect::<Vec<_>>()
        };
        assert!(due(179).await.is_empty());
        assert_eq!(due(180).await, [channel.id]);
        // The process ended before the result was reported.
        assert_eq!(store.resume_set_ups(at(10)).await.unwrap(), 1);
        assert_eq!(due(10).await, [channel.id]);
        let shown = store.channel(DEFAULT, channel.id).await.unwrap().unwrap();
        assert_eq!(shown.status, ChannelStatus::Degraded);
        assert_eq!(world.events_of(EventType::ChannelDegraded).await.len(), 1);
        // Each failure makes the wait longer.
        store.set_up_failed(DEFAULT, channel.id, at(10)).await.unwrap();
        assert_eq!((due(69).await.len(), due(70).await.len()), (0, 1));
        store.set_up_failed(DEFAULT, channel.id, at(70)).await.unwrap();
        assert_eq!((due(189).await.len(), due(190).await.len()), (0, 1));
        store.set_up_done(DEFAULT, channel.id).await.unwrap();
        assert!(due(1_000_000).await.is_empty());
        assert_eq!(store.resume_set_ups(at(1_000_000)).await.unwrap(), 0);
    });
}

pub fn reconnected_account_keeps_id_and_name(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let patch = ChannelPatch {
            name: Some("My shop".into()),
            ..ChannelPatch::default()
        };
        world
            .store
            .update_channel(DEFAULT, world.channel.id, patch, at(1))
            .await
            .unwrap();
        let mut renewed = account(ACCOUNT);
        renewed.username = Some("new_handle".into());
        let (channel, new) = world
            .store
            .connect_channel(renewed.clone(), credential("second"), at(2))
            .await
            .unwrap();
        assert!(!new);
        assert_eq!((channel.id, channel.name.as_str()), (world.channel.id, "My shop"));
        assert_eq!(channel.username.as_deref(), Some("new_handle"));
        let id = world.channel.id;
        assert_eq!(
            world.store.credential(DEFAULT, id).await.unwrap().unwrap(),
            credential("second")
        );
        world.store.delete_channel(DEFAULT, id, at(3)).await.unwrap();
        assert!(
            world
                .store
                .channels(DEFAULT, BTreeSet::new(), false, page())
                .await
                .unwrap()
                .rows
                .is_empty()
        );
        assert_eq!(
            world
                .store
                .channels(DEFAULT, BTreeSet::new(), true, page())
                .await
                .unwrap()
                .rows
                .len(),
            1
        );
        let (back, new) = world
            .store
            .connect_channel(renewed, credential("third"), at(4))
            .await
            .unwrap();
        assert!(!new);
        assert_eq!(
            (back.id, back.status, back.deleted_at),
            (id, ChannelStatus::Connected, None)
        );
        assert_eq!(world.events_of(EventType::ChannelConnected).await.len(), 2);
    });
}

pub fn operator_change_emits_channel_event(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let patch = ChannelPatch {
            labels: Some([("team".to_owned(), "north".to_owned())].into()),
            ..ChannelPatch::default()
        };
        let changed = world
            .store
            .update_channel(DEFAULT, world.channel.id, patch, at(1))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((changed.name.as_str(), changed.updated_at), ("The Shop", at(1)));
        let events = world.events_of(EventType::ChannelUpdated).await;
        let shown = weir_domain::event::Channel::from(changed.clone());
        assert_eq!(events[0].data, serde_json::to_value(shown).unwrap());
        assert_eq!(events[0].channel_id, Some(changed.id));
        assert_eq!(world.store.channel(DEFAULT, changed.id).await.unwrap(), Some(changed));
        let missing: ChannelId = world.id();
        assert!(
            world
                .store
                .update_channel(DEFAULT, missing, ChannelPatch::default(), at(2))
                .await
                .unwrap()
                .is_none()
        );
    });
}

pub fn credential_round_trips_and_dies_with_channel(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let id = world.channel.id;
        assert_eq!(
            world.store.credential(DEFAULT, id).await.unwrap(),
            Some(credential("token"))
        );
        let put = async |old, new| {
            let put = world
                .store
                .put_credential(DEFAULT, id, credential(old), credential(new), at(1));
            put.await.unwrap()
        };
        assert!(put("token", "rotated").await);
        assert_eq!(
            world.store.credential(DEFAULT, id).await.unwrap(),
            Some(credential("rotated"))
        );
        // A repeated write of the same changes nothing; one based on another credential is rejected.
        assert!(put("token", "rotated").await);
        assert!(!put("token", "of the old grant").await);
        assert_eq!(
            world.store.credential(DEFAULT, id).await.unwrap(),
            Some(credential("rotated"))
        );
        world.store.delete_channel(DEFAULT, id, at(1)).await.unwrap();
        assert_eq!(world.store.credential(DEFAULT, id).await.unwrap(), None);
        // A renewal in progress does not undo the deletion.
        assert!(!put("rotated", "late").await);
        assert_eq!(world.store.credential(DEFAULT, id).await.unwrap(), None);
    });
}

pub fn a_renewed_credential_recovers_its_channel(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let (store, id) = (&world.store, world.channel.id);
        let dead = ChannelStatus::ReauthorizationRequired;
        store
            .set_channel_status(DEFAULT, id, dead, "refused", at(1))
            .await
            .unwrap();
        let put = store.put_credential(DEFAULT, id, credential("token"), credential("rotated"), at(2));
        assert!(put.await.unwrap());
        let channel = store.channel(DEFAULT, id).await.unwrap().unwrap();
        assert_eq!(channel.status, ChannelStatus::Connected);
        assert_eq!(world.events_of(EventType::ChannelRecovered).await.len(), 1);
    });
}

pub fn a_renewal_without_an_end_is_due(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let (store, id) = (&world.store, world.channel.id);
        store.begin_renewal(DEFAULT, id, at(1)).await.unwrap();
        assert_eq!(store.renewal_started(DEFAULT, id).await.unwrap(), Some(at(1)));
        assert_eq!(
            store.credentials_due(at(2), 10).await.unwrap(),
            [(DEFAULT.to_owned(), id)]
        );
        store.end_renewal(DEFAULT, id).await.unwrap();
        assert!(store.credentials_due(at(2), 10).await.unwrap().is_empty());
        store.begin_renewal(DEFAULT, id, at(3)).await.unwrap();
        let put = store.put_credential(DEFAULT, id, credential("token"), credential("rotated"), at(4));
        assert!(put.await.unwrap());
        assert_eq!(store.renewal_started(DEFAULT, id).await.unwrap(), None);
    });
}

pub fn credentials_are_due_soonest_first(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let mut soon = credential("soon");
        soon.expires_at = Some(at(100));
        let (second, _) = world
            .store
            .connect_channel(account("second"), soon, at(0))
            .await
            .unwrap();
        let mut never = credential("never");
        never.expires_at = None;
        world
            .store
            .connect_channel(account("third"), never, at(0))
            .await
            .unwrap();
        let due = async |second, limit| {
            let due = world.store.credentials_due(at(second), limit).await?;
            Ok::<_, crate::StoreError>(due.into_iter().map(|(_, channel)| channel).collect::<Vec<_>>())
        };
        assert!(due(100, 10).await.unwrap().is_empty());
        assert_eq!(due(101, 10).await.unwrap(), [second.id]);
        assert_eq!(due(100_000, 10).await.unwrap(), [second.id, world.channel.id]);
        assert_eq!(due(100_000, 1).await.unwrap(), [second.id]);
        // A revoked authorization cannot be renewed without a person.
        let dead = ChannelStatus::ReauthorizationRequired;
        world
            .store
            .set_channel_status(DEFAULT, second.id, dead, "revoked", at(1))
            .await
            .unwrap();
        assert_eq!(due(100_000, 10).await.unwrap(), [world.channel.id]);
    });
}

pub fn state_is_written_all_at_once(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let write = |key: &str, value: Option<&[u8]>| StateWrite {
            by: "1.0.0".into(),
            key: key.into(),
            value: value.map(<[u8]>::to_vec),
        };
        let id = world.channel.id;
        let writes = vec![write("a", Some(b"1")), write("b", Some(b"\0\xff"))];
        world.store.commit_state(DEFAULT, id, writes).await.unwrap();
        let writes = vec![write("a", None), write("b", Some(b"2")), write("c", Some(b""))];
        world.store.commit_state(DEFAULT, id, writes).await.unwrap();
        let expected: BTreeMap<String, Vec<u8>> = [("b".into(), b"2".to_vec()), ("c".into(), Vec::new())].into();
        assert_eq!(world.store.state(DEFAULT, id).await.unwrap().entries, expected);
    });
}

pub fn lists_go_on_where_they_stopped(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let many = (0..7)
            .map(|n| contact_writes_in(&format!("t{n}"), &format!("m{n}"), 10 + n / 2))
            .collect();
        world.receive(many, 20).await;
        let all = world
            .store
            .conversations(DEFAULT, ConversationFilter::default(), page())
            .await
            .unwrap();
        assert_eq!((all.rows.len(), all.next), (7, None));
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let part = Page { limit: 2, cursor };
            let listed = world
                .store
                .conversations(DEFAULT, of(world.channel.id), part)
                .await
                .unwrap();
            seen.extend(listed.rows);
            cursor = listed.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, all.rows);
        assert!(
            seen.windows(2)
                .all(|pair| pair[0].last_message_at >= pair[1].last_message_at)
        );
        let unreadable = Page {
            limit: 2,
            cursor: Some("'; DROP TABLE conversations; --".into()),
        };
        let anew = world
            .store
            .conversations(DEFAULT, ConversationFilter::default(), unreadable)
            .await
            .unwrap();
        assert_eq!(anew.rows, all.rows[..2]);
    });
}

pub fn a_history_gap_is_kept_until_it_is_read(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let gap = |since, attempts, due_at: Option<i64>| HistoryGap {
            channel: world.channel.id,
            conversation: "thread".into(),
            contact: Some("jane".into()),
            answered: true,
            since: at(since),
            attempts,
            due_at: due_at.map(at),
            detail: "refused".into(),
        };
        world
            .store
            .keep_history_gap(DEFAULT, gap(10, 1, Some(60)))
            .await
            .unwrap();
        assert!(world.store.history_gaps_due(10, at(59)).await.unwrap().is_empty());
        assert_eq!(
            world.store.history_gaps_due(10, at(60)).await.unwrap(),
            [(DEFAULT.to_owned(), gap(10, 1, Some(60)))]
        );
        // Requested from a later moment, it is still missing from the earlier one.
        world.store.keep_history_gap(DEFAULT, gap(20, 2, None)).await.unwrap();
        assert!(world.store.history_gaps_due(10, at(9_999)).await.unwrap().is_empty());
        assert_eq!(
            world.store.history_gaps(DEFAULT, world.channel.id).await.unwrap(),
            [gap(10, 2, None)]
        );
        world
            .store
            .close_history_gap(DEFAULT, world.channel.id, "thread")
            .await
            .unwrap();
        assert!(
            world
                .store
                .history_gaps(DEFAULT, world.channel.id)
                .await
                .unwrap()
                .is_empty()
        );
    });
}
