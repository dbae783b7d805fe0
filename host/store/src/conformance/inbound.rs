//! Inbound facts are stored once, whatever their order, and have their effects.

use std::collections::BTreeSet;
use std::time::Duration;

use weir_domain::channel::ChannelStatus;
use weir_domain::conversation::OpenedBy;
use weir_domain::event::EventType;
use weir_domain::inbound::{Fact, InboundEvent, RemoteMedia};
use weir_domain::message::{Content, Direction, MediaStatus, Origin, Referral, Status};

use super::world::*;
use super::{Factory, run};
use crate::{AdAnswer, Page, Recorded, Source};

pub fn first_message_opens_conversation_and_window(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let recorded = world.receive(vec![contact_writes("m1", 10)], 11).await;
        assert_eq!(recorded.stored, 1);
        let conversation = world.conversation("thread").await;
        assert_eq!(conversation.opened_by, OpenedBy::Message);
        assert_eq!(conversation.contact_wrote_at, Some(at(10)));
        assert_eq!(conversation.contact.display_name.as_deref(), Some("Jane"));
        let messages = world.messages("thread").await;
        assert_eq!((messages[0].status, messages[0].sequence), (Status::Received, 1));
        assert_eq!(
            world.kinds().await,
            [
                EventType::ChannelConnected,
                EventType::ContactCreated,
                EventType::ConversationOpened,
                EventType::MessageReceived,
                EventType::WindowOpened,
            ]
        );
        let opened = &world.events_of(EventType::ConversationOpened).await[0].data;
        assert_eq!(
            (&opened["reason"], &opened["can_reply"]),
            (&"message".into(), &true.into())
        );
        // A window that is open already causes no event.
        world.receive(vec![contact_writes("m2", 20)], 20).await;
        assert_eq!(world.events_of(EventType::WindowOpened).await.len(), 1);
        world
            .receive(vec![contact_writes("m3", 20 + WINDOW)], 20 + WINDOW)
            .await;
        assert_eq!(world.events_of(EventType::WindowOpened).await.len(), 2);
    });
}

pub fn what_was_written_is_found_in_whatever_case_and_page_by_page(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        for (id, text, seconds) in [
            ("m2", "Привет, blue", 20),
            ("m3", "red", 30),
            ("m4", "BLUE \"type\"", 40),
        ] {
            world.receive(vec![echo(id, Origin::App, text, seconds)], seconds).await;
        }
        let found = async |workspace, words: &str, page| {
            let listed = world
                .store
                .search_messages(workspace, BTreeSet::new(), words, page)
                .await
                .unwrap();
            let ids = listed.rows.into_iter().filter_map(|message| message.platform_id);
            (ids.collect::<Vec<_>>(), listed.next)
        };
        assert_eq!(found(DEFAULT, "Blue", page()).await.0, ["m4", "m2"]);
        assert_eq!(found(DEFAULT, "ПРИВЕТ", page()).await.0, ["m2"]);
        assert_eq!(found(DEFAULT, "HI", page()).await, (vec!["m1".to_owned()], None));
        // The text, and not the JSON around it.
        assert_eq!(found(DEFAULT, "type", page()).await.0, ["m4"]);
        assert!(found(DEFAULT, "%", page()).await.0.is_empty());
        assert!(found("another", "blue", page()).await.0.is_empty());
        let one = |cursor| Page { limit: 1, cursor };
        let (first, next) = found(DEFAULT, "blue", one(None)).await;
        assert_eq!(first, ["m4"]);
        assert_eq!(found(DEFAULT, "blue", one(next)).await, (vec!["m2".to_owned()], None));
    });
}

pub fn duplicate_webhook_is_stored_once(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 11).await;
        let before = world.kinds().await.len();
        let again = world.receive(vec![contact_writes("m1", 10)], 12).await;
        assert_eq!((again.stored, again.duplicates), (0, 1));
        // The history has it under another key.
        let history = event("history-1", contact_writes("m1", 10).fact);
        let again = world.receive_from(vec![history], Source::History, 13).await;
        assert_eq!((again.stored, again.duplicates), (0, 1));
        assert_eq!(world.kinds().await.len(), before);
        assert_eq!(world.messages("thread").await.len(), 1);
    });
}

pub fn older_message_does_not_move_window(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m2", 100)], 100).await;
        world.send("hello", 101).await.unwrap();
        world.receive(vec![contact_writes("m1", 50)], 102).await;
        let conversation = world.conversation("thread").await;
        assert_eq!(conversation.contact_wrote_at, Some(at(100)));
        assert_eq!(conversation.budget_used, 1);
        assert_eq!(conversation.last_message_at, Some(at(101)));
    });
}

