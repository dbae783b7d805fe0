//! The console's session, and the page that it is for.

use super::*;

/// A browser: it signs in with the key and then shows only its cookie.
struct Browser<'a> {
    api: &'a Api,
    cookie: String,
    token: String,
}

impl<'a> Browser<'a> {
    async fn sign_in(api: &'a Api) -> Self {
        let started = api.json("POST", "/v1/session", json!({})).await;
        assert_eq!(started.status, StatusCode::CREATED, "{started:?}");
        let cookie = started.headers["set-cookie"].to_str().expect("ASCII").to_owned();
        for word in [
            "weir-session=",
            "; HttpOnly",
            "; SameSite=Strict",
            "; Path=/",
            "; Max-Age=604800",
        ] {
            assert!(cookie.contains(word), "{cookie} lacks {word}");
        }
        Self {
            api,
            cookie: cookie.split(';').next().expect("a pair").to_owned(),
            token: started.body["csrf_token"].as_str().expect("a token").to_owned(),
        }
    }

    async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> ApiResponse {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("cookie", format!("other=1; {}", self.cookie))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.api
            .call(request.body(Body::from(body.to_string())).expect("a request"))
            .await
    }
}

#[tokio::test]
async fn session_changes_need_its_token() {
    let api = Api::open().await;
    let browser = Browser::sign_in(&api).await;
    let seen = browser.call("GET", "/v1/session", &[], json!({})).await;
    assert_eq!(seen.status, StatusCode::OK, "{seen:?}");
    assert_eq!(seen.body["csrf_token"], browser.token);
    assert_eq!(
        browser.call("GET", "/v1/channels", &[], json!({})).await.status,
        StatusCode::OK
    );
    let token = ("x-csrf-token", browser.token.as_str());
    let key = json!({ "name": "n", "scopes": ["read"] });
    let wrong = "0".repeat(64);
    for headers in [
        &[][..],
        &[("x-csrf-token", "")],
        &[("x-csrf-token", wrong.as_str())],
        &[token, ("sec-fetch-site", "cross-site")],
        &[token, ("sec-fetch-site", "same-site")],
    ] {
        let no = browser.call("POST", "/v1/keys", headers, key.clone()).await;
        assert_eq!(
            (no.status.as_u16(), no.problem()),
            (403, "csrf_token_missing"),
            "{headers:?}"
        );
    }
    // Another port of this machine is the same site for cookies, but a different origin.
    let read = browser
        .call("GET", "/v1/channels", &[("sec-fetch-site", "same-site")], json!({}))
        .await;
    assert_eq!(read.problem(), "csrf_token_missing");
    let headers = [token, ("sec-fetch-site", "same-origin")];
    assert_eq!(
        browser.call("POST", "/v1/keys", &headers, key).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn session_ends_on_sign_out_or_key() {
    let mut api = Api::open().await;
    let admin = api.key.clone();
    let made = api
        .json("POST", "/v1/keys", json!({ "name": "n", "scopes": ["read"] }))
        .await;
    api.key = made.body["key"].as_str().expect("shown once").to_owned();
    let browser = Browser::sign_in(&api).await;
    let other = Browser::sign_in(&api).await;
    assert_ne!(browser.cookie, other.cookie);
    let renewed = browser
        .call("POST", "/v1/session", &[("x-csrf-token", &browser.token)], json!({}))
        .await;
    assert_eq!(renewed.problem(), "invalid_request");
    let out = browser
        .call("DELETE", "/v1/session", &[("x-csrf-token", &browser.token)], json!({}))
        .await;
    assert_eq!(out.status, StatusCode::NO_CONTENT, "{out:?}");
    assert!(
        out.headers["set-cookie"]
            .to_str()
            .expect("ASCII")
            .contains("weir-session=; Path=/; Max-Age=0")
    );
    assert_eq!(
        browser.call("GET", "/v1/session", &[], json!({})).await.problem(),
        "session_over"
    );
    assert_eq!(
        other.call("GET", "/v1/session", &[], json!({})).await.status,
        StatusCode::OK
    );
    let id = made.body["id"].as_str().expect("an id");
    let request = Request::builder()
        .method("DELETE")
        .uri(format!("/v1/keys/{id}"))
        .header("authorization", format!("Bearer {admin}"));
    let revoked = api.call(request.body(Body::empty()).expect("a request")).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT, "{revoked:?}");
    assert_eq!(
        other.call("GET", "/v1/session", &[], json!({})).await.problem(),
        "key_ended"
    );
}

#[tokio::test]
async fn the_record_holds_no_session_in_the_clear() {
    let api = Api::open().await;
    let browser = Browser::sign_in(&api).await;
    let text = browser.cookie.split_once('=').expect("a pair").1;
    let session = api
        .host
        .store()
        .session(weir_domain::caller::digest(text))
        .await
        .expect("read");
    assert!(session.is_some_and(|session| hex::encode(session.digest) != text));
}

#[tokio::test]
async fn the_console_is_one_page_that_loads_only_its_own() {
    let api = Api::open().await;
    for path in ["/", "/inbox", "/channels", "/events", "/settings"] {
        let answered = api
            .raw(Request::builder().uri(path).body(Body::empty()).expect("a request"))
            .await;
        assert_eq!(answered.status(), StatusCode::OK, "{path}");
        let policy = answered.headers()["content-security-policy"]
            .to_str()
            .expect("ASCII")
            .to_owned();
        for part in [
            "default-src 'none'",
            "script-src 'self';",
            "frame-ancestors 'none'",
            "trusted-types 'none'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert_eq!(answered.headers()["referrer-policy"], "no-referrer");
        let tag = answered.headers()["etag"].clone();
        let again = Request::builder().uri(path).header("if-none-match", tag);
        let again = api.raw(again.body(Body::empty()).expect("a request")).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }
}

#[tokio::test]
async fn every_answer_forbids_browsers_to_guess_or_load() {
    let api = Api::open().await;
    for path in [
        "/",
        "/docs/errors",
        "/docs/errors.json",
        "/healthz",
        "/v1/channels",
        "/nothing",
        "/connect/nothing",
        "/oauth/callback",
    ] {
        let answered = api.get(path).await;
        assert_eq!(answered.headers["x-content-type-options"], "nosniff", "{path}");
        let policy = answered.headers["content-security-policy"].to_str().expect("ASCII");
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{path}: {policy}"
        );
        assert!(answered.status.as_u16() < 500, "{path}");
    }
}
