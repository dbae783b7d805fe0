//! Keys, apps, connectors and accounts are kept as they were given.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use weir_domain::caller::{self, Key, Scope};
use weir_domain::channel::ChannelStatus;
use weir_domain::credential::{Secret, Tokens};
use weir_domain::event::EventType;
use weir_domain::grant::{Grant, Grants};
use weir_domain::id::{ChannelId, ConnectSessionId};
use weir_domain::limits;
use weir_domain::manifest::RouteClass;
use weir_domain::rollout::VersionAct;

use super::world::*;
use super::{Factory, run};
use crate::{
    App, ChannelPatch, ConnectEnd, ConnectSession, ConversationFilter, HistoryGap, NewChannel, NewVersion, Page,
    Revised, Signature, StageError, StateWrite, VersionStage,
};

pub fn a_key_is_found_by_its_prefix_until_and_after_it_ends(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let text = "weir_0123456789abcdef";
        let key = Key {
            id: world.id(),
            workspace_id: DEFAULT.into(),
            name: "test".into(),
            prefix: caller::prefix(text).unwrap().into(),
            digest: caller::digest(text),
            scopes: [Scope::Read, Scope::MessagesWrite].into(),
            channels: BTreeSet::new(),
            created_at: at(0),
            expires_at: Some(at(100)),
            revoked_at: None,
        };
        world.store.insert_key(key.clone()).await.unwrap();
        assert_eq!(world.store.key_by_prefix(&key.prefix).await.unwrap(), Some(key.clone()));
        assert_eq!(world.store.key_by_prefix("weir_other").await.unwrap(), None);
        let twin = Key {
            id: world.id(),
            ..key.clone()
        };
        assert!(world.store.insert_key(twin).await.is_err());
        assert!(!world.store.revoke_key("another", key.id, at(5)).await.unwrap());
        assert!(world.store.revoke_key(DEFAULT, key.id, at(5)).await.unwrap());
        assert!(world.store.revoke_key(DEFAULT, key.id, at(6)).await.unwrap());
        let ended = Key {
            revoked_at: Some(at(5)),
            ..key
        };
        assert_eq!(world.store.keys(DEFAULT).await.unwrap(), [ended]);
    });
}

pub fn a_configured_key_takes_the_place_of_the_one_before(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let store = &world.store;
        let key = |text: &str| Key {
            id: world.id(),
            workspace_id: DEFAULT.into(),
            name: "CONFIGURED".into(),
            prefix: text.into(),
            digest: caller::digest(text),
            scopes: [Scope::Admin].into(),
            channels: BTreeSet::new(),
            created_at: at(0),
            expires_at: None,
            revoked_at: None,
        };
        let (first, second) = (key("first-key"), key("second-key"));
        let session = caller::digest("session");
        for _ in 0..2 {
            store.put_configured_key(first.clone(), at(1)).await.unwrap();
        }
        store.insert_session(session, first.id, at(100), at(1)).await.unwrap();
        store.put_configured_key(first.clone(), at(1)).await.unwrap();
        assert!(store.session(session).await.unwrap().is_some());
        store.put_configured_key(second.clone(), at(2)).await.unwrap();
        assert!(store.key_by_prefix(&first.prefix).await.unwrap().is_none());
        assert_eq!(store.session(session).await.unwrap(), None);
        let works = async |key: &Key| {
            let known = store.key_by_prefix(&key.prefix).await.unwrap();
            known.is_some_and(|known| known.digest == key.digest && known.revoked_at.is_none())
        };
        assert!(works(&second).await);
        store.revoke_key(DEFAULT, first.id, at(3)).await.unwrap();
        assert!(!works(&second).await);
        // What the configuration names works.
        store.put_configured_key(first.clone(), at(4)).await.unwrap();
        assert!(works(&first).await);
        assert_eq!(store.keys(DEFAULT).await.unwrap().len(), 1);
    });
}

