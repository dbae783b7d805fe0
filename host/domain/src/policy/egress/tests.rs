//! Each rule of what leaves, from both sides, and the laws that hold for every URL and header.

use std::net::IpAddr;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::grant::Grants;
use crate::id::Mint;
use crate::limits;
use crate::manifest::{BodyMember, Origin, SecretPlace};
use crate::policy::address;
use crate::time::Timestamp;

mod urls;

const API: &str = "https://business-api.tiktok.com";
const SEND: &str = "https://business-api.tiktok.com/open_api/v1.3/business/message/send/";

fn route(id: &str, method: &str, origin: &str, path: &str, class: RouteClass) -> Route {
    Route {
        id: id.into(),
        method: method.into(),
        origin: origin.parse().expect("a pattern"),
        path: path.parse().expect("a path"),
        class,
        body_has: Vec::new(),
        secrets: vec![SecretUse {
            secret: "access_token".into(),
            place: SecretPlace::Header("access-token".into()),
            prefix: String::new(),
        }],
        why: String::new(),
    }
}

fn with_member(pointer: &str, value: &str, route: Route) -> Route {
    Route {
        body_has: vec![BodyMember {
            pointer: pointer.into(),
            value: value.into(),
        }],
        ..route
    }
}

/// Two uses of TikTok's send call, and one of each other class.
fn routes() -> Vec<Route> {
    let send = "/open_api/v1.3/business/message/send/";
    vec![
        with_member(
            "/message_type",
            "SENDER_ACTION",
            route("typing", "POST", API, send, RouteClass::Signal),
        ),
        with_member(
            "/message_type",
            "TEXT",
            route("send", "POST", API, send, RouteClass::MessageSend),
        ),
        route("read", "GET", API, "/open_api/**", RouteClass::Read),
        route(
            "upload",
            "POST",
            API,
            "/open_api/v1.3/business/message/media/upload/",
            RouteClass::Media,
        ),
        route("pictures", "GET", "https://*.tiktokcdn.com", "/**", RouteClass::Media),
        route(
            "setup",
            "POST",
            API,
            "/open_api/v1.3/business/webhook/update/",
            RouteClass::Setup,
        ),
        route("ports", "GET", "https://ports.example:8443", "/**", RouteClass::Read),
    ]
}

fn grants(routes: &[Route]) -> Grants {
    Grants(routes.iter().map(crate::grant::Grant::of).collect())
}

fn get(url: &str) -> Request {
    Request {
        method: Method::GET,
        url: url.parse().expect("a URL"),
        headers: Vec::new(),
        body: RequestBody::Empty,
    }
}

fn post(url: &str, body: impl Into<Bytes>) -> Request {
    Request {
        method: Method::POST,
        body: RequestBody::Bytes(body.into()),
        ..get(url)
    }
}

fn text() -> Request {
    post(SEND, r#"{"message_type":"TEXT","text":"hi"}"#)
}

fn judge(call: &mut Call, request: Request) -> Result<EgressPermit, CallRefusal> {
    let routes = routes();
    may_call(call, &routes, &grants(&routes), &OriginMap::default(), request)
}

fn judged(kind: CallKind, request: Request) -> Result<EgressPermit, CallRefusal> {
    judge(&mut Call::new(kind), request)
}

fn route_of(permit: &EgressPermit) -> &str {
    match permit.purpose() {
        Purpose::Connector { route, .. } => route,
        other => panic!("{other:?} is not a connector's"),
    }
}

fn header(name: &str, value: &str) -> (HeaderName, HeaderValue) {
    (name.parse().expect("a name"), value.parse().expect("a value"))
}

// ---- URLs and addresses ---------------------------------------------------------------------------------------------

/// What the names of the table resolve to.
fn resolve(host: &str) -> Vec<IpAddr> {
    let addresses: &[&str] = match host {
        "localhost" => &["127.0.0.1", "::1"],
        "metadata.google.internal" => &["169.254.169.254"],
        "127.0.0.1.nip.example" => &["127.0.0.1"],
        "inside.tiktokcdn.com" => &["10.0.0.7", "64:ff9b::a9fe:a9fe"],
        "half-inside.tiktokcdn.com" => &["10.0.0.7", "93.184.216.34"],
        _ => &["93.184.216.34"],
    };
    addresses.iter().map(|text| text.parse().expect("an address")).collect()
}

/// What becomes of a permit where its host has resolved; and whether all that is dialled is public.
fn dialled(permit: &EgressPermit) -> &'static str {
    let found = match permit.request().url.host().expect("a host") {
        url::Host::Domain(name) => resolve(name),
        url::Host::Ipv4(literal) => vec![literal.into()],
        url::Host::Ipv6(literal) => vec![literal.into()],
    };
    let may_be = |address: &IpAddr| address::admit(*address, permit.reach()).is_ok();
    if found.iter().any(may_be) { "goes" } else { "address" }
}

