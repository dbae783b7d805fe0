//! A caller that hangs up cuts off its answer, and nothing of what it asked for.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::*;

/// Polls until `patience` is used up, one for each time that there is nothing yet. None if it was given up then.
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
async fn what_was_begun_ends_without_its_caller() {
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
    api.host.finish_detached(Duration::from_secs(60)).await;
    let made = count(&api, "/v1/keys").await - 1;
    let noted = count(&api, "/v1/audit-log?limit=200").await - before;
    assert!(
        cut_off > 0 && made > 1,
        "who was cut off got what it asked for: {cut_off}, {made}"
    );
    assert_eq!(noted, made, "each that was made is in the audit log");
}
