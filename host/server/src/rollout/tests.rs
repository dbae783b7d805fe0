//! What becomes of accounts and their state when versions change.

use tempfile::TempDir;
use weir_domain::channel::Channel;
use weir_domain::event::EventType;
use weir_domain::policy::CallKind;
use weir_domain::rollout::{Canary, CanaryRule, VersionStage};
use weir_runtime::context::CallEnd;
use weir_store::{EventFilter, StateWrite};

use crate::Host;
use crate::registry::PromoteError;
use crate::testing::{component, webhook, with_account, with_echo};

const NEXT: &str = "0.2.0";
const FIRST: &str = "0.1.0";

/// Echo serving, and its next version staged: one that translates state.
async fn with_next(folder: &TempDir) -> Host {
    let host = with_echo(folder).await;
    let staged = host.install(component("next/echo-upgrade"), None, None, false).await;
    assert_eq!(staged.expect("a connector").manifest.version, NEXT);
    host
}

async fn state(host: &Host, channel: &Channel) -> Vec<(String, String)> {
    let state = host
        .store()
        .state(channel.id)
        .await
        .expect("a record")
        .entries
        .into_iter();
    let text = |value: Vec<u8>| String::from_utf8(value).expect("a text");
    state.map(|(key, value)| (key, text(value))).collect()
}

async fn serves(host: &Host, channel: &Channel) -> String {
    let serving = host.serving_of(channel).await.expect("a version");
    serving.version().to_owned()
}

async fn stage_of(host: &Host, version: &str) -> VersionStage {
    let known = host.store().version("echo", version).await.expect("a record");
    known.expect("a version").stage
}

