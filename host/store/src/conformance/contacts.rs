//! People: found by name, told of when they are called otherwise, and forgotten whole.

use weir_domain::event::EventType;
use weir_domain::inbound::Person;
use weir_domain::message::{Direction, Origin};

use super::world::*;
use super::{Factory, run};
use crate::ConversationFilter;

pub fn an_erased_contact_leaves_nothing_and_begins_anew(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.hear(vec![says("m1", 10)], 10).await;
        let ours = world.send("hello", 20).await.unwrap();
        let waiting = world.lease(1, 20).await.remove(0);
        let contact = world.messages("thread").await[0].contact_id;
        assert_eq!(
            world.store.erase_contact("another", contact, at(30)).await.unwrap(),
            None
        );
        assert_eq!(
            world.store.erase_contact(DEFAULT, contact, at(30)).await.unwrap(),
            Some(Vec::new())
        );
        assert_eq!(world.store.erase_contact(DEFAULT, contact, at(31)).await.unwrap(), None);
        assert!(world.store.contact(DEFAULT, contact).await.unwrap().is_none());
        assert!(world.store.message(DEFAULT, ours.id).await.unwrap().is_none());
        assert!(world.store.attempts(ours.id).await.unwrap().is_empty());
        // The worker that still holds the message finds nothing to settle.
        assert!(!world.settle(&waiting, sent("p1", 32), 32).await);
        assert_eq!(world.store.next_message_due().await.unwrap(), None);
        let left = world.events().await;
        assert!(left.iter().all(|event| event.conversation_id.is_none()));
        let kinds: Vec<EventType> = left.iter().map(|event| event.kind).collect();
        assert_eq!(
            kinds[kinds.len() - 2..],
            [EventType::ConversationClosed, EventType::ContactErased]
        );
        world.hear(vec![says("m2", 40)], 40).await;
        assert_ne!(world.messages("thread").await[0].contact_id, contact);
    });
}

pub fn a_new_name_is_told_and_a_newly_signed_picture_is_not(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let as_person = |id: &str, second, person: Person| {
            let mut told = told("thread", id, Direction::Inbound, Origin::Contact, "hi", second);
            told.contact = person;
            message(told)
        };
        let resigned = Person {
            avatar_url: Some("https://example.com/jane.png?signature=2".into()),
            ..jane()
        };
        let unnamed = Person {
            platform_id: "jane".into(),
            ..Person::default()
        };
        let renamed = Person {
            display_name: Some("Jane D.".into()),
            ..jane()
        };
        world
            .hear(
                vec![
                    says("m1", 10),
                    as_person("m2", 11, resigned),
                    as_person("m3", 12, unnamed),
                ],
                12,
            )
            .await;
        assert!(world.told(EventType::ContactUpdated).await.is_empty());
        let contact = world.conversation("thread").await.contact;
        assert_eq!(contact.display_name.as_deref(), Some("Jane"));
        assert_eq!(
            contact.avatar_url.as_deref(),
            Some("https://example.com/jane.png?signature=2")
        );
        world.hear(vec![as_person("m4", 13, renamed)], 13).await;
        assert_eq!(
            world.told(EventType::ContactUpdated).await[0].data["display_name"],
            "Jane D."
        );
        assert_eq!(
            world
                .store
                .contacts(DEFAULT, Some(world.channel.id), page())
                .await
                .unwrap()
                .rows
                .len(),
            1
        );
    });
}

pub fn what_a_contact_wrote_is_unread_until_somebody_looks_or_answers(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.hear(vec![says("m1", 1), says("m2", 2)], 2).await;
        let thread = world.conversation("thread").await;
        assert_eq!(thread.unread, 2);
        world.store.looked_at("another", thread.id).await.unwrap();
        assert_eq!(world.conversation("thread").await.unread, 2);
        world.store.looked_at(DEFAULT, thread.id).await.unwrap();
        assert_eq!(world.conversation("thread").await.unread, 0);
        world.hear(vec![says("m3", 3)], 3).await;
        assert_eq!(world.conversation("thread").await.unread, 1);
        // Who answers has read, from here or from the platform's app.
        world.hear(vec![echo("m4", Origin::App, "ours", 4)], 4).await;
        assert_eq!(world.conversation("thread").await.unread, 0);
        world.hear(vec![says("m5", 5)], 5).await;
        let draft = world.draft(thread.id, "answer");
        world.store.enqueue(draft, &world.book, at(6)).await.unwrap();
        assert_eq!(world.conversation("thread").await.unread, 0);
        let newest = world.store.last_messages(vec![thread.id, world.id()]).await.unwrap();
        assert_eq!(newest.len(), 1);
        assert_eq!(newest[&thread.id].sequence, 6);
    });
}

pub fn a_conversation_is_found_by_its_contacts_name(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.hear(vec![says("m1", 1)], 1).await;
        let found = async |name: &str| {
            let filter = ConversationFilter {
                channel: None,
                name: Some(name.to_owned()),
            };
            world
                .store
                .conversations(DEFAULT, filter, page())
                .await
                .unwrap()
                .rows
                .len()
        };
        let username = jane().username.unwrap();
        assert_eq!(found(&username).await, 1);
        assert_eq!(found(&username[1..3].to_uppercase()).await, 1);
        assert_eq!(found("nobody").await, 0);
        // What a pattern would mean by these is not meant.
        assert_eq!(found("%").await, 0);
        assert_eq!(found("j%").await, 0);
        assert_eq!(found("!").await, 0);
    });
}
