//! The lives of versions, what was written down of their calls, and whose a channel's state is.

use weir_domain::event::EventType;
use weir_domain::rollout::{Canary, CanaryRule, VersionStage};

use super::channels::version;
use super::world::*;
use super::{Factory, run};
use crate::{StateMove, StateWrite, TranscriptFilter, TranscriptRecord};

const NAME: &str = "example";

async fn with_two_versions(factory: Factory) -> World {
    let world = World::begin(factory).await;
    for (number, release, digest) in [("1.0.0", 1, "sha256:a"), ("1.1.0", 2, "sha256:b")] {
        world
            .store
            .stage_version(version(number, release, digest), at(1))
            .await
            .unwrap();
    }
    world.store.activate_version(NAME, "1.0.0", "", at(2)).await.unwrap();
    world
}

fn canary(percent: u8) -> Canary {
    Canary {
        percent,
        rule: CanaryRule::default(),
        since: at(3),
    }
}

async fn stages(world: &World) -> Vec<(String, VersionStage)> {
    let versions = world.store.versions().await.unwrap().into_iter();
    versions
        .map(|version| (version.manifest.version, version.stage))
        .collect()
}

pub fn a_trial_begins_grows_and_ends_with_its_reason(factory: Factory) {
    run(async {
        let world = with_two_versions(factory).await;
        let store = &world.store;
        for percent in [0, 50] {
            let on_trial = store.begin_canary(NAME, "1.1.0", canary(percent), at(3)).await.unwrap();
            assert_eq!(on_trial.unwrap().canary, Some(canary(percent)));
        }
        assert_eq!(
            stages(&world).await,
            [
                ("1.1.0".into(), VersionStage::Canary),
                ("1.0.0".into(), VersionStage::Active)
            ]
        );
        // What serves cannot be retired.
        for serves in ["1.0.0", "1.1.0"] {
            assert!(store.retire_version(NAME, serves, at(4)).await.unwrap().is_none());
        }
        let back = store
            .end_canary(NAME, "1.1.0", "it broke off", at(5))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((back.stage, back.canary), (VersionStage::Staged, None));
        assert!(store.end_canary(NAME, "1.1.0", "again", at(6)).await.unwrap().is_none());
        assert!(
            store
                .begin_canary(NAME, "9.9.9", canary(1), at(6))
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(world.told(EventType::ConnectorCanary).await.len(), 2);
        let told = world.told(EventType::ConnectorRolledBack).await;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].data["reason"], "it broke off");
        // Ahead all the same: the one before finishes what it began, and is retired then.
        let active = store
            .activate_version(NAME, "1.1.0", "seen to", at(7))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((active.stage, active.canary), (VersionStage::Active, None));
        assert_eq!(stages(&world).await[1], ("1.0.0".into(), VersionStage::Draining));
        store.retire_version(NAME, "1.0.0", at(8)).await.unwrap().unwrap();
        let steps = store.version_changes(NAME, 100).await.unwrap();
        let steps: Vec<_> = steps
            .iter()
            .map(|step| (step.version.as_str(), step.stage, step.reason.as_str()))
            .collect();
        assert_eq!(
            steps,
            [
                ("1.0.0", VersionStage::Retired, ""),
                ("1.1.0", VersionStage::Active, "seen to"),
                ("1.0.0", VersionStage::Draining, ""),
                ("1.1.0", VersionStage::Staged, "it broke off"),
                ("1.1.0", VersionStage::Canary, "serves 50 of 100 accounts"),
                ("1.1.0", VersionStage::Canary, "serves 0 of 100 accounts"),
                ("1.0.0", VersionStage::Active, ""),
                ("1.1.0", VersionStage::Staged, ""),
                ("1.0.0", VersionStage::Staged, ""),
            ]
        );
    });
}

