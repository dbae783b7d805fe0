//! Calls with network: what leaves, what is refused, what is remembered, and what the outcome is held against.

use std::sync::Arc;

use tokio::sync::Semaphore;
use weir_domain::delivery::{Outcome, Verdict};
use weir_domain::grant::Grants;
use weir_domain::limits;
use weir_domain::manifest::RouteClass;
use weir_domain::policy::OriginMap;
use weir_runtime::context::{Pacer, RequestOutcome, State, StateWrites, TooLong};
use weir_runtime::{CallError, SendReport, Signal};

use crate::support::{Platform, Reply, TOKEN, Turns, context, echo, permit, webhook};

const TAKEN: Reply = Reply::Answer(200, r#"{"id":"m9"}"#);

async fn send(text: &str, replies: impl IntoIterator<Item = Reply>) -> (SendReport, Platform) {
    let (echo, _) = echo().await;
    let platform = Platform::that(replies).await;
    let context = context(echo.manifest(), &platform, State::new());
    let report = echo.send(permit(echo.manifest(), text), context).await;
    (report, platform)
}

fn verdict(report: &SendReport) -> Verdict {
    match &report.outcome {
        Outcome::Failed { verdict, .. } => *verdict,
        Outcome::Sent { .. } => panic!("it was sent"),
    }
}

fn outcomes(report: &SendReport) -> Vec<&RequestOutcome> {
    report.requests.iter().map(|request| &request.outcome).collect()
}

const RETRY: Verdict = Verdict::Retry {
    after_ms: None,
    counts: true,
};

#[tokio::test]
async fn send_carries_hidden_secret_once() {
    let (report, platform) = send("hello", [TAKEN]).await;
    let sent = Outcome::Sent {
        platform_id: "m9".into(),
        at: None,
    };
    assert_eq!(report.outcome, sent);
    let seen = platform.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].starts_with("POST /messages HTTP/1.1\r\n"), "{}", seen[0]);
    assert!(seen[0].contains(TOKEN), "{}", seen[0]);
    assert!(seen[0].contains(r#""text":"hello""#), "{}", seen[0]);
    let [request] = &report.requests[..] else {
        panic!("{:?}", report.requests)
    };
    assert_eq!(request.route.as_deref(), Some("send"));
    assert_eq!(request.url, "https://echo.example/messages");
    assert_eq!(request.outcome, RequestOutcome::Answered(200));
    assert!(!format!("{report:?}").contains(TOKEN));
}

#[tokio::test]
async fn trap_before_request_is_retried() {
    let (report, platform) = send("trap-before", []).await;
    assert!(matches!(report.error, Some(CallError::Trapped { .. })), "{report:?}");
    assert_eq!(verdict(&report), RETRY);
    assert!(platform.seen().is_empty());
}

#[tokio::test]
async fn a_trap_after_the_request_is_uncertain() {
    let (report, platform) = send("trap-after", [TAKEN]).await;
    assert!(matches!(report.error, Some(CallError::Trapped { .. })), "{report:?}");
    assert_eq!(verdict(&report), Verdict::Uncertain);
    assert_eq!(platform.seen().len(), 1);
    assert_eq!(outcomes(&report), [&RequestOutcome::Answered(200)]);
}

#[tokio::test]
async fn a_loop_in_a_send_is_stopped() {
    let (report, _) = send("loop", []).await;
    assert!(matches!(report.error, Some(CallError::OutOfTime { .. })), "{report:?}");
    assert_eq!(verdict(&report), RETRY);
}

#[tokio::test]
async fn one_permit_is_one_request() {
    let (report, platform) = send("twice", [TAKEN, TAKEN]).await;
    assert!(matches!(report.outcome, Outcome::Sent { .. }), "{report:?}");
    assert_eq!(platform.seen().len(), 1);
    assert!(
        matches!(
            outcomes(&report)[..],
            [
                RequestOutcome::Answered(200),
                RequestOutcome::Refused { rule: "no_permit", .. }
            ]
        ),
        "{report:?}"
    );
}

#[tokio::test]
async fn unrouted_url_is_refused_and_observed() {
    let (echo, notes) = echo().await;
    let platform = Platform::that([]).await;
    let context = context(echo.manifest(), &platform, State::new());
    let report = echo.send(permit(echo.manifest(), "elsewhere"), context).await;
    assert!(
        matches!(
            outcomes(&report)[..],
            [RequestOutcome::Refused { rule: "no_route", .. }]
        ),
        "{report:?}"
    );
    let refusals = notes.refusals.lock().unwrap();
    assert_eq!(refusals.len(), 1);
    assert_eq!(
        refusals[0].1,
        "no route of the manifest covers GET https://elsewhere.example/"
    );
}

#[tokio::test]
async fn state_over_the_quota_is_refused_and_written_down() {
    let (echo, notes) = echo().await;
    let platform = Platform::that([TAKEN]).await;
    let context = context(echo.manifest(), &platform, State::new());
    let report = echo.send(permit(echo.manifest(), "hoard"), context).await;
    assert_eq!(outcomes(&report), [&RequestOutcome::Answered(200)], "{report:?}");
    let refusals = notes.refusals.lock().unwrap();
    assert_eq!(
        *refusals,
        [("state_quota", "a value has at most 65536 bytes".to_owned())]
    );
}

#[tokio::test]
async fn without_the_operators_yes_nothing_leaves() {
    let (echo, _) = echo().await;
    let platform = Platform::that([TAKEN]).await;
    let mut context = context(echo.manifest(), &platform, State::new());
    context.grants = Arc::new(Grants::default());
    let report = echo.send(permit(echo.manifest(), "hello"), context).await;
    assert!(
        matches!(
            outcomes(&report)[..],
            [RequestOutcome::Refused {
                rule: "not_granted",
                ..
            }]
        ),
        "{report:?}"
    );
    assert!(platform.seen().is_empty());
}

#[tokio::test]
async fn an_address_that_is_not_public_is_refused_at_the_last_door() {
    let (echo, notes) = echo().await;
    let platform = Platform::that([TAKEN]).await;
    let mut context = context(echo.manifest(), &platform, State::new());
    // The operator mapped the platform to an address of the local network, which only loopback may be.
    let mapped = (
        "https://echo.example".parse().unwrap(),
        "https://10.0.0.1".parse().unwrap(),
    );
    context.origins = Arc::new(OriginMap([mapped].into()));
    let report = echo.send(permit(echo.manifest(), "hello"), context).await;
    assert!(
        matches!(outcomes(&report)[..], [RequestOutcome::Refused { rule: "address", .. }]),
        "{report:?}"
    );
    assert_eq!(notes.refusals.lock().unwrap()[0].0, "address");
    assert_ne!(verdict(&report), Verdict::Uncertain);
}

#[tokio::test]
async fn a_line_that_breaks_after_the_request_is_uncertain() {
    let (report, platform) = send("hello", [Reply::HangUp]).await;
    assert_eq!(platform.seen().len(), 1);
    assert!(
        matches!(outcomes(&report)[..], [RequestOutcome::NoAnswer(_)]),
        "{report:?}"
    );
    assert_eq!(verdict(&report), Verdict::Uncertain);
}

#[tokio::test]
async fn a_platform_that_is_not_there_saw_nothing() {
    let (echo, _) = echo().await;
    let mut platform = Platform::that([]).await;
    // A port that was just released.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    platform.origin = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let context = context(echo.manifest(), &platform, State::new());
    let report = echo.send(permit(echo.manifest(), "hello"), context).await;
    assert!(
        matches!(outcomes(&report)[..], [RequestOutcome::Unreachable(_)]),
        "{report:?}"
    );
    assert!(matches!(verdict(&report), Verdict::Retry { .. }), "{report:?}");
}

#[tokio::test]
async fn canceled_call_abandons_its_request() {
    let (echo, _) = echo().await;
    let platform = Platform::that([Reply::Silence]).await;
    let seen = platform.requests.clone();
    let context = context(echo.manifest(), &platform, State::new());
    let permit = permit(echo.manifest(), "hello");
    let call = tokio::spawn(async move { echo.send(permit, context).await });
    while seen.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    // From here on only the clock moves: to the end of the wait for an answer.
    tokio::time::pause();
    let report = call.await.unwrap();
    assert!(
        matches!(
            outcomes(&report)[..],
            [RequestOutcome::NoAnswer(_) | RequestOutcome::Abandoned]
        ),
        "{report:?}"
    );
    assert_eq!(verdict(&report), Verdict::Uncertain);
}

#[tokio::test]
async fn missing_turn_does_not_count_as_attempt() {
    let (echo, _) = echo().await;
    let platform = Platform::that([]).await;
    let mut context = context(echo.manifest(), &platform, State::new());
    context.pacer = Arc::new(Turns(false));
    let report = echo.send(permit(echo.manifest(), "hello"), context).await;
    assert!(
        matches!(outcomes(&report)[..], [RequestOutcome::NoTurn { .. }]),
        "{report:?}"
    );
    let waits = Verdict::Retry {
        after_ms: Some(60_000),
        counts: false,
    };
    assert_eq!(verdict(&report), waits);
}

#[tokio::test]
async fn state_written_is_read_by_next_call() {
    let (echo, _) = echo().await;
    let platform = Platform::that([TAKEN, TAKEN]).await;
    let first = echo
        .send(
            permit(echo.manifest(), "state"),
            context(echo.manifest(), &platform, State::new()),
        )
        .await;
    assert_eq!(first.writes.0, [("sends".to_owned(), Some(b"1".to_vec()))].into());
    let state: State = [("sends".to_owned(), b"1".to_vec())].into();
    let second = echo
        .send(
            permit(echo.manifest(), "state"),
            context(echo.manifest(), &platform, state),
        )
        .await;
    assert_eq!(second.writes.0, [("sends".to_owned(), Some(b"2".to_vec()))].into());
    assert!(platform.seen()[1].contains(r#""text":"2""#));
}

#[tokio::test]
async fn what_a_broken_off_call_wrote_is_dropped() {
    let (report, _) = send("trap-after", [TAKEN]).await;
    assert_eq!(report.writes, StateWrites::default());
}

#[tokio::test]
async fn account_reports_its_profile() {
    let (echo, _) = echo().await;
    let me = Reply::Answer(200, r#"{"id":"acme","username":"acme","name":"Acme"}"#);
    let platform = Platform::that([me]).await;
    let called = echo.who_am_i(context(echo.manifest(), &platform, State::new())).await;
    let profile = called.result.unwrap();
    assert_eq!(
        (profile.platform_id.as_str(), profile.account_kind.as_str()),
        ("acme", "business")
    );
    assert_eq!(called.requests[0].route.as_deref(), Some("me"));
}

#[tokio::test]
async fn refused_credential_is_reported() {
    let (echo, _) = echo().await;
    let platform = Platform::that([Reply::Answer(401, "{}")]).await;
    let called = echo.who_am_i(context(echo.manifest(), &platform, State::new())).await;
    assert!(
        matches!(
            called.result,
            Err(CallError::Failed {
                verdict: Verdict::Reauthorize,
                ..
            })
        ),
        "{called:?}"
    );
}

#[tokio::test]
async fn an_ability_that_is_not_there_is_named() {
    let (echo, _) = echo().await;
    assert!(!echo.manifest().provides("signals"));
    let platform = Platform::that([]).await;
    let context = context(echo.manifest(), &platform, State::new());
    let conversation = weir_runtime::context::ConversationFacts {
        platform_id: "c1".into(),
        contact_id: None,
        answered: true,
    };
    let called = echo.signal(context, &conversation, Signal::Typing).await;
    assert_eq!(
        called.result.unwrap_err().to_string(),
        "the connector does not export signals"
    );
}

/// A rate whose turn never comes.
struct Never(Semaphore);

#[async_trait::async_trait]
impl Pacer for Never {
    async fn turn(&self, _: RouteClass) -> Result<Option<Box<dyn weir_egress::Departure>>, TooLong> {
        self.0.add_permits(1);
        std::future::pending().await
    }
}

#[tokio::test]
async fn sends_that_wait_leave_webhooks_their_slots() {
    let (echo, _) = echo().await;
    let never = Arc::new(Never(Semaphore::new(0)));
    let platform = Platform::that([]).await;
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..2 * limits::CALLS_PER_CONNECTOR {
        let mut context = context(echo.manifest(), &platform, State::new());
        context.pacer = never.clone();
        let (echo, permit) = (echo.clone(), permit(echo.manifest(), "hello"));
        sends.spawn(async move { echo.send(permit, context).await });
    }
    // All that may wait for the platform do, and as many wait for their slots.
    let waiting = u32::try_from(limits::CALLS_PER_CONNECTOR).unwrap();
    never.0.acquire_many(waiting).await.unwrap().forget();
    assert_eq!(echo.receive(&webhook("hi")).await.unwrap().len(), 1);
    sends.abort_all();
}

/// The host lost, unnoticed, what it acts under.
struct Fenced;

impl weir_runtime::context::Fence for Fenced {
    fn withheld(&self) -> Option<String> {
        Some("another node may have taken over".to_owned())
    }
}

#[tokio::test]
async fn fenced_send_is_retried_unsent() {
    let (echo, _) = echo().await;
    let platform = Platform::that([]).await;
    let mut context = context(echo.manifest(), &platform, State::new());
    context.fence = Arc::new(Fenced);
    let report = echo.send(permit(echo.manifest(), "hello"), context).await;
    assert!(
        matches!(
            &report.outcome,
            Outcome::Failed {
                verdict: Verdict::Retry { .. },
                ..
            }
        ),
        "{:?}",
        report.outcome
    );
    assert!(
        matches!(&report.requests[0].outcome, RequestOutcome::Unreachable(reason) if reason.contains("another node")),
        "{:?}",
        report.requests
    );
    assert!(platform.seen().is_empty());
}
