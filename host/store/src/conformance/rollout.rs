//! Stages of versions, figures and transcripts of their calls, and the owner of a channel's state.

use std::collections::BTreeMap;

use weir_domain::channel::ChannelStatus;
use weir_domain::event::EventType;
use weir_domain::rollout::{Canary, CanaryRule, Intent, VersionAct, VersionStage};

use super::versions::version;
use super::world::*;
use super::{Factory, run};
use crate::{
    CanaryFigures, HeldAccounts, Retirement, StateMove, StateWrite, TranscriptFilter, TranscriptRecord, VersionCrash,
};

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
    world
        .store
        .activate_version(NAME, "1.0.0", VersionAct::Promote, "", at(2))
        .await
        .unwrap();
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
            let started = store.begin_canary(NAME, "1.1.0", canary(percent), at(3)).await.unwrap();
            assert_eq!(started.unwrap().canary, Some(canary(percent)));
        }
        assert_eq!(
            stages(&world).await,
            [
                ("1.1.0".into(), VersionStage::Canary),
                ("1.0.0".into(), VersionStage::Active)
            ]
        );
        // A version that serves cannot be retired.
        for serves in ["1.0.0", "1.1.0"] {
            let refused = store.retire_version(NAME, serves, at(4)).await.unwrap();
            assert!(matches!(refused, Retirement::Serves), "{refused:?}");
        }
        let back = store
            .end_canary(NAME, "1.1.0", "it broke off", true, at(5))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((back.stage, back.canary), (VersionStage::Staged, None));
        assert_eq!(back.failure.unwrap().reason, "it broke off");
        let again = store.end_canary(NAME, "1.1.0", "again", false, at(6)).await.unwrap();
        assert!(again.is_none());
        assert!(
            store
                .begin_canary(NAME, "9.9.9", canary(1), at(6))
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(world.events_of(EventType::ConnectorCanary).await.len(), 2);
        let events = world.events_of(EventType::ConnectorRolledBack).await;
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].data["reason"], "it broke off");
        assert_eq!(
            (&events[0].data["version"], &events[0].data["state"]),
            (&"1.1.0".into(), &"staged".into())
        );
        // It becomes active anyway: the previous one drains, and is retired then.
        let active = store
            .activate_version(NAME, "1.1.0", VersionAct::Promote, "seen to", at(7))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((active.stage, active.canary), (VersionStage::Active, None));
        assert_eq!(stages(&world).await[1], ("1.0.0".into(), VersionStage::Draining));
        let retired = store.retire_version(NAME, "1.0.0", at(8)).await.unwrap();
        assert!(matches!(retired, Retirement::Retired(_)), "{retired:?}");
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

fn write(by: &str, value: &str) -> Vec<StateWrite> {
    vec![StateWrite {
        by: by.into(),
        key: "cursor".into(),
        value: Some(value.into()),
    }]
}

fn cursor(value: &str) -> BTreeMap<String, Vec<u8>> {
    [("cursor".to_owned(), value.as_bytes().to_vec())].into()
}

/// A move of the world's channel, from 1.0.0 to 1.1.0.
fn state_move(world: &World, before: &str, after: &str) -> StateMove {
    StateMove {
        channel_id: world.channel.id,
        from: "1.0.0".into(),
        to: "1.1.0".into(),
        before: cursor(before),
        after: cursor(after),
    }
}

async fn owned_by(world: &World) -> String {
    let owners = world.store.state_owners(NAME).await.unwrap();
    assert_eq!((owners.len(), &owners[0].platform_id[..]), (1, ACCOUNT));
    owners[0].version.clone()
}