pub fn a_session_is_kept_with_its_key_until_it_is_over(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let key = Key {
            id: world.id(),
            workspace_id: DEFAULT.into(),
            name: "test".into(),
            prefix: "weir_0123456789a".into(),
            digest: caller::digest("weir_0123456789abcdef"),
            scopes: [Scope::Read].into(),
            channels: BTreeSet::new(),
            created_at: at(0),
            expires_at: None,
            revoked_at: None,
        };
        world.store.insert_key(key.clone()).await.unwrap();
        let session = |n: u32| caller::digest(&n.to_string());
        let store = &world.store;
        store.insert_session(session(0), key.id, at(100), at(0)).await.unwrap();
        let found = store.session(session(0)).await.unwrap().unwrap();
        assert_eq!((found.digest, found.expires_at), (session(0), at(100)));
        assert_eq!(found.key, key);
        // One more than a key may have: the one that ends first goes.
        for n in 1..=limits::SESSIONS_PER_KEY {
            let end = at(100 + i64::from(n));
            store.insert_session(session(n), key.id, end, at(1)).await.unwrap();
        }
        assert_eq!(store.session(session(0)).await.unwrap(), None);
        assert!(store.session(session(1)).await.unwrap().is_some());
        store.end_session(session(1)).await.unwrap();
        store.end_session(session(1)).await.unwrap();
        assert_eq!(store.session(session(1)).await.unwrap(), None);
        // What is over goes when the next one begins.
        store
            .insert_session(session(999), key.id, at(500), at(102))
            .await
            .unwrap();
        assert_eq!(store.session(session(2)).await.unwrap(), None);
        assert!(store.session(session(3)).await.unwrap().is_some());
    });
}

pub fn an_app_keeps_its_secrets_and_when_it_was_first_put(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let changed = App {
            secrets: [(
                "client_secret".to_owned(),
                vec![Secret::new("new"), Secret::new("app-secret")],
            )]
            .into(),
            old_secrets_until: Some(at(60)),
            created_at: at(50),
            updated_at: at(50),
            ..app("example")
        };
        world.store.put_app(changed.clone()).await.unwrap();
        let known = world.store.app("example").await.unwrap().unwrap();
        assert_eq!(known.secrets, changed.secrets);
        assert_eq!((known.created_at, known.updated_at), (at(0), at(50)));
        assert_eq!(known.secrets_at(at(59))["client_secret"].len(), 2);
        assert_eq!(known.secrets_at(at(60))["client_secret"], [Secret::new("new")]);
        assert!(world.store.app("none").await.unwrap().is_none());
        world.store.put_app(app("another")).await.unwrap();
        let names: Vec<String> = world
            .store
            .apps()
            .await
            .unwrap()
            .into_iter()
            .map(|app| app.name)
            .collect();
        assert_eq!(names, ["another", "example"]);
    });
}

pub(super) fn version(number: &str, release: u32, digest: &str) -> NewVersion {
    NewVersion {
        manifest: manifest(number, release),
        component: Bytes::from(digest.to_owned()),
        digest: digest.into(),
        signature: Signature {
            status: "unsigned".into(),
            key: None,
            text: None,
        },
        source: None,
        allow_downgrade: false,
    }
}

pub fn a_version_number_stands_for_one_set_of_bytes(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let first = world
            .store
            .stage_version(version("1.0.0", 2, "sha256:a"), at(1))
            .await
            .unwrap();
        assert_eq!(first.stage, VersionStage::Staged);
        let again = world
            .store
            .stage_version(version("1.0.0", 2, "sha256:a"), at(2))
            .await
            .unwrap();
        assert_eq!(again.staged_at, at(1));
        assert_eq!(world.told(EventType::ConnectorStaged).await.len(), 1);
        let other = world.store.stage_version(version("1.0.0", 2, "sha256:b"), at(3)).await;
        assert!(matches!(other, Err(StageError::Taken { .. })));
        let older = world.store.stage_version(version("0.9.0", 1, "sha256:c"), at(4)).await;
        assert!(matches!(
            older,
            Err(StageError::Downgrade {
                wanted: 1,
                newest: 2,
                ..
            })
        ));
        let source = Some("oci://registry.example/acme/example:0.9.0".to_owned());
        let asked_for = NewVersion {
            source: source.clone(),
            allow_downgrade: true,
            ..version("0.9.0", 1, "sha256:c")
        };
        world.store.stage_version(asked_for, at(5)).await.unwrap();
        let versions = world.store.versions().await.unwrap();
        let numbers: Vec<&str> = versions
            .iter()
            .map(|version| version.manifest.version.as_str())
            .collect();
        assert_eq!(numbers, ["1.0.0", "0.9.0"]);
        assert_eq!((&versions[0].source, &versions[1].source), (&None, &source));
    });
}

