//! Versions of connectors, and the operator's grants.

use bytes::Bytes;

use weir_domain::event::EventType;
use weir_domain::grant::{Grant, Grants};
use weir_domain::manifest::RouteClass;
use weir_domain::rollout::{VersionAct, VersionStage};

use super::world::*;
use super::{Factory, run};
use crate::{NewVersion, Revised, Signature, StageError};

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
        assert_eq!(world.events_of(EventType::ConnectorStaged).await.len(), 1);
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
        // A component that was changed is repaired by installing the version again.
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
        assert!(names.is_empty(), "no node runs it");
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
        // Quarantined once, however often it is requested, and restored by a normal promotion.
        for _ in 0..2 {
            let aside = world
                .store
                .quarantine_version("example", "1.0.0", "it broke off", at(3))
                .await;
            assert_eq!(aside.unwrap().unwrap().stage, VersionStage::Quarantined);
        }
        let events = world.events_of(EventType::ConnectorQuarantined).await;
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].data["reason"], "it broke off");
        let missing = world.store.quarantine_version("example", "9.9.9", "", at(3)).await;
        assert!(missing.unwrap().is_none());
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
        assert_eq!(world.events_of(EventType::ConnectorPromoted).await.len(), 3);
        assert_eq!(world.events_of(EventType::ConnectorRolledBack).await.len(), 1);
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
