//! Data of a workspace is in no other. A workspace is created once, and removed with all its contents.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use weir_domain::caller::{self, Key, Scope};
use weir_domain::channel::ChannelStatus;
use weir_domain::conversation::Conversation;
use weir_domain::event::EventFilter;
use weir_domain::id::{ConnectSessionId, DeadLetterId, DeliveryId, EndpointId, EventId, KeyId, MediaId, MessageId};
use weir_domain::id::{ReferralId, RefusalId};
use weir_domain::inbound::InboundEvent;
use weir_domain::message::Origin;
use weir_domain::workspace::{InUse, Workspace};

use crate::conformance::connecting::session;
use crate::conformance::events::add;
use crate::conformance::inbound::{comes, picture};
use crate::conformance::ledger::letter;
use crate::conformance::world::{
    DEFAULT, World, account, app, at, contact_writes, contact_writes_in, credential, jane, of, page, uncertain_outcome,
};
use crate::conformance::{Factory, run};
use crate::{
    AdAnswer, App, AuditEntry, ChannelPatch, ChannelState, ConversationFilter, DeliveriesOf, EndpointPatch,
    EnqueueError, HistoryGap, NewChannel, QueueDepth, RefusalRecord, RefusedWhat, RemoveWorkspaceError, Resolution,
    Source, StateWrite, StoreError,
};

const ACME: &str = "acme";
const KEY: &str = "weir_0123456789abcdef";

fn workspace() -> Workspace {
    Workspace {
        id: ACME.to_owned(),
        created_at: at(1),
    }
}

fn its_app() -> App {
    App {
        workspace_id: ACME.to_owned(),
        ..app("acme-app")
    }
}

fn its_account() -> NewChannel {
    NewChannel {
        workspace_id: ACME.to_owned(),
        app: "acme-app".to_owned(),
        ..account("acme-account")
    }
}

fn its_key(world: &World) -> Key {
    Key {
        id: world.id(),
        workspace_id: ACME.to_owned(),
        name: "crm".to_owned(),
        prefix: caller::prefix(KEY).unwrap().to_owned(),
        digest: caller::digest(KEY),
        scopes: [Scope::Admin].into(),
        channels: BTreeSet::new(),
        created_at: at(1),
        expires_at: None,
        revoked_at: None,
    }
}

/// One object of each kind in the workspace `default`.
struct Things {
    world: World,
    conversation: Conversation,
    /// It is unknown whether it was sent.
    message: MessageId,
    queued: MessageId,
    media: MediaId,
    referral: ReferralId,
    event: EventId,
    endpoint: EndpointId,
    delivery: DeliveryId,
    letter: DeadLetterId,
    session: ConnectSessionId,
    refusal: RefusalId,
    key: KeyId,
}