pub fn state_moves_whole_and_rolls_back(factory: Factory) {
    run(async {
        let world = with_two_versions(factory).await;
        let (store, id) = (&world.store, world.channel.id);
        assert!(store.state_owners(NAME).await.unwrap().is_empty());
        assert!(store.commit_state(DEFAULT, id, write("1.0.0", "1")).await.unwrap());
        assert_eq!(owned_by(&world).await, "1.0.0");
        // Written in between: the translated state is not the stored one.
        assert!(
            !store
                .move_stored_state(NAME, state_move(&world, "0", "one"))
                .await
                .unwrap()
        );
        assert_eq!(owned_by(&world).await, "1.0.0");
        assert!(
            store
                .move_stored_state(NAME, state_move(&world, "1", "one"))
                .await
                .unwrap()
        );
        assert_eq!(store.state(DEFAULT, id).await.unwrap().entries, cursor("one"));
        assert_eq!(owned_by(&world).await, "1.1.0");
        // A late write of the old version's call is rejected; one of the new version is not.
        assert!(!store.commit_state(DEFAULT, id, write("1.0.0", "2")).await.unwrap());
        assert_eq!(store.state(DEFAULT, id).await.unwrap().entries, cursor("one"));
        assert!(store.commit_state(DEFAULT, id, write("1.1.0", "two")).await.unwrap());
        assert_eq!(store.state(DEFAULT, id).await.unwrap().entries, cursor("two"));
        // Only to the version that it was taken over from.
        assert!(!store.give_state_back(NAME, id, "1.1.0", "0.9.0").await.unwrap());
        assert!(store.give_state_back(NAME, id, "1.1.0", "1.0.0").await.unwrap());
        assert_eq!(store.state(DEFAULT, id).await.unwrap().entries, cursor("1"));
        assert_eq!(owned_by(&world).await, "1.0.0");
        assert!(!store.give_state_back(NAME, id, "1.1.0", "1.0.0").await.unwrap());
        store
            .hold_state(NAME, id, "1.0.0", "the new one loops", at(9))
            .await
            .unwrap();
        let held = store.state_owners(NAME).await.unwrap();
        assert_eq!(held[0].reason.as_deref(), Some("the new one loops"));
        let events = world.events_of(EventType::ChannelDegraded).await;
        assert_eq!(events[0].data["reason"], "the new one loops");
    });
}

pub fn an_owner_keeps_its_version_from_retirement(factory: Factory) {
    run(async {
        let world = with_two_versions(factory).await;
        let (store, id) = (&world.store, world.channel.id);
        store
            .activate_version(NAME, "1.1.0", VersionAct::Promote, "", at(3))
            .await
            .unwrap();
        assert!(store.commit_state(DEFAULT, id, write("1.0.0", "1")).await.unwrap());
        let refused = store.retire_version(NAME, "1.0.0", at(4)).await.unwrap();
        assert!(matches!(refused, Retirement::Owns(1)), "{refused:?}");
        assert!(
            store
                .move_stored_state(NAME, state_move(&world, "1", "1"))
                .await
                .unwrap()
        );
        let retired = store.retire_version(NAME, "1.0.0", at(5)).await.unwrap();
        assert!(matches!(retired, Retirement::Retired(_)), "{retired:?}");
        let missing = store.retire_version(NAME, "9.9.9", at(5)).await.unwrap();
        assert!(matches!(missing, Retirement::NotFound), "{missing:?}");
    });
}

fn intent(act: VersionAct, version: &str, taker: &str) -> Intent {
    Intent {
        act,
        version: version.into(),
        taker: taker.into(),
        before: Some("1.0.0".into()),
        canary: (act == VersionAct::BeginCanary).then(|| canary(50)),
        failed: false,
        reason: "wanted".into(),
        begun_at: at(3),
    }
}

