//! What a guest hands over: bounded, cleaned, and its own channel's only.

use weir_domain::channel::PolicyOverride;
use weir_domain::limits;
use weir_domain::policy::Rules;
use weir_domain::time::Timestamp;
use weir_runtime::CallError;
use weir_runtime::context::{ConversationFacts, State, StateWrites};

use super::{hostile, send, words};
use crate::support::{Platform, context_of, raw_webhook};

#[tokio::test]
async fn c7_more_than_may_cross_does_not() {
    let (giant, _) = hostile("giant").await;
    for what in ["text", "error", "events"] {
        let error = giant.receive(&raw_webhook(what.into())).await.unwrap_err();
        assert!(
            matches!(&error, CallError::Output(words) if words.contains("fuel")),
            "{what}: {error:?}"
        );
    }
}

#[tokio::test]
async fn c7_c23_a_document_nested_without_end_is_refused() {
    let (deep, _) = hostile("deep").await;
    let error = deep.receive(&raw_webhook("x".into())).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Output(words) if words.contains("platform-data")),
        "{error:?}"
    );
    let platform = Platform::that([]).await;
    let context = context_of("https://platform.example", deep.manifest(), &platform, State::new());
    let error = deep.who_am_i(context).await.result.unwrap_err();
    assert!(
        matches!(&error, CallError::Output(words) if words.contains("platform-data")),
        "{error:?}"
    );
}

#[tokio::test]
async fn c8_a_flood_of_lines_is_cut_and_none_passes_for_another() {
    let (flood, notes) = hostile("flood").await;
    // It may come to its end or be stopped on its way.
    let _ = flood.receive(&raw_webhook("x".into())).await;
    let lines = notes.lines.lock().unwrap();
    assert_eq!(lines.len(), limits::LOG_LINES as usize);
    assert_eq!(lines[0], "one 2026-01-01T00:00:00Z INFO weir: all is well  two");
    assert_eq!(lines[1], "red0;title1m");
    assert_eq!(lines[2], "abcfedx");
    assert_eq!(lines[3].len(), limits::LOG_LINE_BYTES);
    assert!(*notes.dropped.lock().unwrap() > 0);
}

#[tokio::test]
async fn c9_state_ends_at_its_quota() {
    let (hoard, _) = hostile("hoard").await;
    let platform = Platform::that([]).await;
    let report = send(&hoard, "x", &platform, State::new()).await;
    let report_text = words(&report);
    assert!(report_text.starts_with("17 kept; "), "{report_text}");
    assert!(
        report_text.contains("a channel's state has at most 1048576 bytes"),
        "{report_text}"
    );
    assert!(report_text.contains("a value has at most 65536 bytes"), "{report_text}");
    assert!(report_text.contains("a key has 1 to 256 bytes"), "{report_text}");
    let StateWrites(writes) = &report.writes;
    let bytes: usize = writes
        .iter()
        .map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len))
        .sum();
    assert!(bytes <= limits::STATE_BYTES, "{bytes}");
}

#[tokio::test]
async fn c15_another_channels_state_has_no_name_here() {
    let (neighbor, _) = hostile("neighbor").await;
    let platform = Platform::that([]).await;
    let state: State = [("own".to_owned(), b"mine".to_vec())].into();
    let report_text = words(&send(&neighbor, "x", &platform, state).await);
    assert_eq!(
        report_text,
        r#"[Ok(None), Ok(None), Ok(None), Ok(None), Ok(None), Ok(None)]; all keys: Ok(["own"])"#
    );
}

#[tokio::test]
async fn c15_history_of_another_channel_is_refused() {
    let (neighbor, _) = hostile("neighbor").await;
    let platform = Platform::that([]).await;
    let context = context_of("https://platform.example", neighbor.manifest(), &platform, State::new());
    let conversation = ConversationFacts {
        platform_id: "c1".into(),
        contact_id: None,
        answered: false,
    };
    let error = neighbor
        .messages(context, &conversation, Timestamp::default())
        .await
        .result
        .unwrap_err();
    assert!(
        matches!(&error, CallError::Output(words) if words.contains("channel-platform-id")),
        "{error:?}"
    );
}

#[tokio::test]
async fn c24_the_operators_rules_hold_whatever_a_manifest_says() {
    let (liar, _) = hostile("liar").await;
    let tightened = PolicyOverride {
        window_ms: Some(1_000),
        budget_limit: Some(1),
        rate_permits: Some(10),
        text_max_chars: Some(100),
    };
    let rules = Rules::of(liar.manifest(), &serde_json::Value::Null, &tightened);
    assert_eq!(rules.window, Some(std::time::Duration::from_secs(1)));
    assert_eq!(rules.budget, Some(1));
    assert_eq!(rules.rates[0].permits, 10);
}

#[tokio::test]
async fn c25_a_migration_that_does_not_end_well_changes_nothing() {
    let (migrate, _) = hostile("migrate").await;
    let state: State = [("k".to_owned(), b"v".to_vec())].into();
    let error = migrate.migrate("0.0.1", state.clone()).await.unwrap_err();
    assert!(matches!(error, CallError::OutOfTime { .. }), "{error:?}");
    let error = migrate.migrate("0.0.2", state.clone()).await.unwrap_err();
    assert!(matches!(error, CallError::Trapped { .. }), "{error:?}");
    let error = migrate.migrate("0.0.3", state).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the connector's output is invalid: a channel has at most 64 keys"
    );
}
