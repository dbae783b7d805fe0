//! Data past its retention is deleted, in steps.

use weir_domain::event::EventType;
use weir_domain::inbound::{ReceiptStatus, RemoteMedia};
use weir_domain::limits;
use weir_domain::message::{Content, Direction, Origin};

use crate::conformance::events;
use crate::conformance::ledger::{apps, letter};
use crate::conformance::world::{DEFAULT, World, at, contact_writes, message, page, receipt, sent, thread_message};
use crate::conformance::{Factory, run};
use crate::{EndpointPatch, Forgotten, KeptSince};

fn messages_since(seconds: i64) -> KeptSince {
    KeptSince {
        messages: Some(at(seconds)),
        ..KeptSince::default()
    }
}

pub fn old_rows_are_deleted_in_steps_pending_stay(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        for (id, second) in [("m1", 10), ("m2", 11), ("m3", 12)] {
            world.receive(vec![contact_writes(id, second)], second).await;
        }
        let ours = world.send("settled", 13).await.unwrap();
        let lease = world.lease(1, 13).await.remove(0);
        world.settle(&lease, sent("p1", 13), 13).await;
        let waiting = world.send("waits", 14).await.unwrap();
        world.receive(vec![contact_writes("m4", 100)], 100).await;
        let forget = |since, limit| world.store.forget(since, limit);
        // Kept forever without a configured retention.
        assert_eq!(forget(KeptSince::default(), 10).await.unwrap(), Forgotten::default());
        let first = forget(messages_since(100), 3).await.unwrap();
        assert_eq!((first.messages, first.more), (3, true));
        while forget(messages_since(100), 3).await.unwrap().more {}
        let left = world.messages("thread").await;
        assert_eq!(
            left.iter().map(|message| message.created_at).collect::<Vec<_>>(),
            [at(100), at(14)],
            "the one that is not old, and the one in the outbox, which comes last"
        );
        assert!(world.store.message(DEFAULT, ours.id).await.unwrap().is_none());
        assert!(world.store.attempts(DEFAULT, ours.id).await.unwrap().is_empty());
        assert!(world.events().await.iter().all(|event| event.timestamp >= at(100)));
        // It is still sent, and a repeated fact is still recognized.
        let lease = world.lease(1, 101).await.remove(0);
        assert_eq!(lease.message.id, waiting.id);
        assert!(world.settle(&lease, sent("p2", 101), 101).await);
        assert_eq!(world.receive(vec![contact_writes("m1", 10)], 102).await.duplicates, 1);
    });
}

pub fn disabled_endpoint_counts_missed_events(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let off = events::add(&world, &["message.received"]).await;
        for second in 10..20 {
            world
                .receive(vec![contact_writes(&format!("m{second}"), second)], second)
                .await;
        }
        let patch = EndpointPatch {
            enabled: Some(false),
            ..EndpointPatch::default()
        };
        world
            .store
            .update_endpoint(DEFAULT, off.id, patch, at(20))
            .await
            .unwrap();
        // An enabled endpoint waits for the newest of the old ones, which stays, and the rest are deleted.
        let on = events::add(&world, &["message.received"]).await;
        world.receive(vec![contact_writes("m20", 20)], 20).await;
        world.receive(vec![contact_writes("m21", 90)], 90).await;
        world.receive(vec![contact_writes("m100", 100)], 100).await;
        let mut since = messages_since(100);
        let mut missed = 0;
        loop {
            let step = world.store.forget(since, 3).await.unwrap();
            missed += step.missed.get(&off.id).copied().unwrap_or_default();
            since.place = step.place;
            if !step.more {
                break;
            }
        }
        let left = world.events().await;
        let awaited = |second| {
            left.iter()
                .any(|event| event.timestamp == at(second) && event.kind == EventType::MessageReceived)
        };
        assert!(left.iter().all(|event| event.timestamp >= at(20)), "{left:?}");
        assert!(awaited(20) && awaited(90) && awaited(100));
        let shown = async |id| world.store.endpoint(DEFAULT, id).await.unwrap().unwrap().missed;
        assert_eq!((missed, shown(off.id).await, shown(on.id).await), (10, 10, 0));
    });
}

/// A picture that a contact sent.
fn picture(id: &str, second: i64) -> weir_domain::inbound::InboundMessage {
    let mut picture = thread_message("thread", id, Direction::Inbound, Origin::Contact, "", second);
    picture.content = Content::Image {
        media: RemoteMedia {
            reference: "r".into(),
            mime_type: None,
            size: None,
            filename: None,
        },
        caption: None,
    };
    picture
}