pub fn an_undone_change_leaves_states_as_they_were(factory: Factory) {
    run(async {
        let world = with_two_versions(factory).await;
        let (store, id) = (&world.store, world.channel.id);
        let node = store.register_node("node", "1.0.0", at(1)).await.unwrap().id;
        assert!(store.commit_state(DEFAULT, id, write("1.0.0", "1")).await.unwrap());
        let promote = intent(VersionAct::Promote, "1.1.0", "1.1.0");
        assert!(store.begin_version_change(NAME, promote.clone(), &node).await.unwrap());
        // One at a time.
        let second = intent(VersionAct::BeginCanary, "1.1.0", "1.1.0");
        assert!(!store.begin_version_change(NAME, second.clone(), &node).await.unwrap());
        assert_eq!(
            store.open_version_changes(&node).await.unwrap(),
            [(NAME.to_owned(), promote.clone())]
        );
        // Another node completes it when this one has died, and not before.
        let other = store.register_node("other", "1.0.0", at(1)).await.unwrap().id;
        assert!(store.open_version_changes(&other).await.unwrap().is_empty());
        store.end_other_nodes(&other, at(3), at(3)).await.unwrap();
        assert_eq!(
            store.open_version_changes(&other).await.unwrap(),
            [(NAME.to_owned(), promote)]
        );
        assert!(
            store
                .move_stored_state(NAME, state_move(&world, "1", "one"))
                .await
                .unwrap()
        );
        assert!(store.commit_state(DEFAULT, id, write("1.1.0", "two")).await.unwrap());
        assert_eq!(store.undo_version_change(NAME).await.unwrap(), 1);
        assert_eq!(store.state(DEFAULT, id).await.unwrap().entries, cursor("1"));
        assert_eq!(owned_by(&world).await, "1.0.0");
        assert!(store.open_version_changes(&node).await.unwrap().is_empty());
        assert_eq!(stages(&world).await[1], ("1.0.0".into(), VersionStage::Active));
        // Also a change that returned states: they belong to the taker again, with their copies.
        assert!(
            store
                .move_stored_state(NAME, state_move(&world, "1", "one"))
                .await
                .unwrap()
        );
        store.begin_canary(NAME, "1.1.0", canary(100), at(4)).await.unwrap();
        let end = intent(VersionAct::EndCanary, "1.1.0", "1.0.0");
        assert!(store.begin_version_change(NAME, end, &node).await.unwrap());
        assert!(store.give_state_back(NAME, id, "1.1.0", "1.0.0").await.unwrap());
        assert_eq!(store.undo_version_change(NAME).await.unwrap(), 1);
        assert_eq!(owned_by(&world).await, "1.1.0");
        assert_eq!(store.state(DEFAULT, id).await.unwrap().entries, cursor("one"));
        assert!(store.give_state_back(NAME, id, "1.1.0", "1.0.0").await.unwrap());
        assert_eq!(store.state(DEFAULT, id).await.unwrap().entries, cursor("1"));
        // The change of stages ends the intent, and the states that it moved stay.
        assert!(store.begin_version_change(NAME, second, &node).await.unwrap());
        assert!(
            store
                .move_stored_state(NAME, state_move(&world, "1", "one"))
                .await
                .unwrap()
        );
        store.begin_canary(NAME, "1.1.0", canary(50), at(5)).await.unwrap();
        assert!(store.open_version_changes(&node).await.unwrap().is_empty());
        assert_eq!(store.undo_version_change(NAME).await.unwrap(), 0);
        assert_eq!(owned_by(&world).await, "1.1.0");
    });
}

pub fn nodes_report_loaded_versions(factory: Factory) {
    run(async {
        let world = with_two_versions(factory).await;
        let store = &world.store;
        let node = async |name| store.register_node(name, "1.0.0", at(0)).await.unwrap().id;
        let (a, b) = (node("a").await, node("b").await);
        let promote = intent(VersionAct::Promote, "1.1.0", "1.1.0");
        assert!(store.begin_version_change(NAME, promote, &a).await.unwrap());
        assert_eq!(store.takers().await.unwrap(), [(NAME.to_owned(), "1.1.0".to_owned())]);
        let without = async || store.nodes_without_version(NAME, "1.1.0", &a).await.unwrap();
        assert_eq!(without().await, std::slice::from_ref(&b));
        let numbers = vec!["1.0.0".to_owned(), "1.1.0".to_owned()];
        store.note_loaded(&b, NAME, numbers.clone()).await.unwrap();
        assert!(without().await.is_empty());
        store.note_loaded(&b, NAME, numbers[..1].to_vec()).await.unwrap();
        assert_eq!(without().await, std::slice::from_ref(&b));
        store.remove_node(&b, at(5), at(5)).await.unwrap();
        assert!(without().await.is_empty(), "dead nodes are not waited for");
    });
}