impl Things {
    async fn make(factory: Factory) -> Self {
        let world = World::begin(factory).await;
        let store = &world.store;
        let channel = world.channel.id;
        let endpoint = add(&world, &["message.received"]).await.id;
        world
            .receive(
                vec![contact_writes("m1", 10), picture("m2", 10), comes("a1", "hi", "passed")],
                10,
            )
            .await;
        let media = store.lease_media(1, at(10)).await.unwrap()[0].id;
        let message = world.send("hello", 20).await.unwrap().id;
        let lease = world.lease(1, 20).await.remove(0);
        assert!(world.settle(&lease, uncertain_outcome(), 21).await);
        let queued = world.send("again", 22).await.unwrap().id;
        let referrals = store.referrals(DEFAULT, BTreeSet::new(), page()).await.unwrap();
        let referral = referrals.rows[0].referral.id.unwrap();
        let event = world.events().await[0].id;
        let deliveries = store
            .deliveries(DEFAULT, DeliveriesOf::default(), page())
            .await
            .unwrap();
        let letter = letter(&world, "example", 1);
        store.keep_dead_letter(letter.clone()).await.unwrap();
        let session = session(world.id(), "state");
        store.insert_connect_session(session.clone()).await.unwrap();
        let write = StateWrite {
            by: "1.0.0".into(),
            key: "cursor".into(),
            value: Some(vec![1]),
        };
        assert!(store.commit_state(DEFAULT, channel, vec![write]).await.unwrap());
        store
            .keep_poll_cursor(DEFAULT, channel, Some("place".into()))
            .await
            .unwrap();
        store.keep_history_gap(DEFAULT, gap(&world)).await.unwrap();
        store.begin_renewal(DEFAULT, channel, at(5)).await.unwrap();
        let refusal = RefusalRecord {
            id: world.id(),
            workspace_id: DEFAULT.into(),
            channel_id: Some(channel),
            conversation_id: None,
            message_id: None,
            about: RefusedWhat::Send,
            whom: channel.to_string(),
            rule: "reply_window_closed".into(),
            detail: String::new(),
            facts: serde_json::json!({}),
            changes: String::new(),
            remedy: String::new(),
            at: at(2),
        };
        store.keep_refusal(refusal.clone()).await.unwrap();
        let key = Key {
            workspace_id: DEFAULT.into(),
            ..its_key(&world)
        };
        store.insert_key(key.clone()).await.unwrap();
        store
            .audit(AuditEntry {
                workspace_id: DEFAULT.into(),
                actor: "key".into(),
                action: "channel.update".into(),
                subject: channel.to_string(),
                detail: serde_json::json!({}),
                at: at(2),
            })
            .await
            .unwrap();
        Self {
            conversation: world.conversation("thread").await,
            message,
            queued,
            media,
            referral,
            event,
            endpoint,
            delivery: deliveries.rows[0].id,
            letter: letter.id,
            session: session.id,
            refusal: refusal.id,
            key: key.id,
            world,
        }
    }

    /// The results of each reading method for a workspace.
    async fn seen_by(&self, workspace: &str) -> BTreeMap<&'static str, String> {
        let store = &self.world.store;
        let channel = self.world.channel.id;
        let (conversation, contact) = (self.conversation.id, self.conversation.contact.id);
        let all = BTreeSet::new;
        let mut seen = BTreeMap::new();
        let mut saw = |method, found: &dyn Debug| {
            assert!(seen.insert(method, format!("{found:?}")).is_none(), "{method} twice");
        };
        saw("channel", &store.channel(workspace, channel).await.unwrap());
        saw(
            "channels",
            &store
                .channels(workspace, [channel].into(), true, page())
                .await
                .unwrap()
                .rows,
        );
        saw(
            "all channels",
            &store.channels(workspace, all(), true, page()).await.unwrap().rows,
        );
        saw(
            "connect_session",
            &store
                .connect_session(workspace, self.session, at(1))
                .await
                .unwrap()
                .map(|it| it.id),
        );
        saw(
            "credential",
            &store
                .credential(workspace, channel)
                .await
                .unwrap()
                .map(|it| it.expires_at),
        );
        saw(
            "renewal_started",
            &store.renewal_started(workspace, channel).await.unwrap(),
        );
        saw("poll_cursor", &store.poll_cursor(workspace, channel).await.unwrap());
        saw("history_gaps", &store.history_gaps(workspace, channel).await.unwrap());
        saw("state", &store.state(workspace, channel).await.unwrap());
        saw("dead_letter", &store.dead_letter(workspace, self.letter).await.unwrap());
        saw("contact", &store.contact(workspace, contact).await.unwrap());
        saw(
            "contacts",
            &store.contacts(workspace, all(), page()).await.unwrap().rows,
        );
        saw(
            "conversation_with",
            &store.conversation_with(workspace, contact).await.unwrap(),
        );
        saw(
            "conversation",
            &store.conversation(workspace, conversation).await.unwrap(),
        );
        saw(
            "conversations",
            &store.conversations(workspace, of(channel), page()).await.unwrap().rows,
        );
        saw(
            "last_messages",
            &store.last_messages(workspace, vec![conversation]).await.unwrap(),
        );
        saw("message", &store.message(workspace, self.message).await.unwrap());
        saw(
            "messages",
            &store.messages(workspace, conversation, page()).await.unwrap().rows,
        );
        saw(
            "search_messages",
            &store
                .search_messages(workspace, all(), "hello", page())
                .await
                .unwrap()
                .rows,
        );
        saw("referral", &store.referral(workspace, self.referral).await.unwrap());
        saw(
            "referrals",
            &store.referrals(workspace, all(), page()).await.unwrap().rows,
        );
        saw(
            "referral_with_prefill",
            &store.referral_with_prefill(workspace, channel, "hi").await.unwrap(),
        );
        saw("attempts", &store.attempts(workspace, self.message).await.unwrap());
        saw("queue", &store.queue(workspace, channel).await.unwrap());
        saw("media", &store.media(workspace, self.media).await.unwrap());
        saw("event", &store.event(workspace, self.event).await.unwrap());
        saw("event_place", &store.event_place(workspace, self.event).await.unwrap());
        saw(
            "events",
            &store
                .events(workspace, 0, &EventFilter::default(), 100)
                .await
                .unwrap()
                .rows,
        );
        saw("endpoint", &store.endpoint(workspace, self.endpoint).await.unwrap());
        saw("endpoints", &store.endpoints(workspace, page()).await.unwrap().rows);
        saw("delivery", &store.delivery(workspace, self.delivery).await.unwrap());
        saw(
            "deliveries",
            &store
                .deliveries(workspace, DeliveriesOf::default(), page())
                .await
                .unwrap()
                .rows,
        );
        saw("refusal", &store.refusal(workspace, self.refusal).await.unwrap());
        saw(
            "refusals",
            &store.refusals(workspace, all(), page()).await.unwrap().rows,
        );
        saw(
            "refusal_counts",
            &store.refusal_counts(workspace, all(), 10).await.unwrap(),
        );
        saw("audit_log", &store.audit_log(workspace, page()).await.unwrap().rows);
        saw("keys", &store.keys(workspace).await.unwrap());
        seen
    }
}

