//! Contacts: found by name, reported when their names change, and erased completely.

use std::collections::BTreeSet;

use weir_domain::claim::Claimed;
use weir_domain::event::EventType;
use weir_domain::inbound::{Fact, InboundMessage, Person};
use weir_domain::message::{Attachment, Content, Direction, MediaStatus, Origin, Status};

use super::ledger::{apps, letter};
use super::world::*;
use super::{Factory, run};
use crate::{
    ConversationFilter, Erasing, HistoryGap, Media, StateMove, StateWrite, StoredResponse, TranscriptFilter,
    TranscriptRecord,
};

pub fn erased_contact_leaves_nothing_and_starts_fresh(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let ours = world.send("hello", 20).await.unwrap();
        let waiting = world.lease(1, 20).await.remove(0);
        let contact = world.messages("thread").await[0].contact_id;
        assert_eq!(
            world.store.erase_contact("another", contact, at(30)).await.unwrap(),
            None
        );
        let erased = world
            .store
            .erase_contact(DEFAULT, contact, at(30))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((erased.removed.conversations, erased.removed.messages), (1, 2));
        assert_eq!(erased.media, []);
        assert_eq!(world.store.erase_contact(DEFAULT, contact, at(31)).await.unwrap(), None);
        assert!(world.store.contact(DEFAULT, contact).await.unwrap().is_none());
        assert!(world.store.message(DEFAULT, ours.id).await.unwrap().is_none());
        assert!(world.store.attempts(DEFAULT, ours.id).await.unwrap().is_empty());
        // The worker that still has the lease finds nothing to settle.
        assert!(!world.settle(&waiting, sent("p1", 32), 32).await);
        assert_eq!(world.store.next_message_due(Vec::new()).await.unwrap(), None);
        let left = world.events().await;
        assert!(left.iter().all(|event| event.conversation_id.is_none()));
        let kinds: Vec<EventType> = left.iter().map(|event| event.kind).collect();
        assert_eq!(
            kinds[kinds.len() - 2..],
            [EventType::ConversationClosed, EventType::ContactErased]
        );
        world.receive(vec![contact_writes("m2", 40)], 40).await;
        assert_ne!(world.messages("thread").await[0].contact_id, contact);
    });
}

/// Executes the steps of all erasures.
async fn erase_all(world: &World) {
    while world.store.erase_on().await.unwrap() == Erasing::More {}
    assert_eq!(world.store.erase_on().await.unwrap(), Erasing::Over);
}

pub fn an_erasure_ends_what_waits_for_the_person(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let store = &world.store;
        // Before the conversations: stored until they begin.
        world.receive(vec![read_up_to("r1", 12)], 9).await;
        world
            .receive(vec![contact_writes("m1", 10), contact_writes_in("other", "m2", 10)], 10)
            .await;
        let hers = world.conversation("thread").await;
        let gap = |conversation: &str, contact: Option<&str>, detail: &str| HistoryGap {
            channel: world.channel.id,
            conversation: conversation.into(),
            contact: contact.map(str::to_owned),
            answered: false,
            since: at(1),
            attempts: 1,
            due_at: Some(at(60)),
            detail: detail.into(),
        };
        for gap in [
            gap("thread", None, "refused"),
            gap("elsewhere", Some("jane"), "refused"),
            gap("named", None, "the platform refuses: jane is unknown"),
            gap("other", Some("person-other"), "refused"),
        ] {
            store.keep_history_gap(DEFAULT, gap).await.unwrap();
        }
        store
            .erase_contact(DEFAULT, hers.contact.id, at(20))
            .await
            .unwrap()
            .unwrap();
        let left = store.history_gaps(DEFAULT, world.channel.id).await.unwrap();
        let left: Vec<_> = left.iter().map(|gap| gap.conversation.as_str()).collect();
        assert_eq!(left, ["other"]);
        erase_all(&world).await;
        // A stored read receipt would be the person's data.
        world
            .receive(vec![echo("e1", Origin::App, "Hello again", 11)], 21)
            .await;
        assert_eq!(world.messages("thread").await[0].status, Status::Sent);
    });
}

