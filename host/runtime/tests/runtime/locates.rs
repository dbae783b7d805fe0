//! The location of an attachment's bytes: the connector returns it, and the egress policy decides.

use weir_domain::manifest::RouteClass;
use weir_domain::message::ContentKind;
use weir_domain::policy::Purpose;
use weir_runtime::context::{Called, State};
use weir_runtime::{CallError, Located};

use crate::support::{Platform, Reply, component, context_of, picture, runtime};

/// What becomes of TikTok's answer that the bytes are at this URL.
async fn locate(answer: &'static str) -> Called<Located> {
    let (runtime, _) = runtime();
    let tiktok = runtime.load(component("tiktok")).await.unwrap();
    let platform = Platform::that([Reply::Answer(200, answer)]).await;
    let origin = "https://business-api.tiktok.com";
    let context = context_of(origin, tiktok.manifest(), &platform, State::new());
    let (conversation, media) = picture();
    tiktok
        .locate(context, &conversation, "m1", ContentKind::Image, &media)
        .await
}

#[tokio::test]
async fn bytes_at_a_declared_place_may_be_fetched() {
    let called =
        locate(r#"{"code":0,"message":"OK","data":{"download_url":"https://p16.tiktokcdn.com/picture?x=1"}}"#).await;
    let permit = called.result.unwrap().permit;
    assert_eq!(permit.request().url.as_str(), "https://p16.tiktokcdn.com/picture?x=1");
    assert!(
        matches!(
            permit.purpose(),
            Purpose::Connector {
                class: RouteClass::Media,
                ..
            }
        ),
        "{permit:?}"
    );
    assert_eq!(called.requests.len(), 1);
}

#[tokio::test]
async fn bytes_anywhere_else_may_not() {
    let elsewhere = [
        r#"{"code":0,"message":"OK","data":{"download_url":"https://tiktokcdn.com.evil.example/x"}}"#,
        r#"{"code":0,"message":"OK","data":{"download_url":"http://169.254.169.254/latest"}}"#,
        // Declared, and no place of bytes.
        r#"{"code":0,"message":"OK","data":{"download_url":"https://business-api.tiktok.com/open_api/v1.3/business/get/"}}"#,
    ];
    for answer in elsewhere {
        let called = locate(answer).await;
        assert!(matches!(called.result, Err(CallError::Refused(_))), "{called:?}");
    }
}
