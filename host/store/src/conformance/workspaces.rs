//! A workspace is made once, and removed with all that is in it.

use std::collections::BTreeSet;

use weir_domain::caller::{self, Key, Scope};
use weir_domain::event::EventFilter;
use weir_domain::inbound::InboundEvent;
use weir_domain::workspace::{InUse, Workspace};

use crate::conformance::world::{World, account, app, at, credential, page, says_in};
use crate::conformance::{Factory, run};
use crate::{App, ConversationFilter, NewChannel, RemoveWorkspaceError, Source, StoreError};

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
            let heard = store
                .record_inbound(
                    &its_app(),
                    vec![InboundEvent {
                        channel_platform_id: "acme-account".to_owned(),
                        ..says_in(thread, &format!("m-{thread}"), 5)
                    }],
                    Source::Webhook,
                    &world.book,
                    at(5),
                )
                .await;
            assert_eq!(heard.unwrap().stored, 1, "{thread}");
        }
        world.hear(vec![says_in("ours", "m1", 5)], 5).await;
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
        store.delete_channel(channel.id, at(7)).await.unwrap();

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
        assert!(store.channel(channel.id).await.unwrap().is_none());
        assert_eq!(world.messages("ours").await.len(), 1, "others keep what is theirs");
        // What was begun before the mark may still come; then the name is free.
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