pub fn an_erasure_finds_the_person_in_documents(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let store = &world.store;
        world
            .receive(vec![contact_writes("m1", 10), contact_writes_in("other", "m2", 11)], 11)
            .await;
        let (hers, other) = (world.conversation("thread").await, world.conversation("other").await);
        // An event without a conversation: the platform was queried about the person.
        let renamed = Person {
            display_name: Some("Jane D.".into()),
            ..jane()
        };
        store
            .update_contact(DEFAULT, world.channel.id, renamed, at(12))
            .await
            .unwrap();
        for body in [
            r#"{"from":"jane"}"#,
            r#"{"in":"{\"sender\":\"jane\"}"}"#,
            r#"{"from":"janet"}"#,
        ] {
            let mut letter = letter(&world, "example", 13);
            letter.webhook.body = body.as_bytes().to_vec().into();
            store.keep_dead_letter(letter).await.unwrap();
        }
        for (key, contact) in [("hers", hers.contact.id), ("another's", other.contact.id)] {
            let claim = World::claim(key, "print");
            store.claim(claim.clone(), "owner", at(14)).await.unwrap();
            let answer = StoredResponse {
                status: 200,
                body: format!("{{\"id\":\"{contact}\"}}"),
            };
            let held = crate::HeldClaim {
                claim,
                node: "owner".to_owned(),
            };
            store.answer_claim(held, answer, None).await.unwrap();
        }
        for who in ["jane", "person-other"] {
            let record = TranscriptRecord {
                id: world.id(),
                connector: "example".into(),
                version: "1.0.0".into(),
                call: "receive".into(),
                channel_id: None,
                crashed: true,
                at: at(15),
                json: format!("{{\"body\":\"{who}\"}}"),
            };
            store.keep_transcript(record, 100).await.unwrap();
        }
        let write = |key: &str| StateWrite {
            by: "1.0.0".into(),
            key: key.into(),
            value: Some(b"x".to_vec()),
        };
        store
            .commit_state(
                DEFAULT,
                world.channel.id,
                vec![write("last:jane"), write("last:person-other")],
            )
            .await
            .unwrap();
        // A rollback does not restore data of the person.
        let before = store.state(DEFAULT, world.channel.id).await.unwrap().entries;
        let state_move = StateMove {
            channel_id: world.channel.id,
            from: "1.0.0".into(),
            to: "2.0.0".into(),
            after: before.clone(),
            before,
        };
        assert!(store.move_stored_state("example", state_move).await.unwrap());
        store
            .erase_contact(DEFAULT, hers.contact.id, at(20))
            .await
            .unwrap()
            .unwrap();
        erase_all(&world).await;
        let letters = store.dead_letters(apps(["example"]), page()).await.unwrap().rows;
        assert_eq!(letters.len(), 1, "who is called almost like her is not her");
        assert_eq!(store.depths().await.unwrap().dead_letters, 1);
        let again = async |key: &str| store.claim(World::claim(key, "print"), "owner", at(21)).await.unwrap();
        assert_eq!(again("hers").await, Claimed::New);
        assert_ne!(again("another's").await, Claimed::New);
        let filter = TranscriptFilter {
            whole: true,
            limit: 10,
            ..TranscriptFilter::default()
        };
        let transcripts = store.transcripts("example", filter).await.unwrap();
        assert_eq!(transcripts.len(), 1);
        assert!(transcripts[0].json.contains("person-other"));
        let state = store.state(DEFAULT, world.channel.id).await.unwrap();
        assert_eq!(state.entries.keys().collect::<Vec<_>>(), ["last:person-other"]);
        assert!(
            store
                .give_state_back("example", world.channel.id, "2.0.0", "1.0.0")
                .await
                .unwrap()
        );
        assert_eq!(
            store.state(DEFAULT, world.channel.id).await.unwrap().entries,
            state.entries
        );
        let events = world.events().await;
        let kinds: Vec<EventType> = events.iter().map(|event| event.kind).collect();
        assert!(!kinds.contains(&EventType::ContactUpdated), "{kinds:?}");
        assert!(kinds.contains(&EventType::ContactErased), "{kinds:?}");
        assert_eq!(world.messages("other").await.len(), 1);
    });
}

