//! Secrets: set at the places that the route declares and nowhere else, and removed from the response.

use serde_json::json;
use weir_domain::manifest::SecretPlace;
use weir_domain::policy::{OriginMap, Request, RequestBody, may_authorize};

use super::support::{
    PLATFORM, Seen, Server, egress, header, ok, permit, permit_to, request, secret_at, secrets, unused_address,
};
use crate::{EgressError, NoBodies, Refused};

/// With characters that no place can hold as they are.
const TOKEN: &str = "act.Ab/3+%41 &=?#\"é";

async fn sent(request: Request, place: SecretPlace, prefix: &str) -> Seen {
    let server = Server::saying("{}").await;
    let permit = permit(&server, request, vec![secret_at("access_token", place, prefix)]);
    let secrets = secrets(&[("access_token", TOKEN)]);
    egress().send(permit, &secrets, &NoBodies).await.expect("an answer");
    server.only()
}

#[tokio::test]
async fn secret_replaces_header_of_connector() {
    let ascii = "act.Ab/3+%41 &=?#\"";
    let server = Server::saying("{}").await;
    let mut request = request("/a?b=c", RequestBody::Empty);
    for value in ["one", "two"] {
        request
            .headers
            .push(("Access-Token".parse().expect("a name"), value.parse().expect("a value")));
    }
    let place = SecretPlace::Header("access-token".into());
    let permit = permit(&server, request, vec![secret_at("access_token", place, "Bearer ")]);
    egress()
        .send(permit, &secrets(&[("access_token", ascii)]), &NoBodies)
        .await
        .expect("an answer");
    let seen = server.only();
    assert_eq!(seen.header("access-token"), Some(&*format!("Bearer {ascii}")));
    assert_eq!(seen.text().matches("act.").count(), 1);
    assert_eq!(seen.request_line(), "GET /a?b=c HTTP/1.1");
}

#[tokio::test]
async fn secret_fills_only_its_query_parameter() {
    let path = "/a?x=%2f+%20&token=guess&y&%74oken=guess&tokens=1&z=";
    let seen = sent(
        request(path, RequestBody::Empty),
        SecretPlace::Query("token".into()),
        "",
    )
    .await;
    assert_eq!(
        seen.request_line(),
        "GET /a?x=%2f+%20&y&tokens=1&z=&token=act.Ab%2F3%2B%2541%20%26%3D%3F%23%22%C3%A9 HTTP/1.1"
    );
    let seen = sent(
        request("/a", RequestBody::Empty),
        SecretPlace::Query("token".into()),
        "",
    )
    .await;
    assert!(seen.request_line().starts_with("GET /a?token=act."));
}

#[tokio::test]
async fn a_secret_stands_in_its_path_segment() {
    let place = SecretPlace::PathSegment(0);
    let seen = sent(request("/TOKEN/sendMessage?a=TOKEN", RequestBody::Empty), place, "bot").await;
    assert_eq!(
        seen.request_line(),
        "GET /botact.Ab%2F3%2B%2541%20%26%3D%3F%23%22%C3%A9/sendMessage?a=TOKEN HTTP/1.1"
    );
}

#[tokio::test]
async fn a_telegram_token_keeps_its_colon() {
    let server = Server::saying("{}").await;
    let uses = vec![secret_at("token", SecretPlace::PathSegment(0), "bot")];
    let permit = permit(&server, request("/x/getMe", RequestBody::Empty), uses);
    let secrets = secrets(&[("token", "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw")]);
    egress().send(permit, &secrets, &NoBodies).await.expect("an answer");
    assert_eq!(
        server.only().request_line(),
        "GET /bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/getMe HTTP/1.1"
    );
}