pub fn a_platform_clock_ahead_of_ours_does_not_lengthen_the_window(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 1_000)], 10).await;
        assert_eq!(world.conversation("thread").await.contact_wrote_at, Some(at(10)));
    });
}

pub fn older_message_keeps_budget_counts(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        for (name, second) in [("ours-1", 20), ("ours-2", 40)] {
            world.send(name, second).await.unwrap();
            let lease = world.lease(1, second).await.remove(0);
            world.settle(&lease, sent(name, second), second).await;
        }
        // Between the two the contact wrote, without a webhook.
        world
            .receive_from(vec![contact_writes("m2", 30)], Source::History, 50)
            .await;
        assert_eq!(world.conversation("thread").await.contact_wrote_at, Some(at(30)));
        assert_eq!(world.used().await, 1);
    });
}

pub fn unknown_and_deleted_accounts_are_counted_and_not_kept(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let mut stray = contact_writes("m1", 10);
        stray.channel_platform_id = "nobody".into();
        assert_eq!(world.receive(vec![stray], 10).await.unknown_channel, 1);
        world
            .store
            .delete_channel(DEFAULT, world.channel.id, at(11))
            .await
            .unwrap();
        let recorded = world.receive(vec![contact_writes("m2", 12)], 12).await;
        let expected = Recorded {
            deleted_channel: 1,
            ..Recorded::default()
        };
        assert_eq!(recorded, expected);
        assert!(world.events_of(EventType::MessageReceived).await.is_empty());
    });
}

pub fn unknown_event_can_be_replayed_later(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let key = contact_writes("m1", 10).key;
        let unknown = event(&key, Fact::Unknown { what: "sticker".into() });
        assert_eq!(world.receive(vec![unknown], 10).await.unknown_events, 1);
        assert_eq!(world.receive(vec![contact_writes("m1", 10)], 20).await.stored, 1);
    });
}

fn referral() -> Referral {
    Referral {
        id: None,
        source: "ad".into(),
        ad_id: Some("ad-1".into()),
        ad_name: None,
        advertiser_id: None,
        creative_id: None,
        url: None,
        reference: Some("spring".into()),
        prefilled_text: None,
        prefill_audit: None,
        at: None,
    }
}

pub fn an_arrival_opens_a_conversation_and_no_window(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let arrival = Fact::Arrival {
            conversation: "thread".into(),
            contact: jane(),
            referral: referral(),
            at: at(10),
        };
        world.receive(vec![event("a1", arrival)], 10).await;
        let conversation = world.conversation("thread").await;
        assert_eq!(
            (conversation.opened_by, conversation.contact_wrote_at),
            (OpenedBy::Referral, None)
        );
        let emitted = world.events_of(EventType::ReferralReceived).await;
        let data = &emitted[0].data;
        assert_eq!(data["ref"], "spring");
        assert_eq!(data["conversation_id"], conversation.id.to_string());
        assert!(data["id"].as_str().unwrap().starts_with("ref_"));
        let id = data["id"].as_str().unwrap().parse().unwrap();
        let kept = world.store.referral(DEFAULT, id).await.unwrap().unwrap();
        assert_eq!(
            (kept.referral.ad_id.as_deref(), kept.channel_id),
            (Some("ad-1"), world.channel.id)
        );
        assert!(world.store.referral("another", id).await.unwrap().is_none());
        assert!(world.send("hello", 11).await.is_err());
        assert!(world.events_of(EventType::WindowOpened).await.is_empty());
    });
}

pub fn a_referral_is_on_the_first_message_after_it(factory: Factory) {
    run(async {
        let arrives = || {
            let fact = Fact::Arrival {
                conversation: "thread".into(),
                contact: jane(),
                referral: referral(),
                at: at(20),
            };
            event("a1", fact)
        };
        let emitted = [
            contact_writes("before", 10),
            arrives(),
            contact_writes("first", 30),
            contact_writes("second", 40),
        ];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
            let world = World::begin(factory).await;
            for n in order {
                world.receive(vec![emitted[n].clone()], 50).await;
            }
            let came: Vec<_> = world
                .messages("thread")
                .await
                .into_iter()
                .filter(|message| message.referral.is_some())
                .map(|message| message.platform_id.unwrap())
                .collect();
            assert_eq!(came, ["first"], "{order:?}");
            let conversation = world.conversation("thread").await;
            let referral = conversation.referral.unwrap();
            assert_eq!((referral.ad_id.as_deref(), referral.at), (Some("ad-1"), Some(at(20))));
            let of = |channels, limit| world.store.referrals(DEFAULT, channels, Page { limit, cursor: None });
            let listed = of([world.channel.id].into(), 10).await.unwrap().rows;
            assert_eq!(listed.len(), 1);
            assert_eq!(listed[0].referral, referral);
            assert_eq!(of(BTreeSet::new(), 10).await.unwrap().rows, listed);
            assert!(of([world.id()].into(), 10).await.unwrap().rows.is_empty());
        }
    });
}