fn gap(world: &World) -> HistoryGap {
    HistoryGap {
        channel: world.channel.id,
        conversation: "thread".into(),
        contact: None,
        answered: true,
        since: at(1),
        attempts: 1,
        due_at: None,
        detail: "refused".into(),
    }
}

pub fn other_tenants_see_nothing(factory: Factory) {
    run(async {
        let things = Things::make(factory).await;
        let nothing = [
            "None".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            format!("{:?}", ChannelState::default()),
            format!("{:?}", QueueDepth::default()),
        ];
        for (method, seen) in things.seen_by(DEFAULT).await {
            assert!(!nothing.contains(&seen), "{method} shows nothing to its own workspace");
        }
        for (method, seen) in things.seen_by(ACME).await {
            assert!(nothing.contains(&seen), "{method} shows {seen}");
        }
    });
}

pub fn other_tenants_change_nothing(factory: Factory) {
    run(async {
        let things = Things::make(factory).await;
        let Things { world, .. } = &things;
        let (store, now) = (&world.store, at(30));
        let (channel, conversation) = (world.channel.id, &things.conversation);
        let since = at(1);
        assert!(
            store
                .begin_recovery(DEFAULT, things.endpoint, since, at(29))
                .await
                .unwrap()
        );
        let before = things.seen_by(DEFAULT).await;

        let write = StateWrite {
            by: "1.0.0".into(),
            key: "cursor".into(),
            value: None,
        };
        let answer = AdAnswer {
            preview: None,
            reason: None,
            detail: None,
            at: now,
            until: now,
        };
        let paused = ChannelPatch {
            paused: Some(true),
            ..ChannelPatch::default()
        };
        let disabled = EndpointPatch {
            enabled: Some(false),
            ..EndpointPatch::default()
        };
        assert!(
            store
                .update_channel(ACME, channel, paused, now)
                .await
                .unwrap()
                .is_none()
        );
        store
            .set_channel_status(ACME, channel, ChannelStatus::Degraded, "", now)
            .await
            .unwrap();
        assert!(store.delete_channel(ACME, channel, now).await.unwrap().is_none());
        store.set_up_failed(ACME, channel, now).await.unwrap();
        assert!(store.set_ups_due(at(100_000), 10).await.unwrap().is_empty());
        store.begin_renewal(ACME, channel, now).await.unwrap();
        store.end_renewal(ACME, channel).await.unwrap();
        let put = store.put_credential(ACME, channel, credential("token"), credential("other"), now);
        assert!(!put.await.unwrap());
        store.keep_poll_cursor(ACME, channel, None).await.unwrap();
        let later = HistoryGap {
            attempts: 2,
            ..gap(world)
        };
        store.keep_history_gap(ACME, later).await.unwrap();
        store.close_history_gap(ACME, channel, "thread").await.unwrap();
        assert!(!store.commit_state(ACME, channel, vec![write]).await.unwrap());
        assert!(!store.drop_dead_letter(ACME, things.letter).await.unwrap());
        assert!(
            store
                .update_contact(ACME, channel, jane(), now)
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            store
                .erase_contact(ACME, conversation.contact.id, now)
                .await
                .unwrap()
                .is_none()
        );
        store.viewed(ACME, conversation.id).await.unwrap();
        store
            .set_images_allowed(ACME, conversation.id, true, at(99))
            .await
            .unwrap();
        store.keep_ad(ACME, things.referral, answer).await.unwrap();
        let draft = crate::NewMessage {
            workspace_id: ACME.into(),
            origin: Origin::Console,
            ..world.draft(conversation.id, "hello")
        };
        assert!(matches!(
            world.accept(draft, 30).await,
            Err(EnqueueError::NoConversation)
        ));
        let given_up = Resolution::GivenUp;
        assert!(
            !store
                .resolve_uncertain(ACME, things.message, given_up, now)
                .await
                .unwrap()
        );
        assert!(store.cancel_message(ACME, things.queued, now).await.unwrap().is_none());
        let retried = store.retry_message(ACME, things.message, &world.policy_set, now).await;
        assert!(retried.unwrap().is_none());
        store
            .media_stored(ACME, things.media, "image/png".into(), 1, now)
            .await
            .unwrap();
        store.media_failed(ACME, things.media, "gone", None, now).await.unwrap();
        store
            .media_failed(ACME, things.media, "slow", Some(now), now)
            .await
            .unwrap();
        assert!(store.files_to_remove(10).await.unwrap().is_empty());
        assert!(
            store
                .insert_delivery(ACME, things.endpoint, things.event, now)
                .await
                .is_err()
        );
        assert!(
            store
                .update_endpoint(ACME, things.endpoint, disabled, now)
                .await
                .unwrap()
                .is_none()
        );
        assert!(!store.delete_endpoint(ACME, things.endpoint).await.unwrap());
        assert!(!store.begin_recovery(ACME, things.endpoint, since, now).await.unwrap());
        assert_eq!(
            store.recover_step(ACME, things.endpoint, now).await.unwrap().recovered,
            0
        );
        assert_eq!(
            store.recoveries(now).await.unwrap(),
            [(DEFAULT.to_owned(), things.endpoint)]
        );
        assert!(!store.revoke_key(ACME, things.key, now).await.unwrap());

        assert_eq!(things.seen_by(DEFAULT).await, before);
    });
}

