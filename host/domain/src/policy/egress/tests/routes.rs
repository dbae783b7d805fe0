//! Which route matches a request, its conditions on the body, and the operator's grant.

use serde_json::json;

use super::*;
use crate::id::Mint;
use crate::limits;
use crate::manifest::SecretPlace;
use crate::time::Timestamp;

#[test]
fn body_distinguishes_routes_of_one_url() {
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
fn ambiguous_body_is_rewritten() {
    let doubled = r#"{"message_type":"TEXT","text":"hi","message_type":"SENDER_ACTION"}"#;
    let permit = judged(CallKind::Signal, post(SEND, doubled)).expect("it reads as typing");
    let RequestBody::Json(document) = &permit.request().body else {
        panic!("the body is not serialized again");
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
fn unreadable_body_matches_no_unconditional_route() {
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
    some.granted.retain(|grant| grant.route != "send");
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
    // A grant applies to the route as it was when granted.
    let mut widened = routes.clone();
    widened[1].path = "/open_api/**".parse().expect("a path");
    assert_eq!(judge(&grants(&routes), &widened), not_granted);
}
