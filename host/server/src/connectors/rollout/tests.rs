//! Accounts and their state across changes of versions.

use tempfile::TempDir;
use weir_domain::channel::Channel;
use weir_domain::event::{EventFilter, EventType};
use weir_domain::policy::CallKind;
use weir_domain::rollout::{Canary, CanaryRule, VersionAct, VersionStage};
use weir_runtime::context::CallEnd;
use weir_store::{StateMove, StateWrite, Version};

use crate::Host;
use crate::connectors::canary::CanaryRunView;
use crate::connectors::promotion::PromoteError;
use crate::connectors::serving::NotServed;
use crate::messages::inbound::Hook;
use crate::testing::{component, damage_components, webhook, with_account, with_echo};

const NEXT: &str = "0.2.0";
const FIRST: &str = "0.1.0";

/// Echo serving, and its next version staged: one that migrates state.
async fn with_next(folder: &TempDir) -> Host {
    let host = with_echo(folder).await;
    let staged = host
        .connectors
        .install(component("variants/echo-upgrade"), None, None, false)
        .await;
    assert_eq!(staged.expect("a connector").manifest.version, NEXT);
    host
}

async fn state(host: &Host, channel: &Channel) -> Vec<(String, String)> {
    let state = host
        .store()
        .state("default", channel.id)
        .await
        .expect("a database")
        .entries
        .into_iter();
    let text = |value: Vec<u8>| String::from_utf8(value).expect("a text");
    state.map(|(key, value)| (key, text(value))).collect()
}

async fn serves(host: &Host, channel: &Channel) -> String {
    let serving = host.connectors.serving_of(channel).await.expect("a version");
    serving.version().to_owned()
}

async fn stage_of(host: &Host, version: &str) -> VersionStage {
    let known = host.store().version("echo", version).await.expect("a database");
    known.expect("a version").stage
}

async fn promote(host: &Host, version: &str) {
    host.rollout.promote("echo", version).await.expect("it serves");
}

async fn roll_back(host: &Host, reason: &str) -> Version {
    let back = host.rollout.roll_back("echo", NEXT, reason).await;
    back.expect("it is rolled back")
}

fn canary(host: &Host, percent: u8) -> Canary {
    Canary {
        percent,
        rule: CanaryRule::default(),
        since: host.now(),
    }
}

async fn begin_canary(host: &Host, percent: u8) {
    let started = host.rollout.begin_canary("echo", NEXT, canary(host, percent)).await;
    started.expect("it is a canary");
}

async fn canary_run(host: &Host) -> CanaryRunView {
    let run = host.rollout.canary_run("echo", NEXT).await.expect("a database");
    run.expect("a canary run")
}

async fn round(host: &Host) {
    host.rollout.rollout_round(host.now(), true).await.expect("a database");
}

async fn receive(host: &Host, text: &str) -> Hook {
    let taken = host.inbound.receive("echo", webhook(host, text)).await;
    taken.expect("it is accepted")
}

/// The same database at the next start.
async fn restarted(host: Host) -> Host {
    let config = host.config().clone();
    host.store().close().await;
    drop(host);
    Host::open(config).await.expect("a host")
}

async fn lose_component(host: &Host, version: &str) {
    let known = host.store().version("echo", version).await.expect("a database");
    damage_components(&host.config().data, &known.expect("a version").digest, None);
}

async fn reasons(host: &Host, kind: EventType) -> Vec<String> {
    let filter = EventFilter {
        types: [kind.as_str().to_owned()].into(),
        ..EventFilter::default()
    };
    let timeline = host
        .store()
        .events("default", 0, &filter, 10)
        .await
        .expect("a database");
    let reasons = timeline.rows.iter();
    reasons
        .map(|event| event.data["reason"].as_str().unwrap_or("").to_owned())
        .collect()
}