pub fn erasure_keeps_others_texts(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let by = |id: &str, second, name: &str| {
            let mut inbound_message = thread_message("thread", id, Direction::Inbound, Origin::Contact, name, second);
            inbound_message.contact = Person {
                platform_id: name.into(),
                ..jane()
            };
            message(inbound_message)
        };
        world
            .receive(
                vec![by("m1", 10, "jane"), by("m2", 11, "joe"), by("m3", 12, "jane")],
                12,
            )
            .await;
        world.send("to both", 13).await.unwrap();
        let thread = world.conversation("thread").await;
        assert_eq!(thread.contact.platform_id, "jane");
        let erased = world
            .store
            .erase_contact(DEFAULT, thread.contact.id, at(20))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((erased.removed.conversations, erased.removed.messages), (0, 2));
        erase_all(&world).await;
        let left = world.conversation("thread").await;
        assert_eq!((left.id, left.contact.platform_id.as_str()), (thread.id, "joe"));
        let texts: Vec<_> = world
            .messages("thread")
            .await
            .into_iter()
            .map(|left| left.content)
            .collect();
        let text = |text: &str| Content::Text { text: text.into() };
        assert_eq!(texts, [text("joe"), text("to both")]);
        let hers = thread.contact.id.to_string();
        for event in world.events().await {
            let names_her = event.data.to_string().contains(&hers);
            assert_eq!(names_her, event.kind == EventType::ContactErased, "{event:?}");
        }
        // The other one too: then the conversation is deleted as a whole.
        let erased = world
            .store
            .erase_contact(DEFAULT, left.contact.id, at(21))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((erased.removed.conversations, erased.removed.messages), (1, 2));
    });
}

pub fn a_sent_picture_goes_with_its_last_conversation(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world
            .receive(vec![contact_writes("m1", 10), contact_writes_in("other", "m2", 10)], 10)
            .await;
        let upload = |id| Media {
            channel_id: None,
            id,
            workspace_id: DEFAULT.into(),
            mime_type: Some("image/png".into()),
            size: Some(7),
            filename: None,
            status: MediaStatus::Stored,
            created_at: at(10),
        };
        let (hers, shared) = (upload(world.id()), upload(world.id()));
        for media in [&hers, &shared] {
            world.store.insert_media(media.clone()).await.unwrap();
        }
        for (thread, media) in [("thread", &hers), ("thread", &shared), ("other", &shared)] {
            let mut draft = world.draft(world.conversation(thread).await.id, "");
            draft.content = Content::Image {
                media: Attachment {
                    id: media.id,
                    mime_type: None,
                    size: None,
                    url: None,
                    status: None,
                },
                caption: None,
            };
            world.accept(draft, 11).await.unwrap();
        }
        let erase = async |thread: &str| {
            let contact = world.conversation(thread).await.contact.id;
            world
                .store
                .erase_contact(DEFAULT, contact, at(20))
                .await
                .unwrap()
                .unwrap()
                .media
        };
        assert_eq!(erase("thread").await, [hers.id]);
        assert!(world.store.media(DEFAULT, hers.id).await.unwrap().is_none());
        assert!(world.store.media(DEFAULT, shared.id).await.unwrap().is_some());
        assert_eq!(erase("other").await, [shared.id]);
    });
}

