#![allow(clippy::unwrap_used)]

use weir_sdk::http;

use super::*;
use crate::fixture::{self, channel, no, ok};

const CALLBACK: &str = "https://weir.example/hooks/tiktok";

#[test]
fn account_kind_is_reported() {
    let cases = [
        (r#"{"is_business_account":true,"username":"acme_store"}"#, "business"),
        (r#"{"is_business_account":false}"#, "personal"),
        ("{}", "unknown"),
    ];
    for (data, kind) in cases {
        let host = fixture::host();
        host.answer("GET", &wire::url(wire::ACCOUNT), 200, ok(data));
        let profile = who_am_i(&channel()).unwrap();
        assert_eq!(
            (profile.platform_id.as_str(), profile.account_kind.as_str()),
            ("B", kind),
            "{data}"
        );
    }
}

#[test]
fn a_subscription_that_stands_is_left_alone() {
    let host = fixture::host();
    host.answer(
        "GET",
        &wire::url(wire::WEBHOOK_LIST),
        200,
        ok(&format!(r#"{{"callback_url":"{CALLBACK}"}}"#)),
    );
    subscribe(&channel()).unwrap();
    assert_eq!(host.requests().len(), 1);
}

#[test]
fn a_subscription_that_is_missing_or_another_is_written() {
    for list in [
        ok("{}"),
        ok(r#"{"callback_url":"https://other.example/"}"#),
        no(40_007, "not exist"),
    ] {
        let host = fixture::host();
        host.answer("GET", &wire::url(wire::WEBHOOK_LIST), 200, list);
        host.answer("POST", &wire::url(wire::WEBHOOK_UPDATE), 200, ok("{}"));
        subscribe(&channel()).unwrap();
        let body = host.json_body(1);
        assert_eq!(
            (&body["callback_url"], &body["event_type"]),
            (&json!(CALLBACK), &json!("DIRECT_MESSAGE"))
        );
        // The host inserts both; the connector has neither.
        assert_eq!((&body["app_id"], &body["secret"]), (&json!(""), &json!("")));
    }
}

#[test]
fn failed_list_is_retried_by_host() {
    let host = fixture::host();
    host.fail(
        "GET",
        &wire::url(wire::WEBHOOK_LIST),
        http::Error::Unreachable("no address".into()),
    );
    assert!(matches!(subscribe(&channel()).unwrap_err().verdict, Verdict::Retry(_)));
}

fn findings(account: &str, scopes: &str, list: &str, messaging: &str) -> Vec<(String, bool)> {
    let host = fixture::host();
    host.answer("GET", &wire::url(wire::ACCOUNT), 200, account);
    host.answer("POST", &wire::url(wire::TOKEN_INFO), 200, scopes);
    host.answer("GET", &wire::url(wire::WEBHOOK_LIST), 200, list);
    host.answer("GET", &wire::url(wire::CONVERSATIONS), 200, messaging);
    check(&channel())
        .into_iter()
        .map(|finding| (finding.subject, finding.ok))
        .collect()
}

#[test]
fn a_diagnosis_looks_at_token_permissions_and_subscription() {
    let account = ok(r#"{"is_business_account":true}"#);
    let scopes =
        ok(r#"{"scope":"user.info.basic, user.info.username,user.account.type,message.list.read,message.list.send"}"#);
    let list = ok(&format!(r#"{{"callback_url":"{CALLBACK}"}}"#));
    let subjects = ["token", "permissions", "webhook_subscription", "messaging"].map(str::to_owned);
    let of = |oks: [bool; 4]| -> Vec<_> { subjects.iter().cloned().zip(oks).collect() };

    assert_eq!(
        findings(&account, &scopes, &list, &ok("{}")),
        of([true, true, true, true])
    );
    let ungranted = scopes.replace(",message.list.send", "");
    assert_eq!(
        findings(&account, &ungranted, &list, &ok("{}")),
        of([true, false, true, true])
    );
    assert_eq!(
        findings(&account, &scopes, &ok("{}"), &ok("{}")),
        of([true, true, false, true])
    );
    let revoked = no(40_105, "Access token is incorrect or has been revoked.");
    assert_eq!(
        findings(&revoked, &revoked, &list, &ok("{}")),
        of([false, false, true, true])
    );
    let excluded = no(40_001, "You don't have permission.");
    assert_eq!(
        findings(&account, &scopes, &list, &excluded),
        of([true, true, true, false])
    );
}

#[test]
fn unserved_account_reports_both_reasons() {
    let ask = |answer: &str| {
        let host = fixture::host();
        host.answer("GET", &wire::url(wire::CONVERSATIONS), 200, answer);
        may_message(&channel())
    };
    let failure = ask(&no(40_001, "You don't have permission.")).unwrap_err();
    assert_eq!(failure.verdict, Verdict::Permanent);
    assert!(failure.detail.contains("Advanced Access") && failure.detail.contains("Business Account"));
    // A transient error is no evidence about the account.
    assert!(ask(&no(51_065, "system error")).is_ok());
    assert!(ask(&ok("{}")).is_ok());
}
