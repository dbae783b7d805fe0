//! Sessions in which a person connects an account.

use std::collections::BTreeMap;

use weir_domain::credential::{Secret, Tokens};
use weir_domain::id::ConnectSessionId;

use super::world::*;
use super::{Factory, run};
use crate::{ConnectEnd, ConnectSession, NewChannel};

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
        let (missing, late, recent) = (world.id(), world.id(), world.id());
        for (id, state) in [(missing, "state-1"), (late, "state-2"), (recent, "state-3")] {
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
        // Read before it expired: its end is stored.
        assert_eq!(end(missing, 1).await, ConnectEnd::Expired);
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
            "the node that claimed it ends it, or the next start"
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
        // Long after its expiry, too: the code is consumed, and only this session has the tokens.
        assert!(store.taken_connect_sessions(&node, at(9_000)).await.unwrap().is_empty());
        store.remove_node(&other, at(9_000), at(9_000)).await.unwrap();
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
