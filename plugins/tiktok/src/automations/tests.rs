#![allow(clippy::unwrap_used)]

use weir_sdk::types::Verdict;

use super::*;
use crate::fixture::{self, channel, ok};

fn url(call: &str) -> String {
    wire::url(&format!("{}/{call}/", wire::AUTO_MESSAGE))
}

fn automation(kind: &str, id: Option<&str>, enabled: bool, content: &Value) -> Automation {
    Automation {
        kind: kind.into(),
        id: id.map(str::to_owned),
        enabled,
        audit: None,
        content: content.to_string(),
    }
}

#[test]
fn each_kind_is_read_from_its_block() {
    let cases = [
        (
            "welcome_message",
            r#""welcome_message":{"content":"Hi"}"#,
            json!({ "content": "Hi" }),
        ),
        (
            "suggested_question",
            r#""suggested_question":{"question":"Q","answer":"A"}"#,
            json!({ "question": "Q", "answer": "A" }),
        ),
        (
            "chat_prompt",
            r#""chat_prompt":{"title":"T","content":"C"}"#,
            json!({ "title": "T", "content": "C" }),
        ),
        (
            "chat_prompt",
            r#""suggested_question":{"title":"T","content":"C"}"#,
            json!({ "title": "T", "content": "C" }),
        ),
    ];
    for (kind, block, words) in cases {
        let host = fixture::host();
        let data = format!(
            r#"{{"operation_status":"ENABLE","auto_messages":[{{"auto_message_id":"A1","audit_status":"REVIEWING",{block}}}]}}"#
        );
        host.answer("GET", &url("get"), 200, ok(&data));
        let found = TikTok::get(channel(), kind.into()).unwrap().remove(0);
        let expected = Automation {
            audit: Some("reviewing".into()),
            ..automation(kind, Some("A1"), true, &words)
        };
        assert_eq!(found, expected);
    }
}

#[test]
fn putting_writes_and_then_switches() {
    let words = json!({ "content": "Hi" });
    for (id, call, enabled, operation) in [
        (None, "create", true, "ENABLE"),
        (Some("A1"), "update", false, "DISABLE"),
    ] {
        let host = fixture::host();
        if id.is_none() {
            host.answer("GET", &url("get"), 200, ok(r#"{"auto_messages":[]}"#));
        }
        host.answer(
            "POST",
            &url(call),
            200,
            ok(r#"{"auto_message":{"auto_message_id":"A1"}}"#),
        );
        host.answer("POST", &url("status/update"), 200, ok("{}"));
        let written = TikTok::put(channel(), automation("welcome_message", id, enabled, &words)).unwrap();
        assert_eq!(written.as_deref(), Some("A1"));
        let first = usize::from(id.is_none());
        assert_eq!(host.json_body(first)["welcome_message"], words);
        assert_eq!(host.json_body(first + 1)["operation_status"], operation);
    }
}

#[test]
fn repeated_creation_makes_no_second() {
    let host = fixture::host();
    let there = r#"{"operation_status":"ENABLE","auto_messages":[
        {"auto_message_id":"A1","chat_prompt":{"title":"T","content":"C"}},
        {"auto_message_id":"A2","chat_prompt":{"title":"T","content":"D"}}]}"#;
    host.answer("GET", &url("get"), 200, ok(there));
    host.answer("POST", &url("status/update"), 200, ok("{}"));
    let words = json!({ "title": "T", "content": "D" });
    let put = TikTok::put(channel(), automation("chat_prompt", None, true, &words)).unwrap();
    assert_eq!(put.as_deref(), Some("A2"));
    assert_eq!(host.requests().len(), 2, "nothing is created");
}

#[test]
fn empty_text_only_switches() {
    let host = fixture::host();
    host.answer("POST", &url("status/update"), 200, ok("{}"));
    TikTok::put(channel(), automation("chat_prompt", None, false, &json!({}))).unwrap();
    assert_eq!(host.requests().len(), 1);
}

#[test]
fn text_length_is_checked_before_writing() {
    let cases = [
        (
            "welcome_message",
            json!({ "content": "x".repeat(251) }),
            "text_too_long",
        ),
        (
            "suggested_question",
            json!({ "question": "x".repeat(81), "answer": "A" }),
            "text_too_long",
        ),
        ("suggested_question", json!({ "question": "Q" }), "text_empty"),
        (
            "chat_prompt",
            json!({ "title": "x".repeat(19), "content": "C" }),
            "text_too_long",
        ),
    ];
    for (kind, words, code) in cases {
        let _host = fixture::host();
        let failure = TikTok::put(channel(), automation(kind, None, true, &words)).unwrap_err();
        assert_eq!(
            (failure.verdict, failure.code.as_str()),
            (Verdict::Permanent, code),
            "{kind}"
        );
    }
}

#[test]
fn a_welcome_message_is_switched_off_since_it_cannot_be_deleted() {
    let host = fixture::host();
    host.answer("POST", &url("status/update"), 200, ok("{}"));
    host.answer("POST", &url("delete"), 200, ok("{}"));
    TikTok::remove(channel(), "welcome_message".into(), "A1".into()).unwrap();
    TikTok::remove(channel(), "chat_prompt".into(), "A2".into()).unwrap();
    assert_eq!(host.json_body(0)["operation_status"], "DISABLE");
    assert_eq!(host.json_body(1)["auto_message_id"], "A2");
}

#[test]
fn a_prompt_that_is_gone_is_removed() {
    let host = fixture::host();
    let gone = r#"{"code":40007,"message":"The automatic message does not exist.","request_id":"r","data":{}}"#;
    host.answer("POST", &url("delete"), 200, gone);
    TikTok::remove(channel(), "chat_prompt".into(), "A2".into()).unwrap();
}

#[test]
fn prompts_are_put_in_order() {
    let host = fixture::host();
    host.answer("POST", &url("sort"), 200, ok("{}"));
    TikTok::put(
        channel(),
        automation("chat_prompt_order", None, true, &json!({ "ids": ["A2", "A1"] })),
    )
    .unwrap();
    assert_eq!(host.json_body(0)["auto_message_ids"], json!(["A2", "A1"]));
}

#[test]
fn comment_to_message_is_one_switch() {
    let host = fixture::host();
    let direct = |call: &str| wire::url(&format!("{}/{call}/", wire::DIRECT_REPLY));
    host.answer("GET", &direct("get"), 200, ok(r#"{"operation_status":"DISABLE"}"#));
    host.answer("POST", &direct("update"), 200, ok("{}"));
    let found = TikTok::get(channel(), "comment_to_message".into()).unwrap();
    assert_eq!(found, [automation("comment_to_message", None, false, &json!({}))]);
    TikTok::put(channel(), automation("comment_to_message", None, true, &json!({}))).unwrap();
    assert_eq!(host.json_body(1)["direct_reply_type"], "COMMENT_TO_MESSAGE");
    assert_eq!(host.json_body(1)["operation_status"], "ENABLE");
}

#[test]
fn a_kind_that_tiktok_has_not_is_refused() {
    assert!(TikTok::get(channel(), "carousel".into()).is_err());
}
