//! API keys, sessions and apps, with their secrets.

use std::collections::BTreeSet;

use weir_domain::caller::{self, Key, Scope};
use weir_domain::credential::Secret;
use weir_domain::limits;

use super::world::*;
use super::{Factory, run};
use crate::App;

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
        // The key from the configuration is valid.
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
        // One more than a key may have: the one that expires first is deleted.
        for n in 1..=limits::SESSIONS_PER_KEY {
            let end = at(100 + i64::from(n));
            store.insert_session(session(n), key.id, end, at(1)).await.unwrap();
        }
        assert_eq!(store.session(session(0)).await.unwrap(), None);
        assert!(store.session(session(1)).await.unwrap().is_some());
        store.end_session(session(1)).await.unwrap();
        store.end_session(session(1)).await.unwrap();
        assert_eq!(store.session(session(1)).await.unwrap(), None);
        // An expired session is deleted when the next one begins.
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