#[tokio::test]
async fn secret_fills_only_its_body_member() {
    let text = "{{access_token}} ${access_token} $access_token %access_token% [secret] /access_token";
    let body = json!({"text": text, "auth": {"a/b": "guess", "other": 1}, "n": 12345678901234567890u64});
    let place = SecretPlace::BodyMember("/auth/a~1b".into());
    let seen = sent(request("/a", RequestBody::Bytes(body.to_string().into())), place, "").await;
    let arrived: serde_json::Value = serde_json::from_slice(&seen.body).expect("JSON");
    let expected = json!({"text": text, "auth": {"a/b": TOKEN, "other": 1}, "n": 12345678901234567890u64});
    assert_eq!(arrived, expected);
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.text().matches("act.Ab").count(), 1);
}

#[tokio::test]
async fn a_text_that_spells_a_place_is_sent_as_it_is() {
    let text = r#"{"text":"{{access_token}} ${access_token} <secret:access_token> access-token: x"}"#;
    let seen = sent(
        request("/a", RequestBody::Bytes(text.into())),
        SecretPlace::Header("x-token".into()),
        "",
    )
    .await;
    assert_eq!(seen.body, text.as_bytes());
}

#[tokio::test]
async fn unplaceable_secret_stops_request() {
    let json = || RequestBody::Bytes(r#"{"a":[1]}"#.into());
    let cases: [(&str, &str, SecretPlace, RequestBody); 10] = [
        (
            "a header that names its destination",
            "evil.example",
            SecretPlace::Header("Host".into()),
            RequestBody::Empty,
        ),
        (
            "a header that bounds its body",
            "7",
            SecretPlace::Header("content-length".into()),
            RequestBody::Empty,
        ),
        (
            "a line break in a header",
            "abc\r\nhost: evil",
            SecretPlace::Header("x".into()),
            RequestBody::Empty,
        ),
        (
            "no header's name",
            "abc",
            SecretPlace::Header("a b".into()),
            RequestBody::Empty,
        ),
        (
            "no such segment",
            "abc",
            SecretPlace::PathSegment(9),
            RequestBody::Empty,
        ),
        (
            "a segment that goes up",
            "..",
            SecretPlace::PathSegment(0),
            RequestBody::Empty,
        ),
        (
            "a pointer to all",
            "abc",
            SecretPlace::BodyMember(String::new()),
            json(),
        ),
        (
            "a pointer into an array",
            "abc",
            SecretPlace::BodyMember("/a/0".into()),
            json(),
        ),
        (
            "a pointer into nothing",
            "abc",
            SecretPlace::BodyMember("/b/c".into()),
            json(),
        ),
        (
            "no object",
            "abc",
            SecretPlace::BodyMember("/a".into()),
            RequestBody::Bytes("[]".into()),
        ),
    ];
    for (what, value, place, body) in cases {
        let server = Server::saying("{}").await;
        let permit = permit(&server, request("/a/b", body), vec![secret_at("secret", place, "")]);
        let error = egress()
            .send(permit, &secrets(&[("secret", value)]), &NoBodies)
            .await
            .expect_err(what);
        assert!(
            matches!(&error, EgressError::Refused(Refused::Place { name, .. }) if name == "secret"),
            "{what}"
        );
        assert_eq!(server.connections(), 0, "{what}");
    }
}

#[tokio::test]
async fn missing_secret_stops_request() {
    let server = Server::saying("{}").await;
    let uses = vec![secret_at("access_token", SecretPlace::Header("x".into()), "")];
    let permit = permit(&server, request("/a", RequestBody::Empty), uses);
    let error = egress()
        .send(permit, &secrets(&[]), &NoBodies)
        .await
        .expect_err("no secret");
    assert!(matches!(error, EgressError::Refused(Refused::NoSecret { .. })));
    assert_eq!((error.may_have_been_seen(), server.connections()), (false, 0));
}

#[tokio::test]
async fn what_a_platform_repeats_of_our_secrets_does_not_come_through() {
    let secrets = secrets(&[
        ("access_token", "act.example/token+1"),
        ("client_secret", "quite-secret"),
        // No secret of this length; taking it out would ruin every answer.
        ("short", "ok"),
    ]);
    let body = concat!(
        r#"{"plain":"act.example/token+1","twice":"act.example/token+1act.example/token+1","#,
        r#""percent":"act.example%2Ftoken%2B1","lower":"act.example%2ftoken%2b1","#,
        r#""json":"act.example\/token+1","unicode":"\u0061ct.example\u002Ftoken\u002b1","#,
        r#""other":"quite-secret","status":"ok","near":"act.example/token+2"}"#
    );
    let answer = format!(
        "HTTP/1.1 302 Found\r\nlocation: https://a.example/?t=act.example%2Ftoken%2B1&s=quite-secret\r\n\
         x-plain: act.example/token+1\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let server = Server::answering(answer).await;
    let permit = permit(&server, request("/a", RequestBody::Empty), Vec::new());
    let answer = egress().send(permit, &secrets, &NoBodies).await.expect("an answer");
    assert_eq!(
        header(&answer, "location"),
        Some("https://a.example/?t=[secret]&s=[secret]")
    );
    assert_eq!(header(&answer, "x-plain"), Some("[secret]"));
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("still JSON");
    assert_eq!(
        body,
        json!({
            "plain": "[secret]", "twice": "[secret][secret]", "percent": "[secret]", "lower": "[secret]",
            "json": "[secret]", "unicode": "[secret]", "other": "[secret]", "status": "ok",
            "near": "act.example/token+2",
        })
    );
}

#[tokio::test]
async fn a_token_that_is_renewed_with_itself_arrives_as_it_is() {
    let server = Server::saying(r#"{"access_token":"act.same-as-before"}"#).await;
    let origin = |text: &str| text.parse().expect("an origin");
    let origins = OriginMap([(origin(PLATFORM), origin(&server.url("")))].into());
    let permit = may_authorize(&origins, request("/token", RequestBody::Bytes("{}".into()))).expect("a token endpoint");
    let secrets = secrets(&[("access_token", "act.same-as-before")]);
    let answer = egress().send(permit, &secrets, &NoBodies).await.expect("an answer");
    assert_eq!(&answer.body[..], br#"{"access_token":"act.same-as-before"}"#);
    assert!(!format!("{answer:?}").contains("act.same"));
}

#[tokio::test]
async fn errors_contain_no_secret() {
    let token = "do-not-tell-this";
    let places = [
        SecretPlace::Query("token".into()),
        SecretPlace::PathSegment(0),
        SecretPlace::Header("x-token".into()),
    ];
    for place in places {
        let sandbox = format!("http://{}", unused_address().await);
        let uses = vec![secret_at("access_token", place, "")];
        let permit = permit_to(&sandbox, request("/a", RequestBody::Empty), uses);
        let error = egress()
            .send(permit, &secrets(&[("access_token", token)]), &NoBodies)
            .await
            .expect_err("no server listens");
        assert!(!format!("{error} {error:?}").contains(token), "{error:?}");
    }
}

#[tokio::test]
async fn we_say_who_we_are_unless_the_request_does() {
    let server = Server::answering(ok("")).await;
    let mut named = request("/a", RequestBody::Empty);
    named.headers.push((
        "user-agent".parse().expect("a name"),
        "connector/1".parse().expect("a value"),
    ));
    for (request, agent) in [(request("/a", RequestBody::Empty), "Weir/"), (named, "connector/1")] {
        let before = server.seen().len();
        let permit = permit(&server, request, Vec::new());
        egress()
            .send(permit, &secrets(&[]), &NoBodies)
            .await
            .expect("an answer");
        let seen = &server.seen()[before];
        assert!(seen.header("user-agent").is_some_and(|sent| sent.starts_with(agent)));
        assert_eq!(seen.header("host"), Some(&*server.address.to_string()));
        assert!(seen.header("referer").is_none() && seen.header("cookie").is_none());
    }
}