pub fn a_component_is_kept_with_its_version(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let store = &world.store;
        store
            .stage_version(version("1.0.0", 1, "sha256:a"), at(1))
            .await
            .unwrap();
        let refused = store.stage_version(version("1.0.0", 1, "sha256:b"), at(2)).await;
        assert!(matches!(refused, Err(StageError::Taken { .. })));
        assert_eq!(store.component("sha256:b").await.unwrap(), None);
        assert_eq!(store.component("sha256:a").await.unwrap().unwrap(), "sha256:a");
        assert!(store.missing_components().await.unwrap().is_empty());
        // Changed by somebody, and mended by whoever installs the version again.
        store.keep_component("sha256:a", Bytes::from("other")).await.unwrap();
        assert_eq!(store.component("sha256:a").await.unwrap().unwrap(), "other");
        let staged = store
            .stage_version(version("1.0.0", 1, "sha256:a"), at(3))
            .await
            .unwrap();
        assert_eq!((staged.staged_at, staged.size), (at(1), 8));
        assert_eq!(store.component("sha256:a").await.unwrap().unwrap(), "sha256:a");
    });
}

pub fn what_is_kept_in_memory_is_numbered_when_it_changes(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let store = &world.store;
        let last = async |seen: i64| {
            let newer = store.revisions_after(seen).await.unwrap();
            let names: Vec<_> = newer.iter().map(|newer| (newer.kind, newer.name.clone())).collect();
            (newer.last().map_or(seen, |newer| newer.revision), names)
        };
        let (seen, _) = last(0).await;
        assert_eq!(last(seen).await, (seen, Vec::new()));
        store.put_app(app("second")).await.unwrap();
        store.put_app(app("first")).await.unwrap();
        store.put_app(app("second")).await.unwrap();
        let (seen, names) = last(seen).await;
        let apps = ["first", "second"].map(|name| (Revised::App, name.to_owned()));
        assert_eq!(names, apps, "each once, in the order of its last change");
        store
            .stage_version(version("1.0.0", 1, "sha256:a"), at(1))
            .await
            .unwrap();
        let (seen, names) = last(seen).await;
        assert!(names.is_empty(), "nobody runs it");
        let connector = (Revised::Connector, "example".to_owned());
        store.put_grants("example", Grants::default(), at(2)).await.unwrap();
        let (seen, names) = last(seen).await;
        assert_eq!(names, std::slice::from_ref(&connector));
        store
            .activate_version("example", "1.0.0", VersionAct::Promote, "", at(3))
            .await
            .unwrap();
        let (seen, names) = last(seen).await;
        assert_eq!(names, std::slice::from_ref(&connector));
        store
            .quarantine_version("example", "1.0.0", "it crashed", at(4))
            .await
            .unwrap();
        let (seen, names) = last(seen).await;
        assert_eq!(names, [connector]);
        store.end_session([1; 32]).await.unwrap();
        assert_eq!(last(seen).await.1, [(Revised::Keys, "ended".to_owned())]);
    });
}

pub fn one_version_of_a_connector_is_active(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        world
            .store
            .stage_version(version("1.0.0", 1, "sha256:a"), at(1))
            .await
            .unwrap();
        world
            .store
            .stage_version(version("1.1.0", 2, "sha256:b"), at(2))
            .await
            .unwrap();
        for number in ["1.0.0", "1.1.0", "1.0.0"] {
            let active = world
                .store
                .activate_version("example", number, VersionAct::Promote, "", at(3))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(active.stage, VersionStage::Active);
            let all = world.store.versions().await.unwrap();
            assert_eq!(
                all.iter()
                    .filter(|version| version.stage == VersionStage::Active)
                    .count(),
                1
            );
        }
        let known = world.store.version("example", "1.1.0").await.unwrap().unwrap();
        assert_eq!(known.stage, VersionStage::Draining);
        // Quarantined once, however often it is said, and back by the way that every version takes.
        for _ in 0..2 {
            let aside = world
                .store
                .quarantine_version("example", "1.0.0", "it broke off", at(3))
                .await;
            assert_eq!(aside.unwrap().unwrap().stage, VersionStage::Quarantined);
        }
        let told = world.told(EventType::ConnectorQuarantined).await;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].data["reason"], "it broke off");
        let nobody = world.store.quarantine_version("example", "9.9.9", "", at(3)).await;
        assert!(nobody.unwrap().is_none());
        let back = world
            .store
            .activate_version("example", "1.0.0", VersionAct::Promote, "", at(3))
            .await;
        assert_eq!(back.unwrap().unwrap().stage, VersionStage::Active);
        assert!(
            world
                .store
                .activate_version("example", "9.9.9", VersionAct::Promote, "", at(4))
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(world.told(EventType::ConnectorPromoted).await.len(), 3);
        assert_eq!(world.told(EventType::ConnectorRolledBack).await.len(), 1);
        assert_eq!(world.store.grants("example").await.unwrap(), Grants::default());
        let grants = Grants::to(vec![Grant {
            capability: "http".into(),
            route: "send".into(),
            method: "POST".into(),
            origin: "https://api.example.com".into(),
            path: "/messages".into(),
            class: RouteClass::MessageSend,
            secrets: Vec::new(),
            places: Vec::new(),
            body_has: Vec::new(),
            terms: None,
            why: String::new(),
        }]);
        world.store.put_grants("example", grants.clone(), at(5)).await.unwrap();
        assert_eq!(world.store.grants("example").await.unwrap(), grants);
    });
}