pub fn a_workspace_is_made_once_and_listed(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let store = &world.store;
        assert!(store.insert_workspace(workspace()).await.unwrap());
        assert!(!store.insert_workspace(workspace()).await.unwrap());
        let names: Vec<String> = store
            .workspaces()
            .await
            .unwrap()
            .into_iter()
            .map(|one| one.id)
            .collect();
        assert_eq!(names, [ACME, "default"]);
        assert_eq!(store.workspace(ACME).await.unwrap(), Some(workspace()));
        assert_eq!(store.workspace("other").await.unwrap(), None);
        assert!(!store.remove_workspace("other", at(2)).await.unwrap());
        let refused = store.remove_workspace("default", at(2)).await;
        assert!(matches!(refused, Err(RemoveWorkspaceError::InUse(InUse::Operators))));
    });
}

pub fn a_removed_workspace_ends_at_once_and_is_cleared_in_steps(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let store = &world.store;
        store.insert_workspace(workspace()).await.unwrap();
        store.put_app(its_app()).await.unwrap();
        store.insert_key(its_key(&world)).await.unwrap();
        let connected = store.connect_channel(its_account(), credential("token"), at(1)).await;
        let channel = connected.unwrap().0;
        for thread in ["one", "two", "three"] {
            let received = store
                .record_inbound(
                    &its_app(),
                    vec![InboundEvent {
                        channel_platform_id: "acme-account".to_owned(),
                        ..contact_writes_in(thread, &format!("m-{thread}"), 5)
                    }],
                    Source::Webhook,
                    &world.policy_set,
                    at(5),
                )
                .await;
            assert_eq!(received.unwrap().stored, 1, "{thread}");
        }
        world.receive(vec![contact_writes_in("ours", "m1", 5)], 5).await;
        let conversations = async || {
            let all = store.conversations(ACME, ConversationFilter::default(), page()).await;
            all.unwrap().rows.len()
        };
        assert_eq!(conversations().await, 3);
        let in_use = store.remove_workspace(ACME, at(6)).await;
        assert!(matches!(
            in_use,
            Err(RemoveWorkspaceError::InUse(InUse::HasChannels { channels: 1 }))
        ));
        assert!(store.app("acme-app").await.unwrap().is_some(), "nothing was changed");
        store.delete_channel(ACME, channel.id, at(7)).await.unwrap();

        assert!(store.remove_workspace(ACME, at(10)).await.unwrap());
        assert!(!store.remove_workspace(ACME, at(10)).await.unwrap());
        assert_eq!(store.workspace(ACME).await.unwrap(), None);
        let key = store.key_by_prefix(caller::prefix(KEY).unwrap()).await.unwrap();
        assert_eq!(key.unwrap().revoked_at, Some(at(10)));
        assert!(store.app("acme-app").await.unwrap().is_none());
        let late = Key {
            id: world.id(),
            prefix: "weir_fedcba98765".to_owned(),
            ..its_key(&world)
        };
        let other = App {
            workspace_id: "default".to_owned(),
            ..its_app()
        };
        for late in [
            store.insert_key(late).await,
            store.put_app(its_app()).await,
            store.put_app(other.clone()).await,
            store
                .connect_channel(its_account(), credential("late"), at(11))
                .await
                .map(drop),
        ] {
            assert!(matches!(late, Err(StoreError::Unavailable { .. })), "{late:?}");
        }

        let mut steps = 0;
        while store.clear_workspaces(at(12), 1).await.unwrap() {
            steps += 1;
            assert!(steps < 1_000, "it comes to an end");
        }
        assert!(steps > 1, "{steps}");
        assert_eq!(conversations().await, 0);
        assert!(
            store
                .contacts(ACME, BTreeSet::new(), page())
                .await
                .unwrap()
                .rows
                .is_empty()
        );
        let events = store.events(ACME, 0, &EventFilter::default(), 10).await.unwrap();
        assert!(events.rows.is_empty(), "{events:?}");
        assert!(store.channel(ACME, channel.id).await.unwrap().is_none());
        assert_eq!(world.messages("ours").await.len(), 1, "others keep what is theirs");
        // Work that was started before the mark may still write; then the name is free.
        assert!(!store.insert_workspace(workspace()).await.unwrap());
        assert!(!store.clear_workspaces(at(10_000), 1).await.unwrap());
        assert!(
            store
                .key_by_prefix(caller::prefix(KEY).unwrap())
                .await
                .unwrap()
                .is_none()
        );
        assert!(store.insert_workspace(workspace()).await.unwrap());
        store.put_app(other).await.unwrap();
    });
}
