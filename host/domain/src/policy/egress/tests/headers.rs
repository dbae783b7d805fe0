//! Headers that a connector may set, and those that it may not.

use proptest::prelude::*;

use super::*;
use crate::limits;

fn with_headers(headers: Vec<(HeaderName, HeaderValue)>) -> Result<EgressPermit, CallRefusal> {
    let request = Request {
        headers,
        ..get(&format!("{API}/open_api/a"))
    };
    judged(CallKind::History, request)
}

#[test]
fn headers_that_the_host_sets_are_refused_by_name() {
    for name in [
        "host",
        "Host",
        "content-length",
        "transfer-encoding",
        "connection",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "expect",
        "proxy-authorization",
        "proxy-connection",
        "x-forwarded-for",
        "X-Forwarded-Host",
        "forwarded",
        "via",
        "cookie",
        "authorization",
        "accept-encoding",
        "content-encoding",
        "x-http-method-override",
        "x-original-url",
        "http2-settings",
    ] {
        match with_headers(vec![header(name, "a")]) {
            Err(CallRefusal::BadHeader { name: named, .. }) => assert_eq!(named, name.to_ascii_lowercase()),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert!(with_headers(vec![header("content-type", "application/json"), header("x-user", "1")]).is_ok());
}

#[test]
fn headers_are_bounded_in_number_and_length() {
    let many = |count: usize| with_headers((0..count).map(|i| header(&format!("x-{i}"), "a")).collect());
    assert!(many(limits::HEADERS).is_ok());
    assert!(many(limits::HEADERS + 1).is_err());
    let long = |length: usize| with_headers(vec![header("x", &"a".repeat(length - 1))]);
    assert!(long(limits::HEADER_BYTES).is_ok());
    assert!(long(limits::HEADER_BYTES + 1).is_err());
}

proptest! {
    /// Any bytes given as a header are either not a header, or are checked by their name only.
    #[test]
    fn no_bytes_make_a_header_that_speaks_for_the_host(
        name in proptest::collection::vec(any::<u8>(), 0..24),
        known in proptest::option::of(proptest::sample::select(vec!["host", "cookie", "te", "x-forwarded-for", "x-user"])),
        value in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let name = known.map_or(name, |known| known.as_bytes().to_vec());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&name), HeaderValue::from_bytes(&value)) {
            prop_assert!(!value.as_bytes().iter().any(|byte| b"\r\n\0".contains(byte)));
            if let Ok(permit) = with_headers(vec![(name, value)]) {
                let (name, _) = &permit.request().headers[0];
                prop_assert!(!["host", "cookie", "te", "content-length"].contains(&name.as_str()));
                prop_assert!(!name.as_str().starts_with("x-forwarded-"));
            }
        }
    }
}