pub(super) fn session(id: ConnectSessionId, state: &str) -> ConnectSession {
    ConnectSession {
        id,
        workspace_id: DEFAULT.into(),
        app: "example".into(),
        channel_id: None,
        name: Some("Shop".into()),
        labels: BTreeMap::new(),
        country: None,
        redirect_url: None,
        state: Secret::new(state),
        browser: Secret::new("browser"),
        verifier: Secret::new("verifier"),
        created_at: at(0),
        expires_at: at(600),
        end: ConnectEnd::Pending,
        tokens: None,
    }
}

pub fn a_connect_session_always_gets_an_end(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let (nobody, late, recent) = (world.id(), world.id(), world.id());
        for (id, state) in [(nobody, "state-1"), (late, "state-2"), (recent, "state-3")] {
            world.store.insert_connect_session(session(id, state)).await.unwrap();
        }
        for state in ["state-2", "state-3"] {
            world
                .store
                .take_connect_session(state, "node", at(599))
                .await
                .unwrap()
                .unwrap();
        }
        let end = async |id, seconds| {
            world
                .store
                .connect_session(DEFAULT, id, at(seconds))
                .await
                .unwrap()
                .unwrap()
                .end
        };
        let sweep = async |now| world.store.end_connect_sessions(at(now)).await.unwrap();
        assert_eq!(sweep(599).await, 0, "nothing is over");
        assert_eq!(sweep(600).await, 1);
        // Read at a time when it was not over: it has an end in the record.
        assert_eq!(end(nobody, 1).await, ConnectEnd::Expired);
        let succeeded = ConnectEnd::Succeeded {
            channel_id: world.channel.id,
        };
        world
            .store
            .finish_connect_session(recent, succeeded.clone())
            .await
            .unwrap();
        assert_eq!(sweep(1_200).await, 0);
        assert_eq!(
            end(late, 1_200).await,
            ConnectEnd::Taken,
            "whoever took it ends it, or the next start"
        );
        assert_eq!(end(recent, 1_200).await, succeeded);
    });
}

pub fn a_connect_session_is_taken_once_and_in_time(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let (first, second) = (world.id(), world.id());
        world
            .store
            .insert_connect_session(session(first, "state-1"))
            .await
            .unwrap();
        world
            .store
            .insert_connect_session(session(second, "state-2"))
            .await
            .unwrap();
        assert!(
            world
                .store
                .take_connect_session("state-3", "node", at(1))
                .await
                .unwrap()
                .is_none()
        );
        let (one, other) = tokio::join!(
            world.store.take_connect_session("state-1", "node", at(2)),
            world.store.take_connect_session("state-1", "node", at(2)),
        );
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!(one.is_some() != other.is_some());
        let taken = one.or(other).unwrap();
        assert_eq!(
            (taken.id, taken.verifier.expose(), &taken.end),
            (first, "verifier", &ConnectEnd::Taken)
        );
        let end = ConnectEnd::Failed {
            code: "denied".into(),
            detail: "the person said no".into(),
        };
        world.store.finish_connect_session(first, end.clone()).await.unwrap();
        assert_eq!(
            world
                .store
                .connect_session(DEFAULT, first, at(3))
                .await
                .unwrap()
                .unwrap()
                .end,
            end
        );
        let pending = world
            .store
            .connect_session(DEFAULT, second, at(599))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(pending.end, ConnectEnd::Pending);
        let late = world
            .store
            .connect_session(DEFAULT, second, at(600))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(late.end, ConnectEnd::Expired);
        assert!(
            world
                .store
                .take_connect_session("state-2", "node", at(600))
                .await
                .unwrap()
                .is_none()
        );
    });
}