fn owned(state: &[(&str, &str)]) -> Vec<(String, String)> {
    let entries = state.iter();
    entries
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn state_moves_with_account_or_stays() {
    let folder = TempDir::new().expect("a directory");
    let host = with_next(&folder).await;
    let easy = with_account(&host, "easy", &[("cursor", "7")]).await;
    let hard = with_account(&host, "hard", &[("refuse", "1")]).await;
    let endless = with_account(&host, "endless", &[("loop", "1")]).await;
    let empty = with_account(&host, "empty", &[]).await;
    promote(&host, NEXT).await;
    assert_eq!(serves(&host, &easy).await, NEXT);
    assert_eq!(serves(&host, &empty).await, NEXT);
    assert_eq!(state(&host, &easy).await, owned(&[("cursor", "2:7")]));
    // The others keep their states, and the version that can read them.
    for (channel, kept) in [(&hard, ("refuse", "1")), (&endless, ("loop", "1"))] {
        assert_eq!(serves(&host, channel).await, FIRST);
        assert_eq!(state(&host, channel).await, owned(&[kept]));
    }
    assert_eq!(stage_of(&host, FIRST).await, VersionStage::Draining);
    let reasons = reasons(&host, EventType::ChannelDegraded).await;
    assert!(
        reasons
            .iter()
            .any(|reason| reason.contains("a state with `refuse` is not taken over"))
            && reasons
                .iter()
                .any(|reason| reason.contains("used 200 ms of processor time")),
        "{reasons:?}"
    );
    // It is not retired while it serves an account; nor after a restart.
    round(&host).await;
    assert_eq!(stage_of(&host, FIRST).await, VersionStage::Draining);
    let host = restarted(host).await;
    assert_eq!(serves(&host, &easy).await, NEXT);
    assert_eq!(serves(&host, &hard).await, FIRST);
    // Rolled back: each state as it was.
    roll_back(&host, "test").await;
    for channel in [&easy, &hard, &endless, &empty] {
        assert_eq!(serves(&host, channel).await, FIRST);
    }
    assert_eq!(state(&host, &easy).await, owned(&[("cursor", "7")]));
    round(&host).await;
    assert_eq!(stage_of(&host, NEXT).await, VersionStage::Retired);
}

#[tokio::test]
async fn untranslated_states_are_taken_unchanged() {
    let folder = TempDir::new().expect("a directory");
    let host = with_next(&folder).await;
    let easy = with_account(&host, "easy", &[("cursor", "7")]).await;
    let hard = with_account(&host, "hard", &[("refuse", "1")]).await;
    promote(&host, NEXT).await;
    assert_eq!(serves(&host, &hard).await, FIRST);
    // Forward only: the first version cannot translate states.
    promote(&host, FIRST).await;
    for channel in [&easy, &hard] {
        assert_eq!(serves(&host, channel).await, FIRST);
    }
    assert_eq!(state(&host, &easy).await, owned(&[("cursor", "2:7")]));
    // Its write is kept: the state is its own now.
    let write = StateWrite {
        by: FIRST.to_owned(),
        key: "cursor".to_owned(),
        value: Some(b"8".to_vec()),
    };
    assert!(
        host.store()
            .commit_state("default", easy.id, vec![write])
            .await
            .expect("a database")
    );
    assert_eq!(state(&host, &easy).await, owned(&[("cursor", "8")]));
    round(&host).await;
    assert_eq!(stage_of(&host, NEXT).await, VersionStage::Retired);
}

#[tokio::test]
async fn call_runs_in_the_states_version() {
    let folder = TempDir::new().expect("a directory");
    let host = with_next(&folder).await;
    let channel = with_account(&host, "easy", &[("cursor", "7")]).await;
    // A call chose its version before the state was taken over, and reads the state after.
    let mut serving = host.connectors.serving_of(&channel).await.expect("a version");
    promote(&host, NEXT).await;
    assert_eq!(serving.version(), FIRST);
    let pacer = host.connectors.pacer(&serving, &channel);
    let context = host
        .accounts
        .context(&mut serving, &channel, &pacer)
        .await
        .expect("a database");
    let ready = context.expect("a credential");
    assert_eq!(ready.context.state["cursor"], b"2:7");
    assert_eq!(serving.version(), NEXT);
}

#[tokio::test]
async fn a_version_that_breaks_off_over_every_state_is_not_promoted() {
    let folder = TempDir::new().expect("a directory");
    let host = with_next(&folder).await;
    let first = with_account(&host, "first", &[("cursor", "7")]).await;
    for n in 0..weir_domain::limits::CRASHES {
        with_account(&host, &format!("endless-{n}"), &[("loop", "1")]).await;
    }
    let refused = host
        .rollout
        .promote("echo", NEXT)
        .await
        .expect_err("it crashed too often");
    assert!(matches!(refused, PromoteError::Quarantined { .. }), "{refused}");
    assert_eq!(serves(&host, &first).await, FIRST);
    assert_eq!(state(&host, &first).await, owned(&[("cursor", "7")]));
    assert_eq!(stage_of(&host, FIRST).await, VersionStage::Active);
}

#[tokio::test]
async fn canary_share_serves_both_directions() {
    let folder = TempDir::new().expect("a directory");
    let host = with_next(&folder).await;
    let channel = with_account(&host, "acme", &[("cursor", "7")]).await;
    begin_canary(&host, 0).await;
    assert_eq!(serves(&host, &channel).await, FIRST);
    begin_canary(&host, 100).await;
    assert_eq!(serves(&host, &channel).await, NEXT);
    assert_eq!(state(&host, &channel).await, owned(&[("cursor", "2:7")]));
    assert_eq!(stage_of(&host, NEXT).await, VersionStage::Canary);
    receive(&host, "hello").await;
    let run = canary_run(&host).await;
    // Once with each version: the active one is the fallback.
    assert_eq!((run.on_trial.calls, run.active.calls), (1, 1));
    let serves_already = host.rollout.begin_canary("echo", FIRST, canary(&host, 1)).await;
    assert!(matches!(serves_already, Err(PromoteError::Serves { .. })));
    roll_back(&host, "enough seen").await;
    assert_eq!(serves(&host, &channel).await, FIRST);
    assert_eq!(state(&host, &channel).await, owned(&[("cursor", "7")]));
    assert_eq!(stage_of(&host, NEXT).await, VersionStage::Staged);
    let nothing = host.rollout.roll_back("echo", FIRST, "").await;
    assert!(matches!(nothing, Err(PromoteError::NothingBefore { .. })));
}

/// A call of the next version with this result.
fn ended(outcome: &'static str, crashed: bool) -> CallEnd<'static> {
    CallEnd {
        connector: "echo",
        version: NEXT,
        kind: CallKind::Send,
        outcome,
        elapsed: std::time::Duration::ZERO,
        ticks: 0,
        peak_memory: 0,
        lines_dropped: 0,
        crashed,
        honeytoken: None,
    }
}

#[tokio::test]
async fn a_call_out_of_wall_time_counts_for_no_trial() {
    let folder = TempDir::new().expect("a directory");
    let host = with_next(&folder).await;
    let channel = with_account(&host, "acme", &[]).await;
    begin_canary(&host, 100).await;
    let canary_runs = &host.connectors.registry.canary_runs;
    for _ in 0..100 {
        canary_runs.note(&ended("timed_out", false), host.now());
    }
    let run = canary_run(&host).await;
    assert_eq!((run.on_trial.calls, run.on_trial.failed), (0, 0));
    assert_eq!(serves(&host, &channel).await, NEXT);
    // A crash counts, and the active version serves immediately.
    canary_runs.note(&ended("trapped", true), host.now());
    assert_eq!(serves(&host, &channel).await, FIRST);
}

/// A promotion of the next version that is interrupted after one of two states moved, as by a kill.
async fn cut_off_promotion(host: &Host) -> (Channel, Channel) {
    let moved = with_account(host, "moved", &[("cursor", "7")]).await;
    let left = with_account(host, "left", &[("cursor", "8")]).await;
    let intent = host.rollout.intent("echo", VersionAct::Promote, NEXT, NEXT);
    assert!(
        host.store()
            .begin_version_change("echo", intent, &host.core.node.id())
            .await
            .expect("a database")
    );
    let state_move = StateMove {
        channel_id: moved.id,
        from: FIRST.to_owned(),
        to: NEXT.to_owned(),
        before: [("cursor".to_owned(), b"7".to_vec())].into(),
        after: [("cursor".to_owned(), b"2:7".to_vec())].into(),
    };
    assert!(
        host.store()
            .move_stored_state("echo", state_move)
            .await
            .expect("a database")
    );
    (moved, left)
}

#[tokio::test]
async fn a_cut_off_promotion_is_finished_by_the_start() {
    let folder = TempDir::new().expect("a directory");
    let host = with_next(&folder).await;
    let (moved, left) = cut_off_promotion(&host).await;
    let host = restarted(host).await;
    assert_eq!(stage_of(&host, NEXT).await, VersionStage::Active);
    for (channel, value) in [(&moved, "2:7"), (&left, "2:8")] {
        assert_eq!(serves(&host, channel).await, NEXT);
        assert_eq!(state(&host, channel).await, owned(&[("cursor", value)]));
    }
    assert!(
        host.store()
            .open_version_changes(&host.core.node.id())
            .await
            .expect("a database")
            .is_empty()
    );
}

#[tokio::test]
async fn a_cut_off_promotion_that_cannot_load_is_undone() {
    let folder = TempDir::new().expect("a directory");
    let host = with_next(&folder).await;
    let (moved, left) = cut_off_promotion(&host).await;
    lose_component(&host, NEXT).await;
    let host = restarted(host).await;
    assert_eq!(stage_of(&host, NEXT).await, VersionStage::Staged);
    for (channel, value) in [(&moved, "7"), (&left, "8")] {
        assert_eq!(serves(&host, channel).await, FIRST);
        assert_eq!(state(&host, channel).await, owned(&[("cursor", value)]));
    }
}

#[tokio::test]
async fn a_later_change_settles_the_one_before_it() {
    let folder = TempDir::new().expect("a directory");
    let host = with_next(&folder).await;
    let (moved, left) = cut_off_promotion(&host).await;
    // The promotion is completed first, and then rolled back.
    let back = roll_back(&host, "worse").await;
    assert_eq!(
        (back.manifest.version.as_str(), back.stage),
        (FIRST, VersionStage::Active)
    );
    for (channel, value) in [(&moved, "7"), (&left, "8")] {
        assert_eq!(serves(&host, channel).await, FIRST);
        assert_eq!(state(&host, channel).await, owned(&[("cursor", value)]));
    }
}

#[tokio::test]
async fn a_roll_back_is_checked_before_a_state_moves() {
    let folder = TempDir::new().expect("a directory");
    let host = with_next(&folder).await;
    let easy = with_account(&host, "easy", &[("cursor", "7")]).await;
    promote(&host, NEXT).await;
    lose_component(&host, FIRST).await;
    let refused = host.rollout.roll_back("echo", NEXT, "worse").await;
    assert!(matches!(refused, Err(PromoteError::Load(_))), "{refused:?}");
    assert_eq!(serves(&host, &easy).await, NEXT);
    assert_eq!(state(&host, &easy).await, owned(&[("cursor", "2:7")]));
}

#[tokio::test]
async fn a_state_without_a_copy_stays_with_its_version() {
    let folder = TempDir::new().expect("a directory");
    let host = with_next(&folder).await;
    let easy = with_account(&host, "easy", &[("cursor", "7")]).await;
    let late = with_account(&host, "late", &[]).await;
    promote(&host, NEXT).await;
    let write = StateWrite {
        by: NEXT.to_owned(),
        key: "cursor".to_owned(),
        value: Some(b"2:9".to_vec()),
    };
    assert!(
        host.store()
            .commit_state("default", late.id, vec![write])
            .await
            .expect("a database")
    );
    roll_back(&host, "worse").await;
    assert_eq!(serves(&host, &easy).await, FIRST);
    // The first version does not know the format in which it was written.
    assert_eq!(serves(&host, &late).await, NEXT);
    assert_eq!(state(&host, &late).await, owned(&[("cursor", "2:9")]));
    round(&host).await;
    assert_eq!(stage_of(&host, NEXT).await, VersionStage::Draining);
    let refused = host.rollout.retire("echo", NEXT).await;
    assert!(
        matches!(refused, Err(PromoteError::Owns { accounts: 1, .. })),
        "{refused:?}"
    );
    let host = restarted(host).await;
    assert_eq!(serves(&host, &late).await, NEXT);
    // The operator decides that the first version takes the state as it is.
    promote(&host, FIRST).await;
    assert_eq!(serves(&host, &late).await, FIRST);
    round(&host).await;
    assert_eq!(stage_of(&host, NEXT).await, VersionStage::Retired);
}

#[tokio::test]
async fn an_account_is_held_until_its_version_runs() {
    let folder = TempDir::new().expect("a directory");
    let host = with_next(&folder).await;
    let hard = with_account(&host, "acme", &[("refuse", "1")]).await;
    promote(&host, NEXT).await;
    lose_component(&host, FIRST).await;
    let host = restarted(host).await;
    let held = host
        .connectors
        .serving_of(&hard)
        .await
        .err()
        .expect("its version was removed");
    assert!(matches!(held, NotServed::Held(_)), "{held}");
    assert!(held.to_string().contains("install its file again"), "{held}");
    round(&host).await;
    let reason = host
        .store()
        .held("default", hard.id)
        .await
        .expect("a database")
        .expect("held");
    assert!(reason.contains("cannot be loaded"), "{reason}");
    let found = host.accounts.diagnose("default", hard.id).await.expect("findings");
    let amiss: Vec<_> = found.iter().filter(|finding| !finding.ok).collect();
    assert!(
        amiss
            .iter()
            .any(|finding| finding.subject == "version" && finding.evidence == reason),
        "{amiss:?}"
    );
    assert!(reasons(&host, EventType::ChannelDegraded).await.contains(&reason));
    // No other version reads its webhooks.
    let kept = receive(&host, "hello").await;
    let Hook::DeadLettered(letter) = kept else {
        panic!("another version served the account: {kept:?}")
    };
    assert!(host.dead_letters.replay("default", letter).await.is_err());
    assert_eq!(state(&host, &hard).await, owned(&[("refuse", "1")]));
    // It recovers automatically once the version is available, and the waiting webhooks are translated.
    host.connectors
        .install(component("echo"), None, None, false)
        .await
        .expect("its file");
    assert_eq!(serves(&host, &hard).await, FIRST);
    round(&host).await;
    assert_eq!(host.store().held("default", hard.id).await.expect("a database"), None);
    assert!(
        host.store()
            .dead_letter("default", letter)
            .await
            .expect("a database")
            .is_none()
    );
    assert_eq!(reasons(&host, EventType::ChannelRecovered).await.len(), 1);
}

#[tokio::test]
async fn a_trial_that_failed_stays_ended_after_a_kill() {
    let folder = TempDir::new().expect("a directory");
    let host = with_next(&folder).await;
    let channel = with_account(&host, "acme", &[("cursor", "7")]).await;
    begin_canary(&host, 100).await;
    host.connectors
        .registry
        .canary_runs
        .note(&ended("trapped", true), host.now());
    // The counts are stored before the decision is.
    round(&host).await;
    let host = restarted(host).await;
    assert_eq!(stage_of(&host, NEXT).await, VersionStage::Staged);
    assert_eq!(serves(&host, &channel).await, FIRST);
    assert_eq!(state(&host, &channel).await, owned(&[("cursor", "7")]));
    let run = canary_run(&host).await;
    assert_eq!((run.on_trial.broke_off, run.on_trial.calls), (1, 1));
    let end = run.end.expect("it ended");
    assert!(end.reason.contains("crashed in 1 of"), "{}", end.reason);
    let marked = host.store().version("echo", NEXT).await.expect("a database");
    let failure = marked.expect("a version").failure.expect("a marker");
    assert_eq!(failure.reason, end.reason);
}

#[tokio::test]
async fn figures_of_a_trial_survive_a_restart() {
    let folder = TempDir::new().expect("a directory");
    let host = with_next(&folder).await;
    with_account(&host, "acme", &[]).await;
    begin_canary(&host, 100).await;
    receive(&host, "one").await;
    round(&host).await;
    let host = restarted(host).await;
    receive(&host, "two").await;
    let run = canary_run(&host).await;
    assert_eq!((run.on_trial.calls, run.active.calls), (2, 2));
    roll_back(&host, "enough seen").await;
    let ended = canary_run(&host).await;
    assert_eq!((ended.on_trial.calls, ended.active.calls), (2, 2));
    assert_eq!(ended.end.expect("it ended").reason, "enough seen");
    let none = host.rollout.canary_run("echo", FIRST).await.expect("a database");
    assert!(none.is_none());
}

#[tokio::test]
async fn a_state_moves_when_its_calls_have_ended() {
    let folder = TempDir::new().expect("a directory");
    let host = with_next(&folder).await;
    let channel = with_account(&host, "easy", &[("cursor", "7")]).await;
    let call = host.connectors.state_locks.share(channel.id).await;
    let promotion = tokio::spawn({
        let host = host.clone();
        async move { host.rollout.promote("echo", NEXT).await }
    });
    // It has started, and waits for the call.
    while host
        .store()
        .open_version_changes(&host.core.node.id())
        .await
        .expect("a database")
        .is_empty()
    {
        tokio::task::yield_now().await;
    }
    let late = StateWrite {
        by: FIRST.to_owned(),
        key: "cursor".to_owned(),
        value: Some(b"8".to_vec()),
    };
    assert!(
        host.store()
            .commit_state("default", channel.id, vec![late])
            .await
            .expect("a database")
    );
    drop(call);
    promotion.await.expect("it ends").expect("it serves");
    assert_eq!(state(&host, &channel).await, owned(&[("cursor", "2:8")]));
}
