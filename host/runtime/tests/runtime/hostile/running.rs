//! Time, memory and stack: what a guest uses up is its own call, and its neighbors keep being served.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use weir_domain::delivery::{Outcome, Verdict};
use weir_domain::limits;
use weir_runtime::context::State;
use weir_runtime::{CallError, Connector};

use super::{hostile, send};
use crate::support::{Platform, echo, raw_webhook, webhook, with_neighbor};

/// Whether a call ended for having run as long as it may, however busy the machine was.
fn is_stopped(error: &CallError) -> bool {
    matches!(error, CallError::OutOfTime { .. })
}

async fn receive(connector: &Connector) -> CallError {
    connector.receive(&raw_webhook("x".into())).await.unwrap_err()
}

#[tokio::test]
async fn c1_a_loop_is_stopped_by_its_budget() {
    let (spin, notes) = hostile("spin").await;
    let error = receive(&spin).await;
    assert!(is_stopped(&error), "{error:?}");
    assert!(error.is_connectors_fault());
    assert!(*notes.ticks.lock().unwrap() > 1);
    // No request of the send had left, so the message is retried: it is neither lost nor uncertain.
    let platform = Platform::that([]).await;
    let report = send(&spin, "x", &platform, State::new()).await;
    assert!(report.error.as_ref().is_some_and(is_stopped), "{report:?}");
    let Outcome::Failed { verdict, .. } = report.outcome else {
        panic!("{report:?}")
    };
    assert!(matches!(verdict, Verdict::Retry { .. }), "{verdict:?}");
    assert_eq!(platform.seen().len(), 0);
}

/// One instruction that fills all of a memory cannot be interrupted. What must hold is that others run between two of
/// them.
#[tokio::test]
async fn c2_memory_fill_is_stopped_and_yields() {
    let (bulk, notes) = hostile("bulk").await;
    let (error, turns) = with_neighbor(receive(&bulk)).await;
    assert!(is_stopped(&error), "{error:?}");
    // At the last tick the call ends.
    let ticks = *notes.ticks.lock().unwrap();
    assert!(turns >= ticks - 1, "{turns} turns in {ticks} ticks");
}

#[tokio::test]
async fn c3_memory_ends_at_its_bound() {
    let (grow, _) = hostile("grow").await;
    let error = receive(&grow).await;
    let words = "the connector needs more than 67108864 bytes of memory, the limit of an instance";
    assert!(is_stopped(&error) || error.to_string() == words, "{error:?}");
}

#[tokio::test]
async fn c5_a_stack_that_overflows_is_a_trap_of_that_call() {
    let (recurse, _) = hostile("recurse").await;
    let CallError::Trapped { cause, .. } = receive(&recurse).await else {
        panic!("not a trap")
    };
    assert!(cause.contains("call stack exhausted"), "{cause}");
}

#[tokio::test]
async fn c6_a_storm_of_traps_takes_no_slot_with_it() {
    let (trap, notes) = hostile("trap").await;
    let storm = 2 * limits::INSTANCES as usize;
    for _ in 0..storm {
        let error = receive(&trap).await;
        assert!(matches!(error, CallError::Trapped { .. }), "{error:?}");
    }
    assert_eq!(*notes.ends.lock().unwrap(), vec![("receive", "trapped"); storm]);
}

/// On one thread, where a call that does not yield blocks all others: an innocent connector is called repeatedly while
/// a hostile one runs. Its calls must never fail, and one must end at least every four ticks of the hostile call. If
/// the host did not make the hostile call yield at each tick, none would end.
#[tokio::test]
async fn r2_an_innocent_connector_is_served_while_hostile_ones_run() {
    let (innocent, _) = echo().await;
    for name in ["spin", "bulk", "grow", "recurse", "flood", "giant", "trap"] {
        let (connector, notes) = hostile(name).await;
        let served = Arc::new(AtomicU32::new(0));
        let neighbor = {
            let (innocent, served) = (innocent.clone(), served.clone());
            tokio::spawn(async move {
                loop {
                    assert_eq!(innocent.receive(&webhook("hi")).await.unwrap().len(), 1);
                    served.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            })
        };
        tokio::task::yield_now().await;
        let before = served.load(Ordering::Relaxed);
        let ended = connector.receive(&raw_webhook("x".into())).await;
        let during = served.load(Ordering::Relaxed) - before;
        let ticks = *notes.ticks.lock().unwrap();
        assert!(!neighbor.is_finished(), "the neighbor failed next to {name}");
        neighbor.abort();
        assert!(during >= ticks / 4, "{name}: {during} in {ticks} ticks, {ended:?}");
    }
}
