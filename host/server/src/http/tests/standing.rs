//! Reads end with their key or session.

use std::time::Duration;

use weir_domain::event::ExampleEndpoint;
use weir_domain::record::{About, NewEvent};

use super::*;
use crate::core::clock::Reading;

/// Opens an event stream with this key; the body, behind its first frame.
async fn stream(api: &Api, key: &str) -> Body {
    let request = Request::get("/v1/events/stream")
        .header("authorization", format!("Bearer {key}"))
        .body(Body::empty());
    let response = api.raw(request.expect("a request")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    body.frame()
        .await
        .expect("the stream opens with a comment")
        .expect("a frame");
    body
}

async fn key(api: &Api, more: Value) -> (String, String) {
    let mut new = json!({"name": "reader", "scopes": ["read"]});
    new.as_object_mut()
        .expect("an object")
        .extend(more.as_object().cloned().expect("an object"));
    let made = api.json("POST", "/v1/keys", new).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let text = |member: &str| made.body[member].as_str().expect("a text").to_owned();
    (text("id"), text("key"))
}

#[tokio::test]
async fn a_revoked_key_ends_its_streams_at_once() {
    let api = Api::open().await;
    let (id, text) = key(&api, json!({})).await;
    let (_, other) = key(&api, json!({})).await;
    let (mut ends, mut stays) = (stream(&api, &text).await, stream(&api, &other).await);
    let revoke = api.request("DELETE", &format!("/v1/keys/{id}")).body(Body::empty());
    let revoked = api.raw(revoke.expect("a request")).await;
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    assert!(ends.frame().await.is_none(), "the stream of the revoked key ends");
    let example = ExampleEndpoint {
        id: api.host.core.mint.id(api.host.now()),
        example: true,
    };
    let event = NewEvent::of(About::workspace("default"), EventType::EndpointRecovered, &example);
    let append = api.host.store().append_event(event, api.host.now());
    append.await.expect("a database");
    let first_frame = stays.frame().await.expect("the stream continues").expect("a frame");
    assert!(first_frame.is_data());
}

#[tokio::test]
async fn an_expired_key_reads_no_longer() {
    let api = Api::open().await;
    let end = api.host.now().after(Duration::from_secs(3_600));
    let (_, text) = key(&api, json!({ "expires_at": end })).await;
    let mut body = stream(&api, &text).await;
    let clock = &api.host.core.clock;
    let later: Reading = serde_json::from_value(json!({ "now_ms": end.as_millis(), "runs": true })).expect("a reading");
    clock.accept(clock.measure(Some(later)));
    // Waiters for the end of a key check again when one of them ended.
    api.host.core.keys_ended();
    assert!(body.frame().await.is_none(), "the stream of the expired key ends");
}

#[tokio::test]
async fn one_key_leaves_streams_for_others() {
    let api = Api::open().await;
    let (_, text) = key(&api, json!({})).await;
    let mut open = Vec::new();
    for _ in 0..weir_domain::limits::STREAMS_PER_KEY {
        open.push(stream(&api, &text).await);
    }
    let request = |key: &str| {
        let request = Request::get("/v1/events/stream").header("authorization", format!("Bearer {key}"));
        request.body(Body::empty()).expect("a request")
    };
    let one_more = api.raw(request(&text)).await;
    assert_eq!(one_more.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(stream(&api, &api.key).await);
}