pub fn a_taken_session_is_found_until_it_ends(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let store = &world.store;
        let (node, other) = (
            store.register_node("node", "1.0.0", at(0)).await.unwrap().id,
            store.register_node("other", "1.0.0", at(0)).await.unwrap().id,
        );
        let id = world.id();
        store.insert_connect_session(session(id, "state")).await.unwrap();
        assert!(store.taken_connect_sessions(&node, at(1)).await.unwrap().is_empty());
        store
            .take_connect_session("state", &other, at(1))
            .await
            .unwrap()
            .unwrap();
        let tokens = Tokens {
            credential: credential("first"),
            scopes: None,
            platform_id: Some("new".into()),
        };
        store.keep_first_tokens(id, tokens.clone()).await.unwrap();
        // Long after its time, too: the code is spent, and nobody else has these.
        assert!(store.taken_connect_sessions(&node, at(9_000)).await.unwrap().is_empty());
        store.remove_node(&other, at(9_000)).await.unwrap();
        let taken = store.taken_connect_sessions(&node, at(9_000)).await.unwrap();
        assert_eq!((taken.len(), taken[0].tokens.as_ref()), (1, Some(&tokens)));
        let new = NewChannel {
            session: Some(id),
            ..account("new")
        };
        let (channel, _) = store.connect_channel(new, tokens.credential, at(9_001)).await.unwrap();
        assert!(store.taken_connect_sessions(&node, at(9_001)).await.unwrap().is_empty());
        let found = store.connect_session_of("state", at(9_001)).await.unwrap().unwrap();
        let end = ConnectEnd::Succeeded { channel_id: channel.id };
        assert_eq!((found.id, found.end, found.tokens), (id, end, None));
        assert!(store.connect_session_of("other", at(1)).await.unwrap().is_none());
    });
}

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
        // The process ended before it was reported.
        assert_eq!(store.resume_set_ups(at(10)).await.unwrap(), 1);
        assert_eq!(due(10).await, [channel.id]);
        let shown = store.channel(DEFAULT, channel.id).await.unwrap().unwrap();
        assert_eq!(shown.status, ChannelStatus::Degraded);
        assert_eq!(world.told(EventType::ChannelDegraded).await.len(), 1);
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

pub fn an_account_connected_again_keeps_its_id_and_name(factory: Factory) {
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
        assert_eq!(world.told(EventType::ChannelConnected).await.len(), 2);
    });
}

pub fn an_operators_change_is_told_with_the_channel(factory: Factory) {
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
        let told = world.told(EventType::ChannelUpdated).await;
        let shown = weir_domain::event::Channel::from(changed.clone());
        assert_eq!(told[0].data, serde_json::to_value(shown).unwrap());
        assert_eq!(told[0].channel_id, Some(changed.id));
        assert_eq!(world.store.channel(DEFAULT, changed.id).await.unwrap(), Some(changed));
        let nobody: ChannelId = world.id();
        assert!(
            world
                .store
                .update_channel(DEFAULT, nobody, ChannelPatch::default(), at(2))
                .await
                .unwrap()
                .is_none()
        );
    });
}

pub fn a_credential_is_given_back_as_it_was_and_destroyed_with_its_channel(factory: Factory) {
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
        // A repeated write of the same changes nothing; one that was made from another credential is too late.
        assert!(put("token", "rotated").await);
        assert!(!put("token", "of the old grant").await);
        assert_eq!(
            world.store.credential(DEFAULT, id).await.unwrap(),
            Some(credential("rotated"))
        );
        world.store.delete_channel(DEFAULT, id, at(1)).await.unwrap();
        assert_eq!(world.store.credential(DEFAULT, id).await.unwrap(), None);
        // A renewal that was under way does not undo the deletion.
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
        assert_eq!(world.told(EventType::ChannelRecovered).await.len(), 1);
    });
}

pub fn a_renewal_without_an_end_is_due(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let (store, id) = (&world.store, world.channel.id);
        store.begin_renewal(DEFAULT, id, at(1)).await.unwrap();
        assert_eq!(store.renewal_begun(DEFAULT, id).await.unwrap(), Some(at(1)));
        assert_eq!(
            store.credentials_due(at(2), 10).await.unwrap(),
            [(DEFAULT.to_owned(), id)]
        );
        store.end_renewal(DEFAULT, id).await.unwrap();
        assert!(store.credentials_due(at(2), 10).await.unwrap().is_empty());
        store.begin_renewal(DEFAULT, id, at(3)).await.unwrap();
        let put = store.put_credential(DEFAULT, id, credential("token"), credential("rotated"), at(4));
        assert!(put.await.unwrap());
        assert_eq!(store.renewal_begun(DEFAULT, id).await.unwrap(), None);
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
        // A dead authorization cannot be renewed without a person.
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
            .map(|n| says_in(&format!("t{n}"), &format!("m{n}"), 10 + n / 2))
            .collect();
        world.hear(many, 20).await;
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
        // Asked for from a later moment, it is still owed from the earlier one.
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