fn answer(judged: Result<EgressPermit, CallRefusal>) -> &'static str {
    match judged {
        Ok(permit) => dialled(&permit),
        Err(CallRefusal::BadUrl { reason }) => reason,
        Err(CallRefusal::NoRoute { .. }) => "route",
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn every_spelling_of_a_url_is_answered_by_its_rule() {
    assert!(urls::URLS.len() >= 60);
    let wrong: Vec<String> = urls::URLS
        .iter()
        .filter_map(|(spelling, connector, fetch)| {
            let (by_connector, by_fetch) = match spelling.parse::<Url>() {
                Err(_) => ("unparsed", "unparsed"),
                Ok(url) => {
                    let request = Request {
                        url: url.clone(),
                        ..get(API)
                    };
                    (answer(judged(CallKind::Locate, request)), answer(may_fetch(url)))
                }
            };
            let as_told = by_connector.starts_with(connector) && by_fetch.starts_with(fetch);
            (!as_told).then(|| format!("{spelling}: {by_connector}, {by_fetch}; told: {connector}, {fetch}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_url_is_taken_up_to_its_longest_and_no_longer() {
    let base = format!("{API}/open_api/");
    let of_length = |length: usize| get(&format!("{base}{}", "a".repeat(length - base.len())));
    assert!(judged(CallKind::History, of_length(limits::URL_BYTES)).is_ok());
    assert_eq!(
        judged(CallKind::History, of_length(limits::URL_BYTES + 1)).err(),
        Some(CallRefusal::BadUrl {
            reason: "it is too long"
        })
    );
}

#[test]
fn the_host_calls_token_endpoints_by_name_and_over_tls() {
    let authorize = |url: &str| may_authorize(&OriginMap::default(), get(url)).map(|permit| permit.reach());
    assert_eq!(
        authorize("https://business-api.tiktok.com/open_api/v1.3/tt_user/oauth2/token/"),
        Ok(Reach::Public)
    );
    assert!(authorize("http://business-api.tiktok.com/token").is_err());
    assert!(authorize("https://93.184.216.34/token").is_err());
    assert!(authorize("https://u@business-api.tiktok.com/token").is_err());
}

#[test]
fn an_endpoint_may_be_inside_only_where_the_configuration_says_so() {
    let deliver = |url: &str, reach| may_deliver(get(url), reach).map(|permit| dialled(&permit));
    assert_eq!(deliver("https://hooks.example:8443/weir", Reach::Public), Ok("goes"));
    assert_eq!(deliver("https://10.0.0.1/weir", Reach::Public), Ok("address"));
    assert_eq!(deliver("https://localhost/weir", Reach::Public), Ok("address"));
    assert!(deliver("http://hooks.example/weir", Reach::Public).is_err());
    assert_eq!(deliver("http://10.0.0.1:9000/weir", Reach::OperatorSet), Ok("goes"));
    assert_eq!(deliver("http://localhost:9000/weir", Reach::Loopback), Ok("goes"));
    assert!(deliver("ftp://10.0.0.1/weir", Reach::OperatorSet).is_err());
    assert!(deliver("http://u@10.0.0.1/weir", Reach::OperatorSet).is_err());
}

// ---- the sandbox ----------------------------------------------------------------------------------------------------

fn origin(text: &str) -> Origin {
    text.parse().expect("an origin")
}

fn mapped(pairs: &[(&str, &str)]) -> OriginMap {
    OriginMap(pairs.iter().map(|(from, to)| (origin(from), origin(to))).collect())
}

fn judged_with(origins: &OriginMap, request: Request) -> Result<EgressPermit, CallRefusal> {
    let routes = routes();
    may_call(
        &mut Call::new(CallKind::Locate),
        &routes,
        &grants(&routes),
        origins,
        request,
    )
}

#[test]
fn a_mapped_origin_is_judged_as_the_platform_and_dialled_on_this_machine() {
    let origins = mapped(&[(API, "http://127.0.0.1:9100")]);
    for url in [
        "https://business-api.tiktok.com/open_api/a?b=c",
        "http://127.0.0.1:9100/open_api/a?b=c",
    ] {
        let permit = judged_with(&origins, get(url)).expect("a route covers it");
        assert_eq!(permit.request().url.as_str(), "http://127.0.0.1:9100/open_api/a?b=c");
        assert_eq!(permit.reach(), Reach::Loopback);
        assert_eq!(route_of(&permit), "read");
    }
}

#[test]
fn a_mapping_opens_the_mapped_origin_and_nothing_beside_it() {
    let origins = mapped(&[(API, "http://127.0.0.1:9100")]);
    for url in [
        "http://127.0.0.1:9101/open_api/a",
        "https://127.0.0.1:9100/open_api/a",
        "http://localhost:9100/open_api/a",
        "http://business-api.tiktok.com/open_api/a",
    ] {
        assert!(
            matches!(judged_with(&origins, get(url)), Err(CallRefusal::BadUrl { .. })),
            "{url}"
        );
    }
    for url in [
        "http://u@127.0.0.1:9100/open_api/a",
        "http://127.0.0.1:9100/open_api/a#b",
        "http://127.0.0.1:9100/x",
    ] {
        assert!(judged_with(&origins, get(url)).is_err(), "{url}");
    }
    // An origin that is not mapped stays public.
    let permit = judged_with(&origins, get("https://a.tiktokcdn.com/a.jpg")).expect("a route covers it");
    assert_eq!(permit.reach(), Reach::Public);
}

#[test]
fn several_origins_may_be_mapped_to_one_sandbox() {
    let origins = mapped(&[
        (API, "http://127.0.0.1:9100"),
        ("https://p16-sign.tiktokcdn.com", "http://127.0.0.1:9100"),
    ]);
    for (url, route) in [
        ("http://127.0.0.1:9100/open_api/a", "read"),
        ("http://127.0.0.1:9100/cdn/a.jpg", "pictures"),
    ] {
        let permit = judged_with(&origins, get(url)).expect("a route covers it");
        assert_eq!(route_of(&permit), route);
        assert_eq!(permit.request().url.as_str(), url);
    }
}

#[test]
fn what_is_mapped_beyond_this_machine_goes_to_public_addresses_by_tls() {
    let to = |sandbox: &str| {
        judged_with(
            &mapped(&[(API, sandbox)]),
            get("https://business-api.tiktok.com/open_api/a"),
        )
    };
    let permit = to("https://sandbox.example").expect("a route covers it");
    assert_eq!((permit.reach(), dialled(&permit)), (Reach::Public, "goes"));
    let permit = to("https://10.0.0.1").expect("a route covers it");
    assert_eq!(dialled(&permit), "address");
    assert!(matches!(to("http://sandbox.example"), Err(CallRefusal::BadUrl { .. })));
    assert!(may_authorize(&mapped(&[(API, "http://sandbox.example")]), get(API)).is_err());
}

// ---- routes ---------------------------------------------------------------------------------------------------------

#[test]
fn two_uses_of_one_url_are_told_apart_by_the_body() {
    let typing = post(SEND, r#"{"message_type":"SENDER_ACTION","sender_action":"TYPING"}"#);
    let permit = judged(CallKind::Signal, typing.clone()).expect("a signal may show typing");
    assert_eq!(route_of(&permit), "typing");
    let permit = judged(CallKind::Send, text()).expect("a send may send");
    assert_eq!(route_of(&permit), "send");
    assert!(matches!(
        judged(CallKind::Signal, text()),
        Err(CallRefusal::WrongCall { route, .. }) if route == "send"
    ));
    assert!(matches!(
        judged(CallKind::Send, typing),
        Err(CallRefusal::WrongCall { route, .. }) if route == "typing"
    ));
    assert!(matches!(
        judged(CallKind::Send, post(SEND, r#"{"message_type":"TEMPLATE"}"#)),
        Err(CallRefusal::NoRoute { .. })
    ));
}

#[test]
fn a_body_that_two_parsers_may_read_differently_is_written_anew() {
    let doubled = r#"{"message_type":"TEXT","text":"hi","message_type":"SENDER_ACTION"}"#;
    let permit = judged(CallKind::Signal, post(SEND, doubled)).expect("it reads as typing");
    let RequestBody::Json(document) = &permit.request().body else {
        panic!("the body is not written anew");
    };
    assert_eq!(document.to_string(), r#"{"message_type":"SENDER_ACTION","text":"hi"}"#);
    for no_json in [
        "",
        "{",
        r#"{"message_type":"SENDER_ACTION"} {"message_type":"TEXT"}"#,
        "\u{feff}{\"message_type\":\"SENDER_ACTION\"}",
        "{'message_type':'SENDER_ACTION'}",
        r#"{"message_type":"SENDER_ACTION",}"#,
        r#"{"message_type":"SENDER_ACTION"/*,*/}"#,
        r#"{"message_type":"SENDER_ACTION","n":NaN}"#,
        "message_type=SENDER_ACTION",
    ] {
        assert!(
            matches!(
                judged(CallKind::Signal, post(SEND, no_json)),
                Err(CallRefusal::BadBody { .. })
            ),
            "{no_json}"
        );
    }
}

#[test]
fn a_body_that_cannot_be_read_does_not_slip_to_a_route_without_a_condition() {
    let mut routes = routes();
    routes.push(route("any", "POST", API, "/open_api/**", RouteClass::Signal));
    let call = |request| {
        may_call(
            &mut Call::new(CallKind::Signal),
            &routes,
            &grants(&routes),
            &OriginMap::default(),
            request,
        )
        .map(|permit| route_of(&permit).to_owned())
    };
    assert_eq!(call(post(SEND, r#"{"message_type":"OTHER"}"#)), Ok("any".to_owned()));
    assert!(matches!(
        call(post(SEND, "message_type=TEXT")),
        Err(CallRefusal::BadBody { .. })
    ));
    let multipart = Request {
        body: RequestBody::Multipart(Vec::new()),
        ..post(SEND, "")
    };
    assert!(matches!(call(multipart), Err(CallRefusal::BadBody { .. })));
    assert_eq!(
        call(post(&format!("{API}/open_api/other/"), "a=b")),
        Ok("any".to_owned())
    );
}

#[test]
fn of_several_routes_the_first_of_the_manifest_is_meant() {
    let mut routes = routes();
    routes.insert(0, route("any", "POST", API, "/open_api/**", RouteClass::Signal));
    let grants = grants(&routes);
    let permit = may_call(
        &mut Call::new(CallKind::Signal),
        &routes,
        &grants,
        &OriginMap::default(),
        text(),
    );
    assert_eq!(route_of(&permit.expect("the first covers it")), "any");
}

#[test]
fn a_secret_in_the_body_needs_a_body_to_stand_in() {
    let mut upload = route("form", "POST", API, "/open_api/form/", RouteClass::Setup);
    upload.secrets[0].place = SecretPlace::BodyMember("/token".into());
    let routes = [upload];
    let call = |request| {
        may_call(
            &mut Call::new(CallKind::Identify),
            &routes,
            &grants(&routes),
            &OriginMap::default(),
            request,
        )
    };
    let url = format!("{API}/open_api/form/");
    let permit = call(post(&url, r#"{"a":1}"#)).expect("a document");
    assert!(matches!(&permit.request().body, RequestBody::Json(document) if *document == json!({"a": 1})));
    for body in [
        RequestBody::Empty,
        RequestBody::Bytes(Bytes::new()),
        RequestBody::Multipart(Vec::new()),
    ] {
        let request = Request { body, ..post(&url, "") };
        assert!(matches!(call(request), Err(CallRefusal::BadBody { .. })));
    }
}

#[test]
fn a_body_is_bounded_and_a_get_has_none() {
    let upload = format!("{API}/open_api/v1.3/business/message/media/upload/");
    let of_size = |size| judged(CallKind::Send, post(&upload, vec![b'a'; size]));
    assert!(of_size(limits::REQUEST_BODY_BYTES).is_ok());
    assert!(matches!(
        of_size(limits::REQUEST_BODY_BYTES + 1),
        Err(CallRefusal::BadBody { .. })
    ));

    let part = |content| Part {
        name: "file".into(),
        content,
    };
    let media: MediaId = Mint::from_seed([1; 32]).id(Timestamp::from_millis(0));
    let of_parts = |parts| {
        let request = Request {
            body: RequestBody::Multipart(parts),
            ..post(&upload, "")
        };
        judged(CallKind::Send, request).map(|_| ())
    };
    let stored = |count| (0..count).map(|_| part(PartContent::Stored(media))).collect::<Vec<_>>();
    assert_eq!(of_parts(stored(limits::PARTS)), Ok(()));
    assert!(of_parts(stored(limits::PARTS + 1)).is_err());
    let text = "a".repeat(limits::REQUEST_BODY_BYTES);
    assert!(of_parts(vec![part(PartContent::Text(text))]).is_err());

    let with_body = Request {
        body: RequestBody::Bytes(Bytes::from_static(b"{}")),
        ..get(&format!("{API}/open_api/a"))
    };
    assert!(matches!(
        judged(CallKind::History, with_body),
        Err(CallRefusal::BadBody { .. })
    ));
}

#[test]
fn what_the_operator_did_not_grant_does_not_leave() {
    let routes = routes();
    let mut some = grants(&routes);
    some.0.retain(|grant| grant.route != "send");
    let judge = |grants: &Grants, routes: &[Route]| {
        may_call(
            &mut Call::new(CallKind::Send),
            routes,
            grants,
            &OriginMap::default(),
            text(),
        )
        .map(|_| ())
    };
    let not_granted = Err(CallRefusal::NotGranted { route: "send".into() });
    assert_eq!(judge(&some, &routes), not_granted);
    assert_eq!(judge(&Grants::default(), &routes), not_granted);
    assert_eq!(judge(&grants(&routes), &routes), Ok(()));
    // A grant is for what the route was when it was given.
    let mut widened = routes.clone();
    widened[1].path = "/open_api/**".parse().expect("a path");
    assert_eq!(judge(&grants(&routes), &widened), not_granted);
}

// ---- calls ----------------------------------------------------------------------------------------------------------

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
fn a_permit_is_spent_by_the_first_send_that_is_let_through_and_by_no_refusal() {
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
    // Reading on is still allowed: to see what became of it.
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

// ---- headers --------------------------------------------------------------------------------------------------------

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
    /// Whatever bytes stand for a header, either they are no header, or they are judged by their name alone.
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

    /// Whatever a connector writes, what is let through goes to a granted origin over TLS, and by a fetch to public
    /// addresses.
    #[test]
    fn what_is_let_through_goes_where_a_route_says(
        scheme in "(https?|HTTPS|ftp|)",
        slashes in proptest::sample::select(vec!["://", ":", ":\\\\", ":/", ":///"]),
        user in proptest::sample::select(vec!["", "u@", "u:p@", "business-api.tiktok.com@", "business-api.tiktok.com\\@"]),
        host in prop_oneof![
            Just("business-api.tiktok.com".to_owned()),
            "[a-z.]{0,8}\\.?tiktokcdn\\.com\\.?",
            any::<u32>().prop_map(|bits| bits.to_string()),
            any::<u32>().prop_map(|bits| format!("0x{bits:x}")),
            any::<[u8; 4]>().prop_map(|[a, b, c, d]| format!("{a}.0{b:o}.{c}.0x{d:x}")),
            any::<u128>().prop_map(|bits| format!("[{}]", std::net::Ipv6Addr::from_bits(bits))),
            any::<u32>().prop_map(|bits| format!("[::ffff:{}]", std::net::Ipv4Addr::from_bits(bits))),
            "\\PC{1,16}",
        ],
        port in proptest::sample::select(vec!["", ":443", ":80", ":8443"]),
        rest in "(/|/open_api/)?[ -~]{0,16}",
    ) {
        if let Ok(url) = format!("{scheme}{slashes}{user}{host}{port}{rest}").parse::<Url>() {
            let request = Request { url: url.clone(), ..get(API) };
            if let Ok(permit) = judged(CallKind::Locate, request) {
                let url = &permit.request().url;
                let host = url.domain().expect("no address");
                prop_assert!(host == "business-api.tiktok.com" || host.ends_with(".tiktokcdn.com"));
                prop_assert_eq!(url.scheme(), "https");
                prop_assert_eq!(url.port_or_known_default(), Some(443));
                prop_assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
            }
            if let Ok(permit) = may_fetch(url) {
                let literal: Option<IpAddr> = match permit.request().url.host() {
                    Some(url::Host::Ipv4(address)) => Some(address.into()),
                    Some(url::Host::Ipv6(address)) => Some(address.into()),
                    _ => None,
                };
                if let Some(address) = literal && address::admit(address, permit.reach()).is_ok() {
                    let special = match address.to_canonical() {
                        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
                        IpAddr::V6(v6) => v6.is_loopback() || v6.segments()[0] & 0xe000 != 0x2000,
                    };
                    prop_assert!(!special, "{address}");
                }
            }
        }
    }
}
