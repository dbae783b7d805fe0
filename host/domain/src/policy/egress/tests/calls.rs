//! The requests that each call of a connector may make, and how many.

use super::*;
use crate::limits;

#[test]
fn a_pure_call_has_no_network() {
    for kind in [
        CallKind::Describe,
        CallKind::Receive,
        CallKind::Prepare,
        CallKind::Migrate,
    ] {
        assert_eq!(
            judged(kind, get(&format!("{API}/open_api/a"))).err(),
            Some(CallRefusal::NoNetwork { call: kind.as_str() })
        );
    }
}

#[test]
fn each_call_makes_the_requests_of_its_own_kind() {
    let reads = get(&format!("{API}/open_api/a"));
    let fetches = get("https://a.tiktokcdn.com/a.jpg");
    let sets_up = post(&format!("{API}/open_api/v1.3/business/webhook/update/"), "{}");
    let signals = post(SEND, r#"{"message_type":"SENDER_ACTION"}"#);
    for (kind, may) in [
        (CallKind::Send, [true, true, false, false, true]),
        (CallKind::Signal, [true, false, false, true, false]),
        (CallKind::Locate, [true, true, false, false, false]),
        (CallKind::Identify, [true, false, true, false, false]),
        (CallKind::Automate, [true, false, true, false, false]),
        (CallKind::Probe, [true, false, false, false, false]),
        (CallKind::History, [true, false, false, false, false]),
        (CallKind::Ads, [true, false, false, false, false]),
        (CallKind::Poll, [true, false, false, false, false]),
    ] {
        let requests = [reads.clone(), fetches.clone(), sets_up.clone(), signals.clone(), text()];
        for (request, may) in requests.into_iter().zip(may) {
            let url = request.url.clone();
            match judged(kind, request) {
                Ok(_) => assert!(may, "{kind:?} {url}"),
                Err(no) => assert!(!may && no.rule() == "wrong_call", "{kind:?} {url}: {no}"),
            }
        }
    }
}

#[test]
fn permit_is_spent_by_first_permitted_send() {
    let mut call = Call::new(CallKind::Send);
    let refused = Request {
        headers: vec![header("cookie", "a=b")],
        ..text()
    };
    assert!(judge(&mut call, refused).is_err());
    assert!(!call.has_sent());
    assert!(judge(&mut call, text()).is_ok());
    assert!(call.has_sent());
    assert_eq!(
        judge(&mut call, text()).err(),
        Some(CallRefusal::NoPermitLeft { route: "send".into() })
    );
    // Further reads are still allowed: to find out the result.
    assert!(judge(&mut call, get(&format!("{API}/open_api/a"))).is_ok());
}

#[test]
fn requests_of_one_call_are_counted_refused_ones_among_them() {
    let mut call = Call::new(CallKind::History);
    for i in 0..limits::REQUESTS_PER_CALL {
        let url = if i % 2 == 0 {
            "https://evil.example/"
        } else {
            "https://business-api.tiktok.com/open_api/a"
        };
        assert_eq!(judge(&mut call, get(url)).is_ok(), i % 2 == 1);
    }
    assert_eq!(
        judge(&mut call, get("https://business-api.tiktok.com/open_api/a")).err(),
        Some(CallRefusal::TooManyRequests {
            limit: limits::REQUESTS_PER_CALL
        })
    );
}