pub fn name_change_emits_event_resigned_picture_does_not(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let as_person = |id: &str, second, person: Person| {
            let mut inbound_message = thread_message("thread", id, Direction::Inbound, Origin::Contact, "hi", second);
            inbound_message.contact = person;
            message(inbound_message)
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
            .receive(
                vec![
                    contact_writes("m1", 10),
                    as_person("m2", 11, resigned),
                    as_person("m3", 12, unnamed),
                ],
                12,
            )
            .await;
        assert!(world.events_of(EventType::ContactUpdated).await.is_empty());
        let contact = world.conversation("thread").await.contact;
        assert_eq!(contact.display_name.as_deref(), Some("Jane"));
        assert_eq!(
            contact.avatar_url.as_deref(),
            Some("https://example.com/jane.png?signature=2")
        );
        world.receive(vec![as_person("m4", 13, renamed)], 13).await;
        assert_eq!(
            world.events_of(EventType::ContactUpdated).await[0].data["display_name"],
            "Jane D."
        );
        assert_eq!(
            world
                .store
                .contacts(DEFAULT, [world.channel.id].into(), page())
                .await
                .unwrap()
                .rows
                .len(),
            1
        );
    });
}

pub fn an_older_name_replaces_none_that_was_confirmed_since(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let named = |thread: &str, second, username: &str, display_name: Option<&str>| {
            let id = format!("m{second}");
            let mut inbound_message = thread_message(thread, &id, Direction::Inbound, Origin::Contact, "hi", second);
            inbound_message.contact = Person {
                username: Some(username.into()),
                display_name: display_name.map(str::to_owned),
                ..jane()
            };
            message(inbound_message)
        };
        let name = async || world.conversation("thread").await.contact.display_name;
        world
            .receive(vec![named("thread", 9, "jane_doe", Some("Jane"))], 100)
            .await;
        world
            .receive(vec![named("thread", 15, "jane_doe", Some("Jane"))], 100)
            .await;
        // Older than the confirmed name, so that it changes nothing; then one that changes another name.
        world.receive(vec![named("thread", 13, "jane", None)], 100).await;
        world.receive(vec![named("thread", 16, "jane", None)], 100).await;
        world
            .receive(vec![named("thread", 11, "jane", Some("Janet"))], 100)
            .await;
        assert_eq!(name().await.as_deref(), Some("Jane"));
        // A confirmation in another conversation refers to the names at that time, also if a change comes through this
        // one.
        world
            .receive(vec![named("another", 20, "jane", Some("Jane"))], 100)
            .await;
        world
            .receive(vec![named("another", 25, "jane", Some("Jane"))], 100)
            .await;
        world.receive(vec![named("thread", 22, "jane", Some("J."))], 100).await;
        assert_eq!(name().await.as_deref(), Some("Jane"));
        world
            .receive(vec![named("thread", 30, "jane", Some("Jane D."))], 100)
            .await;
        world
            .receive(vec![named("another", 28, "jane", Some("Jane B."))], 100)
            .await;
        assert_eq!(name().await.as_deref(), Some("Jane D."));
    });
}

pub fn message_is_unread_until_viewed_or_answered(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world
            .receive(vec![contact_writes("m1", 1), contact_writes("m2", 2)], 2)
            .await;
        let thread = world.conversation("thread").await;
        assert_eq!(thread.unread, 2);
        world.store.viewed("another", thread.id).await.unwrap();
        assert_eq!(world.conversation("thread").await.unread, 2);
        world.store.viewed(DEFAULT, thread.id).await.unwrap();
        assert_eq!(world.conversation("thread").await.unread, 0);
        world.receive(vec![contact_writes("m3", 3)], 3).await;
        assert_eq!(world.conversation("thread").await.unread, 1);
        // A reply, from here or from the platform's app, marks the earlier messages as read.
        world.receive(vec![echo("m4", Origin::App, "ours", 4)], 4).await;
        assert_eq!(world.conversation("thread").await.unread, 0);
        world.receive(vec![contact_writes("m5", 5)], 5).await;
        let draft = world.draft(thread.id, "answer");
        world.store.enqueue(draft, &world.policy_set, at(6)).await.unwrap();
        assert_eq!(world.conversation("thread").await.unread, 0);
        let newest = world
            .store
            .last_messages(DEFAULT, vec![thread.id, world.id()])
            .await
            .unwrap();
        assert_eq!(newest.len(), 1);
        assert_eq!(newest[&thread.id].sequence, 6);
    });
}

