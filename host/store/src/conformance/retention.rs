//! What is older than it is kept goes, in steps.

use weir_domain::inbound::RemoteMedia;
use weir_domain::message::{Content, Direction, Origin};

use crate::conformance::world::{DEFAULT, World, at, message, says, sent, told};
use crate::conformance::{Factory, run};
use crate::{Forgotten, KeptSince};

fn messages_since(seconds: i64) -> KeptSince {
    KeptSince {
        messages: Some(at(seconds)),
        media: None,
    }
}

pub fn what_is_old_is_forgotten_in_steps_and_what_waits_stays(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        for (id, second) in [("m1", 10), ("m2", 11), ("m3", 12)] {
            world.hear(vec![says(id, second)], second).await;
        }
        let ours = world.send("settled", 13).await.unwrap();
        let lease = world.lease(1, 13).await.remove(0);
        world.settle(&lease, sent("p1", 13), 13).await;
        let waiting = world.send("waits", 14).await.unwrap();
        world.hear(vec![says("m4", 100)], 100).await;
        let forget = |since, limit| world.store.forget(since, limit);
        // Kept for ever unless somebody says for how long.
        assert_eq!(forget(KeptSince::default(), 10).await.unwrap(), Forgotten::default());
        let first = forget(messages_since(100), 3).await.unwrap();
        assert_eq!((first.messages, first.more), (3, true));
        while forget(messages_since(100), 3).await.unwrap().more {}
        let left = world.messages("thread").await;
        assert_eq!(
            left.iter().map(|message| message.created_at).collect::<Vec<_>>(),
            [at(14), at(100)],
            "the one in the outbox, and the one that is not old"
        );
        assert!(world.store.message(DEFAULT, ours.id).await.unwrap().is_none());
        assert!(world.store.attempts(ours.id).await.unwrap().is_empty());
        assert!(world.events().await.iter().all(|event| event.timestamp >= at(100)));
        // It still goes, and a word told twice is still known.
        let lease = world.lease(1, 101).await.remove(0);
        assert_eq!(lease.message.id, waiting.id);
        assert!(world.settle(&lease, sent("p2", 101), 101).await);
        assert_eq!(world.hear(vec![says("m1", 10)], 102).await.duplicates, 1);
    });
}

pub fn an_old_attachment_goes_and_its_message_says_so(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let mut picture = told("thread", "m1", Direction::Inbound, Origin::Contact, "", 10);
        picture.content = Content::Image {
            media: RemoteMedia {
                reference: "r".into(),
                mime_type: None,
                size: None,
                filename: None,
            },
            caption: None,
        };
        world.hear(vec![message(picture)], 10).await;
        let fetch = world.store.lease_media(1, at(11)).await.unwrap().remove(0);
        world.store.media_stored(fetch.id, "image/png".into(), 7).await.unwrap();
        let since = KeptSince {
            messages: None,
            media: Some(at(10)),
        };
        assert_eq!(world.store.forget(since, 10).await.unwrap().media, []);
        let since = KeptSince {
            media: Some(at(11)),
            ..since
        };
        assert_eq!(world.store.forget(since, 10).await.unwrap().media, [fetch.id]);
        assert!(world.store.media(fetch.id).await.unwrap().is_none());
        let left = world.messages("thread").await;
        assert!(
            matches!(&left[0].content, Content::Fallback { reason, .. } if reason == "expired"),
            "{left:?}"
        );
    });
}