/// The contact arrives by a link with a prefilled text.
pub(super) fn comes(key: &str, text: &str, audit: &str) -> InboundEvent {
    let arrival = Fact::Arrival {
        conversation: "thread".into(),
        contact: jane(),
        referral: Referral {
            prefilled_text: Some(text.into()),
            prefill_audit: Some(audit.into()),
            ..referral()
        },
        at: at(10),
    };
    event(key, arrival)
}

pub fn what_was_found_out_of_an_ad_is_kept(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![comes("a1", "hi", "passed")], 10).await;
        let emitted = world.events_of(EventType::ReferralReceived).await;
        let id = emitted[0].data["id"].as_str().unwrap().parse().unwrap();
        let kept = || async { world.store.referral(DEFAULT, id).await.unwrap().unwrap().ad };
        assert_eq!(kept().await, None);
        let answer = AdAnswer {
            preview: None,
            reason: Some("smart_plus_campaign".into()),
            detail: None,
            at: at(20),
            until: at(30),
        };
        world.store.keep_ad(DEFAULT, id, answer.clone()).await.unwrap();
        assert_eq!(kept().await, Some(answer));
    });
}

pub fn a_prefilled_text_has_the_state_of_its_newest_referral(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![comes("a1", "hi", "pending")], 10).await;
        world
            .receive(vec![comes("a2", "hi", "rejected"), comes("a3", "other", "passed")], 20)
            .await;
        let channel = world.channel.id;
        let audit = |text: &'static str| {
            let store = &world.store;
            async move {
                let found = store.referral_with_prefill(DEFAULT, channel, text).await.unwrap();
                found.and_then(|referral| referral.prefill_audit)
            }
        };
        assert_eq!(audit("hi").await.as_deref(), Some("rejected"));
        assert_eq!(audit("other").await.as_deref(), Some("passed"));
        assert_eq!(audit("unheard").await, None);
    });
}

pub fn a_quote_of_an_unknown_message_keeps_the_platforms_id(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let quote = |id: &str, of: &str, second| {
            let mut quoting = thread_message("thread", id, Direction::Inbound, Origin::Contact, "this", second);
            quoting.reply_to = Some(of.into());
            message(quoting)
        };
        world
            .receive(
                vec![
                    contact_writes("m1", 10),
                    quote("m2", "m1", 11),
                    quote("m3", "long-ago", 12),
                ],
                12,
            )
            .await;
        let messages = world.messages("thread").await;
        assert_eq!(messages[1].reply_to, Some(messages[0].id));
        assert_eq!(messages[2].reply_to, None);
        assert_eq!(
            messages[2].platform_data.as_ref().unwrap()["reply_to_platform_id"],
            "long-ago"
        );
    });
}

pub fn a_reaction_names_our_message(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![contact_writes("m1", 10)], 10).await;
        let reaction = |message: &str, added| Fact::Reaction {
            conversation: "thread".into(),
            contact: jane(),
            message: message.into(),
            emoji: Some("❤".into()),
            url: None,
            direction: Direction::Inbound,
            added,
            at: at(20),
        };
        world
            .receive(
                vec![event("r1", reaction("m1", true)), event("r2", reaction("gone", false))],
                20,
            )
            .await;
        let added = &world.events_of(EventType::ReactionAdded).await[0].data;
        assert_eq!(added["message_id"], world.messages("thread").await[0].id.to_string());
        assert_eq!(added["emoji"], "❤");
        let removed = &world.events_of(EventType::ReactionRemoved).await[0].data;
        assert_eq!(
            (&removed["message_id"], &removed["message_platform_id"]),
            (&serde_json::Value::Null, &"gone".into())
        );
    });
}