fn owned(state: &[(&str, &str)]) -> Vec<(String, String)> {
    let entries = state.iter();
    entries
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn a_state_goes_with_its_account_and_what_cannot_be_taken_over_stays_where_it_is() {
    let folder = TempDir::new().expect("a folder");
    let host = with_next(&folder).await;
    let easy = with_account(&host, "easy", &[("cursor", "7")]).await;
    let hard = with_account(&host, "hard", &[("refuse", "1")]).await;
    let endless = with_account(&host, "endless", &[("loop", "1")]).await;
    let empty = with_account(&host, "empty", &[]).await;
    host.promote("echo", NEXT).await.expect("it serves");
    assert_eq!(serves(&host, &easy).await, NEXT);
    assert_eq!(serves(&host, &empty).await, NEXT);
    assert_eq!(state(&host, &easy).await, owned(&[("cursor", "2:7")]));
    // The others keep what they have, and the version that understands it.
    for (channel, kept) in [(&hard, ("refuse", "1")), (&endless, ("loop", "1"))] {
        assert_eq!(serves(&host, channel).await, FIRST);
        assert_eq!(state(&host, channel).await, owned(&[kept]));
    }
    assert_eq!(stage_of(&host, FIRST).await, VersionStage::Draining);
    let filter = EventFilter {
        types: [EventType::ChannelDegraded.as_str().to_owned()].into(),
        ..EventFilter::default()
    };
    let told = host.store().events("default", 0, &filter, 10).await.expect("a record");
    let reasons: Vec<_> = told
        .rows
        .iter()
        .map(|event| event.data["reason"].as_str().unwrap_or(""))
        .collect();
    assert!(
        reasons
            .iter()
            .any(|reason| reason.contains("a state with `refuse` is not taken over"))
            && reasons
                .iter()
                .any(|reason| reason.contains("used 200 ms of processor time")),
        "{reasons:?}"
    );
    // As long as an account is served by it, it is not retired; nor after a restart.
    host.rollout_round(host.now()).await.expect("a record");
    assert_eq!(stage_of(&host, FIRST).await, VersionStage::Draining);
    let config = host.config().clone();
    host.store().close().await;
    drop(host);
    let host = Host::open(config).await.expect("a host");
    assert_eq!(serves(&host, &easy).await, NEXT);
    assert_eq!(serves(&host, &hard).await, FIRST);
    // The way back: each state as it was.
    host.roll_back("echo", NEXT, "nobody likes it")
        .await
        .expect("it goes back");
    for channel in [&easy, &hard, &endless, &empty] {
        assert_eq!(serves(&host, channel).await, FIRST);
    }
    assert_eq!(state(&host, &easy).await, owned(&[("cursor", "7")]));
    host.rollout_round(host.now()).await.expect("a record");
    assert_eq!(stage_of(&host, NEXT).await, VersionStage::Retired);
}

#[tokio::test]
async fn a_version_that_translates_nothing_takes_states_as_they_are_and_serves_all() {
    let folder = TempDir::new().expect("a folder");
    let host = with_next(&folder).await;
    let easy = with_account(&host, "easy", &[("cursor", "7")]).await;
    let hard = with_account(&host, "hard", &[("refuse", "1")]).await;
    host.promote("echo", NEXT).await.expect("it serves");
    assert_eq!(serves(&host, &hard).await, FIRST);
    // A step ahead, and not back: the first version knows nothing of translating.
    host.promote("echo", FIRST).await.expect("it serves");
    for channel in [&easy, &hard] {
        assert_eq!(serves(&host, channel).await, FIRST);
    }
    assert_eq!(state(&host, &easy).await, owned(&[("cursor", "2:7")]));
    // What it writes is kept: the state is its own now.
    let write = StateWrite {
        by: FIRST.to_owned(),
        key: "cursor".to_owned(),
        value: Some(b"8".to_vec()),
    };
    host.store().commit_state(easy.id, vec![write]).await.expect("a record");
    assert_eq!(state(&host, &easy).await, owned(&[("cursor", "8")]));
    host.rollout_round(host.now()).await.expect("a record");
    assert_eq!(stage_of(&host, NEXT).await, VersionStage::Retired);
}

#[tokio::test]
async fn a_call_that_meets_a_state_of_another_version_runs_in_that_version() {
    let folder = TempDir::new().expect("a folder");
    let host = with_next(&folder).await;
    let channel = with_account(&host, "easy", &[("cursor", "7")]).await;
    // A call chose its version before the state was handed over, and reads the state after.
    let mut serving = host.serving_of(&channel).await.expect("a version");
    host.promote("echo", NEXT).await.expect("it serves");
    assert_eq!(serving.version(), FIRST);
    let pacer = host.pacer(&serving, &channel);
    let context = host.context(&mut serving, &channel, &pacer).await.expect("a record");
    let (context, ..) = context.expect("a credential");
    assert_eq!(context.state["cursor"], b"2:7");
    assert_eq!(serving.version(), NEXT);
}

#[tokio::test]
async fn a_version_that_breaks_off_over_every_state_is_not_promoted() {
    let folder = TempDir::new().expect("a folder");
    let host = with_next(&folder).await;
    let first = with_account(&host, "first", &[("cursor", "7")]).await;
    for n in 0..weir_domain::limits::BREAKS {
        with_account(&host, &format!("endless-{n}"), &[("loop", "1")]).await;
    }
    let refused = host.promote("echo", NEXT).await.expect_err("it broke off too often");
    assert!(matches!(refused, PromoteError::SetAside { .. }), "{refused}");
    assert_eq!(serves(&host, &first).await, FIRST);
    assert_eq!(state(&host, &first).await, owned(&[("cursor", "7")]));
    assert_eq!(stage_of(&host, FIRST).await, VersionStage::Active);
}

#[tokio::test]
async fn a_share_of_the_accounts_meets_the_version_on_trial_in_and_out() {
    let folder = TempDir::new().expect("a folder");
    let host = with_next(&folder).await;
    let channel = with_account(&host, "acme", &[("cursor", "7")]).await;
    let canary = |percent| Canary {
        percent,
        rule: CanaryRule::default(),
        since: host.now(),
    };
    host.begin_canary("echo", NEXT, canary(0))
        .await
        .expect("it follows along");
    assert_eq!(serves(&host, &channel).await, FIRST);
    host.begin_canary("echo", NEXT, canary(100))
        .await
        .expect("it is on trial");
    assert_eq!(serves(&host, &channel).await, NEXT);
    assert_eq!(state(&host, &channel).await, owned(&[("cursor", "2:7")]));
    assert_eq!(stage_of(&host, NEXT).await, VersionStage::Canary);
    host.receive("echo", webhook(&host, "hello"))
        .await
        .expect("it is taken");
    let trial = host.trial("echo", NEXT).expect("a trial");
    // Once by each: the active version stands behind it.
    assert_eq!((trial.on_trial.calls, trial.active.calls), (1, 1));
    let serves_already = host.begin_canary("echo", FIRST, canary(1)).await;
    assert!(matches!(serves_already, Err(PromoteError::Serves { .. })));
    host.roll_back("echo", NEXT, "enough seen").await.expect("it goes back");
    assert_eq!(serves(&host, &channel).await, FIRST);
    assert_eq!(state(&host, &channel).await, owned(&[("cursor", "7")]));
    assert_eq!(stage_of(&host, NEXT).await, VersionStage::Staged);
    let nothing = host.roll_back("echo", FIRST, "").await;
    assert!(matches!(nothing, Err(PromoteError::NothingBefore { .. })));
}

#[tokio::test]
async fn a_call_out_of_wall_time_counts_for_no_trial() {
    let folder = TempDir::new().expect("a folder");
    let host = with_next(&folder).await;
    let channel = with_account(&host, "acme", &[]).await;
    let canary = Canary {
        percent: 100,
        rule: CanaryRule::default(),
        since: host.now(),
    };
    host.begin_canary("echo", NEXT, canary).await.expect("it is on trial");
    let end = |outcome, broke_off| CallEnd {
        connector: "echo",
        version: NEXT,
        kind: CallKind::Send,
        outcome,
        elapsed: std::time::Duration::ZERO,
        ticks: 0,
        peak_memory: 0,
        lines_dropped: 0,
        broke_off,
        canary: None,
    };
    let trials = &host.0.connectors.trials;
    for _ in 0..100 {
        trials.note(&end("timed_out", false), host.now());
    }
    let trial = host.trial("echo", NEXT).expect("a trial");
    assert_eq!((trial.on_trial.calls, trial.on_trial.failed), (0, 0));
    assert_eq!(serves(&host, &channel).await, NEXT);
    // One that breaks off does count, and the active version serves at once.
    trials.note(&end("trapped", true), host.now());
    assert_eq!(serves(&host, &channel).await, FIRST);
}