pub fn a_file_of_an_erased_contact_is_written_down_until_removed(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let to_remove = async || world.store.files_to_remove(10).await.unwrap();
        world.receive(vec![message(picture("m1", 10))], 10).await;
        world.receive(vec![message(picture("m2", 10))], 10).await;
        let fetches = world.store.lease_media(2, at(11)).await.unwrap();
        let (here, late) = (fetches[0].id, fetches[1].id);
        world
            .store
            .media_stored(DEFAULT, here, "image/png".into(), 7, at(11))
            .await
            .unwrap();
        assert_eq!(
            world
                .store
                .media_without_row(vec![here, world.id()])
                .await
                .unwrap()
                .len(),
            1
        );
        let contact = world.messages("thread").await[0].contact_id;
        assert!(
            world
                .store
                .erase_contact(DEFAULT, contact, at(12))
                .await
                .unwrap()
                .is_some()
        );
        let mut both = vec![here, late];
        both.sort();
        assert_eq!(to_remove().await, both);
        world.store.files_removed(both).await.unwrap();
        assert_eq!(to_remove().await, []);
        // A fetch that ends after the erasure has created a file that must be deleted.
        world
            .store
            .media_stored(DEFAULT, late, "image/png".into(), 7, at(13))
            .await
            .unwrap();
        assert_eq!(to_remove().await, [late]);
    });
}

pub fn expired_attachment_is_marked_on_its_message(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![message(picture("m1", 10))], 10).await;
        let fetch = world.store.lease_media(1, at(11)).await.unwrap().remove(0);
        world
            .store
            .media_stored(DEFAULT, fetch.id, "image/png".into(), 7, at(20))
            .await
            .unwrap();
        let since = KeptSince {
            media: Some(at(10)),
            ..KeptSince::default()
        };
        assert_eq!(world.store.forget(since, 10).await.unwrap().media, 0);
        assert!(world.store.files_to_remove(10).await.unwrap().is_empty());
        let since = KeptSince {
            media: Some(at(11)),
            ..since
        };
        assert_eq!(world.store.forget(since, 10).await.unwrap().media, 1);
        assert_eq!(world.store.files_to_remove(10).await.unwrap(), [fetch.id]);
        world.store.files_removed(vec![fetch.id]).await.unwrap();
        assert!(world.store.files_to_remove(10).await.unwrap().is_empty());
        assert!(world.store.media(DEFAULT, fetch.id).await.unwrap().is_none());
        let left = world.messages("thread").await;
        assert!(
            matches!(&left[0].content, Content::Fallback { reason, .. } if reason == "expired"),
            "{left:?}"
        );
    });
}

pub fn old_dead_letters_go_oldest_first_and_are_counted_no_more(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        for second in 0..5 {
            let kept = world.store.keep_dead_letter(letter(&world, "example", second));
            kept.await.unwrap();
        }
        let since = KeptSince {
            dead_letters: Some(at(3)),
            ..KeptSince::default()
        };
        let first = world.store.forget(since, 2).await.unwrap();
        assert_eq!((first.dead_letters, first.more), (2, true));
        let second = world.store.forget(since, 2).await.unwrap();
        assert_eq!((second.dead_letters, second.more), (1, false));
        let left = world.store.dead_letters(apps(["example"]), page()).await.unwrap().rows;
        let left: Vec<_> = left.iter().map(|letter| letter.received_at).collect();
        assert_eq!(left, [at(4), at(3)]);
        assert_eq!(world.store.depths().await.unwrap().dead_letters, 2);
    });
}

pub fn deduplication_keys_live_a_week(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let kept = i64::try_from(limits::SEEN.as_secs()).unwrap();
        let forget = async |seconds: i64| {
            let since = KeptSince {
                seen: Some(at(seconds).before(limits::SEEN)),
                ..KeptSince::default()
            };
            let mut gone = 0;
            loop {
                let step = world.store.forget(since, 2).await.unwrap();
                assert!(step.seen <= 2, "{step:?}");
                gone += step.seen;
                if !step.more {
                    return gone;
                }
            }
        };
        // Receipts without a message: recognized only by their keys.
        let tell = async |second: i64, key: &str| {
            world
                .receive(vec![receipt(key, "p", ReceiptStatus::Read)], second)
                .await
        };
        let days = [0, 1, 2, 3, 4, 5, 6].map(|day| day * 24 * 3600);
        for day in days {
            assert_eq!(tell(day, &format!("r{day}")).await.stored, 1);
        }
        let mut gone = 0;
        // Repeated a whole span later each is still recognized, whatever part of a span it first arrived in.
        for day in days {
            let again = day + kept;
            gone += forget(again).await;
            assert_eq!(tell(again, &format!("r{day}")).await.duplicates, 1, "{day}");
        }
        // A clock that is set back recognizes earlier facts.
        assert_eq!(tell(0, &format!("r{}", days[6])).await.duplicates, 1);
        gone += forget(10 * kept).await;
        assert_eq!(gone, 7);
        assert_eq!(tell(10 * kept, "r0").await.stored, 1);
    });
}