pub fn a_revoked_authorization_holds_the_channel(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let notice = |kind: &str| Fact::Notice {
            kind: kind.into(),
            at: at(10),
            detail: serde_json::json!({"why": "said so"}),
        };
        let notices = ["inbound_withheld", "authorization_revoked", "renamed"];
        let events = notices.iter().map(|kind| event(kind, notice(kind))).collect();
        world.receive(events, 10).await;
        let channel = world.store.channel(DEFAULT, world.channel.id).await.unwrap().unwrap();
        assert_eq!(channel.status, ChannelStatus::ReauthorizationRequired);
        let kinds = world.kinds().await;
        assert_eq!(
            kinds[1..],
            [
                EventType::ChannelInboundWithheld,
                EventType::ChannelReauthorizationRequired,
                EventType::ChannelUpdated
            ]
        );
    });
}

pub(super) fn picture(id: &str, second: i64) -> InboundEvent {
    let mut emitted = thread_message("thread", id, Direction::Inbound, Origin::Contact, "", second);
    emitted.content = Content::Image {
        media: RemoteMedia {
            reference: format!("remote-{id}"),
            mime_type: None,
            size: None,
            filename: None,
        },
        caption: None,
    };
    message(emitted)
}

pub fn attachments_are_fetched_and_described(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        assert_eq!(world.receive(vec![picture("m1", 10)], 10).await.media, 1);
        let fetch = world.store.lease_media(10, at(10)).await.unwrap().remove(0);
        assert_eq!(
            (fetch.remote.reference.as_str(), fetch.kind.as_str(), fetch.attempt),
            ("remote-m1", "image", 1)
        );
        assert_eq!(fetch.message_platform_id, "m1");
        assert!(world.store.lease_media(10, at(11)).await.unwrap().is_empty());
        world
            .store
            .media_failed(DEFAULT, fetch.id, "slow", Some(at(30)), at(11))
            .await
            .unwrap();
        assert_eq!(world.store.next_media_due().await.unwrap(), Some(at(30)));
        assert!(world.store.lease_media(10, at(29)).await.unwrap().is_empty());
        assert_eq!(world.store.lease_media(10, at(30)).await.unwrap()[0].attempt, 2);
        world
            .store
            .media_stored(DEFAULT, fetch.id, "image/png".into(), 77, at(31))
            .await
            .unwrap();
        let message = world.messages("thread").await.remove(0);
        let media = message.content.media().unwrap();
        assert_eq!((media.status, media.size), (Some(MediaStatus::Stored), Some(77)));
        assert_eq!(
            world
                .store
                .media(DEFAULT, fetch.id)
                .await
                .unwrap()
                .unwrap()
                .mime_type
                .as_deref(),
            Some("image/png")
        );
        let stored = &world.events_of(EventType::MediaStored).await[0].data;
        assert_eq!(
            (&stored["message_id"], &stored["size"], &stored["status"]),
            (&message.id.to_string().into(), &77.into(), &"stored".into())
        );
        assert!(world.store.lease_media(10, at(9_999)).await.unwrap().is_empty());
        // Received media can be sent on.
        let id = world.conversation("thread").await.id;
        let mut draft = world.draft(id, "");
        draft.content = message.content.clone();
        assert_eq!(
            world.accept(draft, 40).await.unwrap().content.media().unwrap().size,
            Some(77)
        );
    });
}

pub fn lost_attachment_leaves_text(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world.receive(vec![picture("m1", 10)], 10).await;
        let fetch = world.store.lease_media(10, at(10)).await.unwrap().remove(0);
        world
            .store
            .media_failed(DEFAULT, fetch.id, "download_failed", None, at(11))
            .await
            .unwrap();
        let message = world.messages("thread").await.remove(0);
        let Content::Fallback {
            original_type, reason, ..
        } = message.content
        else {
            panic!("{:?}", message.content)
        };
        assert_eq!((original_type.as_str(), reason.as_str()), ("image", "download_failed"));
        let failed = &world.events_of(EventType::MediaFailed).await[0].data;
        assert_eq!(
            (&failed["reason"], &failed["status"]),
            (&"download_failed".into(), &"failed".into())
        );
    });
}

pub fn history_older_than_the_window_opens_none(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world
            .receive_from(vec![contact_writes("m1", 10)], Source::History, 10 + WINDOW)
            .await;
        let conversation = world.conversation("thread").await;
        assert_eq!(conversation.opened_by, OpenedBy::History);
        assert!(world.events_of(EventType::WindowOpened).await.is_empty());
        assert!(world.send("too late", 10 + WINDOW).await.is_err());
        assert_eq!(
            conversation
                .contact_wrote_at
                .unwrap()
                .after(Duration::from_secs(WINDOW.unsigned_abs())),
            at(10 + WINDOW)
        );
    });
}