pub fn a_state_is_handed_over_whole_and_given_back_as_it_was(factory: Factory) {
    run(async {
        let world = with_two_versions(factory).await;
        let (store, id) = (&world.store, world.channel.id);
        let write = |by: &str, value: &str| {
            vec![StateWrite {
                by: by.into(),
                key: "cursor".into(),
                value: Some(value.into()),
            }]
        };
        let state = |value: &str| [("cursor".to_owned(), value.as_bytes().to_vec())].into();
        store.commit_state(id, write("1.0.0", "1")).await.unwrap();
        let handed = |before: &str| StateMove {
            channel_id: id,
            from: "1.0.0".into(),
            to: "1.1.0".into(),
            before: state(before),
            after: state("one"),
        };
        // Written to in between: what was translated is not what is there.
        assert!(!store.hand_state_over(NAME, handed("0")).await.unwrap());
        assert_eq!(store.state_owners(NAME).await.unwrap()[0].version, None);
        assert!(store.hand_state_over(NAME, handed("1")).await.unwrap());
        assert_eq!(store.state(id).await.unwrap().entries, state("one"));
        let owners = store.state_owners(NAME).await.unwrap();
        assert_eq!(
            (owners[0].version.as_deref(), &owners[0].platform_id[..]),
            (Some("1.1.0"), ACCOUNT)
        );
        // A call of the old version that ends late writes nothing; one of the new does.
        store.commit_state(id, write("1.0.0", "2")).await.unwrap();
        assert_eq!(store.state(id).await.unwrap().entries, state("one"));
        store.commit_state(id, write("1.1.0", "two")).await.unwrap();
        assert_eq!(store.state(id).await.unwrap().entries, state("two"));
        assert_eq!(store.give_state_back(NAME, "1.1.0").await.unwrap(), 1);
        assert_eq!(store.state(id).await.unwrap().entries, state("1"));
        assert_eq!(
            store.state_owners(NAME).await.unwrap()[0].version.as_deref(),
            Some("1.0.0")
        );
        assert_eq!(store.give_state_back(NAME, "1.1.0").await.unwrap(), 0);
        store
            .hold_state(NAME, id, "1.0.0", "the new one loops", at(9))
            .await
            .unwrap();
        let held = store.state_owners(NAME).await.unwrap();
        assert_eq!(held[0].reason.as_deref(), Some("the new one loops"));
        let told = world.told(EventType::ChannelDegraded).await;
        assert_eq!(told[0].data["reason"], "the new one loops");
    });
}

pub fn transcripts_are_a_ring_and_go_with_their_contact(factory: Factory) {
    run(async {
        let world = with_two_versions(factory).await;
        let store = &world.store;
        world.hear(vec![says("m1", 1)], 1).await;
        let conversation = world.conversation("thread").await;
        let record = |n: i64, json: &str| TranscriptRecord {
            id: world.id(),
            connector: NAME.into(),
            version: "1.0.0".into(),
            call: if n % 2 == 0 { "receive" } else { "send" }.into(),
            channel_id: Some(world.channel.id),
            broke_off: n == 3,
            at: at(n),
            json: json.into(),
        };
        for n in 0..5 {
            store
                .keep_transcript(record(n, &format!("{{\"n\":{n}}}")), 3)
                .await
                .unwrap();
        }
        let all = TranscriptFilter {
            limit: 100,
            ..TranscriptFilter::default()
        };
        let kept = store.transcripts(NAME, all.clone()).await.unwrap();
        assert_eq!(kept.iter().map(|one| one.at).collect::<Vec<_>>(), [at(4), at(3), at(2)]);
        assert!(kept[0].json.is_empty());
        let broke = TranscriptFilter {
            broke_off: true,
            whole: true,
            ..all.clone()
        };
        let broke = store.transcripts(NAME, broke).await.unwrap();
        assert_eq!(broke.len(), 1);
        assert_eq!(broke[0].json, "{\"n\":3}");
        assert_eq!(store.transcript(NAME, broke[0].id).await.unwrap().unwrap(), broke[0]);
        assert!(store.transcript("another", broke[0].id).await.unwrap().is_none());
        let contact = conversation.contact;
        store
            .keep_transcript(record(6, &format!("{{\"from\":\"{}\"}}", contact.platform_id)), 9)
            .await
            .unwrap();
        store.erase_contact(DEFAULT, contact.id, at(7)).await.unwrap();
        while store.erase_on().await.unwrap() == crate::Erasing::More {}
        assert_eq!(store.transcripts(NAME, all.clone()).await.unwrap().len(), 3);
        assert_eq!(store.drop_transcripts(at(4)).await.unwrap(), 2);
        assert_eq!(store.transcripts(NAME, all).await.unwrap().len(), 1);
    });
}
