//! A disconnected caller loses its response, but its request completes.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::*;

/// Polls up to `patience` times while the future is pending. `None` if it was then dropped.
async fn with_patience<T>(mut patience: u32, request: impl Future<Output = T>) -> Option<T> {
    let mut request = pin!(request);
    std::future::poll_fn(|context| match request.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if patience == 0 => Poll::Ready(None),
        Poll::Pending => {
            patience -= 1;
            Poll::Pending
        }
    })
    .await
}

async fn count(api: &Api, path: &str) -> usize {
    let listed = api.get(path).await;
    listed.body["data"].as_array().expect("a list").len()
}

#[tokio::test]
async fn started_work_finishes_without_caller() {
    let api = Api::open().await;
    let before = count(&api, "/v1/audit-log").await;
    let mut patience = 0;
    let mut cut_off = 0_usize;
    loop {
        let body = json!({ "name": "n", "scopes": ["read"] });
        let Some(answered) = with_patience(patience, api.json("POST", "/v1/keys", body)).await else {
            cut_off += 1;
            patience += 1;
            continue;
        };
        assert_eq!(answered.status, StatusCode::CREATED, "{answered:?}");
        break;
    }
    api.host.core.finish_detached(Duration::from_secs(60)).await;
    let made = count(&api, "/v1/keys").await - 1;
    let noted = count(&api, "/v1/audit-log?limit=200").await - before;
    assert!(
        cut_off > 0 && made > 1,
        "disconnected callers' requests must complete: {cut_off}, {made}"
    );
    assert_eq!(noted, made, "each that was made is in the audit log");
}

#[tokio::test]
async fn a_request_cut_off_and_repeated_acts_once() {
    let api = Api::open().await;
    let post = |key: u32| {
        let request = api
            .request("POST", "/v1/endpoints")
            .header("content-type", "application/json")
            .header("idempotency-key", format!("k{key}"));
        let body = json!({ "url": "https://crm.example/weir" }).to_string();
        api.call(request.body(Body::from(body)).expect("a request"))
    };
    let mut patience = 0;
    let mut cut_off = 0;
    while with_patience(patience, post(patience)).await.is_none() {
        cut_off += 1;
        patience += 1;
        assert!(cut_off < 100, "it never ends");
    }
    api.host.core.finish_detached(Duration::from_secs(60)).await;
    assert!(cut_off > 0, "no caller was disconnected");
    for key in 0..=patience {
        let again = post(key).await;
        assert_eq!(again.status, StatusCode::CREATED, "{again:?}");
        assert_eq!(again.headers["idempotency-replayed"], "true", "{key}");
    }
    assert_eq!(count(&api, "/v1/endpoints?limit=200").await, cut_off + 1);
}

#[tokio::test]
async fn routes_that_also_take_files_take_keys_with_json() {
    let api = Api::open().await;
    for path in ["/v1/media", "/v1/connectors"] {
        let request = api
            .request("POST", path)
            .header("content-type", "application/json")
            .header("idempotency-key", "k");
        let answer = api.call(request.body(Body::from("{}")).expect("a request")).await;
        assert!(answer.status.is_client_error(), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn an_upload_acts_once_whatever_its_boundary() {
    let api = Api::open().await;
    let post = |boundary: &str, text: &str| {
        let request = api
            .request("POST", "/v1/media")
            .header("content-type", format!("multipart/form-data; boundary={boundary}"))
            .header("idempotency-key", "k");
        let body = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n{text}\r\n--{boundary}--\r\n"
        );
        api.call(request.body(Body::from(body)).expect("a request"))
    };
    let first = post("one", "hello").await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    let again = post("two", "hello").await;
    assert_eq!(
        (again.status, &again.body["id"]),
        (StatusCode::CREATED, &first.body["id"])
    );
    let other = post("one", "other").await;
    assert_eq!(
        (other.status.as_u16(), other.problem()),
        (422, "idempotency_key_reused")
    );
    let files = std::fs::read_dir(api.host.config().data.join("media")).expect("a directory");
    assert_eq!(files.count(), 1, "an unstored file does not exist");
}