pub fn a_late_echo_of_an_older_message_reads_nothing_newer(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("hi", 10)], 10).await;
        world.receive(vec![contact_writes("new question", 900)], 900).await;
        world
            .receive(
                vec![echo("earlier", Origin::App, "what a colleague typed earlier", 600)],
                1_000,
            )
            .await;
        let thread = world.conversation("thread").await;
        assert_eq!((thread.unread, thread.last_message_at), (1, Some(at(900))));
        let newest = world.store.last_messages(DEFAULT, vec![thread.id]).await.unwrap();
        assert_eq!(newest[&thread.id].platform_id.as_deref(), Some("new question"));
        let one_by_one = async |cursor| {
            let page = crate::Page { limit: 1, cursor };
            let page = world.store.messages(DEFAULT, thread.id, page).await.unwrap();
            (page.rows[0].platform_id.clone().unwrap(), page.next)
        };
        let (first, next) = one_by_one(None).await;
        let (second, next) = one_by_one(next).await;
        let (third, next) = one_by_one(next).await;
        assert_eq!([first, second, third], ["new question", "earlier", "hi"]);
        assert_eq!(next, None);
    });
}

pub fn an_event_without_people_is_its_conversations(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let no_person = || Person::default();
        let reacts = |key: &str| {
            event(
                key,
                Fact::Reaction {
                    conversation: "thread".into(),
                    contact: no_person(),
                    message: "m1".into(),
                    emoji: Some("x".into()),
                    url: None,
                    direction: Direction::Inbound,
                    added: true,
                    at: at(20),
                },
            )
        };
        world.receive(vec![contact_writes("m1", 10), reacts("r1")], 20).await;
        let contact = world.conversation("thread").await.contact;
        let inbound_message = &world.events_of(EventType::ReactionAdded).await[0].data;
        assert_eq!(inbound_message["contact"]["id"], contact.id.to_string());
        assert_eq!(inbound_message["contact"]["platform_id"], "jane");
        assert_eq!(
            inbound_message["message_id"],
            world.messages("thread").await[0].id.to_string()
        );

        // A thread that an echo without a person began: it has a placeholder until the person is named.
        let mut ours = app_message("other", "e1", 30);
        ours.contact = no_person();
        world.receive(vec![message(ours)], 30).await;
        assert_eq!(world.conversation("other").await.contact.platform_id, "other");
        world.receive(vec![contact_writes_in("other", "m2", 40)], 40).await;
        let named = world.conversation("other").await.contact;
        assert_eq!(named.platform_id, "person-other");
        let contacts: BTreeSet<_> = world.messages("other").await.iter().map(|one| one.contact_id).collect();
        assert_eq!(contacts, [named.id].into());
    });
}

fn app_message(thread: &str, id: &str, seconds: i64) -> InboundMessage {
    thread_message(thread, id, Direction::Outbound, Origin::App, "ours", seconds)
}

pub fn a_conversation_is_found_by_its_contacts_name(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 1)], 1).await;
        let found = async |name: &str| {
            let filter = ConversationFilter {
                channels: BTreeSet::new(),
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
        // Wildcards of a pattern match literally.
        assert_eq!(found("%").await, 0);
        assert_eq!(found("j%").await, 0);
        assert_eq!(found("!").await, 0);
    });
}
