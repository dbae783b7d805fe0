//! Calls without network: what a webhook becomes, and what becomes of a connector that misbehaves.

use weir_domain::inbound::Fact;
use weir_domain::limits;
use weir_domain::message::{Content, Draft};
use weir_runtime::CallError;

use crate::support::{built, component, echo, raw_webhook, runtime, webhook, with_neighbor};

#[tokio::test]
async fn connector_reports_its_manifest() {
    let (echo, _) = echo().await;
    assert_eq!(echo.manifest().name, "echo");
    assert_eq!(echo.digest().len(), 64);
    assert!(echo.manifest().routes.iter().any(|route| route.id == "send"));
}

#[tokio::test]
async fn the_optional_interfaces_of_a_component_are_found() {
    let (runtime, _) = runtime();
    let tiktok = runtime.load(component("tiktok")).await.unwrap();
    for interface in ["signals", "media-transfer", "probing", "history", "automations"] {
        assert!(
            tiktok.manifest().provides(interface),
            "{interface}: {:?}",
            tiktok.manifest().provides
        );
    }
    assert!(!tiktok.manifest().provides("polling"));
}

#[tokio::test]
async fn a_webhook_becomes_events() {
    let (echo, notes) = echo().await;
    let events = echo.receive(&webhook("hi")).await.unwrap();
    assert_eq!(
        (events[0].channel_platform_id.as_str(), events[0].key.as_str()),
        ("acme", "m1")
    );
    let Fact::Message(message) = &events[0].fact else {
        panic!("{events:?}")
    };
    assert_eq!(message.content, Content::Text { text: "hi".into() });
    assert_eq!(message.contact.display_name.as_deref(), Some("Jane"));
    assert_eq!(*notes.ends.lock().unwrap(), [("receive", "ok")]);
}

#[tokio::test]
async fn unreadable_input_reports_connector_text() {
    let (echo, notes) = echo().await;
    let error = echo.receive(&raw_webhook("<html>".into())).await.unwrap_err();
    assert!(matches!(error, CallError::Answer(_)), "{error:?}");
    assert_eq!(*notes.ends.lock().unwrap(), [("receive", "answer")]);
}

#[tokio::test]
async fn a_draft_without_findings_is_a_yes() {
    let (echo, _) = echo().await;
    let draft = Draft {
        content: Content::Text { text: "hi".into() },
        reply_to: None,
    };
    assert_eq!(echo.prepare(&draft).await.unwrap(), []);
}

#[tokio::test]
async fn a_trap_ends_one_call_and_no_other() {
    let (echo, _) = echo().await;
    let error = echo.receive(&webhook("trap")).await.unwrap_err();
    let CallError::Trapped { cause, backtrace } = &error else {
        panic!("{error:?}")
    };
    assert!(cause.contains("unreachable"), "{cause}");
    assert!(backtrace.contains("wasm"), "{backtrace}");
    assert_eq!(echo.receive(&webhook("hi")).await.unwrap().len(), 1);
}

/// On one thread: if the loop were not made to yield, the neighbor would never run.
#[tokio::test]
async fn a_loop_is_stopped_and_its_neighbors_run_meanwhile() {
    let (echo, notes) = echo().await;
    let looping = webhook("loop");
    let (answer, turns) = with_neighbor(echo.receive(&looping)).await;
    let error = answer.unwrap_err();
    assert!(matches!(error, CallError::OutOfTime { .. }), "{error:?}");
    // The neighbor ran at every tick but the last.
    let ticks = *notes.ticks.lock().unwrap();
    assert!(ticks > 1 && turns >= ticks - 1, "{turns} turns in {ticks} ticks");
    assert_eq!(echo.receive(&webhook("hi")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn memory_without_end_is_not_given() {
    let (echo, _) = echo().await;
    let error = echo.receive(&webhook("grow")).await.unwrap_err();
    let CallError::OutOfMemory { what, limit } = error else {
        panic!("{error:?}")
    };
    assert_eq!((what, limit), ("bytes of memory", limits::GUEST_MEMORY_BYTES));
}

#[tokio::test]
async fn of_a_flood_of_lines_the_first_are_kept_and_the_rest_counted() {
    let (echo, notes) = echo().await;
    echo.receive(&webhook("flood")).await.unwrap();
    assert_eq!(*notes.dropped.lock().unwrap(), 10_000 - limits::LOG_LINES);
    let lines = notes.lines.lock().unwrap();
    assert_eq!(lines.len(), limits::LOG_LINES as usize);
    assert_eq!(lines[0], "flood line 0");
}

#[tokio::test]
async fn pure_call_has_no_network() {
    let (echo, notes) = echo().await;
    assert_eq!(echo.receive(&webhook("http")).await.unwrap().len(), 1);
    assert_eq!(
        *notes.refusals.lock().unwrap(),
        [("no_network", "`receive` has no network".to_owned())]
    );
    let lines = notes.lines.lock().unwrap();
    assert!(lines[0].contains("has no network"), "{lines:?}");
}

#[tokio::test]
async fn a_text_too_long_for_us_still_arrives() {
    let (echo, _) = echo().await;
    let events = echo.receive(&webhook(&"ä".repeat(100_000))).await.unwrap();
    let Fact::Message(message) = &events[0].fact else {
        panic!("{events:?}")
    };
    assert!(
        matches!(&message.content, Content::Fallback { reason, text, .. }
            if reason == "too_large" && text.len() == limits::TEXT_BYTES),
        "{:?}",
        message.content.kind()
    );
}

#[tokio::test]
async fn more_events_than_a_webhook_may_hold_are_refused_by_number() {
    let (echo, _) = echo().await;
    let event = |i: usize| serde_json::json!({"type": "hologram", "id": i.to_string()});
    let body = |count: usize| {
        let events: Vec<_> = (0..count).map(event).collect();
        raw_webhook(serde_json::json!({"account": "acme", "events": events}).to_string())
    };
    let most = limits::EVENTS_PER_WEBHOOK;
    assert_eq!(echo.receive(&body(most)).await.unwrap().len(), most);
    let error = echo.receive(&body(most + 1)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the connector's output is invalid: events has 1001 entries, and 1000 are allowed"
    );
}

#[tokio::test]
async fn an_id_too_long_is_refused_by_name() {
    let (echo, _) = echo().await;
    let body = serde_json::json!({"account": "x".repeat(limits::PLATFORM_ID_BYTES + 1),
                                  "events": [{"type": "hologram", "id": "1"}]});
    let error = echo.receive(&raw_webhook(body.to_string())).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("events[0].channel-platform-id has 513 bytes"),
        "{error}"
    );
}

/// More calls at once than there are slots: the others wait for theirs.
#[tokio::test]
async fn more_calls_than_slots_wait_their_turn() {
    let (echo, _) = echo().await;
    let calls: Vec<_> = (0..2 * limits::PURE_PER_CONNECTOR)
        .map(|_| {
            let echo = echo.clone();
            tokio::spawn(async move { echo.receive(&webhook("hi")).await.unwrap().len() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 1);
    }
}

#[tokio::test]
async fn connector_of_previous_interface_keeps_running() {
    let (runtime, _) = runtime();
    let older = runtime.load(built("variants/echo-v0.1")).await.unwrap();
    let newer = runtime.load(component("echo")).await.unwrap();
    assert_eq!(
        older.receive(&webhook("hi")).await.unwrap(),
        newer.receive(&webhook("hi")).await.unwrap()
    );
    assert_eq!(older.manifest().routes, newer.manifest().routes);
}