fn crash(number: i64, seconds: i64) -> VersionCrash {
    VersionCrash {
        connector: NAME.to_owned(),
        version: "1.0.0".to_owned(),
        number,
        at: at(seconds),
    }
}

pub fn crashes_before_a_stage_change_do_not_count(factory: Factory) {
    run(async {
        let world = with_two_versions(factory).await;
        let store = &world.store;
        // The version is active since second 2.
        let crashes = vec![crash(1, 1), crash(2, 2), crash(3, 3)];
        store.note_crashes("a", crashes.clone(), at(4)).await.unwrap();
        let seen = store.crashes_of_others("b", at(5)).await.unwrap();
        let numbers: Vec<_> = seen.iter().map(|(_, crash)| crash.number).collect();
        assert_eq!(numbers, [2, 3], "an activated version starts without earlier crashes");
    });
}

pub fn a_crash_is_known_to_other_nodes_for_a_while(factory: Factory) {
    run(async {
        let world = World::begin(factory).await;
        let store = &world.store;
        let crashes = vec![crash(1, 1), crash(2, 30)];
        store.note_crashes("a", crashes.clone(), at(30)).await.unwrap();
        // As after a commit whose response was lost.
        store.note_crashes("a", crashes.clone(), at(31)).await.unwrap();
        store.note_crashes("b", vec![crash(1, 31)], at(31)).await.unwrap();
        let seen = async |node: &str, seconds| store.crashes_of_others(node, at(seconds)).await.unwrap();
        let by = |node: &str, crash: &VersionCrash| (node.to_owned(), crash.clone());
        assert_eq!(seen("b", 40).await, [by("a", &crashes[0]), by("a", &crashes[1])]);
        assert_eq!(seen("a", 40).await, [by("b", &crash(1, 31))]);
        assert_eq!(
            seen("b", 61).await,
            [by("a", &crashes[1])],
            "after a minute it no longer counts"
        );
    });
}

pub fn roll_backs_go_on_back(factory: Factory) {
    run(async {
        let world = with_two_versions(factory).await;
        let store = &world.store;
        let third = version("1.2.0", 3, "sha256:c");
        store.stage_version(third, at(2)).await.unwrap();
        assert_eq!(store.active_before(NAME).await.unwrap(), None);
        for ahead in ["1.1.0", "1.2.0"] {
            let promote = intent(VersionAct::Promote, ahead, ahead);
            assert!(store.begin_version_change(NAME, promote, "node").await.unwrap());
            store
                .activate_version(NAME, ahead, VersionAct::Promote, "", at(3))
                .await
                .unwrap();
        }
        for (version, before) in [("1.2.0", "1.1.0"), ("1.1.0", "1.0.0")] {
            assert_eq!(store.active_before(NAME).await.unwrap().as_deref(), Some(before));
            let back = intent(VersionAct::RollBack, version, before);
            assert!(store.begin_version_change(NAME, back, "node").await.unwrap());
            store
                .activate_version(NAME, before, VersionAct::RollBack, "worse", at(4))
                .await
                .unwrap();
        }
        assert_eq!(store.active_before(NAME).await.unwrap(), None);
        assert_eq!(world.events_of(EventType::ConnectorRolledBack).await.len(), 2);
    });
}

pub fn a_trial_is_known_after_its_end(factory: Factory) {
    run(async {
        let world = with_two_versions(factory).await;
        let store = &world.store;
        assert_eq!(store.canary_run(NAME, "1.1.0").await.unwrap(), None);
        let figures = serde_json::json!({ "calls": 7 });
        let keep = async |node: &str, canary, figures| {
            let counted = CanaryFigures { canary, figures };
            store.keep_canary_figures(NAME, "1.1.0", node, counted).await
        };
        // No version was a canary.
        keep("a", canary(5), figures.clone()).await.unwrap();
        assert_eq!(store.canary_run(NAME, "1.1.0").await.unwrap(), None);
        store.begin_canary(NAME, "1.1.0", canary(5), at(3)).await.unwrap();
        keep("a", canary(5), figures.clone()).await.unwrap();
        let others = serde_json::json!({ "calls": 8 });
        keep("b", canary(5), others.clone()).await.unwrap();
        // Of an earlier run.
        keep("c", canary(7), others.clone()).await.unwrap();
        let counted = BTreeMap::from([("a".to_owned(), figures), ("b".to_owned(), others)]);
        let on = store.canary_run(NAME, "1.1.0").await.unwrap().unwrap();
        assert_eq!((on.canary, on.figures, on.end), (canary(5), counted.clone(), None));
        store
            .quarantine_version(NAME, "1.1.0", "it crashes", at(5))
            .await
            .unwrap();
        let ended = store.canary_run(NAME, "1.1.0").await.unwrap().unwrap();
        assert_eq!(ended.figures, counted);
        let end = ended.end.unwrap();
        assert_eq!((end.reason.as_str(), end.at), ("it crashes", at(5)));
        let marked = store.version(NAME, "1.1.0").await.unwrap().unwrap().failure.unwrap();
        assert_eq!((marked.reason.as_str(), marked.at), ("it crashes", at(5)));
        // Another canary run of it starts from zero.
        store.begin_canary(NAME, "1.1.0", canary(6), at(6)).await.unwrap();
        let again = store.canary_run(NAME, "1.1.0").await.unwrap().unwrap();
        assert_eq!((again.figures, again.end), (BTreeMap::new(), None));
        store
            .activate_version(NAME, "1.1.0", VersionAct::Promote, "", at(7))
            .await
            .unwrap();
        let end = store.canary_run(NAME, "1.1.0").await.unwrap().unwrap().end.unwrap();
        assert_eq!(end.reason, "it was promoted");
    });
}

pub fn accounts_are_held_and_freed_with_events(factory: Factory) {
    run(async {
        let world = with_two_versions(factory).await;
        let (store, id) = (&world.store, world.channel.id);
        assert!(store.commit_state(DEFAULT, id, write("1.0.0", "1")).await.unwrap());
        let reasons: BTreeMap<_, _> = [("1.0.0".to_owned(), "its file is gone".to_owned())].into();
        for held in [1, 0] {
            let changed = store.hold_accounts(NAME, reasons.clone(), at(3)).await.unwrap();
            assert_eq!(changed, HeldAccounts { held, freed: 0 });
        }
        assert_eq!(
            store.held(DEFAULT, id).await.unwrap().as_deref(),
            Some("its file is gone")
        );
        let owner = &store.state_owners(NAME).await.unwrap()[0];
        assert_eq!(owner.held_at, Some(at(3)));
        let status = async || store.channel(DEFAULT, id).await.unwrap().unwrap().status;
        assert_eq!(status().await, ChannelStatus::Degraded);
        for freed in [1, 0] {
            let changed = store.hold_accounts(NAME, BTreeMap::new(), at(4)).await.unwrap();
            assert_eq!(changed, HeldAccounts { held: 0, freed });
        }
        assert_eq!(store.held(DEFAULT, id).await.unwrap(), None);
        assert_eq!(status().await, ChannelStatus::Connected);
        assert_eq!(
            world.events_of(EventType::ChannelDegraded).await[0].data["reason"],
            "its file is gone"
        );
        assert_eq!(world.events_of(EventType::ChannelRecovered).await.len(), 1);
    });
}

pub fn transcripts_are_a_ring_and_go_with_their_contact(factory: Factory) {
    run(async {
        let world = with_two_versions(factory).await;
        let store = &world.store;
        world.receive(vec![contact_writes("m1", 1)], 1).await;
        let conversation = world.conversation("thread").await;
        let record = |n: i64, json: &str| TranscriptRecord {
            id: world.id(),
            connector: NAME.into(),
            version: "1.0.0".into(),
            call: if n % 2 == 0 { "receive" } else { "send" }.into(),
            channel_id: Some(world.channel.id),
            crashed: n == 3,
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
            crashed: true,
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
